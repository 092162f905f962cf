"""
Servers that start slowly: from a hundredth of their weight and limit to all of it, by steps,
with one timer for all; and balancers that are given a fraction of a weight.
"""

from collections import Counter
from random import Random

import pytest
from pooled import Client, pooled
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from lbtwist.balance import FieldHash, First, LeastConn, RoundRobin, SourceHash
from lbtwist.balance import Random as RandomBalancer
from lbtwist.config.model import CheckOptions
from lbtwist.health import Admin, Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.monitor import Monitor
from lbtwist.registry import Context
from lbtwist.testing import fakeExchange, makeServers
from lbtwist.warming import COLDEST, STEPS, Warming

PASSES = Result(True, "L7OK")
FAILS = Result(False, "L7STS", "503")


def warming(pool, seconds=20.0):
    """@return: what has the servers of a pool start slowly, running."""
    for server in pool.servers:
        server.slowstart = seconds
    found = Warming(pool.reactor, pool.seconds)
    found.start()
    return found


def test_growsByStepsToAllOfIt():
    with pooled(10, 10, maxconn=100) as pool:
        a, b = pool.servers
        warm = warming(pool)
        warm.begin(pool, b)
        pool.serversChanged()
        seen = [(b.weight, b.maxconn)]
        for _ in range(STEPS):
            pool.reactor.advance(1.0)
            seen.append((b.weight, b.maxconn))
            assert pool._weights == (10, b.weight)
        assert seen[0] == (0.1, 1)
        assert seen[1:] == [(step / 2, 5 * step) for step in range(1, STEPS + 1)]
        assert (a.weight, a.maxconn) == (10, 100)
        assert len(warm) == 0


def test_theLeastIsAHundredthOfTheLeast():
    with pooled(1, 1) as pool:
        warm = warming(pool)
        warm.begin(pool, pool.servers[0])
        assert pool.servers[0].weight == COLDEST
        assert pool.servers[0].usable
        warm.stop()


def test_theQueueIsServedAsTheLimitGrows():
    with pooled(1, maxconn=20) as pool:
        warm = warming(pool)
        warm.begin(pool, pool.servers[0])
        pool.serversChanged()
        clients = [Client(pool, target=None) for _ in range(3)]
        for client in clients:
            client.idle["a"] = "a connection"
            client.connects()
        assert [client.exchange.holding for client in clients] == [True, False, False]
        pool.reactor.advance(2.0)
        assert [client.exchange.holding for client in clients] == [True, True, False]
        pool.reactor.advance(1.0)
        assert all(client.exchange.holding for client in clients)
        for client in clients:
            client.finishes()
        warm.stop()


def test_withoutSlowstartNothingHappens():
    with pooled(1) as pool:
        warm = warming(pool, 0.0)
        warm.begin(pool, pool.servers[0])
        assert (pool.servers[0].weight, pool.reactor.getDelayedCalls()) == (1, [])


def test_beforeItRunsAllAreWarm():
    with pooled(1) as pool:
        warm = warming(pool)
        warm.stop()
        warm.begin(pool, pool.servers[0])
        assert (pool.servers[0].weight, pool.reactor.getDelayedCalls()) == (1, [])


def test_itsEndLeavesNobodyCold():
    with pooled(1, 1) as pool:
        warm = warming(pool)
        for server in pool.servers:
            warm.begin(pool, server)
        warm.stop()
        assert [server.weight for server in pool.servers] == [1, 1]
        assert pool.reactor.getDelayedCalls() == []


def test_againFromTheBeginning():
    with pooled(1) as pool:
        [server] = pool.servers
        warm = warming(pool)
        warm.begin(pool, server)
        pool.reactor.advance(10.0)
        assert server.weight == 0.5
        warm.forget(server)
        assert server.weight == 1
        warm.begin(pool, server)
        assert server.weight == COLDEST
        pool.reactor.advance(5.0)
        assert server.weight == 0.25
        warm.stop()


def test_manyAtOnceCostNoMoreThanFew():
    """A hundred that come up one after the other: the pool is told of a few changes a step."""
    with pooled(*[1] * 100) as pool:
        warm = warming(pool)
        told = []
        for server in pool.servers:
            warm.begin(pool, server)
            pool.reactor.advance(0.01)
        pool.serversChanged = lambda: told.append(pool.seconds())
        for _ in range(2200):
            pool.reactor.advance(0.01)
        assert len(warm) == 0
        assert all(server.weight == 1 for server in pool.servers)
        assert len(told) <= 5 * STEPS


def test_aPoolThatFailsHarmsNoOther():
    with pooled(1) as pool, pooled(1) as other:
        warm = warming(pool)
        other.servers[0].slowstart = 20.0
        warm.begin(pool, pool.servers[0])
        warm.begin(other, other.servers[0])
        told = []
        pool.serversChanged = lambda: 1 / 0
        other.serversChanged = lambda: told.append(True)
        pool.reactor.advance(1.0)
        assert told == [True]
        warm.stop()


# who starts slowly


@implementer(IHealthCheck)
class Check:
    result = PASSES

    def check(self, server):
        return succeed(self.result)


def watched(pool):
    """@return: the monitor of a pool with C{slowstart}, and its check."""
    monitor = Monitor(pool.reactor, pool.seconds, Random(7))
    check = Check()
    for server in pool.servers:
        server.slowstart = 20.0
        server.health.rise = server.health.fall = 1
        monitor.watch(pool, server, check, CheckOptions(interval=1.0, jitter=0))
    monitor.start()
    return monitor, check


def test_oneThatCameUpAgain():
    """At the start all are at what they can."""
    with pooled(1, 1) as pool:
        monitor, check = watched(pool)
        pool.reactor.advance(3.0)
        assert [server.weight for server in pool.servers] == [1, 1]
        check.result = FAILS
        pool.reactor.advance(1.0)
        pool.reactor.advance(1.0)
        assert pool.usable == ()
        check.result = PASSES
        pool.reactor.advance(1.0)
        assert COLDEST in [server.weight for server in pool.servers]
        for _ in range(30):
            pool.reactor.advance(1.0)
        assert [server.weight for server in pool.servers] == [1, 1]
        monitor.stop()


def test_oneThatGoesDownWhileItStarts():
    with pooled(1) as pool:
        [server] = pool.servers
        monitor, check = watched(pool)
        for result in (FAILS, PASSES, FAILS):
            check.result = result
            pool.reactor.advance(1.0)
            pool.reactor.advance(1.0)
        assert (server.health.up, server.weight, len(monitor.warming)) == (False, 1, 0)
        monitor.stop()


def test_oneThatComesOutOfMaintenance():
    with pooled(1) as pool:
        [server] = pool.servers
        monitor, check = watched(pool)
        for admin in (Admin.MAINT, Admin.READY):
            check.result = Result(True, "L7OK", admin=admin)
            pool.reactor.advance(1.0)
            pool.reactor.advance(1.0)
        assert 0 < server.weight < 1
        monitor.stop()


def test_oneThatFollows():
    with pooled(1, 1) as pool:
        first, follower = pool.servers
        monitor, check = watched(pool)
        monitor.follow(pool, follower, first)
        for result in (FAILS, PASSES):
            check.result = result
            pool.reactor.advance(1.0)
            pool.reactor.advance(1.0)
        assert first.weight == follower.weight < 1
        monitor.stop()


def test_whatTheCheckSaysCountsToo():
    """Half of its weight by the check, half by the time: a quarter."""
    with pooled(100) as pool:
        [server] = pool.servers
        monitor, check = watched(pool)
        check.result = FAILS
        pool.reactor.advance(2.0)
        check.result = Result(True, "L7OK", weight=50)
        pool.reactor.advance(1.0)
        began = pool.seconds()
        while pool.seconds() - began < 10.0:
            pool.reactor.advance(1.0)
        assert server.weight == 25
        monitor.stop()
        assert server.weight == 50


# balancers and fractions


def share(balancer, weights, number=40_000):
    """@return: of so many choices how many servers of these weights get."""
    servers = makeServers(*[1] * len(weights))
    for server, weight in zip(servers, weights, strict=True):
        server.weight = weight
    random = Random(11)
    exchange = fakeExchange()
    counts = Counter()
    for _ in range(number):
        exchange.connection = exchange.connection.__class__(
            1, (f"10.{random.randrange(1 << 24)}", 1), ("192.0.2.80", 80), 0.0
        )
        counts[balancer.choose(servers, exchange)] += 1
    return [counts[server] / number for server in servers]


@pytest.mark.parametrize("cls", [RoundRobin, RandomBalancer, SourceHash])
@pytest.mark.parametrize("weights", [(1, 1, 0.25), (2, 0.5, 0.05), (1, 0.01)])
def test_fractionsAreShares(cls, weights):
    options = cls.Options(draws=1) if cls is RandomBalancer else cls.Options()
    found = share(cls(options, Context(random=Random(3))), weights)
    for part, weight in zip(found, weights, strict=True):
        # A ring is as even as chance: its points are 256 for a weight of 1.
        slack = 0.2 * part + 0.01 if cls is SourceHash else 0.003
        assert part == pytest.approx(weight / sum(weights), abs=slack)


def test_keysComeByAndByAsAServerStarts():
    """On a ring each step moves keys to the server that starts, and no other key."""
    servers = makeServers(1, 1, 1)
    balancer = SourceHash(SourceHash.Options(), Context())
    exchanges = [fakeExchange(None, client=f"10.0.{n >> 8}.{n & 255}") for n in range(1000)]
    before = None
    moved = 0
    for step in range(STEPS + 1):
        servers[2].weight = max(COLDEST, step / STEPS)
        offered = (*servers[:1], *servers[1:])
        chosen = [balancer.choose(offered, exchange) for exchange in exchanges]
        if before is not None:
            changes = [new for old, new in zip(before, chosen, strict=True) if old is not new]
            assert set(changes) <= {servers[2]}
            moved += len(changes)
        before = chosen
    assert 250 < moved < 420


def test_aTableDoesNotMoveWhileAServerStarts():
    """By the remainder each step would move nearly all: it has its places at once."""
    servers = makeServers(4, 4)
    options = FieldHash.Options(field="X-Key", map=True)
    balancer = FieldHash(options, Context())
    exchanges = [fakeExchange(fields={"X-Key": str(number)}) for number in range(200)]
    warm = Warming(Clock(), lambda: 0.0)
    warm.start()
    chosen = []
    for warmth in (COLDEST, 0.35, 1.0):
        servers[1].capacity.warmth = warmth
        servers[1].adapt()
        offered = (*servers[:1], *servers[1:])
        chosen.append([balancer.choose(offered, exchange) for exchange in exchanges])
    assert chosen[0] == chosen[1] == chosen[2]
    assert Counter(chosen[0])[servers[1]] == pytest.approx(100, abs=25)


def test_theLeastLoadedOfUnequals():
    """A server that begins is taken when the others have a hundred times as much to do."""
    one, new = servers = makeServers(1, 1)
    new.weight = 0.05
    balancer = LeastConn(LeastConn.Options(), Context())
    for _ in range(21):
        balancer.choose(servers, fakeExchange(None)).active += 1
    assert (one.active, new.active) == (20, 1)


def test_theFirstKnowsNoWeights():
    servers = makeServers(1, 1)
    servers[0].weight = COLDEST
    assert First(First.Options(), Context()).choose(servers, fakeExchange(None)) is servers[0]
