"""
From lines of a configuration to rulebooks: makes the verbs, and joins them with their
conditions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import attr
from zope.interface.interface import InterfaceClass

from lbtwist.config.fill import readBeside
from lbtwist.config.model import RuleLine
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.registry import Context, Registry
from lbtwist.rules.expression import Scope
from lbtwist.rules.rulebook import Rule, Rulebook
from lbtwist.rules.values import Stage

ASKED: dict[Stage, tuple[InterfaceClass, str]] = {
    Stage.CONNECTION: (IConnectionRule, "connectionAccepted"),
    Stage.REQUEST: (IRequestRule, "requestReceived"),
    Stage.RESPONSE: (IResponseRule, "responseReceived"),
}
"""The interface of the verbs of each stage, and its method."""


def ruleOf(line: RuleLine, scope: Scope, registry: Registry, context: Context) -> Rule:
    """
    @raise ExpressionError: if an expression of it cannot be asked there.
    """
    interface, method = ASKED[scope.stage]
    scope = attr.evolve(scope, read=partial(readBeside, line.where))
    extension = registry.find(interface, line.verb.name)
    made = extension.make(line.verb.options, attr.evolve(context, scope=scope))
    condition = None if line.condition is None else line.condition.check(scope)
    ask: Any = getattr(made, method)
    return Rule(line.text, ask, condition, line.where)


def rulebookOf(
    lines: Iterable[RuleLine], scope: Scope, registry: Registry, context: Context
) -> Rulebook | None:
    """@return: L{None} for no lines, so that nothing has to be asked."""
    rules = [ruleOf(line, scope, registry, context) for line in lines]
    return Rulebook(rules) if rules else None
