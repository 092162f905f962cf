"""Connecting to a server: the transport that is being made, and the attempt with its deadline."""

import errno
import os
import socket
from types import SimpleNamespace

import pytest
from streams import Noting

import lbtwist.net.outgoing
from lbtwist.deadlines import GRAIN, Deadlines
from lbtwist.net.outgoing import Outgoing
from lbtwist.outbound import Attempt, sourceOf
from lbtwist.server import Endpoint, Server
from lbtwist.testing import Pump
from lbtwist.testing.network import MemoryServer, OutgoingSocket


class Connecting(Noting):
    """
    Notes what happens to a connection in the making.

    @ivar events: C{"made"}, C{"failed"}, C{"connected"}.
    """

    def __init__(self):
        super().__init__()
        self.events = []

    def makeConnection(self, transport):
        super().makeConnection(transport)
        self.events.append("made")

    def connectFailed(self, failed):
        super().connectFailed(failed)
        self.events.append("failed")

    def connected(self, protocol):
        assert protocol is self
        self.events.append("connected")


@pytest.fixture
def pump():
    pump = Pump()
    yield pump
    assert not pump.removeAll()
    assert not pump.getDelayedCalls()


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as skt:
        skt.setblocking(False)
        yield skt


@pytest.fixture
def server(tmp_path, pump, monkeypatch):
    """A server that may let connections wait."""
    server = MemoryServer(str(tmp_path / "server"), pump)

    def make(family, kind):
        skt = OutgoingSocket(family, kind)
        skt.servers = {server.path: server}
        return skt

    monkeypatch.setattr(lbtwist.net.outgoing, "newSocket", make)
    yield server
    server.stop()


def at(address, family=socket.AF_INET):
    return Server("app", "a", Endpoint(family, address))


def outgoing(pump, server):
    protocol = Connecting()
    return Outgoing(server.endpoint, protocol, pump), protocol


def attempt(pump, server):
    protocol = Connecting()
    deadlines = Deadlines(pump, pump.seconds)
    found = Attempt(
        server, protocol, pump, deadlines, protocol.connectFailed, protocol.connected
    )
    return found, protocol, deadlines


def refusing():
    """An address nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as skt:
        return skt.getsockname()


# the transport


def test_connects(pump, listening):
    transport, protocol = outgoing(pump, at(listening.getsockname()))
    transport.connect()
    assert protocol.events == []
    pump.turn()
    assert protocol.events == ["made"]
    assert protocol.transport is transport
    skt, peer = listening.accept()
    with skt:
        assert (transport.getHost().host, transport.getHost().port) == peer
        there = transport.getPeer()
        assert (there.host, there.port) == listening.getsockname()
        assert transport.getTcpNoDelay()
        transport.write(b"hello")
        assert skt.recv(100) == b"hello"
        skt.send(b"world")
        pump.turn()
        assert protocol.data == b"world"
        assert pump.getWriters() == []
        transport.loseConnection()
        assert len(protocol.lost) == 1
    assert protocol.failed == []


def test_connectsToAUNIXSocket(pump, server):
    """Where the kernel says at once that it stands, and the protocol is told later."""
    transport, protocol = outgoing(pump, at(server.path, socket.AF_UNIX))
    transport.connect()
    assert protocol.events == []
    pump.turn()
    assert protocol.events == ["made"]
    assert transport.getPeer().name == server.path.encode()
    transport.loseConnection()


def test_refused(pump):
    transport, protocol = outgoing(pump, at(refusing()))
    transport.connect()
    assert protocol.events == []
    pump.turn()
    assert protocol.events == ["failed"]
    assert protocol.failed[0].errno == errno.ECONNREFUSED
    assert transport.socket.fileno() == -1


def test_refusedAtOnce(pump, tmp_path):
    """As UNIX sockets do; it is told later all the same."""
    transport, protocol = outgoing(pump, at(str(tmp_path / "nothing"), socket.AF_UNIX))
    transport.connect()
    assert protocol.events == []
    pump.turn()
    assert protocol.events == ["failed"]
    assert protocol.failed[0].errno == errno.ENOENT


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAGAIN])
def test_unreachable(pump, monkeypatch, code):
    class Unreachable(socket.socket):
        def connect_ex(self, address):
            return code

    monkeypatch.setattr(lbtwist.net.outgoing, "newSocket", Unreachable)
    transport, protocol = outgoing(pump, at(("192.0.2.1", 80)))
    transport.connect()
    assert protocol.events == []
    pump.turn()
    assert [failed.errno for failed in protocol.failed] == [code]


def test_anAddressThatIsNone(pump):
    """Python refuses some by itself, without an error number."""
    transport, protocol = outgoing(pump, at("x" * 200, socket.AF_UNIX))
    transport.connect()
    assert protocol.events == []
    pump.turn()
    assert protocol.events == ["failed"]


def test_cancelled(pump, listening):
    transport, protocol = outgoing(pump, at(listening.getsockname()))
    transport.connect()
    transport.cancel()
    transport.cancel()
    pump.turn()
    assert protocol.events == []
    assert transport.socket.fileno() == -1


def test_cancelledAfterItWasRefused(pump, tmp_path):
    """And before anybody was told."""
    transport, protocol = outgoing(pump, at(str(tmp_path / "nothing"), socket.AF_UNIX))
    transport.connect()
    transport.cancel()
    pump.turn()
    assert protocol.events == []


def test_cancelledTooLate(pump, listening):
    """A connection that stands is its protocol's."""
    transport, protocol = outgoing(pump, at(listening.getsockname()))
    transport.connect()
    pump.turn()
    transport.cancel()
    pump.turn()
    assert protocol.lost == []
    transport.loseConnection()


@pytest.mark.parametrize("end", [errno.EISCONN, errno.ECONNREFUSED])
def test_anEventThatMeantAnotherSocket(pump, monkeypatch, end):
    """While it is connecting nothing follows from it."""
    codes = [errno.EINPROGRESS, errno.EALREADY, errno.EALREADY, end]

    class Slow(socket.socket):
        def connect_ex(self, address):
            return codes.pop(0)

    monkeypatch.setattr(lbtwist.net.outgoing, "newSocket", Slow)
    transport, protocol = outgoing(pump, at(("192.0.2.1", 80)))
    transport.connect()
    transport.doRead()
    transport.doWrite()
    assert protocol.events == []
    transport.doWrite()
    assert protocol.events == ["made" if end == errno.EISCONN else "failed"]
    transport.abortConnection()


def test_closedAtOnce(pump, listening):
    """By its protocol, from inside C{makeConnection}."""

    class Closing(Noting):
        def makeConnection(self, transport):
            transport.loseConnection()

    protocol = Closing()
    Outgoing(at(listening.getsockname()).endpoint, protocol, pump).connect()
    pump.turn()
    assert len(protocol.lost) == 1


def test_writtenAtOnceMoreThanIsTaken(pump, listening):
    """By its protocol, from inside C{makeConnection}: the rest follows."""
    size = 8 << 20

    class Writing(Noting):
        def makeConnection(self, transport):
            super().makeConnection(transport)
            transport.write(bytes(size))
            transport.loseConnection()

    protocol = Writing()
    Outgoing(at(listening.getsockname()).endpoint, protocol, pump).connect()
    pump.turn()
    skt, _ = listening.accept()
    got = 0
    with skt:
        skt.settimeout(0.01)
        while True:
            pump.turn()
            try:
                data = skt.recv(1 << 20)
            except TimeoutError:
                continue
            if not data:
                break
            got += len(data)
    assert got == size
    assert len(protocol.lost) == 1


def test_aReactorThatReportsTheLoss(pump):
    """Some say that a socket is lost where the connect has failed."""
    transport, protocol = outgoing(pump, at(refusing()))
    transport.connect()
    transport.connectionLost(None)
    assert protocol.events == ["failed"]
    assert protocol.failed[0].errno in (errno.ECONNREFUSED, errno.ECONNABORTED)
    pump.turn()
    assert protocol.events == ["failed"]


# the attempt


def test_anAttemptThatSucceeds(pump, server):
    """The protocol has its transport before anybody else hears of it."""
    found, protocol, deadlines = attempt(pump, at(server.path, socket.AF_UNIX))
    found.start(5.0, pump.seconds())
    assert len(deadlines) == 1
    pump.turn()
    assert protocol.events == ["made", "connected"]
    assert len(deadlines) == 0
    assert protocol.transport.protocol is protocol
    peer = server.accepts()
    peer.sends(b"hello")
    assert protocol.data == b"hello"
    protocol.transport.loseConnection()
    deadlines.stop()


def test_anAttemptThatFails(pump, tmp_path):
    found, protocol, deadlines = attempt(pump, at(str(tmp_path / "no"), socket.AF_UNIX))
    found.start(5.0, pump.seconds())
    assert protocol.events == []
    pump.turn()
    assert protocol.events == ["failed"]
    assert len(deadlines) == 0
    deadlines.stop()


def test_anAttemptThatTakesTooLong(pump, server):
    server.hesitates()
    found, protocol, deadlines = attempt(pump, at(server.path, socket.AF_UNIX))
    found.start(5.0, pump.seconds())
    pump.turn()
    pump.advance(4.9)
    assert protocol.events == []
    pump.advance(0.1 + 2 * GRAIN)
    assert protocol.events == ["failed"]
    assert isinstance(protocol.failed[0], TimeoutError)
    assert pump.getWriters() == []
    server.goesOn()
    pump.turn()
    assert protocol.events == ["failed"]


def test_anAttemptWithoutLimit(pump, server):
    server.hesitates()
    found, protocol, deadlines = attempt(pump, at(server.path, socket.AF_UNIX))
    found.start(0, pump.seconds())
    assert len(deadlines) == 0
    pump.advance(1000)
    assert protocol.events == []
    server.goesOn()
    pump.turn()
    assert protocol.events == ["made", "connected"]
    protocol.transport.loseConnection()


def test_anAttemptThatIsCancelled(pump, server):
    server.hesitates()
    found, protocol, deadlines = attempt(pump, at(server.path, socket.AF_UNIX))
    found.start(5.0, pump.seconds())
    found.cancel()
    found.cancel()
    assert len(deadlines) == 0
    pump.advance(10)
    server.goesOn()
    pump.turn()
    assert protocol.events == []
    assert pump.getWriters() == []


def test_anAttemptNeedsAnAddress(pump):
    with pytest.raises(AssertionError, match="has no address"):
        attempt(pump, Server("app", "a"))


def test_noDescriptorIsLeftForAnAttempt(pump, monkeypatch):
    """Whoever makes it is told."""

    def none(*kind):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(lbtwist.net.outgoing, "newSocket", none)
    with pytest.raises(OSError, match="Too many open files"):
        attempt(pump, at(("192.0.2.1", 80)))


def test_theSourceOfAConnection(listening):
    with socket.create_connection(listening.getsockname()) as skt:
        transport = SimpleNamespace(socket=skt)
        assert sourceOf(transport) == skt.getsockname()
    assert sourceOf(transport) is None
