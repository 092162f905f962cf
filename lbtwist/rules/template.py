"""
Text with expressions in it: C{https://{host}{uri}}. C{{{} and C{}}} are braces.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import attr

from lbtwist.options import Kind as OptionKind
from lbtwist.rules.compiling import Function
from lbtwist.rules.expression import Expression, ExpressionError, Scope
from lbtwist.rules.values import Kind


@attr.frozen
class Template:
    """
    @ivar text: as it was written.
    @ivar parts: plain text, and expressions with where they begin in the text.
    """

    text: str
    parts: tuple[str | tuple[int, Expression], ...] = attr.field(eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Template:
        """@raise ExpressionError: if it is none."""
        parts: list[str | tuple[int, Expression]] = []
        plain = ""
        at = 0
        while at < len(text):
            char = text[at]
            if char in "{}" and text[at : at + 2] == char * 2:
                plain += char
                at += 2
            elif char == "{":
                end = closing(text, at)
                if plain:
                    parts.append(plain)
                    plain = ""
                said = text[at + 1 : end]
                begin = end - len(said.lstrip())
                try:
                    parts.append((begin, Expression.parse(said.strip() or "''")))
                except ExpressionError as error:
                    raise ExpressionError(str(error), begin + error.at) from None
                at = end + 1
            elif char == "}":
                raise ExpressionError("there is a '}' without its '{': a plain one is '}}'", at)
            else:
                plain += char
                at += 1
        if plain or not parts:
            parts.append(plain)
        return cls(text, tuple(parts))

    @property
    def constant(self) -> str | None:
        """The text, where no expression is in it."""
        found = self.parts[0]
        return found if len(self.parts) == 1 and isinstance(found, str) else None

    def code(self, scope: Scope, function: Function) -> ast.expr:
        """
        @return: the code of its text, for a function.
        @raise ExpressionError: if an expression cannot be asked there.
        """
        pieces: list[ast.expr] = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(ast.Constant(part))
                continue
            at, expression = part
            try:
                typed = expression.check(scope)
                code = function.code(typed)
                if typed.kind is Kind.TRUTH:
                    code = ast.IfExp(code, ast.Constant("1"), ast.Constant("0"))
                elif typed.kind is Kind.TEXTS:
                    code = ast.Call(ast.Name("joined", ast.Load()), [code], [])
                elif typed.kind is Kind.MATCH:
                    code = ast.Call(
                        ast.Name("matched", ast.Load()), [code, ast.Constant(0)], []
                    )
            except ExpressionError as error:
                raise ExpressionError(str(error), at + error.at) from None
            pieces.append(ast.FormattedValue(code, -1))
        return ast.JoinedStr(pieces)

    def compiled(self, scope: Scope) -> Callable[[Any], str]:
        """
        @return: its text for an exchange.
        @raise ExpressionError: if an expression cannot be asked there.
        """
        constant = self.constant
        if constant is not None:
            return lambda exchange: constant
        function = Function()
        return function.made("asText", [ast.Return(self.code(scope, function))])


_NOT_CLOSED = "there is a '{' without its '}': a plain one is '{{'"
_MATES = {"{": "}", "[": "]", "(": ")"}


def closing(text: str, at: int, complaint: str = _NOT_CLOSED) -> int:
    """
    @param at: where a brace or a bracket opens.
    @return: where it closes; those between quotes do not count.
    @raise ExpressionError: with C{complaint}, if it does not.
    """
    opening = text[at]
    mate = _MATES[opening]
    quote = ""
    depth = 0
    index = at
    while index < len(text):
        char = text[index]
        if quote:
            if char == "\\":
                index += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == opening:
            depth += 1
        elif char == mate:
            depth -= 1
            if not depth:
                return index
        index += 1
    raise ExpressionError(complaint, at)


class Templated(OptionKind[Template]):
    """Text with expressions in it, as the options of verbs are declared."""

    form = "TEXT"

    def parse(self, text: str) -> Template:
        return Template.parse(text)


class Asked(OptionKind[Expression]):
    """An expression, as the options of verbs are declared."""

    form = "EXPRESSION"

    def parse(self, text: str) -> Expression:
        return Expression.parse(text)
