"""
The parts of a load balancer, made of its configuration: all of them at first, and those that
are others where another configuration takes its place. Opens nothing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import count as counter
from typing import Any

import attr
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

from lbtwist import exemplars
from lbtwist.admin.audit import Audit
from lbtwist.admin.commands import commandsFor
from lbtwist.admin.socket import AdminSocket
from lbtwist.admin.statsd import Exporter
from lbtwist.announcing import Announcer, Audience, Recently
from lbtwist.asking import rulebookOf
from lbtwist.balance.keys import templateKey
from lbtwist.checks.combined import Combined, Group, Single
from lbtwist.config.fill import readBeside
from lbtwist.config.model import (
    AdminBind,
    Combination,
    Config,
    EventLogTarget,
    FrontendConfig,
    LogTarget,
    Part,
    PoolConfig,
    RuleLine,
    ServersConfig,
    StoreConfig,
)
from lbtwist.config.passive import isWatched
from lbtwist.deadlines import Deadlines
from lbtwist.demo import DemoServer
from lbtwist.discovery import Resolver
from lbtwist.ejecting import Ejecting
from lbtwist.eventlog import EventLog
from lbtwist.events import EVENTS
from lbtwist.exchange import Exchange
from lbtwist.fetching import Fetcher
from lbtwist.frontend import Frontend, Opens, openHere
from lbtwist.http.terminating import Terminating
from lbtwist.http.tracing import OFF
from lbtwist.inbound import Inbound, Process
from lbtwist.interfaces import (
    IBalancer,
    IExchangeObserver,
    IHealthCheck,
    IHealthObserver,
    IPersistence,
    IPersistenceStore,
    IServerSource,
    ISharedStore,
)
from lbtwist.joining import Joining
from lbtwist.logged import asksForSource, eventLogOf, observerOf, writerOf
from lbtwist.logs import Logs
from lbtwist.logwriter import Gatherer
from lbtwist.membership import Memberships
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.net.profiles import Profile
from lbtwist.objects import Objects
from lbtwist.passive import exchangeFinished
from lbtwist.persistence.chain import Chain
from lbtwist.pool import Pool
from lbtwist.queueing import Queue
from lbtwist.registry import Context, Registry
from lbtwist.roster import Roster
from lbtwist.rules.expression import Scope
from lbtwist.rules.reading import wire
from lbtwist.rules.rulebook import NO_RULES, Rules
from lbtwist.rules.tables import Tables
from lbtwist.rules.values import Stage
from lbtwist.server import Server
from lbtwist.service import Door, LoadBalancer
from lbtwist.spans import Spans
from lbtwist.stapling import Stapler
from lbtwist.stats import count
from lbtwist.tlsfiles import TLSFiles

LOG = "log"
"""Who is told what happens to servers, whatever the configuration says."""


@attr.frozen(eq=False)
class Parts:
    """
    What the running side of a frontend is made of, besides its configuration.

    @ivar tellsSource: whether its logs tell where servers are connected to from.
    """

    pool: Pool | None
    observers: tuple[Callable[[Exchange], object], ...]
    rules: Rules
    terminating: Terminating | None
    writers: tuple[Any, ...]
    tellsSource: bool


class Building:
    """
    Makes the parts of one balancer: all at first, and those that are others where a
    configuration takes the place of another; which these are is L{lbtwist.applying}'s.

    @ivar config: what they are made of.
    @ivar pools: all there are, by name; always the same dictionary.
    @ivar stores: the C{[store]} sections by name.
    @ivar starting: what has to be started before it is asked.
    @ivar coming: the balancers that pools are about to have.
    @ivar secret: see L{Context}.
    @ivar together: an L{ISharedStore} of what several processes share that serve together;
        L{None} for one alone.
    @ivar opens: opens the sockets of frontends.
    @ivar spans: tells a collector of traces; L{None} where there is none.
    @ivar used: the writers of all logs.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        reactor: Any,
        seconds: Callable[[], float],
        wallclock: Callable[[], float],
    ) -> None:
        self.config = config
        self._registry = registry
        self.reactor = reactor
        self._seconds = seconds
        self._wallclock = wallclock
        self._random = random.Random()
        self.secret = secrets.token_bytes(32)
        self.together: Any = None
        self._deadlines = Deadlines(reactor, seconds)
        self.process = Process(config.settings.maxconn, config.settings.max_handshakes)
        self._newId = requestIds()
        self.logs = Logs(reactor)
        self._audience = Audience(lambda part: self._part(IHealthObserver, part, ""))
        self._recently = Recently()
        self._tables = Tables()
        self.demos: dict[Server, DemoServer] = {}
        self.pools: dict[str, Pool] = {}
        self.stores: dict[str, Any] = {}
        # Those that have to be started.
        self.starting: list[Any] = []
        self.spans: Spans | None = None
        self.coming: dict[Pool, Any] = {}
        self.opens: Opens = openHere
        self.used: set[Any] = set()
        # Those of them that changes are written down by.
        self.auditing: set[Any] = set()
        self._resolver = Resolver(reactor)
        self.monitor = Monitor(reactor, seconds, self._random)
        self.ejecting = Ejecting(reactor, seconds, self.monitor)
        self.names = Names(reactor, self._resolver, self._moved)
        fetch = Fetcher(reactor, self._resolver)
        self.files = TLSFiles(config, reactor, Stapler(reactor, wallclock, self._random, fetch))
        self.joining = Joining(
            config, self._newId, self.monitor, self.names, self.files, self.ejecting
        )

    def give(self, objects: Objects) -> None:
        """Before the balancer is made."""
        self.joining.objects = objects

    def balancer(self) -> LoadBalancer:
        config = self.config
        for name, store in config.stores.items():
            self.stores[name] = self.store(store)
        self.starting += self.stores.values()
        self.spans = self.collector()
        if self.spans is not None:
            self.starting.append(self.spans)
        self.logs.events = self.events()
        for name, pool in config.pools.items():
            self.pools[name] = self.pool(pool)
        for name, pool in config.pools.items():
            self.pools[name].rules = self.rules(
                (), pool.request, pool.response, owner=f"pool {name}"
            )
        parts = {
            name: self.parts(frontend, NO_RULES) for name, frontend in config.frontends.items()
        }
        frontends = {
            name: self.frontend(config.frontends[name], one) for name, one in parts.items()
        }
        joining = self.joining
        joining.pools = self.pools
        joining.probes = {
            name: self.check(pool.check.probe, name)
            for name, pool in config.pools.items()
            if pool.check is not None
        }
        roster = Roster(self.reactor, joining)
        memberships = Memberships(self.reactor, self._seconds, joining, roster)
        for name, pool in config.pools.items():
            running = self.pools[name]
            running.announcer = self.announcer(pool)
            for server in running.servers:
                joining.watch(running, server)
                if server.options.kind == "demo":
                    self.demos[server] = DemoServer(server.options.host)
            for template in pool.templates:
                memberships.watch(running, template, self.source(template, name))
        balancer = LoadBalancer(
            config, self.reactor, self._deadlines, self.process, frontends, self.pools,
            self.monitor, self.ejecting, self.names, roster, memberships, self.demos, self.logs,
            self.files, self._audience, self.starting,
        )  # fmt: skip
        balancer.recently = self._recently
        balancer.objects = self.joining.objects
        balancer.wallclock = self._wallclock
        balancer.stores = self.stores
        balancer.secret = self.secret
        self._balancer = balancer
        self._commands = commandsFor(balancer, audit=self._audit(config))
        self.use(parts.values())
        balancer.doors = tuple(map(self.door, config.settings.admin))
        balancer.exports = self.exports(balancer)
        return balancer

    def door(self, config: AdminBind) -> Door:
        """@return: where administrators come in."""
        if config.kind == "web":
            # A balancer that has none need not have twisted.web either.
            from lbtwist.admin.web.door import WebDoor

            return WebDoor(config, self._balancer, self._commands, self.reactor)
        return AdminSocket(config, self._commands, self.reactor)

    def _audit(self, config: Config) -> Audit:
        target = config.settings.audit
        writer = None if target is None else self.logs.writer(target.path)
        self.auditing = set() if writer is None else {writer}
        return Audit(writer, self._wallclock)

    def goBy(self, config: Config) -> None:
        """Make parts by another configuration from now on."""
        self.config = config
        self.joining.change(config)
        self._commands.audit = self._audit(config)

    def _moved(self, server: Server) -> None:
        """A server has another address."""
        for pool in (*self.pools.values(), *self._balancer.roster.retired):
            if server in pool.servers:
                pool.reuse.drop(server)
                pool.serversChanged()

    def _context(self, pool: str, owner: str = "") -> Context:
        stores = self.stores if self.together is None else {**self.stores, "": self.together}
        return Context(
            self.reactor, self._seconds, self._random, pool, self._resolver,
            wallclock=self._wallclock, secret=self.secret, stores=stores, owner=owner,
        )

    def _part(
        self, makes: InterfaceClass, part: Part, pool: str, scope: Scope | None = None,
        store: Any = None,
    ) -> Any:
        extension = self._registry.find(makes, part.name)
        options = part.options if part.options is not None else extension.options()
        if scope is not None:
            # Files that expressions name are found from where they are written.
            scope = attr.evolve(scope, read=partial(readBeside, part.where))
        return extension.make(
            options, attr.evolve(self._context(pool), scope=scope, store=store)
        )

    def store(self, config: StoreConfig) -> Any:
        """@return: what is behind a C{[store]} section."""
        return self._part(ISharedStore, config.kind, "")

    def source(self, config: ServersConfig, pool: str) -> Any:
        """
        @return: who says which servers a line C{servers} of a pool is.
        @raise zope.interface.Invalid: if it is no L{IServerSource}.
        """
        found = self._part(IServerSource, config.source, pool)
        verifyObject(IServerSource, found)
        return found

    def check(self, probe: Part | Combination, pool: str) -> Any:
        if isinstance(probe, Part):
            return self._part(IHealthCheck, probe, pool)
        singles: list[Single] = []

        def group(tree: Combination) -> Group:
            parts: list[Group | int] = []
            for one in tree.parts:
                if isinstance(one, Combination):
                    parts.append(group(one))
                else:
                    check = self._part(IHealthCheck, one.part, pool)
                    parts.append(len(singles))
                    singles.append(Single(one.part.name, check, one.port))
            return Group(tree.least, tuple(parts))

        return Combined(group(probe), singles)

    def pool(self, config: PoolConfig) -> Pool:
        """@return: a pool with the servers that are written down; nothing watches them yet."""
        servers = [self.joining.make(config, options) for options in config.servers]
        return Pool(
            config, servers, self.balancing(config), self.reactor, self._deadlines,
            self.chain(config, None), self.queue(config),
        )  # fmt: skip

    def _scope(self, config: PoolConfig) -> Scope:
        http = config.mode != "tcp"
        return Scope(
            Stage.REQUEST if http else Stage.CONNECTION, http, self.config.conditions,
            seconds=self._seconds,
        )

    def balancing(self, config: PoolConfig) -> Any:
        """@return: the balancer of a pool."""
        return self._part(IBalancer, config.balance, config.name, self._scope(config))

    def queue(self, config: PoolConfig) -> Queue:
        """@return: the queue of a pool."""
        part = config.queue
        if part.options is None:
            return Queue()
        scope = attr.evolve(self._scope(config), read=partial(readBeside, part.where))
        key = templateKey(part.options.by, scope)
        return Queue(key.of, {wire(one): weight for one, weight in part.options.table})

    def chain(self, config: PoolConfig, store: Any) -> Chain | None:
        """
        @param store: where its kinds keep what they know; L{None}: a new one.
        @return: the persistence of a pool; L{None} if it has none.
        """
        if not config.persist:
            return None
        store = store or self._store(config)
        scope = self._scope(config)
        chain = Chain(
            [self._part(IPersistence, kind, config.name, scope, store) for kind in config.persist],
            [kind.name for kind in config.persist],
        )
        chain.store = store
        return chain

    def _store(self, config: PoolConfig) -> Any:
        part = config.persist_store
        if part.name in self.stores:
            return self.stores[part.name].persistence(config.name)
        if self.together is not None:
            return self.together.persistence(config.name)
        store = self._part(IPersistenceStore, part, config.name)
        if hasattr(store, "start"):
            self.starting.append(store)
        return store

    def announcer(self, config: PoolConfig) -> Announcer:
        """@return: tells what happens to the servers of a pool."""
        log = Part(LOG, self._registry.find(IHealthObserver, LOG).options())
        told: list[tuple[Any, Iterable[str]]] = [(self._audience.observer(log), EVENTS)]
        for one in config.notify:
            told.append((self._audience.observer(one.observer), one.options.events or EVENTS))
        told.append((self._recently, EVENTS))
        return Announcer(told, self._wallclock)

    def frontend(self, config: FrontendConfig, parts: Parts) -> Frontend:
        """@return: one that does not listen yet."""
        inbound = Inbound(
            config, self.process, self._deadlines, parts.pool, parts.observers, self._newId,
            parts.rules, self.pools, parts.terminating,
        )  # fmt: skip
        profiles = {name: Profile(tcp) for name, tcp in self.config.tcp.items()}
        return Frontend(inbound, self.reactor, profiles, self.opens)

    def writer(self, target: LogTarget | EventLogTarget) -> Gatherer:
        """@return: what writes to a target; it may be open already."""
        return writerOf(target, self.logs, self.reactor, self._resolver)

    def events(self) -> EventLog | None:
        """@return: what writes the program's own events."""
        elsewhere = getattr(self.reactor, "callFromThread", None)
        return eventLogOf(self.config, self.writer, elsewhere)

    def exports(self, balancer: LoadBalancer) -> tuple[Exporter, ...]:
        """@return: what sends its numbers away: that which does so already, or another."""
        settings = self.config.settings
        known = {one.config: one for one in balancer.exports if isinstance(one, Exporter)}
        return tuple(
            known.get(one) or Exporter(one, balancer, self._resolver)
            for one in (*settings.statsd, *settings.graphite)
        )

    def collector(self) -> Spans | None:
        """@return: who tells a collector of traces; L{None} where there is none."""
        config = self.config.settings.otlp
        if config is None:
            return None
        return Spans(config, self.reactor, self._resolver, self._wallclock, self._seconds)

    def parts(self, config: FrontendConfig, before: Rules) -> Parts:
        """
        @param before: the rules that it had.
        @return: what the running side of a frontend is made of.
        """
        pool = self.pools.get(config.pool)
        observers: list[Callable[[Exchange], object]] = [count]
        traced = config.mode == "http" and config.traceparent != OFF
        if traced and self.spans is not None:
            observers.append(self.spans)
        if traced:
            observers.append(exemplars.exchangeFinished)
        writers = []
        observers += self._observing(config, pool)
        for target in config.log:
            if target.target == "off":
                continue
            scope = Scope(
                Stage.LOG, config.mode == "http", self.config.conditions,
                pool=self.pools.__getitem__, seconds=self._seconds,
            )  # fmt: skip
            writer = self.writer(target)
            writers.append(writer)
            observers.append(observerOf(
                target, writer, config, self.config, scope, self._seconds, self._wallclock,
                self._random.random,
            ))  # fmt: skip
        terminating = None
        if config.connect == "terminate":
            terminating = Terminating(self._resolver, self.reactor)
        rules = self.rules(
            config.connection, config.request, config.response, config.mode == "http", before,
            f"frontend {config.name}",
        )  # fmt: skip
        tells = any(asksForSource(target, config) for target in config.log)
        return Parts(pool, tuple(observers), rules, terminating, tuple(writers), tells)

    def use(self, parts: Collection[Parts]) -> None:
        """These are what frontends are made of from now on."""
        if any(one.tellsSource for one in parts):
            for pool in self.pools.values():
                pool.tellsSource = True
        used = {writer for one in parts for writer in one.writers}
        if self.logs.events is not None:
            used.update(self.logs.events.writers)
        self.used = used | self.auditing

    def _observing(
        self, config: FrontendConfig, pool: Pool | None
    ) -> list[Callable[[Exchange], object]]:
        """@return: what tells balancers, and who watches servers, of the exchanges of pools."""
        pools = [pool] if pool is not None else []
        if config.connection or config.request:
            # A rule may choose any of them.
            pools = list(self.pools.values())
        found: list[Callable[[Exchange], object]] = []
        if any(isWatched(self.config.pools[one.name]) for one in pools):
            found.append(exchangeFinished)
        balancers = {one: self.coming.get(one, one.balancer) for one in pools}
        told = {
            pool: one.exchangeFinished
            for pool, one in balancers.items()
            if IExchangeObserver.providedBy(one)
        }
        if not told or (len(pools) == 1 and config.connect != "terminate"):
            return [*found, *told.values()]

        def tell(exchange: Exchange) -> None:
            observe = told.get(exchange.pool)
            if observe is not None:
                observe(exchange)

        return [*found, tell]

    def rules(
        self,
        connection: tuple[RuleLine, ...],
        request: tuple[RuleLine, ...],
        response: tuple[RuleLine, ...],
        http: bool = True,
        before: Rules = NO_RULES,
        owner: str = "",
    ) -> Rules:
        """
        @param owner: whose they are, such as C{frontend www}.
        @param before: those that were there; what they have counted goes on where they stay.
        """
        if not (connection or request or response):
            return NO_RULES
        books = []
        for stage, lines, book in (
            (Stage.CONNECTION, connection, before.connection),
            (Stage.REQUEST, request, before.request),
            (Stage.RESPONSE, response, before.response),
        ):
            scope = Scope(
                stage, http, self.config.conditions, entries=self._tables.find,
                pool=self.pools.__getitem__, seconds=self._seconds,
            )  # fmt: skip
            context = self._context("", owner)
            books.append(
                rulebookOf(lines, scope, self._registry, context, self._deadlines, book)
            )
        return Rules(*books)


def requestIds() -> Callable[[], str]:
    """
    @return: makes identifiers that no other process makes: 64 random bits of
        this process, and a count.
    """
    prefix = secrets.token_hex(8)
    following = counter(1).__next__
    return lambda: f"{prefix}-{following():08x}"
