"""
Responses that are passed on: framed anew for the client, so that its connection lives on
where a body ends with the server's. Not here: answers of our own
(L{lbtwist.http.answering}).
"""

from __future__ import annotations

from lbtwist.exchange import Exchange
from lbtwist.http.clientside import ClientSide
from lbtwist.sansio.chunked import chunk, lastChunk
from lbtwist.sansio.responsehead import ResponseHead


class Responding(ClientSide):
    """Writes one response after the other; one at a time."""

    __slots__ = ()

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
