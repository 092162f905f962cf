"""Starting and stopping the real process, as an operator does, and what it then says."""

import os
import re
import signal
import stat
import sys

import pytest
from loopback import wire
from loopback.running import (
    DEMO,
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

REQUEST = b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n"


def started(directory, text, *arguments):
    """@return: C{twistd lbtwist}, when it has ended."""
    write(directory / "lb.ini", text)
    return run(
        TWISTD, "-n", "--pidfile=", "lbtwist", "--config", "lb.ini", *arguments,
        cwd=directory, env=environment(),
    )  # fmt: skip


def answered(port):
    """@return: the status of the answer to a request."""
    with wire.connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        return wire.readResponse(client)[0][9:12]


# what cannot be started


def refused(done):
    """@return: what it says of why it has not started."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_aPortInUse(tmp_path):
    with wire.listening() as taken:
        port = wire.port(taken)
        done = started(tmp_path, DEMO.format(settings="", bind=f"127.0.0.1:{port}"))
    assert re.search(
        rf"lbtwist cannot start: .*lb\.ini:4.*: cannot listen on 127\.0\.0\.1:{port}: "
        r"Address already in use \(another program listens there: see ss -ltnp\)",
        refused(done),
    )


def test_twistWithAPortInUse(tmp_path):
    with wire.listening() as taken:
        bind = f"127.0.0.1:{wire.port(taken)}"
        write(tmp_path / "lb.ini", DEMO.format(settings="", bind=bind))
        done = run(TWIST, "lbtwist", "--config", "lb.ini", cwd=tmp_path, env=environment())
    assert f"cannot listen on {bind}: Address already in use" in refused(done)


def test_anAddressOfAnotherMachine(tmp_path):
    done = started(tmp_path, DEMO.format(settings="", bind="192.0.2.1:80"))
    assert "cannot listen on 192.0.2.1:80: Cannot assign requested address" in refused(done)


def test_aSocketWhereNoneMayBe(tmp_path):
    done = started(tmp_path, DEMO.format(settings="", bind="unix:/proc/lbtwist.sock"))
    assert re.search(r"cannot listen on unix:/proc/lbtwist\.sock: .+", refused(done))


def test_aSocketOnTopOfAFile(tmp_path):
    write(tmp_path / "precious", "data")
    done = started(tmp_path, DEMO.format(settings="", bind="unix:precious"))
    assert "a file that is not a socket is in the way" in refused(done)
    assert (tmp_path / "precious").read_text() == "data"


def test_anAccessLogWhereNoneMayBe(tmp_path):
    port, = freePorts(1)
    text = DEMO.format(settings="log = file:/proc/access.log", bind=f"127.0.0.1:{port}")
    assert "cannot open the log file:/proc/access.log: " in refused(started(tmp_path, text))


def test_aConfigurationThatIsNotThere(tmp_path):
    done = run(
        TWISTD, "-n", "--pidfile=", "lbtwist", "--config", "missing.ini",
        cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert "missing.ini" in refused(done)
    assert "1 error: nothing was started" in done.stderr


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_aBadConfiguration(tmp_path, check):
    text = DEMO.format(settings="", bind="127.0.0.1:99999") + "balence = leastconn\n"
    said = refused(started(tmp_path, text, *check))
    assert re.search(r"lb\.ini:4\b.*99999", said)
    assert re.search(r"lb\.ini:8\b.*did you mean 'balance'", said)
    assert "2 errors: nothing was started" in said


def test_theCheckOpensNothing(tmp_path):
    with wire.listening() as taken:
        text = DEMO.format(settings="", bind=f"127.0.0.1:{wire.port(taken)}, unix:www.sock")
        done = started(tmp_path, text, "--check")
    assert (done.returncode, done.stdout) == (0, "Configuration file is valid\n"), done.stderr
    assert not (tmp_path / "www.sock").exists()


# the end


def balancing(server, grace):
    port, = freePorts(1)
    return port, f"""\
        [global]
        grace-period = {grace}
        log = file:access.log
        [frontend www]
        bind = 127.0.0.1:{port}, unix:www.sock
        pool = app
        [pool app]
        server app = 127.0.0.1:{wire.port(server)}
        """


def test_aDownloadIsFinished(tmp_path):
    with wire.listening() as server:
        port, text = balancing(server, "20s")
        with Balancer(tmp_path, text) as balancer, wire.connect(port) as idle:
            client, connection = wire.download(port, server)
            balancer.process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b"", "who asks for nothing is let go"
            until(lambda: not listens(port))
            with pytest.raises(ConnectionRefusedError):
                wire.connect(port)
            assert not (tmp_path / "www.sock").exists()
            connection.sendall(b"half")
            assert wire.readAll(client) == b"half"
            assert balancer.process.wait(15) == 0
            balancer.isContent()
            client.close()
            connection.close()
        assert balancer.line("/slow").split()[9] == "----"


def test_aDownloadThatTakesTooLongIsBrokenOff(tmp_path):
    with wire.listening() as server:
        port, text = balancing(server, "300ms")
        with Balancer(tmp_path, text) as balancer:
            client, connection = wire.download(port, server)
            balancer.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert balancer.process.wait(15) == 0
            client.close()
            connection.close()
        assert balancer.line("/slow").split()[9] == "KD--"


def test_aSecondSignalDoesNotWait(tmp_path):
    with wire.listening() as server:
        port, text = balancing(server, "1h")
        with Balancer(tmp_path, text) as balancer:
            client, connection = wire.download(port, server)
            balancer.process.send_signal(signal.SIGTERM)
            until(lambda: not listens(port))
            assert balancer.process.poll() is None
            balancer.process.send_signal(signal.SIGINT)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert balancer.process.wait(15) == 0
            client.close()
            connection.close()


def test_anInterruptEndsItAsWell(tmp_path):
    port, = freePorts(1)
    with Balancer(tmp_path, DEMO.format(settings="", bind=f"127.0.0.1:{port}")) as balancer:
        assert answered(port) == b"200"
        balancer.process.send_signal(signal.SIGINT)
        assert balancer.process.wait(15) == 0


# other ways to start it


def ended(pid):
    """Whether a process that is not our child has ended."""
    try:
        with open(f"/proc/{pid}/stat") as state:
            return state.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def daemon(tmp_path):
    """A function that starts a daemon; what it started is ended."""
    pids = []

    def start(text, *arguments):
        write(tmp_path / "etc/lb.ini", text)
        (tmp_path / "away").mkdir()
        done = run(
            TWISTD, "--rundir", "away", "--pidfile", tmp_path / "lb.pid",
            "--logfile", tmp_path / "lb.log", *arguments, "lbtwist", "--config", "etc/lb.ini",
            cwd=tmp_path, env=environment(),
        )  # fmt: skip
        if done.returncode == 0:
            pids.append(int((tmp_path / "lb.pid").read_text()))
        return done, (pids or [0])[-1]

    yield start
    for pid in pids:
        if not ended(pid):
            os.kill(pid, signal.SIGKILL)


def test_aDaemon(tmp_path, daemon):
    """Paths are relative to the configuration, which is relative to where it was started."""
    port, = freePorts(1)
    text = DEMO.format(settings="log = file:../access.log", bind=f"127.0.0.1:{port}, unix:w.sock")
    done, pid = daemon(text, "--umask", "022")
    assert done.returncode == 0, done.stderr
    until(lambda: "www listens on" in (tmp_path / "lb.log").read_text())
    assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path / "away")
    assert answered(port) == b"200"
    with wire.connectUnix(tmp_path / "etc/w.sock") as client:
        client.sendall(REQUEST)
        assert wire.readResponse(client)[0].startswith(b"HTTP/1.1 200 ")
    log = tmp_path / "access.log"
    until(lambda: log.read_text().count("\n") == 2)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    os.kill(pid, signal.SIGTERM)
    until(lambda: ended(pid))
    events = (tmp_path / "lb.log").read_text()
    assert "Server Shut Down." in events
    assert "Traceback" not in events
    assert not (tmp_path / "lb.pid").exists()
    assert not (tmp_path / "etc/w.sock").exists()


def test_theAccessLogOfACarefulUser(tmp_path, daemon):
    port, = freePorts(1)
    text = DEMO.format(settings="log = file:../access.log", bind=f"127.0.0.1:{port}")
    done, pid = daemon(text, "--umask", "077")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "access.log").stat().st_mode) == 0o600
    until(lambda: answered(port) == b"200")
    os.kill(pid, signal.SIGTERM)
    until(lambda: ended(pid))


def test_aDaemonThatCannotStart(tmp_path, daemon):
    """Who started it is told, and why is in the log."""
    with wire.listening() as taken:
        bind = f"127.0.0.1:{wire.port(taken)}"
        done, _ = daemon(DEMO.format(settings="", bind=bind))
    assert done.returncode == 1
    assert f"cannot listen on {bind}" in done.stderr
    # Who started it hears of it a moment before the log does.
    log = tmp_path / "lb.log"
    until(lambda: "lbtwist cannot start: etc/lb.ini:4" in log.read_text())
    events = log.read_text()
    assert f"cannot listen on {bind}: Address already in use" in events
    assert "Traceback" not in events + done.stdout + done.stderr
    until(lambda: not (tmp_path / "lb.pid").exists())


@pytest.mark.parametrize(
    "command",
    [[TWIST, "--log-format", "text"], [sys.executable, "-m", "twisted", "--log-format", "text"]],
    ids=["twist", "python -m twisted"],
)
def test_twist(tmp_path, command):
    port, = freePorts(1)
    write(tmp_path / "lb.ini", DEMO.format(settings="", bind=f"127.0.0.1:{port}"))
    command = [*command, "--reactor", "lbtwist", "lbtwist", "--config", "lb.ini"]
    with Child(command, tmp_path, "twist", env=environment()) as child:
        child.until(lambda: listens(port))
        until(lambda: answered(port) == b"200")
        assert child.terminate() == 0
        assert "Traceback" not in child.out + child.err
