"""
C{lbtwist plan}, as a process: beside a balancer that runs, and where none does.
"""

import json
import subprocess
import sys

import pytest
from loopback import wire
from loopback.running import Balancer, environment, freePorts, write

CONFIG = """\
[global]
admin = unix:lb.sock
[frontend www]
bind = 127.0.0.1:{port}
pool = app
[pool app]
server a = demo:a
server b = demo:b
"""


def lbtwist(directory, *words):
    """@return: the exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "lbtwist", *words], cwd=directory, env=environment(),
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def text():
    (port,) = freePorts(1)
    return CONFIG.format(port=port)


def changed(text):
    return text.replace("server b = demo:b", "server c = demo:c\nbalance = leastconn")


CHANGED = [
    "~ pool app: balance roundrobin -> leastconn",
    "- server app/b",
    "+ server app/c = demo:c",
]


def test_besideABalancerThatRuns(tmp_path, text):
    with Balancer(tmp_path, text):
        port = int(text.partition("127.0.0.1:")[2].split()[0])
        client = wire.answered(port)
        new = changed(text).replace("pool = app", "pool = app\nerrors = json")
        write(tmp_path / "new.ini", new)
        www = "~ frontend www: errors html -> json (1 connection)"
        last = "1 added, 1 removed, 2 changed; 1 connection touched"
        assert lbtwist(tmp_path, "plan", "new.ini") == (
            0, "\n".join([www, *CHANGED, last, ""]), ""
        )  # fmt: skip
        code, out, err = lbtwist(tmp_path, "plan", "--json", "--socket", "lb.sock", "new.ini")
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["running"] and found["connections"] == 1
        assert found["lines"] == [www, *CHANGED, last]
        client.close()
        # Nothing of the new file was taken.
        assert lbtwist(tmp_path, "plan", "lb.ini") == (0, "nothing changes\n", "")


def test_aFileThatCannotBeUsed(tmp_path, text):
    with Balancer(tmp_path, text):
        write(tmp_path / "new.ini", text + "balance = lestconn\nretries = x\n")
        code, out, err = lbtwist(tmp_path, "plan", "new.ini")
        assert (code, out) == (1, "")
        first, second, last = err.splitlines()
        assert first.startswith(f"{tmp_path}/new.ini:9:11: error: [pool app] balance: unknown")
        assert second.startswith(f"{tmp_path}/new.ini:10:11: error: [pool app] retries: ")
        assert last == "2 errors: nothing would change"
        code, out, err = lbtwist(tmp_path, "plan", "new.ini", "--json")
        assert (code, err) == (1, "")
        assert [one["line"] for one in json.loads(out)["value"]["problems"]] == [9, 10]
        code, _, err = lbtwist(tmp_path, "plan", "none.ini")
        assert (code, err) == (
            1, f"'{tmp_path}/none.ini' is no file that the balancer can find.\n"
        )  # fmt: skip


def test_whereNothingRuns(tmp_path, text):
    write(tmp_path / "lb.ini", text)
    write(tmp_path / "new.ini", changed(text))
    code, out, err = lbtwist(tmp_path, "plan", "new.ini")
    assert (code, out) == (0, "\n".join([*CHANGED, "1 added, 1 removed, 1 changed", ""]))
    assert err == (
        "compared with the file lb.ini, nothing runs: no balancer answers at"
        f" unix:{tmp_path}/lb.sock: No such file or directory\n"
    )
    code, out, err = lbtwist(tmp_path, "plan", "--config", "new.ini", "--json", "lb.ini")
    found = json.loads(out)
    assert code == 0 and not found["running"] and "connections" not in found
    assert err.startswith("compared with the file new.ini, nothing runs: ")
    assert lbtwist(tmp_path, "plan", "--socket", "lb.sock", "new.ini")[0] == 3


def test_whereNoSocketIsConfigured(tmp_path, text):
    text = text.replace("admin = unix:lb.sock\n", "")
    write(tmp_path / "lb.ini", text)
    write(tmp_path / "new.ini", text + "[pool more]\nserver x = demo:x\n")
    code, out, err = lbtwist(tmp_path, "plan", "new.ini")
    warning, *lines = out.splitlines()
    assert code == 0
    assert warning == "new.ini:8:1: warning: [pool more] is used by no frontend"
    assert lines == ["+ pool more = servers x", "1 added"]
    assert err.startswith("compared with the file lb.ini, nothing runs: lb.ini has no admin = ")


def test_filesThatCannotBeReadWhereNothingRuns(tmp_path, text):
    write(tmp_path / "lb.ini", text)
    code, out, err = lbtwist(tmp_path, "plan", "none.ini")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "1 error: nothing would change"
    code, out, err = lbtwist(tmp_path, "plan", "--config", "none.ini", "lb.ini")
    assert (code, out) == (1, "") and "none.ini" in err
    assert lbtwist(tmp_path, "plan")[0] == 2
