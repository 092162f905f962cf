"""
What happens to an accepted connection: limits, addresses, then the frontend's mode.

What comes before it is L{lbtwist.arrival}'s, and how its connection rules are asked
L{lbtwist.admission}'s.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, Protocol
from weakref import WeakSet

from lbtwist.admission import Admission
from lbtwist.arrival import Arrival, Entrance, Handshakes, among
from lbtwist.config.model import Bind, FrontendConfig
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Connection, Exchange, TLSInfo
from lbtwist.http.deciding import Deciding
from lbtwist.http.front import HTTPFront
from lbtwist.http.shared import Shared
from lbtwist.http.terminating import Terminating
from lbtwist.net.addresses import pair
from lbtwist.net.listener import Listener
from lbtwist.net.tcp import Accepted
from lbtwist.pool import Pool
from lbtwist.rules.rulebook import NO_RULES, Record, Rule, Rulebook, Rules
from lbtwist.rules.tables import Concurrency
from lbtwist.session import Session
from lbtwist.stats import FrontendTraffic
from lbtwist.tunnel import Timeouts


class Watch(Protocol):
    """Is told of the connections and sessions of a frontend; raises nothing."""

    def connectionAsked(self, exchange: Exchange) -> Record:
        """@return: what is told of the connection rules of a connection."""

    def connectionWaited(
        self, exchange: Exchange, book: Rulebook, rule: Rule, decision: Any
    ) -> object:
        """What a rule has decided that was waited for."""

    def sessionBegan(self, exchange: Exchange, pool: Pool) -> object:
        """A session in C{mode = tcp}: the rules have decided, a server is chosen next."""

    def rest(self) -> object:
        """Be told of nothing: the frontend is about to be another."""

    def resume(self) -> object:
        """Be told again, of the frontend as it is now."""


class Process:
    """
    What all frontends of a process share.

    @ivar handshakes: those under way in all of them.
    @ivar active: client connections now.
    @ivar maxconn: the most of them; 0 is no limit.
    @ivar accepted: connections accepted so far.
    @ivar numbers: gives each of them another number.
    """

    def __init__(self, maxconn: int, maxHandshakes: int = 0) -> None:
        self.maxconn = maxconn
        self.handshakes = Handshakes(maxHandshakes)
        self.active = 0
        self.accepted = 0
        self.numbers: Iterator[int] = count(1)
        self.frontends: list[Inbound] = []

    @property
    def full(self) -> bool:
        return 0 < self.maxconn <= self.active


class Inbound:
    """
    The running side of one frontend: its listeners and its connections.

    @ivar active: client connections now.
    @ivar maxconn: the most of them; 0 is no limit.
    @ivar connections: their protocols; each has C{drain} and C{abortSession}.
    @ivar leaving: by the numbers of connections what counts them, and by which key.
    @ivar rules: what is asked of its connections and exchanges.
    @ivar shared: what its connections share; L{None} in C{mode = tcp}.
    @ivar idle: called when the last connection has ended.
    @ivar observers: what its exchanges are told to when they end.
    @ivar watch: is told of its connections and sessions while somebody waits for one;
        see L{lbtwist.explaining.watched}. L{None} tells nobody.
    @ivar retired: the frontend is there no more, and serves who has come.
    @ivar draining: whether every connection ends as soon as it can.
    @ivar sessions: what goes to no server of a pool and can be aborted.
    """

    def __init__(
        self,
        config: FrontendConfig,
        process: Process,
        deadlines: Deadlines,
        pool: Pool | None,
        observers: Iterable[Callable[[Exchange], object]],
        newRequestId: Callable[[], str],
        rules: Rules = NO_RULES,
        pools: Mapping[str, Pool] = MappingProxyType({}),
        terminating: Terminating | None = None,
    ) -> None:
        """
        @param pool: where its exchanges go, unless a rule says otherwise.
        @param pools: all there are, by name.
        """
        self.name = config.name
        self.process = process
        self.traffic = FrontendTraffic()
        self.active = 0
        self.connections: set[Any] = set()
        self.leaving: dict[int, set[tuple[Concurrency, str]]] = {}
        self.listeners: list[Listener] = []
        self.idle: Callable[[], object] | None = None
        self.draining = self.retired = False
        self.sessions: set[Any] = set()
        self._deadlines = deadlines
        self.pools = pools
        self.watch: Watch | None = None
        self.deadlines = deadlines
        self.seconds = deadlines.seconds
        self._paused = False
        self._newRequestId = newRequestId
        process.frontends.append(self)
        self.shared: Shared | None = None
        # Those by which connections go, as long as there are any.
        self._before: WeakSet[Shared] = WeakSet()
        self.config = config
        self.maxconn = config.maxconn
        self.change(config, pool, observers, rules, terminating)

    def change(
        self,
        config: FrontendConfig,
        pool: Pool | None,
        observers: Iterable[Callable[[Exchange], object]],
        rules: Rules,
        terminating: Terminating | None,
    ) -> None:
        """
        Be like this from now on: for connections that come, and for what comes next on those
        that are there. What is under way ends as it has begun.
        """
        watch = self.watch
        if watch is not None:
            watch.rest()
        if self.config.maxconn != config.maxconn:
            # What an administrator has said stays, where the file says nothing new.
            self.maxconn = config.maxconn
        self.config = config
        self.pool = pool
        self.observers = tuple(observers)
        self.rules = rules
        self._trusted = config.trusted_proxies
        self.shared = None
        if config.mode == "http":
            self.shared = self._shared(terminating)
            # Not one the next: that would keep all between for the oldest connection.
            for before in self._before:
                before.successor = self.shared
            self._before.add(self.shared)
        if watch is not None:
            watch.resume()

    def _shared(self, terminating: Terminating | None) -> Shared:
        config, rules = self.config, self.rules
        deciding = None
        # Rules of connections too: what they keep is for the log of each exchange.
        if any(one is not NO_RULES for one in (rules, *(p.rules for p in self.pools.values()))):
            deciding = Deciding(rules.request, rules.response, self.pools, self._deadlines)
        return Shared(
            config, self, self._deadlines, self.pool, self.observers,
            self._newRequestId if config.request_id_header else None, deciding, terminating,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Inbound {self.name} {self.active} active>"

    @property
    def full(self) -> bool:
        """Whether it is at its own limit."""
        return 0 < self.maxconn <= self.active

    def limitChanged(self) -> None:
        """Its limit, or that of the process, is another one now."""
        if self.full or self.process.full:
            self._limit()
        else:
            self._unlimit()

    def accepted(self, transport: Accepted) -> None:
        """A client is there."""
        process = self.process
        process.accepted += 1
        self.traffic.connections += 1
        skt = transport.socket
        try:
            local = pair(skt.family, skt.getsockname())
        except OSError:
            local = ("", 0)
        client = pair(skt.family, transport.client)
        connection = Connection(
            next(process.numbers), client, local, self._deadlines.seconds(),
            bool(self._trusted) and among(client[0], self._trusted),
        )  # fmt: skip
        protocol = self._newProtocol(connection)
        process.active += 1
        self.active += 1
        self.connections.add(protocol)
        transport.startProtocol(protocol)
        if self.full or process.full:
            self._limit()

    def arrived(self, arrival: Arrival, transport: Accepted) -> None:
        """A client is there, and is no connection of the frontend yet."""
        process = self.process
        process.active += 1
        process.accepted += 1
        self.active += 1
        self.traffic.connections += 1
        self.connections.add(arrival)
        skt = transport.socket
        try:
            arrival.local = pair(skt.family, skt.getsockname())
        except OSError:
            arrival.local = ("", 0)
        arrival.peer = pair(skt.family, transport.client)
        arrival.number = next(process.numbers)
        arrival.acceptedAt = self.seconds()
        if self.full or process.full:
            self._limit()

    def _connection(self, arrival: Arrival, tls: TLSInfo | None, readyAt: float) -> Connection:
        client, local = arrival.peer, arrival.local
        header = arrival.header
        known = True
        if header is not None and header.source is not None and header.destination is not None:
            client, local = header.source, header.destination
            # Whose UNIX socket that was, nobody here can say.
            known = client[0] != "unix"
        trusted = known and bool(self._trusted) and among(client[0], self._trusted)
        return Connection(
            arrival.number, client, local, arrival.acceptedAt, trusted, tls, header, readyAt
        )

    def enter(self, arrival: Arrival, tls: TLSInfo | None) -> Any:
        """
        It is one of the frontend's connections now.

        @return: its protocol.
        """
        protocol = self._newProtocol(self._connection(arrival, tls, self.seconds()))
        self.connections.discard(arrival)
        self.connections.add(protocol)
        return protocol

    def refuse(self, arrival: Arrival, cause: str, reason: str) -> None:
        """It will never be one: say so in the log."""
        connection = self._connection(arrival, None, 0.0)
        exchange = Exchange(connection, self, self.observers, connection.acceptedAt)
        exchange.reason = reason
        exchange.finish(cause, self.seconds())
        self.connectionEnded(arrival)

    def _newProtocol(self, connection: Connection) -> Any:
        if self.rules.connection is not None:
            return Admission(self, connection, self.rules.connection)
        return self.newProtocol(connection, self.pool, None)

    def newProtocol(
        self, connection: Connection, pool: Pool | None, exchange: Exchange | None
    ) -> Any:
        """
        @param pool: where it goes.
        @param exchange: that connection rules were asked for.
        @return: what speaks the frontend's mode with a client.
        """
        shared = self.shared
        if shared is not None:
            if exchange is None:
                front = HTTPFront(shared, connection, pool)
            else:
                front = HTTPFront(shared, connection, pool, exchange.vars, exchange.settings)
            if self.retired:
                front.retire()
            return front
        exchange = exchange or self.newExchange(connection)
        assert pool is not None
        session: Session
        session = Session(
            exchange, pool, self._deadlines, Timeouts.of(self.config, pool.config),
            lambda: self.connectionEnded(session),
        )  # fmt: skip
        return session

    def newExchange(self, connection: Connection) -> Exchange:
        """@return: the exchange of a connection as a whole."""
        started = connection.readyAt or connection.acceptedAt
        return Exchange(connection, self, self.observers, started)

    def admitted(self, admission: Admission, protocol: Any) -> None:
        """The rules let a connection go on."""
        self.connections.discard(admission)
        self.connections.add(protocol)

    def connectionEnded(self, protocol: Any) -> None:
        """Nothing is left of a connection."""
        if self.leaving:
            for counting, key in self.leaving.pop(protocol.number, ()):
                counting.leave(key)
        process = self.process
        self.connections.discard(protocol)
        self.active -= 1
        process.active -= 1
        if self._paused or process.maxconn:
            for frontend in process.frontends if process.maxconn else (self,):
                frontend._unlimit()
        if not self.active and self.idle is not None:
            self.idle()

    def _limit(self) -> None:
        """Leave further clients in the kernel's queue."""
        for frontend in self.process.frontends if self.process.full else (self,):
            frontend._paused = True
            for listener in frontend.listeners:
                listener.pauseAccepting()

    def _unlimit(self) -> None:
        if self._paused and not (self.full or self.process.full):
            self._paused = False
            for listener in self.listeners:
                listener.resumeAccepting()

    def retire(self) -> None:
        """
        The frontend is there no more. Whoever has come is served: connections end after the
        exchange under way, or the next one if there was none yet; sessions and tunnels live on.
        """
        self.retired = True
        for protocol in list(self.connections):
            protocol.retire()

    def drain(self) -> None:
        """Let every connection come to its end as soon as its protocol allows."""
        self.draining = True
        for protocol in list(self.connections):
            protocol.drain()


def listenerFor(
    skt: socket.socket, inbound: Inbound, reactor: Any, bind: Bind | None = None, tls: Any = None
) -> Listener:
    """
    Join a listening socket to a frontend.

    @param bind: what comes before the frontend's mode.
    @param tls: what C{bind.tls} names.
    """
    listener = Listener(skt, acceptedBy(inbound, reactor, bind, tls), reactor)
    inbound.listeners.append(listener)
    return listener


def acceptedBy(
    inbound: Inbound, reactor: Any, bind: Bind | None = None, tls: Any = None
) -> Callable[[Accepted], None]:
    """
    @param bind: see L{listenerFor}; so is C{tls}.
    @return: what is told of each connection.
    """
    if bind is not None and (bind.tls or bind.tls_passthrough or bind.accept_proxy != "no"):
        return Entrance(bind, inbound, reactor, tls).accepted
    return inbound.accepted
