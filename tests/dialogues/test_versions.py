"""
What is not one request and then one response: interim responses, answers that come
before the request is whole; and HTTP/1.0 on either side.
"""

from spoken import GET, OK, POST, TOLD, asks, www

# interim responses


def test_expectationEndToEnd():
    with www() as balancer:
        client, server = asks(balancer, POST[:-2] + b"Expect: 100-continue\r\n\r\n")
        server.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sends(b"body")
        server.receivesExactly(b"body")
        server.sends(OK)
        client.receivesExactly(OK)
        client.receivesNothing()


def test_expectationRefused():
    """The body does not come, and the connection cannot be used on."""
    with www() as balancer:
        client, server = asks(balancer, POST[:-2] + b"Expect: 100-continue\r\n\r\n")
        server.sends(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        client.receivesExactly(
            b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        client.isEnded()
        server.isReset()
        assert " 401 " in balancer.endings[0] and " ---- " in balancer.endings[0]


def test_expectationOfAnOldClient():
    with www() as balancer:
        client = balancer.client()
        client.sends(
            b"POST / HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody"
        )
        server = balancer.server("a").accepts()
        server.receivesExactly(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n" + TOLD + b"\r\nbody"
        )


def test_earlyHints():
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n")
        client.receivesExactly(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        server.sends(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        client.receivesExactly(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)


def test_anOldClientGetsNoInterimResponse():
    with www() as balancer:
        client, server = asks(balancer, b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
        server.sends(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        client.receives(rb"HTTP/1.1 200 OK\r\n.*hi")
        client.isEnded()


def test_interimResponsesWithoutEnd():
    with www() as balancer:
        client, server = asks(balancer)
        interim = b"HTTP/1.1 103 X\r\nLink: %b\r\n\r\n" % (b"x" * 1000)
        server.sends(interim * 60)
        client.receivesExactly(interim * 60)
        for _ in range(10):
            server.socket.send(interim)
        balancer.pump.turn()
        client.receives(rb"(HTTP/1.1 103 .*)?HTTP/1.1 502 Bad Gateway\r\n.*")
        client.isEnded()
        server.isReset()
        assert " 502 " in balancer.endings[0] and " PH-- " in balancer.endings[0]


# an answer while the upload flows


def test_earlyFinalResponse():
    """The client gets it, and may go on sending for a while; the server does not."""
    with www() as balancer:
        client, server = asks(
            balancer, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc"
        )
        server.sends(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        client.receivesExactly(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        )
        server.isReset()
        client.sends(b"x" * 100_000)
        client.isEnded()
        assert balancer.endings == [
            'www app/a 0/0/0/0/0 413 66 - - ---- 1/1/1/1/0 0/0 "POST / HTTP/1.1"'
        ]


def test_earlyResponseThatFlowsAsLongAsTheUpload():
    with www() as balancer:
        client, server = asks(balancer, POST + b"b")
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*\r\nConnection: close\r\n\r\nh")
        client.sends(b"ody")
        server.receivesExactly(b"ody")
        server.sends(b"i")
        client.receivesExactly(b"i")
        client.isEnded()


def test_serverAnswersTheUploadAndCloses():
    with www() as balancer:
        client, server = asks(
            balancer, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc"
        )
        server.socket.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        server.socket.close()
        client.sends(b"x" * 10_000)
        client.receives(rb"HTTP/1.1 413 Too Large\r\n.*")
        client.isEnded()


# HTTP/1.0


def test_oldClient():
    with www() as balancer:
        client, server = asks(balancer, b"GET / HTTP/1.0\r\n\r\n")
        server.sends(OK)
        client.receivesExactly(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        )
        client.isEnded()


def test_oldClientThatKeepsItsConnection():
    with www() as balancer:
        request = b"GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n"
        client, server = asks(balancer, request)
        for _ in range(2):
            server.sends(OK)
            client.receivesExactly(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"
            )
            client.sends(request)
            server.receivesExactly(GET[:-2] + TOLD + b"\r\n")


def test_oldClientWithoutAHost():
    """HTTP/1.1 must have one: the address that the client connected to."""
    with www() as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.0\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receivesExactly(b"GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n" + TOLD + b"\r\n")


def test_oldClientGetsNoChunks():
    with www() as balancer:
        client, server = asks(balancer, b"GET / HTTP/1.0\r\n\r\n")
        server.sends(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n"
        )
        client.receivesExactly(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
        client.isEnded()


def test_oldServer():
    """Its version is not the client's business, and its connection ends."""
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        client.receivesExactly(OK)
        server.isEnded()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")


def test_oldServerThatKeepsItsConnection():
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
        client.receivesExactly(OK)
        client.sends(GET)
        server.receives(rb"GET .*")
