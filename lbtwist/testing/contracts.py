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
from itertools import permutations
from string import ascii_lowercase
from types import SimpleNamespace
from typing import Any

from zope.interface.verify import verifyObject

from lbtwist.exchange import Cause, Connection, Exchange
from lbtwist.interfaces import IBalancer, IExchangeObserver
from lbtwist.sansio.http1 import RequestReader
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
