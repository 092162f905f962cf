"""
One conversation with a balancer that never waits: questions go out, answers are told, whoever
asks looks after the socket with select(2). It begins anew when it is told to.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from lbtwist.admin.client import LONGEST_ANSWER, Told
from lbtwist.config.model import AdminBind

Hears = Callable[[Told], object]

_BEGIN = "prompt i; set output json; set timeout cli 3600s"
"""Each command after the first of these has an answer in JSON."""


class FeedLost(Exception):
    """The conversation has ended; it says why."""


def _ignore(told: Told) -> None:
    """Who begins a conversation is told that it has begun, and knows."""


class Feed:
    """
    @ivar waiting: how many answers are still to come.
    """

    def __init__(self, address: AdminBind) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._connecting = False
        self._out = b""
        self._in = bytearray()
        self._hearers: deque[Hears] = deque()

    @property
    def waiting(self) -> int:
        return len(self._hearers)

    @property
    def open(self) -> bool:
        return self._socket is not None

    @property
    def writes(self) -> bool:
        """Whether there is something to write, or a connection is awaited."""
        return self._connecting or bool(self._out)

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def begin(self) -> None:
        """@raise FeedLost: if nobody is there."""
        self.close()
        address = self._address
        family: int = socket.AF_UNIX
        where: Any = address.path
        try:
            if address.kind == "tcp":
                [(family, _, _, _, where), *_] = socket.getaddrinfo(
                    address.host, address.port, type=socket.SOCK_STREAM
                )
            self._socket = skt = socket.socket(family, socket.SOCK_STREAM)
            skt.setblocking(False)
            code = skt.connect_ex(where)
        except OSError as failed:
            self._lose(failed.strerror or str(failed))
        if code not in (0, errno.EINPROGRESS):
            self._lose(os.strerror(code))
        self._connecting = True
        self._hearers += [_ignore, _ignore]
        self._out = f"{_BEGIN}\n".encode()

    def ask(self, command: str, hears: Hears) -> None:
        """Ask something; nothing may be said of it if the conversation ends."""
        self._hearers.append(hears)
        self._out += f"{command}\n".encode()

    def canWrite(self) -> None:
        """@raise FeedLost: if the conversation has ended."""
        skt = self._socket
        assert skt is not None
        if self._connecting:
            code = skt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._lose(os.strerror(code))
            self._connecting = False
        try:
            self._out = self._out[skt.send(self._out) :]
        except BlockingIOError:
            return
        except OSError as failed:
            self._lose(failed.strerror or str(failed))

    def canRead(self) -> None:
        """@raise FeedLost: if the conversation has ended."""
        skt = self._socket
        assert skt is not None
        try:
            data = skt.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError as failed:
            self._lose(failed.strerror or str(failed))
        if not data:
            self._lose("it has ended the conversation")
        self._in += data
        if len(self._in) > LONGEST_ANSWER:
            self._lose("what answers is no lbtwist")
        *lines, rest = bytes(self._in).split(b"\n")
        self._in = bytearray(rest)
        for line in lines:
            if line:
                self._heard(line)

    def _heard(self, line: bytes) -> None:
        try:
            told = Told(**json.loads(line))
        except (ValueError, TypeError):
            self._lose("what answers is no lbtwist")
        if not self._hearers:
            self._lose("what answers is no lbtwist")
        self._hearers.popleft()(told)

    def _lose(self, why: str) -> NoReturn:
        self.close()
        raise FeedLost(why)

    def close(self) -> None:
        """Let go of the conversation, if there is one."""
        skt, self._socket = self._socket, None
        self._connecting = False
        self._out = b""
        self._in.clear()
        self._hearers.clear()
        if skt is not None:
            with suppress(OSError):
                skt.close()
