"""What docs/running.md says is what the unit, the image and the command line have."""

import re
from pathlib import Path

import pytest

from lbtwist.command import DoctorOptions
from lbtwist.config.load import loadText
from lbtwist.notifying import MARGIN, STATUS_INTERVAL
from lbtwist.registry import installed
from lbtwist.tap import Daemon

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/running.md").read_text()
UNIT = (ROOT / "etc/lbtwist.service").read_text()


def test_whatTheUnitSays():
    table = PAGE.partition("| what it says |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| `([^`]+)`", table, re.M)
    assert len(names) > 5
    for name in names:
        assert re.search(rf"^{re.escape(name)}", UNIT, re.M), name


def test_numbers():
    assert f"`grace-period` and {MARGIN:g} s" in PAGE
    assert f"every {STATUS_INTERVAL:g} s" in PAGE
    assert re.search(r"^WatchdogSec=30s", UNIT, re.M)


def test_theStatus():
    daemon = Daemon()
    status = re.search(r"`12 (connections, )3 of 3 (servers can be used)`", PAGE)
    assert daemon._status() == f"0 {status[1]}0 of 0 {status[2]}"


def test_theDoctorsOption():
    options = DoctorOptions()
    options.parseOptions(["--user", "www-data"])
    assert options["user"] == "www-data"


@pytest.mark.parametrize("text", re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M))
def test_examples(text):
    if "[tls" in text:
        text += "[frontend www]\nbind = :8443 tls=site\npool = app\n[pool app]\nserver a = demo:a\n"
    _, warnings = loadText(text, installed(), environ={"CREDENTIALS_DIRECTORY": "/run/x"})
    assert warnings == []


def test_files():
    for name in re.findall(r"`(etc/[\w.-]+|Dockerfile)`", PAGE):
        assert (ROOT / name).exists(), name
