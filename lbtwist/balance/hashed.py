"""
Balancers by hash, C{source}, C{uri} and C{hash}: the same key comes to the same server,
in every process and after every restart.

Nothing is remembered of any key: who must come back whatever happens needs
persistence.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from hashlib import blake2b
from math import isqrt
from typing import TYPE_CHECKING, Any
from zlib import crc32

import attr
from zope.interface import implementer

from lbtwist.balance.keys import (
    Key,
    RDPCookieName,
    address,
    fieldKey,
    rdpKey,
    seesRDP,
    templateKey,
    uriKey,
)
from lbtwist.balance.scheduled import NoOptions, RoundRobin, Servers, hundredths
from lbtwist.balance.spread import Ring, Spread, Table
from lbtwist.interfaces import IBalancer, IFollowing, IForeseeing, IInspecting
from lbtwist.options import FieldName, Flag, Integer, Word, option
from lbtwist.rules.template import Template, Templated
from lbtwist.server import Forecast, Server

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context


def _blake2(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


def _crc32(key: bytes) -> int:
    # What falls onto a ring is compared from its first bit on.
    return crc32(key) << 32


def _crc32OfTable(key: bytes) -> int:
    return crc32(key)


def _number(key: bytes) -> int:
    # Ten digits and no more: what a client sends can be as long as a head.
    return int(key) if key.isdigit() and len(key) <= 18 else _blake2(key)


_FUNCTIONS: dict[tuple[str, bool], Callable[[bytes], int]] = {
    ("blake2", False): _blake2,
    ("blake2", True): _blake2,
    ("crc32", False): _crc32,
    ("crc32", True): _crc32OfTable,
    ("number", True): _number,
}
"""By the name, and whether it is for a table."""


@attr.frozen
class HashOptions:
    """What all balancers by hash can be told."""

    map: bool = option(
        Flag(), False, "Whether keys are dealt out by remainder, not by places on a ring."
    )
    function: str = option(
        Word("blake2", "crc32", "number"), "blake2", "What makes a number of a key."
    )
    load: int = option(
        Integer(0), 0, "A server has at most this percent of its share; 0 is no limit.",
        check=lambda percent: None if not 0 < percent < 100 else "must be 0 or at least 100",
    )  # fmt: skip

    def __attrs_post_init__(self) -> None:
        if (self.function, self.map) not in _FUNCTIONS:
            raise ValueError(f"function={self.function} goes with map only")


@implementer(IBalancer, IFollowing, IForeseeing)
class _Hash:
    """
    What the balancers by hash have in common.

    A choice takes M{O(log n)}, with C{load} only where it is followed: otherwise it looks
    at every server. Servers that cannot be chosen are walked past; where few of many can
    be, those few are asked instead, so no choice takes more than M{O(sqrt(n))}.
    """

    Options: type[Any] = HashOptions

    def __init__(self, options: Any, context: Context) -> None:
        self._hash = _FUNCTIONS[options.function, options.map]
        self._map = options.map
        # In percent; 0 is no limit.
        self._load = options.load
        self._key = self._keyOf(options, context)
        self._inTurn = RoundRobin(NoOptions(), context)
        self._followed = False
        self._servers: Servers = ()
        self._spread: Spread | None = None
        # Those of the servers that were not found full.
        self._here: set[Server] = set()
        # What is active on each server; -1 if it is full. And the sums over the others, that
        # of weights in hundredths.
        self._counts: dict[Server, int] = {}
        self._active = self._weights = 0

    def _keyOf(self, options: Any, context: Context) -> Key:
        """@return: what is hashed, by exchange."""
        raise NotImplementedError

    def keyOf(self, exchange: Exchange) -> bytes:
        """@return: what is hashed; C{b""} where there is nothing."""
        return self._key.of(exchange)

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        key = self._key.of(exchange)
        if not key:
            return self._inTurn.choose(servers, exchange)
        return self._find(key, servers)

    def follow(self) -> Callable[[Server], None] | None:
        self._followed = True
        return self._counted if self._load else None

    def freed(self, server: Server) -> None:
        self._inTurn.freed(server)
        if server in self._counts:
            self._here.add(server)
            self._counted(server)

    def _counted(self, server: Server) -> None:
        before = self._counts.get(server)
        if before is None:
            return
        now = -1 if server.full else server.active
        self._counts[server] = now
        if before < 0 <= now:
            self._weights += hundredths(server)
        elif now < 0 <= before:
            self._weights -= hundredths(server)
        self._active += max(now, 0) - max(before, 0)

    def chooseFree(
        self, servers: Servers, tried: Servers, exchange: Exchange
    ) -> Server | None:
        key = self._key.of(exchange)
        if not key:
            return self._inTurn.chooseFree(servers, tried, exchange)
        if servers is not self._servers:
            self._offered(servers)
        spread = self._spread
        assert spread is not None
        here = self._here
        room, weights = self._room(tried)
        # A walk takes as many steps as there are servers for each that can be chosen, to ask
        # one that can be costs as much as five.
        few = max(isqrt(len(servers) // 5), len(tried))
        number = self._hash(key)
        place = spread.find(number)
        owners = spread.owners
        while len(here) > few:
            server = owners[place]
            if server in here and server not in tried:
                if server.full:
                    here.discard(server)
                elif not room or server.active * weights < room * server.weight:
                    return server
            place -= 1
        here.difference_update([server for server in here if server.full])
        left = [server for server in here if server not in tried]
        for server in spread.nearest(number, left):
            if not room or server.active * weights < room * server.weight:
                return server
        return None

    def _offered(self, servers: Servers) -> None:
        spread = self._spread
        if spread is None or not spread.covers(servers):
            if self._map:
                self._spread = Table(servers)
            else:
                self._spread = Ring(servers, spread if isinstance(spread, Ring) else None)
        self._servers = servers
        self._here = set(servers)
        self._counts = {one: -1 if one.full else one.active for one in servers}
        self._active = sum(count for count in self._counts.values() if count > 0)
        self._weights = sum(hundredths(one) for one, count in self._counts.items() if count >= 0)

    def _room(self, tried: Servers = ()) -> tuple[int, int]:
        """
        V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads",
        2016: with this exchange counted, no server has more than its share of what is
        active, times the load, rounded up. All cannot be beyond that.

        @return: how much that is for a unit of weight, times the second: a server has room
            where its active exchanges times this are less than the first times its weight.
            (0, 0) is no limit.
        """
        if not self._load:
            return 0, 0
        if self._followed:
            active, weights = self._active, self._weights
            for server in set(tried):
                count = self._counts.get(server, -1)
                if count >= 0:
                    active -= count
                    weights -= hundredths(server)
        else:
            active = weights = 0
            for server in self._servers:
                active += server.active
                weights += hundredths(server)
        # The load is in percent, as the weights are.
        return self._load * (active + 1), weights

    def _find(self, key: bytes, servers: Servers) -> Server:
        if servers is not self._servers:
            self._offered(servers)
        spread = self._spread
        assert spread is not None
        here = self._here
        owners = spread.owners
        place = spread.find(self._hash(key))
        server = owners[place]
        if not self._load:
            while server not in here:
                place -= 1
                server = owners[place]
            return server
        room, weights = self._room()
        while server not in here or server.active * weights >= room * server.weight:
            place -= 1
            server = owners[place]
        return server

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        """Scores are places on the ring, or in the table."""
        key = self._key.of(exchange)
        if not key:
            found = self._inTurn.foresee(servers, exchange)
            return attr.evolve(found, why=f"there is no {self._key.name}")
        other = copy(self)
        other._servers = ()
        chosen = other._find(key, servers)
        assert other._spread is not None
        order = other._spread.nearest(self._hash(key), servers)
        where = "in the table" if self._map else "on the ring"
        shown = key[:64].decode("utf-8", "replace")
        return Forecast(
            chosen,
            {server: float(place) for place, server in enumerate(order, 1)},
            f"its place {where}, the first first",
            f"{self._key.nameFor(exchange)}: {shown!r}",
        )


class SourceHash(_Hash):
    """C{source}: by the client's address, without the port."""

    def _keyOf(self, options: Any, context: Context) -> Key:
        return Key(address)


class URIHash(_Hash):
    """
    C{uri}: by the path of the request target, without the query, so that what is
    cached is cached once. The absolute form counts as the path in it, which is what
    L{lbtwist.sansio.requesthead} makes of it. In C{mode = tcp} by the client's address.
    """

    @attr.frozen
    class Options(HashOptions):
        whole: bool = option(Flag(), False, "Whether the query is part of what is hashed.")
        depth: int = option(Integer(0), 0, "How many directories of the path; 0 is all of it.")
        length: int = option(Integer(0), 0, "How many bytes from its beginning; 0 is all of it.")

    def _keyOf(self, options: Any, context: Context) -> Key:
        return uriKey(options.whole, options.depth, options.length)


class FieldHash(_Hash):
    """
    C{hash}: by the value of a request header field, or by what expressions say; in turn,
    as C{roundrobin}, where that is missing or empty. In C{mode = tcp} by the client's
    address, unless the expressions ask for nothing but the connection.

    With C{load} a server that has more than its share passes keys on to the next until it
    has less.
    """

    @attr.frozen
    class Options(HashOptions):
        field: str = option(FieldName(), "", "The header field to hash.", positional=True)
        by: Template | None = option(Templated(), None, "What is hashed, such as {host}{path}.")

        def __attrs_post_init__(self) -> None:
            super().__attrs_post_init__()
            if bool(self.field) == (self.by is not None):
                raise ValueError("needs one of FIELD and by=TEXT")

    def _keyOf(self, options: Any, context: Context) -> Key:
        if options.by is not None:
            return templateKey(options.by, context.scope)
        return fieldKey(options.field)


@implementer(IInspecting)
class RDPCookieHash(_Hash):
    """
    C{rdp-cookie}: by the cookie that a client of RDP sends first; in turn where there is
    none.
    """

    @attr.frozen
    class Options(HashOptions):
        name: str = option(RDPCookieName(), "mstshash", "Of the cookie.", positional=True)

    def _keyOf(self, options: Any, context: Context) -> Key:
        return rdpKey(options.name)

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        if exchange.rehearsal and exchange.request is None:
            return Forecast(why="which one, the first bytes of the session say")
        return super().foresee(servers, exchange)

    def inspectClient(self, exchange: Exchange) -> Callable[[bytes], bool]:
        return seesRDP

    def inspectServer(self, exchange: Exchange) -> None:
        """It says nothing that matters."""
