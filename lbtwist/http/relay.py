"""
One exchange between a client and a server.

Passes heads, data and ends from L{lbtwist.http.front} to L{lbtwist.http.back} and
back, and holds the reader when the writer cannot follow. Not here: what is passed on
without being read (L{lbtwist.http.unread}), how requests are sent again
(L{lbtwist.http.retrying}), and how an exchange ends (L{lbtwist.http.ending}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.http.back import Answered, HTTPBack
from lbtwist.http.ending import Ending
from lbtwist.http.flow import Flow
from lbtwist.http.retrying import Trying
from lbtwist.net.splice import LEAST
from lbtwist.pool import Pool
from lbtwist.retries import isForbidden
from lbtwist.rules.reading import wantsWebSocket
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.responsehead import ResponseHead
from lbtwist.server import Server
from lbtwist.tunnel import Side

if TYPE_CHECKING:
    from lbtwist.http.deciding import Deciding
    from lbtwist.http.front import HTTPFront


def framing(head: RequestHead) -> bytes:
    """@return: the lines of a head for the server that are about one connection only."""
    lines = b""
    if head.chunked:
        lines = b"Transfer-Encoding: chunked\r\n"
    if head.upgrade:
        lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
    return lines


class Relay(Ending):
    """
    One exchange under way.

    @ivar witness: is told what becomes of it; see L{lbtwist.http.deciding.Witness}.
    @ivar pooled: whether it goes to a pool, and so the pools' rules are asked.
    """

    pooled = True

    __slots__ = ("_end", "_trailers", "witness")

    def __init__(
        self, front: HTTPFront, exchange: Exchange, head: RequestHead, data: bytes, end: bool,
        trailers: bytes,
    ) -> None:
        """
        @param data: what has come of the request's body.
        @param end: whether that is all of it, but for the trailers.
        """
        self._front = front
        self.exchange = exchange
        self._head = head
        self._data = data
        self._end = end
        self._trailers = trailers
        self._more = b""
        self._started = False
        self._sent = 0
        self._splices = []
        self._pool = None
        self.back = None
        self.place = self.tunnel = self.waitsFor = self._trying = None
        self.witness: Any = None

    def proceed(self, pool: Pool | None) -> None:
        """
        The rules have been asked.

        @param pool: where the exchange goes.
        """
        exchange = self.exchange
        exchange.pool = self._pool = pool
        if pool is None:
            exchange.reason = "no pool"
            self.answer(Cause.SERVER, 503)
            return
        head = self._head
        more = self._front.linesFor(exchange, head)
        if head.chunked or head.upgrade:
            more += framing(head)
        self._more = more
        if self.witness is not None:
            self.witness.departs(exchange, pool, more)
        if pool.retries is not None and self.tunnel is None:
            self._trying = Trying(self, pool, pool.retries)
        pool.connect(self)

    # from the pool: L{lbtwist.pool.Waiting}

    def reuse(self, server: Server) -> Any:
        if self.tunnel is not None:
            return None
        # What could not be sent twice goes out only where somebody listens.
        careful = not (self._end and self._head.idempotent)
        if self.exchange.settings is not None:
            careful = careful or isForbidden(self.exchange)
        if server.private:
            return self._pool.reuse.takePrivate(self._front.kept, server, careful)
        return self._pool.reuse.take(server, self._front.exchanges == 1, careful)

    def newConnection(self, server: Server) -> Any:
        if self.tunnel is not None:
            return self.serverSide()
        front = self._front
        kept = front.kept if server.private else None
        return HTTPBack(self._pool, server, front.shared.responseReader, kept)

    def serverReady(self, protocol: Any) -> None:
        if self.tunnel is not None:
            self._passThrough(protocol)
            return
        self.back = protocol
        exchange = self.exchange
        exchange.stage = Stage.RESPONSE
        data = self._data
        assert exchange.server is not None
        exchange.server.sessions.add(self)
        hearer: Answered = self
        if self._trying is not None:
            hearer = self._trying
            hearer.departs(data)
        protocol.send(hearer, self._head, self._more, data, self._end and not self._trailers,
                      exchange.connectedAt)  # fmt: skip
        if self._end:
            if self._trailers:
                protocol.sendEnd(self._trailers)
            return
        self._sent += len(data)
        self._data = b""
        transport = protocol.transport
        transport.registerProducer(Flow(self._front, protocol), True)
        if not transport.producerPaused:
            self._front.goOn()

    def serverUnavailable(self, cause: str, stage: str, status: int) -> None:
        self.exchange.stage = stage
        if self._trying is not None:
            self._trying.unavailable()
        self.answer(cause, status)

    @property
    def complete(self) -> bool:
        """Whether the client has sent all of the request."""
        return self._end

    def anew(self, data: bytes) -> None:
        """
        Let go of what was sent, to send it once more.

        @param data: the request's body, all of it.
        """
        server = self.exchange.server
        assert server is not None
        server.sessions.discard(self)
        self.back = None
        self._data = data
        self._sent = 0

    def settled(self) -> None:
        """What is sent was sent for good."""
        self._trying = None

    def sendOnce(self, back: HTTPBack, hearer: Answered) -> None:
        """Send a request without a body to a second server."""
        back.send(hearer, self._head, self._more, b"", True, self._pool.seconds())

    # from the client

    def requestData(self, data: bytes) -> None:
        """More of the request's body."""
        back = self.back
        if back is not None:
            self._sent += len(data)
            back.sendData(data)
            if self._trying is not None and self._trying.keep(data):
                # What goes unread could not be sent again.
                return
            if self._front.left >= LEAST:
                self._spliceRequest(back)
        elif not self._started:
            self._data += data
            self._front.stall()

    def requestEnd(self, trailers: bytes) -> None:
        """The request's body is complete."""
        self._end = True
        self._trailers = trailers
        back = self.back
        if back is None:
            self._front.goOn()
            return
        if back.transport.producer is not None:
            back.transport.unregisterProducer()
        back.sendEnd(trailers)
        # It may have been held for the sake of the server; what comes now is
        # another request.
        self._front.goOn()

    def requestBroken(self, status: int, reason: str) -> None:
        """What the client sends as its request's body is not acceptable."""
        self.exchange.reason = reason
        self.answer(Cause.REFUSED, status)

    def clientEnded(self) -> None:
        """The client has ended its side; it may still read."""
        stage = self.exchange.stage
        # Of a tunnel an end is part of what is passed on.
        whole = self._end or stage == Stage.LAST or self.tunnel is not None
        if stage == Stage.QUEUE or not whole:
            self.clientLost("the client went away")

    def clientLost(self, reason: str) -> None:
        """The client is gone."""
        self.exchange.reason = reason
        self._abort(Cause.CLIENT)

    def clientTimeout(self) -> None:
        """The client neither sent nor took anything for too long."""
        self.answer(Cause.CLIENT_TIMEOUT, 408)

    # from the server: L{lbtwist.http.back.Answered}

    def informational(self, head: ResponseHead) -> None:
        self._front.sendInformational(self.exchange, head)

    def responseReceived(
        self, head: ResponseHead, data: bytes, end: bool, trailers: bytes
    ) -> None:
        exchange = self.exchange
        exchange.respondedAt = self._pool.seconds()
        exchange.response = head
        exchange.status = head.status
        front = self._front
        if end:
            self.back = None
        deciding = front.shared.deciding
        if deciding is not None:
            asked = deciding.responds or exchange.rewrites or self.witness is not None
            if asked and not self._responded(deciding):
                return
            if trailers:
                trailers = deciding.responseTrailers(trailers)
        persistence = self._pool.persistence
        if persistence is not None and persistence.responds and exchange.bond is not None:
            persistence.respond(exchange)
        exchange.stage = Stage.DATA
        self._started = True
        if end:
            front.sendHead(exchange, head, data, True, trailers)
            self._sentAll()
            return
        back = self.back
        assert back is not None
        if exchange.settings is not None:
            back.settingsChanged()
        front.transport.registerProducer(Flow(back, front), True)
        front.sendHead(exchange, head, data, False, b"")
        if self.back is back and back.left >= LEAST:
            self._spliceResponse(back)

    def _responded(self, deciding: Deciding) -> bool:
        """
        Have the rules change the head of the response.

        @return: whether it can be sent.
        """
        if deciding.respond(self):
            return True
        self.exchange.reason = "a rule has failed"
        self.answer(Cause.INTERNAL, 500)
        return False

    def responseData(self, data: bytes) -> None:
        self._front.sendData(self.exchange, data)
        back = self.back
        if back is not None and back.left >= LEAST:
            self._spliceResponse(back)

    def responseEnd(self, data: bytes, trailers: bytes) -> None:
        self.back = None
        front = self._front
        # The server's connection is its own again: nothing holds it any more.
        front.transport.unregisterProducer()
        deciding = front.shared.deciding
        if trailers and deciding is not None:
            trailers = deciding.responseTrailers(trailers)
        front.sendEnd(self.exchange, data, trailers)
        self._sentAll()

    def upgraded(self, head: ResponseHead, data: bytes) -> None:
        back = self.back
        assert back is not None
        self.back = None
        exchange = self.exchange
        exchange.respondedAt = self._pool.seconds()
        exchange.response = head
        exchange.status = head.status
        front = self._front
        deciding = front.shared.deciding
        if deciding is not None and not self._responded(deciding):
            back.abandon()
            return
        persistence = self._pool.persistence
        if persistence is not None and persistence.responds and exchange.bond is not None:
            persistence.respond(exchange)
        exchange.stage = Stage.DATA
        server = exchange.server
        assert server is not None
        server.sessions.discard(self)
        if self._head.method == b"CONNECT":
            exchange.passthrough = "Connect"
        elif wantsWebSocket(self._head):
            exchange.passthrough = "Web Sockets"
            if head.upgrade.lower() == b"websocket":
                self._becomeWebSocket(back, head, data)
                return
        else:
            exchange.passthrough = "Unknown"
        early = front.leave(exchange, head)
        self._joined(Side(front.transport), Side(back.transport)).start(early, data)

    def responseBroken(self, reason: str) -> None:
        self.back = None
        exchange = self.exchange
        exchange.reason = reason
        server = exchange.server
        if self._started and server is not None and server.watch is not None:
            # That may end the sessions of the server; this one ends by itself.
            server.sessions.discard(self)
            # A request that breaks off in its body ends the exchange in the same way.
            server.watch.failed(502, "a response that is not acceptable")
        self.answer(Cause.REFUSED, 502)

    def serverLost(self, reason: str, nothing: bool) -> None:
        self.back = None
        if nothing and self.renews:
            server = self.exchange.server
            assert server is not None
            server.sessions.discard(self)
            self._pool.again(self, server)
            return
        self.exchange.reason = reason
        self.answer(Cause.SERVER, 502)

    @property
    def renews(self) -> bool:
        """
        Whether a connection is made anew that ends without a byte of a response: the server
        had closed it before our request came, which is not a failure of the request. A new
        connection cannot have been closed in idleness, so this happens once.
        """
        exchange = self.exchange
        return (
            exchange.reused
            and not self._sent
            and self._end
            and self._head.idempotent
            and bool(self._pool.config.retry_on)
            and not isForbidden(exchange)
        )

    def serverTimeout(self) -> None:
        self.answer(Cause.SERVER_TIMEOUT, 504)

    def abortSession(self, cause: str) -> None:
        """End it: the server was marked down, or an administrator said so."""
        self.answer(cause, 503)
