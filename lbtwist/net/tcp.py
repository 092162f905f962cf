"""
Stream transports that send at once, for TCP and UNIX sockets.

Twisted's own transport queues every write for the next turn of the reactor; this
one tries to send first and queues what is left. An error that a write meets is
reported from the event loop, never from inside C{write}. Closing a transport
with nothing left to send closes it there and then, and C{connectionLost} is
called before C{loseConnection} returns.

They are ITransports, IConsumers, IPushProducers and IHalfCloseableDescriptors like
Twisted's, and work on every reactor that watches file descriptors. Not here: how a
connection comes to be (L{lbtwist.net.listener}, L{lbtwist.net.outgoing}), TLS, and
which address belongs to which option (L{lbtwist.net.addresses}).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import EPIPE
from typing import Any

from twisted.internet import address, error, main, tcp
from twisted.python.failure import Failure

READ_SIZE = 65536
"""The most bytes one read takes."""

HIGH_WATER = 65536
"""Unsent bytes beyond which the producer is paused."""

_DONE = Failure(error.ConnectionDone())
_LOST = Failure(error.ConnectionLost())
# Linux's number of it, which the socket module does not name.
_TCP_REPAIR = 19
_ABORTED = Failure(error.ConnectionAborted())
_MAX_PIECES = 64


class Transport(tcp.Connection):
    """
    One connected stream.

    @ivar reading: whether it is watched for input.
    @ivar plain: what is written here is what goes over the wire.
    @ivar progress: grows whenever unsent bytes could be sent; a peer that reads
        slowly is told apart from one that has stopped by it.
    """

    reactor: Any
    producer: Any = None
    plain = True
    progress = 0
    reading = False
    producerPaused = False
    streamingProducer = False
    _broken: Failure | None = None

    def __init__(self, skt: socket.socket, reactor: Any) -> None:
        # Not the base class's: it makes buffers that are not used here.
        self.reactor = reactor
        self.socket = skt
        self.fileno = skt.fileno
        self._recv = skt.recv
        # The way straight to the kernel; None while bytes wait, or when no
        # more may be written.
        self._send: Callable[[bytes], int] | None = None
        self._waiting: list[Any] | None = None
        self._unsent = 0

    def __repr__(self) -> str:
        state = "connected" if self.connected else "closed"
        return f"<{type(self).__name__} {state} {self._unsent} unsent>"

    def startProtocol(self, protocol: Any) -> None:
        """The connection stands: hand it to its protocol."""
        self.connected = 1
        self._send = self.socket.send
        self.protocol = protocol
        self.startReading()
        protocol.makeConnection(self)

    # reading

    def startReading(self) -> None:
        self.reading = True
        self.reactor.addReader(self)

    def stopReading(self) -> None:
        self.reading = False
        self.reactor.removeReader(self)

    def doRead(self) -> Any:
        try:
            data = self._recv(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as failed:
            return failed if isinstance(failed, ConnectionError) else main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def readConnectionLost(self, reason: Failure) -> None:
        self.reading = False
        if self._broken is not None:
            # A write took the error; reading after it finds only an end.
            self.connectionLost(self._broken)
            return
        ended = getattr(self.protocol, "readConnectionLost", None)
        if ended is None:
            self.connectionLost(reason)
        else:
            ended()

    # What protocols ask of a connection of TCP; a UNIX socket sends at once, and ends with
    # its process.

    def setTcpNoDelay(self, enabled: bool) -> None:
        if self.socket.family != socket.AF_UNIX:
            super().setTcpNoDelay(enabled)

    def getTcpNoDelay(self) -> bool:
        return self.socket.family == socket.AF_UNIX or super().getTcpNoDelay()

    def setTcpKeepAlive(self, enabled: bool) -> None:
        if self.socket.family != socket.AF_UNIX:
            super().setTcpKeepAlive(enabled)

    def getTcpKeepAlive(self) -> bool:
        return self.socket.family != socket.AF_UNIX and super().getTcpKeepAlive()

    def peekEnd(self) -> bool:
        """Whether the peer has closed, or sent something, without reading it."""
        try:
            self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    # writing

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self._unsent

    @property
    def writable(self) -> bool:
        """Whether a write would go straight to the kernel."""
        return self._send is not None

    def write(self, data: bytes) -> None:
        send = self._send
        if send is not None:
            try:
                sent = send(data)
            except BlockingIOError:
                sent = 0
            except OSError as failed:
                self._writeFailed(failed)
                return
            if sent == len(data):
                return
            self._send = None
            self._waiting = [memoryview(data)[sent:] if sent else data]
            self._unsent = len(data) - sent
            self.reactor.addWriter(self)
        elif self._waiting is not None and not self._writeDisconnecting:
            if not data:
                return
            self._waiting.append(data)
            self._unsent += len(data)
        else:
            return
        if self._unsent > HIGH_WATER and self.streamingProducer and not self.producerPaused:
            self.producerPaused = True
            self.producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def writeRefused(self) -> None:
        """Somebody else wrote to the socket, and was told that it is closed."""
        self._writeFailed(BrokenPipeError(EPIPE, os.strerror(EPIPE)))

    def _writeFailed(self, failed: OSError) -> None:
        """
        Nothing more can be sent. What the peer sent before may still be read,
        and reading it ends the connection; if nobody reads, end it soon.
        """
        self._send = self._waiting = None
        self._unsent = 0
        self._writeDisconnected = True
        self._broken = Failure(failed)
        if self.disconnecting or not self.reading:
            self.reactor.callLater(0, self.connectionLost, self._broken)
        elif self.producer is not None and self.producerPaused:
            # Let what it still has run dry.
            self.producerPaused = False
            self.producer.resumeProducing()

    def doWrite(self) -> Any:
        waiting = self._waiting
        if waiting is None:
            self.reactor.removeWriter(self)
            if self.producer is not None and not self.streamingProducer:
                self.producer.resumeProducing()
            return None
        try:
            sent = self._sendWaiting(waiting)
        except BlockingIOError:
            return None
        except OSError as failed:
            self.reactor.removeWriter(self)
            self._writeFailed(failed)
            return None
        self.progress += 1
        self._unsent -= sent
        if self._unsent:
            gone = 0
            for piece in waiting:
                if sent < len(piece):
                    break
                sent -= len(piece)
                gone += 1
            del waiting[:gone]
            if sent:
                waiting[0] = memoryview(waiting[0])[sent:]
            return None
        self._waiting = None
        self.reactor.removeWriter(self)
        if self._writeDisconnecting:
            self._closeWrite()
        elif not self.disconnecting or self.producer is not None:
            pulled = self.producer is not None and not self.streamingProducer
            self._send = self._sendPulled if pulled else self._sendDirectly()
        if self.producer is not None:
            if self.producerPaused or not self.streamingProducer:
                self.producerPaused = False
                self.producer.resumeProducing()
        elif self.disconnecting:
            self._close()
        return None

    def _sendWaiting(self, waiting: list[Any]) -> int:
        """
        @return: how many of the bytes that wait were sent.
        @raise OSError: like a socket's C{send}.
        """
        if len(waiting) == 1:
            return int(self.socket.send(waiting[0]))
        return self.socket.sendmsg(waiting[:_MAX_PIECES])

    def _sendDirectly(self) -> Callable[[Any], int]:
        """@return: what L{_send} is while nothing waits."""
        return self.socket.send

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"{self!r} has a producer already: {self.producer!r}")
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = streaming
        self.producerPaused = False
        if not streaming:
            if self._send is not None:
                self._send = self._sendPulled
            producer.resumeProducing()
        elif self._unsent > HIGH_WATER:
            self.producerPaused = True
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        self.producerPaused = self.streamingProducer = False
        if self.disconnecting and not self._unsent and self.connected:
            self._close()
        elif self._send is not None:
            self._send = self._sendDirectly()

    def _sendPulled(self, data: bytes) -> int:
        """Send for a producer that is asked for more each time: ask it soon."""
        sent = self._sendDirectly()(data)
        self.reactor.addWriter(self)
        return sent

    # ending

    def _closeWrite(self) -> None:
        self._send = None
        self._writeDisconnected = True
        self._shutWrite()

    def _shutWrite(self) -> None:
        """Tell the peer that our side has ended."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            # The peer was quicker; reading will meet its reset.
            return

    def loseWriteConnection(self) -> None:
        """Send what waits, then end our side; reading goes on."""
        if self._writeDisconnecting or self._writeDisconnected or not self.connected:
            return
        self._writeDisconnecting = True
        if not self._unsent:
            self._closeWrite()

    def loseConnection(self, _reason: Any = None) -> None:
        """Send what waits, then close. Nothing more is read."""
        if not self.connected or self.disconnecting:
            return
        if self._unsent or (self.producer is not None and not self._writeDisconnected):
            self.disconnecting = 1
            self.stopReading()
            return
        self._close()

    def _close(self) -> None:
        """All that waited is sent, and both sides are to end."""
        self.connectionLost(_DONE)

    def abortConnection(self) -> None:
        """Close at once with a reset; what waits is lost."""
        if not self.disconnected:
            self.connectionLost(_ABORTED)

    def hushPeer(self) -> None:
        """
        Have the peer not hear that the connection ends: the kernel says nothing
        (C{TCP_REPAIR}, with the privilege for it), or nothing that would come further
        than the next router.
        """
        skt = self.socket
        with suppress(OSError):
            skt.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
            return
        for level, option in (
            (socket.IPPROTO_IP, socket.IP_TTL),
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
        ):
            with suppress(OSError):
                skt.setsockopt(level, option, 1)

    def connectionLost(self, reason: Failure) -> None:
        if self.disconnected:
            return
        self.disconnected = 1
        self.connected = 0
        self._send = self._waiting = None
        self._unsent = 0
        skt = self.socket
        forget = getattr(self.reactor, "forget", None)
        if forget is not None:
            forget(skt.fileno())
        else:
            self.stopReading()
            self.stopWriting()
        producer = self.producer
        if producer is not None:
            self.producer = None
            self.streamingProducer = False
            producer.stopProducing()
        orderly = not reason.check(error.ConnectionAborted)
        self._closing(orderly)
        self._closeSocket(orderly)
        protocol = self.protocol
        # Breaks the circles: a closed transport holds nothing.
        del self.protocol, self._recv, self.fileno
        self._broken = None
        protocol.connectionLost(reason)

    def _closing(self, orderly: bool) -> None:
        """
        The socket is about to be closed.

        @param orderly: and not with a reset.
        """


class Accepted(Transport):
    """
    A connection from a client.

    @ivar client: the peer's socket address.
    """

    def __init__(self, skt: socket.socket, client: Any, reactor: Any) -> None:
        super().__init__(skt, reactor)
        self.client = client

    def getPeer(self) -> Any:
        return twistedAddress(self.socket.family, self.client)

    def getHost(self) -> Any:
        return twistedAddress(self.socket.family, self.socket.getsockname())


def twistedAddress(family: int, name: Any) -> Any:
    """
    @param name: a socket's address.
    @return: the same as Twisted's interfaces tell it.
    """
    if family == socket.AF_UNIX:
        return address.UNIXAddress(name or None)
    kind = address.IPv6Address if family == socket.AF_INET6 else address.IPv4Address
    return kind("TCP", *name)
