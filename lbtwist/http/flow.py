"""
Back-pressure between the two connections of an exchange: who reads is held while who
writes cannot follow. Not here: when an exchange has one (L{lbtwist.http.relay}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbtwist.deadlines import Timed

if TYPE_CHECKING:
    from lbtwist.http.ending import Ending


class Flow:
    """
    Back-pressure from one side to the other: registered as the producer of the
    side that writes, it holds the side that reads.
    """

    __slots__ = ("_reader", "_writer")

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader = reader
        self._writer = writer

    def pauseProducing(self) -> None:
        self._reader.stall()
        self._writer.blocked()

    def resumeProducing(self) -> None:
        self._writer.unblocked()
        self._reader.goOn()

    def stopProducing(self) -> None:
        """The writer's connection is lost; its protocol is told so itself."""


class Last:
    """The producer of a client's transport that takes its last bytes."""

    __slots__ = ("_relay",)

    def __init__(self, relay: Ending) -> None:
        self._relay = relay

    def pauseProducing(self) -> None:
        """Nothing is produced."""

    def resumeProducing(self) -> None:
        self._relay.drained()

    def stopProducing(self) -> None:
        """The client's connection is lost; the front is told so itself."""


class Flowing(Timed):
    """
    One of the two connections: what L{Flow} asks of it. There is a deadline for what is
    waited for, and none while nothing is.

    @ivar transport: its transport; L{None} before there is one.
    """

    __slots__ = ("_progress", "transport")

    transport: Any
    _progress: int

    def _arm(self) -> None:
        """Begin to wait for the peer; what was sent until now is no sign of life."""
        raise NotImplementedError

    def stall(self) -> None:
        """Read no more for now."""
        self.expires = 0.0
        self.transport.pauseProducing()

    def goOn(self) -> None:
        """Read again."""
        raise NotImplementedError

    def blocked(self) -> None:
        """The peer does not take what is sent."""
        self._arm()

    def unblocked(self) -> None:
        """It does again."""
        self.expires = 0.0
