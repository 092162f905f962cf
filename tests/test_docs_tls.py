"""
C{docs/tls.md} and C{docs/addresses.md}: their configurations are accepted, and what they
name is there.
"""

import re
from pathlib import Path

import pytest

from lbtwist.config.fill import optionFields
from lbtwist.config.load import loadText
from lbtwist.config.model import (
    BindOptions,
    FrontendConfig,
    GlobalConfig,
    PoolConfig,
    ServerOptions,
    TLSConfig,
    TLSName,
)
from lbtwist.doctor.files import SOON
from lbtwist.errors import ConfigError
from lbtwist.net.clienttls import _REASONS
from lbtwist.registry import installed
from lbtwist.sansio.clienthello import LIMIT

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = {name: (DOCS / name).read_text() for name in ("tls.md", "addresses.md")}
PAGE = PAGES["tls.md"]
SNIPPETS = [
    pytest.param(text, id=f"{name}-{number}")
    for name, page in PAGES.items()
    for number, text in enumerate(re.findall(r"^```ini\n(.*?)^```", page, re.S | re.M), 1)
]


@pytest.mark.parametrize("text", SNIPPETS)
def test_aConfigurationIsValid(text):
    """One that begins with a frontend is complete; of others a section is shown."""
    try:
        _, problems = loadText(text, installed())
    except ConfigError as wrong:
        problems = wrong.problems
    messages = [str(one) for one in problems]
    if "[frontend" in text:
        assert messages == []
    else:
        assert len(messages) == 1 and "is used by no bind" in messages[0]


def test_bothPagesShowSome():
    assert len(SNIPPETS) > 8 and {one.id.partition("-")[0] for one in SNIPPETS} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_itIsLinked(page):
    assert f"\n{page.removesuffix('.md')}\n" in (DOCS / "index.md").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_recipesAreThere(page):
    named = set(re.findall(r"`(etc/[\w.-]+)`", PAGES[page]))
    assert named and all((DOCS.parent / name).is_file() for name in named)


def test_theTableNamesOurOptions():
    known = {"bind", "server"}
    for cls in (BindOptions, FrontendConfig, GlobalConfig, PoolConfig, ServerOptions,
                TLSConfig, TLSName):  # fmt: skip
        known |= set(optionFields(cls))
    table = PAGE.partition("## From HAProxy and nginx")[2]
    cells = [row.split(" | ")[-1] for row in table.splitlines() if row.startswith("| `")]
    words = {
        word
        for cell in cells
        for code in re.findall(r"`([^`]+)`", cell)
        for word in re.findall(r"(?<![\w=.-])(?<!= )([a-z][a-z-]+)(?= ?=|$)", code)
    }
    assert len(words) > 20
    assert words - known == set()


def test_reasonsAreThoseOfTheLog():
    rows = re.findall(r"^\| `(TLS: [^`]+)` \|", PAGE, re.M)
    explained = (DOCS / "log.md").read_text()
    assert len(rows) > 4
    assert [row for row in rows if f"| `{row}` |" not in explained] == []


def test_theNumbersAreTrue():
    assert f"less than {SOON} days" in PAGE
    assert LIMIT - 5 == 16 * 1024 and "long as 16 KiB" in PAGE
    assert FrontendConfig("x").timeout_handshake == 10.0 and "`timeout-handshake`, 10s" in PAGE
    assert GlobalConfig().max_handshakes == 1000 and "`max-handshakes`, 1000" in PAGE
    assert TLSConfig("x").reload == 10.0 and "every ten seconds (`reload`)" in PAGE
    assert f"L6RSP {_REASONS[20]}, check duration" in PAGE
