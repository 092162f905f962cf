"""
Clients and servers that do whatever they like while one configuration at random takes the place
of another: whatever it meets, a head by half, a rule or a store that is waited for, the queue, a
connect, a retry, an answer by half, a tunnel, in the end every slot has been given back and
nothing is left of what has gone.
"""

import gc
import os
import re
from collections import Counter
from contextlib import suppress
from random import Random

import attr
import pytest
from spoken import GET, OK, POST, request
from test_applied_at_random import config
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.errors import StartError
from lbtwist.interfaces import IConnectionRule, IPersistenceStore, IRequestRule
from lbtwist.registry import Extension, installed
from lbtwist.rules.decisions import ALLOW, Deny, UsePool
from lbtwist.stores.memory import MemoryOptions, MemoryStore
from lbtwist.testing import Balancer

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SAID = [GET, GET, request("/chat"), request("/slow"), POST, POST + b"body", UPGRADE, GET * 3,
        b"x", b"PROXY TCP4 198.51.100.7 192.0.2.1 4321 80\r\n", b"\r\n"]  # fmt: skip
ANSWERED = [
    OK, OK, OK, OK[:20], OK[:-1], UPGRADED, b"", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nto the end", b"?",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
]  # fmt: skip


class Asked:
    """What waits for an answer."""

    waiting: list = []

    def ask(self, answer):
        deferred = Deferred()
        Asked.waiting.append(lambda: deferred.called or deferred.callback(answer()))
        return deferred


class Policy(Asked):
    """A verb that takes its time, and decides otherwise each time."""

    @attr.frozen
    class Options:
        pass

    decisions = [None, None, ALLOW, UsePool("chat"), UsePool("app"), Deny(403)]

    def __init__(self, options, context):
        self.random = context.random

    def connectionAccepted(self, exchange):
        return self.ask(lambda: self.random.choice(self.decisions[:5]))

    def requestReceived(self, exchange):
        return self.ask(lambda: self.random.choice(self.decisions))


@implementer(IPersistenceStore)
class Slow(Asked):
    """A store that takes its time; so it may be stopped while it is asked."""

    @attr.frozen
    class Options:
        pass

    size = -1
    running = 0

    def __init__(self, options, context):
        self._memory = MemoryStore(MemoryOptions(100), context)
        self.put, self.drop, self.bound = self._memory.put, self._memory.drop, self._memory.bound

    def start(self):
        Slow.running += 1

    def stop(self):
        Slow.running -= 1

    def get(self, key, ttl):
        return self.ask(lambda: self._memory.get(key, ttl))

    def claim(self, key, name, ttl, instead):
        return self.ask(lambda: self._memory.claim(key, name, ttl, instead))


REGISTRY = installed(
    Extension(IConnectionRule, "policy", f"{__name__}.Policy"),
    Extension(IRequestRule, "policy", f"{__name__}.Policy"),
    Extension(IPersistenceStore, "slow", f"{__name__}.Slow"),
)

MORE = [
    "retries = 2\nretry-on = all-retryable-errors", "hedge-after = 300ms", "timeout-server = 3s",
    "persist = source\npersist-store = slow", "persist = header X-S\npersist-store = slow",
    "maxconn = 2", "queue = fair(src)\ntimeout-queue = 4s", "on-marked-down = shutdown-sessions",
    "balance = leastconn", "redispatch = 1",
]  # fmt: skip
RULES = ["policy if path == '/slow'", "tarpit 2s if path == '/chat'", "policy if path == '/ws'"]


def crowded(dice, listed):
    """One configuration that has something to wait for."""
    text = config(dice).replace("${list}", listed)
    if dice.random() < 0.5:
        for one in ("maxconn=5", "maxconn=9 minconn=2", "weight=7"):
            text = text.replace(one, "maxconn=1")
    if dice.random() < 0.2:
        text = text.replace("bind = ${bind}\n", "bind = ${bind} accept-proxy\n")
    for one in dice.sample(MORE, 4):
        text = into(text, "pool app", one)
    rules = [one for one in RULES if dice.random() < 0.6]
    if rules:
        text = into(text, "frontend www", "\n    ".join(["request =", *rules]))
    if dice.random() < 0.3:
        text = into(text, "frontend www", "connection =\n    policy")
    return text


def into(text, section, more):
    """@return: a configuration with more in a section; what is there already stays."""
    before, head, rest = text.partition(f"[{section}]\n")
    own, bracket, after = rest.partition("\n[")
    own = f"\n{own}"
    for option in re.split(r"\n(?! )", more):
        name, _, value = option.partition("=")
        if f"\n{name}=" not in own:
            own = f"\n{option}{own}"
        elif value.startswith("\n"):
            own = own.replace(f"\n{name}=", f"\n{option}")
    return f"{before}{head}{own[1:]}{bracket}{after}"


class Crowd:
    """Everybody who is connected with a balancer, each of whom does anything at any time."""

    def __init__(self, balancer, dice):
        self._balancer = balancer
        self._dice = dice
        self._clients = []
        self._peers = []

    def comes(self):
        name = self._dice.choice(list(self._balancer.running.frontends))
        port = self._dice.randint(1000, 1010)
        self._clients.append(self._balancer.client(f"203.0.113.{port % 5}", port, name))

    def asks(self):
        if self._clients:
            said = self._dice.choice(SAID)
            at = self._dice.choice([len(said), len(said), self._dice.randint(1, len(said))])
            client = self._dice.choice(self._clients)
            for piece in (said[:at], said[at:])[: self._dice.randint(1, 2)]:
                if client in self._clients:
                    self._speak(self._clients, client, piece)

    def goes(self):
        self._end(self._clients)

    def isReached(self):
        """Servers take who has come to them."""
        for name in "abcd":
            with suppress(AssertionError):
                while True:
                    self._peers.append(self._balancer.server(name).accepts())

    def answers(self):
        if self._peers:
            peer = self._dice.choice(self._peers)
            peer._take()
            self._speak(self._peers, peer, self._dice.choice(ANSWERED))

    def fails(self):
        self._end(self._peers)

    def falls(self):
        server = self._balancer.server(self._dice.choice("abcd"))
        if server._listener is None:
            server.comesBack()
        else:
            server.goesAway()

    def hesitates(self):
        server = self._balancer.server(self._dice.choice("abcd"))
        if server.hesitating is None:
            server.hesitates()
        elif server._listener is not None:
            server.goesOn()

    def decides(self):
        waiting = Asked.waiting
        if waiting:
            waiting.pop(self._dice.randrange(len(waiting)))()
            self._balancer.pump.turn()

    def administers(self):
        running = self._balancer.running
        pool = running.pool("app")
        if not pool.servers:
            return
        server = self._dice.choice(pool.servers)
        what = self._dice.choice(["ready", "ready", "drain", "maint", "weight", "abort"])
        if what == "weight":
            running.administration.setWeight(pool, server, self._dice.randint(0, 9))
        elif what == "abort":
            running.abortSessionsOf(pool, server)
        else:
            running.administration.setState(pool, server, what)
        self._balancer.pump.turn()

    def waits(self):
        self._balancer.advance(self._dice.choice([0.1, 0.5, 1.1, 2.5]))

    def does(self):
        """Somebody does something."""
        often = [self.comes, self.asks, self.isReached, self.answers, self.decides]
        rarely = [self.goes, self.fails, self.falls, self.hesitates, self.administers, self.waits]
        self._dice.choice(often * 4 + rarely)()

    def leaves(self):
        """Nobody is there any more, and whatever was asked for is answered."""
        for peer in self._clients:
            peer.socket.close()
        for name in "abcd":
            server = self._balancer.server(name)
            if server._listener is None:
                server.comesBack()
            server.goesOn()
        # Some of them have ended their side, and are served yet.
        for _ in range(30):
            while Asked.waiting:
                self.decides()
            self.isReached()
            for peer in self._peers:
                peer.socket.close()
            self._balancer.advance(4)

    def _speak(self, among, peer, data):
        peer._read = b""
        try:
            peer.sends(data)
        except OSError:
            among.remove(peer)
            peer.closes()

    def _end(self, among):
        if among:
            peer = among.pop(self._dice.randrange(len(among)))
            if self._dice.random() < 0.3 and peer._ours is not None:
                peer.resets()
            else:
                peer.closes()


def left(balancer):
    """What is there that should not be when nobody is there."""
    running = balancer.running
    roster = running.roster
    pools = [*running.pools.values(), *roster.retired]
    return {
        "process": running.process.active, "retired": running.retired,
        "frontends": [one for one in running.process.frontends if one.active or one.connections],
        "counting": [one for one in running.process.frontends if one.leaving or one.sessions],
        "pools": [*roster.retired, *(one for one in pools if one.active or one.queued)],
        "servers": [
            one for pool in pools for one in pool.servers
            if one.active or one.sessions or one.leaving
        ],
        "gone": list(roster._gone),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_aCrowd(seed, tmp_path):
    dice = Random(seed)
    listed = tmp_path / "list"
    listed.write_text("127.0.0.9:81\n")
    Asked.waiting.clear()
    with Balancer(crowded(dice, str(listed)), *"abcd", registry=REGISTRY) as balancer:
        balancer.running._monitor._random.seed(seed)
        crowd = Crowd(balancer, dice)
        for _ in range(12):
            for _ in range(dice.randint(5, 40)):
                crowd.does()
            text = crowded(dice, str(listed))
            if dice.random() < 0.2:
                with pytest.raises(StartError):
                    balancer.becomes(
                        f"{text}\n[frontend bad]\nbind = unix:{tmp_path}/no/x\npool = app\n"
                    )
            balancer.becomes(text)
        crowd.leaves()
        found = {name: one for name, one in left(balancer).items() if one}
        assert not found, found
        used = sum(pool.persistence is not None and isinstance(pool.persistence.store, Slow)
                   for pool in balancer.running.pools.values())
        assert Slow.running == used
    assert Slow.running == 0


def test_nothingIsKeptOfWhatHasBeen(tmp_path):
    dice = Random(1)
    listed = tmp_path / "list"
    listed.write_text("127.0.0.9:81\n")
    texts = [crowded(dice, str(listed)) for _ in range(10)]
    Asked.waiting.clear()
    with Balancer(texts[0], *"abcd", registry=REGISTRY) as balancer:
        # Somebody is there from the beginning.
        balancer.client().sends(GET[:9])
        counts = []
        for number in range(1, 91):
            balancer.becomes(texts[number % 10])
            with pytest.raises(StartError):
                balancer.becomes(
                    f"{texts[number * 7 % 10]}\n[frontend bad]\nbind = unix:{tmp_path}/no/x\n"
                    "pool = app\n"
                )
            balancer.advance(2)
            if number % 30 == 0:
                balancer.advance(60)
                gc.collect()
                counts.append(Counter(objects()))
                counts[-1]["descriptors"] = len(os.listdir("/proc/self/fd"))
        grown = counts[2] - counts[0]
        # Of what has happened the last is remembered.
        assert not {name for name in grown if grown[name] > 1} - {"Result", "HealthEvent"}, grown


def objects():
    """@return: the classes of all objects of balancers, each as often as there is one."""
    for one in gc.get_objects():
        module = str(type(one).__module__)
        if module.startswith(("lbtwist.", "test_applied")) and ".testing" not in module:
            yield type(one).__name__
