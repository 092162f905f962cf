"""
C{docs/retries.md}, and what C{docs/configuration.md} says of C{retry-on}: words, options,
counters, examples.
"""

import re
from pathlib import Path

import attr
import pytest

from lbtwist.config.again import RetryOn
from lbtwist.config.load import loadText
from lbtwist.config.model import PoolConfig
from lbtwist.registry import installed
from lbtwist.stats import PoolTraffic

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "retries.md").read_text()
EXAMPLES = re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M)
FRONTEND = "[frontend www]\nbind = :80\npool = {}\n"


def words():
    """The words in the table of C{retry-on}."""
    page = (DOCS / "configuration.md").read_text()
    text = page.partition("### `retry-on = ")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", text, re.M)[2:]
    return [word for cell in cells for word in cell.replace("`", "").split()]


def test_wordsAreThoseThatAreAccepted():
    assert len(words()) == 4 + 12 + 2
    for word in words():
        RetryOn().parse(word)
    statuses = [word for word in words() if word.isdigit()]
    with pytest.raises(ValueError) as refused:
        RetryOn().parse("200")
    assert str(refused.value).endswith(f"known are {', '.join(statuses)}")


def test_allRetryableErrors():
    """As the table has it."""
    page = (DOCS / "configuration.md").read_text()
    [said] = re.findall("`all-retryable-errors` \\| (.*) \\|", page)
    statuses = re.findall("[0-9]{3}", said)
    assert RetryOn().parse("all-retryable-errors") == (*words()[:4], *statuses)


def test_optionsAndCounters():
    options = {field.name.replace("_", "-") for field in attr.fields(PoolConfig)}
    for name in re.findall(r"`((?:retr|redisp|hedge)[a-z-]*-[a-z-]+)`", PAGE):
        assert name in options, name
    [said] = re.findall(r"^- Counters of the pool: (.*)\.$", PAGE, re.M)
    counters = {field.name for field in attr.fields(PoolTraffic)}
    assert set(re.findall("`([^`]+)`", said)) <= counters


@pytest.mark.parametrize("text", EXAMPLES)
def test_examplesAreAccepted(text):
    name = re.match(r"\[pool (\w+)\]", text)[1]
    server = "" if "server " in text else "server a = 10.0.0.1:8000\n"
    _, warnings = loadText(FRONTEND.format(name) + text + server, installed())
    assert warnings == []
