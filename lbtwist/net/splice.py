"""
Bytes from socket to socket through a pipe in the kernel, without visiting Python.

Linux only; C{spliceable} says where it can be done. A L{Splice} takes over the
reading of one transport and the writing of another until it is released, its
limit is reached or the source ends; the descriptors stay with the reactor
throughout, so no reactor ever sees one that it does not know.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet import main

from lbtwist.net.tcp import Transport

_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
LEAST = 256 * 1024
"""Bytes below which copying them is cheaper than the pipe's system calls."""
SIZE = 256 * 1024
"""The capacity asked for a pipe, in bytes; the kernel may give less."""
TURNS = 4
"""How often one event may fill the pipe, so that one stream starves no other."""
MAX_SPARE = 64
"""Empty pipes kept for the next splice."""

_spare: list[tuple[int, int]] = []


def spliceable(source: Any, sink: Any) -> bool:
    """Whether bytes can go from one transport to the other inside the kernel now."""
    return (
        hasattr(os, "splice")
        and isinstance(source, Transport)
        and isinstance(sink, Transport)
        and source.plain
        and sink.plain
        and bool(source.connected)
        and sink.writable
    )


class Splice:
    """
    One direction between two transports.

    @ivar moved: called with the number of bytes that went to the sink.
    @cvar count: how many there are now, each with a pipe.
    """

    count = 0

    def __init__(
        self,
        source: Transport,
        sink: Transport,
        flow: Any,
        moved: Callable[[int], None],
        limit: int | None = None,
        done: Callable[[], None] | None = None,
    ) -> None:
        """
        @param flow: an IPushProducer: told to pause when the sink takes no more,
            which must stop the source's reading, and to resume when it does.
        @param limit: take exactly so many bytes; L{None} for all until the end.
        @param done: called when the limit has been reached and everything is
            with the sink; the splice is released by then.
        @raise OSError: if there are no descriptors for a pipe.
        """
        self._source = source
        self._sink = sink
        self._flow = flow
        self._moved = moved
        self._left = limit
        self._done = done
        self._held = 0
        self._blocked = False
        self._active = True
        self._pipe = _spare.pop() if _spare else _newPipe()
        Splice.count += 1
        source.doRead = self._fill  # type: ignore[method-assign]

    def _fill(self) -> Any:
        source, sink = self._source, self._sink
        out, into = self._pipe
        for _ in range(TURNS):
            left = self._left
            try:
                size = os.splice(
                    source.fileno(), into, SIZE if left is None else min(left, SIZE), flags=_FLAGS
                )
            except BlockingIOError:
                return None
            except OSError as failed:
                return failed if isinstance(failed, ConnectionError) else main.CONNECTION_LOST
            if not size:
                return main.CONNECTION_DONE
            self._held = size
            if left is not None:
                self._left = left - size
            try:
                sent = os.splice(out, sink.fileno(), size, flags=_FLAGS)
            except BlockingIOError:
                sent = 0
            except OSError:
                return self._broken()
            if sent:
                self._held -= sent
                self._moved(sent)
                if not self._active:
                    return None
            if self._held:
                self._blocked = True
                self._flow.pauseProducing()
                sink.doWrite = self._drain  # type: ignore[method-assign]
                sink.startWriting()
                return None
            if self._left == 0:
                self._complete()
                return None
        return None

    def _drain(self) -> Any:
        try:
            sent = os.splice(self._pipe[0], self._sink.fileno(), self._held, flags=_FLAGS)
        except BlockingIOError:
            return None
        except OSError:
            return self._broken()
        sink = self._sink
        sink.progress += 1
        self._held -= sent
        self._moved(sent)
        if self._held or not self._active:
            return None
        sink.stopWriting()
        del sink.doWrite
        self._blocked = False
        self._flow.resumeProducing()
        if self._left == 0:
            self._complete()
        return None

    def _broken(self) -> None:
        """
        The sink takes nothing any more. What it sent may still be read, and
        reading it ends its connection; the source's bytes go nowhere.
        """
        sink = self._sink
        if self._blocked:
            sink.stopWriting()
            self._flow.resumeProducing()
        self.release()
        sink.writeRefused()

    def _complete(self) -> None:
        self.release()
        if self._done is not None:
            self._done()

    def release(self) -> None:
        """
        Let both transports go; what is still in the pipe is lost. May be called
        again.
        """
        if not self._active:
            return
        self._active = False
        Splice.count -= 1
        self._source.__dict__.pop("doRead", None)
        self._sink.__dict__.pop("doWrite", None)
        if self._held or len(_spare) >= MAX_SPARE:
            for fd in self._pipe:
                os.close(fd)
        else:
            _spare.append(self._pipe)


def pipes() -> tuple[int, int]:
    """@return: how many pipes are in use, and how many are kept for the next."""
    return Splice.count, len(_spare)


def _newPipe() -> tuple[int, int]:
    out, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # Over the user's share of pipe memory the default size serves as well.
    with suppress(OSError):
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, SIZE)
    return out, into
