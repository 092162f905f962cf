"""
The heads of HTTP/1.1 as RFC 9112 writes them, and stricter where peers differ: requests,
responses, and how their bodies are framed.

One regular expression checks a whole head. What means something to a proxy it
finds as well, if that comes once and as nearly everybody writes it: such a head is
plain. Only of another one a second expression finds what it says. Fields that mean
nothing here are never looked at and pass on as they came.

What two peers could read in two ways is refused: both framings, repeated ones
that differ, bare CR or LF, folded lines, space before a colon.

Not here: chunked bodies (L{lbtwist.sansio.chunked}), what is done about a message
(L{lbtwist.http}), and any I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address

from lbtwist.errors import BadRequest, BadResponse, MessageError
from lbtwist.sansio.grammar import FIELD, HOP_BY_HOP, NAME, VALUE, isFieldLine, isToken, whyField
from lbtwist.sansio.headers import Fields, tokens

# One empty line before a request is overlooked (RFC 9112 2.2).
_EMPTY_LINE = rb"(?:\r\n)?+"
_REQUEST_LINE = rb"((" + NAME + rb") ([!\"$-~]++) HTTP/1\.([01]))"
_STATUS_LINE = rb"(HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + VALUE + rb")?)"
# Fields of a plain head that are looked at; (?(N)(?!)) fails where group N has come.
_PLAIN_REQUEST = (
    rb"[Hh]ost: (?(6)(?!))([!-~]++)\r\n"
    rb"|[Cc]on(?:tent-[Ll]ength: (?(7)(?!))([0-9]{1,18})"
    rb"|nection: (?(8)(?!))([Kk]eep-[Aa]live|close))\r\n"
)
_PLAIN_RESPONSE = (
    rb"[Cc]on(?:tent-[Ll]ength: (?(5)(?!))([0-9]{1,18})"
    rb"|nection: (?(6)(?!))([Kk]eep-[Aa]live|close))\r\n"
)
_CONNECTION = len("\nConnection: ")
_isRequestLine = re.compile(_REQUEST_LINE).fullmatch
_isStatusLine = re.compile(_STATUS_LINE).fullmatch
_isVersion = re.compile(rb"HTTP/[0-9]\.[0-9]").fullmatch

# reg-name, IPv4 or a bracketed literal (RFC 3986 3.2.2), without the comma that
# some read as a list.
_REG_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+;=\-]|%[0-9A-Fa-f]{2})"
_LITERAL = rb"\[([0-9A-Fa-f:.]++)\]"
_HOST = re.compile(rb"(?:" + _LITERAL + rb"|" + _REG_NAME + rb"*+)(?::([0-9]{0,5}))?")
_AUTHORITY = re.compile(rb"(?:" + _LITERAL + rb"|" + _REG_NAME + rb"++):([0-9]{1,5})")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+)://([^/?]*+)(.*)")

# What may come before chunked, if anybody here could undo it (RFC 9112 section 7).
_OTHER_CODINGS = re.compile(rb"(?:(?!chunked[ \t;,])" + NAME + rb"[^,]*+,[ \t]*+)++chunked")
_PROTOCOL = re.compile(NAME + rb"(?:/" + NAME + rb")?")

# Never removed because a Connection field lists them.
_ESSENTIAL = frozenset((b"host", b"content-length", b"transfer-encoding"))


class RequestHead:
    """
    The head of a request, checked.

    @ivar line: the request line without its end.
    @ivar version: 10 or 11.
    @ivar fields: what is passed on: without hop-by-hop fields and those that
        the reader was told to drop.
    @ivar host: the value of C{Host}, C{b""} without one.
    @ivar length: the length of the body, L{None} where it is chunked.
    @ivar chunked: the body comes in chunks.
    @ivar keepAlive: the client would like to keep the connection.
    @ivar upgrade: what C{Upgrade} asks for, C{b""} for nothing.
    @ivar size: the bytes of the head.
    """

    __slots__ = (
        "method", "target", "line", "version", "fields", "host", "length", "chunked",
        "keepAlive", "upgrade", "size",
    )  # fmt: skip

    method: bytes
    target: bytes
    line: bytes
    version: int
    fields: Fields
    host: bytes
    length: int | None
    chunked: bool
    keepAlive: bool
    upgrade: bytes
    size: int

    def __repr__(self) -> str:
        return f"<RequestHead {self.line!r}>"

    @property
    def idempotent(self) -> bool:
        """Whether doing it twice is as good as once (RFC 9110 section 9.2.2)."""
        return self.method in _IDEMPOTENT

    def encode(self, more: bytes = b"", absolute: bool = False) -> bytes:
        """
        The head as it goes to a server.

        @param more: complete lines to add.
        @param absolute: the target is a whole URI, as forward proxies want it.
        """
        target = self.uri if absolute else self.target
        return b"%b %b HTTP/1.1\r%b%b\r\n" % (self.method, target, self.fields.block, more)

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


class ResponseHead:
    """
    The head of a response, checked.

    @ivar line: the status line without its end.
    @ivar version: 10 or 11.
    @ivar fields: what is passed on.
    @ivar length: the length of the body; L{None} where it is chunked or ends
        with the connection.
    @ivar chunked: the body comes in chunks.
    @ivar keepAlive: the server would keep the connection.
    @ivar upgrade: what C{Upgrade} names, C{b""} for nothing.
    @ivar size: the bytes of the head.
    """

    __slots__ = (
        "status", "line", "version", "fields", "length", "chunked", "keepAlive", "upgrade", "size",
    )  # fmt: skip

    status: int
    line: bytes
    version: int
    fields: Fields
    length: int | None
    chunked: bool
    keepAlive: bool
    upgrade: bytes
    size: int

    def __repr__(self) -> str:
        return f"<ResponseHead {self.line!r}>"


def _anyOf(words: Iterable[Sequence[bytes]]) -> bytes:
    """
    @param words: each a pattern for every letter.
    @return: the pattern of any of them, in which common beginnings are tried once.
    """
    rests: dict[bytes, list[Sequence[bytes]]] = {}
    optional = b""
    for word in words:
        if word:
            rests.setdefault(word[0], []).append(word[1:])
        else:
            optional = b"?"
    if not rests:
        return b""
    found = b"|".join(letter + _anyOf(rest) for letter, rest in rests.items())
    return b"(?:" + found + b")" + optional if optional or len(rests) > 1 else found


class _HeadReader:
    """
    What reading either kind of head has in common.

    @cvar skipsEmptyLine: one empty line may come before the head.
    @cvar shortest: the bytes of a head without fields.
    """

    error: Callable[[int, str], MessageError]
    skipsEmptyLine: bool
    shortest: int

    def __init__(
        self,
        maxBytes: int,
        maxFields: int,
        special: Sequence[bytes],
        drop: Iterable[bytes],
        line: bytes,
        plain: bytes,
    ) -> None:
        """
        @param special: names of fields that mean something.
        @param line: the pattern of what comes before the fields.
        @param plain: the pattern of special fields in a plain head.
        """
        self.maxBytes = maxBytes
        self.maxFields = maxFields
        # The shortest field is C{a:} and its line end: a head of no more bytes than
        # this keeps both limits.
        self._harmless = min(maxBytes, self.shortest + 4 * maxFields)
        names = [*special, *drop]
        # Most fields are passed over by a look at the first letter of their names.
        letters = {name[:1].upper() + name[:1].lower() for name in names}
        first = re.escape(b"-_" + b"".join(sorted(letters)))
        words = _anyOf([
            [b"[-_]" if name in drop and letter in b"-_" else re.escape(bytes((letter,)))
             for letter in name.lower()]
            for name in names
        ])  # fmt: skip
        other = rb"(?!(?=[" + first + rb"])(?i:" + words + rb"):)" + FIELD
        fields = rb"\r(\n(?:" + plain + rb"|" + other + rb")*+)((?:" + FIELD + rb")*+)\r\n"
        self._match = re.compile(line + fields).match
        value = rb":[ \t]*+([^\r]*[^\r \t]|)[ \t]*+\r"
        self._find = re.compile(rb"\n(" + words + rb")" + value).finditer

    def tooLarge(self) -> MessageError:
        return self.error(431, f"the head is longer than {self.maxBytes} bytes")

    def checkBeginning(self, data: bytes | bytearray, start: int) -> None:
        """
        Look at a first line whose end has not come, at no more than some bytes.

        @raise MessageError: if it cannot become an acceptable one.
        """
        raise NotImplementedError

    def checkLine(self, line: bytes) -> None:
        """
        Look at the first line.

        @raise MessageError: if it is not acceptable.
        """
        raise NotImplementedError

    def explain(self, data: bytes | bytearray, start: int, seen: int) -> int:
        """
        Check the lines of a head that is not complete, or that did not match.

        @param start: where a line begins; those before were checked.
        @param seen: how many bytes were looked at before; they are not looked at
            again but to check a line that ends.
        @return: where the first line begins that has not ended.
        @raise MessageError: with what is wrong.
        """
        while True:
            first = start == 0 or (start == 2 and data.startswith(b"\r\n"))
            end = data.find(b"\n", max(start, seen))
            if end < 0:
                break
            line = bytes(data[start : end + 1])
            if start == 0 and line == b"\r\n" and self.skipsEmptyLine:
                start = 2
                continue
            if b"\0" in line:
                raise self.error(400, "a NUL byte in the head")
            if not line.endswith(b"\r\n"):
                raise self.error(400, "a line ends with a bare LF")
            line = line[:-2]
            if b"\r" in line:
                raise self.error(400, "a bare CR in the head")
            if first:
                self.checkLine(line)
            elif isFieldLine(line) is None:
                raise self.error(400, whyField(line))
            start = end + 1
        if data.find(b"\0", max(start, seen)) >= 0:
            raise self.error(400, "a NUL byte in the head")
        if 0 <= data.find(b"\r", max(start, seen - 1)) < len(data) - 1:
            raise self.error(400, "a bare CR in the head")
        if first:
            self.checkBeginning(data, start)
        return start

    def _checkSizes(self, size: int, block: bytes) -> None:
        if size > self.maxBytes:
            raise self.tooLarge()
        if block.count(b"\n") - 1 > self.maxFields:
            raise self.error(431, f"more than {self.maxFields} fields")

    def _split(self, block: bytes) -> tuple[dict[bytes, bytes], bytes, Sequence[bytes]]:
        """
        Find the fields that mean something here and cut out those that are not
        passed on.

        @return: values by name, in lower case (repeated ones joined by commas, as
            RFC 9110 section 5.3 allows); the block without hop-by-hop fields; the
            tokens of C{Connection}.
        """
        found: dict[bytes, bytes] = {}
        pieces = []
        at = 0
        for match in self._find(block.lower()):
            name, value = match.groups()
            if name in found:
                if name == b"host":
                    raise self.error(400, "more than one Host field")
                if name == b"content-length":
                    if found[name] != value:
                        raise self.error(400, "Content-Length fields that differ")
                else:
                    value = found[name] + b"," + value
            elif name in _KEPT:
                found[name] = value
                continue
            found[name] = value
            begin, end = match.span()
            pieces.append(block[at:begin])
            at = end
        pieces.append(block[at:])
        block = b"".join(pieces)
        value = found.get(b"connection", b"")
        if not value:
            return found, block, ()
        if value == b"keep-alive":
            return found, block, (value,)
        try:
            options = tokens(value)
        except ValueError:
            raise self.error(400, "the Connection field is not a list") from None
        listed = {name for name in options if name not in _KNOWN_OPTIONS}
        if listed:
            if not _ESSENTIAL.isdisjoint(listed):
                raise self.error(400, "Connection lists a field that frames the message")
            lines = block.split(b"\n")
            kept = [line for line in lines if line.partition(b":")[0].lower() not in listed]
            block = b"\n".join(kept)
        return found, block, options

    def _length(self, found: dict[bytes, bytes], version: int) -> tuple[int | None, bool]:
        """
        The framing that the fields state (RFC 9112 section 6).

        @return: the length, and whether it is chunked; C{(None, False)} where
            nothing is said.
        """
        stated = found.get(b"content-length")
        if b"transfer-encoding" in found:
            if stated is not None:
                raise self.error(400, "both Transfer-Encoding and Content-Length")
            if version == 10:
                raise self.error(400, "Transfer-Encoding in HTTP/1.0")
            coding = found[b"transfer-encoding"]
            if coding != b"chunked":
                if _OTHER_CODINGS.fullmatch(coding) is not None:
                    raise self.error(501, "a transfer coding other than chunked")
                raise self.error(400, "Transfer-Encoding is not exactly chunked")
            return None, True
        if stated is None:
            return None, False
        if len(stated) > _MAX_DIGITS or not stated.isdigit():
            raise self.error(400, "Content-Length is not a number")
        return int(stated), False


_KEPT = frozenset((b"host", b"content-length", b"expect"))
_KNOWN_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"))

# Fits 64 bits, signed, wherever the number goes from here.
_MAX_DIGITS = 18


class RequestReader(_HeadReader):
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
        super().__init__(maxBytes, maxFields, special, tuple(drop), line, _PLAIN_REQUEST)
        self.maxTarget = maxTarget
        self._anyCase = anyCase
        self._maxLine = maxTarget + _MORE_THAN_TARGET
        self._harmless = min(self._harmless, maxTarget)
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
        match = self._match(data)
        if match is None:
            self.explain(data, 0, 0)
            if len(data) > self.maxBytes:
                raise self.tooLarge()
            return None
        head = RequestHead()
        head.line, head.method, target, minor, block, host, length, option, more = match.groups()
        head.target = target
        head.size = size = match.end()
        if size > self._harmless:
            self._checkTarget(head)
            self._checkSizes(size, block + more)
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
                block = _cut(block, match.start(5), match.span(8))
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
        found, block, options = self._split(block)
        head.fields = Fields(block)
        host = found.get(b"host")
        head.host = self._goodHosts.get(host) or self._checkHost(host, version)
        length, head.chunked = self._length(found, version)
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
                raise BadRequest(417, "an expectation that is not known")

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
            raise BadRequest(400, "the Host field is not a host")
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
            raise BadRequest(400, "the target and the Host field differ")
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


class ResponseReader(_HeadReader):
    """
    Reads response heads; keeps nothing between two calls.

    @param drop: names of fields that no server may send, as for requests.
    """

    skipsEmptyLine = False
    shortest = len(b"HTTP/1.1 200\r\n\r\n")

    @staticmethod
    def error(_status: int, reason: str) -> MessageError:
        return BadResponse(reason)

    def __init__(
        self, maxBytes: int = 65536, maxFields: int = 256, drop: Iterable[bytes] = ()
    ) -> None:
        special = (b"content-length", *HOP_BY_HOP)
        super().__init__(
            maxBytes, maxFields, special, tuple(drop), _STATUS_LINE, _PLAIN_RESPONSE
        )

    def checkBeginning(self, data: bytes | bytearray, start: int) -> None:
        good = b"HTTP/1.1 200 "
        # What is missing is taken from a good line; its end may have begun.
        come = data[: len(good)].replace(b"\r", b" ")
        if _isStatusLine(come + good[len(come) :]) is None:
            raise BadResponse("it does not begin like HTTP/1")

    def checkLine(self, line: bytes) -> None:
        if _isStatusLine(line) is None:
            raise BadResponse("the status line is not well formed")

    def read(self, data: bytes, method: bytes) -> ResponseHead | None:
        """
        Read the head that C{data} begins with.

        @param method: of the request, which decides whether a body follows
            (RFC 9112 section 6.3).
        @return: the head, or L{None} if it is not complete and may become good.
        @raise BadResponse: if it is not acceptable.
        """
        match = self._match(data)
        if match is None:
            self.explain(data, 0, 0)
            if len(data) > self.maxBytes:
                raise self.tooLarge()
            return None
        head = ResponseHead()
        head.line, minor, status, block, length, option, more = match.groups()
        head.size = size = match.end()
        if size > self._harmless:
            self._checkSizes(size, block + more)
        head.status = code = _STATUSES[status]
        if minor == b"1":
            head.version = 11
            head.keepAlive = option != b"close"
        else:
            head.version = 10
            head.keepAlive = option is not None and option != b"close"
        # Whatever they say, no body follows (RFC 9112 6.3, RFC 9110 8.6).
        nothing = code < 200 or code == 204 or (method == b"CONNECT" and code < 300)
        if more:
            self._takeFields(head, block + more, nothing)
        else:
            if option is not None:
                block = _cut(block, match.start(4), match.span(6))
            head.fields = Fields(block)
            head.length = None if length is None else int(length)
            head.chunked = False
            head.upgrade = b""
        if nothing:
            head.length = 0
            if length is not None or more:
                head.fields.remove(b"content-length")
        elif code == 304 or method == b"HEAD":
            head.length = 0
            head.chunked = False
        elif head.length is None and not head.chunked:
            head.keepAlive = False
        return head

    def _takeFields(self, head: ResponseHead, block: bytes, nothing: bool) -> None:
        """
        Take what the fields say that are not plain.

        @param nothing: no body follows, whatever they say of one.
        """
        version = head.version
        found, block, options = self._split(block)
        head.fields = Fields(block)
        head.length, head.chunked = (0, False) if nothing else self._length(found, version)
        head.keepAlive = b"close" not in options and (version == 11 or b"keep-alive" in options)
        head.upgrade = found.get(b"upgrade", b"") if b"upgrade" in options else b""


def _cut(block: bytes, start: int, option: tuple[int, int]) -> bytes:
    """
    Cut C{Connection} out of the fields of a plain head.

    @param start: where the block begins in the data.
    @param option: where the value of C{Connection} is in the data.
    """
    begin, end = option
    return block[: begin - start - _CONNECTION] + block[end - start + 1 :]


_STATUSES = {b"%d" % status: status for status in range(100, 1000)}


class Partial:
    """
    A head that did not come in one piece. Lines are checked once, when their
    end comes, and no byte is looked at more than a few times, so that a drip of
    bytes costs no more than one segment.

    @ivar data: what has come so far.
    """

    __slots__ = ("_checked", "_reader", "data")

    def __init__(self, reader: RequestReader | ResponseReader, data: bytes) -> None:
        """
        @param data: what has come; the reader has read it and wanted more.
        """
        self._reader = reader
        self.data = bytearray(data)
        self._checked = data.rfind(b"\n") + 1

    def feed(self, data: bytes) -> bytes | None:
        """
        @return: everything that has come, if a whole head is among it.
        @raise MessageError: if it cannot become a good head.
        """
        reader = self._reader
        held = self.data
        seen = len(held)
        held += data
        if held.find(b"\r\n\r\n", max(0, seen - 3)) >= 0:
            return bytes(held)
        self._checked = reader.explain(held, self._checked, seen)
        if len(held) > reader.maxBytes:
            raise reader.tooLarge()
        return None
