"""
Persistence that remembers nothing: the server is a hash of what the client is known by.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zope.interface import implementer

from lbtwist.balance.hashed import FieldHash
from lbtwist.interfaces import IPersistence
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context


@implementer(IPersistence)
class Hash:
    """
    C{hash FIELD}, C{hash by=TEXT}: as the balancer of the name, but full servers are waited
    for, and those that drain keep their clients. The others are asked where there is
    nothing to hash.
    """

    Options = FieldHash.Options

    def __init__(self, options: FieldHash.Options, context: Context) -> None:
        self._balancer = FieldHash(options, context)
        self._servers: tuple[Server, ...] = ()
        self._weights: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return "<Hash>"

    def serversChanged(self, servers: Iterable[Server]) -> None:
        # One without weight has no place that a key could fall on.
        recallable = tuple(
            one for one in servers if one.recallable and one.weight and not one.backup
        )
        weights = tuple(one.weight for one in recallable)
        if recallable != self._servers or weights != self._weights:
            # The same tuple only as long as it means the same: see IBalancer.
            self._servers, self._weights = recallable, weights

    def recall(self, exchange: Exchange) -> str | None:
        if not self._servers or not self._balancer.keyOf(exchange):
            return None
        return self._balancer.choose(self._servers, exchange).name

    foresee = recall

    def remember(self, exchange: Exchange, name: str) -> None:
        """There is nothing to keep."""
