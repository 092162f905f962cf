"""
C{docs/life-of-a-request.md}: the modules and the classes that it names are there, and its
letters are those of the log.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest

from lbtwist.exchange import Cause, Stage

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "life-of-a-request.md").read_text()
CLASSES = sorted(set(re.findall(r"`((?:[a-z]\w+\.)+[A-Z]\w+(?:\.\w+)?)`", PAGE)))
DRAWING = PAGE.partition("```text")[2].partition("```")[0]


def letters(cls):
    return {value for name, value in vars(cls).items() if name.isupper()}


@pytest.mark.parametrize("name", CLASSES)
def test_classesAreThere(name):
    module, rest = re.fullmatch(r"([a-z._0-9]+)\.([A-Z].*)", name).groups()
    found = import_module(f"lbtwist.{module}")
    for attribute in rest.split("."):
        found = getattr(found, attribute)


def test_theWayOfAServerIsNamed():
    """In its order: the page has it from the code, not from memory."""
    names = ["pool.Pool.connect", "persistence.chain.Chain", "offering.Offering",
             "queueing.Queue", "connecting.Connecting", "http.retrying.Trying"]  # fmt: skip
    places = [PAGE.index(f"`{name}`") for name in names]
    assert places == sorted(places)
    assert set(names) <= set(CLASSES)


@pytest.mark.parametrize(
    "name",
    ["service", "inbound", "pool", "persistence", "offering", "balance", "queueing", "reuse",
     "connecting", "tunnel", *sorted(set(re.findall(r"\b[a-z]\w+\.[a-z]\w+", DRAWING)))],
)  # fmt: skip
def test_drawnModulesAreThere(name):
    assert re.search(rf"(?<![\w.]){name}(?![\w.])", DRAWING)
    import_module(f"lbtwist.{name}")


def test_letters():
    for headings in re.findall(r"^## .*: (`.`.*)$", PAGE, re.M):
        assert set(re.findall("`(.)`", headings)) <= letters(Stage)
    pairs = re.findall(r"`([A-Za-z])([A-Z])`", PAGE.partition("## Whose fault")[2])
    assert len(pairs) > 15
    for cause, stage in pairs:
        assert cause in letters(Cause)
        assert stage in letters(Stage)
