"""
The configurations shown in the README and in the quickstart are valid as they stand; the
plug-ins in the documentation pass their own tests, away from this tree.
"""

import os
import re
import shutil
import subprocess
import sys
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


LISTINGS = ("mattermost_policy", "ask_service", "token_subject", "zookeeper_check")
PAGE = "docs/extending.md"


def plugins(directory):
    """Write every plug-in and its test to a directory, as somebody who copies them does."""
    for name in LISTINGS:
        for file in (f"{name}.py", f"test_{name}.py"):
            shutil.copy(ROOT / "docs" / "listings" / file, directory / file)
    page = (ROOT / PAGE).read_text()
    for name, block in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", page, re.S | re.M):
        (directory / name).write_text(block)


def test_thePluginsPassTheirTests(tmp_path):
    plugins(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "."],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), "."])},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (*LISTINGS, "canary"):
        assert (tmp_path / f"test_{name}.py").exists()


def test_eachListingIsShown():
    page = (ROOT / PAGE).read_text()
    for name in LISTINGS:
        assert f"{{literalinclude}} listings/{name}.py" in page
        assert f"{{literalinclude}} listings/test_{name}.py" in page


def test_theQuickstartNamesRecipes():
    page = (ROOT / "docs" / "quickstart.md").read_text().partition("## Recipes")[2]
    names = re.findall(r"`([a-z-]+\.ini)`", page)
    assert len(names) > 5
    for name in names:
        assert (ROOT / "etc" / name).exists()
        assert (ROOT / "tests" / "recipes" / f"test_{name.replace('-', '_')[:-4]}_ini.py").exists()
