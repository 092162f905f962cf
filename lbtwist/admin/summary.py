"""
The verb C{show top}: what C{lbtwist top} shows, in one answer and no more than that, since it
is asked for once a second: counters that only rise, of which who asks makes rates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from lbtwist import __version__
from lbtwist.admin.finding import poolNamed
from lbtwist.admin.rows import statusOf
from lbtwist.admin.verbs import Answer, Asked, Level, Verb
from lbtwist.events import stateOf
from lbtwist.looking import frontendState, poolState
from lbtwist.pool import Pool
from lbtwist.service import Frontend, LoadBalancer
from lbtwist.stats import Traffic

_NAMES = ("kind", "name", "state", "active", "limit", "queued", "exchanges", "failed", "5xx",
          "in", "out", "took", "weight", "check")  # fmt: skip


def showTop(asked: Asked, words: Sequence[str]) -> Answer:
    """
    C{show top [<pool>]}: C{took} is the sum of the seconds that its C{exchanges} took; C{at} is
    by a clock that never goes back.
    """
    balancer = asked.balancer
    if words:
        rows = list(_ofPool(poolNamed(balancer, words[0])))
    else:
        rows = list(_rows(balancer))
    inbounds = [frontend.inbound for frontend in balancer.frontends.values()]
    now = balancer.deadlines.seconds()
    value = {
        "version": __version__, "pid": os.getpid(), "at": now, "now": balancer.wallclock(),
        "uptime": now - balancer.startedAt, "level": asked.caller.level.word,
        "active": balancer.process.active, "maxconn": balancer.process.maxconn,
        "accepted": balancer.process.accepted,
        "stopping": any(inbound.draining for inbound in inbounds), "rows": rows,
    }  # fmt: skip
    lines = ["# " + " ".join(_NAMES)]
    lines += [" ".join(str(row[name]).replace(" ", "_") or "-" for name in _NAMES) for row in rows]
    return Answer("\n".join([*lines, ""]), value)


def _rows(balancer: LoadBalancer) -> Iterator[dict[str, Any]]:
    routes: dict[str, float] = {}
    pools = list(balancer.pools.values())
    for pool in pools:
        for traffic in (pool.traffic, *(server.traffic for server in pool.servers)):
            for name, times in traffic.routes.items():
                routes[name] = routes.get(name, 0.0) + times.took.sum
    for frontend in balancer.frontends.values():
        yield _ofFrontend(balancer, frontend, routes.get(frontend.name, 0.0))
    for pool in pools:
        yield from _ofPool(pool)


def _ofFrontend(balancer: LoadBalancer, frontend: Frontend, took: float) -> dict[str, Any]:
    inbound = frontend.inbound
    traffic = inbound.traffic
    return {
        "kind": "frontend", "name": frontend.name, "state": frontendState(frontend),
        "active": inbound.active, "limit": inbound.maxconn or balancer.process.maxconn,
        "queued": 0, **_traffic(traffic, took + traffic.times.took.sum), "weight": "",
        "check": "",
    }  # fmt: skip


def _ofPool(pool: Pool) -> Iterator[dict[str, Any]]:
    took = sum(times.took.sum for times in pool.traffic.routes.values())
    servers = []
    for server in pool.servers:
        mine = sum(times.took.sum for times in server.traffic.routes.values())
        took += mine
        servers.append({
            "kind": "server", "name": f"{pool.name}/{server.name}", "state": stateOf(server),
            "active": server.active, "limit": server.maxconn, "queued": pool.queuedFor(server),
            **_traffic(server.traffic, mine), "weight": round(server.weight, 1),
            "check": statusOf(pool, server),
        })  # fmt: skip
    yield {
        "kind": "pool", "name": pool.name, "state": poolState(pool), "active": pool.active,
        "limit": pool.config.maxconn, "queued": pool.queued, **_traffic(pool.traffic, took),
        "weight": "", "check": f"{len(pool.usable)}/{len(pool.servers)}",
    }  # fmt: skip
    yield from servers


def _traffic(traffic: Traffic, took: float) -> dict[str, Any]:
    return {
        "exchanges": traffic.exchanges, "failed": traffic.failed, "5xx": traffic.responses[5],
        "in": traffic.bytesIn, "out": traffic.bytesOut, "took": round(took, 6),
    }  # fmt: skip


VERBS = (
    Verb("show top [<pool>]", "what lbtwist top shows", Level.USER, showTop),
)  # fmt: skip
