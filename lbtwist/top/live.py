"""
Brings together what L{lbtwist.top} is made of: asks, draws and listens to keys until somebody
has seen enough; or prints plain lines where there is no terminal.
"""

from __future__ import annotations

import json
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from lbtwist.admin.client import Client, NoBalancer, Told
from lbtwist.top.drawing import draw, drawPlain
from lbtwist.top.feed import Feed, FeedLost
from lbtwist.top.keys import Keys
from lbtwist.top.sample import sampleOf
from lbtwist.top.terminal import ENDING, Terminal
from lbtwist.top.view import QUIT, Command, View

AGAIN = 1.0
"""Seconds until a balancer that has gone is looked for again."""

PATIENCE = 10.0
"""Seconds that it may take to answer."""

_ESCAPE = 0.05
"""Seconds after which a key that has begun like others is the key Escape."""

PLAIN_WIDTH = 120

OTHER = "This balancer is of another version: it says something else."


class Live:
    """
    The live view.

    @ivar view: what is seen.
    """

    def __init__(
        self, feed: Feed, terminal: Any, view: View, command: str,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """
        @param terminal: a L{Terminal}.
        @param command: what is asked again and again.
        """
        self.view = view
        self._feed = feed
        self._terminal = terminal
        self._command = command
        self._seconds = seconds
        self._keys = Keys()
        self._before: Any = None
        self._next = 0.0
        self._asked = 0.0
        self._changed = True
        self._ended = False

    def run(self) -> None:
        """Until somebody has seen enough."""
        with self._terminal:
            try:
                while not self._ended:
                    self._turn()
            finally:
                self._feed.close()

    def _turn(self) -> None:
        self._goOn()
        if self._changed:
            self._changed = False
            self._terminal.show(draw(self.view, *self._terminal.size))
        feed, terminal = self._feed, self._terminal
        wants: list[Any] = [terminal.keys, terminal.wake]
        reads = [*wants, feed] if feed.open else wants
        writes = [feed] if feed.open and feed.writes else []
        readable, writable, _ = select.select(reads, writes, [], self._pause())
        if terminal.wake in readable:
            self._signalled(terminal.signals())
        if terminal.keys in readable:
            self._typed(terminal.read())
        elif self._keys.waiting:
            self._pressed(self._keys.flush())
        try:
            if feed in writable:
                feed.canWrite()
            if feed in readable and feed.open:
                feed.canRead()
        except FeedLost as lost:
            self._lost(str(lost))

    def _pause(self) -> float:
        if self._keys.waiting:
            return _ESCAPE
        due = self._asked + PATIENCE if self._feed.waiting else self._next
        return max(due - self._seconds(), 0.0)

    def _goOn(self) -> None:
        """Ask, if it is time to."""
        feed, now = self._feed, self._seconds()
        try:
            if feed.waiting:
                if now >= self._asked + PATIENCE:
                    feed.close()
                    self._lost(f"no answer within {PATIENCE:g} s")
                return
            if now < self._next:
                return
            if not feed.open:
                feed.begin()
            self._asked = now
            self._next = now + self.view.interval
            feed.ask(self._command, self._told)
        except FeedLost as lost:
            self._lost(str(lost))

    def _lost(self, why: str) -> None:
        self.view.lost = why
        # Whoever comes back has begun to count anew.
        self._before = None
        self._next = self._seconds() + AGAIN
        self._changed = True

    def _told(self, told: Told) -> None:
        self._changed = True
        if not told.good:
            self.view.message = told.text
            return
        try:
            sample = sampleOf(told.value, self._before)
        except (KeyError, TypeError, ValueError):
            self.view.message = OTHER
            return
        self._before = told.value
        self.view.seen(sample)

    def _signalled(self, signals: set[int]) -> None:
        self._changed = True
        if signals.intersection(ENDING):
            self._ended = True
        elif signal.SIGTSTP in signals:
            self._terminal.suspend()

    def _typed(self, data: bytes) -> None:
        if not data:
            # The terminal is gone.
            self._ended = True
        self._pressed(self._keys.feed(data))

    def _pressed(self, keys: list[str]) -> None:
        for key in keys:
            self._changed = True
            found = self.view.pressed(key)
            if found == QUIT:
                self._ended = True
            elif isinstance(found, Command):
                self._do(found)

    def _do(self, command: Command) -> None:
        view = self.view
        if not self._feed.open:
            view.message = "There is no balancer now: not done."
            return

        def told(answer: Told) -> None:
            view.message = command.done if answer.good else answer.text
            self._changed = True
            # How it is now is seen at once.
            self._next = 0.0

        view.message = "..."
        self._asked = self._seconds()
        self._feed.ask(command.text, told)


def show(
    client: Client, interval: float, pool: str = "", once: bool = False, asJSON: bool = False,
    out: TextIO | None = None, sleep: Callable[[float], object] = time.sleep,
) -> str:  # fmt: skip
    """
    Show a balancer until somebody has seen enough: live on a terminal, elsewhere in plain
    lines, or once.

    @param interval: seconds.
    @param pool: it alone; C{""} for everything.
    @return: why it cannot be shown; C{""} if it was.
    @raise NoBalancer: if nobody answers.
    """
    out = sys.stdout if out is None else out
    command = f"show top {pool}".rstrip()
    first = client.ask(command)
    if not first.good:
        return first.text
    view = View(interval)
    if out.isatty() and sys.stdin.isatty() and not (once or asJSON):
        terminal = Terminal(sys.stdin.fileno(), out.fileno())
        Live(Feed(client.address), terminal, view, command).run()
        return ""
    before = first.value
    try:
        while True:
            sleep(interval)
            try:
                told = client.ask(command)
            except NoBalancer as nobody:
                if once:
                    raise
                print(nobody, file=sys.stderr)
                continue
            if not told.good:
                return told.text
            if asJSON:
                print(json.dumps(told.value), file=out, flush=True)
            else:
                view.seen(sampleOf(told.value, before))
                _print(view, out)
            before = told.value
            if once:
                return ""
    except KeyboardInterrupt:
        return ""
    except (KeyError, TypeError, ValueError):
        return OTHER


def _print(view: View, out: TextIO) -> None:
    width = max(shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns, 40)
    print("\n".join([*drawPlain(view, width), ""]), file=out, flush=True)
