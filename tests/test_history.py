"""The last hour of a frontend or pool: as many points as there are, in order, and no more."""

import pytest

from lbtwist.admin.history import NAMES, POINTS, Series
from lbtwist.histogram import Histogram
from lbtwist.stats import Traffic

_RING = POINTS + 1


def sampled(count, series=None, first=0):
    """@return: a series of so many points, each of which has its number as C{active}."""
    series = series or Series()
    for number in range(first, first + count):
        series.sample(number % _RING, 10.0, Traffic(exchanges=number), number, 0, Histogram())
    return series


@pytest.mark.parametrize("count", [0, 1, 2, POINTS - 1, POINTS, POINTS + 1, 3 * POINTS])
def test_theLastOnesInOrder(count):
    there = min(count, POINTS)
    found = sampled(count).read(count % _RING - there, there)
    assert found["active"] == list(range(count - there, count))
    assert set(found) == set(NAMES) and {len(one) for one in found.values()} == {there}


def test_onePointMayComeWhileTheyAreRead():
    count = 2 * POINTS
    series = sampled(count)
    before = series.read(count % _RING - POINTS, POINTS)
    sampled(1, series, count)
    assert series.read(count % _RING - POINTS, POINTS) == before


def test_whatIsOfASecond():
    series = Series()
    first = Traffic(exchanges=5, bytesIn=100, bytesOut=1000, failed=1)
    series.sample(0, 0.0, first, 1, 2, Histogram([1.0]))
    second = Traffic(25, 300, 5000, 11, [0, 0, 15, 0, 0, 10])
    series.sample(1, 10.0, second, 3, 4, Histogram([1.0, 0.5, 0.5, 0.5, 2.0]))
    found = {name: values[1] for name, values in series.read(0, 2).items()}
    assert found.pop("p50") == pytest.approx(0.5, 0.04)
    assert found.pop("p95") == found.pop("p99") == pytest.approx(2.0, 0.04)
    assert found == {
        "rate": 2.0, "failed": 1.0, "errors": 1.0, "active": 3.0, "queued": 4.0, "in": 20.0,
        "out": 400.0,
    }  # fmt: skip
    assert series.read(0, 1)["rate"] == [None]
