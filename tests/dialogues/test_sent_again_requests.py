"""
Which requests are sent again: those that do the same twice, with a body that was kept, and of
which the client has seen no response.
"""

import pytest
from resent import ALL, BUSY, again
from spoken import GET, OK, POST, asks, request

PUT = POST.replace(b"POST", b"PUT")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "DELETE"])
def test_idempotentOnes(method):
    with again() as balancer:
        _, a = asks(balancer, request(method=method))
        a.closes()
        balancer.server("b").accepts().receives(method.encode() + rb" .*")


@pytest.mark.parametrize("pieces", [(b"body",), (b"", b"body"), (b"b", b"od", b"y")])
def test_aBodyThatIsWhole(pieces):
    with again() as balancer:
        client = balancer.client()
        client.sends(PUT + pieces[0])
        a = balancer.server("a").accepts()
        a.receives(rb"PUT .*")
        for piece in pieces[1:]:
            client.sends(piece)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"PUT .*\r\nContent-Length: 4\r\n.*\r\n\r\nbody")
        b.sends(OK)
        client.receivesExactly(OK)
        client.sends(GET)


def test_chunksAndTrailers():
    with again() as balancer:
        client = balancer.client()
        client.sends(request("/", "Transfer-Encoding: chunked", method="PUT"))
        a = balancer.server("a").accepts()
        a.receives(rb"PUT .*")
        client.sends(b"3\r\nabc\r\n2\r\nde\r\n")
        client.sends(b"0\r\nX-Sum: 5\r\n\r\n")
        a.receives(rb"5\r\nabcde\r\n0\r\nX-Sum: 5\r\n\r\n")
        a.closes()
        b = balancer.server("b").accepts()
        b.receives(rb"PUT .*\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum: 5\r\n\r\n")


def test_aBodyThatIsNotWhole():
    with again() as balancer:
        client = balancer.client()
        client.sends(PUT + b"bod")
        a = balancer.server("a").accepts()
        a.receives(rb"PUT .*")
        a.sends(BUSY)
        client.receives(rb"HTTP/1.1 503 .*busy")
        balancer.server("b").acceptsNothing()


@pytest.mark.parametrize(("size", "again_"), [(100, True), (101, False)])
@pytest.mark.parametrize("apart", [False, True])
def test_howLongABodyMayBe(size, again_, apart):
    with again(pool=f"{ALL}\nretry-buffer = 100") as balancer:
        head = request("/", f"Content-Length: {size}", method="PUT")
        client = balancer.client()
        client.sends(head if apart else head + bytes(size))
        a = balancer.server("a").accepts()
        a.receives(rb"PUT .*")
        if apart:
            client.sends(bytes(60))
            client.sends(bytes(size - 60))
            a.receives(rb"\0+")
        a.closes()
        if again_:
            balancer.server("b").accepts().receives(rb"PUT .*\r\n\r\n\0{100}")
        else:
            balancer.server("b").acceptsNothing()
            client.receives(rb"HTTP/1.1 502 .*")


def test_noBodyAtAll():
    with again(pool=f"{ALL}\nretry-buffer = 0") as balancer:
        _, a = asks(balancer, PUT + b"body")
        a.closes()
        balancer.server("b").acceptsNothing()
        _, a = asks(balancer)
        a.closes()
        balancer.server("b").accepts().receives(rb"GET .*")


def test_aLongBodyThatIsKeptDoesNotGoUnread():
    """What the kernel passes on could not be sent again."""
    size = 600_000
    with again(pool=f"{ALL}\nretry-buffer = 1m") as balancer:
        client = balancer.client()
        client.sends(request("/", f"Content-Length: {size}", method="PUT"))
        a = balancer.server("a").accepts()
        for _ in range(12):
            client.sends(b"x" * (size // 12))
            a.receives(rb".+")
        a.closes()
        b = balancer.server("b").accepts()
        seen = b""
        while len(seen) < size:
            seen += b.receives(rb".+")[0]
        assert seen.endswith(b"\r\n\r\n" + b"x" * size)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_whatDoesNotDoTheSameTwice(method):
    with again() as balancer:
        client, a = asks(balancer, POST.replace(b"POST", method.encode()) + b"body")
        a.sends(BUSY)
        client.receivesExactly(BUSY)
        balancer.server("b").acceptsNothing()


def test_unlessItIsSaidThatItDoes():
    with again(pool=f"{ALL}\nretry-non-idempotent = yes") as balancer:
        client, a = asks(balancer, POST + b"body")
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"POST .*body")
        b.sends(OK)
        client.receivesExactly(OK)


def test_aRuleForbidsIt():
    rules = 'request = no-retry if path.startswith("/once")'
    with again(frontend=rules) as balancer:
        client, a = asks(balancer, request("/once"))
        a.sends(BUSY)
        client.receivesExactly(BUSY)
        _, a = asks(balancer, request("/often"))
        a.sends(BUSY)
        balancer.server("b").accepts().receives(rb"GET /often .*")


def test_whatWasShownToTheClientIsFinal():
    with again() as balancer:
        client, a = asks(balancer)
        a.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*half")
        a.closes()
        client.isReset()
        balancer.server("b").acceptsNothing()


def test_anInterimResponseIsShownToo():
    with again() as balancer:
        client, a = asks(balancer)
        a.sends(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        client.receives(rb"HTTP/1.1 103 .*")
        a.sends(BUSY)
        client.receivesExactly(BUSY)
        balancer.server("b").acceptsNothing()


def test_anInterimResponseAndTheFinalOneAtOnce():
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with again() as balancer:
        client, a = asks(balancer)
        a.sends(early + OK)
        client.receivesExactly(early + OK)
