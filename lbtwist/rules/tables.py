"""
What conditions look things up in: networks, texts and maps, read once when the rules are
built, and counters by key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

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
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for written in networks:
            network = _network(written)
            shift = network.max_prefixlen - network.prefixlen
            key = (network.version, shift)
            self._prefixes.setdefault(key, set()).add(int(network.network_address) >> shift)
        self.known = _Known(self._look)

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
                self.clear()
                self.update(_NO_ADDRESSES)
            self[address] = found
        return found


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
