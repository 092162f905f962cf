"""
Connections that programs of this process make to servers of a pool, without a frontend: what
L{lbtwist.endpoint} does is done here.

A L{Call} gets a server as a session in C{mode = tcp} does, by persistence and balancer, with
its slot, the queue, more attempts, TLS and PROXY header; what then speaks with it is the
program's, by a L{Line}. Timeouts while it speaks are the program's own as well. There is no
line in an access log, which is a frontend's; servers and pools count it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Cause, Connection, Exchange, Stage
from lbtwist.interfaces import IExchangeObserver
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.stats import FrontendTraffic, count

_log = Logger()
_NOBODY = ("unix", 0)
_DONE = Failure(ConnectionDone())


class Callers:
    """
    The connections that programs make by one balancer. To exchanges it is their frontend.

    @ivar name: in counters by frontend; none that is written down can be called so.
    @ivar calls: those that have no connection yet.
    @ivar lines: connections.
    """

    name = "(lb)"
    watch: Any = None

    def __init__(self, deadlines: Deadlines, reactor: Any) -> None:
        self.traffic = FrontendTraffic()
        self.deadlines = deadlines
        self.reactor = reactor
        self.calls: set[Call] = set()
        self.lines: set[Line] = set()

    def __repr__(self) -> str:
        return f"<Callers {len(self.calls)} wait {len(self.lines)} connected>"

    def connect(
        self, pool: Pool, factory: Any, connection: Connection | None = None
    ) -> Deferred[Any]:
        """
        @param factory: builds the protocol, when there is a connection for it.
        @param connection: of whom it is made for; L{None}: the program itself, without an
            address.
        @return: see L{lbtwist.endpoint.PoolEndpoint.connect}.
        """
        try:
            factory.doStart()
        except Exception:
            return fail()
        now = self.deadlines.seconds()
        if connection is None:
            connection = Connection(0, _NOBODY, _NOBODY, now)
        # What servers are watched for, sessions tell when they are connected.
        observers: tuple[Callable[[Exchange], object], ...] = (count,)
        if IExchangeObserver.providedBy(pool.balancer):
            observers += (pool.balancer.exchangeFinished,)
        exchange = Exchange(connection, self, observers, now)
        exchange.pool = pool
        exchange.requestAt = now
        return Call(self, exchange, factory).start()

    def stop(self) -> None:
        """End all of it, at once."""
        for call in list(self.calls):
            call.fail(Cause.KILLED, ConnectError(string="the balancer is being stopped"))
        for line in list(self.lines):
            line.end()


class Call:
    """Somebody waits for a connection: L{lbtwist.connecting.Waiting}."""

    __slots__ = ("_callers", "_deferred", "_factory", "_pool", "exchange", "place")

    def __init__(self, callers: Callers, exchange: Exchange, factory: Any) -> None:
        self._callers = callers
        self._pool: Pool = exchange.pool
        self._factory = factory
        self._deferred: Deferred[Any] = Deferred(self._cancelled)
        self.exchange = exchange
        self.place: Any = None

    def __repr__(self) -> str:
        return f"<Call {self._pool.name} {self.exchange!r}>"

    def start(self) -> Deferred[Any]:
        self._callers.calls.add(self)
        try:
            self._pool.connect(self)
        except Exception as error:
            # A balancer that asks for a field of the request has none here.
            _log.failure("[pool {name}] has no server for a program", name=self._pool.name)
            self.fail(Cause.INTERNAL, ConnectError(string=self._said(f"{error!r}")))
        return self._deferred

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        # A protocol may do so while it is told of its connection: then that is ended.
        if self in self._callers.calls:
            self.fail(Cause.CLIENT, ConnectingCancelledError(f"[pool {self._pool.name}]"))

    def fail(self, cause: str, error: Exception | Failure) -> None:
        """It comes to nothing, and leaves whatever it waits for."""
        self._pool.leave(self)
        self._failed(cause, error)

    def _failed(self, cause: str, error: Exception | Failure) -> None:
        callers = self._callers
        callers.calls.discard(self)
        self.exchange.finish(cause, callers.deadlines.seconds())
        self._factory.doStop()
        self._deferred.errback(error)

    def _said(self, why: str) -> str:
        return f"[pool {self._pool.name}] {why}"

    # from the pool

    def reuse(self, server: Server) -> None:
        """What a connection was used for is not known: it is not used again."""

    def newConnection(self, server: Server) -> Line:
        return Line(self._callers, self.exchange, self._factory)

    def serverReady(self, protocol: Line) -> None:
        self._callers.calls.discard(self)
        self.exchange.stage = Stage.DATA
        built = protocol.begin()
        if self._deferred.called:
            protocol.abortConnection()
        elif isinstance(built, Failure):
            self._deferred.errback(built)
        else:
            self._deferred.callback(built)

    def serverUnavailable(self, cause: str, stage: str, status: int) -> None:
        exchange = self.exchange
        exchange.stage = stage
        why = exchange.reason
        if not why:
            why = "no server can be used now"
            if stage == Stage.QUEUE:
                why = "no server had room for it in time"
        kind = TimeoutError if cause == Cause.SERVER_TIMEOUT else ConnectError
        self._failed(cause, kind(string=self._said(why)))


class Line:
    """
    A connection to a server that is a program's: the protocol of our transport, and the
    transport of the program's protocol.

    Of our transports it tells what Twisted's would: C{connectionLost} is never called from
    inside of a call of the program.

    @ivar received: bytes so far.
    @ivar sent: likewise.
    """

    def __init__(self, callers: Callers, exchange: Exchange, factory: Any) -> None:
        self._callers = callers
        self._exchange = exchange
        self._factory = factory
        self._transport: Any = None
        self._protocol: Any = None
        self._cause = ""
        self._calling = 0
        self._late: Any = None
        self._reason: Failure = _DONE
        self.received = self.sent = 0

    def __repr__(self) -> str:
        return f"<Line {self._exchange.pool.name} {self.sent} sent {self.received} received>"

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport
        directlyProvides(self, providedBy(transport))

    def begin(self) -> Any:
        """@return: the program's protocol; a L{Failure} if it has none."""
        callers, server = self._callers, self._exchange.server
        assert server is not None
        callers.lines.add(self)
        server.sessions.add(self)
        self._calling += 1
        try:
            protocol = self._factory.buildProtocol(self._transport.getPeer())
            if protocol is None:
                raise NoProtocol
            self._protocol = protocol
            protocol.makeConnection(self)
            if IHandshakeListener.providedBy(protocol) and not self._transport.plain:
                protocol.handshakeCompleted()
        except Exception:
            self._cause = Cause.INTERNAL
            failed = Failure()
            if self._transport.connected:
                self._transport.abortConnection()
            return failed
        finally:
            self._calling -= 1
        return protocol

    # our transport's protocol

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self._protocol.dataReceived(data)

    def readConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self._transport.connectionLost(_DONE)

    def connectionLost(self, reason: Failure) -> None:
        exchange = self._exchange
        server, callers = exchange.server, self._callers
        assert server is not None
        server.sessions.discard(self)
        exchange.bytesIn, exchange.bytesOut = self.sent, self.received
        cause = self._cause
        if not cause:
            cause = Cause.SERVER
            if reason.check(ConnectionDone):
                cause = Cause.DONE
            elif reason.check(ConnectionAborted):
                cause = Cause.CLIENT
            else:
                exchange.reason = reason.getErrorMessage()
        if cause == Cause.DONE:
            exchange.stage = Stage.DONE
        exchange.finish(cause, callers.deadlines.seconds())
        self._reason = reason
        if self._calling:
            self._late = callers.reactor.callLater(0, self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        self._late = None
        self._callers.lines.discard(self)
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(self._reason)
        self._factory.doStop()

    def abortSession(self, cause: str) -> None:
        """Somebody else than the program ends it."""
        self._cause = self._cause or cause
        self._transport.abortConnection()

    def end(self) -> None:
        """End it at once, and tell the program now."""
        late = self._late
        if late is not None:
            late.cancel()
            self._tell()
        else:
            self.abortSession(Cause.KILLED)

    # the transport of the program's protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self._transport.write(data)

    def writeSequence(self, iovec: Any) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self, _reason: Any = None) -> None:
        self._ask(self._transport.loseConnection)

    stopProducing = loseConnection

    def abortConnection(self) -> None:
        self._ask(self._transport.abortConnection)

    def unregisterProducer(self) -> None:
        self._ask(self._transport.unregisterProducer)

    def _ask(self, method: Callable[[], object]) -> None:
        self._calling += 1
        try:
            method()
        finally:
            self._calling -= 1
