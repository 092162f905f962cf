"""
Clients that belong to a server, and what happens to it: it is full, down, drains, is in
maintenance, leaves, has no weight any more.
"""

import pytest
from spoken import GET, OK, letters
from test_persistence import OURS, comes, get, shop

COOKIE = "cookie SRVID insert indirect plain"


def becomes(balancer, name="a", **changes):
    """Something about a server is different, as a check or an administrator says."""
    app = balancer.running.pool("app")
    server = app.find(name)
    for what, value in changes.items():
        setattr(server.health if what in ("up", "admin", "ejected") else server, what, value)
    app.serversChanged()


KEEPS = [{"admin": "drain"}, {"weight": 0}]
SENDS_AWAY = [{"up": False}, {"admin": "maint"}, {"ejected": True}, {"leaving": True}]


@pytest.mark.parametrize("change", KEEPS)
@pytest.mark.parametrize("persist", [COOKIE, "source"])
def test_itKeepsItsOwnAndGetsNobodyNew(change, persist):
    with shop(persist=persist) as balancer:
        for host in ("198.51.100.1", "198.51.100.2", "198.51.100.3"):
            comes(balancer, "abc"[int(host[-1]) - 1], host=host)
        becomes(balancer, **change)
        for _ in range(3):
            cookie = "SRVID=s1" if persist is COOKIE else None
            assert comes(balancer, "a", cookie, host="198.51.100.1") == []
        for number, name in enumerate("bcb"):
            got = comes(balancer, name, host=f"192.0.2.{number}")
            assert got == ([OURS[name]] if persist is COOKIE else [])


@pytest.mark.parametrize("change", SENDS_AWAY)
@pytest.mark.parametrize("persist", [COOKIE, "source"])
def test_itSendsItsOwnAway(change, persist):
    """And they stay where they have gone."""
    with shop(persist=persist) as balancer:
        comes(balancer, "a")
        becomes(balancer, **change)
        cookie = ("SRVID=s1", "SRVID=s2") if persist is COOKIE else (None, None)
        assert comes(balancer, "b", cookie[0]) == ([OURS["b"]] if persist is COOKIE else [])
        before = {"up": True, "admin": "ready", "ejected": False, "leaving": False}
        becomes(balancer, **{what: before[what] for what in change})
        comes(balancer, "b", cookie[1])
        assert balancer.running.pool("app").persistence.redispatched == 1


@pytest.mark.parametrize("change", KEEPS)
def test_sessionsOfAServerThatDrains(change):
    with shop(persist="source", mode="tcp") as balancer:
        balancer.client("198.51.100.1").closes()
        balancer.server("a").accepts().closes()
        becomes(balancer, **change)
        balancer.client("198.51.100.1").closes()
        balancer.server("a").accepts().closes()
        for name in "bc":
            balancer.client(f"192.0.2.{name == 'b':d}").closes()
            balancer.server(name).accepts().closes()


def test_nobodyIsLeft():
    """All are down: there is nobody to redispatch to."""
    with shop("a", persist=COOKIE) as balancer:
        becomes(balancer, up=False)
        client = balancer.client()
        client.sends(get("SRVID=s1"))
        client.receives(rb"HTTP/1.1 503 .*")
        assert letters(balancer) == [("app/<NOSRV>", 503, "SCDN")]


def test_allAreDownAndThereIsAPanic():
    """Where all are asked whatever their checks say, everybody keeps their own."""
    with shop(persist=COOKIE, pool="panic-threshold = 50%") as balancer:
        for name in "abc":
            becomes(balancer, name, up=False)
        for _ in range(3):
            assert comes(balancer, "b", "SRVID=s2") == []
        assert {one[2] for one in letters(balancer)} == {"--VN"}


# full servers


def test_itIsWaitedFor():
    """Others are free, but the session is on this one."""
    with shop("a maxconn=1", "b", persist=COOKIE) as balancer:
        first, waiting = balancer.client(), balancer.client()
        first.sends(get("SRVID=s1"))
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        waiting.sends(get("SRVID=s1"))
        balancer.advance(2)
        balancer.server("b").acceptsNothing()
        server.sends(OK)
        again = balancer.server("a").accepts()
        again.receives(rb"GET .*")
        again.sends(OK)
        waiting.receivesExactly(OK)
        assert [one[2] for one in letters(balancer)] == ["--VN"] * 2
        assert balancer.endings[1].startswith("www app/a 0/2000/0/0/2000 ")


def queues(balancer):
    """@return: a client that waits for the only slot of its server a; who has it."""
    first, waiting = balancer.client(), balancer.client()
    first.sends(get("SRVID=s1"))
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    waiting.sends(get("SRVID=s1"))
    assert balancer.running.pool("app").queued == 1
    return waiting, server


@pytest.mark.parametrize("change", SENDS_AWAY[:3])
def test_itGoesDownWhileItIsWaitedFor(change):
    """Then it is not waited for any more, and the client learns where it is now."""
    with shop("a maxconn=1", "b", persist=COOKIE) as balancer:
        waiting, _ = queues(balancer)
        becomes(balancer, **change)
        server = balancer.server("b").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        waiting.receives(rb".*\r\nSet-Cookie: SRVID=s2; .*")
        assert letters(balancer) == [("app/b", 200, "--DI")]


@pytest.mark.parametrize("change", KEEPS)
def test_itDrainsWhileItIsWaitedFor(change):
    with shop("a maxconn=1", "b", persist=COOKIE) as balancer:
        waiting, server = queues(balancer)
        becomes(balancer, **change)
        balancer.server("b").acceptsNothing()
        server.sends(OK)
        again = balancer.server("a").accepts()
        again.receives(rb"GET .*")
        again.sends(OK)
        waiting.receivesExactly(OK)


def test_whoIsForcedGoesOnWaiting():
    """A tester waits for the server that is down; there is one slot."""
    with shop("a maxconn=1", "b", persist=COOKIE, pool="request =\n    force-persist") as balancer:
        waiting, server = queues(balancer)
        becomes(balancer, up=False)
        balancer.server("b").acceptsNothing()
        server.sends(OK)
        balancer.server("a").accepts().receives(rb"GET .*")


def test_itIsWaitedForNoLonger():
    """C{timeout-queue}: C{sQ}, and the client still belongs to it."""
    with shop("a maxconn=1", "b", persist=COOKIE, pool="timeout-queue = 2s") as balancer:
        waiting, server = queues(balancer)
        balancer.advance(2.1)
        waiting.receives(rb"HTTP/1.1 503 .*")
        server.sends(OK)
        assert letters(balancer)[0] == ("app/<NOSRV>", 503, "sQVN")
        assert comes(balancer, "a", "SRVID=s1") == []


def test_theQueueIsFull():
    with shop("a maxconn=1", "b", persist=COOKIE, pool="maxqueue = 1") as balancer:
        queues(balancer)
        client = balancer.client()
        client.sends(get("SRVID=s1"))
        client.receives(rb"HTTP/1.1 503 .*")
        balancer.server("b").acceptsNothing()
        assert letters(balancer) == [("app/<NOSRV>", 503, "SQVN")]


def test_aClientThatWaitsGoesAway():
    with shop("a maxconn=1", "b", persist=COOKIE) as balancer:
        waiting, server = queues(balancer)
        waiting.resets()
        assert balancer.running.pool("app").queued == 0
        server.sends(OK)
        balancer.server("a").acceptsNothing()
        assert [(name, four) for name, _, four in letters(balancer)] == [
            ("app/<NOSRV>", "CQVN"), ("app/a", "--VN"),
        ]  # fmt: skip


def test_othersAreServedMeanwhile():
    """Who waits for one server keeps nobody from the others."""
    with shop("a maxconn=1", "b maxconn=1", persist=COOKIE) as balancer:
        queues(balancer)
        client = balancer.client("192.0.2.1")
        client.sends(GET)
        balancer.server("b").accepts().receives(rb"GET .*")


# servers that refuse


def test_itRefuses():
    """The next server gets the request, and the client its cookie: C{DI}, and redispatched."""
    with shop("a", "b", persist=COOKIE) as balancer:
        balancer.server("a").goesAway()
        assert comes(balancer, "b", "SRVID=s1") == [OURS["b"]]
        assert letters(balancer) == [("app/b", 200, "--DI")]
        assert " 1/1/1/1/+1 " in balancer.endings[0]


def test_itRefusesAndThereIsNoOther():
    """It is tried again after a second, and is back by then."""
    with shop("a", persist=COOKIE) as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(get("SRVID=s1"))
        balancer.server("a").comesBack()
        balancer.advance(1.1)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)
        assert letters(balancer) == [("app/a", 200, "--VN")]


def test_itRefusesWhereNobodyIsRedispatched():
    """C{redispatch = 0}: a session is better lost than taken elsewhere."""
    with shop("a", "b", persist=COOKIE, pool="retries = 1\nredispatch = 0") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(get("SRVID=s1"))
        balancer.advance(1.1)
        client.receives(rb"HTTP/1.1 503 .*")
        assert letters(balancer) == [("app/a", 503, "SCDN")]


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_itRefusesAndTheSourceLearns(mode):
    with shop("a", "b", persist="source", mode=mode) as balancer:
        client = balancer.client()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        balancer.server("b").accepts().receives(rb"GET .*")
        balancer.server("a").comesBack()
        client = balancer.client()
        client.sends(GET)
        balancer.server("b").accepts().receives(rb"GET .*")
