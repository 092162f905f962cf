"""
Looks at everything once a second: how many there are at once, how many came, in which state
it is. What is counted with each exchange is L{lbtwist.stats}'; who wants to know either reads
it through L{lbtwist.admin}.

Nothing of this runs in a balancer that nobody can ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lbtwist.averages import Totals
from lbtwist.events import stateOf
from lbtwist.server import Server
from lbtwist.stats import Course

if TYPE_CHECKING:
    from lbtwist.inbound import Process
    from lbtwist.pool import Pool
    from lbtwist.service import Frontend

PERIOD = 1.0
"""Seconds from one look to the next."""

_OF_NO_USE = {"DOWN", "MAINT", "LEAVING"}


def poolState(pool: Pool) -> str:
    """@return: C{UP} where somebody gets requests, C{DOWN} otherwise."""
    return "UP" if pool.usable else "DOWN"


def frontendState(frontend: Frontend) -> str:
    """@return: C{OPEN}, C{FULL}, C{PAUSED} by an administrator, or C{STOP}: for good."""
    inbound = frontend.inbound
    if not inbound.listeners:
        return "STOP"
    if frontend.paused:
        return "PAUSED"
    return "FULL" if inbound.full else "OPEN"


class Looking:
    """
    The look at one balancer.

    @ivar process: how the process as a whole goes: connections, and exchanges as requests.
    @ivar watchers: are called after each look.
    """

    def __init__(
        self, reactor: Any, seconds: Callable[[], float], frontends: Mapping[str, Frontend],
        pools: Mapping[str, Pool], process: Process,
    ) -> None:  # fmt: skip
        """
        @param reactor: for the timer.
        @param seconds: a clock that never goes back.
        @param frontends: all there are, at all times.
        @param pools: likewise.
        """
        self.process = Course(since=seconds())
        self._process = process
        self._reactor = reactor
        self._seconds = seconds
        self._frontends = frontends
        self._pools = pools
        self._courses: dict[Any, Course] = {}
        self._most = 100
        # The last number that was given, by the pool of servers; None is of the others.
        self._numbers: dict[Any, int] = {}
        self._timer: Any = None
        self.watchers: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Looking at {len(self._courses)}, {'on' if self._timer else 'off'}>"

    def start(self) -> None:
        """Begin to look."""
        if self._timer is None:
            self._looked()

    def stop(self) -> None:
        """Look no more; what was seen stays."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def of(self, one: Frontend | Pool | Server) -> Course:
        """
        @param one: is there.
        @return: how it goes; of what was never looked at there is a number and no more.
        """
        found = self._courses.get(one)
        if found is None:
            if len(self._courses) >= self._most:
                self._forget()
            within = one.pool if isinstance(one, Server) else None
            number = self._numbers[within] = self._numbers.get(within, 0) + 1
            found = self._courses[one] = Course(number, since=self._seconds())
        return found

    def _forget(self) -> None:
        """Forget what has gone: where nobody looks once a second, nothing else does."""
        pools = self._pools.values()
        here = {*self._frontends.values(), *pools}.union(*(pool.servers for pool in pools))
        self._courses = {one: course for one, course in self._courses.items() if one in here}
        self._most = 2 * len(self._courses) + 100

    def clear(self, everything: bool = False) -> None:
        """
        Forget what the most was, of everything.

        @param everything: what was counted as well.
        """
        for course in (self.process, *self._courses.values()):
            course.clear(everything)

    def _looked(self) -> None:
        self._timer = self._reactor.callLater(PERIOD, self._looked)
        self.look()
        for watcher in list(self.watchers):
            watcher()

    def look(self) -> None:
        """Look once."""
        now = self._seconds()
        seen: dict[Any, Course] = {}
        finished = 0
        for frontend in self._frontends.values():
            inbound = frontend.inbound
            traffic = inbound.traffic
            finished += traffic.exchanges
            course = seen[frontend] = self.of(frontend)
            course.look(
                now, inbound.active, 0, traffic.connections, traffic.exchanges,
                frontendState(frontend), False,
            )  # fmt: skip
        for pool in self._pools.values():
            course = seen[pool] = self.of(pool)
            state = poolState(pool)
            begun = course.begun(pool.traffic.exchanges + pool.active)
            course.look(now, pool.active, pool.queued, begun, begun, state, state == "DOWN")
            averages, whole = course.averages, Totals()
            whole.add(pool.traffic.routes.values())
            for server in pool.servers:
                course = seen[server] = self.of(server)
                begun = course.begun(server.traffic.exchanges + server.active)
                state = stateOf(server)
                course.look(
                    now, server.active, pool.queuedFor(server), begun, begun, state,
                    state in _OF_NO_USE,
                )  # fmt: skip
                totals = Totals()
                totals.add(server.traffic.routes.values())
                course.averages.look(now, totals)
                whole.plus(totals)
            averages.look(now, whole)
        self._courses = seen
        process = self._process
        self.process.look(now, process.active, 0, process.accepted, finished, "", False)
