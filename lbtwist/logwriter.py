"""
The writer of log lines: joined, written once per tick, to a file or to standard output.

Not here: what a line looks like, see L{lbtwist.accesslog}, and the program's own events,
which go to L{twisted.logger}.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Any

from twisted.logger import Logger

from lbtwist.errors import StartError

log = Logger()

TICK = 0.1
"""Seconds for which lines are gathered before they are written."""
BATCH = 64 * 1024
"""Characters after which they are written without waiting for the tick."""
CAPACITY = 16 * 1024 * 1024
"""The most that is kept while the target takes nothing."""


class Writer:
    """
    Writes lines to one target, joined, once per tick. It never raises for what
    goes wrong with the target and never waits for it: what is not taken is kept
    for the next tick, and beyond L{CAPACITY} lines are dropped, counted and
    reported as an event when that begins and when it ends.

    @ivar path: of the file, made absolute; C{""} is standard output.
    @ivar dropped: lines that were lost so far.
    """

    __slots__ = (
        "path", "dropped", "_reactor", "_fd", "_waits", "_lines", "_size", "_room", "_data",
        "_sent", "_call", "_failing", "_dropping",
    )  # fmt: skip

    def __init__(self, reactor: Any, path: str = "") -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.path = os.path.abspath(path) if path else ""
        self.dropped = 0
        self._reactor = reactor
        self._fd = -1
        self._waits = False
        self._lines: list[str] = []
        self._size = 0
        # Nothing is taken before open and after close.
        self._room = -1
        self._data = b""
        self._sent = 0
        self._call: Any = None
        self._failing = self._dropping = False

    def __repr__(self) -> str:
        return f"<Writer {self.path or 'stdout'} dropped={self.dropped}>"

    def open(self) -> None:
        """
        Open the target: to be done before privileges are dropped. A file is made
        with mode 0640, less what the umask takes. Does nothing if it is open.

        @raise StartError: if it cannot be opened.
        """
        if self._fd >= 0:
            return
        try:
            self._fd = self._opened()
        except OSError as error:
            raise StartError(
                f"cannot open the access log {self.path or 'stdout'}: {error.strerror}"
            ) from error
        self._room = BATCH

    def write(self, line: str) -> None:
        """@param line: without its end."""
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size > self._room:
            self._overflowed()
        elif self._call is None:
            self._call = self._reactor.callLater(TICK, self._ticked)

    def flush(self) -> None:
        """Write what is there, as far as the target takes it."""
        if self._fd < 0:
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
                self._failed(error)
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
            return
        self._room = CAPACITY - (len(self._data) - self._sent)
        if self._call is None:
            self._call = self._reactor.callLater(TICK, self._ticked)

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
                "access log {path} cannot be opened again, the old file is kept: {reason}",
                path=self.path, reason=error.strerror,
            )  # fmt: skip
            return
        os.close(self._fd)
        self._fd = fd
        # A line that the old file has in part is whole in the new one.
        self._sent = self._data.rfind(b"\n", 0, self._sent) + 1
        self.flush()

    def close(self) -> None:
        """Write what the target takes, count the rest as dropped, and end."""
        if self._fd < 0:
            return
        self.flush()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        lost = self._data.count(b"\n", self._sent) + len(self._lines)
        self.dropped += lost
        if lost or self._dropping:
            log.warn(
                "access log {path} was closed; {dropped} lines were dropped so far",
                path=self.path or "stdout", dropped=self.dropped,
            )  # fmt: skip
        self._data = b""
        self._sent = self._size = 0
        self._lines.clear()
        self._room = -1
        self._failing = self._dropping = False
        if self.path:
            os.close(self._fd)
        self._fd = -1

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
            rest = rest[: select.PIPE_BUF]
        return os.write(self._fd, rest)

    def _ticked(self) -> None:
        self._call = None
        self.flush()

    def _overflowed(self) -> None:
        if self._fd >= 0 and not self._data:
            self.flush()
            return
        self._size -= len(self._lines.pop()) + 1
        self.dropped += 1
        if not self._dropping:
            self._dropping = True
            log.warn(
                "access log {path} takes nothing more: lines are dropped",
                path=self.path or "stdout",
            )

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            log.warn(
                "access log {path} cannot be written, lines are kept for now: {reason}",
                path=self.path or "stdout", reason=error.strerror,
            )  # fmt: skip

    def _recovered(self) -> None:
        if self._failing or self._dropping:
            self._failing = self._dropping = False
            log.info(
                "access log {path} is written again; {dropped} lines were dropped so far",
                path=self.path or "stdout", dropped=self.dropped,
            )  # fmt: skip


class Logs:
    """The writers of a process, one for each target, however many use it."""

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = reactor
        self._writers: dict[str, Writer] = {}

    def writer(self, path: str = "") -> Writer:
        """@param path: of a file; C{""} is standard output."""
        key = os.path.abspath(path) if path else ""
        if key not in self._writers:
            self._writers[key] = Writer(self._reactor, key)
        return self._writers[key]

    @property
    def dropped(self) -> int:
        """Lines that were lost so far, of all of them."""
        return sum(writer.dropped for writer in self._writers.values())

    def open(self) -> None:
        """
        Open every target that is not open.

        @raise StartError: if one cannot be opened.
        """
        for writer in self._writers.values():
            writer.open()

    def reopen(self) -> None:
        """Open every file anew."""
        for writer in self._writers.values():
            writer.reopen()

    def close(self) -> None:
        """Write what is there and close every target."""
        for writer in self._writers.values():
            writer.close()
