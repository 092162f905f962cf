"""
C{lbtwist explain}: what it says of a request, word for word, and that it is what a balancer
then does.

C{explained/} has configurations with the command lines to try on them, and what comes of
each; C{REGENERATE=1} writes the latter anew.
"""

import contextlib
import io
import json
import os
import re
import shlex
from pathlib import Path

import attr
import pytest
from authority import Authority
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from lbtwist.build import build
from lbtwist.command import main
from lbtwist.config.load import loadText
from lbtwist.explaining import asking, assumeUp, explain
from lbtwist.explaining.words import WIDTH, asText, printable
from lbtwist.interfaces import IBalancer, IForeseeing, IRequestRule
from lbtwist.options import Text, option
from lbtwist.registry import Extension, installed
from lbtwist.rules.decisions import Deny
from lbtwist.rules.rulebook import ASKED
from lbtwist.testing import Balancer, Pump, fakeExchange, makeServers
from lbtwist.registry import Context
from random import Random

HERE = Path(__file__).resolve().parent / "explained"
CONFIGURATIONS = sorted(path.stem for path in HERE.glob("*.ini"))


def commands(name):
    lines = (HERE / f"{name}.ini").read_text().splitlines()
    return [line.removeprefix("#$ ") for line in lines if line.startswith("#$ ")]


def run(arguments):
    """@return: what C{lbtwist} prints, and its exit code where it is not 0."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    said = out.getvalue() + err.getvalue()
    return said + (f"exit code {code}\n" if code else "")


# word for word


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_isSaidWordForWord(name, monkeypatch):
    monkeypatch.chdir(HERE)
    said = "\n".join(
        f"$ lbtwist explain -c {name}.ini {line}\n"
        + run(["explain", "-c", f"{name}.ini", *shlex.split(line)])
        for line in commands(name)
    )
    said = said.replace(f"{HERE}/", "")
    expected = HERE / f"{name}.expected"
    if os.environ.get("REGENERATE"):
        expected.write_text(said)
    assert said == expected.read_text()
