"""
What the rules of a frontend and of its pools decide for one exchange, and how that is
done: the rules decide and do nothing, the relay does and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.deadlines import Deadlines, Timed
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.http.relay import Relay
from lbtwist.pool import Pool
from lbtwist.rules.decisions import Answer, Deny, Refuse, Tunnel, UsePool, UseServer
from lbtwist.rules.rulebook import Record, Rule, Rulebook, Step, called
from lbtwist.sansio.chunked import without

_log = Logger()


class Witness(Protocol):
    """
    Is told what becomes of one exchange. Nothing waits for it, and it raises nothing.
    """

    def asked(self, stage: str, owner: str, step: Step) -> object:
        """
        A rule was asked, or was not.

        @param stage: C{"connection"}, C{"request"} or C{"response"}.
        @param owner: whose list it is in: C{"frontend www"}, C{"pool app"}.
        """

    def waited(self, rule: Rule, decision: Any) -> object:
        """What a rule has decided that was waited for."""

    def departs(self, exchange: Exchange, pool: Pool, lines: bytes) -> object:
        """
        The rules have decided, and a server is chosen next.

        @param lines: what is added to the head of the request.
        """

    def responds(self, exchange: Exchange) -> object:
        """The head of a response has come, and no rule has seen it."""


def told(witness: Witness, exchange: Exchange, stage: str, ours: bool) -> Record:
    """
    @param ours: whether a list of the frontend is asked; its pool's otherwise.
    @return: what is told of the rules of a list.
    """
    if ours:
        return partial(witness.asked, stage, f"frontend {exchange.frontend.name}")
    return partial(witness.asked, stage, f"pool {exchange.pool.name}")


def _names(*books: Rulebook | None) -> frozenset[bytes]:
    rules = [rule for book in books if book is not None for rule in book.rules]
    return frozenset(name for rule in rules for name in rule.names)


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

    @ivar watch: is asked of every exchange who wants to be told of it: gives a
        L{Witness}, or L{None}. L{None} asks nobody.
    @ivar responds: whether a list has rules for responses.
    """

    watch: Callable[[Exchange], Witness | None] | None = None

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
        # Pools may have others soon, and what has begun with these ends with them.
        self._ofPools = {name: pool.rules for name, pool in pools.items()}
        ofPools = self._ofPools.values()
        self.responds = response is not None or any(rules.response for rules in ofPools)
        self._requestNames = _names(request, *(rules.request for rules in ofPools))
        self._responseNames = _names(response, *(rules.response for rules in ofPools))

    def begin(self, relay: Relay, usual: Pool | None) -> None:
        """
        Decide what becomes of an exchange and do it: at once, or when the rules that
        have to wait for something have decided.

        @param usual: where the exchange goes if no rule says otherwise.
        """
        if self.watch is not None:
            relay.witness = self.watch(relay.exchange)
        if self._request is None:
            self._choose(relay, usual)
        else:
            self._ask(relay, self._request, usual, None)

    def respond(self, relay: Relay) -> bool:
        """
        Have the head of a response changed: by what a request rule left to be done, by
        the pool's rules, by the frontend's.

        @return: whether it can be sent; it cannot if a rule failed, since what it would
            have taken out is still in it.
        """
        exchange = relay.exchange
        witness = relay.witness
        if witness is not None:
            witness.responds(exchange)
        for one in exchange.rewrites or ():
            try:
                one.responseReceived(exchange)
            except Exception:
                _log.failure("{one!r} has failed", one=one)
                return False
        # What a response rule allows does not tell why the request went here.
        decided = exchange.rule
        pool = exchange.pool
        for book in (self._ofPools.get(pool.name, pool.rules).response, self._response):
            if book is not None:
                try:
                    if witness is None:
                        book.ask(exchange)
                    else:
                        ours = book is self._response
                        book.recorded(exchange, told(witness, exchange, "response", ours))
                except Exception as error:
                    self._failed(book, error)
                    return False
        exchange.rule = decided
        return True

    def requestTrailers(self, trailers: bytes) -> bytes:
        """
        @return: what is passed on of them: none of what rules write or remove, since a
            server may take trailers for fields.
        """
        return without(trailers, self._requestNames)

    def responseTrailers(self, trailers: bytes) -> bytes:
        """The same for a response."""
        return without(trailers, self._responseNames)

    # asking

    def _ask(
        self, relay: Relay, book: Rulebook, pool: Pool | None, before: Rule | None,
        after: Rule | None = None,
    ) -> None:
        """
        @param before: of another list, what has decided before.
        @param after: the rules that come after this one are asked.
        """
        exchange = relay.exchange
        try:
            if relay.witness is not None:
                record = told(relay.witness, exchange, "request", book is self._request)
                decision = book.recorded(exchange, record, after)
            elif after is None:
                decision = book.ask(exchange)
            else:
                decision = book.after(after)(exchange)
        except Exception as error:
            self._failed(book, error)
            relay.answer(Cause.INTERNAL, 500)
            return
        self._decided(relay, book, decision, pool, before)

    def _failed(self, book: Rulebook, error: BaseException) -> None:
        rule = called(book.named(error))
        _log.failure("{rule} has failed", failure=Failure(error), rule=rule)

    def _decided(
        self, relay: Relay, book: Rulebook, decision: Any, pool: Pool | None, before: Rule | None
    ) -> None:
        """@param pool: where the exchange goes if the decision does not say otherwise."""
        kind = decision.__class__
        if kind is Deferred:
            self._wait(relay, book, decision, pool, before)
            return
        if decision is None:
            # One that was waited for has been named meanwhile.
            relay.exchange.rule = before
        elif kind is UsePool:
            pool = self._pools.get(decision.name, pool)
        elif kind is UseServer:
            settings = relay.exchange.settings or {}
            relay.exchange.settings = {**settings, "server": decision.name}
        elif kind is Tunnel:
            relay.becomeTunnel(decision)
        elif self._refused(relay, decision):
            return
        if book is self._request:
            self._choose(relay, pool)
        else:
            relay.proceed(pool)

    def _choose(self, relay: Relay, pool: Pool | None) -> None:
        """The frontend's rules have been asked."""
        book = None
        if pool is not None and relay.pooled:
            book = self._ofPools.get(pool.name, pool.rules).request
        if book is None:
            relay.proceed(pool)
        else:
            relay.exchange.pool = pool
            self._ask(relay, book, pool, relay.exchange.rule)

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
        self, relay: Relay, book: Rulebook, deferred: Deferred[Any], pool: Pool | None,
        before: Rule | None,
    ) -> None:
        relay.waitsFor = deferred

        def decided(decision: Any) -> None:
            if relay.waitsFor is not deferred:
                return
            relay.waitsFor = None
            rule = relay.exchange.rule
            if relay.witness is not None:
                relay.witness.waited(rule, decision)
                if decision is not None:
                    record = told(relay.witness, relay.exchange, "request", book is self._request)
                    book.skipped(rule, record)
            if decision is None:
                self._ask(relay, book, pool, before, rule)
            else:
                self._decided(relay, book, decision, pool, before)

        def failed(failure: Failure) -> None:
            if relay.waitsFor is not deferred and failure.check(CancelledError):
                # It is not waited for any more.
                return
            relay.waitsFor = None
            rule = called(relay.exchange.rule)
            _log.failure("{rule} has failed", failure=failure, rule=rule)
            if not relay.exchange.cause:
                relay.answer(Cause.INTERNAL, 500)

        deferred.addCallback(decided)
        deferred.addErrback(failed)
