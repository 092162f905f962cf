"""
What can be said of a TLS handshake: why it failed, what was agreed on; and how a client
is told that there will be none.

Not here: the transports (L{lbtwist.net.tls}), the contexts (L{lbtwist.net.certificates}).
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL

from lbtwist.exchange import TLSInfo
from lbtwist.sansio.clienthello import ClientHello

_FATAL = 2
_ALERT = 21

LINGER = 1.0
"""Seconds that the socket stays open after an alert."""

LINGER_BYTES = 65536
"""Bytes that are read and dropped meanwhile."""

MOST = 1000
"""Sockets that are kept open so at once; no limit of connections counts them."""

_READ = 16384


class HandshakeFailed(OSError):
    """
    A handshake that did not succeed.

    @ivar reason: OpenSSL's words, or what was wrong with the peer's certificate.
    @ivar byPeer: the peer ended it: by an alert, or by closing.
    """

    def __init__(self, reason: str, byPeer: bool = False) -> None:
        super().__init__(None, reason)
        self.reason = reason
        self.byPeer = byPeer
        self.strerror = reason

    def __str__(self) -> str:
        return self.reason


class HandshakeRefused(HandshakeFailed):
    """
    A client that is not let in before OpenSSL has begun.

    @ivar alert: what it is to be told (RFC 8446 section 6).
    """

    def __init__(self, reason: str, alert: int) -> None:
        super().__init__(reason)
        self.alert = alert


def reasonOf(failed: SSL.Error) -> str:
    """What OpenSSL says of an error, in a line."""
    queue = failed.args[0] if failed.args and isinstance(failed.args[0], list) else []
    words = [entry[2] for entry in queue if entry[2]]
    return "; ".join(dict.fromkeys(words)) or "the TLS connection failed"


def verifyResult(connection: SSL.Connection) -> int:
    """@return: OpenSSL's code for the peer's certificate; 0 if it is good, or if none
    was asked for (X509_verify_cert_error_string(3))."""
    # pyOpenSSL hands this out only to a callback of each certificate, which costs more.
    return int(SSL._lib.SSL_get_verify_result(connection._ssl))  # type: ignore[attr-defined]


def verifyWords(code: int) -> str:
    """@return: OpenSSL's words for such a code."""
    text = SSL._lib.X509_verify_cert_error_string(code)  # type: ignore[attr-defined]
    return str(SSL._ffi.string(text).decode())  # type: ignore[attr-defined]


def isResumed(connection: SSL.Connection) -> bool:
    """@return: whether an older session goes on; pyOpenSSL does not say."""
    return bool(SSL._lib.SSL_session_reused(connection._ssl))  # type: ignore[attr-defined]


def readLittle(connection: SSL.Connection) -> None:
    """
    Let a read end after a record without data, such as a key update, which a peer can
    send without end; pyOpenSSL lets OpenSSL read on until there is data, or nothing.
    """
    lib = SSL._lib  # type: ignore[attr-defined]
    lib.SSL_clear_mode(connection._ssl, lib.SSL_MODE_AUTO_RETRY)


def describe(connection: SSL.Connection, hello: ClientHello | None = None) -> TLSInfo:
    """
    @param hello: what the client has begun with, where it was looked at.
    @return: what is known after the handshake with a client; it outlives the connection.
    @raise HandshakeFailed: if its certificate is good for OpenSSL alone, which overlooks
        some faults of its encoding.
    """
    try:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        chain = () if certificate is None else _issuers(connection)
    except ValueError as wrong:
        raise HandshakeFailed(f"the client's certificate cannot be read: {wrong}") from None
    return TLSInfo(
        hello.sni if hello is not None else (connection.get_servername() or b"").decode("latin-1"),
        hello.alpn if hello is not None else (),
        hello.versions if hello is not None else (),
        connection.get_alpn_proto_negotiated(),
        connection.get_protocol_version_name(),
        connection.get_cipher_name() or "",
        certificate,
        verifyResult(connection),
        isResumed(connection),
        chain,
    )


def _issuers(connection: SSL.Connection) -> tuple[Any, ...]:
    chain = connection.get_verified_chain(as_cryptography=True) or ()
    # The last one is the root, which servers must know by themselves.
    return tuple(chain[1:-1])


class Farewell:
    """
    Keeps a socket open until the peer has had time to read what it was told. Closing
    with unread input makes the kernel send a reset, which destroys what is on its way.

    @cvar now: how many there are; beyond L{MOST} a socket is closed at once.
    """

    now = 0

    def __init__(self, skt: socket.socket, reactor: Any) -> None:
        """The socket is this object's from now on; its write side is shut."""
        self._socket: socket.socket | None = None
        self._reactor = reactor
        self._left = LINGER_BYTES
        self.fileno = skt.fileno
        try:
            skt.shutdown(socket.SHUT_WR)
        except OSError:
            skt.close()
            return
        if Farewell.now >= MOST:
            skt.close()
            return
        self._socket = skt
        Farewell.now += 1
        reactor.addReader(self)
        self._timer = reactor.callLater(LINGER, self._close)

    def logPrefix(self) -> str:
        return "Farewell"

    def doRead(self) -> None:
        skt = self._socket
        if skt is None:
            return
        try:
            data = skt.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._left -= len(data)
        if not data or self._left <= 0:
            self._close()

    def connectionLost(self, reason: Any = None) -> None:
        """The reactor has found an error."""
        self._close()

    def _close(self) -> None:
        skt, self._socket = self._socket, None
        if skt is None:
            return
        Farewell.now -= 1
        self._reactor.removeReader(self)
        if self._timer.active():
            self._timer.cancel()
        skt.close()
        del self._timer, self.fileno


def refuse(skt: socket.socket, reactor: Any, alert: int) -> None:
    """
    Send an alert instead of a ServerHello, and close.

    @param skt: nobody else's any more, and watched by nobody.
    @param alert: its description (RFC 8446 section 6.2).
    """
    try:
        skt.send(bytes((_ALERT, 3, 1, 0, 2, _FATAL, alert)))
    except OSError:
        skt.close()
        return
    Farewell(skt, reactor)
