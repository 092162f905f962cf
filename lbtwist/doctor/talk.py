"""
One question to one server, and the first of its answer; it blocks, and is bounded.
"""

from __future__ import annotations

import socket
import ssl
import time

MAX_ANSWER = 4096
"""The most bytes of one read of an answer."""

METHOD = b"OPTIONS "
"""What every question begins with."""


def converse(
    family: int, address: object, data: bytes, tls: str | None, seconds: float
) -> bytes:
    """
    Connect, send, and wait for the first of an answer.

    @param data: a PROXY header, perhaps, and the request; TLS begins between them.
    @param tls: the name for TLS; L{None} for none.
    @param seconds: for all of it.
    @return: the first bytes; C{b""} if the server closed.
    @raise OSError: if it did not come to that in time.
    """
    until = time.monotonic() + seconds
    with socket.socket(family, socket.SOCK_STREAM) as skt:
        skt.settimeout(seconds)
        skt.connect(address)  # type: ignore[arg-type]
        if tls is None:
            return _exchange(skt, data, until)
        at = data.index(METHOD)
        if at:
            skt.sendall(data[:at])
        # Whether its certificate is good is not asked here.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _left(skt, until)
        with context.wrap_socket(skt, server_hostname=tls) as wrapped:
            return _exchange(wrapped, data[at:], until)


def _left(skt: socket.socket, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    skt.settimeout(left)


def _exchange(skt: socket.socket, data: bytes, until: float) -> bytes:
    _left(skt, until)
    skt.sendall(data)
    got = b""
    # Enough of a status line to know the status.
    while len(got) < 12:
        _left(skt, until)
        try:
            piece = skt.recv(MAX_ANSWER)
        except TimeoutError:
            if got:
                break
            raise
        if not piece:
            break
        got += piece
    return got
