"""
What the value of one option says: words to addresses, parts and plain values.

Each C{read...} here reads one C{key = value} and tells a
L{lbtwist.config.fill.Scope} what is wrong with it, or returns
L{lbtwist.config.fill.BAD}. What options there are and how sections fit together is not known here;
that is L{lbtwist.config.load}.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import attr
from zope.interface.interface import InterfaceClass

from lbtwist.config.edge import checkedBind, checkServer
from lbtwist.config.fill import BAD, Scope, fill, relative
from lbtwist.config.ini import PLAIN, Option, Word
from lbtwist.config.model import (
    Bind,
    BindOptions,
    Part,
    ServerConfig,
    ServerOptions,
    ServersConfig,
    ServersOptions,
    TLSName,
)
from lbtwist.errors import Position
from lbtwist.interfaces import IServerSource
from lbtwist.options import HostName, Integer, Name, suggestion
from lbtwist.registry import Registry

UNIX_PATH_LIMIT = 107
"""The longest path of a UNIX socket in bytes (C{sun_path} of Linux, unix(7))."""


def unixPath(path: str, where: Position) -> str:
    """
    @return: the path of a UNIX socket, absolute.
    @raise ValueError: if it can be none.
    """
    found = relative(path, where) if path else ""
    if not found:
        raise ValueError("needs a path: unix:PATH")
    if len(os.fsencode(found)) > UNIX_PATH_LIMIT:
        limit = UNIX_PATH_LIMIT
        raise ValueError(f"{path!r} is too long for a UNIX socket: at most {limit} bytes, absolute")
    return found


def _hostAndPort(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and rest[0] != ":"):
            raise ValueError(f"{text!r} is not an address: write [ADDRESS]:PORT")
        try:
            return str(ipaddress.IPv6Address(host)), rest[1:]
        except ValueError:
            raise ValueError(f"{host!r} is not an IPv6 address") from None
    if text.startswith("/"):
        raise ValueError(f"{text!r} has no port; a UNIX socket is written unix:{text}")
    host, colon, port = text.rpartition(":")
    if not colon:
        hint = f":{text}" if re.fullmatch("[0-9-]+", text) else f"{text}:PORT"
        raise ValueError(f"{text!r} has no port: write {hint}")
    if ":" in host:
        raise ValueError(f"an IPv6 address is written in brackets: [{host}]:{port}")
    return host, port


def _number(text: str, least: int, most: int, what: str) -> int:
    try:
        return Integer(least, most).parse(text)
    except ValueError as error:
        raise ValueError(f"{what}: {error}" if text else f"needs a {what}") from None


def _addresses(text: str, where: Position) -> list[Bind]:
    """@raise ValueError: with what is wrong with the address of a C{bind}."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        return [Bind("unix", path=unixPath(rest, where), where=where)]
    if scheme == "systemd" and re.fullmatch("-?[0-9]*", rest) is None:
        return [Bind(scheme, name=_socketName(rest), where=where)]
    if scheme in ("fd", "systemd"):
        return [Bind(scheme, port=_number(rest, 0, 65535, "number"), where=where)]
    host, port = _hostAndPort(text)
    if host and host != "*":
        try:
            host = str(ipaddress.ip_address(host))
        except ValueError:
            raise ValueError(
                f"{host!r} is not an address; a name cannot be listened on: write 127.0.0.1:{port}"
            ) from None
    first, dash, last = port.partition("-")
    begin = _number(first, 0, 65535, "port")
    end = _number(last, 1, 65535, "port") if dash else begin
    if end < begin or (dash and not begin):
        raise ValueError(f"{port!r} is not a range of ports: write 8000-8010")
    host = "" if host == "*" else host
    return [Bind("tcp", host, number, where=where) for number in range(begin, end + 1)]


def _socketName(text: str) -> str:
    """@raise ValueError: if it is no name that systemd.socket(5) takes for a socket."""
    if len(text) > 255 or not text.isascii() or not text.isprintable() or ":" in text:
        raise ValueError(
            f"{text!r} is no name of a socket of systemd: at most 255 characters, and no colon"
        )
    return text


def itemsOf(option: Option) -> list[list[Word]]:
    """@return: the words of each item: one to a line, or L{separated} by commas."""
    return [item for line in option.lines for item in separated(line.words())]


def separated(words: Sequence[Word]) -> list[list[Word]]:
    """
    @return: the words of each item. In those after the first of an item a comma separates
        only at the end.
    """
    found: list[list[Word]] = []
    item: list[Word] = []
    for word in words:
        if not item:
            *whole, begun = word.cut(",")
            found += [[one] for one in whole if one.text]
            if begun.text:
                item = [begun]
                found.append(item)
        elif word.marks.endswith(PLAIN) and word.text.endswith(","):
            if len(word.text) > 1:
                item.append(word.slice(0, len(word.text) - 1))
            item = []
        else:
            item.append(word)
    return found


def readBind(option: Option, scope: Scope, registry: Registry) -> Any:
    found: list[Any] = []
    items = itemsOf(option)
    if not items:
        scope.error(option.where, "needs an address: HOST:PORT, :PORT or unix:PATH")
        return BAD
    for address, *words in items:
        try:
            binds = _addresses(address.text, address.where)
        except ValueError as error:
            scope.error(address.where, str(error))
            binds = BAD
        options = fill([BindOptions], words, address.where, scope)
        if binds is BAD or options is None:
            found.append(BAD)
            continue
        checked = checkedBind(binds[0].kind, options[0], words, scope)
        found += [attr.evolve(one, **attr.asdict(checked, recurse=False)) for one in binds]
    return BAD if BAD in found else tuple(found)


def _server(text: str, where: Position) -> dict[str, Any]:
    """@raise ValueError: with what is wrong with the address of a server."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        return {"kind": "unix", "path": unixPath(rest, where)}
    if scheme in ("demo", "object"):
        return {"kind": scheme, "host": Name().parse(rest)}
    host, number = tcpAddress(text)
    return {"kind": "tcp", "host": host, "port": number}


def tcpAddress(text: str) -> tuple[str, int]:
    """
    @param text: C{HOST:PORT}, an address of IPv6 in brackets.
    @return: the host, a name in lower case, and the port.
    @raise ValueError: with what is wrong with it.
    """
    host, port = _hostAndPort(text)
    # A last label of digits alone is of an address (RFC 1123 section 2.1).
    if ":" not in host and re.search(r"(^|\.)[0-9]+\.?$", host):
        try:
            host = str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"{host!r} is not an IPv4 address") from None
    elif ":" not in host:
        host = host.lower()
        if not HostName.good(host):
            raise ValueError(f"{host!r} is neither an address nor a host name")
    return host, _number(port, 1, 65535, "port")


def readServer(option: Option, scope: Scope, registry: Registry) -> Any:
    try:
        name = Name().parse(option.name)
    except ValueError as error:
        message = str(error) if option.name else "needs a name: server NAME = HOST:PORT"
        scope.error(option.where, message)
        name = BAD
    if not option.words:
        known = "HOST:PORT, unix:PATH, demo:NAME or object:NAME"
        scope.error(option.where, f"needs an address: {known}")
        return BAD
    address, *words = option.words
    try:
        found = _server(address.text, address.where)
    except ValueError as error:
        scope.error(address.where, str(error))
        found = BAD
    options = fill([ServerOptions], words, address.where, scope)
    if found is BAD or options is None:
        return BAD
    checkServer(found["kind"], options[0], words, scope)
    if name is BAD:
        return BAD
    plain = attr.asdict(options[0], recurse=False)
    return ServerConfig(name, **found, **plain, where=address.where)


def readServers(option: Option, scope: Scope, registry: Registry) -> Any:
    """Read the servers that a source names: C{servers NAME = SOURCE:... [OPTION ...]}."""
    try:
        name = Name().parse(option.name)
    except ValueError as error:
        message = str(error) if option.name else "needs a name: servers NAME = SOURCE:..."
        scope.error(option.where, message)
        name = BAD
    if not option.words:
        known = ", ".join(registry.names(IServerSource))
        scope.error(option.where, f"needs a source: SOURCE:..., known are {known}")
        return BAD
    word, *words = option.words
    kind, colon, rest = word.text.partition(":")
    said = word.slice(0, len(kind))
    if kind not in registry.names(IServerSource) and not _isBad(_server, word):
        scope.error(word.where, f"one server is written server {option.name} = {word.text}")
        return BAD
    cls = classOf(IServerSource, said, scope, registry)
    if cls is BAD:
        return BAD
    # What says where is the source's, whatever it looks like: a URL has its own ?KEY=VALUE.
    first = word.slice(len(kind) + 1, len(word.text)) if colon and rest else None
    made = fill(
        [ServersOptions, ServerOptions, cls], words, word.where, scope, first=first
    )  # fmt: skip
    if made is None:
        return BAD
    options, common, own = made
    checkServer("tcp", common, words, scope)
    if name is BAD:
        return BAD
    plain = attr.asdict(common, recurse=False)
    template = ServerConfig(name, "tcp", **plain, where=word.where)
    return ServersConfig(
        name, Part(kind, own, where=word.where), word.text, template,
        **attr.asdict(options, recurse=False), where=word.where,
    )  # fmt: skip


def _isBad(read: Callable[[str, Position], Any], word: Word) -> bool:
    try:
        read(word.text, word.where)
    except ValueError:
        return True
    return False


def readTLSName(option: Option, scope: Scope, registry: Registry) -> Any:
    pattern = option.name.lower().removesuffix(".")
    if not HostName.good(pattern.removeprefix("*.")):
        wrong = f"{option.name!r} is neither a host name nor *. and one"
        if not option.name.isascii():
            wrong += "; write it as it is asked for: xn--..."
        scope.error(option.where, wrong if option.name else "needs a name: name HOST = OPTION ...")
        pattern = BAD
    if not option.words:
        scope.error(option.where, "needs an option, as minimum=TLSv1.3")
        return BAD
    known = {"pattern": pattern, "where": option.where}
    made = fill([TLSName], option.words, option.where, scope, known)
    return BAD if made is None or pattern is BAD else made[0]


def readName(option: Option, scope: Scope, registry: Registry) -> Any:
    """Read the name of something in the configuration."""
    words = option.words
    if len(words) != 1:
        scope.error(words[1].where if words else option.where, "needs one name")
        return BAD
    try:
        return Name().parse(words[0].text)
    except ValueError as error:
        scope.error(words[0].where, str(error))
        return BAD


def classOf(makes: InterfaceClass, word: Word, scope: Scope, registry: Registry) -> Any:
    """@return: the options class of the part that a word names, or L{BAD}."""
    names = registry.names(makes)
    if word.text not in names:
        scope.error(word.where, f"unknown {word.text!r}{suggestion(word.text, names)}")
        return BAD
    try:
        return registry.find(makes, word.text).options
    except Exception as error:
        # It is imported only now, and anything can go wrong in somebody's module.
        scope.error(word.where, f"{word.text!r} cannot be loaded: {error}")
        return BAD
