"""
A terminal that is ours for a while, and is as it was afterwards, whatever happens meanwhile.

Escape sequences that every terminal of today knows (ECMA-48, and xterm's for its other screen)
are enough for lines of text; the terminal's own processing of Ctrl-C and Ctrl-Z is kept.
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from lbtwist.top import drawing
from lbtwist.top.drawing import Line

_STYLES = {
    drawing.TITLE: "1", drawing.HEAD: "7", drawing.BAD: "31", drawing.DOUBTFUL: "33",
    drawing.CHOSEN: "1;7", drawing.SAYS: "2",
}  # fmt: skip
# Its other screen, no wrapping, no cursor; and all of that back.
_ENTER = "\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?7h\x1b[?1049l"

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals after which nothing more is shown."""

_HEARD = (*ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Terminal:
    """
    @ivar keys: the descriptor that keys come from.
    @ivar wake: becomes readable when a signal has come, see L{signals}.
    """

    def __init__(self, keys: int = 0, screen: int = 1) -> None:
        self.keys = keys
        self._screen = screen
        self._saved: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._came: set[int] = set()
        self.wake = self._wakes = -1
        self._wakeBefore = -1

    def __enter__(self) -> Terminal:
        self.wake, self._wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeBefore = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        for one in _HEARD:
            self._handlers[one] = signal.signal(one, self._heard)
        self._take()
        return self

    def __exit__(self, *error: object) -> None:
        self._give()
        for one, before in self._handlers.items():
            # None is one that Python knows nothing of.
            signal.signal(one, signal.SIG_DFL if before is None else before)
        self._handlers.clear()
        signal.set_wakeup_fd(self._wakeBefore)
        os.close(self.wake)
        os.close(self._wakes)

    def _heard(self, number: int, frame: Any) -> None:
        self._came.add(number)

    def signals(self) -> set[int]:
        """@return: those that have come since this was asked last."""
        with suppress(BlockingIOError):
            while os.read(self.wake, 4096):
                pass
        came, self._came = self._came, set()
        return came

    def _take(self) -> None:
        with suppress(termios.error):
            self._saved = termios.tcgetattr(self.keys)
            tty.setcbreak(self.keys, termios.TCSANOW)
        self._write(_ENTER)

    def _give(self) -> None:
        self._write(_LEAVE)
        saved, self._saved = self._saved, None
        if saved is not None:
            # It may be gone.
            with suppress(termios.error):
                termios.tcsetattr(self.keys, termios.TCSADRAIN, saved)

    def suspend(self) -> None:
        """Give it back, and stop until somebody wants us to go on: Ctrl-Z."""
        self._give()
        heard = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, heard)
        self._take()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        with suppress(OSError):
            found = os.get_terminal_size(self._screen)
            if found.columns and found.lines:
                return found.columns, found.lines
        return 80, 24

    def show(self, lines: Iterable[Line]) -> None:
        """@param lines: as many as it has."""
        rows = []
        for line in lines:
            style = _STYLES.get(line.style)
            text = f"\x1b[{style}m{line.text}\x1b[0m" if style and line.text else line.text
            # Not after the text: in the last column that would erase the last character.
            rows.append(f"\x1b[K{text}")
        self._write("\x1b[H" + "\r\n".join(rows))

    def read(self) -> bytes:
        """@return: keys that have come; C{b""} if it is gone."""
        try:
            return os.read(self.keys, 4096)
        except OSError:
            return b""

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        with suppress(OSError):
            while data:
                data = data[os.write(self._screen, data) :]
