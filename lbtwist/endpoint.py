"""
A pool as an endpoint: any client of Twisted connects to the server that a balancer in its own
process chooses.

    - C{PoolEndpoint(balancer, "app").connect(factory)}
    - C{clientFromString(reactor, "lb:app").connect(factory)}

How it is connected is L{lbtwist.callers}'. The balancer has to run; its frontends have no part
in this, and there need be none that clients use.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from lbtwist.exchange import Connection
from lbtwist.service import LoadBalancer, running


@implementer(IStreamClientEndpoint)
class PoolEndpoint:
    """
    The servers of one pool.

    @ivar pool: its name.
    """

    def __init__(
        self, balancer: LoadBalancer | str, pool: str, connection: Connection | None = None
    ) -> None:
        """
        @param balancer: or the name of one as a service, see L{balancerCalled}: it is looked
            for when a connection is asked for.
        @param pool: the name of a pool of it.
        @param connection: on whose behalf connections are made, such as
            C{request.exchange.connection} of an L{lbtwist.objects.EmbeddedRequest}: that
            client is known by persistence, hashed, and told in a PROXY header. L{None} is the
            process itself, which has no address.
        """
        self._balancer = balancer
        self._connection = connection
        self.pool = pool

    def __repr__(self) -> str:
        return f"<PoolEndpoint lb:{self.pool}>"

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """
        @return: fires with the protocol when its connection stands. Fails with a
            L{ConnectError} that says why if no server can be had, one of its kind
            L{twisted.internet.error.TimeoutError} if that took too long. Cancelled while it
            waits it leaves the queue, or ends the attempt.
        """
        balancer = self._balancer
        try:
            if isinstance(balancer, str):
                balancer = balancerCalled(balancer)
            elif not balancer.running:
                raise ConnectError(string="the balancer does not run")
            pool = balancer.pools.get(self.pool)
            if pool is None:
                raise ConnectError(string=f"the balancer has no pool {self.pool!r}")
        except ConnectError as wrong:
            return fail(wrong)
        return balancer.callers.connect(pool, protocolFactory, self._connection)


def balancerCalled(name: str) -> LoadBalancer:
    """
    @param name: what C{setName} of the service was told; C{""}: the only one that runs.
    @raise ConnectError: if there is not exactly one.
    """
    found = [one for one in running if one.running and (not name or one.name == name)]
    if len(found) == 1:
        return found[0]
    called = f" called {name!r}" if name else ""
    if not found:
        raise ConnectError(string=f"no balancer{called} runs in this process")
    raise ConnectError(
        string=f"{len(found)} balancers{called} run in this process: write lb:POOL:balancer=NAME,"
        " with a NAME that setName of one of them was told"
    )
