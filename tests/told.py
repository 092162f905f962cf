"""A pool whose servers things happen to, and somebody who is told of it."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from lbtwist.announcing import Announcer
from lbtwist.config.model import PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.events import EVENTS, HealthEvent
from lbtwist.interfaces import IHealthObserver
from lbtwist.pool import Pool
from lbtwist.testing import makeServers

THEN = 1_700_000_000.25


@implementer(IHealthObserver)
class Told:
    """Remembers what it is told."""

    def __init__(self):
        self.events = []

    def healthChanged(self, event):
        self.events.append(event)

    @property
    def said(self):
        """What happened to whom, since the last time this was asked."""
        events, self.events = self.events, []
        return [(one.server, one.what, one.before, one.after) for one in events]


def pooled(*weights, clock=None, **options):
    """@return: a pool C{app} of servers C{a}, C{b} and so on, and who is told of them."""
    clock = clock or Clock()
    servers = makeServers(*weights)
    deadlines = Deadlines(clock, clock.seconds)
    pool = Pool(PoolConfig("app", **options), servers, None, clock, deadlines)
    told = Told()
    pool.announcer = Announcer([(told, EVENTS)], lambda: THEN)
    return pool, told


def event(server="a", what="down", before="UP", after="DOWN", **more):
    return HealthEvent("app", server, what, before, after, at=THEN, **more)


def until(condition):
    """@return: a Deferred that fires when it is true."""
    done = Deferred()

    def look():
        if condition():
            done.callback(None)
        else:
            reactor.callLater(0.01, look)

    look()
    return done
