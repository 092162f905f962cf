"""Where administrators come in, and what they may do there."""

from __future__ import annotations

import ipaddress

import attr

from lbtwist.config.model.fields import place
from lbtwist.errors import Position
from lbtwist.options import Access, Name, Path, Time, Word, option


@attr.frozen
class AdminBind:
    """
    One address where administrators come in.

    @ivar kind: C{unix} or C{tcp} for commands, C{web} for HTTP.
    @ivar host: a numeric address; of C{tcp} one of this machine alone.
    @ivar path: of a UNIX socket.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o600
    user: str = ""
    group: str = ""
    level: str = "admin"
    timeout: float = 10.0
    tokens: str = ""
    metrics: str = "token"
    tls: str = ""
    where: Position = place()

    @property
    def local(self) -> bool:
        """Whether only this machine can connect to it."""
        return self.kind == "unix" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}:{host}:{self.port}"


@attr.frozen
class AuditTarget:
    """
    Where changes are written down.

    @ivar path: of a file; C{""} is standard output.
    """

    path: str = ""
    where: Position = place()


@attr.frozen
class AdminOptions:
    """What may follow an address in C{admin =}."""

    mode: int = option(Access(), 0o600, "Access mode of a UNIX socket, in octal.")
    user: str = option(Name(), "", "Whose a UNIX socket is; empty is who starts the balancer.")
    group: str = option(Name(), "", "Its group; empty is that of who starts the balancer.")
    level: str = option(
        Word("user", "operator", "admin"), "admin", "What may be done there by whoever connects."
    )
    timeout: float = option(
        Time(), 10.0, "How long who gives commands may say nothing.",
        check=lambda seconds: None if seconds > 0 else "must be more than 0",
    )  # fmt: skip
    tokens: str = option(Path(), "", "Who may do what by HTTP; without it anybody may read.")
    metrics: str = option(Word("token", "open"), "token", "Who may read the metrics.")
    tls: str = option(Name(), "", "The [tls] section of HTTPS.")
