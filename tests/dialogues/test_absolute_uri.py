"""
C{absolute-uri}: what forward proxies are asked for.
"""

import pytest
from spoken import GET, OK, TOLD, asks, www

POOL = "absolute-uri = yes"


@pytest.mark.parametrize(
    ("line", "host", "expected"),
    [
        ("GET http://h/x?y", "h", "GET http://h/x?y"),
        ("GET /x", "h", "GET http://h/x"),
        ("GET http://H:8080", "H:8080", "GET http://h:8080/"),
        ("GET HTTPS://h/x", "h", "GET https://h/x"),
        ("GET /https://h/", "h", "GET http://h/https://h/"),
        ("OPTIONS *", "h", "OPTIONS http://h"),
        ("GET http://[::1]:81/x", "[::1]:81", "GET http://[::1]:81/x"),
    ],
)
@pytest.mark.parametrize("frontend", ["", "request = tunnel"])
def test_whatTheServerIsAskedFor(line, host, expected, frontend):
    with www(pool=POOL, frontend=frontend) as balancer:
        client = balancer.client()
        client.sends(f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        server = balancer.server("a").accepts()
        server.receivesExactly(f"{expected} HTTP/1.1\r\nHost: {host}\r\n".encode() + TOLD + b"\r\n")


def test_otherServersGetThePath():
    with www() as balancer:
        client = balancer.client()
        client.sends(b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n")
        balancer.server("a").accepts().receives(rb"GET /x HTTP/1.1\r\n.*")


def test_whatRulesHaveChanged():
    rules = "request =\n    set-host other.example\n    set-path /y"
    with www(pool=POOL, frontend=rules) as balancer:
        client = balancer.client()
        client.sends(b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET http://other.example/y HTTP/1.1\r\nHost: other.example\r\n.*")


def test_connectHasNoSuchForm():
    with www(pool=POOL, frontend="connect = forward") as balancer:
        client = balancer.client()
        client.sends(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        balancer.server("a").accepts().receives(rb"CONNECT h:443 HTTP/1.1\r\n.*")


def test_aRequestThatNamesNoHost():
    """Nothing is made up: that proxy will say what is missing."""
    with www(pool=POOL) as balancer:
        client = balancer.client()
        client.sends(b"GET /x HTTP/1.0\r\n\r\n")
        balancer.server("a").accepts().receives(rb"GET /x HTTP/1.1\r\n.*")


def test_connectionsAreUsedAgain():
    with www(pool=POOL + "\nhttp-reuse = always") as balancer:
        client, server = asks(balancer)
        for _ in range(2):
            server.sends(OK)
            client.receivesExactly(OK)
            client.sends(GET)
            server.receives(rb"GET http://h/ HTTP/1.1\r\n.*")
