"""What docs/operating.md says of changing what runs is what happens."""

import re
from pathlib import Path

from lbtwist.admin import mapping
from lbtwist.admin.payload import LONGEST_PAYLOAD
from lbtwist.admin.spelling import HAPROXY, OF_CHECKS
from lbtwist.config.amending import amended, merging, textFor
from lbtwist.config.difference import difference
from lbtwist.config.load import loadText
from lbtwist.registry import installed
from lbtwist.rules.tables import MOST_BYTES, MOST_ENTRIES

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/operating.md").read_text()
PART = PAGE.partition("## Changing what runs")[2].partition("\n## ")[0]


def test_theExample():
    registry = installed()
    before, _ = loadText(
        "[frontend www]\nbind = :8080\npool = app\n[pool app]\nserver s1 = 10.0.0.11:8000\n",
        registry,
    )
    text, said = re.search(r"add config <<EOF\n(.*?)EOF\nEND\n(.*?)```", PART, re.S).groups()
    document = textFor(before, text, {})
    after, warnings = amended(before, merging(document.sections), registry, document.problems)
    found = difference(before, after)
    assert [*found.lines, f"It runs: {found.summary}."] == said.splitlines()
    assert warnings == []


def test_wordsOfHAProxy():
    said = set(re.findall(r"`([a-z0-9-]+)(?: [^`]*)?`", PART))
    assert {"ssl", "ca-file", "crt", "ssl-min-ver", "ssl-max-ver", "send-proxy-v2"} <= (
        said & HAPROXY.keys()
    )
    assert {"inter", "rise"} <= said & OF_CHECKS


def test_numbers():
    text = " ".join(PART.split())
    assert f"at most {MOST_ENTRIES} entries and {MOST_BYTES >> 20} MiB" in text
    assert f"{mapping.MOST_ADDED} can be added at once, and {mapping.MOST_SHOWN} are shown" in text
    assert f"They are at most {LONGEST_PAYLOAD >> 20} MiB" in " ".join(PAGE.split())
