"""
What becomes of pools and their servers where another configuration takes the place of the one
that runs: all that is others is made, and can be undone again; of what runs nothing is changed.

When it counts is L{lbtwist.applying}'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attr
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from lbtwist.building import Building
from lbtwist.config.model import Config, PoolConfig, ServerConfig
from lbtwist.demo import DemoServer
from lbtwist.discovery import resolve
from lbtwist.joining import spokenBy
from lbtwist.persistence.chain import Chain
from lbtwist.pool import Pool
from lbtwist.queueing import Queue
from lbtwist.rules.rulebook import Rules
from lbtwist.server import Endpoint, Server


@attr.define(eq=False)
class ServerTo:
    """
    What becomes of one server that is written down.

    @ivar tls: what it has from then on.
    @ivar isNew: it was not there before.
    @ivar demo: what is behind it from then on, and where; L{None}: what is there, or nothing.
    """

    server: Server
    options: ServerConfig
    tls: Any
    isNew: bool
    demo: tuple[DemoServer, Endpoint] | None


@attr.define(eq=False)
class PoolTo:
    """
    What becomes of one pool.

    @ivar before: its options until now; L{None} if it is new.
    @ivar probe: what checks its servers; L{None} if nothing does.
    @ivar sources: who says which servers the lines C{servers} are, in their order.
    """

    pool: Pool
    config: PoolConfig
    before: PoolConfig | None
    balancer: Any
    chain: Chain | None
    queue: Queue
    rules: Rules
    probe: Any
    announcer: Any
    servers: list[ServerTo]
    sources: list[Any]


@attr.define(eq=False)
class Undoing:
    """What has to be done if it is not to be, the last first."""

    _log = Logger()

    steps: list[Callable[[], object]] = attr.field(factory=list)

    def start(self, store: Any) -> None:
        """Start something that is stopped again if it is not to be."""
        self.steps.append(lambda: maybeDeferred(store.stop))
        store.start()

    def undo(self) -> None:
        """It is not to be."""
        for step in reversed(self.steps):
            try:
                step()
            except Exception:
                # The others are to be done nevertheless.
                self._log.failure("something that was begun could not be undone")


def _around(config: PoolConfig) -> PoolConfig:
    """@return: a pool without its servers."""
    return attr.evolve(config, servers=(), templates=())


class Readying:
    """
    Makes ready what pools become.

    @ivar same: whether conditions, which all parts may ask, are as they were.
    @ivar gone: stores that nobody asks any more when it counts.
    @ivar becoming: has stores go by other options then.
    """

    def __init__(
        self, building: Building, before: Config, config: Config, undoing: Undoing
    ) -> None:
        """@param undoing: is told of each thing that is made."""
        self._building = building
        self._before = before
        self._config = config
        self._undoing = undoing
        self.same = before.conditions == config.conditions
        self.gone: list[Any] = []
        self.becoming: list[Callable[[], None]] = []

    def pool(self, pool: Pool, config: PoolConfig, isNew: bool) -> PoolTo:
        """
        @param config: what the pool is to be.
        @param isNew: it was made of that.
        @raise StartError: if something of it cannot be.
        """
        building = self._building
        before = None if isNew else self._before.pools[config.name]
        rules = building.rules(
            (), config.request, config.response, before=pool.rules, owner=f"pool {config.name}"
        )
        balancer, chain, probe, announcer = (
            pool.balancer, pool.persistence, building.joining.probes.get(config.name),
            pool.announcer,
        )  # fmt: skip
        if before is not None and not self._stays(before.balance, config.balance):
            balancer = building.balancing(config)
        if before is not None and not self._chainStays(before, config, chain):
            chain = self._chain(before, config, chain)
        if config.check is None:
            probe = None
        elif before is None or before.check is None or before.check.probe != config.check.probe:
            probe = building.check(config.check.probe, config.name)
        if before is None or before.notify != config.notify:
            announcer = building.announcer(config)
        written = {one.name for one in (config if before is None else before).servers}
        known = {
            one.name: one for one in pool.servers if one.name in written and not one.leaving
        }
        same = self.sameAround(before, config)
        servers = [
            self._serverTo(config, before, one, known.get(one.name), same)
            for one in config.servers
        ]
        sources = []
        named = {one.config.name: one for one in pool.memberships}
        for template in config.templates:
            membership = named.get(template.name)
            if membership is not None and membership.config.source == template.source:
                sources.append(membership.source)
            else:
                sources.append(building.source(template, config.name))
            building.joining.verify(config, template.server)
        return PoolTo(
            pool, config, before, balancer, chain, building.queue(config), rules, probe,
            announcer, servers, sources,
        )  # fmt: skip

    def sameAround(self, before: PoolConfig | None, config: PoolConfig) -> bool:
        """@return: whether all that a pool says of its servers is as it was."""
        return (
            before is not None
            and _around(before) == _around(config)
            and self._before.tcp == self._config.tcp
        )

    def _stays(self, before: Any, after: Any) -> bool:
        """@return: whether a part would be the same."""
        return before == after and (self.same or not after.asked)

    def _chainStays(self, before: PoolConfig, after: PoolConfig, chain: Chain | None) -> bool:
        return (
            len(before.persist) == len(after.persist)
            and all(map(self._stays, before.persist, after.persist))
            and before.persist_store == after.persist_store
            and (chain is None or self._storeOf(before, after, chain) is not None)
        )

    def _storeOf(self, before: PoolConfig, after: PoolConfig, chain: Chain) -> Any:
        """@return: the store of a chain, if it stays; that it becomes another is noted."""
        had, wanted = before.persist_store, after.persist_store
        name = had.name
        if wanted.name != name or self._before.stores.get(name) != self._config.stores.get(name):
            return None
        if had != wanted:
            become = getattr(chain.store, "becomes", lambda options: None)(wanted.options)
            if become is None:
                return None
            self.becoming.append(become)
        return chain.store

    def _chain(
        self, before: PoolConfig, config: PoolConfig, chain: Chain | None
    ) -> Chain | None:
        building = self._building
        store = None
        if chain is not None:
            # What is known of clients goes on.
            store = self._storeOf(before, config, chain)
        count = len(building.starting)
        found = building.chain(config, store)
        for one in building.starting[count:]:
            self._undoing.start(one)
        store = None if found is None else found.store
        if chain is not None and chain.store in building.starting and store is not chain.store:
            self.gone.append(chain.store)
        return found

    def _serverTo(
        self, config: PoolConfig, before: PoolConfig | None, options: ServerConfig,
        server: Server | None, same: bool,
    ) -> ServerTo:
        """
        @param server: the one of that name; of a new pool it is new, too.
        @param same: all that its pool says of its servers is as it was.
        """
        building = self._building
        joining = building.joining
        isNew = before is None or server is None
        if server is None:
            server = joining.make(config, options)
        if options.kind == "tcp" and (isNew or not same or server.options != options):
            resolve(options)
            joining.verifyOrigin(config, options)
        elif options.kind == "object":
            joining.objects.verify(options)
        tls = None if isNew else server.tls
        if options.tls and (isNew or spokenBy(server.options) != spokenBy(options)):
            made = tls = building.files.server(config.name, options)
            self._undoing.steps.append(lambda: building.files.forget(made))
        elif not options.tls:
            tls = None
        moved = isNew or (server.options.kind, server.options.host) != ("demo", options.host)
        demo = self._demo(options) if options.kind == "demo" and moved else None
        return ServerTo(server, options, tls, isNew, demo)

    def _demo(self, options: ServerConfig) -> tuple[DemoServer, Endpoint]:
        demo = DemoServer(options.host)
        endpoint = demo.start(self._building.reactor)
        self._undoing.steps.append(demo.stop)
        return demo, endpoint
