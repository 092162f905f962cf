"""Why requests failed, as an administrator is told of it by C{why}."""

import json
import re

import pytest
from spoken import toldOf

from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}, ${admin}.look level=user
[frontend www]
bind = ${bind}
pool = app
request =
    deny if path == "/no"
    pool other if path == "/other"
    pool full if path == "/full"
[pool app]

retries = 0
timeout-server = 2s
server a = ${a}
server b = ${b}
[pool other]
retries = 0
server c = 127.0.0.1:1
[pool full]
timeout-queue = 3s
maxqueue = 1
server d = ${d} maxconn=1
"""


@pytest.fixture
def balancer():
    with Balancer(CONFIG, "a", "b", "d") as balancer:
        yield balancer


def asks(balancer, path="/", status=503, port=40000):
    """A client asks for something and is answered by the balancer."""
    client = balancer.client(port=port)
    client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
    if status:
        client.receives(b"HTTP/1.1 %d .*" % status)
    return client


def goesDown(balancer, name):
    server = balancer.running.pool("app").find(name)
    balancer.running.administration.setUp(balancer.running.pool("app"), server, False)


def why(balancer, words=""):
    """@return: what C{why} says to programs."""
    return toldOf(balancer, f"why {words}")["value"]


def kinds(balancer, words=""):
    return {group["kind"]: group["count"] for group in why(balancer, words)["groups"]}


def test_noServerAndSinceWhen(balancer):
    balancer.advance(10)
    goesDown(balancer, "a")
    balancer.advance(1)
    goesDown(balancer, "b")
    began = balancer.running.wallclock()
    balancer.advance(0.1)
    asks(balancer)
    asks(balancer, "/x", port=40001)
    [group] = why(balancer, "503")["groups"]
    assert (group["kind"], group["count"], group["pool"]) == ("no-server", 2, "app")
    assert group["text"] == "no server of app was usable"
    assert (group["ends"], group["statuses"], group["frontends"]) == (
        {"SC": 2}, {"503": 2}, {"www": 2}
    )  # fmt: skip
    [[begin, end]] = group["unusable"]
    assert (begin, end) == (round(began, 3), group["last"])
    assert [(one["name"], one["state"]) for one in group["then"]] == [("a", "DOWN"), ("b", "DOWN")]
    assert group["then"][0]["since"] == pytest.approx(began - 1)
    assert [event["server"] for event in group["events"]] == ["a", "b"]
    assert group["example"]["request"] == "GET / HTTP/1.1"


def test_theSameForPeople(balancer):
    goesDown(balancer, "a")
    goesDown(balancer, "b")
    asks(balancer)
    asks(balancer, "/no", 403)
    asks(balancer, "/no", 403)
    said = re.sub(r"\d\d:\d\d:\d\d", "TIME", balancer.asks("why last 5m"))
    assert said == (
        "3 failures in the last 5m:\n"
        "\n"
        '2 x 403: refused by a rule: lb.ini:8:5 deny if path == "/no"\n'
        "  ended PR, at TIME; by www 2\n"
        "  example: TIME 203.0.113.9:40000 GET /no HTTP/1.1\n"
        "  do: That is what it is written for; lbtwist explain shows what it sees of a request.\n"
        "\n"
        "1 x 503: no server of app was usable from TIME to TIME\n"
        "  ended SC, at TIME; by www 1\n"
        "  servers then: a DOWN since TIME (UNK by an administrator);"
        " b DOWN since TIME (UNK by an administrator)\n"
        "  TIME Server app/a is DOWN, reason: UNK by an administrator, check duration 0.0 ms."
        " 1 active and 0 backup servers"
        " left.\n"
        "  TIME Server app/b is DOWN, reason: UNK by an administrator, check duration 0.0 ms."
        " 0 active and 0 backup servers"
        " left.\n"
        "  example: TIME 203.0.113.9:40000 GET / HTTP/1.1\n"
        "  do: Mend or start its servers; a server with backup, or panic-threshold, would have"
        " answered meanwhile.\n"
    )


def test_nothing(balancer):
    assert balancer.asks("why") == "Nothing of that kind has failed in the last 1h.\n"
    assert balancer.asks("why 503 last 90s") == "Nothing of that kind has failed in the last 90s.\n"


def test_aServerThatCannotBeConnectedTo(balancer):
    asks(balancer, "/other")
    [group] = why(balancer)["groups"]
    assert (group["kind"], group["text"]) == ("connect", "other/c could not be connected to")
    assert "refused" in group["example"]["reason"]


def test_theQueue(balancer):
    asks(balancer, "/full", 0)
    late = asks(balancer, "/full", 0)
    asks(balancer, "/full")
    balancer.advance(5)
    late.receives(rb"HTTP/1.1 503 .*")
    assert kinds(balancer) == {"queue-full": 1, "queue-timeout": 1}
    assert kinds(balancer, "SQ") == {"queue-full": 1}
    assert kinds(balancer, "s") == {"queue-timeout": 1}
    assert kinds(balancer, "pool app") == {}


def test_whatServersDo(balancer):
    slow = asks(balancer, status=0)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    balancer.advance(4)
    slow.receives(rb"HTTP/1.1 504 .*")
    closing = asks(balancer, status=0)
    server = balancer.server("b").accepts()
    server.receives(rb"GET.*")
    server.ends()
    closing.receives(rb"HTTP/1.1 502 .*")
    client = asks(balancer, status=0)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    client.receives(rb"HTTP/1.1 500 .*")
    junk = asks(balancer, status=0)
    server = balancer.server("b").accepts()
    server.receives(rb"GET.*")
    server.sends(b"220 hello\r\n")
    junk.receives(rb"HTTP/1.1 502 .*")
    assert kinds(balancer) == {
        "server-slow": 1, "server-closed": 1, "server-answered": 1, "response": 1
    }  # fmt: skip
    assert kinds(balancer, "502") == {"server-closed": 1, "response": 1}
    assert kinds(balancer, "5xx server app/a") == {"server-slow": 1, "server-answered": 1}
    assert kinds(balancer, "server-slow frontend www") == {"server-slow": 1}


def test_whatAServerAnswersIsNoFailureInTheCounters(balancer):
    client = asks(balancer, status=0)
    server = balancer.server("a").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n")
    client.receives(rb"HTTP/1.1 503 .*")
    assert kinds(balancer, "503") == {"server-answered": 1}
    assert balancer.running.frontend("www").inbound.traffic.failed == 0


def test_bodiesThatAreBroken(balancer):
    client = asks(balancer, "/full", 0)
    server = balancer.server("d").accepts()
    server.receives(rb"GET.*")
    server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    client.receives(rb"HTTP/1.1 200.*")
    server.sends(b"zz")
    client.isReset()
    client = balancer.client()
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    balancer.server("a").accepts().receives(rb"POST.*")
    client.sends(b"zz")
    client.receives(rb"HTTP/1.1 400.*")
    assert kinds(balancer) == {"response": 1, "request": 1}
    assert kinds(balancer, "pool full") == {"response": 1}


def test_clientsAndTheirRequests(balancer):
    asks(balancer, "/\x01", 400)
    client = balancer.client()
    client.sends(b"GET / HT")
    client.socket.close()
    balancer.pump.turn()
    assert kinds(balancer) == {"request": 1, "client-left": 1}


def test_whatIsLongAgo(balancer):
    asks(balancer, "/no", 403)
    balancer.advance(100)
    asks(balancer, "/no", 403)
    assert kinds(balancer, "last 1m") == {"rule": 1}
    assert kinds(balancer, "last 2m") == {"rule": 2}
    assert kinds(balancer) == {"rule": 2}


def test_moreThanAreRememberedOneByOneAreCounted(balancer):
    for _ in range(150):
        asks(balancer, "/no", 403).socket.close()
    balancer.advance(1)
    assert kinds(balancer) == {"rule": 150}
    assert balancer.asks("show failures").count("\n") == 101


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("rain", "'rain' is no status, no end as in the log, and no kind: write 503, SC,"),
        ("last", "Something has to follow 'last'."),
        ("last 2h", "A time up to 1h is remembered."),
        ("last never", ""),
        ("pool x", "No such backend."),
        ("frontend x", "No such frontend."),
        ("99999", "'99999' is no status,"),
    ],
)
def test_whatCannotBeAsked(balancer, words, answer):
    said = balancer.asks(f"set severity-output string; why {words}")
    assert said.startswith(f"\n[err]: {answer}")
    assert said.count("\n") == 2


def test_whoMay(balancer):
    assert balancer.asks("user; why") == "\nPermission denied\n"


def test_asJSON(balancer):
    asks(balancer, "/no", 403)
    assert json.loads(balancer.asks("why json"))["count"] == 1


def test_textsOfStrangersDoNoHarm(balancer):
    asks(balancer, "/no?\x85\x9b2J", 400)
    said = balancer.asks("why")
    assert all(one.isprintable() or one == "\n" for one in said)
