"""
Where connections to servers come from: the value of C{source}.

Not here: which of several is taken, and how a socket gets it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import attr

from lbtwist.options import FieldName, Kind, T


@attr.frozen
class Source:
    """
    Where connections to servers come from. An address beside one of the other kinds is
    for checks, and for clients whose address is of the other family.

    @ivar kind: C{address}, C{clientip} (the client's own, which needs a
        transparent setup) or C{field} (a client address out of a header field).
    @ivar first: the first source port; 0 lets the kernel choose.
    @ivar last: the last source port.
    """

    kind: str
    address: str = ""
    first: int = 0
    last: int = 0
    field: str = ""


class Sources(Kind[tuple[Source, ...]]):
    """
    C{ADDRESS}, C{ADDRESS:FIRST-LAST}, C{clientip} or C{hdr_ip(FIELD)}, separated by
    commas; an IPv6 address with ports stands in brackets. One port is a range of one.
    """

    form = "SOURCES"
    several = True
    _field = re.compile(r"hdr_ip\((.*)\)")
    _bracketed = re.compile(r"\[(.*)\](?::(.*))?")
    _plain = re.compile(r"([^:]*)(?::([^:]*))?")
    _ports = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

    def parse(self, text: str) -> tuple[Source, ...]:
        found = [self._one(word) for word in text.replace(",", " ").split()]
        return tuple(dict.fromkeys(found))

    def _one(self, text: str) -> Source:
        if text == "clientip":
            return Source("clientip")
        if found := self._field.fullmatch(text):
            return Source("field", field=FieldName().parse(found[1]))
        if found := self._bracketed.fullmatch(text):
            address = self._address(ipaddress.IPv6Address, found[1], text)
            return Source("address", address, *self._range(found[2], text))
        if found := self._plain.fullmatch(text):
            address = self._address(ipaddress.IPv4Address, found[1], text)
            return Source("address", address, *self._range(found[2], text))
        return Source("address", self._address(ipaddress.IPv6Address, text, text))

    def _address(self, make: Callable[[str], T], address: str, text: str) -> str:
        try:
            return str(make(address))
        except ValueError:
            raise ValueError(
                f"{text!r} is not a source: ADDRESS, ADDRESS:FIRST-LAST, clientip and"
                " hdr_ip(FIELD) are accepted"
            ) from None

    def _range(self, ports: str | None, text: str) -> tuple[int, int]:
        if ports is None:
            return 0, 0
        found = self._ports.fullmatch(ports)
        if found is not None:
            first, last = int(found[1]), int(found[2] or found[1])
            if 1 <= first <= last <= 65535:
                return first, last
        raise ValueError(f"{text!r} ends in no range of ports such as :20000-29999")


def oneClient(sources: tuple[Source, ...]) -> str | None:
    """A further look at a value: only addresses can be taken in turn."""
    if sum(source.kind != "address" for source in sources) > 1:
        return "one clientip or hdr_ip(FIELD) is enough; only addresses are taken in turn"
    return None
