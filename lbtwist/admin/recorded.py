"""
The verb C{show errors}: bytes that a parser has refused, in HAProxy's form (its management
guide, 9.3), and with a mark where they went wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attr

from lbtwist.admin.listing import stamp
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Verb
from lbtwist.captures import RESPONSE, Capture, Captures
from lbtwist.events import plain
from lbtwist.service import LoadBalancer

WIDTH = 79
"""Characters of a line of bytes, as HAProxy has it."""

_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x1B: "\\e", 0x5C: "\\\\"}
_LETTERS = [_SHORT.get(one, chr(one) if 32 <= one < 127 else f"\\x{one:02X}") for one in range(256)]


def dumped(data: bytes, start: int = 0, position: int = -1) -> Iterator[str]:
    """
    @param start: the number of the first byte.
    @param position: the number of the one that is marked.
    @return: lines, each with the number of its first byte; a C{+} after it says that it goes
        on with the one before.
    """
    end = start + len(data)
    at = start
    begins = True
    while at < end:
        line = f"  {at:05}{' ' if begins else '+'} "
        mark = -1
        begins = False
        while at < end and not begins:
            letter = _LETTERS[data[at - start]]
            if len(line) + len(letter) > WIDTH:
                break
            if at == position:
                mark = len(line)
            line += letter
            begins = data[at - start] == 0x0A
            at += 1
        yield line
        if mark >= 0:
            yield f"{' ' * mark}^"
    if position == end:
        yield f"  {end:05}  "
        yield f"{' ' * 9}^"


def _sides(balancer: LoadBalancer) -> Iterator[tuple[str, Captures]]:
    """@return: each by its name."""
    for name, frontend in balancer.frontends.items():
        yield name, frontend.inbound.traffic.captures
    for name, pool in balancer.pools.items():
        yield name, pool.traffic.captures


def showErrors(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show errors [<frontend>|<pool>] [request|response]}."""
    balancer = asked.balancer
    name, kinds = _wanted(balancer, words)
    sides = [one for side, one in _sides(balancer) if name in ("", side)]
    found = [
        capture
        for side in sides
        for capture in side.recent
        if kinds in ("", "response" if capture.kind == RESPONSE else "request")
    ]
    found.sort(key=lambda one: one.at)
    offset = balancer.wallclock() - balancer.deadlines.seconds()
    count = sum(side.count for side in sides)
    lines = [f"Total events captured on [{stamp(balancer.wallclock())}] : {count}"]
    for one in found:
        lines += _lines(balancer, one, offset)
    return Answer("\n".join([*lines, ""]), [_value(one, offset) for one in found])


def _wanted(balancer: LoadBalancer, words: Sequence[str]) -> tuple[str, str]:
    """@return: the name of a frontend or of a pool, and which kind; each C{""} for all."""
    named, *kind = [*words, ""] if words and words[0] not in ("request", "response") else [
        "", *words, ""
    ]
    # Where HAProxy has a number, -1 stands for all.
    if named == "-1":
        named = ""
    if named and named not in balancer.frontends and named not in balancer.pools:
        raise Refused("No such proxy.")
    if kind[0] not in ("", "request", "response"):
        raise Refused("Only 'request' or 'response' may follow.")
    return named, kind[0]


def _number(balancer: LoadBalancer, running: Any) -> str:
    return f"(#{-1 if running is None else balancer.looking.of(running).number})"


def _lines(balancer: LoadBalancer, one: Capture, offset: float) -> Iterator[str]:
    frontend, pool = balancer.frontends.get(one.frontend), balancer.pools.get(one.pool)
    servers = () if pool is None else pool.servers
    server = next((each for each in servers if each.name == one.server), None)
    ofFrontend = f"frontend {one.frontend or '<NONE>'} {_number(balancer, frontend)}"
    ofPool = f"backend {one.pool or '<NONE>'} {_number(balancer, pool)}"
    response = one.kind == RESPONSE
    host, port = one.client
    yield " "
    yield (
        f"[{stamp(one.at + offset)}] {ofPool if response else ofFrontend}: invalid {one.kind}"
    )
    yield (
        f"  {ofFrontend if response else ofPool}, server {one.server or '<NONE>'}"
        f" {_number(balancer, server)}, event #{one.number}, src {host}:{port}"
    )
    yield f"  buffer starts at {one.start} (including 0 out), 0 free,"
    yield f"  len {len(one.data)}, wraps at {one.size}, error at position {one.position}"
    yield f"  {plain(one.reason)} :"
    yield "  "
    yield from dumped(one.data, one.start, one.position)


def _value(one: Capture, offset: float) -> dict[str, Any]:
    return {
        **attr.asdict(one), "at": round(one.at + offset, 3), "data": one.data.hex(),
        "text": list(dumped(one.data, one.start, one.position)),
    }  # fmt: skip


VERBS = (
    Verb(
        "show errors [<frontend>|<pool>] [request|response]",
        "the last bytes that a parser has refused, and where", Level.OPERATOR, showErrors,
    ),
)  # fmt: skip
