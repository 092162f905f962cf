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


class IPersistence(Interface):
    """
    One kind of persistence: how a client comes back to the server it had. Made for a pool;
    never chooses a server by itself.

    One that also provides L{IResponseRule} sees the heads of its pool's responses, after all
    rules have. Nothing of it raises, and no Deferred of it fails: what cannot be known, such
    as where a store is away, is L{None}.
    """

    def recall(exchange):  # type: ignore[no-untyped-def]
        """
        Asked once, before a balancer is.

        @param exchange: its C{bond} is there; see L{lbtwist.persistence.bond}.
        @return: the name of the server the client had, whether it can be had or not; L{None}
            if it is not known; or a Deferred of either.
        """

    def remember(exchange, name):  # type: ignore[no-untyped-def]
        """
        The client belongs to a server from now on, whatever was known before.

        @param name: of the server.
        """


class IClaiming(Interface):
    """
    What a persistence may also provide: of several exchanges of a new client at once all
    come to one server.
    """

    def claim(exchange, name, instead):  # type: ignore[no-untyped-def]
        """
        A server has been chosen and is about to be connected to.

        @param instead: the name that C{recall} gave, if that server cannot be had; it counts
            as none. C{""} otherwise.
        @return: the name of the server that has the client now: that of another exchange
            which was first, otherwise C{name}; L{None} if nothing can be said of this
            exchange; or a Deferred of one of these.
        """

    def confirm(exchange, name):  # type: ignore[no-untyped-def]
        """The connection to the server that was claimed stands."""

    def release(exchange, name):  # type: ignore[no-untyped-def]
        """It failed: if the client still belongs to that server it belongs to none now."""


class IInspecting(Interface):
    """
    What a persistence or a balancer may also provide: it looks at the first bytes of
    sessions in C{mode = tcp}. No server is asked for before it has seen enough of the
    client's, or C{inspect-delay} is over; they are the exchange's C{early} then. Nothing is
    held back of what is looked at, and nothing may be changed.
    """

    def inspectClient(exchange):  # type: ignore[no-untyped-def]
        """
        A session has begun.

        @return: is called with all that the client has sent so far, each time that it has
            sent more, until it gives C{True}: it has seen enough. L{None} if there is
            nothing to see.
        """

    def inspectServer(exchange):  # type: ignore[no-untyped-def]
        """
        A server has been chosen for the session.

        @return: is called with each piece that this server sends, until it gives C{True}.
            L{None} if there is nothing to see.
        """


class IPersistenceStore(Interface):
    """
    Knows by key which server a client had. See L{IPersistence} for what failing means.
    """

    size = Attribute("How many keys are known; -1 if that cannot be said.")

    def get(key, ttl):  # type: ignore[no-untyped-def]
        """
        @param key: bytes, at most L{lbtwist.persistence.keyed.LONGEST}.
        @param ttl: seconds that the key is known for from now on.
        @return: a name, L{None}, or a Deferred of either.
        """

    def claim(key, name, ttl, instead):  # type: ignore[no-untyped-def]
        """
        Have a name known by a key unless there is another than C{instead}, in one step.

        @return: the name that is known now, or a Deferred of it; L{None} if it cannot be
            known.
        """

    def put(key, name, ttl):  # type: ignore[no-untyped-def]
        """Have a name known by a key, whatever was known."""

    def drop(key, name):  # type: ignore[no-untyped-def]
        """Forget a key if it is known by this name."""

    def bound(name):  # type: ignore[no-untyped-def]
        """@return: how many keys are known by a name; -1 if that cannot be said."""


class IChangingStore(Interface):
    """
    A store that can go by other options with all that it knows. One that cannot begins anew where
    a reload says something else of it.
    """

    def becomes(options):  # type: ignore[no-untyped-def]
        """
        @param options: of the same kind.
        @return: a function that has the store go by them from then on, and does not fail; L{None}
            if it cannot.
        """


class ISharedStore(Interface):
    """
    A C{[store NAME]}: several pools and limits share it, and so do other balancers.
    """

    def persistence(pool):  # type: ignore[no-untyped-def]
        """
        @param pool: the name of one; its keys are apart from those of others.
        @return: an L{IPersistenceStore}.
        """

    def counts(name):  # type: ignore[no-untyped-def]
        """
        @param name: bytes; who counts by the same name counts the same.
        @return: an L{ICounts}.
        """

    def start():  # type: ignore[no-untyped-def]
        """
        @return: L{None}, or a Deferred that fires when it can be asked, or when it is known,
            within a few seconds, that it cannot be for now; nobody is accepted before.
        @raise StartError: if it never could be.
        """

    def stop():  # type: ignore[no-untyped-def]
        """@return: L{None}, or a Deferred that fires when nothing of it is left."""


class ICounts(Interface):
    """
    Counts by key, for all who share it. What cannot be known is L{None}; no Deferred of it
    fails but by being cancelled.
    """

    def take(key, each, ahead, keep):  # type: ignore[no-untyped-def]
        """
        Take one from a bucket (ITU-T I.371, the generic cell rate algorithm).

        @param key: bytes.
        @param each: seconds until a bucket has one more.
        @param ahead: seconds of what may be taken at once, but for the first.
        @param keep: whether it is taken, or only looked at.
        @return: 0.0 if there was one, else the seconds until there will be; or a Deferred of
            either.
        """

    def enter(key, most):  # type: ignore[no-untyped-def]
        """
        Be one of those that are there at once.

        @param key: bytes.
        @param most: so many may be.
        @return: a lease, or a Deferred of it. Its C{held} is whether there was room; L{None}
            if that cannot be known. One that is C{True} lasts until L{leave}, or until this
            process is gone.
        """

    def keep(lease):  # type: ignore[no-untyped-def]
        """Who could not know whether there is room is there: to be counted when it can be."""

    def leave(lease):  # type: ignore[no-untyped-def]
        """@param lease: that is held, or kept; it ends."""


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
            kept by its identity. A weight may be a fraction, in hundredths.
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


class ISpanObserver(IExchangeObserver):
    """
    Tells somebody of exchanges as spans: where one is among the observers of a frontend, each
    exchange whose trace is sampled gets spans of its own, see L{lbtwist.exchange.Exchange}.
    """


class IHealthObserver(Interface):
    """
    Is told what happens to servers. A word after C{notify =} names one. One that also
    provides L{IEnding} is told when the balancer ends.
    """

    def healthChanged(event):  # type: ignore[no-untyped-def]
        """
        Must be quick: what takes time is begun, and not waited for. An error in it is logged
        and concerns nobody else.

        @param event: a L{lbtwist.events.HealthEvent}.
        """


class IEnding(Interface):
    """What an observer may also provide: something of it has to be ended."""

    def end():  # type: ignore[no-untyped-def]
        """
        The balancer ends; it may be started again.

        @return: L{None}, or a Deferred that fires, within a few seconds, when no timer and no
            connection is left.
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

    def apply(config):  # type: ignore[no-untyped-def]
        """
        Go by another configuration, for which the registry is that of the first. What is the
        same in both goes on with all it has; what is there no more comes to its end.

        @return: the L{lbtwist.config.difference.Difference}.
        @raise lbtwist.errors.StartError: if it cannot be put in place; nothing has changed then.
        """

    def drainServer(pool, name):  # type: ignore[no-untyped-def]
        """
        Have a server get no new clients: those it has go on, and those who are bound to it
        come back to it.

        @return: a L{lbtwist.draining.Drain}; the same one while it lasts.
        @raise KeyError: if there is no such pool, or no such server in it.
        """

    def drain(grace):  # type: ignore[no-untyped-def]
        """
        Accept nothing more and let what runs come to its end.

        @param grace: seconds after which what still runs is aborted; L{None}: never.
        @return: a Deferred that fires when nothing runs any more.
        """

    def reopenLogs():  # type: ignore[no-untyped-def]
        """Open every log file anew: they were moved away."""
