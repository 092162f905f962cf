"""
From checked expressions to Python functions.

What is compiled is code of ours, which names values and objects by names that no user
could write; what a user wrote is in it as constants only.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.rules.reading import FUNCTIONS
from lbtwist.rules.values import VALUES, Kind, Value

_PREFIX = "VALUE_"
_BY_CODE = {_PREFIX + name.replace(".", "_DOT_"): value for name, value in VALUES.items()}


def named(value: Value) -> ast.Name:
    """@return: what stands for a value until it is known how often it is read."""
    return ast.Name(_PREFIX + value.name.replace(".", "_DOT_"), ast.Load())


def valueOf(code: ast.expr) -> Value:
    """@return: the value that code of L{named} stands for."""
    assert isinstance(code, ast.Name)
    return _BY_CODE[code.id]


@attr.frozen(eq=False)
class Typed:
    """
    A checked expression.

    @ivar code: our own code for it; see L{named} and C{objects}.
    @ivar objects: what further names in it stand for.
    @ivar constant: its value, where it has always the same.
    @ivar groups: of L{Kind.MATCH}: the numbers and names of the groups there are.
    """

    code: ast.expr
    kind: Kind
    objects: Mapping[str, Any] = attr.field(factory=dict)
    constant: Any = None
    groups: frozenset[int | str] = frozenset()


def copied(node: Any) -> Any:
    """What L{copy.deepcopy} does, with a fraction of the calls within calls."""
    if isinstance(node, list):
        return [copied(one) for one in node]
    if not isinstance(node, ast.AST):
        return node
    return type(node)(**{name: copied(value) for name, value in ast.iter_fields(node)})


class Filled(ast.NodeTransformer):
    """Puts code in the place of names."""

    def __init__(self, parts: Mapping[str, ast.expr]) -> None:
        self._parts = parts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._parts.get(node.id, node)


class _Placed(ast.NodeTransformer):
    """Puts the code that reads them in the place of values."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = _BY_CODE.get(node.id)
        return node if value is None else self._function.read(value)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        written = ast.dump(node)
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in _KEPT_CALLS:
            return self._function.keep(written, node.func.id, node)
        return node


# What rules ask for more than once, by one name: its result is kept as that of values is.
_KEPT_CALLS = frozenset({"field"})

_LOCALS = {
    "connection": "exchange.connection",
    "head": "exchange.request",
    "response": "exchange.response",
}


class Function:
    """
    A Python function made of checked expressions. Values that cost something are read once,
    when they are first needed.

    @ivar names: all that the function's code can reach.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = dict(FUNCTIONS)
        self._kept: dict[str, str] = {}

    def code(self, typed: Typed) -> ast.expr:
        """@return: code to put into the function."""
        self.names.update(typed.objects)
        return self._placed(copied(typed.code))

    def object(self, name: str, value: Any) -> ast.Name:
        """@return: code for an object of ours."""
        self.names[name] = value
        return ast.Name(name, ast.Load())

    def _placed(self, code: ast.expr) -> ast.expr:
        found: ast.expr = _Placed(self).visit(code)
        return found

    def read(self, value: Value) -> ast.expr:
        """@return: the code that reads a value."""
        code = self._placed(ast.parse(value.code, mode="eval").body)
        if not value.kept:
            return code
        return self.keep(value.name, value.name.replace(".", "_"), code)

    def keep(self, what: str, name: str, code: ast.expr) -> ast.expr:
        """
        @param what: is the same wherever the code gives the same.
        @param name: begins that of the local variable.
        @return: code that runs it when it is first needed; it never gives L{None}.
        """
        if name in _KEPT_CALLS:
            name += f"_{len(self._kept)}"
        kept = self._kept.setdefault(what, f"kept_{name}")
        template = f"({kept} if {kept} is not None else ({kept} := CODE))"
        found: ast.expr = Filled({"CODE": code}).visit(ast.parse(template, mode="eval").body)
        return found

    @property
    def forget(self) -> list[ast.stmt]:
        """Statements after which every value that was asked for so far is read anew."""
        if not self._kept:
            return []
        return ast.parse(" = ".join(self._kept.values()) + " = None").body

    def made(
        self, name: str, body: list[ast.stmt], file: str = "<rules>"
    ) -> Callable[[Any], Any]:
        """
        @param body: statements over C{exchange}.
        @param file: what tracebacks name.
        @return: the function of an exchange.
        """
        used = {node.id for one in body for node in ast.walk(one) if isinstance(node, ast.Name)}
        begin = [f"{local} = {code}" for local, code in _LOCALS.items() if local in used]
        module = ast.parse(f"def {name}(exchange):\n    pass")
        function = module.body[0]
        assert isinstance(function, ast.FunctionDef)
        function.body = [*ast.parse("\n".join(begin)).body, *self.forget, *body]
        ast.fix_missing_locations(module)
        # What is built in is out of its reach.
        space: dict[str, Any] = {**self.names, "__builtins__": {}}
        exec(compile(module, file, "exec"), space)
        found: Callable[[Any], Any] = space[name]
        return found


def compiled(typed: Typed) -> Callable[[Any], Any]:
    """@return: what an expression is for an exchange."""
    function = Function()
    return function.made("asValue", [ast.Return(function.code(typed))])
