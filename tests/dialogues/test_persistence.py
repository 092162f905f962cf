"""
Clients that come back to the server they had: by cookies, by their address, by both. What
becomes of them where servers are down, drain or leave: test_persistence_servers.py.
"""

import re

import pytest
from spoken import GET, OK, asks, letters, request, serves, www

SHOP = "cookie SRVID insert indirect nocache plain, source"
TOLD = rb"(?:X-Forwarded-[A-Za-z]+: [^\r]*\r\n)+"


def shop(*servers, persist=SHOP, pool="", log="auto", **more):
    """A balancer whose servers a, b, c are s1, s2, s3 in cookies that can be read."""
    servers = servers or ("a", "b", "c")
    named = [f"{one} cookie=s{number}" for number, one in enumerate(servers, 1)]
    return www(*named, pool=f"persist =\n    {persist}\n{pool}", log=log, **more)


def get(cookie=None, *more, **options):
    return request("/", *([] if cookie is None else [f"Cookie: {cookie}"]), *more, **options)


def answer(*fields, status="200 OK"):
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{lines}\r\nhi".encode()


def comes(balancer, name, cookie=None, *more, host="203.0.113.9", said=OK, seen=rb"GET / .*"):
    """
    A new connection of a client, whose request goes to this server.

    @param said: what the server answers.
    @return: the cookies that the client gets.
    """
    client = balancer.client(host)
    client.sends(get(cookie, *more))
    server = balancer.server(name).accepts()
    server.receives(seen)
    server.sends(said)
    head = client.receives(rb"HTTP/1.1 .*")[0]
    client.closes()
    return re.findall(rb"\r\nSet-Cookie: ([^\r]*)", head)


OURS = {name: f"SRVID=s{number}; path=/; HttpOnly".encode() for number, name in enumerate("abc", 1)}


# seed 000.10: "Default Persistence = cookie", "Fallback Persistence = source address"


def test_theFirstRequestGetsACookie():
    with shop() as balancer:
        assert comes(balancer, "a") == [OURS["a"]]
        assert letters(balancer) == [("app/a", 200, "--NI")]


def test_theCookieFromAnotherSource():
    """The same server, and nothing new for the client."""
    with shop() as balancer:
        comes(balancer, "a")
        for host in ("198.51.100.7", "198.51.100.8", "2001:db8::1"):
            assert comes(balancer, "a", "SRVID=s1", host=host) == []
        assert letters(balancer)[1:] == [("app/a", 200, "--VN")] * 3


def test_noCookieFromTheSameSource():
    """The fallback: the same server, which the client gets a cookie of."""
    with shop() as balancer:
        comes(balancer, "a")
        comes(balancer, "b", host="198.51.100.7")
        for _ in range(3):
            assert comes(balancer, "a") == [OURS["a"]]
            assert comes(balancer, "b", host="198.51.100.7") == [OURS["b"]]
        assert {one[2] for one in letters(balancer)} == {"--NI"}


def test_theServerOfTheCookieIsDown():
    """Redispatched, the cookie rewritten, C{DI}; the source learns it as well."""
    with shop() as balancer:
        comes(balancer, "a")
        app = balancer.running.pool("app")
        app.find("a").health.up = False
        app.serversChanged()
        assert comes(balancer, "b", "SRVID=s1") == [OURS["b"]]
        app.find("a").health.up = True
        app.serversChanged()
        assert comes(balancer, "b", "SRVID=s2") == []
        assert comes(balancer, "b") == [OURS["b"]]
        assert [one[2] for one in letters(balancer)] == ["--NI", "--DI", "--VN", "--NI"]


def test_theServerOfTheCookieRefuses():
    """Nobody has said that it is down: what was sent to it is sent to the next one."""
    with shop() as balancer:
        comes(balancer, "a")
        balancer.server("a").goesAway()
        assert comes(balancer, "b", "SRVID=s1") == [OURS["b"]]
        assert comes(balancer, "b", "SRVID=s2") == []
        assert letters(balancer)[1:] == [("app/b", 200, "--DI"), ("app/b", 200, "--VN")]
        assert " 1/1/1/1/+1 " in balancer.endings[1]


def test_theCookieAndTheSourceDisagree():
    """The cookie wins, and the source learns from it."""
    with shop() as balancer:
        comes(balancer, "a")
        assert comes(balancer, "b", "SRVID=s2") == []
        assert comes(balancer, "b") == [OURS["b"]]


# seed 003.15


def test_aServerWithOneSlot():
    """The second of two requests waits; a cookie that is inserted makes its response private."""
    with shop("a maxconn=1", persist="cookie SRVID insert nocache") as balancer:
        _, server = asks(balancer)
        second = balancer.client()
        second.sends(GET)
        balancer.advance(1.5)
        balancer.server("a").acceptsNothing()
        assert balancer.running.pool("app").queued == 1
        server.sends(OK)
        again = balancer.server("a").accepts()
        again.receives(rb"GET / .*")
        again.sends(OK)
        second.receives(rb".*\r\nCache-Control: private\r\n.*")
        first, second = (line.split() for line in balancer.endings)
        assert (first[2], first[9]) == ("0/0/0/1500/1500", "0/0")
        assert (second[2], second[9]) == ("0/1500/0/0/1500", "0/0")


def test_whoComesBackIsNotPrivate():
    with shop(persist="cookie SRVID insert nocache plain") as balancer:
        for cookie, private in ((None, 1), ("SRVID=s1", 0)):
            client = balancer.client()
            client.sends(get(cookie))
            server = balancer.server("a").accepts()
            server.receives(rb".*")
            server.sends(OK)
            assert client.receives(rb".*")[0].count(b"\r\nCache-Control: private\r\n") == private


# seed 003.14

LINE = (
    "%ci:%cp [%t] %ft %b/%s %Tq/%Tw/%Tc/%Tr/%Tt %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq"
    " %{+Q}r"
)


def test_theServerDoesNotAnswer():
    """
    C{sHNN}: a cookie is configured, none was sent, none was set. Timeouts are looked for 60
    times a second, and 4660 ms is when the next look was.
    """
    with shop(
        "server1", frontend=f"log-format = {LINE}", pool="timeout-server = 3s",
        persist="cookie SRVID insert indirect nocache",
    ) as balancer:
        client = balancer.client("127.0.0.1", 38849)
        balancer.advance(1.643)
        client.sends(GET)
        balancer.server("server1").accepts().receives(rb"GET .*")
        balancer.advance(3.1)
        size = len(client.receives(rb"HTTP/1.1 504 .*")[0])
        [line] = balancer.lines
        at = line.partition("[")[2].partition("]")[0]
        assert line == (
            f"127.0.0.1:38849 [{at}] www app/server1 1643/0/0/-1/4660 504 {size} - - sHNN"
            ' 1/1/1/1/0 0/0 "GET / HTTP/1.1"'
        )


# several requests at once


def test_parallelFirstRequests():
    """Of one client: all come to the server that the first was given."""
    with shop() as balancer:
        clients = [balancer.client() for _ in range(4)]
        for client in clients:
            client.sends(GET)
        for _ in clients:
            server = balancer.server("a").accepts()
            server.receives(rb"GET .*")
            server.sends(OK)
        for client in clients:
            client.receives(rb".*SRVID=s1.*")
        balancer.server("b").acceptsNothing()


def test_parallelFirstRequestsWhileTheConnectTakesItsTime():
    with shop() as balancer:
        balancer.server("a").hesitates()
        clients = [balancer.client() for _ in range(3)]
        for client in clients:
            client.sends(GET)
            balancer.advance(0.5)
        balancer.server("a").goesOn()
        for _ in clients:
            balancer.server("a").accepts().receives(rb"GET .*")
        balancer.server("b").acceptsNothing()


def test_parallelFirstRequestsThatQueue():
    """They wait for the server that the first one got, though another has become free."""
    with shop("a maxconn=1", "b maxconn=1", persist="source") as balancer:
        _, b = asks(balancer), None
        other = balancer.client("198.51.100.1")
        other.sends(GET)
        b = balancer.server("b").accepts()
        b.receives(rb"GET .*")
        waiting = [balancer.client() for _ in range(2)]
        for client in waiting:
            client.sends(GET)
        b.sends(OK)
        balancer.server("b").acceptsNothing()
        assert balancer.running.pool("app").queued == 2


def test_parallelFirstSessions():
    with shop(persist="source", mode="tcp") as balancer:
        clients = [balancer.client() for _ in range(3)]
        servers = [balancer.server("a").accepts() for _ in clients]
        other = balancer.client("198.51.100.1")
        servers.append(balancer.server("b").accepts())
        for client, server in zip([*clients, other], servers, strict=True):
            client.sends(b"hello")
            server.receivesExactly(b"hello")


def test_sessionsComeBack():
    """In mode = tcp, where there are no cookies."""
    with shop(persist="source expire=1h", mode="tcp") as balancer:
        for _ in range(3):
            balancer.client("198.51.100.1").closes()
            balancer.server("a").accepts().closes()
            balancer.client("198.51.100.2").closes()
            balancer.server("b").accepts().closes()
            balancer.advance(1800)


def test_aClaimIsTakenBack():
    """The first server refuses: those who come after it are sent where the first one went."""
    with shop("a", "b", persist="source") as balancer:
        balancer.server("a").goesAway()
        comes(balancer, "b")
        balancer.server("a").comesBack()
        comes(balancer, "b")
        balancer.advance(1)
        assert letters(balancer) == [("app/b", 200, "----")] * 2


def test_aClaimOfNobodyIsTakenBack():
    """No server could be had at all: whoever comes next is a new client."""
    with shop("a", "b", persist="source", pool="retries = 0") as balancer:
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        client.receives(rb"HTTP/1.1 503 .*")
        balancer.server("a").comesBack()
        comes(balancer, "b")
        comes(balancer, "b")


def test_aClientThatGoesAwayWhileItsServerIsConnectedTo():
    """What it has claimed holds for a minute, then it is a new client."""
    with shop("a", "b", persist="source", pool="timeout-connect = 10s") as balancer:
        balancer.server("a").hesitates()
        client = balancer.client()
        client.sends(GET)
        client.resets()
        balancer.server("a").goesOn()
        balancer.advance(61)
        comes(balancer, "b")


# cookies, on the wire


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("SRVID=s1", rb"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n"),
        ("a=b; SRVID=s1; c=d", rb"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; c=d\r\n%b\r\n"),
        ("SRVID=nobody", rb"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n"),
    ],
)
def test_indirectStrips(sent, seen):
    with shop() as balancer:
        comes(balancer, "a", sent, seen=seen % TOLD)


def test_severalCookieFields():
    """The first that is ours counts, and none of them gets to the server."""
    with shop() as balancer:
        comes(
            balancer, "b", "a=b", "Cookie: SRVID=s2", "Cookie: c=d; SRVID=s1",
            seen=rb"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\nCookie: c=d\r\n%b\r\n" % TOLD,
        )  # fmt: skip


def test_prefixBothWays():
    with shop(persist="cookie SID prefix plain") as balancer:
        assert comes(balancer, "a", said=answer("Set-Cookie: SID=17; Path=/; Secure")) == [
            b"SID=s1~17; Path=/; Secure"
        ]
        assert comes(
            balancer, "a", "x=y; SID=s1~17", seen=rb"GET .*\r\nCookie: x=y; SID=17\r\n.*"
        ) == []  # fmt: skip
        assert [one[2] for one in letters(balancer)] == ["--NR", "--VN"]


def test_passive():
    """The servers' cookie says which it is; nothing is changed on its way."""
    with shop(persist="cookie SRV passive") as balancer:
        assert comes(balancer, "a", said=answer("Set-Cookie: SRV=s1")) == [b"SRV=s1"]
        assert comes(balancer, "b", "SRV=s2", seen=rb"GET .*\r\nCookie: SRV=s2\r\n.*") == []
        assert [one[2] for one in letters(balancer)] == ["--NP", "--VN"]


def test_rewrite():
    with shop(persist="cookie SRV rewrite plain") as balancer:
        said = answer("Set-Cookie: SRV=x; Path=/", "Set-Cookie: b=c")
        assert comes(balancer, "a", said=said) == [b"SRV=s1; Path=/", b"b=c"]
        assert comes(balancer, "b") == [], "where the server sets none there is none"
        assert comes(balancer, "a", "SRV=s1") == []
        assert [one[2] for one in letters(balancer)] == ["--NR", "--NN", "--VN"]


def test_preserve():
    with shop(persist="cookie SRVID insert preserve plain") as balancer:
        gone = "Set-Cookie: SRVID=; Max-Age=0"
        assert comes(balancer, "a", "SRVID=s1", said=answer(gone)) == [b"SRVID=; Max-Age=0"]
        assert comes(balancer, "a") == [OURS["a"]]
        assert [one[2] for one in letters(balancer)] == ["--VP", "--NI"]


def test_postonly():
    with shop(persist="cookie SRVID insert indirect postonly plain") as balancer:
        assert comes(balancer, "a") == []
        client = balancer.client()
        client.sends(request("/login", "Content-Length: 2", method="POST", body=b"me"))
        server = balancer.server("b").accepts()
        server.receives(rb"POST .*me")
        server.sends(OK)
        client.receives(rb".*\r\nSet-Cookie: SRVID=s2; .*")
        assert [one[2] for one in letters(balancer)] == ["--NN", "--NI"]


def test_opaqueCookies():
    """What the client has says nothing, and what it makes up counts for nothing."""
    with shop(persist="cookie SRVID") as balancer:
        [a] = comes(balancer, "a")
        [b] = comes(balancer, "b")
        value = re.fullmatch(rb"SRVID=([A-Za-z0-9_-]{16}); path=/; HttpOnly", a)[1].decode()
        assert comes(balancer, "a", f"SRVID={value}") == []
        forged = ("s1", "app/a", value[:-1], value + "A", value[::-1], value.swapcase())
        for name, one in zip("cabcab", forged, strict=True):
            [line] = comes(balancer, name, f"SRVID={one}")
            assert (line == a) is (name == "a") and (line == b) is (name == "b")
        assert [one[2] for one in letters(balancer)] == ["--NI"] * 2 + ["--VN"] + ["--II"] * 6


@pytest.mark.parametrize(
    ("limit", "letter"), [("maxidle", "E"), ("maxlife", "O")]
)
def test_cookiesGrowOld(limit, letter):
    with shop(persist=f"cookie SRVID plain {limit}=10m") as balancer:
        [line] = comes(balancer, "a")
        cookie = line.partition(b";")[0].decode()
        balancer.advance(590)
        comes(balancer, "a", cookie)
        balancer.advance(15)
        [new] = comes(balancer, "b", cookie)
        assert new.startswith(b"SRVID=s2|")
        assert [one[2] for one in letters(balancer)][::2] == ["--NI", f"--{letter}I"]


def test_aDateIsUpdated():
    """C{VU}: for who is not idle the limit begins anew."""
    with shop(persist="cookie SRVID plain maxidle=10m") as balancer:
        [line] = comes(balancer, "a")
        for _ in range(4):
            balancer.advance(500)
            [line] = comes(balancer, "a", line.partition(b";")[0].decode())
        assert [one[2] for one in letters(balancer)] == ["--NI", *["--VU"] * 4]


# responses that are others


def test_anUpgradeGetsItsCookie():
    with shop() as balancer:
        client = balancer.client()
        client.sends(get(None, "Connection: Upgrade", "Upgrade: websocket"))
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        client.receives(rb"HTTP/1.1 101 .*\r\nSet-Cookie: SRVID=s1; path=/; HttpOnly\r\n.*")
        client.sends(b"ping")
        server.receivesExactly(b"ping")
        client.closes()
        server.closes()
        assert letters(balancer) == [("app/a", 101, "--NI")]


def test_interimResponsesGetNone():
    with shop() as balancer:
        client, server = asks(balancer)
        server.sends(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
        assert b"Set-Cookie" not in client.receives(rb"HTTP/1.1 103 .*\r\n\r\n")[0]
        server.sends(OK)
        client.receives(rb".*\r\nSet-Cookie: SRVID=s1; .*")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responsesWithoutABodyGetOne(status):
    with shop() as balancer:
        client, server = asks(balancer)
        server.sends(f"HTTP/1.1 {status}\r\n\r\n".encode())
        client.receives(rb"HTTP/1.1 .*\r\nSet-Cookie: SRVID=s1; .*\r\n\r\n")


def test_ourOwnPagesGetNone():
    """They are nobody's server's."""
    rule = "request =\n    deny 403 if path == '/no'"
    with shop("a", pool="timeout-server = 2s", frontend=rule) as balancer:
        client, _ = asks(balancer)
        balancer.advance(2.1)
        assert b"Set-Cookie" not in client.receives(rb"HTTP/1.1 504 .*")[0]
        client = balancer.client()
        client.sends(request("/no"))
        assert b"Set-Cookie" not in client.receives(rb"HTTP/1.1 403 .*")[0]
        balancer.server("a").goesAway()
        client = balancer.client()
        client.sends(GET)
        balancer.advance(5)
        assert b"Set-Cookie" not in client.receives(rb"HTTP/1.1 503 .*")[0]
        assert [one[2] for one in letters(balancer)] == ["sHNN", "PR--", "SCNN"]


def test_oneConnectionManyRequests():
    """The cookie counts for each request by itself, whatever came before on the connection."""
    with shop(pool="http-reuse = never") as balancer:
        client = balancer.client()
        for name, cookie in (("a", None), ("b", "SRVID=s2"), ("a", "SRVID=s1"), ("c", "SRVID=s3")):
            client.sends(get(cookie))
            server = balancer.server(name).accepts()
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receives(rb"HTTP/1.1 200 .*")


# other kinds


def test_anApplicationsSession():
    with shop(persist="learn JSESSIONID path-parameter") as balancer:
        comes(balancer, "a", said=answer("Set-Cookie: JSESSIONID=one; Path=/"))
        comes(balancer, "b", said=answer("Set-Cookie: JSESSIONID=two; Path=/"))
        for _ in range(2):
            comes(balancer, "b", "JSESSIONID=two", host="198.51.100.1")
            comes(balancer, "a", "JSESSIONID=one", host="198.51.100.1")
        client = balancer.client("198.51.100.2")
        client.sends(request("/cart;jsessionid=two?x=y"))
        balancer.server("b").accepts().receives(rb"GET /cart;jsessionid=two\?x=y .*")


def test_whatALoginSays():
    """By a field, a parameter, or any expression, where addresses say nothing."""
    for persist, ann, bob in (
        ("header X-User", get(None, "X-User: ann"), get(None, "X-User: bob")),
        ("parameter user", request("/?user=ann"), request("/?user=bob")),
        ("expression {cookie['login'].split('-')[0]}", get("login=ann-1"), get("login=bob-7")),
    ):
        with shop(persist=persist) as balancer:
            for _ in range(3):
                serves(balancer, "a", balancer.client(), ann, rb"GET .*").closes()
                serves(balancer, "b", balancer.client(), bob, rb"GET .*").closes()


def test_aHashRemembersNothing():
    """Another balancer sends the same users to the same servers."""
    went = []
    for _ in range(2):
        with shop(persist="hash X-User") as balancer:
            for number in range(20):
                client = balancer.client()
                client.sends(get(None, f"X-User: user{number}"))
            went.append([one.active for one in balancer.running.pool("app").servers])
            for number in range(20):
                client = balancer.client()
                client.sends(get(None, f"X-User: user{number}"))
            assert [one.active / 2 for one in balancer.running.pool("app").servers] == went[0]
    assert went[0] == went[1]
    assert min(went[0]) > 0


# rules


def test_aRuleBeatsPersistenceAndPersistenceLearns():
    rule = "request =\n    server b if path == '/beta'"
    with shop(frontend="", pool=rule) as balancer:
        comes(balancer, "a")
        client = balancer.client()
        client.sends(request("/beta", "Cookie: SRVID=s1"))
        server = balancer.server("b").accepts()
        server.receives(rb"GET /beta .*")
        server.sends(OK)
        client.receives(rb".*\r\nSet-Cookie: SRVID=s2; .*")
        assert comes(balancer, "b") == [OURS["b"]], "by its source, which has learnt it"
        assert [one[2] for one in letters(balancer)] == ["--NI", "--UI", "--NI"]


def test_forcePersist():
    """Who tests a server that is in maintenance comes to it; nobody else does."""
    rule = 'request =\n    force-persist if header["X-Tester"] == "yes"'
    with shop(pool=rule) as balancer:
        app = balancer.running.pool("app")
        for up, admin in ((False, "ready"), (True, "maint"), (False, "maint")):
            app.find("a").health.up, app.find("a").health.admin = up, admin
            app.serversChanged()
            assert comes(balancer, "a", "SRVID=s1", "X-Tester: yes", host="198.51.100.1") == []
            client = balancer.client("198.51.100.2")
            client.sends(get("SRVID=s1"))
            balancer.server("a").acceptsNothing()
            client.closes()


def test_forcePersistFromTheConnectionOn():
    rule = 'connection =\n    force-persist if src in net("198.51.100.0/24")'
    with shop(frontend=rule) as balancer:
        app = balancer.running.pool("app")
        app.find("a").health.up = False
        app.serversChanged()
        assert comes(balancer, "a", "SRVID=s1", host="198.51.100.1") == []
        assert comes(balancer, "b", "SRVID=s1", host="203.0.113.1") == [OURS["b"]]


def test_ignorePersist():
    """As for what caches fetch: any server will do, and no cookie keeps it from being cached."""
    rule = 'request =\n    ignore-persist if path.endswith(".css")'
    with shop(pool=rule) as balancer:
        for name in "abc":
            client = balancer.client()
            client.sends(request("/x.css", "Cookie: SRVID=s1"))
            server = balancer.server(name).accepts()
            assert b"SRVID" not in server.receives(rb"GET /x.css .*")[0]
            server.sends(OK)
            client.receivesExactly(OK)
        assert comes(balancer, "a") == [OURS["a"]], "nothing was learnt"
        assert [one[2] for one in letters(balancer)] == ["--UN"] * 3 + ["--NI"]


# the log, as JSON


def test_lettersInJSON():
    with shop(log="json") as balancer:
        comes(balancer, "a")
        assert '"--NI"' in balancer.lines[0]
