"""
C{lb:POOL}: a client of Twisted that gets its server from a balancer in its own process.
"""

import attr
import pytest
from spoken import www
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lbtwist.endpoint import PoolEndpoint
from lbtwist.exchange import Connection
from lbtwist.interfaces import IBalancer, IExchangeObserver
from lbtwist.registry import Extension, installed
from lbtwist.testing import Balancer


def tcp(*servers, **options):
    return www(*servers, mode="tcp", **options)


class Talker(Protocol):
    """Keeps what it is told."""

    def __init__(self):
        self.received = b""
        self.told = []

    def connectionMade(self):
        self.told.append("made")

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.told.append(reason.type)


class Counted(Factory):
    """
    A factory that knows how many use it.

    @ivar starts: minus how often it was stopped.
    """

    noisy = False
    protocol = Talker

    def __init__(self):
        self.peers = []

    def buildProtocol(self, addr):
        self.peers.append(addr)
        return super().buildProtocol(addr)


class Calling:
    """Somebody who connects."""

    def __init__(self, balancer, pool="app", factory=None, **options):
        self.factory = factory or Counted()
        self.balancer = balancer
        self.result = []
        endpoint = PoolEndpoint(balancer.running, pool, **options)
        self.deferred = endpoint.connect(self.factory)
        self.deferred.addBoth(self.result.append)
        balancer.pump.turn()

    @property
    def protocol(self):
        protocol, = self.result
        assert isinstance(protocol, Protocol), protocol
        return protocol

    @property
    def failure(self):
        """Why there is no connection. Nobody uses the factory then."""
        failure, = self.result
        assert self.factory.numPorts == 0
        return failure

    def fails(self, kind, words):
        assert self.failure.type is kind
        assert words in str(self.failure.value)

    @property
    def waits(self):
        return self.result == []


def test_bytesBothWays():
    with tcp() as balancer:
        calling = Calling(balancer)
        protocol, server = calling.protocol, balancer.server("a").accepts()
        assert protocol.told == ["made"]
        protocol.transport.write(b"HELO")
        protocol.transport.writeSequence([b" ", b"there"])
        server.receivesExactly(b"HELO there")
        server.sends(b"250 ok")
        assert protocol.received == b"250 ok"
        app = balancer.running.pool("app")
        a = app.find("a")
        assert (a.active, app.active, calling.factory.numPorts) == (1, 1, 1)
        server.closes()
        assert protocol.told == ["made", ConnectionDone]
        assert (a.active, app.active, calling.factory.numPorts) == (0, 0, 0)
        for traffic in (app.traffic, a.traffic):
            assert (traffic.exchanges, traffic.failed) == (1, 0)
            assert (traffic.bytesIn, traffic.bytesOut) == (10, 6)
        assert a.traffic.connects == 1
        # It is no frontend's.
        assert balancer.running.frontend("www").inbound.traffic.exchanges == 0


def test_theEndpointIsOne():
    with tcp() as balancer:
        endpoint = PoolEndpoint(balancer.running, "app")
        verifyObject(IStreamClientEndpoint, endpoint)
        assert repr(endpoint) == "<PoolEndpoint lb:app>"


def test_theProgramEndsIt():
    """C{connectionLost} comes after C{loseConnection}, and not from inside of it."""
    with tcp() as balancer:
        for end, reason in (
            ("loseConnection", ConnectionDone), ("abortConnection", ConnectionAborted),
            ("stopProducing", ConnectionDone),
        ):  # fmt: skip
            protocol = Calling(balancer).protocol
            server = balancer.server("a").accepts()
            protocol.transport.write(b"bye")
            getattr(protocol.transport, end)()
            assert protocol.told == ["made"]
            # The slot is free before: whoever waits for it need not wait for the program.
            assert balancer.running.pool("app").active == 0
            balancer.pump.turn()
            assert protocol.told == ["made", reason]
            protocol.transport.write(b"too late")
            server.receivesExactly(b"bye")
        traffic = balancer.running.pool("app").traffic
        assert (traffic.exchanges, traffic.failed, traffic.clientAborts) == (3, 1, 1)


def test_aServerThatResets():
    with tcp() as balancer:
        protocol = Calling(balancer).protocol
        balancer.server("a").accepts().resets()
        assert protocol.told[1] in (ConnectionLost, ConnectionResetError)
        traffic = balancer.running.pool("app").find("a").traffic
        assert (traffic.failed, traffic.serverAborts) == (1, 1)


@implementer(IHalfCloseableProtocol)
class Half(Talker):
    def readConnectionLost(self):
        self.told.append("read")

    def writeConnectionLost(self):
        self.told.append("write")


def test_halfAnEnd():
    """Whoever knows of half-closed connections can go on."""
    with tcp() as balancer:
        factory = Counted()
        factory.protocol = Half
        protocol = Calling(balancer, factory=factory).protocol
        server = balancer.server("a").accepts()
        server.ends()
        assert protocol.told == ["made", "read"]
        protocol.transport.write(b"still here")
        protocol.transport.loseWriteConnection()
        server.receivesExactly(b"still here")
        protocol.transport.loseConnection()
        balancer.pump.turn()
        assert protocol.told == ["made", "read", ConnectionDone]


def test_anotherServer():
    with tcp("a", "b", pool="balance = first") as balancer:
        balancer.server("a").goesAway()
        calling = Calling(balancer)
        assert calling.waits or calling.protocol
        balancer.advance(2)
        assert calling.protocol
        balancer.server("b").accepts()
        traffic = balancer.running.pool("app").traffic
        assert calling.protocol.transport.write(b"") is None
        assert balancer.running.pool("app").find("a").traffic.connectFailures >= 1
        assert traffic.failed == 0


def test_noServer():
    with tcp(settings="admin = ${admin}") as balancer:
        balancer.server("a").goesAway()
        calling = Calling(balancer)
        balancer.advance(10)
        calling.fails(ConnectError, "[pool app] app/a: ")
        assert balancer.running.pool("app").traffic.unconnected == 1
        balancer.asks("set server app/a state maint")
        Calling(balancer).fails(ConnectError, "[pool app] no server can be used now")


def test_aServerThatDoesNotTakeTheConnection():
    with tcp(pool="timeout-connect = 2s\nretries = 0\n") as balancer:
        balancer.server("a").hesitates()
        calling = Calling(balancer)
        balancer.advance(1.9)
        assert calling.waits
        balancer.advance(0.2)
        calling.fails(TimeoutError, "not made in time")


def test_aPlaceInTheQueue():
    with tcp("a maxconn=1", pool="timeout-queue = 5s") as balancer:
        first = Calling(balancer)
        balancer.server("a").accepts()
        second, third, fourth = Calling(balancer), Calling(balancer), Calling(balancer)
        assert balancer.running.pool("app").queued == 3
        third.deferred.cancel()
        third.fails(ConnectingCancelledError, "[pool app]")
        assert balancer.running.pool("app").queued == 2
        first.protocol.transport.loseConnection()
        balancer.pump.turn()
        assert second.protocol and fourth.waits
        balancer.advance(6)
        fourth.fails(TimeoutError, "[pool app] no server had room for it in time")


def test_cancelledWhileItConnects():
    with tcp() as balancer:
        balancer.server("a").hesitates()
        calling = Calling(balancer)
        calling.deferred.cancel()
        calling.fails(ConnectingCancelledError, "[pool app]")
        assert not calling.failure.check(CancelledError)
        assert balancer.running.pool("app").active == 0


class Refusing(Counted):
    def buildProtocol(self, addr):
        return None


class Broken(Counted):
    def buildProtocol(self, addr):
        raise ArithmeticError("no protocol today")


class BadStart(Counted):
    class protocol(Talker):
        def connectionMade(self):
            raise ArithmeticError("no protocol today")


class NeverStarts(Counted):
    def startFactory(self):
        self.numPorts = 0
        raise ArithmeticError("no protocol today")


def test_aFactoryThatDoesNotStart():
    with tcp() as balancer:
        assert Calling(balancer, factory=NeverStarts()).failure.type is ArithmeticError
        assert not balancer.running.callers.calls


def test_cancelledByItsProtocol():
    """While it is told that it is connected: nothing comes of it."""

    class Hasty(Talker):
        def connectionMade(self):
            super().connectionMade()
            deferred.cancel()

    with tcp() as balancer:
        factory = Counted()
        factory.protocol = Hasty
        balancer.server("a").hesitates()
        calling = Calling(balancer, factory=factory)
        deferred = calling.deferred
        balancer.server("a").goesOn()
        assert calling.failure.type is CancelledError
        assert balancer.running.pool("app").active == 0


@pytest.mark.parametrize(
    ("factory", "kind"),
    [(Refusing, NoProtocol), (Broken, ArithmeticError), (BadStart, ArithmeticError)],
)
def test_aFactoryThatFails(factory, kind):
    with tcp() as balancer:
        calling = Calling(balancer, factory=factory())
        assert calling.failure.type is kind
        # Whatever it came to, the connection is closed again.
        balancer.server("a").acceptsNothing()
        assert balancer.running.pool("app").active == 0
        assert balancer.running.pool("app").traffic.serverAborts == 0


def test_onBehalfOf():
    """Who is named is known again by its address, and told in a PROXY header."""
    client, local = ("203.0.113.9", 40000), ("192.0.2.1", 80)
    with tcp("a send-proxy=v1", "b send-proxy=v1", pool="persist = source") as balancer:
        connection = Connection(1, client, local, 0.0)
        first = Calling(balancer, connection=connection).protocol
        name = next(one.name for one in balancer.running.pool("app").servers if one.active)
        for _ in range(3):
            Calling(balancer, connection=connection)
            server = balancer.server(name).accepts()
            server.receivesExactly(b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 80\r\n")
        assert balancer.running.pool("app").find(name).active == 4
        assert first.transport.getPeer().name.decode().endswith(name)


def test_theProcessItselfHasNoAddress():
    with tcp("a send-proxy=v1", pool="persist = source") as balancer:
        Calling(balancer)
        balancer.server("a").accepts().receivesExactly(b"PROXY UNKNOWN\r\n")


@pytest.mark.parametrize("pool", [
    "balance = uri", "balance = hash X-User", "balance = source", "balance = peak-ewma",
    "persist = cookie SRVID insert", "persist = header X-User", "persist = parameter user",
    "persist = learn JSESSIONID, source", "balance = rdp-cookie\nmode = tcp",
    "persist = rdp-cookie, ssl-session-id\nmode = tcp",
])  # fmt: skip
def test_poolsForRequests(pool):
    """What they look for is missing, as in a request without it."""
    text = f"[pool app]\n{pool}\nserver a = ${{a}}\nserver b = ${{b}}\n"
    with Balancer(text, "a", "b") as balancer:
        for _ in range(3):
            assert Calling(balancer).protocol.told == ["made"]
        assert balancer.running.pool("app").active == 3


class Wanting:
    """A balancer that cannot do without a request."""

    @attr.frozen
    class Options:
        pass

    def __init__(self, options, context):
        pass

    def choose(self, servers, exchange):
        return servers[len(exchange.request.target) % len(servers)]


def test_aBalancerThatFails():
    """As one does that looks for a request: there is none."""
    own = Extension(IBalancer, "wanting", f"{__name__}.Wanting")
    registry = installed(own)
    with tcp("a", "b", pool="balance = wanting", registry=registry) as balancer:
        Calling(balancer).fails(ConnectError, "[pool app] AttributeError(")
        assert balancer.running.pool("app").active == 0
        assert len(balancer.failures) == 1
        balancer.failures.clear()


@implementer(IExchangeObserver)
class Hearing(Wanting):
    """A balancer that hears what became of its choices."""

    heard = []

    def choose(self, servers, exchange):
        return servers[0]

    def exchangeFinished(self, exchange):
        self.heard.append((exchange.server.name, exchange.cause, exchange.bytesIn))


def test_aBalancerThatHears():
    own = Extension(IBalancer, "hearing", f"{__name__}.Hearing")
    with tcp(pool="balance = hearing", registry=installed(own)) as balancer:
        protocol = Calling(balancer).protocol
        protocol.transport.write(b"four")
        protocol.transport.loseConnection()
        assert Hearing.heard == [("a", "-", 4)]


def test_errorsInARowCount():
    pool = "check = tcp interval=1h\nobserve = layer4\nerror-limit = 2\non-error = mark-down"
    with tcp(pool=f"{pool}\nretries = 0") as balancer:
        balancer.server("a").goesAway()
        for _ in range(2):
            Calling(balancer).fails(ConnectError, "")
        assert not balancer.running.pool("app").find("a").usable


def test_aServerThatIsMarkedDown():
    with tcp(pool="on-marked-down = shutdown-sessions", settings="admin = ${admin}") as balancer:
        protocol = Calling(balancer).protocol
        balancer.asks("set server app/a state maint")
        assert protocol.told == ["made", ConnectionAborted]


def test_theBalancerStops():
    """Those who wait are told, and connections end; none is held up by them."""
    with tcp("a maxconn=2") as balancer:
        stands, ends, waits = Calling(balancer), Calling(balancer), Calling(balancer)
        protocol = ends.protocol
        protocol.transport.loseConnection()
        balancer.running.stopService()
        assert stands.protocol.told == ["made", ConnectionAborted]
        assert protocol.told == ["made", ConnectionDone]
        balancer.pump.turn()
        assert waits.failure.type is ConnectError or waits.protocol.told[-1] is ConnectionAborted
        Calling(balancer).fails(ConnectError, "the balancer does not run")


def test_waitingWhenTheBalancerStops():
    with tcp("a maxconn=1") as balancer:
        Calling(balancer)
        waits = Calling(balancer)
        balancer.running.stopService()
        waits.fails(ConnectError, "the balancer is being stopped")


def test_anUnknownPool():
    with tcp() as balancer:
        Calling(balancer, "nothing").fails(ConnectError, "the balancer has no pool 'nothing'")


# by name


def connected(balancer, text):
    factory = Counted()
    result = []
    clientFromString(balancer.pump, text).connect(factory).addBoth(result.append)
    balancer.pump.turn()
    return result[0]


def refused(balancer, text, words):
    failure = connected(balancer, text)
    assert failure.type is ConnectError
    assert words in str(failure.value)


def test_byAString():
    with tcp() as balancer:
        assert connected(balancer, "lb:app").told == ["made"]
        refused(balancer, "lb:other", "no pool 'other'")
        refused(balancer, "lb:app:balancer=edge", "no balancer called 'edge' runs")
        balancer.running.setName("edge")
        assert connected(balancer, "lb:app:balancer=edge").told == ["made"]


def test_severalOfThem():
    with tcp() as one, tcp() as two:
        refused(one, "lb:app", "2 balancers run in this process: write lb:POOL:balancer=NAME")
        one.running.setName("one")
        two.running.setName("two")
        assert connected(one, "lb:app:balancer=one").told == ["made"]
        assert connected(two, "lb:app:balancer=two").told == ["made"]
        assert [b.running.pool("app").active for b in (one, two)] == [1, 1]
        two.running.setName("one")
        refused(one, "lb:app:balancer=one", "2 balancers called 'one' run")


def test_noneOfThem():
    with tcp() as balancer:
        balancer.running.stopService()
        refused(balancer, "lb:app", "no balancer runs in this process")
