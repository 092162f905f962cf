"""
What a stream transport does: ours, and Twisted's own wherever the two must not differ.
"""

import errno
import gc
import os
import socket
import struct
import weakref
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import KINDS, Noting, Producer, Stream, Whole, tcpPair, unixPair
from twisted.internet import error
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IPushProducer,
    IReadWriteDescriptor,
    ITCPTransport,
    ITransport,
)
from zope.interface.verify import verifyObject

from lbtwist.net.tcp import HIGH_WATER


@pytest.fixture(params=KINDS)
def stream(request):
    """Behaviour that ours and Twisted's transports share."""
    stream = Stream(**KINDS[request.param])
    yield stream
    stream.close()
    assert len(stream.protocol.lost) == 1


@pytest.fixture(params=["unix", "tcp"])
def ours(request):
    """Behaviour of ours alone."""
    stream = Stream(**KINDS[request.param])
    yield stream
    stream.close()
    assert len(stream.protocol.lost) == 1
    assert not stream.pump.getDelayedCalls()
    assert not stream.pump.removeAll()


@contextmanager
def wholeStream(kind):
    """With a protocol that knows nothing of half-closed connections."""
    stream = Stream(protocol=Whole(), **KINDS[kind])
    yield stream
    stream.close()


class Grudging(socket.socket):
    """A socket that takes as much as a script says: C{0} is nothing for now."""

    script = None

    def _most(self):
        most = next(self.script, 1 << 30)
        if not most:
            raise BlockingIOError(errno.EAGAIN, "not now")
        return most

    def send(self, data, *flags):
        return super().send(memoryview(data)[: self._most()], *flags)

    def sendmsg(self, pieces, *more):
        joined = b"".join(pieces)
        return super().send(joined[: self._most()])


# reading


def test_readsWhatComes(stream):
    stream.peer.send(b"hello")
    stream.turn()
    assert stream.protocol.data == b"hello"


def test_pausedReadsNothing(stream):
    stream.transport.pauseProducing()
    stream.peer.send(b"hello")
    stream.turn()
    assert stream.protocol.data == b""
    stream.transport.resumeProducing()
    stream.turn()
    assert stream.protocol.data == b"hello"


def test_endOfThePeer(stream):
    """Told once; our side still works."""
    stream.peer.send(b"last")
    stream.peer.shutdown(socket.SHUT_WR)
    stream.turn()
    assert stream.protocol.data == b"last"
    assert stream.protocol.ended == 1
    assert stream.protocol.lost == []
    stream.transport.write(b"answer")
    stream.turn()
    assert stream.taken() == b"answer"
    stream.transport.loseConnection()
    stream.turn()
    assert isinstance(stream.protocol.lost[0], error.ConnectionDone)
    assert stream.peerSeesEnd()


@pytest.mark.parametrize("kind", KINDS)
def test_endOfThePeerForASimpleProtocol(kind):
    """It knows only of the end of both sides."""
    with wholeStream(kind) as stream:
        stream.peer.shutdown(socket.SHUT_WR)
        stream.turn()
        assert isinstance(stream.protocol.lost[0], error.ConnectionDone)


@pytest.mark.parametrize("kind", ["tcp", "twisted"])
def test_resetByThePeer(kind):
    stream = Stream(**KINDS[kind])
    stream.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.peer.close()
    stream.turn()
    [reason] = stream.protocol.lost
    assert not isinstance(reason, error.ConnectionDone)
    assert stream.protocol.ended == 0


def test_aReadThatFails(ours, monkeypatch):
    def failing(size):
        raise OSError(errno.EIO, "broken")

    ours.transport._recv = failing
    ours.peer.send(b"x")
    ours.turn()
    [reason] = ours.protocol.lost
    assert isinstance(reason, error.ConnectionLost)


def test_nothingToReadAfterAll(ours):
    """An event that came for nothing, as a level-triggered reactor may have one."""
    assert ours.transport.doRead() is None


def test_peekEnd(ours):
    assert not ours.transport.peekEnd()
    ours.peer.send(b"unasked")
    assert ours.transport.peekEnd()
    ours.turn()
    assert not ours.transport.peekEnd()
    ours.peer.close()
    assert ours.transport.peekEnd()


# writing


def test_writesArriveInOrder(stream):
    stream.transport.write(b"one ")
    stream.transport.writeSequence([b"two ", b"three"])
    stream.turn()
    assert stream.taken() == b"one two three"


def test_emptyWrite(stream):
    stream.transport.write(b"")
    stream.turn()
    assert stream.taken() == b""
    stream.fill()
    stream.transport.write(b"")
    stream.turn()
    assert stream.protocol.lost == []


def test_sendsAtOnce(ours):
    """The reactor is not needed for it."""
    ours.transport.write(b"now")
    assert ours.peer.recv(100) == b"now"
    assert ours.pump.getWriters() == []


def test_moreThanTheKernelTakes(stream):
    size = stream.fill()
    stream.transport.write(b"end")
    data = stream.taken()
    assert len(data) == size + 3
    assert data.endswith(b"\0end")


def test_unsent(ours):
    assert ours.transport.writable
    size = ours.fill()
    assert not ours.transport.writable
    assert 0 < ours.transport.unsent < size
    before = ours.transport.progress
    ours.taken()
    assert ours.transport.unsent == 0
    assert ours.transport.writable
    assert ours.transport.progress > before


def test_writesFromManyPieces(ours):
    """More than one system call takes."""
    size = ours.fill()
    pieces = [b"%d," % n for n in range(1000)]
    for piece in pieces:
        ours.transport.write(piece)
    assert ours.taken()[size:] == b"".join(pieces)


@given(
    writes=st.lists(st.integers(1, 3000), max_size=40),
    script=st.lists(st.one_of(st.just(0), st.integers(1, 4000)), max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_partialSends(writes, script):
    """However little the kernel takes each time, all bytes arrive once and in order."""
    stream = Stream(wrap=Grudging)
    stream.socket.script = iter(script)
    wanted = b""
    try:
        for n, size in enumerate(writes):
            data = (b"%d." % n * size)[:size]
            wanted += data
            stream.transport.write(data)
        stream.transport.loseConnection()
        assert stream.taken() == wanted
        stream.turn()
        assert stream.peerSeesEnd()
        assert isinstance(stream.protocol.lost[0], error.ConnectionDone)
    finally:
        stream.close()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "read"]), st.integers(1, 200_000)), max_size=30
    )
)
@settings(max_examples=100, deadline=None)
def test_writesAndReadsInAnyOrder(steps):
    stream = Stream()
    wanted = got = b""
    try:
        for n, (what, size) in enumerate(steps):
            if what == "write":
                data = (b"%d." % n * size)[:size]
                wanted += data
                stream.transport.write(data)
            else:
                got += stream.taken(size)
            assert wanted.startswith(got)
        assert got + stream.taken() == wanted
        assert stream.transport.unsent == 0
    finally:
        stream.close()


# producers


def test_aStreamingProducerIsPaused(stream):
    producer = Producer()
    stream.transport.registerProducer(producer, True)
    stream.fill()
    assert producer.asked == ["pause"]
    stream.taken()
    assert producer.asked == ["pause", "resume"]
    stream.transport.unregisterProducer()


def test_pausedBeyondTheMark(ours):
    """Not by what the kernel has, and only once."""
    producer = Producer()
    ours.transport.registerProducer(producer, True)
    ours.fill()
    ours.taken()
    producer.asked.clear()
    while not ours.transport.unsent:
        ours.transport.write(bytes(1024))
    ours.transport.write(bytes(HIGH_WATER - ours.transport.unsent))
    assert producer.asked == []
    ours.transport.write(b"x")
    ours.transport.write(b"y")
    assert producer.asked == ["pause"]
    ours.transport.unregisterProducer()


def test_resumedWhenAllIsSent(ours):
    """And not while anything waits."""
    producer = Producer()
    ours.transport.registerProducer(producer, True)
    ours.fill()
    while ours.transport.unsent:
        assert producer.asked == ["pause"]
        ours.taken(100_000)
    assert producer.asked == ["pause", "resume"]
    ours.transport.unregisterProducer()


def test_registeredWhileMuchWaits(ours):
    ours.fill()
    producer = Producer()
    ours.transport.registerProducer(producer, True)
    assert producer.asked == ["pause"]
    ours.taken()
    assert producer.asked == ["pause", "resume"]
    ours.transport.unregisterProducer()


def test_anUnregisteredProducerIsLeftAlone(stream):
    producer = Producer()
    stream.transport.registerProducer(producer, True)
    stream.fill()
    stream.transport.unregisterProducer()
    stream.taken()
    assert producer.asked == ["pause"]


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_aProducerThatIsPulled(stream, size):
    """Asked for more whenever all is sent, until it has no more."""
    left = [size] * 5
    transport = stream.transport

    def more():
        transport.write(bytes(left.pop()))
        if not left:
            transport.unregisterProducer()
            transport.loseConnection()

    producer = Producer(more)
    transport.registerProducer(producer, False)
    stream.turn()
    assert len(stream.taken()) == 5 * size
    stream.turn()
    assert producer.asked == ["resume"] * 5
    assert isinstance(stream.protocol.lost[0], error.ConnectionDone)


def test_aPulledProducerThatWritesNothing(stream):
    """It is not asked again before it has written: nothing spins."""
    producer = Producer()
    stream.transport.registerProducer(producer, False)
    stream.turn()
    asked = len(producer.asked)
    stream.turn()
    assert len(producer.asked) == asked
    stream.transport.write(b"late")
    stream.turn()
    assert len(producer.asked) == asked + 1
    stream.transport.unregisterProducer()
    stream.transport.write(b"r")
    stream.turn()
    assert len(producer.asked) == asked + 1
    assert stream.taken() == b"later"


def test_oneProducerAtATime(stream):
    stream.transport.registerProducer(Producer(), True)
    with pytest.raises(RuntimeError):
        stream.transport.registerProducer(Producer(), True)


def test_aProducerIsStoppedByTheLoss(stream):
    producer = Producer()
    stream.transport.registerProducer(producer, True)
    stream.transport.abortConnection()
    stream.turn()
    assert producer.asked == ["stop"]


def test_aProducerThatComesTooLate(stream):
    stream.transport.abortConnection()
    stream.turn()
    producer = Producer()
    stream.transport.registerProducer(producer, True)
    assert producer.asked == ["stop"]


# interfaces


@pytest.mark.parametrize(
    "interface",
    [ITransport, ITCPTransport, IConsumer, IPushProducer, IHalfCloseableDescriptor,
     IReadWriteDescriptor],
)  # fmt: skip
def test_interfaces(stream, interface):
    assert verifyObject(interface, stream.transport)


def test_options(stream):
    """Those of TCP can be set as with any transport of Twisted."""
    if stream.socket.family == socket.AF_UNIX:
        return
    stream.transport.setTcpNoDelay(True)
    assert stream.transport.getTcpNoDelay()
    stream.transport.setTcpKeepAlive(True)
    assert stream.transport.getTcpKeepAlive()
    assert stream.transport.getHandle() is stream.socket


def test_addresses():
    stream = Stream(tcpPair)
    assert stream.transport.getPeer().port == 1
    host = stream.transport.getHost()
    assert (host.host, host.port) == stream.socket.getsockname()
    stream.close()
    stream = Stream(unixPair)
    assert stream.transport.getHost().name is None
    stream.close()


def test_repr(ours):
    assert repr(ours.transport) == "<Accepted connected 0 unsent>"
    ours.transport.abortConnection()
    assert repr(ours.transport) == "<Accepted closed 0 unsent>"


def test_nothingKeepsAClosedTransport(ours):
    """No circle is left for the collector to find."""
    gc.collect()
    gc.disable()
    try:
        stream = Stream()
        transport = weakref.ref(stream.transport)
        stream.transport.write(b"x")
        stream.close()
        del stream
        assert transport() is None
    finally:
        gc.enable()


def test_descriptorsAreClosed(stream):
    fd = stream.socket.fileno()
    stream.transport.loseConnection()
    stream.turn()
    assert stream.socket.fileno() == -1
    with pytest.raises(OSError):
        os.fstat(fd)


def test_aProtocolThatClosesAtOnce():
    """From inside C{makeConnection}."""

    class Refusing(Noting):
        def makeConnection(self, transport):
            transport.write(b"bye")
            transport.loseConnection()

    stream = Stream(protocol=Refusing())
    assert stream.taken() == b"bye"
    assert len(stream.protocol.lost) == 1
    stream.close()
