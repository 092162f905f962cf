"""
Messages between two processes of one balancer, open descriptors with them, over a pair of UNIX
sockets.

A message is a name and values. Which there are, and what they mean, is not known here. What a
worker says is JSON: it has met the bytes of strangers. What the parent says may be any value of
Python (pickle): who can write there can do whatever he likes anyway.
"""

from __future__ import annotations

import array
import json
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

HEAD = struct.Struct("!IB")
"""Of each message: the length of what follows, and how many descriptors come with it."""

LONGEST = 256 * 1024 * 1024
"""Bytes of a message: far more than there are, even of a configuration with all its files."""

MOST_DESCRIPTORS = 250
"""The kernel takes 253 at once (SCM_MAX_FD)."""

_READ_SIZE = 262144

Received = Callable[[str, list[Any], list[int]], object]
"""The name of a message, its values, and descriptors, which are the receiver's to close."""


def asJSON(message: Sequence[Any]) -> bytes:
    """@return: a message of plain values."""
    return json.dumps(message, separators=(",", ":")).encode()


def asPickle(message: Sequence[Any]) -> bytes:
    """@return: a message of any values."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


@implementer(IReadWriteDescriptor)
class Channel:
    """
    One end.

    @ivar unsent: bytes that the other side has not taken yet. Where they become more than
        L{LONGEST} it does not read, and counts as lost.
    @ivar sent: called when the other side has taken all there was.
    """

    def __init__(
        self, skt: socket.socket, reactor: Any, received: Received,
        lost: Callable[[], object], write: Callable[[Sequence[Any]], bytes],
        read: Callable[[bytes], Any],
    ) -> None:
        """
        @param lost: called once, when the other side is not there any more.
        @param write: makes bytes of a message; C{read} the opposite, of the other side's.
        """
        skt.setblocking(False)
        self._socket = skt
        self._reactor = reactor
        self._received = received
        self._lost = lost
        self._encode = write
        self._decode = read
        self._waiting: deque[tuple[memoryview, list[int]]] = deque()
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()
        self._connected = True
        self.unsent = 0
        self.sent: Callable[[], object] = lambda: None
        reactor.addReader(self)

    def __repr__(self) -> str:
        return f"<Channel {'open' if self._connected else 'closed'} {self.unsent} unsent>"

    @property
    def isOpen(self) -> bool:
        """Whether anybody may be there."""
        return self._connected

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "Channel"

    def send(self, name: str, *values: Any, descriptors: Sequence[int] = ()) -> None:
        """
        Say something, in its turn; nothing if nobody is there any more.

        @param descriptors: stay the caller's.
        """
        if not self._connected:
            return
        if self.unsent > LONGEST:
            self.connectionLost(Failure(CONNECTION_LOST))
            return
        if len(descriptors) > MOST_DESCRIPTORS:
            raise ValueError(f"{len(descriptors)} descriptors are more than go with a message")
        data = self._encode((name, *values))
        head = HEAD.pack(len(data), len(descriptors))
        self._put(head + data, [os.dup(one) for one in descriptors])

    def _put(self, data: bytes, descriptors: list[int]) -> None:
        self._waiting.append((memoryview(data), descriptors))
        self.unsent += len(data)
        if len(self._waiting) == 1:
            self._reactor.addWriter(self)

    def doWrite(self) -> Any:
        while self._waiting:
            data, descriptors = self._waiting[0]
            ancillary = []
            if descriptors:
                rights = array.array("i", descriptors)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            try:
                sent = self._socket.sendmsg([data], ancillary)
            except BlockingIOError:
                return None
            except OSError:
                return CONNECTION_LOST
            for one in descriptors:
                os.close(one)
            self.unsent -= sent
            if sent == len(data):
                self._waiting.popleft()
            else:
                self._waiting[0] = (data[sent:], [])
        self._reactor.removeWriter(self)
        self.sent()
        return None

    def finish(self) -> None:
        """The other side has ended: hear what it has said before, and close."""
        try:
            while self._hasMore() and self.doRead() is None:
                pass
        finally:
            self.close()

    def _hasMore(self) -> bool:
        try:
            return self._connected and bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def doRead(self) -> Any:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                _READ_SIZE, socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
            )
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(value[: len(value) - len(value) % found.itemsize])
                self._descriptors.extend(found)
        if not data:
            return CONNECTION_DONE
        self._buffer += data
        return self._take()

    def _take(self) -> Any:
        """Pass on every message that is whole."""
        buffer = self._buffer
        while len(buffer) >= HEAD.size and self._connected:
            length, count = HEAD.unpack_from(buffer)
            if length > LONGEST:
                return CONNECTION_LOST
            end = HEAD.size + length
            if len(buffer) < end:
                break
            data = bytes(buffer[HEAD.size : end])
            del buffer[:end]
            # Those of a message come with its first byte.
            descriptors = [self._descriptors.popleft() for _ in range(count)]
            name, *values = self._decode(data)
            self._received(name, values, descriptors)
        return None

    def connectionLost(self, reason: Failure) -> None:
        if self._connected:
            self.close()
            self._lost()

    def close(self) -> None:
        """Say and hear nothing more; nobody is told."""
        if not self._connected:
            return
        self._connected = False
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        for _, descriptors in self._waiting:
            for one in descriptors:
                os.close(one)
        for one in self._descriptors:
            os.close(one)
        self._waiting.clear()
        self._descriptors.clear()
        self.unsent = 0
        self._socket.close()
