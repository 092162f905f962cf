"""
A tunnel between two transports: bytes, ends, losses and timeouts, and what goes
through the kernel. Whole sessions are conversations: tests/dialogues.
"""

import errno
import os

import pytest
from streams import Stream, tcpPair, unixPair
from twisted.python.failure import Failure

from lbtwist.config.model import FrontendConfig, PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Cause, Stage
from lbtwist.net import splice
from lbtwist.testing import Pump, fakeExchange, makeServers
from lbtwist.tunnel import Side, Timeouts, Tunnel

MUCH = 3 << 20


class Joined:
    """
    A client, a server, and the tunnel between them.

    @ivar finished: the exchange, whenever it ended.
    @ivar ended: how often the tunnel said that nothing is left.
    """

    def __init__(self, pair=unixPair, early=(b"", b""), before=None, behind=Side, **timeouts):
        """@param behind: makes the server's side of its transport."""
        self.pump = Pump()
        self.deadlines = Deadlines(self.pump, self.pump.seconds)
        self.client = Stream(pair, pump=self.pump)
        self.server = Stream(pair, pump=self.pump)
        self.finished = []
        self.ended = 0
        self.exchange = fakeExchange(None)
        self.exchange.observers = (self.finished.append,)
        [self.exchange.server] = makeServers(1)
        self.sessions = self.exchange.server.sessions
        limits = {"client": 0, "server": 0, "tunnel": 0, "clientFin": 0, "serverFin": 0}
        if before is not None:
            before(self)
        self.tunnel = Tunnel(
            self.exchange, Side(self.client.transport), behind(self.server.transport),
            self.deadlines, Timeouts(**{**limits, **timeouts}), self.end,
        )  # fmt: skip
        self.tunnel.start(*early)

    def end(self):
        assert self.finished
        self.ended += 1

    @property
    def sides(self):
        return ((self.client, self.server), (self.server, self.client))

    def isOver(self, cause, stage):
        """It is, and nothing is left of it."""
        assert (self.ended, len(self.finished)) == (1, 1)
        assert (self.exchange.cause, self.exchange.stage) == (cause, stage)
        assert self.sessions == set()
        assert len(self.deadlines) == 0
        assert not self.pump.removeAll()
        self.deadlines.stop()
        self.client.peer.close()
        self.server.peer.close()
        self.pump.turn()
        assert self.ended == 1

    def close(self):
        self.tunnel.abortSession(Cause.KILLED)
        self.isOver(Cause.KILLED, Stage.DATA)


@pytest.fixture(params=[unixPair, tcpPair], ids=["unix", "tcp"])
def pair(request):
    return request.param


@pytest.fixture(autouse=True)
def nothingIsLeft():
    before = descriptors()
    yield
    assert descriptors() == before


def descriptors():
    """But for the pipes that are kept."""
    return len(os.listdir("/proc/self/fd")) - 2 * len(splice._spare)


def pours(stream, size, into):
    """
    A peer sends as long as anybody takes it.

    @return: what came out at the other side.
    """
    data = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    got = []
    while data:
        try:
            data = data[stream.peer.send(data) :]
        except BlockingIOError:
            got.append(into.taken())
        stream.turn()
    got.append(into.taken())
    return b"".join(got)


# bytes


def test_bothWays(pair):
    joined = Joined(pair)
    for one, other in joined.sides:
        one.peer.send(b"hello")
        assert other.taken() == b"hello"
    assert repr(joined.tunnel) == "<Tunnel 5 in 5 out open>"
    assert joined.sessions == {joined.tunnel}
    joined.close()
    assert (joined.exchange.bytesIn, joined.exchange.bytesOut) == (5, 5)


def test_whatWasReadBefore():
    """Of either side; counted as the rest is."""
    joined = Joined(early=(b"from the client", b"from the server"))
    assert joined.server.taken() == b"from the client"
    assert joined.client.taken() == b"from the server"
    joined.client.peer.send(b", more")
    assert joined.server.taken() == b", more"
    joined.close()
    assert (joined.exchange.bytesIn, joined.exchange.bytesOut) == (21, 15)


def test_muchBothWays():
    """Through the kernel, and every byte counts."""
    joined = Joined(tcpPair)
    for one, other in joined.sides:
        got = pours(one, MUCH, other)
        assert len(got) == MUCH
        assert got == (b"0123456789abcde\n" * (MUCH // 16))
    assert joined.tunnel.client._splice is not None
    assert joined.tunnel.server._splice is not None
    joined.close()
    assert (joined.exchange.bytesIn, joined.exchange.bytesOut) == (MUCH, MUCH)


def test_littleIsCopied():
    """A pipe would cost more."""
    joined = Joined()
    for _ in range(20):
        joined.client.peer.send(bytes(10_000))
        joined.server.taken()
    assert joined.tunnel.client._splice is None
    joined.close()


def test_noDescriptorIsLeftForAPipe(monkeypatch):
    """Then it is copied."""

    def none(flags):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe2", none)
    monkeypatch.setattr(splice, "_spare", [])
    joined = Joined()
    assert len(pours(joined.client, MUCH, joined.server)) == MUCH
    assert joined.tunnel.client._splice is None
    joined.close()


def test_whatIsNotTakenIsNotRead(pair):
    """A tunnel holds little, however much one side sends."""
    joined = Joined(pair)
    for one, other in joined.sides:
        sent = 0
        while True:
            try:
                sent += one.peer.send(bytes(100_000))
            except BlockingIOError:
                joined.pump.turn()
                if not one.transport.reading:
                    break
            joined.pump.turn()
        assert other.transport.unsent < 300_000
        assert len(other.taken()) == sent
        assert one.transport.reading
    joined.close()


# ends


def test_oneSideEnds(pair):
    """The other is told, and may go on."""
    for at in (0, 1):
        joined = Joined(pair)
        one, other = joined.sides[at]
        one.peer.send(b"last")
        one.peer.shutdown(1)
        assert other.taken() == b"last"
        assert other.peerSeesEnd()
        other.peer.send(b"answer")
        assert one.taken() == b"answer"
        assert joined.ended == 0
        other.peer.shutdown(1)
        joined.pump.turn()
        assert one.peerSeesEnd()
        joined.isOver(Cause.DONE, Stage.DONE)


def test_bothEndWithMuchOnItsWay():
    """All of it is delivered before the connections are closed."""
    joined = Joined()
    size = 0
    while joined.client.transport.reading:
        size += joined.client.peer.send(bytes(100_000))
        joined.pump.turn()
    joined.client.peer.shutdown(1)
    joined.server.peer.shutdown(1)
    joined.pump.turn()
    assert joined.ended == 0
    assert len(joined.server.taken()) == size
    assert joined.server.peerSeesEnd()
    joined.isOver(Cause.DONE, Stage.DONE)


def test_endedBeforeItBegan():
    """A client that said all it had to say while its server was connected."""

    def before(joined):
        joined.client.peer.shutdown(1)
        joined.pump.turn()

    joined = Joined(before=before, early=(b"", b""))
    joined.tunnel.client.ended = True
    joined.tunnel.sideEnded(joined.tunnel.client)
    joined.pump.turn()
    assert joined.server.peerSeesEnd()
    joined.server.peer.send(b"answer")
    assert joined.client.taken() == b"answer"
    joined.server.peer.close()
    joined.pump.turn()
    joined.isOver(Cause.DONE, Stage.DONE)


# losses


def lose(stream, reason):
    """A connection is lost, as a reactor says it."""
    stream.transport.connectionLost(Failure(reason))
    stream.turn()


@pytest.mark.parametrize("at, cause", [(0, Cause.CLIENT), (1, Cause.SERVER)])
def test_oneSideIsReset(at, cause):
    """The other is reset as well, and the log says whose fault it was."""
    joined = Joined(tcpPair)
    one, other = joined.sides[at]
    other.peer.send(b"x")
    joined.pump.turn()
    lose(one, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    with pytest.raises(ConnectionResetError):
        other.peer.recv(100)
    assert "reset by peer" in joined.exchange.reason
    joined.isOver(cause, Stage.DATA)


@pytest.mark.parametrize("at, cause", [(0, Cause.CLIENT), (1, Cause.SERVER)])
def test_oneSideIsLostInTheMiddleOfMuch(at, cause):
    """What is on its way goes nowhere; no pipe is left."""
    joined = Joined()
    one, other = joined.sides[at]
    while one.transport.reading:
        one.peer.send(bytes(100_000))
        joined.pump.turn()
    lose(one, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    joined.isOver(cause, Stage.DATA)


@pytest.mark.parametrize("at", [0, 1])
def test_theOneWhoTakesIsLost(at):
    joined = Joined()
    one, other = joined.sides[at]
    while one.transport.reading:
        one.peer.send(bytes(100_000))
        joined.pump.turn()
    lose(other, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    joined.isOver((Cause.SERVER, Cause.CLIENT)[at], Stage.DATA)


def test_abortSession():
    """A server was marked down, or an administrator said so."""
    joined = Joined(tcpPair)
    joined.tunnel.abortSession(Cause.DOWN)
    for one, _ in joined.sides:
        with pytest.raises(ConnectionResetError):
            one.peer.recv(100)
    joined.isOver(Cause.DOWN, Stage.DATA)


# timeouts


@pytest.mark.parametrize(
    "timeouts, ended, wanted",
    [
        ((5, 7, 0, 0, 0), (False, False), (5, Cause.CLIENT_TIMEOUT)),
        ((7, 5, 0, 0, 0), (False, False), (5, Cause.SERVER_TIMEOUT)),
        ((5, 5, 0, 0, 0), (False, False), (5, Cause.CLIENT_TIMEOUT)),
        ((0, 5, 0, 0, 0), (False, False), (5, Cause.SERVER_TIMEOUT)),
        ((5, 0, 0, 0, 0), (False, False), (5, Cause.CLIENT_TIMEOUT)),
        ((5, 7, 60, 1, 1), (False, False), (60, Cause.CLIENT_TIMEOUT)),
        ((5, 7, 60, 2, 3), (True, False), (2, Cause.CLIENT_TIMEOUT)),
        ((5, 7, 60, 2, 3), (False, True), (3, Cause.SERVER_TIMEOUT)),
        ((5, 7, 60, 2, 3), (True, True), (2, Cause.CLIENT_TIMEOUT)),
        ((5, 7, 0, 0, 0), (True, True), (5, Cause.CLIENT_TIMEOUT)),
        ((5, 7, 0, 9, 0), (True, False), (7, Cause.SERVER_TIMEOUT)),
    ],
)
def test_whichTimeoutCounts(timeouts, ended, wanted):
    assert Timeouts(*timeouts).limit(*ended) == wanted


def test_noTimeout():
    assert Timeouts(0, 0, 0, 0, 0).limit(False, False)[0] == 0
    joined = Joined()
    joined.pump.advance(1e6)
    assert joined.ended == 0
    joined.close()


def test_whereTheyAreWritten():
    frontend = FrontendConfig("www", timeout_client=1.0, timeout_client_fin=2.0)
    pool = PoolConfig(
        "app", timeout_server=3.0, timeout_server_fin=4.0, timeout_tunnel=5.0
    )
    assert Timeouts.of(frontend, pool) == Timeouts(1.0, 3.0, 5.0, 2.0, 4.0)


def test_silence():
    joined = Joined(client=10, server=20)
    joined.pump.advance(9.9)
    assert joined.ended == 0
    joined.pump.advance(0.2)
    joined.isOver(Cause.CLIENT_TIMEOUT, Stage.DATA)


@pytest.mark.parametrize("size", [10, 400_000])
def test_bytesAreNoSilence(size):
    """
    However they are passed on. What waited and went later is noticed late, so that
    it may last a second time.
    """
    joined = Joined(client=10, server=10)
    for one, other in joined.sides * 3:
        joined.pump.advance(9)
        assert len(pours(one, size, other)) == size
    joined.pump.advance(9.9)
    assert joined.ended == 0
    joined.pump.advance(0.2)
    if size > 10:
        joined.pump.advance(10.1)
    joined.isOver(Cause.CLIENT_TIMEOUT, Stage.DATA)


def test_whoTakesSlowlyIsNotSilent():
    """Nothing new is read, but what waits becomes less."""
    joined = Joined(client=10, server=10)
    joined.server.transport.write(bytes(4 << 20))
    left = 4 << 20
    for _ in range(20):
        left -= len(joined.server.taken(100_000))
        joined.pump.advance(6)
        assert joined.ended == 0
    assert left > 0
    for _ in range(3):
        joined.pump.advance(6)
    joined.isOver(Cause.CLIENT_TIMEOUT, Stage.DATA)


def test_theFinCountsFromTheEnd():
    joined = Joined(client=100, server=100, clientFin=5)
    joined.pump.advance(50)
    joined.client.peer.shutdown(1)
    joined.pump.turn()
    joined.pump.advance(4.9)
    assert joined.ended == 0
    joined.pump.advance(0.2)
    joined.isOver(Cause.CLIENT_TIMEOUT, Stage.DATA)
