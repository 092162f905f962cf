"""
Adds servers, pools, frontends and whole sections of a configuration to the one that runs, and
takes them away. The verbs for it are L{lbtwist.admin.adding}'s.

What becomes of the text is L{lbtwist.config.amending}'s, and what of that which runs
L{lbtwist.applying}'s: it is a reload of a configuration that is in no file. The file stays as it
is, and its next reload takes back what it does not say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import attr

from lbtwist.admin.finding import frontendNamed, poolNamed, serverNamed
from lbtwist.admin.planning import LIMIT, MOST_PROBLEMS, Reading, late
from lbtwist.admin.spelling import checked, named, sectionText, serverWords
from lbtwist.admin.verbs import Answer, Refused, Severity, inOneLine
from lbtwist.config.amending import (
    CannotAmend,
    Change,
    amended,
    asWord,
    keyOf,
    merging,
    textFor,
    told,
    withBind,
    without,
    withoutBind,
    withoutServer,
)
from lbtwist.config.difference import Difference
from lbtwist.config.fill import BAD, Scope
from lbtwist.config.ini import Option, Section
from lbtwist.config.model import Config
from lbtwist.config.sections import LISTED, PREFERRED
from lbtwist.config.values import readBind
from lbtwist.errors import ConfigError, Problem, StartError
from lbtwist.events import plain
from lbtwist.health import Admin
from lbtwist.pool import Pool
from lbtwist.registry import Registry, installed
from lbtwist.server import Server
from lbtwist.service import LoadBalancer

TRIES = 5
"""So often a change is made anew because what runs has become another configuration meanwhile."""

Made = tuple[Config, list[Problem]]

READING = Reading()


class Unfit(Refused):
    """
    The configuration that would come of it cannot be used.

    @ivar problems: what is wrong with it.
    """

    def __init__(self, problems: Sequence[Problem], lines: bool) -> None:
        """@param lines: whether it came of text with several lines."""
        self._told = [inOneLine(told(one, lines)) for one in problems[:MOST_PROBLEMS]]
        if len(problems) > len(self._told):
            self._told.append(f"and {len(problems) - len(self._told)} more")
        super().__init__("; ".join(self._told))
        self.problems = problems

    @property
    def answer(self) -> Answer:
        text = "".join(f"{one}\n" for one in (*self._told, "Nothing was changed."))
        return Answer(text, {"problems": self._told}, Severity.ERROR)


@attr.frozen
class Amended:
    """
    What has changed.

    @ivar warnings: of what was added.
    """

    difference: Difference
    warnings: Sequence[str] = ()

    def answer(self, *text: str) -> Answer:
        """@param text: lines that say that it was done."""
        lines = [*text, *self.warnings]
        value = {
            "summary": self.difference.summary, "changes": self.difference.lines,
            "warnings": list(self.warnings),
        }  # fmt: skip
        return Answer("".join(f"{inOneLine(one)}\n" for one in lines), value, Severity.INFO)


async def amend(
    balancer: LoadBalancer, make: Callable[[Config, Registry], Made],
    check: Callable[[], object] = lambda: None, lines: bool = False,
) -> Amended:  # fmt: skip
    """
    Put another configuration in the place of the one that runs, made of that one; one after the
    other, and wait until workers go by it. Until it is in its place it can be cancelled.

    @param make: makes it, in a thread, and raises L{ConfigError} or L{CannotAmend}.
    @param check: is called right before, with nothing in between; raises L{Refused} if it
        cannot be.
    @param lines: whether it is made of text with several lines.
    @raise Refused: if it cannot be; nothing has changed then. L{Unfit} for what is wrong with
        the text.
    """
    check()
    lock, registry = balancer.amending, balancer.registry or installed()
    await lock.acquire()
    try:
        for _ in range(TRIES):
            before = balancer.config
            config, warnings = await _made(balancer, partial(make, before, registry), lines)
            if balancer.config is before:
                said = [told(one, lines) for one in warnings]
                found = _applied(balancer, config, check)
                return Amended(found, [*said, *await balancer.settled()])
        raise Refused("What runs has become another configuration again and again: ask again.")
    finally:
        lock.release()


async def _made(balancer: LoadBalancer, make: Callable[[], Made], lines: bool) -> Made:
    _checkNow(balancer)
    reading = READING.read(balancer.reactor, make)
    try:
        return await reading.addTimeout(LIMIT, balancer.reactor, late)
    except ConfigError as broken:
        errors = [one for one in broken.problems if one.severity == "error"]
        raise Unfit(errors, lines) from None
    except CannotAmend as wrong:
        raise Refused(f"{str(wrong)[:1].upper()}{str(wrong)[1:]}.") from None


def _checkNow(balancer: LoadBalancer) -> None:
    """@raise Refused: if this is not the time."""
    if not balancer.running or any(
        frontend.inbound.draining for frontend in balancer.frontends.values()
    ):
        raise Refused("The balancer is about to end.")
    renewal = balancer.renewal
    if renewal is not None and renewal.waiting is not None:
        raise Refused(
            f"Reload {renewal.waiting.number} waits to be confirmed for {renewal.left:.0f} s more,"
            " and would take this back: confirm it or roll it back first."
        )


def _applied(
    balancer: LoadBalancer, config: Config, check: Callable[[], object]
) -> Difference:
    _checkNow(balancer)
    check()
    try:
        found = balancer.apply(config)
    except StartError as failed:
        raise Refused(f"{failed}.") from None
    if balancer.renewal is not None and not found.empty:
        # Until the file is read again.
        balancer.renewal.differs = True
    return found


def _changed(change: Change) -> Callable[[Config, Registry], Made]:
    return lambda config, registry: amended(config, change, registry)


def _added(
    text: str, change: Callable[[Sequence[Section]], Change] = merging, plainly: bool = True
) -> Callable[[Config, Registry], Made]:
    """
    @param change: given the sections of the text, what becomes of those there are.
    @param plainly: whether the environment has no part in it.
    """

    def make(config: Config, registry: Registry) -> Made:
        document = textFor(config, text, {} if plainly else os.environ)
        return amended(config, change(document.sections), registry, document.problems)

    return make


# servers


async def addServer(balancer: LoadBalancer, pool: str, name: str, words: Sequence[str]) -> Amended:
    """
    @param words: the address, and what may follow it, in HAProxy's words or ours. It begins in
        maintenance, unless C{enabled} is among them.
    @raise Refused: as L{amend}.
    """
    if not words:
        raise Refused(f"'server' expects <name> and <addr>[:<port>] for {pool}.")
    address, *following = words
    checked([address])
    options, enabled = serverWords(pool, following)
    line = " ".join((asWord(address), *options))
    text = f"[pool {pool}]\nserver {named('server', name)} = {line}\n"

    def check() -> None:
        if _namedIn(balancer, pool, name) is not None:
            raise Refused("Already exists a server with the same name in backend.")

    done = await amend(balancer, _added(text), check)
    found = balancer.pools[pool]
    server = found.find(name)
    wanted = Admin.READY if enabled else Admin.MAINT
    if server.health.admin != wanted:
        # It had gone and had something to do yet, and is the same as it was.
        balancer.administration.setState(found, server, wanted)
    return done


def _namedIn(balancer: LoadBalancer, pool: str, name: str) -> Server | None:
    """@return: the server of that name, unless it is about to go for good."""
    for server in poolNamed(balancer, pool).servers:
        if server.name == name and not server.leaving:
            return server
    return None


async def deleteServer(
    balancer: LoadBalancer, pool: str, name: str, force: bool = False
) -> Amended:
    """
    @param force: even if it works: it gets nobody new then, and is gone when what it has to do
        is done.
    @raise Refused: as L{amend}.
    """
    found, _ = serverNamed(balancer, [f"{pool}/{name}"])

    def check() -> None:
        server = _namedIn(balancer, pool, name)
        if server is None:
            raise Refused("No such server.")
        for membership in found.memberships:
            if server in membership.servers.values():
                raise Refused("Its source says that it is there: servers"
                              f" {membership.config.name} in [pool {pool}].")  # fmt: skip
        if not force:
            _checkIdle(found, server)

    return await amend(balancer, _changed(withoutServer(pool, name)), check)


def _checkIdle(pool: Pool, server: Server) -> None:
    where = f"{pool.name}/{server.name}"
    if server.health.inForce != Admin.MAINT:
        raise Refused(
            "Only servers in maintenance mode can be deleted: 'disable server"
            f" {where}' (or 'lbtwist drain {where}' first), or 'force'."
        )
    if server.sessions or server.active:
        raise Refused(
            "Server still has connections attached to it, cannot remove it: 'wait 60s"
            f" srv-removable {where}', 'shutdown sessions server {where}', or 'force'."
        )


# pools and frontends


async def addPool(balancer: LoadBalancer, name: str, words: Sequence[str]) -> Amended:
    """
    @param words: C{like POOL}, whose options, not its servers, it has; C{OPTION VALUE}.
    @raise Refused: as L{amend}.
    """
    return await _addSection(balancer, "pool", name, words, balancer.pools, ("from",))


async def addFrontend(balancer: LoadBalancer, name: str, words: Sequence[str]) -> Amended:
    """
    @param words: C{like FRONTEND}, whose options, not its addresses, it has; C{OPTION VALUE}.
    @raise Refused: as L{amend}.
    """
    return await _addSection(balancer, "frontend", name, words, balancer.frontends, ())


async def _addSection(
    balancer: LoadBalancer, kind: str, name: str, words: Sequence[str],
    known: Iterable[str], ignored: Sequence[str],
) -> Amended:  # fmt: skip
    like: list[str] = []

    def special(word: str, rest: Iterator[str]) -> bool:
        if word != "like" and word not in ignored:
            return False
        value = next(rest, "")
        if word == "like":
            like.append(value)
        return True

    text = sectionText(kind, named(kind, name), words, special)
    for one in like:
        if one not in known:
            raise Refused(f"There is no {kind} {plain(one)!r} to be like.")
    if len(like) > 1:
        raise Refused("It can be like one only.")

    def check() -> None:
        if name in known:
            raise Refused(f"A {kind} of this name is there already.")

    def change(more: Sequence[Section]) -> Change:
        def both(sections: Sequence[Section]) -> Sequence[Section]:
            alike = [one for one in sections if like and keyOf(one) == (kind, like[0])]
            own = [attr.evolve(more[0], options=_options(one)) for one in alike]
            return merging(more)([*sections, *own])

        return both

    return await amend(balancer, _added(text, change), check)


def _options(section: Section) -> list[Option]:
    """@return: those that another one can have as well."""
    return [
        one for one in section.options
        if PREFERRED.get(one.word, one.word) not in (*LISTED, "bind")
    ]  # fmt: skip


async def deletePool(balancer: LoadBalancer, name: str) -> Amended:
    """What runs with its servers comes to its end. @raise Refused: as L{amend}."""
    if name not in balancer.pools:
        raise Refused("No such backend.")
    try:
        return await amend(balancer, _changed(without("pool", name)))
    except Unfit as unfit:
        users = [f"{one.where}: {_user(one.message)}" for one in unfit.problems]
        raise Refused(f"It is named yet, by {'; '.join(users)}.") from None


def _user(message: str) -> str:
    """@return: who says what a problem is about."""
    return message.partition(": there is no")[0]


async def deleteFrontend(balancer: LoadBalancer, name: str) -> Amended:
    """What runs on its connections comes to its end. @raise Refused: as L{amend}."""
    frontendNamed(balancer, [name])
    return await amend(balancer, _changed(without("frontend", name)))


async def addBind(balancer: LoadBalancer, name: str, words: Sequence[str]) -> Amended:
    """
    @param words: an address, and what may follow it in a file.
    @raise Refused: as L{amend}.
    """
    frontendNamed(balancer, [name])
    if not words:
        raise Refused("An address is expected.")
    checked(words)
    text = f"[frontend {name}]\nbind = {' '.join(words)}\n"

    def change(more: Sequence[Section]) -> Change:
        return withBind(name, more[0].options[0])

    return await amend(balancer, _added(text, change))


async def deleteBind(balancer: LoadBalancer, name: str, address: str) -> Amended:
    """@raise Refused: as L{amend}."""
    frontendNamed(balancer, [name])
    registry = balancer.registry or installed()

    def matches(option: Option) -> bool:
        if option.words[0].text == address:
            return True
        binds = readBind(option, Scope("", []), registry)
        return binds is not BAD and len(binds) == 1 and str(binds[0]) == address

    return await amend(balancer, _changed(withoutBind(name, matches)))


# everything


async def addConfig(balancer: LoadBalancer, text: str) -> Amended:
    """
    @param text: sections as in a file. Of one that is there already the options that it says
        replace those of the same name.
    @raise Refused: as L{amend}.
    """
    return await amend(balancer, _added(text, plainly=False), lines=True)
