"""
OCSP responses by HTTP, from responders that are away, slow, endless, or elsewhere.
"""

import pytest
from authority import Authority, pem
from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from lbtwist import fetching
from lbtwist.discovery import Answer, NotResolved
from lbtwist.errors import BalancerError
from lbtwist.fetching import HOPS, MOST, Fetcher, NotFetched
from lbtwist.net.ocsp import requestFor

CA = Authority()


class Scripted(Protocol):
    """Notes what comes, and answers a whole request with what the factory has."""

    def connectionMade(self):
        self.data = b""
        self.factory.open += 1

    def dataReceived(self, data):
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if end and len(body) == len(self.factory.request):
            self.factory.seen.append(self.data)
            for piece in self.factory.answers.pop(0):
                self.transport.write(piece)
            if self.factory.closes:
                self.transport.loseConnection()

    def connectionLost(self, reason):
        self.factory.open -= 1
        if self.factory.ended is not None and not self.factory.open:
            self.factory.ended.callback(None)


def http(body, status="200 OK", more=""):
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return [head.encode() + body]


class Lookups:
    """Knows one name."""

    def lookup(self, host):
        if host == "ocsp.test":
            return succeed(Answer(("127.0.0.1",), 60.0))
        return fail(NotResolved("there is no such name"))


class TestFetching(TestCase):
    """Over real connections."""

    def setUp(self):
        issued = CA.issue("site.test")
        self.factory = Factory.forProtocol(Scripted)
        self.factory.noisy = False
        self.factory.request = requestFor(issued.certificate, CA.certificate)
        self.factory.answers = []
        self.factory.seen = []
        self.factory.open = 0
        self.factory.ended = None
        self.factory.closes = False
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.url = f"http://ocsp.test:{self.port.getHost().port}/ocsp"

    @inlineCallbacks
    def tearDown(self):
        if self.factory.open:
            self.factory.ended = Deferred()
            yield self.factory.ended
        yield self.port.stopListening()

    def fetch(self, *answers, url=None, timeout=20):
        self.factory.answers += answers
        return Fetcher(reactor, Lookups(), timeout)(url or self.url, self.factory.request)

    @inlineCallbacks
    def refused(self, *answers, **options):
        """@return: the reason."""
        with pytest.raises(BalancerError) as raised:
            yield self.fetch(*answers, **options)
        return str(raised.value)

    @inlineCallbacks
    def test_posted(self):
        assert (yield self.fetch(http(b"response"))) == b"response"
        head, _, body = self.factory.seen[0].partition(b"\r\n\r\n")
        assert body == self.factory.request
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /ocsp HTTP/1.1"
        assert b"Content-Type: application/ocsp-request" in lines
        assert f"Host: ocsp.test:{self.port.getHost().port}".encode() in lines

    @inlineCallbacks
    def test_addresses(self):
        url = self.url.replace("ocsp.test", "127.0.0.1")
        assert (yield self.fetch(http(b"x"), url=url)) == b"x"

    @inlineCallbacks
    def test_chunkedAndUntilTheEnd(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        assert (yield self.fetch([chunked])) == b"ab"
        self.factory.closes = True
        assert (yield self.fetch([b"HTTP/1.0 200 OK\r\n\r\nuntil the end"])) == b"until the end"

    @inlineCallbacks
    def test_status(self):
        assert (yield self.refused(http(b"x", "404 Not Found"))) == "HTTP status 404"
        assert (yield self.refused(http(b"x", "204 No Content"))) == "HTTP status 204"

    @inlineCallbacks
    def test_redirects(self):
        moved = http(b"x", "302 Found", "Location: /there\r\n")
        assert (yield self.fetch(moved, http(b"response"))) == b"response"
        assert self.factory.seen[1].startswith(b"POST /there HTTP/1.1\r\n")
        assert self.factory.seen[1].endswith(self.factory.request)
        assert (yield self.refused(*[moved] * (HOPS + 1))) == "HTTP status 302"

    @inlineCallbacks
    def test_redirectsElsewhere(self):
        for where in ("ftp://ocsp.test/", "file:///etc/passwd", "http://[::1/"):
            moved = http(b"", "301 Moved", f"Location: {where}\r\n")
            assert (yield self.refused(moved)).endswith("is no URL of HTTP")
        moved = http(b"", "301 Moved", "Location: http://gone.test/\r\n")
        assert (yield self.refused(moved)) == "there is no such name"

    @inlineCallbacks
    def test_tooLong(self):
        words = f"it is longer than {MOST >> 10} KiB"
        endless = [b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (MOST + 1)]
        assert (yield self.refused(http(b"x" * MOST))) == words
        assert (yield self.refused(endless)) == words
        assert (yield self.refused([b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * MOST])) == words
        assert (yield self.fetch(http(b"x" * (MOST - 200)))) == b"x" * (MOST - 200)

    @inlineCallbacks
    def test_hanging(self):
        """Before, and in the middle of its answer."""
        words = "no answer within 0.2 s"
        assert (yield self.refused([], timeout=0.2)) == words
        some = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x"]
        assert (yield self.refused(some, timeout=0.2)) == words

    @inlineCallbacks
    def test_nonsense(self):
        assert (yield self.refused([b"SSH-2.0-x\r\n"], timeout=5))
        self.factory.closes = True
        assert (yield self.refused([]))
        broken = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
        assert (yield self.refused(broken))

    @inlineCallbacks
    def test_away(self):
        yield self.port.stopListening()
        assert "refused" in (yield self.refused())

    @inlineCallbacks
    def test_names(self):
        assert (yield self.refused(url="http://gone.test/")) == "there is no such name"
        assert (yield self.refused(url="http://bücher.test/")).endswith("it is not ASCII")

    @inlineCallbacks
    def test_https(self):
        """Whoever answers there has to be known."""
        issued = CA.issue("ocsp.test")
        keyed = ssl.PrivateCertificate.loadPEM(issued.pem())
        port = reactor.listenSSL(0, self.factory, keyed.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"https://ocsp.test:{port.getHost().port}/"
        assert "certificate verify failed" in (yield self.refused(url=url))
        known = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem(CA.certificate))])
        self.patch(
            fetching, "optionsForClientTLS",
            lambda host, trustRoot: ssl.optionsForClientTLS(host, trustRoot=known),
        )  # fmt: skip
        assert (yield self.fetch(http(b"response"), url=url)) == b"response"

    @inlineCallbacks
    def test_lists(self):
        """By GET: from HTTPS there is no way to HTTP, which OCSP may go; its words are signed."""
        issued = CA.issue("ocsp.test")
        keyed = ssl.PrivateCertificate.loadPEM(issued.pem())
        self.factory.request = b""
        port = reactor.listenSSL(0, self.factory, keyed.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        known = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem(CA.certificate))])
        self.patch(
            fetching, "optionsForClientTLS",
            lambda host, trustRoot: ssl.optionsForClientTLS(host, trustRoot=known),
        )  # fmt: skip
        secured = f"https://ocsp.test:{port.getHost().port}"
        fetcher = Fetcher(reactor, Lookups())
        away = http(b"", "302 Found", f"Location: {self.url}\r\n")
        stays = http(b"", "302 Found", "Location: /there\r\n")
        self.factory.answers += [stays, http(b"list"), away]
        found = yield fetcher.get(f"{secured}/list", {"X-Asked": "yes"}, 1000)
        assert found.body == b"list" and b"X-Asked: yes" in self.factory.seen[1]
        with pytest.raises(NotFetched, match="elsewhere, without TLS"):
            yield fetcher.get(f"{secured}/list", {}, 1000)
        assert len(self.factory.seen) == 3

    @inlineCallbacks
    def test_cancelled(self):
        """The connection is closed: L{tearDown} waits for it."""
        asking = self.fetch([])
        while not self.factory.seen:
            pause = Deferred()
            reactor.callLater(0, pause.callback, None)
            yield pause
        asking.cancel()
        with pytest.raises((NotFetched, CancelledError)):
            yield asking
