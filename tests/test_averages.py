"""How long things take of late: averages of what is counted, looked at once a second."""

import pytest

from lbtwist.averages import MEMORY, Averages, Totals
from lbtwist.histogram import Times


def counted(took=(), queued=(), connected=(), responded=()):
    times = Times()
    times.took.observeAll(took)
    times.queued.observeAll(queued)
    times.connected.observeAll(connected)
    times.responded.observeAll(responded)
    totals = Totals()
    totals.add([times])
    return totals


def looked(*looks):
    """@param looks: each the time, and what was counted so far."""
    averages = Averages()
    for now, totals in looks:
        averages.look(now, totals)
    return averages


def test_nothingIsKnownBeforeSomethingWasCounted():
    found = looked((0, counted()))
    assert (found.took, found.queued, found.connected, found.responded) == (None,) * 4


def test_eachHasItsOwn():
    found = looked((0, counted([1.0, 3.0], [2.0], [0.25], [0.5, 1.5])))
    assert (found.took, found.connected, found.responded) == (2.0, 0.25, 1.0)


def test_whoDidNotWaitCountsAsNoughtInTheQueue():
    assert looked((0, counted([1.0] * 4, [2.0]))).queued == 0.5


def test_whoWaitsIsCountedBeforeItHasEnded():
    assert looked((0, counted([], [2.0, 4.0]))).queued == 3.0


def test_theQueueIsForgottenWhereNobodyWaitsAnyMore():
    found = looked((0, counted([1.0], [8.0])), (600, counted([1.0] * 101, [8.0])))
    assert found.queued < 0.001


def test_whatIsOldWeighsLess():
    found = looked((0, counted([1.0] * 10)), (MEMORY, counted([1.0] * 10 + [2.0] * 10)))
    assert found.took == pytest.approx((10 / 2.718281828 + 20) / (10 / 2.718281828 + 10))


def test_theSameAtOnceWeighsTheSame():
    found = looked((0, counted([1.0] * 10)), (0, counted([1.0] * 10 + [2.0] * 10)))
    assert found.took == pytest.approx(1.5)


def test_itStaysWhileNothingComes():
    totals = counted([1.0, 2.0])
    found = looked((0, totals), *((float(day) * 86400, totals) for day in range(1, 30)))
    assert found.took == 1.5


def test_countersThatBeginAnewAreAllNew():
    found = looked((0, counted([1.0] * 10)), (1e9, counted([5.0] * 3)))
    assert found.took == pytest.approx(5.0)
