"""
Limits that several balancers share in a real Redis: rates, what there is at once, and what
becomes of both while it is away, or a balancer is.
"""

import re
import time

import pytest
from loopback import wire
from loopback.running import Balancer, Nginx, until
from loopback.storing import Stored, Storing
from twisted.internet import reactor, task
from twisted.internet.defer import gatherResults

from lbtwist.stores import counts, link
from lbtwist.stores.link import Address
from lbtwist.stores.redis import SharedRedis
from programs import freePort

pytest.importorskip("txredisapi")


class CountingTests(Storing):
    async def counting(self, name=b"n", **options):
        """@return: the counts of one balancer more."""
        return (await self.started(SharedRedis, **options)).counts(name)

    async def test_aRateIsOfAll(self):
        counts = [await self.counting() for _ in range(3)]
        # Ten at once, and nothing comes back while this runs.
        waits = [await counts[i % 3].take(b"c", 1000.0, 9000.0, True) for i in range(15)]
        assert waits[:10] == [0.0] * 10
        assert all(990.0 < wait <= 1000.0 for wait in waits[10:])
        assert await counts[0].take(b"d", 1000.0, 9000.0, True) == 0.0

    async def test_whatIsOnlyLookedAtIsNotTaken(self):
        counts = await self.counting()
        assert [await counts.take(b"c", 1000.0, 0.0, False) for _ in range(3)] == [0.0] * 3
        assert await counts.take(b"c", 1000.0, 0.0, True) == 0.0
        assert await counts.take(b"c", 1000.0, 0.0, False) > 0

    async def test_takenAtOnce(self):
        counts = [await self.counting() for _ in range(3)]
        waits = await gatherResults([
            one.take(b"c", 1000.0, 9000.0, True) for one in counts for _ in range(20)
        ])  # fmt: skip
        assert waits.count(0.0) == 10

    async def test_aBucketFillsAgain(self):
        counts = await self.counting()
        assert await counts.take(b"c", 0.02, 0.0, True) == 0.0
        wait = await counts.take(b"c", 0.02, 0.0, True)
        assert 0 < wait <= 0.02
        await task.deferLater(reactor, wait)
        assert await counts.take(b"c", 0.02, 0.0, True) == 0.0

    async def test_namesAreApart(self):
        for name in (b"one", b"other"):
            counts = await self.counting(name)
            assert await counts.take(b"c", 1000.0, 0.0, True) == 0.0
        # What a client says is a part of a key: it is none of a name.
        for name, key in ((b"a", b"b:c"), (b"a:b", b"c")):
            counts = await self.counting(name)
            assert await counts.take(key, 1000.0, 0.0, True) == 0.0

    async def test_soManyAtOnceOfAll(self):
        one, other = await self.counting(), await self.counting()
        held = [await counts.enter(b"c", 3) for counts in (one, other, one, other)]
        assert [lease.held for lease in held] == [True, True, True, False]
        one.leave(held[0])
        # It is known when what was asked after it is.
        await one.take(b"c", 1.0, 0.0, False)
        assert (await other.enter(b"c", 3)).held
        assert not (await one.enter(b"c", 3)).held
        assert (await one.enter(b"d", 3)).held

    async def test_whatABalancerHasCountedGoesWithIt(self):
        self.patch(counts, "LEASE", 0.3)
        shared = await self.started(SharedRedis)
        other = await self.counting()
        assert (await shared.counts(b"n").enter(b"c", 1)).held
        assert not (await other.enter(b"c", 1)).held
        await shared.stop()

        async def entered():
            while not (await other.enter(b"c", 1)).held:
                await task.deferLater(reactor, 0.05)

        await entered()

    async def test_whatLastsIsSaidAgain(self):
        self.patch(counts, "LEASE", 0.3)
        self.patch(counts, "RENEWED_AT_ONCE", 2)
        one, other = await self.counting(), await self.counting()
        leases = [await one.enter(b"c", 5) for _ in range(5)]
        for _ in range(8):
            await task.deferLater(reactor, 0.1)
            assert not (await other.enter(b"c", 5)).held
        for lease in leases:
            one.leave(lease)
        await one.take(b"c", 1.0, 0.0, False)
        found = [await other.enter(b"c", 5) for _ in range(5)]
        assert all(lease.held for lease in found)

    async def test_moreThatLastsThanCanBeAskedAtOnce(self):
        """Clients who are counted apart, and nobody is in the way of what else is asked."""
        self.patch(counts, "LEASE", 1.5)
        self.patch(link, "MOST_ASKED", 20)
        self.patch(counts, "RENEWED_AT_ONCE", 10)
        one, other = await self.started(SharedRedis), await self.started(SharedRedis)
        ours, theirs = one.counts(b"n"), other.counts(b"n")
        leases = [await ours.enter(b"%d" % number, 1) for number in range(100)]
        await task.deferLater(reactor, 2.5)
        for number in range(100):
            assert not (await theirs.enter(b"%d" % number, 1)).held, number
        assert one.link.errors == 0
        # They end at once, while they are said again, and are not there any more.
        one._leases._renew()
        for lease in leases:
            ours.leave(lease)
        await self.until(lambda: not one._leases._left)
        assert await ours.take(b"c", 1.0, 0.0, False) == 0.0
        for number in range(100):
            assert (await theirs.enter(b"%d" % number, 1)).held, number

    async def test_aKeyOfSomebodyElseAmongThem(self):
        """The others are said again."""
        self.patch(counts, "LEASE", 1.0)
        one, other = await self.started(SharedRedis), await self.started(SharedRedis)
        ours, theirs = one.counts(b"n"), other.counts(b"n")
        for key in b"abc":
            await ours.enter(b"%c" % key, 1)
        await one.link._speech.ask("SET", f"{self.prefix}::n:b", "a text")
        await task.deferLater(reactor, 1.5)
        assert not (await theirs.enter(b"a", 1)).held
        assert not (await theirs.enter(b"c", 1)).held
        assert self.told == []

    async def test_aRedisThatHasForgottenIsTold(self):
        with Stored() as server:
            address = Address("127.0.0.1", server.port)
            shared = await self.started(SharedRedis, address=address)
            counts = shared.counts(b"n")
            held = await counts.enter(b"c", 2)
            server.kill()
            await self.until(lambda: self.told)
            assert counts.take(b"c", 1.0, 0.0, True) is None
            away = counts.enter(b"c", 2)
            assert away.held is None
            counts.keep(away)
            server.again()
            await self.there(shared)
            assert not (await counts.enter(b"c", 2)).held
            counts.leave(held)
            counts.leave(away)
            assert (await counts.enter(b"c", 1)).held

    async def test_whoGoesAwayMeanwhileIsNotCounted(self):
        counts = await self.counting()
        for _ in range(5):
            entering = counts.enter(b"c", 1)
            entering.addErrback(lambda failure: None)
            entering.cancel()
        assert (await counts.enter(b"c", 1)).held


SITE = """\
    [global]
    log = file:access.log
    [frontend www]
    bind = 127.0.0.1:{port}
    pool = app
    {rules}
    [store shared]
    kind = redis {redis} deadline=2s
    [pool app]
    server a = 127.0.0.1:{server}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture
def stored():
    with Stored() as stored:
        yield stored


@pytest.fixture
def pair(tmp_path, server, stored):
    """A function that starts two balancers with some rules; gives them, each with its port."""
    started = []

    def start(rules, store=None):
        for name in ("one", "other"):
            port = freePort()
            text = SITE.format(
                port=port, rules=rules, redis=store or stored.address, server=server.port
            )
            balancer = Balancer(tmp_path / name, text)
            balancer.port = port
            started.append(balancer)
            balancer.__enter__()
        return started

    yield start
    for balancer in started:
        balancer.__exit__(None, None, None)


def status(balancer, *fields, path="/name"):
    """@return: the status of an answer, and its head."""
    with wire.connect(balancer.port) as client:
        client.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *fields, "", ""]).encode())
        head, _, _ = wire.readResponse(client)
        return int(head.split()[1]), head.decode()


pytestmark = pytest.mark.needs("nginx", "redis-server")


def test_requestsOfTwoBalancersCountTogether(pair):
    """Once with a text that both have, once by a name."""
    both = pair(
        "request =\n"
        "        limit rate=6/1h by={header['x-user']} store=shared    if path == '/name'\n"
        "        limit rate=4/1h by={header['x-user']} store=shared name=own burst=3"
        "    if path == '/nothing'"
    )
    found = [status(both[i % 2], "X-User: a")[0] for i in range(10)]
    assert found == [200] * 6 + [429] * 4
    assert int(re.search(r"Retry-After: (\d+)", status(both[0], "X-User: a")[1])[1]) in (599, 600)
    assert status(both[1], "X-User: b")[0] == 200
    found = [status(both[i % 2], "X-User: a", path="/nothing")[0] for i in range(5)]
    assert found == [204] * 3 + [429] * 2


def test_connectionsOfTwoBalancersCountTogether(pair):
    """Those of one that is killed do not count any more, those that end do not at once."""
    one, other = pair("connection =\n        limit concurrency=2 store=shared")
    first, second = wire.connect(one.port), wire.connect(other.port)
    for client in (first, second):
        client.sendall(b"GET /name HTTP/1.1\r\nHost: h\r\n\r\n")
        wire.readResponse(client)
    with wire.connect(one.port) as third:
        assert third.recv(1) == b""
    first.close()
    until(lambda: _served(other))
    second.close()


def _served(balancer):
    try:
        return status(balancer)[0] == 200
    except (AssertionError, OSError, IndexError, EOFError):
        return False


def test_withoutTheRedisEachCountsByItself(pair, stored):
    """It is served on, and said; when it is back they count together."""
    both = pair("request =\n        limit rate=5/1h by={header['x-user']} store=shared")
    assert [status(both[i % 2], "X-User: a")[0] for i in range(6)] == [200] * 5 + [429]
    stored.kill()
    for balancer in both:
        until(lambda: f"Redis at {stored.address} is away" in balancer.events)  # noqa: B023
    found = [status(balancer, "X-User: a")[0] for balancer in both for _ in range(6)]
    assert found == ([200] * 5 + [429]) * 2
    stored.again()
    for balancer in both:
        until(lambda: f"Redis at {stored.address} is back" in balancer.events)  # noqa: B023
    assert [status(both[i % 2], "X-User: b")[0] for i in range(6)] == [200] * 5 + [429]


def test_aRedisThatDoesNotAnswerKeepsNobodyWaiting(pair, stored):
    """Only those who were first, and not for longer than the deadline."""
    both = pair("request =\n        limit rate=100/1s store=shared")
    assert status(both[0])[0] == 200
    stored.freeze()
    began = time.monotonic()
    assert [status(both[0])[0] for _ in range(20)] == [200] * 20
    assert time.monotonic() - began < 20
    stored.thaw()
    until(lambda: "is back" in both[0].events)


del Storing
