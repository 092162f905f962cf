"""
Sections to a L{Config}: how sections fit together. What there is to write in them is
L{lbtwist.config.sections}, and how one of them is read L{lbtwist.config.said}.

Every error is found in one go; none hides another. Nothing is opened but the
files themselves and those that rules name, no name is resolved, and no part is made but
the verbs of rules, to see whether they can be.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attr

from lbtwist.config.again import doubtAgain
from lbtwist.config.doubts import doubtful, ends
from lbtwist.config.edge import (
    Bound,
    bindOnce,
    checkConnect,
    checkedFrontend,
    checkPair,
    checkTCP,
    checkTLS,
)
from lbtwist.config.fill import BAD, Scope
from lbtwist.config.ini import PLAIN, Document, Line, Option, Section, readFile, readText
from lbtwist.config.model import (
    Config,
    FrontendConfig,
    GlobalConfig,
    PoolConfig,
    StoreConfig,
    TCPConfig,
    TLSConfig,
    Written,
)
from lbtwist.config.parts import readBalance
from lbtwist.config.passive import checkObserved
from lbtwist.config.queues import checkQueue
from lbtwist.config.ruled import Rules, linesOf, refuseRules
from lbtwist.config.rules import POOL_STAGES, STAGES, RuleLists
from lbtwist.config.said import Reading, Said
from lbtwist.config.sections import (
    HTTP_ONLY,
    IN_TCP,
    MERGED,
    NAME,
    SERVER,
    SERVERS,
    USUAL,
    writtenOf,
)
from lbtwist.config.tracking import checkTracks
from lbtwist.errors import ConfigError, Position, Problem
from lbtwist.interfaces import IBalancer, IPersistenceStore
from lbtwist.options import suggestion
from lbtwist.registry import Registry


def load(
    path: str | os.PathLike[str],
    registry: Registry,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Config, list[Problem]]:
    """
    Read a configuration from a file and what it includes.

    @return: the configuration and the warnings.
    @raise ConfigError: with every problem, if one of them is an error.
    """
    return configured(readFile(os.fspath(path), environ), registry)


def loadText(
    text: str,
    registry: Registry,
    name: str = "lb.ini",
    environ: Mapping[str, str] = os.environ,
) -> tuple[Config, list[Problem]]:
    """
    Read a configuration from text. See L{load}.

    @param name: the file it stands for: relative paths start next to it.
    """
    return configured(readText(text, name, environ), registry)


def configured(
    document: Document, registry: Registry, before: Written | None = None, bare: bool = False
) -> tuple[Config, list[Problem]]:
    """
    Make a configuration of what was read. See L{load}.

    @param before: that of another configuration: options of it that are in this one as well
        are not read again.
    @param bare: whether a pool may have no server.
    """
    reading = Reading(registry, document.problems, before)
    loading = _Loading(registry, document.problems, reading, bare)
    config = loading.config(document.sections)
    files = {name: index for index, name in enumerate(document.files)}
    problems = sorted(
        document.problems,
        key=lambda p: (files.get(p.where.file, -1), p.where.line, p.where.column),
    )
    if any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    document = attr.evolve(document, problems=[])
    warnings = frozenset(problem.message for problem in problems)
    return config.of(Written(document, reading.found, warnings)), problems


class _Loading:
    """Makes one L{Config} of sections, and collects problems."""

    def __init__(
        self, registry: Registry, problems: list[Problem], reading: Reading, bare: bool
    ) -> None:
        self._registry = registry
        self._problems = problems
        self._reading = reading
        self._bare = bare
        self._defaults = {FrontendConfig: Said(), PoolConfig: Said()}
        self._log: Any = ()
        self._notify: Any = ()
        self._settings = GlobalConfig()
        self._frontends: dict[str, FrontendConfig] = {}
        self._pools: dict[str, PoolConfig] = {}
        self._tls: dict[str, TLSConfig] = {}
        self._tcp: dict[str, TCPConfig] = {}
        self._stores: dict[str, StoreConfig] = {}
        self._rules = Rules(registry)
        self._bound: Bound = {}

    def config(self, sections: list[Section]) -> Config:
        reading = self._reading
        known = reading.known(sections)
        # [global] and [defaults] hold wherever they stand.
        for section, scope in known:
            if section.kind == "global":
                self._global(section, scope)
            elif section.kind == "defaults":
                self._defaults.update(reading.read(section, scope))
            elif section.kind == "tls":
                self._tlsSection(section, scope)
            elif section.kind == "tcp":
                self._tcpSection(section, scope)
            elif section.kind == "store":
                self._storeSection(section, scope)
            elif section.kind == "rules":
                said = reading.read(section, scope)[RuleLists]
                self._rules.addSection(section.name, said.values)
            elif section.kind == "conditions":
                self._rules.addConditions(section, scope)
        pooled = [self._pool(*found) for found in known if found[0].kind == "pool"]
        self._rules.pools = self._pools
        checkTracks(self._pools, self._problems)
        used: set[str] = set()
        for section, scope in known:
            if section.kind == "frontend":
                used |= self._frontend(section, scope)
        for pool, scope, lists in pooled:
            used |= self._poolRules(pool, scope, lists)
        for pool, scope, _ in pooled:
            if pool.name not in used:
                scope.warn(pool.where, "is used by no frontend")
        collector, frontends = self._settings.otlp, self._frontends.values()
        if collector is not None and frontends and all(
            one.traceparent == "off" or one.mode != "http" for one in frontends
        ):
            Scope("[global] otlp", self._problems).warn(
                collector.where, "is told of nothing: no frontend has traceparent"
            )
        self._rules.warnOfUnused(Scope("[conditions]", self._problems))
        reading.warnOfUnused(known)
        return Config(self._settings, self._frontends, self._pools, self._tls, self._tcp,
                      self._stores, self._rules.conditions)  # fmt: skip

    def _global(self, section: Section, scope: Scope) -> None:
        values = self._reading.read(section, scope)[GlobalConfig].values
        self._log = values.pop("log", self._log)
        self._notify = values.pop("notify", self._notify)
        self._settings = GlobalConfig(**values, where=section.where)

    def _tlsSection(self, section: Section, scope: Scope) -> None:
        said = self._reading.read(section, scope)[TLSConfig]
        names = tuple(one for one in said.values.pop(NAME, ()) if one is not BAD)
        config = TLSConfig(section.name, names, **said.values, where=section.where)
        checkTLS(config, said.places, said.bad(), scope)
        self._tls.setdefault(section.name, config)

    def _tcpSection(self, section: Section, scope: Scope) -> None:
        said = self._reading.read(section, scope)[TCPConfig]
        config = TCPConfig(section.name, **said.values, where=section.where)
        if "keepalive" not in said.bad():
            checkTCP(config, said.places, scope)
        self._tcp.setdefault(section.name, config)

    def _storeSection(self, section: Section, scope: Scope) -> None:
        said = self._reading.read(section, scope)[StoreConfig]
        if section.name in self._registry.names(IPersistenceStore):
            scope.error(section.where, "is the name of a kind of store: take another")
        if "kind" in said.values:
            config = StoreConfig(section.name, said.values["kind"], where=section.where)
            self._stores.setdefault(section.name, config)
        elif "kind" not in said.places:
            scope.error(section.where, "says nothing: write kind = redis HOST:PORT")

    def _pool(
        self, section: Section, scope: Scope
    ) -> tuple[PoolConfig, Scope, dict[str, list[Any]]]:
        """@return: the pool, and its rules."""
        said = self._reading.read(section, scope)[PoolConfig]
        lists = self._rules.taken(said.values)
        values = {"notify": self._notify, **self._defaults[PoolConfig].values, **said.values}
        servers = values.pop(SERVER, None)
        templates = values.pop(SERVERS, None)
        if servers is None and templates is None and not self._bare:
            scope.error(section.where, "has no server: write server NAME = HOST:PORT")
        if "balance" not in values:
            values.update(self._usual(section.where, scope))
        if "mode" in said.places and "mode" not in said.values:
            values.pop("mode", None)
        values["servers"] = tuple(one for one in servers or () if one is not BAD)
        values["templates"] = tuple(one for one in templates or () if one is not BAD)
        names = {server.name for server in values["servers"]}
        for template in values["templates"]:
            if template.name in names:
                scope.within(f"servers {template.name}").error(
                    template.where, f"there is a server {template.name} already"
                )
        for name in POOL_STAGES:
            values[name] = linesOf(lists[name])
        pool = PoolConfig(section.name, **values, where=section.where)
        checkObserved(pool, said.places, said.bad(), scope)
        checkQueue(pool, said.places, said.bad(), scope)
        doubtAgain(pool, said.places, said.bad(), scope)
        self._pools.setdefault(section.name, pool)
        return pool, scope, lists

    def _usual(self, where: Position, scope: Scope) -> dict[str, Any]:
        """@return: the balancer of a pool that names none, as if it were written."""
        name = USUAL
        if name not in self._registry.names(IBalancer):
            return {}
        line = Line(name, PLAIN * len(name), (where.column,) * len(name), where)
        option = Option("balance", "", where, [line])
        part = readBalance(option, scope.within("balance"), self._registry)
        return {} if part is BAD else {"balance": part}

    def _poolRules(
        self, pool: PoolConfig, scope: Scope, lists: Mapping[str, list[Any]]
    ) -> set[str]:
        """@return: the pools that they name."""
        refuseRules(lists["connection"], scope.within("connection"), "is asked by frontends only")
        self._rules.checkParts(pool, scope)
        used: set[str] = set()
        for name in POOL_STAGES:
            if pool.mode == "tcp":
                refuseRules(lists[name], scope.within(name), IN_TCP)
                continue
            within = scope.within(name)
            # What its frontends believe is theirs to say.
            doubtful(self._rules.checked(lists[name], name, scope, True), within, self._rules, True)
            used |= self._poolsNamed(lists[name], within, None)
        return used

    def _poolsNamed(
        self, lines: list[Any], scope: Scope, frontend: FrontendConfig | None
    ) -> set[str]:
        """
        @param frontend: that has to fit to the pools.
        @return: the pools that rules can choose.
        """
        used: set[str] = set()
        for name, word in self._rules.poolsNamed(lines):
            if word is None:
                return set(self._pools)
            used.add(name)
            self._checkPool(name, frontend, word.where, scope.within("pool"))
        return used

    def _frontendRules(
        self, frontend: FrontendConfig, scope: Scope, lists: Mapping[str, list[Any]]
    ) -> tuple[set[str], bool]:
        """
        @return: the pools that they name, and whether they decide for whatever comes.
        """
        http = frontend.mode == "http"
        used: set[str] = set()
        ended = False
        for name in STAGES:
            within = scope.within(name)
            if not http and name in POOL_STAGES:
                refuseRules(lists[name], within, IN_TCP)
                continue
            used |= self._poolsNamed(lists[name], within, frontend)
            found = self._rules.checked(lists[name], name, scope, http)
            doubtful(found, within, self._rules, bool(frontend.trusted_proxies))
            ended = ended or (name != "response" and (ends(found) or BAD in lists[name]))
        return used, ended

    def _frontend(self, section: Section, scope: Scope) -> set[str]:
        """@return: the names of the pools that it uses."""
        said = self._reading.read(section, scope)[FrontendConfig]
        lists = self._rules.taken(said.values)
        inherited = self._defaults[FrontendConfig]
        values = {"log": self._log, **inherited.values, **said.values}
        for name in MERGED & values.keys():
            both = {**inherited.values.get(name, {}), **said.values.get(name, {})}
            values[name] = {key: value for key, value in both.items() if value is not None}
        modeKnown = "mode" in said.values or "mode" not in said.places
        if modeKnown and values.get("mode") == "tcp":
            for name in HTTP_ONLY:
                if name in said.places:
                    scope.within(writtenOf(name)).error(said.places[name], IN_TCP)
                elif name in values:
                    del values[name]
        if "pool" in said.places and "pool" not in said.values:
            values.pop("pool", None)
        if "bind" not in said.places:
            scope.error(section.where, "has no bind: write bind = HOST:PORT")
        values.update((name, linesOf(lines)) for name, lines in lists.items())
        frontend = FrontendConfig(section.name, **values, where=section.where)
        if modeKnown:
            frontend = checkedFrontend(frontend, scope.within("bind"))
        if not {"connect", "connect_allow"} & (said.bad() | inherited.bad()):
            places = {**inherited.places, **said.places}
            checkConnect(frontend, places, said.places, scope)
        self._frontends.setdefault(section.name, frontend)
        for bind in frontend.bind:
            bindOnce(bind, self._bound, scope.within("bind"))
        # Without a mode nothing is known of what can be asked, nor of what is used.
        used, ended = set(self._pools), True
        if modeKnown:
            used, ended = self._frontendRules(frontend, scope, lists)
            self._rules.checkFormat(frontend, scope)
        if frontend.pool:
            where = said.places.get("pool") or inherited.places["pool"]
            fitting = frontend if modeKnown else None
            self._checkPool(frontend.pool, fitting, where, scope.within("pool"))
        elif not ended and "pool" not in said.places and "pool" not in inherited.places:
            if frontend.mode == "tcp":
                scope.error(section.where, "has no pool: write pool = NAME")
            else:
                which = "a request that no rule decides" if lists["request"] else "every request"
                if frontend.connect == "terminate":
                    which += " and is no CONNECT" if lists["request"] else " but CONNECT"
                scope.warn(section.where, f"has no pool: {which} is answered with 503")
        return used | {frontend.pool}

    def _checkPool(
        self, name: str, frontend: FrontendConfig | None, where: Position, scope: Scope
    ) -> None:
        """@param frontend: that has to fit to it, if there is one whose mode is known."""
        pool = self._pools.get(name)
        if pool is None:
            hint = suggestion(name, self._pools)
            scope.error(where, f"there is no [pool {name}]{hint}")
        elif frontend is None:
            return
        elif pool.mode not in ("any", frontend.mode):
            scope.error(
                where,
                f"[pool {pool.name}] has mode = {pool.mode}, this frontend mode = {frontend.mode};"
                f" write mode = {frontend.mode} or any in the pool",
            )
        else:
            checkPair(frontend, pool, where, scope)
