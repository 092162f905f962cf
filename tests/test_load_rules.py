"""
Rules in a configuration: the golden files in C{tests/config/rules}, and how a line is
divided.

C{REGENERATE=1 pytest tests/test_load_rules.py} writes the expected files anew; what
changed is then for a person to read.
"""

from __future__ import annotations

import os
from pathlib import Path

import attr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_load import compare, dump

from lbtwist.config import fill
from lbtwist.config.ini import readText
from lbtwist.config.load import load, loadText
from lbtwist.config.model import Part, RuleLine, RuleOptions
from lbtwist.config.rules import divided
from lbtwist.errors import ConfigError
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.options import FieldName, Integer, Kind, Text, option
from lbtwist.registry import Extension, Registry
from lbtwist.rules.expression import Expression, ExpressionError
from lbtwist.rules.template import Asked, Template, Templated

GOLDEN = Path(__file__).parent / "config" / "rules"


class Several(Kind):
    form = "TEXT"
    repeats = True

    def parse(self, text):
        return (Template.parse(text),)


class Verb:
    def __init__(self, options, context):
        pass


class Bare(Verb):
    @attr.frozen
    class Options:
        pass


class Named(Verb):
    @attr.frozen
    class Options:
        name: Template = option(Templated(), positional=True)


class Deny(Verb):
    @attr.frozen
    class Options:
        status: int = option(Integer(400, 599), 403, positional=True)
        when: Expression | None = option(Asked(), None)


class Say(Verb):
    @attr.frozen
    class Options:
        text: Template | None = option(Templated(), None, positional=True)
        more: tuple = option(Several(), ())


class DelHeader(Verb):
    @attr.frozen
    class Options:
        name: str = option(FieldName(), positional=True)


class Unmakeable:
    @attr.frozen
    class Options:
        name: str = option(Text(), positional=True)

    def __init__(self, options, context):
        raise ValueError(f"{options.name!r} cannot be read")


CONNECTION, REQUEST, RESPONSE = IConnectionRule, IRequestRule, IResponseRule
VERBS = [
    # name, factory, stages, whether it waits, whether it decides
    ("pool", "Named", (CONNECTION, REQUEST), False, True),
    ("reject", "Bare", (CONNECTION, REQUEST), False, True),
    ("allow", "Bare", (CONNECTION, REQUEST, RESPONSE), False, True),
    ("deny", "Deny", (REQUEST,), False, True),
    ("answer", "Deny", (REQUEST,), False, True),
    ("say", "Say", (REQUEST, RESPONSE), False, False),
    ("del-header", "DelHeader", (REQUEST, RESPONSE), False, False),
    ("policy", "Bare", (REQUEST, RESPONSE), True, False),
    ("loud", "NoSuchThing", (REQUEST,), True, False),
    ("unmakeable", "Unmakeable", (REQUEST,), False, False),
]
REGISTRY = Registry(
    Extension(makes, name, f"{__name__}.{factory}", waits=waits, decides=decides)
    for name, factory, stages, waits, decides in VERBS
    for makes in stages
)


def files(folder: str) -> list[str]:
    found = sorted(path.name for path in (GOLDEN / folder).glob("*.ini"))
    assert found
    return found


def golden(folder, name, text):
    compare(GOLDEN / folder / name, text.replace(f"{os.getcwd()}/", ""))


@pytest.mark.parametrize("name", files("good"))
def test_goodFile(name, monkeypatch):
    monkeypatch.chdir(GOLDEN / "good")
    config, warnings = load(name, REGISTRY, {})
    golden("good", name, "\n".join([*dump(config), *map(str, warnings), ""]))


@pytest.mark.parametrize("name", files("bad"))
def test_badFile(name, monkeypatch):
    monkeypatch.chdir(GOLDEN / "bad")
    with pytest.raises(ConfigError) as raised:
        load(name, REGISTRY, {})
    golden("bad", name, "".join(f"{one}\n" for one in raised.value.problems))


POOL = "[pool app]\nserver a = demo:a\n"


def frontend(rules, more=""):
    return f"[frontend www]\nbind = :80\npool = app\n{rules}\n{more}{POOL}"


def config(text, **more):
    return loadText(text, REGISTRY, **more)[0]


def problems(text, **more):
    with pytest.raises(ConfigError) as raised:
        loadText(text, REGISTRY, **more)
    return [str(problem) for problem in raised.value.problems]


def words(text, environ):
    """What a line of rules is divided into: words with their columns, and the condition."""
    [section] = readText("[frontend www]\nrequest = " + text, "lb.ini", environ).sections
    found, condition = divided(section.options[0].lines[0])
    said = [(word.text, word.where.column - 10) for word in found]
    return said, condition and (condition.text, condition.where.column - 10)


@pytest.mark.parametrize(
    ("text", "found", "condition"),
    [
        ("deny", [("deny", 1)], None),
        ("deny if  tls", [("deny", 1)], ("tls", 10)),
        ('deny if path == "if"', [("deny", 1)], ('path == "if"', 9)),
        ('say "a b"c', [("say", 1), ("a bc", 5)], None),
        ("say a\\ b \\if", [("say", 1), ("a b", 5), ("\\if", 10)], None),
        ("say 'if' iff", [("say", 1), ("if", 5), ("iff", 10)], None),
        ("say {if} if tls", [("say", 1), ("{if}", 5)], ("tls", 13)),
        ('say {a["b c"]}d e', [("say", 1), ('{a["b c"]}d', 5), ("e", 17)], None),
        ('say {a + "}" + \'"\'} b', [("say", 1), ('{a + "}" + \'"\'}', 5), ("b", 21)], None),
        ("say {{ a }}", [("say", 1), ("{{", 5), ("a", 8), ("}}", 10)], None),
        ('say "{a["b c"]} d" e', [("say", 1), ('{a["b c"]} d', 5), ("e", 20)], None),
        ('say "{a[\\"b c\\"]} d" e', [("say", 1), ('{a["b c"]} d', 5), ("e", 22)], None),
        ("say \"{a['b']}\" e", [("say", 1), ("{a['b']}", 5), ("e", 16)], None),
        ("say '^[{]$' e", [("say", 1), ("^[{]$", 5), ("e", 13)], None),
        ("say '^a{2,3}$' e", [("say", 1), ("^a{2,3}$", 5), ("e", 16)], None),
        ("say '' e", [("say", 1), ("", 5), ("e", 8)], None),
        ("deny if", [("deny", 1)], ("", 8)),
        ("say ${TWO} if ${YES}", [("say", 1), ("one", 5), ('"two"', 5)], ("tls", 15)),
        ('say "${TWO}"', [("say", 1), ('one "two"', 5)], None),
        ("say a ; if tls", [("say", 1), ("a", 5)], None),
    ],
)
def test_wordsOfALine(text, found, condition):
    assert words(text, {"TWO": 'one "two"', "YES": "tls"}) == (found, condition)


def test_bracesWithoutEnd():
    [section] = readText("[frontend www]\nrequest = say {a} {b", "lb.ini", {}).sections
    with pytest.raises(ExpressionError) as raised:
        divided(section.options[0].lines[0])
    assert raised.value.at == 8


@given(st.text(st.sampled_from("if {}\"'\\ab=,;[](\t"), max_size=40))
def test_anyLineIsEitherAcceptedOrRefused(text):
    try:
        loadText(frontend(f"request = say {text}"), REGISTRY)
    except ConfigError as error:
        assert all(problem.where.line > 0 for problem in error.problems)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n$"), max_size=20))
def test_whatIsInQuotesIsOneWord(text):
    quoted = "".join("\\" + char if char in '"\\' else char for char in text)
    quoted = quoted.replace("{", "{{").replace("}", "}}")
    assert words(f'say "{quoted}" b', {})[0][1][0] == text.replace("{", "{{").replace("}", "}}")


PLACES = [
    # rules, and a mark under what is wrong
    ("request = say {pth}\n",
     "               ^"),
    ('request = say "a \\" {  pth }"\n',
     "                       ^"),
    ('request = say "{header["x"]} {pth}"\n',
     "                              ^"),
    ("request = deny if \t pth\n",
     "                    ^"),
    ('request = deny if path == "äöü" and pth\n',
     "                                    ^"),
    ('request = say more="a" more="{pth}"\n',
     "                              ^"),
    ("request =\n  say {host +\n",
     "      ^"),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "mark"), PLACES)
def test_theColumnIsThatOfWhatIsWrong(rules, mark):
    found = problems(frontend(rules))
    line = 3 + rules.count("\n")
    assert [one.split(" ")[0] for one in found] == [f"lb.ini:{line}:{len(mark)}:"]


def test_aRuleIsItsWordsAndItsCondition():
    [rule] = config(frontend('request = say "{host}!" if tls')).frontends["www"].request
    assert rule == RuleLine(
        'say "{host}!" if tls', Part("say", Say.Options(Template.parse("{host}!"))),
        Expression.parse("tls"),
    )  # fmt: skip
    assert str(rule.where) == "lb.ini:4:11"


def test_onlyVerbsThatWaitHaveADeadline():
    [one, other] = config(frontend("request = policy deadline=2s\n  deny")).frontends["www"].request
    assert (one.asking, other.asking) == (RuleOptions(deadline=2.0), RuleOptions())
    assert Extension(REQUEST, "x", "y.z").waits
    assert not Extension(REQUEST, "x", "y.z").decides


def test_whereRulesAreWrittenDoesNotCompare():
    one = config(frontend("request = deny if tls\nconnection = reject if tls"))
    other = config(frontend("; moved\nconnection =\n\n reject if tls\nrequest =\n   deny if tls"))
    assert one == other


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("rules = a, b\nrequest = say own", "a b own"),
        ("request = say own\nrules = b a", "own b a"),
        ("rules = a", "a"),
        ("request = say own\n say more\nrules =", "own more"),
    ],
)
def test_rulesStandWhereTheyAreNamed(text, order):
    shared = "[rules a]\nrequest = say a\n[rules b]\nrequest = say b\n"
    found = config(shared + frontend(text)).frontends["www"].request
    assert " ".join(rule.verb.options.text.text for rule in found) == order


CONDITIONS = "[conditions]\na = tls\na = path == '/a'\n  path == '/b'\nb = a\n"


def test_conditionsOfOneNameAreJoined():
    found = config(CONDITIONS + frontend("request = deny if b")).conditions
    assert {name: one.text for name, one in found.items()} == {
        "a": "(tls) or (path == '/a') or (path == '/b')", "b": "a",
    }  # fmt: skip


def test_conditionsThatAreTooLongTogether():
    long = "path == '" + 5000 * "a" + "'"
    assert problems(f"[conditions]\na = {long}\n  {long}\n" + frontend("request = deny if a")) == [
        "lb.ini:2:1: error: [conditions] a: it is longer than 8192 characters"
    ]


def test_filesStartWhereTheirNamesAreWritten(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "one.ini").write_text(
        '[conditions]\nknown = host in one_of("hosts")\nmapped = map("pairs", host, "conf") != ""\n'
        'office = src in net("@nets")\n[rules a]\nrequest = deny if path in one_of("../paths")\n'
    )
    for name, text in (
        ("conf/hosts", "www"), ("conf/pairs", "a b"), ("conf/nets", "10.0.0.0/8"), ("paths", "/"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    rules = "rules = a\nrequest = deny if known or mapped or office"
    (tmp_path / "lb.ini").write_text("include = conf/one.ini\n" + frontend(rules))
    found, warnings = load(tmp_path / "lb.ini", REGISTRY)
    assert warnings == []
    assert found.conditions["known"].text == 'host in one_of("hosts")'


def test_filesAreBounded(tmp_path, monkeypatch):
    monkeypatch.setattr(fill, "LONGEST_FILE", 10)
    (tmp_path / "names").write_text(11 * "a")
    [found] = problems(frontend('request = deny if path in one_of("names")'),
                       name=str(tmp_path / "lb.ini"))  # fmt: skip
    assert found.endswith("deny: if: 'names' cannot be read: it is longer than 10 bytes")


def test_rulesThatNameEveryPool():
    spare = "[pool spare]\nserver a = demo:a\n"
    _, warnings = loadText(frontend("request = pool {host}", spare), REGISTRY)
    assert warnings == []
    _, [warning] = loadText(frontend("request = pool app if tls", spare), REGISTRY)
    assert warning.message == "[pool spare] is used by no frontend"


@pytest.mark.parametrize(
    ("mode", "rules", "wanted"),
    [
        ("http", "request = deny", ""),
        ("http", "connection = reject", ""),
        ("http", "request = pool app", ""),
        ("http", "request = pool app if True", ""),
        ("http", "request = allow", "that no rule decides"),
        ("http", "request = deny if tls", "that no rule decides"),
        ("http", "request = allow if tls\n  deny", ""),
        ("http", "response = allow", "every request"),
        ("tcp", "connection = reject", ""),
        ("tcp", "connection = pool app", ""),
        ("tcp", "connection = reject if tls", "write pool = NAME"),
    ],
)
def test_whoNeedsAPool(mode, rules, wanted):
    text = f"[frontend www]\nmode = {mode}\nbind = :80\n{rules}\n"
    try:
        _, found = loadText(text + POOL, REGISTRY)
    except ConfigError as error:
        found = error.problems
    messages = [one.message for one in found if "has no pool" in one.message]
    assert len(messages) == bool(wanted)
    assert all(wanted in message for message in messages)


def test_aRuleSharedByManyIsToldOfOnce():
    text = "[rules a]\nrequest = deny if pth\n" + "".join(
        f"[frontend {name}]\nbind = :8{name}\npool = app\nrules = a\n" for name in "123"
    )
    assert problems(text + POOL) == [
        "lb.ini:2:19: error: [frontend 1] request: deny: if: there is no 'pth',"
        " did you mean 'path'?"
    ]


def test_rulesOfHTTPInATCPFrontend():
    # Row 000.13: an iRule with HTTP::disable, and no HTTP profile.
    rules = "mode = tcp\nrequest =\n  allow\n  deny if header['Upgrade'] == 'websocket'"
    assert problems(frontend(rules)) == [
        f"lb.ini:{line}:3: error: [frontend www] request: {verb}: says nothing in mode = tcp;"
        " remove it or write mode = http"
        for line, verb in ((6, "allow"), (7, "deny"))
    ]


def test_whatALineThatCannotBeReadWouldHaveAskedFor():
    conditions = "[conditions]\na = tls\n"
    [found] = problems(conditions + frontend("request = dney if a"))
    assert "unknown verb" in found


def test_theNameOfAVerbThatIsMissingEverywhere():
    [found] = problems(frontend("request = poool app"))
    assert found.endswith("unknown verb 'poool', did you mean 'pool'?")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("True", "true"), ("not True", "false"), ("1 < 2", "true"), ('""', "false"),
        ('match("a", "b")', "false"), ('match("a", "a")', "true"),
        ('"a" in one_of("names")', "true"), ('map("pairs", "a") == "b"', "true"),
        ('"x".lower() == "x"', "true"), ("2 * 3 == 6", "true"), ("known", "true"),
        ("random() < 2", ""), ('rate("a", "1m") > 0', ""), ('connections("a") > 0', ""),
        ('pool("app").servers', ""), ("tls", ""), ("now > 0", ""), ("src", ""),
    ],
)  # fmt: skip
def test_whatIsAlwaysTrueOrFalse(condition, said, tmp_path):
    (tmp_path / "names").write_text("a\n")
    (tmp_path / "pairs").write_text("a b\n")
    rules = f"request = say x if {condition}\n  say x if known"
    text = "[conditions]\nknown = 1 == 1\n" + frontend(rules)
    _, warnings = loadText(text, REGISTRY, name=str(tmp_path / "lb.ini"))
    found = [one.message for one in warnings if one.where.line == 6]
    assert found == [f"[frontend www] request: say: the condition is always {said}"] * bool(said)


TRUST = [
    ('header["X-Forwarded-For"] != ""', True),
    ('headers["x-real-ip"]', True),
    ('"TRUE-client-ip" in header', True),
    ('tls and address(header["CF-Connecting-IP"]) in net("10.0.0.0/8")', True),
    ('header["X-Forwarded-For"] != "" and trusted', False),
    ('src in net("10.0.0.0/8") and "X-Real-IP" in header', False),
    ('header["X-Forwarded-Proto"] == "https"', False),
    ('query["X-Real-IP"] == "10.0.0.1"', False),
]


@pytest.mark.parametrize(("condition", "doubtful"), TRUST)
def test_fieldsThatClientsSayOfThemselves(condition, doubtful):
    rules = f"request = deny if {condition}"
    _, warnings = loadText(frontend(rules), REGISTRY)
    assert [f"{one.where}" for one in warnings] == ["lb.ini:4:19"] * doubtful
    _, warnings = loadText(frontend(f"trusted-proxies = 10.0.0.1\n{rules}"), REGISTRY)
    assert warnings == []
