"""What a server of an ensemble says, whatever pieces it comes in, and what becomes of it."""

import pytest
import zookeeper_check

from lbtwist.health import Admin, Result
from lbtwist.registry import installed
from lbtwist.testing import Balancer, inPieces

CONFIG = """
[frontend writes]
mode = tcp
bind = ${bind}
pool = ensemble
connection = role leader

[pool ensemble]
mode = tcp
check = zookeeper busy=10 interval=1s timeout=10s fall=1 jitter=0
server a = ${a}
server b = ${b}
"""

ANSWER = (
    b"Zookeeper version: 3.8.4-9316c2a7a97e1666d8f4593f34dd6fc36ecc436c, built on 2024-02-12\n"
    b"Latency min/avg/max: 0/0.5/12\nReceived: 5\nSent: 4\nConnections: 1\nOutstanding: %d\n"
    b"Zxid: 0x100000004\nMode: %b\nNode count: 5\n"
)


@pytest.fixture
def balancer():
    with Balancer(CONFIG, "a", "b", registry=installed(zookeeper_check.check)) as running:
        yield running


def tells(balancer, name, *pieces):
    """
    A server is asked, and answers.

    @return: the server, and the result.
    """
    if not balancer.server(name).connected:
        balancer.advance(1.0)
    asked = balancer.server(name).accepts()
    asked.receivesExactly(b"srvr")
    for piece in pieces:
        asked.sends(piece)
    asked.closes()
    server = balancer.running.pool("ensemble").find(name)
    return server, server.health.results[-1]


def test_theModeIsTheRole(balancer):
    """Rules ask for it: who writes comes to the leader."""
    tells(balancer, "a", ANSWER % (0, b"follower"))
    _, result = tells(balancer, "b", ANSWER % (0, b"leader"))
    assert result == Result(
        True, "L7OK", "its mode is leader", result.duration, 100, Admin.READY, role="leader"
    )
    balancer.client().sends(b"a write")
    balancer.server("b").accepts().receivesExactly(b"a write")


@pytest.mark.parametrize(
    ("outstanding", "weight", "state"),
    [(0, 100, Admin.READY), (3, 70, Admin.READY), (9, 10, Admin.READY), (10, 1, Admin.DRAIN),
     (5000, 1, Admin.DRAIN)],
)  # fmt: skip
def test_whoIsBusyGetsLess(balancer, outstanding, weight, state):
    server, _ = tells(balancer, "a", ANSWER % (outstanding, b"follower"))
    assert (server.weight, server.health.admin) == (weight / 100, state)
    server, _ = tells(balancer, "a", ANSWER % (0, b"follower"))
    assert (server.weight, server.health.admin) == (1, Admin.READY)


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (b"This ZooKeeper instance is not currently serving requests\n", "L7STS",
         "This ZooKeeper instance is not currently serving requests"),
        (b"srvr is not executed because it is not in the whitelist.\n", "L7STS",
         "srvr is not executed because it is not in the whitelist."),
        (b"Mode: leader\n", "L7RSP", "it does not say how many requests are outstanding"),
        (b"Outstanding: 0\n", "L7RSP", "the connection ended before the mode"),
        (b"x" * 5000, "L7RSP", "the mode is a line of more than 4096 bytes"),
    ],
)  # fmt: skip
def test_whoDoesNotServeIsDown(balancer, answer, status, detail):
    server, result = tells(balancer, "a", answer)
    assert (result.passed, result.status, result.detail) == (False, status, detail)
    assert not server.health.up


def test_aModeThatIsNoWordIsNoRole(balancer):
    """It is told of nevertheless, as far as a terminal should be trusted with it."""
    for mode, role, shown in ((b"leader", "leader", "leader"), (b"\x1b[2J a", "", "[2J a")):
        server, result = tells(balancer, "a", ANSWER % (0, mode))
        assert (server.role, result.detail) == (role, f"its mode is {shown}")


def test_inAnyPieces(balancer):
    """What comes after the mode is not waited for."""
    for pieces in inPieces(ANSWER.partition(b"Node")[0] % (3, b"leader")):
        server, result = tells(balancer, "a", *pieces)
        assert (result.passed, server.role, server.weight) == (True, "leader", 0.7)
