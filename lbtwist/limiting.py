"""
What a pool as a whole may have to do at once: C{maxconn} of it, and limits of its servers that
grow with its load, C{minconn} and C{fullconn}.

It says what the limits are; who waits, and who is served when they change, is
L{lbtwist.pool}'s. A pool without these options has none of this.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbtwist.config.model import PoolConfig
from lbtwist.server import Load, Server


class Limits:
    """
    The limits of one pool.

    @ivar full: whether the pool is at its C{maxconn}.
    """

    __slots__ = ("_fullconn", "_groups", "_load", "_maxconn", "full")

    def __init__(self, config: PoolConfig) -> None:
        self.full = False
        self._maxconn = config.maxconn
        self._fullconn = config.fullconn
        self._load = Load()
        # Servers whose limits are always the same.
        self._groups: list[list[Server]] = []

    def __repr__(self) -> str:
        return f"<Limits {self._load.exchanges}/{self._load.fullconn} {len(self._groups)} groups>"

    def serversChanged(self, servers: Iterable[Server]) -> None:
        """Servers came, or went, or something about them is another now."""
        groups: dict[tuple[int, int, float], list[Server]] = {}
        most = 0
        for server in servers:
            capacity = server.capacity
            most += capacity.maxconn
            if capacity.minconn:
                capacity.load = self._load
                kind = capacity.minconn, capacity.maxconn, capacity.warmth
                groups.setdefault(kind, []).append(server)
        self._groups = list(groups.values())
        self._load.fullconn = self._fullconn or most
        for group in self._groups:
            for server in group:
                server.adapt()

    def loaded(self, active: int, queued: int) -> list[Server]:
        """
        @param active: exchanges that hold a slot.
        @param queued: those that wait for one.
        @return: the servers that have another limit by it.
        """
        self.full = 0 < self._maxconn <= active
        self._load.exchanges = active + queued
        changed = []
        for group in self._groups:
            if group[0].capacity.limit != group[0].maxconn:
                changed += [server for server in group if server.adapt()]
        return changed


def limitsOf(config: PoolConfig, servers: Iterable[Server]) -> Limits | None:
    """
    @param servers: those that are written down.
    @return: L{None} for a pool that has none.
    """
    if config.maxconn or any(server.capacity.minconn for server in servers):
        return Limits(config)
    return Limits(config) if any(one.server.minconn for one in config.templates) else None
