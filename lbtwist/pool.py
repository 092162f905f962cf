"""
A pool at work: recall or choose a server, wait for a slot of it, connect or reuse, and try
another where that failed.

What is spoken on a connection is the client's (L{Waiting}) concern, and so is everything
after the connection stands. Which servers can be had is L{lbtwist.offering}'s.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.announcing import Announcer
from lbtwist.config.again import CONNECT
from lbtwist.config.model import PoolConfig
from lbtwist.connecting import Connecting, Waiting
from lbtwist.deadlines import GRAIN, Deadlines
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.interfaces import IInspecting
from lbtwist.limiting import Limits, limitsOf
from lbtwist.offering import Offering
from lbtwist.outbound import sourceOf
from lbtwist.persistence.bond import Bond
from lbtwist.persistence.chain import Chain
from lbtwist.queueing import Place, Queue
from lbtwist.retries import Retries, retriesOf
from lbtwist.reuse import Reuse
from lbtwist.rules.rulebook import NO_RULES
from lbtwist.server import Forecast, Server
from lbtwist.stats import PoolTraffic

_RAN_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""Of a connect: no descriptor, no memory, no port was left."""

_log = Logger()


class Asking:
    """Somebody waits for what a store of persistence says."""

    __slots__ = ("_deferred",)

    def __init__(self, deferred: Deferred[Any]) -> None:
        self._deferred = deferred

    def leave(self) -> None:
        self._deferred.cancel()


class Pool(Offering):
    """
    The servers of one pool and who waits for them.

    @ivar tellsSource: whether exchanges are told from where their server is connected to.
    @ivar memberships: the L{lbtwist.membership.Membership} of each source of servers.
    @ivar persistence: how clients come back to the servers they had; L{None} if they do not.
    @ivar inspecting: what of it looks at the first bytes of sessions, each an
        L{IInspecting}.
    @ivar retries: how requests are sent again that have been sent; L{None} if none is.
    @ivar rules: what is asked of exchanges on their way through it.
    @ivar announcer: tells what happens to its servers.
    @ivar elsewhere: how many wait in other processes, where those serve.
    @ivar told: is told when something about its servers is another, as L{serversChanged} is.
    """

    # See Offering.
    __slots__ = ("_limits", "_queue", "persistence", "seconds", "tellsSource")

    def __init__(
        self,
        config: PoolConfig,
        servers: Iterable[Server],
        balancer: Any,
        reactor: Any,
        deadlines: Deadlines,
        persistence: Chain | None = None,
        queue: Queue | None = None,
    ) -> None:
        """@param queue: where exchanges wait; in the order in which they come by default."""
        super().__init__(config, servers, balancer)
        self.reactor = reactor
        self.deadlines = deadlines
        self.seconds: Callable[[], float] = deadlines.seconds
        self.traffic = PoolTraffic()
        self.rules = NO_RULES
        self.announcer = Announcer()
        self.tellsSource = False
        self.elsewhere = 0
        self.told: Callable[[Pool], object] | None = None
        self.memberships: tuple[Any, ...] = ()
        self._queue = Queue() if queue is None else queue
        self._serving = False
        # While servers were given out more have become free, and whose is not known.
        self._more = False
        self.reuse: Reuse = Reuse(config, deadlines)
        self.retries: Retries | None = None
        self._actBy(config, persistence)
        self.serversChanged()

    def _actBy(self, config: PoolConfig, persistence: Chain | None) -> None:
        if not self.reuse.isOf(config):
            # What stands was opened by the options that it had.
            for server in self.servers:
                self.reuse.drop(server)
                server.renew()
            self.reuse = Reuse(config, self.deadlines)
        self.retries = retriesOf(config, self.seconds)
        self._connects = CONNECT in config.retry_on
        self.persistence = persistence
        self.inspecting: tuple[Any, ...] = () if persistence is None else persistence.inspecting
        if IInspecting.providedBy(self.balancer):
            self.inspecting += (self.balancer,)
        self._limits = limitsOf(config, [one for one in self.servers if not one.leaving])
        if self._limits is not None:
            self._counted = self._countedToo

    def change(
        self, before: PoolConfig, balancer: Any, persistence: Chain | None, queue: Queue
    ) -> None:
        """
        Be what L{config} says now. Exchanges that have a server go on; those who wait for one
        keep their places, and their turn.

        @param before: what it said.
        @param balancer: the one that it has, if that is the same; likewise C{persistence}.
        @param queue: says how it is waited from now on; nobody waits in it.
        """
        retries, limits, chain = self.retries, self._limits, self.persistence
        config = self.config
        self._goBy(config, balancer)
        self._actBy(config, persistence)
        same = config.retry_budget == before.retry_budget
        if same and retries is not None and self.retries is not None:
            self.retries.budget = retries.budget
        if self._limits is not None:
            self._limits.loaded(self.active, len(self._queue))
        elif limits is not None:
            for server in self.servers:
                server.capacity.load = None
                server.adapt()
        self.limited = self._limits is not None and self._limits.full
        self._queue.goBy(queue)
        self.serversChanged()
        if chain is not persistence:
            self._loosen()

    def _loosen(self) -> None:
        """Those who wait do so for any server: what they were bound by is not there any more."""
        with self.still():
            for place in self._queue.places():
                if place.line is None:
                    continue
                place.waiting.exchange.bond = None if self.persistence is None else Bond()
                if place.bound is not None:
                    self._pickAgain(place)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Meanwhile nobody who waits is served; who does this sees to it that they are then."""
        serving, self._serving = self._serving, True
        try:
            yield
        finally:
            self._serving = serving

    @property
    def queued(self) -> int:
        """How many exchanges wait for a slot."""
        return len(self._queue) + self.elsewhere

    def queuedFor(self, server: Server) -> int:
        """@return: how many of them wait for this server and take no other."""
        return self._queue.waiting(server)

    def places(self) -> Iterator[Place]:
        """@return: all who wait."""
        return self._queue.places()

    def setServers(self, servers: Iterable[Server]) -> None:
        """
        Have these servers from now on.

        @param servers: those that are not among them have nothing to do any more.
        """
        before, self.servers = self.servers, tuple(servers)
        for one in set(before).difference(self.servers):
            self.traffic.absorb(one.traffic)
        self.serversChanged()

    def serversChanged(self) -> None:
        """A server became usable, or is not any more, or has other limits."""
        if self._limits is not None:
            self._limits.serversChanged(self.servers)
        super().serversChanged()
        if self.persistence is not None:
            self.persistence.serversChanged(self.servers, self.usable)
            if self._queue:
                self._letGo(self.persistence)
        if self.told is not None:
            self.told(self)
        self._serve(None)

    # from the request's side

    def connect(self, waiting: Waiting) -> None:
        """
        Get a connection to a server for an exchange. One of
        C{waiting.serverReady} and C{waiting.serverUnavailable} is called, now or
        later, unless it leaves before.
        """
        chain = self.persistence
        if chain is None:
            self._pick(waiting)
            return
        found = chain.recall(waiting.exchange)
        if found.__class__ is Server and not found.full and not self.limited:
            self._assign(found, waiting)
        elif isinstance(found, Deferred):
            self._await(waiting, found, self._recalled, None)
        else:
            self._recalled(waiting, found)

    def leave(self, waiting: Waiting) -> None:
        """Who waits goes away; nothing is called any more."""
        place, waiting.place = waiting.place, None
        if place is not None:
            place.leave()

    def again(self, waiting: Waiting, server: Server) -> None:
        """Make a new connection to a server of which the exchange holds a slot."""
        self._open(server, waiting)

    def connectNow(self, waiting: Waiting) -> bool:
        """
        The same as C{connect} for who waits for nobody, neither in the queue nor for what
        clients are bound to.

        @return: whether there is a server now; if not, nothing is called.
        """
        server = None if self.limited else self.choose(waiting.exchange)
        if server is not None:
            self._assign(server, waiting)
        return server is not None

    def another(self, exchange: Exchange) -> Server | None:
        """
        @param exchange: holds a slot of a server that has failed.
        @return: the server for its next attempt, which may be the same; L{None} if there is
            none. Nothing of it is counted yet.
        """
        server = exchange.server
        assert server is not None
        held = server.usable or self._members.get(server.name) is server
        every = self.config.redispatch
        if every and (not held or (exchange.retries + 1) % every == 0):
            exchange.tried += (server,)
            other = self.choose(exchange)
            if other is not None:
                return other
        return server if held else None

    def retry(self, waiting: Waiting, server: Server) -> None:
        """
        Begin the next attempt. The same is told as by C{connect}.

        @param server: what L{another} has said a moment ago.
        """
        exchange = waiting.exchange
        exchange.retries += 1
        failed = exchange.server
        if failed is not None:
            failed.traffic.retries += 1
            failed.traffic.redispatched += server is not failed
        if server is failed:
            # Not at once, or one that fails quickly would be asked without end.
            exchange.stage = Stage.CONNECT
            exchange.reused = False
            connecting = waiting.place = Connecting(self, waiting, server)
            connecting.later()
            return
        exchange.redispatched = True
        waiting.place = None
        if self.persistence is not None and failed is not None:
            self.persistence.failed(exchange, failed)
        # It gets the new slot before anybody can, and then somebody else the old one.
        serving, self._serving = self._serving, True
        try:
            self.release(exchange)
            if self._members.get(server.name) is server and not server.full:
                self._take(server, waiting)
            else:
                # Whoever has been told of the failure since has changed that.
                self._pick(waiting)
        finally:
            self._serving = serving
        if self._more and not serving:
            self._more = False
            self._serve(None)

    def release(self, exchange: Exchange) -> None:
        """An exchange gives its slot back."""
        self.free(exchange)
        if self._queue:
            # A slot of the pool is one for whoever waits, whatever for.
            self._serve(exchange.server if self._limits is None else None)

    def foresee(self, exchange: Exchange) -> Forecast:
        """
        What L{connect} would do now, with nothing changed by it.

        @return: of the servers that an exchange may be sent to now.
        """
        recalled, known, certain = None, "", True
        if self.persistence is not None and self.wanted(exchange) is None:
            recalled, known, certain = self.persistence.foresee(exchange)
        found = attr.evolve(self.foreseen(exchange), recalled=recalled, known=known)
        if recalled is not None:
            chosen = None if recalled.full or self.limited else recalled
            return attr.evolve(found, chosen=chosen, why=f"known by {known}")
        if not certain:
            why = "which one, its persistence does not foresee"
            return attr.evolve(found, chosen=None, why=why)
        return found

    # inside

    def _pick(self, waiting: Waiting) -> None:
        """Have a server chosen for somebody who is bound to none."""
        exchange = waiting.exchange
        server = None if self.limited else self.choose(exchange)
        if server is not None:
            self._take(server, waiting)
        elif not self.usable:
            waiting.serverUnavailable(Cause.SERVER, Stage.CONNECT, 503)
        elif len(self.unfit(exchange)) == len(self.usable):
            exchange.reason = "no usable server has the role that a rule asks for"
            waiting.serverUnavailable(Cause.SERVER, Stage.CONNECT, 503)
        else:
            self._enqueue(waiting, None)

    def _letGo(self, chain: Chain) -> None:
        """Those who wait for a server that does not come any more go elsewhere."""
        # Slots that are given back meanwhile are given out when all have been asked.
        with self.still():
            for place in self._queue.bound():
                bound = place.bound
                # One may leave because of another.
                if place.line is None or bound is None:
                    continue
                if not chain.keeps(place.waiting.exchange, bound):
                    chain.failed(place.waiting.exchange, bound)
                    self._pickAgain(place)

    def _pickAgain(self, place: Place) -> None:
        """Let a place take any server, at once or after the rest of its time."""
        expires, since = place.expires, place.since
        waiting = place.waiting
        place.since = None
        place.leave()
        waiting.place = None
        self._pick(waiting)
        again = waiting.place
        now = self.seconds()
        if not isinstance(again, Place):
            held = waiting.exchange.server if waiting.exchange.holding else None
            self._waited(waiting.exchange, since, now, held)
            return
        again.since = since
        if expires:
            self.deadlines.arm(again, max(expires - now, GRAIN), now)

    def _recalled(self, waiting: Waiting, server: Server | None) -> None:
        """@param server: the one that its client had."""
        if server is None or (server.full and self._leaves(server, waiting.exchange)):
            self._pick(waiting)
        elif server.full or self.limited:
            self._enqueue(waiting, server)
        else:
            self._assign(server, waiting)

    def _leaves(self, server: Server, exchange: Exchange) -> bool:
        """@return: whether too many wait for the server that a client had: it gets another."""
        bond = exchange.bond
        if not 0 < server.maxqueue <= self._queue.waiting(server):
            return False
        if bond is None or bond.by is None or self.persistence is None:
            # It has just got this one, as parallel exchanges of it have.
            return False
        self.persistence.failed(exchange, server)
        return True

    def _await(
        self, waiting: Waiting, deferred: Deferred[Any], then: Callable[[Waiting, Any], None],
        otherwise: Server | None,
    ) -> None:
        """
        @param then: is told what a store says, unless nobody waits for it any more.
        @param otherwise: the same where it has failed, which none of ours does.
        """
        waiting.place = asking = Asking(deferred)

        def told(found: Any) -> None:
            if waiting.place is asking:
                waiting.place = None
                then(waiting, found)

        def failed(failure: Failure) -> None:
            # That it was given up is none: nobody waits for it then.
            if waiting.place is asking:
                _log.failure("[pool {name}] persistence has failed", failure, name=self.name)
                told(otherwise)

        deferred.addCallbacks(told, failed)

    def _take(self, server: Server, waiting: Waiting) -> None:
        """
        Assign a server that has just been chosen, or the one to which a parallel exchange
        of the same client has been assigned meanwhile.
        """
        chain = self.persistence
        if chain is None:
            self._assign(server, waiting)
            return
        held = chain.claim(waiting.exchange, server)
        if held is server:
            self._assign(server, waiting)
        elif isinstance(held, Deferred):
            # The slot is its own by now.
            self.hold(server, waiting.exchange, self.seconds())
            self._await(waiting, held, self._claimed, server)
        else:
            self._recalled(waiting, held)

    def _claimed(self, waiting: Waiting, server: Server) -> None:
        """@param server: has the client now."""
        exchange = waiting.exchange
        chain = self.persistence
        if server is exchange.server:
            self._reach(server, waiting)
            return
        self.release(exchange)
        if chain is None:
            # It is not there any more.
            self._pick(waiting)
            return
        if chain.keeps(exchange, server):
            self._recalled(waiting, server)
        else:
            # Another kind was asked meanwhile, and that takes its time.
            chain.failed(exchange, server)
            self._pick(waiting)

    def _assign(self, server: Server, waiting: Waiting) -> None:
        self.hold(server, waiting.exchange, self.seconds())
        self._reach(server, waiting)

    def _reach(self, server: Server, waiting: Waiting) -> None:
        """Have a connection to a server of which a slot is held."""
        exchange = waiting.exchange
        protocol = waiting.reuse(server)
        if protocol is not None:
            exchange.connectedAt = exchange.assignedAt
            exchange.reused = True
            if self.tellsSource:
                exchange.source = sourceOf(protocol.transport)
            if self.persistence is not None:
                self.persistence.connected(exchange)
            waiting.serverReady(protocol)
        else:
            self._open(server, waiting)

    def _open(self, server: Server, waiting: Waiting) -> None:
        waiting.exchange.stage = Stage.CONNECT
        waiting.exchange.reused = False
        connecting = Connecting(self, waiting, server)
        waiting.place = connecting
        connecting.start()

    def connectFailed(self, waiting: Waiting, server: Server, failed: OSError) -> None:
        """One attempt failed: try another server, or this one again, or give up."""
        exchange = waiting.exchange
        exchange.reason = f"{server.pool}/{server.name}: {failed.strerror or failed}"
        if server.watch is not None and failed.errno not in _RAN_OUT:
            server.watch.connectFailed(failed)
        if self._connects and exchange.retries < self.config.retries:
            found = self.another(exchange)
            if found is not None:
                self.retry(waiting, found)
                return
        if self.persistence is not None:
            self.persistence.failed(exchange, server)
        waiting.place = None
        self.release(exchange)
        if isinstance(failed, TimeoutError):
            cause = Cause.SERVER_TIMEOUT
        else:
            cause = Cause.RESOURCE if failed.errno in _RAN_OUT else Cause.SERVER
        waiting.serverUnavailable(cause, Stage.CONNECT, 503)

    def _enqueue(self, waiting: Waiting, bound: Server | None) -> None:
        """@param bound: the server that it waits for; L{None}: any will do."""
        queue = self._queue
        config = self.config
        exchange = waiting.exchange
        if 0 < config.maxqueue <= len(queue):
            exchange.reason = "the queue is full"
        elif config.maxqueue_per_key and queue.ofTenant(exchange) >= config.maxqueue_per_key:
            exchange.reason = "too many of the same key are in the queue"
        else:
            exchange.stage = Stage.QUEUE
            ahead = queue.waiting(bound)
            exchange.ahead = (exchange.ahead[0], ahead) if bound is None else (ahead, 0)
            place = waiting.place = queue.join(self, waiting, bound)
            timeout = config.timeout_queue or config.timeout_connect
            self.deadlines.arm(place, timeout, self.seconds())
            if self._limits is not None:
                self._loaded(self._limits)
            return
        waiting.serverUnavailable(Cause.SERVER, Stage.QUEUE, 503)

    def left(self, place: Place) -> None:
        """A place in the queue is given up."""
        self.deadlines.forget(place)
        self._queue.leave(place)
        self._waited(place.waiting.exchange, place.since, self.seconds())
        if self._limits is not None:
            self._loaded(self._limits)

    def _waited(
        self, exchange: Exchange, since: float | None, now: float, server: Server | None = None
    ) -> None:
        """@param server: for which somebody has left the queue; L{None}: for none."""
        if since is not None:
            traffic = self.traffic if server is None else server.traffic
            traffic.timesBy(exchange.frontend).queued.observe(now - since)

    def _countedToo(self, server: Server) -> None:
        """As the balancer is told of a server; a pool with limits of its own counts it, too."""
        if self._told is not None:
            self._told(server)
        assert self._limits is not None
        self._loaded(self._limits)

    def _loaded(self, limits: Limits) -> None:
        """The pool has more to do, or less."""
        changed = limits.loaded(self.active, len(self._queue))
        self.limited = limits.full
        if changed:
            self._limitsChanged(changed)
            if self._queue:
                self._serve(None)

    def _serve(self, freed: Server | None) -> None:
        """
        Give free slots to those who wait.

        @param freed: the server of which there is one; L{None}: all may have some.
        """
        if self._serving:
            # A slot that came back at once: the loop below goes on.
            self._more = True
            return
        self._serving = True
        try:
            while self._queue:
                if self._more:
                    self._more = False
                    freed = None
                if not self._serveOne(freed) and not self._more:
                    return
        finally:
            self._serving = self._more = False

    def _serveOne(self, freed: Server | None) -> bool:
        """@return: whether somebody could be served."""
        queue = self._queue
        without: tuple[str | None, ...] = ()
        while True:
            free = self._full < len(self.usable)
            place = None if self.limited else queue.next(freed, free, without)
            if place is None:
                return False
            server = place.bound or self.choose(place.waiting.exchange)
            if server is not None:
                break
            # Nothing that is free is for whoever is first.
            without += (place.role,)
        waiting = place.waiting
        self.deadlines.forget(place)
        queue.serve(place)
        self._waited(waiting.exchange, place.since, self.seconds(), server)
        waiting.place = None
        if place.bound is None:
            self._take(server, waiting)
        else:
            self._assign(server, waiting)
        return True
