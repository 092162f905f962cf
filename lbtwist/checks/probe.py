"""
One connection of one check: how it is made, how it ends, and what is said of both in
HAProxy's words.

A check connects as requests do: with TLS where the server speaks it, and with a PROXY
header that says that the connection is our own. What is said over it is the business of
the checks, most of which are written as a talk (L{lbtwist.checks.talk}).
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbtwist.errors import BalancerError
from lbtwist.health import Result
from lbtwist.net.handshake import HandshakeFailed
from lbtwist.net.outgoing import Outgoing
from lbtwist.outbound import outgoing

if TYPE_CHECKING:
    from lbtwist.server import Server

SHOWN = 120
"""Characters of what a server says that a result shows."""


class CheckCancelled(BalancerError):
    """
    A check was cancelled, as the monitor does when it takes too long.

    @ivar status: HAProxy's word for a timeout at the point the check had come to:
        C{L4TOUT}, C{L6TOUT} or C{L7TOUT}.
    @ivar detail: what was still awaited, for people.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class Probe:
    """
    One connection of one check, closed as soon as the verdict is clear.

    @ivar verdict: fires with the L{Result}; when it is cancelled it fails with
        L{CheckCancelled}, and the connection is closed by then.
    """

    def __init__(self) -> None:
        self.verdict: Deferred[Result] = Deferred(self._cancelled)
        self.transport: Any = None
        self.ended = False

    def start(self, server: Server, reactor: Any) -> Deferred[Result]:
        try:
            self.transport = transport = outgoing(server, self, reactor)
            transport.preface = server.checkProxy
            transport.connect()
        except OSError as failed:
            self.finish(False, "SOCKERR", why(failed))
        return self.verdict

    def connected(self) -> None:
        """The connection stands."""
        raise NotImplementedError

    def awaited(self) -> str:
        """What a server that has taken the connection still owes."""
        raise NotImplementedError

    def finish(self, passed: bool, status: str, detail: str) -> None:
        if self._close():
            self.verdict.callback(Result(passed, status, detail))

    def _close(self, politely: bool = False) -> bool:
        """
        @param politely: what is still to be sent is sent, and no reset.
        @return: whether this is the end; there is one only.
        """
        if self.ended:
            return False
        self.ended = True
        transport, self.transport = self.transport, None
        if transport is not None:
            if not transport.connected:
                transport.cancel()
            elif politely:
                transport.loseConnection()
            else:
                transport.abortConnection()
        return True

    def _cancelled(self, verdict: Deferred[Result]) -> None:
        stands = self.transport.connected
        shakes = getattr(self.transport, "tls", None) is not None
        self._close()
        if stands:
            verdict.errback(CheckCancelled("L7TOUT", self.awaited()))
        elif shakes:
            verdict.errback(CheckCancelled("L6TOUT", "no end of the TLS handshake"))
        else:
            verdict.errback(CheckCancelled("L4TOUT", "no connection"))

    # told by the transport

    def connectFailed(self, failed: OSError) -> None:
        self.transport = None
        if isinstance(failed, HandshakeFailed):
            self.finish(False, "L6RSP", failed.reason)
        else:
            self.finish(False, "L4CON", why(failed))

    def makeConnection(self, _transport: Outgoing) -> None:
        self.connected()

    def dataReceived(self, data: bytes) -> None:
        """The server sent something."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection ended, maybe by L{finish}."""


def resultOf(answer: object) -> Result:
    """@return: what a check has found, whatever its Deferred was called with."""
    if isinstance(answer, Result):
        return answer
    if not isinstance(answer, Failure):
        return Result(False, "L7RSP", f"the check answered {answer!r:.80}, not a Result")
    error = answer.value
    if isinstance(error, OSError):
        return Result(False, "SOCKERR", why(error))
    reason = f"{type(error).__name__}: {answer.getErrorMessage()}"
    raised = answer.getTracebackObject()
    if raised is not None:
        # Instead of a traceback for every check: where to look.
        while raised.tb_next is not None:
            raised = raised.tb_next
        file = os.path.basename(raised.tb_frame.f_code.co_filename)
        reason += f" ({file}:{raised.tb_lineno})"
    return Result(False, "L7RSP", reason)


def why(failed: OSError) -> str:
    """The reason of an error, for people."""
    return (failed.strerror or str(failed)).lower()


def shown(said: bytes) -> str:
    """@return: what a server says of itself, as far as a terminal should be trusted with it."""
    text = said[:SHOWN].decode("ascii", "backslashreplace")
    return "".join(char if char.isprintable() else " " for char in text).strip()
