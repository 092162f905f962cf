"""
The verb C{limit}: what is too much is refused, what there is at once is given back,
however it ends.
"""

import re

import pytest
from spoken import GET, OK, answered, www

REFUSED = (
    rb"HTTP/1\.1 429 Too Many Requests\r\n(?:Retry-After: (\d+)\r\n)?Cache-Control: no-cache\r\n"
    rb"Content-Type: text/html\r\nContent-Length: (\d+)\r\n\r\n<html>.*429 Too Many Requests.*"
)
BOB = GET.replace(b"\r\n\r\n", b"\r\nX-User: bob\r\n\r\n")


def limited(rule, stage="request", mode="http"):
    return www(frontend=f"{stage} =\n    {rule}\n", mode=mode)


def ask(balancer, client, request=GET):
    """A request that goes through, with its answer."""
    client.sends(request)
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    server.sends(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    client.receives(rb"HTTP/1.1 200 OK\r\n.*")


def test_aRate():
    with limited("limit rate=2/10s") as balancer:
        client = balancer.client()
        ask(balancer, client)
        ask(balancer, client)
        client.sends(GET)
        found = client.receives(REFUSED)
        # The connection lives on, and 5 s later there is one more.
        assert found[1] == b"5"
        balancer.advance(4)
        client.sends(GET)
        assert client.receives(REFUSED)[1] == b"1"
        balancer.advance(1)
        ask(balancer, client)
        balancer.server("a").acceptsNothing()


def test_theBodyIsWhole():
    with limited("limit rate=1/h") as balancer:
        client = balancer.client()
        ask(balancer, client)
        client.sends(GET)
        found = client.receives(REFUSED)
        assert len(found[0].partition(b"\r\n\r\n")[2]) == int(found[2])
        client.sends(GET.replace(b"GET", b"HEAD"))
        client.receives(rb"HTTP/1\.1 429 .*\r\nContent-Length: %b\r\n\r\n" % found[2])


def test_itIsCountedAndLoggedAsARefusal():
    with limited("limit rate=1/h") as balancer:
        client = balancer.client()
        ask(balancer, client)
        client.sends(GET)
        client.receives(REFUSED)
        assert balancer.running.frontend("www").inbound.traffic.refused == 1
        assert re.search(r" 429 \d+ - - PR-- ", balancer.lines[-1])


def test_addressesCountApart():
    """So they do unless the rule says otherwise."""
    with limited("limit rate=1/h") as balancer:
        first, second = balancer.client(), balancer.client("203.0.113.10")
        ask(balancer, first)
        ask(balancer, second)
        for client in (first, second, balancer.client()):
            client.sends(GET)
            client.receives(REFUSED)


def test_byAnyKey():
    with limited('limit rate=1/h by={header["x-user"]}') as balancer:
        ask(balancer, balancer.client(), BOB)
        ask(balancer, balancer.client())
        client = balancer.client("203.0.113.10")
        client.sends(BOB)
        client.receives(REFUSED)


def test_byNothing():
    """A plain text is one key for all."""
    with limited("limit rate=1/h by=all") as balancer:
        ask(balancer, balancer.client())
        client = balancer.client("203.0.113.10")
        client.sends(GET)
        client.receives(REFUSED)


def test_aBurst():
    with limited("limit rate=10/s burst=2") as balancer:
        client = balancer.client()
        ask(balancer, client)
        ask(balancer, client)
        client.sends(GET)
        assert client.receives(REFUSED)[1] == b"1"


def test_anotherStatus():
    with limited("limit rate=1/h status=503") as balancer:
        client = balancer.client()
        ask(balancer, client)
        client.sends(GET)
        client.receives(rb"HTTP/1\.1 503 .*Retry-After: 3600\r\n.*")


def test_whereTheConditionDoesNotHoldNothingCounts():
    with limited('limit rate=1/h if path == "/login"') as balancer:
        client = balancer.client()
        for _ in range(3):
            ask(balancer, client)
        login = GET.replace(b"/ ", b"/login ")
        ask(balancer, client, login)
        client.sends(login)
        client.receives(REFUSED)


# at once


def test_soManyAtOnce():
    with limited("limit concurrency=2") as balancer:
        clients = [balancer.client() for _ in range(3)]
        for client in clients:
            client.sends(GET)
        assert clients[2].receives(REFUSED)[1] is None
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        clients[0].receivesExactly(OK)
        # What has ended counts no more, although its connection stands.
        clients[2].sends(GET)
        clients[2].receivesNothing()
        server.receives(rb"GET .*")


def served(balancer, client):
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    server.sends(OK)
    client.receivesExactly(OK)


def left(balancer, client):
    client.resets()


def leftByTheServer(balancer, client):
    balancer.server("a").accepts().closes()
    client.receives(rb"HTTP/1.1 502 .*")


def late(balancer, client):
    balancer.advance(61)
    client.receives(rb"HTTP/1.1 504 .*")


def brokenOff(balancer, client):
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")
    server.closes()
    client.receives(rb"HTTP/1.1 200 .*hi")


def upgraded(balancer, client):
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    server.sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    client.receives(rb"HTTP/1.1 101 .*")
    server.closes()
    client.isEnded()
    client.closes()


UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")


@pytest.mark.parametrize("ending", [served, left, leftByTheServer, late, brokenOff, upgraded])
def test_eachIsGivenBackOnce(ending):
    with limited("limit concurrency=1") as balancer:
        client = balancer.client()
        client.sends(UPGRADE if ending is upgraded else GET)
        other = balancer.client()
        other.sends(GET)
        other.receives(REFUSED)
        ending(balancer, client)
        # There is room for one, and for no more.
        again, other = balancer.client(), balancer.client()
        again.sends(GET)
        again.receivesNothing()
        other.sends(GET)
        other.receives(REFUSED)


def test_aRefusalOfALaterRuleGivesBack():
    with www(frontend="request =\n    limit concurrency=1\n    deny\n") as balancer:
        for _ in range(3):
            client = balancer.client()
            client.sends(GET)
            client.receives(rb"HTTP/1.1 403 .*")


# connections


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_connectionsAtOnce(mode):
    with limited("limit concurrency=1", "connection", mode) as balancer:
        first, second = balancer.client(), balancer.client()
        second.isEnded()
        # Another address counts apart.
        balancer.client("203.0.113.10").receivesNothing()
        first.receivesNothing()
        first.resets()
        third = balancer.client()
        third.receivesNothing()
        balancer.client().isEnded()


def test_aConnectionCountsBetweenItsRequests():
    with limited("limit concurrency=1", "connection") as balancer:
        client, _ = answered(balancer)
        balancer.client().isEnded()
        client.closes()
        answered(balancer)


def test_aRateOfConnections():
    with limited("limit rate=1/10s how=reject", "connection") as balancer:
        balancer.client().receivesNothing()
        balancer.client().isReset()
        balancer.advance(10)
        balancer.client().receivesNothing()
