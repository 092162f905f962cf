"""Persistence by the sessions that servers make: what is learnt, from whom, and what is not."""

from unittest import TestCase

import pytest
from bonds import World

from lbtwist.persistence.learn import Learn
from lbtwist.testing import PersistenceContract, ReturningClient, fakeExchange


def world(*more, **options):
    return World(("learn", {"name": b"JSESSIONID", **options}), *more)


def shows(session, target="/", name="JSESSIONID"):
    """@return: an exchange whose client has a session."""
    return fakeExchange(target, {"Cookie": f"a=b; {name}={session}; c=d"})


def begins(world, session, name):
    """A new client gets a session of this server."""
    return world.passes(fakeExchange(), name, f"JSESSIONID={session}; Path=/; HttpOnly")


def test_whoShowsASessionComesToItsServer():
    here = world()
    begins(here, "one", "a")
    begins(here, "two", "b")
    assert here.recalls(shows("one")) == "a"
    assert here.recalls(shows("two")) == "b"
    assert here.recalls(fakeExchange()) is None


def test_theCookieOfTheServerIsNotTouched():
    _, got = begins(world(), "one", "a")
    assert got == ["JSESSIONID=one; Path=/; HttpOnly"]


def test_aNewSessionOfAKnownClient():
    here = world()
    begins(here, "one", "a")
    exchange = shows("one")
    assert here.passes(exchange, "c", "JSESSIONID=two") == ("a", ["JSESSIONID=two"])
    assert here.recalls(shows("two")) == "a"


@pytest.mark.parametrize(
    "line",
    ["JSESSIONID=", "JSESSIONID", "=one", "jsessionid=one", "JSESSIONIDS=one", "x=JSESSIONID=one",
     'JSESSIONID=""', "JSESSIONID=; Max-Age=0"],
)  # fmt: skip
def test_whatIsNoSession(line):
    here = world()
    here.passes(fakeExchange(), "a", line)
    assert here.store.size == 0


@pytest.mark.parametrize(
    "line", ["JSESSIONID=one", ' JSESSIONID = "one" ;Path=/', "JSESSIONID=one;"]
)
def test_waysToWriteIt(line):
    here = world()
    here.passes(fakeExchange(), "a", line)
    assert here.recalls(shows("one")) == here.recalls(shows('"one"')) == "a"


def test_severalSessionsInOneResponse():
    here = world()
    here.passes(fakeExchange(), "a", "JSESSIONID=one", "theme=dark", "JSESSIONID=two; Path=/shop")
    assert here.recalls(shows("one")) == here.recalls(shows("two")) == "a"
    assert here.store.size == 2


def test_length():
    """HAProxy's C{appsession len}: what follows, as C{.worker3}, may change."""
    here = world(length=3)
    begins(here, "one.worker3", "a")
    assert here.recalls(shows("one.worker4")) == "a"
    assert here.recalls(shows("on")) is None


# the path


@pytest.mark.parametrize(
    "target",
    ["/cart;JSESSIONID=one", "/cart;jsessionid=one", "/a;x=y;jsessionid=one?q=1",
     "/cart;JSESSIONID=one;x=y", "/cart;jsessionid=one/more"],
)  # fmt: skip
def test_pathParameter(target):
    here = world(path_parameter=True)
    begins(here, "one", "b")
    assert here.recalls(fakeExchange(target)) == "b"


@pytest.mark.parametrize(
    "target",
    ["/cart?;JSESSIONID=one", "/cart;JSESSIONID=", "/JSESSIONID=one", "/cart;JSESSIONID?one",
     "/cart;XJSESSIONID=one"],
)  # fmt: skip
def test_noPathParameter(target):
    here = world(path_parameter=True)
    begins(here, "one", "b")
    assert here.recalls(fakeExchange(target)) is None


def test_thePathIsNotLookedAtUnasked():
    here = world()
    begins(here, "one", "b")
    assert here.recalls(fakeExchange("/cart;JSESSIONID=one")) is None


def test_theCookieCountsBeforeThePath():
    here = world(path_parameter=True)
    begins(here, "one", "a")
    begins(here, "two", "b")
    assert here.recalls(shows("one", "/;JSESSIONID=two")) == "a"


# sessions that nobody knows


def test_anUnknownSessionIsNotLearntFromARequest():
    """Otherwise whoever makes them up could fill the store."""
    here = world()
    here.passes(shows("made-up"), "c")
    assert here.store.size == 0


def test_requestLearn():
    here = world(request_learn=True)
    here.passes(shows("unknown"), "c")
    assert here.recalls(shows("unknown")) == "c"


def test_parallelRequestsOfAnUnknownSession():
    here = world(request_learn=True)
    first, second = shows("unknown"), shows("unknown")
    assert here.recalls(first) is here.recalls(second) is None
    assert here.chooses(first, "c") == "c"
    assert here.chooses(second, "a") == "c"


def test_anUnknownSessionIsNotLearntFromOtherKinds():
    """As where a client's address is known, and its cookies are made up."""
    here = world(("source", {}))
    begins(here, "one", "a")
    for number in range(5):
        assert here.passes(shows(f"made-up{number}"), "c")[0] == "a"
    assert here.store.size == 2


def test_aKnownSessionIsMovedByOtherKinds():
    """Cookie or source decide first: the session learns where its client is now."""
    here = World(("source", {}), ("learn", {"name": b"JSESSIONID"}))
    begins(here, "one", "a")
    here.server("a").health.up = False
    here.changed()
    assert here.passes(shows("one"), "b")[0] == "b"
    here.server("a").health.up = True
    here.changed()
    other = shows("one")
    other.connection = fakeExchange(client="198.51.100.1").connection
    assert here.recalls(other) == "b"


def test_aSessionMovesWithItsClient():
    """Its server is down: whoever shows it goes to one other server, not to any."""
    here = world()
    begins(here, "one", "a")
    here.server("a").health.up = False
    here.changed()
    parallel = [shows("one") for _ in range(3)]
    assert [here.recalls(one) for one in parallel] == [None] * 3
    assert [here.chooses(one, name) for one, name in zip(parallel, "bcb", strict=True)] == ["b"] * 3
    for one in parallel:
        here.answers(one)
    here.server("a").health.up = True
    here.changed()
    assert here.recalls(shows("one")) == "b"


def test_whatIsIgnoredIsNotLearnt():
    here = world()
    exchange = fakeExchange()
    exchange.settings = {"persist": "ignore"}
    here.passes(exchange, "a", "JSESSIONID=one")
    assert here.store.size == 0


class _Contract(PersistenceContract):
    options = {}

    def makePersistence(self, context):
        return Learn(Learn.Options(b"SESSION", **self.options), context)


class LearnContractTests(_Contract, TestCase):
    learns = True


class RequestLearnContractTests(_Contract, TestCase):
    """Clients have their sessions from elsewhere."""

    options = {"request_learn": True}

    def makeClient(self, number):
        client = ReturningClient(number)
        client.cookies[b"SESSION"] = b"of%d" % number
        return client


class PathParameterContractTests(RequestLearnContractTests):
    """Clients without cookies, whose session is in the path."""

    options = {"request_learn": True, "path_parameter": True}

    def makeClient(self, number):
        class Client(ReturningClient):
            def asks(self):
                return fakeExchange(f"/shop;SESSION=of{self.number}")

            def gets(self, exchange):
                """Cookies are not accepted."""

        return Client(number)
