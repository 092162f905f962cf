"""
One place for a worker: starts its process, has another one come after it when it dies, kills the
one that does not end. What a worker is told, and what it says, is L{lbtwist.workers.parent}'s.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.net.reactor import LeanReactor
from lbtwist.workers.channel import Channel, asPickle
from lbtwist.workers.states import States
from lbtwist.workers.worker import CHANNEL

AT_ONCE = 1.0
"""Seconds: who dies sooner than that after the start is not replaced at once."""

MOST_PAUSE = 30.0
"""Seconds until another one is started, at the most; doubled each time, from L{AT_ONCE} on."""

MARGIN = 5.0
"""Seconds after which one is killed that should have ended by then."""


class Group(Protocol):
    """Whose places these are."""

    stopping: bool

    @property
    def grace(self) -> float:
        """Seconds for which a worker goes on when it is to end."""

    def began(self, worker: Place) -> None:
        """It has a process now."""

    def told(self, worker: Place, channel: Channel, name: str, values: list[Any]) -> None:
        """It has said something."""

    def gone(self, worker: Place) -> None:
        """It has no process any more."""


class _Process(ProcessProtocol):
    """One process, for Twisted. What it writes goes where the parent's does."""

    def __init__(self, ended: Callable[[Failure], object]) -> None:
        self._ended = ended

    def processExited(self, reason: Failure) -> None:
        self._ended(reason)


class Place:
    """
    One place for a worker, whoever has it.

    @ivar pid: 0 while there is none.
    @ivar channel: to it; L{None} while it says nothing.
    @ivar gauges: what it has said last of what it has at once.
    @ivar restarts: how often one has died and was replaced.
    @ivar states: how servers are, as it was told.
    @ivar stale: it has to be told the configuration.
    @ivar fresh: when it is, it has to be told what is in no file, too.
    @ivar dirty: the pools whose servers are others than it was told.
    @ivar ready: it has taken its configuration.
    @ivar untold: how much of what it was told last it has not said to have taken.
    @ivar behind: why it goes on with the configuration before; C{""} if it does not.
    @ivar heard: it has said something since it was looked at.
    @ivar missed: how often in a row it had not.
    @ivar refused: why it could not begin.
    @ivar ended: fires when the process has.
    """

    _log = Logger()

    def __init__(
        self, index: int, group: Group, reactor: Any, environment: Mapping[str, str]
    ) -> None:
        """@param environment: what its processes get."""
        self.index = index
        self.pid = 0
        self.channel: Channel | None = None
        self.gauges: dict[str, Any] = {}
        self.restarts = 0
        self.states: States = {}
        self.stale = self.fresh = True
        self.dirty: set[str] = set()
        self.ready = False
        self.untold = 0
        self.behind = ""
        self.heard = False
        self.missed = 0
        self.refused = ""
        self.ended: Deferred[None] = Deferred()
        self._group = group
        self._reactor = reactor
        self._environment = dict(environment)
        self._process: Any = None
        self._startedAt = 0.0
        self._failures = 0
        # Until another one is started, and until this one is killed.
        self._timer: Any = None
        self._killing: Any = None

    def __repr__(self) -> str:
        return f"<Place {self.index} {self.pid} {'ready' if self.ready else 'not ready'}>"

    def start(self) -> None:
        """Begin with a process."""
        self._timer = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        lean = "lbtwist" if isinstance(self._reactor, LeanReactor) else "epoll"
        self._startedAt = self._reactor.seconds()
        self.ready = False
        self.untold = 0
        self.refused = self.behind = ""
        self.missed = 0
        self.stale = self.fresh = True
        self.ended = Deferred()
        try:
            self._process = self._reactor.spawnProcess(
                _Process(self._exited), sys.executable,
                [sys.executable, "-m", "lbtwist.workers", lean], self._environment,
                childFDs={0: 0, 1: 1, 2: 2, CHANNEL: theirs.fileno()},
            )  # fmt: skip
        except OSError as failed:
            ours.close()
            self._again(f"cannot be started: {failed.strerror}")
            return
        finally:
            theirs.close()
        self.pid = self._process.pid
        channel = self.channel = Channel(
            ours, self._reactor,
            lambda name, values, _: self._group.told(self, channel, name, values),
            self._silent, asPickle, json.loads,
        )  # fmt: skip
        self._log.info("worker {index} is process {pid}", index=self.index, pid=self.pid)
        self._group.began(self)

    def _exited(self, reason: Failure) -> None:
        pid, self.pid = self.pid, 0
        self._process = None
        if self.channel is not None:
            try:
                self.channel.finish()
            except Exception:
                self._log.failure("the last words of worker {index}", index=self.index)
        self.channel = None
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None
        self.ready = False
        self.gauges = {}
        self._group.gone(self)
        self.ended.callback(None)
        said = "has ended" if reason.check(ProcessDone) else reason.getErrorMessage()
        self._again(f"process {pid}: {self.refused or said}")

    def _again(self, why: str) -> None:
        """Have another one in its place."""
        if self._group.stopping:
            return
        quick = bool(self.refused) or self._reactor.seconds() - self._startedAt < AT_ONCE
        self._failures = self._failures + 1 if quick else 0
        self.restarts += 1
        # More doublings than there can be would be no number any more.
        doubled = 2.0 ** min(self._failures - 1, 10)
        pause = min(AT_ONCE * doubled, MOST_PAUSE) if quick else 0.0
        self._log.error(
            "worker {index}, {why}; another one takes its place{when}",
            index=self.index, why=why, when=f" in {pause:g} s" if pause else "",
        )  # fmt: skip
        self._timer = self._reactor.callLater(pause, self.start)

    def _silent(self) -> None:
        """It says nothing more, and knows that: it ends by itself, or hangs."""
        self.channel = None
        if self.pid:
            self.killIn(self._group.grace + MARGIN)

    def rest(self) -> None:
        """Begin with no other process."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def killIn(self, seconds: float) -> None:
        """Kill it if it has not ended by then."""
        if self._killing is not None:
            self._killing.cancel()
        self._killing = self._reactor.callLater(seconds, self._late)

    def _late(self) -> None:
        self._killing = None
        self.kill("has not ended in time")

    def kill(self, why: str) -> None:
        """Kill it now."""
        self._log.error(
            "worker {index}, process {pid}, {why}: it is killed",
            index=self.index, pid=self.pid, why=why,
        )  # fmt: skip
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            # It is about to be told.
            pass
