"""
Verbs that may wait for something before they decide, and those of third parties: how long
they may take, how many of them at once, and what is decided where they do not.

What they are asked for is not known here; a built-in verb that decides at once is asked
without any of this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.config.model import RuleLine
from lbtwist.deadlines import Deadlines, Timed
from lbtwist.errors import Undecided
from lbtwist.exchange import Exchange
from lbtwist.rules.decisions import DECISIONS, Allow, Deny, Refuse
from lbtwist.rules.values import Stage

BLOCKING = 0.05
"""Seconds for which a verb may keep all else waiting before it is told of."""

QUIET = 10.0
"""Seconds between two reports of the same about one rule."""

_log = Logger()


class Reports:
    """What is told of one rule: at once, and not again for a while."""

    def __init__(self, line: RuleLine, seconds: Callable[[], float]) -> None:
        self._line = line
        self._seconds = seconds
        self._quietUntil = -QUIET
        self._untold = 0

    def tell(self, what: str, failure: Failure | None = None) -> None:
        """
        @param what: the rule has done.
        @param failure: with a traceback that helps.
        """
        now = self._seconds()
        if now < self._quietUntil:
            self._untold += 1
            return
        often = f", as {self._untold} times more before" if self._untold else ""
        self._quietUntil = now + QUIET
        self._untold = 0
        line = self._line
        said = "the rule {rule!r} of {where} {what}{often}"
        if failure is None:
            _log.warn(said, rule=line.text, where=line.where, what=what, often=often)
        else:
            _log.failure(said, failure, rule=line.text, where=line.where, what=what, often=often)


class _Waiting(Timed):
    """
    One exchange for which a verb has not decided yet.

    @ivar ours: what who asked has been given; L{None} if it was decided at once.
    @ivar theirs: what the verb has given.
    @ivar told: the decision, or the failure to make one; L{None} where it is not there.
    """

    __slots__ = ("_abandoned", "_verb", "counted", "ours", "over", "theirs", "told")

    def __init__(self, verb: Verb, theirs: Deferred[Any]) -> None:
        super().__init__()
        self._verb = verb
        self._abandoned = False
        self.theirs = theirs
        self.ours: Deferred[Any] | None = None
        self.counted = False
        self.over = False
        self.told: Any = None

    def came(self, result: Any) -> None:
        """The verb has come to an end."""
        self.over = True
        verb = self._verb
        if self.counted:
            verb.underWay -= 1
        if self._abandoned:
            return
        self.told = verb.decided(result)
        if self.ours is not None:
            verb.forget(self)
            self.ours.callback(self.told)

    def abandon(self, ours: object = None) -> None:
        """Nobody waits for it any more."""
        self._abandoned = True
        self._verb.forget(self)
        self.theirs.cancel()

    def expired(self) -> None:
        ours = self.ours
        assert ours is not None
        self.abandon()
        ours.callback(self._verb.late())


class Verb:
    """
    Asks one verb.

    @ivar underWay: exchanges for which it has not decided yet; one of them may be
        abandoned and not have noticed.
    """

    def __init__(
        self,
        ask: Callable[[Exchange], Any],
        line: RuleLine,
        stage: Stage,
        deadlines: Deadlines | None,
        clock: Callable[[], float] | None = time.perf_counter,
    ) -> None:
        """
        @param deadlines: without any the verb is waited for as long as it takes.
        @param clock: by which it is measured how long the verb keeps all else waiting;
            L{None} for one that is known not to.
        """
        self._clock = clock
        self._ask = ask if clock is None else self._measured(ask, clock)
        self._asking = asking = line.asking
        self._deadlines = deadlines
        seconds = time.monotonic if deadlines is None else deadlines.seconds
        self._failures = Reports(line, seconds)
        self._blocked = Reports(line, seconds)
        self.underWay = 0
        self._otherwise: Any = None
        if asking.on_error != "allow":
            status = 503 if asking.on_error == "503" else 403
            self._otherwise = Refuse("close") if stage is Stage.CONNECTION else Deny(status)

    def ask(self, exchange: Exchange) -> Any:
        """
        @return: what there was decided, by whatever means, or a Deferred of it that does
            not fail; L{None} where the next rule is asked.
        """
        try:
            found = self._ask(exchange)
        except Exception:
            return self.decided(Failure())
        if found is None or found.__class__ in DECISIONS:
            return found
        if iscoroutine(found):
            if self._full:
                found.close()
                return self._tooMany()
            found = Deferred.fromCoroutine(self._steps(found))
        if isinstance(found, Deferred):
            return self._wait(found)
        return self.decided(found)

    def askAtOnce(self, exchange: Exchange) -> Any:
        """
        The same for a response: nobody can be told to wait for it.

        @raise TypeError: if the verb gives something that has to be waited for, or
            decides what only rules for requests can.
        """
        found = self._ask(exchange)
        if found is None or found.__class__ is Allow:
            return found
        if iscoroutine(found):
            found.close()
        elif isinstance(found, Deferred):
            found.addErrback(lambda failure: None)
            found.cancel()
        raise TypeError(f"a rule for a response says None or Allow(), not {found!r}")

    @property
    def _full(self) -> bool:
        return 0 < self._asking.concurrency <= self.underWay

    def _tooMany(self) -> Any:
        count = self._asking.concurrency
        return self._undecided(f"was not asked: {count} are waiting for it already")

    def _wait(self, theirs: Deferred[Any]) -> Any:
        waiting = _Waiting(self, theirs)
        theirs.addBoth(waiting.came)
        if waiting.over:
            return waiting.told
        if self._full:
            waiting.abandon()
            return self._tooMany()
        self.underWay += 1
        waiting.counted = True
        ours: Deferred[Any] = Deferred(waiting.abandon)
        waiting.ours = ours
        deadlines = self._deadlines
        if deadlines is not None:
            deadlines.arm(waiting, self._asking.deadline, deadlines.seconds())
        return ours

    def forget(self, waiting: _Waiting) -> None:
        """It needs no deadline any more."""
        if self._deadlines is not None:
            self._deadlines.forget(waiting)

    # what is decided

    def decided(self, result: Any) -> Any:
        """
        @param result: of the verb; also a L{Failure}.
        @return: a decision, or L{None}.
        """
        if result is None or result.__class__ in DECISIONS:
            return result
        if not isinstance(result, Failure):
            return self._undecided(f"has decided nothing that there is: {result!r:.200}")
        if result.check(Undecided):
            return self._undecided(f"cannot decide: {result.getErrorMessage()}")
        return self._undecided(f"has failed: {type(result.value).__name__}", result)

    def late(self) -> Any:
        """@return: what is decided because it has taken too long."""
        return self._undecided(f"has not decided within {self._asking.deadline:g} s")

    def _undecided(self, why: str, failure: Failure | None = None) -> Any:
        self._failures.tell(why, failure)
        return self._otherwise

    # how long it keeps all else waiting

    def _measured(
        self, ask: Callable[[Exchange], Any], clock: Callable[[], float]
    ) -> Callable[[Exchange], Any]:
        def measured(exchange: Exchange) -> Any:
            began = clock()
            try:
                return ask(exchange)
            finally:
                self._spent(clock() - began)

        return measured

    def _spent(self, seconds: float) -> None:
        if seconds > BLOCKING:
            self._blocked.tell(f"has kept everything else waiting for {seconds * 1000:.0f} ms")

    def _steps(
        self, coroutine: Coroutine[Deferred[Any], Any, Any]
    ) -> Coroutine[Deferred[Any], Any, Any] | Generator[Deferred[Any], Any, Any]:
        clock = self._clock
        return coroutine if clock is None else self._measuredSteps(coroutine, clock)

    def _measuredSteps(
        self, coroutine: Coroutine[Deferred[Any], Any, Any], clock: Callable[[], float]
    ) -> Generator[Deferred[Any], Any, Any]:
        """@return: does what a coroutine does; each of its steps is measured."""
        result: Any = None
        failure: Exception | None = None
        try:
            while True:
                began = clock()
                try:
                    if failure is None:
                        awaited = coroutine.send(result)
                    else:
                        awaited = coroutine.throw(failure)
                except StopIteration as done:
                    return done.value
                finally:
                    self._spent(clock() - began)
                failure = None
                try:
                    result = yield awaited
                except Exception as error:
                    failure = error
        finally:
            coroutine.close()
