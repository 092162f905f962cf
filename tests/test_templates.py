"""Text with expressions in it."""

import pytest
from asked import exchange, request, scope
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.rules.expression import Expression, ExpressionError
from lbtwist.rules.template import Asked, Template, Templated, closing

OF = request("/a?x=%7B&y=%7Bsrc%7D", "X-A: 1", "X-A: 2")


def made(text, of=OF, **where):
    return Template.parse(text).compiled(scope(**where))(of)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""), ("plain", "plain"), ("{path}", "/a"),
        ("https://{host}{uri}!", "https://www.example.com/a?x=%7B&y=%7Bsrc%7D!"),
        ("{{path}}", "{path}"), ("{{{path}}}", "{/a}"), ("}}{{", "}{"), ("{ path }", "/a"),
        ("{tls}{not tls}", "01"), ("{src_port}", "4711"), ("{src}", "192.0.2.1"),
        ("{1.5 * 2}", "3.0"),
        ('{headers["x-a"]}', "1,2"), ('{match("(.)a", path)}', "/a"), ('{match("z", path)}', ""),
        ('{path.split("/")}', ",a"), ("{'}'}", "}"), ('{"{"}', "{"), (r"{'\'}'}", "'}"),
        ('{path if tls else "{}"}', "{}"),
        ('{query["x"]}', "{"), ('{query["y"]}', "{src}"), ("{'%s'}%s{{0}}", "%s%s{0}"),
        ("{inside}", "1"),
        ('{path in {"/a", "/b"}}', "1"), ("é{path}é", "é/aé"),
    ],
)  # fmt: skip
def test_texts(text, found):
    assert made(text, conditions={"inside": 'path == "/a"'}) == found


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("a{path", 1, "there is a '{' without its '}': a plain one is '{{'"),
        ("a}", 1, "there is a '}' without its '{': a plain one is '}}'"),
        ("{path}}", 6, "there is a '}' without its '{': a plain one is '}}'"),
        ("{'}", 0, "there is a '{' without its '}': a plain one is '{{'"),
        ("ab{path ==}", 10, "it is not an expression: invalid syntax"),
        ("ab{ foo}", 4, "there is no 'foo'"),
        ("{path}{ tls or  foo }", 16, "there is no 'foo'"),
        ("{header}", 1, 'header is texts by name, no value: write header["NAME"]'),
        ('x{net("::/0")}', 2, 'net("::/0") is networks, no value: write src in net("::/0")'),
        ("{path!r}", 5, "it is not an expression: "),
        ("{path:>9}", 5, "it is not an expression: "),
        ("{status}", 1, "status is not known yet: a request rule is asked before it"),
    ],
)
def test_refused(text, at, message):
    with pytest.raises(ExpressionError) as raised:
        Template.parse(text).compiled(scope())
    assert str(raised.value).startswith(message)
    assert raised.value.at == at


def test_whatIsConstantIsKnown():
    assert Template.parse("a{{b").constant == "a{b"
    assert Template.parse("").constant == ""
    assert Template.parse("a{path}").constant is None
    assert Template.parse("{'a'}").constant is None
    assert Template.parse("a{{").compiled(scope())(None) == "a{"


def test_alikeAreEqual():
    assert Template.parse("a{path}") == Template.parse("a{path}") != Template.parse("a{ path}")


@given(st.text())
def test_everyTextCanBeWritten(text):
    assert made(text.replace("{", "{{").replace("}", "}}")) == text


@given(st.text("{}'\"\\a", max_size=20))
def test_whateverIsWrittenIsATextOrRefused(text):
    try:
        made(text)
    except ExpressionError as error:
        assert 0 <= error.at <= len(text)


@given(st.binary(max_size=20).filter(lambda data: b"\n" not in data and b"\r" not in data))
def test_whatComesIsPutInAsItIs(data):
    of = exchange()
    of.request.target = b"/" + data.replace(b"?", b"")
    path = of.request.target.decode("utf-8", "surrogateescape")
    assert made("<{path}>", of) == f"<{path}>"


def test_closing():
    assert closing("a{b{c}}d}", 1) == 6
    assert closing("{'}'}", 0) == 4
    with pytest.raises(ExpressionError):
        closing("{'}\\'}", 0)


def test_asOptionsOfVerbs():
    assert Templated().parse("a{path}") == Template.parse("a{path}")
    assert Asked().parse("path") == Expression.parse("path")
    assert (Templated.form, Asked.form) == ("TEXT", "EXPRESSION")
