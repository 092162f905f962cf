"""
C{connect = terminate} (row 001.10 of the seeds): CONNECT that the balancer does itself,
to what C{connect-allow} names and nowhere else.
"""

import errno
import json
import socket

import pytest
from spoken import GET, OK
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from lbtwist.balance.scheduled import RoundRobin
from lbtwist.config.load import loadText
from lbtwist.discovery import Answer, NoNameServer, NotResolved
from lbtwist.interfaces import IBalancer, IExchangeObserver, IRequestRule
from lbtwist.net import outgoing
from lbtwist.registry import Extension, installed
from lbtwist.rules.actions import Allow
from lbtwist.rules.decisions import Tunnel
from lbtwist.testing import inPieces
from lbtwist.testing.memory import Balancer
from lbtwist.testing.network import OutgoingSocket

YES = b"HTTP/1.1 200 Connection established\r\n\r\n"
HELLO = b"\x16\x03\x01 hello"

FIRST, SECOND = "93.184.216.34", "2001:db8::7"


def connect(target="example.com:443", *fields):
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields, "", ""]
    return "\r\n".join(lines).encode()


class Anywhere(OutgoingSocket):
    """
    A socket that connects to a server of the test as if it had an address of the internet.

    @cvar places: servers by C{(host, port)}; a number there is an error instead.
    @cvar tried: where it was wanted to connect to, in order.
    """

    places = {}
    tried = []

    def setsockopt(self, level, *args):
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *args)

    def getsockname(self):
        return ("192.0.2.1", 50000)

    def connect_ex(self, address):
        if address[:2] not in self.places:
            return super().connect_ex(address) if self._begun else errno.ENETUNREACH
        if not self._begun:
            self.tried.append(address[0])
        place = self.places[address[:2]]
        return place if isinstance(place, int) else super().connect_ex(place.path)


class Names:
    """Answers as a test says; asks nobody."""

    def __init__(self):
        self.asked = []
        self.answers = {}

    def lookup(self, host):
        self.asked.append(host)
        answer = self.answers.get(host, NotResolved("there is no such name"))
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(Answer(answer, 60.0))


CONFIG = """
[frontend www]
bind = ${{bind}}
connect = terminate
connect-allow = {allow}
log = ${{log}} format={log}
pool = app
{more}
[pool app]
{pool}
server app = ${{app}}
"""


@pytest.fixture
def world(monkeypatch):
    """Makes a balancer whose servers C{one} and C{two} are at L{FIRST} and L{SECOND}."""

    def make(
        allow="*.example.com:443 example.com:443", more="", log="auto", pool="", registry=None
    ):
        text = CONFIG.format(allow=allow, more=more, log=log, pool=pool)
        # Put back last: what stands there once there is a balancer is that balancer's.
        monkeypatch.setattr(outgoing, "newSocket", outgoing.newSocket)
        balancer = Balancer(text, "app", "one", "two", registry=registry)
        places = {(FIRST, 443): balancer.server("one"), (SECOND, 443): balancer.server("two")}
        monkeypatch.setattr(Anywhere, "places", places)
        monkeypatch.setattr(Anywhere, "tried", [])

        def newSocket(family, kind):
            if family == socket.AF_UNIX:
                return balancer._outgoing(family, kind)
            skt = Anywhere(socket.AF_UNIX, kind)
            skt.servers = {s.path: s for s in balancer._servers.values()}
            return skt

        monkeypatch.setattr(outgoing, "newSocket", newSocket)
        balancer.names = Names()
        balancer.names.answers["example.com"] = (FIRST,)
        balancer.names.answers["both.example.com"] = (FIRST, SECOND)
        inbound = balancer.running.frontend("www").inbound
        inbound.shared.terminating.resolver = balancer.names
        return balancer

    return make


def refused(client, status, error):
    """The client gets this, and the end."""
    pattern = rb"HTTP/1.1 %d [^\r]+\r\nProxy-Status: lbtwist; error=(?:%b)\r\n.*: close\r\n.*"
    client.receives(pattern % (status, error))
    client.isEnded()


# what is a tunnel


def test_aTunnel(world):
    with world() as balancer:
        client = balancer.client()
        client.sends(connect())
        server = balancer.server("one").accepts()
        server.receivesNothing()
        client.receivesExactly(YES)
        client.sends(HELLO)
        server.receivesExactly(HELLO)
        server.sends(b"back")
        client.receivesExactly(b"back")
        balancer.advance(2)
        client.ends()
        server.isEnded()
        server.ends()
        client.isEnded()
        size = len(YES) + 4
        assert balancer.endings == [
            f"www www/{FIRST}:443 0/0/0/0/2000 200 {size} - - ---- 1/1/0/0/0 0/0 "
            '"CONNECT example.com:443 HTTP/1.1"'
        ]
        traffic = balancer.running.frontend("www").inbound.traffic
        assert (traffic.bytesIn, traffic.bytesOut) == (len(connect()) + len(HELLO), size)


def test_itsLogSaysWhyItIsNotRead(world):
    with world(log="json") as balancer:
        client = balancer.client()
        client.sends(connect())
        balancer.server("one").accepts().closes()
        client.receivesExactly(YES)
        client.closes()
        (line,) = map(json.loads, balancer.lines)
    assert (line["passthrough"], line["pool"], line["server"]) == ("Connect", None, f"{FIRST}:443")


def test_whatComesWithTheHeadComesOnce(world):
    with world() as balancer:
        for pieces in inPieces(connect() + HELLO):
            client = balancer.client()
            for piece in pieces:
                client.sends(piece)
            server = balancer.server("one").accepts()
            server.receivesExactly(HELLO)
            client.receivesExactly(YES)
            client.closes()
            server.closes()


def test_anAddressIsNotLookedFor(world):
    with world(f"{FIRST}:443 [2001:db8::/32]:443") as balancer:
        for target, server in ((f"{FIRST}:443", "one"), (f"[{SECOND}]:443", "two")):
            client = balancer.client()
            client.sends(connect(target))
            peer = balancer.server(server).accepts()
            client.receivesExactly(YES)
            client.closes()
            peer.closes()
        assert balancer.names.asked == []


def test_aNameIsWrittenInManyWays(world):
    with world() as balancer:
        for target in ("EXAMPLE.com:443", "example.com.:443", "example.com:0443"):
            client = balancer.client()
            client.sends(connect(target))
            peer = balancer.server("one").accepts()
            client.receivesExactly(YES)
            client.closes()
            peer.closes()
        assert balancer.names.asked == ["example.com"] * 3


def test_otherRequestsGoToThePool(world):
    """On the same connection, before it becomes a tunnel."""
    with world() as balancer:
        client = balancer.client()
        client.sends(GET)
        app = balancer.server("app").accepts()
        app.receives(rb"GET / .*")
        app.sends(OK)
        client.receivesExactly(OK)
        client.sends(connect())
        server = balancer.server("one").accepts()
        client.receivesExactly(YES)
        client.sends(b"x")
        server.receivesExactly(b"x")
        app.receivesNothing()


@implementer(IExchangeObserver)
class Told(RoundRobin):
    """A balancer that keeps what it is told."""

    exchanges = []

    def exchangeFinished(self, exchange):
        self.exchanges.append(exchange)


def test_itIsNotOfAnyPool(world, monkeypatch):
    """Whatever rules say: the pool's are not asked, and its balancer does not hear of it."""
    monkeypatch.setattr(Told, "exchanges", [])
    registry = installed(Extension(IBalancer, "told", f"{__name__}.Told"))
    more = 'request = pool app if method == "CONNECT"'
    with world(more=more, pool="request = deny\nbalance = told", registry=registry) as balancer:
        client = balancer.client()
        client.sends(connect())
        server = balancer.server("one").accepts()
        client.receivesExactly(YES)
        client.closes()
        server.closes()
        balancer.server("app").acceptsNothing()
        assert Told.exchanges == []
        assert balancer.running.pool("app").traffic.exchanges == 0
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 403 .*")
        assert len(Told.exchanges) == 1


def test_rulesAreAskedBefore(world):
    more = (
        "request =\n"
        "    deny 403 if host.startswith('secret.')\n"
        "    answer 451 'not here' if host.startswith('law.')\n"
        "    reject if src in net('198.51.100.0/24')\n"
    )
    with world(more=more) as balancer:
        for target, status in (("secret.example.com:443", 403), ("law.example.com:443", 451)):
            client = balancer.client()
            client.sends(connect(target))
            client.receives(rb"HTTP/1.1 %d .*" % status)
            client.closes()
        client = balancer.client("198.51.100.1")
        client.sends(connect())
        client.isReset()
        assert balancer.names.asked == []


def test_aRuleMayWatchAndGiveReasons(world):
    with world(more="request = tunnel", log="json") as balancer:
        client = balancer.client()
        client.sends(connect())
        server = balancer.server("one").accepts()
        client.receivesExactly(YES)
        client.closes()
        server.closes()
        (line,) = map(json.loads, balancer.lines)
    assert line["passthrough"] == "iRule"


class Back:
    """Watches until there is a word for it."""

    held = 0

    def dataReceived(self, side, data):
        return 4 if data.startswith(b"BACK") else None


class Watch:
    """A verb: the tunnel is watched."""

    Options = Allow.Options

    def __init__(self, options, context):
        pass

    def requestReceived(self, exchange):
        return Tunnel(watcher=Back()) if exchange.request.method == b"CONNECT" else None


def test_httpComesBack(world):
    registry = installed(Extension(IRequestRule, "watch", f"{__name__}.Watch"))
    with world(more="request = watch", registry=registry) as balancer:
        client = balancer.client()
        client.sends(connect())
        server = balancer.server("one").accepts()
        client.receivesExactly(YES)
        client.sends(b"BACK" + GET)
        server.receivesExactly(b"BACK")
        server.isEnded()
        assert len(balancer.running.frontend("www").inbound.sessions) == 1
        app = balancer.server("app").accepts()
        app.sends(OK)
        client.receivesExactly(OK)
        server.closes()
        assert not balancer.running.frontend("www").inbound.sessions


def test_timeouts(world):
    for more, seconds in (
        ("timeout-client = 7s", 7),
        ("timeout-client = 50s\nrequest = set-timeout tunnel 3s", 3),
        ("timeout-client = 5s\nrequest = set-timeout tunnel 1h", 3600),
        ("timeout-client = 5s\nrequest = set-timeout server 2s", 2),
    ):
        with world(more=more) as balancer:
            client = balancer.client()
            client.sends(connect())
            server = balancer.server("one").accepts()
            client.receivesExactly(YES)
            balancer.advance(seconds - 0.1)
            client.receivesNothing()
            balancer.advance(0.2)
            client.isReset()
            server.isReset()


def test_graceEndsIt(world):
    with world() as balancer:
        client = balancer.client()
        client.sends(connect())
        server = balancer.server("one").accepts()
        client.receivesExactly(YES)
        balancer.running.stopService()
        balancer.advance(31)
        client.isReset()
        server.isReset()
        assert " KD-- " in balancer.endings[0]
        assert not balancer.running.frontend("www").inbound.sessions


def test_clientThatHasEndedItsSide(world):
    with world() as balancer:
        balancer.server("one").hesitates()
        client = balancer.client()
        client.sends(connect() + HELLO)
        client.ends()
        balancer.server("one").goesOn()
        server = balancer.server("one").accepts()
        server.receivesExactly(HELLO)
        server.isEnded()
        server.sends(b"back")
        client.receivesExactly(YES + b"back")


# what is not


@pytest.mark.parametrize(
    "target",
    ["other.test:443", "example.com:80", "example.com.evil.test:443", f"{FIRST}:443",
     f"[{SECOND}]:443", "127.1:443", "2130706433:443", "0x7f.1:443", "010.0.0.1:443",
     "a_b.example.com%41:443", "example.com:0", "-.example.com:443", "a..example.com:443"],
)  # fmt: skip
def test_whatIsNotNamed(world, target):
    with world() as balancer:
        client = balancer.client()
        client.sends(connect(target))
        refused(client, 403, b"http_request_denied|destination_ip_prohibited")
        assert balancer.names.asked == []
        assert Anywhere.tried == []
        assert " PR-- " in balancer.endings[0]
        assert f'"CONNECT {target} HTTP/1.1"' in balancer.endings[0]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1",
     "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)  # fmt: skip
def test_whatANameMayNotLeadTo(world, address):
    """Row 001.10; and DNS rebinding: what was judged is what is connected to."""
    with world("*:443") as balancer:
        balancer.names.answers["rebound.test"] = (address,)
        balancer.names.answers["mixed.test"] = (address, FIRST)
        client = balancer.client()
        client.sends(connect("rebound.test:443"))
        refused(client, 403, b"destination_ip_prohibited")
        assert Anywhere.tried == []
        assert " PR-- " in balancer.endings[0] or " PC-- " in balancer.endings[0]
        client = balancer.client()
        client.sends(connect("mixed.test:443"))
        client.receivesExactly(YES)
        assert Anywhere.tried == [FIRST]
        assert balancer.names.asked == ["rebound.test", "mixed.test"]


def test_whatIsForbiddenMayBeNamed(world):
    with world("*:443 127.0.0.1:443") as balancer:
        Anywhere.places["127.0.0.1", 443] = balancer.server("two")
        client = balancer.client()
        client.sends(connect("127.0.0.1:443"))
        balancer.server("two").accepts()
        client.receivesExactly(YES)


def test_whereWeListenOurselves(world, monkeypatch):
    """A client would come back with our own address."""

    class Listening:
        def __init__(self, *name):
            self.socket = self
            self._name = name

        def getsockname(self):
            return self._name

        def stopListening(self):
            pass

    for name, target, allowed in (
        ((FIRST, 443), f"{FIRST}:443", False),
        ((FIRST, 443), "example.com:443", False),
        ((FIRST, 444), f"{FIRST}:443", True),
        ((SECOND, 443, 0, 0), f"{FIRST}:443", True),
        # Nobody but this machine has this one.
        (("0.0.0.0", 443), "127.0.0.9:443", False),
        (("::", 443, 0, 0), "127.0.0.9:443", False),
        (("0.0.0.0", 443), f"{FIRST}:443", True),
        (("::", 443, 0, 0), f"{FIRST}:443", True),
    ):
        with world("*:443 127.0.0.0/8:443") as balancer:
            Anywhere.places["127.0.0.9", 443] = balancer.server("two")
            balancer.running.frontend("www").inbound.listeners.append(Listening(*name))
            client = balancer.client(bind=0)
            client.sends(connect(target))
            if allowed:
                client.receivesExactly(YES)
            else:
                refused(client, 403, b"destination_ip_prohibited")
    with world(f"{FIRST}:443") as balancer:
        balancer.running.frontend("www").inbound.listeners.append(Listening(FIRST, 443))
        client = balancer.client()
        client.sends(connect(f"{FIRST}:443"))
        client.receivesExactly(YES)


@pytest.mark.parametrize(
    ("failed", "status", "error", "letters"),
    [
        (NotResolved("there is no such name"), 502, b"dns_error", "SC"),
        (NoNameServer("no name server answers"), 504, b"dns_timeout", "sC"),
    ],
)
def test_whatIsNotFound(world, failed, status, error, letters):
    with world() as balancer:
        balancer.names.answers["www.example.com"] = failed
        client = balancer.client()
        client.sends(connect("www.example.com:443"))
        refused(client, status, error)
        assert f" {letters}-- " in balancer.endings[0]
        assert balancer.endings[0].startswith("www www/<NOSRV> ")


@pytest.mark.parametrize(
    ("number", "status", "error", "letters"),
    [
        (errno.ECONNREFUSED, 502, b"connection_refused", "SC"),
        (errno.ENETUNREACH, 502, b"destination_ip_unroutable", "SC"),
        (errno.EHOSTUNREACH, 502, b"destination_ip_unroutable", "SC"),
        (errno.ETIMEDOUT, 504, b"connection_timeout", "sC"),
        (errno.ECONNRESET, 502, b"connection_terminated", "SC"),
        (errno.ENOBUFS, 500, b"proxy_internal_error", "RC"),
    ],
)
def test_whatCannotBeConnectedTo(world, number, status, error, letters):
    with world() as balancer:
        Anywhere.places[FIRST, 443] = number
        client = balancer.client()
        client.sends(connect() + b"GET /smuggled HTTP/1.1\r\n\r\n")
        refused(client, status, error)
        (ending,) = balancer.endings
        assert f" {letters}-- " in ending
        assert ending.startswith(f"www www/{FIRST}:443 ")


def test_noDescriptorIsLeft(world, monkeypatch):
    with world() as balancer:

        def newSocket(*args):
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(outgoing, "newSocket", newSocket)
        client = balancer.client()
        client.sends(connect("both.example.com:443"))
        refused(client, 500, b"proxy_internal_error")
        assert " RC-- " in balancer.endings[0]


def test_theNextAddressIsTried(world):
    with world() as balancer:
        Anywhere.places[FIRST, 443] = errno.ECONNREFUSED
        client = balancer.client()
        client.sends(connect("both.example.com:443"))
        server = balancer.server("two").accepts()
        client.receivesExactly(YES)
        assert Anywhere.tried == [FIRST, SECOND]
        client.closes()
        server.closes()
        assert f"www www/[{SECOND}]:443 " in balancer.endings[0]
        assert "1/1/0/0/1 0/0" in balancer.endings[0]


def test_noMoreThanSomeAreTried(world):
    with world("*:443") as balancer:
        many = [f"198.51.100.{n}" for n in range(1, 100)]
        for one in many:
            Anywhere.places[one, 443] = errno.ECONNREFUSED
        balancer.names.answers["many.test"] = tuple(many)
        client = balancer.client()
        client.sends(connect("many.test:443"))
        refused(client, 502, b"connection_refused")
        assert Anywhere.tried == many[:8]


def test_theTimeIsSharedAmongTheAddresses(world):
    with world(more="connect-timeout = 4s") as balancer:
        balancer.server("one").hesitates()
        client = balancer.client()
        client.sends(connect("both.example.com:443"))
        balancer.advance(1.9)
        assert Anywhere.tried == [FIRST]
        balancer.advance(0.2)
        assert Anywhere.tried == [FIRST, SECOND]
        client.receivesExactly(YES)
    with world(more="connect-timeout = 4s") as balancer:
        balancer.server("one").hesitates()
        balancer.server("two").hesitates()
        client = balancer.client()
        client.sends(connect("both.example.com:443"))
        balancer.advance(3.9)
        client.receivesNothing()
        balancer.advance(0.2)
        refused(client, 504, b"connection_timeout")
        assert " sC-- " in balancer.endings[0]


def test_noLimitOfTime(world):
    with world(more="connect-timeout = 0") as balancer:
        balancer.server("one").hesitates()
        client = balancer.client()
        client.sends(connect())
        balancer.advance(1000)
        balancer.server("one").goesOn()
        client.receivesExactly(YES)


def test_aNameServerThatIsSlow(world):
    for seconds in (2, 4):
        with world(more="connect-timeout = 3s") as balancer:
            cancelled = []
            answer = balancer.names.answers["example.com"] = Deferred(cancelled.append)
            client = balancer.client()
            client.sends(connect())
            balancer.advance(seconds)
            if seconds == 2:
                answer.callback(Answer((FIRST,), 60.0))
                balancer.server("one").accepts()
                client.receivesExactly(YES)
            else:
                refused(client, 504, b"dns_timeout")
                assert cancelled == [answer]


def test_clientThatGoesAway(world):
    """Neither a question nor a connect outlives it."""
    with world() as balancer:
        cancelled = []
        balancer.names.answers["example.com"] = Deferred(cancelled.append)
        client = balancer.client()
        client.sends(connect())
        client.resets()
        assert len(cancelled) == 1
        assert " CC-- " in balancer.endings[0]
        # What is left is the clock of the deadlines.
        assert len(balancer.pump.getDelayedCalls()) == 1
    with world() as balancer:
        balancer.server("one").hesitates()
        client = balancer.client()
        client.sends(connect())
        client.resets()
        assert " CC-- " in balancer.endings[0]


def test_stoppingWhileItConnects(world):
    with world() as balancer:
        balancer.names.answers["example.com"] = Deferred()
        client = balancer.client()
        client.sends(connect())
        balancer.running.abort()
        client.receives(rb"HTTP/1.1 503 .*")
        assert " KC-- " in balancer.endings[0]


def test_aFaultOfOurs(world):
    with world() as balancer:
        balancer.names.answers["example.com"] = RuntimeError("a fault")
        client = balancer.client()
        client.sends(connect())
        refused(client, 500, b"proxy_internal_error")
        assert [str(one.value) for one in balancer.failures] == ["a fault"]
        balancer.failures.clear()


def test_aFrontendWithoutAPool():
    text = CONFIG.format(allow="*:443", more="", log="auto", pool="")
    text = text.replace("pool = app\n", "", 1)
    environ = {"bind": "unix:/x", "app": "unix:/y", "log": "file:/z"}
    _, problems = loadText(text, installed(), environ=environ)
    assert any("every request but CONNECT is answered with 503" in str(one) for one in problems)
