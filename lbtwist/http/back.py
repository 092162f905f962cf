"""
One connection to a server that speaks HTTP/1.

Writes requests, reads responses and tells them to the relay that uses it; between
two exchanges it is idle and belongs to L{lbtwist.reuse}.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.deadlines import Deadlines
from lbtwist.errors import BadResponse, MessageError
from lbtwist.exchange import Exchange
from lbtwist.http.flow import Flowing
from lbtwist.http.refusing import captureResponse
from lbtwist.pool import Pool
from lbtwist.sansio.chunked import ChunkedReader, chunk, lastChunk
from lbtwist.sansio.http1 import Partial
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.responsehead import ResponseHead, ResponseReader
from lbtwist.server import Endpoint, Server

_UNTIL_CLOSE = -1

MAX_INFORMATIONAL = 65536
"""Bytes of interim responses to one request, which are passed on whether the client
takes them or not."""


class Answered(Protocol):
    """
    Who sent a request and hears of the response.

    @ivar exchange: the exchange of both.
    """

    exchange: Exchange

    def informational(self, head: ResponseHead) -> None:
        """An interim response (1xx); the final one is still to come."""

    def responseReceived(
        self, head: ResponseHead, data: bytes, end: bool, trailers: bytes
    ) -> None:
        """The head, the first of the body, and whether that is all."""

    def responseData(self, data: bytes) -> None:
        """More of the body."""

    def responseEnd(self, data: bytes, trailers: bytes) -> None:
        """The last of the body; the connection may be somebody else's by now."""

    def upgraded(self, head: ResponseHead, data: bytes) -> None:
        """
        No more HTTP on this connection: a 101, or a 2xx to CONNECT. The
        transport is the hearer's from now on.

        @param data: what came after the head.
        """

    def responseBroken(self, reason: str) -> None:
        """What the server sends is not acceptable; the connection is closed."""

    def serverLost(self, reason: str, nothing: bool) -> None:
        """
        The connection ended before the response did.

        @param nothing: not a byte of the response had come.
        """

    def serverTimeout(self) -> None:
        """The server neither sent nor took anything for too long."""


@implementer(IHalfCloseableProtocol)
class HTTPBack(Flowing):
    """
    One connection to a server.

    @ivar uses: exchanges it has served.
    @ivar doubtful: a server that does not know that its last response has no body
        may still send one.
    @ivar createdAt: the clock's seconds when it stood.
    @ivar endpoint: where it goes.
    """

    __slots__ = (
        "_absolute", "_body", "_chunked", "_deadlines", "_heard", "_informed", "_keep", "_kept",
        "_left", "_method", "_partial", "_pool", "_reader", "_reading", "_seconds", "_sending",
        "_server", "_timeout", "_upgrade", "_usual", "createdAt", "doubtful", "endpoint", "relay",
        "uses",
    )  # fmt: skip

    def __init__(
        self, pool: Pool, server: Server, reader: ResponseReader,
        kept: dict[Server, Any] | None = None,
    ) -> None:
        """
        @param kept: where it is kept if it is one client's alone.
        """
        super().__init__()
        self._kept = kept
        self._pool = pool
        self._server = server
        self._deadlines: Deadlines = pool.deadlines
        self._seconds = pool.seconds
        self._reader = reader
        self._timeout = self._usual = pool.config.timeout_server
        self._absolute = pool.config.absolute_uri
        self.transport = None
        self.relay: Any = None
        self.uses = 0
        self.doubtful = False
        self.createdAt = 0.0
        self._partial: Partial | None = None
        self._body: ChunkedReader | None = None
        self._keep = False
        self._reading = False
        self._sending = False
        self._chunked = False
        self._left = 0
        self._progress = 0

    def __repr__(self) -> str:
        state = "busy" if self.relay is not None else "idle"
        return f"<HTTPBack {self._server.pool}/{self._server.name} {state} {self.uses} used>"

    # the connection

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.endpoint: Endpoint = transport.endpoint
        self.createdAt = self._seconds()

    def connectionLost(self, reason: Failure) -> None:
        self._deadlines.forget(self)
        relay = self.relay
        if relay is None:
            idle = self._server.idle
            kept = self._kept
            if kept is not None:
                if kept.get(self._server) is self:
                    del kept[self._server]
            elif self in idle:
                idle.remove(self)
            return
        self.relay = None
        relay.serverLost(f"the server closed: {reason.getErrorMessage()}", not self._heard)

    def readConnectionLost(self) -> None:
        """The server has ended its side: of a response, the end or a fault."""
        relay = self.relay
        if relay is not None and self._reading and self._left == _UNTIL_CLOSE:
            self._keep = False
            self._finish()
            relay.responseEnd(b"", b"")
        elif relay is not None:
            self.relay = None
            self.transport.abortConnection()
            relay.serverLost("the server ended the connection", not self._heard)
        else:
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Never told: the write side of a server connection is not closed alone."""

    def expired(self) -> None:
        relay = self.relay
        if relay is None:
            self.close()
        elif self.transport.progress != self._progress:
            self._arm()
        else:
            relay.serverTimeout()

    def _arm(self) -> None:
        self._progress = self.transport.progress
        self._deadlines.arm(self, self._timeout, self._seconds())

    # idle: L{lbtwist.reuse.Idle}

    def ended(self) -> bool:
        return bool(self.transport.peekEnd())

    def close(self) -> None:
        """Let go of an idle connection."""
        self.transport.loseConnection()

    # the request

    def send(
        self, relay: Answered, head: RequestHead, more: bytes, data: bytes, end: bool, now: float
    ) -> None:
        """
        Begin an exchange: send a request's head and the first of its body.

        @param more: lines to add to the head.
        @param data: payload; without chunks around it.
        @param end: whether that is the whole request.
        """
        self.relay = relay
        self.uses += 1
        settings = relay.exchange.settings
        self._timeout = self._usual
        if settings is not None:
            self._timeout = settings.get("timeout_server", self._usual)
        self._method = head.method
        self._upgrade = head.upgrade
        self._heard = False
        self._informed = 0
        self._keep = False
        self._chunked = chunked = head.chunked
        target = head.uri if self._absolute else head.target
        out = b"%b %b HTTP/1.1\r%b%b\r\n" % (head.method, target, head.fields.block, more)
        if data:
            out += chunk(data) if chunked else data
        if end:
            if chunked:
                out += lastChunk(b"")
            self._sending = False
            self._progress = self.transport.progress
            self._deadlines.arm(self, self._timeout, now)
        else:
            self._sending = True
        self.transport.write(out)

    def settingsChanged(self) -> None:
        """A rule may have set another timeout for the rest of the response."""
        settings = self.relay.exchange.settings
        self._timeout = settings.get("timeout_server", self._usual)
        self._arm()

    def sendData(self, data: bytes) -> None:
        """Send more of the request's body."""
        self.transport.write(chunk(data) if self._chunked else data)

    def sendEnd(self, trailers: bytes) -> None:
        """The request's body is complete."""
        if self._chunked:
            self.transport.write(lastChunk(trailers))
        self._sending = False
        if self.transport.reading:
            self._arm()

    def abandon(self) -> None:
        """The exchange ended otherwise; nothing of this connection is wanted."""
        self.relay = None
        self.transport.abortConnection()

    # back-pressure

    def goOn(self) -> None:
        """Read again."""
        self._arm()
        self.transport.resumeProducing()

    # the response

    def dataReceived(self, data: bytes) -> None:
        relay = self.relay
        if relay is None:
            # Nothing was asked: whatever this is, it is no answer.
            self.transport.abortConnection()
            return
        try:
            if not self._reading:
                self._readHead(relay, data)
            else:
                self._readBody(relay, data)
        except MessageError as broken:
            # Not who heard the beginning: an interim response may have changed that.
            relay, self.relay = self.relay, None
            captureResponse(
                self._pool, self._server, relay.exchange, broken, self._reader, self._method,
                self._partial,
            )
            self.transport.abortConnection()
            relay.responseBroken(broken.reason)

    def _readHead(self, relay: Answered, data: bytes) -> None:
        self._heard = True
        while True:
            partial = self._partial
            if partial is not None:
                whole = partial.feed(data)
                if whole is None:
                    self._arm()
                    return
                self._partial = None
                data = whole
            try:
                head = self._reader.read(data, self._method)
            except BadResponse as broken:
                broken.data = data
                raise
            if head is None:
                self._partial = Partial(self._reader, data)
                self._arm()
                return
            status = head.status
            if status >= 200:
                break
            data = data[head.size :]
            if status == 101:
                if not _among(head.upgrade, self._upgrade):
                    raise BadResponse("a 101 to what was not asked for")
                self._upgraded(relay, head, data)
                return
            self._informed += head.size
            if self._informed > MAX_INFORMATIONAL:
                raise BadResponse("interim responses without end")
            self._arm()
            relay.informational(head)
            # Who hears the rest may be another.
            relay = self.relay
            if not data or relay is None:
                return
        size = head.size
        if self._method == b"CONNECT" and status < 300:
            self._upgraded(relay, head, data[size:])
            return
        self._keep = head.keepAlive
        self.doubtful = self._method == b"HEAD" or status == 304 or status == 204
        length = head.length
        if length is not None:
            left = length - (len(data) - size)
            if left <= 0:
                if left:
                    # More than was promised: nothing after it can be trusted.
                    self._keep = False
                    payload = data[size : size + length]
                else:
                    payload = data[size:]
                self._finish()
                relay.responseReceived(head, payload, True, b"")
                return
            payload = data[size:]
        elif head.chunked:
            self._body = reader = ChunkedReader(BadResponse)
            payload = reader.feed(data[size:])
            if reader.done:
                self._keep = self._keep and not reader.rest
                self._finish()
                relay.responseReceived(head, payload, True, reader.trailers)
                return
            left = 0
        else:
            payload = data[size:]
            left = _UNTIL_CLOSE
        self._reading = True
        self._left = left
        self._arm()
        relay.responseReceived(head, payload, False, b"")

    def _readBody(self, relay: Answered, data: bytes) -> None:
        self._arm()
        reader = self._body
        if reader is not None:
            payload = reader.feed(data)
            if reader.done:
                self._keep = self._keep and not reader.rest
                self._finish()
                relay.responseEnd(payload, reader.trailers)
            elif payload:
                relay.responseData(payload)
            return
        left = self._left
        if left == _UNTIL_CLOSE or len(data) < left:
            if left > 0:
                self._left = left - len(data)
            relay.responseData(data)
            return
        if len(data) > left:
            self._keep = False
            data = data[:left]
        self._finish()
        relay.responseEnd(data, b"")

    @property
    def left(self) -> int:
        """Bytes of the response's body that are still to come; 0 where unknown."""
        return max(self._left, 0) if self._reading and self._body is None else 0

    def passed(self, size: int) -> None:
        """Bytes of the body were passed on without being read here."""
        self._left -= size
        if self.transport.reading:
            self._arm()

    def passedAll(self) -> None:
        """All of the body was passed on."""
        self._finish()

    def _upgraded(self, relay: Answered, head: ResponseHead, data: bytes) -> None:
        self._deadlines.forget(self)
        self.relay = None
        relay.upgraded(head, data)

    def _finish(self) -> None:
        """The response is complete: offer the connection for reuse, or close it."""
        self.relay = None
        self._reading = False
        self._body = None
        self.expires = 0.0
        transport = self.transport
        if self._sending or transport.unsent:
            # The rest of the request will not be sent: nobody waits for it any more.
            transport.abortConnection()
            return
        if transport.producer is not None:
            transport.unregisterProducer()
        if not self._keep or not self._offer():
            transport.loseConnection()

    def _offer(self) -> bool:
        reuse, kept = self._pool.reuse, self._kept
        if kept is None:
            return reuse.keep(self._server, self, self._seconds())
        return reuse.keepPrivate(kept, self._server, self, self._seconds())


def _among(names: bytes, asked: bytes) -> bool:
    """Whether protocols (RFC 9110 section 7.8) are among those that were asked for."""
    known = {name.strip().lower() for name in asked.split(b",")}
    given = {name.strip().lower() for name in names.split(b",")}
    return bool(names) and given <= known
