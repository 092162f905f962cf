"""
What the rules of a frontend and of its pools decide for one exchange, and how that is
done: the rules decide and do nothing, the relay does and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.deadlines import Deadlines, Timed
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.http.relay import Relay
from lbtwist.pool import Pool
from lbtwist.rules.decisions import Answer, Deny, Refuse, Tunnel, UsePool, UseServer
from lbtwist.rules.rulebook import Rulebook

_log = Logger()


class Tarpit(Timed):
    """A client that waits for its refusal."""

    __slots__ = ("_deadlines", "_relay", "_status")

    def __init__(self, relay: Relay, status: int, deadlines: Deadlines) -> None:
        super().__init__()
        self._relay = relay
        self._status = status
        self._deadlines = deadlines

    def cancel(self) -> None:
        """The client does not wait any more."""
        self._deadlines.forget(self)

    def expired(self) -> None:
        self._relay.answer(Cause.REFUSED, self._status)


class Deciding:
    """
    The rules that are asked for the exchanges of one frontend.

    @ivar watch: is asked of every exchange whether it is to be explained: gives what
        L{Step}s and the pool are told to, or L{None}. L{None} asks nobody.
    """

    watch: Callable[[Exchange], Callable[[Any], object] | None] | None = None

    def __init__(
        self,
        request: Rulebook | None,
        response: Rulebook | None,
        pools: Mapping[str, Pool],
        deadlines: Deadlines,
    ) -> None:
        """
        @param pools: all there are, by name.
        """
        self._request = request
        self._response = response
        self._pools = pools
        self._deadlines = deadlines

    def begin(self, relay: Relay, usual: Pool | None) -> None:
        """
        Decide what becomes of an exchange and do it: at once, or when the rules that
        have to wait for something have decided.

        @param usual: where the exchange goes if no rule says otherwise.
        """
        if self.watch is not None:
            relay.record = self.watch(relay.exchange)
        if self._request is None:
            self._choose(relay, usual)
        else:
            self._ask(relay, self._request, self._request.ask, usual)

    def respond(self, relay: Relay) -> bool:
        """
        Have the head of a response changed: by what a request rule left to be done, by
        the pool's rules, by the frontend's.

        @return: whether it can be sent; it cannot if a rule failed, since what it would
            have taken out is still in it.
        """
        exchange = relay.exchange
        for book in (exchange.pool.rules.response, self._response):
            if book is not None:
                try:
                    book.ask(exchange)
                except Exception as error:
                    self._failed(book, error)
                    return False
        return True

    # asking

    def _ask(
        self, relay: Relay, book: Rulebook, ask: Callable[[Any], Any], pool: Pool | None
    ) -> None:
        if relay.record is not None:
            ask = partial(book.recorded, record=relay.record, start=book.startOf(ask))
        try:
            decision = ask(relay.exchange)
        except Exception as error:
            self._failed(book, error)
            relay.answer(Cause.INTERNAL, 500)
            return
        self._decided(relay, book, decision, pool)

    def _failed(self, book: Rulebook, error: BaseException) -> None:
        rule = book.named(error)
        where = "a rule" if rule is None else f"the rule {rule.text!r} of {rule.where}"
        _log.failure("{where} has failed", failure=Failure(error), where=where)

    def _decided(self, relay: Relay, book: Rulebook, decision: Any, pool: Pool | None) -> None:
        """@param pool: where the exchange goes if the decision does not say otherwise."""
        kind = decision.__class__
        if kind is Deferred:
            self._wait(relay, book, decision, pool)
            return
        if decision is None:
            relay.exchange.rule = None
        elif kind is UsePool:
            pool = self._pools.get(decision.name, pool)
        elif kind is UseServer:
            settings = relay.exchange.settings or {}
            relay.exchange.settings = {**settings, "server": decision.name}
        elif kind is Tunnel:
            relay.tunnel = decision
        elif self._refused(relay, decision):
            return
        if book is self._request:
            self._choose(relay, pool)
        else:
            relay.proceed(pool)

    def _choose(self, relay: Relay, pool: Pool | None) -> None:
        """The frontend's rules have been asked."""
        book = None if pool is None else pool.rules.request
        if book is None:
            relay.proceed(pool)
        else:
            relay.exchange.pool = pool
            self._ask(relay, book, book.ask, pool)

    def _refused(self, relay: Relay, decision: Any) -> bool:
        """@return: whether the decision was the end of the exchange."""
        kind = decision.__class__
        exchange = relay.exchange
        if kind is Answer:
            relay.answerWith(decision)
        elif kind is Deny:
            if decision.after:
                exchange.stage = Stage.TARPIT
                relay.waitsFor = tarpit = Tarpit(relay, decision.status, self._deadlines)
                self._deadlines.arm(tarpit, decision.after, self._deadlines.seconds())
            else:
                relay.answer(Cause.REFUSED, decision.status)
        elif kind is Refuse:
            relay.refuse(decision.how)
        else:
            return False
        return True

    # waiting

    def _wait(
        self, relay: Relay, book: Rulebook, deferred: Deferred[Any], pool: Pool | None
    ) -> None:
        relay.waitsFor = deferred

        def decided(decision: Any) -> None:
            if relay.waitsFor is not deferred:
                return
            relay.waitsFor = None
            if decision is None:
                self._ask(relay, book, book.after(relay.exchange.rule), pool)
            else:
                self._decided(relay, book, decision, pool)

        def failed(failure: Failure) -> None:
            if relay.waitsFor is deferred:
                relay.waitsFor = None
                rule = relay.exchange.rule
                _log.failure(
                    "the rule {rule!r} has failed", failure=failure, rule=rule and rule.text
                )
                relay.answer(Cause.INTERNAL, 500)

        deferred.addCallback(decided)
        deferred.addErrback(failed)
