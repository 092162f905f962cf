"""
The values of cookies that say which server a client had: opaque and signed, or plain.

An opaque value is made of the server's key and a secret (a keyed BLAKE2, RFC 7693 section
2.9): a client can neither read it nor make that of another server. Dates in it are signed
with it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import blake2b
from hmac import compare_digest

import attr

from lbtwist.server import Server

# 96 bits, which are 16 letters.
_BYTES = 12
_LENGTH = 16
_SERVER = b"server"
_DATED = b"dated"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_DATES = re.compile(rb"([A-Za-z0-9_-]{5})([A-Za-z0-9_-]{5})")

# Thirty bits of date are five letters; a step is four seconds (HAProxy's s30tob64).
_STEP = 4


def _date(seconds: int) -> bytes:
    steps = (seconds + _STEP - 1) // _STEP
    return bytes(_ALPHABET[steps >> shift & 63] for shift in (24, 18, 12, 6, 0))


def _seconds(date: bytes) -> int:
    steps = 0
    for letter in date:
        steps = steps << 6 | _ALPHABET.index(letter)
    return steps * _STEP


@attr.frozen
class Said:
    """
    What a cookie says.

    @ivar name: of the server.
    @ivar first: when it was made, in seconds since the epoch; 0 if it does not say.
    @ivar last: when it was last used.
    """

    name: str
    first: int = 0
    last: int = 0


class Tokens:
    """What the values of one pool's cookies mean."""

    def __init__(self, secret: bytes, plain: bool) -> None:
        """
        @param secret: at most 64 bytes.
        @param plain: servers are called by what C{cookie=} says, or their names.
        """
        self._secret = secret
        self._plain = plain
        self._said: dict[bytes, Said] = {}
        self._values: dict[str, bytes] = {}

    def setServers(self, servers: Iterable[Server]) -> None:
        """@param servers: all that values may mean from now on."""
        self._values = {server.name: self._valueOf(server) for server in servers}
        self._said = {}
        for name, value in self._values.items():
            # Of several servers of one value the first counts.
            self._said.setdefault(value, Said(name))

    def value(self, name: str, first: int = 0, last: int = 0) -> bytes:
        """
        @param name: of a server.
        @param first: see L{Said}; both are 0 for a value without dates.
        """
        value = self._values.get(name, b"")
        if not last and not first:
            return value
        dates = _date(last) + _date(first)
        if self._plain:
            return value + b"|" + dates
        return value + dates + self._mac(_DATED, value + dates)

    def read(self, value: bytes) -> Said | None:
        """@return: what it means; L{None} if it means nothing, or is not ours."""
        said = self._said.get(value)
        if said is not None:
            return said
        if self._plain:
            value, _, dates = value.rpartition(b"|")
        else:
            dates = value[_LENGTH:-_LENGTH]
            mac = value[-_LENGTH:]
            value = value[:_LENGTH]
            if not compare_digest(self._mac(_DATED, value + dates), mac):
                return None
        said = self._said.get(value)
        found = _DATES.fullmatch(dates)
        if said is None or found is None:
            return None
        return Said(said.name, _seconds(found[2]), _seconds(found[1]))

    def _valueOf(self, server: Server) -> bytes:
        if self._plain:
            said: str = getattr(server.options, "cookie", "") or server.name
            return said.encode()
        return self._mac(_SERVER, server.key.encode())

    def _mac(self, of: bytes, said: bytes) -> bytes:
        """@param of: what it is for, so that one is never taken for the other."""
        digest = blake2b(said, digest_size=_BYTES, key=self._secret, person=of).digest()
        return urlsafe_b64encode(digest)
