"""Bytes from socket to socket through the kernel: all of them, once, and nothing is left."""

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Noting, Stream, tcpPair, unixPair

from lbtwist.net import splice as module
from lbtwist.net.splice import MAX_SPARE, Splice, spliceable

pytestmark = pytest.mark.skipif(not hasattr(os, "splice"), reason="no splice here")


class Flow:
    """Holds the source while the sink takes nothing."""

    def __init__(self, source):
        self.source = source
        self.held = 0

    def pauseProducing(self):
        self.held += 1
        self.source.pauseProducing()

    def resumeProducing(self):
        self.source.resumeProducing()


class Joined:
    """
    Two streams on one reactor, and what goes from the first to the second.

    @ivar moved: bytes that it says went to the sink.
    @ivar done: how often it said that its limit was reached.
    """

    def __init__(self, limit=None, pair=unixPair):
        self.source = Stream(pair)
        self.sink = Stream(pair, pump=self.source.pump)
        self.flow = Flow(self.source.transport)
        self.moved = 0
        self.done = 0
        self.splice = Splice(
            self.source.transport, self.sink.transport, self.flow, self.move, limit, self.isDone
        )

    def move(self, size):
        self.moved += size

    def isDone(self):
        assert "doRead" not in vars(self.source.transport), "it was not released"
        self.done += 1

    def close(self):
        self.splice.release()
        self.source.close()
        self.sink.close()
        assert not self.source.pump.removeAll()


@pytest.fixture(params=[unixPair, tcpPair], ids=["unix", "tcp"])
def pair(request):
    return request.param


@pytest.fixture(autouse=True)
def nothingIsLeft():
    """No pipe but the spare ones, and those are empty."""
    before = set(os.listdir("/proc/self/fd"))
    spare = [fd for pipe in module._spare for fd in pipe]
    yield
    for out, _ in module._spare:
        with pytest.raises(BlockingIOError):
            os.read(out, 1)
    while module._spare:
        for fd in module._spare.pop():
            os.close(fd)
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before) - len(spare)


def test_passesBytesOn(pair):
    joined = Joined(pair=pair)
    joined.source.peer.send(b"hello")
    assert joined.sink.taken() == b"hello"
    assert joined.moved == 5
    assert joined.source.protocol.data == b""
    joined.close()


def test_holdsTheSource(pair):
    """As long as the sink takes nothing; and goes on when it does."""
    joined = Joined(pair=pair)
    size = 0
    joined.source.peer.setblocking(False)
    while not joined.flow.held:
        size += joined.source.peer.send(bytes(100_000))
        joined.source.turn()
    assert not joined.source.transport.reading
    before = joined.sink.transport.progress
    assert len(joined.sink.taken()) == size
    assert joined.source.transport.reading
    assert joined.sink.transport.progress > before
    assert joined.moved == size
    assert joined.sink.pump.getWriters() == []
    joined.close()


def test_theEndOfTheSource(pair):
    joined = Joined(pair=pair)
    joined.source.peer.send(b"last")
    joined.source.peer.close()
    assert joined.sink.taken() == b"last"
    assert joined.source.protocol.ended == 1
    assert joined.done == 0
    joined.close()


def test_theLimit(pair):
    """Exactly so many bytes; what follows is read as ever."""
    joined = Joined(limit=4, pair=pair)
    joined.source.peer.send(b"bodyhead")
    assert joined.sink.taken() == b"body"
    assert joined.done == 1
    assert joined.moved == 4
    assert joined.source.protocol.data == b"head"
    joined.source.peer.send(b"more")
    joined.source.turn()
    assert joined.source.protocol.data == b"headmore"
    joined.sink.transport.write(b"own")
    assert joined.sink.taken() == b"own"
    joined.close()


def test_theLimitWhileTheSinkTakesNothing():
    """It is reached when the last byte is with the sink, not when it was read."""
    joined = Joined(limit=3 << 20)
    sent = 0
    while not joined.flow.held:
        sent += joined.source.peer.send(bytes(min(100_000, (3 << 20) - sent)))
        joined.source.turn()
    assert joined.done == 0
    got = 0
    while joined.done == 0:
        got += len(joined.sink.taken())
        if sent < 3 << 20:
            sent += joined.source.peer.send(bytes(min(100_000, (3 << 20) - sent)))
        joined.source.turn()
    got += len(joined.sink.taken())
    assert (got, joined.moved, joined.done) == (3 << 20, 3 << 20, 1)
    joined.close()


def test_releasedEarly():
    """What comes from then on is read as ever."""
    joined = Joined()
    joined.source.peer.send(b"one")
    assert joined.sink.taken() == b"one"
    joined.splice.release()
    joined.splice.release()
    joined.source.peer.send(b"two")
    joined.source.turn()
    assert joined.source.protocol.data == b"two"
    joined.close()


def test_pipesAreKept():
    """The next one needs none of its own; one with bytes in it is never kept."""
    joined = Joined()
    pipe = joined.splice._pipe
    joined.splice.release()
    assert module._spare == [pipe]
    other = Joined()
    assert other.splice._pipe == pipe
    while not other.flow.held:
        other.source.peer.send(bytes(100_000))
        other.source.turn()
    other.close()
    assert module._spare == []
    joined.close()


def test_notTooManyPipesAreKept():
    many = [Joined() for _ in range(MAX_SPARE + 2)]
    for joined in many:
        joined.close()
    assert len(module._spare) == MAX_SPARE


def test_noDescriptorIsLeft(monkeypatch):
    """Whoever wants it is told, and nothing was changed."""

    def none(flags):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe2", none)
    source = Stream()
    with pytest.raises(OSError, match="Too many open files"):
        Splice(source.transport, source.transport, None, None)
    source.peer.send(b"read")
    source.turn()
    assert source.protocol.data == b"read"
    source.close()


def test_whatCanBeSpliced():
    source, sink = Stream(), Stream()
    assert spliceable(source.transport, sink.transport)
    assert not spliceable(source.transport, Noting())
    assert not spliceable(Noting(), sink.transport)
    source.transport.plain = False
    assert not spliceable(source.transport, sink.transport)
    source.transport.plain = True
    sink.fill()
    # Those that wait come first.
    assert not spliceable(source.transport, sink.transport)
    sink.taken()
    assert spliceable(source.transport, sink.transport)
    source.close()
    assert not spliceable(source.transport, sink.transport)
    sink.close()


# the sink takes nothing any more


def sinkBreaks(joined, monkeypatch, at):
    """The C{at}-th write to the sink fails."""
    real, calls = os.splice, []
    sink = joined.sink.socket.fileno()

    def failing(source, target, size, **more):
        if target == sink:
            calls.append(size)
            if len(calls) > at:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return real(source, target, size, **more)

    monkeypatch.setattr(os, "splice", failing)


def test_theSinkBreaks(monkeypatch):
    """It is not lost by that: what its peer sent can still be read."""
    joined = Joined()
    sinkBreaks(joined, monkeypatch, 0)
    joined.source.peer.send(b"nowhere")
    joined.source.turn()
    assert joined.moved == 0
    assert not joined.sink.transport.writable
    joined.sink.peer.send(b"why")
    joined.sink.turn()
    assert joined.sink.protocol.data == b"why"
    assert joined.sink.protocol.lost == []
    joined.source.peer.send(b"read as ever")
    joined.source.turn()
    assert joined.source.protocol.data == b"read as ever"
    joined.close()


def test_theSinkBreaksWhileItTakesNothing(monkeypatch):
    joined = Joined()
    while not joined.flow.held:
        joined.source.peer.send(bytes(100_000))
        joined.source.turn()
    sinkBreaks(joined, monkeypatch, 0)
    joined.sink.peer.recv(1 << 20)
    joined.sink.turn()
    assert joined.source.transport.reading
    assert joined.sink.pump.getWriters() == []
    assert not joined.sink.transport.writable
    joined.close()


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ECONNRESET, ConnectionResetError), (errno.EIO, Exception)]
)
def test_theSourceBreaks(monkeypatch, code, kind):
    joined = Joined()

    def failing(*arguments, **more):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "splice", failing)
    joined.source.peer.send(b"x")
    joined.source.turn()
    [reason] = joined.source.protocol.lost
    assert isinstance(reason, kind)
    joined.splice.release()
    joined.sink.close()
    joined.source.peer.close()


def test_movedReleasesIt():
    """Whoever is told of the bytes may want no more of them."""
    joined = Joined()
    joined.splice._moved = lambda size: joined.splice.release()
    joined.source.peer.send(b"one")
    joined.source.turn()
    joined.source.peer.send(b"two")
    joined.source.turn()
    assert joined.source.protocol.data == b"two"
    assert joined.sink.taken() == b"one"
    joined.close()


@given(
    script=st.lists(st.one_of(st.just(0), st.integers(1, 50_000)), max_size=40),
    sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_whateverTheKernelTakes(script, sizes):
    """Each call moves as much as a script says, or nothing: all bytes arrive in order."""
    real, left = os.splice, iter(script)

    def scripted(source, target, size, **more):
        most = next(left, size)
        if not most:
            raise BlockingIOError(errno.EAGAIN, "not now")
        return real(source, target, min(size, most), **more)

    wanted = b"".join(bytes([n % 251]) * size for n, size in enumerate(sizes))
    joined = Joined(limit=len(wanted))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "splice", scripted)
        out, got = wanted + b"next", b""
        for _ in range(1000):
            if out:
                try:
                    out = out[joined.source.peer.send(out) :]
                except BlockingIOError:
                    pass
            got += joined.sink.taken()
            if joined.done and not out:
                break
        joined.source.turn()
        assert got == wanted
        assert (joined.done, joined.moved) == (1, len(wanted))
        assert joined.source.protocol.data == b"next"
    joined.close()
