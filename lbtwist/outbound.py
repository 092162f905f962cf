"""
One attempt to connect to one server, with its deadline: the socket, the PROXY header,
TLS.

Which server, and what happens after a failure, is L{lbtwist.pool}'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbtwist.deadlines import Deadlines, Timed
from lbtwist.exchange import Exchange
from lbtwist.net.addresses import pair
from lbtwist.net.inside import Inside, ObjectEndpoint
from lbtwist.net.outgoing import Outgoing
from lbtwist.net.tls import TLSOutgoing
from lbtwist.server import Server


def outgoing(
    server: Server, protocol: Any, reactor: Any, exchange: Exchange | None = None
) -> Outgoing:
    """
    @param exchange: what it is for; L{None} for a check.
    @return: a connection to a server that is not being made yet.
    @raise OSError: if there is no descriptor for it.
    """
    endpoint = server.endpoint
    assert endpoint is not None, f"{server!r} has no address"
    transport: Outgoing
    if isinstance(endpoint, ObjectEndpoint):
        alone = exchange is not None and (exchange.request is None or server.private)
        transport = Inside(endpoint, protocol, reactor, exchange if alone else None)
    elif server.tls is None:
        transport = Outgoing(endpoint, protocol, reactor)
    else:
        transport = TLSOutgoing(endpoint, protocol, reactor, server.tls)
    if server.origin is not None:
        transport.prepare = server.origin.prepare(exchange)
    return transport


def sourceOf(transport: Any) -> tuple[str, int] | None:
    """@return: host and port of our side of a connection; L{None} where it is gone."""
    try:
        return pair(transport.socket.family, transport.socket.getsockname())
    except OSError:
        return None


class Attempt(Timed):
    """
    One connection being made.

    @ivar failed: called with an L{OSError} if it cannot be made or takes too
        long (then a L{TimeoutError}); never called after L{cancel}.
    """

    __slots__ = ("_connected", "_deadlines", "_protocol", "_transport", "failed")

    def __init__(
        self,
        server: Server,
        protocol: Any,
        reactor: Any,
        deadlines: Deadlines,
        failed: Callable[[OSError], None],
        connected: Callable[[Any], None],
        exchange: Exchange | None = None,
    ) -> None:
        """
        @param exchange: what it is for.
        @param protocol: gets C{makeConnection} with the transport that stands.
        @param connected: called with the protocol after that.
        """
        super().__init__()
        self._protocol = protocol
        self._deadlines = deadlines
        self.failed = failed
        self._connected = connected
        transport = outgoing(server, self, reactor, exchange)
        self._transport: Outgoing | None = transport
        greeting = server.proxy
        if greeting is not None and exchange is not None:
            transport.preface = lambda _: greeting(exchange)

    def start(self, timeout: float, now: float) -> None:
        """
        Begin.

        @param timeout: in seconds; 0 is no limit but the kernel's.
        """
        assert self._transport is not None
        self._deadlines.arm(self, timeout, now)
        self._transport.connect()

    def makeConnection(self, transport: Outgoing) -> None:
        self._transport = None
        self._deadlines.forget(self)
        protocol = self._protocol
        connected = self._connected
        # It is over: a circle would keep it until the collector comes.
        del self._connected, self.failed, self._protocol
        transport.protocol = protocol
        protocol.makeConnection(transport)
        connected(protocol)

    def connectFailed(self, failed: OSError) -> None:
        self._transport = None
        self._deadlines.forget(self)
        self.failed(failed)

    def expired(self) -> None:
        self.cancel()
        self.failed(TimeoutError("the connection was not made in time"))

    def cancel(self) -> None:
        """Give up without telling anybody."""
        self._deadlines.forget(self)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.cancel()
