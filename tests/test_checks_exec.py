"""The check by a program: what it is given, what is made of its end, and that it ends."""

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from shutil import rmtree

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from lbtwist.checks import CheckCancelled
from lbtwist.checks.program import ExecCheck
from lbtwist.config.load import loadText
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.registry import Context, installed
from lbtwist.server import Endpoint, Server

SERVER = Server("app", "a", Endpoint(socket.AF_INET, ("192.0.2.1", 80)), weight=5, maxconn=9)
SH = "/bin/sh"


def lives(pid):
    """Whether a process has not ended, though nobody may have waited for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def watched():
    """What the reactor watches for checks by programs."""
    return [one for one in reactor.getReaders() if type(one).__module__ == ExecCheck.__module__]


class ExecCheckTests(TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(rmtree, self.directory)

    @inlineCallbacks
    def tearDown(self):
        # What was killed is waited for by the check, and leaves nothing.
        yield self.until(lambda: not watched())

    @inlineCallbacks
    def until(self, condition):
        for _ in range(1000):
            if condition():
                return
            yield deferLater(reactor, 0.01)
        raise AssertionError("not in time")

    def make(self, program, *arguments):
        return ExecCheck(ExecCheck.Options(program, arguments), Context(reactor=reactor))

    def shell(self, script, server=SERVER):
        return self.make(SH, "-c", script).check(server)

    def test_keepsTheInterface(self):
        assert verifyObject(IHealthCheck, self.make(SH))

    @inlineCallbacks
    def test_good(self):
        assert (yield self.shell("echo fine; echo more")) == Result(True, "PROCOK", "fine")
        assert (yield self.shell("exit 0")) == Result(True, "PROCOK", "")

    @inlineCallbacks
    def test_role(self):
        """The last line that names one, of whatever program."""
        for script, role in (
            ("echo fine; echo role=replica; echo ' role=Primary '", "primary"),
            ("echo role=; exit 1", ""), ("echo 'role=a b'", ""), ("echo no role=x", None),
        ):  # fmt: skip
            assert (yield self.shell(script)).role == role, script

    @inlineCallbacks
    def test_bad(self):
        result = yield self.shell("echo no such table >&2; exit 3")
        assert result == Result(False, "PROCERR", "exit code 3: no such table")
        assert (yield self.shell("exit 1")) == Result(False, "PROCERR", "exit code 1")
        assert (yield self.shell("kill -9 $$")).detail == "killed by signal 9"

    @inlineCallbacks
    def test_noProgram(self):
        result = yield self.make(str(self.directory / "none")).check(SERVER)
        assert result == Result(False, "PROCERR", "no such file or directory")
        result = yield self.make(str(self.directory)).check(SERVER)
        assert result == Result(False, "PROCERR", "permission denied")

    @inlineCallbacks
    def test_whatItIsGiven(self):
        """The words of HAProxy and ours, and nothing of our own environment but the path."""
        file = self.directory / "said"
        self.patch(os, "environ", {"PATH": os.environ["PATH"], "SECRET": "x"})
        yield self.shell(f"env > {file}")
        said = dict(line.split("=", 1) for line in file.read_text().splitlines())
        for mine in ("PWD", "SHLVL", "_", "OLDPWD"):
            said.pop(mine, None)
        assert said == {
            "PATH": os.environ["PATH"],
            "HAPROXY_PROXY_NAME": "app", "HAPROXY_PROXY_ADDR": "NOT_USED",
            "HAPROXY_PROXY_PORT": "NOT_USED", "HAPROXY_SERVER_NAME": "a",
            "HAPROXY_SERVER_ADDR": "192.0.2.1", "HAPROXY_SERVER_PORT": "80",
            "HAPROXY_SERVER_MAXCONN": "9", "HAPROXY_SERVER_CURCONN": "0",
            "HAPROXY_SERVER_SSL": "0", "HAPROXY_SERVER_PROTO": "tcp",
            "LBTWIST_POOL": "app", "LBTWIST_SERVER": "a", "LBTWIST_ADDRESS": "192.0.2.1",
            "LBTWIST_PORT": "80", "LBTWIST_UP": "1", "LBTWIST_WEIGHT": "5",
            "LBTWIST_MAXCONN": "9", "LBTWIST_ACTIVE": "0", "LBTWIST_TLS": "0",
        }  # fmt: skip

    @inlineCallbacks
    def test_withoutArgumentsThoseOfHAProxy(self):
        program = self.directory / "check"
        program.write_text('#!/bin/sh\necho "$@"\n')
        program.chmod(0o755)
        result = yield self.make(str(program)).check(SERVER)
        assert result.detail == "NOT_USED NOT_USED 192.0.2.1 80"
        path = Server("app", "a", Endpoint(socket.AF_UNIX, "/run/a"))
        result = yield self.make(str(program)).check(path)
        assert result.detail == "NOT_USED NOT_USED /run/a NOT_USED"

    @inlineCallbacks
    def test_muchIsSaid(self):
        """More than a pipe holds: the program is not stopped by it, and it is not kept."""
        script = "import os; os.write(1, b'a' * 3_000_000); os.write(2, b'\\nend')"
        result = yield self.make(sys.executable, "-c", script).check(SERVER)
        assert result.passed and set(result.detail) == {"a"} and len(result.detail) == 120

    @inlineCallbacks
    def test_whatItLeavesIsEnded(self):
        """The result does not wait for it either, though it holds the output."""
        result = yield self.shell("sleep 600 & echo $!")
        yield self.until(lambda: not lives(result.detail))

    @inlineCallbacks
    def test_itsOwnEndOfOutputIsNotItsEnd(self):
        file = self.directory / "go"
        os.mkfifo(file)
        result = self.shell(f"exec >&- 2>&-; read x < {file}; exit 5")
        for _ in range(5):
            yield deferLater(reactor, 0.01)
        self.assertNoResult(result)
        with file.open("w") as said:
            said.write("go\n")
        assert (yield result) == Result(False, "PROCERR", "exit code 5")

    @inlineCallbacks
    def test_cancelled(self):
        """It ends with all it has started, whatever they make of signals."""
        file = self.directory / "pids"
        script = f"trap '' TERM HUP INT; sleep 600 & echo $$ $! > {file}.new;"
        result = self.shell(f"{script} mv {file}.new {file}; wait")
        yield self.until(file.exists)
        result.cancel()
        late = self.failureResultOf(result, CheckCancelled).value
        assert (late.status, late.detail) == ("PROCTOUT", "it has not ended")
        for pid in file.read_text().split():
            yield self.until(lambda pid=pid: not lives(pid))

    @inlineCallbacks
    def test_cancelledAtOnce(self):
        result = self.shell("sleep 600")
        assert watched()
        result.cancel()
        self.failureResultOf(result, CheckCancelled)
        yield self.until(lambda: not watched())

    @inlineCallbacks
    def test_nobodyIsLeftToWaitFor(self):
        """The remains of every program are taken."""
        pids = []
        for _ in range(3):
            pids.append((yield self.shell("echo $$")).detail)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    @inlineCallbacks
    def test_noDescriptorsLeft(self):
        """Where the program cannot be watched it is not left running."""

        def none(pid):
            self.pid = pid
            raise OSError(24, "Too many open files")

        self.patch(os, "pidfd_open", none)
        result = yield self.shell("sleep 600")
        assert result == Result(False, "PROCERR", "too many open files")
        assert not Path(f"/proc/{self.pid}").exists()

    @inlineCallbacks
    def test_signalsAreAsUsual(self):
        """Those that Python ignores are not ignored by programs."""
        result = yield self.make(
            sys.executable, "-c",
            "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)",
        ).check(SERVER)  # fmt: skip
        assert result.detail == "True"
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


def test_asItIsWritten():
    text = "[pool app]\nserver a = 127.0.0.1:1\ncheck = exec bin/check arg=-v arg='a b' rise=1\n"
    config, _ = loadText(text, registry=installed(), name="/etc/lb/lb.ini")
    part = config.pools["app"].check
    assert part.probe.options == ExecCheck.Options("/etc/lb/bin/check", ("-v", "a b"))
    assert part.timing.rise == 1


def test_aDeferredIsGiven():
    run = ExecCheck(ExecCheck.Options("/none"), Context(reactor=reactor)).check(SERVER)
    assert isinstance(run, Deferred)
