"""A server that is drained: who is left, and when nobody is."""

import pytest
from told import pooled
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbtwist.draining import DrainCancelled, Drains, Left
from lbtwist.health import Admin
from lbtwist.testing import Balancer

NOTHING = Left(0, 0)


class Bound:
    """A persistence that knows so many clients."""

    def __init__(self, clients):
        self.clients = clients

    def serversChanged(self, servers, offered):
        """It keeps nothing of them."""

    def bound(self, server):
        return self.clients


class DrainTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.pool, self.told = pooled(1, 1, clock=self.clock)
        self.server = self.pool.servers[0]
        self.changes = []
        self.drains = Drains(self.changed)

    def changed(self, pool, server):
        self.changes.append(server.health.admin)
        pool.serversChanged()

    def drain(self):
        return self.drains.drain(self.pool, self.server)

    def passes(self, seconds):
        self.clock.pump([0.25] * int(seconds * 4))

    def test_nobodyNew(self):
        drain = self.drain()
        assert self.server.health.admin == Admin.DRAIN
        assert self.pool.usable == self.pool.servers[1:]
        assert self.changes == ["drain"]
        assert self.told.said == [("a", "drain", "UP", "DRAIN")]
        assert repr(drain) == "<Drain app/a 0 0>"
        assert self.clock.calls == [], "nobody waits, so nobody looks"

    def test_takenBack(self):
        drain = self.drain()
        self.told.events.clear()
        drain.cancel()
        assert self.server.health.admin == Admin.READY
        assert self.pool.usable == self.pool.servers
        assert self.told.said == [("a", "ready", "DRAIN", "UP")]
        drain.cancel()
        assert self.changes == ["drain", "ready"] and self.told.said == []

    def test_takenBackToWhatItWas(self):
        self.server.health.admin = Admin.MAINT
        drain = self.drain()
        assert self.told.said == [("a", "drain", "MAINT", "DRAIN")]
        drain.cancel()
        assert self.server.health.admin == Admin.MAINT

    def test_drainedAgain(self):
        """Whoever has put it into maintenance meanwhile."""
        drain = self.drain()
        self.server.health.admin = Admin.MAINT
        assert self.drain() is drain
        assert self.server.health.admin == Admin.DRAIN
        assert self.changes == ["drain", "drain"]
        drain.cancel()
        assert self.server.health.admin == Admin.MAINT

    def test_aServerThatHasGone(self):
        """Its drain is forgotten with it, unless somebody still waits."""
        self.drain()
        gone, left = self.pool.servers
        self.pool.setServers([left])
        self.drains.drain(self.pool, left)
        self.pool.setServers([gone, left])
        assert self.drains.drain(self.pool, left) is not None
        assert list(self.drains._all) == [left]

    def test_somebodyElseDecides(self):
        """What an administrator has said after the drain stands when it is taken back."""
        drain = self.drain()
        self.server.health.admin = Admin.MAINT
        drain.cancel()
        assert self.server.health.admin == Admin.MAINT

    def test_atOnce(self):
        assert self.successResultOf(self.drain().whenIdle()) == NOTHING
        assert self.clock.calls == []

    def test_whenTheLastHasGone(self):
        self.server.active = 2
        session = object()
        self.server.sessions.add(session)
        drain = self.drain()
        assert drain.left == Left(2, 0)
        idle = drain.whenIdle()
        self.server.active = 0
        self.passes(3)
        self.assertNoResult(idle)
        self.server.sessions.remove(session)
        self.passes(1)
        assert self.successResultOf(idle) == NOTHING
        assert self.clock.calls == []

    def test_onceASecond(self):
        self.server.active = 1
        self.drain().whenIdle()
        looks = set()
        for _ in range(40):
            looks.add(self.clock.calls[0].getTime())
            self.clock.advance(0.25)
        assert sorted(looks) == [float(second) for second in range(1, 11)]

    def test_deadline(self):
        self.server.active = 2
        drain = self.drain()
        soon, later = drain.whenIdle(2.5), drain.whenIdle(60)
        self.passes(2.25)
        self.assertNoResult(soon)
        self.passes(0.25)
        assert self.successResultOf(soon) == Left(2, 0)
        self.server.active = 0
        self.passes(1)
        assert self.successResultOf(later) == NOTHING
        assert self.server.health.admin == Admin.DRAIN, "the end is no reason to take it back"

    def test_boundClients(self):
        self.pool.persistence = bound = Bound(3)
        drain = self.drain()
        idle = drain.whenIdle()
        assert drain.left == Left(0, 3) and not drain.left.nothing
        self.passes(5)
        self.assertNoResult(idle)
        bound.clients = 0
        self.passes(1)
        assert self.successResultOf(idle) == NOTHING

    def test_boundToOneThatIsDown(self):
        """They do not come back to it, so nobody waits for them."""
        self.pool.persistence = Bound(3)
        idle = self.drain().whenIdle()
        self.server.health.up = False
        self.passes(1)
        assert self.successResultOf(idle) == NOTHING

    def test_boundByWhatCannotBeKnown(self):
        self.pool.persistence = Bound(-1)
        assert self.successResultOf(self.drain().whenIdle()) == Left(0, -1)
        assert Left(0, -1).nothing

    def test_quiet(self):
        """Also of what has come and gone between two looks."""
        idle = self.drain().whenIdle(quiet=5)
        self.passes(4)
        self.server.traffic.exchanges += 1
        self.passes(5.5)
        self.assertNoResult(idle)
        self.server.active = 1
        self.passes(1)
        self.server.active = 0
        self.passes(4)
        self.assertNoResult(idle)
        self.passes(1)
        assert self.successResultOf(idle) == NOTHING

    def test_whoWaitsIsToldThatItIsTakenBack(self):
        self.server.active = 1
        drain = self.drain()
        idle = [drain.whenIdle(), drain.whenIdle(60)]
        drain.cancel()
        for one in idle:
            self.failureResultOf(one, DrainCancelled)
        self.failureResultOf(drain.whenIdle(), DrainCancelled)
        assert self.clock.calls == []

    def test_somebodyElseTakesItBack(self):
        self.server.active = 1
        idle = self.drain().whenIdle()
        self.server.health.admin = Admin.READY
        self.passes(1)
        error = self.failureResultOf(idle, DrainCancelled).value
        assert str(error) == "app/a is not drained any more"
        assert self.clock.calls == []

    def test_whoDoesNotWaitAnyMore(self):
        self.server.active = 1
        idle = self.drain().whenIdle()
        idle.cancel()
        self.failureResultOf(idle, CancelledError)
        self.passes(2)
        assert self.clock.calls == []

    def test_itIsTheSameWhileItLasts(self):
        drain = self.drain()
        assert self.drain() is drain
        drain.cancel()
        assert self.drain() is not drain
        self.server.health.admin = Admin.READY
        assert self.drain().left == NOTHING
        assert self.server.health.admin == Admin.DRAIN

    def test_theEnd(self):
        """Servers stay as they are, but nobody looks at them."""
        self.server.active = 1
        idle = self.drain().whenIdle()
        self.drains.stop()
        self.failureResultOf(idle, DrainCancelled)
        assert self.clock.calls == [] and self.server.health.admin == Admin.DRAIN


TEXT = """
[frontend www]
bind = ${bind}
pool = app
[pool app]
server a = ${a}
server b = ${b}
"""


def test_aRequestOnItsWay():
    """It ends as if nothing were; the next one goes elsewhere."""
    with Balancer(TEXT, "a", "b") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET / .*")
        drain = balancer.running.drainServer("app", "a")
        told = []
        drain.whenIdle(60).addCallback(told.append)
        balancer.advance(5)
        assert drain.left == Left(1, 0) and told == []
        server.sends(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.receives(rb"HTTP/1.1 204 .*")
        balancer.advance(1)
        assert told == [NOTHING]
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        balancer.server("b").accepts().receives(rb"GET / .*")


def test_whoIsNotThere():
    with Balancer(TEXT, "a", "b") as balancer:
        for pool, name in (("app", "c"), ("other", "a")):
            with pytest.raises(KeyError):
                balancer.running.drainServer(pool, name)


def test_theEndOfTheBalancer():
    """Whoever waits for a server is told, and no timer is left."""
    with Balancer(TEXT, "a", "b") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        balancer.server("a").accepts()
        idle = balancer.running.drainServer("app", "a").whenIdle()
    assert idle.result.check(DrainCancelled)
    idle.addErrback(lambda _: None)
