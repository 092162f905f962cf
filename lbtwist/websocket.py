"""
WebSockets passed on without being read, but for where their frames end: so that those who
talk by one can be told when the balancer goes away (RFC 6455 section 7.4.1).

Who is told first is the client, between two messages of the server. What it still says goes to
the server, the last of it its own Close. So no message of a client is lost, and what is lost of
the server's messages is what it has sent to somebody who has gone, of which its own side of the
closing handshake tells it.

Not here: what a frame is (L{lbtwist.sansio.websocket}), how bytes are passed
(L{lbtwist.tunnel}), and when it is time to go.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from lbtwist.exchange import Cause
from lbtwist.net.splice import LEAST, Splice, spliceable
from lbtwist.sansio.websocket import GOING_AWAY, Frames, close
from lbtwist.tunnel import Side, Tunnel

CLOSING = 5.0
"""Seconds that the two have to end the connection, once the client was told to."""

LINGER = 2.0
"""Seconds for what is unsent after that."""

FULL_READS = 16
"""Full reads in a row after which the bytes are passed on inside the kernel, whatever frames
they come in; where the frames end is not known any more then."""

_IN_ORDER = Failure(ConnectionDone())
_passOn = Side.dataReceived
_TO_CLIENT = close(GOING_AWAY, False)
_TO_SERVER = close(GOING_AWAY, True)


class FramedSide(Side):
    """
    One side of a WebSocket.

    @ivar frames: what has come of it.
    """

    __slots__ = ("frames",)

    def __init__(self, transport: Any = None) -> None:
        super().__init__(transport)
        self.frames = Frames()

    def dataReceived(self, data: bytes) -> None:
        tunnel = self.tunnel
        if tunnel.leaving:
            tunnel.passes(self, data)
            return
        self.frames.passed(data)
        _passOn(self, data)

    def _beginSplice(self, sink: Any) -> None:
        left = self.frames.left
        if left < LEAST:
            if self._full > FULL_READS and not self.tunnel.leaving:
                super()._beginSplice(sink)
                if self._splice is not None:
                    self.frames.lose()
            return
        # No further than the frame: where the next one begins is known then.
        with suppress(OSError):
            if spliceable(self.transport, sink):
                self._splice = Splice(
                    self.transport, sink, self, self.moved, left, self._frameSpliced
                )

    def moved(self, size: int) -> None:
        self.frames.skipped(size)
        super().moved(size)

    def _frameSpliced(self) -> None:
        self._splice = None
        self._full = 0
        if self.tunnel.leaving:
            self.tunnel.passes(self, b"")


class WebSocket(Tunnel):
    """
    A tunnel between two L{FramedSide}s.

    @ivar leaving: it ends as soon as it can.
    """

    __slots__ = ("_answered", "_ending", "_told", "_until", "leaving")

    client: FramedSide
    server: FramedSide

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.leaving = False
        self._told = self._answered = self._ending = False
        self._until = 0.0

    def drain(self) -> None:
        """
        End it, with a Close in between two messages: at once where none is under way.
        Where that is not known nothing is done.
        """
        if self.leaving or self.client.other is None:
            return
        self.leaving = True
        self._perhapsTell()

    def passes(self, side: Side, data: bytes) -> None:
        """
        Something has come while it is time to go.

        @param data: C{b""} where it was passed on by the kernel.
        """
        if side is self.server:
            if self._told:
                return
            size = self.server.frames.toBoundary(data)
            if size:
                _passOn(side, data[:size])
            self._perhapsTell()
        elif not self._answered:
            self.client.frames.passed(data)
            if data:
                _passOn(side, data)
            self._perhapsAnswered()

    def _perhapsTell(self) -> None:
        server = self.server
        frames = server.frames
        if not (frames.between or frames.finished or server.ended):
            return
        self._told = True
        if not (frames.closed or server.ended):
            self.client.transport.write(_TO_CLIENT)
            self.exchange.bytesOut += len(_TO_CLIENT)
        self._until = self._deadlines.seconds() + CLOSING
        self._arm()
        self._perhapsAnswered()

    def _perhapsAnswered(self) -> None:
        """Both Closes may have passed: who is no client ends the connection (section 7.1.1)."""
        if not (self._told and self.client.frames.finished):
            return
        self._answered = True
        transport = self.client.transport
        transport.unregisterProducer()
        transport.loseWriteConnection()
        # What has held it does not matter any more: it is read to nowhere, to its end.
        if not self.server.transport.reading:
            self.server.resumeProducing()

    def sideLost(self, side: Side, reason: Failure) -> None:
        """
        Once both have closed it does not matter how a connection ends: with TLS often without
        a word.
        """
        server = self.server
        if self._answered and side is self.client and not (server.lost or server.ended):
            # What the server has to say to the end is not to meet a closed socket, whose reset
            # could destroy what it has not read.
            side.ended = True
            side.endSplice()
            server.transport.unregisterProducer()
            server.transport.loseWriteConnection()
            return
        if self._answered or (self._told and side is server):
            reason = _IN_ORDER
        super().sideLost(side, reason)

    def _arm(self) -> None:
        if not self._until:
            super()._arm()
            return
        now = self._deadlines.seconds()
        self._deadlines.arm(self, max(self._until - now, 0.001), now)

    def expired(self) -> None:
        if not self._until:
            super().expired()
        elif self._deadlines.seconds() < self._until:
            self._arm()
        elif self._ending:
            self.abortSession(Cause.KILLED)
        else:
            self._end()

    def _end(self) -> None:
        """They have had their time."""
        self._ending = True
        self._until = self._deadlines.seconds() + LINGER
        self._arm()
        client, server = self.client.transport, self.server.transport
        if self.client.frames.between and not self.client.frames.closed:
            server.write(_TO_SERVER)
        for side in (self.server, self.client):
            side.endSplice()
        for transport in (server, client):
            transport.unregisterProducer()
            transport.loseConnection()

    def _finish(self) -> None:
        if self._ending and not self._answered and self.cause == Cause.DONE:
            self.cause = Cause.KILLED
        super()._finish()
