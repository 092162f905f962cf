"""
Connection rules, while they are asked for one connection: what a client sends
meanwhile, and what becomes of it then.

Not here: how a list of rules is asked (L{lbtwist.rules.rulebook}), and what speaks with
a client that may go on (L{lbtwist.inbound}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.exchange import Cause, Connection, Exchange
from lbtwist.pool import Pool
from lbtwist.rules.decisions import Allow, Refuse, UsePool
from lbtwist.rules.rulebook import Rule, Rulebook, called
from lbtwist.session import MAX_EARLY

if TYPE_CHECKING:
    from lbtwist.inbound import Inbound

_log = Logger()


@implementer(IHalfCloseableProtocol)
class Admission:
    """
    A connection whose connection rules are being asked: until they have decided, what
    comes is kept, within a bound.
    """

    __slots__ = (
        "_connection", "_early", "_ended", "_exchange", "_inbound", "_next", "_rules",
        "_transport", "_waitsFor",
    )  # fmt: skip

    def __init__(self, inbound: Inbound, connection: Connection, rules: Rulebook) -> None:
        self._inbound = inbound
        self._connection = connection
        self._rules = rules
        self._exchange = inbound.newExchange(connection)
        self._early = b""
        self._ended = False
        self._next: Any = None
        self._transport: Any = None
        self._waitsFor: Deferred[Any] | None = None

    def __repr__(self) -> str:
        return f"<Admission {self._connection.client[0]}>"

    @property
    def number(self) -> int:
        """Of the connection."""
        return self._connection.number

    @property
    def exchange(self) -> Exchange:
        """That of the connection as a whole."""
        return self._exchange

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def dataReceived(self, data: bytes) -> None:
        if self._next is not None:
            self._next.dataReceived(data)
            return
        self._early += data
        if len(self._early) >= MAX_EARLY:
            self._transport.pauseProducing()

    def readConnectionLost(self) -> None:
        self._ended = True

    def writeConnectionLost(self) -> None:
        """Our side is not closed before the rules have decided."""

    def connectionLost(self, reason: Failure) -> None:
        self._end(Cause.CLIENT, "the client went away")

    def retire(self) -> None:
        """Who has come is served."""

    def drain(self) -> None:
        """It has not begun anything: it ends."""
        self.abortSession(Cause.KILLED)

    def abortSession(self, cause: str) -> None:
        """End it at once."""
        self._end(cause, "ended while its rules were asked")
        self._transport.abortConnection()

    def _ask(self, after: Rule | None = None) -> None:
        """@param after: the rules that come after this one are asked."""
        watch = self._inbound.watch
        try:
            if watch is not None:
                record = watch.connectionAsked(self._exchange)
                decision = self._rules.recorded(self._exchange, record, after)
            elif after is None:
                decision = self._rules.ask(self._exchange)
            else:
                decision = self._rules.after(after)(self._exchange)
        except Exception as error:
            _log.failure("{rule} has failed", rule=called(self._rules.named(error)))
            self._refuse(Cause.INTERNAL, "close", "a rule has failed")
            return
        self._decided(decision)

    def _decided(self, decision: Any) -> None:
        inbound = self._inbound
        pool = inbound.pool
        kind = decision.__class__
        if kind is Deferred:
            self._wait(decision)
            return
        if kind is UsePool:
            pool = inbound.pools.get(decision.name, pool)
        elif kind is Refuse:
            self._refuse(Cause.REFUSED, decision.how, "a rule has refused it")
            return
        elif decision is not None and kind is not Allow:
            self._refuse(Cause.REFUSED, "close", "a rule has refused it")
            return
        if pool is None and inbound.config.mode == "tcp":
            self._refuse(Cause.SERVER, "close", "no pool")
            return
        self._goOn(pool)

    def _goOn(self, pool: Pool | None) -> None:
        inbound = self._inbound
        transport = self._transport
        self._next = protocol = inbound.newProtocol(self._connection, pool, self._exchange)
        inbound.admitted(self, protocol)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self._waitsFor = None
        early, self._early = self._early, b""
        if len(early) >= MAX_EARLY and transport.connected and not self._ended:
            transport.resumeProducing()
        if early and transport.connected:
            protocol.dataReceived(early)
        if self._ended and transport.connected:
            protocol.readConnectionLost()

    def _wait(self, deferred: Deferred[Any]) -> None:
        self._waitsFor = deferred

        def decided(decision: Any) -> None:
            if self._waitsFor is not deferred:
                return
            rule = self._exchange.rule
            watch = self._inbound.watch
            if watch is not None:
                watch.connectionWaited(self._exchange, self._rules, rule, decision)
            if decision is None and rule is not None:
                self._ask(rule)
            else:
                self._decided(decision)

        def failed(failure: Failure) -> None:
            if self._waitsFor is deferred:
                rule = called(self._exchange.rule)
                _log.failure("{rule} has failed", failure, rule=rule)
                self._refuse(Cause.INTERNAL, "close", "a rule has failed")

        deferred.addCallback(decided)
        deferred.addErrback(failed)

    def _refuse(self, cause: str, how: str, reason: str) -> None:
        transport = self._transport
        self._end(cause, reason)
        if how == "silent-drop":
            transport.hushPeer()
        if how == "close":
            transport.loseConnection()
        else:
            transport.abortConnection()

    def _end(self, cause: str, reason: str) -> None:
        """The exchange ends here, and nothing else becomes of the connection."""
        waits, self._waitsFor = self._waitsFor, None
        if waits is not None:
            waits.cancel()
        exchange = self._exchange
        if not exchange.cause:
            exchange.reason = reason
            exchange.finish(cause, self._inbound.seconds())
            self._inbound.connectionEnded(self)
