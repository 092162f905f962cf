"""
What is looked at: which rows, in which order, which one is chosen; and what keys do to it.
Nothing here knows of terminals or sockets: keys are words (L{lbtwist.top.keys}), and what has
to be asked of the balancer is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.admin.verbs import escaped
from lbtwist.top.sample import KINDS, Rates, Row, Sample

LONGEST_FILTER = 60

QUIT = "quit"


def _by(read: Callable[[Rates], float]) -> Callable[[Row], float]:
    return lambda row: 0.0 if row.rates is None else -read(row.rates)


ORDERS: Mapping[str, Callable[[Row], Any]] = {
    "rate": _by(lambda rates: rates.exchanges),
    "sessions": lambda row: (-row.active, -row.queued),
    "errors": _by(lambda rates: rates.failed + rates.answered5xx),
    "latency": _by(lambda rates: rates.latency or 0.0),
    "name": lambda row: row.name,
}
"""The orders there are, and what rows are sorted by."""


@attr.frozen
class Command:
    """
    Something to ask of the balancer.

    @ivar text: the command.
    @ivar done: what to say when it was done.
    """

    text: str
    done: str


@attr.define(eq=False)
class View:
    """
    @ivar sample: the last; L{None} before the first.
    @ivar lost: why there is no balancer now; C{""} while there is one.
    @ivar chosen: the kind and the name of the row that the arrows have chosen.
    @ivar top: the first row that is drawn, see L{lbtwist.top.drawing}.
    @ivar typing: whether the filter is being written.
    @ivar asking: what is to be done if the next key is C{y}.
    """

    interval: float = 1.0
    sample: Sample | None = None
    lost: str = ""
    order: str = "rate"
    filter: str = ""
    typing: bool = False
    paused: bool = False
    helping: bool = False
    message: str = ""
    chosen: tuple[str, str] | None = None
    top: int = 0
    page: int = 10
    asking: tuple[str, Command] | None = None

    @property
    def rows(self) -> list[Row]:
        """Those that are shown: frontends, pools, servers, each kind in order."""
        if self.sample is None:
            return []
        wanted = self.filter.casefold()
        rows = [row for row in self.sample.rows if wanted in row.name.casefold()]
        # What is alike stays as it was written.
        rows.sort(key=ORDERS[self.order])
        rows.sort(key=lambda row: KINDS.index(row.kind))
        return rows

    def seen(self, sample: Sample) -> None:
        """The balancer has said how it goes."""
        self.lost = ""
        if not self.paused:
            self.sample = sample

    def at(self, rows: list[Row]) -> int:
        """@return: which of the rows is chosen; -1 for none."""
        for at, row in enumerate(rows):
            if (row.kind, row.name) == self.chosen:
                return at
        return -1

    # keys

    def pressed(self, key: str) -> str | Command | None:
        """
        @param key: a character, or a word such as C{up}.
        @return: L{QUIT}, or a L{Command}, or L{None}.
        """
        if self.asking is not None:
            _, command = self.asking
            self.asking = None
            if key in ("y", "Y"):
                return command
            self.message = "Not done."
            return None
        if self.typing:
            self._typed(key)
            return None
        self.message = ""
        if key in ("q", "Q"):
            return QUIT
        if self.helping:
            self.helping = False
        elif key in _KEYS:
            _KEYS[key](self)
        elif key == "d":
            self._drain()
        return None

    def _typed(self, key: str) -> None:
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing = False
            self.filter = ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.filter) < LONGEST_FILTER:
            self.filter += key

    def _move(self, step: int) -> None:
        rows = self.rows
        if not rows:
            return
        at = self.at(rows)
        if at < 0 and step < 0:
            at = len(rows)
        at = min(max(at + step, 0), len(rows) - 1)
        self.chosen = rows[at].kind, rows[at].name

    def _sort(self, step: int) -> None:
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + step) % len(names)]
        self.message = f"Sorted by {self.order}."

    def _pause(self) -> None:
        self.paused = not self.paused

    def _help(self) -> None:
        self.helping = True

    def _beginFilter(self) -> None:
        self.typing = True
        self.filter = ""

    def _escape(self) -> None:
        self.filter = ""
        self.chosen = None

    def _drain(self) -> None:
        rows = self.rows
        at = self.at(rows)
        row = rows[at] if at >= 0 else None
        if row is None or row.kind != "server":
            self.message = "Choose a server with the arrows first."
        elif self.sample is None or self.sample.level != "admin":
            self.message = "This socket's level does not permit that: it takes admin."
        elif row.state in ("DRAIN", "MAINT"):
            self.asking = (
                f"Have {row.name} be ready again? (y/n)",
                Command(f"set server {escaped(row.name)} state ready", f"{row.name} is ready."),
            )
        else:
            self.asking = (
                f"Drain {row.name}: nobody new, {row.active} run there? (y/n)",
                Command(f"set server {escaped(row.name)} state drain", f"{row.name} drains."),
            )


_KEYS: dict[str, Callable[[View], None]] = {
    "up": lambda view: view._move(-1), "k": lambda view: view._move(-1),
    "down": lambda view: view._move(1), "j": lambda view: view._move(1),
    "pageup": lambda view: view._move(-view.page),
    "pagedown": lambda view: view._move(view.page),
    "home": lambda view: view._move(-(10**9)), "end": lambda view: view._move(10**9),
    "s": lambda view: view._sort(1), "S": lambda view: view._sort(-1),
    "right": lambda view: view._sort(1), "left": lambda view: view._sort(-1),
    "p": View._pause, " ": View._pause, "h": View._help, "?": View._help,
    "/": View._beginFilter, "escape": View._escape,
}  # fmt: skip

HELP = (
    "q  leave",
    "s  sort by the next of rate, sessions, errors, latency, name; S by the one before;"
    " left and right do the same",
    "/  show only names with some letters: Enter keeps it, Escape ends it",
    "up and down, page up and down, home and end  choose a row",
    "d  drain the chosen server, or have it be ready again; asks first",
    "p  pause, and go on",
    "h  this help; any key ends it",
)
"""What keys do, for people."""
