"""
The commands of C{lbtwist} that say what is going on in a running balancer, and why: C{why},
C{top}, and C{explain --live}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from lbtwist.admin import blaming
from lbtwist.admin.client import TIMEOUT, Client
from lbtwist.admin.live import LONGEST
from lbtwist.admin.verbs import escaped
from lbtwist.explaining.explanation import Action, Explanation
from lbtwist.explaining.words import asText
from lbtwist.failures import HOUR
from lbtwist.operating import GOOD, REFUSED, Asking, Progress, asJSON, tell
from lbtwist.options import Time
from lbtwist.top import live

SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 60.0


def _time(options: Any, name: str, least: float, most: float, said: str) -> float:
    """@raise usage.UsageError: if an option is no time, or none that is accepted."""
    try:
        seconds = Time().parse(options[name])
    except ValueError as wrong:
        raise usage.UsageError(f"--{name}: {wrong}") from None
    if not least <= seconds <= most:
        raise usage.UsageError(f"--{name}: {said} is accepted")
    return seconds


class WhyOptions(Asking):
    """C{lbtwist why [503|SC|KIND]}."""

    synopsis = (
        "[--config FILE | --socket PATH] [--last TIME] [--pool NAME] [--frontend NAME] [--json]"
        " [STATUS|END|KIND ...]"
    )
    longdesc = (
        "Says what has failed lately in a running balancer, by its cause, with what went on at"
        " the servers then and what to do. Words make it fewer: a status, 503 or 5xx; an end as"
        " in the access log, SC; a kind, as the answer to a wrong one lists them."
    )
    optParameters = [
        ["last", "l", "1h", "Of this time, up to 1h."],
        ["pool", "p", "", "Of this pool."],
        ["frontend", "f", "", "Of this frontend."],
    ]

    def parseArgs(self, *words: str) -> None:
        self["words"] = words

    def postOptions(self) -> None:
        self["seconds"] = _time(self, "last", 0.001, HOUR, "more than 0, up to 1h,")


class TopOptions(Asking):
    """C{lbtwist top}."""

    synopsis = "[--config FILE | --socket PATH] [--interval TIME] [--pool NAME] [--once] [--json]"
    longdesc = (
        "Shows a running balancer live; h says what keys do. Where there is no terminal, and"
        " with --json, it prints how it goes after each interval; with --once after one."
    )
    optParameters = [
        ["interval", "i", "1s", "From one look to the next, from 100ms to 1m."],
        ["pool", "p", "", "This pool alone."],
    ]
    optFlags = [["once", None, "Look once, and print it."]]

    def postOptions(self) -> None:
        self["seconds"] = _time(
            self, "interval", SHORTEST_INTERVAL, LONGEST_INTERVAL, "a time from 100ms to 1m"
        )


SUBCOMMANDS: list[list[Any]] = [
    ["why", None, WhyOptions, "Say what has failed lately, and why."],
    ["top", None, TopOptions, "Show a running balancer live."],
]


def limitOf(options: Any) -> float:
    """
    @param options: of C{lbtwist explain --live}.
    @return: how many seconds it waits.
    @raise usage.UsageError: if it is no time, or too long.
    """
    return _time(options, "limit", 0.001, LONGEST, "more than 0, up to 1h,")


def _why(client: Client, options: Any) -> int:
    words = [escaped(word) for word in options["words"]]
    for name in ("pool", "frontend"):
        if options[name]:
            words += [name, escaped(options[name])]
    told = client.ask(" ".join(["why", *words, "last", f"{round(options['seconds'] * 1000)}ms"]))
    if not told.good or told.value is None:
        return tell(told, options)
    text = asJSON(told.value) if options["json"] else blaming.textOf(told.value)
    print(text, end="", flush=True)
    return GOOD


def _top(client: Client, options: Any) -> int:
    problem = live.show(
        client, options["seconds"], escaped(options["pool"]), options["once"], options["json"]
    )
    if problem:
        print(problem, file=sys.stderr)
    return REFUSED if problem else GOOD


def explainLive(client: Client, options: Any) -> int:
    """C{lbtwist explain --live}."""
    seconds = limitOf(options)
    words = ["explain", "limit", f"{round(seconds * 1000)}ms"]
    if options["frontend"]:
        words += ["frontend", escaped(options["frontend"])]
    if options["match"]:
        words += ["match", escaped(options["match"])]
    progress = Progress(lambda: "waiting for a request")
    try:
        told = client.ask(" ".join(words), progress.show, limit=seconds + TIMEOUT)
    finally:
        progress.end()
    if not told.good or told.value is None:
        return tell(told, options)
    said = Explanation(told.value["steps"], Action(**told.value["action"]))
    print(said.asJSON() if options["json"] else asText(said), flush=True)
    return GOOD


COMMANDS: dict[str, Callable[[Client, Any], int]] = {"why": _why, "top": _top}
