"""
What is known of the process as such: time, memory, descriptors, the garbage collector, and
how late its event loop is.

The names of its metrics are those that the Prometheus libraries of all languages use, so that
what watches other programs watches this one.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from lbtwist.admin.exposition import COUNTER, GAUGE, INFO, Metric, Value
from lbtwist.histogram import Histogram

INTERVAL = 0.5
"""Seconds between two looks at the event loop."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Lateness:
    """
    How late the event loop is: timers are set, and what they are late by is observed. Who
    holds up the loop holds up every client by that.

    @ivar seen: the times, in seconds.
    """

    def __init__(self, reactor: Any) -> None:
        """@param reactor: for timers, and for the time."""
        self.seen = Histogram()
        self._reactor = reactor
        self._timer: Any = None

    def __repr__(self) -> str:
        return f"<Lateness {'on' if self._timer else 'off'} {self.seen!r}>"

    def start(self) -> None:
        """Begin to look."""
        if self._timer is None:
            self._wait()

    def stop(self) -> None:
        """Look no more; what was seen stays."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _wait(self) -> None:
        due = self._reactor.seconds() + INTERVAL
        self._timer = self._reactor.callLater(INTERVAL, self._woken, due)

    def _woken(self, due: float) -> None:
        self.seen.observe(max(0.0, self._reactor.seconds() - due))
        self._wait()


def _stat() -> list[str]:
    """@return: the fields of C{/proc/self/stat} from the third on (proc(5))."""
    with open("/proc/self/stat") as stat:
        return stat.read().rpartition(")")[2].split()


def _bootedAt() -> float:
    with open("/proc/stat") as stat:
        return next(float(line.split()[1]) for line in stat if line.startswith("btime "))


class ProcessSeen:
    """What the kernel says of this process; nothing is known of it where there is no /proc."""

    def __init__(self) -> None:
        self.resident = self.virtual = self.descriptors = self.startedAt = None
        with suppress(OSError):
            stat = _stat()
            self.virtual = int(stat[20])
            self.resident = int(stat[21]) * _PAGE
            self.startedAt = _bootedAt() + int(stat[19]) / _TICKS
            # Less the one that the directory is read by.
            self.descriptors = len(os.listdir("/proc/self/fd")) - 1
        times = os.times()
        self.cpu = times.user + times.system
        self.mostDescriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    resident: int | None
    virtual: int | None
    descriptors: int | None
    startedAt: float | None


def _generations(field: str) -> Callable[[Any], Mapping[str, int | float]]:
    def read(_: Any) -> Mapping[str, int | float]:
        return {str(n): stats[field] for n, stats in enumerate(gc.get_stats())}

    return read


def _info(_: Any) -> Value:
    return {".".join(map(str, sys.version_info[:3])): 1}


PROCESS: tuple[Metric, ...] = (
    Metric("process_cpu_seconds_total", COUNTER, "CPU time, user and system.",
           lambda seen: seen.cpu, prefix=""),
    Metric("process_resident_memory_bytes", GAUGE, "Memory that is in RAM.",
           lambda seen: seen.resident, prefix=""),
    Metric("process_virtual_memory_bytes", GAUGE, "Address space.",
           lambda seen: seen.virtual, prefix=""),
    Metric("process_open_fds", GAUGE, "Descriptors that are open.",
           lambda seen: seen.descriptors, prefix=""),
    Metric("process_max_fds", GAUGE, "So many may be open.",
           lambda seen: seen.mostDescriptors, prefix=""),
    Metric("process_start_time_seconds", GAUGE, "When it was started, in seconds since 1970.",
           lambda seen: seen.startedAt, prefix=""),
    Metric("python_gc_collections_total", COUNTER, "Runs of the garbage collector.",
           _generations("collections"), "generation", prefix=""),
    Metric("python_gc_objects_collected_total", COUNTER, "Objects that it has found.",
           _generations("collected"), "generation", prefix=""),
    Metric("python_gc_objects_uncollectable_total", COUNTER,
           "Objects that it has found and could not free.",
           _generations("uncollectable"), "generation", prefix=""),
    Metric("python_info", INFO, "The version of Python.", _info, "version", prefix=""),
)  # fmt: skip
"""Each is read off a L{ProcessSeen}."""
