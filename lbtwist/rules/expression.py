"""
The language of conditions: a part of Python's expressions, checked and typed when the
configuration is loaded, compiled once.

Nothing of what a user writes is ever evaluated: of a checked expression a new one is made
of our own code, constants, and names that are on our lists. There are no attributes, no
calls, no loops but those. What comes of it cannot raise for anything a client sends, and
costs time and memory in proportion to what is sent.

    path.startswith("/admin") and src not in net("10.0.0.0/8")

Names are compared with our lists as Python reads them, which takes letters of other
widths and the like for plain ones (PEP 3131).
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings

import attr

from lbtwist.rules.checking import ExpressionError as ExpressionError
from lbtwist.rules.checking import Scope as Scope
from lbtwist.rules.compiling import Typed
from lbtwist.rules.functions import FUNCTIONS
from lbtwist.rules.operators import Checker
from lbtwist.rules.values import VALUES, Kind

LONGEST = 8192
"""Characters of one expression."""

NAMES = frozenset((*(name.split(".")[0] for name in VALUES), *FUNCTIONS))
"""What has a meaning in every expression."""


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
            with warnings.catch_warnings():
                # A backslash that escapes nothing is one, as in regular expressions.
                warnings.simplefilter("ignore")
                tree = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            before = text.split("\n")[: (error.lineno or 1) - 1]
            message = (error.msg or "").partition(";")[0]
            offset = error.offset or 0
            if not offset and message == "invalid syntax":
                # It ends too early.
                offset = len(text) + 1
            at = sum(len(one) + 1 for one in before) + max(offset - 1, 0)
            raise ExpressionError(
                f"it is not an expression: {message}", min(at, len(text))
            ) from None
        except (RecursionError, MemoryError, ValueError):
            raise ExpressionError("it is not an expression") from None
        _refuseComments(text)
        return cls(text, tree)

    def typed(self, scope: Scope) -> Typed:
        """
        Check what may be a part of an expression.

        @raise ExpressionError: if it cannot be asked there.
        """
        return Checker(self.text, scope).checked(self.tree)

    def check(self, scope: Scope) -> Typed:
        """
        Check what is a value by itself.

        @raise ExpressionError: if it cannot be asked there.
        """
        found = self.typed(scope)
        if found.kind is Kind.FIELDS:
            raise ExpressionError(
                f'{self.text} is texts by name, no value: write {self.text}["NAME"]'
            )
        if found.kind is Kind.NETWORKS:
            raise ExpressionError(f"{self.text} is networks, no value: write src in {self.text}")
        return found


def _refuseComments(text: str) -> None:
    """What looks like a part of a condition must not be left out."""
    if "#" not in text:
        return
    before = 0
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            before = sum(len(one) + 1 for one in lines[: line - 1])
            raise ExpressionError("there are no comments in an expression", before + column)
