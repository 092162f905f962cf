"""
What every check of an expression needs: where the expression stands, what may be wrong
with it, and how code of ours is made. What the language has is not known here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import attr

from lbtwist.rules.compiling import Filled, Typed
from lbtwist.rules.tables import Entries
from lbtwist.rules.values import Kind, Stage

if TYPE_CHECKING:
    from lbtwist.rules.expression import Expression

DEEPEST = 50
"""How deeply an expression may be nested, the named conditions in it among them."""

MOST_PARTS = 10_000
"""Parts of one expression, those of the named conditions in it among them."""

MOST_GROWTH = 256
"""How many times as long as what a client sends the texts of an expression can become."""


class ExpressionError(ValueError):
    """
    An expression that cannot be accepted.

    @ivar at: the character of the expression that it is about, counted from 0.
    """

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.at = at


def _noPool(name: str) -> NoReturn:
    raise KeyError(name)


def _noFile(name: str) -> NoReturn:
    raise ValueError("no files are read here")


def _ownEntries(name: str, isMap: bool, content: str) -> Entries:
    return Entries(content, isMap)


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
    @ivar entries: of a file the entries, by its name, whether it is a map, and what C{read}
        gave for it. Raises L{ValueError}.
    """

    stage: Stage
    http: bool = True
    conditions: Mapping[str, Expression] = attr.field(factory=dict)
    read: Callable[[str], str] = _noFile
    pool: Callable[[str], Any] = _noPool
    seconds: Callable[[], float] = lambda: 0.0
    entries: Callable[[str, bool, str], Entries] = _ownEntries


@attr.define(eq=False)
class _Whole:
    """What counts for an expression and all conditions in it together."""

    objects: dict[str, Any] = attr.field(factory=dict)
    parts: int = 0
    growth: int = 1


class Checking:
    """
    One expression while it is checked. Its operators are in
    L{lbtwist.rules.operators}, its functions in L{lbtwist.rules.functions}.

    @ivar text: as it was written.
    @ivar scope: where it stands.
    """

    def __init__(self, text: str, scope: Scope) -> None:
        self.text = text
        self.scope = scope
        self._within: tuple[str, ...] = ()
        self._depth = 0
        self._whole = _Whole()

    def checked(self, tree: ast.expr) -> Typed:
        """@raise ExpressionError: if it cannot be asked there."""
        found = self.any(tree)
        return attr.evolve(found, objects=self._whole.objects)

    def read(self, node: ast.expr) -> Typed:
        """
        What one node is; asks L{any} for what it is made of.

        @raise ExpressionError: if it is not part of the language.
        """
        raise NotImplementedError

    def any(self, node: ast.expr) -> Typed:
        """@return: what a node is, whatever that may be."""
        if self._depth >= DEEPEST:
            self.refuse(node, "it is nested too deeply")
        self._whole.parts += 1
        if self._whole.parts > MOST_PARTS:
            self.refuse(node, "it has too many parts")
        self._depth += 1
        try:
            return self.read(node)
        finally:
            self._depth -= 1

    def condition(self, name: str, node: ast.expr) -> Typed:
        """@return: what a named condition is."""
        if name in self._within:
            self.refuse(node, f"the condition {name!r} asks for itself")
        condition = self.scope.conditions[name]
        other = self.inside(condition.text)
        other._within = (*self._within, name)
        other._depth = self._depth
        other._whole = self._whole
        try:
            return other.any(condition.tree)
        except ExpressionError as error:
            self.refuse(node, f"the condition {name!r} cannot be asked here: {error}")

    def inside(self, text: str) -> Checking:
        """@return: the same for the text of a named condition."""
        return type(self)(text, self.scope)

    # what is wrong

    def refuse(self, node: ast.AST, message: str) -> NoReturn:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        before = self.text.split("\n")[: line - 1]
        rest = self.text.split("\n")[line - 1].encode("utf-8", "surrogatepass")[:column]
        at = sum(len(one) + 1 for one in before) + len(rest.decode("utf-8", "ignore"))
        raise ExpressionError(message, at)

    def written(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or "this"

    # what is needed

    def need(self, node: ast.expr, kind: Kind) -> Typed:
        return self.fitting(node, self.any(node), kind)

    def fitting(self, node: ast.expr, found: Typed, kind: Kind) -> Typed:
        """@param found: what the node is."""
        if found.kind is kind or (kind is Kind.TEXT and found.kind is Kind.ADDRESS):
            return found
        written = self.written(node)
        self.refuse(
            node, f"{written} is {found.kind.value}, {kind.value} is needed here"
            + converted(found.kind, kind, written),
        )  # fmt: skip

    def truth(self, node: ast.expr) -> Typed:
        """@return: what is true or false: a text that is not empty, a number that is not 0."""
        return self.holding(node, self.any(node))

    def holding(self, node: ast.expr, found: Typed) -> Typed:
        """@param found: what the node is."""
        if found.kind in (Kind.NETWORKS, Kind.FIELDS):
            hint = 'write src in net("...")'
            if found.kind is Kind.FIELDS:
                hint = f'write "NAME" in {self.written(node)}'
            self.refuse(
                node, f"{self.written(node)} is {found.kind.value}, neither true nor false: {hint}"
            )
        if found.constant is not None and found.kind is not Kind.TRUTH:
            self.refuse(node, f"{self.written(node)} is always the same: compare it with something")
        return found

    def constant(self, node: ast.expr, what: str) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if any("\ud800" <= char <= "\udfff" for char in node.value):
                self.refuse(node, "half of a character is no text")
            return node.value
        self.refuse(node, f"{what} is written between quotes, it cannot be computed")

    def grow(self, node: ast.expr, times: int) -> None:
        """@param times: how many times as long a text may become by this part."""
        self._whole.growth *= max(times, 1)
        if self._whole.growth > MOST_GROWTH:
            self.refuse(
                node, f"it could make what a client sends more than {MOST_GROWTH} times as long"
            )

    # code of ours

    def object(self, value: Any) -> ast.expr:
        """@return: the code for an object of ours."""
        name = f"OBJECT_{id(value)}"
        self._whole.objects[name] = value
        return ast.Name(name, ast.Load())

    def isObject(self, code: ast.expr) -> bool:
        """Whether code is that of L{object}."""
        return isinstance(code, ast.Name) and code.id in self._whole.objects

    def code(self, template: str, **parts: ast.expr) -> ast.expr:
        """@return: code of ours, with that of parts in place of their names."""
        return Filled(parts).visit(ast.parse(template, mode="eval").body)  # type: ignore[no-any-return]


def converted(kind: Kind, needed: Kind, written: str) -> str:
    """@return: how it can be made what is needed."""
    if (kind, needed) == (Kind.TEXT, Kind.NUMBER):
        return f": write number({written})"
    if (kind, needed) == (Kind.NUMBER, Kind.TEXT):
        return f": write str({written})"
    return ""
