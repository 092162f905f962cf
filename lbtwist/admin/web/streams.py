"""
The state of everything once a second, as server-sent events (the HTML standard, 9.2): the whole
of it at first, then what has changed.

It is read once for all who listen, some servers at a time, and not at all while nobody does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from lbtwist.admin.rows import OF_ONE_PIECE, statusOf
from lbtwist.admin.web.answers import Problem, encoded
from lbtwist.admin.web.readings import Readings
from lbtwist.events import stateOf
from lbtwist.looking import frontendState, poolState
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import Frontend

MOST = 32
"""Streams at once."""

HEARTBEAT = 15
"""Seconds in which nothing has changed after which a comment is sent."""

PATIENCE = 10
"""Seconds that somebody has to take what was sent, before it is given up."""

State = dict[str, Any]


@implementer(IPushProducer)
class Stream:
    """
    Somebody who listens.

    @ivar fresh: has to get all of it.
    @ivar quiet: so many events there were nothing to say.
    @ivar stuck: so many there were since it took nothing more.
    """

    def __init__(self, request: Any, mayStay: Callable[[], bool]) -> None:
        self.mayStay = mayStay
        self.fresh = True
        self.quiet = 0
        self.stuck = 0
        self._request = request
        self._paused = False

    def __repr__(self) -> str:
        return f"<Stream {self._request.client} {'paused' if self._paused else 'reads'}>"

    @property
    def reads(self) -> bool:
        """Whether it takes what it is sent."""
        return not self._paused

    def send(self, data: bytes) -> None:
        self.quiet = self.stuck = 0
        self._request.write(data)

    def end(self) -> None:
        """Say nothing more, in good order."""
        self._request.unregisterProducer()
        self._request.finish()

    def drop(self) -> None:
        """End it at once: it takes nothing."""
        self._request.channel.forceAbortClient()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        self._paused = True


class Streams:
    """All who listen to one balancer."""

    _log = Logger()

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._reactor = readings.balancer.reactor
        self._streams: list[Stream] = []
        self._last: State = {}
        self._reading: Iterator[State | None] | None = None
        self._soon: Any = None
        # What makes a moment of the clock one of the calendar: always the same, so that
        # nothing seems to change.
        balancer = readings.balancer
        self._offset = balancer.wallclock() - balancer.deadlines.seconds()

    def __repr__(self) -> str:
        return f"<Streams {len(self._streams)}>"

    def __len__(self) -> int:
        return len(self._streams)

    def start(self) -> None:
        self._readings.balancer.looking.watchers.append(self._looked)

    def stop(self) -> None:
        """End all of them."""
        watchers = self._readings.balancer.looking.watchers
        if self._looked in watchers:
            watchers.remove(self._looked)
        self._still()
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.end()

    def add(self, request: Any, mayStay: Callable[[], bool]) -> None:
        """
        Somebody wants to listen; the answer is begun.

        @param mayStay: whether they still may, which is asked before each event.
        @raise Problem: if too many do.
        """
        if len(self._streams) >= MOST:
            raise Problem(503, f"{MOST} listen already", {"Retry-After": "10"})
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("X-Accel-Buffering", "no")
        stream = Stream(request, mayStay)
        self._streams.append(stream)
        request.notifyFinish().addBoth(self._gone, stream)
        request.registerProducer(stream, True)
        # Who comes back after it was lost should not do so with all others at once.
        request.write(b"retry: 3000\n\n")
        if self._reading is None:
            self._begin()

    def _gone(self, _: object, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
        if not self._streams:
            self._last = {}
            self._still()

    def _still(self) -> None:
        self._reading = None
        soon, self._soon = self._soon, None
        if soon is not None:
            soon.cancel()

    def _looked(self) -> None:
        if self._streams and self._reading is None:
            self._begin()

    def _begin(self) -> None:
        self._reading = self._read()
        self._soon = self._reactor.callLater(0, self._goOn)

    def _goOn(self) -> None:
        self._soon = None
        assert self._reading is not None
        try:
            state = next(self._reading)
        except Exception:
            self._reading = None
            self._log.failure("the state could not be read, and is tried again")
            return
        if state is None:
            self._soon = self._reactor.callLater(0, self._goOn)
            return
        self._reading = None
        self._tell(state)

    def _tell(self, state: State) -> None:
        at = round(self._readings.balancer.wallclock(), 3)
        before, self._last = self._last, state
        news = changes(before, state)
        whole = more = b""
        for stream in list(self._streams):
            if not stream.mayStay():
                self._streams.remove(stream)
                stream.end()
            elif not stream.reads:
                # What it misses meanwhile it gets as a whole.
                stream.fresh = True
                stream.stuck += 1
                if stream.stuck > PATIENCE:
                    self._streams.remove(stream)
                    stream.drop()
            elif stream.fresh:
                stream.fresh = False
                whole = whole or _event({"at": at, "full": True, **state})
                stream.send(whole)
            elif news:
                more = more or _event({"at": at, "full": False, **news})
                stream.send(more)
            else:
                stream.quiet += 1
                if stream.quiet >= HEARTBEAT:
                    stream.send(b":\n\n")

    # what there is

    def _read(self) -> Iterator[State | None]:
        """@return: nothing some times, and then all of it."""
        balancer = self._readings.balancer
        servers: State = {}
        pools: State = {}
        looked = 0
        for pool in list(balancer.pools.values()):
            found: State = {}
            for server in list(pool.servers):
                found[server.name] = self._server(pool, server)
                looked += 1
                if not looked % OF_ONE_PIECE:
                    yield None
            servers[pool.name] = found
            pools[pool.name] = self._pool(pool)
        frontends = {one.name: self._frontend(one) for one in balancer.frontends.values()}
        process = balancer.process
        yield {
            "process": {
                "connections": process.active, "maxconn": process.maxconn,
                "rate": balancer.looking.process.rate,
                "requests": sum(one["requests"] for one in frontends.values()),
                "draining": self._readings.draining,
            },
            "frontends": frontends, "pools": pools, "servers": servers,
        }  # fmt: skip

    def _frontend(self, one: Frontend) -> State:
        course, inbound = self._readings.balancer.looking.of(one), one.inbound
        traffic = inbound.traffic
        return {
            "state": frontendState(one), "active": inbound.active,
            "limit": inbound.maxconn or self._readings.balancer.process.maxconn or None,
            "rate": course.rate, "requestRate": course.requestRate,
            "requests": traffic.exchanges, "failed": traffic.failed, "denied": traffic.denied,
            "bytesIn": traffic.bytesIn, "bytesOut": traffic.bytesOut,
            "latency": self._readings.latency(one), "errors": traffic.responses[5],
            "mode": one.config.mode, "binds": [str(bind) for bind in one.config.bind],
        }  # fmt: skip

    def _pool(self, one: Pool) -> State:
        course, traffic = self._readings.balancer.looking.of(one), one.traffic
        backups = [server.backup for server in one.servers if server.usable]
        return {
            "state": poolState(one), "servers": len(one.servers),
            "usable": len(backups) - sum(backups), "backup": sum(backups),
            "active": one.active, "queued": one.queued, "rate": course.rate,
            "total": course.begun(traffic.exchanges + one.active), "failed": traffic.failed,
            "retries": traffic.retries, "bytesIn": traffic.bytesIn,
            "bytesOut": traffic.bytesOut, "latency": self._readings.latency(one),
            "errors": traffic.responses[5],
            "mode": "tcp" if one.config.mode == "tcp" else "http",
            "balance": one.config.balance.name,
        }  # fmt: skip

    def _server(self, pool: Pool, one: Server) -> State:
        balancer = self._readings.balancer
        course, traffic, health = balancer.looking.of(one), one.traffic, one.health
        return {
            "state": stateOf(one), "status": statusOf(pool, one), "admin": health.admin,
            "address": str(one.endpoint) if one.endpoint is not None else None,
            "weight": one.weight, "limit": one.maxconn or None, "active": one.active,
            "queued": pool.queuedFor(one), "sessions": max(one.active, len(one.sessions)),
            "idle": len(one.idle), "rate": course.rate,
            "total": course.begun(traffic.exchanges + one.active), "failed": traffic.failed,
            "check": health.results[-1].status if health.results else None,
            "since": round(course.since + self._offset),
            "latency": self._readings.serverLatency(one), "errors": traffic.responses[5],
            "backup": one.backup, "role": one.role,
        }  # fmt: skip


def _event(said: State) -> bytes:
    # A line of JSON has no end of line in it.
    return b"event: state\ndata: " + encoded(said) + b"\n"


_DEPTH = {"process": 0, "frontends": 1, "pools": 1, "servers": 2}


def changes(before: State, after: State) -> State:
    """
    @param before: as it was sent.
    @return: what is another one now; a thing that is gone is C{None}.
    """
    found = {name: _changed(before.get(name, {}), after[name], _DEPTH[name]) for name in after}
    return {name: one for name, one in found.items() if one}


def _changed(before: State, after: State, depth: int) -> State:
    found: State = {}
    for name, value in after.items():
        was = before.get(name)
        if was == value:
            continue
        if depth and was is not None:
            found[name] = _changed(was, value, depth - 1)
        else:
            found[name] = value
    if depth:
        found.update({name: None for name in before if name not in after})
    return found
