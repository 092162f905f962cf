"""Spans on their way to a collector: what is said of an exchange, and a real one that takes it."""

import attr
import heads
import pytest
from authority import Authority, pem
from collected import spansOf
from told import until
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from lbtwist import spans as module
from lbtwist.config.model import Collector, OTLPOptions
from lbtwist.discovery import Answer
from lbtwist.errors import StartError
from lbtwist.exchange import Connection, Exchange
from lbtwist.interfaces import ISpanObserver
from lbtwist.notices import outbox
from lbtwist.sansio.otlp import Ended, request
from lbtwist.spans import AT_ONCE, LONGEST, MOST, Spans

TRACE, ASKED, OWN, PARENT = "0af7651916cd43dd8448eb211c80319c", "a" * 16, "b" * 16, "c" * 16
IDS = f"{TRACE}-{ASKED}-01-{OWN}-{PARENT}"
GOOD = Ended(
    IDS, 10.0, 10.25, 11.0, "GET", "/index.html", True, "www.example.com:8443", 200,
    ("203.0.113.9", 4711), "www", "app", "a", ("10.0.0.1", 8001), "--", False, 0, "",
)  # fmt: skip


def told(**changes):
    """@return: the spans of an exchange like L{GOOD}, but for these."""
    return spansOf(request([attr.evolve(GOOD, **changes)], {"service.name": "lb"}, 1.7e9))


def test_oneOfTheBalancerAndOneOfTheServer():
    server, client = told()
    assert (server.trace, server.id, server.parent) == (TRACE, OWN, PARENT)
    assert (client.trace, client.id, client.parent) == (TRACE, ASKED, OWN)
    assert (server.kind, client.kind) == (2, 3)
    assert (server.start, server.end) == (1_700_000_010 * 10**9, 1_700_000_011 * 10**9)
    assert (client.start, client.end) == (1_700_000_010_250_000_000, 1_700_000_011 * 10**9)
    assert server.resource == {"service.name": "lb"}
    assert server.status == client.status == {}


def test_attributes():
    server, client = told()
    assert server.name == client.name == "GET"
    assert server.attributes == {
        "http.request.method": "GET", "http.response.status_code": 200, "url.scheme": "https",
        "url.path": "/index.html", "server.address": "www.example.com", "server.port": 8443,
        "client.address": "203.0.113.9", "client.port": 4711, "lbtwist.frontend": "www",
        "lbtwist.pool": "app", "lbtwist.server": "a", "lbtwist.termination": "--",
    }  # fmt: skip
    assert client.attributes == {
        "http.request.method": "GET", "http.response.status_code": 200,
        "server.address": "10.0.0.1", "server.port": 8001, "lbtwist.pool": "app",
        "lbtwist.server": "a",
    }  # fmt: skip


def test_whereNoServerWasAskedThereIsOneSpan():
    [server] = told(server="", askedAt=0.0, serverAddress=None, ids=IDS[:-16])
    assert server.parent == ""
    assert "lbtwist.server" not in server.attributes


@pytest.mark.parametrize(
    ("changes", "types"),
    [
        ({"status": 404}, [None, "404"]),
        ({"status": 503}, ["503", "503"]),
        ({"failed": True, "termination": "SD"}, ["SD", "SD"]),
        ({"failed": True, "termination": "sH", "status": 504}, ["504", "504"]),
        ({"failed": True, "termination": "sH", "status": 504, "answered": False}, ["504", "sH"]),
    ],
)
def test_whatIsAnError(changes, types):
    found = told(**changes)
    assert [one.attributes.get("error.type") for one in found] == types
    assert [one.status.get("code") for one in found] == [kind and 2 for kind in types]


def test_whyItFailed():
    server, _ = told(failed=True, termination="SH", reason="no response")
    assert server.status == {"code": 2, "message": "no response"}


def test_aMethodOfNoName():
    server, _ = told(method="BREW")
    assert server.name == "HTTP"
    assert server.attributes["http.request.method"] == "_OTHER"
    assert server.attributes["http.request.method_original"] == "BREW"


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("h", "h", None), ("[::1]:80", "::1", 80), ("[::1]", "::1", None), ("h:", "h:", None),
        ("h:x", "h:x", None), ("", None, None), ("h:99999999999999999999", None, None),
    ],
)  # fmt: skip
def test_hosts(host, address, port):
    server, _ = told(host=host)
    if address is not None:
        assert server.attributes["server.address"] == address
    assert server.attributes.get("server.port") == port


def test_attemptsAndUNIXSockets():
    _, client = told(retries=2, serverAddress=("/run/app", 0))
    assert client.attributes["http.request.resend_count"] == 2
    assert client.attributes["server.address"] == "/run/app"
    assert "server.port" not in client.attributes


def test_textsOfStrangersAreText():
    server, _ = told(path='/"\\\n\x00ÿ', host="ÿ")
    assert server.attributes["url.path"] == '/"\\\n\x00ÿ'


def exchange(line=b"GET /a?secret HTTP/1.1", trace=IDS):
    connection = Connection(1, ("203.0.113.9", 4711), ("10.0.0.1", 80), 1.0)
    found = Exchange(connection, None, (), 1.0)
    found.request, found.trace, found.status = heads.request(line), trace, 200
    found.cause, found.stage, found.finishedAt = "-", "-", 2.0
    return found


CA = Authority()


class Lookups:
    def lookup(self, host):
        assert host == "otlp.test"
        return succeed(Answer(("127.0.0.1",), 60.0))


class Taking(Resource):
    """
    A collector.

    @ivar statuses: the answers to come, 200 after them.
    @ivar taken: head and body of each request.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.statuses = []
        self.taken = []

    def render(self, request):
        self.taken.append((request, request.content.read()))
        request.setResponseCode(self.statuses.pop(0) if self.statuses else 200)
        return b'{"partialSuccess":{}}'


class TestSpans(TestCase):
    timeout = 30

    def setUp(self):
        self.collector = Taking()
        self.ended = []
        self.patch(outbox, "PAUSE", 0.01)
        self.patch(module, "WAIT", 0.01)
        self.logged = self.enterContext(capturedLogs())

    def spans(self, scheme="http", **options):
        site = Site(self.collector)
        if scheme == "http":
            self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        else:
            keyed = ssl.PrivateCertificate.loadPEM(CA.issue("otlp.test").pem())
            self.port = reactor.listenSSL(0, site, keyed.options(), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        url = f"{scheme}://otlp.test:{self.port.getHost().port}/v1/traces"
        found = Spans(
            Collector(url, OTLPOptions(**options)), reactor, Lookups(), lambda: 1.7e9 + 3,
            lambda: 3.0,
        )  # fmt: skip
        self.addCleanup(found.stop)
        return found

    @property
    def log(self):
        ours = ("lbtwist.notices.outbox", "lbtwist.spans")
        return [formatEvent(one) for one in self.logged if one["log_namespace"].startswith(ours)]

    def names(self):
        found = spansOf(*(body for _, body in self.collector.taken))
        return [one.attributes["url.path"] for one in found]

    @inlineCallbacks
    def test_posted(self):
        spans = self.spans(service="edge")
        verifyObject(ISpanObserver, spans)
        spans.start()
        spans(exchange())
        spans(exchange(b"GET /b HTTP/1.1"))
        spans(exchange(b"GET /c HTTP/1.1", IDS[:52]))
        assert self.collector.taken == [], "nothing is waited for"
        yield until(lambda: self.collector.taken)
        [(request, body)] = self.collector.taken
        assert (request.method, request.uri) == (b"POST", b"/v1/traces")
        assert request.getHeader("Content-Type") == "application/json"
        first, second = spansOf(body)
        assert first.resource["service.name"] == "edge"
        assert first.attributes["url.path"] == "/a", "without the query"
        assert first.end - first.start == 10**9
        assert first.end == 1_700_000_002 * 10**9
        assert second.attributes["url.path"] == "/b"

    @inlineCallbacks
    def test_sentAgain(self):
        spans = self.spans()
        self.collector.statuses = [503, 503]
        spans(exchange())
        yield until(lambda: len(self.collector.taken) == 3)
        assert self.names() == ["/a"] * 3
        assert spans.dropped == 0

    @inlineCallbacks
    def test_droppedIsCountedAndSaidOnce(self):
        spans = self.spans()
        self.collector.statuses = [400] * 8
        spans(exchange())
        yield until(lambda: spans.dropped == 1)
        spans(exchange())
        yield until(lambda: spans.dropped == 2)
        [said] = self.log
        assert "fails" in said and "400" in said
        spans(exchange(b"GET /later HTTP/1.1"))
        yield until(lambda: len(self.collector.taken) == 9)
        yield until(lambda: len(self.log) > 1)
        assert spans.dropped == 2

    @inlineCallbacks
    def test_noMoreThanSoManyWait(self):
        self.patch(module, "WAIT", 0.2)
        spans = self.spans()
        for number in range(MOST + 3):
            spans(exchange(b"GET /%d HTTP/1.1" % number))
        assert spans.dropped == 3
        yield until(lambda: len(self.collector.taken) == MOST // AT_ONCE)
        names = self.names()
        assert (len(names), names[0], names[-1]) == (MOST, "/3", f"/{MOST + 2}")
        yield until(lambda: self.log)
        assert ["3 were dropped" in one for one in self.log] == [True]
        assert spans.dropped == 3

    @inlineCallbacks
    def test_whatIsDroppedWhileItIsToldCounts(self):
        self.patch(module, "MOST", 2)
        spans = self.spans()
        answers = []
        spans._fetch.post = lambda *_: answers.append(Deferred()) or answers[-1]
        spans(exchange())
        yield until(lambda: answers)
        for _ in range(5):
            spans(exchange())
        assert spans.dropped == 3
        answers.pop().callback(None)
        assert spans.dropped == 3
        yield until(lambda: answers)
        answers.pop().callback(None)

    @inlineCallbacks
    def test_theEndTellsWhatWaits(self):
        self.patch(module, "WAIT", 60.0)
        spans = self.spans()
        spans(exchange())
        yield spans.stop()
        assert self.names() == ["/a"]

    @inlineCallbacks
    def test_https(self):
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(pem(CA.certificate))
        spans = self.spans("https", ca=path)
        spans.start()
        spans(exchange())
        yield until(lambda: self.collector.taken)
        assert self.names() == ["/a"]

    @inlineCallbacks
    def test_httpsOfNobodyKnown(self):
        spans = self.spans("https")
        spans.start()
        spans(exchange())
        yield until(lambda: spans.dropped)
        assert "certificate verify failed" in self.log[0]
        assert self.collector.taken == []

    def test_authoritiesThatCannotBeRead(self):
        path = self.mktemp()
        spans = self.spans(ca=path)
        with pytest.raises(StartError, match="cannot be read"):
            spans.start()
        with open(path, "w") as file:
            file.write("nothing")
        with pytest.raises(StartError, match="no certificate is in it"):
            spans.start()

    def test_whatIsLongIsCut(self):
        spans = self.spans()
        kept = []
        self.patch(spans._outbox, "put", kept.append)
        one = exchange(b"GET /%b HTTP/1.1" % (b"a" * 5000))
        one.reason = "why" * 1000
        spans(one)
        [found] = kept
        assert len(found.path) == LONGEST
        assert len(found.reason) <= LONGEST

    def test_whatIsNoTextIsNotSent(self):
        """Half of a pair of surrogates is no UTF-8: a collector would refuse all of it."""
        spans = self.spans()
        kept = []
        self.patch(spans._outbox, "put", kept.append)
        one = exchange()
        one.reason = "a\udcff\nb"
        spans(one)
        kept[0].reason.encode()
        assert "\n" not in kept[0].reason
