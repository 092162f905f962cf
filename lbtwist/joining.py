"""
What it takes for a server to work: it is made of its options, finds its address, speaks TLS,
is checked; and all of that ends when it goes.

The same for servers that are written down and for those that a source names; which there are
is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attr

from lbtwist.config.model import Config, PoolConfig, ServerConfig
from lbtwist.config.passive import observedOf
from lbtwist.config.tracking import trackedOf
from lbtwist.discovery import resolve
from lbtwist.ejecting import Ejecting
from lbtwist.greeting import checkGreetingOf, greetingOf
from lbtwist.health import Admin, Health
from lbtwist.monitor import Monitor
from lbtwist.names import Names
from lbtwist.objects import Objects
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.snat import Origin, originOf
from lbtwist.tlsfiles import TLSFiles


@attr.frozen
class Before:
    """All that a server is made of."""

    config: Config
    pool: PoolConfig
    options: ServerConfig


def _originOf(one: Before) -> tuple[Any, ...]:
    """@return: all that says from where a server is connected to, and with which options."""
    pool, options = one.pool, one.options
    return (
        options.kind, options.source or pool.source,
        options.source_interface or pool.source_interface,
        one.config.tcp.get(options.tcp or pool.tcp),
    )  # fmt: skip


def _watchedBy(one: Before) -> tuple[Any, ...]:
    """@return: all that says what is counted of real traffic to a server."""
    return observedOf(one.pool, one.options), one.pool.outlier


def _changed(before: Any, after: Any, *names: str) -> bool:
    """
    @param before: L{None} where nothing was.
    @return: whether one of these options is another one.
    """
    return before is None or any(getattr(before, name) != getattr(after, name) for name in names)


def spokenBy(options: ServerConfig) -> tuple[Any, ...]:
    """@return: all that says how TLS is spoken with a server."""
    if not options.tls:
        return ()
    return (
        options.sni or options.host, options.verify, options.ca, options.alpn, options.minimum,
        options.maximum, options.ciphers, options.ciphersuites, options.certificate, options.key,
    )  # fmt: skip


class Joining:
    """
    Brings servers to work and lets them go.

    @ivar probes: what checks the servers of each pool that has a check, by its name.
    @ivar pools: all pools by name, for servers that track one of another.
    @ivar objects: what a program has given to be servers.
    """

    def __init__(
        self, config: Config, newId: Callable[[], str], monitor: Monitor, names: Names,
        files: TLSFiles, ejecting: Ejecting,
    ) -> None:
        self.probes: dict[str, Any] = {}
        self.pools: Mapping[str, Pool] = {}
        self.objects = Objects({}, None)
        self._config = config
        self._newId = newId
        self._monitor = monitor
        self._names = names
        self._files = files
        self._ejecting = ejecting
        # Those that are to follow another one, each with its pool.
        self._tracking: dict[Server, Pool] = {}
        self._together = False

    def make(self, pool: PoolConfig, options: ServerConfig, key: str = "") -> Server:
        """@return: a server that nothing watches yet."""
        server = Server(
            pool.name, options.name, None, options.weight, options.backup, options.maxconn, key,
            health=self._healthOf(pool), proxy=greetingOf(options, self._newId),
            checkProxy=checkGreetingOf(options), options=options, maxqueue=options.maxqueue,
            slowstart=options.slowstart or pool.slowstart,
        )  # fmt: skip
        server.capacity.minconn = options.minconn
        if options.disabled:
            server.health.admin, server.health.held = Admin.MAINT, True
        self._place(pool, server, options)
        return server

    @staticmethod
    def _healthOf(pool: PoolConfig) -> Health:
        """@return: that of a server of a pool about which nothing is known yet."""
        if pool.check is None:
            return Health()
        return Health(pool.check.timing.rise, pool.check.timing.fall)

    def _place(self, pool: PoolConfig, server: Server, options: ServerConfig) -> None:
        """Say from where it is connected to."""
        origin = self._origin(pool, options) if options.kind == "tcp" else None
        server.origin = None if origin is None or origin.plain else origin

    def _origin(self, pool: PoolConfig, options: ServerConfig) -> Origin:
        return originOf(pool, options, self._config.tcp)

    def watch(self, pool: Pool, server: Server) -> None:
        """
        Find its address, check it, and count what becomes of exchanges with it.

        @raise StartError: if its address is of an interface that does not exist.
        """
        self._find(server)
        self._check(pool, server)
        self._ejecting.watch(pool, server)

    def _find(self, server: Server) -> None:
        """Have its address be that of its options."""
        options = server.options
        if options.kind == "object":
            server.endpoint = self.objects.endpoint(options)
        elif options.kind != "demo":
            server.endpoint = resolve(options)
            if server.endpoint is None:
                self._names.watch(server, options.host, options.port)

    def _check(self, pool: Pool, server: Server) -> None:
        """Have it checked, or be as the server is that it tracks."""
        options = server.options
        check = pool.config.check
        if options.track:
            self._tracking[server] = pool
            if not self._together:
                self._track()
        elif check is not None and options.check:
            self._monitor.watch(pool, server, self.probes[pool.name], check.timing)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Meanwhile servers may track others that are not there yet: they are at the end."""
        self._together = True
        try:
            yield
        finally:
            self._together = False
        self._track()

    def _track(self) -> None:
        """Have servers be up and down as those are that they track."""
        while self._tracking:
            self._follow(next(iter(self._tracking)))

    def _follow(self, server: Server) -> None:
        pool = self._tracking.pop(server)
        tracked, name = trackedOf(pool.name, server.options)
        followed = self.pools[tracked].find(name)
        if followed in self._tracking:
            # How that one is has to be known before.
            self._follow(followed)
        self._monitor.follow(pool, server, followed)

    # those that are there and are to be others

    def change(self, config: Config) -> None:
        """Make servers by another configuration from now on."""
        self._config = config

    def adapt(
        self, pool: Pool, server: Server, options: ServerConfig, before: Before | None, tls: Any
    ) -> None:
        """
        Have a server of a pool be as its options say now, and its pool's, which are those of
        the new configuration already. What they do not say anew is not touched: somebody may
        have changed it since. What runs goes on as it has begun.

        @param before: what counted until now; L{None} for one that had gone.
        @param tls: its TLS, if that is another one now or its own before.
        """
        was = None if before is None else before.options
        server.options = options
        config = pool.config
        capacity = server.capacity
        for name in ("weight", "maxconn", "minconn"):
            if _changed(was, options, name):
                setattr(capacity, name, getattr(options, name))
        if not capacity.minconn:
            capacity.load = None
        server.backup = options.backup
        server.maxqueue = options.maxqueue
        server.slowstart = options.slowstart or config.slowstart
        if not server.slowstart:
            self._monitor.warming.forget(server)
        fresh = False
        if tls is not server.tls:
            left, server.tls = server.tls, tls
            if left is not None:
                self._files.forget(left)
            fresh = True
        after = Before(self._config, config, options)
        if before is None or _originOf(before) != _originOf(after):
            self._place(config, server, options)
            fresh = True
        if _changed(was, options, "send_proxy", "send_proxy_options", "check_send_proxy"):
            server.proxy = greetingOf(options, self._newId)
            server.checkProxy = checkGreetingOf(options)
            fresh = True
        if was is not None and _changed(was, options, "kind", "host", "port", "path"):
            self._names.forget(server)
            server.endpoint = None
            self._find(server)
            fresh = True
        if fresh:
            pool.reuse.drop(server)
            server.renew()
        self._adaptHealth(pool, server, before)
        server.adapt()
        if was is not None and was.disabled != options.disabled:
            state = Admin.MAINT if options.disabled else Admin.READY
            self._monitor.put(pool, server, state, "the configuration")

    def _adaptHealth(self, pool: Pool, server: Server, before: Before | None) -> None:
        options, config = server.options, pool.config
        was = None if before is None else before.options
        then = None if before is None else before.pool
        if _changed(then, config, "check") or _changed(was, options, "check", "track"):
            health, fresh = server.health, self._healthOf(config)
            health.rise, health.fall = fresh.rise, fresh.fall
            paused = self._monitor.isChecked(server) is False
            self._monitor.forget(server)
            health.followed = None
            checked = config.check is not None and options.check and not options.track
            if not checked and not options.track:
                # Nobody will ever find that it is up again.
                health.up = True
                health.count = 0
            probe = None if then is None or then.check is None else then.check.probe
            if not checked or config.check is None or config.check.probe != probe:
                self._monitor.takeBack(server)
            if before is not None:
                self._check(pool, server)
            if paused:
                self._monitor.setChecking(server, False)
        if before is not None and _watchedBy(before) != _watchedBy(
            Before(self._config, config, options)
        ):
            self._ejecting.forget(pool, server)
            self._ejecting.watch(pool, server)

    def verify(self, pool: PoolConfig, options: ServerConfig) -> None:
        """
        Try what servers need that a source is going to name.

        @param options: what they have in common.
        @raise StartError: if it is not there, naming the file or the interface.
        """
        self.verifyOrigin(pool, options)
        if options.tls:
            # They have names of their own; any will do to see the files.
            tls = self._files.found(pool.name, attr.evolve(options, host="localhost"))
            self._files.forget(tls)

    def verifyOrigin(self, pool: PoolConfig, options: ServerConfig) -> None:
        """@raise StartError: if servers cannot be connected to from where that is to be."""
        self._origin(pool, options).verify()

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

    def speaks(self, pool: Pool, server: Server, options: ServerConfig) -> Any:
        """@return: the TLS of a server whose options are to be these: its own, if that stays."""
        if spokenBy(server.options) == spokenBy(options):
            return server.tls
        return self._files.found(pool.name, options) if options.tls else None

    def joinAgain(self, pool: Pool, server: Server, options: ServerConfig) -> None:
        self.comeBack(pool, server, options, self.speaks(pool, server, options))

    def comeBack(self, pool: Pool, server: Server, options: ServerConfig, tls: Any) -> None:
        """
        Have a server that had gone work again.

        @param tls: as for L{adapt}.
        """
        self.adapt(pool, server, options, None, tls)
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
