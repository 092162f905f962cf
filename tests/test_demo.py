"""What the demonstration servers answer, as a client on a real connection sees it."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from lbtwist.demo import LARGEST, DemoServer


class Client(Protocol):
    """Sends a request, and keeps everything until the connection ends."""

    def __init__(self, request):
        self.request = request
        self.received = bytearray()
        self.ended = Deferred()

    def connectionMade(self):
        self.transport.write(self.request)

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.reason = reason
        self.ended.callback(bytes(self.received))


class DemoTests(TestCase):
    def setUp(self):
        self.server = DemoServer("one")
        self.endpoint = self.server.start(reactor)
        self.addCleanup(lambda: self.server.stop())

    def connect(self, request):
        return connectProtocol(TCP4ClientEndpoint(reactor, *self.endpoint.address), Client(request))

    @inlineCallbacks
    def ask(self, target, *lines, method="GET", body=b""):
        """@return: status, fields and body."""
        head = [f"{method} {target} HTTP/1.1", "Host: demo.example", *lines, "Connection: close"]
        client = yield self.connect("\r\n".join([*head, "", ""]).encode() + body)
        received = yield client.ended
        head, _, body = received.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        return int(line.split()[1]), fields, body

    @inlineCallbacks
    def test_whatItWasAsked(self):
        status, fields, body = yield self.ask("/a/b?c=d", "X-Forwarded-For: 192.0.2.1, 10.0.0.1")
        assert status == 200 and fields["content-type"] == "text/plain; charset=utf-8"
        first, empty, request, *lines = body.decode().splitlines()
        assert (first, empty) == ("This is the demonstration server one.", "")
        assert request == "GET /a/b?c=d HTTP/1.1"
        assert {"Host: demo.example", "X-Forwarded-For: 192.0.2.1, 10.0.0.1"} < set(lines)
        assert lines[-2] == "Client: 192.0.2.1, 10.0.0.1 (says X-Forwarded-For)"
        assert lines[-1].startswith("Connected: 127.0.0.1:")

    @inlineCallbacks
    def test_withoutABalancer(self):
        _status, _fields, body = yield self.ask("/")
        assert b"Client:" not in body and b"\nConnected: 127.0.0.1:" in body

    @inlineCallbacks
    def test_everyMethod(self):
        for method in ("POST", "DELETE", "PURGE"):
            status, _fields, body = yield self.ask(
                "/x", "Content-Length: 3", "Content-Type: multipart/form-data; boundary=x",
                method=method, body=b"abc",
            )  # fmt: skip
            assert status == 200 and f"{method} /x HTTP/1.1".encode() in body

    @inlineCallbacks
    def test_aHeadHasNoBody(self):
        for target in ("/", "/?size=1000000"):
            status, fields, body = yield self.ask(target, method="HEAD")
            assert status == 200 and int(fields["content-length"]) > 0 and body == b""

    @inlineCallbacks
    def test_whatIsNotText(self):
        """It is shown as it came, and no browser may take it for a page."""
        client = yield self.connect(
            b"GET /<script> HTTP/1.1\r\nHost: a\r\nX-A: k\xc3\xa4se\r\nX-B: k\xe4se\r\n"
            b"Connection: close\r\n\r\n"
        )
        head, _, body = (yield client.ended).partition(b"\r\n\r\n")
        assert b"X-Content-Type-Options: nosniff" in head
        assert "GET /<script> HTTP/1.1\n" in body.decode()
        assert "X-A: käse\nX-B: k\\xe4se\n" in body.decode()

    @inlineCallbacks
    def test_aSize(self):
        for size in (0, 1, 64, 32768, 100_000, LARGEST):
            _status, fields, body = yield self.ask(f"/?size={size}")
            assert int(fields["content-length"]) == len(body) == size

    @inlineCallbacks
    def test_whatIsNotAccepted(self):
        for query, complaint in (
            ("size=10000001", b"size: 10000001 is out of bounds"),
            ("size=all", b"size: 'all' is not a whole number"),
            ("slow=31", b"slow: 31 is out of bounds"),
            ("slow=inf", b"slow: 'inf' is not a number"),
            ("slow=%FF", b"slow: '\\\\xff' is not a number"),
        ):
            status, _fields, body = yield self.ask(f"/?{query}")
            assert status == 400 and body.startswith(complaint), body

    @inlineCallbacks
    def test_keptAlive(self):
        request = b"GET / HTTP/1.1\r\nHost: a\r\n"
        last = request + b"Connection: close\r\n\r\n"
        client = yield self.connect((request + b"\r\n") * 2 + last)
        assert (yield client.ended).count(b"HTTP/1.1 200 OK") == 3

    @inlineCallbacks
    def test_noAccessLog(self):
        with capturedLogs() as events:
            yield self.ask("/")
            yield self.ask("/?size=70000")
        assert [event for event in events if "GET /" in str(event)] == []

    @inlineCallbacks
    def test_stoppedWithConnections(self):
        """One idle, one that waits for its answer, one that does not read its own."""
        idle = yield self.connect(b"")
        waits = yield self.connect(b"GET /?slow=30 HTTP/1.1\r\nHost: a\r\n\r\n")
        reads = yield self.connect(b"GET /?size=10000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        while not reads.received:
            yield turn()
        reads.transport.pauseProducing()
        assert repr(self.server) == "<DemoServer one runs>"
        yield self.server.stop()
        assert repr(self.server) == "<DemoServer one stopped>"
        reads.transport.resumeProducing()
        for client in (idle, waits, reads):
            yield client.ended
            assert client.reason.check(ConnectionLost)
        yield self.server.stop()

    @inlineCallbacks
    def test_aClientThatGoes(self):
        """Before its slow answer came, and within a long one: nothing is left of it."""
        waits = yield self.connect(b"GET /?slow=30 HTTP/1.1\r\nHost: a\r\n\r\n")
        reads = yield self.connect(b"GET /?size=10000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        while not reads.received:
            yield turn()
        for client in (waits, reads):
            client.transport.abortConnection()
            yield client.ended
        assert (yield self.ask("/"))[0] == 200


def turn():
    done = Deferred()
    reactor.callLater(0, done.callback, None)
    return done


class SlowReactor(Clock):
    """The real sockets, another time."""

    def listenTCP(self, *args, **options):
        return reactor.listenTCP(*args, **options)


class SlowTests(TestCase):
    @inlineCallbacks
    def test_aSlowAnswer(self):
        clock = SlowReactor()
        server = DemoServer("one")
        endpoint = server.start(clock)
        client = Client(b"GET /?slow=2.5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        yield connectProtocol(TCP4ClientEndpoint(reactor, *endpoint.address), client)
        while not any(call.getTime() == 2.5 for call in clock.calls):
            yield turn()
        clock.advance(2.4)
        for _ in range(5):
            yield turn()
        assert client.received == b""
        clock.advance(0.1)
        assert b"This is the demonstration server one." in (yield client.ended)
        stopped = []
        server.stop().addCallback(stopped.append)
        while not stopped:
            yield turn()
            clock.advance(0)
