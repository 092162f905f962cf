"""Who the servers of pools are: who is written down, who has gone and has something to do yet."""

from pooled import Choosing
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbtwist.config.model import PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.pool import Pool
from lbtwist.roster import LOOK, Roster
from lbtwist.server import Server


class Leaves:
    """
    Notes who goes.

    @ivar left: those to whom nobody new may come.
    @ivar forgotten: those of whom nothing runs any more.
    """

    def __init__(self):
        self.left = []
        self.forgotten = []

    def leave(self, pool, server):
        self.left.append(server)

    def forget(self, pool, server):
        assert server in self.left
        self.forgotten.append(server)


class Announcer:
    """Notes what is told of servers."""

    def __init__(self):
        self.told = []

    def tell(self, pool, server, event, before, reason, **others):
        self.told.append((server.name, event, before, reason))


class RosterTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.leaves = Leaves()
        self.one, self.two, self.three = (
            Server("app", name, ("127.0.0.1", 80)) for name in ("a", "b", "c")
        )
        self.pool = Pool(
            PoolConfig("app"), (self.one, self.two), Choosing(), self.clock,
            Deadlines(self.clock, self.clock.seconds),
        )  # fmt: skip
        self.pool.announcer = self.announcer = Announcer()
        self.roster = Roster(self.clock, self.leaves)

    def test_whoHasNothingToDoIsForgottenAtTheNextLook(self):
        self.roster.write(self.pool, (self.two, self.three))
        assert self.pool.servers == (self.two, self.three, self.one)
        assert self.one.leaving and self.leaves.left == [self.one]
        assert self.announcer.told == [("a", "left", "UP", "the configuration")]
        self.clock.advance(LOOK)
        assert self.pool.servers == (self.two, self.three)
        assert self.leaves.forgotten == [self.one]
        assert self.clock.calls == []

    def test_whoHasSomethingToDoStaysUntilItIsDone(self):
        """An exchange, or a session, whose client may be without one for a moment."""
        for work in ("active", "sessions"):
            self.roster.write(self.pool, (self.one, self.two))
            setattr(self.two, work, 1)
            self.roster.write(self.pool, (self.one,))
            self.clock.pump([LOOK] * 5)
            assert self.pool.servers == (self.one, self.two)
            setattr(self.two, work, 0)
            self.clock.advance(LOOK)
            assert self.pool.servers == (self.one,)
            assert self.clock.calls == []

    def test_comesBack(self):
        self.two.active = 1
        self.roster.write(self.pool, (self.one,))
        assert self.roster.gone(self.pool) == {"app/b": self.two}
        self.roster.stays(self.pool, self.two)
        self.roster.write(self.pool, (self.one, self.two))
        assert not self.two.leaving and self.roster.gone(self.pool) == {}
        self.two.active = 0
        self.clock.pump([LOOK] * 2)
        assert self.pool.servers == (self.one, self.two) and self.leaves.forgotten == []

    def test_twoOfOneKey(self):
        """As where two sources name one address: each is forgotten, and can come back."""
        same = [Server("app", name, ("10.0.0.1", 80), key="app/10.0.0.1:80") for name in "de"]
        self.roster.write(self.pool, (self.one, *same))
        for server in same:
            server.active = 1
        self.roster.write(self.pool, (self.one,))
        self.clock.advance(LOOK)
        back = []
        while found := self.roster.gone(self.pool):
            back.append(found["app/10.0.0.1:80"])
            self.roster.stays(self.pool, back[-1])
        assert set(back) == set(same)

    def test_retired(self):
        """A pool stays as it is while one of its servers has something to do."""
        self.two.sessions = 1
        self.roster.write(self.pool, (self.two,))
        self.roster.retire(self.pool)
        self.clock.pump([LOOK] * 3)
        assert self.roster.retired == [self.pool]
        assert self.leaves.forgotten == [self.one] and not self.two.leaving
        self.two.sessions = 0
        self.clock.advance(LOOK)
        assert self.roster.retired == [] and self.clock.calls == []
        assert self.leaves.forgotten == [self.one, self.two]

    def test_stopped(self):
        """Whoever has something to do is forgotten all the same."""
        other = Pool(
            PoolConfig("other"), (self.three,), Choosing(), self.clock,
            Deadlines(self.clock, self.clock.seconds),
        )  # fmt: skip
        for server in (self.one, self.two, self.three):
            server.active = 1
        self.roster.write(self.pool, (self.one,))
        self.roster.retire(other)
        self.roster.stop()
        assert self.clock.calls == [] and self.roster.retired == []
        assert self.leaves.forgotten == [self.three, self.two]
        assert self.pool.servers == (self.one,)

    def test_nobodyGoes(self):
        self.roster.write(self.pool, (self.one, self.two))
        assert self.clock.calls == [] and self.announcer.told == []
