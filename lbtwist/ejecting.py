"""
The service that owns time for passive health: has servers watched, ejects outliers and lets
them return.

What is counted, and what is an outlier, is L{lbtwist.passive}'s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.config.passive import observedOf
from lbtwist.events import EJECTED, RETURNED, stateOf
from lbtwist.monitor import Monitor
from lbtwist.passive import Ejections, Watch
from lbtwist.pool import Pool
from lbtwist.server import Server


@attr.define(eq=False)
class _Outliers:
    """
    A pool whose outliers are ejected.

    @ivar timer: until the next look.
    @ivar returning: the timer of each that is ejected.
    @ivar refused: somebody has been told that one could not be ejected.
    """

    pool: Pool
    ejections: Ejections
    interval: float
    watches: dict[Server, Watch] = attr.field(factory=dict)
    returning: dict[Server, Any] = attr.field(factory=dict)
    timer: Any = None
    refused: bool = False


class Ejecting:
    """Ejects outliers. Of a pool never more than its options say, and never the last."""

    _log = Logger()

    def __init__(self, reactor: Any, clock: Callable[[], float], monitor: Monitor) -> None:
        """
        @param reactor: for timers.
        @param clock: seconds that never go back.
        @param monitor: is told of servers with too many errors in a row.
        """
        self._reactor = reactor
        self._clock = clock
        self._monitor = monitor
        self._pools: dict[Pool, _Outliers] = {}
        self._started = False

    def __repr__(self) -> str:
        ejected = sum(len(one.returning) for one in self._pools.values())
        return f"<Ejecting {len(self._pools)} pools {ejected} ejected>"

    # whom to watch

    def watch(self, pool: Pool, server: Server) -> None:
        """Have traffic to a server counted from now on, if its pool wants it."""
        observed = observedOf(pool.config, server.options)
        options = pool.config.outlier
        if observed is None and options is None:
            return
        server.watch = watch = Watch(
            server, observed, self._monitor.suspect, options, partial(self._eject, pool)
        )
        if options is not None:
            outliers = self._pools.get(pool)
            if outliers is None:
                outliers = _Outliers(pool, Ejections(options), options.interval)
                self._pools[pool] = outliers
                if self._started:
                    self._schedule(outliers)
            elif outliers.ejections.options != options:
                outliers.ejections = Ejections(options)
                outliers.interval = options.interval
            outliers.watches[server] = watch

    def forget(self, pool: Pool, server: Server) -> None:
        """Count no more of a server; if it is ejected it is not any more."""
        server.watch = None
        server.health.ejected = False
        outliers = self._pools.get(pool)
        if outliers is not None and server in outliers.watches:
            del outliers.watches[server]
            timer = outliers.returning.pop(server, None)
            if timer is not None:
                timer.cancel()
            if not outliers.watches:
                del self._pools[pool]
                if outliers.timer is not None:
                    outliers.timer.cancel()

    def start(self) -> None:
        """Begin to look for outliers."""
        self._started = True
        for outliers in self._pools.values():
            self._schedule(outliers)

    def stop(self) -> None:
        """End every timer, and every ejection."""
        self._started = False
        for outliers in self._pools.values():
            for timer in (outliers.timer, *outliers.returning.values()):
                if timer is not None:
                    timer.cancel()
            outliers.timer = None
            outliers.returning.clear()
            for watch in outliers.watches.values():
                outliers.ejections.end(watch, self._clock())

    # when to look

    def _schedule(self, outliers: _Outliers) -> None:
        outliers.timer = self._reactor.callLater(outliers.interval, self._look, outliers)

    def _look(self, outliers: _Outliers) -> None:
        self._schedule(outliers)
        watches = outliers.watches.values()
        for watch, reason in outliers.ejections.look(watches, self._clock()):
            self._eject(outliers.pool, watch, reason)

    # who goes and who returns

    def _eject(self, pool: Pool, watch: Watch, reason: str) -> None:
        server = watch.server
        if not self._started or server.health.ejected:
            return
        outliers = self._pools[pool]
        refusal = outliers.ejections.refusal(server, pool.servers)
        if refusal:
            server.traffic.ejectionsRefused += 1
            if not outliers.refused:
                outliers.refused = True
                self._log.warn(
                    "Server {pool}/{server} is an outlier, and stays: {refusal}; reason: {reason}.",
                    pool=server.pool, server=server.name, refusal=refusal, reason=reason,
                )  # fmt: skip
            return
        before = stateOf(server)
        seconds = outliers.ejections.begin(watch)
        outliers.returning[server] = self._reactor.callLater(
            seconds, self._return, outliers, watch
        )
        self._log.warn(
            "Server {pool}/{server} is ejected for {seconds:g} s, reason: {reason}. "
            "{ejected} of {count} servers are ejected.",
            pool=server.pool, server=server.name, seconds=seconds, reason=reason,
            ejected=len(outliers.returning), count=len(pool.servers),
        )  # fmt: skip
        self._changed(outliers)
        pool.announcer.tell(pool, server, EJECTED, before, reason)

    def _return(self, outliers: _Outliers, watch: Watch) -> None:
        server = watch.server
        del outliers.returning[server]
        before = stateOf(server)
        outliers.ejections.end(watch, self._clock())
        self._log.info(
            "Server {pool}/{server} has been ejected long enough and is back. "
            "{ejected} of {count} servers are ejected.",
            pool=server.pool, server=server.name, ejected=len(outliers.returning),
            count=len(outliers.pool.servers),
        )  # fmt: skip
        self._changed(outliers)
        reason = "it has been ejected long enough"
        outliers.pool.announcer.tell(outliers.pool, server, RETURNED, before, reason)

    def _changed(self, outliers: _Outliers) -> None:
        outliers.refused = False
        try:
            outliers.pool.serversChanged()
        except Exception:
            self._log.failure("{pool!r} met an error when a server changed", pool=outliers.pool)
