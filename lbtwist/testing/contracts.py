"""
For tests of parts: what a part of each kind must do, as mixins, and things to try it
on. Public: third-party parts are tested with the same.

A contract becomes a test case where it is mixed in and told how to make the part::

    class FairBalancerTests(LoadAwareContract, TestCase):
        def makeBalancer(self):
            return FairBalancer(FairBalancer.Options(), Context(random=Random(1)))

It works with L{unittest}, Twisted's trial and pytest alike.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from inspect import iscoroutine
from itertools import permutations
from string import ascii_lowercase
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

from lbtwist.exchange import Cause, Connection, Exchange
from lbtwist.interfaces import (
    IBalancer,
    IConnectionRule,
    IExchangeObserver,
    IForeseeing,
    IRequestRule,
    IResponseRule,
)
from lbtwist.rules import decisions
from lbtwist.rules.rulebook import ASKED
from lbtwist.sansio.requesthead import RequestHead, RequestReader
from lbtwist.sansio.responsehead import ResponseHead, ResponseReader
from lbtwist.server import Endpoint, Server
from lbtwist.stats import FrontendTraffic


def makeServers(*weights: int) -> tuple[Server, ...]:
    """
    Make servers of a pool C{app}: C{a}, C{b}, C{c} and so on, C{s26} after C{z}.

    @param weights: one for each server.
    """
    return tuple(
        Server(
            pool="app",
            name=ascii_lowercase[i] if i < 26 else f"s{i}",
            endpoint=Endpoint(socket.AF_INET, ("127.0.0.1", 8001 + i)),
            weight=weight,
        )
        for i, weight in enumerate(weights)
    )


def fakeExchange(
    target: str | None = "/",
    fields: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    client: str = "192.0.2.1",
    startedAt: float = 1.0,
) -> Exchange:
    """
    Make an exchange as it is when rules and balancers see it: the request was
    read, and nothing has been decided.

    @param target: the request target; L{None} is a session in C{mode = tcp}.
    @param fields: header fields besides C{Host}.
    @param client: the client's address; its port is 50000.
    """
    connection = Connection(1, (client, 50000), ("192.0.2.80", 80), startedAt)
    frontend = SimpleNamespace(name="www", traffic=FrontendTraffic())
    exchange = Exchange(connection, frontend, (), startedAt)
    if target is not None:
        lines = [f"{method} {target} HTTP/1.1", "Host: www.example.com"]
        lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
        exchange.request = RequestReader().read(head)
        exchange.requestAt = startedAt
        exchange.bytesIn = len(head)
    return exchange


def fakeResponse(
    exchange: Exchange, status: int = 200, fields: Mapping[str, str] | None = None
) -> Exchange:
    """
    Let a server answer an exchange of L{fakeExchange}.

    @return: the exchange, as response rules see it.
    """
    assert exchange.request is not None
    lines = [f"HTTP/1.1 {status} Said"]
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
    response = ResponseReader().read(head, exchange.request.method)
    assert response is not None
    exchange.response = response
    exchange.status = status
    return exchange


def _kindsOfExchange() -> Iterator[Exchange]:
    """Requests with and without what a balancer may look at, and a session."""
    for client in ("192.0.2.1", "2001:db8::1", "unix"):
        yield fakeExchange(client=client)
        yield fakeExchange("/a/b?c=d", {"X-User": client}, client=client)
        yield fakeExchange("*", {"X-User": ""}, method="OPTIONS", client=client)
        yield fakeExchange(None, client=client)


class BalancerContract:
    """What every L{IBalancer} does."""

    def makeBalancer(self) -> Any:
        """@return: a new balancer."""
        raise NotImplementedError

    def _chooses(self, balancer: Any, servers: tuple[Server, ...]) -> None:
        loads = [server.active for server in servers]
        for exchange in _kindsOfExchange():
            chosen = balancer.choose(servers, exchange)
            assert any(chosen is server for server in servers), f"{chosen!r} was not offered"
        assert loads == [server.active for server in servers], "counting is the pool's"

    def test_providesItsInterface(self) -> None:
        assert verifyObject(IBalancer, self.makeBalancer())

    def test_oneServerIsChosen(self) -> None:
        self._chooses(self.makeBalancer(), makeServers(3))

    def test_oneOfThoseOffered(self) -> None:
        """With every order of loads, with equal and with different weights."""
        for weights in ((1, 1, 1, 1), (1, 2, 3, 256)):
            servers = makeServers(*weights)
            balancer = self.makeBalancer()
            for loads in permutations((0, 1, 2, 40)):
                for server, active in zip(servers, loads, strict=True):
                    server.active = active
                self._chooses(balancer, servers)

    def test_serversLeaveAndComeBack(self) -> None:
        """Never one that has left, in whatever order they go and return."""
        servers = makeServers(1, 2, 3, 4)
        balancer = self.makeBalancer()
        for away in permutations(servers, 3):
            for count in (0, 1, 2, 3, 2, 1):
                self._chooses(balancer, tuple(s for s in servers if s not in away[:count]))

    def test_equalTuplesAreNotTheSame(self) -> None:
        """A server that was made anew is another one, though its name is the same."""
        balancer = self.makeBalancer()
        for _ in range(6):
            self._chooses(balancer, makeServers(1, 1, 1))

    def test_weightsChange(self) -> None:
        """They come in a new tuple, and the servers are the same."""
        balancer = self.makeBalancer()
        servers = makeServers(1, 1, 1)
        for weights in permutations((1, 7, 256)):
            for server, weight in zip(servers, weights, strict=True):
                server.weight = weight
            self._chooses(balancer, tuple(server for server in servers))

    def test_foreseesAndMovesNothing(self) -> None:
        """One that can say what it would choose says so as often as it is asked."""
        balancer = self.makeBalancer()
        foreseeing: Any = balancer
        if not IForeseeing.providedBy(foreseeing):
            return
        assert verifyObject(IForeseeing, foreseeing)
        servers = makeServers(1, 2, 3, 256)
        for loads in permutations((0, 1, 2, 40)):
            for server, active in zip(servers, loads, strict=True):
                server.active = active
            for offered in (servers, servers[1:], servers[2:]):
                for exchange in _kindsOfExchange():
                    foreseen = [foreseeing.foresee(offered, exchange) for _ in range(2)]
                    chosen = balancer.choose(offered, exchange)
                    assert [one.chosen for one in foreseen] == [chosen, chosen]
                    assert set(foreseen[0].scores) <= set(offered)

    def test_isToldOfEveryEnd(self) -> None:
        """A balancer that observes takes an exchange that ended at any stage."""
        balancer = self.makeBalancer()
        if not IExchangeObserver.providedBy(balancer):
            return
        assert verifyObject(IExchangeObserver, balancer)
        servers = makeServers(1, 1)
        for target in ("/", None):
            for stages in range(4):
                for cause, status in ((Cause.DONE, 200), (Cause.SERVER, 502), (Cause.CLIENT, 0)):
                    exchange = fakeExchange(target)
                    exchange.server = servers[0] if stages else None
                    exchange.assignedAt = 2.0 if stages > 0 else 0.0
                    exchange.connectedAt = 3.0 if stages > 1 else 0.0
                    exchange.respondedAt = 4.0 if stages > 2 else 0.0
                    exchange.status = status
                    exchange.cause = cause
                    exchange.finishedAt = 5.0
                    balancer.exchangeFinished(exchange)
                    self._chooses(balancer, servers)


class LoadAwareContract(BalancerContract):
    """
    What an L{IBalancer} does that prefers servers with little to do.

    @cvar looksAt: how many servers it compares in one choice; 0 is all.
    """

    looksAt = 0

    def prepare(self, balancer: Any, servers: tuple[Server, ...]) -> None:
        """
        Tell a new balancer what it must know of servers to hold them for equal;
        nothing here.
        """

    def _prefers(self, weights: tuple[int, ...]) -> None:
        """
        Of as many as are compared one is chosen with the least load, so that many
        but one are left which have no less.
        """
        servers = makeServers(*weights)
        balancer = self.makeBalancer()
        self.prepare(balancer, servers)
        compared = min(self.looksAt or len(servers), len(servers))
        for actives in permutations(range(len(servers))):
            for server, active in zip(servers, actives, strict=True):
                server.active = active
            loads = {server: (server.active + 1) / server.weight for server in servers}
            for _ in range(8 if self.looksAt else 1):
                chosen = balancer.choose(servers, fakeExchange())
                noLess = sum(load >= loads[chosen] for load in loads.values())
                assert noLess >= compared, f"{chosen!r} of {servers!r}"

    def test_leastLoaded(self) -> None:
        """With every order of the loads of up to five servers."""
        for count in range(1, 6):
            self._prefers((1,) * count)

    def test_leastLoadedForItsWeight(self) -> None:
        for weights in ((1, 2), (3, 1), (1, 10, 100), (4, 3, 2, 1), (1, 2, 2, 5, 7)):
            self._prefers(weights)


_HOSTILE = (
    "", "x", "a, b ,,c", '"a, b', "a\\1{2}%s", "\xe4\xff", "\t \t", "//evil.example", "%0d%0aX: y",
    "=;=;", "1" * 40, "x" * 2000,
)  # fmt: skip

_TARGETS = (
    "/", "/a/b?c=d", "//evil.example/x", "/\\evil.example", "/%0d%0aSet-Cookie:%20a=b?x=%0d%0a",
    "/%00%ff%23?%23", "/?", "/?q=" + "%C3%A4" * 500, "/" + "x" * 8000,
)  # fmt: skip


def hostileRequests() -> Iterator[Exchange]:
    """Requests that a client could send who means no good."""
    for target in _TARGETS:
        for method in ("GET", "HEAD", "POST", "x"):
            yield fakeExchange(target, {"X-User": "a", "Cookie": "a=b"}, method=method)
    for value in _HOSTILE:
        names = ("X-User", "Cookie", "Referer", "User-Agent", "Authorization", "Origin", "Accept")
        yield fakeExchange("/a", dict.fromkeys(names, value), client="2001:db8::1")
    yield fakeExchange("*", method="OPTIONS", client="unix")
    yield fakeExchange("/a", {"Content-Length": "5"}, method="POST")
    yield fakeExchange("/a", {"Transfer-Encoding": "chunked"}, method="PUT")
    yield fakeExchange("/a", {"Connection": "Upgrade", "Upgrade": "websocket"})


def hostileResponses() -> Iterator[Exchange]:
    """Responses of a server that means no good, and such without a body."""
    for method in ("GET", "HEAD"):
        for status in (200, 204, 206, 301, 304, 404, 503, 999):
            yield fakeResponse(fakeExchange(method=method), status, {"Content-Length": "5"})
    for value in _HOSTILE:
        names = ("Location", "Set-Cookie", "Refresh", "Link", "Content-Type", "X-Powered-By")
        yield fakeResponse(fakeExchange(), 302, dict.fromkeys(names, value))
    yield fakeResponse(fakeExchange(), 200, {"Transfer-Encoding": "chunked"})


def messageEnd(head: RequestHead | ResponseHead) -> tuple[int | None, bool, bytes]:
    """What says where a message ends, and what comes after it."""
    return head.length, head.chunked, head.upgrade


class VerbContract:
    """
    What every verb of the rules does, whichever lists it is for.

    It is tried on requests and responses of clients and servers that mean no good. What
    it would have to wait for is not looked at.

    @cvar made: the interfaces of the lists that it is made for, whose expressions may ask
        for more in one than in another; empty are all that it provides.
    """

    made: tuple[InterfaceClass, ...] = ()

    def makeVerb(self) -> Any:
        """@return: a verb."""
        raise NotImplementedError

    def _verbOf(self, interface: InterfaceClass) -> Any:
        """@return: a verb, L{None} if it is not for such a list."""
        verb = self.makeVerb()
        given = interface in self.made if self.made else interface.providedBy(verb)
        return verb if given else None

    def _decided(self, decision: Any, *kinds: type[Any]) -> None:
        if isinstance(decision, Deferred):
            decision.addErrback(lambda failure: None)
            return
        if iscoroutine(decision):
            decision.close()
            return
        assert decision is None or isinstance(decision, kinds), f"{decision!r} is no decision"
        if isinstance(decision, decisions.Answer):
            self._isGood(decision)

    def _isGood(self, answer: decisions.Answer) -> None:
        """A whole answer can be made of it, and nobody reads two in it."""
        assert 200 <= answer.status <= 599
        lines = b"".join(b"%b: %b\r\n" % field for field in answer.fields)
        head = b"HTTP/1.1 %d x\r\n%b\r\n" % (answer.status, lines)
        read = ResponseReader().read(head, b"GET")
        assert read is not None
        assert read.size == len(head), f"{answer!r} ends too early"
        assert len(read.fields) == len(answer.fields), f"{answer!r} has more fields than it says"
        unframed = ResponseReader().read(b"HTTP/1.1 %d x\r\n\r\n" % answer.status, b"GET")
        assert unframed is not None
        assert messageEnd(read) == messageEnd(unframed), f"{answer!r} frames itself"

    def test_providesAnInterface(self) -> None:
        verb = self.makeVerb()
        found = [interface for interface, _ in ASKED.values() if interface.providedBy(verb)]
        assert found, f"{verb!r} is no verb"
        assert set(self.made) <= set(found)
        for interface in found:
            assert verifyObject(interface, verb)

    def test_ofConnections(self) -> None:
        verb = self._verbOf(IConnectionRule)
        if verb is not None:
            for client in ("192.0.2.1", "2001:db8::1", "unix"):
                decision = verb.connectionAccepted(fakeExchange(None, client=client))
                self._decided(
                    decision, decisions.Allow, decisions.Refuse, decisions.UsePool,
                    decisions.UseServer,
                )  # fmt: skip

    def test_ofRequests(self) -> None:
        """
        It does not raise, and leaves a request that reads as what it says it is, that ends
        where it ended, and whose response does.
        """
        verb = self._verbOf(IRequestRule)
        if verb is None:
            return
        kinds = [
            decisions.Allow, decisions.Answer, decisions.Deny, decisions.Refuse, decisions.Tunnel,
            decisions.UsePool, decisions.UseServer,
        ]  # fmt: skip
        for exchange in hostileRequests():
            head = exchange.request
            assert head is not None
            ends = messageEnd(head)
            bare = head.method == b"HEAD"
            for _ in range(2):
                self._decided(verb.requestReceived(exchange), *kinds)
            assert exchange.request is head
            assert messageEnd(head) == ends, f"{head!r} ends elsewhere"
            assert (head.method == b"HEAD") is bare, f"the response to {head!r} ends elsewhere"
            sent = head.encode()
            read = RequestReader(maxBytes=len(sent), maxTarget=len(sent)).read(sent)
            assert read is not None
            assert read.size == len(sent), f"{sent!r} is more than one"
            for name in ("method", "target", "host"):
                assert getattr(read, name) == getattr(head, name), f"{name} of {sent!r}"
            assert read.fields.items() == head.fields.items(), f"the fields of {sent!r}"

    def test_ofResponses(self) -> None:
        """It does not raise, and leaves a response that ends where it ended."""
        verb = self._verbOf(IResponseRule)
        if verb is None:
            return
        for exchange in hostileResponses():
            request, head = exchange.request, exchange.response
            assert request is not None
            assert head is not None
            ends = messageEnd(head)
            for _ in range(2):
                decision = verb.responseReceived(exchange)
                assert decision is None or isinstance(decision, decisions.Allow)
            assert exchange.response is head
            assert messageEnd(head) == ends, f"{head!r} ends elsewhere"
            assert exchange.status == head.status
            sent = b"%b\r%b\r\n" % (head.line, head.fields.block)
            read = ResponseReader(maxBytes=len(sent)).read(sent, request.method)
            assert read is not None
            assert read.size == len(sent), f"{sent!r} is more than one"
            assert read.status == head.status
            assert read.fields.items() == head.fields.items(), f"the fields of {sent!r}"
            if not head.chunked:
                assert messageEnd(read) == ends, f"{sent!r} ends elsewhere"
