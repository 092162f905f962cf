"""
Why a request goes where it goes: what every rule said to it, which servers there were and
which one is chosen, without a network.

The balancer that is asked is a real one; what it does is what it would do. Only rules that
would have to wait for something are not asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attr

from lbtwist.config.model import Bind, FrontendConfig, TLSConfig
from lbtwist.errors import BadRequest
from lbtwist.exchange import Connection, Exchange, TLSInfo
from lbtwist.http.front import Shared
from lbtwist.pool import Pool
from lbtwist.rules.decisions import Allow, Answer, Deny, Refuse, Tunnel, UsePool, UseServer
from lbtwist.rules.rulebook import Rulebook, Step
from lbtwist.server import Server
from lbtwist.service import LoadBalancer


@attr.frozen
class Asked:
    """
    A request to explain.

    @ivar method: C{TCP} for a session without HTTP.
    @ivar sni: the name asked for in TLS; L{None} is without TLS.
    """

    method: str
    target: str
    host: str
    port: int
    sni: str | None = None
    src: tuple[str, int] = ("127.0.0.1", 40000)
    fields: tuple[tuple[str, str], ...] = ()
    alpn: tuple[str, ...] = ()


@attr.define
class Explanation:
    """
    @ivar rows: what was looked at, in order: a word for what it is, and what came of it.
    @ivar action: what becomes of the request, in words.
    """

    rows: list[dict[str, Any]] = attr.field(factory=list)
    action: str = ""

    def add(self, kind: str, **said: Any) -> None:
        self.rows.append({"kind": kind, **said})

    def asJSON(self) -> str:
        """@return: an object: C{steps}, C{action}."""
        return json.dumps({"steps": self.rows, "action": self.action}, indent=2, default=str)

    def asText(self) -> str:
        """@return: for people."""
        lines = []
        for row in self.rows:
            lines += _WORDS[row["kind"]](row)
        return "\n".join([*lines, f"=> {self.action}"])


def explain(balancer: LoadBalancer, asked: Asked, frontend: str = "") -> Explanation:
    """
    @param balancer: built, not started.
    @param frontend: the name of the frontend; the one that listens for it by default.
    @raise LookupError: if there is none, with a sentence.
    """
    return _Explaining(balancer, asked).explained(frontend)


class _Explaining:
    def __init__(self, balancer: LoadBalancer, asked: Asked) -> None:
        self._balancer = balancer
        self._asked = asked
        self._said = Explanation()

    def explained(self, name: str) -> Explanation:
        config, bind = self._frontend(name)
        said = self._said
        said.add("frontend", name=config.name, bind=str(bind), mode=config.mode,
                 where=str(config.where))  # fmt: skip
        tls = self._tls(bind)
        local = (bind.host or "127.0.0.1", bind.port) if bind.kind == "tcp" else ("unix", 0)
        connection = Connection(1, self._asked.src, local, 0.0, self._trusted(config), tls)
        inbound = self._balancer.frontend(config.name).inbound
        exchange = inbound.newExchange(connection)
        pool: Pool | None = inbound.pool
        why = f"pool = {config.pool} of the frontend" if pool is not None else ""
        book = inbound.rules.connection
        if book is not None:
            decision = self._ask("connection", book, exchange)
            if isinstance(decision, UsePool):
                pool, why = self._named(decision, pool, why, exchange)
            elif self._ended(decision):
                return said
        if config.mode == "http":
            head = self._head(inbound.shared, connection)
            if head is None:
                return said
            exchange.request = head
            ended, pool, why = self._request(inbound.rules.request, exchange, pool, why)
            if ended:
                return said
        self._pool(config, exchange, pool, why)
        return said

    def _request(
        self, book: Rulebook | None, exchange: Exchange, pool: Pool | None, why: str
    ) -> tuple[bool, Pool | None, str]:
        """@return: whether that was the end of it, and the pool and why."""
        decision = None if book is None else self._ask("request", book, exchange)
        if isinstance(decision, UsePool):
            pool, why = self._named(decision, pool, why, exchange)
        elif self._ended(decision):
            return True, pool, why
        self._noted(decision, exchange)
        if pool is not None and pool.rules.request is not None:
            exchange.pool = pool
            decision = self._ask(f"pool {pool.name} request", pool.rules.request, exchange)
            if self._ended(decision):
                return True, pool, why
            self._noted(decision, exchange)
        return False, pool, why

    @staticmethod
    def _noted(decision: Any, exchange: Exchange) -> None:
        if isinstance(decision, UseServer):
            exchange.settings = {**(exchange.settings or {}), "server": decision.name}
        elif isinstance(decision, Tunnel):
            exchange.passthrough = decision.reason

    # where it comes in

    def _frontend(self, name: str) -> tuple[FrontendConfig, Bind]:
        config = self._balancer.config
        secure = self._asked.sni is not None
        if name:
            if name not in config.frontends:
                raise LookupError(f"there is no [frontend {name}]")
            found = config.frontends[name]
            for bind in found.bind:
                if bool(bind.tls) == secure:
                    return found, bind
            return found, found.bind[0]
        for found in config.frontends.values():
            for bind in found.bind:
                ends = bool(bind.tls) or bind.tls_passthrough
                if bind.port == self._asked.port and ends == secure:
                    return found, bind
        listening = ", ".join(
            f"{one.name} ({', '.join(map(str, one.bind))})" for one in config.frontends.values()
        )
        kind = "TLS" if secure else "plain"
        raise LookupError(
            f"no frontend listens for {kind} on port {self._asked.port}: name one with"
            f" --frontend; there are {listening}"
        )

    def _trusted(self, config: FrontendConfig) -> bool:
        from lbtwist.arrival import among

        return bool(config.trusted_proxies) and among(self._asked.src[0], config.trusted_proxies)

    def _tls(self, bind: Bind) -> TLSInfo | None:
        sni = self._asked.sni
        if sni is None:
            return None
        alpn = tuple(one.encode() for one in self._asked.alpn)
        if not bind.tls:
            self._said.add("tls", section="", name="", text="passed on, not ended here")
            return TLSInfo(sni, alpn)
        section = self._balancer.config.tls[bind.tls]
        self._said.add("tls", section=section.name, name=sni, **_terms(section, sni))
        version = section.maximum or "TLSv1.3"
        return TLSInfo(sni, alpn, protocol=alpn[0] if alpn else b"", version=version)

    def _head(self, shared: Shared, connection: Connection) -> Any:
        asked = self._asked
        fields = dict(asked.fields)
        host = next((value for name, value in fields.items() if name.lower() == "host"), None)
        lines = [f"{asked.method} {asked.target} HTTP/1.1"]
        if host is None:
            lines.append(f"Host: {asked.host}")
        lines += [f"{name}: {value}" for name, value in asked.fields]
        data = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        reader = shared.trustedReader if connection.trusted else shared.reader
        try:
            head = reader.read(data)
        except BadRequest as refused:
            self._said.add("request", text=f"refused: {refused.reason}")
            self._said.action = f"answered with {refused.status}: {refused.reason}"
            return None
        if head is None:
            self._said.action = "answered with 400: that is no whole request head"
        return head

    # rules

    def _ask(self, stage: str, book: Rulebook, exchange: Exchange) -> Any:
        def record(step: Step) -> None:
            decision = None if step.decision is None else _inWords(step.decision)
            self._said.add(
                "rule", stage=stage, where=str(step.rule.where), text=step.rule.text,
                holds=step.holds, asked=step.asked, decision=decision,
                condition=None if step.parts is None else attr.asdict(step.parts),
            )  # fmt: skip

        return book.recorded(exchange, record, asks=lambda rule: not rule.waits)

    def _named(
        self, decision: UsePool, pool: Pool | None, why: str, exchange: Exchange
    ) -> tuple[Pool | None, str]:
        found = self._balancer.pools.get(decision.name)
        if found is None:
            return pool, f"{why}, since there is no pool {decision.name!r}"
        return found, f"{exchange.rule.where}: {exchange.rule.text}"

    def _ended(self, decision: Any) -> bool:
        """@return: whether the decision is the end, and said so."""
        if isinstance(decision, (Answer, Deny, Refuse)):
            self._said.action = _inWords(decision)
            return True
        return False

    # the pool

    def _pool(
        self, config: FrontendConfig, exchange: Exchange, pool: Pool | None, why: str
    ) -> None:
        said = self._said
        if pool is None:
            said.action = "answered with 503: there is no pool"
            return
        exchange.pool = pool
        said.add("pool", name=pool.name, why=why, balance=pool.config.balance.name,
                 where=str(pool.config.where))  # fmt: skip
        usable = pool.usable
        chosen = pool.choose(exchange)
        for server in pool.servers:
            said.add(
                "server", name=server.name, address=str(server.endpoint or "not resolved"),
                weight=server.weight, active=server.active,
                out="" if server in usable and not server.full else _whyOut(server, usable),
                chosen=server is chosen,
            )  # fmt: skip
        settings = exchange.settings or {}
        timeouts = {
            "connect": pool.config.timeout_connect,
            "queue": pool.config.timeout_queue or pool.config.timeout_connect,
            "server": settings.get("timeout_server", pool.config.timeout_server),
            "tunnel": settings.get("timeout_tunnel", pool.config.timeout_tunnel),
            "client": settings.get("timeout_client", config.timeout_client),
        }
        said.add("timeouts", **timeouts)
        way = " as a tunnel" if exchange.passthrough else ""
        if chosen is not None:
            said.action = f"sent to {pool.name}/{chosen.name} ({chosen.endpoint}){way}"
        elif usable:
            said.action = f"waits in the queue of {pool.name}{way}"
        else:
            said.action = f"answered with 503: no server of {pool.name} is usable"


def _terms(section: TLSConfig, sni: str) -> dict[str, str]:
    """@return: what is demanded of a client that asks for a name."""
    name = sni.lower()
    parent = "*." + name.partition(".")[2]
    by = {one.pattern: one for one in section.names}
    own = by.get(name) or by.get(parent)
    pattern = own.pattern if own is not None else ""
    policy = (own and own.policy) or section.policy
    return {
        "pattern": pattern,
        "policy": policy,
        "minimum": (own and own.minimum) or section.minimum or f"that of {policy}",
        "maximum": (own and own.maximum) or section.maximum or "no limit",
        "client-verify": (own and own.client_verify) or section.client_verify,
    }


def _inWords(decision: Any) -> str:
    if isinstance(decision, UsePool):
        return f"pool {decision.name}"
    if isinstance(decision, UseServer):
        return f"server {decision.name}"
    if isinstance(decision, Answer):
        location = dict(decision.fields).get(b"Location")
        to = f" to {location.decode('utf-8', 'replace')}" if location else ""
        return f"answered with {decision.status}{to}"
    if isinstance(decision, Deny):
        after = f" after {decision.after:g}s" if decision.after else ""
        return f"denied with {decision.status}{after}"
    if isinstance(decision, Refuse):
        return {"reject": "the connection is reset", "close": "the connection is closed",
                "silent-drop": "the connection is dropped silently"}[decision.how]  # fmt: skip
    if isinstance(decision, Tunnel):
        return "passed on unread"
    return "goes on" if isinstance(decision, Allow) else repr(decision)


def _whyOut(server: Server, usable: Sequence[Server]) -> str:
    if server.endpoint is None:
        return "its name is not resolved"
    if not server.health.up:
        return "it is down"
    if not server.health.usable:
        return f"it is in {server.health.admin}"
    if not server.weight:
        return "its weight is 0"
    if server.full:
        return f"it is at its limit of {server.maxconn}"
    if server.backup:
        return "it is a backup, and others are usable"
    return "" if server in usable else "it is not usable"


def _partLines(part: dict[str, Any], depth: int) -> list[str]:
    value = f"= {part['value']!r}" if part["asked"] else "not asked"
    lines = [f"{'  ' * depth}{part['text']}  {value}"]
    for one in part["parts"]:
        lines += _partLines(one, depth + 1)
    return lines


def _ruleLines(row: dict[str, Any]) -> list[str]:
    if not row["holds"]:
        came = "does not hold"
    elif not row["asked"]:
        came = "would be asked, and might wait"
    else:
        came = row["decision"] or "done"
    lines = [f"{row['stage']} {row['where']}: {row['text']}  -> {came}"]
    if row["condition"] is not None:
        lines += _partLines(row["condition"], 2)
    return lines


_WORDS = {
    "frontend": lambda row: [f"frontend {row['name']} on {row['bind']} ({row['where']})"],
    "tls": lambda row: [
        "tls " + (row.get("text") or ", ".join(
            f"{key} {value}" for key, value in row.items() if key != "kind" and value
        ))
    ],
    "request": lambda row: [f"request {row['text']}"],
    "rule": _ruleLines,
    "pool": lambda row: [f"pool {row['name']} by {row['why']} (balance {row['balance']})"],
    "server": lambda row: [
        f"  {'*' if row['chosen'] else ' '} {row['name']} {row['address']}"
        f" weight {row['weight']} active {row['active']}"
        + (f", out: {row['out']}" if row["out"] else "")
    ],
    "timeouts": lambda row: [
        "timeouts " + ", ".join(
            f"{key} {value:g}s" for key, value in row.items() if key != "kind" and value
        )
    ],
}  # fmt: skip
