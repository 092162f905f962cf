"""Where administrators come in, and what they may do there."""

from __future__ import annotations

import attr

from lbtwist.config.model.fields import place
from lbtwist.errors import Position
from lbtwist.options import Access, Word, option


@attr.frozen
class AdminBind:
    """
    One address where commands are taken.

    @ivar kind: C{unix} or C{tcp}.
    @ivar host: a numeric address of this machine alone.
    @ivar path: of a UNIX socket.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o600
    level: str = "admin"
    where: Position = place()

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


@attr.frozen
class AdminOptions:
    """What may follow an address in C{admin =}."""

    mode: int = option(Access(), 0o600, "Access mode of a UNIX socket, in octal.")
    level: str = option(
        Word("user", "operator", "admin"), "admin", "What may be done there by whoever connects."
    )
