"""
Which servers of a pool can be had, how much each of them has to do, and which the next
exchange gets: what is counted for it and asked of the balancer. Who waits where none can be
had, and who is bound to one, is L{lbtwist.pool}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attr

from lbtwist.config.model import PoolConfig
from lbtwist.exchange import Exchange
from lbtwist.interfaces import IFollowing, IForeseeing
from lbtwist.passive import Offer
from lbtwist.server import Forecast, Server


class Offering:
    """
    The servers of one pool, those of them that new clients may be sent to, and their slots.

    @ivar servers: all of them: those that are written down in their order, then the others.
    @ivar active: exchanges that hold a slot of a server.
    @ivar usable: those that new clients may be sent to.
    @ivar limited: whether the pool is at its own limit, whatever its servers could take.
    """

    # What each exchange looks at. Of an object with more than thirty attributes in its
    # dictionary CPython finds each one more slowly.
    __slots__ = (
        "__dict__", "_counted", "_follower", "_free", "_full", "_members", "active", "balancer",
        "limited", "usable",
    )  # fmt: skip

    def __init__(self, config: PoolConfig, servers: Iterable[Server], balancer: Any) -> None:
        self.name = config.name
        self.servers = tuple(servers)
        self.active = 0
        self.limited = False
        self.usable: tuple[Server, ...] = ()
        self._weights: tuple[float, ...] = ()
        self._members: dict[str, Server] = {}
        # How many of the usable are full, and the others; None if that is not known.
        self._full = 0
        self._free: tuple[Server, ...] | None = None
        self._goBy(config, balancer)

    def _goBy(self, config: PoolConfig, balancer: Any) -> None:
        """Be like this from now on; the servers have to be looked at after it."""
        self.config = config
        self.balancer = balancer
        self._offer = Offer(config.name, config.panic_threshold)
        self._follower = balancer if IFollowing.providedBy(balancer) else None
        # What is told of each server whose count has changed, if anything is.
        self._told: Callable[[Server], object] | None = (
            None if self._follower is None else self._follower.follow()
        )
        self._counted = self._told

    def __repr__(self) -> str:
        return f"<Pool {self.name} {len(self.usable)}/{len(self.servers)} usable {self.active}>"

    @property
    def panicking(self) -> bool:
        """Whether too few servers are healthy, and all get requests; see C{panic-threshold}."""
        return self._offer.panicking

    def find(self, name: str) -> Server:
        """@raise KeyError: if the pool has no such server."""
        for server in self.servers:
            if server.name == name:
                return server
        raise KeyError(name)

    def serversChanged(self) -> None:
        """A server became usable, or is not any more, or has other limits."""
        usable = self._offer.of(self.servers)
        weights = tuple(server.weight for server in usable)
        if usable != self.usable or weights != self._weights:
            # The same tuple only as long as it means the same: see IBalancer.
            self.usable = usable
            self._weights = weights
        self._members = {server.name: server for server in usable}
        self._limitsChanged(usable)

    def _limitsChanged(self, servers: Iterable[Server]) -> None:
        """@param servers: those whose limits may be others."""
        self._full = sum(server.full for server in self.usable)
        self._free = None
        follower = self._follower
        if follower is None:
            return
        for server in servers:
            if not server.full:
                follower.freed(server)
            elif self._told is not None:
                self._told(server)

    # slots

    def hold(self, server: Server, exchange: Exchange, now: float) -> None:
        """
        Give a slot of a server to an exchange.

        @param now: the clock's seconds.
        """
        server.active += 1
        self.active += 1
        if server.active == server.maxconn and self._members.get(server.name) is server:
            self._full += 1
            self._free = None
        exchange.server = server
        exchange.holding = True
        exchange.assignedAt = now
        if self._counted is not None:
            self._counted(server)

    def free(self, exchange: Exchange) -> None:
        """An exchange gives its slot back; see also L{lbtwist.pool.Pool.release}."""
        server = exchange.server
        assert server is not None and exchange.holding, f"{exchange!r} holds no slot"
        exchange.holding = False
        freed = server.active == server.maxconn and self._members.get(server.name) is server
        server.active -= 1
        self.active -= 1
        if freed:
            self._full -= 1
            self._free = None
            if self._follower is not None:
                self._follower.freed(server)
        if self._counted is not None:
            self._counted(server)

    # the next

    def choose(self, exchange: Exchange) -> Server | None:
        """
        @return: a server that an exchange may be sent to now; L{None} if there is none
            that is usable and has a slot.
        """
        servers = self.usable
        full = self._full
        if full == len(servers):
            return None
        tried = exchange.tried
        if exchange.settings is not None:
            wanted = self.wanted(exchange)
            if wanted is not None:
                return wanted
            tried += self.unfit(exchange)
        chosen: Server | None
        if not full and not tried:
            chosen = self.balancer.choose(servers, exchange)
        elif self._follower is not None:
            chosen = self._follower.chooseFree(servers, tried, exchange)
        else:
            servers = self._offered(tried)
            chosen = self.balancer.choose(servers, exchange) if servers else None
        return chosen

    def foreseen(self, exchange: Exchange) -> Forecast:
        """@return: what L{choose} would do now, with nothing changed by it."""
        servers = self._offered((*exchange.tried, *self.unfit(exchange)))
        if not servers or self.limited:
            return Forecast()
        forecast: Forecast | None = None
        if IForeseeing.providedBy(self.balancer):
            forecast = self.balancer.foresee(servers, exchange)
        elif len(servers) == 1:
            forecast = Forecast(servers[0])
        found = forecast or Forecast(None, {}, "", "which one, its balancer does not foresee")
        wanted = self.wanted(exchange)
        return found if wanted is None else attr.evolve(found, chosen=wanted, why="by a rule")

    def wanted(self, exchange: Exchange) -> Server | None:
        """@return: the one that a rule has named, if it can be had."""
        name = (exchange.settings or {}).get("server")
        server = self._members.get(name) if name else None
        if server is None or server.full or server in exchange.tried:
            return None
        return server

    def unfit(self, exchange: Exchange) -> tuple[Server, ...]:
        """@return: those of the usable that have not the role that a rule has asked for."""
        role = (exchange.settings or {}).get("role")
        if role is None:
            return ()
        return tuple(server for server in self.usable if server.role != role)

    def _offered(self, tried: tuple[Server, ...]) -> tuple[Server, ...]:
        """
        @param tried: those that may not be chosen.
        @return: the servers that a balancer may choose.
        """
        servers = self._free
        if servers is None:
            servers = self.usable
            if self._full:
                servers = tuple(server for server in servers if not server.full)
            self._free = servers
        if not tried:
            return servers
        left = tuple(server for server in servers if server not in tried)
        return left if len(left) < len(servers) else servers
