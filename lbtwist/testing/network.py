"""
A network in memory for L{lbtwist.testing.memory}: a reactor that turns when it is
told to, and peers on UNIX sockets, on which every byte arrives at once.

Not here: the balancer between them.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

_START = 1000.0


@implementer(IReactorFDSet)
class Pump(Clock):
    """A reactor that turns when it is told to, and whose time stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = _START
        self._readers: dict[int, Any] = {}
        self._writers: dict[int, Any] = {}

    def addReader(self, reader: Any) -> None:
        self._readers[reader.fileno()] = reader

    def addWriter(self, writer: Any) -> None:
        self._writers[writer.fileno()] = writer

    def removeReader(self, reader: Any) -> None:
        self._forget(self._readers, reader)

    def removeWriter(self, writer: Any) -> None:
        self._forget(self._writers, writer)

    @staticmethod
    def _forget(watched: dict[int, Any], selectable: Any) -> None:
        for fd in [fd for fd, known in watched.items() if known is selectable]:
            del watched[fd]

    def removeAll(self) -> list[Any]:
        found = [*self._readers.values(), *self._writers.values()]
        self._readers.clear()
        self._writers.clear()
        return found

    def getReaders(self) -> list[Any]:
        return list(self._readers.values())

    def getWriters(self) -> list[Any]:
        return list(self._writers.values())

    def turn(self) -> None:
        """Do what can be done now, until there is nothing."""
        for _ in range(100_000):
            self.advance(0)
            if not self._poll():
                return
        raise AssertionError("the balancer spins")

    def _poll(self) -> bool:
        poller = select.poll()
        for fd in sorted(self._readers.keys() | self._writers.keys()):
            poller.register(
                fd,
                (select.POLLIN if fd in self._readers else 0)
                | (select.POLLOUT if fd in self._writers else 0),
            )
        worked = False
        for fd, event in poller.poll(0):
            if event & ~select.POLLOUT and fd in self._readers:
                self._run(self._readers[fd], "doRead")
                worked = True
            if event & ~select.POLLIN and fd in self._writers:
                self._run(self._writers[fd], "doWrite")
                worked = True
        return worked

    def _run(self, selectable: Any, method: str) -> None:
        why = getattr(selectable, method)()
        if why is None:
            return
        self.removeReader(selectable)
        half = method == "doRead" and IHalfCloseableDescriptor.providedBy(selectable)
        if half and isinstance(why, ConnectionDone):
            selectable.readConnectionLost(Failure(ConnectionDone()))
            return
        self.removeWriter(selectable)
        selectable.connectionLost(Failure(why if isinstance(why, Exception) else ConnectionLost()))


class WatchedSocket(socket.socket):
    """
    The balancer's end of a connection. UNIX sockets know no reset, so the two ends
    tell each other by this.

    @ivar aborted: the balancer closed it with a reset.
    @ivar reset: the peer did.
    """

    aborted = False
    reset = False

    def recv(self, *args: Any) -> bytes:
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return super().recv(*args)

    def setsockopt(self, *args: Any) -> None:
        self.aborted = self.aborted or args[1] == socket.SO_LINGER
        super().setsockopt(*args)


class InetSocket(WatchedSocket):
    """A UNIX socket that says it is an IPv4 one."""

    local = ("192.0.2.1", 80)

    @property
    def family(self) -> Any:
        return socket.AF_INET

    def getsockname(self) -> Any:
        return self.local


class OutgoingSocket(WatchedSocket):
    """A socket that connects to a L{MemoryServer}."""

    servers: Mapping[str, MemoryServer]
    _begun = False
    _plug: socket.socket

    def connect_ex(self, address: Any) -> int:
        server = None if self._begun else self.servers.get(address)
        self._begun = True
        if server is not None and server.hesitating is not None:
            self._hang()
            server.hesitating.append(self)
            return errno.EINPROGRESS
        code = super().connect_ex(address)
        if server is not None and not code:
            server.connected.append(self)
        return code

    def _hang(self) -> None:
        """Become what nothing can be read from or written to."""
        full, self._plug = socket.socketpair()
        with full, suppress(BlockingIOError):
            full.setblocking(False)
            os.dup2(full.fileno(), self.fileno(), inheritable=False)
            while True:
                full.send(bytes(65536))

    def goOn(self, path: str) -> None:
        """Become what has connected, unless it was closed."""
        if self.fileno() < 0:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
            connected.connect(path)
            connected.setblocking(False)
            os.dup2(connected.fileno(), self.fileno(), inheritable=False)
        self._plug.close()
        self.servers[path].connected.append(self)


class Peer:
    """One end of a connection, the other of which is the balancer's."""

    def __init__(self, skt: socket.socket, pump: Pump, ours: Any = None) -> None:
        """@param ours: the balancer's end, where resets are to be seen."""
        self.socket = skt
        self._ours = ours
        self._pump = pump
        self._read = b""
        self._wasReset = False
        skt.setblocking(False)

    def sends(self, data: bytes) -> None:
        """Send, all at once."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                assert self._pump._poll(), "the balancer does not read"
        self._pump.turn()

    def sendsPieces(self, data: bytes, size: int = 1) -> None:
        """Send in pieces, each of which arrives alone."""
        for at in range(0, len(data), size):
            self.sends(data[at : at + size])

    def _take(self) -> bool:
        """@return: whether the stream has ended."""
        self._pump.turn()
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                return False
            except ConnectionError:
                # Closed with something unread, which the kernel answers so.
                self._wasReset = True
                return True
            if not data:
                self._wasReset = self._ours is not None and self._ours.aborted
                return True
            self._read += data
            self._pump.turn()

    def receives(self, pattern: bytes) -> re.Match[bytes]:
        """Everything that has come matches, and is taken."""
        self._take()
        match = re.fullmatch(pattern, self._read, re.DOTALL)
        assert match is not None, f"received {self._read!r}, not {pattern!r}"
        self._read = b""
        return match

    def receivesExactly(self, data: bytes) -> None:
        """Everything that has come is this, and is taken."""
        self._take()
        assert self._read == data, f"received {self._read[:2000]!r}, not {data[:2000]!r}"
        self._read = b""

    def receivesNothing(self) -> None:
        """Nothing has come, and the connection stands."""
        assert not self._take(), f"closed after {self._read!r}"
        assert not self._read, f"received {self._read!r}"

    def isEnded(self) -> None:
        """Nothing more has come but the end, in good order."""
        ended = self._take()
        assert not self._read, f"received {self._read!r}"
        assert ended, "the connection stands"
        assert not self._wasReset, "it was reset"

    def isReset(self) -> None:
        """Nothing more has come but a reset."""
        ended = self._take()
        assert not self._read, f"received {self._read!r}"
        assert ended, "the connection stands"
        assert self._wasReset, "it was closed in good order"

    def ends(self) -> None:
        """End our side; we still read."""
        self.socket.shutdown(socket.SHUT_WR)
        self._pump.turn()

    def closes(self) -> None:
        """Close both sides."""
        self.socket.close()
        self._pump.turn()

    def resets(self) -> None:
        """Close with a reset."""
        self._ours.reset = True
        self.closes()


def _unread(skt: socket.socket) -> bool:
    try:
        return bool(skt.recv(1, socket.MSG_PEEK))
    except ConnectionError:
        return False


class MemoryServer:
    """
    One server.

    @ivar path: its address: a UNIX socket.
    @ivar connected: the balancer's ends of connections that were not accepted yet.
    @ivar hesitating: those of connections that it lets wait; L{None} if it does not.
    """

    def __init__(self, path: str, pump: Pump) -> None:
        self.path = path
        self.connected: deque[Any] = deque()
        self.hesitating: list[Any] | None = None
        self._peers: list[Peer] = []
        self._pump = pump
        self._listener: socket.socket | None = None
        self.comesBack()

    def comesBack(self) -> None:
        """Listen."""
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(100)
        listener.setblocking(False)

    def goesAway(self) -> None:
        """Refuse connections."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self.connected.clear()
            os.unlink(self.path)
        self._pump.turn()

    def hesitates(self) -> None:
        """Neither take connections nor refuse them."""
        self.hesitating = []

    def goesOn(self) -> None:
        """Take them again, those first that have waited."""
        waiting, self.hesitating = self.hesitating or [], None
        for ours in waiting:
            ours.goOn(self.path)
        self._pump.turn()

    def accepts(self) -> Peer:
        """
        The balancer has connected. A connection that was closed again without a
        byte, as those of checks are, is passed over.
        """
        self._pump.turn()
        assert self._listener is not None
        while True:
            try:
                skt, _ = self._listener.accept()
            except BlockingIOError:
                raise AssertionError("the balancer has not connected") from None
            peer = Peer(skt, self._pump, self.connected.popleft() if self.connected else None)
            self._peers.append(peer)
            poller = select.poll()
            poller.register(skt, select.POLLIN)
            if not any(event & select.POLLHUP for _, event in poller.poll(0)) or _unread(skt):
                return peer
            skt.close()

    def acceptsNothing(self) -> None:
        """The balancer has not connected."""
        try:
            peer = self.accepts()
        except AssertionError:
            return
        peer.socket.close()
        raise AssertionError("the balancer has connected")

    def stop(self) -> None:
        """Refuse connections, and close those that stand."""
        self.goesAway()
        for peer in self._peers:
            peer.socket.close()
        self._pump.turn()
