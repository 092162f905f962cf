"""
Puts a configuration in the place of the one that runs: what compares equal keeps its object, and
with it connections, health, tables, counters and TLS tickets.

All that can fail is done first, and undone if something fails: files, sockets, parts that are
made; those of pools by L{lbtwist.readying}. Then all that is left is said to the objects that
run, and each of them says how it becomes another: L{lbtwist.pool}, L{lbtwist.joining},
L{lbtwist.roster}, L{lbtwist.membership}, L{lbtwist.inbound}, L{lbtwist.frontend},
L{lbtwist.tlsfiles}. Nothing of it takes time in which something else could run. What changes, in
words, is L{lbtwist.config.difference}'s.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import attr
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from lbtwist.building import Building, Parts
from lbtwist.config.difference import Difference, difference
from lbtwist.config.model import Config, PoolConfig, ServerConfig, ServersConfig
from lbtwist.config.passive import isWatched
from lbtwist.errors import StartError
from lbtwist.frontend import Sockets
from lbtwist.joining import Before
from lbtwist.pool import Pool
from lbtwist.readying import PoolTo, Readying, ServerTo, Undoing
from lbtwist.rules.rulebook import NO_RULES, Rules
from lbtwist.server import Server
from lbtwist.service import LoadBalancer


def _options(config: PoolConfig) -> PoolConfig:
    """@return: what a pool says besides its servers, its rules, and what has parts of its own."""
    return attr.evolve(
        config, servers=(), templates=(), request=(), response=(), check=None, notify=()
    )


def _asks(rules: Rules) -> list[list[Any]]:
    """@return: what is asked, in its order."""
    return [
        [] if book is None else [rule.ask for rule in book.rules]
        for book in (rules.connection, rules.request, rules.response)
    ]


class Applying:
    """Changes one balancer."""

    _log = Logger()

    def __init__(self, balancer: LoadBalancer, building: Building) -> None:
        self._balancer = balancer
        self._building = building

    def apply(self, config: Config) -> Difference:
        """See L{lbtwist.interfaces.ILoadBalancer}."""
        if not self._balancer.running or self._balancer.leaving:
            raise StartError("the balancer does not run: there is nothing to be changed")
        before = self._balancer.config
        found = difference(before, config)
        undoing = Undoing()
        try:
            change = _Change(self._balancer, self._building, before, config, undoing)
        except BaseException:
            undoing.undo()
            raise
        change.take()
        if before.settings.workers != config.settings.workers:
            self._log.warn("[global] workers: there are as many as before until the next start")
        return found


class _Change:
    """One change from one configuration to another: it is made ready, and then made."""

    _log = Logger()

    def __init__(
        self, balancer: LoadBalancer, building: Building, before: Config, config: Config,
        undoing: Undoing,
    ) -> None:
        """
        Make all of it ready.

        @raise StartError: if something of it cannot be; then C{undoing} has to be undone.
        """
        self._balancer = balancer
        self._building = building
        self._before = before
        self._config = config
        self._undoing = undoing
        self._steps = undoing.steps
        self._frontendsBefore = dict(balancer.frontends)
        self._poolsBefore = dict(building.pools)
        self._readying = Readying(building, before, config, undoing)
        writers = list(building.logs.writers)
        self._steps.append(lambda: building.logs.undo(writers))
        building.goBy(config)
        self._steps.append(lambda: building.goBy(before))
        self._stores()
        self._tls = building.files.change(config)
        self._steps.append(self._tls.undo)
        self._pools()
        self._frontends()
        self._sockets = Sockets(self._frontendsBefore.values(), config, building.opens)
        self._steps.append(self._sockets.undo)
        self._sockets.open(building.reactor)
        self._doors()
        self._events = building.events()
        building.logs.open()
        self._running = balancer.accepts
        self._around = self._isAround()

    # making ready

    def _stores(self) -> None:
        building = self._building
        stores, known = building.stores, dict(building.stores)
        starting = list(building.starting)

        def restore() -> None:
            _become(stores, known)
            building.starting[:] = starting

        self._steps.append(restore)
        found = {}
        for name, config in self._config.stores.items():
            if self._before.stores.get(name) == config:
                found[name] = known[name]
                continue
            found[name] = store = building.store(config)
            building.starting.append(store)
            self._undoing.start(store)
        self._readying.gone += [one for name, one in known.items() if found.get(name) is not one]
        _become(stores, found)
        if self._toldElsewhere:
            self._spans()

    @property
    def _toldElsewhere(self) -> bool:
        return self._before.settings.otlp != self._config.settings.otlp

    def _spans(self) -> None:
        """Have another collector be told of traces."""
        building = self._building
        before = building.spans
        self._steps.append(lambda: setattr(building, "spans", before))
        building.spans = spans = building.collector()
        if spans is not None:
            building.starting.append(spans)
            self._undoing.start(spans)
        if before is not None:
            self._readying.gone.append(before)

    def _pools(self) -> None:
        building = self._building
        pools = building.pools
        self._steps.append(lambda: _become(pools, self._poolsBefore))
        self._new = {}
        for name, config in self._config.pools.items():
            if name not in self._poolsBefore:
                count = len(building.starting)
                self._new[name] = building.pool(config)
                for store in building.starting[count:]:
                    self._undoing.start(store)
        _become(pools, {
            name: self._new.get(name) or self._poolsBefore[name] for name in self._config.pools
        })  # fmt: skip
        ready = self._readying.pool
        self._poolsTo = [
            ready(pools[name], one, name in self._new) for name, one in self._config.pools.items()
        ]
        building.coming = {one.pool: one.balancer for one in self._poolsTo}
        self._steps.append(building.coming.clear)

    def _frontends(self) -> None:
        building = self._building
        inbounds = building.process.frontends
        known = list(inbounds)

        def restore() -> None:
            inbounds[:] = known

        self._steps.append(restore)
        self._parts: dict[str, Parts] = {}
        self._newFrontends = {}
        for name, config in self._config.frontends.items():
            running = self._frontendsBefore.get(name)
            rules = NO_RULES if running is None else running.inbound.rules
            self._parts[name] = building.parts(config, rules)
            if running is None:
                self._newFrontends[name] = building.frontend(config, self._parts[name])

    def _doors(self) -> None:
        building, doors = self._building, self._balancer.doors
        known = dict(zip(self._before.settings.admin, doors, strict=True))
        self._doorsTo: list[Any] = []
        self._newDoors: list[Any] = []
        # One that is to be another at the same address, and that which is closed before.
        self._again: list[tuple[Any, Any]] = []
        closing = {
            str(one): door
            for one, door in known.items()
            if one not in self._config.settings.admin
        }
        for one in self._config.settings.admin:
            door = known.get(one)
            if door is None:
                door = building.door(one)
                self._newDoors.append(door)
                if str(one) in closing:
                    door.verify()
                    self._again.append((door, closing[str(one)]))
                else:
                    self._steps.append(door.close)
                    door.open()
            self._doorsTo.append(door)

    # making

    def take(self) -> None:
        """Let it count from now on."""
        balancer, building = self._balancer, self._building
        pools = [one.pool for one in self._poolsTo]
        retired = [one for one in self._poolsBefore.values() if one not in pools]
        for become in self._readying.becoming:
            become()
        with ExitStack() as still:
            # Nobody is to get a server that is another one by half.
            for pool in pools:
                still.enter_context(pool.still())
            still.enter_context(building.joining.together())
            for one in self._poolsTo:
                self._takePool(one)
        for pool in pools:
            pool.serversChanged()
        building.coming.clear()
        self._takeSettings()
        left = [
            one for name, one in self._frontendsBefore.items() if name not in self._parts
        ]
        _become(balancer.frontends, {
            name: self._newFrontends.get(name) or self._frontendsBefore[name]
            for name in self._parts
        })  # fmt: skip
        for name, frontend in balancer.frontends.items():
            parts = self._parts[name]
            if self._frontendStays(name):
                continue
            frontend.inbound.change(
                self._config.frontends[name], parts.pool, parts.observers, parts.rules,
                parts.terminating,
            )  # fmt: skip
        building.files.take(self._tls)
        self._sockets.take(
            balancer.frontends, self._tls.sections, self._running, balancer.workers is not None
        )
        balancer.config = self._config
        for frontend in left:
            balancer.retire(frontend)
        for pool in retired:
            self._readying.gone += self._storesOf(pool)
            balancer.memberships.retire(pool)
        self._takeDoors()
        self._forget()

    def _frontendStays(self, name: str) -> bool:
        """@return: whether a frontend would be the same as it is."""
        if name in self._newFrontends:
            # It was made before its pools were what they are now.
            return False
        before, after = self._frontendsBefore[name].inbound.rules, self._parts[name].rules
        return (
            self._readying.same
            and not self._toldElsewhere
            and self._before.frontends[name] == self._config.frontends[name]
            and not self._around
            and _asks(before) == _asks(after)
        )

    def _isAround(self) -> bool:
        """@return: whether something is another of which every frontend knows."""
        before = self._before.pools
        return list(before) != list(self._config.pools) or any(
            isWatched(before[to.config.name]) != isWatched(to.config)
            or _asks(to.pool.rules) != _asks(to.rules)
            or to.balancer is not to.pool.balancer
            for to in self._poolsTo
        )

    def _takeSettings(self) -> None:
        process = self._building.process
        before, after = self._before.settings, self._config.settings
        # What an administrator has said stays, where the file does not say anything new.
        if before.maxconn != after.maxconn:
            process.maxconn = after.maxconn
        if before.max_handshakes != after.max_handshakes:
            process.handshakes.most = after.max_handshakes
        self._building.logs.events = self._events
        balancer = self._balancer
        exports, balancer.exports = balancer.exports, self._building.exports(balancer)
        for one in exports:
            if one not in balancer.exports:
                one.close()
        for one in balancer.exports:
            if one not in exports and balancer.running:
                one.start()

    def _takePool(self, to: PoolTo) -> None:
        building = self._building
        joining, memberships = building.joining, self._balancer.memberships
        roster = self._balancer.roster
        pool, config, before = to.pool, to.config, to.before
        if to.probe is None:
            joining.probes.pop(config.name, None)
        else:
            joining.probes[config.name] = to.probe
        pool.rules = to.rules
        pool.announcer = to.announcer
        if before is None:
            for one in to.servers:
                self._begin(pool, one)
            for template, source in zip(config.templates, to.sources, strict=True):
                memberships.watch(pool, template, source)
            return
        pool.config = config
        same = self._readying.sameAround(before, config)
        back = roster.gone(pool)
        roster.write(
            pool, tuple(self._takeServer(pool, before, one, same, back) for one in to.servers)
        )
        self._takeMemberships(to, before)
        if (
            _options(before) != _options(config)
            or to.balancer is not pool.balancer
            or to.chain is not pool.persistence
            or any(one.minconn for one in (*before.members, *config.members))
            or not self._readying.same
        ):
            pool.change(before, to.balancer, to.chain, to.queue)

    def _begin(self, pool: Pool, to: ServerTo) -> None:
        """A new server begins to work."""
        server = to.server
        server.tls = to.tls
        self._takeDemo(server, to)
        try:
            self._building.joining.watch(pool, server)
        except StartError as failed:
            # It was there a moment ago.
            self._log.error("{pool}/{server}: {failed}", pool=pool.name, server=server.name,
                            failed=failed)  # fmt: skip

    def _takeDemo(self, server: Server, to: ServerTo) -> None:
        if to.demo is None:
            return
        demos = self._building.demos
        before = demos.pop(server, None)
        if before is not None:
            before.stop()
        demos[server], server.endpoint = to.demo

    def _takeServer(
        self, pool: Pool, before: PoolConfig, to: ServerTo, same: bool, back: dict[str, Server]
    ) -> Server:
        """
        @param same: all that the pool says of its servers is as it was.
        @param back: who may come back, by their keys.
        """
        joining, server = self._building.joining, to.server
        if to.isNew:
            again = back.get(server.key)
            if again is None:
                self._begin(pool, to)
                joining.came(pool, server)
                return server
            # One that has something to do yet is there again.
            self._balancer.roster.stays(pool, again)
            joining.comeBack(pool, again, to.options, to.tls)
            self._takeDemo(again, to)
            return again
        if not same or server.options != to.options or to.tls is not server.tls:
            self._adapt(pool, before, server, to.options, to.tls)
        self._takeDemo(server, to)
        return server

    def _adapt(
        self, pool: Pool, before: PoolConfig, server: Server, options: ServerConfig, tls: Any
    ) -> None:
        was = Before(self._before, before, server.options)
        self._building.joining.adapt(pool, server, options, was, tls)

    def _takeMemberships(self, to: PoolTo, before: PoolConfig) -> None:
        memberships = self._balancer.memberships
        pool = to.pool
        wanted: dict[str, tuple[ServersConfig, Any]] = {
            one.name: (one, source)
            for one, source in zip(to.config.templates, to.sources, strict=True)
        }
        for membership in pool.memberships:
            template, source = wanted.pop(membership.config.name, (None, None))
            if template is None:
                memberships.leave(membership)
                continue

            def adapt(server: Server, options: ServerConfig) -> None:
                tls = self._building.joining.speaks(pool, server, options)
                self._adapt(pool, before, server, options, tls)

            memberships.change(membership, template, source, adapt)
        for template, source in wanted.values():
            memberships.watch(pool, template, source)

    def _takeDoors(self) -> None:
        balancer = self._balancer
        for door in balancer.doors:
            if door not in self._doorsTo:
                door.close()
        stay = {}
        for door, before in self._again:
            try:
                door.open()
            except StartError as failed:
                self._log.error("administrators come in as before: {failed}", failed=failed)
                stay[door] = self._reopened(before)
        for door in self._newDoors:
            stay.get(door, door).start()
        balancer.doors = tuple(stay.get(door, door) for door in self._doorsTo)
        balancer.look()

    def _reopened(self, door: Any) -> Any:
        """@return: one that has been closed, and is open again if that can be."""
        try:
            door.open()
        except StartError as failed:
            self._log.error("administrators cannot come in: {failed}", failed=failed)
        return door

    def _storesOf(self, pool: Pool) -> list[Any]:
        chain = pool.persistence
        store = None if chain is None else chain.store
        return [store] if store in self._building.starting else []

    def _forget(self) -> None:
        """End what nobody needs any more."""
        building = self._building
        for store in self._readying.gone:
            building.starting[:] = [one for one in building.starting if one is not store]
            maybeDeferred(store.stop).addErrback(self._failed, store)
        pools = (*building.pools.values(), *self._balancer.roster.retired)
        servers = {server for pool in pools for server in pool.servers}
        for server in list(building.demos):
            if server not in servers or server.options.kind != "demo":
                building.demos.pop(server).stop()
        before = building.used
        building.use(self._parts.values())
        gone = before - building.used
        building.logs.keepOnly([one for one in building.logs.writers if one not in gone])

    def _failed(self, failure: Any, store: Any) -> None:
        self._log.failure("{store!r} met an error at its end", failure, store=store)


def _become(known: dict[Any, Any], found: dict[Any, Any]) -> None:
    """Have a dictionary be like another one, in its order; who has it sees that."""
    found = dict(found)
    known.clear()
    known.update(found)
