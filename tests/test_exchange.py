"""The one exit of an exchange, and what its places in code are for."""

import pytest
from twisted.logger import capturedLogs

from lbtwist.exchange import Cause, Connection, Exchange, Stage
from lbtwist.testing import fakeExchange, makeServers


class Pool:
    """Notes what is given back."""

    def __init__(self):
        self.released = []

    def release(self, exchange):
        self.released.append(exchange)
        exchange.holding = False


def exchange(*observers):
    connection = Connection(1, ("192.0.2.1", 50000), ("192.0.2.80", 80), 1.0)
    return Exchange(connection, None, observers, 1.0)


def test_isToldToEveryObserver():
    seen = []
    found = exchange(
        lambda one: seen.append(("first", one.cause, one.finishedAt)),
        lambda one: seen.append(("second", one.cause, one.finishedAt)),
    )
    found.finish(Cause.DONE, 7.5)
    assert seen == [("first", "-", 7.5), ("second", "-", 7.5)]


def test_onlyOnce():
    seen = []
    found = exchange(seen.append)
    found.finish(Cause.DONE, 7.5)
    with pytest.raises(AssertionError, match="finished twice"):
        found.finish(Cause.SERVER, 8.5)
    assert seen == [found]
    assert found.cause == Cause.DONE


def test_aFaultOfAnObserver():
    """It is logged, the others are told, and the slot is given back."""
    seen = []

    def broken(one):
        raise ZeroDivisionError

    found = exchange(broken, seen.append)
    found.pool = Pool()
    found.holding = True
    with capturedLogs() as events:
        found.finish(Cause.DONE, 7.5)
    assert seen == [found]
    assert found.pool.released == [found]
    [event] = events
    assert event["log_failure"].check(ZeroDivisionError)
    assert event["observer"] is broken


def test_theSlotIsGivenBackAfterTheObservers():
    """What they see of the pool is what the exchange has used."""
    held = []
    found = exchange(lambda one: held.append(one.holding))
    found.pool = Pool()
    found.holding = True
    found.finish(Cause.DONE, 7.5)
    assert held == [True]
    assert not found.holding


def test_noSlotIsGivenBackThatIsNotHeld():
    found = exchange()
    found.pool = Pool()
    found.finish(Cause.CLIENT, 7.5)
    assert found.pool.released == []


def test_repr():
    found = fakeExchange()
    assert repr(found) == "<Exchange 192.0.2.1 .R>"
    [found.server] = makeServers(1)
    found.stage = Stage.DATA
    found.finish(Cause.SERVER, 2.0)
    assert repr(found) == "<Exchange 192.0.2.1 SD on <Server app/a up 0>>"


def letters(names):
    return [value for name, value in vars(names).items() if not name.startswith("_")]


def test_everyLetterMeansOneThing():
    """HAProxy's manual, 8.5: they are what the log says."""
    assert sorted(letters(Cause)) == sorted("-CSPLRIDKcs")
    assert sorted(letters(Stage)) == sorted("RTQCHDL-")


def test_aConnectionDoesNotChange():
    connection = exchange().connection
    with pytest.raises(AttributeError):
        connection.trusted = True
