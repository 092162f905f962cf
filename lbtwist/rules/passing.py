"""
The verb C{proxy-pass}: a part of a site that clients see below one path, and its server
below another, or under another name.

A line in C{request =} does both ways: the exchange keeps what has to be done with its
response, so that no other is touched. What a server says is never trusted: what does not
look like one of its own addresses passes as it came. Bodies are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule, IResponseRule
from lbtwist.options import Flag, HostName, option
from lbtwist.options import Kind as OptionKind
from lbtwist.rules.changes import setHost
from lbtwist.rules.decisions import Deny
from lbtwist.rules.reading import normalPath, schemeOf
from lbtwist.rules.references import (
    PORTS,
    Prefix,
    asPath,
    clientHost,
    hostAndPort,
    inLink,
    inRefresh,
    origin,
    split,
)
from lbtwist.rules.sound import MALFORMED
from lbtwist.sansio.cookies import SetCookie

if TYPE_CHECKING:
    from lbtwist.registry import Context


class _Path(OptionKind[bytes]):
    """A path in its normal form."""

    form = "PATH"

    def parse(self, text: str) -> bytes:
        if re.fullmatch(r"/[!\"$->@-~]*", text) is None:
            raise ValueError(f"{text!r} is not a path: it begins with / and has no ? and no #")
        if normalPath(text) != text:
            raise ValueError(f"requests are compared in their normal form: {normalPath(text)!r}")
        return text.encode()


class _URL(OptionKind[tuple[bytes, bytes]]):
    """The address of a server: what C{Host} says, and a path."""

    form = "URL"

    def parse(self, text: str) -> tuple[bytes, bytes]:
        found, path = origin(text, star=False)
        return found.authority, _Path().parse(path) if path else b""


@attr.frozen
class _PassOptions:
    path: bytes = option(_Path(), doc="Where clients see it.", positional=True)
    url: tuple[bytes, bytes] = option(_URL(), doc="What the server calls it.", positional=True)
    absolute: bool = option(Flag(), False, "Addresses for the client begin with scheme and host.")
    cookie_domain: str = option(
        HostName(), "", "The domain of cookies for the client; empty is the host it asked for."
    )

    def __attrs_post_init__(self) -> None:
        path = self.url[1]
        if path not in (b"", b"/") and path.endswith(b"/") != self.path.endswith(b"/"):
            raise ValueError("PATH and URL end with a / both, or neither of them does")


@implementer(IRequestRule)
class ProxyPass:
    """
    C{proxy-pass PATH URL}: what clients ask for below PATH, the server is asked for below
    URL; and what it answers is put back, as Apache's C{ProxyPass}, C{ProxyPassReverse},
    C{ProxyPassReverseCookieDomain} and C{ProxyPassReverseCookiePath} do it together.

    PATH is compared by whole segments with C{path.normal}; what comes after it stays as it
    is written. Of several that match the first counts. Which pool is asked is said by others.
    """

    Options = _PassOptions

    def __init__(self, options: _PassOptions, context: Context) -> None:
        authority, inner = options.url
        outer = options.path
        self._authority = authority
        if inner in (b"", b"/"):
            inner = b"/" if outer.endswith(b"/") else b""
        self._inward = Prefix(outer, inner)
        self.host = authority.rpartition(b":")[0] if _hasPort(authority) else authority
        self.outward = Prefix(inner, outer)
        self.cookies = Prefix(inner.removesuffix(b"/"), outer.removesuffix(b"/"))
        self.absolute = options.absolute
        self.domain = options.cookie_domain.encode()

    def requestReceived(self, exchange: Exchange) -> Deny | None:
        head = exchange.request
        assert head is not None
        path, mark, query = head.target.partition(b"?")
        found = self._inward.mappedRequest(path)
        if found is None:
            return None
        rewrites = exchange.rewrites or ()
        if any(isinstance(one, Returned) for one in rewrites):
            return None
        if not found:
            return MALFORMED
        exchange.rewrites = (Returned(self, exchange), *rewrites)
        head.target = found + mark + query
        setHost(exchange, self._authority)
        return None


def _hasPort(authority: bytes) -> bool:
    return b":" in authority.rpartition(b"]")[2]


_MENTIONS = re.compile(
    rb"\n((?i:location|content-location|uri|refresh|link|set-cookie)):"
).findall

# Of one response: a server must not make us write many times what it has sent.
_MOST_CHANGES = 1000


@implementer(IResponseRule)
class Returned:
    """The way back of one exchange that C{proxy-pass} has matched."""

    __slots__ = ("_changes", "_client", "_scheme", "_verb")

    def __init__(self, verb: ProxyPass, exchange: Exchange) -> None:
        """@param exchange: as it is before it is changed."""
        self._verb = verb
        self._client = clientHost(exchange)
        self._scheme = schemeOf(exchange).encode() if verb.absolute else b""
        self._changes = 0

    def responseReceived(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        fields = exchange.response.fields
        for name in {name.lower() for name in _MENTIONS(fields.block)}:
            fields.change(name, partial(_other, _CHANGES[name], self))

    def reference(self, value: bytes) -> bytes | None:
        """A C{Location} or a part of another field: C{http://bk/x}, C{//bk/x} or C{/x}."""
        scheme, authority, rest = split(value)
        if authority is not None:
            named = hostAndPort(authority)
            if scheme and scheme not in PORTS:
                return None
            if named is None or named[0].lower() != self._verb.host:
                return None
            if rest[:1] != b"/":
                rest = b"/" + rest
        elif scheme or rest[:1] != b"/" or rest[1:2] == b"\\":
            # Relative to where it was found: that is right for the client as well.
            return None
        path = self._verb.outward.mapped(rest)
        if path is None or not self._allowed():
            return None
        if self._verb.absolute and self._client:
            return b"%b://%b%b" % (self._scheme, self._client, path)
        return asPath(path)

    def uri(self, value: bytes) -> bytes | None:
        """C{URI} was written with C{<>} when there was a standard for it (RFC 2068)."""
        return self.link(value) if value[:1] == b"<" else self.reference(value)

    def link(self, value: bytes) -> bytes | None:
        return inLink(value, self.reference)

    def refresh(self, value: bytes) -> bytes | None:
        return inRefresh(value, self.reference)

    def cookie(self, value: bytes) -> bytes:
        found = SetCookie(value)
        found.change(b"domain", self._domain)
        if not found.name.lower().startswith(b"__host-"):
            # With another path than / such a cookie is not accepted (RFC 6265bis 4.1.3.2).
            found.change(b"path", self._path)
        return found.value

    def _domain(self, value: bytes) -> bytes | None:
        if value.lower().removeprefix(b".") != self._verb.host or not self._allowed():
            return value
        public = self._verb.domain
        if not public:
            named = hostAndPort(self._client)
            public = b"" if named is None else named[0].rstrip(b".")
            if not HostName.good(public.decode()):
                # Without a domain it is a cookie of whatever host the client asked for.
                return None
        return b"." + public if value[:1] == b"." else public

    def _path(self, value: bytes) -> bytes:
        found = self._verb.cookies.mapped(value) if value[:1] == b"/" else None
        return value if found is None or not self._allowed() else found

    def _allowed(self) -> bool:
        self._changes += 1
        return self._changes <= _MOST_CHANGES


_Change = Callable[[Returned, bytes], "bytes | None"]

_CHANGES: dict[bytes, _Change] = {
    b"location": Returned.reference, b"content-location": Returned.reference,
    b"uri": Returned.uri, b"refresh": Returned.refresh, b"link": Returned.link,
    b"set-cookie": Returned.cookie,
}  # fmt: skip


def _other(change: _Change, returned: Returned, value: bytes) -> bytes | None:
    found = change(returned, value)
    return None if found == value else found
