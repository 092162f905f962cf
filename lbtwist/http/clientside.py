"""
The state of one connection from a client that speaks HTTP/1.

Not here: what is done with it. That is told in parts, each of which knows this state:
what servers are told of the client (L{lbtwist.http.telling}), the bodies of requests
(L{lbtwist.http.receiving}), responses that are passed on (L{lbtwist.http.responding}),
answers of our own (L{lbtwist.http.answering}); L{lbtwist.http.front} joins them.
"""

from __future__ import annotations

from typing import Any

from lbtwist.exchange import Connection
from lbtwist.http.flow import Flowing
from lbtwist.http.relay import Relay
from lbtwist.http.shared import Shared
from lbtwist.pool import Pool
from lbtwist.sansio.chunked import ChunkedReader
from lbtwist.sansio.http1 import Partial
from lbtwist.server import Server
from lbtwist.websocket import WebSocket


class ClientSide(Flowing):
    """
    What is known of one connection.

    @ivar exchanges: how many it has begun.
    @ivar webSocket: what it has become, if it is one.
    @ivar _relay: the exchange under way, if it has got that far.
    @ivar _partial: what has come of a request's head.
    @ivar _buffer: what has come after the request under way.
    @ivar _more: more of its body is to come.
    @ivar _body: reads it where it is chunked; elsewhere C{_left} bytes are to come.
    @ivar _raw: the body as it came, while a tunnel may want that.
    @ivar _old: the request is of HTTP/1.0.
    @ivar _chunked: the response is sent in chunks.
    @ivar _keep: the connection goes on after the response.
    @ivar _ended: the client has ended its side.
    @ivar _ending: no request is read any more.
    """

    __slots__ = (
        "_body", "_buffer", "_chunked", "_ended", "_ending", "_keep", "_left", "_lines",
        "_more", "_old", "_partial", "_reading", "_received", "_relay", "_startedAt",
        "_certificateLines", "_freeAt", "_guard", "_kept", "_pool", "_raw", "_settings",
        "_vars", "connection", "exchanges", "shared", "webSocket",
    )  # fmt: skip

    def __init__(
        self, shared: Shared, connection: Connection, pool: Pool | None,
        kept: dict[str, str] | None = None, settings: dict[str, Any] | None = None,
    ) -> None:
        """
        @param pool: where its exchanges go, unless a request rule says otherwise.
        @param kept: what connection rules keep for those of requests.
        @param settings: what they have set for all exchanges of the connection.
        """
        super().__init__()
        self.shared = shared
        self.connection = connection
        self._pool = pool
        self._vars = kept
        self._settings = settings
        self._raw: bytes | None = None
        self._guard = None if connection.tls is None else connection.tls.guard
        self.transport = None
        self.webSocket: WebSocket | None = None
        self.exchanges = 0
        self._kept: dict[Server, Any] | None = None
        self._relay: Relay | None = None
        self._partial: Partial | None = None
        self._body: ChunkedReader | None = None
        self._buffer = b""
        self._lines = b""
        self._certificateLines: bytes | None = None
        self._left = 0
        self._received = 0
        self._startedAt = self._freeAt = 0.0
        self._progress = 0
        self._more = False
        self._keep = True
        self._old = False
        self._chunked = False
        self._reading = False
        self._ended = False
        self._ending = False

    @property
    def number(self) -> int:
        """Of the connection."""
        return self.connection.number

    @property
    def kept(self) -> dict[Server, Any]:
        """
        Idle connections to servers that were told of this client, and so are its alone;
        see L{lbtwist.reuse}.
        """
        kept = self._kept
        if kept is None:
            kept = self._kept = {}
        return kept

    def _follow(self) -> Shared:
        """
        The frontend has got another configuration; nothing is under way.

        @return: what it shares now.
        """
        usual = self.shared.pool
        shared = self.shared.successor
        assert shared is not None
        self.shared = shared
        pool = self._pool
        if pool is None or pool is usual:
            self._pool = shared.pool
        else:
            # A rule for the connection has chosen it.
            self._pool = shared.frontend.pools.get(pool.name, shared.pool)
        self._lines = b""
        self._certificateLines = None
        return shared

    def exchangeDone(self) -> None:
        """The response is complete, or answered by us."""
        raise NotImplementedError
