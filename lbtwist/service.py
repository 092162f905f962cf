"""
The load balancer as a Twisted service: start, drain, stop.

Sockets and log files are opened in C{privilegedStartService}, before a daemon
gives its privileges up; nothing is accepted before C{startService}.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, fail, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from lbtwist.administering import Administration
from lbtwist.announcing import Audience, Recently
from lbtwist.callers import Callers
from lbtwist.config.difference import Difference
from lbtwist.config.model import Bind, Config
from lbtwist.deadlines import Deadlines
from lbtwist.demo import DemoServer
from lbtwist.draining import Drain, Drains
from lbtwist.ejecting import Ejecting
from lbtwist.errors import NothingSeen, StartError
from lbtwist.exchange import Cause, Exchange
from lbtwist.explaining.explanation import Explanation
from lbtwist.explaining.watched import Watchers
from lbtwist.frontend import Frontend as Frontend
from lbtwist.inbound import Process
from lbtwist.interfaces import ILoadBalancer
from lbtwist.logs import Logs
from lbtwist.looking import Looking
from lbtwist.membership import Memberships
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.net.certificates import ServerTLS
from lbtwist.objects import Objects
from lbtwist.pool import Pool
from lbtwist.registry import Registry
from lbtwist.roster import Roster
from lbtwist.server import Server
from lbtwist.spans import Spans
from lbtwist.tlsfiles import TLSFiles

if TYPE_CHECKING:
    from lbtwist.renewing import Renewal


class Export(Protocol):
    """Sends numbers away."""

    def start(self) -> None:
        """Send them from now on."""

    def close(self) -> None:
        """Send them no more."""


class Door(Protocol):
    """Where administrators come in."""

    def verify(self) -> None:
        """@raise StartError: if something that it needs besides its sockets is not there."""

    def open(self) -> None:
        """
        Open its sockets.

        @raise StartError: if one cannot be opened.
        """

    def start(self) -> None:
        """Begin to accept."""

    @property
    def listening(self) -> list[tuple[Bind, int]]:
        """Where, and the descriptor of that; empty while it is not open."""

    def handOver(self) -> None:
        """Accept nothing more: another process has the same socket; what runs goes on."""

    def close(self) -> None:
        """Accept nothing more, and end what runs."""


running: list[LoadBalancer] = []
"""The balancers of this process that were started and not stopped."""


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
    @ivar objects: what a program has given to be servers.
    @ivar accepting: called when its frontends, or its workers, have begun to accept.
    @ivar callers: programs in this process that connect to servers of its pools.
    @ivar looking: looks at all of it once a second, while somebody can ask.
    @ivar roster: who the servers of its pools are.
    @ivar memberships: the sources that name some of them.
    @ivar accepts: whether its frontends accept, those that were paused aside.
    @ivar led: another process finds out how its servers are, and who.
    @ivar secret: what clients are told is signed with it, where nothing is written for that.
    @ivar workers: those who accept in its place, see L{lbtwist.workers.parent}; L{None} where
        it does so itself.
    @ivar retired: frontends that are there no more and have something to do yet.
    @ivar registry: the parts that configurations name; L{None}: all that are installed.
    @ivar applying: puts another configuration in the place of its own, see L{apply}.
    @ivar leaving: it is about to end, and has been told so by L{drain}.
    @ivar renewal: reads the file of the configuration again; L{None} where there is none.
    @ivar exports: where its numbers are sent to.
    @ivar amending: is held by who makes another configuration of the one that runs.
    @ivar upgrading: has another process take the place of this one, see
        L{lbtwist.upgrading}; L{None} where that cannot be.
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
        roster: Roster,
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
        self.pools = pools
        self.process = process
        self.deadlines = deadlines
        self.reactor = reactor
        self._monitor = monitor
        self._ejecting = ejecting
        self._names = names
        self.roster = roster
        self.memberships = memberships
        self._demos = demos
        self._logs = logs
        self._files = files
        self._audience = audience
        self._stores = stores
        self.looking = Looking(
            reactor, deadlines.seconds, self.frontends, self.pools, process
        )
        self.doors: tuple[Door, ...] = ()
        self.exports: tuple[Export, ...] = ()
        self.accepts = self.led = False
        self.workers: Any = None
        self.secret = b""
        self.retired: list[Frontend] = []
        self.registry: Registry | None = None
        self.applying: Callable[[Config], Difference] | None = None
        # What the first client should not be without.
        self._awaited: list[Deferred[Any]] = []
        self._drains = Drains(monitor.administered)
        self.administration = Administration(monitor, self._drains, names)
        self.recently = Recently()
        self.wallclock: Callable[[], float] = time.time
        self.stores: Mapping[str, Any] = {}
        self.startedAt = deadlines.seconds()
        self.objects = Objects({}, reactor)
        self.callers = Callers(deadlines, reactor)
        self.accepting: Callable[[], object] = lambda: None
        self.renewal: Renewal | None = None
        self.leaving = False
        self.upgrading: Any = None
        self.amending = DeferredLock()
        self._watchers = Watchers(reactor)
        self._opened = False
        self._draining: list[tuple[Deferred[None], Any]] = []

    def pool(self, name: str) -> Pool:
        return self.pools[name]

    def frontend(self, name: str) -> Frontend:
        return self.frontends[name]

    @property
    def tlsFiles(self) -> TLSFiles:
        """What clients are met with, and servers are spoken to with."""
        return self._files

    @property
    def notAfter(self) -> dict[str, datetime]:
        """When the certificates that we show, to clients and to servers, expire, by file."""
        return self._files.notAfter

    @property
    def droppedLines(self) -> int:
        """Lines of logs that were lost so far."""
        return self._logs.dropped

    @property
    def droppedSpans(self) -> int | None:
        """Exchanges that the collector of traces was not told of; L{None} where there is none."""
        spans = self._spans
        return None if spans is None else spans.dropped

    @property
    def _spans(self) -> Spans | None:
        return next((one for one in self._stores if isinstance(one, Spans)), None)

    def lost(self, lines: Mapping[str, int], spans: int) -> None:
        """
        One of the workers has lost something since it said so last.

        @param lines: of logs, by the names of the targets.
        @param spans: exchanges that the collector of traces was not told of.
        """
        self._logs.lost(lines)
        if self._spans is not None:
            self._spans.lost(spans)

    @property
    def droppedLinesBy(self) -> dict[str, int]:
        """The same by the name of the target."""
        return self._logs.droppedBy

    def explainNext(
        self,
        frontend: str,
        matches: Callable[[Exchange], bool] = lambda exchange: True,
        limit: float = 60.0,
    ) -> Deferred[Explanation]:
        if self.workers is not None:
            return fail(NothingSeen("exchanges run in the workers, not in this process"))
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
        if self.workers is not None:
            self.workers.verify(self.config)
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
            self.memberships.verify()
            self.objects.start()
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
            self.objects.stop()
            raise
        self._opened = True

    def startService(self) -> None:
        self._open()
        super().startService()
        running.append(self)
        self.startedAt = self.deadlines.seconds()
        self.leaving = False
        for frontend in self.frontends.values():
            # It may have been stopped before.
            frontend.inbound.draining = False
        for pool in self.pools.values():
            pool.serversChanged()
        if not self.led:
            self._names.start()
            self.memberships.start()
            self._monitor.start()
        self._files.start()
        self._ejecting.start()
        self.look()
        for door in self.doors:
            door.start()
        for one in self.exports:
            one.start()
        awaited, self._awaited = self._awaited, []
        DeferredList(awaited).addCallback(lambda _: self._accept())

    def _accept(self) -> None:
        if not self.running:
            # It was stopped before it could be asked.
            return
        self.accepts = self.workers is None
        for frontend in self.frontends.values():
            if self.workers is None:
                frontend.start()
            else:
                frontend.hold()
            if not self.led:
                self._log.info(
                    "{frontend} listens on {addresses}",
                    frontend=frontend.name,
                    addresses=", ".join(map(str, frontend.config.bind)),
                )
        if self.workers is None:
            self.accepting()
        else:
            self.workers.start(lambda: self.accepting())

    def apply(self, config: Config) -> Difference:
        if self.applying is None:
            raise StartError("this balancer was not built to be changed")
        if self.workers is not None:
            self.workers.verify(config)
        found = self.applying(config)
        if self.workers is not None:
            self.workers.configured()
        return found

    async def settled(self) -> list[str]:
        """
        Wait until all that serve go by the configuration.

        @return: a line for each of the workers that does not.
        """
        return [] if self.workers is None else await self.workers.settled()

    def limitsChanged(self) -> None:
        """The limit of the process, or of frontends, is another one now."""
        for frontend in self.frontends.values():
            frontend.inbound.limitChanged()
        if self.workers is not None:
            self.workers.configured()

    def abortSessionsOf(self, pool: Pool, server: Server) -> None:
        """End what runs with a server, at once."""
        for session in list(server.sessions):
            session.abortSession(Cause.KILLED)
        if self.workers is not None:
            self.workers.abortSessionsOf(pool, server)

    def suspect(self, server: Server, onError: str, reason: str) -> None:
        """See L{Monitor.suspect}: real traffic has been elsewhere."""
        self._monitor.suspect(server, onError, reason)

    def letGo(self, pool: Pool, server: Server) -> None:
        """See L{Monitor.letGo}: somebody else has found that it is of no use."""
        self._monitor.letGo(pool, server)

    def retire(self, frontend: Frontend) -> None:
        """A frontend is there no more; what runs comes to its end."""
        inbound = frontend.inbound

        def ended() -> None:
            if inbound.active or frontend not in self.retired:
                return
            self.retired.remove(frontend)
            self.process.frontends.remove(inbound)
            if any(one.name == frontend.name for one in self.process.frontends):
                # There is another one of that name: what came by either is counted with it.
                return
            for pool in self.pools.values():
                pool.traffic.frontendLeft(frontend.name)
                for server in pool.servers:
                    server.traffic.frontendLeft(frontend.name)

        self.retired.append(frontend)
        inbound.idle = ended
        inbound.retire()
        ended()

    @property
    def allFrontends(self) -> list[Frontend]:
        """
        Its frontends, and those that are there no more and have something to do yet; none of
        these whose name another one has now.
        """
        retired = [one for one in self.retired if one.name not in self.frontends]
        return [*self.frontends.values(), *retired]

    @property
    def allPools(self) -> list[Pool]:
        """The same of its pools."""
        retired = [one for one in self.roster.retired if one.name not in self.pools]
        return [*self.pools.values(), *retired]

    def look(self) -> None:
        """Look at everything as long as somebody can ask, or is told."""
        if self.doors or self.exports:
            self.looking.start()
        else:
            self.looking.stop()

    def drainServer(self, pool: str, name: str) -> Drain:
        found = self.pools[pool]
        return self._drains.drain(found, found.find(name))

    def listening(self) -> list[tuple[Bind, int]]:
        """@return: all binds, those of administrators among them, and their descriptors."""
        found = [one for frontend in self.frontends.values() for one in frontend.listening]
        return [*found, *(one for door in self.doors for one in door.listening)]

    def handOver(self) -> None:
        """Another process has taken the sockets: nobody new is accepted here."""
        for frontend in self.frontends.values():
            frontend.handOver()
        for door in self.doors:
            door.handOver()

    def reopenLogs(self) -> None:
        """Open every log file anew: they were moved away."""
        self._logs.reopen()
        if self.workers is not None:
            self.workers.reopen()

    def drain(self, grace: float | None) -> Deferred[None]:
        """
        Accept nothing more and let what runs come to its end.

        @param grace: seconds after which what still runs is aborted; 0 aborts it
            at once, L{None} never.
        @return: fires when nothing runs any more.
        """
        self.leaving = True
        if self.workers is not None:
            for frontend in self.frontends.values():
                frontend.close()
            stopped: Deferred[None] = self.workers.stop(grace)
            return stopped
        done: Deferred[None] = Deferred()
        timer = None if grace is None else self.reactor.callLater(grace, self.abort)
        self._draining.append((done, timer))
        self.accepts = False
        for frontend in (*self.frontends.values(), *self.retired):
            frontend.close()
            frontend.inbound.idle = self._perhapsDrained
        for frontend in (*self.frontends.values(), *self.retired):
            frontend.inbound.drain()
        self._perhapsDrained()
        return done

    def _perhapsDrained(self) -> None:
        if self.process.active:
            return
        drained, self._draining = self._draining, []
        for done, timer in drained:
            if timer is not None and timer.active():
                timer.cancel()
            done.callback(None)

    def abort(self) -> None:
        """End everything that still runs, at once."""
        if self.workers is not None:
            self.workers.abort()
        self._abortSessions()
        for frontend in (*self.frontends.values(), *self.retired):
            for protocol in list(frontend.inbound.connections):
                protocol.abortSession(Cause.KILLED)

    def _abortSessions(self) -> None:
        pools = (*self.pools.values(), *self.roster.retired)
        servers = [server for pool in pools for server in pool.servers]
        inbounds = [one.inbound for one in (*self.frontends.values(), *self.retired)]
        for sessions in [*(one.sessions for one in servers), *(one.sessions for one in inbounds)]:
            for session in list(sessions):
                session.abortSession(Cause.KILLED)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self in running:
            running.remove(self)
        self._watchers.stop()
        stopped = self.drain(self.config.settings.grace_period)
        stopped.addCallback(lambda _: self._end())
        return stopped

    def _end(self) -> Deferred[None]:
        for one in self.exports:
            one.close()
        for door in self.doors:
            door.close()
        self.looking.stop()
        self._monitor.stop()
        self._drains.stop()
        self._ejecting.stop()
        self._names.stop()
        self.callers.stop()
        # Servers whose clients have gone on without them may still be there.
        self._abortSessions()
        for pool in self.pools.values():
            for server in pool.servers:
                pool.reuse.drop(server)
        self.objects.stop()
        self.memberships.stop()
        self.deadlines.stop()
        self._files.close()
        self._logs.close()
        self._opened = False
        self.retired.clear()
        demos = [demo.stop() for demo in self._demos.values()]
        stores = [maybeDeferred(store.stop) for store in self._stores]
        return DeferredList([*demos, *stores, self._audience.end()]).addCallback(lambda _: None)
