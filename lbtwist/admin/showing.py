"""
The verbs that show numbers: C{show stat}, C{show info}, C{show version}, C{show backend}, in
the forms that HAProxy has for them (its management guide, 9.1 to 9.3).
"""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import attr

from lbtwist import __version__
from lbtwist.admin.columns import COLUMNS, Column
from lbtwist.admin.rows import FRONTEND, POOL, SERVER, Row, rowsOf
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Verb
from lbtwist.net.splice import pipes
from lbtwist.service import LoadBalancer

RELEASED = "unreleased"
"""When this version was made, as the list of changes has it."""

_LETTERS = {FRONTEND: "F", POOL: "B", SERVER: "S"}
_OBJECTS = {FRONTEND: "Frontend", POOL: "Backend", SERVER: "Server"}
_BITS = {FRONTEND: 1, POOL: 2, SERVER: 4}


def showStat(asked: Asked, words: Sequence[str]) -> Answer:
    """
    C{show stat [<iid>|<name> <type> <sid>] [typed|json] [up|no-maint]}: rows of everything, or
    of one proxy, of some types and of one server; -1 is all. Words that are none of these are
    ignored, as HAProxy does.
    """
    rows = _chosen(rowsOf(asked.balancer), words)
    if "json" in words:
        # HAProxy's form, and ours is for programs that do not come from there.
        return Answer(listed(rows), lambda: list(map(attr.asdict, rows)))
    text = typed(rows) if "typed" in words else csv(rows)
    return Answer(text, lambda: list(map(attr.asdict, rows)))


def _chosen(rows: Iterable[Row], words: Sequence[str]) -> list[Row]:
    found = list(rows)
    if len(words) > 2 and all(_isNumber(word) for word in words[1:3]):
        proxy, types, sid = words[0], int(words[1]), int(words[2])
        if _isNumber(proxy):
            if int(proxy) >= 0:
                found = [row for row in found if row.values["iid"] == int(proxy)]
        else:
            found = [row for row in found if row.proxy == proxy]
            if not found:
                raise Refused("No such proxy.")
        found = [row for row in found if types < 0 or types & _BITS[row.kind]]
        if sid >= 0:
            found = [row for row in found if row.values["sid"] == sid]
    if "up" in words:
        found = [row for row in found if row.state not in ("DOWN", "MAINT", "LEAVING", "STOP")]
    if "no-maint" in words:
        found = [row for row in found if row.state != "MAINT"]
    return found


def _isNumber(word: str) -> bool:
    return len(word) < 10 and word.removeprefix("-").isdecimal() and word.isascii()


def csv(rows: Iterable[Row]) -> str:
    """@return: a header and a line for each row; a comma ends each field, the last one too."""
    lines = [f"# {','.join(COLUMNS)},"]
    for row in rows:
        values = row.values
        lines.append("".join(f"{_quoted(values.get(name, ''))}," for name in COLUMNS))
    return "\n".join(lines) + "\n"


def _quoted(value: int | str) -> str:
    """@return: a value of a CSV (RFC 4180 section 2)."""
    text = str(value)
    if "," in text or '"' in text:
        text = '"' + text.replace('"', '""') + '"'
    return text


def _fields(row: Row) -> Iterable[tuple[Column, int | str]]:
    for name, column in COLUMNS.items():
        if name in row.values:
            yield column, row.values[name]


def typed(rows: Iterable[Row]) -> str:
    """@return: a line for each value, with what it is."""
    lines = []
    for row in rows:
        first = f"{_LETTERS[row.kind]}.{row.values['iid']}.{row.values['sid']}"
        for column, value in _fields(row):
            lines.append(
                f"{first}.{column.position}.{column.name}.1:{column.tag}:{column.type}:{value}\n"
            )
    return "".join(lines)


def listed(rows: Iterable[Row]) -> str:
    """@return: a list for each row of what stands in it, in HAProxy's form of JSON."""
    return f"[{','.join(map(_listed, rows))}]\n"


def _listed(row: Row) -> str:
    values = row.values
    first = f'"objType":"{_OBJECTS[row.kind]}","proxyId":{values["iid"]},"id":{values["sid"]}'
    found = ",".join(
        f"{{{first},{_BEGINNINGS[column.name]}{json.dumps(value)}}}}}"
        for column, value in _fields(row)
    )
    return f"[{found}]"


def _described(column: Column, value: int | str) -> dict[str, Any]:
    return {
        "field": {"pos": column.position, "name": column.name}, "processNum": 1,
        "tags": column.tags, "value": {"type": column.type, "value": value},
    }  # fmt: skip


# Of a thousand servers there are 8 MB, of which almost all is the same in each.
_BEGINNINGS = {
    name: json.dumps(_described(column, 0), separators=(",", ":"))[1:].removesuffix("0}}")
    for name, column in COLUMNS.items()
}


# the process

_INFO = {
    name: Column(position, name, tag, kind)
    for position, name, tag, kind in (
        (0, "Name", "POS", "str"), (1, "Version", "POS", "str"),
        (2, "Release_date", "POS", "str"), (3, "Nbthread", "CGS", "u32"),
        (4, "Nbproc", "CGS", "u32"), (5, "Process_num", "KGP", "u32"), (6, "Pid", "SGP", "u32"),
        (7, "Uptime", "MDP", "str"), (8, "Uptime_sec", "MDP", "u32"),
        (13, "Ulimit-n", "CLP", "u32"), (14, "Maxsock", "CLP", "u32"),
        (15, "Maxconn", "CLP", "u32"), (16, "Hard_maxconn", "CLP", "u32"),
        (17, "CurrConns", "MGP", "u32"), (18, "CumConns", "MCP", "u32"),
        (19, "CumReq", "MCP", "u32"), (22, "CumSslConns", "MCP", "u32"),
        (23, "Maxpipes", "CLP", "u32"), (24, "PipesUsed", "MGP", "u32"),
        (25, "PipesFree", "MGP", "u32"),
        (26, "ConnRate", "MRP", "u32"), (28, "MaxConnRate", "MMP", "u32"),
        (29, "SessRate", "MRP", "u32"), (31, "MaxSessRate", "MRP", "u32"),
        (47, "Tasks", "MGP", "u32"), (48, "Run_queue", "MGP", "u32"),
        (50, "node", "COS", "str"), (51, "description", "COS", "str"),
        (52, "Stopping", "MGP", "u32"), (53, "Jobs", "MGP", "u32"),
        (55, "Listeners", "MGP", "u32"), (58, "DroppedLogs", "MCP", "u32"),
        (61, "TotalBytesOut", "MGP", "u64"),
        (70, "Start_time_sec", "MDP", "u32"),
    )
}  # fmt: skip
"""What C{show info} says, with HAProxy's positions and tags."""


def infoOf(balancer: LoadBalancer) -> dict[str, int | str]:
    """@return: what is known of the process, by the names of HAProxy that fit."""
    process, course = balancer.process, balancer.looking.process
    uptime = int(balancer.deadlines.seconds() - balancer.startedAt)
    days, seconds = divmod(uptime, 86400)
    inbounds = [frontend.inbound for frontend in balancer.frontends.values()]
    used, spare = pipes()
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {
        # Programs refuse to read what is not called so; what it is stands in the description.
        "Name": "HAProxy", "Version": __version__, "Release_date": RELEASED, "Nbthread": 1,
        "Nbproc": 1,
        "Process_num": 1, "Pid": os.getpid(),
        "Uptime": f"{days}d {seconds // 3600}h{seconds // 60 % 60:02}m{seconds % 60:02}s",
        "Uptime_sec": uptime, "Ulimit-n": descriptors, "Maxsock": descriptors,
        "Maxconn": process.maxconn, "Hard_maxconn": process.maxconn,
        "CurrConns": process.active, "CumConns": process.accepted,
        "CumReq": sum(inbound.traffic.exchanges for inbound in inbounds),
        "CumSslConns": sum(inbound.traffic.handshakes for inbound in inbounds),
        "Maxpipes": used + spare, "PipesUsed": used, "PipesFree": spare,
        "ConnRate": course.rate, "MaxConnRate": course.mostRate,
        "SessRate": course.rate, "MaxSessRate": course.mostRate,
        "Tasks": len(balancer.reactor.getDelayedCalls()), "Run_queue": 0,
        "node": socket.gethostname(), "description": "lbtwist",
        "Stopping": int(any(one.draining for one in inbounds)),
        "Jobs": process.active + sum(len(inbound.listeners) for inbound in inbounds),
        "Listeners": sum(len(inbound.listeners) for inbound in inbounds),
        "DroppedLogs": balancer.droppedLines,
        "TotalBytesOut": sum(inbound.traffic.bytesOut for inbound in inbounds),
        "Start_time_sec": int(balancer.wallclock()) - uptime,
    }  # fmt: skip


def showInfo(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show info [json|typed]}: the process as a whole."""
    values = infoOf(asked.balancer)
    if "json" in words:
        shown = [_described(_INFO[name], value) for name, value in values.items()]
        return Answer.json(shown, values)
    if "typed" in words:
        columns = [(_INFO[name], value) for name, value in values.items()]
        text = "".join(
            f"{column.position}.{column.name}.1:{column.tag}:{column.type}:{value}\n"
            for column, value in columns
        )
    else:
        text = "".join(f"{name}: {value}\n" for name, value in values.items())
    return Answer(text, values)


def showVersion(asked: Asked, words: Sequence[str]) -> Answer:
    return Answer(f"{__version__}\n", {"version": __version__})


def showBackend(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show backend}: the names of the pools."""
    names = list(asked.balancer.pools)
    return Answer("\n".join(["# name", *names, ""]), names)


VERBS = (
    Verb(
        "show stat [<name> <type> <sid>] [json|typed] [up|no-maint]",
        "counters of each frontend, pool and server", Level.USER, showStat,
    ),
    Verb("show info [json|typed]", "what is known of the process", Level.USER, showInfo),
    Verb("show version", "the version of lbtwist", Level.USER, showVersion),
    Verb("show backend", "the names of the pools", Level.USER, showBackend),
)  # fmt: skip
