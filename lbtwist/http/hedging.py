"""
A second attempt at an exchange whose server takes its time: another server is asked the same,
and whoever answers first is heard. Not here: when that is done (L{lbtwist.http.retrying}).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from lbtwist.config.again import EMPTY, JUNK, TIMEOUT
from lbtwist.exchange import Exchange
from lbtwist.http.back import HTTPBack
from lbtwist.pool import Pool
from lbtwist.retries import blame
from lbtwist.sansio.responsehead import ResponseHead
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.http.relay import Relay
    from lbtwist.http.retrying import Trying


class Hedge:
    """
    The second attempt: what a relay is to the pool and to a connection, for as long as it is
    not known which of the two servers is heard.

    @ivar exchange: holds the slot of the second server. It is a copy that is never finished:
        to everybody else there is one exchange.
    @ivar place: see L{lbtwist.connecting.Waiting}.
    @ivar back: the connection that the request was sent on; L{None} before it was.
    """

    __slots__ = ("_pool", "_relay", "_trying", "back", "exchange", "place")

    def __init__(self, trying: Trying, relay: Relay, pool: Pool) -> None:
        """
        @param trying: is told what becomes of it.
        @param relay: makes connections, and sends.
        """
        self._trying = trying
        self._relay = relay
        self._pool = pool
        self.place: Any = None
        self.back: HTTPBack | None = None
        first = relay.exchange
        assert first.server is not None
        self.exchange: Exchange = copy(first)
        self.exchange.server = None
        self.exchange.holding = self.exchange.reused = False
        self.exchange.tried = (*first.tried, first.server)
        # A server that cannot be connected to is not worth another.
        self.exchange.retries = pool.config.retries

    def __repr__(self) -> str:
        return f"<Hedge {self.exchange.server!r}>"

    def begin(self) -> bool:
        """@return: whether there is a server for it; it may have failed by now."""
        return self._pool.connectNow(self)

    def leave(self, ended: bool = False) -> None:
        """
        Give up, without telling anybody.

        @param ended: the response is complete, and the connection not its own any more.
        """
        if self.place is not None:
            self._pool.leave(self)
        back, self.back = self.back, None
        if back is not None and not ended:
            back.abandon()
        server = self.exchange.server
        if server is not None and self.exchange.holding:
            server.sessions.discard(self)
            self._pool.release(self.exchange)

    def replace(self, exchange: Exchange) -> HTTPBack:
        """
        Give the slot to the exchange, which holds none.

        @return: the connection that it goes on with.
        """
        ours = self.exchange
        server = ours.server
        assert server is not None and self.back is not None
        server.sessions.discard(self)
        ours.holding = False
        exchange.holding = True
        exchange.server = server
        exchange.assignedAt = ours.assignedAt
        exchange.connectedAt = ours.connectedAt
        exchange.reused = ours.reused
        exchange.source = ours.source
        return self.back

    # from the pool: L{lbtwist.connecting.Waiting}

    def reuse(self, server: Server) -> Any:
        return self._relay.reuse(server)

    def newConnection(self, server: Server) -> Any:
        return self._relay.newConnection(server)

    def serverReady(self, protocol: Any) -> None:
        self.back = protocol
        server = self.exchange.server
        assert server is not None
        server.sessions.add(self)
        self._relay.sendOnce(protocol, self)

    def serverUnavailable(self, cause: str, stage: str, status: int) -> None:
        server = self.exchange.server
        assert server is not None
        self._trying.hedgeFailed(server, self.exchange.reason)

    # from the server: L{lbtwist.http.back.Answered}

    def informational(self, head: ResponseHead) -> None:
        if self._trying.hedgeAnswered(head.status, False):
            self._trying.informational(head)

    def responseReceived(
        self, head: ResponseHead, data: bytes, end: bool, trailers: bytes
    ) -> None:
        if self._trying.hedgeAnswered(head.status, end):
            self._trying.responseReceived(head, data, end, trailers)

    def responseBroken(self, reason: str) -> None:
        self._fail(reason, JUNK)

    def serverLost(self, reason: str, nothing: bool) -> None:
        exchange = self.exchange
        server = exchange.server
        assert server is not None
        if nothing and exchange.reused:
            # It had been closed before: see L{lbtwist.http.relay.Relay.renews}.
            server.sessions.discard(self)
            self.back = None
            self._pool.again(self, server)
        else:
            self._fail(reason, EMPTY if nothing else JUNK)

    def serverTimeout(self) -> None:
        self._fail("no response in time", TIMEOUT)

    def abortSession(self, cause: str) -> None:
        """End it: the server was marked down, or an administrator said so."""
        self._fail("its sessions were ended", "")

    def _fail(self, reason: str, failure: str) -> None:
        """@param failure: a word of C{retry-on}; C{""} where the server is not to blame."""
        server = self.exchange.server
        assert server is not None
        self.leave()
        if failure:
            blame(server, failure, reason)
        self._trying.hedgeFailed(server, f"{server.pool}/{server.name}: {reason}")

    # Nothing of what follows comes before the head of a response, nor unasked.

    def responseData(self, data: bytes) -> None:
        raise NotImplementedError

    def responseEnd(self, data: bytes, trailers: bytes) -> None:
        raise NotImplementedError

    def upgraded(self, head: ResponseHead, data: bytes) -> None:
        raise NotImplementedError
