"""What C{admin =} says: where administrators come in."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any

import attr

from lbtwist.config.edge import places
from lbtwist.config.fill import BAD, Scope, fill, relative
from lbtwist.config.ini import Option, Word
from lbtwist.config.model import AdminBind, AdminOptions, AuditTarget
from lbtwist.config.values import itemsOf, tcpAddress, unixPath
from lbtwist.options import suggestion
from lbtwist.registry import Registry

_KNOWN = ("unix:PATH", "tcp:HOST:PORT", "web:HOST:PORT")
_OF_WEB = ("tokens", "metrics", "tls")
_OF_COMMANDS = ("mode", "user", "group", "level", "timeout")
_OF_FILES = ("mode", "user", "group")


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
        wrong = _wrong(bind, options[0], said)
        if wrong:
            scope.error(said.get(wrong[0], word.where), wrong[1])
            bind = BAD
        else:
            if bind.kind == "web" and not bind.local and not options[0].tls:
                scope.warn(word.where, "tokens go over the network as they are; add tls=SECTION")
            bind = attr.evolve(bind, **attr.asdict(options[0]))
            if any(str(bind) == str(other) for other in found if other is not BAD):
                scope.error(word.where, f"{word.text} is there twice")
        found.append(bind)
    return BAD if BAD in found else tuple(found)


def _wrong(
    bind: AdminBind, options: AdminOptions, said: Collection[str]
) -> tuple[str, str] | None:
    """@return: the word that is wrong, if one is, and why."""
    for name in said:
        if name in _OF_WEB and bind.kind != "web":
            return name, f"{name}: says nothing but of web:HOST:PORT"
        if name in _OF_COMMANDS and bind.kind == "web":
            return name, f"{name}: says nothing of web:; what may be done is said by its tokens"
    if bind.kind == "tcp" and "level" not in said:
        return "", "needs level=: whoever is on this machine can connect to it"
    if bind.kind == "tcp":
        for name in _OF_FILES:
            if name in said:
                return name, f"{name}: says nothing but of a UNIX socket"
    if bind.kind == "web" and not bind.local and not options.tokens:
        return "", (
            "it can be reached from elsewhere, so it needs tokens=FILE; the command"
            " 'lbtwist token NAME --scope read' prints a line for it. Or write"
            f" web:127.0.0.1:{bind.port}, where anybody on this machine may read"
        )
    return None


def readAudit(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: an L{AuditTarget}, or L{BAD}."""
    words = option.words
    known = ("stdout", "file:PATH")
    if len(words) != 1:
        scope.error(words[1].where if words else option.where, f"needs {' or '.join(known)}")
        return BAD
    word = words[0]
    kind, _, path = word.text.partition(":")
    if word.text == "stdout":
        return AuditTarget(where=word.where)
    if kind != "file":
        scope.error(word.where, f"unknown {word.text!r}{suggestion(word.text, known)}")
        return BAD
    if not path:
        scope.error(word.where, "needs a path: file:PATH")
        return BAD
    return AuditTarget(relative(path, word.where), word.where)


def _address(word: Word, scope: Scope) -> Any:
    kind, _, rest = word.text.partition(":")
    try:
        if kind == "unix":
            return AdminBind("unix", path=unixPath(rest, word.where), where=word.where)
        if kind not in ("tcp", "web"):
            raise ValueError(f"unknown {word.text!r}{suggestion(word.text, _KNOWN)}")
        host, port = tcpAddress(rest)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            hint = f"{kind}:127.0.0.1:{port}"
            raise ValueError(f"{host!r} is not an address: write {hint}") from None
        bind = AdminBind(kind, host, port, where=word.where)
        if kind == "tcp" and not bind.local:
            raise ValueError(f"{host!r} is no address of this machine alone: write 127.0.0.1")
        return bind
    except ValueError as error:
        scope.error(word.where, str(error))
        return BAD
