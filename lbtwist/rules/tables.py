"""
What conditions look things up in: networks, texts and maps, read once when the rules are
built, and counters by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import Any

MOST_KEYS = 100_000
"""Keys of one table; whoever has not come for longest is forgotten."""

_REMEMBERED = 65536


class Networks:
    """
    A set of networks. Whether an address is in it costs no more for many than for few:
    one look for each length of prefix, and none for an address that came before.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        """@raise ValueError: with a sentence, for what is none."""
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for written in networks:
            try:
                network = ip_network(written)
            except ValueError:
                raise ValueError(_whyNot(written)) from None
            shift = network.max_prefixlen - network.prefixlen
            key = (network.version, shift)
            self._prefixes.setdefault(key, set()).add(int(network.network_address) >> shift)
        self._known: dict[str, bool] = {}

    def __contains__(self, address: object) -> bool:
        """@param address: as text."""
        known = self._known.get(address)  # type: ignore[call-overload]
        return self._look(str(address)) if known is None else known

    def _look(self, address: str) -> bool:
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        bits = int(found)
        version = found.version
        among = any(
            of == version and bits >> shift in prefixes
            for (of, shift), prefixes in self._prefixes.items()
        )
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[address] = among
        return among


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
        # The number of the period, what came in it, and in the one before.
        self._counts: dict[str, tuple[int, int, int]] = {}

    def hit(self, key: str) -> float:
        """Count one more. @return: how many came in the last period, this one among them."""
        at = self._seconds() / self._period
        period = int(at)
        counts = self._counts
        number, current, before = counts.pop(key, (period, 0, 0))
        if number != period:
            before = current if number == period - 1 else 0
            current = 0
        current += 1
        if len(counts) >= MOST_KEYS:
            del counts[next(iter(counts))]
        counts[key] = (period, current, before)
        return current + before * (1 - (at - period))


class Concurrency:
    """How many connections of now have a key. A connection may come to have several."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, exchange: Any, key: str) -> int:
        """
        @param exchange: of the connection that has the key from now on.
        @return: how many have it, this one among them.
        """
        leaving = exchange.frontend.leaving.setdefault(exchange.connection.number, set())
        if (self, key) not in leaving:
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
