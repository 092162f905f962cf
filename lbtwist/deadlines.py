"""
All timeouts of a process: one clock, one timer.

A timeout on the path of a request is set far more often than it expires, so
setting it later again must cost nothing: L{Deadlines.arm} stores the new time in
the object, and only looks at the queue where the object is not in it or would be
looked at too late. An object whose turn comes too early is put back to its time.

Not here: what a timeout means; the object's C{expired} decides.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.logger import Logger

GRAIN = 0.02
"""Seconds: how exact an expiry is. Never early, at most this much late."""


class Timed:
    """
    Something that has at most one deadline at a time.

    @ivar expires: the clock's seconds; 0.0 is no deadline. May be set to 0.0
        directly: that is how a deadline is taken back.
    @ivar turn: when it will be looked at, in grains; 0 is never.
    """

    __slots__ = ("expires", "turn")

    expires: float
    turn: int

    def __init__(self) -> None:
        self.expires = 0.0
        self.turn = 0

    def expired(self) -> None:
        """The deadline has passed; it is taken back before this is called."""
        raise NotImplementedError


class Deadlines:
    """
    The deadlines of one process.

    @ivar seconds: the clock: seconds that never go back.
    """

    _log = Logger()

    def __init__(self, reactor: Any, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self._reactor = reactor
        self._turns: dict[int, dict[Timed, None]] = {}
        self._order: list[int] = []
        self._timer: Any = None
        self._next = 0

    def __len__(self) -> int:
        """How many objects are in the queue."""
        return sum(map(len, self._turns.values()))

    def arm(self, timed: Timed, seconds: float, now: float) -> None:
        """
        Give an object a deadline instead of the one it has.

        @param seconds: from C{now} on; 0 is no deadline.
        @param now: what L{seconds} said a moment ago.
        """
        if not seconds:
            timed.expires = 0.0
            return
        timed.expires = expires = now + seconds
        turn = int(expires / GRAIN) + 1
        if timed.turn:
            if timed.turn <= turn:
                return
            waiting = self._turns.get(timed.turn)
            if waiting is None or timed not in waiting:
                # Its turn is now: it is about to be looked at.
                return
            del waiting[timed]
        self._add(timed, turn)

    def forget(self, timed: Timed) -> None:
        """The object is about to go and will not be armed again."""
        timed.expires = 0.0
        if timed.turn:
            waiting = self._turns.get(timed.turn)
            if waiting is not None:
                waiting.pop(timed, None)
            timed.turn = 0

    def _add(self, timed: Timed, turn: int) -> None:
        timed.turn = turn
        waiting = self._turns.get(turn)
        if waiting is None:
            self._turns[turn] = {timed: None}
            heappush(self._order, turn)
            if self._timer is None or turn < self._next:
                self._schedule()
        else:
            waiting[timed] = None

    def _schedule(self) -> None:
        self._next = turn = self._order[0]
        delay = max(0.0, turn * GRAIN - self.seconds())
        if self._timer is None:
            self._timer = self._reactor.callLater(delay, self._tick)
        else:
            self._timer.reset(delay)

    def _tick(self) -> None:
        self._timer = None
        now = self.seconds()
        order = self._order
        while order and order[0] * GRAIN <= now:
            for timed in self._turns.pop(heappop(order)):
                timed.turn = 0
                expires = timed.expires
                if not expires:
                    continue
                if expires > now:
                    self._add(timed, int(expires / GRAIN) + 1)
                    continue
                timed.expires = 0.0
                try:
                    timed.expired()
                except Exception:
                    self._log.failure("a deadline of {timed!r} failed", timed=timed)
        if self._timer is None and order:
            self._schedule()

    def stop(self) -> None:
        """Forget everything; nothing expires any more."""
        self._turns.clear()
        self._order.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
