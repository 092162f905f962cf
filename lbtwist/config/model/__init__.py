"""
The configuration as frozen values: one class per section, one field per option.

Two configurations that say the same compare equal; places in files do not count.
The kinds and defaults are here, and nowhere else; L{lbtwist.config.load} fills
them in from text, an embedding program may make them directly.
"""

from lbtwist.config.model.admins import AdminBind, AdminOptions, AuditTarget
from lbtwist.config.model.exports import (
    Collector,
    Export,
    GraphiteOptions,
    OTLPOptions,
    StatsDOptions,
)
from lbtwist.config.model.frontends import Bind, BindOptions, FrontendConfig
from lbtwist.config.model.logs import EventLogOptions, EventLogTarget, LogOptions, LogTarget
from lbtwist.config.model.named import (
    CheckOptions,
    CheckPart,
    Combination,
    Notify,
    NotifyOptions,
    Part,
    PartAt,
    RuleLine,
    RuleOptions,
)
from lbtwist.config.model.pools import PoolConfig
from lbtwist.config.model.servers import ServerConfig, ServerOptions, ServersConfig, ServersOptions
from lbtwist.config.model.transport import TCPConfig, TLSConfig, TLSName
from lbtwist.config.model.whole import Config, GlobalConfig, StoreConfig, Written
from lbtwist.config.passive import OutlierOptions
from lbtwist.config.sources import Source

__all__ = [
    "AdminBind",
    "AdminOptions",
    "AuditTarget",
    "Bind",
    "BindOptions",
    "CheckOptions",
    "CheckPart",
    "Collector",
    "Combination",
    "Config",
    "EventLogOptions",
    "EventLogTarget",
    "Export",
    "FrontendConfig",
    "GlobalConfig",
    "GraphiteOptions",
    "LogOptions",
    "LogTarget",
    "Notify",
    "NotifyOptions",
    "OTLPOptions",
    "OutlierOptions",
    "Part",
    "PartAt",
    "PoolConfig",
    "RuleLine",
    "RuleOptions",
    "ServerConfig",
    "ServerOptions",
    "ServersConfig",
    "ServersOptions",
    "Source",
    "StatsDOptions",
    "StoreConfig",
    "TCPConfig",
    "TLSConfig",
    "TLSName",
    "Written",
]
