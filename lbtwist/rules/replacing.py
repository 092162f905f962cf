"""
A regular expression and what takes the place of what it is found in, as the verbs
C{replace-...} have them.

As in HAProxy the whole value is replaced where the expression is found anywhere in it,
and C{\\1} in the text is what its first group has matched. What expressions in the text
give is put in as it is: a client cannot write C{\\1}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lbtwist.exchange import Exchange
from lbtwist.options import Pattern
from lbtwist.rules.expression import Scope
from lbtwist.rules.patterns import slowness
from lbtwist.rules.template import Template

Replaced = Callable[[str, Exchange], "str | None"]
"""Given a value: what takes its place, L{None} if the expression is not found in it."""

_REFERENCE = re.compile(r"\\(.?)", re.DOTALL)


class SafePattern(Pattern):
    """A regular expression that can be tried on what clients send."""

    def parse(self, text: str) -> re.Pattern[str]:
        found = super().parse(text)
        wrong = slowness(text)
        if wrong:
            raise ValueError(wrong)
        return found


def pieces(plain: str, groups: int) -> list[str | int]:
    """
    @param plain: text without expressions.
    @param groups: how many the regular expression has.
    @return: text, and the numbers of groups.
    @raise ValueError: for a reference to what there is not.
    """
    found: list[str | int] = []
    at = 0
    for reference in _REFERENCE.finditer(plain):
        found.append(plain[at : reference.start()])
        at = reference.end()
        said = reference[1]
        if said == "\\":
            found.append("\\")
        elif not ("0" <= said <= "9"):
            raise ValueError(
                f"{reference[0]!r} means nothing: \\0 to \\9 is what a group has matched, \\\\ is"
                " a plain one"
            )
        elif int(said) > groups:
            raise ValueError(f"there is no group {said}: the regular expression has {groups}")
        else:
            found.append(int(said))
    found.append(plain[at:])
    return [one for one in found if one != ""]


def checkText(template: Template, regex: re.Pattern[str]) -> None:
    """@raise ValueError: for a reference to a group that there is not."""
    for part in template.parts:
        if isinstance(part, str):
            pieces(part, regex.groups)


def replacement(regex: re.Pattern[str], template: Template, scope: Scope) -> Replaced:
    """
    @param template: what L{checkText} has found good.
    @raise ExpressionError: if an expression in it cannot be asked there.
    """
    search = regex.search
    parts: list[Any] = []
    for part in template.parts:
        if isinstance(part, str):
            parts += pieces(part, regex.groups)
        else:
            parts.append(Template(template.text, (part,)).compiled(scope))

    def replaced(said: str, exchange: Exchange) -> str | None:
        found = search(said)
        if found is None:
            return None
        return "".join([
            part if isinstance(part, str)
            else found[part] or "" if isinstance(part, int)
            else part(exchange)
            for part in parts
        ])  # fmt: skip

    return replaced


# A comma between quotes does not separate (RFC 9110 section 5.6.4).
_ELEMENT = re.compile(r'(?:[^",]++|"(?:[^"\\]++|\\.)*+"?)++')


def eachReplaced(replaced: Replaced, said: str, exchange: Exchange) -> str | None:
    """
    @param said: elements, separated by commas.
    @return: with each of them replaced where it stands, L{None} if none was.
    """
    same = True

    def element(found: re.Match[str]) -> str:
        nonlocal same
        whole = found[0]
        stripped = whole.strip(" \t")
        other = replaced(stripped, exchange) if stripped else None
        if other is None:
            return whole
        same = False
        begin = whole.index(stripped)
        return whole[:begin] + other + whole[begin + len(stripped) :]

    changed = _ELEMENT.sub(element, said)
    return None if same else changed
