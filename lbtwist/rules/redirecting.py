"""
The verb C{redirect}: another address for the client, made of its request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule
from lbtwist.options import Flag, Word, option
from lbtwist.rules.decisions import Answer, Deny
from lbtwist.rules.reading import hostOf, schemeOf, text
from lbtwist.rules.sound import MALFORMED, Numbered, location, made
from lbtwist.rules.template import Template, Templated

if TYPE_CHECKING:
    from lbtwist.registry import Context


@attr.frozen
class _RedirectOptions:
    how: str = option(
        Word("https", "prefix", "location"), doc="What the address is made of.", positional=True
    )
    to: Template | None = option(
        Templated(), None, "The prefix, or the address.", positional=True
    )
    code: int = option(Numbered("STATUS", 301, 302, 303, 307, 308), 302, "The status.")
    drop_query: bool = option(Flag(), False, "The query is left out.")
    append_slash: bool = option(Flag(), False, "A path without a / at its end gets one.")

    def __attrs_post_init__(self) -> None:
        if self.how == "https":
            if self.to is not None:
                raise ValueError("redirect https takes the host and path of the request")
        elif self.to is None:
            raise ValueError(f"needs where to: redirect {self.how} TEXT")
        if self.how == "location" and (self.drop_query or self.append_slash):
            raise ValueError("redirect location is the whole address: nothing is left out or added")

    @property
    def decides(self) -> bool:
        """Only C{https} passes over requests: those that came that way."""
        return self.how != "https"


@implementer(IRequestRule)
class Redirect:
    """
    C{redirect https}, C{redirect prefix TEXT} or C{redirect location TEXT}: the client is
    sent to another address. The status is 302 unless C{code} says otherwise, as in
    HAProxy.

    C{https} keeps host, path and query; a request that came over TLS, to us or to a proxy
    that is believed, is not redirected, nor is a C{CONNECT}, which names no address that it
    could be sent to. C{prefix} puts TEXT before path and query; C{/} stands for nothing. What
    comes of a request never names another host by slashes at its beginning.
    """

    Options = _RedirectOptions

    def __init__(self, options: _RedirectOptions, context: Context) -> None:
        self._status = options.code
        self._dropQuery = options.drop_query
        self._appendSlash = options.append_slash
        # What is not for ever is not to be kept, as L{lbtwist.http.pages.Redirect} has it.
        self._more = () if options.code in (301, 308) else ((b"Cache-Control", b"no-cache"),)
        self._location: Callable[[Exchange], str | None] = {
            "https": self._https, "prefix": self._prefix, "location": self._whole,
        }[options.how]  # fmt: skip
        self._to: Callable[[Exchange], str] = lambda exchange: ""
        self._hostIsMeant = False
        if options.to is not None:
            self._to = made(options.to, context, str)
            first = options.to.parts[0]
            self._hostIsMeant = isinstance(first, str) and first.startswith("//")
        self._onlyPlain = options.how == "https"

    def requestReceived(self, exchange: Exchange) -> Answer | Deny | None:
        head = exchange.request
        assert head is not None
        if self._onlyPlain and (head.method == b"CONNECT" or schemeOf(exchange) == "https"):
            return None
        said = self._location(exchange)
        if said is None:
            return MALFORMED
        if not self._hostIsMeant and said[:1] in ("/", "\\"):
            said = "/" + said.lstrip("/\\")
        found = location(said)
        if found is None:
            return MALFORMED
        return Answer(self._status, ((b"Location", found), *self._more))

    def _https(self, exchange: Exchange) -> str | None:
        assert exchange.request is not None
        host = hostOf(exchange.request)
        return f"https://{host}{self._target(exchange)}" if host else None

    def _prefix(self, exchange: Exchange) -> str | None:
        assert exchange.request is not None
        if exchange.request.method == b"CONNECT":
            return None
        prefix = self._to(exchange)
        return self._target(exchange) if prefix == "/" else prefix + self._target(exchange)

    def _whole(self, exchange: Exchange) -> str | None:
        return self._to(exchange)

    def _target(self, exchange: Exchange) -> str:
        """Path and query."""
        assert exchange.request is not None
        path, mark, query = text(exchange.request.target).partition("?")
        if path == "*":
            path = "/"
        if self._appendSlash and not path.endswith("/"):
            path += "/"
        return path if self._dropQuery else path + mark + query
