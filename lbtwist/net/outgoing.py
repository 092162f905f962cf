"""
Connections to servers, while they are made.

Not here: how many seconds one may take and what comes before its first bytes
(L{lbtwist.outbound}), and what its socket is bound to (L{lbtwist.snat}).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from errno import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EALREADY,
    ECONNABORTED,
    EINPROGRESS,
    EINVAL,
    EISCONN,
)
from typing import Any

from twisted.python.failure import Failure

from lbtwist.net.tcp import Transport, twistedAddress
from lbtwist.server import Endpoint

newSocket: Callable[..., socket.socket] = socket.socket
"""Makes the sockets of outgoing connections."""


class Outgoing(Transport):
    """
    A connection that is being made to a server.

    Its protocol gets C{makeConnection} when it stands, or C{connectFailed} with
    an L{OSError}, never both, and never from inside L{connect}.

    @ivar prepare: called with the socket before it connects; may set options and bind
        it, and raise L{OSError}. When no port is left for what it did, it is called
        again with a new socket, until it raises.
    @ivar preface: called with the socket once it has connected: what comes before
        everything else, and leaves together with what the protocol writes first.
    """

    prepare: Callable[[socket.socket], object] | None = None
    preface: Callable[[socket.socket], bytes] | None = None

    def __init__(self, endpoint: Endpoint, protocol: Any, reactor: Any) -> None:
        self.endpoint = endpoint
        self._coming = protocol
        self._early: Any = None
        super().__init__(_outgoingSocket(endpoint.family), reactor)

    def connect(self) -> None:
        """Begin to connect."""
        try:
            if self.prepare is not None:
                code = self._connectPrepared(self.prepare)
            else:
                code = self.socket.connect_ex(self.endpoint.address)
        except OSError as failed:
            if failed.strerror and self.prepare is not None:
                self._early = self.reactor.callLater(0, self._failed, failed)
                return
            code = failed.errno or EINVAL
        if code in (0, EISCONN, EINPROGRESS):
            self.doWrite = self._connected  # type: ignore[method-assign]
            self.reactor.addWriter(self)
        else:
            self._early = self.reactor.callLater(0, self._failed, OSError(code, os.strerror(code)))

    def _connectPrepared(self, prepare: Callable[[socket.socket], object]) -> int:
        while True:
            prepare(self.socket)
            code = self.socket.connect_ex(self.endpoint.address)
            if code not in (EADDRNOTAVAIL, EADDRINUSE):
                # It may know of the exchange, which ends before the connection does.
                self.prepare = None
                return code
            # A socket that was bound to a port cannot be bound to another.
            other = _outgoingSocket(self.endpoint.family)
            self.socket.close()
            Transport.__init__(self, other, self.reactor)

    def doRead(self) -> Any:
        # A failed connect may be reported as readable by some reactors.
        return self._connected() if not self.connected else super().doRead()

    def _connected(self) -> None:
        # An event may be an old one, of another socket with this number: only the
        # kernel knows whether this one is connected.
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        code = code or self.socket.connect_ex(self.endpoint.address)
        if code in (EALREADY, EINPROGRESS):
            return
        if code not in (0, EISCONN):
            self._failed(OSError(code, os.strerror(code)))
            return
        del self.doWrite
        self._established()

    def _established(self) -> None:
        """The socket has connected."""
        protocol, self._coming = self._coming, None
        preface, self.preface = self.preface, None
        if preface is None:
            self.startProtocol(protocol)
        else:
            # It waits: the first write joins it, and both are sent as one.
            first = preface(self.socket)
            self._waiting = [first]
            self._unsent = len(first)
            self.connected = 1
            self.protocol = protocol
            self.startReading()
            protocol.makeConnection(self)
        if self._waiting is None and not self.disconnected:
            self.reactor.removeWriter(self)

    def _failed(self, failed: OSError) -> None:
        self._early = None
        protocol = self._giveUp()
        if protocol is not None:
            protocol.connectFailed(failed)

    def _giveUp(self) -> Any:
        protocol, self._coming = self._coming, None
        if protocol is not None:
            self.disconnected = 1
            self.reactor.removeWriter(self)
            self.__dict__.pop("doWrite", None)
            self.socket.close()
            if self._early is not None:
                self._early.cancel()
                self._early = None
        return protocol

    def connectionLost(self, reason: Failure) -> None:
        if self._coming is not None:
            # Some reactors report the failure of a connect as a loss.
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or ECONNABORTED
            self._failed(OSError(code, os.strerror(code)))
        else:
            super().connectionLost(reason)

    def cancel(self) -> None:
        """Stop connecting; the protocol is told nothing."""
        self._giveUp()

    def getPeer(self) -> Any:
        return twistedAddress(self.endpoint.family, self.endpoint.address)

    def getHost(self) -> Any:
        return twistedAddress(self.endpoint.family, self.socket.getsockname())


def _outgoingSocket(family: int) -> socket.socket:
    skt = newSocket(family, socket.SOCK_STREAM)
    skt.setblocking(False)
    if family != socket.AF_UNIX:
        skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return skt
