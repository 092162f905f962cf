"""What a finished exchange adds to the counters of the parts it went through."""

from types import SimpleNamespace

import attr
import pytest

from lbtwist.exchange import Cause, Connection, Exchange
from lbtwist.server import Server
from lbtwist.stats import FrontendTraffic, PoolTraffic, ServerTraffic, Traffic, count

CAUSES = [letter for name, letter in vars(Cause).items() if not name.startswith("_")]


@pytest.fixture
def frontend():
    return SimpleNamespace(traffic=FrontendTraffic())


@pytest.fixture
def pool():
    return SimpleNamespace(traffic=PoolTraffic())


@pytest.fixture
def server():
    return Server("app", "a")


def ended(frontend, pool=None, server=None, cause=Cause.DONE, **others):
    connection = Connection(1, ("10.0.1.2", 33317), ("10.0.0.1", 80), 1.0)
    exchange = Exchange(connection, frontend, (count,), 1.0)
    exchange.pool, exchange.server = pool, server
    exchange.bytesIn, exchange.bytesOut, exchange.status = 80, 2750, 200
    for name, value in others.items():
        setattr(exchange, name, value)
    exchange.finish(cause, 2.0)


def counted(traffic):
    """@return: the counters that are not nought, by name."""
    nothing = attr.asdict(type(traffic)())
    return {name: n for name, n in attr.asdict(traffic).items() if n != nothing[name]}


GOOD = {"exchanges": 1, "bytesIn": 80, "bytesOut": 2750, "responses": [0, 0, 1, 0, 0, 0]}
FAILED = {**GOOD, "failed": 1}


def test_aGoodExchange(frontend, pool, server):
    ended(frontend, pool, server)
    assert counted(frontend.traffic) == GOOD
    assert counted(pool.traffic) == GOOD
    assert counted(server.traffic) == GOOD


def test_sumsAndNotLastValues(frontend, pool, server):
    ended(frontend, pool, server, status=200)
    ended(frontend, pool, server, status=304, bytesIn=20, bytesOut=250)
    ended(frontend, pool, server, status=204)
    for traffic in (frontend.traffic, pool.traffic, server.traffic):
        assert counted(traffic) == {
            "exchanges": 3, "bytesIn": 180, "bytesOut": 5750, "responses": [0, 0, 2, 1, 0, 0],
        }  # fmt: skip


def test_beforeAPoolWasChosen(frontend):
    ended(frontend)
    assert counted(frontend.traffic) == GOOD


def test_beforeAServerWasChosen(frontend, pool):
    ended(frontend, pool, cause=Cause.SERVER_TIMEOUT)
    assert counted(frontend.traffic) == FAILED
    assert counted(pool.traffic) == FAILED


@pytest.mark.parametrize(
    ("status", "place"),
    [
        (0, 0), (99, 0), (100, 1), (101, 1), (200, 2), (299, 2), (300, 3), (399, 3), (400, 4),
        (499, 4), (500, 5), (599, 5), (600, 0), (999, 0),
    ],
)  # fmt: skip
def test_responsesByClass(frontend, pool, server, status, place):
    expected = [0] * 6
    expected[place] = 1
    ended(frontend, pool, server, status=status)
    assert frontend.traffic.responses == expected
    assert pool.traffic.responses == expected
    assert server.traffic.responses == expected


@pytest.mark.parametrize("cause", CAUSES)
def test_whatFailed(frontend, pool, server, cause):
    ended(frontend, pool, server, cause)
    failed = 0 if cause in (Cause.DONE, Cause.LOCAL) else 1
    assert frontend.traffic.failed == failed
    assert pool.traffic.failed == failed
    assert server.traffic.failed == failed


@pytest.mark.parametrize("cause", CAUSES)
def test_onlyWhatTheBalancerRefusedIsRefused(frontend, cause):
    ended(frontend, cause=cause)
    assert frontend.traffic.refused == (1 if cause == Cause.REFUSED else 0)


@pytest.mark.parametrize("cause", [Cause.DONE, Cause.SERVER])
def test_aConnectionThatWasUsedAgain(frontend, pool, server, cause):
    ended(frontend, pool, server, cause, reused=True)
    ended(frontend, pool, server, cause)
    assert server.traffic.reuses == 1


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        ({"retries": 3}, {"retries": 3}),
        ({"retries": 2, "redispatched": True}, {"retries": 2, "redispatched": 1}),
    ],
)
def test_retriesAreThePools(frontend, pool, server, again, expected):
    ended(frontend, pool, server, **again)
    assert counted(pool.traffic) == GOOD | expected
    assert counted(frontend.traffic) == GOOD
    assert counted(server.traffic) == GOOD


def test_retriesThatFoundNoServer(frontend, pool):
    ended(frontend, pool, None, Cause.SERVER, retries=3, redispatched=True)
    assert counted(pool.traffic) == FAILED | {"retries": 3, "redispatched": 1}


def test_retriesAddUp(frontend, pool, server):
    for _ in range(2):
        ended(frontend, pool, server, retries=2, redispatched=True)
    assert (pool.traffic.retries, pool.traffic.redispatched) == (4, 2)


def test_countersStartAtNoughtAndAreNotShared():
    for kind in (Traffic, FrontendTraffic, PoolTraffic, ServerTraffic):
        one, other = kind(), kind()
        one.responses[2] += 1
        assert other.responses == [0] * 6
        assert not counted(other)
