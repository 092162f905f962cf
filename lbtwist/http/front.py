"""
One connection from a client that speaks HTTP/1.

Reads the heads of requests, one at a time and in order, lets the rules and a L{Relay}
answer them, and ends. Not here: the other parts of such a connection, see
L{lbtwist.http.clientside}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.errors import BadRequest
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.http.answering import Answering
from lbtwist.http.receiving import Receiving
from lbtwist.http.refusing import captureRequest
from lbtwist.http.relay import Relay
from lbtwist.http.responding import Responding
from lbtwist.http.telling import Telling
from lbtwist.http.terminating import Terminated
from lbtwist.sansio.http1 import Partial
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.responsehead import ResponseHead

LINGER = 2.0
"""Seconds that a client has to end its side, after an answer that came before its
request was complete and that has been sent."""

LAST_CALL = 1.0
"""Seconds for which a request is waited for before a connection ends that is to end."""

MAX_PIPELINED = 65536
"""Bytes of further requests that are read while one is being answered."""


@implementer(IHalfCloseableProtocol)
class HTTPFront(Telling, Receiving, Responding, Answering):
    """One connection from a client."""

    __slots__ = ()

    def __repr__(self) -> str:
        state = "busy" if self._relay is not None else "idle"
        return f"<HTTPFront {self.connection.client[0]} {state} {self.exchanges}>"

    @property
    def exchange(self) -> Exchange | None:
        """What is under way."""
        return None if self._relay is None else self._relay.exchange

    # the connection

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        shared = self.shared
        connection = self.connection
        shared.deadlines.arm(self, shared.first, connection.readyAt or connection.acceptedAt)

    def connectionLost(self, reason: Failure) -> None:
        self.shared.deadlines.forget(self)
        self._ending = True
        self._buffer = b""
        relay = self._relay
        if relay is not None:
            relay.clientLost(reason.getErrorMessage())
        elif self._partial is not None:
            self._refused(Cause.CLIENT, 0, "the client went away")
        self.ended()

    def ended(self) -> None:
        """Nothing is left of the connection."""
        self.webSocket = None
        if self._kept:
            for back in list(self._kept.values()):
                back.close()
        self.shared.frontend.connectionEnded(self)

    def readConnectionLost(self) -> None:
        """The client has ended its side."""
        self._ended = True
        relay = self._relay
        if relay is not None:
            relay.clientEnded()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our side is closed only to linger; nothing is left to do."""

    def drain(self) -> None:
        """Close after the exchange under way, or soon; a WebSocket is told of it."""
        if self.webSocket is not None:
            self._keep = False
            self.webSocket.drain()
        else:
            self.retire()

    def retire(self) -> None:
        """
        Close after the exchange under way. Where there is none a client may be about to send
        a request, which would be lost: it is waited for a moment, and is the last. A tunnel
        lives on.
        """
        self._keep = False
        if self._relay is None and self._partial is None and not self._ending:
            deadlines = self.shared.deadlines
            deadlines.arm(self, LAST_CALL, deadlines.seconds())

    def expired(self) -> None:
        relay = self._relay
        transport = self.transport
        if relay is None and not transport.unsent:
            if self._ending:
                transport.abortConnection()
            elif self._partial is None and (self.exchanges or not self._keep or self._isProbe):
                transport.loseConnection()
            else:
                self._refused(Cause.CLIENT_TIMEOUT, 408, "no whole request head in time")
        elif transport.progress != self._progress:
            self._arm()
        elif relay is not None:
            relay.clientTimeout()
        else:
            transport.abortConnection()

    @property
    def _isProbe(self) -> bool:
        """Whether nothing has come, and nobody wants to know."""
        return self.shared.config.http_ignore_probes and not self._startedAt

    def _arm(self) -> None:
        shared = self.shared
        self._progress = self.transport.progress
        timeout = shared.config.timeout_client
        if self._relay is not None:
            settings = self._relay.exchange.settings
            if settings is not None:
                timeout = settings.get("timeout_client", timeout)
        shared.deadlines.arm(self, timeout, shared.deadlines.seconds())

    def goOn(self) -> None:
        """Read again."""
        if self._more:
            self._arm()
        if not self.transport.reading:
            self.transport.resumeProducing()

    # requests

    def dataReceived(self, data: bytes) -> None:
        if self._relay is None:
            if self._ending:
                return
            self._readHead(data)
            if self._buffer:
                self._next()
        elif self._more and self._relay.tunnel is None:
            self._readBody(data)
        else:
            self._buffer += data
            if len(self._buffer) > MAX_PIPELINED:
                self.transport.pauseProducing()

    def _next(self) -> None:
        """Go on with what was read before; never from within itself."""
        if self._reading:
            return
        self._reading = True
        while self._buffer and self._relay is None and not self._ending:
            data, self._buffer = self._buffer, b""
            self._readHead(data)
        self._reading = False
        if self._ending:
            return
        if self._relay is None:
            if self._ended:
                # The last bytes of a client that has ended are no whole request.
                self.transport.loseConnection()
                return
            if self._partial is None:
                self._rest()
        if not self._ended and not self.transport.reading and len(self._buffer) <= MAX_PIPELINED:
            self.transport.resumeProducing()

    def _readHead(self, data: bytes) -> None:
        shared = self.shared
        if shared.successor is not None:
            shared = self._follow()
        reader = shared.trustedReader if self.connection.trusted else shared.reader
        now = shared.deadlines.seconds()
        partial = self._partial
        try:
            if partial is not None:
                whole = partial.feed(data)
                if whole is None:
                    return
                data = whole
            else:
                self._startedAt = now
                if data == b"\r\n":
                    # Some clients send an empty line after a request.
                    return
            head = reader.read(data)
        except BadRequest as refused:
            if partial is not None:
                data = bytes(partial.data)
            captureRequest(self, refused, data, reader)
            self._partial = None
            self._refused(Cause.REFUSED, refused.status, refused.reason)
            return
        if head is None:
            if partial is None:
                self._partial = Partial(reader, data)
                if self.exchanges:
                    shared.deadlines.arm(self, shared.first, now)
            return
        self._partial = None
        self.expires = 0.0
        self.exchanges += 1
        self._keep = self._keep and head.keepAlive
        self._old = head.version == 10
        exchange = Exchange(self.connection, shared.frontend, shared.observers, self._startedAt)
        exchange.request = head
        exchange.freeAt = self._freeAt
        exchange.requestAt = now
        size = head.size
        exchange.bytesIn = size
        rest = data[size:] if len(data) > size else b""
        # A rule may want the body as it came.
        if head.chunked and shared.deciding is not None:
            self._raw = rest
        trailers = b""
        end = True
        if head.length != 0:
            try:
                rest, end = self._beginBody(exchange, head, rest)
            except BadRequest as refused:
                captureRequest(self, refused)
                self._more = True
                self._answered(exchange, Cause.REFUSED, refused.status, refused.reason)
                return
            if end:
                trailers = self._takeTrailers()
        elif rest:
            self._buffer = rest
            rest = b""
        self._decide(exchange, head, rest, end, trailers)

    def _decide(
        self, exchange: Exchange, head: RequestHead, data: bytes, end: bool, trailers: bytes
    ) -> None:
        shared = self.shared
        kind = Relay
        if head.method == b"CONNECT":
            if shared.config.connect == "deny":
                self._answered(exchange, Cause.REFUSED, 405, "CONNECT is not served here")
                return
            if shared.terminating is not None:
                kind = Terminated
        guard = self._guard
        if guard is not None and not guard(head.host):
            # On a connection of its own it would be met as its name demands.
            self._answered(exchange, Cause.REFUSED, 421, "TLS: a name that demands more")
            return
        redirect = shared.redirect
        if redirect is not None and not self.isSecure(head):
            self._redirect(exchange, head, redirect)
            return
        if self._settings is not None:
            exchange.settings = dict(self._settings)
        self._relay = relay = kind(self, exchange, head, data, end, trailers)
        if shared.deciding is None:
            relay.proceed(self._pool)
            return
        if self._vars is not None:
            exchange.vars = dict(self._vars)
        shared.deciding.begin(relay, self._pool)

    def _refused(self, cause: str, status: int, reason: str) -> None:
        """A request that never became one."""
        shared = self.shared
        self.exchanges += 1
        started = self._startedAt or self.connection.acceptedAt
        exchange = Exchange(self.connection, shared.frontend, shared.observers, started)
        exchange.stage = Stage.REQUEST
        exchange.freeAt = self._freeAt
        self._more = True
        self._partial = None
        if status:
            self._answered(exchange, cause, status, reason)
        else:
            exchange.reason = reason
            exchange.finish(cause, shared.deadlines.seconds())

    # between two requests, and after the last

    def exchangeDone(self) -> None:
        """The response is complete, or answered by us."""
        relay = self._relay
        self._freeAt = self.shared.deadlines.seconds() if relay is None else (
            relay.exchange.finishedAt
        )
        self._relay = None
        self._raw = None
        if self._more or not self._keep:
            self._close()
        elif self._buffer:
            self._next()
        elif self._ended:
            self._close()
        else:
            self._rest()

    def _rest(self) -> None:
        """Wait for the next request."""
        shared = self.shared
        deadlines = shared.deadlines
        deadlines.arm(self, shared.keepalive, deadlines.seconds())

    def _close(self) -> None:
        """
        Close after the last byte. Where the client may still be sending, an
        immediate close would make the kernel reset the connection and destroy
        our answer on its way: end our side, and read to nowhere for a while.
        """
        self._ending = True
        self._buffer = b""
        transport = self.transport
        if self._more:
            transport.loseWriteConnection()
            if transport.connected and not transport.reading:
                transport.resumeProducing()
        else:
            transport.loseConnection()
        if transport.unsent:
            self._arm()
        elif transport.connected:
            deadlines = self.shared.deadlines
            deadlines.arm(self, LINGER, deadlines.seconds())

    def abort(self) -> None:
        """The response cannot be completed: the client must not take it for whole."""
        self._relay = None
        self._ending = True
        self.transport.abortConnection()

    def abortSession(self, cause: str) -> None:
        """
        End it at once, whatever is under way.

        @param cause: one of L{Cause}.
        """
        if self._relay is not None:
            self._relay.abortSession(cause)
        elif self._partial is not None:
            self._refused(cause, 0, "ended before a whole request had come")
        self.transport.abortConnection()

    # no more HTTP

    def leave(self, exchange: Exchange, head: ResponseHead) -> bytes:
        """
        No more HTTP on this connection: pass the response on that says so.

        @return: what the client has sent since its request.
        """
        more = b""
        if head.status == 101:
            more = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        out = b"HTTP/1.1%b\r%b%b\r\n" % (head.line[8:], head.fields.block, more)
        return self.leaveBy(exchange, out)

    def leaveBy(self, exchange: Exchange, out: bytes) -> bytes:
        """
        The same with a response of our own.

        @param out: its head.
        """
        exchange.bytesOut += len(out)
        self.transport.write(out)
        return self.surrender(b"")

    def surrender(self, data: bytes) -> bytes:
        """
        No more HTTP on this connection, and nothing to be said of it.

        @param data: what was read of the request's body.
        @return: what the client has sent since the head of its request, as it came.
        """
        self.shared.deadlines.forget(self)
        self._relay = None
        self._ending = True
        data = (data if self._raw is None else self._raw) + self._buffer
        self._raw = None
        self._buffer = b""
        self._body = None
        self._more = False
        return data

    def resume(self, data: bytes) -> None:
        """
        HTTP goes on where a tunnel has ended.

        @param data: the beginning of a request.
        """
        transport = self.transport
        transport.protocol = self
        frontend = self.shared.frontend
        self._keep = not (frontend.draining or frontend.retired)
        if not data and not self._keep:
            self._close()
            return
        self._ending = False
        self._rest()
        if data:
            self._buffer = data
            self._next()
        elif not transport.reading:
            transport.resumeProducing()
