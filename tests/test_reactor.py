"""
The lean reactor: what it dispatches and what it does not, and that Twisted's own
servers, clients, timers, threads and processes run on it.
"""

import os
import socket
import subprocess
import sys

import pytest
from streams import Noting
from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet
from twisted.python import log
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lbtwist.net.tcp import Accepted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@pytest.fixture
def reactor():
    """One that turns when it is told to, and is not the one of this process."""
    from lbtwist.net.reactor import LeanReactor

    reactor = LeanReactor()
    yield reactor
    reactor.waker.connectionLost(None)
    reactor._poller.close()


@implementer(IHalfCloseableDescriptor)
class Descriptor:
    """
    Notes what it is told.

    @ivar answers: what C{doRead} and C{doWrite} return or raise.
    """

    def __init__(self, skt):
        self.socket = skt
        self.told = []
        self.answers = {}

    def fileno(self):
        return self.socket.fileno()

    def logPrefix(self):
        return "descriptor"

    def _do(self, name):
        self.told.append(name)
        answer = self.answers.get(name)
        if callable(answer):
            answer = answer()
        return answer

    def doRead(self):
        return self._do("read")

    def doWrite(self):
        return self._do("write")

    def connectionLost(self, reason):
        self.told.append(("lost", reason.type))

    def readConnectionLost(self, reason):
        self.told.append(("read lost", reason.type))

    def writeConnectionLost(self, reason):
        self.told.append(("write lost", reason.type))


@pytest.fixture
def pair():
    """A function that makes a descriptor and its peer."""
    opened = []

    def pair():
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        opened.extend((ours, peer))
        return Descriptor(ours), peer

    yield pair
    for skt in opened:
        skt.close()


def test_interface(reactor):
    assert verifyObject(IReactorFDSet, reactor)


def test_nothingHappens(reactor, pair):
    ours, peer = pair()
    reactor.addReader(ours)
    reactor.doPoll(0)
    assert ours.told == []


def test_reads(reactor, pair):
    ours, peer = pair()
    reactor.addReader(ours)
    peer.send(b"x")
    reactor.doPoll(0)
    assert ours.told == ["read"]
    reactor.removeReader(ours)
    reactor.doPoll(0)
    assert ours.told == ["read"]


def test_writes(reactor, pair):
    ours, peer = pair()
    reactor.addWriter(ours)
    reactor.doPoll(0)
    assert ours.told == ["write"]
    reactor.removeWriter(ours)
    reactor.doPoll(0)
    assert ours.told == ["write"]


def test_readsBeforeItWrites(reactor, pair):
    ours, peer = pair()
    reactor.addReader(ours)
    reactor.addWriter(ours)
    peer.send(b"x")
    reactor.doPoll(0)
    assert ours.told == ["read", "write"]


def test_whoOnlyWritesMeetsTheEnd(reactor, pair):
    """The kernel reports it without being asked."""
    ours, peer = pair()
    reactor.addWriter(ours)
    peer.close()
    reactor.doPoll(0)
    assert ours.told == ["write"]


def test_whoOnlyReadsMeetsTheEnd(reactor, pair):
    ours, peer = pair()
    reactor.addReader(ours)
    peer.close()
    reactor.doPoll(0)
    assert ours.told == ["read"]


def test_aReadFindsTheEnd(reactor, pair):
    """One side's end is not the other's."""
    ours, peer = pair()
    ours.answers["read"] = error.ConnectionDone()
    reactor.addReader(ours)
    reactor.addWriter(ours)
    peer.send(b"x")
    reactor.doPoll(0)
    assert ours.told == ["read", ("read lost", error.ConnectionDone)]
    assert reactor.getReaders().count(ours) == 0
    assert ours in reactor.getWriters()


def test_aReadFindsTheLoss(reactor, pair):
    ours, peer = pair()
    ours.answers["read"] = error.ConnectionLost()
    reactor.addReader(ours)
    reactor.addWriter(ours)
    peer.send(b"x")
    reactor.doPoll(0)
    assert ours.told == ["read", ("lost", error.ConnectionLost)]
    assert ours not in reactor.getReaders() + reactor.getWriters()


def test_aWriteFindsTheLoss(reactor, pair):
    ours, peer = pair()
    ours.answers["write"] = error.ConnectionDone()
    reactor.addWriter(ours)
    reactor.doPoll(0)
    assert ours.told == ["write", ("lost", error.ConnectionDone)]


def test_anErrorEndsOne(reactor, pair):
    """It is logged, and the others go on."""
    broken, peer = pair()
    broken.answers["read"] = lambda: 1 / 0
    good, other = pair()
    for descriptor, skt in ((broken, peer), (good, other)):
        reactor.addReader(descriptor)
        skt.send(b"x")
    events = []
    log.addObserver(events.append)
    try:
        reactor.doPoll(0)
    finally:
        log.removeObserver(events.append)
    assert broken.told == ["read", ("lost", ZeroDivisionError)]
    assert good.told == ["read"]
    [event] = [event for event in events if event["isError"]]
    assert event["failure"].check(ZeroDivisionError)


def test_forgottenInTheSameRound(reactor, pair):
    """What one event closes is not told of another that had come already."""
    first, peer = pair()
    second, other = pair()
    closed = []

    def closes(other):
        def close():
            closed.append(other)
            reactor.forget(other.fileno())
            other.socket.close()

        return close

    first.answers["read"] = closes(second)
    second.answers["read"] = closes(first)
    for descriptor, skt in ((first, peer), (second, other)):
        reactor.addReader(descriptor)
        skt.send(b"x")
    reactor.doPoll(0)
    assert len(closed) == 1
    assert sorted([first.told, second.told]) == [[], ["read"]]


def test_forgottenAndTakenAgain(reactor, pair):
    """A new descriptor of the same number is watched as any other."""
    first, peer = pair()
    reactor.addReader(first)
    reactor.addWriter(first)
    number = first.fileno()
    reactor.forget(number)
    assert first not in reactor.getReaders() + reactor.getWriters()
    first.socket.close()
    second, other = pair()
    assert second.fileno() == number
    reactor.addReader(second)
    other.send(b"x")
    reactor.doPoll(0)
    assert second.told == ["read"]


def test_aTransportOfOurs(reactor):
    """From its start to its end; nothing of it stays with the reactor."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    protocol = Noting()
    transport = Accepted(ours, "", reactor)
    transport.startProtocol(protocol)
    peer.send(b"hello")
    reactor.doPoll(0)
    assert protocol.data == b"hello"
    size = 4 << 20
    transport.write(bytes(size))
    transport.loseConnection()
    got = 0
    while data := peer.recv(1 << 20):
        got += len(data)
        reactor.doPoll(0)
    assert got == size
    assert len(protocol.lost) == 1
    assert transport not in reactor.getReaders() + reactor.getWriters()
    peer.close()


@pytest.mark.parametrize("half", [True, False])
def test_theEndOfAPeer(reactor, half):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    protocol = Noting()
    transport = Accepted(ours, "", reactor)
    transport.startProtocol(protocol)
    peer.shutdown(socket.SHUT_WR)
    reactor.doPoll(0)
    reactor.doPoll(0)
    assert protocol.ended == 1
    assert protocol.lost == []
    if half:
        transport.write(b"answer")
        assert peer.recv(100) == b"answer"
    peer.close()
    transport.loseConnection()
    assert len(protocol.lost) == 1


PROGRAM = """
from lbtwist.net.reactor import LeanReactor, install
install()
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutput

assert type(reactor) is LeanReactor, reactor

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Asks(Protocol):
    def connectionMade(self):
        self.got = 0
        self.transport.write(bytes(SIZE))
    def dataReceived(self, data):
        self.got += len(data)
        if self.got == SIZE:
            self.transport.loseConnection()
    def connectionLost(self, reason):
        print(self.got)

SIZE = 3_000_000

@inlineCallbacks
def main():
    port = yield TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        Factory.forProtocol(Echo))
    there = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
    yield connectProtocol(there, Asks())
    print((yield deferLater(reactor, 0.01, lambda: "later")))
    print((yield deferToThread(lambda: "thread")))
    print((yield getProcessOutput("/bin/echo", ["process"])).decode().strip())
    yield deferLater(reactor, 0.2, port.stopListening)
    reactor.stop()

reactor.callWhenRunning(main)
reactor.run()
print("stopped")
"""


def test_twistedRunsOnIt():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == sorted(
        ["later", "thread", "process", "3000000", "stopped"]
    )


def test_isKnownToTwistd():
    """C{twistd --reactor lbtwist}."""
    code = (
        "from twisted.application.reactors import getReactorTypes\n"
        "[found] = [one for one in getReactorTypes() if one.shortName == 'lbtwist']\n"
        "found.install()\n"
        "from twisted.internet import reactor\n"
        "print(type(reactor).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    )  # fmt: skip
    assert done.stdout == "LeanReactor\n", done.stderr
