"""
Getting out of the language: what is no value, function or method of it cannot be reached,
and what comes of an expression is made of our own code.
"""

import ast
import unicodedata

import pytest
from asked import exchange, refused, request, scope, value
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbtwist.rules.compiling import Function, compiled
from lbtwist.rules.expression import NAMES, Expression, ExpressionError
from lbtwist.rules.functions import FUNCTIONS, METHODS
from lbtwist.rules.template import Template
from lbtwist.rules.values import VALUES


def wide(name):
    """@return: a name in letters of double width, which Python reads as the plain ones."""
    return "".join(chr(ord(char) + 0xFEE0) for char in name)


ATTEMPTS = [
    # what every object has
    "().__class__", "path.__class__", "''.__class__.__mro__[1].__subclasses__()", "src.__doc__",
    "path.__len__()", "path.lower.__self__", "path.lower.__globals__", "(1).__class__",
    "1 .real", "True.real", "now.as_integer_ratio()", "tls.__class__", "tls.client.__init__",
    "header.__dict__", "header.fields", "headers.line", "headers.fields.items()", "header.get('x')",
    "header.pop('host')", "headers.__class__", "query.items()", "cookie.clear()", "var.update()",
    "net('10.0.0.0/8').known", "match('a', path).re", "match('a', path).string",
    "match('a', path).group(0)", "pool('app').__class__", "pool('app').servers.clear()",
    "pool('app').usable", "pool('app').shutdown()", "random.seed(1)", "random.__self__",
    # what texts can be made to do
    "'{0.__class__}'.format(path)", "'{a}'.format_map(header)", "path.join(('a', 'b'))",
    "path.encode()", "path.translate(header)", "path.maketrans('a', 'b')", "path.ljust(999999999)",
    "path.center(999999999)", "path.zfill(999999999)", "path.expandtabs(999999999)",
    "'%999999999d' % 1", "'a' * 999999999", "path * 9", "9 * path", "[path] * 9", "f'{path}'",
    "f'{path.__class__}'", "f'{path!r:>99999999}'", "path.splitlines()", "path.index('z')",
    # what is built in
    "__import__('os')", "__builtins__", "__builtins__['eval']('1')", "eval('1')", "exec('1')",
    "open('/etc/passwd')", "getattr(path, 'lower')", "setattr(path, 'x', 1)", "globals()",
    "locals()",
    "vars()", "dir()", "type(path)", "object()", "breakpoint()", "input()", "print(path)",
    "id(path)",
    "int(path)", "float('nan')", "chr(0)", "bytes(9)", "range(9)", "list(path)", "sum((1, 2))",
    "compile('1', 'x', 'eval')", "__name__", "__debug__ == 1", "Ellipsis", "NotImplemented",
    # our own names
    "exchange", "exchange.request", "connection", "connection.client", "connection.client[0]",
    "response.status", "head", "head.fields", "VALUE_path", "VALUE_path_DOT_normal", "OBJECT_1",
    "kept_path", "kept_host", "found", "ask_0", "rule_0", "ask_0(exchange)", "field", "fields",
    "field(header, 'host')", "text", "text(path)", "fieldsOf(head)", "item(path, 0)", "chosen",
    "matched", "joined(headers)", "product(2, 2)", "now()", "NO_TLS", "NOTHING", "SEEN", "asValue",
    "askRules", "BASE", "KEY", "TEXT", "CODE",
    # other parts of Python
    "lambda: 1", "(lambda: path)()", "[x for x in path]", "{x for x in path}", "(x for x in path)",
    "{x: 1 for x in path}", "{'a': 1}", "{**header}", "(x := path)", "[x := path]", "[*headers]",
    "(*path,)", "await path", "(yield)", "(yield from path)", "print(*path)",
    "number(default=path)",
    "2 ** 99999999", "1 << 99999999", "1 | 2", "1 & 2", "1 ^ 2", "~1", "path @ path", "not ...",
    "path is None", "path is not path", "...", "None", "b'x'", "1j", "path[...]", "path[()]",
    "path[1, 2]", "path[None]", "path[::-1]", "path[path]", "header[()]", "header[None]",
    "header[b'host']", "header['a':'b']", "header[header]", "header[('host',)]", "header[f'host']",
    "path[99999999999999999999999]['x']", "path[-True]", "query[1.5]", "headers[0]", "tls[0]",
    "match('a', path)[0.0]", "match('a', path)[True]",
    # functions and methods as values, values as functions
    "len", "net", "str", "path.lower", "(path.lower)", "len(len)", "str(str)", "len.__call__(path)",
    "path.lower()()", "path()", "'x'()", "(net)('10.0.0.0/8')()", "[len][0](path)",
    "(len or str)(path)",
    "(len if tls else str)(path)", "net('::/0')('::1')", "(path.lower if tls else path.upper)()",
    "str.lower(path)", "str.format('{}', path)", "src.client", "tls.client.certificate",
    "tls.protocol", "proxied.ssl", "path.normal.path", "tls.sni.tls", "response.response",
    # statements
    "import os", "path; path", "path\npath", "del path", "x = 1", "x: int = 1", "return path",
    "raise path", "pass", "assert tls", "global path", "@path", "if tls: path", "def f(): 1",
    "path)(path", "'\\N{DIGIT ONE}' + 1",
    # letters that Python takes for others (PEP 3131)
    f"__{wide('import')}__('os')", f"{wide('eval')}('1')", f"{wide('open')}('x')", wide("exchange"),
    f"path.__{wide('class')}__", f"path._{wide('_class__')}", f"{wide('exchange')}.request",
    "\ufb01eld(header, 'x')", f"{wide('VALUE')}_path", "\u212a", "\u017frcc", "path\u203fx",
    "path.\u1d62ndex('x')", f"path.{wide('format')}()", f"{wide('lambda')}: 1",
]  # fmt: skip


def test_enoughIsTried():
    assert len(set(ATTEMPTS)) == len(ATTEMPTS) > 200


@pytest.mark.parametrize("text", ATTEMPTS)
def test_nobodyGetsOut(text):
    refused(text)
    with pytest.raises(ExpressionError):
        Template.parse("{" + text.replace("{", "{{") + "}").compiled(scope())


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (wide("path"), "path"), (f"path.{wide('lower')}()", "path.lower()"),
        ("path.\ufb01nd('/')", "path.find('/')"), ("\u017frc == dst", "src == dst"),
        (f"{wide('len')}(path)", "len(path)"), ("path.\uff4eormal", "path.normal"),
        (f"{wide('number')}({wide('path')})", "number(path)"),
    ],
)  # fmt: skip
def test_lettersOfOtherWidthsAreTheSameNames(text, same):
    """As in Python: a name is compared after it was normalised, never before."""
    assert unicodedata.normalize("NFKC", text) == same
    assert value(text) == value(same)


def test_conditionsNamedLikeOurOwnCode():
    """Such a condition is what it says, and nothing of ours is what it says."""
    ours = [
        "exchange", "connection", "head", "response", "VALUE_path", "VALUE_path_DOT_normal",
        "OBJECT_1", "kept_path", "field", "text", "item", "found", "SEEN", "BASE", "KEY", "HIT",
        "asValue", "product", "NOTHING", "lower", "client", "normal",
    ]  # fmt: skip
    asked = 'path == "/a" and header["host"] != "" and path.lower()[0] == "/" and tls.client'
    for name in ours:
        conditions = {name: '"theirs"'}
        assert value(name, conditions=conditions) == "theirs"
        assert value(f"{name} + path", conditions=conditions) == "theirs/"
        assert value(f'({asked}) or {name} == "theirs"', conditions=conditions) is True
        assert value(asked, request("/a"), conditions=conditions) is False


def test_compiledCodeReachesNothingElse():
    function = Function()
    typed = Expression.parse('path == "/" and src in net("10.0.0.0/8")').check(scope())
    code = function.code(typed)
    names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)}
    assert attributes == {"target", "partition", "client", "known"}
    ours = {"text", "head", "kept_path", "connection"}
    assert {name for name in names if not name.startswith("OBJECT_")} == ours
    assert compiled(typed).__globals__["__builtins__"] == {}


WORDS = st.sampled_from(
    [
        *sorted(NAMES), *sorted(VALUES), *(f".{one}(" for one in METHODS), "(", ")", "[", "]", "{",
        "}", ",", ".", ":", "'", '"', " or ", " and ", "not ", " in ", " if ", " else ", "==", "<",
        "+", "-", "*", "/", "%", "**", ":=", "lambda ", "for ", "await ", "0", "1", "''", '"a"',
        "__class__", "exchange", "f''", "\\", "\n", "#", "é", "\ufb01", "\0", "\udc80", "=", "_",
    ]
)  # fmt: skip
REACHED = frozenset((*METHODS, "get", "known")) | {
    node.attr
    for one in VALUES.values()
    for node in ast.walk(ast.parse(one.code))
    if isinstance(node, ast.Attribute)
}


@settings(max_examples=1500, deadline=None)
@example("path.lower()")
@given(st.lists(WORDS, max_size=12).map("".join))
def test_whateverIsWrittenIsRefusedOrOfTheLanguage(text):
    try:
        typed = Expression.parse(text).check(scope())
    except ExpressionError as error:
        assert 0 <= error.at <= len(text)
        return
    code = Function().code(typed)
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute):
            assert node.attr in REACHED
        assert not isinstance(node, (ast.Lambda, ast.Starred, ast.keyword, ast.Await))
    compiled(typed)(exchange())


def test_noNameOfTheLanguageBeginsWithAnUnderscore():
    assert not {name for name in (*FUNCTIONS, *METHODS) if name.startswith("_")}
