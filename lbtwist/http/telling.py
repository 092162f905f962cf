"""
What a server is told of the client: the lines that are added to a request. Not here: what
such lines look like (L{lbtwist.sansio.headers}, L{lbtwist.sansio.clientcert}).
"""

from __future__ import annotations

from lbtwist.exchange import Exchange
from lbtwist.http.clientside import ClientSide
from lbtwist.net.addresses import authority
from lbtwist.sansio.clientcert import certificateLines
from lbtwist.sansio.requesthead import RequestHead


class Telling(ClientSide):
    """Tells servers of the client; what it tells every time is kept."""

    __slots__ = ()

    def linesFor(self, exchange: Exchange, head: RequestHead) -> bytes:
        """@return: the lines that are added to a request for the server."""
        if self._old and not head.host:
            # The server is spoken to in HTTP/1.1, and refuses that without a Host (RFC
            # 9112 section 3.2): what the client connected to is named.
            head.fields.set(b"Host", authority(self.connection.local))
        lines = self._lines
        if not lines or self.connection.trusted or self.shared.newRequestId is not None:
            lines = self._ownLines(exchange, head)
        tracing = self.shared.tracing
        if tracing is not None:
            tracing.follow(exchange, head)
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


def _besides(lines: bytes, told: frozenset[bytes]) -> bytes:
    """
    @param told: names of fields that a rule has written, in lower case.
    @return: the lines that tell of the client, without those.
    """
    ours = lines.splitlines(True)
    return b"".join(one for one in ours if one[: one.index(b":")].lower() not in told)
