"""
A server that fails more than others is ejected for a while; and where too few are left all get
requests.
"""

from types import SimpleNamespace

import pytest
from spoken import GET, OK, ruled, www
from suspected import BROKEN, BUSY, fails, find, gets, told, usable
from twisted.logger import capturedLogs

from lbtwist.announcing import Announcer
from lbtwist.events import EVENTS
from lbtwist.explaining import asking, explain
from lbtwist.testing import Balancer

OUTLIER = "http-reuse = never\noutlier = consecutive-5xx=3 base-ejection=30s interval=10s\n"


def test_anOutlierIsEjectedAndReturns():
    with capturedLogs() as events, www("a", "b", pool=OUTLIER) as balancer:
        fails(balancer, "a", 3)
        assert usable(balancer) == "b"
        assert repr(find(balancer, "a")) == "<Server app/a ejected 0>"
        assert gets(balancer, OK, OK, OK) == "bbb"
        balancer.advance(29.9)
        assert usable(balancer) == "b"
        balancer.advance(0.2)
        assert usable(balancer) == "ab"
        assert sorted(gets(balancer, OK, OK)) == ["a", "b"]
    assert told(events, "eject") == [
        "Server app/a is ejected for 30 s, reason: 3 failures in a row, the last: a response "
        "with 500. 1 of 2 servers are ejected.",
        "Server app/a has been ejected long enough and is back. 0 of 2 servers are ejected.",
    ]


def test_eachEjectionIsLonger():
    with www("a", "b", pool=OUTLIER) as balancer:
        for seconds in (30, 60, 90):
            fails(balancer, "a", 3)
            balancer.advance(seconds - 0.1)
            assert usable(balancer) == "b"
            balancer.advance(0.2)
            assert usable(balancer) == "ab"
        # Three good intervals, the one it returned in not counted, forgive all of it.
        balancer.advance(40)
        fails(balancer, "a", 3)
        balancer.advance(30.1)
        assert usable(balancer) == "ab"
        assert find(balancer, "a").traffic.ejections == 4


def test_oneThatFailsOften():
    """Never three times in a row, but 60 of 100 are too many."""
    pool = "http-reuse = never\noutlier = consecutive-5xx=3 failure-percentage=60 interval=10s"
    with www("a", "b", pool=pool) as balancer:
        for _ in range(20):
            for answer in (BROKEN, BROKEN, OK, BROKEN, OK):
                fails(balancer, "a", 1, answer)
        assert usable(balancer) == "ab"
        balancer.advance(10)
        assert usable(balancer) == "b"


def test_onlyTheMostMayBeEjected():
    pool = OUTLIER.replace("outlier =", "outlier = max-ejection=50%")
    with capturedLogs() as events, www("a", "b", "c", pool=pool) as balancer:
        fails(balancer, "a", 3)
        fails(balancer, "b", 3)
        fails(balancer, "b", 3)
        assert usable(balancer) == "bc"
        assert find(balancer, "b").traffic.ejectionsRefused == 2
        balancer.advance(30.1)
        fails(balancer, "b", 3)
        assert usable(balancer) == "ac"
    assert told(events, "stays") == [
        "Server app/b is an outlier, and stays: 1 of 3 servers are ejected, and max-ejection is "
        "50%; reason: 3 failures in a row, the last: a response with 500."
    ]


def test_theLastIsNotEjected():
    with www("a", "b", pool=OUTLIER) as balancer:
        find(balancer, "b").weight = 0
        balancer.running.pool("app").serversChanged()
        fails(balancer, "a", 9)
        assert usable(balancer) == "a"


def test_anEjectedOneIsBetterThanNobody():
    """The others go down while it is ejected."""
    with www("a", "b", pool=OUTLIER) as balancer:
        fails(balancer, "a", 3)
        find(balancer, "b").health.up = False
        balancer.running.pool("app").serversChanged()
        assert gets(balancer, OK) == "a"


def test_sessionsAreJudgedByTheirConnects():
    """In mode tcp; the connects that stand begin anew."""
    pool = "retries = 0\n" + OUTLIER
    with www("a", "b", pool=pool, mode="tcp") as balancer:
        def connects(count):
            for _ in range(count):
                client = balancer.client()
                for name in "ab":
                    if balancer.server(name).connected:
                        balancer.server(name).accepts().closes()
                client.closes()

        balancer.server("a").goesAway()
        connects(4)
        balancer.server("a").comesBack()
        connects(2)
        assert usable(balancer) == "ab"
        balancer.server("a").goesAway()
        connects(4)
        assert usable(balancer) == "ab"
        connects(2)
        assert usable(balancer) == "b"
        assert find(balancer, "a").traffic.ejections == 1


def test_whatTheClientBreaksOffIsNoFailure():
    """Nobody can have a server ejected by going away."""
    with www("a", "b", pool=OUTLIER) as balancer:
        for _ in range(10):
            client = balancer.client()
            client.sends(GET)
            client.resets()
        assert usable(balancer) == "ab"
        assert find(balancer, "a").watch.failures == 0


def test_aStoppedBalancerEjectsNobody():
    with www("a", "b", pool=OUTLIER) as balancer:
        fails(balancer, "a", 3)
        stopped = balancer.running.stopService()
        balancer.advance(0)
        assert stopped.called
        for _ in range(3):
            find(balancer, "a").watch.failed(500, "a response with 500")
        assert not find(balancer, "a").health.ejected
        balancer.running.startService()
        balancer.pump.turn()
        assert usable(balancer) == "ab"
        assert sorted(gets(balancer, OK, OK)) == ["a", "b"]


def test_aServerThatGoesAwayWhileItIsEjected(tmp_path):
    """Its ejection goes with it; one that comes in its place begins anew."""
    path = tmp_path / "servers"
    pool = f"{OUTLIER}servers web = file:{path} interval=1s"
    with www("a", "b", pool=pool) as balancer:
        path.write_text(f"unix:{balancer.server('a').path} name=x\n")
        balancer.advance(2.1)
        app = balancer.running.pool("app")
        found = app.find("web-x")
        for _ in range(9):
            if not found.health.ejected:
                found.watch.failed(500, "a response with 500")
        assert found.health.ejected
        path.write_text(f"unix:{balancer.server('b').path} name=y\n")
        balancer.advance(2.1)
        assert [one.name for one in app.servers] == ["a", "b", "web-y"]
        assert not found.health.ejected and found.watch is None
        balancer.advance(60)


def test_oneThatIsEjectedIsNotEjectedAgain():
    """It may go on to fail, in a panic."""
    pool = f"{OUTLIER}panic-threshold = 100%"
    with www(*"abcd", pool=pool) as balancer:
        fails(balancer, "a", 6)
        assert usable(balancer) == "abcd"
        assert find(balancer, "a").traffic.ejections == 1
        balancer.advance(30.1)
        assert not find(balancer, "a").health.ejected
        assert not balancer.running.pool("app").panicking


# Panic


def test_panic():
    with capturedLogs() as events, www(*"abcd", pool="panic-threshold = 50%") as balancer:
        app = balancer.running.pool("app")
        for name in "ab":
            app.find(name).health.up = False
        app.serversChanged()
        assert usable(balancer) == "cd" and not app.panicking
        app.find("c").health.up = False
        app.serversChanged()
        assert usable(balancer) == "abcd" and app.panicking
        assert sorted(gets(balancer, OK, OK, OK, OK, names="abcd")) == ["a", "b", "c", "d"]
        app.find("a").health.admin = "maint"
        app.serversChanged()
        assert usable(balancer) == "bcd"
        app.find("c").health.up = True
        app.serversChanged()
        assert usable(balancer) == "cd" and not app.panicking
    assert len(told(events, "panic")) == 2


def test_theOnlyServerIsTriedAgainInAPanic():
    with www(pool="panic-threshold = 50%\nretries = 1") as balancer:
        find(balancer, "a").health.up = False
        balancer.running.pool("app").serversChanged()
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        balancer.server("a").comesBack()
        balancer.advance(1.1)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)


# What is not seen at the end of an exchange


@pytest.mark.parametrize(
    ("retry", "answer"),
    [("503", BUSY), ("empty-response", b""), ("junk-response", b"SSH-2.0\r\n"), ("500", BROKEN)],
)
def test_whatIsAskedOfAnotherServer(retry, answer):
    """The client notices nothing, and the server is found all the same."""
    pool = f"{OUTLIER}retry-on = {retry}\nretry-budget = no"
    with www("a", "b", pool=pool) as balancer:
        while not find(balancer, "a").health.ejected:
            client = balancer.client()
            client.sends(GET)
            if balancer.server("a").connected:
                server = balancer.server("a").accepts()
                server.receives(rb"GET .*")
                server.sends(answer)
                server.closes()
            server = balancer.server("b").accepts()
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
            client.closes()
            assert find(balancer, "a").watch.requests <= 3
        assert find(balancer, "a").watch.failures == 3
        assert find(balancer, "b").watch.failures == 0


def test_aBodyThatIsNotAcceptable():
    """The server's is its fault, the client's is not."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    post = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    with www("a", pool=OUTLIER) as balancer:
        client = balancer.client()
        client.sends(post)
        server = balancer.server("a").accepts()
        server.receives(rb"POST .*")
        server.sends(chunked)
        client.receives(rb".*hi.*")
        client.sends(b"what?\r\n")
        server.isReset()
        watch = find(balancer, "a").watch
        assert (watch.requests, watch.failures) == (0, 0)
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(chunked)
        client.receives(rb".*hi.*")
        server.sends(b"what?\r\n")
        client.isReset()
        assert (watch.requests, watch.failures) == (1, 1)


# Who else is concerned


def test_explained():
    """Who is out and why; in a panic nobody is."""
    with www("a", "b", "c", pool=f"{OUTLIER}panic-threshold = 60%") as balancer:
        def out():
            said = explain(balancer.running, asking("GET http://h/"), "www")
            return [one["out"] for one in said.of("server")]

        fails(balancer, "a", 3)
        assert out() == ["it is ejected, because too many exchanges with it have failed", "", ""]
        find(balancer, "b").health.up = False
        balancer.running.pool("app").serversChanged()
        assert out() == ["", "", ""]


def test_aPoolThatARuleChooses():
    """Whatever its own balancer and that of the others want to be told."""
    chat = f"balance = peak-ewma\n{OUTLIER}"
    rules = ['pool chat if path == "/chat"']
    with ruled(*rules, app="balance = peak-ewma", chat=chat) as balancer:
        for _ in range(2):
            client = balancer.client()
            client.sends(GET.replace(b"/ ", b"/chat "))
            [name] = [one for one in "cd" if balancer.server(one).connected]
            server = balancer.server(name).accepts()
            server.receives(rb"GET /chat .*")
            server.sends(BROKEN)
            client.receives(rb"HTTP/1.1 500 .*")
        servers = balancer.running.pool("chat").servers
        assert sum(server.watch.failures for server in servers) == 2
        assert all(server.watch is None for server in balancer.running.pool("app").servers)


def test_aPoolWhoseServersComeLater(tmp_path):
    """It is looked at from then on as any other."""
    path = tmp_path / "servers"
    outlier = "outlier = consecutive-5xx=0 consecutive-gateway=0 minimum-requests=3 interval=10s"
    pool = f"http-reuse = never\n{outlier}\nservers web = file:{path} interval=1s"
    text = "[frontend www]\nbind = ${bind}\npool = app\n[pool app]\n" + pool
    with Balancer(text, "a", "b") as balancer:
        path.write_text("".join(f"unix:{balancer.server(x).path} name={x}\n" for x in "ab"))
        balancer.advance(2.1)
        for _ in range(3):
            asked = gets(balancer, BROKEN)
            gets(balancer, OK)
        assert usable(balancer) == "web-aweb-b"
        balancer.advance(10)
        assert usable(balancer) == {"a": "web-b", "b": "web-a"}[asked]


def test_whoIsInterestedIsTold():
    with www("a", "b", pool=OUTLIER) as balancer:
        told = []
        app = balancer.running.pool("app")
        observer = SimpleNamespace(healthChanged=told.append)
        app.announcer = Announcer([(observer, EVENTS)])
        fails(balancer, "a", 3)
        balancer.advance(30.1)
        assert [(one.server, one.what, one.before, one.after, one.active) for one in told] == [
            ("a", "ejected", "UP", "EJECTED", 1), ("a", "returned", "EJECTED", "UP", 2),
        ]  # fmt: skip
        assert told[0].reason == "3 failures in a row, the last: a response with 500"
