"""What happens to servers, and who is told of it."""

from random import Random

import attr
import pytest
from told import THEN, Told, event, pooled
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lbtwist.announcing import Announcer, Audience, HealthLog, leftOf
from lbtwist.config.model import CheckOptions, Part
from lbtwist.draining import Drains
from lbtwist.events import DOWN, EVENTS
from lbtwist.health import Result
from lbtwist.interfaces import IEnding, IHealthObserver, IServerSource
from lbtwist.monitor import Monitor
from lbtwist.options import Text, option
from lbtwist.registry import Extension, installed
from lbtwist.server import Found, Member
from lbtwist.testing import Balancer

PASSES = Result(True, "L7OK", "200 OK", 0.0008)
FAILS = Result(False, "L4CON", "connection\r\nrefused", 0.0008)


class Scripted:
    """A check that finds what the test says."""

    result = PASSES

    def check(self, server):
        return succeed(self.result)


def checked(*weights):
    """@return: what sets the result and lets so many checks pass; and who is told."""
    clock = Clock()
    pool, told = pooled(*weights, clock=clock)
    check = Scripted()
    monitor = Monitor(clock, clock.seconds, Random(7))
    monitor.watch(pool, pool.servers[0], check, CheckOptions(interval=1.0, jitter=0))
    monitor.start()
    clock.advance(0)

    def finds(result, times=1):
        check.result = result
        clock.pump([1.0] * times)
        return told.said

    return finds, told, pool


def test_upAndDown():
    finds, _told, _pool = checked(1, 1)
    assert finds(FAILS, 5) == [("a", "down", "UP", "DOWN")]
    assert finds(PASSES, 5) == [("a", "up", "DOWN", "UP")]


def test_allThatIsKnown():
    pool, told = pooled(1, 1, 1)
    first, _second, third = pool.servers
    third.backup = True
    first.active = 3
    first.role = "replica"
    pool.announcer.tell(pool, first, DOWN, "UP", "two\nlines", FAILS)
    [found] = told.events
    assert (found.pool, found.server, found.address) == ("app", "a", "127.0.0.1:8001")
    assert (found.at, found.reason, found.result) == (THEN, "two lines", FAILS)
    assert (found.active, found.backup, found.sessions, found.queued) == (2, 1, 3, 0)
    assert (found.weight, found.maxconn, found.role) == (1, 0, "replica")


def test_whatAnAgentSays():
    """Each change of one result for itself, once."""
    finds, told, _pool = checked(100)
    result = attr.evolve(PASSES, weight=50, maxconn=7, role="primary", admin="drain")
    finds(result, 0)
    found = finds(result, 3)
    assert found == [
        ("a", "role", "UP", "UP"), ("a", "drain", "UP", "DRAIN"), ("a", "weight", "UP", "DRAIN"),
    ]  # fmt: skip
    assert finds(attr.evolve(PASSES, admin="maint")) == [("a", "maint", "DRAIN", "MAINT")]
    assert finds(attr.evolve(PASSES, admin="ready")) == [("a", "ready", "MAINT", "UP")]
    assert finds(attr.evolve(FAILS, admin="drain"), 3) == [
        ("a", "drain", "UP", "DRAIN"), ("a", "down", "DRAIN", "DOWN"),
    ]  # fmt: skip
    assert told.said == []


def test_anAgentAndAnAdministrator():
    """No check takes back what an administrator has said, though it had said the same."""
    finds, _told, pool = checked(1)
    [server] = pool.servers
    finds(attr.evolve(PASSES, admin="drain"))
    drain = Drains(lambda pool, server: None).drain(pool, server)
    assert finds(attr.evolve(PASSES, admin="ready"), 3) == []
    assert finds(attr.evolve(PASSES, admin="maint"), 3) == []
    assert server.health.admin == "drain"
    drain.cancel()
    assert finds(attr.evolve(PASSES, admin="ready"), 3) == [("a", "ready", "DRAIN", "UP")]


def test_thoseThatFollow():
    """They go with the one they follow, and it is said of each."""
    pool, told = pooled(1, 1, 1)
    a, b, c = pool.servers
    monitor = Monitor(pool.reactor, pool.seconds, Random(7))
    monitor.follow(pool, b, a)
    monitor.follow(pool, c, b)
    drains = Drains(monitor.administered)
    drain = drains.drain(pool, a)
    assert sorted(told.said) == [(name, "drain", "UP", "DRAIN") for name in "abc"]
    c.health.up = False
    drain.cancel()
    assert sorted(told.said) == [
        ("a", "ready", "DRAIN", "UP"), ("b", "ready", "DRAIN", "UP"),
        ("c", "ready", "DOWN", "DOWN"),
    ]  # fmt: skip
    drains.drain(pool, b)
    assert sorted(told.said) == [("b", "drain", "UP", "DRAIN"), ("c", "drain", "DOWN", "DOWN")]
    drains.drain(pool, a)
    assert told.said == [("a", "drain", "UP", "DRAIN")], "the others are drained already"
    monitor.forget(c)
    drains.drain(pool, b).cancel()
    assert told.said == [("b", "ready", "DRAIN", "DRAIN")], "the one it follows is drained"


def test_resultsSayWhen():
    finds, _told, pool = checked(1)
    finds(PASSES, 30)
    results = pool.servers[0].health.results
    assert [one.at for one in results] == list(range(11, 31))
    assert all(one.duration and one.status and one.detail for one in results)


def test_leftOf():
    _finds, _told, pool = checked(1, 1, 1, 0)
    pool.servers[0].health.up = False
    pool.servers[2].backup = True
    assert leftOf(pool) == (1, 1)


class TestLog(SynchronousTestCase):
    def lines(self, **said):
        with capturedLogs() as events:
            HealthLog().healthChanged(event(**said))
        return [(formatEvent(one), one["log_level"]) for one in events]

    def test_provides(self):
        assert verifyObject(IHealthObserver, HealthLog())

    def test_levels(self):
        for what, level in (("down", LogLevel.warn), ("up", LogLevel.info),
                            ("drain", LogLevel.info)):  # fmt: skip
            assert self.lines(what=what) == [(event(what=what).text, level)]

    def test_whatOthersLog(self):
        for what in ("joined", "left", "ejected", "returned"):
            assert self.lines(what=what) == []

    def test_braces(self):
        """What a server says is not a format."""
        [(line, _)] = self.lines(reason="L7RSP {log_level} %s")
        assert "reason: L7RSP {log_level} %s." in line

    def test_aPoolOfItsOwn(self):
        """One that nobody has built writes its log."""
        pool, _ = pooled(1)
        pool.announcer = Announcer()
        with capturedLogs() as events:
            pool.announcer.tell(pool, pool.servers[0], DOWN, "UP", "why")
        [one] = events
        assert formatEvent(one).startswith("Server app/a is UP, reason: why.")
        assert (one["pool"], one["server"], one["what"]) == ("app", "a", "down")


class TestAnnouncer(SynchronousTestCase):
    def test_whoWantsIt(self):
        pool, _ = pooled(1)
        all_, some = Told(), Told()
        pool.announcer = Announcer([(all_, EVENTS), (some, ("down", "up")), (some, ("up",))])
        for what in ("down", "drain", "up"):
            pool.announcer.tell(pool, pool.servers[0], what, "UP")
        assert [one.what for one in all_.events] == ["down", "drain", "up"]
        assert [one.what for one in some.events] == ["down", "up"]

    def test_aFaultOfOne(self):
        """Is logged; the others are told, and who tells goes on."""
        pool, told = pooled(1)

        @implementer(IHealthObserver)
        class Broken:
            def healthChanged(self, event):
                raise RuntimeError("no")

        pool.announcer = Announcer([(Broken(), EVENTS), (told, EVENTS)])
        pool.announcer.tell(pool, pool.servers[0], DOWN, "UP")
        assert len(told.events) == 1
        assert len(self.flushLoggedErrors(RuntimeError)) == 1


@implementer(IHealthObserver, IEnding)
class Ends(Told):
    def __init__(self, ending=None):
        super().__init__()
        self.ending = ending

    def end(self):
        return self.ending


class TestAudience(SynchronousTestCase):
    def test_theSameWordsAreOneObserver(self):
        made = []
        audience = Audience(lambda part: made.append(part) or Told())
        one = audience.observer(Part("webhook", {"unhashable": []}))
        assert audience.observer(Part("webhook", {"unhashable": []})) is one
        assert audience.observer(Part("webhook", {"unhashable": [1]})) is not one
        assert len(made) == 2

    def test_theEndOfAll(self):
        """It waits for the last, and no fault keeps it from ending."""
        late = Deferred()
        parts = [Told(), Ends(), Ends(fail(ValueError("no"))), Ends(late)]
        audience = Audience(lambda part: parts[part.options])
        for number in range(4):
            audience.observer(Part("x", number))
        ended = audience.end()
        self.assertNoResult(ended)
        late.callback(None)
        self.successResultOf(ended)
        assert len(self.flushLoggedErrors(ValueError)) == 1


class Noting(Told):
    """An observer as a third party has it."""

    made = []

    @attr.frozen
    class Options:
        pass

    def __init__(self, options, context):
        super().__init__()
        self.made.append(self)


noting = Extension(IHealthObserver, "noting", f"{__name__}.Noting")
TEXT = """
[global]
notify = noting
[frontend www]
bind = ${bind}
pool = app
[pool app]
server a = ${a}
server b = ${b}
[pool other]
notify = noting events=ready
server a = ${a}
"""


@pytest.fixture
def noted(monkeypatch):
    monkeypatch.setattr(Noting, "made", [])
    return Noting.made


@implementer(IServerSource)
class Listed:
    """A source whose answer the test decides."""

    interval = 1.0
    limit = 5.0
    hosts = ()

    @attr.frozen
    class Options:
        what: str = option(Text(), doc="Nothing of interest.", positional=True)

    def __init__(self, options, context):
        """There is nothing to know."""

    def discover(self):
        return Found(tuple(Member(host, 80) for host in self.hosts))


listed = Extension(IServerSource, "listed", f"{__name__}.Listed")


def test_joinedAndLeft(noted, monkeypatch):
    """Those that are there from the beginning are no news."""
    monkeypatch.setattr(Listed, "hosts", ("10.0.0.1", "10.0.0.2"))
    text = TEXT.partition("[pool app]")[0] + "[pool app]\nservers web = listed:x\n"
    with Balancer(text, registry=installed(noting, listed)) as balancer:
        [told] = noted
        assert told.said == []
        Listed.hosts = ("10.0.0.2", "10.0.0.3")
        balancer.advance(1.5)
        [joined, left] = told.events
        assert (joined.active, left.active) == (2, 2)
        assert joined.reason == "app/web (listed:x)"
        assert told.said == [
            ("web-10.0.0.3:80", "joined", "", "UP"), ("web-10.0.0.1:80", "left", "UP", "LEAVING"),
        ]  # fmt: skip
    assert told.said == [], "the end is no news either"


def test_ejectedAndReturned(noted):
    text = TEXT.replace("server b", "outlier = base-ejection=1s\nserver b", 1)
    with Balancer(text, "a", "b", registry=installed(noting)) as balancer:
        pool = balancer.running.pool("app")
        [told] = noted
        for _ in range(5):
            pool.servers[0].watch.connectFailed(ConnectionRefusedError(111, "refused"))
        assert "refused" in told.events[0].reason
        balancer.advance(1.5)
        assert told.said == [
            ("a", "ejected", "UP", "EJECTED"), ("a", "returned", "EJECTED", "UP"),
        ]  # fmt: skip


def test_aWordOfOnesOwn(noted):
    """One observer for all pools that name it; each pool says what is told."""
    with Balancer(TEXT, "a", "b", registry=installed(noting)) as balancer:
        [told] = noted
        for pool in ("app", "other"):
            drain = balancer.running.drainServer(pool, "a")
            drain.cancel()
        assert [(one.pool, one.what) for one in told.events] == [
            ("app", "drain"), ("app", "ready"), ("other", "ready"),
        ]  # fmt: skip
        assert told.events[0].at == balancer.pump.seconds() + 1.7e9


def test_anotherLog(noted):
    """The log is a part like others: who embeds the balancer can have another one."""
    text = TEXT.replace("notify = noting events=ready", "").replace("notify = noting", "")
    log = Extension(IHealthObserver, "log", f"{__name__}.Noting")
    with capturedLogs() as events, Balancer(text, "a", "b", registry=installed(log)) as balancer:
        balancer.running.drainServer("app", "a")
        assert not any("app/a" in formatEvent(one) for one in events)
    [told] = noted
    assert told.said == [("a", "drain", "UP", "DRAIN")]
