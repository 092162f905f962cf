"""
The verb C{explain}: waits for a real exchange, and tells how it was decided.

It is L{lbtwist.service.LoadBalancer.explainNext} in words; while nobody asks it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbtwist.admin.finding import parsed
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Severity, Verb
from lbtwist.errors import NothingSeen
from lbtwist.exchange import Exchange
from lbtwist.explaining.explanation import Explanation
from lbtwist.explaining.words import asText
from lbtwist.options import Time
from lbtwist.rules.compiling import compiled
from lbtwist.rules.expression import Expression, ExpressionError, Scope
from lbtwist.rules.values import Stage
from lbtwist.service import Frontend, LoadBalancer

LIMIT = 60.0
"""Seconds that it waits unless somebody says otherwise."""

LONGEST = 3600.0
"""Seconds: nobody waits for longer."""

Matches = Callable[[Exchange], bool]


def explain(asked: Asked, words: Sequence[str]) -> Deferred[Answer]:
    """
    C{explain [frontend <name>] [limit <time>] [match <expression>]}. All that follows C{match}
    is a condition as rules have it.
    """
    balancer = asked.balancer
    wanted = Wanted.of(balancer, words)
    if balancer.workers is None:
        waiting = here(balancer, wanted)
    else:
        waiting = [
            one.addCallback(_ofWorker) for one in balancer.workers.ask("explain", list(words))
        ]
    return first(waiting).addErrback(_unseen)


def _ofWorker(said: Any) -> Answer:
    """@raise NothingSeen: if it has seen none."""
    if said is None:
        raise NothingSeen("the worker has ended")
    if "why" in said:
        raise NothingSeen(said["why"])
    return Answer(said["text"], said["value"])


def _unseen(failure: Failure) -> Answer:
    failure.trap(NothingSeen)
    return Refused(f"{failure.getErrorMessage()}.", Severity.WARNING).answer


@attr.frozen(eq=False)
class Wanted:
    """
    Which exchange somebody waits for.

    @ivar frontends: names of frontends, each with what its exchanges are asked.
    @ivar limit: seconds.
    """

    frontends: Sequence[tuple[str, Matches]]
    limit: float

    @classmethod
    def of(cls, balancer: LoadBalancer, words: Sequence[str]) -> Wanted:
        """@raise Refused: if there is none such."""
        frontends = list(balancer.frontends.values())
        limit, text = LIMIT, ""
        rest = iter(words)
        for word in rest:
            if word == "match":
                text = " ".join(rest)
                if not text:
                    raise Refused('A condition has to follow \'match\': path.startswith("/x").')
            elif word == "limit":
                limit = parsed(Time(), next(rest, ""))
                if not 0 < limit <= LONGEST:
                    raise Refused("A time up to 1h is accepted.")
            elif word == "frontend":
                name = next(rest, "")
                if name not in balancer.frontends:
                    raise Refused("No such frontend.")
                frontends = [balancer.frontends[name]]
            else:
                raise Refused("Only 'frontend', 'limit' and 'match' are known.")
        return cls(list(_matching(balancer, frontends, text)), limit)


def _matching(
    balancer: LoadBalancer, frontends: Sequence[Frontend], text: str
) -> Iterator[tuple[str, Matches]]:
    """
    @return: names of frontends, each with what its exchanges are asked; those that cannot be
        asked so are left out as long as there are others.
    @raise Refused: if none can.
    """
    problem: ExpressionError | None = None
    found: dict[bool, Matches | None] = {}
    for frontend in frontends:
        http = frontend.inbound.config.mode == "http"
        if http not in found:
            try:
                found[http] = _condition(balancer, text, http)
            except ExpressionError as error:
                problem = problem or error
                found[http] = None
    if problem is not None and not any(found.values()):
        raise Refused(f"match: {problem} (character {problem.at + 1}).")
    for frontend in frontends:
        matches = found[frontend.inbound.config.mode == "http"]
        if matches is not None:
            yield frontend.inbound.name, matches


def _condition(balancer: LoadBalancer, text: str, http: bool) -> Matches:
    """@raise ExpressionError: if it cannot be asked there."""
    if not text:
        return lambda exchange: True
    scope = Scope(
        Stage.REQUEST if http else Stage.CONNECTION, http, balancer.config.conditions,
        pool=balancer.pools.__getitem__, seconds=balancer.deadlines.seconds,
    )  # fmt: skip
    ask = compiled(Expression.parse(text).check(scope))
    return lambda exchange: _isThere(exchange, http) and bool(ask(exchange))


def _isThere(exchange: Exchange, http: bool) -> bool:
    """Whether there is what a condition asks for: not without a request in HTTP."""
    return exchange.request is not None or not http


def here(balancer: LoadBalancer, wanted: Wanted) -> list[Deferred[Answer]]:
    """@return: of each frontend, in this process."""
    return [
        balancer.explainNext(name, matches, wanted.limit).addCallback(_answer)
        for name, matches in wanted.frontends
    ]


def _answer(said: Explanation) -> Answer:
    return Answer(f"{asText(said)}\n", {"steps": said.steps, "action": attr.asdict(said.action)})


def first(waiting: Iterable[Deferred[Answer]]) -> Deferred[Answer]:
    """
    @return: of the first that comes of several; the others are cancelled then. It fails with
        L{NothingSeen} when each of them has.
    """
    return _First(waiting).told


class _First:
    """Somebody waits for the first of several."""

    def __init__(self, waiting: Iterable[Deferred[Answer]]) -> None:
        self.told: Deferred[Answer] = Deferred(lambda told: self._end())
        self._waiting = list(waiting)
        self._ended = False
        if not self._waiting:
            self.told.errback(NothingSeen("nobody serves now"))
        for one in list(self._waiting):
            one.addCallbacks(self._came, self._failed, callbackArgs=(one,), errbackArgs=(one,))

    def _came(self, said: Answer, one: Deferred[Answer]) -> None:
        if self._ended:
            return
        self._waiting.remove(one)
        self._end()
        self.told.callback(said)

    def _failed(self, failure: Failure, one: Deferred[Answer]) -> None:
        if self._ended:
            return
        self._waiting.remove(one)
        if self._waiting and failure.check(NothingSeen):
            # Another one may still see one.
            return
        self._end()
        self.told.errback(failure)

    def _end(self) -> None:
        self._ended = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.cancel()


VERBS = (
    Verb(
        "explain [frontend <name>] [limit <time>] [match <expression>]",
        "wait for a real exchange, and say how it was decided", Level.OPERATOR, explain,
    ),
)  # fmt: skip
