"""Several checks as one: what comes of their results, and which of them are left to end."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from lbtwist.checks import CheckCancelled
from lbtwist.checks.combined import Combined, Group, Single
from lbtwist.health import Admin, Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.server import Endpoint, Server

SERVER = Server("app", "a", Endpoint(socket.AF_INET, ("192.0.2.1", 80)))
PASSES = Result(True, "L7OK", "200 OK")
FAILS = Result(False, "L4CON", "connection refused")


class Part:
    """
    A check that ends when it is told to.

    @ivar running: L{None} as long as it has not been asked.
    """

    def __init__(self, at=None):
        self.at = at
        self.server = None
        self.running = None
        self.cancelled = False

    def check(self, server):
        self.server = server
        if self.at is not None:
            return self.at
        self.running = Deferred(self._cancelled)
        return self.running

    def _cancelled(self, running):
        self.cancelled = True
        running.errback(CheckCancelled("L7TOUT", "no response"))

    def ends(self, result):
        self.running.callback(result)


class World:
    """A combined check of C{count} parts, of which server C{a} is asked."""

    def __init__(self, group, count, at=()):
        self.parts = [Part() for _ in range(count)]
        for number, answer in dict(at).items():
            self.parts[number].at = answer
        singles = [Single("tcp", part, 9000 + n) for n, part in enumerate(self.parts)]
        self.check = Combined(group, singles)
        self.found = []
        self.failed = []
        self.verdict = self.check.check(SERVER)
        self.verdict.addCallbacks(self.found.append, lambda one: self.failed.append(one.value))

    @property
    def cancelled(self):
        return [number for number, part in enumerate(self.parts) if part.cancelled]


def both(*parts):
    return Group(len(parts), parts)


def either(*parts):
    return Group(1, parts)


def test_keepsTheInterface():
    assert verifyObject(IHealthCheck, World(both(0), 1).check)


def test_allAreAskedAtOnce():
    world = World(both(0, either(1, 2)), 3)
    assert all(part.running is not None for part in world.parts)


def test_eachAtItsPort():
    """Also where the check as a whole is at another; and of the same server otherwise."""
    first, second = Part(), Part()
    Combined(both(0, 1), [Single("http", first), Single("tcp", second, 9000)]).check(SERVER)
    assert first.server is SERVER
    assert str(second.server.endpoint) == "192.0.2.1:9000"
    assert second.server.health is SERVER.health


def test_andWantsAll():
    world = World(both(0, 1), 2)
    world.parts[1].ends(Result(True, "L4OK"))
    assert world.found == []
    world.parts[0].ends(PASSES)
    assert world.found == [
        Result(True, "L4OK", "part 1, tcp:9000: 200 OK; part 2, tcp:9001")
    ]


def test_andIsOverWithTheFirstThatFails():
    world = World(both(0, 1, 2), 3)
    world.parts[0].ends(PASSES)
    world.parts[1].ends(FAILS)
    assert world.found == [Result(False, "L4CON", "part 2, tcp:9001: connection refused")]
    assert world.cancelled == [2]


def test_orIsOverWithTheFirstThatPasses():
    world = World(either(0, 1, 2), 3)
    world.parts[2].ends(FAILS)
    world.parts[1].ends(PASSES)
    assert world.found == [Result(True, "L7OK", "part 2, tcp:9001: 200 OK")]
    assert world.cancelled == [0]


def test_orFailsWhereAllDo():
    world = World(either(0, 1), 2)
    world.parts[1].ends(FAILS)
    world.parts[0].ends(Result(False, "L7STS", "503 Busy"))
    assert world.found == [
        Result(
            False, "L7STS",
            "part 1, tcp:9000: 503 Busy; part 2, tcp:9001: connection refused",
        )
    ]  # fmt: skip


def test_someOfSeveral():
    world = World(Group(2, (0, 1, 2)), 3)
    world.parts[0].ends(FAILS)
    world.parts[1].ends(PASSES)
    assert world.found == []
    world.parts[2].ends(PASSES)
    assert world.found[0].passed
    world = World(Group(2, (0, 1, 2)), 3)
    world.parts[2].ends(FAILS)
    world.parts[0].ends(FAILS)
    assert not world.found[0].passed and world.cancelled == [1]


def test_aPartOfItIsOver():
    """What an C{or} inside has decided is not waited for; what is outside of it is."""
    world = World(both(0, either(1, 2)), 3)
    world.parts[1].ends(PASSES)
    assert world.cancelled == [2] and world.found == []
    world.parts[0].ends(FAILS)
    assert world.found == [Result(False, "L4CON", "part 1, tcp:9000: connection refused")]


def test_onlyWhatItFailedByIsSaid():
    world = World(both(either(0, 1), 2), 3)
    world.parts[0].ends(FAILS)
    world.parts[1].ends(PASSES)
    world.parts[2].ends(Result(False, "L7STS", "500 Oh"))
    assert world.found == [Result(False, "L7STS", "part 3, tcp:9002: 500 Oh")]


def test_thoseThatEndAtOnce():
    """Then there may be some that need not be asked at all."""
    world = World(either(0, 1, 2), 3, at={1: succeed(PASSES)})
    assert world.found[0].passed and world.cancelled == [0]
    assert world.parts[2].running is None
    world = World(both(0, 1), 2, at={0: succeed(FAILS)})
    assert not world.found[0].passed and world.parts[1].running is None


@pytest.mark.parametrize(("answer", "reason"), [
    (fail(ZeroDivisionError("division")), "ZeroDivisionError: division"),
    (succeed(None), "the check answered None, not a Result"),
    (fail(OSError(24, "Too many open files")), "too many open files"),
    (fail(CheckCancelled("L4TOUT", "no connection")), "no connection"),
])  # fmt: skip
def test_aPartThatIsBroken(answer, reason):
    world = World(either(0), 1, at={0: answer})
    [result] = world.found
    assert not result.passed and reason in result.detail


# Beyond up and down.


def test_whatTheLastOneSaysCounts():
    """The last as they are written, not the last that has ended."""
    world = World(both(0, 1, 2), 3)
    world.parts[2].ends(Result(True, "L7OK", weight=50, role="primary"))
    world.parts[1].ends(Result(True, "L7OK", weight=70, admin=Admin.DRAIN))
    world.parts[0].ends(Result(True, "L7OK", admin=Admin.READY, maxconn=9, role="standby"))
    [result] = world.found
    assert (result.weight, result.admin, result.maxconn, result.role) == (
        50, Admin.DRAIN, 9, "primary"
    )  # fmt: skip


def test_whatAPartSaysThatFailsCountsToo():
    world = World(both(0, 1), 2)
    world.parts[0].ends(Result(True, "L7OK", weight=100))
    world.parts[1].ends(Result(False, "L7STS", "down", weight=0))
    assert world.found[0].weight == 0


# Cancelled.


def test_cancelled():
    """All that run are; what was missing is said, and what had failed before."""
    world = World(Group(2, (0, 1, 2, 3)), 4)
    world.parts[0].ends(FAILS)
    world.parts[1].ends(PASSES)
    world.verdict.cancel()
    [late] = world.failed
    assert isinstance(late, CheckCancelled)
    assert (late.status, late.detail) == (
        "L7TOUT",
        "part 1, tcp:9000: connection refused; part 3, tcp:9002: no response; "
        "part 4, tcp:9003: no response",
    )
    assert world.cancelled == [2, 3]


def test_cancelledButNotAllOfItEnds():
    """One that says nothing when it is cancelled, and one that has its own words."""
    world = World(both(0, 1), 2, at={0: Deferred(), 1: Deferred(lambda one: one.callback(PASSES))})
    world.verdict.cancel()
    [late] = world.failed
    assert (late.status, late.detail) == (
        "L7TOUT", "part 1, tcp:9000: no result; part 2, tcp:9001: no result"
    )  # fmt: skip


# Any check at all.

TREES = st.recursive(
    st.just(None),
    lambda inner: st.lists(inner, min_size=1, max_size=4).flatmap(
        lambda parts: st.tuples(st.integers(1, len(parts)), st.just(parts))
    ),
    max_leaves=8,
)


def numbered(tree, count):
    """@return: a group whose parts are numbered from C{count[0]} on."""
    least, parts = tree or (1, [None])
    found = []
    for part in parts:
        if part is None:
            found.append(count[0])
            count[0] += 1
        else:
            found.append(numbered(part, count))
    return Group(least, tuple(found))


def expected(group, outcomes):
    passed = [
        outcomes[part] if isinstance(part, int) else expected(part, outcomes)
        for part in group.parts
    ]
    return sum(passed) >= group.least


@given(TREES, st.randoms(use_true_random=False))
def test_theSameInWhateverOrderTheyEnd(tree, random):
    """One verdict, that of all results together; nothing runs after it."""
    count = [0]
    group = numbered(tree, count)
    outcomes = [random.random() < 0.5 for _ in range(count[0])]
    world = World(group, count[0])
    order = list(range(count[0]))
    random.shuffle(order)
    for number in order:
        part = world.parts[number]
        if not part.cancelled:
            assert not world.found
            part.ends(PASSES if outcomes[number] else FAILS)
        if world.found:
            break
    [result] = world.found
    assert result.passed is expected(group, outcomes)
    assert all(part.cancelled or part.running.called for part in world.parts)
