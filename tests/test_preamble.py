"""What is read off a socket before it has a protocol: exactly so much, without spinning."""

import select
import socket

import pytest

from lbtwist.exchange import Cause
from lbtwist.net.preamble import PAUSE, HeaderAwaited, HelloAwaited
from lbtwist.sansio.proxyheader import encodeV1, encodeV2
from lbtwist.testing import Pump, inPieces

V1 = encodeV1(("192.0.2.1", 1), ("192.0.2.2", 2))
V2 = encodeV2(("192.0.2.1", 1), ("192.0.2.2", 2), tlvs=[(0x05, b"x" * 100)])


def makeHello(size=300):
    """A ClientHello of TLS 1.2 with the name h and an unknown extension as padding."""
    extensions = b"\0\0\0\x06\0\x04\0\0\x01h" + b"\xff\x01" + (size - 60).to_bytes(2, "big")
    extensions += bytes(size - 60)
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


HELLO = makeHello()


class Counting(Pump):
    """Counts how often something is looked at."""

    looks = 0

    def _run(self, selectable, method):
        self.looks += 1
        super()._run(selectable, method)


class Told:
    """
    Keeps what was told.

    @ivar heard: all of it; it must be one thing.
    """

    def __init__(self):
        self.heard = []

    def done(self, *found):
        self.heard.append(found)

    def bad(self, error):
        self.heard.append((error.looksLike, error.reason))

    def refused(self, cause, reason):
        self.heard.append((cause, reason))


def _tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        skt, _ = listener.accept()
    return client, skt


@pytest.fixture(params=["tcp", "unix"])
def ends(request):
    client, skt = _tcp() if request.param == "tcp" else socket.socketpair()
    skt.setblocking(False)
    with client, skt:
        yield client, skt


@pytest.fixture
def tcp():
    client, skt = _tcp()
    skt.setblocking(False)
    with client, skt:
        yield client, skt


def arrived(skt, size):
    """Wait until so many bytes, or an end, can be seen on a socket."""
    poller = select.poll()
    poller.register(skt, select.POLLIN)
    skt.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    for _ in range(1000):
        poller.poll(5)
        try:
            data = skt.recv(1 << 16, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        if len(data) >= size or not data:
            return
    raise AssertionError("nothing came")


def header(skt, pump, optional=False):
    told = Told()
    awaited = HeaderAwaited(skt, pump, optional, told.done, told.refused)
    awaited.start()
    return awaited, told


def hello(skt, pump):
    told = Told()
    awaited = HelloAwaited(skt, pump, told.done, told.bad, told.refused)
    awaited.start()
    return awaited, told


def settle(pump, told=None):
    """Let bytes arrive over TCP, which takes a moment."""
    for _ in range(200):
        pump.turn()
        if told is None or told.heard:
            return
        select.select(pump.getReaders(), [], [], 0.005)


# the PROXY header


@pytest.mark.parametrize("data", [V1, V2], ids=["v1", "v2"])
def test_exactlyTheHeaderIsTaken(ends, data):
    client, skt = ends
    for pieces in inPieces(data + b"rest"):
        pump = Counting()
        _, told = header(skt, pump)
        for piece in pieces:
            client.sendall(piece)
            pump.turn()
        settle(pump, told)
        [(found, early)] = told.heard
        assert (found.source, early) == (("192.0.2.1", 1), b"")
        arrived(skt, 4)
        assert skt.recv(100) == b"rest"
        assert pump.getReaders() == []
        assert pump.looks <= len(pieces) + 1


def test_whatHasComeNeedsNoReactor(ends):
    client, skt = ends
    client.sendall(V1)
    arrived(skt, len(V1))
    pump = Counting()
    _, told = header(skt, pump)
    assert len(told.heard) == 1
    assert pump.looks == 0


def test_optionalBeginsOtherwise(ends):
    """What could have been a header's beginning is handed over, the rest stays."""
    client, skt = ends
    pump = Pump()
    _, told = header(skt, pump, True)
    client.sendall(b"PRO")
    arrived(skt, 3)
    pump.turn()
    assert told.heard == []
    client.sendall(b"PFIND")
    settle(pump, told)
    assert told.heard == [(None, b"PRO")]
    arrived(skt, 5)
    assert skt.recv(100) == b"PFIND"


@pytest.mark.parametrize(
    ("optional", "sent", "heard"),
    [
        (False, b"", (Cause.CLIENT_TIMEOUT, "no PROXY header in time")),
        (True, b"", (None, b"")),
        (True, b"PRO", (None, b"PRO")),
        (True, b"PROXY ", (Cause.CLIENT_TIMEOUT, "no PROXY header in time")),
    ],
)
def test_timesOut(ends, optional, sent, heard):
    client, skt = ends
    pump = Pump()
    awaited, told = header(skt, pump, optional)
    if sent:
        client.sendall(sent)
        arrived(skt, len(sent))
    pump.turn()
    awaited.timedOut()
    assert told.heard == [heard]
    assert pump.getReaders() == []


@pytest.mark.parametrize("sent", [b"", V1[:5], V2[:20]])
def test_ended(ends, sent):
    client, skt = ends
    pump = Pump()
    _, told = header(skt, pump)
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    settle(pump, told)
    assert told.heard == [(Cause.CLIENT, "the client closed before its PROXY header")]


def test_resetByTheClient(tcp):
    client, skt = tcp
    pump = Pump()
    _, told = header(skt, pump)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
    client.close()
    settle(pump, told)
    [(cause, reason)] = told.heard
    assert cause == Cause.CLIENT
    assert "reset" in reason


def test_tooLong(ends):
    client, skt = ends
    pump = Pump()
    _, told = header(skt, pump)
    client.sendall(V2[:14] + b"\xff\xff")
    settle(pump, told)
    assert told.heard == [(Cause.REFUSED, "PROXY: the header is longer than 4096 bytes")]


def test_stopped(ends):
    client, skt = ends
    pump = Pump()
    awaited, told = header(skt, pump)
    awaited.stop()
    client.sendall(V1)
    pump.turn()
    awaited.connectionLost(None)
    assert told.heard == []


# the ClientHello


@pytest.mark.parametrize("size", [300, 5000, 16000])
def test_theHelloStaysInTheSocket(tcp, size):
    client, skt = tcp
    pump = Pump()
    _, told = hello(skt, pump)
    data = makeHello(size)
    client.sendall(data + b"rest")
    settle(pump, told)
    [(found,)] = told.heard
    assert found.sni == "h"
    arrived(skt, len(data) + 4)
    assert skt.recv(1 << 16) == data + b"rest"
    assert skt.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


def test_byteByByteTakesFewLooks(tcp):
    client, skt = tcp
    pump = Counting()
    _, told = hello(skt, pump)
    for byte in HELLO:
        client.sendall(bytes((byte,)))
        pump.turn()
    settle(pump, told)
    assert len(told.heard) == 1
    assert pump.looks <= 12


def test_inTwoPieces(tcp):
    client, skt = tcp
    for at in range(1, len(HELLO)):
        pump = Counting()
        _, told = hello(skt, pump)
        client.sendall(HELLO[:at])
        pump.turn()
        client.sendall(HELLO[at:])
        settle(pump, told)
        assert len(told.heard) == 1
        assert pump.looks <= 4
        arrived(skt, len(HELLO))
        assert skt.recv(1 << 16) == HELLO


def test_aSocketThatCannotWait():
    """UNIX sockets tell of every byte: they are looked at now and then."""
    client, skt = socket.socketpair()
    with client, skt:
        skt.setblocking(False)
        pump = Counting()
        _, told = hello(skt, pump)
        client.sendall(HELLO[:100])
        pump.turn()
        for _ in range(20):
            pump.advance(PAUSE)
            pump.turn()
        assert pump.looks <= 42
        assert told.heard == []
        client.sendall(HELLO[100:])
        pump.advance(PAUSE)
        pump.turn()
        assert len(told.heard) == 1
        assert not pump.getDelayedCalls()
        assert not pump.removeAll()


def test_stoppedWhileItPauses():
    client, skt = socket.socketpair()
    with client, skt:
        skt.setblocking(False)
        pump = Pump()
        awaited, told = hello(skt, pump)
        client.sendall(HELLO[:100])
        pump.turn()
        awaited.timedOut()
        assert told.heard == [(Cause.CLIENT_TIMEOUT, "no ClientHello in time")]
        assert not pump.getDelayedCalls()
        assert not pump.removeAll()


@pytest.mark.parametrize("size", [0, 3, 100])
def test_endedWithinTheHello(ends, size):
    client, skt = ends
    pump = Pump()
    _, told = hello(skt, pump)
    client.sendall(HELLO[:size])
    client.shutdown(socket.SHUT_WR)
    settle(pump, told)
    assert told.heard == [(Cause.CLIENT, "the client closed before its ClientHello")]


@pytest.mark.parametrize(
    ("sent", "looks"),
    [(b"GET / HTTP/1.1\r\n\r\n", "http"), (V1, "proxy"), (V2, "proxy"), (b"\x16\3\1\0\0", "tls"),
     (b"\0", "")],
)  # fmt: skip
def test_noHello(ends, sent, looks):
    client, skt = ends
    pump = Pump()
    _, told = hello(skt, pump)
    client.sendall(sent)
    settle(pump, told)
    [(found, _)] = told.heard
    assert found == looks
