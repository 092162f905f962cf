"""
How much a pool may ask twice: a share of what it is asked, so that servers that fail are not
asked more and more because they do. What is asked twice, and when, is not known here.

The same as Finagle's C{RetryBudget}.
"""

from __future__ import annotations

from collections.abc import Callable

WINDOW = 10
"""Seconds that are looked back on."""


class Budget:
    """
    So many may be asked twice in any L{WINDOW}: a share of the requests in it, and a few
    whatever they are.
    """

    __slots__ = ("_at", "_requests", "_reserve", "_seconds", "_share", "_spent")

    def __init__(self, share: float, least: float, seconds: Callable[[], float]) -> None:
        """
        @param share: of the requests; 0.2 is one of five.
        @param least: per second, where there are few requests.
        @param seconds: a clock that never goes back.
        """
        self._share = share
        self._reserve = least * WINDOW
        self._seconds = seconds
        # Counted by the second; those of the second s are at s % WINDOW.
        self._requests = [0] * WINDOW
        self._spent = [0] * WINDOW
        self._at = int(seconds())

    def __repr__(self) -> str:
        return f"<Budget {sum(self._spent)} spent of {self._allowed():g}>"

    def _now(self) -> int:
        """@return: the place of this second; seconds that are too long ago are forgotten."""
        at = int(self._seconds())
        for second in range(max(self._at, at - WINDOW) + 1, at + 1):
            self._requests[second % WINDOW] = self._spent[second % WINDOW] = 0
        self._at = at
        return at % WINDOW

    def _allowed(self) -> float:
        return self._share * sum(self._requests) + self._reserve

    def asked(self) -> None:
        """One more request has come."""
        self._requests[self._now()] += 1

    @property
    def left(self) -> bool:
        """Whether one more may be asked twice."""
        self._now()
        return sum(self._spent) + 1 <= self._allowed()

    def spend(self) -> None:
        """One is asked twice."""
        self._spent[self._now()] += 1
