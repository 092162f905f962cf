"""
Lines that belong to a command, as they come: HAProxy's C{<<} (its management guide, 9.3).
"""

from __future__ import annotations

import re

LONGEST_PAYLOAD = 1024 * 1024
"""Bytes of the lines that belong to a command."""

_SAYS = re.compile(r"(?<!\S)<<([^\s;\\]{0,64})\s*$")


def payloadOf(line: str) -> tuple[str, Payload | None]:
    """
    @param line: without its end.
    @return: the line without what says that lines follow which belong to its last command, and
        these, none of which has come yet; L{None}: none follow.
    """
    found = _SAYS.search(line)
    if found is None:
        return line, None
    return line[: found.start()], Payload(found[1])


class Payload:
    """
    The lines of one command.

    @ivar whole: whether the line has come that ends them.
    """

    def __init__(self, end: str) -> None:
        """@param end: the line that ends them."""
        self.whole = False
        self._end = end.encode()
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def tooLong(self) -> bool:
        return self._size > LONGEST_PAYLOAD

    @property
    def text(self) -> str:
        """The lines that have come, each with its end."""
        return b"".join(line + b"\n" for line in self._lines).decode("utf-8", "replace")

    def take(self, data: bytes) -> bytes:
        """@return: what is left: no whole line, or what comes after the last one of these."""
        at = 0
        while not self.whole and (newline := data.find(b"\n", at)) >= 0:
            line = data[at:newline].removesuffix(b"\r")
            at = newline + 1
            self.whole = line == self._end
            if not self.whole:
                self._lines.append(line)
                self._size += len(line) + 1
        return data[at:]
