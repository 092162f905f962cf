"""
Tells a collector of traces what each exchange was: one span for the balancer and one for the
server it has asked, by OTLP/HTTP.

Only exchanges whose trace is sampled are told of, and only of frontends with C{traceparent}. While
an exchange is under way nothing is done for it; when it has ended a few words are kept, which are
sent with others a second later. What is on the wire is L{lbtwist.sansio.otlp}'s.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

import lbtwist
from lbtwist.config.model import Collector
from lbtwist.discovery import Looks
from lbtwist.errors import StartError
from lbtwist.events import plain
from lbtwist.exchange import Cause, Exchange
from lbtwist.fetching import Fetcher
from lbtwist.interfaces import ISpanObserver
from lbtwist.net.pem import trustRootOf
from lbtwist.notices.outbox import Outbox
from lbtwist.sansio.otlp import Ended, request

MOST = 8192
"""Exchanges that wait to be told of: some 10 MB at the very most."""

AT_ONCE = 128
"""So many are told of together: it takes a few milliseconds to write them."""

WAIT = 1.0
"""Seconds that others are waited for."""

LONGEST = 512
"""Characters of a text."""

_IN_ORDER = (Cause.DONE, Cause.LOCAL)


@implementer(ISpanObserver)
class Spans:
    """
    What goes to one collector.

    @ivar config: which one.
    @ivar dropped: exchanges that it was not told of, in all.
    """

    _log = Logger()

    def __init__(
        self, config: Collector, reactor: Any, looks: Looks, wallclock: Callable[[], float],
        seconds: Callable[[], float],
    ) -> None:  # fmt: skip
        """
        @param looks: finds the addresses of names.
        @param wallclock: seconds since the epoch.
        @param seconds: the clock of exchanges.
        """
        self.config = config
        self._dropped = 0
        self._told = False
        self._reactor = reactor
        self._looks = looks
        self._fetch = Fetcher(reactor, looks, config.options.timeout)
        self._wallclock = wallclock
        self._seconds = seconds
        parts = urlsplit(config.url)
        self._name = f"otlp {parts.scheme}://{parts.netloc}"
        self._outbox: Outbox[Ended] = Outbox(
            self._name, self._deliver, reactor, MOST, AT_ONCE, WAIT, hurries=True
        )

    def __repr__(self) -> str:
        return f"<Spans {self._outbox!r}>"

    def lost(self, count: int) -> None:
        """So many were not told of in another process."""
        self._dropped += count

    @property
    def dropped(self) -> int:
        return self._dropped + self._outbox.lost

    def start(self) -> None:
        """
        Be ready to tell.

        @raise StartError: if who is to be believed cannot be read.
        """
        options = self.config.options
        if options.ca:
            try:
                trusted = trustRootOf(options.ca)
            except StartError as error:
                raise StartError(f"[global] otlp: {error}") from None
            self._fetch = Fetcher(self._reactor, self._looks, options.timeout, trusted)

    def stop(self) -> Deferred[None]:
        """
        Tell what waits, once more.

        @return: fires within a few seconds.
        """
        return self._outbox.end()

    def exchangeFinished(self, exchange: Exchange) -> None:
        """Keep what is to be told of one that has ended, if it is."""
        ids = exchange.trace
        head = exchange.request
        if len(ids) < _WITH_SPAN or head is None:
            return
        pool, server = exchange.pool, exchange.server
        endpoint = None if server is None else server.endpoint
        host = head.host if exchange.clientHost is None else exchange.clientHost
        target = head.target[: 4 * LONGEST].partition(b"?")[0][:LONGEST]
        self._outbox.put(Ended(
            ids, exchange.startedAt, exchange.assignedAt, exchange.finishedAt,
            head.method[:32].decode("latin-1"), target.decode("latin-1"),
            exchange.connection.secure, host[:LONGEST].decode("latin-1"), exchange.status,
            exchange.connection.client, getattr(exchange.frontend, "name", ""),
            "" if pool is None else pool.name, "" if server is None else server.name,
            None if endpoint is None else _address(endpoint.address),
            exchange.cause + exchange.stage, exchange.cause not in _IN_ORDER, exchange.retries,
            plain(exchange.reason), exchange.response is not None,
        ))  # fmt: skip

    __call__ = exchangeFinished

    def _deliver(self, ended: list[Ended], lost: int) -> Deferred[Any]:
        ahead = self._wallclock() - self._seconds()
        resource: dict[str, str | int] = {
            "service.name": self.config.options.service,
            "service.version": lbtwist.__version__, "host.name": platform.node(),
            "process.pid": os.getpid(),
        }  # fmt: skip
        sent = self._fetch.post(
            self.config.url,
            {"Content-Type": "application/json", "User-Agent": "lbtwist"},
            request(ended, resource, ahead),
        )
        return sent.addCallback(self._delivered)

    def _delivered(self, answer: Any) -> None:
        # They are counted there no more once this has been told: those of meanwhile as well.
        lost = self._outbox.lost
        self._dropped += lost
        if lost and not self._told:
            self._told = True
            self._log.warn(
                "{name}: there are more spans than it takes; {lost} were dropped, as more will"
                " be without a word", name=self._name, lost=lost,
            )  # fmt: skip


_WITH_SPAN = 32 + 1 + 16 + 1 + 2 + 1 + 16 + 1
"""Characters of the ids of an exchange that is to be told of."""


def _address(address: Any) -> tuple[str, int]:
    """@return: of a server; that of a UNIX socket is a path, without a port."""
    return (address, 0) if isinstance(address, str) else (address[0], address[1])
