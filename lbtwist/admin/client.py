"""
Asks a running balancer by its socket, and waits for the answer: for commands, not for programs
on a reactor.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import attr

from lbtwist.config.model import AdminBind, Config
from lbtwist.errors import BalancerError

LONGEST_ANSWER = 256 * 1024 * 1024
"""Bytes: more than any balancer says of itself."""

_FIRST = b'{"severity":'

TIMEOUT = 30.0
"""Seconds without a byte of an answer after which nobody waits for more of it."""


class NoBalancer(BalancerError):
    """Nobody answers; it says where and why."""


@attr.frozen
class Told:
    """
    An answer.

    @ivar severity: C{error}, C{warning}, C{notice}, C{info}, or C{output}.
    @ivar value: what it says to programs; L{None} where there is only a text.
    """

    severity: str
    text: str = ""
    value: Any = None

    @property
    def good(self) -> bool:
        return self.severity not in ("error", "warning")


def addressOf(config: Config, path: str) -> AdminBind:
    """
    @param path: of the configuration, for people.
    @return: where the balancer of a configuration is asked: where most may be done.
    @raise NoBalancer: if nowhere.
    """
    levels = ("user", "operator", "admin")
    found = sorted(config.settings.admin, key=lambda one: -levels.index(one.level))
    if not found:
        raise NoBalancer(
            f"{path} has no admin = unix:PATH in [global]: there is no socket to ask"
        )
    return found[0]


@attr.frozen
class Client:
    """Asks one balancer; each question has a connection of its own."""

    address: AdminBind

    def ask(
        self, command: str, each: Callable[[], object] | None = None, period: float = 1.0,
        limit: float = TIMEOUT,
    ) -> Told:  # fmt: skip
        """
        @param command: one, as it is written.
        @param each: called again and again while the answer does not come; without it an
            answer has to come within L{TIMEOUT}.
        @param period: seconds between two of its calls.
        @param limit: seconds after which it is not called, and nobody waits, any more.
        @raise NoBalancer: if nobody answers.
        """
        try:
            with self._connect() as skt:
                skt.sendall(f"set output json; {command}\n".encode())
                skt.settimeout(TIMEOUT if each is None else period)
                data = self._read(skt, each, time.monotonic() + limit)
        except OSError as failed:
            raise NoBalancer(
                f"no balancer answers at {self.address}: {failed.strerror or failed}"
            ) from None
        try:
            # The first is about the form of the second.
            _, line = [line for line in data.decode().split("\n") if line]
            return Told(**json.loads(line))
        except (ValueError, TypeError):
            what = f"what answers at {self.address} is no lbtwist"
            if not data or data.startswith(_FIRST):
                what = f"what answers at {self.address} has ended before its answer came"
            raise NoBalancer(what) from None

    def _connect(self) -> socket.socket:
        if self.address.kind == "tcp":
            return socket.create_connection((self.address.host, self.address.port), TIMEOUT)
        skt = socket.socket(socket.AF_UNIX)
        try:
            skt.settimeout(TIMEOUT)
            skt.connect(self.address.path)
        except BaseException:
            skt.close()
            raise
        return skt

    @staticmethod
    def _read(skt: socket.socket, each: Callable[[], object] | None, end: float) -> bytes:
        found = bytearray()
        while len(found) < LONGEST_ANSWER:
            try:
                data = skt.recv(65536)
            except TimeoutError:
                if each is None or time.monotonic() >= end:
                    raise
                each()
                continue
            if not data:
                break
            found += data
        return bytes(found)
