"""
What systemd is told of a service (sd_notify(3)): that it is ready, that it reloads, that it
ends, that it lives, and how it is. A message is one datagram to a UNIX socket.

Without that socket there is nobody to be told, and a message that cannot be sent is lost: the
balancer does its work either way. What C{LISTEN_FDS} is for, sockets that systemd has opened,
is L{lbtwist.net.addresses}'.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.logger import Logger

STATUS_INTERVAL = 10.0
"""Seconds between two words on how it is."""

MARGIN = 15.0
"""Seconds that an end takes at most after what still runs was aborted."""

_log = Logger()


class Notifying:
    """
    Tells systemd.

    @ivar interval: seconds between two signs of life.
    """

    def __init__(
        self, address: str, reactor: Any, status: Callable[[], str], watchdog: float = 0.0
    ) -> None:
        """
        @param address: of the socket: a path, or C{@} and a name without a file.
        @param status: says in a few words how it is.
        @param watchdog: seconds without a sign of life after which systemd ends it; 0: it
            expects none.
        """
        self.interval = min(STATUS_INTERVAL, watchdog / 2) if watchdog else STATUS_INTERVAL
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._reactor = reactor
        self._status = status
        self._watched = bool(watchdog)
        self._call: Any = None
        self._failed = False

    @classmethod
    def fromEnvironment(
        cls, environment: MutableMapping[str, str], reactor: Any, status: Callable[[], str]
    ) -> Notifying | None:
        """
        @param environment: what it says of this is taken out of it: it is not for the
            programs that checks run.
        @return: L{None} if systemd wants to hear nothing.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            return None
        watchdog = 0.0
        if microseconds.isascii() and microseconds.isdigit() and process in ("", str(os.getpid())):
            watchdog = int(microseconds) / 1e6
        return cls(address, reactor, status, watchdog)

    def ready(self) -> None:
        """It has started, or has reloaded its configuration."""
        # It may have taken the place of another process.
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={self._said()}")
        if self._call is None:
            self._call = self._reactor.callLater(self.interval, self._lives)

    def reloading(self) -> None:
        """It begins to reload; L{ready} follows, whatever came of it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reloads its configuration")

    def stopping(self, grace: float) -> None:
        """
        It begins to end.

        @param grace: seconds for which what still runs may go on; systemd waits for so long,
            whatever C{TimeoutStopSec} is.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._send(
            "STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((grace + MARGIN) * 1e6)}",
            "STATUS=ends when what runs has ended",
        )  # fmt: skip

    def _lives(self) -> None:
        self._call = self._reactor.callLater(self.interval, self._lives)
        self._send(*["WATCHDOG=1"][: self._watched], f"STATUS={self._said()}")

    def _said(self) -> str:
        return " ".join(self._status().split())

    def _send(self, *lines: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as skt:
                skt.setblocking(False)
                skt.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as failed:
            if not self._failed:
                _log.warn(
                    "systemd cannot be told: {reason}", reason=failed.strerror or str(failed)
                )
            self._failed = True
        else:
            self._failed = False
