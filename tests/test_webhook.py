"""Events by POST, to a real HTTP server that takes them, refuses them, is slow, or lies."""

import hashlib
import hmac
import json

from told import event, until
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from lbtwist.discovery import Answer
from lbtwist.health import Result
from lbtwist.interfaces import IEnding, IHealthObserver
from lbtwist.notices import outbox
from lbtwist.notices.outbox import HOST, RETRIES
from lbtwist.notices.webhook import Webhook, jsonOf
from lbtwist.registry import Context


class Lookups:
    def lookup(self, host):
        assert host == "hooks.test"
        return succeed(Answer(("127.0.0.1",), 60.0))


class Hook(Resource):
    """
    @ivar statuses: the answers to come, 204 after them; L{None} is none at all.
    @ivar taken: head and body of each request.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.statuses = []
        self.taken = []
        self.waiting = {}

    def render(self, request):
        self.taken.append((request, request.content.read()))
        waiting = self.waiting.pop(len(self.taken), None)
        if waiting is not None:
            waiting.callback(None)
        status = self.statuses.pop(0) if self.statuses else 204
        if status is None:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        request.setResponseCode(status)
        if status == 302:
            request.setHeader(b"Location", b"/elsewhere")
        return b"" if status == 204 else b"x" * 200_000

    def after(self, number):
        """@return: fires when so many have come."""
        if len(self.taken) >= number:
            return succeed(None)
        return self.waiting.setdefault(number, Deferred())


class WebhookTests(TestCase):
    timeout = 30

    def setUp(self):
        self.hook = Hook()
        self.ended = []
        site = Site(self.hook)
        built = site.buildProtocol

        def buildProtocol(addr):
            # What is closed a moment later is closed before the test ends.
            protocol = built(addr)
            lost, ended = protocol.connectionLost, Deferred()
            self.ended.append(ended)

            def connectionLost(reason):
                lost(reason)
                ended.callback(None)

            protocol.connectionLost = connectionLost
            return protocol

        site.buildProtocol = buildProtocol
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.patch(outbox, "PAUSE", 0.01)
        self.logged = self.enterContext(capturedLogs())

    @inlineCallbacks
    def tearDown(self):
        yield self.observer.end()
        yield DeferredList(self.ended)
        yield self.port.stopListening()

    def webhook(self, **options):
        url = f"http://hooks.test:{self.port.getHost().port}/T0/secret"
        context = Context(reactor=reactor, names=Lookups())
        self.observer = Webhook(Webhook.Options(url, **options), context)
        return self.observer

    @property
    def log(self):
        ours = [one for one in self.logged if "outbox" in one["log_namespace"]]
        return [formatEvent(one) for one in ours]

    @inlineCallbacks
    def test_posted(self):
        webhook = self.webhook()
        verifyObject(IHealthObserver, webhook)
        verifyObject(IEnding, webhook)
        told = event(reason="why", result=Result(False, "L4CON", "refused", 0.25), active=1)
        webhook.healthChanged(told)
        assert self.hook.taken == [], "nothing is waited for"
        yield self.hook.after(1)
        [(request, body)] = self.hook.taken
        assert (request.method, request.uri) == (b"POST", b"/T0/secret")
        assert request.getHeader("Content-Type") == "application/json"
        assert request.getHeader("X-Lbtwist-Signature") is None
        said = json.loads(body)
        assert said == {"id": said["id"], "lost": 0, "host": HOST, **jsonOf(told)}

    @inlineCallbacks
    def test_inOrderEachOnce(self):
        webhook = self.webhook()
        for name in "abcdef":
            webhook.healthChanged(event(name))
        yield self.hook.after(6)
        said = [json.loads(body) for _, body in self.hook.taken]
        assert "".join(one["server"] for one in said) == "abcdef"
        assert len({one["id"] for one in said}) == 6

    @inlineCallbacks
    def test_signed(self):
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("our secret\nsomething else\n")
        self.webhook(secret_file=path).healthChanged(event())
        yield self.hook.after(1)
        [(request, body)] = self.hook.taken
        digest = hmac.new(b"our secret", body, hashlib.sha256).hexdigest()
        assert request.getHeader("X-Lbtwist-Signature") == f"sha256={digest}"

    @inlineCallbacks
    def test_noSecret(self):
        """Nothing is sent that is not signed."""
        self.webhook(secret_file="/nowhere/key").healthChanged(event())
        yield until(lambda: self.log)
        assert self.log[0].startswith("webhook http://hooks.test:")
        assert "/nowhere/key" in self.log[0]
        assert self.hook.taken == []

    @inlineCallbacks
    def test_again(self):
        """The same again, which its id says, after what is no success."""
        self.hook.statuses = [500, 302, 404]
        self.webhook().healthChanged(event())
        yield self.hook.after(4)
        bodies = {body for _, body in self.hook.taken}
        assert len(bodies) == 1
        assert [request.uri for request, _ in self.hook.taken] == [b"/T0/secret"] * 4
        yield self.observer.end()
        assert self.log == []

    @inlineCallbacks
    def test_anySuccess(self):
        """However much it says: nobody reads it."""
        self.hook.statuses = [200, 201, 299]
        webhook = self.webhook()
        for name in "abc":
            webhook.healthChanged(event(name))
        yield self.hook.after(3)
        yield webhook.end()
        assert self.log == [] and len(self.hook.taken) == 3

    @inlineCallbacks
    def test_givenUp(self):
        """It is said without the path, which may be what gives the right to post."""
        self.hook.statuses = [500] * (RETRIES + 1)
        webhook = self.webhook()
        webhook.healthChanged(event("a"))
        yield until(lambda: self.log)
        webhook.healthChanged(event("b"))
        yield self.hook.after(RETRIES + 2)
        yield webhook.end()
        first, second = self.log
        shown = f"webhook http://hooks.test:{self.port.getHost().port}"
        assert first.startswith(f"{shown} fails: HTTP status 500; ")
        assert second == f"{shown} works again; events lost: 1"
        assert json.loads(self.hook.taken[-1][1])["lost"] == 1

    @inlineCallbacks
    def test_slow(self):
        self.hook.statuses = [None] * (RETRIES + 1)
        self.webhook(timeout=0.1).healthChanged(event())
        yield until(lambda: self.log)
        assert "fails: no answer within 0.1 s" in self.log[0]

    @inlineCallbacks
    def test_theEndOfASlowOne(self):
        self.patch(outbox, "LAST", 0.1)
        self.hook.statuses = [None]
        webhook = self.webhook()
        webhook.healthChanged(event())
        yield self.hook.after(1)
        yield webhook.end()
        assert self.log[0].endswith(": events not sent before the end: 1")

    @inlineCallbacks
    def test_nobodyListens(self):
        webhook = self.webhook()
        yield self.port.stopListening()
        webhook.healthChanged(event())
        yield until(lambda: self.log)
        assert "refused" in self.log[0]


def test_json():
    result = Result(False, "L7RSP", "<b>\r\n\x1b[31m\udc80", 0.25, at=7.0)
    told = event(reason="why", result=result, address="10.0.0.1:80", active=1, queued=2)
    assert jsonOf(told) == {
        "text": "Server app/a is DOWN, reason: why, check duration 250.0 ms. "
        "1 active and 0 backup servers left.",
        "at": "2023-11-14T22:13:20.250Z",
        "pool": "app", "server": "a", "what": "down", "before": "UP", "after": "DOWN",
        "reason": "why", "address": "10.0.0.1:80", "active": 1, "backup": 0, "sessions": 0,
        "queued": 2, "weight": 1, "maxconn": 0, "role": "",
        "check": {"passed": False, "status": "L7RSP", "detail": "<b> ?[31m?", "duration": 0.25},
    }  # fmt: skip
    assert jsonOf(event())["check"] is None
