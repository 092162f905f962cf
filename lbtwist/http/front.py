"""
One connection from a client that speaks HTTP/1.

Reads requests, one at a time and in order, lets the rules and a L{Relay} answer
them, and writes responses. It frames what it writes by itself: a body that ends
with the server's connection becomes a chunked one, so that the client's
connection lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import responses
from typing import Any

import attr
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.config.model import FrontendConfig, PoolConfig
from lbtwist.deadlines import Deadlines, Timed
from lbtwist.errors import BadRequest
from lbtwist.exchange import Cause, Connection, Exchange, Stage
from lbtwist.http.deciding import Deciding
from lbtwist.http.pages import REDIRECTS, Page, Redirect, pagesOf
from lbtwist.http.relay import Relay
from lbtwist.http.terminating import Terminated, Terminating
from lbtwist.net.addresses import authority
from lbtwist.pool import Pool
from lbtwist.rules.decisions import Answer
from lbtwist.sansio.chunked import ChunkedReader, chunk, lastChunk
from lbtwist.sansio.clientcert import NAMES, certificateLines
from lbtwist.sansio.headers import Tell
from lbtwist.sansio.http1 import Partial, RequestHead, RequestReader, ResponseHead, ResponseReader
from lbtwist.server import Server
from lbtwist.tunnel import Timeouts

LINGER = 2.0
"""Seconds that a client has to end its side, after an answer that came before its
request was complete and that has been sent."""

MAX_PIPELINED = 65536
"""Bytes of further requests that are read while one is being answered."""


@attr.define(eq=False)
class Shared:
    """
    What the connections of one HTTP frontend share.

    @ivar traffic: the frontend's runtime object, see C{Exchange.frontend}.
    @ivar pool: where exchanges go, unless a rule says otherwise; L{None} if nowhere.
    @ivar deciding: the rules; L{None} if there are none.
    @ivar terminating: where targets of CONNECT are found; L{None} where they are not ours
        to find.
    """

    config: FrontendConfig
    frontend: Any
    deadlines: Deadlines
    pool: Pool | None
    observers: tuple[Callable[[Exchange], object], ...]
    newRequestId: Callable[[], str] | None = None
    deciding: Deciding | None = None
    terminating: Terminating | None = None
    reader: RequestReader = attr.field(init=False)
    trustedReader: RequestReader = attr.field(init=False)
    responseReader: ResponseReader = attr.field(init=False)
    tell: Tell = attr.field(init=False)
    redirect: Redirect | None = attr.field(init=False)
    pages: Mapping[int, Page] = attr.field(init=False)
    keepalive: float = attr.field(init=False)
    first: float = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        self.tell = Tell(config.forwarded)
        # A server may believe these whoever balances for it, asked for here or not.
        drop = [*self.tell.names, *NAMES]
        if config.request_id_header:
            drop.append(config.request_id_header.lower().encode())
        limits = (config.max_header_bytes, config.max_headers, config.max_uri)
        anyCase = config.connect_any_case
        self.reader = RequestReader(*limits, drop=drop, anyCase=anyCase)
        # What is written here has one author, or the two could not be told apart.
        ours = NAMES if config.client_cert_headers else ()
        self.trustedReader = RequestReader(*limits, drop=ours, anyCase=anyCase)
        self.responseReader = ResponseReader()
        self.redirect = REDIRECTS.get(config.redirect_https)
        self.pages = pagesOf(config.errors, config.errorfiles)
        self.keepalive = config.timeout_keepalive or config.timeout_request or config.timeout_client
        # Where both are set, the shorter one counts, as in HAProxy.
        both = [t for t in (config.timeout_request, config.timeout_client) if t]
        self.first = min(both, default=0.0)

    def tunnelTimeouts(self, pool: PoolConfig, settings: dict[str, Any] | None) -> Timeouts:
        """
        The timeouts of a tunnel between this frontend and a pool.

        @param settings: of the exchange.
        """
        return Timeouts.of(self.config, pool, settings)


@implementer(IHalfCloseableProtocol)
class HTTPFront(Timed):
    """
    One connection from a client.

    @ivar exchanges: how many it has begun.
    """

    __slots__ = (
        "_body", "_buffer", "_chunked", "_ended", "_ending", "_keep", "_left", "_lines",
        "_more", "_old", "_partial", "_progress", "_reading", "_received", "_relay", "_startedAt",
        "_certificateLines", "_freeAt", "_guard", "_kept", "_pool", "_raw", "_vars",
        "connection", "exchanges", "shared", "transport",
    )  # fmt: skip

    def __init__(
        self, shared: Shared, connection: Connection, pool: Pool | None,
        kept: dict[str, str] | None = None,
    ) -> None:
        """
        @param pool: where its exchanges go, unless a request rule says otherwise.
        @param kept: what connection rules keep for those of requests.
        """
        super().__init__()
        self.shared = shared
        self.connection = connection
        self._pool = pool
        self._vars = kept
        self._raw: bytes | None = None
        self._guard = None if connection.tls is None else connection.tls.guard
        self.transport: Any = None
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

    def __repr__(self) -> str:
        state = "busy" if self._relay is not None else "idle"
        return f"<HTTPFront {self.connection.client[0]} {state} {self.exchanges}>"

    @property
    def number(self) -> int:
        """Of the connection."""
        return self.connection.number

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

    def ended(self) -> None:
        """Nothing is left of the connection."""
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
        """Close after the exchange under way, at once without one."""
        self._keep = False
        if self._relay is None and self._partial is None and not self._ending:
            self.transport.loseConnection()

    def expired(self) -> None:
        relay = self._relay
        transport = self.transport
        if relay is None and not transport.unsent:
            if self._ending:
                transport.abortConnection()
            elif self._partial is None and (self.exchanges or self._isProbe):
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

    # back-pressure: L{lbtwist.http.relay.Flow}

    def stall(self) -> None:
        """Read no more for now."""
        self.expires = 0.0
        self.transport.pauseProducing()

    def goOn(self) -> None:
        """Read again."""
        if self._more:
            self._arm()
        if not self.transport.reading:
            self.transport.resumeProducing()

    def blocked(self) -> None:
        """The client does not take what is sent."""
        self._arm()

    def unblocked(self) -> None:
        """It does again."""
        self.expires = 0.0

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
        self._raw = rest if head.chunked and shared.deciding is not None else None
        trailers = b""
        end = True
        if head.length != 0:
            try:
                rest, end = self._beginBody(exchange, head, rest)
            except BadRequest as refused:
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
        self._relay = relay = kind(self, exchange, head, data, end, trailers)
        if shared.deciding is None:
            relay.proceed(self._pool)
            return
        if self._vars is not None:
            exchange.vars = dict(self._vars)
        shared.deciding.begin(relay, self._pool)

    def linesFor(self, exchange: Exchange, head: RequestHead) -> bytes:
        """@return: the lines that are added to a request for the server."""
        if self._old and not head.host:
            # The server is spoken to in HTTP/1.1, and refuses that without a Host (RFC
            # 9112 section 3.2): what the client connected to is named.
            head.fields.set(b"Host", authority(self.connection.local))
        lines = self._lines
        if not lines or self.connection.trusted or self.shared.newRequestId is not None:
            lines = self._ownLines(exchange, head)
        settings = exchange.settings
        if settings is not None and "told" in settings:
            lines = _besides(lines, settings["told"])
        return lines

    def _ownLines(self, exchange: Exchange, head: RequestHead) -> bytes:
        """The lines that tell the server of the client, kept where they can be."""
        shared = self.shared
        connection = self.connection
        scheme = b"https" if connection.secure else b"http"
        given = head.fields if connection.trusted else None
        tell = shared.tell
        asked = head.host if exchange.clientHost is None else exchange.clientHost
        lines = tell.lines(connection.client[0], connection.local[1], scheme, given, asked)
        if shared.config.client_cert_headers:
            lines += self._linesOfCertificate()
        # The next request may come in another version, and ask for another host.
        if shared.config.via:
            lines += b"Via: 1.%d %b\r\n" % (head.version - 10, shared.config.via.encode())
        elif not tell.rfc7239:
            self._lines = lines
        if shared.newRequestId is not None:
            name = shared.config.request_id_header.encode()
            theirs = head.fields.get(name.lower()) if connection.trusted else None
            if theirs:
                exchange.requestId = theirs.decode("latin-1")
            else:
                exchange.requestId = shared.newRequestId()
                head.fields.set(name, exchange.requestId.encode())
        return lines

    def _linesOfCertificate(self) -> bytes:
        lines = self._certificateLines
        if lines is None:
            connection = self.connection
            tls = connection.tls
            kinds = self.shared.config.client_cert_headers
            if tls is None:
                lines = certificateLines(kinds, connection.secure, 0, None)
            else:
                lines = certificateLines(kinds, True, tls.verify, tls.told, tls.chain)
            self._certificateLines = lines
        return lines

    def _beginBody(
        self, exchange: Exchange, head: RequestHead, data: bytes
    ) -> tuple[bytes, bool]:
        """@return: the payload among C{data}, and whether that is all."""
        most = self.shared.config.max_body
        self._more = True
        self._received = 0
        if head.chunked:
            self._body = ChunkedReader(_badBody)
        else:
            assert head.length is not None
            if most and head.length > most:
                raise BadRequest(413, f"a body of more than {most} bytes")
            self._body = None
            self._left = head.length
        self._arm()
        if not data:
            return b"", False
        return self._takeBody(exchange, data)

    def _takeBody(self, exchange: Exchange, data: bytes) -> tuple[bytes, bool]:
        reader = self._body
        exchange.bytesIn += len(data)
        if reader is None:
            left = self._left - len(data)
            if left > 0:
                self._left = left
                return data, False
            if left:
                self._buffer = data[left:]
                data = data[:left]
                exchange.bytesIn += left
        else:
            data = reader.feed(data)
            most = self.shared.config.max_body
            self._received += len(data)
            if most and self._received > most:
                raise BadRequest(413, f"a body of more than {most} bytes")
            if not reader.done:
                return data, False
            self._buffer = reader.rest
            exchange.bytesIn -= len(reader.rest)
            if self._raw is not None and reader.rest:
                self._raw = self._raw[: -len(reader.rest)]
        self._more = False
        self.expires = 0.0
        return data, True

    def _readBody(self, data: bytes) -> None:
        relay = self._relay
        assert relay is not None
        self._arm()
        if self._raw is not None:
            self._keepRaw(relay, data)
        try:
            payload, end = self._takeBody(relay.exchange, data)
        except BadRequest as refused:
            relay.requestBroken(refused.status, refused.reason)
            return
        if payload:
            relay.requestData(payload)
        if end and self._relay is relay:
            relay.requestEnd(self._takeTrailers())

    def _keepRaw(self, relay: Relay, data: bytes) -> None:
        """As long as it may come to a tunnel: what has come so far holds the client."""
        assert self._raw is not None
        self._raw = None if relay.back is not None else self._raw + data

    def _takeTrailers(self) -> bytes:
        reader, self._body = self._body, None
        return reader.trailers if reader is not None else b""

    @property
    def left(self) -> int:
        """Bytes of the request's body that are still to come; 0 where unknown."""
        return self._left if self._more and self._body is None else 0

    def passed(self, size: int) -> None:
        """Bytes of the body were passed on without being read here."""
        self._left -= size
        if self.transport.reading:
            self._arm()

    def passedAll(self) -> None:
        """All of the body was passed on."""
        self._more = False
        self.expires = 0.0

    # responses

    def sendInformational(self, exchange: Exchange, head: ResponseHead) -> None:
        """Pass an interim response on; HTTP/1.0 has none."""
        if not self._old:
            out = b"%b\r%b\r\n" % (head.line, head.fields.block)
            exchange.bytesOut += len(out)
            self.transport.write(out)

    def sendHead(
        self, exchange: Exchange, head: ResponseHead, data: bytes, end: bool, trailers: bytes
    ) -> None:
        """
        Begin the response.

        @param data: the first of the body.
        @param end: whether that is all of it.
        """
        line = head.line
        if head.version == 10:
            line = b"HTTP/1.1" + line[8:]
        more = b""
        self._chunked = False
        if head.length is None:
            if self._old:
                self._keep = False
            else:
                self._chunked = True
                more = b"Transfer-Encoding: chunked\r\n"
                if data:
                    data = chunk(data)
                if end:
                    data += lastChunk(trailers)
        if self.shared.config.via:
            more += b"Via: 1.%d %b\r\n" % (head.version - 10, self.shared.config.via.encode())
        if not self._keep or self._more or (self._ended and not self._buffer):
            more += b"Connection: close\r\n"
            self._keep = False
        elif self._old:
            more += b"Connection: keep-alive\r\n"
        out = b"%b\r%b%b\r\n%b" % (line, head.fields.block, more, data)
        exchange.bytesOut += len(out)
        self.transport.write(out)

    def sendData(self, exchange: Exchange, data: bytes) -> None:
        """More of the body."""
        if self._chunked:
            data = chunk(data)
        exchange.bytesOut += len(data)
        self.transport.write(data)

    def sendEnd(self, exchange: Exchange, data: bytes, trailers: bytes) -> None:
        """The last of the body."""
        if self._chunked:
            data = (chunk(data) if data else b"") + lastChunk(trailers)
        if data:
            exchange.bytesOut += len(data)
            self.transport.write(data)

    def sendPage(self, exchange: Exchange, status: int, bare: bool, more: bytes = b"") -> None:
        """
        Answer by ourselves; the connection is closed after it.

        @param status: of the page; one that has none is answered as 500.
        @param bare: without a body, because the request was a C{HEAD}.
        @param more: further lines of its head.
        """
        self._keep = False
        pages = self.shared.pages
        page = pages.get(status) or pages[500]
        exchange.status = page.status
        data = page.encode(True, bare)
        if data:
            data = data.replace(b"\r\n", b"\r\n" + more, 1) if more else data
            exchange.bytesOut += len(data)
            self.transport.write(data)

    def sendAnswer(self, exchange: Exchange, answer: Answer, bare: bool) -> None:
        """
        Answer as a rule says.

        @param bare: without a body, because the request was a C{HEAD}.
        """
        status = answer.status
        word = self._ownAnswer(exchange, status)
        lines = [b"%b: %b\r\n" % item for item in answer.fields]
        if word:
            lines.append(b"Connection: %b\r\n" % word)
        if status not in (204, 304):
            lines.append(b"Content-Length: %d\r\n" % len(answer.body))
        reason = responses.get(status, "Status").encode()
        data = b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, b"".join(lines))
        if not bare and status not in (204, 304):
            data += answer.body
        exchange.bytesOut += len(data)
        self.transport.write(data)

    def _ownAnswer(self, exchange: Exchange, status: int) -> bytes:
        """
        The connection may live on after an answer of our own.

        @return: what C{Connection} says in it; C{b""} for nothing.
        """
        exchange.status = status
        if self._more or (self._ended and not self._buffer):
            self._keep = False
        if not self._keep:
            return b"close"
        return b"keep-alive" if self._old else b""

    def closeAfter(self) -> None:
        """Close when the exchange is done."""
        self._keep = False

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
        self._keep = not self.shared.frontend.draining
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

    # what is answered without a relay

    def _answered(self, exchange: Exchange, cause: str, status: int, reason: str) -> None:
        exchange.reason = reason
        request = exchange.request
        self.sendPage(exchange, status, request is not None and request.method == b"HEAD")
        exchange.finish(cause, self.shared.deadlines.seconds())
        self.exchangeDone()

    def isSecure(self, head: RequestHead) -> bool:
        """Whether the client came over TLS, to us or to a proxy that is believed."""
        connection = self.connection
        if connection.secure or head.method == b"CONNECT":
            # A CONNECT names no address that it could be sent to.
            return True
        told = head.fields.get(b"x-forwarded-proto") if connection.trusted else None
        return told is not None and told.partition(b",")[0].strip().lower() == b"https"

    def _redirect(self, exchange: Exchange, head: RequestHead, redirect: Redirect) -> None:
        """Send the client to the same address with TLS."""
        location = secureLocation(head)
        if not location:
            self._answered(exchange, Cause.REFUSED, 400, "no Host to redirect to")
            return
        word = self._ownAnswer(exchange, self.shared.config.redirect_https)
        data = redirect.encode(location, word)
        exchange.bytesOut += len(data)
        self.transport.write(data)
        exchange.finish(Cause.LOCAL, self.shared.deadlines.seconds())
        self.exchangeDone()

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


def secureLocation(head: RequestHead) -> bytes:
    """@return: the same address with TLS; C{b""} if it names no host."""
    host = _withoutPort(head.host)
    target = b"/" if head.target == b"*" else head.target
    return b"https://%b%b" % (host, target) if host else b""


def _withoutPort(host: bytes) -> bytes:
    """
    @param host: the value of a C{Host} field (RFC 9110 section 7.2), checked.
    """
    if host.startswith(b"["):
        return host[: host.index(b"]") + 1]
    return host.partition(b":")[0]


def _besides(lines: bytes, told: frozenset[bytes]) -> bytes:
    """
    @param told: names of fields that a rule has written, in lower case.
    @return: the lines that tell of the client, without those.
    """
    ours = lines.splitlines(True)
    return b"".join(one for one in ours if one[: one.index(b":")].lower() not in told)


def _badBody(reason: str) -> BadRequest:
    return BadRequest(400, reason)
