"""Which exchanges a log takes, and how severe each is."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_accesslog import ended

from lbtwist.exchange import Cause, Stage
from lbtwist.sampling import (
    broughtNothing,
    chance,
    hasFailed,
    row,
    severityOf,
    taking,
)
from lbtwist.sansio.syslogline import ERR, INFO, NOTICE

GOOD = ended()


@pytest.mark.parametrize("story, severity", [
    ({}, INFO),
    ({"status": 302, "cause": Cause.LOCAL}, INFO),
    ({"status": 404}, NOTICE),
    ({"status": 403, "cause": Cause.REFUSED}, NOTICE),
    ({"cause": Cause.REFUSED, "status": 0}, NOTICE),
    ({"cause": Cause.CLIENT, "stage": Stage.DATA}, NOTICE),
    ({"cause": Cause.CLIENT_TIMEOUT, "status": 408}, NOTICE),
    ({"cause": Cause.KILLED}, NOTICE),
    ({"status": 500}, ERR),
    ({"status": 503, "cause": Cause.LOCAL}, ERR),
    ({"status": 502, "cause": Cause.REFUSED}, ERR),
    ({"cause": Cause.SERVER, "stage": Stage.DATA}, ERR),
    ({"cause": Cause.SERVER_TIMEOUT, "status": 504}, ERR),
    ({"cause": Cause.RESOURCE}, ERR),
    ({"cause": Cause.INTERNAL}, ERR),
    ({"cause": Cause.DOWN}, ERR),
])  # fmt: skip
def test_severities(story, severity):
    assert severityOf(ended(**story)) == severity


@pytest.mark.parametrize("story, failed", [
    ({}, False), ({"cause": Cause.LOCAL, "status": 302}, False), ({"status": 404}, False),
    ({"status": 500}, True), ({"cause": Cause.REFUSED, "status": 403}, True),
    ({"cause": Cause.CLIENT}, True), ({"cause": Cause.SERVER}, True),
    ({"retries": 1}, True), ({"redispatched": True}, True),
])  # fmt: skip
def test_whatHasFailed(story, failed):
    assert hasFailed(ended(**story)) is failed


@pytest.mark.parametrize("story, nothing", [
    ({"bytesIn": 0, "bytesOut": 0, "cause": Cause.CLIENT, "status": 0}, True),
    ({"bytesIn": 0, "bytesOut": 0, "cause": Cause.CLIENT_TIMEOUT, "status": 0}, True),
    ({"bytesIn": 0, "bytesOut": 99, "cause": Cause.CLIENT_TIMEOUT, "status": 408}, True),
    ({"bytesIn": 0, "bytesOut": 0, "cause": Cause.DONE, "status": 0}, True),
    ({"bytesIn": 1, "bytesOut": 0, "cause": Cause.CLIENT, "status": 0}, False),
    # The server has spoken.
    ({"bytesIn": 0, "bytesOut": 9, "cause": Cause.CLIENT, "status": 0}, False),
    # A handshake that failed.
    ({"bytesIn": 0, "bytesOut": 0, "cause": Cause.REFUSED, "status": 0}, False),
])  # fmt: skip
def test_whatBroughtNothing(story, nothing):
    assert broughtNothing(ended(**story)) is nothing


def taken(count, **options):
    takes = taking(**options)
    return sum(takes(GOOD) for _ in range(count))


def test_whereAllAreTakenNothingIsAsked():
    assert taking() is None


def test_onlyErrors():
    takes = taking(normal=False)
    assert not takes(GOOD) and takes(ended(status=500))


def test_onlyNormal():
    takes = taking(errors=False)
    assert takes(GOOD) and not takes(ended(status=500))


def test_onlySomeStatuses():
    takes = taking(False, False, [(404, 404), (500, 599)])
    assert [takes(ended(status=one)) for one in (200, 403, 404, 405, 500, 599)] == [
        False, False, True, False, True, True,
    ]  # fmt: skip


def test_errorsAndSomeStatuses():
    takes = taking(normal=False, statuses=[(404, 404)])
    assert [takes(ended(status=one)) for one in (200, 404, 503)] == [False, True, True]


def test_withoutThoseThatBroughtNothing():
    takes = taking(null=False)
    nothing = {"bytesIn": 0, "bytesOut": 0, "cause": Cause.CLIENT, "status": 0}
    assert takes(GOOD) and not takes(ended(**nothing))


def test_fromALevel():
    takes = taking(level=NOTICE)
    assert [takes(ended(status=one)) for one in (200, 404, 500)] == [False, True, True]


def test_aSampleKeepsAllErrors():
    takes = taking(sampled=row(100, {1}))
    exchanges = [ended(status=500 if number % 10 == 3 else 200) for number in range(1000)]
    kept = [one for one in exchanges if takes(one)]
    assert sum(one.status == 500 for one in kept) == 100
    assert sum(one.status == 200 for one in kept) == 9


def test_aSampleOfErrorsToo():
    takes = taking(sampled=row(10, {1}), sampleErrors=True)
    assert sum(takes(ended(status=500)) for _ in range(1000)) == 100


@given(st.integers(1, 50), st.data())
def test_rows(size, data):
    """As in HAProxy: of so many in a row those with these numbers."""
    numbers = data.draw(st.sets(st.integers(1, size), min_size=1))
    next_ = row(size, numbers)
    for number in itertools.islice(itertools.cycle(range(1, size + 1)), 3 * size):
        assert next_() == (number in numbers)


def test_percent():
    """Each has the same chance: what comes in turns is not seen one-sidedly."""
    draw = random.Random(1).random
    assert 80 < taken(1000, sampled=chance(10, draw)) < 120
    assert taken(1000, sampled=chance(99, lambda: 0.99)) == 0
    assert taken(1000, sampled=chance(99, lambda: 0.98)) == 1000
