"""
Errors of real traffic, one after the other: the server is suspected or marked down, and who has
brought it down goes on elsewhere.
"""

import pytest
from spoken import GET, OK, www
from suspected import BROKEN, BUSY, fails, find, gets, told
from twisted.logger import capturedLogs

CHECK = "check = tcp interval=100s fast=1s fall=3 rise=2 jitter=0\nhttp-reuse = never\n"


# Errors in a row


@pytest.mark.parametrize(
    ("onError", "up", "count"),
    [
        ("fastinter", True, 0), ("fail-check", True, 1), ("sudden-death", True, 2),
        ("mark-down", False, 0),
    ],
)  # fmt: skip
def test_responsesOf5xx(onError, up, count):
    """They lead to what is written, and the next check comes soon, not after 100 seconds."""
    pool = f"{CHECK}observe = layer7\nerror-limit = 4\non-error = {onError}"
    with www("a", pool=pool) as balancer:
        balancer.advance(10)
        server = find(balancer, "a")
        checks = server.traffic.checks
        gets(balancer, BROKEN, BROKEN, BROKEN, OK, BROKEN, BROKEN, BROKEN, names="a")
        assert server.health.up and server.health.count == server.traffic.suspected == 0
        gets(balancer, BUSY, names="a")
        assert server.traffic.suspected == 1
        assert (server.health.up, server.health.count) == (up, count)
        balancer.advance(0.9)
        assert server.traffic.checks == checks
        balancer.advance(0.2)
        assert server.traffic.checks == checks + 1


def test_markedDownAndBack():
    pool = f"{CHECK}observe = layer7\nerror-limit = 2\non-error = mark-down"
    with capturedLogs() as events, www("a", pool=pool) as balancer:
        gets(balancer, BROKEN, BROKEN, names="a")
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        # rise=2, and after the first that passes checks come fast.
        balancer.advance(3)
        gets(balancer, OK, names="a")
        assert find(balancer, "a").traffic.wentDown == 1
    assert told(events, "DOWN") == [
        "Server app/a is DOWN, reason: HANA 2 errors in a row, the last: a response with 500, "
        "check duration 0.0 ms. 0 active and 0 backup servers left."
    ]


def test_oneMoreFailedCheckAfterSuddenDeath():
    pool = f"{CHECK}observe = layer7\nerror-limit = 2\non-error = sudden-death"
    with www("a", pool=pool) as balancer:
        gets(balancer, BROKEN, BROKEN, names="a")
        balancer.server("a").goesAway()
        balancer.advance(1.1)
        assert not find(balancer, "a").health.up


def test_sessionsOfAServerThatIsMarkedDown():
    """As if a check had done it: they are shut down where the pool wants that."""
    pool = (
        f"{CHECK}observe = layer7\nerror-limit = 2\non-error = mark-down\n"
        "on-marked-down = shutdown-sessions"
    )
    with www("a", pool=pool) as balancer:
        waiting = balancer.client()
        waiting.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        gets(balancer, BROKEN, BROKEN, names="a")
        waiting.receives(rb"HTTP/1.1 503 .*")
        server.isReset()


def test_connectsThatFailAreCountedThoughAnotherServerIsTried():
    """No client notices, and the server is found all the same."""
    pool = f"{CHECK}observe = layer4\nerror-limit = 3\non-error = mark-down"
    with www("a", "b", pool=pool) as balancer:
        balancer.advance(60)
        balancer.server("a").goesAway()
        assert gets(balancer, *[OK] * 4) == "bbbb"
        assert not find(balancer, "a").health.up
        assert find(balancer, "b").health.up


def test_connectsThatFailInModeTCP():
    pool = f"{CHECK}observe = layer4\nerror-limit = 2\non-error = mark-down"
    with www("a", "b", pool=pool, mode="tcp") as balancer:
        balancer.advance(60)
        balancer.server("a").hesitates()
        for _ in range(4):
            client = balancer.client()
            balancer.advance(5.1)
            balancer.server("b").accepts()
            client.closes()
        assert not find(balancer, "a").health.up


def test_aServerSaysOtherwise():
    pool = f"{CHECK}observe = layer7\nerror-limit = 2\non-error = mark-down"
    servers = ("a error-limit=4 on-error=fail-check", "b observe=none", "c no-check", "d")
    with www(*servers, pool=pool) as balancer:
        for name in "abc":
            fails(balancer, name, 5)
        fails(balancer, "d", 2)
        health = {name: find(balancer, name).health for name in "abcd"}
        assert {name: one.up for name, one in health.items()} == {
            "a": True, "b": True, "c": True, "d": False,
        }  # fmt: skip
        assert health["a"].count == 1


def test_aServerThatIsDownStaysDown():
    """What is still under way does not bring it back, nor does it count towards that."""
    pool = f"{CHECK}observe = layer7\nerror-limit = 1\non-error = fail-check"
    with www("a", pool=pool) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        health = find(balancer, "a").health
        health.up = False
        health.count = 1
        server.sends(BROKEN)
        client.receives(rb"HTTP/1.1 500 .*")
        assert not health.up and health.count == 0


# What it was itself that has brought its server down


DOWN = (
    f"{CHECK}balance = first\nobserve = layer7\nerror-limit = 1\non-error = mark-down\n"
    "on-marked-down = shutdown-sessions\nretry-on = 503\n"
)


def test_itGoesOnElsewhere():
    """It is no session of the server any more when those are shut down."""
    with www("a", "b", pool=DOWN) as balancer:
        client = balancer.client()
        client.sends(GET)
        balancer.server("a").accepts().sends(BUSY)
        assert not find(balancer, "a").health.up
        server = balancer.server("b").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)


def test_theSecondThatWasAskedTakesItsPlace():
    with www("a", "b", pool=f"{DOWN}hedge-after = 200ms") as balancer:
        client = balancer.client()
        client.sends(GET)
        first = balancer.server("a").accepts()
        balancer.advance(0.3)
        second = balancer.server("b").accepts()
        first.sends(BUSY)
        assert not find(balancer, "a").health.up
        second.receives(rb"GET .*")
        second.sends(OK)
        client.receivesExactly(OK)


def test_itsBodyWasNotAcceptable():
    """It ends once, and by itself."""
    with www("a", pool=DOWN) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        client.receives(rb".*hi.*")
        server.sends(b"what?\r\n")
        client.isReset()
        assert not find(balancer, "a").health.up
        assert " PD-- " in balancer.endings[0]


def test_whoWaitedForItTakesTheLastSlotElsewhere():
    """Then it waits for that in its turn."""
    servers = ("a maxconn=1", "b maxconn=1")
    with www(*servers, pool=f"{DOWN}persist = source") as balancer:
        clients = [balancer.client() for _ in range(2)]
        for client in clients:
            client.sends(GET)
        balancer.server("a").accepts().sends(BUSY)
        for client in reversed(clients):
            server = balancer.server("b").accepts()
            server.receives(rb"GET .*")
            assert find(balancer, "b").active == 1
            server.sends(OK)
            client.receivesExactly(OK)
