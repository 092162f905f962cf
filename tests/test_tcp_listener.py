"""A listener: accepts all who wait, bounded, and survives whatever an accept may do."""

import errno
import os
import socket

import pytest
from streams import Noting
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IListeningPort
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from lbtwist.net.listener import Listener
from lbtwist.testing import Pump


class Listening:
    """
    A listener on a UNIX socket, and the clients that come.

    @ivar script: what the next accepts do: an error number, or L{None} to work.
    """

    def __init__(self, path):
        self.pump = Pump()
        self.path = str(path)
        self.script = []
        self.calls = 0
        self.accepted = []
        self.clients = []
        listening = self

        class Scripted(socket.socket):
            def accept(self):
                listening.calls += 1
                code = listening.script.pop(0) if listening.script else None
                if code:
                    raise OSError(code, os.strerror(code))
                return super().accept()

        skt = Scripted(socket.AF_UNIX, socket.SOCK_STREAM)
        skt.bind(self.path)
        skt.listen(1000)
        self.listener = Listener(skt, self.accept, self.pump)
        self.listener.startListening()

    def accept(self, transport):
        transport.startProtocol(Noting())
        self.accepted.append(transport)

    def connect(self, count=1):
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect(self.path)
            self.clients.append(client)

    def turn(self):
        self.pump.turn()

    def stop(self):
        self.listener.stopListening()
        for transport in self.accepted:
            transport.abortConnection()
        for client in self.clients:
            client.close()
        assert not self.pump.getDelayedCalls()
        assert not self.pump.removeAll()


@pytest.fixture
def listening(tmp_path):
    found = Listening(tmp_path / "listening")
    yield found
    found.stop()


def test_acceptsWhoComes(listening):
    listening.connect()
    listening.turn()
    [transport] = listening.accepted
    transport.write(b"hello")
    assert listening.clients[0].recv(100) == b"hello"


def test_acceptsAllWhoWait(listening):
    listening.connect(300)
    listening.turn()
    assert len(listening.accepted) == 300


def test_batches(listening):
    """More at a time while many come; one at a time while few do."""
    listening.connect(7)
    sizes = []
    while len(listening.accepted) < 7:
        before = len(listening.accepted)
        listening.listener.doRead()
        sizes.append(len(listening.accepted) - before)
    assert sizes == [1, 2, 4]
    listening.listener.doRead()
    listening.connect()
    calls = listening.calls
    listening.turn()
    assert len(listening.accepted) == 8
    assert listening.calls == calls + 1


def test_aBatchIsBounded(listening):
    """So that those who are connected get their turn as well."""
    listening.connect(900)
    most = 0
    while len(listening.accepted) < 900:
        before = len(listening.accepted)
        listening.listener.doRead()
        most = max(most, len(listening.accepted) - before)
    assert most == 256


def test_paused(listening):
    """Clients wait in the kernel's queue."""
    listening.listener.pauseAccepting()
    listening.listener.pauseAccepting()
    listening.connect(3)
    listening.turn()
    assert listening.accepted == []
    listening.listener.resumeAccepting()
    listening.listener.resumeAccepting()
    listening.turn()
    assert len(listening.accepted) == 3


def test_pausedByOneWhoIsAccepted(listening):
    """In the middle of a batch: the others wait."""
    listening.connect(7)
    listening.listener.doRead()
    accept = listening.accept

    def limited(transport):
        accept(transport)
        if len(listening.accepted) == 4:
            listening.listener.pauseAccepting()

    listening.listener.accepted = limited
    listening.turn()
    assert len(listening.accepted) == 4
    listening.listener.resumeAccepting()
    listening.turn()
    assert len(listening.accepted) == 7


def test_stoppedByOneWhoIsAccepted(listening):
    listening.connect(7)
    listening.listener.doRead()

    def last(transport):
        listening.accept(transport)
        listening.listener.stopListening()

    listening.listener.accepted = last
    listening.turn()
    assert len(listening.accepted) == 2


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_nothingIsLeftToAcceptWith(listening, code):
    """It waits a moment, says so, and nobody is lost."""
    listening.script = [code]
    listening.connect(2)
    with capturedLogs() as events:
        listening.turn()
    [event] = [one for one in events if one["log_level"] is LogLevel.error]
    assert event["failed"].errno == code
    assert listening.accepted == []
    listening.turn()
    assert listening.calls == 1
    listening.pump.advance(0.1)
    listening.turn()
    assert len(listening.accepted) == 2


def test_pausedWhileItWaits(listening):
    """Neither the end of the wait nor that of the pause alone lets it go on."""
    for first in ("wait", "pause"):
        listening.script = [errno.EMFILE]
        listening.connect()
        listening.turn()
        known = len(listening.accepted)
        listening.listener.pauseAccepting()
        steps = {
            "wait": lambda: listening.pump.advance(0.1),
            "pause": listening.listener.resumeAccepting,
        }
        steps.pop(first)()
        listening.turn()
        assert len(listening.accepted) == known
        steps.popitem()[1]()
        listening.turn()
        assert len(listening.accepted) == known + 1


def test_stoppedWhileItWaits(listening):
    listening.script = [errno.EMFILE]
    listening.connect()
    listening.turn()
    listening.listener.stopListening()
    assert listening.pump.getDelayedCalls() == []


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPERM, errno.EAGAIN])
def test_whoWentAwayMeanwhile(listening, code):
    """Accepting goes on without a pause."""
    listening.script = [code]
    listening.connect(2)
    listening.turn()
    assert len(listening.accepted) == 2


def test_oneIsAcceptedInVain(listening):
    """An error in what is done with a connection ends that one, not the listener."""
    accept = listening.accept

    def failing(transport):
        if not listening.accepted:
            accept(transport)
        raise ZeroDivisionError

    listening.listener.accepted = failing
    listening.connect(2)
    with capturedLogs() as events:
        listening.turn()
    assert len([one for one in events if "log_failure" in one]) == 2
    for client in listening.clients:
        assert client.recv(1) == b""
    listening.listener.accepted = accept
    listening.connect()
    listening.turn()
    assert len(listening.accepted) == 2


def test_stopListening(listening):
    listening.listener.stopListening()
    listening.listener.stopListening()
    with pytest.raises(OSError):
        listening.connect()


def test_stoppedBeforeItWasStarted(tmp_path):
    skt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    skt.bind(str(tmp_path / "never"))
    skt.listen()
    listener = Listener(skt, print, Pump())
    listener.stopListening()
    assert skt.fileno() == -1


def test_lost(listening):
    """As a reactor says that ends."""
    listening.listener.connectionLost(None)
    assert listening.pump.getReaders() == []


def test_isAPort(listening):
    assert verifyObject(IListeningPort, listening.listener)
    assert listening.listener.logPrefix() == "Listener"


def test_addresses(listening):
    assert listening.listener.getHost() == UNIXAddress(listening.path.encode())
    assert repr(listening.listener) == f"<Listener {listening.path}>"
    listening.listener.stopListening()
    assert repr(listening.listener) == "<Listener closed>"


@pytest.mark.parametrize(
    "family, host, kind",
    [(socket.AF_INET, "127.0.0.1", IPv4Address), (socket.AF_INET6, "::1", IPv6Address)],
)
def test_addressesOfTCP(family, host, kind):
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    skt = socket.socket(family)
    try:
        skt.bind((host, 0))
    except OSError:
        skt.close()
        pytest.skip(f"no address {host} here")
    skt.listen()
    pump = Pump()
    accepted = []
    listener = Listener(skt, accepted.append, pump)
    listener.startListening()
    with socket.create_connection(skt.getsockname()[:2]) as client:
        pump.turn()
        [transport] = accepted
        transport.startProtocol(Noting())
        peer = transport.getPeer()
        assert isinstance(peer, kind)
        assert (peer.host, peer.port) == client.getsockname()[:2]
        assert isinstance(transport.getHost(), kind)
        assert transport.getHost() == listener.getHost()
        transport.abortConnection()
    listener.stopListening()
