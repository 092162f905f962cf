"""
Who the servers of each pool are: those that are written down, those that sources name
(L{lbtwist.membership}), and those that have gone and have something to do yet.

What it takes for a server to end its work is brought by who implements L{Leaves}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from lbtwist.announcing import leftOf
from lbtwist.events import LEFT, stateOf
from lbtwist.pool import Pool
from lbtwist.server import Server

LOOK = 1.0
"""Seconds between two looks at servers that have gone and have something to do yet."""


class Leaves(Protocol):
    """Lets servers go."""

    def leave(self, pool: Pool, server: Server) -> None:
        """It gets no new exchanges; what runs may end."""

    def forget(self, pool: Pool, server: Server) -> None:
        """Nothing of it runs any more."""


class Roster:
    """
    The servers of all pools.

    @ivar retired: pools that are there no more and have something to do yet.
    """

    def __init__(self, reactor: Any, leaves: Leaves) -> None:
        """@param reactor: for timers."""
        self.retired: list[Pool] = []
        self._reactor = reactor
        self._leaves = leaves
        self._written: dict[Pool, tuple[Server, ...]] = {}
        # Of each pool in the order in which they went.
        self._gone: dict[Pool, dict[Server, None]] = {}
        self._looking: Any = None

    def know(self, pool: Pool) -> None:
        """The servers that a pool has, if nothing of it is known yet, are those written down."""
        self._written.setdefault(pool, pool.servers)

    def write(self, pool: Pool, written: tuple[Server, ...]) -> None:
        """
        Have these be the servers of a pool that are written down. Others that were end what
        they have to do, and nobody new comes to them.
        """
        self.know(pool)
        stay = set(written)
        gone = [one for one in self._written[pool] if one not in stay]
        self._written[pool] = written
        self.dismiss(pool, gone, "the configuration")

    def members(self, pool: Pool) -> tuple[Server, ...]:
        """@return: all, those that have gone behind the others."""
        found = list(self._written[pool])
        for membership in pool.memberships:
            found += membership.servers.values()
        found += self._gone.get(pool, ())
        return tuple(found)

    def place(self, pool: Pool) -> None:
        """Tell a pool who its servers are."""
        pool.setServers(self.members(pool))

    # those that go

    def dismiss(self, pool: Pool, servers: Iterable[Server], why: str) -> None:
        """
        Let servers go, and say so.

        @param why: for people.
        """
        were = self.letGo(pool, servers)
        self.place(pool)
        self.tell(pool, were, why)

    def letGo(self, pool: Pool, servers: Iterable[Server]) -> dict[Server, str]:
        """
        Nobody new comes to these servers, which are forgotten when they have nothing to do any
        more. Their pool is not told yet.

        @return: in which state each of them was.
        """
        were = {server: stateOf(server) for server in servers}
        for server in were:
            server.leaving = True
            self._leaves.leave(pool, server)
        if were:
            self._gone.setdefault(pool, {}).update(dict.fromkeys(were))
            self._look()
        return were

    def tell(self, pool: Pool, gone: dict[Server, str], why: str) -> None:
        """
        Announce that servers have gone.

        @param gone: with what each was before.
        """
        left = leftOf(pool) if gone else None
        for server, before in gone.items():
            pool.announcer.tell(pool, server, LEFT, before, why, left=left)

    def gone(self, pool: Pool) -> dict[str, Server]:
        """@return: those that have gone and have something to do yet, by their keys."""
        return {server.key: server for server in self._gone.get(pool, ())}

    def stays(self, pool: Pool, server: Server) -> None:
        """One that had gone is there again."""
        del self._gone[pool][server]
        server.leaving = False

    def retire(self, pool: Pool) -> None:
        """A pool is there no more: it serves who has come to it, and is forgotten then."""
        self.retired.append(pool)
        self._look()

    # those that have gone

    def stop(self) -> None:
        """Forget all that have gone, whatever they have to do; no timer is left."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for pool in list(self.retired):
            self._end(pool)
        for pool, gone in list(self._gone.items()):
            self._forget(pool, list(gone))

    def _look(self) -> None:
        if self._looking is None and (self._gone or self.retired):
            self._looking = self._reactor.callLater(LOOK, self._looked)

    def _looked(self) -> None:
        """Forget who has gone and has nothing to do any more."""
        self._looking = None
        for pool in list(self.retired):
            if not (pool.active or pool.queued or any(one.sessions for one in pool.servers)):
                self._end(pool)
        for pool, gone in list(self._gone.items()):
            self._forget(pool, [one for one in gone if not one.active and not one.sessions])
        self._look()

    def _forget(self, pool: Pool, over: list[Server]) -> None:
        gone = self._gone[pool]
        for server in over:
            del gone[server]
        if not gone:
            del self._gone[pool]
        if over:
            self.place(pool)
        for server in over:
            self._leaves.forget(pool, server)

    def _end(self, pool: Pool) -> None:
        """Forget a pool that was retired, and all of its servers."""
        self.retired.remove(pool)
        self._gone.pop(pool, None)
        self._written.pop(pool, None)
        for server in pool.servers:
            server.leaving = True
            self._leaves.leave(pool, server)
            self._leaves.forget(pool, server)
