"""
How connections are made: TLS with clients, by the name they ask for, and TCP on both sides.
How TLS is spoken with servers is in L{lbtwist.config.model.servers}.
"""

from __future__ import annotations

import attr

from lbtwist.config.model.fields import SHORT, place
from lbtwist.errors import Position
from lbtwist.options import (
    Flag,
    Integer,
    Name,
    Path,
    Paths,
    Size,
    Text,
    Time,
    TLSVersion,
    Word,
    option,
)


def _seconds(value: float) -> str | None:
    # MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of Linux.
    if value != int(value) or value > 32767:
        return "the kernel counts whole seconds, up to 32767s"
    return None


def _segment(value: int) -> str | None:
    # TCP_MIN_MSS and MAX_TCP_WINDOW of Linux.
    return None if value == 0 or 88 <= value <= 32767 else "0, or from 88 to 32767, is accepted"


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
        Name(), "", "The congestion control; empty is the kernel's.", check=SHORT
    )
    mss: int = option(Integer(), 0, "The largest segment; 0 is the kernel's.", check=_segment)
    fastopen: int = option(Integer(0), 0, "Pending TCP Fast Open requests; 0 is off.")
    defer_accept: float = option(
        Time(), 0.0, "Accept when data has come; 0 is at once.", check=_seconds
    )
    where: Position = place()
