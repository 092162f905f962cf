"""
The files that C{errorfile-NNN} names: a whole HTTP response each, as those of HAProxy are.

What frames the message and what concerns the connection is ours to say, so it is checked
and then left out. Which statuses the balancer answers with by itself is here too.
"""

from __future__ import annotations

import re

import attr

STATUSES = (
    400, 401, 403, 404, 405, 408, 410, 413, 414, 417, 421, 425, 429, 431, 451, 500, 501, 502,
    503, 504, 505,
)  # fmt: skip
"""Those that there is a page for."""

LARGEST = 1024 * 1024
"""Bytes of a file."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_END = re.compile(rb"\r?\n\r?\n")
_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade")
)
# RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
_BODILESS = (204, 205, 304)


@attr.frozen
class ErrorFile:
    """
    What is answered in place of a page.

    @ivar status: of the answer; 0 where the connection is closed without one.
    @ivar head: status line and fields, without those that frame the message.
    @ivar body: what follows the head.
    """

    status: int = 0
    head: bytes = attr.field(default=b"", repr=False)
    body: bytes = attr.field(default=b"", repr=False)


SILENCE = ErrorFile()
"""C{/dev/null}: nothing is sent."""


def errorFile(data: bytes) -> ErrorFile:
    """
    @param data: the whole of a file.
    @raise ValueError: with what is wrong with it.
    """
    if not data:
        raise ValueError("it is empty: /dev/null is what closes without an answer")
    if len(data) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST} bytes")
    end = _END.search(data)
    if end is None:
        raise ValueError("there is no empty line after the head")
    first, *fields = re.split(rb"\r?\n", data[: end.start()])
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        shown = first[:40].decode("ascii", "backslashreplace")
        raise ValueError(f"it begins with {shown!r}, not with a status line as HTTP/1.1 503 Sorry")
    body = data[end.end() :]
    status = int(found[1])
    lines = [b"HTTP/1.1 %d %b" % (status, found[2] or b"")]
    for number, line in enumerate(fields, 2):
        field = _FIELD.fullmatch(line)
        if field is None:
            raise ValueError(f"line {number} is not a header field")
        name = field[1].lower()
        if name == b"transfer-encoding":
            raise ValueError(f"line {number}: its body is as it is, without Transfer-Encoding")
        if name == b"content-length":
            _checkLength(field[2], len(body), number)
        elif name not in _CONNECTION:
            lines.append(b"%b: %b" % (field[1], field[2]))
    if body and status in _BODILESS:
        raise ValueError(f"a response with the status {status} has no body")
    return ErrorFile(status, b"\r\n".join(lines) + b"\r\n", body)


def _checkLength(said: bytes, length: int, number: int) -> None:
    if not said.isdigit() or len(said) > 18 or int(said) != length:
        shown = said[:20].decode("ascii", "backslashreplace")
        raise ValueError(
            f"line {number}: Content-Length is {shown}, but the body has {length} bytes"
        )
