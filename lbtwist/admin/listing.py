"""
The verbs that list what there is: C{show servers state}, C{show servers conn}, C{show sess},
C{show table}, C{show failures}, C{show events}, in HAProxy's forms where it has them (its
management guide, 9.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from ipaddress import ip_address
from itertools import islice
from typing import Any

import attr

from lbtwist.admin.finding import poolNamed
from lbtwist.admin.rows import healthOf
from lbtwist.admin.sessions import Running, allRunning
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Verb
from lbtwist.draining import leftIn
from lbtwist.events import plain, stateOf
from lbtwist.health import Admin
from lbtwist.persistence.chain import Chain
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import LoadBalancer

MOST_ENTRIES = 10_000
"""Of a table so many entries are shown at once."""

_STATE_HEADER = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
    " srv_iweight srv_time_since_last_change srv_check_status srv_check_result"
    " srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id"
    " srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr"
    " srv_agent_port"
)
_CONN_HEADER = (
    "bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb"
    " safe_nb idle_lim idle_cur idle_per_thr[1]"
)

# HAProxy's numbers of check results (include/haproxy/check-t.h).
_CHECK_STATUS = {
    "UNK": 0, "INI": 1, "HANA": 4, "SOCKERR": 5, "L4OK": 6, "L4TOUT": 7, "L4CON": 8, "L6OK": 9,
    "L6TOUT": 10, "L6RSP": 11, "L7TOUT": 12, "L7RSP": 13, "L7OK": 15, "L7OKC": 16, "L7STS": 17,
    "PROCERR": 18, "PROCTOUT": 19, "PROCOK": 20,
}  # fmt: skip
_BYTE = re.compile(rb"\\x([0-9a-f]{2})")
_STOPPED, _STARTING, _RUNNING = 0, 1, 2
_FORCED_MAINT, _INHERITED_MAINT, _FORCED_DRAIN, _INHERITED_DRAIN, _UNRESOLVED = 1, 2, 8, 16, 32
_FAILED, _PASSED = 2, 3
_CONFIGURED, _ENABLED, _PAUSED = 2, 4, 8


def _servers(balancer: LoadBalancer, words: Sequence[str]) -> Iterator[tuple[Pool, Server]]:
    """@param words: the name of a pool, or nothing for all."""
    pools = [poolNamed(balancer, words[0])] if words else list(balancer.pools.values())
    for pool in pools:
        for server in pool.servers:
            yield pool, server


def _address(server: Server) -> tuple[str, int]:
    """@return: host, or path, and port; C{-} where there is none yet."""
    endpoint = server.endpoint
    if endpoint is None:
        return "-", 0
    if isinstance(endpoint.address, str):
        return f"unix@{endpoint.address}", 0
    return endpoint.address[0], endpoint.address[1]


def _nameOf(host: str) -> str:
    """@return: a name of a server as it is written down; C{-} for an address, or nothing."""
    try:
        ip_address(host)
    except ValueError:
        return host or "-"
    return "-"


def adminBits(server: Server) -> int:
    """@return: HAProxy's C{srv_admin_state}."""
    health = server.health
    bits = {Admin.READY: 0, Admin.DRAIN: _FORCED_DRAIN, Admin.MAINT: _FORCED_MAINT}[health.admin]
    if server.leaving:
        bits |= _FORCED_MAINT
    if health.inForce != health.admin:
        bits |= _INHERITED_MAINT if health.inForce == Admin.MAINT else _INHERITED_DRAIN
    return bits | (_UNRESOLVED if server.endpoint is None else 0)


def _checkBits(balancer: LoadBalancer, server: Server) -> int:
    checked = balancer.administration.isChecked(server)
    if checked is None:
        return 0
    return _CONFIGURED | _ENABLED | (0 if checked else _PAUSED)


def showServersState(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show servers state [<pool>]}."""
    balancer = asked.balancer
    now = balancer.deadlines.seconds()
    lines, values = ["1", f"# {_STATE_HEADER}"], []
    for pool, server in _servers(balancer, words):
        health, options = server.health, server.options
        state = _STOPPED
        if health.up and health.inForce != Admin.MAINT:
            state = _STARTING if server.capacity.warmth < 1 else _RUNNING
        result = health.results[-1] if health.results else None
        course = balancer.looking.of(server)
        host, port = _address(server)
        checked = balancer.administration.isChecked(server)
        fqdn = "-" if options is None else _nameOf(options.host)
        fields = (
            balancer.looking.of(pool).number, pool.name, course.number, server.name, host,
            state, adminBits(server), server.capacity.weight,
            server.capacity.weight if options is None else options.weight,
            int(now - course.since),
            _CHECK_STATUS.get(result.status, 0) if result is not None else int(checked is not None),
            0 if result is None else _PASSED if result.passed else _FAILED,
            0 if checked is None else healthOf(health), _checkBits(balancer, server), 0, 0, 0,
            fqdn, port, "-", int(server.tls is not None), 0, "-", "-", 0,
        )  # fmt: skip
        lines.append(" ".join(map(str, fields)))
        left = leftIn(pool, server)
        values.append({
            "pool": pool.name, "server": server.name, "state": stateOf(server),
            "address": str(server.endpoint or ""), "admin": health.admin,
            "weight": server.weight, "uweight": server.capacity.weight,
            "maxconn": server.maxconn, "active": server.active, "sessions": left.sessions,
            "bound": None if left.bound < 0 else left.bound, "idle": len(server.idle),
            "queued": pool.queuedFor(server), "backup": server.backup, "role": server.role,
            "since": round(now - course.since, 3),
            "check": "" if result is None else result.status,
            "detail": "" if result is None else plain(result.detail),
            "checking": checked,
        })  # fmt: skip
    return Answer("\n".join([*lines, ""]), values)


def showServersConn(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show servers conn [<pool>]}: connections to servers, used and idle."""
    looking = asked.balancer.looking
    lines, values = [f"# {_CONN_HEADER}"], []
    for pool, server in _servers(asked.balancer, words):
        host, port = _address(server)
        course, idle = looking.of(server), len(server.idle)
        purge = round(pool.config.idle_timeout * 1000)
        most = max(course.most, server.active)
        lines.append(
            f"{pool.name}/{server.name} {looking.of(pool).number}/{course.number} {host} {port} -"
            f" {purge} {server.active} {most} {most} 0 {idle}"
            f" {pool.config.idle_connections} {idle} {idle}"
        )
        values.append({
            "pool": pool.name, "server": server.name, "used": server.active, "most": most,
            "idle": idle, "limit": pool.config.idle_connections,
        })  # fmt: skip
    return Answer("\n".join([*lines, ""]), values)


# what runs


async def showSess(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show sess [<id>|all]}: connections of clients, one to a line; of one all there is."""
    found = await allRunning(asked.balancer)
    if words and words[0] != "all":
        number = idOf(words[0])
        found = [one for one in found if one.number == number]
        if not found:
            raise Refused("Session not found.")
        values = attr.asdict(found[0])
        text = "".join(f"{name}: {plain(str(value))}\n" for name, value in values.items())
        return Answer(text, values)
    return Answer("".join(map(_sessionLine, found)), lambda: list(map(attr.asdict, found)))


def idOf(word: str) -> int:
    """@return: what stands for a connection: C{0x1f}, or C{31}; 0 for what is no such word."""
    try:
        return int(word, 16 if word.startswith("0x") else 10) if len(word) < 18 else 0
    except ValueError:
        return 0


def _sessionLine(one: Running) -> str:
    host, port = one.client
    proto = "unix_stream" if host == "unix" else "tcpv6" if ":" in host else "tcpv4"
    return (
        f"{one.number:#x}: proto={proto} src={host}:{port} fe={one.frontend}"
        f" be={one.pool or '<NONE>'} srv={one.server or '<none>'} st={one.stage or '-'}"
        f" age={int(one.age)}s{f' rq={plain(one.request)}' if one.request else ''}\n"
    )


# tables of persistence


def tableNamed(balancer: LoadBalancer, name: str) -> Chain:
    """
    @return: the persistence of a pool, which has a store.
    @raise Refused: if it has none.
    """
    pool = balancer.pools.get(name)
    if pool is None or pool.persistence is None or pool.persistence.store is None:
        raise Refused("No such table")
    return pool.persistence


def _keys(chain: Chain, wanted: str) -> set[bytes]:
    """@return: what kinds of persistence call the one client that somebody means."""
    said = wanted.encode()
    # What is no UTF-8 is shown, and so is given, by its numbers.
    plainly = _BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), said)
    return {kind.keyFor(one) for kind in _keyed(chain) for one in (said, plainly)}


def _keyed(chain: Chain) -> list[Any]:
    return [kind for kind in chain.kinds if hasattr(kind, "keyFor")]


def _shownKey(key: bytes, labels: Sequence[bytes]) -> str:
    """@param labels: what keys begin with that says which kind of persistence they are of."""
    label = next(filter(key.startswith, labels), b"")
    return plain(key.removeprefix(label).decode("utf-8", "backslashreplace"))


def entriesOf(chain: Chain, wanted: str | None) -> Iterator[tuple[bytes, str, float]]:
    """
    @param wanted: a key; L{None}: all.
    @raise Refused: if nobody but the store itself knows what is in it.
    """
    if not hasattr(chain.store, "entries"):
        raise Refused("Its entries are known to its store only.")
    keys = None if wanted is None else _keys(chain, wanted)
    for key, name, until in chain.store.entries():
        if keys is None or key in keys:
            yield key, name, until


def keyOf(words: Sequence[str]) -> str | None:
    """
    @param words: C{key KEY}, or nothing.
    @raise Refused: for anything else.
    """
    if not words:
        return None
    if len(words) != 2 or words[0] != "key":
        raise Refused("Optional argument only supports \"key\" <key>")
    return words[1]


def showTable(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show table [<pool> [key <key>]]}: which clients the persistence of a pool knows."""
    balancer = asked.balancer
    if not words:
        return _tables(balancer)
    chain = tableNamed(balancer, words[0])
    wanted = keyOf(words[1:])
    labels = [kind.keyFor(b"") for kind in _keyed(chain)]
    now = balancer.deadlines.seconds()
    entries: list[dict[str, Any]] = [
        {"key": _shownKey(key, labels), "server": name, "expires": round(max(until - now, 0.0), 3)}
        for key, name, until in islice(entriesOf(chain, wanted), MOST_ENTRIES)
    ]
    lines = [_tableLine(words[0], chain.store)]
    for number, entry in enumerate(entries, 1):
        lines.append(
            f"{number:#x}: key={_escaped(entry['key'])} use=0 exp={round(entry['expires'] * 1000)}"
            f" server={entry['server']}\n"
        )
    return Answer("".join(lines), entries)


def _tables(balancer: LoadBalancer) -> Answer:
    lines, values = [], []
    for name, pool in balancer.pools.items():
        if pool.persistence is not None and pool.persistence.store is not None:
            lines.append(_tableLine(name, pool.persistence.store))
            values.append({"table": name, "used": pool.persistence.store.size})
    return Answer("".join(lines), values)


def _tableLine(name: str, store: Any) -> str:
    return (
        f"# table: {name}, type: string, size:{getattr(store, 'most', 0)}, used:{store.size}\n"
    )


def _escaped(text: str) -> str:
    """@return: text of a client that ends where the next field begins, as HAProxy has it."""
    return "".join(f"\\{one}" if one in " =\\" else one for one in text)


# what has happened


def showFailures(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show failures [<frontend>|<pool>]}: the last exchanges that failed, and why."""
    balancer = asked.balancer
    if words and words[0] not in balancer.frontends and words[0] not in balancer.pools:
        raise Refused("No such proxy.")
    offset = balancer.wallclock() - balancer.deadlines.seconds()
    found = [
        failed
        for frontend in balancer.frontends.values()
        for failed in frontend.inbound.traffic.failures.recent
        if not words or words[0] in (failed.frontend, failed.pool)
    ]
    found.sort(key=lambda one: one.at)
    now = stamp(balancer.wallclock())
    lines = [f"Total failures remembered on [{now}] : {len(found)}\n"]
    for one in found:
        host, port = one.client
        request = f' "{plain(one.request)}"' if one.request else ""
        lines.append(
            f"[{stamp(one.at + offset)}] {host}:{port} {one.frontend}"
            f" {one.pool or '<NOPOOL>'}/{one.server or '<NOSRV>'} {one.cause}{one.stage}"
            f" {one.status or -1}{request}: {plain(one.reason or one.rule) or '-'}\n"
        )
    values = [attr.asdict(attr.evolve(one, at=round(one.at + offset, 3))) for one in found]
    return Answer("".join(lines), values)


def showEvents(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show events [<pool>|<pool>/<server>]}: what has happened to servers lately."""
    wanted = words[0] if words else ""
    found = [
        event
        for event in asked.balancer.recently.events
        if wanted in ("", event.pool, f"{event.pool}/{event.server}")
    ]
    text = "".join(f"[{stamp(event.at)}] {event.text}\n" for event in found)
    values = [
        {
            "at": round(event.at, 3), "pool": event.pool, "server": event.server,
            "what": event.what, "before": event.before, "after": event.after,
            "reason": event.reason, "text": event.text,
        }
        for event in found
    ]  # fmt: skip
    return Answer(text, values)


def stamp(seconds: float) -> str:
    """@return: a time as HAProxy writes it, in local time: C{21/Nov/2026:18:21:34.200}."""
    local = datetime.fromtimestamp(seconds)
    return f"{local:%d/%b/%Y:%H:%M:%S}.{local.microsecond // 1000:03}"


VERBS = (
    Verb(
        "show servers state [<pool>]", "state, weight and address of each server", Level.USER,
        showServersState,
    ),
    Verb(
        "show servers conn [<pool>]", "connections to each server, used and idle", Level.USER,
        showServersConn,
    ),
    Verb(
        "show sess [<id>|all]", "connections of clients, or all that is known of one",
        Level.OPERATOR, showSess,
    ),
    Verb(
        "show table [<pool> [key <key>]]", "clients that the persistence of a pool knows",
        Level.OPERATOR, showTable,
    ),
    Verb(
        "show failures [<frontend>|<pool>]", "the last exchanges that failed, and why",
        Level.OPERATOR, showFailures,
    ),
    Verb(
        "show events [<pool>|<pool>/<server>]", "what has happened to servers lately",
        Level.USER, showEvents,
    ),
)  # fmt: skip
