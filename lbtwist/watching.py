"""
Tunnels whose bytes are seen by somebody, who can bring the parsing of HTTP back.

Not here: what is watched for; see L{lbtwist.interfaces.ITunnelWatcher}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.deadlines import Deadlines, Timed
from lbtwist.exchange import Cause
from lbtwist.server import Server
from lbtwist.tunnel import Side

_log = Logger()

MAX_HELD = 65536
"""The most of a client's bytes that a watcher can hold back."""

LINGER = 2.0
"""Seconds that a server has to end its side after its tunnel was over."""


class WatchedSide(Side):
    """
    One side of a tunnel whose bytes are seen before they are passed on; they never go
    past Python.
    """

    __slots__ = ("_deadlines", "_held", "_resume", "_watcher", "_who")

    def __init__(
        self, watcher: Any, who: str, deadlines: Deadlines, transport: Any = None,
        resume: Callable[[bytes], None] | None = None,
    ) -> None:
        """
        @param who: C{"client"} or C{"server"}.
        @param resume: given what comes after the tunnel, goes on with the client.
        """
        super().__init__(transport)
        self._watcher = watcher
        self._who = who
        self._deadlines = deadlines
        self._resume = resume
        self._held = b""

    def dataReceived(self, data: bytes) -> None:
        held, self._held = self._held, b""
        whole = held + data
        assert self.other is not None
        # With a server that has ended, so has our side towards the client: no response
        # could be sent to it any more.
        resume = None if self.other.ended else self._resume
        try:
            at = self._watcher.dataReceived(self._who, data)
            if resume is None:
                at, cut = None, len(whole)
            elif at is None:
                cut = max(len(whole) - max(min(self._watcher.held, MAX_HELD), 0), 0)
            else:
                cut = min(max(len(held) + at, 0), len(whole))
            ours, rest = whole[:cut], whole[cut:]
        except Exception:
            _log.failure("{watcher!r} has failed; its tunnel ends", watcher=self._watcher)
            self.tunnel.exchange.reason = "a watcher has failed"
            self.tunnel.abortSession(Cause.INTERNAL)
            return
        self._pass(ours)
        if at is None or resume is None:
            self._held = rest
            return
        tunnel, server = self.tunnel, self.tunnel.exchange.server
        transport = self.other.transport
        tunnel.release()
        Over(transport, server, self._deadlines)
        resume(rest)

    def readConnectionLost(self) -> None:
        # Whoever ends: what was held is no longer the beginning of anything.
        self.flush()
        if isinstance(self.other, WatchedSide):
            self.other.flush()
        super().readConnectionLost()

    def flush(self) -> None:
        """Pass on what was held back."""
        held, self._held = self._held, b""
        self._pass(held)

    def _pass(self, data: bytes) -> None:
        self.tunnel.activeAt = self.seconds()
        if data:
            self.count += len(data)
            assert self.other is not None
            self.other.transport.write(data)


@implementer(IHalfCloseableProtocol)
class Over(Timed):
    """
    The protocol of a server whose tunnel is over: it gets what it was sent, and what it
    says is read to nowhere, since a close with something unread would destroy the one
    for the sake of the other.
    """

    __slots__ = ("_deadlines", "_progress", "_server", "_transport")

    def __init__(self, transport: Any, server: Server, deadlines: Deadlines) -> None:
        super().__init__()
        self._transport = transport
        self._server = server
        self._deadlines = deadlines
        self._progress = transport.progress
        transport.protocol = self
        server.sessions.add(self)
        deadlines.arm(self, LINGER, deadlines.seconds())
        transport.loseWriteConnection()
        if transport.connected and not transport.reading:
            transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Nobody waits for it any more."""

    def readConnectionLost(self) -> None:
        self._transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """As it should."""

    def connectionLost(self, reason: Failure) -> None:
        self._server.sessions.discard(self)
        self._deadlines.forget(self)

    def expired(self) -> None:
        transport = self._transport
        if transport.progress != self._progress:
            self._progress = transport.progress
            self._deadlines.arm(self, LINGER, self._deadlines.seconds())
        elif transport.unsent:
            transport.abortConnection()
        else:
            transport.loseConnection()

    def abortSession(self, cause: str) -> None:
        """End it at once."""
        self._transport.abortConnection()
