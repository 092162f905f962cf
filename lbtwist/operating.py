"""
The commands of C{lbtwist} that ask a running balancer, and tell it what to do: C{show},
C{server}, C{drain}, C{wait}, C{plan}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any, TextIO

import attr
from twisted.python import usage

from lbtwist.admin import planning
from lbtwist.admin.awaiting import MOST
from lbtwist.admin.client import TIMEOUT, Client, NoBalancer, Told, addressOf
from lbtwist.admin.tables import SHOWN, span
from lbtwist.admin.verbs import escaped
from lbtwist.config.load import load
from lbtwist.config.model import AdminBind
from lbtwist.errors import ConfigError
from lbtwist.health import Admin
from lbtwist.options import Time
from lbtwist.registry import installed

GOOD = 0
REFUSED = 1
UNUSABLE = 2
NOBODY = 3
LATE = 4
INTERRUPTED = 130
"""
The exit codes: it was done; the balancer refused it, or the configuration is invalid; the
command line makes no sense; no balancer answers; it did not come to that in time; Ctrl-C.
"""

WAITED = {"drained": "srv-drained", "removable": "srv-removable", "up": "srv-up",
          "down": "srv-down"}  # fmt: skip
"""What C{lbtwist wait} waits for, and the balancer's word for it."""


def clientFor(options: Any) -> Client:
    """
    @param options: have C{config} and C{socket}.
    @raise NoBalancer: if no socket is named.
    @raise ConfigError: if the configuration cannot be read.
    """
    if options["socket"]:
        return Client(AdminBind("unix", path=os.path.abspath(options["socket"])))
    config, _ = load(options["config"], installed())
    return Client(addressOf(config, options["config"]))


class AnyOrder(usage.Options):
    """Options that may follow the other words."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            found, words = gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except GetoptError as wrong:
            raise usage.UsageError(str(wrong)) from None
        first: list[str] = []
        for name, value in found:
            first += [name, value] if self._takes(name) else [name]
        super().parseOptions([*first, "--", *words])

    def _takes(self, name: str) -> bool:
        """@return: whether an option has a value."""
        if name.startswith("--"):
            return f"{name[2:]}=" in self.longOpt
        return f"{name[1:]}:" in self.shortOpt


class Asking(AnyOrder):
    """What all of these commands take."""

    optParameters = [
        ["config", "c", "lb.ini", "The configuration file, which names the socket."],
        ["socket", "s", "", "The path of the socket, whatever the configuration says."],
    ]
    optFlags = [["json", None, "Print JSON."]]

    def client(self) -> Client:
        """@raise NoBalancer: see L{clientFor}, as for C{ConfigError}."""
        return clientFor(self)


class ShowOptions(Asking):
    """C{lbtwist show WHAT}."""

    synopsis = f"[--config FILE | --socket PATH] [--json] {'|'.join(SHOWN)} [WORD ...]"
    longdesc = "Shows what a running balancer knows; words are those of its verbs."

    def parseArgs(self, *words: str) -> None:
        if not words or words[0] not in SHOWN:
            raise usage.UsageError(f"show one of {', '.join(SHOWN)}")
        self["what"], *self["words"] = words


class ServerOptions(Asking):
    """C{lbtwist server POOL/SERVER ...}."""

    synopsis = (
        "[--config FILE | --socket PATH] [--json] POOL/SERVER"
        " ready|drain|maint|weight N|maxconn N|addr ADDRESS [port N]"
    )
    longdesc = "Changes a server of a running balancer."

    def parseArgs(self, *words: str) -> None:
        if len(words) < 2:
            raise usage.UsageError("needs a server, as app/s1, and what becomes of it")
        self["server"], *change = words
        states = (Admin.READY, Admin.DRAIN, Admin.MAINT)
        if change[0] in states:
            change = ["state", *change]
        elif change[0] not in ("weight", "maxconn", "addr"):
            raise usage.UsageError(f"unknown {change[0]!r}: write {', '.join(states)}, weight ...")
        self["change"] = change


class Waiting(Asking):
    """What those take that wait."""

    optParameters = [["max", "m", "1h", "Wait so long at the most."]]

    def postOptions(self) -> None:
        try:
            self["seconds"] = Time().parse(self["max"])
        except ValueError as wrong:
            raise usage.UsageError(f"--max: {wrong}") from None
        if not 0 < self["seconds"] <= MOST:
            raise usage.UsageError("--max: more than 0, up to 1d, is accepted")


class DrainOptions(Waiting):
    """C{lbtwist drain POOL/SERVER}."""

    synopsis = "[--config FILE | --socket PATH] [--until idle] [--max TIME] [--json] POOL/SERVER"
    longdesc = "Gives a server no new clients any more; with --until idle, waits for the last."
    optParameters = [["until", "u", "", "idle: wait until nobody is left."]]

    def parseArgs(self, server: str) -> None:  # type: ignore[override]
        self["server"] = server
        if self["until"] not in ("", "idle"):
            raise usage.UsageError("--until: only idle is known")


class WaitOptions(Waiting):
    """C{lbtwist wait CONDITION POOL/SERVER}."""

    synopsis = (
        "[--config FILE | --socket PATH] [--max TIME] [--json]"
        f" {'|'.join(WAITED)} POOL/SERVER"
    )
    longdesc = "Waits until a server is so: exit 0, or 4 if it does not come to that in time."

    def parseArgs(self, condition: str, server: str) -> None:  # type: ignore[override]
        if condition not in WAITED:
            raise usage.UsageError(f"wait for one of {', '.join(WAITED)}")
        self["condition"], self["server"] = condition, server


class PlanOptions(Asking):
    """C{lbtwist plan NEW.ini}."""

    synopsis = "[--config FILE | --socket PATH] [--json] NEW.ini"
    longdesc = (
        "Says what this file would change in a running balancer, and how many connections that"
        " concerns: exit 0, or 1 if the file cannot be used. Where no balancer runs it is"
        " compared with the file that --config names."
    )

    def parseArgs(self, path: str) -> None:  # type: ignore[override]
        self["path"] = path

    def client(self) -> Client:
        try:
            return super().client()
        except NoBalancer as nobody:
            return _Nobody(AdminBind("unix"), str(nobody))


@attr.frozen
class _Nobody(Client):
    """There is nobody to ask."""

    why: str

    def ask(self, command: str, *more: Any, **others: Any) -> Told:
        """@raise NoBalancer: always."""
        raise NoBalancer(self.why)


SUBCOMMANDS: list[list[Any]] = [
    ["show", None, ShowOptions, "Show what a running balancer knows."],
    ["server", None, ServerOptions, "Change a server of a running balancer."],
    ["drain", None, DrainOptions, "Give a server no new clients, and wait for the last."],
    ["wait", None, WaitOptions, "Wait until a server is as it should be."],
    ["plan", None, PlanOptions, "Say what another file would change."],
]


def run(command: Callable[[Client, Any], int], options: Any) -> int:
    """
    @param command: one of L{COMMANDS}, or another that asks a balancer.
    @param options: of the command.
    @return: the exit code.
    """
    try:
        return command(options.client(), options)
    except ConfigError as broken:
        print(broken, file=sys.stderr)
        return REFUSED
    except NoBalancer as nobody:
        print(nobody, file=sys.stderr)
        return NOBODY
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has read enough; nothing more is to be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD


def _show(client: Client, options: Any) -> int:
    verb, written = SHOWN[options["what"]]
    told = client.ask(" ".join([verb, *map(escaped, options["words"])]))
    if not told.good or told.value is None:
        return tell(told, options)
    print(asJSON(told.value) if options["json"] else written(told.value), end="", flush=True)
    return GOOD


def asJSON(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def tell(told: Told, options: Any) -> int:
    """
    Say how it went.

    @return: the exit code.
    """
    code = GOOD if told.good else LATE if told.severity == "warning" else REFUSED
    if options["json"]:
        print(asJSON({"done": told.good, "text": told.text, "value": told.value}), end="")
    elif told.text:
        print(told.text, file=sys.stdout if told.good else sys.stderr)
    return code


def _server(client: Client, options: Any) -> int:
    change = " ".join(map(escaped, options["change"]))
    return tell(client.ask(f"set server {escaped(options['server'])} {change}"), options)


def _drain(client: Client, options: Any) -> int:
    told = client.ask(f"set server {escaped(options['server'])} state drain")
    if not told.good or not options["until"]:
        return tell(told, options)
    return _await(client, "srv-drained", options)


def _wait(client: Client, options: Any) -> int:
    return _await(client, WAITED[options["condition"]], options)


def _await(client: Client, condition: str, options: Any) -> int:
    server = escaped(options["server"])
    progress = Progress(lambda: _left(client, options["server"]))
    milliseconds = round(options["seconds"] * 1000)
    try:
        told = client.ask(
            f"wait {milliseconds}ms {condition} {server}", progress.show,
            limit=options["seconds"] + TIMEOUT,
        )  # fmt: skip
    finally:
        progress.end()
    return tell(told, options)


def _left(client: Client, server: str) -> str:
    """@return: what a server still has, for people."""
    pool, _, name = server.partition("/")
    rows = client.ask(f"show servers state {escaped(pool)}").value or []
    for row in rows:
        if row["server"] == name:
            bound = "" if row["bound"] is None else f", {row['bound']} clients may come back"
            return f"{server} {row['state']}: {row['sessions']} sessions{bound}"
    return f"{server} is gone"


def _plan(client: Client, options: Any) -> int:
    path = os.path.abspath(options["path"])
    against = ""
    try:
        told = client.ask(f"plan {escaped(path)}")
    except NoBalancer as nobody:
        if options["socket"]:
            # Which file that balancer would have is not known.
            raise
        against = f"compared with the file {options['config']}, nothing runs: {nobody}"
        answer = planning.compared(options["config"], options["path"], installed())
        told = Told(answer.severity.name.lower(), answer.text.rstrip("\n"), answer.value)
    if not told.good or told.value is None:
        return tell(told, options)
    if against:
        print(against, file=sys.stderr)
    lines = told.value["lines"]
    print(asJSON(told.value) if options["json"] else "\n".join([*lines, ""]), end="", flush=True)
    return GOOD


class Progress:
    """
    How it goes, on standard error: a line that changes on a terminal, elsewhere one line
    whenever there is something new.
    """

    def __init__(
        self, said: Callable[[], str], out: TextIO | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """@param said: what there is to say."""
        self._said = said
        self._out = sys.stderr if out is None else out
        self._seconds = seconds
        self._since = seconds()
        self._last = ""

    def show(self) -> None:
        """Some time has passed."""
        try:
            said = self._said()
        except NoBalancer:
            # Who waits for the answer is told of it.
            return
        if self._out.isatty():
            waited = span(self._seconds() - self._since)
            print(f"\r\x1b[K{said}, {waited}", end="", file=self._out, flush=True)
        elif said != self._last:
            print(said, file=self._out, flush=True)
        self._last = said

    def end(self) -> None:
        """Nothing more comes."""
        if self._last and self._out.isatty():
            print(file=self._out)


COMMANDS: dict[str, Callable[[Client, Any], int]] = {
    "show": _show, "server": _server, "drain": _drain, "wait": _wait,
    "plan": _plan,
}  # fmt: skip
