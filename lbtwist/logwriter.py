"""
The writers of log lines: what has to be written is gathered, and written once per tick. The
one for files, pipes and standard output is here; L{lbtwist.syslog} has another.

Not here: what a line looks like, see L{lbtwist.accesslog} and L{lbtwist.eventlog}, and which
writers there are in a process, see L{lbtwist.logs}.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, ClassVar

from twisted.logger import Logger

from lbtwist.errors import StartError

log = Logger()

TICK = 0.1
"""Seconds for which lines are gathered before they are written."""
BATCH = 64 * 1024
"""Characters after which they are written without waiting for the tick."""
CAPACITY = 16 * 1024 * 1024
"""The most that is kept while the target takes nothing, unless more or less is wanted."""


class Gatherer:
    """
    Gathers lines for one target. It never raises for what goes wrong with the target and
    never waits for it: what is not taken is kept for the next tick, and beyond C{capacity}
    lines are dropped, counted and reported as an event when that begins and when it ends.
    Two are equal that write to the same.

    @cvar what: what is written to it.
    @ivar name: of the target, as it is written in a configuration.
    @ivar dropped: lines that were lost so far.
    @ivar capacity: characters that are kept at the most.
    """

    __slots__ = (
        "name", "dropped", "capacity", "_reactor", "_lines", "_size", "_room", "_call",
        "_failing", "_dropping", "_retired",
    )  # fmt: skip

    what: ClassVar[str] = "log"

    def __init__(self, reactor: Any, name: str, capacity: int = CAPACITY) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.name = name
        self.dropped = 0
        self.capacity = capacity
        self._reactor = reactor
        self._lines: list[str] = []
        self._size = 0
        # Nothing is taken before open and after close.
        self._room = -1
        self._call: Any = None
        self._failing = self._dropping = self._retired = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} dropped={self.dropped}>"

    @property
    def key(self) -> Hashable:
        """What it is: another with the same key would write to the same."""
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gatherer) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def write(self, line: str) -> None:
        """@param line: without its end."""
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size > self._room:
            self._overflowed()
        elif self._call is None:
            self._call = self._reactor.callLater(TICK, self._ticked)

    def open(self) -> None:
        """
        Begin: to be done before privileges are dropped. Does nothing if it is open.

        @raise StartError: if that cannot be.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Write what is there, as far as the target takes it."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Begin anew, as after the rotation of a file."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what the target takes, count the rest as dropped, and end."""
        raise NotImplementedError

    def retire(self) -> None:
        """
        No new exchange writes to it any more: nothing is kept open but while there is
        something to be written, of exchanges that began before.
        """
        self._retired = True
        self.flush()

    def revive(self) -> None:
        """It is used again."""
        self._retired = False

    def discard(self) -> None:
        """Nobody will use it: what L{open} has made is taken away, if nothing is in it."""

    def _waitsFor(self, kept: int, seconds: float = TICK) -> None:
        """
        What was not taken waits for the next time.

        @param kept: characters of it.
        """
        self._room = max(self.capacity - kept, 0)
        self._soon(seconds)

    def _soon(self, seconds: float) -> None:
        if self._call is None:
            self._call = self._reactor.callLater(seconds, self._ticked)

    def _ticked(self) -> None:
        self._call = None
        self.flush()

    def _overflowed(self) -> None:
        if self._room == BATCH:
            self.flush()
            return
        self._size -= len(self._lines.pop()) + 1
        self.lost(1)

    def lost(self, lines: int) -> None:
        """Lines were lost."""
        self.dropped += lines
        if lines and not self._dropping:
            self._dropping = True
            log.warn(
                "{what} {name} takes nothing more: lines are dropped",
                what=self.what, name=self.name, writer=self,
            )  # fmt: skip

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            log.warn(
                "{what} {name} cannot be written, lines are kept for now: {reason}",
                what=self.what, name=self.name, reason=reason, writer=self,
            )  # fmt: skip

    def _recovered(self) -> None:
        if self._failing or self._dropping:
            self._failing = self._dropping = False
            log.info(
                "{what} {name} is written again; {dropped} lines were dropped so far",
                what=self.what, name=self.name, dropped=self.dropped, writer=self,
            )  # fmt: skip

    def _ended(self, lost: int) -> None:
        """
        It is closed.

        @param lost: lines that nobody will write.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
        lost += len(self._lines)
        self.dropped += lost
        if lost or self._dropping:
            log.warn(
                "{what} {name} was closed; {dropped} lines were dropped so far",
                what=self.what, name=self.name, dropped=self.dropped, writer=self,
            )  # fmt: skip
        self._lines.clear()
        self._size = 0
        self._room = -1
        self._failing = self._dropping = self._retired = False


class Writer(Gatherer):
    """
    Writes lines to a file, joined.

    @ivar path: of the file, made absolute; C{""} is standard output.
    """

    __slots__ = ("path", "_fd", "_made", "_waits", "_data", "_sent")

    def __init__(self, reactor: Any, path: str = "", capacity: int = CAPACITY) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.path = os.path.abspath(path) if path else ""
        super().__init__(reactor, f"file:{self.path}" if path else "stdout", capacity)
        self._fd = -1
        self._made = False
        self._waits = False
        self._data = b""
        self._sent = 0

    def open(self) -> None:
        """
        Open the target. A file is made with mode 0640, less what the umask takes.

        @raise StartError: if it cannot be opened.
        """
        if self._fd >= 0:
            return
        self._made = bool(self.path) and not os.path.lexists(self.path)
        try:
            self._fd = self._opened()
        except OSError as error:
            raise StartError(f"cannot open the log {self.name}: {error.strerror}") from error
        self._room = BATCH

    def flush(self) -> None:
        if self._fd < 0 and not (self._retired and self._lines and self._openAgain()):
            return
        while self._data or self._lines:
            if not self._data:
                self._lines.append("")
                self._data = "\n".join(self._lines).encode("utf-8", "backslashreplace")
                self._lines.clear()
                self._size = 0
            try:
                sent = self._send()
            except BlockingIOError:
                break
            except OSError as error:
                self._failed(error.strerror or str(error))
                break
            if not sent:
                break
            self._sent += sent
            if self._sent == len(self._data):
                self._data = b""
                self._sent = 0
        if not self._data:
            self._room = BATCH
            self._recovered()
            if self._retired:
                self._shut()
            return
        self._waitsFor(len(self._data) - self._sent)

    def reopen(self) -> None:
        """
        Open the file anew, as after its rotation. If that fails, the old one is
        written on, and the failure is logged.
        """
        if self._fd < 0 or not self.path:
            return
        self.flush()
        try:
            fd = self._opened()
        except OSError as error:
            log.error(
                "{what} {name} cannot be opened again, the old file is kept: {reason}",
                what=self.what, name=self.name, reason=error.strerror, writer=self,
            )  # fmt: skip
            return
        os.close(self._fd)
        self._fd = fd
        # A line that the old file has in part is whole in the new one.
        self._sent = self._data.rfind(b"\n", 0, self._sent) + 1
        self.flush()

    def close(self) -> None:
        self.flush()
        if self._fd < 0 and not self._retired:
            return
        self._ended(self._data.count(b"\n", self._sent))
        self._data = b""
        self._sent = 0
        self._shut()

    def discard(self) -> None:
        if self._made:
            with suppress(OSError):
                if not os.path.getsize(self.path):
                    os.unlink(self.path)

    def _shut(self) -> None:
        if self.path and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _openAgain(self) -> bool:
        """@return: whether late lines can be written."""
        try:
            self.open()
        except StartError as error:
            self._failed(str(error))
            self.lost(len(self._lines))
            self._lines.clear()
            self._size = 0
            return False
        return True

    def _opened(self) -> int:
        if self.path:
            # Without O_NONBLOCK the open of a pipe waits for its reader.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
            return os.open(self.path, flags | os.O_CLOEXEC, 0o640)
        self._waits = not stat.S_ISREG(os.fstat(1).st_mode) and os.get_blocking(1)
        return 1

    def _send(self) -> int:
        rest = memoryview(self._data)[self._sent :]
        if self._waits:
            # O_NONBLOCK would be set for everybody who has this pipe or terminal.
            # Where there is room at all, a pipe takes PIPE_BUF bytes (pipe(7)).
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not poll.poll(0):
                return 0
            # It takes them at once: where others write there as well, lines stay whole.
            end = self._data.rfind(b"\n", self._sent, self._sent + select.PIPE_BUF) + 1
            rest = rest[: end - self._sent if end else select.PIPE_BUF]
        return os.write(self._fd, rest)
