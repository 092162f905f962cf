"""
One of two servers that were asked the same fails, or both do: who is waited for, and who is
asked then.
"""

from types import SimpleNamespace

import pytest
from hedged import ASKED, SOON, both, hedging, logged, traffic
from resent import ALL, BUSY, counts
from spoken import GET, OK, answered, asks

# the second fails


SECOND = {
    "closed": lambda balancer, b: b.closes(),
    "reset": lambda balancer, b: b.resets(),
    "not HTTP": lambda balancer, b: b.sends(b"what?\r\n"),
    "half a head": lambda balancer, b: (b.sends(b"HTTP/1.1 2"), b.closes()),
    "an upgrade": lambda balancer, b: b.sends(
        b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    ),
    "503": lambda balancer, b: b.sends(BUSY),
    "half a 503": lambda balancer, b: b.sends(BUSY[:-1]),
    "ended": lambda balancer, b: balancer.running.pool("app").find("b").sessions.copy().pop()
    .abortSession("K"),
}  # fmt: skip


@pytest.mark.parametrize("fails", SECOND.values(), ids=SECOND)
def test_theSecondFails(fails):
    """The first is waited for, and nothing else is done."""
    with hedging("a", "b", "c", pool=f"{SOON}\n{ALL}") as balancer:
        client, a, b = both(balancer)
        fails(balancer, b)
        assert counts(balancer) == [1, 1, 0, 0]
        client.receivesNothing()
        balancer.advance(1)
        balancer.server("c").acceptsNothing()
        a.sends(OK)
        client.receivesExactly(OK)
        server, status, retries, reason = logged(balancer)
        assert (server, status, retries) == ("a", 200, 0)
        assert reason.startswith(f"{ASKED}; ")


@pytest.mark.parametrize("pool", [SOON, f"{SOON}\n{ALL}"], ids=["once", "retried"])
def test_theSecondIsHeardAndBreaksOffAtOnce(pool):
    """What follows its interim response comes with it, and is nothing."""
    with hedging("a", "b", "c", pool=pool) as balancer:
        client, a, b = both(balancer)
        b.sends(b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nwhat?\r\n\r\n")
        a.isReset()
        client.receives(rb"HTTP/1.1 103 .*HTTP/1.1 502 .*")
        assert counts(balancer) == [0, 0, 0, 0]
        assert logged(balancer)[:3] == ("b", 502, 0)


def test_theSecondIsSilentAsWell():
    """The first has its time, the second its own."""
    with hedging() as balancer:
        client, a, b = both(balancer)
        balancer.advance(49.8)
        a.isReset()
        b.receivesNothing()
        assert counts(balancer) == [1, 0, 1]
        balancer.advance(0.4)
        b.isReset()
        client.receives(rb"HTTP/1.1 504 .*")
        assert counts(balancer) == [0, 0, 0]
        assert logged(balancer)[:3] == ("b", 504, 0)


def test_theSecondRefuses():
    with hedging() as balancer:
        balancer.server("b").goesAway()
        client, a = asks(balancer)
        balancer.advance(0.3)
        assert counts(balancer) == [1, 1, 0]
        balancer.advance(3)
        a.sends(OK)
        client.receivesExactly(OK)
        server, status, retries, reason = logged(balancer)
        assert (server, status, retries) == ("a", 200, 0)
        assert "app/b: " in reason


def test_theSecondHesitates():
    with hedging() as balancer:
        balancer.server("b").hesitates()
        client, a = asks(balancer)
        balancer.advance(0.3)
        assert counts(balancer) == [2, 1, 1]
        a.sends(OK)
        client.receivesExactly(OK)
        assert counts(balancer) == [0, 0, 0]


def test_aConnectionOfTheSecondHadEnded():
    """A new one is made to the same server."""
    with hedging(pool=f"{SOON}\nhttp-reuse = always") as balancer:
        client, a, b = both(balancer)
        b.sends(OK)
        client.receivesExactly(OK)
        a.isReset()
        client, a = asks(balancer)
        balancer.advance(0.3)
        b.receives(rb"GET .*")
        b.closes()
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        assert counts(balancer) == [2, 1, 1]
        b.sends(OK)
        client.receivesExactly(OK)


# the first fails


FIRST = {
    "closed": lambda balancer, a: a.closes(),
    "reset": lambda balancer, a: a.resets(),
    "not HTTP": lambda balancer, a: a.sends(b"what?\r\n"),
    "half a head": lambda balancer, a: (a.sends(b"HTTP/1.1 2"), a.closes()),
}
FIRST_AGAIN = {
    **FIRST,
    "503": lambda balancer, a: a.sends(BUSY),
    "half a 503": lambda balancer, a: a.sends(BUSY[:-1]),
}


@pytest.mark.parametrize(
    ("pool", "fails"),
    [(SOON, fails) for fails in FIRST.values()]
    + [(f"{SOON}\n{ALL}", fails) for fails in FIRST_AGAIN.values()],
    ids=[*FIRST, *(f"{one}, retried" for one in FIRST_AGAIN)],
)
def test_theFirstFails(pool, fails):
    """The second is waited for: it has been asked, whatever C{retry-on} says."""
    with hedging("a", "b", "c", pool=pool) as balancer:
        client, a, b = both(balancer)
        fails(balancer, a)
        assert counts(balancer) == [1, 0, 1, 0]
        client.receivesNothing()
        b.sends(OK)
        client.receivesExactly(OK)
        balancer.server("c").acceptsNothing()
        assert counts(balancer) == [0, 0, 0, 0]
        assert logged(balancer)[:3] == ("b", 200, 0)
        assert traffic(balancer) == (1, 1, 1)


def test_aConnectionOfTheFirstHadEnded():
    """Before the second could be asked: as without it, a new one is made to the same server."""
    with hedging(pool=f"{SOON}\nhttp-reuse = always") as balancer:
        client, a = answered(balancer)
        balancer.server("b").hesitates()
        client.sends(GET)
        a.receives(rb"GET .*")
        balancer.advance(0.3)
        assert counts(balancer) == [2, 1, 1]
        a.closes()
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        assert counts(balancer) == [1, 1, 0]
        a.sends(OK)
        client.receivesExactly(OK)


def test_bothFail():
    with hedging() as balancer:
        client, a, b = both(balancer)
        a.closes()
        b.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        assert counts(balancer) == [0, 0, 0]
        server, status, retries, reason = logged(balancer)
        assert (server, status, retries) == ("b", 502, 0)
        assert reason.startswith(f"{ASKED}; app/a: the server ")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_bothFailAndAThirdIsAsked(order):
    with hedging("a", "b", "c", pool=f"{SOON}\n{ALL}") as balancer:
        client, a, b = both(balancer)
        for name in order:
            {"a": a, "b": b}[name].sends(BUSY)
        c = balancer.server("c").accepts()
        c.receives(rb"GET .*")
        c.sends(OK)
        client.receivesExactly(OK)
        assert counts(balancer) == [0, 0, 0, 0]
        assert logged(balancer)[:3] == ("c", 200, 1)


@pytest.mark.parametrize("pool", [SOON, f"{SOON}\n{ALL}"], ids=["once", "retried"])
def test_theFirstFailsWhileTheSecondIsConnectedTo(pool):
    """Nothing was sent there: it is as if it had not begun."""
    with hedging("a", "b", "c", pool=pool) as balancer:
        balancer.server("b").hesitates()
        client, a = asks(balancer)
        balancer.advance(0.3)
        assert counts(balancer) == [2, 1, 1, 0]
        a.closes()
        if pool == SOON:
            client.receives(rb"HTTP/1.1 502 .*")
            assert counts(balancer) == [0, 0, 0, 0]
        else:
            assert counts(balancer) == [1, 0, 1, 0]
            balancer.server("b").goesOn()
            b = balancer.server("b").accepts()
            b.receives(rb"GET .*")
            b.sends(OK)
            client.receivesExactly(OK)
            assert logged(balancer)[:3] == ("b", 200, 1)


def test_aRetryIsHedgedToo():
    """Once, whoever is first."""
    with hedging("a", "b", "c", pool=f"{SOON}\n{ALL}") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        balancer.advance(0.3)
        c = balancer.server("c").accepts()
        c.receives(rb"GET .*")
        c.sends(OK)
        client.receivesExactly(OK)
        b.isReset()
        assert counts(balancer) == [0, 0, 0, 0]
        assert logged(balancer)[:3] == ("c", 200, 1)


def test_whoWatchesAServerIsTold():
    """Of failures alone: who was slower has not failed."""
    with hedging() as balancer:
        said = []
        for server in balancer.running.pool("app").servers:
            server.watch = SimpleNamespace(
                failed=lambda status, reason, name=server.name: said.append((name, status)),
                connected=lambda exchange: None, finished=lambda exchange: None,
            )  # fmt: skip
        client, a, b = both(balancer)
        b.sends(OK)
        assert said == []
        client.closes()
        client, a, b = both(balancer)
        a.closes()
        assert said == [("a", 502)]
        b.sends(OK)
