"""
The verb C{wait}: for a while, or until a server is as somebody wants it.

It looks twice a second, and only while somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attr
from twisted.internet.defer import Deferred

from lbtwist.admin.finding import parsed, serverNamed
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Severity, Verb
from lbtwist.draining import leftIn
from lbtwist.events import stateOf
from lbtwist.health import Admin
from lbtwist.options import Time
from lbtwist.pool import Pool
from lbtwist.server import Server

LOOK = 0.5
"""Seconds from one look to the next."""

MOST = 86400.0
"""Seconds: nobody waits for longer."""

QUIET = 5.0
"""Seconds in which nothing may have run where it is not known who is bound to a server: its
clients may only be reading."""


@attr.define(eq=False)
class _Until:
    """
    Whether a server is as somebody wants it.

    @ivar wanted: one of L{CONDITIONS}.
    @ivar quietSince: when something was last seen to run.
    """

    pool: Pool
    server: Server
    wanted: str
    quietSince: float
    _done: int = -1

    def met(self, now: float) -> bool:
        """@raise Refused: if it will not come to that."""
        health, server = self.server.health, self.server
        if server not in self.pool.servers:
            # Its source names it no more, and nothing of it ran when it was forgotten.
            if self.wanted in ("srv-up", "srv-down"):
                raise Refused(f"Failed: {server.pool}/{server.name} is gone.")
            return True
        if self.wanted == "srv-up":
            return server.usable
        if self.wanted == "srv-down":
            return not health.up
        if health.inForce == Admin.READY and not server.leaving and server.weight > 0:
            raise Refused(f"Failed: {server.pool}/{server.name} is not drained.")
        left = leftIn(self.pool, server)
        if left.sessions or server.traffic.exchanges != self._done:
            self.quietSince = now
        self._done = server.traffic.exchanges
        if self.wanted == "srv-removable":
            return not left.sessions
        return left.nothing and (left.bound == 0 or now - self.quietSince >= QUIET)

    @property
    def state(self) -> str:
        """For people."""
        left = leftIn(self.pool, self.server)
        bound = "an unknown number of" if left.bound < 0 else str(left.bound)
        return (
            f"{self.server.pool}/{self.server.name} is {stateOf(self.server)}, has"
            f" {left.sessions} sessions and {bound} clients that may come back"
        )


CONDITIONS = ("srv-drained", "srv-removable", "srv-up", "srv-down")


def wait(asked: Asked, words: Sequence[str]) -> Deferred[Answer]:
    """
    C{wait <time> [srv-drained|srv-removable|srv-up|srv-down <pool>/<server>]}. A bare number is
    of milliseconds.
    """
    if not words:
        raise Refused("Expects a duration in milliseconds.")
    seconds = parsed(Time(), words[0])
    if seconds > MOST:
        raise Refused("Nobody waits for longer than 1d.")
    deadlines = asked.balancer.deadlines
    until: _Until | None = None
    if len(words) > 1:
        if words[1] not in CONDITIONS:
            raise Refused(f"Unknown condition; there are {', '.join(CONDITIONS)}.")
        pool, server = serverNamed(asked.balancer, words[2:])
        until = _Until(pool, server, words[1], deadlines.seconds())
    return _Wait(asked, until, deadlines.seconds() + seconds).told


class _Wait:
    """Somebody waits."""

    def __init__(self, asked: Asked, until: _Until | None, end: float) -> None:
        """@param end: when it has waited long enough."""
        self._asked = asked
        self._until = until
        self._end = end
        self._timer: object | None = None
        self.told: Deferred[Answer] = Deferred(self._cancelled)
        self._look()

    def _cancelled(self, told: Deferred[Answer]) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()  # type: ignore[attr-defined]

    def _look(self) -> None:
        self._timer = None
        balancer = self._asked.balancer
        now = balancer.deadlines.seconds()
        until = self._until
        tell: Callable[[Answer], object] = self.told.callback
        try:
            if until is not None and until.met(now):
                tell(Answer("Done.\n", {"state": stateOf(until.server)}, Severity.INFO))
                return
        except Refused as refused:
            tell(refused.answer)
            return
        if now >= self._end:
            if until is None:
                tell(Answer("Done.\n", None, Severity.INFO))
            else:
                tell(Refused(f"Wait delay expired: {until.state}.", Severity.WARNING).answer)
            return
        # A clock of floats may stand a little before the moment that was asked for.
        pause = max(min(LOOK, self._end - now), 0.001)
        self._timer = balancer.reactor.callLater(pause, self._look)


VERBS = (
    Verb(
        "wait <time> [srv-drained|srv-removable|srv-up|srv-down <pool>/<server>]",
        "wait, until a server is so at the most", Level.USER, wait,
    ),
)  # fmt: skip
