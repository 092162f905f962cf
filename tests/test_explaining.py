"""
C{lbtwist explain}: what it says of a request, word for word, and that it is what a balancer
then does.

C{explained/} has configurations with the command lines to try on them, and what comes of
each; C{REGENERATE=1} writes the latter anew.
"""

import contextlib
import io
import json
import os
import re
import shlex
from pathlib import Path

import attr
import pytest
from authority import Authority
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from lbtwist.build import build
from lbtwist.command import main
from lbtwist.config.load import loadText
from lbtwist.explaining import asking, assumeUp, explain
from lbtwist.explaining.words import WIDTH, asText, printable
from lbtwist.interfaces import IBalancer, IRequestRule
from lbtwist.options import Text, option
from lbtwist.registry import Extension, installed
from lbtwist.rules.rulebook import ASKED
from lbtwist.testing import Balancer, Pump

HERE = Path(__file__).resolve().parent / "explained"
CONFIGURATIONS = sorted(path.stem for path in HERE.glob("*.ini"))


def commands(name):
    lines = (HERE / f"{name}.ini").read_text().splitlines()
    return [line.removeprefix("#$ ") for line in lines if line.startswith("#$ ")]


def run(arguments):
    """@return: what C{lbtwist} prints, and its exit code where it is not 0."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    said = out.getvalue() + err.getvalue()
    return said + (f"exit code {code}\n" if code else "")


# word for word


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_isSaidWordForWord(name, monkeypatch):
    monkeypatch.chdir(HERE)
    said = "\n".join(
        f"$ lbtwist explain -c {name}.ini {line}\n"
        + run(["explain", "-c", f"{name}.ini", *shlex.split(line)])
        for line in commands(name)
    )
    said = said.replace(f"{HERE}/", "")
    expected = HERE / f"{name}.expected"
    if os.environ.get("REGENERATE"):
        expected.write_text(said)
    assert said == expected.read_text()


def test_everyVerbIsExplained():
    text = (HERE / "verbs.ini").read_text()
    for stage, (interface, _) in ASKED.items():
        lines = re.search(rf"^{stage.value} =\n((?:    .*\n)+)", text, re.MULTILINE)[1]
        written = {line.split()[0] for line in lines.splitlines()}
        assert written >= set(installed().names(interface))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_linesAreNotTooLong(name):
    """But for messages of errors, and what is for programs."""
    for line in (HERE / f"{name}.expected").read_text().splitlines():
        ours = re.match("[ a-z]", line) and not line.startswith(("no frontend", ' "', "  "))
        assert len(line) <= WIDTH or not ours or "exit code" in line, line


# one thing after the other

WEB = """
[frontend www]
bind = :80
pool = app
%s
[pool app]
%s
server a = 127.0.0.1:8001
server b = 127.0.0.1:8002
"""


def built(text, *own):
    registry = installed(*own)
    config, _ = loadText(text, registry)
    balancer = build(config, registry, Pump())
    assumeUp(balancer)
    return balancer


def explained(text, request="GET http://h.example/", **given):
    return explain(built(text), asking(request, **given))


class Waits:
    """A verb of a third party: it may wait, as long as nothing is said of it."""

    @attr.frozen
    class Options:
        key: str = option(Text(), "", positional=True)

    asked = 0

    def __init__(self, options, context):
        pass

    def requestReceived(self, exchange):
        Waits.asked += 1
        return Deferred()


class Fails(Waits):
    def requestReceived(self, exchange):
        raise ZeroDivisionError


class Plain(Waits):
    """It says that it does not wait, and does."""


def parts(*classes):
    return [
        Extension(IRequestRule, one.__name__.lower(), f"{__name__}.{one.__name__}", one is Waits)
        for one in classes
    ]


def test_aVerbThatMightWaitIsNotAsked():
    Waits.asked = 0
    balancer = built(WEB % ("request =\n    waits x deadline=2s on-error=allow", ""), *parts(Waits))
    said = explain(balancer, asking("GET http://h/"))
    [rule] = said.of("rule")
    assert (rule["came"], Waits.asked) == ("not asked", 0)
    assert rule["given"] == {"key": "x", "deadline": 2.0, "on-error": "allow"}
    assert (said.action.what, said.action.unless) == ("sent", (rule["where"],))


def test_aVerbThatWaitsAfterAll():
    """The rules after it are asked."""
    rules = "request =\n    plain\n    deny 404"
    balancer = built(WEB % (rules, ""), *parts(Plain))
    said = explain(balancer, asking("GET http://h/"))
    assert [rule["came"] for rule in said.of("rule")] == ["waits", "decided"]
    assert (said.action.status, len(said.action.unless)) == (404, 1)


def test_aVerbThatFails():
    """It is taken for a refusal, as ever."""
    balancer = built(WEB % ("request =\n    fails", ""), *parts(Fails))
    said = explain(balancer, asking("GET http://h/"))
    assert (said.action.what, said.action.status) == ("answered", 403)


def test_aBalancerThatDoesNotForesee():
    class Own:
        Options = attr.make_class("Options", {})

        def __init__(self, options, context):
            pass

        def choose(self, servers, exchange):
            raise AssertionError("it may not be moved")

    globals()["Own"] = Own
    balancer = built(WEB % ("", "balance = own"), Extension(IBalancer, "own", f"{__name__}.Own"))
    said = explain(balancer, asking("GET http://h/"))
    assert (said.action.what, said.action.pool, said.action.server) == ("sent", "app", "")
    assert "does not foresee" in said.action.text
    assert not any(server["chosen"] for server in said.of("server"))
    # Of one server there is no choice.
    balancer.pool("app").find("a").health.up = False
    balancer.pool("app").serversChanged()
    assert explain(balancer, asking("GET http://h/")).action.server == "b"


@pytest.mark.parametrize(
    ("balance", "scores"),
    [
        ("roundrobin", [0.25, 0.75]), ("leastconn", [1.0, 1.0]), ("first", [1.0, 2.0]),
        ("random", [1.0, 1.0]), ("peak-ewma", [0.0, 0.0]),
    ],
)  # fmt: skip
def test_everyServerHasItsScore(balance, scores):
    said = explained(WEB % ("", f"balance = {balance}"))
    assert [server["score"] for server in said.of("server")] == scores


def test_whyAServerIsOut():
    balancer = built(WEB % ("", "server c = 127.0.0.1:3 backup\nserver d = 127.0.0.1:4 maxconn=1"
                                "\nserver e = 127.0.0.1:5\nserver f = 127.0.0.1:6"))  # fmt: skip
    pool = balancer.pool("app")
    pool.find("a").health.up = False
    pool.find("b").health.admin = "maint"
    pool.find("d").active = 1
    pool.find("f").endpoint = None
    pool.serversChanged()
    said = explain(balancer, asking("GET http://h/"))
    assert {server["name"]: server["out"] for server in said.of("server")} == {
        "a": "it is down", "b": "it is in maint", "c": "it is a backup, and d is usable",
        "d": "it is at its limit of 1", "e": "", "f": "its name is not resolved",
    }  # fmt: skip
    assert said.action.server == "e"


def test_theQueue():
    balancer = built(WEB % ("", ""))
    for server in balancer.pool("app").servers:
        server.maxconn = server.active = 1
    balancer.pool("app").serversChanged()
    assert explain(balancer, asking("GET http://h/")).action.what == "queued"


def test_theCertificateThatIsShown(tmp_path):
    authority = Authority()
    for name in ("one.example", "two.example"):
        issued = authority.issue(name)
        issued.write(tmp_path / f"{name}.pem")
    text = f"""
[frontend www]
bind = :443 tls=site
pool = app
[pool app]
server a = 127.0.0.1:8001
[tls site]
certificate = {tmp_path}
strict-sni = yes
keylog = {tmp_path}/keys
"""
    said = explained(text, "GET https://two.example/")
    [tls] = said.of("tls")
    assert tls["certificate"]["names"] == ["two.example"]
    assert tls["minimum"] == "TLSv1.2"
    refused = explained(text, "GET https://three.example/")
    assert refused.action.what == "closed"
    assert "no certificate for 'three.example'" in refused.action.text
    # Read, and not written.
    assert not (tmp_path / "keys").exists()


# what is asked


@pytest.mark.parametrize(
    ("request_", "given", "wrong"),
    [
        ("GET", {}, "is no request"),
        ("GET h.example", {}, "is no address"),
        ("GET ftp://h.example/", {}, "is no address"),
        ("GET http:///x", {}, "is no address"),
        ("GET http://h:99999/", {}, "no port"),
        ("GET http://h:x/", {}, "is no host"),
        ("GET http://[::1/", {}, "is no host"),
        ("GET http://h/#top", {}, "a fragment"),
        ("GET http://u@h:1:2/", {}, "is no host"),
        ("TCP h.example", {}, "HOST:PORT"),
        ("TCP h:0", {}, "no port"),
        ("GET http://h/", {"src": "h.example"}, "is not an address"),
        ("GET http://h/", {"src": "10.0.0.1:x"}, "is not an address"),
        ("GET http://h/", {"proxied": "1.2.3.4 ::1"}, "both addresses"),
        ("GET http://h/", {"proxied": "1.2.3.4 1.2.3.4 1.2.3.4"}, "SOURCE DESTINATION"),
        ("GET http://h/", {"fields": [("X", "a\r\nY: b")]}, "the end of a line"),
    ],
)
def test_makesNoSense(request_, given, wrong):
    with pytest.raises(ValueError, match=wrong):
        asking(request_, **given)


@pytest.mark.parametrize(
    ("request_", "target", "port", "sni", "head"),
    [
        ("GET http://h", "/", 80, None, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("GET https://H.:8443?a", "/?a", 8443, "h", b"GET /?a HTTP/1.1\r\nHost: H.:8443\r\n\r\n"),
        ("GET https://[::1]/x", "/x", 443, "", b"GET /x HTTP/1.1\r\nHost: [::1]\r\n\r\n"),
        ("CONNECT h:1", "h:1", 1, None, b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"),
    ],
)
def test_whatIsAsked(request_, target, port, sni, head):
    asked = asking(request_)
    assert (asked.target, asked.port, asked.sni, asked.encode()) == (target, port, sni, head)


def test_aHostOfItsOwn():
    asked = asking("GET http://h/", fields=[("hOst", "other")])
    assert asked.encode() == b"GET / HTTP/1.1\r\nhOst: other\r\n\r\n"


def test_nothingThatATerminalWouldObey():
    assert printable("a\x1b[2J\u202eb\xa0") == "a\\x1b[2J\\u202eb\\xa0"


# what it does then

RICH = """
[conditions]
inside = src in net("10.0.0.0/8")

[frontend www]
bind = ${bind} accept-proxy
mode = http
pool = app
log = off
forwarded = both
via = lb
max-body = 100
connection =
    reject              if src in net("198.51.100.0/24")
    set-var seen        "str(src)"
request =
    deny 404            if path.startswith("/deny") and not inside
    close               if path == "/close"
    silent-drop         if query["drop"] == "1"
    limit rate=2/10s by={path}      if path.startswith("/limit")
    deny 403            if rate(path, "10s") > 2
    redirect https      if header["x-up"] and not tls
    answer 200 "{path}" if method == "OPTIONS"
    set-header X-Seen   "{var[\\"seen\\"]}{uri}"
    set-path /new{path} if path.startswith("/old")
    proxy-pass /mirror/ http://backend.example/in/
    server b            if cookie["server"] == "b"
    pool hashed         if path.normal.startswith("/hash")
    pool turns          if host == "turns.example"
    pool none           if path == "/none"
response =
    set-header X-Done yes

[pool app]
http-reuse = never
balance = leastconn
request =
    deny 400            if "x-bad" in header
    pool hashed         if header["x-pool"] == "hashed"
server a = ${a}
server b = ${b} weight=2

[pool hashed]
http-reuse = never
balance = hash X-User
server c = ${c}
server d = ${d}

[pool turns]
http-reuse = never
balance = roundrobin
server e = ${e}
server f = ${f} weight=3

[pool none]
server g = ${a} weight=0
"""
SERVERS = "abcdef"
PORT = 40000

paths = st.sampled_from(
    ["/", "/deny/x", "/close", "/limit", "/old/a%2Fb", "/mirror/x", "/hash", "//hash", "/none",
     "/mirror/%2e%2e/x"]
)  # fmt: skip
queries = st.sampled_from(["", "?drop=1", "?a=b&a=c", "?", "?%ff"])
hosts = st.sampled_from(["h.example", "turns.example", "Turns.Example.:80", "[::1]"])
fields = st.lists(
    st.sampled_from(
        [("X-Up", "1"), ("X-Bad", ""), ("X-Pool", "hashed"), ("X-User", "alice"), ("x-user", "bob"),
         ("Cookie", "server=b"), ("X-Forwarded-For", "1.2.3.4"), ("X-Seen", "forged"),
         ("Connection", "X-User"), ("Accept", "a\\xff"), ("Content-Length", "0"),
         ("Content-Length", "101")]
    ),
    max_size=4, unique_by=lambda field: field[0].lower(),
)  # fmt: skip
sources = st.sampled_from(["203.0.113.9", "10.1.2.3", "198.51.100.1", "2001:db8::1"])
methods = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "x", "DELETE"])
requests = st.tuples(methods, hosts, paths, queries, fields, sources)


def asRequest(method, host, path, query, headers, source):
    destination = "[2001:db8::80]:80" if ":" in source else "192.0.2.80:80"
    src = f"[{source}]:1234" if ":" in source else f"{source}:1234"
    return asking(
        f"{method} http://{host}{path}{query}", fields=headers, proxied=f"{src} {destination}"
    )


def proxyLine(header):
    (host, port), (here, herePort) = header.source, header.destination
    family = "TCP6" if ":" in host else "TCP4"
    return f"PROXY {family} {host} {here} {port} {herePort}\r\n".encode()


def happens(balancer, asked):
    """@return: what becomes of a request, and what the server got of it."""
    client = balancer.client(port=PORT)
    client.sends(proxyLine(asked.proxied) + asked.encode())
    for name in SERVERS:
        with contextlib.suppress(AssertionError):
            server = balancer.server(name).accepts()
            got = server.receives(rb"(.*?)\r\n(.*)\r\n\r\n.*")
            server.sends(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            client.receives(rb"HTTP/1.1 204 .*X-Done: yes.*")
            client.closes()
            return "sent", name, 0, got
    for what, look in (("reset", client.isReset), ("closed", client.isEnded)):
        with contextlib.suppress(AssertionError):
            look()
            return what, "", 0, None
    got = client.receives(rb"HTTP/1.1 ([0-9]{3}) .*")
    client.closes()
    return "answered", "", int(got[1]), None


def departs(said):
    """@return: the head of the request as it was said to leave."""
    [step] = said.of("departure")
    line = f"{step['method']['after']} {step['target']['after']} HTTP/1.1"
    kept = [one for one in step["fields"] if one["change"] != "-"]
    return line.encode(), "\r\n".join(f"{one['name']}: {one['value']}" for one in kept).encode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests, min_size=1, max_size=8), st.sets(st.sampled_from(SERVERS), max_size=2))
def test_whatItSaysIsWhatItDoes(asked, down):
    with Balancer(RICH, *SERVERS) as balancer:
        running = balancer.running
        for pool in running.pools.values():
            for server in pool.servers:
                server.health.up = server.name not in down
            pool.serversChanged()
        for one in (asRequest(*request) for request in asked):
            said = explain(running, one, "www")
            assert attr.asdict(explain(running, one, "www")) == attr.asdict(said)
            json.loads(said.asJSON())
            assert asText(said)
            what, server, status, got = happens(balancer, one)
            action = said.action
            # In memory there is nobody who could be kept from hearing of it.
            assert {"dropped": "reset"}.get(action.what, action.what) == what
            assert action.server == server
            if what == "answered":
                assert action.status == status
            if got is not None:
                assert (got[1], got[2]) == departs(said)


tokens = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=20)
visible = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\0"), max_size=40
)


@settings(max_examples=200)
@given(
    tokens, hosts, st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60),
    st.lists(st.tuples(tokens, visible), max_size=6), sources,
)  # fmt: skip
def test_whateverIsAsked(method, host, path, headers, source):
    balancer = test_whateverIsAsked.balancer
    try:
        asked = asking(f"{method} http://{host}/{path}", source, fields=headers)
    except ValueError:
        return
    said = explain(balancer, asked, "www")
    assert said.action.what
    assert asText(said).isprintable() or "\n" in asText(said)
    assert json.loads(said.asJSON())["action"]["text"] == said.action.text


test_whateverIsAsked.balancer = built(
    RICH.replace("${bind} accept-proxy", ":80").replace("${", "unix:/none/").replace("}\n", "\n")
)
