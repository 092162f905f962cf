"""
Who gets in to the administration by HTTP, and what is refused: each case that somebody could
try to misuse it by.
"""

import json
import re

import pytest
from surfing import SCOPES, Connection, Site, tokenOf
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from lbtwist.admin.web.access import GUESSES, LIFETIME, MOST_SESSIONS, WINDOW
from lbtwist.admin.web.api import OPERATIONS
from lbtwist.admin.web.calls import Operation
from lbtwist.admin.web.door import DROPPED_BODY, LONGEST_BODY, MOST_AT_ONCE, PATIENCE
from lbtwist.admin.web.page import FILES, POLICY
from lbtwist.admin.web.site import AT_ONCE, HEAD

STATE = "/pools/app/servers/a/state"
MAINT = {"state": "maint"}


@pytest.fixture
def site(tmp_path, threads):
    with Site(tmp_path) as site:
        yield site


@pytest.fixture
def bare(tmp_path):
    """Without tokens."""
    with Site(tmp_path, tokens=()) as site:
        yield site


@pytest.fixture
def logged():
    """What is logged meanwhile, as text."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: " ".join(map(str, events))
    globalLogPublisher.removeObserver(events.append)


def loggedIn(site, by="operate", **fields):
    """@return: the fields that a browser sends after a login."""
    found = site.ask("POST", "/login", {"token": tokenOf(by)}, X_Lbtwist="1", **fields)
    assert found.status == 200, found
    [cookie] = found.cookies
    return {"Cookie": cookie.partition(";")[0], "X_Lbtwist": "1"}


# tokens


@pytest.mark.parametrize(
    "said",
    [
        None, "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5", "Bearer \xff\xfe", "nonsense",
        f"Bearer {tokenOf('read')}x", f"Bearer {tokenOf('read')[:-1]}", f"Token {tokenOf('read')}",
    ],
)  # fmt: skip
def test_nobodyGetsInWithout(site, said):
    found = site.ask("GET", "/pools", Authorization=said)
    assert (found.status, found.fields["www-authenticate"]) == (401, 'Bearer realm="lbtwist"')
    assert found.detail


def test_twoTokensAreNone(site):
    connection = site.connects()
    line = f"Authorization: Bearer {tokenOf('read')}\r\n"
    connection.sends(f"GET /api/v1/pools HTTP/1.1\r\nHost: localhost\r\n{line * 2}\r\n".encode())
    assert connection.answer().status == 400


NAMES = {
    "frontend": "www", "pool": "app", "server": "a", "id": "1", "bind": "unix:x",
    "certificate": "x.pem", "map": "x.map", "list": "x.lst", "key": "x",
}  # fmt: skip
EVERY = [
    pytest.param(
        one, one.path.format(**NAMES),
        id=f"{one.method} {one.path}",
    )
    for one in OPERATIONS
]  # fmt: skip
"""Each operation, with a path that there is."""


@pytest.mark.parametrize(("operation", "path"), EVERY)
def test_eachOperationNeedsItsScope(site, operation, path):
    if not operation.scope:
        assert path in ("/whoami", "/login", "/logout")
        return
    assert site.ask(operation.method, path, {}).status == 401
    enough = SCOPES.index(operation.scope)
    for scope in SCOPES[:enough]:
        found = site.ask(operation.method, path, {}, by=scope)
        assert found.status == 403
        assert found.detail == f"this needs a token with the scope {operation.scope}"
    for scope in SCOPES[enough:]:
        assert site.ask(operation.method, path, {}, by=scope).status not in (401, 403)


@pytest.mark.parametrize(("operation", "path"), EVERY)
def test_whatChangesSomethingNeedsMoreThanToRead(operation, path):
    reads = {"/explain", "/login", "/logout"}
    if operation.method != "GET" and operation.path not in reads:
        assert operation.scope in ("operate", "admin")


def test_wrongTokensAreNotLookedAtForEver(site):
    for _ in range(GUESSES):
        assert site.ask("GET", "/pools", Authorization="Bearer wrong").status == 401
    found = site.ask("GET", "/pools", by="read")
    assert (found.status, found.fields["retry-after"]) == (429, "60")
    site.balancer.advance(WINDOW - 1)
    assert site.ask("GET", "/pools", by="read").fields["retry-after"] == "1"
    site.balancer.advance(1)
    assert site.ask("GET", "/pools", by="read").status == 200


def test_guessesAtTheLoginCountToo(site):
    fields = loggedIn(site)
    for _ in range(GUESSES):
        assert site.ask("POST", "/login", {"token": "x"}, X_Lbtwist="1").status == 401
    assert site.ask("POST", "/login", {"token": tokenOf("read")}, X_Lbtwist="1").status == 429
    # Who is in stays in.
    assert site.ask("GET", "/pools", **fields).status == 200


def test_tokensAreNotInTheLog(site, logged):
    site.ask("GET", "/pools", Authorization="Bearer somebodys-secret")
    site.ask("GET", "/pools", by="read")
    loggedIn(site)
    assert "a wrong token came from {address}" in logged()
    assert "somebodys-secret" not in logged() and tokenOf("read") not in logged()
    assert "logs in" in logged() and tokenOf("operate") not in logged()


def test_aTokenThatIsTakenAwayIsNone(site):
    assert site.ask("GET", "/pools", by="admin").status == 200
    site.file.write_text(f"read {tokenOf('read')} read\n")
    assert site.ask("GET", "/pools", by="admin").status == 401


# without tokens


def test_withoutTokensItIsReadOnly(bare):
    assert bare.get("/pools", by="")["pools"]
    assert bare.get("/whoami", by="")["scopes"] == ["read"]
    for operation in OPERATIONS:
        if operation.scope in ("operate", "admin"):
            path = operation.path.format(**NAMES)
            found = bare.ask(operation.method, path, {}, X_Lbtwist="1")
            assert found.status == 403 and "tokens=FILE" in found.detail
    assert bare.ask("POST", "/login", {"token": "x"}, X_Lbtwist="1").status == 409
    assert bare.server().health.admin == "ready"


# the cookie


def test_theCookieIsForTheBrowserAlone(site):
    found = site.ask("POST", "/login", {"token": tokenOf("operate")}, X_Lbtwist="1")
    [cookie] = found.cookies
    assert re.fullmatch(
        rf"lbtwist-{site.port}=[\w-]{{43}}; Max-Age=28800; Path=/; HttpOnly; SameSite=Strict",
        cookie,
    )
    assert found.value["by"] == "cookie" and found.value["expires"] == LIFETIME


def test_thePageChangesSomething(site):
    fields = loggedIn(site)
    origin = f"http://127.0.0.1:{site.port}"
    found = site.ask("POST", STATE, MAINT, Origin=origin, Sec_Fetch_Site="same-origin", **fields)
    assert (found.status, found.value["state"]) == (200, "MAINT")
    assert site.audited[0]["who"] == "token operate from 127.0.0.1"
    assert site.ask("POST", "/pools/app/servers/a/address", {}, **fields).status == 403


@pytest.mark.parametrize(
    "fields",
    [
        {"X_Lbtwist": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1.evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "file://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_aPageOfSomebodyElseChangesNothing(site, fields):
    said = {**loggedIn(site), **fields}
    assert site.ask("POST", STATE, MAINT, **said).status == 403
    assert site.server().health.admin == "ready"


def test_aFormOfSomebodyElseIsNoBody(site):
    fields = loggedIn(site)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        found = site.ask("POST", STATE, MAINT, **fields, Content_Type=kind)
        assert (found.status, found.fields["accept"]) == (415, "application/json")


@pytest.mark.parametrize("path", ["/pools", "/events", "/whoami"])
def test_aPageOfSomebodyElseReadsNothing(site, path):
    fields = loggedIn(site)
    assert site.ask("GET", path, **fields, Sec_Fetch_Site="cross-site").status == 403
    assert site.ask("GET", path, by="read", Sec_Fetch_Site="cross-site").status == 403


def test_aLinkToThePageIsFollowed(site):
    assert site.ask("GET", "//", Sec_Fetch_Site="cross-site").status == 200


def test_aLoginThatSomebodyElseMakes(site):
    """Who is logged in as somebody else would do his work for him."""
    for fields in ({}, {"X_Lbtwist": "1", "Origin": "http://evil.example"}):
        assert site.ask("POST", "/login", {"token": tokenOf("read")}, **fields).status == 403


def test_withATokenNothingElseIsNeeded(site):
    assert site.ask("POST", STATE, MAINT, by="operate").status == 200


def test_itEndsAfterAWhile(site):
    fields = loggedIn(site)
    site.balancer.advance(LIFETIME - 1)
    assert site.ask("GET", "/whoami", **fields).value["expires"] == 1
    site.balancer.advance(1)
    assert site.ask("GET", "/pools", **fields).status == 401
    assert site.ask("GET", "/whoami", **fields).value["name"] is None


def test_loggedOut(site):
    fields = loggedIn(site)
    found = site.ask("POST", "/logout", **fields)
    assert found.status == 204 and "Max-Age=0" in found.cookies[0]
    assert site.ask("GET", "/pools", **fields).status == 401


def test_whoLogsInAgainHasOneSession(site):
    first = loggedIn(site)
    second = loggedIn(site, Cookie=first["Cookie"])
    assert first["Cookie"] != second["Cookie"]
    assert site.ask("GET", "/pools", **first).status == 401
    assert site.ask("GET", "/pools", **second).status == 200


def test_notTooManyAreLoggedIn(site):
    first = loggedIn(site)
    connection = site.connects()
    for _ in range(MOST_SESSIONS):
        last = loggedIn(site, connection=connection)
    assert len(site.door._access._sessions) == MOST_SESSIONS
    assert site.ask("GET", "/pools", **first).status == 401
    assert site.ask("GET", "/pools", **last).status == 200


def test_aSessionGoesWithItsToken(site):
    fields = loggedIn(site, "admin")
    line = f"admin {tokenOf('admin')}"
    site.file.write_text(f"{line} read\n")
    assert site.get("/whoami", "", **fields)["scopes"] == ["read"]
    site.file.write_text(f"{line}2 read\n")
    assert site.ask("GET", "/pools", **fields).status == 401
    # It was only half written.
    site.file.write_text(f"{line} admin\n")
    assert site.ask("GET", "/pools", **fields).status == 200


@pytest.mark.parametrize("cookie", ["lbtwist-{}=", "lbtwist-{}=x", "lbtwist-1=x", "=", "\xff"])
def test_cookiesThatAreNone(site, cookie):
    assert site.ask("GET", "/pools", Cookie=cookie.format(site.port)).status == 401


# names


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:1", "[::1]"])
def test_namesOfThisMachine(bare, host):
    assert bare.ask("GET", "/pools", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "192.0.2.1", "", "x y"]
)
def test_aNameThatWasMadeToLeadHere(bare, host):
    for path in ("/pools", "//", "//healthz"):
        assert bare.ask("GET", path, Host=host).status == 421


def test_oneHost(bare):
    assert bare.ask("GET", "/pools", Host=None).status == 400
    connection = bare.connects()
    connection.sends(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
    assert connection.answer().status == 400
    connection = bare.connects()
    connection.sends(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert connection.answer().status == 200


# heads


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/pools", 200), ("GET", "//healthz", 200), ("GET", "//readyz", 200),
        ("POST", "//metrics", 405), ("GET", "/nothing", 404), ("PUT", "/pools", 405),
        ("OPTIONS", "/pools", 204), ("GET", "/events", 200), ("HEAD", "/events", 200),
        ("POST", STATE, 400), ("GET", "//metrics?scope=x", 400),
    ],
)  # fmt: skip
def test_eachAnswerHasTheseFields(site, method, path, status):
    found = site.ask(method, path, by="admin")
    assert found.status == status
    assert {name: found.fields.get(name.lower()) for name in HEAD} == HEAD
    assert "frame-ancestors 'none'" in found.fields["content-security-policy"]
    assert "unsafe" not in POLICY + found.fields["content-security-policy"]
    assert "twisted" not in str(found.fields).lower()
    assert not [name for name in found.fields if name.startswith("access-control")]


def test_thePage(site):
    for path, (kind, data) in FILES.items():
        found = site.ask("GET", f"/{path}")
        assert (found.status, found.fields["content-type"], found.body) == (200, kind, data)
        assert found.fields["content-security-policy"] == POLICY
        assert found.fields["x-content-type-options"] == "nosniff"
    assert site.ask("POST", "//").fields["allow"] == "GET, HEAD, OPTIONS"


def test_whatAClientSendsIsNoHTML(site):
    site.balancer.client().sends(b"GET /no?<script> HTTP/1.1\r\nHost: h\r\n\r\n")
    found = site.ask("GET", "/failures", by="admin")
    assert found.fields["content-type"] == "application/json"
    assert b"<script>" in found.body and found.fields["x-content-type-options"] == "nosniff"


def test_headIsGetWithoutABody(site):
    first = site.ask("GET", "/pools", by="read")
    connection = site.connects()
    found = site.ask("HEAD", "/pools", by="read", connection=connection)
    assert (found.status, found.body, found.rest) == (200, b"", b"")
    assert found.fields["content-length"] == first.fields["content-length"]
    assert found.fields["content-type"] == first.fields["content-type"]
    # Nothing is left in front of the next one.
    assert site.ask("GET", "/pools", by="read", connection=connection).status == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/pools", "GET, HEAD, OPTIONS"), (STATE, "OPTIONS, POST"),
        ("/pools/app/servers/a/drain", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("//healthz", "GET, HEAD, OPTIONS"),
    ],
)  # fmt: skip
def test_methods(site, path, allowed):
    found = site.ask("OPTIONS", path)
    assert (found.status, found.fields["allow"], found.body) == (204, allowed, b"")
    assert "content-length" not in found.fields
    for method in ("PUT", "PATCH", "TRACE", "QUERY", "get"):
        found = site.ask(method, path, by="admin")
        assert (found.status, found.fields["allow"]) == (405, allowed)


# what is sent


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"\xff", 400), (b'"\\ud800"', 400), (b'{"state": NaN}', 400),
        (b"[" * 20_000, 400), (b'{"state":' * 5000, 400), (b"1" * 5000, 400), (b"", 400),
        (b'\xff\xfe{\x00}\x00', 400), (b"null", 422), (b"1e999", 422), (b'"ready"', 422),
        (b'{"state": "ready"}' + b" " * LONGEST_BODY, 413), (b"x" * LONGEST_BODY, 400),
    ],
)  # fmt: skip
def test_bodies(site, body, status):
    found = site.ask("POST", STATE, body, by="admin")
    assert found.status == status and found.detail
    assert site.ask("GET", "//healthz").status == 200


def test_bodiesInChunks(site):
    head = (
        f"POST /api/v1{STATE} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Type: application/json; charset=utf-8\r\n"
        f"Authorization: Bearer {tokenOf('admin')}\r\n\r\n"
    ).encode()
    connection = site.connects()
    connection.sends(head + b"8\r\n{\"state\"\r\n8\r\n:\"maint\"\r\n1\r\n}\r\n0\r\n\r\n")
    assert connection.answer().status == 200
    size = f"{LONGEST_BODY:x}\r\n".encode()
    connection.sends(head + size + b" " * LONGEST_BODY + b"\r\n1\r\n \r\n0\r\n\r\n")
    assert connection.answer().status == 413
    for bad in (b"x\r\n", b"-1\r\n", b"f" * 5000):
        connection = site.connects()
        connection.sends(head + bad)
        assert connection.answer().status == 400


def test_aBodyWithoutEnd(site):
    connection = site.connects()
    connection.sends(
        f"POST /api/v1{STATE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n"
        f"\r\n".encode() + b"x" * (DROPPED_BODY + 1)
    )
    assert connection.takes() == b"" and connection.ended


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 17000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 600 + b"\r\n", b"x" * 70000,
    ],
)  # fmt: skip
def test_whatIsNoRequest(site, head):
    connection = site.connects()
    connection.sends(head)
    taken = connection.takes()
    assert connection.ended and (not taken or taken.startswith(b"HTTP/1.1 400 "))


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit is not from 1 to 10000"),
        ("limit=10001", "limit is not from 1 to 10000"),
        ("limit=x", "limit is not of type integer"),
        ("limit=", "limit is not of type integer"),
        ("limit=1&limit=2", "'limit' is there twice"),
        ("limit=%C2%B2", "limit is not of type integer"),
        ("what=1", "'what' is unknown"),
        ("pool=", "pool has not from 1 to 256 characters"),
        ("pool=%FF", "the query makes no sense"),
        ("&".join(["a"] * 17), "the query makes no sense"),
    ],
)
def test_queries(site, query, detail):
    found = site.ask("GET", f"/failures?{query}", by="read")
    assert (found.status, found.detail) == (400, detail)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pools/none", 404), ("/pools/app/servers/none", 404), ("/frontends/none", 404),
        ("/pools/", 404), ("/pools//servers/a", 404), ("/pools/app/", 404), ("", 404),
        ("/pools/../pools", 404), ("/pools/%2e%2e/info", 404), ("/pools/app%2Fservers", 404),
        ("/pools/%FF", 400), ("/pools/%00", 404), ("//static/../../tokens", 404),
        ("//static/%2e%2e%2fpage.py", 404), ("/%70ools", 200), ("//", 200),
    ],
)  # fmt: skip
def test_paths(site, path, status):
    assert site.ask("GET", path, by="admin").status == status


def test_otherFormsOfATarget(site):
    for target, status in (
        ("http://localhost/healthz", 200), ("HTTPS://localhost", 200), ("*", 400), ("x", 400),
    ):  # fmt: skip
        connection = site.connects()
        connection.sends(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.answer().status == status, target


# what goes wrong here


def test_aFailureSaysANumberAndNoMore(site, logged):
    def fail(call):
        raise ZeroDivisionError("at a secret place")

    async def later(call):
        await call.turn()
        fail(call)

    for run in (fail, later):
        site.door.root.operations["/api/v1/info"]["GET"] = Operation(
            "GET", "/info", "read", "", run, "Info"
        )
        found = site.ask("GET", "/info", by="read")
        assert found.status == 500
        assert found.detail == "an error, which is in the log by this id"
        assert re.fullmatch("[0-9a-f]{16}", found.value["id"])
        assert found.value["id"] in logged()
        assert b"secret" not in found.body and b"Traceback" not in found.body
        [failure] = site.balancer.failures
        assert failure.check(ZeroDivisionError)
        site.balancer.failures.clear()


def test_whoGoesAwayIsNotAnswered(site):
    connection = site.connects()
    request = f"GET /api/v1/pools/app HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \
{tokenOf('read')}\r\n\r\n"
    connection.socket.send(request.encode())
    connection.socket.close()
    site.pump.turn()
    assert site.ask("GET", "//healthz").status == 200


def test_notTooMuchIsDoneAtTheSameTime(site):
    later = []

    async def wait(call):
        later.append(Deferred())
        return await later[-1]

    site.door.root.operations["/api/v1/info"]["GET"] = Operation(
        "GET", "/info", "read", "", wait, "Info"
    )
    waiting = []
    for _ in range(AT_ONCE):
        connection = site.connects()
        connection.sends(
            f"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            f"{tokenOf('read')}\r\n\r\n".encode()
        )
        waiting.append(connection)
    assert site.ask("GET", "/pools", by="read").fields["retry-after"] == "1"
    # Whether it is alive is another question.
    assert site.ask("GET", "//healthz").status == site.ask("GET", "//readyz").status == 200
    waiting.pop().socket.close()
    site.pump.turn()
    assert site.ask("GET", "/pools", by="read").status == 200
    for one in later[:-1]:
        one.callback({})
    assert [one.answer().status for one in waiting] == [200] * len(waiting)


# time and number


def test_severalInOneConnection(site):
    connection = site.connects()
    one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection.sends(one.encode() * 50)
    assert connection.takes().count(b"alive\n") == 50


def test_othersHaveTheirTurnBetween(site):
    turns = []

    def run(call):
        turns.append("this")
        site.pump.callLater(0, turns.append, "other")
        return {}

    site.door.root.operations["/healthz"]["GET"] = Operation("GET", "/healthz", "", "", run, "")
    site.connects().sends(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 9)
    assert turns == ["this", "other"] * 9


def test_whoIsSlowIsLetGo(site):
    connection = site.connects()
    for _ in range(int(PATIENCE) + 1):
        connection.sends(b"x")
        site.balancer.advance(1)
    connection.takes()
    assert connection.ended


def test_whoSaysNothingMoreIsLetGo(site):
    connection = site.connects()
    site.ask("GET", "//healthz", connection=connection)
    site.balancer.advance(PATIENCE - 1)
    site.ask("GET", "//healthz", connection=connection)
    site.balancer.advance(PATIENCE - 1)
    assert not connection.takes() and not connection.ended
    site.balancer.advance(2)
    connection.takes()
    assert connection.ended


def test_moreConnectionsWait(site):
    idle = [site.connects() for _ in range(MOST_AT_ONCE)]
    assert len(site.door._connections) == MOST_AT_ONCE
    late = Connection(site)
    late.sends(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert late.takes() == b""
    idle[0].socket.close()
    site.pump.turn()
    assert late.answer().body == b"alive\n"
    late.socket.close()


# metrics


def test_metricsNeedAToken(site):
    assert site.ask("GET", "//metrics").status == 401
    found = site.ask("HEAD", "//metrics", by="read")
    assert found.status == 200 and found.fields["content-type"].startswith("text/plain; version=")
    assert site.ask("POST", "//metrics", by="read").status == 405


def test_metricsThatAreOpen(tmp_path):
    with Site(tmp_path, options="metrics=open") as site:
        assert site.ask("HEAD", "//metrics").status == 200
        assert site.ask("HEAD", "//metrics", Authorization="Bearer other").status == 200
        assert site.ask("GET", "/pools").status == 401


def test_theDescriptionIsJSON(site):
    found = site.get("/openapi.json")
    assert found["openapi"] == "3.1.0"
    assert set(found["paths"]) == set(site.door.root.operations)
    json.dumps(found)
