"""
Answers of our own: pages, redirects, and what rules say. Not here: what the pages are
(L{lbtwist.http.pages}).
"""

from __future__ import annotations

from http.client import responses

from lbtwist.exchange import Cause, Exchange
from lbtwist.http.clientside import ClientSide
from lbtwist.http.pages import Redirect
from lbtwist.rules.decisions import Answer
from lbtwist.sansio.headers import oneLine
from lbtwist.sansio.requesthead import RequestHead


class Answering(ClientSide):
    """Answers a client where no server does."""

    __slots__ = ()

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
        head = exchange.request
        # A client takes it for a tunnel, and what follows for the target's (RFC 9110 section
        # 9.3.6): no request comes after it.
        tunnel = status < 300 and head is not None and head.method == b"CONNECT"
        if tunnel:
            self._keep = False
        word = self._ownAnswer(exchange, status)
        lines = [b"%b: %b\r\n" % (name, oneLine(value)) for name, value in answer.fields]
        if word:
            lines.append(b"Connection: %b\r\n" % word)
        if status not in (204, 304) and not tunnel:
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

    # without a relay

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
