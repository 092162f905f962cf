"""
How a stream transport ends: in good order, on one side, by a reset, by an error.
Twisted's own must not differ, but that ours closes before C{loseConnection} returns.
"""

import errno
import gc
import os
import socket
import weakref

import pytest
from streams import KINDS, Noting, Producer, Stream, tcpPair
from twisted.internet import error


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


def isDone(stream):
    return [type(reason) for reason in stream.protocol.lost] == [error.ConnectionDone]


# in good order


def test_loseConnection(stream):
    stream.transport.write(b"bye")
    stream.transport.loseConnection()
    stream.turn()
    assert isDone(stream)
    assert stream.taken() == b"bye"
    assert stream.peerSeesEnd()


def test_closesAtOnce(ours):
    """Where nothing waits; C{connectionLost} is called before it returns."""
    ours.transport.loseConnection()
    assert isDone(ours)
    assert ours.peerSeesEnd()
    assert ours.pump.getReaders() == []


def test_sendsWhatWaitsFirst(stream):
    size = stream.fill()
    stream.transport.loseConnection()
    stream.turn()
    assert stream.protocol.lost == []
    assert len(stream.taken()) == size
    assert isDone(stream)
    assert stream.peerSeesEnd()


def test_readsNothingOnceItCloses(stream):
    stream.fill()
    stream.transport.loseConnection()
    stream.peer.send(b"late")
    stream.turn()
    assert stream.protocol.data == b""
    stream.transport.resumeProducing()
    stream.turn()
    assert stream.protocol.data == b""


def test_writesWhileWhatWaitsIsSent(stream):
    """They are sent as well: a producer has not heard of it yet."""
    size = stream.fill()
    stream.transport.loseConnection()
    stream.transport.write(b"more")
    assert len(stream.taken()) == size + 4
    assert isDone(stream)


def test_waitsForTheProducer(stream):
    """Its last bytes are sent, then it is closed."""
    producer = Producer()
    stream.transport.registerProducer(producer, True)
    size = stream.fill()
    stream.transport.loseConnection()
    stream.turn()
    assert stream.protocol.lost == []
    assert len(stream.taken(size)) == size
    stream.turn()
    assert producer.asked == ["pause", "resume"]
    assert stream.protocol.lost == []
    stream.transport.write(b"last")
    stream.transport.unregisterProducer()
    assert stream.taken() == b"last"
    stream.turn()
    assert isDone(stream)
    assert stream.peerSeesEnd()


def test_waitsForAProducerThatIsNotPaused(ours):
    ours.transport.registerProducer(Producer(), True)
    ours.transport.loseConnection()
    ours.turn()
    assert ours.protocol.lost == []
    ours.transport.write(b"last")
    ours.transport.unregisterProducer()
    assert isDone(ours)
    assert ours.taken() == b"last"


def test_twice(stream):
    stream.transport.loseConnection()
    stream.transport.loseConnection()
    stream.turn()
    stream.transport.loseConnection()
    stream.transport.abortConnection()
    stream.turn()
    assert isDone(stream)


def test_whatIsWrittenAfterwardsIsIgnored(stream):
    stream.transport.loseConnection()
    stream.turn()
    stream.transport.write(b"nothing")
    stream.transport.writeSequence([b"no", b"thing"])
    stream.transport.unregisterProducer()
    stream.turn()
    assert stream.taken() == b""


def test_nothingCanBeDoneToWhatIsClosed(ours):
    ours.transport.loseConnection()
    ours.transport.loseWriteConnection()
    ours.transport.pauseProducing()
    ours.transport.resumeProducing()
    ours.transport.stopConsuming()
    ours.turn()
    assert isDone(ours)


# on one side


def test_loseWriteConnection(stream):
    stream.transport.write(b"question")
    stream.transport.loseWriteConnection()
    stream.turn()
    assert stream.taken() == b"question"
    assert stream.peerSeesEnd()
    stream.peer.send(b"answer")
    stream.turn()
    assert stream.protocol.data == b"answer"
    stream.peer.shutdown(socket.SHUT_WR)
    stream.turn()
    assert stream.protocol.ended == 1
    assert stream.protocol.lost == []


def test_loseWriteConnectionSendsWhatWaits(stream):
    size = stream.fill()
    stream.transport.loseWriteConnection()
    stream.peer.send(b"meanwhile")
    stream.turn()
    assert stream.protocol.data == b"meanwhile"
    assert len(stream.taken()) == size
    assert stream.peerSeesEnd()
    assert stream.protocol.lost == []


def test_nothingIsWrittenAfterOurEnd(ours):
    size = ours.fill()
    ours.transport.loseWriteConnection()
    ours.transport.write(b"nothing")
    assert len(ours.taken()) == size
    ours.transport.write(b"nothing")
    ours.turn()
    assert ours.taken() == b""
    assert ours.protocol.lost == []


def test_bothSidesOneAfterTheOther(stream):
    stream.transport.loseWriteConnection()
    stream.turn()
    stream.transport.loseConnection()
    stream.turn()
    assert isDone(stream)


def test_closedWhileOurEndIsOnItsWay(stream):
    size = stream.fill()
    stream.transport.loseWriteConnection()
    stream.transport.loseConnection()
    assert len(stream.taken()) == size
    assert isDone(stream)


def test_aProducerDoesNotHoldWhatIsHalfClosed(stream):
    """Nothing that it produces could be sent."""
    stream.transport.registerProducer(Producer(), True)
    stream.transport.loseWriteConnection()
    stream.turn()
    stream.transport.loseConnection()
    stream.turn()
    assert isDone(stream)


def test_ourEndToWhoIsGone(ours):
    ours.peer.close()
    ours.transport.loseWriteConnection()
    ours.turn()
    assert ours.protocol.ended + len(ours.protocol.lost) == 1


def test_ourEndTwice(ours):
    ours.transport.loseWriteConnection()
    ours.transport.loseWriteConnection()
    assert ours.peerSeesEnd()
    assert ours.protocol.lost == []


# by a reset


def test_abort(stream):
    stream.fill()
    stream.transport.abortConnection()
    stream.turn()
    assert [type(reason) for reason in stream.protocol.lost] == [error.ConnectionAborted]


@pytest.mark.parametrize("kind", ["tcp", "twisted"])
def test_abortResets(kind):
    """The peer does not take what it got for the whole."""
    stream = Stream(**KINDS[kind])
    stream.transport.write(b"half")
    stream.turn()
    stream.transport.abortConnection()
    stream.turn()
    assert stream.peer.recv(100) == b"half"
    with pytest.raises(ConnectionResetError):
        stream.peer.recv(100)


@pytest.mark.parametrize("kind", ["tcp", "twisted"])
def test_closingResetsNothing(kind):
    stream = Stream(**KINDS[kind])
    stream.transport.write(b"whole")
    stream.transport.loseConnection()
    stream.turn()
    assert stream.peer.recv(100) == b"whole"
    assert stream.peerSeesEnd()


def test_abortWhileItCloses(stream):
    stream.fill()
    stream.transport.loseConnection()
    stream.turn()
    stream.transport.abortConnection()
    stream.turn()
    assert [type(reason) for reason in stream.protocol.lost] == [error.ConnectionAborted]


# by an error that a write meets


class Failing(socket.socket):
    """A socket that can be told to send nothing any more."""

    code = 0

    def send(self, *args):
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().send(*args)

    def sendmsg(self, *args):
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().sendmsg(*args)


@pytest.fixture(params=[errno.EPIPE, errno.ECONNRESET, errno.ENOBUFS], ids=errno.errorcode.get)
def broken(request):
    """A stream, and the function that lets writes fail."""
    stream = Stream(wrap=Failing)

    def breaks():
        stream.socket.code = request.param

    yield stream, breaks
    stream.close()
    assert len(stream.protocol.lost) == 1
    assert not stream.pump.getDelayedCalls()
    assert not stream.pump.removeAll()


def test_aWriteNeverRaises(broken):
    """Nor is the protocol told from inside; what the peer has sent can be read."""
    stream, breaks = broken
    stream.peer.send(b"why")
    breaks()
    stream.transport.write(b"x")
    assert stream.protocol.lost == []
    assert not stream.transport.writable
    stream.transport.write(b"y")
    stream.turn()
    assert stream.protocol.data == b"why"
    assert stream.protocol.lost == []
    stream.peer.close()
    stream.turn()
    [reason] = stream.protocol.lost
    assert reason.errno == stream.socket.code
    assert stream.protocol.ended == 0


def test_aWriteFailsWhileNobodyReads(broken):
    """Nobody would notice the end of the peer, so it is the end now."""
    stream, breaks = broken
    stream.transport.pauseProducing()
    breaks()
    stream.transport.write(b"x")
    assert stream.protocol.lost == []
    stream.turn()
    [reason] = stream.protocol.lost
    assert reason.errno == stream.socket.code


def test_aWriteFailsWhileNobodyReadsAndItIsClosed(broken):
    stream, breaks = broken
    stream.transport.pauseProducing()
    breaks()
    stream.transport.write(b"x")
    stream.transport.loseConnection()
    stream.turn()
    assert isDone(stream)


def test_whatWaitedCannotBeSent(broken):
    stream, breaks = broken
    stream.fill()
    breaks()
    stream.peer.recv(1 << 20)
    stream.turn()
    assert stream.transport.unsent == 0
    assert stream.protocol.lost == []
    stream.peer.shutdown(socket.SHUT_WR)
    stream.turn()
    [reason] = stream.protocol.lost
    assert reason.errno == stream.socket.code


def test_whatWaitedCannotBeSentWhileItCloses(broken):
    stream, breaks = broken
    stream.fill()
    stream.transport.loseConnection()
    breaks()
    stream.peer.recv(1 << 20)
    stream.turn()
    [reason] = stream.protocol.lost
    assert reason.errno == stream.socket.code


def test_aPausedProducerRunsDry(broken):
    """What it still has is thrown away, and it comes to its end."""
    stream, breaks = broken
    producer = Producer()
    stream.transport.registerProducer(producer, True)
    stream.fill()
    breaks()
    stream.peer.recv(1 << 20)
    stream.turn()
    assert producer.asked == ["pause", "resume"]
    stream.transport.write(bytes(1 << 20))
    assert producer.asked == ["pause", "resume"]


@pytest.mark.parametrize("streaming", [True, False])
def test_closedAfterAWriteHasFailed(broken, streaming):
    """With a producer that nobody asks for more."""
    stream, breaks = broken
    stream.transport.registerProducer(Producer(), streaming)
    breaks()
    stream.transport.write(b"x")
    stream.transport.loseConnection()
    stream.turn()
    assert isDone(stream)


def test_ourEndAfterAWriteHasFailed(broken):
    stream, breaks = broken
    breaks()
    stream.transport.write(b"x")
    stream.transport.loseWriteConnection()
    stream.turn()
    assert stream.protocol.lost == []


def test_somebodyElseWasRefused(broken):
    """As when bytes go through the kernel, past C{write}."""
    stream, breaks = broken
    stream.transport.writeRefused()
    stream.turn()
    assert not stream.transport.writable
    assert stream.protocol.lost == []


def test_aRealPeerThatIsGone():
    """A TCP peer that has closed: the second write meets its reset."""
    stream = Stream(tcpPair)
    stream.transport.write(b"x")
    stream.peer.close()
    stream.transport.write(b"y")
    stream.transport.write(b"z")
    assert stream.protocol.lost == []
    stream.turn()
    [reason] = stream.protocol.lost
    assert isinstance(reason, ConnectionError)


def test_nothingKeepsABrokenTransport():
    """The error that it met has seen it, and must not hold it."""
    gc.collect()
    gc.disable()
    try:
        stream = Stream(wrap=Failing)
        transport = weakref.ref(stream.transport)
        stream.socket.code = errno.EPIPE
        stream.transport.write(b"x")
        stream.peer.close()
        stream.turn()
        assert stream.protocol.lost
        stream.protocol.lost.clear()
        del stream
        assert transport() is None
    finally:
        gc.enable()


def test_lostFromInsideARead():
    """A protocol that aborts in the middle of what it reads."""

    class Aborting(Noting):
        def dataReceived(self, data):
            super().dataReceived(data)
            self.transport.abortConnection()

    stream = Stream(protocol=Aborting())
    stream.peer.send(b"x")
    stream.turn()
    assert len(stream.protocol.lost) == 1


def test_lostFromInsideAProducer():
    """A producer that closes when it is asked for more."""
    stream = Stream()
    stream.transport.registerProducer(Producer(stream.transport.abortConnection), True)
    stream.fill()
    stream.taken()
    assert len(stream.protocol.lost) == 1
