"""
The last bytes that a parser has refused: what came, from whom, and where it went wrong.

Plain values; they are taken where something is refused, and nothing of this is asked for
where all goes well. Who takes them says where they are to be found: a frontend has those of
its clients, a pool those of its servers. Not here: how they are shown
(L{lbtwist.admin.recorded}).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attr

REQUEST = "request"
RESPONSE = "response"
PROXY = "PROXY header"
HELLO = "ClientHello"

MOST_CAPTURES = 10
"""Of each side so many are kept."""

KEPT = 2048
"""Bytes that are kept of one, around the one that was wrong."""

CALM = 1.0
"""
Seconds in which no more than L{MOST_CAPTURES} are taken: whoever sends nothing but nonsense
shall not have it looked at twice. The others are counted.
"""


@attr.frozen
class Capture:
    """
    Bytes that were refused.

    @ivar number: counted from 1 on its side.
    @ivar at: when, by the clock.
    @ivar kind: L{REQUEST}, L{RESPONSE}, L{PROXY} or L{HELLO}.
    @ivar pool: its name; C{""} if it was not known yet, as C{server}.
    @ivar reason: what is wrong, in words.
    @ivar data: those that were kept.
    @ivar start: where they begin among all.
    @ivar size: of all that were looked at.
    @ivar position: which one was wrong, counted from 0; C{size} if something is missing.
    """

    number: int
    at: float
    kind: str
    frontend: str
    pool: str
    server: str
    client: tuple[str, int]
    reason: str
    data: bytes
    start: int
    size: int
    position: int


class Captures:
    """
    Those of one side.

    @ivar recent: the newest last.
    @ivar count: how many there were.
    """

    def __init__(self) -> None:
        self.recent: deque[Capture] = deque(maxlen=MOST_CAPTURES)
        self.count = 0

    def take(
        self, at: float, kind: str, frontend: str, pool: str, server: str,
        client: tuple[str, int], reason: str, data: bytes, where: Callable[[bytes], int],
    ) -> None:  # fmt: skip
        """
        Keep something.

        @param at: the clock's seconds.
        @param data: all of it.
        @param where: is asked, if it is kept, which byte of the data was wrong.
        """
        self.count += 1
        recent = self.recent
        if len(recent) == MOST_CAPTURES and at - recent[0].at < CALM:
            return
        size = len(data)
        position = min(max(where(data), 0), size)
        start = max(min(position - KEPT // 2, size - KEPT), 0)
        recent.append(Capture(
            self.count, at, kind, frontend, pool, server, client, reason,
            data[start : start + KEPT], start, size, position,
        ))  # fmt: skip

    def plain(self) -> list[Any]:
        """@return: all of them, of what JSON has; empty if there are none. See L{absorb}."""
        kept = [{**attr.asdict(one), "data": one.data.hex()} for one in self.recent]
        return [self.count, kept] if self.count else []

    def absorb(self, said: Sequence[Any]) -> None:
        """@param said: what L{plain} has said of others, which are these too from now on."""
        if not said:
            return
        count, kept = said
        for one in kept:
            host, port = one["client"]
            self.recent.append(Capture(**{
                **one, "number": self.count + one["number"], "client": (host, port),
                "data": bytes.fromhex(one["data"]),
            }))  # fmt: skip
        self.count += count
