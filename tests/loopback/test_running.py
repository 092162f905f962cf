"""
lbtwist as a service: what systemd is told and gives, privileges that are given up, C{twist} in
place of C{twistd}. There is no systemd here that is in charge; its part is played by the tests
and by its own programs that can do without.
"""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trustme
from loopback import wire
from loopback.running import (
    DEMO,
    ROOT,
    TROUBLE,
    TWIST,
    TWISTD,
    Balancer,
    Child,
    environment,
    freePorts,
    listens,
    run,
    until,
    write,
)

from lbtwist.command import Options

UNIT = ROOT / "etc/lbtwist.service"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def asks(client):
    """@return: the status of the answer to a request."""
    with client:
        client.sendall(GET)
        return wire.readResponse(client)[0][9:12]


# what systemd is told


class Manager:
    """systemd's end of the socket, and what came."""

    def __init__(self, path):
        self.path = str(path)
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.01)

    def heard(self, line):
        """@return: whether a line has come by now."""
        try:
            self.messages.append(self.socket.recv(4096).decode().split("\n"))
        except TimeoutError:
            pass
        return any(line in message for message in self.messages)


def test_aServiceThatNotifies(tmp_path):
    """Ready when it accepts, alive while it runs, stopping for as long as it may take."""
    port, = freePorts(1)
    manager = Manager(tmp_path / "notify")
    text = DEMO.format(settings="grace-period = 20s", bind=f"127.0.0.1:{port}")
    with manager.socket:
        told = [f"NOTIFY_SOCKET={manager.path}", "WATCHDOG_USEC=400000"]
        with Balancer(tmp_path, text, command=["env", *told]) as balancer:
            until(lambda: manager.heard("READY=1"))
            assert manager.messages[0] == [
                "READY=1", f"MAINPID={balancer.pid}",
                "STATUS=0 connections, 1 of 1 servers can be used",
            ]  # fmt: skip
            assert asks(wire.connect(port)) == b"200"
            until(lambda: manager.heard("WATCHDOG=1"))
            manager.messages.clear()
            balancer.process.send_signal(signal.SIGHUP)
            until(lambda: manager.heard("READY=1"))
            told = [message[0] for message in manager.messages]
            assert [one for one in told if one != "WATCHDOG=1"] == ["RELOADING=1", "READY=1"]
            balancer.process.send_signal(signal.SIGTERM)
            until(lambda: manager.heard("STOPPING=1"))
            assert "EXTEND_TIMEOUT_USEC=35000000" in manager.messages[-1]
            assert balancer.process.wait(15) == 0


def test_aServiceThatCannotStartIsNeverReady(tmp_path):
    manager = Manager(tmp_path / "notify")
    with manager.socket, wire.listening() as taken:
        write(tmp_path / "lb.ini", DEMO.format(settings="", bind=f"127.0.0.1:{wire.port(taken)}"))
        done = run(
            TWISTD, "-n", "--pidfile=", "lbtwist", "--config", "lb.ini",
            cwd=tmp_path, env=environment(NOTIFY_SOCKET=manager.path),
        )  # fmt: skip
        assert done.returncode == 1
        assert not manager.heard("READY=1")


def test_theSocketIsNotForPrograms(tmp_path):
    """What a check runs cannot tell systemd that it is ready."""
    port, = freePorts(1)
    manager = Manager(tmp_path / "notify")
    program = write(tmp_path / "check", "#!/bin/sh\nenv > seen.tmp && mv seen.tmp seen\n")
    program.chmod(0o755)
    text = DEMO.format(settings="", bind=f"127.0.0.1:{port}") + f"check = exec {program}\n"
    with manager.socket:
        command = ["env", f"NOTIFY_SOCKET={manager.path}"]
        with Balancer(tmp_path, text, command=command) as balancer:
            until(lambda: manager.heard("READY=1"))
            balancer.until(lambda: (tmp_path / "seen").exists())
        assert "NOTIFY" not in (tmp_path / "seen").read_text()


# what systemd gives

ACTIVATED = """\
import os, sys
names = sys.argv[1]
for number, passed in enumerate(sys.argv[2].split(","), 3):
    os.dup2(int(passed), number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_FDS=str(number - 2), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(sys.argv[3], sys.argv[3:])
"""


def activated(names, *sockets):
    """@return: a command before C{twistd}, and what has to be passed to it."""
    numbers = [skt.fileno() for skt in sockets]
    given = ",".join(map(str, numbers))
    return [sys.executable, "-c", ACTIVATED, names, given], numbers


def test_socketsByName(tmp_path):
    text = DEMO.format(settings="", bind="systemd:www, systemd:plain")
    path = tmp_path / "local.sock"
    # Out of the way of where they have to be.
    with wire.listening() as www, wire.listening(str(path), socket.AF_UNIX) as local:
        high = [socket.socket(fileno=os.dup2(s.fileno(), n)) for n, s in ((50, www), (51, local))]
        command, passed = activated("other:plain:www", high[0], high[1], high[0])
        with Balancer(tmp_path, text, command=command, pass_fds=passed) as balancer:
            assert asks(wire.connect(wire.port(www))) == b"200"
            assert asks(wire.connectUnix(path)) == b"200"
            assert "www listens on systemd:www, systemd:plain" in balancer.events
        # It is systemd's: the next one who is started gets those who come meanwhile.
        assert listens(wire.port(www)) and path.exists()
        for one in high:
            one.close()


def test_aNameThatWasNotPassed(tmp_path):
    write(tmp_path / "lb.ini", DEMO.format(settings="", bind="systemd:wwww"))
    with wire.listening() as www:
        high = socket.socket(fileno=os.dup2(www.fileno(), 50))
        command, passed = activated("www", high)
        done = run(
            *command, TWISTD, "-n", "--pidfile=", "lbtwist", "--config", "lb.ini",
            cwd=tmp_path, env=environment(), pass_fds=passed,
        )  # fmt: skip
        high.close()
    assert done.returncode == 1
    assert re.search(
        r"lb\.ini:4.*: cannot listen on systemd:wwww: systemd has passed no socket of this name,"
        r" of 1 .*there are: www",
        done.stdout + done.stderr,
    )


@pytest.mark.needs("systemd-socket-activate")
def test_systemdsOwnLauncher(tmp_path):
    """It starts the balancer with the first client, who is served."""
    port, = freePorts(1)
    write(tmp_path / "lb.ini", DEMO.format(settings="", bind="systemd:www"))
    command = [
        "systemd-socket-activate", "--listen", f"127.0.0.1:{port}", "--fdname", "www",
        "-E", f"PYTHONPATH={ROOT}", "-E", f"PATH={os.environ['PATH']}",
        TWISTD, "-n", "--pidfile=", "lbtwist", "--config", "lb.ini",
    ]  # fmt: skip
    with Child(command, tmp_path, "activated") as child:
        child.until(lambda: listens(port))
        assert asks(wire.connect(port)) == b"200"
        assert child.terminate() == 0
        assert TROUBLE.findall(child.out + child.err) == []


# the unit


@pytest.mark.needs("systemd-analyze")
def test_theUnitsAreValid(tmp_path):
    programs = Path(sys.executable).parent
    text = UNIT.read_text().replace("/opt/lbtwist/bin", str(programs))
    write(tmp_path / "lbtwist.service", text)
    shutil.copy(ROOT / "etc/lbtwist.socket", tmp_path)
    done = run(
        "systemd-analyze", "verify", "--man=no",
        tmp_path / "lbtwist.service", tmp_path / "lbtwist.socket",
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.needs("systemd-analyze")
def test_theUnitIsHardened():
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=25", UNIT)
    assert done.returncode == 0, done.stdout


def options(path):
    """@return: the settings of a unit, by name; of several the last."""
    lines = [line.partition("=") for line in path.read_text().splitlines()]
    return {name: value for name, equals, value in lines if equals and name[:1] != "#"}


def test_whatTheUnitStarts(tmp_path):
    """Its command lines are understood."""
    said = options(UNIT)
    start = said["ExecStart"].split()
    assert (start[0], said["Type"]) == ("/opt/lbtwist/bin/twistd", "notify")
    write(tmp_path / "lb.ini", DEMO.format(settings="", bind="127.0.0.1:1"))
    done = run(
        TWISTD, *start[1:-1], tmp_path / "lb.ini", "--check", cwd=tmp_path, env=environment()
    )
    assert done.returncode == 0, done.stderr
    reload = said["ExecReload"].split()
    assert reload[0] == "/opt/lbtwist/bin/lbtwist"
    command = Options()
    command.parseOptions(reload[1:])
    assert (command.subCommand, command.subOptions["config"]) == ("reload", start[-1])
    # systemd kills later than the balancer ends by itself.
    assert said["KillMode"] == "mixed"
    socketUnit = options(ROOT / "etc/lbtwist.socket")
    assert socketUnit["Service"] == UNIT.name
    assert socketUnit["FileDescriptorName"] == "www"


# privileges

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")


@pytest.fixture
def shared():
    """A directory that every user may look into; pytest's own are its user's alone."""
    directory = Path(tempfile.mkdtemp(prefix="lbtwist"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def dropped(directory, text):
    """@return: a balancer that becomes nobody when its sockets are open."""
    write(directory / "lb.ini", text)
    command = [
        TWISTD, "--reactor", "lbtwist", "-n", "--pidfile=", "--uid", "nobody", "--gid", "nogroup",
        "lbtwist", "--config", "lb.ini",
    ]  # fmt: skip
    return Child(command, directory, "lbtwist", env=environment(PYTHONDONTWRITEBYTECODE="1"))


def lowPort():
    """@return: one that only root may listen on, and nobody does."""
    for port in range(1023, 900, -1):
        try:
            wire.listening(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no port below 1024 is free")


@AS_ROOT
def test_aPortBelow1024(shared):
    port = lowPort()
    text = DEMO.format(settings="log = file:access.log", bind=f"127.0.0.1:{port}")
    with dropped(shared, text) as child:
        child.until(lambda: "www listens on" in child.out)
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert re.search(r"^Uid:" + rf"\t{pwd.getpwnam('nobody').pw_uid}" * 4, status, re.M)
        assert asks(wire.connect(port)) == b"200"
        until(lambda: "GET / HTTP/1.1" in (shared / "access.log").read_text())
        # It could write the log because it was open before; it is told that this is all.
        assert f"nobody cannot write {shared}/access.log: the log cannot be opened" in child.out
        assert child.terminate() == 0
        assert TROUBLE.findall(child.out + child.err) == []


@AS_ROOT
def test_whatTheOtherUserCannotDo(shared, identity):
    """It is told at the start, and not when it is too late."""
    port, secure = freePorts(2)
    identity(shared / "site.pem")
    (shared / "site.pem").chmod(0o600)
    bind = f"127.0.0.1:{port}, 127.0.0.1:{secure} tls=site"
    text = DEMO.format(settings="admin = unix:lb.sock", bind=bind)
    text += "[tls site]\ncertificate = site.pem\n"
    with dropped(shared, text) as child:
        child.until(lambda: "www listens on" in child.out)
        assert f"nobody cannot read {shared}/site.pem: what is changed in it is" in child.out
        assert f"nobody cannot write to {shared}: {shared}/lb.sock stays there" in child.out
        assert asks(wire.connect(port)) == b"200"
        assert child.terminate() == 0
        assert (shared / "lb.sock").exists()
    # As is said, the next one takes it over.
    with dropped(shared, text) as child:
        child.until(lambda: child.out.count("www listens on") == 2)
        assert asks(wire.connect(port)) == b"200"
        assert child.terminate() == 0


@pytest.fixture
def identity():
    """A function that writes a certificate with its key."""

    def make(path):
        trustme.CA().issue_cert("test.example").private_key_and_cert_chain_pem.write_to_path(path)

    return make


@AS_ROOT
def test_nothingIsLostThatCanBeRead(shared, identity):
    port, secure = freePorts(2)
    identity(shared / "site.pem")
    (shared / "site.pem").chmod(0o644)
    text = DEMO.format(settings="", bind=f"127.0.0.1:{port}, 127.0.0.1:{secure} tls=site")
    text += "[tls site]\ncertificate = site.pem\n"
    with dropped(shared, text) as child:
        child.until(lambda: "www listens on" in child.out)
        assert "nobody cannot" not in child.out
        assert asks(wire.connect(port)) == b"200"
        assert child.terminate() == 0


@AS_ROOT
def test_addressesOfClientsTakeAPrivilege(shared):
    """What no longer works at all ends the start, with what helps."""
    port, = freePorts(1)
    text = DEMO.format(settings="", bind=f"127.0.0.1:{port}").replace(
        "demo:one", "127.0.0.1:9 source=clientip"
    )
    with dropped(shared, text) as child:
        assert child.process.wait(15) == 1
        said = child.out + child.err
        assert re.search(
            r"lbtwist cannot start: .*takes root, CAP_NET_ADMIN or CAP_NET_RAW.*it was there before"
            r" privileges were given up to nobody: let systemd start it as this user",
            said, re.S,
        ), said  # fmt: skip
        assert "Traceback" not in said


# twist


def test_twistWritesJSON(tmp_path):
    """Where nobody sits before it: for those who collect logs of containers."""
    port, = freePorts(1)
    write(tmp_path / "lb.ini", DEMO.format(settings="", bind=f"127.0.0.1:{port}"))
    command = [TWIST, "--reactor", "lbtwist", "lbtwist", "--config", "lb.ini"]
    with Child(command, tmp_path, "twist", env=environment()) as child:
        child.until(lambda: listens(port))
        child.until(lambda: "listens on" in child.out)
        assert asks(wire.connect(port)) == b"200"
        assert child.terminate() == 0
        # RFC 7464: a record separator before each, and the access log between them.
        records = [line for line in child.out.split("\n") if line[:1] == "\x1e"]
        events = [json.loads(record[1:]) for record in records]
        namespaces = {event["log_namespace"] for event in events}
        assert {"lbtwist.service.LoadBalancer", "lbtwist.tap.Daemon"} <= namespaces
        assert "Traceback" not in child.out + child.err


def test_twistIsStoppedAsTwistdIs(tmp_path):
    """Once to end in good order, twice to end now."""
    port, = freePorts(1)
    with wire.listening() as server:
        text = DEMO.format(settings="", bind=f"127.0.0.1:{port}")
        text = text.replace("demo:one", f"127.0.0.1:{wire.port(server)}")
        write(tmp_path / "lb.ini", text)
        command = [TWIST, "--log-format", "text", "lbtwist", "--config", "lb.ini"]
        with Child(command, tmp_path, "twist", env=environment()) as child:
            child.until(lambda: listens(port))
            with wire.connect(port) as client:
                client.sendall(GET)
                with wire.accept(server):
                    child.process.send_signal(signal.SIGTERM)
                    until(lambda: not listens(port))
                    assert child.process.poll() is None
                    child.process.send_signal(signal.SIGTERM)
                    assert child.process.wait(15) == 0
        assert "Traceback" not in child.out + child.err


def test_everyFileOfThePageIsThere():
    page = (ROOT / "docs/running.md").read_text()
    for name in re.findall(r"`etc/([\w.-]+)`", page):
        assert (ROOT / "etc" / name).exists(), name
    assert subprocess.list2cmdline(["etc/lbtwist.service"]) in page
