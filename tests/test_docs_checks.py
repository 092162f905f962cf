"""What C{docs/checks.md} shows is accepted, and it names every check that tells roles."""

import re
from pathlib import Path

import pytest

from lbtwist.config.fill import optionFields
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.interfaces import IHealthCheck
from lbtwist.registry import installed

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "checks.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M))
def test_configurations(text):
    try:
        _, problems = loadText(text, installed())
    except ConfigError as error:
        problems = error.problems
    assert [str(one) for one in problems if "is used by no" not in one.message] == []


def test_everyCheckThatTellsARoleIsInTheTable():
    """By its options; that C{exec} and C{agent} do is said by what they are told."""
    registry = installed()
    telling = {
        name
        for name in registry.names(IHealthCheck)
        if {"role", "role-header"} & set(optionFields(registry.find(IHealthCheck, name).options))
    }
    named = set(re.findall(r"^\| `(\w+)[^|]*` \|", PAGE, re.M))
    assert telling | {"exec", "agent"} <= named
