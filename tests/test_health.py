"""
Health: every short history of results against a model that looks back instead of
counting, and what an administrator's word means.
"""

from itertools import product

import pytest

from lbtwist.health import Admin, Health, Result, Transition
from lbtwist.testing import makeServers

GOOD = Result(True, "L7OK", "status 200", 0.002)
BAD = Result(False, "L4CON", "Connection refused")


def looksBack(up, history, rise, fall):
    """@return: whether a server is up after C{history}, which began as C{up}."""
    for end in range(1, len(history) + 1):
        if up and end >= fall and not any(history[end - fall : end]):
            up = False
        elif not up and end >= rise and all(history[end - rise : end]):
            up = True
    return up


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(("rise", "fall"), list(product((1, 2, 3, 4), repeat=2)))
def test_everyHistoryOfUpToEightResults(up, rise, fall):
    for length in range(9):
        for history in product((True, False), repeat=length):
            health = Health(rise=rise, fall=fall, up=up)
            before = up
            for end, passed in enumerate(history, 1):
                result = Result(passed, "L7OK" if passed else "L7STS", str(end))
                transition = health.told(result)
                after = looksBack(up, history[:end], rise, fall)
                assert health.up is after
                assert transition == (Transition(after, result) if after != before else None)
                before = after


def test_aHistoryRead():
    health = Health(rise=2, fall=3)
    assert [health.told(result) for result in (BAD, BAD, GOOD, BAD, BAD)] == [None] * 5
    assert health.up
    assert health.told(BAD) == Transition(False, BAD)
    assert health.told(GOOD) is None
    assert not health.up
    assert health.told(GOOD) == Transition(True, GOOD)
    assert health.up


@pytest.mark.parametrize(
    ("up", "results", "changing"),
    [
        (True, [], False),
        (True, [GOOD], False),
        (True, [BAD], True),
        (True, [BAD, GOOD], False),
        (True, [BAD, BAD], True),
        (True, [BAD, BAD, BAD], False),
        (False, [BAD], False),
        (False, [GOOD], True),
        (False, [GOOD, BAD], False),
        (False, [GOOD, GOOD], False),
    ],
)
def test_changingWhileResultsSpeakAgainstTheState(up, results, changing):
    health = Health(rise=2, fall=3, up=up)
    for result in results:
        health.told(result)
    assert health.changing is changing


def test_theLastTwentyResultsAreKept():
    health = Health()
    results = [Result(bool(i % 3), "L7OK", str(i)) for i in range(50)]
    for i, result in enumerate(results, 1):
        health.told(result)
        assert list(health.results) == results[max(0, i - 20) : i]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("admin", [Admin.READY, Admin.DRAIN, Admin.MAINT])
def test_usableIsUpAndReady(up, admin):
    assert Health(up=up, admin=admin).usable is (up and admin == "ready")


@pytest.mark.parametrize("admin", [Admin.DRAIN, Admin.MAINT])
def test_checksCountWhateverTheAdministratorSaid(admin):
    """So the state is known when the server is made ready again."""
    health = Health(fall=2, admin=admin)
    health.told(BAD)
    assert health.told(BAD) == Transition(False, BAD)
    health.admin = Admin.READY
    assert not health.usable


def test_eachHasItsOwnResults():
    one, other = Health(), Health()
    one.told(BAD)
    assert (len(one.results), len(other.results)) == (1, 0)


@pytest.mark.parametrize(
    ("up", "admin", "weight", "resolved", "usable"),
    [
        (True, Admin.READY, 1, True, True),
        (False, Admin.READY, 1, True, False),
        (True, Admin.DRAIN, 1, True, False),
        (True, Admin.MAINT, 1, True, False),
        (True, Admin.READY, 0, True, False),
        (True, Admin.READY, 1, False, False),
    ],
)
def test_aServerIsUsable(up, admin, weight, resolved, usable):
    """What no balancer is ever offered."""
    (server,) = makeServers(weight)
    server.health.up = up
    server.health.admin = admin
    if not resolved:
        server.endpoint = None
    assert server.usable is usable


def test_reprShowsTheState():
    health = Health(fall=3)
    assert repr(health) == "<Health up ready 0>"
    health.told(BAD)
    assert repr(health) == "<Health up ready 1>"
    assert repr(Health(up=False, admin=Admin.DRAIN)) == "<Health down drain 0>"


@pytest.mark.parametrize(
    ("fall", "before", "left", "after"),
    [
        # Of what would take it down nothing is left to be done, or one, or as much as was.
        (3, 0, 0, "down"), (3, 2, 0, "down"), (1, 0, 0, "down"),
        (3, 0, 1, 2), (3, 1, 1, 2), (3, 2, 1, "down"), (2, 0, 1, 1), (1, 0, 1, "down"),
        (5, 0, 1, 4), (3, 0, 99, 1), (3, 1, 99, 2), (3, 2, 99, "down"),
    ],
)  # fmt: skip
def test_doubted(fall, before, left, after):
    health = Health(fall=fall, count=before)
    transition = health.doubted(BAD, left)
    assert (transition is not None) == (after == "down")
    assert (health.count if health.up else "down") == after
    assert list(health.results) == [BAD]


def test_doubtedWhileItIsDown():
    """It has to pass its checks from the beginning."""
    health = Health(up=False, count=1)
    assert health.doubted(BAD, 0) is None
    assert health.count == 0 and not health.up


def test_ejected():
    """As good as down, without being that."""
    health = Health(ejected=True)
    assert health.up and not health.usable and not health.recallable
    health.ejected = False
    assert health.usable and health.recallable
