"""
Whatever a client sends, no expression that was accepted raises, and none becomes larger
than what it sends by more than what was accepted of it.
"""

import math

import pytest
from asked import exchange, scope, value
from hypothesis import given, settings
from hypothesis import strategies as st

from lbtwist.rules.checking import MOST_GROWTH, ExpressionError
from lbtwist.rules.compiling import compiled
from lbtwist.rules.expression import Expression
from lbtwist.rules.reading import text, wire
from lbtwist.rules.template import Template
from lbtwist.rules.tracing import trace
from lbtwist.rules.values import POOL_VALUES, REPEATED, VALUES, Kind, Stage

# requests that nobody writes by mistake

BYTES = st.binary(max_size=40) | st.sampled_from(
    [
        b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"%", b"%u00e9", b"%00%ff", b"1" * 30,
        b"-9223372036854775808", b"1e999", b"nan", b"::1%" + b"z" * 900, b"[::1", b"256.1.1.1",
        b"\xd9\xa3", b"\xc4\xb0", b"=;=;,==", b"&&&==&", b"{path}", b"'\"\\", b"/../..//%2e%2e/",
    ]
)  # fmt: skip
IN_FIELD = BYTES.map(lambda data: bytes(byte for byte in data if byte >= 32 and byte != 127))
HEADERS = [b"X-A", b"x-a", b"Cookie", b"X-Forwarded-Proto", b"X-Forwarded-For"]


@st.composite
def hostile(draw):
    fields = draw(st.lists(st.tuples(st.sampled_from(HEADERS), IN_FIELD), max_size=5))
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    made = exchange(
        b"GET / HTTP/1.1\r\nHost: a.example.com\r\n%b\r\n" % lines,
        b"HTTP/1.1 200 OK\r\nX-A: %b\r\nContent-Length: 0\r\n\r\n" % draw(IN_FIELD),
        client=draw(st.sampled_from([("192.0.2.1", 1), ("fe80::1%eth0", 2), ("unix", 0)])),
        trusted=draw(st.booleans()),
    )
    # More than a reader accepts.
    query = draw(st.sampled_from([b"a", b"", b"%61"]))
    made.request.target = b"/%b?%b=%b" % (draw(BYTES), query, draw(BYTES))
    made.vars = draw(st.sampled_from([None, {"a": text(b"\xff" * 9)}, {"b": ""}]))
    return made


# expressions that are accepted

PLAIN = st.sampled_from(
    ['""', '"a"', '"/"', r'"\n"', '"é"', '"%2e"', '"ß"', '"\\U0001f600"', r"'\''", '"0"', '","']
)
NEEDED = PLAIN.filter(lambda one: one != '""')
NUMBERS = st.sampled_from(
    ["0", "1", "-1", "7", "0.0", "-0.5", "1e308", "1e999", "9223372036854775807", "1e-320", "64"]
)
NAMES = st.sampled_from(["a", "x-a", "cookie", "A", "x-forwarded-for"])
PATTERNS = st.sampled_from(
    [r"(a)|(b)", r"^/([^/]*)/?", r"\w+\W", r"(?P<x>.)?", r"\udcff", r"(?i)K", r"$", r"(..)\1"]
)


def of(kind):
    found = [one.name for one in VALUES.values() if one.kind is kind]
    return st.sampled_from(found)


def call(form, *parts):
    return st.tuples(*parts).map(lambda found: form.format(*found))


KEPT = sorted(one.name for one in VALUES.values() if one.kind is Kind.FIELDS)
FIELDS = st.sampled_from([one for one in KEPT if one not in REPEATED])
SEVERAL = st.sampled_from(sorted(REPEATED))
METHODS0 = st.sampled_from(["lower", "upper", "casefold", "strip", "lstrip", "rstrip"])
METHODS1 = st.sampled_from(["removeprefix", "removesuffix"])
STRIPS = st.sampled_from(["strip", "lstrip", "rstrip"])
TESTS0 = st.sampled_from(["isdigit", "isalpha", "isalnum", "isascii"])
TESTS1 = st.sampled_from(["startswith", "endswith"])
PARTED = st.sampled_from(["split", "partition", "rpartition"])
INDEX = st.sampled_from(["0", "1", "-1", "2", "99", "-99", "9999999999"])
ENDS = st.sampled_from(["", "0", "1", "-1", "99", "-99", "9999999999"])

TEXT = st.deferred(
    lambda: of(Kind.TEXT) | PLAIN
    | call('{0}["{1}"]', FIELDS, NAMES) | call("{0}[{1}]", TEXTS, INDEX)
    | call("{0}.{1}()", TEXT, METHODS0) | call("{0}.{1}({2})", TEXT, METHODS1, TEXT)
    | call("{0}.{1}({2})", TEXT, STRIPS, NEEDED)
    | call("{0}.replace({1}, {2})", TEXT, TEXT, PLAIN)
    | call("{0}[{1}]", TEXT, INDEX) | call("{0}[{1}:{2}]", TEXT, ENDS, ENDS)
    | call("({0} + {1})", TEXT, TEXT) | call("({0} or {1})", ADDRESS, TEXT)
    | call("({0} if {1} else {2})", TEXT, TRUTH, TEXT) | call("str({0})", NUMBER | ADDRESS)
    | call('match(r"{0}", {1})[0]', PATTERNS, TEXT)
    | call("match(r'^(.)(?P<x>.)?', {0})['x']", TEXT)
    | call('map("pairs", {0}, {1})', TEXT, TEXT)
)  # fmt: skip
ADDRESS = st.deferred(
    lambda: of(Kind.ADDRESS) | call("address({0})", TEXT)
    | call("({0} if {1} else {2})", ADDRESS, TRUTH, ADDRESS)
)  # fmt: skip
TEXTS = st.deferred(
    lambda: of(Kind.TEXTS) | call('{0}["{1}"]', SEVERAL, NAMES)
    | call("{0}.{1}({2})", TEXT, PARTED, NEEDED) | call("({0}, {1})", TEXT, TEXT)
    | call("[{0}]", TEXT)
)  # fmt: skip
NUMBER = st.deferred(
    lambda: of(Kind.NUMBER) | NUMBERS
    | call("number({0})", TEXT) | call("number({0}, {1})", TEXT, NUMBER)
    | call("len({0})", TEXT | TEXTS) | call("{0}.find({1})", TEXT, TEXT)
    | call("{0}.count({1})", TEXT, TEXT) | call("-({0})", NUMBER) | call("rate({0}, '1s')", TEXT)
    | call("({0} {1} {2})", NUMBER, st.sampled_from("+-*"), NUMBER)
    | call("({0} {1} {2})", NUMBER, st.sampled_from(["/", "//", "%"]),
           st.sampled_from(["1", "-3", "0.1", "1e-320", "-1e308", "1e999", "9223372036854775807"]))
    | st.sampled_from([f'pool("app").{one}' for one in POOL_VALUES] + ["random()"])
)  # fmt: skip
TRUTH = st.deferred(
    lambda: of(Kind.TRUTH) | call("(not {0})", TRUTH) | call("(not {0})", FROM_REQUEST)
    | call("({0} {1} {2})", TRUTH, st.sampled_from(["and", "or", "==", "!="]), TRUTH)
    | call("({0} {1} {2})", TEXT, st.sampled_from(["==", "!=", "<", ">="]), TEXT)
    | call("({0} {1} {2} {3} {4})", NUMBER, st.sampled_from(["<", "=="]), NUMBER,
           st.sampled_from([">", "!="]), NUMBER)
    | call("({0} in {1})", TEXT, TEXT | TEXTS) | call("({0} not in one_of('names'))", TEXT)
    | call('("{0}" in {1})', NAMES, FIELDS | SEVERAL)
    | call("({0} {1} {2})", ADDRESS, st.sampled_from(["==", "!="]), ADDRESS)
    | call('({0} in net("192.0.2.0/24", "::/0"))', ADDRESS)
    | call("{0}.{1}()", TEXT, TESTS0) | call("{0}.{1}({2})", TEXT, TESTS1, TEXT)
)  # fmt: skip
FROM_REQUEST = of(Kind.TEXT) | of(Kind.TEXTS) | of(Kind.ADDRESS)
ANYTHING = TEXT | ADDRESS | TEXTS | NUMBER | TRUTH
WHERE = {"stage": Stage.RESPONSE, "files": {"pairs": "/ a\n", "names": "/\n/a\n"}}


@st.composite
def written(draw, *kinds):
    return draw(st.one_of(kinds))


def accepted(said, where):
    """@return: it checked; L{None} where a limit is in its way, or what always holds."""
    try:
        return Expression.parse(said).check(where)
    except ExpressionError as error:
        limits = ("nested too deeply", "always the same", "times as long", "cannot be empty")
        assert any(one in str(error) for one in limits), (said, str(error))
        return None


@settings(max_examples=500, deadline=None)
@given(written(ANYTHING), hostile())
def test_nothingRaises(said, of):
    typed = accepted(said, scope(**WHERE))
    if typed is None:
        return
    found = compiled(typed)(of)
    if isinstance(found, str):
        wire(found)
        assert len(found) <= 4000 * MOST_GROWTH
    Template.parse("<{" + said.replace("{", "{{") + "}>").compiled(scope(**WHERE))(of)


@settings(max_examples=200, deadline=None)
@given(written(TRUTH, TEXT), hostile())
def test_aTraceSaysWhatIsDecided(said, of):
    typed = accepted(said, scope(**WHERE))
    if typed is None or any(one in said for one in ("now", "random()")):
        return
    part = trace(Expression.parse(said), scope(**WHERE), of)
    assert part.asked and part.text in said
    found = compiled(typed)(of)
    assert part.value == found or (math.isnan(found) and math.isnan(part.value))


# one by one

LARGE = {"longer": "product", "n": "number(query['n'])"}


@pytest.mark.parametrize(
    "said",
    [
        "*".join(["n"] * 40), "*".join(["n"] * 40) + "/ 3", "*".join(["n"] * 40) + "% 7 + 0.5",
        "n * 1e999 // 3",
        "1.5 * " + "*".join(["n"] * 30), "str(" + "*".join(["n"] * 40) + ") == ''",
        "-n * n - n * n * 9223372036854775807 // 9223372036854775807", "n * 1e308 - n * 1e308",
        "n * 0.0 % 1", "n * 1e999 % 1", "len(str(n * n * n * n))",
    ],
)  # fmt: skip
def test_numbersStaySmall(said):
    for digits in ("9" * 19, "-" + "9" * 18, "0", ""):
        of = exchange(b"GET /?n=%b HTTP/1.1\r\nHost: a\r\n\r\n" % digits.encode())
        found = value(said, of, conditions=LARGE)
        assert isinstance(found, (float, bool)) or abs(found) < 2**128


def test_textsStaySmall():
    of = exchange(b"GET /%b HTTP/1.1\r\nHost: a\r\nX-A: \r\n\r\n" % (b"a" * 8000))
    assert len(value(f'path.replace("a", "{"b" * MOST_GROWTH}")', of)) == 8000 * MOST_GROWTH + 1
    once = f'path.replace(header["x-a"], "{"b" * (MOST_GROWTH - 1)}")'
    assert len(value(once, of)) == 8002 * (MOST_GROWTH - 1) + 8001


@pytest.mark.parametrize(
    "said",
    [
        'path.find(header["x-a"])', 'path.count(header["x-a"])', 'header["x-a"] in path',
        'path.replace(header["x-a"], "")', 'path.startswith(header["x-a"])', 'path.split("/")[5]',
        'path.normal', 'query["a"]', 'cookie["a"]', 'path.casefold().upper()', 'address(path)',
        'number(path)', r'match(r"/\w+$", path)', 'match("^.*a.*c", path)',
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", [b"a", b"/..", b"%2e", b"&a=%41", b"=;", b"\xc4\xb0", b"//."])
def test_longRequestsTakeNoTime(said, unit):
    """Each would take minutes if it grew with the square of what is sent a few times over."""
    field = unit * (15000 // len(unit)) + b"b"
    of = exchange(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: %b\r\nCookie: %b\r\n\r\n" % (field, field))
    half = unit * (8000 // len(unit))
    of.request.target = b"/" + half + b"?" + half
    value(said, of)
