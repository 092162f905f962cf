"""
The verb that limits: how often something may come, or how much of it there may be at
once, by any key.

Counted in one process, for each line of rules by itself; what several balancers count
together is L{lbtwist.sharing}'s. What a condition counts with C{rate(...)} and
C{connections(...)} is L{lbtwist.rules.tables}'.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule
from lbtwist.options import Integer, Kind, Name, SectionName, Time, Word, option
from lbtwist.rules.decisions import Answer, Refuse
from lbtwist.rules.sound import made
from lbtwist.rules.tables import MOST_KEYS, Concurrency
from lbtwist.rules.template import Template, Templated

if TYPE_CHECKING:
    from lbtwist.registry import Context

_LONGEST_KEY = 256


def refusal(status: int, text: str, *fields: tuple[bytes, bytes]) -> Answer:
    """@return: a refusal that looks like the balancer's own pages, with further fields."""
    reason = HTTPStatus(status).phrase
    body = f"<html><body><h1>{status} {reason}</h1>\n{text}\n</body></html>\n".encode()
    always = (b"Cache-Control", b"no-cache"), (b"Content-Type", b"text/html")
    return Answer(status, (*fields, *always), body, denied=True)


@attr.frozen
class Rate:
    """
    @ivar count: so many.
    @ivar period: in so many seconds.
    """

    count: int
    period: float


class Often(Kind[Rate]):
    """How often: C{100/10s}; C{5/s} is C{5/1s}."""

    form = "NUMBER/TIME"

    def parse(self, text: str) -> Rate:
        number, slash, time = text.partition("/")
        if not slash:
            raise ValueError(f"{text!r} is not a rate: write 100/10s")
        count = Integer(1, 10**9).parse(number)
        period = Time().parse(f"1{time}" if re.fullmatch("[a-z]+", time) else time)
        if not 0 < period <= 86400:
            raise ValueError(f"{time} is out of bounds: more than 0, up to 1d, is accepted")
        return Rate(count, period)


class Buckets:
    """
    Counts by key how often something has come, exactly, with one number for each key: the
    time at which its bucket will be full again (ITU-T I.371, the generic cell rate
    algorithm). Of more than L{MOST_KEYS} whoever has not come for longest is forgotten.
    """

    # The clock's floats are not exact; nobody waits for what is within this.
    _GRAIN = 1e-6

    def __init__(self, rate: Rate, burst: int, seconds: Callable[[], float]) -> None:
        """@param burst: so many may come at once, where none has come for long."""
        self._each = rate.period / rate.count
        self._ahead = (burst - 1) * self._each + self._GRAIN
        self._seconds = seconds
        self._full: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are known."""
        return len(self._full)

    def wait(self, key: str, take: bool = True) -> float:
        """
        Take one, if there is one.

        @param take: whether it is taken, or only looked at.
        @return: 0.0 if there was, else the seconds until there will be; what is refused
            does not count.
        """
        now = self._seconds()
        buckets = self._full
        full = buckets.get(key, 0.0)
        if full < now:
            full = now
        late = full - now - self._ahead
        if not take:
            return max(late, 0.0)
        buckets.pop(key, None)
        if late <= 0:
            late = 0.0
            full += self._each
        buckets[key] = full
        if len(buckets) > MOST_KEYS:
            buckets.popitem(last=False)
        return late


def _key(said: str) -> str:
    return said[:_LONGEST_KEY]


@attr.frozen
class LimitOptions:
    """What is too much, and of what."""

    rate: Rate | None = option(Often(), None, "How often it may come.")
    concurrency: int = option(Integer(1), 0, "So many at once; 0 is no limit.")
    by: Template = option(
        Templated(), Template.parse("{src}"), "What is counted apart; a plain text is all."
    )
    burst: int = option(
        Integer(1, 10**9), 0, "With rate: so many may come at once; 0 is the rate's number."
    )
    store: str = option(
        SectionName("store"), "", "The [store] where all who name it count; empty: here alone."
    )
    name: str = option(
        Name(), "", "With store: lines of one name count together; empty: those that say the same."
    )

    @property
    def waits(self) -> bool:
        """Whether the store has to be asked."""
        return bool(self.store)

    def __attrs_post_init__(self) -> None:
        if (self.rate is None) == (not self.concurrency):
            raise ValueError("needs either rate=NUMBER/TIME or concurrency=NUMBER")
        if self.burst and self.rate is None:
            raise ValueError("burst= says something for rate= only")
        if self.name and not self.store:
            raise ValueError("name= says something for store= only")


def _buckets(options: LimitOptions, context: Context) -> Buckets | None:
    rate = options.rate
    return None if rate is None else Buckets(rate, options.burst or rate.count, context.clock)


@attr.frozen
class RequestOptions(LimitOptions):
    """The same for requests."""

    status: int = option(Integer(400, 599), 429, "What the client is answered.")

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.status not in list(HTTPStatus):
            raise ValueError(f"there is no status {self.status}: 429 and 503 are usual")


@implementer(IRequestRule)
class Limit:
    """
    C{limit rate=N/TIME by={EXPRESSION}}, C{limit concurrency=N by={EXPRESSION}}: what is
    too much is refused, with C{Retry-After} where it is known when it will not be.
    """

    Options = RequestOptions

    def __init__(self, options: RequestOptions, context: Context) -> None:
        self.key = made(options.by, context, _key)
        self._buckets = _buckets(options, context)
        self._most = options.concurrency
        self._counts: dict[str, int] = {}
        self._refusal = partial(
            refusal, options.status, "You have sent too many requests in a given amount of time."
        )
        self.full = self._refusal()

    def requestReceived(self, exchange: Exchange) -> Answer | None:
        key = self.key(exchange)
        if self._buckets is not None:
            wait = self._buckets.wait(key, not exchange.rehearsal)
            return self.late(wait) if wait else None
        if self._counts.get(key, 0) >= self._most:
            return self.full
        if not exchange.rehearsal:
            self.enter(exchange, key)
        return None

    def late(self, wait: float) -> Answer:
        """@return: what is decided where there will be one of a rate in so many seconds."""
        # RFC 9110 section 10.2.3: whole seconds; never so few that it is too early.
        return self._refusal((b"Retry-After", b"%d" % ceil(wait)))

    def enter(self, exchange: Exchange, key: str) -> None:
        """One more is there at once, until its end."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self.whenOver(exchange, partial(self._finished, key))

    def whenOver(self, exchange: Exchange, tell: Callable[[Exchange], object]) -> None:
        """@param tell: called at the end of what is counted."""
        exchange.observers = (*exchange.observers, tell)

    def _finished(self, key: str, exchange: Exchange) -> None:
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]


@attr.frozen(eq=False)
class _Over:
    """Tells of the end of a connection in the place of what has counted it."""

    exchange: Exchange

    def leave(self, tell: Callable[[Exchange], object]) -> None:
        tell(self.exchange)


@attr.frozen
class ConnectionOptions(LimitOptions):
    """The same for connections."""

    how: str = option(
        Word("close", "reject", "silent-drop"), "close", "How the connection is ended."
    )


@implementer(IConnectionRule)
class ConnectionLimit:
    """
    The same of connections: what is too much is ended. With C{concurrency} a connection
    counts until nothing is left of it.
    """

    Options = ConnectionOptions

    def __init__(self, options: ConnectionOptions, context: Context) -> None:
        self.key = made(options.by, context, _key)
        self._buckets = _buckets(options, context)
        self._most = options.concurrency
        self._connections = Concurrency()
        self.full = Refuse(options.how)

    def connectionAccepted(self, exchange: Exchange) -> Refuse | None:
        key = self.key(exchange)
        if self._buckets is not None:
            return self.full if self._buckets.wait(key, not exchange.rehearsal) else None
        if self._connections.count(exchange, key) > self._most:
            return self.full
        return None

    def late(self, wait: float) -> Refuse:
        """@return: what is decided where a rate has none."""
        return self.full

    def enter(self, exchange: Exchange, key: str) -> None:
        """One more is there at once, until its end."""
        self._connections.count(exchange, key)

    def whenOver(self, exchange: Exchange, tell: Callable[[Exchange], object]) -> None:
        """@param tell: called when nothing is left of the connection."""
        leaving = exchange.frontend.leaving.setdefault(exchange.connection.number, set())
        leaving.add((_Over(exchange), tell))
