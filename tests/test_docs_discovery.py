"""What C{docs/discovery.md} shows works as it says."""

import importlib
import re
from pathlib import Path

import pytest

from lbtwist.config.load import loadText
from lbtwist.interfaces import IServerSource
from lbtwist.registry import installed
from lbtwist.server import Member
from lbtwist.sources.lists import membersOf
from lbtwist.testing import Balancer

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "discovery.md").read_text()
FRONTEND = "[frontend www]\nbind = ${bind}\npool = app\nlog = off\n"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


@pytest.fixture
def numbered(tmp_path, monkeypatch):
    """The source of one's own, as somebody who copies it has it."""
    [code] = [block for block in blocks("python") if block.startswith("# numbered.py\n")]
    (tmp_path / "numbered.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("numbered")


def test_configurations():
    for text in blocks("ini"):
        _, problems = loadText(FRONTEND.replace("${bind}", "*:80") + text, installed())
        assert problems == []


def test_everySourceIsInTheTable():
    rows = re.findall(r"^\| (`\w+:.*?) \|", PAGE, re.M)
    named = {word for row in rows for word in re.findall(r"`(\w+):", row)}
    assert named == set(installed().names(IServerSource))


def test_lists():
    [lines] = [block for block in blocks("text") if "app3.example.org" in block]
    assert membersOf(lines) == (
        Member("10.0.0.1", 8000, weight=2, name="blue"),
        Member("2001:db8::1", 8000),
        Member("app3.example.org", 8000, priority=1),
    )
    [text] = blocks("json")
    assert membersOf(text) == membersOf(lines)[:2]


def test_aSourceOfOnesOwn(numbered):
    text = FRONTEND + "[pool app]\nservers web = numbered:10.0.0.#:80 last=2 weight=5\n"
    with Balancer(text, registry=installed(numbered.source)) as balancer:
        pool = balancer.running.pool("app")
        assert [(one.name, one.weight) for one in pool.usable] == [
            ("web-10.0.0.1:80", 5), ("web-10.0.0.2:80", 5),
        ]  # fmt: skip


def test_whatAProgramSees(numbered, capsys):
    """The lines that show how memberships are asked for."""
    [code] = [block for block in blocks("python") if "memberships" in block]
    text = FRONTEND + "[pool app]\nservers web = numbered:10.0.0.#:80\n"
    with Balancer(text, registry=installed(numbered.source)) as balancer:
        exec(code, {"balancer": balancer.running, "clock": balancer.pump.seconds})
    assert capsys.readouterr().out == "app/web (numbered:10.0.0.#:80) 0.0 0 \n"
