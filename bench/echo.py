"""
What is behind the balancer in the cases with WebSockets: it takes every upgrade, and says
again what it is told.

Just as much of RFC 6455 as a client of the bench asks for: short messages that come whole.
Run as a process of its own: C{python -m bench.echo PORT}.
"""

from __future__ import annotations

import base64
import hashlib
import re
import selectors
import socket
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_key = re.compile(rb"\r\nsec-websocket-key: *([^\r\n ]+)", re.IGNORECASE)

#: What clients send first, and when they have been answered: a text, masked with noughts.
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MESSAGE = b"\x81\x84\0\0\0\0ping"

#: What they hear then.
SAID = b"\x81\x04ping"


def upgraded(request: bytes) -> bytes:
    """
    @param request: a whole head.
    @return: the answer (RFC 6455 section 4.2.2).
    @raise ValueError: if it has no key.
    """
    found = _key.search(request)
    if found is None:
        raise ValueError(f"no Sec-WebSocket-Key in {request[:200]!r}")
    accept = base64.b64encode(hashlib.sha1(found[1] + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )


def again(frame: bytes) -> bytes:
    """
    @param frame: of a client, with at most 125 bytes.
    @return: the same of a server, which masks nothing (RFC 6455 section 5.1).
    """
    length = frame[1] & 0x7F
    mask, said = frame[2:6], frame[6 : 6 + length]
    return frame[:1] + bytes([length]) + bytes(
        byte ^ mask[number % 4] for number, byte in enumerate(said)
    )  # fmt: skip


def serve(listening: socket.socket) -> None:
    """Until the process ends."""
    begun: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                skt = key.fileobj
                assert isinstance(skt, socket.socket)
                if skt is listening:
                    selector.register(skt.accept()[0], selectors.EVENT_READ)
                    continue
                try:
                    data = skt.recv(65536)
                    if data:
                        skt.sendall(again(data) if skt in begun else upgraded(data))
                        begun.add(skt)
                        continue
                except (OSError, ValueError) as error:
                    print(error, file=sys.stderr, flush=True)
                begun.discard(skt)
                selector.unregister(skt)
                skt.close()


if __name__ == "__main__":
    serve(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096))
