"""
What happens to an accepted connection: limits, addresses, then the frontend's mode;
what comes before it is L{lbtwist.arrival}'s.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from lbtwist.arrival import Arrival, Entrance, Handshakes, among
from lbtwist.config.model import Bind, FrontendConfig
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Connection, Exchange, Stage, TLSInfo
from lbtwist.http.front import HTTPFront, Shared
from lbtwist.net.addresses import pair
from lbtwist.net.tcp import Accepted, Listener
from lbtwist.stats import FrontendTraffic
from lbtwist.tunnel import Session, Timeouts


class Process:
    """
    What all frontends of a process share.

    @ivar handshakes: those under way in all of them.

    @ivar active: client connections now.
    @ivar maxconn: the most of them; 0 is no limit.
    @ivar accepted: connections accepted so far.
    """

    def __init__(self, maxconn: int, maxHandshakes: int = 0) -> None:
        self.maxconn = maxconn
        self.handshakes = Handshakes(maxHandshakes)
        self.active = 0
        self.accepted = 0
        self.frontends: list[Inbound] = []

    @property
    def full(self) -> bool:
        return 0 < self.maxconn <= self.active


class Inbound:
    """
    The running side of one frontend: its listeners and its connections.

    @ivar active: client connections now.
    @ivar connections: their protocols; each has C{drain} and C{abortSession}.
    @ivar idle: called when the last connection has ended.
    """

    def __init__(
        self,
        config: FrontendConfig,
        process: Process,
        deadlines: Deadlines,
        choosePool: Callable[[Exchange], Any],
        observers: Iterable[Callable[[Exchange], object]],
        newRequestId: Callable[[], str],
    ) -> None:
        self.config = config
        self.name = config.name
        self.process = process
        self.traffic = FrontendTraffic()
        self.active = 0
        self.connections: set[Any] = set()
        self.listeners: list[Listener] = []
        self.idle: Callable[[], object] | None = None
        self._deadlines = deadlines
        self._choosePool = choosePool
        self._observers = tuple(observers)
        self.deadlines = deadlines
        self.seconds = deadlines.seconds
        self._trusted = config.trusted_proxies
        self._paused = False
        process.frontends.append(self)
        if config.mode == "http":
            self._shared = Shared(
                config, self, deadlines, choosePool, self._observers,
                newRequestId if config.request_id_header else None,
            )  # fmt: skip
            self._newProtocol = self._http
        else:
            self._newProtocol = self._tcp

    def __repr__(self) -> str:
        return f"<Inbound {self.name} {self.active} active>"

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
            process.accepted, client, local, self._deadlines.seconds(),
            bool(self._trusted) and among(client[0], self._trusted),
        )  # fmt: skip
        protocol = self._newProtocol(connection)
        process.active += 1
        self.active += 1
        self.connections.add(protocol)
        transport.startProtocol(protocol)
        if 0 < self.config.maxconn <= self.active or process.full:
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
        arrival.number = process.accepted
        arrival.acceptedAt = self.seconds()
        if 0 < self.config.maxconn <= self.active or process.full:
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
        exchange = Exchange(connection, self, self._observers, connection.acceptedAt)
        exchange.stage = Stage.REQUEST
        exchange.reason = reason
        exchange.finish(cause, self.seconds())
        self.connectionEnded(arrival)

    def _http(self, connection: Connection) -> Any:
        return HTTPFront(self._shared, connection)

    def _tcp(self, connection: Connection) -> Any:
        started = connection.readyAt or connection.acceptedAt
        exchange = Exchange(connection, self, self._observers, started)
        pool = self._choosePool(exchange)
        session: Session
        session = Session(
            exchange, pool, self._deadlines, Timeouts.of(self.config, pool.config),
            lambda: self.connectionEnded(session),
        )  # fmt: skip
        return session

    def connectionEnded(self, protocol: Any) -> None:
        """Nothing is left of a connection."""
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
        if self._paused and not (
            0 < self.config.maxconn <= self.active or self.process.full
        ):
            self._paused = False
            for listener in self.listeners:
                listener.resumeAccepting()

    def stopListening(self) -> None:
        """Accept nothing more; UNIX sockets are taken off the disk."""
        for listener in self.listeners:
            listener.stopListening()
        self.listeners.clear()

    def drain(self) -> None:
        """Let every connection come to its end as soon as its protocol allows."""
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
    accepted = inbound.accepted
    if bind is not None and (bind.tls or bind.tls_passthrough or bind.accept_proxy != "no"):
        accepted = Entrance(bind, inbound, reactor, tls).accepted
    listener = Listener(skt, accepted, reactor)
    inbound.listeners.append(listener)
    return listener
