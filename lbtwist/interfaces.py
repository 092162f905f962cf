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
    """Says which servers there are."""

    interval = Attribute(
        "Seconds from an answer to the next question, where neither the answer nor the"
        " configuration says it; the first pause after a failure."
    )
    limit = Attribute("Seconds that one question may take; it is cancelled then.")

    def discover():  # type: ignore[no-untyped-def]
        """
        Ask once. Asking again, keeping the last good answer and counting are the concern
        of L{lbtwist.membership}. Not called while a question of the same source is open.

        @return: a L{lbtwist.server.Found} or a Deferred of one. It fails with a
            L{lbtwist.errors.BalancerError} whose text is the reason where there is no
            answer; with a L{lbtwist.errors.Nobody} where there is certainly no server.
        """


class IHealthCheck(Interface):
    """Probes a server."""

    def check(server):  # type: ignore[no-untyped-def]
        """
        Probe once. Counting is not the check's concern, and neither is the
        time limit: the monitor cancels the Deferred.

        @return: a Deferred of a L{lbtwist.health.Result}.
        """


class IConnectionRule(Interface):
    """A verb of C{connection =}: asked before anything of a client's bytes is parsed."""

    def connectionAccepted(exchange):  # type: ignore[no-untyped-def]
        """
        @param exchange: the L{lbtwist.exchange.Exchange}; it has no request. In C{mode
            = tcp} it is the session's, in C{mode = http} it is there for the rules.
        @return: L{None} to have the next rule asked, or one of
            L{lbtwist.rules.decisions}, or a Deferred or a coroutine of either.
        """


class IRequestRule(Interface):
    """A verb of C{request =}."""

    def requestReceived(exchange):  # type: ignore[no-untyped-def]
        """
        May change the request.

        @param exchange: its C{request} is the head; nothing of it was sent yet. Where its
            C{rehearsal} is true it is asked only to be explained: count and keep nothing.
        @return: as of L{IConnectionRule}.
        """


class IResponseRule(Interface):
    """A verb of C{response =}."""

    def responseReceived(exchange):  # type: ignore[no-untyped-def]
        """
        May change the head of the response.

        @param exchange: its C{response} is the head; nothing of it was sent yet.
        @return: L{None}, or L{lbtwist.rules.decisions.Allow} to have no further rule
            asked; nothing that has to be waited for.
        """


class ITunnelWatcher(Interface):
    """
    Sees the bytes of one tunnel; made anew for each. See
    L{lbtwist.rules.decisions.Tunnel}.
    """

    def dataReceived(side, data):  # type: ignore[no-untyped-def]
        """
        @param side: C{"client"} or C{"server"}: who has sent it.
        @return: L{None} to go on; for C{"client"} also how many bytes of C{data} still
            belong to the tunnel: what follows is a request again, and the tunnel ends. A
            negative number takes back bytes of the calls before that the watcher holds,
            see C{held}.
        """

    held = Attribute(
        "How many of the client's last bytes may be the beginning of what is waited for:"
        " they are not passed on until more has come."
    )


class IBalancer(Interface):
    """
    Chooses a server.

    A balancer that also provides L{IExchangeObserver} is told of every exchange
    of its pool; one that provides L{IForeseeing} can be explained, and one that provides
    L{IFollowing} costs the same for any number of servers.
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


class IFollowing(Interface):
    """
    What a balancer may also provide: it is told of what the pool counts, so that it need
    not look at every server to choose one, and its pool need not make a tuple without those
    that are full each time.

    A balancer is followed from C{follow} on; one that nobody follows is given only what
    L{IBalancer} says.
    """

    def follow():  # type: ignore[no-untyped-def]
        """
        Called once, before the first choice, by who counts.

        @return: what is called with a server after each change of its C{active} or
            C{maxconn}, also with one that was never offered; L{None} if only C{freed} is of
            interest.
        """

    def freed(server):  # type: ignore[no-untyped-def]
        """
        @param server: was full, or may have been, and is not any more.
        """

    def chooseFree(servers, tried, exchange):  # type: ignore[no-untyped-def]
        """
        As C{choose}, where not all of the servers may be chosen.

        @param servers: as for L{IBalancer}, but some may be full.
        @param tried: a tuple of servers, of these and of others, that may not be chosen
            either.
        @return: one that is neither full nor tried; L{None} if there is none.
        """


class IForeseeing(Interface):
    """What a balancer may also provide: it can say what it would choose."""

    def foresee(servers, exchange):  # type: ignore[no-untyped-def]
        """
        What C{choose} would do now, for the same servers, and why. Changes nothing: the
        next C{choose} chooses as if this had not been asked.

        @param servers: as for L{IBalancer}, but it may be another tuple each time.
        @param exchange: may be a rehearsal, see L{lbtwist.exchange.Exchange}.
        @return: a L{lbtwist.server.Forecast}.
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

    def explainNext(frontend, matches, limit):  # type: ignore[no-untyped-def]
        """
        Have a real exchange explained. What is not matched is not slowed down but by
        C{matches}, and nothing is while nobody waits.

        @param frontend: the name of one.
        @param matches: is asked of each L{lbtwist.exchange.Exchange} when its rules are
            about to be asked, and of those for which they are not when they have ended;
            every one matches by default.
        @param limit: seconds to wait, 60 by default; an exchange that has not ended by
            then is explained as far as it has come.
        @return: a Deferred of an L{lbtwist.explaining.Explanation}. It fails with
            L{lbtwist.errors.NothingSeen} if none has come, if too many are waiting
            already, or when the balancer stops; and with what C{matches} has raised.
            It may be cancelled.
        @raise KeyError: if there is no such frontend.
        """

    def drain(grace):  # type: ignore[no-untyped-def]
        """
        Accept nothing more and let what runs come to its end.

        @param grace: seconds after which what still runs is aborted.
        @return: a Deferred that fires when nothing runs any more.
        """
