"""
CONNECT that ends here: the connection to the target is made by the balancer itself, and
no pool has a part in it.

What may be connected to is decided for every address, after the name was resolved, and
exactly the address that was judged is connected to: a name that changes its mind in
between (DNS rebinding) changes nothing. The errors are those of RFC 9209 section 2.3.
"""

from __future__ import annotations

import errno
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.config.targets import Address, mayLead, namedItself, permitted, plain
from lbtwist.discovery import Answer, Looks, NoNameServer, NotResolved, endpointOf
from lbtwist.exchange import Cause, Stage
from lbtwist.http.relay import Relay
from lbtwist.net.addresses import isLocal
from lbtwist.options import HostName
from lbtwist.outbound import Attempt
from lbtwist.pool import Pool
from lbtwist.server import Endpoint, Server
from lbtwist.tunnel import Side, Timeouts

_log = Logger()

MOST_ADDRESSES = 8
"""Addresses of one name that are tried, in the order of the answer."""

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_UNROUTABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES}
_RAN_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Terminating:
    """
    What the CONNECTs of one frontend share.

    @ivar resolver: finds the addresses of names.
    """

    def __init__(self, resolver: Looks, reactor: Any) -> None:
        self.resolver = resolver
        self.reactor = reactor


class Terminated(Relay):
    """One CONNECT that ends here."""

    __slots__ = ("_endpoints", "_until")

    pooled = False

    def proceed(self, pool: Pool | None) -> None:
        """
        The rules have been asked, and let it go on.

        @param pool: does not matter: what was asked for is not one of its servers.
        """
        exchange = self.exchange
        config = self._front.shared.config
        host, port = parted(self._head.target)
        try:
            address = None if "%" in host else plain(host)
        except ValueError:
            address = None
            if not _isName(host):
                self._refuse(f"{host!r} is neither a name nor an address")
                return
        if address is None and not mayLead(config.connect_allow, host, port):
            self._refuse(f"connect-allow does not name {host}:{port}")
            return
        now = self._front.shared.deadlines.seconds()
        self._until = now + config.connect_timeout if config.connect_timeout else 0.0
        exchange.assignedAt = now
        if address is not None:
            self._connectTo([address], "", port)
        else:
            self._lookFor(host, port)

    def _refuse(self, reason: str) -> None:
        self.exchange.reason = reason
        self._fail(Cause.REFUSED, 403, b"http_request_denied")

    def _fail(self, cause: str, status: int, error: bytes) -> None:
        self.answer(cause, status, b"Proxy-Status: lbtwist; error=%b\r\n" % error)

    # its addresses

    def _lookFor(self, host: str, port: int) -> None:
        self.exchange.stage = Stage.CONNECT
        terminating = self._front.shared.terminating
        assert terminating is not None
        asking = terminating.resolver.lookup(host)
        self.waitsFor = asking
        if self._until:
            asking.addTimeout(self._front.shared.config.connect_timeout, terminating.reactor)
        asking.addCallbacks(
            self._found, self._notFound,
            callbackArgs=(asking, host, port), errbackArgs=(asking,),
        )  # fmt: skip
        asking.addErrback(self._broken)

    def _found(self, answer: Answer, asking: Deferred[Answer], host: str, port: int) -> None:
        if self.waitsFor is asking:
            self.waitsFor = None
            self._connectTo([plain(address) for address in answer.addresses], host, port)

    def _notFound(self, failure: Failure, asking: Deferred[Answer]) -> None:
        if self.waitsFor is not asking:
            # The client has gone, and the question with it.
            return
        self.waitsFor = None
        failure.trap(NotResolved, TimeoutError)
        self.exchange.reason = f"the target is not found: {failure.getErrorMessage()}"
        if failure.check(NoNameServer, TimeoutError):
            self._fail(Cause.SERVER_TIMEOUT, 504, b"dns_timeout")
        else:
            self._fail(Cause.SERVER, 502, b"dns_error")

    def _broken(self, failure: Failure) -> None:
        _log.failure("a CONNECT has failed", failure)
        if not self.exchange.cause:
            self._fail(Cause.INTERNAL, 500, b"proxy_internal_error")

    # the connection

    def _connectTo(self, addresses: list[Address], host: str, port: int) -> None:
        """@param host: what was resolved; C{""} where an address was asked for."""
        allowed = self._front.shared.config.connect_allow
        good = [
            address
            for address in addresses
            if permitted(allowed, host, address, port)
            and (not self._isOurs(address, port) or namedItself(allowed, address, port))
        ]
        if not good:
            found = ", ".join(map(str, addresses[:MOST_ADDRESSES]))
            self.exchange.reason = f"connect-allow does not name {found} port {port}"
            self._fail(Cause.REFUSED, 403, b"destination_ip_prohibited")
            return
        self.exchange.stage = Stage.CONNECT
        self._endpoints = [endpointOf(str(one), port) for one in good[:MOST_ADDRESSES]]
        self._connect()

    def _isOurs(self, address: Address, port: int) -> bool:
        """Whether it is where we listen: a client would come back as somebody of ours."""
        for frontend in self._front.shared.frontend.process.frontends:
            for listener in frontend.listeners:
                name = listener.socket.getsockname()
                if not isinstance(name, tuple) or name[1] != port:
                    continue
                bound = plain(name[0].partition("%")[0])
                if bound == address:
                    return True
                both = isinstance(bound, IPv6Address) or bound.version == address.version
                if bound.is_unspecified and both and isLocal(str(address)):
                    return True
        return False

    def _connect(self) -> None:
        exchange = self.exchange
        shared = self._front.shared
        endpoint: Endpoint = self._endpoints.pop(0)
        frontend = shared.frontend
        exchange.server = server = Server(
            frontend.name, str(endpoint), endpoint, sessions=frontend.sessions
        )
        now = shared.deadlines.seconds()
        seconds = 0.0
        if self._until:
            # Each of those that are left gets its share of the time that is left.
            seconds = max((self._until - now) / (len(self._endpoints) + 1), 0.001)
        assert shared.terminating is not None
        try:
            attempt = Attempt(
                server, self.serverSide(), shared.terminating.reactor, shared.deadlines,
                self._failed, self.serverReady, exchange,
            )  # fmt: skip
        except OSError as failed:
            self._failed(failed)
            return
        self.waitsFor = attempt
        attempt.start(seconds, now)

    def _failed(self, failed: OSError) -> None:
        self.waitsFor = None
        exchange = self.exchange
        assert exchange.server is not None
        exchange.reason = f"{exchange.server.name}: {failed.strerror or failed}"
        if self._endpoints:
            exchange.retries += 1
            self._connect()
        elif failed.errno in _RAN_OUT:
            self._fail(Cause.RESOURCE, 500, b"proxy_internal_error")
        elif failed.errno == errno.ECONNREFUSED:
            self._fail(Cause.SERVER, 502, b"connection_refused")
        elif failed.errno in _UNROUTABLE:
            self._fail(Cause.SERVER, 502, b"destination_ip_unroutable")
        elif failed.errno is None or failed.errno == errno.ETIMEDOUT:
            self._fail(Cause.SERVER_TIMEOUT, 504, b"connection_timeout")
        else:
            self._fail(Cause.SERVER, 502, b"connection_terminated")

    def serverReady(self, protocol: Side) -> None:
        self.waitsFor = None
        exchange = self.exchange
        front = self._front
        exchange.connectedAt = exchange.respondedAt = front.shared.deadlines.seconds()
        exchange.stage = Stage.DATA
        exchange.status = 200
        exchange.passthrough = "Connect" if self.tunnel is None else self.tunnel.reason
        early = front.leaveBy(exchange, ESTABLISHED)
        self._joined(self.clientSide(), protocol).start(early, b"")

    def _timeouts(self) -> Timeouts:
        """Those of the frontend, since there is no pool; rules may set others."""
        config = self._front.shared.config
        settings = self.exchange.settings or {}
        client = settings.get("timeout_client", config.timeout_client)
        return Timeouts(
            client, settings.get("timeout_server", client), settings.get("timeout_tunnel", 0.0),
            config.timeout_client_fin, config.timeout_client_fin,
        )  # fmt: skip


def parted(target: bytes) -> tuple[str, int]:
    """
    @param target: of a CONNECT that was checked.
    @return: host and port; without brackets, in lower case, without a dot at the end.
    """
    host, _, port = target.decode("ascii").lower().rpartition(":")
    return host.removeprefix("[").removesuffix("]").removesuffix("."), int(port)


def _isName(host: str) -> bool:
    # A last label of digits alone is of an address (RFC 1123 section 2.1).
    return HostName.good(host) and not host.rpartition(".")[2].isdigit()
