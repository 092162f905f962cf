"""
Where keys meet servers: on a ring, or in a table. A walk from the place of a key comes by
every server, so it is also said who is next where one cannot be chosen.

Nothing here knows what a key is of, nor whether a server may be chosen.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from hashlib import shake_128
from itertools import repeat
from operator import itemgetter
from struct import unpack
from typing import Protocol

from lbtwist.balance.scheduled import Servers
from lbtwist.server import Server

POINTS = 256
"""
Points on the ring for each unit of weight. The keys of a server then deviate from
its share by 1 / sqrt(256), 6%, in the standard deviation.
"""


class Spread(Protocol):
    """
    Servers at places.

    @ivar owners: the server of each place. It is walked by subtracting, into negative
        places, a whole turn if need be.
    """

    @property
    def owners(self) -> list[Server]: ...

    def covers(self, servers: Servers) -> bool:
        """@return: whether it is also that of these servers."""

    def find(self, number: int) -> int:
        """
        @param number: from 0 to M{2**64 - 1}.
        @return: the place from where to walk; -1 is the last one.
        """

    def nearest(self, number: int, servers: Iterable[Server]) -> list[Server]:
        """@return: these servers in the order in which a walk comes by."""


def _count(weight: float) -> int:
    """@return: how many points a server of this weight has."""
    return round(weight * POINTS)


def _points(server: Server, weight: float) -> tuple[int, ...]:
    """
    A server's places on a ring: of its key and weight alone, and more weight only
    adds to them.
    """
    count = _count(weight)
    return unpack(f">{count}Q", shake_128(server.key.encode()).digest(8 * count))


class Ring:
    """
    Where a server goes only its keys move (D. Karger et al., "Consistent Hashing and
    Random Trees", 1997). Asked for some of its servers, it answers as a ring of those
    alone would, so it need not be made anew when one is away.
    """

    __slots__ = ("_own", "_points", "_shift", "_starts", "_weights", "owners")

    def __init__(self, servers: Servers, before: Ring | None = None) -> None:
        """
        @param before: the ring until now, of which is kept what is the same. A thousand
            servers are made in 0.2 seconds, one more or less of them in 8 milliseconds.
        """
        self._weights = weights = {server: server.weight for server in servers}
        had = {} if before is None else before._weights
        changed = [one for one in {**had, **weights} if had.get(one) != weights.get(one)]
        if before is None or 4 * len(changed) > len(weights):
            owned: dict[int, Server] = {}
            for server, weight in weights.items():
                owned.update(dict.fromkeys(_points(server, weight), server))
            points = sorted(owned)
            self._points: array[int] = array("Q", points)
            self.owners: list[Server] = list(map(owned.__getitem__, points))
        else:
            self._points, self.owners = before._points, before.owners
            self._change(changed, had)
        self._own: dict[Server, list[int]] = {}
        # The ring in even parts of some 16 to 32 points, and which point is the first of each:
        # to look through all of them would be to look at memory that is cold.
        count = len(self._points)
        bits = max(0, count.bit_length() - 5)
        self._shift = 64 - bits
        first = (bisect_left(self._points, part << self._shift) for part in range(1 << bits))
        self._starts: array[int] = array("Q", [*first, count])

    def _change(self, changed: list[Server], had: dict[Server, float]) -> None:
        gone: list[tuple[int, Server]] = []
        new: list[tuple[int, Server]] = []
        for server in changed:
            weight, before = self._weights.get(server, 0), had.get(server, 0)
            points = _points(server, max(weight, before))[_count(min(weight, before)) :]
            (new if weight > before else gone).extend(zip(points, repeat(server)))
        self._take(sorted(gone, key=itemgetter(0)))
        self._put(sorted(new, key=itemgetter(0)))

    def _take(self, gone: list[tuple[int, Server]]) -> None:
        points, owners = self._points, self.owners
        self._points, self.owners = array("Q"), []
        since = 0
        for point, server in gone:
            at = bisect_left(points, point, since)
            if at == len(owners) or owners[at] is not server:
                # Two servers had the same point, and the other one has kept it.
                continue
            self._points += points[since:at]
            self.owners += owners[since:at]
            since = at + 1
        self._points += points[since:]
        self.owners += owners[since:]

    def _put(self, new: list[tuple[int, Server]]) -> None:
        points, owners = self._points, self.owners
        self._points, self.owners = array("Q"), []
        since = 0
        for point, server in new:
            at = bisect_right(points, point, since)
            self._points += points[since:at]
            self.owners += owners[since:at]
            self._points.append(point)
            self.owners.append(server)
            since = at
        self._points += points[since:]
        self.owners += owners[since:]

    def covers(self, servers: Servers) -> bool:
        """It may have others as well, but not many."""
        weights = self._weights
        if len(weights) > 2 * len(servers) + 16:
            return False
        return all(weights.get(server) == server.weight for server in servers)

    def find(self, number: int) -> int:
        starts, part = self._starts, number >> self._shift
        return bisect_right(self._points, number, starts[part], starts[part + 1]) - 1

    def nearest(self, number: int, servers: Iterable[Server]) -> list[Server]:
        own = self._own
        found: list[tuple[int, Server]] = []
        for server in servers:
            points = own.get(server)
            if points is None:
                points = own[server] = sorted(_points(server, self._weights[server]))
            point = points[bisect_right(points, number) - 1]
            found.append(((number - point) % (1 << 64), server))
        return [server for _, server in sorted(found, key=itemgetter(0))]


class Table:
    """
    By the remainder: shares are as exact as those of the keys, and where a server comes or
    goes nearly all keys move. Servers of more weight are there more often, at even
    distances; one that starts slowly has all of its places at once.
    """

    __slots__ = ("_places", "_weights", "owners")

    def __init__(self, servers: Servers) -> None:
        self._weights = {server: server.whole for server in servers}
        turns = [
            ((2 * turn + 1) / (2 * server.whole), at)
            for at, server in enumerate(servers)
            for turn in range(server.whole)
        ]
        self.owners = [servers[at] for _, at in sorted(turns)]
        self._places: dict[Server, list[int]] = {}
        for place, server in enumerate(self.owners):
            self._places.setdefault(server, []).append(place)

    def covers(self, servers: Servers) -> bool:
        """It has these and no others, or another process would have another table."""
        return self._weights == {server: server.whole for server in servers} and tuple(
            self._weights
        ) == servers

    def find(self, number: int) -> int:
        return number % len(self.owners)

    def nearest(self, number: int, servers: Iterable[Server]) -> list[Server]:
        at = self.find(number)
        found = []
        for server in servers:
            places = self._places[server]
            place = places[bisect_right(places, at) - 1]
            found.append(((at - place) % len(self.owners), server))
        return [server for _, server in sorted(found, key=itemgetter(0))]
