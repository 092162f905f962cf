"""
The logs of a process: which writers there are, and what becomes of them when others are wanted.

Not here: how lines are written, see L{lbtwist.logwriter}, and what a configuration says of it,
see L{lbtwist.logged}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from typing import Any, TypeVar

from lbtwist.logwriter import CAPACITY, Gatherer, Writer

MOST_RETIRED = 50
"""So many targets that no new exchange writes to are kept for those before."""

W = TypeVar("W", bound=Gatherer)


class Logs:
    """
    The writers of a process, one for each target, however many use it.

    @ivar droppedBy: lines that were lost so far, by the name of the target; those of targets
        that are gone, and of other processes, too.
    """

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = reactor
        self._writers: dict[Hashable, Gatherer] = {}
        # Exchanges that began before a reload write to these; of those before them only the
        # counts are left, as of those of other processes.
        self._retired: deque[Gatherer] = deque()
        self._gone: dict[str, int] = {}
        self._events: Any = None
        self._opened = False

    def writer(self, path: str = "", capacity: int = CAPACITY) -> Writer:
        """@param path: of a file; C{""} is standard output."""
        return self.one(Writer(self._reactor, path, capacity))

    def one(self, writer: W) -> W:
        """
        @param writer: is not open.
        @return: the one that is equal to it, if there is one already; it keeps as much as
            that is to keep which is to keep more.
        """
        found: Any = self._writers.get(writer.key)
        if found is None:
            # Whoever has the one that is retired goes on with it.
            known = next((one for one in self._retired if one == writer), None)
            if known is not None:
                self._retired.remove(known)
                known.revive()
            found = self._writers[writer.key] = known or writer
        found.capacity = max(found.capacity, writer.capacity)
        return found  # type: ignore[no-any-return]

    @property
    def writers(self) -> Collection[Gatherer]:
        """All that there are, open or not."""
        return self._writers.values()

    @property
    def events(self) -> Any:
        """
        What writes the program's own events: has C{start} and C{stop}, and writes while the
        logs are open. L{None} if nothing does.
        """
        return self._events

    @events.setter
    def events(self, events: Any) -> None:
        if self._events is not None and self._opened:
            self._events.stop()
        self._events = events
        if events is not None and self._opened:
            events.start()

    @property
    def dropped(self) -> int:
        """Lines that were lost so far, of all of them."""
        return sum(self.droppedBy.values())

    @property
    def droppedBy(self) -> dict[str, int]:
        found = dict(self._gone)
        for writer in (*self._retired, *self._writers.values()):
            found[writer.name] = found.get(writer.name, 0) + writer.dropped
        return found

    def lost(self, lines: Mapping[str, int]) -> None:
        """@param lines: so many were lost in another process, by the names of the targets."""
        for name, count in lines.items():
            self._gone[name] = self._gone.get(name, 0) + count

    def open(self) -> None:
        """
        Open every target that is not open.

        @raise StartError: if one cannot be opened.
        """
        for writer in self._writers.values():
            writer.open()
        if not self._opened:
            self._opened = True
            if self._events is not None:
                self._events.start()

    def reopen(self) -> None:
        """Open every file anew."""
        for writer in self._writers.values():
            writer.reopen()

    def undo(self, used: Collection[Gatherer]) -> None:
        """As L{keepOnly}, of targets that have come for nothing."""
        for writer in self._writers.values():
            if writer not in used:
                writer.discard()
        self.keepOnly(used)

    def keepOnly(self, used: Collection[Gatherer]) -> None:
        """
        Have every target retire that is not one of these: it is closed as soon as it has
        written what there is.
        """
        for key, writer in list(self._writers.items()):
            if writer not in used:
                writer.retire()
                self._retired.append(self._writers.pop(key))
        while len(self._retired) > MOST_RETIRED:
            gone = self._retired.popleft()
            gone.close()
            self.lost({gone.name: gone.dropped})

    def close(self) -> None:
        """Write what is there and close every target."""
        if self._opened and self._events is not None:
            self._events.stop()
        self._opened = False
        for writer in (*self._retired, *self._writers.values()):
            writer.close()
