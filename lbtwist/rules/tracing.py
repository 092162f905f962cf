"""
Why a condition holds or not: the value of each part of it for one exchange.

The parts are computed one by one by the same code that a rulebook is made of, so what is
told here is what is decided there. Counters are not: a part that counts begins anew.
"""

from __future__ import annotations

import ast
from typing import Any

import attr

from lbtwist.rules.compiling import compiled
from lbtwist.rules.expression import Expression, Scope
from lbtwist.rules.values import Kind


@attr.frozen
class Part:
    """
    One part of a condition.

    @ivar text: as it was written.
    @ivar asked: whether it had to be known; of C{a and b} only C{a} if that fails.
    @ivar value: what it is; L{None} where it was not asked, or is no plain value.
    @ivar parts: what it is made of.
    """

    text: str
    asked: bool
    value: Any = None
    parts: tuple[Part, ...] = ()


def trace(expression: Expression, scope: Scope, exchange: Any) -> Part:
    """
    @param scope: in which the expression was found good.
    @return: the whole expression as a part.
    """
    return _Tracing(expression.text, scope, exchange).part(expression.tree)


class _Tracing:
    def __init__(self, text: str, scope: Scope, exchange: Any) -> None:
        self._text = text
        self._scope = scope
        self._exchange = exchange

    def part(self, node: ast.expr) -> Part:
        text = ast.get_source_segment(self._text, node) or self._text
        value = self._value(text, node)
        return Part(text, True, value, self._parts(node))

    def _value(self, text: str, node: ast.expr) -> Any:
        typed = Expression(text, node).check(self._scope)
        found = compiled(typed)(self._exchange)
        if typed.kind is Kind.MATCH:
            return None if found is None else found[0]
        return None if typed.kind in (Kind.NETWORKS, Kind.FIELDS) else found

    def _parts(self, node: ast.expr) -> tuple[Part, ...]:
        if isinstance(node, ast.BoolOp):
            return self._inOrder(node)
        if isinstance(node, ast.IfExp):
            test = self.part(node.test)
            taken, left = (node.body, node.orelse) if test.value else (node.orelse, node.body)
            return (test, self.part(taken), self._skipped(left))
        if isinstance(node, ast.Name) and node.id in self._scope.conditions:
            return (trace(self._scope.conditions[node.id], self._scope, self._exchange),)
        return tuple(self.part(one) for one in _operands(node))

    def _inOrder(self, node: ast.BoolOp) -> tuple[Part, ...]:
        parts: list[Part] = []
        decides = isinstance(node.op, ast.Or)
        decided = False
        for one in node.values:
            part = self._skipped(one) if decided else self.part(one)
            parts.append(part)
            decided = decided or bool(part.value) is decides
        return tuple(parts)

    def _skipped(self, node: ast.expr) -> Part:
        return Part(ast.get_source_segment(self._text, node) or self._text, False)


def _operands(node: ast.expr) -> list[ast.expr]:
    """@return: what the value of a node comes of, but for what is written plainly."""
    found: list[ast.expr] = []
    if isinstance(node, ast.UnaryOp):
        found = [node.operand]
    elif isinstance(node, ast.BinOp):
        found = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        found = [node.left, *node.comparators]
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and _isFields(node.comparators[0]):
            found = []
    elif isinstance(node, ast.Call):
        found = list(node.args)
        if isinstance(node.func, ast.Attribute):
            found.insert(0, node.func.value)
        elif isinstance(node.func, ast.Name) and node.func.id in ("net", "one_of", "pool"):
            found = []
    elif isinstance(node, ast.Subscript) and not _isFields(node.value):
        found = [node.value]
    return [one for one in found if not _plain(one)]


def _isFields(node: ast.expr) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute))


def _plain(node: ast.expr) -> bool:
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return all(_plain(one) for one in node.elts)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("net", "one_of")
    return isinstance(node, ast.Constant)
