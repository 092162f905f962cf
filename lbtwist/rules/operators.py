"""
The constants, names and operators of the language of conditions: what each kind of node
of Python's syntax may be made of, and the code it becomes. A kind that is not here is not
part of the language.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from functools import reduce
from ipaddress import IPv6Address, ip_address
from typing import Any

from lbtwist.options import suggestion
from lbtwist.rules.checking import Checking, converted
from lbtwist.rules.compiling import Typed, named, valueOf
from lbtwist.rules.functions import FUNCTIONS, METHODS, called, poolValue
from lbtwist.rules.values import REPEATED, VALUES, Kind, Value

_TEXT, _NUMBER, _TRUTH, _TEXTS = Kind.TEXT, Kind.NUMBER, Kind.TRUTH, Kind.TEXTS

# Fields that concern one connection only and are never passed on: nobody can ask for them.
_UNSEEN = frozenset((b"connection", b"transfer-encoding", b"te", b"keep-alive", b"expect"))

_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_COMPARED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_DIVIDING = (ast.FloorDiv, ast.Div, ast.Mod)
_LARGEST = 2**63
_GROUPS = {name.split(".")[0] for name in VALUES if "." in name}


class Checker(Checking):
    """Checks expressions."""

    def read(self, node: ast.expr) -> Typed:
        read = _READERS.get(type(node))
        if read is None:
            self.refuse(node, f"{self.written(node)!r} is not part of the language")
        return read(self, node)

    # constants and names

    def constantRead(self, node: ast.Constant) -> Typed:
        value = node.value
        if isinstance(value, bool):
            return Typed(ast.Constant(value), _TRUTH, constant=value)
        if isinstance(value, (int, float)):
            if isinstance(value, int) and value >= _LARGEST:
                self.refuse(node, f"a whole number is less than {_LARGEST}")
            return Typed(ast.Constant(value), _NUMBER, constant=value)
        if isinstance(value, str):
            return Typed(ast.Constant(self.constant(node, "a text")), _TEXT, constant=value)
        self.refuse(node, f"{self.written(node)!r} is neither a text nor a number")

    def severalRead(self, node: ast.Tuple | ast.List | ast.Set) -> Typed:
        found = [self.need(one, _TEXT) for one in node.elts]
        if not found:
            self.refuse(node, "there is nothing in it")
        values = tuple(one.constant for one in found)
        if all(isinstance(value, str) for value in values):
            return Typed(ast.Constant(values), _TEXTS, constant=values)  # type: ignore[arg-type]
        return Typed(ast.Tuple([one.code for one in found], ast.Load()), _TEXTS)

    def nameRead(self, node: ast.Name) -> Typed:
        if node.id in self.scope.conditions:
            return self.condition(node.id, node)
        return self._value(node, node.id)

    def _value(self, node: ast.expr, name: str) -> Typed:
        value = VALUES.get(name)
        scope = self.scope
        if value is None:
            if name in FUNCTIONS:
                self.refuse(node, f"{name} is a function: write {FUNCTIONS[name].form}")
            known = [*VALUES, *scope.conditions, *FUNCTIONS]
            self.refuse(node, f"there is no {name!r}{suggestion(name, known)}")
        if value.http and not scope.http:
            self.refuse(node, f"{name} is not known in mode = tcp")
        if value.stage.order > scope.stage.order:
            self.refuse(
                node, f"{name} is not known yet: a {scope.stage.value} rule is asked before it"
            )
        return Typed(named(value), value.kind)

    def attributeRead(self, node: ast.Attribute) -> Typed:
        base = node.value
        if isinstance(base, ast.Call) and _dotted(base.func) == "pool":
            return poolValue(self, base, node)
        dotted = _dotted(node)
        if node.attr in METHODS and dotted not in VALUES:
            self.refuse(node, f"{node.attr} is called: write .{node.attr}(...)")
        if dotted is None or dotted.split(".")[0] not in _GROUPS:
            self.refuse(node, f"there is no {node.attr!r} of {self.written(base)}")
        return self._value(node, dotted)

    def callRead(self, node: ast.Call) -> Typed:
        return called(self, node, VALUES)

    # parts

    def subscriptRead(self, node: ast.Subscript) -> Typed:
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice)
        base = self.any(node.value)
        code = base.code
        if base.kind is Kind.FIELDS:
            value = valueOf(code)
            key = self._key(node.slice, value)
            if value.name in REPEATED:
                return Typed(self.code("fields(BASE, KEY)", BASE=code, KEY=key), _TEXTS)
            if value.wire:
                return Typed(self.code("field(BASE, KEY)", BASE=code, KEY=key), _TEXT)
            return Typed(self.code('BASE.get(KEY, "")', BASE=code, KEY=key), _TEXT)
        index = self._index(node.slice)
        if base.kind is Kind.MATCH:
            if index.value not in base.groups:
                self.refuse(node.slice, f"the regular expression has no group {index.value!r}")
            return Typed(self.code("matched(BASE, INDEX)", BASE=code, INDEX=index), _TEXT)
        if base.kind in (_TEXT, _TEXTS) and isinstance(index.value, int):
            return Typed(self.code("item(BASE, INDEX)", BASE=code, INDEX=index), _TEXT)
        self.refuse(node, f"of {self.written(node.value)}, {base.kind.value}, no part is taken")

    def _key(self, node: ast.expr, value: Value) -> ast.Constant:
        """The name of a field."""
        key = self.constant(node, "a name")
        self.any(node)
        if value.lower:
            key = key.lower()
        if not value.wire:
            return ast.Constant(key)
        wire = key.encode()
        if not _FIELD.fullmatch(wire):
            self.refuse(node, f"{key!r} is not the name of a field")
        if wire in _UNSEEN:
            self.refuse(node, f"{key} concerns one connection only and cannot be asked for")
        return ast.Constant(wire)

    def _index(self, node: ast.expr) -> ast.Constant:
        value = _literal(node)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self.refuse(node, "which part is taken is a plain number, or the name of a group")
        return ast.Constant(value)

    def _slice(self, node: ast.Subscript, part: ast.Slice) -> Typed:
        base = self.any(node.value)
        ends = [None if one is None else self._index(one) for one in (part.lower, part.upper)]
        if (
            base.kind is not _TEXT
            or part.step is not None
            or any(one is not None and not isinstance(one.value, int) for one in ends)
        ):
            self.refuse(node, "only of a text a part is taken, as text[FROM:TO] in numbers")
        return Typed(ast.Subscript(base.code, ast.Slice(*ends), ast.Load()), _TEXT)

    # operators

    def boolRead(self, node: ast.BoolOp) -> Typed:
        found = [self.any(one) for one in node.values]
        codes = [one.code for one in found]
        for one, typed in zip(node.values[:-1], found, strict=False):
            self.holding(one, typed)
        kind = _common([one.kind for one in found])
        if kind is not None and kind not in (Kind.NETWORKS, Kind.FIELDS):
            groups = reduce(frozenset.intersection, [one.groups for one in found])
            return Typed(ast.BoolOp(node.op, codes), kind, groups=groups)
        self.holding(node.values[-1], found[-1])
        return Typed(ast.BoolOp(node.op, [_truth(code) for code in codes]), _TRUTH)

    def unaryRead(self, node: ast.UnaryOp) -> Typed:
        if isinstance(node.op, ast.Not):
            return Typed(ast.UnaryOp(ast.Not(), self.truth(node.operand).code), _TRUTH)
        if isinstance(node.op, ast.USub):
            found = self.need(node.operand, _NUMBER)
            value = None if found.constant is None else -found.constant
            return Typed(ast.UnaryOp(ast.USub(), found.code), _NUMBER, constant=value)
        self.refuse(node, f"{self.written(node)!r} is not part of the language")

    def binaryRead(self, node: ast.BinOp) -> Typed:
        left, right = self.any(node.left), self.any(node.right)
        op = node.op
        texts = {left.kind, right.kind} <= {_TEXT, Kind.ADDRESS}
        if isinstance(op, ast.Add) and texts:
            return Typed(ast.BinOp(left.code, op, right.code), _TEXT)
        if not isinstance(op, (ast.Add, ast.Sub, ast.Mult, *_DIVIDING)):
            self.refuse(node, f"{self.written(node)!r} is not part of the language")
        if texts:
            self.refuse(node, "texts are only added")
        # What is added to plain text is meant to be text.
        adds = isinstance(op, ast.Add) and str in (type(left.constant), type(right.constant))
        for one, typed in ((node.left, left), (node.right, right)):
            self.fitting(one, typed, _TEXT if adds else _NUMBER)
        if isinstance(op, ast.Mult):
            # Of numbers that clients send there could be one that is too large for a float.
            return Typed(self.code("product(A, B)", A=left.code, B=right.code), _NUMBER)
        if isinstance(op, _DIVIDING) and not right.constant:
            self.refuse(node.right, "what divides is a plain number other than 0")
        return Typed(ast.BinOp(left.code, op, right.code), _NUMBER)

    def compareRead(self, node: ast.Compare) -> Typed:
        operands = [node.left, *node.comparators]
        found = [self.any(one) for one in operands]
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return self._among(node, node.ops[0], found[0], found[1])
        for index, op in enumerate(node.ops):
            if not isinstance(op, _COMPARED):
                self.refuse(node, f"{self.written(node)!r} is not part of the language")
            self._comparable(node, op, found[index], found[index + 1])
        codes = [one.code for one in found]
        if Kind.ADDRESS in {one.kind for one in found}:
            codes = [self._addressed(*one) for one in zip(operands, found, strict=True)]
        return Typed(ast.Compare(codes[0], node.ops, codes[1:]), _TRUTH)

    def _comparable(self, node: ast.Compare, op: ast.cmpop, left: Typed, right: Typed) -> None:
        equal = isinstance(op, (ast.Eq, ast.NotEq))
        kinds = {left.kind, right.kind}
        if Kind.ADDRESS in kinds and kinds <= {_TEXT, Kind.ADDRESS}:
            if not equal:
                self.refuse(node, "addresses are equal or not, or in net(...)")
        elif kinds not in ({_TEXT}, {_NUMBER}) and not (equal and kinds == {_TRUTH}):
            self.refuse(
                node, f"{self.written(node)} compares {left.kind.value} with {right.kind.value}"
                + converted(left.kind, right.kind, self.written(node.left)),
            )  # fmt: skip

    def _addressed(self, node: ast.expr, found: Typed) -> ast.expr:
        """@return: the code of what is compared with an address."""
        if found.kind is Kind.ADDRESS:
            return found.code
        written = found.constant
        if not isinstance(written, str):
            self.refuse(node, "a text is no address: write address(...)")
        try:
            address = ip_address(written)
        except ValueError:
            hint = f': write in net("{written}")' if "/" in written else ""
            self.refuse(node, f"{written!r} is not an address{hint}")
        if isinstance(address, IPv6Address):
            if address.is_link_local and address.scope_id is None:
                self.refuse(
                    node, f'{written} can be on every link: write in net("{written}"), or'
                    f' "{written}%INTERFACE"',
                )  # fmt: skip
            if address.ipv4_mapped is not None:
                address = address.ipv4_mapped
        return ast.Constant(str(address))

    def _among(self, node: ast.Compare, op: ast.cmpop, left: Typed, right: Typed) -> Typed:
        pair = (left.kind, right.kind)
        code, container = left.code, right.code
        if right.kind is Kind.FIELDS:
            value = valueOf(container)
            code = self._key(node.left, value)
            if value.name in REPEATED:
                has = self.code("hasField(BASE, KEY)", BASE=container, KEY=code)
                return Typed(
                    ast.UnaryOp(ast.Not(), has) if isinstance(op, ast.NotIn) else has, _TRUTH
                )
        elif pair == (Kind.ADDRESS, Kind.NETWORKS):
            among = self.code("BASE.known[KEY]", BASE=container, KEY=code)
            return Typed(
                ast.UnaryOp(ast.Not(), among) if isinstance(op, ast.NotIn) else among, _TRUTH
            )
        elif right.kind is Kind.NETWORKS and left.kind is _TEXT:
            self.refuse(node.left, "a text is no address: write address(...)")
        elif left.kind is Kind.ADDRESS and right.kind in (_TEXT, _TEXTS):
            what = ", ".join(f'"{one}"' for one in _each(right.constant)) or "..."
            self.refuse(node, f"an address is looked for in networks: write in net({what})")
        elif pair not in ((_TEXT, _TEXT), (_TEXT, _TEXTS)):
            self.refuse(
                node, f"{left.kind.value} cannot be in {right.kind.value}:"
                f" {self.written(node)}",
            )  # fmt: skip
        return Typed(ast.Compare(code, [op], [container]), _TRUTH)

    def eitherRead(self, node: ast.IfExp) -> Typed:
        test = self.truth(node.test)
        body, other = self.any(node.body), self.any(node.orelse)
        kind = _common([body.kind, other.kind])
        if kind is None:
            self.refuse(
                node, f"it is {body.kind.value} or {other.kind.value}: both have to be alike"
            )
        if kind is Kind.FIELDS:
            self.refuse(node, "of texts by name one is taken before there is a choice")
        code = ast.IfExp(test.code, body.code, other.code)
        return Typed(code, kind, groups=body.groups & other.groups)


_READERS: dict[type[ast.AST], Callable[[Checker, Any], Typed]] = {
    ast.Constant: Checker.constantRead,
    ast.Tuple: Checker.severalRead,
    ast.List: Checker.severalRead,
    ast.Set: Checker.severalRead,
    ast.Name: Checker.nameRead,
    ast.Attribute: Checker.attributeRead,
    ast.Subscript: Checker.subscriptRead,
    ast.BoolOp: Checker.boolRead,
    ast.UnaryOp: Checker.unaryRead,
    ast.BinOp: Checker.binaryRead,
    ast.Compare: Checker.compareRead,
    ast.IfExp: Checker.eitherRead,
    ast.Call: Checker.callRead,
}


def _common(kinds: Sequence[Kind]) -> Kind | None:
    """@return: what all of them are; an address among texts is one."""
    found = set(kinds)
    if found == {_TEXT, Kind.ADDRESS}:
        return _TEXT
    return kinds[0] if len(found) == 1 else None


def _dotted(node: ast.expr) -> str | None:
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = node.operand.value if isinstance(node.operand, ast.Constant) else None
        return -value if type(value) is int else None
    return node.value if isinstance(node, ast.Constant) else None


def _each(found: Any) -> Sequence[str]:
    if isinstance(found, str):
        return (found,)
    return found if isinstance(found, tuple) else ()


def _truth(code: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), code))
