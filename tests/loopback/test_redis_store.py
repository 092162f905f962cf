"""
The store C{redis} with a real Redis, and with a Valkey where there is one: what several
balancers know of clients, and what becomes of them while it is away.
"""

import os
import re
import shutil

import pytest
from loopback.running import ROOT, freePorts
from loopback.storing import Stored, Storing
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol

from lbtwist.errors import StartError
from lbtwist.registry import Context
from lbtwist.testing import StoreContract

pytest.importorskip("txredisapi")

from lbtwist.stores import link, redis
from lbtwist.stores.link import Address
from lbtwist.stores.redis import RedisStore, SharedRedis


class RedisContractTests(Storing, StoreContract):
    def makeStore(self):
        return Deferred.fromCoroutine(self.started())

    def passTime(self, seconds):
        # It has its own clock.
        return task.deferLater(reactor, seconds)


class ValkeyContractTests(RedisContractTests):
    program = "valkey-server"


class SharedContractTests(RedisContractTests):
    """A C{[store NAME]}."""

    def makeStore(self):
        async def make():
            return (await self.started(SharedRedis)).persistence("app")

        return Deferred.fromCoroutine(make())


class TogetherTests(Storing):
    """Two balancers, each with a connection of its own."""

    async def test_whatOneHasPutTheOtherKnows(self):
        one, other = await self.started(), await self.started()
        one.put(b"c", "a", 60.0)
        assert await one.get(b"c", 60.0) == "a"
        assert await other.get(b"c", 60.0) == "a"
        other.drop(b"c", "a")
        assert await other.get(b"c", 60.0) is None
        assert await one.get(b"c", 60.0) is None

    async def test_claimsAtOnce(self):
        """All that claim a key are told the same name."""
        stores = {name: await self.started() for name in ("a", "b", "c")}
        keys = [b"%d" % number for number in range(50)]
        found = {
            key: await gatherResults([
                store.claim(key, name, 60.0, "") for name, store in stores.items()
            ])
            for key in keys
        }  # fmt: skip
        assert all(len(set(names)) == 1 and names[0] in stores for names in found.values())
        again = {
            key: await gatherResults([
                store.claim(key, f"new-{name}", 60.0, found[key][0])
                for name, store in stores.items()
            ])
            for key in keys
        }  # fmt: skip
        assert all(len(set(names)) == 1 for names in again.values())
        assert all(names[0].startswith("new-") for names in again.values())

    async def test_poolsAndPrefixesAndDatabasesAreApart(self):
        stores = [
            await self.started(), await self.started(pool="other"),
            await self.started(pool="app:x"), await self.started(prefix=f"{self.prefix}-x"),
            await self.started(database=1),
        ]  # fmt: skip
        for number, store in enumerate(stores):
            for key in (b"c", b"x:c"):
                store.put(key, f"s{number}", 60.0)
        for number, store in enumerate(stores):
            assert await store.get(b"c", 60.0) == f"s{number}"

    async def test_oneConnectionForSeveralPools(self):
        shared = await self.started(SharedRedis)
        app, other = shared.persistence("app"), shared.persistence("other")
        app.put(b"c", "a", 60.0)
        other.put(b"c", "b", 60.0)
        assert [await app.get(b"c", 60.0), await other.get(b"c", 60.0)] == ["a", "b"]
        alone = await self.started()
        assert await alone.get(b"c", 60.0) == "a"


class SpokenTests(Storing):
    """How it is connected to."""

    async def answers(self, **options):
        store = await self.started(**options)
        assert await store.claim(b"c", "a", 60.0, "") == "a"

    async def test_aUnixSocket(self):
        path = f"/tmp/lbtwist-{os.getpid()}.sock"
        with Stored(more=["--unixsocket", path, "--unixsocketperm", 777]):
            await self.answers(address=Address(path=path))

    async def test_aName(self):
        await self.answers(address=Address("localhost", self.server.port))

    async def test_aPassword(self):
        secret, wrong = self.mktemp(), self.mktemp()
        for path, text in ((secret, "s3cret\n"), (wrong, "other\n")):
            with open(path, "w") as file:
                file.write(text)
        acl = [
            "--user", "lb", "on", ">s3cret", "~lb:*", *re.search(
                r"`~shop:\* (\+eval [^`]+)`", (ROOT / "docs" / "configuration.md").read_text()
            )[1].split(),
        ]  # fmt: skip
        with Stored(more=acl, password="s3cret") as server:
            address = Address("127.0.0.1", server.port)
            await self.answers(address=address, password_file=secret)
            user = {"password_file": secret, "username": "lb", "prefix": "lb"}
            await self.answers(address=address, **user)
            counts = (await self.started(SharedRedis, address=address, **user)).counts(b"n")
            lease = await counts.enter(b"c", 1)
            assert lease.held
            counts.leave(lease)
            assert (await counts.enter(b"c", 1)).held
            assert await counts.take(b"d", 1.0, 0.0, True) == 0.0
            for options, why in (
                ({"password_file": wrong}, "WRONGPASS"), ({}, "NOAUTH"),
                ({"password_file": secret, "username": "lb"}, "NOPERM|permission|access"),
            ):  # fmt: skip
                self.told.clear()
                store = self.begun(address=address, **options)
                await self.until(lambda: self.told)
                [said] = self.told
                assert said.startswith(f"Redis at {address} is away: ")
                self.assertRegex(said, why)
                assert "s3cret" not in said
                assert store.get(b"c", 60.0) is None

    async def test_tls(self):
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        made = self.mktemp()
        os.mkdir(made)
        server = authority.issue_cert("127.0.0.1", "localhost")
        for name, pem in (("ca", authority.cert_pem), ("key", server.private_key_pem),
                          ("cert", server.cert_chain_pems[0])):  # fmt: skip
            pem.write_to_path(f"{made}/{name}")
        # It does not run as who runs the tests.
        shutil.copytree(made, f"/tmp/lbtwist-tls-{os.getpid()}")
        made = f"/tmp/lbtwist-tls-{os.getpid()}"
        self.addCleanup(shutil.rmtree, made)
        for name in os.listdir(made):
            os.chmod(f"{made}/{name}", 0o644)
        os.chmod(made, 0o755)
        [port] = freePorts(1)
        more = ["--tls-port", port, "--tls-cert-file", f"{made}/cert", "--tls-key-file",
                f"{made}/key", "--tls-auth-clients", "no"]  # fmt: skip
        with Stored(more=more):
            address = Address("127.0.0.1", port)
            await self.answers(address=address, tls=True, ca=f"{made}/ca")
            await self.answers(address=Address("localhost", port), tls=True, ca=f"{made}/ca")
            self.begun(address=address, tls=True)
            await self.until(lambda: self.told)
            self.assertRegex(self.told[0], "certificate|verify")
            store = await self.started(address=address, tls=True, ca=f"{made}/ca")
            # As it is for a daemon that has given up its privileges.
            os.unlink(f"{made}/ca")
            store._link._speech.end("as if")
            await self.until(lambda: not store._link.there)
            await self.there(store)

    def test_filesThatCannotBeRead(self):
        empty = self.mktemp()
        open(empty, "w").close()
        for options, why in (
            ({"password_file": "/no/such"}, "/no/such"), ({"password_file": empty}, "no secret"),
            ({"tls": True, "ca": "/no/such"}, "/no/such"),
            ({"tls": True, "ca": empty}, "no certificate"),
        ):  # fmt: skip
            store = RedisStore(self.options(**options), Context(reactor, reactor.seconds))
            with pytest.raises(StartError, match=why):
                store.start()
            assert store.stop() is None

    async def test_aReplica(self):
        """It cannot be written to, which is found out at once, and not by every client."""
        with Stored(of=self.server) as replica:
            store = self.begun(address=Address("127.0.0.1", replica.port))
            await self.until(lambda: self.told)
            self.assertRegex(self.told[0], "READONLY|read only")
            assert store.claim(b"c", "a", 60.0, "") is None

    async def test_stoppedAndStartedAgain(self):
        store = await self.started()
        await maybeDeferred(store.stop)
        assert store.get(b"c", 60.0) is None
        store.start()
        await self.there(store)
        store.put(b"c", "a", 60.0)
        assert await store.get(b"c", 60.0) == "a"

    async def test_stoppedBeforeItIsThere(self):
        store = self.begun()
        await maybeDeferred(store.stop)
        assert store.get(b"c", 60.0) is None


class AskedTests(Storing):
    """What is asked, and how often."""

    async def test_scriptsThatItHasForgotten(self):
        store = await self.started()
        assert await store.claim(b"c", "a", 60.0, "") == "a"
        await store._link._speech.ask("SCRIPT", "FLUSH")
        assert await store.claim(b"c", "b", 60.0, "") == "a"
        store.drop(b"c", "a")
        assert await store.get(b"c", 60.0) is None
        assert store.errors == 0

    async def test_whatWasPutIsNotPutAgainForAWhile(self):
        store = await self.started()
        hand = task.Clock()
        store._seconds = hand.seconds
        put = []
        run = store._link.run
        store._link.run = lambda *asked: put.append(asked) or run(*asked)
        for _ in range(10):
            store.put(b"c", "a", 40.0)
        assert len(put) == 1
        hand.advance(9.9)
        store.put(b"c", "a", 40.0)
        assert len(put) == 1
        hand.advance(0.2)
        store.put(b"c", "a", 40.0)
        assert len(put) == 2
        store.put(b"c", "b", 40.0)
        store.put(b"c", "a", 40.0)
        assert len(put) == 4
        store.drop(b"c", "a")
        store.put(b"c", "a", 40.0)
        assert len(put) == 6

    async def test_whatWasPutIsBounded(self):
        self.patch(redis, "MOST_PUT", 10)
        store = await self.started()
        for number in range(100):
            store.put(b"%d" % number, "a", 60.0)
        assert len(store._put) == 10

    async def test_aKeyOfSomebodyElse(self):
        """Of it nothing is known; the others are as they were."""
        store = await self.started()
        await store._link._speech.ask("LPUSH", f"{self.prefix}:app:list", "x")
        for name in (b"\xff\xfe", b"a b", b"a\r\nb", b"x" * 300, b"\xc3\xa4"):
            await store._link._speech.ask("SET", f"{self.prefix}:app:bad", name)
            assert await store.get(b"bad", 60.0) is None, name
            assert await store.claim(b"bad", "a", 60.0, "") is None, name
        assert await store.get(b"list", 60.0) is None
        assert await store.claim(b"list", "a", 60.0, "") is None
        store.put(b"c", "a", 60.0)
        assert await store.get(b"c", 60.0) == "a"
        assert self.told == []

    async def test_notTooManyAtOnce(self):
        self.patch(link, "MOST_ASKED", 5)
        store = await self.started()
        found = [store.get(b"%d" % number, 60.0) for number in range(8)]
        assert [one is None for one in found] == [False] * 5 + [True] * 3
        assert store.errors == 3
        assert await gatherResults(found[:5]) == [None] * 5
        assert await store.get(b"c", 60.0) is None
        assert store.errors == 3

    async def test_whoGoesAwayIsForgotten(self):
        store = await self.started()
        store.put(b"c", "a", 60.0)
        leaving, staying = store.get(b"c", 60.0), store.get(b"c", 60.0)
        ended = []
        leaving.addErrback(ended.append)
        leaving.cancel()
        assert len(ended) == 1
        assert await staying == "a"
        assert store._link._asked == {}


class AwayTests(Storing):
    """It goes away and comes back, and nobody waits for it."""

    async def test_whenNobodyIsThere(self):
        [port] = freePorts(1)
        store = self.begun(address=Address("127.0.0.1", port))
        await self.until(lambda: self.told)
        assert store.get(b"c", 60.0) is None
        assert store.claim(b"c", "a", 60.0, "") is None
        store.put(b"c", "a", 60.0)
        store.drop(b"c", "a")
        assert store.errors == 4
        self.assertRegex(self.told[0], f"^Redis at 127.0.0.1:{port} is away: .*refused")

    async def test_killedAndStartedAgain(self):
        """What it has forgotten it is told again."""
        with Stored() as server:
            address = Address("127.0.0.1", server.port)
            store = await self.started(address=address)
            store.put(b"c", "a", 60.0)
            assert await store.get(b"c", 60.0) == "a"
            asked = [store.get(b"c", 60.0) for _ in range(10)]
            server.kill()
            assert set(await gatherResults(asked)) <= {"a", None}
            await self.until(lambda: self.told)
            assert store.get(b"c", 60.0) is None
            server.again()
            await self.there(store)
            assert [line.partition(" is ")[2][:4] for line in self.told] == ["away", "back"]
            assert await store.get(b"c", 60.0) is None
            store.put(b"c", "a", 60.0)
            assert await store.get(b"c", 60.0) == "a"

    async def test_itDoesNotAnswerForAWhile(self):
        with Stored() as server:
            address = Address("127.0.0.1", server.port)
            store = await self.started(address=address, deadline=0.05)
            server.freeze()
            first, second = store.get(b"c", 60.0), store.claim(b"c", "a", 60.0, "")
            assert await first is None
            assert await second is None
            # The first that had no answer was enough.
            assert store.get(b"c", 60.0) is None
            server.thaw()
            await self.there(store)
            assert store._link.there
            assert [line.partition(": ")[2].partition(".")[0] for line in self.told] == [
                "no answer within 50 ms", ""
            ]  # fmt: skip

    async def test_itTakesForeverToBeThere(self):
        """Whether it does not accept, or accepts and says nothing."""
        self.patch(link, "GREETING", 0.05)
        self.patch(link, "PAUSE", 0.05)
        silent = Factory.forProtocol(Protocol)
        port = reactor.listenTCP(0, silent, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        accepting = Address("127.0.0.1", port.getHost().port)
        for endpoint in (None, _Hanging()):
            self.told.clear()
            store = RedisStore(self.options(address=accepting), Context(reactor, reactor.seconds))
            if endpoint is not None:
                store._link._endpoint = lambda: endpoint  # noqa: B023
            await store.start()
            [said] = self.told
            assert "it cannot be used within 0.05 s" in said
            assert store.get(b"c", 60.0) is None
            await task.deferLater(reactor, 0.2)
            assert self.told == [said]
            await maybeDeferred(store.stop)

    async def test_stoppedWhileItTakesForever(self):
        store = RedisStore(self.options(), Context(reactor, reactor.seconds))
        store._link._endpoint = _Hanging
        ready = store.start()
        await maybeDeferred(store.stop)
        assert ready.called
        assert self.told == []

    async def test_outOfMemory(self):
        with Stored(more=["--maxmemory", "1", "--maxmemory-policy", "noeviction"]) as server:
            store = self.begun(address=Address("127.0.0.1", server.port))
            await self.until(lambda: self.told)
            self.assertRegex(self.told[0], "OOM|memory")
            assert store.get(b"c", 60.0) is None


class _Hanging:
    """An endpoint where nobody answers."""

    def connect(self, factory):
        return Deferred(lambda done: done.errback(ConnectingCancelledError("nobody")))


class Hostile(Protocol):
    """A server that is no Redis: it says what it was told to, whatever it is asked."""

    def dataReceived(self, data):
        self.transport.write(self.factory.says)




class HostileTests(Storing):
    """What answers is no Redis."""

    @classmethod
    def setUpClass(cls):
        """No server is needed."""

    tearDownClass = setUpClass

    def serving(self, says):
        factory = Factory.forProtocol(Hostile)
        factory.says = says
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return Address("127.0.0.1", port.getHost().port)

    async def test_whatIsNoAnswer(self):
        for says in (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\xff\xfe\r\n",
            b"$99999999999\r\n", b"*99999999999\r\n", b"$x\r\n", b":x\r\n", b"$-7\r\nxx\r\n",
            b"x" * 100_000, b"*1\r\n" * 50_000, b"+" + b"x" * 20_000 + b"\r\n",
            b"+OK\r\n" * 1000, b"$65000\r\n" + b"x" * 200_000, b"-ERR no\r\n", b"-\r\n",
            b"-ERR \x1b[2J\x07no\r\n",
        ):  # fmt: skip
            self.told.clear()
            store = self.begun(address=self.serving(says))
            await self.until(lambda: self.told)
            assert store.get(b"c", 60.0) is None, says[:40]
            assert len(self.told[0]) < 400
            assert self.told[0].isprintable()
            await maybeDeferred(store.stop)
        assert self.flushLoggedErrors() == []

    async def test_otherAnswers(self):
        """They mean nothing: to nobody it is said that he has a server."""
        for says in (
            b"+OK\r\n", b":7\r\n", b":-7\r\n", b"*2\r\n:1\r\n:2\r\n", b"*0\r\n", b"*-1\r\n",
            b"$-1\r\n", b"$0\r\n\r\n", b"$3\r\na b\r\n", b"$2\r\n\xff\xfe\r\n",
        ):  # fmt: skip
            store = await self.started(SharedRedis, address=self.serving(says))
            keys, counts = store.persistence("app"), store.counts(b"n")
            assert await keys.get(b"c", 60.0) is None, says
            assert await keys.claim(b"c", "a", 60.0, "") is None, says
            assert await counts.take(b"c", 1.0, 1.0, True) in (None, 7e-6), says
            lease = await counts.enter(b"c", 5)
            assert lease.held is None, says
            await maybeDeferred(store.stop)
        assert self.flushLoggedErrors() == []


del StoreContract, Storing
