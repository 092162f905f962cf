"""
What the heads of requests and of responses have in common as RFC 9112 writes them, and
stricter where peers differ: fields, limits, and how bodies are framed.

One regular expression checks a whole head. What means something to a proxy it
finds as well, if that comes once and as nearly everybody writes it: such a head is
plain. Only of another one a second expression finds what it says. Fields that mean
nothing here are never looked at and pass on as they came.

What two peers could read in two ways is refused: both framings, repeated ones
that differ, bare CR or LF, folded lines, space before a colon.

Not here: what only a request (L{lbtwist.sansio.requesthead}) or only a response
(L{lbtwist.sansio.responsehead}) has, chunked bodies (L{lbtwist.sansio.chunked}), what is
done about a message (L{lbtwist.http}), and any I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from lbtwist.errors import MessageError
from lbtwist.sansio.grammar import FIELD, NAME, isFieldLine, whyField
from lbtwist.sansio.headers import Fields, tokens

_CONNECTION = len("\nConnection: ")

# What may come before chunked, if anybody here could undo it (RFC 9112 section 7).
_OTHER_CODINGS = re.compile(rb"(?:(?!chunked[ \t;,])" + NAME + rb"[^,]*+,[ \t]*+)++chunked")

# Never removed because a Connection field lists them.
_ESSENTIAL = frozenset((b"host", b"content-length", b"transfer-encoding"))


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


class Head:
    """
    What the heads of requests and of responses say alike.

    @ivar line: the first line without its end.
    @ivar version: 10 or 11.
    @ivar fields: what is passed on: without hop-by-hop fields and those that
        the reader was told to drop.
    @ivar length: the length of the body; L{None} where it is chunked, and of a response
        also where it ends with the connection.
    @ivar chunked: the body comes in chunks.
    @ivar keepAlive: the peer would like to keep the connection.
    @ivar upgrade: what C{Upgrade} names, C{b""} for nothing.
    @ivar size: the bytes of the head.
    """

    __slots__ = (
        "line", "version", "fields", "length", "chunked", "keepAlive", "upgrade", "size",
    )  # fmt: skip

    line: bytes
    version: int
    fields: Fields
    length: int | None
    chunked: bool
    keepAlive: bool
    upgrade: bytes
    size: int

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.line!r}>"


class HeadReader:
    """
    What reading either kind of head has in common.

    @cvar skipsEmptyLine: one empty line may come before the head.
    @cvar shortest: the bytes of a head without fields.
    @ivar match: matches data that begins with a good head.
    @ivar harmless: a head of no more bytes than this keeps all limits.
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
        # The shortest field is C{a:} and its line end.
        self.harmless = min(maxBytes, self.shortest + 4 * maxFields)
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
        self.match = re.compile(line + fields).match
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

    def explainWhole(self, data: bytes) -> None:
        """
        Check data that do not begin with a good head.

        @raise MessageError: if they cannot become one.
        """
        self.explain(data, 0, 0)
        if len(data) > self.maxBytes:
            raise self.tooLarge()

    def checkSizes(self, size: int, block: bytes) -> None:
        """
        @param block: its fields.
        @raise MessageError: if a limit is not kept.
        """
        if size > self.maxBytes:
            raise self.tooLarge()
        if block.count(b"\n") - 1 > self.maxFields:
            raise self.error(431, f"more than {self.maxFields} fields")

    def split(self, block: bytes) -> tuple[dict[bytes, bytes], bytes, Sequence[bytes]]:
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
                    raise self.error(400, "more than one Host field").of(name)
                if name == b"content-length":
                    if found[name] != value:
                        raise self.error(400, "Content-Length fields that differ").of(name)
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
            raise self.error(400, "the Connection field is not a list").of(_CONN) from None
        listed = {name for name in options if name not in _KNOWN_OPTIONS}
        if listed:
            if not _ESSENTIAL.isdisjoint(listed):
                raise self.error(400, "Connection lists a field that frames the message").of(_CONN)
            lines = block.split(b"\n")
            kept = [line for line in lines if line.partition(b":")[0].lower() not in listed]
            block = b"\n".join(kept)
        return found, block, options

    def framing(self, found: dict[bytes, bytes], version: int) -> tuple[int | None, bool]:
        """
        The framing that the fields state (RFC 9112 section 6).

        @return: the length, and whether it is chunked; C{(None, False)} where
            nothing is said.
        """
        stated = found.get(b"content-length")
        if b"transfer-encoding" in found:
            if stated is not None:
                raise self.error(400, "both Transfer-Encoding and Content-Length").of(_CODING)
            if version == 10:
                raise self.error(400, "Transfer-Encoding in HTTP/1.0").of(_CODING)
            coding = found[b"transfer-encoding"]
            if coding != b"chunked":
                if _OTHER_CODINGS.fullmatch(coding) is not None:
                    raise self.error(501, "a transfer coding other than chunked").of(_CODING)
                raise self.error(400, "Transfer-Encoding is not exactly chunked").of(_CODING)
            return None, True
        if stated is None:
            return None, False
        if len(stated) > _MAX_DIGITS or not stated.isdigit():
            raise self.error(400, "Content-Length is not a number").of(b"content-length")
        return int(stated), False


_CONN = b"connection"
_CODING = b"transfer-encoding"
_KEPT = frozenset((b"host", b"content-length", b"expect"))
_KNOWN_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"))

# Fits 64 bits, signed, wherever the number goes from here.
_MAX_DIGITS = 18


def cut(block: bytes, start: int, option: tuple[int, int]) -> bytes:
    """
    Cut C{Connection} out of the fields of a plain head.

    @param start: where the block begins in the data.
    @param option: where the value of C{Connection} is in the data.
    """
    begin, end = option
    return block[: begin - start - _CONNECTION] + block[end - start + 1 :]


class Partial:
    """
    A head that did not come in one piece. Lines are checked once, when their
    end comes, and no byte is looked at more than a few times, so that a drip of
    bytes costs no more than one segment.

    @ivar data: what has come so far.
    """

    __slots__ = ("_checked", "_reader", "data")

    def __init__(self, reader: HeadReader, data: bytes) -> None:
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
