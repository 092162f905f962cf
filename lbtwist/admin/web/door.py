"""
Connections of the administration by HTTP: where they come in, and what bounds them. The HTTP in
them is L{twisted.web}'s; what is answered is L{lbtwist.admin.web.site}'s.
"""

from __future__ import annotations

import ipaddress
from io import BytesIO
from typing import Any

from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from lbtwist.admin.history import History
from lbtwist.admin.scraping import Metrics
from lbtwist.admin.verbs import Commands
from lbtwist.admin.web.access import Access
from lbtwist.admin.web.answers import Problem
from lbtwist.admin.web.calls import Parts
from lbtwist.admin.web.readings import Readings
from lbtwist.admin.web.securing import Securing
from lbtwist.admin.web.site import HEAD, Root
from lbtwist.admin.web.streams import Streams
from lbtwist.admin.web.tokens import Tokens
from lbtwist.config.model import AdminBind, Bind
from lbtwist.errors import StartError
from lbtwist.net.addresses import listen
from lbtwist.net.listener import Listener
from lbtwist.net.tcp import Accepted
from lbtwist.net.tls import TLSAccepted
from lbtwist.service import LoadBalancer

LONGEST_BODY = 512 * 1024
"""Bytes of a body that is read: whatever its description allows fits in, in UTF-8."""

DROPPED_BODY = 4 * 1024 * 1024
"""So many of a longer one are taken, so that it can be answered that it is too long."""

MOST_AT_ONCE = 64
"""Connections of one address; more wait in the kernel's queue."""

PATIENCE = 20.0
"""Seconds in which a handshake, and then each request, has to be there as a whole, and in which
something of an answer has to be taken."""

_BACKLOG = 64
_LONGEST_NUMBER = 12


@provider(INonQueuedRequestFactory)
class Asked(Request):
    """
    A request, with no more of its body than can be used.

    @ivar tooLong: how many bytes that would be, where there are more; else 0.
    """

    content: BytesIO
    channel: Any
    tooLong = 0
    _taken = 0

    def __init__(self, channel: HTTPChannel) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken <= LONGEST_BODY:
            self.content.write(data)
        else:
            self.tooLong = LONGEST_BODY
            if self._taken > DROPPED_BODY:
                self.channel.forceAbortClient()

    def process(self) -> None:
        self.setHeader("Date", datetimeToString())
        self.channel.door.root.render(self)


class Channel(HTTPChannel):
    """One connection."""

    requestFactory: Any = Asked
    factory = None
    # Whoever sends a byte now and then does not get more time for it, so that of Twisted,
    # which begins anew with each, is not used.
    timeOut = None
    transport: Any

    def __init__(self, door: WebDoor) -> None:
        super().__init__()
        self.door = door
        self._timer: Any = None
        self._progress = 0
        self._refused = False

    def __repr__(self) -> str:
        return f"<Channel {self.door!r}>"

    def connectionMade(self) -> None:
        super().connectionMade()
        self._wait()

    def dataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> bool:
        """@return: whether nothing more is wanted."""
        super().lineReceived(line)
        return self._refused

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # That of Twisted says nothing, and goes on with the lines that follow, as a transport
        # that is closed at once does not stop it.
        if not self._refused:
            self._refused = True
            answer = Problem(400, "this is no request of HTTP/1.1").answer
            fields = {**HEAD, "Content-Type": answer.kind, "Content-Length": len(answer.body)}
            lines = [f"{name}: {value}\r\n" for name, value in fields.items()]
            head = f"HTTP/1.1 400 Bad Request\r\n{''.join(lines)}Connection: close\r\n\r\n"
            self.transport.write(head.encode() + answer.body)
            self.loseConnection()

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > _LONGEST_NUMBER:
            # More digits than Python makes a number of would be an exception.
            self._respondToBadRequestAndDisconnect()
            return False
        good: bool = super().headerReceived(line)
        return good

    def allContentReceived(self) -> None:
        self._still()
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self._wait()
        super().requestDone(request)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._still()
        super().connectionLost(reason)
        self.door.ended(self)

    def _wait(self) -> None:
        self._still()
        self._progress = self.transport.progress
        self._timer = self.door.reactor.callLater(PATIENCE, self._expired)

    def _still(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self) -> None:
        self._timer = None
        if self.transport.unsent and self.transport.progress != self._progress:
            # The last answer is taken, however slowly.
            self._wait()
        else:
            self.transport.abortConnection()


class WebDoor:
    """
    One address of C{web:}.

    @ivar root: answers.
    """

    def __init__(
        self, bind: AdminBind, balancer: LoadBalancer, commands: Commands, reactor: Any
    ) -> None:
        self.reactor = reactor
        self._bind = bind
        self._balancer = balancer
        self._tokens = Tokens(bind.tokens) if bind.tokens else None
        self._access = Access(
            self._tokens, balancer.deadlines.seconds, bind.port, bool(bind.tls),
            ipaddress.ip_address(bind.host).is_loopback,
        )  # fmt: skip
        self._history = History(balancer)
        readings = Readings(balancer, self._history)
        self._streams = Streams(readings)
        self._metrics = Metrics(balancer, reactor)
        parts = Parts(readings, commands, self._streams, self._access)
        self.root = Root(parts, self._metrics, bind.metrics == "open")
        self._listener: Listener | None = None
        self._connections: set[Channel | Securing] = set()

    def __repr__(self) -> str:
        return f"<WebDoor {self._bind} {len(self._connections)} connections>"

    def verify(self) -> None:
        """@raise StartError: if its tokens cannot be read."""
        if self._tokens is not None:
            try:
                self._tokens.open()
            except StartError as failed:
                raise StartError(f"{self._bind.where}: {self._bind}: {failed}") from None

    def open(self) -> None:
        """@raise StartError: if somebody else listens there, or as L{verify}."""
        self.verify()
        skt = listen(self._place)
        self._listener = Listener(skt, self._accepted, self.reactor)

    @property
    def _place(self) -> Bind:
        bind = self._bind
        return Bind("tcp", bind.host, bind.port, backlog=_BACKLOG, where=bind.where)

    @property
    def listening(self) -> list[tuple[Bind, int]]:
        """Where, and the descriptor of that; empty while it is not open."""
        return [] if self._listener is None else [(self._place, self._listener.fileno())]

    def handOver(self) -> None:
        """Answer only who is there: another process has the same socket."""
        if self._listener is not None:
            self._listener.stopListening()

    def start(self) -> None:
        """Begin to answer."""
        if self._listener is not None:
            self._history.start()
            self._streams.start()
            self._metrics.start()
            self._listener.startListening()

    @property
    def address(self) -> Any:
        """Where it really listens; L{None} if it does not."""
        return None if self._listener is None else self._listener.socket.getsockname()

    def channel(self) -> Channel:
        """@return: what speaks with one connection."""
        found = Channel(self)
        self._connections.add(found)
        return found

    def _accepted(self, transport: Accepted) -> None:
        if len(self._connections) + 1 >= MOST_AT_ONCE and self._listener is not None:
            self._listener.pauseAccepting()
        if not self._bind.tls:
            transport.startProtocol(self.channel())
            return
        section = self._balancer.tls(self._bind.tls)
        if section is None:
            # It is about to end.
            transport.socket.close()
            return
        securing = Securing(
            transport, section, self.reactor, PATIENCE, self._secured, self.ended
        )
        self._connections.add(securing)
        securing.start()

    def _secured(self, securing: Securing, transport: TLSAccepted) -> None:
        self._connections.discard(securing)
        transport.startTLSProtocol(self.channel())

    def ended(self, connection: Channel | Securing) -> None:
        """Nothing is left of one."""
        self._connections.discard(connection)
        if self._listener is not None and len(self._connections) < MOST_AT_ONCE:
            self._listener.resumeAccepting()

    def close(self) -> None:
        """Answer nothing more, and end what runs."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.stopListening()
        self._streams.stop()
        self._history.stop()
        self._metrics.stop()
        for connection in list(self._connections):
            if isinstance(connection, Securing):
                connection.abort()
            else:
                connection.transport.abortConnection()
