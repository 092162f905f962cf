"""What syslog messages are: bytes that no line can forge, whatever is in it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syslogs import parsed, uncounted

from lbtwist.sansio.syslogline import (
    FACILITIES,
    SEVERITIES,
    counted,
    ended,
    messages,
    oldDate,
    printed,
    priorities,
    wrongIn,
)

HEAD = "<134>1 2009-02-06T12:14:14.655+01:00 lb1 lbtwist 4711 access - "
HOSTILE = [
    "\n", "\r\n<0>1 forged", "\0", '"]\\', "ü€😀", "\ud800", "\x1b[31m", "\u2028", "\x9b", "",
]  # fmt: skip


def test_priorities():
    """RFC 5424 section 6.2.1: eight times the facility, and the severity."""
    assert priorities("local0")[SEVERITIES.index("info")] == "<134>"
    assert priorities("kern")[0] == "<0>"
    assert priorities("local7")[7] == "<191>"
    assert len(FACILITIES) == 24 and len(SEVERITIES) == 8


@pytest.mark.parametrize("hostile", HOSTILE)
def test_noLineIsAnother(hostile):
    [message] = messages([f"{HEAD}before{hostile}after"], 8192)
    found = parsed(message)
    assert found.text.startswith("before") and found.text.endswith("after")
    assert found.host == "lb1"


def test_controlCharactersAreShown():
    assert messages(["a\nb\0c\x7fd\x85e"], 99) == [b"a#012b#000c#177d#205e"]


def test_otherCharactersStay():
    assert messages(["ü€😀"], 99) == ["ü€😀".encode()]
    assert messages(["\ud800"], 99) == [b"\\ud800"]


@given(st.lists(st.text(), min_size=1, max_size=5), st.integers(1, 40))
def test_noMessageIsTooLong(lines, most):
    """And each is cut between characters."""
    found = messages(lines, most)
    assert len(found) == len(lines)
    for line, message in zip(lines, found, strict=True):
        assert len(message) <= most
        message.decode()
        assert not set(message) & set(range(32))
        if line.isascii() and line.isprintable():
            assert message == line[:most].encode()


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=9), st.integers(0, 200))
def test_octetCounting(lines, cut):
    made = messages(lines, 99)
    stream = b"".join(map(counted, made))
    found, rest = uncounted(stream[:cut])
    assert found == made[: len(found)]
    again, rest = uncounted(rest + stream[cut:])
    assert [*found, *again] == made and rest == b""


def test_newlines():
    made = messages(["one", "two\nlines"], 99)
    assert b"".join(map(ended, made)) == b"one\ntwo#012lines\n"


@pytest.fixture
def utc(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_oldDates(utc):
    assert oldDate(1233918854) == "Feb  6 11:14:14"
    assert oldDate(1233918854 + 864000) == "Feb 16 11:14:14"


@pytest.mark.parametrize("name, good, bad", [
    ("hostname", "lb1.example.org", "lb 1"), ("hostname", "x" * 255, "x" * 256),
    ("app-name", "x" * 48, "x" * 49), ("procid", "[1]", "ü"), ("msgid", "access", "\n"),
    ("sd-id", "lbtwist@32473", "a=b"), ("sd-id", "x" * 32, 'a"b'), ("sd-id", "a.b", "a]b"),
])  # fmt: skip
def test_whatMayStandInTheHead(name, good, bad):
    assert wrongIn(name, good) is None
    assert wrongIn(name, bad)


def test_namesOfMachines():
    assert printed("lb 1\n", 9) == "lb?1?"
    assert printed("", 9) == "-"
    assert printed("x" * 9, 4) == "xxxx"
