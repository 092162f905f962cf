"""
What conditions look things up in: networks, texts and maps, read when the rules are built, and
counters by key. What was read of a file can be changed while rules look things up in it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from weakref import WeakSet, WeakValueDictionary

MOST_ENTRIES = 1_000_000
"""Entries of one file."""

MOST_BYTES = 16 * 1024 * 1024
"""Characters of the entries of one file."""

MOST_KEYS = 100_000
"""Keys of one table; whoever has not come for longest is forgotten."""

_REMEMBERED = 65536
_LONGEST_ADDRESS = 45


class Networks:
    """
    A set of networks. Whether an address is in it costs no more for many than for few:
    one look for each length of prefix, and none for an address that came before.

    @ivar known: whether an address is in it, by its text.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        """@raise ValueError: with a sentence, for what is none."""
        self._prefixes: dict[tuple[int, int], Counter[int]] = {}
        self.known = _Known(self._look)
        for written in networks:
            self.add(written)

    def add(self, written: str) -> None:
        """Have one more. @raise ValueError: with a sentence, for what is none."""
        key, prefix = _prefixOf(written)
        self._prefixes.setdefault(key, Counter())[prefix] += 1
        self.known.forget()

    def discard(self, written: str) -> None:
        """
        Have one less: it is not in it any more when it was taken away as often as it was added.
        """
        key, prefix = _prefixOf(written)
        found = self._prefixes[key]
        found[prefix] -= 1
        if not found[prefix]:
            del found[prefix]
        if not found:
            del self._prefixes[key]
        self.known.forget()

    def __contains__(self, address: object) -> bool:
        """@param address: as text."""
        return self.known[str(address)]

    def _look(self, address: str) -> bool:
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        bits = int(found)
        version = found.version
        return any(
            of == version and bits >> shift in prefixes
            for (of, shift), prefixes in self._prefixes.items()
        )


def _prefixOf(written: str) -> tuple[tuple[int, int], int]:
    """@raise ValueError: with a sentence, for what is no network."""
    network = _network(written)
    shift = network.max_prefixlen - network.prefixlen
    return (network.version, shift), int(network.network_address) >> shift


class _Known(dict[str, bool]):
    """Answers by address: what is not in it yet is looked for."""

    __slots__ = ("_look",)

    def __init__(self, look: Callable[[str], bool]) -> None:
        super().__init__(_NO_ADDRESSES)
        self._look = look

    def __missing__(self, address: str) -> bool:
        found = self._look(address)
        # A zone, and what is no address, can be as long as who writes it likes.
        if len(address) <= _LONGEST_ADDRESS and "%" not in address:
            if len(self) >= _REMEMBERED:
                self.forget()
            self[address] = found
        return found

    def forget(self) -> None:
        """Look for all of them again."""
        if len(self) > len(_NO_ADDRESSES):
            self.clear()
            self.update(_NO_ADDRESSES)


# A client of a UNIX socket, and what is none.
_NO_ADDRESSES = {"": False, "unix": False}


def _network(written: str) -> IPv4Network | IPv6Network:
    """@raise ValueError: with a sentence."""
    try:
        network = ip_network(written)
    except ValueError:
        raise ValueError(_whyNot(written)) from None
    if isinstance(network, IPv6Network):
        if "%" in written:
            address = IPv6Address(int(network.network_address))
            raise ValueError(f"{written!r} has a zone: write {address}/{network.prefixlen}")
        # Addresses of IPv4 are never looked for in their IPv6 form (RFC 4291 2.5.5.2).
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _whyNot(written: str) -> str:
    try:
        network = ip_network(written, strict=False)
    except ValueError:
        return f"{written!r} is not a network: write 10.0.0.0/8, 2001:db8::/32 or an address"
    return f"{written!r} has bits of a host: write {network}"


def lines(content: str) -> list[str]:
    """@return: what a file lists: a line each, without comments and empty lines."""
    found = (line.strip() for line in content.splitlines())
    return [line for line in found if line and not line.startswith("#")]


def mapping(content: str) -> dict[str, str]:
    """
    @return: of a file: key, white space, value; of several of one key the first.
    @raise ValueError: for a line without a value.
    """
    found: dict[str, str] = {}
    for line in lines(content):
        words = line.split(None, 1)
        if len(words) != 2:
            raise ValueError(f"{line!r} has no value: a line is KEY VALUE")
        found.setdefault(words[0], words[1])
    return found


class Entries:
    """
    What a file says: keys and their values, or a list of texts. Whoever looks things up in it sees
    what it is changed to.

    @ivar values: the value of each key; of a list they are empty.
    @ivar isMap: whether there are values.
    @ivar changed: whether it was changed since it was read.
    """

    def __init__(self, content: str, isMap: bool) -> None:
        """@raise ValueError: for a line without a value."""
        self.values = mapping(content) if isMap else dict.fromkeys(lines(content), "")
        self.isMap = isMap
        self.changed = False
        self._size = sum(map(_sizeOf, self.values.items()))
        self._networks: WeakSet[Networks] = WeakSet()

    def __repr__(self) -> str:
        return f"<Entries {'map' if self.isMap else 'list'} {len(self.values)}>"

    def join(self, networks: Networks) -> None:
        """
        Have the texts of a list be in a set of networks.

        @raise ValueError: with a sentence, for one that is no network.
        """
        for text in self.values:
            networks.add(text)
        self._networks.add(networks)

    def check(self, key: str, value: str = "") -> None:
        """@raise ValueError: with a sentence, if it cannot be added."""
        isLine = len(f"{key} {value}".splitlines()) == 1
        if not key or key != key.strip() or key.startswith("#") or not isLine:
            raise ValueError(f"{key!r} can be no line of a file")
        if self.isMap and (not value.strip() or len(key.split()) > 1):
            raise ValueError(f"{key!r} needs a value, and has no white space")
        if not self.isMap and value:
            raise ValueError("a list has no values")
        size = self._size + _sizeOf((key, value))
        if (key not in self.values and len(self.values) >= MOST_ENTRIES) or size > MOST_BYTES:
            raise ValueError(f"there are {len(self.values)} entries: there is no room for more")
        if self._networks:
            _prefixOf(key)

    def put(self, key: str, value: str = "") -> None:
        """Add an entry, or have another value for its key. See L{check}."""
        self.changed = True
        before = self.values.get(key)
        if before is not None:
            self._size -= _sizeOf((key, before))
        else:
            for networks in self._networks:
                networks.add(key)
        self.values[key] = value
        self._size += _sizeOf((key, value))

    def drop(self, key: str) -> None:
        """@raise KeyError: if there is none."""
        self.changed = True
        self._size -= _sizeOf((key, self.values.pop(key)))
        for networks in self._networks:
            networks.discard(key)

    def clear(self) -> None:
        """Drop all of them."""
        for key in list(self.values):
            self.drop(key)


def _sizeOf(entry: tuple[str, str]) -> int:
    return len(entry[0]) + len(entry[1]) + 2


class Tables:
    """
    What was read of files and is in use. What two rules read of the same file is the same, as
    long as that is what it was.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, bool, int], Entries] = WeakValueDictionary()

    def find(self, path: str, isMap: bool, content: str) -> Entries:
        """
        @param content: what is in the file now.
        @raise ValueError: for a line without a value.
        """
        key = path, isMap, hash(content)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Entries(content, isMap)
        return found


class Rate:
    """
    How often something came in a period: counted in two halves that slide, as rates are
    in nginx and HAProxy, so that a key costs two numbers and no list.
    """

    def __init__(self, period: float, seconds: Callable[[], float]) -> None:
        """@param period: seconds."""
        self._period = period
        self._seconds = seconds
        # The number of the period, what came in it, and in the one before. A key can be as
        # long as a request, so that only its hash is kept.
        self._counts: OrderedDict[int, tuple[int, int, int]] = OrderedDict()

    def hit(self, text: str) -> float:
        """Count one more. @return: how many came in the last period, this one among them."""
        return self._came(hash(text), True)

    def count(self, exchange: Any, text: str) -> float:
        """The same for an exchange; what is rehearsed is not counted."""
        return self._came(hash(text), not exchange.rehearsal)

    def _came(self, key: int, keep: bool) -> float:
        at = self._seconds() / self._period
        period = int(at)
        counts = self._counts
        number, current, before = counts.get(key, (period, 0, 0))
        if number != period:
            before = current if number == period - 1 else 0
            current = 0
        current += 1
        if keep:
            counts[key] = (period, current, before)
            counts.move_to_end(key)
            if len(counts) > MOST_KEYS:
                counts.popitem(last=False)
        return current + before * (1 - (at - period))


# Keys of one connection in one table, which can bring another with each request, and their
# length.
_MOST_OF_ONE = 100
_LONGEST_KEY = 100


class Concurrency:
    """How many connections of now have a key. A connection may come to have several."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, exchange: Any, key: str) -> int:
        """
        @param exchange: of the connection that has the key from now on, unless it is
            only rehearsed.
        @return: how many have it, this one among them.
        """
        if len(key) > _LONGEST_KEY:
            key = str(hash(key))
        if exchange.rehearsal:
            return self._counts.get(key, 0) + 1
        leaving = exchange.frontend.leaving.setdefault(exchange.connection.number, set())
        if (self, key) not in leaving:
            own = [one for counting, one in leaving if counting is self]
            if len(own) >= _MOST_OF_ONE:
                leaving.discard((self, own[0]))
                self.leave(own[0])
            leaving.add((self, key))
            self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key]

    def leave(self, key: str) -> None:
        """One that has the key has ended."""
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
