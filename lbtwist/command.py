"""
The C{lbtwist} command, for people and scripts around a balancer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.python import usage

from lbtwist import __version__, investigating, operating, reloading
from lbtwist.admin.client import Client
from lbtwist.admin.web.tokens import newLine
from lbtwist.build import build
from lbtwist.config.load import load
from lbtwist.doctor import asJSON, diagnose
from lbtwist.doctor import asText as diagnosis
from lbtwist.doctor.facts import Facts
from lbtwist.errors import ConfigError
from lbtwist.explaining import asking, assumeUp, explain
from lbtwist.explaining.words import asText
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

    synopsis = "[--config FILE] [--user NAME] [--json]"
    longdesc = (
        "Says what a configuration needs of this machine, and the command that mends what is"
        " missing: exit 0 if nothing is, else 1."
    )
    optParameters = [
        ["config", "c", "lb.ini", "The configuration file."],
        ["user", "u", "", "Who runs it later on, as twistd --uid says; needs root."],
    ]
    optFlags = [["json", None, "Print an array of objects: state, what, mend."]]


class ExplainOptions(operating.AnyOrder):
    """C{lbtwist explain --config FILE 'GET https://HOST/PATH'}."""

    synopsis = "[--config FILE] [options] 'METHOD URL' | 'TCP HOST:PORT' | --live"
    longdesc = (
        "Says where a request goes and why, without a network: every rule with the values it"
        " asks for, the pool, the servers: exit 0 if it can be said, else 1. With --live it"
        " waits for the next real request of a running balancer, and says the same of that;"
        " exit 4 if none comes."
    )
    optParameters = [
        ["config", "c", "lb.ini", "The configuration file."],
        ["frontend", "f", "", "The frontend; by default the one that listens on the port."],
        ["src", "s", "127.0.0.1", "The client's address, or ADDRESS:PORT."],
        ["sni", None, None, "The name asked for in TLS; the URL's host by default."],
        ["alpn", None, "", "The protocols offered in TLS, separated by commas."],
        ["proxied", None, "", "A PROXY header comes first: 'SOURCE' or 'SOURCE DESTINATION'."],
        ["match", "m", "", "With --live: a condition, such as 'path == \"/x\"'."],
        ["limit", None, "60s", "With --live: wait so long, up to 1h."],
        ["socket", None, "", "With --live: the path of the balancer's socket."],
    ]
    optFlags = [
        ["live", None, "Wait for a real request of a running balancer."],
        ["json", None, "Print an object: steps and action, see docs/explain.md."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["headers"] = []

    def opt_header(self, line: str) -> None:
        """A field of the request: 'NAME: VALUE'. Can be given several times."""
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise usage.UsageError(f"{line!r} is no field: write 'NAME: VALUE'")
        self["headers"].append((name.strip(), value.strip()))

    opt_H = opt_header

    def client(self) -> Client:
        """@raise NoBalancer: if no socket is named."""
        return operating.clientFor(self)

    def parseArgs(self, *request: str) -> None:
        if self["live"]:
            investigating.limitOf(self)
            if request:
                raise usage.UsageError("with --live there is no request: write --match")
            return
        try:
            self["asked"] = asking(
                " ".join(request), self["src"], self["sni"], self["alpn"], self["headers"],
                self["proxied"],
            )
        except ValueError as wrong:
            raise usage.UsageError(str(wrong)) from None


class TokenOptions(operating.AnyOrder):
    """C{lbtwist token NAME --scope SCOPE}."""

    synopsis = "NAME --scope read|operate|admin"
    longdesc = (
        "Makes a token for the administration by HTTP: prints the line for the file of"
        " tokens, and on standard error the token itself, which is nowhere else."
    )
    optParameters = [["scope", "s", "", "What may be done with it: read, operate or admin."]]

    def parseArgs(self, name: str) -> None:  # type: ignore[override]
        try:
            self["token"], self["line"] = newLine(name, self["scope"].split(","))
        except ValueError as wrong:
            raise usage.UsageError(str(wrong)) from None


class Options(usage.Options):
    """The options of C{lbtwist}."""

    synopsis = "lbtwist COMMAND"
    longdesc = "For people and scripts around a load balancer; it runs with twistd lbtwist."
    subCommands = [
        ["check", None, CheckOptions, "Check a configuration file."],
        ["doctor", None, DoctorOptions, "Check the machine for a configuration."],
        ["explain", None, ExplainOptions, "Say where a request goes, and why."],
        ["token", None, TokenOptions, "Make a token for the administration by HTTP."],
        *operating.SUBCOMMANDS,
        *investigating.SUBCOMMANDS,
        *reloading.SUBCOMMANDS,
    ]

    def opt_version(self) -> None:
        """Print the version."""
        print(__version__)
        raise SystemExit(0)

    opt_V = opt_version


def main(arguments: Sequence[str] | None = None) -> int:
    """
    @return: the exit code: 0 for good, 1 for an invalid configuration or something
        that is missing, 2 for a command line that makes no sense; others are said by
        L{lbtwist.operating}.
    """
    options = Options()
    try:
        options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    except usage.UsageError as wrong:
        print(f"lbtwist: {wrong}\n{options}", file=sys.stderr)
        return 2
    if options.subCommand == "doctor":
        return _doctor(
            options.subOptions["config"], bool(options.subOptions["json"]),
            options.subOptions["user"],
        )
    if options.subCommand == "explain":
        if options.subOptions["live"]:
            return operating.run(investigating.explainLive, options.subOptions)
        return _explain(options.subOptions)
    if options.subCommand == "token":
        print(options.subOptions["line"])
        print(f"token: {options.subOptions['token']}", file=sys.stderr)
        return 0
    asking = {**operating.COMMANDS, **investigating.COMMANDS, **reloading.COMMANDS}.get(
        options.subCommand or ""
    )
    if asking is not None:
        return operating.run(asking, options.subOptions)
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


def _doctor(path: str, asObjects: bool, user: str) -> int:
    try:
        config, _ = load(path, installed())
    except ConfigError as broken:
        print(broken, file=sys.stderr)
        return 1
    items = diagnose(config, Facts(), user)
    print(asJSON(items) if asObjects else diagnosis(items))
    return int(any(item.state == "missing" for item in items))


def _explain(options: Any) -> int:
    registry = installed()
    try:
        config, _ = load(options["config"], registry)
        # Its clock stands still, and nothing of it is started.
        balancer = build(config, registry, Clock())
        assumeUp(balancer)
        explanation = explain(balancer, options["asked"], options["frontend"])
    except (ConfigError, LookupError) as wrong:
        print(wrong.args[0] if isinstance(wrong, LookupError) else wrong, file=sys.stderr)
        return 1
    try:
        print(explanation.asJSON() if options["json"] else asText(explanation), flush=True)
    except BrokenPipeError:
        # Whoever reads has read enough; nothing more is to be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
