"""
Whatever clients, connects and servers do, in whatever order: the pool's counts are
true, no limit is exceeded, nobody is forgotten and nobody is told twice.
"""

from contextlib import ExitStack

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pooled import Attempt, Choosing, Client, pooled
from zope.interface import implementer

from lbtwist.balance import LeastConn
from lbtwist.connecting import PAUSE
from lbtwist.interfaces import IPersistence
from lbtwist.persistence.chain import Chain
from lbtwist.queueing import Queue
from lbtwist.registry import Context

LIMITS = (1, 2, 0)
INDEX = st.integers(0, 1000)


class Checked(Choosing):
    """As another balancer would, but it checks what it is offered."""

    def __init__(self):
        super().__init__()
        self.inner = LeastConn(LeastConn.Options(), Context())

    def choose(self, servers, exchange):
        super().choose(servers, exchange)
        return self.inner.choose(servers, exchange)


class Machine(RuleBasedStateMachine):
    options = {}

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        self.pool = self.stack.enter_context(
            pooled(1, 2, 1, 1, balancer=Checked(), backup="d", retries=2, maxqueue=6,
                   timeout_queue=20.0, **self.options)
        )  # fmt: skip
        for server, limit in zip(self.pool.servers, LIMITS, strict=False):
            server.maxconn = server.capacity.maxconn = limit
        self.pool.servers[2].health.up = False
        self.pool.serversChanged()
        self.clients = []

    def teardown(self):
        while self.waiting:
            self.waiting[0].leaves()
        for client in self.connected:
            client.finishes()
        assert (self.pool.active, self.pool.queued, Attempt.made) == (0, 0, [])
        self.stack.close()

    @property
    def waiting(self):
        return [one for one in self.clients if not one.told and not one.exchange.cause]

    @property
    def connected(self):
        return [one for one in self.clients if one.exchange.holding and one.told]

    @rule(reuse=st.booleans())
    def connect(self, reuse):
        client = Client(self.pool)
        if reuse:
            client.idle = {server.name: "old one" for server in self.pool.servers}
        self.clients.append(client.connects())

    @rule()
    def connectAndFinishAtOnce(self):
        client = Client(self.pool, lambda one: one.finishes())
        client.idle = {server.name: "old one" for server in self.pool.servers}
        self.clients.append(client.connects())

    @precondition(lambda self: Attempt.made)
    @rule(at=INDEX, works=st.booleans())
    def aConnectEnds(self, at, works):
        attempt = Attempt.made[at % len(Attempt.made)]
        if works:
            attempt.succeeds()
        else:
            attempt.fails()

    @precondition(lambda self: self.connected)
    @rule(at=INDEX)
    def finish(self, at):
        self.connected[at % len(self.connected)].finishes()

    @precondition(lambda self: self.waiting)
    @rule(at=INDEX)
    def leave(self, at):
        self.waiting[at % len(self.waiting)].leaves()

    @rule(at=st.integers(0, 3), up=st.booleans())
    def aServerGoesOrComes(self, at, up):
        self.pool.servers[at].health.up = up
        self.pool.serversChanged()

    @rule(at=st.integers(0, 3), weight=st.integers(0, 2))
    def weightsChange(self, at, weight):
        self.pool.servers[at].weight = weight
        self.pool.serversChanged()

    @rule(at=st.integers(0, 3), more=st.booleans())
    def limitsChange(self, at, more):
        """A lower one takes nobody's slot away."""
        server = self.pool.servers[at]
        server.maxconn = server.capacity.maxconn = server.active + 1 + more
        self.pool.serversChanged()

    @rule(seconds=st.sampled_from([0.5, PAUSE + 0.1, 21.0]))
    def timePasses(self, seconds):
        self.pool.reactor.advance(seconds)

    @invariant()
    def countsAreTrue(self):
        holding = [one.exchange for one in self.clients if one.exchange.holding]
        assert self.pool.active == len(holding)
        for server in self.pool.servers:
            assert server.active == sum(one.server is server for one in holding)

    @invariant()
    def knowsHowManyAreFull(self):
        """Or it would look for free servers although all are."""
        assert self.pool._full == sum(server.full for server in self.pool.usable)

    @invariant()
    def noLimitIsExceeded(self):
        for server in self.pool.servers:
            assert not server.maxconn or server.active <= server.maxconn

    @invariant()
    def nobodyWaitsForNothing(self):
        for client in self.waiting:
            if not client.exchange.holding and not self.pool.limited:
                bound = client.place.bound
                assert all(one.full for one in ([bound] if bound else self.pool.usable))
        assert self.pool.queued <= 6

    @invariant()
    def everybodyIsSomewhere(self):
        """In the queue, or with a slot and a connect or a pause; else told, once."""
        queued = [one for one in self.waiting if not one.exchange.holding]
        assert len(queued) == self.pool.queued
        connecting = [one for one in self.waiting if one.exchange.holding]
        made = [attempt._failed.__self__ for attempt in Attempt.made]
        assert {id(one) for one in made} <= {id(one.place) for one in connecting}
        for client in self.clients:
            assert len(client.told) <= 1
            assert (client.place is not None) == (client in self.waiting)

    @invariant()
    def everybodyComesToAnEnd(self):
        """Whoever waits without a connect has a deadline."""
        made = [attempt._failed.__self__ for attempt in Attempt.made]
        for client in self.waiting:
            assert any(client.place is one for one in made) or client.place.expires


@implementer(IPersistence)
class Had:
    """The server that a client had is what its test says."""

    def recall(self, exchange):
        return (exchange.vars or {}).get("had")

    def remember(self, exchange, name):
        exchange.vars = {"had": name}


class LimitedMachine(Machine):
    """
    The same with bound clients, tenants, priorities, a limit of the pool and limits that follow
    its load. A server's limit may fall below what it has: it gets nobody then.
    """

    options = {"limit": 5, "maxconn": 1, "minconn": 1, "fullconn": 4, "maxqueue_per_key": 4}

    def __init__(self):
        self.options = {
            **self.options,
            "persistence": Chain([Had()]),
            "line": Queue(lambda exchange: exchange.requestId.encode(), {b"gold": 3}),
        }
        super().__init__()
        for server in self.pool.servers:
            server.maxqueue = 2
        self.had = {}

    @rule(
        had=st.sampled_from(["a", "b", "c", "d", "gone"]), tenant=st.sampled_from(["", "gold"]),
        level=st.integers(-1, 1), offset=st.sampled_from([-1.0, 0.0, 2.0]), idle=st.booleans(),
    )  # fmt: skip
    def comeBack(self, had, tenant, level, offset, idle):
        client = Client(self.pool)
        client.exchange.requestId = tenant
        client.exchange.vars = {"had": had}
        client.exchange.settings = {"priority": (level, offset)}
        if idle:
            client.idle = {server.name: "old one" for server in self.pool.servers}
        self.clients.append(client.connects())

    @rule(at=st.integers(0, 3), warmth=st.sampled_from([0.01, 0.5, 1.0]))
    def startSlowly(self, at, warmth):
        server = self.pool.servers[at]
        server.capacity.warmth = warmth
        server.adapt()
        self.pool.serversChanged()

    @rule(at=st.integers(0, 3), weight=st.integers(0, 2))
    def weightsChange(self, at, weight):
        self.pool.servers[at].capacity.weight = weight
        self.pool.servers[at].adapt()
        self.pool.serversChanged()

    @invariant()
    def noLimitIsExceeded(self):
        """Whoever gets more than a server may have now has got it when the limit was higher."""
        assert self.pool.active <= 5
        assert self.pool.limited == (self.pool.active == 5)
        for server in self.pool.servers:
            before = self.had.get(server, 0)
            if server.active > before and server.maxconn:
                assert server.active <= max(server.maxconn, server.capacity.maxconn)
            self.had[server] = server.active

    @invariant()
    def limitsAreThoseOfTheLoad(self):
        assert self.pool._limits._load.exchanges == self.pool.active + self.pool.queued
        for server in self.pool.servers:
            assert (server.weight, server.maxconn) == (
                server.capacity.share, server.capacity.limit
            )

    @invariant()
    def theQueueIsTrue(self):
        queue = self.pool._queue
        groups = queue._groups.values()
        assert len(queue) == sum(group.count for group in groups)
        assert len(queue) == sum(tenant.count for tenant in queue._tenants.values())
        bound = [one for one in self.waiting if getattr(one.place, "bound", None)]
        assert sorted(id(one.place) for one in bound) == sorted(map(id, queue.bound()))
        for client in self.waiting:
            if not client.exchange.holding:
                assert client.place.line is not None


PoolMachineTests = Machine.TestCase
LimitedPoolMachineTests = LimitedMachine.TestCase
for one in (PoolMachineTests, LimitedPoolMachineTests):
    one.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
