"""
The configuration as frozen values: one class per section, one field per option.

Two configurations that say the same compare equal; places in files do not count.
The kinds and defaults are here, and nowhere else; L{lbtwist.config.load} fills
them in from text, an embedding program may make them directly.
"""

from lbtwist.config.model.admins import AdminBind, AdminOptions
from lbtwist.config.model.frontends import Bind, BindOptions, FrontendConfig, LogOptions, LogTarget
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
from lbtwist.config.model.whole import Config, GlobalConfig, StoreConfig
from lbtwist.config.passive import OutlierOptions
from lbtwist.config.sources import Source

__all__ = [
    "AdminBind",
    "AdminOptions",
    "Bind",
    "BindOptions",
    "CheckOptions",
    "CheckPart",
    "Combination",
    "Config",
    "FrontendConfig",
    "GlobalConfig",
    "LogOptions",
    "LogTarget",
    "Notify",
    "NotifyOptions",
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
    "StoreConfig",
    "TCPConfig",
    "TLSConfig",
    "TLSName",
]
