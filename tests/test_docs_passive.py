"""
C{docs/health.md}: its configurations are accepted, and what it says of passive checks is so.
"""

import re
from pathlib import Path

import pytest

from lbtwist.config.load import loadText
from lbtwist.config.passive import ON_ERROR
from lbtwist.registry import installed

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "health.md").read_text()


def section(heading):
    [text] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    return text


@pytest.mark.parametrize("heading", ["Passive checks", "Outliers", "Panic"])
def test_configurationsAreComplete(heading):
    texts = re.findall(r"^```ini\n(.*?)^```", section(heading), re.S | re.M)
    assert texts
    for text in texts:
        _, warnings = loadText(text, installed())
        assert warnings == []


def test_allThatErrorsLeadTo():
    rows = re.findall(r"^\| `([a-z-]+)` \|", section("Passive checks"), re.M)
    assert rows == ["on-error", *ON_ERROR.words]
