"""
Every number of a frontend, a pool and a server as a metric.

The names are those of HAProxy's own exporter with C{lbtwist_} in place of C{haproxy_}, as far
as they mean the same; C{docs/metrics.md} explains each. The averages over its last 1024
requests are none here: there are histograms.

Reads and changes nothing. What there is of the balancer as a whole is L{lbtwist.admin.whole}'s,
how it is written L{lbtwist.admin.exposition}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lbtwist.admin.exposition import COUNTER, GAUGE, HISTOGRAM, Bucketed, Metric, Value
from lbtwist.admin.rows import CLASSES, FRONTEND_STATES, POOL_STATES, SERVER_STATES
from lbtwist.admin.seen import Seen
from lbtwist.events import stateOf
from lbtwist.membership import Membership

Read = Callable[[Seen], Value]

_NOT_HAPROXYS = {"EJECTED": "NOLB", "LEAVING": "MAINT"}


# how they are read


def _column(name: str) -> Read:
    """@return: reads a number of a row, if it is there."""

    def read(seen: Seen) -> Value:
        value = seen.row.values.get(name)
        # A time that has not come is written as -1.
        return value if isinstance(value, int) and value >= 0 else None

    return read


def _traffic(name: str) -> Read:
    """@return: reads a counter."""

    def read(seen: Seen) -> Value:
        traffic = seen.one.inbound.traffic if seen.row.kind == "frontend" else seen.one.traffic
        value: int = getattr(traffic, name)
        return value

    return read


def _times(name: str) -> Read:
    def read(seen: Seen) -> Bucketed | None:
        return seen.times.get(name)

    return read


def _states(*states: str) -> Read:
    def read(seen: Seen) -> Mapping[str, int]:
        return {state: int(state == seen.row.state) for state in states}

    return read


def _frontendUp(seen: Seen) -> Mapping[str, int]:
    up = seen.row.state in ("OPEN", "FULL")
    return {"DOWN": int(not up), "UP": int(up)}


def _asHAProxy(seen: Seen) -> Mapping[str, int]:
    state = _NOT_HAPROXYS.get(seen.row.state, seen.row.state)
    return {one: int(one == state) for one in ("DOWN", "UP", "MAINT", "DRAIN", "NOLB")}


def _codes(seen: Seen) -> Value:
    if "hrsp_other" not in seen.row.values:
        return None
    return {code: int(seen.row.values[f"hrsp_{code}"]) for code in CLASSES}


def _weighted(seen: Seen) -> Value:
    weight: float = seen.one.weight
    return weight


def _checkStatus(seen: Seen) -> Value:
    status = seen.row.values.get("check_status")
    return None if status is None else {str(status): 1}


def _checkDuration(seen: Seen) -> Value:
    results = seen.one.health.results
    return results[-1].duration if results else None


def _serverStates(seen: Seen) -> Mapping[str, int]:
    """Of a pool: how many servers are in each state."""
    found = dict.fromkeys(SERVER_STATES, 0)
    for server in seen.one.servers:
        found[stateOf(server)] += 1
    return found


def _chain(name: str) -> Read:
    def read(seen: Seen) -> Value:
        chain = seen.one.persistence
        if chain is None:
            return None
        value: int = getattr(chain, name)
        return value

    return read


def _withThoseGone(name: str) -> Read:
    """@return: reads a counter of the servers of a pool."""

    def read(seen: Seen) -> Value:
        traffics = [seen.one.traffic, *(server.traffic for server in seen.one.servers)]
        value: int = sum(getattr(traffic, name) for traffic in traffics)
        return value

    return read


def _entries(seen: Seen) -> Value:
    store = getattr(seen.one.persistence, "store", None)
    size: int = -1 if store is None else getattr(store, "size", -1)
    return size if size >= 0 else None


def _storeErrors(seen: Seen) -> Value:
    store = getattr(seen.one.persistence, "store", None)
    return getattr(store, "errors", None)


def _budget(seen: Seen) -> Value:
    retries = seen.one.retries
    budget = None if retries is None else retries.budget
    return None if budget is None else int(not budget.left)


def _panicking(seen: Seen) -> Value:
    return int(seen.one.panicking)


def _source(read: Callable[[Membership, float], Value]) -> Read:
    """@return: reads something of each source of a pool's servers, by its name."""

    def sources(seen: Seen) -> Value:
        found: dict[str, int | float] = {}
        for membership in seen.one.memberships:
            value = read(membership, seen.now)
            if isinstance(value, int | float):
                found[membership.config.name] = value
        return found or None

    return sources


# what there is

_BOTH: tuple[tuple[str, str, str, Read], ...] = (
    ("bytes_in_total", COUNTER, "Bytes that clients have sent, heads among them.",
     _column("bin")),
    ("bytes_out_total", COUNTER, "Bytes that clients were sent, heads among them.",
     _column("bout")),
    ("max_sessions", GAUGE, "The most of them at once, as far as was looked.", _column("smax")),
    ("limit_sessions", GAUGE, "So many at once; 0 is no limit.", _column("slim")),
    ("max_session_rate", GAUGE, "The most that began in one second.", _column("rate_max")),
)  # fmt: skip

_TIMES = (
    ("request_duration_seconds", "took",
     "From the first byte of a request to the last of its response; of a whole session."),
    ("response_seconds", "responded",
     "From the connection to a server to the head of its response."),
    ("connect_seconds", "connected", "Until a new connection to a server stood, TLS and all."),
    ("queue_seconds", "queued", "In the queue, of those that had to wait there."),
)  # fmt: skip


def _common(level: str) -> Iterator[Metric]:
    """@return: what frontends, pools and servers have."""
    for name, kind, text, read in _BOTH:
        yield Metric(f"{level}_{name}", kind, text, read, alias=f"{level}_{name}")
    yield Metric(
        f"{level}_http_responses_total", COUNTER, "Responses, by the class of their status.",
        _codes, "code", f"{level}_http_responses_total",
    )  # fmt: skip
    yield Metric(f"{level}_exchanges_total", COUNTER, "Requests, or sessions, that have ended.",
                 _traffic("exchanges"))
    yield Metric(f"{level}_failed_total", COUNTER,
                 "Those of them that did not end in good order.", _traffic("failed"))
    for name, times, text in _TIMES:
        yield Metric(f"{level}_{name}", HISTOGRAM, text, _times(times))


def _same(name: str, kind: str, text: str, read: Read, label: str = "") -> Metric:
    """@return: a metric that HAProxy has by the same name."""
    return Metric(name, kind, text, read, label, name)


FRONTENDS: tuple[Metric, ...] = (
    Metric("frontend_status", GAUGE, "1 for the state it is in.",
           _states(*FRONTEND_STATES), "state"),
    Metric("", GAUGE, "1 for the state it is in.", _frontendUp, "state", "frontend_status", None),
    _same("frontend_current_sessions", GAUGE, "Connections of clients now.", _column("scur")),
    _same("frontend_sessions_total", COUNTER, "Connections of clients.", _column("stot")),
    _same("frontend_connections_total", COUNTER, "Connections of clients.",
          _column("conn_tot")),
    _same("frontend_connections_rate_max", GAUGE, "The most that came in one second.",
          _column("conn_rate_max")),
    _same("frontend_http_requests_rate_max", GAUGE, "The most requests that ended in one second.",
          _column("req_rate_max")),
    _same("frontend_requests_denied_total", COUNTER,
          "Requests and connections that a rule has refused.", _traffic("denied")),
    _same("frontend_request_errors_total", COUNTER,
          "Requests that were not acceptable, or did not come whole.", _traffic("requestErrors")),
    Metric("frontend_refused_total", COUNTER, "Both together: what the balancer has refused.",
           _traffic("refused")),
    Metric("frontend_proxy_errors_total", COUNTER,
           "Connections without the PROXY header they needed.", _traffic("proxyRefused")),
    Metric("frontend_tls_handshakes_total", COUNTER, "TLS handshakes that have succeeded.",
           _traffic("handshakes")),
    Metric("frontend_tls_handshake_failures_total", COUNTER, "Those that have not.",
           _traffic("handshakesFailed")),
    Metric("frontend_tls_handshake_seconds", HISTOGRAM,
           "TLS handshakes that have succeeded, without the wait for their turn.",
           _times("shaken")),
    _same("frontend_http_requests_total", COUNTER, "Requests that have ended.",
          _column("req_tot")),
    *_common("frontend"),
)  # fmt: skip


def _back(level: str) -> Iterator[Metric]:
    """@return: what pools and servers have."""
    for name, kind, text, read in (
        ("current_sessions", GAUGE, "Requests, or sessions, under way.", _column("scur")),
        ("sessions_total", COUNTER, "Requests, or sessions, that were begun.", _column("stot")),
        ("current_queue", GAUGE, "Those that wait for a slot.", _column("qcur")),
        ("max_queue", GAUGE, "The most that waited, as far as was looked.", _column("qmax")),
        ("response_errors_total", COUNTER,
         "Requests that got no response, or none that is acceptable.", _traffic("responseErrors")),
        ("retry_warnings_total", COUNTER, "Attempts after one that had failed.",
         _traffic("retries")),
        ("redispatch_warnings_total", COUNTER, "Of them those that went to another server.",
         _traffic("redispatched")),
        ("client_aborts_total", COUNTER, "Those whose client went away, or was silent too long.",
         _traffic("clientAborts")),
        ("server_aborts_total", COUNTER, "Those whose server did so in its response.",
         _traffic("serverAborts")),
        ("downtime_seconds_total", COUNTER, "Seconds of no use, as far as was looked.",
         _column("downtime")),
        ("check_last_change_seconds", GAUGE, "Seconds in its state.", _column("lastchg")),
        ("last_session_seconds", GAUGE, "Seconds since the last one began.",
         _column("lastsess")),
    ):  # fmt: skip
        yield _same(f"{level}_{name}", kind, text, read)
    yield from _common(level)


POOLS: tuple[Metric, ...] = (
    _same("backend_status", GAUGE, "1 for the state it is in: UP where somebody is served.",
          _states(*POOL_STATES), "state"),
    _same("backend_active_servers", GAUGE, "Servers that can be used.", _column("act")),
    _same("backend_backup_servers", GAUGE, "Backup servers that can be used.", _column("bck")),
    Metric("backend_servers", GAUGE, "Servers, by their state.", _serverStates, "state"),
    _same("backend_weight", GAUGE, "The weights of those that are used, together.",
          _column("weight")),
    _same("backend_check_up_down_total", COUNTER, "How often it went down, as far as was looked.",
          _column("chkdown")),
    _same("backend_connection_errors_total", COUNTER,
          "Requests that got no connection, after whatever attempts.", _traffic("unconnected")),
    _same("backend_connection_attempts_total", COUNTER, "Connections that were made.",
          _withThoseGone("connects")),
    _same("backend_connection_reuses_total", COUNTER, "Requests that needed none.",
          _withThoseGone("reuses")),
    Metric("backend_hedges_total", COUNTER,
           "Second servers asked because the first had not answered.", _traffic("hedges")),
    Metric("backend_hedges_won_total", COUNTER, "Those that took the place of the first.",
           _traffic("hedgesWon")),
    Metric("backend_over_budget_total", COUNTER,
           "Attempts that were not made because there were too many.", _traffic("overBudget")),
    Metric("backend_budget_spent", GAUGE, "1 while the retry-budget is spent.", _budget),
    Metric("backend_panicking", GAUGE,
           "1 while too few servers are healthy, and all get requests.", _panicking),
    Metric("backend_persistence_hits_total", COUNTER,
           "Requests whose client came back to the server it had.", _chain("hits")),
    Metric("backend_persistence_misses_total", COUNTER,
           "Those whose client had none, or none that can be had.", _chain("misses")),
    Metric("backend_persistence_redispatched_total", COUNTER,
           "Those whose client had one that could not be had.", _chain("redispatched")),
    Metric("backend_persistence_entries", GAUGE, "Clients that are remembered here.", _entries),
    Metric("backend_persistence_store_errors_total", COUNTER,
           "What its store was asked and did not answer, or could not keep.", _storeErrors),
    Metric("backend_discovery_age_seconds", GAUGE,
           "Seconds since a source has last said which servers there are.",
           _source(lambda one, now: one.age(now)), "source"),
    Metric("backend_discovery_failures", GAUGE, "Failures of a source, in a row.",
           _source(lambda one, now: one.failures), "source"),
    Metric("backend_discovery_servers", GAUGE, "Servers that a source names.",
           _source(lambda one, now: len(one.servers)), "source"),
    _same("backend_http_requests_total", COUNTER, "Requests that have ended.",
          _column("req_tot")),
    Metric("backend_queue_limit", GAUGE, "So many may wait.", _column("qlimit")),
    *_back("backend"),
)  # fmt: skip

SERVERS: tuple[Metric, ...] = (
    Metric("server_status", GAUGE, "1 for the state it is in.", _states(*SERVER_STATES), "state"),
    Metric("", GAUGE, "1 for the state it is in.", _asHAProxy, "state", "server_status", None),
    _same("server_weight", GAUGE, "Its weight now, in which it starts slowly.", _weighted),
    _same("server_uweight", GAUGE, "Its own weight.", _column("uweight")),
    _same("server_active", GAUGE, "1 if it is no backup.", _column("act")),
    _same("server_backup", GAUGE, "1 if it is one.", _column("bck")),
    _same("server_current_throttle", GAUGE, "Percent of its weight, while it starts slowly.",
          _column("throttle")),
    _same("server_connection_errors_total", COUNTER, "Connects that failed.",
          _traffic("connectFailures")),
    Metric("server_tls_errors_total", COUNTER, "Those of them that failed in TLS.",
           _traffic("tlsFailures")),
    _same("server_connection_attempts_total", COUNTER, "Connections that were made.",
          _traffic("connects")),
    _same("server_connection_reuses_total", COUNTER, "Requests that needed none.",
          _traffic("reuses")),
    _same("server_idle_connections_current", GAUGE, "Connections that wait to be used again.",
          _column("idle_conn_cur")),
    _same("server_idle_connections_limit", GAUGE, "So many may.", _column("src_ilim")),
    _same("server_used_connections_current", GAUGE, "Connections in use.",
          _column("used_conn_cur")),
    _same("server_check_status", GAUGE, "1 for what its last check has found.",
          _checkStatus, "state"),
    _same("server_check_code", GAUGE, "The status that its last check got.",
          _column("check_code")),
    _same("server_check_duration_seconds", GAUGE, "How long its last check took.",
          _checkDuration),
    Metric("server_checks_total", COUNTER, "Checks that were run.", _traffic("checks")),
    _same("server_check_failures_total", COUNTER, "Checks that failed.",
          _traffic("checkFailures")),
    _same("server_check_up_down_total", COUNTER, "How often it was marked down.",
          _traffic("wentDown")),
    Metric("server_suspected_total", COUNTER,
           "How often as many requests failed in a row as error-limit says.",
           _traffic("suspected")),
    Metric("server_ejections_total", COUNTER, "How often it was ejected as an outlier.",
           _traffic("ejections")),
    Metric("server_ejections_refused_total", COUNTER,
           "How often it was not, because too many were already.", _traffic("ejectionsRefused")),
    _same("server_queue_limit", GAUGE, "So many may wait for it.", _column("qlimit")),
    *_back("server"),
)  # fmt: skip

