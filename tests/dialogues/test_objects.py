"""
C{server a = object:NAME}: members of a pool that are objects of the program around it.
"""

import errno
import os
import socket

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from lbtwist.build import build
from lbtwist.command import main
from lbtwist.config.load import loadText
from lbtwist.endpoint import PoolEndpoint
from lbtwist.errors import ConfigError, StartError
from lbtwist.objects import EmbeddedRequest
from lbtwist.registry import installed
from lbtwist.testing import Balancer

GET = b"GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\n\r\n"

WWW = """
[frontend www]
bind = ${bind} %s
mode = %s
pool = app
[pool app]
%s
server a = object:shop %s
"""


def www(shop, mode="http", bind="", pool="", server=""):
    return Balancer(WWW % (bind, mode, pool, server), objects={"shop": shop})


class Shop(Resource):
    """
    Keeps what it is asked.

    @ivar requests: those it has not answered.
    """

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.requests = []
        self.gone = []

    def render(self, request):
        self.requests.append(request)
        request.notifyFinish().addErrback(self.gone.append)
        return NOT_DONE_YET

    def answer(self, body):
        request = self.requests.pop(0)
        request.write(body)
        request.finish()
        return request


def test_aResource():
    shop = Shop()
    with www(shop) as balancer:
        client = balancer.client("203.0.113.9", 40000)
        client.sends(GET)
        request, = shop.requests
        assert (request.method, request.uri, request.args) == (b"GET", b"/a?b=c", {b"b": [b"c"]})
        assert isinstance(request, EmbeddedRequest)
        # Not that of the connection, which is the next client's as well.
        assert request.getClientAddress() == IPv4Address("TCP", "203.0.113.9", 40000)
        assert request.getHost() == IPv4Address("TCP", "192.0.2.1", 80)
        assert not request.isSecure()
        assert request.exchange.server.name == "a"
        shop.answer(b"hello")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        app = balancer.running.pool("app")
        assert str(app.find("a").endpoint) == "object:shop"
        assert app.find("a").traffic.exchanges == 1


def test_oneConnectionForSeveralClients():
    shop = Shop()
    with www(shop) as balancer:
        seen = []
        for port in (1001, 1002, 1003):
            client = balancer.client("203.0.113.9", port)
            # The second request of a connection goes out on one that others have used.
            for _ in range(2):
                client.sends(GET)
                seen.append(shop.requests[0].getClientAddress().port)
                shop.answer(b"")
                client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        assert seen == [1001, 1001, 1002, 1002, 1003, 1003]
        assert balancer.running.pool("app").find("a").traffic.connects < 3


PROXIED = b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n"


def test_theClientOfAProxyHeader():
    """
    Row 002.9: who the client is comes to the resource, whatever pieces the header came in,
    and so does what followed it.
    """
    shop = Shop()
    with www(shop, bind="accept-proxy") as balancer:
        client = balancer.client("10.0.0.1", 40000)
        client.sendsPieces(PROXIED + GET)
        request, = shop.requests
        assert request.getClientAddress() == IPv6Address("TCP", "2001:db8::7", 5555)
        assert request.getHost() == IPv6Address("TCP", "2001:db8::1", 443)
        told = request.exchange.connection.proxied
        assert told.source == ("2001:db8::7", 5555)
        assert told.destination == ("2001:db8::1", 443)
        assert told.tlvs == ()
        shop.answer(b"")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")


def test_aClientThatGoes():
    """The resource hears of it, and what it writes then goes nowhere."""
    shop = Shop()
    with www(shop) as balancer:
        client = balancer.client()
        client.sends(GET)
        client.resets()
        request, = shop.requests
        failure, = shop.gone
        assert failure.check(ConnectionDone, ConnectionAborted)
        assert request.exchange is not None


def test_aFailingResource():
    shop = Shop()
    shop.render = lambda request: 1 / 0
    with www(shop) as balancer:
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 500 Internal Server Error\r\n.*")
        failed, = balancer.failures
        assert failed.check(ZeroDivisionError)
        balancer.failures.clear()


def test_aLargeBodyBothWays():
    """Nothing is read that nobody takes."""
    shop = Shop()
    with www(shop) as balancer:
        client = balancer.client()
        body = bytes(range(256)) * 4096
        client.sends(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert shop.requests[0].content.read() == body
        shop.requests[0].setHeader(b"Content-Length", b"%d" % len(body))
        shop.answer(body)
        assert client.receives(rb"HTTP/1.1 200 OK\r\n.*?\r\n\r\n(.*)")[1] == body


def test_checksOfIt():
    """A check asks as it asks any server, and is no client."""
    shop = Shop()
    with www(shop, pool="check = http GET /health interval=2s rise=1 fall=1") as balancer:
        server = balancer.running.pool("app").find("a")
        request, = shop.requests
        assert request.uri == b"/health" and request.exchange is None
        assert request.getClientAddress() == UNIXAddress(None)
        shop.answer(b"well")
        balancer.pump.turn()
        assert server.health.up and server.traffic.checks == 1
        # Checks are spread: not all come after exactly the interval.
        balancer.advance(3)
        shop.requests[0].setResponseCode(503)
        shop.answer(b"ill")
        balancer.pump.turn()
        assert not server.health.up


# factories


class Parrot(Protocol):
    def connectionMade(self):
        self.factory.made.append(self)
        self.told = []

    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason):
        self.told.append(reason.type)


class Parrots(Factory):
    noisy = False
    protocol = Parrot

    def __init__(self):
        self.made = []
        self.peers = []

    def buildProtocol(self, addr):
        self.peers.append(addr)
        return super().buildProtocol(addr)


def test_aFactory():
    """In C{mode = tcp} the peer of its protocol is the client."""
    parrots = Parrots()
    with www(parrots, mode="tcp") as balancer:
        client = balancer.client("203.0.113.9", 40000)
        parrot, = parrots.made
        peer = IPv4Address("TCP", "203.0.113.9", 40000)
        assert parrots.peers == [peer] and parrot.transport.getPeer() == peer
        assert parrot.transport.getHost() == IPv4Address("TCP", "192.0.2.1", 80)
        client.sends(b"hello")
        client.receivesExactly(b"hello")
        client.closes()
        assert parrot.told == [ConnectionDone]
        assert parrots.numPorts == 1
    assert parrots.numPorts == 0


def test_aSiteOfItsOwn():
    """In C{mode = http} its connections are several clients'."""
    shop = Shop()
    site = Site(shop)
    site.noisy = False
    with www(site) as balancer:
        client = balancer.client("203.0.113.9", 40000)
        client.sends(GET)
        request, = shop.requests
        assert request.getClientAddress() == UNIXAddress(None)
        assert request.getHeader("X-Forwarded-For") == "203.0.113.9"
        shop.answer(b"")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")


def test_howAFactoryEndsConnections():
    """As a transport of Twisted: C{connectionLost} comes after the call, in the next turn."""
    parrots = Parrots()
    with www(parrots, mode="tcp") as balancer:
        for end, reason in (
            ("loseConnection", ConnectionDone), ("abortConnection", ConnectionAborted),
        ):  # fmt: skip
            client = balancer.client()
            parrot = parrots.made[-1]
            parrot.transport.write(b"bye")
            getattr(parrot.transport, end)()
            getattr(parrot.transport, end)()
            assert parrot.told == []
            client.receivesExactly(b"bye")
            assert parrot.told == [reason]
            client.isEnded()
        assert not balancer.running.pool("app").find("a").endpoint.host.connections


@implementer(IHalfCloseableProtocol)
class Counting(Parrot):
    """Answers when it has heard everything."""

    count = 0

    def dataReceived(self, data):
        self.count += len(data)

    def readConnectionLost(self):
        self.transport.write(b"%d" % self.count)
        self.transport.loseConnection()

    def writeConnectionLost(self):
        pass


def test_halfAnEnd():
    parrots = Parrots()
    parrots.protocol = Counting
    with www(parrots, mode="tcp") as balancer:
        client = balancer.client()
        client.sends(b"seven..")
        client.ends()
        client.receivesExactly(b"7")
        client.isEnded()


def test_aFactoryThatTakesNobody():
    """It is as if nobody listened: another server is asked."""
    parrots = Parrots()
    parrots.buildProtocol = lambda addr: None
    text = WWW % ("", "tcp", "balance = first", "") + "server b = object:other\n"
    other = Parrots()
    with Balancer(text, objects={"shop": parrots, "other": other}) as balancer:
        client = balancer.client()
        balancer.advance(2)
        client.sends(b"hello")
        client.receivesExactly(b"hello")
        server = balancer.running.pool("app").find("a")
        assert server.traffic.connectFailures == 1 and len(other.made) == 1


def test_aFactoryThatFails():
    parrots = Parrots()
    parrots.buildProtocol = lambda addr: 1 / 0
    with www(parrots, mode="tcp", pool="retries = 0") as balancer:
        client = balancer.client()
        client.isEnded()
        failed, = balancer.failures
        assert failed.check(ZeroDivisionError)
        balancer.failures.clear()


def test_proxyHeadersForAFactory():
    parrots = Parrots()
    with www(parrots, mode="tcp", server="send-proxy=v1") as balancer:
        client = balancer.client("203.0.113.9", 40000)
        client.receivesExactly(b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 80\r\n")


def test_whatIsLeftWhenTheBalancerStops():
    parrots = Parrots()
    with www(parrots, mode="tcp") as balancer:
        balancer.client()
        balancer.client()
        parrots.made[1].transport.loseConnection()
        told = []
        stopped = balancer.running.stopService()
        # Whoever waits for the end does not wait for another turn of the reactor.
        stopped.addCallback(lambda _: told.extend(parrots.made[0].told))
        balancer.advance(balancer.running.config.settings.grace_period)
        assert told == [ConnectionAborted]
        assert parrots.made[1].told == [ConnectionDone]


class Visited(Resource):
    isLeaf = True

    def render_GET(self, request):
        request.getSession()
        return b"welcome"


def test_sessionsEndWithIt(monkeypatch):
    """Those of a resource have timers."""
    with www(Visited()) as balancer:
        monkeypatch.setattr("twisted.internet.reactor", balancer.pump, raising=False)
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*TWISTED_SESSION.*welcome")
        assert balancer.pump.getDelayedCalls()


# what is given


def test_whatIsNeither():
    config, _ = loadText(WWW % ("", "tcp", "", ""), installed(), environ={"bind": ":1"})
    with pytest.raises(TypeError, match="object 'shop' is neither an IResource nor"):
        build(config, objects={"shop": object()})


def test_whatNobodyHasGiven():
    """Only the start needs it, so that a check of the file goes without."""
    with pytest.raises(StartError) as refused:
        Balancer(WWW % ("", "tcp", "", ""))
    said = str(refused.value)
    assert said.startswith("lb.ini:8:12: server a = object:shop: there is no object")
    assert "build(objects=...)" in said


def test_aCheckForTwistd(tmp_path, capsys):
    """C{twistd lbtwist} has nothing to give, so that it could not start."""
    path = tmp_path / "lb.ini"
    path.write_text(WWW.replace("${bind}", "127.0.0.1:1") % ("", "tcp", "", ""))
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr().err
    assert "[pool app] server a: there is no object of this name" in said
    assert main(["check", "--elsewhere", str(path)]) == 0


def test_oneMoreWhileItRuns():
    """A reload has the objects that were given, and takes no others."""
    text = WWW % ("", "tcp", "", "")
    parrots, spare = Parrots(), Parrots()
    with Balancer(text, objects={"shop": parrots, "spare": spare}) as balancer:
        running = balancer.running
        bind = str(running.config.frontends["www"].bind[0])
        client = balancer.client()

        def applied(more):
            config, _ = loadText(text + more, installed(), environ={"bind": bind})
            running.apply(config)

        with pytest.raises(StartError, match="server b = object:nothing: there is no object"):
            applied("server b = object:nothing\n")
        assert [server.name for server in running.pool("app").servers] == ["a"]
        applied("server b = object:spare\n")
        balancer.client().sends(b"hello")
        assert len(parrots.made) == len(spare.made) == 1
        applied("")
        client.sends(b"still here")
        client.receivesExactly(b"still here")


def test_noDescriptors(monkeypatch):
    """What fails for want of them is no fault of the object."""
    parrots = Parrots()
    with www(parrots, mode="tcp", pool="retries = 0") as balancer:
        failed = []
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socketpair", nothingLeft)
            connecting = PoolEndpoint(balancer.running, "app").connect(Parrots())
            connecting.addErrback(failed.append)
        assert failed[0].check(ConnectError)
        assert "[pool app] app/a: Too many open files" in str(failed[0].value)
        balancer.client().sends(b"hello")
        assert len(parrots.made) == 1


def nothingLeft():
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
def test_aConnectThatIsGivenUp():
    """Nothing of the pair is left."""
    parrots = Parrots()
    with www(parrots, mode="tcp") as balancer:
        before = os.listdir("/proc/self/fd")
        connecting = PoolEndpoint(balancer.running, "app").connect(Parrots())
        failed = []
        connecting.addErrback(failed.append)
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
        connecting.cancel()
        assert os.listdir("/proc/self/fd") == before
        balancer.pump.turn()
        assert parrots.made == [] and len(failed) == 1


def test_itSpeaksNoTLS():
    with pytest.raises(ConfigError, match="an object of this process speaks no TLS; remove it"):
        loadText(WWW % ("", "tcp", "", "tls"), installed(), environ={"bind": ":1"})
