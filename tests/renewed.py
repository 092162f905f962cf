"""
What reloads are tested with: a balancer in name, which notes what it is given, and its
counters, which are the real ones.
"""

from types import SimpleNamespace

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lbtwist.admin.proving import prove
from lbtwist.config.difference import difference
from lbtwist.config.load import load
from lbtwist.errors import StartError
from lbtwist.registry import installed
from lbtwist.renewing import Renewal
from lbtwist.stats import FrontendTraffic, PoolTraffic, ServerTraffic

REGISTRY = installed()
THEN = 1_700_000_000.0

CONFIG = """
[frontend www]
bind = 127.0.0.1:8080
pool = app
[pool app]
server a = 127.0.0.1:8001
server b = 127.0.0.1:8002
"""


def now(deferred):
    """@return: what it has fired with; a failure is raised."""
    found = []
    deferred.addBoth(found.append)
    [result] = found
    if isinstance(result, Failure):
        result.raiseException()
    return result


class Counted:
    """
    What is counted of a frontend C{www} and of pools, each with servers C{a} and C{b}.
    """

    def __init__(self, *pools):
        self.pools = {}
        self.frontends = {}
        for name in pools or ("app",):
            self.addPool(name)
        self.addFrontend("www")

    def addPool(self, name):
        servers = [
            SimpleNamespace(name=one, usable=True, traffic=ServerTraffic()) for one in "ab"
        ]
        self.pools[name] = SimpleNamespace(traffic=PoolTraffic(), servers=servers)

    def addFrontend(self, name):
        inbound = SimpleNamespace(traffic=FrontendTraffic())
        self.frontends[name] = SimpleNamespace(name=name, inbound=inbound)

    def server(self, name="a", pool="app"):
        return next(one for one in self.pools[pool].servers if one.name == name)

    def ends(self, count, status=200, pool="app", frontend="www", took=0.01, **counted):
        """
        Exchanges end.

        @param counted: what else is counted of each, by the names of the counters, wherever
            there is such a counter.
        """
        traffics = [self.frontends[frontend].inbound.traffic]
        if pool:
            traffics.append(self.pools[pool].traffic)
            times = self.server(pool=pool).traffic.timesBy(
                SimpleNamespace(name=frontend, traffic=traffics[0])
            )
            times.pending += [took, took] * count
        for traffic in traffics:
            traffic.exchanges += count
            traffic.responses[status // 100] += count
            for name, each in counted.items():
                if hasattr(traffic, name):
                    setattr(traffic, name, getattr(traffic, name) + each * count)


class Running(Counted):
    """
    A balancer in name.

    @ivar failing: why it cannot go by another configuration; an exception is raised as it is.
    @ivar applied: what it was given.
    @ivar behind: what is said of workers that do not go by it.
    """

    running = True
    leaving = False
    failing = ""
    behind = ()

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.applied = []

    def apply(self, config):
        if isinstance(self.failing, Exception):
            raise self.failing
        if self.failing:
            raise StartError(self.failing)
        found = difference(self.config, config)
        self.config = config
        self.applied.append(config)
        return found

    async def settled(self):
        return list(self.behind)


class Reloaded:
    """
    A balancer in name and the file that it goes by.

    @ivar slow: a list of those who wait for what was read, which they are not given by itself;
        L{None}: all are given it at once.
    """

    def __init__(self, directory):
        self.path = directory / "lb.ini"
        self.path.write_text(CONFIG)
        self.clock = Clock()
        self.balancer = Running(load(self.path, REGISTRY)[0])
        self.slow = None
        self.renewal = Renewal(
            self.balancer, str(self.path), self._read, self.clock,
            lambda: THEN + self.clock.seconds(),
        )  # fmt: skip

    def _read(self, before):
        if self.slow is None:
            return succeed(prove(str(self.path), REGISTRY, before))
        waiting = Deferred()
        self.slow.append(waiting)
        return waiting

    def isRead(self):
        """What takes its time to be read has been."""
        waiting = self.slow.pop(0)
        waiting.callback(prove(str(self.path), REGISTRY, self.balancer.config))

    def says(self, more="", text=CONFIG):
        """The file says something else."""
        self.path.write_text(text + more)

    def renews(self, more="", **how):
        """It says something else, and is read."""
        self.says(more)
        return self.renew(**how)

    def renew(self, by="me", **how):
        """@return: how it went; what is wrong is raised."""
        return now(self.renewal.renew(by, **how))

    def passes(self, seconds):
        self.clock.pump([0.25] * round(seconds * 4))

    @property
    def servers(self):
        """The names of the servers that it goes by."""
        return [server.name for server in self.balancer.config.pools["app"].servers]
