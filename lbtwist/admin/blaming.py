"""
The verb C{why}: what has failed lately, grouped by its cause, in words.

What it judges by is L{lbtwist.explaining.blame}'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attr

from lbtwist.admin.finding import parsed
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Verb
from lbtwist.events import plain, stateOf
from lbtwist.explaining.blame import KINDS, Group, ServerThen, groupsOf, kindOf
from lbtwist.failures import HOUR, Sum
from lbtwist.options import Time
from lbtwist.service import LoadBalancer

_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")
_END = re.compile(r"[-CSPLRIDKcs][-RTQCHDL]?")

Wanted = Callable[[Sum], bool]

SHOWN_EVENTS = 5
"""So many of the events of a group are in its text."""


def why(asked: Asked, words: Sequence[str]) -> Answer:
    """
    C{why [<status>|<end>|<kind>|frontend <name>|pool <name>|server <pool>/<server>] ...
    [last <time>] [json]}; each word makes it fewer.
    """
    balancer = asked.balancer
    wanted, last, asJSON = _read(balancer, words)
    now = balancer.deadlines.seconds()
    offset = balancer.wallclock() - now
    sums = [
        one
        for frontend in balancer.frontends.values()
        for one in frontend.inbound.traffic.failures.since(now - last)
        if all(wants(one) for wants in wanted)
    ]
    groups = groupsOf(
        sums, balancer.recently.events, lambda pool: _serversOf(balancer, pool), offset
    )
    value = {
        "last": last, "count": sum(group.count for group in groups),
        "groups": [_valueOf(group, offset) for group in groups],
    }  # fmt: skip
    return Answer.json(value) if asJSON else Answer(textOf(value), value)


def _read(balancer: LoadBalancer, words: Sequence[str]) -> tuple[list[Wanted], float, bool]:
    """@return: what is wanted, of how many seconds, and whether as JSON."""
    wanted: list[Wanted] = []
    last, asJSON = HOUR, False
    rest = iter(words)
    for word in rest:
        if word == "json":
            asJSON = True
        elif word == "last":
            last = parsed(Time(), _following(rest, word))
            if not 0 < last <= HOUR:
                raise Refused("A time up to 1h is remembered.")
        elif word in ("frontend", "pool", "server"):
            wanted.append(_of(balancer, word, _following(rest, word)))
        elif _STATUS.fullmatch(word):
            wanted.append(lambda one, said=word: _isStatus(one.example.status, said))  # type: ignore[misc]
        elif word in KINDS:
            wanted.append(lambda one, said=word: _kind(one) == said)  # type: ignore[misc]
        elif _END.fullmatch(word):
            wanted.append(
                lambda one, said=word: (one.example.cause + one.example.stage).startswith(said)  # type: ignore[misc]
            )
        else:
            raise Refused(
                f"{plain(word)!r} is no status, no end as in the log, and no kind: write 503, SC,"
                f" {', '.join(KINDS)}; frontend, pool or server with a name; last 5m; json."
            )
    return wanted, last, asJSON


def _following(rest: Iterator[str], word: str) -> str:
    found = next(rest, "")
    if not found:
        raise Refused(f"Something has to follow '{word}'.")
    return found


def _kind(one: Sum) -> str:
    return kindOf(one.example) if one.whole else "many"


def _isStatus(status: int, said: str) -> bool:
    return str(status)[:1] == said[0] if said.endswith("xx") else str(status) == said


def _of(balancer: LoadBalancer, what: str, name: str) -> Wanted:
    if what == "frontend":
        if name not in balancer.frontends:
            raise Refused("No such frontend.")
        return lambda one: one.example.frontend == name
    pool, _, server = name.partition("/")
    if pool not in balancer.pools:
        raise Refused("No such backend.")
    if what == "pool":
        return lambda one: one.example.pool == name
    # A server that is gone may have failed.
    return lambda one: (one.example.pool, one.example.server) == (pool, server)


def _serversOf(balancer: LoadBalancer, pool: str) -> Iterable[ServerThen]:
    running = balancer.pools.get(pool)
    for server in () if running is None else running.servers:
        results = server.health.results
        state = stateOf(server)
        said = ""
        if results and state == "DOWN":
            said = plain(f"{results[-1].status} {results[-1].detail}")
        yield ServerThen(server.name, state, said)


def _valueOf(group: Group, offset: float) -> dict[str, Any]:
    example = group.example
    return {
        "kind": group.kind, "text": group.text, "advice": group.advice, "pool": group.pool,
        "rule": group.rule, "count": group.count, "first": round(group.first, 3),
        "last": round(group.last, 3), "ends": dict(group.ends.most_common()),
        "statuses": {str(status): count for status, count in group.statuses.most_common()},
        "frontends": dict(group.frontends.most_common()),
        "servers": dict(group.servers.most_common()),
        "unusable": [[round(begin, 3), round(end, 3)] for begin, end in group.unusable],
        "then": [attr.asdict(one) for one in group.then],
        "events": [
            {"at": round(event.at, 3), "what": event.what, "server": event.server,
             "text": event.text}
            for event in group.events
        ],
        "example": None if group.kind == "many" else {
            **attr.asdict(example), "at": round(example.at + offset, 3)
        },
    }  # fmt: skip


# the same for people


def textOf(value: Mapping[str, Any]) -> str:
    """@param value: what the verb says to programs."""
    span = _span(value["last"])
    groups = value["groups"]
    if not groups:
        return f"Nothing of that kind has failed in the last {span}.\n"
    lines = [f"{_count(value['count'], 'failure')} in the last {span}:"]
    for group in groups:
        lines += ["", *_lines(group)]
    return "\n".join([*lines, ""])


def _lines(group: Mapping[str, Any]) -> Iterator[str]:
    text = plain(group["text"])
    during = [f"from {_time(begin)} to {_time(end)}" for begin, end in group["unusable"]]
    if during:
        text += " " + ", ".join(during)
    yield f"{group['count']} x {_statuses(group['statuses'])}: {text}"
    by = ", ".join(f"{name} {count}" for name, count in group["frontends"].items())
    yield f"  ended {' '.join(group['ends'])}, {_between(group['first'], group['last'])}; by {by}"
    if group["servers"] and len(group["servers"]) > 1:
        yield "  with: " + ", ".join(f"{n} {c}" for n, c in group["servers"].items())
    if group["then"]:
        yield "  servers then: " + "; ".join(map(_server, group["then"]))
    for event in group["events"][-SHOWN_EVENTS:]:
        yield f"  {_time(event['at'])} {plain(event['text'])}"
    example = group["example"]
    if example is not None:
        host, port = example["client"]
        request = plain(example["request"]) or "no request"
        said = "" if example["reason"] in group["text"] else f": {plain(example['reason'])}"
        yield f"  example: {_time(example['at'])} {host}:{port} {request}{said}"
    yield f"  do: {group['advice']}"


def _server(then: Mapping[str, Any]) -> str:
    since = "" if then["since"] is None else f" since {_time(then['since'])}"
    reason = f" ({plain(then['reason'])})" if then["reason"] else ""
    return f"{then['name']} {then['state']}{since}{reason}"


def _statuses(statuses: Mapping[str, int]) -> str:
    found = [status if status != "0" else "no answer" for status in statuses]
    return ", ".join(found)


def _between(first: float, last: float) -> str:
    if _time(first) == _time(last):
        return f"at {_time(first)}"
    return f"from {_time(first)} to {_time(last)}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%H:%M:%S}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole % 3600 == 0:
        return f"{whole // 3600}h"
    return f"{whole // 60}m" if whole % 60 == 0 else f"{seconds:g}s"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


VERBS = (
    Verb(
        "why [<status>|<end>|<kind>|frontend <name>|pool <name>|server <pool>/<server>] ..."
        " [last <time>] [json]",
        "what has failed lately, by its cause, and what to do", Level.OPERATOR, why,
    ),
)  # fmt: skip
