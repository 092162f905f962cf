"""
A server that is being drained: it gets nobody new, those it has go on, and those who are bound
to it come back to it, until nobody is left.

Which of its clients are sent to it is L{lbtwist.pool}'s, and who is bound to it
L{lbtwist.persistence}'s; here it is only looked at, once a second and only while somebody
waits for the end, so that nothing on the way of a request knows of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attr
from twisted.internet.defer import Deferred

from lbtwist.errors import BalancerError
from lbtwist.events import ADMIN, stateOf
from lbtwist.health import Admin
from lbtwist.pool import Pool
from lbtwist.server import Server

LOOK = 1.0
"""Seconds from one look to the next."""

UNKNOWN = -1


class DrainCancelled(BalancerError):
    """What was waited for does not come: the server is not drained any more."""


@attr.frozen
class Left:
    """
    What a server that is drained still has.

    @ivar sessions: what runs: exchanges that hold a slot of it, tunnels among them.
    @ivar bound: clients that are known to belong to it and may come back to it; -1 where that
        cannot be known, as with cookies that only clients keep.
    """

    sessions: int
    bound: int

    @property
    def nothing(self) -> bool:
        """Whether nobody is known to be left."""
        return not self.sessions and self.bound <= 0


def leftIn(pool: Pool, server: Server) -> Left:
    """@return: what a server still has, were it drained."""
    bound = 0
    if pool.persistence is not None and server.recallable:
        bound = pool.persistence.bound(server)
    return Left(max(server.active, len(server.sessions)), bound)


@attr.define(eq=False)
class _Waiting:
    """
    Who waits for the end.

    @ivar end: when it has waited long enough; L{None}: never.
    @ivar quiet: so long nothing at all has to happen.
    """

    told: Deferred[Left]
    end: float | None
    quiet: float


class Drain:
    """
    One server that is being drained, from now on. See L{drain}.

    @ivar over: it was taken back.
    """

    def __init__(
        self, pool: Pool, server: Server, changed: Callable[[Pool, Server], object]
    ) -> None:
        """@param changed: is told that the administrative state of the server is another one."""
        self.pool = pool
        self.server = server
        self.over = False
        self._changed = changed
        self._before = Admin.READY, False
        self._waiting: list[_Waiting] = []
        self._timer: Any = None
        self._done = UNKNOWN
        self._quietSince = pool.seconds()
        self._begin()
        self._look()

    def __repr__(self) -> str:
        left = self.left
        return f"<Drain {self.pool.name}/{self.server.name} {left.sessions} {left.bound}>"

    def again(self) -> None:
        """Drain it, where somebody has put it into another state meanwhile."""
        if not (self.server.health.admin == Admin.DRAIN and self.server.health.held):
            self._begin()

    def _begin(self) -> None:
        self._before = self.server.health.admin, self.server.health.held
        self._set(Admin.DRAIN, True, "drained by an administrator")

    def _set(self, admin: str, held: bool, reason: str) -> None:
        health = self.server.health
        health.held = held
        if health.admin == admin:
            return
        before = stateOf(self.server)
        health.admin = admin
        self._changed(self.pool, self.server)
        self.pool.announcer.tell(self.pool, self.server, ADMIN[admin], before, reason)

    @property
    def past(self) -> bool:
        """Whether nothing comes of it any more: it was taken back, or its server has gone."""
        return self.over or (not self._waiting and self.server not in self.pool.servers)

    @property
    def left(self) -> Left:
        """What it still has."""
        return leftIn(self.pool, self.server)

    def whenIdle(self, deadline: float = 0.0, quiet: float = 0.0) -> Deferred[Left]:
        """
        Wait until nothing of the server runs and no client is known to be bound to it.

        Where it cannot be known who is bound, as with cookies, nothing may run for a moment
        only because everybody reads: C{quiet} says how long that moment has to be.

        @param deadline: seconds to wait; 0 is no limit.
        @param quiet: seconds in which nothing may have run.
        @return: what is left: L{Left.nothing}, or else the deadline has come. It fails with
            L{DrainCancelled} where the drain is taken back, and may be cancelled.
        """
        waiting = _Waiting(
            Deferred(lambda _: self._leave(waiting)),
            self.pool.seconds() + deadline if deadline else None,
            quiet,
        )
        if self.over:
            waiting.told.errback(_cancelled(self.server))
            return waiting.told
        self._waiting.append(waiting)
        self._look()
        return waiting.told

    def cancel(self) -> None:
        """
        Take the drain back: the server is as it was before. Where somebody has put it into
        another state meanwhile it stays in that.
        """
        if not self.over and self.server.health.admin == Admin.DRAIN:
            self._set(*self._before, "not drained any more")
        self.stop()

    def stop(self) -> None:
        """Look at the server no more; it stays as it is."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.told.errback(_cancelled(self.server))

    def _leave(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        server = self.server
        if server.health.admin == Admin.READY:
            # Somebody else has taken it back.
            self.stop()
            return
        now = self.pool.seconds()
        left = self.left
        done = server.traffic.exchanges
        if left.sessions or done != self._done:
            self._quietSince = now
        self._done = done
        told = [
            one
            for one in self._waiting
            if (left.nothing and now - self._quietSince >= one.quiet)
            or (one.end is not None and now >= one.end)
        ]
        self._waiting = [one for one in self._waiting if one not in told]
        if self._waiting:
            next = min([now + LOOK, *(one.end for one in self._waiting if one.end is not None)])
            # A clock of floats may stand a little before the moment that was asked for.
            self._timer = self.pool.reactor.callLater(max(next - now, 0.001), self._looked)
        for one in told:
            one.told.callback(left)

    def _looked(self) -> None:
        self._timer = None
        self._look()


def _cancelled(server: Server) -> DrainCancelled:
    return DrainCancelled(f"{server.pool}/{server.name} is not drained any more")


class Drains:
    """All that are under way."""

    def __init__(self, changed: Callable[[Pool, Server], object]) -> None:
        """@param changed: see L{Drain}."""
        self._changed = changed
        self._all: dict[Server, Drain] = {}

    def drain(self, pool: Pool, server: Server) -> Drain:
        """@return: the one that is under way, or a new one."""
        found = self._all.get(server)
        if found is None or found.over or server.health.admin == Admin.READY:
            self._all = {known: one for known, one in self._all.items() if not one.past}
            found = self._all[server] = Drain(pool, server, self._changed)
        else:
            found.again()
        return found

    def stop(self) -> None:
        """Look at none any more; they stay drained."""
        drains, self._all = self._all, {}
        for one in drains.values():
            one.stop()
