"""
What a process does when it is told something by a signal, besides to end: see test_tap.py. What
becomes of a whole process is seen in tests/loopback/test_signalled.py.
"""

import signal
from types import SimpleNamespace

import pytest
from renewed import Reloaded
from signalling import TAKEN, Running, answersKept
from twisted import internet
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.logfile import LogFile

from lbtwist.renewing import NotNow
from lbtwist.tap import Daemon

MORE = "server c = 127.0.0.1:8003\n"


class Child:
    """
    A balancer in name.

    @ivar draining: what says that it has drained, of each time.
    """

    name = None
    aborted = reopened = 0

    def __init__(self):
        self.draining = []
        self.graces = []

    def drain(self, grace):
        self.graces.append(grace)
        self.draining.append(Deferred())
        return self.draining[-1]

    def abort(self):
        self.aborted += 1

    def reopenLogs(self):
        self.reopened += 1


@pytest.fixture
def told():
    """A daemon with a balancer in name, and a function that sends it a signal."""
    events = []
    globalLogPublisher.addObserver(events.append)
    daemon, child, reactor = Daemon(), Child(), Running()
    daemon.services.append(child)

    def take():
        daemon._takeSignals(reactor)

    def tell(*numbers):
        for number in numbers:
            signal.raise_signal(number)
        reactor.advance(0)

    with answersKept():
        signal.signal(signal.SIGTERM, reactor.sigTerm)
        yield SimpleNamespace(
            daemon=daemon, child=child, reactor=reactor, take=take, tell=tell,
            logged=lambda: [formatEvent(event) for event in events],
        )  # fmt: skip
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def renewed(told, tmp_path):
    """The same with a file that is read."""
    told.take()
    told.file = Reloaded(tmp_path)
    told.daemon.renewal = told.file.renewal
    return told


# SIGHUP


def test_theFileIsReadAgain(renewed):
    renewed.file.says(MORE)
    signal.raise_signal(signal.SIGHUP)
    assert renewed.file.servers == ["a", "b"], "nothing is done inside the answer to a signal"
    renewed.reactor.advance(0)
    assert renewed.file.servers == ["a", "b", "c"]
    assert renewed.file.renewal.last.by == "SIGHUP"


def test_aBadFileChangesNothing(renewed):
    renewed.file.says("colour = red\n")
    renewed.tell(signal.SIGHUP)
    assert renewed.file.servers == ["a", "b"]
    assert [line for line in renewed.logged() if "by SIGHUP: nothing was changed: 1 error" in line]
    assert [line for line in renewed.logged() if "lb.ini:8:1: error: " in line]


def test_whileOneIsReadTheFileIsReadOnceMore(renewed):
    """However often it is said: what was written before the last one is found."""
    file = renewed.file
    file.slow = []
    renewed.tell(signal.SIGHUP)
    file.says(MORE)
    for _ in range(3):
        renewed.tell(signal.SIGHUP)
    assert len(file.slow) == 1
    file.isRead()
    assert len(file.slow) == 1
    file.isRead()
    assert file.slow == []
    assert file.servers == ["a", "b", "c"]
    assert file.renewal.last.number == 2


def test_whileOneWaitsToBeConfirmed(renewed):
    renewed.file.renews(MORE, confirm=60.0)
    renewed.tell(signal.SIGHUP)
    assert [line for line in renewed.logged() if line.startswith("SIGHUP: Reload 1, by me, waits")]
    renewed.file.renewal.confirm("me")
    renewed.tell(signal.SIGHUP)
    assert renewed.file.renewal.last.number == 2


def test_aFault(renewed):
    """The next one is read all the same."""
    failing = Deferred()
    renewed.daemon.renewal = SimpleNamespace(renew=lambda by: failing)
    renewed.tell(signal.SIGHUP)
    failing.errback(ZeroDivisionError())
    assert "SIGHUP has failed" in renewed.logged()
    renewed.daemon.renewal = renewed.file.renewal
    renewed.tell(signal.SIGHUP)
    assert renewed.file.renewal.last.number == 1


def test_noFile(told):
    told.take()
    told.tell(signal.SIGHUP)
    assert "SIGHUP: there is no file to read again" in told.logged()


def test_theOneThatWatchesIsTold(renewed):
    """It begins, and it is there again, whatever has come of it."""
    said = []
    renewed.daemon.notifying = SimpleNamespace(
        reloading=lambda: said.append("reloading"), ready=lambda: said.append("ready")
    )
    renewed.tell(signal.SIGHUP)
    renewed.file.says("colour = red\n")
    renewed.tell(signal.SIGHUP)
    assert said == ["reloading", "ready"] * 2
    renewed.tell(signal.SIGTERM, signal.SIGHUP)
    assert said == ["reloading", "ready"] * 2, "it has said that it ends"


# SIGUSR1


def test_whatRunsEndsByItself(told):
    """However long it takes."""
    told.take()
    told.tell(signal.SIGUSR1)
    assert told.child.graces == [None]
    told.reactor.advance(100_000)
    told.tell(signal.SIGUSR1)
    assert told.child.graces == [None], "once"
    assert told.reactor.stopped == 0
    told.child.draining[0].callback(None)
    assert told.reactor.stopped == 1
    assert told.child.aborted == 0


def test_anEndBeforeThat(told):
    """Who does not want to wait any more says so, and once more to wait for nothing at all."""
    told.take()
    told.tell(signal.SIGUSR1, signal.SIGTERM)
    assert (told.reactor.stopped, told.child.aborted) == (1, 0)
    told.tell(signal.SIGTERM)
    assert told.child.aborted == 1
    told.child.draining[0].callback(None)
    assert told.reactor.stopped == 1, "once"


def test_tooLateForThat(told):
    told.take()
    told.tell(signal.SIGTERM, signal.SIGUSR1)
    assert told.child.graces == []
    assert told.child.aborted == 0
    assert "SIGUSR1: it is about to end" in told.logged()


# SIGUSR2


def test_logsAreOpenedAnew(told):
    told.take()
    told.tell(signal.SIGUSR2)
    assert told.child.reopened == 1


def test_twistdsOwnLog(told, tmp_path):
    """Twisted would have turned it over at a SIGUSR1, which has another meaning here."""
    logFile = LogFile.fromFullPath(str(tmp_path / "twistd.log"))

    def rotateLog(number, frame):
        logFile.rotate()

    signal.signal(signal.SIGUSR1, rotateLog)
    told.take()
    (tmp_path / "twistd.log").rename(tmp_path / "twistd.log.1")
    told.tell(signal.SIGUSR2)
    logFile.write("after\n")
    logFile.flush()
    assert (tmp_path / "twistd.log").read_text() == "after\n"
    told.tell(signal.SIGUSR1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["twistd.log", "twistd.log.1"]


def test_twistdsOwnLogCannotBeOpened(told):
    def reopen():
        raise PermissionError(13, "Permission denied")

    told.take()
    told.daemon._ownLog = SimpleNamespace(reopen=reopen, path="/var/log/lb.log")
    told.tell(signal.SIGUSR2)
    assert "SIGUSR2: /var/log/lb.log cannot be opened: Permission denied" in told.logged()
    assert told.child.reopened == 1


# whose they are


def starts(told, monkeypatch):
    """It is started, and the reactor does not run yet."""
    told.daemon.services.clear()
    told.reactor.callWhenRunning = lambda *call: None
    # Whether there is one already or not.
    monkeypatch.setattr(internet, "reactor", told.reactor, raising=False)
    monkeypatch.setattr("lbtwist.tap.collectRarely", lambda: None)
    told.daemon.startService()
    told.daemon.services.append(told.child)


def test_beforeTheReactorRuns(told, monkeypatch):
    """What is said then is done as soon as it does."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    starts(told, monkeypatch)
    told.tell(signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR1)
    assert told.child.reopened == 1
    assert told.child.graces == [None]


def test_aProgramThatHasItsOwnAnswersKeepsAllOfThem(told, monkeypatch):
    seen = []
    for number in TAKEN:
        signal.signal(number, lambda number, frame: seen.append(number))
    starts(told, monkeypatch)
    told.take()
    told.tell(*TAKEN)
    assert sorted(seen) == sorted(TAKEN)
    assert told.child.reopened == 0


def test_whatWaitsToBeConfirmedIsNotLeftBehind(renewed):
    renewed.daemon.services.clear()
    renewed.file.renews(MORE, confirm=60.0)
    renewed.daemon.stopService()
    assert renewed.file.clock.calls == []
    with pytest.raises(NotNow):
        renewed.file.renewal.confirm("me")
