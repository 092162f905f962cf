"""
C{etc/container.ini}, and what the Dockerfile says of it. No image is built here: that what it
names is there, and that its commands do what they should, can be seen without.
"""

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import wire
from loopback.running import ROOT, environment, freePorts, run
from recipes.recipe import started

SOCKET = "/run/lbtwist/lbtwist.sock"
CONFIG = "/etc/lbtwist/lb.ini"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def instructions():
    """@return: the Dockerfile's, each a word and the rest of its line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def said(word):
    return [rest for name, rest in instructions() if name == word]


def healthcheck():
    check, = said("HEALTHCHECK")
    return check.partition("CMD ")[2]


def program(name):
    """@return: one of those that a virtual environment with lbtwist has."""
    return str(Path(sys.executable).parent / name)


def test_itIsServed(tmp_path):
    port, = freePorts(1)
    replaced = {"bind = :8080": f"bind = 127.0.0.1:{port}", SOCKET: tmp_path / "lb.sock"}
    with started("container.ini", tmp_path, replaced) as balancer:
        names = set()
        for _ in range(4):
            with wire.connect(port) as client:
                client.sendall(GET)
                body = wire.readResponse(client)[1].decode()
            names.update(re.findall(r"demonstration server (\w+)", body))
        assert names == {"one", "two"}
        command = healthcheck().replace(CONFIG, str(tmp_path / "lb.ini"))
        bin = str(Path(sys.executable).parent)

        def checked():
            return subprocess.run(
                ["sh", "-c", command], env=environment(PATH=f"{bin}:/usr/bin:/bin"),
                cwd=tmp_path, timeout=30, capture_output=True,
            )  # fmt: skip

        done = checked()
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        assert balancer.terminate() == 0
        done = checked()
        # Docker knows no other.
        assert done.returncode == 1


def test_whatIsCopiedIsThere():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    kept = [line[1:] for line in ignored if line.startswith("!")]
    for path in kept:
        assert (ROOT / path).exists(), path
    for rest in said("COPY"):
        if not rest.startswith("--from"):
            source = rest.split()[0]
            assert source == "." or source in kept
    # What the package is made of is among it.
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["metadata"]["license_files"].split()
    needed.append(setup["metadata"]["long_description"].removeprefix("file: "))
    for path in needed:
        assert any(path == one or path.startswith(f"{one}/") for one in kept), path


def test_whatIsInstalled():
    extras = re.search(r'"/src\[([\w,]+)\]"', (ROOT / "Dockerfile").read_text())[1].split(",")
    setup = (ROOT / "setup.cfg").read_text()
    for extra in extras:
        assert re.search(rf"^{extra} =$", setup, re.M), extra
    least = re.search(r"python_requires = >=3\.(\d+)", setup)[1]
    assert int(said("ARG")[0].partition("=3.")[2]) >= int(least)


def test_whoRunsIt():
    assert said("USER") == ["10001:10001"]
    assert said("STOPSIGNAL") == ["SIGTERM"]
    made = " ".join(said("RUN"))
    assert "useradd --uid 10001" in made and "/run/lbtwist" in made
    assert (f"etc/container.ini {CONFIG}",) == tuple(
        rest for rest in said("COPY") if "container" in rest
    )


def test_howItIsStarted():
    """Its command line is one that twist understands."""
    entry, = said("ENTRYPOINT")
    arguments, = said("CMD")
    command = [*json.loads(entry), *json.loads(arguments)]
    assert command[0] == "twist" and command[-2:] == ["--config", CONFIG]
    assert shlex.split(healthcheck())[:3] == ["lbtwist", "show", "info"]
    done = run(
        program("twist"), *command[1:-1], ROOT / "etc/container.ini", "--check",
        cwd=ROOT, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Configuration file is valid\n"), done.stderr


def test_itIsNamedInTheDocumentation():
    page = (ROOT / "docs/running.md").read_text()
    for name in ("Dockerfile", "container.ini", "docker build"):
        assert name in page


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore", "etc/lbtwist.service"])
def test_itIsInTheSourceDistribution(name):
    manifest = (ROOT / "MANIFEST.in").read_text()
    grafted = "graft etc" in manifest and name.startswith("etc/")
    assert name in manifest.split() or grafted
