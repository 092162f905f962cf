"""
The commands of C{lbtwist} that are about reloads: C{reload}, C{confirm}, C{rollback}, and about
what needs more than one: C{upgrade}.

What becomes of them in the balancer is L{lbtwist.renewing}'s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from lbtwist.admin.client import TIMEOUT, Client, NoBalancer, Told
from lbtwist.admin.tables import reloadText
from lbtwist.admin.verbs import escaped
from lbtwist.errors import ConfigError
from lbtwist.guards import GuardError, parsed
from lbtwist.operating import GOOD, REFUSED, Asking, Progress, asJSON, tell
from lbtwist.options import Time
from lbtwist.renewing import CONFIRMED, LONGEST, READING, RETURNED, WAITING
from lbtwist.upgrading import LIMIT

RETURNED_CODE = 5
"""The exit code of C{lbtwist reload --wait} where it has gone back."""

PERIOD = 1.0
"""Seconds from one look to the next, while somebody waits."""


class ReloadOptions(Asking):
    """C{lbtwist reload}."""

    synopsis = (
        "[--config FILE | --socket PATH] [--confirm TIME [--guard GUARD]... [--wait]]"
        " [--force] [--json]"
    )
    longdesc = (
        "Has a running balancer read its configuration again: exit 0 if it goes by it, else 1."
        " With --confirm it goes back by itself to what ran before unless 'lbtwist confirm' is"
        " said in time, and at once when a guard is broken; with --wait the command stays for"
        " that, and ends with 0 if it was confirmed, with 5 if it has gone back."
    )
    optParameters = [["confirm", "t", "", "Go back unless it is confirmed in this time."]]
    optFlags = [
        ["wait", "w", "Wait until it is confirmed, or has gone back."],
        ["force", "f", "Even if another reload waits to be confirmed."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["guards"] = []

    def opt_guard(self, guard: str) -> None:
        """
        What has to hold until it is confirmed: 'errors < 1%', '5xx in POOL < 2%',
        'p99 < 500ms', 'servers >= 2'. Can be given several times.
        """
        try:
            self["guards"].append(str(parsed(guard)))
        except GuardError as wrong:
            raise usage.UsageError(f"--guard: {wrong}") from None

    opt_g = opt_guard

    def parseArgs(self) -> None:
        """Nothing follows."""

    def postOptions(self) -> None:
        if not self["confirm"]:
            for name in ("guards", "wait"):
                if self[name]:
                    said = f"--{name.removesuffix('s')} says nothing without --confirm"
                    raise usage.UsageError(said)
            return
        try:
            seconds = Time().parse(self["confirm"])
        except ValueError as wrong:
            raise usage.UsageError(f"--confirm: {wrong}") from None
        if not 0 < seconds <= LONGEST:
            raise usage.UsageError("--confirm: more than 0, up to 1d, is accepted")


class DecidingOptions(Asking):
    """C{lbtwist confirm} and C{lbtwist rollback}: what they need even where the file is bad."""

    def parseArgs(self) -> None:
        """Nothing follows."""

    def client(self) -> Client:
        try:
            return super().client()
        except ConfigError as broken:
            raise NoBalancer(
                f"{broken}\nso it is not known where to ask: --socket PATH says it"
            ) from None


class ConfirmOptions(DecidingOptions):
    """C{lbtwist confirm}."""

    synopsis = "[--config FILE | --socket PATH] [--json]"
    longdesc = "What the last reload has changed is good: exit 0, or 1 if none waits for this."


class RollbackOptions(DecidingOptions):
    """C{lbtwist rollback}."""

    synopsis = "[--config FILE | --socket PATH] [--json]"
    longdesc = (
        "Goes back to what ran before the last reload: exit 0, or 1 if there is nothing to go"
        " back to. The file stays as it is."
    )


class UpgradeOptions(DecidingOptions):
    """C{lbtwist upgrade}."""

    synopsis = "[--config FILE | --socket PATH] [--json]"
    longdesc = (
        "Starts the program again, which takes the place of the process that runs: exit 0 when"
        " it accepts, or 1 if it does not, and the one that runs goes on."
    )


SUBCOMMANDS: list[list[Any]] = [
    ["reload", None, ReloadOptions, "Have a running balancer read its configuration again."],
    ["confirm", None, ConfirmOptions, "What the last reload has changed is good."],
    ["rollback", None, RollbackOptions, "Go back to what ran before the last reload."],
    ["upgrade", None, UpgradeOptions, "Have another process take the place of this one."],
]


def _reload(client: Client, options: Any) -> int:
    words = ["reload"]
    if options["confirm"]:
        words += ["confirm", escaped(options["confirm"])]
    for guard in options["guards"]:
        words += ["guard", escaped(guard)]
    if options["force"]:
        words.append("force")
    told = client.ask(" ".join(words), lambda: None, limit=READING + TIMEOUT)
    if not (options["wait"] and told.good and told.value and told.value["state"] == WAITING):
        return tell(told, options)
    print(told.text, file=sys.stderr, flush=True)
    return _follow(client, told.value, options)


def _follow(
    client: Client, value: Any, options: Any, sleep: Callable[[float], object] = time.sleep
) -> int:
    """
    Wait for the end of a reload.

    @param value: what is known of it.
    """
    number = value["number"]
    progress = Progress(lambda: f"reload {number} waits to be confirmed")
    try:
        while value["number"] == number and value["state"] == WAITING:
            progress.show()
            sleep(min(PERIOD, value["left"] + 0.1))
            value = client.ask("show reload").value
    finally:
        progress.end()
    if value["number"] != number:
        return tell(Told("error", f"reload {number} was replaced by reload {value['number']}",
                         value), options)  # fmt: skip
    print(asJSON(value) if options["json"] else reloadText(value), end="", flush=True)
    return {CONFIRMED: GOOD, RETURNED: RETURNED_CODE}.get(value["state"], REFUSED)


def _confirm(client: Client, options: Any) -> int:
    return tell(client.ask("confirm"), options)


def _rollback(client: Client, options: Any) -> int:
    return tell(client.ask("rollback"), options)


def _upgrade(client: Client, options: Any) -> int:
    return tell(client.ask("upgrade", lambda: None, limit=LIMIT + TIMEOUT), options)


COMMANDS: dict[str, Callable[[Client, Any], int]] = {
    "reload": _reload, "confirm": _confirm, "rollback": _rollback, "upgrade": _upgrade,
}  # fmt: skip
