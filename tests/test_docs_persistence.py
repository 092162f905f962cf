"""
C{docs/persistence.md}: its examples are accepted, its tables name all there is, and its numbers
are those of the code.
"""

import re
from pathlib import Path

import attr
import pytest

from lbtwist.config.load import load, loadText
from lbtwist.errors import ConfigError
from lbtwist.interfaces import IPersistence, IRequestRule
from lbtwist.persistence.bond import Came, Went
from lbtwist.persistence.cookie import CookieOptions
from lbtwist.persistence.keyed import CLAIMED, LONGEST, Source
from lbtwist.registry import installed

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "persistence.md").read_text()
LEFT_OUT = ("is used by no", "No such file", "there is no [", "needs txredisapi")


def section(title):
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def firsts(title):
    """@return: the words of the first column of a section's tables."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.M)
    return [word for row in rows for word in re.findall("`([^`]+)`", row)]


@pytest.mark.parametrize("text", re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M))
def test_examplesAreAccepted(text):
    try:
        _, problems = loadText(text, installed())
    except ConfigError as error:
        problems = error.problems
    assert [str(one) for one in problems if not any(w in one.message for w in LEFT_OUT)] == []


def test_everyKindIsThere():
    assert sorted(set(firsts("Kinds")) - {"persist ="}) == sorted(installed().names(IPersistence))


def test_everyModeIsThere():
    kind = attr.fields(CookieOptions).mode.metadata["kind"]
    assert firsts("Modes") == kind.form.split("|")


def test_lettersAreKnown():
    pairs = firsts("In the log")
    assert len(pairs) == len(set(pairs)) > 8
    for came, went in pairs:
        assert came in vars(Came).values() and went in vars(Went).values()


def test_verbsAreThere():
    names = installed().names(IRequestRule)
    assert {word.split()[0] for word in firsts("Rules")} <= set(names)


def test_numbers():
    assert f"| claimed |  {CLAIMED:.0f} s;" in PAGE
    assert "`expire` (30 minutes)" in PAGE and attr.fields(Source.Options).expire.default == 1800
    assert LONGEST == 64 and "a hash is kept" in (ROOT / "docs" / "configuration.md").read_text()


MIGRATED = re.findall(r"^\| `[^|]*\| `(persist = [^`|]+)`", section("From HAProxy"), re.M)


@pytest.mark.parametrize("line", MIGRATED)
def test_linesInsteadOfHAProxysAreAccepted(line):
    mode = "mode = tcp" if "rdp" in line else ""
    loadText(f"[pool a]\n{mode}\nserver a = 10.0.0.1:1\n{line}\n", installed())
    assert len(MIGRATED) > 5


def test_theRecipeIsNamed():
    assert "`etc/sticky-shop.ini`" in PAGE
    config, warnings = load(ROOT / "etc" / "sticky-shop.ini", installed())
    assert warnings == []
    assert [kind.name for kind in config.pools["shop"].persist] == ["cookie", "source"]
