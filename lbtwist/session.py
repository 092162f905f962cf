"""
A client's connection in C{mode = tcp}: it gets a server from the pool and then becomes
a tunnel. Not here: how its bytes are passed (L{lbtwist.tunnel}), and how they are looked
at before (L{lbtwist.inspecting}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.inspecting import InspectedSide, Inspection
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.tunnel import Side, Timeouts, Tunnel

MAX_EARLY = 65536
"""Bytes read from a client before its server is connected."""


@implementer(IHalfCloseableProtocol)
class Session:
    """
    A client's connection in C{mode = tcp}, until a server is connected.

    @ivar place: where it waits for a server; see L{lbtwist.pool}. Before that an
        L{Inspection}, if there is anything to see.
    """

    __slots__ = (
        "_client", "_closed", "_deadlines", "_early", "_ended", "_pool", "_timeouts", "exchange",
        "place",
    )  # fmt: skip

    def __init__(
        self,
        exchange: Exchange,
        pool: Pool,
        deadlines: Deadlines,
        timeouts: Timeouts,
        ended: Callable[[], None],
    ) -> None:
        """
        @param ended: called once, when nothing is left of the connection.
        """
        self.exchange = exchange
        self.place: Any = None
        self._pool = pool
        self._deadlines = deadlines
        self._timeouts = timeouts
        self._ended = ended
        self._client = Side()
        self._early = b""
        self._closed = False

    @property
    def number(self) -> int:
        """Of the connection."""
        return self.exchange.connection.number

    # the client's transport, until the tunnel stands

    def makeConnection(self, transport: Any) -> None:
        self._client.transport = transport
        exchange = self.exchange
        exchange.pool = self._pool
        exchange.requestAt = exchange.startedAt
        pool = self._pool
        if pool.inspecting:
            looks = [one.inspectClient(exchange) for one in pool.inspecting]
            looks = [look for look in looks if look is not None]
            if looks:
                delay = pool.config.inspect_delay
                self.place = Inspection(looks, self._deadlines, delay, self._inspected)
                return
        self._connect()

    def _inspected(self) -> None:
        self.place = None
        self.exchange.early = self._early
        self._connect()

    def _connect(self) -> None:
        exchange, pool = self.exchange, self._pool
        watch = exchange.frontend.watch
        if watch is not None:
            watch.sessionBegan(exchange, pool)
        pool.connect(self)

    def dataReceived(self, data: bytes) -> None:
        self._early += data
        full = len(self._early) >= MAX_EARLY
        if full:
            self._client.transport.pauseProducing()
        inspection = self._inspection
        if inspection is not None:
            inspection.look(self._early)
            if full and self.place is inspection:
                inspection.end()

    @property
    def _inspection(self) -> Inspection | None:
        return self.place if self.place.__class__ is Inspection else None

    def readConnectionLost(self) -> None:
        if self.exchange.stage == Stage.QUEUE and not self._early:
            # It never sent anything, and does not want to wait any more.
            self._client.transport.loseConnection()
        else:
            self._client.ended = True
            if self._inspection is not None:
                self._inspection.end()

    def writeConnectionLost(self) -> None:
        """Our side is not closed before there is a tunnel."""

    def connectionLost(self, reason: Failure) -> None:
        if not self._closed:
            self._pool.leave(self)
            self._close(Cause.CLIENT, self.exchange.stage)
        self._ended()

    def abortSession(self, cause: str) -> None:
        """End it at once."""
        if not self._closed:
            self._pool.leave(self)
            self._close(cause, self.exchange.stage)
        self._client.transport.abortConnection()

    def retire(self) -> None:
        """A session has no moment between two exchanges: it goes on."""

    def drain(self) -> None:
        """A session has no moment between two exchanges: it goes on."""

    # from the pool: L{lbtwist.pool.Waiting}

    def reuse(self, server: Server) -> None:
        """Connections are never shared between sessions."""

    def newConnection(self, server: Server) -> Side:
        pool = self._pool
        if pool.inspecting:
            looks = [one.inspectServer(self.exchange) for one in pool.inspecting]
            looks = [look for look in looks if look is not None]
            if looks:
                return InspectedSide(looks)
        return Side()

    def serverReady(self, protocol: Side) -> None:
        self.exchange.stage = Stage.DATA
        # What becomes of the exchange is the tunnel's concern.
        self._closed = True
        early, self._early, self.exchange.early = self._early, b"", b""
        Tunnel(
            self.exchange, self._client, protocol, self._deadlines, self._timeouts, self._ended
        ).start(early, b"")

    def serverUnavailable(self, cause: str, stage: str, status: int) -> None:
        self._close(cause, stage)
        self._client.transport.loseConnection()

    def _close(self, cause: str, stage: str) -> None:
        self._closed = True
        exchange = self.exchange
        exchange.stage = stage
        exchange.finish(cause, self._deadlines.seconds())
