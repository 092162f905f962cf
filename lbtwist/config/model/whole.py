"""A whole configuration: every section by its name, and what belongs to none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr

from lbtwist.config.ini import Document
from lbtwist.config.model.admins import AdminBind, AuditTarget
from lbtwist.config.model.exports import Collector, Export
from lbtwist.config.model.fields import place
from lbtwist.config.model.frontends import FrontendConfig
from lbtwist.config.model.logs import EventLogTarget
from lbtwist.config.model.named import Part
from lbtwist.config.model.pools import PoolConfig
from lbtwist.config.model.transport import TCPConfig, TLSConfig
from lbtwist.errors import Position
from lbtwist.options import Integer, Time, Workers, option
from lbtwist.rules.expression import Expression


@attr.frozen
class StoreConfig:
    """
    C{[store NAME]}: what pools and limits share, and several balancers.

    @ivar kind: makes an L{lbtwist.interfaces.ISharedStore}.
    """

    name: str
    kind: Part
    where: Position = place()


@attr.frozen
class GlobalConfig:
    """
    C{[global]}: the process as a whole.

    @ivar admin: where administrators come in.
    @ivar audit: where changes are written down; L{None}: in the log of the program.
    @ivar event_log: where the program's own events go.
    @ivar statsd: where numbers are sent to, as are those of C{graphite}.
    @ivar otlp: where spans are sent to.
    """

    maxconn: int = option(
        Integer(0), 0, "Client connections at once in the whole process; 0 is no limit."
    )
    max_handshakes: int = option(
        Integer(0), 1000, "TLS handshakes under way at once; more wait; 0 is no limit."
    )
    workers: int = option(
        Workers(), 0, "Processes that serve together; 0: this one alone; auto: one per processor."
    )
    grace_period: float = option(
        Time(), 30.0, "How long a stop waits for what still runs before it is aborted."
    )
    admin: tuple[AdminBind, ...] = ()
    audit: AuditTarget | None = None
    event_log: tuple[EventLogTarget, ...] = ()
    statsd: tuple[Export, ...] = ()
    graphite: tuple[Export, ...] = ()
    otlp: Collector | None = None
    where: Position = place()


@attr.frozen(eq=False)
class Written:
    """
    The text that a configuration was made of, for who adds to it, see
    L{lbtwist.config.amending}.

    @ivar document: its sections and its files.
    @ivar read: what each option of it was found to say, by the class that it is for and the
        option's identity, see L{lbtwist.config.said}. What was to be told of is not in it.
    @ivar warnings: what was to be told of.
    """

    document: Document
    read: Mapping[tuple[type[Any], int], Any] = attr.field(factory=dict)
    warnings: frozenset[str] = frozenset()

    def __reduce__(self) -> tuple[Any, ...]:
        # Identities say nothing of a copy, in another process or in this one.
        return type(None), ()


@attr.frozen
class Config:
    """
    A whole configuration.

    @ivar frontends: by name, in written order.
    @ivar pools: by name, in written order.
    @ivar tls: the C{[tls]} sections by name.
    @ivar tcp: the C{[tcp]} sections by name.
    @ivar stores: the C{[store]} sections by name.
    @ivar conditions: those of C{[conditions]} by name.
    @ivar written: what it was made of; L{None} where a program has made it, be it of another
        one.
    """

    settings: GlobalConfig = GlobalConfig()
    frontends: Mapping[str, FrontendConfig] = attr.field(factory=dict)
    pools: Mapping[str, PoolConfig] = attr.field(factory=dict)
    tls: Mapping[str, TLSConfig] = attr.field(factory=dict)
    tcp: Mapping[str, TCPConfig] = attr.field(factory=dict)
    stores: Mapping[str, StoreConfig] = attr.field(factory=dict)
    conditions: Mapping[str, Expression] = attr.field(factory=dict)
    # Not to be given: what is evolved from a configuration says something else than its text.
    written: Written | None = attr.field(default=None, init=False, eq=False, repr=False)

    def of(self, written: Written) -> Config:
        """Remember what it was made of, right after it was made. @return: itself."""
        object.__setattr__(self, "written", written)
        return self
