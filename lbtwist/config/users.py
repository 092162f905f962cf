"""
Who uses what a configuration has by a name: which frontends have binds with a C{[tls]} section,
which rules ask for a condition.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import attr

from lbtwist.config.model import Bind, Config, RuleLine, ServerConfig
from lbtwist.logformat import LogFormat
from lbtwist.options import SectionName
from lbtwist.rules.expression import Expression
from lbtwist.rules.template import Template

Use = tuple[str, str]
"""A name, and who uses it."""


def usersOf(config: Config, kind: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """
    @param kind: C{tls}, C{tcp}, C{store} or C{condition}; others are not used so.
    @param names: those that are asked for.
    @return: who uses each: C{global}, C{frontend www}, C{pool app}, in written order. Who uses a
        condition by another one is among them. Those that nobody uses are not there.
    """
    if kind == "condition":
        uses = _ofConditions(config, names)
    elif kind in ("tls", "tcp", "store"):
        uses = _ofSections(config, kind)
    else:
        return {}
    found: dict[str, dict[str, None]] = {}
    for name, user in uses:
        if name in names:
            found.setdefault(name, {})[user] = None
    return {name: tuple(users) for name, users in found.items()}


def _ofSections(config: Config, kind: str) -> Iterator[Use]:
    if kind == "tls":
        for door in config.settings.admin:
            yield door.tls, "global"
    for frontend in config.frontends.values():
        user = f"frontend {frontend.name}"
        if kind != "store":
            for bind in frontend.bind:
                yield getattr(bind, kind), user
        for lines in (frontend.connection, frontend.request, frontend.response):
            yield from _ofVerbs(lines, kind, user)
    for pool in config.pools.values():
        user = f"pool {pool.name}"
        if kind == "tcp":
            yield pool.tcp, user
            for member in pool.members:
                yield member.tcp, user
        elif kind == "store":
            yield pool.persist_store.name, user
        for lines in (pool.request, pool.response):
            yield from _ofVerbs(lines, kind, user)


def _ofVerbs(lines: Iterable[RuleLine], kind: str, user: str) -> Iterator[Use]:
    for line in lines:
        options = line.verb.options
        for field in attr.fields(type(options)) if attr.has(type(options)) else ():
            said = field.metadata.get("kind")
            if isinstance(said, SectionName) and said.section == kind:
                yield getattr(options, field.name), user


def _ofConditions(config: Config, names: Collection[str]) -> Iterator[Use]:
    reached = _reached(config, names)
    for users, kind in ((config.frontends, "frontend"), (config.pools, "pool")):
        for user in users.values():
            for expression in _asked(user):
                for name in _namesIn(expression, reached):
                    for one in reached[name]:
                        yield one, f"{kind} {user.name}"


def _reached(config: Config, names: Collection[str]) -> dict[str, set[str]]:
    """@return: by each condition that asks for some of these, by others too, for which."""
    reached = {name: {name} for name in names}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        for other, expression in config.conditions.items():
            if _namesIn(expression, {name}) and not reached[name] <= reached.get(other, set()):
                reached.setdefault(other, set()).update(reached[name])
                waiting.append(other)
    return reached


def _namesIn(expression: Expression, known: Collection[str]) -> set[str]:
    # To look into a text takes much less time than to walk through a tree.
    if not any(name in expression.text for name in known):
        return set()
    names = {one.id for one in ast.walk(expression.tree) if isinstance(one, ast.Name)}
    return names.intersection(known)


def _asked(value: Any) -> Iterator[Expression]:
    """@return: every expression in a value."""
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, Template):
        yield from (part[1] for part in value.parts if not isinstance(part, str))
    elif isinstance(value, LogFormat):
        yield from value.expressions
    elif isinstance(value, tuple):
        for one in value:
            yield from _asked(one)
    elif attr.has(type(value)) and not isinstance(value, (Bind, ServerConfig)):
        for field in attr.fields(type(value)):
            if field.eq:
                yield from _asked(getattr(value, field.name))
