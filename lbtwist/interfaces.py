"""
Every extension point of the balancer, in the order of a request's path.

Interfaces are for behaviour and have one or two methods; what is passed between
them (L{lbtwist.exchange.Exchange}, L{lbtwist.server.Server}) is data.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IExtension(Interface):
    """One part that a configuration can name. See L{lbtwist.registry}."""

    makes = Attribute("The interface of what it makes.")
    name = Attribute("The word that names it in a configuration.")
    options = Attribute("An attrs class; see L{lbtwist.options.option}.")

    def make(options, context):  # type: ignore[no-untyped-def]
        """
        Make the part. Does no I/O.

        @param options: an instance of C{options}.
        @param context: a L{lbtwist.registry.Context}.
        """


class IServerSource(Interface):
    """Says where a server is."""

    def discover():  # type: ignore[no-untyped-def]
        """
        Ask once. The monitor repeats, and keeps the last good answer.

        @return: a Deferred of a list of L{lbtwist.server.Endpoint}.
        """


class IHealthCheck(Interface):
    """Probes a server."""

    def check(server):  # type: ignore[no-untyped-def]
        """
        Probe once. Counting is not the check's concern, and neither is the
        time limit: the monitor cancels the Deferred.

        @return: a Deferred of a L{lbtwist.health.Result}.
        """


class IBalancer(Interface):
    """
    Chooses a server.

    A balancer that also provides L{IExchangeObserver} is told of every exchange
    of its pool.
    """

    def choose(servers, exchange):  # type: ignore[no-untyped-def]
        """
        @param servers: a tuple that is not empty: all are usable, below their
            limit and untried. It is the same object as long as neither the
            servers nor their weights changed, so what is derived of it may be
            kept by its identity.
        @param exchange: the L{lbtwist.exchange.Exchange}; in C{mode = tcp} its
            C{request} is L{None}.
        @return: one of the servers.
        """


class IExchangeObserver(Interface):
    """Is told of every exchange that ended."""

    def exchangeFinished(exchange):  # type: ignore[no-untyped-def]
        """
        Told exactly once for each exchange. Must be quick; an error in it is
        logged and never reaches the client.
        """


class ILoadBalancer(Interface):
    """All that an embedding program needs; also an C{IService}."""

    config = Attribute("The L{lbtwist.config.model.Config} it runs.")

    def pool(name):  # type: ignore[no-untyped-def]
        """
        @return: the running L{lbtwist.pool.Pool}.
        @raise KeyError: if there is none.
        """

    def frontend(name):  # type: ignore[no-untyped-def]
        """
        @return: the running L{lbtwist.service.Frontend}.
        @raise KeyError: if there is none.
        """

    def drain(grace):  # type: ignore[no-untyped-def]
        """
        Accept nothing more and let what runs come to its end.

        @param grace: seconds after which what still runs is aborted.
        @return: a Deferred that fires when nothing runs any more.
        """
