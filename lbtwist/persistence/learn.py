"""
Persistence by a session that the servers make: the cookie is theirs, and which server it is
of is learnt from the response that sets it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.interfaces import IResponseRule
from lbtwist.options import CookieName, Flag, Integer, option
from lbtwist.persistence.keyed import Keyed, expiring
from lbtwist.sansio.cookies import SetCookie, find

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.registry import Context


@attr.frozen
class LearnOptions:
    name: bytes = option(CookieName(), doc="Of the servers' cookie.", positional=True)
    length: int = option(Integer(0), 0, "So many bytes of its value count; 0 is all.")
    path_parameter: bool = option(
        Flag(), False, "Clients without cookies say it as ;NAME=VALUE at the end of the path."
    )
    request_learn: bool = option(
        Flag(), False, "A session that nobody knows is learnt from a request too."
    )
    expire: float = expiring()


@implementer(IResponseRule)
class Learn(Keyed):
    """C{learn NAME}: whoever shows the session that a server has made comes to it."""

    Options = LearnOptions
    label = b"l:"

    def __init__(self, options: LearnOptions, context: Context) -> None:
        self._name = options.name
        self._length = options.length or None
        self._fromRequests = options.request_learn
        self._parameter = None
        if options.path_parameter:
            self._parameter = re.compile(
                rb"[^?#]*;%b=([^;?#/]+)" % re.escape(options.name), re.IGNORECASE
            )
        super().__init__(options, context)

    def _called(self, options: LearnOptions) -> bytes:
        return options.name

    def _keyOf(self, options: Any, context: Context) -> Callable[[Exchange], bytes]:
        return self._said

    def _said(self, exchange: Exchange) -> bytes:
        request = exchange.request
        if request is None:
            return b""
        value = find(request.fields.getAll(b"cookie"), self._name)
        if value is None and self._parameter is not None:
            found = self._parameter.match(request.target)
            value = None if found is None else found[1]
        return (value or b"")[: self._length]

    def remember(self, exchange: Exchange, name: str) -> None:
        key = self._key(exchange)
        if not key:
            return
        if self._fromRequests:
            self._store.put(key, name, self._expire)
            return
        known = self._store.get(key, self._expire)
        if known.__class__ is Deferred:
            known.addCallback(self._moved, key, name)
        else:
            self._moved(known, key, name)

    def _moved(self, known: str | None, key: bytes, name: str) -> None:
        """A session that no server has made is none: clients can say what they like."""
        if known is not None and known != name:
            self._store.put(key, name, self._expire)

    def claim(self, exchange: Exchange, name: str, instead: str) -> Any:
        """Of sessions that are known, and have to go elsewhere, or where all are learnt."""
        known = self._fromRequests or instead
        return super().claim(exchange, name, instead) if known else None

    def responseReceived(self, exchange: Exchange) -> None:
        response = exchange.response
        bond = exchange.bond
        if response is None or exchange.server is None or bond is None or bond.rule == "ignore":
            return
        for line in response.fields.getAll(b"set-cookie"):
            cookie = SetCookie(line)
            if cookie.name == self._name:
                value = cookie.cookieValue[: self._length]
                if value:
                    self.learn(value, exchange.server.name)
