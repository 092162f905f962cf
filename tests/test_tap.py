"""
The options of C{twistd lbtwist} and the service that it starts. What a whole process
does is seen in tests/loopback.
"""

import os
import signal
from types import SimpleNamespace

import pytest
from signalling import Running, answersKept
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python.usage import UsageError

import lbtwist.collecting
import lbtwist.tap
from lbtwist.errors import StartError
from lbtwist.service import LoadBalancer
from lbtwist.tap import Daemon, Options, makeService

GOOD = """
[frontend www]
bind = unix:run.sock
pool = app
log = off
[pool app]
server a = 127.0.0.1:8001
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A function that writes a configuration, where twistd was started."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="lb.ini"):
        (tmp_path / name).write_text(text)
        return name

    return write


def parsed(*arguments):
    options = Options()
    options.parseOptions(arguments)
    return options


def refused(*arguments):
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    return ended.value.code


# options


def test_theFileByDefault(file):
    file(GOOD)
    assert list(parsed().config.frontends) == ["www"]


@pytest.mark.parametrize("word", ["--config", "-c"])
def test_anotherFile(file, word):
    file(GOOD.replace("www", "shop"), "other.ini")
    assert list(parsed(word, "other.ini").config.frontends) == ["shop"]


def test_thePathIsAbsolute(file, tmp_path):
    """A daemon changes its directory."""
    file(GOOD)
    assert parsed()["config"] == str(tmp_path / "lb.ini")


def test_warningsAreTold(file, capsys):
    file(GOOD + "[pool spare]\nserver b = 127.0.0.1:8002\n")
    parsed()
    assert "warning" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, count", [("colour = red\n", "1 error"), ("colour = red\nsize = 3\n", "2 errors")]
)
def test_errorsEndIt(file, capsys, more, count):
    """All of them are told, without a traceback."""
    file(GOOD + more)
    assert refused() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(": error: ") == int(count[0])
    assert err.splitlines()[-1] == f"{count}: nothing was started"


def test_noFile(file, capsys):
    assert refused("--config", "none.ini") == 1
    assert "none.ini" in capsys.readouterr().err


def test_check(file, tmp_path, capsys):
    """Everything is built, and nothing opened."""
    file(GOOD)
    assert refused("--check") == 0
    assert capsys.readouterr().out == "Configuration file is valid\n"
    assert os.listdir(tmp_path) == ["lb.ini"]


def test_checkLooksForInterfaces(file, capsys):
    file(GOOD.replace("unix:run.sock", "127.0.0.1:8080 interface=no-such-1"))
    assert refused("--check") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lb.ini:3:8: error: [frontend www] bind: interface: there is no")
    assert refused("--check", "--elsewhere") == 0


def test_elsewhereIsForACheck(file):
    file(GOOD)
    with pytest.raises(UsageError, match="without --check"):
        parsed("--elsewhere")


def test_checkOfWhatIsWrong(file, capsys):
    file(GOOD.replace("pool = app", "pool = ap"))
    assert refused("--check") == 1
    assert "valid" not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--chekc"], ["lb.ini"]])
def test_makesNoSense(file, arguments):
    file(GOOD)
    with pytest.raises(UsageError):
        parsed(*arguments)


# the service


def test_makeService(file):
    file(GOOD)
    daemon = makeService(parsed())
    assert isinstance(daemon, Daemon)
    [balancer] = daemon
    assert isinstance(balancer, LoadBalancer)
    assert IService.providedBy(daemon)
    assert balancer.config == parsed().config


@pytest.fixture
def daemon(monkeypatch, signals):
    """One that changes nothing in the process of the tests."""
    collected = []
    monkeypatch.setattr(
        lbtwist.collecting,
        "gc",
        SimpleNamespace(
            collect=lambda: collected.append("collect"),
            freeze=lambda: collected.append("freeze"),
            set_threshold=lambda *numbers: collected.append("threshold"),
        ),
    )
    monkeypatch.setattr(reactor, "callWhenRunning", lambda *call: None)
    daemon = Daemon()
    daemon.collected = collected
    return daemon


class Child:
    """
    A balancer in name.

    @ivar failing: it cannot start.
    """

    name = None
    running = False
    failing = False
    aborted = 0
    workers = None

    def setServiceParent(self, parent):
        parent.addService(self)

    def privilegedStartService(self):
        if self.failing:
            raise StartError("port 80 is taken")

    startService = privilegedStartService

    def abort(self):
        self.aborted += 1


def test_theCollectorIsTold(daemon):
    """What exists when it starts stays."""
    daemon.startService()
    assert daemon.collected == ["collect", "freeze", "threshold"]


@pytest.mark.parametrize("start", ["privilegedStartService", "startService"])
def test_cannotStart(daemon, start, capsys, monkeypatch):
    """People get a sentence, and no traceback."""
    monkeypatch.setattr(lbtwist.tap.sys, "excepthook", lbtwist.tap.sys.excepthook)
    child = Child()
    child.failing = True
    daemon.services.append(child)
    with pytest.raises(StartError) as caught:
        getattr(daemon, start)()
    lbtwist.tap.sys.excepthook(caught.type, caught.value, caught.tb)
    assert capsys.readouterr().err == "lbtwist cannot start: port 80 is taken\n"


def test_anotherError(daemon, capsys):
    """It is told as Python does."""
    lbtwist.tap._cannotStart(ValueError, ValueError("no"), None)
    assert capsys.readouterr().err == "ValueError: no\n"


@pytest.fixture
def signals():
    with answersKept():
        yield


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_aSignal(daemon, signals, number):
    """The first one stops it, a second one waits for nothing."""
    child = Child()
    daemon.services.append(child)
    running = Running()
    signal.signal(signal.SIGTERM, running.sigTerm)
    signal.signal(signal.SIGINT, running.sigInt)
    daemon._takeSignals(running)
    signal.raise_signal(number)
    # Nothing is done inside the answer to a signal itself.
    assert running.stopped == 0
    running.advance(0)
    assert (running.stopped, child.aborted) == (1, 0)
    signal.raise_signal(number)
    running.advance(0)
    assert (running.stopped, child.aborted) == (1, 1)


def test_signalsOfSomebodyElse(daemon, signals):
    """A program that has its own answers keeps them."""
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    running = Running()
    daemon._takeSignals(running)
    signal.raise_signal(signal.SIGTERM)
    running.advance(0)
    assert seen == [signal.SIGTERM]
    assert running.stopped == 0
