"""
C{lb:POOL[:balancer=NAME]} for C{twisted.internet.endpoints.clientFromString}.

A module of its own: Twisted loads it whenever a program makes an endpoint from whatever text,
so it imports nothing of what it stands for.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class PoolEndpointParser:
    """Makes L{lbtwist.endpoint.PoolEndpoint}s."""

    prefix = "lb"

    def parseStreamClient(  # type: ignore[override]
        self, reactor: Any, pool: str, balancer: str = ""
    ) -> Any:
        """
        @param reactor: not used: a balancer has its own.
        @param pool: the name of a pool.
        @param balancer: the name of the balancer as a service; C{""}: the only one that runs.
        """
        from lbtwist.endpoint import PoolEndpoint

        return PoolEndpoint(balancer, pool)
