"""
The operators, functions and methods of the language, and every message for what is not of
it.
"""

import warnings

import pytest
from asked import exchange, refused, request, scope, value

from lbtwist.rules.checking import DEEPEST, MOST_GROWTH, MOST_PARTS
from lbtwist.rules.compiling import compiled
from lbtwist.rules.expression import LONGEST, NAMES, Expression, ExpressionError, Scope
from lbtwist.rules.functions import FUNCTIONS, METHODS
from lbtwist.rules.values import Stage

PATH = request("/a/B.php?x=5")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"a"', "a"), ("3", 3), ("-3", -3), ("1.5", 1.5), ("True", True), ("0x10", 16),
        ('"a" "b"', "ab"), (r'"\d"', r"\d"),
        ("path", "/a/B.php"), ("path.normal", "/a/B.php"), ("(path)", "/a/B.php"),
        ("path[0]", "/"), ("path[-1]", "p"), ("path[99]", ""), ("path[-99]", ""),
        ("path[1:]", "a/B.php"), ("path[-4:]", ".php"), ("path[1:2]", "a"), ("path[9:1]", ""),
        ('path == "/a/B.php"', True), ('path != "/"', True), ('path < "/b"', True),
        ('"/a" <= path <= "/b"', True), ('"B" in path', True), ('"B" not in path', False),
        ('path in ("/", "/a/B.php")', True), ('path in ["/"]', False),
        ('path in {"/", path}', True),
        ('path not in ("/",)', True), ("True == tls", False), ("tls != secure", False),
        ("1 < 2 < 3", True), ("3 > 2 >= 2", True), ("1 == 1.0", True),
        ('path + "!"', "/a/B.php!"), ('src + ":" + str(src_port)', "192.0.2.1:4711"),
        ("src_port + 1", 4712), ("src_port - 4712", -1), ("src_port * 2", 9422),
        ("src_port / 2", 2355.5), ("src_port // 2", 2355), ("src_port % 100", 11),
        ("-src_port // 1000", -5), ("not tls", True), ("not path", False),
        ("tls or secure", False), ("tls or path", True), ("tls and path", False),
        ('header["x"] or "none"', "none"), ('header["x"] or src', "192.0.2.1"),
        ("path and host", "www.example.com"), ("src or path", "192.0.2.1"),
        ('"yes" if tls else "no"', "no"), ("src if tls else path", "/a/B.php"),
        ('src == "192.0.2.1"', True), ('"192.0.2.2" != src', True), ("src == src", True),
        ('src == "::ffff:192.0.2.1"', True), ('address("::1") == "0:0:0:0:0:0:0:1"', True),
        ('src in net("192.0.2.0/24")', True), ('src not in net("10.0.0.0/8", "::/0")', True),
        ('address(query["x"]) in net("0.0.0.0/0")', False),
        ('src in (net("::/0") if tls else net("192.0.2.0/24"))', True),
        ('"x" in query', True), ('"y" not in query', True), ('"HOST" in header', True),
        ('"host" in headers', True), ('"x" not in headers', True),
        ('"www.example.com" in headers["host"]', True), ('headers["host"][0]', "www.example.com"),
    ],
)  # fmt: skip
def test_operators(text, found):
    assert value(text, PATH) == found
    assert type(value(text, PATH)) is type(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('path.startswith("/a")', True), ('path.startswith(("/b", "/a"))', True),
        ('path.endswith(".php")', True), ('path.startswith(query["x"])', False),
        ("path.lower()", "/a/b.php"), ("path.upper()", "/A/B.PHP"), ('"ß".casefold()', "ss"),
        ('" a ".strip()', "a"), ('path.strip("/hp")', "a/B."), ('path.lstrip("/")', "a/B.php"),
        ('path.rstrip("ph")', "/a/B."), ('path.removeprefix("/a")', "/B.php"),
        ('path.removesuffix(".php")', "/a/B"), ('path.replace("/", "-")', "-a-B.php"),
        ('path.replace(query["x"], "-")', "/a/B.php"), ('path.find("B")', 3),
        ('path.find("C")', -1),
        ('path.count("/")', 2), ('path.count("")', 9), ('path.split("/")', ["", "a", "B.php"]),
        ('path.split("/")[1]', "a"), ('path.split("/")[7]', ""),
        ('path.partition("/")[2]', "a/B.php"),
        ('path.rpartition("/")', ("/a", "/", "B.php")), ('query["x"].isdigit()', True),
        ("path.isalpha()", False), ('"a1".isalnum()', True), ("path.isascii()", True),
        ('src.startswith("192.")', True), ('path.strip("/").upper()[0]', "A"),
        ("len(path)", 8), ('len(path.split("/"))', 3), ("str(src)", "192.0.2.1"),
        ("str(1.5)", "1.5"),
        ('number(query["x"])', 5), ("number(path)", 0), ("number(path, -1)", -1),
        ('number("12345678901234567890", 7)', 7), ('number(" -12 ")', -12), ('number("٣")', 0),
        ('address("[2001:DB8::1]")', "2001:db8::1"), ('address("fe80::1%eth0")', "fe80::1"),
        ('address("::ffff:10.0.0.1")', "10.0.0.1"), ('address("10.0.0.01")', ""),
        (r'match("/(\w)/(?P<file>.*)", path)[1]', "a"), (r'match("(?P<n>\w+)", path)["n"]', "a"),
        ('match("x(y)?", path)[1]', ""), ('match("/(z)?", path)[1]', ""),
        ('match("/", path)[0]', "/"),
        ('not match("z", path)', True), ('(match("(z)", path) or match("(B)", path))[1]', "B"),
        ('(match("(z)", path) if tls else match("(a)", path))[1]', "a"),
        ('map("hosts", host)', "app one"), ('map("hosts", path)', ""),
        ('map("hosts", path, src)', "192.0.2.1"),
        ('host in one_of("names")', True), ('path in one_of("names")', False),
        ('src in net("@nets", "10.0.0.0/8")', True),
        ('pool("app").up', 2), ('pool("app").servers', 3), ('pool("app").active', 7),
        ('pool("app").queue', 1), ('pool("app").role("primary")', 1),
        ('pool("app").role("STANDBY") + pool("app").role("")', 1),
        ('pool("app").role(header["x-role"]) == 1', False),
        ("0 <= random() < 1", True), ("named and not other", True),
        ("found[1]", "a"), ("src in office", True),
    ],
)  # fmt: skip
def test_functionsAndMethods(text, found):
    files = {
        "hosts": "# names\n\nwww.example.com  app one\nwww.example.com two\n",
        "names": "a.example.com\n  www.example.com\n",
        "nets": "# ours\n192.0.2.0/24\n",
    }
    conditions = {
        "named": 'path.startswith("/a")', "other": "tls", "found": 'match("/(.)", path)',
        "office": 'net("192.0.2.0/24")',
    }  # fmt: skip
    assert value(text, PATH, files=files, conditions=conditions) == found


def test_eachMethodAndFunctionIsTriedAbove():
    tried = str(test_functionsAndMethods.pytestmark) + "rate( connections("
    assert [one for one in METHODS if f".{one}(" not in tried] == []
    assert [one for one in FUNCTIONS if f"{one}(" not in tried] == []


def test_ratesCountEachPlaceForItself():
    now = [100.0]
    text = 'rate(src, "10s") > 2 or rate(src, "1s") > 99'
    asked = compiled(Expression.parse(text).check(scope(seconds=lambda: now[0])))
    assert [asked(exchange()) for _ in range(4)] == [False, False, True, True]
    assert asked(exchange(client=("192.0.2.2", 1))) is False
    now[0] += 30
    assert asked(exchange()) is False


def test_valuesThatCostAreReadOnce(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "lbtwist.rules.compiling.FUNCTIONS",
        {"hostOf": lambda head: asked.append(head) or ""},
    )
    assert value('host == "a" or host == "b" or host == "c"') is False
    assert len(asked) == 1


def test_onlyWhatIsNeededIsRead():
    """There is no request that could be read, and it is not."""
    assert value('tls and path == "/"', exchange(None)) is False


# what is refused

REFUSED = [
    # what is no expression
    ("", 0, "it is not an expression: invalid syntax"),
    ("path ==", 7, "it is not an expression: invalid syntax"),
    ("path = 3", 5, "it is not an expression: "),
    ("src)", 3, "it is not an expression: unmatched ')'"),
    ("path if tls", 0, "it is not an expression: expected 'else' after 'if' expression"),
    ("'a", 0, "it is not an expression: unterminated string literal"),
    ("(" * 300, 200, "it is not an expression: too many nested parentheses"),
    ("1" * 5000, 0, "it is not an expression: Exceeds the limit"),
    ("a\0b", 0, "it is not an expression"),
    ("'\udc80'", 0, "it is not an expression"),
    ("-" * 5000 + "1", 0, "it is not an expression"),
    ("path" + ".x" * 4000, 0, "it is not an expression"),
    ("x" * (LONGEST + 1), 0, f"it is longer than {LONGEST} characters"),
    ("path == '#' # or tls", 12, "there are no comments in an expression"),
    ("(tls or\n path # and\n)", 14, "there are no comments in an expression"),
    # what is too much
    ("not " * DEEPEST + "tls", 4 * DEEPEST, "it is nested too deeply"),
    ("1" + "+1" * DEEPEST, 0, "it is nested too deeply"),
    ("9223372036854775808", 0, "a whole number is less than 9223372036854775808"),
    (r'path == "\ud800"', 8, "half of a character is no text"),
    (r'header["\ud800"]', 7, "half of a character is no text"),
    (r'pool("\udc80").up', 5, "half of a character is no text"),
    ('path.replace("/", "' + "x" * (MOST_GROWTH + 1) + '")', 0, "it could make what a client"),
    ('path.replace(host, "' + "x" * MOST_GROWTH + '")', 0, "it could make what a client sends"),
    ('path.replace("a", "' + 20 * "b" + '").replace("b", "' + 20 * "c" + '")', 0, "it could make"),
    # names
    ("foo", 0, "there is no 'foo'"),
    ("srcc", 0, "there is no 'srcc', did you mean 'src'?"),
    ("tls and srcc", 8, "there is no 'srcc', did you mean 'src'?"),
    ('"é" == foo', 7, "there is no 'foo'"),
    ("(tls or\n  foo)", 10, "there is no 'foo'"),
    ("net", 0, "net is a function: write net(NETWORK, ...)"),
    ("pool", 0, 'pool is a function: write pool("NAME")'),
    ("tls.foo", 0, "there is no 'tls.foo', did you mean 'tls'?"),
    ("path.lower", 0, "lower is called: write .lower(...)"),
    ('header["x"].lower', 0, "lower is called: write .lower(...)"),
    ("src.real", 0, "there is no 'real' of src"),
    ("status", 0, "status is not known yet: a request rule is asked before it"),
    ("tls or server", 7, "server is not known yet: a request rule is asked before it"),
    ("named or tls", 0, "the condition 'named' cannot be asked here: there is no 'foo'"),
    ("circle", 0, "the condition 'circle' cannot be asked here: the condition 'round' cannot be"
     " asked here: the condition 'circle' asks for itself"),
    # parts
    ('header[path]', 7, "a name is written between quotes, it cannot be computed"),
    ("header[1]", 7, "a name is written between quotes, it cannot be computed"),
    ('header["a b"]', 7, "'a b' is not the name of a field"),
    ('header["é"]', 7, "'é' is not the name of a field"),
    ('"Connection" in header', 0, "connection concerns one connection only and cannot be asked"),
    ('headers["TE"]', 8, "te concerns one connection only and cannot be asked for"),
    ("path[tls]", 5, "which part is taken is a plain number, or the name of a group"),
    ("path[True]", 5, "which part is taken is a plain number, or the name of a group"),
    ("path[--1]", 5, "which part is taken is a plain number, or the name of a group"),
    ("path[1.0]", 5, "which part is taken is a plain number, or the name of a group"),
    ('path["a"]', 0, "of path, text, no part is taken"),
    ("src[0]", 0, "of src, an address, no part is taken"),
    ("now[0]", 0, "of now, a number, no part is taken"),
    ("path[::2]", 0, "only of a text a part is taken, as text[FROM:TO] in numbers"),
    ('path["a":]', 0, "only of a text a part is taken, as text[FROM:TO] in numbers"),
    ("headers['x'][1:]", 0, "only of a text a part is taken, as text[FROM:TO] in numbers"),
    ("path[1, 2]", 5, "which part is taken is a plain number, or the name of a group"),
    ('match("a", path)[1]', 17, "the regular expression has no group 1"),
    ('match("(a)", path)[-1]', 19, "the regular expression has no group -1"),
    ('match("(?P<x>a)", path)["y"]', 24, "the regular expression has no group 'y'"),
    ('(match("(a)", path) or match("a", path))[1]', 41, "the regular expression has no group 1"),
    ('(header if tls else query)["x"]', 1, "of texts by name one is taken before there is"),
    ('(header or query)["x"]', 1, 'header is texts by name, neither true nor false: write "NAME"'),
    # what is no value
    ("header", 0, 'header is texts by name, no value: write header["NAME"]'),
    ('net("10.0.0.0/8")', 0, 'net("10.0.0.0/8") is networks, no value: write src in'),
    ("not headers", 4, "headers is texts by name, neither true nor false"),
    ('tls or net("10.0.0.0/8")', 7, 'net("10.0.0.0/8") is networks, neither true nor false: write'),
    ('net("10.0.0.0/8") or net("::/0")', 0, 'net("10.0.0.0/8") is networks, neither true nor'),
    ('path == "/a" or "/b"', 16, '"/b" is always the same: compare it with something'),
    ('"/a" or path', 0, '"/a" is always the same: compare it with something'),
    ("not 1", 4, "1 is always the same: compare it with something"),
    ('src if "x" else dst', 7, '"x" is always the same: compare it with something'),
    ("None", 0, "'None' is neither a text nor a number"),
    ("1j", 0, "'1j' is neither a text nor a number"),
    ('b"x"', 0, "'b\"x\"' is neither a text nor a number"),
    ("...", 0, "'...' is neither a text nor a number"),
    # operators
    ("2 ** 3", 0, "'2 ** 3' is not part of the language"),
    ("1 << 2", 0, "'1 << 2' is not part of the language"),
    ("~1", 0, "'~1' is not part of the language"),
    ("+1", 0, "'+1' is not part of the language"),
    ("path is path", 0, "'path is path' is not part of the language"),
    ('"a" in "b" in path', 0, "'\"a\" in \"b\" in path' is not part of the language"),
    ("-src", 1, "src is an address, a number is needed here"),
    ("-path", 1, "path is text, a number is needed here: write number(path)"),
    ("path + 1", 0, "path is text, a number is needed here: write number(path)"),
    ('"a" + 1', 6, "1 is a number, text is needed here: write str(1)"),
    ('"a" * 9', 0, '"a" is text, a number is needed here: write number("a")'),
    ('"%s" % path', 0, "texts are only added"),
    ("path - host", 0, "texts are only added"),
    ("tls + 1", 0, "tls is yes or no, a number is needed here"),
    ("1 / 0", 4, "what divides is a plain number other than 0"),
    ("1 // 0.0", 5, "what divides is a plain number other than 0"),
    ("1 % -0", 4, "what divides is a plain number other than 0"),
    ("1 / src_port", 4, "what divides is a plain number other than 0"),
    ("1 / (2 - 1)", 5, "what divides is a plain number other than 0"),
    ("1 == True", 0, "1 == True compares a number with yes or no"),
    ("tls < secure", 0, "tls < secure compares yes or no with yes or no"),
    ("path == 3", 0, "path == 3 compares text with a number: write number(path)"),
    ("3 == path", 0, "3 == path compares a number with text: write str(3)"),
    ("tls == 1", 0, "tls == 1 compares yes or no with a number"),
    ('headers["x"] == "a"', 0, 'headers["x"] == "a" compares several texts with text'),
    ('src < "10.0.0.1"', 0, "addresses are equal or not, or in net(...)"),
    ("src == path", 7, "a text is no address: write address(...)"),
    ("path == src", 0, "a text is no address: write address(...)"),
    ('src == ""', 7, "'' is not an address"),
    ('src == "10.0.0.0/8"', 7, "'10.0.0.0/8' is not an address: write in net(\"10.0.0.0/8\")"),
    ('src == "fe80::1"', 7, 'fe80::1 can be on every link: write in net("fe80::1"), or'),
    ('"x" == src == path', 0, "'x' is not an address"),
    ('src in "10.0.0.0/8"', 0, 'an address is looked for in networks: write in net("10.0.0.0/8")'),
    ('src in ("10.0.0.1", "::1")', 0, "an address is looked for in networks: write in"
     ' net("10.0.0.1", "::1")'),
    ("src in path", 0, "an address is looked for in networks: write in net(...)"),
    ('path in net("::/0")', 0, "a text is no address: write address(...)"),
    ("path in 3", 0, "text cannot be in a number: path in 3"),
    ("3 in path", 0, "a number cannot be in text: 3 in path"),
    ("()", 0, "there is nothing in it"),
    ("path in (1, 2)", 9, "1 is a number, text is needed here: write str(1)"),
    ("1 if tls else path", 0, "it is a number or text: both have to be alike"),
    # calls
    ("print(path)", 0, "there is no function 'print'"),
    ("mach('a', path)", 0, "there is no function 'mach', did you mean 'match'?"),
    ("path()", 0, "there is no function 'path'; path is a value: write it without ()"),
    ("path.foo()", 0, "'foo' cannot be called on text"),
    ("path.startwith('/')", 0, "'startwith' cannot be called on text, did you mean 'startswith'?"),
    ("tls.lower()", 0, "'lower' cannot be called on yes or no"),
    ("path.lower(1)", 0, "path.lower takes 0 arguments, not 1"),
    ("path.find()", 0, "path.find takes 1 argument, not 0"),
    ("path.strip('a', 'b')", 0, "path.strip takes 0 to 1 arguments, not 2"),
    ("number(path, default=3)", 0, "arguments are given in order, without names"),
    ("net(*headers)", 0, "arguments are given in order, without names"),
    ("path.find(**query)", 0, "arguments are given in order, without names"),
    ("path.strip(1)", 11, "1 is a number, text is needed here: write str(1)"),
    ("path.startswith(1)", 16, "1 is a number, text is needed here: write str(1)"),
    ('path.startswith(("a", path))', 16, "several texts are written between quotes here"),
    ('path.endswith(headers["x"])', 14, "several texts are written between quotes here"),
    ('path.endswith(one_of("f"))', 14, "several texts are written between quotes here"),
    ("path.strip(host)", 11, "what is taken off is written between quotes"),
    ("path.split(host)", 11, "what separates is written between quotes"),
    ('path.split("")', 11, "what separates is written between quotes"),
    ("path.replace('a', host)", 18, "what is put in is written between quotes"),
    ("path.replace('', 'a')", 13, "what is replaced cannot be empty"),
    ("len(1)", 0, "a number has no length"),
    ("len(header)", 0, "texts by name has no length"),
    ("str(tls)", 0, "yes or no is not made a text"),
    ("address(1)", 8, "1 is a number, text is needed here: write str(1)"),
    ("random(1)", 0, "random takes 0 arguments, not 1"),
    ("net(src)", 4, "a network is written between quotes, it cannot be computed"),
    ('net("10.0.0.1/8")', 0, "'10.0.0.1/8' has bits of a host: write 10.0.0.0/8"),
    ('net("fe80::%1/64")', 0, "'fe80::%1/64' has a zone: write fe80::/64"),
    ('net("x")', 0, "'x' is not a network: write 10.0.0.0/8, 2001:db8::/32 or an address"),
    ('net("@none")', 4, "'none' cannot be read: No such file or directory"),
    ('net("@f")', 0, "'one' is not a network"),
    ('one_of("none")', 7, "'none' cannot be read: No such file or directory"),
    ('map("none", path)', 4, "'none' cannot be read: No such file or directory"),
    ('map("f", path)', 4, "f: 'one' has no value: a line is KEY VALUE"),
    ('map(path, path)', 4, "a file is written between quotes, it cannot be computed"),
    ("match(path, path)", 6, "a regular expression is written between quotes"),
    ('match("(", path)', 6, "'(' is not a regular expression: missing )"),
    ('match("(a+)+b", path)', 6, "'(a+)+b' repeats what repeats, or matches in several ways"),
    ('match("a*a*a*b", path)', 6, "'a*a*a*b' could take long for a long text"),
    ('rate(path, "0")', 11, "a period is longer than 0"),
    ('rate(path, "x")', 11, "'x' is not a time"),
    ("rate(path, src)", 11, "a period is written between quotes, it cannot be computed"),
    ("rate(src_port, '1s')", 5, "src_port is a number, text is needed here: write str(src_port)"),
    ('pool("app")', 0, 'of a pool a value is asked: write pool("NAME").up; there are up,'),
    ('pool("none").up', 0, "there is no [pool none]"),
    ('pool("app").upp', 0, "there is no 'upp' of a pool, did you mean 'up'?"),
    ('pool("app").role', 0, 'role needs a text: write pool("NAME").role("TEXT")'),
    ('pool("app").up()', 0, 'up is a value: write pool("NAME").up without ()'),
    ('pool("app").roles("a")', 0, "there is no 'roles' of a pool, did you mean 'role'?"),
    ('pool("none").role("a")', 0, "there is no [pool none]"),
    ('pool("app").role()', 0, 'pool("app").role takes 1 argument, not 0'),
    ('pool("app").role(1)', 17, "1 is a number, text is needed here: write str(1)"),
    ("pool(path).up", 5, "the name of a pool is written between quotes, it cannot be computed"),
    ('pool("a", "b").up', 0, "pool takes 1 argument, not 2"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "at", "message"), REFUSED, ids=lambda one: repr(one)[:60])
def test_refused(text, at, message):
    conditions = {"named": "foo", "circle": "tls or round", "round": "not circle"}
    said, where = refused(text, files={"f": "one\n"}, conditions=conditions)
    assert said[: len(message)] == message
    assert where == at


def test_httpIsNotKnownInModeTCP():
    where = {"stage": Stage.CONNECTION, "http": False}
    assert refused("tls or path", **where) == ("path is not known in mode = tcp", 7)
    assert refused("path.normal", **where)[0] == "path.normal is not known in mode = tcp"


def test_conditionsHaveTheLimitsOfTheWhole():
    """Each asks for the one before it twice: the last would be 2 to the 40th parts."""
    conditions = {"c0": "tls"} | {f"c{n}": f"c{n - 1} or c{n - 1}" for n in range(1, 41)}
    assert "it has too many parts" in refused("c14", conditions=conditions)[0]
    assert value("c10", conditions=conditions) is False
    deep = {"c0": "tls"} | {f"c{n}": f"not c{n - 1}" for n in range(1, 41)}
    assert "it is nested too deeply" in refused("c40", conditions=deep)[0]
    assert value("c20", conditions=deep) is False
    grows = {"longer": 'path.replace("a", "' + "b" * 20 + '")'}
    text = "longer + longer"
    assert "it could make what a client sends" in refused(text, conditions=grows)[0]


def test_asDeepAsItMayBe():
    for text in (
        "not " * (DEEPEST - 1) + "tls", "1" + "+1" * (DEEPEST - 2),
        "path" + ".strip()" * (DEEPEST - 1), "path" + "[0]" * (DEEPEST - 1),
        "(1 if tls else " * (DEEPEST - 1) + "2" + ")" * (DEEPEST - 1),
        'match("a", ' * 24 + "path" + ")[0]" * 24,
    ):  # fmt: skip
        value(text)
    assert len("tls or " * 1000) < LONGEST < MOST_PARTS * 8
    value("tls or " * 1000 + "tls")


def test_nothingIsWarnedOf():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value(r'path == "\d" or match("[[a]", path)')


def test_alikeAreEqual():
    one, other = Expression.parse("tls"), Expression.parse("tls")
    assert one == other and hash(one) == hash(other)
    assert one != Expression.parse("(tls)")
    assert repr(one) == "Expression(text='tls')"


def test_namesWithAMeaning():
    assert {"src", "tls", "path", "match", "pool", "var"} <= NAMES
    assert "tls.sni" not in NAMES


def test_aPlaceIsOneOfTheText():
    error = ExpressionError("wrong")
    assert error.at == 0 and isinstance(error, ValueError)


def test_filesThatAreNoText():
    def read(name):
        raise ValueError("byte 0xff is not UTF-8")

    with pytest.raises(ExpressionError, match=r"^'f' cannot be read: byte 0xff is not UTF-8$"):
        Expression.parse('one_of("f")').check(Scope(Stage.REQUEST, read=read))


def test_withoutFilesAndPoolsThereAreNone():
    for text, why in (
        ('one_of("f")', "'f' cannot be read: no files are read here"),
        ('pool("app").up', "there is no [pool app]"),
    ):
        with pytest.raises(ExpressionError) as raised:
            Expression.parse(text).check(Scope(Stage.REQUEST))
        assert str(raised.value) == why
