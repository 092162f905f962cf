"""
The service that owns time for servers that start slowly (C{slowstart}): has the weight and the
limit of a server that came up grow from a hundredth to all of it.

Which servers those are is said by who knows that they came up, L{lbtwist.monitor} and
L{lbtwist.membership}; what a share of a weight means is L{lbtwist.server.Capacity}'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.pool import Pool
from lbtwist.server import Server

STEPS = 20
"""In so many steps of the same size a server comes to all that it can take."""

COLDEST = 0.01
"""What of it a server has before the first step."""

_GRAIN = 0.25
"""Of the shortest step: steps that are not further apart are made at once, so that a
thousand servers that come up cost no more than a few."""


@attr.define(eq=False)
class _Starting:
    """
    A server that starts slowly.

    @ivar since: when it came up.
    @ivar seconds: until it has all of its weight, as was said then.
    @ivar step: how many steps it has made.
    """

    pool: Pool
    server: Server
    since: float
    seconds: float
    step: int = 0

    @property
    def pause(self) -> float:
        """Seconds of a step."""
        return self.seconds / STEPS

    @property
    def due(self) -> float:
        """When the next step is."""
        return self.since + (self.step + 1) * self.pause


class Warming:
    """
    All servers that start slowly. Nothing of it costs anything while there is none; one timer
    is for all.
    """

    _log = Logger()

    def __init__(self, reactor: Any, clock: Callable[[], float]) -> None:
        """
        @param reactor: for the timer.
        @param clock: seconds that never go back.
        """
        self._reactor = reactor
        self._clock = clock
        self._starting: dict[Server, _Starting] = {}
        self._timer: Any = None
        self._running = False

    def __repr__(self) -> str:
        return f"<Warming {len(self._starting)} servers>"

    def __len__(self) -> int:
        """How many start slowly now."""
        return len(self._starting)

    def start(self) -> None:
        """From now on who comes up starts slowly; before that, all are at what they can."""
        self._running = True

    def stop(self) -> None:
        """No timer is left, and nobody starts slowly any more."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for server in list(self._starting):
            self.forget(server)

    def begin(self, pool: Pool, server: Server) -> None:
        """
        A server came up, or is new, and its pool has not been told of it yet. One that has
        no C{slowstart} is not touched.
        """
        self.forget(server)
        if not self._running or not server.slowstart:
            return
        self._starting[server] = _Starting(pool, server, self._clock(), server.slowstart)
        server.capacity.warmth = COLDEST
        server.adapt()
        self._schedule()

    def forget(self, server: Server) -> None:
        """A server went down, or away: what it had come to is over."""
        if self._starting.pop(server, None) is not None:
            server.capacity.warmth = 1.0
            server.adapt()

    def _schedule(self) -> None:
        if self._timer is not None or not self._starting:
            return
        due = min(one.due for one in self._starting.values())
        least = _GRAIN * min(one.pause for one in self._starting.values())
        self._timer = self._reactor.callLater(max(least, due - self._clock()), self._step)

    def _step(self) -> None:
        self._timer = None
        now = self._clock()
        changed: dict[Pool, None] = {}
        for server, one in list(self._starting.items()):
            # A clock of floats may be a little too early.
            step = min(STEPS, int((now - one.since) / one.pause + 1e-6))
            if step == one.step:
                continue
            one.step = step
            server.capacity.warmth = step / STEPS
            if step == STEPS:
                del self._starting[server]
            if server.adapt():
                changed[one.pool] = None
        self._schedule()
        for pool in changed:
            try:
                pool.serversChanged()
            except Exception:
                self._log.failure("{pool!r} met an error when a server warmed up", pool=pool)
