"""
Who is measured: where each program is found, how it is started, and what
configuration it is given. The configurations are in C{templates}.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Self

import attr

from bench.certificate import Certificate
from bench.origin import SMALL, Origin, fetch
from bench.system import Child, Placement, freePorts

TEMPLATES = Path(__file__).parent / "templates"
ROOT = Path(__file__).parent.parent


@attr.frozen
class Program:
    """
    One program that is measured.

    @ivar executable: its file's name.
    @ivar arguments: with C{{config}} where the configuration's path goes.
    @ivar extension: of its templates, C{NAME.MODE.EXTENSION}.
    @ivar modes: what it can do; see L{bench.cases.Case}.
    @ivar version: the arguments that make it print its version.
    @ivar server: the line of its configuration for a server, with C{{name}} and
        C{{address}}.
    @ivar logsToStdout: its access log is its standard output.
    @ivar plugin: a module that must be there as well.
    """

    name: str
    executable: str
    arguments: tuple[str, ...]
    extension: str
    version: tuple[str, ...]
    modes: frozenset[str] = frozenset({"http", "https", "tcp"})
    environment: Mapping[str, str] = attr.field(factory=dict)
    server: str = ""
    logsToStdout: bool = False
    plugin: str = ""

    def find(self) -> str | None:
        """The path of its executable, or C{None} if it is not installed."""
        if self.plugin and find_spec(self.plugin) is None:
            return None
        return find(self.executable)

    def render(self, mode: str, values: Mapping[str, object]) -> str:
        """
        @param values: C{port}, C{log}, C{certificate}, C{serverA} and C{serverB}, and what
            this mode wants besides. The lines C{ten} and C{thousand} are made of these.
        @return: its configuration.
        """
        ports = int(str(values["serverA"])), int(str(values["serverB"]))
        lines = {
            "small": SMALL.decode("ascii"),
            "ten": serverLines(self.server, 10, *ports),
            "thousand": serverLines(self.server, 1000, *ports),
        }
        path = TEMPLATES / f"{self.name}.{mode}.{self.extension}"
        return Template(path.read_text()).substitute({**lines, **values})

    def describe(self) -> str:
        """The first line of what it says about its version; C{""} if it does not."""
        path = self.find()
        if path is None:
            return ""
        try:
            done = subprocess.run(
                [path, *self.version],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=20,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        said = done.stdout.replace(path, "").strip()
        return said.splitlines()[0] if said else ""


LBTWIST = Program(
    "lbtwist",
    "twistd",
    ("--reactor", "lbtwist", "-n", "--pidfile=", "lbtwist", "--config", "{config}"),
    "ini",
    ("--version",),
    # The tree the bench is in, whatever else is installed.
    environment={"PYTHONPATH": str(ROOT)},
    modes=frozenset(
        {
            "http", "https", "tcp", "rules", "networks", "thousand", "cookie", "source",
            "operated", "workers", "websockets",
        }
    ),
    server="server {name} = {address}",
    plugin="twisted.plugins.lbtwist_plugin",
)  # fmt: skip

HAPROXY = Program(
    "haproxy",
    "haproxy",
    ("-db", "-f", "{config}"),
    "cfg",
    ("-v",),
    frozenset({"http", "https", "tcp", "rules", "cookie", "source", "thousand"}),
    server="server {name} {address}",
    logsToStdout=True,
)

PLAIN = {"lbtwist": "plain", "haproxy": "haproxy-plain"}
"""
By whom they are: the same programs with less to do, as fewer rules or servers, or without
persistence. What that costs is told by comparing the two.
"""

PROGRAMS = {
    program.name: program
    for program in (
        LBTWIST,
        attr.evolve(
            LBTWIST, name=PLAIN["lbtwist"],
            modes=frozenset({
                "rules", "networks", "thousand", "cookie", "source", "operated", "workers",
            }),
        ),
        HAPROXY,
        attr.evolve(HAPROXY, name=PLAIN["haproxy"], modes=frozenset({"thousand"})),
        Program(
            "envoy",
            "envoy",
            (
                "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning",
                "--file-flush-interval-msec", "1000", "--config-path", "{config}",
            ),
            "yaml",
            ("--version",),
        ),
        Program(
            "caddy",
            "caddy",
            ("run", "--adapter", "caddyfile", "--config", "{config}"),
            "Caddyfile",
            ("version",),
            frozenset({"http", "https"}),
            {"GOMAXPROCS": "1"},
        ),
    )
}  # fmt: skip


def find(executable: str) -> str | None:
    """
    @return: the path of an executable: next to this Python, on C{PATH}, or
        where Debian keeps servers.
    """
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(executable, path=os.pathsep.join(places))


def writeLists(directory: Path) -> None:
    """Write the lists that rules of the mode C{networks} ask: of 10 lines, and of 10,000."""
    for name, count in (("few", 10), ("many", 10_000)):
        networks = [f"10.{number // 250}.{number % 250}.0/24" for number in range(count)]
        (directory / f"networks.{name}").write_text("\n".join(networks))
        hosts = [f"host{number}.example.com" for number in range(count)]
        (directory / f"hosts.{name}").write_text("\n".join(hosts))


def serverLines(line: str, count: int, *ports: int) -> str:
    """
    @param line: as L{Program.server}.
    @return: so many servers. They differ in their names only, so that nothing but their
        number counts.
    """
    return "\n".join(
        line.format(name=f"s{number}", address=f"127.0.0.1:{ports[number % len(ports)]}")
        for number in range(count)
    )


class Running:
    """
    A program at work between C{with} and its end.

    @ivar port: where it listens.
    @ivar url: the same, without a path.
    @ivar asked: requests the bench made of it itself.
    """

    def __init__(
        self,
        program: Program,
        mode: str,
        origin: Origin,
        certificate: Certificate,
        directory: Path,
        placement: Placement,
        values: Mapping[str, object],
    ) -> None:
        """@param values: what templates of this mode want besides."""
        self.program = program
        self.port = freePorts(1)[0]
        secure = mode == "https"
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self.port}"
        self._trusting = certificate.trusting() if secure else None
        self.asked = 0
        directory.mkdir()
        self._log = directory / "access.log"
        self._mode = mode
        self._config = config = directory / f"config.{program.extension}"
        self._values: dict[str, object] = {
            "port": self.port,
            "log": self._log,
            "certificate": certificate.path,
            "serverA": origin.serverA,
            "serverB": origin.serverB,
        }
        self.write(values)
        if mode == "networks":
            writeLists(directory)
        executable = program.find()
        assert executable is not None, f"{program.name} is not installed"
        self._child = Child(
            program.name,
            [executable, *(word.format(config=config) for word in program.arguments)],
            directory,
            placement.program,
            # Caddy would keep things in the user's directories.
            {"HOME": str(directory), "XDG_DATA_HOME": str(directory),
             "XDG_CONFIG_HOME": str(directory), **program.environment},
        )  # fmt: skip
        self._stack = ExitStack()

    @property
    def pid(self) -> int:
        return self._child.pid

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._child)
            self._child.waitUntil(lambda: self.fetch("/small") is not None, 15)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    def fetch(self, path: str) -> tuple[int, bytes]:
        """
        @return: the status and the body of one answer.
        @raise OSError: if there was none.
        """
        answer = fetch(self.url + path, self._trusting)
        self.asked += 1
        return answer

    def write(self, values: Mapping[str, object]) -> None:
        """
        Write its configuration.

        @param values: what templates of its mode want besides.
        """
        new = self._config.with_suffix(".new")
        new.write_text(self.program.render(self._mode, {**self._values, **values}))
        new.replace(self._config)

    def end(self) -> int:
        """
        End the program.

        @return: how many lines its access log has.
        """
        self._stack.close()
        log = self._child.out if self.program.logsToStdout else self._log
        if not log.exists():
            return 0
        with log.open("rb") as lines:
            return sum(1 for _ in lines)
