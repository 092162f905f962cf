"""
Rules that change messages, or what is kept of an exchange, through the whole balancer: what
the server and the client get of it, byte by byte.
"""

import json

import pytest
from spoken import GET, OK, TOLD, ruled

REQUEST = (
    b"GET /a/b?q=1 HTTP/1.1\r\nHost: h.example:81\r\nCookie: s=1; t=2; u=3\r\n"
    b"X-A: one, two\r\nX-B: {x}\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 302 Found\r\nServer: secret/1.0\r\nContent-Length: 2\r\n"
    b"Location: http://h.example:81/x\r\nSet-Cookie: s=1\r\nX-A: one, two\r\n\r\nhi"
)


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("set-header X-B {src}", b"{x}", b"203.0.113.9"),
        ('set-header x-b "{method} {header["x-a"]}"', b"X-B: {x}", b"x-b: GET one, two"),
        ("add-header X-B y", b"{x}", b"{x}\r\nX-B: y"),
        ("del-header X-B", b"X-B: {x}\r\n", b""),
        ("del-header X-*", b"X-A: one, two\r\nX-B: {x}\r\n", b""),
        (r"replace-header X-A '(\w+), (\w+)' '\2 {port}'", b"one, two", b"two 81"),
        (r"replace-value X-A '^t(.*)' '\1!'", b"one, two", b"one, wo!"),
        ("set-path /c%20d", b"/a/b?", b"/c%20d?"),
        (r"replace-path '^/a(/.*)' '\1/e'", b"/a/b?", b"/b/e?"),
        ('set-query "r={query["q"]}"', b"?q=1", b"?r=1"),
        ("set-query", b"?q=1", b""),
        ('set-uri "/x{path}?y"', b"/a/b?q=1", b"/x/a/b?y"),
        ("set-method PURGE", b"GET ", b"PURGE "),
        # What is set takes its place at the end.
        ("del-cookie t", b"Cookie: s=1; t=2; u=3\r\n", b"Cookie: s=1; u=3\r\n"),
        ("set-host other", b"Host: h.example:81\r\n", b""),
        ("proxy-pass /a/ http://other/", b"Host: h.example:81\r\n", b""),
    ],
)
def test_requests(rule, old, new):
    """And the log has the request as it came."""
    expected = REQUEST.replace(old, new)
    assert expected != REQUEST
    if "other" in rule:
        expected = expected.replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n")
    if rule.startswith("proxy-pass"):
        expected = expected.replace(b"/a/b", b"/b")
    for where in ({}, {"app": f"request = {rule}"}):
        with ruled(*([] if where else [rule]), **where) as balancer:
            client = balancer.client()
            client.sends(REQUEST)
            server = balancer.server("a").accepts()
            server.receivesExactly(expected[:-2] + TOLD + b"\r\n")
            server.sends(OK)
            client.receivesExactly(OK)
            assert balancer.endings[0].endswith('"GET /a/b?q=1 HTTP/1.1"')


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("set-header X-A {server}", b"one, two", b"a"),
        ("add-header X-A {status}", b"one, two", b"one, two\r\nX-A: 302"),
        ("del-header Server", b"Server: secret/1.0\r\n", b""),
        (r"replace-header Server '^(\w+).*' '\1'", b"secret/1.0", b"secret"),
        (r"replace-value X-A 't' 'T'", b"one, two", b"one, T"),
        ("set-status 404", b"302 Found", b"404 Not Found"),
        ('set-status 599 reason="Not here"', b"302 Found", b"599 Not here"),
        ("location http://h.example:81 https://h.example", b"http://h.example:81", b"https://h.example"),
        ("cookie-flags S HttpOnly Secure", b"s=1", b"s=1; HttpOnly; Secure"),
    ],
)  # fmt: skip
def test_responses(rule, old, new):
    expected = RESPONSE.replace(old, new)
    assert expected != RESPONSE
    for where in ({"response": [rule]}, {"app": f"response = {rule}"}):
        with ruled(**where) as balancer:
            client = balancer.client()
            client.sends(GET)
            server = balancer.server("a").accepts()
            server.receives(rb"GET .*")
            server.sends(RESPONSE)
            client.receivesExactly(expected)
            # What the client has got is what the log says.
            assert balancer.endings[0].split()[3] == expected.split()[1].decode()


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_aResponseWithoutABodyStaysOne(status):
    with ruled(response=["set-status 200"]) as balancer:
        client = balancer.client()
        for _ in range(2):
            client.sends(GET)
            name = "ab"[_]
            server = balancer.server(name).accepts()
            server.receives(rb"GET .*")
            server.sends(b"HTTP/1.1 %b\r\n\r\n" % status)
            client.receives(rb"HTTP/1.1 %b\r\n.*" % status)


def test_theWayBackOfProxyPass():
    """Of the exchange that it has matched, and before the rules for responses."""
    with ruled(
        "proxy-pass /out/ http://bk/in/",
        response=['set-header X-Location {response_header["location"]}'],
    ) as balancer:
        client = balancer.client()
        for name, path, location in (("a", b"/out/x", b"/out/y"), ("b", b"/x", b"http://bk/in/y")):
            client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            server = balancer.server(name).accepts()
            server.receives(rb"GET .*")
            server.sends(
                b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://bk/in/y\r\n\r\n"
            )
            client.receivesExactly(
                b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\nX-Location: %b\r\n\r\n"
                % (location, location)
            )


# the fields that tell of the client


FORGED = (
    b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: gopher\r\n"
    b"X-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\n\r\n"
)


@pytest.mark.parametrize("forwarded", ["x", "rfc7239", "both"])
@pytest.mark.parametrize("asked", [GET, FORGED])
def test_aRuleTellsOfTheClientInstead(asked, forwarded):
    """Once, in the words of the rule, whatever the client has sent."""
    names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded"]
    rules = [f"set-header {name} mine" for name in names]
    with ruled(*rules, frontend=f"forwarded = {forwarded}") as balancer:
        client = balancer.client()
        for name in "ab":
            client.sends(asked)
            server = balancer.server(name).accepts()
            server.receivesExactly(
                b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: mine\r\nX-Forwarded-Proto: mine\r\n"
                b"X-Forwarded-Port: mine\r\nForwarded: mine\r\n\r\n"
            )
            server.sends(OK)
            client.receivesExactly(OK)


def test_aRuleTellsSometimes():
    """What is kept for a connection is not what a rule has written for one request."""
    with ruled('set-header X-Forwarded-Proto mine if path == "/mine"') as balancer:
        client = balancer.client()
        for name, path, said in (("a", b"/mine", b"mine"), ("b", b"/", b"http")):
            client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            server = balancer.server(name).accepts()
            lines = server.receives(rb"(.*)\r\n\r\n")[1].split(b"\r\n")
            told = [one for one in lines if one.startswith(b"X-Forwarded-Proto: ")]
            assert told == [b"X-Forwarded-Proto: " + said]
            server.sends(OK)
            client.receivesExactly(OK)


# what is kept


def test_variables():
    """From one list to the next, for one request alone."""
    with ruled(
        'set-var first path',
        'set-header X-Seen "{var["last"]}"',
        app='request = set-header X-First {var["first"]}\nresponse = set-var first "status"',
        response=['set-header X-First {var["first"]}', "set-var last 'path'"],
    ) as balancer:
        client = balancer.client()
        for name in "ab":
            client.sends(GET)
            server = balancer.server(name).accepts()
            server.receives(rb"GET / .*\r\nX-Seen: \r\nX-First: /\r\n.*")
            server.sends(OK)
            client.receives(rb".*\r\nX-First: 200\r\n\r\nhi")


def test_captures():
    with ruled(
        """capture agent 'header["User-Agent"]' len=4""",
        response=["""capture kind 'response_header["X-Kind"]'"""],
    ) as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Kind: plain\r\n\r\n")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        assert balancer.endings[0].endswith('0/0 {Mozi} {plain} "GET / HTTP/1.1"')


def test_noLineInTheLog():
    """Of some requests, or of responses that are good."""
    with ruled(
        'set-log no if path == "/check"',
        'answer 200 ok if path == "/check"',
        response=["set-log no if status == 200", "set-log yes if path == '/loud'"],
    ) as balancer:
        client = balancer.client()
        client.sends(b"GET /check HTTP/1.1\r\nHost: h\r\n\r\n")
        client.receives(rb"HTTP/1.1 200 OK\r\n.*")
        for name, path in (("a", b"/quiet"), ("b", b"/loud")):
            client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            server = balancer.server(name).accepts()
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receivesExactly(OK)
        assert [line.split('"')[1] for line in balancer.lines] == ["GET /loud HTTP/1.1"]


@pytest.mark.parametrize(
    ("frontend", "app", "rule"),
    [
        (["pool app if path == '/x'"], "", 6),
        (["pool app if path == '/x'"], "request = set-header X-A y", 6),
        (["set-header X-A y"], "request = allow if path == '/x'", 11),
        (["set-header X-A y"], "response = set-header X-A y", None),
    ],
)
def test_theRuleThatHasDecidedIsInTheLog(frontend, app, rule):
    with ruled(*frontend, app=app, log="json") as balancer:
        client = balancer.client()
        client.sends(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        [line] = balancer.lines
        said = json.loads(line)["rule"]
        assert said == (rule and f"lb.ini:{rule}")


# timeouts


def test_theTimeoutOfAServer():
    """For the exchange that a rule has set it for, and for none that comes after it."""
    with ruled(
        "set-timeout server 2s if path == '/short'",
        'server a',
        app="timeout-server = 30s",
    ) as balancer:
        client = balancer.client()
        client.sends(b"GET /short HTTP/1.1\r\nHost: h\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET /short .*")
        balancer.advance(1.9)
        server.sends(OK)
        client.receivesExactly(OK)
        client.sends(GET)
        server.receives(rb"GET / .*")
        balancer.advance(29)
        server.sends(OK)
        client.receivesExactly(OK)
        client.sends(b"GET /short HTTP/1.1\r\nHost: h\r\n\r\n")
        server.receives(rb"GET /short .*")
        balancer.advance(2.1)
        client.receives(rb"HTTP/1.1 504 .*")
        client.isEnded()
        assert [line.split()[3] for line in balancer.endings] == ["200", "200", "504"]


def test_theTimeoutOfAServerThatSendsABody():
    """A rule for responses knows what comes, and gives it time."""
    with ruled(
        response=["set-timeout server 60s if path == '/slow'"],
        app="timeout-server = 5s",
    ) as balancer:
        client = balancer.client()
        client.sends(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl")
        client.receives(rb".*\r\n\r\nsl")
        balancer.advance(59)
        server.sends(b"ow")
        client.receivesExactly(b"ow")


def test_theTimeoutOfATunnel():
    with ruled("set-timeout tunnel 5s", app="timeout-tunnel = 1h") as balancer:
        client = balancer.client()
        client.sends(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"\r\n"
        )
        client.receives(rb"HTTP/1.1 101 .*")
        balancer.advance(4.9)
        client.sends(b"x")
        server.receivesExactly(b"x")
        balancer.advance(4.9)
        server.receivesNothing()
        balancer.advance(0.2)
        server.isReset()
        client.isReset()


def test_theTimeoutOfAClient():
    """Of one that uploads; the next request of its connection has the usual time."""
    with ruled(
        "set-timeout client 60s if path == '/slow'", frontend="timeout-client = 5s"
    ) as balancer:
        client = balancer.client()
        client.sends(b"PUT /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsl")
        server = balancer.server("a").accepts()
        server.receives(rb"PUT .*sl")
        balancer.advance(59)
        client.sends(b"o")
        balancer.advance(59)
        client.sends(b"w")
        server.receivesExactly(b"ow")
        server.sends(OK)
        client.receivesExactly(OK)
        client.sends(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsl")
        balancer.server("b").accepts().receives(rb"PUT .*sl")
        balancer.advance(5.1)
        client.receives(rb"HTTP/1.1 408 .*")


def test_trailersOfNamesThatRulesOwn():
    """A server that takes trailers for fields would believe them."""
    rules = ("set-header X-User nobody", "del-header X-Trace*")
    with ruled(*rules, response=("del-header X-Secret",)) as balancer:
        client = balancer.client()
        client.sends(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n0\r\nX_User: root\r\nX-Trace-Id: 1\r\nX-Sum: 7\r\n\r\n"
        )
        server = balancer.server("a").accepts()
        server.receives(rb"POST .*X-User: nobody\r\n.*\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n")
        server.sends(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nb\r\n0\r\nx-secret: s\r\nX-Sum: 8\r\n\r\n"
        )
        client.receives(rb"HTTP/1.1 200 .*\r\n\r\n1\r\nb\r\n0\r\nX-Sum: 8\r\n\r\n")
