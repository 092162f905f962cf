"""
What C{track = POOL/SERVER} says: the server whose health counts for another one, as C{track}
of HAProxy's configuration manual does.

Who follows is found out here; what that means is L{lbtwist.monitor}'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lbtwist.config.fill import Scope
from lbtwist.errors import Problem
from lbtwist.options import Kind, Name, suggestion

if TYPE_CHECKING:
    from lbtwist.config.model import PoolConfig, ServerConfig


MOST = 16
"""The most servers of which each follows the next."""


class Tracked(Kind[str]):
    """A server: C{POOL/SERVER}, or C{SERVER} of the same pool."""

    form = "POOL/SERVER"

    def parse(self, text: str) -> str:
        for name in text.split("/", 1):
            if not Name.good(name):
                raise ValueError(f"{text!r} is not a server: write POOL/SERVER")
        return text


def trackedOf(pool: str, server: ServerConfig) -> tuple[str, str]:
    """
    @param pool: the name of the server's own.
    @return: the names of pool and server that a server with C{track} follows.
    """
    first, slash, second = server.track.partition("/")
    return (first, second) if slash else (pool, first)


def checkTracks(pools: Mapping[str, PoolConfig], problems: list[Problem]) -> None:
    """See that each server with C{track} follows one that is checked."""
    for pool in pools.values():
        within = Scope(f"[pool {pool.name}]", problems)
        for word, servers in (
            ("server", pool.servers), ("servers", [one.server for one in pool.templates])
        ):  # fmt: skip
            for server in servers:
                if server.track:
                    wrong = _wrong(pools, pool.name, server)
                    if wrong:
                        place = within.within(f"{word} {server.name}").within("track")
                        place.error(server.where, wrong)


def _wrong(pools: Mapping[str, PoolConfig], pool: str, server: ServerConfig) -> str:
    """@return: what is wrong with what a server follows; C{""} if nothing is."""
    way = [f"{pool}/{server.name}"]
    found = pools.get(pool)
    while server.track:
        pool, name = trackedOf(pool, server)
        found = pools.get(pool)
        if found is None:
            return f"there is no [pool {pool}]{suggestion(pool, pools)}"
        servers = {one.name: one for one in found.servers}
        if name not in servers:
            if any(one.name == name for one in found.templates):
                return f"{pool}/{name} is several, that come and go: name a server = of a pool"
            return f"[pool {pool}] has no server {name}{suggestion(name, servers)}"
        server = servers[name]
        way.append(f"{pool}/{name}")
        if way[-1] in way[:-1]:
            return f"a circle: {' -> '.join(way)}"
        if len(way) > MOST:
            return f"more than {MOST} in a row: {way[0]} -> {way[1]} and so on; track the last"
    if found is None or found.check is None or not server.check:
        return f"{way[-1]} is not checked: write check = in [pool {pool}], or track another"
    return ""
