"""
What the parent has its workers do, and hears the outcome of: the parent's side. What they can do
is L{lbtwist.workers.doing}'s.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import Deferred

from lbtwist.workers.channel import Channel


class Tasks:
    """Those that are not done yet."""

    def __init__(self) -> None:
        # By their numbers: who does it, and who waits for it.
        self._waiting: dict[int, tuple[int, Deferred[Any]]] = {}
        self._next = count(1).__next__

    def __repr__(self) -> str:
        return f"<Tasks {len(self._waiting)} wait>"

    def give(self, index: int, channel: Channel, name: str, *values: Any) -> Deferred[Any]:
        """
        Have a worker do something.

        @return: of what comes of it; L{None} if it has ended before. If it is cancelled the
            worker is told to leave it.
        """
        number = self._next()

        def leave(_: Deferred[Any]) -> None:
            self._waiting.pop(number, None)
            channel.send("leave", number)

        told: Deferred[Any] = Deferred(leave)
        self._waiting[number] = index, told
        channel.send("do", number, name, *values)
        return told

    def done(self, index: int, number: int, value: Any) -> None:
        """A worker says what has come of one."""
        whose, told = self._waiting.get(number, (None, None))
        if told is not None and whose == index:
            del self._waiting[number]
            told.callback(value)

    def gone(self, index: int) -> None:
        """A worker does nothing any more."""
        for number, (whose, told) in list(self._waiting.items()):
            if whose == index and self._waiting.pop(number, None) is not None:
                told.callback(None)
