"""The servers of a pool: one that is written down, or those that a source names."""

from __future__ import annotations

import re

import attr

from lbtwist.config.model.fields import SHORT, place
from lbtwist.config.model.named import Part
from lbtwist.config.passive import OBSERVE, ON_ERROR
from lbtwist.config.sources import Source, Sources, oneClient
from lbtwist.config.tracking import Tracked
from lbtwist.errors import Position
from lbtwist.options import (
    Flag,
    HostName,
    Integer,
    Name,
    Path,
    Protocols,
    Text,
    Time,
    TLSVersion,
    Word,
    Words,
    option,
)

# RFC 6265 section 4.1.1, without what stands between values and ours in them.
_COOKIE = re.compile(r"[!#-+\--:<-\[\]-{}]+")


@attr.frozen
class ServerConfig:
    """
    One C{server NAME =}.

    @ivar kind: C{tcp}, C{unix}, C{demo} (a small HTTP server in this process) or C{object}
        (whatever the program that embeds the balancer has given).
    @ivar host: an address or a name; of an object what it is called.
    """

    name: str
    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    weight: int = 1
    backup: bool = False
    disabled: bool = False
    maxconn: int = 0
    minconn: int = 0
    maxqueue: int = 0
    slowstart: float = 0.0
    cookie: str = ""
    check: bool = True
    track: str = ""
    observe: str = ""
    error_limit: int = 0
    on_error: str = ""
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
        if self.kind in ("demo", "object"):
            return f"{self.kind}:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attr.frozen
class ServerOptions:
    """What may follow an address in C{server NAME =}."""

    weight: int = option(Integer(0, 256), 1, "Its share of new clients.")
    backup: bool = option(Flag(), False, "Used only while no other server is usable.")
    disabled: bool = option(Flag(), False, "Whether it begins in maintenance.")
    maxconn: int = option(Integer(0), 0, "Exchanges at once; 0 is no limit.")
    minconn: int = option(
        Integer(0), 0, "Exchanges at once while its pool has little to do; 0 is maxconn."
    )
    maxqueue: int = option(
        Integer(0), 0, "So many bound clients wait for it; more get another server; 0: all wait."
    )
    slowstart: float = option(
        Time(), 0.0, "How long it takes to get all of its share once it is up; 0 is the pool's."
    )
    cookie: str = option(
        Text(), "", "Its name in plain cookies of persistence; empty is its own.",
        check=lambda text: None if _COOKIE.fullmatch(text) else f"{text!r} is no cookie's value",
    )  # fmt: skip
    check: bool = option(Flag(), True, "Whether the pool's check is run on it.")
    track: str = option(
        Tracked(), "", "The server whose health is its own, in place of a check; empty is none."
    )
    observe: str = option(OBSERVE, "", "Which errors of real traffic count; empty is the pool's.")
    error_limit: int = option(
        Integer(0), 0, "So many of these errors in a row lead to on-error; 0 is the pool's."
    )
    on_error: str = option(ON_ERROR, "", "What they lead to; empty is the pool's.")
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
        Name(), "", "The interface connections to it leave by.", check=SHORT
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
