"""What the built-in checks ask of a server, and what they make of its answers."""

import errno
import os
import re
import shutil
import socket
import tempfile
from unittest import mock

import attr
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from lbtwist.checks import MAX_BODY, CheckCancelled, HTTPCheck, TCPCheck
from lbtwist.checks.http import FieldWanted, Step
from lbtwist.checks.tcp import Expecting, Sent
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.health import Admin, Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.registry import Context, installed
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.server import Endpoint, Server
from programs import freePort


class Peer(Protocol):
    """Reads a request and answers with what the test wants; keeps what came."""

    def connectionMade(self):
        self.factory.connected.callback(self)

    def dataReceived(self, data):
        self.factory.received += data
        if self.factory.received.endswith(b"\r\n\r\n"):
            self.factory.answer(self.transport)

    def connectionLost(self, reason):
        self.factory.lost.callback(None)


class Listens(Factory):
    """
    A server for one connection.

    @ivar connected: fires with the L{Peer}.
    @ivar lost: fires when the connection has ended.
    """

    protocol = Peer
    noisy = False

    def __init__(self, answer):
        self.answer = answer
        self.received = b""
        self.connected = Deferred()
        self.lost = Deferred()


def says(data, close=False):
    """An answer: some bytes, and maybe the end."""

    def answer(transport):
        transport.write(data)
        if close:
            transport.loseConnection()

    return answer


def response(body=b"", status=b"200 OK", fields=b""):
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields, body)


@inlineCallbacks
def turns(count=5):
    """Let the reactor go round: what is on its way over the loopback comes."""
    for _ in range(count):
        yield deferLater(reactor, 0)


def wanted(*written):
    """What C{expect-header=} says."""
    return tuple(one for text in written for one in FieldWanted().parse(text))


class ChecksCase(TestCase):
    def listen(self, answer=lambda transport: None, path=None):
        """@return: the server's side, and the server as a check sees it."""
        peer = Listens(answer)
        if path:
            port = reactor.listenUNIX(path, peer)
            endpoint = Endpoint(socket.AF_UNIX, path)
        else:
            port = reactor.listenTCP(0, peer, interface="127.0.0.1")
            endpoint = Endpoint(socket.AF_INET, ("127.0.0.1", port.getHost().port))
        self.addCleanup(port.stopListening)
        return peer, Server("app", "a", endpoint)

    def socketPath(self):
        """@return: short enough for a UNIX socket."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return f"{directory}/s"

    def refusing(self):
        return Server("app", "a", Endpoint(socket.AF_INET, ("127.0.0.1", freePort())))


class TCPCheckTests(ChecksCase):
    def setUp(self):
        self.check = TCPCheck(TCPCheck.Options(), Context(reactor=reactor))

    def test_keepsTheInterface(self):
        assert verifyObject(IHealthCheck, self.check)

    @inlineCallbacks
    def test_aConnectionIsEnough(self):
        peer, server = self.listen()
        assert (yield self.check.check(server)) == Result(True, "L4OK")
        yield peer.lost
        assert peer.received == b""

    @inlineCallbacks
    def test_aUNIXSocket(self):
        peer, server = self.listen(path=self.socketPath())
        assert (yield self.check.check(server)) == Result(True, "L4OK")
        yield peer.lost

    @inlineCallbacks
    def test_refused(self):
        result = yield self.check.check(self.refusing())
        assert (result.passed, result.status) == (False, "L4CON")

    @inlineCallbacks
    def test_noSuchUNIXSocket(self):
        server = Server("app", "a", Endpoint(socket.AF_UNIX, self.socketPath()))
        result = yield self.check.check(server)
        assert result == Result(False, "L4CON", "no such file or directory")

    def test_noSocketsLeft(self):
        full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        with mock.patch("lbtwist.outbound.Outgoing", side_effect=full):
            result = self.successResultOf(self.check.check(self.refusing()))
        assert result == Result(False, "SOCKERR", "too many open files")

    @inlineCallbacks
    def test_steps(self):
        """The last thing that is said still reaches the server."""

        def answer(transport):
            transport.write(b"+PONG\r\n")

        peer, server = self.listen(answer)
        options = TCPCheck.Options(
            Sent().parse(r"PING\r\n\r\n") + Sent().parse(r"QUIT\r\n"),
            Expecting().parse("+PONG"), ("send", "expect", "send"),
        )  # fmt: skip
        result = yield TCPCheck(options, Context(reactor=reactor)).check(server)
        assert result == Result(True, "L7OK")
        yield peer.lost
        assert peer.received == b"PING\r\n\r\nQUIT\r\n"

    @inlineCallbacks
    def test_stepsWithoutAnAnswer(self):
        peer, server = self.listen()
        options = TCPCheck.Options(expect=Expecting().parse("hello"))
        running = TCPCheck(options, Context(reactor=reactor)).check(server)
        yield peer.connected
        yield turns()
        running.cancel()
        late = self.failureResultOf(running, CheckCancelled).value
        assert (late.status, late.detail) == ("L7TOUT", "no text 'hello'")
        yield peer.lost

    @inlineCallbacks
    def test_stepsOfNobody(self):
        options = TCPCheck.Options(expect=Expecting().parse("hello"))
        result = yield TCPCheck(options, Context(reactor=reactor)).check(self.refusing())
        assert (result.passed, result.status) == (False, "L4CON")

    def test_cancelledWhileConnecting(self):
        _peer, server = self.listen()
        before = set(reactor.getWriters())
        result = self.check.check(server)
        assert set(reactor.getWriters()) > before
        result.cancel()
        assert set(reactor.getWriters()) == before
        failure = self.failureResultOf(result, CheckCancelled)
        assert (failure.value.status, failure.value.detail) == ("L4TOUT", "no connection")


class HTTPCheckTests(ChecksCase):
    def make(self, **options):
        return HTTPCheck(HTTPCheck.Options(**options), Context(reactor=reactor))

    @inlineCallbacks
    def found(self, answer, **options):
        """@return: what a check finds of a server that answers so."""
        peer, server = self.listen(answer)
        result = yield self.make(**options).check(server)
        # Every connection is closed, whatever was found.
        yield peer.lost
        return result

    def test_keepsTheInterface(self):
        assert verifyObject(IHealthCheck, self.make())

    # the request

    @inlineCallbacks
    def asked(self, unix=None, **options):
        """@return: the lines of the request; the server listens on a path if one is given."""
        peer, server = self.listen(says(response()), unix)
        result = yield self.make(**options).check(server)
        yield peer.lost
        assert result.passed
        head = RequestReader().read(peer.received)
        assert head.size == len(peer.received)
        host = str(server.endpoint)
        return peer.received.decode().replace(host, "ADDRESS").split("\r\n")[:-2]

    @inlineCallbacks
    def test_theRequest(self):
        assert (yield self.asked()) == [
            "GET / HTTP/1.1",
            "Host: ADDRESS",
            "User-Agent: lbtwist-check",
            "Connection: close",
        ]

    @inlineCallbacks
    def test_everythingOfTheRequestCanBeSaid(self):
        lines = yield self.asked(
            method="OPTIONS", path="/health?full=1", host="www.example.com",
            header=("X-Probe: yes", "X-More: 1"),
        )  # fmt: skip
        assert lines == [
            "OPTIONS /health?full=1 HTTP/1.1",
            "Host: www.example.com",
            "X-Probe: yes",
            "X-More: 1",
            "User-Agent: lbtwist-check",
            "Connection: close",
        ]

    @inlineCallbacks
    def test_anotherUserAgent(self):
        lines = yield self.asked(header=("user-agent: probe/1",))
        assert [line for line in lines if "agent" in line.lower()] == ["user-agent: probe/1"]

    @inlineCallbacks
    def test_overAUNIXSocket(self):
        lines = yield self.asked(unix=self.socketPath())
        assert lines[1] == "Host: localhost"

    # the status

    @inlineCallbacks
    def test_aGoodStatus(self):
        assert (yield self.found(says(response()))) == Result(True, "L7OK", "200 OK")

    @inlineCallbacks
    def test_redirectionsPassUnlessToldOtherwise(self):
        answer = says(response(status=b"302 Found"))
        assert (yield self.found(answer)) == Result(True, "L7OK", "302 Found")
        result = yield self.found(answer, expect=((200, 299), (404, 404)))
        assert result == Result(False, "L7STS", "302 Found")

    @inlineCallbacks
    def test_aBadStatus(self):
        """Known from the head alone: the body does not have to come."""
        answer = says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\n")
        result = yield self.found(answer, body="ok")
        assert result == Result(False, "L7STS", "503 Service Unavailable")

    @inlineCallbacks
    def test_aStatusOfTheEndOfARange(self):
        for status, passed in ((b"199", False), (b"200", True), (b"399", True), (b"400", False)):
            if status == b"199":
                answer = says(b"HTTP/1.1 199 Early\r\n\r\n" * 2, close=True)
            else:
                answer = says(response(status=status + b" Some"))
            assert (yield self.found(answer)).passed is passed

    # out of service, and what it is

    @inlineCallbacks
    def test_notFoundTakesOutOfService(self):
        """Of a server that is up, whatever is expected; HAProxy's http-check disable-on-404."""
        answer = says(response(status=b"404 Not Found"))
        for expect in (((200, 299),), ((404, 404),)):
            result = yield self.found(answer, disable_on_404=True, expect=expect)
            assert result == Result(True, "L7OKC", "404 Not Found", admin=Admin.DRAIN)
        assert (yield self.found(answer)) == Result(False, "L7STS", "404 Not Found")

    @inlineCallbacks
    def test_andGoodAnswersBringItBack(self):
        result = yield self.found(says(response()), disable_on_404=True)
        assert result == Result(True, "L7OK", "200 OK", admin=Admin.READY)
        result = yield self.found(says(response(status=b"500 Oh")), disable_on_404=True)
        assert result == Result(False, "L7STS", "500 Oh")

    @inlineCallbacks
    def test_notFoundBringsNobodyUp(self):
        peer, server = self.listen(says(response(status=b"404 Not Found")))
        server.health.up = False
        result = yield self.make(disable_on_404=True).check(server)
        assert result == Result(False, "L7STS", "404 Not Found")
        yield peer.lost

    @inlineCallbacks
    def test_roleOfAField(self):
        for fields, role in (
            (b"X-Role: Primary\r\n", "primary"), (b"X-Role: a\r\nX-Role: b\r\n", "b"),
            (b"X-Role: a b\r\n", ""), (b"X-Role: \xe4\r\n", ""), (b"", ""),
        ):  # fmt: skip
            result = yield self.found(says(response(fields=fields)), role_header="x-role")
            assert result == Result(True, "L7OK", "200 OK", role=role)
        answer = says(response(fields=b"X-Role: primary\r\n"))
        assert (yield self.found(answer)).role is None

    @inlineCallbacks
    def test_interimResponsesAreNotTheAnswer(self):
        answer = says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + response())
        assert (yield self.found(answer)) == Result(True, "L7OK", "200 OK")

    @inlineCallbacks
    def test_interimResponsesWithoutEnd(self):
        result = yield self.found(says(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17))
        assert result == Result(False, "L7RSP", "interim responses without end")

    @inlineCallbacks
    def test_switchingProtocolsIsAFinalAnswer(self):
        result = yield self.found(says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"))
        assert result == Result(False, "L7STS", "101 Switching Protocols")

    @inlineCallbacks
    def test_aReasonThatWouldSpoilATerminal(self):
        result = yield self.found(says(response(status=b"200 \x9b2J\tgone")))
        assert result.detail == r"200 \x9b2J gone"

    @inlineCallbacks
    def test_aHeadInPieces(self):
        @inlineCallbacks
        def drip(transport):
            for byte in response():
                transport.write(bytes([byte]))
                yield turns(2)

        assert (yield self.found(drip)).passed

    # the body

    @inlineCallbacks
    def test_theTextIsThere(self):
        """In every framing, in one piece or in two."""
        body = b"all is well here"
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data, close in (
            (response(body), False),
            (b"HTTP/1.1 200 OK\r\n\r\n" + body, True),
            (chunked + b"7\r\nall is \r\n9\r\nwell here\r\n0\r\n\r\n", False),
        ):
            for cut in range(0, len(data), 7):

                def halves(transport, data=data, cut=cut, close=close):
                    transport.write(data[:cut])
                    turns().addCallback(lambda _: says(data[cut:], close)(transport))

                result = yield self.found(halves, body="is well")
                assert result == Result(True, "L7OK", "200 OK")
                result = yield self.found(halves, body="nothing")
                assert result.status == "L7RSP"

    @inlineCallbacks
    def test_theTextIsNotThere(self):
        result = yield self.found(says(response(b"all is wel")), body="well")
        assert result == Result(False, "L7RSP", "the body has not the text that is wanted")

    @inlineCallbacks
    def test_noMoreIsReadThanTheText(self):
        """The verdict is clear though the body has not ended, and never will."""
        answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nwell ")
        assert (yield self.found(answer, body="well")).passed

    @inlineCallbacks
    def test_aPattern(self):
        options = {"body_regex": re.compile("status: (up|warm)$", re.M)}
        assert (yield self.found(says(response(b"status: warm\nx")), **options)).passed
        result = yield self.found(says(response(b"status: warmer")), **options)
        assert result == Result(False, "L7RSP", "the body does not match")

    @inlineCallbacks
    def test_aPatternOfABodyThatIsNotText(self):
        answer = says(response("käse".encode() + b"\xff"))
        assert (yield self.found(answer, body_regex=re.compile("k.se.$"))).passed

    @inlineCallbacks
    def test_textAndPattern(self):
        options = {"body": "up", "body_regex": re.compile("[0-9]")}
        assert (yield self.found(says(response(b"up 1")), **options)).passed
        assert not (yield self.found(says(response(b"up -")), **options)).passed
        assert not (yield self.found(says(response(b"-- 1")), **options)).passed

    @inlineCallbacks
    def test_textBeyondASCII(self):
        assert (yield self.found(says(response("grün".encode())), body="ü")).passed

    @inlineCallbacks
    def test_noMoreThanTheBoundIsLookedAt(self):
        for framing in (b"Content-Length: 99999999", b"Transfer-Encoding: chunked", b"X-None: 1"):
            before = b"fffffff\r\n" if b"chunked" in framing else b""
            head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + before
            # The connection stays open and the body does not end: the bound does it.
            answer = says(head + b"-" * (MAX_BODY - 2) + b"well")
            assert (yield self.found(answer, body="we")).passed
            assert not (yield self.found(answer, body="wel")).passed
            assert not (yield self.found(answer, body_regex=re.compile("wel"))).passed

    @inlineCallbacks
    def test_noBodyWhereThereIsNone(self):
        answer = says(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (yield self.found(answer)).passed
        assert (yield self.found(answer, body="x")).status == "L7RSP"
        assert (yield self.found(says(response()), body_regex=re.compile("^$"))).passed

    # broken answers

    @inlineCallbacks
    def test_notHTTP(self):
        result = yield self.found(says(b"SSH-2.0-OpenSSH_9.2\r\n"))
        assert (result.passed, result.status) == (False, "L7RSP")
        assert result.detail == "the status line is not well formed"

    @inlineCallbacks
    def test_aBrokenHead(self):
        result = yield self.found(says(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"))
        assert result == Result(False, "L7RSP", "a field without a colon")

    @inlineCallbacks
    def test_aBrokenChunk(self):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        result = yield self.found(says(head + b"zz\r\n"), body="x")
        assert (result.passed, result.status) == (False, "L7RSP")
        assert "a chunk" in result.detail

    @inlineCallbacks
    def test_closedWithoutAnAnswer(self):
        result = yield self.found(says(b"", close=True))
        assert result == Result(False, "L7RSP", "the connection ended before the response")

    @inlineCallbacks
    def test_resetInsteadOfAnAnswer(self):
        result = yield self.found(lambda transport: transport.abortConnection())
        assert result == Result(False, "L7RSP", "the connection ended before the response")

    @inlineCallbacks
    def test_closedWithinTheBody(self):
        for framing in (b"Content-Length: 9", b"Transfer-Encoding: chunked"):
            answer = says(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\n", close=True)
            result = yield self.found(answer, body="well")
            assert result == Result(False, "L7RSP", "the connection ended within the body")

    @inlineCallbacks
    def test_resetWithinABodyThatEndsWithTheConnection(self):
        def answer(transport):
            transport.write(b"HTTP/1.1 200 OK\r\n\r\nwell")
            turns().addCallback(lambda _: transport.abortConnection())

        result = yield self.found(answer, body_regex=re.compile("well"))
        assert result == Result(False, "L7RSP", "the connection ended within the body")

    @inlineCallbacks
    def test_refused(self):
        result = yield self.make().check(self.refusing())
        assert (result.passed, result.status) == (False, "L4CON")

    # fields

    @inlineCallbacks
    def test_fieldsThatAreWanted(self):
        answer = says(response(fields=b"X-Role: primary 1\r\nX-Role: b\r\n"))
        for written, passed in (
            ("x-role", True), ("X-Role: primary", True), ("X-Role: re:^b$", True),
            ("X-Other", False), ("X-Role: standby", False), ("X-Role: re:^$", False),
        ):  # fmt: skip
            result = yield self.found(answer, expect_header=wanted(written))
            assert result.passed is passed, written
            if not passed:
                name = written.partition(":")[0]
                assert result == Result(False, "L7RSP", f"{name} is not as it is wanted")

    # steps

    def steps(self, *answers):
        """@return: a server that answers so, one connection after the other, and its peers."""
        peers = [Listens(answer) for answer in answers]
        waiting = list(peers)
        listening = Factory()
        listening.buildProtocol = lambda address: waiting.pop(0).buildProtocol(address)
        port = reactor.listenTCP(0, listening, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return peers, Server(
            "app", "a", Endpoint(socket.AF_INET, ("127.0.0.1", port.getHost().port))
        )

    @inlineCallbacks
    def test_stepsInOrder(self):
        peers, server = self.steps(
            says(response(fields=b"Set-Cookie: a=b\r\n")), says(response(b"well"))
        )
        result = yield self.make(path="/one", then=(Step("HEAD", "/two"),)).check(server)
        assert result == Result(True, "L7OK", "200 OK")
        yield peers[1].lost
        assert [peer.received.split(b"\r\n")[0] for peer in peers] == [
            b"GET /one HTTP/1.1", b"HEAD /two HTTP/1.1",
        ]  # fmt: skip
        assert b"cookie" not in peers[1].received.lower()

    @inlineCallbacks
    def test_aStepThatFailsIsTheLast(self):
        bad = says(response(status=b"500 No"))
        peers, server = self.steps(says(response()), bad, says(response()))
        result = yield self.make(then=(Step(), Step())).check(server)
        assert result == Result(False, "L7STS", "step 2: 500 No")
        yield peers[1].lost
        assert peers[2].received == b""

    @inlineCallbacks
    def test_whatAnyStepSaysOfTheServer(self):
        """What is said of it twice counts as it is said last; out of service is out of service."""
        one = says(response(fields=b"X-Role: standby\r\n"))
        two = says(response(fields=b"X-Role: primary\r\n"))
        _, server = self.steps(one, two)
        check = self.make(disable_on_404=True, role_header="x-role", then=(Step(),))
        result = yield check.check(server)
        assert (result.admin, result.role) == (Admin.READY, "standby")
        _, server = self.steps(one, two)
        check = self.make(role_header="x-role", then=(Step(role_header="x-role"),))
        assert (yield check.check(server)).role == "primary"
        peers, server = self.steps(says(response(status=b"404 Not Found")), one)
        result = yield self.make(disable_on_404=True, then=(Step(),)).check(server)
        assert (result.status, result.admin) == ("L7OKC", Admin.DRAIN)
        assert peers[1].received == b""

    @inlineCallbacks
    def test_cancelledInAStep(self):
        peers, server = self.steps(says(response()), says(b"HTTP/1.1 200"))
        running = self.make(then=(Step(),)).check(server)
        yield peers[1].connected
        yield turns()
        self.assertNoResult(running)
        running.cancel()
        yield peers[1].lost
        late = self.failureResultOf(running, CheckCancelled).value
        assert (late.status, late.detail) == ("L7TOUT", "step 2: no response")

    # hanging

    @inlineCallbacks
    def cancelled(self, answer, **options):
        """@return: how a check fails that is cancelled after the server answered so."""
        answered = Deferred()

        def andTell(transport):
            answer(transport)
            answered.callback(None)

        peer, server = self.listen(andTell)
        result = self.make(**options).check(server)
        yield answered
        yield turns()
        self.assertNoResult(result)
        result.cancel()
        yield peer.lost
        return self.failureResultOf(result, CheckCancelled).value

    @inlineCallbacks
    def test_noAnswer(self):
        failed = yield self.cancelled(says(b""))
        assert (failed.status, failed.detail) == ("L7TOUT", "no response")

    @inlineCallbacks
    def test_halfAHead(self):
        failed = yield self.cancelled(says(b"HTTP/1.1 200 OK\r\nServ"))
        assert (failed.status, failed.detail) == ("L7TOUT", "no response")

    @inlineCallbacks
    def test_halfABody(self):
        answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwel")
        failed = yield self.cancelled(answer, body="well")
        assert (failed.status, failed.detail) == ("L7TOUT", "no end of the response")

    def test_cancelledWhileConnecting(self):
        _peer, server = self.listen()
        result = self.make().check(server)
        result.cancel()
        assert self.failureResultOf(result, CheckCancelled).value.status == "L4TOUT"


def configured(check):
    """@return: the probe of C{check =} as the configuration reads it."""
    text = f"[pool app]\nserver a = 127.0.0.1:1\ncheck = {check}\n"
    config, _warnings = loadText(text, registry=installed())
    return config.pools["app"].check


def test_asItIsWritten():
    read = configured(
        'http HEAD /health host=a.example header="X-A: b c" header="X-B: d" expect=200-299,404'
        " body=ok body-regex=^ok$ interval=5s"
    )
    assert read.probe.name == "http"
    assert read.probe.options == HTTPCheck.Options(
        "HEAD", "/health", "a.example", ("X-A: b c", "X-B: d"), ((200, 299), (404, 404)), "ok",
        re.compile("^ok$"),
    )  # fmt: skip
    assert read.timing.interval == 5.0


def test_stepsAsTheyAreWritten():
    read = configured(
        """http GET /a expect-header=Via then='HEAD /b expect=204 header="X-A: b c"' then=GET"""
    )
    assert read.probe.options == HTTPCheck.Options(
        "GET", "/a", expect_header=wanted("Via"),
        then=(Step("HEAD", "/b", header=("X-A: b c",), expect=((204, 204),)), Step("GET")),
    )  # fmt: skip


def test_asLittleAsCanBeWritten():
    assert configured("http").probe.options == HTTPCheck.Options()
    assert configured("tcp").probe.options == TCPCheck.Options()


@pytest.mark.parametrize(
    ("check", "complaint"),
    [
        ("http /health", "unknown '/health'; known are GET, HEAD, OPTIONS"),
        ("http GET health", "'health' is not a path"),
        ('http GET "/a b"', "'/a b' is not a path"),
        ("http host=a/b", "'a/b' is not a host"),
        ("http header=X-A", "'X-A' is not a header field: write 'Name: value'"),
        ('http header="Host: a"', "Host is written by the check itself"),
        ('http header="connection: keep-alive"', "connection is written by the check itself"),
        ("http expect=ok", "'ok' is not a status"),
        ("http expect-header=a/b", "'a/b' is not the name of a header field"),
        ("http expect-header=a:re:(", "'(' is not a regular expression"),
        ("http then='GET b'", "then: path: 'b' is not a path"),
        ("http then='GET /b then=/c'", "unknown option 'then'"),
        ("http then='GET \"/b'", "No closing quotation"),
        ("http body-regex=(", "'(' is not a regular expression"),
    ],
)
def test_whatIsNotAccepted(check, complaint):
    with pytest.raises(ConfigError) as caught:
        configured(check)
    assert complaint in str(caught.value)


def test_optionsAreDocumented():
    for field in attr.fields(HTTPCheck.Options):
        assert field.metadata["doc"].endswith(".")
