"""C{etc/alerts.yml}: what Prometheus is to tell of; its rules ask for what is there."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from lbtwist.admin.whole import EVERY
from programs import find

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "etc" / "alerts.yml"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
[GROUP] = yaml.safe_load(PATH.read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
METRICS = {name: metric for metric in EVERY for name in metric.names(False)}


def named(rule):
    return re.findall(r"\blbtwist_\w+", rule["expr"])


@pytest.mark.parametrize("alert", set(RULES) - {"BalancerGone"})
def test_whatItAsksForIsThere(alert):
    rule = RULES[alert]
    assert named(rule)
    for name in named(rule):
        metric = METRICS[name.removesuffix("_bucket")]
        assert (metric.kind == "histogram") == name.endswith("_bucket")
        if metric.kind != "gauge":
            assert re.search(rf"(rate|increase)\({name}(\{{[^}}]*\}})?\[", rule["expr"])
        labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        level = name.split("_")[1]
        known = {"instance"} | ({"proxy"} if level in ("frontend", "backend") else set())
        assert labels <= known | {metric.label}


def test_eachIsExplained():
    section = PAGE.partition("## What to be told of\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section, re.M)
    assert re.findall(r"\w+", " ".join(explained)) == list(RULES)


@pytest.mark.needs("promtool")
def test_prometheusReadsThem():
    done = subprocess.run(
        [find("promtool"), "check", "rules", PATH], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert f"SUCCESS: {len(RULES)} rules found" in done.stdout


SERIES = {
    "PoolDown": {'lbtwist_backend_status{proxy="app",state="UP"}': "0x40"},
    "TooManyErrors": {
        'lbtwist_backend_http_responses_total{proxy="app",code="5xx"}': "0+6x40",
        'lbtwist_backend_http_requests_total{proxy="app"}': "0+100x40",
    },
    "Slow": {
        'lbtwist_backend_response_seconds_bucket{proxy="app",le="2.5"}': "0+98x40",
        'lbtwist_backend_response_seconds_bucket{proxy="app",le="+Inf"}': "0+100x40",
        'lbtwist_backend_response_seconds_bucket{proxy="app",le="5"}': "0+100x40",
    },
    "QueueStays": {'lbtwist_backend_current_queue{proxy="app"}': "1x40"},
    "NearMaxconn": {
        'lbtwist_frontend_current_sessions{proxy="www"}': "81x40",
        'lbtwist_frontend_limit_sessions{proxy="www"}': "100x40",
    },
    "ProcessNearMaxconn": {
        "lbtwist_process_current_connections": "81x40",
        "lbtwist_process_max_connections": "100x40",
    },
    "CertificateExpires": {'lbtwist_certificate_not_after_seconds{file="a.pem"}': "1209599x40"},
    "LogLinesAreLost": {'lbtwist_log_lines_dropped_total{target="stdout"}': "0x20 1x20"},
    "WorkersDie": {"lbtwist_process_worker_restarts_total": "0x20 1x20"},
    "FileIsNotWhatRuns": {"lbtwist_process_configuration_differs": "1x40"},
    "DiscoveryIsOld": {
        'lbtwist_backend_discovery_age_seconds{proxy="app",source="web"}': "0+60x40",
    },
    "EventLoopIsHeldUp": {
        'lbtwist_process_event_loop_lag_seconds_bucket{le="0.1"}': "0+90x40",
        'lbtwist_process_event_loop_lag_seconds_bucket{le="+Inf"}': "0+100x40",
        'lbtwist_process_event_loop_lag_seconds_bucket{le="1"}': "0+100x40",
    },
    "BalancerGone": {'up{job="lbtwist"}': "0x40"},
}
WELL = {
    'lbtwist_backend_status{proxy="app",state="UP"}': "1x40",
    'lbtwist_backend_http_responses_total{proxy="app",code="5xx"}': "0+4x40",
    'lbtwist_backend_http_requests_total{proxy="app"}': "0+100x40",
    'lbtwist_backend_current_queue{proxy="app"}': "9 0 " * 20,
    # Where there is no limit, and where there is room.
    'lbtwist_frontend_current_sessions{proxy="www"}': "500x40",
    'lbtwist_frontend_limit_sessions{proxy="www"}': "0x40",
    "lbtwist_process_current_connections": "79x40",
    "lbtwist_process_max_connections": "100x40",
    'lbtwist_certificate_not_after_seconds{file="a.pem"}': "9999999x40",
    'lbtwist_log_lines_dropped_total{target="stdout"}': "5x40",
    "lbtwist_process_worker_restarts_total": "3x40",
    "lbtwist_process_configuration_differs": "0x40",
    'up{job="lbtwist"}': "1x40",
}


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("series", "fires"),
    [*((series, [name]) for name, series in SERIES.items()), (WELL, [])],
    ids=[*SERIES, "well"],
)
def test_itFiresAndNothingElseDoes(tmp_path, series, fires):
    tests = {
        "rule_files": [str(PATH)],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": key, "values": one} for key, one in series.items()],
            "promql_expr_test": [{
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "30m",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in fires
                ],
            }],
        }],
    }  # fmt: skip
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        [find("promtool"), "test", "rules", path], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr
