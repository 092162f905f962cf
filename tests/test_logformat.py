"""HAProxy's log-format: what each alias says, flags, names, expressions, and what is wrong."""

import ast
import json
import os
import re
import socket
from types import SimpleNamespace

import attr
import pytest
from heads import request, response
from hypothesis import example, given
from hypothesis import strategies as st
from test_accesslog import NOWHERE, SESSION, STARTED, UNREAD, WALL, ended, paris  # noqa: F401

from lbtwist.exchange import TLSInfo
from lbtwist.logalias import ALIASES, NAMES
from lbtwist.logformat import FLAGS, LONGEST, NAMED, TYPES, LogFormat
from lbtwist.logline import Surroundings, lineOf
from lbtwist.logvalues import hexAddress, pathOnly, said, valueAsJSON
from lbtwist.rules.expression import Expression, ExpressionError, Scope
from lbtwist.rules.values import Stage
from lbtwist.server import Endpoint


def line(text, exchange=None, session=False, conditions=None, **captures):
    """@return: what a format makes of an exchange; without one, of the usual."""
    scope = Scope(Stage.LOG, not session, conditions or {})
    surroundings = Surroundings(lambda: STARTED, lambda: STARTED + WALL, session, **captures)
    return lineOf(LogFormat.parse(text), scope, surroundings)(exchange or usual())


def usual(raw=b"GET /a/b?c=d HTTP/1.1", **story):
    """An exchange whose request and response have fields."""
    fields = (b"Host: www.example", b'User-Agent: "\xc3\xa9|}', b"Referer: http://r/\\]")
    exchange = ended(**story)
    exchange.request = request(raw, *fields)
    exchange.response = response(b"HTTP/1.1 200 OK", b"Content-Type: text/html")
    exchange.connection = attr.evolve(exchange.connection, local=("10.0.0.1", 443))
    exchange.frontend.traffic = SimpleNamespace(exchanges=3)
    exchange.frontend.process.frontends = [
        exchange.frontend, SimpleNamespace(traffic=SimpleNamespace(exchanges=4)),
    ]  # fmt: skip
    if exchange.server is not None:
        exchange.server.endpoint = Endpoint(socket.AF_INET, ("192.0.2.7", 8080))
    return exchange


ALL = [
    ("B", "2750"), ("CC", "-"), ("CS", "-"), ("H", socket.gethostname()), ("HM", "GET"),
    ("HP", "/a/b"), ("HPO", "/a/b"), ("HQ", "?c=d"), ("HU", "/a/b?c=d"), ("HV", "HTTP/1.1"),
    ("ID", "5f-01"), ("OG", "txn_close"), ("ST", "200"), ("T", "06/Feb/2009:11:14:13 +0000"),
    ("Ta", "109"), ("Tc", "30"), ("Td", "0"), ("Th", "25"), ("Ti", "975"),
    ("Tl", "06/Feb/2009:12:14:13 +0100"), ("Tq", "1010"), ("TR", "10"), ("Tr", "69"),
    ("Ts", "1233918853"), ("Tt", "1109"), ("Tu", "134"), ("Tw", "0"), ("U", "80"), ("ac", "4"),
    ("b", "static"), ("bc", "2"), ("bi", "10.9.8.7"), ("bp", "40001"), ("bq", "6"),
    ("ci", "10.0.1.2"), ("cp", "33317"), ("f", "http-in"), ("fc", "3"), ("fi", "10.0.0.1"),
    ("fp", "443"), ("ft", "http-in~"), ("hr", "{www.example|}"), ("hrl", "www.example -"),
    ("hs", "{}"), ("hsl", "-"), ("lc", "0"), ("ms", "655"), ("o", ""), ("pid", "PID"),
    ("r", "GET /a/b?c=d HTTP/1.1"), ("rc", "+2"), ("rt", "6"), ("s", "srv1"), ("sc", "1"),
    ("si", "192.0.2.7"), ("sp", "8080"), ("sq", "5"), ("sslc", "TLS_AES_128_GCM_SHA256"),
    ("sslv", "TLSv1.3"), ("span", "b7ad6b7169203331"),
    ("trace", "0af7651916cd43dd8448eb211c80319c"), ("t", "06/Feb/2009:12:14:13.655"),
    ("tr", "06/Feb/2009:12:14:14.655"),
    ("trg", "06/Feb/2009:11:14:14 +0000"), ("trl", "06/Feb/2009:12:14:14 +0100"), ("ts", "--"),
    ("tsc", "----"),
]  # fmt: skip
CAPTURED = {"request": ("host", "agent"), "response": ("location",)}


@pytest.fixture
def everything():
    """An exchange of which everything is known."""
    exchange = usual(
        accepted=-1000, tls=TLSInfo(version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256"),
        counts=(4, 3, 2, 1), ahead=(5, 6), retries=2, redispatched=True, requestId="5f-01",
        trace="0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        source=("10.9.8.7", 40001), captures={"request": {"host": "www.example"}, "response": {}},
    )  # fmt: skip
    exchange.connection = attr.evolve(exchange.connection, readyAt=STARTED - 0.975)
    return exchange


def test_everyAliasIsTried():
    assert {name for name, _ in ALL} == set(ALIASES)


@pytest.mark.parametrize(("name", "value"), ALL)
def test_alias(everything, name, value):
    value = value.replace("PID", str(os.getpid()))
    assert line(f"<%{name}>", everything, **CAPTURED) == f"<{value}>"


@pytest.mark.parametrize("name", ALIASES)
def test_aliasesAreMadeOfKnownNames(name):
    alias = ALIASES[name]
    codes = (alias.code, alias.hexadecimal, alias.number)
    nodes = [node for code in codes for node in ast.walk(ast.parse(code))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert used <= NAMES | {"exchange", "connection", "head"}


# Where nothing is known.
NOTHING = {
    "ID": "-", "OG": "sess_error", "ST": "-1", "TR": "-1", "Tq": "-1", "Tw": "-1", "Tc": "-1",
    "Tr": "-1", "Td": "-1", "b": "http-in", "bi": "-", "bp": "-", "s": "<NOSRV>", "sc": "0",
    "si": "-", "sp": "-", "span": "-", "trace": "-", "sslc": "-", "sslv": "-", "r": "<BADREQ>",
    "HM": "<BADREQ>",
    "HU": "<BADREQ>", "HP": "<BADREQ>", "HPO": "<BADREQ>", "HQ": "<BADREQ>", "HV": "<BADREQ>",
    "hr": "{|}", "hsl": "-", "ft": "http-in", "rc": "0", "tsc": "cR--", "ts": "cR",
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NOTHING.items())
def test_aliasOfNothing(name, value):
    exchange = ended("c", "R", **UNREAD, status=0, finished=7)
    assert line(f"<%{name}>", exchange, **CAPTURED) == f"<{value}>"


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("flag", [f"{{{sign}{flag}}}" for flag in FLAGS for sign in "+-"])
def test_everyFlagOfEveryAliasOfNothing(name, flag):
    """It never fails: a line that cannot be made is lost."""
    if name == "o":
        return
    exchange = ended("c", "R", **UNREAD, status=0)
    exchange.frontend.traffic = SimpleNamespace(exchanges=1)
    exchange.frontend.process.frontends = [exchange.frontend]
    assert re.fullmatch(r"<.+>", line(f"<%{flag}{name}>", exchange, **CAPTURED))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Empty texts are a - or, quoted, nothing; numbers are never quoted.
        ("%ID %{+Q}ID %{+Q}ci %{+Q}ST %{+Q}r", '- "" "10.0.1.2" 200 "GET /a/b?c=d HTTP/1.1"'),
        ("%{+Q}o %ci %{-Q}ci %ID %tr", '"10.0.1.2" 10.0.1.2 "" 06/Feb/2009:12:14:14.655'),
        ("%{+X}ci:%{+X}cp %{+X}fp %{+X}sp", "0A000102:8225 01BB 1F90"),
        ("%{+X}Ts %{+X}ms %{+X}lc %{+X}rt", "498C1B86 28F 0000 0006"),
        ("%{+X}bi %{+X}bp %{+Q,+X}si", '- - C0000207'),
        ("%{+X}b %{+X}B", "static 2750"),
        ("%{+E}[header[\"referer\"]]", r"http://r/\\\]"),
        ("%{+Q,+E}[header[\"referer\"]]", r'"http://r/\\\]"'),
        ("%{+Q,+X}o %ci %{-X}ci %{-Q,-X}ci %bi", '0A000102 "10.0.1.2" 10.0.1.2 ""'),
        ("%% %%ci 100%%", "% %ci 100%"),
        # Several spaces are one, and an empty value leaves none behind.
        ("  a   b ", "a b "),
        ("%hr %hs  %{+Q}hr x", 'x'),
        ("%ci/%cp", "10.0.1.2/33317"),
        ("{%ci|%cp} 'x' é", "{10.0.1.2|33317} 'x' é"),
    ],
)  # fmt: skip
def test_flagsAndText(text, expected):
    assert line(text) == expected


def test_whatMayBeEmptyTakesItsSpaceAlong():
    plain = usual(b"GET /a HTTP/1.1")
    asterisk = usual(b"OPTIONS * HTTP/1.1")
    assert line("a %HQ b", plain) == "a b"
    assert line("%HQ b", plain) == "b"
    assert line("a %HQ%HPO b", asterisk) == "a b"
    assert line("a %HQ%HPO b", plain) == "a /a b"
    assert line("a %HQ%{+Q}HQ b", plain) == 'a "" b'
    assert line("a%HQ b", plain) == "a b"
    assert line("[%HQ]", plain) == "[]"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b?c", "/a/b"), ("http://h/a?b", "/a"), ("http://h", "/"), ("*", ""),
        ("h:443", ""), ("/a://b", "/a://b"),
    ],
)  # fmt: skip
def test_pathOnly(target, path):
    assert pathOnly(target) == path


def test_hexAddresses():
    assert hexAddress("127.0.0.1") == "7F000001"
    assert hexAddress("::1%eth0") == "0" * 31 + "1"
    assert hexAddress("unix") == "unix"


def test_serversOnOtherAddresses():
    exchange = usual()
    exchange.server.endpoint = Endpoint(socket.AF_UNIX, "/run/a")
    assert line("%si:%sp", exchange) == "unix:0"
    exchange.server.endpoint = Endpoint(socket.AF_INET6, ("2001:db8::7", 80, 0, 0))
    assert line("%si %sp %{+X}sp", exchange) == "2001:db8::7 80 0050"


def test_theTimesOfALaterExchange():
    """They count from the end of the one before it, as if it had been accepted then."""
    exchange = usual(accepted=-61000, freeAt=STARTED - 0.25)
    exchange.connection = attr.evolve(exchange.connection, readyAt=STARTED - 60.5)
    assert line("%Th/%Ti/%TR/%Tq/%Ta/%Tt/%Tu %t", exchange) == (
        "0/250/10/260/109/359/109 06/Feb/2009:12:14:14.405"
    )


def test_theTimesOfAClientThatSentNothing():
    exchange = ended("c", "R", **UNREAD, finished=10020)
    exchange.connection = attr.evolve(exchange.connection, readyAt=STARTED + 0.02)
    assert line("%Th/%Ti/%TR/%Tq/%Ta/%Tt", exchange) == "0/0/-1/-1/10020/10020"


def test_theTimesOfASession():
    exchange = ended(**SESSION, accepted=-25, assigned=100, connected=130, finished=5000)
    exchange.connection = attr.evolve(exchange.connection, readyAt=STARTED)
    assert line("%Th/%Tw/%Tc/%Td/%Tt/%Tu", exchange, True) == "25/100/30/4870/5025/5025"
    lost = ended(**{**SESSION, "connected": None})
    assert line("%Td %Tc", lost, True) == "-1 -1"


# expressions


def test_expressions():
    text = '%[src]:%[src_port] %[method] %[query["c"]] %[1 + 2] %[tls] %[not tls] %[host]'
    assert line(text) == "10.0.1.2:33317 GET d 3 0 1 www.example"
    assert line('%[response_header["content-type"]] %[status] %[server]') == "text/html 200 srv1"
    assert line('%[match("/(.)/(.)", path)] %["a]" + \'[b\'] %[ path ]') == "/a/b a][b /a/b"
    assert line('%[tls.offers] %["a,b".split(",")]') == "- a,b"


def test_whatCannotBeAskedIsEmpty():
    """A request or a response may never have come."""
    exchange = ended("c", "R", **UNREAD)
    text = '%[method] %{+Q}[path] %[header["x"]] %[status] %[body_length] %[websocket] %[var["x"]]'
    assert line(text, exchange) == '- "" - - - - -'


def test_namedConditions():
    inside = Expression.parse('src in net("10.0.0.0/8")')
    assert line("%[inside]", conditions={"inside": inside}) == "1"


def test_whatRulesKeep():
    assert line('%[var["who"]]', usual(vars={"who": "me\n"})) == "me#0A"


# names and JSON


def parsed(text, exchange=None, **captures):
    found = line(text, exchange, **captures)
    assert found.isascii() and found.isprintable()
    return json.loads(found)


def test_allOfItIsJSON(everything):
    text = (
        "%{+json}o %(client)ci ignored %cp %(status)ST %(text:str)ST %(any:bool)ST %(r)rc"
        " %(host)[host] %(tls)[tls] %(n)[1 + 2] %(s:str)[1 + 2] %(b:bool)[1 + 2]"
        ' %(i:sint)["12"] %(hr)hr %(hrl)hrl %(when)tr %(line)r %(agent)[header["user-agent"]]'
        " %(flag:bool)sq %(hex){+X}cp %(ms)ms %(ts)Ts %(id)ID"
    )
    assert parsed(text, everything, **CAPTURED) == {
        "client": "10.0.1.2", "status": 200, "text": "200", "any": True, "r": 2,
        "host": "www.example", "tls": True, "n": 3, "s": "3", "b": True, "i": 12,
        "hr": "{www.example|}", "hrl": ["www.example", "-"], "when": "06/Feb/2009:12:14:14.655",
        "line": "GET /a/b?c=d HTTP/1.1", "agent": '"é|}', "flag": True, "hex": "8225",
        "ms": 655, "ts": 1233918853, "id": "5f-01",
    }  # fmt: skip


def test_jsonOfNothing():
    text = "%{+json}o %(a)ID %(b)bp %(c)hr %(d)hrl %(e)[method] %(f:sint)[method] %(g:str)bp"
    assert parsed(text, ended("c", "R", **UNREAD)) == {
        "a": "", "b": "", "c": None, "d": None, "e": "", "f": "", "g": "",
    }  # fmt: skip


def test_theFormOfHAProxysJSON():
    """Byte for byte: a space after each comma and colon."""
    assert line("%(a)ci %{+json}o %(b)ST %(c)hsl") == (
        '{"a": "10.0.1.2", "b": 200, "c": null}'
    )


def test_oneValueIsJSON():
    assert line("x %{+json}ci %{+json}ST %(n){+json}[tls] %ci") == (
        'x "10.0.1.2" 200 false 10.0.1.2'
    )


@given(st.binary(), st.text())
@example(b'"\\\n', "\\\ud800\x00\"")
def test_jsonCannotBeForged(tail, text):
    exchange = ended(line=b"GET /" + tail + b" HTTP/1.1", vars={"x": text}, requestId=text)
    exchange.captures = {"request": {"host": text}, "response": {}}
    found = parsed(
        '%{+json}o %(a)r %(b)HU %(c)[var["x"]] %(d)hr %(e)hrl %(f)ID', exchange, **CAPTURED
    )
    assert set(found) == set("abcdef")
    assert found["c"] == text


@given(st.binary(), st.text())
@example(b'"\nx', "|}{\"\n#")
def test_noTextForgesAFieldOrALine(tail, text):
    exchange = ended(line=b"GET /" + tail + b" HTTP/1.1", vars={"x": text}, requestId=text)
    exchange.captures = {"request": {"host": text}, "response": {}}
    found = line('<%{+Q}r|%{+Q}[var["x"]]|%{+Q}ID> %{+Q}hr %HQ', exchange, **CAPTURED)
    assert found.isascii() and found.isprintable()
    assert found.count('"') == 8
    assert found.rpartition('"{')[2].partition('"')[0].count("|") == 1


def test_valuesAsJSON():
    assert valueAsJSON(float("inf"), "sint") == '""'
    assert valueAsJSON("9" * 5000, "sint") == '""'
    assert [valueAsJSON(one, "bool") for one in ("", "0", "x", 0, 2)] == [
        "false", "false", "true", "false", "true",
    ]  # fmt: skip
    assert valueAsJSON(True, "str") == '"1"'
    assert said("é\udcff") == "#C3#A9#FF"


# what is wrong


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("%ci %STT", 5, "there is no %STT, did you mean '%ST'?"),
        ("%zzzzzz", 1, "there is no %zzzzzz; a plain % is %%"),
        ("100% of", 3, "a name or [EXPRESSION] follows %: a plain % is %%"),
        ("%", 0, "a name or [EXPRESSION] follows %"),
        ("a %{+Q", 2, "there is a '%{' without its '}'"),
        ("a %(n", 2, "there is a '%(' without its ')'"),
        ("a %[path", 3, "there is a '%[' without its ']'"),
        ("%{+Q}", 0, "a name or [EXPRESSION] follows %"),
        ("%{+Q,+Z}ci", 5, "there is no flag '+Z'"),
        ("%{Q}ci", 2, "there is no flag 'Q', did you mean"),
        ("%(a b)ci", 2, "'a b' is not a name"),
        ("%(a:int)ST", 4, "there is no type 'int', did you mean 'sint'?"),
        ("%ci %[path +]", 12, "it is not an expression"),
        ("%{+json}o %ci", 0, "with +json the values that have names are written"),
        ("%{+json}o %(a)ci %(a)cp", 14, "the name 'a' is there twice"),
        ("x" * (LONGEST + 1), 0, "it is longer than"),
    ],
)
def test_whatIsNoFormat(text, at, message):
    with pytest.raises(ExpressionError, match=re.escape(message)) as raised:
        LogFormat.parse(text)
    assert raised.value.at == at


@pytest.mark.parametrize(
    ("text", "session", "message"),
    [
        ("%ci %r", True, "%r says nothing in mode = tcp"),
        ("%[path]", True, "path is not known in mode = tcp"),
        ("%ci %[src == cookies]", False, "there is no 'cookies', did you mean 'cookie'?"),
        ("%[net('10.0.0.0/8')]", False, "is networks, no value"),
        ("%[headers]", False, "is texts by name, no value"),
    ],
)
def test_whatCannotBeAsked(text, session, message):
    [(_, wrong)] = LogFormat.parse(text).check(Scope(Stage.LOG, not session))
    assert message in wrong
    with pytest.raises(ExpressionError, match=re.escape(message)):
        line(text, session=session)


@given(st.text(st.sampled_from("%{}[]()+-QXEjson:,ciSTr \"'")))
def test_anyTextIsAFormatOrIsRefused(text):
    try:
        found = LogFormat.parse(text)
    except ExpressionError as error:
        assert 0 <= error.at <= len(text)
        return
    assert found == LogFormat.parse(text)


def test_formatsThatAreWrittenAlikeAreEqual():
    assert LogFormat.parse("%ci") == LogFormat.parse("%ci") != LogFormat.parse("%cp")
    assert TYPES == ("str", "sint", "bool")


# the seeds' own lines

DN = "/C=FR/ST=Ile de France/L=Jouy en Josas/O=haproxy.com/CN={}/emailAddress=ba@haproxy.com"


def test_theLineWithTheClientsCertificate():
    """Where the server did not answer; the seed's response of 194 bytes was an HTTP/1.0 one."""
    tls = SimpleNamespace(
        version="TLSv1.2", verify=0, subject=DN.format("client1"), issuer=DN.format("haproxy.com")
    )
    exchange = ended(
        "s", "H", line=b"GET / HTTP/1.1", client=("127.0.0.1", 38849), accepted=-1643,
        request=0, assigned=0, connected=1, responded=None, finished=3002, tls=tls,
        pool="bk_www", server="server1", counts=(0, 0, 0, 0), status=504, bytesOut=194,
    )  # fmt: skip
    exchange.frontend.name = "ft_www"
    # A cookie is configured, none was sent and none was set.
    exchange.bond = SimpleNamespace(came="N", went="N")
    text = (
        "%ci:%cp [%t] %ft %b/%s %Tq/%Tw/%Tc/%Tr/%Tt %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc"
        " %sq/%bq %hr %hs {%[tls.client.verify],%{+Q}[tls.client.subject],"
        "%{+Q}[tls.client.issuer]} %{+Q}r"
    )
    assert line(text, exchange) == (
        "127.0.0.1:38849 [06/Feb/2009:12:14:13.012] ft_www~ bk_www/server1 1643/0/1/-1/4645"
        " 504 194 - - sHNN 0/0/0/0/0 0/0"
        f' {{0,"{DN.format("client1")}","{DN.format("haproxy.com")}"}} "GET / HTTP/1.1"'
    )


def test_theLineWithCapturedFields():
    """Two of the response, one of which has not come."""
    exchange = usual(
        captures={"request": {}, "response": {"location": "http://www.domain.com/login.jsp"}}
    )
    assert line("%hr %hs", exchange, request=("agent",), response=("location", "cookie")) == (
        "{} {http://www.domain.com/login.jsp|}"
    )


def test_theLineOfAWebServerBehindAProxyHeader():
    exchange = usual(client=("203.0.113.9", 40000))
    assert line(NAMED["clf_proxy"], exchange) == (
        '203.0.113.9 - - [06/Feb/2009:12:14:14 +0100] "GET /a/b?c=d HTTP/1.1" 200 2750'
        ' "http://r/\\]" "#22#C3#A9|}"'
    )
    bare = ended("c", "R", **UNREAD, status=408)
    assert line(NAMED["clf_proxy"], bare).endswith('"<BADREQ>" 408 2750 "-" "-"')


def test_theLineOfHTTPS():
    tls = TLSInfo("www.example", version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", resumed=True)
    assert line(NAMED["https"], usual(tls=tls)).endswith(
        ' "GET /a/b?c=d HTTP/1.1" 0/0000000000000000/0/0/1 www.example/TLSv1.3/'
        "TLS_AES_256_GCM_SHA384"
    )
    assert line(NAMED["https"], usual()).endswith(' HTTP/1.1" 0/-/-/-/0 -/-/-')


def test_theLineOfCLF():
    exchange = usual(**NOWHERE, requestId="")
    assert line(NAMED["clf"], exchange) == (
        '10.0.1.2 - - [06/Feb/2009:11:14:14 +0000] "GET /a/b?c=d HTTP/1.1" 200 2750 "" ""'
        ' 33317 655 "http-in" "http-in" "<NOSRV>" 10 -1 -1 -1 109 ---- 1 1 0 0 0 0 0 "" "" '
    )


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("session", [False, True])
def test_namedFormatsNeverFail(name, session):
    for story in ({}, UNREAD, SESSION):
        scope = Scope(Stage.LOG)
        surroundings = Surroundings(lambda: STARTED, lambda: STARTED + WALL, session)
        assert lineOf(LogFormat.parse(NAMED[name]), scope, surroundings)(
            usual(**story) if not story else ended(**story)
        )
