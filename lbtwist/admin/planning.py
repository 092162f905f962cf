"""
The verb C{plan}: what another file would change in a balancer that runs, and how much that
concerns, in words. It changes nothing.

What is different is L{lbtwist.config.difference}'s, and what is wrong with a file
L{lbtwist.admin.proving}'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Thread
from typing import Any, NoReturn, TypeVar

import attr
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbtwist.admin.proving import isFile, objectOf, prove
from lbtwist.admin.sessions import Running, allRunning
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Severity, Verb, inOneLine
from lbtwist.config.difference import ADDED, REMOVED, Difference, Entry, difference
from lbtwist.config.load import load
from lbtwist.draining import leftIn
from lbtwist.errors import Problem
from lbtwist.events import plain
from lbtwist.registry import Registry, installed
from lbtwist.service import LoadBalancer

Read = TypeVar("Read")

MOST_PROBLEMS = 200
"""Problems of a file that are told of; how many more there are is said."""

AT_ONCE = 2
"""Files that are read at once."""

LIMIT = 20.0
"""Seconds after which nobody waits any longer for a file to be read."""


@attr.frozen
class Touched:
    """
    What has to do with something now. Nothing of it ends: what runs goes on as it began,
    or by what has changed.

    @ivar connections: of clients, of a frontend.
    @ivar sessions: exchanges that hold a slot, of a pool or a server; tunnels among them.
    @ivar queued: exchanges that wait for one.
    @ivar bound: clients that would come back to a server; -1 where that cannot be known.
    """

    connections: int = 0
    sessions: int = 0
    queued: int = 0
    bound: int = 0

    def said(self, leaving: bool) -> str:
        """@param leaving: it is no more when they are done."""
        runs = [_count(self.connections, "connection"), _count(self.sessions, "session")]
        if leaving:
            one = self.connections + self.sessions == 1
            end = "ends when it is done" if one else "end when they are done"
            runs = [run and f"{run} {end}" for run in runs]
        parts = [*runs, f"{self.queued} queued" if self.queued else ""]
        if leaving and self.bound > 0:
            parts.append(f"{_count(self.bound, 'client')} bound to it")
        return ", ".join(filter(None, parts))


NOTHING = Touched()


@attr.frozen
class Plan:
    """
    What a file would change.

    @ivar problems: warnings; with errors there would be no plan.
    @ivar touched: for each entry of the difference; L{None} if nothing runs.
    @ivar connections: of clients that have to do with any of it.
    """

    difference: Difference
    problems: Sequence[Problem] = ()
    touched: Sequence[Touched] | None = None
    connections: int = 0

    @property
    def lines(self) -> list[str]:
        """In words; the last line sums it up."""
        found = [inOneLine(str(problem)) for problem in self.problems]
        entries = self.difference.entries
        for entry, touched in zip(entries, self.touched or [NOTHING] * len(entries), strict=True):
            found += entry.lines(touched.said(entry.what == REMOVED))
        last = self.difference.summary
        if self.touched is not None and entries:
            last += f"; {_count(self.connections, 'connection') or 'no connection'} touched"
        return [*found, last]

    def asObjects(self) -> dict[str, Any]:
        """@return: of what JSON has."""
        found = self.difference.asObjects()
        if self.touched is not None:
            for entry, touched in zip(found["entries"], self.touched, strict=True):
                entry["touched"] = attr.asdict(touched)
            found["connections"] = self.connections
        return {
            "running": self.touched is not None, **found,
            "problems": list(map(objectOf, self.problems)), "lines": self.lines,
        }  # fmt: skip


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""


def planFor(
    balancer: LoadBalancer, found: Difference, running: Iterable[Running],
    problems: Sequence[Problem] = (),
) -> Plan:  # fmt: skip
    """
    @param found: between what a balancer runs and what is planned.
    @param running: all that runs.
    @param problems: warnings of it.
    """
    frontends: set[str] = set()
    pools: set[str] = set()
    servers: set[tuple[str, str]] = set()
    for entry in found.entries:
        for label in (entry.label, *entry.users):
            kind, _, name = label.partition(" ")
            if kind == "frontend":
                frontends.add(name)
            elif kind == "pool":
                pools.add(name)
            elif kind in ("server", "servers"):
                servers.update(_members(balancer, kind, name))
    touched = [_touched(balancer, entry) for entry in found.entries]
    connections = sum(
        one.frontend in frontends or one.pool in pools
        or (one.pool, one.server or one.waitsFor) in servers
        for one in running
    )  # fmt: skip
    return Plan(found, problems, touched, connections)


def _members(balancer: LoadBalancer, kind: str, name: str) -> list[tuple[str, str]]:
    """@return: pool and server for what is called C{POOL/NAME}."""
    proxy, _, name = name.partition("/")
    if kind == "server":
        return [(proxy, name)]
    pool = balancer.pools.get(proxy)
    return [
        (proxy, server.name)
        for membership in (pool.memberships if pool is not None else ())
        if membership.config.name == name
        for server in membership.servers.values()
    ]


def _touched(balancer: LoadBalancer, entry: Entry) -> Touched:
    if entry.what == ADDED:
        return NOTHING
    if entry.kind == "frontend":
        frontend = balancer.frontends.get(entry.name)
        return NOTHING if frontend is None else Touched(frontend.inbound.active)
    if entry.kind == "pool":
        pool = balancer.pools.get(entry.name)
        return NOTHING if pool is None else Touched(0, pool.active, pool.queued)
    if entry.kind in ("server", "servers"):
        return _servers(balancer, _members(balancer, entry.kind, entry.name))
    return NOTHING


def _servers(balancer: LoadBalancer, members: Sequence[tuple[str, str]]) -> Touched:
    sessions = queued = bound = 0
    for proxy, name in members:
        pool = balancer.pools.get(proxy)
        server = None if pool is None else next((s for s in pool.servers if s.name == name), None)
        if pool is None or server is None:
            continue
        left = leftIn(pool, server)
        sessions += left.sessions
        queued += pool.queuedFor(server)
        bound = -1 if left.bound < 0 or bound < 0 else bound + left.bound
    return Touched(0, sessions, queued, bound)


class Reading:
    """
    Files that are read, each in a thread of its own: one that takes its time holds up nobody,
    and not the end of the process either.
    """

    def __init__(self) -> None:
        self.active = 0

    def read(self, reactor: Any, run: Callable[[], Read]) -> Deferred[Read]:
        """@raise Refused: if too many are read already."""
        if self.active >= AT_ONCE:
            raise Refused("Other files are being read: ask again.")
        self.active += 1
        found: Deferred[Read] = Deferred()

        def done(result: Any) -> None:
            self.active -= 1
            if not found.called:
                found.callback(result)

        def work() -> None:
            try:
                result: Any = run()
            except Exception:
                result = Failure()
            reactor.callFromThread(done, result)

        Thread(target=work, name="lbtwist-plan", daemon=True).start()
        return found


READING = Reading()


async def plan(asked: Asked, words: Sequence[str]) -> Answer:
    """C{plan <path>}: what this file would change."""
    if len(words) != 1:
        raise Refused("Required argument: the path of a file.")
    path = words[0]
    if not os.path.isabs(path):
        raise Refused("The path has to be absolute: it is read by the balancer.")
    if not isFile(path):
        raise Refused(f"{plain(path)!r} is no file that the balancer can find.")
    balancer = asked.balancer
    registry = balancer.registry or installed()
    before = balancer.config
    reading = READING.read(balancer.reactor, lambda: prove(path, registry, before))
    proved = await reading.addTimeout(LIMIT, balancer.reactor, late)
    if proved.config is None:
        return broken(proved.problems)
    found = await allRunning(balancer)
    made = planFor(
        balancer, difference(balancer.config, proved.config), found, proved.problems
    )
    return Answer("\n".join(made.lines) + "\n", made.asObjects)


def compared(old: str, new: str, registry: Registry) -> Answer:
    """
    As L{plan}, where nothing runs.

    @param old: the file of what would run.
    @param new: the file that would take its place.
    @raise ConfigError: if the first of them cannot be used.
    """
    before, _ = load(old, registry)
    proved = prove(new, registry, before)
    if proved.config is None:
        return broken(proved.problems)
    made = Plan(difference(before, proved.config), proved.problems)
    return Answer("\n".join(made.lines) + "\n", made.asObjects)


def late(result: object, seconds: float) -> NoReturn:
    """@raise Refused: nobody waits any longer."""
    raise Refused(f"It has not been read in {seconds:g} s.")


def broken(problems: Sequence[Problem]) -> Answer:
    """@return: that a file cannot be used, and why."""
    lines = [inOneLine(str(problem)) for problem in problems[:MOST_PROBLEMS]]
    count = sum(problem.severity == "error" for problem in problems)
    if len(problems) > len(lines):
        lines.append(f"and {len(problems) - len(lines)} more")
    lines.append(f"{_count(count, 'error')}: nothing would change")
    value: Mapping[str, Any] = {"problems": list(map(objectOf, problems[:MOST_PROBLEMS]))}
    return Answer("\n".join(lines) + "\n", value, Severity.ERROR)


VERBS = (
    Verb(
        "plan <path>", "what the file would change, and how many it concerns", Level.OPERATOR, plan
    ),
)
