"""
What all workers know and count together, kept in the parent: the stores of persistence are those
of its own pools, and its counters are here.

What a worker has on lease ends with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from lbtwist.rules.tables import MOST_KEYS

_GRAIN = 1e-6
"""A clock's floats are not exact; nobody waits for what is within this."""


class Kept:
    """Answers what L{lbtwist.workers.asked} asks."""

    def __init__(self, storeOf: Callable[[str], Any], seconds: Callable[[], float]) -> None:
        """
        @param storeOf: given the name of a pool, its L{lbtwist.interfaces.IPersistenceStore};
            L{None} if it has none.
        @param seconds: a clock that never goes back.
        """
        self._storeOf = storeOf
        self._seconds = seconds
        # When a bucket will be full again, as in L{lbtwist.rules.limits.Buckets}.
        self._full: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._counts: dict[tuple[str, str], int] = {}
        self._leases: dict[int, tuple[int, tuple[str, str]]] = {}
        self._next = count(1).__next__

    def __repr__(self) -> str:
        return f"<Kept {len(self._full)} rates {len(self._leases)} leases>"

    def asked(self, worker: int, what: str, values: list[Any]) -> Deferred[Any]:
        """
        @param worker: who asks.
        @return: the answer.
        """
        if what in ("get", "claim", "put", "drop"):
            return maybeDeferred(self._store, what, *values)
        if what == "enter":
            return maybeDeferred(self._enter, worker, *values)
        return maybeDeferred(self._take if what == "take" else self._leave, *values)

    def _store(self, what: str, pool: str, key: str, *values: Any) -> Any:
        store = self._storeOf(pool)
        return None if store is None else getattr(store, what)(key.encode("latin-1"), *values)

    def _take(self, name: str, key: str, each: float, ahead: float, keep: bool) -> float:
        """See L{lbtwist.interfaces.ICounts}; so with the others."""
        now = self._seconds()
        found = name, key
        full = max(self._full.get(found, 0.0), now)
        late = full - now - ahead - _GRAIN
        if late > 0 or not keep:
            return max(late, 0.0)
        self._full.pop(found, None)
        self._full[found] = full + each
        if len(self._full) > MOST_KEYS:
            self._full.popitem(last=False)
        return 0.0

    def _enter(self, worker: int, name: str, key: str, most: int) -> int:
        """@return: the number of a lease; 0 if there is no room."""
        found = name, key
        there = self._counts.get(found, 0)
        if there >= most:
            return 0
        self._counts[found] = there + 1
        number = self._next()
        self._leases[number] = worker, found
        return number

    def _leave(self, number: int) -> None:
        lease = self._leases.pop(number, None)
        if lease is None:
            return
        found = lease[1]
        left = self._counts[found] - 1
        if left:
            self._counts[found] = left
        else:
            del self._counts[found]

    def gone(self, worker: int) -> None:
        """A worker is not there any more: nor is what it had on lease."""
        for number in [one for one, lease in self._leases.items() if lease[0] == worker]:
            self._leave(number)
