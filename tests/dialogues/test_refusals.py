"""
What is not acceptable: requests and responses that break the rules, and limits.
"""

import pytest
from spoken import GET, OK, POST, answered, asks, www

PAGE = rb"HTTP/1\.1 %d [^\r]+\r\nContent-Length: (\d+)\r\n.*Connection: close\r\n.*\r\n\r\n(.*)"


def refused(request, status, frontend=""):
    """One connection that begins with this is answered so and closed."""
    with www(frontend=frontend) as balancer:
        client = balancer.client()
        client.sends(request)
        page = client.receives(PAGE % status)
        assert int(page[1]) == len(page[2])
        client.isEnded()
        balancer.server("a").acceptsNothing()
        (ending,) = balancer.endings
        assert f"/0 {status} {len(page[0])} - - PR-- 1/1/0/0/0 0/0 " in ending
        traffic = balancer.running.frontend("www").inbound.traffic
        assert (traffic.exchanges, traffic.failed, traffic.refused) == (1, 1, 1)
        return ending


# requests


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
         b"Transfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n", 417),
    ],
)  # fmt: skip
def test_badRequests(request_, status):
    assert refused(request_, status).endswith('"<BADREQ>"')


def test_badRequestsAreRefusedBeforeTheyAreWhole():
    """Nothing that follows can make them good."""
    for beginning in (b"GET / HTTP/9.1\r\n", b"GET / HTTP/1.1\r\nX : y\r\n", b"GET\0"):
        with www() as balancer:
            client = balancer.client()
            client.sends(b"GET")
            client.sends(beginning[3:])
            client.receives(rb"HTTP/1.1 (400|505) .*")
            client.isEnded()


def test_badChunkInTheSameSegment():
    request = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"
    assert refused(request, 400).endswith('"POST / HTTP/1.1"')


def test_badChunkLater():
    """The server has a part of the request: it must not take that for whole."""
    with www() as balancer:
        client, server = asks(
            balancer, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.sends(b"x\r\n")
        client.receives(PAGE % 400)
        client.isEnded()
        server.isReset()
        assert " 400 " in balancer.endings[0] and " PH-- " in balancer.endings[0]


def test_badChunkAfterTheResponseHasBegun():
    with www() as balancer:
        client, server = asks(
            balancer, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        server.sends(OK[:-1])
        client.receives(rb".*h")
        client.sends(b"x\r\n")
        client.isReset()
        server.isReset()
        assert " 200 " in balancer.endings[0] and " PD-- " in balancer.endings[0]


# limits


def test_longTarget():
    limit = "max-uri = 100"
    assert '"<BADREQ>"' in refused(b"GET /%b HTTP/1.1\r\n" % (b"x" * 100), 414, limit)
    refused(b"GET /%b" % (b"x" * 200), 414, limit)
    with www(frontend=limit) as balancer:
        asks(balancer, b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * 99))


def test_longHead():
    limit = "max-header-bytes = 1k"
    start = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
    refused(start + b"x" * 1000 + b"\r\n\r\n", 431, limit)
    refused(start + b"x" * 1000, 431, limit)
    with www(frontend=limit) as balancer:
        asks(balancer, start + b"x" * (1024 - len(start) - 4) + b"\r\n\r\n")


def test_manyFields():
    limit = "max-headers = 10"
    refused(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 10 + b"\r\n", 431, limit)
    with www(frontend=limit) as balancer:
        asks(balancer, b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 9 + b"\r\n")


def test_longBodyByItsLength():
    """Refused before a byte of it has come."""
    refused(POST, 413, "max-body = 3")
    with www(frontend="max-body = 4") as balancer:
        asks(balancer, POST + b"body")


def test_longBodyByItsChunks():
    with www(frontend="max-body = 4") as balancer:
        client, server = asks(
            balancer,
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
        )
        client.sends(b"1\r\nx")
        client.receives(PAGE % 413)
        client.isEnded()
        server.isReset()
        assert " 413 " in balancer.endings[0] and " PH-- " in balancer.endings[0]


def test_longBodyByItsChunksInOneSegment():
    refused(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbody!\r\n", 413,
        "max-body = 4",
    )  # fmt: skip


def test_anAnswerToAnUploadLingers():
    """What still comes is read to nowhere, or the kernel would destroy the answer."""
    with www(frontend="max-body = 4") as balancer:
        client = balancer.client()
        client.sends(POST.replace(b"4", b"1000000"))
        client.sends(b"x" * 300_000)
        client.receives(PAGE % 413)
        balancer.advance(1.9)
        assert balancer.running.process.active == 1
        balancer.advance(0.2)
        assert balancer.running.process.active == 0


def test_anAnswerToAnUploadLingersUntilTheClientEnds():
    with www(frontend="max-body = 4") as balancer:
        client = balancer.client()
        client.sends(POST.replace(b"4", b"1000000"))
        client.ends()
        client.receives(PAGE % 413)
        assert balancer.running.process.active == 0


def test_headGetsAnAnswerWithoutABody():
    with www(frontend="max-uri = 5") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        balancer.advance(4)
        client.receives(rb"HTTP/1.1 503 [^\r]+\r\nContent-Length: 1\d\d\r\n.*\r\n\r\n")
        client.isEnded()


# responses


@pytest.mark.parametrize(
    "response",
    [
        b"what?",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 200 OK\r\nX y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnope\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 101 Go\r\n\r\n",
    ],
)
def test_badResponses(response):
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(response)
        page = client.receives(PAGE % 502)
        client.isEnded()
        server.isReset()
        assert balancer.endings == [
            f'www app/a 0/0/0/-1/0 502 {len(page[0])} - - PH-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        ]
        assert balancer.running.pool("app").find("a").traffic.failed == 1


def test_noResponse():
    for part in (b"", b"HTT", b"HTTP/1.1 200 OK\r\nX: y\r\n"):
        with www() as balancer:
            client, server = asks(balancer)
            server.sends(part)
            server.closes()
            client.receives(PAGE % 502)
            client.isEnded()
            assert balancer.endings[0].startswith("www app/a 0/0/0/-1/0 502 ")
            assert " SH-- " in balancer.endings[0]


def test_theReasonIsInTheLogAndNowhereElse():
    with www(log="json") as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 200 OK\r\nX y\r\n\r\n")
        assert b"colon" not in client.receives(PAGE % 502)[0]
        assert '"reason":"a field without a colon"' in balancer.lines[0]


def test_badChunkInAResponse():
    """A part of it is with the client, who must not take that for whole."""
    with www() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*1\r\na\r\n")
        server.sends(b"x\r\n")
        client.isReset()
        server.isReset()
        assert " 200 " in balancer.endings[0] and " PD-- " in balancer.endings[0]


def test_garbageAfterAResponse():
    """The response is whole; nothing else on that connection can be trusted."""
    for response, end in (
        (OK, b""),
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
    ):
        for pieces in ((response + end + b"more",), (response, end + b"more")):
            with www() as balancer:
                client, server = asks(balancer)
                for piece in pieces:
                    server.sends(piece)
                client.receivesExactly(response + end)
                client.sends(GET)
                balancer.server("a").accepts().receives(rb"GET .*")
                assert " ---- " in balancer.endings[0]


def test_dataOnAnIdleServerConnection():
    """It is no answer to what is asked next."""
    with www() as balancer:
        client, server = answered(balancer)
        server.sends(OK)
        server.isReset()
        client.receivesNothing()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb"GET .*")
