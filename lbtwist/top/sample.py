"""
What a balancer said at one moment, and, with what it said before, how fast everything goes.
Pure values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attr

from lbtwist.events import plain

KINDS = ("frontend", "pool", "server")

# More than there is of anything; and of seconds since the epoch, so that it is a date.
_MOST = 2**63
_LATEST = 2**37
_COUNTED = ("exchanges", "failed", "5xx", "in", "out", "took")


@attr.frozen
class Rates:
    """
    What there was in a second.

    @ivar latency: how long it took on average, in seconds; L{None} where nothing has ended.
    """

    exchanges: float = 0.0
    failed: float = 0.0
    answered5xx: float = 0.0
    bytesIn: float = 0.0
    bytesOut: float = 0.0
    latency: float | None = None


@attr.frozen
class Row:
    """
    A frontend, a pool or a server.

    @ivar name: of a server C{POOL/SERVER}.
    @ivar limit: 0 is none.
    @ivar check: what its checks say; of a pool how many of its servers can be used.
    @ivar rates: L{None} as long as they are not known.
    """

    kind: str
    name: str
    state: str
    active: int
    limit: int
    queued: int
    weight: str
    check: str
    rates: Rates | None = None


@attr.frozen
class Sample:
    """
    @ivar at: when it was, by the clock of the balancer; C{now} in seconds since the epoch.
    @ivar uptime: seconds.
    @ivar level: what whoever asks may do.
    @ivar stopping: whether it is about to end.
    @ivar accepted: connections in a second; L{None} as long as that is not known.
    """

    version: str
    pid: int
    at: float
    now: float
    uptime: float
    level: str
    active: int
    maxconn: int
    stopping: bool
    rows: Sequence[Row]
    accepted: float | None = None


def sampleOf(value: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Sample:
    """
    @param value: what C{show top} says.
    @param before: what it said before; what does not fit, since another process says it now,
        counts as nothing.
    @raise KeyError: if it is nothing of that kind; so do C{TypeError} and C{ValueError}.
    """
    seconds = 0.0
    known: dict[tuple[str, str], Mapping[str, Any]] = {}
    accepted = None
    if before is not None and before["pid"] == value["pid"]:
        seconds = _number(value, "at") - _number(before, "at")
        known = {(row["kind"], row["name"]): row for row in before["rows"]}
        if seconds > 0:
            accepted = max(_number(value, "accepted") - _number(before, "accepted"), 0) / seconds
    rows = [_row(row, known.get((row["kind"], row["name"])), seconds) for row in value["rows"]]
    return Sample(
        str(value["version"]), int(_number(value, "pid")), _number(value, "at"),
        _number(value, "now", _LATEST), _number(value, "uptime"), str(value["level"]),
        int(_number(value, "active")), int(_number(value, "maxconn")), bool(value["stopping"]),
        rows, accepted,
    )  # fmt: skip


def _number(said: Mapping[str, Any], name: str, most: int = _MOST) -> float:
    """@raise ValueError: for what is none that can be shown, as C{TypeError}."""
    value = said[name]
    if isinstance(value, (int, float)) and 0 <= value < most:
        return value
    raise ValueError(f"{name}: {value}")


def _row(row: Mapping[str, Any], before: Mapping[str, Any] | None, seconds: float) -> Row:
    if row["kind"] not in KINDS:
        raise ValueError(row["kind"])
    rates = None
    if before is not None and seconds > 0:
        grown = {
            name: max(_number(row, name) - _number(before, name), 0) for name in _COUNTED
        }
        count = grown["exchanges"]
        rates = Rates(
            count / seconds, grown["failed"] / seconds, grown["5xx"] / seconds,
            grown["in"] / seconds, grown["out"] / seconds,
            grown["took"] / count if count else None,
        )  # fmt: skip
    return Row(
        row["kind"], plain(row["name"]), plain(row["state"]), int(_number(row, "active")),
        int(_number(row, "limit")), int(_number(row, "queued")), plain(str(row["weight"])),
        plain(row["check"]), rates,
    )  # fmt: skip
