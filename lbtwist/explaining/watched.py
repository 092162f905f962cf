"""
Waiting for a real exchange, to have it explained: who waits, for how long, and what a
frontend is given for that and has taken away again. While nobody waits nothing of this is
there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.errors import NothingSeen
from lbtwist.exchange import Exchange
from lbtwist.explaining.explanation import Explanation
from lbtwist.explaining.witnessed import Asked, Waited, Witnessed
from lbtwist.http.deciding import Deciding
from lbtwist.pool import Pool
from lbtwist.rules.rulebook import Record, Rule, Rulebook, Step

if TYPE_CHECKING:
    from lbtwist.inbound import Inbound

MOST = 16
"""Who wait at once in one process."""

MOST_CONNECTIONS = 256
"""Connections of a frontend whose connection rules are remembered."""

Matches = Callable[[Exchange], bool]

_log = Logger()


class _Waiting:
    """
    Somebody who waits for an exchange.

    @ivar seen: the one it will be; L{None} as long as none has come.
    """

    def __init__(self, frontend: _Frontend, matches: Matches, limit: float) -> None:
        self.deferred: Deferred[Explanation] = Deferred(self._cancelled)
        self.frontend = frontend
        self.seen: Witnessed | None = None
        self._matches = matches
        self._limit = limit
        self._timer = frontend.watchers.reactor.callLater(limit, self._late)

    def matches(self, exchange: Exchange) -> bool:
        if self.seen is not None:
            return False
        try:
            return bool(self._matches(exchange))
        except Exception:
            self.fail(Failure())
            return False

    def succeed(self, said: Explanation) -> None:
        self._end()
        self.deferred.callback(said)

    def fail(self, failure: Failure | NothingSeen) -> None:
        self._end()
        self.deferred.errback(failure)

    def _late(self) -> None:
        if self.seen is not None:
            self.succeed(self.seen.underWay())
        else:
            self.fail(NothingSeen(f"no such exchange has come within {self._limit:g} s"))

    def _cancelled(self, deferred: Deferred[Explanation]) -> None:
        self._end()

    def _end(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        self.frontend.left(self)


class _Frontend:
    """
    One frontend in which somebody waits for an exchange; provides
    L{lbtwist.inbound.Watch}.
    """

    def __init__(self, watchers: Watchers, inbound: Inbound) -> None:
        self.watchers = watchers
        self.waiting: list[_Waiting] = []
        self._inbound = inbound
        self._deciding: Deciding | None = None
        self._connections: dict[int, list[Asked]] = {}
        self.resume()

    def resume(self) -> None:
        inbound = self._inbound
        inbound.watch = self
        self._usual = inbound.observers
        inbound.observers = (*self._usual, self._passedBy)
        shared = inbound.shared
        if shared is None:
            return
        shared.observers = inbound.observers
        self._deciding = shared.deciding
        if shared.deciding is None:
            shared.deciding = Deciding(None, None, inbound.pools, inbound.deadlines)
        shared.deciding.watch = self._began

    def left(self, waiting: _Waiting) -> None:
        """One does not wait any more; when nobody does, all is as it was."""
        self.waiting.remove(waiting)
        if not self.waiting:
            self.rest()
            self.watchers.empty(self._inbound)

    def rest(self) -> None:
        inbound = self._inbound
        inbound.watch = None
        inbound.observers = self._usual
        shared = inbound.shared
        if shared is not None:
            shared.observers = self._usual
            assert shared.deciding is not None
            shared.deciding.watch = None
            shared.deciding = self._deciding

    # what the frontend tells

    def connectionAsked(self, exchange: Exchange) -> Record:
        told = self._told(exchange)

        def record(step: Step) -> None:
            told.append(("connection", f"frontend {exchange.frontend.name}", step))

        return record

    def connectionWaited(
        self, exchange: Exchange, book: Rulebook, rule: Rule | None, decision: Any
    ) -> None:
        if rule is None:
            return
        told = self._told(exchange)
        told.append(("connection", "", Waited(rule, decision)))
        if decision is not None:
            book.skipped(rule, self.connectionAsked(exchange))

    def _told(self, exchange: Exchange) -> list[Asked]:
        connections = self._connections
        number = exchange.connection.number
        if number not in connections and len(connections) >= MOST_CONNECTIONS:
            del connections[next(iter(connections))]
        return connections.setdefault(number, [])

    def sessionBegan(self, exchange: Exchange, pool: Pool) -> None:
        witness = self._began(exchange)
        if witness is not None:
            exchange.pool = pool
            witness.departs(exchange, pool, b"")

    def _began(self, exchange: Exchange) -> Witnessed | None:
        """The rules are about to be asked, or were: who waits for this one?"""
        # It will not have passed by.
        exchange.observers = tuple(one for one in exchange.observers if one != self._passedBy)
        witness = self._witness(exchange)
        if witness is not None:
            exchange.observers = (*exchange.observers, witness.finished)
        return witness

    def _passedBy(self, exchange: Exchange) -> None:
        """An observer: it has ended, and no rule for requests was asked."""
        witness = self._witness(exchange)
        if witness is not None:
            witness.finished(exchange)

    def _witness(self, exchange: Exchange) -> Witnessed | None:
        wanting = [one for one in tuple(self.waiting) if one.matches(exchange)]
        if not wanting:
            return None
        earlier = self._connections.get(exchange.connection.number, ())
        witness = Witnessed(exchange, earlier, partial(self._seen, wanting))
        for one in wanting:
            one.seen = witness
        return witness

    def _seen(self, wanting: list[_Waiting], witness: Witnessed) -> None:
        for one in wanting:
            if one in self.waiting:
                one.succeed(witness.said)


class Watchers:
    """All who wait for an exchange of a balancer."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._frontends: dict[Inbound, _Frontend] = {}

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(one.waiting) for one in self._frontends.values())

    def next(self, inbound: Inbound, matches: Matches, limit: float) -> Deferred[Explanation]:
        """
        @param matches: whether it is the one that is waited for. Its request is L{None} in
            C{mode = tcp}, and where none was read.
        @param limit: seconds.
        @return: an L{Explanation} of the next exchange that matches, when it has ended, or
            after the limit as far as it has come. It fails with L{NothingSeen} if none
            comes, or too many wait already.
        """
        if len(self) >= MOST:
            return fail(NothingSeen(f"{MOST} are waiting for an exchange already"))
        frontend = self._frontends.get(inbound)
        if frontend is None:
            frontend = self._frontends[inbound] = _Frontend(self, inbound)
        waiting = _Waiting(frontend, matches, limit)
        frontend.waiting.append(waiting)
        return waiting.deferred

    def empty(self, inbound: Inbound) -> None:
        """Nobody waits in a frontend."""
        del self._frontends[inbound]

    def stop(self) -> None:
        """Nobody waits any more."""
        for frontend in tuple(self._frontends.values()):
            for waiting in tuple(frontend.waiting):
                waiting.fail(NothingSeen("the balancer stops"))
