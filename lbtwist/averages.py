"""
How long things take of late: averages in which what is old counts less and less.

They are made of histograms that are looked at again and again, and cost nothing with each
exchange. Not here: when is looked (L{lbtwist.looking}), and every percentile
(L{lbtwist.histogram}).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import add

import attr

from lbtwist.histogram import Times

MEMORY = 60.0
"""Seconds after which what was counted weighs 1/e of what is counted now."""


@attr.define(eq=False)
class Totals:
    """
    How many times there were, and how long in all, for the four of L{Times}.

    @ivar counts: of C{queued}, C{connected}, C{responded} and C{took}, in this order.
    @ivar sums: seconds, likewise.
    """

    counts: list[int] = attr.field(factory=lambda: [0, 0, 0, 0])
    sums: list[float] = attr.field(factory=lambda: [0.0, 0.0, 0.0, 0.0])

    def add(self, several: Iterable[Times]) -> None:
        """Count what others have counted, too."""
        queued, connected, responded, ended = self.counts
        waited, made, heard, lasted = self.sums
        for times in several:
            one = times.queued
            queued, waited = queued + one.count, waited + one.sum
            one = times.connected
            connected, made = connected + one.count, made + one.sum
            one = times.responded
            responded, heard = responded + one.count, heard + one.sum
            one = times.took
            ended, lasted = ended + one.count, lasted + one.sum
        self.counts = [queued, connected, responded, ended]
        self.sums = [waited, made, heard, lasted]

    def plus(self, other: Totals) -> None:
        """Count all that another one has counted, too."""
        self.counts = list(map(add, self.counts, other.counts))
        self.sums = list(map(add, self.sums, other.sums))


@attr.define(eq=False)
class Averages:
    """
    Of one server, or of one pool. While nothing is counted they stay what they were.

    @ivar queued: seconds in the queue, of every exchange: one that did not wait counts as 0.
        L{None} before there was one; so are the others.
    @ivar connected: until a new connection stood.
    @ivar responded: from there to the response head, of those that have got one.
    @ivar took: of every exchange, all of it.
    """

    queued: float | None = None
    connected: float | None = None
    responded: float | None = None
    took: float | None = None
    _before: Totals = attr.field(factory=Totals)
    _weights: list[float] = attr.field(factory=lambda: [0.0, 0.0, 0.0, 0.0])
    _lastAt: list[float] = attr.field(factory=lambda: [0.0, 0.0, 0.0, 0.0])

    def look(self, now: float, totals: Totals) -> None:
        """
        @param now: the clock's seconds.
        @param totals: all that was counted so far; may begin anew.
        """
        before, self._before = self._before, totals
        if totals.counts == before.counts:
            return
        grown = []
        for at in range(4):
            count, seconds = totals.counts[at], totals.sums[at]
            if count >= before.counts[at]:
                count -= before.counts[at]
                seconds -= before.sums[at]
            grown.append((count, max(seconds, 0.0)))
        # Who waits is counted before it has ended, so there may be more of these.
        waited, ended = grown[0], grown[3]
        self.queued = self._average(0, now, self.queued, max(waited[0], ended[0]), waited[1])
        self.connected = self._average(1, now, self.connected, *grown[1])
        self.responded = self._average(2, now, self.responded, *grown[2])
        self.took = self._average(3, now, self.took, *ended)

    def _average(
        self, at: int, now: float, average: float | None, count: int, seconds: float
    ) -> float | None:
        if not count:
            return average
        weight = self._weights[at] * math.exp((self._lastAt[at] - now) / MEMORY)
        self._weights[at] = weight + count
        self._lastAt[at] = now
        return ((average or 0.0) * weight + seconds) / (weight + count)
