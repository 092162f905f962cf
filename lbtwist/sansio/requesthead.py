"""
The heads of requests: the request line, the forms of a target, C{Host}, what a client
expects. What they have in common with those of responses is L{lbtwist.sansio.http1}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

from lbtwist.errors import BadRequest
from lbtwist.sansio.grammar import HOP_BY_HOP, NAME, isToken
from lbtwist.sansio.headers import Fields
from lbtwist.sansio.http1 import Head, HeadReader, cut

# One empty line before a request is overlooked (RFC 9112 2.2).
_EMPTY_LINE = rb"(?:\r\n)?+"
_REQUEST_LINE = rb"((" + NAME + rb") ([!\"$-~]++) HTTP/1\.([01]))"
# Fields of a plain head that are looked at; (?(N)(?!)) fails where group N has come.
_PLAIN = (
    rb"[Hh]ost: (?(6)(?!))([!-~]++)\r\n"
    rb"|[Cc]on(?:tent-[Ll]ength: (?(7)(?!))([0-9]{1,18})"
    rb"|nection: (?(8)(?!))([Kk]eep-[Aa]live|close))\r\n"
)
_isRequestLine = re.compile(_REQUEST_LINE).fullmatch
_isVersion = re.compile(rb"HTTP/[0-9]\.[0-9]").fullmatch

# reg-name, IPv4 or a bracketed literal (RFC 3986 3.2.2), without the comma that
# some read as a list.
_REG_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+;=\-]|%[0-9A-Fa-f]{2})"
_LITERAL = rb"\[([0-9A-Fa-f:.]++)\]"
_HOST = re.compile(rb"(?:" + _LITERAL + rb"|" + _REG_NAME + rb"*+)(?::([0-9]{0,5}))?")
_AUTHORITY = re.compile(rb"(?:" + _LITERAL + rb"|" + _REG_NAME + rb"++):([0-9]{1,5})")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+)://([^/?]*+)(.*)")

_PROTOCOL = re.compile(NAME + rb"(?:/" + NAME + rb")?")


class RequestHead(Head):
    """
    The head of a request, checked.

    @ivar host: the value of C{Host}, C{b""} without one.
    """

    __slots__ = ("host", "method", "target")

    method: bytes
    target: bytes
    host: bytes

    @property
    def idempotent(self) -> bool:
        """Whether doing it twice is as good as once (RFC 9110 section 9.2.2)."""
        return self.method in _IDEMPOTENT

    def encode(self, more: bytes = b"", absolute: bool = False, minor: int = 1) -> bytes:
        """
        The head as it goes to a server.

        @param more: complete lines to add.
        @param absolute: the target is a whole URI, as forward proxies want it.
        @param minor: the version is 1 and this.
        """
        target = self.uri if absolute else self.target
        block = self.fields.block
        return b"%b %b HTTP/1.%d\r%b%b\r\n" % (self.method, target, minor, block, more)

    @property
    def uri(self) -> bytes:
        """The target in absolute form (RFC 9112 sections 3.2.2 and 3.2.4), where it has one."""
        target = self.target
        if self.method == b"CONNECT" or not self.host:
            return target
        # What the client itself has written is gone, but for this.
        asked = self.line.partition(b" ")[2]
        scheme = b"https" if asked[:8].lower() == b"https://" else b"http"
        return b"%b://%b%b" % (scheme, self.host, b"" if target == b"*" else target)


_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))


class RequestReader(HeadReader):
    """
    Reads request heads; of one call nothing is kept for the next but which values
    of C{Host} were found good.

    @param maxTarget: the longest request target in bytes.
    @param drop: names in lower case of fields that no client may send; with
        C{_} for C{-} as well, since many servers take the one for the other.
    @param anyCase: take C{connect} for CONNECT, which RFC 9110 section 9.1 does not.
    """

    error = BadRequest
    skipsEmptyLine = True
    shortest = len(b"A / HTTP/1.1\r\n\r\n")

    def __init__(
        self,
        maxBytes: int = 32768,
        maxFields: int = 128,
        maxTarget: int = 8192,
        drop: Iterable[bytes] = (),
        anyCase: bool = False,
    ) -> None:
        special = (b"host", b"content-length", b"expect", *HOP_BY_HOP)
        line = _EMPTY_LINE + _REQUEST_LINE
        super().__init__(maxBytes, maxFields, special, tuple(drop), line, _PLAIN)
        self.maxTarget = maxTarget
        self._anyCase = anyCase
        self._maxLine = maxTarget + _MORE_THAN_TARGET
        self.harmless = min(self.harmless, maxTarget)
        self._goodHosts: dict[bytes | None, bytes] = {}

    def checkBeginning(self, data: bytes | bytearray, start: int) -> None:
        # The end of the line may have begun.
        if len(data) - start > self._maxLine + 1:
            raise self._longTarget()

    def checkLine(self, line: bytes) -> None:
        if len(line) > self._maxLine:
            raise self._longTarget()
        match = _isRequestLine(line)
        if match is not None:
            if len(match[3]) > self.maxTarget:
                raise self._longTarget()
            return
        method, _, rest = line.partition(b" ")
        target, space, version = rest.rpartition(b" ")
        if isToken(method) is None:
            raise BadRequest(400, "the method is not a token")
        if not space and not rest.startswith(b"HTTP/"):
            raise BadRequest(400, "no HTTP version: HTTP/0.9 is not spoken")
        if _isVersion(version) is None:
            raise BadRequest(400, "the request line is not well formed")
        if re.fullmatch(rb"[!-~]+", target) is None:
            raise BadRequest(400, "a character in the target that must be encoded")
        if b"#" in target:
            raise BadRequest(400, "a fragment in the target")
        raise BadRequest(505, "an HTTP version that is not spoken")

    def _longTarget(self) -> BadRequest:
        return BadRequest(414, f"the target is longer than {self.maxTarget} bytes")

    def read(self, data: bytes) -> RequestHead | None:
        """
        Read the head that C{data} begins with.

        @return: the head, or L{None} if it is not complete and may become good.
        @raise BadRequest: with the status to answer.
        """
        match = self.match(data)
        if match is None:
            self.explainWhole(data)
            return None
        head = RequestHead()
        head.line, head.method, target, minor, block, host, length, option, more = match.groups()
        head.target = target
        head.size = size = match.end()
        if size > self.harmless:
            self._checkTarget(head)
            self.checkSizes(size, block + more)
        if minor == b"1":
            head.version = 11
            head.keepAlive = option != b"close"
        else:
            head.version = 10
            head.keepAlive = option is not None and option != b"close"
        if more:
            self._takeFields(head, block + more)
        else:
            if option is not None:
                block = cut(block, match.start(5), match.span(8))
            head.fields = Fields(block)
            head.host = self._goodHosts.get(host) or self._checkHost(host, head.version)
            head.length = 0 if length is None else int(length)
            head.chunked = False
            head.upgrade = b""
        if not target.startswith(b"/") or head.method == b"CONNECT":
            self._otherForm(head)
        return head

    def _takeFields(self, head: RequestHead, block: bytes) -> None:
        """Take what the fields say that are not plain."""
        version = head.version
        found, block, options = self.split(block)
        head.fields = Fields(block)
        host = found.get(b"host")
        head.host = self._goodHosts.get(host) or self._checkHost(host, version)
        length, head.chunked = self.framing(found, version)
        head.length = 0 if length is None and not head.chunked else length
        head.keepAlive = b"close" not in options and (version == 11 or b"keep-alive" in options)
        head.upgrade = b""
        if b"upgrade" in options and version == 11 and head.length == 0:
            # With a body it may be overlooked (RFC 9110 section 7.8), and is: some
            # servers take the body for the new protocol.
            head.upgrade = _protocols(found.get(b"upgrade", b""))
        if b"expect" in found:
            if version == 10:
                # To be overlooked (RFC 9110 section 10.1.1).
                head.fields.remove(b"expect")
            elif found[b"expect"] != b"100-continue":
                raise BadRequest(417, "an expectation that is not known").of(b"expect")

    def _checkTarget(self, head: RequestHead) -> None:
        if len(head.target) > self.maxTarget or len(head.line) > self._maxLine:
            raise self._longTarget()

    def _checkHost(self, host: bytes | None, version: int) -> bytes:
        if host is None:
            if version == 11:
                raise BadRequest(400, "no Host field")
            return b""
        name = host.lower()
        if _badAuthority(_HOST, name):
            raise BadRequest(400, "the Host field is not a host").of(b"host")
        # Few hosts make most of the requests; nobody can fill the memory with them.
        if len(host) < 256:
            if len(self._goodHosts) >= _REMEMBERED_HOSTS:
                self._goodHosts.clear()
            self._goodHosts[host] = name
        return name

    def _otherForm(self, head: RequestHead) -> None:
        """The forms of a target that are not a path (RFC 9112 section 3.2)."""
        target = head.target
        if self._anyCase and head.method.upper() == b"CONNECT":
            head.method = b"CONNECT"
        if head.method == b"CONNECT":
            if _badAuthority(_AUTHORITY, target):
                raise BadRequest(400, "CONNECT without host and port")
            if head.length != 0:
                raise BadRequest(400, "CONNECT with a body")
            self._nameHost(head, target, target[target.rindex(b":") :])
        elif target == b"*":
            if head.method != b"OPTIONS":
                raise BadRequest(400, "the target * with a method other than OPTIONS")
        else:
            match = _ABSOLUTE.fullmatch(target)
            if match is None or match[1].lower() not in (b"http", b"https"):
                raise BadRequest(400, "the target is not a path or an absolute URI")
            scheme, authority, rest = match.groups()
            if not authority or _badAuthority(_HOST, authority):
                raise BadRequest(400, "the target names no host")
            default = b":443" if scheme.lower() == b"https" else b":80"
            self._nameHost(head, authority, default)
            if not rest.startswith(b"/"):
                rest = b"*" if head.method == b"OPTIONS" and not rest else b"/" + rest
            head.target = rest

    @staticmethod
    def _nameHost(head: RequestHead, authority: bytes, default: bytes) -> None:
        """@param default: the port, with its colon, that need not be said."""
        named = authority.lower()
        # A client that names two hosts would reach one and be judged by the other.
        if head.host and _withoutPort(head.host, default) != _withoutPort(named, default):
            raise BadRequest(400, "the target and the Host field differ").of(b"host")
        if not head.host:
            head.host = named
            head.fields.set(b"Host", authority)


# The longest of the line besides the target: a method, two spaces and the version.
_MORE_THAN_TARGET = 64

_REMEMBERED_HOSTS = 1024


def _badAuthority(pattern: re.Pattern[bytes], value: bytes) -> bool:
    match = pattern.fullmatch(value)
    if match is None:
        return True
    literal, port = match.groups()
    if literal is not None:
        try:
            IPv6Address(literal.decode("ascii"))
        except ValueError:
            return True
    return bool(port and int(port) > 65535)


def isHost(value: bytes) -> bool:
    """Whether it can be the value of C{Host} (RFC 9110 section 7.2) and names a host."""
    return value[:1] not in (b"", b":") and not _badAuthority(_HOST, value)


def _withoutPort(authority: bytes, default: bytes) -> bytes:
    """Without a port that says no more than the scheme (RFC 9110 section 4.2.3)."""
    return authority.removesuffix(default).removesuffix(b":")


def _protocols(upgrade: bytes) -> bytes:
    """What of an C{Upgrade} is passed on: well-formed names other than C{h2c}."""
    names = [name.strip(b" \t") for name in upgrade.split(b",")]
    return b", ".join(name for name in names if _PROTOCOL.fullmatch(name) and name != b"h2c")
