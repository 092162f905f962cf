"""Times that were added: how many, how long, and every percentile within a bound."""

import bisect
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbtwist.histogram import ERROR, LEAST, MOST, Histogram, Times, boundOf

times = st.floats(1e-6, 1e6)
several = st.lists(times, min_size=1, max_size=60)
percents = st.integers(1, 100)


def exact(seconds, percent):
    """@return: the time that so many took at the most, of a list."""
    ordered = sorted(seconds)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


@given(several, percents)
@example([0.25], 100)
@example([1.0, 2.0], 50)
def test_aPercentileIsNearWhatItIs(seconds, percent):
    found = Histogram(seconds).percentile(percent)
    true = exact(seconds, percent)
    assert abs(found - true) <= ERROR * true * (1 + 1e-9)


def test_theBoundIsReached():
    # A bucket begins with 1.0; its middle is 1/32 above.
    assert Histogram([1.0]).percentile(50) == 1 + ERROR


@given(several, several)
def test_twoTogetherAreAsIfAllHadBeenAddedToOne(some, others):
    together = Histogram(some)
    together.add(Histogram(others))
    whole = Histogram(some + others)
    assert list(together.filled()) == list(whole.filled())
    assert together.count == len(some) + len(others)
    assert together.sum == pytest.approx(sum(some) + sum(others))


@given(several, several)
def test_addingChangesNothingOfTheOther(some, others):
    other = Histogram(others)
    before = list(other.counts), other.sum
    Histogram(some).add(other)
    assert (list(other.counts), other.sum) == before


@given(several, st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=20))
def test_belowABoundIsNearWhatItIs(seconds, bounds):
    bounds = tuple(sorted(bounds))
    found = Histogram(seconds).below(bounds)
    ordered = sorted(seconds)
    for bound, count in zip(bounds, found, strict=True):
        off = 2 * ERROR * bound
        assert bisect.bisect_left(ordered, bound - off) <= count
        assert count <= bisect.bisect_right(ordered, bound + off)


@given(several, st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=20))
def test_moreIsBelowAHigherBound(seconds, bounds):
    found = Histogram(seconds).below(tuple(sorted(bounds)))
    assert found == sorted(found)
    assert 0 <= found[0] and found[-1] <= len(seconds)


@given(several, times)
def test_whatIsBelowABoundIsNeverLessThanBefore(seconds, more):
    histogram, bounds = Histogram(seconds), (0.001, 0.01, 0.1, 1.0, 10.0)
    before = histogram.below(bounds)
    histogram.observe(more)
    after = histogram.below(bounds)
    assert all(later >= earlier for earlier, later in zip(before, after, strict=True))


def test_aBucketIsHalvedByABoundInTheMiddleOfIt():
    # From 1.0 to 1.0625; 100 of them, wherever they are in it.
    histogram = Histogram([1.01] * 100)
    assert histogram.below((1.0, 1.03125, 1.0625)) == [0, 50, 100]


@pytest.mark.parametrize(
    ("seconds", "at"),
    [(LEAST, 0), (2 * LEAST, 16), (1.0, 320), (1.0625, 321), (1.99, 335), (2.0, 336)],
)
def test_sixteenBucketsToAnOctave(seconds, at):
    assert dict(Histogram([seconds]).filled()) == {at: 1}
    assert boundOf(at) <= seconds < boundOf(at + 1)


@given(several)
def test_manyAtOnceAreAsOneAfterTheOther(seconds):
    together = Histogram()
    together.observeAll(seconds)
    single = Histogram(seconds)
    assert together.counts == single.counts
    assert together.sum == pytest.approx(single.sum)


@pytest.mark.parametrize("odd", [0.0, 1e-9, -1.0, math.nan, math.inf, MOST, MOST * 2, 1e300])
def test_oddOnesAmongMany(odd):
    together = Histogram()
    together.observeAll([0.5, odd, 2.0])
    single = Histogram([0.5, odd, 2.0])
    assert (together.counts, together.sum) == (single.counts, single.sum)


@pytest.mark.parametrize("seconds", [0.0, 1e-12, 5e-324, LEAST / 2])
def test_whatIsTooShortIsCountedAsTheShortest(seconds):
    histogram = Histogram([seconds])
    assert dict(histogram.filled()) == {0: 1}
    assert histogram.sum == seconds


@pytest.mark.parametrize("seconds", [MOST, MOST * 3, 1e300, math.inf])
def test_whatIsTooLongIsCountedAsTheLongest(seconds):
    histogram = Histogram([seconds])
    assert histogram.count == 1
    assert len(histogram.counts) < 1000
    assert histogram.percentile(50) >= MOST


@pytest.mark.parametrize("seconds", [-0.5, -1e-9, math.nan])
def test_whatIsNoTimeIsNotCounted(seconds):
    histogram = Histogram([seconds])
    assert (histogram.count, histogram.sum) == (0, 0.0)


def test_nothingHasNoPercentile():
    histogram = Histogram()
    assert histogram.percentile(99) == 0.0
    assert histogram.below((0.1, 1.0)) == [0, 0]
    histogram.add(Histogram())
    assert histogram.count == 0


def test_percentilesOfMany():
    histogram = Histogram(n / 1000 for n in range(1, 1001))
    for percent in (50, 90, 95, 99, 99.9):
        assert histogram.percentile(percent) == pytest.approx(percent / 100, rel=ERROR)


def test_timesOfSeveral():
    one, other = Times(), Times()
    one.took.observe(1.0)
    other.took.observe(2.0)
    other.queued.observe(0.5)
    whole = Times.of([one, other])
    assert (whole.took.sum, whole.queued.sum, whole.responded.count) == (3.0, 0.5, 0)
    assert one.took.sum == 1.0


def test_reprSaysHowMany():
    assert repr(Histogram([0.5, 1.0])) == "<Histogram 2 times 1.5 s>"


def test_whatIsWrittenDownIsCountedWhenSomebodyLooks():
    times = Times()
    times.pending += [1.0, 0.25, 2.0, 0.0, 3.0, -5.0]
    assert (times.took.count, times.took.sum) == (3, 6.0)
    assert (times.responded.count, times.responded.sum) == (1, 0.25)
    assert times.pending == []
    assert repr(times) == "<Times 3 exchanges>"
