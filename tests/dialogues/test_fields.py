"""
What is added to and removed from the fields of messages on their way.
"""

import json
import re

import pytest
from spoken import GET, OK, TOLD, asks, www

TRUSTED = "trusted-proxies = 203.0.113.0/24"


def passed(frontend, fields, host="203.0.113.9"):
    """What a server gets of a request with these fields, after C{Host}."""
    with www(frontend=frontend) as balancer:
        client = balancer.client(host)
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")
        server = balancer.server("a").accepts()
        return server.receives(rb"GET / HTTP/1.1\r\nHost: h\r\n(.*)\r\n")[1]


# between two neighbours only


def test_hopByHopFieldsOfARequest():
    fields = (
        b"Connection: close, X-Mine\r\nX-Mine: 1\r\nx-mine: 2\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"Proxy-Connection: keep-alive\r\nX-Other: 3\r\n"
    )
    assert passed("forwarded = none", fields) == b"X-Other: 3\r\n"


def test_hopByHopFieldsOfAResponse():
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(
            b"HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Connection: close\r\nContent-Length: 0\r\nX-Other: 3\r\n\r\n"
        )
        client.receivesExactly(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Other: 3\r\n\r\n")


def test_whatIsToldOfTheClientCannotBeListedAway():
    assert passed("", b"Connection: X-Forwarded-For\r\n") == TOLD


def test_upgradeToH2cIsNotPassedOn():
    """It would carry requests past everything that looks at them."""
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    assert passed("forwarded = none", fields) == b""
    fields = b"Connection: Upgrade\r\nUpgrade: H2C, websocket\r\n"
    assert passed("forwarded = none", fields) == b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def test_upgradeThatConnectionDoesNotListIsNone():
    assert passed("forwarded = none", b"Upgrade: websocket\r\n") == b""


# what servers are told of the client


@pytest.mark.parametrize(
    "how, expected",
    [
        ("x", TOLD),
        ("rfc7239", b"Forwarded: for=203.0.113.9;proto=http;host=h\r\n"),
        ("both", TOLD + b"Forwarded: for=203.0.113.9;proto=http;host=h\r\n"),
        ("none", b""),
    ],
)
def test_forwarded(how, expected):
    """Row 003.22: what the offloading hides."""
    assert passed(f"forwarded = {how}", b"") == expected


def test_forwardedForAnIPv6Client():
    assert passed("forwarded = rfc7239", b"", "2001:db8::9") == (
        b'Forwarded: for="[2001:db8::9]";proto=http;host=h\r\n'
    )
    assert b"X-Forwarded-For: 2001:db8::9\r\n" in passed("", b"", "2001:db8::9")


def test_forgedFieldsAreReplaced():
    """However they are spelt: many servers take C{_} for C{-}."""
    forged = (
        b"X-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\nx-forwarded_for:1.1.1.1\r\n"
        b"X-FORWARDED-PROTO: https\r\nX_Forwarded-Proto: https\r\nX-Forwarded_Port: 1\r\n"
        b"Forwarded: for=1.1.1.1\r\nX-Mine: 1\r\n"
    )
    assert passed("forwarded = both", forged) == (
        b"X-Mine: 1\r\n" + TOLD + b"Forwarded: for=203.0.113.9;proto=http;host=h\r\n"
    )


def test_theWordOfATrustedPeerIsKept():
    """A line of our own adds to a list; of what is no list the peer's word stays."""
    given = (
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1;proto=https\r\n"
    )
    assert passed("forwarded = both\n" + TRUSTED, given) == (
        given + b"X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9;proto=http;host=h\r\n"
    )


def test_aTrustedPeerThatSaysNothing():
    assert passed(TRUSTED, b"") == TOLD


def test_trustGoesByAddress():
    forged = b"X-Forwarded-For: 1.1.1.1\r\n"
    assert passed(TRUSTED, forged, "203.0.114.9") == TOLD.replace(b"113", b"114")


def test_aClientWithoutAnAddress():
    """One on a UNIX socket; RFC 7239 section 6.3 says how such are named."""
    with www(frontend="forwarded = rfc7239") as balancer:
        client = balancer.connects()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*\r\nForwarded: for=_unix;.*")
        assert balancer.running.frontend("www").inbound.active == 1


# identifiers of requests


def test_requestId():
    """Another for every request, and none that a client made up."""
    with www(frontend="request-id-header = X-Request-ID", log="json") as balancer:
        client, seen = balancer.client(), []
        client.sends(GET[:-2] + b"X-Request-ID: mine\r\nX_Request_ID: mine\r\n\r\n")
        server = balancer.server("a").accepts()
        seen.append(server.receives(rb".*\r\nX-Request-ID: (\S+)\r\n.*")[1].decode())
        server.sends(OK)
        client.sends(GET)
        seen.append(server.receives(rb".*\r\nX-Request-ID: (\S+)\r\n.*")[1].decode())
        server.sends(OK)
        assert "mine" not in seen
        assert seen[0] != seen[1]
        assert [json.loads(line)["request_id"] for line in balancer.lines] == seen


def test_requestIdOfATrustedPeer():
    fields = passed(f"request-id-header = X-ID\n{TRUSTED}", b"X-ID: theirs\r\n")
    assert re.findall(rb"X-ID: (\S+)", fields) == [b"theirs"]
    fields = passed(f"request-id-header = X-ID\n{TRUSTED}", b"")
    assert len(re.findall(rb"X-ID: \S+", fields)) == 1


# Via


def test_viaIsOffByDefault():
    with www() as balancer:
        client = balancer.client()
        client.sends(GET[:-2] + b"Via: 1.1 other\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receivesExactly(GET[:-2] + b"Via: 1.1 other\r\n" + TOLD + b"\r\n")
        server.sends(OK)
        client.receivesExactly(OK)


def test_via():
    """In both directions, with the version that each message came in."""
    with www(frontend="via = lb") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.0\r\nHost: h\r\nVia: 1.1 other\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*\r\nVia: 1.1 other\r\n.*\r\nVia: 1.0 lb\r\n\r\n")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*\r\nVia: 1.1 lb\r\n.*")


def test_viaOfTwoVersionsOnOneConnection():
    with www(frontend="via = lb") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*\r\nVia: 1.0 lb\r\n\r\n")
        server.sends(OK)
        client.sends(GET)
        server.receives(rb"GET .*\r\nVia: 1.1 lb\r\n\r\n")
