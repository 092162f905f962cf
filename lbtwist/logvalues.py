"""
What lines of the access log are made of: dates, timers, and text that nobody can forge a
line with.

The timers are those of HAProxy's configuration manual, section 8.4; C{docs/log.md} has a
drawing of them. Everything here is a closure that is made once, or a function that
changes nothing.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from lbtwist.rules.reading import wire

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.server import Server

Clock = Callable[[], float]
Timers = tuple[int, int, int, int, int]
Render = Callable[[int], tuple[str, str]]

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_SECONDS_KEPT = 64

MILLISECONDS = tuple(f"{number:03d}" for number in range(1000))
WHOLE = ("",) * 1000
"""Instead of L{MILLISECONDS}: the date has none."""

# The clock's seconds are floats: what was meant as 10 ms may come out as 9.999999.
_ROUNDING = 1e-6

# dates


def _common(at: time.struct_time) -> str:
    """C{06/Feb/2009:12:14:14}, never in a locale's words."""
    year, month, day, hour, minute, second = at[:6]
    return f"{day:02d}/{_MONTHS[month - 1]}/{year}:{hour:02d}:{minute:02d}:{second:02d}"


def commonDate(second: int) -> tuple[str, str]:
    """C{06/Feb/2009:12:14:14.}, in local time."""
    return _common(time.localtime(second)) + ".", ""


def localDate(second: int) -> tuple[str, str]:
    """C{06/Feb/2009:12:14:14 +0100}."""
    local = time.localtime(second)
    return _common(local) + time.strftime(" %z", local), ""


def universalDate(second: int) -> tuple[str, str]:
    """C{06/Feb/2009:11:14:14 +0000}."""
    return _common(time.gmtime(second)) + " +0000", ""


def isoDate(second: int) -> tuple[str, str]:
    """C{2009-02-06T12:14:14.} and C{+01:00} (RFC 3339 section 5.6)."""
    local = time.localtime(second)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S.", local), f"{zone[:3]}:{zone[3:5]}"


def unixDate(second: int) -> tuple[str, str]:
    """Seconds since 1970."""
    return str(second), ""


def noDate(second: int) -> tuple[str, str]:
    """Nothing but the milliseconds."""
    return "", ""


def dates(
    clock: Clock, wallclock: Clock, render: Render, fractions: Sequence[str] = MILLISECONDS
) -> Callable[[float], str]:
    """
    @param render: gives what stands before and after the fraction.
    @return: a closure that makes a date of a time of the clock.
    """
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
        return before + fractions[int(fraction * 1000.0)] + after

    return date


# timers


def timers(exchange: Exchange) -> Timers:
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


def sessionTimers(exchange: Exchange) -> tuple[int, int, int]:
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


def waits(exchange: Exchange) -> tuple[int, int]:
    """
    Th and Ti (8.4): what passed on the connection before the first byte. What came
    before an earlier exchange is that one's.
    """
    connection = exchange.connection
    startedAt = exchange.startedAt
    begun = exchange.freeAt
    if begun:
        return 0, max(int((startedAt - begun + _ROUNDING) * 1000.0), 0)
    accepted = connection.acceptedAt - _ROUNDING
    handshakes = int(((connection.readyAt or connection.acceptedAt) - accepted) * 1000.0)
    idle = int((startedAt - accepted) * 1000.0) - handshakes
    # Where nothing has come it began with the accept, handshakes and all.
    return (handshakes, idle) if idle >= 0 else (0, 0)


# addresses


def endpointOf(server: Server | None) -> tuple[str, int | str]:
    """@return: host and port of a server; both empty without one."""
    endpoint = None if server is None else server.endpoint
    if endpoint is None:
        return "", ""
    if endpoint.family == socket.AF_UNIX:
        return "unix", 0
    host, port = endpoint.address[:2]
    return host, port


def hexAddress(host: str) -> str:
    """C{7F000001}; what is no address stays."""
    try:
        return ip_address(host.partition("%")[0]).packed.hex().upper()
    except ValueError:
        return host


# text

_UNSAFE = re.compile(rb"[^ !$-~]")
_UNSAFE_AMONG_BRACES = re.compile(rb"[^ !$-z~]")
_isSafe = re.compile(r"[ !$-~]*").fullmatch
_isSafeAmongBraces = re.compile(r"[ !$-z~]*").fullmatch


def _hex(found: re.Match[bytes]) -> bytes:
    return b"#%02X" % found[0][0]


def escape(line: bytes) -> str:
    """As HAProxy does (8.6), so that no client can forge a line or a field."""
    return _UNSAFE.sub(_hex, line).decode("ascii")


def said(text: str) -> str:
    """The same for a text of rules."""
    return text if _isSafe(text) else escape(_wire(text))


def captured(text: str) -> str:
    """The same for what stands between braces, with bars in between."""
    if _isSafeAmongBraces(text):
        return text
    return _UNSAFE_AMONG_BRACES.sub(_hex, _wire(text)).decode("ascii")


def _wire(text: str) -> bytes:
    try:
        return wire(text)
    except UnicodeEncodeError:
        # Of no message: what is written in a configuration can be anything.
        return text.encode("utf-8", "replace")


_BACKSLASHED = re.compile(r'["\\\]]')


def backslashed(text: str) -> str:
    """As values of RFC 5424 are escaped (section 6.3.3): what C{+E} asks for."""
    return _BACKSLASHED.sub(r"\\\g<0>", text)


def quoted(text: str) -> str:
    """A text that is escaped already, as JSON."""
    return '"' + text.replace("\\", "\\\\") + '"'


def valueAsJSON(value: Any, kind: str = "") -> str:
    """
    @param value: of an expression; L{None} where it cannot be asked.
    @param kind: C{str}, C{sint} or C{bool}; C{""} is its own.
    """
    if value is None:
        return '""'
    if kind == "bool":
        value = value not in ("", "0", "false") and bool(value)
    elif kind == "sint":
        try:
            value = int(value)
        except (ValueError, OverflowError):
            return '""'
    elif kind == "str" and not isinstance(value, str):
        value = str(int(value)) if isinstance(value, bool) else str(value)
    if value is True or value is False:
        return "true" if value else "false"
    return encode_basestring_ascii(value) if isinstance(value, str) else str(value)


def pathOnly(target: str) -> str:
    """The path of a request target, without scheme, host and query."""
    target = target.partition("?")[0]
    if not target.startswith("/"):
        _, found, rest = target.partition("://")
        target = "/" + rest.partition("/")[2] if found else ""
    return target
