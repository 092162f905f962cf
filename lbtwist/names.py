"""
The service that owns time for names: keeps the addresses of servers whose names are
known up to date.

How a name is asked for is L{lbtwist.discovery}'s; which servers there are is the
configuration's, or that of L{lbtwist.membership}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.discovery import LEAST_TTL, MOST_TTL, Answer, Looks, endpointOf
from lbtwist.server import Server

LEAST_PAUSE = 5.0
MOST_PAUSE = 60.0
"""Seconds until a question that failed is asked again: doubled with every failure."""


@attr.define(eq=False)
class _Name:
    """
    A name that is watched.

    @ivar servers: who is there, each with its port.
    @ivar addresses: the last good answer.
    @ivar failures: in a row.
    """

    host: str
    servers: dict[Server, int] = attr.field(factory=dict)
    addresses: tuple[str, ...] = ()
    failures: int = 0
    asking: Deferred[Answer] | None = None
    timer: Any = None


class Names:
    """
    The service that keeps the addresses of servers whose names are written down.

    An address that is still among the answers is kept, so that a name server which
    turns its answers round moves nobody.
    """

    _log = Logger()

    def __init__(self, reactor: Any, resolver: Looks, changed: Callable[[Server], None]) -> None:
        """
        @param changed: called with a server after its C{endpoint} changed; it should
            tell the server's pool and let go of the idle connections.
        """
        self._reactor = reactor
        self._resolver = resolver
        self._changed = changed
        self._names: dict[str, _Name] = {}
        self._running = False

    def watch(self, server: Server, host: str, port: int) -> None:
        """Keep the address of a server up to date from now on."""
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name(host)
            if self._running:
                self._schedule(name, 0.0)
        name.servers[server] = port
        if name.addresses:
            self._place(name, server)

    def forget(self, server: Server) -> None:
        """Its address does not matter any more."""
        for name in list(self._names.values()):
            if name.servers.pop(server, None) is not None and not name.servers:
                del self._names[name.host]
                self._rest(name)

    def start(self) -> None:
        """Ask for every name, now and then again and again."""
        self._running = True
        for name in self._names.values():
            self._ask(name)

    def stop(self) -> None:
        """Ask no more; no timer and no socket is left."""
        self._running = False
        for name in self._names.values():
            self._rest(name)

    def _rest(self, name: _Name) -> None:
        timer, name.timer = name.timer, None
        if timer is not None:
            timer.cancel()
        asking, name.asking = name.asking, None
        if asking is not None:
            asking.cancel()

    def _schedule(self, name: _Name, seconds: float) -> None:
        name.timer = self._reactor.callLater(seconds, self._ask, name)

    def _ask(self, name: _Name) -> None:
        name.timer = None
        name.asking = asking = self._resolver.lookup(name.host)
        asking.addCallbacks(
            self._answered, self._failed, callbackArgs=(name,), errbackArgs=(name,)
        )

    def _answered(self, answer: Answer, name: _Name) -> None:
        if name.asking is None:
            return
        name.asking = None
        self._schedule(name, max(LEAST_TTL, min(answer.ttl, MOST_TTL)))
        name.addresses = answer.addresses
        changes = [self._place(name, server) for server in list(name.servers)]
        if name.failures and not any(changes):
            self._log.info("{host} is resolved again", host=name.host)
        name.failures = 0

    def _failed(self, failure: Failure, name: _Name) -> None:
        if name.asking is None:
            # It was cancelled, and who did that does not want to hear of it.
            return
        name.asking = None
        if not name.failures:
            self._log.warn(
                "{host} cannot be resolved: {reason}; {kept}",
                host=name.host,
                reason=failure.getErrorMessage(),
                kept="its last address is kept" if name.addresses else "it has no address yet",
            )
        self._schedule(name, min(MOST_PAUSE, LEAST_PAUSE * 2 ** min(name.failures, 10)))
        name.failures += 1

    def _place(self, name: _Name, server: Server) -> bool:
        """@return: whether the server is somewhere else now."""
        before = server.endpoint
        found = [endpointOf(address, name.servers[server]) for address in name.addresses]
        if before in found:
            return False
        server.endpoint = found[0]
        self._log.info(
            "Server {pool}/{server} is at {endpoint} ({host}), was at {before}"
            if before
            else "Server {pool}/{server} is at {endpoint} ({host})",
            pool=server.pool, server=server.name, endpoint=found[0], host=name.host, before=before,
        )  # fmt: skip
        try:
            self._changed(server)
        except Exception:
            self._log.failure("a change of {server!r} met an error", server=server)
        return True
