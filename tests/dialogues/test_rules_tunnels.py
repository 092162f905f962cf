"""
The verb C{tunnel} and those who watch a tunnel (rows 000.8, 001.3, 001.4 and 001.7 to
001.9 of the seeds): nothing after the request is parsed, until a watcher says so.
"""

import json
from functools import partial
from random import Random

import attr
import pytest
from spoken import GET, OK, POST, TOLD, asks, www
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.interfaces import IRequestRule, IResponseRule, ITunnelWatcher
from lbtwist.options import Text, option
from lbtwist.registry import Extension, installed
from lbtwist.rules.decisions import Tunnel
from lbtwist.testing import inPieces
from lbtwist.testing.memory import Balancer
from lbtwist.watching import MAX_HELD

RAW = b"GET /raw HTTP/1.1\r\nHost: h\r\n\r\n"
SENT = RAW[:-2] + TOLD + b"\r\n"
"""What a server gets of it."""

ALL = "request = tunnel"
SOME = 'request = tunnel if path == "/raw"'


class Verb:
    """Does what a test says: C{does} is called with each exchange."""

    @attr.frozen
    class Options:
        name: str = option(Text(), "", positional=True)

    does = None

    def __init__(self, options, context):
        pass

    def requestReceived(self, exchange):
        return type(self).does(exchange)

    responseReceived = requestReceived


REGISTRY = installed(
    Extension(IRequestRule, "policy", f"{__name__}.Verb"),
    Extension(IResponseRule, "policy", f"{__name__}.Verb"),
)


@implementer(ITunnelWatcher)
class Until:
    """
    Waits for a word in what the client sends, whatever segments it comes in.

    @ivar seen: what it was told.
    """

    def __init__(self, word, drop=True):
        """@param drop: the word belongs to the tunnel; else it begins a request."""
        self._word = word
        self._drop = drop
        self._tail = b""
        self.held = 0
        self.seen = []

    def dataReceived(self, side, data):
        self.seen.append((side, data))
        if side == "server":
            return None
        whole = self._tail + data
        at = whole.find(self._word)
        if at >= 0:
            return at + (len(self._word) if self._drop else 0) - len(self._tail)
        word = self._word
        self.held = max(n for n in range(len(word)) if whole.endswith(word[:n]))
        self._tail = whole[len(whole) - self.held :]
        return None


@pytest.fixture
def tunnelled(monkeypatch):
    """
    Gives the watchers of the exchanges for C{/raw}, in order; the first arguments are
    those of L{Until}. How often rules were asked is C{asked}.
    """

    class Watchers(list):
        asked = 0

        def until(self, *args):
            self.args = args
            return self

        def __call__(self, exchange):
            self.asked += 1
            if exchange.request.target != b"/raw":
                return None
            self.append(Until(*self.args))
            return Tunnel(watcher=self[-1])

    found = Watchers()
    monkeypatch.setattr(Verb, "does", found)
    return found


def watched(**more):
    return www(frontend="request = policy", registry=REGISTRY, **more)


# the verb


def test_whatFollowsIsNotParsed():
    with www(frontend=SOME) as balancer:
        client = balancer.client()
        client.sends(RAW)
        server = balancer.server("a").accepts()
        server.receivesExactly(SENT)
        server.sends(b"\x00\xffHTTP/9.9 no response\r\n\r\n")
        client.receivesExactly(b"\x00\xffHTTP/9.9 no response\r\n\r\n")
        client.sends(b"\x00\xff GET")
        server.receivesExactly(b"\x00\xff GET")
        server.ends()
        client.isEnded()
        client.ends()
        server.isEnded()
    assert not balancer.failures


@pytest.mark.parametrize(
    ("version", "said", "got"),
    [
        (b"1", b"Connection: close\r\n", b"Connection: close\r\n"),
        (b"0", b"", b"Connection: close\r\n"),
        (b"0", b"Connection: keep-alive\r\n", b""),
    ],
)
def test_theServerIsToldHowTheClientReads(version, said, got):
    """It would wait for an end that never comes, or not understand chunks."""
    request = b"GET /raw HTTP/1.%b\r\nHost: h\r\n" % version
    with www(frontend=SOME) as balancer:
        client = balancer.client()
        client.sends(request + said + b"\r\n")
        balancer.server("a").accepts().receivesExactly(request + TOLD + got + b"\r\n")


def test_noRuleIsAskedAgain(monkeypatch):
    asked = []

    def asking(exchange):
        asked.append(exchange.request.line)

    monkeypatch.setattr(Verb, "does", asking)
    rules = "request =\n    policy\n    tunnel\nresponse = policy"
    with www(frontend=rules, registry=REGISTRY) as balancer:
        client, server = asks(balancer, RAW)
        for _ in range(100):
            client.sends(GET)
            server.receivesExactly(GET)
            server.sends(OK)
            client.receivesExactly(OK)
        client.closes()
    assert asked == [b"GET /raw HTTP/1.1"]


def test_logOfATunnel():
    with www(frontend=ALL, log="json") as balancer:
        client, server = asks(balancer, RAW + b"four")
        server.sends(b"seven!!")
        client.receivesExactly(b"seven!!")
        client.ends()
        server.ends()
        (line,) = map(json.loads, balancer.lines)
    assert line["passthrough"] == "iRule"
    assert line["termination"].startswith("--")
    assert line["server"] == "a"
    traffic = balancer.running.pool("app").traffic
    assert (traffic.bytesIn, traffic.bytesOut) == (len(RAW) + 4, 7)


BODIES = {
    "nothing": (RAW, b""),
    "pipelined": (RAW, b"\x16\x03\x01 no HTTP" + GET),
    "length": (POST, b"body"),
    "length and more": (POST, b"body" + GET),
    "chunks": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4;x=y\r\nbody\r\n3\r\nodd\r\n0\r\nA: b\r\n\r\n",
    ),
    "chunks and more": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2\r\nab\r\n0\r\n\r\nGET /next",
    ),
}


def sentFor(head):
    """What a server gets of a request's head."""
    framing = b"Transfer-Encoding: chunked\r\n"
    plain = head.replace(framing, b"")
    return plain[:-2] + TOLD + (framing if framing in head else b"") + b"\r\n"


@pytest.mark.parametrize("kind", BODIES)
def test_allOfItComesOnceAndInOrder(kind):
    head, rest = BODIES[kind]
    with www(frontend=ALL) as balancer:
        for pieces in inPieces(head + rest):
            client = balancer.client()
            for piece in pieces:
                client.sends(piece)
            server = balancer.server("a").accepts()
            server.receivesExactly(sentFor(head) + rest)
            client.sends(b"!")
            server.receivesExactly(b"!")
            client.closes()
            server.closes()


@pytest.mark.parametrize("kind", BODIES)
def test_soItDoesWhileTheServerHesitates(kind):
    head, rest = BODIES[kind]
    with www(frontend=ALL) as balancer:
        for pieces in inPieces(head + rest):
            balancer.server("a").hesitates()
            client = balancer.client()
            for piece in pieces:
                client.sends(piece)
            balancer.server("a").goesOn()
            server = balancer.server("a").accepts()
            server.receivesExactly(sentFor(head) + rest)
            client.sends(b"!")
            server.receivesExactly(b"!")
            client.closes()
            server.closes()


@pytest.mark.parametrize("kind", BODIES)
def test_soItDoesWhileARuleWaits(kind, monkeypatch):
    head, rest = BODIES[kind]
    waiting = []
    monkeypatch.setattr(Verb, "does", lambda exchange: waiting.append(Deferred()) or waiting[-1])
    rules = "request =\n    policy\n    tunnel"
    with www(frontend=rules, registry=REGISTRY) as balancer:
        for pieces in inPieces(head + rest):
            client = balancer.client()
            for piece in pieces:
                client.sends(piece)
            waiting.pop().callback(None)
            balancer.pump.turn()
            server = balancer.server("a").accepts()
            server.receivesExactly(sentFor(head) + rest)
            client.sends(b"!")
            server.receivesExactly(b"!")
            client.closes()
            server.closes()
        assert not waiting


def test_moreThanIsKeptIsHeldBack():
    """And comes when there is a server."""
    with www(frontend=ALL) as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        early = bytes(range(256)) * 600
        client.sends(RAW)
        client.socket.setblocking(True)
        client.socket.settimeout(5)
        client.socket.sendall(early)
        client.socket.setblocking(False)
        balancer.pump.turn()
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receivesExactly(SENT + early)


def test_chunksThatAreNoneDoNotMatterAfterTheRule():
    with www(frontend=ALL) as balancer:
        head, _ = BODIES["chunks"]
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(head)
        client.sends(b"no chunk at all")
        balancer.server("a").goesOn()
        balancer.server("a").accepts().receivesExactly(sentFor(head) + b"no chunk at all")


def test_refusedBeforeItIsATunnel():
    rules = "request =\n    deny if src in net('203.0.113.0/24')\n    tunnel"
    with www(frontend=rules) as balancer:
        client = balancer.client()
        client.sends(RAW)
        client.receives(rb"HTTP/1.1 403 .*")
        balancer.server("a").acceptsNothing()


def test_noServer():
    with www(frontend=ALL) as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(RAW + b"more")
        balancer.advance(60)
        client.receives(rb"HTTP/1.1 503 .*")
        client.isEnded()
        assert " SC-- " in balancer.endings[0]


def test_serverConnectionsAreNeitherTakenNorKept():
    with www(frontend=SOME, pool="http-reuse = always") as balancer:
        client, kept = asks(balancer)
        kept.sends(OK)
        client.receivesExactly(OK)
        client.sends(RAW)
        tunnel = balancer.server("a").accepts()
        tunnel.receivesExactly(SENT)
        kept.receivesNothing()
        client.closes()
        tunnel.isEnded()
        tunnel.closes()
        other = balancer.client()
        other.sends(GET)
        kept.receives(rb"GET / .*")
        kept.sends(OK)
        other.receivesExactly(OK)
        balancer.server("a").acceptsNothing()


def test_aTunnelAfterOtherRequestsOfTheConnection():
    with www(frontend=SOME) as balancer:
        client, first = asks(balancer)
        client.sends(RAW + b"early")
        first.sends(OK)
        client.receivesExactly(OK)
        balancer.server("a").accepts().receivesExactly(SENT + b"early")


def test_aTunnelToTheServerThatARuleNames():
    with www("a", "b", frontend=ALL, pool="request = server b") as balancer:
        for _ in range(3):
            client, server = asks(balancer, RAW, "b")
            server.sends(b"no HTTP")
            client.receivesExactly(b"no HTTP")


# how it ends


def test_clientThatEndsItsSide(monkeypatch):
    """In every state: what it sent and its end come to the server."""
    for state in ("waiting", "connecting", "a tunnel"):
        with www(frontend="request =\n    policy\n    tunnel", registry=REGISTRY) as balancer:
            deferred = Deferred()
            monkeypatch.setattr(Verb, "does", lambda exchange, found=deferred: found)
            if state != "a tunnel":
                balancer.server("a").hesitates()
            client = balancer.client()
            client.sends(POST + b"bo")
            if state != "waiting":
                deferred.callback(None)
                balancer.pump.turn()
            if state == "waiting":
                # Half a body: whether it will be a tunnel is not known.
                client.ends()
                client.isReset()
                assert " CR-- " in balancer.endings[0]
                continue
            client.ends()
            balancer.server("a").goesOn()
            server = balancer.server("a").accepts()
            server.receives(rb"POST .*\r\n\r\nbo")
            server.isEnded()
            server.sends(b"bye")
            client.receivesExactly(b"bye")
            server.ends()
            client.isEnded()
            assert " ---- " in balancer.endings[0]


def test_clientThatEndsItsSideWhileARuleWaits(monkeypatch):
    deferred = Deferred()
    monkeypatch.setattr(Verb, "does", lambda exchange: deferred)
    with www(frontend="request =\n    policy\n    tunnel", registry=REGISTRY) as balancer:
        client = balancer.client()
        client.sends(RAW + b"all")
        client.ends()
        deferred.callback(None)
        balancer.pump.turn()
        server = balancer.server("a").accepts()
        server.receivesExactly(SENT + b"all")
        server.isEnded()
        server.sends(b"bye")
        client.receivesExactly(b"bye")
        server.ends()
        client.isEnded()


def test_clientThatGoesAwayBeforeThereIsATunnel(monkeypatch):
    cancelled = []
    monkeypatch.setattr(Verb, "does", lambda exchange: Deferred(cancelled.append))
    with www(frontend="request = policy", registry=REGISTRY) as balancer:
        client = balancer.client()
        client.sends(RAW)
        client.resets()
        assert len(cancelled) == 1
        assert " CR-- " in balancer.endings[0]
    with www(frontend=ALL) as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(RAW)
        client.resets()
        assert " CC-- " in balancer.endings[0]


def test_whoResetsATunnel(monkeypatch):
    for who, letters in (("client", "CD--"), ("server", "SD--")):
        for make in (partial(www, frontend=ALL), watched):
            monkeypatch.setattr(Verb, "does", lambda exchange: Tunnel(watcher=Until(b"x")))
            with make() as balancer:
                ends = dict(zip(("client", "server"), asks(balancer, RAW), strict=True))
                ends.pop(who).resets()
                (other,) = ends.values()
                other.isReset()
                assert f" {letters} " in balancer.endings[0]


def test_serverThatClosesWithoutAWord():
    with www(frontend=ALL) as balancer:
        client, server = asks(balancer, RAW)
        server.closes()
        client.isEnded()
        client.ends()
        assert " ---- " in balancer.endings[0]


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({"frontend": ALL, "pool": "timeout-tunnel = 5s"}, 5),
        ({"frontend": "request =\n    set-timeout tunnel 5s\n    tunnel"}, 5),
        ({"frontend": "request =\n    set-timeout tunnel 5s\n    tunnel",
          "pool": "timeout-tunnel = 1s"}, 5),
        ({"frontend": f"timeout-client = 3s\n{ALL}"}, 3),
        ({"frontend": "request =\n    set-timeout client 2s\n    tunnel"}, 2),
        ({"frontend": "request =\n    set-timeout server 2s\n    tunnel"}, 2),
    ],
)  # fmt: skip
def test_silence(more, seconds):
    with www(**more) as balancer:
        client, server = asks(balancer, RAW)
        balancer.advance(seconds - 0.5)
        server.sends(b"x")
        client.receivesExactly(b"x")
        balancer.advance(seconds - 0.1)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isReset()
        server.isReset()
        assert " cD-- " in balancer.endings[0] or " sD-- " in balancer.endings[0]


def test_noTimeoutOfARequestIsLeft():
    """The body that would have been is no concern of ours any more."""
    more = "timeout-client = 2s\ntimeout-request = 2s\n"
    with www(frontend=more + ALL, pool="timeout-connect = 9s") as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(POST)
        balancer.advance(5)
        client.receivesNothing()
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receives(rb"POST .*")


def test_graceEndsATunnel():
    with www(frontend=ALL, settings="grace-period = 2s") as balancer:
        client, server = asks(balancer, RAW)
        balancer.running.stopService()
        balancer.advance(1.9)
        client.sends(b"still")
        server.receivesExactly(b"still")
        balancer.advance(0.2)
        client.isReset()
        server.isReset()
        assert " KD-- " in balancer.endings[0]


class Spliced(list):
    """Counts splices of tunnels."""

    def __init__(self, monkeypatch):
        import lbtwist.tunnel

        real = lbtwist.tunnel.Splice
        monkeypatch.setattr(
            lbtwist.tunnel, "Splice", lambda *args: self.append(args[0]) or real(*args)
        )


def test_randomBytesBothWays(monkeypatch):
    """Row 001.9; inside the kernel where nobody watches, and the same where somebody does."""
    data = Random(1).randbytes(1 << 20)
    spliced = Spliced(monkeypatch)
    watcher = partial(Until, b"a word that does not come")
    monkeypatch.setattr(Verb, "does", lambda exchange: Tunnel(watcher=watcher()))
    for make, expected in ((partial(www, frontend=ALL), True), (watched, False)):
        del spliced[:]
        with make() as balancer:
            client, server = asks(balancer, RAW)
            for one, other in ((client, server), (server, client)):
                got = b""
                for at in range(0, len(data), 1 << 16):
                    one.sends(data[at : at + (1 << 16)])
                    got += other.receives(rb".*")[0]
                assert got == data
        assert bool(spliced) is expected


# who watches


def cuts(data):
    return list(inPieces(data))


@pytest.mark.parametrize("drop", [True, False])
def test_httpComesBack(tunnelled, drop):
    """Row 001.8: in every segmentation, what comes before the word is passed on once."""
    word = b"MARK" if drop else b"GET /2"
    tunnelled.until(word, drop)
    again = b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    before = b"bytes MAR GET / MARGE \x00" + (word if drop else b"")
    with watched() as balancer:
        for count, pieces in enumerate(cuts(RAW + before + again), 1):
            client = balancer.client()
            for piece in pieces:
                client.sends(piece)
            server = balancer.server("a").accepts()
            server.receivesExactly(SENT + before)
            server.isEnded()
            # Whatever it still says does not belong to the next response.
            server.sends(b"too late")
            server.closes()
            second = balancer.server("a").accepts()
            second.receivesExactly(again[:-2] + TOLD + b"\r\n")
            second.sends(OK)
            client.receivesExactly(OK)
            assert tunnelled.asked == 2 * count
            client.closes()
            second.closes()
        told = b"".join(data for side, data in tunnelled[-1].seen if side == "client")
        assert (before + again).startswith(told[:len(before)])


def test_bothExchangesAreLogged(tunnelled):
    tunnelled.until(b"MARK")
    with watched(log="json") as balancer:
        client, server = asks(balancer, RAW)
        client.sends(b"abcMARK")
        server.receivesExactly(b"abcMARK")
        server.isEnded()
        client.sends(GET)
        second = balancer.server("a").accepts()
        second.sends(OK)
        client.receivesExactly(OK)
        tunnel, plain = map(json.loads, balancer.lines)
    assert (tunnel["passthrough"], plain["passthrough"]) == ("iRule", None)
    assert tunnel["termination"].startswith("--")
    assert balancer.running.pool("app").traffic.bytesIn == len(RAW + b"abcMARK" + GET)


def test_thereAndBackManyTimes(tunnelled):
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client = balancer.client()
        for _ in range(20):
            client.sends(RAW + b"in MARK" + GET)
            tunnel = balancer.server("a").accepts()
            tunnel.receivesExactly(SENT + b"in MARK")
            tunnel.isEnded()
            plain = balancer.server("a").accepts()
            plain.receives(rb"GET / .*")
            plain.sends(OK)
            client.receivesExactly(OK)
            tunnel.closes()
            plain.closes()
        inbound = balancer.running.frontend("www").inbound
        assert (inbound.active, len(inbound.connections)) == (1, 1)
        client.closes()
        assert (inbound.active, len(inbound.connections)) == (0, 0)
    assert tunnelled.asked == 40


def test_pipelinedThereAndBack(tunnelled):
    """All of it in one segment, tunnels that begin within tunnels that end."""
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client = balancer.client()
        client.sends((RAW + b"in MARK") * 5 + GET)
        for _ in range(5):
            tunnel = balancer.server("a").accepts()
            tunnel.receivesExactly(SENT + b"in MARK")
            tunnel.closes()
        plain = balancer.server("a").accepts()
        plain.sends(OK)
        client.receivesExactly(OK)


def test_whatIsHeldComesWhenTheClientEnds(tunnelled):
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        client.sends(b"not yet MAR")
        server.receivesExactly(b"not yet ")
        client.ends()
        server.receivesExactly(b"MAR")
        server.isEnded()
        server.sends(b"bye")
        client.receivesExactly(b"bye")
        server.ends()
        client.isEnded()
        assert balancer.running.pool("app").traffic.bytesIn == len(RAW + b"not yet MAR")


def test_noHttpAfterTheServerHasEnded(tunnelled):
    """Our side towards the client has ended with it: no response could be sent."""
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        client.sends(b"MA")
        server.receivesNothing()
        server.ends()
        server.receivesExactly(b"MA")
        client.isEnded()
        client.sends(b"RK" + GET)
        server.receivesExactly(b"RK" + GET)
        client.ends()
        server.isEnded()
        assert len(balancer.endings) == 1
    assert tunnelled.asked == 1


def test_whatComesAfterTheTunnelIsNoRequest(tunnelled):
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        client.sends(b"MARK\x00\xff\r\n\r\n")
        server.receivesExactly(b"MARK")
        client.receives(rb"HTTP/1.1 400 .*")
        client.isEnded()
        assert " ---- " in balancer.endings[0] and " PR-- " in balancer.endings[1]


def test_timeoutsAfterTheTunnel(tunnelled):
    """Those of a connection between two requests, and then of a request."""
    tunnelled.until(b"MARK")
    for begun, ends in ((b"", lambda client: client.isEnded()),
                        (b"GET", lambda client: client.receives(rb"HTTP/1.1 408 .*"))):  # fmt: skip
        frontend = "request = policy\ntimeout-keepalive = 3s\ntimeout-request = 2s"
        with www(frontend=frontend, registry=REGISTRY) as balancer:
            client, _ = asks(balancer, RAW)
            balancer.advance(10)
            client.sends(b"MARK" + begun)
            balancer.advance(1.9)
            client.receivesNothing()
            balancer.advance(1.2)
            ends(client)


@pytest.mark.parametrize("early", [b"MARK", b""])
def test_noTimeoutOfTheTunnelIsLeft(tunnelled, early):
    tunnelled.until(b"MARK")
    frontend = "request = policy\ntimeout-keepalive = 60s"
    with www(frontend=frontend, pool="timeout-tunnel = 5s", registry=REGISTRY) as balancer:
        client, _ = asks(balancer, RAW + early)
        client.sends(b"MARK"[len(early) :])
        balancer.advance(50)
        client.receivesNothing()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.sends(OK)
        client.receivesExactly(OK)


def test_aServerThatDoesNotEndAfterTheTunnel(tunnelled):
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        client.sends(b"MARK")
        server.receivesExactly(b"MARK")
        server.isEnded()
        member = balancer.running.pool("app").find("a")
        assert (member.active, len(member.sessions)) == (0, 1)
        balancer.advance(3)
        assert not member.sessions
        client.receivesNothing()


def test_aServerThatTakesNothingAfterTheTunnel(tunnelled):
    tunnelled.until(b"MARK")
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        client.socket.setblocking(True)
        client.socket.settimeout(5)
        sent = bytes(1 << 16)
        member = balancer.running.pool("app").find("a")
        (tunnel,) = member.sessions
        while not tunnel.server.transport.unsent:
            client.socket.sendall(sent)
            balancer.pump.turn()
        client.socket.setblocking(False)
        server.receives(rb".+")
        client.sends(b"MARK" + GET)
        second = balancer.server("a").accepts()
        second.sends(OK)
        client.receivesExactly(OK)
        balancer.advance(10)
        assert not member.sessions


def test_drainingAfterTheTunnel(tunnelled):
    """A connection that comes back to HTTP then ends with its next response."""
    tunnelled.until(b"MARK")
    for after, ends in ((GET, False), (b"", True)):
        with watched(settings="grace-period = 30s") as balancer:
            client, server = asks(balancer, RAW)
            stopped = balancer.running.stopService()
            client.sends(b"x")
            server.receivesExactly(b"x")
            client.sends(b"MARK" + after)
            server.receivesExactly(b"MARK")
            if not ends:
                second = balancer.server("a").accepts()
                second.sends(OK)
                client.receives(rb"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close.*")
            client.isEnded()
            client.closes()
            server.closes()
            balancer.advance(1)
            assert stopped.called


def test_aWatcherThatFails(monkeypatch):
    class Broken:
        held = 0

        def dataReceived(self, side, data):
            raise RuntimeError(f"about {side}")

    for who in ("client", "server"):
        monkeypatch.setattr(Verb, "does", lambda exchange: Tunnel(watcher=Broken()))
        with watched() as balancer:
            ends = dict(zip(("client", "server"), asks(balancer, RAW), strict=True))
            ends[who].sends(b"x")
            ends["client"].isReset()
            ends["server"].isReset()
            assert " ID-- " in balancer.endings[0]
            assert [str(one.value) for one in balancer.failures] == [f"about {who}"]
            balancer.failures.clear()


def test_aWatcherThatFailsAtOnce(monkeypatch):
    class Broken:
        held = "much"

        def dataReceived(self, side, data):
            return None

    monkeypatch.setattr(Verb, "does", lambda exchange: Tunnel(watcher=Broken()))
    with watched() as balancer:
        client = balancer.client()
        client.sends(RAW + b"early")
        client.isReset()
        balancer.advance(100)
        assert " ID-- " in balancer.endings[0]
        balancer.failures.clear()


@pytest.mark.parametrize(
    ("at", "passed"), [(-100, b""), (-3, b"MA"), (0, b"MARK "), (100, b"MARK x")]
)
def test_placesThatDoNotExist(at, passed, monkeypatch):
    """A watcher may take back no more than it holds, and give no more than there is."""

    class Watcher:
        held = 0

        def dataReceived(self, side, data):
            self.held = 5
            return at if data == b"x" else None

    monkeypatch.setattr(
        Verb, "does",
        lambda exchange: Tunnel(watcher=Watcher()) if exchange.request.target == b"/raw" else None,
    )
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        client.sends(b"MARK ")
        server.receivesNothing()
        client.sends(b"x")
        server.receivesExactly(passed)


def test_noMoreIsHeldThanThereMayBe(monkeypatch):
    class Watcher:
        held = 1 << 40

        def dataReceived(self, side, data):
            return None

    monkeypatch.setattr(Verb, "does", lambda exchange: Tunnel(watcher=Watcher()))
    with watched() as balancer:
        client, server = asks(balancer, RAW)
        got = b""
        for _ in range(4):
            client.sends(bytes(50_000))
            got += server.receives(rb".*")[0]
        assert len(got) == 200_000 - MAX_HELD
        client.ends()
        assert len(server.receives(rb".*")[0]) == MAX_HELD


def test_privateConnectionsAreKeptDuringATunnel(tunnelled):
    tunnelled.until(b"MARK")
    with watched() as balancer:
        member = balancer.running.pool("app").find("a")
        member.proxy = lambda exchange: b"hello\n"
        client, kept = askedPrivately(balancer)
        client.sends(RAW)
        tunnel = balancer.server("a").accepts()
        tunnel.receivesExactly(b"hello\n" + SENT)
        client.sends(b"MARK" + GET)
        tunnel.receivesExactly(b"MARK")
        kept.receives(rb"GET / .*")
        kept.sends(OK)
        client.receivesExactly(OK)
        client.sends(RAW)
        tunnel = balancer.server("a").accepts()
        client.closes()
        kept.receivesNothing()
        tunnel.closes()
        kept.isEnded()


def askedPrivately(balancer):
    """@return: a client that has had an answer, and the server of which the same holds."""
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"hello\nGET / .*")
    server.sends(OK)
    client.receivesExactly(OK)
    return client, server


# CONNECT


CONNECT = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
YES = b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_theRuleOfTheSeed():
    """Row 001.3: what the server answers is not read."""
    rules = 'connect = forward\nrequest = tunnel if method == "CONNECT"'
    for answer in (YES, b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno", b"\x00"):
        with www(frontend=rules) as balancer:
            client = balancer.client()
            client.sends(CONNECT + b"\x16\x03")
            server = balancer.server("a").accepts()
            server.receivesExactly(CONNECT[:-2] + TOLD + b"\r\n\x16\x03")
            for at in range(len(answer)):
                server.sends(answer[at : at + 1])
            client.receivesExactly(answer)


def test_aRuleDoesNotServeWhatIsDenied():
    with www(frontend='request = tunnel if method == "CONNECT"') as balancer:
        client = balancer.client()
        client.sends(CONNECT)
        client.receives(rb"HTTP/1.1 405 .*")


def test_connectInLowerCase():
    """Row 001.4: methods have a case (RFC 9110 section 9.1), unless somebody says otherwise."""
    lower = CONNECT.replace(b"CONNECT", b"Connect", 1)
    for connect in ("deny", "forward"):
        with www(frontend=f"connect = {connect}") as balancer:
            client = balancer.client()
            client.sends(lower)
            client.receives(rb"HTTP/1.1 400 .*")
            client.isEnded()
            balancer.server("a").acceptsNothing()
    rules = 'connect = forward\nconnect-any-case = yes\nrequest = tunnel if method == "CONNECT"'
    for more in ("connect = forward\nconnect-any-case = yes", rules):
        with www(frontend=more) as balancer:
            client = balancer.client()
            client.sends(lower)
            server = balancer.server("a").accepts()
            server.receivesExactly(CONNECT[:-2] + TOLD + b"\r\n")
            server.sends(YES)
            client.receivesExactly(YES)
            client.sends(b"x")
            server.receivesExactly(b"x")
            client.closes()
            server.closes()
            assert '"Connect h:443 HTTP/1.1"' in balancer.endings[0]
    with www(frontend="connect-any-case = yes") as balancer:
        client = balancer.client()
        client.sends(lower)
        client.receives(rb"HTTP/1.1 405 .*")


def test_aConnectThatNamesTwoHosts():
    """It would reach the one and be judged by the other."""
    with www(frontend="connect = forward") as balancer:
        client = balancer.client()
        client.sends(CONNECT.replace(b"Host: h", b"Host: other"))
        client.receives(rb"HTTP/1.1 400 .*")


def test_connectAfterOtherRequests():
    """Row 001.2: GET goes where rules say, CONNECT of the same connection is a tunnel."""
    config = """
[frontend www]
bind = ${bind}
connect = forward
log = ${log}
pool = proxies
request =
    set-header X-Rule yes
    pool site if host == "site" and method != "CONNECT"
[pool site]
server a = ${a}
[pool proxies]
server b = ${b}
"""
    with Balancer(config, "a", "b") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n")
        site = balancer.server("a").accepts()
        site.receives(rb"GET / .*")
        site.sends(OK)
        client.receivesExactly(OK)
        client.sends(CONNECT.replace(b"h:443", b"site:443"))
        proxy = balancer.server("b").accepts()
        proxy.receives(rb"CONNECT site:443 .*X-Rule: yes\r\n.*")
        proxy.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 200 OK\r\n\r\n")
        client.sends(b"\x16\x03")
        proxy.receivesExactly(b"\x16\x03")


def test_aRefusedConnectIsNoTunnel():
    """Row 001.3: the answer is read, and both connections live on."""
    for status in (403, 407, 502):
        with www(frontend="connect = forward", pool="http-reuse = always") as balancer:
            client, server = asks(balancer, CONNECT)
            answer = b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status
            server.sends(answer)
            client.receivesExactly(answer)
            client.sends(GET)
            server.receives(rb"GET / .*")
            server.sends(OK)
            client.receivesExactly(OK)
            balancer.server("a").acceptsNothing()
