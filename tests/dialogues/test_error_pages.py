"""
The balancer's own pages: from files, as problem details, or none at all; and clients that
never say anything.
"""

import json

import pytest
from spoken import GET, OK, answered, asks, www

from lbtwist.testing import Balancer

SORRY = (
    b"HTTP/1.0 503 Sorry\nContent-Type: text/plain\nConnection: close\n"
    b"Retry-After: 7\n\nsorry\n"
)


@pytest.fixture
def sorry(tmp_path):
    path = tmp_path / "503.http"
    path.write_bytes(SORRY)
    return path


def test_aSlowRequest():
    """The shorter of two timeouts ends it, and a drip of bytes does not extend it."""
    for frontend in (
        "timeout-request = 10s\ntimeout-client = 20s",
        "timeout-request = 20s\ntimeout-client = 10s",
        "timeout-request = 0\ntimeout-client = 10s",
    ):
        with www(frontend=frontend) as balancer:
            client = balancer.client()
            for byte in GET[:9]:
                client.sends(bytes([byte]))
                balancer.advance(1)
            client.receivesNothing()
            balancer.advance(1.1)
            client.receives(
                rb"HTTP/1.1 408 Request Time-out\r\nContent-Length: 110\r\n"
                rb"Cache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n"
                rb"<html><body><h1>408 Request Time-out</h1>\nYour browser didn't send a complete"
                rb" request in time.\n</body></html>\n"
            )
            client.isEnded()
            assert " 408 " in balancer.endings[0] and " cR-- " in balancer.endings[0]


@pytest.mark.parametrize("sent", [b"", GET[:9]])
def test_aSlowRequestIsNotAnswered(sent):
    """C{/dev/null} is silence; the log says what happened."""
    with www(frontend="timeout-request = 10s\nerrorfile-408 = /dev/null") as balancer:
        client = balancer.client()
        client.sends(sent)
        balancer.advance(10.1)
        client.isEnded()
        assert " 408 0 - - cR-- " in balancer.endings[0]
        traffic = balancer.running.frontend("www").inbound.traffic
        assert (traffic.exchanges, traffic.failed, traffic.responses[4]) == (1, 1, 1)


def test_aProbeIsForgotten():
    with www(frontend="timeout-request = 10s\nhttp-ignore-probes = yes") as balancer:
        client = balancer.client()
        balancer.advance(10.1)
        client.isEnded()
        gone = balancer.client()
        gone.closes()
        assert balancer.lines == []
        traffic = balancer.running.frontend("www").inbound.traffic
        assert (traffic.exchanges, traffic.failed, traffic.refused) == (0, 0, 0)
        assert traffic.connections == 2


@pytest.mark.parametrize("sent", [b"G", b"\r\n"])
def test_whoHasSaidSomethingIsNoProbe(sent):
    with www(frontend="timeout-request = 10s\nhttp-ignore-probes = yes") as balancer:
        client = balancer.client()
        client.sends(sent)
        balancer.advance(10.1)
        client.receives(rb"HTTP/1.1 408 .*")
        client.isEnded()
        assert len(balancer.lines) == 1


def test_whoWaitsBetweenRequestsIsNoProbe():
    """It is closed without a word, as ever."""
    with www(frontend="timeout-keepalive = 5s\nhttp-ignore-probes = yes") as balancer:
        client, _ = answered(balancer)
        balancer.advance(5.1)
        client.isEnded()
        assert len(balancer.lines) == 1


def test_aFile(sorry):
    with www(frontend=f"errorfile-503 = {sorry}", pool="retries = 0") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        client.receives(
            rb"HTTP/1.1 503 Sorry\r\nContent-Type: text/plain\r\nRetry-After: 7\r\n"
            rb"Content-Length: 6\r\nConnection: close\r\n\r\nsorry\n"
        )
        client.isEnded()
        assert " 503 " in balancer.endings[0] and " SC-- " in balancer.endings[0]


def test_aFileForAHead(sorry):
    with www(frontend=f"errorfile-503 = {sorry}", pool="retries = 0") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.receives(rb"HTTP/1.1 503 Sorry\r\n.*Content-Length: 6\r\nConnection: close\r\n\r\n")
        client.isEnded()


def test_theStatusOfAFileIsLogged(tmp_path):
    (tmp_path / "moved").write_bytes(b"HTTP/1.1 302 Found\nLocation: https://sorry.example/\n\n")
    with www(frontend=f"errorfile-400 = {tmp_path}/moved") as balancer:
        client = balancer.client()
        client.sends(b"nonsense\r\n\r\n")
        client.receives(rb"HTTP/1.1 302 Found\r\nLocation: https://sorry.example/\r\n.*")
        client.isEnded()
        assert " 302 " in balancer.endings[0] and " PR-- " in balancer.endings[0]


def test_problemDetails():
    with www(frontend="errors = json") as balancer:
        client = balancer.client()
        client.sends(b"nonsense\r\n\r\n")
        found = client.receives(
            rb"HTTP/1.1 400 .*Content-Type: application/problem\+json\r\n\r\n(.*)"
        )
        client.isEnded()
        assert json.loads(found[1]) == {
            "type": "about:blank", "title": "Bad Request", "status": 400,
            "detail": "Your browser sent an invalid request.",
        }  # fmt: skip


def test_refusedWithoutAWord():
    """A rule's refusal has its page too."""
    with www(frontend="errorfile-403 = /dev/null\nrequest = deny") as balancer:
        client = balancer.client()
        client.sends(GET)
        client.isEnded()
        assert " 403 0 " in balancer.endings[0] and " PR-- " in balancer.endings[0]


@pytest.mark.parametrize("status", [401, 404, 410, 425, 429, 451])
def test_whatARuleMayDenyWith(status):
    with www(frontend=f"request = deny {status}") as balancer:
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 %d .*" % status)
        client.isEnded()


def test_whatDefaultsSayIsTakenBack(sorry):
    text = f"""
[defaults]
errorfile-503 = {sorry}
errorfile-400 = /dev/null
[frontend www]
bind = ${{bind}}
errorfile-400 =
[frontend other]
bind = ${{bind}}2
errorfile-503 = /dev/null
"""
    with Balancer(text) as balancer:
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 Sorry\r\n.*")
        client = balancer.client()
        client.sends(b"nonsense\r\n\r\n")
        client.receives(rb"HTTP/1.1 400 Bad request\r\n.*")
        client.isEnded()
        for request in (GET, b"nonsense\r\n\r\n"):
            client = balancer.client(frontend="other")
            client.sends(request)
            client.isEnded()


def test_aResponseUnderWayIsNoPage():
    """Whatever the pages are, the response that has begun is broken off."""
    with www(frontend="errorfile-504 = /dev/null", pool="timeout-server = 5s") as balancer:
        client, server = asks(balancer)
        server.sends(OK[:-1])
        client.receives(rb"HTTP/1.1 200 .*h")
        balancer.advance(5.1)
        client.isReset()
        assert " sD-- " in balancer.endings[0]
