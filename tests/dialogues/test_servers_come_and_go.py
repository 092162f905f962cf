"""
Servers that come and go while requests are under way: none of these fails, whoever stays
keeps what it had, and whoever goes is forgotten when it has nothing to do any more.
"""

import os
import random

from spoken import GET, OK

from lbtwist.explaining import asking, explain
from lbtwist.explaining.words import asText
from lbtwist.testing import Balancer

CONFIG = """
[frontend www]
bind = ${{bind}}
pool = app
log = ${{log}}
[pool app]
balance = {balance}
servers web = file:{path} {options}
{more}
"""


def listed(path, *lines):
    """Put a list in its place, as a program should: it is whole whenever somebody looks."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{line}\n" for line in lines))
    os.replace(new, path)


def started(path, *names, balance="roundrobin", options="", more=""):
    """@return: a balancer with these servers in memory, none of them written down."""
    text = CONFIG.format(path=path, balance=balance, options=options, more=more)
    return Balancer(text, *names)


def addressOf(balancer, name):
    return f"unix:{balancer.server(name).path}"


def names(balancer, path, *servers):
    """The file has these, and somebody has looked."""
    listed(path, *(f"{addressOf(balancer, one)} name={one}" for one in servers))
    balancer.advance(1.1)


def asks(balancer, name):
    """@return: a client whose request is at this server, and the server's side of it."""
    client = balancer.client()
    client.sends(GET)
    server = balancer.server(name).accepts()
    server.receives(rb"GET / .*")
    return client, server


def usable(balancer):
    return [server.name for server in balancer.running.pool("app").usable]


def test_aServerComes(tmp_path):
    path = tmp_path / "servers"
    with started(path, "a") as balancer:
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        names(balancer, path, "a")
        client, server = asks(balancer, "a")
        server.sends(OK)
        client.receivesExactly(OK)
        assert balancer.endings[-1].startswith("www app/web-a ")


def test_aServerGoes(tmp_path):
    """The request that is with it ends there; the next one goes elsewhere."""
    path = tmp_path / "servers"
    with started(path, "a", "b") as balancer:
        names(balancer, path, "a")
        client, server = asks(balancer, "a")
        names(balancer, path, "b")
        pool = balancer.running.pool("app")
        assert usable(balancer) == ["web-b"]
        assert repr(pool.find("web-a")) == "<Server app/web-a leaving 1>"
        other, second = asks(balancer, "b")
        second.sends(OK)
        other.receivesExactly(OK)
        server.sends(OK)
        client.receivesExactly(OK)
        balancer.advance(1.1)
        assert [one.name for one in pool.servers] == ["web-b"]
        # The connection to it, which could have been used again, was closed.
        server.isEnded()


def test_unusedConnectionsAreClosedAtOnce(tmp_path):
    """Of a server that is leaving, though something runs with it yet."""
    path = tmp_path / "servers"
    with started(path, "a", "b", more="http-reuse = always") as balancer:
        names(balancer, path, "a")
        client, busy = asks(balancer, "a")
        other, idle = asks(balancer, "a")
        idle.sends(OK)
        other.receivesExactly(OK)
        names(balancer, path, "b")
        idle.isEnded()
        busy.sends(OK)
        client.receivesExactly(OK)


def test_aTunnelKeepsItsServer(tmp_path):
    path = tmp_path / "servers"
    with started(path, "a", "b") as balancer:
        names(balancer, path, "a")
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET / .*")
        switched = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        server.sends(switched)
        client.receives(rb"HTTP/1.1 101 .*")
        names(balancer, path, "b")
        balancer.advance(20)
        client.sends(b"up")
        server.receivesExactly(b"up")
        server.sends(b"down")
        client.receivesExactly(b"down")
        assert balancer.running.pool("app").find("web-a").leaving
        client.closes()
        balancer.advance(1.1)
        server.closes()
        balancer.advance(1.1)
        assert usable(balancer) == [one.name for one in balancer.running.pool("app").servers]


def test_whoStaysKeepsWhatItHad(tmp_path):
    """Its connection, its counters, its place: it is the same object."""
    path = tmp_path / "servers"
    with started(path, "a", "b", "c", more="http-reuse = always") as balancer:
        names(balancer, path, "a")
        client, server = asks(balancer, "a")
        server.sends(OK)
        client.receivesExactly(OK)
        before = balancer.running.pool("app").find("web-a")
        names(balancer, path, "b", "a", "c")
        names(balancer, path, "c", "a")
        assert balancer.running.pool("app").find("web-a") is before
        assert before.traffic.exchanges == 1
        names(balancer, path, "a")
        client.sends(GET)
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receivesExactly(OK)
        assert before.traffic.reuses == 1


def test_itComesBackBeforeItWasForgotten(tmp_path):
    """A source that has dropped a server by mistake for a moment does no harm to it."""
    path = tmp_path / "servers"
    with started(path, "a", "b") as balancer:
        names(balancer, path, "a", "b")
        pool = balancer.running.pool("app")
        client, server = asks(balancer, "a")
        before = pool.find("web-a")
        names(balancer, path, "b")
        assert usable(balancer) == ["web-b"]
        names(balancer, path, "a", "b")
        assert usable(balancer) == ["web-a", "web-b"]
        assert pool.find("web-a") is before
        server.sends(OK)
        client.receivesExactly(OK)


def test_whoWaitsGetsTheNewServer(tmp_path):
    """A request in the queue goes to a server that has come since."""
    path = tmp_path / "servers"
    with started(path, "a", "b", options="maxconn=1") as balancer:
        names(balancer, path, "a")
        first, server = asks(balancer, "a")
        second = balancer.client()
        second.sends(GET)
        assert balancer.running.pool("app").queued == 1
        names(balancer, path, "a", "b")
        other = balancer.server("b").accepts()
        other.receives(rb"GET / .*")
        for one, client in ((other, second), (server, first)):
            one.sends(OK)
            client.receivesExactly(OK)


def test_aNewServerIsCheckedAtOnce(tmp_path):
    """It is up until then, as one that is written down; its checks end when it goes."""
    path = tmp_path / "servers"
    check = "check = tcp interval=100s fall=1 jitter=0"
    with started(path, "a", "b", more=check) as balancer:
        balancer.server("b").goesAway()
        names(balancer, path, "a", "b")
        balancer.advance(0.1)
        pool = balancer.running.pool("app")
        assert [one.health.up for one in pool.servers] == [True, False]
        assert [one.traffic.checks for one in pool.servers] == [1, 1]
        gone = pool.find("web-b")
        names(balancer, path, "a")
        balancer.advance(300)
        assert gone.traffic.checks == 1
        assert pool.find("web-a").traffic.checks == 4


def test_theFileGoesWrong(tmp_path):
    """Away, empty, cut off, garbage: the servers stay, and what comes next counts."""
    path = tmp_path / "servers"
    with started(path, "a", "b") as balancer:
        names(balancer, path, "a")
        address = addressOf(balancer, "a").encode()
        for wrong in (b"", b"\n# nobody\n", address, b"\xff\xfe", b'[{"address": 1}]', b"[{", None):
            if wrong is None:
                path.unlink()
            else:
                path.write_bytes(wrong)
            balancer.advance(9)
            client, server = asks(balancer, "a")
            server.sends(OK)
            client.receivesExactly(OK)
        names(balancer, path, "b")
        balancer.advance(8)
        assert usable(balancer) == ["web-b"]


def test_writtenOnesAndOnesThatCome(tmp_path):
    """Both in one pool; a written one stays whatever the file says."""
    path = tmp_path / "servers"
    with started(path, "a", "b", more="server a = ${a}") as balancer:
        names(balancer, path, "b")
        assert usable(balancer) == ["a", "web-b"]
        path.unlink()
        balancer.advance(20)
        assert usable(balancer) == ["a", "web-b"]


def test_thoseOfASourceAreBackups(tmp_path):
    path = tmp_path / "servers"
    with started(path, "a", "b", options="backup", more="server a = ${a}") as balancer:
        names(balancer, path, "b")
        assert usable(balancer) == ["a"]
        balancer.running.pool("app").find("a").health.up = False
        balancer.running.pool("app").serversChanged()
        assert usable(balancer) == ["web-b"]


def test_explained(tmp_path):
    """Who is leaving, and where the others come from."""
    path = tmp_path / "servers"
    with started(path, "a", "b") as balancer:
        names(balancer, path, "a", "b")
        client, server = asks(balancer, "a")
        names(balancer, path, "b")
        path.write_text("?\n")
        balancer.advance(1.1)
        request = asking("GET http://h/")
        said = explain(balancer.running, request, "www")
        assert [(one["name"], one["out"]) for one in said.of("server")] == [
            ("web-b", ""), ("web-a", "its source names it no more"),
        ]  # fmt: skip
        text = " ".join(asText(said).split())
        assert f"source web: file:{path}, names 1, and fails: {path}: line 1: " in text
        server.sends(OK)
        client.receivesExactly(OK)


def test_startedAgain(tmp_path):
    """A balancer that was stopped knows nobody, and asks anew."""
    path = tmp_path / "servers"
    with started(path, "a") as balancer:
        names(balancer, path, "a")
        stopped = balancer.running.stopService()
        balancer.advance(0)
        assert stopped.called
        assert balancer.running.pool("app").servers == ()
        balancer.running.startService()
        assert usable(balancer) == ["web-a"]


def test_noRequestFailsWhileServersComeAndGo(tmp_path):
    """By every balancer, in an order that is drawn by lot; every counter is zero at its end."""
    everyone = "abcdef"
    for balance in ("roundrobin", "leastconn", "random", "first", "source", "uri", "peak-ewma"):
        path = tmp_path / balance
        lots = random.Random(balance)
        with started(path, *everyone, balance=balance) as balancer:
            names(balancer, path, "a")
            open_ = []
            for _ in range(60):
                here = lots.sample(everyone, lots.randint(1, 4))
                names(balancer, path, *here)
                for _ in range(lots.randint(0, 4)):
                    client = balancer.client()
                    client.sends(GET)
                    [server] = [
                        balancer.server(one) for one in here if balancer.server(one).connected
                    ]
                    server = server.accepts()
                    server.receives(rb"GET / .*")
                    open_.append((client, server))
                lots.shuffle(open_)
                while len(open_) > 5:
                    client, server = open_.pop()
                    server.sends(OK)
                    client.receivesExactly(OK)
                    client.closes()
            for client, server in open_:
                server.sends(OK)
                client.receivesExactly(OK)
                client.closes()
            balancer.advance(1.1)
            pool = balancer.running.pool("app")
            assert {one.name for one in pool.servers} == {f"web-{one}" for one in here}
            assert pool.traffic.failed == pool.traffic.retries == 0
            assert pool.traffic.exchanges > 50
