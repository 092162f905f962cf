"""
Why exchanges failed: groups of those that failed alike, in words, with what went on at the
servers then and what can be done about it.

It judges what was remembered (L{lbtwist.failures}) and nothing else: pure functions of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import attr

from lbtwist.events import HealthEvent
from lbtwist.exchange import Cause, Stage
from lbtwist.failures import Failed, Sum

AROUND = 60.0
"""Seconds before the first of a group in which what happened to servers may have led to it."""

MOST_EVENTS = 20
"""So many of those events are shown with a group, the last ones."""


@attr.frozen
class Kind:
    """
    @ivar says: a sentence over C{pool}, C{rule}, C{server} and C{reason}, of which a group has
        those that it needs.
    @ivar advice: what to do.
    """

    says: str
    advice: str


KINDS: Mapping[str, Kind] = {
    "no-server": Kind(
        "no server of {pool} was usable",
        "Mend or start its servers; a server with backup, or panic-threshold, would have"
        " answered meanwhile.",
    ),
    "no-role": Kind(
        "no usable server of {pool} had the role that {rule} asks for",
        "See which roles the servers have (show servers state), and who should have had it.",
    ),
    "no-pool": Kind(
        "there was no pool for the request",
        "Give the frontend pool = NAME, or end its rules with one that always decides.",
    ),
    "queue-full": Kind(
        "the queue of {pool} was full",
        "More servers, or more of maxconn on each, serve more; maxqueue lets more of them wait.",
    ),
    "queue-timeout": Kind(
        "no server of {pool} had a free slot in time",
        "The servers are too slow or too few for what comes: add some, raise their maxconn if"
        " they can bear it, or let clients wait longer with timeout-queue.",
    ),
    "connect": Kind(
        "{server} could not be connected to",
        "Is the program there running, and does a firewall let us through? With a check the"
        " server would be down as long as it is not.",
    ),
    "connect-timeout": Kind(
        "{server} did not take a connection in time",
        "Its machine is away or overloaded, or a firewall drops packets: try with nc; look at"
        " timeout-connect.",
    ),
    "server-closed": Kind(
        "{server} closed the connection before its response",
        "See its own log: it crashed, was restarted, or closes idle connections sooner than"
        " idle-timeout lets go of them.",
    ),
    "server-slow": Kind(
        "{server} sent no response in time",
        "See what it is busy with; if that is meant to take so long, raise timeout-server.",
    ),
    "server-aborted": Kind(
        "{server} broke off in the middle",
        "See its own log: what clients got is not whole.",
    ),
    "server-stalled": Kind(
        "{server} stopped in the middle",
        "See its own log; raise timeout-server (timeout-tunnel in a tunnel) where pauses are"
        " meant.",
    ),
    "response": Kind(
        "{server} sent a response that is not acceptable: {reason}",
        "See the bytes with show errors; mend the program that writes them.",
    ),
    "server-answered": Kind(
        "{server} answered so by itself",
        "It is no fault of the balancer: see the log of the server.",
    ),
    "request": Kind(
        "a client's request was not acceptable: {reason}",
        "See the bytes with show errors: mostly scanners and broken clients. Limits are"
        " max-header-bytes, max-uri and max-body.",
    ),
    "rule": Kind(
        "refused by a rule: {rule}",
        "That is what it is written for; lbtwist explain shows what it sees of a request.",
    ),
    "proxy": Kind(
        "a connection came without a good PROXY header: {reason}",
        "See the bytes with show errors: who sends them must send a header, or come to another"
        " bind; accept-proxy-from says whose are believed.",
    ),
    "tls": Kind(
        "TLS did not come about: {reason}",
        "Mostly scanners, plain HTTP on a TLS port, or clients older than minimum; if it is"
        " everybody, look at the certificate.",
    ),
    "client-left": Kind(
        "the client went away",
        "Ordinary in small numbers; if many do while they wait, the servers are too slow.",
    ),
    "client-slow": Kind(
        "the client was silent for too long",
        "Ordinary for unused connections; timeout-request and timeout-client say how long it"
        " may be.",
    ),
    "marked-down": Kind(
        "{server} was marked down, and what ran there was ended",
        "That is what on-marked-down = shutdown-sessions says; the server's events say why it"
        " went down.",
    ),
    "ended": Kind(
        "ended by an administrator, or by the end of the process",
        "Drain a server before it stops, and give the process a grace-period that is long"
        " enough.",
    ),
    "resources": Kind(
        "the balancer ran out of something: {reason}",
        "Sockets: LimitNOFILE and maxconn; ports: more source addresses. lbtwist doctor looks.",
    ),
    "fault": Kind(
        "a fault within the balancer: {reason}",
        "The log of the process has a traceback; of a rule that failed it names the rule.",
    ),
    "many": Kind(
        "in more ways than could be told apart",
        "Ask sooner, or see the access log.",
    ),
}  # fmt: skip
"""The kinds of failure there are, by name."""

_BY_SERVER = {
    (Cause.SERVER, Stage.RESPONSE): "server-closed",
    (Cause.SERVER_TIMEOUT, Stage.RESPONSE): "server-slow",
    (Cause.SERVER_TIMEOUT, Stage.CONNECT): "connect-timeout",
    (Cause.SERVER_TIMEOUT, Stage.QUEUE): "queue-timeout",
    (Cause.SERVER, Stage.QUEUE): "queue-full",
}
_OTHERS = {
    Cause.DONE: "server-answered", Cause.CLIENT: "client-left",
    Cause.CLIENT_TIMEOUT: "client-slow", Cause.DOWN: "marked-down", Cause.KILLED: "ended",
    Cause.RESOURCE: "resources", Cause.INTERNAL: "fault",
}  # fmt: skip


def kindOf(failed: Failed) -> str:
    """@return: one of L{KINDS}."""
    cause, stage = failed.cause, failed.stage
    if cause == Cause.REFUSED:
        return _refusedBy(failed)
    if cause not in (Cause.SERVER, Cause.SERVER_TIMEOUT):
        return _OTHERS.get(cause, "fault")
    known = _BY_SERVER.get((cause, stage))
    if known is not None:
        return known
    if stage == Stage.REQUEST:
        return "no-pool"
    if stage != Stage.CONNECT:
        return "server-aborted" if cause == Cause.SERVER else "server-stalled"
    if failed.reason.startswith("no usable server has the role"):
        return "no-role"
    return "connect" if failed.server or failed.reason else "no-server"


def _refusedBy(failed: Failed) -> str:
    reason = failed.reason
    if reason.startswith("PROXY:"):
        return "proxy"
    if reason.startswith("TLS:"):
        return "tls"
    if failed.rule and not (reason and failed.status):
        return "rule"
    # Of what has begun to be passed on, it is nearly always the rest of it.
    if failed.status == 502 or (failed.stage == Stage.DATA and failed.status < 400):
        return "response"
    return "request"


@attr.frozen
class ServerThen:
    """
    A server while a group failed.

    @ivar state: what L{lbtwist.events.stateOf} said of it at the end.
    @ivar reason: why; C{""} where that is not known.
    @ivar since: since when, in seconds since the epoch; L{None} where that is not known.
    """

    name: str
    state: str
    reason: str = ""
    since: float | None = None


@attr.define
class Group:
    """
    Exchanges that failed alike. Moments are seconds since the epoch.

    @ivar ends: how many ended so, by the two letters of the log.
    @ivar statuses: how many clients got a status; 0 is none.
    @ivar example: one of them; of kind C{many} it is none.
    @ivar unusable: from when to when no server of the pool could be used, as far as that is
        known.
    @ivar then: the servers of the pool.
    @ivar events: what happened to them.
    """

    kind: str
    text: str
    pool: str
    rule: str
    example: Failed
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    ends: Counter[str] = attr.field(factory=Counter)
    statuses: Counter[int] = attr.field(factory=Counter)
    frontends: Counter[str] = attr.field(factory=Counter)
    servers: Counter[str] = attr.field(factory=Counter)
    unusable: list[tuple[float, float]] = attr.field(factory=list)
    then: list[ServerThen] = attr.field(factory=list)
    events: list[HealthEvent] = attr.field(factory=list)

    @property
    def advice(self) -> str:
        return KINDS[self.kind].advice

    def add(self, one: Sum, offset: float) -> None:
        failed = one.example
        if not self.count:
            self.first = one.first + offset
        self.count += one.count
        self.first = min(self.first, one.first + offset)
        self.last = max(self.last, one.last + offset)
        self.ends[failed.cause + failed.stage] += one.count
        self.statuses[failed.status] += one.count
        self.frontends[failed.frontend] += one.count
        if failed.server:
            self.servers[f"{failed.pool}/{failed.server}"] += one.count


def groupsOf(
    sums: Iterable[Sum], events: Sequence[HealthEvent],
    servers: Callable[[str], Iterable[ServerThen]], offset: float = 0.0,
) -> list[Group]:  # fmt: skip
    """
    @param events: what has happened to servers, the oldest first.
    @param servers: given a pool's name, how its servers are now.
    @param offset: from the clock to seconds since the epoch.
    @return: the groups, the largest first.
    """
    groups: dict[tuple[str, ...], Group] = {}
    for one in sums:
        failed = one.example
        kind = kindOf(failed) if one.whole else "many"
        key = pool, _, rule, _ = _whatCounts(kind, failed)
        group = groups.get((kind, *key))
        if group is None:
            group = groups[(kind, *key)] = Group(kind, _said(kind, *key), pool, rule, failed)
        group.add(one, offset)
    found = sorted(groups.values(), key=lambda one: (-one.count, -one.last))
    for group in found:
        _lookAround(group, events, servers)
    return found


def causeOf(failed: Failed) -> str:
    """@return: why one exchange failed, in words."""
    kind = kindOf(failed)
    return _said(kind, *_whatCounts(kind, failed))


def _whatCounts(kind: str, failed: Failed) -> tuple[str, str, str, str]:
    """@return: pool, server, rule and reason, each as far as its kind needs it."""
    says = KINDS[kind].says
    pool = "" if kind in _NOT_OF_A_POOL else failed.pool
    server = f"{failed.pool}/{failed.server}" if failed.server else _aServerOf(failed.pool)
    rule = f"{failed.where} {failed.rule}".strip() if "{rule}" in says else ""
    reason = failed.reason if "{reason}" in says else ""
    return pool, server if "{server}" in says else "", rule, reason


def _said(kind: str, pool: str, server: str, rule: str, reason: str) -> str:
    return KINDS[kind].says.format(
        pool=pool or "a pool", rule=rule or "a rule", server=server,
        reason=reason or "it is not known why",
    )  # fmt: skip


_NOT_OF_A_POOL = frozenset(("request", "rule", "proxy", "tls", "no-pool", "client-slow"))
_OF_THE_SERVERS = frozenset(
    ("no-server", "no-role", "queue-full", "queue-timeout", "connect", "connect-timeout",
     "server-closed", "server-slow", "server-aborted", "server-stalled", "marked-down")
)  # fmt: skip


def _aServerOf(pool: str) -> str:
    return f"a server of {pool}" if pool else "a server"


def _lookAround(
    group: Group, events: Sequence[HealthEvent], servers: Callable[[str], Iterable[ServerThen]]
) -> None:
    """Find what happened to the servers of a group's pool meanwhile."""
    if not group.pool or group.kind not in _OF_THE_SERVERS:
        return
    theirs = [event for event in events if event.pool == group.pool]
    group.then = [_then(now, theirs, group.last) for now in servers(group.pool)]
    begin = group.first - AROUND
    group.events = [one for one in theirs if begin <= one.at <= group.last][-MOST_EVENTS:]
    if group.kind == "no-server":
        group.unusable = _unusable(theirs, group.first, group.last)


def _then(now: ServerThen, events: Sequence[HealthEvent], at: float) -> ServerThen:
    mine = [event for event in events if event.server == now.name]
    before = [event for event in mine if event.at <= at]
    if before:
        last = before[-1]
        return ServerThen(now.name, last.after, last.reason, last.at)
    if mine:
        return ServerThen(now.name, mine[0].before or "absent")
    return now


def _unusable(
    events: Sequence[HealthEvent], first: float, last: float
) -> list[tuple[float, float]]:
    """@return: when none could be used, of what overlaps with a time."""
    spans: list[tuple[float, float]] = []
    begin: float | None = None
    for event in events:
        if event.active + event.backup:
            if begin is not None:
                spans.append((begin, event.at))
            begin = None
        elif begin is None:
            begin = event.at
    if begin is not None:
        spans.append((begin, max(last, begin)))
    return [one for one in spans if one[0] <= last and one[1] >= first]
