"""
What an administrator changes about servers while they run: their state, weight, limit,
address, and whether they are checked.

It counts at once, and until it is changed again: no check and no configuration file is asked.
Who may do it, and in which words, is not known here; see L{lbtwist.admin}.
"""

from __future__ import annotations

import attr

from lbtwist.config.tracking import trackedOf
from lbtwist.draining import Drains
from lbtwist.events import WEIGHT, stateOf
from lbtwist.health import Admin
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.pool import Pool
from lbtwist.server import Endpoint, Server

BY = "by an administrator"
"""Why something has changed, for people."""


@attr.frozen(eq=False)
class Administration:
    """
    Changes servers.

    @ivar monitor: checks them.
    @ivar drains: those that are drained.
    """

    monitor: Monitor
    drains: Drains
    names: Names

    def setState(self, pool: Pool, server: Server, admin: str) -> None:
        """@param admin: one of L{Admin}; it holds against what checks say."""
        if admin == Admin.DRAIN:
            self.drains.drain(pool, server)
            return
        self.monitor.put(pool, server, admin, BY)

    def setWeight(self, pool: Pool, server: Server, weight: int) -> None:
        """@param weight: from 0 to 256."""
        server.capacity.weight = weight
        self._adapt(pool, server)

    def setMaxconn(self, pool: Pool, server: Server, maxconn: int) -> None:
        """@param maxconn: 0 is no limit. Who has a slot keeps it."""
        server.capacity.maxconn = maxconn
        self._adapt(pool, server)

    def _adapt(self, pool: Pool, server: Server) -> None:
        before = stateOf(server)
        if server.adapt():
            self.monitor.administered(pool, server)
            pool.announcer.tell(pool, server, WEIGHT, before, BY)

    def setEndpoint(self, pool: Pool, server: Server, endpoint: Endpoint) -> None:
        """
        Connect to another address from now on; what runs goes on. A name of it is resolved
        no more.
        """
        self.names.forget(server)
        server.endpoint = endpoint
        pool.reuse.drop(server)
        pool.serversChanged()

    def setUp(self, pool: Pool, server: Server, up: bool) -> None:
        """
        Have a server be up, or down, until a check says otherwise.

        @raise ValueError: if it follows another one, which this has to be said of.
        """
        options = server.options
        if options is not None and options.track:
            raise ValueError(f"it follows {'/'.join(trackedOf(pool.name, options))}")
        self.monitor.decide(pool, server, up, BY)

    def isChecked(self, server: Server) -> bool | None:
        """@return: whether checks of it run; L{None}: it has none."""
        return self.monitor.isChecked(server)

    def setChecking(self, server: Server, checking: bool) -> bool:
        """@return: whether it has checks that could be stopped, or go on."""
        return self.monitor.setChecking(server, checking)
