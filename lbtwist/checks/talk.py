r"""
Checks that are written as a talk with the server: a generator that gives what is said and
what is waited for, and returns the result::

    def talk(self, server: Server) -> Talk:
        yield b"PING\r\n"
        answer = yield Line("answer to PING")
        return Result(answer == b"+PONG", "L7OK", "")

The laws of a talk:

  - Bytes that it gives are sent; for a L{Want} that it gives it gets what was wanted, no
    matter in what pieces it came.
  - Each want is bounded, and so is all that is heard: beyond L{MOST} the server is not
    listened to. So no server can make a talk last, or grow, without end.
  - It holds nothing that would have to be closed: it may be left at any C{yield}.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.checks.probe import Probe
from lbtwist.errors import BalancerError
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Server

MOST = 65536
"""Bytes of a server that a talk listens to."""

LONGEST_LINE = 4096
"""Bytes of one line."""


class Unfit(BalancerError):
    """
    What the server says does not pass.

    @ivar status: HAProxy's word: C{L7STS} where it says so itself, C{L7RSP} where it does
        not speak the protocol.
    @ivar detail: a sentence for people.
    """

    def __init__(self, detail: str, status: str = "L7RSP") -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class Want:
    """
    Something that a talk waits for.

    @ivar what: what it is, for people, without an article.
    """

    __slots__ = ()
    what: str

    def take(self, heard: bytearray, ended: bool) -> Any:
        """
        @param heard: what has come; what is taken is removed from it.
        @param ended: the server has closed in good order, nothing more will come.
        @return: L{None} as long as it has not come.
        @raise Unfit: if it never will.
        """
        raise NotImplementedError


@attr.frozen
class Exactly(Want):
    """So many bytes."""

    what: str
    size: int

    def take(self, heard: bytearray, ended: bool) -> bytes | None:
        if self.size > MOST:
            raise Unfit(f"{self.size} bytes are said to follow: too many for the {self.what}")
        if len(heard) < self.size:
            return None
        found = bytes(heard[: self.size])
        del heard[: self.size]
        return found


@attr.frozen
class Line(Want):
    """
    What ends with LF; without it, and without a CR before it.

    @ivar orEnd: the end of the connection ends a line too, if it is not empty.
    """

    what: str
    most: int = LONGEST_LINE
    orEnd: bool = False

    def take(self, heard: bytearray, ended: bool) -> bytes | None:
        end = heard.find(b"\n", 0, self.most + 1)
        if end < 0:
            if len(heard) > self.most:
                raise Unfit(f"the {self.what} is a line of more than {self.most} bytes")
            if not (ended and self.orEnd and heard):
                return None
            end = len(heard)
        found = bytes(heard[:end])
        del heard[: end + 1]
        return found.removesuffix(b"\r")


Talk = Generator[bytes | Want, Any, Result]
"""What a check says and wants, and in the end has found."""


class Conversation(Probe):
    """Holds a talk over one connection."""

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self._talk = talk
        self._want: Want | None = None
        self._heard = bytearray()
        self._left = MOST

    def connected(self) -> None:
        self._go(None)

    def awaited(self) -> str:
        return f"no {self._want.what}" if self._want is not None else "no answer"

    def dataReceived(self, data: bytes) -> None:
        if self.ended:
            return
        self._left -= len(data)
        self._heard += data
        self._listen(False)
        if self._left < 0 and not self.ended:
            self.finish(False, "L7RSP", f"more than {MOST} bytes, and {self.awaited()}")

    def connectionLost(self, reason: Failure) -> None:
        if self.ended:
            return
        if reason.check(ConnectionDone):
            self._listen(True)
        if not self.ended:
            what = self._want.what if self._want is not None else "answer"
            self.finish(False, "L7RSP", f"the connection ended before the {what}")

    def _listen(self, over: bool) -> None:
        while self._want is not None and not self.ended:
            try:
                found = self._want.take(self._heard, over)
            except Unfit as unfit:
                self.finish(False, unfit.status, unfit.detail)
                return
            if found is None:
                return
            self._go(found)

    def _go(self, found: Any) -> None:
        """Have the talk go on until it wants something."""
        self._want = None
        try:
            wanted = self._talk.send(found)
            while isinstance(wanted, bytes):
                self.transport.write(wanted)
                wanted = self._talk.send(None)
        except StopIteration as done:
            self._found(done.value)
        except Unfit as unfit:
            self.finish(False, unfit.status, unfit.detail)
        except Exception:
            failure = Failure()
            if self._close():
                self.verdict.errback(failure)
        else:
            self._want = wanted

    def _found(self, result: Result) -> None:
        # What was said last may be a farewell, which a reset could overtake.
        if self._close(politely=result.passed):
            self.verdict.callback(result)

    def _close(self, politely: bool = False) -> bool:
        self._talk.close()
        return super()._close(politely)


@implementer(IHealthCheck)
class TalkCheck:
    """
    A check that is a talk.

    @ivar options: what stands after its name.
    """

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self._reactor = context.reactor

    def check(self, server: Server) -> Deferred[Result]:
        return Conversation(self.talk(server)).start(server, self._reactor)

    def talk(self, server: Server) -> Talk:
        """What is said, and what has to be answered."""
        raise NotImplementedError
