"""
The built-in health checks: C{tcp}, a connection can be made, and C{http}, a request
is answered as it should be.

A check connects as requests do: with TLS where the server speaks it, and with a PROXY
header that says that the connection is our own. It probes once and says what it found
in HAProxy's words. When it is run, for how long, and what its results mean for a server
is L{lbtwist.monitor}'s.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.errors import BadResponse, BalancerError, MessageError
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.net.handshake import HandshakeFailed
from lbtwist.net.outgoing import Outgoing
from lbtwist.options import Kind, Pattern, Statuses, Text, Word, option
from lbtwist.outbound import outgoing
from lbtwist.sansio.chunked import ChunkedReader
from lbtwist.sansio.http1 import Partial
from lbtwist.sansio.responsehead import ResponseHead, ResponseReader

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Endpoint, Server

MAX_BODY = 65536
"""The most bytes of a response's body that are looked at."""

MAX_INFORMATIONAL = 16
"""Interim responses to one request; a server that sends more sends nothing else."""


class CheckCancelled(BalancerError):
    """
    A check was cancelled, as the monitor does when it takes too long.

    @ivar status: HAProxy's word for a timeout at the point the check had come to:
        C{L4TOUT} or C{L7TOUT}.
    @ivar detail: what was still awaited, for people.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class _Probe:
    """
    One connection of one check, closed as soon as the verdict is clear.

    @ivar verdict: fires with the L{Result}; when it is cancelled it fails with
        L{CheckCancelled}, and the connection is closed by then.
    """

    def __init__(self) -> None:
        self.verdict: Deferred[Result] = Deferred(self._cancelled)
        self.transport: Any = None
        self.ended = False

    def start(self, server: Server, reactor: Any) -> Deferred[Result]:
        try:
            self.transport = transport = outgoing(server, self, reactor)
            transport.preface = server.checkProxy
            transport.connect()
        except OSError as failed:
            self.finish(False, "SOCKERR", _why(failed))
        return self.verdict

    def connected(self) -> None:
        """The connection stands."""
        raise NotImplementedError

    def awaited(self) -> str:
        """What a server that has taken the connection still owes."""
        raise NotImplementedError

    def finish(self, passed: bool, status: str, detail: str) -> None:
        if self._close():
            self.verdict.callback(Result(passed, status, detail))

    def _close(self) -> bool:
        """@return: whether this is the end; there is one only."""
        if self.ended:
            return False
        self.ended = True
        transport, self.transport = self.transport, None
        if transport is not None:
            if transport.connected:
                transport.abortConnection()
            else:
                transport.cancel()
        return True

    def _cancelled(self, verdict: Deferred[Result]) -> None:
        stands = self.transport.connected
        self._close()
        if stands:
            verdict.errback(CheckCancelled("L7TOUT", self.awaited()))
        else:
            verdict.errback(CheckCancelled("L4TOUT", "no connection"))

    # told by the transport

    def connectFailed(self, failed: OSError) -> None:
        self.transport = None
        if isinstance(failed, HandshakeFailed):
            self.finish(False, "L6RSP", failed.reason)
        else:
            self.finish(False, "L4CON", _why(failed))

    def makeConnection(self, _transport: Outgoing) -> None:
        self.connected()

    def dataReceived(self, data: bytes) -> None:
        """The server sent something."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection ended, maybe by L{finish}."""


def _why(failed: OSError) -> str:
    return (failed.strerror or str(failed)).lower()


class _Connects(_Probe):
    """Is content with a connection, and a handshake where there is one."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def connected(self) -> None:
        transport = self.transport
        if transport.unsent or not transport.plain:
            # A reset would keep it from the server: the PROXY header, or the end of TLS.
            self.transport = None
            transport.loseConnection()
        self.finish(True, "L4OK" if self._server.tls is None else "L6OK", "")


@implementer(IHealthCheck)
class TCPCheck:
    """C{check = tcp}: passes where a connection can be made; nothing is asked."""

    @attr.frozen
    class Options:
        """It has none."""

    def __init__(self, _options: Options, context: Context) -> None:
        self._reactor = context.reactor

    def check(self, server: Server) -> Deferred[Result]:
        assert server.endpoint is not None, f"{server!r} has no address"
        return _Connects(server).start(server, self._reactor)


_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([!-~](?:[ \t!-~]*[!-~])?)")
_OURS = frozenset(("host", "connection", "content-length", "transfer-encoding", "upgrade"))


def _badPath(path: str) -> str | None:
    if re.fullmatch(r"/[!\"$-~]*|\*", path) is None:
        return f"{path!r} is not a path: it begins with / and has no space, no # and only ASCII"
    return None


def _badHost(host: str) -> str | None:
    if re.fullmatch(r"(?:[A-Za-z0-9._~%\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", host) is None:
        return f"{host!r} is not a host"
    return None


class _Field(Kind[tuple[str, ...]]):
    """One field of a request; there may be several."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[str, ...]:
        found = _FIELD.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a header field: write 'Name: value'")
        if found[1].lower() in _OURS:
            raise ValueError(f"{found[1]} is written by the check itself")
        return (text,)


@implementer(IHealthCheck)
class HTTPCheck:
    """
    C{check = http GET /health}: passes where the answer has an accepted status and,
    where that is asked for, the body that is wanted.
    """

    @attr.frozen
    class Options:
        """What is asked, and what answer passes."""

        method: str = option(
            Word("GET", "HEAD", "OPTIONS"), "GET", "The request's method.", positional=True
        )
        path: str = option(
            Text(), "/", "The request's target.", positional=True, check=_badPath
        )
        host: str = option(
            Text(), "", "The Host field; empty is the server's address.", check=_badHost
        )
        header: tuple[str, ...] = option(
            _Field(), (), "One more field of the request: 'Name: value'; may come again."
        )
        expect: tuple[tuple[int, int], ...] = option(
            Statuses(), ((200, 399),), "The statuses that pass."
        )
        body: str = option(Text(), "", "Text that the first 64 KiB of the body contain.")
        body_regex: re.Pattern[str] | None = option(
            Pattern(), None, "What is found in the first 64 KiB of the body, read as UTF-8."
        )

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self._reactor = context.reactor
        self.method = options.method.encode()
        self.text = options.body.encode()
        self.reader = ResponseReader()

    def check(self, server: Server) -> Deferred[Result]:
        endpoint = server.endpoint
        assert endpoint is not None, f"{server!r} has no address"
        return _Asks(self, self._request(endpoint)).start(server, self._reactor)

    def _request(self, endpoint: Endpoint) -> bytes:
        options = self.options
        host = options.host
        if not host:
            host = "localhost" if endpoint.family == socket.AF_UNIX else str(endpoint)
        lines = [f"{options.method} {options.path} HTTP/1.1", f"Host: {host}"]
        lines += options.header
        if not any(field.lower().startswith("user-agent:") for field in options.header):
            lines.append("User-Agent: lbtwist-check")
        lines += ["Connection: close", "", ""]
        return "\r\n".join(lines).encode("ascii")

    def expects(self, status: int) -> bool:
        """Whether a status passes."""
        return any(least <= status <= most for least, most in self.options.expect)

    @property
    def wantsBody(self) -> bool:
        """Whether the status alone is not enough."""
        return bool(self.text) or self.options.body_regex is not None


class _Asks(_Probe):
    """Sends one request and reads as much of the response as the verdict needs."""

    def __init__(self, check: HTTPCheck, request: bytes) -> None:
        super().__init__()
        self._check = check
        self._request = request
        self._partial: Partial | None = Partial(check.reader, b"")
        self._head: ResponseHead | None = None
        self._informed = 0
        self._chunks: ChunkedReader | None = None
        self._left = MAX_BODY
        self._whole = False
        self._body = bytearray()
        self._found = not check.text

    def connected(self) -> None:
        self.transport.write(self._request)

    def awaited(self) -> str:
        return "no response" if self._head is None else "no end of the response"

    def dataReceived(self, data: bytes) -> None:
        try:
            if self._head is None:
                self._readHead(data)
            else:
                self._readBody(data)
        except MessageError as broken:
            self.finish(False, "L7RSP", broken.reason)

    def connectionLost(self, reason: Failure) -> None:
        if self._head is None:
            self.finish(False, "L7RSP", "the connection ended before the response")
        elif self._whole or not reason.check(ConnectionDone):
            self.finish(False, "L7RSP", "the connection ended within the body")
        else:
            self._judge()

    def _readHead(self, data: bytes) -> None:
        while True:
            assert self._partial is not None
            whole = self._partial.feed(data)
            if whole is None:
                return
            head = self._check.reader.read(whole, self._check.method)
            assert head is not None, "a head that ends is read or refused"
            data = whole[head.size :]
            if head.status >= 200 or head.status == 101:
                break
            self._informed += 1
            if self._informed > MAX_INFORMATIONAL:
                raise BadResponse("interim responses without end")
            self._partial = Partial(self._check.reader, b"")
        self._partial = None
        self._head = head
        check = self._check
        if not check.expects(head.status):
            self.finish(False, "L7STS", _answer(head))
        elif not check.wantsBody:
            self.finish(True, "L7OK", _answer(head))
        else:
            if head.chunked:
                self._chunks = ChunkedReader(BadResponse)
                self._whole = True
            elif head.length is not None:
                self._left = min(head.length, MAX_BODY)
                self._whole = True
            self._readBody(data)

    def _readBody(self, data: bytes) -> None:
        chunks = self._chunks
        if chunks is not None:
            data = chunks.feed(data)
        body = self._body
        text = self._check.text
        begin = max(0, len(body) - len(text) + 1)
        body += data[: self._left]
        self._left -= len(data)
        if not self._found:
            self._found = body.find(text, begin) >= 0
        if (
            self._left <= 0
            or (chunks is not None and chunks.done)
            or (self._found and self._check.options.body_regex is None)
        ):
            self._judge()

    def _judge(self) -> None:
        """As much of the body has come as will be looked at."""
        assert self._head is not None
        pattern = self._check.options.body_regex
        if not self._found:
            self.finish(False, "L7RSP", "the body has not the text that is wanted")
        elif pattern is not None and pattern.search(self._body.decode("utf-8", "replace")) is None:
            self.finish(False, "L7RSP", "the body does not match")
        else:
            self.finish(True, "L7OK", _answer(self._head))


def _answer(head: ResponseHead) -> str:
    """Status and reason phrase, as far as a log line should trust them."""
    return head.line[9:80].decode("ascii", "backslashreplace").replace("\t", " ")
