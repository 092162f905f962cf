"""What systemd is told, by a socket that is the test's (sd_notify(3))."""

import os
import socket

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from lbtwist.notifying import MARGIN, STATUS_INTERVAL, Notifying


class Manager:
    """systemd's end."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.setblocking(False)

    def hears(self):
        """@return: the lines of the one message that has come."""
        lines = self.socket.recv(4096).decode().split("\n")
        self.hearsNothing()
        return lines

    def hearsNothing(self):
        with pytest.raises(BlockingIOError):
            self.socket.recv(4096)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    path = str(tmp_path / "notify")
    manager = Manager(path if request.param == "path" else f"@lbtwist-{os.getpid()}-{path}")
    with manager.socket:
        yield manager


def notifying(manager, watchdog=None, **more):
    clock = Clock()
    environment = {"NOTIFY_SOCKET": manager.address, "PATH": "/bin", **more}
    if watchdog is not None:
        environment["WATCHDOG_USEC"] = watchdog
    found = Notifying.fromEnvironment(environment, clock, lambda: "12 connections,\n 3 servers")
    # Programs that checks run have nothing to say to systemd.
    assert environment == {"PATH": "/bin"}
    return found, clock


def test_ready(manager):
    one, clock = notifying(manager)
    one.ready()
    # The number, for it may have taken the place of another process.
    assert manager.hears() == [
        "READY=1", f"MAINPID={os.getpid()}", "STATUS=12 connections, 3 servers"
    ]  # fmt: skip
    clock.advance(STATUS_INTERVAL)
    # Nobody waits for a sign of life.
    assert manager.hears() == ["STATUS=12 connections, 3 servers"]


def test_signsOfLife(manager):
    """Twice as often as systemd wants them, and only once it is ready."""
    one, clock = notifying(manager, watchdog="3000000", WATCHDOG_PID=str(os.getpid()))
    clock.advance(100)
    manager.hearsNothing()
    one.ready()
    assert manager.hears()[0] == "READY=1"
    for _ in range(3):
        clock.advance(1.4)
        manager.hearsNothing()
        clock.advance(0.1)
        assert manager.hears() == ["WATCHDOG=1", "STATUS=12 connections, 3 servers"]


@pytest.mark.parametrize(
    "more", [{"WATCHDOG_PID": "1"}, {"watchdog": "soon"}, {"watchdog": "\u0663"}]
)
def test_noSignsOfLife(manager, more):
    """They are awaited of another process, or not at all."""
    one, clock = notifying(manager, **{"watchdog": "3000000", **more})
    one.ready()
    manager.hears()
    clock.advance(STATUS_INTERVAL)
    assert manager.hears() == ["STATUS=12 connections, 3 servers"]


def test_reloading(manager):
    one, clock = notifying(manager)
    one.ready()
    manager.hears()
    one.reloading()
    first, when, said = manager.hears()
    assert (first, said) == ("RELOADING=1", "STATUS=reloads its configuration")
    name, _, value = when.partition("=")
    assert name == "MONOTONIC_USEC" and int(value) > 0
    one.ready()
    assert manager.hears()[0] == "READY=1"
    assert len(clock.getDelayedCalls()) == 1


def test_stopping(manager):
    """systemd waits for as long as it takes; no timer is left."""
    one, clock = notifying(manager, watchdog="3000000")
    one.ready()
    manager.hears()
    one.stopping(120)
    first, extend, _ = manager.hears()
    assert first == "STOPPING=1"
    assert extend == f"EXTEND_TIMEOUT_USEC={int(120 + MARGIN)}000000"
    assert clock.getDelayedCalls() == []
    one.stopping(120)


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path"])
def test_nobodyToTell(address):
    assert Notifying.fromEnvironment({"NOTIFY_SOCKET": address}, Clock(), str) is None
    assert Notifying.fromEnvironment({}, Clock(), str) is None


def test_nobodyListens(tmp_path):
    """It is said once, until it works again."""
    clock = Clock()
    path = str(tmp_path / "notify")
    one = Notifying(path, clock, lambda: "well")
    with capturedLogs() as events:
        one.ready()
        clock.advance(STATUS_INTERVAL)
    event, = events
    assert formatEvent(event) == "systemd cannot be told: No such file or directory"
    manager = Manager(path)
    with manager.socket:
        clock.advance(STATUS_INTERVAL)
        assert manager.hears() == ["STATUS=well"]
    with capturedLogs() as events:
        clock.advance(STATUS_INTERVAL)
    assert len(events) == 1


def test_aSocketThatIsFull(manager):
    """Nothing waits for systemd."""
    one, clock = notifying(manager)
    with capturedLogs() as events:
        for _ in range(2000):
            one.reloading()
    assert len(events) == 1
