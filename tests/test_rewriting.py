"""
What a server says of itself, in the client's words: C{proxy-pass}, C{location},
C{cookie-flags} and C{del-cookie}.
"""

import re
from textwrap import indent

import attr
import pytest
from heads import response
from hypothesis import example, given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from lbtwist.asking import rulebookOf
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.exchange import TLSInfo
from lbtwist.interfaces import IResponseRule
from lbtwist.registry import Context, installed
from lbtwist.rules.decisions import Deny
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage
from lbtwist.sansio.grammar import isFieldLine
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.server import Endpoint, Server
from lbtwist.testing import fakeExchange

REGISTRY = installed()

CONFIG = """\
[frontend www]
mode = http
bind = :8080
pool = app
request =
    allow if method == "NONE"
%s
response =
    allow if method == "NONE"
%s
[pool app]
server a = 192.0.2.7:8001
"""


class Site:
    """
    Rules, and a server behind them.

    @ivar server: that answers.
    """

    def __init__(self, request="", response=""):
        rules = [indent(one, "    ") for one in (request, response)]
        config, _ = loadText(CONFIG % tuple(rules), REGISTRY)
        frontend = config.frontends["www"]
        self._request, self._response = (
            rulebookOf(lines, Scope(stage), REGISTRY, Context())
            for stage, lines in (
                (Stage.REQUEST, frontend.request), (Stage.RESPONSE, frontend.response),
            )
        )  # fmt: skip
        self.server = Server("app", "a", Endpoint(2, ("192.0.2.7", 8001)))

    def asked(self, target, host="dom.com", *fields, secure=False, method="GET", version="1.1"):
        """
        A request comes, and the rules are asked.

        @return: the exchange, and the decision.
        """
        exchange = fakeExchange()
        exchange.connection = attr.evolve(
            exchange.connection, tls=TLSInfo(version="TLSv1.3") if secure else None
        )
        lines = [f"{method} {target} HTTP/{version}", *fields]
        if host:
            lines.insert(1, f"Host: {host}")
        exchange.request = RequestReader().read(("\r\n".join(lines) + "\r\n\r\n").encode())
        return exchange, self._request.ask(exchange)

    def answered(self, exchange, *lines):
        """
        The server answers with these fields, and what is left to do is done.

        @return: the fields as the client gets them.
        """
        exchange.server = self.server
        exchange.response = response(b"HTTP/1.1 200 OK", *[line.encode() for line in lines])
        for one in exchange.rewrites or ():
            one.responseReceived(exchange)
        assert self._response.ask(exchange) is None
        return exchange.response.fields.block[1:].decode().split("\r\n")[:-1]

    def sees(self, target, **request):
        """@return: target and C{Host} of what the server gets."""
        exchange, decision = self.asked(target, **request)
        assert decision is None
        hosts = exchange.request.fields.getAll(b"host")
        assert [exchange.request.host] == hosts, "rules read what the server gets"
        return exchange.request.target.decode(), hosts[0].decode()

    def says(self, *lines, target="/mirror/foo/bar", **request):
        """@return: what the client gets of these fields."""
        exchange, decision = self.asked(target, **request)
        assert decision is None
        return self.answered(exchange, *lines)

    def says1(self, line, **request):
        """@return: the same of the value of one field."""
        [found] = self.says(line, **request)
        name = line.partition(":")[0]
        assert found.startswith(name + ":"), "the name stays as it is spelt"
        return found.partition(": ")[2]


MIRROR = Site("proxy-pass /mirror/foo/ http://bk.dom.com/")
BARE = Site("proxy-pass /mirror/foo http://bk.dom.com/app")
DEEP = Site("proxy-pass /mirror/foo/ http://bk.dom.com:8080/app/")
ROOT = Site("proxy-pass / http://bk.dom.com/app/")


class TestPath:
    """C{proxy-pass}, the request: row 003.3."""

    @pytest.mark.parametrize(
        ("target", "seen"),
        [
            ("/mirror/foo/bar", "/bar"),
            ("/mirror/foo/", "/"),
            ("/mirror/foo/bar?a=/mirror/foo/&b=%2F..//", "/bar?a=/mirror/foo/&b=%2F..//"),
            ("/mirror/foo/?q", "/?q"),
            ("/mirror/foo/a%2Fb/%41//c;d=e", "/a%2Fb/%41//c;d=e"),
            ("/mirror/foo/mirror/foo/x", "/mirror/foo/x"),
            ("/mirror/foo/a..b/..c/.d", "/a..b/..c/.d"),
        ],
    )
    def test_below(self, target, seen):
        """Row 003.3: S sees C{GET /bar}, C{Host: bk.dom.com}; query and %2F as they are."""
        assert MIRROR.sees(target) == (seen, "bk.dom.com")

    @pytest.mark.parametrize(
        "target",
        ["/mirror/foo", "/mirror/foobar", "/mirror/foo?x=/", "/", "/x/mirror/foo/", "/Mirror/foo/x",
         "/mirror%2Ffoo/x", "/mirror/foo%2Fx", "/mirror/fo/../foo"],
    )  # fmt: skip
    def test_notBelow(self, target):
        """Row 003.3: C{/mirror/foo} and C{/mirror/foobar} are not matched."""
        assert MIRROR.sees(target) == (target, "dom.com")

    @pytest.mark.parametrize(
        ("target", "seen"),
        [
            ("/mirror/%66oo/bar", "/bar"),
            ("/mirror/%66oo/a%2Fb?x=%66", "/a%2Fb?x=%66"),
            ("//mirror///foo/bar", "/bar"),
            ("/mirror/./foo/bar", "/bar"),
            ("/x/../mirror/foo/bar", "/bar"),
            ("/mirror/foo/a/../b", "/b"),
            ("/mirror/foo/./", "/"),
            ("/mirror/foo/a/..", "/"),
            ("/mirror/foo/../foo/b", "/b"),
        ],
    )
    def test_normalForm(self, target, seen):
        """What is below as most servers read it is below, and goes on as they read it."""
        assert MIRROR.sees(target) == (seen, "bk.dom.com")

    @pytest.mark.parametrize(
        "target",
        ["/mirror/foo/../x", "/mirror/foo/..", "/mirror/foo/%2e%2E/x", "/mirror/foo/a/../../x"],
    )
    def test_dotsThatLeadOut(self, target):
        """It is not below, whatever it begins with."""
        assert MIRROR.sees(target) == (target, "dom.com")

    @pytest.mark.parametrize(
        "end",
        ["..%2fsecret", "..%2Fsecret", "a%2f..%2f..%2fsecret", "..%5csecret", "..\\secret",
         "..;/secret", "%2e%2e;x/secret", ".%2e%2f", "a\\..", "a%2f..", "..%3bx/secret"],
    )  # fmt: skip
    def test_dotsThatAreHidden(self, end):
        """Servers that find them would look outside of the URL: it is refused."""
        for site, begin in ((MIRROR, "/mirror/foo/"), (DEEP, "/mirror/%66oo/"), (ROOT, "/")):
            exchange, decision = site.asked(begin + end)
            assert decision == Deny(400)
            assert exchange.rewrites is None
        exchange, decision = MIRROR.asked("/other/" + end)
        assert (decision, exchange.request.target) == (None, f"/other/{end}".encode())

    @pytest.mark.parametrize(
        ("target", "seen"),
        [("/mirror/foo//evil.com/x", "/evil.com/x"), ("/mirror/foo/\\evil.com", "/evil.com"),
         ("/mirror/foo//", "/")],
    )  # fmt: skip
    def test_neverAHost(self, target, seen):
        """A server that adds a slash to C{//evil.com} would redirect to another host."""
        assert MIRROR.sees(target)[0] == seen

    @pytest.mark.parametrize(
        ("target", "seen"),
        [("/mirror/foo", "/app"), ("/mirror/foo/", "/app/"), ("/mirror/foo/x", "/app/x"),
         ("/mirror/foo?q", "/app?q")],
    )  # fmt: skip
    def test_withoutSlash(self, target, seen):
        assert BARE.sees(target) == (seen, "bk.dom.com")
        assert BARE.sees("/mirror/foobar") == ("/mirror/foobar", "dom.com")

    def test_withoutPath(self):
        for url in ("http://bk.dom.com", "http://bk.dom.com/"):
            site = Site(f"proxy-pass /mirror/foo {url}")
            assert site.sees("/mirror/foo")[0] == "/"
            assert site.sees("/mirror/foo?q")[0] == "/?q"
            assert site.sees("/mirror/foo/x")[0] == "/x"
            assert site.says1("Location: /x", target="/mirror/foo") == "/mirror/foo/x"
            slash = Site(f"proxy-pass /mirror/foo/ {url}")
            assert slash.sees("/mirror/foo/x")[0] == "/x"
            assert slash.says1("Location: /x") == "/mirror/foo/x"

    def test_all(self):
        """Below C{/} everything is, and nothing leads out of the URL."""
        assert ROOT.sees("/x")[0] == "/app/x"
        assert ROOT.sees("/")[0] == "/app/"
        assert ROOT.sees("/../x")[0] == "/app/x"
        assert ROOT.sees("/a/../../%2e%2e/x")[0] == "/app/x"

    def test_noPath(self):
        assert ROOT.sees("*", method="OPTIONS") == ("*", "dom.com")
        assert ROOT.sees("dom.com:443", method="CONNECT") == ("dom.com:443", "dom.com")

    def test_port(self):
        assert DEEP.sees("/mirror/foo/x") == ("/app/x", "bk.dom.com:8080")
        assert Site("proxy-pass / https://[2001:DB8::1]:8443").sees("/x") == (
            "/x", "[2001:db8::1]:8443"
        )  # fmt: skip

    def test_firstThatMatches(self):
        site = Site("proxy-pass /a/ http://a.in/b/\nproxy-pass / http://rest.in/")
        assert site.sees("/a/x") == ("/b/x", "a.in")
        assert site.sees("/x") == ("/x", "rest.in")
        assert site.says1("Location: http://a.in/b/x", target="/a/") == "/a/x"
        assert site.says1("Location: http://rest.in/b/x", target="/a/") == "http://rest.in/b/x"

    def test_condition(self):
        site = Site('proxy-pass /a/ http://a.in/ if header["x-a"] == "1"')
        exchange, _ = site.asked("/a/x", "dom.com", "X-A: 1")
        assert exchange.request.target == b"/x"
        assert site.sees("/a/x") == ("/a/x", "dom.com")
        line = "Location: http://a.in/x"
        assert site.answered(exchange, line) == ["Location: /a/x"]
        assert site.says(line, target="/a/x") == [line], "another exchange of the same verb"

    def test_withoutHost(self):
        assert MIRROR.sees("/mirror/foo/x", host="", version="1.0") == ("/x", "bk.dom.com")


class TestReferences:
    """C{proxy-pass}, what is said of addresses: row 003.4."""

    FORMS = (
        ("http://bk.dom.com/x", "/mirror/foo/x"),
        ("https://bk.dom.com:8443/x", "/mirror/foo/x"),
        ("/x", "/mirror/foo/x"),
        ("//bk.dom.com/x", "/mirror/foo/x"),
        ("http://other/x", "http://other/x"),
    )

    @pytest.mark.parametrize("name", ["Location", "Content-Location", "URI", "lOCATION"])
    @pytest.mark.parametrize(("said", "got"), FORMS)
    def test_fiveForms(self, name, said, got):
        """Row 003.4: C{/mirror/foo/x} of four forms, the last untouched."""
        assert MIRROR.says1(f"{name}: {said}") == got

    @pytest.mark.parametrize(("said", "got"), FORMS)
    def test_refresh(self, said, got):
        """Row 003.4: the same for Refresh."""
        for form in ("5; url=%s", "0;URL='%s'", '5, Url = "%s" ; x', "5;%s", "1.5 url=%s"):
            assert MIRROR.says1(f"Refresh: {form % said}") == form % got

    @pytest.mark.parametrize(("said", "got"), FORMS)
    def test_link(self, said, got):
        """Row 003.4: the same for Link."""
        line = 'Link: <%s>; rel=next; title="</a>, \\"</b>", <x>, <%s>;rel="prev"'
        [found] = MIRROR.says(line % (said, said))
        assert found == line % (got, got)
        for open_ in (f'Link: "<{said}>', f"Link: <{said}", f"Link: {said}>"):
            assert MIRROR.says(open_) == [open_]
        assert MIRROR.says1(f"URI: <{said}>") == f"<{got}>"

    @pytest.mark.parametrize(("said", "got"), FORMS)
    def test_absolute(self, said, got):
        """Row 003.4: the absolute form if configured."""
        site = Site("proxy-pass /mirror/foo/ http://bk.dom.com/ absolute=yes")
        whole = got if got.startswith("http") else "http://dom.com:81" + got
        assert site.says1(f"Location: {said}", host="dom.com:81") == whole
        whole = whole.replace("http://dom.com:81", "https://dom.com")
        assert site.says1(f"Content-Location: {said}", secure=True) == whole
        assert site.says1(f"Refresh: 1;url={said}", host="", version="1.0") == f"1;url={got}"

    @pytest.mark.parametrize(
        ("said", "got"),
        [
            ("http://bk.dom.com", "/mirror/foo/"),
            ("HTTP://BK.Dom.Com:80?q#f", "/mirror/foo/?q#f"),
            ("http://bk.dom.com/a?b=http://bk.dom.com/c", "/mirror/foo/a?b=http://bk.dom.com/c"),
            ("/", "/mirror/foo/"),
            ("/?q", "/mirror/foo/?q"),
        ],
    )
    def test_further(self, said, got):
        assert MIRROR.says1(f"Location: {said}") == got

    @pytest.mark.parametrize(
        "said",
        ["x", "../x", "?q", "#f", "", "http:/x", "http:x", "ftp://bk.dom.com/x",
         "http://bk.dom.com.evil/x", "http://bk.dom.com@evil/x", "http://a@bk.dom.com/x",
         "http://bk.dom.com\\@evil/x", "http://bk.dom.com:x/", "http://bk.dom.com:123456/",
         "http://xbk.dom.com/", "mailto:a@bk.dom.com", "/\\evil/x", "//evil/x", "://bk.dom.com/"],
    )  # fmt: skip
    def test_somethingElse(self, said):
        assert MIRROR.says(f"Location:  {said} ") == [f"Location:  {said} "]
        assert MIRROR.says(f"Refresh: {said}") == [f"Refresh: {said}"]

    def test_belowThePathOfTheURL(self):
        assert DEEP.says1("Location: /app/x") == "/mirror/foo/x"
        assert DEEP.says1("Location: http://bk.dom.com/app/x") == "/mirror/foo/x"
        for said in ("/x", "/appx", "/app", "http://bk.dom.com:8080/x"):
            assert DEEP.says1(f"Location: {said}") == said, "the client cannot reach it"
        assert BARE.says1("Location: /app", target="/mirror/foo") == "/mirror/foo"
        assert BARE.says1("Location: /app?q", target="/mirror/foo") == "/mirror/foo?q"

    def test_neverAnotherHost(self):
        """A path that begins with two slashes stays a path."""
        site = Site("proxy-pass / http://bk.dom.com/")
        assert site.says1("Location: http://bk.dom.com//evil/x", target="/") == "/.//evil/x"
        assert site.says1("Location: http://bk.dom.com/\\evil/x", target="/") == "/./\\evil/x"

    def test_onlyWhatMatched(self):
        """An exchange that was not passed keeps what its server says."""
        lines = ["Location: http://bk.dom.com/x", "Set-Cookie: a=b; Path=/; Domain=bk.dom.com"]
        assert MIRROR.says(*lines, target="/other") == lines

    def test_whatIsLeft(self):
        exchange, _ = MIRROR.asked("/mirror/foo/x")
        [left] = exchange.rewrites
        verifyObject(IResponseRule, left)
        assert exchange.clientHost == b"dom.com"

    def test_hostOfTheClient(self):
        """It is what the client has said, though a rule has set another before."""
        site = Site("set-host in.dom.com\nproxy-pass /a/ http://bk.dom.com/ absolute=yes")
        assert site.says1("Location: /x", target="/a/") == "http://dom.com/a/x"

    def test_bounded(self):
        """No server has us write many times what it has sent."""
        site = Site("proxy-pass /mirror/foo/ http://bk.dom.com/ absolute=yes")
        long = "h" * 250
        [found] = site.says("Link: " + "</>" * 20000, host=long)
        assert found.count(long) == 1000
        assert found.endswith("</></>")
        [found] = site.says("Set-Cookie: a=b" + ";path=/" * 9000, host=long)
        assert found.count("/mirror/foo/") == 1000
        assert site.says1("Location: /x", host="h" * 300) == "/mirror/foo/x"

    def test_quick(self):
        """What is as bad as can be is read once."""
        for line in ('Link: "' + '\\"' * 30000, "Link: " + "<" * 60000, "Refresh: " + "5" * 60000,
                     "Refresh: 5" + " " * 60000 + "x", "Location: " + "a" * 60000):  # fmt: skip
            assert MIRROR.says(line) == [line]


class TestCookies:
    """C{proxy-pass}, cookies: row 003.5."""

    @pytest.mark.parametrize(
        ("said", "got"),
        [
            ("a=b; Domain=bk.dom.com; Path=/", "a=b; Domain=dom.com; Path=/mirror/foo/"),
            ("a=b; dOMAIN=BK.dom.com; PATH=/x", "a=b; dOMAIN=dom.com; PATH=/mirror/foo/x"),
            ("a=b;domain = bk.dom.com;path = /", "a=b;domain =dom.com;path =/mirror/foo/"),
            ("a=b; Domain=.bk.dom.com", "a=b; Domain=.dom.com"),
            ("a=b; Path=/; Secure; HttpOnly", "a=b; Path=/mirror/foo/; Secure; HttpOnly"),
        ],
    )
    def test_attributes(self, said, got):
        """Row 003.5: domain and path, in any case, with a dot before the domain."""
        assert MIRROR.says1(f"Set-Cookie: {said}") == got

    @pytest.mark.parametrize(
        "said",
        ["a=b", "a=b; Secure", "Path=/; Expires=Wed, 01 Jan 2031 00:00:00 GMT", "a=b; Path=",
         "a=b; Path", "a=b; Path=x", "a=b; Domain=", "a=b; Domain=dom.com", "a=b; Domain=other",
         "a=b; Domain=x.bk.dom.com", "", ";", "a=Domain=bk.dom.com", 'a=b; Path="/"',
         "__Host-a=b; Secure; Path=/"],
    )  # fmt: skip
    def test_unchanged(self, said):
        """Row 003.5: no attribute, nothing changes; nor does what is not the server's."""
        assert MIRROR.says(f"Set-Cookie:  {said} ") == [f"Set-Cookie:  {said} "]

    def test_several(self):
        """Row 003.5: several fields, each for itself and where it stands."""
        assert MIRROR.says(
            "Set-Cookie: a=b; Path=/", "X: y", "set-cookie: c=d",
            "Set-Cookie: e=f; Domain=bk.dom.com",
        ) == [
            "Set-Cookie: a=b; Path=/mirror/foo/", "X: y", "set-cookie: c=d",
            "Set-Cookie: e=f; Domain=dom.com",
        ]  # fmt: skip

    @pytest.mark.parametrize("site", [DEEP, BARE])
    def test_belowThePathOfTheURL(self, site):
        """A cookie's path has no slash at its end mostly (RFC 6265 section 5.1.4)."""
        for said, got in (("/app", "/mirror/foo"), ("/app/", "/mirror/foo/"),
                          ("/app/x", "/mirror/foo/x"), ("/", "/"), ("/appx", "/appx")):  # fmt: skip
            assert site.says1(f"Set-Cookie: a=b; Path={said}") == f"a=b; Path={got}"

    def test_below(self):
        """Where the client's path is C{/}."""
        assert ROOT.says1("Set-Cookie: a=b; Path=/app", target="/") == "a=b; Path=/"
        assert ROOT.says1("Set-Cookie: a=b; Path=/app/x", target="/") == "a=b; Path=/x"

    @pytest.mark.parametrize("host", ["a;b", "[2001:db8::1]", "a%20b", ""])
    def test_noDomain(self, host):
        """What no cookie can have as its domain is not put in: it is a cookie of the host."""
        version = "1.1" if host else "1.0"
        line = "Set-Cookie: a=b; Domain=bk.dom.com; Secure"
        assert MIRROR.says1(line, host=host, version=version) == "a=b; Secure"

    def test_domain(self):
        site = Site("proxy-pass /mirror/foo/ http://bk.dom.com/ cookie-domain=Dom.Com")
        line = "Set-Cookie: a=b; Domain=bk.dom.com"
        assert site.says1(line, host="www.dom.com:81") == "a=b; Domain=dom.com"
        assert MIRROR.says1(line, host="www.dom.com:81") == "a=b; Domain=www.dom.com"


class TestLocation:
    """C{location FROM TO}: row 003.19."""

    OFFLOAD = Site(response="location http://*:80 https://*:443 if tls")

    @pytest.mark.parametrize(
        ("said", "got"),
        [
            ("http://www.domain.com:80/url", "https://www.domain.com:443/url"),
            ("http://www.domain.com/url", "https://www.domain.com/url"),
            ("HTTP://WWW.domain.com", "https://WWW.domain.com"),
            ("http://[::1]:80?q", "https://[::1]:443?q"),
            ("http://www.domain.com:8080/url", "http://www.domain.com:8080/url"),
            ("https://www.domain.com/url", "https://www.domain.com/url"),
            ("/url", "/url"),
            ("//www.domain.com/url", "//www.domain.com/url"),
            ("http://a@www.domain.com/", "http://a@www.domain.com/"),
        ],
    )
    def test_offload(self, said, got):
        """Row 003.19: on TLS only, with the port and without."""
        line = f"Location: {said}"
        assert self.OFFLOAD.says1(line, secure=True) == got
        assert self.OFFLOAD.says(line) == [line]

    def test_bothListeners(self):
        """Row 003.18: C{X-Forwarded-Proto} says the scheme, and what comes back is in it."""
        site = Site("set-header X-Forwarded-Proto {scheme}", "location http://* https://* if tls")
        for secure, scheme in ((True, "https"), (False, "http")):
            exchange, _ = site.asked("/", secure=secure)
            assert exchange.request.fields.get(b"x-forwarded-proto") == scheme.encode()
            assert site.answered(exchange, "Location: http://dom.com/x") == [
                f"Location: {scheme}://dom.com/x"
            ]

    @pytest.mark.parametrize(
        ("rule", "said", "got"),
        [
            ("http://*:8080 https://*", "http://h:8080/x", "https://h/x"),
            ("http://*:* https://*:8443", "http://h/x", "https://h:8443/x"),
            ("http://*:* https://*:*", "http://h:8080", "https://h:8080"),
            ("http://*:* http://*", "http://h:8080/", "http://h/"),
            ("http://*.in https://*.example.com", "http://a.b.IN/x", "https://a.b.example.com/x"),
            ("http://*.in https://*.example.com", "http://.in/x", "http://.in/x"),
            ("http://*.in https://*.example.com", "http://in/x", "http://in/x"),
            ("http://*.in https://*.example.com", "http://a.out/x", "http://a.out/x"),
            ("http://a* https://b*", "http://b/x", "http://b/x"),
            ("http://a.in:81 https://www.example.com", "http://A.in:81/", "https://www.example.com/"),
            ("http://a.in:81/ https://www.example.com", "http://a.in/", "http://a.in/"),
        ],
    )
    def test_forms(self, rule, said, got):
        assert Site(response=f"location {rule}").says1(f"Location: {said}") == got

    def test_none(self):
        assert self.OFFLOAD.says("X:y", secure=True) == ["X:y"]


class TestLocationAuto:
    """C{location auto}."""

    @pytest.mark.parametrize(
        ("said", "got"),
        [
            ("http://www.example.com:8443/x", "https://www.example.com:8443/x"),
            ("http://www.example.com:8001/x", "https://www.example.com:8443/x"),
            ("http://192.0.2.7:8001", "https://www.example.com:8443"),
            ("//WWW.example.com:8443/x", "//www.example.com:8443/x"),
            ("https://www.example.com/x", "https://www.example.com/x"),
            ("http://www.example.com:81/x", "http://www.example.com:81/x"),
            ("http://other:8443/x", "http://other:8443/x"),
            ("/x", "/x"),
        ],
    )
    def test_offloaded(self, said, got):
        site = Site(response="location auto")
        found = site.says1(f"Location: {said}", host="www.example.com:8443", secure=True)
        assert found == got

    def test_defaultPorts(self):
        site = Site(response="location auto")
        for said in ("http://dom.com/x", "http://dom.com:80/x"):
            assert site.says1(f"Location: {said}", secure=True) == "https://dom.com/x"
        line = "Location: https://dom.com/x"
        assert site.says(line) == [line], "a redirect to another scheme stays one"

    def test_tlsToTheServer(self):
        site = Site(response="location auto")
        site.server.tls = object()
        assert site.says1("Location: https://dom.com/x") == "http://dom.com/x"
        assert site.says1("Location: http://dom.com/x", secure=True) == "http://dom.com/x"

    def test_anotherHost(self):
        """The server knows itself by what a rule has set."""
        site = Site("set-host first.in\nset-host bk.in:8001", "location auto")
        assert site.says1("Location: http://bk.in:8001/x", host="dom.com:81") == (
            "http://dom.com:81/x"
        )

    def test_withoutHost(self):
        site = Site(response="location auto")
        old = {"host": "", "version": "1.0"}
        assert site.says1("Location: http://192.0.2.7:8001//x", **old) == "/.//x"
        assert site.says1("Location: http://192.0.2.7:8001", **old) == "/"

    def test_serversOfAllKinds(self):
        site = Site(response="location auto")
        site.server.endpoint = Endpoint(10, ("2001:db8::7", 8001, 0, 0))
        assert site.says1("Location: http://[2001:db8::7]:8001/") == "http://dom.com/"
        for endpoint in (Endpoint(1, "/run/app"), None):
            site.server.endpoint = endpoint
            assert site.says1("Location: http://dom.com:80/") == "http://dom.com/"


class TestCookieFlags:
    """C{cookie-flags}: row 003.16."""

    SITE = Site(response="cookie-flags appsession* HttpOnly")

    @pytest.mark.parametrize(
        ("said", "got"),
        [
            ("appsession=1", "appsession=1; HttpOnly"),
            ("AppSessionId=1; path=/;", "AppSessionId=1; path=/; HttpOnly"),
            ("appsession=1; HttpOnly", "appsession=1; HttpOnly"),
            ("appsession=1; httponly ; Secure", "appsession=1; httponly ; Secure"),
            ("appsession=HttpOnly", "appsession=HttpOnly; HttpOnly"),
            ("other=1", "other=1"),
            ("xappsession=1", "xappsession=1"),
            ("other=appsession", "other=appsession"),
        ],
    )
    def test_once(self, said, got):
        """Row 003.16: once, not twice when present; others untouched; in any case."""
        assert self.SITE.says1(f"Set-Cookie: {said}") == got

    def test_several(self):
        """Row 003.16: of several cookies those that are meant."""
        lines = ["Set-Cookie: a=1", "SET-COOKIE: APPSESSION=2", "X: y", "Set-Cookie: appsession3=4"]
        assert self.SITE.says(*lines) == [
            "Set-Cookie: a=1", "SET-COOKIE: APPSESSION=2; HttpOnly", "X: y",
            "Set-Cookie: appsession3=4; HttpOnly",
        ]  # fmt: skip

    def test_allFlags(self):
        site = Site(response="cookie-flags * httponly SECURE samesite=lax")
        assert site.says1("Set-Cookie: a=1") == "a=1; HttpOnly; Secure; SameSite=Lax"
        assert site.says1("Set-Cookie: 1; samesite=none; secure") == (
            "1; samesite=none; secure; HttpOnly"
        )

    def test_untouched(self):
        for line in ("Set-Cookie:  other=1 ", "X: appsession=1"):
            assert self.SITE.says(line) == [line]

    def test_patterns(self):
        assert Site(response="cookie-flags a?[xy] Secure").says(
            "Set-Cookie: aby=1", "Set-Cookie: abz=1"
        ) == ["Set-Cookie: aby=1; Secure", "Set-Cookie: abz=1"]

    def test_quick(self):
        site = Site(response="cookie-flags *a*a*a*a*a*a*b Secure")
        line = "Set-Cookie: " + "a" * 20000 + "=1"
        assert site.says(line) == [line]


class TestDelCookie:
    """C{del-cookie}."""

    @pytest.mark.parametrize(
        ("lines", "kept"),
        [
            (["Cookie: a=1; SRVID=s; b=2"], [b"a=1; b=2"]),
            (["Cookie: SRVID=s"], []),
            (["Cookie: SRVID=s; SRVID=t", "cookie: b=2", "Cookie: SRVID=u"], [b"b=2"]),
        ],
    )
    def test_gone(self, lines, kept):
        exchange, _ = Site("del-cookie SRVID").asked("/", "dom.com", *lines)
        assert exchange.request.fields.getAll(b"cookie") == kept
        assert exchange.request.fields.get(b"host") == b"dom.com"

    def test_notThere(self):
        site = Site("del-cookie SRVID")
        for lines in ([], ["cookie:  srvid=s;XSRVID=1 ;SRVID"]):
            exchange, _ = site.asked("/", "dom.com", *lines)
            block = "".join(f"{line}\r\n" for line in ["Host: dom.com", *lines])
            assert exchange.request.fields.block == b"\n" + block.encode()


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("proxy-pass", "needs PATH"),
            ("proxy-pass /a", "needs URL"),
            ("proxy-pass a http://b", "'a' is not a path: it begins with / and has no ? and no #"),
            ("proxy-pass /a?b http://b", "'/a?b' is not a path"),
            ("proxy-pass /ä http://b", "is not a path"),
            ("proxy-pass /%66oo/ http://b", "compared in their normal form: '/foo/'"),
            ("proxy-pass //a http://b", "compared in their normal form: '/a'"),
            ("proxy-pass /a ftp://b", "'ftp://b' is not as http://HOST or https://HOST:PORT are"),
            ("proxy-pass /a /b", "'/b' is not as http://HOST"),
            ("proxy-pass /a http://", "'' is neither a host name nor an address"),
            ("proxy-pass /a http://u@b/", "is not as http://HOST"),
            ("proxy-pass /a http://b?q", "is not as http://HOST"),
            ("proxy-pass /a http://b/?q", "'/?q' is not a path"),
            ("proxy-pass /a http://b:70000/", "70000 is not a port"),
            ("proxy-pass /a http://[b]/", "'[b]' is not a host name"),
            ("proxy-pass /a http://[fe80::1%e]/", "'[fe80::1%e]' is not a host name"),
            ("proxy-pass /a http://*/", "a * has no meaning in 'http://*/'"),
            ("proxy-pass /a http://b:*/", "a * has no meaning"),
            ("proxy-pass /a/ http://b/c", "PATH and URL end with a / both"),
            ("proxy-pass /a http://b/c/", "PATH and URL end with a / both"),
            ("proxy-pass /a http://b absolute=maybe", "neither yes nor no"),
            ("location", "needs auto|ORIGIN"),
            ("location http://*", "needs what it becomes: location http://*:80 https://*:443"),
            ("location auto http://a", "auto needs nothing more"),
            ("location aut http://a", "'aut' is not as http://HOST"),
            ("location http://a/b http://c", "'http://a/b' has a path"),
            ("location http://*.*.a http://b", "more than one * in the host"),
            ("location http://a http://*", "the host has a *, and the one"),
            ("location http://a http://b:*", "the port is a *, and the one"),
            ("cookie-flags a", "needs a flag: HttpOnly, Secure, SameSite=Strict|Lax|None"),
            ("cookie-flags a HttpOnl", "unknown word 'HttpOnl', did you mean 'httponly'?"),
            ("cookie-flags a SameSite=No", "unknown 'No'"),
            ("cookie-flags a SameSite=None", "browsers refuse SameSite=None without Secure"),
            ("cookie-flags ä Secure", "'ä' is not a pattern"),
            ("del-cookie a;b", "'a;b' is not the name of a cookie"),
            ("del-cookie a if status == 200", "status"),
        ],
    )
    def test_told(self, line, said):
        with pytest.raises(ConfigError) as caught:
            if line.startswith(("proxy-pass", "del-cookie")):
                Site(line)
            else:
                Site("", line)
        assert said in str(caught.value)


# whatever a server sends

PIECES = st.sampled_from([
    "http:", "https:", "//", "/", "bk.dom.com", "BK.DOM.COM", ":80", ":", "@", "evil", "?", "#",
    "\\", "..", "%2f", ";", "=", ",", "<", ">", '"', "'", " ", "\t", "5", "url=", "Path=",
    "; Path=/", "; Domain=bk.dom.com", "domain=.bk.dom.com", "appsession", "HttpOnly", "x", "é",
    "\x80", "__Host-a=b",
])  # fmt: skip
VALUES = st.lists(PIECES, max_size=12).map("".join)
MEANT = ["Location", "content-location", "URI", "Refresh", "LINK", "Set-Cookie"]
OTHERS = ["X", "Locations", "X-Location", "Set-Cookie2", "Links", "Content-Type"]
LINES = st.lists(st.tuples(st.sampled_from(MEANT + OTHERS), VALUES), max_size=8)
ALL = Site(
    "proxy-pass / http://bk.dom.com/app/ absolute=yes if header[\"absolute\"]\n"
    "proxy-pass / http://bk.dom.com/app/",
    "location auto\nlocation http://*:* https://*:*\ncookie-flags * HttpOnly Secure",
)


class TestAnything:
    @given(LINES, st.booleans())
    def test_wellFormed(self, lines, absolute):
        """
        Whatever a server sends: the block stays one, with as many fields, of the same
        names, and values of fields that are not meant stay as they are.
        """
        fields = ["Absolute: yes"] if absolute else []
        exchange, _ = ALL.asked("/x", "dom.com", *fields)
        sent = [f"{name}: {value}" for name, value in lines]
        got = ALL.answered(exchange, *sent)
        for line in got:
            assert isFieldLine(line.encode())
        assert [line.partition(":")[0] for line in got] == [name for name, _ in lines]
        for (name, value), line in zip(lines, got, strict=True):
            if name in OTHERS:
                assert line.partition(":")[2].strip(" \t") == value.strip(" \t")
        assert response(b"HTTP/1.1 200 OK", *[line.encode() for line in got]) is not None

    @given(LINES)
    def test_byteForByte(self, lines):
        """What nothing is meant by is not touched, to the last space."""
        sent = [f"{name}:{value}" for name, value in lines]
        assert MIRROR.says(*sent, target="/other") == sent
        others = [line for line in sent if line.partition(":")[0] in OTHERS]
        assert ALL.says(*others, target="/") == others

    @given(VALUES)
    def test_neverElsewhere(self, value):
        """What was a path of the server never becomes another host."""
        [found] = MIRROR.says(f"Location:{value}")
        if found != f"Location:{value}":
            assert re.match(r"Location: /mirror/foo/", found)

    @given(st.lists(st.sampled_from(
        ["mirror", "foo", "/", "//", ".", "..", "%2e", "%66oo", "%2f", "x", "\\", ";", "?"]
    ), max_size=14).map("".join))  # fmt: skip
    @example("foo/;..")
    def test_neverOut(self, target):
        """Whatever a client asks for: what is passed is below the path of the URL."""
        exchange, decision = DEEP.asked("/mirror/" + target)
        passed = exchange.rewrites is not None
        assert passed == (exchange.request.host == b"bk.dom.com:8080")
        if passed:
            path = exchange.request.target.partition(b"?")[0]
            assert path.startswith(b"/app/")
            pieces = re.split(r"[/\\;]|%2f", path.decode().replace("%2e", "."))
            assert ".." not in pieces
            assert decision is None


