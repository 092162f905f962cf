"""
What a pool may have to do at once, and limits of servers that follow its load; how many wait
for the server they are bound to.
"""

import pytest
from pooled import Attempt, Client, pooled
from zope.interface import implementer

from lbtwist.balance import LeastConn, RoundRobin
from lbtwist.exchange import Cause, Stage
from lbtwist.interfaces import IPersistence
from lbtwist.persistence.chain import Chain
from lbtwist.registry import Context
from lbtwist.server import Capacity, Load
from lbtwist.testing import makeServers

BALANCERS = (None, RoundRobin, LeastConn)


def made(cls):
    return None if cls is None else cls(cls.Options(), Context())


def comes(pool, then=None):
    """@return: a client; it has a connection at once if there is a slot."""
    client = Client(pool, then, target=None)
    client.idle = {server.name: "a connection" for server in pool.servers}
    return client.connects()


def come(pool, number):
    return [comes(pool) for _ in range(number)]


def holding(clients):
    return [client.exchange.holding for client in clients]


# the pool's own limit


@pytest.mark.parametrize("balancer", BALANCERS)
def test_whoIsBeyondThePoolsLimitWaits(balancer):
    """Whatever its servers could take."""
    with pooled(1, 1, limit=3, balancer=made(balancer)) as pool:
        clients = come(pool, 5)
        assert holding(clients) == [True] * 3 + [False] * 2
        assert (pool.active, pool.queued, pool.limited) == (3, 2, True)
        assert [one.exchange.ahead for one in clients[3:]] == [(0, 0), (0, 1)]
        clients[1].finishes()
        assert holding(clients) == [True, False, True, True, False]
        for one in (clients[0], clients[2], clients[3]):
            one.finishes()
        assert (pool.active, pool.queued, pool.limited) == (1, 0, False)
        clients[4].finishes()


def test_aRetryNeedsNoSecondSlot():
    """At its limit the pool still has another server tried, and nobody gets in between."""
    with pooled(1, 1, limit=1) as pool:
        a, b = pool.servers
        client = Client(pool, target=None).connects()
        waiting = Client(pool, target=None).connects()
        client.attempt.fails()
        assert client.exchange.server is b
        assert (pool.active, pool.queued, a.active, b.active) == (1, 1, 0, 1)
        client.attempt.succeeds()
        client.finishes()
        assert waiting.exchange.holding
        waiting.leaves()


def test_hedgesKeepToThePoolsLimit():
    with pooled(1, 1, limit=1) as pool:
        [client] = come(pool, 1)
        assert not pool.connectNow(Client(pool, target=None))
        client.finishes()
        hedge = Client(pool, target=None)
        assert pool.connectNow(hedge)
        hedge.leaves()
        assert Attempt.made == []


def test_theSlotOfAnyServerServesWhoeverWaits():
    """Who waits because of the pool waits for no server: the first of all is next."""
    with sticky("a", 1, 1, limit=1) as pool:
        [had] = pool.persistence.kinds
        [first] = come(pool, 1)
        had.name = "b"
        bound = comes(pool)
        had.name = None
        other = comes(pool)
        assert pool.queued == 2
        first.finishes()
        assert holding([bound, other]) == [True, False]
        assert bound.exchange.server.name == "b"
        bound.finishes()
        other.finishes()


# limits that follow the load


@pytest.mark.parametrize(
    ("exchanges", "limit"),
    # srv_dynamic_maxconn() of HAProxy: load * maxconn / fullconn, at least minconn.
    [(0, 10), (10, 10), (24, 10), (25, 10), (28, 11), (50, 20), (99, 39), (100, 40), (500, 40)],
)
def test_theLimitGrowsWithTheLoad(exchanges, limit):
    capacity = Capacity(maxconn=40, minconn=10, load=Load(exchanges, 100))
    assert capacity.limit == limit


@pytest.mark.parametrize(
    ("warmth", "limit"), [(0.01, 1), (0.05, 1), (0.5, 10), (0.95, 19), (1.0, 20)]
)
def test_theLimitOfOneThatStartsSlowly(warmth, limit):
    assert Capacity(maxconn=20, warmth=warmth).limit == limit
    assert Capacity(maxconn=0, warmth=warmth).limit == 0


@pytest.mark.parametrize(
    ("weight", "percent", "warmth", "share"),
    [(1, 100, 1.0, 1), (1, 100, 0.01, 0.01), (1, 1, 0.01, 0.01), (100, 100, 0.05, 5),
     (3, 50, 1.0, 1.5), (0, 100, 1.0, 0), (5, 0, 1.0, 0), (200, 200, 1.0, 256)],
)  # fmt: skip
def test_theShare(weight, percent, warmth, share):
    assert Capacity(weight, percent=percent, warmth=warmth).share == share


@pytest.mark.parametrize("balancer", BALANCERS)
def test_littleToDoIsDoneByFew(balancer):
    """Two at once where there is little; more at once the more there is, never above maxconn."""
    with pooled(1, 1, maxconn=10, minconn=2, fullconn=20, balancer=made(balancer)) as pool:
        clients = []
        for number in range(1, 31):
            clients += come(pool, 1)
            limit = min(10, max(2, number // 2))
            assert [server.maxconn for server in pool.servers] == [limit, limit]
            assert pool.active == min(number, 2 * limit)
            assert pool._full == sum(server.full for server in pool.usable)
        assert (pool.active, pool.queued) == (20, 10)
        for client in clients:
            client.finishes()
            assert all(server.active <= 10 for server in pool.servers)
        assert [server.maxconn for server in pool.servers] == [2, 2]
        assert (pool.active, pool.queued) == (0, 0)


def test_whatFullIsIfNobodySays():
    """As much as the servers take together."""
    with pooled(1, 1, maxconn=4, minconn=1) as pool:
        assert pool._limits._load.fullconn == 8
        clients = come(pool, 4)
        assert [server.maxconn for server in pool.servers] == [2, 2]
        for client in clients:
            client.finishes()


def test_whoLeavesTheQueueIsNoLoad():
    with pooled(1, maxconn=10, minconn=1, fullconn=100) as pool:
        [server] = pool.servers
        clients = come(pool, 20)
        assert (server.maxconn, server.active, pool.queued) == (2, 2, 18)
        for client in clients[2:]:
            client.leaves()
        assert (server.maxconn, server.active, pool.queued) == (1, 2, 0)
        for client in clients[:2]:
            client.finishes()


def test_limitsOfServersThatComeLater():
    with pooled(1, maxconn=4, minconn=1) as pool:
        [a] = pool.servers
        other = pooledServer("b", 8, 2)
        pool.setServers([a, other])
        assert pool._limits._load.fullconn == 12
        assert (a.maxconn, other.maxconn) == (1, 2)


def test_aPoolWithoutThemHasNone():
    with pooled(1, 1, maxconn=5) as pool:
        assert pool._limits is None
        assert pool._counted is None


def pooledServer(name, maxconn, minconn):
    [server] = makeServers(1)
    server.name = name
    server.maxconn = server.capacity.maxconn = maxconn
    server.capacity.minconn = minconn
    return server


# the queue of one server


@implementer(IPersistence)
class Had:
    """Every client had the same server."""

    def __init__(self, name):
        self.name = name
        self.remembered = []

    def recall(self, exchange):
        return self.name

    def remember(self, exchange, name):
        self.remembered.append(name)


def sticky(name, *weights, **options):
    return pooled(*weights, persistence=Chain([Had(name)]), **options)


def test_whoIsBoundWaitsForItsServer():
    """The places before it in the queue of the server, and none in the pool's, are told."""
    with sticky("a", 1, 1, maxconn=1) as pool:
        a, b = pool.servers
        clients = come(pool, 3)
        assert holding(clients) == [True, False, False]
        assert [one.exchange.ahead for one in clients] == [(0, 0), (0, 0), (1, 0)]
        assert repr(pool._queue) == "<Queue 2 wait 2 bound>"
        assert b.active == 0
        for client in clients:
            client.finishes()
        assert a.active == 0


def test_tooManyWaitForAServer():
    """Who comes then gets another one, and what was known of it does not count any more."""
    with sticky("a", 1, 1, maxconn=1) as pool:
        a, b = pool.servers
        a.maxqueue = 2
        clients = come(pool, 4)
        assert [one.exchange.server for one in clients] == [a, None, None, b]
        assert clients[3].exchange.bond.unusable
        assert pool.persistence.redispatched == 1
        # The other is full as well: it waits for any.
        last = comes(pool)
        assert last.exchange.ahead == (0, 0)
        clients[3].finishes()
        assert last.exchange.server is b
        last.finishes()
        for client in clients[:3]:
            client.finishes()


def test_theWaitGoesOnForAnotherServer():
    """It does not begin anew: after C{timeout-queue} altogether it is over."""
    with sticky("a", 1, 1, maxconn=1, timeout_queue=5.0) as pool:
        [had] = pool.persistence.kinds
        [first] = come(pool, 1)
        waiting = comes(pool)
        had.name = "b"
        other = comes(pool)
        pool.reactor.advance(3.0)
        pool.servers[0].health.up = False
        pool.serversChanged()
        assert waiting.exchange.ahead == (0, 0) and pool._queue.waiting(None) == 1
        pool.reactor.advance(1.9)
        assert waiting.told == []
        pool.reactor.advance(0.2)
        assert waiting.told == [(Cause.SERVER_TIMEOUT, Stage.QUEUE, 503)]
        first.finishes()
        other.finishes()


def test_thoseWhoAreLetGoMayEndAtOnce():
    """The slots they give back are nobody's who still waits for the server that is gone."""
    with sticky("a", 1, 1, maxconn=1, limit=2) as pool:
        a, b = pool.servers
        [first] = come(pool, 1)
        waiting = [comes(pool, lambda one: one.exchange.holding and one.finishes())
                   for _ in range(5)]  # fmt: skip
        a.health.up = False
        pool.serversChanged()
        assert [one.exchange.server for one in waiting] == [b] * 5
        assert [len(one.told) for one in waiting] == [1] * 5
        assert pool.active == first.exchange.holding


def test_aServerThatGoesLetsThemGo():
    with sticky("a", 1, 1, maxconn=1) as pool:
        a, b = pool.servers
        first, second = come(pool, 2)
        a.health.up = False
        pool.serversChanged()
        assert second.exchange.server is b
        assert second.exchange.ahead == (0, 0)
        first.finishes()
        second.finishes()
