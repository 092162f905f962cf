"""
Balancers by consistent hash, C{source}, C{uri} and C{hash}: the same key comes to
the same server, in every process and after every restart, and where a server goes
only its keys move.

Nothing is remembered of any key: who must come back whatever happens needs
persistence.
"""

from __future__ import annotations

from bisect import bisect_right
from copy import copy
from hashlib import blake2b, shake_128
from struct import unpack
from typing import TYPE_CHECKING, Any

import attr
from zope.interface import implementer

from lbtwist.balance.scheduled import NoOptions, RoundRobin, Servers
from lbtwist.interfaces import IBalancer, IForeseeing
from lbtwist.options import FieldName, Flag, Integer, option
from lbtwist.server import Forecast, Server

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context

POINTS = 256
"""
Points on the ring for each unit of weight. The keys of a server then deviate from
its share by 1 / sqrt(256), 6%, in the standard deviation.
"""


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _points(server: Server) -> dict[int, Server]:
    """
    A server's places on a ring: of its key and weight alone, and more weight only
    adds to them.
    """
    count = server.weight * POINTS
    points = unpack(f">{count}Q", shake_128(server.key.encode()).digest(8 * count))
    return dict.fromkeys(points, server)


class _Ring:
    """
    Where keys and servers meet (D. Karger et al., "Consistent Hashing and Random
    Trees", 1997). Asked for some of its servers, it answers as a ring of those
    alone would, so it need not be made anew when one is away.

    @ivar owners: the servers of all points, in the order of the points.
    """

    __slots__ = ("_points", "_weights", "owners")

    def __init__(self, servers: Servers) -> None:
        owned: dict[int, Server] = {}
        for server in servers:
            owned.update(_points(server))
        self._points = sorted(owned)
        self.owners = list(map(owned.__getitem__, self._points))
        self._weights = {server: server.weight for server in servers}

    def covers(self, servers: Servers) -> bool:
        """@return: whether it has all of these, and not many others."""
        weights = self._weights
        if len(weights) > 2 * len(servers) + 16:
            return False
        return all(weights.get(server) == server.weight for server in servers)

    def find(self, key: bytes) -> int:
        """
        @return: the place in C{owners} where a key falls. The ring is walked by
            subtracting: it may be -1, and minus the number of owners is as far
            as a whole turn goes.
        """
        return bisect_right(self._points, _hash(key)) - 1

    def order(self, key: bytes, servers: Servers) -> dict[Server, float]:
        """@return: where a key finds each of these servers, from 1 on."""
        left = set(servers)
        places: dict[Server, float] = {}
        place = self.find(key)
        while left:
            server = self.owners[place]
            if server in left:
                left.discard(server)
                places[server] = len(places) + 1.0
            place -= 1
        return places


@implementer(IBalancer, IForeseeing)
class _Hash:
    """
    What the balancers by hash have in common.

    A choice takes M{O(log n)}. A ring takes about 0.2 ms for each unit of weight in
    it and is made when a server is new, so weights should be small numbers.
    """

    def __init__(self, options: Any, context: Context) -> None:
        self._servers: Servers = ()
        self._here: frozenset[Server] = frozenset()
        self._ring = _Ring(())
        # In percent; 0 is no limit.
        self._load = 0

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        key = self._key(exchange) or exchange.connection.client[0].encode()
        return self._find(key, servers)

    def _key(self, exchange: Exchange) -> bytes:
        """@return: what is hashed; C{b""} takes the client's address."""
        raise NotImplementedError

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        """Scores are places on the ring."""
        key = self._key(exchange)
        said = "of the request" if key else "the client's address"
        return self._foreseen(key or exchange.connection.client[0].encode(), servers, said)

    def _foreseen(self, key: bytes, servers: Servers, said: str) -> Forecast:
        other = copy(self)
        chosen = other._find(key, servers)
        places = other._ring.order(key, servers)
        shown = key[:64].decode("utf-8", "replace")
        return Forecast(
            chosen, places, "its place on the ring, the first first", f"{said}: {shown!r}"
        )

    def _find(self, key: bytes, servers: Servers) -> Server:
        if servers is not self._servers:
            if not self._ring.covers(servers):
                self._ring = _Ring(servers)
            self._servers = servers
            self._here = frozenset(servers)
        ring = self._ring
        owners = ring.owners
        here = self._here
        place = ring.find(key)
        server = owners[place]
        if not self._load:
            while server not in here:
                place -= 1
                server = owners[place]
            return server
        # V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded
        # Loads", 2016: with this exchange counted, no server has more than its share
        # of what is active, times the load, rounded up. All cannot be beyond that.
        active = weights = 0
        for each in servers:
            active += each.active
            weights += each.weight
        room = self._load * (active + 1)
        weights *= 100
        while server not in here or server.active * weights >= room * server.weight:
            place -= 1
            server = owners[place]
        return server


class SourceHash(_Hash):
    """C{source}: by the client's address, without the port."""

    Options = NoOptions

    def _key(self, exchange: Exchange) -> bytes:
        return b""


class URIHash(_Hash):
    """
    C{uri}: by the path of the request target, without the query, so that what is
    cached is cached once. The absolute form counts as the path in it, which is what
    L{lbtwist.sansio.requesthead} makes of it. In C{mode = tcp} by the client's address.
    """

    @attr.frozen
    class Options:
        whole: bool = option(Flag(), False, "Whether the query is part of what is hashed.")

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self._whole = options.whole

    def _key(self, exchange: Exchange) -> bytes:
        request = exchange.request
        if request is None:
            return b""
        return request.target if self._whole else request.target.partition(b"?")[0]


class FieldHash(_Hash):
    """
    C{hash}: by the value of a request header field; in turn, as C{roundrobin},
    where the field is missing or empty. In C{mode = tcp} by the client's address.

    With C{load} a server that has more than its share passes keys on to the next
    on the ring until it has less. Each choice then looks at every server, M{O(n)}.
    """

    @attr.frozen
    class Options:
        field: str = option(FieldName(), doc="The header field to hash.", positional=True)
        load: int = option(
            Integer(0), 0, "A server has at most this percent of its share; 0 is no limit.",
            check=lambda percent: None if not 0 < percent < 100 else "must be 0 or at least 100",
        )  # fmt: skip

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self._field = options.field.lower().encode()
        self._load = options.load
        self._inTurn = RoundRobin(NoOptions(), context)

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        request = exchange.request
        if request is None:
            return self._find(exchange.connection.client[0].encode(), servers)
        value = request.fields.get(self._field)
        if not value:
            return self._inTurn.choose(servers, exchange)
        return self._find(value, servers)

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        request = exchange.request
        if request is None:
            return self._foreseen(
                exchange.connection.client[0].encode(), servers, "the client's address"
            )
        value = request.fields.get(self._field)
        if not value:
            found = self._inTurn.foresee(servers, exchange)
            return attr.evolve(found, why=f"there is no {self._field.decode()}")
        return self._foreseen(value, servers, self._field.decode())
