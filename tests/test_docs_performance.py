"""C{docs/performance.md} describes every case of the bench, and no other; its goals are those."""

import re
from pathlib import Path

import pytest

from bench.cases import CASES, CHOICE, CHOICES, FEW, KEYS, MANY, SOCKETS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "performance.md").read_text()


def test_everyCaseIsDescribed():
    table = PAGE.partition("## What is measured")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.M)) == sorted(CASES)
    assert f"{FEW} and then {MANY} connections" in table
    assert f"filled with {KEYS:,} keys" in table
    assert f"{SOCKETS:,} WebSockets" in table


def test_figuresAreOfCases():
    """And the first number of a goal is that of the case."""
    figures = PAGE.partition("## Figures")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| [≤≥] ([0-9.]+)[^|]* \|[^|]*\|$", figures, re.M)
    assert len(rows) > 8
    for name, limit in rows:
        assert float(limit) == pytest.approx(CASES[name].goals[0].limit, rel=0.001)


def test_everyChoiceHasFigures():
    head, _, rows = PAGE.partition("| `choices`, µs |")[2].partition("\n")
    assert f"goal ≤ {CHOICE:g} |" in head
    assert tuple(re.findall(r"^\| `([^`]+)` \|", rows.partition("\n\n")[0], re.M)) == CHOICES
