"""
A client that gets its servers from a pool, with nothing between them but a connection.

    python pool_client.py lb.ini app

asks a server of the pool app for / five times, and says what it got. That one server is down
does not matter to it, nor who is asked next, nor how TLS is spoken with them: the configuration
says so.
"""

import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from lbtwist.build import build
from lbtwist.config.load import load
from lbtwist.endpoint import PoolEndpoint
from lbtwist.registry import installed


@implementer(IAgentEndpointFactory)
class ServersOf:
    """Has an agent ask the servers of a pool, whatever host stands in a URL."""

    def __init__(self, balancer, pool):
        self.endpoint = PoolEndpoint(balancer, pool)

    def endpointForURI(self, uri):
        return self.endpoint


async def main(reactor, path, pool):
    config, _ = load(path, installed())
    balancer = build(config, reactor=reactor)
    balancer.startService()
    agent = Agent.usingEndpointFactory(reactor, ServersOf(balancer, pool))
    try:
        for _ in range(5):
            response = await agent.request(b"GET", b"http://shop.example/")
            print(response.code, (await readBody(response)).decode().splitlines()[0])
    finally:
        await balancer.stopService()


react(lambda reactor: ensureDeferred(main(reactor, *sys.argv[1:])))
