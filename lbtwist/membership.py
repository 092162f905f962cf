"""
The service that owns time for sources of servers: asks each again and again, keeps its last
good answer, and lets servers come to their pools and go.

How a source is asked is L{lbtwist.sources}'; what a server needs to work is brought by who
implements L{Joins}; who has gone is L{lbtwist.roster}'s.

A server is known by its address: one that is named again is the same object with its health,
its counters and its connections, whatever else changed. Its name is what the source calls it
or else its address, not a number: C{web-10.0.0.1:8000}. HAProxy numbers the slots of a
C{server-template}; a number goes to whoever is there next, and who must come back to a server
would be sent to another one. Balancers by hash go by the address, so the order in which
servers are named, and what they are called, moves no key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from lbtwist.announcing import leftOf
from lbtwist.config.model import PoolConfig, ServerConfig, ServersConfig
from lbtwist.errors import BalancerError, Nobody, StartError
from lbtwist.events import JOINED
from lbtwist.interfaces import IServerSource
from lbtwist.members import few, many, nameOf, oneLine, wantedOf, weightOf
from lbtwist.pool import Pool
from lbtwist.roster import Roster
from lbtwist.server import Found, Member, Server

LEAST = 0.1
MOST = 86400.0
"""Seconds: no pause is shorter and none is longer, whatever a source says."""

MOST_PAUSE = 60.0
"""Seconds until a source that failed is asked again: doubled with every failure, up to this
and up to eight times its interval."""


class Joins(Protocol):
    """Brings servers to work; how they go is told by L{lbtwist.roster.Leaves}."""

    def verify(self, pool: PoolConfig, options: ServerConfig) -> None:
        """
        Try what all of them need.

        @param options: what they have in common.
        @raise StartError: if it is not there.
        """

    def join(self, pool: Pool, options: ServerConfig, key: str) -> Server:
        """
        Make a server, and begin to check it.

        @param key: what hashes are made of.
        @raise StartError: if that cannot be; nothing is left of it.
        """

    def joinAgain(self, pool: Pool, server: Server, options: ServerConfig) -> None:
        """
        It has left, and is there again before it was forgotten.

        @param options: what it is now.
        @raise StartError: if that cannot be.
        """

    def weigh(self, server: Server, weight: int) -> None:
        """Its weight is another one now."""

    def came(self, pool: Pool, server: Server) -> None:
        """It has joined others, which were there before it; its pool has not been told yet."""


@attr.define(eq=False)
class Membership:
    """
    One line C{servers} at work.

    @ivar source: an L{lbtwist.interfaces.IServerSource}.
    @ivar servers: those of the last good answer, by their addresses, in its order.
    @ivar answeredAt: when the last good answer came, by the clock; L{None} before the first.
    @ivar failures: in a row.
    @ivar reason: why the last question failed; C{""} if it did not.
    @ivar left: what of the last good answer is no server here, each with the reason.
    """

    pool: Pool
    config: ServersConfig
    source: Any
    servers: dict[str, Server] = attr.field(factory=dict)
    answeredAt: float | None = None
    failures: int = 0
    reason: str = ""
    left: tuple[str, ...] = ()
    named: dict[str, Member] = attr.field(factory=dict)
    asking: Deferred[Any] | None = None
    timer: Any = None

    def __repr__(self) -> str:
        state = f"fails: {self.reason}" if self.failures else f"{len(self.servers)} servers"
        return f"<Membership {self} {state}>"

    def __str__(self) -> str:
        return f"{self.pool.name}/{self.config.name} ({self.config.text})"

    def age(self, now: float) -> float | None:
        """@return: seconds since the last good answer; L{None} before the first."""
        return None if self.answeredAt is None else now - self.answeredAt


class Memberships:
    """All sources of servers at work."""

    _log = Logger()

    def __init__(
        self, reactor: Any, clock: Callable[[], float], joins: Joins, roster: Roster
    ) -> None:
        """
        @param reactor: for timers.
        @param clock: seconds that never go back.
        @param roster: is told who comes and who goes.
        """
        self._reactor = reactor
        self._clock = clock
        self._joins = joins
        self._roster = roster
        self._all: list[Membership] = []
        self._running = False

    def __repr__(self) -> str:
        return f"<Memberships {len(self._all)} sources>"

    def watch(self, pool: Pool, config: ServersConfig, source: Any) -> None:
        """
        Have a source say which servers a pool has, besides those it has now.

        @raise zope.interface.Invalid: if it is no L{IServerSource}.
        """
        verifyObject(IServerSource, source)
        membership = Membership(pool, config, source)
        self._roster.know(pool)
        self._all.append(membership)
        pool.memberships = (*pool.memberships, membership)
        if self._running:
            self._ask(membership)

    # what another configuration says

    def change(
        self, membership: Membership, config: ServersConfig, source: Any,
        adapt: Callable[[Server, ServerConfig], object],
    ) -> None:
        """
        Have a line C{servers} say something else.

        @param source: see L{Membership}; the one it has, if that is the same.
        @param adapt: makes a server what its options say.
        """
        membership.config = config
        lowest = min((one.priority for one in membership.named.values()), default=0)
        for address, server in membership.servers.items():
            member = membership.named[address]
            adapt(server, _optionsOf(config, server.name, member, lowest))
        if source is not membership.source:
            membership.source = source
            if self._running:
                self._rest(membership)
                self._ask(membership)

    def leave(self, membership: Membership) -> None:
        """A line C{servers} is there no more."""
        pool = membership.pool
        self._rest(membership)
        self._all.remove(membership)
        pool.memberships = tuple(one for one in pool.memberships if one is not membership)
        self._roster.dismiss(pool, membership.servers.values(), "the configuration")

    def retire(self, pool: Pool) -> None:
        """A pool is there no more: its servers stay who they are."""
        for membership in pool.memberships:
            self._rest(membership)
            self._all.remove(membership)
        self._roster.retire(pool)

    def verify(self) -> None:
        """
        Try what servers need that are not there yet.

        @raise StartError: if it is not there, naming the file or the interface.
        """
        for membership in self._all:
            self._joins.verify(membership.pool.config, membership.config.server)

    def start(self) -> None:
        """Ask every source, now and then again and again."""
        self._running = True
        for membership in self._all:
            self._ask(membership)

    def stop(self) -> None:
        """Ask no more, and let all go whom sources named; no timer is left."""
        self._running = False
        for membership in self._all:
            self._rest(membership)
            self._roster.letGo(membership.pool, membership.servers.values())
            membership.servers = {}
            membership.named = {}
            membership.answeredAt = None
            membership.failures = 0
        self._roster.stop()

    def _rest(self, membership: Membership) -> None:
        """Ask it no more."""
        timer, membership.timer = membership.timer, None
        if timer is not None:
            timer.cancel()
        asking, membership.asking = membership.asking, None
        if asking is not None:
            asking.cancel()

    # when to ask

    def _schedule(self, membership: Membership, seconds: float) -> None:
        membership.timer = self._reactor.callLater(seconds, self._ask, membership)

    def _ask(self, membership: Membership) -> None:
        membership.timer = None
        source = membership.source
        membership.asking = asking = maybeDeferred(source.discover)
        asking.addTimeout(source.limit, self._reactor, self._late(source.limit))
        asking.addBoth(self._told, membership, asking)

    def _late(self, seconds: float) -> Callable[[object, float], Failure]:
        return lambda *_: Failure(_Wrong(f"no answer within {seconds:g} s"))

    def _told(self, answer: Any, membership: Membership, asking: Deferred[Any]) -> None:
        if not self._running or membership.asking is not asking:
            # It was cancelled, and who did that does not want to hear of it.
            return
        membership.asking = None
        try:
            found = self._found(answer, membership.config)
            pause = membership.source.interval if found.again is None else found.again
            pause = max(LEAST, min(pause, membership.config.interval or MOST))
            self._take(membership, found)
        except Exception:
            self._failed(membership, Failure())
            return
        self._good(membership)
        self._schedule(membership, pause)

    def _found(self, answer: Any, config: ServersConfig) -> Found:
        """@raise BalancerError: if it is no good answer."""
        if isinstance(answer, Failure):
            if answer.check(Nobody) and config.allow_empty:
                return Found(())
            answer.raiseException()
        if not isinstance(answer, Found):
            raise _Wrong(f"it has answered {answer!r:.80}, which is not a Found")
        return answer

    def _failed(self, membership: Membership, failure: Failure) -> None:
        reason = failure.getErrorMessage()
        if not failure.check(BalancerError):
            reason = f"{type(failure.value).__name__}: {reason}"
        reason = oneLine(reason)
        if not membership.failures:
            kept = "it has named none yet"
            age = membership.age(self._clock())
            if age is not None:
                servers = many(len(membership.servers), "server")
                kept = f"what it said {age:.0f} s ago is kept, {servers}"
            self._log.warn(
                "{membership} fails: {reason}; {kept}",
                membership=str(membership), reason=reason, kept=kept,
            )  # fmt: skip
        interval = max(LEAST, membership.config.interval or membership.source.interval)
        self._schedule(membership, min(MOST_PAUSE, interval * 2 ** min(membership.failures, 3)))
        membership.failures += 1
        membership.reason = reason

    def _good(self, membership: Membership) -> None:
        if membership.failures:
            self._log.info(
                "{membership} answers again, after {failures}",
                membership=str(membership), failures=many(membership.failures, "failure"),
            )  # fmt: skip
        membership.failures = 0
        membership.reason = ""
        membership.answeredAt = self._clock()

    # who comes and who goes

    def _take(self, membership: Membership, found: Found) -> None:
        """
        Make what a source has named the servers of its pool.

        @raise BalancerError: if that would be none, though it should not be; nothing has
            changed then.
        """
        left = [oneLine(one) for one in found.left]
        wanted = wantedOf(found.members, membership.config.count, membership.servers, left)
        if not wanted and (left or not membership.config.allow_empty):
            raise _Wrong(f"it names no server{': ' if left else ''}{left[0] if left else ''}")
        pool, before = membership.pool, membership.servers
        back = self._roster.gone(pool)
        lowest = min((one.priority for one in wanted.values()), default=0)
        taken = {server.name for server in self._roster.members(pool)}
        servers: dict[str, Server] = {}
        came = []
        changed = False
        for address, member in wanted.items():
            server = before.get(address)
            if server is None:
                server = self._come(membership, address, member, lowest, taken, back, left)
                if server is None:
                    continue
                taken.add(server.name)
                came.append(server)
            changed = self._adapt(membership, server, member, lowest) or changed
            servers[address] = server
        if wanted and not servers:
            # Of those that are there each has been kept, so there was none.
            raise _Wrong(left[-1])
        gone = [one for address, one in before.items() if address not in servers]
        membership.named = wanted
        membership.servers = servers
        were = self._roster.letGo(pool, gone)
        if membership.answeredAt is not None:
            for server in came:
                self._joins.came(pool, server)
        if came or gone or changed or list(before) != list(servers):
            self._roster.place(pool)
        if came or gone:
            self._tell(membership, came, were)
        if left and tuple(left) != membership.left:
            self._log.warn(
                "{membership}: not taken: {left}", membership=str(membership), left=few(left)
            )
        membership.left = tuple(left)

    def _come(
        self, membership: Membership, address: str, member: Member, lowest: int,
        taken: set[str], back: dict[str, Server], left: list[str],
    ) -> Server | None:
        """
        @param taken: names.
        @param back: who may come back, by their keys.
        @param left: is told why there is none.
        @return: a server that is new or back; L{None} if it cannot be.
        """
        pool = membership.pool
        key = f"{pool.name}/{address}"
        server = back.get(key)
        if server is None:
            name = nameOf(membership.config.name, address, member, taken)
        else:
            name = server.name
        options = _optionsOf(membership.config, name, member, lowest)
        try:
            if server is not None:
                self._joins.joinAgain(pool, server, options)
                self._roster.stays(pool, server)
                return server
            return self._joins.join(pool, options, key)
        except StartError as failed:
            left.append(oneLine(f"{address}: {failed}"))
        except Exception:
            self._log.failure("{membership}: an error, and no server", membership=str(membership))
            left.append(f"{address}: an error")
        return None

    def _adapt(self, membership: Membership, server: Server, member: Member, lowest: int) -> bool:
        """
        Let a server be what the source says now. What it does not say anew is not touched:
        somebody may have changed it since.

        @return: whether anything has changed.
        """
        template = membership.config.server
        changed = False
        weight = weightOf(template, member)
        options = server.options
        if options.weight != weight:
            self._joins.weigh(server, weight)
            changed = True
        backup = template.backup or member.priority > lowest
        if options.backup != backup:
            server.backup = backup
            changed = True
        if changed:
            server.options = attr.evolve(options, weight=weight, backup=backup)
        return changed

    def _tell(
        self, membership: Membership, came: list[Server], gone: dict[Server, str]
    ) -> None:
        """@param gone: with what each was before."""
        said = "".join(
            f"; {word}: {few([server.name for server in servers])}"
            for word, servers in (("new", came), ("gone", gone))
            if servers
        )
        self._log.info(
            "{membership} names {count}{said}",
            membership=str(membership), count=many(len(membership.servers), "server"), said=said,
        )  # fmt: skip
        if membership.answeredAt is None:
            # Those that are there from the beginning are no news.
            return
        pool, left = membership.pool, leftOf(membership.pool)
        for server in came:
            pool.announcer.tell(pool, server, JOINED, "", str(membership), left=left)
        self._roster.tell(pool, gone, str(membership))


def _optionsOf(
    config: ServersConfig, name: str, member: Member, lowest: int
) -> ServerConfig:
    """
    @param lowest: of the priorities of all that were named.
    @return: what a server is that a source has named.
    """
    template = config.server
    return attr.evolve(
        template, name=name, kind="unix" if member.path else "tcp", host=member.host,
        port=member.port, path=member.path, weight=weightOf(template, member),
        backup=template.backup or member.priority > lowest, sni=template.sni or member.sni,
    )  # fmt: skip


class _Wrong(BalancerError):
    """What a source answers is of no use; it says why."""
