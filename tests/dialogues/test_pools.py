"""
Which server an exchange goes to: where one refuses, is at its limit, is down or
comes back; and which clients are let in at all.
"""

from spoken import GET, OK, asks, www


def marks(balancer, name, up):
    """As a check would do it."""
    app = balancer.running.pool("app")
    app.find(name).health.up = up
    app.serversChanged()


# servers that refuse


def test_theNextServerIsTried():
    with www("a", "b") as balancer:
        balancer.server("a").goesAway()
        client, server = asks(balancer, server="b")
        server.sends(OK)
        client.receivesExactly(OK)
        assert balancer.endings == [
            'www app/b 0/0/0/0/0 200 40 - - ---- 1/1/1/1/+1 0/0 "GET / HTTP/1.1"'
        ]
        app = balancer.running.pool("app")
        assert (app.traffic.retries, app.traffic.redispatched) == (1, 1)
        assert app.find("a").traffic.connectFailures == 1
        assert app.find("b").traffic.connects == 1


def test_theNextServerIsTriedWithABody():
    """Nothing of it was sent."""
    with www("a", "b") as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo")
        client.sends(b"dy")
        balancer.advance(5.1)
        balancer.server("b").accepts().receives(rb"POST .*\r\n\r\nbody")


def test_theOnlyServerIsTriedAgain():
    """After a second, as often as C{retries} says."""
    with www(pool="retries = 2") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        size = len(client.receives(rb"HTTP/1.1 503 .*")[0])
        client.isEnded()
        assert balancer.endings == [
            f'www app/a 0/0/-1/-1/2040 503 {size} - - SC-- 1/1/0/0/2 0/0 "GET / HTTP/1.1"'
        ]


def test_theOnlyServerComesBackInTime():
    with www() as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        balancer.server("a").comesBack()
        balancer.advance(1.1)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)
        assert " 200 40 - - ---- 1/1/1/1/1 0/0 " in balancer.endings[0]


def test_noRetries():
    with www("a", "b", pool="retries = 0") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        client.isEnded()
        balancer.server("b").acceptsNothing()
        assert balancer.endings[0].startswith("www app/a 0/0/-1/-1/0 503 ")
        assert " SC-- 1/1/0/0/0 0/0 " in balancer.endings[0]


def test_allServersRefuse():
    """The log names the last one that was tried."""
    with www("a", "b", pool="retries = 3") as balancer:
        balancer.server("a").goesAway()
        balancer.server("b").goesAway()
        client = balancer.client()
        client.sends(GET)
        balancer.advance(2.1)
        client.receives(rb"HTTP/1.1 503 .*")
        client.isEnded()
        assert balancer.endings[0].startswith("www app/b ")
        assert " 503 " in balancer.endings[0]
        assert " SC-- 1/1/0/0/+3 0/0 " in balancer.endings[0]


# servers at their limit


def test_theQueueIsServedInItsOrder():
    with www("a maxconn=1", pool="http-reuse = always") as balancer:
        _, server = asks(balancer)
        waiting = []
        for number in range(3):
            client = balancer.client()
            client.sends(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
            waiting.append(client)
        assert balancer.running.pool("app").queued == 3
        balancer.advance(1)
        server.sends(OK)
        for number, client in enumerate(waiting):
            server.receives(rb"GET /%d .*" % number)
            server.sends(OK)
            client.receivesExactly(OK)
        letters = " 200 40 - - ---- 4/4/1/1/0 "
        assert [line.partition(letters)[::2] for line in balancer.endings] == [
            ("www app/a 0/0/0/1000/1000", '0/0 "GET / HTTP/1.1"'),
            ("www app/a 0/1000/0/0/1000", '0/0 "GET /0 HTTP/1.1"'),
            ("www app/a 0/1000/0/0/1000", '0/1 "GET /1 HTTP/1.1"'),
            ("www app/a 0/1000/0/0/1000", '0/2 "GET /2 HTTP/1.1"'),
        ]


def test_theQueueIsLeftForAnotherServer():
    with www("a maxconn=1", "b maxconn=1") as balancer:
        asks(balancer)
        _, b = asks(balancer, server="b")
        client = balancer.client()
        client.sends(GET)
        b.sends(OK)
        balancer.server("b").accepts().receives(rb"GET .*")


def test_maxqueue():
    with www("a maxconn=1", pool="maxqueue = 1") as balancer:
        asks(balancer)
        balancer.client().sends(GET)
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        client.isEnded()
        assert balancer.endings[0].startswith("www app/<NOSRV> 0/-1/-1/-1/0 503 ")
        assert " SQ-- 3/3/1/0/0 0/0 " in balancer.endings[0]


def test_aFailureFreesTheSlot():
    with www("a maxconn=1", pool="timeout-server = 3s") as balancer:
        asks(balancer)
        client = balancer.client()
        client.sends(GET)
        balancer.advance(3.1)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)


def test_aConnectThatFailsFreesTheSlot():
    with www("a maxconn=1", pool="retries = 0\ntimeout-connect = 3s") as balancer:
        balancer.server("a").hesitates()
        balancer.client().sends(GET)
        client = balancer.client()
        balancer.advance(1)
        client.sends(GET)
        balancer.advance(2.1)
        balancer.server("a").goesOn()
        balancer.server("a").accepts().receives(rb"GET .*")


# servers that are down


def test_allDown():
    with www() as balancer:
        marks(balancer, "a", False)
        client = balancer.client()
        client.sends(GET)
        size = len(client.receives(rb"HTTP/1.1 503 .*")[0])
        client.isEnded()
        assert balancer.endings == [
            f'www app/<NOSRV> 0/-1/-1/-1/0 503 {size} - - SC-- 1/1/0/0/0 0/0 "GET / HTTP/1.1"'
        ]


def test_aServerThatIsDownGetsNothingNew():
    with www("a", "b") as balancer:
        marks(balancer, "a", False)
        for _ in range(3):
            asks(balancer, server="b")
        marks(balancer, "a", True)
        asks(balancer, server="a")


def test_backup():
    """Used only while no other server is usable."""
    with www("a", "b backup", "c backup") as balancer:
        asks(balancer, server="a")
        marks(balancer, "a", False)
        asks(balancer, server="b")
        asks(balancer, server="b")
        marks(balancer, "b", False)
        asks(balancer, server="c")
        marks(balancer, "a", True)
        asks(balancer, server="a")


def test_thoseWhoQueueGoToAServerThatComesBack():
    with www("a maxconn=1", "b") as balancer:
        marks(balancer, "b", False)
        asks(balancer)
        client = balancer.client()
        client.sends(GET)
        marks(balancer, "b", True)
        balancer.server("b").accepts().receives(rb"GET .*")


CHECK = "check = tcp interval=1s fall=2 rise=2 jitter=0"


def test_checksMarkAServerDownAndUp():
    with www(pool=CHECK) as balancer:
        client, server = asks(balancer)
        server.sends(OK)
        client.receivesExactly(OK)
        balancer.server("a").goesAway()
        balancer.advance(2.5)
        server.isEnded()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        assert "www app/<NOSRV> " in balancer.endings[1] and " SC-- " in balancer.endings[1]
        balancer.server("a").comesBack()
        balancer.advance(2.5)
        asks(balancer)
        assert balancer.running.pool("app").find("a").traffic.wentDown == 1


def test_aServerMarkedDownKeepsItsSessions():
    with www(pool=CHECK) as balancer:
        client, server = asks(balancer)
        balancer.server("a").goesAway()
        balancer.advance(2.5)
        server.sends(OK)
        client.receivesExactly(OK)
        server.isEnded()


def test_shutdownSessions():
    with www(pool=CHECK + "\non-marked-down = shutdown-sessions") as balancer:
        waiting, server = asks(balancer)
        halfway, other = asks(balancer)
        other.sends(OK[:-1])
        halfway.receives(rb".*h")
        balancer.server("a").goesAway()
        balancer.advance(2.5)
        waiting.receives(rb"HTTP/1.1 503 .*")
        waiting.isEnded()
        halfway.isReset()
        server.isReset()
        other.isReset()
        letters = sorted(line.rpartition(" - - ")[2].split()[0] for line in balancer.endings)
        assert letters == ["DD--", "DH--"]


# clients that are let in


def test_maxconnOfAFrontend():
    """Further clients wait where the kernel keeps them."""
    with www(frontend="maxconn = 2") as balancer:
        one, _two, three = (balancer.connects() for _ in range(3))
        three.sends(GET)
        balancer.server("a").acceptsNothing()
        assert balancer.running.frontend("www").inbound.active == 2
        one.closes()
        balancer.server("a").accepts().receives(rb"GET .*")
        assert balancer.running.frontend("www").inbound.active == 2


def test_maxconnOfTheProcessConcernsAllFrontends():
    more = "[frontend more]\nbind = ${bind}-more\npool = app\n"
    with www(settings="maxconn = 1\n" + more) as balancer:
        one = balancer.connects()
        two = balancer.connects("-more")
        two.sends(GET)
        balancer.server("a").acceptsNothing()
        assert balancer.running.process.active == 1
        one.closes()
        balancer.server("a").accepts().receives(rb"GET .*")


def test_maxconnOfTheProcess():
    with www(settings="maxconn = 1") as balancer:
        one = balancer.connects()
        two = balancer.connects()
        two.sends(GET)
        balancer.server("a").acceptsNothing()
        assert balancer.running.process.active == 1
        one.closes()
        balancer.server("a").accepts().receives(rb"GET .*")
