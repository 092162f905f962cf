"""
The verbs that put what a server says into other words for the client, or what the client
says for the server: C{location}, C{cookie-flags}, C{del-cookie}. C{proxy-pass}, which does
more, is L{lbtwist.rules.passing}'s.

They change fields of heads and never a body. What is not meant passes byte for byte.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from fnmatch import translate
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule, IResponseRule
from lbtwist.options import CookieName, Flag, Word, option
from lbtwist.options import Kind as OptionKind
from lbtwist.rules.reading import schemeOf
from lbtwist.rules.references import PORTS, Origin, asPath, clientHost, hostAndPort, origin, split
from lbtwist.sansio.cookies import Finder, SetCookie

if TYPE_CHECKING:
    from lbtwist.registry import Context


# location


class _Origin(OptionKind[Origin]):
    form = "ORIGIN"

    def parse(self, text: str) -> Origin:
        found, rest = origin(text, star=True)
        if rest not in ("", "/"):
            raise ValueError(f"{text!r} has a path: paths are what proxy-pass is for")
        return found


class _AutoOrOrigin(OptionKind["Origin | None"]):
    form = "auto|ORIGIN"

    def parse(self, text: str) -> Origin | None:
        return None if text == "auto" else _Origin().parse(text)


@attr.frozen
class _LocationOptions:
    origin: Origin | None = option(
        _AutoOrOrigin(), doc="What the server writes; a * in it is any host, or any port.",
        positional=True,
    )  # fmt: skip
    becomes: Origin | None = option(
        _Origin(), None, "What the client gets; a * is what that of the other was.",
        positional=True,
    )  # fmt: skip

    def __attrs_post_init__(self) -> None:
        if self.origin is None:
            if self.becomes is not None:
                raise ValueError("auto needs nothing more: it is what the client has asked for")
        elif self.becomes is None:
            raise ValueError("needs what it becomes: location http://*:80 https://*:443")
        elif b"*" in self.becomes.host and b"*" not in self.origin.host:
            raise ValueError("the host has a *, and the one that it is made of has none")
        elif self.becomes.port == b"*" and self.origin.port != b"*":
            raise ValueError("the port is a *, and the one that it is made of is none")


@implementer(IResponseRule)
class Location:
    """
    C{location FROM TO}: a C{Location} of the origin FROM gets the origin TO. A port that is
    the scheme's own is in it as it was: C{http://h:80/} becomes C{https://h:443/}, and
    C{http://h/} becomes C{https://h/}.

    C{location auto}: what the server calls itself by scheme, host and port it was addressed
    with becomes what the client has used. A redirect to another scheme stays one.
    """

    Options = _LocationOptions

    def __init__(self, options: _LocationOptions, context: Context) -> None:
        self._changed: Callable[[bytes, Exchange], bytes | None] = _toClient
        if options.origin is not None and options.becomes is not None:
            self._changed = _Moved(options.origin, options.becomes).changed

    def responseReceived(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        fields = exchange.response.fields
        if fields.get(b"location") is not None:
            fields.change(b"location", lambda value: self._changed(value, exchange))


class _Moved:
    """From one origin to another."""

    def __init__(self, source: Origin, target: Origin) -> None:
        self._source = source
        self._target = target
        self._begin, star, self._end = source.host.partition(b"*")
        self._several = bool(star)

    def changed(self, value: bytes, exchange: Exchange) -> bytes | None:
        scheme, authority, rest = split(value)
        source, target = self._source, self._target
        named = None if authority is None else hostAndPort(authority)
        if named is None or scheme != source.scheme:
            return None
        host, written = named
        port = written or PORTS[scheme]
        if source.port != b"*" and port != (source.port or PORTS[scheme]):
            return None
        star = self._star(host)
        if star is None:
            return None
        usual = PORTS[target.scheme]
        other = port if target.port == b"*" else target.port or usual
        if other != usual or (written and port == PORTS[scheme]):
            rest = b":" + other + rest
        return b"%b://%b%b" % (target.scheme, target.host.replace(b"*", star), rest)

    def _star(self, host: bytes) -> bytes | None:
        """@return: what the star has matched; L{None} if it is another host."""
        low = host.lower()
        begin, end = self._begin, self._end
        if not self._several:
            return b"" if low == begin else None
        if len(low) <= len(begin) + len(end):
            return None
        if not low.startswith(begin) or not low.endswith(end):
            return None
        return host[len(begin) : len(host) - len(end)]


def _toClient(value: bytes, exchange: Exchange) -> bytes | None:
    scheme, authority, rest = split(value)
    named = None if authority is None else hostAndPort(authority)
    server = exchange.server
    head = exchange.request
    if named is None or server is None or head is None:
        return None
    own = b"http" if server.tls is None else b"https"
    if scheme not in (b"", own):
        return None
    hosts, ports = set(), set()
    sent = hostAndPort(head.host)
    if sent is not None:
        hosts.add(sent[0].lower())
        ports.add(sent[1] or PORTS[own])
    endpoint = server.endpoint
    if endpoint is not None and endpoint.family != socket.AF_UNIX:
        host, port = endpoint.address[:2]
        hosts.add((f"[{host.partition('%')[0]}]" if ":" in host else host).encode())
        ports.add(b"%d" % port)
    if named[0].lower() not in hosts or (named[1] or PORTS[own]) not in ports:
        return None
    client = clientHost(exchange)
    if not client:
        return asPath(rest if rest[:1] == b"/" else b"/" + rest)
    if not scheme:
        return b"//%b%b" % (client, rest)
    return b"%b://%b%b" % (schemeOf(exchange).encode(), client, rest)


# cookies


class _Glob(OptionKind[str]):
    """Text in which C{*} stands for any, C{?} for one character, C{[...]} for one of these."""

    form = "PATTERN"

    def parse(self, text: str) -> str:
        if not text or not text.isascii() or not text.isprintable():
            raise ValueError(f"{text!r} is not a pattern: printable ASCII, * stands for any")
        return text


class _SameSite(Word):
    def parse(self, text: str) -> str:
        return super().parse(text.capitalize())


@attr.frozen
class _FlagOptions:
    pattern: str = option(_Glob(), doc="The names of cookies, in any case.", positional=True)
    httponly: bool = option(Flag(), False, "Scripts cannot read it.")
    secure: bool = option(Flag(), False, "It is sent over TLS only.")
    samesite: str = option(
        _SameSite("Strict", "Lax", "None"), "", "Whether it is sent from other sites."
    )

    def __attrs_post_init__(self) -> None:
        if not (self.httponly or self.secure or self.samesite):
            raise ValueError("needs a flag: HttpOnly, Secure, SameSite=Strict|Lax|None")
        if self.samesite == "None" and not self.secure:
            raise ValueError("browsers refuse SameSite=None without Secure: write both")


@implementer(IResponseRule)
class CookieFlags:
    """
    C{cookie-flags PATTERN FLAG...}: cookies with such a name have these flags. One that
    the server has set stays as it is, with its value.
    """

    Options = _FlagOptions

    def __init__(self, options: _FlagOptions, context: Context) -> None:
        self._matches = re.compile(translate(options.pattern).encode(), re.IGNORECASE).match
        flags = []
        if options.httponly:
            flags.append((b"httponly", b"HttpOnly"))
        if options.secure:
            flags.append((b"secure", b"Secure"))
        if options.samesite:
            flags.append((b"samesite", b"SameSite=" + options.samesite.encode()))
        self._flags = tuple(flags)

    def responseReceived(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        fields = exchange.response.fields
        if fields.get(b"set-cookie") is not None:
            fields.change(b"set-cookie", self._flagged)

    def _flagged(self, value: bytes) -> bytes | None:
        cookie = SetCookie(value)
        if self._matches(cookie.name) is None:
            return None
        missing = [flag for name, flag in self._flags if not cookie.has(name)]
        for flag in missing:
            cookie.add(flag)
        return cookie.value if missing else None


@attr.frozen
class _CookieOptions:
    name: bytes = option(CookieName(), doc="Of the cookie.", positional=True)


@implementer(IRequestRule)
class DelCookie:
    """C{del-cookie NAME}: the server does not get this cookie; it gets all others."""

    Options = _CookieOptions

    def __init__(self, options: _CookieOptions, context: Context) -> None:
        self._cookie = Finder(options.name)

    def requestReceived(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        fields = exchange.request.fields
        found = self._cookie.search(fields.block)
        if found is not None:
            fields.block = self._cookie.without(fields.block, found)
