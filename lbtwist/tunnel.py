"""
Bytes passed both ways without being parsed.

A L{Tunnel} joins two transports: back-pressure, half-close with its own timeouts,
reset as reset, byte counts. Not here: how a connection comes to be a tunnel
(L{lbtwist.session}, L{lbtwist.http.relay}), and who looks at what passes
(L{lbtwist.watching}).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attr
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.config.model import FrontendConfig, PoolConfig
from lbtwist.deadlines import Deadlines, Timed
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.net.splice import Splice, spliceable
from lbtwist.net.tcp import READ_SIZE


@attr.frozen
class Timeouts:
    """
    The timeouts of a tunnel, in seconds; 0 is no limit.

    @ivar client: silence of the client; C{clientFin} after it ended its side.
    @ivar server: silence of the server; C{serverFin} after it ended its side.
    @ivar tunnel: silence of both, instead of C{client} and C{server}.
    """

    client: float
    server: float
    tunnel: float
    clientFin: float
    serverFin: float

    @classmethod
    def of(
        cls, frontend: FrontendConfig, pool: PoolConfig, settings: dict[str, Any] | None = None
    ) -> Timeouts:
        """@param settings: of the exchange; they go before the configuration's."""
        if settings:
            frontend = attr.evolve(frontend, **_only(settings, "timeout_client"))
            pool = attr.evolve(pool, **_only(settings, "timeout_server", "timeout_tunnel"))
        return cls(
            frontend.timeout_client, pool.timeout_server, pool.timeout_tunnel,
            frontend.timeout_client_fin, pool.timeout_server_fin,
        )  # fmt: skip

    def limit(self, clientEnded: bool, serverEnded: bool) -> tuple[float, str]:
        """
        How long the tunnel may be silent now.

        @return: seconds, and whose timeout that is: one of L{Cause}.
        """
        client = self.tunnel or self.client
        server = self.tunnel or self.server
        if clientEnded and self.clientFin:
            client = self.clientFin
        if serverEnded and self.serverFin:
            server = self.serverFin
        if client and (not server or client <= server):
            return client, Cause.CLIENT_TIMEOUT
        return server, Cause.SERVER_TIMEOUT


def _only(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


@implementer(IHalfCloseableProtocol)
class Side:
    """
    One side of a tunnel: the protocol of its transport, and the producer of the
    other's.

    @ivar count: bytes read from it.
    @ivar ended: it has ended its side.
    @ivar lost: its connection is gone.
    """

    __slots__ = (
        "_full", "_splice", "count", "ended", "lost", "other", "seconds", "transport", "tunnel",
    )  # fmt: skip

    def __init__(self, transport: Any = None) -> None:
        self.transport = transport
        self.other: Side | None = None
        self.tunnel: Any = None
        self.seconds: Callable[[], float] = float
        self.count = 0
        self.ended = False
        self.lost = False
        self._full = 0
        self._splice: Splice | None = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        size = len(data)
        self.count += size
        tunnel = self.tunnel
        tunnel.activeAt = self.seconds()
        other: Any = self.other
        other.transport.write(data)
        # A stream that fills every read is passed on inside the kernel.
        if size == READ_SIZE:
            self._full += 1
            if self._full > 3 and self._splice is None:
                self._beginSplice(other.transport)
        else:
            self._full = 0

    def _beginSplice(self, sink: Any) -> None:
        # Without descriptors for a pipe the bytes go on as they do.
        with suppress(OSError):
            if spliceable(self.transport, sink):
                self._splice = Splice(self.transport, sink, self, self.moved)

    def moved(self, size: int) -> None:
        """Bytes were passed on inside the kernel."""
        self.count += size
        self.tunnel.activeAt = self.seconds()

    def endSplice(self) -> None:
        """Give back what a splice holds."""
        if self._splice is not None:
            self._splice.release()
            self._splice = None

    def readConnectionLost(self) -> None:
        self.ended = True
        self.endSplice()
        self.tunnel.sideEnded(self)

    def writeConnectionLost(self) -> None:
        """The other side has ended and is told of what follows by reading."""

    def connectionLost(self, reason: Failure) -> None:
        self.lost = True
        self.tunnel.sideLost(self, reason)

    # the producer of the other side's transport

    def pauseProducing(self) -> None:
        if not self.lost and not self.ended:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if not self.lost and not self.ended:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other side is lost; the tunnel is told so itself."""


class Tunnel(Timed):
    """
    Two transports joined, until both have ended.

    @ivar activeAt: the clock's seconds when a byte last moved.
    """

    __slots__ = (
        "_deadlines", "_ended", "_progress", "_timeouts", "activeAt", "cause", "client",
        "exchange", "server",
    )  # fmt: skip

    def __init__(
        self,
        exchange: Exchange,
        client: Side,
        server: Side,
        deadlines: Deadlines,
        timeouts: Timeouts,
        ended: Callable[[], None],
    ) -> None:
        """
        @param ended: called once, when nothing is left of either side.
        """
        super().__init__()
        self.exchange = exchange
        self._deadlines = deadlines
        self._timeouts = timeouts
        self._ended = ended
        self._progress = 0
        self.activeAt = 0.0
        self.cause = ""
        self.client = client
        self.server = server
        for side, other in ((client, server), (server, client)):
            side.other = other
            side.tunnel = self
            side.seconds = deadlines.seconds

    def __repr__(self) -> str:
        return f"<Tunnel {self.client.count} in {self.server.count} out {self.cause or 'open'}>"

    def start(self, fromClient: bytes, fromServer: bytes) -> None:
        """
        Begin to pass bytes.

        @param fromClient: what was read from the client and not passed on.
        @param fromServer: likewise.
        """
        self.activeAt = self._deadlines.seconds()
        exchange = self.exchange
        assert exchange.server is not None
        exchange.server.sessions.add(self)
        for side in (self.client, self.server):
            assert side.other is not None
            side.transport.protocol = side
            side.other.transport.registerProducer(side, True)
        for side, early in ((self.client, fromClient), (self.server, fromServer)):
            if early and side.other is not None and not side.other.lost:
                side.dataReceived(early)
        if self.client.other is None:
            # Whoever watches it has ended it.
            return
        self._arm()
        for side in (self.client, self.server):
            if not side.ended and not side.lost and not side.transport.reading:
                assert side.other is not None
                if not side.other.transport.producerPaused:
                    side.transport.resumeProducing()
        if self.client.ended:
            # It had ended its side before the server was there.
            self.sideEnded(self.client)

    def _arm(self) -> None:
        seconds, _ = self._timeouts.limit(self.client.ended, self.server.ended)
        now = self._deadlines.seconds()
        if seconds:
            seconds = max(seconds - (now - self.activeAt), 0.001)
        self._deadlines.arm(self, seconds, now)

    def expired(self) -> None:
        progress = self.client.transport.progress + self.server.transport.progress
        now = self._deadlines.seconds()
        if progress != self._progress:
            self._progress = progress
            self.activeAt = now
        seconds, cause = self._timeouts.limit(self.client.ended, self.server.ended)
        if now - self.activeAt < seconds:
            self._arm()
        else:
            self.abortSession(cause)

    def abortSession(self, cause: str) -> None:
        """End both sides at once."""
        if self.cause in ("", Cause.DONE):
            # Both had ended, but not all of it was delivered.
            self.cause = cause
        for side in (self.client, self.server):
            side.endSplice()
            if not side.lost:
                side.transport.abortConnection()

    def sideEnded(self, side: Side) -> None:
        """One side has ended; what it sent is still on its way."""
        other = side.other
        assert other is not None
        other.transport.unregisterProducer()
        if not other.ended:
            self.activeAt = self._deadlines.seconds()
            other.transport.loseWriteConnection()
            self._arm()
            return
        self.cause = self.cause or Cause.DONE
        side.transport.loseConnection()
        other.transport.loseConnection()

    def sideLost(self, side: Side, reason: Failure) -> None:
        """One side's connection is gone."""
        other = side.other
        assert other is not None
        side.endSplice()
        other.endSplice()
        if self.cause in ("", Cause.DONE):
            if reason.check(ConnectionDone):
                self.cause = Cause.DONE
            elif not reason.check(ConnectionAborted):
                self.exchange.reason = reason.getErrorMessage()
                self.cause = Cause.CLIENT if side is self.client else Cause.SERVER
        if not other.lost:
            if self.cause == Cause.DONE:
                other.transport.unregisterProducer()
                other.transport.loseConnection()
            else:
                other.transport.abortConnection()
            return
        self._finish()

    def release(self) -> None:
        """
        End here, in good order, and leave both connections to who has asked for it:
        whoever is their protocol then is told of them.
        """
        for side in (self.client, self.server):
            side.endSplice()
            side.transport.unregisterProducer()
        self._ended = _nothing
        self.cause = Cause.DONE
        self._finish()

    def _finish(self) -> None:
        self._deadlines.forget(self)
        exchange = self.exchange
        assert exchange.server is not None
        exchange.server.sessions.discard(self)
        exchange.bytesIn += self.client.count
        exchange.bytesOut += self.server.count
        cause = self.cause or Cause.CLIENT
        for side in (self.client, self.server):
            # Circles would keep all of it until the collector comes.
            side.other = side.tunnel = None
        exchange.stage = Stage.DONE if cause == Cause.DONE else Stage.DATA
        exchange.finish(cause, self._deadlines.seconds())
        self._ended()


def _nothing() -> None:
    """What is to be done when a client's connection goes on."""
