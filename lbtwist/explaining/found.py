"""
What is told of a rule, a pool, a head or a timeout, whether it is rehearsed or happens: each
adds one or more steps to an L{Explanation}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import attr

from lbtwist.config.model import FrontendConfig, PoolConfig
from lbtwist.errors import Position
from lbtwist.exchange import Exchange
from lbtwist.explaining.explanation import Explanation
from lbtwist.pool import Pool
from lbtwist.rules.decisions import (
    DECISIONS,
    Allow,
    Answer,
    Deny,
    Refuse,
    Tunnel,
    UsePool,
    UseServer,
)
from lbtwist.rules.rulebook import Rule, Step
from lbtwist.rules.tracing import Part
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.responsehead import ResponseHead
from lbtwist.server import Server
from lbtwist.tunnel import Timeouts

_REFUSED = {
    "reject": "the connection is reset",
    "close": "the connection is closed",
    "silent-drop": "the connection is dropped without a word",
}


ENDS = {"reject": "reset", "close": "closed", "silent-drop": "dropped"}
"""What becomes of a connection, by L{Refuse.how}."""


def place(where: Position) -> str:
    """@return: file and line."""
    return f"{where.file}:{where.line}"


def pair(address: tuple[str, int] | None) -> str | None:
    """@return: C{HOST:PORT}."""
    if address is None:
        return None
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_SPACES = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^']*')|[ \t]+""")


def squeezed(text: str) -> str:
    """@return: a line without the spaces that align it with others."""
    return _SPACES.sub(lambda found: found[1] or " ", text)


def decider(exchange: Exchange) -> str:
    """@return: the rule that has decided."""
    return f"{place(exchange.rule.where)} {squeezed(exchange.rule.text)}"


# rules


def rule(said: Explanation, stage: str, owner: str, step: Step) -> dict[str, Any]:
    """A rule that was asked, or was not."""
    came = "done"
    decision = step.decision
    if step.holds is None:
        came = "not reached"
    elif not step.holds:
        came = "does not hold"
    elif not step.asked:
        came = "not asked"
    elif isinstance(decision, Exception):
        came = "failed"
    elif decision is not None:
        came = "decided" if decision.__class__ in DECISIONS else "waits"
    return _rule(
        said, stage, owner, step.rule, holds=step.holds, came=came,
        decision=inWords(decision) if came in ("decided", "failed") else None,
        condition=None if step.part is None else _part(step.part),
    )  # fmt: skip


def later(said: Explanation, owner: str, rules: Iterable[Rule]) -> None:
    """Rules that are asked when a response has come."""
    for one in rules:
        _rule(said, "response", owner, one, holds=None, came="later", decision=None,
              condition=None)  # fmt: skip


def _rule(
    said: Explanation, stage: str, owner: str, rule: Rule, **found: Any
) -> dict[str, Any]:
    return said.add(
        "rule", stage=stage, owner=owner, where=place(rule.where), text=rule.text, **found
    )


def _part(part: Part) -> dict[str, Any]:
    return {
        "text": part.text, "asked": part.asked, "value": part.value,
        "parts": [_part(one) for one in part.parts],
    }  # fmt: skip


def inWords(decision: Any) -> str:
    """@param decision: of L{lbtwist.rules.decisions}, or an exception."""
    if isinstance(decision, UsePool):
        return f"pool {decision.name}"
    if isinstance(decision, UseServer):
        return f"server {decision.name}"
    if isinstance(decision, Answer):
        location = next(
            (value for name, value in decision.fields if name.lower() == b"location"), b""
        )
        to = f", Location: {location.decode('utf-8', 'backslashreplace')}" if location else ""
        return f"answered with {decision.status}{to}"
    if isinstance(decision, Deny):
        after = f" after {decision.after:g}s" if decision.after else ""
        return f"denied with {decision.status}{after}"
    if isinstance(decision, Refuse):
        return _REFUSED[decision.how]
    if isinstance(decision, Tunnel):
        return "passed on unread"
    if isinstance(decision, Allow):
        return "goes on, no further rule is asked"
    return f"has failed: {type(decision).__name__}"


# heads


@attr.frozen
class Head:
    """The head of a message as it was at one time."""

    line: tuple[tuple[str, bytes], ...]
    fields: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def ofRequest(cls, head: RequestHead, fields: Sequence[tuple[bytes, bytes]] = ()) -> Head:
        """@param fields: those that it has; its own where none are given."""
        line = (("method", head.method), ("target", head.target))
        return cls(line, tuple(fields or head.fields.items()))

    @classmethod
    def ofResponse(cls, head: ResponseHead) -> Head:
        return cls((("status", b"%d" % head.status),), tuple(head.fields.items()))


def lines(block: bytes) -> list[tuple[bytes, bytes]]:
    """@param block: complete lines of fields."""
    found = []
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        found.append((name, value.strip(b" \t")))
    return found


def changes(said: Explanation, kind: str, before: Head, after: Head) -> None:
    """What becomes of a head on its way."""
    fields = []
    matcher = SequenceMatcher(None, before.fields, after.fields, autojunk=False)
    for _, begin, end, newBegin, newEnd in matcher.get_opcodes():
        old, new = before.fields[begin:end], after.fields[newBegin:newEnd]
        pairs = [(" ", new)] if old == new else [("-", old), ("+", new)]
        for change, those in pairs:
            fields += [{"change": change, "name": name, "value": value} for name, value in those]
    line = {
        name: {"before": was, "after": now}
        for (name, was), (_, now) in zip(before.line, after.line, strict=True)
    }
    said.add(kind, **line, fields=fields)


# pools


def pool(said: Explanation, pool: Pool, why: str, exchange: Exchange) -> Server | None:
    """
    A pool, and each of its servers.

    @param why: the exchange goes there.
    @return: the server that is chosen; L{None} if there is none, or it is not foreseen.
    """
    forecast = pool.foresee(exchange)
    chosen = forecast.chosen
    said.add(
        "pool", name=pool.name, where=place(pool.config.where), why=why,
        balance=pool.config.balance.name, score=forecast.meaning, by=forecast.why,
        active=pool.active, queued=pool.queued,
    )  # fmt: skip
    recalled = forecast.recalled
    said.add(
        "persistence", recalled=None if recalled is None else recalled.name, known=forecast.known,
        kinds=[] if pool.persistence is None else list(pool.persistence.names),
    )  # fmt: skip
    for one in pool.memberships:
        said.add(
            "source", name=one.config.name, source=one.config.text, names=len(one.servers),
            asked=one.answeredAt is not None, reason=one.reason,
        )  # fmt: skip
    for server in pool.servers:
        options = server.options
        address = str(options) if server.endpoint is None else str(server.endpoint)
        score = forecast.scores.get(server)
        said.add(
            "server", name=server.name, address=address, tls=options.tls, weight=server.weight,
            active=server.active, maxconn=server.maxconn, backup=server.backup,
            score=None if score is None else round(score, 6), out=_whyOut(server, pool, exchange),
            chosen=server is chosen,
        )  # fmt: skip
    return chosen


def _whyOut(server: Server, pool: Pool, exchange: Exchange) -> str:
    if server.leaving:
        return "its source names it no more"
    if server.endpoint is None:
        return "its name is not resolved"
    if server.health.inForce != "ready":
        return f"it is in {server.health.inForce}"
    if not server.health.up and server not in pool.usable:
        return "it is down"
    if server.health.ejected and server not in pool.usable:
        return "it is ejected, because too many exchanges with it have failed"
    if not server.weight:
        return "its weight is 0"
    role = (exchange.settings or {}).get("role")
    if role is not None and server.role != role:
        return f"it has not the role {role}"
    if server.full:
        return f"it is at its limit of {server.maxconn}"
    if pool.limited:
        return f"its pool is at its limit of {pool.config.maxconn}"
    if server in exchange.tried:
        return "it was tried, and failed"
    if server not in pool.usable:
        first = next((one.name for one in pool.usable), "")
        return f"it is a backup, and {first} is usable" if server.backup else "it is not usable"
    return ""


# timeouts


def timeouts(
    said: Explanation,
    frontend: FrontendConfig,
    pool: PoolConfig,
    settings: Mapping[str, Any],
    tunnel: bool,
) -> None:
    """
    The timeouts in effect, in seconds; 0 is no limit.

    @param settings: of the exchange.
    @param tunnel: whether its bytes will not be parsed.
    """
    found: dict[str, float] = {}
    if frontend.mode == "http":
        both = [one for one in (frontend.timeout_request, frontend.timeout_client) if one]
        found["request"] = min(both, default=0.0)
        found["keepalive"] = (
            frontend.timeout_keepalive or frontend.timeout_request or frontend.timeout_client
        )
        found["client"] = frontend.timeout_client
    found["connect"] = pool.timeout_connect
    found["queue"] = pool.timeout_queue or pool.timeout_connect
    if tunnel:
        limits = Timeouts.of(frontend, pool, dict(settings))
        found["tunnel"] = limits.limit(False, False)[0]
        found["client-fin"] = limits.limit(True, False)[0]
        found["server-fin"] = limits.limit(False, True)[0]
    else:
        found["server"] = settings.get("timeout_server", pool.timeout_server)
    names = (name.removeprefix("timeout_") for name in settings if name.startswith("timeout_"))
    said.add("timeouts", seconds=found, set=sorted(names))
