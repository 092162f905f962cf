"""C{docs/explain.md} shows what is really printed, and names every key of the JSON."""

import contextlib
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from lbtwist.command import ExplainOptions, main
from lbtwist.explaining.watched import MOST

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "explain.md").read_text()
LISTINGS = ROOT / "docs" / "listings"
GOLDEN = sorted((ROOT / "tests" / "explained").glob("*.ini"))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def printed(arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(arguments)
    return out.getvalue()


def rows():
    """@return: the words of the tables' rows, by that of their first column."""
    found = re.findall(r"^\| `([^|]*?)`[^|]*\| (.*) \|$", PAGE, re.MULTILINE)
    return {name: set(re.findall(r"`([^`]+)`", text)) | {name} for name, text in found}


@pytest.mark.parametrize("block", blocks("console"))
def test_theOutputIsTrue(block, monkeypatch):
    monkeypatch.chdir(LISTINGS)
    command, _, output = block.partition("\n")
    words = shlex.split(command)
    assert words[:2] == ["$", "lbtwist"]
    assert output == printed(words[2:])


def test_theConfigurationIsTheOneShown():
    assert blocks("ini") == [(LISTINGS / "explain.ini").read_text()]


def test_everyOptionIsThere():
    options = {one.rstrip("=") for one in ExplainOptions().longOpt} - {"help", "version"}
    assert options == set(re.findall(r"^\| `--([a-z]+)", PAGE, re.MULTILINE))


def stepsOf(path):
    for line in path.read_text().splitlines():
        if line.startswith("#$ "):
            words = [word for word in shlex.split(line[3:]) if word != "--json"]
            out = printed(["explain", "-c", str(path), *words, "--json"])
            yield from json.loads(out)["steps"] if out else ()


def test_everyKeyIsThere():
    known = rows()
    assert GOLDEN
    for path in GOLDEN:
        for step in stepsOf(path):
            assert set(step) - {"kind"} <= known[step["kind"]], step


def test_theNumbersAreTrue():
    assert f"at most {MOST} can wait" in PAGE
