"""
A request that was sent is sent again: where to, how often, and what is seen of it.
"""

import json
from types import SimpleNamespace

import pytest
from resent import ALL, BUSY, again, counts, logged
from spoken import GET, OK, answered, asks

# with connects that fail


def test_theNextServerRefuses():
    """Retries are counted together."""
    with again("a", "b", "c", pool=f"{ALL}\nretries = 2", log="json") as balancer:
        balancer.server("b").goesAway()
        client, a = asks(balancer)
        a.sends(BUSY)
        c = balancer.server("c").accepts()
        c.receives(rb"GET .*")
        c.sends(BUSY)
        client.receivesExactly(BUSY)
        server, _, retries, _, reason = logged(balancer)
        assert (server, retries) == ("c", 2)
        assert reason.startswith("app/a: a response with 503; app/b: ")


def test_allOthersRefuse():
    with again(pool=f"{ALL}\nretries = 2", log="json") as balancer:
        balancer.server("b").goesAway()
        client, a = asks(balancer)
        a.sends(BUSY)
        balancer.advance(1.1)
        client.receives(rb"HTTP/1.1 503 .*html.*")
        server, status, retries, _, reason = logged(balancer)
        assert (server, status, retries) == ("b", 503, 2)
        assert reason.startswith("app/a: a response with 503; app/b: ")
        line = json.loads(balancer.lines[-1])
        assert line["termination"] == "SC--"
        assert line["timers"]["Tc"] is None


def test_connectsAloneAreNotTriedAgain():
    """Where C{retry-on} does not say so."""
    with again(pool="retry-on = 503") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        balancer.server("b").acceptsNothing()


# where to


def test_theOnlyServer():
    """It is asked again after a second."""
    with again("a") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        assert counts(balancer) == [1, 1]
        balancer.advance(0.9)
        balancer.server("a").acceptsNothing()
        balancer.advance(0.2)
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        a.sends(OK)
        client.receivesExactly(OK)
        assert " ---- 1/1/1/1/1 0/0 " in balancer.endings[0]


def test_noOther():
    with again(pool=f"{ALL}\nredispatch = no") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        balancer.advance(1.1)
        balancer.server("b").acceptsNothing()
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        a.sends(OK)
        client.receivesExactly(OK)
        assert " ---- 1/1/1/1/1 0/0 " in balancer.endings[0]


def test_anotherAtTheSecondRetry():
    with again(pool=f"{ALL}\nredispatch = 2") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        balancer.advance(1.1)
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.sends(OK)
        client.receivesExactly(OK)
        assert " ---- 1/1/1/1/+2 0/0 " in balancer.endings[0]


def test_itWentDown():
    """There is no other either: the client gets what there is."""
    with again("a") as balancer:
        client, a = asks(balancer)
        app = balancer.running.pool("app")
        app.find("a").health.up = False
        app.serversChanged()
        a.sends(BUSY)
        client.receivesExactly(BUSY)
        assert "/0 0/0 " in balancer.endings[0]


def test_theSlotIsSomebodyElsesAtOnce():
    with again("a maxconn=1", "b") as balancer:
        client, a = asks(balancer)
        a.closes()
        balancer.server("b").accepts().receives(rb"GET .*")
        asks(balancer, server="a")
        client.receivesNothing()


# connections that were used before


def test_aConnectionThatHadEnded():
    """That is no failure: a new one is made to the same server, and nothing is counted."""
    with again() as balancer:
        client, a = answered(balancer)
        client.sends(GET)
        a.receives(rb"GET .*")
        a.closes()
        a = balancer.server("a").accepts()
        a.receives(rb"GET .*")
        a.sends(OK)
        client.receivesExactly(OK)
        assert "/0 0/0 " in balancer.endings[1]


@pytest.mark.parametrize(
    ("pool", "rules"),
    [("retry-on = none", ""), (ALL, "request = no-retry"), ("", "request = no-retry")],
)
def test_aConnectionThatEndsIsTheEnd(pool, rules):
    """Where a request is sent once, whatever happens."""
    with again(pool=pool, frontend=rules) as balancer:
        client, a = answered(balancer)
        client.sends(GET)
        a.receives(rb"GET .*")
        a.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        balancer.server("a").acceptsNothing()
        balancer.server("b").acceptsNothing()


# what is seen of it


def test_rulesSeeTheLastResponseAlone():
    rules = """request = set-var n '"0"'
response =
    set-var n 'var["n"] + "1"'
    set-header X-N {var["n"]}
"""
    with again(frontend=rules) as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.sends(OK)
        client.receives(rb"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-N: 01\r\n\r\nhi")


def test_whoWatchesAServerIsTold():
    with again() as balancer:
        said = []
        a = balancer.running.pool("app").find("a")
        a.watch = SimpleNamespace(
            failed=lambda *one: said.append(one), connected=lambda exchange: None,
            finished=lambda exchange: None,
        )
        _, server = asks(balancer)
        server.sends(BUSY)
        assert said == [(503, "a response with 503")]


# who goes away


def test_theClientGoesInThePause():
    with again("a") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        client.resets()
        assert counts(balancer) == [0, 0]
        balancer.advance(2)
        balancer.server("a").acceptsNothing()
        assert " CC-- 1/1/1/1/1 0/0 " in balancer.endings[0]


def test_theClientGoesDuringTheSecondAttempt():
    with again() as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        client.resets()
        b.isReset()
        assert counts(balancer) == [0, 0, 0]
        assert " CH-- 1/1/1/1/+1 0/0 " in balancer.endings[0]


# the budget


def test_overTheBudget():
    """Ten are asked, and one of them may be sent again."""
    with again(pool=f"{ALL}\nretry-budget = 10% min 0/s", log="json") as balancer:
        for _ in range(9):
            _, a = asks(balancer)
            a.sends(OK)
        client, a = asks(balancer)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.sends(OK)
        client.receivesExactly(OK)
        client, a = asks(balancer)
        a.sends(BUSY)
        client.receivesExactly(BUSY)
        balancer.server("b").acceptsNothing()
        assert logged(balancer) == ("a", 503, 0, False, "the retry budget is used up")
        traffic = balancer.running.pool("app").traffic
        assert (traffic.retries, traffic.overBudget) == (1, 1)


def test_connectsAreNotOfTheBudget():
    """A connect that failed has cost the servers nothing."""
    with again(pool=f"{ALL}\nretry-budget = 0% min 0/s") as balancer:
        balancer.server("a").goesAway()
        client, b = asks(balancer, server="b")
        b.sends(OK)
        client.receivesExactly(OK)


def test_withoutABudget():
    with again(pool=f"{ALL}\nretry-budget = no") as balancer:
        for _ in range(40):
            client, a = asks(balancer)
            a.closes()
            b = balancer.server("b").accepts()
            b.receives(rb"GET .*")
            b.sends(OK)
            client.receivesExactly(OK)
            client.closes()
            b.closes()
