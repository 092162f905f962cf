"""
Persistence by a cookie that says which server the client had: ours, or the server's with
something of ours in it.

The modes and their words are HAProxy's (its manual, C{cookie}); what a value means is
L{lbtwist.persistence.tokens}'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.interfaces import IPersistence, IResponseRule
from lbtwist.options import (
    CookieName,
    Flag,
    HostName,
    Kind,
    Path,
    Secret,
    Text,
    Time,
    Word,
    option,
)
from lbtwist.persistence.bond import Bond, Came, Went
from lbtwist.persistence.tokens import Said, Tokens
from lbtwist.sansio.cookies import Finder, SetCookie, change, every
from lbtwist.sansio.headers import Fields
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context

_SEPARATOR = b"~"

_MOST_READ = 5
"""Cookies of the name in one request that are looked at."""

_AHEAD = 86400
"""Seconds that a date may be in the future, because clocks differ."""


class _Attribute(Kind[tuple[str, ...]]):
    """A further attribute of a cookie: C{attr=Partitioned}, C{attr="Max-Age=3600"}."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[str, ...]:
        if re.fullmatch("[ -:<-~]+", text) is None:
            raise ValueError(f"{text!r} is not one attribute of a cookie")
        return (text,)


class _Domain(Kind[tuple[str, ...]]):
    """The domain of a cookie; a dot may be first. More than one are as many cookies."""

    form = "DOMAIN"
    repeats = True

    def parse(self, text: str) -> tuple[str, ...]:
        return (text[: len(text) - len(text.lstrip("."))] + HostName().parse(text.lstrip(".")),)


_OURS = ("indirect", "postonly", "preserve", "secure", "samesite", "domain", "attr")
_NOTHING = {
    "insert": (),
    "rewrite": _OURS,
    "prefix": (*_OURS, "maxidle", "maxlife"),
    "passive": (*_OURS, "maxidle", "maxlife", "nocache", "plain"),
}
"""By mode the options that say nothing: those of a cookie which is ours alone, and dates of one
that stays the server's."""


@attr.frozen
class CookieOptions:
    name: bytes = option(CookieName(), doc="Of the cookie.", positional=True)
    mode: str = option(
        Word("insert", "rewrite", "prefix", "passive"),
        "insert",
        "Our own cookie, or the server's: with our value, with our value first, as it is.",
        positional=True,
    )
    indirect: bool = option(Flag(), False, "The server does not get our cookie.")
    nocache: bool = option(
        Flag(), False, "A response with our cookie is not for caches that are shared."
    )
    postonly: bool = option(Flag(), False, "Only responses to POST get our cookie.")
    preserve: bool = option(
        Flag(), False, "A cookie of this name that the server sets itself is left as it is."
    )
    httponly: bool = option(Flag(), True, "Scripts do not see our cookie.")
    secure: bool = option(Flag(), False, "Our cookie is for https only.")
    samesite: str = option(
        Word("lax", "strict", "none"), "", "Whether requests from other sites have our cookie."
    )
    domain: tuple[str, ...] = option(_Domain(), (), "The domain that our cookie is for.")
    path: str = option(Text(), "/", "The path that our cookie is for.")
    attr: tuple[str, ...] = option(_Attribute(), (), "A further attribute of our cookie.")
    maxidle: float = option(
        Time(), 0.0, "A cookie that was not used for longer counts no more; 0 is no limit."
    )
    maxlife: float = option(
        Time(), 0.0, "A cookie that was made longer ago counts no more; 0 is no limit."
    )
    plain: bool = option(
        Flag(), False, "The value is what the server's cookie= says, or its name: readable."
    )
    secret: str = option(
        Secret(), "", "What values are made with, the same on all balancers; empty: made anew."
    )
    secret_file: str = option(Path(), "", "A file whose first line is the secret.")

    def __attrs_post_init__(self) -> None:
        for name in _NOTHING[self.mode]:
            if getattr(self, name):
                raise ValueError(f"{name} says nothing where mode is {self.mode}")
        if self.secret and self.secret_file:
            raise ValueError("needs one of secret and secret-file, not both")
        if (self.plain or self.mode == "passive") and (self.secret or self.secret_file):
            raise ValueError("a plain value has no secret")
        if re.fullmatch("/[!-:<-~]*", self.path) is None:
            raise ValueError(f"path={self.path} is not a path")
        if self.samesite == "none" and not self.secure:
            raise ValueError("samesite=none needs secure: browsers refuse it otherwise")
        if self.mode != "insert":
            if self.path != "/":
                raise ValueError(f"path says nothing where mode is {self.mode}")
            return
        said = self.name.decode()
        if said.startswith(("__Host-", "__Secure-")) and not self.secure:
            raise ValueError(f"{said} needs secure: browsers refuse it otherwise")
        if said.startswith("__Host-") and (self.domain or self.path != "/"):
            raise ValueError(f"{said} has no domain, and the path /")


def attributesOf(options: CookieOptions) -> list[bytes]:
    """@return: what follows the value in a C{Set-Cookie}, once for each domain."""
    said = f"; path={options.path}"
    if options.httponly:
        said += "; HttpOnly"
    if options.secure:
        said += "; Secure"
    if options.samesite:
        said += f"; SameSite={options.samesite.capitalize()}"
    said += "".join(f"; {one}" for one in options.attr)
    return [f"{said}; domain={one}".encode() for one in options.domain] or [said.encode()]


def _secretOf(options: CookieOptions, context: Context) -> bytes:
    """@raise ValueError: if the file cannot be read, or has none."""
    said = options.secret.encode()
    if options.secret_file:
        try:
            with open(options.secret_file, "rb") as file:
                said = file.readline(4096).strip()
        except OSError as error:
            raise ValueError(f"secret-file: {options.secret_file}: {error.strerror}") from None
        if not said:
            raise ValueError(f"secret-file: {options.secret_file}: its first line is empty")
    # Whatever its length is.
    return blake2b(said).digest() if said else context.secret


@implementer(IPersistence, IResponseRule)
class Cookie:
    """
    C{cookie NAME [MODE] [WORD ...]}.

    Only for exchanges with a request; a session has no cookie.
    """

    Options = CookieOptions

    def __init__(self, options: CookieOptions, context: Context) -> None:
        name = options.name
        self._name = name
        self._options = options
        self._mode = options.mode
        plain = options.plain or options.mode == "passive"
        self._tokens = Tokens(b"" if plain else _secretOf(options, context), plain)
        self._wallclock = context.wallclock
        self._dated = bool(options.maxidle or options.maxlife)
        self._attributes = attributesOf(options)
        self._inserts = options.mode == "insert"
        self._prefixed = options.mode == "prefix"
        # The server need not know of it.
        self._hides = options.indirect and self._inserts
        self._read = self._said if self._prefixed else self._tokens.read
        self._cookie = Finder(name)

    def __repr__(self) -> str:
        return f"<Cookie {self._name.decode()} {self._mode}>"

    def serversChanged(self, servers: Iterable[Server]) -> None:
        self._tokens.setServers(servers)

    # the request

    def recall(self, exchange: Exchange) -> str | None:
        bond = exchange.bond
        request = exchange.request
        if bond is None or request is None:
            return None
        bond.went = Went.NONE
        fields = request.fields
        block = fields.block
        cookie = self._cookie
        found = cookie.search(block)
        if found is None:
            bond.came = Came.NONE
            return None
        if self._hides:
            fields.block = cookie.without(block, found)
        elif self._prefixed:
            fields.change(b"cookie", self._plainly)
        said = self._read(cookie.value(found)) or self._another(block)
        if said is None:
            bond.came = Came.INVALID
            return None
        bond.came = self._datesOf(said) if self._dated else Came.VALID
        if bond.came != Came.VALID:
            return None
        bond.said = said
        return said.name

    def foresee(self, exchange: Exchange) -> str | None:
        """@return: what C{recall} would say; nothing is changed."""
        request = exchange.request
        if request is None:
            return None
        block = request.fields.block
        found = self._cookie.search(block)
        if found is None:
            return None
        said = self._read(self._cookie.value(found)) or self._another(block)
        if said is None or (self._dated and self._datesOf(said) != Came.VALID):
            return None
        return said.name

    def _another(self, block: bytes) -> Said | None:
        """
        The first cookie of the name says nothing. It may be one of another path or domain,
        which a site nearby has set, or this one before its options were changed: browsers
        may send it before ours for as long as it lives.
        """
        values = every(Fields(block).getAll(b"cookie"), self._name)
        return next(filter(None, map(self._read, islice(values, 1, _MOST_READ))), None)

    def _said(self, value: bytes) -> Said | None:
        """@return: what the value of a cookie that has a prefix of ours says."""
        return self._tokens.read(value.partition(_SEPARATOR)[0])

    def remember(self, exchange: Exchange, name: str) -> None:
        """
        The response says it. Where another kind has known the server first it was not
        looked yet what the client sends.
        """
        if exchange.bond is not None and exchange.bond.came == "-":
            self.recall(exchange)

    def _plainly(self, line: bytes) -> bytes:
        """The value of a C{Cookie} field as the server knows it."""
        return change(line, self._name, _theirs)

    def _datesOf(self, said: Said) -> str:
        """@return: one of L{Came}."""
        options = self._options
        now = self._wallclock()
        for limit, date, otherwise in (
            (options.maxidle, said.last, Came.EXPIRED), (options.maxlife, said.first, Came.OLD)
        ):  # fmt: skip
            if limit and date and not now - limit <= date <= now + _AHEAD:
                return otherwise
        return Came.VALID

    # the response

    def responseReceived(self, exchange: Exchange) -> None:
        bond = exchange.bond
        response = exchange.response
        server = exchange.server
        if bond is None or response is None or server is None or bond.rule == "ignore":
            return
        fields = response.fields
        set = fields.block.find(self._name) >= 0 and self._set(fields)
        if self._inserts:
            said = bond.said
            if set or said is None or said.name != server.name or self._dated:
                self._insert(exchange, bond, fields, server.name, set)
        elif set:
            bond.went = Went.PROVIDED
            if self._mode != "passive":
                self._rewrite(fields, server.name)
                bond.went = Went.REWRITTEN

    def _set(self, fields: Fields) -> bool:
        """@return: whether the server sets the cookie."""
        return any(SetCookie(line).name == self._name for line in fields.getAll(b"set-cookie"))

    def _insert(
        self, exchange: Exchange, bond: Bond, fields: Fields, name: str, set: bool
    ) -> None:
        options = self._options
        if set:
            if options.preserve:
                bond.went = Went.PROVIDED
                return
            lines = fields.getAll(b"set-cookie")
            fields.remove(b"set-cookie")
            for line in lines:
                if SetCookie(line).name != self._name:
                    fields.add(b"Set-Cookie", line)
            bond.went = Went.DELETED
        said: Said | None = bond.said
        known = said is not None and said.name == name
        if known and not (self._dated and self._stale(said)):
            return
        assert exchange.request is not None
        if options.postonly and exchange.request.method != b"POST":
            return
        value = self._value(name, said.first if known and said is not None else 0)
        for attributes in self._attributes:
            fields.add(b"Set-Cookie", b"%b=%b%b" % (self._name, value, attributes))
        self._uncached(fields)
        bond.went = Went.UPDATED if known else Went.INSERTED

    def _value(self, name: str, first: int) -> bytes:
        """
        @param first: when the cookie was made; 0: now.
        @return: the value of a cookie that is used now.
        """
        if not self._dated:
            return self._tokens.value(name)
        options = self._options
        now = int(self._wallclock())
        return self._tokens.value(
            name, (first or now) if options.maxlife else 0, now if options.maxidle else 0
        )

    def _stale(self, said: Said | None) -> bool:
        """@return: whether the dates of a cookie that is good are to be others."""
        options = self._options
        if said is None or (options.maxlife and not said.first):
            return True
        # Not each time, but often enough for the limit to mean what it says.
        return bool(options.maxidle) and said.last + options.maxidle / 16 < self._wallclock()

    def _rewrite(self, fields: Fields, name: str) -> None:
        value = self._value(name, 0)
        prefixed = self._prefixed

        def changed(line: bytes) -> bytes | None:
            if SetCookie(line).name != self._name:
                return None
            pair, semicolon, attributes = line.partition(b";")
            begins, _, theirs = pair.partition(b"=")
            ours = value + _SEPARATOR + theirs.strip(b" \t") if prefixed else value
            return begins + b"=" + ours + semicolon + attributes

        fields.change(b"set-cookie", changed)
        self._uncached(fields)

    def _uncached(self, fields: Fields) -> None:
        if self._options.nocache:
            fields.add(b"Cache-Control", b"private")


def _theirs(value: bytes) -> bytes:
    """@return: a value without what is ours of it."""
    ours, separator, theirs = value.partition(_SEPARATOR)
    return theirs if separator else ours
