"""A whole configuration: every section by its name, and what belongs to none of them."""

from __future__ import annotations

from collections.abc import Mapping

import attr

from lbtwist.config.model.admins import AdminBind
from lbtwist.config.model.fields import place
from lbtwist.config.model.frontends import FrontendConfig
from lbtwist.config.model.named import Part
from lbtwist.config.model.pools import PoolConfig
from lbtwist.config.model.transport import TCPConfig, TLSConfig
from lbtwist.errors import Position
from lbtwist.options import Integer, Time, option
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
    """

    maxconn: int = option(
        Integer(0), 0, "Client connections at once in the whole process; 0 is no limit."
    )
    max_handshakes: int = option(
        Integer(0), 1000, "TLS handshakes under way at once; more wait; 0 is no limit."
    )
    grace_period: float = option(
        Time(), 30.0, "How long a stop waits for what still runs before it is aborted."
    )
    admin: tuple[AdminBind, ...] = ()
    where: Position = place()


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
    """

    settings: GlobalConfig = GlobalConfig()
    frontends: Mapping[str, FrontendConfig] = attr.field(factory=dict)
    pools: Mapping[str, PoolConfig] = attr.field(factory=dict)
    tls: Mapping[str, TLSConfig] = attr.field(factory=dict)
    tcp: Mapping[str, TCPConfig] = attr.field(factory=dict)
    stores: Mapping[str, StoreConfig] = attr.field(factory=dict)
    conditions: Mapping[str, Expression] = attr.field(factory=dict)
