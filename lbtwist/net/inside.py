"""
Connections to servers that are objects of this process: the two ends of a socket pair.

One end is an ordinary connection to a server, so that nothing above this module knows of the
difference; the other one belongs to a protocol that the object has built. A pair, and no
listening socket of whatever kind: it takes one system call in place of three, has no name that
another process could connect to or that could be left behind, no queue that could be full, and
it fails for want of descriptors alone. Twisted can adopt a descriptor of TCP only.

Not here: what such an object may be (L{lbtwist.objects}).
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.address import UNIXAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.net.outgoing import Outgoing
from lbtwist.net.tcp import Accepted, Transport, twistedAddress
from lbtwist.server import Endpoint

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange

_log = Logger()


class Host:
    """
    One object that is a server, and the connections to it.

    @ivar name: what the configuration calls it.
    @ivar factory: builds its protocols; L{None} as long as nobody has given it.
    @ivar connections: their ends that the object has.
    """

    def __init__(self, name: str, factory: Any = None) -> None:
        self.name = name
        self.factory = factory
        self.connections: set[Hosted] = set()

    def __repr__(self) -> str:
        return f"<Host {self.name} {len(self.connections)} connections>"

    def close(self) -> None:
        """End all connections, at once."""
        for connection in list(self.connections):
            connection.end()


@attr.frozen
class ObjectEndpoint(Endpoint):
    """
    Where an object can be connected to.

    @ivar host: the object.
    """

    host: Host = attr.field(kw_only=True)

    @classmethod
    def of(cls, host: Host) -> ObjectEndpoint:
        return cls(socket.AF_UNIX, f"object:{host.name}", host=host)

    def __str__(self) -> str:
        return str(self.address)


class Inside(Outgoing):
    """
    A connection to an object.

    @ivar exchange: what the connection is made for, where it is for one only; L{None} for a
        check, and where others may use it after this one.
    """

    endpoint: ObjectEndpoint

    def __init__(
        self, endpoint: ObjectEndpoint, protocol: Any, reactor: Any,
        exchange: Exchange | None = None,
    ) -> None:  # fmt: skip
        """@raise OSError: if there are no descriptors."""
        self.endpoint = endpoint
        self.exchange = exchange
        self._coming = protocol
        self._early = None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._theirs: socket.socket | None = theirs
        Transport.__init__(self, ours, reactor)

    def connect(self) -> None:
        self.doWrite = self._connected  # type: ignore[method-assign]
        self.reactor.addWriter(self)

    def _connected(self) -> None:
        skt, self._theirs = self._theirs, None
        if skt is None:
            return
        hosted = Hosted(skt, self)
        protocol = None
        factory = self.endpoint.host.factory
        if factory is not None:
            try:
                protocol = factory.buildProtocol(hosted.getPeer())
            except Exception:
                _log.failure("{endpoint} has failed to build a protocol", endpoint=self.endpoint)
        if protocol is None:
            skt.close()
            self._failed(OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
            return
        del self.doWrite
        hosted.begin(protocol)
        self._established()

    def _giveUp(self) -> Any:
        skt, self._theirs = self._theirs, None
        if skt is not None:
            skt.close()
        return super()._giveUp()

    @property
    def current(self) -> Exchange | None:
        """The exchange that uses it now."""
        if self.exchange is not None:
            return self.exchange
        # Of a connection that several use, one after the other, its protocol knows.
        relay = getattr(getattr(self, "protocol", None), "relay", None)
        found: Exchange | None = getattr(relay, "exchange", None)
        return found


class Hosted(Accepted):
    """
    The object's end of a connection.

    It ends as Twisted's transports do: C{connectionLost} is never called from inside a call
    of the protocol.
    """

    def __init__(self, skt: socket.socket, near: Inside) -> None:
        super().__init__(skt, "", near.reactor)
        self._near: Inside | None = near
        self._host = near.endpoint.host
        self._ending: Any = None
        connection = None if near.exchange is None else near.exchange.connection
        # Where there is nothing else to tell, it is a socket without a name.
        self._peer = self._own = UNIXAddress(None)
        if connection is not None:
            self._peer = addressOf(connection.client)
            self._own = addressOf(connection.local)

    def begin(self, protocol: Any) -> None:
        """Hand it to a protocol of the object."""
        self._host.connections.add(self)
        self.startProtocol(protocol)

    @property
    def exchange(self) -> Exchange | None:
        """What it is used for now; L{None} of a check, and where the client is gone."""
        return None if self._near is None else self._near.current

    def getPeer(self) -> Any:
        """@return: the client, where the connection is that client's alone."""
        return self._peer

    def getHost(self) -> Any:
        """@return: what that client has connected to."""
        return self._own

    def _close(self) -> None:
        if self._ending is None:
            self.disconnecting = 1
            self.stopReading()
            self._ending = self.reactor.callLater(0, self._closed)

    def _closed(self) -> None:
        self._ending = None
        super()._close()

    def abortConnection(self) -> None:
        if self.disconnected:
            return
        if self._ending is not None:
            self._ending.cancel()
        self.stopReading()
        self.stopWriting()
        self._ending = self.reactor.callLater(0, self._aborted)

    def _aborted(self) -> None:
        self._ending = None
        super().abortConnection()

    def end(self) -> None:
        """End it at once; nobody of the object asks for it."""
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            ending.cancel()
        self._near = None
        self._host.connections.discard(self)
        super().connectionLost(reason)


def addressOf(told: tuple[str, int]) -> Any:
    """
    @param told: host and port, as L{lbtwist.exchange.Connection} has them.
    @return: the same as Twisted's interfaces tell it.
    """
    if told[0] == "unix":
        return UNIXAddress(None)
    return twistedAddress(socket.AF_INET6 if ":" in told[0] else socket.AF_INET, told)
