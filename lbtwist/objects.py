"""
Servers that are objects of the program which embeds the balancer: C{server NAME = object:NAME}.

An object is an L{IResource}, which is served by a L{Site} of its own, or an
L{IProtocolFactory}, which is used as it is. How it is connected to is
L{lbtwist.net.inside}'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.web.http import Request as AnyRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from lbtwist.config.model import Config, ServerConfig
from lbtwist.errors import Problem, StartError
from lbtwist.exchange import Exchange
from lbtwist.net.inside import Host, Hosted, ObjectEndpoint, addressOf

NOT_GIVEN = (
    "there is no object of this name; a program that embeds the balancer has to give it to"
    " build(objects=...)"
)


class EmbeddedRequest(Request):
    """
    A request for a resource that is a server.

    Whom it comes from and whether over TLS is what the balancer knows, however many clients
    share a connection to the resource: C{getClientAddress}, C{getHost} and C{isSecure} need no
    field of the request for it.

    @ivar exchange: all that the balancer knows of it, what came in a PROXY header among it
        (C{exchange.connection.proxied}); L{None} for a health check.
    """

    exchange: Exchange | None = None

    def process(self) -> None:
        transport = self.channel.transport
        exchange = transport.exchange if isinstance(transport, Hosted) else None
        if exchange is not None:
            self.exchange = exchange
            self.client = addressOf(exchange.connection.client)
            self.host = addressOf(exchange.connection.local)
        super().process()

    def isSecure(self) -> bool:
        exchange = self.exchange
        return exchange.connection.secure if exchange is not None else bool(super().isSecure())


class EmbeddedSite(Site):
    """
    A resource as a server. The balancer has an access log and knows when idle connections
    end; so neither is here.
    """

    noisy = False

    def __init__(self, resource: Any, reactor: Any) -> None:
        super().__init__(resource, EmbeddedRequest, timeout=None, reactor=reactor)

    def startFactory(self) -> None:
        """There is no log whose dates would have to be kept up."""

    def stopFactory(self) -> None:
        for session in list(self.sessions.values()):
            session.expire()

    def log(self, request: AnyRequest) -> None:
        """The balancer does."""


class Objects:
    """
    What a program has given to be servers, by name.

    @ivar started: whether they are servers now.
    """

    def __init__(self, given: Mapping[str, Any], reactor: Any) -> None:
        """
        @raise TypeError: if one of them is neither a resource nor a factory.
        """
        self.started = False
        self._hosts = {
            name: Host(name, _factoryOf(name, one, reactor)) for name, one in given.items()
        }
        self._wanted: list[ServerConfig] = []

    def __repr__(self) -> str:
        return f"<Objects {' '.join(sorted(self._hosts)) or 'none'}>"

    def endpoint(self, options: ServerConfig) -> ObjectEndpoint:
        """
        @param options: of a server whose kind is C{object}.
        @raise StartError: if there is no such object; before the start, the start says so.
        """
        if self.started:
            self.verify(options)
        host = self._hosts.get(options.host)
        if host is None:
            self._wanted.append(options)
            host = Host(options.host)
        return ObjectEndpoint.of(host)

    def verify(self, options: ServerConfig) -> None:
        """
        @param options: of a server whose kind is C{object}.
        @raise StartError: if nobody has given it.
        """
        if options.host not in self._hosts:
            raise StartError(f"{options.where}: server {options.name} = {options}: {NOT_GIVEN}")

    def start(self) -> None:
        """@raise StartError: if one is wanted that nobody has given."""
        for options in self._wanted:
            self.verify(options)
        self.started = True
        for host in self._hosts.values():
            host.factory.doStart()

    def stop(self) -> None:
        """End every connection to one of them."""
        if not self.started:
            return
        self.started = False
        for host in self._hosts.values():
            host.close()
            host.factory.doStop()


def _factoryOf(name: str, given: Any, reactor: Any) -> Any:
    if IResource.providedBy(given):
        return EmbeddedSite(given, reactor)
    if IProtocolFactory.providedBy(given):
        return given
    raise TypeError(f"object {name!r} is neither an IResource nor an IProtocolFactory: {given!r}")


def absentObjects(config: Config) -> list[Problem]:
    """@return: an error for each server that only a program around the balancer can have."""
    return [
        Problem(
            server.where,
            f"[pool {pool.name}] server {server.name}: {NOT_GIVEN}; write check --elsewhere for"
            " such a program",
        )
        for pool in config.pools.values() for server in pool.servers if server.kind == "object"
    ]  # fmt: skip
