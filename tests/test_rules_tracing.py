"""Why a condition holds or not, part by part."""

import pytest
from asked import exchange, request, scope

from lbtwist.rules.expression import Expression
from lbtwist.rules.tracing import trace

FILES = {"names": "a\nb\n"}


def told(text, of=None, **where):
    """@return: the parts of a trace as nested tuples; what was not asked has no value."""

    def plain(part):
        value = (part.value,) if part.asked else ()
        assert part.asked or part.value is None
        return (part.text, *value, *map(plain, part.parts))

    of = request("/a") if of is None else of
    return plain(trace(Expression.parse(text), scope(**where), of))


@pytest.mark.parametrize(
    ("text", "value", "parts"),
    [
        ("tls", False, ()),
        ("True", True, ()),
        ('"a" == "a"', True, ()),
        ("not tls", True, [("tls", False)]),
        ("tls and path", False, [("tls", False), ("path",)]),
        ('path == "/a" or tls', True, [('path == "/a"', True, ("path", "/a")), ("tls",)]),
        ("src if tls else path", "/a", [("tls", False), ("src",), ("path", "/a")]),
        ('src in net("10.0.0.0/8")', False, [("src", "192.0.2.1")]),
        ('host in one_of("names")', False, [("host", "www.example.com")]),
        ('"x" in header', False, ()),
        ('header["host"]', "www.example.com", ()),
        ('match("/(.)", path)[1]', "a", [('match("/(.)", path)', "/a", ("path", "/a"))]),
        ('match("z", path)', None, [("path", "/a")]),
        ("1 <= port < 9 < src_port", False, [("port", 80), ("src_port",)]),
        ('path.strip("/").upper()', "A", [('path.strip("/")', "a", ("path", "/a"))]),
        ('pool("app").up > 1', True, [('pool("app").up', 2)]),
        ("path[1:]", "a", [("path", "/a")]),
        ("inside and tls", False,
         [("inside", True, ('path == "/a"', True, ("path", "/a"))), ("tls", False)]),
        ("tls and inside", False,
         [("tls", False), ("inside", ('path == "/a"', ("path",)))]),
        ("src in office", True, [("src", "192.0.2.1")]),
    ],
)  # fmt: skip
def test_parts(text, value, parts):
    conditions = {"inside": 'path == "/a"', "office": 'net("192.0.2.0/24")'}
    assert told(text, files=FILES, conditions=conditions) == (text, value, *parts)


def test_whatIsNotAskedIsNotNeeded():
    """There is no request, and nobody asks for it."""
    of = exchange(None)
    assert told("tls and path == host", of)[:2] == ("tls and path == host", False)
    assert told("not tls or path", of)[1] is True


def test_whatComesByChanceIsAskedOnce():
    part = trace(Expression.parse("random() < 0.5"), scope(), exchange())
    assert part.value == (part.parts[0].value < 0.5)
