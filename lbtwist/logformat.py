"""
HAProxy's log-format language (its manual, 8.2.6): text to a list of items, and what is
wrong with them. L{lbtwist.logline} makes a function of them.

    %ci:%cp [%tr] %ft %b/%s %ST %{+Q}r %[header["user-agent"]]

C{%} and a name is one of the L{ALIASES}; C{%[...]} is an expression of our own rules, not
one of HAProxy's; C{%%} is a percent sign. Before either there may be a name for C{+json},
as C{%(status:str)ST}, and flags. Those of C{%o} are for all that follows. Several spaces
are one, as in HAProxy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.errors import NOWHERE, Position
from lbtwist.logalias import ALIASES
from lbtwist.options import suggestion
from lbtwist.rules.compiling import Typed
from lbtwist.rules.expression import Expression, ExpressionError, Scope
from lbtwist.rules.template import closing

LONGEST = 16384
"""Characters of one format."""

FLAGS = {"Q": "quote", "X": "hexadecimal", "E": "escape", "json": "json"}
TYPES = ("str", "sint", "bool")


@attr.frozen
class Flags:
    """
    @ivar quote: a text stands between quotes.
    @ivar hexadecimal: so are addresses, ports and some numbers.
    @ivar escape: C{"}, C{\\} and C{]} get a backslash.
    @ivar json: the value is one of JSON.
    """

    quote: bool = False
    hexadecimal: bool = False
    escape: bool = False
    json: bool = False


@attr.frozen
class Item:
    """
    A value in a format.

    @ivar what: the name of an alias, or an expression.
    @ivar name: for JSON, C{""} for none.
    @ivar kind: of L{TYPES}, C{""} for its own.
    @ivar at: where it begins in the text; of an expression, where that begins.
    @ivar where: the same in a file.
    """

    what: str | Expression
    flags: Flags
    name: str = ""
    kind: str = ""
    at: int = 0
    where: Position = attr.field(default=NOWHERE, eq=False, repr=False)


@attr.frozen
class LogFormat:
    """
    A format. Two that are written alike are equal.

    @ivar text: as it was written.
    @ivar items: plain text and values, in order.
    @ivar wholly: whether it is a JSON object of its named values.
    """

    text: str
    items: tuple[str | Item, ...] = attr.field(eq=False, repr=False)
    wholly: bool = attr.field(default=False, eq=False, repr=False)
    where: Position = attr.field(default=NOWHERE, eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> LogFormat:
        """@raise ExpressionError: if it is none."""
        if len(text) > LONGEST:
            raise ExpressionError(f"it is longer than {LONGEST} characters")
        return _Parsing(text).format()

    @property
    def expressions(self) -> list[Expression]:
        found = [item.what for item in self.items if isinstance(item, Item)]
        return [what for what in found if isinstance(what, Expression)]

    def check(self, scope: Scope) -> list[tuple[Position, str]]:
        """
        @return: where something is wrong with it in a frontend, and what.
        """
        wrong = []
        for item in self.items:
            if isinstance(item, str):
                continue
            try:
                checked(item, scope)
            except ExpressionError as error:
                where = attr.evolve(item.where, column=item.where.column + error.at)
                wrong.append((where, str(error)))
        return wrong


_SD_FORM = re.compile(
    r'''(\[[!#-<>-\\^-~]{1,32}(\ [!#-<>-\\^-~]{1,32}="([^"\\\]]|\\["\\\]])*")*\])+''', re.VERBOSE
)


def structured(format: LogFormat) -> LogFormat:
    """
    @return: a format that writes the structured data of RFC 5424 section 6.3, whatever the
        values are: each is escaped.
    @raise ExpressionError: if it does not.
    """
    shown = []
    items: list[str | Item] = []
    for item in format.items:
        if isinstance(item, Item):
            if item.flags.quote or item.flags.json:
                wrong = "the quotes are written: name=\\\"%ST\\\", without +Q"
                raise ExpressionError(wrong, item.at)
            item = attr.evolve(item, flags=attr.evolve(item.flags, escape=True))
        items.append(item)
        shown.append("x" if isinstance(item, Item) else item)
    if _SD_FORM.fullmatch("".join(shown)) is None:
        raise ExpressionError('it is no structured data: write [ID@NUMBER name=\\"%ST\\" ...]')
    return attr.evolve(format, items=tuple(items))


def checked(item: Item, scope: Scope) -> Typed | None:
    """
    @return: the expression of an item, if it has one.
    @raise ExpressionError: if it says nothing in a frontend.
    """
    if isinstance(item.what, str):
        if ALIASES[item.what].http and not scope.http:
            raise ExpressionError(f"%{item.what} says nothing in mode = tcp")
        return None
    return item.what.check(scope)


_HEAD = re.compile(r"%(?:\((?P<name>[^)]*)(?P<named>\))?)?(?:\{(?P<flags>[^}]*)(?P<flagged>\})?)?")
_PLAIN = re.compile(r"[^%]+")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class _Parsing:
    """Reads one format, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._items: list[str | Item] = []
        self._usual = Flags()
        self._wholly: bool | None = None

    def format(self) -> LogFormat:
        at = 0
        while at < len(self._text):
            plain = _PLAIN.match(self._text, at)
            if plain is not None:
                self._add(plain[0])
                at = plain.end()
            elif self._text.startswith("%%", at):
                self._add("%")
                at += 2
            else:
                at = self._value(at)
        wholly = bool(self._wholly)
        if wholly:
            self._needNames()
        return LogFormat(self._text, tuple(self._items), wholly)

    def _needNames(self) -> None:
        names = [one.name for one in self._items if isinstance(one, Item) and one.name]
        if not names:
            raise ExpressionError("with +json the values that have names are written: %(NAME)ST")
        for item in self._items:
            if isinstance(item, Item) and names.count(item.name) > 1:
                raise ExpressionError(f"the name {item.name!r} is there twice", item.at)

    def _add(self, plain: str) -> None:
        if self._items and isinstance(self._items[-1], str):
            plain = self._items.pop() + plain  # type: ignore[operator]
        self._items.append(plain)

    def _value(self, at: int) -> int:
        """@return: where what follows begins."""
        text = self._text
        head = _HEAD.match(text, at)
        assert head is not None
        if head["name"] is not None and not head["named"]:
            raise ExpressionError("there is a '%(' without its ')'", at)
        if head["flags"] is not None and not head["flagged"]:
            raise ExpressionError("there is a '%{' without its '}'", at)
        name, _, kind = self._named(head)
        flags = self._flags(head)
        start = head.end()
        if text.startswith("[", start):
            end = closing(text, start, "there is a '%[' without its ']'")
            said = text[start + 1 : end]
            begin = end - len(said.lstrip())
            try:
                expression = Expression.parse(said.strip() or "''")
            except ExpressionError as error:
                raise ExpressionError(str(error), begin + error.at) from None
            self._items.append(Item(expression, flags, name, kind, begin))
            return end + 1
        alias = _ALIAS.match(text, start)
        if alias is None:
            raise ExpressionError("a name or [EXPRESSION] follows %: a plain % is %%", at)
        if alias[0] not in ALIASES:
            hint = suggestion(f"%{alias[0]}", [f"%{name}" for name in ALIASES])
            hint = hint or "; a plain % is %%"
            raise ExpressionError(f"there is no %{alias[0]}{hint}", start)
        if alias[0] == "o":
            self._usual = flags
            self._wholly = flags.json and self._wholly is not False
        else:
            self._items.append(Item(alias[0], flags, name, kind, start))
        return alias.end()

    def _named(self, head: re.Match[str]) -> tuple[str, str, str]:
        found = head["name"]
        if found is None:
            return "", "", ""
        name, colon, kind = found.partition(":")
        if not _NAME.fullmatch(name):
            raise ExpressionError(
                f"{name!r} is not a name: letters, digits, - and _ are accepted",
                head.start("name"),
            )
        if colon and kind not in TYPES:
            hint = suggestion(kind, TYPES)
            raise ExpressionError(f"there is no type {kind!r}{hint}", head.end("name") - len(kind))
        return name, colon, kind

    def _flags(self, head: re.Match[str]) -> Flags:
        flags = self._usual
        if not head["flags"]:
            return flags
        at = head.start("flags")
        for word in head["flags"].split(","):
            flag = word.strip()
            if flag[:1] not in ("+", "-") or flag[1:] not in FLAGS:
                known = [sign + one for one in FLAGS for sign in "+-"]
                hint = suggestion(flag, known)
                raise ExpressionError(f"there is no flag {flag!r}{hint}", at)
            wanted = flag[0] == "+"
            changes: dict[str, Any] = {FLAGS[flag[1:]]: wanted}
            flags = attr.evolve(flags, **changes)
            at += len(word) + 1
        return flags


HTTP = (
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc"
    " %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"
)
NAMED: Mapping[str, str] = {
    "http": HTTP,
    "tcp": "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq",
    "https": HTTP
    + ' 0/%["0000000000000000" if tls else ""]/%[str(tls.client.verify) if tls else ""]'
    '/%["0" if tls else ""]/%[tls.resumed] %[tls.sni]/%sslv/%sslc',
    "clf": '%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta'
    " %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl",
    "clf_proxy": "%ci - - [%trl] %{+Q}r %ST %B"
    ' "%[header["referer"]]" "%[header["user-agent"]]"',
}  # fmt: skip
"""
Formats that have a name: those of HAProxy's C{httplog}, C{tcplog}, C{httpslog} and C{httplog
clf}, and the one that web servers behind a PROXY header are used to.
"""

ALSO = {"httplog": "http", "tcplog": "tcp", "httpslog": "https"}
"""Other names of some of them."""

WORDS = ("auto", "http", "tcp", "json", "httplog", "tcplog", "httpslog", "clf", "clf_proxy")
"""What C{format=} takes."""

Format = Callable[[Any], str]
