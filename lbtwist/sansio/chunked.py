"""
Bodies in chunks (RFC 9112 section 7.1): reading them in any pieces, and writing them.

Not here: which body comes in chunks (L{lbtwist.sansio.http1}).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from lbtwist.errors import MessageError
from lbtwist.sansio.grammar import HOP_BY_HOP, isFieldLine

# Fields that must not come as trailers: what frames, routes, modifies, permits or
# describes a message is known before its body (RFC 9110 6.5.1); and what tells of
# the client, which a server that merges trailers would take for ours.
_NOT_TRAILERS = frozenset(
    HOP_BY_HOP
    + (b"host", b"content-length", b"trailer", b"content-encoding", b"content-type",
       b"content-range", b"authorization", b"proxy-authorization", b"proxy-authenticate",
       b"proxy-authentication-info", b"authentication-info", b"www-authenticate",
       b"set-cookie", b"cookie", b"expect", b"cache-control", b"pragma", b"max-forwards",
       b"range", b"if-match", b"if-none-match", b"if-modified-since",
       b"if-unmodified-since", b"if-range", b"age", b"expires", b"date", b"location",
       b"retry-after", b"vary", b"warning", b"forwarded", b"x-forwarded-for",
       b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-host", b"x-real-ip", b"via")
)  # fmt: skip


# What tells of the client begins so; a server that merges trailers would take it for ours.
_OF_THE_CLIENT = (b"x-ssl", b"client-cert", b"x-forwarded-")


def trailerLines(block: bytes) -> bytes:
    """
    What of a trailer section is passed on: all but the fields that must not
    come there (RFC 9110 section 6.5.1), C{_} taken for C{-} as servers do.
    """
    if not block:
        return b""
    lines = block[:-2].split(b"\r\n")
    names = [line.partition(b":")[0].lower().replace(b"_", b"-") for line in lines]
    return b"".join(
        line + b"\r\n"
        for name, line in zip(names, lines, strict=True)
        if name not in _NOT_TRAILERS and not name.startswith(_OF_THE_CLIENT)
    )


def without(lines: bytes, names: Collection[bytes]) -> bytes:
    """
    @param lines: trailers, as they are passed on.
    @param names: in lower case, C{-} for C{_}; C{x-*} is all that begin so.
    @return: the lines of other names.
    """
    beginnings = tuple(name[:-1] for name in names if name.endswith(b"*"))
    kept = []
    for line in lines.splitlines(keepends=True):
        name = line.partition(b":")[0].lower().replace(b"_", b"-")
        if name not in names and not (beginnings and name.startswith(beginnings)):
            kept.append(line)
    return b"".join(kept)


_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(\r\n|;)")
# As far as a size may have come: refuses early what can never become one.
_SIZE_BEGINS = re.compile(rb"(?:[0-9A-Fa-f]{1,15}\r?)?")
_EXTENSION = re.compile(rb"([\t\x20-\x7e\x80-\xff]*+)(\r\n|\r?\Z)")


class ChunkedReader:
    """
    Reads a chunked body (RFC 9112 section 7.1) in any pieces.

    Extensions are read and forgotten: they concern one connection only. They are
    bounded, in one line and in a whole body, so that a body cannot be made of
    nothing else. Space before an extension or the line end is refused.

    @ivar done: the last chunk and the trailers have come.
    @ivar rest: what came after them.
    @ivar trailers: complete lines, the passable ones.
    """

    __slots__ = (
        "_checked", "_data", "_error", "_extension", "_extensions", "_left", "_section", "_state",
        "done", "rest", "trailers",
    )  # fmt: skip

    MAX_EXTENSION = 1024
    MAX_EXTENSIONS = 16 * 1024
    MAX_TRAILERS = 16 * 1024

    def __init__(self, error: Callable[[str], MessageError]) -> None:
        """
        @param error: makes what is raised, of a reason.
        """
        self._error = error
        self._state = 0
        self._data = b""
        self._left = 0
        self._extension = 0
        self._extensions = 0
        self._section = bytearray()
        self._checked = 0
        self.done = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        """
        @return: the payload among C{data}, possibly nothing.
        @raise MessageError: if it is not well formed; made by the C{error} given.
        """
        if self._data:
            data = self._data + data
            self._data = b""
        pieces = []
        at = 0
        size = len(data)
        while True:
            if self._state == 0:  # a size
                match = _SIZE.match(data, at)
                if match is None:
                    if _SIZE_BEGINS.fullmatch(data, at) is None:
                        raise self._bad("a chunk size that is not well formed", data, at)
                    self._data = data[at:]
                    break
                digits, end = match.groups()
                at = match.end()
                self._left = int(digits, 16)
                if end == b";":
                    self._extension = 0
                    self._state = 1
                else:
                    self._state = 2 if self._left else 4
            elif self._state == 1:  # an extension
                match = _EXTENSION.match(data, at)
                if match is None:
                    raise self._bad("a chunk extension that is not well formed", data, at)
                length = len(match[1])
                self._extension += length
                self._extensions += length
                if self._extension > self.MAX_EXTENSION or self._extensions > self.MAX_EXTENSIONS:
                    raise self._bad("chunk extensions without end", data, at)
                if match[2] != b"\r\n":
                    self._data = match[2]
                    break
                at = match.end()
                self._state = 2 if self._left else 4
            elif self._state == 2:  # data
                stop = at + self._left
                if stop > size:
                    pieces.append(data[at:] if at else data)
                    self._left = stop - size
                    break
                pieces.append(data[at:stop])
                at = stop
                self._state = 3
            elif self._state == 3:  # the line end after data
                if not data.startswith(b"\r\n", at):
                    if data[at:] not in (b"", b"\r"):
                        raise self._bad("a chunk longer than it says", data, at)
                    self._data = data[at:]
                    break
                at += 2
                self._state = 0
            else:
                self._feedTrailers(data, at)
                break
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces)

    def _bad(self, reason: str, data: bytes | bytearray, at: int) -> MessageError:
        error = self._error(reason)
        error.data = bytes(data)
        error.position = at
        return error

    def _feedTrailers(self, data: bytes, at: int) -> None:
        section = self._section
        if not section and data.startswith(b"\r\n", at):
            self.rest = data[at + 2 :]
            self.done = True
            return
        seen = len(section)
        section += data[at:]
        start = self._checked
        while True:
            end = section.find(b"\n", max(start, seen))
            if (len(section) if end < 0 else end + 1) > self.MAX_TRAILERS:
                raise self._bad("trailers without end", section, start)
            if end < 0:
                break
            line = bytes(section[start : end + 1])
            if line == b"\r\n":
                self.trailers = trailerLines(bytes(section[:start]))
                self.rest = bytes(section[end + 1 :])
                self.done = True
                return
            if not line.endswith(b"\r\n") or isFieldLine(line[:-2]) is None:
                raise self._bad("trailers that are not well formed", section, start)
            start = end + 1
        self._checked = start


def chunk(data: bytes) -> bytes:
    """One chunk around some data, which is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def lastChunk(trailers: bytes) -> bytes:
    """The end of a chunked body."""
    return b"0\r\n%b\r\n" % trailers
