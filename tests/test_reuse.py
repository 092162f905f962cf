"""Which idle connection is given to whom, and which are not kept."""

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from lbtwist.config.model import PoolConfig
from lbtwist.deadlines import Deadlines, Timed
from lbtwist.reuse import Reuse
from lbtwist.testing import makeServers


class Connection(Timed):
    """
    A connection to a server.

    @ivar gone: the server has closed it.
    """

    def __init__(self, server, uses=2, createdAt=1000.0, gone=False, doubtful=False):
        super().__init__()
        self.server = server
        self.endpoint = server.endpoint
        self.uses = uses
        self.createdAt = createdAt
        self.gone = gone
        self.doubtful = doubtful
        self.looks = 0
        self.closed = False

    def ended(self):
        self.looks += 1
        return self.gone

    def close(self):
        self.closed = True
        if self in self.server.idle:
            self.server.idle.remove(self)

    expired = close


@pytest.fixture
def make():
    """Makes a clock, a server and its idle connections."""
    made = []

    def make(mode="always", **options):
        clock = Clock()
        clock.rightNow = 1000.0
        deadlines = Deadlines(clock, clock.seconds)
        made.append(deadlines)
        [server] = makeServers(1)
        reuse = Reuse(PoolConfig("app", http_reuse=mode, **options), deadlines)

        def keep(**about):
            connection = Connection(server, **about)
            return connection if reuse.keep(server, connection, clock.seconds()) else None

        return SimpleNamespace(clock=clock, server=server, reuse=reuse, keep=keep)

    yield make
    for deadlines in made:
        deadlines.stop()


def test_theNewestFirst(make):
    world = make()
    old, new = world.keep(), world.keep()
    assert world.reuse.take(world.server, False, False) is new
    assert world.reuse.take(world.server, False, False) is old
    assert world.reuse.take(world.server, False, False) is None


def test_never(make):
    world = make("never")
    assert world.keep() is None
    assert world.reuse.take(world.server, False, False) is None


@pytest.mark.parametrize("mode", ["safe", "always"])
def test_aClientsFirstExchange(make, mode):
    """With C{safe} only on a connection that has served a second exchange."""
    world = make(mode)
    proved, new = world.keep(uses=2), world.keep(uses=1)
    wanted = {"safe": [proved, None], "always": [new, proved]}[mode]
    assert [world.reuse.take(world.server, True, False) for _ in range(2)] == wanted
    if mode == "safe":
        assert world.reuse.take(world.server, False, False) is new


def test_idleForTooLong(make):
    world = make(idle_timeout=30.0)
    connection = world.keep()
    world.clock.advance(29)
    assert not connection.closed
    world.clock.advance(1.1)
    assert connection.closed
    assert world.server.idle == []


def test_noLongerIdle(make):
    """Whoever took it is not disturbed."""
    world = make(idle_timeout=30.0)
    world.keep()
    connection = world.reuse.take(world.server, False, False)
    world.clock.advance(100)
    assert not connection.closed


def test_tooOld(make):
    world = make(idle_age=60.0)
    assert world.keep(createdAt=941.0) is not None
    assert world.keep(createdAt=939.0) is None


def test_ageWithoutLimit(make):
    world = make(idle_age=0.0)
    assert world.keep(createdAt=1.0) is not None


def test_asManyAsAreKept(make):
    world = make(idle_connections=2)
    assert [world.keep() is not None for _ in range(3)] == [True, True, False]
    assert make(idle_connections=0).keep() is None


def test_aServerThatIsDown(make):
    world = make()
    world.server.health.up = False
    assert world.keep() is None


def test_aServerThatHasMoved(make):
    """To a connection with its old address nothing is sent any more."""
    world = make()
    connection = Connection(world.server)
    [other] = makeServers(1)
    world.server.endpoint = other.endpoint
    assert not world.reuse.keep(world.server, connection, 1000.0)


def test_looksBeforeWhatCannotBeRepeated(make):
    """A connection that the server has closed is passed over."""
    world = make()
    good, gone = world.keep(), world.keep(gone=True)
    assert world.reuse.take(world.server, False, True) is good
    assert gone.closed
    assert world.server.idle == []


def test_doesNotLookBeforeWhatCanBeRepeated(make):
    """It costs a system call, and a request that dies is sent again."""
    world = make()
    gone = world.keep(gone=True)
    assert world.reuse.take(world.server, False, False) is gone
    assert gone.looks == 0


def test_looksAtWhatIsDoubtful(make):
    world = make()
    good, gone = world.keep(doubtful=True), world.keep(doubtful=True, gone=True)
    assert world.reuse.take(world.server, False, False) is good
    assert (good.looks, gone.closed) == (1, True)


@pytest.mark.parametrize("mode", ["safe", "always"])
def test_allAreGone(make, mode):
    world = make(mode)
    found = [world.keep(gone=True) for _ in range(3)]
    assert world.reuse.take(world.server, True, True) is None
    assert all(connection.closed for connection in found)
    assert world.server.idle == []


def test_drop(make):
    world = make()
    found = [world.keep() for _ in range(3)]
    world.reuse.drop(world.server)
    assert all(connection.closed for connection in found)
    assert world.server.idle == []


@pytest.mark.parametrize("retryOn, looks", [((), 1), (("conn-failure",), 0)])
def test_whereEverythingIsSentOnce(make, retryOn, looks):
    """With C{retry-on = none} each is looked at before it is used."""
    world = make(retry_on=retryOn)
    connection = world.keep()
    assert world.reuse.take(world.server, False, False) is connection
    assert connection.looks == looks
    kept = {}
    assert world.reuse.keepPrivate(kept, world.server, connection, 1000.0)
    assert world.reuse.takePrivate(kept, world.server, False) is connection
    assert connection.looks == 2 * looks
