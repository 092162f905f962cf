"""
C{docs/operating.md}: it names every verb and every command there is and no other, its numbers
are those of the code, and its examples are accepted.
"""

import re
from pathlib import Path

from lbtwist.admin.awaiting import CONDITIONS, MOST, QUIET
from lbtwist.admin.changing import SETTINGS
from lbtwist.admin.commands import ALL
from lbtwist.admin.listing import MOST_ENTRIES
from lbtwist.admin.socket import LONGEST_LINE, MOST_AT_ONCE
from lbtwist.admin.tables import SHOWN
from lbtwist.admin.verbs import MOST_WORDS, Answer, Caller, Level, Severity
from lbtwist.announcing import MOST_REMEMBERED
from lbtwist.config.load import loadText
from lbtwist.operating import COMMANDS, GOOD, LATE, NOBODY, REFUSED, UNUSABLE, WAITED
from lbtwist.options import Time
from lbtwist.registry import installed
from lbtwist.stats import MOST_FAILURES

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
    assert {words[1] for words in said} == set(COMMANDS)
    assert {words[2] for words in said if words[1] == "show"} == set(SHOWN)
    [wait] = [words for words in said if words[1] == "wait"]
    assert wait[2].split("|") == list(WAITED)


def test_exitCodes():
    codes = [int(code) for code, _ in tableAfter("### Exit codes")]
    assert codes == [GOOD, REFUSED, UNUSABLE, NOBODY, LATE]


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


def test_numbers():
    assert f"at most {LONGEST_LINE} bytes and a command {MOST_WORDS} words" in PAGE
    assert f"takes {MOST_AT_ONCE} conversations" in PAGE
    assert f"nothing for {Caller('').patience:g} s is let go" in PAGE
    assert f"the last {MOST_FAILURES} exchanges" in PAGE
    assert f"the last {MOST_REMEMBERED} things" in PAGE
    assert f"nothing has run for {QUIET:g} s" in PAGE
    assert f"up to {MOST_ENTRIES} entries" in PAGE
    assert Time().parse(re.search(r"never more than `(\w+)`", PAGE)[1]) == MOST
