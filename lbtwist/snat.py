"""
Where connections to a server come from: the source address, its port, the interface,
and the C{[tcp]} section of the socket.

An L{Origin} belongs to one server and is made with the configuration; what it
prepares is one connection's. It binds and sets options, and connects nothing:
L{lbtwist.net.outgoing.Outgoing} asks before it connects.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from lbtwist.config.model import PoolConfig, ServerConfig, Source, TCPConfig
from lbtwist.errors import Position, StartError
from lbtwist.exchange import Exchange
from lbtwist.net.addresses import NoInterface, NotPermitted, bindToInterface, setTransparent
from lbtwist.net.profiles import Profile, setAll

IP_BIND_ADDRESS_NO_PORT = 24
"""Of C{linux/in.h} (Linux 4.2): the port is chosen by C{connect}, so that one port
serves connections to different servers."""

MAX_TRIES = 128
"""Ports of one range that are tried for one connection."""

_IN_USE = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


class NoSource(OSError):
    """
    No source address can be used; C{strerror} says which were tried. Its C{errno} is
    EADDRNOTAVAIL, as of a connect that finds no port.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EADDRNOTAVAIL, reason)


class _Fixed:
    """One address of ours, and its ports."""

    __slots__ = ("_following", "address", "family", "first", "ports")

    def __init__(self, source: Source) -> None:
        self.address = source.address
        self.family = socket.AF_INET6 if ":" in source.address else socket.AF_INET
        self.first = source.first
        last = max(source.last, source.first)
        self.ports = last - source.first + 1 if source.first else 0
        self._following = 0

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address and self.ports else self.address
        return f"{host}:{self.first}-{self.first + self.ports - 1}" if self.ports else host

    def nextPort(self) -> int:
        """The port that was not used for the longest time."""
        at = self._following
        self._following = (at + 1) % self.ports
        return self.first + at


class Origin:
    """
    Where the connections to one server come from.

    @ivar private: the source is the client's, so a connection must never be used for
        another client.
    @ivar once: the source is what a request says, so a connection must never be used
        for another request either: one proxy brings those of many clients.
    @ivar fixed: the addresses of ours.
    @ivar transparent: it needs C{CAP_NET_ADMIN} or C{CAP_NET_RAW}.
    """

    def __init__(
        self,
        sources: tuple[Source, ...] = (),
        interface: str = "",
        profile: Profile | None = None,
        where: Position | None = None,
    ) -> None:
        self.sources = sources
        self.interface = interface
        self.profile = profile
        self._where = where
        self.fixed = tuple(_Fixed(one) for one in sources if one.kind == "address")
        self._theirs = tuple(one for one in sources if one.kind != "address")
        self.private = self.transparent = bool(self._theirs)
        self.once = any(one.kind == "field" for one in self._theirs)
        self._turn = 0

    def __repr__(self) -> str:
        said = ", ".join([*(one.field or one.kind for one in self._theirs), *map(str, self.fixed)])
        return f"<Origin {said or 'any'}{f' by {self.interface}' if self.interface else ''}>"

    @property
    def plain(self) -> bool:
        """Whether there is nothing to do for a socket."""
        return not self.sources and not self.interface and self.profile is None

    def prepare(self, exchange: Exchange | None) -> Callable[[socket.socket], None] | None:
        """
        @param exchange: what the connection is for; L{None} for a health check, which
            comes from an address of ours.
        @return: what L{lbtwist.net.outgoing.Outgoing.prepare} wants, for one connection.
        """
        return None if self.plain else _Preparation(self, exchange).prepare

    def candidates(self, family: int) -> list[_Fixed]:
        """
        @return: our addresses of a family, the next in turn first.
        @raise NoSource: if there are addresses, and none of this family.
        """
        fixed = [one for one in self.fixed if one.family == family]
        if len(fixed) > 1:
            at = self._turn % len(fixed)
            self._turn += 1
            fixed = fixed[at:] + fixed[:at]
        if not fixed and self.fixed and not self._theirs:
            raise NoSource(f"no source is an IPv{6 if family == socket.AF_INET6 else 4} address")
        return fixed

    def theirs(self, family: int, exchange: Exchange) -> str:
        """@return: the client's address, C{""} if it has none of this family."""
        for source in self._theirs:
            host = ""
            if source.kind == "field" and exchange.connection.trusted:
                host = _said(exchange, source.field.lower().encode("ascii"))
            host = host or _real(exchange.connection.client[0], False)
            if host and (":" in host) == (family == socket.AF_INET6):
                return host
        return ""

    def verify(self) -> None:
        """
        Try what needs an interface or a privilege.

        @raise StartError: if it is not there; it says what helps.
        """
        if self.profile is not None:
            self.profile.verify()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as skt:
            word = "source-interface"
            try:
                if self.interface:
                    bindToInterface(skt, self.interface)
                word = "source"
                if self.transparent:
                    setTransparent(skt)
            except (NoInterface, NotPermitted) as failed:
                before = f"{self._where}: " if self._where is not None else ""
                raise StartError(f"{before}{word}: {failed.strerror}") from None


class _Preparation:
    """
    The sockets of one connection: the first, and one more each time that no port was
    left for the last.
    """

    __slots__ = ("_candidates", "_exchange", "_once", "_origin", "_tries")

    def __init__(self, origin: Origin, exchange: Exchange | None) -> None:
        self._origin = origin
        self._exchange = exchange
        self._candidates: list[_Fixed] | None = None
        self._once = ""
        self._tries = 0

    def prepare(self, skt: socket.socket) -> None:
        """@raise OSError: if the socket cannot be what it should be."""
        if self._once:
            raise NoSource(f"no source port is left for {self._once}")
        origin = self._origin
        family = skt.family
        if family == socket.AF_UNIX:
            self._once = "a UNIX socket"
            return
        if origin.interface:
            bindToInterface(skt, origin.interface)
        if origin.profile is not None:
            setAll(skt, origin.profile.connecting)
        if self._candidates is None:
            self._candidates = origin.candidates(family)
            if self._exchange is not None and origin.private:
                self._once = origin.theirs(family, self._exchange)
                if self._once:
                    setTransparent(skt)
                    _bind(skt, self._once)
                    return
            if not self._candidates:
                # The kernel chooses.
                self._once = "any address"
                return
        self._bindNext(skt, self._candidates)

    def _bindNext(self, skt: socket.socket, candidates: list[_Fixed]) -> None:
        while candidates:
            source = candidates[0]
            if self._tries >= min(max(source.ports, 1), MAX_TRIES):
                del candidates[0]
                self._tries = 0
                continue
            self._tries += 1
            try:
                if source.ports:
                    # Without it one port serves one server only.
                    skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    skt.bind((source.address, source.nextPort()))
                else:
                    _bind(skt, source.address)
            except OSError as failed:
                if failed.errno not in _IN_USE:
                    raise
                continue
            return
        tried = ", ".join(map(str, self._origin.fixed))
        raise NoSource(f"no source port is left of {tried}, or it is not of this machine")


def _bind(skt: socket.socket, host: str) -> None:
    skt.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    skt.bind((host, 0))


def _real(host: str, hearsay: bool) -> str:
    """
    @param hearsay: it was told by a peer; one that could be of this machine is not
        taken then.
    @return: an address that a connection can come from; C{""} for anything else.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return ""
    if hearsay and (address.is_loopback or address.is_reserved):
        return ""
    return str(address)


MAX_FIELD = 256
"""The last bytes of a field that are looked at; an address takes 45."""


def _said(exchange: Exchange, name: bytes) -> str:
    """@return: the last address of a field, C{""} if there is none."""
    request = exchange.request
    if request is None:
        return ""
    value = request.fields.get(name)
    if not value:
        return ""
    last = value[-MAX_FIELD:].rpartition(b",")[2].strip(b" \t\"").decode("latin-1")
    if last.startswith("["):
        last = last[1:].partition("]")[0]
    elif last.count(":") == 1:
        last = last.partition(":")[0]
    return _real(last, True)


def originOf(
    pool: PoolConfig, server: ServerConfig, profiles: Mapping[str, TCPConfig]
) -> Origin:
    """
    @param profiles: the C{[tcp]} sections by name.
    @return: what is written for a server, or else for its pool.
    """
    tcp = profiles.get(server.tcp or pool.tcp)
    return Origin(
        server.source or pool.source,
        server.source_interface or pool.source_interface,
        Profile(tcp) if tcp is not None else None,
        server.where if server.source or server.source_interface else pool.where,
    )
