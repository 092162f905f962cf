"""
Small HTTP servers inside the process, for configurations that need no server outside:
they answer with what they were asked, so that one sees what the balancer does.

Not for use as a web server, and not on the way of any other request.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IPullProducer
from twisted.internet.task import deferLater
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from lbtwist.errors import StartError
from lbtwist.options import Integer, Kind, Number
from lbtwist.server import Endpoint

SLOWEST = 30
"""The most seconds C{?slow=} lets a client wait."""

LARGEST = 10_000_000
"""The most bytes C{?size=} is answered with."""

_PIECE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n" * 512


class _Echo(Resource):
    """Answers every request with itself."""

    isLeaf = True

    def __init__(self, name: str, reactor: Any) -> None:
        super().__init__()
        self._name = name
        self._reactor = reactor

    def render(self, request: Request) -> Any:
        fields = request.responseHeaders
        fields.setRawHeaders("Content-Type", ["text/plain; charset=utf-8"])
        # It says what it is told: no browser shall take that for a page.
        fields.setRawHeaders("X-Content-Type-Options", ["nosniff"])
        try:
            slow = _number(request, b"slow", Number(0, SLOWEST))
            size = _number(request, b"size", Integer(0, LARGEST))
        except ValueError as wrong:
            request.setResponseCode(400)
            return f"{wrong}\n".encode()
        if slow is None:
            self._answer(request, size)
        else:
            later = self._reactor.callLater(slow, self._answer, request, size)
            request.notifyFinish().addErrback(lambda _gone: later.active() and later.cancel())
        return NOT_DONE_YET

    def _answer(self, request: Request, size: int | None) -> None:
        body = self._describe(request) if size is None else b""
        length = len(body) if size is None else size
        request.setHeader(b"Content-Length", b"%d" % length)
        if not size:
            request.write(body)
            request.finish()
        else:
            request.registerProducer(_Filler(request, size), False)

    def _describe(self, request: Request) -> bytes:
        peer = request.getClientAddress()
        lines = [f"This is the demonstration server {self._name}.", ""]
        lines.append(_text(b" ".join((request.method, request.uri, request.clientproto))))
        for name, values in request.requestHeaders.getAllRawHeaders():
            lines += [f"{_text(name)}: {_text(value)}" for value in values]
        lines.append("")
        told = request.requestHeaders.getRawHeaders(b"X-Forwarded-For")
        if told:
            lines.append(f"Client: {_text(b', '.join(told))} (says X-Forwarded-For)")
        lines.append(f"Connected: {peer.host}:{peer.port}")
        return "\n".join([*lines, ""]).encode()


def _number(request: Request, name: bytes, kind: Kind[Any]) -> Any:
    """@raise ValueError: if it is given and not acceptable."""
    values = request.args.get(name)
    if not values:
        return None
    try:
        return kind.parse(_text(values[-1]))
    except ValueError as wrong:
        raise ValueError(f"{_text(name)}: {wrong}") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


@implementer(IPullProducer)
class _Filler:
    """Writes some bytes as fast as they are taken, and no faster."""

    def __init__(self, request: Request, size: int) -> None:
        self._request = request
        self._left = size

    def resumeProducing(self) -> None:
        piece = _PIECE[: self._left]
        self._left -= len(piece)
        self._request.write(piece)
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """The client is gone."""


class _QuietSite(Site):
    """Keeps no access log: the balancer has one."""

    noisy = False

    def log(self, _request: Request) -> None:
        return


class _Connections(WrappingFactory):
    """Knows the connections, so that they can be ended."""

    noisy = False


class DemoServer:
    """
    One demonstration server on a port of its own of 127.0.0.1.

    It answers every path with its name, the request line, the fields and who the
    client is. C{?slow=SECONDS} lets it wait before, C{?size=BYTES} has it send so many
    bytes instead.

    @ivar name: what it calls itself.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._reactor: Any = None
        self._port: Any = None
        self._connections: _Connections | None = None

    def __repr__(self) -> str:
        return f"<DemoServer {self.name} {'runs' if self._port else 'stopped'}>"

    def start(self, reactor: Any) -> Endpoint:
        """
        Listen.

        @return: where it can be reached.
        @raise StartError: if there is no port.
        """
        self._reactor = reactor
        site = _QuietSite(
            _Echo(self.name, reactor), reactor=reactor, parsePOSTFormSubmission=False
        )
        self._connections = _Connections(site)
        try:
            self._port = reactor.listenTCP(0, self._connections, interface="127.0.0.1")
        except CannotListenError as failed:
            raise StartError(f"demo:{self.name}: {failed.socketError}") from None
        return Endpoint(socket.AF_INET, ("127.0.0.1", self._port.getHost().port))

    def stop(self) -> Deferred[None]:
        """
        Close, with every connection.

        @return: fires when nothing is left of it.
        """
        port, self._port = self._port, None
        connections, self._connections = self._connections, None
        if connections is None:
            return maybeDeferred(lambda: None)
        for connection in list(connections.protocols):
            connection.abortConnection()
        closed: Deferred[None] = maybeDeferred(port.stopListening)
        # Connections end in the reactor's next turn.
        return closed.addCallback(lambda _closed: deferLater(self._reactor, 0, lambda: None))
