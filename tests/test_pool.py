"""A pool: who gets which server, who waits and for how long, and what follows a failed connect."""

import errno
from unittest.mock import patch

import pytest
from pooled import Attempt, Client, pooled

from lbtwist.connecting import PAUSE
from lbtwist.exchange import Cause, Stage
from lbtwist.health import Admin

REFUSED = (Cause.SERVER, Stage.CONNECT, 503)


# a server and a connection


def test_aNewConnection():
    with pooled(timeout_connect=7.0) as pool:
        [server] = pool.servers
        client = Client(pool).connects()
        exchange = client.exchange
        assert client.told == []
        assert exchange.stage == Stage.CONNECT
        assert (exchange.server, exchange.holding) == (server, True)
        assert exchange.assignedAt == pool.seconds()
        assert (server.active, pool.active) == (1, 1)
        assert client.attempt.timeout == 7.0
        pool.reactor.advance(0.5)
        client.attempt.succeeds()
        assert client.told == ["to a"]
        assert exchange.connectedAt == exchange.assignedAt + 0.5
        assert not exchange.reused
        assert server.traffic.connects == 1
        client.finishes()
        assert (server.active, pool.active) == (0, 0)


def test_aConnectionThatStands():
    """No connect is made, and it is told at once."""
    with pooled() as pool:
        client = Client(pool)
        client.idle["a"] = "old one"
        client.connects()
        assert client.told == ["old one"]
        assert client.exchange.reused
        assert client.exchange.connectedAt == client.exchange.assignedAt
        assert Attempt.made == []
        assert pool.servers[0].traffic.connects == 0
        client.finishes()


def test_theConnectionThatStoodDidNot():
    """It is made anew, to the server of which the exchange has its slot."""
    with pooled() as pool:
        client = Client(pool)
        client.idle["a"] = "old one"
        client.connects()
        pool.again(client, pool.servers[0])
        assert not client.exchange.reused
        assert pool.servers[0].active == 1
        client.attempt.succeeds()
        assert client.told == ["old one", "to a"]
        client.finishes()


def test_theBalancerChooses():
    class Last:
        def choose(self, servers, exchange):
            return servers[-1]

    with pooled(1, 1, 1, balancer=Last()) as pool:
        assert Client(pool).connects().exchange.server.name == "c"


def test_theSameTupleAsLongAsItMeansTheSame():
    with pooled(1, 2) as pool:
        offers = pool.balancer.offers
        Client(pool).connects()
        pool.serversChanged()
        Client(pool).connects()
        assert offers[0] is offers[1]
        pool.servers[1].weight = 5
        pool.serversChanged()
        Client(pool).connects()
        assert offers[2] is not offers[1]
        assert offers[2] == offers[1]


def test_whoIsUsable():
    with pooled(1, 1, 1, 0) as pool:
        a, b, c, d = pool.servers
        assert pool.usable == (a, b, c)
        a.health.up = False
        b.health.admin = Admin.DRAIN
        c.endpoint = None
        pool.serversChanged()
        assert pool.usable == ()
        assert repr(pool) == "<Pool app 0/4 usable 0>"
        assert Client(pool).connects().told == [REFUSED]
        b.health.admin = Admin.READY
        d.weight = 1
        pool.serversChanged()
        assert pool.usable == (b, d)


def test_backupServers():
    """One at a time, in written order, while no other is usable."""
    with pooled(1, 1, 1, backup="bc") as pool:
        a, b, c = pool.servers
        assert pool.usable == (a,)
        a.health.up = False
        pool.serversChanged()
        assert pool.usable == (b,)
        b.health.up = False
        pool.serversChanged()
        assert pool.usable == (c,)
        a.health.up = True
        pool.serversChanged()
        assert pool.usable == (a,)


def test_aFullServerIsNotOffered():
    with pooled(1, 1, maxconn=1) as pool:
        a, b = pool.servers
        first = Client(pool).connects()
        assert (first.exchange.server, Client(pool).connects().exchange.server) == (a, b)
        first.attempt.succeeds()
        first.finishes()
        assert Client(pool).connects().exchange.server is a


def test_find():
    with pooled(1, 1) as pool:
        assert pool.find("b") is pool.servers[1]
        with pytest.raises(KeyError):
            pool.find("c")


def test_aSlotIsGivenBackOnce():
    with pooled() as pool:
        client = Client(pool).connects()
        pool.release(client.exchange)
        with pytest.raises(AssertionError, match="holds no slot"):
            pool.release(client.exchange)


# the queue


def holders(pool, count):
    """Clients that have a connection."""
    found = [Client(pool).connects() for _ in range(count)]
    for client in found:
        client.attempt.succeeds()
    return found


def test_waitsForASlot():
    with pooled(maxconn=1) as pool:
        [holder] = holders(pool, 1)
        client = Client(pool).connects()
        assert client.told == []
        assert client.exchange.stage == Stage.QUEUE
        assert client.exchange.ahead == (0, 0)
        assert client.exchange.server is None
        assert (pool.queued, pool.active) == (1, 1)
        pool.reactor.advance(1.5)
        holder.finishes()
        assert (pool.queued, pool.active) == (0, 1)
        assert client.exchange.assignedAt == pool.seconds()
        client.attempt.succeeds()
        assert client.told == ["to a"]
        client.finishes()


def test_inTheOrderTheyCame():
    with pooled(maxconn=2) as pool:
        first, second = holders(pool, 2)
        waiting = [Client(pool).connects() for _ in range(3)]
        assert [client.exchange.ahead[1] for client in waiting] == [0, 1, 2]
        second.finishes()
        assert [client.exchange.holding for client in waiting] == [True, False, False]
        first.finishes()
        assert [client.exchange.holding for client in waiting] == [True, True, False]


def test_theQueueIsFull():
    with pooled(maxconn=1, maxqueue=2) as pool:
        holders(pool, 1)
        for _ in range(2):
            assert Client(pool).connects().told == []
        client = Client(pool).connects()
        assert client.told == [(Cause.SERVER, Stage.QUEUE, 503)]
        assert client.exchange.reason == "the queue is full"
        assert pool.queued == 2


@pytest.mark.parametrize("options", [{"timeout_queue": 3.0}, {"timeout_connect": 3.0}])
def test_waitsForTooLong(options):
    """C{timeout-queue}, or C{timeout-connect} where it is not set."""
    with pooled(maxconn=1, **options) as pool:
        [holder] = holders(pool, 1)
        client = Client(pool).connects()
        pool.reactor.advance(2.9)
        assert client.told == []
        pool.reactor.advance(0.2)
        assert client.told == [(Cause.SERVER_TIMEOUT, Stage.QUEUE, 503)]
        assert pool.queued == 0
        holder.finishes()
        assert pool.active == 0


def test_leavesTheQueue():
    with pooled(maxconn=1) as pool:
        [holder] = holders(pool, 1)
        first, second = Client(pool).connects(), Client(pool).connects()
        first.leaves()
        assert pool.queued == 1
        holder.finishes()
        assert second.exchange.holding
        assert first.told == []
        pool.reactor.advance(100)
        assert first.told == []


def test_aServerComesAndServesTheQueue():
    with pooled(1, 1, maxconn=1) as pool:
        a, b = pool.servers
        b.health.up = False
        pool.serversChanged()
        holders(pool, 1)
        client = Client(pool).connects()
        b.health.up = True
        pool.serversChanged()
        assert client.exchange.server is b


def test_aHigherLimitServesTheQueue():
    with pooled(maxconn=1) as pool:
        holders(pool, 1)
        waiting = [Client(pool).connects() for _ in range(3)]
        pool.servers[0].maxconn = 3
        pool.serversChanged()
        assert [client.exchange.holding for client in waiting] == [True, True, False]


def test_aLowerLimit():
    """Those who have a slot keep it; nobody gets one before there are few enough."""
    with pooled(maxconn=3) as pool:
        holding = holders(pool, 3)
        pool.servers[0].maxconn = 1
        pool.serversChanged()
        client = Client(pool).connects()
        for holder in holding[:2]:
            holder.finishes()
            assert not client.exchange.holding
        holding[2].finishes()
        assert client.exchange.holding


def test_noServerIsLeftForTheQueue():
    """Who waits goes on waiting: one may come back. Who comes is told so."""
    with pooled(maxconn=1) as pool:
        holders(pool, 1)
        waiting = Client(pool).connects()
        pool.servers[0].health.up = False
        pool.serversChanged()
        assert waiting.told == []
        assert Client(pool).connects().told == [REFUSED]
        pool.reactor.advance(6)
        assert waiting.told == [(Cause.SERVER_TIMEOUT, Stage.QUEUE, 503)]


def test_manyWaitAndNoneNeedsLong():
    """Each is done as soon as it is served: that needs no stack of thousands."""
    with pooled(maxconn=1) as pool:
        [holder] = holders(pool, 1)
        waiting = []
        for _ in range(3000):
            client = Client(pool, Client.finishes)
            client.idle["a"] = "old one"
            waiting.append(client.connects())
        holder.finishes()
        assert all(client.told == ["old one"] for client in waiting)
        assert (pool.active, pool.queued) == (0, 0)


# failed connects


def test_theNextServerIsTried():
    with pooled(1, 1, 1) as pool:
        a, b, c = pool.servers
        client = Client(pool).connects()
        client.attempt.fails()
        exchange = client.exchange
        assert exchange.tried == (a,)
        assert (exchange.server, exchange.retries, exchange.redispatched) == (b, 1, True)
        assert (a.active, b.active, pool.active) == (0, 1, 1)
        assert exchange.reason == "app/a: Connection refused"
        client.attempt.fails()
        assert (exchange.server, exchange.retries) == (c, 2)
        client.attempt.succeeds()
        assert client.told == ["to c"]
        assert [server.traffic.connectFailures for server in pool.servers] == [1, 1, 0]
        assert [server.traffic.connects for server in pool.servers] == [0, 0, 1]


def test_theNextServerHasAConnectionThatStands():
    with pooled(1, 1) as pool:
        client = Client(pool)
        client.idle["b"] = "old one"
        client.connects().attempt.fails()
        assert client.told == ["old one"]


def test_theOnlyServerIsTriedAgain():
    """After a pause, in which the slot is kept."""
    with pooled(retries=2) as pool:
        client = Client(pool).connects()
        for retries in (1, 2):
            client.attempt.fails()
            assert Attempt.made == []
            assert pool.servers[0].active == 1
            pool.reactor.advance(PAUSE - 0.1)
            assert Attempt.made == []
            pool.reactor.advance(0.2)
            assert client.exchange.retries == retries
        client.attempt.fails()
        assert client.told == [REFUSED]
        assert pool.active == 0
        assert not client.exchange.redispatched
        pool.reactor.advance(10)
        assert Attempt.made == []


def test_theOnlyServerComesBack():
    with pooled() as pool:
        client = Client(pool).connects()
        client.attempt.fails()
        pool.reactor.advance(PAUSE + 0.1)
        client.attempt.succeeds()
        assert client.told == ["to a"]
        assert client.exchange.retries == 1


def test_theOthersAreFull():
    """Then this one is tried again."""
    with pooled(1, 1, maxconn=1) as pool:
        a, b = pool.servers
        client = Client(pool).connects()
        Client(pool).connects()
        client.attempt.fails()
        assert client.exchange.server is a
        pool.reactor.advance(PAUSE + 0.1)
        assert client.attempt.server is a


def test_theOnlyServerWentDownMeanwhile():
    """There is nothing to wait for."""
    with pooled() as pool:
        client = Client(pool).connects()
        pool.servers[0].health.up = False
        pool.serversChanged()
        client.attempt.fails()
        assert client.told == [REFUSED]


def test_noRetries():
    with pooled(1, 1, retries=0) as pool:
        client = Client(pool).connects()
        client.attempt.fails()
        assert client.told == [REFUSED]
        assert client.exchange.retries == 0


def test_redispatchNo():
    """The same server, whatever others there are."""
    with pooled(1, 1, redispatch=0, retries=1) as pool:
        client = Client(pool).connects()
        client.attempt.fails()
        pool.reactor.advance(PAUSE + 0.1)
        assert client.attempt.server is pool.servers[0]
        assert client.exchange.tried == ()
        client.attempt.fails()
        assert client.told == [REFUSED]
        assert (client.exchange.retries, client.exchange.redispatched) == (1, False)


def test_redispatchAtTheSecond():
    with pooled(1, 1, redispatch=2) as pool:
        a, b = pool.servers
        client = Client(pool).connects()
        client.attempt.fails()
        pool.reactor.advance(PAUSE + 0.1)
        assert client.attempt.server is a
        client.attempt.fails()
        assert client.attempt.server is b
        assert (client.exchange.retries, client.exchange.redispatched) == (2, True)


@pytest.mark.parametrize("every", [0, 2])
def test_redispatchOfAServerThatWentDown(every):
    """It is not asked again; another is where that is allowed at all."""
    with pooled(1, 1, redispatch=every) as pool:
        client = Client(pool).connects()
        pool.servers[0].health.up = False
        pool.serversChanged()
        client.attempt.fails()
        if every:
            assert client.attempt.server is pool.servers[1]
        else:
            assert client.told == [REFUSED]


@pytest.mark.parametrize("words", [(), ("503",)])
def test_retriesAreNotOnConnects(words):
    with pooled(1, 1, retry_on=words) as pool:
        client = Client(pool).connects()
        client.attempt.fails()
        assert client.told == [REFUSED]
        assert client.exchange.retries == 0


def test_aRetryOfWhatWasSent():
    """The slot is given up, and the other one taken, before anything else is told."""
    with pooled(1, 1, retry_on=("503",)) as pool:
        a, b = pool.servers
        client = Client(pool).connects()
        client.attempt.succeeds()
        found = pool.another(client.exchange)
        assert found is b
        pool.retry(client, found)
        assert (a.active, b.active, pool.active) == (0, 1, 1)
        client.attempt.succeeds()
        assert client.told == ["to a", "to b"]
        assert (client.exchange.retries, client.exchange.redispatched) == (1, True)
        client.finishes()


def test_connectNow():
    """There is a server at once, or nobody is told anything."""
    with pooled(maxconn=1) as pool:
        client = Client(pool)
        assert pool.connectNow(client)
        client.attempt.succeeds()
        assert client.told == ["to a"]
        other = Client(pool)
        assert not pool.connectNow(other)
        assert (other.told, other.place, pool.queued) == ([], None, 0)
        client.finishes()


@pytest.mark.parametrize(
    "failed, cause",
    [
        (TimeoutError("the connection was not made in time"), Cause.SERVER_TIMEOUT),
        (OSError(errno.ETIMEDOUT, "timed out"), Cause.SERVER_TIMEOUT),
        (OSError(errno.EHOSTUNREACH, "no route"), Cause.SERVER),
        (OSError(errno.EADDRNOTAVAIL, "no port"), Cause.RESOURCE),
    ],
)
def test_whoseFaultItIs(failed, cause):
    with pooled(retries=0) as pool:
        client = Client(pool).connects()
        client.attempt.fails(failed)
        assert client.told == [(cause, Stage.CONNECT, 503)]
        assert client.exchange.reason.startswith("app/a: ")


def test_noDescriptorIsLeft():
    """A connect that cannot even begin is one that failed."""

    def none(*arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    with pooled(retries=1) as pool:
        with patch("lbtwist.connecting.Attempt", none):
            client = Client(pool).connects()
            assert client.told == []
            pool.reactor.advance(PAUSE + 0.1)
            assert client.told == [(Cause.RESOURCE, Stage.CONNECT, 503)]
        assert pool.active == 0


def test_aFailureServesTheQueue():
    """The slot that is given up is somebody else's at once."""
    with pooled(maxconn=1, retries=0) as pool:
        client = Client(pool).connects()
        other = Client(pool).connects()
        client.attempt.fails()
        assert client.told == [REFUSED]
        assert other.exchange.holding


def test_leavesWhileItIsConnected():
    with pooled() as pool:
        client = Client(pool).connects()
        client.leaves()
        assert client.told == []
        assert Attempt.made == []
        assert pool.active == 0


def test_leavesInThePause():
    with pooled() as pool:
        client = Client(pool).connects()
        client.attempt.fails()
        client.leaves()
        pool.reactor.advance(10)
        assert Attempt.made == []
        assert pool.active == 0


def test_leavesWhoDoesNotWait():
    with pooled() as pool:
        client = Client(pool).connects()
        client.attempt.succeeds()
        pool.leave(client)
        assert pool.active == 1
        client.finishes()
