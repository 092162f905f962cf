"""
Reads a running balancer into plain values: one row for each frontend, pool and server, with
everything that C{show stat} of HAProxy has a column for and that is known here.

Reads and changes nothing. What is not known is not there: an empty column says more than a
nought that is none. How rows are written is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attr

from lbtwist.config.tracking import trackedOf
from lbtwist.events import plain, stateOf
from lbtwist.health import Admin, Health
from lbtwist.looking import frontendState, poolState
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import Frontend, LoadBalancer
from lbtwist.stats import BackTraffic, Course, Traffic

FRONTEND = "frontend"
POOL = "pool"
SERVER = "server"

TYPES = {FRONTEND: 0, POOL: 1, SERVER: 2}
"""What stands in the column C{type}."""

FRONTEND_STATES = ("OPEN", "FULL", "PAUSED", "STOP")
POOL_STATES = ("UP", "DOWN")
SERVER_STATES = ("UP", "DOWN", "DRAIN", "MAINT", "EJECTED", "LEAVING")
"""What L{Row.state} says."""

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
"""Of responses, for each of which there is a column C{hrsp_}."""

OF_ONE_PIECE = 25
"""So many servers are read without a pause: a few milliseconds."""

DESCRIPTIONS = {
    "UNK": "Unknown", "INI": "Initializing", "SOCKERR": "Socket error",
    "L4OK": "Layer4 check passed", "L4TOUT": "Layer4 timeout", "L4CON":
    "Layer4 connection problem", "L6OK": "Layer6 check passed", "L6TOUT": "Layer6 timeout",
    "L6RSP": "Layer6 invalid response", "L7OK": "Layer7 check passed",
    "L7OKC": "Layer7 check conditionally passed", "L7TOUT": "Layer7 timeout",
    "L7RSP": "Layer7 invalid response", "L7STS": "Layer7 wrong status",
    "HANA": "Health analyze", "PROCERR": "External check error",
    "PROCTOUT": "External check timeout", "PROCOK": "External check passed",
}  # fmt: skip
"""HAProxy's sentence for each C{check_status}."""


@attr.frozen
class Row:
    """
    What is known of a frontend, a pool or a server now.

    @ivar kind: L{FRONTEND}, L{POOL} or L{SERVER}.
    @ivar proxy: the name of the frontend, or of the pool.
    @ivar name: C{FRONTEND}, C{BACKEND}, or the name of the server.
    @ivar state: one word of ours for how it is, as L{lbtwist.events.stateOf},
        L{lbtwist.looking.poolState} and C{frontendState} say it.
    @ivar values: by the names of L{lbtwist.admin.columns.COLUMNS}; times in the units of
        HAProxy.
    """

    kind: str
    proxy: str
    name: str
    state: str
    values: Mapping[str, int | str]


def rowsOf(balancer: LoadBalancer) -> Iterator[Row]:
    """@return: frontends, then each pool after its servers, in written order."""
    now = balancer.deadlines.seconds()
    for frontend in balancer.frontends.values():
        yield frontendRow(balancer, frontend)
    for pool in balancer.pools.values():
        number = balancer.looking.of(pool).number
        for server in pool.servers:
            yield serverRow(balancer, pool, server, number, now)
        yield poolRow(balancer, pool, now)


def frontendRow(balancer: LoadBalancer, frontend: Frontend) -> Row:
    """@return: the row of one frontend."""
    course = balancer.looking.of(frontend)
    inbound = frontend.inbound
    traffic = inbound.traffic
    state = frontendState(frontend)
    http = frontend.config.mode == "http"
    values = _common(course, traffic, inbound.active, http)
    values |= {
        "status": state, "iid": course.number, "sid": 0, "mode": frontend.config.mode,
        "slim": inbound.maxconn or balancer.process.maxconn, "stot": traffic.connections,
        "dreq": traffic.denied, "ereq": traffic.requestErrors,
        "conn_rate": course.rate, "conn_rate_max": course.mostRate,
        "conn_tot": traffic.connections, "ssl_sess": traffic.handshakes,
        "ssl_failed_handshake": traffic.handshakesFailed,
    }  # fmt: skip
    if http:
        values |= {
            "req_rate": course.requestRate, "req_rate_max": course.mostRequestRate,
            "req_tot": traffic.exchanges,
        }  # fmt: skip
    return _row(FRONTEND, frontend.name, "FRONTEND", state, values)


def poolRow(balancer: LoadBalancer, pool: Pool, now: float) -> Row:
    """@return: the row of one pool."""
    course = balancer.looking.of(pool)
    traffic, config = pool.traffic, pool.config
    state = poolState(pool)
    servers = pool.servers
    usable = [server for server in servers if server.usable]
    backup = sum(server.backup for server in usable)
    values = _common(course, traffic, pool.active, config.mode != "tcp")
    values |= _back(course, traffic, pool.active, state, now)
    values |= _timed(course, traffic, *(server.traffic for server in pool.servers))
    values |= {
        "status": state, "iid": course.number, "sid": 0, "mode": _mode(config.mode),
        "algo": config.balance.name, "qcur": pool.queued,
        "qmax": max(course.mostQueued, pool.queued),
        "weight": sum(_whole(server.weight) for server in pool.usable),
        "act": len(usable) - backup, "bck": backup, "chkdown": course.wentDown,
        "econ": traffic.unconnected, "wretr": traffic.retries, "wredis": traffic.redispatched,
    }  # fmt: skip
    if config.maxconn:
        values["slim"] = config.maxconn
    if config.maxqueue:
        values["qlimit"] = config.maxqueue
    if pool.persistence is None:
        values["lbtot"] = values["stot"]
    if not pool.memberships:
        # Of servers that have gone nothing is known any more, and a counter does not go back.
        values["connect"] = sum(server.traffic.connects for server in servers)
        values["reuse"] = sum(server.traffic.reuses for server in servers)
    if config.mode != "tcp":
        values["req_tot"] = traffic.exchanges
    return _row(POOL, pool.name, "BACKEND", state, values)


def serverRow(
    balancer: LoadBalancer, pool: Pool, server: Server, iid: int, now: float
) -> Row:
    """
    @param iid: the number of its pool.
    @return: the row of one server.
    """
    course = balancer.looking.of(server)
    traffic, health, config = server.traffic, server.health, pool.config
    state = stateOf(server)
    queued = pool.queuedFor(server)
    values = _common(course, traffic, server.active, config.mode != "tcp")
    values |= _back(course, traffic, server.active, state, now)
    values |= _timed(course, traffic)
    values |= {
        "status": statusOf(pool, server), "iid": iid, "sid": course.number,
        "mode": _mode(config.mode), "qcur": queued, "qmax": max(course.mostQueued, queued),
        "weight": _whole(server.weight), "uweight": server.capacity.weight,
        "act": int(not server.backup), "bck": int(server.backup),
        "econ": traffic.connectFailures, "wretr": traffic.retries,
        "wredis": traffic.redispatched, "connect": traffic.connects, "reuse": traffic.reuses,
        "srv_icur": len(server.idle), "src_ilim": config.idle_connections,
        "idle_conn_cur": len(server.idle), "used_conn_cur": server.active,
    }  # fmt: skip
    if server.maxconn:
        values["slim"] = server.maxconn
    if server.maxqueue:
        values["qlimit"] = server.maxqueue
    if pool.persistence is None:
        # Nobody but the balancer has chosen it.
        values["lbtot"] = values["stot"]
    if server.endpoint is not None:
        values["addr"] = str(server.endpoint)
    if server.capacity.warmth < 1:
        values["throttle"] = max(1, round(server.capacity.warmth * 100))
    options = server.options
    if options is not None:
        if any(kind.name == "cookie" for kind in config.persist):
            values["cookie"] = options.cookie or server.name
        if options.track:
            values["tracked"] = "/".join(trackedOf(pool.name, options))
    if _isChecked(pool, server):
        values |= _checked(server, health)
    return _row(SERVER, pool.name, server.name, state, values)


def _row(kind: str, proxy: str, name: str, state: str, values: dict[str, int | str]) -> Row:
    values |= {"pxname": proxy, "svname": name, "pid": 1, "type": TYPES[kind]}
    return Row(kind, proxy, name, state, values)


def _common(course: Course, traffic: Traffic, active: int, http: bool) -> dict[str, int | str]:
    """@return: what all rows have."""
    values: dict[str, int | str] = {
        "scur": active, "smax": max(course.most, active), "bin": traffic.bytesIn,
        "bout": traffic.bytesOut, "rate": course.rate, "rate_max": course.mostRate,
    }  # fmt: skip
    if http:
        other, *classes = traffic.responses
        values |= {f"hrsp_{n}xx": count for n, count in enumerate(classes, 1)}
        values["hrsp_other"] = other
    return values


def _back(
    course: Course, traffic: BackTraffic, active: int, state: str, now: float
) -> dict[str, int | str]:
    """@return: what pools and servers have."""
    begun = course.begun(traffic.exchanges + active)
    return {
        "stot": begun, "eresp": traffic.responseErrors, "cli_abrt": traffic.clientAborts,
        "srv_abrt": traffic.serverAborts, "downtime": int(course.downtime),
        "lastchg": 0 if state != course.state and course.state else int(now - course.since),
        "lastsess": -1 if course.lastAt is None else int(now - course.lastAt),
    }  # fmt: skip


def _timed(course: Course, *traffics: BackTraffic) -> dict[str, int | str]:
    """
    @param traffics: of a server, or of a pool and of all of its servers.
    @return: how long it takes, on average of late and at the most, in milliseconds.
    """
    values: dict[str, int | str] = {}
    times = [one for traffic in traffics for one in traffic.routes.values()]
    if not times:
        return values
    averages = course.averages
    for name, average, taken in (
        ("qtime", averages.queued, [one.queued for one in times]),
        ("ctime", averages.connected, [one.connected for one in times]),
        ("rtime", averages.responded, [one.responded for one in times]),
        ("ttime", averages.took, [one.took for one in times]),
    ):
        if average is not None:
            values[name] = round(average * 1000)
        longest = max(one.longest for one in taken)
        if longest:
            values[f"{name}_max"] = round(longest * 1000)
    return values


def _checked(server: Server, health: Health) -> dict[str, int | str]:
    """@return: what is known of the checks of a server."""
    values: dict[str, int | str] = {
        "chkfail": server.traffic.checkFailures, "chkdown": server.traffic.wentDown,
        "hanafail": server.traffic.suspected,
        "check_rise": health.rise, "check_fall": health.fall, "check_health": healthOf(health),
    }  # fmt: skip
    if not health.results:
        return values | {"check_status": "INI", "check_desc": DESCRIPTIONS["INI"]}
    result = health.results[-1]
    values |= {
        "check_status": result.status, "check_duration": round(result.duration * 1000),
        "check_desc": DESCRIPTIONS.get(result.status, ""), "last_chk": plain(result.detail),
    }  # fmt: skip
    code = result.detail[:3]
    if result.status in ("L7OK", "L7OKC", "L7STS") and code.isascii() and code.isdigit():
        values["check_code"] = int(code)
    return values


def _mode(mode: str) -> str:
    # A pool that fits every frontend speaks HTTP wherever it is asked to.
    return "tcp" if mode == "tcp" else "http"


def _whole(weight: float) -> int:
    """@return: a weight in whole numbers; only nothing is 0."""
    return max(1, round(weight)) if weight else 0


def _isChecked(pool: Pool, server: Server) -> bool:
    options = server.options
    checks = pool.config.check is not None and (options is None or options.check)
    return checks or bool(server.health.results)


def healthOf(health: Health) -> int:
    """@return: HAProxy's number: up from C{rise} on, C{rise + fall - 1} is in best health."""
    if health.up:
        return max(health.rise, health.rise + health.fall - 1 - health.count)
    return min(health.count, health.rise - 1)


def statusOf(pool: Pool, server: Server) -> str:
    """
    @return: what HAProxy says in the column C{status}: C{UP}, C{UP 1/3}, C{DOWN},
        C{DOWN 1/2}, C{NOLB} (ejected as an outlier), C{DRAIN}, C{no check}, C{MAINT},
        C{MAINT (via app/a)}, C{MAINT (resolution)} and, of one that its source names no
        more, C{MAINT (leaving)}.
    """
    health = server.health
    if server.leaving:
        return "MAINT (leaving)"
    if health.admin == Admin.MAINT:
        return "MAINT"
    if health.inForce == Admin.MAINT:
        return f"MAINT (via {'/'.join(trackedOf(pool.name, server.options))})"
    if server.endpoint is None:
        return "MAINT (resolution)"
    state = stateOf(server)
    if state == "EJECTED":
        return "NOLB"
    if state == "DRAIN":
        return state
    tracks = server.options is not None and server.options.track
    if health.up and not tracks and not _isChecked(pool, server):
        return "no check"
    if not health.count:
        return state
    if health.up:
        return f"UP {healthOf(health) - health.rise + 1}/{health.fall}"
    return f"DOWN {health.count}/{health.rise}"
