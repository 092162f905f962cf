"""
The verb C{explain}: an administrator waits for a real request, and is told how it was decided.
"""

import json
from contextlib import suppress

import pytest

from lbtwist.explaining.watched import MOST
from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}
[conditions]
shopping = path.startswith("/shop")
[frontend www]
bind = ${bind}
pool = app
request = deny if path == "/no"
[frontend raw]
mode = tcp
bind = ${bind}.raw
pool = tcp
[pool app]
server a = ${a}
[pool tcp]
mode = tcp
server b = ${b}
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def balancer():
    with Balancer(CONFIG, "a", "b") as balancer:
        yield balancer
        assert not len(balancer.running._watchers)


def waits(balancer, words=""):
    """@return: an administrator who waits for an exchange."""
    one = balancer.administrator()
    one.sends(f"set output json; explain {words}\n".encode())
    one.receives(rb'\{"severity":"output","text":""\}\n\n')
    return one


def told(administrator):
    return json.loads(administrator.receives(rb"(.*)")[1])


def asks(balancer, path="/", frontend="www"):
    client = balancer.client(frontend=frontend)
    client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
    return client


def served(balancer, path):
    client = asks(balancer, path)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(OK)
    client.receives(rb"HTTP/1.1 200 .*")


def test_theNextRequest(balancer):
    one = waits(balancer)
    asks(balancer, "/no")
    value = told(one)["value"]
    assert value["action"]["text"].startswith("answered with 403")
    assert [step["kind"] for step in value["steps"]][:2] == ["request", "frontend"]


def test_theNextThatMatches(balancer):
    one = waits(balancer, 'frontend www match shopping and method == "GET"')
    asks(balancer, "/no")
    served(balancer, "/shop/1")
    action = told(one)["value"]["action"]
    assert (action["what"], action["server"], action["status"]) == ("sent", "a", 200)


def test_whatIsNoRequestIsNotAskedFor(balancer):
    one = waits(balancer, 'match path == "/no"')
    client = balancer.client()
    client.sends(b"rubbish\r\n\r\n")
    client.receives(rb"HTTP/1.1 400 .*")
    asks(balancer, "/no")
    assert told(one)["value"]["action"]["status"] == 403


def test_aConditionWithSpacesInATextOfIt(balancer):
    one = waits(balancer, 'match header["X-A"]\\ ==\\ "b\\ \\ c"')
    client = balancer.client()
    client.sends(b"GET /no HTTP/1.1\r\nHost: h\r\nX-A: b  c\r\n\r\n")
    assert told(one)["value"]["action"]["status"] == 403


def test_aSession(balancer):
    one = waits(balancer, "frontend raw")
    client = balancer.client(frontend="raw")
    server = balancer.server("b").accepts()
    client.sends(b"x")
    server.receives(rb"x")
    server.ends()
    client.ends()
    client.isEnded()
    assert told(one)["value"]["action"]["pool"] == "tcp"


def test_whatOnlyOneKindOfFrontendCanBeAsked(balancer):
    one = waits(balancer, 'match path == "/no"')
    client = balancer.client(frontend="raw")
    client.socket.close()
    balancer.pump.turn()
    asks(balancer, "/no")
    assert told(one)["value"]["action"]["status"] == 403


def test_forPeople(balancer):
    administrator = balancer.administrator()
    administrator.sends(b"explain\n")
    asks(balancer, "/no")
    said = administrator.receives(rb"(.*)")[1].decode()
    assert said.startswith("request     GET /no from 203.0.113.9:40000 to port 80\n")
    assert 'request rules of frontend www\n  lb.ini:9  deny if path == "/no"\n' in said


def test_nobodyComes(balancer):
    one = waits(balancer, "limit 5s")
    balancer.advance(6)
    assert told(one) == {
        "severity": "warning", "text": "no such exchange has come within 5 s."
    }  # fmt: skip


def test_anExchangeThatHasNotEndedInTime(balancer):
    one = waits(balancer, "limit 5s frontend www")
    client = asks(balancer)
    balancer.server("a").accepts()
    balancer.advance(6)
    assert told(one)["value"]["action"]["what"] == "under way"
    client.socket.close()


def test_whoGoesAwayWaitsNoLonger(balancer):
    one = waits(balancer)
    assert len(balancer.running._watchers) == 2
    with suppress(OSError):
        one.socket.close()
    balancer.advance(6)
    assert not len(balancer.running._watchers)


def test_tooMany(balancer):
    for _ in range(MOST):
        waits(balancer, "frontend www limit 1s")
    said = balancer.asks("explain frontend raw")
    balancer.advance(2)
    assert said == f"{MOST} are waiting for an exchange already.\n"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("now", "Only 'frontend', 'limit' and 'match' are known."),
        ("frontend", "No such frontend."),
        ("frontend x", "No such frontend."),
        ("limit 2h", "A time up to 1h is accepted."),
        ("limit 0", "A time up to 1h is accepted."),
        ("match", "A condition has to follow 'match': path.startswith(\"/x\")."),
        ("match path.beginswith(1)", "match: "),
        ("match 1 +", "match: it is not an expression: invalid syntax (character 4)."),
        ("frontend raw match path == 1", "match: "),
        ("match __import__(1)", "match: "),
    ],
)
def test_whatCannotBeAsked(balancer, words, answer):
    said = balancer.asks(f"explain {words}")
    assert said.startswith(answer)
    assert said.count("\n") == 1


def test_whoMay(balancer):
    assert balancer.asks("user; explain") == "\nPermission denied\n"
