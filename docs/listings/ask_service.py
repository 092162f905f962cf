"""
The verb C{route-by}: an HTTP service says to which pool a request goes.

    request =
        route-by http://127.0.0.1:9000/route deadline=200ms concurrency=100 on-error=allow

The service is asked with C{GET}, and is told host and path in C{X-Host} and C{X-Path}. With
200 it answers the name of a pool, with 204 that it has no wish, with 403 that the request is
refused. C{deadline}, C{concurrency} and C{on-error} are options that every verb has.
"""

import attr
from twisted.internet.defer import CancelledError
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from zope.interface import implementer

from lbtwist.authentication import bodyOf
from lbtwist.errors import Undecided
from lbtwist.interfaces import IRequestRule
from lbtwist.options import Name, Text, option
from lbtwist.registry import Extension
from lbtwist.rules.decisions import Deny, UsePool


@attr.frozen
class Options:
    url: str = option(Text(), doc="Where the service is.", positional=True)


@implementer(IRequestRule)
class RouteBy:
    Options = Options

    def __init__(self, options, context):
        self._url = options.url.encode()
        # Making a verb opens nothing: this only says how, later.
        pool = HTTPConnectionPool(context.reactor)
        pool.cachedConnectionTimeout = 15
        self._agent = Agent(context.reactor, pool=pool)

    async def requestReceived(self, exchange):
        head = exchange.request
        fields = Headers({b"X-Host": [head.host], b"X-Path": [head.target]})
        try:
            response = await self._agent.request(b"GET", self._url, fields)
            body = await bodyOf(response)
        except CancelledError:
            # Of the deadline, or because the client has gone away.
            raise
        except Exception as error:
            raise Undecided(f"the service cannot be asked: {error}") from None
        if response.code == 204:
            return None
        if response.code == 403:
            return Deny(403)
        name = (body or b"").decode("latin-1").strip()
        if response.code != 200 or not Name.good(name):
            raise Undecided(f"the service has answered {response.code}")
        return UsePool(name)


verb = Extension(IRequestRule, "route-by", "ask_service.RouteBy")
