"""
The access log: one line for each finished exchange, as HAProxy's C{httplog} and
C{tcplog} print it or as a JSON object, and the writer of such lines.

The fields, timers and letters are those of HAProxy's configuration manual,
sections 8.2 to 8.6; C{docs/log.md} explains them. A formatter is a closure that is
made once and then called for every exchange; it changes nothing. Lines are joined
and written once per tick.

Not here: the program's own events, which go to L{twisted.logger}, and counters,
which are in L{lbtwist.stats}.
"""

from __future__ import annotations

import json
import math
import os
import re
import select
import stat
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from lbtwist.errors import StartError
from lbtwist.interfaces import IExchangeObserver

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange

log = Logger()

Format = Callable[["Exchange"], str]
Clock = Callable[[], float]
Timers = tuple[int, int, int, int, int]

TICK = 0.1
"""Seconds for which lines are gathered before they are written."""
BATCH = 64 * 1024
"""Characters after which they are written without waiting for the tick."""
CAPACITY = 16 * 1024 * 1024
"""The most that is kept while the target takes nothing."""

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MILLISECONDS = tuple(f"{number:03d}" for number in range(1000))
_SECONDS_KEPT = 64

# The clock's seconds are floats: what was meant as 10 ms may come out as 9.999999.
_ROUNDING = 1e-6

_ESCAPED = re.compile(rb"[^ !$-~]")

_HTTP = '%s:%d [%s] %s%s %s/%s %d/%d/%d/%d/%d %d %d - - %s%s-- %d/%d/%d/%d/%s "%s"'
_TCP = "%s:%d [%s] %s%s %s/%s %d/%d/%d %d %s%s %d/%d/%d/%d/%s%d %d/%d"


def _commonDate(second: int) -> tuple[str, str]:
    """C{06/Feb/2009:12:14:14.}, in local time and never in a locale's words."""
    year, month, day, hour, minute, second = time.localtime(second)[:6]
    return f"{day:02d}/{_MONTHS[month - 1]}/{year}:{hour:02d}:{minute:02d}:{second:02d}.", ""


def _isoDate(second: int) -> tuple[str, str]:
    """C{2009-02-06T12:14:14.} and C{+01:00} (RFC 3339 section 5.6)."""
    local = time.localtime(second)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S.", local), f"{zone[:3]}:{zone[3:5]}"


def _dates(
    clock: Clock, wallclock: Clock, render: Callable[[int], tuple[str, str]]
) -> Callable[[float], str]:
    """@return: a closure that makes a date of a time of the clock."""
    known: dict[int, tuple[str, str]] = {}
    begin = math.inf
    before = after = ""

    def date(at: float) -> str:
        nonlocal begin, before, after
        fraction = at - begin
        if not 0.0 <= fraction < 1.0:
            # Asked anew for every second: the wall clock may be set at any time.
            offset = wallclock() - clock() + _ROUNDING
            wall = at + offset
            second = int(wall)
            fraction = wall - second
            begin = second - offset
            if second not in known:
                if len(known) >= _SECONDS_KEPT:
                    known.clear()
                known[second] = render(second)
            before, after = known[second]
        return before + _MILLISECONDS[int(fraction * 1000.0)] + after

    return date


def _timers(exchange: Exchange) -> Timers:
    """TR, Tw, Tc, Tr and Ta (8.4): milliseconds, -1 for what was not reached."""
    # Each is a difference of whole milliseconds since the start, so that they add
    # up to Ta at most. A time before the one it follows is of an earlier attempt.
    start = exchange.startedAt - _ROUNDING
    requestAt = exchange.requestAt
    assignedAt = exchange.assignedAt
    connectedAt = exchange.connectedAt
    respondedAt = exchange.respondedAt
    received = queued = connected = responded = -1
    reached = 0
    if requestAt:
        received = reached = int((requestAt - start) * 1000.0)
    if assignedAt:
        at = int((assignedAt - start) * 1000.0)
        queued = at - reached
        if connectedAt >= assignedAt:
            reached = at
            at = int((connectedAt - start) * 1000.0)
            connected = at - reached
            if respondedAt >= connectedAt:
                responded = int((respondedAt - start) * 1000.0) - at
    return received, queued, connected, responded, int((exchange.finishedAt - start) * 1000.0)


def _sessionTimers(exchange: Exchange) -> tuple[int, int, int]:
    """Tw, Tc and Tt (8.4): the last counts from the accept."""
    accepted = exchange.connection.acceptedAt - _ROUNDING
    assignedAt = exchange.assignedAt
    connectedAt = exchange.connectedAt
    queued = connected = -1
    if assignedAt:
        at = int((assignedAt - accepted) * 1000.0)
        queued = at - int((exchange.startedAt - accepted) * 1000.0)
        if connectedAt >= assignedAt:
            connected = int((connectedAt - accepted) * 1000.0) - at
    return queued, connected, int((exchange.finishedAt - accepted) * 1000.0)


def _escape(line: bytes) -> str:
    """As HAProxy does (8.6), so that no client can forge a line or a field."""
    return _ESCAPED.sub(lambda found: b"#%02X" % found[0][0], line).decode("ascii")


def _http(clock: Clock, wallclock: Clock) -> Format:
    """C{option httplog} (8.2.3), without captures."""
    date = _dates(clock, wallclock, _commonDate)
    timers = _timers

    def line(exchange: Exchange) -> str:
        connection = exchange.connection
        host, port = connection.client
        frontend = exchange.frontend
        pool = exchange.pool
        if pool is None:
            poolName, poolActive = frontend.name, 0
        else:
            poolName, poolActive = pool.name, pool.active
        server = exchange.server
        if server is None:
            serverName, serverActive = "<NOSRV>", 0
        else:
            serverName, serverActive = server.name, server.active
        request = exchange.request
        if request is None:
            text = "<BADREQ>"
        else:
            # What is not ASCII becomes a surrogate, which is not printable.
            text = request.line.decode("ascii", "surrogateescape")
            if not text.isprintable() or '"' in text or "#" in text:
                text = _escape(request.line)
        received, queued, connected, responded, active = timers(exchange)
        ahead = exchange.ahead
        if exchange.retries or exchange.redispatched or ahead != (0, 0):
            again = "+" if exchange.redispatched else ""
            detours = f"{again}{exchange.retries} {ahead[0]}/{ahead[1]}"
        else:
            detours = "0 0/0"
        return _HTTP % (
            host, port, date(exchange.startedAt),
            frontend.name, "" if connection.tls is None else "~", poolName, serverName,
            received, queued, connected, responded, active,
            exchange.status or -1, exchange.bytesOut, exchange.cause, exchange.stage,
            frontend.process.active, frontend.active, poolActive, serverActive,
            detours, text,
        )  # fmt: skip

    return line


def _tcp(clock: Clock, wallclock: Clock) -> Format:
    """C{option tcplog} (8.2.2)."""
    date = _dates(clock, wallclock, _commonDate)

    def line(exchange: Exchange) -> str:
        connection = exchange.connection
        frontend = exchange.frontend
        pool = exchange.pool
        server = exchange.server
        tls = connection.tls
        return _TCP % (
            *connection.client, date(connection.acceptedAt),
            # A passthrough has TLS that does not end here.
            frontend.name, "~" if tls is not None and tls.version else "",
            frontend.name if pool is None else pool.name,
            "<NOSRV>" if server is None else server.name,
            *_sessionTimers(exchange), exchange.bytesOut, exchange.cause, exchange.stage,
            frontend.process.active, frontend.active,
            0 if pool is None else pool.active, 0 if server is None else server.active,
            "+" if exchange.redispatched else "", exchange.retries, *exchange.ahead,
        )  # fmt: skip

    return line


def _encoder() -> Callable[[dict[str, Any]], str]:
    """The encoder of L{json}, made once: C{JSONEncoder.encode} makes one per call."""
    plain = json.JSONEncoder(check_circular=False, separators=(",", ":"))
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    pieces = make(
        None, plain.default, json.encoder.encode_basestring_ascii, None,
        plain.key_separator, plain.item_separator, False, False, True,
    )  # fmt: skip

    def encode(value: dict[str, Any]) -> str:
        return "".join(pieces(value, 0))

    return encode


def _json(clock: Clock, wallclock: Clock, mode: str) -> Format:
    """One object per line, in ASCII; L{None} is what was not reached."""
    date = _dates(clock, wallclock, _isoDate)
    encode = _encoder()
    session = mode == "tcp"

    def line(exchange: Exchange) -> str:
        connection = exchange.connection
        host, port = connection.client
        frontend = exchange.frontend
        pool = exchange.pool
        server = exchange.server
        request = exchange.request
        names: tuple[str, ...]
        values: tuple[int, ...]
        if session:
            names, values = ("Tw", "Tc", "Tt"), _sessionTimers(exchange)
            at, cookie = connection.acceptedAt, ""
        else:
            names, values = ("TR", "Tw", "Tc", "Tr", "Ta"), _timers(exchange)
            at, cookie = exchange.startedAt, "--"
        method = target = version = None
        if request is not None:
            method = request.method.decode("latin-1")
            target = request.target.decode("latin-1")
            version = "HTTP/1.1" if request.version == 11 else "HTTP/1.0"
        return encode({
            "time": date(at),
            "client": host,
            "client_port": port,
            "frontend": frontend.name,
            "pool": None if pool is None else pool.name,
            "server": None if server is None else server.name,
            "method": method,
            "target": target,
            "version": version,
            "status": exchange.status or None,
            "bytes_in": exchange.bytesIn,
            "bytes_out": exchange.bytesOut,
            "timers": {
                name: None if value < 0 else value
                for name, value in zip(names, values, strict=True)
            },
            "termination": exchange.cause + exchange.stage + cookie,
            "retries": exchange.retries,
            "redispatched": exchange.redispatched,
            "connections": {
                "process": frontend.process.active,
                "frontend": frontend.active,
                "pool": None if pool is None else pool.active,
                "server": None if server is None else server.active,
            },
            "queue": {"server": exchange.ahead[0], "pool": exchange.ahead[1]},
            "request_id": exchange.requestId or None,
            "reason": exchange.reason or None,
        })  # fmt: skip

    return line


def formatter(name: str, clock: Clock, wallclock: Clock, mode: str = "http") -> Format:
    """
    Make a closure that turns a finished exchange into a line without its end.

    @param name: C{http}, C{tcp}, C{json}, or C{auto}, which is C{http} or C{tcp}
        as the mode is.
    @param clock: the clock of the exchanges, in seconds.
    @param wallclock: seconds since 1970, as L{time.time}.
    @param mode: of the frontend; it says which timers C{json} has.
    @raise ValueError: if there is no such format.
    """
    if name == "auto":
        name = mode
    if name == "http":
        return _http(clock, wallclock)
    if name == "tcp":
        return _tcp(clock, wallclock)
    if name == "json":
        return _json(clock, wallclock, mode)
    raise ValueError(f"unknown log format {name!r}")


class Writer:
    """
    Writes lines to one target, joined, once per tick. It never raises for what
    goes wrong with the target and never waits for it: what is not taken is kept
    for the next tick, and beyond L{CAPACITY} lines are dropped, counted and
    reported as an event when that begins and when it ends.

    @ivar path: of the file, made absolute; C{""} is standard output.
    @ivar dropped: lines that were lost so far.
    """

    __slots__ = (
        "path", "dropped", "_reactor", "_fd", "_waits", "_lines", "_size", "_room", "_data",
        "_sent", "_call", "_failing", "_dropping",
    )  # fmt: skip

    def __init__(self, reactor: Any, path: str = "") -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.path = os.path.abspath(path) if path else ""
        self.dropped = 0
        self._reactor = reactor
        self._fd = -1
        self._waits = False
        self._lines: list[str] = []
        self._size = 0
        # Nothing is taken before open and after close.
        self._room = -1
        self._data = b""
        self._sent = 0
        self._call: Any = None
        self._failing = self._dropping = False

    def __repr__(self) -> str:
        return f"<Writer {self.path or 'stdout'} dropped={self.dropped}>"

    def open(self) -> None:
        """
        Open the target: to be done before privileges are dropped. A file is made
        with mode 0640, less what the umask takes. Does nothing if it is open.

        @raise StartError: if it cannot be opened.
        """
        if self._fd >= 0:
            return
        try:
            self._fd = self._opened()
        except OSError as error:
            raise StartError(
                f"cannot open the access log {self.path or 'stdout'}: {error.strerror}"
            ) from error
        self._room = BATCH

    def write(self, line: str) -> None:
        """@param line: without its end."""
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size > self._room:
            self._overflowed()
        elif self._call is None:
            self._call = self._reactor.callLater(TICK, self._ticked)

    def flush(self) -> None:
        """Write what is there, as far as the target takes it."""
        if self._fd < 0:
            return
        while self._data or self._lines:
            if not self._data:
                self._lines.append("")
                self._data = "\n".join(self._lines).encode("utf-8", "backslashreplace")
                self._lines.clear()
                self._size = 0
            try:
                sent = self._send()
            except BlockingIOError:
                break
            except OSError as error:
                self._failed(error)
                break
            if not sent:
                break
            self._sent += sent
            if self._sent == len(self._data):
                self._data = b""
                self._sent = 0
        if not self._data:
            self._room = BATCH
            self._recovered()
            return
        self._room = CAPACITY - (len(self._data) - self._sent)
        if self._call is None:
            self._call = self._reactor.callLater(TICK, self._ticked)

    def reopen(self) -> None:
        """
        Open the file anew, as after its rotation. If that fails, the old one is
        written on, and the failure is logged.
        """
        if self._fd < 0 or not self.path:
            return
        self.flush()
        try:
            fd = self._opened()
        except OSError as error:
            log.error(
                "access log {path} cannot be opened again, the old file is kept: {reason}",
                path=self.path, reason=error.strerror,
            )  # fmt: skip
            return
        os.close(self._fd)
        self._fd = fd
        # A line that the old file has in part is whole in the new one.
        self._sent = self._data.rfind(b"\n", 0, self._sent) + 1
        self.flush()

    def close(self) -> None:
        """Write what the target takes, count the rest as dropped, and end."""
        if self._fd < 0:
            return
        self.flush()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        lost = self._data.count(b"\n", self._sent) + len(self._lines)
        self.dropped += lost
        if lost or self._dropping:
            log.warn(
                "access log {path} was closed; {dropped} lines were dropped so far",
                path=self.path or "stdout", dropped=self.dropped,
            )  # fmt: skip
        self._data = b""
        self._sent = self._size = 0
        self._lines.clear()
        self._room = -1
        self._failing = self._dropping = False
        if self.path:
            os.close(self._fd)
        self._fd = -1

    def _opened(self) -> int:
        if self.path:
            # Without O_NONBLOCK the open of a pipe waits for its reader.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
            return os.open(self.path, flags | os.O_CLOEXEC, 0o640)
        self._waits = not stat.S_ISREG(os.fstat(1).st_mode) and os.get_blocking(1)
        return 1

    def _send(self) -> int:
        rest = memoryview(self._data)[self._sent :]
        if self._waits:
            # O_NONBLOCK would be set for everybody who has this pipe or terminal.
            # Where there is room at all, a pipe takes PIPE_BUF bytes (pipe(7)).
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not poll.poll(0):
                return 0
            rest = rest[: select.PIPE_BUF]
        return os.write(self._fd, rest)

    def _ticked(self) -> None:
        self._call = None
        self.flush()

    def _overflowed(self) -> None:
        if self._fd >= 0 and not self._data:
            self.flush()
            return
        self._size -= len(self._lines.pop()) + 1
        self.dropped += 1
        if not self._dropping:
            self._dropping = True
            log.warn(
                "access log {path} takes nothing more: lines are dropped",
                path=self.path or "stdout",
            )

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            log.warn(
                "access log {path} cannot be written, lines are kept for now: {reason}",
                path=self.path or "stdout", reason=error.strerror,
            )  # fmt: skip

    def _recovered(self) -> None:
        if self._failing or self._dropping:
            self._failing = self._dropping = False
            log.info(
                "access log {path} is written again; {dropped} lines were dropped so far",
                path=self.path or "stdout", dropped=self.dropped,
            )  # fmt: skip


class Logs:
    """The writers of a process, one for each target, however many use it."""

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = reactor
        self._writers: dict[str, Writer] = {}

    def writer(self, path: str = "") -> Writer:
        """@param path: of a file; C{""} is standard output."""
        key = os.path.abspath(path) if path else ""
        if key not in self._writers:
            self._writers[key] = Writer(self._reactor, key)
        return self._writers[key]

    def open(self) -> None:
        """
        Open every target that is not open.

        @raise StartError: if one cannot be opened.
        """
        for writer in self._writers.values():
            writer.open()

    def reopen(self) -> None:
        """Open every file anew."""
        for writer in self._writers.values():
            writer.reopen()

    def close(self) -> None:
        """Write what is there and close every target."""
        for writer in self._writers.values():
            writer.close()


@implementer(IExchangeObserver)
class AccessLog:
    """
    Writes a line for every exchange that ended.

    @ivar observe: the same as L{exchangeFinished}, as a closure that costs one
        call less: what an exchange's C{observers} should have.
    """

    __slots__ = ("observe",)

    def __init__(self, writer: Writer, format: Format) -> None:
        write = writer.write

        def observe(exchange: Exchange) -> None:
            write(format(exchange))

        self.observe: Callable[[Exchange], None] = observe

    def exchangeFinished(self, exchange: Exchange) -> None:
        self.observe(exchange)
