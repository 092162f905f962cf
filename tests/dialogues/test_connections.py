"""
Many exchanges on one connection: kept alive, pipelined, half closed, drained.
"""

from contextlib import suppress

import pytest
from spoken import GET, OK, POST, TOLD, answered, asks, www


def get(path):
    return b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % path


def ok(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


LAST = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def test_bothSidesAreKept():
    with www() as balancer:
        client, server = answered(balancer)
        client.sends(GET)
        server.receivesExactly(GET[:-2] + TOLD + b"\r\n")
        server.sends(OK)
        client.receivesExactly(OK)
        assert balancer.endings == [
            'www app/a 0/0/0/0/0 200 40 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ] * 2
        a = balancer.running.pool("app").find("a")
        assert (a.traffic.connects, a.traffic.reuses) == (1, 1)


def test_clientAsksForTheEnd():
    """Of its own connection: the server's is kept."""
    with www() as balancer:
        client, server = asks(balancer, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        server.sends(OK)
        client.receivesExactly(LAST)
        client.isEnded()
        server.receivesNothing()


def test_serverAsksForTheEnd():
    """Of its own connection: the client's is kept."""
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        client.receivesExactly(OK)
        server.isEnded()
        client.receivesNothing()


def test_clientMayBeIdleForTimeoutKeepalive():
    """Its end is nobody's fault and not a line in the log."""
    with www(frontend="timeout-keepalive = 3s") as balancer:
        client, server = answered(balancer)
        balancer.advance(2.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isEnded()
        assert len(balancer.lines) == 1


def test_emptyLineAfterARequestIsNoRequest():
    with www(frontend="timeout-keepalive = 3s") as balancer:
        client, server = asks(balancer, GET + b"\r\n")
        server.sends(OK)
        client.receivesExactly(OK)
        balancer.advance(1)
        client.sends(b"\r\n")
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isEnded()
        assert len(balancer.lines) == 1


# pipelined


def test_pipelinedRequestsAreAnsweredInOrder():
    with www() as balancer:
        client, server = asks(balancer, get(b"1") + get(b"2") + get(b"3")[:9])
        server.receivesNothing()
        server.sends(ok(b"one"))
        client.receivesExactly(ok(b"one"))
        server.receives(rb"GET /2 .*")
        client.sends(get(b"3")[9:] + get(b"4"))
        server.sends(ok(b"two"))
        server.receives(rb"GET /3 .*")
        server.sends(ok(b"three"))
        server.receives(rb"GET /4 .*")
        server.sends(ok(b"four"))
        client.receivesExactly(ok(b"two") + ok(b"three") + ok(b"four"))
        assert [line.split()[-2] for line in balancer.lines] == ["/1", "/2", "/3", "/4"]


def test_pipelinedAfterABody():
    for body in (
        b"Content-Length: 4\r\n\r\nbody",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
    ):
        with www() as balancer:
            request = b"POST / HTTP/1.1\r\nHost: h\r\n" + body
            client, server = asks(balancer, request + GET)
            server.sends(OK)
            server.receives(rb"GET / .*")
            server.sends(OK)
            client.receivesExactly(OK + OK)
            traffic = balancer.running.frontend("www").inbound.traffic
            assert traffic.bytesIn == len(request) + len(GET)


def test_pipelinedBodyInPieces():
    with www() as balancer:
        client = balancer.client()
        client.sendsPieces(POST + b"body" + GET, 3)
        server = balancer.server("a").accepts()
        server.receives(rb"POST .*\r\n\r\nbody")
        server.sends(OK)
        server.receives(rb"GET .*")


def test_whatIsPipelinedAfterALastRequestIsNotServed():
    with www() as balancer:
        client, server = asks(
            balancer, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET
        )
        server.sends(OK)
        client.receivesExactly(LAST)
        client.isEnded()
        server.receivesNothing()


def test_whatIsPipelinedAfterAnAnswerOfOursIsNotServed():
    with www() as balancer:
        client = balancer.client()
        client.sends(b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n" + GET)
        client.receives(rb"HTTP/1.1 405 .*Connection: close\r\n.*")
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert len(balancer.lines) == 1


def test_anAnswerOfOursInItsTurn():
    with www() as balancer:
        client, server = asks(balancer, GET + b"BAD\r\n\r\n")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*hiHTTP/1.1 400 Bad request\r\n.*")
        client.isEnded()
        assert [line.split()[-1] for line in balancer.endings] == ['HTTP/1.1"', '"<BADREQ>"']
        assert " -1/-1/-1/-1/0 400 " in balancer.endings[1]
        assert " PR-- 1/1/0/0/0 0/0 " in balancer.endings[1]


def test_aClientThatAsksFasterThanItReads():
    """Nothing is read from it that could not be answered: memory is bounded."""
    with www() as balancer:
        client, server = answered(balancer)
        (front,) = balancer.running.frontend("www").inbound.connections
        unsent = get(b"x" * 1000) * 2000
        served = 0

        def goesOn():
            nonlocal unsent, served
            with suppress(BlockingIOError):
                unsent = unsent[client.socket.send(unsent) :]
            balancer.pump.turn()
            with suppress(BlockingIOError):
                assert server.socket.recv(1 << 20).count(b"\r\n\r\n") == 1
                served += 1
                server.sends(ok(bytes(10_000)))
            assert front.transport.unsent < 65536 + 11_000

        for _ in range(200):
            goesOn()
        assert served < 100
        assert len(unsent) > 1_000_000
        while unsent or served < 2000:
            goesOn()
            client.receives(b".*")
        client.receivesNothing()
        assert len(balancer.lines) == 2001


def test_aClientThatAsksAndNeverReads():
    with www(frontend="timeout-client = 5s") as balancer:
        client, server = answered(balancer)
        client.sends(GET * 100)
        while True:
            try:
                server.receives(rb"GET .*")
            except AssertionError:
                break
            server.sends(ok(bytes(60_000)))
        balancer.advance(4.9)
        assert balancer.running.process.active == 1
        balancer.advance(0.2)
        assert balancer.running.process.active == 0


# half closed


def test_aHalfClosedClientGetsItsAnswer():
    with www() as balancer:
        client, server = asks(balancer)
        client.ends()
        balancer.advance(1)
        server.sends(OK)
        client.receivesExactly(LAST)
        client.isEnded()
        assert " 200 " in balancer.endings[0] and " ---- " in balancer.endings[0]


def test_aHalfClosedClientGetsAllItsAnswers():
    with www() as balancer:
        client = balancer.client()
        client.sends(get(b"1") + get(b"2") + get(b"3"))
        client.ends()
        server = balancer.server("a").accepts()
        for path in (b"1", b"2", b"3"):
            server.receives(rb"GET /%b .*" % path)
            server.sends(ok(path))
        client.receivesExactly(
            ok(b"1") + ok(b"2") + ok(b"3").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        client.isEnded()
        assert len(balancer.lines) == 3


def test_aHalfClosedClientThatReadsLate():
    with www() as balancer:
        client, server = answered(balancer)
        client.sends(GET * 12)
        client.ends()
        for _ in range(12):
            try:
                server.receives(rb"GET .*")
            except AssertionError:
                break
            server.sends(ok(bytes(60_000)))
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        for _ in range(11):
            if not server.receives(rb"(GET .*)?")[0]:
                break
            server.sends(ok(bytes(60_000)))
            client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        client.isEnded()
        assert [line.split()[3] for line in balancer.endings] == ["200"] * 13


def test_drainOfAClientThatReadsLate():
    with www() as balancer:
        client, server = answered(balancer)
        client.sends(GET * 12)
        answers = 0
        while server.receives(rb"(GET .*)?")[0]:
            server.sends(ok(bytes(60_000)))
            answers += 1
        stopped = balancer.running.stopService()
        assert not stopped.called
        got = client.receives(rb"HTTP/1.1 200 OK\r\n.*")[0]
        client.isEnded()
        assert got.count(b"HTTP/1.1 200") == answers
        assert stopped.called


def test_aHalfClosedClientWhileItsServerConnects():
    with www() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(GET)
        client.ends()
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(LAST)
        client.isEnded()


def test_aHalfClosedClientDoesNotWaitInAQueue():
    with www("a maxconn=1") as balancer:
        other, server = asks(balancer)
        client = balancer.client()
        client.sends(GET)
        client.ends()
        client.isReset()
        assert balancer.endings == [
            'www app/<NOSRV> 0/-1/-1/-1/0 -1 0 - - CQ-- 2/2/1/0/0 0/0 "GET / HTTP/1.1"'
        ]


def test_aClientEndsWithinARequest():
    for sent, ending in (
        (b"GET / HT", 'www www/<NOSRV> -1/-1/-1/-1/0 -1 0 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>"'),
        (b"", None),
    ):
        with www() as balancer:
            client = balancer.client()
            if sent:
                client.sends(sent)
            client.ends()
            client.isEnded()
            assert balancer.endings == [ending] * bool(sent)


def test_aHalfClosedClientWithARestThatIsNoRequest():
    with www() as balancer:
        client, server = asks(balancer, GET + b"GET / HT")
        client.ends()
        server.sends(OK)
        client.receivesExactly(OK)
        client.isEnded()
        assert " ---- " in balancer.endings[0] and " CR-- " in balancer.endings[1]


def test_aClientEndsWithinItsUpload():
    """The request can never become whole."""
    with www() as balancer:
        client, server = asks(balancer, POST + b"bo")
        client.ends()
        client.isReset()
        server.isReset()
        assert " -1 0 - - CH-- " in balancer.endings[0]


# drained


def test_drainClosesIdleConnections():
    with www() as balancer:
        idle, server = answered(balancer)
        fresh = balancer.client()
        balancer.running.stopService()
        # They may be about to ask for something.
        balancer.advance(0.9)
        assert balancer.running.process.active == 2
        balancer.advance(0.2)
        idle.isEnded()
        fresh.isEnded()
        assert len(balancer.lines) == 1


def test_aDrainLosesNoRequest():
    with www() as balancer:
        idle, server = answered(balancer)
        fresh = balancer.client()
        balancer.running.stopService()
        idle.sends(GET)
        server.receives(rb"GET / .*")
        server.sends(OK)
        idle.receivesExactly(LAST)
        idle.isEnded()
        fresh.sends(GET)
        server.receives(rb"GET / .*")
        server.sends(OK)
        fresh.receivesExactly(LAST)
        fresh.isEnded()


def test_drainLetsARunningExchangeFinish():
    with www() as balancer:
        client, server = asks(balancer)
        stopped = balancer.running.stopService()
        balancer.advance(10)
        assert not stopped.called
        server.sends(OK)
        client.receivesExactly(LAST)
        client.isEnded()
        assert stopped.called
        server.isEnded()
        assert " ---- " in balancer.endings[0]


def test_drainLetsARequestComeToItsEnd():
    with www() as balancer:
        client = balancer.client()
        client.sends(GET[:9])
        stopped = balancer.running.stopService()
        client.sends(GET[9:])
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(LAST)
        client.isEnded()
        assert stopped.called


def test_drainRefusesNewClients():
    with www() as balancer:
        client, server = asks(balancer)
        balancer.running.stopService()
        with pytest.raises(OSError):
            balancer.connects()
        server.sends(OK)


def test_graceEndsTheRest():
    with www(settings="grace-period = 5s") as balancer:
        waiting, _ = asks(balancer)
        halfway, server = asks(balancer)
        server.sends(OK[:-1])
        halfway.receives(rb".*h")
        stopped = balancer.running.stopService()
        balancer.advance(4.9)
        assert not stopped.called
        balancer.advance(0.2)
        assert stopped.called
        waiting.receives(rb"HTTP/1.1 503 .*")
        halfway.isReset()
        assert sorted(line.split()[7] for line in balancer.endings) == ["KD--", "KH--"]


def test_graceEndsThoseWhoHaveNoServerYet():
    for server in ("a maxconn=1", "a"):
        with www(
            server, settings="grace-period = 5s", pool="timeout-connect = 9s"
        ) as balancer:
            busy, _ = asks(balancer)
            balancer.server("a").hesitates()
            waiting = balancer.client()
            waiting.sends(GET)
            balancer.running.stopService()
            balancer.advance(5.1)
            assert [line.split()[7][0] for line in balancer.endings] == ["K", "K"]
            assert balancer.running.pool("app").queued == 0


def test_graceEndsARequestThatIsNotWhole():
    with www(settings="grace-period = 5s") as balancer:
        client = balancer.client()
        client.sends(GET[:9])
        balancer.running.stopService()
        balancer.advance(5.1)
        client.isReset()
        assert " KR-- " in balancer.endings[0]
