"""
Where bytes that were refused went wrong, for people: the readers themselves only say that
they did, which is all that they are fast for.

Asked when something was refused, and never before. Not here: what is done with it
(L{lbtwist.captures}).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lbtwist.errors import BalancerError
from lbtwist.sansio.grammar import NAME, VALUE


def _asFarAs(parts: Sequence[bytes]) -> Callable[[bytes], int]:
    """@return: how many bytes of a line are as these patterns, one after the other, want them."""
    pattern = b""
    for part in reversed(parts):
        pattern = rb"(?:" + part + pattern + rb")?"
    match = re.compile(pattern).match

    def count(line: bytes) -> int:
        found = match(line)
        return 0 if found is None else found.end()

    return count


def _letters(text: bytes) -> list[bytes]:
    return [re.escape(bytes((one,))) for one in text]


_requestLine = _asFarAs([NAME, b" ", rb"[!\"$-~]++", *_letters(b" HTTP/1."), b"[01]"])
_statusLine = _asFarAs([*_letters(b"HTTP/1."), b"[01]", b" ", b"[1-9]", b"[0-9]", b"[0-9]", b" ",
                        VALUE])  # fmt: skip
_fieldLine = _asFarAs([NAME, b":", VALUE])


def whereRefused(data: bytes, read: Callable[[bytes], object]) -> int:
    """
    @param data: was refused, all of it.
    @param read: reads the beginning of data, whatever it has read before; raises a
        L{BalancerError} for what cannot become good.
    @return: which byte, counted from 0, it was that could not be; the number of all if it
        was none of them.
    """
    good, bad = 0, len(data) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            read(data[:middle])
        except BalancerError:
            bad = middle
        else:
            good = middle
    return bad - 1


def inHead(data: bytes, at: int, request: bool, about: bytes = b"") -> int:
    """
    The same more exactly for a head, whose lines are judged when they end.

    @param at: what L{whereRefused} has found.
    @param request: whether it is one of a request.
    @param about: the name, in lower case, of a field that means something which is not
        acceptable; C{b""} if none does.
    """
    if about:
        found = [*re.finditer(rb"(?i)\n" + re.escape(about) + rb":[ \t]*", data[: at + 1])]
        return found[-1].end() if found else at
    if data[at : at + 1] != b"\n":
        return at
    start = data.rfind(b"\n", 0, at) + 1
    line = data[start:at].removesuffix(b"\r")
    if not line:
        return at
    first = start == 0 or (start == 2 and data.startswith(b"\r\n"))
    asFarAs = _fieldLine
    if first:
        asFarAs = _requestLine if request else _statusLine
    good = asFarAs(line)
    return at if good == len(line) else start + good
