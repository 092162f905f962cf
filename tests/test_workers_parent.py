"""
The parent of workers, without a process: who is started and who is killed, what each is told and
when, and what becomes of what they say. The workers here do what a test has them do.
"""

import errno
import os
import pickle
import socket

import attr
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from lbtwist.admin import mapping, sessions
from lbtwist.admin.verbs import Refused
from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.errors import StartError
from lbtwist.interfaces import IBalancer
from lbtwist.registry import Extension, installed
from lbtwist.testing.network import Pump
from lbtwist.workers import parent, place
from lbtwist.workers.channel import Channel, asJSON

CONFIG = """\
[global]
workers = 2
grace-period = 3s
[frontend www]
bind = unix:{directory}/www
pool = app
[pool app]
server a = 127.0.0.1:1
server b = 127.0.0.1:2
"""


class Process:
    """
    A process, and its end of the channel.

    @ivar silent: it does not say that it goes by what it is told.
    """

    silent = False

    def __init__(self, pump, protocol, descriptor, number):
        self.pid = number
        self.heard = []
        self.descriptors = []
        self._pump = pump
        self._protocol = protocol
        self._socket = socket.socket(fileno=descriptor)
        self.channel = Channel(
            self._socket, pump, self._received, lambda: None, asJSON, pickle.loads
        )
        self.hangs = self.ended = False

    def _received(self, name, values, descriptors):
        self.heard.append((name, *values))
        self.descriptors += descriptors
        if name == "configure" and not self.silent:
            self.channel.send("ready")

    def names(self):
        """What it has heard since it was asked last."""
        found, self.heard = [name for name, *_ in self.heard], []
        return found

    def hang(self):
        self._pump.removeReader(self.channel)

    def signalProcess(self, name):
        if self.ended:
            raise ProcessExitedAlready
        self.end(ProcessTerminated(signal=9))

    def end(self, reason=None):
        self.ended = True
        self.channel.close()
        for one in self.descriptors:
            os.close(one)
        self._protocol.processExited(Failure(reason or ProcessDone(0)))


class Group(Pump):
    """
    A reactor that starts processes.

    @ivar failing: why none can be started.
    """

    def __init__(self):
        super().__init__()
        self.started = []
        self.failing = None

    def spawnProcess(self, protocol, program, arguments, environment, childFDs):
        if self.failing is not None:
            raise self.failing
        number = len(self.started) + 1
        self.started.append(Process(self, protocol, os.dup(childFDs[3]), number))
        return self.started[-1]


class Running:
    """
    A balancer whose workers are L{Process}es.

    @ivar begun: how often it was said that it accepts.
    """

    def __init__(self, directory, text=CONFIG, registry=None):
        self.reactor = Group()
        registry = registry or installed()
        config, _ = loadText(text.format(directory=directory), registry)
        self.balancer = build(
            config, registry, reactor=self.reactor, seconds=self.reactor.seconds
        )
        self.begun = []
        self.balancer.accepting = lambda: self.begun.append(True)

    def start(self):
        self.balancer.startService()
        self.reactor.turn()
        return self.reactor.started

    def advance(self, seconds):
        self.reactor.advance(seconds)
        self.reactor.turn()

    def stop(self):
        self.balancer.stopService()
        self.balancer.abort()
        self.advance(place.MARGIN)


@pytest.fixture
def running(tmp_path):
    found = Running(tmp_path)
    yield found
    found.stop()
    assert not found.reactor.getDelayedCalls()


def test_itAcceptsWhenAllOfThemDo(running, monkeypatch):
    monkeypatch.setattr(Process, "_received", lambda *_: None)
    one, two = running.start()
    assert not running.begun
    one.channel.send("ready")
    running.reactor.turn()
    assert not running.begun
    two.channel.send("ready")
    two.channel.send("ready")
    running.reactor.turn()
    assert running.begun == [True]


def test_whoDiesIsReplaced(running):
    one, _ = running.start()
    running.advance(place.AT_ONCE)
    one.end(ProcessTerminated(signal=11))
    running.advance(0)
    assert len(running.reactor.started) == 3
    # At the start, later and later.
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        running.reactor.started[-1].end()
        before = len(running.reactor.started)
        running.advance(pause - 0.01)
        assert len(running.reactor.started) == before
        running.advance(0.02)
        assert len(running.reactor.started) == before + 1


def test_thereMayBeNoProcess(running):
    one, _ = running.start()
    running.reactor.failing = OSError(errno.EAGAIN, "no more processes")
    one.end()
    running.advance(1.0)
    running.advance(2.0)
    running.reactor.failing = None
    running.advance(4.0)
    assert len(running.reactor.started) == 3


def test_whoCannotBeginIsToldOfAndReplaced(running):
    said = []
    running.balancer.workers.refused = said.append
    one, _ = running.start()
    running.advance(10)
    one.end()
    running.advance(0)
    third = running.reactor.started[-1]
    third.channel.send("refused", "no key", True)
    running.reactor.turn()
    assert said == ["no key"]
    running.advance(5)
    third.end()
    # Not at once, though it has lived for long.
    running.advance(0.5)
    assert len(running.reactor.started) == 3
    running.advance(0.5)
    assert len(running.reactor.started) == 4


def test_whatWasSaidBeforeTheEndCounts(running):
    one, _ = running.start()
    one.channel.send("report", {"papp": {"exchanges": 7}}, {"p": [0, 7]})
    # It has ended before anybody has looked.
    one.channel.doWrite()
    one.end()
    assert running.balancer.pools["app"].traffic.exchanges == 7
    assert running.balancer.process.accepted == 7


def test_nobodyIsToldFasterThanHeHears(running):
    one, two = running.start()
    one.names(), two.names()
    one.hang()
    [app] = running.balancer.pools.values()
    for weight in range(1, 100):
        app.servers[0].capacity.weight = weight
        app.serversChanged()
        running.balancer.workers.configured()
        running.reactor.turn()
    assert two.names().count("configure") == 99
    channel = running.balancer.workers._workers[0].channel
    # All of it fits into the kernel's buffer, or waits here once.
    assert len(channel._waiting) <= 2
    running.reactor.addReader(one.channel)
    running.reactor.turn()
    last = [said for said in one.heard if said[0] in ("configure", "states")][-1]
    told = last[4] if last[0] == "configure" else last[1]
    assert told["app"]["a"].weight == 99


def test_manySockets(tmp_path):
    binds = "".join(f"\n  unix:{tmp_path}/{number}" for number in range(300))
    running = Running(tmp_path, CONFIG.replace("bind = unix:{directory}/www", f"bind ={binds}"))
    one, _ = running.start()
    try:
        assert one.names() == ["board", "sockets", "sockets", "configure"]
        assert len(one.descriptors) == 1 + 300
    finally:
        running.stop()


def test_whoHangsIsKilled(running):
    one, two = running.start()
    one.hang()
    for _ in range(parent.MOST_MISSED + 1):
        two.channel.send("report", {}, {"p": [0, 0]})
        running.reactor.turn()
        running.advance(parent.LOOK)
    assert (one.ended, two.ended) == (True, False)


def test_whoHangsAtTheEndIsKilled(running):
    one, two = running.start()
    ended = []
    running.balancer.stopService().addCallback(ended.append)
    running.reactor.turn()
    assert two.names()[-1] == "drain"
    two.end()
    running.advance(3 + place.MARGIN - 0.1)
    assert not ended
    running.advance(0.1)
    assert ended
    assert one.ended


def test_whatTheyHaveLostIsKnown(tmp_path):
    collector = CONFIG.replace("workers = 2", "workers = 2\notlp = http://127.0.0.1:9/v1/traces")
    running = Running(tmp_path, collector)
    one, two = running.start()
    assert (running.balancer.droppedLines, running.balancer.droppedSpans) == (0, 0)
    one.channel.send("report", {"l": [{"file:a": 3, "file:b": 1}, 2]}, {"p": [0, 0]})
    two.channel.send("report", {"l": [{"file:a": 4}, 0]}, {"p": [0, 0]})
    running.reactor.turn()
    assert running.balancer.droppedLinesBy == {"file:a": 7, "file:b": 1}
    assert (running.balancer.droppedLines, running.balancer.droppedSpans) == (8, 2)
    running.stop()


def test_whoIsAboutToEndIsToldNothingNew(running):
    one, _ = running.start()
    running.balancer.workers.stop(None)
    running.balancer.workers.configured()
    running.reactor.turn()
    assert one.names() == ["board", "sockets", "configure", "drain"]


def test_aSecondSignalWaitsForNobody(running):
    one, two = running.start()
    ended = []
    running.balancer.workers.stop(None).addCallback(ended.append)
    running.advance(3600)
    assert not ended
    running.balancer.abort()
    running.reactor.turn()
    assert one.names()[-1] == two.names()[-1] == "abort"
    running.advance(place.MARGIN)
    assert ended


@attr.frozen
class NotSent:
    """Options that pickle does not take."""

    key: object = attr.field(factory=lambda: lambda: None)


def test_whatCannotBeSentIsNotBegunWith(running):
    config = running.balancer.config
    pool = config.pools["app"]
    balance = attr.evolve(pool.balance, options=NotSent())
    wrong = attr.evolve(config, pools={"app": attr.evolve(pool, balance=balance)})
    running.start()
    before = running.balancer.config
    with pytest.raises(StartError, match="cannot be sent"):
        running.balancer.apply(wrong)
    assert running.balancer.config is before


def test_partsOfAProgramAreSentToo(tmp_path):
    mine = Extension(IBalancer, "mine", "somewhere.Mine")
    running = Running(tmp_path, registry=installed(mine))
    one, _ = running.start()
    registry = one.heard[-1][-1]
    assert registry.find(IBalancer, "mine").factory == "somewhere.Mine"
    assert {part.name for part in registry} == {part.name for part in installed(mine)}
    running.stop()


def test_partsOfTheMainProgramAreNotInWorkers(tmp_path):
    """What is called __main__ there is another program."""
    running = Running(tmp_path, registry=installed(Extension(IBalancer, "mine", "__main__.Mine")))
    with pytest.raises(StartError, match="'mine' is made by __main__"):
        running.balancer.privilegedStartService()
    running.balancer.stopService()


def test_objectsAreNotInWorkers(tmp_path):
    text = CONFIG.replace("server a = 127.0.0.1:1", "server a = object:site")
    running = Running(tmp_path, text)
    with pytest.raises(StartError, match="app/a is an object"):
        running.balancer.privilegedStartService()
    running.balancer.stopService()


def test_frontendsThatWereTakenAwayAreForgotten(running):
    one, _ = running.start()
    one.channel.send("report", {}, {"p": [1, 1], "fwww": 1})
    running.reactor.turn()
    [frontend] = running.balancer.frontends.values()
    del running.balancer.frontends["www"]
    running.balancer.retire(frontend)
    assert running.balancer.retired == [frontend]
    one.channel.send("report", {}, {"p": [0, 1]})
    running.reactor.turn()
    assert running.balancer.retired == []


def test_whatTheyLogIsInOneLog(running):
    one, _ = running.start()
    events = []
    globalLogPublisher.addObserver(events.append)
    one.channel.send("log", "warn", "lbtwist.ejecting.Ejecting", "a {is} ejected")
    running.reactor.turn()
    globalLogPublisher.removeObserver(events.append)
    [event] = events
    assert formatEvent(event) == "worker 0: a {is} ejected"
    assert event["log_level"].name == "warn"
    assert event["log_namespace"] == "lbtwist.ejecting.Ejecting"


def test_anAnswerIsOnlyForWhoHasAsked(running):
    one, _ = running.start()
    told = []
    kept = running.balancer.workers._kept
    kept.asked = lambda *asked: told.append(d := _Later()) or d
    one.channel.send("ask", 1, "get", "app", "k", 1.0)
    running.reactor.turn()
    running.advance(10)
    one.end()
    running.advance(0)
    third = running.reactor.started[-1]
    told[0].then("a")
    running.reactor.turn()
    assert "answer" not in third.names()


class _Later:
    """A Deferred that fires late."""

    def addCallbacks(self, then, failed):
        self.then = then


# what administrators have them do


def told(deferred):
    """@return: a list of what it fires with, or of nothing yet."""
    found = []
    deferred.addBoth(found.append)
    return found


def test_eachDoesWhatIsAsked(running):
    one, two = running.start()
    asked = running.balancer.workers.ask("end", 7)
    found = list(map(told, asked))
    running.reactor.turn()
    assert one.heard[-1] == ("do", 1, "end", 7)
    assert two.heard[-1] == ("do", 2, "end", 7)
    two.channel.send("done", 2, True)
    # Of another one nobody has asked this.
    two.channel.send("done", 1, True)
    running.reactor.turn()
    assert found == [[], [True]]
    one.end()
    assert found == [[None], [True]]


def test_whoDoesNotServeIsNotAsked(running, monkeypatch):
    monkeypatch.setattr(Process, "_received", lambda *_: None)
    one, _ = running.start()
    assert running.balancer.workers.ask("end", 7) == []
    one.channel.send("ready")
    running.reactor.turn()
    assert len(running.balancer.workers.ask("end", 7)) == 1


def test_whatIsOfNoUseAnyMoreIsLeft(running):
    one, two = running.start()
    for asked in running.balancer.workers.ask("explain", []):
        told(asked)
        asked.cancel()
    running.reactor.turn()
    assert one.heard[-1] == ("leave", 1)
    one.channel.send("done", 1, {"why": "too late"})
    running.reactor.turn()
    assert two.heard[-1] == ("leave", 2)


LISTED = CONFIG.replace(
    "pool = app", 'pool = app\nrequest = deny if path in one_of("{directory}/bad.lst")', 1
)


@pytest.fixture
def listed(tmp_path):
    """One that looks things up in a file."""
    (tmp_path / "bad.lst").write_text("/a\n")
    found = Running(tmp_path, LISTED)
    yield found
    found.stop()


def bad(running):
    [looked] = mapping.lookedIn(running.balancer).values()
    return looked


def test_whatIsChangedInAMapIsRepeated(listed):
    one, two = listed.start()
    mapping.change(listed.balancer, bad(listed), [("/b", "")])
    mapping.remove(listed.balancer, bad(listed), "/a")
    listed.reactor.turn()
    for process in (one, two):
        assert process.heard[-2:] == [
            ("do", number, "change", bad(listed).path, [(what, key, "")])
            for number, (what, key) in zip(
                (1, 3) if process is one else (2, 4), (("put", "/b"), ("drop", "/a")), strict=True
            )
        ]


def test_whoBeginsLaterIsToldHowItIs(listed):
    one, _ = listed.start()
    listed.advance(place.AT_ONCE)
    mapping.change(listed.balancer, bad(listed), [("/b", "")])
    one.end()
    listed.advance(0)
    third = listed.reactor.started[-1]
    listed.reactor.turn()
    assert third.heard[-2][0] == "configure"
    assert third.heard[-1][2:] == ("fill", bad(listed).path, False, {"/a": "", "/b": ""})
    # And of what is changed then as the others are.
    mapping.change(listed.balancer, bad(listed), [("/c", "")])
    listed.reactor.turn()
    assert third.heard[-1][2:] == ("change", bad(listed).path, [("put", "/c", "")])


def test_whoHasNotHeardOfTheFileYetIsToldAfterwards(listed):
    one, _ = listed.start()
    # It is told one, and has not taken it, when the next one counts.
    for _ in range(2):
        listed.balancer.workers.configured()
    mapping.change(listed.balancer, bad(listed), [("/b", "")])
    listed.reactor.turn()
    names = [said[2] if said[0] == "do" else said[0] for said in one.heard if said[0] != "sockets"]
    assert names[-4:] == ["configure", "change", "configure", "fill"]


# whether they go by it


def settled(running):
    return told(Deferred.fromCoroutine(running.balancer.settled()))


def test_allOfThemAreWaitedFor(running):
    one, two = running.start()
    assert settled(running) == [[]]
    one.silent = two.silent = True
    running.balancer.workers.configured()
    running.reactor.turn()
    found = settled(running)
    one.channel.send("ready")
    running.reactor.turn()
    assert found == []
    two.channel.send("refused", "no key", False)
    running.reactor.turn()
    assert found == [["worker 1 goes on with what it had: no key"]]
    # Until it goes by one again.
    assert settled(running) == found
    two.channel.send("ready")
    running.reactor.turn()
    assert settled(running) == [[]]


def test_whoCannotBeginIsNamed(running):
    one, _ = running.start()
    one.channel.send("refused", "no key", True)
    running.reactor.turn()
    one.end()
    assert settled(running) == [["worker 0 cannot go by the configuration: no key"]]
    running.advance(place.AT_ONCE)
    assert settled(running) == [[]]


def test_nobodyIsWaitedForForEver(running):
    one, two = running.start()
    two.silent = True
    running.balancer.workers.configured()
    running.reactor.turn()
    found = settled(running)
    running.advance(parent.PATIENCE)
    assert found == [[f"worker 1 has not taken it within {parent.PATIENCE:g} s"]]
    again = settled(running)
    two.end()
    assert again == [[]]


def test_whoSaysNothingIsToldOf(running):
    """What is shown is all there is, or nothing is."""
    one, _ = running.start()
    found = told(Deferred.fromCoroutine(sessions.allRunning(running.balancer)))
    one.channel.send("done", 1, [])
    running.advance(sessions.PATIENCE)
    [failure] = found
    assert str(failure.check(Refused) and failure.value).startswith("A worker has not answered")
