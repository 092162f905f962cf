"""
What is remembered of exchanges that failed: the last ones as they were, and of those before
them how many there were of each kind, minute by minute.

Plain values, bounded whatever comes. Not here: what a failure means
(L{lbtwist.explaining.blame}), and how it is shown.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import attr

MOST_FAILURES = 100
"""Of one frontend so many of the last exchanges that failed are remembered."""

LONGEST = 256
"""Characters of a text of theirs."""

HOUR = 3600.0
"""Seconds for which those before them are counted."""

MOST_SUMS = 300
"""
Kinds and minutes, of one frontend, that are told apart in full. Of as many more the pool, the
status and how it ended are known, and then only that: all of it is less than L{MOST_BYTES}.
"""

MOST_BYTES = 1_000_000
"""What is remembered of one frontend takes less memory than that, whatever clients send."""

_MINUTE = 60.0


@attr.frozen
class Failed:
    """
    An exchange that failed, or that a server answered with 5xx, as it is remembered for a
    while. Texts in it may come from anywhere, and are cut to L{LONGEST}.

    @ivar at: when it ended, by the clock.
    @ivar request: the method and the target; C{""} where no request was understood.
    @ivar rule: the text of the rule that has decided, if one has.
    @ivar where: its file and line.
    @ivar reason: what L{lbtwist.exchange.Exchange.reason} said.
    """

    at: float
    number: int
    frontend: str
    client: tuple[str, int]
    pool: str
    server: str
    cause: str
    stage: str
    status: int
    request: str
    rule: str
    where: str
    reason: str
    bytesIn: int
    bytesOut: int


@attr.define
class Sum:
    """
    Several that failed alike within a minute.

    @ivar example: the first of them; what they do not have in common is empty in it.
    @ivar first: when it was; C{last} the same of the last.
    @ivar whole: whether C{example} really was one; else nothing is known of its reason.
    """

    example: Failed
    count: int
    first: float
    last: float
    whole: bool = True


_CLIENT = [field.name for field in attr.fields(Failed)].index("client")


class Failures:
    """
    Those of one frontend.

    @ivar recent: the last ones, the newest last.
    """

    def __init__(self) -> None:
        self.recent: deque[Failed] = deque()
        self._sums: dict[tuple[object, ...], Sum] = {}

    def note(self, failed: Failed) -> None:
        """One more has failed."""
        self.recent.append(failed)
        if len(self.recent) > MOST_FAILURES:
            old = self.recent.popleft()
            self._add(Sum(old, 1, old.at, old.at))

    def _add(self, more: Sum) -> None:
        sums, old, whole = self._sums, more.example, more.whole
        minute = more.first // _MINUTE
        key: tuple[object, ...] = (
            minute, old.cause, old.stage, old.status, old.pool, old.server, old.rule,
            old.where, old.reason,
        )  # fmt: skip
        found = sums.get(key) if whole else None
        if found is None:
            self._forget(more.last - HOUR)
            if not whole or len(sums) >= MOST_SUMS:
                whole = False
                crowded = len(sums) >= 2 * MOST_SUMS
                pool, status = ("", 0) if crowded else (old.pool, old.status)
                key = (minute, old.cause, old.stage, pool, status)
                found = sums.get(key)
                old = attr.evolve(
                    old, pool=pool, server="", status=status, request="", rule="", where="",
                    reason="",
                )  # fmt: skip
        if found is None:
            sums[key] = Sum(old, more.count, more.first, more.last, whole)
        else:
            found.count += more.count
            found.first = min(found.first, more.first)
            found.last = max(found.last, more.last)

    def _forget(self, before: float) -> None:
        """Those of a minute come before those of the next one."""
        sums = self._sums
        while sums:
            key = next(iter(sums))
            if sums[key].last >= before:
                return
            del sums[key]

    def plain(self) -> list[Any]:
        """@return: all of them, of what JSON has; see L{absorb}."""
        return [attr.astuple(one) for one in self.since(-math.inf)]

    def absorb(self, said: Iterable[Any]) -> None:
        """@param said: what L{plain} has said of others, which are these too from now on."""
        for (*values,), count, first, last, whole in said:
            values[_CLIENT] = tuple(values[_CLIENT])
            one = Sum(Failed(*values), count, first, last, whole)
            if count == 1 and whole:
                self.note(one.example)
            else:
                self._add(one)

    def since(self, at: float) -> Iterator[Sum]:
        """
        @param at: by the clock.
        @return: those that ended then or later, the oldest first, each as a sum of itself. Of
            those before L{recent} the minutes count that end later.
        """
        for one in self._sums.values():
            if one.last >= at:
                yield one
        for failed in self.recent:
            if failed.at >= at:
                yield Sum(failed, 1, failed.at, failed.at)
