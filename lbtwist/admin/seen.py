"""
A running balancer as it is at one moment, ready to be written as metrics: each frontend, pool
and server with its row, its labels and its times.

The times of all are summed up at once: those of each server by each frontend are looked at one
time and not three, see L{lbtwist.stats.BackTraffic}.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attr

from lbtwist.admin.exposition import Bucketed, exemplar, labels
from lbtwist.admin.process import ProcessSeen
from lbtwist.admin.rows import OF_ONE_PIECE, Row, frontendRow, poolRow, serverRow
from lbtwist.exemplars import Exemplars
from lbtwist.histogram import Histogram, Times
from lbtwist.service import LoadBalancer
from lbtwist.stats import BackTraffic

KINDS = ("took", "responded", "connected", "queued")
"""The histograms of L{Times}."""


@attr.frozen(eq=False)
class Seen:
    """
    A frontend, a pool or a server.

    @ivar row: its row.
    @ivar one: the running one.
    @ivar labels: its labels.
    @ivar times: by the names of L{KINDS}, and C{shaken}; not those that nobody has taken.
    @ivar now: the clock's seconds.
    """

    row: Row
    one: Any
    labels: str
    times: dict[str, Bucketed]
    now: float


@attr.define(eq=False)
class Sight:
    """
    All of it.

    @ivar process: what the kernel says of the process.
    """

    balancer: LoadBalancer
    frontends: list[Seen] = attr.field(factory=list)
    pools: list[Seen] = attr.field(factory=list)
    servers: list[Seen] = attr.field(factory=list)
    process: ProcessSeen = attr.field(factory=ProcessSeen)


class _Sums:
    """The times of several, added up."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.of: dict[str, dict[str, Bucketed]] = {}

    def one(self, name: str, histogram: Histogram, *within: dict[str, Bucketed]) -> None:
        """@param within: to which its times are added."""
        if not histogram.counts:
            return
        found = Bucketed.of(histogram, self.bounds)
        for sums in within:
            before = sums.get(name)
            sums[name] = found if before is None else before.plus(found)

    def times(self, times: Times, *within: dict[str, Bucketed]) -> None:
        for name in KINDS:
            self.one(name, getattr(times, name), *within)

    def back(self, traffic: BackTraffic, *within: dict[str, Bucketed]) -> None:
        """Add those of a pool or a server, to the frontends they came by as well."""
        for name, times in traffic.routes.items():
            self.times(times, self.of.setdefault(name, {}), *within)


def _exemplars(found: Exemplars, bounds: tuple[float, ...], ahead: float) -> tuple[str, ...]:
    """@param ahead: so far are the seconds since the epoch ahead of the clock's."""
    return tuple(
        "" if one is None else exemplar(one[0], one[1], one[2] + ahead)
        for one in found.within(bounds)
    )


def look(sight: Sight, bounds: Iterable[float]) -> Iterator[None]:
    """
    Look at a balancer, a piece at a time, so that many servers hold nobody up.

    @param sight: is whole when there is nothing more to come.
    @param bounds: of the buckets of histograms, in seconds, rising.
    """
    balancer = sight.balancer
    now = balancer.deadlines.seconds()
    sums = _Sums(tuple(bounds))
    looked = 0
    for pool in list(balancer.pools.values()):
        mine: dict[str, Bucketed] = {}
        sums.back(pool.traffic, mine)
        number = balancer.looking.of(pool).number
        for server in pool.servers:
            its: dict[str, Bucketed] = {}
            sums.back(server.traffic, its, mine)
            row = serverRow(balancer, pool, server, number, now)
            said = labels(proxy=pool.name, server=server.name)
            sight.servers.append(Seen(row, server, said, its, now))
            looked += 1
            if not looked % OF_ONE_PIECE:
                yield
        said = labels(proxy=pool.name)
        sight.pools.append(Seen(poolRow(balancer, pool, now), pool, said, mine, now))
    for frontend in list(balancer.frontends.values()):
        traffic = frontend.inbound.traffic
        mine = sums.of.get(frontend.name, {})
        sums.times(traffic.times, mine)
        sums.one("shaken", traffic.shaken, mine)
        if traffic.exemplars.kept and "took" in mine:
            mine["took"] = attr.evolve(mine["took"], exemplars=_exemplars(
                traffic.exemplars, sums.bounds, balancer.wallclock() - now
            ))  # fmt: skip
        said = labels(proxy=frontend.name)
        row = frontendRow(balancer, frontend)
        sight.frontends.append(Seen(row, frontend, said, mine, now))
