"""
From a log-format to the function that writes a line of it.

A format is one Python function, made when the configuration is built: a template and the
code of its values. What several items need, such as the timers, is computed once; what
none needs is not computed.
"""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterable, Sequence
from itertools import count

import attr

from lbtwist.logalias import (
    ALIASES,
    DATES,
    NAMES,
    OBJECTS,
    PARTS,
    SESSION_TIMERS,
    TIMERS,
    Alias,
    Form,
)
from lbtwist.logformat import Format, Item, LogFormat, checked
from lbtwist.logvalues import Clock, dates, said
from lbtwist.rules.compiling import Function, Typed
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Kind


@attr.frozen
class Surroundings:
    """
    Where lines are written.

    @ivar clock: of the exchanges, in seconds.
    @ivar wallclock: seconds since 1970, as L{time.time}.
    @ivar session: whether an exchange is a whole session, as in C{mode = tcp}.
    @ivar request: the names of what is captured of requests, in the order of C{%hr}.
    @ivar response: the same of responses, for C{%hs}.
    """

    clock: Clock
    wallclock: Clock
    session: bool = False
    request: tuple[str, ...] = ()
    response: tuple[str, ...] = ()


@attr.frozen(eq=False)
class _Number:
    """Code that gives a whole number, whatever happens."""

    code: ast.expr


_Piece = list[str | ast.expr | _Number]


class _Renamed(ast.NodeTransformer):
    """Keeps our names apart from those of expressions."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"log_{node.id}", node.ctx) if node.id in NAMES else node


def _statements(source: str) -> list[ast.stmt]:
    tree: ast.Module = _Renamed().visit(ast.parse(source))
    return tree.body


def _code(source: str) -> ast.expr:
    tree: ast.Expression = _Renamed().visit(ast.parse(source, mode="eval"))
    return tree.body


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_code(name), list(arguments), [])


def _used(nodes: Iterable[ast.AST]) -> set[str]:
    return {one.id for node in nodes for one in ast.walk(node) if isinstance(one, ast.Name)}


def lineOf(format: LogFormat, scope: Scope, surroundings: Surroundings) -> Format:
    """
    @return: makes a line, without its end, of an exchange that has ended.
    @raise ExpressionError: if an expression cannot be asked there.
    """
    return _Making(format, scope, surroundings).made()


class _Making:
    """Makes the function of one format."""

    def __init__(self, format: LogFormat, scope: Scope, surroundings: Surroundings) -> None:
        self._format = format
        self._scope = scope
        self._surroundings = surroundings
        self._function = Function()
        self._parts: _Piece = []
        # What was written last: a space, something else, or values that may be empty.
        self._blank: bool | list[ast.expr] = True

    def made(self) -> Format:
        if self._format.wholly:
            self._object()
        else:
            for item in self._format.items:
                if isinstance(item, str):
                    self._text(item)
                else:
                    self._value(item)
        template = ""
        values: list[ast.expr] = []
        for part in self._parts:
            if isinstance(part, str):
                template += part.replace("%", "%%")
                continue
            # Measured: of numbers it is faster than an f-string.
            template += "%d" if isinstance(part, _Number) else "%s"
            values.append(part.code if isinstance(part, _Number) else part)
        filled = ast.BinOp(ast.Constant(template), ast.Mod(), ast.Tuple(values, ast.Load()))
        line = ast.Return(filled)
        return self._function.made("asLine", [*self._begin(line), line], "<log-format>")

    def _begin(self, line: ast.stmt) -> list[ast.stmt]:
        """@return: what has to be known before a line can be written."""
        surroundings = self._surroundings
        order = (*(SESSION_TIMERS if surroundings.session else TIMERS), *PARTS)
        needed = _used([line])
        chosen: list[list[ast.stmt]] = []
        for names, source in reversed(order):
            if needed & {f"log_{name}" for name in names.split()}:
                statements = _statements(source)
                needed |= _used(statements)
                chosen.append(statements)
        objects = {
            **OBJECTS, "session": surroundings.session, "hostname": said(socket.gethostname()),
            "counted": count().__next__,
        }  # fmt: skip
        for name, (render, fractions) in DATES.items():
            if f"log_{name}" in needed:
                objects[name] = dates(
                    surroundings.clock, surroundings.wallclock, render, fractions
                )
        for name, value in objects.items():
            if f"log_{name}" in needed:
                self._function.object(f"log_{name}", value)
        return [one for statements in reversed(chosen) for one in statements]

    # plain text and its spaces

    def _text(self, text: str) -> None:
        for index, piece in enumerate(text.split(" ")):
            if index:
                self._space()
            if piece:
                self._parts.append(piece)
                self._blank = False

    def _space(self) -> None:
        if self._blank is False:
            self._parts.append(" ")
        elif self._blank is not True:
            written = ast.BoolOp(ast.Or(), [*self._blank, ast.Constant("")])
            self._parts.append(ast.IfExp(written, ast.Constant(" "), ast.Constant("")))
        self._blank = True

    def _value(self, item: Item) -> None:
        piece = self._piece(item)
        if not piece:
            return
        flags = item.flags
        if self._mayBeEmpty(item) and not (flags.quote or flags.json):
            [value] = piece
            assert isinstance(value, ast.expr)
            local = f"empty_{len(self._parts)}"
            self._parts.append(ast.NamedExpr(ast.Name(local, ast.Store()), value))
            if self._blank is not False:
                known = [] if self._blank is True else self._blank
                self._blank = [*known, ast.Name(local, ast.Load())]
            return
        self._parts += piece
        self._blank = False

    @staticmethod
    def _mayBeEmpty(item: Item) -> bool:
        alias = ALIASES[item.what] if isinstance(item.what, str) else None
        return alias is not None and alias.form is Form.MESSAGE and alias.empty

    def _object(self) -> None:
        """All of it is an object of the values that have names."""
        separator = "{"
        for item in self._format.items:
            if isinstance(item, Item) and item.name:
                self._parts.append(f'{separator}"{item.name}": ')
                # What is all JSON is so wherever %{+json}o stands.
                inJSON = attr.evolve(item, flags=attr.evolve(item.flags, json=True))
                self._parts += self._piece(inJSON) or ["null"]
                separator = ", "
        self._parts.append("}")

    # values

    def _piece(self, item: Item) -> _Piece:
        """@return: what a value adds to the line."""
        typed = checked(item, self._scope)
        if typed is not None:
            return self._asked(item, typed)
        assert isinstance(item.what, str)
        alias = ALIASES[item.what]
        flags = item.flags
        form = alias.form
        if form in (Form.CAPTURES, Form.LIST):
            return self._captures(item, alias.code, form)
        if flags.hexadecimal and alias.hexadecimal:
            return self._hexadecimal(item, alias)
        if form is Form.NUMBER:
            return self._number(item, alias)
        value = _code(alias.code)
        if flags.json:
            return [_call("quoted", value)]
        if form is Form.PLAIN:
            return _apart(value)
        if flags.escape:
            value = _call("backslashed", value)
        return self._quoted(item, value, alias.empty and form is Form.TEXT)

    @staticmethod
    def _hexadecimal(item: Item, alias: Alias) -> _Piece:
        """As it is in HAProxy, quotes are for JSON only."""
        code = f"'' if {alias.code} == '' else {alias.hexadecimal}"
        value = _code(code if alias.empty else alias.hexadecimal)
        if item.flags.json:
            return [_call("quoted", value)]
        if alias.empty:
            nothing = '""' if item.flags.quote else "-"
            return [ast.BoolOp(ast.Or(), [value, ast.Constant(nothing)])]
        return [value]

    @staticmethod
    def _quoted(item: Item, value: ast.expr, empty: bool) -> _Piece:
        """@param empty: whether what is empty is written as C{-}."""
        if item.flags.quote:
            return ['"', *_apart(value), '"']
        if isinstance(value, ast.Constant):
            return [str(value.value) or "-"]
        if empty:
            return [ast.BoolOp(ast.Or(), [value, ast.Constant("-")])]
        return _apart(value)

    @staticmethod
    def _number(item: Item, alias: Alias) -> _Piece:
        code = alias.code
        json = item.flags.json
        if json and item.kind in ("str", "bool"):
            number = alias.number or code
            number = f"None if {number} == '' else {number}" if alias.empty else number
            return [_call("valueAsJSON", _code(number), ast.Constant(item.kind))]
        if alias.empty:
            nothing = '""' if item.flags.quote or json else "-"
            return [_code(f"{nothing!r} if {code} == '' else {code}")]
        if alias.number:
            return [_code(alias.number if json else code)]
        return [_Number(_code(code))]

    def _captures(self, item: Item, kind: str, form: Form) -> _Piece:
        names = getattr(self._surroundings, kind)
        if not names:
            return []
        flags = item.flags
        several = form is Form.LIST
        nothing = "-" if several and not flags.quote else ""
        values = []
        for name in names:
            value = _code(f"captured(PART) if (PART := {kind}.get({name!r})) else {nothing!r}")
            if flags.json:
                value = _call("quoted", value) if several else _escapedForJSON(value)
            elif flags.escape:
                value = _call("backslashed", value)
            values.append(value)
        around = '"' if flags.quote or flags.json else ""
        if several:
            if flags.json:
                return ["[", *_between(values, ", "), "]"]
            return [around, *_between(values, f"{around} {around}"), around]
        return [around + "{", *_between(values, "|"), "}" + around]

    def _asked(self, item: Item, typed: Typed) -> _Piece:
        code = self._function.code(typed)
        flags = item.flags
        kind = typed.kind
        if kind is Kind.TEXTS:
            code = ast.Call(ast.Name("joined", ast.Load()), [code], [])
        elif kind is Kind.MATCH:
            code = ast.Call(ast.Name("matched", ast.Load()), [code, ast.Constant(0)], [])
        # A request or a response may not have come.
        heads = sorted(_used([code]) & {"head", "response"})
        if flags.json:
            if kind is Kind.TRUTH:
                code = ast.Call(ast.Name("log_truth", ast.Load()), [code], [])
                self._function.object("log_truth", bool)
            return [_call("valueAsJSON", _where(heads, code, None), ast.Constant(item.kind))]
        if kind is Kind.TRUTH:
            code = ast.IfExp(code, ast.Constant("1"), ast.Constant("0"))
        elif kind is Kind.NUMBER:
            code = ast.Call(_code("str"), [code], [])
        else:
            code = _call("said", code)
            if flags.escape:
                code = _call("backslashed", code)
        mayBeEmpty = bool(heads) or kind not in (Kind.TRUTH, Kind.NUMBER)
        return self._quoted(item, _where(heads, code, ""), mayBeEmpty)


def _apart(value: ast.expr) -> _Piece:
    """@return: the texts that are added up, each as a piece of its own."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return [*_apart(value.left), *_apart(value.right)]
    if isinstance(value, ast.Constant):
        return [str(value.value)]
    return [value]


def _where(heads: Sequence[str], code: ast.expr, otherwise: str | None) -> ast.expr:
    """@return: the code, where these heads are there."""
    for head in heads:
        test = ast.Compare(ast.Name(head, ast.Load()), [ast.IsNot()], [ast.Constant(None)])
        code = ast.IfExp(test, code, ast.Constant(otherwise))
    return code


def _escapedForJSON(value: ast.expr) -> ast.expr:
    return ast.Call(
        ast.Attribute(value, "replace", ast.Load()), [ast.Constant("\\"), ast.Constant("\\\\")], []
    )


def _between(values: Sequence[ast.expr], separator: str) -> _Piece:
    found: _Piece = []
    for value in values:
        if found:
            found.append(separator)
        found.append(value)
    return found
