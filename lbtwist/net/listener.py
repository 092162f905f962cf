"""
Listening sockets. Not here: how they are opened (L{lbtwist.net.addresses}), and what
becomes of the connections that are accepted (L{lbtwist.arrival}, L{lbtwist.inbound}).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import abstract
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.net.tcp import Accepted, twistedAddress

_LEFT = 0.005
"""Seconds for which a client is left to other processes, before he is looked at again."""

_MOST_QUEUED = 4096
"""The most that are accepted at once of a socket that is about to be closed."""


@implementer(IListeningPort)
class Listener(abstract.FileDescriptor):
    """
    A listening socket. Accepts until nobody waits, bounded per turn, and makes
    room when the process runs out of descriptors by waiting, not by dropping.

    @ivar accepted: called with an L{Accepted} for each connection.
    @ivar turn: asked before each whether it is to be accepted now, where other processes accept
        on the same socket; L{None} elsewhere.
    """

    reactor: Any
    _log = Logger()
    _batch = 1

    def __init__(self, skt: socket.socket, accepted: Callable[[Accepted], None], reactor: Any):
        super().__init__(reactor)
        self.socket = skt
        self.accepted = accepted
        skt.setblocking(False)
        self.fileno = skt.fileno  # type: ignore[method-assign]
        self.turn: Callable[[], bool] | None = None
        self._retry: Any = None
        self._paused = False
        self._shut = False

    def __repr__(self) -> str:
        where = self.socket.getsockname() if self.connected else "closed"
        return f"<Listener {where}>"

    def logPrefix(self) -> str:
        return "Listener"

    def startListening(self) -> None:
        """Begin to accept; the socket listens already."""
        self.connected = 1
        self.startReading()

    @property
    def isShut(self) -> bool:
        """Whether clients are refused for now, see L{shut}."""
        return self._shut

    def doRead(self) -> None:
        self._accept(self._batch)

    def hold(self) -> None:
        """Be there for others who accept; nothing is accepted here."""
        self.connected = 1
        self._paused = True

    def exhaust(self) -> None:
        """Accept whoever is in the kernel's queue by now, though there may be too many."""
        self.turn = None
        for _ in range(_MOST_QUEUED):
            self._paused = False
            if not self._accept(1):
                break

    def _accept(self, batch: int) -> int:
        """@return: how many were accepted."""
        accept = self.socket.accept
        reactor = self.reactor
        for done in range(batch):
            if self._paused or self._shut or not self.connected:
                return done
            if self.turn is not None and not self.turn():
                self.stopReading()
                self._retry = reactor.callLater(_LEFT, self._again)
                return done
            try:
                skt, client = accept()
            except (BlockingIOError, ConnectionAbortedError, PermissionError):
                self._batch = max(1, done)
                return done
            except OSError as failed:
                # EINVAL: another process of ours has shut it for a while.
                if failed.errno != errno.EINVAL:
                    self._log.error(
                        "cannot accept on {listener!r}: {failed}; trying again in 0.1 s",
                        listener=self, failed=failed,
                    )  # fmt: skip
                self.stopReading()
                self._retry = reactor.callLater(0.1, self._again)
                return done
            skt.setblocking(False)
            transport = Accepted(skt, client, reactor)
            try:
                self.accepted(transport)
            except Exception:
                # One connection is lost by it, and not the listener.
                failure = Failure()
                self._log.failure("a connection was accepted in vain", failure)
                if transport.connected:
                    transport.connectionLost(failure)
                else:
                    skt.close()
        self._batch = min(batch * 2, 256)
        return batch

    def _again(self) -> None:
        self._retry = None
        if self.connected and not self._paused and not self._shut:
            self.startReading()

    def pauseAccepting(self) -> None:
        """Leave clients in the kernel's queue."""
        if not self._paused:
            self._paused = True
            self.stopReading()

    def resumeAccepting(self) -> None:
        """Accept again."""
        if self._paused:
            self._paused = False
            if self._retry is None:
                self._again()

    def shut(self) -> None:
        """
        Let clients be refused, and keep the address. Those of a UNIX socket wait in the
        kernel's queue: one that has been shut cannot be opened again.
        """
        if not self._shut and self.connected:
            self._shut = True
            self.stopReading()
            if self.socket.family != socket.AF_UNIX:
                # On a listening socket of Linux this ends the listening (tcp_disconnect).
                self.socket.shutdown(socket.SHUT_RD)

    def open(self, backlog: int) -> None:
        """
        Be as before L{shut}.

        @raise OSError: if the address was taken meanwhile.
        """
        if self._shut:
            if self.socket.family != socket.AF_UNIX:
                self.socket.listen(backlog)
            self._shut = False
            if self._retry is None:
                self._again()

    def stopListening(self) -> None:
        """Close; clients that were not accepted are reset by the kernel."""
        if self.disconnected:
            return
        self.connected = 0
        self.disconnected = 1
        self.stopReading()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.socket.close()

    def connectionLost(self, reason: Failure) -> None:
        self.stopListening()

    def getHost(self) -> Any:
        return twistedAddress(self.socket.family, self.socket.getsockname())
