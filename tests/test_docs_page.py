"""
C{docs/page.md}: its example is accepted, and it names the columns, states and keys that there
are, and no others.
"""

import re
from pathlib import Path

from lbtwist.admin.rows import FRONTEND_STATES, POOL_STATES, SERVER_STATES
from lbtwist.config.load import loadText
from lbtwist.registry import installed

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "lbtwist" / "admin" / "web" / "static"
PAGE = (ROOT / "docs" / "page.md").read_text()
TABLES = (STATIC / "tables.js").read_text()
INDEX = (STATIC / "index.html").read_text()


def tableAfter(heading):
    """@return: the cells of the table that follows, without its head."""
    rows = re.search(rf"{re.escape(heading)}.*?\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", PAGE, re.S)[1]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()]


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)).strip()


def test_theExampleIsAccepted():
    [text] = re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M)
    config, warnings = loadText(text, installed())
    assert warnings == []
    assert [one.kind for one in config.settings.admin] == ["web"]


def test_thePartsAreThoseThatThereAre():
    titles = [plain(one) for one in re.findall(r"<h2 id=\"[a-z]+-title\"[^>]*>(.*?)</h2>", INDEX)]
    parts = [name for name, _ in tableAfter("## What is where")][1:]
    assert titles[: len(parts)] == parts


def test_theColumnsAreThoseThatThereAre():
    labels = set(re.findall(r'label: "([^"]+)"', TABLES))
    assert {name for name, _ in tableAfter("## Columns")} == labels


def test_theStatesAreThoseThatThereAre():
    rows = tableAfter("## States")
    states = {*FRONTEND_STATES, *POOL_STATES, *SERVER_STATES}
    assert {name for name, *_ in rows} == states
    known = re.findall(r"^  ([A-Z]+): \{ rank", (STATIC / "words.js").read_text(), re.M)
    assert set(known) == states


def test_theKeysAreThoseThatAreListed():
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</th>\s*<td>(.*?)</td></tr>", INDEX, re.S)
    listed = [(plain(keys), plain(does)) for keys, does in rows]
    written = [
        (keys.replace("`", ""), does.replace("`", "")) for keys, does in tableAfter("## Keys")
    ]
    assert written == listed


def test_whatCanBeDoneIsWhatIsOffered():
    panel = (STATIC / "panel.js").read_text()
    words = re.findall(r'^    word: "([^"]+)"', panel, re.M)
    labels = re.findall(r'<label for="(?:weight|maxconn)">(.*?)</label>', INDEX)
    assert [name for name, _ in tableAfter("## A server")] == [
        *words, *(one.partition(",")[0] for one in labels)
    ]  # fmt: skip


def test_theVersionOfWhatIsNotOurs():
    [version] = re.findall(r"uPlot\]\([^)]*\) ([0-9.]+),", PAGE)
    assert f"(v{version})" in (STATIC / "uPlot.iife.min.js").read_text()[:200]
