"""
Who waits for a slot of a pool's servers, and who of them is next. Which servers have slots,
and what is done with one, is L{lbtwist.pool}'s.

Those who wait for the same, for any server, for any of a role or for the one they are bound
to, wait apart from the others, so that nobody is held up by who could not take the slot that
is free. Among them each tenant has a line of its own, in which a priority counts before the
time of arrival. Of the tenants the one is next who has had the least for its weight:
start-time fair queueing (P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", 1996), with
one exchange as the unit. Without C{queue = fair} there is one tenant.

To come, to be next and to leave take M{O(log n)}, whatever is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from types import MappingProxyType
from typing import TYPE_CHECKING

from lbtwist.connecting import Waiting
from lbtwist.deadlines import Timed
from lbtwist.exchange import Cause, Exchange, Stage
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.pool import Pool

MOST_TENANTS = 10_000
"""Tenants that are told apart; those who come while so many wait share one line."""

LONGEST_KEY = 256
"""Bytes of a tenant's key that count."""

_SLACK = 64
"""So many that have left are kept, besides as many as are there."""

Order = tuple[int, float, int]
"""The class of priority, when it came, counted up: the least is next."""

Target = Server | str | None
"""A server, a role, or any server: what is waited for."""


class Place(Timed):
    """
    A place in the queue.

    @ivar waiting: who waits.
    @ivar bound: the server it waits for, and takes no other; L{None}: any will do.
    @ivar order: among those of its tenant.
    @ivar line: where it waits; L{None} if it does not any more.
    @ivar since: when it came, by the clock; L{None} if it waits on at another place.
    """

    __slots__ = ("_pool", "bound", "line", "order", "since", "waiting")

    def __init__(
        self, pool: Pool, waiting: Waiting, bound: Server | None, order: Order, line: _Line,
        since: float,
    ) -> None:
        super().__init__()
        self._pool = pool
        self.since: float | None = since
        self.waiting = waiting
        self.bound = bound
        self.order = order
        self.line: _Line | None = line

    @property
    def role(self) -> str | None:
        """That of the servers of which it takes any, while it waits; L{None}: any will do."""
        target = None if self.line is None else self.line.group.target
        return target if isinstance(target, str) else None

    def leave(self) -> None:
        self._pool.left(self)

    def expired(self) -> None:
        self.leave()
        waiting = self.waiting
        waiting.place = None
        waiting.serverUnavailable(Cause.SERVER_TIMEOUT, Stage.QUEUE, 503)


class _Tenant:
    """
    @ivar key: what it is known by.
    @ivar step: how much one exchange counts: the inverse of its weight.
    @ivar tag: the virtual time at which the next one of it begins.
    @ivar count: how many of it wait.
    @ivar kept: it is among those that are remembered though none of it waits.
    """

    __slots__ = ("count", "kept", "key", "step", "tag")

    def __init__(self, key: bytes, step: float, tag: float) -> None:
        self.key = key
        self.step = step
        self.tag = tag
        self.count = 0
        self.kept = False


class _Line:
    """Those of one tenant who wait for the same."""

    __slots__ = ("_heap", "count", "group", "tenant")

    def __init__(self, tenant: _Tenant, group: _Group) -> None:
        self.tenant = tenant
        self.group = group
        self.count = 0
        self._heap: list[tuple[Order, Place]] = []

    def join(self, place: Place) -> None:
        self.count += 1
        heappush(self._heap, (place.order, place))

    def leave(self, place: Place) -> None:
        place.line = None
        self.count -= 1
        heap = self._heap
        if len(heap) > 2 * self.count + _SLACK:
            self._heap = [one for one in heap if one[1].line is self]
            heapify(self._heap)

    def first(self) -> Place:
        """@return: who is next; there is one."""
        heap = self._heap
        while heap[0][1].line is not self:
            heappop(heap)
        return heap[0][1]


class _Group:
    """
    Those who wait for the same, of all tenants.

    @ivar target: what that is.
    @ivar count: how many there are.
    """

    __slots__ = ("_heap", "_lines", "count", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.count = 0
        self._lines: dict[_Tenant, _Line] = {}
        # By the tag that the tenant had; that may be higher by now, as others of it were
        # served. The number is there so that lines need not compare.
        self._heap: list[tuple[float, int, _Line]] = []

    def line(self, tenant: _Tenant, number: int) -> _Line:
        """
        @param number: no two lines have the same.
        @return: that of a tenant, which somebody is about to join.
        """
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = _Line(tenant, self)
            heappush(self._heap, (tenant.tag, number, line))
        return line

    def leave(self, place: Place) -> None:
        line = place.line
        assert line is not None
        line.leave(place)
        self.count -= 1
        if not line.count:
            del self._lines[line.tenant]
            if len(self._heap) > 2 * len(self._lines) + _SLACK:
                self._heap = [one for one in self._heap if one[2].count]
                heapify(self._heap)

    def first(self) -> Place:
        """@return: who is next; there is one."""
        heap = self._heap
        while True:
            tag, number, line = heap[0]
            if not line.count:
                heappop(heap)
            elif tag < line.tenant.tag:
                heapreplace(heap, (line.tenant.tag, number, line))
            else:
                return line.first()

    def places(self) -> Iterator[Place]:
        for line in list(self._lines.values()):
            for _, place in sorted(line._heap):
                if place.line is line:
                    yield place


class Queue:
    """The places of one pool."""

    __slots__ = (
        "_count", "_groups", "_kept", "_key", "_now", "_number", "_only", "_rest", "_roles",
        "_tenants", "_weights",
    )  # fmt: skip

    def __init__(
        self,
        key: Callable[[Exchange], bytes] | None = None,
        weights: Mapping[bytes, int] = MappingProxyType({}),
    ) -> None:
        """
        @param key: of the tenant that an exchange is of; L{None}: all are of one.
        @param weights: by key, from 1 on; 1 where it is not there.
        """
        self._key = key
        self._weights = weights
        # One tenant has nobody to be compared with: its time stands still.
        self._only = _Tenant(b"", 0.0, 0.0)
        self._rest = _Tenant(b"", 1.0, 0.0)
        self._tenants: dict[bytes, _Tenant] = {}
        # Those of whom nobody waits, by the time until which they are ahead of others.
        self._kept: list[tuple[float, bytes, _Tenant]] = []
        self._groups: dict[Target, _Group] = {}
        self._roles: tuple[str, ...] = ()
        self._count = 0
        self._number = 0
        self._now = 0.0

    def __repr__(self) -> str:
        bound = sum(one.count for of, one in self._groups.items() if isinstance(of, Server))
        return f"<Queue {self._count} wait {bound} bound>"

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def waiting(self, bound: Server | None) -> int:
        """
        @return: how many wait for this server and take no other; for L{None} how many are
            bound to none.
        """
        if bound is None:
            found = [self._groups.get(one) for one in (None, *self._roles)]
            return sum(one.count for one in found if one is not None)
        group = self._groups.get(bound)
        return 0 if group is None else group.count

    def ofTenant(self, exchange: Exchange) -> int:
        """@return: how many wait of the tenant that an exchange is of."""
        if self._key is None:
            return self._count
        tenant = self._tenants.get(self._key(exchange)[:LONGEST_KEY])
        if tenant is None:
            return self._rest.count if len(self._tenants) >= MOST_TENANTS else 0
        return tenant.count

    def goBy(self, other: Queue) -> None:
        """
        Tell tenants apart as another one does, from now on. Who waits keeps the line where it
        is, and that has the weight that it had.
        """
        self._key = other._key
        self._weights = other._weights

    def places(self) -> Iterator[Place]:
        """@return: all who wait."""
        for group in list(self._groups.values()):
            yield from list(group.places())

    def join(self, pool: Pool, waiting: Waiting, bound: Server | None) -> Place:
        """@return: the new place."""
        self._number += 1
        exchange = waiting.exchange
        target: Target = bound
        level, offset = 0, 0.0
        settings = exchange.settings
        if settings is not None:
            level, offset = settings.get("priority", (0, 0.0))
            if bound is None:
                target = settings.get("role")
        tenant = self._only if self._key is None else self._tenant(self._key(exchange))
        group = self._groups.get(target)
        if group is None:
            group = self._groups[target] = _Group(target)
            if isinstance(target, str):
                self._roles += (target,)
        if not tenant.count and tenant.tag < self._now:
            # Who has not been here has saved nothing up.
            tenant.tag = self._now
        line = group.line(tenant, self._number)
        now = pool.seconds()
        place = Place(pool, waiting, bound, (level, now + offset, self._number), line, now)
        line.join(place)
        group.count += 1
        tenant.count += 1
        self._count += 1
        return place

    def leave(self, place: Place) -> None:
        """@param place: is one of the queue, or is not any more."""
        line = place.line
        if line is None:
            return
        tenant, group = line.tenant, line.group
        group.leave(place)
        if not group.count:
            del self._groups[group.target]
            if isinstance(group.target, str):
                self._roles = tuple(role for role in self._roles if role != group.target)
        self._count -= 1
        tenant.count -= 1
        if not self._count:
            # Nobody is left to be compared with.
            self._now = self._rest.tag = 0.0
            self._tenants.clear()
            self._kept.clear()
        elif not tenant.count:
            self._keep(tenant)

    def serve(self, place: Place) -> None:
        """A place gets what it waits for, and leaves."""
        line = place.line
        assert line is not None, "who is not in the queue cannot be served"
        tenant = line.tenant
        # Who had to wait for one server catches up with the others at once, not by and by:
        # it would be the only one who is served for a time.
        self._now = max(self._now, tenant.tag)
        tenant.tag = self._now + tenant.step
        self.leave(place)
        kept = self._kept
        while kept and kept[0][0] <= self._now:
            self._look(heappop(kept)[2])

    def next(
        self, freed: Server | None, free: bool, without: tuple[str | None, ...] = ()
    ) -> Place | None:
        """
        @param freed: the server of which a slot has become free; L{None}: all may have.
        @param free: whether those that are not bound can be served.
        @param without: those who wait for any server of these roles are not asked; L{None}
            is any server.
        @return: the place that is served next, if one can be; it is still in the queue.
        """
        groups = self._groups
        found: Place | None = None
        least = (0.0, (0, 0.0, 0))
        targets: list[Target] = []
        if free:
            targets += [one for one in (None, *self._roles) if one not in without]
        if freed is not None:
            targets.append(freed)
        else:
            targets += [one for one in groups if isinstance(one, Server)]
        for target in targets:
            group = groups.get(target)
            if group is None or (isinstance(target, Server) and target.full):
                continue
            place = group.first()
            assert place.line is not None
            order = place.line.tenant.tag, place.order
            if found is None or order < least:
                found, least = place, order
        return found

    def bound(self) -> Iterator[Place]:
        """@return: the places that are bound to a server."""
        for target, group in list(self._groups.items()):
            if isinstance(target, Server):
                yield from list(group.places())

    # tenants

    def _tenant(self, key: bytes) -> _Tenant:
        key = key[:LONGEST_KEY]
        tenants = self._tenants
        tenant = tenants.get(key)
        if tenant is not None:
            return tenant
        if len(tenants) >= MOST_TENANTS:
            while self._kept and len(tenants) >= MOST_TENANTS:
                forgotten = heappop(self._kept)[2]
                forgotten.kept = False
                if not forgotten.count:
                    del tenants[forgotten.key]
            if len(tenants) >= MOST_TENANTS:
                return self._rest
        tenant = tenants[key] = _Tenant(key, 1 / self._weights.get(key, 1), self._now)
        return tenant

    def _keep(self, tenant: _Tenant) -> None:
        """Nobody of a tenant waits: remember it as long as it is ahead of the others."""
        if tenant is self._only or tenant is self._rest or tenant.kept:
            return
        if tenant.tag <= self._now:
            del self._tenants[tenant.key]
            return
        tenant.kept = True
        heappush(self._kept, (tenant.tag, tenant.key, tenant))

    def _look(self, tenant: _Tenant) -> None:
        tenant.kept = False
        if not tenant.count:
            self._keep(tenant)
