"""The balancer as a service: started, drained, stopped, started again."""

import os
import socket

import pytest
from twisted.application.service import IService
from zope.interface.verify import verifyObject

import lbtwist.build
import lbtwist.building
from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.errors import StartError
from lbtwist.interfaces import ILoadBalancer
from lbtwist.registry import installed
from lbtwist.testing import Balancer, Pump

CONFIG = """
[global]
grace-period = 20s
[frontend www]
bind = ${bind}
pool = app
log = ${log}
[pool app]
server a = ${a}
"""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def make(tmp_path):
    """A function that makes a balancer of the lines of two frontends."""
    made = []

    def make(*binds, log="off"):
        pump = Pump()
        text = "".join(
            f"[frontend {name}]\nbind = {bind}\npool = app\nlog = {log}\n"
            for name, bind in zip(("first", "second"), binds, strict=False)
        )
        config, _ = loadText(text + "[pool app]\nserver a = 127.0.0.1:1\n", installed())
        balancer = build(config, reactor=pump, seconds=pump.seconds)
        made.append((balancer, pump))
        return balancer

    yield make
    for balancer, pump in made:
        balancer.stopService()
        assert not pump.removeAll()
        assert not pump.getDelayedCalls()


def asks(balancer):
    """A client and the server that has its request."""
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"GET / .*")
    return client, server


def refuses(path):
    """Whether nobody listens on a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as skt:
        return skt.connect_ex(path) != 0


# start


def test_interfaces(make):
    balancer = make()
    assert verifyObject(ILoadBalancer, balancer)
    assert verifyObject(IService, balancer)


def test_itsParts(make, tmp_path):
    balancer = make(f"unix:{tmp_path}/one")
    assert balancer.pool("app").name == "app"
    assert balancer.frontend("first").name == "first"
    for find in (balancer.pool, balancer.frontend):
        with pytest.raises(KeyError):
            find("none")
    assert repr(balancer.frontend("first")) == "<Frontend first 0 active>"


def test_opensBeforeItAccepts(make, tmp_path):
    """A client that comes between the two waits in the kernel's queue."""
    path = f"{tmp_path}/one"
    balancer = make(f"unix:{path}")
    assert not os.path.exists(path)
    balancer.privilegedStartService()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        balancer.reactor.turn()
        assert balancer.process.accepted == 0
        balancer.startService()
        balancer.reactor.turn()
        assert balancer.process.accepted == 1
    balancer.reactor.turn()


def test_startsWithoutPrivileges(make, tmp_path):
    """As an embedding program does it that has only C{startService}."""
    balancer = make(f"unix:{tmp_path}/one")
    balancer.startService()
    assert balancer.running
    assert not refuses(f"{tmp_path}/one")
    balancer.reactor.turn()


def test_addresses(make, tmp_path):
    """What they really are, where a port was left open."""
    balancer = make(f"127.0.0.1:0, unix:{tmp_path}/one")
    balancer.startService()
    tcp, unix = balancer.frontend("first").addresses
    assert tcp[0] == "127.0.0.1" and tcp[1] > 0
    assert unix == f"{tmp_path}/one"


def test_oneAddressCannotBeHad(make, tmp_path):
    """Then nothing is open, and no socket is left on the disk."""
    before = sorted(os.listdir("/proc/self/fd"))
    balancer = make(f"unix:{tmp_path}/one, unix:{tmp_path}/two", f"unix:{tmp_path}/no/three")
    with pytest.raises(StartError, match="No such file or directory"):
        balancer.privilegedStartService()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == []


def test_theLogCannotBeOpened(make, tmp_path):
    balancer = make(f"unix:{tmp_path}/one", log=f"file:{tmp_path}/no/log")
    with pytest.raises(StartError):
        balancer.privilegedStartService()
    assert os.listdir(tmp_path) == []


def test_aDemoServerCannotStart(tmp_path, monkeypatch):
    """Those before it are stopped again."""
    running = []

    class Demo:
        def __init__(self, name):
            self.name = name

        def start(self, reactor):
            if self.name == "green":
                raise StartError("no port is left")
            running.append(self)

        def stop(self):
            if self in running:
                running.remove(self)

    monkeypatch.setattr(lbtwist.building, "DemoServer", Demo)
    pump = Pump()
    text = f"[frontend www]\nbind = unix:{tmp_path}/one\npool = app\nlog = off\n[pool app]\n"
    config, _ = loadText(
        text + "server a = demo:blue\nserver b = demo:green\n", installed()
    )
    balancer = build(config, reactor=pump, seconds=pump.seconds)
    with pytest.raises(StartError, match="no port is left"):
        balancer.startService()
    assert running == []
    assert os.listdir(tmp_path) == []


def test_triedAgain(make, tmp_path):
    balancer = make(f"unix:{tmp_path}/one", f"unix:{tmp_path}/later/two")
    with pytest.raises(StartError):
        balancer.startService()
    os.mkdir(tmp_path / "later")
    balancer.startService()
    assert not refuses(f"{tmp_path}/later/two")
    balancer.reactor.turn()


# drain and stop


def test_nothingRuns(make, tmp_path):
    balancer = make(f"unix:{tmp_path}/one")
    balancer.startService()
    done = []
    balancer.drain(30).addCallback(done.append)
    assert done == [None]
    assert os.listdir(tmp_path) == []
    assert balancer.reactor.getDelayedCalls() == []


def test_acceptsNothingMore():
    with Balancer(CONFIG, "a") as balancer:
        path = balancer.running.frontend("www").addresses[0]
        client, server = asks(balancer)
        balancer.running.drain(30)
        assert refuses(path)
        assert not os.path.exists(path)
        client.closes()


def test_lastExchangesEnd():
    """A connection is closed after the exchange under way, and the client is told."""
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        idle = balancer.client()
        done = []
        balancer.running.drain(30).addCallback(done.append)
        balancer.advance(1.1)
        idle.isEnded()
        client.receivesNothing()
        assert done == []
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*Connection: close\r\n\r\nok")
        client.isEnded()
        assert done == [None]


def test_graceIsOver():
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        done = []
        balancer.running.drain(3).addCallback(done.append)
        balancer.advance(2.9)
        assert done == []
        balancer.advance(0.2)
        assert done == [None]
        [ending] = balancer.endings
        assert " KH-- " in ending


def test_noGraceAtAll():
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        done = []
        balancer.running.drain(0).addCallback(done.append)
        balancer.advance(0.01)
        assert done == [None]


def test_drainedTwice():
    """The shorter grace counts, and both are told."""
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        done = []
        balancer.running.drain(30).addCallback(lambda _: done.append("first"))
        balancer.running.drain(2).addCallback(lambda _: done.append("second"))
        balancer.advance(2.1)
        assert sorted(done) == ["first", "second"]


def test_stopWaitsForWhatRuns():
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        stopped = balancer.running.stopService()
        assert not balancer.running.running
        assert not stopped.called
        server.sends(OK)
        client.receives(rb".*ok")
        client.isEnded()
        assert stopped.called
        server.isEnded()


def test_stopWaitsNoLongerThanTheGrace():
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        stopped = balancer.running.stopService()
        balancer.advance(19.9)
        assert not stopped.called
        balancer.advance(0.2)
        assert stopped.called


def test_abort():
    with Balancer(CONFIG, "a") as balancer:
        client, server = asks(balancer)
        idle = balancer.client()
        balancer.running.abort()
        balancer.pump.turn()
        assert balancer.running.process.active == 0
        idle.isReset()
        server.isReset()


def test_stoppedAndStartedAgain():
    with Balancer(CONFIG, "a") as balancer:
        for _ in range(2):
            client, server = asks(balancer)
            server.sends(OK)
            client.receives(rb".*ok")
            stopped = balancer.running.stopService()
            balancer.advance(1.1)
            assert stopped.called
            client.isEnded()
            balancer.running.startService()
            other = balancer.connects()
            assert balancer.running.process.active == 1
            other.closes()
