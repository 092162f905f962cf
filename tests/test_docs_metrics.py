"""C{docs/metrics.md} explains every metric, in the words that are written with it."""

import re
from pathlib import Path

import pytest

from lbtwist.admin.exposition import BOUNDS
from lbtwist.admin.rows import FRONTEND_STATES, POOL_STATES, SERVER_STATES
from lbtwist.admin.scraping import AT_ONCE, LIMIT
from lbtwist.admin.seen import KINDS
from lbtwist.admin.whole import EVERY, SCOPES
from lbtwist.config.load import loadText
from lbtwist.histogram import ERROR
from lbtwist.registry import installed

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROWS = dict(re.findall(r"^\| `((?:lbtwist|process|python)_\w+)` \| (.*) \|$", PAGE, re.M))
OURS = [metric for metric in EVERY if metric.prefix is not None]
ALONE = {metric.alias for metric in EVERY if metric.prefix is None}


def test_everyMetricIsThereAndNoOther():
    assert sorted(ROWS) == sorted(name for metric in OURS for name in metric.names(False))


@pytest.mark.parametrize("metric", OURS, ids=lambda one: one.name)
def test_itIsExplained(metric):
    kind = metric.kind + (f", by `{metric.label}`" if metric.label else "")
    same = "the same" if metric.alias or metric.name in ALONE else ""
    [name] = metric.names(False)
    assert ROWS[name] == f"{kind} | {metric.help} | {same}"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"lbtwist_\w+?(?=[\s{\[`]|_bucket)", PAGE))))
def test_aNameInAnExampleIsOne(name):
    assert name in ROWS or name == "lbtwist_"


def test_numbersInTheText():
    assert f"buckets of them, from {BOUNDS[0] * 1000:g} ms to a minute" in PAGE
    assert BOUNDS[-1] == 60 and f"written are {len(BOUNDS) + 1}" in PAGE
    assert ERROR == pytest.approx(0.03, abs=0.002) and "3 % at the most" in PAGE
    assert AT_ONCE == 4 and f"has {LIMIT:g} s" in PAGE and "Four are answered" in PAGE


def test_statesAndScopes():
    for word in (*FRONTEND_STATES, *POOL_STATES, *SERVER_STATES, *SCOPES):
        assert f"`{word}`" in PAGE


def test_everyHistogramIsExplained():
    shown = re.findall(r"^\| `T.*?` \| `(\w+_seconds)` \|", PAGE, re.M)
    assert len(shown) == len(KINDS) + 1
    names = {metric.name.partition("_")[2] for metric in EVERY if metric.kind == "histogram"}
    assert names - {"event_loop_lag_seconds"} == set(shown)


@pytest.mark.parametrize("example", re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M))
def test_anExampleIsValid(example):
    assert loadText(example, installed())[1] == []


def test_theFilesItNamesAreThere():
    for name in re.findall(r"`((?:docs|etc)/[\w./]+)`", PAGE):
        assert (ROOT / name).is_file(), name
