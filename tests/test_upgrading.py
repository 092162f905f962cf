"""
What a process gets from the one whose place it takes, and what both say to each other: without
a process. With processes it is C{tests/loopback/test_upgraded.py}'s.
"""

import json
import os
import pickle
import socket
from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from lbtwist import upgrading
from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.config.model import Bind
from lbtwist.errors import StartError
from lbtwist.net.addresses import listen
from lbtwist.net.inherited import READY, STATES, VARIABLE, Inherited, inherited, nameOf
from lbtwist.registry import installed
from lbtwist.testing.memory import Balancer
from lbtwist.upgrading import CannotUpgrade, Upgrading, begun, notBegun

CONFIG = """\
[frontend www]
bind = 127.0.0.1:0
pool = app
[pool app]
server a = 127.0.0.1:1
"""


def binds(text):
    config, _ = loadText(CONFIG.replace("bind = 127.0.0.1:0", text), installed())
    return config.frontends["www"].bind


def listening():
    """A socket that listens, as a descriptor of its own."""
    with socket.create_server(("127.0.0.1", 0)) as skt:
        return os.dup(skt.fileno()), skt.getsockname()


def taken(*found):
    there = Inherited()
    there.take({VARIABLE: json.dumps(found)})
    return there


def test_socketsOfSystemdAreKnownByTheirNames():
    one, two = binds("bind =\n  systemd:web\n  systemd:api")
    assert nameOf(one) != nameOf(two)


def test_twoOfOneName():
    # Any port will do, twice.
    bind = Bind("tcp", "127.0.0.1", 0)
    (one, first), (two, second) = listening(), listening()
    there = taken((nameOf(bind), one), (nameOf(bind), two))
    found = [there.listening(bind) for _ in range(3)]
    assert [skt and skt.getsockname() for skt in found] == [first, second, None]
    for skt in found[:2]:
        skt.close()


@pytest.mark.parametrize(
    "said",
    [
        "", "x", "[", "7", "{}", '{"a": 1}', "[7]", '[["a"]]', '[["a", "b"]]', '[["a", 1e400]]',
        '[["a", 99999]]', '[["a", -1]]', '[["a", 99999999999999999999]]', "[" * 100_000,
        '[["ready", 0], ["stderr", 1], ["states", 2]]',
    ],
)  # fmt: skip
def test_whatMakesNoSenseIsPassedOver(said):
    there, environment = Inherited(), {VARIABLE: said}
    there.take(environment)
    assert not there
    assert environment == {}


def test_aDescriptorThatDoesNotListenIsNoSocket():
    bind = Bind("tcp", "127.0.0.1", 0)
    file = os.memfd_create("x")
    ours, theirs = socket.socketpair()
    there = taken((nameOf(bind), file), (nameOf(bind), os.dup(theirs.fileno())))
    assert [there.listening(bind), there.listening(bind)] == [None, None]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(file)
    ours.close()
    theirs.close()


def test_aSocketThatWasShutForAWhile():
    with socket.create_server(("127.0.0.1", 0)) as skt:
        name = skt.getsockname()
    bind = Bind("tcp", *name)
    with socket.create_server(name) as skt:
        skt.shutdown(socket.SHUT_RD)
        inherited.take({VARIABLE: json.dumps([(nameOf(bind), os.dup(skt.fileno()))])})
    with listen(bind) as found:
        assert found.getsockname() == name
        socket.create_connection(name).close()


def test_whoCannotStartLeavesTheSocketsToTheOther(tmp_path):
    path = str(tmp_path / "s")
    bind = Bind("unix", path=path, mode=0o660)
    with listen(bind) as before, socket.create_server(("127.0.0.1", 0)) as other:
        text = f"bind =\n  unix:{path}\n  127.0.0.1:{other.getsockname()[1]}"
        config, _ = loadText(CONFIG.replace("bind = 127.0.0.1:0", text), installed())
        said = [(nameOf(bind), os.dup(before.fileno())), (STATES, os.memfd_create("states"))]
        inherited.take({VARIABLE: json.dumps(said)})
        with pytest.raises(StartError):
            build(config).privilegedStartService()
        inherited.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_theModeOfASocketMayBeAnother(tmp_path):
    path = str(tmp_path / "s")
    with listen(Bind("unix", path=path, mode=0o600)) as before:
        bind = Bind("unix", path=path, mode=0o666)
        inherited.take({VARIABLE: json.dumps([(nameOf(bind), os.dup(before.fileno()))])})
        with listen(bind) as after:
            assert after.getsockname() == path
        assert os.stat(path).st_mode & 0o777 == 0o666


class Started:
    """
    A reactor that starts processes, of which there are none.

    @ivar says: what the new one says, given its descriptor.
    """

    def __init__(self):
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.signals = []
        self.closed = 0
        self.triggers = []

    def addSystemEventTrigger(self, *said):
        self.triggers.append(said[2])

    def spawnProcess(self, protocol, program, command, environment, path, childFDs):
        self.directory, self.protocol = path, protocol
        self.names = json.loads(environment[VARIABLE])
        [self.ready] = [number for name, number in self.names if name == READY]
        return self

    def signalProcess(self, name):
        self.signals.append(name)

    def loseConnection(self):
        self.closed += 1

    def says(self, data):
        self.protocol.childDataReceived(self.ready, data)


def upgrading_(tmp_path, command=("python", "-u", "twistd", "lbtwist")):
    reactor, left = Started(), []
    balancer = SimpleNamespace(
        reactor=reactor, pools={}, listening=lambda: [(Bind("fd", port=9), 0)] * 2,
        handOver=lambda: left.append("handOver"),
    )  # fmt: skip
    found = Upgrading(balancer, lambda: left.append("leave"), str(tmp_path), command)
    return reactor, found, left


def failed(deferred):
    found = []
    deferred.addErrback(found.append)
    assert found[0].check(CannotUpgrade)
    return found[0].getErrorMessage()


def test_itIsStartedWhereThisOneWas(tmp_path):
    reactor, one, left = upgrading_(tmp_path)
    done = one.begin()
    assert reactor.directory == str(tmp_path)
    # Of one name, too.
    assert len(reactor.names) == len({number for _, number in reactor.names}) == 5
    reactor.says(b"77\n")
    assert done.result == 77
    assert left == ["handOver"]
    reactor.clock.advance(upgrading.LATER)
    assert left == ["handOver", "leave"]


def test_itSaysWhyItCannotBegin(tmp_path):
    reactor, one, left = upgrading_(tmp_path)
    done = one.begin()
    reactor.says(b"no key")
    assert "cannot begin: no key" in failed(done)
    assert left == []
    assert reactor.closed
    # Another one may.
    one.begin()
    reactor.says(b"78\n")
    assert left == ["handOver"]


def test_itIsLateAndIsNotWantedAnyMore(tmp_path):
    reactor, one, _ = upgrading_(tmp_path)
    done = one.begin()
    reactor.clock.advance(upgrading.LIMIT)
    assert "within 60 s" in failed(done)
    assert reactor.signals == ["KILL"]
    # One that has gone into the background is not reached by that, but by this.
    assert reactor.closed == 1


def test_theNumberStaysThatOfWhoeverIsThere(tmp_path):
    path = tmp_path / "twistd.pid"
    path.write_text("1")
    reactor, one, _ = upgrading_(tmp_path)
    one.begin()
    assert not path.exists()
    path.write_text("77")
    reactor.says(b"77\n")
    # A third one has come before the first has ended.
    path.write_text(str(os.getppid()))
    [read] = reactor.triggers
    read()
    path.unlink()
    read.__self__._writeAgain()
    assert path.read_text() == str(os.getppid())


def test_theNumberIsPutBack(tmp_path):
    path = tmp_path / "twistd.pid"
    path.write_text("1")
    reactor, one, _ = upgrading_(tmp_path)
    done = one.begin()
    reactor.says(b"no")
    failed(done)
    assert path.read_text() == "1"


def passed(states=b""):
    """
    Be a process that has got something from another one.

    @return: where that reads.
    """
    reads, writes = os.pipe()
    file = os.memfd_create("states")
    os.write(file, states)
    inherited.take({VARIABLE: json.dumps([(READY, writes), (STATES, file)])})
    return reads


def test_statesOfAnotherVersion():
    class Never:
        def __reduce__(self):
            return int, ("x",)

    with Balancer(CONFIG) as balancer:
        for states in (b"", b"junk", pickle.dumps({"app": {"a": 7}}), pickle.dumps(Never())):
            reads = passed(states)
            assert begun(balancer.running)
            assert os.read(reads, 100) == b"%d\n" % os.getpid()
            os.close(reads)


def test_whoHasGivenUpWaitingGoesOnAlone():
    with Balancer(CONFIG) as balancer:
        os.close(passed())
        assert not begun(balancer.running)
        # Its sockets are that one's.
        assert inherited
        inherited.close()


def test_whyItCannotBeginIsSaid():
    reads = passed()
    assert not notBegun("no key")
    assert os.read(reads, 100) == b"no key"
    os.close(reads)
    inherited.close()
    # Whoever takes nobody's place tries again.
    assert notBegun("no key")
