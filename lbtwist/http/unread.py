"""
What an exchange passes on without reading it: long bodies of a known length, which the
kernel passes on, and tunnels.

Not here: when it comes to that (L{lbtwist.http.relay}), how bytes go from socket to socket
(L{lbtwist.net.splice}), and what a tunnel is (L{lbtwist.tunnel}).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lbtwist.exchange import Exchange, Stage
from lbtwist.http.back import HTTPBack
from lbtwist.http.flow import Flow
from lbtwist.net.splice import Splice, spliceable
from lbtwist.rules.decisions import Tunnel as Decided
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.responsehead import ResponseHead
from lbtwist.tunnel import Side, Timeouts, Tunnel
from lbtwist.watching import WatchedSide
from lbtwist.websocket import FramedSide, WebSocket

if TYPE_CHECKING:
    from lbtwist.http.front import HTTPFront


class Unread:
    """
    The part of a L{lbtwist.http.relay.Relay} that reads nothing.

    @ivar back: the connection to the server, once it stands and until the
        response has ended.
    @ivar tunnel: the L{lbtwist.rules.decisions.Tunnel} that a rule wants, or L{None}.
    @ivar _sent: bytes of the request's body that the server was sent.
    """

    __slots__ = (
        "_data", "_front", "_head", "_more", "_pool", "_sent", "_splices", "back", "exchange",
        "tunnel",
    )  # fmt: skip

    exchange: Exchange
    back: HTTPBack | None
    tunnel: Any
    _data: bytes
    _front: HTTPFront
    _head: RequestHead
    _more: bytes
    _pool: Any
    _sent: int
    _splices: list[Splice]

    def requestEnd(self, trailers: bytes) -> None:
        """The request's body is complete."""
        raise NotImplementedError

    def responseEnd(self, data: bytes, trailers: bytes) -> None:
        """The last of the response's body."""
        raise NotImplementedError

    # long bodies of a known length

    def _spliceRequest(self, back: HTTPBack) -> None:
        front = self._front
        source, sink = front.transport, back.transport
        if not spliceable(source, sink):
            return

        def moved(size: int) -> None:
            self._sent += size
            self.exchange.bytesIn += size
            front.passed(size)

        def done() -> None:
            self._splices.remove(splice)
            front.passedAll()
            self.requestEnd(b"")

        # Without descriptors for a pipe the bytes go on as they do.
        with suppress(OSError):
            splice = Splice(source, sink, Flow(front, back), moved, front.left, done)
            self._splices.append(splice)

    def _spliceResponse(self, back: HTTPBack) -> None:
        front = self._front
        source, sink = back.transport, front.transport
        if not spliceable(source, sink):
            return

        def moved(size: int) -> None:
            self.exchange.bytesOut += size
            back.passed(size)

        def done() -> None:
            self._splices.remove(splice)
            back.passedAll()
            self.responseEnd(b"", b"")

        with suppress(OSError):
            splice = Splice(source, sink, Flow(back, front), moved, back.left, done)
            self._splices.append(splice)

    # tunnels

    def becomeTunnel(self, tunnel: Decided) -> None:
        """
        What the client sends from now on is not read any more, but kept until there is
        a server.
        """
        self.tunnel = tunnel
        self._front.unblocked()

    def _passThrough(self, server: Side) -> None:
        """Send the head, and from then on whatever comes, unread."""
        exchange = self.exchange
        exchange.stage = Stage.DATA
        exchange.passthrough = self.tunnel.reason
        early = self._front.surrender(self._data)
        head, more = self._head, self._more
        exchange.bytesIn = head.size
        # The client reads the response as it comes, in its own version, and to its end.
        if not head.keepAlive and not head.upgrade:
            more += b"Connection: close\r\n"
        absolute = self._pool.config.absolute_uri
        server.transport.write(head.encode(more, absolute, head.version - 10))
        self._joined(self.clientSide(), server).start(early, b"")

    def serverSide(self) -> Side:
        """@return: what a tunnel's connection to a server is met with."""
        watcher = None if self.tunnel is None else self.tunnel.watcher
        if watcher is None:
            return Side()
        return WatchedSide(watcher, "server", self._front.shared.deadlines)

    def clientSide(self) -> Side:
        """@return: the client's side of a tunnel."""
        front = self._front
        watcher = None if self.tunnel is None else self.tunnel.watcher
        if watcher is None:
            return Side(front.transport)
        return WatchedSide(
            watcher, "client", front.shared.deadlines, front.transport, front.resume
        )

    def _becomeWebSocket(self, back: HTTPBack, head: ResponseHead, data: bytes) -> None:
        """
        @param head: of the response that says so.
        @param data: what the server has sent after it.
        """
        front = self._front
        early = front.leave(self.exchange, head)
        shared = front.shared
        tunnel = front.webSocket = WebSocket(
            self.exchange, FramedSide(front.transport), FramedSide(back.transport),
            shared.deadlines, self._timeouts(), front.ended,
        )  # fmt: skip
        tunnel.start(early, data)
        if shared.frontend.draining:
            tunnel.drain()

    def _joined(self, client: Side, server: Side) -> Tunnel:
        front = self._front
        return Tunnel(
            self.exchange, client, server, front.shared.deadlines, self._timeouts(), front.ended
        )

    def _timeouts(self) -> Timeouts:
        return self._front.shared.tunnelTimeouts(self._pool.config, self.exchange.settings)
