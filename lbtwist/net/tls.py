"""
Stream transports with OpenSSL directly on the socket.

Twisted's TLS copies every byte through two memory buffers and has no half-close;
here OpenSSL reads from the socket and writes to it by itself. Everything else is
L{lbtwist.net.tcp.Transport}'s: a write is sent at once, what is left waits, and an
error that a write meets is reported from the event loop.

An end of our side is a close_notify and then a FIN; a close_notify of the peer is
an end of its side. An end of the connection without one is an error, because it may
be a truncation (RFC 8446 section 6.1).

Not here: which context a connection gets (L{lbtwist.net.certificates}).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import EAGAIN, ECONNRESET, EPIPE
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet import error, main
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.exchange import TLSInfo
from lbtwist.net.handshake import (
    Farewell,
    HandshakeFailed,
    describe,
    readLittle,
    reasonOf,
    verifyResult,
    verifyWords,
)
from lbtwist.net.outgoing import Outgoing
from lbtwist.net.records import RECORD, read, write
from lbtwist.net.tcp import Accepted, Transport
from lbtwist.sansio.clienthello import ClientHello
from lbtwist.server import Endpoint

RECORDS_PER_TURN = 8
"""Records that one event may read, so that one connection starves no other."""

MORE_LIKELY = 2048
"""After a record of so many bytes another is tried; after a shorter one the next event
is waited for, because a try in vain costs more."""

NOTIFY = 30.0
"""Seconds that a full socket has to take the close_notify."""

_CLOSED = "the peer closed during the handshake"
_JOINED = 16
_MORE = getattr(socket, "MSG_MORE", 0)
_DONE = Failure(error.ConnectionDone())
_LOST = Failure(error.ConnectionLost())


class ClientSide(Protocol):
    """What L{TLSOutgoing} asks; see L{lbtwist.net.certificates.ClientTLS}."""

    def start(self, skt: socket.socket) -> SSL.Connection:
        """Make a connection that is about to greet."""

    def verify(self, connection: SSL.Connection) -> None:
        """@raise HandshakeFailed: if the server's certificate is not good."""

    def ended(self, connection: SSL.Connection) -> None:
        """It ended in good order: its session may be used again."""


@implementer(ISSLTransport)
class TLSTransport(Transport):
    """
    What both directions have in common; mixed in before the plain transport.

    @ivar tls: pyOpenSSL's connection; L{None} before it begins and after the end.
    @ivar negotiatedProtocol: what ALPN agreed on, L{None} for nothing.
    """

    plain = False
    tls: Any = None
    negotiatedProtocol: bytes | None = None
    _sound = True
    _alerted = False
    _notified = False
    _notifying = False
    _readWrites = False
    _held: Exception | None = None
    _patience: Any = None

    # handshake

    def _handshake(self) -> bool:
        """
        Go on with the handshake.

        @return: whether it is done.
        @raise HandshakeFailed: if it has failed; the alert has been sent.
        """
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            if not self.reading:
                self.startReading()
            return False
        except SSL.WantWriteError:
            # What comes meanwhile is not taken, and would be told of without end.
            self.stopReading()
            self.reactor.addWriter(self)
            return False
        except SSL.SysCallError as failed:
            if failed.args[0] == -1:
                raise HandshakeFailed(_CLOSED, True) from None
            raise HandshakeFailed(f"the connection broke: {failed.args[-1]}", True) from None
        except SSL.Error as failed:
            self._alerted = True
            # OpenSSL names a peer's alert so: "tlsv1 alert unknown ca".
            byPeer = " alert " in reasonOf(failed)
            raise HandshakeFailed(self._reason(failed), byPeer) from None
        self.negotiatedProtocol = self.tls.get_alpn_proto_negotiated() or None
        return True

    def _reason(self, failed: SSL.Error) -> str:
        reason = reasonOf(failed)
        code = verifyResult(self.tls)
        return f"{reason}: {verifyWords(code)}" if code else reason

    def startTLSProtocol(self, protocol: Any) -> None:
        """The handshake is done: hand the transport to its protocol."""
        self.connected = 1
        self._send = self._encrypt
        self.protocol = protocol
        if not self.reading:
            self.startReading()
        protocol.makeConnection(self)

    # reading

    def startReading(self) -> None:
        super().startReading()
        if self._held is not None:
            self.reactor.callLater(0, self._tellEnd)

    def doRead(self) -> Any:
        tls = self.tls
        pieces = []
        why: Exception | None = None
        try:
            for _ in range(RECORDS_PER_TURN):
                data = read(tls)
                pieces.append(data)
                if len(data) < MORE_LIKELY:
                    break
        except SSL.WantReadError:
            why = None
        except SSL.WantWriteError:
            # It answers a key update (RFC 8446 section 4.6.3), and the socket is full.
            self._readWrites = True
            self.reactor.addWriter(self)
        except SSL.ZeroReturnError:
            why = main.CONNECTION_DONE
        except SSL.Error:
            self._sound = False
            why = main.CONNECTION_LOST
        if pieces:
            self.protocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if not self.connected:
                return None
            if why is not None and not self.reading:
                # No event may tell of it again: OpenSSL has taken it off the socket.
                self._held = why
                return None
        return why

    def _tellEnd(self) -> None:
        why = self._held
        if why is None or not self.connected or not self.reading:
            return
        self._held = None
        self.stopReading()
        if why is main.CONNECTION_DONE:
            self.readConnectionLost(_DONE)
        else:
            self.connectionLost(_LOST)

    def peekEnd(self) -> bool:
        """
        Whether the peer has closed, or sent data. Session tickets and key updates, which
        come while nothing is asked for, are taken and are neither.
        """
        if not super().peekEnd():
            return False
        try:
            self.tls.recv(1, socket.MSG_PEEK)
        except (SSL.WantReadError, SSL.WantWriteError):
            return False
        except SSL.Error:
            return True
        return True

    # writing

    def _encrypt(self, data: Any) -> int:
        """
        Like a socket's C{send}.

        @raise BlockingIOError: if nothing could be taken.
        @raise OSError: if nothing can be sent any more.
        """
        try:
            return write(self.tls, data) if data else 0
        except (SSL.WantWriteError, SSL.WantReadError):
            raise BlockingIOError from None
        except SSL.SysCallError as failed:
            code = failed.args[0]
            raise OSError(code if code > 0 else EPIPE, str(failed.args[-1])) from None
        except SSL.Error as failed:
            raise ConnectionResetError(ECONNRESET, reasonOf(failed)) from None

    def _sendWaiting(self, waiting: list[Any]) -> int:
        # What OpenSSL could not write it wants to get again, or more that begins
        # with it: small pieces may be joined, a record is never split anew.
        first = waiting[0]
        if len(waiting) > 1 and len(first) < RECORD:
            first = b"".join(waiting[:_JOINED])
            waiting[:_JOINED] = [first]
        return self._encrypt(first)

    def _sendDirectly(self) -> Callable[[Any], int]:
        return self._encrypt

    def doWrite(self) -> Any:
        if self._readWrites:
            self._readWrites = False
            if self._waiting is None:
                self.reactor.removeWriter(self)
            why = self.doRead()
            if why is not None:
                self._held = why
                self._tellEnd()
            return None
        if not self._notifying:
            return super().doWrite()
        if self._notify():
            self._notifying = False
            self.reactor.removeWriter(self)
            if self.disconnecting:
                self.connectionLost(_DONE)
            else:
                super()._shutWrite()
        return None

    # ending

    @property
    def unsent(self) -> int:
        # Who is not told of the end may take what it has for a truncation.
        return self._unsent or int(self._notifying)

    def _notify(self) -> bool:
        """
        Send close_notify.

        @return: whether it is sent, or cannot be.
        """
        if not self._notified:
            try:
                # Once it is sent, another call would read, and drop what it reads.
                self.tls.shutdown()
            except (SSL.WantWriteError, SSL.WantReadError):
                return False
            except SSL.Error:
                # The peer is gone.
                self._sound = False
            self._notified = True
        return True

    def _shutWrite(self) -> None:
        if self._notify():
            super()._shutWrite()
        else:
            self._notifying = True
            self.reactor.addWriter(self)

    def _close(self) -> None:
        if self._broken is not None or self._notify():
            super()._close()
        else:
            # The socket is full; without a close_notify this would be a truncation.
            self._send = None
            self._notifying = True
            self.disconnecting = 1
            self.stopReading()
            self.reactor.addWriter(self)
            if self._patience is None:
                self._patience = self.reactor.callLater(NOTIFY, self._notNotified)

    def _notNotified(self) -> None:
        """The peer reads nothing: what it was sent is the kernel's to deliver, or not."""
        self._patience = None
        self._sound = False
        self.connectionLost(_DONE)

    def _closing(self, orderly: bool) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if not orderly or self._broken is not None:
            self._sound = False
        if self._sound:
            self._notify()
        self.tls = None

    def getPeerCertificate(self) -> Any:
        """@return: a C{cryptography} certificate, or L{None}."""
        return self.tls.get_peer_certificate(as_cryptography=True)


class TLSAccepted(TLSTransport, Accepted):
    """
    A connection from a client, with TLS.

    @ivar done: called with this transport once the handshake has succeeded: starts its
        protocol, or raises L{HandshakeFailed}.
    @ivar failed: called with this transport and a L{HandshakeFailed} if it has not;
        the socket is closed after it.
    """

    def __init__(
        self,
        skt: socket.socket,
        client: Any,
        reactor: Any,
        context: SSL.Context,
        done: Callable[[TLSAccepted], None],
        failed: Callable[[TLSAccepted, HandshakeFailed], None],
    ) -> None:
        super().__init__(skt, client, reactor)
        self._done: Any = done
        self._failed: Any = failed
        self.tls = SSL.Connection(context, skt)
        self.tls.set_accept_state()
        readLittle(self.tls)

    def startHandshake(self) -> None:
        """Begin; the ClientHello may have come already."""
        self.connected = 1
        self.startReading()
        self._goOn()

    def describe(self, hello: ClientHello | None = None) -> TLSInfo:
        """See L{describe}."""
        return describe(self.tls, hello)

    def doRead(self) -> Any:
        if self._done is None:
            # Not super(), which costs an object for every event.
            return TLSTransport.doRead(self)
        self._goOn()
        return None

    def doWrite(self) -> Any:
        if self._done is None:
            return super().doWrite()
        self.reactor.removeWriter(self)
        self._goOn()
        return None

    def _goOn(self) -> None:
        try:
            if self._handshake():
                self._done(self)
        except HandshakeFailed as failed:
            self.giveUp(failed)

    def startTLSProtocol(self, protocol: Any) -> None:
        self._done = self._failed = None
        super().startTLSProtocol(protocol)

    def giveUp(self, failed: HandshakeFailed) -> None:
        """The handshake has failed, or took too long."""
        told = self._failed
        if told is None:
            return
        self._done = self._failed = None
        self.disconnected = 1
        self.connected = 0
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        told(self, failed)
        skt, self.tls = self.socket, None
        del self._recv, self.fileno
        if self._alerted:
            Farewell(skt, self.reactor)
        else:
            skt.close()

    def readConnectionLost(self, reason: Failure) -> None:
        if self._failed is not None:
            self.giveUp(HandshakeFailed(_CLOSED, True))
        else:
            super().readConnectionLost(reason)

    def abortConnection(self) -> None:
        if self._failed is not None:
            self.giveUp(HandshakeFailed("the handshake was aborted"))
        else:
            super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        if self._failed is not None:
            self.giveUp(HandshakeFailed(reason.getErrorMessage(), True))
        else:
            super().connectionLost(reason)


class TLSOutgoing(TLSTransport, Outgoing):
    """
    A connection to a server, with TLS: it stands once the handshake has succeeded
    and the server's certificate has been found good.
    """

    def __init__(self, endpoint: Endpoint, protocol: Any, reactor: Any, side: ClientSide) -> None:
        """@param side: knows context, name and session, and verifies."""
        super().__init__(endpoint, protocol, reactor)
        self._side = side

    def _established(self) -> None:
        preface, self.preface = self.preface, None
        if preface is not None:
            first = preface(self.socket)
            try:
                # The ClientHello follows at once.
                if self.socket.send(first, _MORE) != len(first):
                    raise BlockingIOError(EAGAIN, "the socket takes no PROXY header")
            except OSError as failed:
                self._failed(failed)
                return
        self.tls = self._side.start(self.socket)
        self.reactor.removeWriter(self)
        self.startReading()
        self._shake()

    def doRead(self) -> Any:
        if self.connected:
            return super().doRead()
        if self.tls is None:
            return Outgoing.doRead(self)
        return self._shake()

    def doWrite(self) -> Any:
        if self.connected:
            return super().doWrite()
        self.reactor.removeWriter(self)
        return self._shake()

    def _shake(self) -> None:
        if self.tls is None:
            return
        try:
            if not self._handshake():
                return
            self._side.verify(self.tls)
        except HandshakeFailed as failed:
            if self._alerted:
                Farewell(self.socket.dup(), self.reactor)
            self._failed(failed)
            return
        protocol, self._coming = self._coming, None
        self.startTLSProtocol(protocol)

    def _reason(self, failed: SSL.Error) -> str:
        try:
            self._side.verify(self.tls)
        except HandshakeFailed as unverified:
            return unverified.reason
        return reasonOf(failed)

    def _giveUp(self) -> Any:
        if self._coming is not None:
            self.tls = None
            self.stopReading()
        return super()._giveUp()

    def connectionLost(self, reason: Failure) -> None:
        if self._coming is not None and self.tls is not None:
            self._failed(HandshakeFailed(_CLOSED, True))
        else:
            super().connectionLost(reason)

    def readConnectionLost(self, reason: Failure) -> None:
        if self._coming is not None:
            self.connectionLost(reason)
        else:
            super().readConnectionLost(reason)

    def _closing(self, orderly: bool) -> None:
        tls = self.tls
        super()._closing(orderly)
        if self._sound:
            self._side.ended(tls)
