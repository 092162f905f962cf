"""What a client with a token is known by, and that it comes back; also who means no good."""

import json
from base64 import urlsafe_b64encode
from unittest import TestCase

import pytest
from token_subject import LONGEST, Subject, kind, subjectOf

from lbtwist.registry import installed
from lbtwist.testing import Balancer, PersistenceContract, ReturningClient, fakeExchange

CONFIG = """
[frontend www]
mode = http
bind = ${bind}
pool = api

[pool api]
balance = roundrobin
persist = subject expire=1h
server a = ${a}
server b = ${b}
"""

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def tokenOf(claims):
    """@return: a token that says this; it is signed by nobody."""
    parts = (b'{"alg":"none"}', claims, b"signature")
    return b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def bearer(**claims):
    return b"Bearer " + tokenOf(json.dumps(claims).encode())


class Holder(ReturningClient):
    """Has another token each time it asks."""

    asked = 0

    def asks(self):
        self.asked += 1
        value = bearer(sub=f"user{self.number}", jti=self.asked).decode()
        return fakeExchange("/", {"Authorization": value})


class SubjectTests(PersistenceContract, TestCase):
    def makePersistence(self, context):
        return Subject(Subject.Options(), context)

    def makeClient(self, number):
        return Holder(number)


@pytest.mark.parametrize(
    "value",
    [
        b"Basic YTpi", b"Bearer", b"Bearer a.b", b"Bearer a.b.c.d", b"Bearer a.!.c",
        b"Bearer " + tokenOf(b"\xff"), b"Bearer " + tokenOf(b"[]"), b"Bearer " + tokenOf(b"{}"),
        b"Bearer " + tokenOf(b'{"sub": 5}'), b"Bearer " + tokenOf(b'{"sub": "\\ud800"}'),
        b"Bearer " + tokenOf(b"[" * 6000), bearer(sub="a", more="x" * LONGEST),
    ],
)  # fmt: skip
def test_whatIsNoTokenKnowsNobody(value):
    assert subjectOf(value) == b""


@pytest.mark.parametrize("length", range(1, 5))
def test_everyLengthIsRead(length):
    assert subjectOf(bearer(sub="x" * length)) == b"x" * length


def asks(balancer, name, value):
    """A client with a token asks, and a server of this name answers."""
    client = balancer.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: %b\r\n\r\n" % value)
    server = balancer.server(name).accepts()
    server.receives(rb"GET / .*")
    server.sends(NO_CONTENT)
    client.receivesExactly(NO_CONTENT)
    server.closes()
    client.closes()


def test_aTokenIsRenewed():
    with Balancer(CONFIG, "a", "b", registry=installed(kind)) as balancer:
        for issued in range(3):
            asks(balancer, "a", bearer(sub="alice", iat=issued))
            asks(balancer, "b", bearer(sub="bob", iat=issued))
        pool = balancer.running.pool("api")
        assert [pool.persistence.bound(server) for server in pool.servers] == [1, 1]
