"""
Balancers that go by the servers' order and weights alone: C{roundrobin}, C{first}.

They look neither at what the servers have to do (L{lbtwist.balance.loaded}) nor at
who asks (L{lbtwist.balance.hashed}).
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain
from math import lcm
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.interfaces import IBalancer, IFollowing, IForeseeing
from lbtwist.server import Forecast, Server

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context

Servers = tuple[Server, ...]

Turn = tuple[int, int, int, Server]
"""When a server is due, its place in the tuple, the distance between its turns, and it."""


def hundredths(server: Server) -> int:
    """@return: its weight as a whole number, for what has to be exact."""
    return round(server.weight * 100)


@attr.frozen
class NoOptions:
    """For a balancer that has nothing to set."""


@implementer(IBalancer, IFollowing, IForeseeing)
class RoundRobin:
    """
    C{roundrobin}: each server in turn, as often as its weight says, spread as
    evenly as it can be.

    A server of weight M{w} is due M{w} times in each unit of virtual time, at even
    distances; servers of one weight are staggered. The earliest one due is next,
    so each period of as many choices as the sum of all weights gives every server
    exactly its weight. A choice takes M{O(log n)}, another tuple M{O(n)}
    (5 microseconds for ten servers).

    A server keeps its place in the schedule when others come and go, and when it
    is away itself, or full: it misses those turns and gets none for them later.
    """

    Options = NoOptions

    # Every weight up to 256 divides a unit, so no rounding adds up.
    _unit = lcm(*range(1, 257))
    # In such units: for how long the place of a server is kept that is away.
    _memory = 1000

    def __init__(self, options: NoOptions, context: Context) -> None:
        self._servers: Servers = ()
        self._now = 0
        self._turns: list[Turn] = []
        # The turns of servers that were found full.
        self._full: dict[Server, Turn] = {}
        self._due: dict[Server, int] = {}

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        if servers is not self._servers:
            self._schedule(servers)
        turns = self._turns
        due, place, distance, server = turns[0]
        self._now = due
        heapreplace(turns, (due + distance, place, distance, server))
        return server

    def follow(self) -> None:
        return None

    def freed(self, server: Server) -> None:
        turn = self._full.pop(server, None)
        if turn is not None:
            self._returned((turn,))

    def chooseFree(
        self, servers: Servers, tried: Servers, exchange: Exchange
    ) -> Server | None:
        if servers is not self._servers:
            self._schedule(servers)
        turns = self._turns
        passed = []
        chosen = None
        while turns:
            due, place, distance, server = turns[0]
            if server.full:
                self._full[server] = heappop(turns)
            elif server in tried:
                passed.append(heappop(turns))
            else:
                self._now = due
                heapreplace(turns, (due + distance, place, distance, server))
                chosen = server
                break
        self._returned(passed)
        return chosen

    def _returned(self, turns: Iterable[Turn]) -> None:
        """Servers are there again that were passed over."""
        for due, place, distance, server in turns:
            due = self._missed(due, distance)
            heappush(self._turns, (due, place, distance, server))

    def _missed(self, due: int, distance: int) -> int:
        """@return: the first turn that is not over."""
        now = self._now
        return due if due >= now else now + (due - now) % distance

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        """Scores are how far away the turns are."""
        schedule = self
        if servers is not self._servers or self._full:
            schedule = copy(self)
            schedule._full = self._full.copy()
            schedule._schedule(servers)
        turns = schedule._turns
        scores = {server: (due - self._now) / self._unit for due, _, _, server in turns}
        return Forecast(turns[0][3], scores, "how far its turn is, the nearest first")

    def _schedule(self, servers: Servers) -> None:
        now = self._now
        oldest = now - self._memory * self._unit
        known = {server: due for server, due in self._due.items() if due > oldest}
        known.update((turn[3], turn[0]) for turn in chain(self._turns, self._full.values()))
        turns = []
        new: dict[int, list[tuple[int, Server]]] = {}
        for place, server in enumerate(servers):
            distance = self._unit * 100 // hundredths(server)
            if server in known:
                due = self._missed(known[server], distance)
                # A weight that has risen counts at once.
                turns.append((min(due, now + distance), place, distance, server))
            else:
                new.setdefault(distance, []).append((place, server))
        for distance, same in new.items():
            for rank, (place, server) in enumerate(same):
                # No two are due at once: one of them would have two chances in each
                # turn while servers come and go.
                due = now + distance * (2 * rank + 1) // (2 * len(same)) + place
                turns.append((due, place, distance, server))
        heapify(turns)
        self._servers = servers
        self._turns = turns
        self._full.clear()
        self._due = known


@implementer(IBalancer, IFollowing, IForeseeing)
class First:
    """
    C{first}: the first server, in written order, that is below its limit; so the
    last ones are used only when there is need. Without C{maxconn} the first gets
    everything.
    """

    Options = NoOptions

    def __init__(self, options: NoOptions, context: Context) -> None:
        self._servers: Servers = ()
        self._places: dict[Server, int] = {}
        # A bit for each place of a server that was not found full.
        self._free = 0

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        return servers[0]

    def follow(self) -> None:
        return None

    def freed(self, server: Server) -> None:
        place = self._places.get(server)
        if place is not None:
            self._free |= 1 << place

    def chooseFree(
        self, servers: Servers, tried: Servers, exchange: Exchange
    ) -> Server | None:
        if servers is not self._servers:
            self._servers = servers
            self._places = {server: place for place, server in enumerate(servers)}
            self._free = (1 << len(servers)) - 1
        left = self._free
        while left:
            bit = left & -left
            server = servers[bit.bit_length() - 1]
            if server.full:
                self._free ^= bit
            elif server not in tried:
                return server
            left ^= bit
        return None

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        scores = {server: float(place) for place, server in enumerate(servers, 1)}
        return Forecast(servers[0], scores, "its place, the first first")
