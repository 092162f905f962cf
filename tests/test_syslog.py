"""
Lines on their way to a syslog server that is slow, dies and comes back: each arrives, or is
counted.
"""

import os
import select
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from itertools import pairwise

import pytest
import trustme
from syslogs import Datagrams, Server, uncounted
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from lbtwist import syslog, sysloglinks
from lbtwist.config.model import ServerConfig
from lbtwist.discovery import Answer, NotResolved
from lbtwist.errors import StartError
from lbtwist.logs import Logs
from lbtwist.logwriter import BATCH, TICK
from lbtwist.syslog import FIRST_PAUSE, MOST_PAUSE, Place, SyslogWriter
from lbtwist.sysloglinks import Gone, Messages, Stream

TOTAL = 20_000


class Names:
    """What the DNS says, and how often it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def lookup(self, name):
        self.asked.append(name)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, Deferred) else answer and succeed(answer)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events():
    with capturedLogs() as events:
        yield events


def told(events):
    return [event["log_format"].format(**event) for event in events]


@contextmanager
def writing(clock, place, names=None, capacity=1 << 24):
    writer = SyslogWriter(clock, place, names or Names(), capacity)
    writer.open()
    try:
        yield writer
    finally:
        writer.close()
        assert clock.getDelayedCalls() == []


def until(clock, condition, seconds=TICK / 10):
    """Let time pass by the clock, and the kernel do what it does."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, condition
        clock.advance(seconds)
        select.select([], [], [], 0.0005)


def settle(clock, server):
    """Let time pass until nothing more is to be sent, and have the server read all of it."""
    until(clock, lambda: not server.reads() and not clock.getDelayedCalls())


def tcp(server, **others):
    return Place("tcp", "127.0.0.1", server.port, counted=True, **others)


def said(server):
    """@return: the messages that came, each connection by itself."""
    return [uncounted(data)[0] for data in server.data]


def flat(server):
    return [message for messages in said(server) for message in messages]


# over TCP


def test_linesAreWrittenOncePerTick(clock):
    server = Server()
    with writing(clock, tcp(server)) as writer:
        until(clock, lambda: server.reads() or server.connections)
        writer.write("one")
        writer.write("two")
        clock.advance(TICK / 2)
        assert not server.reads()
        until(clock, server.reads)
        assert server.data == [b"3 one3 two"]
        until(clock, lambda: not clock.getDelayedCalls())
    server.dies()


def test_aLongBatchGoesAtOnce(clock):
    server = Server()
    with writing(clock, tcp(server)) as writer:
        until(clock, lambda: server.reads() or server.connections)
        until(clock, lambda: not clock.getDelayedCalls())
        for _ in range(BATCH // 1000 + 1):
            writer.write("x" * 1000)
        assert select.select(server.connections, [], [], 10)[0]
    server.dies()


def test_newlines(clock):
    server = Server()
    with writing(clock, Place("tcp", "127.0.0.1", server.port)) as writer:
        writer.write("one")
        writer.write("two\nlines")
        until(clock, server.reads)
        assert server.data == [b"one\ntwo#012lines\n"]
    server.dies()


def test_aServerThatIsAwayKeepsNothingFromStarting(clock, events):
    server = Server()
    server.dies()
    place = tcp(server)
    with writing(clock, place) as writer:
        until(clock, lambda: events)
        assert told(events) == [
            f"log tcp:127.0.0.1:{place.port} cannot be written, lines are kept for now:"
            " Connection refused"
        ]
        writer.write("one")
        clock.advance(TICK)
        later = Server(place.port)
        until(clock, later.reads)
        assert flat(later) == [b"one"]
        until(clock, lambda: len(events) == 2)
        assert told(events)[1] == (
            f"log tcp:127.0.0.1:{place.port} is written again; 0 lines were dropped so far"
        )
        later.dies()


def test_thePausesGrow(clock, events, monkeypatch):
    server = Server()
    server.dies()
    attempts = []
    real = SyslogWriter._connect

    def connect(self, now):
        attempts.append(now)
        real(self, now)

    monkeypatch.setattr(SyslogWriter, "_connect", connect)
    with writing(clock, tcp(server)) as writer:
        writer.write("one")
        until(clock, lambda: len(attempts) == 8, 0.05)
    pauses = [round(b - a, 1) for a, b in pairwise(attempts)]
    assert pauses == sorted(pauses)
    assert FIRST_PAUSE <= pauses[0] < 1.1 and pauses[3] > 3
    assert MOST_PAUSE <= pauses[-1] < MOST_PAUSE + 0.2
    assert len(events) == 2


def test_whoStopsReadingLosesNothingUpToTheBound(clock, events):
    """What is beyond it is counted, and told once when it begins and once when it ends."""
    server = Server(buffer=4096)
    with writing(clock, tcp(server), capacity=BATCH) as writer:
        until(clock, lambda: server.accepts() or server.connections)
        for number in range(TOTAL):
            writer.write(f"{number:0200d}")
            if number % 100 == 0:
                clock.advance(TICK / 10)
        assert writer.dropped
        settle(clock, server)
        numbers = [int(one) for one in flat(server)]
        assert len(numbers) + writer.dropped == TOTAL
        assert numbers == sorted(set(numbers))
        assert told(events) == [
            f"log {writer.name} takes nothing more: lines are dropped",
            f"log {writer.name} is written again; {writer.dropped} lines were dropped so far",
        ]
    server.dies()


def test_aServerThatDiesAndComesBack(clock):
    """
    What it has read, and what it was given afterwards, is everything: the kernel knows what
    its machine has never acknowledged.
    """
    server = Server()
    place = tcp(server)
    with writing(clock, place) as writer:
        for number in range(500):
            writer.write(f"{number:0100d}")
        settle(clock, server)
        assert len(flat(server)) == 500
        server.dies()
        for number in range(500, 900):
            writer.write(f"{number:0100d}")
            clock.advance(TICK / 10)
        later = Server(place.port)
        settle(clock, later)
        assert [int(one) for one in flat(server) + flat(later)] == list(range(900))
        assert writer.dropped == 0
    later.dies()


def test_whatWasSentIntoAClosedConnectionIsSentAgain(clock, monkeypatch):
    """It was closed after the last look at it: nobody acknowledges what comes then."""
    server = Server()
    with writing(clock, tcp(server)) as writer:
        until(clock, lambda: server.accepts() or server.connections)
        until(clock, lambda: not clock.getDelayedCalls())
        server.hangsUp()
        with monkeypatch.context() as patch:
            patch.setattr(Stream, "_hear", lambda self: None)
            writer.write("one")
            writer.flush()
        assert writer._link.unknown
        until(clock, lambda: server.reads() and flat(server))
        assert flat(server) == [b"one"]
    server.dies()


def test_anIdleConnectionThatWasClosedIsNoFailure(clock, events):
    server = Server()
    with writing(clock, tcp(server)) as writer:
        for line in ("one", "two", "three"):
            writer.write(line)
            settle(clock, server)
            server.hangsUp()
        assert said(server) == [[b"one"], [b"two"], [b"three"]]
    assert events == []
    server.dies()


def test_aServerThatClosesEveryConnectionIsOneThatIsAway(clock, events, monkeypatch):
    """As one that has no room for more: it accepts, and closes before anything is sent."""
    attempts = []

    def closed(self, queue):
        attempts.append(clock.seconds())
        raise Gone()

    monkeypatch.setattr(Stream, "send", closed)
    server = Server()
    with writing(clock, tcp(server)) as writer:
        writer.write("one")
        for _ in range(200):
            clock.advance(TICK)
        assert 3 < len(attempts) < 9
        assert told(events) == [
            f"log {writer.name} cannot be written, lines are kept for now:"
            " the server has closed the connection"
        ]
    assert writer.dropped == 1
    server.dies()


def test_aMessageThatWasSentInPartIsWholeInTheNextConnection(clock):
    server = Server(buffer=4096)
    place = tcp(server, longest=65000)
    with writing(clock, place) as writer:
        until(clock, lambda: server.accepts() or server.connections)
        for number in range(200):
            writer.write(f"{number:03d}{'x' * 59997}")
            clock.advance(TICK)
        server.dies()
        later = Server(place.port)
        settle(clock, later)
        found = flat(later)
        numbers = [int(one[:3]) for one in found]
        # Of the first the old server's machine had taken a part only.
        assert numbers == list(range(200))
        assert set(map(len, found)) == {60000}
        # What the machine of the first has acknowledged, and it has not read, nobody knows.
        assert writer.dropped == 0
    later.dies()


def test_whatWasReadComesOnlyOnce(clock):
    """The kernel says how much has arrived, also while there is always more on its way."""
    server = Server(buffer=4096)
    place = tcp(server)
    with writing(clock, place) as writer:
        until(clock, lambda: server.accepts() or server.connections)
        for number in range(9000):
            writer.write(f"{number:01000d}")
        clock.advance(TICK)
        for _ in range(50):
            until(clock, lambda: server.reads(20_000))
            clock.advance(TICK / 10)
        read = [int(one) for one in flat(server)]
        assert read == list(range(read[-1] + 1)) and len(read) < 9000
        assert writer._link.unknown
        server.dies()
        later = Server(place.port)
        settle(clock, later)
        again = [int(one) for one in flat(later)]
        assert again == list(range(again[0], 9000))
        assert again[0] > read[-1]
        assert writer.dropped == 0
    later.dies()


def test_closeSendsWhatItCan(clock):
    server = Server()
    with writing(clock, tcp(server)) as writer:
        writer.write("one")
    server.reads()
    assert flat(server) == [b"one"] and writer.dropped == 0
    server.dies()


def test_closeWaitsForNobodyLong(clock, events, monkeypatch):
    monkeypatch.setattr(syslog, "LAST", 0.05)
    server = Server(buffer=4096)
    with writing(clock, tcp(server)) as writer:
        until(clock, lambda: server.accepts() or server.connections)
        for number in range(TOTAL):
            writer.write(f"{number:0200d}")
    while server.reads():
        pass
    assert writer.dropped and len(flat(server)) + writer.dropped == TOTAL
    assert told(events) == [
        f"log {writer.name} was closed; {writer.dropped} lines were dropped so far"
    ]
    server.dies()


def test_whatServersSayIsThrownAway(clock):
    server = Server()
    with writing(clock, tcp(server)) as writer:
        until(clock, lambda: server.accepts() or server.connections)
        server.connections[0].sendall(b"x" * 200_000)
        writer.write("one")
        until(clock, server.reads)
        assert flat(server) == [b"one"]
    server.dies()


def test_nobodyAnswers(clock, events):
    """A connection that takes too long: here the server's queue is full."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(3):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        waiting.append(one)
    with writing(clock, Place("tcp", "127.0.0.1", full.getsockname()[1])) as writer:
        writer.write("one")
        for _ in range(200):
            clock.advance(TICK)
        assert told(events)[0].endswith("lines are kept for now: no connection after 10 s")
    assert writer.dropped == 1
    for one in (*waiting, full):
        one.close()


# names


def test_aNameIsLookedUp(clock):
    server = Server()
    names = Names(Answer(("127.0.0.1",), 60.0))
    with writing(clock, Place("tcp", "logs.test", server.port), names) as writer:
        writer.write("one")
        until(clock, server.reads)
        assert names.asked == ["logs.test"]
        assert writer.name == f"tcp:logs.test:{server.port}"
    server.dies()


def test_aNameThatHasNoAddress(clock, events):
    names = Names(fail(NotResolved("no name server answers")), Answer(("127.0.0.1",), 60.0))
    server = Server()
    with writing(clock, Place("tcp", "logs.test", server.port), names) as writer:
        writer.write("one")
        until(clock, server.reads)
        assert told(events)[0].endswith(": logs.test: no name server answers")
        assert len(names.asked) == 2
    server.dies()


def test_aNameThatHasNoAddressAnyMore(clock):
    """Where it was is still good."""
    server = Datagrams()
    names = Names(Answer(("127.0.0.1",), 60.0), fail(NotResolved("no name server answers")))
    with writing(clock, Place("udp", "logs.test", server.port), names) as writer:
        clock.advance(61)
        writer.write("one")
        until(clock, lambda: not clock.getDelayedCalls())
        assert server.reads() == [b"one"] and len(names.asked) == 2
    server.dies()


def test_aFileOfTLSThatIsNotGoodAnyMore(clock, authority, tmp_path, events):
    """What was read before is used."""
    server = TLSServer(authority.issue_cert("127.0.0.1"))
    with writing(clock, believing(server.port, authority, tmp_path)) as writer:
        writer.write("one")
        until(clock, lambda: flat(server) == [b"one"] and not clock.getDelayedCalls())
        (tmp_path / "ca.pem").write_text("broken")
        writer.reopen()
        writer.write("two")
        until(clock, lambda: flat(server) == [b"one", b"two"])
        assert "kept what was read before" in told(events)[0]
    server.dies()


def test_aServerForDatagramsMoves(clock):
    old, new = Datagrams(), None
    names = Names(Answer(("127.0.0.1",), 60.0), Answer(("127.0.0.2",), 60.0))
    new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    new.bind(("127.0.0.2", old.port))
    with writing(clock, Place("udp", "logs.test", old.port), names) as writer:
        writer.write("one")
        until(clock, lambda: not clock.getDelayedCalls())
        assert old.reads() == [b"one"]
        clock.advance(61)
        writer.write("two")
        until(clock, lambda: not clock.getDelayedCalls())
        assert old.reads() == [] and new.recv(99) == b"two"
    old.dies()
    new.close()


def test_closeGivesALookupUp(clock):
    waiting = Deferred(lambda one: one.errback(NotResolved("given up")))
    with writing(clock, Place("udp", "logs.test", 514), Names(waiting)) as writer:
        writer.write("one")
        clock.advance(TICK)
    assert writer.dropped == 1 and waiting.called


# datagrams


def test_overUDP(clock):
    server = Datagrams()
    with writing(clock, Place("udp", "127.0.0.1", server.port)) as writer:
        for number in range(20):
            writer.write(f"line {number}")
        until(clock, lambda: not clock.getDelayedCalls())
        assert server.reads() == [b"line %d" % number for number in range(20)]
        assert writer.dropped == 0
    server.dies()


def test_refusedOverUDP(clock, events):
    """On one machine each datagram that nobody has taken is known, and all others wait."""
    server = Datagrams()
    server.dies()
    place = Place("udp", "127.0.0.1", server.port)
    with writing(clock, place) as writer:
        for number in range(50):
            writer.write(f"{number}")
            clock.advance(TICK)
        assert 0 < writer.dropped < 10
        later = Datagrams(place.port)
        found = []
        until(clock, lambda: found.extend(later.reads()) or not clock.getDelayedCalls())
        assert len(found) + writer.dropped == 50
        assert [int(one) for one in found] == list(range(writer.dropped, 50))
        assert told(events) == [
            f"log {writer.name} takes nothing more: lines are dropped",
            f"log {writer.name} cannot be written, lines are kept for now: Connection refused",
            f"log {writer.name} is written again; {writer.dropped} lines were dropped so far",
        ]
        later.dies()


def test_theFirstDatagramGoesAlone():
    """From far away the refusal takes its time: the others wait for that."""
    server = Datagrams()
    link = sysloglinks.Datagrams(socket.AF_INET, ("127.0.0.1", server.port))
    queue = Messages()
    queue.add([b"one", b"two", b"three"])
    link.send(queue)
    assert server.reads() == [b"one"] and link.unknown
    link.send(queue)
    assert server.reads() == [b"two", b"three"]
    link.close()
    server.dies()


def test_aServerForDatagramsDiesAndComesBack(clock):
    server = Datagrams()
    place = Place("udp", "127.0.0.1", server.port)
    found = []
    with writing(clock, place) as writer:
        for number in range(100):
            if number == 30:
                found += server.reads()
                server.dies()
            if number == 70:
                server = Datagrams(place.port)
            writer.write(f"{number}")
            clock.advance(TICK)
        until(clock, lambda: found.extend(server.reads()) or not clock.getDelayedCalls())
        assert len(found) + writer.dropped == 100
        assert writer.dropped >= 1
    server.dies()


def test_aLineThatNoDatagramHolds(clock, events):
    server = Datagrams()
    with writing(clock, Place("udp", "127.0.0.1", server.port, longest=70000)) as writer:
        writer.write("x" * 70000)
        writer.write("short")
        until(clock, lambda: not clock.getDelayedCalls())
        assert server.reads() == [b"short"]
        assert writer.dropped == 1
    server.dies()


# UNIX sockets


def test_devLog(clock, tmp_path):
    path = str(tmp_path / "log")
    server = Datagrams(path=path)
    with writing(clock, Place("unix", path=path)) as writer:
        writer.write("one")
        until(clock, lambda: not clock.getDelayedCalls())
        assert server.reads() == [b"one"]
        assert writer.name == f"unix:{path}"
    server.dies()


def test_devLogIsFull(clock, tmp_path):
    """The kernel keeps a few datagrams only; what it does not take waits."""
    path = str(tmp_path / "log")
    server = Datagrams(path=path)
    found = []
    with writing(clock, Place("unix", path=path)) as writer:
        for number in range(3000):
            writer.write(f"{number}")
        clock.advance(TICK)
        until(clock, lambda: found.extend(server.reads()) or not clock.getDelayedCalls())
        assert [int(one) for one in found] == list(range(3000))
        assert writer.dropped == 0
    server.dies()


def test_devLogIsMadeAnew(clock, tmp_path, events):
    """As when syslogd is started again."""
    path = str(tmp_path / "log")
    server = Datagrams(path=path)
    with writing(clock, Place("unix", path=path)) as writer:
        writer.write("one")
        until(clock, lambda: not clock.getDelayedCalls())
        assert server.reads() == [b"one"]
        server.dies()
        os.unlink(path)
        writer.write("two")
        clock.advance(1)
        server = Datagrams(path=path)
        until(clock, lambda: not clock.getDelayedCalls())
        assert server.reads() == [b"two"]
        assert writer.dropped == 0
    assert len(events) == 2
    server.dies()


def test_aStreamOfUNIX(clock, tmp_path):
    path = str(tmp_path / "log")
    server = Server(path=path)
    with writing(clock, Place("unix", path=path)) as writer:
        writer.write("one")
        until(clock, server.reads)
        assert server.data == [b"one\n"]
        until(clock, lambda: not clock.getDelayedCalls())
    server.dies()


def test_whatAServerOnThisMachineHasNotReadIsSentAgain(clock, tmp_path):
    path = str(tmp_path / "log")
    server = Server(path=path)
    with writing(clock, Place("unix", path=path)) as writer:
        writer.write("one")
        until(clock, lambda: server.accepts() or server.connections)
        until(clock, lambda: writer._link.unknown)
        server.dies()
        os.unlink(path)
        later = Server(path=path)
        until(clock, later.reads)
        assert later.data == [b"one\n"]
        assert writer.dropped == 0
    later.dies()


# over TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


class TLSServer(threading.Thread):
    """Takes one connection after the other, each to its end, and remembers what came."""

    def __init__(self, certificate, port=0):
        super().__init__(daemon=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._listening = socket.create_server(("127.0.0.1", port))
        self._listening.settimeout(20)
        self.port = self._listening.getsockname()[1]
        self.data = []
        self.current = None
        self.start()

    def run(self):
        with suppress(OSError):
            while True:
                skt = self._listening.accept()[0]
                with suppress(OSError):
                    self._talk(skt)
                skt.close()

    def _talk(self, skt):
        with self._context.wrap_socket(skt, server_side=True) as self.current:
            self.data.append(b"")
            while data := self.current.recv(65536):
                self.data[-1] += data

    def dies(self):
        """End at once, without a word."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        if self.current is not None:
            with suppress(OSError):
                self.current.shutdown(socket.SHUT_RDWR)
        self.join(20)


def believing(port, authority, tmp_path, name="127.0.0.1"):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    tls = ServerConfig("of a log", "tcp", "127.0.0.1", port, tls=True, sni=name, ca=str(path))
    return Place("tls", "127.0.0.1", port, counted=True, tls=tls)


def test_overTLS(clock, authority, tmp_path):
    server = TLSServer(authority.issue_cert("127.0.0.1"))
    with writing(clock, believing(server.port, authority, tmp_path)) as writer:
        for number in range(2000):
            writer.write(f"{number:0100d}")
        until(clock, lambda: len(flat(server)) == 2000)
        until(clock, lambda: not clock.getDelayedCalls())
        assert [int(one) for one in flat(server)] == list(range(2000))
        assert writer.name == f"tls:127.0.0.1:{server.port}"
    server.dies()


def test_aServerWithTLSDiesAndComesBack(clock, authority, tmp_path):
    certificate = authority.issue_cert("127.0.0.1")
    server = TLSServer(certificate)
    place = believing(server.port, authority, tmp_path)
    with writing(clock, place) as writer:
        writer.write("one")
        until(clock, lambda: flat(server) == [b"one"] and not clock.getDelayedCalls())
        server.dies()
        writer.write("two")
        clock.advance(TICK)
        later = TLSServer(certificate, place.port)
        until(clock, lambda: flat(later) == [b"two"])
        assert writer.dropped == 0
        until(clock, lambda: not clock.getDelayedCalls())
    later.dies()


def test_aServerWithAnotherName(clock, authority, tmp_path, events):
    server = TLSServer(authority.issue_cert("other.test"))
    with writing(clock, believing(server.port, authority, tmp_path, "logs.test")) as writer:
        writer.write("one")
        until(clock, lambda: events)
        assert told(events) == [
            f"log {writer.name} cannot be written, lines are kept for now:"
            " wrong name: the certificate is for other.test, not for logs.test"
        ]
    assert writer.dropped == 1
    assert server.data == []
    server.dies()


def test_aServerWithoutTLS(clock, authority, tmp_path, events):
    server = Server()
    with writing(clock, believing(server.port, authority, tmp_path)) as writer:
        writer.write("one")
        until(clock, lambda: server.accepts() or server.connections)
        server.connections[0].sendall(b"what?\n" * 9)
        until(clock, lambda: events)
        assert "wrong version number" in told(events)[0]
    server.dies()


# the same for all


def test_oneWriterForAPlace(clock):
    logs = Logs(clock)
    place = Place("udp", "127.0.0.1", 514)
    one = logs.one(SyslogWriter(clock, place, Names()))
    assert logs.one(SyslogWriter(clock, Place("udp", "127.0.0.1", 514), Names())) is one
    assert logs.one(SyslogWriter(clock, Place("udp", "127.0.0.1", 515), Names())) is not one
    assert one == SyslogWriter(clock, place, Names()) and hash(one) == hash(
        SyslogWriter(clock, place, Names())
    )
    assert one != logs.writer("/tmp/x")


def test_aRetiredWriterWritesWhatIsLate(clock):
    """Exchanges that began before a reload end after it."""
    server = Server()
    logs = Logs(clock)
    writer = logs.one(SyslogWriter(clock, tcp(server), Names()))
    logs.open()
    logs.keepOnly([])
    until(clock, lambda: not clock.getDelayedCalls())
    server.reads()
    writer.write("late")
    settle(clock, server)
    assert flat(server) == [b"late"]
    assert writer._link is None
    assert logs.one(SyslogWriter(clock, tcp(server), Names())) is writer
    logs.close()
    server.dies()


def test_reopenConnectsAnew(clock, events):
    server = Server()
    place = tcp(server)
    server.dies()
    with writing(clock, place) as writer:
        until(clock, lambda: events)
        later = Server(place.port)
        writer.reopen()
        until(clock, lambda: later.reads() or later.connections)
        writer.write("one")
        until(clock, later.reads)
        writer.reopen()
        writer.write("two")
        settle(clock, later)
        assert said(later) == [[b"one"], [b"two"]]
    later.dies()


def test_nothingIsTakenBeforeTheOpenAndAfterTheClose(clock, events):
    writer = SyslogWriter(clock, Place("udp", "127.0.0.1", 9), Names())
    writer.write("early")
    writer.flush()
    writer.reopen()
    writer.close()
    assert writer.dropped == 1
    assert repr(writer) == "<SyslogWriter udp:127.0.0.1:9 dropped=1>"


def test_aFileOfTLSThatIsNotThere(clock):
    tls = ServerConfig("log", "tcp", "127.0.0.1", 6514, tls=True, ca="/nowhere.pem")
    with pytest.raises(StartError, match="/nowhere"):
        SyslogWriter(clock, Place("tls", "127.0.0.1", 6514, tls=tls), Names()).open()
