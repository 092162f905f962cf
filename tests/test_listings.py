"""The configurations shown in the README and in the quickstart are valid as they stand."""

import re
from pathlib import Path

import pytest

from lbtwist.config.load import loadText
from lbtwist.registry import installed

ROOT = Path(__file__).resolve().parent.parent


def shown():
    for page in ("README.md", "docs/quickstart.md"):
        blocks = re.findall(r"^```ini\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
        for number, block in enumerate(blocks, 1):
            yield pytest.param(block, id=f"{page}-{number}")
    for listing in sorted(ROOT.glob("docs/listings/*.ini")):
        yield pytest.param(listing.read_text(), id=listing.name)


@pytest.mark.parametrize("text", list(shown()))
def test_aConfigurationIsValid(text):
    config, warnings = loadText(text, installed())
    assert warnings == []
    for frontend in config.frontends.values():
        assert config.pools[frontend.pool].servers


def test_eachPlaceShowsOne():
    seen = {parameters.id for parameters in shown()}
    assert {"README.md-1", "docs/quickstart.md-1", "quickstart.ini"} <= seen
