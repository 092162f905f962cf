"""
A pool whose connects the test decides, and clients that want connections of it.
"""

from contextlib import contextmanager
from unittest.mock import patch

from lbtwist.config.model import PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Cause
from lbtwist.pool import Pool
from lbtwist.testing import Pump, fakeExchange, makeServers


class Attempt:
    """
    A connect that succeeds or fails when it is told to.

    @cvar made: all that were made and have neither ended nor been cancelled.
    """

    made = []

    def __init__(
        self, server, protocol, reactor, deadlines, failed, connected, exchange=None
    ):
        self.server = server
        self.protocol = protocol
        self._failed = failed
        self._connected = connected
        self.timeout = None

    def start(self, timeout, now):
        self.timeout = timeout
        self.made.append(self)

    def succeeds(self):
        self.made.remove(self)
        self._connected(self.protocol)

    def fails(self, failed=None):
        self.made.remove(self)
        self._failed(failed or ConnectionRefusedError(111, "Connection refused"))

    def cancel(self):
        self.made.remove(self)


class Choosing:
    """A balancer that takes the first, and checks what it is offered."""

    def __init__(self):
        self.offers = []

    def choose(self, servers, exchange):
        assert servers
        for server in servers:
            assert server.usable and not server.full and server not in exchange.tried
        self.offers.append(servers)
        return servers[0]


class Client:
    """
    Wants a connection.

    @ivar told: what it was told: a protocol, or why there is none.
    @ivar then: called when it is told.
    """

    def __init__(self, pool, then=None, target="/"):
        """@param target: of the request; L{None}: it is a session, and made in no time."""
        self.pool = pool
        self.then = then
        self.place = None
        self.exchange = fakeExchange(target)
        self.exchange.pool = pool
        self.told = []
        self.idle = {}

    def connects(self):
        self.pool.connect(self)
        return self

    def reuse(self, server):
        return self.idle.pop(server.name, None)

    def newConnection(self, server):
        return f"to {server.name}"

    def serverReady(self, protocol):
        assert self.place is None
        assert self.exchange.holding
        self.told.append(protocol)
        if self.then is not None:
            self.then(self)

    def serverUnavailable(self, cause, stage, status):
        assert self.place is None
        assert not self.exchange.holding
        self.told.append((cause, stage, status))
        if self.then is not None:
            self.then(self)

    @property
    def attempt(self):
        """The connect that is being made for it."""
        [found] = [one for one in Attempt.made if one._failed.__self__ is self.place]
        return found

    def finishes(self):
        """It has what it wanted."""
        self.exchange.finish(Cause.DONE, 1.0)

    def leaves(self):
        """It goes away before."""
        self.pool.leave(self)
        self.exchange.finish(Cause.CLIENT, 1.0)


@contextmanager
def pooled(
    *weights, balancer=None, backup="", maxconn=0, minconn=0, limit=0, line=None,
    persistence=None, **options,
):
    """
    A pool with servers C{a}, C{b} and so on.

    @param backup: the names of the backup servers.
    @param maxconn: of each server, and so C{minconn}.
    @param limit: C{maxconn} of the pool.
    @param line: the L{lbtwist.queueing.Queue}, if it is to be another one.
    """
    servers = makeServers(*(weights or (1,)))
    for server in servers:
        server.backup = server.name in backup
        server.maxconn = server.capacity.maxconn = maxconn
        server.capacity.minconn = minconn
    pump = Pump()
    deadlines = Deadlines(pump, pump.seconds)
    Attempt.made = []
    with patch("lbtwist.connecting.Attempt", Attempt):
        yield Pool(
            PoolConfig("app", maxconn=limit, **options), servers, balancer or Choosing(), pump,
            deadlines, persistence, line,
        )  # fmt: skip
    deadlines.stop()
    assert not pump.getDelayedCalls()
