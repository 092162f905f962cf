"""
A pool at work: choose a server, wait for a slot of it, connect or reuse, and try
another where that failed.

The pool decides and counts; what is spoken on a connection is the client's
(L{Waiting}) concern, and so is everything after the connection stands.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attr

from lbtwist.config.model import PoolConfig
from lbtwist.deadlines import Deadlines, Timed
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.interfaces import IFollowing, IForeseeing
from lbtwist.net.handshake import HandshakeFailed
from lbtwist.outbound import Attempt, sourceOf
from lbtwist.reuse import Reuse
from lbtwist.rules.rulebook import NO_RULES
from lbtwist.server import Forecast, Server
from lbtwist.stats import PoolTraffic

PAUSE = 1.0
"""Seconds before the same server is tried again, when no other is left."""

_RAN_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""Of a connect: no descriptor, no memory, no port was left."""


class Waiting(Protocol):
    """
    Who wants a connection to a server of the pool.

    @ivar exchange: what it is for.
    @ivar place: kept by the pool: where it waits, L{None} if it does not.
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


class Place(Timed):
    """A place in the queue."""

    __slots__ = ("_pool", "waiting")

    def __init__(self, pool: Pool, waiting: Waiting) -> None:
        super().__init__()
        self._pool = pool
        self.waiting: Waiting | None = waiting

    def leave(self) -> None:
        self.waiting = None
        self._pool.left(self)

    def expired(self) -> None:
        waiting = self.waiting
        self.leave()
        assert waiting is not None
        waiting.place = None
        waiting.serverUnavailable(Cause.SERVER_TIMEOUT, Stage.QUEUE, 503)


class Connecting(Timed):
    """A connection that is being made for somebody, or that will be tried again."""

    __slots__ = ("_attempt", "_pool", "_server", "_waiting")

    def __init__(self, pool: Pool, waiting: Waiting, server: Server) -> None:
        super().__init__()
        self._pool = pool
        self._waiting = waiting
        self._server = server
        self._attempt: Attempt | None = None

    def start(self) -> None:
        pool = self._pool
        server = self._server
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
        attempt.start(pool.config.timeout_connect, pool.seconds())

    expired = start

    def leave(self) -> None:
        self._pool.deadlines.forget(self)
        if self._attempt is not None:
            self._attempt.cancel()

    def _connected(self, protocol: Any) -> None:
        self._attempt = None
        waiting = self._waiting
        waiting.place = None
        waiting.exchange.connectedAt = self._pool.seconds()
        if self._pool.tellsSource:
            waiting.exchange.source = sourceOf(protocol.transport)
        self._server.traffic.connects += 1
        waiting.serverReady(protocol)

    def _failed(self, failed: OSError) -> None:
        self._attempt = None
        traffic = self._server.traffic
        traffic.connectFailures += 1
        if isinstance(failed, HandshakeFailed):
            traffic.tlsFailures += 1
        self._pool.connectFailed(self._waiting, self._server, failed, self)


class Pool:
    """
    The servers of one pool and who waits for them.

    @ivar servers: all of them: those that are written down in their order, then the others.
    @ivar active: exchanges that hold a slot of a server.
    @ivar usable: those that new clients may be sent to.
    @ivar tellsSource: whether exchanges are told from where their server is connected to.
    @ivar memberships: the L{lbtwist.membership.Membership} of each source of servers.
    @ivar rules: what is asked of exchanges on their way through it.
    """

    def __init__(
        self,
        config: PoolConfig,
        servers: Iterable[Server],
        balancer: Any,
        reactor: Any,
        deadlines: Deadlines,
    ) -> None:
        self.config = config
        self.name = config.name
        self.servers = tuple(servers)
        self.balancer = balancer
        self.reactor = reactor
        self.deadlines = deadlines
        self.seconds: Callable[[], float] = deadlines.seconds
        self.reuse = Reuse(config, deadlines)
        self.active = 0
        self.traffic = PoolTraffic()
        self.rules = NO_RULES
        self.tellsSource = False
        self.memberships: tuple[Any, ...] = ()
        self.usable: tuple[Server, ...] = ()
        self._weights: tuple[int, ...] = ()
        self._members: dict[str, Server] = {}
        # How many of the usable are full, and the others; None if that is not known.
        self._full = 0
        self._free: tuple[Server, ...] | None = None
        self._follower = balancer if IFollowing.providedBy(balancer) else None
        # What is told of each server whose count has changed, if anything is.
        self._counted: Callable[[Server], object] | None = (
            None if self._follower is None else self._follower.follow()
        )
        self._queue: dict[Place, None] = {}
        self._serving = False
        self.serversChanged()

    def __repr__(self) -> str:
        return f"<Pool {self.name} {len(self.usable)}/{len(self.servers)} usable {self.active}>"

    @property
    def queued(self) -> int:
        """How many exchanges wait for a slot."""
        return len(self._queue)

    def find(self, name: str) -> Server:
        """@raise KeyError: if the pool has no such server."""
        for server in self.servers:
            if server.name == name:
                return server
        raise KeyError(name)

    def setServers(self, servers: Iterable[Server]) -> None:
        """
        Have these servers from now on.

        @param servers: those that are not among them have nothing to do any more.
        """
        self.servers = tuple(servers)
        self.serversChanged()

    def serversChanged(self) -> None:
        """A server became usable, or is not any more, or has other limits."""
        usable = tuple(s for s in self.servers if s.usable and not s.backup)
        if not usable:
            # One backup at a time, in written order, as HAProxy does.
            usable = tuple(s for s in self.servers if s.usable and s.backup)[:1]
        weights = tuple(server.weight for server in usable)
        if usable != self.usable or weights != self._weights:
            # The same tuple only as long as it means the same: see IBalancer.
            self.usable = usable
            self._weights = weights
        self._members = {server.name: server for server in usable}
        self._full = sum(server.full for server in usable)
        self._free = None
        if self._follower is not None:
            # Limits may be others.
            for server in usable:
                if not server.full:
                    self._follower.freed(server)
                elif self._counted is not None:
                    self._counted(server)
        self._serve()

    # from the request's side

    def connect(self, waiting: Waiting) -> None:
        """
        Get a connection to a server for an exchange. One of
        C{waiting.serverReady} and C{waiting.serverUnavailable} is called, now or
        later, unless it leaves before.
        """
        exchange = waiting.exchange
        server = self.choose(exchange)
        if server is not None:
            self._assign(server, waiting)
        elif not self.usable:
            waiting.serverUnavailable(Cause.SERVER, Stage.CONNECT, 503)
        else:
            self._enqueue(waiting)

    def leave(self, waiting: Waiting) -> None:
        """Who waits goes away; nothing is called any more."""
        place, waiting.place = waiting.place, None
        if place is not None:
            place.leave()

    def again(self, waiting: Waiting, server: Server) -> None:
        """Make a new connection to a server of which the exchange holds a slot."""
        self._open(server, waiting)

    def release(self, exchange: Exchange) -> None:
        """An exchange gives its slot back."""
        server = exchange.server
        assert server is not None and exchange.holding, f"{exchange!r} holds no slot"
        exchange.holding = False
        freed = server.active == server.maxconn and self._members.get(server.name) is server
        server.active -= 1
        self.active -= 1
        if self._counted is not None:
            self._counted(server)
        if freed:
            self._full -= 1
            self._free = None
            if self._follower is not None:
                self._follower.freed(server)
        if self._queue:
            self._serve()

    def choose(self, exchange: Exchange) -> Server | None:
        """
        @return: a server that an exchange may be sent to now; L{None} if there is none
            that is usable and has a slot.
        """
        servers = self.usable
        full = self._full
        if full == len(servers):
            return None
        if exchange.settings is not None:
            wanted = self._wanted(exchange)
            if wanted is not None:
                return wanted
        chosen: Server | None
        if not full and not exchange.tried:
            chosen = self.balancer.choose(servers, exchange)
        elif self._follower is not None:
            chosen = self._follower.chooseFree(servers, exchange.tried, exchange)
        else:
            servers = self._offered(exchange)
            chosen = self.balancer.choose(servers, exchange) if servers else None
        return chosen

    def foresee(self, exchange: Exchange) -> Forecast:
        """
        What L{choose} would do now, with nothing changed by it.

        @return: of the servers that an exchange may be sent to now.
        """
        servers = self._offered(exchange)
        if not servers:
            return Forecast()
        forecast: Forecast | None = None
        if IForeseeing.providedBy(self.balancer):
            forecast = self.balancer.foresee(servers, exchange)
        elif len(servers) == 1:
            forecast = Forecast(servers[0])
        found = forecast or Forecast(None, {}, "", "which one, its balancer does not foresee")
        wanted = self._wanted(exchange)
        return found if wanted is None else attr.evolve(found, chosen=wanted, why="by a rule")

    def _wanted(self, exchange: Exchange) -> Server | None:
        """@return: the one that a rule has named, if it can be had."""
        name = (exchange.settings or {}).get("server")
        server = self._members.get(name) if name else None
        if server is None or server.full or server in exchange.tried:
            return None
        return server

    def _offered(self, exchange: Exchange) -> tuple[Server, ...]:
        """@return: the servers that a balancer may choose for an exchange."""
        servers = self._free
        if servers is None:
            servers = self.usable
            if self._full:
                servers = tuple(server for server in servers if not server.full)
            self._free = servers
        tried = exchange.tried
        if not tried:
            return servers
        left = tuple(server for server in servers if server not in tried)
        return left if len(left) < len(servers) else servers

    # inside

    def _assign(self, server: Server, waiting: Waiting) -> None:
        exchange = waiting.exchange
        server.active += 1
        self.active += 1
        if server.active == server.maxconn and self._members.get(server.name) is server:
            self._full += 1
            self._free = None
        if self._counted is not None:
            self._counted(server)
        exchange.server = server
        exchange.holding = True
        exchange.assignedAt = now = self.seconds()
        protocol = waiting.reuse(server)
        if protocol is not None:
            exchange.connectedAt = now
            exchange.reused = True
            if self.tellsSource:
                exchange.source = sourceOf(protocol.transport)
            waiting.serverReady(protocol)
        else:
            self._open(server, waiting)

    def _open(self, server: Server, waiting: Waiting) -> None:
        waiting.exchange.stage = Stage.CONNECT
        waiting.exchange.reused = False
        connecting = Connecting(self, waiting, server)
        waiting.place = connecting
        connecting.start()

    def connectFailed(
        self, waiting: Waiting, server: Server, failed: OSError, connecting: Connecting
    ) -> None:
        """One attempt failed: try another server, or this one again, or give up."""
        exchange = waiting.exchange
        exchange.reason = f"{server.pool}/{server.name}: {failed.strerror or failed}"
        if exchange.retries < self.config.retries:
            exchange.retries += 1
            exchange.tried += (server,)
            other = self.choose(exchange)
            if other is not None:
                exchange.redispatched = True
                waiting.place = None
                self.release(exchange)
                self._assign(other, waiting)
                return
            if server.usable:
                # No other is left: this one again, after a moment.
                self.deadlines.arm(connecting, PAUSE, self.seconds())
                return
        waiting.place = None
        self.release(exchange)
        if isinstance(failed, TimeoutError):
            cause = Cause.SERVER_TIMEOUT
        else:
            cause = Cause.RESOURCE if failed.errno in _RAN_OUT else Cause.SERVER
        waiting.serverUnavailable(cause, Stage.CONNECT, 503)

    def _enqueue(self, waiting: Waiting) -> None:
        queue = self._queue
        exchange = waiting.exchange
        if self.config.maxqueue and len(queue) >= self.config.maxqueue:
            exchange.reason = "the queue is full"
            waiting.serverUnavailable(Cause.SERVER, Stage.QUEUE, 503)
            return
        exchange.stage = Stage.QUEUE
        exchange.ahead = (0, len(queue))
        place = Place(self, waiting)
        waiting.place = place
        queue[place] = None
        timeout = self.config.timeout_queue or self.config.timeout_connect
        self.deadlines.arm(place, timeout, self.seconds())

    def left(self, place: Place) -> None:
        """A place in the queue is given up."""
        self.deadlines.forget(place)
        self._queue.pop(place, None)

    def _serve(self) -> None:
        """Give free slots to those who wait, in the order they came."""
        if self._serving:
            # A slot that came back at once: the loop below goes on.
            return
        self._serving = True
        try:
            queue = self._queue
            while queue:
                place = next(iter(queue))
                waiting = place.waiting
                assert waiting is not None
                server = self.choose(waiting.exchange)
                if server is None:
                    return
                del queue[place]
                self.deadlines.forget(place)
                waiting.place = None
                self._assign(server, waiting)
        finally:
            self._serving = False
