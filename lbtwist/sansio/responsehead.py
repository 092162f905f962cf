"""
The heads of responses: the status line, and whether a body follows. What they have in
common with those of requests is L{lbtwist.sansio.http1}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lbtwist.errors import BadResponse, MessageError
from lbtwist.sansio.grammar import HOP_BY_HOP, VALUE
from lbtwist.sansio.headers import Fields
from lbtwist.sansio.http1 import Head, HeadReader, cut

_STATUS_LINE = rb"(HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + VALUE + rb")?)"
# Fields of a plain head that are looked at; (?(N)(?!)) fails where group N has come.
_PLAIN = (
    rb"[Cc]on(?:tent-[Ll]ength: (?(5)(?!))([0-9]{1,18})"
    rb"|nection: (?(6)(?!))([Kk]eep-[Aa]live|close))\r\n"
)
_isStatusLine = re.compile(_STATUS_LINE).fullmatch
_STATUSES = {b"%d" % status: status for status in range(100, 1000)}


class ResponseHead(Head):
    """The head of a response, checked."""

    __slots__ = ("status",)

    status: int


class ResponseReader(HeadReader):
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
            maxBytes, maxFields, special, tuple(drop), _STATUS_LINE, _PLAIN
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
        match = self.match(data)
        if match is None:
            self.explainWhole(data)
            return None
        head = ResponseHead()
        head.line, minor, status, block, length, option, more = match.groups()
        head.size = size = match.end()
        if size > self.harmless:
            self.checkSizes(size, block + more)
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
                block = cut(block, match.start(4), match.span(6))
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
        found, block, options = self.split(block)
        head.fields = Fields(block)
        head.length, head.chunked = (0, False) if nothing else self.framing(found, version)
        head.keepAlive = b"close" not in options and (version == 11 or b"keep-alive" in options)
        head.upgrade = found.get(b"upgrade", b"") if b"upgrade" in options else b""
