"""What C{admin =} says: where administrators come in."""

from __future__ import annotations

import ipaddress
from typing import Any

import attr

from lbtwist.config.edge import places
from lbtwist.config.fill import BAD, Scope, fill
from lbtwist.config.ini import Option, Word
from lbtwist.config.model import AdminBind, AdminOptions
from lbtwist.config.values import itemsOf, tcpAddress, unixPath
from lbtwist.options import suggestion
from lbtwist.registry import Registry

_KNOWN = ("unix:PATH", "tcp:HOST:PORT")


def readAdmin(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: an L{AdminBind} for each address, or L{BAD}."""
    found: list[Any] = []
    items = itemsOf(option)
    if not items:
        scope.error(option.where, f"needs an address: {' or '.join(_KNOWN)}")
        return BAD
    for word, *words in items:
        bind = _address(word, scope)
        options = fill([AdminOptions], words, word.where, scope)
        if bind is BAD or options is None:
            found.append(BAD)
            continue
        said = places(words)
        if bind.kind == "tcp" and "level" not in said:
            scope.error(word.where, "needs level=: whoever is on this machine can connect to it")
            bind = BAD
        elif bind.kind == "tcp" and "mode" in said:
            scope.error(said["mode"], "mode: says nothing but of a UNIX socket")
            bind = BAD
        else:
            bind = attr.evolve(bind, **attr.asdict(options[0]))
            if any(str(bind) == str(other) for other in found if other is not BAD):
                scope.error(word.where, f"{word.text} is there twice")
        found.append(bind)
    return BAD if BAD in found else tuple(found)


def _address(word: Word, scope: Scope) -> Any:
    kind, _, rest = word.text.partition(":")
    try:
        if kind == "unix":
            return AdminBind("unix", path=unixPath(rest, word.where), where=word.where)
        if kind != "tcp":
            raise ValueError(f"unknown {word.text!r}{suggestion(word.text, _KNOWN)}")
        host, port = tcpAddress(rest)
        try:
            local = ipaddress.ip_address(host).is_loopback
        except ValueError:
            local = False
        if not local:
            raise ValueError(f"{host!r} is no address of this machine alone: write 127.0.0.1")
        return AdminBind("tcp", host, port, where=word.where)
    except ValueError as error:
        scope.error(word.where, str(error))
        return BAD
