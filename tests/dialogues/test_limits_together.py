"""
C{limit ... store=NAME}: what is said to clients while a store is asked, and whatever it
answers. The store is one that a test answers for.
"""

import attr
import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.interfaces import ICounts, ISharedStore
from lbtwist.registry import Extension, installed
from lbtwist.testing import Balancer

CONFIG = """\
[global]
grace-period = 1s
[frontend www]
bind = ${bind}
pool = app
%s
[store shared]
kind = asked
[pool app]
server a = ${a}
"""

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"


@attr.define(eq=False)
class Lease:
    held: bool | None


@implementer(ISharedStore, ICounts)
class Asked:
    """
    A store whose answers are a test's.

    @ivar asked: what it was asked, with the Deferred of each answer.
    @ivar away: whether it answers nothing at all.
    """

    made = None

    @attr.frozen
    class Options:
        pass

    def __init__(self, options, context):
        Asked.made = self
        self.asked, self.names, self.kept, self.left = [], [], [], []
        self.away = False
        self.ready = None

    def persistence(self, pool):
        raise AssertionError("no pool has asked for it")

    def counts(self, name):
        self.names.append(name)
        return self

    def start(self):
        return self.ready

    def stop(self):
        self.asked.clear()

    def _ask(self, *words):
        answer = Deferred()
        self.asked.append((*words, answer))
        return answer

    def take(self, key, each, ahead, keep):
        return None if self.away else self._ask(key, each, ahead, keep)

    def enter(self, key, most):
        return Lease(None) if self.away else self._ask(key, most)

    def keep(self, lease):
        self.kept.append(lease)

    def leave(self, lease):
        self.left.append(lease)

    def answers(self, answer):
        """The oldest question is answered."""
        self.asked.pop(0)[-1].callback(answer)


ASKED = Extension(ISharedStore, "asked", f"{__name__}.Asked")


def limited(rules):
    return Balancer(CONFIG % rules, "a", registry=installed(ASKED))


def asks(balancer, host="203.0.113.9"):
    client = balancer.client(host)
    client.sends(GET)
    return client


def isServed(balancer, client):
    server = balancer.server("a").accepts()
    server.receives(rb"GET / HTTP/1.1\r\n.*")
    server.sends(GOOD)
    client.receivesExactly(GOOD)


def test_aRateIsAskedFor():
    with limited("request = limit rate=10/5s burst=3 by={src} store=shared") as balancer:
        store = Asked.made
        client = asks(balancer)
        assert store.asked[0][:-1] == (b"203.0.113.9", 0.5, 1.0, True)
        client.receivesNothing()
        store.answers(0.0)
        isServed(balancer, client)
        late = asks(balancer)
        store.answers(2.3)
        late.receives(rb"HTTP/1.1 429 .*\r\nRetry-After: 3\r\n.*")


def test_whereNothingIsKnownItIsCountedHere():
    with limited("request = limit rate=1/5s by={src} store=shared") as balancer:
        store = Asked.made
        first = asks(balancer)
        store.answers(None)
        isServed(balancer, first)
        store.away = True
        asks(balancer).receives(rb"HTTP/1.1 429 .*")
        isServed(balancer, asks(balancer, "203.0.113.10"))


def test_soManyAtOnce():
    with limited("request = limit concurrency=2 by={src} store=shared") as balancer:
        store = Asked.made
        lease = Lease(True)
        client = asks(balancer)
        assert store.asked[0][:-1] == (b"203.0.113.9", 2)
        store.answers(lease)
        assert store.left == []
        isServed(balancer, client)
        assert store.left == [lease]
        refused = asks(balancer)
        store.answers(Lease(False))
        refused.receives(rb"HTTP/1.1 429 .*")
        assert store.left == [lease]


def test_whatIsThereWhileItIsAway():
    """It is counted here, what was there before with it, and told when that is possible."""
    with limited("request = limit concurrency=2 by={src} store=shared") as balancer:
        store = Asked.made
        known = asks(balancer)
        store.answers(Lease(True))
        store.away = True
        unknown = asks(balancer)
        asks(balancer).receives(rb"HTTP/1.1 429 .*")
        assert [lease.held for lease in store.kept] == [None]
        servers = [balancer.server("a").accepts() for _ in range(2)]
        for server in servers:
            server.receives(rb"GET / HTTP/1.1\r\n.*")
            server.sends(GOOD)
        for client in (known, unknown):
            client.receivesExactly(GOOD)
        assert store.kept[0] in store.left
        assert len(store.left) == 2


def test_whoGoesAwayIsNotCounted():
    with limited("request = limit concurrency=2 by={src} store=shared") as balancer:
        store = Asked.made
        client = asks(balancer)
        [(*_, answer)] = store.asked
        failed = []
        answer.addErrback(failed.append)
        client.resets()
        balancer.pump.turn()
        assert answer.called
        assert not store.left


def test_aVerbThatIsLate():
    """The store has a deadline of its own; one that has none has the rule's."""
    rule = "request = limit rate=1/5s store=shared deadline=2s on-error=503"
    with limited(rule) as balancer:
        client = asks(balancer)
        balancer.advance(1.9)
        client.receivesNothing()
        balancer.advance(0.2)
        client.receives(rb"HTTP/1.1 503 .*")


def test_connections():
    with limited("connection = limit concurrency=1 by={src} store=shared") as balancer:
        store = Asked.made
        lease = Lease(True)
        client = balancer.client()
        store.answers(lease)
        client.sends(GET)
        isServed(balancer, client)
        refused = balancer.client()
        store.answers(Lease(False))
        refused.isEnded()
        assert store.left == []
        client.closes()
        balancer.pump.turn()
        assert store.left == [lease]


def test_whichLinesCountTogether():
    """Those that say the same, whatever their condition, and those of one name."""
    rules = """\
request =
    limit rate=5/1s by={src} store=shared
    limit by={src} rate=5/1s store=shared if path == "/"
    limit rate=5/1s by={host} store=shared
    limit rate=6/1s by={src} store=shared
    limit rate=6/1s by={src} store=shared burst=2
    limit concurrency=5 by={src} store=shared
    limit rate=7/1s store=shared name=own
    limit rate=8/1s store=shared name=own"""
    with limited(rules):
        names = Asked.made.names
        assert names[0] == names[1]
        assert len(set(names[1:6])) == 5
        assert names[6:] == [b"own", b"own"]


def test_nobodyIsAcceptedBeforeTheStoreIsThere(monkeypatch):
    ready = Deferred()
    monkeypatch.setattr(Asked, "start", lambda self: ready)
    with limited("request = limit rate=1/5s store=shared") as balancer:
        client = balancer.connects()
        client.sends(GET)
        assert Asked.made.asked == []
        ready.callback(None)
        balancer.pump.turn()
        Asked.made.answers(0.0)
        isServed(balancer, client)


def test_stoppedBeforeTheStoreIsThere(monkeypatch):
    ready = Deferred()
    monkeypatch.setattr(Asked, "start", lambda self: ready)
    with limited("request = limit rate=1/5s store=shared"):
        pass
    ready.callback(None)


@pytest.mark.parametrize("rule", ["limit rate=1/5s", "limit rate=1/5s name=x store=shared"])
def test_onlyWithAStoreItWaits(rule):
    with limited(f"request = {rule}") as balancer:
        [made] = balancer.running.frontend("www").inbound.rules.request.rules
        assert made.waits == ("store" in rule)
