"""
Which connection to a server an exchange goes out on, and what happens when that one
turns out to be closed.
"""

import pytest
from spoken import GET, OK, POST, answered, asks, www

PUT = POST.replace(b"POST", b"PUT")


def idle(balancer, exchanges=2):
    """A server connection that is idle and has served so many exchanges."""
    client, server = answered(balancer)
    for _ in range(exchanges - 1):
        client.sends(GET)
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)
    client.closes()
    return server


def traffic(balancer):
    traffic = balancer.running.pool("app").find("a").traffic
    return traffic.connects, traffic.reuses


# which one


def test_never():
    with www(pool="http-reuse = never") as balancer:
        client, server = answered(balancer)
        server.isEnded()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")
        assert traffic(balancer) == (2, 0)


def test_safeForAFirstRequest():
    """Only over a connection that the server has kept for a second exchange."""
    for served, reused in ((1, False), (2, True)):
        with www() as balancer:
            server = idle(balancer, served)
            client = balancer.client()
            client.sends(GET)
            if reused:
                server.receives(rb"GET .*")
            else:
                server.receivesNothing()
                balancer.server("a").accepts().receives(rb"GET .*")


def test_safeForALaterRequest():
    with www() as balancer:
        client, first = answered(balancer)
        client.sends(GET)
        first.receives(rb"GET .*")


def test_always():
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        balancer.client().sends(GET)
        server.receives(rb"GET .*")
        server.sends(OK)
        server.receivesNothing()
        assert traffic(balancer) == (1, 1)


def test_theNewestFirst():
    with www(pool="http-reuse = always") as balancer:
        older, newer = (asks(balancer)[1] for _ in range(2))
        older.sends(OK)
        newer.sends(OK)
        balancer.client().sends(GET)
        older.receivesNothing()
        newer.receives(rb"GET .*")


def test_aServerConnectionServesManyClients():
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        for port in (1, 2, 3):
            client = balancer.client(port=port)
            client.sends(GET)
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
        assert traffic(balancer) == (1, 3)


def test_whatWasBrokenOffIsNotUsedAgain():
    with www(pool="http-reuse = always") as balancer:
        client, server = asks(balancer)
        server.sends(OK[:-1])
        client.resets()
        server.isReset()
        asks(balancer)


# how long, and how many


def test_idleTimeout():
    with www(pool="idle-timeout = 5s") as balancer:
        server = idle(balancer)
        balancer.advance(4.9)
        server.receivesNothing()
        balancer.advance(0.2)
        server.isEnded()


def test_idleTimeoutCountsAnewAfterEachUse():
    with www(pool="idle-timeout = 5s") as balancer:
        server = idle(balancer)
        for _ in range(3):
            balancer.advance(4)
            client = balancer.client()
            client.sends(GET)
            server.receives(rb"GET .*")
            balancer.advance(4)
            server.sends(OK)
            client.receivesExactly(OK)
        balancer.advance(5.1)
        server.isEnded()


def test_idleConnections():
    with www(pool="idle-connections = 2") as balancer:
        servers = [asks(balancer)[1] for _ in range(3)]
        for server in servers:
            server.sends(OK)
        servers[0].receivesNothing()
        servers[1].receivesNothing()
        servers[2].isEnded()


def test_idleAge():
    """It is looked at when an exchange has ended."""
    with www(pool="idle-age = 5s") as balancer:
        client, server = answered(balancer)
        balancer.advance(4)
        client.sends(GET)
        server.receives(rb"GET .*")
        balancer.advance(2)
        server.sends(OK)
        client.receivesExactly(OK)
        server.isEnded()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")


def test_aServerThatIsDownKeepsNone():
    with www() as balancer:
        client, server = asks(balancer)
        app = balancer.running.pool("app")
        app.find("a").health.up = False
        app.serversChanged()
        server.sends(OK)
        client.receivesExactly(OK)
        server.isEnded()


def test_theServerClosesAnIdleConnection():
    for how in ("closes", "resets", "ends"):
        with www() as balancer:
            client, server = answered(balancer)
            getattr(server, how)()
            assert balancer.running.pool("app").find("a").idle == []
            client.sends(GET)
            again = balancer.server("a").accepts()
            again.receives(rb"GET .*")
            again.sends(OK)
            client.receivesExactly(OK)


# a request that dies on it


@pytest.mark.parametrize("request_", [GET, PUT + b"body"])
def test_itIsRepeatedOnce(request_):
    """On a new connection, and nobody hears of it."""
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client = balancer.client()
        client.sends(request_)
        first = server.receives(rb"(GET|PUT) .*")[0]
        server.closes()
        again = balancer.server("a").accepts()
        again.receivesExactly(first)
        again.sends(OK)
        client.receivesExactly(OK)
        assert balancer.endings[1].startswith("www app/a 0/0/0/0/0 200 40 - - ---- 1/1/1/1/0 0/0 ")
        assert traffic(balancer) == (2, 0)


def test_itIsNeverRepeatedTwice():
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client = balancer.client()
        client.sends(GET)
        server.closes()
        balancer.server("a").accepts().closes()
        client.receives(rb"HTTP/1.1 502 .*")
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert " 502 " in balancer.endings[1] and " SH-- " in balancer.endings[1]


def test_whatIsNotIdempotentIsNotRepeated():
    """The server may have acted on it."""
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client = balancer.client()
        client.sends(POST + b"body")
        server.receives(rb"POST .*")
        server.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert " 502 " in balancer.endings[1] and " SH-- " in balancer.endings[1]


def test_whatIsNotIdempotentGoesOutOnlyWhereSomebodyListens():
    """The end of an idle connection that was not read yet is seen before."""
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client = balancer.client()
        client.socket.send(POST + b"body")
        server.socket.close()
        balancer.pump.turn()
        again = balancer.server("a").accepts()
        again.receives(rb"POST .*body")
        again.sends(OK)
        client.receivesExactly(OK)


def test_anUploadUnderWayIsNotRepeated():
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client = balancer.client()
        client.sends(PUT + b"bo")
        server.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        client.isEnded()


def test_whatWasAnsweredInPartIsNotRepeated():
    with www(pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client = balancer.client()
        client.sends(GET)
        server.sends(b"H")
        server.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        balancer.server("a").acceptsNothing()


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_whoDoesNotReadIsNotKept(more):
    """The server answers, and leaves a part of the request in our hands."""
    size = 250_000
    with www() as balancer:
        client, server = asks(balancer, POST.replace(b"4", b"%d" % size))
        client.sends(bytes(size))
        assert balancer.pump.getWriters(), "it has taken everything"
        server.socket.send(OK.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n"))
        client.receives(rb"HTTP/1.1 200 .*")
        assert not balancer.pump.getWriters()
        assert not balancer.running.pool("app").find("a").idle


def test_aNewConnectionThatDiesIsNotRepeated():
    with www() as balancer:
        client, server = asks(balancer)
        server.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        balancer.server("a").acceptsNothing()


def test_theRepetitionMayFindTheServerGone():
    with www("a", "b", pool="http-reuse = always") as balancer:
        server = idle(balancer, 1)
        client, b = asks(balancer, server="b")
        b.sends(OK)
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        server.closes()
        b.receives(rb"GET .*")
        b.sends(OK)
        client.receivesExactly(OK)
        assert balancer.endings[-1].startswith("www app/b 0/0/0/0/0 200 ")
        assert ' ---- 2/2/1/1/+1 0/0 "' in balancer.endings[-1]
