"""
Tunnels whose bytes are seen by somebody, who can bring the parsing of HTTP back.

Not here: what is watched for; see L{lbtwist.interfaces.ITunnelWatcher}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from lbtwist.tunnel import Side

_log = Logger()

MAX_HELD = 65536
"""The most of a client's bytes that a watcher can hold back."""


class WatchedSide(Side):
    """
    One side of a tunnel whose bytes are seen before they are passed on; they never go
    past Python.
    """

    __slots__ = ("_held", "_resume", "_watcher", "_who")

    def __init__(
        self, watcher: Any, who: str, transport: Any = None,
        resume: Callable[[bytes], None] | None = None,
    ) -> None:
        """
        @param who: C{"client"} or C{"server"}.
        @param resume: given what comes after the tunnel, goes on with the client.
        """
        super().__init__(transport)
        self._watcher = watcher
        self._who = who
        self._resume = resume
        self._held = b""

    def dataReceived(self, data: bytes) -> None:
        held, self._held = self._held, b""
        whole = held + data
        try:
            at = self._watcher.dataReceived(self._who, data)
            keep = 0 if self._resume is None else min(self._watcher.held, len(whole), MAX_HELD)
        except Exception:
            _log.failure("{watcher!r} has failed; its tunnel ends", watcher=self._watcher)
            self.transport.abortConnection()
            return
        resume = self._resume
        if at is not None and resume is not None:
            cut = min(max(len(held) + at, 0), len(whole))
            self._pass(whole[:cut])
            self.tunnel.release()
            resume(whole[cut:])
            return
        cut = len(whole) - keep
        self._held = whole[cut:]
        self._pass(whole[:cut])

    def readConnectionLost(self) -> None:
        held, self._held = self._held, b""
        self._pass(held)
        super().readConnectionLost()

    def _pass(self, data: bytes) -> None:
        self.tunnel.activeAt = self.seconds()
        if data:
            self.count += len(data)
            assert self.other is not None
            self.other.transport.write(data)
