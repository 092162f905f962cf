"""
C{docs/queues.md}: its examples are accepted, its numbers are those of the code, and what it
draws is so.
"""

import re
from pathlib import Path

from pooled import pooled
from test_queueing import Desk, fair

from lbtwist.config.load import load, loadText
from lbtwist.errors import ConfigError
from lbtwist.queueing import LONGEST_KEY, MOST_TENANTS
from lbtwist.registry import installed
from lbtwist.rules.keeping import Priority
from lbtwist.warming import COLDEST, STEPS

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "queues.md").read_text()


def test_theExampleIsAccepted():
    [text] = re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M)
    config, warnings = loadText(text, installed())
    assert warnings == []
    assert config.pools["app"].queue.name == "fair"


def test_numbers():
    assert f"At most {MOST_TENANTS:,} tenants" in PAGE
    assert f"the first {LONGEST_KEY} bytes" in PAGE
    assert f"{COLDEST:.0%} of its weight" in PAGE and f"in {STEPS} steps" in PAGE
    [least, most] = re.findall(r"classes from (-\d+) to (\d+)", PAGE)[0]
    for level in (int(least) - 1, int(most) + 1):
        try:
            loadText(f"[rules x]\nrequest = priority {level}\n", installed())
        except ConfigError as error:
            assert f"from {least} to {most}" in str(error)
    assert Priority.name == "priority"


def test_theDrawingOfTenants():
    """Who is served in which order, as the page draws it."""
    drawing = re.search(r"served:  ([a-z ]+?) \.\.\.", PAGE)[1].split()
    with pooled(maxconn=1, line=fair(g=2), timeout_queue=1e6) as pool:
        desk = Desk(pool)
        desk.come(*["c-"] * 20, *["g-"] * 3, "n-")
        assert [one[0] for one in desk.serves(len(drawing))] == drawing


def test_theRecipeIsNamed():
    assert "`etc/slow-servers.ini`" in PAGE
    config, warnings = load(ROOT / "etc" / "slow-servers.ini", installed())
    assert warnings == []
    assert config.pools["app"].slowstart == 30.0
