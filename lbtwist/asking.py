"""
From lines of a configuration to rulebooks: makes the verbs, and joins them with their
conditions.

A rule remembers what it was made of. Where a configuration takes the place of another, one
that would be made of the same is not made again: what it has counted goes on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import attr

from lbtwist.config.fill import readBeside, relative
from lbtwist.config.ini import normal
from lbtwist.config.model import RuleLine
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Exchange
from lbtwist.registry import Context, Registry
from lbtwist.rules.expression import Expression, Scope
from lbtwist.rules.rulebook import ASKED as ASKED
from lbtwist.rules.rulebook import Rule, Rulebook
from lbtwist.rules.tables import Entries
from lbtwist.rules.template import Template
from lbtwist.rules.tracing import Traced
from lbtwist.rules.values import Stage
from lbtwist.waiting import Verb


class _Noted(dict[str, Any]):
    """
    Remembers which of its values were asked for.

    @ivar asked: their names.
    """

    __slots__ = ("asked",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        self.asked.add(name)
        return found

    def isAs(self, values: Mapping[str, Any]) -> bool:
        """@return: whether what was asked for is the same there."""
        return all(name in values and values[name] == self.get(name) for name in self.asked)


@attr.frozen(eq=False)
class Made:
    """
    What a rule was made of.

    @ivar conditions: those of C{[conditions]}.
    @ivar stores: the C{[store]}s.
    @ivar files: a digest of each file that was read, by its name in the line.
    @ivar find: what the same files have become for other rules.
    @ivar entries: what it looks things up in, by the path of the file and whether it is a map.
    """

    line: RuleLine
    http: bool
    conditions: _Noted
    stores: _Noted
    find: Callable[[str, bool, str], Entries]
    files: dict[str, bytes] = attr.field(factory=dict)
    entries: dict[tuple[str, bool], Entries] = attr.field(factory=dict)

    def look(self, name: str, isMap: bool, content: str) -> Entries:
        """@return: see C{entries} of L{Scope}."""
        key = relative(name, self.line.where), isMap
        found = self.entries.get(key)
        if found is None:
            found = self.entries[key] = self.find(*key, content)
        return found

    def read(self, name: str) -> str:
        """@return: the text of a file; see L{readBeside}."""
        text = readBeside(self.line.where, name)
        self.files[name] = _digest(text)
        return text

    def isAs(self, line: RuleLine, scope: Scope, context: Context) -> bool:
        """@return: whether a line would make the same there."""
        return (
            self.line == line
            and self.http == scope.http
            and self.conditions.isAs(scope.conditions)
            and self.stores.isAs(context.stores)
            and all(_digestOf(line, name) == known for name, known in self.files.items())
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _digestOf(line: RuleLine, name: str) -> bytes:
    try:
        return _digest(readBeside(line.where, name))
    except (OSError, ValueError):
        # Who makes the rule meets the same, and says so.
        return b""


def ruleOf(
    line: RuleLine,
    scope: Scope,
    registry: Registry,
    context: Context,
    deadlines: Deadlines | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Rule:
    """
    @param deadlines: for those who wait for a verb.
    @param clock: by which verbs that are not built in are measured.
    @raise ExpressionError: if an expression of it cannot be asked there.
    """
    interface, method = ASKED[scope.stage]
    of = Made(line, scope.http, _Noted(scope.conditions), _Noted(context.stores), scope.entries)
    # Files that expressions name are found from where they are written.
    scope = attr.evolve(scope, read=of.read, entries=of.look, conditions=of.conditions)
    extension = registry.find(interface, line.verb.name)
    made = extension.make(
        line.verb.options, attr.evolve(context, scope=scope, stores=of.stores)
    )
    traced = None if line.condition is None else Traced(line.condition, scope)
    ask: Any = getattr(made, method)
    # What depends on its options is said by them.
    waits = getattr(line.verb.options, "waits", getattr(extension, "waits", True))
    if not _isOurs(made):
        verb = Verb(ask, line, scope.stage, deadlines, clock)
        ask = verb.askAtOnce if scope.stage is Stage.RESPONSE else verb.ask
    elif waits:
        ask = Verb(ask, line, scope.stage, deadlines, None).ask
    condition = None if traced is None else traced.condition
    given = partial(_given, line, scope)
    names = getattr(made, "fieldNames", ())
    return Rule(line.text, ask, condition, line.where, traced, waits, given, names, of)


def _given(line: RuleLine, scope: Scope, exchange: Exchange) -> dict[str, Any]:
    """@return: the options of a line that are not the usual ones, for an exchange."""

    def said(value: Any) -> Any:
        if isinstance(value, Expression):
            value = Template(value.text, ((0, value),))
        if isinstance(value, Template):
            return value.compiled(scope)(exchange)
        return [said(one) for one in value] if isinstance(value, tuple) else value

    options = line.verb.options
    fields = attr.fields(type(options))
    given = [one.name for one in fields if getattr(options, one.name) != one.default]
    return {normal(name): said(getattr(options, name)) for name in given} | {
        "deadline": line.asking.deadline, "on-error": line.asking.on_error
    }


def _isOurs(made: object) -> bool:
    module = type(made).__module__
    return module.startswith("lbtwist.") and not module.startswith("lbtwist.plugins.")


def rulebookOf(
    lines: Iterable[RuleLine],
    scope: Scope,
    registry: Registry,
    context: Context,
    deadlines: Deadlines | None = None,
    before: Rulebook | None = None,
) -> Rulebook | None:
    """
    @param before: what its rules are taken from, as far as they would be made of the same.
    @return: L{None} for no lines, so that nothing has to be asked.
    """
    known: dict[str, list[Rule]] = {}
    for rule in () if before is None else before.rules:
        known.setdefault(rule.text, []).append(rule)
    rules = []
    for line in lines:
        same = known.get(line.text, [])
        found = next((one for one in same if one.made.isAs(line, scope, context)), None)
        if found is None:
            rules.append(ruleOf(line, scope, registry, context, deadlines))
        else:
            # Two lines that say the same count apart.
            same.remove(found)
            moved = found.where != line.where
            rules.append(attr.evolve(found, where=line.where) if moved else found)
    if before is not None and rules == list(before.rules):
        return before
    return Rulebook(rules) if rules else None
