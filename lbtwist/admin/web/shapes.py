"""
What values of the API look like, as JSON Schema (draft 2020-12, of which OpenAPI 3.1 is made),
and whether one does: of the few words that are used here, and of bodies that strangers send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbtwist.admin.history import NAMES
from lbtwist.admin.rows import CLASSES, FRONTEND_STATES, POOL_STATES, SERVER_STATES

Shape = Mapping[str, Any]

LONGEST_TEXT = 2048
"""Characters of a text in a body."""

LONGEST_LINES = 120_000
"""The same, of one that is a configuration or a certificate."""

TEXT: Shape = {"type": "string"}
MAYBE_TEXT: Shape = {"type": ["string", "null"]}
COUNT: Shape = {"type": "integer", "minimum": 0}
MAYBE_COUNT: Shape = {"type": ["integer", "null"], "minimum": 0}
NUMBER: Shape = {"type": "number"}
MAYBE_NUMBER: Shape = {"type": ["number", "null"]}
FLAG: Shape = {"type": "boolean"}
ADDRESS: Shape = {
    "type": "array", "prefixItems": [TEXT, COUNT], "items": False, "minItems": 2, "maxItems": 2,
}  # fmt: skip
ANY_OBJECT: Shape = {"type": "object"}


def ref(name: str) -> Shape:
    """@return: one of L{SHAPES}."""
    return {"$ref": f"#/components/schemas/{name}"}


def listOf(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def mapOf(shape: Shape) -> Shape:
    return {"type": "object", "additionalProperties": shape}


def maybe(shape: Shape) -> Shape:
    return {"oneOf": [shape, {"type": "null"}]}


def word(*words: str) -> Shape:
    return {"type": "string", "enum": list(words)}


def obj(more: Mapping[str, Shape] | None = None, /, **shapes: Shape) -> Shape:
    """
    @param more: what may be absent.
    @return: an object with these and no others.
    """
    return {
        "type": "object", "properties": {**shapes, **(more or {})}, "required": list(shapes),
        "additionalProperties": False,
    }  # fmt: skip


def text(longest: int = LONGEST_TEXT, shortest: int = 0) -> Shape:
    """@return: a text of a body."""
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def number(least: int, most: int) -> Shape:
    return {"type": "integer", "minimum": least, "maximum": most}


_RESPONSES = obj(**dict.fromkeys(CLASSES, COUNT))
_COMMON = {
    "active": COUNT, "mostActive": COUNT, "limit": MAYBE_COUNT, "total": COUNT, "rate": COUNT,
    "mostRate": COUNT, "bytesIn": COUNT, "bytesOut": COUNT, "responses": maybe(_RESPONSES),
    "failed": COUNT,
}  # fmt: skip
_BACK = {
    "queued": COUNT, "mostQueued": COUNT, "connectErrors": COUNT, "responseErrors": COUNT,
    "clientAborts": COUNT, "serverAborts": COUNT, "retries": COUNT, "redispatched": COUNT,
    "wentDown": MAYBE_COUNT, "downtime": COUNT, "since": COUNT,
}  # fmt: skip
_LATENCY = maybe(obj(p50=NUMBER, p95=NUMBER, p99=NUMBER))
_LATENCY_WITH_MEAN = maybe(obj(mean=NUMBER, p50=NUMBER, p95=NUMBER, p99=NUMBER))
_POOL: dict[str, Shape] = {
    "name": TEXT, "mode": TEXT, "state": word(*POOL_STATES), "balance": TEXT,
    "persist": listOf(TEXT), "servers": COUNT, "usable": COUNT, "backup": COUNT,
    "queueLimit": MAYBE_COUNT, "weight": COUNT, **_COMMON, **_BACK, "latency": _LATENCY,
}  # fmt: skip
_SERVER: dict[str, Shape] = {
    "pool": TEXT, "name": TEXT, "state": word(*SERVER_STATES), "status": TEXT,
    "admin": word("ready", "drain", "maint"), "address": MAYBE_TEXT, "weight": NUMBER,
    "ownWeight": COUNT, "backup": FLAG, "role": TEXT, "sessions": COUNT, "bound": MAYBE_COUNT,
    "idle": COUNT, **_COMMON, **_BACK, "checking": {"type": ["boolean", "null"]},
    "check": maybe(ref("LastCheck")), "latency": _LATENCY_WITH_MEAN,
}  # fmt: skip

SHAPES: dict[str, Shape] = {
    "Problem": obj({"id": TEXT}, type=TEXT, title=TEXT, status=COUNT, detail=TEXT),
    "Ready": obj(ready=FLAG, draining=FLAG, missing=listOf(TEXT)),
    "Who": obj(
        name=MAYBE_TEXT, scopes=listOf(word("read", "operate", "admin")), tokens=FLAG,
        by=word("token", "cookie", "nobody"), expires=MAYBE_NUMBER,
    ),
    "Info": obj(
        version=TEXT, uptime=COUNT, startedAt=COUNT, now=NUMBER, pid=COUNT, node=TEXT,
        connections=COUNT, maxconn=COUNT, accepted=COUNT, requests=COUNT, rate=COUNT,
        mostRate=COUNT, draining=FLAG, droppedLines=COUNT, bytesOut=COUNT, listeners=COUNT,
    ),
    "Frontend": obj(
        name=TEXT, mode=TEXT, state=word(*FRONTEND_STATES), binds=listOf(TEXT),
        requestRate=MAYBE_COUNT, mostRequestRate=MAYBE_COUNT, requests=MAYBE_COUNT,
        denied=COUNT, requestErrors=COUNT, handshakes=COUNT, handshakesFailed=COUNT,
        latency=_LATENCY, **_COMMON,
    ),
    "Frontends": obj(frontends=listOf(ref("Frontend"))),
    "Pool": obj(**_POOL),
    "Pools": obj(pools=listOf(ref("Pool"))),
    "PoolWithServers": obj(**{**_POOL, "members": listOf(ref("Server"))}),
    "LastCheck": obj(
        status=TEXT, detail=TEXT, health=COUNT, rise=COUNT, fall=COUNT, failures=COUNT
    ),
    "Check": obj(at=NUMBER, passed=FLAG, status=TEXT, detail=TEXT, duration=NUMBER),
    "Server": obj(**_SERVER),
    "ServerWithChecks": obj(
        **_SERVER, checks=listOf(ref("Check")), events=listOf(ref("Event"))
    ),
    "Event": obj(
        at=NUMBER, pool=TEXT, server=TEXT, what=TEXT, before=TEXT, after=TEXT, reason=TEXT,
        text=TEXT,
    ),
    "Events": obj(events=listOf(ref("Event"))),
    "Failure": obj(
        at=NUMBER, number=COUNT, frontend=TEXT, client=ADDRESS, pool=TEXT, server=TEXT,
        cause=TEXT, stage=TEXT, status=COUNT, request=TEXT, rule=TEXT, where=TEXT, reason=TEXT,
        bytesIn=COUNT, bytesOut=COUNT, kind=TEXT, text=TEXT, advice=TEXT,
    ),
    "Failures": obj(failures=listOf(ref("Failure"))),
    "Series": obj(**{name: listOf(MAYBE_NUMBER) for name in NAMES}),
    "History": obj(
        period=NUMBER, at=listOf(NUMBER), frontends=mapOf(ref("Series")),
        pools=mapOf(ref("Series")),
    ),
    "Session": obj(
        id=COUNT, frontend=TEXT, client=ADDRESS, local=ADDRESS, age=NUMBER, pool=TEXT,
        server=TEXT, waitsFor=TEXT, stage=TEXT, request=TEXT, requestId=TEXT, retries=COUNT,
        tls=TEXT,
    ),
    "Sessions": obj(sessions=listOf(ref("Session")), total=COUNT),
    "Tables": obj(tables=listOf(obj(pool=TEXT, used=COUNT))),
    "Entries": obj(entries=listOf(obj(key=TEXT, server=TEXT, expires=NUMBER))),
    "Certificates": obj(
        certificates=listOf(obj(file=TEXT, names=listOf(TEXT), notAfter=NUMBER))
    ),
    "Config": obj(text=TEXT),
    "Map": obj(entries=mapOf(TEXT), total=COUNT),
    "List": obj(entries=listOf(TEXT), total=COUNT),
    "Entry": obj(key=TEXT, value=TEXT),
    "Explanation": obj(steps=listOf(ANY_OBJECT), action=ANY_OBJECT, text=TEXT),
    "Drain": obj(
        pool=TEXT, server=TEXT, state=TEXT, draining=FLAG, sessions=COUNT, bound=MAYBE_COUNT,
        drained=FLAG,
    ),
    "Said": obj(severity=TEXT, text=TEXT, value={}),
}  # fmt: skip
"""All that is answered, by name."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "object": (dict,), "array": (list,), "null": (type(None),),
}  # fmt: skip


def wrong(value: Any, shape: Shape, where: str = "the body") -> str:
    """
    @param shape: of a body: without C{$ref} and C{oneOf}.
    @return: what is wrong with a value, for people; C{""} for nothing.
    """
    if "type" in shape:
        types = [shape["type"]] if isinstance(shape["type"], str) else shape["type"]
        known = tuple(kind for name in types for kind in _TYPES[name])
        if not isinstance(value, known) or (isinstance(value, bool) and bool not in known):
            return f"{where} is not of type {' or '.join(types)}"
    if "enum" in shape and value not in shape["enum"]:
        return f"{where} is none of {', '.join(shape['enum'])}"
    if isinstance(value, (int, float)):
        least, most = shape.get("minimum", value), shape.get("maximum", value)
        return "" if least <= value <= most else f"{where} is not from {least} to {most}"
    if isinstance(value, str):
        return _sized(len(value), shape, "Length", where, "characters")
    if isinstance(value, list):
        problem = _sized(len(value), shape, "Items", where, "items")
        items = shape.get("prefixItems") or [shape.get("items", {})] * len(value)
        for at, (one, kind) in enumerate(zip(value, items, strict=False)):
            problem = problem or wrong(one, kind, f"{where}[{at}]")
        return problem
    if isinstance(value, dict):
        return _members(value, shape, where)
    return ""


def _sized(size: int, shape: Shape, of: str, where: str, what: str) -> str:
    least, most = shape.get(f"min{of}", 0), shape.get(f"max{of}", size)
    return "" if least <= size <= most else f"{where} has not from {least} to {most} {what}"


def _members(value: Mapping[str, Any], shape: Shape, where: str) -> str:
    known = shape.get("properties", {})
    for name in shape.get("required", ()):
        if name not in value:
            return f"{where} has no {name!r}"
    for name, one in value.items():
        if name not in known:
            return f"{where} has {name[:64]!r}, which is not known"
        problem = wrong(one, known[name], f"{where}.{name}")
        if problem:
            return problem
    return ""
