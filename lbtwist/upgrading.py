"""
Has another process take the place of this one, which may be another version: the same command
is started again, and gets the sockets that listen, and how servers are. When it has begun to
accept, this one accepts no more and ends when what runs has ended. If it does not begin, this
one goes on as if nothing had been.

In the meantime both accept on the same sockets, so nobody is refused. Not here: how a balancer
comes to its end (L{lbtwist.tap}), and who asks for it (L{lbtwist.admin.reloading}).
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.errors import BalancerError
from lbtwist.net.inherited import READY, STATES, STDERR, VARIABLE, inherited, nameOf
from lbtwist.service import LoadBalancer
from lbtwist.workers.states import States, statesOf, take

LIMIT = 60.0
"""Seconds in which the new process has to accept."""

LATER = 1.0
"""Seconds until this one begins to end, when whoever has asked for it has been answered."""

_FIRST = 10
"""The first descriptor that the new process gets, above what it may expect elsewhere."""

_MOST_SAID = 4096


class CannotUpgrade(BalancerError):
    """Nobody has taken the place of this process; it says why."""


class _Successor(ProcessProtocol):
    """
    The new process, for Twisted. That it ends says nothing: it may have become another one, and
    whether that lives says its end of the pipe.
    """

    def __init__(self, told: Callable[[int, bytes], object]) -> None:
        self._told = told

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._told(childFD, data)

    def childConnectionLost(self, childFD: int) -> None:
        if childFD != 1:
            self._told(childFD, b"")


class Upgrading:
    """The upgrade of one balancer."""

    _log = Logger()

    def __init__(
        self, balancer: LoadBalancer, leave: Callable[[], object],
        directory: str | None = None, command: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """
        @param leave: has this process come to its end, when another one has taken its place.
        @param directory: where this process was started, by default where it is.
        @param command: what is started; by default what this process was started by.
        """
        self._balancer = balancer
        self._leave = leave
        self._directory = directory or os.getcwd()
        self._command = list(command or [sys.executable, *sys.orig_argv[1:]])
        self._under = False
        self._done = False

    def begin(self) -> Deferred[int]:
        """
        Start the new process.

        @return: its number, when it accepts. It fails with L{CannotUpgrade}.
        """
        told: Deferred[int] = Deferred()
        if self._under or self._done:
            why = "has taken its place already" if self._done else "is about to take its place"
            told.errback(CannotUpgrade(f"Another process {why}."))
            return told
        self._under = True
        pidfile = _PIDFile(self._command, self._directory)
        _Attempt(self._balancer, self._command, self._directory, pidfile, told)
        told.addCallbacks(self._taken, self._failed, (pidfile,), {}, (pidfile,))
        return told

    def _taken(self, pid: int, pidfile: _PIDFile) -> int:
        self._under = False
        self._done = True
        self._log.info("process {pid} has taken the place of this one", pid=pid)
        pidfile.leave(self._balancer.reactor)
        self._balancer.handOver()
        self._balancer.reactor.callLater(LATER, self._leave)
        return pid

    def _failed(self, failure: Failure, pidfile: _PIDFile) -> Failure:
        self._under = False
        pidfile.restore()
        self._log.error("the upgrade has failed: {why}", why=failure.getErrorMessage())
        return failure


class _Attempt:
    """One new process, until it accepts or has failed."""

    def __init__(
        self, balancer: LoadBalancer, command: list[str], directory: str, pidfile: _PIDFile,
        told: Deferred[int],
    ) -> None:  # fmt: skip
        self._told: Deferred[int] | None = told
        self._process: Any = None
        self._said = b""
        reactor = balancer.reactor
        states = os.memfd_create("lbtwist-states", os.MFD_CLOEXEC)
        with open(os.dup(states), "wb") as file:
            pickle.dump({name: statesOf(p) for name, p in balancer.pools.items()}, file)
        passed = [(nameOf(bind), descriptor) for bind, descriptor in balancer.listening()]
        passed += [(STATES, states), (STDERR, 2)]
        self._ready = _FIRST
        descriptors: dict[int, Any] = {0: 0, 1: 1, 2: "r", self._ready: "r"}
        names = [(READY, self._ready)]
        for number, (name, descriptor) in enumerate(passed, self._ready + 1):
            names.append((name, number))
            descriptors[number] = descriptor
        environment = {**_environment(), VARIABLE: json.dumps(names)}
        self._timer = reactor.callLater(LIMIT, self._late)
        pidfile.putAside()
        try:
            self._process = reactor.spawnProcess(
                _Successor(self._heard), command[0], command, environment,
                path=directory, childFDs=descriptors,
            )  # fmt: skip
        except OSError as failed:
            self._fail(f"{command[0]} cannot be started: {failed.strerror}")
        finally:
            os.close(states)

    def _heard(self, descriptor: int, data: bytes) -> None:
        if descriptor == 2:
            # What it has to complain of is ours to say, and goes where ours goes.
            self._said = (self._said + data)[-_MOST_SAID:]
            with suppress(OSError):
                os.write(2, data)
        elif data and self._told is not None:
            line = data.decode("utf-8", "replace").strip()
            if not line.isdecimal():
                self._fail(f"the new process cannot begin: {line}")
                return
            told, self._told = self._told, None
            self._timer.cancel()
            told.callback(int(line))
        elif not data and descriptor == self._ready:
            self._fail(self._reason())

    def _reason(self) -> str:
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return f"the new process has ended: {lines[-1] if lines else 'it has not said why'}"

    def _late(self) -> None:
        with suppress(Exception):
            self._process.signalProcess("KILL")
        self._fail(f"the new process does not accept within {LIMIT:g} s")

    def _fail(self, why: str) -> None:
        if self._told is not None:
            told, self._told = self._told, None
            if self._timer.active():
                self._timer.cancel()
            if self._process is not None:
                # Should it live, it finds that nobody wants to know any more.
                self._process.loseConnection()
            told.errback(CannotUpgrade(why))


class _PIDFile:
    """
    The file that twistd writes its number to: it starts nothing where another one has written
    his, and removes it at its end whoever has written it.
    """

    def __init__(self, command: Sequence[str], directory: str) -> None:
        path = _pidfileOf(command)
        self._path = os.path.join(directory, path) if path else ""
        self._aside = f"{self._path}.old"
        self._last = ""

    def putAside(self) -> None:
        with suppress(OSError):
            if self._path:
                os.rename(self._path, self._aside)

    def restore(self) -> None:
        with suppress(OSError):
            if self._path:
                os.rename(self._aside, self._path)

    def leave(self, reactor: Any) -> None:
        """The new process is known by it from now on, or one that comes after that."""
        if not self._path:
            return
        with suppress(OSError):
            os.unlink(self._aside)
        reactor.addSystemEventTrigger("after", "shutdown", self._read)
        atexit.register(self._writeAgain)

    def _read(self) -> None:
        with suppress(OSError), open(self._path) as file:
            self._last = file.read()

    def _writeAgain(self) -> None:
        """This twistd has removed the file of that one."""
        last = self._last.strip()
        if last.isdecimal() and last != str(os.getpid()) and os.path.exists(f"/proc/{last}"):
            with suppress(OSError), open(self._path, "x") as file:
                file.write(last)


def _pidfileOf(command: Sequence[str]) -> str:
    """@return: what C{--pidfile} says in a command line of twistd; C{""} for none."""
    for at, word in enumerate(command):
        if word.startswith("--pidfile="):
            return word.partition("=")[2]
        if word == "--pidfile":
            return command[at + 1] if at + 1 < len(command) else ""
    isTwistd = any(os.path.basename(word) == "twistd" for word in command)
    return "twistd.pid" if isTwistd else ""


def _environment() -> dict[str, str]:
    """
    @return: what this process was started with, though Twisted and others have taken
        something out; but for sockets of systemd, which are passed on by themselves.
    """
    found = dict(os.environ)
    # Who has given up the rights of root may not read it any more.
    with suppress(OSError), open("/proc/self/environ", "rb") as file:
        words = file.read().split(b"\0")
        found = dict(os.fsdecode(word).partition("=")[::2] for word in words if b"=" in word)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", VARIABLE):
        found.pop(name, None)
    return found


# the new process


_log = Logger()


def begun(balancer: LoadBalancer) -> bool:
    """
    A balancer accepts: if it has taken the place of another process, tell that, and go on with
    what that has found out about servers.

    @return: whether it is to go on: not where that process has given up waiting.
    """
    states = inherited.file(STATES)
    if states is not None:
        try:
            with open(states, "rb") as file:
                file.seek(0)
                _resume(balancer, pickle.load(file))
        except Exception as failed:
            # That process may be of another version.
            _log.warn("how servers are is found out anew: {why!r}", why=failed)
    if not _tell(b"%d\n" % os.getpid()):
        return False
    inherited.close()
    return True


def notBegun(why: str) -> bool:
    """
    A balancer cannot accept.

    @return: whether it is to go on, and to try again: not where another process still does.
    """
    if not inherited:
        return True
    _tell(why.encode("utf-8", "replace")[:_MOST_SAID])
    return False


def _tell(data: bytes) -> bool:
    """@return: whether it was heard, or nobody waits for it."""
    ready = inherited.file(READY)
    if ready is None:
        return True
    try:
        os.write(ready, data)
    except OSError:
        _log.error("the process whose place this one was to take goes on; this one ends")
        return False
    finally:
        os.close(ready)
    stderr = inherited.file(STDERR)
    if stderr is not None:
        # That one does not read any more, soon.
        os.dup2(stderr, 2)
        os.close(stderr)
    return True


def _resume(balancer: LoadBalancer, said: States) -> None:
    for name, some in said.items():
        pool = balancer.pools.get(name)
        if pool is not None:
            take(pool, some, lambda limit: limit)
            pool.serversChanged()
