"""
Sections to a L{Config}: what options there are, and how sections fit together.

Every error is found in one go; none hides another. Nothing is opened but the
files themselves, no name is resolved and no part is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

import attr

from lbtwist.config.edge import Bound, bindOnce, checkedFrontend, checkPair, checkTCP, checkTLS
from lbtwist.config.fill import BAD, Scope, optionFields, readField
from lbtwist.config.ini import PLAIN, Document, Line, Option, Section, readFile, readText
from lbtwist.config.model import (
    Config,
    FrontendConfig,
    GlobalConfig,
    PoolConfig,
    TCPConfig,
    TLSConfig,
)
from lbtwist.config.values import (
    itemsOf,
    readBalance,
    readBind,
    readCheck,
    readLog,
    readName,
    readServer,
    readTLSName,
)
from lbtwist.errors import ConfigError, Position, Problem
from lbtwist.interfaces import IBalancer
from lbtwist.options import Name, suggestion
from lbtwist.registry import Registry

Reader = Callable[[Option, Scope, Registry], Any]

HTTP_ONLY = frozenset(
    {
        "timeout_request", "timeout_keepalive", "max_header_bytes", "max_headers", "max_uri",
        "max_body", "connect", "forwarded", "trusted_proxies", "request_id_header", "via",
        "redirect_https", "client_cert_headers",
    }
)  # fmt: skip
"""Fields of a frontend that say nothing in C{mode = tcp}."""

PREFERRED = {"backend": "pool", "upstream": "pool", "member": "server"}
"""Words that are accepted for others."""

USUAL = "roundrobin"
"""The balancer of a pool that names none."""

_SERVER = "server"
_NAME = "name"
_LISTED = {_SERVER, _NAME}
_SPECIAL: dict[type[Any], dict[str, Reader]] = {
    GlobalConfig: {"log": readLog},
    FrontendConfig: {"bind": readBind, "pool": readName, "log": readLog},
    PoolConfig: {_SERVER: readServer, "balance": readBalance, "check": readCheck},
    TLSConfig: {_NAME: readTLSName},
    TCPConfig: {},
}
_KINDS: dict[str, tuple[type[Any], ...]] = {
    "global": (GlobalConfig,),
    "defaults": (FrontendConfig, PoolConfig),
    "frontend": (FrontendConfig,),
    "pool": (PoolConfig,),
    "tls": (TLSConfig,),
    "tcp": (TCPConfig,),
}
_NAMED = {"frontend", "pool", "tls", "tcp"}
_REFERRING = {"bind": ("tls", "tcp"), _SERVER: ("tcp",)}
_USERS = {"tls": "bind", "tcp": "bind, server or pool"}
_NOT_IN_DEFAULTS = {"bind", _SERVER}


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
    return _configured(readFile(os.fspath(path), environ), registry)


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
    return _configured(readText(text, name, environ), registry)


def _configured(document: Document, registry: Registry) -> tuple[Config, list[Problem]]:
    loading = _Loading(registry, document.problems)
    config = loading.config(document.sections)
    files = {name: index for index, name in enumerate(document.files)}
    problems = sorted(
        document.problems,
        key=lambda p: (files.get(p.where.file, -1), p.where.line, p.where.column),
    )
    if any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    return config, problems


def _readers(cls: type[Any]) -> dict[str, Reader]:
    """@return: what reads each option of a section."""

    def plain(
        field: attr.Attribute[Any], option: Option, scope: Scope, registry: Registry
    ) -> Any:
        return readField(field, option, scope)

    fields = {word: partial(plain, field) for word, field in optionFields(cls).items()}
    return {**_SPECIAL[cls], **fields}


_READERS = {cls: _readers(cls) for cls in _SPECIAL}


@attr.define
class _Said:
    """
    What one section says to one class.

    @ivar values: by the names of fields; those of servers in C{server}.
    @ivar places: where each value starts.
    """

    values: dict[str, Any] = attr.field(factory=dict)
    places: dict[str, Position] = attr.field(factory=dict)

    def bad(self) -> set[str]:
        """@return: the fields whose values were not acceptable."""
        return self.places.keys() - self.values.keys()


class _Loading:
    """Makes one L{Config} of sections, and collects problems."""

    def __init__(self, registry: Registry, problems: list[Problem]) -> None:
        self._registry = registry
        self._problems = problems
        self._seen: dict[tuple[str, str], Position] = {}
        self._defaults = {FrontendConfig: _Said(), PoolConfig: _Said()}
        self._log: Any = ()
        self._settings = GlobalConfig()
        self._frontends: dict[str, FrontendConfig] = {}
        self._pools: dict[str, PoolConfig] = {}
        self._tls: dict[str, TLSConfig] = {}
        self._tcp: dict[str, TCPConfig] = {}
        # What there is to refer to, and whether anybody has.
        self._referred: dict[str, dict[str, bool]] = {"tls": {}, "tcp": {}}
        self._bound: Bound = {}

    def config(self, sections: list[Section]) -> Config:
        known = [section for section in map(self._section, sections) if section is not None]
        for section, _ in known:
            if section.kind in self._referred:
                self._referred[section.kind][section.name] = False
        # [global] and [defaults] hold wherever they stand.
        for section, scope in known:
            if section.kind == "global":
                self._global(section, scope)
            elif section.kind == "defaults":
                self._defaults.update(self._read(section, scope))
            elif section.kind == "tls":
                self._tlsSection(section, scope)
            elif section.kind == "tcp":
                self._tcpSection(section, scope)
        pooled = [self._pool(*found) for found in known if found[0].kind == "pool"]
        used = [self._frontend(*found) for found in known if found[0].kind == "frontend"]
        for section, scope in pooled:
            if section.name not in used:
                scope.warn(section.where, "is used by no frontend")
        for section, scope in known:
            # One that is there twice is told of once.
            if self._referred.get(section.kind, {}).pop(section.name, True) is False:
                scope.warn(section.where, f"is used by no {_USERS[section.kind]}")
        return Config(self._settings, self._frontends, self._pools, self._tls, self._tcp)

    def _section(self, section: Section) -> tuple[Section, Scope] | None:
        """@return: the section under its preferred kind; L{None} if there is no such kind."""
        scope = Scope(str(section), self._problems)
        kind = self._preferred(section.kind, section.where, scope)
        if kind not in _KINDS:
            scope.error(section.where, f"unknown section {kind!r}{suggestion(kind, _KINDS)}")
            return None
        if kind in _NAMED:
            if not section.name:
                scope.error(section.where, f"needs a name: [{section.kind} NAME]")
            else:
                self._checkedName(section, scope)
        elif section.name:
            scope.error(section.where, f"takes no name: write [{kind}]")
        first = self._seen.setdefault((kind, section.name), section.where)
        if first is not section.where:
            scope.error(section.where, f"is there twice, first at {first}")
        return attr.evolve(section, kind=kind), scope

    def _checkedName(self, section: Section, scope: Scope) -> None:
        try:
            Name().parse(section.name)
        except ValueError as error:
            scope.error(section.where, str(error))

    def _preferred(self, word: str, where: Position, scope: Scope) -> str:
        if word not in PREFERRED:
            return word
        scope.warn(where, f"the preferred word for {word!r} is {PREFERRED[word]!r}")
        return PREFERRED[word]

    def _read(self, section: Section, scope: Scope) -> dict[type[Any], _Said]:
        """@return: what the section says to each class of its kind."""
        classes = _KINDS[section.kind]
        said = {cls: _Said() for cls in classes}
        seen: dict[tuple[str, str], Position] = {}
        for option in section.options:
            word = option.word
            if section.kind == "pool":
                word = self._preferred(word, option.where, scope)
            owners = [cls for cls in classes if word in _READERS[cls]]
            if section.kind == "defaults" and word in _NOT_IN_DEFAULTS:
                scope.error(option.where, f"{word} has no place in [defaults]")
                continue
            if not owners or (option.name and word not in _LISTED):
                self._unknown(section, option, scope)
                continue
            written = f"{word} {option.name}" if option.name else word
            first = seen.setdefault((word, option.name), option.where)
            if first is not option.where:
                scope.error(option.where, f"{written}: is there twice, first at {first}")
            self._refer(word, option, scope.within(written))
            for cls in owners:
                value = _READERS[cls][word](option, scope.within(written), self._registry)
                name = word.replace("-", "_")
                words = option.words
                said[cls].places[name] = words[0].where if words else option.where
                if value is BAD and len(owners) > 1:
                    break
                if word in _LISTED:
                    said[cls].values.setdefault(name, []).append(value)
                elif value is not BAD:
                    said[cls].values[name] = value
        return said

    def _refer(self, word: str, option: Option, scope: Scope) -> None:
        """Find the sections that an option names."""
        named = [(scope, word, found) for found in option.words if word in self._referred]
        words = chain.from_iterable(itemsOf(option)) if word == "bind" else option.words
        for pair in (found.pair for found in words):
            if pair is not None and pair[0] in _REFERRING.get(word, ()):
                named.append((scope.within(pair[0]), *pair))
        for within, kind, found in named:
            known = self._referred[kind]
            if found.text in known:
                known[found.text] = True
            elif Name.good(found.text):
                hint = suggestion(found.text, known)
                within.error(found.where, f"there is no [{kind} {found.text}]{hint}")

    def _unknown(self, section: Section, option: Option, scope: Scope) -> None:
        written = f"{option.word} {option.name}" if option.name else option.word
        # HAProxy writes "timeout connect".
        word = f"{option.word}-{option.name}" if option.name else option.word
        known = {word for cls in _KINDS[section.kind] for word in _READERS[cls]}
        if section.kind == "defaults":
            known -= _NOT_IN_DEFAULTS
        elsewhere = [
            f"[{kind} NAME]" if kind in _NAMED else f"[{kind}]"
            for kind, classes in _KINDS.items()
            if any(word in _READERS[cls] for cls in classes)
            and not (kind == "defaults" and word in _NOT_IN_DEFAULTS)
        ]
        if word == "include":
            hint = "; it stands at the top of a file, before any [SECTION]"
        elif elsewhere and word not in known:
            hint = f"; {word} stands in {' or '.join(elsewhere)}"
        else:
            hint = suggestion(written, known)
        scope.error(option.where, f"unknown option {written!r}{hint}")

    def _global(self, section: Section, scope: Scope) -> None:
        values = self._read(section, scope)[GlobalConfig].values
        self._log = values.pop("log", self._log)
        self._settings = GlobalConfig(**values, where=section.where)

    def _tlsSection(self, section: Section, scope: Scope) -> None:
        said = self._read(section, scope)[TLSConfig]
        names = tuple(one for one in said.values.pop(_NAME, ()) if one is not BAD)
        config = TLSConfig(section.name, names, **said.values, where=section.where)
        checkTLS(config, said.places, said.bad(), scope)
        self._tls.setdefault(section.name, config)

    def _tcpSection(self, section: Section, scope: Scope) -> None:
        said = self._read(section, scope)[TCPConfig]
        config = TCPConfig(section.name, **said.values, where=section.where)
        if "keepalive" not in said.bad():
            checkTCP(config, said.places, scope)
        self._tcp.setdefault(section.name, config)

    def _pool(self, section: Section, scope: Scope) -> tuple[Section, Scope]:
        said = self._read(section, scope)[PoolConfig]
        values = {**self._defaults[PoolConfig].values, **said.values}
        servers = values.pop(_SERVER, None)
        if servers is None:
            scope.error(section.where, "has no server: write server NAME = HOST:PORT")
        if "balance" not in values:
            values.update(self._usual(section.where, scope))
        if "mode" in said.places and "mode" not in said.values:
            values.pop("mode", None)
        values["servers"] = tuple(one for one in servers or () if one is not BAD)
        pool = PoolConfig(section.name, **values, where=section.where)
        self._pools.setdefault(section.name, pool)
        return section, scope

    def _usual(self, where: Position, scope: Scope) -> dict[str, Any]:
        """@return: the balancer of a pool that names none, as if it were written."""
        name = USUAL
        if name not in self._registry.names(IBalancer):
            return {}
        line = Line(name, PLAIN * len(name), (where.column,) * len(name), where)
        option = Option("balance", "", where, [line])
        part = readBalance(option, scope.within("balance"), self._registry)
        return {} if part is BAD else {"balance": part}

    def _frontend(self, section: Section, scope: Scope) -> str:
        """@return: the name of its pool."""
        said = self._read(section, scope)[FrontendConfig]
        inherited = self._defaults[FrontendConfig]
        values = {"log": self._log, **inherited.values, **said.values}
        modeKnown = "mode" in said.values or "mode" not in said.places
        if modeKnown and values.get("mode") == "tcp":
            for name in HTTP_ONLY:
                if name in said.places:
                    scope.within(name.replace("_", "-")).error(
                        said.places[name], "says nothing in mode = tcp; remove it"
                        " or write mode = http",
                    )
                elif name in values:
                    del values[name]
        if "pool" in said.places and "pool" not in said.values:
            values.pop("pool", None)
        if "bind" not in said.places:
            scope.error(section.where, "has no bind: write bind = HOST:PORT")
        frontend = FrontendConfig(section.name, **values, where=section.where)
        if modeKnown:
            frontend = checkedFrontend(frontend, scope.within("bind"))
        self._frontends.setdefault(section.name, frontend)
        for bind in frontend.bind:
            bindOnce(bind, self._bound, scope.within("bind"))
        if frontend.pool:
            where = said.places.get("pool") or inherited.places["pool"]
            self._checkPool(frontend, modeKnown, where, scope.within("pool"))
        elif "pool" not in said.places and "pool" not in inherited.places:
            if frontend.mode == "tcp":
                scope.error(section.where, "has no pool: write pool = NAME")
            else:
                scope.warn(section.where, "has no pool: every request is answered with 503")
        return frontend.pool

    def _checkPool(
        self, frontend: FrontendConfig, modeKnown: bool, where: Position, scope: Scope
    ) -> None:
        pool = self._pools.get(frontend.pool)
        if pool is None:
            hint = suggestion(frontend.pool, self._pools)
            scope.error(where, f"there is no [pool {frontend.pool}]{hint}")
        elif modeKnown and pool.mode not in ("any", frontend.mode):
            scope.error(
                where,
                f"[pool {pool.name}] has mode = {pool.mode}, this frontend mode = {frontend.mode};"
                f" write mode = {frontend.mode} or any in the pool",
            )
        elif modeKnown:
            checkPair(frontend, pool, where, scope)
