"""
The bodies of requests: where they end, how much of them there may be, and what comes
after them. Not here: heads (L{lbtwist.http.front}), and to whom the data goes
(L{lbtwist.http.relay}).
"""

from __future__ import annotations

from lbtwist.errors import BadRequest
from lbtwist.exchange import Exchange
from lbtwist.http.clientside import ClientSide
from lbtwist.http.refusing import captureRequest
from lbtwist.http.relay import Relay
from lbtwist.sansio.chunked import ChunkedReader
from lbtwist.sansio.requesthead import RequestHead


class Receiving(ClientSide):
    """Reads the body of one request after the other."""

    __slots__ = ()

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
            captureRequest(self, refused, exchange=relay.exchange)
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
        trailers = reader.trailers if reader is not None else b""
        deciding = self.shared.deciding
        if trailers and deciding is not None:
            return deciding.requestTrailers(trailers)
        return trailers

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


def _badBody(reason: str) -> BadRequest:
    return BadRequest(400, reason)
