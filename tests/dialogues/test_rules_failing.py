"""
A built-in verb that raises, which none should: the client gets nothing that the rule would
have kept from it, the log says which rule it was, and nothing is left behind. For verbs of
third parties see C{test_rules_waiting}.
"""

import re

import attr
import pytest
from spoken import GET, OK, POST, letters, ruled
from twisted.logger import globalLogPublisher

from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.registry import Extension, installed
from lbtwist.rules.passing import Returned

SERVER_ERROR = (
    rb"HTTP/1.1 500 Internal Server Error\r\nContent-Length: \d+\r\nCache-Control: no-cache\r\n"
    rb"Connection: close\r\nContent-Type: text/html\r\n\r\n<html>.*</html>\n"
)


class Fails:
    """Takes itself for a built-in verb."""

    __module__ = "lbtwist.rules.failing"

    @attr.frozen
    class Options:
        pass

    def __init__(self, options, context):
        pass

    def connectionAccepted(self, exchange):
        raise ZeroDivisionError("secret")

    requestReceived = responseReceived = connectionAccepted


REGISTRY = installed(
    *(
        Extension(stage, "fail", f"{__name__}.Fails", waits=False)
        for stage in (IConnectionRule, IRequestRule, IResponseRule)
    )
)


@pytest.fixture
def told():
    """The failures of the log, formatted."""
    said = []

    def observe(event):
        if event["log_level"].name == "critical":
            said.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


def failing(*request, **more):
    return ruled(*request, registry=REGISTRY, **more)


def hasFailed(balancer, told, where):
    """One exception was logged, with the place of the rule."""
    [failure] = balancer.failures
    balancer.failures.clear()
    assert failure.check(ZeroDivisionError)
    [said] = told
    assert re.fullmatch(f"the rule .fail.* of lb.ini:{where} has failed", said), said


@pytest.mark.parametrize(
    ("request_", "app", "where"),
    [
        (["set-header X-A y", "fail"], "", "7:5"),
        (["deny if path == '/'", "fail"], "", ""),
        (["fail if path == '/x'", "set-header X-A y", "fail if path == '/'"], "", "8:5"),
        ([], "request = fail", "9:11"),
        (["set-header X-A y"], "request =\n    allow if path == '/x'\n    fail", "13:5"),
    ],
)
@pytest.mark.parametrize("sent", [GET, GET + GET, POST, POST + b"body"])
def test_requests(told, request_, app, where, sent):
    """They are not sent on."""
    with failing(*request_, app=app) as balancer:
        client = balancer.client()
        client.sends(sent)
        balancer.server("a").acceptsNothing()
        if not where:
            client.receives(rb"HTTP/1.1 403 .*")
            assert not told
            return
        client.receives(SERVER_ERROR)
        client.ends()
        client.isEnded()
        hasFailed(balancer, told, where)
        assert [end[1:] for end in letters(balancer)] == [(500, "IR--")]


WHOLE = b"HTTP/1.1 200 OK\r\nX-Secret: yes\r\nContent-Length: 6\r\n\r\nsecret"
PART = WHOLE.replace(b": 6", b": 1000000")
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nX-Secret: yes\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n"
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nX-Secret: yes\r\n\r\nsecret"


@pytest.mark.parametrize(
    ("response", "kept"),
    [(WHOLE, True), (PART, False), (CHUNKS, False), (CHUNKS + b"0\r\n\r\n", True),
     (UNTIL_CLOSE, False)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("place", "where"),
    [({"response": ["fail"]}, "6:5"), ({"app": "response = fail"}, "9:12")],
    ids=["frontend", "pool"],
)
def test_responses(told, place, where, response, kept):
    """Not a byte of them gets to the client; the server may go on if it has said all."""
    with failing(**place) as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(response)
        client.receives(SERVER_ERROR)
        client.isEnded()
        hasFailed(balancer, told, where)
        assert [end[1:] for end in letters(balancer)] == [(500, "IH--")]
        server.receivesNothing() if kept else server.isReset()


def test_aBodyThatIsStillComing(told):
    """Neither the server nor the client is left with half of it."""
    with failing(response=["fail"]) as balancer:
        client = balancer.client()
        client.sends(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
        server = balancer.server("a").accepts()
        server.receives(rb"PUT .*half")
        server.sends(WHOLE)
        client.receives(SERVER_ERROR)
        client.sends(bytes(96) + GET)
        client.ends()
        client.isEnded()
        server.isReset()
        hasFailed(balancer, told, "6:5")


def test_anUpgrade(told):
    """There is no tunnel."""
    with failing(response=["fail"]) as balancer:
        client = balancer.client()
        client.sends(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"\r\nsecret"
        )
        client.receives(SERVER_ERROR)
        client.isEnded()
        server.isReset()
        hasFailed(balancer, told, "6:5")
        assert [end[1:] for end in letters(balancer)] == [(500, "IH--")]


def test_theWayBackOfProxyPass(monkeypatch, told):
    def fails(self, exchange):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Returned, "responseReceived", fails)
    with failing("proxy-pass / http://bk/") as balancer:
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(WHOLE)
        client.receives(SERVER_ERROR)
        assert balancer.failures.pop().check(ZeroDivisionError)
    assert len(told) == 1


def test_connections(told):
    with failing(frontend="connection = fail") as balancer:
        balancer.client().isEnded()
        hasFailed(balancer, told, "5:14")
        assert [end[1:] for end in letters(balancer)] == [(-1, "IR--")]


def test_theNextOneIsServed(told):
    with failing('fail if path == "/x"') as balancer:
        client = balancer.client()
        client.sends(GET.replace(b"/ ", b"/x ", 1))
        client.receives(SERVER_ERROR)
        hasFailed(balancer, told, "6:5")
        client = balancer.client()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receivesExactly(OK)
