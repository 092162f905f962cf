"""
The writer of log lines to a syslog server: over UDP (RFC 5426), TCP (RFC 6587), TLS
(RFC 5425) or a UNIX socket.

It works by the clock alone and registers nothing with the reactor: when lines are due it
connects, or goes on with that, and sends what the kernel takes. A message that the kernel has
taken is kept until the machine of the server has acknowledged it, as far as the kernel can
say, and is sent again over the next connection otherwise. UDP acknowledges nothing: what is
known to be lost is counted.

Not here: what a message looks like (L{lbtwist.sansio.syslogline}), and over which
transport bytes go (L{lbtwist.sysloglinks}).
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Hashable
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbtwist.config.model import ServerConfig
from lbtwist.discovery import Answer, Looks, endpointOf
from lbtwist.events import plain
from lbtwist.logwriter import BATCH, CAPACITY, TICK, Gatherer, log
from lbtwist.net.clienttls import ClientTLS
from lbtwist.sansio.syslogline import messages
from lbtwist.sysloglinks import Datagrams, Gone, Link, Messages, Stream, TLSStream

FIRST_PAUSE = 0.5
MOST_PAUSE = 15.0
"""Seconds after a failure before the next attempt: doubled each time, up to the second."""

ATTEMPT = 10.0
"""Seconds that a connection may take to stand."""

LAST = 0.5
"""Seconds that a close waits for a server that takes what there is, only slowly."""

LEAST_WAIT = 0.005
"""Seconds after which it is tried again where the kernel took nothing; doubled up to a tick."""

NAMED = 300.0
"""Seconds after which a name is looked up again, where nothing says that it has moved."""


@attr.frozen
class Place:
    """
    Where a syslog server is, and how it is spoken to.

    @ivar kind: C{udp}, C{tcp}, C{tls} or C{unix}.
    @ivar host: an address or a name.
    @ivar path: of a UNIX socket: one for datagrams, or otherwise for a stream.
    @ivar counted: in a stream messages begin with their length; otherwise they end with a
        line end.
    @ivar longest: bytes of a message.
    @ivar tls: for C{tls}: whom to believe, and what to show.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    counted: bool = False
    longest: int = 8192
    tls: ServerConfig | None = None

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}:{host}:{self.port}"


class SyslogWriter(Gatherer):
    """
    Sends lines to one syslog server. A server that is away does not keep anything from
    starting.
    """

    __slots__ = (
        "place", "_looks", "_opened", "_queue", "_link", "_tls", "_looking", "_address", "_goodFor",
        "_notBefore", "_pause", "_wait", "_late", "_proved",
    )  # fmt: skip

    def __init__(
        self, reactor: Any, place: Place, looks: Looks, capacity: int = CAPACITY
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param looks: finds the addresses of names.
        """
        super().__init__(reactor, str(place), capacity)
        self.place = place
        self._looks = looks
        self._opened = False
        self._queue = Messages()
        self._link: Link | None = None
        self._tls: ClientTLS | None = None
        self._looking: Deferred[Any] | None = None
        self._address: Any = None
        self._goodFor = 0.0
        self._notBefore = self._late = 0.0
        self._pause = FIRST_PAUSE
        self._wait = LEAST_WAIT
        # The connection has been of use.
        self._proved = False

    @property
    def key(self) -> Hashable:
        return self.place

    def open(self) -> None:
        """
        Begin to connect.

        @raise StartError: if a file of its TLS cannot be used.
        """
        if self._opened:
            return
        if self.place.tls is not None:
            self._tls = ClientTLS(self.place.tls)
        self._opened = True
        self._room = BATCH
        self._step(eager=True)

    def reopen(self) -> None:
        """Connect anew, as after the server's own files were replaced, without a pause."""
        if not self._opened:
            return
        self.flush()
        self._notBefore = 0.0
        self._goodFor = 0.0
        if self._link is not None and not self._link.unknown:
            self._drop()
        self._step(eager=True)

    def flush(self) -> None:
        if self._opened:
            self._step()

    def close(self) -> None:
        """
        Send what the server takes within L{LAST} seconds, count the rest as dropped,
        and end.
        """
        if not self._opened:
            return
        self._step()
        end = time.monotonic() + LAST
        while self._link is not None and (self._queue or not self._link.ready):
            left = end - time.monotonic()
            if left <= 0:
                break
            self._link.waitFor(min(left, TICK))
            self._step()
        self._opened = False
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._link is not None:
            # What the kernel has it still delivers, as far as anybody takes it.
            self._link.close()
            self._count(self._link)
            self._link = None
        lost = len(self._queue)
        self._queue.clear()
        self._ended(lost)

    # one step

    def _step(self, eager: bool = False) -> None:
        """
        Do what can be done now, and come back when there is more to do.

        @param eager: connect even if there is nothing to be sent.
        """
        if self._lines:
            self._queue.add(self._messages())
            self._lines.clear()
            self._size = 0
        try:
            try:
                self._go(eager)
            except Gone:
                if self._link is None or self._link.unknown or not self._proved:
                    raise
                # It was idle, and the server did not want it any more.
                self._drop()
                self._go(eager)
        except OSError as error:
            self._lose(error)
        self._comeBack()

    def _messages(self) -> list[bytes]:
        """@return: the lines as they are sent."""
        return messages(self._lines, self.place.longest)

    def _go(self, eager: bool) -> None:
        """@raise OSError: if the connection has ended, or cannot be made."""
        now = self._reactor.seconds()
        if self._link is not None and self._hasMoved(now):
            self._drop()
            eager = True
        if self._link is None:
            if (self._queue or eager) and now >= self._notBefore:
                self._connect(now)
            if self._link is None:
                return
        link = self._link
        if not link.ready and not link.goOn():
            if now >= self._late:
                raise OSError(None, f"no connection after {ATTEMPT:.0f} s")
            return
        before = len(self._queue)
        try:
            link.send(self._queue)
        finally:
            self._count(link)
        if len(self._queue) < before:
            self._wait = LEAST_WAIT
        if not self._queue and not link.unknown:
            self._proved = True
            self._pause = FIRST_PAUSE
            self._recovered()
            if self._retired:
                self._drop()

    def _hasMoved(self, now: float) -> bool:
        """Whether it is to be asked again where the server is: UDP alone never tells."""
        link = self._link
        named = self.place.kind == "udp" and self._address is not None
        return named and now >= self._goodFor and link is not None and not link.unknown

    def _count(self, link: Link) -> None:
        lost, link.lost = link.lost, 0
        self.lost(lost)

    def _comeBack(self) -> None:
        """Do so where something is left to be done."""
        link = self._link
        if self._queue:
            self._waitsFor(self._queue.size, self._patience())
            return
        self._room = BATCH
        if link is not None and (link.unknown or not link.ready):
            self._soon(self._patience())

    def _patience(self) -> float:
        if self._link is None:
            pause: float = self._notBefore - self._reactor.seconds()
            return max(pause, TICK)
        self._wait, wait = min(2 * self._wait, TICK), self._wait
        return wait

    # the connection

    def _connect(self, now: float) -> None:
        """@raise OSError: if it is clear at once that there will be none."""
        place = self.place
        self._late = now + ATTEMPT
        self._proved = False
        if place.kind == "unix":
            self._link = self._unix(place.path)
            return
        try:
            endpoint = endpointOf(place.host, place.port)
        except ValueError:
            if now >= self._goodFor:
                self._look()
                return
            endpoint = endpointOf(self._address, place.port)
        family, address = endpoint.family, endpoint.address
        if place.kind == "udp":
            self._link = Datagrams(family, address)
        elif self._tls is None:
            self._link = Stream(family, address, place.counted)
        else:
            wrong = self._tls.reload()
            if wrong is not None:
                log.warn("{what} {name}: {wrong}", what=self.what, name=self.name,
                         wrong=wrong.message, writer=self)  # fmt: skip
            self._link = TLSStream(family, address, place.counted, self._tls)

    def _unix(self, path: str) -> Link:
        try:
            return Datagrams(socket.AF_UNIX, path)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
        return Stream(socket.AF_UNIX, path, self.place.counted)

    def _look(self) -> None:
        if self._looking is None:
            self._looking = looking = self._looks.lookup(self.place.host)
            looking.addCallbacks(self._found, self._notFound)

    def _found(self, answer: Answer) -> None:
        self._looking = None
        self._address = answer.addresses[0]
        self._goodFor = self._reactor.seconds() + min(answer.ttl, NAMED)
        if self._opened:
            self._step(eager=True)

    def _notFound(self, failure: Failure) -> None:
        self._looking = None
        if not self._opened:
            return
        if self._address is not None:
            # Where it was is the best that is known.
            self._goodFor = self._reactor.seconds() + MOST_PAUSE
            self._step(eager=True)
            return
        self._lose(OSError(None, f"{self.place.host}: {failure.getErrorMessage()}"))
        self._comeBack()

    def _drop(self) -> None:
        """End the connection; what it may not have delivered is sent again."""
        link, self._link = self._link, None
        if link is not None:
            self._queue.giveBack(link.undelivered())
            link.close()
            self._count(link)

    def _lose(self, error: OSError) -> None:
        self._drop()
        self._goodFor = 0.0
        self._notBefore = self._reactor.seconds() + self._pause
        self._pause = min(2 * self._pause, MOST_PAUSE)
        self._failed(plain(error.strerror or str(error)))
