"""Servers that a URL names, over real connections to a server that fails and comes back."""

from sourced import SourcedTestCase
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lbtwist.sources import web

ONE = b'[{"address": "10.0.0.1:80", "weight": 3}]'
TWO = b'[{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80"}]'


class List(Resource):
    """
    Gives a list away.

    @ivar status: with this status, L{None} for no answer at all.
    @ivar fields: and these header fields.
    @ivar asked: the header fields of each request, in lower case.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.body = ONE
        self.status = 200
        self.fields = {}
        self.asked = []
        self.statuses = []

    def render_GET(self, request):
        self.asked.append(
            {
                name.decode().lower(): values[0].decode()
                for name, values in request.requestHeaders.getAllRawHeaders()
            }
        )
        if self.status is None:
            return NOT_DONE_YET
        for name, value in self.fields.items():
            request.setHeader(name, value)
        request.setResponseCode(self.status)
        seen = request.getHeader("If-None-Match")
        body = self.body
        if self.status == 200 and seen and seen == self.fields.get("ETag"):
            request.setResponseCode(304)
            body = b""
        self.statuses.append(request.code)
        return body


class Blob(Protocol):
    """Says what nobody expects, and then nothing or an end."""

    def connectionMade(self):
        self.transport.write(self.factory.data)
        if self.factory.closes:
            self.transport.loseConnection()


class HTTPTests(SourcedTestCase):
    def setUp(self):
        super().setUp()
        self.list = List()
        self.port, self.listening = self.listens(self.list)

    def asks(self, options="interval=50ms", path="/list?a=b&c=d"):
        self.starts(f"http://127.0.0.1:{self.port}{path} {options}")

    @inlineCallbacks
    def test_theyComeAndGo(self):
        self.asks()
        yield self.has("10.0.0.1:80")
        assert self.pool.servers[0].weight == 3
        self.list.body = TWO
        yield self.has("10.0.0.1:80", "10.0.0.2:80")
        self.list.body = b"10.0.0.2:80 weight=7\n"
        yield self.has("10.0.0.2:80")
        assert self.pool.usable[0].weight == 7
        assert self.list.asked[0]["accept"] == "application/json, text/plain"

    @inlineCallbacks
    def test_ETag(self):
        """It is asked for only if it is another one."""
        self.list.fields = {"ETag": '"v1"'}
        self.asks()
        yield self.until(lambda: self.list.statuses[:3] == [200, 304, 304])
        assert "if-none-match" not in self.list.asked[0]
        assert self.list.asked[1]["if-none-match"] == '"v1"'
        assert self.addresses == ["10.0.0.1:80"] and self.membership.failures == 0
        self.list.fields = {"ETag": '"v2"'}
        self.list.body = TWO
        yield self.has("10.0.0.1:80", "10.0.0.2:80")
        yield self.until(lambda: self.list.asked[-1].get("if-none-match") == '"v2"')

    @inlineCallbacks
    def test_lastModified(self):
        date = "Sat, 21 Nov 2026 12:00:00 GMT"
        self.list.fields = {"Last-Modified": date}
        self.asks()
        yield self.until(lambda: len(self.list.asked) > 1)
        assert self.list.asked[1]["if-modified-since"] == date

    @inlineCallbacks
    def test_aBadListIsAskedForAgain(self):
        """Whatever its ETag is: it would be as bad as before, but not known to be."""
        self.list.fields = {"ETag": '"v1"'}
        self.asks()
        yield self.has("10.0.0.1:80")
        self.list.fields = {"ETag": '"v2"'}
        self.list.body = b"[{"
        yield self.fails("it is not JSON")
        yield self.until(lambda: "if-none-match" not in self.list.asked[-1])
        self.list.body = TWO
        yield self.has("10.0.0.1:80", "10.0.0.2:80")

    @inlineCallbacks
    def test_notModifiedWithoutReason(self):
        self.list.status = 304
        self.asks()
        yield self.fails("HTTP status 304, though nothing was there before")

    @inlineCallbacks
    def test_itGoesAwayAndComesBack(self):
        """Statuses, silence, nobody: the servers stay, and two lines are logged."""
        self.patch(web, "TIMEOUT", 0.2)
        self.asks()
        yield self.has("10.0.0.1:80")
        self.events()
        for status, reason in (
            (500, "HTTP status 500"), (404, "HTTP status 404"), (204, "HTTP status 204"),
            (None, "no answer within 0.2 s"),
        ):  # fmt: skip
            self.list.status = status
            yield self.fails(reason)
        yield self.listening.stopListening()
        yield self.fails("refused")
        assert self.addresses == ["10.0.0.1:80"]
        self.list.status = 200
        self.listens(self.list, self.port)
        yield self.until(lambda: not self.membership.failures)
        begins, ends = self.events()
        assert "fails: HTTP status 500; what it said " in begins and begins.endswith("1 server")
        assert "answers again, after" in ends

    @inlineCallbacks
    def test_whatCannotBeRead(self):
        self.asks()
        yield self.has("10.0.0.1:80")
        for body, reason in (
            (b"", "it names no server"),
            (b"<html>", "line 1: '<html>' has no port"),
            (b"\xff", "byte 0xff of the list is not UTF-8"),
            (b'[{"address": "unix:/var/run/docker.sock"}]', "cannot name sockets of this machine"),
            (b"#" * (1 << 20), "it is longer than 1024 KiB"),
        ):
            self.list.body = body
            yield self.fails(reason)
        assert self.addresses == ["10.0.0.1:80"]

    @inlineCallbacks
    def test_whatIsNotHTTP(self):
        cut = b"HTTP/1.1 200 OK\r\n"
        for data, closes in ((b"SSH-2.0-x\r\n", False), (b"", True), (cut, True)):
            factory = Factory.forProtocol(Blob)
            factory.noisy = False
            factory.data, factory.closes = data, closes
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            self.starts(f"http://127.0.0.1:{port.getHost().port}/")
            yield self.until(lambda: self.membership.failures)
            assert self.membership.reason and not self.pool.servers
            yield self.balancer.stopService()

    @inlineCallbacks
    def test_itIsElsewhere(self):
        """A redirect is followed, though not in a circle."""
        other = List()
        port, _ = self.listens(other)
        self.list.status = 302
        self.list.fields = {"Location": f"http://127.0.0.1:{port}/"}
        self.asks()
        yield self.has("10.0.0.1:80")
        self.list.fields = {"Location": "/"}
        yield self.fails("HTTP status 302")

    @inlineCallbacks
    def test_stoppedWhileItWaits(self):
        self.list.status = None
        self.asks()
        yield self.until(lambda: self.list.asked)
        yield self.balancer.stopService()
        assert self.membership.failures == 0
