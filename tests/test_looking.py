"""What is looked at once a second: how many at once, how many in a second, since when."""

from types import SimpleNamespace

from told import pooled
from twisted.internet.task import Clock

from lbtwist.health import Admin
from lbtwist.looking import Looking
from lbtwist.stats import Course, FrontendTraffic
from lbtwist.testing import makeServers


def looked(course, *looks, state="UP"):
    """@param looks: each the time, how many run, and how many have begun so far."""
    for now, active, began in looks:
        course.look(now, active, 0, began, began, state, state == "DOWN")
    return course


def test_theMostAtOnce():
    assert looked(Course(), (0, 3, 0), (1, 7, 0), (2, 1, 0)).most == 7


def test_howManyInASecond():
    course = looked(Course(), (0, 0, 100), (1, 0, 140), (2, 0, 150))
    assert (course.rate, course.mostRate) == (10, 40)


def test_aLookThatComesLate():
    assert looked(Course(), (0, 0, 0), (4, 0, 40)).rate == 10


def test_whatHadBegunBeforeTheFirstLookIsNoRate():
    assert looked(Course(), (0, 0, 1000)).mostRate == 0


def test_countersThatBeginAnewAreNoRate():
    course = looked(Course(), (0, 0, 1000), (1, 0, 5))
    assert (course.rate, course.lastAt) == (0, None)


def test_whenSomethingBeganLast():
    assert looked(Course(), (0, 0, 0), (1, 0, 1), (2, 0, 1)).lastAt == 1


def test_sinceWhenItIsSo():
    course = looked(Course(), (0, 0, 0), (1, 0, 0), state="UP")
    looked(course, (2, 0, 0), (3, 0, 0), state="DOWN")
    assert (course.state, course.since) == ("DOWN", 2)


def test_howLongItWasOfNoUse():
    course = looked(Course(), (0, 0, 0))
    looked(course, (1, 0, 0), (2, 0, 0), (3, 0, 0), state="DOWN")
    looked(course, (4, 0, 0), (5, 0, 0), state="UP")
    looked(course, (6, 0, 0), state="DOWN")
    assert (course.downtime, course.wentDown) == (3, 2)


def test_maximaBeginAnewAndTheRestStays():
    course = looked(Course(), (0, 3, 0), (1, 3, 9), (2, 0, 9), state="DOWN")
    course.clear()
    assert (course.most, course.mostRate, course.downtime, course.lastAt) == (0, 0, 2, 1)
    course.clear(everything=True)
    assert (course.downtime, course.lastAt) == (0, None)


def looking(clock, pool):
    process = SimpleNamespace(active=0, accepted=0)
    return Looking(clock, clock.seconds, {}, {pool.name: pool}, process)


def test_onceASecondUntilItStops():
    clock = Clock()
    pool, _ = pooled(1, 1, clock=clock)
    look = looking(clock, pool)
    look.start()
    look.start()
    server = pool.servers[0]
    server.active = 4
    clock.pump([0.5, 0.5])
    server.active = 2
    clock.pump([0.5, 0.5])
    assert look.of(server).most == 4
    look.stop()
    look.stop()
    assert clock.getDelayedCalls() == []


def test_numbersStayAndEachPoolCountsItsOwnServers():
    clock = Clock()
    pool, _ = pooled(1, 1, 1, clock=clock)
    look = looking(clock, pool)
    first, second = pool.servers[:2]
    assert (look.of(pool).number, look.of(first).number, look.of(second).number) == (1, 1, 2)
    look.look()
    assert (look.of(pool).number, look.of(second).number) == (1, 2)


def test_whatHasGoneIsForgottenAndItsNumberIsNotGivenAgain():
    clock = Clock()
    pool, _ = pooled(1, 1, 1, clock=clock)
    look = looking(clock, pool)
    look.look()
    *_, gone = pool.servers
    pool.setServers(pool.servers[:-1])
    look.look()
    assert repr(look) == "<Looking at 3, off>"
    pool.setServers([*pool.servers, gone])
    assert look.of(gone).number == 4


def test_aPoolIsDownWhereNobodyGetsRequests():
    clock = Clock()
    pool, _ = pooled(1, 1, clock=clock)
    look = looking(clock, pool)
    look.start()
    for server in pool.servers:
        server.health.admin = Admin.MAINT
    pool.serversChanged()
    clock.pump([1, 1])
    course = look.of(pool)
    assert (course.state, course.wentDown, course.downtime) == ("DOWN", 1, 1)
    look.stop()


def test_whatHasGoneIsForgottenThoughNobodyLooks():
    """As where somebody asks for metrics now and then, and servers come and go."""
    clock = Clock()
    pool, _ = pooled(1, clock=clock)
    look = Looking(clock, clock.seconds, {}, {"app": pool}, SimpleNamespace())
    first = look.of(pool)
    for _ in range(1000):
        pool.setServers(makeServers(1))
        look.of(pool.servers[0])
    assert len(look._courses) < 250
    assert look.of(pool) is first
    assert look.of(pool.servers[0]).number == 1000


def test_requestsAreNotConnections():
    course = Course()
    course.look(0, 0, 0, 10, 100, "OPEN", False)
    course.look(1, 0, 0, 11, 130, "OPEN", False)
    assert (course.rate, course.requestRate) == (1, 30)


def test_clearedCountersBeginAnew():
    traffic = FrontendTraffic(exchanges=4, connections=2, refused=1)
    traffic.responses[2] = 4
    traffic.clear()
    assert (traffic.exchanges, traffic.connections, traffic.responses) == (0, 0, [0] * 6)
