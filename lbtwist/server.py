"""
A server: one member of a pool. Its address, its limits, how it is and how much
it has to do; no I/O, and no opinion about who is sent to it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from copy import copy
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

    def at(self, port: int) -> Endpoint:
        """@return: the same host with another port; for 0, and of a path, this one."""
        if not port or isinstance(self.address, str):
            return self
        host, _, *more = self.address
        return attr.evolve(self, address=(host, port, *more))


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
    @ivar recalled: the server that persistence names, which comes before all others.
    @ivar known: how it is known, or why persistence cannot say; C{""} if it names none.
    """

    chosen: Server | None = None
    scores: Mapping[Server, float] = attr.field(factory=dict)
    meaning: str = ""
    why: str = ""
    recalled: Server | None = None
    known: str = ""


LEAST_WEIGHT = 0.01
"""The share of who is to get some, however little: nothing means nobody new."""

MOST_WEIGHT = 256
"""The heaviest that a server becomes, whatever its check says."""


@attr.define(eq=False)
class Load:
    """
    How much a pool has to do.

    @ivar exchanges: those that hold a slot, and those that wait for one.
    @ivar fullconn: with so many the limits of its servers are what C{maxconn} says.
    """

    exchanges: int = 0
    fullconn: int = 0


@attr.define(eq=False)
class Capacity:
    """
    All that a server's weight and limit are made of. Who changes something here has
    L{Server.adapt} see to it that it counts.

    @ivar weight: its own, from 0 to 256: as it is written, or as its source says.
    @ivar maxconn: its own limit: as it is written, or as its check says; 0 is none.
    @ivar minconn: its limit while its pool has little to do; 0: as at all times.
    @ivar percent: how much of its own weight counts, by what its check says.
    @ivar warmth: how much of weight and limit it has while it starts slowly, above 0 up to 1.
    @ivar load: that of its pool; L{None} where it does not count.
    """

    weight: int = 1
    maxconn: int = 0
    minconn: int = 0
    percent: int = 100
    warmth: float = 1.0
    load: Load | None = None

    @property
    def share(self) -> float:
        """The weight that follows, in hundredths."""
        if not self.weight or not self.percent:
            return 0
        found = round(self.weight * self.percent * self.warmth / 100, 2)
        found = min(MOST_WEIGHT, max(LEAST_WEIGHT, found))
        return int(found) if found == int(found) else found

    @property
    def limit(self) -> int:
        """The limit that follows, as HAProxy has it (its manual, 5.2 minconn, slowstart)."""
        limit = self.maxconn
        load = self.load
        if load is not None and load.exchanges < load.fullconn:
            limit = min(limit, max(self.minconn, load.exchanges * limit // load.fullconn))
        if limit and self.warmth < 1:
            limit = max(1, int(limit * self.warmth))
        return limit


@attr.define(eq=False)
class Server:
    """
    One member of a pool.

    @ivar key: what hashes are made of: stays the same for the same server over
        restarts, and does not depend on the others.
    @ivar endpoint: where it listens; L{None} while its name is not resolved. A connection that
        was opened to another object than this, equal or not, is not used again: see L{renew}.
    @ivar weight: its share now, from 0 (nobody new) to 256; in hundredths where it starts
        slowly, or its check has said so.
    @ivar maxconn: how many exchanges at once now; 0 is no limit.
    @ivar capacity: what these two are made of.
    @ivar maxqueue: so many of those who are bound to it wait for it; 0 is no limit.
    @ivar slowstart: seconds until it has all of its weight after it came up; 0: at once.
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
    @ivar role: what its check says it is, such as C{primary}; C{""} if it says nothing.
    @ivar watch: the L{lbtwist.passive.Watch} that is told what becomes of exchanges with it;
        L{None} where nobody wants to know.
    @ivar leaving: its source names it no more: it is forgotten when nothing of it runs.
    """

    pool: str
    name: str
    endpoint: Endpoint | None = None
    weight: float = 1
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
    role: str = ""
    watch: Any = None
    maxqueue: int = 0
    slowstart: float = 0.0
    capacity: Capacity = attr.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.capacity = Capacity(int(self.weight), self.maxconn)
        if not self.key:
            self.key = f"{self.pool}/{self.name}"

    def __repr__(self) -> str:
        state = "up" if self.health.up else "down"
        if self.leaving:
            state = "leaving"
        elif self.health.admin != "ready":
            state = self.health.admin
        elif self.health.up and self.health.ejected:
            state = "ejected"
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
    def recallable(self) -> bool:
        """Whether clients who are bound to it may be sent to it."""
        return self.endpoint is not None and self.health.recallable and not self.leaving

    @property
    def private(self) -> bool:
        """Whether a connection to it tells who the client is, and so is that client's alone."""
        return self.proxy is not None or (self.origin is not None and self.origin.private)

    @property
    def full(self) -> bool:
        """Whether it is at its limit."""
        return 0 < self.maxconn <= self.active

    @property
    def whole(self) -> int:
        """Its weight, for who can use no fraction and does not see that it starts slowly."""
        return max(1, round(self.weight / self.capacity.warmth))

    def renew(self) -> None:
        """What is spoken on its connections is another now: those that stand are not used again."""
        self.endpoint = copy(self.endpoint)

    def adapt(self) -> bool:
        """
        Have weight and limit be what its capacity says.

        @return: whether one of them is another now: its pool has to be told.
        """
        before = self.weight, self.maxconn
        self.weight = self.capacity.share
        self.maxconn = self.capacity.limit
        return (self.weight, self.maxconn) != before
