"""
From lines of a configuration to rulebooks: makes the verbs, and joins them with their
conditions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import attr

from lbtwist.config.fill import readBeside
from lbtwist.config.ini import normal
from lbtwist.config.model import RuleLine
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Exchange
from lbtwist.registry import Context, Registry
from lbtwist.rules.expression import Expression, Scope
from lbtwist.rules.rulebook import ASKED as ASKED
from lbtwist.rules.rulebook import Rule, Rulebook
from lbtwist.rules.template import Template
from lbtwist.rules.tracing import Traced
from lbtwist.rules.values import Stage
from lbtwist.waiting import Verb


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
    scope = attr.evolve(scope, read=partial(readBeside, line.where))
    extension = registry.find(interface, line.verb.name)
    made = extension.make(line.verb.options, attr.evolve(context, scope=scope))
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
    return Rule(line.text, ask, condition, line.where, traced, waits, given, names)


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
) -> Rulebook | None:
    """@return: L{None} for no lines, so that nothing has to be asked."""
    rules = [ruleOf(line, scope, registry, context, deadlines) for line in lines]
    return Rulebook(rules) if rules else None
