"""
The load balancer as a Twisted service: start, drain, stop.

Sockets and log files are opened in C{privilegedStartService}, before a daemon
gives its privileges up; nothing is accepted before C{startService}.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from lbtwist.administering import Administration
from lbtwist.announcing import Audience, Recently
from lbtwist.config.model import Config
from lbtwist.deadlines import Deadlines
from lbtwist.demo import DemoServer
from lbtwist.draining import Drain, Drains
from lbtwist.ejecting import Ejecting
from lbtwist.errors import StartError
from lbtwist.exchange import Cause, Exchange
from lbtwist.explaining.explanation import Explanation
from lbtwist.explaining.watched import Watchers
from lbtwist.inbound import Inbound, Process, listenerFor
from lbtwist.interfaces import ILoadBalancer
from lbtwist.logwriter import Logs
from lbtwist.looking import Looking
from lbtwist.membership import Memberships
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.net.addresses import listen
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.profiles import Profile
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.tlsfiles import TLSFiles


class Door(Protocol):
    """Where administrators come in."""

    def open(self) -> None:
        """
        Open its sockets.

        @raise StartError: if one cannot be opened.
        """

    def start(self) -> None:
        """Begin to accept."""

    def close(self) -> None:
        """Accept nothing more, and end what runs."""


class Frontend:
    """
    One frontend: where it listens, and the running side of it.

    @ivar inbound: its connections and counters.
    @ivar paused: an administrator wants no new connections for a while.
    """

    def __init__(
        self, inbound: Inbound, reactor: Any, profiles: Mapping[str, Profile] = MappingProxyType({})
    ) -> None:
        """
        @param profiles: the C{[tcp]} sections that binds name.
        """
        self.inbound = inbound
        self._profiles = profiles
        self.config = inbound.config
        self.name = inbound.name
        self.paused = False
        self._reactor = reactor
        self._paths: list[str] = []

    def __repr__(self) -> str:
        return f"<Frontend {self.name} {self.inbound.active} active>"

    @property
    def addresses(self) -> list[Any]:
        """Where it really listens: the socket names, ports that were 0 filled in."""
        return [listener.socket.getsockname() for listener in self.inbound.listeners]

    def open(self, sections: Mapping[str, ServerTLS] = MappingProxyType({})) -> None:
        """
        Open its sockets.

        @param sections: the C{[tls]} sections that binds name.
        @raise StartError: if one cannot be opened; the others are closed again.
        """
        try:
            for bind in self.config.bind:
                listening = listen(bind, self._profiles.get(bind.tcp))
                tls = sections[bind.tls] if bind.tls else None
                listenerFor(listening, self.inbound, self._reactor, bind, tls)
                if bind.kind == "unix":
                    self._paths.append(bind.path)
        except StartError:
            self.close()
            raise

    def start(self) -> None:
        """Begin to accept."""
        for listener in self.inbound.listeners:
            listener.startListening()

    def pause(self) -> None:
        """Refuse new connections; those there are go on."""
        self.paused = True
        for listener in self.inbound.listeners:
            listener.shut()

    def resume(self) -> None:
        """
        Accept again.

        @raise OSError: if an address was taken meanwhile; the others accept.
        """
        failed: OSError | None = None
        for bind, listener in zip(self.config.bind, self.inbound.listeners, strict=True):
            try:
                listener.open(bind.backlog)
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed
        self.paused = False

    def close(self) -> None:
        """Accept nothing more."""
        self.inbound.stopListening()
        for path in self._paths:
            with suppress(OSError):
                os.unlink(path)
        self._paths.clear()


@implementer(ILoadBalancer)
class LoadBalancer(Service):
    """
    A whole balancer.

    @ivar config: what it runs.
    @ivar frontends: by name.
    @ivar pools: by name.
    @ivar reactor: it runs by this one.
    @ivar administration: changes servers.
    @ivar recently: what has happened to them.
    @ivar wallclock: seconds since the epoch.
    @ivar stores: the C{[store]} sections by name, each an L{lbtwist.interfaces.ISharedStore}.
    @ivar startedAt: when it was started, by the clock.
    @ivar looking: looks at all of it once a second, while somebody can ask.
    @ivar doors: where administrators come in: each is opened with the frontends, started when
        they accept, and closed last.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        deadlines: Deadlines,
        process: Process,
        frontends: Mapping[str, Frontend],
        pools: Mapping[str, Pool],
        monitor: Monitor,
        ejecting: Ejecting,
        names: Names,
        memberships: Memberships,
        demos: Mapping[Server, DemoServer],
        logs: Logs,
        files: TLSFiles,
        audience: Audience,
        stores: Sequence[Any] = (),
    ) -> None:
        """@param stores: what has to be started and stopped to be asked."""
        self.config = config
        self.frontends = dict(frontends)
        self.pools = dict(pools)
        self.process = process
        self.deadlines = deadlines
        self.reactor = reactor
        self._monitor = monitor
        self._ejecting = ejecting
        self._names = names
        self._memberships = memberships
        self._demos = dict(demos)
        self._logs = logs
        self._files = files
        self._audience = audience
        self._stores = tuple(stores)
        self.looking = Looking(
            reactor, deadlines.seconds, self.frontends, self.pools, process
        )
        self.doors: tuple[Door, ...] = ()
        # What the first client should not be without.
        self._awaited: list[Deferred[Any]] = []
        self._drains = Drains(monitor.administered)
        self.administration = Administration(monitor, self._drains, names)
        self.recently = Recently()
        self.wallclock: Callable[[], float] = time.time
        self.stores: Mapping[str, Any] = {}
        self.startedAt = deadlines.seconds()
        self._watchers = Watchers(reactor)
        self._opened = False
        self._draining: list[tuple[Deferred[None], Any]] = []

    def pool(self, name: str) -> Pool:
        return self.pools[name]

    def frontend(self, name: str) -> Frontend:
        return self.frontends[name]

    @property
    def notAfter(self) -> dict[str, datetime]:
        """When the certificates that we show, to clients and to servers, expire, by file."""
        return self._files.notAfter

    @property
    def droppedLines(self) -> int:
        """Lines of access logs that were lost so far."""
        return self._logs.dropped

    def explainNext(
        self,
        frontend: str,
        matches: Callable[[Exchange], bool] = lambda exchange: True,
        limit: float = 60.0,
    ) -> Deferred[Explanation]:
        return self._watchers.next(self.frontends[frontend].inbound, matches, limit)

    def tls(self, name: str) -> ServerTLS | None:
        """@return: a C{[tls]} section whose files are open, L{None} if they are not."""
        return self._files.find(name)

    def privilegedStartService(self) -> None:
        """
        Open sockets and log files.

        @raise StartError: if one cannot be opened.
        """
        super().privilegedStartService()
        self._open()

    def _open(self) -> None:
        if self._opened:
            return
        opened = []
        try:
            sections = self._files.open()
            for name, pool in self.config.pools.items():
                for options, server in zip(pool.servers, self.pools[name].servers, strict=True):
                    if options.tls:
                        server.tls = self._files.server(name, options)
            for frontend in self.frontends.values():
                opened.append(frontend)
                frontend.open(sections)
            for running in self.pools.values():
                for member in running.servers:
                    if member.origin is not None:
                        member.origin.verify()
            for door in self.doors:
                door.open()
            self._memberships.verify()
            self._logs.open()
            for server, demo in self._demos.items():
                server.endpoint = demo.start(self.reactor)
            for store in self._stores:
                ready = store.start()
                if ready is not None:
                    self._awaited.append(ready)
        except StartError:
            for frontend in opened:
                frontend.close()
            for door in self.doors:
                door.close()
            self._files.close()
            self._logs.close()
            for demo in self._demos.values():
                demo.stop()
            for store in self._stores:
                store.stop()
            raise
        self._opened = True

    def startService(self) -> None:
        self._open()
        super().startService()
        self.startedAt = self.deadlines.seconds()
        for pool in self.pools.values():
            pool.serversChanged()
        self._names.start()
        self._memberships.start()
        self._files.start()
        self._monitor.start()
        self._ejecting.start()
        if self.doors:
            self.looking.start()
        for door in self.doors:
            door.start()
        awaited, self._awaited = self._awaited, []
        DeferredList(awaited).addCallback(lambda _: self._accept())

    def _accept(self) -> None:
        if not self.running:
            # It was stopped before it could be asked.
            return
        for frontend in self.frontends.values():
            frontend.start()
            self._log.info(
                "{frontend} listens on {addresses}",
                frontend=frontend.name,
                addresses=", ".join(map(str, frontend.config.bind)),
            )

    def drainServer(self, pool: str, name: str) -> Drain:
        found = self.pools[pool]
        return self._drains.drain(found, found.find(name))

    def drain(self, grace: float) -> Deferred[None]:
        """
        Accept nothing more and let what runs come to its end.

        @param grace: seconds after which what still runs is aborted; 0 aborts it
            at once.
        @return: fires when nothing runs any more.
        """
        done: Deferred[None] = Deferred()
        self._draining.append((done, self.reactor.callLater(grace, self.abort)))
        for frontend in self.frontends.values():
            frontend.close()
            frontend.inbound.idle = self._perhapsDrained
        for frontend in self.frontends.values():
            frontend.inbound.drain()
        self._perhapsDrained()
        return done

    def _perhapsDrained(self) -> None:
        if self.process.active:
            return
        drained, self._draining = self._draining, []
        for done, timer in drained:
            if timer.active():
                timer.cancel()
            done.callback(None)

    def abort(self) -> None:
        """End everything that still runs, at once."""
        self._abortSessions()
        for frontend in self.frontends.values():
            for protocol in list(frontend.inbound.connections):
                protocol.abortSession(Cause.KILLED)

    def _abortSessions(self) -> None:
        servers = [server for pool in self.pools.values() for server in pool.servers]
        inbounds = [frontend.inbound for frontend in self.frontends.values()]
        for sessions in [*(one.sessions for one in servers), *(one.sessions for one in inbounds)]:
            for session in list(sessions):
                session.abortSession(Cause.KILLED)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._watchers.stop()
        stopped = self.drain(self.config.settings.grace_period)
        stopped.addCallback(lambda _: self._end())
        return stopped

    def _end(self) -> Deferred[None]:
        for door in self.doors:
            door.close()
        self.looking.stop()
        self._monitor.stop()
        self._drains.stop()
        self._ejecting.stop()
        self._names.stop()
        # Servers whose clients have gone on without them may still be there.
        self._abortSessions()
        for pool in self.pools.values():
            for server in pool.servers:
                pool.reuse.drop(server)
        self._memberships.stop()
        self.deadlines.stop()
        self._files.close()
        self._logs.close()
        self._opened = False
        demos = [demo.stop() for demo in self._demos.values()]
        stores = [maybeDeferred(store.stop) for store in self._stores]
        return DeferredList([*demos, *stores, self._audience.end()]).addCallback(lambda _: None)
