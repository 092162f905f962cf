"""
What is put to a configuration and taken out of it is what a file would say that has it, or has it
not; held against such a file, read as a whole.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbtwist.config.amending import (
    CannotAmend,
    amended,
    asWord,
    merging,
    textFor,
    without,
    withoutServer,
)
from lbtwist.config.ini import readText
from lbtwist.config.load import configured, loadText
from lbtwist.config.shown import shownIn
from lbtwist.errors import ConfigError
from lbtwist.registry import installed

REGISTRY = installed()
BEGIN = """
[defaults]
timeout-server = 7s
[conditions]
odd = path == "/odd"
[tcp quick]
keepalive = 9s
[rules common]
request =
    deny if odd
[frontend www]
bind = :8080 tcp=quick
pool = app
rules = common
[pool app]
server a = 10.0.0.1:80
"""
TEXTS = [
    "[pool app]\nserver b = 10.0.0.2:80 weight=2 tcp=quick\n",
    "[pool app]\nserver a = 10.0.0.3:80 track=more/x\n",
    "[backend app]\nmember c = 10.0.0.4:80\nbalance = random\n",
    "[pool more]\nserver x = 10.0.0.5:80\ncheck = tcp\n",
    "[pool more]\ntimeout-server = 3s\npersist = source\n",
    "[defaults]\ntimeout-server = 1s\ntimeout-client = 2s\n",
    "[conditions]\nodd = path == '/even'\nother = odd or tls\n",
    "[frontend www]\nrequest =\n    pool more if odd\n    set-header X-Q {path}\n",
    "[frontend two]\nbind =\n    :8081, :8082 tcp=quick\npool = more\n",
    "[rules common]\nrequest =\n    deny 404 if odd\n",
    "[tcp quick]\nkeepalive = 2s\n",
    "[global]\nmaxconn = 77\n",
    "[pool app]\nserver w = 10.0.0.6:80 tls verify=none\n",
]
CHANGES = [
    *(("put", text) for text in TEXTS),
    ("pool", "more"), ("frontend", "two"), ("tcp", "quick"), ("rules", "common"),
    ("server", "a"), ("server", "b"), ("server", "c"),
]  # fmt: skip


def changed(config, kind, what):
    """@return: the other configuration, and what is to be told of it."""
    if kind == "put":
        document = textFor(config, what, {})
        return amended(config, merging(document.sections), REGISTRY, document.problems)
    change = withoutServer("app", what) if kind == "server" else without(kind, what)
    return amended(config, change, REGISTRY)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(CHANGES), max_size=8))
def test_itIsWhatAFileWouldSay(changes):
    config, _ = loadText(BEGIN, REGISTRY)
    for kind, what in changes:
        before = config, shownIn(config.written.document)
        try:
            config, _ = changed(config, kind, what)
        except (ConfigError, CannotAmend):
            assert (config, shownIn(config.written.document)) == before
            continue
        text = shownIn(config.written.document)
        whole, warnings = configured(readText(text, "lb.ini", {}), REGISTRY, bare=True)
        assert whole == config
        assert {one.message for one in warnings} == config.written.warnings


def test_otherWordsAreForTheSame():
    config, _ = loadText(BEGIN, REGISTRY)
    found, _ = changed(config, "put", "[upstream app]\nmember a = 10.0.0.9:80\nmember c = x:1\n")
    assert [(one.name, one.host) for one in found.pools["app"].servers] == [
        ("a", "10.0.0.9"), ("c", "x"),
    ]  # fmt: skip
    found, _ = changed(found, "server", "c")
    assert [one.name for one in found.pools["app"].servers] == ["a"]


def test_whatIsToBeToldOfIsToldOnce():
    config, _ = loadText(BEGIN, REGISTRY)
    found, warnings = amended(
        config, merging(textFor(config, TEXTS[-1], {}).sections), REGISTRY
    )
    assert ["verify" in one.message for one in warnings] == [True]
    found, warnings = changed(found, "put", TEXTS[0])
    assert warnings == []
    assert any("verify" in one for one in found.written.warnings)


def test_whatCannotBe():
    config, _ = loadText(BEGIN, REGISTRY)
    for kind, what, said in (
        ("put", "; nothing\n", "there is no"), ("pool", "x", r"there is no \[pool x\]"),
        ("server", "x", "there is no server x"),
    ):  # fmt: skip
        with pytest.raises(CannotAmend, match=said):
            changed(config, kind, what)
    with pytest.raises(ConfigError, match=r"there is no \[rules common\]"):
        changed(config, "rules", "common")


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1))
def test_anyTextIsOneWord(text):
    document = readText(f"[pool x]\nserver a = {asWord(text)} b\n", "x", {})
    [word, _] = document.sections[0].options[0].words
    assert word.text == text
    assert document.problems == []
