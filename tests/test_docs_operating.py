"""
C{docs/operating.md}: it names every verb and every command there is and no other, its numbers
are those of the code, and its examples are accepted.
"""

import re
from pathlib import Path

from lbtwist import investigating
from lbtwist.admin.awaiting import CONDITIONS, MOST, QUIET
from lbtwist.admin.changing import SETTINGS
from lbtwist.admin.commands import ALL
from lbtwist.admin.listing import MOST_ENTRIES
from lbtwist.admin.planning import AT_ONCE, LIMIT, MOST_PROBLEMS, Plan, Touched
from lbtwist.admin.socket import LONGEST_LINE, MOST_AT_ONCE
from lbtwist.admin.tables import SHOWN
from lbtwist.admin.verbs import MOST_WORDS, Answer, Caller, Level, Severity
from lbtwist.announcing import MOST_REMEMBERED
from lbtwist.captures import KEPT, MOST_CAPTURES
from lbtwist.config.difference import (
    ADDED,
    CHANGED,
    MOVED,
    REMOVED,
    SIGNS,
    Difference,
    Entry,
    difference,
)
from lbtwist.config.load import loadText
from lbtwist.config.worded import UNSEEN
from lbtwist.explaining.blame import KINDS
from lbtwist.failures import HOUR, MOST_BYTES, MOST_FAILURES, MOST_SUMS
from lbtwist.operating import (
    COMMANDS,
    GOOD,
    INTERRUPTED,
    LATE,
    NOBODY,
    REFUSED,
    UNUSABLE,
    WAITED,
)
from lbtwist.options import Time
from lbtwist.registry import installed
from lbtwist.top.view import HELP

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "operating.md").read_text()


def tableAfter(heading):
    """@return: the cells of the table that follows, without its head."""
    rows = re.search(rf"{re.escape(heading)}.*?\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", PAGE, re.S)[1]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        for row in rows.splitlines()
    ]


def test_theExampleIsAccepted():
    [text] = re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M)
    config, warnings = loadText(text, installed())
    assert warnings == []
    assert [one.level for one in config.settings.admin] == ["admin"]


def test_verbsAreThoseThatThereAre():
    assert tableAfter("## The verbs") == [
        [f"`{verb.usage}`", verb.level.word, verb.meaning]
        for verb in sorted(ALL, key=lambda verb: verb.words)
    ]


def test_commandsAreThoseThatThereAre():
    said = [row[0].strip("`").split() for row in tableAfter("## The command")]
    assert {words[1] for words in said} == {*COMMANDS, *investigating.COMMANDS}
    assert {words[2] for words in said if words[1] == "show"} == set(SHOWN)
    [wait] = [words for words in said if words[1] == "wait"]
    assert wait[2].split("|") == list(WAITED)


def test_theExampleOfAPlan():
    [text] = re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M)
    before, _ = loadText(text, installed())
    new = text.replace("server s2 = 10.0.0.12:8000", "server s3 = 10.0.0.13:8000")
    after, _ = loadText(new + "balance = leastconn\n", installed())
    touched = [Touched(sessions=12, queued=3), Touched(sessions=4), Touched()]
    lines = Plan(difference(before, after), (), touched, 16).lines
    assert "\n".join(["$ lbtwist plan new.ini", *lines, "```"]) in PAGE


def test_whatIsSaidOfPlans():
    assert [sign.strip("`") for sign, _ in tableAfter("## What a new file")] == [
        SIGNS[what] for what in (ADDED, REMOVED, CHANGED, MOVED)
    ]
    words = [meaning.partition(":")[0] for _, meaning in tableAfter("## What a new file")]
    assert words == [ADDED, REMOVED, CHANGED, MOVED]
    assert f"`{UNSEEN}`" in PAGE
    assert (
        f"{AT_ONCE} at once, and not waited for after {LIMIT:g} s; up to {MOST_PROBLEMS}\nproblems"
    ) in PAGE
    part = PAGE.partition("With `--json` there are")[2].partition("\n\n")[0]
    entry = Entry(ADDED, "pool", "app")
    said = Plan(Difference((entry,)), (), [Touched()], 1).asObjects()
    assert set(re.findall(r"`(\w+)`", part)) == {*said, *said["entries"][0]}


def test_exitCodes():
    codes = [int(code) for code, _ in tableAfter("### Exit codes")]
    assert codes == [GOOD, REFUSED, UNUSABLE, NOBODY, LATE, INTERRUPTED]


def test_settingsOfAServer():
    part = PAGE.partition("`set server` knows:")[2].partition("`wait` takes")[0]
    assert set(re.findall(r"^- `(\w+)", part, re.M)) == set(SETTINGS)


def test_conditionsAndSeverities():
    assert re.findall(r"`(srv-\w+)`", PAGE.partition("`wait` takes")[2].partition("\n\n")[0]) == (
        list(CONDITIONS)
    )
    part = PAGE.partition("`severity`, which is")[2].partition(";")[0]
    assert set(re.findall(r"`(\w+)`", part)) == {one.name.lower() for one in Severity}
    assert f"writes `[{Severity.ERROR.value}]: `" in PAGE
    assert [level.word for level in Level] == ["user", "operator", "admin"]
    assert Answer("x").asJSON.startswith('{"severity":"output"')


def test_kindsOfFailuresAreThoseThatThereAre():
    assert [kind.strip("`") for kind, _ in tableAfter("## Why")] == list(KINDS)


def test_keysOfTheLiveView():
    said = " ".join(key for key, _ in tableAfter("## Live"))
    assert set(re.findall(r"`(.)`", said)) == {"q", "s", "S", "/", "d", "p", "h"}
    assert {text.split()[0] for text in HELP} >= {"q", "s", "/", "d", "p", "h"}


def test_numbersOfWhatIsRemembered():
    assert f"up to {MOST_SUMS} times" in PAGE
    assert f"the last {MOST_CAPTURES} requests" in PAGE
    assert f"{KEPT} bytes around" in PAGE
    assert (HOUR, MOST_BYTES) == (3600, 1_000_000)


def test_numbers():
    assert f"at most {LONGEST_LINE} bytes and a command {MOST_WORDS} words" in PAGE
    assert f"takes {MOST_AT_ONCE} conversations" in PAGE
    assert f"nothing for {Caller('').patience:g} s is let go" in PAGE
    assert f"the last {MOST_FAILURES} exchanges" in PAGE
    assert f"the last {MOST_REMEMBERED} things" in PAGE
    assert f"nothing has run for {QUIET:g} s" in PAGE
    assert f"up to {MOST_ENTRIES} entries" in PAGE
    assert Time().parse(re.search(r"never more than `(\w+)`", PAGE)[1]) == MOST
