"""
C{lbtwist explain}: what it says of a request, word for word.

C{explained/} has configurations with the command lines to try on them, and what comes of
each; C{REGENERATE=1} writes the latter anew.
"""

import ast
import contextlib
import io
import os
import re
import shlex
from pathlib import Path

import attr
import pytest
from authority import Authority
from twisted.internet.defer import Deferred

from lbtwist.build import build
from lbtwist.command import main
from lbtwist.config.load import loadText
from lbtwist.explaining import asking, assumeUp, explain
from lbtwist.explaining.words import WIDTH, printable
from lbtwist.interfaces import IBalancer, IRequestRule
from lbtwist.options import Text, option
from lbtwist.registry import Extension, installed
from lbtwist.rules.compiling import compiled
from lbtwist.rules.expression import Expression, Scope
from lbtwist.rules.rulebook import ASKED
from lbtwist.rules.tracing import Traced
from lbtwist.rules.values import Stage
from lbtwist.testing import Pump, fakeExchange

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
    assert "is not foreseen" in said.action.text
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


@pytest.mark.parametrize(
    "text",
    [
        'path.startswith("/a") and not (src in net("10.0.0.0/8") or src == "127.0.0.1")',
        'header["x"] == "a" and "y" in headers and len(headers["z"]) > 1',
        'match("^/(a+)(b)?", path)[1] or (path[:2] if tls else host)',
        'rate(src + path, "10s") > 3 and connections(src) <= 1 + 2 * number(query["n"])',
        'host.removesuffix(".").lower() in ("a", "b") or now - 3 > 1',
    ],
)
def test_whatIsTracedIsWhatIsAsked(text):
    """But for what writes the values down."""

    def code(typed):
        return re.sub(r"OBJECT_\d+", "OBJECT", ast.unparse(typed.code))

    expression = Expression.parse(text)
    traced = Traced(expression, Scope(Stage.REQUEST))
    assert code(traced.condition) == code(expression.check(Scope(Stage.REQUEST)))
    holds, part = traced(fakeExchange("/aab"))
    assert holds is bool(compiled(traced.condition)(fakeExchange("/aab")))
    assert (part.text, part.asked) == (text, True)
