"""
The language of conditions: a part of Python's expressions, checked and typed when the
configuration is loaded, compiled once.

Nothing of what a user writes is ever evaluated: of a checked expression a new one is made
of our own code, constants, and names that are on our lists. There are no attributes, no
calls, no loops but those. What comes of it cannot raise for anything a client sends.

    path.startswith("/admin") and src not in net("10.0.0.0/8")
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import attr

from lbtwist.options import Time, suggestion
from lbtwist.rules.compiling import Filled, Typed, named, valueOf
from lbtwist.rules.patterns import slowness
from lbtwist.rules.reading import address
from lbtwist.rules.tables import Networks, Rate, lines, mapping
from lbtwist.rules.values import POOL_VALUES, REPEATED, VALUES, Kind, Stage, Value

LONGEST = 8192
"""Characters of one expression."""

_TEXT, _NUMBER, _TRUTH, _TEXTS = Kind.TEXT, Kind.NUMBER, Kind.TRUTH, Kind.TEXTS


class ExpressionError(ValueError):
    """
    An expression that cannot be accepted.

    @ivar at: the character of the expression that it is about, counted from 0.
    """

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.at = at


def _nothing(name: str) -> NoReturn:
    raise KeyError(name)


@attr.frozen(eq=False)
class Scope:
    """
    Where an expression stands: what it may ask for, and where that comes from.

    @ivar stage: when it is asked.
    @ivar http: whether its frontend speaks HTTP.
    @ivar conditions: named ones, parsed.
    @ivar read: the text of a file, by its name in the configuration. Raises L{OSError}
        or L{ValueError}.
    @ivar pool: the running pool of a name. Raises L{KeyError}.
    @ivar seconds: the clock of counters.
    @ivar connections: given a key, how many connections of now have it, that of the
        exchange among them: made once for each place where it is asked.
    """

    stage: Stage
    http: bool = True
    conditions: Mapping[str, Expression] = attr.field(factory=dict)
    read: Callable[[str], str] = _nothing
    pool: Callable[[str], Any] = _nothing
    seconds: Callable[[], float] = lambda: 0.0
    connections: Callable[[], Callable[[Any, str], int]] = lambda: lambda exchange, key: 1


@attr.frozen
class Expression:
    """
    What a user has written, well formed. Two that are written alike are equal.

    @ivar text: as it was written.
    """

    text: str
    tree: ast.expr = attr.field(eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Expression:
        """@raise ExpressionError: if it is no expression."""
        if len(text) > LONGEST:
            raise ExpressionError(f"it is longer than {LONGEST} characters")
        try:
            tree = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            at = min(max((error.offset or 1) - 1, 0), len(text))
            raise ExpressionError(f"it is not an expression: {error.msg}", at) from None
        except (RecursionError, MemoryError, ValueError):
            raise ExpressionError("it is not an expression") from None
        return cls(text, tree)

    def check(self, scope: Scope) -> Typed:
        """@raise ExpressionError: if it cannot be asked there."""
        return _Checker(self.text, scope).checked(self.tree)


# What may be called on a text: the kinds of its arguments, how many it needs, what it gives.
_METHODS: dict[str, tuple[tuple[Kind, ...], int, Kind]] = {
    "startswith": ((_TEXTS,), 1, _TRUTH),
    "endswith": ((_TEXTS,), 1, _TRUTH),
    "lower": ((), 0, _TEXT),
    "upper": ((), 0, _TEXT),
    "casefold": ((), 0, _TEXT),
    "strip": ((_TEXT,), 0, _TEXT),
    "lstrip": ((_TEXT,), 0, _TEXT),
    "rstrip": ((_TEXT,), 0, _TEXT),
    "removeprefix": ((_TEXT,), 1, _TEXT),
    "removesuffix": ((_TEXT,), 1, _TEXT),
    "replace": ((_TEXT, _TEXT), 2, _TEXT),
    "find": ((_TEXT,), 1, _NUMBER),
    "count": ((_TEXT,), 1, _NUMBER),
    "split": ((_TEXT,), 1, _TEXTS),
    "partition": ((_TEXT,), 1, _TEXTS),
    "rpartition": ((_TEXT,), 1, _TEXTS),
    "isdigit": ((), 0, _TRUTH),
    "isalpha": ((), 0, _TRUTH),
    "isalnum": ((), 0, _TRUTH),
    "isascii": ((), 0, _TRUTH),
}

_FUNCTIONS = (
    "net", "match", "map", "one_of", "rate", "connections", "pool", "random", "number",
    "address", "len", "str",
)  # fmt: skip

# Fields that concern one connection only and are never passed on: nobody can ask for them.
_UNSEEN = frozenset((b"connection", b"transfer-encoding", b"te", b"keep-alive", b"expect"))

_COMPARED = {ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE}


class _Checker:
    """Makes code of one expression. One of its methods for each kind of node."""

    def __init__(self, text: str, scope: Scope, within: tuple[str, ...] = ()) -> None:
        """@param within: the named conditions that are being read."""
        self._text = text
        self._scope = scope
        self._within = within
        self._objects: dict[str, Any] = {}

    def checked(self, tree: ast.expr) -> Typed:
        try:
            found = self._any(tree)
        except RecursionError:
            raise ExpressionError("it is nested too deeply") from None
        return Typed(found.code, found.kind, self._objects, found.constant)

    # what everything needs

    def _refuse(self, node: ast.AST, message: str) -> NoReturn:
        line = self._text.encode()[: getattr(node, "col_offset", 0)]
        raise ExpressionError(message, len(line.decode(errors="ignore")))

    def _written(self, node: ast.AST) -> str:
        return ast.get_source_segment(self._text, node) or "this"

    def _object(self, value: Any) -> ast.expr:
        """@return: the code for an object of ours."""
        name = f"OBJECT_{id(value)}"
        self._objects[name] = value
        return ast.Name(name, ast.Load())

    def _code(self, template: str, **parts: ast.expr) -> ast.expr:
        """@return: code of ours, with that of parts in place of their names."""
        return Filled(parts).visit(ast.parse(template, mode="eval").body)  # type: ignore[no-any-return]

    def _any(self, node: ast.expr) -> Typed:
        read = _READERS.get(type(node))
        if read is None:
            self._refuse(node, f"{self._written(node)!r} is not part of the language")
        return read(self, node)

    def _need(self, node: ast.expr, kind: Kind) -> Typed:
        found = self._any(node)
        if found.kind is kind:
            return found
        if kind is _TEXT and found.kind is Kind.ADDRESS:
            return found
        self._refuse(
            node, f"{self._written(node)} is {found.kind.value}, {kind.value} is needed here"
            + _converted(found.kind, kind, self._written(node)),
        )  # fmt: skip

    def _constant(self, node: ast.expr, what: str) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        self._refuse(node, f"{what} is written between quotes, it cannot be computed")

    # constants and names

    def constant(self, node: ast.Constant) -> Typed:
        value = node.value
        if isinstance(value, bool):
            return Typed(ast.Constant(value), _TRUTH, constant=value)
        if isinstance(value, (int, float)):
            return Typed(ast.Constant(value), _NUMBER, constant=value)
        if isinstance(value, str):
            return Typed(ast.Constant(value), _TEXT, constant=value)
        self._refuse(node, f"{self._written(node)!r} is neither a text nor a number")

    def several(self, node: ast.Tuple | ast.List | ast.Set) -> Typed:
        found = [self._need(one, _TEXT) for one in node.elts]
        if not found:
            self._refuse(node, "there is nothing in it")
        values = tuple(one.constant for one in found)
        if all(isinstance(value, str) for value in values):
            return Typed(ast.Constant(values), _TEXTS, constant=values)  # type: ignore[arg-type]
        return Typed(ast.Tuple([one.code for one in found], ast.Load()), _TEXTS)

    def name(self, node: ast.Name) -> Typed:
        if node.id in self._scope.conditions:
            return self._condition(node)
        return self._value(node, node.id)

    def _condition(self, node: ast.Name) -> Typed:
        name = node.id
        if name in self._within:
            self._refuse(node, f"the condition {name!r} asks for itself")
        condition = self._scope.conditions[name]
        checker = _Checker(condition.text, self._scope, (*self._within, name))
        try:
            found = checker.checked(condition.tree)
        except ExpressionError as error:
            self._refuse(node, f"the condition {name!r} cannot be asked here: {error}")
        self._objects.update(found.objects)
        return found

    def _value(self, node: ast.expr, name: str) -> Typed:
        value = VALUES.get(name)
        scope = self._scope
        if value is None:
            if name in _FUNCTIONS:
                self._refuse(node, f"{name} is a function: write {name}(...)")
            if name == "pool":
                self._refuse(node, 'a pool is named: write pool("NAME")')
            known = [*VALUES, *scope.conditions, *_FUNCTIONS]
            self._refuse(node, f"there is no {name!r}{suggestion(name, known)}")
        if value.http and not scope.http:
            self._refuse(node, f"{name} is not known in mode = tcp")
        if value.stage.order > scope.stage.order:
            self._refuse(
                node, f"{name} is not known yet: a {scope.stage.value} rule is asked before it"
            )
        return Typed(named(value), value.kind)

    def attribute(self, node: ast.Attribute) -> Typed:
        base = node.value
        if isinstance(base, ast.Call) and _dotted(base.func) == "pool":
            return self._pool(base, node)
        dotted = _dotted(node)
        if dotted is None or dotted.split(".")[0] not in _GROUPS:
            if node.attr in _METHODS:
                self._refuse(node, f"{node.attr} is called: write .{node.attr}(...)")
            self._refuse(node, f"there is no {node.attr!r} of {self._written(base)}")
        return self._value(node, dotted)

    def _pool(self, call: ast.Call, node: ast.Attribute) -> Typed:
        self._arguments(call, 1, 1)
        name = self._constant(call.args[0], "the name of a pool")
        if node.attr not in POOL_VALUES:
            hint = suggestion(node.attr, POOL_VALUES)
            self._refuse(node, f"there is no {node.attr!r} of a pool{hint}")
        try:
            pool = self._scope.pool(name)
        except KeyError:
            self._refuse(call, f"there is no [pool {name}]")
        code, _ = POOL_VALUES[node.attr]
        return Typed(self._code(code.format("POOL"), POOL=self._object(pool)), _NUMBER)

    def subscript(self, node: ast.Subscript) -> Typed:
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice)
        base = self._any(node.value)
        code = base.code
        if base.kind is Kind.FIELDS:
            value = valueOf(code)
            key = self._key(node.slice, value)
            if value.name in REPEATED:
                return Typed(self._code("fields(BASE, KEY)", BASE=code, KEY=key), _TEXTS)
            if value.wire:
                return Typed(self._code("field(BASE, KEY)", BASE=code, KEY=key), _TEXT)
            return Typed(self._code('BASE.get(KEY, "")', BASE=code, KEY=key), _TEXT)
        index = self._index(node.slice)
        if base.kind is Kind.MATCH:
            return Typed(self._code("matched(BASE, INDEX)", BASE=code, INDEX=index), _TEXT)
        if base.kind in (_TEXT, _TEXTS) and isinstance(index.value, int):
            return Typed(self._code("item(BASE, INDEX)", BASE=code, INDEX=index), _TEXT)
        self._refuse(node, f"of {self._written(node.value)}, {base.kind.value}, no part is taken")

    def _key(self, node: ast.expr, value: Value) -> ast.Constant:
        """The name of a field."""
        key = self._constant(node, "a name")
        if value.lower:
            key = key.lower()
        if not value.wire:
            return ast.Constant(key)
        wire = key.encode()
        if not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", wire):
            self._refuse(node, f"{key!r} is not the name of a field")
        if wire in _UNSEEN:
            self._refuse(node, f"{key} concerns one connection only and cannot be asked for")
        return ast.Constant(wire)

    def _index(self, node: ast.expr) -> ast.Constant:
        value = _literal(node)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self._refuse(node, "which part is taken is a plain number, or the name of a group")
        return ast.Constant(value)

    def _slice(self, node: ast.Subscript, part: ast.Slice) -> Typed:
        base = self._any(node.value)
        ends = [None if one is None else self._index(one) for one in (part.lower, part.upper)]
        if base.kind is not _TEXT or part.step is not None or any(
            one is not None and not isinstance(one.value, int) for one in ends
        ):
            self._refuse(node, "only of a text a part is taken, as text[FROM:TO] in numbers")
        return Typed(ast.Subscript(base.code, ast.Slice(*ends), ast.Load()), _TEXT)

    # operators

    def bool(self, node: ast.BoolOp) -> Typed:
        found = [self._any(one) for one in node.values]
        codes = [one.code for one in found]
        if len({one.kind for one in found}) == 1:
            return Typed(ast.BoolOp(node.op, codes), found[0].kind)
        return Typed(ast.BoolOp(node.op, [_truth(code) for code in codes]), _TRUTH)

    def unary(self, node: ast.UnaryOp) -> Typed:
        if isinstance(node.op, ast.Not):
            return Typed(ast.UnaryOp(ast.Not(), self._any(node.operand).code), _TRUTH)
        if isinstance(node.op, ast.USub):
            found = self._need(node.operand, _NUMBER)
            value = None if found.constant is None else -found.constant
            return Typed(ast.UnaryOp(ast.USub(), found.code), _NUMBER, constant=value)
        self._refuse(node, f"{self._written(node)!r} is not part of the language")

    def binary(self, node: ast.BinOp) -> Typed:
        left, right = self._any(node.left), self._any(node.right)
        kinds = {left.kind, right.kind} - {Kind.ADDRESS}
        if isinstance(node.op, ast.Add) and kinds <= {_TEXT}:
            return Typed(ast.BinOp(left.code, ast.Add(), right.code), _TEXT)
        if not isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod)):
            self._refuse(node, f"{self._written(node)!r} is not part of the language")
        for one, typed in ((node.left, left), (node.right, right)):
            if typed.kind is not _NUMBER:
                other = left.kind if typed is right else right.kind
                needed = _TEXT if other is _TEXT else _NUMBER
                self._need(one, needed)
                self._refuse(node, "texts are only added")
        if isinstance(node.op, (ast.FloorDiv, ast.Div, ast.Mod)) and not right.constant:
            self._refuse(node.right, "what divides is a plain number other than 0")
        return Typed(ast.BinOp(left.code, node.op, right.code), _NUMBER)

    def compare(self, node: ast.Compare) -> Typed:
        operands = [node.left, *node.comparators]
        found = [self._any(one) for one in operands]
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return self._among(node, node.ops[0], found[0], found[1])
        codes = [found[0].code]
        for op, left, right, written in zip(
            node.ops, found, found[1:], node.comparators, strict=False
        ):
            if type(op) not in _COMPARED:
                self._refuse(node, f"{self._written(node)!r} is not part of the language")
            codes.append(self._comparable(node, op, left, right, written))
        if found[0].constant is not None and found[1].kind is Kind.ADDRESS:
            codes[0] = ast.Constant(self._address(node.left, found[0].constant))
        return Typed(ast.Compare(codes[0], node.ops, codes[1:]), _TRUTH)

    def _comparable(
        self, node: ast.Compare, op: ast.cmpop, left: Typed, right: Typed, written: ast.expr
    ) -> ast.expr:
        """@return: the code of what is on the right."""
        equal = isinstance(op, (ast.Eq, ast.NotEq))
        kinds = {left.kind, right.kind}
        if Kind.ADDRESS in kinds:
            if not equal:
                self._refuse(node, "addresses are equal or not, or in net(...)")
            if left.kind is Kind.ADDRESS and right.kind is _TEXT:
                if not isinstance(right.constant, str):
                    self._refuse(written, "a text is no address: write address(...)")
                return ast.Constant(self._address(written, right.constant))
            if kinds == {Kind.ADDRESS} or (right.kind is Kind.ADDRESS and left.constant):
                return right.code
        elif kinds in ({_TEXT}, {_NUMBER}) or (equal and kinds == {_TRUTH}):
            return right.code
        self._refuse(
            node, f"{self._written(node)} compares {left.kind.value} with {right.kind.value}"
            + _converted(left.kind, right.kind, self._written(node.left)),
        )  # fmt: skip

    def _address(self, node: ast.expr, written: str) -> str:
        found = address(written)
        if not found:
            hint = f': write in net("{written}")' if "/" in written else ""
            self._refuse(node, f"{written!r} is not an address{hint}")
        return found

    def _among(self, node: ast.Compare, op: ast.cmpop, left: Typed, right: Typed) -> Typed:
        pair = (left.kind, right.kind)
        code, container = left.code, right.code
        if right.kind is Kind.FIELDS:
            value = valueOf(container)
            code = self._key(node.left, value)
            if value.name in REPEATED:
                has = self._code("hasField(BASE, KEY)", BASE=container, KEY=code)
                return Typed(
                    ast.UnaryOp(ast.Not(), has) if isinstance(op, ast.NotIn) else has, _TRUTH
                )
        elif right.kind is Kind.NETWORKS and left.kind is _TEXT:
            self._refuse(node.left, "a text is no address: write address(...)")
        elif left.kind is Kind.ADDRESS and right.kind in (_TEXT, _TEXTS):
            what = ", ".join(f'"{one}"' for one in _each(right.constant)) or "..."
            self._refuse(node, f"an address is looked for in networks: write in net({what})")
        elif pair not in ((_TEXT, _TEXT), (_TEXT, _TEXTS), (Kind.ADDRESS, Kind.NETWORKS)):
            self._refuse(
                node, f"{left.kind.value} cannot be in {right.kind.value}:"
                f" {self._written(node)}",
            )
        return Typed(ast.Compare(code, [op], [container]), _TRUTH)

    def either(self, node: ast.IfExp) -> Typed:
        test = self._any(node.test)
        body, other = self._any(node.body), self._any(node.orelse)
        kind = body.kind
        if other.kind is not kind:
            if {kind, other.kind} != {_TEXT, Kind.ADDRESS}:
                self._refuse(
                    node, f"it is {kind.value} or {other.kind.value}: both have to be alike"
                )
            kind = _TEXT
        return Typed(ast.IfExp(test.code, body.code, other.code), kind)

    # calls

    def _arguments(self, node: ast.Call, least: int, most: int) -> None:
        if node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            self._refuse(node, "arguments are given in order, without names")
        if not least <= len(node.args) <= most:
            numbers = str(least) if least == most else f"{least} to {most}"
            self._refuse(node, f"{self._written(node.func)} takes {numbers} argument(s)")

    def call(self, node: ast.Call) -> Typed:
        func = node.func
        if isinstance(func, ast.Attribute):
            return self._method(node, func)
        if not isinstance(func, ast.Name) or func.id not in _FUNCTIONS:
            name = self._written(func)
            hint = suggestion(name, _FUNCTIONS)
            if name in VALUES:
                hint = f"; {name} is a value: write it without ()"
            self._refuse(node, f"there is no function {name!r}{hint}")
        read: Callable[[ast.Call], Typed] = getattr(self, f"call_{func.id}")
        return read(node)

    def _method(self, node: ast.Call, func: ast.Attribute) -> Typed:
        base = self._any(func.value)
        if func.attr not in _METHODS or base.kind not in (_TEXT, Kind.ADDRESS):
            hint = suggestion(func.attr, _METHODS) if base.kind is _TEXT else ""
            self._refuse(
                node, f"{func.attr!r} cannot be called on {base.kind.value}{hint}"
            )
        kinds, least, gives = _METHODS[func.attr]
        self._arguments(node, least, len(kinds))
        args = []
        for index, (argument, kind) in enumerate(zip(node.args, kinds, strict=False)):
            found = self._any(argument)
            # One text stands for several.
            if found.kind is not kind and not (kind is _TEXTS and found.kind is _TEXT):
                found = self._need(argument, kind)
            if kind is _TEXTS and found.kind is _TEXTS and found.constant is None:
                self._refuse(argument, "several texts are written between quotes here")
            if func.attr == "replace" and index == 1 and found.constant is None:
                self._refuse(argument, "what is put in is written between quotes")
            if func.attr in ("split", "partition", "rpartition") and not found.constant:
                self._refuse(argument, "what separates is written between quotes")
            args.append(found.code)
        call = ast.Call(ast.Attribute(base.code, func.attr, ast.Load()), args, [])
        return Typed(call, gives)

    def call_net(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 10_000)
        networks: list[str] = []
        for one in node.args:
            written = self._constant(one, "a network")
            if written.startswith("@"):
                networks += lines(self._file(one, written[1:]))
            else:
                networks.append(written)
        try:
            found = Networks(networks)
        except ValueError as error:
            self._refuse(node, str(error))
        return Typed(self._object(found), Kind.NETWORKS)

    def _file(self, node: ast.expr, name: str) -> str:
        try:
            return self._scope.read(name)
        except OSError as error:
            self._refuse(node, f"{name!r} cannot be read: {error.strerror}")
        except ValueError as error:
            self._refuse(node, f"{name!r} cannot be read: {error}")

    def call_match(self, node: ast.Call) -> Typed:
        self._arguments(node, 2, 2)
        pattern = self._constant(node.args[0], "a regular expression")
        subject = self._need(node.args[1], _TEXT)
        try:
            found = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            self._refuse(node.args[0], f"{pattern!r} is not a regular expression: {error}")
        wrong = slowness(pattern)
        if wrong:
            self._refuse(node.args[0], wrong)
        code = self._code("SEARCH(TEXT)", SEARCH=self._object(found.search), TEXT=subject.code)
        return Typed(code, Kind.MATCH)

    def call_map(self, node: ast.Call) -> Typed:
        self._arguments(node, 2, 3)
        name = self._constant(node.args[0], "a file")
        key = self._need(node.args[1], _TEXT)
        default = self._need(node.args[2], _TEXT).code if len(node.args) > 2 else ast.Constant("")
        try:
            found = mapping(self._file(node.args[0], name))
        except ExpressionError:
            raise
        except ValueError as error:
            self._refuse(node.args[0], f"{name}: {error}")
        code = self._code(
            "chosen(MAP, KEY, DEFAULT)", MAP=self._object(found), KEY=key.code, DEFAULT=default
        )
        return Typed(code, _TEXT)

    def call_one_of(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 1)
        name = self._constant(node.args[0], "a file")
        return Typed(self._object(frozenset(lines(self._file(node.args[0], name)))), _TEXTS)

    def call_rate(self, node: ast.Call) -> Typed:
        self._arguments(node, 2, 2)
        key = self._need(node.args[0], _TEXT)
        period = self._constant(node.args[1], "a period")
        try:
            seconds = Time().parse(period)
        except ValueError as error:
            self._refuse(node.args[1], str(error))
        if not seconds:
            self._refuse(node.args[1], "a period is longer than 0")
        rate = Rate(seconds, self._scope.seconds)
        return Typed(self._code("HIT(KEY)", HIT=self._object(rate.hit), KEY=key.code), _NUMBER)

    def call_connections(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 1)
        key = self._need(node.args[0], _TEXT)
        count = self._object(self._scope.connections())
        return Typed(self._code("COUNT(exchange, KEY)", COUNT=count, KEY=key.code), _NUMBER)

    def call_random(self, node: ast.Call) -> Typed:
        self._arguments(node, 0, 0)
        return Typed(self._code("RANDOM()", RANDOM=self._object(random.random)), _NUMBER)

    def call_number(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 2)
        parts = [self._need(node.args[0], _TEXT)]
        parts += [self._need(one, _NUMBER) for one in node.args[1:]]
        call = ast.Call(ast.Name("number", ast.Load()), [one.code for one in parts], [])
        return Typed(call, _NUMBER)

    def call_address(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 1)
        found = self._need(node.args[0], _TEXT)
        return Typed(self._code("address(TEXT)", TEXT=found.code), Kind.ADDRESS)

    def call_len(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 1)
        found = self._any(node.args[0])
        if found.kind not in (_TEXT, _TEXTS):
            self._refuse(node, f"{found.kind.value} has no length")
        return Typed(self._code("len(TEXT)", TEXT=found.code), _NUMBER)

    def call_str(self, node: ast.Call) -> Typed:
        self._arguments(node, 1, 1)
        found = self._any(node.args[0])
        if found.kind not in (_NUMBER, _TEXT, Kind.ADDRESS):
            self._refuse(node, f"{found.kind.value} is not made a text")
        return Typed(self._code("str(TEXT)", TEXT=found.code), _TEXT)


_READERS: dict[type[ast.AST], Callable[[_Checker, Any], Typed]] = {
    ast.Constant: _Checker.constant,
    ast.Tuple: _Checker.several,
    ast.List: _Checker.several,
    ast.Set: _Checker.several,
    ast.Name: _Checker.name,
    ast.Attribute: _Checker.attribute,
    ast.Subscript: _Checker.subscript,
    ast.BoolOp: _Checker.bool,
    ast.UnaryOp: _Checker.unary,
    ast.BinOp: _Checker.binary,
    ast.Compare: _Checker.compare,
    ast.IfExp: _Checker.either,
    ast.Call: _Checker.call,
}

_GROUPS = {name.split(".")[0] for name in VALUES if "." in name}
def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        return -value if isinstance(value, int) else None
    return node.value if isinstance(node, ast.Constant) else None


def _each(found: Any) -> Sequence[str]:
    if isinstance(found, str):
        return (found,)
    return found if isinstance(found, tuple) else ()


def _truth(code: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), code))


def _converted(kind: Kind, needed: Kind, written: str) -> str:
    """@return: how it can be made what is needed."""
    if {kind, needed} == {_TEXT, _NUMBER}:
        if kind is _TEXT:
            return f": write number({written})"
        return f": write str({written})" if "number" not in written else ""
    return ""
