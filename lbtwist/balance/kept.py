"""
What balancers keep of the servers that they choose among, so that a choice costs the same
for any number of them: what is derived of a tuple, the servers by their load, lots.

It chooses nothing, and it counts nothing: see L{lbtwist.interfaces.IFollowing}.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import accumulate
from math import inf
from typing import Generic, TypeVar

from lbtwist.balance.scheduled import Servers, hundredths
from lbtwist.server import Server

T = TypeVar("T")


class Kept(Generic[T]):
    """
    What is derived of a tuple of servers, for the last four tuples by identity:
    while one exchange avoids the servers it tried, the others still see them all.
    """

    __slots__ = ("_derive", "_kept")

    def __init__(self, derive: Callable[[Servers], T]) -> None:
        self._derive = derive
        self._kept: list[tuple[Servers, T]] = []

    def __call__(self, servers: Servers) -> T:
        kept = self._kept
        for place, (known, value) in enumerate(kept):
            if known is servers:
                kept.insert(0, kept.pop(place))
                return value
        value = self._derive(servers)
        kept.insert(0, (servers, value))
        del kept[4:]
        return value


def loadOf(server: Server) -> float:
    """
    @return: M{(active + 1) / weight}: the share that a server would have with one exchange
        more. A division is rounded correctly, so equal shares are equal numbers.
    """
    return (server.active + 1) / server.weight


class Loads:
    """
    Servers by their load. Those with the same load are the bits of one number, by their
    place in the tuple, so that all of a thousand are looked at at once.
    """

    __slots__ = ("_at", "_heap", "_loads", "_most", "_places", "_servers")

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._places = {server: place for place, server in enumerate(servers)}
        # Those of infinite load are full or hidden.
        self._loads = [inf] * len(servers)
        self._at: dict[float, int] = {inf: (1 << len(servers)) - 1}
        self._heap = [inf]
        self._most = 2 * len(servers) + 64
        for place, server in enumerate(servers):
            if not server.full:
                self._put(place, loadOf(server))

    def counted(self, server: Server) -> None:
        """The load of a server may be another one."""
        place = self._places.get(server)
        if place is not None:
            maxconn = server.maxconn
            active = server.active
            full = 0 < maxconn <= active
            self._put(place, inf if full else (active + 1) / server.weight)

    def hide(self, server: Server) -> None:
        """Leave a server out until it is C{counted}."""
        place = self._places.get(server)
        if place is not None:
            self._put(place, inf)

    def least(self, turn: int) -> int:
        """
        @param turn: a place, or one more than the last.
        @return: the place from there on, and from the first one on after the last, of the
            server with the least load; -1 if all are full or hidden.
        """
        heap = self._heap
        at = self._at
        while True:
            least = heap[0]
            there = at[least]
            if least == inf:
                return -1
            if there:
                break
            # Nobody has this load any more.
            del at[least]
            heappop(heap)
        after = there >> turn
        if after:
            return turn + (after & -after).bit_length() - 1
        return (there & -there).bit_length() - 1

    def _put(self, place: int, load: float) -> None:
        before = self._loads[place]
        if load == before:
            return
        at = self._at
        bit = 1 << place
        self._loads[place] = load
        at[before] ^= bit
        there = at.get(load)
        if there is not None:
            at[load] = there | bit
            return
        at[load] = bit
        heap = self._heap
        heappush(heap, load)
        if len(heap) > self._most:
            # At most one load for each server is that of anybody.
            self._at = {load: there for load, there in at.items() if there or load == inf}
            self._heap = list(self._at)
            heapify(self._heap)


class Lots:
    """Draws servers by weight, as places in the tuple it was made of."""

    __slots__ = ("_ends", "_even", "_random")

    def __init__(self, servers: Servers, random: Callable[[], float]) -> None:
        weights = list(map(hundredths, servers))
        self._ends = list(accumulate(weights))
        # How many there are, if all have the same weight: then nothing has to be looked for,
        # in memory that is cold. Else 0.
        self._even = len(weights) if len(set(weights)) == 1 else 0
        self._random = random

    def draw(self) -> int:
        if self._even:
            return int(self._random() * self._even)
        ends = self._ends
        return bisect_right(ends, int(self._random() * ends[-1]))

    def drawOther(self, place: int) -> int:
        """@return: a place that is not C{place}; there must be one."""
        if self._even:
            lot = int(self._random() * (self._even - 1))
            return lot if lot < place else lot + 1
        ends = self._ends
        start = ends[place - 1] if place else 0
        weight = ends[place] - start
        lot = int(self._random() * (ends[-1] - weight))
        return bisect_right(ends, lot if lot < start else lot + weight)


class FreeLots:
    """
    Draws servers by weight, of which some are full: what L{Lots} of the others would draw.

    The weights are in a tree (P. Fenwick, "A New Data Structure for Cumulative Frequency
    Tables", 1994), so that leaving a server out and taking it in again is M{O(log n)}.
    """

    __slots__ = ("_half", "_out", "_places", "_random", "_servers", "_total", "_tree")

    def __init__(self, servers: Servers, random: Callable[[], float]) -> None:
        self._servers = servers
        self._places = {server: place for place, server in enumerate(servers)}
        self._random = random
        # Those that were found full.
        self._out: set[int] = set()
        tree = [0, *map(hundredths, servers)]
        self._total = sum(tree)
        for node in range(1, len(tree)):
            above = node + (node & -node)
            if above < len(tree):
                tree[above] += tree[node]
        self._tree = tree
        self._half = 1 << (len(servers).bit_length() - 1)

    def freed(self, server: Server) -> None:
        """A server is not full any more."""
        place = self._places.get(server)
        if place in self._out:
            self._out.discard(place)
            self._add(place, hundredths(server))

    def draw(self, draws: int, tried: Servers) -> list[Server]:
        """
        @param draws: how many servers are drawn, no two of them the same.
        @param tried: not to be drawn.
        @return: fewer if there are not so many, perhaps none.
        """
        servers = self._servers
        hidden = []
        drawn: list[Server] = []
        weight = 0
        while self._total > weight and len(drawn) < draws:
            place = self._find(int(self._random() * self._total))
            server = servers[place]
            own = hundredths(server)
            if server.full:
                self._out.add(place)
                self._add(place, -own)
                continue
            again = server in drawn
            if again or server in tried:
                # Not a second time.
                hidden.append(place)
                self._add(place, -own)
                weight -= own if again else 0
                continue
            drawn.append(server)
            weight += own
        for place in hidden:
            self._add(place, hundredths(servers[place]))
        return drawn

    def _find(self, lot: int) -> int:
        tree = self._tree
        place = 0
        half = self._half
        while half:
            node = place + half
            if node < len(tree) and tree[node] <= lot:
                place = node
                lot -= tree[node]
            half >>= 1
        return place

    def _add(self, place: int, weight: int) -> None:
        tree = self._tree
        self._total += weight
        node = place + 1
        while node < len(tree):
            tree[node] += weight
            node += node & -node
