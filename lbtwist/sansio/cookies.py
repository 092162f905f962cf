"""
Cookies in C{Cookie} fields as clients send them (RFC 6265 section 5.4): find them.

What is no C{NAME=VALUE} is passed over, as servers do.
"""

from __future__ import annotations

from collections.abc import Iterable


def cookies(values: Iterable[bytes]) -> dict[bytes, bytes]:
    """
    @param values: of all C{Cookie} fields of a request, in order.
    @return: the cookies by name. Of several of one name the first counts: clients send
        the one with the longest path first.
    """
    found: dict[bytes, bytes] = {}
    for line in values:
        for pair in line.split(b";"):
            name, equals, value = pair.partition(b"=")
            if equals:
                found.setdefault(name.strip(b" \t"), value.strip(b' \t"'))
    return found
