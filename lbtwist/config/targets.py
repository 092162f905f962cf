"""
Where CONNECT may lead to: the value of C{connect-allow}, and what it means for one
address. No name is resolved here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import attr

from lbtwist.options import Kind, Network

Address = IPv4Address | IPv6Address


@attr.frozen
class Target:
    """
    One word of C{connect-allow}.

    @ivar host: a pattern of host names in lower case, where C{*} is any text; C{"*"}
        alone is every name and every address. Empty for a network.
    @ivar network: the addresses, if it is no pattern.
    @ivar first: the first port.
    @ivar last: the last port.
    """

    host: str = ""
    network: Network | None = None
    first: int = 1
    last: int = 65535

    def reaches(self, port: int) -> bool:
        return self.first <= port <= self.last

    def names(self, host: str, port: int) -> bool:
        """@param host: a name, in lower case."""
        return bool(self.host) and self.reaches(port) and fnmatchcase(host, self.host)

    def covers(self, address: Address, port: int) -> bool:
        return self.network is not None and self.reaches(port) and address in self.network


class Targets(Kind[tuple[Target, ...]]):
    """
    C{HOST:PORT}, separated by commas or spaces: a name with C{*} for any text, an address
    or a network, those of IPv6 in brackets; a port, a range of ports, or C{*}.
    """

    form = "HOST:PORT ..."
    several = True
    _pattern = re.compile(r"[a-z0-9_*](?:[a-z0-9_.*-]*[a-z0-9_*])?")
    _ports = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

    def parse(self, text: str) -> tuple[Target, ...]:
        found = [self._one(word) for word in text.replace(",", " ").split()]
        return tuple(dict.fromkeys(found))

    def _one(self, text: str) -> Target:
        host, colon, ports = text.rpartition(":")
        if host.startswith("[") != host.endswith("]"):
            raise ValueError(f"{text!r} is not an address with a port: write [ADDRESS]:443")
        if not colon:
            raise ValueError(f"{text!r} has no port: write {text}:443, or :* for all of them")
        first, last = self._range(ports, text)
        host = host.lower()
        if host.startswith("["):
            return Target("", self._network(IPv6Network, host[1:-1]), first, last)
        if ":" in host:
            raise ValueError(f"an IPv6 address is written in brackets: [{host}]:{ports}")
        if "/" in host or re.fullmatch(r"[0-9.]+", host):
            return Target("", self._network(IPv4Network, host), first, last)
        if host != "*" and re.fullmatch(r"[0-9.*]+", host):
            raise ValueError(f"{host!r} is not a name: addresses are a network, as 10.0.0.0/8")
        if self._pattern.fullmatch(host) is None or ".." in host:
            raise ValueError(f"{host!r} is neither a name, where * is any text, nor an address")
        return Target(host, None, first, last)

    @staticmethod
    def _network(make: type[IPv4Network] | type[IPv6Network], text: str) -> Network:
        try:
            return make(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not an address or network: {error}") from None

    def _range(self, text: str, whole: str) -> tuple[int, int]:
        if text == "*":
            return 1, 65535
        found = self._ports.fullmatch(text)
        if found is not None:
            first, last = int(found[1]), int(found[2] or found[1])
            if 1 <= first <= last <= 65535:
                return first, last
        raise ValueError(f"{whole!r} ends in no port: write :443, :8000-8010 or :*")


def _embedded(network: IPv4Network) -> list[IPv6Network]:
    """
    @return: where a network is found inside of IPv6: behind NAT64 (RFC 6052 section 2.1),
        in 6to4 (RFC 3056 section 2), as IPv4-compatible address.
    """
    value, length = int(network.network_address), network.prefixlen
    nat64 = int(IPv6Address("64:ff9b::"))
    sixToFour = 0x2002 << 112
    return [
        IPv6Network((nat64 | value, 96 + length)),
        IPv6Network((sixToFour | value << 80, 16 + length)),
        IPv6Network((value, 96 + length)),
    ]


_SPECIAL_4 = [
    IPv4Network(text)
    for text in (
        # This network, this machine, the link, groups, reserved ones and broadcast (RFC 6890).
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        # What tells a machine in a cloud its secrets: of most of them, Alibaba, Azure, Oracle.
        "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
    )
]  # fmt: skip
_SPECIAL_6 = [
    IPv6Network(text)
    for text in (
        "::/128", "::1/128", "fe80::/10", "fec0::/10", "ff00::/8",
        # NAT64 of somebody's own form (RFC 8215): nobody knows what it leads to.
        "64:ff9b:1::/48",
        # As above: of Amazon and of Google.
        "fd00:ec2::254/128", "fd20:ce::254/128",
    )
]  # fmt: skip
SPECIAL: tuple[Network, ...] = (
    *_SPECIAL_4, *_SPECIAL_6, *(six for four in _SPECIAL_4 for six in _embedded(four)),
)  # fmt: skip
"""What no pattern and no wider network allows: it has to be named itself."""


def plain(text: str) -> Address:
    """
    @return: an address; of an IPv4 one that is mapped into IPv6 (RFC 4291 section 2.5.5.2)
        itself, since that is what the kernel connects to.
    @raise ValueError: if it is none.
    """
    found = ipaddress.ip_address(text)
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or found
    return found


def mayLead(allowed: Iterable[Target], host: str, port: int) -> bool:
    """
    @param host: a name, in lower case.
    @return: whether one of its addresses could be allowed, whatever they are.
    """
    return any(
        one.names(host, port) or (one.network is not None and one.reaches(port))
        for one in allowed
    )


def permitted(allowed: Iterable[Target], host: str, address: Address, port: int) -> bool:
    """
    @param host: the name that was resolved, in lower case; C{""} for an address that was
        asked for itself.
    @return: whether a connection may be made to an address.
    """
    allowed = tuple(allowed)
    covering = [one.network for one in allowed if one.covers(address, port)]
    if not covering and not any(
        one.names(host, port) if host else one.host == "*" and one.reaches(port)
        for one in allowed
    ):
        return False
    return all(
        any(_isWithin(network, special) for network in covering)
        for special in SPECIAL
        if address in special
    )


def namedItself(allowed: Iterable[Target], address: Address, port: int) -> bool:
    """@return: whether an address is written down, and not only a network around it."""
    return any(
        one.covers(address, port) and one.network is not None and one.network.num_addresses == 1
        for one in allowed
    )


def _isWithin(network: Network | None, special: Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(special, IPv4Network):
        return network.subnet_of(special)
    if isinstance(network, IPv6Network) and isinstance(special, IPv6Network):
        return network.subnet_of(special)
    return False
