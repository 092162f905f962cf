"""
Counters: what went through a frontend, a pool and a server, and how long it took.

Plain integers and histograms in slots, counted by L{count}, an observer of exchanges; whoever
shows them reads them. What would cost something with each exchange, how many there are at
once and how many in a second, is looked at instead, by L{lbtwist.looking}, and kept in a
L{Course}. Not here: logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.averages import Averages
from lbtwist.captures import Captures
from lbtwist.exemplars import Exemplars
from lbtwist.failures import LONGEST, Failed, Failures
from lbtwist.histogram import WRITTEN_DOWN, Histogram, Times

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

    def clear(self) -> None:
        """Begin anew."""
        fresh = type(self)()
        for field in attr.fields(type(self)):
            setattr(self, field.name, getattr(fresh, field.name))


@attr.define(eq=False)
class FrontendTraffic(Traffic):
    """
    @ivar connections: accepted so far.
    @ivar refused: requests that were not acceptable, or that a rule refused.
    @ivar denied: requests and connections that a rule refused.
    @ivar requestErrors: requests that were not acceptable, or did not come whole.
    @ivar proxyRefused: connections without the PROXY header that they needed, or with
        one that was not acceptable.
    @ivar handshakes: TLS handshakes that succeeded.
    @ivar handshakesFailed: those that did not, connections without a ClientHello among
        them.
    @ivar shaken: how long those took that succeeded, without the wait for their turn.
    @ivar times: how long exchanges took that came to no pool; see L{frontendTimes}.
    @ivar failures: what is remembered of exchanges that failed.
    @ivar captures: what clients sent that was refused.
    @ivar exemplars: traces of exchanges that took so and so long.
    """

    connections: int = 0
    refused: int = 0
    proxyRefused: int = 0
    handshakes: int = 0
    handshakesFailed: int = 0
    shaken: Histogram = attr.field(factory=Histogram)
    times: Times = attr.field(factory=Times)
    denied: int = 0
    requestErrors: int = 0
    failures: Failures = attr.field(factory=Failures)
    captures: Captures = attr.field(factory=Captures)
    exemplars: Exemplars = attr.field(factory=Exemplars)


@attr.define(eq=False)
class BackTraffic(Traffic):
    """
    What went to servers.

    @ivar clientAborts: exchanges whose client went away, or was silent for too long.
    @ivar serverAborts: those whose server did so in the middle of its response.
    @ivar responseErrors: those that got no response, or none that is acceptable, from a
        server that had the request.
    @ivar routes: how long exchanges took, by the name of the frontend that they came by;
        C{""} are all that are gone. Each is counted once, where it went last: with its server,
        or with its pool if it had none. See L{backTimes} and L{frontendTimes}.
    @ivar times: that of them which was counted last.
    """

    clientAborts: int = 0
    serverAborts: int = 0
    responseErrors: int = 0
    routes: dict[str, Times] = attr.field(factory=dict)
    times: Times = attr.field(factory=Times)

    def timesBy(self, frontend: Any) -> Times:
        """
        @param frontend: the running one, see L{lbtwist.exchange.Exchange.frontend}.
        @return: where the times of exchanges are counted that came by it.
        """
        times = self.routes.get(frontend.name)
        if times is None:
            times = self.routes[frontend.name] = Times()
        times.by = frontend.traffic
        self.times = times
        return times

    def frontendLeft(self, name: str) -> None:
        """A frontend is about to be forgotten; what came by it is not."""
        times = self.routes.pop(name, None)
        if times is not None:
            self.routes.setdefault("", Times()).add(times)
            self.times = Times()


@attr.define(eq=False)
class PoolTraffic(BackTraffic):
    """
    @ivar unconnected: exchanges that got no connection to a server, after whatever attempts.
    @ivar retries: attempts that were made after one that had failed.
    @ivar redispatched: exchanges that went to another server than the first.
    @ivar hedges: second servers that were asked because the first had not answered.
    @ivar hedgesWon: those of them that took the place of the first.
    @ivar overBudget: attempts that were not made because there were too many.
    @ivar connects: connections to servers that are gone; C{reuses} the same of exchanges that
        needed none.
    @ivar captures: what servers sent that was refused.
    """

    retries: int = 0
    redispatched: int = 0
    hedges: int = 0
    hedgesWon: int = 0
    overBudget: int = 0
    unconnected: int = 0
    connects: int = 0
    reuses: int = 0
    captures: Captures = attr.field(factory=Captures)

    def absorb(self, other: ServerTraffic) -> None:
        """A server is about to be forgotten; what only it has counted is not."""
        self.connects += other.connects
        self.reuses += other.reuses
        for name, times in other.routes.items():
            self.routes.setdefault(name, Times()).add(times)


@attr.define(eq=False)
class ServerTraffic(BackTraffic):
    """
    @ivar connects: connections made to it.
    @ivar retries: attempts that were made after one with it had failed.
    @ivar redispatched: those of them that went to another server.
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
    retries: int = 0
    redispatched: int = 0


def backTimes(*traffics: BackTraffic) -> Times:
    """
    @param traffics: of a server, or of a pool and of all of its servers.
    @return: how long its exchanges took.
    """
    return Times.of(times for one in traffics for times in one.routes.values())


def frontendTimes(frontend: Any, traffics: Iterable[BackTraffic]) -> Times:
    """
    @param frontend: as for L{BackTraffic.timesBy}.
    @param traffics: those of all pools and of all servers.
    @return: how long the exchanges took that came by a frontend.
    """
    name = frontend.name
    routes = [one.routes[name] for one in traffics if name in one.routes]
    return Times.of([frontend.traffic.times, *routes])


def count(exchange: Exchange) -> None:
    """Count one finished exchange wherever it went through."""
    status = exchange.status // 100
    if status > 5:
        status = 0
    bytesIn = exchange.bytesIn
    bytesOut = exchange.bytesOut
    # What we were told to answer by ourselves is in good order too.
    if exchange.cause not in ("-", "L"):
        _countFailed(exchange)
    elif status == 5 and exchange.cause == "-":
        # In good order, and no less a failure to whoever has asked.
        exchange.frontend.traffic.failures.note(_remembered(exchange))
    traffic = frontend = exchange.frontend.traffic
    traffic.exchanges += 1
    traffic.bytesIn += bytesIn
    traffic.bytesOut += bytesOut
    traffic.responses[status] += 1
    pool = exchange.pool
    if pool is None:
        frontend.times.took.observe(exchange.finishedAt - exchange.startedAt)
        return
    traffic = pool.traffic
    traffic.exchanges += 1
    traffic.bytesIn += bytesIn
    traffic.bytesOut += bytesOut
    traffic.responses[status] += 1
    if exchange.retries:
        traffic.retries += exchange.retries
        traffic.redispatched += exchange.redispatched
    server = exchange.server
    if server is None:
        times = traffic.timesBy(exchange.frontend)
        times.took.observe(exchange.finishedAt - exchange.startedAt)
        return
    traffic = server.traffic
    traffic.exchanges += 1
    traffic.bytesIn += bytesIn
    traffic.bytesOut += bytesOut
    traffic.responses[status] += 1
    if exchange.reused:
        traffic.reuses += 1
    times = traffic.times
    if times.by is not frontend:
        times = traffic.timesBy(exchange.frontend)
    pending = times.pending
    pending.append(exchange.finishedAt - exchange.startedAt)
    pending.append(exchange.respondedAt - exchange.connectedAt)
    if len(pending) >= WRITTEN_DOWN:
        times.sort()


def _countFailed(exchange: Exchange) -> None:
    """The same for what only those have that failed."""
    cause, stage = exchange.cause, exchange.stage
    frontend = exchange.frontend.traffic
    frontend.failed += 1
    frontend.failures.note(_remembered(exchange))
    unanswered = exchange.response is None
    if cause == "P" and exchange.status != 502 and unanswered:
        frontend.refused += 1
        if exchange.rule is not None:
            frontend.denied += 1
        else:
            frontend.requestErrors += 1
    elif stage == "R" and cause in ("C", "c"):
        frontend.requestErrors += 1
    pool = exchange.pool
    if pool is None:
        return
    backs: list[BackTraffic] = [pool.traffic]
    if exchange.server is not None:
        backs.append(exchange.server.traffic)
    theirs = cause in ("S", "s")
    if theirs and stage in ("C", "Q"):
        pool.traffic.unconnected += 1
    for back in backs:
        back.failed += 1
        if cause in ("C", "c"):
            back.clientAborts += 1
        elif theirs and stage == "D":
            back.serverAborts += 1
        elif (theirs and stage == "H") or (cause == "P" and exchange.status == 502):
            back.responseErrors += 1


def _remembered(exchange: Exchange) -> Failed:
    pool, server, head, rule = exchange.pool, exchange.server, exchange.request, exchange.rule
    request = b"" if head is None else head.line[:LONGEST]
    return Failed(
        exchange.finishedAt, exchange.connection.number,
        getattr(exchange.frontend, "name", ""), exchange.connection.client,
        "" if pool is None else pool.name, "" if server is None else server.name,
        exchange.cause, exchange.stage, exchange.status, request.decode("latin-1"),
        "" if rule is None else rule.text[:LONGEST],
        "" if rule is None else str(rule.where)[:LONGEST], exchange.reason[:LONGEST],
        exchange.bytesIn, exchange.bytesOut,
    )  # fmt: skip


@attr.define(eq=False)
class Course:
    """
    How something goes: what is not counted but looked at, once in a while.

    @ivar number: what it is known by, from 1 on, as long as it is there.
    @ivar total: the most that had begun so far, see L{begun}.
    @ivar most: the most that ran at once. Of what began and ended between two looks nothing
        is known.
    @ivar mostQueued: the most that waited.
    @ivar rate: how many began in the last second; C{mostRate} the most in one.
    @ivar requestRate: the same of requests, where these are not what begins.
    @ivar lastAt: when something began last, by the clock; L{None} before that.
    @ivar state: as it was at the last look.
    @ivar since: when it was not in that state yet.
    @ivar downtime: seconds in which it was of no use.
    @ivar wentDown: how often it came to be so.
    @ivar averages: how long what it does takes of late.
    """

    number: int = 0
    total: int = 0
    most: int = 0
    mostQueued: int = 0
    rate: int = 0
    mostRate: int = 0
    requestRate: int = 0
    mostRequestRate: int = 0
    lastAt: float | None = None
    state: str = ""
    since: float = 0.0
    downtime: float = 0.0
    wentDown: int = 0
    averages: Averages = attr.field(factory=Averages)
    _down: bool = False
    _lookedAt: float | None = None
    _began: int = 0
    _requests: int = 0

    def look(
        self, now: float, active: int, queued: int, began: int, requests: int, state: str,
        down: bool,
    ) -> None:  # fmt: skip
        """
        @param now: the clock's seconds.
        @param active: how many run.
        @param queued: how many wait.
        @param began: how many have begun so far; may begin anew.
        @param requests: the same of requests.
        @param state: a word for how it is.
        @param down: whether it is of no use.
        """
        self.most = max(self.most, active)
        self.mostQueued = max(self.mostQueued, queued)
        before = self._lookedAt
        if state != self.state:
            self.state = state
            self.since = now
        if before is not None and now > before:
            seconds = now - before
            came = max(began - self._began, 0)
            if came:
                self.lastAt = now
            self.rate = round(came / seconds)
            self.mostRate = max(self.mostRate, self.rate)
            self.requestRate = round(max(requests - self._requests, 0) / seconds)
            self.mostRequestRate = max(self.mostRequestRate, self.requestRate)
            if self._down:
                self.downtime += seconds
            if down and not self._down:
                self.wentDown += 1
        self._lookedAt = now
        self._began = began
        self._requests = requests
        self._down = down

    def begun(self, count: int) -> int:
        """
        @param count: how many have ended, or run.
        @return: how many have begun: never less than before, though what goes to another
            server, or loses a race, has not ended here.
        """
        self.total = max(self.total, count)
        return self.total

    def clear(self, everything: bool = False) -> None:
        """
        Forget what the most was.

        @param everything: what was counted as well.
        """
        self.most = self.mostQueued = self.mostRate = self.mostRequestRate = 0
        if everything:
            self.downtime = 0.0
            self.wentDown = self.total = 0
            self.lastAt = None
            self.averages = Averages()
