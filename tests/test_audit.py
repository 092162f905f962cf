"""Changes that administrators make, as they are written down."""

import json

import pytest
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from lbtwist.admin.audit import Audit, Change

CHANGE = Change.between(
    "uid 0 pid 1", ["set", "server", "app/a", "weight", "2"],
    {"weight": 1, "state": "UP", "addr": ""}, {"weight": 2, "state": "UP", "addr": "x"}, "",
)  # fmt: skip
HOSTILE = Change('me"\n', ["set", "x\n\x1b[2J\u202e\ud800"], "no\r\n{}", False)


class Lines:
    """A writer that keeps what it is given, and when it was written."""

    def __init__(self):
        self.lines = []
        self.written = 0

    def write(self, line):
        self.lines.append(line)

    def flush(self):
        self.written = len(self.lines)


@pytest.fixture
def events():
    found = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


def test_onlyWhatIsAnotherNow():
    assert (CHANGE.before, CHANGE.after) == ({"weight": 1, "addr": ""}, {"weight": 2, "addr": "x"})


def test_inAPlaceOfItsOwn(events):
    writer = Lines()
    Audit(writer, lambda: 1700000000.25).write(CHANGE)
    assert writer.written == 1 and events == []
    assert json.loads(writer.lines[0]) == {
        "at": "2023-11-14T22:13:20.250Z", "who": "uid 0 pid 1",
        "what": "set server app/a weight 2", "before": CHANGE.before, "after": CHANGE.after,
        "result": "done", "done": True,
    }  # fmt: skip


def test_inTheLogOfTheProgram(events):
    Audit().write(CHANGE)
    [event] = events
    assert formatEvent(event) == (
        "uid 0 pid 1: set server app/a weight 2: done (weight 1 -> 2, addr - -> x)"
    )
    assert event["log_level"] == LogLevel.info


def test_whatIsRefusedIsAWarning(events):
    Audit().write(HOSTILE)
    [event] = events
    assert event["log_level"] == LogLevel.warn
    assert formatEvent(event).endswith(": set x ?[2J??: refused, no {}")


def test_oneLineWhateverIsSaid():
    writer = Lines()
    Audit(writer).write(HOSTILE)
    [line] = writer.lines
    assert line.isascii() and line.isprintable()
    assert json.loads(line)["result"] == "no\r\n{}" and not json.loads(line)["done"]


def test_itIsBounded():
    writer = Lines()
    Audit(writer).write(Change("me", ["x" * 100_000], "y" * 100_000))
    assert len(writer.lines[0]) < 3000
