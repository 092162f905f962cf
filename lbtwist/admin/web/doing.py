"""
What the operations of the API do, each given a L{Call}: it gives a value of the shape that is
named, see L{lbtwist.admin.web.shapes}, or raises L{Problem}. Which of them is at which path, and
who may, is said by L{lbtwist.admin.web.api}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import attr

from lbtwist.admin.certifying import certificateNamed
from lbtwist.admin.history import PERIOD
from lbtwist.admin.mapping import ACL, MAP, fileNamed
from lbtwist.admin.rows import OF_ONE_PIECE
from lbtwist.admin.sessions import Running, allRunning
from lbtwist.admin.showing import infoOf
from lbtwist.admin.verbs import Refused
from lbtwist.admin.web.access import Identity
from lbtwist.admin.web.answers import JSON, NOTHING, Problem, Reply, encoded
from lbtwist.admin.web.calls import Call
from lbtwist.admin.web.tokens import OPERATE, SCOPES
from lbtwist.explaining import asking, explain
from lbtwist.explaining.blame import KINDS, causeOf, kindOf
from lbtwist.explaining.words import asText
from lbtwist.pool import Pool
from lbtwist.service import Frontend

# who asks


def whoami(call: Call) -> Any:
    """@return: C{Who}."""
    return _who(call, call.who)


def _who(call: Call, who: Identity) -> dict[str, Any]:
    now = call.readings.balancer.deadlines.seconds()
    return {
        "name": who.name, "scopes": [one for one in SCOPES if one in who.scopes],
        "tokens": call.parts.access.tokens is not None, "by": who.by,
        "expires": None if who.expires is None else round(who.expires - now, 3),
    }  # fmt: skip


def login(call: Call) -> Any:
    """Let somebody in; the cookie is among the fields of the answer."""
    return _who(call, call.parts.access.login(call.body["token"], call.request))


def logout(call: Call) -> Reply:
    """Forget who it is."""
    call.parts.access.logout(call.request)
    return NOTHING


# what there is


def info(call: Call) -> Any:
    """@return: C{Info}."""
    balancer = call.readings.balancer
    info: Mapping[str, Any] = infoOf(balancer)
    return {
        "version": info["Version"], "uptime": info["Uptime_sec"],
        "startedAt": info["Start_time_sec"], "now": round(balancer.wallclock(), 3),
        "pid": os.getpid(), "node": info["node"], "connections": info["CurrConns"],
        "maxconn": info["Maxconn"], "accepted": info["CumConns"], "requests": info["CumReq"],
        "rate": info["ConnRate"], "mostRate": info["MaxConnRate"],
        "draining": bool(info["Stopping"]), "droppedLines": balancer.droppedLines,
        "bytesOut": info["TotalBytesOut"], "listeners": info["Listeners"],
    }  # fmt: skip


def frontends(call: Call) -> Any:
    """@return: C{Frontends}."""
    readings = call.readings
    found = readings.balancer.frontends.values()
    return {"frontends": [readings.frontend(one) for one in found]}


def frontend(call: Call) -> Any:
    """@return: C{Frontend}."""
    return call.readings.frontend(call.frontend())


def pools(call: Call) -> Any:
    """@return: C{Pools}."""
    readings = call.readings
    return {"pools": [readings.pool(one) for one in readings.balancer.pools.values()]}


async def pool(call: Call) -> Any:
    """@return: C{PoolWithServers}."""
    pool = call.pool()
    members = []
    for number_, server in enumerate(list(pool.servers), 1):
        members.append(call.readings.server(pool, server))
        if not number_ % OF_ONE_PIECE:
            await call.turn()
    return {**call.readings.pool(pool), "members": members}


async def server(call: Call) -> Any:
    """@return: C{ServerWithChecks}."""
    pool, server = call.server()
    events = await call.value("show", "events", f"{pool.name}/{server.name}")
    return {
        **call.readings.server(pool, server), "checks": call.readings.checks(server),
        "events": events,
    }  # fmt: skip


async def happened(call: Call) -> Any:
    """@return: C{Events}."""
    return {"events": call.newest(await call.value("show", "events"))}


def failures(call: Call) -> Any:
    """@return: C{Failures}."""
    balancer = call.readings.balancer
    offset = balancer.wallclock() - balancer.deadlines.seconds()
    failed = [
        one
        for frontend in balancer.frontends.values()
        for one in frontend.inbound.traffic.failures.recent
    ]
    failed.sort(key=lambda one: one.at)
    found: list[dict[str, Any]] = [
        {
            **attr.asdict(one), "client": list(one.client), "at": round(one.at + offset, 3),
            "kind": kindOf(one), "text": causeOf(one), "advice": KINDS[kindOf(one)].advice,
        }
        for one in failed
    ]  # fmt: skip
    for name in ("frontend", "pool"):
        if name in call.query:
            found = [one for one in found if one[name] == call.query[name]]
    found = call.newest(found)
    if OPERATE not in call.who.scopes:
        # What stands there may be somebody's secret.
        found = [{**one, "request": one["request"].partition("?")[0]} for one in found]
    return {"failures": found}


async def history(call: Call) -> Reply:
    """@return: C{History}."""
    history, balancer = call.readings.history, call.readings.balancer
    frontends, pools = dict(balancer.frontends), dict(balancer.pools)
    wanted = {name: call.query[name] for name in ("frontend", "pool") if name in call.query}
    if wanted:
        frontends = {n: one for n, one in frontends.items() if n == wanted.get("frontend")}
        pools = {n: one for n, one in pools.items() if n == wanted.get("pool")}
        if len(frontends) + len(pools) != len(wanted):
            raise Problem(404, f"there is no {' or '.join(wanted)} of this name")
    # Many thousands of numbers, which are written one frontend or pool at a time.
    times, end = history.times, history.end
    parts = [f'{{"period":{PERIOD},"at":'.encode(), encoded(times)]
    wholes: dict[str, Mapping[str, Frontend | Pool]] = {"frontends": frontends, "pools": pools}
    for kind, ones in wholes.items():
        parts.append(f',"{kind}":{{'.encode())
        for at, (name, one) in enumerate(ones.items()):
            series = encoded(history.of(one, end, len(times)))
            parts += [b"," if at else b"", encoded(name), b":", series]
            await call.turn()
        parts.append(b"}")
    return Reply(b"".join([*parts, b"}\n"]), JSON)


def events(call: Call) -> Any:
    """Begin to tell of them."""
    access = call.parts.access
    call.parts.streams.add(call.request, lambda: access.still(call.who))


async def sessions(call: Call) -> Any:
    """@return: C{Sessions}."""
    limit = call.query["limit"]
    balancer = call.readings.balancer
    found = await _allRunning(call, limit)
    return {
        "sessions": list(map(_shown, found)),
        "total": sum(one.inbound.active for one in balancer.frontends.values()),
    }  # fmt: skip


def _shown(one: Running) -> dict[str, Any]:
    found = attr.asdict(one)
    return {"id": found.pop("number"), **found, "age": round(one.age, 3)}


async def _allRunning(call: Call, most: int | None = None) -> list[Running]:
    try:
        return await allRunning(call.readings.balancer, most)
    except Refused as refused:
        raise Problem(503, str(refused)) from None


async def session(call: Call) -> Any:
    """@return: C{Session}."""
    return _shown(await _runningOf(call))


async def _runningOf(call: Call) -> Running:
    said = call.path["id"]
    wanted = int(said) if said.isascii() and said.isdecimal() and len(said) < 16 else 0
    for one in await _allRunning(call):
        if one.number == wanted:
            return one
    raise Problem(404, "there is no such session")


async def endSession(call: Call) -> Reply:
    """End one."""
    await call.command("shutdown", "session", f"{(await _runningOf(call)).number:#x}")
    return NOTHING


async def tables(call: Call) -> Any:
    """@return: C{Tables}."""
    found = await call.value("show", "table")
    return {"tables": [{"pool": one["table"], "used": one["used"]} for one in found]}


def _tableOf(call: Call) -> list[str]:
    """@return: the words that name it."""
    pool = call.pool()
    if pool.persistence is None or pool.persistence.store is None:
        raise Problem(404, "this pool has no table")
    return [pool.name, *(("key", call.query["key"]) if "key" in call.query else ())]


async def table(call: Call) -> Any:
    """@return: C{Entries}."""
    found = await call.value("show", "table", *_tableOf(call))
    return {"entries": found[: call.query["limit"]]}


async def config(call: Call) -> Any:
    """@return: C{Config}."""
    return await call.value("show", "config")


def certificateIn(call: Call) -> None:
    """@raise Problem: if none is called so."""
    try:
        certificateNamed(call.readings.balancer, call.path["certificate"])
    except Refused as refused:
        raise Problem(404, str(refused)) from None


def mapIn(call: Call) -> Mapping[str, str]:
    """
    @return: what a map says.
    @raise Problem: if none is called so.
    """
    return _fileIn(call, MAP)


def listIn(call: Call) -> Mapping[str, str]:
    """The same of a list, whose values are empty."""
    return _fileIn(call, ACL)


def _fileIn(call: Call, what: str) -> Mapping[str, str]:
    name = call.path["map" if what == MAP else "list"]
    try:
        return fileNamed(call.readings.balancer, name, what).values(what == MAP)
    except Refused as refused:
        raise Problem(404, str(refused)) from None


def mapped(call: Call) -> Any:
    """@return: C{Map}."""
    values = mapIn(call)
    shown = dict(islice(values.items(), call.query["limit"]))
    return {"entries": shown, "total": len(values)}


def listed(call: Call) -> Any:
    """@return: C{List}."""
    values = listIn(call)
    return {"entries": list(islice(values, call.query["limit"])), "total": len(values)}


def mapEntry(call: Call) -> Any:
    """@return: C{Entry}."""
    return _entryIn(call, mapIn(call))


def listEntry(call: Call) -> Any:
    """@return: C{Entry}."""
    return _entryIn(call, listIn(call))


def _entryIn(call: Call, values: Mapping[str, str]) -> dict[str, str]:
    key = call.path["key"]
    if key not in values:
        raise Problem(404, "there is no such entry")
    return {"key": key, "value": values[key]}


async def clearTable(call: Call) -> Reply:
    """Forget what is in one."""
    await call.command("clear", "table", *_tableOf(call))
    return NOTHING


def certificates(call: Call) -> Any:
    """@return: C{Certificates}."""
    balancer = call.readings.balancer
    names: dict[str, list[str]] = {}
    for section in map(balancer.tls, balancer.config.tls):
        for one in section.certificates if section is not None else ():
            names[one.path] = list(one.names)
    return {
        "certificates": [
            {"file": path, "names": names.get(path, []), "notAfter": at.timestamp()}
            for path, at in balancer.notAfter.items()
        ]
    }


def explained(call: Call) -> Any:
    """@return: C{Explanation}."""
    said = call.body
    try:
        asked = asking(
            said["request"], said.get("src", "127.0.0.1"), said.get("sni"), said.get("alpn", ""),
            [(name, value) for name, value in said.get("fields", ())], said.get("proxied", ""),
        )
        found = explain(call.readings.balancer, asked, said.get("frontend", ""))
    except (ValueError, LookupError) as error:
        raise Problem(422, str(error.args[0])) from None
    return {"steps": found.steps, "action": attr.asdict(found.action), "text": asText(found)}


# what is changed


async def putEntry(call: Call) -> Any:
    """@return: C{Entry}."""
    name, key = call.path["map"], call.path["key"]
    if key.split() != [key]:
        raise Problem(422, "the key of a map has no white space")
    words = ("set", "map") if key in mapIn(call) else ("add", "map")
    await call.command(*words, name, key, call.body["value"])
    return mapEntry(call)


def setting(name: str, *more: str) -> Callable[[Call], Any]:
    """
    @param name: of the setting of C{set server}, and of what is in the body.
    @param more: what may follow, likewise.
    """

    async def run(call: Call) -> Any:
        pool, server = call.server()
        words = [_VERB.get(name, name), str(call.body[name])]
        for one in more:
            words += [one, str(call.body[one])] if one in call.body else []
        await call.command("set", "server", f"{pool.name}/{server.name}", *words)
        return call.readings.server(pool, server)

    return run


_VERB = {"address": "addr"}


def drained(call: Call) -> Any:
    """@return: C{Drain}."""
    return call.readings.drain(*call.server())


def inState(state: str) -> Callable[[Call], Any]:
    """@return: what puts a server into a state, and gives C{Drain}."""

    async def run(call: Call) -> Any:
        pool, server = call.server()
        await call.command("set", "server", f"{pool.name}/{server.name}", "state", state)
        return call.readings.drain(pool, server)

    return run
