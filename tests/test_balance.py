"""
The balancers: what each promises, and how they spread and carry load in simulations
whose dice are thrown by a seed.
"""

import gc
import heapq
import math
import weakref
from collections import Counter, deque
from itertools import count, product
from random import Random as Dice
from types import SimpleNamespace
from unittest import TestCase

import attr
import pytest
from zope.interface import implementer

from lbtwist.balance import (
    FieldHash,
    First,
    LeastConn,
    PeakEWMA,
    Random,
    RDPCookieHash,
    RoundRobin,
    SourceHash,
    URIHash,
)
from lbtwist.balance.loaded import Kept
from lbtwist.interfaces import IBalancer
from lbtwist.registry import Context, installed
from lbtwist.testing import BalancerContract, LoadAwareContract, fakeExchange, makeServers


class Time:
    """A clock that is set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def make(cls, clock=None, **options):
    return cls(cls.Options(**options), Context(clock=clock or Time(), random=Dice(5)))


def names(balancer, servers, exchanges):
    """@return: the names of those chosen, in one word."""
    if isinstance(exchanges, int):
        exchanges = [fakeExchange()] * exchanges
    return "".join(balancer.choose(servers, exchange).name for exchange in exchanges)


def setLoads(servers, *loads):
    for server, active in zip(servers, loads, strict=True):
        server.active = active


def finish(balancer, server, seconds, status=200, at=50.0, answered=True, target="/"):
    """Tell a balancer of an exchange whose answer took C{seconds}."""
    exchange = fakeExchange(target)
    exchange.server = server
    exchange.status = status
    exchange.assignedAt = at
    if answered and target is None:
        exchange.connectedAt = at + seconds
    elif answered:
        exchange.respondedAt = at + seconds
    exchange.finishedAt = at + seconds if not answered else at + seconds + 1000.0
    balancer.exchangeFinished(exchange)


# What every balancer does


class RoundRobinTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(RoundRobin)


class FirstTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(First)


class LeastConnTests(LoadAwareContract, TestCase):
    def makeBalancer(self):
        return make(LeastConn)


class RandomTests(LoadAwareContract, TestCase):
    looksAt = 2

    def makeBalancer(self):
        return make(Random)


class RandomOfOneTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(Random, draws=1)


class PeakEWMATests(LoadAwareContract, TestCase):
    looksAt = 2

    def makeBalancer(self):
        return make(PeakEWMA)

    def prepare(self, balancer, servers):
        for server in servers:
            finish(balancer, server, 0.01)


class SourceHashTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(SourceHash)


class URIHashTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(URIHash)


class FieldHashTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(FieldHash, field="X-User")


class BoundedFieldHashTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(FieldHash, field="X-User", load=100)


class RDPCookieHashTests(BalancerContract, TestCase):
    def makeBalancer(self):
        return make(RDPCookieHash, name="mstshash")


@implementer(IBalancer)
class Forgetful:
    """Chooses what it saw first, whatever it is offered."""

    servers = None

    def choose(self, servers, exchange):
        self.servers = self.servers or servers
        return self.servers[-1]


@pytest.mark.parametrize(
    "name", ["serversLeaveAndComeBack", "equalTuplesAreNotTheSame"]
)
def test_theContractNoticesAForgetfulBalancer(name):
    class Tests(BalancerContract):
        makeBalancer = staticmethod(Forgetful)

    with pytest.raises(AssertionError, match="was not offered"):
        getattr(Tests(), f"test_{name}")()


@pytest.mark.parametrize("cls", [RoundRobin, First, SourceHash])
@pytest.mark.parametrize("name", ["leastLoaded", "leastLoadedForItsWeight"])
def test_theContractNoticesWhoIgnoresLoads(cls, name):
    class Tests(LoadAwareContract):
        looksAt = 2

        def makeBalancer(self):
            return make(cls)

    with pytest.raises(AssertionError, match="Server app/"):
        getattr(Tests(), f"test_{name}")()


@pytest.mark.parametrize(
    ("word", "cls", "options"),
    [
        ("roundrobin", RoundRobin, {}),
        ("first", First, {}),
        ("leastconn", LeastConn, {}),
        ("random", Random, {}),
        ("peak-ewma", PeakEWMA, {}),
        ("source", SourceHash, {}),
        ("uri", URIHash, {}),
        ("hash", FieldHash, {"field": "X-User"}),
        ("rdp-cookie", RDPCookieHash, {}),
    ],
)
def test_eachIsFoundByItsWord(word, cls, options):
    part = installed().find(IBalancer, word)
    assert type(part.make(part.options(**options), Context())) is cls


@pytest.mark.parametrize(
    ("cls", "name", "good", "bad"),
    [
        (PeakEWMA, "decay", 0.5, 0.0),
        (FieldHash, "load", 0, 99),
        (FieldHash, "load", 100, 1),
    ],
)
def test_optionsOutOfReasonAreRefused(cls, name, good, bad):
    check = getattr(attr.fields(cls.Options), name).metadata["check"]
    assert check(good) is None
    assert "must be" in check(bad)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (RoundRobin, {}),
        (LeastConn, {}),
        (Random, {}),
        (PeakEWMA, {}),
        (SourceHash, {}),
        (FieldHash, {"field": "X-User"}),
    ],
)
def test_serversThatAreGoneAreForgotten(cls, options):
    """Where servers come from a discovery, there are new ones all the time."""
    clock = Time()
    balancer = make(cls, clock, **options)
    servers = makeServers(*[1] * 40)
    gone = [weakref.ref(server) for server in servers[2:]]
    names(balancer, servers, 100)
    a, b = servers[:2]
    del servers
    for _ in range(5):
        clock.now += 1000.0
        names(balancer, (a, b), 2100)
    gc.collect()
    assert [server() for server in gone if server()] == []


def test_theLastFourTuplesAreKept():
    derived = []
    kept = Kept(lambda servers: derived.append(servers) or len(derived))
    tuples = [makeServers(1) for _ in range(5)]
    assert [kept(servers) for servers in tuples[:4]] == [1, 2, 3, 4]
    assert [kept(servers) for servers in tuples[:4]] == [1, 2, 3, 4]
    assert kept(tuples[0]) == 1
    assert kept(tuples[4]) == 5
    assert kept(tuples[0]) == 1, "used a moment ago"
    assert kept(tuples[1]) == 6, "the one not used for longest went"


# roundrobin


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ((1, 1, 1), "abcabc"),
        ((2, 1), "abaaba"),
        ((3, 2, 1), "abacbaabacba"),
        ((5, 1, 1), "abaaacaabaaaca"),
        ((1, 1, 8), "ccaccccbccccaccccbcc"),
    ],
)
def test_roundrobinInterleaves(weights, order):
    assert names(make(RoundRobin), makeServers(*weights), len(order)) == order


def test_roundrobinIsNeverMoreThanOneChoiceFromItsShare():
    """As nginx's smooth weighted round robin, after any number of choices."""
    for weights in product(range(1, 6), repeat=4):
        servers = makeServers(*weights)
        balancer = make(RoundRobin)
        total = sum(weights)
        had = Counter()
        for chosen in range(1, 2 * total + 1):
            had[balancer.choose(servers, None)] += 1
            for server in servers:
                assert abs(had[server] - chosen * server.weight / total) < 1
            if not chosen % total:
                assert all(had[s] * total == chosen * s.weight for s in servers)


def test_roundrobinHasNoRoundingThatAddsUp():
    servers = makeServers(3, 7, 113, 251, 256)
    balancer = make(RoundRobin)
    had = Counter(balancer.choose(servers, None) for _ in range(630 * 160))
    assert [had[server] for server in servers] == [160 * s.weight for s in servers]


def test_roundrobinGoesOnWhereServersComeAndGo():
    a, b, c, d, e = servers = makeServers(1, 1, 1, 1, 1)
    balancer = make(RoundRobin)
    assert names(balancer, servers, 7) == "abcdeab"
    assert names(balancer, (a, b, c, d), 4) == "cdab", "the turn is not lost"
    joined = names(balancer, (a, b, c, d, e), 10)
    assert sorted(joined) == sorted("abcde" * 2), "nobody has more for having been away"


def test_roundrobinKeepsThePlaceOfAServerThatWasAvoidedOnce():
    """An exchange that failed on C{b} goes elsewhere; the others do not notice."""
    a, _, c, d = servers = makeServers(1, 1, 1, 1)
    balancer = make(RoundRobin)
    assert names(balancer, servers, 2) == "ab"
    assert names(balancer, (a, c, d), 1) == "c"
    assert names(balancer, servers, 5) == "dabcd"


def test_roundrobinLetsNobodyCatchUp():
    """A server that was away for long comes back as a new one, and so do many."""
    servers = makeServers(*[1] * 8)
    balancer = make(RoundRobin)
    names(balancer, servers, 3)
    names(balancer, servers[:2], 1000)
    assert set(Counter(names(balancer, servers, 16)).values()) == {2}


def test_roundrobinFollowsAWeightAtOnce():
    a, b = makeServers(1, 1)
    balancer = make(RoundRobin)
    assert names(balancer, (a, b), 4) == "abab"
    b.weight = 9
    assert names(balancer, (a, b), 10) == "bbbbabbbbb"


def test_roundrobinIsFairWhileServersComeAndGo():
    """Each choice without some of the servers, by chance: nobody is forgotten."""
    dice = Dice(3)
    servers = makeServers(1, 1, 1, 1, 1)
    balancer = make(RoundRobin)
    had = Counter()
    for _ in range(20_000):
        there = tuple(s for s in servers if dice.random() < 0.5)
        if there:
            had[balancer.choose(there, None)] += 1
    share = had.total() / len(servers)
    assert all(abs(had[s] / share - 1) < 0.02 for s in servers)


# first, leastconn, random


def test_firstTakesTheFirst():
    a, b, c = makeServers(1, 5, 1)
    balancer = make(First)
    assert names(balancer, (a, b, c), 3) == "aaa"
    assert names(balancer, (b, c), 3) == "bbb", "a is at its limit"


def test_leastconnUsesIdleServersInTurn():
    servers = makeServers(1, 1, 1)
    assert names(make(LeastConn), servers, 7) == "abcabca"


def test_leastconnTurnsAmongThoseThatTie():
    servers = makeServers(1, 1, 1, 1)
    setLoads(servers, 1, 0, 1, 0)
    assert names(make(LeastConn), servers, 4) == "bdbd"


def test_leastconnKeepsItsTurnWhereServersComeAndGo():
    servers = makeServers(1, 1, 1, 1)
    balancer = make(LeastConn)
    assert names(balancer, servers, 2) == "ab"
    assert names(balancer, servers[:3], 1) == "c"
    assert names(balancer, servers, 2) == "da"


def test_leastconnCountsTheNewOne():
    """Weight 2 with one exchange and weight 1 with none are equal: 1 each."""
    servers = makeServers(2, 1)
    balancer = make(LeastConn)
    assert names(balancer, servers, 1) == "a"
    setLoads(servers, 1, 0)
    assert names(balancer, servers, 2) == "ba"
    setLoads(servers, 2, 0)
    assert names(balancer, servers, 2) == "bb"


def test_randomTakesTheLessLoadedOfTwo():
    servers = makeServers(1, 1)
    balancer = make(Random)
    setLoads(servers, 3, 2)
    assert set(names(balancer, servers, 50)) == {"b"}
    setLoads(servers, 2, 3)
    assert set(names(balancer, servers, 50)) == {"a"}


def test_randomWithOneDrawDoesNotLook():
    servers = makeServers(1, 1)
    setLoads(servers, 100, 0)
    assert set(names(make(Random, draws=1), servers, 50)) == {"a", "b"}


def test_randomWithMoreDrawsFindsTheIdleOneMoreOften():
    servers = makeServers(*[1] * 10)
    setLoads(servers, 0, *[5] * 9)
    found = [names(make(Random, draws=n), servers, 2000).count("a") / 2000 for n in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[1] == pytest.approx(0.2, abs=0.03)
    assert found[3] > 0.5


# peak-ewma


def test_peakEWMAReactsToAPeakAtOnce():
    clock = Time()
    balancer = make(PeakEWMA, clock)
    a, b = servers = makeServers(1, 1)
    for _ in range(100):
        finish(balancer, a, 0.010)
        finish(balancer, b, 0.012)
    assert names(balancer, servers, 5) == "aaaaa"
    finish(balancer, a, 0.5)
    assert names(balancer, servers, 5) == "bbbbb"
    finish(balancer, a, 0.010)
    assert names(balancer, servers, 5) == "bbbbb", "one good answer is not forgiveness"


def test_peakEWMAForgetsWithItsTimeConstant():
    """A peak of 1 s above answers of 10 ms: after 2 s of good ones 0.01 + 0.99 / e."""
    clock = Time()
    balancer = make(PeakEWMA, clock, decay=2.0)
    a, b = servers = makeServers(1, 1)
    finish(balancer, a, 1.0)
    for _ in range(20):
        clock.now += 0.1
        finish(balancer, a, 0.01)
    between = 0.01 + 0.99 / math.e
    finish(balancer, b, between * 0.99)
    assert names(balancer, servers, 3) == "bbb"
    finish(balancer, b, between * 1.01)
    assert names(balancer, servers, 3) == "aaa"


def test_peakEWMATriesASlowServerAgain():
    """Without news of C{a} it is taken to be like the others, and its load decides."""
    clock = Time()
    balancer = make(PeakEWMA, clock)
    a, b = servers = makeServers(1, 1)
    finish(balancer, a, 1.0)
    for _ in range(100):
        clock.now += 1.0
        finish(balancer, b, 0.01)
    setLoads(servers, 0, 1)
    assert names(balancer, servers, 1) == "a"


def test_peakEWMAWeighsLoadsAndWeights():
    balancer = make(PeakEWMA)
    a, b = servers = makeServers(1, 3)
    finish(balancer, a, 0.01)
    finish(balancer, b, 0.01)
    setLoads(servers, 1, 4)
    assert names(balancer, servers, 5) == "bbbbb"
    setLoads(servers, 1, 6)
    assert names(balancer, servers, 5) == "aaaaa"


def test_peakEWMAGoesByLoadsWhereLatenciesAreNil():
    balancer = make(PeakEWMA)
    a, b = servers = makeServers(1, 1)
    finish(balancer, a, 0.0)
    finish(balancer, b, 0.0)
    setLoads(servers, 1, 0)
    assert names(balancer, servers, 9) == "b" * 9


def test_peakEWMASendsOneProbe():
    clock = Time()
    balancer = make(PeakEWMA, clock, decay=10.0)
    servers = makeServers(1, 1)
    finish(balancer, servers[0], 0.5)
    setLoads(servers, 9, 0)
    assert names(balancer, servers, 4) == "baaa", "b was asked and has not answered"
    clock.now += 9.9
    assert names(balancer, servers, 2) == "aa"
    clock.now += 0.1
    assert names(balancer, servers, 2) == "bb", "unknown for long: like all, so load decides"


def test_peakEWMAGoesByLoadsWhileNothingIsKnown():
    balancer = make(PeakEWMA)
    servers = makeServers(1, 1)
    assert sorted(names(balancer, servers, 2)) == ["a", "b"]
    setLoads(servers, 1, 0)
    assert names(balancer, servers, 3) == "bbb"
    setLoads(servers, 1, 2)
    assert names(balancer, servers, 3) == "aaa"


@pytest.mark.parametrize(
    ("status", "answered"), [(503, True), (500, True), (503, False), (0, False)]
)
def test_peakEWMADoesNotTakeFailureForSpeed(status, answered):
    clock = Time()
    balancer = make(PeakEWMA, clock)
    a, b = servers = makeServers(1, 1)
    finish(balancer, a, 0.02)
    for _ in range(50):
        clock.now += 1.0
        finish(balancer, b, 0.01)
        finish(balancer, a, 0.0001, status, answered=answered)
    assert names(balancer, servers, 3) == "bbb"


@pytest.mark.parametrize(("status", "answered"), [(504, True), (504, False), (0, False)])
def test_peakEWMATakesATimeoutForSlowness(status, answered):
    balancer = make(PeakEWMA)
    a, b = servers = makeServers(1, 1)
    finish(balancer, a, 0.01)
    finish(balancer, b, 0.02)
    finish(balancer, a, 50.0, status, answered=answered)
    assert names(balancer, servers, 3) == "bbb"


def test_peakEWMATakesTheTimeToConnectOfASession():
    balancer = make(PeakEWMA)
    a, b = servers = makeServers(1, 1)
    finish(balancer, a, 0.020, status=0, target=None)
    finish(balancer, b, 0.010, status=0, target=None)
    assert names(balancer, servers, 3) == "bbb"
    finish(balancer, b, 0.030, status=0, target=None)
    assert names(balancer, servers, 3) == "aaa"


def test_peakEWMAForgetsServersThatLeft():
    """After eight times C{decay} a server that comes back is a new one."""
    clock = Time()
    balancer = make(PeakEWMA, clock, decay=1.0)
    a, b = servers = makeServers(1, 1)
    for away, asked in ((7.0, "aaa"), (8.1, "baa")):
        setLoads(servers, 0, 0)
        finish(balancer, a, 0.01)
        finish(balancer, b, 9.0)
        names(balancer, (a,), 1)
        clock.now += away
        finish(balancer, a, 0.001)
        names(balancer, (a,), 1)
        setLoads(servers, 0, 9)
        assert names(balancer, servers, 3) == asked


# source, uri, hash


KEYS = [f"198.51.{i >> 8}.{i & 255}" for i in range(20_000)]


def owners(balancer, servers):
    return [balancer.choose(servers, fakeExchange(None, client=key)) for key in KEYS]


def test_sourceIsTheSameInEveryProcess():
    """Written down: another version that chooses otherwise loses every session."""
    exchanges = [fakeExchange(client=f"192.0.2.{i}") for i in range(20)]
    assert names(make(SourceHash), makeServers(1, 1, 1), exchanges) == "acbbcbcbbabbbaaabacb"


def test_sourceTakesTheAddressAlone():
    servers = makeServers(1, 1, 1, 1)
    balancer = make(SourceHash)
    for client in KEYS[:50]:
        requests = [
            fakeExchange("/a", client=client),
            fakeExchange("/b", {"X-User": "u"}, client=client),
            fakeExchange(None, client=client),
        ]
        assert len(set(names(balancer, servers, requests))) == 1


def test_onlyTheKeysOfALostServerMove():
    servers = makeServers(*[1] * 10)
    balancer = make(SourceHash)
    before = owners(balancer, servers)
    for lost in servers:
        rest = tuple(server for server in servers if server is not lost)
        after = owners(balancer, rest)
        moved = [old for old, new in zip(before, after, strict=True) if old is not new]
        assert set(moved) == {lost}
        assert len(moved) <= 1.2 / len(servers) * len(KEYS)
    assert owners(balancer, servers) == before


def test_aNewServerTakesKeysOnlyForItself():
    servers = makeServers(*[1] * 10)
    balancer = make(SourceHash)
    before = owners(balancer, servers[:9])
    after = owners(balancer, servers)
    assert {new for old, new in zip(before, after, strict=True) if old is not new} == {servers[9]}


def test_moreWeightTakesKeysAndGivesNone():
    a, b, c = makeServers(1, 1, 1)
    balancer = make(SourceHash)
    before = owners(balancer, (a, b, c))
    b.weight = 2
    after = owners(balancer, (a, b, c))
    assert {new for old, new in zip(before, after, strict=True) if old is not new} == {b}


def test_aRingAskedForSomeAnswersAsOneOfThose():
    servers = makeServers(1, 2, 3, 1, 2, 3)
    seasoned = make(SourceHash)
    owners(seasoned, servers)
    for there in (servers[:3], servers[2:3], servers[1::2]):
        assert owners(seasoned, there) == owners(make(SourceHash), there)


@pytest.mark.parametrize(
    ("target", "key", "wholeKey"),
    [
        ("/a/b", "/a/b", "/a/b"),
        ("/a/b?x=1", "/a/b", "/a/b?x=1"),
        ("/a/b?", "/a/b", "/a/b?"),
        ("/a?u=http://h/b", "/a", "/a?u=http://h/b"),
        ("http://www.example.com/a/b?x=1", "/a/b", "/a/b?x=1"),
        ("http://www.example.com", "/", "/"),
    ],
)
def test_uriTakesThePath(target, key, wholeKey):
    """Compared on so many servers that two keys hardly meet by chance."""
    servers = makeServers(*[1] * 100)
    for whole, same in ((False, key), (True, wholeKey)):
        balancer = make(URIHash, whole=whole)
        found = {balancer.choose(servers, fakeExchange(t)) for t in (target, same)}
        assert len(found) == 1
        if key != wholeKey:
            other = wholeKey if not whole else key
            same = balancer.choose(servers, fakeExchange(other)) in found
            assert same is not whole


def test_uriTakesOtherFormsWhole():
    """C{OPTIONS *} has no path."""
    servers = makeServers(*[1] * 100)
    balancer = make(URIHash)
    clients = [fakeExchange("*", method="OPTIONS", client=key) for key in KEYS[:20]]
    assert len({balancer.choose(servers, exchange) for exchange in clients}) == 1


@pytest.mark.parametrize(("cls", "options"), [(URIHash, {}), (FieldHash, {"field": "X-User"})])
def test_withoutARequestTheAddressIsTaken(cls, options):
    servers = makeServers(1, 2, 1, 5)
    assert owners(make(cls, **options), servers) == owners(make(SourceHash), servers)


def test_hashTakesTheField():
    servers = makeServers(*[1] * 100)
    balancer = make(FieldHash, field="X-User")
    found = [
        balancer.choose(servers, fakeExchange("/", {field: "alice"}, client=client))
        for field in ("X-User", "x-user")
        for client in KEYS[:10]
    ]
    assert len(set(found)) == 1
    assert balancer.choose(servers, fakeExchange("/", {"X-User": "bob"})) not in found


@pytest.mark.parametrize("fields", [{}, {"X-User": ""}, {"X-Users": "alice"}])
def test_hashWithoutTheFieldGoesInTurn(fields):
    exchanges = [fakeExchange("/", fields)] * 6
    assert names(make(FieldHash, field="X-User"), makeServers(1, 1, 1), exchanges) == "abcabc"


@pytest.mark.parametrize("load", [100, 125, 200])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1), (1, 2, 3, 4)])
def test_aBoundedLoadIsNeverExceeded(load, weights):
    """Half of all exchanges have one key, the others few: no server has too many."""
    dice = Dice(9)
    servers = makeServers(*weights)
    balancer = make(FieldHash, field="X-User", load=load)
    free = make(FieldHash, field="X-User")
    running = deque()
    total = sum(weights)
    atHome = 0
    for _ in range(5000):
        user = "same" if dice.random() < 0.5 else str(dice.randrange(20))
        exchange = fakeExchange("/", {"X-User": user})
        server = balancer.choose(servers, exchange)
        atHome += server is free.choose(servers, exchange)
        server.active += 1
        running.append(server)
        share = len(running) * server.weight / total
        assert server.active <= math.ceil(load / 100 * share)
        while len(running) > 30 or (running and dice.random() < 0.4):
            running.rotate(dice.randrange(len(running)))
            running.popleft().active -= 1
    assert atHome > 1000, "keys stay where they belong while there is room"


def test_aBoundedLoadPassesOnToTheNext():
    """As if the server that has too much were away."""
    servers = makeServers(1, 1, 1, 1)
    exchange = fakeExchange("/", {"X-User": "alice"})
    home = make(FieldHash, field="X-User").choose(servers, exchange)
    rest = tuple(server for server in servers if server is not home)
    following = make(FieldHash, field="X-User").choose(rest, exchange)
    balancer = make(FieldHash, field="X-User", load=150)
    setLoads(servers, 2, 2, 2, 2)
    assert balancer.choose(servers, exchange) is home
    home.active = 20
    assert balancer.choose(servers, exchange) is following


# How they spread


def spread(balancer, servers, choices=100_000, lasting=1000):
    """
    @param lasting: an exchange ends when so many more were chosen.
    @return: how far the server that is furthest from its share is off, by it.
    """
    had = Counter()
    running = deque()
    finished = getattr(balancer, "exchangeFinished", None)
    exchange = fakeExchange()
    exchange.assignedAt = 1.0
    exchange.respondedAt = 1.01
    exchange.status = 200
    for _ in range(choices):
        server = balancer.choose(servers, exchange)
        had[server] += 1
        server.active += 1
        running.append(server)
        if len(running) > lasting:
            server = running.popleft()
            if finished:
                exchange.server = server
                finished(exchange)
            server.active -= 1
    total = sum(server.weight for server in servers)
    return max(abs(had[s] * total / (choices * s.weight) - 1) for s in servers)


@pytest.mark.parametrize(
    ("cls", "options"),
    [(RoundRobin, {}), (LeastConn, {}), (Random, {}), (Random, {"draws": 1}), (PeakEWMA, {})],
)
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1, 1), (4, 3, 2, 1)])
def test_theSpreadIsWithinTwoPercentOfTheWeights(cls, options, weights):
    assert spread(make(cls, **options), makeServers(*weights)) < 0.02


def spreadOfKeys(balancer, servers):
    """@return: as L{spread}, of 100,000 keys."""
    had = Counter()
    for i in range(100_000):
        client = SimpleNamespace(client=(f"198.{i >> 16}.{i >> 8 & 255}.{i & 255}", 50000))
        had[balancer.choose(servers, SimpleNamespace(connection=client))] += 1
    total = sum(server.weight for server in servers)
    return max(abs(had[s] * total / (100_000 * s.weight) - 1) for s in servers)


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1, 1), (4, 3, 2, 1), (1,) * 20])
def test_theSpreadOfARingIsWithinThreeDeviations(weights):
    """256 points for each weight: 1 / sqrt(256) is one standard deviation, 6%."""
    assert spreadOfKeys(make(SourceHash), makeServers(*weights)) < 3 / 16


@pytest.mark.parametrize("function", ["blake2", "crc32"])
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1, 1), (4, 3, 2, 1)])
def test_theSpreadByRemainderIsWithinTwoPercentOfTheWeights(weights, function):
    """Of a table only the keys themselves deviate: of 10,000 by 1% in the deviation."""
    balancer = make(SourceHash, map=True, function=function)
    assert spreadOfKeys(balancer, makeServers(*weights)) < (0.02 if len(weights) < 4 else 0.03)


# How they carry load


def latencies(cls, slowness, rate, exchanges=20_000):
    """
    Four servers, each with four workers and a queue, C{rate} exchanges a second
    that take 10 ms on average, on the last server C{slowness} times as long.

    @return: the sorted seconds that all exchanges took.
    """
    dice = Dice(7)
    clock = Time()
    balancer = make(cls, clock)
    finished = getattr(balancer, "exchangeFinished", None)
    servers = makeServers(1, 1, 1, 1)
    free = dict.fromkeys(servers, 4)
    queues = {server: deque() for server in servers}
    took = []
    number = count()
    events = [(clock.now, next(number), None)]
    arrived = 0

    def start(exchange):
        server = exchange.server
        free[server] -= 1
        seconds = dice.expovariate(100.0) * (slowness if server is servers[-1] else 1)
        heapq.heappush(events, (clock.now + seconds, next(number), exchange))

    while events:
        clock.now, _, exchange = heapq.heappop(events)
        if exchange is None:
            arrived += 1
            if arrived < exchanges:
                following = clock.now + dice.expovariate(rate)
                heapq.heappush(events, (following, next(number), None))
            exchange = fakeExchange(startedAt=clock.now)
            exchange.server = server = balancer.choose(servers, exchange)
            exchange.assignedAt = clock.now
            server.active += 1
            if free[server]:
                start(exchange)
            else:
                queues[server].append(exchange)
            continue
        server = exchange.server
        exchange.respondedAt = exchange.finishedAt = clock.now
        exchange.status = 200
        took.append(clock.now - exchange.assignedAt)
        if finished:
            finished(exchange)
        server.active -= 1
        free[server] += 1
        if queues[server]:
            start(queues[server].popleft())
    return sorted(took)


# In the second case the slow server cannot do a quarter of the work.
@pytest.mark.parametrize(("slowness", "rate"), [(3, 300.0), (10, 600.0)])
def test_withASlowServerItPaysToLook(slowness, rate):
    """At the 99th percentile, and those who see latencies do better again."""
    at99 = {}
    for cls in (RoundRobin, LeastConn, Random, PeakEWMA):
        took = latencies(cls, slowness, rate)
        assert len(took) == 20_000
        at99[cls] = took[19_800]
    assert max(at99[LeastConn], at99[Random]) < 0.85 * at99[RoundRobin]
    assert at99[PeakEWMA] < 0.8 * at99[LeastConn]
