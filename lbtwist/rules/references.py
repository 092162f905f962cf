"""
The references to themselves and to others that servers send in fields (RFC 3986 section
4.1), taken apart as far as a proxy has to; and paths below one path as paths below another.

Nothing here raises for what a peer has sent, and nothing takes longer than to read it
once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attr

from lbtwist.exchange import Exchange
from lbtwist.options import HostName
from lbtwist.rules.reading import normalPath, text, wire
from lbtwist.rules.sound import LONGEST_HOST

PORTS = {b"http": b"80", b"https": b"443"}
"""The port of a scheme, where none is named."""

_REFERENCE = re.compile(rb"(?:([A-Za-z][A-Za-z0-9+.\-]*+):)?+(?://([^/?#]*+))?+")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._\-]++)(?::([0-9]{0,5}))?")


def split(reference: bytes) -> tuple[bytes, bytes | None, bytes]:
    """
    @return: the scheme in lower case, or C{b""}; the authority, or L{None}; and all that
        follows.
    """
    found = _REFERENCE.match(reference)
    assert found is not None, "all of it is optional"
    scheme, authority = found.groups()
    return (scheme or b"").lower(), authority, reference[found.end() :]


def hostAndPort(authority: bytes) -> tuple[bytes, bytes] | None:
    """
    @return: the host as it is written, and the port, C{b""} where none is named; L{None}
        for what is not as simple as that: no host of ours has a user's name before it.
    """
    found = _AUTHORITY.fullmatch(authority)
    return None if found is None else (found[1], found[2] or b"")


def clientHost(exchange: Exchange) -> bytes:
    """@return: what the client has put into C{Host}; C{b""} for nothing, or far too much."""
    host = exchange.clientHost
    if host is None:
        assert exchange.request is not None
        host = exchange.request.host
    return host if len(host) <= LONGEST_HOST else b""


def asPath(path: bytes) -> bytes:
    """
    @return: a reference to a path of the same host, though it may begin as one to another
        host would; as the URL standard of the WHATWG writes such a path.
    """
    return b"/." + path if path[:2] in (b"//", b"/\\") else path


# Fields that have more in them than a reference.

Mapped = Callable[[bytes], "bytes | None"]
"""Given a reference: what takes its place, L{None} to leave it."""

# A quoted string is no place for one (RFC 8288 section 3).
_LINK = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|<([^<>]*+)>')

# As HTML's standard reads it: "shared declarative refresh steps".
_REFRESH = re.compile(
    rb"[ \t]*+[0-9.]++(?:[ \t]*+[;,]|[ \t])[ \t]*+(?:[Uu][Rr][Ll][ \t]*+=[ \t]*+)?+(['\"]?)"
)


def inLink(value: bytes, mapped: Mapped) -> bytes | None:
    """
    Map the references of a C{Link} field: what is in C{<>}.

    @return: the new value, L{None} if it stays as it is.
    """

    def changed(found: re.Match[bytes]) -> bytes:
        other = None if found[1] is None else mapped(found[1])
        return found[0] if other is None else b"<%b>" % other

    other = _LINK.sub(changed, value)
    return None if other == value else other


def inRefresh(value: bytes, mapped: Mapped) -> bytes | None:
    """The same of a C{Refresh} field: what follows C{url=}, in quotes or not."""
    found = _REFRESH.match(value)
    if found is None:
        return None
    begin, end = found.end(), len(value)
    if found[1]:
        quote = value.find(found[1], begin)
        end = end if quote < 0 else quote
    other = mapped(value[begin:end])
    return None if other is None else value[:begin] + other + value[end:]


# Paths below a path.

# What L{normalPath} would change, and dot segments alone.
_NOT_NORMAL = re.compile(rb"%|//|/\.")
_DOT_SEGMENT = re.compile(rb"/(?:\.|%2[eE]){1,2}(?:/|\Z)")
# Two dots that are a segment to those who decode slashes first, who take \ for one, or
# who cut off what is before or after a semicolon.
_HIDDEN = re.compile(
    rb"(?:[/\\;]|%2[fF]|%5[cC]|%3[bB])(?:\.|%2[eE]){2}(?:[/\\;]|%2[fF]|%5[cC]|%3[bB]|\Z)"
)


class Prefix:
    """
    Paths below one path as paths below another, by whole segments: C{/a/b} and C{/a/bc}
    are not below C{/a/b/}; below C{/a/b} is only the first.
    """

    __slots__ = ("_above", "_source")

    def __init__(self, source: bytes, target: bytes) -> None:
        """
        @param source: ends with a slash where C{target} does; both may be C{b""}.
        """
        self._source = source
        self._above = target.removesuffix(b"/") if source.endswith(b"/") else target

    def mapped(self, path: bytes) -> bytes | None:
        """
        @param path: and what follows it; all that is after the prefix is kept as it is.
        @return: the other path, L{None} if this one is not below.
        """
        source = self._source
        if not path.startswith(source):
            return None
        rest = path[len(source) :]
        if source[-1:] == b"/":
            return self._above + b"/" + rest
        if rest[:1] not in (b"", b"/", b"?", b"#"):
            return None
        found = self._above + rest
        return found if found[:1] == b"/" else b"/" + found

    def mappedRequest(self, path: bytes) -> bytes | None:
        """
        The same of a path that a client asks for. One that is below only as most servers
        read it, or that has dot segments, goes on in its normal form: it never leads out
        of the other path.

        @param path: without query.
        @return: C{b""} if it would lead out of it where slashes are found in another way.
        """
        found = self.mapped(path)
        if found is None or _DOT_SEGMENT.search(path) is not None:
            if _NOT_NORMAL.search(path) is None:
                return None
            found = self.mapped(wire(normalPath(text(path))))
            if found is None:
                return None
        if (b".." in found or b"%" in found) and _HIDDEN.search(found) is not None:
            return b""
        # A server would read a host, and might send the client there.
        return b"/" + found.lstrip(b"/\\") if found[:2] in (b"//", b"/\\") else found


# What configurations say.

_WRITTEN = re.compile(r"(https?)://(\[[^\]/]*\]|[^/:\[\]?#@]*)(?::([0-9]{1,5}|\*))?(/.*)?", re.I)


@attr.frozen
class Origin:
    """
    Scheme, host and port.

    @ivar host: in lower case; there may be one C{*} in it.
    @ivar port: C{b""} is the scheme's own, C{b"*"} any.
    """

    scheme: bytes
    host: bytes
    port: bytes = b""

    @property
    def authority(self) -> bytes:
        return self.host + b":" + self.port if self.port else self.host


def origin(said: str, star: bool) -> tuple[Origin, str]:
    """
    @param star: whether C{*} may be in it.
    @return: the origin that a URL begins with, and what follows it.
    @raise ValueError: if it begins with none.
    """
    found = _WRITTEN.fullmatch(said)
    if found is None:
        raise ValueError(f"{said!r} is not as http://HOST or https://HOST:PORT are")
    scheme, host, port, rest = found.groups()
    if not star and "*" in (host + (port or "")):
        raise ValueError(f"a * has no meaning in {said!r}")
    if host.count("*") > 1:
        raise ValueError(f"more than one * in the host of {said!r}")
    if port and port != "*" and not 0 < int(port) < 65536:
        raise ValueError(f"{port} is not a port")
    name = host.replace("*", "a").removeprefix("[").removesuffix("]")
    parsed = HostName().parse(name)
    if host.startswith("[") != (":" in parsed) or "%" in host:
        raise ValueError(f"{host!r} is not a host name")
    return Origin(scheme.lower().encode(), host.lower().encode(), (port or "").encode()), rest or ""
