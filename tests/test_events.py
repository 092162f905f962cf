"""How a server is, in a word, and what is said where that changes."""

import pytest
from told import event

from lbtwist.events import LONGEST, plain, stateOf
from lbtwist.health import Admin, Health, Result
from lbtwist.testing import makeServers

CHECKED = Result(False, "L4CON", "connection refused", 0.0008)


@pytest.mark.parametrize(
    ("health", "server", "state"),
    [
        ({}, {}, "UP"),
        ({"up": False}, {}, "DOWN"),
        ({"admin": Admin.DRAIN}, {}, "DRAIN"),
        ({}, {"weight": 0}, "DRAIN"),
        ({"admin": Admin.DRAIN, "up": False}, {}, "DOWN"),
        ({"ejected": True}, {}, "EJECTED"),
        ({"ejected": True, "up": False}, {}, "DOWN"),
        ({"admin": Admin.MAINT, "up": False}, {}, "MAINT"),
        ({"admin": Admin.MAINT}, {"leaving": True}, "LEAVING"),
        ({"followed": Health(admin=Admin.MAINT)}, {}, "MAINT"),
        ({"followed": Health(admin=Admin.DRAIN)}, {}, "DRAIN"),
    ],
)
def test_states(health, server, state):
    [found] = makeServers(1)
    for name, value in health.items():
        setattr(found.health, name, value)
    for name, value in server.items():
        setattr(found, name, value)
    assert stateOf(found) == state
    assert found.usable == (state == "UP")


def test_asItWasBefore():
    [server] = makeServers(1)
    assert (stateOf(server, up=False), stateOf(server)) == ("DOWN", "UP")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("  two\r\n words\t", "two words"),
        ("a\r\nBcc: all@example.org", "a Bcc: all@example.org"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("nul\0", "nul?"),
        ("half \udc80", "half ?"),
        ("right\u202eleft", "right?left"),
        ("Zoë \N{SNOWMAN}", "Zoë \N{SNOWMAN}"),
        ("line\u2028two", "line two"),
        ("x" * (10 * LONGEST), "x" * LONGEST),
        (" " * (10 * LONGEST) + "x", ""),
    ],
)
def test_whatStrangersSay(said, shown):
    assert plain(said) == shown
    plain(said).encode()


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (
            event(reason="L4CON connection refused", result=CHECKED, active=1),
            "Server app/a is DOWN, reason: L4CON connection refused, check duration 0.8 ms. "
            "1 active and 0 backup servers left.",
        ),
        (
            event(what="up", before="DOWN", after="UP", active=2, backup=1),
            "Server app/a is UP. 2 active and 1 backup servers online.",
        ),
        (
            event(what="weight", reason="agent", weight=50, maxconn=7),
            "Server app/a has weight 50 and maxconn 7 now, reason: agent.",
        ),
        (event(what="role", role="primary"), "Server app/a has role primary now."),
        (event(what="role"), "Server app/a has no role now."),
    ],
)
def test_sentences(told, text):
    assert told.text == text
