"""
Kinds of persistence for C{mode = tcp} that know a client by the first bytes of its session:
the cookie of RDP, the session id of TLS.

Not here: how these bytes are waited for (L{lbtwist.inspecting}).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer, implementer_only

from lbtwist.balance.keys import RDPCookieName, rdpKey, seesRDP
from lbtwist.errors import BadClientHello, BadServerHello
from lbtwist.interfaces import IInspecting, IPersistence
from lbtwist.options import option
from lbtwist.persistence.keyed import Keyed, expiring
from lbtwist.sansio import rdp
from lbtwist.sansio.clienthello import TLS13, HelloReader, read
from lbtwist.sansio.serverhello import ServerHelloReader

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context
    from lbtwist.server import Server

ROUTING = "msts"
"""The cookie of RDP that names a server by its address."""


@attr.frozen
class RDPCookieOptions:
    name: str = option(
        RDPCookieName(), ROUTING, "Of the cookie; msts names the server.", positional=True
    )
    expire: float = expiring()


@implementer(IInspecting)
class RDPCookie(Keyed):
    """
    C{rdp-cookie [NAME]}: C{msts} is what a session broker has given a client, with the
    address of the server where its session is: there is nothing to remember. By any other
    cookie, as C{mstshash} with the name of a user, clients are known as by other keys.
    """

    Options = RDPCookieOptions
    label = b"r:"

    def __init__(self, options: RDPCookieOptions, context: Context) -> None:
        super().__init__(options, context)
        self._token = rdpKey(ROUTING).of if options.name == ROUTING else None
        self._names: dict[tuple[str, int], str] = {}

    def _keyOf(self, options: RDPCookieOptions, context: Context) -> Callable[[Exchange], bytes]:
        return _nothing if options.name == ROUTING else rdpKey(options.name).of

    def _called(self, options: RDPCookieOptions) -> bytes:
        return options.name.encode()

    def serversChanged(self, servers: Iterable[Server]) -> None:
        self._names = {}
        for one in servers:
            if one.endpoint is not None and not isinstance(one.endpoint.address, str):
                self._names.setdefault(one.endpoint.address[:2], one.name)

    def recall(self, exchange: Exchange) -> str | Deferred[str | None] | None:
        if self._token is None:
            return super().recall(exchange)
        said = self._token(exchange)
        return self._counted(self._named(said)) if said else None

    def foresee(self, exchange: Exchange) -> str | Deferred[str | None] | None:
        if self._token is None:
            return super().foresee(exchange)
        return self._named(self._token(exchange))

    def _named(self, token: bytes) -> str | None:
        where = rdp.address(token)
        return None if where is None else self._names.get(where)

    def bound(self, name: str) -> int:
        return super().bound(name) if self._token is None else -1

    def inspectClient(self, exchange: Exchange) -> Callable[[bytes], bool]:
        return seesRDP

    def inspectServer(self, exchange: Exchange) -> None:
        """It says nothing that matters."""


def _nothing(exchange: Exchange) -> bytes:
    """The key where nothing is remembered."""
    return b""


@attr.frozen
class SSLSessionIdOptions:
    expire: float = expiring()


@implementer_only(IPersistence, IInspecting)
class SSLSessionId(Keyed):
    """
    C{ssl-session-id}: a client that would resume a session of TLS comes to the server that
    has it. Which one that is is learnt from its ServerHello, up to TLS 1.2: a session of TLS
    1.3 is resumed by a ticket, and an id there is made up each time.
    """

    Options = SSLSessionIdOptions
    label = b"t:"

    def _keyOf(self, options: Any, context: Context) -> Callable[[Exchange], bytes]:
        return _session

    def remember(self, exchange: Exchange, name: str) -> None:
        """A client has the sessions that its server gives it, and no others."""

    def inspectClient(self, exchange: Exchange) -> Callable[[bytes], bool] | None:
        if exchange.connection.tls is not None:
            return None
        reader = HelloReader()

        def look(data: bytes) -> bool:
            try:
                return reader.read(data) is not None
            except BadClientHello:
                return True

        return look

    def inspectServer(self, exchange: Exchange) -> Callable[[bytes], bool] | None:
        bond = exchange.bond
        tls = exchange.connection.tls
        if bond is None or bond.rule == "ignore" or (tls is not None and tls.version):
            return None
        reader = ServerHelloReader()

        def look(data: bytes) -> bool:
            try:
                hello = reader.read(data)
            except BadServerHello:
                return True
            if hello is None:
                return False
            if hello.session and hello.version < TLS13 and exchange.server is not None:
                self.learn(hello.session, exchange.server.name)
            return True

        return look


def _session(exchange: Exchange) -> bytes:
    """
    @return: the id of the session that a client would resume; C{b""} where it names none, or
        there is no TLS but that which is ended here.
    """
    tls = exchange.connection.tls
    if tls is not None:
        return tls.session
    try:
        hello = read(exchange.early)
    except BadClientHello:
        return b""
    return b"" if hello is None else hello.session
