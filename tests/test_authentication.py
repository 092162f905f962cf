"""The verb C{auth} with a real service on the loopback, and with real threads."""

import base64
import tempfile
import time
from pathlib import Path

import pytest
from test_passwords import SHA1
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, inlineCallbacks
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from lbtwist.authentication import LARGEST_BODY, Auth
from lbtwist.config.load import loadText
from lbtwist.config.model import Part, RuleLine, RuleOptions
from lbtwist.deadlines import Deadlines
from lbtwist.errors import ConfigError, Undecided
from lbtwist.exchange import Connection, Exchange
from lbtwist.registry import Context, installed
from lbtwist.rules.decisions import Deny
from lbtwist.rules.values import Stage
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.waiting import Verb
from programs import freePort

GET = (
    b"GET /a%20b?c=d HTTP/1.1\r\nHost: www.example.com:8443\r\nAuthorization: Bearer x\r\n"
    b"Cookie: a=b\r\nCookie: c=d\r\nX-Forwarded-For: 192.0.2.7\r\nX-User: mallory\r\n"
    b"x-user: eve\r\nX-Secret: s\r\n\r\n"
)


def exchangeOf(data=GET, trusted=False):
    client, local = ("203.0.113.9", 40000), ("192.0.2.1", 80)
    exchange = Exchange(Connection(1, client, local, 0.0, trusted), None, (), 0.0)
    exchange.request = RequestReader().read(data)
    return exchange


class Says(Resource):
    """
    An HTTP service that answers what a test wants.

    @ivar asked: the requests that have come.
    @ivar peers: the ports from where.
    """

    isLeaf = True

    def __init__(self, status=200, fields=(), body=b""):
        super().__init__()
        self.status = status
        self.fields = fields
        self.body = body
        self.asked = []
        self.peers = set()

    def render(self, request):
        self.asked.append(request)
        self.peers.add(request.getClientAddress().port)
        request.setResponseCode(self.status)
        for name, value in self.fields:
            request.responseHeaders.addRawHeader(name, value)
        return self.body


class Sleeps(Resource):
    """
    A service that does not answer.

    @ivar came: fires when it is asked.
    @ivar gone: fires when who has asked goes away.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.came = Deferred()
        self.gone = Deferred()

    def render(self, request):
        request.notifyFinish().addErrback(lambda failure: self.gone.callback(None))
        self.came.callback(None)
        return NOT_DONE_YET


class ServiceTests(TestCase):
    def listen(self, resource):
        """@return: the URL of a service."""
        self.site = Site(resource, timeout=None)
        port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}/check?by=lb"

    def auth(self, url, **options):
        found = Auth(Auth.Options(url=url, **options), Context(reactor=reactor))
        self.addCleanup(lambda: found._by._agentFor()._pool.closeCachedConnections())
        return found

    def ask(self, verb, exchange):
        return ensureDeferred(verb.requestReceived(exchange))

    @inlineCallbacks
    def test_theQuestion(self):
        service = Says()
        verb = self.auth(self.listen(service))
        assert (yield self.ask(verb, exchangeOf())) is None
        (request,) = service.asked
        assert (request.method, request.uri) == (b"GET", b"/check?by=lb")
        said = {
            name.lower(): values for name, values in request.requestHeaders.getAllRawHeaders()
        }
        assert said.pop(b"host")[0].startswith(b"127.0.0.1:")
        said.pop(b"connection", None)
        assert said == {
            b"x-forwarded-method": [b"GET"],
            b"x-forwarded-proto": [b"http"],
            b"x-forwarded-host": [b"www.example.com:8443"],
            b"x-forwarded-uri": [b"/a%20b?c=d"],
            # Nobody has to believe what a client says of its address.
            b"x-forwarded-for": [b"203.0.113.9"],
            b"authorization": [b"Bearer x"],
            b"cookie": [b"a=b", b"c=d"],
        }

    @inlineCallbacks
    def test_aTrustedProxyHasSaidMore(self):
        service = Says()
        verb = self.auth(self.listen(service))
        yield self.ask(verb, exchangeOf(trusted=True))
        said = service.asked[0].requestHeaders.getRawHeaders(b"x-forwarded-for")
        assert said == [b"192.0.2.7, 203.0.113.9"]

    @inlineCallbacks
    def test_oneConnectionForAll(self):
        service = Says()
        verb = self.auth(self.listen(service))
        for _ in range(3):
            yield self.ask(verb, exchangeOf())
        assert len(service.asked) == 3
        assert len(service.peers) == 1

    @inlineCallbacks
    def test_copied(self):
        service = Says(204, [(b"X-User", b"alice"), (b"X-Group", b"a"), (b"X-Group", b"b")])
        verb = self.auth(self.listen(service), copy=(b"X-User", b"X-Group", b"X-Secret"))
        exchange = exchangeOf()
        assert (yield self.ask(verb, exchange)) is None
        fields = exchange.request.fields
        assert fields.getAll(b"x-user") == [b"alice"]
        assert fields.getAll(b"x-group") == [b"a", b"b"]
        # It was not said by the service; what the client has said does not count.
        assert fields.get(b"x-secret") is None
        assert fields.get(b"cookie") == b"c=d"

    @inlineCallbacks
    def test_whatClientsSayIsNotCopiedByAFailure(self):
        verb = self.auth(f"http://127.0.0.1:{freePort()}/", copy=(b"X-User",))
        exchange = exchangeOf()
        exchange.request.fields.add(b"X_User", b"root")
        failure = yield self.assertFailure(self.ask(verb, exchange), Undecided)
        assert "refused" in str(failure)
        assert exchange.request.fields.getAll(b"x-user") == []
        assert exchange.request.fields.getAll(b"x_user") == []

    @inlineCallbacks
    def refusal(self, status, denied):
        fields = [
            (b"WWW-Authenticate", b"Bearer"), (b"Location", b"https://sso/?a=b"),
            (b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d"), (b"Keep-Alive", b"timeout=5"),
            (b"Content-Type", b"text/plain"),
        ]  # fmt: skip
        verb = self.auth(self.listen(Says(status, fields, b"go away")))
        answer = yield self.ask(verb, exchangeOf())
        assert (answer.status, answer.body, answer.denied) == (status, b"go away", denied)
        given = [(name.lower(), value) for name, value in answer.fields]
        for name, value in fields:
            assert ((name.lower(), value) in given) == (name != b"Keep-Alive")
        assert not {name for name, _ in given} & {b"content-length", b"transfer-encoding"}

    def test_401(self):
        return self.refusal(401, True)

    def test_403(self):
        return self.refusal(403, True)

    def test_302(self):
        """To where one logs in: that is no refusal."""
        return self.refusal(302, False)

    @inlineCallbacks
    def test_anyOtherAnswer(self):
        for status in (304, 400, 404, 500, 503):
            verb = self.auth(self.listen(Says(status, (), b"")))
            error = yield self.assertFailure(self.ask(verb, exchangeOf()), Undecided)
            assert str(error).endswith(f"has answered {status}")

    @inlineCallbacks
    def test_aBodyThatIsTooLong(self):
        """It is not cut: half of a page is none."""
        service = Says(403, (), bytes(LARGEST_BODY))
        verb = self.auth(self.listen(service))
        answer = yield self.ask(verb, exchangeOf())
        assert len(answer.body) == LARGEST_BODY
        service.body += b"x"
        error = yield self.assertFailure(self.ask(verb, exchangeOf()), Undecided)
        assert f"more than {LARGEST_BODY} bytes" in str(error)
        # With 2xx nobody reads it.
        service.status = 200
        assert (yield self.ask(verb, exchangeOf())) is None

    @inlineCallbacks
    def test_noHTTP(self):
        class Odd(Protocol):
            def dataReceived(self, data):
                self.transport.write(b"SSH-2.0-x\r\n\r\n")
                self.transport.loseConnection()

        port = reactor.listenTCP(0, Factory.forProtocol(Odd), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        verb = self.auth(f"http://127.0.0.1:{port.getHost().port}/")
        error = yield self.assertFailure(self.ask(verb, exchangeOf()), Undecided)
        # Not the list of what has led to it.
        assert "<twisted" not in str(error)

    @inlineCallbacks
    def test_late(self):
        """The connection ends, and what is decided is what the rule says."""
        service = Sleeps()
        verb = self.auth(self.listen(service))
        deadlines = Deadlines(reactor, time.monotonic)
        self.addCleanup(deadlines.stop)
        line = RuleLine("auth", Part("auth", None), None, RuleOptions(0.1, 10, "503"))
        found = Verb(verb.requestReceived, line, Stage.REQUEST, deadlines, None).ask(exchangeOf())
        assert (yield found) == Deny(503)
        yield service.gone

    @inlineCallbacks
    def test_theClientGoesAway(self):
        service = Sleeps()
        verb = self.auth(self.listen(service))
        line = RuleLine("auth", Part("auth", None))
        asking = Verb(verb.requestReceived, line, Stage.REQUEST, None, None)
        found = asking.ask(exchangeOf())
        found.addErrback(lambda failure: None)
        yield service.came
        found.cancel()
        yield service.gone
        assert asking.underWay == 0

    @inlineCallbacks
    def test_itGoesAwayInTheMiddleOfABody(self):
        class Half(Resource):
            isLeaf = True
            gone = Deferred()

            def render(self, request):
                request.notifyFinish().addErrback(lambda failure: self.gone.callback(None))
                request.setResponseCode(403)
                request.setHeader(b"Content-Length", b"10")
                request.write(b"half")
                return NOT_DONE_YET

        verb = self.auth(self.listen(Half()))
        found = self.ask(verb, exchangeOf())
        found.addErrback(lambda failure: None)
        yield deferLater(reactor, 0.1)
        found.cancel()
        yield Half.gone


class ThreadTests(TestCase):
    @inlineCallbacks
    def test_aPasswordIsComparedInAThread(self):
        path = Path(tempfile.mkdtemp()) / "users"
        self.addCleanup(path.parent.rmdir)
        self.addCleanup(path.unlink)
        path.write_text(f"alice:{SHA1}\n")
        options = Auth.Options(how="basic", users=str(path))
        verb = Auth(options, Context(reactor=reactor, clock=time.monotonic))
        for password, status in ((b"secret", None), (b"Secret", 401)):
            said = base64.b64encode(b"alice:" + password)
            exchange = exchangeOf(GET.replace(b"Bearer x", b"Basic " + said))
            answer = yield ensureDeferred(verb.requestReceived(exchange))
            assert (answer and answer.status) == status


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("auth", "needs either basic users=PATH or url=http://HOST:PORT/PATH"),
        ("auth basic", "basic and users=PATH belong together"),
        ("auth users=x", "needs either basic users=PATH or url=http://HOST:PORT/PATH"),
        ("auth basic users=no/such/file", "No such file or directory: '/"),
        ("auth basic users=/dev/null copy=X-User", "copy= says something for url= only"),
        ("auth url=http://a/ strip", "strip says something for basic only"),
        ("auth url=http://a/ copy=Content-Length", "where a message ends"),
        ("auth url=https://a/", "is not where a service is: write http://HOST:PORT/PATH"),
        ("auth url=http://u:p@a/", "has a user or a fragment, which are not sent"),
        ("auth url=http://a:99999/", "Port out of range 0-65535"),
        ("auth url=http://a_b..c/", "is neither a host name nor an address"),
        ("auth digest users=x", "unknown 'digest'"),
    ],
)
def test_whatIsNotAccepted(rule, message):
    text = (
        "[frontend www]\nmode = http\nbind = 127.0.0.1:8080\npool = app\n"
        f"request =\n    {rule}\n[pool app]\nserver a = 127.0.0.1:8001\n"
    )
    with pytest.raises(ConfigError) as caught:
        loadText(text, installed())
    assert message in str(caught.value)
    assert "lb.ini:6:" in str(caught.value)


def test_itIsNoRuleForConnections():
    text = (
        "[frontend raw]\nmode = tcp\nbind = 127.0.0.1:8080\npool = app\n"
        "connection =\n    auth url=http://a/\n[pool app]\nserver a = 127.0.0.1:8001\n"
    )
    with pytest.raises(ConfigError, match="auth is a verb of request rules"):
        loadText(text, installed())
