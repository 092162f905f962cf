"""
After which failures a request is sent again, one by one: what the next server, the client
and the log get to see of it.
"""

import pytest
from resent import ALL, BUSY, again, counts, logged
from spoken import GET, OK, asks


def closes(balancer, server):
    server.closes()


def resets(balancer, server):
    server.resets()


def ends(balancer, server):
    server.ends()
    server.isReset()


def hangs(balancer, server):
    balancer.advance(50.1)
    server.isReset()


def says(data, then=None):
    def fails(balancer, server):
        server.sends(data)
        if then is not None:
            then(balancer, server)

    return fails


def status(number, more=b"Content-Length: 2\r\n\r\nno"):
    return b"HTTP/1.1 %d No\r\n%b" % (number, more)


FAILURES = {
    "closed": ("empty-response", closes, 502),
    "reset": ("empty-response", resets, 502),
    "ended": ("empty-response", ends, 502),
    "silent": ("response-timeout", hangs, 504),
    "not HTTP": ("junk-response", says(b"SSH-2.0-OpenSSH_9.2\r\n"), 502),
    "half a head": ("junk-response", says(b"HTTP/1.1 200 OK\r\nContent-Le", closes), 502),
    "half a head, silent": ("response-timeout", says(b"HTTP/1.1 200 OK\r\nA: b", hangs), 504),
    "two lengths": (
        "junk-response", says(status(200, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nno")), 502
    ),
    "an upgrade": (
        "junk-response",
        says(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), 502,
    ),
    **{
        str(number): (str(number), says(status(number)), number)
        for number in (401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504)
    },
    "half a body": ("503", says(status(503, b"Content-Length: 9\r\n\r\nno")), None),
    "a chunk": ("503", says(status(503, b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")), None),
    "chunks": (
        "503", says(status(503, b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")), 503
    ),
    "until close": ("503", says(status(503, b"\r\nno")), None),
}  # fmt: skip
failures = pytest.mark.parametrize(
    ("failure", "fails", "told"), FAILURES.values(), ids=FAILURES
)


@failures
def test_anotherServerIsAsked(failure, fails, told):
    with again(pool=f"retry-on = {failure}", log="json") as balancer:
        client, a = asks(balancer)
        assert counts(balancer) == [1, 1, 0]
        fails(balancer, a)
        client.receivesNothing()
        b = balancer.server("b").accepts()
        b.receives(rb"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: .*")
        assert counts(balancer) == [1, 0, 1]
        b.sends(OK)
        client.receivesExactly(OK)
        assert counts(balancer) == [0, 0, 0]
        server, status, retries, redispatched, reason = logged(balancer)
        assert (server, status, retries, redispatched) == ("b", 200, 1, True)
        assert reason.startswith("app/a: ")
        traffic = balancer.running.pool("app").traffic
        assert (traffic.exchanges, traffic.retries, traffic.redispatched) == (1, 1, 1)


@failures
def test_noneIsAskedAfterOthers(failure, fails, told):
    """The client gets what it would have got."""
    others = {word for word, _, _ in FAILURES.values()} - {failure}
    with again(pool=f"retry-on = {' '.join(sorted(others))}") as balancer:
        client, a = asks(balancer)
        fails(balancer, a)
        balancer.server("b").acceptsNothing()
        if told is None:
            # It has not ended yet.
            client.receives(rb"HTTP/1.1 503 No\r\n.*no.*")
            return
        client.receives(rb"HTTP/1.1 %d .*" % told)
        assert f" {told} " in balancer.endings[0]
        assert "/0 0/0 " in balancer.endings[0]


@failures
def test_theClientGoesOn(failure, fails, told):
    """With its next request on the same connection."""
    with again(pool=f"retry-on = {failure}\nhttp-reuse = always") as balancer:
        client, a = asks(balancer)
        fails(balancer, a)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.sends(OK)
        client.receivesExactly(OK)
        if told == 503 or (told is not None and failure.isdigit()):
            # Its response was whole: the connection is good.
            a.receivesNothing()
        else:
            a = None
        client.sends(GET)
        (a or balancer.server("a").accepts()).receives(rb"GET .*")


def test_theResponseThatIsThrownAwayIsClosed():
    with again() as balancer:
        client, a = asks(balancer)
        a.sends(status(503, b"Content-Length: 9\r\n\r\nno"))
        a.isReset()
        balancer.server("b").accepts().receives(rb"GET .*")
        client.receivesNothing()


def test_theLastResponseIsPassedOn():
    """When there are no retries left, as it came."""
    with again("a", "b", "c", pool=f"{ALL}\nretries = 1", log="json") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.sends(BUSY.replace(b"busy", b"BUSY"))
        client.receivesExactly(BUSY.replace(b"busy", b"BUSY"))
        balancer.server("c").acceptsNothing()
        assert logged(balancer) == ("b", 503, 1, True, "app/a: a response with 503")


def test_oneAfterTheOther():
    with again("a", "b", "c", "d", log="json") as balancer:
        client, a = asks(balancer)
        a.sends(BUSY)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        b.closes()
        c = balancer.server("c").accepts()
        c.receives(rb"GET .*")
        c.sends(b"what?\r\n")
        d = balancer.server("d").accepts()
        d.receives(rb"GET .*")
        d.closes()
        client.receives(rb"HTTP/1.1 502 .*")
        assert counts(balancer) == [0] * 5
        server, status, retries, _, reason = logged(balancer)
        assert (server, status, retries) == ("d", 502, 3)
        said = reason.split("; ")
        assert [one.partition(":")[0] for one in said[:3]] == ["app/a", "app/b", "app/c"]
        assert said[3].startswith("the server ")
