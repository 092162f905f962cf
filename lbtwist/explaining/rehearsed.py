"""
A request that does not take place: what every rule says to it, which servers there are and
which one is chosen, without a network.

The balancer that is asked is a real one, and what it says is what it would do. It may be a
running one: nothing is counted, and nobody's turn is over. Rules that might wait are not
asked.
"""

from __future__ import annotations

from copy import copy
from socket import AF_INET
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.arrival import among
from lbtwist.config.model import Bind, FrontendConfig
from lbtwist.config.targets import mayLead, permitted, plain
from lbtwist.errors import BadRequest
from lbtwist.exchange import Connection, Exchange, Rehearsal, TLSInfo
from lbtwist.explaining import entrance, found
from lbtwist.explaining.asked import Asked
from lbtwist.explaining.explanation import Action, Explanation, asPlain
from lbtwist.http.answering import secureLocation
from lbtwist.http.front import HTTPFront
from lbtwist.http.relay import framing
from lbtwist.http.shared import Shared
from lbtwist.http.terminating import parted
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
from lbtwist.rules.rulebook import Rulebook, Step
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.server import Endpoint

if TYPE_CHECKING:
    from lbtwist.inbound import Inbound
    from lbtwist.service import LoadBalancer


def assumeUp(balancer: LoadBalancer) -> None:
    """
    Take the servers' names for resolved, as they would be some time after a start.

    @param balancer: one that is never started.
    """
    for name, pool in balancer.config.pools.items():
        running = balancer.pools[name]
        for options, server in zip(pool.servers, running.servers, strict=True):
            if server.endpoint is None:
                server.endpoint = Endpoint(AF_INET, (options.host, options.port))
        running.serversChanged()


def explain(balancer: LoadBalancer, asked: Asked, frontend: str = "") -> Explanation:
    """
    @param frontend: the name of the frontend; the one that listens for it by default.
    @raise LookupError: if there is none, with a sentence.
    """
    config, bind, why = entrance.listener(balancer.config, asked, frontend)
    if config.mode == "http" and asked.session:
        raise LookupError(
            f"[frontend {config.name}] speaks HTTP: write 'GET http://HOST/PATH' instead of TCP"
        )
    said = Explanation()
    try:
        _Rehearsing(balancer, asked, said, config, bind).begin(why)
    except _Over as over:
        said.action = over.action
    return said


class _Over(Exception):
    """It is known what becomes of the request."""

    def __init__(self, action: Action) -> None:
        super().__init__(action.text)
        self.action = action


def _closed(why: str) -> _Over:
    return _Over(Action("closed", f"the connection is closed: {why}"))


class _Rehearsing:
    """One request on its way."""

    def __init__(
        self, balancer: LoadBalancer, asked: Asked, said: Explanation, config: FrontendConfig,
        bind: Bind,
    ) -> None:
        self._balancer = balancer
        self._asked = asked
        self._said = said
        self._config = config
        self._bind = bind
        self._inbound: Inbound = balancer.frontend(config.name).inbound
        self._unless: list[str] = []
        self._rewrites = 0

    def begin(self, why: str) -> None:
        """@raise _Over: always, with what becomes of it."""
        asked, said, config = self._asked, self._said, self._config
        session = config.mode == "tcp"
        said.add(
            "session" if session else "request", src=found.pair(asked.src), port=asked.port,
            **({} if session else {"method": asked.method, "target": asked.target,
                                   "fields": asked.sent}),
        )  # fmt: skip
        said.add("frontend", name=config.name, where=found.place(config.where), mode=config.mode,
                 bind=str(self._bind), why=why)  # fmt: skip
        connection = self._connection()
        exchange = Rehearsal(connection, self._inbound, (), connection.acceptedAt)
        pool = self._inbound.pool
        why = f"pool = {config.pool}, the frontend's own"
        book = self._inbound.rules.connection
        if book is not None:
            decision = self._ask("connection", f"frontend {config.name}", book, exchange)
            if isinstance(decision, UsePool):
                pool, why = self._named(decision, pool, why, exchange)
            elif isinstance(decision, Refuse):
                raise self._refused(decision, exchange)
            elif decision is not None and not isinstance(decision, Allow):
                raise _closed(f"{found.decider(exchange)} has refused it")
        if config.mode == "http":
            self._http(exchange, pool, why)
        elif pool is None:
            raise _closed("there is no pool")
        else:
            self._sent(exchange, pool, why, True)

    # coming in

    def _connection(self) -> Connection:
        asked, config, bind, said = self._asked, self._config, self._bind, self._said
        client = asked.src
        local: tuple[str, int] = (bind.host or "127.0.0.1", bind.port or asked.port)
        if bind.kind != "tcp":
            local = ("unix", 0) if bind.kind == "unix" else ("127.0.0.1", asked.port)
        trusted = bool(config.trusted_proxies) and among(client[0], config.trusted_proxies)
        try:
            read = entrance.proxy(said, config, bind, asked)
        except entrance.ProxyRefused as refused:
            if refused.asRequest:
                raise self._page(400, str(refused)) from None
            raise _closed(str(refused)) from None
        header = asked.proxied if read else None
        if header is not None and header.source is not None:
            client, local = header.source, header.destination or local
            header = attr.evolve(header, destination=local)
        now = self._balancer.deadlines.seconds()
        return Connection(0, client, local, now, trusted, self._tls(), header)

    def _tls(self) -> TLSInfo | None:
        balancer = self._balancer
        try:
            return entrance.tls(
                self._said, balancer.config, self._bind, self._asked, balancer.tls
            )
        except entrance.TLSRefused as refused:
            raise _closed(f"the TLS handshake is refused: {refused}") from None

    # HTTP

    def _http(self, exchange: Exchange, pool: Pool | None, why: str) -> None:
        shared = copy(self._inbound.shared)
        assert shared is not None, "only frontends that speak HTTP come here"
        if shared.newRequestId is not None:
            # The next one is somebody else's.
            shared.newRequestId = lambda: "..."
        if shared.tracing is not None:
            shared.tracing = shared.tracing.rehearsed()
        front = HTTPFront(shared, exchange.connection, pool)
        head = self._head(shared, exchange.connection)
        exchange.request = head
        exchange.requestAt = exchange.startedAt
        self._beforeRules(front, head)
        before = found.Head.ofRequest(
            head,
            [(name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
             for name, value in self._asked.sent],
        )  # fmt: skip
        tunnel = False
        ends = shared.terminating is not None and head.method == b"CONNECT"
        book = self._inbound.rules.request
        if book is not None:
            decision = self._ask("request", f"frontend {self._config.name}", book, exchange)
            if isinstance(decision, UsePool):
                pool, why = self._named(decision, pool, why, exchange)
            tunnel = self._decided(decision, exchange)
        if pool is not None and pool.rules.request is not None and not ends:
            exchange.pool = pool
            decision = self._ask("request", f"pool {pool.name}", pool.rules.request, exchange)
            if isinstance(decision, UsePool):
                pool, why = self._named(decision, pool, why, exchange)
            tunnel = self._decided(decision, exchange) or tunnel
        if ends:
            raise self._connected(head)
        if pool is None:
            raise self._page(503, "there is no pool")
        exchange.pool = pool
        added = front.linesFor(exchange, head) + framing(head)
        after = found.Head.ofRequest(head, [*head.fields.items(), *found.lines(added)])
        found.changes(self._said, "departure", before, after)
        self._sent(exchange, pool, why, tunnel)

    def _head(self, shared: Shared, connection: Connection) -> RequestHead:
        reader = shared.trustedReader if connection.trusted else shared.reader
        try:
            head = reader.read(self._asked.encode())
        except BadRequest as refused:
            raise self._page(refused.status, refused.reason) from None
        if head is None:
            raise self._page(400, "it is no whole request head")
        return head

    def _beforeRules(self, front: HTTPFront, head: RequestHead) -> None:
        """What the frontend's options say, whatever the rules would."""
        config = self._config
        if config.max_body and head.length is not None and head.length > config.max_body:
            raise self._page(413, f"a body of more than {config.max_body} bytes")
        if head.method == b"CONNECT" and config.connect == "deny":
            raise self._page(405, "CONNECT is not served here, connect = deny")
        if config.redirect_https and not front.isSecure(head):
            location = secureLocation(head)
            if not location:
                raise self._page(400, "no Host to redirect to")
            status = config.redirect_https
            text = f"answered with {status}, redirect-https: {location.decode('latin-1')}"
            raise _Over(Action("answered", text, status=status))

    # rules

    def _ask(self, stage: str, owner: str, book: Rulebook, exchange: Exchange) -> Any:
        def record(step: Step) -> None:
            row = found.rule(self._said, stage, owner, step)
            rewrites = len(exchange.rewrites or ())
            if rewrites > self._rewrites:
                self._rewrites = rewrites
                row["rewrites"] = True
            if row["came"] in ("not asked", "waits"):
                self._unless.append(row["where"])
                given = {} if step.rule.given is None else step.rule.given(exchange)
                row["given"] = asPlain(given)
            if row["came"] == "waits":
                # It had said of itself that it does not.
                step.decision.addErrback(lambda failure: None)
                step.decision.cancel()

        try:
            decision = book.recorded(exchange, record)
            while decision is not None and decision.__class__ not in DECISIONS:
                decision = book.recorded(exchange, record, exchange.rule)
            return decision
        except Exception as error:
            why = f"the rule {found.inWords(error)}"
            if stage == "connection":
                raise _closed(why) from None
            raise self._page(500, why) from None

    def _named(
        self, decision: UsePool, pool: Pool | None, why: str, exchange: Exchange
    ) -> tuple[Pool | None, str]:
        named = self._balancer.pools.get(decision.name)
        if named is None:
            return pool, f"{why}, since there is no pool {decision.name}"
        return named, found.decider(exchange)

    def _decided(self, decision: Any, exchange: Exchange) -> bool:
        """
        @return: whether there will be a tunnel.
        @raise _Over: if the rule has answered.
        """
        if isinstance(decision, UseServer):
            exchange.settings = {**(exchange.settings or {}), "server": decision.name}
        elif isinstance(decision, Answer):
            text = f"{found.inWords(decision)}, by {found.decider(exchange)}"
            raise self._over(Action("answered", text, status=decision.status))
        elif isinstance(decision, Deny):
            after = f" after {decision.after:g}s" if decision.after else ""
            raise self._page(decision.status, f"denied by {found.decider(exchange)}", after)
        elif isinstance(decision, Refuse):
            raise self._refused(decision, exchange)
        return isinstance(decision, Tunnel)

    def _refused(self, decision: Refuse, exchange: Exchange) -> _Over:
        text = f"{found.inWords(decision)}, by {found.decider(exchange)}"
        return self._over(Action(found.ENDS[decision.how], text))

    # what becomes of it

    def _over(self, action: Action) -> _Over:
        return _Over(attr.evolve(action, unless=tuple(self._unless)))

    def _page(self, status: int, why: str, after: str = "") -> _Over:
        shared = self._inbound.shared
        assert shared is not None, "only frontends that speak HTTP come here"
        pages = shared.pages
        page = pages.get(status) or pages[500]
        if not page.encode(True, False):
            text = f"the connection is closed without the page for {status}{after}: {why}"
            return self._over(Action("closed", text, status=page.status))
        text = f"answered with {page.status}{after}: {why}"
        return self._over(Action("answered", text, status=page.status))

    def _connected(self, head: RequestHead) -> _Over:
        """A CONNECT that ends here."""
        target = head.target.decode("ascii")
        host, port = parted(head.target)
        allowed = self._config.connect_allow
        text = f"connected to {target}"
        try:
            good = permitted(allowed, "", plain(host), port)
        except ValueError:
            good = mayLead(allowed, host, port)
            text += ", if connect-allow permits the addresses that it has"
        if not good:
            return self._page(403, f"connect-allow does not name {target}")
        return self._over(Action("connected", text, status=200, tunnel=True))

    def _sent(self, exchange: Exchange, pool: Pool, why: str, tunnel: bool) -> None:
        """@raise _Over: always."""
        said, config = self._said, self._config
        exchange.pool = pool
        chosen = found.pool(said, pool, why, exchange)
        head = exchange.request
        upgrades = head is not None and bool(head.upgrade or head.method == b"CONNECT")
        found.timeouts(said, config, pool.config, exchange.settings or {}, tunnel or upgrades)
        if config.mode == "http" and not tunnel:
            for owner, rules in (
                (f"pool {pool.name}", pool.rules), (f"frontend {config.name}", self._inbound.rules)
            ):  # fmt: skip
                if rules.response is not None:
                    found.later(said, owner, rules.response.rules)
        way = " as a tunnel" if tunnel and config.mode == "http" else ""
        queued = len(pool.usable) > 0
        if chosen is not None:
            text = f"sent to {pool.name}/{chosen.name} at {chosen.endpoint}{way}"
            raise self._over(Action("sent", text, pool.name, chosen.name, tunnel=tunnel))
        if any(not row["out"] for row in said.of("server")):
            text = f"sent to a server of {pool.name}{way}: which one is not foreseen"
            raise self._over(Action("sent", text, pool.name, tunnel=tunnel))
        if queued:
            text = f"waits in the queue of {pool.name}{way}"
            raise self._over(Action("queued", text, pool.name, tunnel=tunnel))
        why = f"no server of {pool.name} is usable"
        if config.mode == "tcp":
            raise _Over(Action("closed", f"the connection is closed: {why}", pool.name))
        over = self._page(503, why)
        over.action = attr.evolve(over.action, pool=pool.name)
        raise over

