"""
What syslog messages go out by: a socket for datagrams, a stream, a stream with TLS. None of
them ever waits, and none knows a reactor: whoever has one asks it to go on.

When they are asked is L{lbtwist.syslog}'s.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from OpenSSL import SSL

from lbtwist.net.clienttls import ClientTLS
from lbtwist.net.handshake import HandshakeFailed, reasonOf
from lbtwist.sansio.syslogline import counted, ended

CHUNK = 256
"""Messages that are joined to be written at once."""

HEARD = 16
"""Pieces that are read, and thrown away, of what a server says in one step."""

UNANSWERED = 30_000
"""Milliseconds after which data that nobody has acknowledged ends a TCP connection."""

RECORD = 16384
"""Bytes of a record of TLS (RFC 8446 section 5.1)."""

MOST_UNKNOWN = 16 * 1024 * 1024
"""Bytes that a connection may have taken and not acknowledged: no kernel keeps more."""


class Gone(OSError):
    """The server has closed the connection."""

    def __init__(self) -> None:
        super().__init__(None, "the server has closed the connection")


class Messages:
    """
    Messages that wait, in order.

    @ivar size: bytes of them.
    """

    __slots__ = ("size", "_all")

    def __init__(self) -> None:
        self._all: deque[bytes] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, messages: Sequence[bytes]) -> None:
        self._all.extend(messages)
        self.size += sum(map(len, messages))

    def first(self, count: int) -> list[bytes]:
        return list(islice(self._all, count))

    def pop(self) -> bytes:
        message = self._all.popleft()
        self.size -= len(message)
        return message

    def giveBack(self, messages: Sequence[bytes]) -> None:
        """@param messages: come before all the others."""
        self._all.extendleft(reversed(messages))
        self.size += sum(map(len, messages))

    def clear(self) -> None:
        self._all.clear()
        self.size = 0


class Link(Protocol):
    """
    A connection, or what stands for one.

    @ivar ready: whether messages can be sent.
    @ivar lost: messages that are known to be lost, and that nobody has counted yet.
    """

    ready: bool
    lost: int

    @property
    def unknown(self) -> bool:
        """Whether it may still turn out that something of what was sent did not arrive."""

    def goOn(self) -> bool:
        """
        Go on with connecting.

        @return: whether it is ready.
        @raise OSError: if it will not be.
        """

    def send(self, queue: Messages) -> None:
        """
        Send what is taken, and see what has become of what was sent before.

        @raise OSError: if it has come to its end.
        """

    def undelivered(self) -> list[bytes]:
        """@return: messages that were sent and are not known to have arrived."""

    def waitFor(self, seconds: float) -> None:
        """Let time pass until it can go on."""

    def close(self) -> None:
        """End it; what the kernel has taken it still delivers."""


def _poll(skt: socket.socket, events: int, seconds: float) -> int:
    poll = select.poll()
    poll.register(skt, events)
    return sum(found for _, found in poll.poll(seconds * 1000))


class Datagrams:
    """
    A message in each datagram. Over UDP the first of all goes alone: where nobody listens
    the machine that it went to may say so, and then it is known which message that was.
    """

    ready = True

    def __init__(self, family: int, address: Any) -> None:
        """@raise OSError: if the address cannot be sent to."""
        self.lost = 0
        self._internet = family != socket.AF_UNIX
        self._proved = not self._internet
        self.unknown = False
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address)
        except BaseException:
            self._socket.close()
            raise

    def goOn(self) -> bool:
        return True

    def send(self, queue: Messages) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise self._refused(OSError(code, os.strerror(code)))
        if self.unknown:
            self._proved = True
            self.unknown = False
        while queue and (self._proved or not self.unknown):
            try:
                self._socket.send(queue.first(1)[0])
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return
                if error.errno != errno.EMSGSIZE:
                    raise self._refused(error) from None
                # No other attempt would do better.
                self.lost += 1
            else:
                self.unknown = self._internet
            queue.pop()

    def _refused(self, error: OSError) -> OSError:
        """@param error: over UDP it is of a message that was sent before."""
        if self.unknown and error.errno == errno.ECONNREFUSED:
            self.lost += 1
            self.unknown = False
        return error

    def undelivered(self) -> list[bytes]:
        return []

    def waitFor(self, seconds: float) -> None:
        _poll(self._socket, select.POLLOUT, seconds)

    def close(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.lost += self.unknown and code == errno.ECONNREFUSED
        self._socket.close()


class Stream:
    """
    Messages one after the other over TCP or a UNIX socket.

    @ivar unknown: whether not all was acknowledged by the machine of the server; of a UNIX
        socket: was read by the server.
    """

    def __init__(self, family: int, address: Any, octets: bool) -> None:
        """
        @param octets: messages begin with their length.
        @raise OSError: if it is clear at once that nobody is there.
        """
        self.ready = False
        self.lost = 0
        self._frame = counted if octets else ended
        self._internet = family != socket.AF_UNIX
        # Of the first message that waits, if a part of it was sent.
        self._part = 0
        # What the kernel has, the oldest first.
        self._taken: deque[bytes] = deque()
        self._size = 0
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            if self._internet:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED
                )
            code = self._socket.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except BaseException:
            self._socket.close()
            raise

    @property
    def unknown(self) -> bool:
        return bool(self._taken or self._part)

    def goOn(self) -> bool:
        if not _poll(self._socket, select.POLLOUT, 0):
            return False
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self.ready = True
        return True

    def send(self, queue: Messages) -> None:
        # What a UNIX socket has kept for a server that ends is gone as if it had been read:
        # it counts only if the server is there afterwards.
        left = self._left()
        self._hear()
        self._settle(left)
        while queue:
            frames = list(map(self._frame, queue.first(CHUNK)))
            data = b"".join(frames)
            try:
                sent = self._write(data[self._part :])
            except BlockingIOError:
                return
            self._advance(queue, frames, self._part + sent)

    def _advance(self, queue: Messages, frames: Iterable[bytes], sent: int) -> None:
        """@param sent: bytes of these frames."""
        for frame in frames:
            if len(frame) > sent:
                break
            sent -= len(frame)
            self._taken.append(queue.pop())
            self._size += len(frame)
        self._part = sent
        while self._size > MOST_UNKNOWN:
            self._forget()

    def _forget(self) -> int:
        """@return: bytes of the oldest that the kernel has: it has arrived."""
        size = len(self._frame(self._taken.popleft()))
        self._size -= size
        return size

    def _left(self) -> int:
        """@return: bytes that were not acknowledged, or not read (SIOCOUTQ: tcp(7), unix(7))."""
        if not self._taken:
            return 0
        said = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", said)[0])

    def _settle(self, left: int) -> None:
        """
        Forget what has arrived.

        @param left: bytes that have not.
        """
        if not left:
            self._taken.clear()
            self._size = 0
        elif self._exact:
            acknowledged = self._size + self._part - left
            while self._taken and len(self._frame(self._taken[0])) <= acknowledged:
                acknowledged -= self._forget()

    @property
    def _exact(self) -> bool:
        """Whether the kernel counts the bytes of messages alone."""
        return self._internet

    def _hear(self) -> None:
        for _ in range(HEARD):
            try:
                data = self._read()
            except BlockingIOError:
                return
            if not data:
                raise Gone()

    def _write(self, data: bytes) -> int:
        return self._socket.send(data)

    def _read(self) -> bytes:
        return self._socket.recv(4096)

    def undelivered(self) -> list[bytes]:
        if self._internet:
            with suppress(OSError):
                self._settle(self._left())
        return list(self._taken)

    def waitFor(self, seconds: float) -> None:
        _poll(self._socket, select.POLLOUT, seconds)

    def close(self) -> None:
        self._socket.close()


class TLSStream(Stream):
    """The same with TLS: it is not known where in its records the messages end."""

    _exact = False

    def __init__(self, family: int, address: Any, octets: bool, tls: ClientTLS) -> None:
        """@raise OSError: as of L{Stream}."""
        super().__init__(family, address, octets)
        self._tls = tls
        self._connection: SSL.Connection | None = None
        # OpenSSL wants to be given again what it could not write.
        self._again = b""

    def goOn(self) -> bool:
        if self._connection is None:
            if not super().goOn():
                return False
            self.ready = False
            self._connection = self._tls.start(self._socket, resume=False)
        try:
            self._connection.do_handshake()
        except (SSL.WantReadError, SSL.WantWriteError):
            return False
        except SSL.Error as error:
            self._tls.verify(self._connection)
            raise HandshakeFailed(reasonOf(error)) from None
        self._tls.verify(self._connection)
        self.ready = True
        return True

    def _write(self, data: bytes) -> int:
        assert self._connection is not None
        self._again = self._again or data[:RECORD]
        try:
            sent = self._connection.send(self._again)
        except (SSL.WantReadError, SSL.WantWriteError):
            raise BlockingIOError() from None
        except SSL.Error as error:
            raise OSError(None, reasonOf(error)) from None
        self._again = b""
        return sent

    def _read(self) -> bytes:
        assert self._connection is not None
        try:
            return self._connection.recv(4096)
        except (SSL.WantReadError, SSL.WantWriteError):
            raise BlockingIOError() from None
        except SSL.ZeroReturnError:
            return b""
        except SSL.SysCallError as error:
            if error.args[0] == -1:
                # It was closed without a word of TLS.
                return b""
            raise OSError(error.args[0], os.strerror(error.args[0])) from None
        except SSL.Error as error:
            raise OSError(None, reasonOf(error)) from None

    def waitFor(self, seconds: float) -> None:
        _poll(self._socket, select.POLLIN if not self.ready else select.POLLOUT, seconds)

    def close(self) -> None:
        if self._connection is not None and self.ready:
            with suppress(SSL.Error):
                self._connection.shutdown()
        super().close()
