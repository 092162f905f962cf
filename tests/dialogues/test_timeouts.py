"""
Every timeout, and every moment at which a client can go away: what the other side
sees, and the two letters in the log.
"""

import socket
from contextlib import suppress

from spoken import GET, OK, POST, answered, asks, www

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"


# timeout-request


def test_noRequest():
    with www(frontend="timeout-request = 5s") as balancer:
        client = balancer.client()
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        size = len(client.receives(rb"HTTP/1.1 408 Request Time-out\r\n.*")[0])
        client.isEnded()
        assert balancer.endings == [
            f'www www/<NOSRV> -1/-1/-1/-1/5020 408 {size} - - cR-- 1/1/0/0/0 0/0 "<BADREQ>"'
        ]


def test_aDripDoesNotExtendIt():
    with www(frontend="timeout-request = 5s") as balancer:
        client = balancer.client()
        for byte in GET[:4]:
            client.sends(bytes([byte]))
            balancer.advance(1)
        balancer.advance(1.1)
        client.receives(rb"HTTP/1.1 408 .*")
        client.isEnded()
        assert " 408 " in balancer.endings[0] and " cR-- " in balancer.endings[0]


def test_aDripOfTheNextRequest():
    """The time counts from its first byte."""
    with www(frontend="timeout-request = 5s\ntimeout-keepalive = 9s") as balancer:
        client, server = answered(balancer)
        balancer.advance(8)
        for byte in GET[:4]:
            client.sends(bytes([byte]))
            balancer.advance(1)
        balancer.advance(0.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.receives(rb"HTTP/1.1 408 .*")
        client.isEnded()
        assert " -1/-1/-1/-1/5020 408 " in balancer.endings[1]


def test_aDripOfAPipelinedRequest():
    with www(frontend="timeout-request = 5s\ntimeout-keepalive = 9s") as balancer:
        client, server = asks(balancer, GET + GET[:9])
        balancer.advance(8)
        server.sends(OK)
        client.receivesExactly(OK)
        balancer.advance(5.1)
        client.receives(rb"HTTP/1.1 408 .*")
        client.isEnded()


def test_timeoutKeepaliveIsTimeoutRequestByDefault():
    with www(frontend="timeout-request = 5s") as balancer:
        client, server = answered(balancer)
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.isEnded()


def test_noTimeoutIsNone():
    with www(frontend="timeout-request = 0\ntimeout-client = 0") as balancer:
        client = balancer.client()
        balancer.advance(3600)
        client.receivesNothing()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")


# timeout-client


def test_anUploadThatStalls():
    with www(frontend="timeout-client = 5s") as balancer:
        client, server = asks(balancer, POST + b"b")
        balancer.advance(4)
        client.sends(b"o")
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.receives(rb"HTTP/1.1 408 .*")
        client.isEnded()
        server.receivesExactly(b"o")
        server.isReset()
        assert balancer.endings[0].startswith("www app/a 0/0/0/-1/9020 408 ")
        assert " cH-- " in balancer.endings[0]


def test_anUploadThatStallsAfterTheResponseHasBegun():
    with www(frontend="timeout-client = 5s") as balancer:
        client, server = asks(balancer, POST + b"b")
        server.sends(OK[:-1])
        client.receives(rb".*h")
        balancer.advance(5.1)
        client.isReset()
        server.isReset()
        assert " 200 " in balancer.endings[0] and " cD-- " in balancer.endings[0]


def test_aClientIsNotTimedWhileItsServerWorks():
    with www(frontend="timeout-client = 5s", pool="timeout-server = 60s") as balancer:
        client, server = asks(balancer, POST + b"body")
        balancer.advance(50)
        server.sends(OK)
        client.receivesExactly(OK)


def test_aClientThatReadsNothing():
    with www(frontend="timeout-client = 5s") as balancer:
        client, server = asks(balancer)
        server.sends(BIG + bytes(500_000))
        balancer.advance(4.9)
        assert balancer.lines == []
        balancer.advance(0.2)
        server.isReset()
        assert " 200 " in balancer.endings[0] and " cD-- " in balancer.endings[0]


def test_aClientThatReadsSlowlyIsWaitedFor():
    with www(frontend="timeout-client = 5s", pool="timeout-server = 5s") as balancer:
        client, server = asks(balancer)
        server.socket.setblocking(False)
        rest = BIG + bytes(1_000_000)
        received = 0
        while received < len(BIG) + 1_000_000:
            try:
                rest = rest[server.socket.send(rest[:50_000]) :] if rest else b""
            except BlockingIOError:
                pass
            balancer.advance(3)
            received += len(client.socket.recv(50_000))
        assert " 200 " in balancer.endings[0] and " ---- " in balancer.endings[0]


def last(balancer, request=GET):
    """
    A client whose response is complete, and the server that has sent it; the last of
    it still waits in the balancer.
    """
    client, server = asks(balancer, request)
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 250000\r\n\r\n" + bytes(250_000))
    assert balancer.pump.getWriters()
    assert balancer.lines == []
    return client, server


def test_anExchangeEndsWithItsLastByte():
    with www() as balancer:
        client, server = last(balancer)
        balancer.advance(3)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        assert balancer.endings[0].startswith("www app/a 0/0/0/0/3200 200 250043 - - ---- ")
        client.sends(GET)
        server.receives(rb"GET .*")


def test_aClientThatDoesNotTakeTheLast():
    with www(frontend="timeout-client = 5s") as balancer:
        client, server = last(balancer)
        balancer.advance(5)
        assert balancer.endings[0].startswith("www app/a 0/0/0/0/5020 200 250043 - - cL-- ")
        server.receivesNothing()


def test_aClientThatGoesBeforeTheLast():
    with www() as balancer:
        client, server = last(balancer)
        client.resets()
        assert balancer.endings[0].startswith("www app/a 0/0/0/0/200 200 250043 - - CL-- ")


def test_aClientThatEndsItsUploadBeforeTheLast():
    """It has its answer, and gives up the rest of its request."""
    with www() as balancer:
        client, server = last(balancer, POST + b"bo")
        client.ends()
        assert len(client.receives(rb"HTTP/1.1 200 OK\r\n.*")[0]) > 250_000
        client.isEnded()
        assert " ---- " in balancer.endings[0]


# timeout-server


def test_aServerThatDoesNotAnswer():
    with www(pool="timeout-server = 5s") as balancer:
        client, server = asks(balancer)
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        size = len(client.receives(rb"HTTP/1.1 504 Gateway Time-out\r\n.*")[0])
        client.isEnded()
        server.isReset()
        assert balancer.endings == [
            f'www app/a 0/0/0/-1/5020 504 {size} - - sH-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ]


def test_aServerThatDripsItsHeadIsWaitedFor():
    """It is not silent."""
    with www(pool="timeout-server = 5s") as balancer:
        client, server = asks(balancer)
        for byte in OK:
            balancer.advance(4)
            server.sends(bytes([byte]))
        client.receivesExactly(OK)


def test_aServerThatStopsHalfway():
    with www(pool="timeout-server = 5s") as balancer:
        client, server = asks(balancer)
        balancer.advance(1)
        server.sends(OK[:-1])
        client.receives(rb".*h")
        balancer.advance(5.1)
        client.isReset()
        server.isReset()
        assert balancer.endings[0].startswith("www app/a 0/0/0/1000/6020 200 39 - - sD-- ")


def test_aServerThatTakesNoUpload():
    with www(frontend="timeout-client = 50s", pool="timeout-server = 5s") as balancer:
        client, server = asks(balancer, UPLOAD)
        client.socket.setblocking(False)
        try:
            while True:
                client.socket.send(bytes(65536))
                balancer.pump.turn()
        except BlockingIOError:
            pass
        balancer.advance(5.1)
        client.receives(rb"HTTP/1.1 504 .*")
        assert " 504 " in balancer.endings[0] and " sH-- " in balancer.endings[0]


# timeout-connect


def test_aServerThatCannotBeReached():
    with www(pool="timeout-connect = 5s\nretries = 0") as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(GET)
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        size = len(client.receives(rb"HTTP/1.1 503 Service Unavailable\r\n.*")[0])
        client.isEnded()
        assert balancer.endings == [
            f'www app/a 0/0/-1/-1/5020 503 {size} - - sC-- 1/1/0/0/0 0/0 "GET / HTTP/1.1"'
        ]
        assert balancer.running.pool("app").find("a").traffic.connectFailures == 1


# timeout-queue


def test_aQueueThatDoesNotMove():
    with www("a maxconn=1", pool="timeout-queue = 5s") as balancer:
        asks(balancer)
        client = balancer.client()
        client.sends(GET)
        balancer.advance(4.9)
        client.receivesNothing()
        balancer.advance(0.2)
        size = len(client.receives(rb"HTTP/1.1 503 .*")[0])
        client.isEnded()
        assert balancer.endings == [
            f'www app/<NOSRV> 0/-1/-1/-1/5020 503 {size} - - sQ-- 2/2/1/0/0 0/0 "GET / HTTP/1.1"'
        ]


def test_timeoutQueueIsTimeoutConnectByDefault():
    with www("a maxconn=1", pool="timeout-connect = 3s") as balancer:
        asks(balancer)
        client = balancer.client()
        client.sends(GET)
        balancer.advance(3.1)
        client.receives(rb"HTTP/1.1 503 .*")


# clients that go away


def test_withinARequest():
    with www() as balancer:
        client = balancer.client()
        client.sends(GET[:9])
        client.resets()
        assert balancer.endings == [
            'www www/<NOSRV> -1/-1/-1/-1/0 -1 0 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>"'
        ]


def test_inTheQueue():
    with www("a maxconn=1") as balancer:
        _, server = asks(balancer)
        client = balancer.client()
        client.sends(GET)
        balancer.advance(1)
        client.resets()
        assert balancer.endings == [
            'www app/<NOSRV> 0/-1/-1/-1/1000 -1 0 - - CQ-- 2/2/1/0/0 0/0 "GET / HTTP/1.1"'
        ]
        assert balancer.running.pool("app").queued == 0
        server.sends(OK)
        server.receivesNothing()


def test_whileItsServerConnects():
    with www() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(GET)
        client.resets()
        assert balancer.endings == [
            'www app/a 0/0/-1/-1/0 -1 0 - - CC-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ]
        balancer.server("a").goesOn()
        balancer.server("a").acceptsNothing()


def test_whileItsServerIsTriedAgain():
    with www() as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        client.resets()
        balancer.server("a").comesBack()
        balancer.advance(2)
        balancer.server("a").acceptsNothing()
        assert balancer.endings == [
            'www app/a 0/0/-1/-1/0 -1 0 - - CC-- 1/1/1/1/1 0/0 "GET / HTTP/1.1"'
        ]


def test_whileItsServerWorks():
    with www() as balancer:
        client, server = asks(balancer)
        balancer.advance(1)
        client.resets()
        server.isReset()
        assert balancer.endings == [
            'www app/a 0/0/0/-1/1000 -1 0 - - CH-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ]


def test_withinItsUpload():
    with www() as balancer:
        client, server = asks(balancer, POST + b"bo")
        client.resets()
        server.isReset()
        assert " -1 0 - - CH-- " in balancer.endings[0]


def test_withinTheResponse():
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(OK[:-1])
        client.receives(rb".*h")
        client.resets()
        server.isReset()
        assert balancer.endings == [
            'www app/a 0/0/0/0/0 200 39 - - CD-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ]


def test_withinTheResponseWhileItTakesNothing():
    """What waits for it is dropped, and its server is not held."""
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(BIG + bytes(500_000))
        client.closes()
        server.isReset()
        assert " 200 " in balancer.endings[0] and " CD-- " in balancer.endings[0]


def test_whoClosesWithoutAResetIsNoticedByWriting():
    """To us it looks as one who has only ended its side."""
    with www() as balancer:
        client, server = asks(balancer)
        client.closes()
        server.sends(BIG + b"x")
        server.isReset()
        assert " 200 " in balancer.endings[0] and " CD-- " in balancer.endings[0]


def test_betweenTwoRequestsNobodyMinds():
    with www() as balancer:
        client, server = answered(balancer)
        client.resets()
        server.receivesNothing()
        assert len(balancer.lines) == 1


def test_aSlowReaderIsNotTheServersFault():
    """
    While a long body is held for the client's sake the server has no deadline, however
    the bytes go on when the client takes some.
    """
    size = 4_000_000
    times = "timeout-client = 60s"
    with www(frontend=times, pool="timeout-server = 10s") as balancer:
        client, server = asks(balancer)
        (front,) = balancer.running.frontend("www").inbound.connections
        # Less than is held in the pipe, so that what is taken does not empty it.
        front.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        left = size
        for _ in range(4):
            with suppress(BlockingIOError):
                while left:
                    left -= server.socket.send(b"x" * min(left, 65536))
                    balancer.pump.turn()
            assert left, "nothing is held"
            assert client.socket.recv(40_000)
            balancer.pump.turn()
            balancer.advance(15)
        assert balancer.endings == []
