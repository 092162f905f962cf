"""
What is said to a Redis and what it answers: txredisapi's reading and writing of RESP
(redis.io, "Redis serialization protocol specification"), within bounds.

Connections, and what becomes of them, are L{lbtwist.stores.link}'s. This module is imported
when one is made and not before: txredisapi installs a reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

MOST = 65536
"""Bytes of one answer; ours are some twenty."""

ResponseError: type[Exception] = txredisapi.ResponseError
"""Redis has refused something; says why."""


class Speech(txredisapi.BaseRedisProtocol):  # type: ignore[misc]
    """
    One connection to a Redis.

    @ivar why: it has ended; C{""} if it has not.
    """

    def __init__(self, lost: Callable[[Speech, str], object]) -> None:
        """@param lost: is told that the connection has ended, and why."""
        super().__init__(charset=None, convertNumbers=False)
        self.why = ""
        self._lost = lost
        self._rest = b""
        self._heard = 0

    def connectionMade(self) -> None:
        """Who it is and which database it wants is said by who has made the connection."""

    def ask(self, *words: bytes | int | str) -> Deferred[Any]:
        """
        @return: bytes, a number, L{None} or a list; a status is text. Fails with
            L{ResponseError}, and with another error where there is no connection any more.
        """
        asked: Deferred[Any] = self.execute_command(*words)
        return asked

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self._heard += len(data)
        self._rest = data
        try:
            # In place of txredisapi's pause after each answer, for a turn of the reactor.
            while self._rest and not self.why:
                rest, self._rest = self._rest, b""
                super().dataReceived(rest)
            if self._heard > MOST:
                raise ValueError(f"an answer of more than {MOST} bytes")
        except Exception as error:
            self.end(f"it does not answer as Redis does: {error}")

    def setLineMode(self, extra: bytes = b"") -> None:
        self.line_mode = 1
        self._rest = extra or b""

    def lineReceived(self, line: str) -> None:
        if line[:1] in ("$", "*") and int(line[1:]) > MOST:
            raise ValueError(f"an answer of more than {MOST} bytes")
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        raise ValueError("a line that is too long")

    def replyReceived(self, reply: Any) -> None:
        if not self.replyQueue.waiting:
            raise ValueError("an answer to nothing")
        self._heard = 0
        super().replyReceived(reply)

    def end(self, why: str = "") -> None:
        """Close the connection at once."""
        self.why = self.why or why
        self.transport.abortConnection()

    def connectionLost(self, why: Failure) -> None:
        self.why = self.why or why.getErrorMessage()
        super().connectionLost(why)
        self._lost(self, self.why)
