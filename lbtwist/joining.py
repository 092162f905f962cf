"""
What it takes for a server to work: it is made of its options, finds its address, speaks TLS,
is checked; and all of that ends when it goes.

The same for servers that are written down and for those that a source names; which there are
is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.config.model import Config, PoolConfig, ServerConfig
from lbtwist.config.tracking import trackedOf
from lbtwist.discovery import resolve
from lbtwist.ejecting import Ejecting
from lbtwist.greeting import checkGreetingOf, greetingOf
from lbtwist.health import Health
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.snat import Origin, originOf
from lbtwist.tlsfiles import TLSFiles


class Joining:
    """
    Brings servers to work and lets them go.

    @ivar probes: what checks the servers of each pool that has a check, by its name.
    @ivar pools: all pools by name, for servers that track one of another.
    """

    def __init__(
        self, config: Config, newId: Callable[[], str], monitor: Monitor, names: Names,
        files: TLSFiles, ejecting: Ejecting,
    ) -> None:
        self.probes: Mapping[str, Any] = {}
        self.pools: Mapping[str, Pool] = {}
        self._config = config
        self._newId = newId
        self._monitor = monitor
        self._names = names
        self._files = files
        self._ejecting = ejecting

    def make(self, pool: PoolConfig, options: ServerConfig, key: str = "") -> Server:
        """@return: a server that nothing watches yet."""
        health = Health()
        if pool.check is not None:
            health = Health(pool.check.timing.rise, pool.check.timing.fall)
        server = Server(
            pool.name, options.name, None, options.weight, options.backup, options.maxconn, key,
            health=health, proxy=greetingOf(options, self._newId),
            checkProxy=checkGreetingOf(options), options=options, maxqueue=options.maxqueue,
            slowstart=options.slowstart or pool.slowstart,
        )  # fmt: skip
        server.capacity.minconn = options.minconn
        if options.kind == "tcp":
            origin = self._origin(pool, options)
            server.origin = None if origin.plain else origin
        return server

    def _origin(self, pool: PoolConfig, options: ServerConfig) -> Origin:
        return originOf(pool, options, self._config.tcp)

    def watch(self, pool: Pool, server: Server) -> None:
        """
        Find its address, check it, and count what becomes of exchanges with it.

        @raise StartError: if its address is of an interface that does not exist.
        """
        options = server.options
        check = pool.config.check
        if options.kind != "demo":
            server.endpoint = resolve(options)
            if server.endpoint is None:
                self._names.watch(server, options.host, options.port)
        if options.track:
            tracked, name = trackedOf(pool.name, options)
            self._monitor.follow(pool, server, self.pools[tracked].find(name))
        elif check is not None and options.check:
            self._monitor.watch(pool, server, self.probes[pool.name], check.timing)
        self._ejecting.watch(pool, server)

    def verify(self, pool: PoolConfig, options: ServerConfig) -> None:
        """
        Try what servers need that a source is going to name.

        @param options: what they have in common.
        @raise StartError: if it is not there, naming the file or the interface.
        """
        self._origin(pool, options).verify()
        if options.tls:
            # They have names of their own; any will do to see the files.
            tls = self._files.found(pool.name, attr.evolve(options, host="localhost"))
            self._files.forget(tls)

    # those that a source names

    def join(self, pool: Pool, options: ServerConfig, key: str) -> Server:
        server = self.make(pool.config, options, key)
        if options.tls:
            server.tls = self._files.found(pool.name, options)
        try:
            self.watch(pool, server)
        except BaseException:
            self.forget(pool, server)
            raise
        return server

    def joinAgain(self, pool: Pool, server: Server) -> None:
        # What its checks have said of it is what they will say again.
        server.capacity.weight = server.options.weight
        server.capacity.percent = 100
        server.adapt()
        self.watch(pool, server)

    def weigh(self, server: Server, weight: int) -> None:
        server.capacity.weight = weight
        server.adapt()

    def came(self, pool: Pool, server: Server) -> None:
        self._monitor.warming.begin(pool, server)

    def leave(self, pool: Pool, server: Server) -> None:
        # Whether it is up does not matter any more, and that it is down is no news.
        self._monitor.forget(server)
        self._ejecting.forget(pool, server)
        self._names.forget(server)
        pool.reuse.drop(server)

    def forget(self, pool: Pool, server: Server) -> None:
        pool.reuse.drop(server)
        if server.tls is not None:
            self._files.forget(server.tls)
