"""When checks run, what is made of their results, and who is told."""

import errno
import os
import socket
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lbtwist.announcing import Announcer
from lbtwist.checks import CheckCancelled, HTTPCheck
from lbtwist.config.model import CheckOptions, PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.demo import DemoServer
from lbtwist.events import EVENTS, LONGEST
from lbtwist.exchange import Cause
from lbtwist.health import Admin, Result
from lbtwist.monitor import AT_ONCE, LEAST, Monitor
from lbtwist.pool import Pool
from lbtwist.registry import Context
from lbtwist.server import Endpoint
from lbtwist.testing import makeServers

PASSES = Result(True, "L7OK", "200 OK", 0.0008)
FAILS = Result(False, "L4CON", "connection refused", 0.0008)
STEADY = CheckOptions(interval=2.0, jitter=0)
STEP = 1 / 16  # exact in binary: sums of it are


class Scripted:
    """
    A check whose results the test decides.

    @ivar result: what it finds; L{None} leaves the check running.
    @ivar asked: C{(time, server)} of every check.
    @ivar running: the checks that have not ended.
    """

    def __init__(self, clock, result=PASSES):
        self.clock = clock
        self.result = result
        self.asked = []
        self.running = []
        self.cancelled = 0

    def times(self, name="a"):
        return [time for time, server in self.asked if server.name == name]

    def check(self, server):
        self.asked.append((self.clock.seconds(), server))
        if self.result is not None:
            return succeed(self.result)
        running = Deferred(self._cancelled)
        self.running.append(running)
        return running

    def _cancelled(self, running):
        self.cancelled += 1
        self.running.remove(running)
        running.errback(CheckCancelled("L4TOUT", "no connection"))

    def end(self, result):
        self.running.pop(0).callback(result)


class World:
    """A monitor, a clock and a pool C{app} of servers C{a}, C{b} and so on."""

    def __init__(self, *weights, atOnce=AT_ONCE, **options):
        self.clock = Clock()
        self.monitor = Monitor(self.clock, self.clock.seconds, Random(7), atOnce)
        self.servers = makeServers(*weights)
        self.pool = Pool(
            PoolConfig("app", **options), self.servers, None, self.clock,
            Deadlines(self.clock, self.clock.seconds),
        )  # fmt: skip
        self.check = Scripted(self.clock)

    def start(self, timing=STEADY, check=None):
        for server in self.servers:
            self.monitor.watch(self.pool, server, check or self.check, timing)
        self.monitor.start()
        self.clock.advance(0)

    def passes(self, seconds, step=STEP):
        """Time passes."""
        self.clock.pump([step] * round(seconds / step))


def texts(events):
    return [formatEvent(event) for event in events]


# When.


def test_onceInEveryInterval():
    world = World(1)
    world.start()
    world.passes(9)
    assert world.check.times() == [0, 2, 4, 6, 8]


def test_theFirstOnesAreSpread():
    """Over one interval, and the first comes at once: a dead server is found soon."""
    world = World(1, 1, 1, 1)
    world.start()
    world.passes(2 - STEP)
    assert [(time, server.name) for time, server in world.check.asked] == [
        (0, "a"), (0.5, "b"), (1, "c"), (1.5, "d"),
    ]  # fmt: skip
    world.passes(2)
    assert world.check.times("d") == [1.5, 3.5]


def test_intervalsVary():
    """Each by its own share, and none by more than is allowed."""
    world = World(1)
    world.start(CheckOptions(interval=2.0, jitter=25))
    world.passes(400)
    times = world.check.times()
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 1.5 and max(gaps) <= 2.5 + STEP
    assert len(set(gaps)) > 5
    assert 1.9 < sum(gaps) / len(gaps) < 2.1


def test_noIntervalIsTooShort():
    """Whatever is written, or comes by chance: the process has other things to do."""
    for timing in (CheckOptions(interval=0.0), CheckOptions(interval=0.001, jitter=100)):
        world = World(1)
        world.start(timing)
        world.passes(1, LEAST / 10)
        assert 90 <= len(world.check.asked) <= 101


def test_anIntervalBeginsWithTheCheck():
    world = World(1)
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=10.0))
    world.passes(1.5)
    world.check.end(PASSES)
    world.passes(1)
    assert world.check.times() == [0, 2]


def test_neverTwoAtOnce():
    """A check that takes longer than the interval; the next begins when it has ended."""
    world = World(1)
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=10.0))
    world.passes(5)
    assert world.check.times() == [0]
    world.check.end(PASSES)
    world.passes(STEP)
    assert world.check.times() == [0, 5 + STEP]


def test_fastWhileInDoubt():
    """Between up and down, at both ends: three to go down, two to come up."""
    world = World(1)
    world.start(CheckOptions(interval=2.0, fast=0.5, jitter=0))
    world.passes(1)
    world.check.result = FAILS
    world.passes(4)
    server = world.servers[0]
    assert not server.health.up
    assert world.check.times() == [0, 2, 2.5, 3, 5]
    world.check.result = PASSES
    world.passes(4.75)
    assert server.health.up
    assert world.check.times() == [0, 2, 2.5, 3, 5, 7, 7.5, 9.5]


def test_notWithoutAnAddress():
    world = World(1)
    server = world.servers[0]
    endpoint, server.endpoint = server.endpoint, None
    world.start()
    world.passes(5)
    assert world.check.asked == [] and server.traffic.checks == 0
    server.endpoint = endpoint
    world.passes(2)
    assert world.check.times() == [6]


def test_notInMaintenance():
    world = World(1, 1)
    for server, admin in zip(world.servers, (Admin.MAINT, Admin.DRAIN), strict=True):
        server.health.admin = admin
        server.health.held = True
    world.start()
    world.passes(5)
    assert world.check.times("a") == [] and world.check.times("b") == [1, 3, 5]


def test_addedLater():
    world = World(1, 1)
    first, second = world.servers
    world.monitor.watch(world.pool, first, world.check, STEADY)
    world.monitor.start()
    world.passes(1)
    world.monitor.watch(world.pool, second, world.check, STEADY)
    world.clock.advance(0)
    world.passes(3)
    assert world.check.times("b") == [1, 3]


def test_forgotten():
    """With a check on its way, between two checks, and while it waits for its turn."""
    world = World(1, 1, 1, atOnce=1)
    a, b, c = world.servers
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=60.0))
    world.passes(3)
    assert [server.name for _, server in world.check.asked] == ["a"]
    world.monitor.forget(b)
    world.monitor.forget(a)
    assert world.check.cancelled == 1
    assert [server.name for _, server in world.check.asked] == ["a", "c"]
    world.check.end(PASSES)
    world.monitor.forget(c)
    world.monitor.forget(c)
    world.passes(9)
    assert len(world.check.asked) == 2 and world.clock.calls == []
    assert [len(server.health.results) for server in (a, b, c)] == [0, 0, 1]


def test_watchedAnew():
    """As a new configuration does: the new check counts, what was known stays."""
    world = World(1)
    world.check.result = FAILS
    world.start()
    world.passes(7)
    other = Scripted(world.clock, FAILS)
    world.monitor.watch(world.pool, world.servers[0], other, STEADY)
    world.passes(5)
    assert world.check.times() == [0, 2, 4, 6]
    assert len(other.asked) == 3
    assert not world.servers[0].health.up


@pytest.mark.parametrize("admin", [Admin.MAINT, Admin.DRAIN])
def test_outOfServiceByItsCheckAndWatchedAnew(admin):
    """As one is that its source names again: the check may take it back."""
    world = World(1)
    [server] = world.servers
    world.check.result = Result(True, "L7OK", admin=admin)
    world.start()
    world.monitor.forget(server)
    world.monitor.watch(world.pool, server, world.check, STEADY)
    world.clock.advance(0)
    assert world.check.times() == [0, 0]
    world.check.result = Result(True, "L7OK", admin=Admin.READY)
    world.passes(2)
    assert server.health.admin == Admin.READY


# How many.


def test_aFloodStaysWithinTheBound():
    world = World(*[1] * 1000)
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=60.0))
    world.passes(2)
    assert len(world.check.running) == AT_ONCE
    ended = 0
    while world.check.running:
        world.check.end(PASSES)
        ended += 1
        assert len(world.check.running) <= AT_ONCE
    assert ended == 1000
    # In the order in which they were due.
    assert [server for _, server in world.check.asked] == list(world.servers)


def test_manyWaitForChecksThatEndAtOnce():
    """However many wait: no recursion runs out."""
    world = World(*[1] * 2000, atOnce=1)
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=60.0))
    world.passes(2)
    world.check.result = PASSES
    world.check.end(PASSES)
    assert len(world.check.asked) == 2000


# How long.


def test_tooSlow():
    world = World(1)
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=0.5))
    world.passes(0.5)
    assert world.check.running == [] and world.check.cancelled == 1
    result = Result(False, "L4TOUT", "no connection after 0.5 s", 0.5)
    assert list(world.servers[0].health.results) == [result]
    world.passes(2)
    assert world.check.times() == [0, 2]


def test_theTimeoutIsTheIntervalUnlessItIsSaid():
    world = World(1)
    world.check.result = None
    world.start(CheckOptions(interval=1.0, jitter=0))
    world.passes(1 - STEP)
    assert world.check.cancelled == 0
    world.passes(STEP)
    assert world.check.cancelled == 1
    assert world.servers[0].health.results[0].detail == "no connection after 1 s"


@pytest.mark.parametrize(
    "canceller",
    [None, lambda running: running.errback(ValueError("interrupted"))],
    ids=["none", "its own error"],
)
def test_aCheckThatSaysNothingOfItsTimeout(canceller):
    world = World(1)
    world.start(STEADY, SimpleNamespace(check=lambda _server: Deferred(canceller)))
    world.passes(2)
    assert list(world.servers[0].health.results) == [
        Result(False, "L7TOUT", "no result after 2 s", 2.0)
    ]


def test_aCheckThatWillNotBeCancelled():
    """It is not waited for, and what it says later is not heard."""
    world = World(1, atOnce=1)
    inner = []

    def check(_server):
        outer = succeed(None)
        inner.append(Deferred())
        swallowed = Deferred(lambda _: None)
        swallowed.addErrback(lambda _: inner[-1])
        return outer.addCallback(lambda _: swallowed)

    world.start(STEADY, SimpleNamespace(check=check))
    world.passes(2)
    results = world.servers[0].health.results
    assert [result.status for result in results] == ["L7TOUT"]
    world.passes(STEP)
    assert len(inner) == 2
    inner[0].callback(PASSES)
    assert len(results) == 1


def test_aCheckThatDecidesWhenItIsCancelled():
    world = World(1)
    late = Result(False, "L7TOUT", "the banner did not come", 2.0)
    world.start(
        STEADY, SimpleNamespace(check=lambda _server: Deferred(lambda d: d.callback(late)))
    )
    world.passes(2)
    assert list(world.servers[0].health.results) == [late]


# What is checked.


def test_theServerItself():
    world = World(1)
    world.start()
    assert world.check.asked[0][1] is world.servers[0]


@pytest.mark.parametrize(
    ("endpoint", "checked"),
    [
        (Endpoint(socket.AF_INET, ("10.0.0.1", 80)), "10.0.0.1:9000"),
        (Endpoint(socket.AF_INET6, ("::1", 80)), "[::1]:9000"),
        (Endpoint(socket.AF_INET6, ("fe80::1", 80, 0, 2)), "[fe80::1]:9000"),
        (Endpoint(socket.AF_UNIX, "/run/app.sock"), "unix:/run/app.sock"),
    ],
)
def test_anotherPort(endpoint, checked):
    world = World(1)
    server = world.servers[0]
    server.endpoint = endpoint
    world.start(CheckOptions(port=9000))
    probed = world.check.asked[0][1]
    assert str(probed.endpoint) == checked
    assert probed.endpoint.address[2:] == endpoint.address[2:] or checked.startswith("unix")
    assert server.endpoint is endpoint
    assert (probed.name, probed.health) == ("a", server.health)


# Up and down.


def test_downAndUpAgain():
    world = World(1, 1)
    a, _b = world.servers
    ill = Scripted(world.clock, FAILS)
    with capturedLogs() as events:
        world.monitor.watch(world.pool, a, ill, STEADY)
        world.monitor.start()
        world.clock.advance(0)
        world.passes(3)
        assert a.health.up and world.pool.usable == world.servers and events == []
        world.passes(1)
        assert not a.health.up and world.pool.usable == world.servers[1:]
        world.passes(10)
        assert texts(events) == [
            "Server app/a is DOWN, reason: L4CON connection refused, check duration 0.8 ms. "
            "1 active and 0 backup servers left."
        ]
        ill.result = PASSES
        world.passes(2)
        assert world.pool.usable == world.servers[1:]
        world.passes(2)
        assert a.health.up and world.pool.usable == world.servers
        world.passes(10)
    assert texts(events)[1:] == [
        "Server app/a is UP, reason: L7OK 200 OK, check duration 0.8 ms. "
        "2 active and 0 backup servers online."
    ]
    down, up = events
    assert (down["log_level"], up["log_level"]) == (LogLevel.warn, LogLevel.info)
    assert (down["pool"], down["server"], down["status"]) == ("app", "a", "L4CON")


def test_counted():
    world = World(1)
    world.check.result = FAILS
    world.start()
    world.passes(5)
    world.check.result = PASSES
    world.passes(4)
    traffic = world.servers[0].traffic
    assert (traffic.checks, traffic.checkFailures, traffic.wentDown) == (5, 3, 1)


def test_theTimeIsTakenWhereTheCheckDoesNot():
    world = World(1)
    world.check.result = None
    world.start()
    world.passes(0.25)
    world.check.end(Result(True, "L7OK"))
    assert list(world.servers[0].health.results) == [Result(True, "L7OK", "", 0.25)]


def test_backupsAreCounted():
    world = World(1, 1, 1)
    a, b, c = world.servers
    b.backup = c.backup = True
    world.pool.serversChanged()
    with capturedLogs() as events:
        world.monitor.watch(world.pool, a, Scripted(world.clock, Result(False, "L4CON")), STEADY)
        world.monitor.start()
        world.passes(5)
    assert "reason: L4CON, check" in texts(events)[0]
    assert texts(events)[0].endswith(" 0 active and 2 backup servers left.")
    assert world.pool.usable == (b,)


class Session:
    """Something that runs over a server."""

    def __init__(self, server, fails=False):
        self.server = server
        self.fails = fails
        self.ended = []
        server.sessions.add(self)

    def abortSession(self, cause):
        self.server.sessions.discard(self)
        self.ended.append(cause)
        if self.fails:
            raise RuntimeError("no")


class Idle:
    """A connection that nobody uses."""

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


class MarkedDownTests(SynchronousTestCase):
    def goesDown(self, **options):
        """@return: the server, and the sessions and idle connections it had."""
        world = World(1, 1, **options)
        server = world.servers[0]
        sessions = [Session(server, fails=number == 1) for number in range(4)]
        other = Session(world.servers[1])
        server.idle = idle = [Idle(), Idle()]
        world.monitor.watch(world.pool, server, Scripted(world.clock, FAILS), STEADY)
        world.monitor.start()
        world.passes(5)
        assert not server.health.up and other.ended == []
        assert server.idle == [] and [one.closed for one in idle] == [1, 1]
        return sessions

    def test_sessionsGoOn(self):
        assert all(session.ended == [] for session in self.goesDown())

    def test_sessionsAreShutDown(self):
        """All of them, even if one cannot be."""
        sessions = self.goesDown(on_marked_down="shutdown-sessions")
        assert [session.ended for session in sessions] == [[Cause.DOWN]] * 4
        assert len(self.flushLoggedErrors(RuntimeError)) == 1

    def test_aPoolThatMeetsAnError(self):
        """Is logged, and the checks go on."""
        world = World(1)
        world.check.result = FAILS
        world.pool.serversChanged = lambda: 1 / 0
        world.start()
        world.passes(9)
        assert len(world.check.asked) == 5
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1


# Checks with faults.


def reasonOf(check):
    """@return: what the log says of a server with such a check, once."""
    world = World(1)
    with capturedLogs() as events:
        world.start(STEADY, SimpleNamespace(check=check))
        world.passes(20)
    assert not world.servers[0].health.up
    assert len(events) == 1 and "log_failure" not in events[0]
    return texts(events)[0].partition("reason: ")[2].partition(", check duration")[0]


def test_aCheckThatRaises():
    def check(_server):
        return None.version

    reason = reasonOf(check)
    assert reason.startswith("L7RSP AttributeError: 'NoneType' object has no attribute 'version'")
    assert f"({os.path.basename(__file__)}:{check.__code__.co_firstlineno + 1})" in reason


def test_aCheckThatFailsLater():
    async def check(_server):
        raise ValueError("two\nlines")

    assert reasonOf(check).startswith("L7RSP ValueError: two lines (test_monitor.py:")


def test_aCheckThatMeetsTheSystem():
    def check(_server):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    assert reasonOf(check) == "SOCKERR network is unreachable"


def test_aCheckThatAnswersSomethingElse():
    reason = reasonOf(lambda _server: True)
    assert reason == "L7RSP the check answered True, not a Result"


def test_aCheckThatTellsStories():
    reason = reasonOf(lambda _server: Result(False, "L7RSP", "once\n" + "upon a time " * 100))
    assert reason.startswith("L7RSP once upon a time ") and len(reason) == LONGEST


# The end.


def test_nothingIsLeft():
    """Of checks that run, wait, or are still to come."""
    world = World(1, 1, 1, 1, atOnce=1)
    world.check.result = None
    world.start(CheckOptions(interval=2.0, jitter=0, timeout=60.0))
    world.passes(1)
    assert repr(world.monitor) == "<Monitor 4 servers 1 checks run>"
    with capturedLogs() as events:
        world.monitor.stop()
    assert world.check.running == [] and world.clock.calls == [] and events == []
    assert repr(world.monitor) == "<Monitor 4 servers 0 checks run>"
    assert [list(server.health.results) for server in world.servers] == [[]] * 4


@pytest.mark.parametrize("end", ["stop", "forget"])
def test_whoIsToldEndsIt(end):
    """Of what a check has found, before that is counted: there is no further check."""
    world = World(1)
    [server] = world.servers
    ends = {"stop": world.monitor.stop, "forget": lambda: world.monitor.forget(server)}[end]
    observer = SimpleNamespace(healthChanged=lambda event: ends())
    world.pool.announcer = Announcer([(observer, EVENTS)])
    world.start()
    world.check.result = Result(True, "L7OK", weight=50)
    world.passes(9)
    assert world.check.times() == [0, 2]
    assert not world.clock.getDelayedCalls()


def test_startedAgain():
    world = World(1)
    world.start()
    world.passes(1)
    world.monitor.stop()
    world.monitor.start()
    world.clock.advance(0)
    world.passes(2)
    assert world.check.times() == [0, 1, 3]


class RealTests(TestCase):
    """With the reactor, sockets and a server of this process."""

    @inlineCallbacks
    def test_aServerGoesAndAnotherComes(self):
        world = World(1)
        (server,) = world.servers
        demo = DemoServer("one")
        server.endpoint = demo.start(reactor)
        world.pool.serversChanged()
        monitor = Monitor(reactor, reactor.seconds, Random(7))
        check = HTTPCheck(HTTPCheck.Options(body="server one"), Context(reactor=reactor))
        timing = CheckOptions(interval=0.02, timeout=5.0)
        changed = []

        def serversChanged():
            changed.pop().callback(None)

        def nextChange():
            changed.append(Deferred())
            return changed[0]

        world.pool.serversChanged = serversChanged
        monitor.watch(world.pool, server, check, timing)
        monitor.start()
        down = nextChange()
        yield demo.stop()
        yield down
        assert not server.health.up
        up = nextChange()
        demo = DemoServer("one")
        server.endpoint = demo.start(reactor)
        yield up
        assert server.health.up and server.health.results[-1].detail == "200 OK"
        running = Deferred()

        def begin(server):
            reactor.callLater(0, running.callback, None)
            return check.check(server)

        monitor.watch(world.pool, server, SimpleNamespace(check=begin), timing)
        yield running
        # A check is on its way, and nothing may be left of it.
        assert repr(monitor) == "<Monitor 1 servers 1 checks run>"
        monitor.stop()
        yield demo.stop()


# What a check says beyond up and down.


def says(**changes):
    return Result(True, "L7OK", "so it says", 0.0008, **changes)


def test_aShareOfTheWeight():
    """Of the configured one, not of what is left of it; the pool is told."""
    world = World(200, 1)
    world.start()
    first, second = world.servers
    for percent, weights in ((50, (100, 0.5)), (50, (100, 0.5)), (1, (2, 0.01)), (0, (0, 0)),
                             (100, (200, 1)), (200, (256, 2))):  # fmt: skip
        world.check.result = says(weight=percent)
        world.passes(2)
        assert (first.weight, second.weight) == weights
        assert world.pool.usable == (world.servers if percent else ())
    world.check.result = PASSES
    world.passes(2)
    assert first.weight == 256, "what is not said stays"


def test_anotherLimit():
    world = World(1)
    world.start()
    [server] = world.servers
    server.active = 3
    world.check.result = says(maxconn=3)
    world.passes(2)
    assert server.maxconn == 3 and world.pool._full == 1
    world.check.result = says(maxconn=0)
    world.passes(2)
    assert server.maxconn == 0 and world.pool._full == 0


def test_outOfServiceAndBack():
    """It is still asked, or it could never take it back."""
    world = World(1)
    world.start()
    [server] = world.servers
    for admin in (Admin.DRAIN, Admin.MAINT, Admin.READY):
        world.check.result = says(admin=admin)
        world.passes(2)
        assert server.health.admin == admin
        assert bool(world.pool.usable) == (admin == Admin.READY)


def test_whatAnAdministratorSaidStands():
    world = World(1)
    world.start()
    [server] = world.servers
    server.health.admin = Admin.DRAIN
    for admin in (Admin.READY, Admin.MAINT):
        world.check.result = says(admin=admin)
        world.passes(2)
        assert server.health.admin == Admin.DRAIN
    server.health.admin = Admin.READY
    world.passes(2)
    assert server.health.admin == Admin.MAINT
    server.health.admin = Admin.READY
    world.check.result = says(admin=Admin.READY)
    world.passes(2)
    server.health.admin = Admin.MAINT
    asked = len(world.check.asked)
    world.passes(6)
    assert len(world.check.asked) == asked


def test_aChangeIsToldOnce():
    world = World(100)
    world.start()
    world.check.result = says(weight=50, maxconn=7)
    with capturedLogs() as events:
        world.passes(6)
    assert texts(events) == [
        "Server app/a has weight 50 and maxconn 7 now, reason: L7OK so it says."
    ]


def test_aFailedCheckMaySayIt():
    world = World(100)
    world.start()
    world.check.result = Result(False, "L7STS", "down", 0.0008, weight=10)
    world.passes(6)
    [server] = world.servers
    assert server.weight == 10 and not server.health.up


# What real traffic says.


@pytest.mark.parametrize(
    ("onError", "up", "count"),
    [("fastinter", True, 0), ("fail-check", True, 1), ("sudden-death", True, 2),
     ("mark-down", False, 0)],
)  # fmt: skip
def test_aSuspicion(onError, up, count):
    """The next check comes at the fast interval from now on, not from its beginning."""
    world = World(1)
    world.start(CheckOptions(interval=8.0, fast=0.5, fall=3, jitter=0))
    world.passes(3)
    world.monitor.suspect(world.servers[0], onError, "10 errors in a row")
    health = world.servers[0].health
    assert (health.up, health.count) == (up, count)
    world.passes(0.75)
    assert world.check.times() == [0, 3.5]
    assert health.count == (0 if up else 1)
    assert world.servers[0].traffic.checkFailures == 0


def test_aSuspicionPutsNoCheckOff():
    """However many there are: the next check comes when it was due, or sooner."""
    world = World(1)
    world.start(CheckOptions(interval=2.0, fast=1.0, jitter=0))
    for _ in range(20):
        world.passes(0.25)
        world.monitor.suspect(world.servers[0], "fastinter", "10 errors in a row")
    assert world.check.times() == [0, 1.25, 2.25, 3.25, 4.25]


def test_aSuspicionWithoutAFastInterval():
    world = World(1)
    world.start(CheckOptions(interval=8.0, jitter=0))
    world.passes(3)
    world.monitor.suspect(world.servers[0], "fail-check", "10 errors in a row")
    world.passes(5.5)
    assert world.check.times() == [0, 8]


def test_aSuspicionWhileACheckRuns():
    world = World(1)
    world.check.result = None
    world.start(CheckOptions(interval=8.0, fast=0.5, jitter=0))
    world.monitor.suspect(world.servers[0], "fail-check", "10 errors in a row")
    assert world.servers[0].health.count == 1
    world.passes(4)
    world.check.end(PASSES)
    world.passes(5)
    assert world.check.times() == [0, 8]


def test_aSuspicionOfWhoeverIsNotChecked():
    world = World(1, 1)
    world.monitor.suspect(world.servers[0], "mark-down", "10 errors in a row")
    assert world.servers[0].health.up
    world.start()
    world.servers[1].health.admin = Admin.MAINT
    world.monitor.suspect(world.servers[1], "mark-down", "10 errors in a row")
    assert world.servers[1].health.up


def test_aSuspicionIsTold():
    world = World(1)
    world.start()
    with capturedLogs() as events:
        world.monitor.suspect(world.servers[0], "mark-down", "10 errors in a row")
    [text] = texts(events)
    assert text.startswith("Server app/a is DOWN, reason: HANA 10 errors in a row, ")
    assert world.pool.usable == ()
    assert world.servers[0].traffic.wentDown == 1
