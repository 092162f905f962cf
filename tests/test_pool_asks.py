"""
A pool whose clients are known by a store that takes its time, in any order of events: whatever
happens meanwhile, nobody gets two servers, keeps a slot, or waits for what does not come.
"""

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from pooled import Attempt, Client, pooled
from test_pool_machine import INDEX, Machine
from twisted.internet.defer import fail
from twisted.trial.unittest import TestCase

from lbtwist.deadlines import Timed
from lbtwist.interfaces import IPersistence
from lbtwist.persistence.chain import Chain
from lbtwist.pool import Asking
from lbtwist.queueing import Place
from lbtwist.registry import Context, installed
from lbtwist.testing import TryingStore, fakeExchange


def known(*fields, store=TryingStore):
    """@return: clients are known by these fields, in a store that is slow; and the store."""
    context = Context(clock=lambda: 0.0, pool="app")
    context.store = store = store(context, slow=True)
    part = installed().find(IPersistence, "header")
    return Chain([part.make(part.options(name), context) for name in fields]), store


def comes(pool, store, user, group, answered=False, then=None):
    """
    A client connects.

    @param answered: whether all that it asks the store for is answered.
    """
    client = Client(pool, then)
    client.exchange = fakeExchange(fields={"X-User": user, "X-Group": group})
    client.exchange.pool = pool
    client.connects()
    if answered:
        store.answers()
    return client


def test_aServerThatGoesWhileAnotherKindIsAsked():
    """A parallel exchange has it by the first kind; who cannot have it goes elsewhere."""
    chain, store = known("X-User", "X-Group")
    with pooled(1, 1, maxconn=1, persistence=chain) as pool:
        a, b = pool.servers
        one, other = comes(pool, store, "u", "g"), comes(pool, store, "u", "h")
        for _ in range(4):
            # Neither is known.
            store.waiting.pop(0)()
        assert (one.exchange.server, other.exchange.server) == (a, b)
        for _ in range(2):
            # The first has a, and so has the other by X-User; X-Group is still asked for both.
            store.waiting.pop(0)()
        a.health.up = False
        pool.serversChanged()
        store.answers()
        assert other.exchange.server is b
        assert isinstance(other.place, Timed) and not isinstance(other.place, Place)
        assert (a.active, b.active, pool.queued) == (1, 1, 0)
        one.leaves()
        other.leaves()


class Failing(TryingStore):
    """@ivar failing: the question, get or claim, that fails."""

    failing = ""

    def get(self, key, ttl):
        return fail(OSError("no")) if self.failing == "get" else super().get(key, ttl)

    def claim(self, key, name, ttl, instead):
        if self.failing == "claim":
            return fail(OSError("no"))
        return super().claim(key, name, ttl, instead)


class FailingStoreTests(TestCase):
    def test_nobodyWaitsForWhatHasFailed(self):
        """A store of somebody else may fail, though it should not."""
        for failing in ("get", "claim"):
            chain, store = known("X-User", store=Failing)
            store.failing = failing
            with pooled(1, persistence=chain) as pool:
                client = comes(pool, store, "u", "g", answered=True)
                client.attempt.succeeds()
                assert client.told == ["to a"]
                client.finishes()
            [failure] = self.flushLoggedErrors(OSError)


class AskingMachine(Machine):
    """
    Clients of two users in two groups. The store answers in the order in which it was asked,
    at any time, also when nobody waits for it any more.
    """

    def __init__(self):
        chain, self.store = known("X-User", "X-Group")
        self.options = {"persistence": chain}
        super().__init__()

    def teardown(self):
        super().teardown()
        self.store.answers()
        assert (self.pool.active, self.pool.queued, Attempt.made) == (0, 0, [])

    @property
    def asking(self):
        return [one for one in self.waiting if isinstance(one.place, Asking)]

    @rule(user=st.sampled_from("uv"), group=st.sampled_from("gh"), answered=st.booleans())
    def comeBack(self, user, group, answered):
        self.clients.append(comes(self.pool, self.store, user, group, answered))

    @rule(user=st.sampled_from("uv"))
    def comeAndFinishAtOnce(self, user):
        client = comes(self.pool, self.store, user, "g", then=lambda one: one.finishes())
        client.idle = {server.name: "old one" for server in self.pool.servers}
        self.clients.append(client)

    @precondition(lambda self: self.store.waiting)
    @rule(many=st.integers(1, 3))
    def theStoreAnswers(self, many):
        for _ in range(min(many, len(self.store.waiting))):
            self.store.waiting.pop(0)()

    @precondition(lambda self: self.asking)
    @rule(at=INDEX)
    def leaveWhileItIsAsked(self, at):
        self.asking[at % len(self.asking)].leaves()

    @rule(at=st.integers(0, 3), admin=st.sampled_from(["ready", "drain", "maint"]))
    def administer(self, at, admin):
        self.pool.servers[at].health.admin = admin
        self.pool.serversChanged()

    @invariant()
    def nobodyWaitsForNothing(self):
        pool = self.pool
        for client in self.waiting:
            if isinstance(client.place, Place):
                bound = client.place.bound
                assert all(one.full for one in ([bound] if bound else pool.usable))
                assert bound is None or pool.persistence.keeps(client.exchange, bound)
        assert pool.queued <= 6

    @invariant()
    def everybodyIsSomewhere(self):
        """In the queue, asking, or with a slot and a connect or a pause; else told, once."""
        places = [one.place for one in self.waiting]
        assert self.pool.queued == sum(isinstance(place, Place) for place in places)
        made = [attempt._failed.__self__ for attempt in Attempt.made]
        assert {id(one) for one in made} <= set(map(id, places))
        for client in self.clients:
            assert len(client.told) <= 1
            assert (client.place is not None) == (client in self.waiting)
            if client.place is not None and not client.exchange.holding:
                assert isinstance(client.place, (Asking, Place))

    @invariant()
    def everybodyComesToAnEnd(self):
        """Whoever waits for no connect and no answer has a deadline."""
        made = [attempt._failed.__self__ for attempt in Attempt.made]
        for client in self.waiting:
            if not isinstance(client.place, Asking):
                assert any(client.place is one for one in made) or client.place.expires
        assert len(self.store.waiting) >= len(self.asking)


AskingPoolMachineTests = AskingMachine.TestCase
AskingPoolMachineTests.settings = Machine.TestCase.settings
