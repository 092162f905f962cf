"""
Tells what happens to servers: makes an L{lbtwist.events.HealthEvent} of it and gives that to
whoever a pool wants to be told, the log among them.

What has happened is known to who brought it about: L{lbtwist.monitor}, L{lbtwist.membership},
L{lbtwist.draining}. How it is told to somebody far away is L{lbtwist.notices}'.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from lbtwist.config.model import Part
from lbtwist.events import (
    DOWN,
    EJECTED,
    EVENTS,
    JOINED,
    LEFT,
    RETURNED,
    HealthEvent,
    stateOf,
)
from lbtwist.health import Result
from lbtwist.interfaces import IEnding, IHealthObserver
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.pool import Pool


MOST_REMEMBERED = 500
"""So many of the last events are remembered."""


@implementer(IHealthObserver)
class Recently:
    """
    Remembers what has happened for a while, for whoever asks.

    @ivar events: the newest last.
    """

    def __init__(self) -> None:
        self.events: deque[HealthEvent] = deque(maxlen=MOST_REMEMBERED)

    def healthChanged(self, event: HealthEvent) -> None:
        self.events.append(event)


@implementer(IHealthObserver)
class HealthLog:
    """
    C{log}: a line for each event in the log of the process. It is there for every pool,
    whether C{notify} names it or not.
    """

    _log = Logger()

    @attr.frozen
    class Options:
        """There are none."""

    def __init__(self, options: Options | None = None, context: Any = None) -> None:
        """@param context: is not asked for anything."""

    def healthChanged(self, event: HealthEvent) -> None:
        if event.what in (JOINED, LEFT, EJECTED, RETURNED):
            # Who brought these about has more to say, and one line for all that come and go.
            return
        tell = self._log.warn if event.what == DOWN else self._log.info
        tell(
            "{text}",
            text=event.text, pool=event.pool, server=event.server, what=event.what,
            before=event.before, after=event.after,
            status=event.result.status if event.result is not None else "",
        )  # fmt: skip


class Announcer:
    """Tells of the servers of one pool."""

    _log = Logger()

    def __init__(
        self,
        observers: Iterable[tuple[Any, Iterable[str]]] = ((HealthLog(), EVENTS),),
        wallclock: Callable[[], float] = time.time,
    ) -> None:
        """
        @param observers: each L{IHealthObserver}, and which of L{EVENTS} it is told.
        @param wallclock: seconds since the epoch.
        """
        self._told: dict[str, list[Any]] = {}
        for observer, events in observers:
            for what in events:
                told = self._told.setdefault(what, [])
                if not any(one is observer for one in told):
                    told.append(observer)
        self._wallclock = wallclock

    def tell(
        self,
        pool: Pool,
        server: Server,
        what: str,
        before: str,
        reason: str = "",
        result: Result | None = None,
        left: tuple[int, int] | None = None,
    ) -> None:
        """
        Something has happened to a server. Nothing is raised, and nothing is waited for.

        @param what: one of L{EVENTS}.
        @param before: what L{stateOf} said of it.
        @param reason: may come from anywhere.
        @param left: what L{leftOf} says, where it is known already.
        """
        told = self._told.get(what)
        if not told:
            return
        active, backup = left or leftOf(pool)
        event = HealthEvent(
            server.pool, server.name, what, before, stateOf(server), reason, self._wallclock(),
            result, str(server.endpoint or ""), active, backup, server.active, pool.queued,
            server.weight, server.maxconn, server.role,
        )  # fmt: skip
        for observer in told:
            try:
                observer.healthChanged(event)
            except Exception:
                self._log.failure(
                    "{observer!r} met an error when it was told of {event}",
                    observer=observer, event=event,
                )  # fmt: skip


def leftOf(pool: Pool) -> tuple[int, int]:
    """@return: how many servers can be used that are no backup, and how many that are one."""
    usable = [server.backup for server in pool.servers if server.usable]
    backup = sum(usable)
    return len(usable) - backup, backup


class Audience:
    """
    All observers of a balancer. One that several pools name, or several lines of one, with
    the same words is one observer.
    """

    _log = Logger()

    def __init__(self, make: Callable[[Part], Any]) -> None:
        """@param make: makes an L{IHealthObserver}."""
        self._make = make
        self._all: list[tuple[Part, Any]] = []

    def observer(self, part: Part) -> Any:
        """@return: the one that a part names."""
        # Parts of strangers compare, but need not have a hash.
        for known, observer in self._all:
            if known == part:
                return observer
        observer = self._make(part)
        self._all.append((part, observer))
        return observer

    def end(self) -> Deferred[Any]:
        """
        @return: fires when nothing of any of them is left; what went wrong is logged.
        """
        ending = [
            maybeDeferred(one.end).addErrback(self._failed, one)
            for _, one in self._all
            if IEnding.providedBy(one)
        ]
        return DeferredList(ending)

    def _failed(self, failure: Any, observer: Any) -> None:
        self._log.failure("{observer!r} met an error at its end", failure, observer=observer)
