"""
Rules that give the client something else than a server's response: answers, refusals,
delays, resets; and what becomes of the connection.
"""

import re

import pytest
from spoken import GET, OK, POST, TOLD, letters, request, ruled, serves

from lbtwist.net.tcp import Accepted

HELD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nheld"
PAGE = rb"HTTP/1\.1 %d [^\r]+\r\nContent-Length: (\d+)\r\n.*Connection: close\r\n.*\r\n\r\n(.*)"
ANSWERS = 'answer 200 held if path == "/held"'

# answers of our own


@pytest.mark.parametrize(
    ("rule", "received"),
    [
        (ANSWERS, HELD),
        ('answer 204 if path == "/held"', b"HTTP/1.1 204 No Content\r\n\r\n"),
        (
            'answer 418 "{method} {path}" type=text/x header="X-A: {src}" if path == "/held"',
            b"HTTP/1.1 418 I'm a Teapot\r\nX-A: 203.0.113.9\r\nContent-Type: text/x\r\n"
            b"Content-Length: 9\r\n\r\nGET /held",
        ),
        (
            'redirect https if path == "/held"',
            b"HTTP/1.1 302 Found\r\nLocation: https://h/held\r\nCache-Control: no-cache\r\n"
            b"Content-Length: 0\r\n\r\n",
        ),
        (
            'redirect prefix /other code=301 if path == "/held"',
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: /other/held\r\n"
            b"Content-Length: 0\r\n\r\n",
        ),
        (
            'redirect location "http://other/?{path}" code=308 if path == "/held"',
            b"HTTP/1.1 308 Permanent Redirect\r\nLocation: http://other/?/held\r\n"
            b"Content-Length: 0\r\n\r\n",
        ),
    ],
)
def test_theConnectionLivesOn(rule, received):
    with ruled(rule) as balancer:
        client = balancer.client()
        for _ in range(2):
            client.sends(request("/held"))
            client.receivesExactly(received)
        serves(balancer, "a", client)
        client.sends(request("/held"))
        client.receivesExactly(received)
        status = int(received.split()[1])
        held = ("www/<NOSRV>", status, "LR--")
        assert letters(balancer) == [held, held, ("app/a", 200, "----"), held]


@pytest.mark.parametrize(
    ("trusted", "said", "status"),
    [
        ("203.0.113.9", "https", 200),
        ("203.0.113.9", "HTTPS, http", 200),
        ("203.0.113.9", "http", 302),
        ("198.51.100.1", "https", 302),
    ],
)
def test_noLoopBehindAProxy(trusted, said, status):
    """Who is believed says that the client came by https already."""
    with ruled("redirect https if not tls", frontend=f"trusted-proxies = {trusted}") as balancer:
        client = balancer.client()
        asked = request("/", f"X-Forwarded-Proto: {said}")
        if status == 200:
            serves(balancer, "a", client, asked)
        else:
            client.sends(asked)
            client.receives(rb"HTTP/1.1 302 Found\r\nLocation: https://h/\r\n.*")


def test_answerToCONNECT():
    """Of a 2xx the client believes that there is a tunnel now."""
    with ruled("answer 200 held type=a/b", frontend="connect = forward") as balancer:
        client = balancer.client()
        client.sends(request("h:443", method="CONNECT") + GET)
        client.receivesExactly(
            b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nConnection: close\r\n\r\nheld"
        )
        client.isEnded()
    with ruled("answer 407 held", frontend="connect = forward") as balancer:
        client = balancer.client()
        for _ in range(2):
            client.sends(request("h:443", method="CONNECT"))
            client.receives(rb"HTTP/1.1 407 .*Content-Length: 4\r\n\r\nheld")


def test_answerToHEAD():
    """The head is the same, and what follows is the next response."""
    with ruled(ANSWERS) as balancer:
        client = balancer.client()
        for _ in range(2):
            client.sends(request("/held", method="HEAD"))
            client.receivesExactly(HELD.removesuffix(b"held"))
        client.sends(request("/held"))
        client.receivesExactly(HELD)


@pytest.mark.parametrize(
    ("fields", "word", "stays"),
    [([], b"close", False), (["Connection: keep-alive"], b"keep-alive", True)],
)
def test_answerToHTTP10(fields, word, stays):
    with ruled(ANSWERS) as balancer:
        client = balancer.client()
        for _ in range(1 + stays):
            client.sends(request("/held", *fields, version="1.0"))
            client.receivesExactly(
                HELD.replace(b"Content-Length", b"Connection: %b\r\nContent-Length" % word)
            )
        client.receivesNothing() if stays else client.isEnded()


def test_answerToWhoWantsToClose():
    with ruled(ANSWERS) as balancer:
        client = balancer.client()
        client.sends(request("/held", "Connection: close"))
        client.receives(rb"HTTP/1.1 200 OK\r\n.*Connection: close\r\n.*held")
        client.isEnded()


@pytest.mark.parametrize(
    "asked",
    [
        request("/held", "Content-Length: 4", method="POST", body=b"body"),
        request("/held", "Transfer-Encoding: chunked", method="POST",
                body=b"4\r\nbody\r\n0\r\n\r\n"),
    ],
)  # fmt: skip
def test_answerToARequestWithABody(asked):
    """A body that has come is no request of its own."""
    with ruled(ANSWERS) as balancer:
        client = balancer.client()
        client.sends(asked + request("/held"))
        client.receivesExactly(HELD * 2)
        serves(balancer, "a", client)


@pytest.mark.parametrize("size", [4, 1 << 20])
def test_answerBeforeTheBodyHasCome(size):
    """It is not waited for, nor is it taken for a request; the client is not reset."""
    with ruled(ANSWERS) as balancer:
        client = balancer.client()
        client.sends(request("/held", f"Content-Length: {size}", method="POST"))
        client.receives(rb"HTTP/1.1 200 OK\r\n.*Connection: close\r\n.*held")
        client.sends(bytes(size) + GET)
        client.ends()
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert letters(balancer) == [("www/<NOSRV>", 200, "LR--")]


def test_pipelining():
    """Responses are in the order of the requests, whoever gives them."""
    with ruled(ANSWERS, 'redirect prefix /p if path == "/moved"') as balancer:
        client = balancer.client()
        client.sends(request("/held") + GET + request("/moved") + request("/held") + GET)
        client.receivesExactly(HELD)
        server = balancer.server("a").accepts()
        server.receives(rb"GET / .*")
        client.receivesNothing()
        server.sends(OK)
        client.receives(re.escape(OK) + rb"HTTP/1.1 302 .*" + re.escape(HELD))
        server = balancer.server("b").accepts()
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receivesExactly(OK)


@pytest.mark.parametrize("asked", [request("/held", method="HEAD"), request("/held")])
def test_denied(asked):
    with ruled("deny 405 if path == '/held'") as balancer:
        client = balancer.client()
        client.sends(asked + GET)
        page = client.receives(PAGE % 405)
        assert page[2] == b"" if asked.startswith(b"HEAD") else int(page[1]) == len(page[2])
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert letters(balancer) == [("www/<NOSRV>", 405, "PR--")]
        assert balancer.running.frontend("www").inbound.traffic.refused == 1


def test_deniedByAPool():
    with ruled(app="request = deny") as balancer:
        client = balancer.client()
        client.sends(GET)
        client.receives(PAGE % 403)
        assert letters(balancer) == [("app/<NOSRV>", 403, "PR--")]


@pytest.mark.parametrize("sent", [GET, POST, POST + b"body", GET + GET])
def test_tarpit(sent):
    with ruled("tarpit 20s") as balancer:
        client = balancer.client()
        client.sends(sent)
        balancer.advance(19.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.receives(PAGE % 500)
        client.ends()
        client.isEnded()
        balancer.server("a").acceptsNothing()
        assert letters(balancer) == [("www/<NOSRV>", 500, "PT--")]


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_theClientLeavesTheTarpit(how):
    """Nothing of it is left, and nobody is answered later."""
    with ruled("tarpit 20s 503") as balancer:
        client = balancer.client()
        client.sends(POST + b"bo")
        balancer.advance(5)
        getattr(client, how)()
        assert letters(balancer) == [("www/<NOSRV>", -1, "CT--")]
        balancer.advance(20)
        assert len(balancer.lines) == 1


def test_theBalancerStopsWhileOneIsInTheTarpit():
    with ruled("tarpit 1h") as balancer:
        balancer.client().sends(GET)


# the end of the connection


@pytest.mark.parametrize("sent", [GET, POST, GET + GET])
@pytest.mark.parametrize(
    ("verb", "ending"), [("reject", "isReset"), ("close", "isEnded"), ("silent-drop", "isReset")]
)
def test_noAnswer(monkeypatch, verb, ending, sent):
    """C{silent-drop} is a reset too, in a network where nothing is kept from the peer."""
    hushed = []
    monkeypatch.setattr(Accepted, "hushPeer", lambda self: hushed.append(self))
    with ruled(verb) as balancer:
        client = balancer.client()
        client.sends(sent)
        if verb == "close":
            client.ends()
        getattr(client, ending)()
        balancer.server("a").acceptsNothing()
        assert letters(balancer) == [("www/<NOSRV>", -1, "PR--")]
    assert bool(hushed) is (verb == "silent-drop")


@pytest.mark.parametrize(
    ("verb", "ending"), [("reject", "isReset"), ("close", "isEnded"), ("silent-drop", "isReset")]
)
def test_noConnection(verb, ending):
    with ruled(frontend=f'connection = {verb} if src in net("203.0.113.0/24")') as balancer:
        client = balancer.client()
        getattr(client, ending)()
        serves(balancer, "a", balancer.client("198.51.100.1"))
        assert [end[2] for end in letters(balancer)] == ["PR--", "----"]


def test_whatConnectionRulesDecide():
    """A pool for all requests, and variables for their rules; C{allow} ends that list."""
    with ruled(
        'pool app if path == "/app"',
        'set-header X-From {var["from"]}',
        frontend='connection =\n    set-var from "src"\n    allow if src_port == 1\n    pool chat',
    ) as balancer:
        client = balancer.client()
        serves(balancer, "c", client, GET, rb"GET / .*X-From: 203.0.113.9\r\n.*")
        serves(balancer, "a", client, request("/app"), rb"GET /app .*")
        client = balancer.client(port=1)
        client.sends(GET)
        balancer.server("b").accepts().receives(rb"GET / .*X-From: 203.0.113.9\r\n.*")


def test_tunnel():
    """What follows the request is not read as HTTP, and no rule is asked for it."""
    with ruled("tunnel if path == '/raw'", "deny if path == '/denied'") as balancer:
        client = balancer.client()
        client.sends(request("/raw") + b"\x00\xff GET")
        server = balancer.server("a").accepts()
        server.receivesExactly(request("/raw")[:-2] + TOLD + b"\r\n\x00\xff GET")
        client.sends(request("/denied"))
        server.receivesExactly(request("/denied"))
        server.sends(b"\x01no HTTP")
        client.receivesExactly(b"\x01no HTTP")
        server.closes()
        client.isEnded()
        client.ends()
        assert [end[0] for end in letters(balancer)] == ["app/a"]
