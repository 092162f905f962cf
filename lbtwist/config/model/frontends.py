"""Where clients come in: the addresses, what is allowed there, and where it is logged."""

from __future__ import annotations

from collections.abc import Mapping

import attr

from lbtwist.config.model.fields import SHORT, place
from lbtwist.config.model.logs import LogTarget
from lbtwist.config.model.named import RuleLine
from lbtwist.config.targets import Target, Targets
from lbtwist.errors import Position
from lbtwist.logformat import LogFormat
from lbtwist.options import (
    Access,
    FieldName,
    Flag,
    Integer,
    Name,
    Network,
    Networks,
    Number,
    Protocols,
    Redirect,
    Size,
    Time,
    Word,
    Words,
    option,
)
from lbtwist.sansio.errorfile import ErrorFile


@attr.frozen
class Bind:
    """
    One address to listen on.

    @ivar kind: C{tcp}, C{unix}, C{fd} or C{systemd}.
    @ivar host: a numeric address, or C{""} for every address (IPv6 and IPv4).
    @ivar port: the TCP port; for C{fd} and C{systemd} the number.
    @ivar path: of a UNIX socket.
    @ivar name: for C{systemd} that of the socket; C{""} where it is known by its number.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660
    backlog: int = 4096
    user: str = ""
    group: str = ""
    tls: str = ""
    alpn: tuple[bytes, ...] = ()
    tls_passthrough: bool = False
    accept_proxy: str = "no"
    accept_proxy_from: tuple[Network, ...] = ()
    interface: str = ""
    transparent: bool = False
    freebind: bool = False
    tcp: str = ""
    name: str = ""
    where: Position = place()

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind != "tcp":
            return f"{self.kind}:{self.name or self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attr.frozen
class BindOptions:
    """What may follow an address in C{bind =}."""

    mode: int = option(Access(), 0o660, "Access mode of a UNIX socket, in octal.")
    user: str = option(Name(), "", "Whose a UNIX socket is; empty is who starts the balancer.")
    group: str = option(Name(), "", "Its group; empty is that of who starts the balancer.")
    backlog: int = option(Integer(1), 4096, "Connections that may wait to be accepted.")
    tls: str = option(Name(), "", "The [tls] section that clients are met with; empty is plain.")
    alpn: tuple[bytes, ...] = option(
        Protocols(), (), "Protocols offered by ALPN, best first; empty is the mode's own."
    )
    tls_passthrough: bool = option(
        Flag(), False, "Read the ClientHello, but do not end TLS; only in mode tcp."
    )
    accept_proxy: str = option(
        Word("no", "yes", "optional"), "no", "Whether a PROXY header comes first.", bare="yes"
    )
    accept_proxy_from: tuple[Network, ...] = option(
        Networks(), (), "Peers whose PROXY header is believed; others may not connect."
    )
    interface: str = option(
        Name(), "", "Accept only what comes in by this interface.", check=SHORT
    )
    transparent: bool = option(Flag(), False, "The address need not be one of this machine.")
    freebind: bool = option(Flag(), False, "The address need not exist yet.")
    tcp: str = option(Name(), "", "The [tcp] section for accepted connections.")


@attr.frozen
class FrontendConfig:
    """
    C{[frontend NAME]}: where clients come in, and what happens to them.

    @ivar log_format: what a line of C{format=auto} looks like; L{None}: as the mode has it.
    @ivar log_format_sd: the structured data of lines for syslog servers; L{None}: none of
        its own.
    @ivar errorfiles: what is answered in place of pages, by their status.
    """

    name: str
    bind: tuple[Bind, ...] = ()
    pool: str = ""
    log: tuple[LogTarget, ...] = ()
    log_format: LogFormat | None = None
    log_format_sd: LogFormat | None = None
    errorfiles: Mapping[int, ErrorFile] = attr.field(factory=dict)
    connection: tuple[RuleLine, ...] = ()
    request: tuple[RuleLine, ...] = ()
    response: tuple[RuleLine, ...] = ()
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
    timeout_proxy: float = option(
        Time(), 3.0, "How long a client has for its PROXY header."
    )
    timeout_handshake: float = option(
        Time(), 10.0, "How long a client has for ClientHello and handshake."
    )
    redirect_https: int = option(
        Redirect(), 0, "Answer plain requests with 301, 302 or 308 to https; 0 is no."
    )
    client_cert_headers: tuple[str, ...] = option(
        Words("x-ssl", "rfc9440", "xfcc"), (), "How servers are told of client certificates."
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
        Word("deny", "forward", "terminate"),
        "deny",
        "CONNECT: answered with 405, or passed to the pool, or done here.",
    )
    connect_allow: tuple[Target, ...] = option(
        Targets(), (), "Where CONNECT may lead to; only with connect = terminate."
    )
    connect_timeout: float = option(
        Time(), 5.0, "How long the target of a CONNECT may take to be found and connected to."
    )
    connect_any_case: bool = option(
        Flag(), False, "Take connect, in whatever case, for CONNECT."
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
    traceparent: str = option(
        Word("off", "forward", "make", "restart"), "off",
        "What becomes of the trace that a request belongs to (W3C Trace Context).",
    )
    traceparent_sampling: float = option(
        Number(0, 100), 100.0, "Of a hundred traces that are made so many are marked as sampled."
    )
    errors: str = option(
        Word("html", "json"), "html", "What the balancer's own pages are written in."
    )
    http_ignore_probes: bool = option(
        Flag(), False, "Forget clients that have sent nothing, as browsers do that connect early."
    )
    via: str = option(
        Name(), "", "The name in a Via field on requests and responses; empty is none."
    )
    where: Position = place()
