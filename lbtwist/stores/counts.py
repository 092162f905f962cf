"""
What several balancers count together in a Redis or a Valkey: how often something came, and
how much of it there is at once, which each of them has on lease.

The connection is L{lbtwist.stores.link}'s. Whatever cannot be known is L{None}, and nothing
here fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from secrets import token_hex
from typing import Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.interfaces import ICounts
from lbtwist.stores.link import Link, Script, milliseconds

LEASE = 60.0
"""Seconds after which what a balancer has counted is gone, if it is gone itself."""

RENEWED_AT_ONCE = 100
"""Leases that are renewed, or taken back, by one question."""

SOON = 0.02
"""Seconds until leases are taken back that could not be because too much was asked."""

_NOW = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n"
_TAKE = Script(
    _NOW + "local full = tonumber(redis.call('GET', KEYS[1]) or '0')\n"
    "if full < now then full = now end\n"
    "local late = full - now - ARGV[2]\n"
    "if late > 0 then return math.ceil(late) end\n"
    "if ARGV[3] == '1' then\n"
    "  full = full + ARGV[1]\n"
    "  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX',\n"
    "             math.ceil((full - now) / 1000))\n"
    "end\n"
    "return 0"
)
_ENTER = Script(
    _NOW + "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)\n"
    "if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end\n"
    "redis.call('ZADD', KEYS[1], now + ARGV[2] * 1000, ARGV[3])\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "return 1"
)
# With pcall a key that somebody else has written is in the way of no other.
_RENEW = Script(
    _NOW + "for i = 1, #KEYS do\n"
    "  redis.pcall('ZADD', KEYS[i], now + ARGV[1] * 1000, ARGV[i + 1])\n"
    "  redis.pcall('PEXPIRE', KEYS[i], ARGV[1])\n"
    "end\n"
    "return 1"
)
_LEAVE = Script("for i = 1, #KEYS do redis.pcall('ZREM', KEYS[i], ARGV[i]) end\nreturn 1")
COUNTS = (_TAKE, _ENTER, _RENEW, _LEAVE)


@attr.define(eq=False)
class Lease:
    """
    One that is there.

    @ivar held: whether there was room; L{None} if that is not known.
    """

    key: bytes
    member: bytes
    held: bool | None = None


class Leases:
    """
    Those of one process. They are said again before they run out, and each time the Redis is
    back, which may have forgotten them.
    """

    def __init__(self, link: Link, reactor: Any) -> None:
        self._link = link
        self._reactor = reactor
        self._own = token_hex(8)
        self._next = count(1).__next__
        self._held: dict[bytes, dict[bytes, None]] = {}
        # Those that are to be taken back.
        self._left: list[tuple[bytes, bytes]] = []
        self._timer: Any = None
        self._leaving: Any = None
        link.returned.append(self._renew)

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(LEASE / 3, self._again)

    def stop(self) -> None:
        for timer in (self._timer, self._leaving):
            if timer is not None:
                timer.cancel()
        self._timer = self._leaving = None
        self._left.clear()

    def make(self, key: bytes) -> Lease:
        return Lease(key, f"{self._own}-{self._next():x}".encode())

    def hold(self, lease: Lease) -> None:
        self._held.setdefault(lease.key, {})[lease.member] = None

    def end(self, lease: Lease) -> None:
        """It need not be said again, and is taken back."""
        held = self._held.get(lease.key)
        if held is not None:
            held.pop(lease.member, None)
            if not held:
                del self._held[lease.key]
        if self._link.there and self._link.run(_LEAVE, (lease.key,), (lease.member,)) is None:
            self._leaveSoon([(lease.key, lease.member)])

    def _leaveSoon(self, some: list[tuple[bytes, bytes]]) -> None:
        self._left += some
        if self._left and self._leaving is None:
            self._leaving = self._reactor.callLater(SOON, self._leave)

    def _leave(self) -> None:
        self._leaving = None
        left, self._left = self._left, []
        if self._link.there:
            # Or they run out by themselves.
            some, more = left[:RENEWED_AT_ONCE], left[RENEWED_AT_ONCE:]
            keys, members = zip(*some, strict=True)
            asked = self._link.run(_LEAVE, keys, members)
            self._leaveSoon(left if asked is None else more)

    def _again(self) -> None:
        self._timer = None
        self.start()
        self._renew()

    def _renew(self) -> None:
        every = [(key, one) for key, members in self._held.items() for one in members]
        self._renewMore(None, iter(every))

    def _renewMore(self, answer: object, every: Iterator[tuple[bytes, bytes]]) -> None:
        """
        One question after the other: who asks something else need not wait for all of them.

        @param every: those that may still be there.
        """
        held = self._held
        there = (pair for pair in every if pair[1] in held.get(pair[0], ()))
        some = list(islice(there, RENEWED_AT_ONCE))
        if some and self._link.there:
            keys, members = zip(*some, strict=True)
            asked = self._link.run(_RENEW, keys, (milliseconds(LEASE), *members))
            if asked is not None:
                asked.addCallback(self._renewMore, every)


@implementer(ICounts)
class RedisCounts:
    """What is counted by one name."""

    def __init__(self, link: Link, prefix: bytes, leases: Leases) -> None:
        self._link = link
        self._prefix = prefix
        self._leases = leases

    def take(
        self, key: bytes, each: float, ahead: float, keep: bool
    ) -> Deferred[float | None] | None:
        words = (b"%.3f" % (each * 1e6), b"%.3f" % (ahead * 1e6), int(keep))
        found = self._link.run(_TAKE, (self._prefix + key,), words)
        return None if found is None else found.addCallback(_waited)

    def enter(self, key: bytes, most: int) -> Lease | Deferred[Lease]:
        lease = self._leases.make(self._prefix + key)
        words = (most, milliseconds(LEASE), lease.member)
        asked = self._link.run(_ENTER, (lease.key,), words)
        if asked is None:
            return lease
        found: Deferred[Lease] = Deferred(lambda _: self._forgo(lease, asked))
        asked.addCallback(self._entered, lease, found)
        return found

    def keep(self, lease: Lease) -> None:
        self._leases.hold(lease)

    def leave(self, lease: Lease) -> None:
        self._leases.end(lease)

    def _entered(self, answer: Any, lease: Lease, found: Deferred[Lease]) -> None:
        lease.held = answer == 1 if answer in (0, 1) else None
        if lease.held:
            self._leases.hold(lease)
        found.callback(lease)

    def _forgo(self, lease: Lease, asked: Deferred[Any]) -> None:
        """Nobody waits for it: what was said after the question is done after it."""
        asked.addErrback(lambda failure: None)
        asked.cancel()
        self._leases.end(lease)


def _waited(answer: Any) -> float | None:
    """@return: microseconds as seconds."""
    return answer / 1e6 if isinstance(answer, int) and answer >= 0 else None
