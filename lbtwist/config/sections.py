"""
What sections there are and what options each has: names, and what reads them. How they
fit together is L{lbtwist.config.load}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attr

from lbtwist.config.admin import readAdmin, readAudit
from lbtwist.config.checking import readCheck
from lbtwist.config.exports import readGraphite, readOTLP, readStatsD
from lbtwist.config.fill import Scope, optionFields, readField
from lbtwist.config.ini import Option
from lbtwist.config.logs import readErrorFile, readLogFormat, readLogFormatSD
from lbtwist.config.logtargets import readEventLog, readLog
from lbtwist.config.model import (
    FrontendConfig,
    GlobalConfig,
    PoolConfig,
    StoreConfig,
    TCPConfig,
    TLSConfig,
)
from lbtwist.config.notify import readNotify
from lbtwist.config.parts import readBalance, readPersist, readShared, readStore
from lbtwist.config.passive import readOutlier
from lbtwist.config.queues import readQueue
from lbtwist.config.rules import POOL_STAGES, STAGES, RuleLists, readNames, readRules
from lbtwist.config.values import (
    readBind,
    readName,
    readServer,
    readServers,
    readTLSName,
)
from lbtwist.registry import Registry
from lbtwist.sansio.errorfile import STATUSES

Reader = Callable[[Option, Scope, Registry], Any]

HTTP_ONLY = frozenset(
    {
        "timeout_request", "timeout_keepalive", "max_header_bytes", "max_headers", "max_uri",
        "max_body", "connect", "connect_allow", "connect_timeout", "connect_any_case",
        "forwarded", "trusted_proxies", "request_id_header", "via", "traceparent",
        "traceparent_sampling",
        "redirect_https", "client_cert_headers", "errors", "errorfiles", "http_ignore_probes",
    }
)  # fmt: skip
"""Fields of a frontend that say nothing in C{mode = tcp}."""

IN_TCP = "says nothing in mode = tcp; remove it or write mode = http"

PREFERRED = {"backend": "pool", "upstream": "pool", "member": "server",
             "server-template": "servers"}  # fmt: skip
"""Words that are accepted for others."""

USUAL = "roundrobin"
"""The balancer of a pool that names none."""

SERVER = "server"
SERVERS = "servers"
NAME = "name"
STORE = "persist-store"
LISTED = {SERVER, SERVERS, NAME}
"""Options that stand in a section more than once, each with a name."""

_RULES: dict[str, Reader] = {name: partial(readRules, stage) for name, stage in STAGES.items()}
_POOL_RULES: dict[str, Reader] = {name: _RULES[name] for name in POOL_STAGES}
_SPECIAL: dict[type[Any], dict[str, Reader]] = {
    GlobalConfig: {"admin": readAdmin, "audit": readAudit, "log": readLog, "notify": readNotify,
                   "event-log": readEventLog, "statsd": readStatsD, "graphite": readGraphite,
                   "otlp": readOTLP},
    FrontendConfig: {
        "bind": readBind, "pool": readName, "log": readLog, "log-format": readLogFormat,
        "log-format-sd": readLogFormatSD,
        "rules": readNames, **_RULES,
        **{f"errorfile-{status}": readErrorFile for status in STATUSES},
    },
    PoolConfig: {
        SERVER: readServer, SERVERS: readServers, "notify": readNotify,
        "balance": readBalance, "check": readCheck,
        "persist": readPersist, STORE: readStore,
        "outlier": readOutlier, "queue": readQueue, "rules": readNames, **_POOL_RULES,
    },
    RuleLists: _RULES,
    TLSConfig: {NAME: readTLSName},
    TCPConfig: {},
    StoreConfig: {"kind": readShared},
}

KINDS: dict[str, tuple[type[Any], ...]] = {
    "global": (GlobalConfig,),
    "defaults": (FrontendConfig, PoolConfig),
    "frontend": (FrontendConfig,),
    "pool": (PoolConfig,),
    "tls": (TLSConfig,),
    "tcp": (TCPConfig,),
    "store": (StoreConfig,),
    "rules": (RuleLists,),
    "conditions": (),
}
"""Every kind of section, and the classes that its options are fields of."""

NAMED = {"frontend", "pool", "tls", "tcp", "store", "rules"}
REFERRING = {"bind": ("tls", "tcp"), "admin": ("tls",), SERVER: ("tcp",), SERVERS: ("tcp",)}
"""Options in whose values C{KIND=NAME} names a section."""

USERS = {
    "tls": "bind or admin", "tcp": "bind, server, servers or pool", "rules": "frontend or pool",
    "store": "pool or limit",
}  # fmt: skip
NOT_IN_DEFAULTS = {"bind", SERVER, SERVERS, "rules", *STAGES}
NOT_INHERITED = {(PoolConfig, "maxconn")}
"""Options that [defaults] says for others only: there C{maxconn} counts clients, as it does
in HAProxy, and a limit of clients is not one of exchanges with servers."""


MERGED = {"errorfiles"}
"""Fields whose values are of several options; what [defaults] says of the others stays."""


def fieldOf(word: str) -> str:
    """@return: the field that an option is for."""
    return "errorfiles" if word.startswith("errorfile-") else word.replace("-", "_")


def writtenOf(field: str) -> str:
    """@return: the option that a field is of."""
    return "errorfile-NNN" if field == "errorfiles" else field.replace("_", "-")


def _readers(cls: type[Any]) -> dict[str, Reader]:
    """@return: what reads each option of a section."""

    def plain(
        field: attr.Attribute[Any], option: Option, scope: Scope, registry: Registry
    ) -> Any:
        return readField(field, option, scope)

    fields = {word: partial(plain, field) for word, field in optionFields(cls).items()}
    return {**_SPECIAL[cls], **fields}


READERS = {cls: _readers(cls) for cls in _SPECIAL}
"""What reads each option of a class."""
