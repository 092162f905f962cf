"""
One connect to a server that a pool has chosen: made for somebody, given up, or tried again
after a moment. Which server is chosen, and what is done about a failure, is
L{lbtwist.pool}'s.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Protocol

from lbtwist.deadlines import Timed
from lbtwist.exchange import Exchange
from lbtwist.net.handshake import HandshakeFailed
from lbtwist.outbound import Attempt, sourceOf
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.pool import Pool

PAUSE = 1.0
"""Seconds before the same server is tried again, when no other is left."""


class Waiting(Protocol):
    """
    Who wants a connection to a server of the pool.

    @ivar exchange: what it is for.
    @ivar place: kept by the pool: what it waits for, L{None} if it does not; has C{leave}.
    """

    exchange: Exchange
    place: Any

    def reuse(self, server: Server) -> Any:
        """@return: a connection that stands, or L{None} to have one made."""

    def newConnection(self, server: Server) -> Any:
        """@return: the protocol for a new connection."""

    def serverReady(self, protocol: Any) -> None:
        """A connection stands; the exchange holds a slot of its server."""

    def serverUnavailable(self, cause: str, stage: str, status: int) -> None:
        """
        No server can be had. The exchange holds no slot.

        @param status: the HTTP status that says so.
        """


class Connecting(Timed):
    """A connection that is being made for somebody, or that will be tried again."""

    __slots__ = ("_attempt", "_began", "_pool", "_server", "_waiting")

    def __init__(self, pool: Pool, waiting: Waiting, server: Server) -> None:
        super().__init__()
        self._pool = pool
        self._waiting = waiting
        self._server = server
        self._attempt: Attempt | None = None
        self._began = 0.0

    def start(self) -> None:
        pool = self._pool
        server = self._server
        self._began = pool.seconds()
        if server.endpoint is None:
            # It was to be tried again, and is to be found by a name since.
            self._failed(OSError(errno.EHOSTUNREACH, "its name is not resolved yet"))
            return
        try:
            attempt = Attempt(
                server, self._waiting.newConnection(server), pool.reactor, pool.deadlines,
                self._failed, self._connected, self._waiting.exchange,
            )  # fmt: skip
        except OSError as failed:
            # There are no descriptors for a socket.
            self._failed(failed)
            return
        self._attempt = attempt
        attempt.start(pool.config.timeout_connect, self._began)

    expired = start

    def later(self) -> None:
        """Try the same once more, after a moment."""
        pool = self._pool
        pool.deadlines.arm(self, PAUSE, pool.seconds())

    def leave(self) -> None:
        self._pool.deadlines.forget(self)
        if self._attempt is not None:
            self._attempt.cancel()

    def _connected(self, protocol: Any) -> None:
        self._attempt = None
        waiting = self._waiting
        waiting.place = None
        exchange = waiting.exchange
        pool = self._pool
        exchange.connectedAt = pool.seconds()
        if pool.tellsSource:
            exchange.source = sourceOf(protocol.transport)
        if pool.persistence is not None:
            pool.persistence.connected(exchange)
        server = self._server
        traffic = server.traffic
        traffic.connects += 1
        traffic.timesBy(exchange.frontend).connected.observe(exchange.connectedAt - self._began)
        if server.watch is not None:
            server.watch.connected(exchange)
        waiting.serverReady(protocol)

    def _failed(self, failed: OSError) -> None:
        self._attempt = None
        traffic = self._server.traffic
        traffic.connectFailures += 1
        if isinstance(failed, HandshakeFailed):
            traffic.tlsFailures += 1
        self._pool.connectFailed(self._waiting, self._server, failed)
