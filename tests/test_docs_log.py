"""C{docs/log.md} explains what is written, all of it, and shows true lines."""

import json
import re
from pathlib import Path

import pytest
from heads import get
from test_accesslog import SESSION, UNREAD, ended, paris, written  # noqa: F401

from lbtwist import logwriter
from lbtwist.exchange import Cause, Stage, TLSInfo
from lbtwist.logalias import ALIASES
from lbtwist.logformat import FLAGS, TYPES, WORDS, LogFormat
from lbtwist.logline import Surroundings, lineOf
from lbtwist.persistence.bond import Came, Went
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage as Asked

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "log.md").read_text()


def section(title):
    """@return: the text below a heading, up to the next of any depth."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def explained(text):
    """@return: the words of the first column of a table whose last column is not empty."""
    rows = [row.strip("|").split(" | ") for row in text.splitlines() if row.startswith("| `")]
    return [word for row in rows if any(row[1:]) for word in re.findall(r"`([^`]+)`", row[0])]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)


def letters(kind):
    return sorted(value for name, value in vars(kind).items() if not name.startswith("_"))


def keys(value):
    """@return: the keys of an object and of the objects in it."""
    for key, inner in value.items():
        yield key
        if isinstance(inner, dict):
            yield from keys(inner)


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (Cause, "The first letter: who"), (Stage, "The second letter: how far"),
        (Came, "The third letter: the cookie that came"),
        (Went, "The fourth letter: the cookie that went"),
    ],
)
def test_everyLetterIsExplainedOnce(kind, title):
    assert sorted(explained(section(title))) == letters(kind)


def test_pairsAreOfKnownLetters():
    pairs = explained(section("Both together"))
    assert len(set(pairs)) == len(pairs) > 10
    for who, where in pairs:
        assert who in letters(Cause) and where in letters(Stage)


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_everyKeyOfTheJSONIsExplained(mode):
    text = section("JSON")
    found = json.loads(written(ended(), "json", mode))
    assert set(found) == set(explained(text))
    for key in keys(found):
        assert f"`{key}`" in text


def test_everyTimerIsExplained():
    timers = {
        timer
        for mode in ("http", "tcp")
        for timer in json.loads(written(ended(), "json", mode))["timers"]
    }
    assert sorted(explained(section("The timers"))) == sorted(timers)


@pytest.mark.parametrize(
    "name",
    "%ci %cp %tr %ft %b %s %TR %Tw %Tc %Tr %Ta %ST %B %CC %CS %tsc %ac %fc %bc %sc %rc %sq %bq"
    " %{+Q}r".split(),
)
def test_everyFieldOfTheLineIsExplained(name):
    assert explained(section("A line")).count(name) == 1


def test_theTableTakesTheLineApart():
    rows = [row.split(" | ")[1] for row in section("A line").splitlines() if "| `%" in row]
    parts = " ".join(row.strip("`") for row in rows)
    assert parts.replace("3/2/1/1 0 ", "3/2/1/1/0 ") == blocks("text")[0]


def test_theLinesAreTrue():
    story = {"tls": TLSInfo(version="TLSv1.3"), "pool": "app", "counts": (3, 2, 1, 1)}
    exchange = ended(**story)
    exchange.frontend.name = "www"
    assert written(exchange) == blocks("text")[0]
    assert written(exchange, "json") == blocks("json")[0]


def test_theLineOfARefusedConnectionIsTrue():
    """Where no request was read; in mode tcp it is the middle of the line."""
    exchange = ended(Cause.REFUSED, Stage.REQUEST, **UNREAD, finished=0, status=0, bytesOut=0)
    exchange.frontend.name = "www"
    assert written(exchange) in blocks("text")
    assert f"`{written(exchange, 'tcp').partition('] ')[2]}`" in section("Before the first request")


def test_theSessionIsTrue():
    exchange = ended(
        **SESSION, client=("10.0.1.2", 33313), started=4916.788, pool="pg", assigned=0,
        connected=0, finished=5007, bytesOut=212,
    )  # fmt: skip
    exchange.frontend.name = "db"
    assert written(exchange, "tcp", "tcp") == blocks("text")[1]


def test_theNumbersAreTrue():
    text = section("Files and pipes")
    assert logwriter.TICK == 0.1 and "a tenth of a second" in text
    assert logwriter.BATCH == 64 * 1024 and "64 KiB" in text
    assert logwriter.CAPACITY == 16 * 1024 * 1024 and "16 MiB" in text


def test_everyValueIsExplained():
    """And where it is known, and whether it can be hexadecimal."""
    rows = re.findall(r"^\| `%(\w+)` \| ([^|]*?) \| (.+) \|$", section("Your own format"), re.M)
    assert {name: (where, meaning) for name, where, meaning in rows} == {
        name: (
            ", ".join(["http"] * alias.http + ["+X"] * bool(alias.hexadecimal)), alias.meaning
        )
        for name, alias in ALIASES.items()
    }  # fmt: skip
    assert len(rows) == len(ALIASES)


def test_everyFlagAndTypeIsExplained():
    text = section("Your own format")
    assert all(f"%{{+{flag}}}" in text for flag in FLAGS)
    assert all(f"`{kind}`" in text for kind in TYPES)


def test_everyFormatIsExplained():
    names = explained(section("Formats that have a name"))
    assert sorted([*names, "auto"]) == sorted(WORDS)


def test_theExampleOfJSONIsTrue():
    text, expected = blocks("text")[2].splitlines()
    exchange = ended()
    exchange.request = get()
    exchange.request.host = b"www.example"
    made = lineOf(LogFormat.parse(text), Scope(Asked.LOG), Surroundings(float, float))
    assert made(exchange) == expected
