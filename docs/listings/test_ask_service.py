"""What becomes of a request while a service is asked, and when it does not answer."""

import ask_service
import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from lbtwist.registry import installed
from lbtwist.testing import Balancer

CONFIG = """
[frontend www]
mode = http
bind = ${bind}
pool = app
request =
    route-by http://127.0.0.1:9000/route deadline=200ms concurrency=2 on-error=ON_ERROR

[pool app]
server a = ${a}

[pool beta]
server b = ${b}
"""

GET = b"GET /shop HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


class Answer:
    def __init__(self, code, body=b""):
        self.code = code
        self.body = body

    def deliverBody(self, protocol):
        protocol.dataReceived(self.body)
        protocol.connectionLost(Failure(ResponseDone()))


class Service:
    """
    In place of the agent: answers when a test says so.

    @ivar asked: the fields of each question.
    @ivar answers: the Deferred of each.
    @ivar given: those whose answer nobody wants any more.
    """

    def __init__(self):
        self.asked, self.answers, self.given = [], [], []

    def request(self, method, url, fields):
        assert (method, url) == (b"GET", b"http://127.0.0.1:9000/route")
        self.asked.append(dict(fields.getAllRawHeaders()))
        self.answers.append(Deferred(self.given.append))
        return self.answers[-1]


@pytest.fixture
def service(monkeypatch):
    found = Service()
    monkeypatch.setattr(ask_service, "Agent", lambda reactor, pool: found)
    return found


def balanced(otherwise="allow"):
    text = CONFIG.replace("ON_ERROR", otherwise)
    return Balancer(text, "a", "b", registry=installed(ask_service.verb))


def asks(balancer):
    client = balancer.client()
    client.sends(GET)
    return client


def test_theServiceIsToldOfTheRequest(service):
    with balanced() as balancer:
        asks(balancer).receivesNothing()
        assert service.asked == [{b"X-Host": [b"www.example.com"], b"X-Path": [b"/shop"]}]


@pytest.mark.parametrize(
    ("answer", "server"), [(Answer(200, b"beta\n"), "b"), (Answer(204), "a")]
)
def test_itChooses(service, answer, server):
    with balanced() as balancer:
        asks(balancer)
        service.answers[0].callback(answer)
        balancer.server(server).accepts().receives(rb"GET /shop .*")


def test_itRefuses(service):
    with balanced() as balancer:
        client = asks(balancer)
        service.answers[0].callback(Answer(403))
        client.receives(rb"HTTP/1\.1 403 .*")


@pytest.mark.parametrize(
    "answer",
    [Answer(500), Answer(200, b"no/name"), Answer(200, bytes(100_000)), ConnectionError("no")],
)
@pytest.mark.parametrize("otherwise", ["allow", "503"])
def test_itFails(service, answer, otherwise):
    with balanced(otherwise) as balancer:
        client = asks(balancer)
        fired = service.answers[0]
        (fired.errback if isinstance(answer, Exception) else fired.callback)(answer)
        if otherwise == "allow":
            balancer.server("a").accepts().receives(rb"GET /shop .*")
        else:
            client.receives(rb"HTTP/1\.1 503 .*")


def test_itIsLate(service):
    with balanced() as balancer:
        asks(balancer)
        balancer.server("a").acceptsNothing()
        balancer.advance(0.3)
        balancer.server("a").accepts().receives(rb"GET /shop .*")
        assert service.given == service.answers


def test_tooManyAskAtOnce(service):
    with balanced("503") as balancer:
        clients = [asks(balancer) for _ in range(3)]
        clients[2].receives(rb"HTTP/1\.1 503 .*")
        assert len(service.asked) == 2


def test_theClientGoesAway(service):
    with balanced() as balancer:
        asks(balancer).resets()
        assert service.given == service.answers
