"""What a finished exchange adds to the counters of the parts it went through."""

from types import SimpleNamespace

import attr
import pytest

from lbtwist.exchange import Cause, Connection, Exchange
from lbtwist.histogram import ERROR, LEAST, WRITTEN_DOWN
from lbtwist.server import Server
from lbtwist.stats import (
    FrontendTraffic,
    PoolTraffic,
    ServerTraffic,
    Traffic,
    backTimes,
    count,
    frontendTimes,
)

CAUSES = [letter for name, letter in vars(Cause).items() if not name.startswith("_")]


@pytest.fixture
def frontend():
    return SimpleNamespace(name="www", traffic=FrontendTraffic())


@pytest.fixture
def pool():
    return SimpleNamespace(name="app", traffic=PoolTraffic())


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
    nothing = type(traffic)()
    values = {field.name: getattr(traffic, field.name) for field in attr.fields(type(traffic))}
    return {
        name: value for name, value in values.items()
        if isinstance(value, int | list) and value != getattr(nothing, name)
    }  # fmt: skip


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


# how long it took


def times(frontend, *backs):
    """@return: what each part has of each kind, summed up: took, responded."""
    whole = [frontendTimes(frontend, [one.traffic for one in backs])]
    whole += [backTimes(one.traffic) for one in backs]
    return [(one.took.count, one.took.sum, one.responded.sum) for one in whole]


def test_timesOfAnExchange(frontend, pool, server):
    ended(frontend, pool, server, startedAt=1.5, connectedAt=1.5, respondedAt=1.75)
    # Counted once, with the server: the others are sums.
    assert times(frontend, pool, server) == [(1, 0.5, 0.25), (0, 0, 0), (1, 0.5, 0.25)]
    whole = backTimes(pool.traffic, server.traffic)
    assert (whole.took.sum, whole.responded.sum) == (0.5, 0.25)


def test_timesOfWhatHadNoServer(frontend, pool, server):
    ended(frontend, startedAt=1.0)
    ended(frontend, pool, startedAt=0.0)
    assert times(frontend, pool, server) == [(2, 3.0, 0), (1, 2.0, 0), (0, 0, 0)]


def test_timesByTwoFrontends(frontend, pool, server):
    other = SimpleNamespace(name="other", traffic=FrontendTraffic())
    for one in (frontend, other, frontend):
        ended(one, pool, server, startedAt=1.0)
    assert times(frontend, pool, server)[0] == (2, 2.0, 0)
    assert times(other, pool, server) == [(1, 1.0, 0), (0, 0, 0), (3, 3.0, 0)]


def test_aResponseOfAnEarlierAttemptIsNone(frontend, pool, server):
    ended(frontend, pool, server, respondedAt=1.2, connectedAt=1.7)
    assert backTimes(server.traffic).responded.count == 0


@pytest.mark.parametrize(("started", "finished"), [(2.0, 2.0), (2.0, 1e7), (1.999999, 2.0)])
def test_timesOfAnyLength(frontend, pool, server, started, finished):
    connection = Connection(1, ("10.0.1.2", 33317), ("10.0.0.1", 80), 1.0)
    exchange = Exchange(connection, frontend, (count,), started)
    exchange.pool, exchange.server = pool, server
    for _ in range(2):
        exchange.cause = ""
        exchange.finish(Cause.DONE, finished)
    whole = backTimes(server.traffic).took
    assert whole.count == 2
    assert whole.percentile(50) == pytest.approx(max(finished - started, LEAST), rel=ERROR)


def test_aServerThatIsForgottenIsNotForgotten(frontend, pool, server):
    ended(frontend, pool, server, startedAt=1.0, reused=True)
    pool.traffic.absorb(server.traffic)
    assert times(frontend, pool) == [(1, 1.0, 0), (1, 1.0, 0)]
    assert pool.traffic.reuses == 1


def test_aFrontendThatIsForgotten(frontend, pool, server):
    ended(frontend, pool, server, startedAt=1.0)
    server.traffic.frontendLeft("www")
    ended(frontend, pool, server, startedAt=1.0)
    assert times(frontend, server) == [(1, 1.0, 0), (2, 2.0, 0)]
    server.traffic.frontendLeft("nobody")
    assert backTimes(server.traffic).took.count == 2


def test_countersCanBeginAnew(frontend, pool, server):
    ended(frontend, pool, server)
    for one in (frontend, pool, server):
        one.traffic.clear()
    ended(frontend, pool, server, startedAt=1.0)
    assert times(frontend, pool, server) == [(1, 1.0, 0), (0, 0, 0), (1, 1.0, 0)]


def test_timesOfManyAreSortedNowAndThen(frontend, pool, server):
    for _ in range(3 * WRITTEN_DOWN):
        ended(frontend, pool, server, startedAt=1.5, connectedAt=1.5, respondedAt=1.75)
        assert len(server.traffic.times.pending) < WRITTEN_DOWN
    count = 3 * WRITTEN_DOWN
    assert times(frontend, server)[0] == (count, count * 0.5, count * 0.25)
