"""
The first bytes of a session, looked at: the client's before a server is chosen, the
server's on their way to the client.

Not here: what is looked for; see L{lbtwist.interfaces.IInspecting}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lbtwist.deadlines import Deadlines, Timed
from lbtwist.tunnel import Side

Look = Callable[[bytes], bool]
"""Is given bytes, and says whether it has seen enough."""


class Inspection(Timed):
    """A session that waits until enough was seen of what its client sends."""

    __slots__ = ("_deadlines", "_done", "_looks")

    def __init__(
        self, looks: Iterable[Look], deadlines: Deadlines, delay: float, done: Callable[[], None]
    ) -> None:
        """
        @param delay: seconds that it may take.
        @param done: called once, unless it is left before.
        """
        super().__init__()
        self._looks = list(looks)
        self._deadlines = deadlines
        self._done = done
        deadlines.arm(self, delay, deadlines.seconds())

    def look(self, data: bytes) -> None:
        """@param data: all that the client has sent so far."""
        self._looks = [look for look in self._looks if not look(data)]
        if not self._looks:
            self.end()

    def end(self) -> None:
        """There is no more to see, or none that is waited for."""
        self.leave()
        self._done()

    expired = end

    def leave(self) -> None:
        self._deadlines.forget(self)


class InspectedSide(Side):
    """The server's side of a tunnel, whose first bytes are seen before they are passed on."""

    __slots__ = ("_looks",)

    def __init__(self, looks: Iterable[Look]) -> None:
        super().__init__()
        self._looks = list(looks)

    def dataReceived(self, data: bytes) -> None:
        if self._looks:
            self._looks = [look for look in self._looks if not look(data)]
        super().dataReceived(data)

    def _beginSplice(self, sink: Any) -> None:
        if not self._looks:
            super()._beginSplice(sink)
