"""
The parent's side of workers: starts them, tells them what counts, adds up what they have counted,
and has another one in the place of each that dies.

The balancer of the parent listens and accepts nothing: its checks, its sources of servers and its
administrators are those of all. What is in force there is said to the workers when it changes;
several changes of one moment are said at once, and to a worker that has not heard the last word
yet nothing is said before it has: it is told then how things are, not how they came to it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from lbtwist.admin.mapping import lookedIn
from lbtwist.config.model import Config
from lbtwist.errors import StartError
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import LoadBalancer
from lbtwist.workers import states
from lbtwist.workers.board import NOBODY, Board
from lbtwist.workers.channel import MOST_DESCRIPTORS, Channel, asPickle
from lbtwist.workers.kept import Kept
from lbtwist.workers.place import MARGIN, Place
from lbtwist.workers.sums import Sums
from lbtwist.workers.tasks import Tasks

LOOK = 5.0
"""Seconds from one look at who has said something to the next."""

PATIENCE = 10.0
"""Seconds for which workers are waited for, until they go by another configuration."""

MOST_MISSED = 12
"""So many looks in a row at which nobody was heard: the worker hangs, and is killed."""


class Workers:
    """
    The workers of one balancer.

    @ivar count: how many there are to be.
    @ivar stopping: they are to end.
    @ivar refused: is told why, when one cannot begin with the configuration.
    """

    _log = Logger()

    def __init__(
        self, balancer: LoadBalancer, count: int, reactor: Any, environment: Mapping[str, str],
    ) -> None:  # fmt: skip
        """@param environment: what their processes get."""
        self.count = count
        self.refused: Callable[[str], object] = lambda why: None
        self._balancer = balancer
        self._reactor = reactor
        # They find the same modules.
        path = os.pathsep.join(one or os.getcwd() for one in sys.path)
        self._workers = [
            Place(index, self, reactor, {**environment, "PYTHONPATH": path})
            for index in range(count)
        ]
        self._dirty: set[str] = set()
        self._states: states.States = {}
        self._named: dict[str, tuple[str, ...]] = {}
        self._saying: Any = None
        self._looking: Any = None
        self._begun: Callable[[], object] | None = None
        self.stopping = False
        self._board: Board | None = None
        self._memory = -1
        self._sums = Sums(balancer)
        self._kept = Kept(self._storeOf, balancer.deadlines.seconds)
        self._tasks = Tasks()
        self._settling: list[Deferred[None]] = []

    def __repr__(self) -> str:
        return f"<Workers {sum(one.ready for one in self._workers)} of {self.count}>"

    @property
    def grace(self) -> float:
        """Seconds for which they go on when they are to end."""
        return self._balancer.config.settings.grace_period

    @property
    def restarts(self) -> int:
        """How often one has died and was replaced."""
        return sum(one.restarts for one in self._workers)

    def verify(self, config: Config) -> None:
        """
        See whether workers can go by a configuration.

        @raise StartError: if they cannot.
        """
        for pool in config.pools.values():
            for server in pool.servers:
                if server.kind == "object":
                    raise StartError(
                        f"{server.where}: {pool.name}/{server.name} is an object of this"
                        " process, which workers do not have: write workers = 0"
                    )
        for part in self._balancer.registry or ():
            factory = getattr(part, "factory", "")
            if factory.startswith("__main__."):
                raise StartError(
                    f"[global] workers: {part.name!r} is made by {factory}, and workers are"
                    " another program: put it into a module of its own"
                )
        try:
            asPickle([config, self._balancer.registry])
        except Exception as failed:
            raise StartError(
                f"[global] workers: the configuration cannot be sent to them: {failed}"
                " (parts and their options have to be something that pickle takes)"
            ) from None

    def start(self, begun: Callable[[], object]) -> None:
        """
        Begin with all of them.

        @param begun: called once, when all of them accept.
        """
        self.stopping = False
        self._begun = begun
        self._memory, self._board = Board.make(self.count)
        for pool in self._balancer.pools.values():
            self._follow(pool)
        for one in self._workers:
            one.start()
        self._looking = self._reactor.callLater(LOOK, self._look)

    def _look(self) -> None:
        """Kill who hangs. Looks are counted, not seconds: this process may have hung itself."""
        self._looking = self._reactor.callLater(LOOK, self._look)
        for worker in self._workers:
            worker.missed = 0 if worker.heard or not worker.pid else worker.missed + 1
            worker.heard = False
            if worker.missed == MOST_MISSED:
                worker.kill(f"has said nothing for {LOOK * MOST_MISSED:g} s")

    # what its places ask

    def began(self, worker: Place) -> None:
        """It has a process now."""
        assert worker.channel is not None
        worker.channel.sent = partial(self._update, worker)
        worker.channel.send("board", self.count, descriptors=[self._memory])

    def gone(self, worker: Place) -> None:
        """It has no process any more."""
        self._kept.gone(worker.index)
        self._tasks.gone(worker.index)
        worker.untold = 0
        if self._board is not None:
            self._board.active[worker.index] = NOBODY
        self._gauge()
        self._settle()

    # what they are told

    def _update(self, worker: Place) -> None:
        """Say what a worker does not know yet; it has heard all that was said before."""
        channel = worker.channel
        if channel is None or channel.unsent or self.stopping:
            return
        if worker.stale:
            self._configure(worker, channel)
            return
        dirty, worker.dirty = worker.dirty, set()
        said = {}
        for name in dirty:
            if name in self._balancer.pools:
                now = self._statesOf(name)
                changed = states.changes(worker.states.get(name, {}), now)
                worker.states[name] = now
                if changed:
                    said[name] = changed
        if said:
            channel.send("states", said)

    def _statesOf(self, name: str) -> dict[str, states.ServerState]:
        """@return: how the servers of a pool are, which all workers are told alike."""
        found = self._states.get(name)
        if found is None:
            found = self._states[name] = states.statesOf(self._balancer.pools[name])
        return found

    def _configure(self, worker: Place, channel: Channel) -> None:
        balancer = self._balancer
        worker.stale = False
        worker.dirty.clear()
        self._states.clear()
        places = [
            ((name, at), listener.fileno())
            for name, frontend in balancer.frontends.items()
            for at, listener in enumerate(frontend.inbound.listeners)
        ]
        for first in range(0, len(places), MOST_DESCRIPTORS):
            some = places[first : first + MOST_DESCRIPTORS]
            channel.send("sockets", [place for place, _ in some],
                         descriptors=[one for _, one in some])  # fmt: skip
        worker.states = {name: self._statesOf(name) for name in balancer.pools}
        channel.send(
            "configure", self._effective(balancer.config), worker.index, self.count,
            worker.states, balancer.secret, balancer.registry,
        )  # fmt: skip
        worker.untold += 1
        if worker.fresh:
            self._fill(worker, channel)

    def _effective(self, config: Config) -> Config:
        """@return: with the servers that sources have named as if they were written down."""
        pools = {}
        for name, one in config.pools.items():
            running = self._balancer.pools[name]
            found = [server.options for server in running.servers if not server.leaving]
            pools[name] = attr.evolve(one, templates=(), servers=tuple(found))
        frontends = {
            # An administrator may have said another limit than the file.
            name: attr.evolve(one, maxconn=self._balancer.frontends[name].inbound.maxconn)
            for name, one in config.frontends.items()
        }
        settings = attr.evolve(config.settings, maxconn=self._balancer.process.maxconn)
        return attr.evolve(config, pools=pools, frontends=frontends, settings=settings)

    # what they say

    def told(self, worker: Place, channel: Channel, name: str, values: list[Any]) -> None:
        """It has said something."""
        worker.heard = True
        if name == "report":
            counted, gauges = values
            self._sums.count(counted)
            self._sums.accepted(worker.gauges, gauges)
            worker.gauges = gauges
            self._gauge()
        elif name == "ready":
            if not worker.ready:
                self._log.info("worker {index} serves", index=worker.index)
            worker.ready = True
            worker.behind = ""
            self._serves()
            self._taken(worker)
        elif name == "ask":
            number, what, *asked = values
            self._kept.asked(worker.index, what, asked).addCallbacks(
                partial(self._answer, channel, number),
                partial(self._unanswered, channel, number, what),
            )
        elif name == "done":
            number, value = values
            self._tasks.done(worker.index, number, value)
        elif name == "log":
            level, system, text = values
            Logger(system).emit(
                LogLevel.levelWithName(level), "worker {index}: {text}", index=worker.index,
                text=text,
            )  # fmt: skip
        elif name == "suspect":
            self._suspected(*values)
        elif name == "refused":
            why, ends = values
            if ends:
                worker.refused = f"cannot go by the configuration: {why}"
                self.refused(why)
            else:
                worker.behind = why
                self._log.error(
                    "worker {index} goes on with the configuration it has; it cannot go by the"
                    " new one: {why}", index=worker.index, why=why,
                )  # fmt: skip
            self._taken(worker)

    def _serves(self) -> None:
        begun = self._begun
        if begun is not None and all(one.ready for one in self._workers):
            self._begun = None
            begun()

    def _storeOf(self, pool: str) -> Any:
        running = self._balancer.pools.get(pool)
        chain = None if running is None else running.persistence
        return None if chain is None else chain.store

    def _answer(self, channel: Channel, number: int, value: Any) -> None:
        if number:
            channel.send("answer", number, value)

    def _unanswered(self, channel: Channel, number: int, what: str, failure: Failure) -> None:
        self._log.failure("{what} cannot be answered", failure, what=what)
        self._answer(channel, number, None)

    def _suspected(self, poolName: str, name: str, onError: str, reason: str) -> None:
        pool = self._balancer.pools.get(poolName)
        for server in () if pool is None else pool.servers:
            if server.name == name:
                self._balancer.suspect(server, onError, reason)

    def _gauge(self) -> None:
        self._sums.gauge([worker.gauges for worker in self._workers])

    def _follow(self, pool: Pool) -> None:
        pool.told = self._changed
        self._named[pool.name] = _names(pool)

    def _changed(self, pool: Pool) -> None:
        """Something about its servers is another now."""
        self._dirty.add(pool.name)
        self._states.pop(pool.name, None)
        if self._saying is None and not self.stopping:
            self._saying = self._reactor.callLater(0, self._say)

    def _say(self) -> None:
        self._saying = None
        dirty, self._dirty = self._dirty, set()
        pools = self._balancer.pools
        if any(name in pools and _names(pools[name]) != self._named.get(name) for name in dirty):
            self.configured()
            return
        for worker in self._workers:
            worker.dirty |= dirty
            self._update(worker)

    def configured(self) -> None:
        """The balancer goes by another configuration, or has other servers: so do they."""
        for pool in self._balancer.pools.values():
            self._follow(pool)
        for worker in self._workers:
            worker.stale = True
            self._update(worker)

    async def settled(self) -> list[str]:
        """
        Wait until all of them have taken what they were told last. Who waits can be told to wait
        no longer.

        @return: a line for each that cannot go by the configuration, or has said nothing for too
            long.
        """
        if any(map(self._isTaking, self._workers)):
            # What was done was done, whoever does not want to know any more.
            told: Deferred[None] = Deferred(lambda told: told.callback(None))
            self._settling.append(told)
            await told.addTimeout(PATIENCE, self._reactor)
        found = [(one.index, self._lacks(one)) for one in self._workers]
        return [f"worker {index} {lacks}" for index, lacks in found if lacks]

    def _lacks(self, worker: Place) -> str:
        """@return: why it does not go by the configuration; C{""} if it does."""
        if self._isTaking(worker):
            return f"has not taken it within {PATIENCE:g} s"
        if worker.behind:
            return f"goes on with what it had: {worker.behind}"
        return worker.refused

    @staticmethod
    def _isTaking(worker: Place) -> bool:
        return worker.channel is not None and (worker.stale or worker.untold > 0)

    def _settle(self) -> None:
        if not any(map(self._isTaking, self._workers)):
            settling, self._settling = self._settling, []
            for told in settling:
                if not told.called:
                    told.callback(None)

    def ask(self, what: str, *values: Any) -> list[Deferred[Any]]:
        """
        Have all that serve do something of L{lbtwist.workers.doing.TASKS}.

        @return: of what comes of it in each; L{None} in one that ends before. It may be cancelled.
        """
        return [
            self._tasks.give(worker.index, worker.channel, what, *values)
            for worker in self._workers
            if worker.channel is not None and worker.ready
        ]

    def repeat(self, what: str, *values: Any) -> None:
        """
        Have all of them do what was done here and is in no file. Who does not have what it is
        about yet is told how things are when it has.
        """
        for worker in self._workers:
            if worker.channel is not None and not worker.fresh:
                self._repeat(worker, worker.channel, what, *values)
                worker.fresh = worker.stale

    def _repeat(self, worker: Place, channel: Channel, what: str, *values: Any) -> None:
        worker.untold += 1
        self._tasks.give(worker.index, channel, what, *values).addCallback(
            lambda _: self._taken(worker)
        )

    def _taken(self, worker: Place) -> None:
        worker.untold -= 1
        self._settle()

    def _fill(self, worker: Place, channel: Channel) -> None:
        """Tell a worker what is not as in the files that it has read."""
        worker.fresh = False
        give = partial(self._repeat, worker, channel)
        for path, looked in lookedIn(self._balancer).items():
            for entries in looked.entries:
                if entries.changed:
                    give("fill", path, entries.isMap, dict(entries.values))
        texts = self._balancer.tlsFiles.given
        if texts:
            give("give", texts)

    def abortSessionsOf(self, pool: Pool, server: Server) -> None:
        """End what runs with a server, at once."""
        self._tell("abortSessionsOf", pool.name, server.name)

    def reopen(self) -> None:
        """Logs have to be opened anew."""
        self._tell("reopen")

    def abort(self) -> None:
        """All that runs ends at once."""
        self._tell("abort")
        for worker in self._workers if self.stopping else ():
            if worker.pid:
                worker.killIn(MARGIN)

    def _tell(self, name: str, *values: Any) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.send(name, *values)

    def stop(self, grace: float | None) -> Deferred[Any]:
        """
        Let all of them come to their end.

        @param grace: as L{LoadBalancer.drain} has it.
        @return: fires when none is left.
        """
        self.stopping = True
        for timer in (self._saying, self._looking):
            if timer is not None:
                timer.cancel()
        self._saying = self._looking = None
        waiting = []
        for worker in self._workers:
            worker.rest()
            if worker.pid:
                waiting.append(worker.ended)
                if grace is not None:
                    worker.killIn(grace + MARGIN)
        self._tell("drain", grace)
        return DeferredList(waiting).addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        memory, self._memory, self._board = self._memory, -1, None
        if memory >= 0:
            os.close(memory)


def _names(pool: Pool) -> tuple[Any, ...]:
    """@return: its servers, those that sources name among them, as they are made."""
    return tuple(server.options for server in pool.servers if not server.leaving)
