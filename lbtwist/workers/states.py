"""
How servers are, said by the parent to its workers: what checks, administrators and names have
come to. In a worker nobody else changes it, but for what real traffic there makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attr

from lbtwist.health import Admin
from lbtwist.pool import Pool
from lbtwist.server import Endpoint, Server


@attr.frozen
class ServerState:
    """
    One server.

    @ivar admin: of L{Admin}: what is in force, be it said of the server or of one it tracks.
    @ivar weight: see L{lbtwist.server.Capacity}; so are C{percent}, C{warmth} and C{maxconn}.
    """

    up: bool
    admin: str
    held: bool
    endpoint: Endpoint | None
    weight: int
    percent: int
    warmth: float
    maxconn: int
    role: str

    @classmethod
    def of(cls, server: Server) -> ServerState:
        """@return: how a server is now."""
        health, capacity = server.health, server.capacity
        return cls(
            health.up, health.inForce, health.held, server.endpoint, capacity.weight,
            capacity.percent, capacity.warmth, capacity.maxconn, server.role,
        )  # fmt: skip


States = dict[str, dict[str, ServerState]]
"""By the names of pools and servers."""


def statesOf(pool: Pool) -> dict[str, ServerState]:
    """@return: how its servers are that have not gone."""
    return {one.name: ServerState.of(one) for one in pool.servers if not one.leaving}


def changes(
    before: Mapping[str, ServerState], now: Mapping[str, ServerState]
) -> dict[str, ServerState]:
    """@return: of those that are now what is not as it was."""
    return {name: state for name, state in now.items() if before.get(name) != state}


def take(
    pool: Pool, said: Mapping[str, ServerState], share: Callable[[int], int]
) -> list[Server]:
    """
    Have the servers of a pool be as the parent says. The pool has to look at them then.

    @param share: of a limit for all workers the part that is this one's.
    @return: those that are of no use any more, and were before.
    """
    lost = []
    for server in pool.servers:
        state = said.get(server.name)
        if state is None or server.leaving:
            continue
        health, capacity = server.health, server.capacity
        if (health.up and not state.up) or (
            health.admin != Admin.MAINT and state.admin == Admin.MAINT
        ):
            lost.append(server)
        health.up, health.admin, health.held = state.up, state.admin, state.held
        capacity.weight, capacity.percent = state.weight, state.percent
        capacity.warmth, capacity.maxconn = state.warmth, share(state.maxconn)
        server.role = state.role
        if server.endpoint != state.endpoint:
            server.endpoint = state.endpoint
            pool.reuse.drop(server)
        server.adapt()
    return lost
