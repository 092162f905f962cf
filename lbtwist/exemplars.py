"""
Examples of how long exchanges took: of each span of times the last that belongs to a trace which
somebody keeps, so that a slow one of many can be looked up.

Only frontends with C{traceparent} have any; the others do nothing for it. Not here: how they are
written (L{lbtwist.admin.exposition}).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange

FEWEST = -20
"""What took less than 2 to the power of this many seconds is of one span."""

MOST = 27
"""The same for what took more."""

Example = tuple[str, float, float]
"""The trace, the seconds that it took, and the clock's when it ended."""


class Exemplars:
    """
    Those of one frontend.

    @ivar kept: by a power of two: of what took up to so many seconds, and more than half of that.
    """

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: dict[int, Example] = {}

    def __repr__(self) -> str:
        return f"<Exemplars {len(self.kept)}>"

    def note(self, trace: str, seconds: float, at: float) -> None:
        """Keep it in the place of the last one like it."""
        power = min(max(frexp(seconds)[1], FEWEST), MOST) if seconds > 0 else FEWEST
        self.kept[power] = trace, seconds, at

    def within(self, bounds: Sequence[float]) -> list[Example | None]:
        """
        @param bounds: in seconds, rising.
        @return: for each the last that took up to so long, and longer than the one before; then
            that of those which took longer than all.
        """
        found: list[Example | None] = []
        lower = -1.0
        for upper in (*bounds, float("inf")):
            fits = [one for one in self.kept.values() if lower < one[1] <= upper]
            found.append(max(fits, key=lambda one: one[2], default=None))
            lower = upper
        return found

    def plain(self) -> list[Any]:
        """@return: what L{absorb} takes, in another process of the same machine."""
        return list(self.kept.values())

    def absorb(self, said: list[Any]) -> None:
        """Keep what another one has kept."""
        for trace, seconds, at in said:
            self.note(trace, seconds, at)


def exchangeFinished(exchange: Exchange) -> None:
    """Keep one that has ended, if its trace is sampled."""
    trace = exchange.trace
    if trace[50:52] == "01":
        now = exchange.finishedAt
        exchange.frontend.traffic.exemplars.note(trace[:32], now - exchange.startedAt, now)
