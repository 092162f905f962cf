"""What values are accepted, and what a person is told who writes another."""

from __future__ import annotations

import ipaddress

import attr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.options import (
    Access,
    FieldName,
    Flag,
    HostName,
    Integer,
    Name,
    Networks,
    Number,
    Path,
    Paths,
    Pattern,
    Percent,
    Protocols,
    Redirect,
    Size,
    Statuses,
    Text,
    Time,
    TLSVersion,
    Word,
    Words,
    option,
    suggestion,
)

ACCEPTED = [
    (Text(), "any text", "any text"),
    (Name(), "web-1_a.b:c", "web-1_a.b:c"),
    (Flag(), "yes", True),
    (Flag(), "ON", True),
    (Flag(), "", True),
    (Flag(), "No", False),
    (Flag(), "0", False),
    (Integer(), "0", 0),
    (Integer(1, 10), "+10", 10),
    (Integer(-5), "-5", -5),
    (Percent(), "85%", 85),
    (Percent(), "0", 0),
    (Number(), "0.5", 0.5),
    (Number(), ".5", 0.5),
    (Number(0, 2), "2.", 2.0),
    (Time(), "250", 0.25),
    (Time(), "250ms", 0.25),
    (Time(), "5s", 5.0),
    (Time(), "1.5s", 1.5),
    (Time(), "2m", 120.0),
    (Time(), "1h", 3600.0),
    (Time(), "1d", 86400.0),
    (Time(), "10us", 0.00001),
    (Time(), "0", 0.0),
    (Size(), "512", 512),
    (Size(), "64k", 65536),
    (Size(), "64KB", 65536),
    (Size(), "10m", 10 * 2**20),
    (Size(), "1g", 2**30),
    (Access(), "660", 0o660),
    (Access(), "0600", 0o600),
    (Word("a", "b"), "b", "b"),
    (FieldName(), "X-Request-ID", "X-Request-ID"),
    (Networks(), "", ()),
    (Networks(), "10.0.0.0/8, ::1", (
        ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))),
    (HostName(), "WWW.Example_1.org.", "www.example_1.org"),
    (HostName(), "2001:DB8:0::1", "2001:db8::1"),
    (Words("a", "b"), "b,a b", ("b", "a")),
    (Words("a", "b"), "", ()),
    (Path(), "a b", "a b"),
    (Paths(), "a, /b,", ("a", "/b")),
    (Protocols(), "h2,http/1.1 h2", (b"h2", b"http/1.1")),
    (TLSVersion(), "TLSv1.3", "TLSv1.3"),
    (Redirect(), "yes", 301),
    (Redirect(), "308", 308),
    (Redirect(), "no", 0),
    (Statuses(), "200-299,304 404", ((200, 299), (304, 304), (404, 404))),
]  # fmt: skip

REFUSED = [
    (Text(), "", "needs a value"),
    (Name(), "a b", "is not a name"),
    (Name(), "", "is not a name"),
    (Flag(), "maybe", "'maybe' is neither yes nor no"),
    (Integer(), "-1", "-1 is out of bounds: at least 0 is accepted"),
    (Percent(), "101%", "101 is out of bounds: from 0 to 100 is accepted"),
    (Percent(), "%", "'' is not a whole number"),
    (Integer(1, 10), "11", "11 is out of bounds: from 1 to 10 is accepted"),
    (Integer(), "1.0", "'1.0' is not a whole number"),
    (Integer(), "٣", "is not a whole number"),
    (Integer(), "", "is not a whole number"),
    (Number(), "1e3", "'1e3' is not a number"),
    (Number(), ".", "is not a number"),
    (Number(1.5), "1", "1 is out of bounds: at least 1.5 is accepted"),
    (Number(0, 0.5), "1", "1 is out of bounds: from 0 to 0.5 is accepted"),
    (Time(), "5 s", "'5 s' is not a time: write 250ms, 5s, 2m, 1h or 1d"),
    (Time(), "5w", "is not a time"),
    (Time(), "-5s", "is not a time"),
    (Time(), "9" * 400 + "d", "is not a time"),
    (Size(), "1t", "'1t' is not a size: write 512, 64k, 10m or 1g"),
    (Size(), "1.5k", "is not a size"),
    (Access(), "888", "'888' is not an access mode"),
    (Access(), "7777", "is not an access mode"),
    (Word("http", "tcp"), "htp", "unknown 'htp', did you mean 'http'?"),
    (Pattern(), "(", "'(' is not a regular expression: missing )"),
    (Pattern(), "a{99999999999}", "is not a regular expression"),
    (Pattern(), "(" * 5000 + ")" * 5000, "is not a regular expression"),
    (FieldName(), "X Request", "'X Request' is not the name of a header field"),
    (FieldName(), "", "is not the name of a header field"),
    (Networks(), "10.0.0.1/8", "'10.0.0.1/8' is not an address or network"),
    (Networks(), "localhost", "'localhost' is not an address or network"),
    (HostName(), "a..b", "'a..b' is neither a host name nor an address"),
    (HostName(), "", "is neither"),
    (HostName(), "b\u00fccher.example", "is neither"),
    (HostName(), "a" * 64, "is neither"),
    (Words("a", "b"), "a,c", "unknown 'c'; known are a, b"),
    (Path(), "", "needs a path"),
    (Path(), "a\0", "a NUL character in a path"),
    (Paths(), "a,b\0", "a NUL character in a path"),
    (Protocols(), "a" * 256, "is not the name of a protocol"),
    (Protocols(), "h2,\u00e9", "'\u00e9' is not the name of a protocol, as http/1.1 is"),
    (TLSVersion(), "1.3", "unknown '1.3', did you mean 'TLSv1.3'?"),
    (Redirect(), "307", "unknown '307', did you mean '308'?"),
    (Statuses(), "", "needs at least one status"),
    (Statuses(), "299-200", "'299-200' is not a status or a range such as 200-299"),
    (Statuses(), "600", "is not a status"),
]


@pytest.mark.parametrize(("kind", "text", "value"), ACCEPTED)
def test_accepted(kind, text, value):
    assert kind.parse(text) == value


@pytest.mark.parametrize(("kind", "text", "message"), REFUSED)
def test_refused(kind, text, message):
    with pytest.raises(ValueError) as raised:
        kind.parse(text)
    assert message in str(raised.value)


def test_everyKindIsAcceptedAndRefusedSomewhere():
    def named(table):
        return {type(kind) for kind, *_ in table}

    assert named(REFUSED) - {Pattern} == named(ACCEPTED)


def test_patternIsCompiled():
    assert Pattern().parse(r"^\d+$").search("12")


@pytest.mark.parametrize("kind", [kind for kind, *_ in ACCEPTED] + [Pattern()])
@given(text=st.text())
def test_anyTextIsAValueOrAValueError(kind, text):
    try:
        kind.parse(text)
    except ValueError as error:
        assert str(error)


@given(st.integers(0, 10**9))
def test_timesOfDifferentUnitsAreTheSameNumber(number):
    assert Time().parse(f"{number}us") == Time().parse(f"{number / 10**6:.6f}s")
    assert Time().parse(f"{number}ms") == Time().parse(f"{number}")
    assert Time().parse(f"{number}s") == Time().parse(f"{number}000ms") == number
    assert Time().parse(f"{number}m") == Time().parse(f"{number * 60}s")
    assert Time().parse(f"{number}d") == Time().parse(f"{number * 24}h")


def test_formsAreWhatAPersonReads():
    assert Time().form == "TIME"
    assert Word("a", "b").form == "a|b"
    assert Words("a", "b").form == "a,b"


def test_versionsOfTLSSortAsText():
    words = TLSVersion().words
    assert sorted(words) == list(words)


@pytest.mark.parametrize("kind", [Networks(), Paths(), Protocols(), Words("a", "b")])
def test_kindsOfSeveralWordsAreSaidToBeSo(kind):
    assert kind.several
    assert kind.parse("") == ()


def test_suggestion():
    assert suggestion("lestconn", ["leastconn", "random"]) == ", did you mean 'leastconn'?"
    assert suggestion("xyz", ["b", "a"]) == "; known are a, b"
    assert suggestion("xyz", [str(n) for n in range(13)]) == ""
    assert suggestion("xyz", []) == ""


def test_optionIsAFieldThatKnowsItsKind():
    def even(number):
        return "is odd" if number % 2 else None

    @attr.frozen
    class Options:
        name: str = option(Name())
        size: int = option(Size(), 4, "How large.", positional=True, bare="8", check=even)

    name, size = attr.fields(Options)
    assert (name.metadata["bare"], size.metadata["bare"]) == ("", "8")
    assert Options(name="x").size == 4
    assert isinstance(size.metadata["kind"], Size)
    assert size.metadata["doc"] == "How large."
    assert size.metadata["positional"]
    assert size.metadata["check"](3) == "is odd"
    assert not name.metadata["positional"]
    with pytest.raises(TypeError):
        Options()
