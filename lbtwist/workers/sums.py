"""
The parent's counters and gauges, which are the sums of those of its workers. What is added is
L{lbtwist.workers.tally}'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lbtwist.service import LoadBalancer
from lbtwist.workers import tally

Gauges = Mapping[str, Any]
"""
What a worker has at once, by what it has it: C{p} for all (connections now, and so far),
C{fNAME} for frontends (connections), C{pNAME} for pools (slots, and who waits),
C{sPOOL/NAME} for servers (slots). Names of pools have no slash.
"""


class Sums:
    """Those of one balancer."""

    def __init__(self, balancer: LoadBalancer) -> None:
        self._balancer = balancer

    def count(self, counted: Mapping[str, tally.Plain]) -> None:
        """
        @param counted: what a worker has counted, by the keys of L{Gauges}; C{l} is what it has
            lost, see L{LoadBalancer.lost}.
        """
        for key, said in counted.items():
            if key == "l":
                lost: Any = said
                self._balancer.lost(*lost)
                continue
            for traffic in self._trafficOf(key[0], key[1:]):
                tally.add(traffic, said)

    def _trafficOf(self, kind: str, name: str) -> Iterator[Any]:
        balancer = self._balancer
        if kind == "f":
            if name in balancer.frontends:
                yield balancer.frontends[name].inbound.traffic
        elif kind == "p":
            if name in balancer.pools:
                yield balancer.pools[name].traffic
        else:
            pool, _, server = name.partition("/")
            if pool in balancer.pools:
                for one in balancer.pools[pool].servers:
                    if one.name == server:
                        yield one.traffic

    def accepted(self, before: Gauges, now: Gauges) -> None:
        """A worker, which has said the one, has said the other."""
        if now:
            self._balancer.process.accepted += now["p"][1] - (before["p"][1] if before else 0)

    def gauge(self, workers: Iterable[Gauges]) -> None:
        """@param workers: what each of them has now."""
        balancer = self._balancer
        found: dict[str, int] = {}
        queued: dict[str, int] = {}
        for gauges in workers:
            for key, said in gauges.items():
                now = said
                if key[0] == "p":
                    now = said[0]
                    queued[key] = queued.get(key, 0) + said[1]
                found[key] = found.get(key, 0) + now
        balancer.process.active = found.get("p", 0)
        for frontend in (*balancer.retired, *balancer.allFrontends):
            frontend.inbound.active = 0
        for frontend in balancer.allFrontends:
            frontend.inbound.active = found.get(f"f{frontend.name}", 0)
        for frontend in list(balancer.retired):
            if not frontend.inbound.active and frontend.inbound.idle is not None:
                frontend.inbound.idle()
        for pool in balancer.allPools:
            key = f"p{pool.name}"
            pool.active = found.get(key, 0)
            pool.elsewhere = queued.get(key, 0)
            for server in pool.servers:
                server.active = found.get(f"s{pool.name}/{server.name}", 0)
