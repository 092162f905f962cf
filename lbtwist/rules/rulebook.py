"""
Asks the rules in written order; the first that decides ends the asking.

A list of rules is one Python function, made when the configuration is built: a condition
costs what it costs in Python, and values that several rules ask for are read once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attr
from zope.interface.interface import InterfaceClass

from lbtwist.errors import NOWHERE, Position
from lbtwist.exchange import Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.rules.compiling import Function, Typed
from lbtwist.rules.decisions import DECISIONS
from lbtwist.rules.tracing import Part, Traced
from lbtwist.rules.values import Stage

ASKED: dict[Stage, tuple[InterfaceClass, str]] = {
    Stage.CONNECTION: (IConnectionRule, "connectionAccepted"),
    Stage.REQUEST: (IRequestRule, "requestReceived"),
    Stage.RESPONSE: (IResponseRule, "responseReceived"),
}
"""The interface of the verbs of each stage, and its method."""


@attr.frozen(eq=False)
class Rule:
    """
    One line, ready to be asked.

    @ivar text: the line, as it was written.
    @ivar condition: L{None} if it holds always.
    @ivar ask: given an exchange, a decision, or L{None} to go on, or a Deferred of
        either.
    @ivar traced: the condition with its parts seen; L{None} as C{condition} is.
    @ivar waits: whether C{ask} may give a Deferred.
    @ivar given: given an exchange, what the verb would be asked with: by name those of
        its options that are not the usual ones, as text where there are expressions.
    @ivar names: of the fields that the verb writes or removes, in lower case, C{-} for
        C{_}; C{x-*} is all that begin so. No trailer of such a name is passed on.
    @ivar made: what it was made of, for who makes such rules again, see L{lbtwist.asking}.
    """

    text: str
    ask: Callable[[Exchange], Any]
    condition: Typed | None = None
    where: Position = NOWHERE
    traced: Traced | None = None
    waits: bool = False
    given: Callable[[Exchange], Mapping[str, Any]] | None = None
    names: tuple[bytes, ...] = ()
    made: Any = None


@attr.frozen(eq=False)
class Step:
    """
    What became of one rule in one exchange.

    @ivar holds: whether the condition held; L{None} where it was not asked, because a
        rule before it has decided.
    @ivar asked: whether the verb was asked.
    @ivar decision: what it said; a Deferred if it waits, an exception if it has failed.
    @ivar part: the condition and its parts; L{None} if it has none.
    """

    rule: Rule
    holds: bool | None
    asked: bool = False
    decision: Any = None
    part: Part | None = None


Record = Callable[[Any], object]
"""What is told of each L{Step}, and of what comes after the rules."""


class Rulebook:
    """
    The rules of one stage.

    @ivar rules: in the order in which they are asked.
    @ivar ask: given an exchange, the first decision, L{None} if none decides, or a
        Deferred of either: then C{exchange.rule} is who gave it, and what follows it is
        asked by L{after}. A decision leaves who made it in C{exchange.rule}.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: Sequence[Rule] = tuple(rules)
        self.ask = self._made(0)
        self._after: dict[Rule, Callable[[Exchange], Any]] = {}

    def __repr__(self) -> str:
        return f"<Rulebook of {len(self.rules)}>"

    def after(self, rule: Rule) -> Callable[[Exchange], Any]:
        """@return: asks the rules that come after one."""
        found = self._after.get(rule)
        if found is None:
            found = self._after[rule] = self._made(self.rules.index(rule) + 1)
        return found

    def recorded(self, exchange: Exchange, record: Record, after: Rule | None = None) -> Any:
        """
        Ask the rules one by one, and tell what becomes of each: the same as C{ask}, and
        many times slower. In a rehearsal no verb is asked that might wait.

        @param after: the rules that come after this one are asked.
        """
        start = 0 if after is None else self.rules.index(after) + 1
        for rule in self.rules[start:]:
            holds, part = True, None
            if rule.traced is not None:
                holds, part = rule.traced(exchange)
            asked = holds and not (exchange.rehearsal and rule.waits)
            try:
                decision = rule.ask(exchange) if asked else None
            except Exception as error:
                record(Step(rule, holds, asked, error, part))
                raise
            record(Step(rule, holds, asked, decision, part))
            if decision is not None:
                exchange.rule = rule
                if decision.__class__ in DECISIONS:
                    self.skipped(rule, record)
                return decision
        return None

    def skipped(self, rule: Rule, record: Record) -> None:
        """Tell that the rules after one that has decided are not asked any more."""
        for one in self.rules[self.rules.index(rule) + 1 :]:
            record(Step(one, None))

    def named(self, error: BaseException) -> Rule | None:
        """@return: the rule that has raised an error."""
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_name == _NAME and 0 < trace.tb_lineno <= len(self.rules):
                return self.rules[trace.tb_lineno - 1]
            if code is Rulebook.recorded.__code__:
                found: Rule | None = trace.tb_frame.f_locals.get("rule")
                return found
            trace = trace.tb_next
        return None

    def _made(self, start: int) -> Callable[[Exchange], Any]:
        function = Function()
        body: list[ast.stmt] = []
        for index, rule in enumerate(self.rules[start:], start):
            test = None
            if rule.condition is not None:
                test = function.code(rule.condition)
            asked = _asked(
                function.object(f"ask_{index}", rule.ask),
                function.object(f"rule_{index}", rule),
                function.forget,
            )
            statements = asked if test is None else [ast.If(test, asked, [])]
            for statement in statements:
                for node in ast.walk(statement):
                    # Of a traceback the line says which rule it was; see L{named}.
                    if isinstance(node, (ast.expr, ast.stmt)):
                        node.lineno = node.end_lineno = index + 1
                        node.col_offset = node.end_col_offset = 0
            body += statements
        body.append(ast.Return(ast.Constant(None)))
        return function.made(_NAME, body)


_NAME = "askRules"


def called(rule: Rule | None) -> str:
    """@return: what the log calls a rule, its place with it."""
    return "a rule" if rule is None else f"the rule {rule.text!r} of {rule.where}"


def _asked(ask: ast.expr, rule: ast.expr, forget: list[ast.stmt]) -> list[ast.stmt]:
    """Ask one rule; what it may have changed is read anew."""
    module = ast.parse(
        "found = ASK(exchange)\nif found is not None:\n    exchange.rule = RULE\n    return found"
    )
    named = {"ASK": ask, "RULE": rule}
    for node in ast.walk(module):
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.Name) and value.id in named:
                setattr(node, name, named[value.id])
    return [*module.body, *forget]


@attr.frozen(eq=False)
class Rules:
    """What is asked on the way through a frontend or a pool; L{None} for nothing."""

    connection: Rulebook | None = None
    request: Rulebook | None = None
    response: Rulebook | None = None


NO_RULES = Rules()
