"""
What an answer of a source comes to: who is taken, how each is called, and how that is said.

Decides and changes nothing; who comes and goes by it is L{lbtwist.membership}'s.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Sequence
from itertools import count

from lbtwist.config.model import ServerConfig
from lbtwist.options import HostName, Name
from lbtwist.server import Member

LONGEST = 200
"""Characters of a reason in the log; it may come from anywhere."""

SHOWN = 10
"""The most servers that one line of the log names."""


def wantedOf(
    members: Iterable[Member], most: int, here: Container[str], left: list[str]
) -> dict[str, Member]:
    """
    @param most: how many are taken.
    @param here: the addresses of those that are there.
    @param left: gets what cannot be taken, each with the reason.
    @return: by address, sorted by priority and otherwise as the source has them.
    """
    found: dict[str, Member] = {}
    for member in members:
        wrong = _unacceptable(member)
        if wrong:
            left.append(oneLine(f"{member}: {wrong}"))
        else:
            found.setdefault(str(member), member)
    if len(found) > most:
        left.append(f"{len(found) - most} more than count={most}")
        # Those that are there stay, in whatever order the source names them.
        chosen = set(sorted(found, key=lambda one: one not in here)[:most])
        found = {address: one for address, one in found.items() if address in chosen}
    return dict(sorted(found.items(), key=lambda pair: pair[1].priority))


def nameOf(first: str, address: str, member: Member, taken: set[str]) -> str:
    """@return: a name that no other server of the pool has."""
    bare = address.replace("[", "").replace("]", "").replace("%", ".").replace("/", ".")
    for name in (member.name, bare):
        found = f"{first}-{name}"
        if name and Name.good(found) and len(found) <= LONGEST and found not in taken:
            return found
    return next(name for n in count(2) if (name := f"{first}-{n}") not in taken)


def weightOf(template: ServerConfig, member: Member) -> int:
    """@return: what the source says, or else the line."""
    return template.weight if member.weight is None else member.weight


def _unacceptable(member: Member) -> str:
    """@return: what is wrong with it; C{""} if nothing is."""
    if member.weight is not None and not 0 <= member.weight <= 256:
        return "its weight is not from 0 to 256"
    if member.path:
        return ""
    if not 0 < member.port < 65536:
        return "its port is not from 1 to 65535"
    try:
        ipaddress.ip_address(member.host)
    except ValueError:
        if not HostName.good(member.host):
            return "its host is neither a name, in lower case, nor an address"
    return ""


def oneLine(text: str) -> str:
    """@return: text of a stranger as the log may have it."""
    return " ".join(text.split())[:LONGEST]


def many(number: int, word: str) -> str:
    """@return: C{1 server}, C{2 servers}."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def few(words: Sequence[str]) -> str:
    """@return: the first of them, and how many more there are."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
