"""
The verbs that change the first lines and the host, and those that keep something for
further rules, the log and the timeouts.
"""

import pytest
from verbs import CONNECTION, REQUEST, RESPONSE, asked, contractOf, verb
from zope.interface import implementer

from lbtwist.interfaces import IRequestRule, IResponseRule
from lbtwist.rules.decisions import Deny
from lbtwist.rules.sound import LONGEST_TARGET
from lbtwist.testing import VerbContract, fakeExchange, fakeResponse

DENIED = Deny(400)


def target(line, given="/a/b?c=d", method="GET"):
    """@return: the target that a verb leaves, or what it decides."""
    exchange = fakeExchange(given, method=method)
    line = asked(line, exchange)
    assert exchange.request.line == f"{method} {given} HTTP/1.1".encode()
    if line is not None:
        assert exchange.request.target.decode() == given
        return line
    return exchange.request.target.decode("ascii")


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("set-path /x", "/x?c=d"),
        ("set-path /x{path}", "/x/a/b?c=d"),
        ("set-path {path.upper()}", "/A/B?c=d"),
        ("set-path /x/{query['c']}", "/x/d?c=d"),
        ("replace-path ^/a/(.*) /\\1", "/b?c=d"),
        # The whole path, as in HAProxy.
        ("replace-path /b /x", "/x?c=d"),
        ("replace-path (.*) /foo\\1", "/foo/a/b?c=d"),
        ("replace-path /z /x", "/a/b?c=d"),
        ("set-query e=f", None),
        ("set-query 'e=f'", "/a/b?e=f"),
        ("set-query text=e=f", "/a/b?e=f"),
        ("set-query {query_string}&e=f", "/a/b?c=d&e=f"),
        ("set-query x?y", "/a/b?x?y"),
        ("set-query", "/a/b"),
        ("set-query {header['X']}", "/a/b"),
        ("set-uri /x", "/x"),
        ("set-uri /x?{path}", "/x?/a/b"),
        ("set-uri {uri}", "/a/b?c=d"),
    ],
)
def test_targets(line, left):
    if left is None:
        with pytest.raises(ValueError, match="unknown option 'e'"):
            verb(line)
        return
    assert target(line) == left


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("%20", "/%20"), ("%0d%0aX:%20y", "/%0D%0AX:%20y"), ("%00%7f", "/%00%7F"),
        ("%c3%a4%ff", "/%C3%A4%FF"), ("%22%5c", '/"\\'), ("%253f", "/%3f"),
        (" HTTP/1.1".replace(" ", "%20"), "/%20HTTP/1.1"),
    ],
)  # fmt: skip
def test_whatCannotBeInATarget(said, left):
    """It is encoded; what was decoded is encoded again."""
    given = f"/?q={said}"
    assert target("set-uri /{query['q']}", given) == left
    assert target("set-path /{query['q']}", given) == f"{left}?q={said}"
    assert target("replace-path (.*) \\1{query['q']}", given) == f"{left}?q={said}"
    assert target("set-query {query['q']}", given) == f"/?{left[1:]}"


def test_aQuestionMarkInAPath():
    """Of data it is data, and begins no query."""
    assert target("set-path /{query['q']}", "/?q=a%3fb") == "/a%3Fb?q=a%3fb"
    assert target("replace-path (.*) \\1{query['q']}", "/?q=a%3fb") == "/a%3Fb?q=a%3fb"
    assert target("set-uri /{query['q']}", "/?q=a%3fb") == "/a?b"


@pytest.mark.parametrize("line", [
    "set-uri {query['q']}", "set-path {query['q']}", "replace-path (.*) {query['q']}",
])  # fmt: skip
@pytest.mark.parametrize(
    "said", ["", "a", "*", "http://evil.example/", "%20/a", "%0d%0a/a", "/a%23b", "%5c/a"]
)
def test_whatIsNoTarget(line, said):
    assert target(line, f"/?q={said}") == DENIED


def test_aFragmentInAQuery():
    assert target("set-query {query['q']}", "/?q=a%23b") == DENIED


def test_howLongATargetMayBe():
    given = "/" + "x" * (LONGEST_TARGET // 2 - 1)
    assert target("set-uri {path}{path}", given) == given * 2
    assert target("set-uri {path}{path}/", given) == DENIED
    # What is encoded counts as it is sent.
    assert target("set-uri /{query['q']}{query['q']}", "/?q=" + "%20" * 1000) == "/" + "%20" * 2000
    assert target("set-uri /{query['q']}{query['q']}", "/?q=" + "%20" * 1400) == DENIED


@pytest.mark.parametrize("line", [
    "set-path /x", "replace-path (.*) /x", "set-query x", "set-uri /x", "set-method GET",
    "set-host x.example",
])  # fmt: skip
def test_connectStaysAsItIs(line):
    exchange = fakeExchange("www.example.com:443", method="CONNECT")
    assert asked(line, exchange) is None
    head = exchange.request
    assert (head.method, head.target, head.host) == (
        b"CONNECT", b"www.example.com:443", b"www.example.com"
    )  # fmt: skip


def test_theTargetOfOptions():
    assert target("set-query x", "*", "OPTIONS") == "*"
    assert target("set-path /x", "*", "OPTIONS") == "/x"
    assert target("replace-path ^/ /x", "*", "OPTIONS") == "*"
    exchange = fakeExchange("*", method="OPTIONS")
    assert asked("set-method GET", exchange) is None
    assert exchange.request.method == b"OPTIONS"


def method(line, given="POST", fields=None):
    exchange = fakeExchange("/?q=x", fields, method=given)
    decision = asked(line, exchange)
    return decision or exchange.request.method.decode()


def test_methods():
    assert method("set-method GET") == "GET"
    assert method("set-method PROPFIND") == "PROPFIND"
    assert method("set-method {header['X']}", fields={"X": "PUT"}) == "PUT"
    assert method("set-method {header['X']}", fields={"X": "x" * 32}) == "x" * 32


@pytest.mark.parametrize("said", ["", "A B", "GET /", "\xe4", "CONNECT", "connect", "x" * 33, "("])
def test_whatIsNoMethod(said):
    assert method("set-method {header['X']}", fields={"X": said}) == DENIED


def test_headStaysHead():
    """The client and the server have to agree on whether a response has a body."""
    assert method("set-method GET", "HEAD") == "HEAD"
    for said in ("HEAD", "head", "Head"):
        assert method("set-method {header['X']}", fields={"X": said}) == "POST"
    for said in ("HEAD", "head"):
        assert method("set-method {header['X']}", "HEAD", {"X": said}) == "HEAD"
    # No HEAD, but for those who compare in any case.
    assert method("set-method {header['X']}", "head", {"X": "HEAD"}) == "head"


@pytest.mark.parametrize(
    "host", ["a.example", "A.Example", "a.example:8080", "[2001:db8::1]:80", "10.0.0.1", "a_b"]
)
def test_hosts(host):
    exchange = fakeExchange("/", {"X": host})
    assert asked("set-host {header['X']}", exchange) is None
    head = exchange.request
    assert head.host == host.lower().encode()
    assert head.fields.getAll(b"host") == [host.lower().encode()]
    assert asked(f"set-host {host}", exchange) is None
    assert head.host == host.lower().encode()


@pytest.mark.parametrize(
    "host",
    [
        "", "a b", "a,b", "a/b", "a@b", "a:b", "a:99999", ":80", "[::1", "[x]", "\xe4.example",
        "a?b", "a#b", "x" * 256,
    ],
)  # fmt: skip
def test_whatIsNoHost(host):
    exchange = fakeExchange("/", {"X": host})
    assert asked("set-host {header['X']}", exchange) == DENIED
    assert exchange.request.fields.getAll(b"host") == [b"www.example.com"]
    assert exchange.request.host == b"www.example.com"


def test_theHostOfWhoHadNone():
    exchange = fakeExchange()
    exchange.request.fields.remove(b"host")
    exchange.request.host = b""
    asked("set-host a.example", exchange)
    assert exchange.request.fields.items() == [(b"Host", b"a.example")]


def status(line, given=200, request="GET"):
    """@return: the status line that a verb leaves."""
    exchange = fakeResponse(fakeExchange("/", method=request), given, {"X": "y"})
    assert asked(line, exchange, RESPONSE) is None
    assert exchange.status == exchange.response.status
    assert exchange.response.fields.items() == [(b"X", b"y")]
    return exchange.response.line.decode()


def test_statuses():
    assert status("set-status 503") == "HTTP/1.1 503 Service Unavailable"
    assert status("set-status 418 reason=\"I'm a teapot\"") == "HTTP/1.1 418 I'm a teapot"
    assert status("set-status 299") == "HTTP/1.1 299 "
    assert status("set-status 200", 404) == "HTTP/1.1 200 OK"
    assert status("set-status 404", request="HEAD") == "HTTP/1.1 404 Not Found"


def test_aStatusOfHTTP10():
    exchange = fakeResponse(fakeExchange())
    exchange.response.line = b"HTTP/1.0 200 Fine"
    asked("set-status 404", exchange, RESPONSE)
    assert exchange.response.line == b"HTTP/1.0 404 Not Found"


@pytest.mark.parametrize("given", [101, 103, 204, 304])
def test_aResponseWithoutBodyStaysOne(given):
    assert status("set-status 200", given) == f"HTTP/1.1 {given} Said"


def test_whatAServerSaysToConnect():
    """It says whether there is a tunnel."""
    exchange = fakeExchange("www.example.com:443", method="CONNECT")
    for given in (200, 403):
        fakeResponse(exchange, given)
        asked("set-status 299", exchange, RESPONSE)
        assert exchange.response.status == given


@pytest.mark.parametrize(
    ("line", "wrong", "stage"),
    [
        ("set-path x", "does not begin with a /", REQUEST),
        ("set-path x{path}", "does not begin with a /", REQUEST),
        ("set-path /x?y", "write set-uri", REQUEST),
        ("set-path /a#b", "it has a #", REQUEST),
        ("set-path", "needs TEXT", REQUEST),
        ("set-uri http://a.example/", "does not begin with a /", REQUEST),
        ("set-uri /a#b", "it has a #", REQUEST),
        ("set-uri /" + "x" * 8192, "longer than 8192 bytes", REQUEST),
        ("set-query ?a", "without its ?", REQUEST),
        ("set-query a#b", "write %23", REQUEST),
        ("replace-path (a*)* /", "could take", REQUEST),
        ("replace-path a /\\1", "there is no group 1", REQUEST),
        ("set-method HEAD", "no request can be made a HEAD", REQUEST),
        ("set-method connect", "no request can be made a CONNECT", REQUEST),
        ("set-method 'A B'", "is not a method", REQUEST),
        ("set-host a/b", "is not a host: write NAME, NAME:PORT", REQUEST),
        ("set-status 204", "has no body", RESPONSE),
        ("set-status 205", "has no body", RESPONSE),
        ("set-status 304", "has no body", RESPONSE),
        ("set-status 100", "has no body", RESPONSE),
        ("set-status 600", "from 100 to 599", RESPONSE),
        ("set-status 200 reason=\xe4", "printable ASCII", RESPONSE),
        ("set-status 200", "set-status is a verb of response rules", REQUEST),
        ("set-path /x", "set-path is a verb of request rules", RESPONSE),
        ("set-var a/b src", "is not a name", REQUEST),
        ("set-var a", "needs EXPRESSION", REQUEST),
        ("set-var a hots", "did you mean 'host'?", REQUEST),
        ("set-var a cookie", "write cookie[", REQUEST),
        ("set-var a host", "host is not known yet", CONNECTION),
        ("capture a", "needs EXPRESSION", REQUEST),
        ("capture a src len=0", "from 1 to 8192", REQUEST),
        ("capture a status", "status is not known yet", REQUEST),
        ("set-timeout connect 5s", "known are client, server, tunnel", REQUEST),
        ("set-timeout tunnel", "needs TIME", REQUEST),
        ("set-timeout tunnel soon", "is not a time", REQUEST),
        ("set-log", "needs yes|no", REQUEST),
        ("role", "needs TEXT", REQUEST),
        ("role 'a b'", "'a b' is no role: up to 32 letters, digits and - _ . are accepted",
         CONNECTION),
        ("set-log perhaps", "neither yes nor no", REQUEST),
    ],
)
def test_whatIsRefused(line, wrong, stage):
    with pytest.raises(ValueError) as caught:
        verb(line, stage)
    assert wrong in str(caught.value)


# what is kept of an exchange


@pytest.mark.parametrize("stage", [CONNECTION, REQUEST, RESPONSE])
def test_variables(stage):
    exchange = fakeExchange()
    fakeResponse(exchange)
    asked("set-var a.b src", exchange, stage)
    asked("set-var n 'dst_port + 1'", exchange, stage)
    asked("set-var t secure", exchange, stage)
    assert exchange.vars == {"a.b": "192.0.2.1", "n": "81", "t": "0"}
    asked("set-var n 5", exchange, stage)
    asked("set-var again \"var['n']\"", exchange, stage)
    asked('set-var braced {var["n"]}', exchange, stage)
    asked("set-var several {'a', var['n']}", exchange, stage)
    assert exchange.vars == {
        "a.b": "192.0.2.1", "n": "5", "t": "0", "again": "5", "braced": "5", "several": "a,5"
    }  # fmt: skip


def test_captures():
    """Of requests and of responses; so much as is asked for, empty where there is none."""
    exchange = fakeExchange("/", {"User-Agent": "x" * 100})
    asked("capture ua \"header['User-Agent']\"", exchange)
    asked("capture short \"header['User-Agent']\" len=3", exchange)
    assert exchange.captures == {"request": {"ua": "x" * 64, "short": "xxx"}, "response": {}}
    fakeResponse(exchange, 302, {"Location": "http://www.domain.example/login.jsp?a=b"})
    asked("capture to \"response_header['Location']\" len=32", exchange, RESPONSE)
    asked("capture none \"response_header['Set-Cookie']\"", exchange, RESPONSE)
    assert exchange.captures["response"] == {"to": "http://www.domain.example/login.", "none": ""}


@pytest.mark.parametrize("stage", [REQUEST, RESPONSE])
def test_settings(stage):
    exchange = fakeExchange()
    fakeResponse(exchange)
    asked("set-timeout tunnel 1h", exchange, stage)
    asked("set-timeout server 250", exchange, stage)
    asked("set-timeout client 0", exchange, stage)
    asked("set-log no", exchange, stage)
    assert exchange.settings == {
        "timeout_tunnel": 3600.0, "timeout_server": 0.25, "timeout_client": 0.0, "log": False
    }  # fmt: skip
    asked("set-log yes", exchange, stage)
    assert exchange.settings["log"] is True


@pytest.mark.parametrize("stage", [CONNECTION, REQUEST])
def test_role(stage):
    """What is computed and names no role asks for none."""
    exchange = fakeExchange("/", {"X-Role": "primary; x"})
    asked("role Primary", exchange, stage)
    assert exchange.settings == {"role": "primary"}
    if stage is REQUEST:
        asked("role {header['X-Role'][:7]}", exchange)
        assert exchange.settings == {"role": "primary"}
        asked("role {header['X-Role']}", exchange)
        assert exchange.settings == {}


def test_noRetry():
    exchange = fakeExchange()
    asked("no-retry", exchange)
    assert exchange.settings == {"retry": False}


# the contracts

SetPathContractTests = contractOf("set-path /{query['q']}{header['X-User']}")
ReplacePathContractTests = contractOf("replace-path (.*) \\1{query['q']}{header['X-User']}")
SetQueryContractTests = contractOf("set-query {query['q']}{header['X-User']}")
SetURIContractTests = contractOf("set-uri /{query['q']}{header['X-User']}")
WholeURIContractTests = contractOf("set-uri {header['X-User']}")
SetMethodContractTests = contractOf("set-method {header['X-User']}")
PlainMethodContractTests = contractOf("set-method GET")
SetHostContractTests = contractOf("set-host {header['X-User']}")
SetStatusContractTests = contractOf("set-status 200", RESPONSE)
RoleContractTests = contractOf("role {header['X-User']}")
RoleConnectionContractTests = contractOf("role primary", CONNECTION)
SetVarContractTests = contractOf("set-var a \"header['X-User']\"")
SetVarConnectionContractTests = contractOf("set-var a src", CONNECTION)
CaptureContractTests = contractOf("capture a \"header['X-User']\"")
SetTimeoutContractTests = contractOf("set-timeout tunnel 1h")
SetLogContractTests = contractOf("set-log no")
NoRetryContractTests = contractOf("no-retry")


@implementer(IRequestRule)
class Broken:
    """Breaks a head."""

    def __init__(self, change):
        self._change = change

    def requestReceived(self, exchange):
        self._change(exchange.request)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda head: setattr(head, "method", b"GET"), "the response to"),
        (lambda head: setattr(head, "length", 7), "ends elsewhere"),
        (lambda head: setattr(head, "host", b"b.example"), "host of"),
        (lambda head: head.fields._items.append((b"X", b"a\r\nY: b")), "the fields of"),
    ],
)
def test_theContractFindsIt(change, wrong):
    def changed(head):
        head.fields.add(b"X", b"")
        change(head)

    case = VerbContract()
    case.makeVerb = lambda: Broken(changed)
    with pytest.raises(AssertionError, match=wrong):
        case.test_ofRequests()


@implementer(IResponseRule)
class BrokenResponse:
    """Breaks the head of a response."""

    def __init__(self, change):
        self._change = change

    def responseReceived(self, exchange):
        self._change(exchange.response)
        exchange.status = exchange.response.status


def _emptied(head):
    head.status = 204
    head.line = b"HTTP/1.1 204 x"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (_emptied, "the fields of"),
        (lambda head: setattr(head, "length", 7), "ends elsewhere"),
        (lambda head: head.fields.set(b"Content-Length", b"7"), "ends elsewhere"),
    ],
)
def test_theContractFindsAResponse(change, wrong):
    case = VerbContract()
    case.makeVerb = lambda: BrokenResponse(change)
    with pytest.raises(AssertionError, match=wrong):
        case.test_ofResponses()
