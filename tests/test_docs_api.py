"""
C{docs/api.md}: its paths are those of the API's own description, its numbers are those of the
code, and its examples are accepted.
"""

import re
from pathlib import Path

import pytest
from surfing import Site

from lbtwist.admin.audit import Change
from lbtwist.admin.history import NAMES, PERIOD, POINTS
from lbtwist.admin.web import access, door, site, streams, tokens
from lbtwist.admin.web.openapi import description
from lbtwist.admin.web.tokens import parse
from lbtwist.config.load import loadText
from lbtwist.registry import installed

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text()
SAID = " ".join(PAGE.split())


def tableAfter(heading):
    """@return: the cells of the table that follows, without its head."""
    rows = re.search(rf"^{heading}$.*?\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", PAGE, re.S | re.M)[1]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()]


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("api")) as running:
        yield running.door.root.operations


def test_pathsAreThoseThatThereAre(operations):
    found = description(operations)["paths"]
    described = {
        (method.upper(), path, re.sub(r"Needs the scope `(\w+)`\.", r"\1", one["description"])
         if "description" in one else "", one["summary"].removesuffix("."))
        for path, methods in found.items()
        for method, one in methods.items()
        if method != "parameters"
    }  # fmt: skip
    rows = tableAfter("## Paths")
    said = [(row[0], row[1].strip("`"), row[2].strip("`"), row[3]) for row in rows]
    assert set(said) == described
    assert len(said) == len(described)


def test_examplesAreAccepted():
    for text in re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M):
        _, warnings = loadText(text, installed())
        assert warnings == []
    [lines] = re.findall(r"^```text\n(# who may.*?)^```", PAGE, re.S | re.M)
    assert [one.name for one in parse(lines)] == ["screen", "deploy"]


def test_scopes():
    assert [row[0].strip("`") for row in tableAfter("## Tokens")] == list(tokens.SCOPES)


def test_numbers():
    for text in (
        f"at least {tokens.SHORTEST} characters",
        f"{access.GUESSES} wrong ones in {access.WINDOW:g} s",
        f"for {access.LIFETIME / 3600:g} hours",
        f"{access.MOST_SESSIONS} are logged in",
        f"{streams.MOST} listen at the same time",
        f"{streams.PATIENCE} s is dropped",
        f"{streams.HEARTBEAT} s there is a comment",
        f"{door.MOST_AT_ONCE} connections",
        f"{door.LONGEST_BODY // 1024} KiB",
        f"within {door.PATIENCE:g} s",
        f"every {PERIOD:g} s",
        f"{POINTS} points",
        f"`{access.HEADER}: 1`",
        f"{site.AT_ONCE} are worked on",
    ):
        assert text in SAID, text
    assert re.findall(r"`(\w+)`", re.search(r"Its series are ([^.]*)\.", SAID)[1]) == list(NAMES)


def test_theAudit():
    [line] = re.findall(r'^(\{"at".*\})$', PAGE, re.M)
    names = [name.name for name in Change.__attrs_attrs__]
    assert {"who", "what", "result", "done", "before", "after"} == set(names)
    assert all(f'"{name}": ' in line for name in names)
