"""
For tests of sources of servers over real connections: a pool with nothing but such servers,
and what is waited for.
"""

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

import lbtwist.build
import lbtwist.building
from lbtwist.config.load import loadText
from lbtwist.discovery import Resolver
from lbtwist.registry import installed

CONFIG = """
[frontend www]
bind = 127.0.0.1:0
pool = app
log = off
[pool app]
servers web = {line}
"""


class QuietSite(Site):
    """Keeps no log."""

    noisy = False

    def log(self, request):
        return


def pause(seconds=0.0):
    done = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class SourcedTestCase(TestCase):
    """
    A balancer on the real reactor with one source.

    @ivar membership: of the pool.
    """

    timeout = 30
    nameServers = ()

    def setUp(self):
        self.captured = self.enterContext(capturedLogs())

    def starts(self, line):
        """@param line: what stands after C{servers web =}."""
        config, warnings = loadText(CONFIG.format(line=line), installed())
        assert warnings == []
        self.patch(
            lbtwist.building, "Resolver",
            lambda reactor: Resolver(reactor, "/dev/null", self.nameServers),
        )  # fmt: skip
        self.balancer = lbtwist.build.build(config, reactor=reactor)
        self.pool = self.balancer.pool("app")
        (self.membership,) = self.pool.memberships
        self.balancer.startService()
        self.addCleanup(self.balancer.stopService)

    def listens(self, site, port=0):
        """@return: the port of an HTTP server of 127.0.0.1, and what ends it."""
        factory = site if isinstance(site, Site) else QuietSite(site)
        listening = reactor.listenTCP(port, factory, interface="127.0.0.1")
        self.addCleanup(self.ends, listening)
        return listening.getHost().port, listening

    def ends(self, listening):
        return listening.stopListening() if listening.connected else None

    @property
    def servers(self):
        """@return: the names and addresses of usable servers."""
        return {one.name: str(one.endpoint) for one in self.pool.usable}

    @property
    def addresses(self):
        return sorted(self.servers.values())

    @inlineCallbacks
    def until(self, condition):
        """Wait for something to become true; the test's own timeout ends it."""
        while not condition():
            yield pause(0.01)

    def has(self, *addresses):
        """Wait until these are the usable servers."""
        return self.until(lambda: self.addresses == sorted(addresses))

    def fails(self, reason):
        """Wait until the source has failed for this reason."""
        return self.until(lambda: reason in self.membership.reason)

    def events(self):
        """@return: what was logged since the last call."""
        events = [formatEvent(event) for event in self.captured]
        self.captured.clear()
        return [event for event in events if event.startswith("app/web ")]
