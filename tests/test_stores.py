"""Stores of persistence that need nobody else: in memory, and kept in a file."""

import os
import sqlite3
import stat
from unittest.mock import patch

import pytest
from twisted.internet import reactor, task
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from lbtwist.errors import StartError
from lbtwist.registry import Context
from lbtwist.stores import sqlite
from lbtwist.stores.memory import MemoryOptions, MemoryStore
from lbtwist.stores.sqlite import SQLiteOptions, SQLiteStore
from lbtwist.testing import StoreContract


class Hand:
    """A clock that a test sets."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class MemoryStoreTests(StoreContract, TestCase):
    def makeStore(self):
        self.hand = Hand()
        return MemoryStore(MemoryOptions(100), Context(clock=self.hand))

    def passTime(self, seconds):
        self.hand.now += seconds


class _Files(TestCase):
    """Stores in files, with a clock that a test sets; the thread that writes is real."""

    def setUp(self):
        self.path = self.mktemp()
        self.hand = Hand()
        self.epoch = Hand(1.7e9)
        self.delays = task.Clock()
        self.told = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event):
        if event.get("log_namespace") == "lbtwist.stores.sqlite":
            self.told.append(event["log_format"].format(**event))

    def started(self, **options):
        """@return: a store that is stopped at the end of the test."""
        context = Context(_Reactor(self.delays), self.hand, wallclock=self.epoch)
        store = SQLiteStore(SQLiteOptions(options.pop("path", self.path), **options), context)
        store.start()
        self.addCleanup(store.stop)
        return store

    def passTime(self, seconds):
        self.hand.now += seconds
        self.epoch.now += seconds
        self.delays.advance(seconds)

    async def behind(self, store):
        """What is behind is written."""
        self.passTime(sqlite.BEHIND)
        await self.written(store)

    async def written(self, store):
        while store._writing is not None:
            await task.deferLater(reactor, 0.001)


class _Reactor:
    """The reactor's threads, and delays that a test ends."""

    def __init__(self, delays):
        self._delays = delays
        self.callFromThread = reactor.callFromThread

    def callLater(self, delay, call, *args):
        which = self._delays if delay else reactor
        return which.callLater(delay, call, *args)


class SQLiteStoreTests(_Files, StoreContract):
    def makeStore(self):
        return self.started()


class KeptTests(_Files):
    async def restarted(self, store, after=0.0, **options):
        """@return: a new one, in a process whose clock begins elsewhere."""
        await store.stop()
        self.hand.now = 5.0
        self.epoch.now += after
        return self.started(**options)

    async def test_overARestart(self):
        store = self.started()
        store.put(b"\0\xff", "a", 60.0)
        store.put(b"moved", "a", 60.0)
        await self.behind(store)
        store.put(b"moved", "b", 60.0)
        assert store.claim(b"claimed", "a", 60.0, "") == "a"
        store.put(b"gone", "a", 60.0)
        store.drop(b"gone", "a")
        again = await self.restarted(store, 10.0)
        keys = (b"\0\xff", b"moved", b"claimed", b"gone")
        assert [again.get(key, 0.0) for key in keys] == ["a", "b", "a", None]
        assert (again.size, again.bound("a")) == (3, 2)

    async def test_timeGoesOnMeanwhile(self):
        store = self.started()
        store.put(b"short", "a", 60.0)
        store.put(b"long", "a", 100.0)
        again = await self.restarted(store, 61.0)
        assert (again.get(b"short", 0.0), again.get(b"long", 0.0)) == (None, "a")
        self.hand.now += 40.0
        assert again.get(b"long", 0.0) is None

    async def test_writtenBehind(self):
        """Many changes in one go, and nothing is written where nothing has changed."""
        store = self.started()
        for number in range(100):
            store.put(b"c", f"s{number}", 60.0)
        assert len(self.delays.getDelayedCalls()) == 1
        await self.behind(store)
        assert self.delays.getDelayedCalls() == []
        await store.stop()
        [row] = self.rows()
        assert row[:2] == (b"c", "s99")

    def rows(self):
        database = sqlite3.connect(self.path)
        found = database.execute("SELECT * FROM clients").fetchall()
        database.close()
        return found

    async def test_bounded(self):
        """What was seen last is kept; the file gets no longer than it."""
        store = self.started(size=10)
        for number in range(500):
            store.put(b"%d" % number, "a", 1000.0 + number)
            if not number % 10:
                await self.behind(store)
        store.put(b"last", "a", 2000.0)
        await store.stop()
        assert 10 <= len(self.rows()) <= 30
        again = self.started(size=3)
        assert again.size <= 3
        assert again.get(b"last", 0.0) == "a"

    async def test_anotherSize(self):
        """The file is this one's all the time, and what is in it goes on."""
        store = self.started(size=2)
        for number in range(2):
            store.put(b"%d" % number, "a", 60.0 + number)
        assert store.becomes(SQLiteOptions(self.path + "2", 5)) is None
        store.becomes(SQLiteOptions(self.path, 5))()
        assert store.most == 5
        for number in range(2, 6):
            store.put(b"%d" % number, "a", 60.0 + number)
        await store.stop()
        assert len(self.rows()) == 5
        again = self.started(size=5)
        again.becomes(SQLiteOptions(self.path, 3))()
        self.passTime(sqlite.SWEEP)
        again.put(b"9", "a", 90.0)
        await again.stop()
        assert {key for key, *_ in self.rows()} == {b"4", b"5", b"9"}

    async def test_whatHasRunOutLeavesTheFile(self):
        store = self.started()
        store.put(b"short", "a", 5.0)
        await self.behind(store)
        self.passTime(sqlite.SWEEP)
        store.put(b"long", "a", 60.0)
        await self.behind(store)
        await store.stop()
        assert [key for key, *_ in self.rows()] == [b"long"]

    async def test_itIsNobodyElses(self):
        store = self.started()
        store.put(b"c", "a", 60.0)
        await self.behind(store)
        for name in (self.path, f"{self.path}-wal"):
            assert stat.S_IMODE(os.stat(name).st_mode) == 0o600, name

    async def test_twoOfOneFile(self):
        self.patch(sqlite, "BUSY", 10)
        self.started()
        with pytest.raises(StartError, match=r"somebody else has it.*redis HOST:PORT"):
            self.started()

    async def test_itIsFreeAfterTheStop(self):
        store = self.started()
        await store.stop()
        assert store.stop() is None
        store.start()
        store.put(b"c", "a", 60.0)
        again = await self.restarted(store)
        assert again.get(b"c", 0.0) == "a"

    async def test_notAFileOfOurs(self):
        os.mkdir(self.path)
        bad = {
            "text": b"this is no database, but a text that is long enough" * 10,
            "empty": b"",
        }
        for name, content in bad.items():
            with open(f"{self.path}/{name}", "wb") as file:
                file.write(content)
        database = sqlite3.connect(f"{self.path}/other")
        database.execute("CREATE TABLE clients (x)")
        database.commit()
        database.close()
        for name, why in (
            ("text", "file is not a database: take it away"), ("other", "something else is in it"),
            ("no/such", "No such file or directory"), ("", "directory"),
        ):  # fmt: skip
            with pytest.raises(StartError, match=why) as raised:
                self.started(path=f"{self.path}/{name}")
            assert str(raised.value).startswith(f"{self.path}/{name}: ")
        self.started(path=f"{self.path}/empty").put(b"c", "a", 1.0)

    async def test_whereNothingCanBeWritten(self):
        """Nor beside it: whoever runs the tests may write anywhere."""
        failed = sqlite3.OperationalError("attempt to write a readonly database")
        prepare = patch.object(sqlite._File, "_prepare", side_effect=failed)
        with prepare, pytest.raises(StartError, match="or its directory cannot"):
            self.started()

    async def test_damagedInTheMiddle(self):
        store = self.started()
        for number in range(5000):
            store.put(b"%d" % number, "a", 60.0)
        await store.stop()
        with open(self.path, "r+b") as file:
            file.seek(8192)
            file.write(b"\xa5" * 32768)
        with pytest.raises(StartError, match=r"malformed.*: take it away"):
            self.started()

    async def test_theDiskIsFull(self):
        """Clients come back as before; it is said once, and again when it is written."""
        store = self.started()
        store.put(b"first", "a", 600.0)
        await self.behind(store)
        file, store._file = store._file, _Full()
        for _ in range(3):
            store.put(b"c", "a", 600.0)
            await self.behind(store)
            self.passTime(sqlite.PAUSE)
            await self.written(store)
        assert store.get(b"c", 600.0) == "a"
        assert store.errors >= 3
        [said] = self.told
        assert "cannot be written: database or disk is full." in said
        store._file = file
        self.passTime(sqlite.PAUSE)
        await self.written(store)
        assert self.told[1:] == [f"{self.path} is written to again"]
        again = await self.restarted(store)
        assert again.get(b"c", 0.0) == again.get(b"first", 0.0) == "a"

    async def test_whatIsNotWrittenIsBounded(self):
        store = self.started(size=10)
        file, store._file = store._file, _Full()
        for number in range(100):
            store.put(b"%d" % number, "a", 600.0)
        await self.behind(store)
        for number in range(100, 200):
            store.put(b"%d" % number, "a", 600.0)
        self.passTime(sqlite.PAUSE)
        await self.written(store)
        assert len(store._changes) <= 10
        assert b"199" in store._changes
        store._file = file

    async def test_aFileOfHostileRows(self):
        store = self.started()
        await store.stop()
        database = sqlite3.connect(self.path)
        rows = [(b"c", "a", 2e9), ("text", "a", 2e9), (b"b", b"\xff", 2e9), (b"d", "a", "soon"),
                (b"e", "a", float("inf")), (b"f", "a" * 1000, 2e9), (bytes(5000), "a", 2e9)]
        database.executemany("INSERT INTO clients VALUES (?, ?, ?)", rows)
        database.commit()
        database.close()
        again = self.started()
        assert again.get(b"c", 0.0) == "a"
        assert again.size == 1


class _Full:
    """A file on a disk that is full."""

    def write(self, changes, sweep):
        raise sqlite3.OperationalError("database or disk is full")


del _Files, StoreContract
