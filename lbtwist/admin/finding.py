"""
Finds what the words of a command name, and says in HAProxy's words what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

from lbtwist.admin.verbs import Refused
from lbtwist.events import plain
from lbtwist.options import Kind, T
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import Frontend, LoadBalancer


def pairOf(words: Sequence[str]) -> tuple[str, str]:
    """
    @param words: the first is C{POOL/SERVER}.
    @return: both names, whether there are such or not.
    @raise Refused: if it is not of that form.
    """
    pool, _, name = (words[0] if words else "").partition("/")
    if not name:
        raise Refused("Require 'backend/server'.")
    return pool, name


def serverNamed(balancer: LoadBalancer, words: Sequence[str]) -> tuple[Pool, Server]:
    """
    @param words: the first is C{POOL/SERVER}.
    @raise Refused: if there is none.
    """
    proxy, name = pairOf(words)
    pool = balancer.pools.get(proxy)
    if pool is None:
        raise Refused("No such backend.")
    try:
        return pool, pool.find(name)
    except KeyError:
        raise Refused("No such server.") from None


def poolNamed(balancer: LoadBalancer, name: str) -> Pool:
    """@raise Refused: if there is none."""
    found = balancer.pools.get(name)
    if found is None:
        raise Refused("Can't find backend.")
    return found


def frontendNamed(balancer: LoadBalancer, words: Sequence[str]) -> Frontend:
    """
    @param words: the first is its name.
    @raise Refused: if there is none.
    """
    if not words:
        raise Refused("A frontend name is expected.")
    found = balancer.frontends.get(words[0])
    if found is None:
        raise Refused("No such frontend.")
    return found


def parsed(kind: Kind[T], text: str) -> T:
    """@raise Refused: with what is wrong with the text."""
    try:
        return kind.parse(text)
    except ValueError as wrong:
        raise Refused(f"{plain(str(wrong))}.") from None
