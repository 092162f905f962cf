"""
From a configuration to a load balancer that could be started. Opens nothing.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from functools import partial
from itertools import count as counter
from typing import Any

import attr
from zope.interface.interface import InterfaceClass

from lbtwist.accesslog import AccessLog
from lbtwist.asking import rulebookOf
from lbtwist.config.fill import readBeside
from lbtwist.config.model import Config, FrontendConfig, Part, PoolConfig, RuleLine
from lbtwist.deadlines import Deadlines
from lbtwist.demo import DemoServer
from lbtwist.discovery import Resolver
from lbtwist.exchange import Exchange
from lbtwist.fetching import Fetcher
from lbtwist.http.terminating import Terminating
from lbtwist.inbound import Inbound, Process
from lbtwist.interfaces import IBalancer, IExchangeObserver, IHealthCheck, IServerSource
from lbtwist.joining import Joining
from lbtwist.logged import asksForSource, formatOf
from lbtwist.logwriter import Logs
from lbtwist.membership import Memberships
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.net.profiles import Profile
from lbtwist.pool import Pool
from lbtwist.registry import Context, Registry, installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.rulebook import NO_RULES, Rules
from lbtwist.rules.values import Stage
from lbtwist.server import Server
from lbtwist.service import Frontend, LoadBalancer
from lbtwist.stapling import Stapler
from lbtwist.stats import count
from lbtwist.tlsfiles import TLSFiles


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
        self._deadlines = Deadlines(reactor, seconds)
        self._process = Process(config.settings.maxconn, config.settings.max_handshakes)
        self._newId = requestIds()
        self._logs = Logs(reactor)
        self._demos: dict[Server, DemoServer] = {}
        self._pools: dict[str, Pool] = {}
        self._resolver = Resolver(reactor)
        self._monitor = Monitor(reactor, seconds, self._random)
        self._names = Names(reactor, self._resolver, self._moved)
        fetch = Fetcher(reactor, self._resolver)
        self._files = TLSFiles(config, reactor, Stapler(reactor, wallclock, self._random, fetch))
        self._joining = Joining(config, self._newId, self._monitor, self._names, self._files)

    def balancer(self) -> LoadBalancer:
        config = self._config
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
        joining.probes = {
            name: self._part(IHealthCheck, pool.check.probe, name)
            for name, pool in config.pools.items()
            if pool.check is not None
        }
        memberships = Memberships(self._reactor, self._seconds, joining)
        for name, pool in config.pools.items():
            running = self._pools[name]
            for server in running.servers:
                joining.watch(running, server)
                if server.options.kind == "demo":
                    self._demos[server] = DemoServer(server.options.host)
            for template in pool.templates:
                source = self._part(IServerSource, template.source, name)
                memberships.watch(running, template, source)
        return LoadBalancer(
            config, self._reactor, self._deadlines, self._process, frontends, self._pools,
            self._monitor, self._names, memberships, self._demos, self._logs, self._files,
        )  # fmt: skip

    def _moved(self, server: Server) -> None:
        """A server has another address."""
        pool = self._pools[server.pool]
        pool.reuse.drop(server)
        pool.serversChanged()

    def _context(self, pool: str) -> Context:
        return Context(self._reactor, self._seconds, self._random, pool, self._resolver)

    def _part(
        self, makes: InterfaceClass, part: Part, pool: str, scope: Scope | None = None
    ) -> Any:
        extension = self._registry.find(makes, part.name)
        options = part.options if part.options is not None else extension.options()
        return extension.make(options, attr.evolve(self._context(pool), scope=scope))

    def _pool(self, config: PoolConfig) -> Pool:
        servers = [self._joining.make(config, options) for options in config.servers]
        http = config.mode != "tcp"
        scope = Scope(
            Stage.REQUEST if http else Stage.CONNECTION, http, self._config.conditions,
            partial(readBeside, config.balance.where), seconds=self._seconds,
        )  # fmt: skip
        balancer = self._part(IBalancer, config.balance, config.name, scope)
        return Pool(config, servers, balancer, self._reactor, self._deadlines)

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
        """@return: what tells balancers of the exchanges of their pools."""
        pools = [pool] if pool is not None else []
        if config.connection or config.request:
            # A rule may choose any of them.
            pools = list(self._pools.values())
        told = {
            one: one.balancer.exchangeFinished
            for one in pools
            if IExchangeObserver.providedBy(one.balancer)
        }
        if not told or (len(pools) == 1 and config.connect != "terminate"):
            return list(told.values())

        def tell(exchange: Exchange) -> None:
            observe = told.get(exchange.pool)
            if observe is not None:
                observe(exchange)

        return [tell]

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
