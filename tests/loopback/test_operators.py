"""
A balancer that runs, and what operators have: socat, the command C{lbtwist}, and programs that
were made for HAProxy.
"""

import json
import os
import pty
import re
import select
import socket
import stat
import subprocess
import sys
import termios
import time

import pytest
from loopback import wire
from loopback.running import REACTORS, TWISTD, Balancer, environment, freePorts, until, write

from lbtwist.admin.client import Client, NoBalancer
from lbtwist.config.model import AdminBind

pytestmark = pytest.mark.needs("socat")

CONFIG = """\
[global]
admin = unix:lb.sock
log = file:access.log
[frontend www]
bind = 127.0.0.1:{port}
pool = app
[pool app]
check = http GET / interval=100ms rise=1 fall=1
persist = source
server a = demo:a
server b = demo:b weight=2
server c = 127.0.0.1:{absent}
"""


class Operated(Balancer):
    """A balancer with a socket for commands."""

    def __init__(self, directory, reactor="lbtwist", more=""):
        """@param more: of the pool."""
        self.port, absent = freePorts(2)
        text = CONFIG.format(port=self.port, absent=absent) + more
        super().__init__(directory, text, reactor)
        self.path = directory / "lb.sock"

    def asks(self, command):
        """@return: what it answers to socat."""
        return subprocess.run(
            ["socat", "-t", "5", "-", f"UNIX-CONNECT:{self.path}"], input=f"{command}\n",
            capture_output=True, text=True, timeout=15, check=True,
        ).stdout.removesuffix("\n")  # fmt: skip

    def shown(self, *words):
        """@return: what C{lbtwist show} has for programs."""
        code, text = self.lbtwist("show", *words, "--json")
        assert code == 0, text
        return json.loads(text)

    def client(self):
        """@return: a connection of a client that has got an answer."""
        return wire.answered(self.port)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Operated(tmp_path_factory.mktemp("operated")) as balancer:
        until(lambda: balancer.shown("servers")[2]["state"] == "DOWN")
        yield balancer


@pytest.fixture
def balancer(running):
    """As it was started."""
    yield running
    for name in ("a", "b"):
        running.asks(f"set server app/{name} state ready; set server app/{name} weight 100%")
    running.asks("clear table app")


# socat


@pytest.mark.parametrize("reactor", REACTORS)
def test_commandsOnEveryReactor(tmp_path, reactor):
    with Operated(tmp_path, reactor) as balancer:
        assert balancer.asks("show version; get weight app/b") == "0.1.0\n\n2 (initial 2)\n"
        balancer.client().close()
        assert balancer.asks("disable frontend www") == ""
        with pytest.raises(ConnectionRefusedError):
            balancer.client()
        assert balancer.asks("enable frontend www") == ""
        balancer.client().close()
        assert balancer.asks("disable frontend www") == ""


def test_thereIsAnEndToIt(balancer):
    """socat waits for the end of the conversation, and would be ended with an error."""
    assert balancer.asks("show servers conn").startswith("# bkname/svname")
    assert balancer.asks("prompt\nshow version\nquit") == "\n> 0.1.0\n\n> "


def test_whoseSocketItIs(balancer):
    found = balancer.path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_whoHasChangedSomethingIsInTheLog(balancer):
    balancer.lbtwist("server", "app/a", "weight", "7")
    line = rf"uid {os.geteuid()} pid \d+: set server app/a weight 7: done"
    until(lambda: re.search(line, balancer.events))


def test_aSocketThatAnotherProcessListensOn(balancer, tmp_path):
    (port,) = freePorts(1)
    text = CONFIG.format(port=port, absent=1).replace("lb.sock", str(balancer.path))
    write(tmp_path / "lb.ini", text)
    done = subprocess.run(
        [TWISTD, "-n", "--pidfile=", "lbtwist", "--config", "lb.ini"], cwd=tmp_path,
        env=environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    told = f"lb.ini:2:9: cannot listen on unix:{balancer.path}: Address already in use"
    assert told in done.stdout + done.stderr
    assert balancer.lbtwist("show", "info")[0] == 0


def test_theSocketGoesWithItsBalancerAndOneThatIsLeftIsTakenOver(tmp_path):
    with Operated(tmp_path / "first") as first:
        assert first.lbtwist("show", "info")[0] == 0
    assert not first.path.exists()
    (tmp_path / "second").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "second" / "lb.sock"))
    with Operated(tmp_path / "second") as second:
        assert second.lbtwist("show", "info")[0] == 0


def test_whatIsKnownOnDisk(tmp_path):
    with Operated(tmp_path, more="persist-store = sqlite kept\n") as balancer:
        balancer.client().close()
        [entry] = balancer.shown("table", "app")
        assert entry["key"] == "127.0.0.1"
        balancer.asks("clear table app")
        assert balancer.shown("table") == [{"table": "app", "used": 0}]


# the command


def test_whatIsShownToPeople(balancer):
    balancer.client().close()
    for what, pattern in (
        ("stat", r"FRONTEND +STATE .*\nwww +OPEN .*\n\nPOOL/SERVER +STATE .*\napp +UP .*\napp/a "),
        ("servers", r"SERVER +STATE .*\napp/a +UP +\d+s +1 .*\napp/b +UP .*\napp/c +DOWN .*L4CON"),
        ("info", r"Name +HAProxy\n.*description +lbtwist\n"),
        ("sess", r"ID +CLIENT .*\n"),
        ("events", r"\d\d-\d\d \d\d:\d\d:\d\d  Server app/c is DOWN, reason: L4CON"),
        ("failures", r"WHEN +CLIENT .*\n"),
        ("errors", r"Nothing was refused\.\n"),
        ("table", r"POOL +CLIENTS\napp +1\n"),
    ):
        code, text = balancer.lbtwist("show", what)
        assert code == 0
        assert re.match(pattern, text, re.S), text


def test_whatIsShownToPrograms(balancer):
    client = balancer.client()
    rows = {row["name"]: row["values"] for row in balancer.shown("stat")}
    assert rows["FRONTEND"]["scur"] == 1
    assert rows["c"]["status"] == "DOWN"
    [session] = balancer.shown("sess")
    assert session["client"] == ["127.0.0.1", client.getsockname()[1]]
    one = balancer.shown("sess", f"{session['number']:#x}")
    assert one == {**session, "age": one["age"]}
    [entry] = balancer.shown("table", "app")
    assert entry["key"] == "127.0.0.1"
    client.close()


def test_aServerIsChanged(balancer):
    for change, expected in (
        (["weight", "9"], {"uweight": 9}), (["maxconn", "3"], {"maxconn": 3}),
        (["maxconn", "0"], {"maxconn": 0}), (["drain"], {"state": "DRAIN"}),
        (["maint"], {"state": "MAINT"}), (["ready"], {"state": "UP"}),
    ):  # fmt: skip
        assert balancer.lbtwist("server", "app/a", *change) == (0, "")
        server = balancer.shown("servers", "app")[0]
        assert server | expected == server


def test_aDrainIsWaitedFor(balancer):
    client = balancer.client()
    [entry] = balancer.shown("table", "app")
    server = f"app/{entry['server']}"
    code, text = balancer.lbtwist("drain", server, "--until", "idle", "--max", "1500ms")
    assert code == 4
    # On no terminal each state is one line; who is bound may come back.
    assert text == (
        f"{server} DRAIN: 0 sessions, 1 clients may come back\n"
        f"Wait delay expired: {server} is DRAIN, has 0 sessions and 1 clients that may come"
        " back.\n"
    )
    client.close()
    balancer.asks("clear table app")
    assert balancer.lbtwist("drain", server, "--until", "idle") == (0, "Done.\n")
    assert balancer.lbtwist("wait", "drained", server, "--json") == (
        0, '{\n  "done": true,\n  "text": "Done.",\n  "value": {\n    "state": "DRAIN"\n  }\n}\n',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "stat", "--socket", "lb.sock"], 0, "FRONTEND"),
        (["wait", "up", "app/a"], 0, "Done."),
        (["wait", "down", "app/c"], 0, "Done."),
        (["server", "app/x", "drain"], 1, "No such server."),
        (["server", "app/a", "weight", "x"], 1, "Empty weight string"),
        (["wait", "drained", "app/a"], 1, "Failed: app/a is not drained."),
        (["show", "servers", "x"], 1, "Can't find backend."),
        (["show", "servers", "--config", "absent.ini"], 1, "absent.ini"),
        (["show"], 2, "show one of"),
        (["show", "coffee"], 2, "show one of"),
        (["show", "stat", "--coffee"], 2, "coffee"),
        (["server", "app/a"], 2, "needs a server"),
        (["server", "app/a", "coffee"], 2, "unknown 'coffee'"),
        (["drain", "app/a", "--until", "rain"], 2, "only idle"),
        (["drain"], 2, "lbtwist"),
        (["wait", "rain", "app/a"], 2, "wait for one of"),
        (["wait", "up", "app/a", "--max", "2d"], 2, "up to 1d"),
        (["wait", "up", "app/a", "--max", "soon"], 2, "'soon' is not a time"),
        (["show", "stat", "--socket", "absent.sock"], 3, "no balancer answers at unix:"),
        (["wait", "up", "app/c", "--max", "600ms"], 4, "Wait delay expired: app/c is DOWN"),
    ],
)
def test_exitCodes(balancer, words, code, said):
    found, text = balancer.lbtwist(*words)
    assert (found, said in text) == (code, True), text
    assert "Traceback" not in text


def test_aConfigurationWithoutASocket(balancer, tmp_path):
    write(tmp_path / "lb.ini", "[frontend f]\nbind = :1\npool = p\n[pool p]\nserver a = demo:a\n")
    code, text = balancer.lbtwist("show", "stat", "--config", str(tmp_path / "lb.ini"))
    assert code == 3
    assert "has no admin = unix:PATH in [global]" in text


def test_whatAnswersIsNoBalancer(balancer, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "other.sock"))
        listener.listen()
        command = [sys.executable, "-m", "lbtwist", "show", "stat", "--socket", "other.sock"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            other, _ = listener.accept()
            other.recv(65536)
            other.sendall(b"220 smtp.example\r\n")
            other.close()
            assert process.wait(15) == 3
            assert "is no lbtwist" in process.stderr.read()


def test_aBalancerThatEndsWhileItIsWaitedFor(tmp_path):
    with Operated(tmp_path) as balancer:
        command = [sys.executable, "-m", "lbtwist", "wait", "up", "app/c"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            balancer.until(lambda: balancer.shown("info")["Tasks"])
            assert process.stderr.readline().startswith("app/c DOWN")
            balancer.terminate()
            assert process.wait(15) == 3
            assert "has ended before its answer came" in process.stderr.read()


def test_aBalancerThatStandsStillIsNotWaitedForWithoutEnd(tmp_path):
    path = str(tmp_path / "lb.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        shown = []
        with pytest.raises(NoBalancer, match="timed out"):
            Client(AdminBind("unix", path=path)).ask(
                "wait 100ms", lambda: shown.append(1), period=0.05, limit=0.3
            )
    assert shown


# programs that were made for HAProxy


def test_haproxyadmin(balancer):
    haproxy = pytest.importorskip("haproxyadmin").haproxy
    client = balancer.client()
    found = haproxy.HAProxy(socket_file=str(balancer.path))
    assert (found.description, found.version) == ("lbtwist", "0.1.0")
    assert list(map(int, found.processids)) == [balancer.pid]
    [frontend] = found.frontends()
    assert (frontend.name, frontend.status, frontend.metric("scur")) == ("www", "OPEN", 1)
    [backend] = found.backends()
    servers = {server.name: server for server in backend.servers()}
    assert {name: one.status for name, one in servers.items()} == {
        "a": "UP", "b": "UP", "c": "DOWN",
    }  # fmt: skip
    assert servers["c"].check_status == "L4CON"
    assert servers["a"].setstate("drain")
    assert servers["a"].status == "DRAIN"
    assert servers["a"].setstate("ready")
    assert servers["b"].setweight("50%")
    assert int(servers["b"].weight) == 1
    assert frontend.disable() and frontend.status == "PAUSED"
    assert frontend.enable() and frontend.status == "OPEN"
    assert frontend.setmaxconn(77) and frontend.maxconn == 77
    assert frontend.setmaxconn(0) and found.clearcounters()
    client.close()


@pytest.mark.needs("hatop")
def test_hatop(balancer):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 160))
    hatop = subprocess.Popen(
        ["hatop", "-s", str(balancer.path)], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    end = time.monotonic() + 15
    try:
        while not re.search(rb"app.*L4CON.*BACKEND", seen, re.S) and time.monotonic() < end:
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 65536)
        os.write(ours, b"q")
        hatop.wait(5)
    finally:
        hatop.kill()
        hatop.wait()
        os.close(ours)
    text = re.sub(rb"\x1b[^a-zA-Z]*[a-zA-Z]", b" ", seen).decode("latin-1")
    assert "HATop" in text
    assert f"{balancer.pid} " in text
    assert re.search(r"www.*OPEN.*app.*UP.*DOWN.*L4CON", text, re.S), text
