"""
The check C{exec}: a program of the administrator's says how a server is, by its exit code.

It runs in a session of its own, which is ended as a whole with the check, whatever it has
begun. It is started here and not by the reactor, which makes no sessions.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.checks.probe import CheckCancelled, shown, why
from lbtwist.health import Result, roleOf
from lbtwist.interfaces import IHealthCheck
from lbtwist.options import Kind, Path, option

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Server

MOST = 4096
"""Bytes of its output that are kept; the rest is read and forgotten."""

_READ = 65536
_UNUSED = "NOT_USED"


class _Argument(Kind[tuple[str, ...]]):
    """One argument; there may be several."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[str, ...]:
        if "\0" in text:
            raise ValueError("a NUL character in an argument")
        return (text,)


class _Watched:
    """Something that the reactor watches until it is closed."""

    def __init__(self, descriptor: int, told: Callable[[], None], reactor: Any) -> None:
        """@param told: called when it can be read."""
        self._descriptor = descriptor
        self._reactor = reactor
        self.doRead = told
        reactor.addReader(self)

    def fileno(self) -> int:
        """@return: -1 once it is closed, as by a reactor that finds nobody writing to it."""
        return self._descriptor

    def logPrefix(self) -> str:
        return "check"

    def connectionLost(self, reason: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1


class _Run:
    """
    One run of the program.

    @ivar verdict: fires when it has ended; when it is cancelled the program is killed
        with all that it has started, and its remains are taken as soon as it is gone.
    """

    def __init__(self) -> None:
        self.verdict: Deferred[Result] = Deferred(self._cancelled)
        self._said = bytearray()
        self._output: _Watched | None = None

    def start(self, arguments: list[str], environ: dict[str, str], reactor: Any) -> None:
        """@raise OSError: if it cannot be started."""
        self._process = process = subprocess.Popen(
            arguments, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        output = os.dup(process.stdout.fileno())
        process.stdout.close()
        os.set_blocking(output, False)
        try:
            gone = os.pidfd_open(process.pid)
        except OSError:
            os.close(output)
            self._kill()
            process.wait()
            raise
        self._output = _Watched(output, self._readable, reactor)
        self._end = _Watched(gone, self._ended, reactor)

    def _readable(self) -> None:
        assert self._output is not None
        try:
            data = os.read(self._output.fileno(), _READ)
        except BlockingIOError:
            return
        self._said += data[: MOST - len(self._said)]
        if not data:
            self._close()

    def _close(self) -> None:
        output, self._output = self._output, None
        if output is not None:
            output.close()

    def _kill(self) -> None:
        # The session has its number as long as nobody has waited for it.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ended(self) -> None:
        if self._output is not None and self._output.fileno() >= 0:
            self._readable()
        self._close()
        self._kill()
        code = self._process.wait()
        self._end.close()
        if self.verdict.called:
            return
        lines = bytes(self._said).strip().splitlines()
        said = shown(lines[0]) if lines else ""
        role = _roleIn(lines)
        if code == 0:
            self.verdict.callback(Result(True, "PROCOK", said, role=role))
        else:
            how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            detail = f"{how}: {said}" if said else how
            self.verdict.callback(Result(False, "PROCERR", detail, role=role))

    def _cancelled(self, verdict: Deferred[Result]) -> None:
        self._close()
        self._kill()
        verdict.errback(CheckCancelled("PROCTOUT", "it has not ended"))


def _roleIn(lines: list[bytes]) -> str | None:
    """@return: what the last line C{role=NAME} says; L{None} without one."""
    said = [line.strip()[5:] for line in lines if line.strip().startswith(b"role=")]
    return roleOf(said[-1].decode("ascii", "replace")) or "" if said else None


@implementer(IHealthCheck)
class ExecCheck:
    """C{check = exec PROGRAM}: passes where the program ends with exit code 0."""

    @attr.frozen
    class Options:
        """What is run."""

        program: str = option(Path(), doc="The program.", positional=True)
        arg: tuple[str, ...] = option(
            _Argument(), (), "One argument; may come again. Without any: those of HAProxy."
        )

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._reactor = context.reactor

    def check(self, server: Server) -> Deferred[Result]:
        options = self._options
        host, port = _placeOf(server)
        arguments = options.arg or (_UNUSED, _UNUSED, host, port)
        run = _Run()
        try:
            run.start([options.program, *arguments], environmentOf(server), self._reactor)
        except OSError as failed:
            run.verdict.callback(Result(False, "PROCERR", why(failed)))
        return run.verdict


def _placeOf(server: Server) -> tuple[str, str]:
    endpoint = server.endpoint
    assert endpoint is not None, f"{server!r} has no address"
    if endpoint.family == socket.AF_UNIX:
        return str(endpoint.address), _UNUSED
    host, port, *_ = endpoint.address
    return str(host), str(port)


def environmentOf(server: Server) -> dict[str, str]:
    """
    @return: what a program finds in its environment: what HAProxy's find there
        (configuration manual, C{external-check command}), and the same under our names.
    """
    host, port = _placeOf(server)
    said = {
        "PROXY_NAME": server.pool, "PROXY_ADDR": _UNUSED, "PROXY_PORT": _UNUSED,
        "SERVER_NAME": server.name, "SERVER_ADDR": host, "SERVER_PORT": port,
        "SERVER_MAXCONN": str(server.maxconn), "SERVER_CURCONN": str(server.active),
        "SERVER_SSL": "1" if server.tls is not None else "0",
        "SERVER_PROTO": "unix" if port == _UNUSED else "tcp",
    }  # fmt: skip
    ours = {
        "POOL": server.pool, "SERVER": server.name, "ADDRESS": host,
        "PORT": "" if port == _UNUSED else port, "UP": "1" if server.health.up else "0",
        "WEIGHT": str(server.weight), "MAXCONN": str(server.maxconn),
        "ACTIVE": str(server.active), "TLS": "1" if server.tls is not None else "0",
    }  # fmt: skip
    found = {f"HAPROXY_{name}": value for name, value in said.items()}
    found |= {f"LBTWIST_{name}": value for name, value in ours.items()}
    found["PATH"] = os.environ.get("PATH", os.defpath)
    return found
