"""
The C{lbtwist} command, for people and scripts around a balancer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.python import usage

from lbtwist import __version__
from lbtwist.config.load import load
from lbtwist.doctor import asJSON, asText, diagnose
from lbtwist.doctor.facts import Facts
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.tap import Options as DaemonOptions


class CheckOptions(usage.Options):
    """C{lbtwist check FILE}."""

    synopsis = "[--elsewhere] FILE"
    longdesc = "Checks a configuration file: exit 0 if it is valid, else 1."
    optFlags = [["elsewhere", None, "It is for another machine: look for no interfaces here."]]

    def parseArgs(self, path: str) -> None:  # type: ignore[override]
        self["config"] = path


class DoctorOptions(usage.Options):
    """C{lbtwist doctor --config FILE}."""

    synopsis = "[--config FILE] [--json]"
    longdesc = (
        "Says what a configuration needs of this machine, and the command that mends what is"
        " missing: exit 0 if nothing is, else 1."
    )
    optParameters = [["config", "c", "lb.ini", "The configuration file."]]
    optFlags = [["json", None, "Print an array of objects: state, what, mend."]]


class Options(usage.Options):
    """The options of C{lbtwist}."""

    synopsis = "lbtwist COMMAND"
    longdesc = "For people and scripts around a load balancer; it runs with twistd lbtwist."
    subCommands = [
        ["check", None, CheckOptions, "Check a configuration file."],
        ["doctor", None, DoctorOptions, "Check the machine for a configuration."],
    ]

    def opt_version(self) -> None:
        """Print the version."""
        print(__version__)
        raise SystemExit(0)

    opt_V = opt_version


def main(arguments: Sequence[str] | None = None) -> int:
    """
    @return: the exit code: 0 for good, 1 for an invalid configuration or something
        that is missing, 2 for a command line that makes no sense.
    """
    options = Options()
    try:
        options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    except usage.UsageError as wrong:
        print(f"lbtwist: {wrong}\n{options}", file=sys.stderr)
        return 2
    if options.subCommand == "doctor":
        return _doctor(options.subOptions["config"], bool(options.subOptions["json"]))
    if options.subCommand != "check":
        print(options)
        return 2
    check = DaemonOptions()
    try:
        more = ["--elsewhere"] if options.subOptions["elsewhere"] else []
        check.parseOptions(["--check", *more, "--config", options.subOptions["config"]])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _doctor(path: str, asObjects: bool) -> int:
    try:
        config, _ = load(path, installed())
    except ConfigError as broken:
        print(broken, file=sys.stderr)
        return 1
    items = diagnose(config, Facts())
    print(asJSON(items) if asObjects else asText(items))
    return int(any(item.state == "missing" for item in items))
