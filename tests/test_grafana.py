"""C{etc/grafana.json}: the dashboard asks for metrics and labels that are there."""

import itertools
import json
import re
from pathlib import Path

import pytest

from lbtwist.admin.whole import EVERY

DASHBOARD = json.loads(
    (Path(__file__).resolve().parent.parent / "etc" / "grafana.json").read_text()
)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ASKED = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in PANELS for target in panel["targets"]
]  # fmt: skip
METRICS = {name: metric for metric in EVERY for name in metric.names(False)}

LABELS = {
    "frontend": {"proxy"}, "backend": {"proxy"}, "server": {"proxy", "server"},
    "process": set(), "python": set(), "certificate": set(), "build": set(),
}  # fmt: skip


def named(text):
    """@return: the metrics in an expression, each with whether its buckets are meant."""
    for name in re.findall(r"\b(?:lbtwist|process|python)_\w+", text):
        yield name.removesuffix("_bucket"), name.endswith("_bucket")


@pytest.mark.parametrize(("title", "expression", "legend"), ASKED)
def test_whatAPanelAsksForIsThere(title, expression, legend):
    found = list(named(expression))
    assert found, title
    labels = {"instance"}
    for name, buckets in found:
        metric = METRICS[name]
        assert (metric.kind == "histogram") == buckets
        level = metric.name.partition("_")[0]
        labels |= LABELS[level] | ({metric.label} if metric.label else set())
        if metric.kind == "counter" or buckets:
            rate = rf"rate\({name}(_bucket)?\{{[^}}]*\}}\[\$__rate_interval\]\)"
            assert re.search(rate, expression)
    assert set(re.findall(r"{{(\w+)}}", legend)) <= labels
    by = re.findall(r"by \(([^)]*)\)", expression)
    assert {word for group in by for word in group.split(", ")} <= labels | {"le"}
    assert expression.count("(") == expression.count(")")


def test_variablesAreOfMetrics():
    variables = DASHBOARD["templating"]["list"]
    for variable in variables[1:]:
        [(name, _)] = named(variable["query"]["query"])
        assert name in METRICS
    used = set(re.findall(r"\$(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used <= {variable["name"] for variable in variables}


def test_panelsDoNotOverlap():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
