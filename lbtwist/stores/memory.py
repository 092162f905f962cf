"""
A store of persistence in the memory of one process: bounded, and gone with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.interfaces import IChangingStore, IPersistenceStore
from lbtwist.options import Integer, option

if TYPE_CHECKING:
    from lbtwist.registry import Context

# Of a number that an entry is: the lower bits say which name, the others until when.
_NAMES = 20
_NAME = (1 << _NAMES) - 1

# Seconds are counted in eighths.
_GRAIN = 8

_SHARD = 2048
"""The most entries of a shard: a dictionary of so many grows in less than a millisecond."""

_ROUNDS = 32
"""So often somebody has to ask who is bound until all that has run out is forgotten."""


@attr.frozen
class MemoryOptions:
    size: int = option(
        Integer(1, 100_000_000), 1_000_000,
        "So many keys are known; beyond that whoever was not seen for longest is forgotten.",
    )  # fmt: skip


@implementer(IPersistenceStore, IChangingStore)
class MemoryStore:
    """
    Keys and names in dictionaries.

    A million entries take some 150 MiB, and no operation takes long: there are many small
    dictionaries instead of one large, so that none of them ever takes long to grow, and an
    entry is one number, so that there is nothing for the garbage collector to walk through.
    What is oldest is forgotten for each dictionary by itself.

    @ivar most: so many keys are known at the most.
    @ivar changed: is told of every key that is known anew or for longer, with its name and
        the clock's seconds until when, and with C{""} and 0.0 of one that was dropped;
        L{None} if nobody wants to know.
    """

    Options = MemoryOptions

    def __init__(self, options: MemoryOptions, context: Context) -> None:
        self.changed: Callable[[bytes, str, float], object] | None = None
        self._seconds = context.clock
        self.most = options.size
        count = 1
        while count * _SHARD < options.size:
            count *= 2
        self._mask = count - 1
        self._most = -(-options.size // count)
        self._shards: list[dict[bytes, int]] = [{} for _ in range(count)]
        self._swept = 0
        self._sweptAt = -1
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._counts: list[int] = []

    def __repr__(self) -> str:
        return f"<MemoryStore {self.size} keys>"

    def becomes(self, options: MemoryOptions) -> Callable[[], None]:
        return lambda: self.resize(options.size)

    def resize(self, size: int) -> None:
        """
        Know so many keys at the most from now on. There are as many dictionaries as before, so
        that this takes no time; what is too much is forgotten where another key comes.
        """
        self.most = size
        self._most = -(-size // len(self._shards))

    @property
    def size(self) -> int:
        """How many keys are known, those among them that have run out and were not met since."""
        return sum(self._counts)

    def bound(self, name: str) -> int:
        """
        @return: how many keys are known by a name. What has run out and was not met since is
            forgotten little by little with each time that somebody asks.
        """
        self._sweep()
        number = self._numbers.get(name)
        return 0 if number is None else self._counts[number]

    def get(self, key: bytes, ttl: float) -> str | None:
        shard = self._shards[hash(key) & self._mask]
        entry = shard.get(key)
        if entry is None:
            return None
        now = int(self._seconds() * _GRAIN)
        if entry >> _NAMES <= now:
            self._forget(shard, key)
            return None
        number = entry & _NAME
        until = now + int(ttl * _GRAIN)
        # To the end: who was seen last is forgotten last.
        if until > entry >> _NAMES:
            del shard[key]
            shard[key] = until << _NAMES | number
            if self.changed is not None:
                self.changed(key, self._names[number], until / _GRAIN)
        return self._names[number]

    def claim(self, key: bytes, name: str, ttl: float, instead: str) -> str:
        held = self.get(key, 0.0)
        if held == name:
            # It may be known for longer than that.
            self.get(key, ttl)
        elif held is None or held == instead:
            self.put(key, name, ttl)
            return name
        return held

    def put(self, key: bytes, name: str, ttl: float) -> None:
        shard = self._shards[hash(key) & self._mask]
        self._forget(shard, key)
        now = int(self._seconds() * _GRAIN)
        if shard:
            oldest = next(iter(shard))
            if len(shard) >= self._most or shard[oldest] >> _NAMES <= now:
                self._forget(shard, oldest)
                # It may have had room for more.
                while len(shard) >= self._most:
                    self._forget(shard, next(iter(shard)))
        number = self._number(name)
        until = now + int(ttl * _GRAIN)
        shard[key] = until << _NAMES | number
        self._counts[number] += 1
        if self.changed is not None:
            self.changed(key, name, until / _GRAIN)

    def drop(self, key: bytes, name: str) -> None:
        shard = self._shards[hash(key) & self._mask]
        entry = shard.get(key)
        if entry is not None and self._names[entry & _NAME] == name:
            self._forget(shard, key)
            if self.changed is not None:
                self.changed(key, "", 0.0)

    def entries(self) -> Iterator[tuple[bytes, str, float]]:
        """@return: keys, their names, and the clock's seconds until which they are known."""
        for shard in self._shards:
            for key, entry in shard.items():
                yield key, self._names[entry & _NAME], (entry >> _NAMES) / _GRAIN

    def _sweep(self) -> None:
        """
        Forget what has run out in some of the dictionaries: all are met in a few rounds. Who
        asks about a thousand servers at once asks for one.
        """
        now = int(self._seconds() * _GRAIN)
        if now == self._sweptAt:
            return
        self._sweptAt = now
        for _ in range(-(-len(self._shards) // _ROUNDS)):
            shard = self._shards[self._swept]
            self._swept = self._swept + 1 & self._mask
            for key in [key for key, entry in shard.items() if entry >> _NAMES <= now]:
                self._forget(shard, key)

    def _forget(self, shard: dict[bytes, int], key: bytes) -> None:
        entry = shard.pop(key, None)
        if entry is not None:
            self._counts[entry & _NAME] -= 1

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = len(self._names)
            if number > _NAME:
                # Servers have come and gone for years: begin anew.
                for shard in self._shards:
                    shard.clear()
                self._names.clear()
                self._numbers.clear()
                self._counts.clear()
                number = 0
            self._numbers[name] = number
            self._names.append(name)
            self._counts.append(0)
        return number
