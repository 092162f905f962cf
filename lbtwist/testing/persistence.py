"""
What a kind of persistence must do, as a mixin like those of L{lbtwist.testing.contracts}.

It is tried as a pool would: in a chain, with a store that answers at once, with one that takes
its time and with one that is away, by clients that come back and by such that mean no good.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lbtwist.exchange import Exchange
from lbtwist.interfaces import (
    IClaiming,
    IInspecting,
    IPersistence,
    IPersistenceStore,
    IResponseRule,
)
from lbtwist.persistence.bond import Bond
from lbtwist.persistence.chain import Chain
from lbtwist.persistence.keyed import LONGEST
from lbtwist.registry import Context
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage
from lbtwist.sansio.cookies import SetCookie
from lbtwist.server import Server
from lbtwist.stores.memory import MemoryOptions, MemoryStore
from lbtwist.testing.contracts import (
    fakeExchange,
    fakeResponse,
    hostileRequests,
    hostileResponses,
    makeServers,
    messageEnd,
)


@implementer(IPersistenceStore)
class TryingStore:
    """
    A store for tests: it checks what it is told, and may be slow, or away.

    @ivar keys: all that it was ever asked for.
    @ivar waiting: where it is slow: what it has not answered yet. Each is called to do so.
    """

    def __init__(self, context: Context, slow: bool = False, away: bool = False) -> None:
        self._memory = MemoryStore(MemoryOptions(1000), context)
        self._slow = slow
        self._away = away
        self.keys: set[bytes] = set()
        self.waiting: list[Callable[[], None]] = []

    @property
    def size(self) -> int:
        return self._memory.size

    def bound(self, name: str) -> int:
        return self._memory.bound(name)

    def _answer(self, key: bytes, answer: Callable[[], Any]) -> Any:
        assert isinstance(key, bytes)
        assert 0 < len(key) <= LONGEST, f"{key!r} is too long, or empty"
        self.keys.add(key)
        if self._away:
            return None
        if not self._slow:
            return answer()
        deferred: Deferred[Any] = Deferred()
        self.waiting.append(lambda: deferred.callback(answer()) if not deferred.called else None)
        return deferred

    def get(self, key: bytes, ttl: float) -> Any:
        return self._answer(key, lambda: self._memory.get(key, ttl))

    def claim(self, key: bytes, name: str, ttl: float, instead: str) -> Any:
        return self._answer(key, lambda: self._memory.claim(key, name, ttl, instead))

    def put(self, key: bytes, name: str, ttl: float) -> Any:
        return self._answer(key, lambda: self._memory.put(key, name, ttl))

    def drop(self, key: bytes, name: str) -> Any:
        return self._answer(key, lambda: self._memory.drop(key, name))

    def told(self, asked: Any) -> Any:
        """@return: what a Deferred comes to when all has been answered."""
        if not isinstance(asked, Deferred):
            return asked
        found: list[Any] = []
        asked.addCallback(found.append)
        self.answers()
        assert found, "it is never answered"
        return found[0]

    def answers(self) -> None:
        """Answer all that waits, in its order, and what is asked on account of that."""
        while self.waiting:
            self.waiting.pop(0)()

    def holds(self) -> dict[bytes, str]:
        """@return: names by key."""
        return {key: name for key, name, _ in self._memory.entries()}


class ReturningClient:
    """
    A client that comes more than once, and keeps cookies.

    @ivar number: tells it from others.
    @ivar cookies: those it has got, by name.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.cookies: dict[bytes, bytes] = {}

    def asks(self) -> Exchange:
        """@return: its next request: address, query, a field and its cookies are its own."""
        number = self.number
        fields = {"X-User": f"user{number}"}
        if self.cookies:
            pairs = [b"%b=%b" % item for item in self.cookies.items()]
            fields["Cookie"] = b"; ".join(pairs).decode("latin-1")
        return fakeExchange(f"/?user={number}", fields, client=f"192.0.2.{number}")

    def isAnswered(self, exchange: Exchange) -> Exchange:
        """@return: the exchange: a server, which has a cookie of its own, has answered."""
        if exchange.request is None:
            return exchange
        return fakeResponse(exchange, 200, {"Set-Cookie": f"SESSION=of{self.number}"})

    def gets(self, exchange: Exchange) -> None:
        """The response is passed on to it."""
        if exchange.response is not None:
            for line in exchange.response.fields.getAll(b"set-cookie"):
                cookie = SetCookie(line)
                self.cookies[cookie.name] = line.partition(b";")[0].partition(b"=")[2]


class PersistenceContract:
    """
    What every L{IPersistence} does. Without the mixin's C{makePersistence} there is nothing to
    try; the rest may be told of kinds that are unlike others.

    @cvar remembers: whether it is the choice of a server that counts; false for kinds that
        compute one, such as from a hash, or are told one.
    @cvar learns: whether a client is known only after it has had a response.
    """

    remembers = True
    learns = False

    def makePersistence(self, context: Context) -> Any:
        """
        @param context: has a store, clocks, a secret, and the scope of a pool's expressions.
        @return: a new one.
        """
        raise NotImplementedError

    def makeClient(self, number: int) -> ReturningClient:
        """@return: a client as this kind of persistence may know it again."""
        return ReturningClient(number)

    # a pool, in short

    def _begin(self, slow: bool = False, away: bool = False) -> None:
        self._clock = Clock()
        self._clock.advance(1e6)
        scope = Scope(Stage.REQUEST, True)
        context = Context(
            clock=self._clock.seconds, wallclock=lambda: self._clock.seconds() + 1.7e9,
            random=random.Random(1), pool="app", scope=scope, secret=b"a secret",
        )  # fmt: skip
        self._store = context.store = TryingStore(context, slow, away)
        self._kind = self.makePersistence(context)
        self._servers = makeServers(1, 1, 1, 1)
        self._chain = Chain([self._kind])
        self._chain.serversChanged(self._servers)

    def _comes(self, exchange: Exchange) -> Server | None:
        """@return: the server that is recalled."""
        found: Server | None = self._store.told(self._chain.recall(exchange))
        return found

    def _chosen(self, exchange: Exchange, server: Server) -> Server:
        """@return: the server it goes to where this one was chosen."""
        found: Server = self._store.told(self._chain.claim(exchange, server))
        exchange.server = found
        return found

    def _served(self, client: ReturningClient, exchange: Exchange) -> None:
        """The connection to its server stands, and the server answers."""
        self._chain.connected(exchange)
        client.isAnswered(exchange)
        self._chain.respond(exchange)
        client.gets(exchange)
        self._store.answers()

    def _goes(self, client: ReturningClient, server: Server) -> Server:
        """@return: the server that a whole exchange of a client was with."""
        exchange = client.asks()
        found = self._comes(exchange)
        if found is None:
            found = self._chosen(exchange, server)
        exchange.server = found
        self._served(client, exchange)
        return found

    def _changed(self) -> None:
        self._chain.serversChanged(self._servers)

    # what it provides

    def test_providesItsInterfaces(self) -> None:
        self._begin()
        assert verifyObject(IPersistence, self._kind)
        for interface in (IClaiming, IInspecting, IResponseRule):
            assert not interface.providedBy(self._kind) or verifyObject(interface, self._kind)

    # clients that come back

    def test_aNewClientIsNotKnown(self) -> None:
        self._begin()
        if self.remembers:
            assert self._comes(self.makeClient(1).asks()) is None

    def test_clientsComeBack(self) -> None:
        """Each to the server it had, however many others come between."""
        for slow in (False, True):
            self._begin(slow=slow)
            clients = [self.makeClient(number) for number in range(1, 13)]
            had = [self._goes(one, self._servers[one.number % 4]) for one in clients]
            if self.remembers:
                assert had == [self._servers[one.number % 4] for one in clients]
            for _ in range(3):
                assert [self._comes(one.asks()) for one in clients] == had
                assert [self._goes(one, self._servers[0]) for one in clients] == had

    def test_whoseServerIsAwayIsKnownToTheNext(self) -> None:
        """And stays there when the first one is back, where the choice counts."""
        for slow in (False, True):
            self._begin(slow=slow)
            client = self.makeClient(1)
            had = self._goes(client, self._servers[1])
            had.health.up = False
            self._changed()
            other = self._goes(client, self._servers[2])
            assert other is not had
            assert self._goes(client, self._servers[3]) is other
            had.health.up = True
            self._changed()
            assert self._goes(client, self._servers[3]) is (other if self.remembers else had)

    def test_aServerThatLeavesIsNotRecalled(self) -> None:
        self._begin()
        client = self.makeClient(1)
        had = self._goes(client, self._servers[1])
        had.leaving = True
        self._changed()
        assert self._comes(client.asks()) is not had
        self._servers = tuple(one for one in self._servers if one is not had)
        self._changed()
        assert self._comes(client.asks()) is not had

    def test_whoDrainsKeepsItsOwn(self) -> None:
        self._begin()
        client = self.makeClient(1)
        had = self._goes(client, self._servers[1])
        had.health.admin = "drain"
        self._changed()
        assert self._goes(client, self._servers[2]) is had

    def test_whoIsNotConnectedToIsNotKnown(self) -> None:
        """The next server is, and the one that refused is not."""
        for slow in (False, True):
            self._begin(slow=slow)
            client = self.makeClient(1)
            exchange = client.asks()
            if self._comes(exchange) is not None:
                return
            refuses = self._chosen(exchange, self._servers[0])
            self._chain.failed(exchange, refuses)
            exchange.tried += (refuses,)
            self._chosen(exchange, self._servers[1])
            self._served(client, exchange)
            assert self._comes(client.asks()) is self._servers[1]

    def test_aClaimIsTakenBack(self) -> None:
        for slow in (False, True):
            self._begin(slow=slow)
            if not IClaiming.providedBy(self._kind) or not self.remembers:
                return
            exchange = self.makeClient(1).asks()
            assert self._comes(exchange) is None
            self._chain.failed(exchange, self._chosen(exchange, self._servers[0]))
            self._store.answers()
            assert self._comes(self.makeClient(1).asks()) is None

    def test_parallelRequestsOfANewClient(self) -> None:
        """All get the server that the first of them was given, whatever was chosen."""
        for slow in (False, True):
            self._begin(slow=slow)
            if not IClaiming.providedBy(self._kind) or self.learns or not self.remembers:
                return
            parallel = [self.makeClient(1).asks() for _ in range(5)]
            assert [self._comes(one) for one in parallel] == [None] * 5
            went = [self._chosen(one, self._servers[at % 4]) for at, one in enumerate(parallel)]
            assert went == [self._servers[0]] * 5
            for one in parallel:
                self._chain.connected(one)
            self._store.answers()
            assert self._comes(self.makeClient(1).asks()) is self._servers[0]

    # what must not happen

    def test_foreseesAndChangesNothing(self) -> None:
        """One that can say what it would recall says so, and nothing is different for it."""
        self._begin()
        if not hasattr(self._kind, "foresee"):
            return
        client = self.makeClient(1)
        for _ in range(3):
            before = self._store.holds()
            exchange = client.asks()
            head = None if exchange.request is None else exchange.request.encode()
            foreseen = [self._kind.foresee(exchange) for _ in range(2)]
            assert exchange.request is None or exchange.request.encode() == head
            assert self._store.holds() == before
            recalled = self._comes(exchange)
            assert foreseen == [recalled and recalled.name] * 2
            self._goes(client, self._servers[1])

    def test_withoutAStore(self) -> None:
        """It is away: nobody is known by it, and everybody is served."""
        self._begin(away=True)
        client = self.makeClient(1)
        for server in self._servers:
            exchange = client.asks()
            found = self._comes(exchange) or self._chosen(exchange, server)
            assert found in self._servers
            exchange.server = found
            self._served(client, exchange)
            self._chain.failed(exchange, found)

    def test_clientsThatMeanNoGood(self) -> None:
        """Their requests and responses end where they did, and nothing is raised."""
        self._begin()
        for exchange in [*hostileRequests(), fakeExchange(None)]:
            ends = exchange.request and messageEnd(exchange.request)
            self._hostile(exchange)
            assert (exchange.request and messageEnd(exchange.request)) == ends
        for exchange in hostileResponses():
            exchange.bond = Bond()
            exchange.server = self._servers[0]
            assert exchange.response is not None
            ends = messageEnd(exchange.response)
            self._chain.respond(exchange)
            assert messageEnd(exchange.response) == ends

    def _hostile(self, exchange: Exchange) -> None:
        found = self._comes(exchange) or self._chosen(exchange, self._servers[0])
        assert found in self._servers
        exchange.server = found
        for server in self._servers:
            self._kind.remember(exchange, server.name)
        self._chain.connected(exchange)
        self._chain.failed(exchange, found)

    def test_serversComeAndGo(self) -> None:
        """In any order, all of them too; those that are recalled are there."""
        self._begin()
        clients = [self.makeClient(number) for number in range(1, 5)]
        for servers in self._memberships():
            self._servers = servers
            self._changed()
            for client in clients:
                exchange = client.asks()
                found = self._comes(exchange)
                assert found is None or (found in servers and found.recallable)
                if found is None and servers:
                    found = self._chosen(exchange, servers[0])
                if found is not None:
                    exchange.server = found
                    self._served(client, exchange)

    def _memberships(self) -> Iterator[tuple[Server, ...]]:
        for weights in ((1, 1, 1, 1), (1,), (), (0,), (0, 0, 0), (256, 1, 0), (1,) * 40):
            servers = makeServers(*weights)
            yield servers
            for server in servers:
                server.health.up = False
                yield servers
