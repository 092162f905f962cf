"""
C{docs/operating.md} about reloads and signals: its commands, guards, states and signals are
those that there are, and its numbers are those of the code.
"""

import inspect
import re
import signal
from pathlib import Path

import pytest
from renewed import Counted

from lbtwist.admin.tables import reloadText
from lbtwist.guards import LEAST_REQUESTS, MOST_GUARDS, SETTLING, Since, parsed
from lbtwist.histogram import ERROR
from lbtwist.http.front import LAST_CALL
from lbtwist.net.splice import LEAST
from lbtwist.net.tcp import READ_SIZE
from lbtwist.operating import GOOD, REFUSED
from lbtwist.options import Time
from lbtwist.reloading import COMMANDS, RETURNED_CODE, ReloadOptions
from lbtwist.renewing import LONGEST, MOST_LINES, MOST_PROBLEMS, READING, STATES
from lbtwist.sansio.websocket import GOING_AWAY, MOST_AT_ONCE
from lbtwist.tap import Daemon
from lbtwist.websocket import CLOSING, FULL_READS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "operating.md").read_text()
RELOAD = PAGE.partition("\n## Reload\n")[2].partition("\n## ")[0]
SIGNALS = PAGE.partition("\n## Signals\n")[2].partition("\n## ")[0]
FLAT = " ".join((RELOAD + SIGNALS).split())


def tables(part):
    """@return: of each table the cells, without its head."""
    return [
        [
            [cell.strip() for cell in row.strip("|").split("|")]
            for row in rows.splitlines()
        ]
        for rows in re.findall(r"^\| ---[^\n]*\n((?:\|[^\n]*\n)+)", part, re.M)
    ]


def test_commands():
    said = [row[0].strip("`").split() for row in tables(RELOAD)[0]]
    # That which is told of elsewhere has a table of its own.
    assert {words[1] for words in said if words[1] != "show"} == set(COMMANDS) - {"upgrade"}
    options = set(re.findall(r"--(\w+)", tables(RELOAD)[0][0][0]))
    known = {name.rstrip("=") for name in ReloadOptions().longOpt}
    assert options == known - {"help", "version", "config", "socket", "json"}


def test_theGuardsAreGuards():
    since = Since(Counted())
    for form, _ in tables(RELOAD)[1]:
        assert parsed(form.strip("`")).broken(since) == ""
    for text in re.findall(r'--guard "([^"]*)"', RELOAD):
        parsed(text)


def test_exitCodes():
    assert [int(code) for code, _ in tables(RELOAD)[2]] == [GOOD, REFUSED, RETURNED_CODE]


def test_states():
    assert {state.strip("`"): meaning for state, meaning in tables(RELOAD)[3]} == STATES


def test_whatShowReloadSays():
    """The example has its lines, and the names are those of what it says to programs."""
    value = {
        "number": 3, "at": 0.0, "by": "uid 0 pid 4711", "state": "returned",
        "meaning": STATES["returned"], "left": 0.0, "endedAt": 0.0, "problems": [],
        "reason": "errors < 1% is broken: 4 errors in 71 exchanges, 5.63%",
        "guards": ["errors < 1%", "p99 in app < 500ms"], "summary": "1 added",
        "changes": ["+ server app/s3 = 10.0.0.13:8000"], "path": "/etc/lbtwist/lb.ini",
        "differs": True,
    }  # fmt: skip
    lines = [line for line in reloadText(value).splitlines() if not line.startswith("At ")]
    example = re.search(r"```console\n(.*?)```", RELOAD, re.S)[1].splitlines()
    assert lines == [line for line in example if not line.startswith("At ")][3:]
    names = re.findall(
        r"`(\w+)`", RELOAD.partition("With `--json` there are")[2].partition("level")[0]
    )
    assert set(names) == set(value)


@pytest.mark.parametrize(
    "said",
    [
        f"before there were {LEAST_REQUESTS} of it",
        f"found {SETTLING} times in a row",
        f"There may be {MOST_GUARDS} guards",
        f"within {ERROR * 100:.0f} %",
        f"given up after {READING:g} s",
        f"up to {MOST_LINES} lines",
        f"Of one file {MOST_PROBLEMS} problems",
        f"code {GOING_AWAY}",
        f"is closed {LAST_CALL:g} s later",
        f"They have {CLOSING:g} s for that",
        f"more than {FULL_READS} reads of {READ_SIZE >> 10} KiB in a row",
        f"or {MOST_AT_ONCE} frames in one read",
        f"Frames of {LEAST >> 10} KiB and more",
    ],
)
def test_numbers(said):
    assert said in FLAT


def test_theLongestTime():
    assert Time().parse(re.search(r"A time is at most `(\w+)`", FLAT)[1]) == LONGEST


def test_signals():
    """Each that the process takes is told of, and no other."""
    [table] = tables(SIGNALS)
    said = {name for row in table for name in row[0].split(", ")}
    taken = set(re.findall(r"signal\.(SIG\w+)", inspect.getsource(Daemon))) - {"SIG_DFL"}
    assert said == taken
    assert all(hasattr(signal, name) for name in said)
