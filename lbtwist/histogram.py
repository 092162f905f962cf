"""
How long things took: a histogram that is exact about how many and how long in all, and knows
every percentile within a few percent, whatever the times are.

Its buckets are those of a C{float} itself. Of a C{double} the upper 16 bits are its sign, its
exponent and the first four bits of its fraction (IEEE 754-2008 section 3.4): taken as a
number they count upward with the value, 16 steps to an octave. So no logarithm is needed and
no bounds are compared: C{frexp} and C{bisect} take two to three times as long. A step is at
most 1/16 of the value, its middle at most 1/32 away from anything in it.

Even so little is too much on the way of every exchange, where what is done seldom is not in
the CPU's cache: L{Times} only writes times down there, and sorts many of them at once.

Not here: whose time it is (L{lbtwist.stats}), and how it is shown.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import add

_STEPS = 16
"""Buckets of one octave."""

LEAST = 2.0**-20
"""Seconds, about a microsecond: what took less is counted as if it had taken so long."""

MOST = 2.0**27
"""The same for what took more, four years."""

ERROR = 1 / 32
"""How far a percentile is off at the most, as a part of it; but for what is below L{LEAST}."""

_TOP = 3 if sys.byteorder == "little" else 0
"""Which quarter of a C{double} is its upper 16 bits."""

_BASE = (1023 - 20) * _STEPS
"""What those of L{LEAST} are: the bucket of a number is what its are, less this."""

_BUCKETS = 47 * _STEPS

WRITTEN_DOWN = 256
"""So many times are sorted at once."""


def boundOf(at: int) -> float:
    """@return: where a bucket begins, and the one before it ends, in seconds."""
    octave, step = divmod(at, _STEPS)
    return LEAST * 2.0**octave * (1 + step / _STEPS)


def _upper(times: Iterable[float]) -> memoryview:
    """@return: the upper 16 bits of each."""
    return memoryview(array("d", times)).cast("B").cast("H")[_TOP::4]


def _bucketOf(seconds: float) -> int:
    return _upper((seconds,))[0] - _BASE


class Histogram:
    """
    Times in seconds.

    @ivar counts: how many there were in each bucket; grows with what is seen.
    @ivar count: how many there were.
    @ivar sum: of all of them.
    """

    __slots__ = ("count", "counts", "sum")

    def __init__(self, times: Iterable[float] = ()) -> None:
        self.counts: list[int] = []
        self.count = 0
        self.sum = 0.0
        for one in times:
            self.observe(one)

    def __repr__(self) -> str:
        return f"<Histogram {self.count} times {self.sum:g} s>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return dict(self.filled()) == dict(other.filled()) and self.sum == other.sum

    @classmethod
    def of(cls, counts: list[int], seconds: float = 0.0) -> Histogram:
        """@return: that of so many in each bucket, and of so many seconds in all."""
        found = cls()
        found.counts = counts
        found.count = sum(counts)
        found.sum = seconds
        return found

    @property
    def longest(self) -> float:
        """The longest time, off by L{ERROR}; 0.0 where there is none."""
        for at in range(len(self.counts) - 1, -1, -1):
            if self.counts[at]:
                return (boundOf(at) + boundOf(at + 1)) / 2
        return 0.0

    def observe(self, seconds: float) -> None:
        """Add one time; what is below nought, or no number, is none."""
        if not seconds >= 0:
            return
        seconds = min(seconds, MOST)
        at = _bucketOf(max(seconds, LEAST))
        self._grow(at)
        self.counts[at] += 1
        self.count += 1
        self.sum += seconds

    def observeAll(self, times: Sequence[float]) -> None:
        """Add many at once."""
        if not times:
            return
        found = Counter(_upper(times))
        most = max(found) - _BASE
        if min(found) < _BASE or most >= _BUCKETS:
            for one in times:
                self.observe(one)
            return
        self._grow(most)
        counts = self.counts
        for bits, count in found.items():
            counts[bits - _BASE] += count
        self.count += len(times)
        self.sum += sum(times)

    def _grow(self, at: int) -> None:
        """Have a bucket."""
        lack = at + 1 - len(self.counts)
        if lack > 0:
            # To the end of the octave: the next ones are likely to be near.
            self.counts += [0] * (lack + _STEPS - 1 - at % _STEPS)

    def add(self, other: Histogram) -> None:
        """Count all that another one has counted, too."""
        counts, others = self.counts, other.counts
        counts += [0] * (len(others) - len(counts))
        counts[: len(others)] = map(add, counts, others)
        self.count += other.count
        self.sum += other.sum

    def filled(self) -> Iterator[tuple[int, int]]:
        """@return: the buckets in which there is something, and how many."""
        return ((at, count) for at, count in enumerate(self.counts) if count)

    def percentile(self, percent: float) -> float:
        """
        @param percent: 50 is the median, 100 the longest.
        @return: the time that so many took at the most, off by L{ERROR}; of several that
            would do the shortest. 0.0 where there is none.
        """
        sums = list(accumulate(self.counts))
        if not sums or not sums[-1]:
            return 0.0
        wanted = max(1, -(-sums[-1] * percent // 100))
        at = min(bisect_left(sums, wanted), len(sums) - 1)
        return (boundOf(at) + boundOf(at + 1)) / 2

    def below(self, bounds: tuple[float, ...]) -> list[int]:
        """
        @param bounds: in seconds, rising.
        @return: how many took less than each. Of those in the bucket that a bound cuts in
            two so many as its place in it says: they are off by less than two L{ERROR} of it.
        """
        sums = [0, *accumulate(self.counts)]
        last = len(sums) - 1
        counts = [*self.counts, 0]
        return [
            sums[at] + int(part * counts[at]) if at < last else sums[last]
            for at, part in _placesOf(bounds)
        ]


@lru_cache(16)
def _placesOf(bounds: tuple[float, ...]) -> tuple[tuple[int, float], ...]:
    """@return: the bucket of each, and how much of it is below."""
    found = []
    for bound in bounds:
        at = max(_bucketOf(bound), 0)
        start = boundOf(at)
        found.append((at, max(0.0, (bound - start) / (boundOf(at + 1) - start))))
    return tuple(found)


class Times:
    """
    How long exchanges took. The letters are those of HAProxy's log.

    @ivar connected: of one connection to a server, TLS and all, until it stood (Tc); used
        again, it takes no time and is not counted again.
    @ivar queued: in the queue, of those that had to wait there, whether they got a server or
        not (Tw).
    @ivar by: the traffic of the frontend that they came by; L{None} if that does not matter.
    @ivar pending: what L{took} and L{responded} do not know yet: of each exchange the one and
        the other, of which the latter counts if it is above nought. Whoever makes it
        L{WRITTEN_DOWN} long calls L{sort}.
    """

    __slots__ = ("_responded", "_took", "by", "connected", "pending", "queued")

    def __init__(self) -> None:
        self._took = Histogram()
        self._responded = Histogram()
        self.connected = Histogram()
        self.queued = Histogram()
        self.by: object = None
        self.pending: list[float] = []

    def __repr__(self) -> str:
        return f"<Times {self.took.count} exchanges>"

    @classmethod
    def of(cls, several: Iterable[Times]) -> Times:
        """@return: all that several have counted."""
        found = cls()
        for one in several:
            found.add(one)
        return found

    @property
    def took(self) -> Histogram:
        """
        From the first byte of the request to the last of the response, of every exchange
        (Ta); in C{mode = tcp} the whole session.
        """
        self.sort()
        return self._took

    @property
    def responded(self) -> Histogram:
        """From the connection to the server to its response head (Tr)."""
        self.sort()
        return self._responded

    def sort(self) -> None:
        """Let what is written down be counted."""
        pending = self.pending
        if pending:
            took, responded = pending[::2], pending[1::2]
            pending.clear()
            self._took.observeAll(took)
            # Below nought it is that of an earlier attempt, or of none.
            self._responded.observeAll([one for one in responded if one > 0])

    def add(self, other: Times) -> None:
        """Count all that another one has counted, too."""
        self.took.add(other.took)
        self.responded.add(other.responded)
        self.connected.add(other.connected)
        self.queued.add(other.queued)
