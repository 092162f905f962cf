"""Which servers exchanges may be sent to that ask for a role, and what rules know of roles."""

import pytest
from spoken import GET, OK, ruled, www

from lbtwist.explaining import asking, explain
from lbtwist.explaining.words import asText

POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"


def tells(balancer, **roles):
    """As checks would do it."""
    for pool in balancer.running.pools.values():
        for server in pool.servers:
            server.role = roles.get(server.name, server.role)
        pool.serversChanged()


def goesTo(balancer, name, request):
    client = balancer.client()
    client.sends(request)
    server = balancer.server(name).accepts()
    server.receives(rb".*")
    server.sends(OK)
    client.receivesExactly(OK)


def test_onlyServersOfTheRole():
    with ruled('role primary if method == "POST"') as balancer:
        tells(balancer, a="standby", b="primary")
        for _ in range(3):
            goesTo(balancer, "b", POST)
        tells(balancer, a="primary", b="standby")
        for _ in range(3):
            goesTo(balancer, "a", POST)


def test_nobodyHasTheRole():
    """Nobody waits for that: it may never come."""
    with ruled("role primary") as balancer:
        tells(balancer, a="standby", b="standby")
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")


def test_whyAServerIsNotAsked():
    with ruled("role primary") as balancer:
        tells(balancer, a="standby", b="primary")
        said = asText(explain(balancer.running, asking("GET http://h/"), "www"))
        assert "out: it has not the role primary" in said
        assert "sent to app/b" in said


def test_whoWaitsForOneOfTheRole():
    """He gets the first who has a slot and the role, which may be another by then."""
    with www("a maxconn=1", "b", frontend="request = role primary") as balancer:
        tells(balancer, a="primary", b="standby")
        first, second = balancer.client(), balancer.client()
        first.sends(GET)
        balancer.server("a").accepts()
        second.sends(GET)
        balancer.server("b").acceptsNothing()
        tells(balancer, a="standby", b="primary")
        server = balancer.server("b").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        second.receivesExactly(OK)


@pytest.mark.parametrize("mode", ["tcp", "http"])
def test_ofTheConnection(mode):
    with www("a", "b", frontend="connection = role primary", mode=mode) as balancer:
        tells(balancer, a="standby", b="primary")
        for _ in range(3):
            goesTo(balancer, "b", GET)


def test_ofAllRequestsOfAConnection():
    with www("a", "b", frontend="connection = role primary") as balancer:
        tells(balancer, a="standby", b="primary")
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("b").accepts()
        for _ in range(3):
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
            client.sends(GET)
        server.receives(rb"GET .*")


def test_aRequestMaySayOtherwise():
    frontend = "connection = role primary\nrequest = role standby if method == \"GET\""
    with www("a", "b", frontend=frontend) as balancer:
        tells(balancer, a="standby", b="primary")
        goesTo(balancer, "a", GET)
        goesTo(balancer, "b", POST)


def test_howManyThereAre():
    with ruled('pool chat if pool("app").role("primary") == 0') as balancer:
        tells(balancer, a="primary", b="primary", c="other")
        app = balancer.running.pool("app")
        goesTo(balancer, "a", GET)
        for name in ("a", "b"):
            app.find(name).health.up = False
        app.serversChanged()
        goesTo(balancer, "c", GET)
