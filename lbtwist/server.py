"""
A server: one member of a pool. Its address, its limits, how it is and how much
it has to do; no I/O, and no opinion about who is sent to it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.health import Health
from lbtwist.stats import ServerTraffic

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange


@attr.frozen
class Endpoint:
    """
    An address that a socket can connect to without asking anybody.

    @ivar address: C{(host, port)}, C{(host, port, flow, scope)} or a path.
    """

    family: int
    address: Any

    def __str__(self) -> str:
        if self.family == socket.AF_UNIX:
            return f"unix:{self.address}"
        host, port = self.address[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


@attr.frozen
class Member:
    """
    A server as an L{lbtwist.interfaces.IServerSource} tells of it.

    @ivar host: an address or a name.
    @ivar path: of a UNIX socket, in place of C{host} and C{port}.
    @ivar weight: L{None} where the source says nothing of it.
    @ivar priority: those with the lowest are used first, the others are backups in the
        order of theirs.
    @ivar name: what the source calls it; C{""} where it does not.
    @ivar sni: the name that its certificate is for; C{""} is its C{host}.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    weight: int | None = None
    priority: int = 0
    name: str = ""
    sni: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attr.frozen
class Found:
    """
    All that a source names.

    @ivar members: in the order in which they are used where the order counts.
    @ivar again: seconds for which this is good; L{None}: the source's C{interval}.
    @ivar left: what else it has said, each with the reason why that is no member.
    """

    members: tuple[Member, ...]
    again: float | None = None
    left: tuple[str, ...] = ()


@attr.frozen(eq=False)
class Forecast:
    """
    What a balancer would choose, and why.

    @ivar chosen: L{None} if there is no server, or the balancer does not know.
    @ivar scores: what it goes by, for servers of which it knows it.
    @ivar meaning: what the scores are, such as C{(active + 1) / weight, least first};
        C{""} without any.
    @ivar why: further words, such as what is hashed.
    """

    chosen: Server | None = None
    scores: Mapping[Server, float] = attr.field(factory=dict)
    meaning: str = ""
    why: str = ""


@attr.define(eq=False)
class Server:
    """
    One member of a pool.

    @ivar key: what hashes are made of: stays the same for the same server over
        restarts, and does not depend on the others.
    @ivar endpoint: where it listens; L{None} while its name is not resolved.
    @ivar weight: its share, from 0 (nobody new) to 256.
    @ivar maxconn: how many exchanges at once; 0 is no limit.
    @ivar active: exchanges that hold a slot of it now.
    @ivar idle: its unused connections, newest last; owned by L{lbtwist.reuse}.
    @ivar sessions: what can be aborted if it is marked down; owned by whoever
        runs the exchanges.
    @ivar proxy: makes the PROXY header that a connection for an exchange begins with;
        L{None} where none is sent. A connection with one is that client's alone.
    @ivar checkProxy: the same for a connection of ours, of its socket.
    @ivar tls: knows how TLS is spoken with it; L{None} where it is not.
    @ivar origin: the L{lbtwist.snat.Origin} of connections to it; L{None} where nothing
        is said of it.
    @ivar options: the L{lbtwist.config.model.ServerConfig} it was made of, if any.
    @ivar leaving: its source names it no more: it is forgotten when nothing of it runs.
    """

    pool: str
    name: str
    endpoint: Endpoint | None = None
    weight: int = 1
    backup: bool = False
    maxconn: int = 0
    key: str = attr.field(default="")
    health: Health = attr.field(factory=Health)
    active: int = 0
    idle: list[Any] = attr.field(factory=list)
    sessions: set[Any] = attr.field(factory=set)
    traffic: ServerTraffic = attr.field(factory=ServerTraffic)
    proxy: Callable[[Exchange], bytes] | None = None
    checkProxy: Callable[[socket.socket], bytes] | None = None
    tls: Any = None
    origin: Any = None
    options: Any = None
    leaving: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.key:
            self.key = f"{self.pool}/{self.name}"

    def __repr__(self) -> str:
        state = "up" if self.health.up else "down"
        if self.leaving:
            state = "leaving"
        elif self.health.admin != "ready":
            state = self.health.admin
        limit = f"/{self.maxconn}" if self.maxconn else ""
        return f"<Server {self.pool}/{self.name} {state} {self.active}{limit}>"

    @property
    def usable(self) -> bool:
        """Whether new clients may be sent to it."""
        return (
            self.endpoint is not None
            and self.weight > 0
            and self.health.usable
            and not self.leaving
        )

    @property
    def private(self) -> bool:
        """Whether a connection to it tells who the client is, and so is that client's alone."""
        return self.proxy is not None or (self.origin is not None and self.origin.private)

    @property
    def full(self) -> bool:
        """Whether it is at its limit."""
        return 0 < self.maxconn <= self.active
