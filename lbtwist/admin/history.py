"""
How it went in the last hour: for each frontend and pool a ring of a few numbers, one in ten
seconds, and of each server how long it took in the last ten.

It counts nothing by itself: it looks at what is counted, a few servers at a time, so that
nobody waits for it. What it keeps is bounded: L{POINTS} of L{NAMES}, four bytes each, which
are some 21 KiB of a frontend or pool with what was counted before; of a server some 3 KiB.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import attr

from lbtwist.admin.rows import OF_ONE_PIECE
from lbtwist.histogram import Histogram
from lbtwist.looking import PERIOD as LOOK
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import Frontend, LoadBalancer
from lbtwist.stats import Traffic

PERIOD = 10.0
"""Seconds from one point to the next."""

POINTS = 360
"""So many: an hour."""

NAMES = (
    "rate", "failed", "errors", "active", "queued", "in", "out", "p50", "p95", "p99",
)  # fmt: skip
"""What is known of each point: exchanges, failed ones and answers of 5xx in a second; how many
ran and waited; bytes in a second; what half of them, 95 and 99 of 100 took at the most, in
seconds."""

_UNKNOWN = math.nan
# One more, so that a point may come while they are read.
_RING = POINTS + 1


@attr.frozen
class Latency:
    """
    How long exchanges took that have ended in ten seconds.

    @ivar p50: seconds that half of them took at the most, and so on.
    """

    p50: float
    p95: float
    p99: float


class Series:
    """
    What is kept of one frontend or pool.

    @ivar latency: of the last point; L{None} where nothing has ended.
    """

    __slots__ = ("_bytes", "_counts", "_errors", "_exchanges", "_failed", "_rings", "latency")

    def __init__(self) -> None:
        self._rings = {name: array("f", [_UNKNOWN]) * _RING for name in NAMES}
        self._exchanges = self._failed = self._errors = -1
        self._bytes = 0, 0
        self._counts: list[int] = []
        self.latency: Latency | None = None

    def sample(
        self, at: int, seconds: float, traffic: Traffic, active: int, queued: int, took: Histogram
    ) -> None:  # fmt: skip
        """
        @param at: the place in the ring.
        @param seconds: since the one before.
        @param took: how long all took that have ended so far.
        """
        rings = self._rings
        for ring in rings.values():
            ring[at] = _UNKNOWN
        rings["active"][at] = active
        rings["queued"][at] = queued
        errors = traffic.responses[5]
        if self._exchanges >= 0 and seconds > 0:
            # What was counted anew begins at nought.
            rings["rate"][at] = _more(traffic.exchanges, self._exchanges) / seconds
            rings["failed"][at] = _more(traffic.failed, self._failed) / seconds
            rings["errors"][at] = _more(errors, self._errors) / seconds
            rings["in"][at] = _more(traffic.bytesIn, self._bytes[0]) / seconds
            rings["out"][at] = _more(traffic.bytesOut, self._bytes[1]) / seconds
            self.latency = _between(self._counts, took.counts)
            for name, value in attr.asdict(self.latency).items() if self.latency else ():
                rings[name][at] = value
        self._exchanges, self._failed, self._errors = traffic.exchanges, traffic.failed, errors
        self._bytes = traffic.bytesIn, traffic.bytesOut
        self._counts = took.counts

    def read(self, first: int, count: int) -> dict[str, list[float | None]]:
        """@return: so many values of each, from a place of the ring on, the oldest first."""
        return {
            name: [
                None if math.isnan(value) else round(value, 6)
                for value in (ring[(first + at) % _RING] for at in range(count))
            ]
            for name, ring in self._rings.items()
        }


def _between(before: Sequence[int], counts: Sequence[int]) -> Latency | None:
    """
    @param before: the buckets of a histogram.
    @param counts: the same a while later.
    @return: of what has ended meanwhile; L{None} if nothing has.
    """
    new = Histogram.of([
        max(count - (before[at] if at < len(before) else 0), 0)
        for at, count in enumerate(counts)
    ])  # fmt: skip
    if not new.count:
        return None
    return Latency(new.percentile(50), new.percentile(95), new.percentile(99))


def _more(now: int, before: int) -> int:
    return now - before if now >= before else now


class History:
    """The last hour of a balancer, for as long as somebody can ask for it."""

    def __init__(self, balancer: LoadBalancer) -> None:
        self._balancer = balancer
        # By kind and name: what a reload has made anew goes on.
        self._series: dict[tuple[bool, str], Series] = {}
        self._times: list[float] = []
        self._next = 0
        self._looks = 0
        self._lastAt: float | None = None
        self._took: dict[Server, tuple[int, float, array[int]]] = {}
        self._means: dict[Server, float] = {}
        self._latencies: dict[Server, Latency] = {}
        self._sampling: Iterator[None] | None = None
        self._soon: Any = None

    def __repr__(self) -> str:
        return f"<History {len(self._times)} points of {len(self._series)}>"

    def start(self) -> None:
        """Begin: the first point is of now."""
        self._balancer.looking.watchers.append(self._looked)
        self._looked()

    def stop(self) -> None:
        """Look no more; what was seen stays."""
        watchers = self._balancer.looking.watchers
        if self._looked in watchers:
            watchers.remove(self._looked)
        self._sampling = None
        soon, self._soon = self._soon, None
        if soon is not None:
            soon.cancel()

    def _looked(self) -> None:
        if self._looks % round(PERIOD / LOOK) == 0 and self._sampling is None:
            self._sampling = self._sample()
            self._goOn()
        self._looks += 1

    def _goOn(self) -> None:
        self._soon = None
        sampling = self._sampling
        if sampling is None:
            return
        if next(sampling, self) is self:
            self._sampling = None
        else:
            self._soon = self._balancer.reactor.callLater(0, self._goOn)

    def _sample(self) -> Iterator[None]:
        balancer = self._balancer
        now = balancer.deadlines.seconds()
        seconds = 0.0 if self._lastAt is None else now - self._lastAt
        self._lastAt = now
        byFrontend: dict[str, Histogram] = {}
        byPool: dict[Pool, Histogram] = {}
        took: dict[Server, tuple[int, float, array[int]]] = {}
        means: dict[Server, float] = {}
        latencies: dict[Server, Latency] = {}
        looked = 0
        for pool in list(balancer.pools.values()):
            mine = byPool[pool] = Histogram()
            _sum(pool.traffic.routes, byFrontend, mine)
            for server in list(pool.servers):
                its = Histogram()
                count, total = _sum(server.traffic.routes, byFrontend, mine, its)
                took[server] = count, total, array("Q", its.counts)
                before, totalBefore, counts = self._took.get(server, took[server])
                if count > before:
                    means[server] = max(total - totalBefore, 0.0) / (count - before)
                    latency = _between(counts, its.counts)
                    if latency is not None:
                        latencies[server] = latency
                looked += 1
                if not looked % OF_ONE_PIECE:
                    yield
        self._took, self._means, self._latencies = took, means, latencies
        at = self._next
        self._next = (at + 1) % _RING
        self._times = [*self._times[1 - POINTS :], round(balancer.wallclock(), 3)]
        series: dict[tuple[bool, str], Series] = {}
        for frontend in balancer.frontends.values():
            inbound = frontend.inbound
            own = byFrontend.setdefault(frontend.name, Histogram())
            own.add(inbound.traffic.times.took)
            found = series[_key(frontend)] = self._series.get(_key(frontend)) or Series()
            found.sample(at, seconds, inbound.traffic, inbound.active, 0, own)
        for pool, mine in byPool.items():
            if balancer.pools.get(pool.name) is pool:
                found = series[_key(pool)] = self._series.get(_key(pool)) or Series()
                found.sample(at, seconds, pool.traffic, pool.active, pool.queued, mine)
        self._series = series

    def latency(self, one: Frontend | Pool | Server) -> Latency | None:
        """@return: in the last ten seconds that were looked at; L{None} where nothing ended."""
        if isinstance(one, Server):
            return self._latencies.get(one)
        found = self._series.get(_key(one))
        return None if found is None else found.latency

    def mean(self, server: Server) -> float | None:
        """@return: the same of a server, on average, in seconds."""
        return self._means.get(server)

    @property
    def times(self) -> list[float]:
        """When the points were taken, in seconds since the epoch, the oldest first."""
        return list(self._times)

    @property
    def end(self) -> int:
        """Where the next point will be."""
        return self._next

    def of(self, one: Frontend | Pool, end: int, count: int) -> dict[str, list[float | None]]:
        """
        @param end: what L{end} was when there were C{count} of L{times}, less than
            L{PERIOD} ago.
        @return: for each of L{NAMES} so many values.
        """
        found = self._series.get(_key(one))
        if found is None:
            return {name: [None] * count for name in NAMES}
        return found.read(end - count, count)


def _key(one: Frontend | Pool) -> tuple[bool, str]:
    return isinstance(one, Pool), one.name


def _sum(
    routes: dict[str, Any], byFrontend: dict[str, Histogram], *sums: Histogram
) -> tuple[int, float]:
    """
    Add up how long exchanges took.

    @param sums: to which they are added, besides those of frontends.
    @return: how many there were, and how long they took together.
    """
    count, total = 0, 0.0
    for name, times in list(routes.items()):
        took = times.took
        if took.counts:
            for one in sums:
                one.add(took)
            byFrontend.setdefault(name, Histogram()).add(took)
            count += took.count
            total += took.sum
    return count, total
