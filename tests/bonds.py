"""
What tests of persistence have in common: kinds as the configuration makes them, a pool's worth
of servers, and exchanges that go through a chain.
"""

from types import SimpleNamespace

from twisted.internet.task import Clock

from lbtwist.interfaces import IPersistence
from lbtwist.persistence.bond import Bond
from lbtwist.persistence.chain import Chain
from lbtwist.registry import Context, installed
from lbtwist.rules.expression import Scope
from lbtwist.rules.values import Stage
from lbtwist.stores.memory import MemoryOptions, MemoryStore
from lbtwist.testing import fakeExchange, fakeResponse, makeServers

EPOCH = 1_700_000_000
"""Seconds since the epoch when the clock of these tests stands at 0."""

_REGISTRY = installed()


class World:
    """
    A chain at work, without a pool.

    @ivar clock: of everything in it.
    @ivar kinds: by the names they have in the configuration.
    """

    def __init__(self, *kinds, weights=(1, 1, 1), cookies=(), http=True, **context):
        """
        @param kinds: C{(name, options)} of each.
        @param cookies: what C{cookie=} says of each server.
        @param context: more of what parts are told.
        """
        self.clock = Clock()
        self.context = Context(
            clock=self.clock.seconds, wallclock=lambda: EPOCH + self.clock.seconds(), pool="app",
            secret=b"of the process",
            scope=Scope(Stage.REQUEST if http else Stage.CONNECTION, http),
        )  # fmt: skip
        for name, value in context.items():
            setattr(self.context, name, value)
        if self.context.store is None:
            self.context.store = MemoryStore(MemoryOptions(), self.context)
        self.store = self.context.store
        self.kinds = {}
        for name, options in kinds:
            part = _REGISTRY.find(IPersistence, name)
            self.kinds[name] = part.make(part.options(**options), self.context)
        self.chain = Chain(list(self.kinds.values()), list(self.kinds))
        self.servers = makeServers(*weights)
        for server, cookie in zip(self.servers, cookies, strict=False):
            server.options = SimpleNamespace(cookie=cookie)
        self.changed()

    def changed(self):
        """Something about the servers is different."""
        self.chain.serversChanged(self.servers)

    def server(self, name):
        [found] = [one for one in self.servers if one.name == name]
        return found

    def recalls(self, exchange):
        """@return: the name of the server that is recalled; L{None} without one."""
        found = self.chain.recall(exchange)
        return None if found is None else found.name

    def chooses(self, exchange, name):
        """@return: the name of the one it goes to where this one was chosen."""
        exchange.server = self.chain.claim(exchange, self.server(name))
        return exchange.server.name

    def answers(self, exchange, *cookies, status=200):
        """
        The connection stands, and the server answers.

        @param cookies: values of C{Set-Cookie} that it has sent.
        @return: those that the client gets.
        """
        self.chain.connected(exchange)
        if exchange.request is None:
            return []
        fakeResponse(exchange, status)
        for cookie in cookies:
            exchange.response.fields.add(b"Set-Cookie", cookie.encode())
        self.chain.respond(exchange)
        return [one.decode() for one in exchange.response.fields.getAll(b"set-cookie")]

    def passes(self, exchange, name, *cookies):
        """A whole exchange; @return: the server's name, and the cookies that the client gets."""
        found = self.recalls(exchange)
        if found is None:
            found = self.chooses(exchange, name)
        exchange.server = self.server(found)
        return found, self.answers(exchange, *cookies)


def bonded(*arguments, **options):
    """@return: an exchange with nothing known of it."""
    exchange = fakeExchange(*arguments, **options)
    exchange.bond = Bond()
    return exchange


def letters(exchange):
    """@return: the third and the fourth of the log."""
    return exchange.bond.came + exchange.bond.went
