"""
C{docs/migrating.md}: what stands in its last columns is accepted in the place that it names, so
each word of it is an option, a part or a verb that there is.
"""

import re
from pathlib import Path

import pytest

from lbtwist.config.load import loadText
from lbtwist.config.sections import PREFERRED
from lbtwist.errors import ConfigError
from lbtwist.registry import installed

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "migrating.md").read_text()
REGISTRY = installed()
PROGRAMS = ("HAProxy", "nginx", "Envoy", "F5")
# What is wrong with this machine, not with the words.
LEFT_OUT = ("No such file", "needs txredisapi")


def rows(title):
    """@return: the cells of the table of a section, without its head."""
    text = re.search(rf"^##? {title}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)[1]
    return [row.split(" | ") for row in re.findall(r"^\| (?!---)(.*) \|$", text, re.M)[1:]]


def configuration(place, found):
    """@return: a whole one, which has in a place what stands in the last column."""
    lines = "".join(f"{one}\n" for one in found)
    inLine = " ".join(found)
    bind = inLine if place == "bind" else ""
    server = inLine if place == "server" else ""
    frontend = lines if place == "frontend" else ""
    if place in ("request", "connection"):
        frontend = f"{place} =\n" + "".join(f"    {one}\n" for one in found)
    mode = "tcp" if "mode = tcp" in found else "http"
    check = "check = tcp\n" if "track" in server else ""
    return (
        f"[global]\n{lines if place == 'global' else ''}"
        f"[frontend www]\nbind = :8080 {bind}\nmode = {mode}\npool = app\n{frontend}"
        f"[pool app]\n{check}{lines if place == 'pool' else ''}"
        f"server a = 10.0.0.1:8000 {server}\nserver b = 10.0.0.2:8000 minconn=1 maxconn=2\n"
    )


def problems(text):
    try:
        _, found = loadText(text, REGISTRY)
    except ConfigError as error:
        found = error.problems
    return [str(one) for one in found if not any(words in one.message for words in LEFT_OUT)]


@pytest.mark.parametrize(
    ("there", "place", "here"),
    [pytest.param(*row, id=row[0][:60]) for title in PROGRAMS for row in rows(title)],
)
def test_whatStandsHereIsAccepted(there, place, here):
    assert place in ("global", "frontend", "bind", "pool", "server", "request", "connection")
    assert "`" in there
    found = re.findall("`([^`]+)`", here)
    assert re.sub("`[^`]+`", "", here).replace(", ", "") == ""
    assert problems(configuration(place, found)) == []


@pytest.mark.parametrize("place", ["global", "frontend", "bind", "pool", "server", "request"])
def test_whatIsNotThereWouldBeFound(place):
    word = "wrong = 1" if place in ("global", "frontend", "pool") else "wrong=1"
    assert "wrong" in "".join(problems(configuration(place, [word])))


def test_enoughIsThere():
    assert [len(rows(title)) > 20 for title in PROGRAMS] == [True] * 4


def test_sections():
    """Of the first table; and the other words that are taken for them."""
    words = [row[0].strip("`") for row in rows("From other balancers")]
    assert words == ["frontend", "pool", "server", "persist", "balance", "check", "request"]
    for said, meant in (("backend", "pool"), ("upstream", "pool"), ("member", "server")):
        assert PREFERRED[said] == meant
        assert f"`{said}`" in PAGE


@pytest.mark.parametrize(
    ("page", "anchor"), re.findall(r"\]\(([a-z-]+\.md)#([a-z0-9-]+)\)", PAGE)
)
def test_otherTablesAreThere(page, anchor):
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / page).read_text(), re.M)
    assert anchor in [re.sub("[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings]
