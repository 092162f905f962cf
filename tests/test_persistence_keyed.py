"""Kinds of persistence that know clients by a key: what the key is, and who shares it."""

from unittest import TestCase

import attr
import pytest
from bonds import World
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from lbtwist.persistence.hashed import Hash
from lbtwist.persistence.keyed import (
    CLAIMED,
    LONGEST,
    Destination,
    Expression,
    Header,
    Keyed,
    Parameter,
    Source,
    bounded,
)
from lbtwist.rules.template import Template
from lbtwist.testing import PersistenceContract, ReturningClient, fakeExchange


def knows(kind, exchange, options=None, **more):
    """@return: the key of an exchange, as the store has it; L{None} where there is none."""
    world = World((kind, options or {}), **more)
    exchange.bond = None
    world.passes(exchange, "a")
    keys = [key for key, _, _ in world.store.entries()]
    assert len(keys) <= 1
    return keys[0] if keys else None


def same(kind, options, one, other, **more):
    """Whether two exchanges are known by one key."""
    return knows(kind, one, options, **more) == knows(kind, other, options, **more)


# addresses


def address(client):
    return fakeExchange(client=client)


@pytest.mark.parametrize(
    ("options", "one", "other", "equal"),
    [
        ({}, "192.0.2.1", "192.0.2.1", True),
        ({}, "192.0.2.1", "192.0.2.2", False),
        ({"mask": 24}, "192.0.2.1", "192.0.2.254", True),
        ({"mask": 24}, "192.0.2.1", "192.0.3.1", False),
        ({"mask": 25}, "192.0.2.127", "192.0.2.128", False),
        ({"mask": 1}, "1.2.3.4", "127.255.255.255", True),
        ({"mask": 24}, "2001:db8::1", "2001:db8::2", False),
        ({"mask6": 64}, "2001:db8::1", "2001:db8::ffff:1", True),
        ({"mask6": 64}, "2001:db8::1", "2001:db8:0:1::1", False),
        ({"mask6": 64}, "192.0.2.1", "192.0.2.2", False),
        ({"mask6": 64}, "fe80::1%eth0", "fe80::2%eth1", True),
        ({"mask": 24, "mask6": 56}, "0.0.0.1", "0.0.0.2", True),
    ],
)
def test_networks(options, one, other, equal):
    assert same("source", options, address(one), address(other)) is equal


@pytest.mark.parametrize("kind", ["source", "destination"])
@pytest.mark.parametrize("options", [{}, {"mask": 24}])
def test_clientsOfAUNIXSocketAreNotAllTheSame(kind, options):
    """They have no address, so nobody knows them by it."""
    exchange = address("unix")
    exchange.connection = attr.evolve(exchange.connection, local=("unix", 0))
    assert knows(kind, exchange, options) is None


def test_thePortIsNobodys():
    one, other = address("192.0.2.1"), address("192.0.2.1")
    other.connection = attr.evolve(other.connection, client=("192.0.2.1", 1))
    assert same("source", {}, one, other)


def test_destination():
    def to(host):
        exchange = fakeExchange()
        exchange.connection = attr.evolve(exchange.connection, local=(host, 80))
        return exchange

    assert same("destination", {}, to("198.51.100.1"), to("198.51.100.1"))
    assert not same("destination", {}, to("198.51.100.1"), to("198.51.100.2"))
    assert same("destination", {"mask": 24}, to("198.51.100.1"), to("198.51.100.2"))


@given(st.ip_addresses(v=4), st.integers(1, 32))
def test_masksAreThoseOfNetworks(host, mask):
    """The same as C{ipaddress} says: two addresses are one client where their networks are."""
    from ipaddress import ip_network

    network = ip_network((host, mask), strict=False)
    first, last = str(network[0]), str(network[-1])
    assert same("source", {"mask": mask}, address(first), address(last))
    if mask > 1:
        beyond = str(type(host)(int(network[0]) ^ (1 << (32 - mask))))
        assert not same("source", {"mask": mask}, address(first), address(beyond))


# fields, parameters, expressions


@pytest.mark.parametrize("value", ["", None])
def test_aFieldThatSaysNothing(value):
    fields = {} if value is None else {"X-User": value}
    assert knows("header", fakeExchange(fields=fields), {"name": "X-User"}) is None


def test_fields():
    def user(value, name="X-User"):
        return fakeExchange(fields={name: value})

    options = {"name": "X-User"}
    assert same("header", options, user("joe"), user("joe", "x-uSER"))
    assert not same("header", options, user("joe"), user("Joe"))
    assert same("header", {"name": "x-user"}, user("joe"), user("joe"))


def test_ofSeveralFieldsTheLast():
    exchange = fakeExchange(fields={"X-User": "joe"})
    exchange.request.fields.add(b"X-User", b"ann")
    assert same("header", {"name": "X-User"}, exchange, fakeExchange(fields={"X-User": "ann"}))


@pytest.mark.parametrize(
    ("name", "one", "other", "equal"),
    [
        ("user", "/?user=a", "/x/y?user=a&b=c", True),
        ("user", "/?user=a", "/?user=b", False),
        ("user", "/?user=a&user=b", "/?user=a", True),
        ("user", "/?user=%61", "/?user=a", True),
        ("us er", "/?us+er=a", "/?us%20er=a", True),
        ('"}{', "/?%22%7D%7B=a", "/?%22%7d%7b=a", True),
        ("\\", "/?%5c=a", "/?%5C=a", True),
        ("ä", "/?%C3%A4=a", "/?%c3%a4=a", True),
    ],
)
def test_parameters(name, one, other, equal):
    first, second = fakeExchange(one), fakeExchange(other)
    assert knows("parameter", first, {"name": name}) is not None
    assert same("parameter", {"name": name}, first, second) is equal


@pytest.mark.parametrize("target", ["/", "/?", "/?user", "/?user=", "/?USER=a", "*"])
def test_noParameter(target):
    method = "OPTIONS" if target == "*" else "GET"
    assert knows("parameter", fakeExchange(target, method=method), {"name": "user"}) is None


def test_expressions():
    options = {"key": Template.parse("{host}/{header['X-User']}")}
    exchange = fakeExchange(fields={"X-User": "joe"})
    assert b"www.example.com/joe" in knows("expression", exchange, options)


def test_expressionsOfSessions():
    options = {"key": Template.parse("{src}")}
    exchange = fakeExchange(None, client="192.0.2.7")
    assert b"192.0.2.7" in knows("expression", exchange, options, http=False)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("header", {"name": "X-User"}), ("parameter", {"name": "user"}), ("learn", {"name": b"SID"}),
     ("hash", {"field": "X-User"})],
)  # fmt: skip
def test_sessionsHaveNoRequest(kind, options):
    """A pool for both never gets here: this is the second line of defence."""
    world = World((kind, options))
    found = world.recalls(fakeExchange(None))
    assert found is None or kind == "hash"


# keys


@given(st.binary(min_size=1, max_size=300), st.sampled_from([b"", b"s:", b"h:123456"]))
def test_noKeyIsLongerThanTheBound(said, label):
    key = bounded(label, said)
    assert len(key) <= LONGEST
    assert key.startswith(label)


@given(one=st.binary(min_size=1, max_size=150), other=st.binary(min_size=1, max_size=150))
def test_keysOfDifferentTextsAreDifferent(one, other):
    assert (bounded(b"h:", one) == bounded(b"h:", other)) is (one == other)


@given(st.binary(min_size=LONGEST, max_size=200))
def test_nobodySendsTheHashOfAnother(said):
    """Who knows what a client is known by can be that client; who knows its hash cannot."""
    key = bounded(b"h:", said)
    assert bounded(b"h:", key.removeprefix(b"h:")) != key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("header", {"name": "X-User"}), ("header", {"name": "X-Tenant"})),
        (("parameter", {"name": "a"}), ("parameter", {"name": "b"})),
        (("learn", {"name": b"A"}), ("learn", {"name": b"B"})),
        (("expression", {"key": Template.parse("{header['X-User']}")}),
         ("expression", {"key": Template.parse("{header['X-Tenant']}")})),
        (("header", {"name": "X-User"}), ("parameter", {"name": "a"})),
        (("source", {}), ("destination", {})),
    ],
)  # fmt: skip
def test_kindsShareAStoreAndNoKeys(one, other):
    """What one knows a client by is nothing to the other, though it reads the same."""
    exchange = fakeExchange(
        "/?a=5&b=5", {"X-User": "5", "X-Tenant": "5", "Cookie": "A=5; B=5"}, client="192.0.2.80"
    )
    first = World(one)
    second = World(other, store=first.store)
    for kind in (*first.kinds.values(), *second.kinds.values()):
        kind.learn(kind._of(exchange), "a")
    assert first.store.size == 2


# time, and counting


def test_whoIsNotSeenForLongIsForgotten():
    world = World(("source", {"expire": 60.0}))
    world.passes(fakeExchange(), "b")
    for _ in range(3):
        world.clock.advance(50)
        assert world.recalls(fakeExchange()) == "b", "each time it is known for longer"
    world.clock.advance(60.2)
    assert world.recalls(fakeExchange()) is None


def test_aClaimThatNobodyConfirmsRunsOut():
    """As where the client goes away while its server is being connected to."""
    world = World(("source", {"expire": 3600.0}))
    exchange = fakeExchange()
    assert world.recalls(exchange) is None
    world.chooses(exchange, "b")
    world.clock.advance(CLAIMED + 0.2)
    assert world.recalls(fakeExchange()) is None


def test_aLateClaimMakesNothingShorter():
    """Two first exchanges: when the one that waited has its server the other has it long since."""
    world = World(("source", {"expire": 3600.0}))
    early, late = fakeExchange(), fakeExchange()
    assert world.recalls(early) is world.recalls(late) is None
    world.chooses(early, "b")
    world.answers(early)
    assert world.chooses(late, "b") == "b"
    world.clock.advance(CLAIMED + 10)
    assert world.recalls(fakeExchange()) == "b"


def test_hitsAndMisses():
    world = World(("source", {}))
    world.passes(fakeExchange(), "b")
    world.passes(fakeExchange(), "b")
    world.chain.foresee(fakeExchange())
    kind = world.kinds["source"]
    assert (kind.hits, kind.misses) == (1, 1)
    assert repr(kind) == "<Source 1 hits 1 misses>"


def test_hitsOfAStoreThatTakesItsTime():
    class Slow:
        def get(self, key, ttl):
            return waits

    world = World(("source", {}), store=Slow())
    for said in ("b", None):
        waits = Deferred()
        world.chain.recall(fakeExchange())
        waits.callback(said)
    kind = world.kinds["source"]
    assert (kind.hits, kind.misses) == (1, 1)


def test_whoCannotBeKnownCostsTheStoreNothing():
    world = World(("header", {"name": "X-User"}))
    world.passes(fakeExchange(), "a")
    assert world.store.size == 0
    assert (world.kinds["header"].hits, world.kinds["header"].misses) == (0, 0)


def test_whatAKindByKeyMustSay():
    with pytest.raises(NotImplementedError):
        Keyed(Source.Options(), World(("source", {})).context)


# hash


def hashing(weights=(1, 1, 1), **options):
    return World(("hash", options or {"field": "X-User"}), weights=weights)


def user(number):
    return fakeExchange(fields={"X-User": f"user{number}"})


def test_hashRemembersNothingAndKnowsEverybody():
    world, other = hashing(), hashing()
    had = [world.recalls(user(number)) for number in range(50)]
    assert set(had) == {"a", "b", "c"}
    assert [other.recalls(user(number)) for number in reversed(range(50))] == had[::-1]
    assert world.store.size == 0
    assert world.chain.bound(world.server("a")) == -1
    assert repr(world.kinds["hash"]) == "<Hash>"


def test_hashMovesOnlyThoseWhoseServerIsAway():
    world = hashing()
    had = {number: world.recalls(user(number)) for number in range(50)}
    world.server("b").health.up = False
    world.changed()
    now = {number: world.recalls(user(number)) for number in range(50)}
    assert "b" not in now.values()
    assert all(now[number] == name for number, name in had.items() if name != "b")


def test_hashAndServersThatDrain():
    """They keep their clients; without a weight a server has no place among the others."""
    world = hashing()
    had = [world.recalls(user(number)) for number in range(50)]
    world.server("b").health.admin = "drain"
    world.changed()
    assert [world.recalls(user(number)) for number in range(50)] == had
    world.server("b").weight = 0
    world.changed()
    assert "b" not in [world.recalls(user(number)) for number in range(50)]


def test_hashByTheWeightsOfNow():
    """One that starts slowly has a small weight at first."""
    world = hashing((1, 0.01))
    assert [world.recalls(user(number)) for number in range(50)].count("b") < 5
    world.server("b").weight = 1
    world.changed()
    anew = hashing((1, 1))
    for number in range(50):
        assert world.recalls(user(number)) == anew.recalls(user(number))


@pytest.mark.parametrize("weights", [(), (0,), (0, 0)])
def test_hashWithoutAServerOfAnyWeight(weights):
    assert hashing(weights).recalls(user(1)) is None


def test_hashLeavesBackupsToTheBalancer():
    world = hashing((1, 1))
    world.server("b").backup = True
    world.changed()
    assert {world.recalls(user(number)) for number in range(20)} == {"a"}
    world.server("a").health.up = False
    world.changed()
    assert world.recalls(user(1)) is None


def test_hashOfNothing():
    assert hashing().recalls(fakeExchange()) is None
    assert hashing(by=Template.parse("{query['q']}")).recalls(fakeExchange("/?q=")) is None


# contracts


class _Contract(PersistenceContract):
    def makePersistence(self, context):
        return self.kind(self.kind.Options(**self.options), context)


class SourceContractTests(_Contract, TestCase):
    kind, options = Source, {}


class NetworkContractTests(_Contract, TestCase):
    """Each client is a network."""

    kind, options = Source, {"mask": 31}

    def makeClient(self, number):
        return ReturningClient(2 * number)


class DestinationContractTests(_Contract, TestCase):
    kind, options = Destination, {}

    def makeClient(self, number):
        class Client(ReturningClient):
            def asks(self):
                exchange = super().asks()
                local = (f"198.51.100.{self.number}", 80)
                exchange.connection = attr.evolve(exchange.connection, local=local)
                return exchange

        return Client(number)


class HeaderContractTests(_Contract, TestCase):
    kind, options = Header, {"name": "X-User"}


class ParameterContractTests(_Contract, TestCase):
    kind, options = Parameter, {"name": "user"}


class ExpressionContractTests(_Contract, TestCase):
    kind, options = Expression, {"key": Template.parse("{src}/{query['user']}")}


class HashContractTests(_Contract, TestCase):
    kind, options = Hash, {"field": "X-User"}
    remembers = False
