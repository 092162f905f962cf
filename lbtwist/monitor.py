"""
The service that owns time for checks: runs every server's check again and again,
counts what it finds and, where a server goes up or down, tells whom it concerns.

What a check does is L{lbtwist.checks}'s, how many results it takes L{lbtwist.health}'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.announcing import leftOf
from lbtwist.checks import CheckCancelled, resultOf
from lbtwist.config.model import CheckOptions
from lbtwist.events import ADMIN, DOWN, ROLE, UP, WEIGHT, reasonOf, stateOf
from lbtwist.exchange import Cause
from lbtwist.health import Admin, Result, Transition
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.warming import Warming

AT_ONCE = 256
"""The most checks that run at the same time."""

LEAST = 0.01
"""Seconds: no interval is shorter, whatever is written down or comes by chance."""

_LEFT = {"fail-check": 1 << 30, "sudden-death": 1, "mark-down": 0}
"""How many more failures may be needed, at the most, after what C{on-error} says."""


@attr.define(eq=False)
class _Watched:
    """
    One server and its check.

    @ivar startedAt: when the check that runs, or the last one, began.
    @ivar running: the check that runs.
    @ivar queued: it is due, and waits until others have ended.
    @ivar timer: until the next check, or until the one that runs takes too long:
        there is never more than one of the two.
    @ivar admin: what the check has done last: nothing else is its own to take back.
    @ivar paused: an administrator wants no checks for a while.
    """

    pool: Pool
    server: Server
    check: Any
    timing: CheckOptions
    startedAt: float = 0.0
    running: Deferred[Any] | None = None
    queued: bool = False
    timer: Any = None
    admin: str = Admin.READY
    paused: bool = False

    @property
    def interval(self) -> float:
        timing = self.timing
        if timing.fast and self.server.health.changing:
            return timing.fast
        return timing.interval

    @property
    def resting(self) -> bool:
        """In maintenance, and not by what its check says, which has to be asked again."""
        return self.paused or self.server.health.admin == Admin.MAINT != self.admin

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

    @ivar warming: has those that come up start slowly; it runs while this does.
    @ivar suspected: is told in its place what real traffic speaks against, where another
        process checks the servers; L{None} elsewhere.
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
        self.warming = Warming(reactor, clock)
        self.suspected: Callable[[Server, str, str], object] | None = None
        self._reactor = reactor
        self._clock = clock
        self._random = random
        self._atOnce = atOnce
        self._watched: dict[Server, _Watched] = {}
        self._followed: dict[Server, Server] = {}
        self._followers: dict[Server, dict[Server, Pool]] = {}
        # The state of L{Admin} that was in force when one that follows was last looked at.
        self._stood: dict[Server, str] = {}
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
        # What no administrator has done, an earlier check of it has.
        admin = Admin.READY if server.health.held else server.health.admin
        watched = self._watched[server] = _Watched(pool, server, check, timing, admin=admin)
        if self._started:
            self._schedule(watched, 0.0)

    def follow(self, pool: Pool, server: Server, followed: Server) -> None:
        """
        Have a server be up and down as another is, from now on, and out of service when that
        one is, as C{track} of HAProxy does.

        @param followed: is of any pool, and may follow a third. It is not forgotten before.
        """
        self.forget(server)
        self._followed[server] = followed
        self._followers.setdefault(followed, {})[server] = pool
        server.health.followed = followed.health
        server.health.up = followed.health.up
        self._stood[server] = server.health.inForce

    def forget(self, server: Server) -> None:
        """Check a server no more; what its checks said so far stays."""
        self.warming.forget(server)
        followed = self._followed.pop(server, None)
        if followed is not None:
            followers = self._followers[followed]
            del followers[server], self._stood[server]
            if not followers:
                del self._followers[followed]
        watched = self._watched.pop(server, None)
        if watched is not None:
            self._rest(watched)
            self._serve()

    def suspect(self, server: Server, onError: str, reason: str) -> None:
        """
        Real traffic speaks against a server; of one that is not checked that changes nothing.

        @param onError: C{fail-check} counts as a check that failed, C{sudden-death} as so
            many that one more takes the server down, C{mark-down} as all that takes; after
            each of them, and after C{fastinter}, the next check comes at the fast interval.
        """
        if self.suspected is not None:
            self.suspected(server, onError, reason)
            return
        watched = self._watched.get(server)
        if watched is None or watched.resting:
            return
        left = _LEFT.get(onError)
        if left is not None:
            result = Result(False, "HANA", reason, at=self._clock())
            transition = server.health.doubted(result, left)
            if transition is not None:
                self._changed(watched.pool, server, transition)
        # That may have ended the watch, or begun another.
        timer, fast = watched.timer, max(LEAST, watched.timing.fast)
        waits = timer is not None and watched.running is None
        if watched.timing.fast and waits and timer.getTime() - self._reactor.seconds() > fast:
            timer.reset(fast)

    def isChecked(self, server: Server) -> bool | None:
        """@return: whether checks of it run; L{None}: it has none."""
        watched = self._watched.get(server)
        return None if watched is None else not watched.paused

    def setChecking(self, server: Server, checking: bool) -> bool:
        """
        Stop the checks of a server for a while, or let them go on; how it is stays.

        @return: whether it has any.
        """
        watched = self._watched.get(server)
        if watched is None:
            return False
        if watched.paused is checking:
            watched.paused = not checking
            if self._started:
                self._rest(watched)
                self._schedule(watched, 0.0)
                self._serve()
        return True

    def decide(self, pool: Pool, server: Server, up: bool, reason: str) -> None:
        """
        Have a server be up, or down, whatever was found; what is found next may change it.

        @param reason: for people.
        """
        health = server.health
        health.count = 0
        if health.up is not up:
            health.up = up
            status = health.results[-1].status if health.results else "UNK"
            result = Result(up, status, reason, at=self._clock())
            self._changed(pool, server, Transition(up, result))

    def takeBack(self, server: Server) -> None:
        """
        A check is not asked any more: what it has said beyond up and down, as of the weight,
        does not count from now on. What administrators have said does.
        """
        health, capacity = server.health, server.capacity
        if any(one.maxconn == capacity.maxconn for one in health.results):
            capacity.maxconn = server.options.maxconn
        capacity.percent = 100
        server.role = ""
        if not health.held:
            health.admin = Admin.READY
        server.adapt()

    def put(self, pool: Pool, server: Server, admin: str, reason: str) -> None:
        """
        Have a server be in another administrative state, whatever checks say.

        @param admin: one of L{Admin}.
        @param reason: for people.
        """
        health = server.health
        health.held = admin != Admin.READY
        if health.admin == admin:
            return
        state, before = stateOf(server), health.admin
        health.admin = admin
        if before == Admin.MAINT and health.usable:
            self.warming.begin(pool, server)
        self.administered(pool, server)
        pool.announcer.tell(pool, server, ADMIN[admin], state, reason)
        if admin == Admin.MAINT:
            self.letGo(pool, server)

    def start(self) -> None:
        """Begin: the first checks are spread over the interval, the first comes now."""
        self._started = True
        self.warming.start()
        count = len(self._watched)
        for index, watched in enumerate(self._watched.values()):
            self._schedule(watched, watched.timing.interval * index / count)

    def stop(self) -> None:
        """End every check and every timer, now."""
        self._started = False
        self.warming.stop()
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
        if not self._started or self._watched.get(watched.server) is not watched:
            # Who was told of what this one has found has ended it.
            return
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
            server = attr.evolve(server, endpoint=server.endpoint.at(watched.timing.port))
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
        cancelled = answer.value if isinstance(answer, Failure) else None
        if isinstance(cancelled, CheckCancelled):
            result = watched.late(cancelled.status, cancelled.detail)
        elif cancelled is not None and late:
            result = watched.late("L7TOUT", "no result")
        else:
            result = resultOf(answer)
        self._ended(watched, result)

    def _ended(self, watched: _Watched, result: Result) -> None:
        self._busy -= 1
        server = watched.server
        now = self._clock()
        duration = result.duration or now - watched.startedAt
        result = attr.evolve(result, duration=duration, at=now)
        server.traffic.checks += 1
        if not result.passed:
            server.traffic.checkFailures += 1
        changed = self._apply(watched, result)
        transition = server.health.told(result)
        self._again(watched)
        if transition is not None:
            self._changed(watched.pool, server, transition)
        if changed:
            self.administered(watched.pool, server)
        self._serve()

    def _apply(self, watched: _Watched, result: Result) -> bool:
        """
        Do what a check says beyond up and down.

        @return: whether anything has changed by it.
        """
        server = watched.server
        health = server.health
        changed = self._setRole(watched.pool, server, result)
        state, admin = stateOf(server), health.admin
        if result.weight is not None:
            server.capacity.percent = result.weight
        if result.maxconn is not None:
            server.capacity.maxconn = result.maxconn
        ours = health.admin == watched.admin and not health.held
        if result.admin is not None and (ours or health.admin == Admin.READY):
            health.admin = watched.admin = result.admin
            health.held = False
        events = [ADMIN[health.admin]] if health.admin != admin else []
        if server.adapt():
            events.append(WEIGHT)
        if admin == Admin.MAINT and health.usable:
            self.warming.begin(watched.pool, server)
        for what in events:
            self._tell(watched.pool, server, what, state, result)
        return changed or bool(events)

    def _setRole(self, pool: Pool, server: Server, result: Result) -> bool:
        """@return: whether it has another role by what its check says."""
        role = result.role
        if role is None or role == server.role:
            return False
        server.role = role
        self._tell(pool, server, ROLE, stateOf(server), result)
        return True

    def administered(self, pool: Pool, server: Server) -> None:
        """
        A server that stays up, or down, was put into another administrative state, or has
        another weight, limit or role: its pool takes notice, and where the state of those that
        follow it is another one by that, so do theirs.
        """
        if server in self._stood:
            self._stood[server] = server.health.inForce
        changed: list[tuple[Pool, Server, str, str]] = []
        concerned = [server]
        for one in concerned:
            for follower, its in self._followers.get(one, {}).items():
                was, now = self._stood[follower], follower.health.inForce
                if now != was:
                    self._stood[follower] = now
                    concerned.append(follower)
                    changed.append((its, follower, was, f"via {one.pool}/{one.name}"))
        pools = dict.fromkeys(its for its, _, _, _ in changed)
        self._notice({pool: None} | pools)
        left = {its: leftOf(its) for its in pools}
        for its, one, was, via in changed:
            what, before = ADMIN[one.health.inForce], stateOf(one, admin=was)
            its.announcer.tell(its, one, what, before, via, left=left[its])

    def _changed(self, pool: Pool, server: Server, transition: Transition) -> None:
        """
        A server is up or down now, and with it those that follow it. However many these are,
        each pool is told once: it looks at all of its servers.
        """
        up = transition.up
        changed = [(pool, server, transition.result)]
        for _, one, result in changed:
            via = attr.evolve(result, detail=f"via {one.pool}/{one.name}: {result.detail}")
            for follower, its in self._followers.get(one, {}).items():
                if follower.health.up != up:
                    follower.health.up = up
                    changed.append((its, follower, via))
        for its, one, _ in changed:
            if up:
                self.warming.begin(its, one)
            else:
                self.warming.forget(one)
                one.traffic.wentDown += 1
        left = {its: leftOf(its) for its in dict.fromkeys(its for its, _, _ in changed)}
        what = UP if up else DOWN
        for its, one, result in changed:
            before, why = stateOf(one, up=not up), reasonOf(result)
            its.announcer.tell(its, one, what, before, why, result, left[its])
        self._notice(left)
        for its, one, _ in [] if up else changed:
            self.letGo(its, one)

    def _notice(self, pools: Iterable[Pool]) -> None:
        for pool in pools:
            try:
                pool.serversChanged()
            except Exception:
                self._log.failure("{pool!r} met an error when a server changed", pool=pool)

    def letGo(self, pool: Pool, server: Server) -> None:
        """
        A server is down, or taken out of service: its connections end, as far as its pool
        wants that.
        """
        pool.reuse.drop(server)
        if pool.config.on_marked_down != "shutdown-sessions":
            return
        for session in list(server.sessions):
            try:
                session.abortSession(Cause.DOWN)
            except Exception:
                self._log.failure("{session!r} could not be aborted", session=session)

    def _tell(
        self, pool: Pool, server: Server, what: str, before: str, result: Result
    ) -> None:
        pool.announcer.tell(pool, server, what, before, reasonOf(result), result)
