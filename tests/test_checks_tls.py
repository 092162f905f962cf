"""The check of a handshake and of how long a certificate is good, against Python's TLS."""

import socket
import tempfile
from pathlib import Path
from shutil import rmtree

import pytest
from authority import DAY, NOW, Authority, pem
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import ContextFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from lbtwist.checks import CheckCancelled
from lbtwist.checks.tls import TLSCheck
from lbtwist.config.load import loadText
from lbtwist.config.model import ServerConfig
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.net.clienttls import ClientTLS
from lbtwist.registry import Context, installed
from lbtwist.server import Endpoint, Server

WEEK = 7 * 86400.0


class Side(Protocol):
    def connectionLost(self, reason):
        self.factory.lost.callback(None)


class Sites(ContextFactory):
    """@ivar asked: the names that clients have asked for."""

    def __init__(self, path):
        self.asked = []
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate_chain_file(path)
        self.context.use_privatekey_file(path)
        self.context.set_session_id(b"tests")
        self.context.set_tlsext_servername_callback(self._named)

    def _named(self, connection):
        self.asked.append(connection.get_servername())

    def getContext(self):
        return self.context


class TLSCheckTests(TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(rmtree, self.directory)
        self.authority = Authority()

    def listen(self, end=NOW + 30 * DAY, plain=False, **options):
        """@return: a server with a certificate that ends then, as a check sees it."""
        path = self.directory / "site.pem"
        self.authority.issue("site.test", end=end, begin=NOW - 40 * DAY).write(path)
        self.sites = Sites(str(path))
        factory = Factory.forProtocol(Side)
        factory.lost = self.lost = Deferred()
        if plain:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, factory, self.sites, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        server = Server("app", "a", Endpoint(socket.AF_INET, ("127.0.0.1", number)))
        if options:
            server.tls = ClientTLS(
                ServerConfig("a", "tcp", "site.test", number, tls=True, **options)
            )
        return server

    def check(self, server, **options):
        return TLSCheck(TLSCheck.Options(**options), Context(reactor=reactor)).check(server)

    def ca(self):
        path = self.directory / "ca.pem"
        path.write_bytes(pem(self.authority.certificate))
        return str(path)

    def test_keepsTheInterface(self):
        assert verifyObject(IHealthCheck, TLSCheck(TLSCheck.Options(), Context()))

    @inlineCallbacks
    def test_aHandshakeIsEnough(self):
        """Of a server whose TLS is not ours nothing is verified."""
        result = yield self.check(self.listen(end=NOW - DAY))
        assert result == Result(True, "L6OK", "TLSv1.3")
        yield self.lost
        assert self.sites.asked == [None]

    @inlineCallbacks
    def test_theNameThatIsAskedFor(self):
        assert (yield self.check(self.listen(), name="www.site.test")).passed
        yield self.lost
        assert self.sites.asked == [b"www.site.test"]

    @inlineCallbacks
    def test_verifiedWhereRequestsAre(self):
        assert (yield self.check(self.listen(ca=self.ca()), name="other.test")).passed
        yield self.lost
        assert self.sites.asked == [b"site.test"]
        server = self.listen(sni="other.test", ca=self.ca())
        result = yield self.check(server)
        assert (result.passed, result.status) == (False, "L6RSP")
        assert "wrong name" in result.detail
        yield self.lost

    @inlineCallbacks
    def test_expiry(self):
        for days, status, words in (
            (8.5, "L6OK", "ends in 8."), (6.5, "L6RSP", "ends in 6."), (-2, "L6RSP", "has ended 2.")
        ):  # fmt: skip
            result = yield self.check(self.listen(end=NOW + days * DAY), expiry=WEEK)
            assert result.status == status and words in result.detail, result
            assert result.passed == (status == "L6OK")
            yield self.lost

    @inlineCallbacks
    def test_neverResumed(self):
        """Another certificate is seen at once, and no session of requests is taken or left."""
        server = self.listen(ca=self.ca())
        resumed = object()
        server.tls._session = resumed
        assert (yield self.check(server, expiry=WEEK)).passed
        yield self.lost
        assert server.tls._session is resumed

    @inlineCallbacks
    def test_notTLS(self):
        server = self.listen(plain=True)
        running = self.check(server)
        for _ in range(20):
            yield deferLater(reactor, 0)
        self.assertNoResult(running)
        running.cancel()
        late = self.failureResultOf(running, CheckCancelled).value
        assert (late.status, late.detail) == ("L6TOUT", "no end of the TLS handshake")
        yield self.lost

    @inlineCallbacks
    def test_closedInTheHandshake(self):
        server = self.listen(plain=True)
        running = self.check(server)
        self.patch(Side, "dataReceived", lambda self, data: self.transport.abortConnection())
        result = yield running
        assert (result.passed, result.status) == (False, "L6RSP")
        yield self.lost


@pytest.mark.parametrize(("check", "options"), [
    ("tls", TLSCheck.Options()),
    ("tls name=A.example expiry=7d", TLSCheck.Options("a.example", WEEK)),
])  # fmt: skip
def test_asItIsWritten(check, options):
    text = f"[pool app]\nserver a = 127.0.0.1:1\ncheck = {check}\n"
    config, _ = loadText(text, registry=installed())
    assert config.pools["app"].check.probe.options == options
