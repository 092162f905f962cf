"""
The check C{grpc}: a gRPC server says that it, or one service of it, is serving (gRPC's
"GRPC Health Checking Protocol", C{grpc.health.v1.Health/Check}).

One request over HTTP/2, which the library h2 frames; of HTTP/2 and of Protocol Buffers no more
is spoken than that takes. It is there with the extra C{http2}.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.checks.probe import Probe, shown
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.options import Text, option

try:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
    )
    from h2.exceptions import ProtocolError
except ImportError as missing:
    raise ImportError(f"{missing}; install it with pip install 'lbtwist[http2]'") from None

if TYPE_CHECKING:
    from OpenSSL import SSL

    from lbtwist.registry import Context
    from lbtwist.server import Endpoint, Server

MOST = 65536
"""Bytes of a server that are listened to."""

_LONGEST_MESSAGE = 64
_STREAM = 1
# The type of the first frame of either side, and where it stands in it (RFC 9113 section 3.4).
_SETTINGS = 4
_TYPE = 3
_ALPN = b"h2"
_PATH = "/grpc.health.v1.Health/Check"

# grpc.health.v1.HealthCheckResponse.ServingStatus.
_SERVING = 1
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")

# gRPC's "Status codes and their use in gRPC".
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
    "UNAUTHENTICATED",
)  # fmt: skip


def _framed(message: bytes) -> bytes:
    """A Length-Prefixed-Message that is not compressed (gRPC over HTTP2)."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _asking(service: str) -> bytes:
    """A HealthCheckRequest: its field 1 is the service, and absent if that is empty."""
    name = service.encode()
    if not name:
        return b""
    # A length below 128 is one byte of a varint; the option's check has seen to that.
    return bytes((0x0A, len(name))) + name


def stateIn(message: bytes) -> int | None:
    """
    @param message: a HealthCheckResponse.
    @return: the value of its field 1, 0 if it is absent; L{None} if it cannot be read.
    """
    state = 0
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            if key >> 3 == 1:
                state = value
        elif kind == 2:
            size, at = _varint(message, at)
            at += size
        else:
            return None
        if key == 0 or at > len(message):
            return None
    return state


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """@return: a number, and where it ends, beyond the end of C{data} if it does not."""
    value = 0
    for place in range(10):
        if at + place >= len(data):
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    return 0, len(data) + 1


class _Protocol:
    """The TLS of a server, with HTTP/2 offered by ALPN, which gRPC wants."""

    def __init__(self, side: Any) -> None:
        self._side = side

    def start(self, skt: socket.socket) -> SSL.Connection:
        # A session that is resumed would bring the protocol of its connection.
        connection: SSL.Connection = self._side.start(skt, resume=False)
        connection.set_alpn_protos([_ALPN])
        return connection

    def verify(self, connection: SSL.Connection) -> None:
        self._side.verify(connection)

    def ended(self, connection: SSL.Connection) -> None:
        """Its session is not for others."""


class Call(Probe):
    """
    One call of C{Check}.

    The verdict is given when the stream has ended, or as soon as it is clear that nothing of
    use will come.
    """

    def __init__(self, authority: str, scheme: str, service: str) -> None:
        super().__init__()
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._fields = [
            (":method", "POST"), (":scheme", scheme), (":path", _PATH),
            (":authority", authority), ("te", "trailers"),
            ("content-type", "application/grpc"), ("user-agent", "lbtwist-check"),
        ]  # fmt: skip
        self._message = _framed(_asking(service))
        self._left = MOST
        self._said: dict[bytes, bytes] = {}
        self._body = b""

    def connected(self) -> None:
        h2 = self._h2
        h2.initiate_connection()
        h2.send_headers(_STREAM, self._fields)
        h2.send_data(_STREAM, self._message, end_stream=True)
        self.transport.write(h2.data_to_send())

    def awaited(self) -> str:
        return "no end of the response" if self._said else "no response"

    def dataReceived(self, data: bytes) -> None:
        if self.ended:
            return
        at = MOST - self._left
        self._left -= len(data)
        if at <= _TYPE < at + len(data) and data[_TYPE - at] != _SETTINGS:
            # The library would wait for as many bytes as the words of HTTP/1 are as a number.
            self.finish(False, "L7RSP", "this is not HTTP/2")
        elif self._left < 0:
            self.finish(False, "L7RSP", f"more than {MOST} bytes, and {self.awaited()}")
        if self.ended:
            return
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as broken:
            self.finish(False, "L7RSP", f"this is not HTTP/2: {broken}"[:200])
            return
        for event in events:
            self._happened(event)
            if self.ended:
                return
        # Acknowledgements of settings and pings.
        answer = self._h2.data_to_send()
        if answer:
            self.transport.write(answer)

    def _happened(self, event: object) -> None:
        if isinstance(event, (ResponseReceived, TrailersReceived)):
            for name, value in event.headers or ():
                self._said[bytes(name)] = bytes(value)
            status = self._said.get(b":status", b"")
            if status != b"200":
                self.finish(False, "L7STS", f"HTTP status {shown(status)}")
        elif isinstance(event, DataReceived):
            self._body += event.data or b""
            if len(self._body) > _LONGEST_MESSAGE:
                self.finish(False, "L7RSP", "an answer that is too long")
        elif isinstance(event, StreamEnded):
            self._judge()
        elif isinstance(event, StreamReset):
            self.finish(False, "L7RSP", f"the stream was reset: {_errorOf(event.error_code)}")
        elif isinstance(event, ConnectionTerminated) and event.error_code:
            self.finish(False, "L7RSP", f"GOAWAY: {_errorOf(event.error_code)}")

    def _judge(self) -> None:
        written = self._said.get(b"grpc-status", b"")
        if not written.isdigit() or len(written) > 2:
            self.finish(False, "L7RSP", "no grpc-status: this is not gRPC")
            return
        code = int(written)
        if code:
            name = _CODES[code] if code < len(_CODES) else str(code)
            words = shown(self._said.get(b"grpc-message", b""))
            self.finish(False, "L7STS", f"{name}: {words}" if words else name)
            return
        body = self._body
        state = None
        if body[:1] == b"\0" and int.from_bytes(body[1:5], "big") == len(body) - 5:
            state = stateIn(body[5:])
        if state is None:
            self.finish(False, "L7RSP", "the answer is not as gRPC's health checks have it")
        else:
            name = _STATES[state] if state < len(_STATES) else f"status {state}"
            passed = state == _SERVING
            if self._close(politely=True):
                self.verdict.callback(Result(passed, "L7OK" if passed else "L7STS", name))

    def connectionLost(self, reason: Failure) -> None:
        self.finish(False, "L7RSP", "the connection ended before the answer")


def _errorOf(code: Any) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"


def _badService(service: str) -> str | None:
    if len(service.encode()) > 127 or not service.isprintable():
        return f"{service[:40]!r} is not the name of a service: up to 127 bytes are accepted"
    return None


@implementer(IHealthCheck)
class GRPCCheck:
    """C{check = grpc}: passes where the server says that it is serving."""

    @attr.frozen
    class Options:
        """Which service is asked for."""

        service: str = option(
            Text(), "", "The service that is asked for; empty is the server as a whole.",
            check=_badService,
        )  # fmt: skip

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._reactor = context.reactor

    def check(self, server: Server) -> Deferred[Result]:
        endpoint = server.endpoint
        assert endpoint is not None, f"{server!r} has no address"
        scheme = "http"
        if server.tls is not None:
            scheme = "https"
            server = attr.evolve(server, tls=_Protocol(server.tls))
        call = Call(_authorityOf(endpoint), scheme, self._options.service)
        return call.start(server, self._reactor)


def _authorityOf(endpoint: Endpoint) -> str:
    return "localhost" if endpoint.family == socket.AF_UNIX else str(endpoint).partition("%")[0]
