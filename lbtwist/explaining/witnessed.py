"""
What became of one real exchange: the same explanation as of a rehearsed one, written down
while it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.exchange import Exchange
from lbtwist.explaining import found
from lbtwist.explaining.explanation import Action, Explanation
from lbtwist.logvalues import timers
from lbtwist.pool import Pool
from lbtwist.rules.decisions import DECISIONS, Refuse
from lbtwist.rules.rulebook import Rule, Step

_log = Logger()

Asked = tuple[str, str, Any]
"""Stage, owner and L{Step} of a rule, or a L{Waited}."""

_TIMERS = ("TR", "Tw", "Tc", "Tr", "Ta")


@attr.frozen
class Waited:
    """What a rule has decided in the end."""

    rule: Rule
    decision: Any


class Witnessed:
    """
    One exchange that is explained; provides L{lbtwist.http.deciding.Witness}.

    Nothing that is wrong here may harm the exchange: it is logged, and the explanation
    lacks it.

    @ivar said: what is known so far.
    """

    def __init__(
        self, exchange: Exchange, earlier: Iterable[Asked], done: Callable[[Witnessed], object]
    ) -> None:
        """
        @param earlier: what the rules for its connection have said.
        @param done: called when the exchange has ended.
        """
        self.said = Explanation()
        self._exchange = exchange
        self._done = done
        self._rows: dict[Rule, dict[str, Any]] = {}
        self._request: found.Head | None = None
        self._response: found.Head | None = None
        self._decision: Any = None
        self._quietly(self._begin, earlier)

    def _quietly(self, tell: Callable[..., object], *arguments: Any) -> None:
        try:
            tell(*arguments)
        except Exception:
            _log.failure("an exchange cannot be explained")

    def _begin(self, earlier: Iterable[Asked]) -> None:
        exchange, said = self._exchange, self.said
        config = exchange.frontend.config
        connection = exchange.connection
        head = exchange.request
        src = found.pair(connection.client)
        port = connection.local[1]
        if head is None:
            said.add("session", src=src, port=port)
        else:
            self._request = found.Head.ofRequest(head)
            said.add("request", method=head.method, target=head.target, src=src, port=port,
                     fields=head.fields.items())  # fmt: skip
        said.add("frontend", name=config.name, where=found.place(config.where), mode=config.mode,
                 bind=found.pair(connection.local),
                 why=f"connection {connection.number}")  # fmt: skip
        header = connection.proxied
        if header is not None:
            said.add("proxy", accept="yes", believed=True, source=found.pair(header.source),
                     destination=found.pair(header.destination),
                     came="it says who the client is")  # fmt: skip
        tls = connection.tls
        if tls is None:
            said.add("tls", how="none")
        else:
            said.add("tls", how="spoken", sni=tls.sni, version=tls.version, cipher=tls.cipher,
                     alpn=tls.protocol, resumed=tls.resumed, client=tls.subject)  # fmt: skip
        for stage, owner, told in earlier:
            if isinstance(told, Waited):
                self._waited(told.rule, told.decision)
            else:
                self._asked(stage, owner, told)

    # as the exchange goes on

    def asked(self, stage: str, owner: str, step: Step) -> None:
        self._quietly(self._asked, stage, owner, step)

    def _asked(self, stage: str, owner: str, step: Step) -> None:
        self._rows[step.rule] = found.rule(self.said, stage, owner, step)
        if step.decision.__class__ in DECISIONS:
            self._decision = step.decision

    def waited(self, rule: Rule, decision: Any) -> None:
        self._quietly(self._waited, rule, decision)

    def _waited(self, rule: Rule, decision: Any) -> None:
        self._decision = decision
        row = self._rows[rule]
        row["waited"] = True
        row["came"] = "done" if decision is None else "decided"
        row["decision"] = None if decision is None else found.inWords(decision)

    def departs(self, exchange: Exchange, pool: Pool, lines: bytes) -> None:
        self._quietly(self._departs, exchange, pool, lines)

    def _departs(self, exchange: Exchange, pool: Pool, lines: bytes) -> None:
        head = exchange.request
        upgrades = False
        if head is not None and self._request is not None:
            added = [*head.fields.items(), *found.lines(lines)]
            after = found.Head.ofRequest(head, added)
            found.changes(self.said, "departure", self._request, after)
            upgrades = bool(head.upgrade or head.method == b"CONNECT")
        found.pool(self.said, pool, self._whyPool(exchange), exchange)
        found.timeouts(self.said, exchange.frontend.config, pool.config, exchange.settings or {},
                       head is None or upgrades)  # fmt: skip

    def _whyPool(self, exchange: Exchange) -> str:
        for row in reversed(self.said.of("rule")):
            if row["decision"] is not None and row["decision"].startswith("pool "):
                return f"{row['where']} {found.squeezed(row['text'])}"
        return f"pool = {exchange.frontend.config.pool}, the frontend's own"

    def responds(self, exchange: Exchange) -> None:
        self._quietly(self._responds, exchange)

    def _responds(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        self._response = found.Head.ofResponse(exchange.response)

    # its end

    def finished(self, exchange: Exchange) -> None:
        """An observer of the exchange: it has ended."""
        self._quietly(self._finished, exchange)
        self._done(self)

    def _finished(self, exchange: Exchange) -> None:
        said = self.said
        if self._response is not None and exchange.response is not None:
            found.changes(
                said, "response", self._response, found.Head.ofResponse(exchange.response)
            )
        server = exchange.server
        times = zip(_TIMERS, timers(exchange), strict=True)
        said.add(
            "outcome", status=exchange.status, ended=exchange.cause + exchange.stage,
            pool="" if exchange.pool is None else exchange.pool.name,
            server="" if server is None else server.name,
            address="" if server is None else str(server.endpoint), retries=exchange.retries,
            tried=[one.name for one in exchange.tried], redispatched=exchange.redispatched,
            reused=exchange.reused, bytesIn=exchange.bytesIn, bytesOut=exchange.bytesOut,
            timers={name: None if value < 0 else value for name, value in times},
            reason=exchange.reason,
        )  # fmt: skip
        for row in said.of("server"):
            row["chosen"] = server is not None and row["name"] == server.name
        said.action = self._ended()

    def underWay(self) -> Explanation:
        """@return: what is known of an exchange that has not ended."""
        text = f"has not ended, it is at stage {self._exchange.stage}"
        return Explanation(deepcopy(self.said.steps), self._action("under way", text))

    def _ended(self) -> Action:
        exchange = self._exchange
        status = f" with {exchange.status}" if exchange.status else ""
        server = exchange.server
        if isinstance(self._decision, Refuse):
            return self._action(found.ENDS[self._decision.how], found.inWords(self._decision))
        if server is not None and exchange.connectedAt:
            name = server.name if exchange.pool is None else f"{server.pool}/{server.name}"
            what = "connected" if exchange.pool is None else "sent"
            text = f"{what} to {name} at {server.endpoint}"
            by = "by it" if exchange.response is not None else "by us"
            return self._action(what, f"{text}, answered{status} {by}" if status else text)
        what = "answered" if exchange.status else "closed"
        reason = f": {exchange.reason}" if exchange.reason else ""
        return self._action(what, f"{what}{status}{reason}")

    def _action(self, what: str, text: str) -> Action:
        exchange = self._exchange
        server = exchange.server
        return Action(
            what, text, "" if exchange.pool is None else exchange.pool.name,
            "" if server is None else server.name, exchange.status, bool(exchange.passthrough),
        )  # fmt: skip

