"""
Kinds of persistence that know a client by a key: its address, a field, a parameter, whatever
an expression says. Who had which server is in a store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.balance.keys import fieldKey, templateKey
from lbtwist.interfaces import IClaiming, IPersistence
from lbtwist.options import FieldName, Integer, Kind, Text, Time, option
from lbtwist.rules.template import Template, Templated

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context

LONGEST = 64
"""Bytes of a key, its label with it; of what is longer a hash is taken."""

CLAIMED = 60.0
"""Seconds that a server is claimed for which is not connected to yet."""


LONGEST_TIME = 10 * 365 * 86400.0
"""Seconds; a store may not be able to count many more."""


def _bounded(seconds: float) -> str | None:
    return None if 0 < seconds <= LONGEST_TIME else "must be more than 0, and at most 3650d"


def expiring() -> Any:
    """An option of all kinds by key."""
    return option(
        Time(), 1800.0, "How long a client is known after it was last seen.", check=_bounded
    )


@implementer(IPersistence, IClaiming)
class Keyed:
    """
    What the kinds by key have in common.

    @cvar Options: with an option C{expire}, see L{expiring}.
    @cvar label: two letters that its keys begin with, and no other kind's: kinds share a
        store.
    @ivar hits: how often a key was known.
    @ivar misses: how often it was not.
    """

    Options: type[Any]
    label = b""

    def __init__(self, options: Any, context: Context) -> None:
        self.hits = self.misses = 0
        self._store = context.store
        self._expire = options.expire
        self._of = self._keyOf(options, context)
        called = self._called(options)
        # Two of a kind know clients by different things, which may be called the same.
        self._label = self.label + (blake2b(called, digest_size=6).digest() if called else b"")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.hits} hits {self.misses} misses>"

    def _keyOf(self, options: Any, context: Context) -> Callable[[Exchange], bytes]:
        """@return: gives the key of an exchange; C{b""} where it has none."""
        raise NotImplementedError

    def _called(self, options: Any) -> bytes:
        """@return: what tells it from others of its kind in one chain."""
        return b""

    def _key(self, exchange: Exchange) -> bytes:
        said = self._of(exchange)
        return bounded(self._label, said) if said else b""

    def keyFor(self, said: bytes) -> bytes:
        """@return: the key of what a client has said; of nothing, what its keys begin with."""
        return bounded(self._label, said)

    def recall(self, exchange: Exchange) -> str | Deferred[str | None] | None:
        key = self._key(exchange)
        if not key:
            return None
        found = self._store.get(key, self._expire)
        if found.__class__ is Deferred:
            return found.addCallback(self._counted)
        return self._counted(found)

    def foresee(self, exchange: Exchange) -> str | Deferred[str | None] | None:
        """@return: what C{recall} would say; nobody is known for longer by it."""
        key = self._key(exchange)
        return self._store.get(key, 0.0) if key else None

    def _counted(self, name: str | None) -> str | None:
        if name is None:
            self.misses += 1
        else:
            self.hits += 1
        return name

    def remember(self, exchange: Exchange, name: str) -> None:
        key = self._key(exchange)
        if key:
            self._store.put(key, name, self._expire)

    def learn(self, said: bytes, name: str) -> None:
        """@param said: what a client will be known by, from elsewhere than its request."""
        self._store.put(bounded(self._label, said), name, self._expire)

    def claim(self, exchange: Exchange, name: str, instead: str) -> Any:
        key = self._key(exchange)
        # What is claimed for longer than clients are known would stay so.
        ttl = min(CLAIMED, self._expire)
        return self._store.claim(key, name, ttl, instead) if key else None

    def confirm(self, exchange: Exchange, name: str) -> None:
        key = self._key(exchange)
        if key:
            self._store.claim(key, name, self._expire, "")

    def release(self, exchange: Exchange, name: str) -> None:
        key = self._key(exchange)
        if key:
            self._store.drop(key, name)

    def bound(self, name: str) -> int:
        """@return: how many clients are known to belong to a server; -1 if unknown."""
        return self._store.bound(name)  # type: ignore[no-any-return]


def bounded(label: bytes, said: bytes) -> bytes:
    """@return: a key of it, of at most L{LONGEST} bytes."""
    if len(label) + len(said) > LONGEST or said.startswith(b"\0"):
        # Only a hash has NUL first.
        return label + b"\0" + blake2b(said, digest_size=24).digest()
    return label + said


class _Mask(Kind[int]):
    """So many bits of an address: C{/24}; the slash may be missing."""

    form = "/BITS"

    def __init__(self, most: int) -> None:
        self._bits = Integer(1, most)

    def parse(self, text: str) -> int:
        return self._bits.parse(text.removeprefix("/"))


def _masked(mask: int, mask6: int) -> Callable[[str], bytes]:
    """@return: gives the network that an address is in; C{b""} of what is none."""

    @lru_cache(4096)
    def masked(host: str) -> bytes:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return b""
        bits = address.max_prefixlen - (mask if address.version == 4 else mask6)
        packed = int(address) >> bits << bits
        return packed.to_bytes(address.max_prefixlen // 8, "big")

    return masked


def _known(host: str) -> bytes:
    # All clients of a UNIX socket would be one.
    return b"" if host == "unix" else host.encode()


@attr.frozen
class _AddressOptions:
    mask: int = option(_Mask(32), 32, "So many bits of an IPv4 address count.")
    mask6: int = option(_Mask(128), 128, "So many bits of an IPv6 address count.")
    expire: float = expiring()


class _Address(Keyed):
    Options = _AddressOptions

    def _keyOf(self, options: _AddressOptions, context: Context) -> Callable[[Exchange], bytes]:
        host = self._host
        if (options.mask, options.mask6) == (32, 128):
            return lambda exchange: _known(host(exchange))
        masked = _masked(options.mask, options.mask6)
        return lambda exchange: masked(host(exchange))

    @staticmethod
    def _host(exchange: Exchange) -> str:
        raise NotImplementedError


class Source(_Address):
    """
    C{source [mask=/24]}: the client's address, or its network. Clients of a UNIX socket have
    none, unless a PROXY header says so.
    """

    label = b"s:"

    @staticmethod
    def _host(exchange: Exchange) -> str:
        return exchange.connection.client[0]


class Destination(_Address):
    """
    C{destination [mask=/24]}: the address that the client has connected to, as where many
    addresses are routed here.
    """

    label = b"d:"

    @staticmethod
    def _host(exchange: Exchange) -> str:
        return exchange.connection.local[0]


@attr.frozen
class _HeaderOptions:
    name: str = option(FieldName(), doc="Of the field.", positional=True)
    expire: float = expiring()


class Header(Keyed):
    """C{header NAME}: a field of the request; of several the last."""

    Options = _HeaderOptions
    label = b"h:"

    def _called(self, options: _HeaderOptions) -> bytes:
        return options.name.lower().encode()

    def _keyOf(self, options: _HeaderOptions, context: Context) -> Callable[[Exchange], bytes]:
        return requestOnly(fieldKey(options.name).of)


@attr.frozen
class _ParameterOptions:
    name: str = option(Text(), doc="Of the parameter.", positional=True)
    expire: float = expiring()


class Parameter(Keyed):
    """C{parameter NAME}: a parameter of the query; of several the first."""

    Options = _ParameterOptions
    label = b"p:"

    def _called(self, options: _ParameterOptions) -> bytes:
        return options.name.encode()

    def _keyOf(self, options: _ParameterOptions, context: Context) -> Callable[[Exchange], bytes]:
        template = Template.parse('{query["%s"]}' % quoted(options.name))
        return requestOnly(templateKey(template, context.scope).of)


@attr.frozen
class _ExpressionOptions:
    key: Template = option(
        Templated(), doc="What a client is known by; expressions are in braces.",
        positional=True,
    )
    expire: float = expiring()


class Expression(Keyed):
    """C{expression TEXT}: whatever the rules language can say of an exchange."""

    Options = _ExpressionOptions
    label = b"e:"

    def _called(self, options: _ExpressionOptions) -> bytes:
        return options.key.text.encode()

    def _keyOf(self, options: _ExpressionOptions, context: Context) -> Callable[[Exchange], bytes]:
        return templateKey(options.key, context.scope).of


def quoted(text: str) -> str:
    """@return: a text as it stands between double quotes in an expression in braces."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def requestOnly(of: Callable[[Exchange], bytes]) -> Callable[[Exchange], bytes]:
    """The same for exchanges with a request; in others there is nothing to know anybody by."""
    return lambda exchange: b"" if exchange.request is None else of(exchange)
