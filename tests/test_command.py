"""The C{lbtwist} command, for people and scripts."""

import json
import os
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


# explain


RULES = GOOD.replace("pool = app\n", "pool = app\nrequest =\n    deny if path == src\n", 1)


def test_explain(file, capsys):
    path = file(GOOD)
    assert main(["explain", "--config", path, "GET http://h.example:8080/"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "action      sent to app/a at 127.0.0.1:8001"
    assert err == ""


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "PATH", "GET http://h:8080/x", "--json", "-H", "X: y", "--alpn", ""],
        ["GET", "http://h:8080/x", "--header", "X: y", "--json", "--config=PATH"],
        ["GET http://h:8080/x", "-HX:y", "-cPATH", "--json", "--src=127.0.0.1"],
    ],
)
def test_explainTakesOptionsAnywhere(file, capsys, words):
    path = file(GOOD)
    assert main(["explain", *(word.replace("PATH", path) for word in words)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["steps"][0]["fields"] == [["Host", "h:8080"], ["X", "y"]]
    assert said["action"]["server"] == "a"


def test_explainPrintsErrors(file, capsys):
    """Of the configuration: all of them, each with its place."""
    path = file(RULES.replace(":8001", ":99999"))
    assert main(["explain", "-c", path, "GET http://h:8080/"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(" error:")[0] for line in err.splitlines()] == [
        f"{path}:6:13:", f"{path}:8:12:"
    ]  # fmt: skip


def test_explainOfNothing(tmp_path, capsys):
    assert main(["explain", "-c", str(tmp_path / "none.ini"), "GET http://h/"]) == 1
    assert "none.ini" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GET http://h:8080/", "-f", "other"], "there is no [frontend other]; there are: www"),
        (["GET http://h:8081/"], "no frontend listens for plain connections on port 8081"),
        (["GET https://h:8080/"], "no frontend listens for TLS on port 8080"),
        (["TCP h:8080"], "speaks HTTP"),
    ],
)
def test_explainFindsNoFrontend(file, capsys, words, said):
    assert main(["explain", "-c", file(GOOD), *words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        [], ["GET"], ["GET h"], ["GET http://h/", "--src", "h"], ["GET http://h/", "-H", "X"],
        ["GET http://h/", "--nothing"], ["GET http://h/", "--src"], ["GET http://h/", "more"],
    ],
)  # fmt: skip
def test_explainMakesNoSense(words, capsys):
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lbtwist: ") and "Traceback" not in err


def test_explainIsReadNoFurther(file):
    """Of a pipe whose reader has seen enough nothing is said."""
    command = [sys.executable, "-m", "lbtwist", "explain", "-c", file(GOOD), "GET http://h:8080/"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


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
