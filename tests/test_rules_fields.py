"""The verbs that change header fields."""

import pytest
from verbs import REQUEST, RESPONSE, asked, contractOf, verb

from lbtwist.testing import fakeExchange, fakeResponse

BOTH = pytest.mark.parametrize("stage", [REQUEST, RESPONSE])


def changed(line, *fields, stage=REQUEST, target="/"):
    """@return: the fields that a verb leaves of these, without C{Host}."""
    exchange = fakeExchange(target)
    if stage is RESPONSE:
        fakeResponse(exchange)
    head = exchange.request if stage is REQUEST else exchange.response
    for name, value in fields:
        head.fields.add(name, value)
    assert asked(line, exchange, stage) is None
    return [item for item in head.fields.items() if item[0] != b"Host"]


GIVEN = ((b"x-a", b"1"), (b"B", b"2"), (b"X-A", b"3"))


@BOTH
@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("set-header X-A 4", [(b"B", b"2"), (b"X-A", b"4")]),
        ("set-header X-C 4", [*GIVEN, (b"X-C", b"4")]),
        ("set-header X-C 'two words'", [*GIVEN, (b"X-C", b"two words")]),
        ("set-header X-C {{{src}}}", [*GIVEN, (b"X-C", b"{192.0.2.1}")]),
        ("set-header X-C {header['x-none']}", [*GIVEN, (b"X-C", b"")]),
        ("add-header X-A 4", [*GIVEN, (b"X-A", b"4")]),
        ("add-header X-C {method}", [*GIVEN, (b"X-C", b"GET")]),
        ("del-header X-A", [(b"B", b"2")]),
        ("del-header x-a", [(b"B", b"2")]),
        ("del-header X-C", [*GIVEN]),
        ("del-header X-*", [(b"B", b"2")]),
        ("del-header x-a*", [(b"B", b"2")]),
        ("del-header y*", [*GIVEN]),
        ("replace-header X-A 3 4", [(b"x-a", b"1"), (b"B", b"2"), (b"X-A", b"4")]),
        ("replace-header X-A ^(.)$ <\\1>", [(b"x-a", b"<1>"), (b"B", b"2"), (b"X-A", b"<3>")]),
        ("replace-header X-A 9 4", [*GIVEN]),
        ("replace-value B 2 {method}", [(b"x-a", b"1"), (b"B", b"GET"), (b"X-A", b"3")]),
    ],
)
def test_fields(stage, line, left):
    assert changed(line, *GIVEN, stage=stage) == left


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("set-header X-Real-IP {src}", [(b"X_Other", b"d"), (b"X-Real-IP", b"192.0.2.1")]),
        ("set-header X_real_IP 1", [(b"X_Other", b"d"), (b"X_real_IP", b"1")]),
        ("del-header X-Real-IP", [(b"X_Other", b"d")]),
        ("del-header X-*", []),
        ("del-header X_O*", [(b"X_Real_IP", b"a"), (b"X-Real-IP", b"b"), (b"X-Real_IP", b"c")]),
    ],
)
def test_aClientCannotWriteItOtherwise(line, left):
    """Many servers take C{_} in a name for C{-}."""
    given = (b"X_Real_IP", b"a"), (b"X-Real-IP", b"b"), (b"X-Real_IP", b"c"), (b"X_Other", b"d")
    assert changed(line, *given) == left


def test_namesAreSpeltAsWritten():
    assert changed("set-header X-fOO 1") == [(b"X-fOO", b"1")]


@pytest.mark.parametrize("name", ["set-header", "add-header"])
def test_aValueIsOneLine(name):
    """Whatever a client has encoded."""
    hostile = "/?q=a%0d%0aSet-Cookie:%20x%00%01%1f%7f%0b%09b%c3%a4%ff%20"
    assert changed(f"{name} X {{query['q']}}", target=hostile) == [
        (b"X", b"a  Set-Cookie: x     \tb\xc3\xa4\xff")
    ]


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        # The whole value is replaced, as HAProxy's manual has it.
        ("replace-header A 'foo=([^;]*);(.*)' 'foo=\\1;ip={src};\\2'",
         b"foo=foobar; expires=1", b"foo=foobar;ip=192.0.2.1; expires=1"),
        ("replace-header A curl foo", b"curl/7.47.0", b"foo"),
        ("replace-header A (b)(c)?(.) \\3\\2\\1\\0", b"abd", b"dbbd"),
        ("replace-header A . \\\\\\\\n", b"a", b"\\n"),
        ("replace-header A . x{{1}}", b"a", b"x{1}"),
        ("replace-header A ^x{2}$ y", b"xx", b"y"),
        ("replace-header A (?i)B x", b"abc", b"x"),
        ("replace-header A \\xff x", b"a\xff", b"a\xff"),
        # each of several values
        ("replace-value A ^192\\.168\\.(.*)$ 172.16.\\1",
         b"192.168.10.1, 192.168.13.24, 10.0.0.37", b"172.16.10.1, 172.16.13.24, 10.0.0.37"),
        ("replace-value A ^a$ b", b"a,a , a,ab,\ta\t,", b"b,b , b,ab,\tb\t,"),
        ("replace-value A ^a$ b", b'"x, a", a', b'"x, a", b'),
        ("replace-value A ^a$ b", b'"x\\", a", a', b'"x\\", a", b'),
        ("replace-value A ^a$ b", b'"x, a', b'"x, a'),
        ("replace-value A ^a$ b", b'a, "x\\', b'b, "x\\'),
        ("replace-value A ^$ b", b" , ,", b", ,"),
    ],
)  # fmt: skip
def test_replaced(line, before, after):
    assert changed(line, (b"A", before)) == [(b"A", after)]


def test_aClientCannotReferToGroups():
    """What an expression gives is put in as it is."""
    line = "replace-header A (.) {query['q']}\\1"
    assert changed(line, (b"A", b"a"), target="/?q=%5c1%5c0%0d%0a") == [(b"A", b"\\1\\0  a")]


def test_aMessageThatIsNotChangedGoesOnAsItCame():
    exchange = fakeExchange("/", {"X-Odd": "   spaces  "})
    block = exchange.request.fields.block
    for line in ("del-header Y", "del-header Y*", "replace-header X-Odd 1 2"):
        asked(line, exchange)
        assert exchange.request.fields.block is block


def test_allBeginningsButWhatFrames():
    exchange = fakeExchange("/", {"Content-Length": "5", "Content-Type": "a/b", "Hosted": "x"},
                            method="POST")  # fmt: skip
    asked("del-header C*", exchange)
    asked("del-header h*", exchange)
    assert exchange.request.fields.items() == [
        (b"Host", b"www.example.com"), (b"Content-Length", b"5")
    ]  # fmt: skip


FORBIDDEN = (
    "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Keep-Alive",
    "Proxy-Connection", "HTTP2-Settings",
)  # fmt: skip


@BOTH
@pytest.mark.parametrize("line", [
    "set-header {} x", "add-header {} x", "del-header {}", "replace-header {} a b",
    "replace-value {} a b",
])  # fmt: skip
def test_whatFramesIsNotARulesToChange(stage, line):
    for name in FORBIDDEN:
        for spelt in (name, name.lower(), name.upper()):
            with pytest.raises(ValueError, match=r"where a message ends|one connection only"):
                verb(line.format(spelt), stage)
    with pytest.raises(ValueError, match="set-host"):
        verb(line.format("host"), stage)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("set-header", "needs NAME"),
        ("set-header X", "needs TEXT"),
        ("set-header X: 1", "is not the name of a header field"),
        ("set-header {method} 1", "is not the name of a header field"),
        ("set-header X {status}", "status is not known yet"),
        ("set-header X {", "without its '}'"),
        ("del-header *", "'*' would be all fields"),
        ("del-header", "needs NAME"),
        ("replace-header X ( 1", "is not a regular expression"),
        ("replace-header X (a*)* 1", "could take"),
        ("replace-value X (a+)+ 1", "could take"),
        ("replace-header X (a) \\2", "there is no group 2"),
        ("replace-header X a \\1", "there is no group 1: the regular expression has 0"),
        ("replace-header X a \\q", "means nothing"),
        ("replace-header X a {src}\\1", "there is no group 1"),
        ("replace-header X a b\\", "means nothing"),
    ],
)
def test_whatIsRefused(line, wrong):
    with pytest.raises(ValueError) as caught:
        verb(line)
    assert wrong in str(caught.value)


SetContractTests = contractOf("set-header X-User {query['q']}{header['Cookie']}")
AddContractTests = contractOf("add-header X-User {query['q']}{header['Cookie']}")
DelContractTests = contractOf("del-header C*")
ReplaceContractTests = contractOf("replace-header X-User ^(.*)$ {query['q']}\\1")
ReplaceValueContractTests = contractOf("replace-value Cookie a*+(.?) {query['q']}\\1")
SetResponseContractTests = contractOf("set-header X {response_header['Link']}{uri}", RESPONSE)
AddResponseContractTests = contractOf("add-header X {response_header['Link']}", RESPONSE)
DelResponseContractTests = contractOf("del-header C*", RESPONSE)
ReplaceResponseContractTests = contractOf("replace-header Location ^(.*)$ {uri}\\1", RESPONSE)
ReplaceValueResponseContractTests = contractOf("replace-value Link . {uri}\\0", RESPONSE)
