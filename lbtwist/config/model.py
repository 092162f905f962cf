"""
The configuration as frozen values: one class per section, one field per option.

Two configurations that say the same compare equal; places in files do not count.
The kinds and defaults are here, and nowhere else; L{lbtwist.config.load} fills
them in from text, an embedding program may make them directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr

from lbtwist.errors import NOWHERE, Position
from lbtwist.options import (
    Access,
    FieldName,
    Flag,
    Integer,
    Name,
    Network,
    Networks,
    Size,
    Time,
    Word,
    option,
)


def place() -> Any:
    """A field that says where something was written; it does not compare."""
    return attr.field(default=NOWHERE, eq=False, repr=False)


@attr.frozen
class Part:
    """
    A part named in a value, with its options: C{balance = hash field=X-User}.

    @ivar name: the word; an L{lbtwist.registry.Extension} has this name.
    @ivar options: an instance of the extension's C{options} class.
    """

    name: str
    options: Any
    where: Position = place()


@attr.frozen
class CheckOptions:
    """
    How often a server is checked, and how many results it takes. Written in the
    same value as the check itself: C{check = http GET / interval=2s rise=2}.
    """

    interval: float = option(Time(), 2.0, "From the start of one check to the next.")
    fast: float = option(
        Time(), 0.0, "The interval while results speak against the state; 0 is the interval."
    )
    timeout: float = option(Time(), 0.0, "One check may take this long; 0 is the interval.")
    rise: int = option(Integer(1), 2, "So many checks in a row pass before a server is up.")
    fall: int = option(Integer(1), 3, "So many checks in a row fail before it is down.")
    jitter: int = option(Integer(0, 100), 10, "Intervals vary by this many percent.")
    port: int = option(Integer(0, 65535), 0, "Check this port; 0 is the server's own.")


@attr.frozen
class CheckPart:
    """
    One C{check =}: what to probe, and when.

    @ivar probe: makes an L{lbtwist.interfaces.IHealthCheck}.
    """

    probe: Part
    timing: CheckOptions


@attr.frozen
class Bind:
    """
    One address to listen on.

    @ivar kind: C{tcp}, C{unix}, C{fd} or C{systemd}.
    @ivar host: a numeric address, or C{""} for every address (IPv6 and IPv4).
    @ivar port: the TCP port; for C{fd} and C{systemd} the number.
    @ivar path: of a UNIX socket.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660
    backlog: int = 4096
    where: Position = place()

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind != "tcp":
            return f"{self.kind}:{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attr.frozen
class BindOptions:
    """What may follow an address in C{bind =}."""

    mode: int = option(Access(), 0o660, "Access mode of a UNIX socket, in octal.")
    backlog: int = option(Integer(1), 4096, "Connections that may wait to be accepted.")


@attr.frozen
class ServerConfig:
    """
    One C{server NAME =}.

    @ivar kind: C{tcp}, C{unix} or C{demo} (a small HTTP server in this process).
    @ivar host: an address or a name.
    """

    name: str
    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    weight: int = 1
    backup: bool = False
    maxconn: int = 0
    check: bool = True
    where: Position = place()

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "demo":
            return f"demo:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attr.frozen
class ServerOptions:
    """What may follow an address in C{server NAME =}."""

    weight: int = option(Integer(0, 256), 1, "Its share of new clients.")
    backup: bool = option(Flag(), False, "Used only while no other server is usable.")
    maxconn: int = option(Integer(0), 0, "Exchanges at once; 0 is no limit.")
    check: bool = option(Flag(), True, "Whether the pool's check is run on it.")


@attr.frozen
class LogTarget:
    """
    One place for access log lines: C{log = stdout format=http}.

    @ivar target: C{stdout}, or C{file}, or C{off}.
    @ivar format: C{http}, C{tcp} or C{json}; C{auto} takes the frontend's mode.
    """

    target: str
    path: str = ""
    format: str = "auto"
    where: Position = place()


@attr.frozen
class LogOptions:
    """What may follow a target in C{log =}."""

    format: str = option(
        Word("auto", "http", "tcp", "json"), "auto", "What a line looks like; auto is the mode's."
    )


@attr.frozen
class GlobalConfig:
    """C{[global]}: the process as a whole."""

    maxconn: int = option(
        Integer(0), 0, "Client connections at once in the whole process; 0 is no limit."
    )
    grace_period: float = option(
        Time(), 30.0, "How long a stop waits for what still runs before it is aborted."
    )
    where: Position = place()


@attr.frozen
class FrontendConfig:
    """C{[frontend NAME]}: where clients come in, and what happens to them."""

    name: str
    bind: tuple[Bind, ...] = ()
    pool: str = ""
    log: tuple[LogTarget, ...] = ()
    mode: str = option(Word("http", "tcp"), "http", "What is spoken with clients.")
    maxconn: int = option(
        Integer(0), 0, "Client connections at once; more wait in the kernel; 0 is no limit."
    )
    timeout_client: float = option(
        Time(), 50.0, "How long a client may neither send nor take anything."
    )
    timeout_request: float = option(
        Time(), 10.0, "How long a client has for a whole request head."
    )
    timeout_keepalive: float = option(
        Time(), 0.0, "How long a client may be idle between requests; 0 is timeout-request."
    )
    timeout_client_fin: float = option(
        Time(), 0.0, "timeout-client after the client has ended its side; 0 is timeout-client."
    )
    max_header_bytes: int = option(
        Size(), 32 * 1024, "The most bytes of a request head; more is answered with 431."
    )
    max_headers: int = option(
        Integer(1), 128, "The most fields of a request head; more is answered with 431."
    )
    max_uri: int = option(
        Size(), 8 * 1024, "The longest request target; a longer one is answered with 414."
    )
    max_body: int = option(
        Size(), 0, "The longest request body; a longer one is answered with 413; 0 is no limit."
    )
    connect: str = option(
        Word("deny", "forward"), "deny", "CONNECT: answered with 405, or passed to the pool."
    )
    forwarded: str = option(
        Word("x", "rfc7239", "both", "none"),
        "x",
        "How servers are told of the client: X-Forwarded-For and its kin, Forwarded, both.",
    )
    trusted_proxies: tuple[Network, ...] = option(
        Networks(), (), "Peers whose word on the client is kept and added to."
    )
    request_id_header: str = option(
        FieldName(), "", "A field that carries an identifier of the request to the server."
    )
    via: str = option(
        Name(), "", "The name in a Via field on requests and responses; empty is none."
    )
    where: Position = place()


@attr.frozen
class PoolConfig:
    """C{[pool NAME]}: servers that do the same job."""

    name: str
    servers: tuple[ServerConfig, ...] = ()
    balance: Part = Part("roundrobin", None)
    check: CheckPart | None = None
    mode: str = option(
        Word("any", "http", "tcp"), "any", "What its servers speak; any fits every frontend."
    )
    http_reuse: str = option(
        Word("never", "safe", "always"),
        "safe",
        "Whether server connections are used again for other requests.",
    )
    idle_connections: int = option(
        Integer(0), 256, "Unused connections kept per server."
    )
    idle_timeout: float = option(
        Time(), 30.0, "How long an unused connection to a server is kept."
    )
    idle_age: float = option(
        Time(), 3600.0, "A connection older than this is not kept; 0 is no limit."
    )
    retries: int = option(
        Integer(0, 100), 3, "How many more connects are tried after the first failed."
    )
    maxqueue: int = option(
        Integer(0), 0, "The most exchanges that wait for a slot; 0 is no limit."
    )
    on_marked_down: str = option(
        Word("none", "shutdown-sessions"),
        "none",
        "What happens to the sessions of a server that is marked down.",
    )
    timeout_connect: float = option(
        Time(), 5.0, "How long a connection to a server may take to be made."
    )
    timeout_queue: float = option(
        Time(), 0.0, "How long an exchange waits for a slot; 0 is timeout-connect."
    )
    timeout_server: float = option(
        Time(), 50.0, "How long a server may neither send nor take anything."
    )
    timeout_server_fin: float = option(
        Time(), 0.0, "timeout-server after the server has ended its side; 0 is timeout-server."
    )
    timeout_tunnel: float = option(
        Time(), 0.0, "How long a tunnel may be silent on both sides; 0: timeout-client and -server."
    )
    where: Position = place()


@attr.frozen
class Config:
    """
    A whole configuration.

    @ivar frontends: by name, in written order.
    @ivar pools: by name, in written order.
    """

    settings: GlobalConfig = GlobalConfig()
    frontends: Mapping[str, FrontendConfig] = attr.field(factory=dict)
    pools: Mapping[str, PoolConfig] = attr.field(factory=dict)
