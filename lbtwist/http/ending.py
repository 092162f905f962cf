"""
How an exchange ends: with a whole response, with an answer of our own, or broken off.
Whichever it is, C{_finish} is called once. Not here: when it comes to that
(L{lbtwist.http.relay}).
"""

from __future__ import annotations

from typing import Any

from lbtwist.exchange import Cause, Stage
from lbtwist.http.flow import Last
from lbtwist.http.retrying import Trying
from lbtwist.http.unread import Unread
from lbtwist.rules.decisions import Answer


class Ending(Unread):
    """
    The part of a L{lbtwist.http.relay.Relay} that ends it.

    @ivar place: where the exchange waits for a server; see L{lbtwist.pool}.
    @ivar waitsFor: what is waited for before there is a pool; has C{cancel}.
    @ivar _trying: sees to it that a request is sent again; L{None} where none is.
    @ivar _started: the response has begun.
    """

    __slots__ = ("_started", "_trying", "place", "waitsFor")

    place: Any
    waitsFor: Any
    _started: bool
    _trying: Trying | None

    def answer(self, cause: str, status: int, more: bytes = b"") -> None:
        """
        Answer by ourselves if nothing has been sent, break off otherwise.

        @param status: of the page.
        @param more: further lines of its head.
        """
        if self._started:
            self._abort(cause)
            return
        self._started = True
        self._detach()
        self._front.sendPage(self.exchange, status, self._head.method == b"HEAD", more)
        self._finish(cause, self.exchange.stage)

    def answerWith(self, answer: Answer) -> None:
        """A rule answers the client."""
        self._started = True
        self._detach()
        self._front.sendAnswer(self.exchange, answer, self._head.method == b"HEAD")
        self._finish(Cause.REFUSED if answer.denied else Cause.LOCAL, self.exchange.stage)

    def refuse(self, how: str) -> None:
        """
        A rule ends the connection.

        @param how: see L{lbtwist.rules.decisions.Refuse}.
        """
        self._detach()
        front = self._front
        if how == "close":
            front.closeAfter()
            self._finish(Cause.REFUSED, self.exchange.stage)
            return
        self._finish(Cause.REFUSED, self.exchange.stage, broken=True)
        if how == "silent-drop":
            front.transport.hushPeer()
        front.abort()

    def _abort(self, cause: str) -> None:
        self._detach()
        front = self._front
        self._finish(cause, self.exchange.stage, broken=True)
        front.abort()

    def _detach(self) -> None:
        waits, self.waitsFor = self.waitsFor, None
        if waits is not None:
            waits.cancel()
        trying, self._trying = self._trying, None
        if trying is not None:
            trying.leave()
        if self.place is not None:
            self._pool.leave(self)
        back, self.back = self.back, None
        if back is not None:
            back.abandon()
        producer = self._front.transport.producer
        if producer is not None:
            self._front.transport.unregisterProducer()

    def _sentAll(self) -> None:
        """The response is complete; it ends with its last byte."""
        front = self._front
        transport = front.transport
        if not transport.unsent:
            self._finish(Cause.DONE, Stage.DONE)
            return
        self.exchange.stage = Stage.LAST
        transport.registerProducer(Last(self), True)
        # Whether anything was held back by now or not: it resumes when all is sent.
        transport.producerPaused = True
        front.blocked()

    def drained(self) -> None:
        """The last byte is on its way."""
        self._front.transport.unregisterProducer()
        self._front.unblocked()
        self._finish(Cause.DONE, Stage.DONE)

    def _finish(self, cause: str, stage: str, broken: bool = False) -> None:
        exchange = self.exchange
        exchange.stage = stage
        for splice in self._splices:
            splice.release()
        self._splices = []
        server = exchange.server
        if server is not None:
            server.sessions.discard(self)
        front = self._front
        exchange.finish(cause, front.shared.deadlines.seconds())
        if not broken:
            front.exchangeDone()
