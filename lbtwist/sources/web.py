"""
Servers as a URL names them that is asked again and again.
"""

from __future__ import annotations

from typing import Any

import attr
from zope.interface import implementer

from lbtwist.fetching import NOT_MODIFIED, Fetcher, NotFetched
from lbtwist.interfaces import IServerSource
from lbtwist.options import URL, option
from lbtwist.registry import Context
from lbtwist.server import Found
from lbtwist.sources.lists import BadList, membersOf

MOST = 1024 * 1024
"""Bytes of an answer."""

TIMEOUT = 10.0
"""Seconds that the server is given."""


class Location(URL):
    """One without its scheme: C{//HOST:PORT/PATH?QUERY}."""

    form = "//HOST/PATH"
    what = "the rest of a URL"
    example = "http://HOST/PATH"

    def whole(self, text: str) -> str:
        return f"http:{text}"


@implementer(IServerSource)
class HTTPList:
    """
    C{http://HOST/PATH}: the servers that a list names which is fetched there, see
    L{lbtwist.sources.lists}. Where it has an C{ETag} or a C{Last-Modified} it is asked for
    only if it is another one (RFC 9110 section 13.1).
    """

    scheme = "http"
    interval = 10.0
    limit = TIMEOUT + 5.0

    @attr.frozen
    class Options:
        location: str = option(Location(), doc="Where the list is.", positional=True)

    def __init__(self, options: Options, context: Context) -> None:
        self._url = f"{self.scheme}:{options.location}"
        self._fetch = Fetcher(context.reactor, context.names, TIMEOUT)
        self._fields: dict[str, str] = {}
        self._found: Found | None = None

    async def _discover(self) -> Found:
        fields = {"Accept": "application/json, text/plain", **self._fields}
        fetched = await self._fetch.get(self._url, fields, MOST)
        if fetched.status == NOT_MODIFIED:
            if self._found is None or not self._fields:
                raise NotFetched("HTTP status 304, though nothing was there before")
            return self._found
        self._fields = {}
        try:
            found = Found(membersOf(fetched.body.decode()))
        except UnicodeDecodeError as wrong:
            byte = fetched.body[wrong.start]
            raise NotFetched(f"byte 0x{byte:02x} of the list is not UTF-8") from None
        except BadList as wrong:
            raise NotFetched(str(wrong)) from None
        # Of a list that was good alone: a bad one is asked for again.
        for asked, said in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")):
            value = fetched.field(said)
            if value and value.isascii() and value.isprintable():
                self._fields[asked] = value
        self._found = found
        return found

    def discover(self) -> Any:
        return self._discover()


class HTTPSList(HTTPList):
    """C{https://HOST/PATH}: the same with TLS, and the authorities of the system."""

    scheme = "https"
