"""
What every test may use: the mark C{needs}, the fixture C{freePort}.

    @pytest.mark.needs("nginx", "wrk")

A test whose program is missing is skipped, and the end of the run says so; where
C{CI} is C{true} it fails instead.
"""

import os
from collections import Counter

import hypothesis
import pytest
from twisted.trial.unittest import TestCase

import programs

os.environ["PATH"] = programs.PATH

# A loaded machine makes any example slow; that is not what is tested.
hypothesis.settings.register_profile("lbtwist", deadline=None)
hypothesis.settings.load_profile("lbtwist")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs(*names): uses these programs; see tests/programs.py"
    )


def pytest_runtest_setup(item):
    names = sorted({name for mark in item.iter_markers("needs") for name in mark.args})
    unknown = [name for name in names if name not in programs.NAMES]
    if unknown:
        pytest.fail(f"tests/programs.py does not name {', '.join(unknown)}", pytrace=False)
    absent = programs.missing(names)
    if absent and os.environ.get("CI") == "true":
        pytest.fail(f"missing, and CI is true: {', '.join(absent)}", pytrace=False)
    if absent:
        pytest.skip(f"missing: {', '.join(absent)}")


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.getreports("skipped")
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if reasons:
        terminalreporter.section("not tested here")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} skipped: {reason}")


@pytest.fixture(autouse=True)
def temporaryFilesElsewhere(request, tmp_path_factory):
    """What trial would make in the directory it is run in is made where pytest makes its own."""
    if isinstance(request.instance, TestCase):
        request.instance.mktemp = lambda: str(tmp_path_factory.mktemp("trial") / "temp")


@pytest.fixture
def freePort():
    """A function that gives a TCP port of 127.0.0.1 nobody listens on."""
    return programs.freePort
