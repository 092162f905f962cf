"""
Lists of servers as people and programs write them: lines, or JSON.

One thing that cannot be understood spoils the whole list, so that half of it is never taken
for all. Where a list comes from is not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lbtwist.config.values import tcpAddress
from lbtwist.options import Integer, suggestion
from lbtwist.server import Member

MOST = 4096
"""The most servers of a list."""

_WEIGHT = Integer(0, 256)
_JSON = re.compile(r"\ufeff?\s*(\{|\[\s*(?![0-9A-Fa-f:\s]))")
_KEYS = ("address", "host", "port", "weight", "backup", "name")


class BadList(ValueError):
    """A list that cannot be understood; it says where and why."""


def isJSON(text: str) -> bool:
    """@return: whether that is what it wants to be: the address of a server has a bracket too."""
    return _JSON.match(text) is not None


def membersOf(text: str, local: bool = False) -> tuple[Member, ...]:
    """
    Read a list. What L{isJSON} holds for that is; anything else is lines, each with the address of
    a server and what is to be said of it: C{10.0.0.1:80 weight=2 backup name=one}.

    @param local: whether the sockets of this machine may be named, as C{unix:PATH}.
    @raise BadList: with a sentence.
    """
    if isJSON(text):
        return _ofJSON(text.removeprefix("\ufeff"), local)
    found: list[Member] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            if len(found) == MOST:
                raise BadList(f"it has more than {MOST} servers")
            try:
                found.append(_ofWords(words, local))
            except ValueError as wrong:
                raise BadList(f"line {number}: {wrong}") from None
    return tuple(found)


def _ofWords(words: list[str], local: bool) -> Member:
    said: dict[str, Any] = {"address": words[0]}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if key in said or key in ("host", "port") or (not equals and key != "backup"):
            raise ValueError(f"{word[:40]!r} is not accepted: write weight=, name= or backup")
        said[key] = True if not equals else value
        if key == "weight":
            said[key] = _WEIGHT.parse(value)
        elif key == "backup" and equals:
            raise ValueError(f"{word[:40]!r}: backup stands alone")
    return _member(said, local)


def _ofJSON(text: str, local: bool) -> tuple[Member, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise BadList(f"it is not JSON: {wrong}") from None
    if not isinstance(found, list):
        raise BadList("its JSON is not a list of objects")
    if len(found) > MOST:
        raise BadList(f"it has more than {MOST} servers")
    members = []
    for number, one in enumerate(found, 1):
        try:
            if not isinstance(one, dict):
                raise ValueError('it is not an object, as {"address": "10.0.0.1:80"} is')
            members.append(_member(one, local))
        except ValueError as wrong:
            raise BadList(f"server {number} of the list: {wrong}") from None
    return tuple(members)


def _member(said: Mapping[str, Any], local: bool) -> Member:
    """@raise ValueError: with a sentence."""
    for key in said:
        if key not in _KEYS:
            raise ValueError(f"unknown {key[:40]!r}{suggestion(key[:40], _KEYS)}")
    weight = said.get("weight")
    if weight is not None and not (_isInteger(weight) and 0 <= weight <= 256):
        raise ValueError("weight: a whole number from 0 to 256 is accepted")
    backup = said.get("backup", False)
    if not isinstance(backup, bool):
        raise ValueError("backup: true or false is accepted")
    name = said.get("name", "")
    if not isinstance(name, str):
        raise ValueError("name: text is accepted")
    host, port, path = _address(said, local)
    return Member(host, port, path, weight, int(backup), name)


def _address(said: Mapping[str, Any], local: bool) -> tuple[str, int, str]:
    if "address" not in said:
        host, port = said.get("host"), said.get("port")
        if not isinstance(host, str) or not _isInteger(port):
            raise ValueError('it needs "address": "HOST:PORT", or "host" and a number as "port"')
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    elif "host" in said or "port" in said:
        raise ValueError("address stands in place of host and port; remove it or them")
    else:
        address = said["address"]
    if not isinstance(address, str):
        raise ValueError('"address" is text: "HOST:PORT"')
    if len(address) > 300:
        raise ValueError("its address is longer than 300 characters")
    scheme, _, path = address.partition(":")
    if scheme == "unix":
        if not local:
            raise ValueError("who is elsewhere cannot name sockets of this machine")
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{address!r} is not the whole path of a UNIX socket: unix:/PATH")
        return "", 0, path
    return *tcpAddress(address), ""


def _isInteger(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
