"""
What all workers know and count together, as one of them sees it: it asks the parent
(L{lbtwist.workers.kept}), which takes less than a millisecond, and waits for the answer.

So persistence and limits hold over all of them. Where the parent does not answer, in time or
at all, nothing is known, as where a Redis is away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.interfaces import ICounts, IPersistenceStore, ISharedStore

MOST_WAITING = 10_000
"""Questions that wait for their answers; of more nothing is known."""

PATIENCE = 2.0
"""Seconds for which an answer is waited for; the parent may have much to do."""


@attr.define(eq=False)
class _Question:
    """
    @ivar answer: L{None} where nobody waits for it any more.
    @ivar isLease: what it gives has to be given back.
    """

    answer: Deferred[Any] | None
    until: float
    isLease: bool


class Asking:
    """The questions of one worker."""

    def __init__(self, send: Callable[..., object], seconds: Callable[[], float]) -> None:
        """
        @param send: says something to the parent: a name, and plain values.
        @param seconds: a clock that never goes back.
        """
        self._send = send
        self._seconds = seconds
        self._waiting: dict[int, _Question] = {}
        # Those whose answers may come yet, though nobody waits for them.
        self._late: dict[int, _Question] = {}
        self._next = count(1).__next__
        self._lost = False

    def __repr__(self) -> str:
        return f"<Asking {len(self._waiting)} wait>"

    def ask(self, what: str, *values: Any) -> Deferred[Any]:
        """@return: of what the parent says; it fails only by being cancelled."""
        number = self._next()
        answer: Deferred[Any] = Deferred(lambda _: self._abandon(number))
        if self._lost or len(self._waiting) + len(self._late) >= MOST_WAITING:
            answer.callback(None)
            return answer
        self._waiting[number] = _Question(answer, self._seconds() + PATIENCE, what == "enter")
        self._send("ask", number, what, *values)
        return answer

    def _abandon(self, number: int) -> None:
        self._leave(number)

    def _leave(self, number: int) -> Deferred[Any] | None:
        """
        Wait for an answer no more.

        @return: who did.
        """
        question = self._waiting.pop(number, None)
        if question is None:
            return None
        answer, question.answer = question.answer, None
        self._late[number] = question
        return answer

    def tell(self, what: str, *values: Any) -> None:
        """The same where nobody waits for an answer."""
        self._send("ask", 0, what, *values)

    def answered(self, number: int, value: Any) -> None:
        """The parent has said something."""
        question = self._waiting.pop(number, None) or self._late.pop(number, None)
        if question is None:
            return
        if question.answer is not None:
            question.answer.callback(value)
        elif question.isLease and value:
            self.tell("leave", value)

    def look(self) -> None:
        """Some time has passed: who has waited for too long goes on without an answer."""
        now = self._seconds()
        # They are in the order of their times.
        for number, question in list(self._waiting.items()):
            if question.until > now:
                break
            answer = self._leave(number)
            if answer is not None:
                answer.callback(None)

    def lost(self) -> None:
        """Nobody will answer any more."""
        self._lost = True
        waiting, self._waiting = self._waiting, {}
        self._late.clear()
        for one in waiting.values():
            if one.answer is not None:
                one.answer.callback(None)


def _text(key: bytes) -> str:
    # JSON has no bytes.
    return key.decode("latin-1")


@implementer(IPersistenceStore)
class AskedStore:
    """The store of one pool."""

    size = -1

    def __init__(self, asking: Asking, pool: str) -> None:
        self._asking = asking
        self._pool = pool

    def __repr__(self) -> str:
        return f"<AskedStore {self._pool}>"

    def get(self, key: bytes, ttl: float) -> Deferred[str | None]:
        return self._asking.ask("get", self._pool, _text(key), ttl)

    def claim(self, key: bytes, name: str, ttl: float, instead: str) -> Deferred[str | None]:
        return self._asking.ask("claim", self._pool, _text(key), name, ttl, instead)

    def put(self, key: bytes, name: str, ttl: float) -> None:
        self._asking.tell("put", self._pool, _text(key), name, ttl)

    def drop(self, key: bytes, name: str) -> None:
        self._asking.tell("drop", self._pool, _text(key), name)

    def bound(self, name: str) -> int:
        return -1


@attr.define(eq=False)
class Lease:
    """
    One that is there.

    @ivar held: see L{ICounts}.
    """

    number: int
    held: bool | None


@implementer(ICounts)
class AskedCounts:
    """What is counted by one name."""

    def __init__(self, asking: Asking, name: bytes) -> None:
        self._asking = asking
        self._name = _text(name)

    def take(self, key: bytes, each: float, ahead: float, keep: bool) -> Deferred[float | None]:
        return self._asking.ask("take", self._name, _text(key), each, ahead, keep)

    def enter(self, key: bytes, most: int) -> Deferred[Lease]:
        asked = self._asking.ask("enter", self._name, _text(key), most)
        return asked.addCallback(_leaseOf)

    def keep(self, lease: Lease) -> None:
        """The parent is gone, and with it whatever was counted."""

    def leave(self, lease: Lease) -> None:
        if lease.number:
            self._asking.tell("leave", lease.number)


def _leaseOf(number: int | None) -> Lease:
    """@param number: 0 where there is no room."""
    return Lease(number or 0, None if number is None else bool(number))


@implementer(ISharedStore)
class Asked:
    """What stands for all that workers share."""

    def __init__(self, asking: Asking) -> None:
        self.persistence: Callable[[str], AskedStore] = partial(AskedStore, asking)
        self.counts: Callable[[bytes], AskedCounts] = partial(AskedCounts, asking)

    def start(self) -> None:
        """It is there as long as the worker is."""

    def stop(self) -> None:
        """Likewise."""
