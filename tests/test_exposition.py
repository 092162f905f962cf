"""How metrics are written for Prometheus, in both of its formats."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.admin.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFO,
    Bucketed,
    Exposition,
    Metric,
    escape,
    labels,
    number,
    wantsOpenMetrics,
)
from lbtwist.histogram import Histogram

BOUNDS = (0.1, 1.0)


def written(metric, *parts, openmetrics=False, aliases=False):
    """@param parts: labels and value of each."""
    return Exposition(openmetrics, aliases, BOUNDS).written(metric, parts)


def own(value):
    return value


def test_aCounter():
    metric = Metric("cups_total", COUNTER, "Cups.", own)
    assert written(metric, ('proxy="www"', 3), ('proxy="api"', 0)) == (
        "# HELP lbtwist_cups_total Cups.\n"
        "# TYPE lbtwist_cups_total counter\n"
        'lbtwist_cups_total{proxy="www"} 3\n'
        'lbtwist_cups_total{proxy="api"} 0\n'
    )


def test_aCounterInOpenMetricsIsAFamilyWithoutTotal():
    metric = Metric("cups_total", COUNTER, "Cups.", own)
    assert written(metric, ("", 3), openmetrics=True) == (
        "# HELP lbtwist_cups Cups.\n# TYPE lbtwist_cups counter\nlbtwist_cups_total 3\n"
    )


def test_numbersByTheValuesOfALabel():
    metric = Metric("heat", GAUGE, "Heat.", own, "where")
    assert written(metric, ('proxy="www"', {"in": 1, "out": 0.5}), ("", {"in": 0})) == (
        "# HELP lbtwist_heat Heat.\n"
        "# TYPE lbtwist_heat gauge\n"
        'lbtwist_heat{proxy="www",where="in"} 1\n'
        'lbtwist_heat{proxy="www",where="out"} 0.5\n'
        'lbtwist_heat{where="in"} 0\n'
    )


@pytest.mark.parametrize("openmetrics", [False, True])
def test_aHistogram(openmetrics):
    metric = Metric("tea_seconds", HISTOGRAM, "Tea.", own)
    found = Bucketed.of(Histogram([0.05, 0.5, 0.5, 4.0]), BOUNDS)
    assert written(metric, ('proxy="www"', found), openmetrics=openmetrics) == (
        "# HELP lbtwist_tea_seconds Tea.\n"
        "# TYPE lbtwist_tea_seconds histogram\n"
        'lbtwist_tea_seconds_bucket{proxy="www",le="0.1"} 1\n'
        'lbtwist_tea_seconds_bucket{proxy="www",le="1.0"} 3\n'
        'lbtwist_tea_seconds_bucket{proxy="www",le="+Inf"} 4\n'
        'lbtwist_tea_seconds_sum{proxy="www"} 5.05\n'
        'lbtwist_tea_seconds_count{proxy="www"} 4\n'
    )


def test_aHistogramWithoutLabels():
    metric = Metric("tea_seconds", HISTOGRAM, "Tea.", own)
    text = written(metric, ("", Bucketed.of(Histogram([0.05]), BOUNDS)))
    assert 'lbtwist_tea_seconds_bucket{le="0.1"} 1\n' in text
    assert text.endswith("lbtwist_tea_seconds_sum 0.05\nlbtwist_tea_seconds_count 1\n")


@pytest.mark.parametrize(("openmetrics", "head"), [
    (False, "# TYPE lbtwist_build_info gauge\n"), (True, "# TYPE lbtwist_build info\n"),
])  # fmt: skip
def test_anInfo(openmetrics, head):
    text = written(Metric("build_info", INFO, "B.", own), ('a="1"', 1), openmetrics=openmetrics)
    assert head in text
    assert text.endswith('lbtwist_build_info{a="1"} 1\n')


@pytest.mark.parametrize("parts", [[], [("", None)], [("", {})]])
def test_whatIsNotKnownIsNotThere(parts):
    assert written(Metric("heat", GAUGE, "Heat.", own, "where"), *parts) == ""


def test_HAProxysNamesOnlyWhereTheyAreWanted():
    metric = Metric("cups_total", COUNTER, "Cups.", own, alias="mugs_total")
    assert "haproxy" not in written(metric, ("", 1))
    text = written(metric, ("", 1), aliases=True)
    assert "lbtwist_cups_total 1\n" in text and "haproxy_mugs_total 1\n" in text


def test_anAliasAlone():
    metric = Metric("", GAUGE, "Cups.", own, alias="mugs", prefix=None)
    assert written(metric, ("", 1)) == ""
    assert "haproxy_mugs 1\n" in written(metric, ("", 1), aliases=True)


def test_aNameThatEveryProgramHas():
    metric = Metric("process_open_fds", GAUGE, "D.", own, prefix="")
    assert written(metric, ("", 7)).endswith("\nprocess_open_fds 7\n")


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (12345678901234567890, "12345678901234567890"), (0.5, "0.5"), (True, "1"),
    (1e-07, "1e-07"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
])  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("name", "text"), [
    ("www", "www"), ('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"),
    ('\\"\n', r"\\\"\n"), ("a}b{c,", "a}b{c,"), ("Käse 🧀", "Käse 🧀"), ("", ""),
])  # fmt: skip
def test_namesAreEscaped(name, text):
    assert escape(name) == text
    assert labels(proxy=name, server="s") == f'proxy="{text}",server="s"'


@given(st.text())
def test_noNameEndsItsLabel(name):
    found = re.fullmatch(r'((?:[^"\\\n]|\\["\\n])*)', escape(name))
    assert found
    undone = re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], found[1])
    assert undone == name


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
    "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(("accept", "wanted"), [
    ("", False), ("*/*", False), ("text/plain", False), (PROMETHEUS, True),
    ("application/openmetrics-text", True), ("Application/OpenMetrics-Text; q=0.4", True),
    ("application/openmetrics-text; version=1.0.0; q=0.4, text/plain; q=0.5", False),
    ("application/openmetrics-text; version=2.0.0", False),
    ("application/openmetrics-text; q=0", False), ("application/openmetrics-text; q=x", False),
    ("application/openmetrics-text, text/plain", False), (";;,=,q", False),
    ("x," * 1000 + "application/openmetrics-text", False),
])  # fmt: skip
def test_whichFormatIsWanted(accept, wanted):
    assert wantsOpenMetrics(accept) is wanted


def test_itsContentTypeAndItsEnd():
    assert Exposition().contentType == "text/plain; version=0.0.4; charset=utf-8"
    assert Exposition().end == ""
    exposition = Exposition(openmetrics=True)
    assert exposition.contentType.startswith("application/openmetrics-text; version=1.0.0")
    assert exposition.end == "# EOF\n"
