"""
Real servers of what several balancers share: a Redis, or a Valkey where this machine has one.
"""

import signal
from itertools import count

import pytest
from loopback.running import Child, listens
from loopback.serving import NOBODY, Redis
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

import programs
from lbtwist.registry import Context
from lbtwist.stores.link import Address
from lbtwist.stores.redis import RedisOptions, RedisStore, SharedRedis

_prefixes = count(1)


class Stored(Redis):
    """
    A Redis or a Valkey that can be killed, stopped for a while and started again.

    @ivar address: where it listens.
    """

    def __init__(self, program="redis-server", more=(), **options):
        self._program = program
        self._more = [str(word) for word in more]
        super().__init__(**options)
        self.address = f"127.0.0.1:{self.port}"

    def command(self, directory):
        _, *arguments = super().command(directory)
        return [self._program, *arguments, *self._more]

    def again(self):
        """Start it anew, after L{kill}: it knows nothing."""
        Child.__init__(self, self.process.args, self._made, "again", **NOBODY)
        self.until(lambda: listens(self.port))

    def freeze(self):
        """It takes what it is asked, and does not answer."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class Storing(TestCase):
    """
    Tests with a server of their own class.

    @cvar program: that serves.
    @cvar more: what it is started with.
    """

    program = "redis-server"
    more = ()

    @classmethod
    def setUpClass(cls):
        if programs.find(cls.program) is None:
            pytest.skip(f"missing: {cls.program}")
        cls.server = Stored(cls.program, cls.more)
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def setUp(self):
        self.prefix = f"test{next(_prefixes)}"
        self.told = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event):
        if event.get("log_namespace") == "lbtwist.stores.link":
            self.told.append(event["log_format"].format(**event))

    def options(self, **options):
        options.setdefault("prefix", self.prefix)
        # A loaded machine is no Redis that is away.
        options.setdefault("deadline", 5.0)
        if "address" not in options:
            options["address"] = Address("127.0.0.1", self.server.port)
        return RedisOptions(**options)

    def begun(self, make=RedisStore, pool="app", **options):
        """@return: a store, which may not be there yet."""
        context = Context(reactor, reactor.seconds, pool=pool)
        store = make(self.options(**options), context)
        store.start()
        self.addCleanup(store.stop)
        return store

    async def started(self, make=RedisStore, pool="app", **options):
        store = self.begun(make, pool, **options)
        await self.there(store)
        return store

    async def there(self, store):
        """A store can be asked, sooner or later."""
        line = store.link if isinstance(store, SharedRedis) else store._link
        if not line.there:
            back = Deferred()
            line.returned.append(lambda: back.called or back.callback(None))
            await back.addTimeout(20, reactor)

    async def until(self, condition):
        for _ in range(4000):
            if condition():
                return
            await task.deferLater(reactor, 0.005)
        raise AssertionError("it does not become true")
