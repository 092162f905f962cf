"""Persistence by cookie: what is read, what is set, and what servers and clients see of it."""

import re
from types import SimpleNamespace
from unittest import TestCase

import pytest
from bonds import EPOCH, World, bonded, letters
from hypothesis import example, given
from hypothesis import strategies as st

from lbtwist.persistence.bond import Bond
from lbtwist.persistence.cookie import Cookie, CookieOptions
from lbtwist.sansio.cookies import find, strip
from lbtwist.sansio.headers import Fields
from lbtwist.testing import PersistenceContract, fakeExchange, fakeResponse

NAME = b"SRVID"
TOKEN = "[A-Za-z0-9_-]{16}"


def world(mode="insert", **options):
    return World(("cookie", {"name": NAME, "mode": mode, **options}), cookies=("s1", "s2", ""))


def plain(mode="insert", **options):
    """The servers a, b and c are s1, s2 and c in cookies."""
    return world(mode, plain=True, **options)


def comes(cookie=None, method="GET", **fields):
    more = {"Cookie": cookie} if cookie is not None else {}
    return fakeExchange(method=method, fields={**more, **fields})


def valueIn(line):
    """@return: of the cookie that a C{Set-Cookie} sets."""
    return line.partition(";")[0].partition("=")[2]


def sent(exchange):
    """@return: the C{Cookie} fields that the server gets."""
    return [one.decode() for one in exchange.request.fields.getAll(b"cookie")]


# finding it

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["SRVID", "SRVID=a", "SRVID = a", "SRVID=b", "XSRVID=x", "SRVIDX=x", "srvid=c", "=",
             "x=SRVID=d", 'SRVID="e"', "", " ", "\t", "SRVID=", "a=b", "SRVID=f=g", 'SRVID=" h'],
        ),
        st.text(' \t"=SRVIDab', max_size=8),
    ),
    max_size=6,
).map(";".join)  # fmt: skip
FIELDS = st.lists(
    st.tuples(st.sampled_from(["Cookie", "cookie", "COOKIE", "X-Cookie", "Cookies", "a"]), LINES),
    max_size=4,
)


def fieldsOf(pairs):
    """As the reader of heads makes them."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return Fields(b"\n" + lines.encode())


@given(FIELDS)
@example([("Cookie", "SRVID=a; SRVID=b")])
@example([("Cookie", "SRVID"), ("cookie", "a;SRVID=b")])
def test_theSameIsFoundAsInFieldsTakenApart(pairs):
    expected = find(fieldsOf(pairs).getAll(b"cookie"), NAME)
    exchange = bonded()
    exchange.request.fields = fieldsOf(pairs)
    kind = plain().kinds["cookie"]
    kind._read = lambda value: SimpleNamespace(name=value)
    assert kind.foresee(exchange) == kind.recall(exchange) == expected


@given(FIELDS)
@example([("Cookie", "SRVID=a")])
@example([("Cookie", "SRVID=a; b=c; SRVID=d"), ("Cookie", "SRVID=e"), ("a", "SRVID=f")])
def test_theSameIsLeftAsOfFieldsTakenApart(pairs):
    """But for white space around what was taken out; a field is not left empty."""
    exchange = bonded()
    exchange.request.fields = fieldsOf(pairs)
    before = exchange.request.fields.items()[:]
    world(indirect=True).kinds["cookie"].recall(exchange)
    after = exchange.request.fields

    def told(items, taken):
        for name, value in items:
            if name.lower() == b"cookie":
                for pair in (strip(value, NAME) if taken else value).split(b";"):
                    if pair.strip(b" \t"):
                        yield pair.strip(b" \t")
            else:
                yield name, value

    assert find(after.getAll(b"cookie"), NAME) is None
    assert sorted(map(repr, told(after.items(), False))) == sorted(map(repr, told(before, True)))
    if find([value for name, value in before if name.lower() == b"cookie"], NAME) is None:
        assert after.items() == before


@pytest.mark.parametrize(
    "unit", [b"SRVID=;", b"a;SRVID=;", b"; SRVID=1", b"; =", b" ;\t", b"SRVID "]
)
def test_aHeadFullOfCookiesTakesNoTime(unit):
    """
    Its length squared would: 32 KiB would stop everybody for a second, and this test would not
    end.
    """
    exchange = bonded()
    exchange.request.fields = fields = Fields(b"\nCookie: " + unit * (1 << 19) + b"\r\n")
    world(indirect=True).kinds["cookie"].recall(exchange)
    assert find(fields.getAll(b"cookie"), NAME) is None


# insert


def test_aNewClientGetsOne():
    here = world()
    exchange = comes()
    went, [line] = here.passes(exchange, "b")
    assert went == "b"
    assert re.fullmatch(f"SRVID={TOKEN}; path=/; HttpOnly", line)
    assert letters(exchange) == "NI"
    again = comes(f"SRVID={valueIn(line)}")
    assert here.passes(again, "c") == ("b", [])
    assert letters(again) == "VN"
    assert sent(again) == [f"SRVID={valueIn(line)}"], "the server may see it"


def test_aValueOfNobody():
    here = world()
    for value in ("", "x", "s1", "a", "app/a", "A" * 16, "A" * 42, "\xff" * 16):
        exchange = comes(f"SRVID={value}")
        went, [line] = here.passes(exchange, "c")
        assert (went, letters(exchange)) == ("c", "II"), value
        assert valueIn(line) != value


def test_theServerIsDown():
    here = plain()
    here.server("a").health.up = False
    here.changed()
    exchange = comes("SRVID=s1")
    assert here.passes(exchange, "b") == ("b", ["SRVID=s2; path=/; HttpOnly"])
    assert letters(exchange) == "DI"


def test_nobodyAnswers():
    """Where there is no response of a server there is no cookie either."""
    here = plain()
    exchange = comes("SRVID=s1")
    here.recalls(exchange)
    assert letters(exchange) == "VN"
    exchange = comes()
    here.recalls(exchange)
    assert letters(exchange) == "NN"


@pytest.mark.parametrize(
    ("cookies", "left"),
    [
        (["SRVID=s1"], []), (["SRVID=s1; a=b"], ["a=b"]), (["a=b; SRVID=s1"], ["a=b"]),
        (["a=b;SRVID=s1; c=d"], ["a=b; c=d"]), (["SRVID=s1; SRVID=s2"], []),
        (["a=b", "SRVID=s1", "c=d"], ["a=b", "c=d"]), (["SRVID=nobody; a=b"], ["a=b"]),
        (["a=b; SRVID=s1", "SRVID=s2; c=d"], ["a=b", "c=d"]), (["srvid=s1"], ["srvid=s1"]),
        (["a=b"], ["a=b"]),
    ],
)  # fmt: skip
def test_indirect(cookies, left):
    """Servers never see it, whether it is good or not; all else comes as it was."""
    exchange = comes()
    for one in cookies:
        exchange.request.fields.add(b"Cookie", one.encode())
    plain(indirect=True).recalls(exchange)
    assert sent(exchange) == left


@pytest.mark.parametrize("rule", [{"persist": "ignore"}, {"server": "b"}])
def test_indirectWhereARuleHasDecided(rule):
    exchange = comes("a=b; SRVID=s1")
    exchange.settings = rule
    plain(indirect=True).recalls(exchange)
    assert sent(exchange) == ["a=b"]


def test_ofSeveralTheFirst():
    """In several fields as well."""
    for cookies in (["SRVID=s2; SRVID=s1"], ["a=b", "SRVID=s2", "SRVID=s1"]):
        exchange = comes()
        for one in cookies:
            exchange.request.fields.add(b"Cookie", one.encode())
        assert plain().recalls(exchange) == "b"


def test_nocache():
    here = plain(nocache=True)
    new, known = comes(), comes("SRVID=s1")
    here.passes(new, "a")
    here.passes(known, "a")
    assert new.response.fields.getAll(b"cache-control") == [b"private"]
    assert known.response.fields.getAll(b"cache-control") == []


def test_postonly():
    here = plain(postonly=True)
    exchange = comes()
    assert here.passes(exchange, "a") == ("a", [])
    assert letters(exchange) == "NN"
    assert here.passes(comes(method="POST"), "a") == ("a", ["SRVID=s1; path=/; HttpOnly"])
    assert here.passes(comes("SRVID=s2", "GET"), "a") == ("b", [])


def test_theServersOwnCookieOfThisNameIsDeleted():
    here = plain()
    exchange = comes()
    _, got = here.passes(exchange, "a", "SRVID=theirs; Path=/", "theme=dark")
    assert got == ["theme=dark", "SRVID=s1; path=/; HttpOnly"]
    assert letters(exchange) == "NI"
    exchange = comes("SRVID=s1")
    assert here.passes(exchange, "a", "theme=dark", "SRVID =theirs")[1] == ["theme=dark"]
    assert letters(exchange) == "VD"


def test_preserve():
    """As where a server logs a client out."""
    here = plain(preserve=True)
    exchange = comes()
    assert here.passes(exchange, "a", "SRVID=; Max-Age=0")[1] == ["SRVID=; Max-Age=0"]
    assert letters(exchange) == "NP"
    assert here.passes(comes(), "a", "SRVIDX=1")[1] == ["SRVIDX=1", "SRVID=s1; path=/; HttpOnly"]


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, "; path=/; HttpOnly"),
        ({"httponly": False}, "; path=/"),
        ({"secure": True}, "; path=/; HttpOnly; Secure"),
        ({"samesite": "lax"}, "; path=/; HttpOnly; SameSite=Lax"),
        ({"samesite": "none", "secure": True}, "; path=/; HttpOnly; Secure; SameSite=None"),
        ({"path": "/shop"}, "; path=/shop; HttpOnly"),
        ({"domain": (".example.com",)}, "; path=/; HttpOnly; domain=.example.com"),
        ({"attr": ("Max-Age=9", "Partitioned")}, "; path=/; HttpOnly; Max-Age=9; Partitioned"),
    ],
)
def test_attributes(options, attributes):
    assert plain(**options).passes(comes(), "a")[1] == [f"SRVID=s1{attributes}"]


def test_severalDomainsAreAsManyCookies():
    here = plain(domain=("a.example", "b.example"), nocache=True)
    exchange = comes()
    assert here.passes(exchange, "a")[1] == [
        "SRVID=s1; path=/; HttpOnly; domain=a.example",
        "SRVID=s1; path=/; HttpOnly; domain=b.example",
    ]
    assert len(exchange.response.fields.getAll(b"cache-control")) == 1


def test_theFirstThatIsGood():
    """One of a longer path, or of another domain, is sent before ours and stays there."""
    for mode, more in (("insert", {"indirect": True}), ("prefix", {}), ("rewrite", {})):
        here = plain(mode, **more)
        exchange = comes("SRVID=neighbour; SRVID=s2; SRVID=s1")
        assert here.kinds["cookie"].foresee(exchange) == "b"
        assert here.passes(exchange, "a") == ("b", [])
        assert letters(exchange) == "VN"
    exchange = comes("; ".join(["SRVID=x"] * 4))
    exchange.request.fields.add(b"Cookie", b"SRVID=s2")
    assert here.recalls(exchange) == "b"
    # Who sends thousands does not have all of them looked at.
    exchange = comes("; ".join(["SRVID=x"] * 5 + ["SRVID=s2"]))
    assert here.recalls(exchange) is None
    assert letters(exchange) == "IN"


# rewrite, prefix, passive: the server's cookie


def test_rewrite():
    here = plain("rewrite")
    exchange = comes()
    _, got = here.passes(exchange, "b", "SRVID=theirs; Path=/; Secure", "a=b", 'SRVID = "2" ')
    assert got == ["SRVID=s2; Path=/; Secure", "a=b", "SRVID =s2"]
    assert letters(exchange) == "NR"
    exchange = comes("SRVID=s2")
    assert here.passes(exchange, "a") == ("b", [])
    assert letters(exchange) == "VN"


def test_rewriteSetsNothingByItself():
    exchange = comes()
    assert plain("rewrite").passes(exchange, "a", "other=1") == ("a", ["other=1"])
    assert letters(exchange) == "NN"


def test_nocacheWhereTheServersCookieIsOurs():
    for mode in ("rewrite", "prefix"):
        here = plain(mode, nocache=True)
        changed, other = comes(), comes()
        here.passes(changed, "a", "SRVID=1")
        here.passes(other, "a", "other=1")
        assert changed.response.fields.getAll(b"cache-control") == [b"private"]
        assert other.response.fields.getAll(b"cache-control") == []


def test_prefixBothWays():
    here = plain("prefix")
    exchange = comes()
    _, got = here.passes(exchange, "b", "SRVID=their~own; Path=/", "a=b")
    assert got == ["SRVID=s2~their~own; Path=/", "a=b"]
    assert letters(exchange) == "NR"
    exchange = comes("x=y; SRVID=s2~their~own")
    assert here.passes(exchange, "a") == ("b", [])
    assert (letters(exchange), sent(exchange)) == ("VN", ["x=y; SRVID=their~own"])


def test_prefixLeavesQuotes():
    """Some servers read the rest of a value by whether it is in quotes."""
    here = plain("prefix")
    _, got = here.passes(comes(), "b", 'SRVID="a\\054b"; Path=/')
    assert got == ['SRVID=s2~"a\\054b"; Path=/']
    exchange = comes('SRVID=s2~"a\\054b"')
    assert here.recalls(exchange) == "b"
    assert sent(exchange) == ['SRVID="a\\054b"']


def test_prefixInAllCookiesOfTheName():
    exchange = comes("SRVID=s1~one; SRVID=s2~two")
    exchange.request.fields.add(b"Cookie", b'SRVID="s1~three"')
    assert plain("prefix").recalls(exchange) == "a"
    assert sent(exchange) == ["SRVID=one; SRVID=two", "SRVID=three\""]


@pytest.mark.parametrize(
    ("value", "left"), [("nobody~own", "own"), ("own", "own"), ("~own", "own")]
)
def test_prefixOfNobody(value, left):
    """What is ours never gets to a server, whatever it is worth."""
    exchange = comes(f"SRVID={value}")
    assert plain("prefix").recalls(exchange) is None
    assert (letters(exchange), sent(exchange)) == ("IN", [f"SRVID={left}"])


def test_prefixOfADownServerIsReplaced():
    here = plain("prefix")
    here.server("a").health.up = False
    here.changed()
    exchange = comes("SRVID=s1~own")
    assert here.passes(exchange, "b", "SRVID=own") == ("b", ["SRVID=s2~own"])
    assert letters(exchange) == "DR"


def test_opaquePrefix():
    here = world("prefix")
    _, [line] = here.passes(comes(), "b", "SRVID=own")
    assert re.fullmatch(f"SRVID={TOKEN}~own", line)
    assert here.recalls(comes(f"SRVID={valueIn(line)}")) == "b"


def test_passive():
    """The server says who it is; nothing is changed."""
    here = world("passive")
    exchange = comes()
    assert here.passes(exchange, "b", "SRVID=s2")[1] == ["SRVID=s2"]
    assert letters(exchange) == "NP"
    exchange = comes("SRVID=s2")
    assert here.passes(exchange, "a") == ("b", [])
    assert (letters(exchange), sent(exchange)) == ("VN", ["SRVID=s2"])


# dates


def dated(here, name="b"):
    """@return: the value that a new client gets."""
    return valueIn(here.passes(comes(), name)[1][0])


@pytest.mark.parametrize("plainly", [False, True])
@pytest.mark.parametrize(
    ("options", "letter"), [({"maxidle": 600.0}, "E"), ({"maxlife": 600.0}, "O")]
)
def test_cookiesGrowOld(plainly, options, letter):
    here = world(plain=plainly, **options)
    value = dated(here)
    here.clock.advance(590)
    exchange = comes(f"SRVID={value}")
    assert here.recalls(exchange) == "b"
    assert letters(exchange) == "VN"
    here.clock.advance(20)
    exchange = comes(f"SRVID={value}")
    assert here.recalls(exchange) is None
    assert letters(exchange) == f"{letter}N"
    here.chooses(exchange, "c")
    [line] = here.answers(exchange)
    assert letters(exchange) == f"{letter}I"
    assert here.recalls(comes(f"SRVID={valueIn(line)}")) == "c"


def test_whoIsNotIdleGetsANewDate():
    """Often enough, and not each time."""
    here = world(maxidle=1600.0)
    value = dated(here)
    here.clock.advance(100)
    exchange = comes(f"SRVID={value}")
    assert here.passes(exchange, "c") == ("b", [])
    assert letters(exchange) == "VN"
    here.clock.advance(10)
    exchange = comes(f"SRVID={value}")
    went, [line] = here.passes(exchange, "c")
    assert (went, letters(exchange)) == ("b", "VU")
    here.clock.advance(1595)
    assert here.recalls(comes(f"SRVID={value}")) is None
    assert here.recalls(comes(f"SRVID={valueIn(line)}")) == "b"


def test_aNewDateMakesNobodyYounger():
    here = world(maxidle=600.0, maxlife=1000.0)
    value = dated(here)
    for _ in range(3):
        here.clock.advance(330)
        exchange = comes(f"SRVID={value}")
        went, lines = here.passes(exchange, "c")
        assert went == "b"
        value = valueIn(lines[0])
    here.clock.advance(100)
    exchange = comes(f"SRVID={value}")
    assert here.recalls(exchange) is None
    assert letters(exchange) == "ON"


def test_withMaxlifeAloneAGoodCookieIsLeft():
    here = world(maxlife=600.0)
    value = dated(here)
    here.clock.advance(300)
    exchange = comes(f"SRVID={value}")
    assert here.passes(exchange, "c") == ("b", [])
    assert letters(exchange) == "VN"


def test_anotherServerIsANewLife():
    here = world(maxlife=600.0)
    value = dated(here)
    here.clock.advance(500)
    here.server("b").health.up = False
    here.changed()
    _, [line] = here.passes(comes(f"SRVID={value}"), "a")
    here.clock.advance(500)
    assert here.recalls(comes(f"SRVID={valueIn(line)}")) == "a"


@pytest.mark.parametrize("options", [{"maxidle": 600.0}, {"maxlife": 600.0}])
def test_cookiesWithoutADateGetOne(options):
    """Whoever had one before there was a limit is not sent away."""
    here = world()
    value = dated(here)
    limited = world(**options)
    exchange = comes(f"SRVID={value}")
    went, [line] = limited.passes(exchange, "c")
    assert (went, letters(exchange)) == ("b", "VU")
    limited.clock.advance(610)
    assert limited.recalls(comes(f"SRVID={valueIn(line)}")) is None


def test_datesCountForNothingWithoutALimit():
    here = world(maxidle=600.0, maxlife=600.0)
    value = dated(here)
    unlimited = world()
    unlimited.clock.advance(10_000)
    exchange = comes(f"SRVID={value}")
    assert unlimited.passes(exchange, "c") == ("b", [])


@pytest.mark.parametrize(("ahead", "good"), [(3600, True), (86_390, True), (90_000, False)])
def test_clocksThatDiffer(ahead, good):
    """Of another balancer with the same secret: up to a day it may be ahead."""
    options = {"maxidle": 600.0, "secret": "shared"}
    there, here = world(**options), world(**options)
    there.clock.advance(ahead)
    exchange = comes(f"SRVID={dated(there)}")
    assert (here.recalls(exchange) == "b") is good
    assert letters(exchange) == ("VN" if good else "EN")


def test_datesOfARewrittenCookie():
    here = plain("rewrite", maxidle=600.0)
    _, [line] = here.passes(comes(), "b", "SRVID=x; Path=/")
    assert re.fullmatch(r"SRVID=s2\|[A-Za-z0-9_-]{10}; Path=/", line)
    here.clock.advance(610)
    exchange = comes(f"SRVID={valueIn(line)}")
    assert here.recalls(exchange) is None
    assert letters(exchange) == "EN"


def test_theClockIsTheWallsNotTheReactors():
    """Values outlive the process."""
    options = {"maxlife": 600.0, "secret": "shared"}
    before, after = world(**options), world(**options)
    before.clock.advance(5000)
    after.context.wallclock = None
    value = dated(before)
    later = World(
        ("cookie", {"name": NAME, **options}), wallclock=lambda: EPOCH + 5000 + 601
    )
    exchange = comes(f"SRVID={value}")
    assert later.recalls(exchange) is None
    assert letters(exchange) == "ON"


# rules, and exchanges that are none of it


def test_aCookieThatIsNotUsed():
    here = plain()
    for rule, letter in (({"persist": "ignore"}, "UN"), ({"server": "b"}, "UI")):
        exchange = comes("SRVID=s1")
        exchange.settings = rule
        assert here.passes(exchange, "b")[0] == "b"
        assert letters(exchange) == letter


def test_noCookieThatCouldBeUsed():
    here = plain()
    for rule, letter in (({"persist": "ignore"}, "NN"), ({"server": "b"}, "NI")):
        exchange = comes()
        exchange.settings = rule
        here.passes(exchange, "b")
        assert letters(exchange) == letter


def test_aRuleSaysWhatTheCookieSays():
    """Then there is nothing to tell the client."""
    exchange = comes("SRVID=s2")
    exchange.settings = {"server": "b"}
    assert plain().passes(exchange, "b") == ("b", [])
    assert letters(exchange) == "UN"


def test_lettersWithoutACookie():
    for rule in (None, {"persist": "ignore"}, {"server": "b"}):
        exchange = comes("SRVID=s1")
        exchange.settings = rule
        World(("source", {})).passes(exchange, "b")
        assert letters(exchange) == "--"


def test_theCookieIsToldWhatAnotherKindHasKnown():
    here = World(("source", {}), ("cookie", {"name": NAME, "plain": True, "indirect": True}))
    assert here.passes(comes(), "b")[1] == ["SRVID=b; path=/; HttpOnly"]
    for cookie, got, letter in (
        (None, ["SRVID=b; path=/; HttpOnly"], "NI"), ("SRVID=b", [], "VN"),
        ("SRVID=a", ["SRVID=b; path=/; HttpOnly"], "VI"),
        ("SRVID=z", ["SRVID=b; path=/; HttpOnly"], "II"),
    ):  # fmt: skip
        exchange = comes(cookie)
        assert here.passes(exchange, "c") == ("b", got)
        assert (letters(exchange), sent(exchange)) == (letter, [])


def test_sessionsHaveNoCookies():
    kind = plain().kinds["cookie"]
    exchange = fakeExchange(None)
    exchange.bond = Bond()
    assert kind.recall(exchange) is None is kind.foresee(exchange)
    kind.remember(exchange, "a")
    kind.responseReceived(exchange)
    assert letters(exchange) == "--"


def test_exchangesWithoutABond():
    kind = plain().kinds["cookie"]
    exchange = fakeResponse(comes("SRVID=s1"))
    kind.recall(exchange)
    kind.remember(exchange, "a")
    kind.responseReceived(exchange)
    assert exchange.response.fields.getAll(b"set-cookie") == []


def test_representation():
    assert repr(world().kinds["cookie"]) == "<Cookie SRVID insert>"


# secrets


def test_secrets(tmp_path):
    """The same one is the same balancer, wherever it is written."""
    path = tmp_path / "secret"
    path.write_bytes(b"  shared \nmore\n")
    one, other = world(secret="shared"), world(secret_file=str(path))
    assert dated(one) == dated(other)
    assert dated(one) != dated(world()) == dated(world())


def test_longSecrets():
    assert dated(world(secret="x" * 100)) != dated(world(secret="x" * 101))


def test_secretFilesThatSayNothing(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b" \nshared\n")
    with pytest.raises(ValueError, match="secret: its first line is empty"):
        world(secret_file=str(path))
    with pytest.raises(ValueError, match="none: No such file or directory"):
        world(secret_file=str(tmp_path / "none"))


# what cannot be


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"mode": "passive", "maxidle": 1.0}, "maxidle says nothing where mode is passive"),
        ({"mode": "passive", "plain": True}, "plain says nothing where mode is passive"),
        ({"mode": "prefix", "maxlife": 1.0}, "maxlife says nothing where mode is prefix"),
        ({"mode": "rewrite", "indirect": True}, "indirect says nothing where mode is rewrite"),
        ({"mode": "prefix", "path": "/a"}, "path says nothing where mode is prefix"),
        ({"secret": "a", "secret_file": "b"}, "needs one of secret and secret-file, not both"),
        ({"secret": "a", "plain": True}, "a plain value has no secret"),
        ({"secret": "a", "mode": "passive"}, "a plain value has no secret"),
        ({"path": "shop"}, "path=shop is not a path"),
        ({"path": "/a;b"}, "path=/a;b is not a path"),
        ({"samesite": "none"}, "samesite=none needs secure: browsers refuse it otherwise"),
        ({"name": b"__Host-a"}, "__Host-a needs secure: browsers refuse it otherwise"),
        ({"name": b"__Secure-a"}, "__Secure-a needs secure: browsers refuse it otherwise"),
        ({"name": b"__Host-a", "secure": True, "path": "/a"},
         "__Host-a has no domain, and the path /"),
        ({"name": b"__Host-a", "secure": True, "domain": ("a.b",)},
         "__Host-a has no domain, and the path /"),
    ],
)  # fmt: skip
def test_whatCannotBe(options, complaint):
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        CookieOptions(**{"name": NAME, **options})


@pytest.mark.parametrize("mode", ["prefix", "rewrite", "passive"])
def test_theServersCookieMayBeOfAnyName(mode):
    """Its attributes are the server's concern."""
    CookieOptions(b"__Host-session", mode)


# contracts


class _Contract(PersistenceContract):
    options = {}

    def makePersistence(self, context):
        return Cookie(CookieOptions(b"SRVID", **self.options), context)


class InsertContractTests(_Contract, TestCase):
    pass


class PlainContractTests(_Contract, TestCase):
    options = {"plain": True, "indirect": True, "nocache": True}


class DatedContractTests(_Contract, TestCase):
    options = {"maxidle": 600.0, "maxlife": 6000.0}


class PrefixContractTests(_Contract, TestCase):
    def makePersistence(self, context):
        return Cookie(CookieOptions(b"SESSION", "prefix"), context)


class RewriteContractTests(_Contract, TestCase):
    def makePersistence(self, context):
        return Cookie(CookieOptions(b"SESSION", "rewrite"), context)
