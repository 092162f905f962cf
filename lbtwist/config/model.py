"""
The configuration as frozen values: one class per section, one field per option.

Two configurations that say the same compare equal; places in files do not count.
The kinds and defaults are here, and nowhere else; L{lbtwist.config.load} fills
them in from text, an embedding program may make them directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.config.sources import Source as Source
from lbtwist.config.sources import Sources, oneClient
from lbtwist.config.targets import Target as Target
from lbtwist.config.targets import Targets
from lbtwist.errors import NOWHERE, Position
from lbtwist.logformat import WORDS, LogFormat
from lbtwist.options import (
    Access,
    FieldName,
    Flag,
    HostName,
    Integer,
    Name,
    Network,
    Networks,
    Path,
    Paths,
    Protocols,
    Redirect,
    Size,
    Text,
    Time,
    TLSVersion,
    Word,
    Words,
    option,
)
from lbtwist.rules.expression import Expression
from lbtwist.rules.template import Template as Template
from lbtwist.sansio.errorfile import ErrorFile


def place() -> Any:
    """A field that says where something was written; it does not compare."""
    return attr.field(default=NOWHERE, eq=False, repr=False)


def _atMost(length: int) -> Callable[[str], str | None]:
    """@return: a further look at a name that the kernel bounds."""

    def check(name: str) -> str | None:
        return f"{name!r} is longer than {length} characters" if len(name) > length else None

    return check


# IFNAMSIZ and TCP_CA_NAME_MAX of Linux, without the zero at the end.
_SHORT = _atMost(15)


def _seconds(value: float) -> str | None:
    # MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of Linux.
    if value != int(value) or value > 32767:
        return "the kernel counts whole seconds, up to 32767s"
    return None


def _segment(value: int) -> str | None:
    # TCP_MIN_MSS and MAX_TCP_WINDOW of Linux.
    return None if value == 0 or 88 <= value <= 32767 else "0, or from 88 to 32767, is accepted"


@attr.frozen
class Part:
    """
    A part named in a value, with its options: C{balance = hash field=X-User}.

    @ivar name: the word; an L{lbtwist.registry.Extension} has this name.
    @ivar options: an instance of the extension's C{options} class.
    @ivar asked: each text with expressions, and each expression, among the options that were
        written: the option's name, what was made of it, and its word.
    """

    name: str
    options: Any
    where: Position = place()
    asked: tuple[tuple[str, Template | Expression, Any], ...] = attr.field(
        default=(), eq=False, repr=False
    )


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
    tls: str = ""
    alpn: tuple[bytes, ...] = ()
    tls_passthrough: bool = False
    accept_proxy: str = "no"
    accept_proxy_from: tuple[Network, ...] = ()
    interface: str = ""
    transparent: bool = False
    freebind: bool = False
    tcp: str = ""
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
        Name(), "", "Accept only what comes in by this interface.", check=_SHORT
    )
    transparent: bool = option(Flag(), False, "The address need not be one of this machine.")
    freebind: bool = option(Flag(), False, "The address need not exist yet.")
    tcp: str = option(Name(), "", "The [tcp] section for accepted connections.")


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
    tls: bool = False
    sni: str = ""
    verify: str = "required"
    ca: str = ""
    alpn: tuple[bytes, ...] = ()
    minimum: str = ""
    maximum: str = ""
    ciphers: str = ""
    ciphersuites: str = ""
    certificate: str = ""
    key: str = ""
    send_proxy: str = "no"
    send_proxy_options: tuple[str, ...] = ()
    check_send_proxy: str = "auto"
    source: tuple[Source, ...] = ()
    source_interface: str = ""
    tcp: str = ""
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
    tls: bool = option(Flag(), False, "Whether TLS is spoken with it.")
    sni: str = option(HostName(), "", "The name asked for, and verified; empty is its host name.")
    verify: str = option(
        Word("required", "none"), "required", "Whether its certificate must be good."
    )
    ca: str = option(Path(), "", "A PEM file of authorities; empty are those of the system.")
    alpn: tuple[bytes, ...] = option(Protocols(), (), "Protocols offered by ALPN, best first.")
    minimum: str = option(TLSVersion(), "", "The lowest version of TLS; empty is TLSv1.2.")
    maximum: str = option(TLSVersion(), "", "The highest version of TLS; empty is no limit.")
    ciphers: str = option(Text(), "", "OpenSSL's cipher list for TLSv1.2 and below.")
    ciphersuites: str = option(Text(), "", "Cipher suites of TLSv1.3.")
    certificate: str = option(Path(), "", "A PEM file: the certificate we show, and its key.")
    key: str = option(Path(), "", "The key, if it is not in the certificate's file.")
    send_proxy: str = option(
        Word("no", "v1", "v2"), "no", "Whether a PROXY header is sent first, and which.", bare="v1"
    )
    send_proxy_options: tuple[str, ...] = option(
        Words("ssl", "cn", "alpn", "authority", "unique-id", "crc32c"),
        (),
        "What a PROXY header of version 2 tells besides addresses.",
    )
    check_send_proxy: str = option(
        Word("auto", "yes", "no"),
        "auto",
        "Whether checks send a PROXY header; auto: as requests.",
        bare="yes",
    )
    source: tuple[Source, ...] = option(
        Sources(),
        (),
        "Where connections to it come from; several are taken in turn.",
        check=oneClient,
    )
    source_interface: str = option(
        Name(), "", "The interface connections to it leave by.", check=_SHORT
    )
    tcp: str = option(Name(), "", "The [tcp] section for connections to it.")


@attr.frozen
class ServersConfig:
    """
    One C{servers NAME =}: servers that come and go, as a source names them.

    HAProxy's word is C{server-template}, which is accepted: there it makes slots, and the
    DNS fills them. Here there are no empty slots; C{servers} says in the words of this file
    what it stands for, several lines C{server} with the same options.

    @ivar source: makes an L{lbtwist.interfaces.IServerSource}.
    @ivar text: the source as it was written.
    @ivar server: what each of them is but its name and its address.
    """

    name: str
    source: Part
    text: str
    server: ServerConfig
    count: int = 100
    interval: float = 0.0
    allow_empty: bool = False
    where: Position = place()


@attr.frozen
class ServersOptions:
    """What may follow a source in C{servers NAME =}, besides what may follow an address."""

    count: int = option(Integer(1, 4096), 100, "The most servers that are taken from it.")
    interval: float = option(
        Time(), 0.0, "The source is asked again after this time at the latest; 0 is its own."
    )
    allow_empty: bool = option(
        Flag(), False, "Whether an answer without servers is good, and all of them go."
    )


@attr.frozen
class LogTarget:
    """
    One place for access log lines: C{log = stdout format=http}.

    @ivar target: C{stdout}, or C{file}, or C{off}.
    @ivar format: of L{lbtwist.logformat.WORDS}; C{auto} is the frontend's C{log-format}, or
        what its mode has.
    """

    target: str
    path: str = ""
    format: str = "auto"
    where: Position = place()


@attr.frozen
class LogOptions:
    """What may follow a target in C{log =}."""

    format: str = option(
        Word(*WORDS), "auto", "What a line looks like; auto is log-format, or the mode's."
    )


@attr.frozen
class RuleOptions:
    """
    How long a verb may take that has to wait for something; written in the same line as
    the verb: C{policy deadline=2s on-error=deny}.
    """

    deadline: float = option(Time(), 5.0, "How long it may take to decide.")
    concurrency: int = option(Integer(0), 1000, "So many at once; 0 is no limit.")
    on_error: str = option(
        Word("deny", "allow", "503"),
        "deny",
        "What is decided when it fails, is late, or too many wait.",
    )


@attr.frozen
class RuleLine:
    """
    One line of rules: C{VERB ARGUMENTS [if CONDITION]}.

    @ivar text: as it was written.
    @ivar verb: makes what is asked; its C{options} may have L{Template} and
        L{Expression} in them.
    @ivar condition: L{None} if the line holds always.
    """

    text: str
    verb: Part
    condition: Expression | None = None
    asking: RuleOptions = RuleOptions()
    where: Position = place()


@attr.frozen
class TLSName:
    """
    What differs for one name that clients ask for: C{name old.example.com = ...}.

    @ivar pattern: a host name in lower case, or C{*.} and one.
    """

    pattern: str
    minimum: str = option(
        TLSVersion(), "", "The lowest version; empty is its own policy's, or the section's."
    )
    maximum: str = option(TLSVersion(), "", "The highest version; empty is the section's.")
    policy: str = option(
        Word("modern", "intermediate", "old"), "", "Mozilla's list; empty is the section's."
    )
    certificate: tuple[str, ...] = option(Paths(), (), "Its certificates; empty: by their names.")
    client_verify: str = option(
        Word("none", "optional", "required"),
        "",
        "Whether clients show certificates; empty is the section's.",
    )
    where: Position = place()


@attr.frozen
class TLSConfig:
    """C{[tls NAME]}: how clients are met with TLS."""

    name: str
    names: tuple[TLSName, ...] = ()
    certificate: tuple[str, ...] = option(
        Paths(), (), "PEM files with certificate, chain and key, or directories of them."
    )
    key: str = option(Path(), "", "The key, if it is not in the certificate's file.")
    key_password_file: str = option(Path(), "", "A file whose first line opens the keys.")
    strict_sni: bool = option(
        Flag(), False, "Refuse clients that ask for a name no certificate has."
    )
    policy: str = option(
        Word("modern", "intermediate", "old"), "intermediate", "Mozilla's list of what is good."
    )
    minimum: str = option(TLSVersion(), "", "The lowest version; empty is the policy's.")
    maximum: str = option(TLSVersion(), "", "The highest version; empty is no limit.")
    ciphers: str = option(Text(), "", "OpenSSL's cipher list up to TLSv1.2; empty: the policy's.")
    ciphersuites: str = option(Text(), "", "Cipher suites of TLSv1.3; empty: the policy's.")
    client_verify: str = option(
        Word("none", "optional", "required"), "none", "Whether clients show certificates."
    )
    client_ca: str = option(Path(), "", "A PEM file of authorities for client certificates.")
    client_crl: str = option(Path(), "", "A PEM file of revocation lists.")
    session_timeout: float = option(Time(), 300.0, "How long a session can be resumed.")
    session_cache: int = option(Integer(0), 20480, "Sessions kept for resumption.")
    tickets: bool = option(Flag(), True, "Whether sessions are resumed by tickets.")
    ocsp: str = option(
        Word("off", "file", "fetch"),
        "off",
        "Stapling of OCSP responses: FILE.ocsp beside FILE, or asked of the authority.",
    )
    reload: float = option(Time(), 10.0, "How often files are looked at; 0 is never.")
    keylog: str = option(Path(), "", "A file for session keys: whoever has it reads all.")
    where: Position = place()


@attr.frozen
class TCPConfig:
    """C{[tcp NAME]}: how TCP connections are set up."""

    name: str
    nodelay: bool = option(Flag(), True, "Send small pieces at once (TCP_NODELAY).")
    keepalive: float = option(
        Time(),
        0.0,
        "Probe a silent peer after this time (TCP_KEEPIDLE); 0 is never.",
        check=_seconds,
    )
    keepalive_interval: float = option(
        Time(), 0.0, "Between probes; 0 is the kernel's.", check=_seconds
    )
    keepalive_count: int = option(Integer(0, 127), 0, "Probes without answer; 0 is the kernel's.")
    user_timeout: float = option(
        Time(), 0.0, "How long sent data may stay without acknowledgement; 0 is the kernel's."
    )
    send_buffer: int = option(Size(), 0, "SO_SNDBUF; 0 lets the kernel choose.")
    receive_buffer: int = option(Size(), 0, "SO_RCVBUF; 0 lets the kernel choose.")
    congestion: str = option(
        Name(), "", "The congestion control; empty is the kernel's.", check=_SHORT
    )
    mss: int = option(Integer(), 0, "The largest segment; 0 is the kernel's.", check=_segment)
    fastopen: int = option(Integer(0), 0, "Pending TCP Fast Open requests; 0 is off.")
    defer_accept: float = option(
        Time(), 0.0, "Accept when data has come; 0 is at once.", check=_seconds
    )
    where: Position = place()


@attr.frozen
class GlobalConfig:
    """C{[global]}: the process as a whole."""

    maxconn: int = option(
        Integer(0), 0, "Client connections at once in the whole process; 0 is no limit."
    )
    max_handshakes: int = option(
        Integer(0), 1000, "TLS handshakes under way at once; more wait; 0 is no limit."
    )
    grace_period: float = option(
        Time(), 30.0, "How long a stop waits for what still runs before it is aborted."
    )
    where: Position = place()


@attr.frozen
class FrontendConfig:
    """
    C{[frontend NAME]}: where clients come in, and what happens to them.

    @ivar log_format: what a line of C{format=auto} looks like; L{None}: as the mode has it.
    @ivar errorfiles: what is answered in place of pages, by their status.
    """

    name: str
    bind: tuple[Bind, ...] = ()
    pool: str = ""
    log: tuple[LogTarget, ...] = ()
    log_format: LogFormat | None = None
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


@attr.frozen
class PoolConfig:
    """
    C{[pool NAME]}: servers that do the same job.

    @ivar templates: the servers that are not written down, by where they come from.
    """

    name: str
    servers: tuple[ServerConfig, ...] = ()
    templates: tuple[ServersConfig, ...] = ()
    balance: Part = Part("roundrobin", None)
    check: CheckPart | None = None
    request: tuple[RuleLine, ...] = ()
    response: tuple[RuleLine, ...] = ()
    mode: str = option(
        Word("any", "http", "tcp"), "any", "What its servers speak; any fits every frontend."
    )
    http_reuse: str = option(
        Word("never", "safe", "always"),
        "safe",
        "Whether server connections are used again for other requests.",
    )
    absolute_uri: bool = option(
        Flag(), False, "Requests name the whole URI, as forward proxies want it."
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
    source: tuple[Source, ...] = option(
        Sources(),
        (),
        "Where connections to servers come from; a server may say otherwise.",
        check=oneClient,
    )
    source_interface: str = option(
        Name(), "", "The interface connections to servers leave by.", check=_SHORT
    )
    tcp: str = option(Name(), "", "The [tcp] section for connections to servers.")
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

    @property
    def members(self) -> tuple[ServerConfig, ...]:
        """The servers that are written down, and what those of each source have in common."""
        return (*self.servers, *(template.server for template in self.templates))


@attr.frozen
class Config:
    """
    A whole configuration.

    @ivar frontends: by name, in written order.
    @ivar pools: by name, in written order.
    @ivar tls: the C{[tls]} sections by name.
    @ivar tcp: the C{[tcp]} sections by name.
    @ivar conditions: those of C{[conditions]} by name.
    """

    settings: GlobalConfig = GlobalConfig()
    frontends: Mapping[str, FrontendConfig] = attr.field(factory=dict)
    pools: Mapping[str, PoolConfig] = attr.field(factory=dict)
    tls: Mapping[str, TLSConfig] = attr.field(factory=dict)
    tcp: Mapping[str, TCPConfig] = attr.field(factory=dict)
    conditions: Mapping[str, Expression] = attr.field(factory=dict)
