"""
The contract of persistence, for the kinds that know clients by the first bytes of a session. What
they read in these is in test_begun.py.
"""

from unittest import TestCase

import attr
from test_begun import token

from lbtwist.exchange import TLSInfo
from lbtwist.persistence.begun import RDPCookie, SSLSessionId
from lbtwist.testing import PersistenceContract, ReturningClient, fakeExchange


class _User(ReturningClient):
    """A client of RDP with a name."""

    def asks(self):
        return token(f"user{self.number}", "mstshash")


class RDPCookieContractTests(PersistenceContract, TestCase):
    def makePersistence(self, context):
        return RDPCookie(RDPCookie.Options("mstshash"), context)

    def makeClient(self, number):
        return _User(number)


class _Routed(ReturningClient):
    """A client that a session broker has sent to a server of the contract."""

    def asks(self):
        port = 8001 + self.number % 4
        return token(f"16777343.{(port & 255) << 8 | port >> 8}.0000")


class RoutingTokenContractTests(PersistenceContract, TestCase):
    remembers = False

    def makePersistence(self, context):
        return RDPCookie(RDPCookie.Options(), context)

    def makeClient(self, number):
        return _Routed(number)

    def test_whoseServerIsAwayIsKnownToTheNext(self):
        """That is the broker's to know: without its server a client is a new one."""
        self._begin()
        client = self.makeClient(1)
        had = self._goes(client, self._servers[3])
        assert had is self._servers[1]
        had.health.up = False
        self._changed()
        for server in self._servers[2:]:
            assert self._goes(client, server) is server
        had.health.up = True
        self._changed()
        assert self._goes(client, self._servers[3]) is had


class _Resuming(ReturningClient):
    """A client of TLS 1.2 in a passthrough, which would resume the session that it has got."""

    def __init__(self, number, kind):
        super().__init__(number)
        self.kind = kind
        self.session = b""

    def asks(self):
        exchange = fakeExchange(None)
        tls = TLSInfo("site.test", session=self.session)
        exchange.connection = attr.evolve(exchange.connection, tls=tls)
        return exchange

    def isAnswered(self, exchange):
        """Each server has sessions of its own, and one for each client."""
        self.session = bytes([self.number]) * 31 + exchange.server.name.encode()
        hello = b"\2\0\0\x46\3\3" + bytes(32) + b"\x20" + self.session + b"\xc0\x2f\0"
        assert self.kind.inspectServer(exchange)(b"\x16\3\3\0\x4a" + hello)
        return exchange


class SSLSessionIdContractTests(PersistenceContract, TestCase):
    learns = True

    def makePersistence(self, context):
        return SSLSessionId(SSLSessionId.Options(), context)

    def makeClient(self, number):
        return _Resuming(number, self._kind)
