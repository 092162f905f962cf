"""
A store of persistence that is kept over a restart: in memory as L{lbtwist.stores.memory} has
it, and in a file of SQLite, which is read at the start and written behind.

One process has the file. What several balancers share is in a Redis.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from lbtwist.errors import StartError
from lbtwist.interfaces import IChangingStore, IPersistenceStore
from lbtwist.options import Integer, Path, option
from lbtwist.stores.memory import MemoryOptions, MemoryStore

if TYPE_CHECKING:
    from lbtwist.registry import Context

BEHIND = 1.0
"""Seconds that the file may be behind."""

PAUSE = 10.0
"""Seconds until it is written to again after that has failed."""

SWEEP = 60.0
"""Seconds between two looks for what has run out."""

BUSY = 2000
"""Milliseconds that another process is waited for, which may be about to end."""

# "lbtw": what SQLite keeps in the file to say whose it is.
_OURS = 0x6C627477
_VERSION = 1

# Of rows that somebody else has written: bytes, characters, and seconds.
_MOST = 256
_LONGEST = 1e9

_log = Logger()

Changes = dict[bytes, tuple[str, float]]
"""By key: the name and until when, in seconds since the epoch; C{""} if it was dropped."""


@attr.frozen
class SQLiteOptions:
    path: str = option(Path(), doc="The file; it is made if it is not there.", positional=True)
    size: int = option(
        Integer(1, 100_000_000), 1_000_000,
        "So many keys are known; beyond that whoever was not seen for longest is forgotten.",
    )  # fmt: skip


class _File:
    """
    The file. Its methods may be called by any thread, by one at a time.

    @ivar size: so many keys are kept in it.
    """

    def __init__(self, path: str, size: int) -> None:
        """
        @raise OSError: if there can be no such file.
        @raise sqlite3.Error: if it is none of ours, or somebody has it.
        """
        self.size = size
        # What SQLite makes beside it gets the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = database = sqlite3.connect(
            path, BUSY / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except BaseException:
            database.close()
            raise

    def _prepare(self) -> None:
        ask = self._database.execute
        # Held until the end, so that nobody else writes what would not be read here.
        ask("PRAGMA locking_mode = EXCLUSIVE")
        ask("PRAGMA journal_mode = WAL")
        ask("PRAGMA synchronous = NORMAL")
        ask("BEGIN EXCLUSIVE")
        [whose] = ask("PRAGMA application_id").fetchone()
        [version] = ask("PRAGMA user_version").fetchone()
        [tables] = ask("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and (whose != _OURS or version != _VERSION):
            raise sqlite3.DatabaseError("something else is in it")
        ask(f"PRAGMA application_id = {_OURS}")
        ask(f"PRAGMA user_version = {_VERSION}")
        ask(
            "CREATE TABLE IF NOT EXISTS clients"
            " (key BLOB PRIMARY KEY, name TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID"
        )
        ask("CREATE INDEX IF NOT EXISTS ends ON clients (until)")
        ask("COMMIT")

    def read(self, now: float, told: Callable[[bytes, str, float], object]) -> None:
        """@param told: what has not run out, those that do so next first."""
        found = self._database.execute(
            "SELECT key, name, until FROM (SELECT * FROM clients WHERE until > ?"
            " ORDER BY until DESC LIMIT ?) ORDER BY until",
            (now, self.size),
        )
        with closing(found):
            for key, name, until in found:
                if _isSound(key, name, until - now if isinstance(until, float) else -1.0):
                    told(key, name, until)

    def write(self, changes: Changes, sweep: float) -> None:
        """@param sweep: what ran out before this is forgotten; 0.0 to look for nothing."""
        known = [(key, name, until) for key, (name, until) in changes.items() if name]
        gone = [(key,) for key, (name, _) in changes.items() if not name]
        database = self._database
        # It commits, or rolls back where something fails.
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO clients VALUES (?, ?, ?)", known)
            database.executemany("DELETE FROM clients WHERE key = ?", gone)
            if sweep:
                self._sweep(sweep)

    def _sweep(self, now: float) -> None:
        ask = self._database.execute
        ask("DELETE FROM clients WHERE until <= ?", (now,))
        [count] = ask("SELECT count(*) FROM clients").fetchone()
        if count > self.size:
            ask(
                "DELETE FROM clients WHERE key IN"
                " (SELECT key FROM clients ORDER BY until LIMIT ?)",
                (count - self.size,),
            )

    def close(self) -> None:
        self._database.close()


def _isSound(key: Any, name: Any, left: float) -> bool:
    """Whether a row may be one that was written here."""
    sound = isinstance(key, bytes) and isinstance(name, str) and 0 < left < _LONGEST
    return sound and len(key) <= _MOST and len(name) <= _MOST


@implementer(IPersistenceStore, IChangingStore)
class SQLiteStore:
    """
    C{sqlite PATH}: answers from memory. A file that cannot be written to any more is told of,
    and clients notice nothing until the next start.

    @ivar errors: how often it could not be written.
    """

    Options = SQLiteOptions

    def __init__(self, options: SQLiteOptions, context: Context) -> None:
        self._memory = memory = MemoryStore(MemoryOptions(options.size), context)
        self.get, self.claim = memory.get, memory.claim
        self.put, self.drop = memory.put, memory.drop
        self.bound = memory.bound
        self.errors = 0
        self._path = options.path
        self._most = options.size
        self._reactor = context.reactor
        self._seconds = context.clock
        self._wallclock = context.wallclock
        self._file: _File | None = None
        self._pool: ThreadPool | None = None
        self._changes: Changes = {}
        self._writing: Deferred[None] | None = None
        self._timer: Any = None
        self._sweptAt = 0.0
        self._unswept = 0
        self._failing = False

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._path} {self.size} keys>"

    def becomes(self, options: SQLiteOptions) -> Callable[[], None] | None:
        return None if options.path != self._path else lambda: self._resize(options.size)

    def _resize(self, size: int) -> None:
        self._most = size
        self._memory.resize(size)
        if self._file is not None:
            self._file.size = size

    @property
    def size(self) -> int:
        return self._memory.size

    @property
    def most(self) -> int:
        """So many keys are known at the most."""
        return self._memory.most

    def entries(self) -> Iterator[tuple[bytes, str, float]]:
        """@return: as L{MemoryStore.entries} has them."""
        return self._memory.entries()

    def start(self) -> None:
        """@raise StartError: if it cannot be read, or somebody has it."""
        if self._file is not None:
            return
        file = None
        try:
            file = _File(self._path, self._most)
            self._read(file)
        except (OSError, sqlite3.Error) as error:
            if file is not None:
                file.close()
            raise StartError(f"{self._path}: {_why(Failure(error))}") from None
        self._file = file
        self._failing = False
        self._sweptAt = self._seconds()
        # Its own: one thread, so that one thing after the other is written.
        self._pool = ThreadPool(0, 1, "lbtwist-sqlite")
        self._pool.start()
        self._memory.changed = self._changed

    def _read(self, file: _File) -> None:
        now, put = self._wallclock(), self._memory.put
        file.read(now, lambda key, name, until: put(key, name, until - now))

    def stop(self) -> Deferred[None] | None:
        """@return: fires when everything is in the file."""
        if self._file is None:
            return None
        self._memory.changed = None
        self._cancel()
        done: Deferred[None] = Deferred()
        if self._writing is not None:
            # What has changed since is written when that is.
            self._writing.addBoth(lambda _: self._last(done))
        else:
            self._last(done)
        return done

    def _last(self, done: Deferred[None]) -> None:
        self._cancel()
        file, self._file = self._file, None
        assert file is not None
        if self._changes:
            self._write(file).addBoth(lambda _: self._close(file, done))
        else:
            # A thread would wait for a reactor, which never runs where the start has failed.
            self._close(file, done)

    def _close(self, file: _File, done: Deferred[None]) -> None:
        pool, self._pool = self._pool, None
        assert pool is not None
        file.close()
        # Its thread has told of its end, and is about to be idle.
        self._reactor.callLater(0, pool.stop)
        self._reactor.callLater(0, done.callback, None)

    # written behind

    def _changed(self, key: bytes, name: str, until: float) -> None:
        changes = self._changes
        changes[key] = (name, self._wallclock() + until - self._seconds() if name else 0.0)
        if len(changes) > self._most:
            del changes[next(iter(changes))]
        if self._timer is None and self._writing is None:
            self._timer = self._reactor.callLater(BEHIND, self._due)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _due(self) -> None:
        self._timer = None
        if self._file is not None:
            self._write(self._file)

    def _write(self, file: _File) -> Deferred[None]:
        """@return: fires when that was done, or could not be."""
        changes, self._changes = self._changes, {}
        now = self._seconds()
        sweep = 0.0
        self._unswept += len(changes)
        if now >= self._sweptAt + SWEEP or self._unswept >= self._most:
            self._sweptAt, self._unswept, sweep = now, 0, self._wallclock()
        assert self._pool is not None
        self._writing = writing = deferToThreadPool(
            self._reactor, self._pool, file.write, changes, sweep
        )
        return writing.addCallbacks(self._written, self._unwritten, errbackArgs=(changes,))

    def _written(self, result: None) -> None:
        self._writing = None
        if self._failing:
            self._failing = False
            _log.info("{path} is written to again", path=self._path)
        if self._changes and self._file is not None:
            self._timer = self._reactor.callLater(BEHIND, self._due)

    def _unwritten(self, failure: Failure, changes: Changes) -> None:
        self._writing = None
        self.errors += 1
        # What has changed since is newer.
        changes |= self._changes
        for key in list(islice(changes, max(len(changes) - self._most, 0))):
            del changes[key]
        self._changes = changes
        if not self._failing:
            self._failing = True
            _log.warn(
                "{path} cannot be written: {why}. Clients come back to their servers as long as"
                " this process runs", path=self._path, why=_why(failure),
            )  # fmt: skip
        if self._file is not None:
            self._timer = self._reactor.callLater(PAUSE, self._due)


def _why(failure: Failure) -> str:
    """@return: what is wrong with a file, and what to do, where that is known."""
    said = failure.getErrorMessage()
    if failure.check(OSError):
        return str(getattr(failure.value, "strerror", said))
    if "locked" in said:
        return (
            "somebody else has it: another balancer, or another pool. Give each its own file,"
            " or let them share a Redis: persist-store = redis HOST:PORT"
        )
    if "readonly" in said:
        return (
            "it cannot be written, or its directory cannot, where SQLite keeps a second file"
            " beside it"
        )
    if "not a database" in said or "malformed" in said or "something else" in said:
        return f"{said}: take it away, and it is made anew"
    return said
