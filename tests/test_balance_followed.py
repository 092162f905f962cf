"""
Balancers that are followed: whatever is counted, they choose what one who looks at every
server would choose, and no pool has to look at all of them for it.
"""

import gc
import weakref
from collections import Counter
from random import Random as Dice
from types import SimpleNamespace
from unittest import TestCase

import pytest
from pooled import Client, pooled
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from lbtwist.balance import (
    FieldHash,
    First,
    LeastConn,
    PeakEWMA,
    Random,
    RoundRobin,
    SourceHash,
    URIHash,
)
from lbtwist.balance.kept import FreeLots, Loads
from lbtwist.balance.spread import Ring, Table
from lbtwist.exchange import Cause
from lbtwist.interfaces import IBalancer, IFollowing
from lbtwist.registry import Context
from lbtwist.testing import BalancerContract, LoadAwareContract, fakeExchange, makeServers

ALL = [
    (RoundRobin, {}),
    (First, {}),
    (LeastConn, {}),
    (Random, {}),
    (Random, {"draws": 3}),
    (PeakEWMA, {}),
    (SourceHash, {}),
    (URIHash, {"map": True}),
    (URIHash, {"load": 125}),
    (FieldHash, {"field": "X-User"}),
    (FieldHash, {"field": "X-User", "load": 100}),
    (FieldHash, {"field": "X-User", "map": True, "load": 150}),
]
EACH = pytest.mark.parametrize(("cls", "options"), ALL)


def make(cls, seed=5, **options):
    return cls(cls.Options(**options), Context(random=Dice(seed)))


class Counting:
    """
    Counts what is active as a pool does, and tells the balancer.

    @ivar running: a server for each exchange.
    """

    def __init__(self, balancer, servers):
        self.balancer = balancer
        self.servers = servers
        self.counted = balancer.follow() or (lambda server: None)
        self.running = []

    def choose(self, exchange, tried=()):
        full = any(server.full for server in self.servers)
        if all(server.full for server in self.servers):
            return None
        if full or tried:
            return self.balancer.chooseFree(self.servers, tried, exchange)
        return self.balancer.choose(self.servers, exchange)

    def begins(self, server):
        server.active += 1
        self.running.append(server)
        self.counted(server)

    def ends(self, at):
        server = self.running.pop(at)
        was = server.full
        server.active -= 1
        self.counted(server)
        if was:
            self.balancer.freed(server)

    def sets(self, server, active):
        server.active = active
        self.counted(server)
        if not server.full:
            self.balancer.freed(server)


def exchanges(dice):
    number = dice.randrange(40)
    if dice.random() < 0.2:
        return fakeExchange(None, client=f"192.0.2.{number}")
    fields = {"X-User": str(number)} if dice.random() < 0.8 else {}
    return fakeExchange(f"/{number}", fields, client=f"192.0.2.{number}")


def episode(cls, options, seed, seen):
    """
    Exchanges come, fail on servers and end, by chance; servers leave and come back, and
    weights change, in a new tuple each time.

    @param seen: told of each choice: C{(counting, exchange, tried, chosen)}.
    """
    dice = Dice(seed)
    count = dice.choice((1, 2, 5, 17, 40))
    every = makeServers(*[dice.choice((1, 1, 2, 7)) for _ in range(count)])
    for server in every:
        server.maxconn = dice.choice((0, 1, 2, 4))
    counting = Counting(make(cls, seed, **options), every)
    for _ in range(200):
        exchange = exchanges(dice)
        tried = tuple(dice.sample(counting.servers, min(len(counting.servers), dice.choice(
            (0, 0, 0, 1, 2, 9)
        ))))  # fmt: skip
        before = counting.servers, [server.active for server in every]
        chosen = counting.choose(exchange, tried)
        assert before == (counting.servers, [server.active for server in every])
        seen(counting, exchange, tried, chosen)
        if chosen is not None:
            counting.begins(chosen)
        while counting.running and (chosen is None or dice.random() < 0.5):
            counting.ends(dice.randrange(len(counting.running)))
            if dice.random() < 0.3:
                break
        if dice.random() < 0.05:
            dice.choice(every).weight = dice.randrange(1, 9)
            away = dice.sample(every, dice.randrange(count))
            counting.servers = tuple(s for s in every if s not in away)


@EACH
def test_oneThatIsFree(cls, options):
    """One is chosen wherever there is one, and never one that is full or tried."""

    def seen(counting, exchange, tried, chosen):
        free = {s for s in counting.servers if not s.full and s not in tried}
        assert (chosen in free) if free else chosen is None

    for seed in range(8):
        episode(cls, options, seed, seen)


def test_leastconnHasTheLeastOfAll():
    """And of those with the same load the next one after that chosen last."""

    def seen(counting, exchange, tried, chosen):
        if chosen is None:
            return
        servers = counting.servers
        turn = last.get("turn", 0) % len(servers) if servers is last.get("servers") else None
        if turn is not None:
            free = [s for s in servers[turn:] + servers[:turn]
                    if not s.full and s not in tried]  # fmt: skip
            assert chosen is min(free, key=lambda s: (s.active + 1) / s.weight)
        last.update(servers=servers, turn=servers.index(chosen) + 1)

    for seed in range(60):
        last = {}
        episode(LeastConn, {}, seed, seen)


def test_firstIsTheFirst():
    def seen(counting, exchange, tried, chosen):
        free = [s for s in counting.servers if not s.full and s not in tried]
        assert chosen is (free[0] if free else None)

    for seed in range(30):
        episode(First, {}, seed, seen)


@pytest.mark.parametrize(
    ("cls", "options"),
    [(SourceHash, {}), (URIHash, {}), (FieldHash, {"field": "X-User"}), (URIHash, {"load": 120})],
)
def test_aRingAnswersAsOneOfTheFreeAlone(cls, options):
    """Whoever is not followed, and is offered the free ones only, chooses the same."""

    def seen(counting, exchange, tried, chosen):
        free = tuple(s for s in counting.servers if not s.full and s not in tried)
        request = exchange.request
        if free and (request is None or cls is not FieldHash or request.fields.get(b"x-user")):
            assert chosen is plain.choose(free, exchange)

    for seed in range(4):
        plain = make(cls, **options)
        episode(cls, options, seed, seen)


def test_roundrobinAnswersAsIfTheOthersWereAway():
    """The same as where the tuple has the free ones only, each time."""
    for seed in range(60):
        dice = Dice(seed)
        servers = makeServers(*[dice.choice((1, 2, 5)) for _ in range(6)])
        followed, plain = make(RoundRobin), make(RoundRobin)
        followed.follow()
        assert followed.choose(servers, None) is plain.choose(servers, None)
        full = set()
        for _ in range(300):
            if dice.random() < 0.4:
                server = dice.choice(servers)
                server.maxconn, server.active = 1, int(server not in full)
                full ^= {server}
                if server not in full:
                    followed.freed(server)
            tried = tuple(dice.sample(servers, dice.choice((0, 0, 1, 2))))
            free = tuple(s for s in servers if s not in full and s not in tried)
            if free:
                assert followed.chooseFree(servers, tried, None) is plain.choose(free, None)


def test_randomDrawsByWeightAmongTheFree():
    servers = makeServers(1, 2, 3, 4, 5)
    servers[3].maxconn = servers[3].active = 1
    balancer = make(Random, draws=1)
    had = Counter(
        balancer.chooseFree(servers, (servers[1],), None).name for _ in range(90_000)
    )
    assert set(had) == {"a", "c", "e"}
    assert all(abs(had[name] / 10_000 - weight) < 0.02 * weight
               for name, weight in {"a": 1, "c": 3, "e": 5}.items())  # fmt: skip


def test_theSecondLotIsDrawnByWeightAmongTheOthers():
    servers = makeServers(5, 3, 2)
    lots = FreeLots(servers, Dice(1).random)
    had = Counter("".join(one.name for one in lots.draw(2, ())) for _ in range(100_000))
    for pair, share in {
        "ab": 0.5 * 3 / 5, "ac": 0.5 * 2 / 5, "ba": 0.3 * 5 / 7, "bc": 0.3 * 2 / 7,
        "ca": 0.2 * 5 / 8, "cb": 0.2 * 3 / 8,
    }.items():  # fmt: skip
        assert abs(had[pair] / 100_000 - share) < 0.005
    assert {len(lots.draw(9, ())) for _ in range(50)} == {3}, "no two the same"


def test_loadsForgetThoseThatNobodyHas():
    servers = makeServers(*[1] * 20)
    loads = Loads(servers)
    for active in range(2000):
        servers[active % 20].active = active
        loads.counted(servers[active % 20])
    assert len(loads._heap) <= 2 * 20 + 65
    assert servers[loads.least(0)] is min(servers, key=lambda s: s.active)


def test_aRingThatChangedIsAsIfMadeAnew():
    dice = Dice(4)
    every = makeServers(*[1] * 40)
    ring = Ring(every)
    for _ in range(60):
        dice.choice(every).weight = dice.randrange(1, 4)
        some = tuple(s for s in every if dice.random() < 0.95)
        ring = Ring(some, ring)
        new = Ring(some)
        assert (ring._points, ring.owners) == (new._points, new.owners)


@pytest.mark.parametrize("cls", [Ring, Table])
def test_theNearestAreThoseAWalkComesBy(cls):
    dice = Dice(6)
    servers = makeServers(1, 2, 3, 1, 1)
    spread = cls(servers)
    for _ in range(500):
        number = dice.randrange(1 << 64)
        place = spread.find(number)
        walked = dict.fromkeys(spread.owners[place - step] for step in range(len(spread.owners)))
        assert spread.nearest(number, servers) == list(walked)
        assert spread.nearest(number, servers[1:3]) == [s for s in walked if s in servers[1:3]]


@pytest.mark.parametrize("options", [{"load": 100}, {"load": 125}, {"load": 125, "map": True}])
def test_aBoundedLoadIsNeverExceededWhereItIsCounted(options):
    """As where nothing is counted, of the servers that are not full."""

    def seen(counting, exchange, tried, chosen):
        if chosen is not None:
            free = [s for s in counting.servers if not s.full and s not in tried]
            active = sum(s.active for s in free) + 1
            share = active * chosen.weight / sum(s.weight for s in free)
            assert chosen.active < options["load"] / 100 * share

    for seed in range(8):
        episode(URIHash, options, seed, seen)


@EACH
def test_forgetsServersThatAreGone(cls, options):
    clock = SimpleNamespace(now=1.0)
    context = Context(random=Dice(1), clock=lambda: clock.now)
    counting = Counting(cls(cls.Options(**options), context), makeServers(*[1] * 40))
    for server in counting.servers:
        server.maxconn = 1
    for _ in range(30):
        counting.begins(counting.choose(fakeExchange("/", {"X-User": "x"})))
    gone = [weakref.ref(server) for server in counting.servers[2:]]
    counting.running = []
    a, b = counting.servers[:2]
    for server in a, b:
        counting.sets(server, 0)
    some = [fakeExchange("/", {"X-User": "x"}), fakeExchange("/", {})]
    for _ in range(5):
        clock.now += 1000.0
        counting.servers = (a, b)
        for exchange in some * 1100:
            counting.choose(exchange)
            counting.choose(exchange, (a,))
    del server
    gc.collect()
    assert [server() for server in gone if server()] == []


# What every balancer does, and what every one that looks at loads does


class Followed:
    """
    A balancer that is told of everything just before it chooses, so that the contracts
    hold for it as for any other.
    """

    def __init__(self, balancer):
        self.balancer = balancer
        self.counted = balancer.follow()

    def choose(self, servers, exchange):
        for server in servers:
            self.counted(server)
        return self.balancer.choose(servers, exchange)


class FollowedLeastConnTests(LoadAwareContract, TestCase):
    def makeBalancer(self):
        balancer = make(LeastConn)
        balancer._few = 0
        return followed(balancer)


class FollowedBoundedHashTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return followed(make(FieldHash, field="X-User", load=100))


def followed(balancer):
    found = Followed(balancer)
    directlyProvides(found, IBalancer)
    return found


@EACH
def test_providesTheInterface(cls, options):
    assert verifyObject(IFollowing, make(cls, **options))


# In a pool


@EACH
def test_inAPoolNobodyWaitsWhileAServerIsFree(cls, options):
    """Connects fail, exchanges end, limits change: all that a pool tells."""
    for seed in range(3):
        dice = Dice(seed)
        with pooled(*[1, 2, 1] * 8, balancer=make(cls, seed, **options), retries=9) as pool:
            clients = []
            for _ in range(150):
                client = Client(pool)
                client.exchange = exchanges(dice)
                client.exchange.pool = pool
                clients.append(client.connects())
                if client.exchange.holding and dice.random() < 0.3:
                    client.attempt.fails()
                while client.exchange.holding and not client.told:
                    client.attempt.succeeds()
                for one in dice.sample(clients, min(2, len(clients))):
                    if one.exchange.holding and one.told:
                        one.finishes()
                if dice.random() < 0.1:
                    server = dice.choice(pool.servers)
                    server.maxconn = dice.choice((0, server.active, server.active + 1))
                    server.health.up = dice.random() < 0.8
                    pool.serversChanged()
                clients = [one for one in clients if not one.exchange.cause]
                assert not pool.queued or all(server.full for server in pool.usable)
                assert pool._full == sum(server.full for server in pool.usable)
            for server in pool.servers:
                server.maxconn, server.health.up = 0, True
            pool.serversChanged()
            for client in clients:
                while client.exchange.holding and not client.told:
                    client.attempt.succeeds()
                if client.exchange.holding:
                    client.exchange.finish(Cause.DONE, 1.0)
            assert (pool.active, pool.queued) == (0, 0)


def test_whoIsNotFollowedIsOfferedTheSameTupleWhileTheSameAreFull():
    with pooled(1, 1, 1, maxconn=2) as pool:
        pool.servers[0].maxconn = 1
        offers = pool.balancer.offers
        for _ in range(3):
            Client(pool).connects()
        assert offers[1] is offers[2] != offers[0]
