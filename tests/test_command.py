"""The C{lbtwist} command, for people and scripts."""

import subprocess
import sys

import pytest

from lbtwist import __version__
from lbtwist.command import main

GOOD = """
[frontend www]
bind = 127.0.0.1:8080
pool = app
[pool app]
server a = 127.0.0.1:8001
"""


@pytest.fixture
def file(tmp_path):
    """A function that writes a configuration."""

    def write(text):
        path = tmp_path / "lb.ini"
        path.write_text(text)
        return str(path)

    return write


def test_checkIsContent(file, capsys):
    assert main(["check", file(GOOD)]) == 0
    out, err = capsys.readouterr()
    assert out == "Configuration file is valid\n"
    assert err == ""


def test_checkWarns(file, capsys):
    assert main(["check", file(GOOD + "[pool spare]\nserver b = 127.0.0.1:8002\n")]) == 0
    out, err = capsys.readouterr()
    assert out == "Configuration file is valid\n"
    assert "lb.ini:7:" in err and "warning" in err


def test_checkFindsErrors(file, capsys):
    """All of them, each with its place."""
    path = file(GOOD.replace("pool = app", "pool = ap").replace(":8001", ":99999"))
    assert main(["check", path]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith(f"{path}:4:")
    assert "did you mean 'app'" in err
    assert f"{path}:6:" in err
    assert [" error: " in line for line in lines].count(True) == 2
    assert lines[-1] == "2 errors: nothing was started"
    assert "Traceback" not in err


def test_checkOfNothing(tmp_path, capsys):
    assert main(["check", str(tmp_path / "none.ini")]) == 1
    assert "none.ini" in capsys.readouterr().err


BY_INTERFACE = """
[frontend www]
bind =
    127.0.0.1:8080 interface=lo
    127.0.0.1:8081-8083 interface=no-such-1
pool = app
[pool app]
source-interface = no-such-2
server a = 127.0.0.1:8001
server b = 127.0.0.1:8002 source-interface=no-such-3
"""


def test_checkLooksForInterfaces(file, capsys):
    """Row 003.7: an unknown interface is an error of the check, once for each line."""
    path = file(BY_INTERFACE)
    assert main(["check", path]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    *lines, last = err.splitlines()
    assert [line.partition("; ")[0].rpartition(", this machine has ")[0] for line in lines] == [
        f"{path}:5:5: error: [frontend www] bind: interface: there is no interface 'no-such-1'",
        f"{path}:7:1: error: [pool app] source-interface: there is no interface 'no-such-2'",
        f"{path}:10:12: error: [pool app] server b: source-interface:"
        " there is no interface 'no-such-3'",
    ]
    assert all(", this machine has lo" in line for line in lines)
    assert last == "3 errors: nothing was started"


def test_checkForAnotherMachine(file, capsys):
    """Whoever writes a configuration need not have the interfaces of the machine it is for."""
    assert main(["check", "--elsewhere", file(BY_INTERFACE)]) == 0
    assert capsys.readouterr() == ("Configuration file is valid\n", "")


@pytest.mark.parametrize("arguments", [["chekc"], ["check"], ["check", "a", "b"], ["--nothing"]])
def test_makesNoSense(arguments, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lbtwist: ")
    assert "lbtwist COMMAND" in err


def test_withoutACommand(capsys):
    assert main([]) == 2
    assert "Check a configuration file." in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word, capsys):
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert not ended.value.code
    assert capsys.readouterr().out == f"{__version__}\n"


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "Check a configuration file." in out
    assert "twistd lbtwist" in out


def test_asAModule():
    done = subprocess.run(
        [sys.executable, "-m", "lbtwist", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")
