"""
Why a condition holds or not: the value of each part of it for one exchange.

The code of a condition is the same as in a rulebook but for what writes down the value of
each part on its way, so that what is told here is what is decided there, and what is not
asked there is not asked here. What counts, counts in the same tables.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import attr

from lbtwist.rules.checking import Checking, Scope
from lbtwist.rules.compiling import Typed, compiled, copied
from lbtwist.rules.expression import Expression
from lbtwist.rules.operators import Checker
from lbtwist.rules.values import Kind


@attr.frozen
class Part:
    """
    One part of a condition.

    @ivar text: as it was written.
    @ivar asked: whether it had to be known; of C{a and b} only C{a} if that fails.
    @ivar value: what it is; of a match all that was found, L{None} for nothing, and where
        the part was not asked.
    @ivar parts: what it is made of, without what is written plainly.
    """

    text: str
    asked: bool
    value: Any = None
    parts: tuple[Part, ...] = ()


class Traced:
    """
    A condition, and the same condition with its parts seen.

    @ivar condition: for a rulebook.
    """

    def __init__(self, expression: Expression, scope: Scope) -> None:
        """@raise ExpressionError: if it cannot be asked there."""
        self._found = _Found(expression.text)
        checker = _Tracer(expression.text, scope)
        checker.above = self._found
        self._typed = typed = checker.checked(expression.tree)
        self.condition = attr.evolve(typed, code=_Unseen().visit(copied(typed.code)))
        self._seen: dict[int, Any] = {}
        self._compiled: Callable[[Any], Any] | None = None

    def __call__(self, exchange: Any) -> tuple[bool, Part]:
        """@return: whether it holds, and the whole of it as a part."""
        if self._compiled is None:
            objects = {**self._typed.objects, _SEEN: self._see}
            self._compiled = compiled(attr.evolve(self._typed, objects=objects))
        self._seen.clear()
        whole = self._compiled(exchange)
        [first] = self._found.parts or [self._found]
        self._seen.setdefault(first.number, whole)
        part = _told(first, self._seen)
        self._seen.clear()
        return bool(whole), part

    def _see(self, number: int, value: Any) -> Any:
        self._seen[number] = value
        return value


def trace(expression: Expression, scope: Scope, exchange: Any) -> Part:
    """
    @param scope: in which the expression was found good.
    @return: the whole expression as a part; what counts begins anew.
    """
    return Traced(expression, scope)(exchange)[1]


_SEEN = "SEEN"


class _Unseen(ast.NodeTransformer):
    """Takes out what writes values down."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == _SEEN:
            found: ast.AST = self.visit(node.args[1])
            return found
        return self.generic_visit(node)


@attr.define(eq=False)
class _Found:
    """
    A part whose value is not known yet.

    @ivar number: what its value is written down as; -1 where it is not.
    """

    text: str
    parts: list[_Found] = attr.field(factory=list)
    number: int = -1


class _Tracer(Checker):
    """Makes code that writes down what it comes to."""

    above: _Found

    def inside(self, text: str) -> Checking:
        other = _Tracer(text, self.scope)
        other.above = self.above
        return other

    def any(self, node: ast.expr) -> Typed:
        above = self.above
        mine = self.above = _Found(self.written(node))
        try:
            typed = super().any(node)
        finally:
            self.above = above
        if typed.constant is not None or typed.kind in (Kind.NETWORKS, Kind.FIELDS):
            return typed
        if typed.kind is Kind.TEXTS and self.isObject(typed.code):
            # The lines of a file.
            return typed
        mine.number = id(mine)
        above.parts.append(mine)
        code = ast.Call(
            ast.Name(_SEEN, ast.Load()), [ast.Constant(mine.number), typed.code], []
        )
        return attr.evolve(typed, code=code)


def _told(found: _Found, values: dict[int, Any]) -> Part:
    value = values.get(found.number)
    if isinstance(value, re.Match):
        value = value[0]
    parts = tuple(_told(one, values) for one in found.parts)
    return Part(found.text, found.number in values, value, parts)
