"""
Spans as OTLP/HTTP takes them in JSON (OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding"): ids
are hexadecimal digits, whole numbers of 64 bits are text, kinds are numbers. Attributes are those
of the semantic conventions for HTTP (1.23 and later).

Pure functions. Who collects spans and sends them is L{lbtwist.spans}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attr

SERVER = 2
CLIENT = 3
"""C{SPAN_KIND_SERVER} and C{SPAN_KIND_CLIENT}."""

_ERROR = 2
_SAMPLED = 1

METHODS = frozenset((
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
))  # fmt: skip
"""Those that have a name in the conventions; the others are C{_OTHER}."""


@attr.frozen
class Ended:
    """
    One exchange of which is told. Texts are cut already, and of strangers.

    @ivar ids: as L{lbtwist.exchange.Exchange.trace} has them, with the span of the balancer.
    @ivar startedAt: the clock's seconds, as are those below; 0.0 was not reached.
    @ivar askedAt: the server was chosen.
    @ivar host: C{Host}, C{""} without one.
    @ivar serverAddress: C{None} where no server was asked, or it is no address.
    @ivar termination: the two letters of the log.
    @ivar failed: whether it did not end in good order.
    @ivar answered: whether C{status} is that of a server.
    """

    ids: str
    startedAt: float
    askedAt: float
    finishedAt: float
    method: str
    path: str
    secure: bool
    host: str
    status: int
    client: tuple[str, int]
    frontend: str
    pool: str
    server: str
    serverAddress: tuple[str, int] | None
    termination: str
    failed: bool
    retries: int
    reason: str
    answered: bool = True


def request(ended: Iterable[Ended], resource: Mapping[str, str | int], ahead: float) -> bytes:
    """
    @param resource: who tells it.
    @param ahead: so far are the seconds since the epoch ahead of the clock's.
    @return: the body of an C{ExportTraceServiceRequest}.
    """
    spans = [span for one in ended for span in _spans(one, ahead)]
    said = {
        "resourceSpans": [{
            "resource": {"attributes": _attributes(resource)},
            "scopeSpans": [{"scope": {"name": "lbtwist"}, "spans": spans}],
        }]
    }  # fmt: skip
    return json.dumps(said, separators=(",", ":")).encode("ascii")


def _attributes(pairs: Mapping[str, str | int | None]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int)
         else {"stringValue": value}}
        for key, value in pairs.items() if value is not None and value != ""
    ]  # fmt: skip


def _spans(one: Ended, ahead: float) -> Iterator[dict[str, Any]]:
    """@return: that of the balancer, and that of the server if one was asked."""
    trace, asked, _, own, parent = one.ids.split("-")
    known = one.method in METHODS
    name = one.method if known else "HTTP"
    method = {
        "http.request.method": one.method if known else "_OTHER",
        "http.request.method_original": None if known else one.method,
    }  # fmt: skip
    host, port = _hostAndPort(one.host)
    said = {
        **method, "http.response.status_code": one.status or None,
        "url.scheme": "https" if one.secure else "http", "url.path": one.path,
        "server.address": host, "server.port": port, "client.address": one.client[0],
        "client.port": one.client[1] or None, "lbtwist.frontend": one.frontend,
        "lbtwist.pool": one.pool, "lbtwist.server": one.server,
        "lbtwist.termination": one.termination,
    }  # fmt: skip
    if one.failed or one.status >= 500:
        said["error.type"] = str(one.status) if one.status >= 400 else one.termination
    yield _span(trace, own, parent, name, SERVER, one, one.startedAt, ahead, said)
    if one.server and one.askedAt:
        address, port = one.serverAddress or ("", 0)
        # What the balancer answers in its place is none of its doing.
        status = one.status if one.answered else 0
        said = {
            **method, "http.response.status_code": status or None,
            "server.address": address, "server.port": port or None,
            "http.request.resend_count": one.retries or None, "lbtwist.pool": one.pool,
            "lbtwist.server": one.server,
        }  # fmt: skip
        if one.failed or status >= 400:
            said["error.type"] = str(status) if status >= 400 else one.termination
        yield _span(trace, asked, own, name, CLIENT, one, one.askedAt, ahead, said)


def _span(
    trace: str, own: str, parent: str, name: str, kind: int, one: Ended, at: float, ahead: float,
    said: Mapping[str, str | int | None],
) -> dict[str, Any]:  # fmt: skip
    span: dict[str, Any] = {
        "traceId": trace, "spanId": own, "name": name, "kind": kind, "flags": _SAMPLED,
        "startTimeUnixNano": _nanoseconds(at + ahead),
        "endTimeUnixNano": _nanoseconds(one.finishedAt + ahead),
    }  # fmt: skip
    if parent:
        span["parentSpanId"] = parent
    if "error.type" in said:
        span["status"] = {"code": _ERROR}
        if one.reason:
            span["status"]["message"] = one.reason
    span["attributes"] = _attributes(said)
    return span


def _nanoseconds(seconds: float) -> str:
    # A double does not have more than microseconds of now.
    return str(round(seconds * 1e6) * 1000)


def _hostAndPort(host: str) -> tuple[str, int | None]:
    """@return: both of a C{Host}; without a port that is a number there is none."""
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5:
        return name.strip("[]"), int(port)
    return host.strip("[]"), None
