"""
One worker: a balancer that is led by its parent. It accepts from the parent's sockets, knows of
servers what the parent says, and says what it has counted.

Its program is L{lbtwist.workers.__main__}.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import attr
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText, globalLogBeginner

from lbtwist.applying import Applying
from lbtwist.building import Building
from lbtwist.collecting import collectRarely
from lbtwist.config.model import Bind, Config
from lbtwist.errors import BalancerError, StartError
from lbtwist.net.profiles import Profile
from lbtwist.pool import Pool
from lbtwist.registry import Registry, installed
from lbtwist.server import Server
from lbtwist.service import LoadBalancer
from lbtwist.workers import states, tally
from lbtwist.workers.asked import Asked, Asking
from lbtwist.workers.board import Board
from lbtwist.workers.channel import Channel, asJSON
from lbtwist.workers.doing import Doing
from lbtwist.workers.shares import Share

CHANNEL = 3
"""The descriptor of a worker's end."""

PERIOD = 0.25
"""Seconds from one report to the next."""

MOST_SUSPECTED = 1_000_000
"""Bytes that the parent has not heard yet: of servers that fail it has enough to do then."""

MOST_LOGGED = 1_000_000
"""Bytes likewise, of what is logged."""

QUIET = 8
"""So many reports that say nothing new are not made; the next one says that this one lives."""


class Worker:
    """
    Does what its parent says.

    @ivar balancer: L{None} before the first configuration has come.
    """

    _log = Logger()

    def __init__(
        self, skt: socket.socket, reactor: Any, begun: Callable[[], object] = lambda: None
    ) -> None:
        """@param begun: called when it has taken its first configuration."""
        self.balancer: LoadBalancer | None = None
        self._reactor = reactor
        self._begun = begun
        self._share = Share(0, 1)
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._timer: Any = None
        self._gauges: dict[str, Any] = {}
        self._lines: dict[str, int] = {}
        self._spans = 0
        self._quiet = 0
        self._grace = 0.0
        self._ended = False
        self._board: Board | None = None
        self._channel = Channel(
            skt, reactor, self._received, self._orphaned, asJSON, _unpickled
        )
        self._asking = Asking(self._channel.send, time.monotonic)
        self._doing = Doing(self._channel.send)

    def __repr__(self) -> str:
        return f"<Worker {self._share.index} {self.balancer!r}>"

    # what the parent says

    def _received(self, name: str, values: list[Any], descriptors: list[int]) -> None:
        told = getattr(self, f"_told_{name}")
        told(*values, *([descriptors] if descriptors else []))

    def _told_sockets(self, places: list[tuple[str, int]], descriptors: list[int]) -> None:
        """
        Listening sockets of the configuration that is about to come.

        @param places: of each descriptor the frontend and which of its binds it is.
        """
        for place, one in zip(places, descriptors, strict=True):
            self._sockets[place] = socket.socket(fileno=one)

    def _told_configure(
        self, config: Config, index: int, count: int, said: states.States, secret: bytes,
        registry: Registry | None,
    ) -> None:  # fmt: skip
        """
        Go by this configuration.

        @param said: how servers are.
        @param secret: see L{LoadBalancer.secret}.
        @param registry: the parts that configurations name, as long as this worker lives; L{None}:
            all that are installed.
        """
        self._share = Share(index, count)
        self._grace = config.settings.grace_period
        own = self._share.of(config)
        balancer = self.balancer
        try:
            if balancer is None:
                self._begin(own, said, secret, registry or installed())
            else:
                balancer.apply(own)
                self._takeTurns(balancer)
        except BalancerError as failed:
            if balancer is None:
                self._cannot(str(failed))
            else:
                self._channel.send("refused", str(failed), False)
        except Exception as failed:
            self._log.failure("the configuration met an error")
            self._cannot(f"{type(failed).__name__}: {failed}")
        else:
            self._channel.send("ready")
        finally:
            for one in self._sockets.values():
                one.close()
            self._sockets = {}
        self._follow(said)

    def _told_unknown(self, why: str) -> None:
        """What the parent has said is not known here."""
        self._cannot(f"what the parent says cannot be read: {why}")

    def _cannot(self, why: str) -> None:
        """Say why, and end: another one is started in its place."""
        self._channel.send("refused", why, True)
        self._told_drain(self._grace)

    def _begin(
        self, config: Config, said: states.States, secret: bytes, registry: Registry
    ) -> None:
        """@raise StartError: if it cannot be."""
        clocks = time.monotonic, time.time
        building = Building(config, registry, self._reactor, *clocks)
        building.secret = secret
        building.together = Asked(self._asking)
        building.monitor.suspected = self._suspected
        building.opens = self._opens
        balancer = building.balancer()
        balancer.applying = Applying(balancer, building).apply
        balancer.led = True
        # No other worker has the same.
        balancer.process.numbers = count(self._share.index + 1, self._share.count)
        balancer.privilegedStartService()
        self._take(balancer, said)
        balancer.startService()
        self.balancer = balancer
        self._takeTurns(balancer)
        self._report()
        self._begun()

    def _told_board(self, count: int, descriptors: list[int]) -> None:
        """Share this memory with so many others."""
        [descriptor] = descriptors
        self._board = Board(descriptor, count)
        os.close(descriptor)

    def _takeTurns(self, balancer: LoadBalancer) -> None:
        if self._board is None:
            return
        process = balancer.process
        turn = self._board.turn(self._share.index, lambda: process.active)
        for frontend in balancer.frontends.values():
            for listener in frontend.inbound.listeners:
                listener.turn = turn

    def _opens(
        self, frontend: str, at: int, bind: Bind, profile: Profile | None, beside: bool
    ) -> socket.socket:
        """@raise StartError: if the parent has not opened it."""
        found = self._sockets.pop((frontend, at), None)
        if found is None:
            raise StartError(f"{bind.where}: the parent has not passed on the socket of {bind}")
        return found

    def _told_states(self, said: states.States) -> None:
        self._follow(said)

    def _follow(self, said: states.States) -> None:
        balancer = self.balancer
        if balancer is not None:
            for pool, server in self._take(balancer, said):
                balancer.letGo(pool, server)

    def _take(self, balancer: LoadBalancer, said: states.States) -> list[tuple[Pool, Server]]:
        """@return: those that are of no use any more, and were before."""
        lost: list[tuple[Pool, Server]] = []
        for name, some in said.items():
            pool = balancer.pools.get(name)
            if pool is not None:
                lost += [(pool, server) for server in states.take(pool, some, self._share)]
                pool.serversChanged()
        return lost

    def _told_answer(self, number: int, value: Any) -> None:
        """What was asked of the parent."""
        self._asking.answered(number, value)

    def _told_do(self, number: int, name: str, *values: Any) -> None:
        """Something of L{lbtwist.workers.doing.TASKS}."""
        self._doing.do(self.balancer, number, name, *values)

    def _told_leave(self, number: int) -> None:
        """What was to be done is of no use any more."""
        self._doing.leave(number)

    def _told_abortSessionsOf(self, pool: str, server: str) -> None:
        """End what runs with a server, at once."""
        balancer = self.balancer
        if balancer is None or pool not in balancer.pools:
            return
        running = balancer.pools[pool]
        for one in running.servers:
            if one.name == server:
                balancer.abortSessionsOf(running, one)

    def _told_drain(self, grace: float | None) -> None:
        """End, after what runs."""
        again, self._ended = self._ended, True
        balancer = self.balancer
        if balancer is None:
            if not again:
                self._end()
        elif again:
            # It may be said that there is less time for it.
            balancer.drain(grace)
        else:
            balancer.config = _withGrace(balancer.config, grace)
            balancer.stopService().addBoth(lambda _: self._end())

    def _told_abort(self) -> None:
        """End at once."""
        if self.balancer is not None:
            self.balancer.abort()

    def _told_reopen(self) -> None:
        """Open the logs anew."""
        if self.balancer is not None:
            self.balancer.reopenLogs()

    # what it says

    def _suspected(self, server: Server, onError: str, reason: str) -> None:
        if self._channel.unsent < MOST_SUSPECTED:
            self._channel.send("suspect", server.pool, server.name, onError, reason)

    def logged(self, event: LogEvent) -> None:
        """An event of this process's log: it is written to that of the parent, if there is one."""
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if not self._channel.isOpen:
            with suppress(OSError):
                print(text, flush=True)
        elif self._channel.unsent < MOST_LOGGED:
            level = event.get("log_level", LogLevel.info).name
            self._channel.send("log", level, event.get("log_namespace", ""), text)

    def _report(self) -> None:
        self._timer = self._reactor.callLater(PERIOD, self._report)
        self._asking.look()
        if self._channel.unsent:
            # The parent has not heard the last one yet.
            return
        self._say()

    def _say(self) -> None:
        balancer = self.balancer
        assert balancer is not None
        counted: dict[str, Any] = {}
        gauges: dict[str, Any] = {"p": [balancer.process.active, balancer.process.accepted]}
        for frontend in balancer.allFrontends:
            said = tally.taken(frontend.inbound.traffic)
            if said:
                counted[f"f{frontend.name}"] = said
            if frontend.inbound.active:
                gauges[f"f{frontend.name}"] = frontend.inbound.active
        for pool in balancer.allPools:
            self._sayPool(pool, counted, gauges)
        lost = self._lost(balancer)
        if lost != ({}, 0):
            counted["l"] = lost
        self._quiet += 1
        if counted or gauges != self._gauges or self._quiet > QUIET:
            self._gauges = gauges
            self._quiet = 0
            self._channel.send("report", counted, gauges)

    def _lost(self, balancer: LoadBalancer) -> tuple[dict[str, int], int]:
        """@return: what was lost since this was asked last, see L{LoadBalancer.lost}."""
        before, self._lines = self._lines, balancer.droppedLinesBy
        had, self._spans = self._spans, balancer.droppedSpans or 0
        more = {name: count - before.get(name, 0) for name, count in self._lines.items()}
        # Another collector counts anew.
        return {name: count for name, count in more.items() if count}, max(self._spans - had, 0)

    def _sayPool(self, pool: Pool, counted: dict[str, Any], gauges: dict[str, Any]) -> None:
        said = tally.taken(pool.traffic)
        if said:
            counted[f"p{pool.name}"] = said
        if pool.active or pool.queued:
            gauges[f"p{pool.name}"] = [pool.active, pool.queued]
        for server in pool.servers:
            said = tally.taken(server.traffic)
            if said:
                counted[f"s{pool.name}/{server.name}"] = said
            if server.active:
                gauges[f"s{pool.name}/{server.name}"] = server.active

    # the end

    def _orphaned(self) -> None:
        """The parent is not there any more: nobody would ever end this."""
        self._asking.lost()
        if not self._ended:
            self._log.error("the parent has gone; what runs comes to its end")
        self._told_drain(self._grace)

    def _end(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.balancer is not None:
            self._say()
        self._reactor.callLater(0.05, self._reactor.stop)


def _withGrace(config: Config, grace: float | None) -> Config:
    seconds = 365 * 86400.0 if grace is None else grace
    return attr.evolve(config, settings=attr.evolve(config.settings, grace_period=seconds))


def _unpickled(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except Exception as failed:
        return "unknown", f"{type(failed).__name__}: {failed}"


def main() -> None:
    """Be a worker."""
    if len(sys.argv) > 1 and sys.argv[1] == "lbtwist":
        from lbtwist.net.reactor import install

        install()
    from twisted.internet import reactor

    os.set_inheritable(CHANNEL, False)
    worker = Worker(socket.socket(fileno=CHANNEL), reactor, collectRarely)
    logged: Any = worker.logged
    globalLogBeginner.beginLoggingTo([logged], redirectStandardIO=False)
    running: Any = reactor
    running.run(installSignalHandlers=False)
