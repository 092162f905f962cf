"""
All metrics of a balancer, those of the whole of it among them, written a piece at a time.

Reads and changes nothing. Who asks for it is L{lbtwist.admin.scraping}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.metadata import version

from OpenSSL import SSL

import lbtwist
from lbtwist.admin.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFO,
    Bucketed,
    Exposition,
    Metric,
    Value,
    labels,
)
from lbtwist.admin.metrics import FRONTENDS, POOLS, SERVERS
from lbtwist.admin.process import PROCESS, Lateness
from lbtwist.admin.seen import Seen, Sight, look
from lbtwist.service import LoadBalancer

SCOPES = ("global", "frontend", "backend", "server")
"""What can be asked for by itself, as HAProxy's exporter has it."""


def _certificates(sight: Sight) -> Value:
    return {path: at.timestamp() for path, at in sight.balancer.notAfter.items()} or None


def _stores(sight: Sight) -> Value:
    stores = sight.balancer.stores
    return {name: one.errors for name, one in stores.items() if hasattr(one, "errors")} or None


def _balancer(read: Callable[[LoadBalancer], Value]) -> Callable[[Sight], Value]:
    return lambda sight: read(sight.balancer)


WHOLE: tuple[Metric, ...] = (
    Metric("process_uptime_seconds", GAUGE, "Seconds since the balancer was started.",
           _balancer(lambda one: one.deadlines.seconds() - one.startedAt),
           alias="process_uptime_seconds"),
    Metric("process_current_connections", GAUGE, "Connections of clients now.",
           _balancer(lambda one: one.process.active), alias="process_current_connections"),
    Metric("process_max_connections", GAUGE, "So many at once; 0 is no limit.",
           _balancer(lambda one: one.process.maxconn), alias="process_max_connections"),
    Metric("process_connections_total", COUNTER, "Connections of clients.",
           _balancer(lambda one: one.process.accepted), alias="process_connections_total"),
    Metric("process_requests_total", COUNTER, "Requests, or sessions, that have ended.",
           _balancer(lambda one: sum(
               frontend.inbound.traffic.exchanges for frontend in one.frontends.values())),
           alias="process_requests_total"),
    Metric("process_current_connection_rate", GAUGE, "Connections in the last second.",
           _balancer(lambda one: one.looking.process.rate),
           alias="process_current_connection_rate"),
    Metric("process_max_connection_rate", GAUGE, "The most in one second.",
           _balancer(lambda one: one.looking.process.mostRate),
           alias="process_max_connection_rate"),
    Metric("process_current_tls_handshakes", GAUGE, "TLS handshakes under way.",
           _balancer(lambda one: one.process.handshakes.active)),
    Metric("process_limit_tls_handshakes", GAUGE, "So many at once; 0 is no limit.",
           _balancer(lambda one: one.process.handshakes.most)),
    Metric("process_dropped_logs_total", COUNTER, "Lines of logs that were lost.",
           _balancer(lambda one: one.droppedLines), alias="process_dropped_logs_total"),
    Metric("log_lines_dropped_total", COUNTER, "The same, by the target of the log.",
           _balancer(lambda one: one.droppedLinesBy or None), "target"),
    Metric("process_dropped_spans_total", COUNTER,
           "Requests that the collector of traces was not told of.",
           _balancer(lambda one: one.droppedSpans)),
    Metric("process_listeners", GAUGE, "Sockets that are listened on.",
           _balancer(lambda one: sum(
               len(frontend.inbound.listeners) for frontend in one.frontends.values())),
           alias="process_listeners"),
    Metric("process_worker_restarts_total", COUNTER, "Workers that have died and were replaced.",
           _balancer(lambda one: None if one.workers is None else one.workers.restarts)),
    Metric("process_configuration_differs", GAUGE,
           "1 while the file is known to say something else than what runs.",
           _balancer(lambda one: None if one.renewal is None else int(one.renewal.differs))),
    Metric("store_errors_total", COUNTER, "What a shared store was asked and did not answer.",
           _stores, "store"),
    Metric("certificate_not_after_seconds", GAUGE,
           "When a certificate that we show expires, in seconds since 1970.",
           _certificates, "file"),
)  # fmt: skip
"""Each is read off a L{Sight}."""

LATENESS = Metric(
    "process_event_loop_lag_seconds", HISTOGRAM,
    "How late the event loop is with what is due.", lambda found: found,
)  # fmt: skip
"""Read off a L{Bucketed}."""

BUILD = Metric("build_info", INFO, "Versions of what it runs on.", lambda _: 1)

EVERY: tuple[Metric, ...] = (BUILD, *PROCESS, *WHOLE, LATENESS, *FRONTENDS, *POOLS, *SERVERS)
"""All metrics there are."""


def _build() -> str:
    return labels(
        version=lbtwist.__version__, twisted=version("twisted"),
        openssl=SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace"),
    )  # fmt: skip


def pieces(
    balancer: LoadBalancer,
    exposition: Exposition,
    scopes: Collection[str] = SCOPES,
    lateness: Lateness | None = None,
) -> Iterator[str]:
    """
    @param scopes: some of L{SCOPES}.
    @param lateness: of its event loop, if somebody looks at that.
    @return: the metrics; some pieces are empty, only to let others have their turn.
    """
    sight = Sight(balancer)
    for _ in look(sight, exposition.bounds):
        yield ""
    if "global" in scopes:
        yield exposition.written(BUILD, [(_build(), None)])
        for metric in PROCESS:
            yield exposition.written(metric, [("", sight.process)])
        for metric in WHOLE:
            yield exposition.written(metric, [("", sight)])
        if lateness is not None:
            late = Bucketed.of(lateness.seen, exposition.bounds)
            yield exposition.written(LATENESS, [("", late)])
    for scope, metrics, seen in (
        ("frontend", FRONTENDS, sight.frontends),
        ("backend", POOLS, sight.pools),
        ("server", SERVERS, sight.servers),
    ):
        if scope in scopes:
            yield from _written(exposition, metrics, seen)
    yield exposition.end


def _written(
    exposition: Exposition, metrics: Iterable[Metric], seen: Iterable[Seen]
) -> Iterator[str]:
    parts = [(one.labels, one) for one in seen]
    for metric in metrics:
        yield exposition.written(metric, parts)


def render(
    balancer: LoadBalancer,
    openmetrics: bool = False,
    aliases: bool = False,
    lateness: Lateness | None = None,
) -> bytes:
    """
    @param aliases: whether what HAProxy has is there by its names, too.
    @return: all metrics, as they are now.
    """
    exposition = Exposition(openmetrics, aliases)
    found = "".join(pieces(balancer, exposition, lateness=lateness))
    return found.encode("utf-8", "replace")
