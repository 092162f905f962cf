"""
The service that owns time for checks: runs every server's check again and again,
counts what it finds and, where a server goes up or down, tells whom it concerns.

What a check does is L{lbtwist.checks}'s, how many results it takes L{lbtwist.health}'s.
"""

from __future__ import annotations

import os.path
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.checks import CheckCancelled
from lbtwist.config.model import CheckOptions
from lbtwist.exchange import Cause
from lbtwist.health import Admin, Result, Transition
from lbtwist.pool import Pool
from lbtwist.server import Endpoint, Server

AT_ONCE = 256
"""The most checks that run at the same time."""

LEAST = 0.01
"""Seconds: no interval is shorter, whatever is written down or comes by chance."""

MOST_WEIGHT = 256
"""The heaviest that a server becomes by what its check says."""

LONGEST = 200
"""Characters of a reason in the log; it may come from anywhere."""


def _at(endpoint: Endpoint, port: int) -> Endpoint:
    """The same host with another port; a path has none."""
    if not port or isinstance(endpoint.address, str):
        return endpoint
    host, _, *more = endpoint.address
    return attr.evolve(endpoint, address=(host, port, *more))


def _share(weight: int, percent: int) -> int:
    """
    @return: so much of a weight; nothing only of nothing, because a server without weight
        gets no new clients, which is more than a small share means.
    """
    return min(MOST_WEIGHT, max(weight * percent // 100, min(1, weight * percent)))


def _resultOf(failure: Failure) -> Result:
    """What a check has found that failed instead of saying so."""
    error = failure.value
    if isinstance(error, OSError):
        return Result(False, "SOCKERR", (error.strerror or str(error)).lower())
    reason = f"{type(error).__name__}: {failure.getErrorMessage()}"
    raised = failure.getTracebackObject()
    if raised is not None:
        # Instead of a traceback for every check: where to look.
        while raised.tb_next is not None:
            raised = raised.tb_next
        file = os.path.basename(raised.tb_frame.f_code.co_filename)
        reason += f" ({file}:{raised.tb_lineno})"
    return Result(False, "L7RSP", reason)


def _reasonOf(result: Result) -> str:
    return " ".join(f"{result.status} {result.detail}".split())[:LONGEST]


@attr.define(eq=False)
class _Watched:
    """
    One server and its check.

    @ivar startedAt: when the check that runs, or the last one, began.
    @ivar running: the check that runs.
    @ivar queued: it is due, and waits until others have ended.
    @ivar timer: until the next check, or until the one that runs takes too long:
        there is never more than one of the two.
    @ivar weight: the server's own, of which a check may say how much it is to have.
    @ivar admin: what the check has done last: nothing else is its own to take back.
    """

    pool: Pool
    server: Server
    check: Any
    timing: CheckOptions
    startedAt: float = 0.0
    running: Deferred[Any] | None = None
    queued: bool = False
    timer: Any = None
    weight: int = attr.field(init=False)
    admin: str = Admin.READY

    def __attrs_post_init__(self) -> None:
        self.weight = self.server.weight

    @property
    def interval(self) -> float:
        timing = self.timing
        if timing.fast and self.server.health.changing:
            return timing.fast
        return timing.interval

    @property
    def resting(self) -> bool:
        """In maintenance, and not by what its check says, which has to be asked again."""
        return self.server.health.admin == Admin.MAINT != self.admin

    @property
    def timeout(self) -> float:
        return self.timing.timeout or max(LEAST, self.timing.interval)

    def late(self, status: str, detail: str) -> Result:
        """The result of a check that took too long."""
        return Result(False, status, f"{detail} after {self.timeout:g} s")


class Monitor:
    """
    Runs checks. Of one server never two at once, of all never more than a bound;
    those that are due wait in the order of their times.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, clock: Callable[[], float], random: Random, atOnce: int = AT_ONCE
    ) -> None:
        """
        @param reactor: for timers.
        @param clock: seconds that never go back.
        @param random: spreads the checks.
        @param atOnce: the most checks that run at the same time.
        """
        self._reactor = reactor
        self._clock = clock
        self._random = random
        self._atOnce = atOnce
        self._watched: dict[Server, _Watched] = {}
        self._waiting: deque[_Watched] = deque()
        self._busy = 0
        self._serving = False
        self._started = False

    def __repr__(self) -> str:
        return f"<Monitor {len(self._watched)} servers {self._busy} checks run>"

    # whom to watch

    def watch(self, pool: Pool, server: Server, check: Any, timing: CheckOptions) -> None:
        """
        Check a server from now on; at once if the monitor runs.

        @param pool: is told where the server goes up or down.
        @param check: an L{lbtwist.interfaces.IHealthCheck}.
        """
        self.forget(server)
        watched = self._watched[server] = _Watched(pool, server, check, timing)
        if self._started:
            self._schedule(watched, 0.0)

    def forget(self, server: Server) -> None:
        """Check a server no more; what its checks said so far stays."""
        watched = self._watched.pop(server, None)
        if watched is not None:
            self._rest(watched)
            self._serve()

    def weighed(self, server: Server) -> None:
        """A server has another weight of its own, of which its check may say how much counts."""
        watched = self._watched.get(server)
        if watched is not None:
            watched.weight = server.weight

    def start(self) -> None:
        """Begin: the first checks are spread over the interval, the first comes now."""
        self._started = True
        count = len(self._watched)
        for index, watched in enumerate(self._watched.values()):
            self._schedule(watched, watched.timing.interval * index / count)

    def stop(self) -> None:
        """End every check and every timer, now."""
        self._started = False
        for watched in self._watched.values():
            self._rest(watched)

    def _rest(self, watched: _Watched) -> None:
        if watched.timer is not None:
            watched.timer.cancel()
            watched.timer = None
        if watched.queued:
            watched.queued = False
            self._waiting.remove(watched)
        running, watched.running = watched.running, None
        if running is not None:
            self._busy -= 1
            running.cancel()

    # when to check

    def _schedule(self, watched: _Watched, seconds: float) -> None:
        watched.timer = self._reactor.callLater(seconds, self._due, watched)

    def _again(self, watched: _Watched) -> None:
        """Let the next check come, an interval after the last began."""
        jitter = watched.timing.jitter / 100 * self._random.uniform(-1.0, 1.0)
        next = watched.startedAt + max(LEAST, watched.interval * (1.0 + jitter))
        self._schedule(watched, max(0.0, next - self._clock()))

    def _due(self, watched: _Watched) -> None:
        watched.timer = None
        watched.startedAt = self._clock()
        server = watched.server
        if server.endpoint is None or watched.resting:
            self._again(watched)
            return
        watched.queued = True
        self._waiting.append(watched)
        self._serve()

    def _serve(self) -> None:
        """Run those that are due, as many as may."""
        if self._serving:
            # A check that ended at once: the loop below goes on.
            return
        self._serving = True
        try:
            while self._waiting and self._busy < self._atOnce:
                self._run(self._waiting.popleft())
        finally:
            self._serving = False

    def _run(self, watched: _Watched) -> None:
        watched.queued = False
        watched.startedAt = self._clock()
        server = watched.server
        assert server.endpoint is not None, f"{server!r} has lost its address"
        if watched.timing.port:
            # A check reads the address of a server; what else it may look at is shared.
            server = attr.evolve(server, endpoint=_at(server.endpoint, watched.timing.port))
        self._busy += 1
        running = watched.running = maybeDeferred(watched.check.check, server)
        watched.timer = self._reactor.callLater(watched.timeout, self._expired, watched)
        running.addBoth(self._told, watched, running)

    def _expired(self, watched: _Watched) -> None:
        watched.timer = None
        running = watched.running
        assert running is not None, "the timer of a check ends with it"
        running.cancel()
        if watched.running is running:
            # It will not be cancelled: it is left to itself, and not waited for.
            watched.running = None
            self._ended(watched, watched.late("L7TOUT", "no result"))

    # what was found

    def _told(self, answer: object, watched: _Watched, running: Deferred[Any]) -> None:
        if watched.running is not running:
            # Nobody waits for it any more.
            return
        watched.running = None
        late = watched.timer is None
        if not late:
            watched.timer.cancel()
            watched.timer = None
        if isinstance(answer, Result):
            result = answer
        elif not isinstance(answer, Failure):
            result = Result(False, "L7RSP", f"the check answered {answer!r:.80}, not a Result")
        elif isinstance(answer.value, CheckCancelled):
            result = watched.late(answer.value.status, answer.value.detail)
        elif late:
            result = watched.late("L7TOUT", "no result")
        else:
            result = _resultOf(answer)
        self._ended(watched, result)

    def _ended(self, watched: _Watched, result: Result) -> None:
        self._busy -= 1
        server = watched.server
        if not result.duration:
            result = attr.evolve(result, duration=self._clock() - watched.startedAt)
        server.traffic.checks += 1
        if not result.passed:
            server.traffic.checkFailures += 1
        changed = self._apply(watched, result)
        transition = server.health.told(result)
        self._again(watched)
        if transition is not None:
            self._changed(watched, transition)
        elif changed:
            self._serversChanged(watched)
        self._serve()

    def _apply(self, watched: _Watched, result: Result) -> bool:
        """
        Do what a check says beyond up and down.

        @return: whether anything has changed by it.
        """
        server = watched.server
        health = server.health
        before = (server.weight, server.maxconn, health.admin)
        if result.weight is not None:
            server.weight = _share(watched.weight, result.weight)
        if result.maxconn is not None:
            server.maxconn = result.maxconn
        if result.admin is not None and health.admin in (watched.admin, Admin.READY):
            health.admin = watched.admin = result.admin
        after = (server.weight, server.maxconn, health.admin)
        if after == before:
            return False
        self._log.info(
            "Server {pool}/{server} has weight {weight}, maxconn {maxconn} and is {admin} now, "
            "reason: {reason}.",
            pool=server.pool, server=server.name, weight=server.weight, maxconn=server.maxconn,
            admin=health.admin, reason=_reasonOf(result),
        )  # fmt: skip
        return True

    def _serversChanged(self, watched: _Watched) -> None:
        pool = watched.pool
        try:
            pool.serversChanged()
        except Exception:
            self._log.failure("{pool!r} met an error when a server changed", pool=pool)

    def _changed(self, watched: _Watched, transition: Transition) -> None:
        pool = watched.pool
        server = watched.server
        self._tell(pool, server, transition)
        if not transition.up:
            server.traffic.wentDown += 1
        try:
            pool.serversChanged()
            if not transition.up:
                pool.reuse.drop(server)
        except Exception:
            self._log.failure("{pool!r} met an error when a server changed", pool=pool)
        if not transition.up and pool.config.on_marked_down == "shutdown-sessions":
            for session in list(server.sessions):
                try:
                    session.abortSession(Cause.DOWN)
                except Exception:
                    self._log.failure("{session!r} could not be aborted", session=session)

    def _tell(self, pool: Pool, server: Server, transition: Transition) -> None:
        result = transition.result
        tell = self._log.info if transition.up else self._log.warn
        tell(
            "Server {pool}/{server} is {state}, reason: {reason}, "
            "check duration {milliseconds:.1f} ms. "
            "{active} active and {backup} backup servers {what}.",
            pool=server.pool,
            server=server.name,
            state="UP" if transition.up else "DOWN",
            reason=_reasonOf(result),
            status=result.status,
            milliseconds=result.duration * 1000,
            active=sum(one.usable and not one.backup for one in pool.servers),
            backup=sum(one.usable and one.backup for one in pool.servers),
            what="online" if transition.up else "left",
        )
