"""What the check of gRPC servers asks, and what it makes of every answer."""

import sys
from random import Random
from unittest import mock

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from hypothesis import given
from hypothesis import strategies as st
from talking import Wire
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from lbtwist.checks import CheckCancelled
from lbtwist.checks.grpc import MOST, Call, stateIn
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.health import Result
from lbtwist.registry import installed
from lbtwist.testing import inPieces


class Asked:
    """
    One call, and the server's side of it.

    @ivar server: has read what was asked; C{events} is what it has found.
    """

    def __init__(self, service=""):
        self.found = []
        self.failed = []
        self.call = Call("192.0.2.1:80", "http", service)
        self.wire = self.call.transport = Wire(self.call)
        self.call.verdict.addCallbacks(self.found.append, self.failed.append)
        self.call.makeConnection(self.wire)
        self.server = H2Connection(H2Configuration(client_side=False))
        self.server.initiate_connection()
        self.events = self.server.receive_data(self.wire.sent)

    def says(self, *pieces):
        for piece in pieces:
            if self.wire.connected:
                self.call.dataReceived(piece)

    def ends(self):
        if self.wire.connected:
            self.wire.connected = False
            self.call.connectionLost(Failure(ConnectionDone()))


def bytesOf(answer):
    """@return: what a server says that answers so; it is always the same."""
    server = Asked().server
    answer(server)
    return server.data_to_send()


def framed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def answers(body, grpc="0", status="200", **trailers):
    """An answer with a message and trailers."""

    def answer(server):
        server.send_headers(1, [(":status", status), ("content-type", "application/grpc")])
        server.send_data(1, body)
        fields = [("grpc-status", grpc)] if grpc is not None else [("x", "y")]
        server.send_headers(1, [*fields, *trailers.items()], end_stream=True)

    return answer


def refuses(*fields, status="200"):
    """An answer of trailers only, as gRPC has it for errors."""
    return lambda server: server.send_headers(1, [(":status", status), *fields], end_stream=True)


SERVING = answers(framed(b"\x08\x01"))
RESULTS = [
    (SERVING, True, "L7OK", "SERVING"),
    (answers(framed(b"\x12\x02hi\x08\x01\x18\x05")), True, "L7OK", "SERVING"),
    (answers(framed(b"\x08\x02")), False, "L7STS", "NOT_SERVING"),
    (answers(framed(b"\x08\x03")), False, "L7STS", "SERVICE_UNKNOWN"),
    (answers(framed(b"")), False, "L7STS", "UNKNOWN"),
    (answers(framed(b"\x08\x81\x01")), False, "L7STS", "status 129"),
    (refuses(("grpc-status", "5"), ("grpc-message", "no such service")), False, "L7STS",
     "NOT_FOUND: no such service"),
    (refuses(("grpc-status", "12")), False, "L7STS", "UNIMPLEMENTED"),
    (refuses(("grpc-status", "99")), False, "L7STS", "99"),
    (answers(framed(b"\x08\x01"), grpc="14"), False, "L7STS", "UNAVAILABLE"),
    (refuses(status="503"), False, "L7STS", "HTTP status 503"),
    (refuses(("content-type", "text/html")), False, "L7RSP", "no grpc-status: this is not gRPC"),
    (answers(framed(b"\x08\x01"), grpc=None), False, "L7RSP", "no grpc-status"),
    (refuses(("grpc-status", "x")), False, "L7RSP", "no grpc-status"),
    (refuses(("grpc-status", "0")), False, "L7RSP", "not as gRPC's health checks have it"),
    (answers(b"\x01" + framed(b"\x08\x01")[1:]), False, "L7RSP", "not as gRPC's health checks"),
    (answers(framed(b"\x08\x01") + b"x"), False, "L7RSP", "not as gRPC's health checks have it"),
    (answers(framed(b"\x08")), False, "L7RSP", "not as gRPC's health checks have it"),
    (answers(bytes(65)), False, "L7RSP", "an answer that is too long"),
    (lambda server: server.reset_stream(1, 7), False, "L7RSP",
     "the stream was reset: REFUSED_STREAM"),
    (lambda server: server.close_connection(11), False, "L7RSP", "GOAWAY: ENHANCE_YOUR_CALM"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "passed", "status", "detail"), RESULTS)
def test_answersInAllPieces(answer, passed, status, detail):
    said = bytesOf(answer)
    for pieces in inPieces(said):
        asked = Asked()
        asked.says(*pieces)
        [result] = asked.found
        assert (result.passed, result.status) == (passed, status)
        assert detail in result.detail
        assert asked.wire.closed


@pytest.mark.parametrize("service", ["", "shop.v1.Carts"])
def test_whatIsAsked(service):
    asked = Asked(service)
    [request] = [one for one in asked.events if isinstance(one, RequestReceived)]
    assert dict(request.headers) == {
        b":method": b"POST", b":scheme": b"http", b":path": b"/grpc.health.v1.Health/Check",
        b":authority": b"192.0.2.1:80", b"te": b"trailers",
        b"content-type": b"application/grpc", b"user-agent": b"lbtwist-check",
    }  # fmt: skip
    [data] = [one.data for one in asked.events if isinstance(one, DataReceived)]
    assert data == framed(b"\x0a\x0d" + service.encode() if service else b"")


def test_theServerIsTakenLeaveOfInGoodOrder():
    asked = Asked()
    asked.says(bytesOf(SERVING))
    assert asked.found == [Result(True, "L7OK", "SERVING")]
    assert asked.wire.closed == "closed"


def test_settingsAndPingsAreAcknowledged():
    asked = Asked()
    before = len(asked.wire.sent)
    asked.server.ping(b"12345678")
    asked.says(asked.server.data_to_send())
    events = asked.server.receive_data(asked.wire.sent[before:])
    assert [type(one).__name__ for one in events] == ["SettingsAcknowledged", "PingAckReceived"]


def test_silence():
    for said, missing in ((b"", "no response"), (bytesOf(SERVING)[:-3], "no end of the response")):
        asked = Asked()
        asked.says(said)
        asked.call.verdict.cancel()
        [late] = asked.failed
        assert late.check(CheckCancelled)
        assert (late.value.status, late.value.detail) == ("L7TOUT", missing)


def test_closedAtAnyMoment():
    said = bytesOf(SERVING)
    for cut in range(len(said)):
        asked = Asked()
        asked.says(said[:cut])
        asked.ends()
        assert asked.found == [Result(False, "L7RSP", "the connection ended before the answer")]


def test_anotherProtocol():
    asked = Asked()
    asked.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    [result] = asked.found
    assert not result.passed and result.detail.startswith("this is not HTTP/2")


def test_nobodySpeaksWithoutEnd():
    """Pings are answered, but not for ever."""
    asked = Asked()
    while not asked.found:
        asked.server.ping(b"12345678")
        asked.says(asked.server.data_to_send())
    assert f"more than {MOST} bytes" in asked.found[0].detail


@given(st.integers(), st.integers(0, 120), st.integers(0, 60))
def test_anythingAtAll(seed, at, size):
    """A good answer in which something is replaced: a verdict or silence, and no error."""
    said = bytearray(bytesOf(SERVING))
    said[at : at + size] = Random(seed).randbytes(size)
    asked = Asked()
    asked.says(bytes(said))
    asked.ends()
    assert len(asked.found) == 1 and not asked.failed


@given(st.binary(max_size=64))
def test_anyMessageAtAll(message):
    assert stateIn(message) is None or stateIn(message) >= 0


def test_numbersThatDoNotEnd():
    for message in (b"\x80", b"\x08" + b"\xff" * 11, b"\x0a\x7fab", b"\x0b", b"\0\1", b"\x0d"):
        assert stateIn(message) is None


# As it is written.


def configured(check):
    text = f"[pool app]\nserver a = 127.0.0.1:1\ncheck = {check}\n"
    return loadText(text, registry=installed())[0].pools["app"].check


def test_asItIsWritten():
    assert configured("grpc service=a.B").probe.options.service == "a.B"
    assert configured("grpc:50051").timing.port == 50051


def test_whatIsNotAccepted():
    for service in ("a" * 128, '"a\tb"'):
        with pytest.raises(ConfigError, match="is not the name of a service"):
            configured(f"grpc service={service}")


def test_withoutTheLibrary():
    """It is said when the file is loaded, and how to mend it."""
    gone = {name: None for name in sys.modules if name.partition(".")[0] == "h2"}
    ours = mock.patch.dict(sys.modules)
    with ours, mock.patch.dict(sys.modules, gone):
        del sys.modules["lbtwist.checks.grpc"]
        with pytest.raises(ConfigError) as caught:
            configured("grpc")
    assert "'grpc' cannot be loaded" in str(caught.value)
    assert "pip install 'lbtwist[http2]'" in str(caught.value)
