"""
Balancers that look at what the servers have to do: C{leastconn}, C{random},
C{peak-ewma}.

They read what is active and never count it: that is the pool's.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from math import exp, inf
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.balance.kept import FreeLots, Kept, Loads, Lots, loadOf
from lbtwist.balance.scheduled import NoOptions, Servers
from lbtwist.interfaces import IBalancer, IExchangeObserver, IFollowing, IForeseeing
from lbtwist.options import Integer, Time, option
from lbtwist.server import Forecast, Server

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context

_LEAST_LOAD = "(active + 1) / weight, the least first"
_DRAWN = "of those that are drawn by lot"


@contextmanager
def _undrawn(source: random.Random) -> Iterator[None]:
    """Lots are drawn, and will be drawn again."""
    state = source.getstate()
    try:
        yield
    finally:
        source.setstate(state)


class _Circle:
    """
    Servers to be looked at in turn.

    @ivar twice: the servers, and again, so that a slice begins anywhere.
    @ivar after: the place after each server.
    @ivar idle: the load of the heaviest server when idle; there is no lower one.
    """

    __slots__ = ("after", "idle", "twice")

    def __init__(self, servers: Servers) -> None:
        self.twice = servers + servers
        self.after = {server: place for place, server in enumerate(servers, 1)}
        self.idle = 1 / max(server.weight for server in servers)


@implementer(IBalancer, IFollowing, IForeseeing)
class LeastConn:
    """
    C{leastconn}: the server with the least M{(active + 1) / weight}; of several,
    the next one after that chosen last, so idle servers are used in turn.

    A choice looks at every server, M{O(n)}, but ends at the first that nothing can beat.
    Where it is followed and there are more than a few, it keeps them by their load: then
    what a choice costs does not depend on how many there are, 2 microseconds.
    """

    Options = NoOptions

    # To look at so many costs less than to keep them.
    _few = 16

    def __init__(self, options: NoOptions, context: Context) -> None:
        self._servers: Servers = ()
        self._circles = Kept(_Circle)
        self._turn = 0
        self._followed = False
        self._loads: Loads | None = None

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        if servers is not self._servers:
            self._offered(servers)
        if self._loads is not None:
            place = self._loads.least(self._turn)
            self._turn = place + 1
            return servers[place]
        circle = self._circle
        turn = self._turn
        idle = circle.idle
        least = inf
        for server in circle.twice[turn : turn + len(servers)]:
            load = (server.active + 1) / server.weight
            if load < least:
                chosen = server
                if load <= idle:
                    break
                least = load
        self._turn = circle.after[chosen]
        return chosen

    def _offered(self, servers: Servers) -> None:
        self._servers = servers
        self._turn %= len(servers)
        self._loads = None
        if self._followed and len(servers) > self._few:
            self._loads = Loads(servers)
        else:
            self._circle = self._circles(servers)

    def follow(self) -> Callable[[Server], None]:
        self._followed = True
        return self._counted

    def _counted(self, server: Server) -> None:
        if self._loads is not None:
            self._loads.counted(server)

    freed = _counted

    def chooseFree(
        self, servers: Servers, tried: Servers, exchange: Exchange
    ) -> Server | None:
        if servers is not self._servers:
            self._offered(servers)
        turn = self._turn
        loads = self._loads
        if loads is None:
            free = [one for one in servers[turn:] + servers[:turn]
                    if not one.full and one not in tried]  # fmt: skip
            if not free:
                return None
            chosen = min(free, key=loadOf)
            self._turn = self._circle.after[chosen]
            return chosen
        for server in tried:
            loads.hide(server)
        place = loads.least(turn)
        for server in tried:
            loads.counted(server)
        if place < 0:
            return None
        self._turn = place + 1
        return servers[place]

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        turn = self._turn % len(servers)
        chosen = min(servers[turn:] + servers[:turn], key=loadOf)
        return Forecast(chosen, {server: loadOf(server) for server in servers}, _LEAST_LOAD)


class _Drawing:
    """Lots while some servers are full; without full ones there is nothing to keep."""

    __slots__ = ("_lots", "_random", "_servers")

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._servers: Servers = ()
        self._lots: FreeLots | None = None

    def draw(self, servers: Servers, draws: int, tried: Servers) -> list[Server]:
        lots = self._lots
        if lots is None or servers is not self._servers:
            self._servers = servers
            self._lots = lots = FreeLots(servers, self._random.random)
        return lots.draw(draws, tried)

    def freed(self, server: Server) -> None:
        if self._lots is not None:
            self._lots.freed(server)


class _ByLots:
    """What balancers that draw lots have in common."""

    def __init__(self, context: Context) -> None:
        self._servers: Servers = ()
        self._random = context.random
        self._kept = Kept(lambda servers: Lots(servers, context.random.random))
        self._drawing = _Drawing(context.random)

    def follow(self) -> None:
        return None

    def freed(self, server: Server) -> None:
        self._drawing.freed(server)


@implementer(IBalancer, IFollowing, IForeseeing)
class Random(_ByLots):
    """
    C{random}: draws servers by weight and takes the one with the least
    M{(active + 1) / weight}. Two draws avoid the busiest server nearly as well as
    looking at all (M. Mitzenmacher, "The Power of Two Choices in Randomized Load
    Balancing", 2001) and cost the same for any number of servers.

    No draw is spent on the server that is already held, so of two servers the
    less loaded is always taken.
    """

    @attr.frozen
    class Options:
        draws: int = option(Integer(1, 16), 2, "How many servers are drawn and compared.")

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(context)
        self._draws = options.draws
        self._more = range(options.draws - 1)

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        if servers is not self._servers:
            self._servers = servers
            self._lots = self._kept(servers)
        if len(servers) == 1:
            return servers[0]
        lots = self._lots
        place = lots.draw()
        best = servers[place]
        for _ in self._more:
            place2 = lots.drawOther(place)
            other = servers[place2]
            if (other.active + 1) * best.weight < (best.active + 1) * other.weight:
                best = other
                place = place2
        return best

    def chooseFree(
        self, servers: Servers, tried: Servers, exchange: Exchange
    ) -> Server | None:
        return min(self._drawing.draw(servers, self._draws, tried), key=loadOf, default=None)

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        other = copy(self)
        other._servers = servers
        other._lots = Lots(servers, self._random.random)
        with _undrawn(self._random):
            chosen = other.choose(servers, exchange)
        scores = {server: loadOf(server) for server in servers}
        return Forecast(chosen, scores, f"{_LEAST_LOAD} {_DRAWN}")


_UNKNOWN, _AWAITED = -1.0, -2.0


class _Learned:
    """
    What is known of the latencies of servers, in one piece of memory: of a thousand servers each
    is asked so rarely that what is somewhere else is cold.

    @ivar places: of the servers: those of the tuple in its order, then others.
    @ivar known: of each place the seconds, L{_UNKNOWN}, or L{_AWAITED} while its first answer is;
        and when that was learned.
    """

    __slots__ = ("known", "places")

    def __init__(
        self, servers: Servers, before: _Learned | None = None, since: float = -inf
    ) -> None:
        """
        @param before: what was known; of those who are not among these servers it is kept if it
            was learned after C{since}.
        """
        had: dict[Server, int] = {} if before is None else before.places
        here = set(servers)
        order = list(servers)
        if before is not None:
            order += [
                one for one, place in had.items()
                if one not in here and before.known[2 * place + 1] > since
            ]  # fmt: skip
        self.places: dict[Server, int] = {server: place for place, server in enumerate(order)}
        self.known: array[float] = array("d", [_UNKNOWN, -inf]) * len(order)
        for place, server in enumerate(order):
            at = had.get(server)
            if at is not None and before is not None:
                self.known[2 * place : 2 * place + 2] = before.known[2 * at : 2 * at + 2]

    def placeOf(self, server: Server) -> int:
        """@return: of one that may have come by another tuple."""
        place = self.places.get(server)
        if place is None:
            place = self.places[server] = len(self.places)
            self.known.extend((_UNKNOWN, -inf))
        return place

    def asked(self, place: int, now: float) -> None:
        """A server is asked: if nothing is known of it, its answer will be the first."""
        if self.known[2 * place] == _UNKNOWN:
            self.learn(place, _AWAITED, now)

    def learn(self, place: int, seconds: float, now: float) -> None:
        known = self.known
        known[2 * place] = seconds
        known[2 * place + 1] = now


@implementer(IBalancer, IExchangeObserver, IFollowing, IForeseeing)
class PeakEWMA(_ByLots):
    """
    C{peak-ewma}: of two servers drawn by weight, the one with the least
    M{latency * (active + 1) / weight}.

    The latency is from the choice of the server to the head of its response (in
    C{mode = tcp} to the connection). One above the average kept for the server
    takes its place at once; lower ones pull it down with the time constant
    C{decay}. What was learned fades: without news a server is taken to be like
    all, so one that was slow is tried again. A response that failed can make a
    server look slower, never faster.

    A server of which nothing is known gets one exchange at once. Until that is
    answered, though not for longer than C{decay}, it loses against the others.
    """

    @attr.frozen
    class Options:
        decay: float = option(
            Time(), 10.0, "How fast latencies are forgotten: to 37% in this time.",
            check=lambda seconds: None if seconds > 0 else "must be more than 0",
        )  # fmt: skip

    # Seconds: taken for a server that was asked and has not answered.
    _awaited = 3600.0
    # Seconds added to each latency, so that loads count where latencies are nil.
    _least = 1e-6

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(context)
        self._decay = options.decay
        self._clock = context.clock
        self._learned = _Learned(())
        self._typical = 0.0
        self._typicalAt = -inf

    def choose(self, servers: Servers, exchange: Exchange) -> Server:
        now = self._clock()
        if servers is not self._servers:
            self._offered(servers, now)
        place = self._drawn(self._lots, servers, now) if len(servers) > 1 else 0
        self._learned.asked(place, now)
        return servers[place]

    def _offered(self, servers: Servers, now: float) -> None:
        self._servers = servers
        self._lots = self._kept(servers)
        # After eight time constants a thousandth of it is left.
        self._learned = _Learned(servers, self._learned, now - 8 * self._decay)

    def chooseFree(
        self, servers: Servers, tried: Servers, exchange: Exchange
    ) -> Server | None:
        now = self._clock()
        if servers is not self._servers:
            self._offered(servers, now)
        drawn = self._drawing.draw(servers, 2, tried)
        chosen = min(drawn, key=lambda server: self._costOf(server, now), default=None)
        if chosen is not None:
            self._learned.asked(self._learned.places[chosen], now)
        return chosen

    def _drawn(self, lots: Lots, servers: Servers, now: float) -> int:
        """
        @param servers: what was offered last.
        @return: the place of one.
        """
        place = lots.draw()
        other = lots.drawOther(place)
        cost = self._cost(place, servers[place], now)
        return other if self._cost(other, servers[other], now) < cost else place

    def foresee(self, servers: Servers, exchange: Exchange) -> Forecast:
        """Scores are seconds."""
        now = self._clock()
        other = copy(self)
        other._servers = servers
        other._learned = _Learned(servers, self._learned, -inf)
        with _undrawn(self._random):
            lots = Lots(servers, self._random.random)
            place = other._drawn(lots, servers, now) if len(servers) > 1 else 0
        scores = {server: other._costOf(server, now) for server in servers}
        meaning = f"estimated seconds * (active + 1) / weight, the least first {_DRAWN}"
        return Forecast(servers[place], scores, meaning)

    def exchangeFinished(self, exchange: Exchange) -> None:
        server = exchange.server
        if server is None or not exchange.assignedAt:
            return
        now = self._clock()
        answeredAt = exchange.connectedAt if exchange.request is None else exchange.respondedAt
        seconds = (answeredAt or exchange.finishedAt) - exchange.assignedAt
        learned = self._learned
        place = learned.placeOf(server)
        known = learned.known[2 * place]
        if not answeredAt or exchange.status >= 500:
            if seconds > (known if known >= 0 else self._typical):
                learned.learn(place, seconds, now)
            return
        old = exp((self._typicalAt - now) / self._decay)
        self._typical = seconds + (self._typical - seconds) * old
        self._typicalAt = now
        if seconds < known:
            at = learned.known[2 * place + 1]
            seconds += (known - seconds) * exp((at - now) / self._decay)
        learned.learn(place, seconds, now)

    def _costOf(self, server: Server, now: float) -> float:
        return self._cost(self._learned.places[server], server, now)

    def _cost(self, place: int, server: Server, now: float) -> float:
        """@param place: of what was learned of a server."""
        known = self._learned.known
        seconds, at = known[2 * place], known[2 * place + 1]
        if seconds >= 0:
            typical = self._typical
            seconds = typical + (seconds - typical) * exp((at - now) / self._decay)
        elif seconds == _AWAITED:
            seconds = self._awaited if now - at < self._decay else self._typical
        else:
            return 0.0
        return (seconds + self._least) * (server.active + 1) / server.weight
