"""
Balancers inside of another Twisted program, on a real reactor: several of them, stopped and
started again, with clients of Twisted that get their servers from them.
"""

import os
import signal
from io import BytesIO

import pytest
import trustme
from signalling import TAKEN
from twisted.application.service import MultiService
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.plugin import IPlugin
from twisted.protocols import amp
from twisted.trial.unittest import TestCase
from twisted.web.client import (
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
    ResponseFailed,
    readBody,
)
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.endpoint import PoolEndpoint
from lbtwist.endpointparser import PoolEndpointParser
from lbtwist.interfaces import IBalancer
from lbtwist.registry import Extension, Registry, installed

# Twisted's agent has readBody say so of whatever transport (its issue 8227), and its
# certificates are those of pyOpenSSL still.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using readBody with a transport"),
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL"),
]


class Hello(Resource):
    """Says its name, and who has asked."""

    isLeaf = True

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.peers = []

    def render_GET(self, request):
        self.peers.append(request.getClientAddress())
        return self.name.encode() + b" " + request.path

    def render_PUT(self, request):
        return request.content.read()[::-1]


CONFIG = """
[global]
grace-period = 1s
[frontend www]
bind = 127.0.0.1:0
pool = app
log = off
[pool app]
check = http GET /health interval=50ms
balance = {balance}
server a = object:a
server b = object:b
"""


def balancer(objects, balance="roundrobin", registry=None):
    """@return: one that was built, of objects that say their names."""
    registry = registry or installed()
    config, problems = loadText(CONFIG.format(balance=balance), registry)
    assert problems == []
    return build(config, registry, reactor, objects=objects)


def port(balancer):
    return balancer.frontend("www").addresses[0][1]


class State:
    """All of a process that a balancer could leave something in."""

    def __init__(self):
        self.descriptors = {
            name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")
        }  # fmt: skip
        self.timers = [call for call in reactor.getDelayedCalls() if call.active()]
        self.readers = set(reactor.getReaders())
        self.writers = set(reactor.getWriters())
        self.observers = list(globalLogPublisher._observers)
        self.signals = {number: signal.getsignal(number) for number in TAKEN}
        self.environment = dict(os.environ)
        self.triggers = {
            phase: [list(getattr(trigger, when)) for when in ("before", "during", "after")]
            for phase, trigger in reactor._eventTriggers.items()
        }  # fmt: skip


def fetch(agent, url, method=b"GET", body=None):
    async def asked():
        response = await agent.request(method, url.encode(), None, body)
        return response.code, await readBody(response)

    return ensureDeferred(asked())


class EmbeddedTests(TestCase):
    def agent(self, *arguments, **options):
        """@return: one that keeps no connections."""
        return Agent(reactor, *arguments, **options)

    def through(self, balancer, path="/"):
        return fetch(self.agent(), f"http://127.0.0.1:{port(balancer)}{path}")

    async def test_severalOfThem(self):
        """Each has pools, objects and ports of its own; one stops without the other."""
        one = balancer({"a": Hello("a1"), "b": Hello("b1")})
        two = balancer({"a": Hello("a2"), "b": Hello("b2")})
        program = MultiService()
        for name, each in (("one", one), ("two", two)):
            each.setName(name)
            each.setServiceParent(program)
        program.privilegedStartService()
        program.startService()
        self.addCleanup(program.stopService)
        assert port(one) != port(two)
        assert {(await self.through(one))[1] for _ in range(4)} == {b"a1 /", b"b1 /"}
        assert {(await self.through(two))[1] for _ in range(4)} == {b"a2 /", b"b2 /"}
        before = port(one)
        await one.disownServiceParent()
        assert {(await self.through(two))[1] for _ in range(4)} == {b"a2 /", b"b2 /"}
        with self.assertRaises(ConnectError):
            await fetch(self.agent(), f"http://127.0.0.1:{before}/")

    async def test_startedAgain(self):
        """Whatever it did: afterwards the process is as it was, and it can be started again."""
        hello = Hello("a")
        one = balancer({"a": hello, "b": hello})
        # The client that asks here has names looked up in threads, which stay.
        reactor.getThreadPool()
        # The reactor runs only from now on, with pipes and signals of its own.
        await deferLater(reactor, 0)
        before = State()
        for _ in range(3):
            one.privilegedStartService()
            one.startService()
            assert await self.through(one) == (200, b"a /")
            assert one.pool("app").find("a").health.up
            kept = HTTPConnectionPool(reactor)
            agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"), pool=kept)
            assert await fetch(agent, "http://app/x") == (200, b"a /x")
            await one.stopService()
            await kept.closeCachedConnections()
            await deferLater(reactor, 0)
            after = State()
            for name, value in vars(before).items():
                self.assertEqual(value, getattr(after, name), name)

    async def test_aRegistryOfItsOwn(self):
        """A program brings parts that are installed nowhere; it need not have any other."""
        own = Extension(IBalancer, "last", f"{__name__}.Last")
        registry = Registry([own, *Registered.parts()])
        one = balancer({"a": Hello("a"), "b": Hello("b")}, "last", registry)
        one.startService()
        self.addCleanup(one.stopService)
        assert {(await self.through(one))[1] for _ in range(3)} == {b"b /"}

    async def test_stoppedBeforeItWasStarted(self):
        one = balancer({"a": Hello("a"), "b": Hello("b")})
        before = State()
        await one.stopService()
        self.assertEqual(vars(before)["timers"], State().timers)


class Last:
    """Balances to the last server there is."""

    class Options:
        __attrs_attrs__ = ()

    def __init__(self, options, context):
        pass

    def choose(self, servers, exchange):
        return servers[-1]


class Registered:
    """The installed parts that the configuration here needs besides."""

    @staticmethod
    def parts():
        import twisted.plugins.lbtwist_plugin as plugin

        return [plugin.httpCheck, plugin.healthLog, plugin.memoryStore, plugin.cookie]


@implementer(IAgentEndpointFactory)
class Pools:
    """Has an agent ask the servers of a pool, whatever host stands in the URL."""

    def __init__(self, balancer, pool):
        self.endpoint = PoolEndpoint(balancer, pool)

    def endpointForURI(self, uri):
        return self.endpoint


class Reverse(amp.Command):
    arguments = [(b"text", amp.Unicode())]
    response = [(b"text", amp.Unicode())]


class Reverser(amp.AMP):
    @Reverse.responder
    def reverse(self, text):
        return {"text": text[::-1]}


@implementer(IHandshakeListener)
class Shaken(Protocol):
    """Hears of a handshake, as of one of Twisted's own."""

    def __init__(self):
        self.told = []
        self.lost = Deferred()

    def connectionMade(self):
        self.told.append("made")

    def handshakeCompleted(self):
        self.told.append("shaken")

    def connectionLost(self, reason):
        self.lost.callback(None)


class EndpointTests(TestCase):
    def started(self, objects):
        one = balancer(objects)
        one.startService()
        self.addCleanup(one.stopService)
        return one

    async def test_anAgent(self):
        """Its requests go to servers in turn; nothing listens and nobody is resolved."""
        one = self.started({"a": Hello("a"), "b": Hello("b")})
        agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"))
        answers = [await fetch(agent, "http://shop.example/x") for _ in range(4)]
        assert sorted(answers) == [(200, b"a /x")] * 2 + [(200, b"b /x")] * 2
        while one.pool("app").active:
            await deferLater(reactor, 0.01)
        traffic = one.pool("app").traffic
        assert (traffic.exchanges, traffic.failed) == (4, 0)
        assert traffic.bytesIn > 0 and traffic.bytesOut > 0

    async def test_anAgentThatKeepsConnections(self):
        """A connection that is kept holds its slot, and stays with its server."""
        one = self.started({"a": Hello("a"), "b": Hello("b")})
        pool = HTTPConnectionPool(reactor)
        agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"), pool=pool)
        answers = {await fetch(agent, "http://shop.example/") for _ in range(5)}
        assert len(answers) == 1
        assert one.pool("app").active == 1
        await pool.closeCachedConnections()
        assert one.pool("app").active == 0

    async def test_aLargeBody(self):
        one = self.started({"a": Hello("a"), "b": Hello("b")})
        agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"))
        body = bytes(range(256)) * 20_000
        producer = FileBodyProducer(BytesIO(body))
        assert await fetch(agent, "http://shop.example/", b"PUT", producer) == (200, body[::-1])

    async def test_manyAtOnce(self):
        one = self.started({"a": Hello("a"), "b": Hello("b")})
        agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"))
        asked = [fetch(agent, f"http://app/{number}") for number in range(100)]
        answers = await gatherResults(asked)
        assert {body.split()[1] for _, body in answers} == {b"/%d" % n for n in range(100)}

    async def secured(self):
        """@return: a balancer whose one server speaks TLS, and the authority it is known by."""
        authority = trustme.CA()
        identity = authority.issue_cert("site.example")
        pem = identity.private_key_and_cert_chain_pem.bytes()
        options = ssl.PrivateCertificate.loadPEM(pem).options()
        site = Site(Hello("secure"))
        site.noisy = False
        listening = reactor.listenSSL(0, site, options, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        path = self.mktemp()
        authority.cert_pem.write_to_path(path)
        config, _ = loadText(
            "[pool app]\nretries = 0\n"
            f"server good = 127.0.0.1:{listening.getHost().port} tls ca={path} sni=site.example\n"
            "[pool other]\nretries = 0\n"
            f"server bad = 127.0.0.1:{listening.getHost().port} tls ca={path} sni=else.example\n",
            installed(),
        )
        one = build(config, reactor=reactor)
        one.startService()
        self.addCleanup(one.stopService)
        return one

    async def test_TLS(self):
        """It is spoken as the configuration says; the program need not know of it."""
        one = await self.secured()
        agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"))
        assert await fetch(agent, "http://whatever.example/x") == (200, b"secure /x")
        factory = Factory.forProtocol(Shaken)
        factory.noisy = False
        protocol = await PoolEndpoint(one, "app").connect(factory)
        assert protocol.told == ["made", "shaken"]
        assert protocol.transport.getPeerCertificate() is not None
        protocol.transport.abortConnection()
        await protocol.lost

    async def test_TLSWithSomebodyElse(self):
        one = await self.secured()
        with self.assertRaises(ConnectError) as failed:
            await PoolEndpoint(one, "other").connect(Factory.forProtocol(Shaken))
        assert "[pool other] other/bad: " in str(failed.exception)
        assert one.pool("other").find("bad").traffic.tlsFailures == 1

    async def test_theBalancerStopsWhileAnAgentWaits(self):
        class Silent(Resource):
            isLeaf = True

            def render_GET(self, request):
                if request.path == b"/health":
                    return b""
                asked.callback(None)
                return NOT_DONE_YET

        asked = Deferred()
        one = balancer({"a": Silent(), "b": Silent()})
        one.startService()
        agent = Agent.usingEndpointFactory(reactor, Pools(one, "app"))
        waiting = fetch(agent, "http://app/")
        await asked
        await one.stopService()
        with self.assertRaises(ResponseFailed):
            await waiting

    async def test_AMP(self):
        """By the text of an endpoint, which a program may have from its own configuration."""
        servers = Factory.forProtocol(Reverser)
        servers.noisy = False
        config, _ = loadText(
            "[frontend nobody]\nmode = tcp\nbind = 127.0.0.1:0\npool = words\nlog = off\n"
            "[pool words]\nserver a = object:amp maxconn=1\n",
            installed(),
        )
        one = build(config, reactor=reactor, objects={"amp": servers})
        one.startService()
        self.addCleanup(one.stopService)
        factory = Factory.forProtocol(amp.AMP)
        factory.noisy = False
        endpoint = clientFromString(reactor, "lb:words")
        first = await endpoint.connect(factory)
        assert await first.callRemote(Reverse, text="stressed") == {"text": "desserts"}
        # Its one slot is taken; the next one has it as soon as it is free.
        second = endpoint.connect(factory)
        assert one.pool("words").queued == 1
        first.transport.loseConnection()
        second = await second
        words = [f"word {number}" for number in range(50)]
        answers = await gatherResults([second.callRemote(Reverse, text=word) for word in words])
        assert answers == [{"text": word[::-1]} for word in words]
        second.transport.loseConnection()

    def test_theParser(self):
        verifyObject(IPlugin, PoolEndpointParser())
        endpoint = clientFromString(reactor, "lb:a\\:pool:balancer=edge")
        verifyObject(IStreamClientEndpoint, endpoint)
        assert endpoint.pool == "a:pool"
