"""
Counters: what went through a frontend, a pool and a server.

Plain integers in slots, counted by L{count}, an observer of exchanges; whoever
shows them reads them. Not here: logs, and anything kept over time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attr

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange


@attr.define(eq=False)
class Traffic:
    """
    What went through one part of the balancer.

    @ivar responses: counts by class of status: [other, 1xx, 2xx, 3xx, 4xx, 5xx].
    @ivar failed: exchanges that ended otherwise than in good order.
    """

    exchanges: int = 0
    bytesIn: int = 0
    bytesOut: int = 0
    failed: int = 0
    responses: list[int] = attr.field(factory=lambda: [0, 0, 0, 0, 0, 0])


@attr.define(eq=False)
class FrontendTraffic(Traffic):
    """
    @ivar connections: accepted so far.
    @ivar refused: requests that were not acceptable, or that a rule refused.
    @ivar proxyRefused: connections without the PROXY header that they needed, or with
        one that was not acceptable.
    @ivar handshakes: TLS handshakes that succeeded.
    @ivar handshakesFailed: those that did not, connections without a ClientHello among
        them.
    """

    connections: int = 0
    refused: int = 0
    proxyRefused: int = 0
    handshakes: int = 0
    handshakesFailed: int = 0


@attr.define(eq=False)
class PoolTraffic(Traffic):
    """
    @ivar retries: attempts that were made after one that had failed.
    @ivar redispatched: exchanges that went to another server than the first.
    @ivar hedges: second servers that were asked because the first had not answered.
    @ivar hedgesWon: those of them that took the place of the first.
    @ivar overBudget: attempts that were not made because there were too many.
    """

    retries: int = 0
    redispatched: int = 0
    hedges: int = 0
    hedgesWon: int = 0
    overBudget: int = 0


@attr.define(eq=False)
class ServerTraffic(Traffic):
    """
    @ivar connects: connections made to it.
    @ivar connectFailures: connects that failed or timed out.
    @ivar tlsFailures: those of them that failed in TLS, its certificate's verification
        among them.
    @ivar reuses: exchanges that went out on a connection it already had.
    @ivar checks: checks run.
    @ivar checkFailures: checks that failed.
    @ivar wentDown: how often it was marked down.
    @ivar suspected: how often so many exchanges with it had failed in a row as C{error-limit}
        says.
    @ivar ejections: how often it was ejected as an outlier.
    @ivar ejectionsRefused: how often it was not, because too many were already.
    """

    connects: int = 0
    connectFailures: int = 0
    tlsFailures: int = 0
    reuses: int = 0
    checks: int = 0
    checkFailures: int = 0
    wentDown: int = 0
    suspected: int = 0
    ejections: int = 0
    ejectionsRefused: int = 0


def count(exchange: Exchange) -> None:
    """Count one finished exchange wherever it went through."""
    status = exchange.status // 100
    if status > 5:
        status = 0
    bytesIn = exchange.bytesIn
    bytesOut = exchange.bytesOut
    # What we were told to answer by ourselves is in good order too.
    failed = exchange.cause not in ("-", "L")
    traffic = exchange.frontend.traffic
    traffic.exchanges += 1
    traffic.bytesIn += bytesIn
    traffic.bytesOut += bytesOut
    traffic.responses[status] += 1
    if failed:
        traffic.failed += 1
        if exchange.cause == "P" and exchange.status != 502 and exchange.response is None:
            traffic.refused += 1
    pool = exchange.pool
    if pool is None:
        return
    traffic = pool.traffic
    traffic.exchanges += 1
    traffic.bytesIn += bytesIn
    traffic.bytesOut += bytesOut
    traffic.responses[status] += 1
    if failed:
        traffic.failed += 1
    if exchange.retries:
        traffic.retries += exchange.retries
        traffic.redispatched += exchange.redispatched
    server = exchange.server
    if server is None:
        return
    traffic = server.traffic
    traffic.exchanges += 1
    traffic.bytesIn += bytesIn
    traffic.bytesOut += bytesOut
    traffic.responses[status] += 1
    if failed:
        traffic.failed += 1
    if exchange.reused:
        traffic.reuses += 1
