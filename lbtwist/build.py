"""
From a configuration to a load balancer that could be started. Opens nothing.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count as counter
from typing import Any

import attr
from zope.interface.interface import InterfaceClass

from lbtwist.accesslog import AccessLog
from lbtwist.admin.commands import commandsFor
from lbtwist.admin.socket import AdminSocket
from lbtwist.announcing import Announcer, Audience, Recently
from lbtwist.asking import rulebookOf
from lbtwist.balance.keys import templateKey
from lbtwist.checks.combined import Combined, Group, Single
from lbtwist.config.fill import readBeside
from lbtwist.config.model import Combination, Config, FrontendConfig, Part, PoolConfig, RuleLine
from lbtwist.config.passive import isWatched
from lbtwist.deadlines import Deadlines
from lbtwist.demo import DemoServer
from lbtwist.discovery import Resolver
from lbtwist.ejecting import Ejecting
from lbtwist.events import EVENTS
from lbtwist.exchange import Exchange
from lbtwist.fetching import Fetcher
from lbtwist.http.terminating import Terminating
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
from lbtwist.logged import asksForSource, formatOf
from lbtwist.logwriter import Logs
from lbtwist.membership import Memberships
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.net.profiles import Profile
from lbtwist.passive import exchangeFinished
from lbtwist.persistence.chain import Chain
from lbtwist.pool import Pool
from lbtwist.queueing import Queue
from lbtwist.registry import Context, Registry, installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.reading import wire
from lbtwist.rules.rulebook import NO_RULES, Rules
from lbtwist.rules.values import Stage
from lbtwist.server import Server
from lbtwist.service import Frontend, LoadBalancer
from lbtwist.stapling import Stapler
from lbtwist.stats import count
from lbtwist.tlsfiles import TLSFiles

LOG = "log"
"""Who is told what happens to servers, whatever the configuration says."""


def build(
    config: Config,
    registry: Registry | None = None,
    reactor: Any = None,
    seconds: Callable[[], float] = time.monotonic,
    wallclock: Callable[[], float] = time.time,
) -> LoadBalancer:
    """
    @param registry: the parts that the configuration names; all that are
        installed by default.
    @param reactor: the installed one by default.
    @param seconds: a clock that never goes back.
    @param wallclock: seconds since the epoch, for logs.
    """
    if reactor is None:
        from twisted.internet import reactor
    return _Building(config, registry or installed(), reactor, seconds, wallclock).balancer()


class _Building:
    def __init__(
        self,
        config: Config,
        registry: Registry,
        reactor: Any,
        seconds: Callable[[], float],
        wallclock: Callable[[], float],
    ) -> None:
        self._config = config
        self._registry = registry
        self._reactor = reactor
        self._seconds = seconds
        self._wallclock = wallclock
        self._random = random.Random()
        self._secret = secrets.token_bytes(32)
        self._deadlines = Deadlines(reactor, seconds)
        self._process = Process(config.settings.maxconn, config.settings.max_handshakes)
        self._newId = requestIds()
        self._logs = Logs(reactor)
        self._audience = Audience(lambda part: self._part(IHealthObserver, part, ""))
        self._recently = Recently()
        self._demos: dict[Server, DemoServer] = {}
        self._pools: dict[str, Pool] = {}
        self._stores: dict[str, Any] = {}
        # Those that have to be started.
        self._starting: list[Any] = []
        self._resolver = Resolver(reactor)
        self._monitor = Monitor(reactor, seconds, self._random)
        self._ejecting = Ejecting(reactor, seconds, self._monitor)
        self._names = Names(reactor, self._resolver, self._moved)
        fetch = Fetcher(reactor, self._resolver)
        self._files = TLSFiles(config, reactor, Stapler(reactor, wallclock, self._random, fetch))
        self._joining = Joining(
            config, self._newId, self._monitor, self._names, self._files, self._ejecting
        )

    def balancer(self) -> LoadBalancer:
        config = self._config
        for name, store in config.stores.items():
            self._stores[name] = self._part(ISharedStore, store.kind, "")
        self._starting += self._stores.values()
        for name, pool in config.pools.items():
            self._pools[name] = self._pool(pool)
        for name, pool in config.pools.items():
            self._pools[name].rules = self._rules((), pool.request, pool.response)
        profiles = {name: Profile(tcp) for name, tcp in config.tcp.items()}
        frontends = {
            name: Frontend(self._inbound(frontend), self._reactor, profiles)
            for name, frontend in config.frontends.items()
        }
        joining = self._joining
        joining.pools = self._pools
        joining.probes = {
            name: self._check(pool.check.probe, name)
            for name, pool in config.pools.items()
            if pool.check is not None
        }
        memberships = Memberships(self._reactor, self._seconds, joining)
        for name, pool in config.pools.items():
            running = self._pools[name]
            running.announcer = self._announcer(pool)
            for server in running.servers:
                joining.watch(running, server)
                if server.options.kind == "demo":
                    self._demos[server] = DemoServer(server.options.host)
            for template in pool.templates:
                source = self._part(IServerSource, template.source, name)
                memberships.watch(running, template, source)
        balancer = LoadBalancer(
            config, self._reactor, self._deadlines, self._process, frontends, self._pools,
            self._monitor, self._ejecting, self._names, memberships, self._demos, self._logs,
            self._files, self._audience, self._starting,
        )  # fmt: skip
        balancer.recently = self._recently
        balancer.wallclock = self._wallclock
        balancer.stores = self._stores
        commands = commandsFor(balancer)
        balancer.doors = tuple(
            AdminSocket(one, commands, self._reactor) for one in config.settings.admin
        )
        return balancer

    def _moved(self, server: Server) -> None:
        """A server has another address."""
        pool = self._pools[server.pool]
        pool.reuse.drop(server)
        pool.serversChanged()

    def _context(self, pool: str) -> Context:
        return Context(
            self._reactor, self._seconds, self._random, pool, self._resolver,
            wallclock=self._wallclock, secret=self._secret, stores=self._stores,
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

    def _check(self, probe: Part | Combination, pool: str) -> Any:
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

    def _pool(self, config: PoolConfig) -> Pool:
        servers = [self._joining.make(config, options) for options in config.servers]
        http = config.mode != "tcp"
        scope = Scope(
            Stage.REQUEST if http else Stage.CONNECTION, http, self._config.conditions,
            seconds=self._seconds,
        )
        balancer = self._part(IBalancer, config.balance, config.name, scope)
        chain = self._chain(config, scope) if config.persist else None
        queue = self._queue(config, scope)
        return Pool(config, servers, balancer, self._reactor, self._deadlines, chain, queue)

    def _queue(self, config: PoolConfig, scope: Scope) -> Queue:
        part = config.queue
        if part.options is None:
            return Queue()
        scope = attr.evolve(scope, read=partial(readBeside, part.where))
        key = templateKey(part.options.by, scope)
        return Queue(key.of, {wire(one): weight for one, weight in part.options.table})

    def _chain(self, config: PoolConfig, scope: Scope) -> Chain:
        store = self._store(config)
        chain = Chain(
            [self._part(IPersistence, kind, config.name, scope, store) for kind in config.persist],
            [kind.name for kind in config.persist],
        )
        chain.store = store
        return chain

    def _store(self, config: PoolConfig) -> Any:
        part = config.persist_store
        if part.name in self._stores:
            return self._stores[part.name].persistence(config.name)
        store = self._part(IPersistenceStore, part, config.name)
        if hasattr(store, "start"):
            self._starting.append(store)
        return store

    def _announcer(self, config: PoolConfig) -> Announcer:
        log = Part(LOG, self._registry.find(IHealthObserver, LOG).options())
        told: list[tuple[Any, Iterable[str]]] = [(self._audience.observer(log), EVENTS)]
        for one in config.notify:
            told.append((self._audience.observer(one.observer), one.options.events or EVENTS))
        told.append((self._recently, EVENTS))
        return Announcer(told, self._wallclock)

    def _inbound(self, config: FrontendConfig) -> Inbound:
        pool = self._pools.get(config.pool)
        observers: list[Callable[[Exchange], object]] = [count]
        observers += self._observing(config, pool)
        for target in config.log:
            if target.target == "off":
                continue
            scope = Scope(
                Stage.LOG, config.mode == "http", self._config.conditions,
                pool=self._pools.__getitem__, seconds=self._seconds,
            )  # fmt: skip
            line = formatOf(
                target, config, self._config, scope, self._seconds, self._wallclock
            )
            if asksForSource(target, config):
                for one in self._pools.values():
                    one.tellsSource = True
            writer = self._logs.writer(target.path)
            observers.append(AccessLog(writer, line).observe)
        terminating = None
        if config.connect == "terminate":
            terminating = Terminating(self._resolver, self._reactor)
        return Inbound(
            config, self._process, self._deadlines, pool, observers, self._newId,
            self._rules(
                config.connection, config.request, config.response, config.mode == "http"
            ),
            self._pools, terminating,
        )  # fmt: skip

    def _observing(
        self, config: FrontendConfig, pool: Pool | None
    ) -> list[Callable[[Exchange], object]]:
        """@return: what tells balancers, and who watches servers, of the exchanges of pools."""
        pools = [pool] if pool is not None else []
        if config.connection or config.request:
            # A rule may choose any of them.
            pools = list(self._pools.values())
        found: list[Callable[[Exchange], object]] = []
        if any(isWatched(one.config) for one in pools):
            found.append(exchangeFinished)
        told = {
            one: one.balancer.exchangeFinished
            for one in pools
            if IExchangeObserver.providedBy(one.balancer)
        }
        if not told or (len(pools) == 1 and config.connect != "terminate"):
            return [*found, *told.values()]

        def tell(exchange: Exchange) -> None:
            observe = told.get(exchange.pool)
            if observe is not None:
                observe(exchange)

        return [*found, tell]

    def _rules(
        self,
        connection: tuple[RuleLine, ...],
        request: tuple[RuleLine, ...],
        response: tuple[RuleLine, ...],
        http: bool = True,
    ) -> Rules:
        if not (connection or request or response):
            return NO_RULES
        books = []
        for stage, lines in (
            (Stage.CONNECTION, connection), (Stage.REQUEST, request), (Stage.RESPONSE, response)
        ):  # fmt: skip
            scope = Scope(
                stage, http, self._config.conditions, pool=self._pools.__getitem__,
                seconds=self._seconds,
            )
            context = self._context("")
            books.append(rulebookOf(lines, scope, self._registry, context, self._deadlines))
        return Rules(*books)


def requestIds() -> Callable[[], str]:
    """
    @return: makes identifiers that no other process makes: 64 random bits of
        this process, and a count.
    """
    prefix = secrets.token_hex(8)
    following = counter(1).__next__
    return lambda: f"{prefix}-{following():08x}"
