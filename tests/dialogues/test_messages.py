"""
Requests and responses pass: heads, bodies in every framing, trailers, no body at all.
"""

from spoken import GET, OK, POST, TOLD, asks, www

CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_oneExchange():
    with www() as balancer:
        client = balancer.client()
        client.sends(b"GET /x?y HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receivesExactly(
            b"GET /x?y HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n" + TOLD + b"\r\n"
        )
        server.sends(b"HTTP/1.1 200 Fine\r\ncontent-length: 2\r\nX-A:  1\r\n\r\nhi")
        client.receivesExactly(b"HTTP/1.1 200 Fine\r\ncontent-length: 2\r\nX-A:  1\r\n\r\nhi")
        assert balancer.lines[0].startswith("203.0.113.9:40000 [")
        assert balancer.endings == [
            'www app/a 0/0/0/0/0 200 51 - - ---- 1/1/1/1/0 0/0 "GET /x?y HTTP/1.1"'
        ]


def test_itIsCountedWhereverItWent():
    with www() as balancer:
        client, server = asks(balancer, POST + b"body")
        server.sends(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        client.receives(b".*")
        app = balancer.running.pool("app")
        www_ = balancer.running.frontend("www").inbound
        for traffic in (www_.traffic, app.traffic, app.find("a").traffic):
            assert traffic.exchanges == 1
            assert traffic.bytesIn == len(POST) + 4
            assert traffic.bytesOut == len(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            assert traffic.responses == [0, 0, 0, 0, 1, 0]
            assert traffic.failed == 0
        assert www_.traffic.connections == 1
        assert app.find("a").traffic.connects == 1
        assert app.find("a").traffic.reuses == 0


def test_timersSayWhereTheTimeWent():
    """TR, Tw, Tc, Tr and Ta, in milliseconds."""
    with www() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        balancer.advance(2)
        client.sends(GET[:10])
        balancer.advance(0.01)
        client.sends(GET[10:])
        balancer.advance(0.03)
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        balancer.advance(0.069)
        server.sends(OK[:-1])
        balancer.advance(0.1)
        server.sends(OK[-1:])
        client.receivesExactly(OK)
        assert balancer.endings == [
            'www app/a 10/0/30/69/209 200 40 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ]


def test_headInPieces():
    with www() as balancer:
        client = balancer.client()
        client.sendsPieces(GET)
        server = balancer.server("a").accepts()
        server.receivesExactly(GET[:-2] + TOLD + b"\r\n")
        server.sendsPieces(OK)
        client.receivesExactly(OK)


def test_emptyLineBeforeARequest():
    with www() as balancer:
        client = balancer.client()
        client.sends(b"\r\n" + GET)
        balancer.server("a").accepts().receives(rb"GET / HTTP/1.1\r\n.*")


def test_hostIsTakenFromAnAbsoluteTarget():
    with www() as balancer:
        client = balancer.client()
        client.sends(b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receivesExactly(b"GET /x HTTP/1.1\r\nHost: h\r\n" + TOLD + b"\r\n")


# bodies


def test_uploadFlows():
    """What has come is passed on; nobody waits for the rest."""
    with www() as balancer:
        client, server = asks(balancer, POST + b"b")
        client.sends(b"od")
        server.receivesExactly(b"od")
        client.sends(b"y")
        server.receivesExactly(b"y")
        server.sends(OK)
        client.receivesExactly(OK)
        assert balancer.running.frontend("www").inbound.traffic.bytesIn == len(POST) + 4


def test_chunkedUpload():
    """The chunks are made anew; extensions concern one connection only."""
    with www() as balancer:
        client = balancer.client()
        client.sends(CHUNKED + b"2;x=y\r\nab\r\n1\r\nc\r\n")
        server = balancer.server("a").accepts()
        server.receivesExactly(
            b"POST / HTTP/1.1\r\nHost: h\r\n" + TOLD +
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        client.sends(b"1\r\nd\r\n0\r\n\r\n")
        server.receivesExactly(b"1\r\nd\r\n0\r\n\r\n")
        server.sends(OK)
        client.receivesExactly(OK)


def test_trailersOfARequest():
    """Those pass that frame, route and permit nothing."""
    body = b"1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n"
    for pieces in ([CHUNKED + body], [CHUNKED, body], [CHUNKED + body[:12], body[12:]]):
        with www() as balancer:
            client = balancer.client()
            for piece in pieces:
                client.sends(piece)
            server = balancer.server("a").accepts()
            server.receives(rb"POST .*\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_bodyComesBeforeTheServerIsThere():
    """The connection is read on: here, the next request."""
    with www() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(POST)
        client.sends(b"bo")
        client.sends(b"dy")
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receives(rb"POST .*\r\n\r\nbody")
        server.sends(OK)
        client.receivesExactly(OK)
        client.sends(GET)
        server.receives(rb"GET .*")


def test_wholeBodyComesBeforeTheServerIsThere():
    with www() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(POST)
        client.sends(b"body")
        balancer.server("a").goesOn()
        server = balancer.server("a").accepts()
        server.receives(rb"POST .*\r\n\r\nbody")
        server.sends(OK)
        client.receivesExactly(OK)
        client.sends(GET)
        server.receives(rb"GET .*")


def test_trailersComeBeforeTheServerIsThere():
    with www() as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(CHUNKED + b"1\r\na\r\n")
        client.sends(b"1\r\nb\r\n0\r\nX-Sum: 1\r\n\r\n")
        balancer.server("a").goesOn()
        balancer.server("a").accepts().receives(rb"POST .*\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_chunkedResponse():
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n")
        client.receivesExactly(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        )
        server.sends(b"1\r\nc\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n")
        client.receivesExactly(b"1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n")
        client.receivesNothing()


def test_wholeChunkedResponseWithTrailers():
    with www() as balancer:
        client, server = asks(balancer)
        response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n"
        server.sends(response)
        client.receivesExactly(response)
        assert balancer.endings == [
            'www app/a 0/0/0/0/0 200 %d - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"' % len(response)
        ]


def test_responseEndedByClose():
    """It becomes a chunked one, and the client's connection lives on."""
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nab")
        client.receivesExactly(
            b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        )
        server.sends(b"c")
        client.receivesExactly(b"1\r\nc\r\n")
        server.closes()
        client.receivesExactly(b"0\r\n\r\n")
        client.receivesNothing()
        assert '---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"' in balancer.endings[0]


def test_responseEndedByCloseToAnOldClient():
    with www() as balancer:
        client, server = asks(balancer, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        server.sends(b"HTTP/1.1 200 OK\r\n\r\nab")
        client.receivesExactly(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
        server.closes()
        client.isEnded()
        assert '200 40 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.0"' in balancer.endings[0]


def test_responseBrokenOffByAResetDoesNotLookWhole():
    """Neither to one who counts chunks nor to one who waits for the end."""
    for request in (GET, b"GET / HTTP/1.0\r\n\r\n"):
        with www() as balancer:
            client, server = asks(balancer, request)
            server.sends(b"HTTP/1.1 200 OK\r\n\r\nab")
            client.receives(rb".*ab(\r\n)?")
            server.resets()
            client.isReset()
            assert " 200 " in balancer.endings[0]
            assert " SD-- " in balancer.endings[0]


def test_responseCutShort():
    for framing, part in (
        (b"Content-Length: 9", b"abc"),
        (b"Transfer-Encoding: chunked", b"9\r\nabc"),
        (b"Transfer-Encoding: chunked", b"1\r\na\r\n"),
        (b"Transfer-Encoding: chunked", b"1\r\na\r\n0\r\n"),
    ):
        with www() as balancer:
            client, server = asks(balancer)
            server.sends(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (framing, part))
            client.receives(rb"HTTP/1.1 200 OK\r\n.*a.*")
            server.closes()
            client.isReset()
            assert " SD-- " in balancer.endings[0]


def test_longBodiesPassWhole():
    """Through the kernel where that is possible; every byte is counted."""
    body = bytes(range(256)) * 4096
    with www() as balancer:
        client, server = asks(
            balancer, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        for at in range(0, len(body), 65536):
            client.sends(body[at : at + 65536])
            server.receivesExactly(body[at : at + 65536])
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        for at in range(0, len(body), 65536):
            server.sends(body[at : at + 65536])
            client.receivesExactly(body[at : at + 65536])
        client.sends(GET)
        server.receives(rb"GET .*")
        traffic = balancer.running.pool("app").traffic
        assert traffic.bytesIn > len(body)
        assert f" 200 {len(body) + 44} - - ---- " in balancer.endings[0]


# without a body


def test_head():
    """A length is told, but nothing follows."""
    with www() as balancer:
        client, server = asks(balancer, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        client.sends(GET)
        server.receives(rb"GET .*")


def test_responsesThatHaveNoBody():
    for status, field, passed in (
        (204, b"", b""),
        (204, b"Content-Length: 5\r\n", b""),
        (304, b"Content-Length: 5\r\n", b"Content-Length: 5\r\n"),
        (304, b"Transfer-Encoding: chunked\r\n", b""),
    ):
        with www() as balancer:
            client, server = asks(balancer)
            server.sends(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, field))
            client.receivesExactly(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, passed))
            client.sends(GET)
            server.receives(rb"GET .*")
            assert f" {status} " in balancer.endings[0]
