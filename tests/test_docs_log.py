"""C{docs/log.md} explains what is written, all of it, and shows true lines."""

import json
import re
from pathlib import Path

import pytest
from heads import get
from test_accesslog import SESSION, STARTED, UNREAD, WALL, ended, paris, written  # noqa: F401
from test_logged import written as syslogged
from twisted.logger import LogLevel

from lbtwist import logwriter, syslog, sysloglinks
from lbtwist.config.load import loadText
from lbtwist.config.model import LogOptions
from lbtwist.eventlog import asJSON
from lbtwist.exchange import Cause, Stage, TLSInfo
from lbtwist.logalias import ALIASES
from lbtwist.logformat import FLAGS, TYPES, WORDS, LogFormat
from lbtwist.logline import Surroundings, lineOf
from lbtwist.persistence.bond import Came, Went
from lbtwist.registry import installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage as Asked
from lbtwist.sampling import severityOf
from lbtwist.sansio.syslogline import SEVERITIES

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
    text = section("When a target is slow or away")
    assert logwriter.TICK == 0.1 and "a tenth of a second" in text
    assert logwriter.BATCH == 64 * 1024 and "64 KiB" in text
    assert logwriter.CAPACITY == LogOptions().buffer == 16 * 1024 * 1024 and "16 MiB" in text
    assert f"after {syslog.FIRST_PAUSE}s" in text and f"up to {syslog.MOST_PAUSE:.0f}s" in text
    assert sysloglinks.UNANSWERED == 30_000 and "30s" in text
    assert syslog.LAST == 0.5 and "half a second" in text


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


def test_everySeverityIsExplained():
    """Of each first letter, and of statuses."""
    rows = section("How severe a line is")
    for cause in letters(Cause):
        severity = SEVERITIES[severityOf(ended(cause))]
        [row] = [row for row in rows.splitlines() if row.startswith(f"| `{severity}` |")]
        assert f"`{cause}`" in row or severity == "info"


def test_theLinesForSyslogAreTrue():
    [head] = [one for one in blocks("text") if one.startswith("<134>1")]
    [data] = [one for one in blocks("text") if one.startswith("[lbtwist@")]
    log = "udp:127.0.0.1:514 hostname=lb1 procid=17"
    exchange = ended(pool="app")
    exchange.frontend.name = "www"
    [line] = syslogged(log, exchange)
    assert line.startswith(head.removesuffix("..."))
    [line] = syslogged(f"{log} sd", exchange)
    assert f" {data} " in line


def test_theEventIsTrue():
    [found] = [one for one in blocks("json") if '"level"' in one]
    said = json.loads(found)
    event = {
        "log_time": WALL + STARTED, "log_level": LogLevel.warn, "log_format": "{text}",
        "log_namespace": said["namespace"],
        **{key: said[key] for key in ("text", "pool", "server", "what", "before", "after")},
    }  # fmt: skip
    assert asJSON(event) == found


@pytest.mark.parametrize("text", [one for one in blocks("ini") if "=" in one])
def test_theExamplesAreAccepted(text):
    if "[frontend" not in text:
        where = "" if "[global]" in text else "[global]\n"
        text = f"{where}{text}\n[frontend www]\nbind = :80\npool = app\n"
    _, warnings = loadText(f"{text}\n[pool app]\nserver srv1 = demo:a", installed())
    assert warnings == []
