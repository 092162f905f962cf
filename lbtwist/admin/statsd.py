"""
Sends every number of the balancer away by itself, once per interval: to StatsD, in tags where
its server knows them, or to Graphite.

The numbers are those of L{lbtwist.admin.metrics} and L{lbtwist.admin.whole}. StatsD is told how
much a counter has grown; Graphite, what it is. Of histograms there are the count and the sum.

Not here: how lines get there (L{lbtwist.syslog}); what cannot be sent is kept and counted as
lines of logs are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.admin.exposition import BOUNDS, COUNTER, INFO, Bucketed, Metric
from lbtwist.admin.metrics import FRONTENDS, POOLS, SERVERS
from lbtwist.admin.process import PROCESS
from lbtwist.admin.seen import Seen, Sight, look
from lbtwist.admin.whole import WHOLE
from lbtwist.config.model import Export, StatsDOptions
from lbtwist.discovery import Looks
from lbtwist.service import LoadBalancer
from lbtwist.syslog import Place, SyslogWriter

DATAGRAM = 1400
"""Bytes of a datagram: it fits into a frame of Ethernet, whatever is around it."""

KEPT = 4 * 1024 * 1024
"""Bytes that are kept while a server is away; numbers of long ago are no use."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_UNSAFE_IN_TAGS = re.compile(r"[^A-Za-z0-9_./-]")


@attr.frozen
class Number:
    """
    One number at one time.

    @ivar level: C{process}, C{frontend}, C{pool} or C{server}.
    @ivar of: whose it is, by the names of labels, in their order.
    """

    level: str
    of: tuple[tuple[str, str], ...]
    name: str
    value: float
    counts: bool


def numbers(balancer: LoadBalancer) -> Iterator[Number | None]:
    """@return: all of them; L{None} is only there to let others have their turn."""
    sight = Sight(balancer)
    for _ in look(sight, BOUNDS):
        yield None
    yield from _of(PROCESS, sight.process, "process", ())
    yield from _of(WHOLE, sight, "process", ())
    for metrics, parts in (
        (FRONTENDS, sight.frontends), (POOLS, sight.pools), (SERVERS, sight.servers)
    ):  # fmt: skip
        for seen in parts:
            yield from _of(metrics, seen, *_whose(seen))
            yield None


def _whose(seen: Seen) -> tuple[str, tuple[tuple[str, str], ...]]:
    level, one = seen.row.kind, seen.one
    if level == "server":
        return level, (("proxy", one.pool), ("server", one.name))
    return level, (("proxy", one.name),)


def _of(
    metrics: Iterable[Metric], part: Any, level: str, of: tuple[tuple[str, str], ...]
) -> Iterator[Number]:
    for metric in metrics:
        if metric.kind == INFO or metric.prefix is None:
            continue
        # The level is said already.
        name = re.sub(r"^(frontend|backend|server|process)_", "", metric.name)
        counts = metric.kind == COUNTER
        value = metric.read(part)
        if isinstance(value, Bucketed):
            yield Number(level, of, f"{name}_count", value.count, True)
            yield Number(level, of, f"{name}_sum", value.sum, True)
        elif isinstance(value, Mapping):
            for key, one in value.items():
                yield Number(level, (*of, (metric.label, str(key))), name, one, counts)
        elif value is not None:
            yield Number(level, of, name, value, counts)


def _path(prefix: str, number: Number) -> str:
    """C{PREFIX.pool.app.http_responses_total.2xx}: what a label says comes last."""
    whose = [_UNSAFE.sub("_", value) or "_" for key, value in number.of]
    depth = {"process": 0, "server": 2}.get(number.level, 1)
    return ".".join((prefix, number.level, *whose[:depth], number.name, *whose[depth:]))


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")


class StatsD:
    """How numbers are written for StatsD."""

    def __init__(self, prefix: str, tags: bool) -> None:
        """@param tags: as DogStatsD has them; otherwise of whom a number is stands in its name."""
        self._prefix = prefix
        self._tags = tags
        self._before: dict[tuple[Any, ...], float] = {}
        self._now: dict[tuple[Any, ...], float] = {}

    def begin(self) -> None:
        """A new interval."""

    def end(self, whole: bool) -> None:
        """@param whole: nothing was left out: what was not there is there no more."""
        self._before = self._now if whole else {**self._before, **self._now}
        self._now = {}

    def line(self, number: Number) -> str:
        """@return: C{""} where there is nothing to be told."""
        value = number.value
        kind = "g"
        if number.counts:
            key = number.level, number.of, number.name
            before = self._before.get(key, 0)
            self._now[key] = value
            # An administrator may have cleared it.
            value = value - before if value >= before else value
            kind = "c"
            if not value:
                return ""
        if not self._tags:
            return f"{_path(self._prefix, number)}:{_shown(value)}|{kind}"
        tags = ",".join(f"{key}:{_UNSAFE_IN_TAGS.sub('_', one)}" for key, one in number.of)
        name = f"{self._prefix}.{number.level}.{number.name}"
        return f"{name}:{_shown(value)}|{kind}{'|#' + tags if tags else ''}"


class Graphite:
    """How numbers are written for Graphite, in its plain text."""

    def __init__(self, prefix: str, wallclock: Callable[[], float]) -> None:
        self._prefix = prefix
        self._wallclock = wallclock
        self._at = 0

    def begin(self) -> None:
        """A new interval."""
        self._at = int(self._wallclock())

    def end(self, whole: bool) -> None:
        """Its numbers depend on none before."""

    def line(self, number: Number) -> str:
        return f"{_path(self._prefix, number)} {_shown(number.value)} {self._at}"


class NumberWriter(SyslogWriter):
    """Sends lines of numbers, as many in a datagram as fit."""

    __slots__ = ()

    what = "export"

    def _messages(self) -> list[bytes]:
        lines = [line.encode("ascii", "replace") for line in self._lines]
        if self.place.kind == "tcp":
            return lines
        found: list[bytes] = []
        size = DATAGRAM + 1
        for line in lines:
            size += len(line) + 1
            if size > DATAGRAM:
                found.append(line)
                size = len(line)
            else:
                found[-1] += b"\n" + line
        return found


class Exporter:
    """
    Sends numbers to one place.

    @ivar config: where, and how often.
    """

    _log = Logger()

    def __init__(self, config: Export, balancer: LoadBalancer, looks: Looks) -> None:
        """@param looks: finds the addresses of names."""
        self.config = config
        self._balancer = balancer
        self._reactor = balancer.reactor
        options = config.options
        self._format: StatsD | Graphite
        if isinstance(options, StatsDOptions):
            kind = "unix" if config.path else "udp"
            self._format = StatsD(options.prefix, options.tags == "dogstatsd")
        else:
            kind = "tcp"
            self._format = Graphite(options.prefix, lambda: balancer.wallclock())
        place = Place(kind, config.host, config.port, config.path)
        self.writer = NumberWriter(self._reactor, place, looks, KEPT)
        self._call: Any = None
        # Those that are to be sent in this interval yet.
        self._found: Iterator[Number | None] | None = None
        self._silent = False

    def __repr__(self) -> str:
        return f"<Exporter {self.config.kind} {self.writer.place}>"

    def start(self) -> None:
        """
        Send numbers from now on, at first after one interval. What has been counted before
        was told by somebody else, or is of no interval.
        """
        self.writer.open()
        self._begin(silent=self.config.kind == "statsd")

    def close(self) -> None:
        """Send what there is a last time, and no more."""
        if self._call is None:
            return
        self._call.cancel()
        self._call = None
        if self._found is None:
            self._format.begin()
            self._found = numbers(self._balancer)
        while not self._hasDoneAPiece(self._found):
            # Nobody else waits for a turn any more.
            continue
        self._found = None
        self.writer.close()

    def _begin(self, silent: bool = False) -> None:
        """@param silent: only remember what the numbers are."""
        self._silent = silent
        self._format.begin()
        self._found = numbers(self._balancer)
        self._goOn(self._reactor.seconds() + self.config.options.interval)

    def _goOn(self, end: float) -> None:
        assert self._found is not None
        if not self._hasDoneAPiece(self._found):
            self._call = self._reactor.callLater(0, self._goOn, end)
            return
        self._found = None
        pause = max(end - self._reactor.seconds(), 0.0)
        self._call = self._reactor.callLater(pause, self._begin)

    def _hasDoneAPiece(self, found: Iterator[Number | None]) -> bool:
        """@return: whether that was the last; others have their turn between two."""
        try:
            for number in found:
                if number is None:
                    return False
                self._one(number)
        except Exception:
            self._log.failure("the numbers cannot be read")
            self._format.end(False)
            return True
        self._format.end(True)
        return True

    def _one(self, number: Number) -> None:
        if not math.isfinite(number.value):
            return
        line = self._format.line(number)
        if line and not self._silent:
            self.writer.write(line)
