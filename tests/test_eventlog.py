"""The program's own events as lines: what strangers have said in them ends no line."""

import json
from threading import Thread
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syslogs import parsed
from test_accesslog import paris  # noqa: F401
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from lbtwist.config.load import loadText
from lbtwist.eventlog import EventLog, EventTarget, asJSON, asMessage, asText, severityOf
from lbtwist.logged import eventLogOf
from lbtwist.logs import Logs
from lbtwist.registry import installed
from lbtwist.sansio.syslogline import messages

AT = 1233918854.655
CONFIG = "[global]\nevent-log = {}\n[frontend www]\nbind = :80\npool = app\n" \
         "[pool app]\nserver a = demo:a\n"  # fmt: skip


def event(text="{pool}/{server} is down", /, log_level=LogLevel.warn, **others):
    return {
        "log_format": text, "log_level": log_level, "log_namespace": "lbtwist.monitor",
        "log_time": AT, "pool": "app", "server": "s1", **others,
    }  # fmt: skip


def failure():
    try:
        raise ZeroDivisionError("over\nthere")
    except ZeroDivisionError:
        return Failure()


def test_text():
    assert asText(event()) == (
        "2009-02-06T12:14:14.655+01:00 warning lbtwist.monitor: app/s1 is down"
    )
    assert asMessage(event()) == "lbtwist.monitor: app/s1 is down"


def test_json():
    assert json.loads(asJSON(event(tries=3, what=None, far=float("inf"), odd=object()))) == {
        "time": "2009-02-06T12:14:14.655+01:00", "level": "warning",
        "namespace": "lbtwist.monitor", "text": "app/s1 is down", "pool": "app", "server": "s1",
        "tries": 3, "what": None, "far": "inf",
    }  # fmt: skip


def test_aTraceback():
    broken = event("broken", LogLevel.critical, log_failure=failure())
    assert "ZeroDivisionError: over\nthere" in json.loads(asJSON(broken))["traceback"]
    line = asText(broken)
    assert r"ZeroDivisionError: over\nthere" in line and line.isprintable()


@given(st.text(), st.text())
def test_aLineIsOneLine(text, name):
    for line in (asText, asMessage, asJSON):
        made = line(event("{text}{pool}", text=text, pool=name, log_namespace=name or "x"))
        assert made.isprintable()
        assert b"\n" not in made.encode()


def test_noFieldOfAnEventIsTakenForOurs():
    found = json.loads(asJSON(event(text="forged", time=1, level="fine", namespace="x")))
    assert found["level"] == "warning" and found["text"] == "app/s1 is down"


@pytest.mark.parametrize("level, severity", [
    (LogLevel.debug, 7), (LogLevel.info, 6), (LogLevel.warn, 4), (LogLevel.error, 3),
    (LogLevel.critical, 2), (None, 6),
])  # fmt: skip
def test_severities(level, severity):
    assert severityOf(event(log_level=level)) == severity


def test_eventsOfOldPrograms():
    """What C{twisted.python.log} makes."""
    assert severityOf({"isError": 1, "message": ()}) == 3
    assert asText({"log_time": AT, "log_system": "-", "log_format": "old"}).endswith(" -: old")


class Kept:
    """Keeps lines."""

    def __init__(self):
        self.lines = []
        self.write = self.lines.append


def test_fromALevel():
    publisher, few, many = LogPublisher(), Kept(), Kept()
    targets = [EventTarget(few, 4, asMessage), EventTarget(many, 7, asMessage)]
    events = EventLog(targets, publisher)
    assert events.writers == (few, many)
    log = Logger("test", observer=publisher)
    log.warn("before")
    events.start()
    log.warn("bad")
    log.info("good")
    events.stop()
    log.warn("after")
    assert few.lines == ["test: bad"]
    assert many.lines == ["test: bad", "test: good"]


def test_whatAWriterSaysOfItselfIsForTheOthers():
    publisher, broken, other = LogPublisher(), Kept(), Kept()
    EventLog([EventTarget(one, 7, asMessage) for one in (broken, other)], publisher).start()
    Logger("test", observer=publisher).warn("it takes nothing", writer=broken)
    assert broken.lines == [] and other.lines == ["test: it takes nothing"]


def made(log, monkeypatch):
    """@return: what makes a line of an event, of a target in a configuration."""
    config, _ = loadText(CONFIG.format(log), installed())
    found = eventLogOf(config, lambda target: SimpleNamespace(write=None))
    return found and found._targets[0].line


def test_overSyslog(monkeypatch):
    line = made("udp:127.0.0.1:514 daemon hostname=lb1", monkeypatch)(event("ü\n{pool}"))
    message = parsed(*messages([line], 8192))
    assert (message.facility, message.severity, message.host) == (3, 4, "lb1")
    assert (message.id, message.text) == ("event", "lbtwist.monitor: ü\\napp")


def test_overSyslogAsJSON(monkeypatch):
    line = made("tcp:127.0.0.1:514 format=json", monkeypatch)(event())
    message = parsed(*messages([line], 8192))
    assert json.loads(message.text)["server"] == "s1"


def test_toAFile(monkeypatch):
    assert made("file:events.log", monkeypatch) is asText
    assert made("stdout format=json", monkeypatch) is asJSON
    assert made("off", monkeypatch) is None


def test_itIsWrittenWhileTheLogsAreOpen(tmp_path):
    clock = Clock()
    logs = Logs(clock)
    config, _ = loadText(CONFIG.format(f"file:{tmp_path}/events.log"), installed())
    logs.events = eventLogOf(config, lambda target: logs.writer(target.path))
    log = Logger("test")
    log.info("early")
    logs.open()
    log.info("one")
    logs.events = eventLogOf(config, lambda target: logs.writer(target.path))
    log.info("two")
    logs.close()
    log.info("late")
    lines = (tmp_path / "events.log").read_text().splitlines()
    assert [line.partition("test: ")[2] for line in lines] == ["one", "two"]


def test_eventsOfOtherThreadsAreWrittenInOurs():
    publisher, kept, called = LogPublisher(), Kept(), []
    events = EventLog(
        [EventTarget(kept, 7, asMessage)], publisher, lambda *call: called.append(call)
    )
    events.start()
    log = Logger("test", observer=publisher)
    thread = Thread(target=lambda: log.info("from elsewhere"))
    thread.start()
    thread.join()
    assert kept.lines == []
    [(call, event)] = called
    call(event)
    assert kept.lines == ["test: from elsewhere"]
