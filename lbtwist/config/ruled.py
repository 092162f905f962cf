"""
Which rules a frontend or a pool has, of its own and of C{[rules NAME]}, and whether they
can be asked there. Which were probably not meant is said by L{lbtwist.config.doubts}.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import attr

from lbtwist.config.edge import HTTP_PERSISTENCE, TCP_ONLY
from lbtwist.config.fill import BAD, Scope, readBeside
from lbtwist.config.ini import Section, Word
from lbtwist.config.model import FrontendConfig, Part, PoolConfig, RuleLine
from lbtwist.config.rules import STAGES, Written, readConditions
from lbtwist.errors import Position
from lbtwist.interfaces import IPersistence
from lbtwist.logformat import LogFormat
from lbtwist.registry import Context, Registry
from lbtwist.rules.compiling import Typed
from lbtwist.rules.expression import Expression, ExpressionError
from lbtwist.rules.expression import Scope as Asking
from lbtwist.rules.rulebook import ASKED
from lbtwist.rules.template import Template
from lbtwist.rules.values import Stage


@attr.frozen(eq=False)
class Checked:
    """
    A line that can be asked where it stands.

    @ivar condition: L{None} if it holds always.
    """

    written: Written
    condition: Typed | None


class Rules:
    """
    The rules of one configuration while it is loaded: puts lists together, and finds what
    cannot be asked.

    @ivar conditions: those of C{[conditions]}.
    @ivar pools: what rules can name; filled while sections are read.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.conditions: dict[str, Expression] = {}
        self.pools: Mapping[str, PoolConfig] = {}
        self._places: dict[str, Position] = {}
        self._sections: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._used: set[str] = set()
        # Whether a line could not be read: nobody knows what it would have asked for.
        self._unread = False
        self._files: dict[tuple[str, str], str] = {}
        self._told: set[tuple[Position, str]] = set()

    def addConditions(self, section: Section, scope: Scope) -> None:
        for name, (condition, where) in readConditions(section, scope).items():
            if name not in self.conditions:
                self.conditions[name] = condition
                self._places[name] = where

    def addSection(self, name: str, lists: Mapping[str, tuple[Any, ...]]) -> None:
        """@param lists: what C{[rules NAME]} says."""
        self._sections.setdefault(name, dict(lists))

    def taken(self, values: dict[str, Any]) -> dict[str, list[Any]]:
        """
        Take the rules out of what a section says.

        @param values: by field, in written order; loses those of rules.
        @return: a L{Written} or L{BAD} for each line, by the names of L{STAGES}.
        """
        found: dict[str, list[Any]] = {name: [] for name in STAGES}
        for name, value in values.items():
            if name in STAGES:
                found[name] += value
            elif name == "rules":
                for word in value:
                    for of, lines in self._sections.get(word.text, {}).items():
                        found[of] += lines
        for name in (*STAGES, "rules"):
            values.pop(name, None)
        self._unread = self._unread or any(BAD in lines for lines in found.values())
        return found

    def checked(self, lines: Sequence[Any], name: str, scope: Scope, http: bool) -> list[Checked]:
        """
        @param lines: of L{taken}.
        @param name: of L{STAGES}.
        @param scope: of the frontend or the pool.
        @return: those lines with which nothing is wrong.
        """
        found = []
        for written in lines:
            if written is BAD:
                continue
            line = written.line
            within = scope.within(name).within(line.verb.name)
            asking = Asking(
                STAGES[name], http, self.conditions, partial(self._read, line.where),
                self.pools.__getitem__,
            )  # fmt: skip
            sound = True
            for option, one, word in written.asked:
                for tree in treesOf(one):
                    self._use(tree)
                try:
                    one.compiled(asking) if isinstance(one, Template) else one.check(asking)
                except ExpressionError as error:
                    self._tell(word, error, within.within(option))
                    sound = False
            typed = None
            if line.condition is not None:
                self._use(line.condition.tree)
                try:
                    typed = line.condition.check(asking)
                except ExpressionError as error:
                    self._tell(written.condition, error, within.within("if"))
                    sound = False
            if sound and self._makes(line, asking, within):
                found.append(Checked(written, typed))
        return found

    def checkParts(self, pool: PoolConfig, scope: Scope) -> None:
        """
        Tell what the balancer, the queue and the persistence of a pool ask for and cannot.
        Pools are not there to be asked for: they are made with their parts.
        """
        self._checkPart(pool, pool.balance, scope.within("balance"))
        self._checkPart(pool, pool.queue, scope.within("queue"))
        for part, option in (
            (pool.balance, "balance"), *((kind, "persist") for kind in pool.persist)
        ):  # fmt: skip
            if pool.mode == "http" and part.name in TCP_ONLY:
                scope.within(option).error(
                    part.where, f"{part.name} needs the first bytes of sessions: write mode = tcp"
                )
        for kind in pool.persist:
            within = scope.within("persist")
            if pool.mode == "tcp" and kind.name in HTTP_PERSISTENCE:
                within.error(kind.where, f"{kind.name} needs requests: write mode = http")
            elif self._checkPart(pool, kind, within):
                self._tryKind(pool, kind, within)
                self._doubtCookie(pool, kind, within)

    @staticmethod
    def _doubtCookie(pool: PoolConfig, kind: Part, scope: Scope) -> None:
        """Clients of servers that are one in plain cookies all come to the first of them."""
        if kind.name != "cookie" or not (kind.options.plain or kind.options.mode == "passive"):
            return
        first: dict[str, str] = {}
        for server in pool.servers:
            said = server.cookie or server.name
            other = first.setdefault(said, server.name)
            # A backup may stand in for another.
            if other != server.name and not server.backup:
                scope.warn(
                    server.where,
                    f"server {server.name} is {said} in cookies, as server {other}, which gets"
                    " its clients",
                )
        for template in pool.templates:
            if template.server.cookie and template.count > 1:
                scope.warn(
                    template.where,
                    f"all servers {template.name} are {template.server.cookie} in cookies: their"
                    " clients come to one of them; without cookie= each has its name",
                )

    def _tryKind(self, pool: PoolConfig, kind: Part, scope: Scope) -> None:
        """What a kind of persistence reads when it is made may be wrong, as a file."""
        context = Context(scope=self._askingOf(pool, kind))
        try:
            self._registry.find(IPersistence, kind.name).make(kind.options, context)
        except (OSError, ValueError) as error:
            scope.error(kind.where, str(error))

    def _askingOf(self, pool: PoolConfig, part: Part) -> Asking:
        return Asking(
            Stage.CONNECTION if pool.mode == "tcp" else Stage.REQUEST, pool.mode != "tcp",
            self.conditions, partial(self._read, part.where), _refusePool,
        )  # fmt: skip

    def _checkPart(self, pool: PoolConfig, part: Part, scope: Scope) -> bool:
        """@return: whether all that it asks for is there."""
        sound = True
        for option, one, word in part.asked:
            for tree in treesOf(one):
                self._use(tree)
            asking = self._askingOf(pool, part)
            try:
                one.compiled(asking) if isinstance(one, Template) else one.check(asking)
            except ExpressionError as error:
                self._tell(word, error, scope.within(part.name).within(option))
                sound = False
        return sound

    def checkFormat(self, frontend: FrontendConfig, scope: Scope) -> None:
        """Tell what says nothing of a log-format, or of structured data."""
        for name, format in (
            ("log-format", frontend.log_format), ("log-format-sd", frontend.log_format_sd)
        ):  # fmt: skip
            if format is not None:
                self._checkFormat(format, frontend, scope.within(name))

    def _checkFormat(self, format: LogFormat, frontend: FrontendConfig, scope: Scope) -> None:
        for expression in format.expressions:
            self._use(expression.tree)
        asking = Asking(
            Stage.LOG, frontend.mode == "http", self.conditions,
            partial(self._read, format.where), self.pools.__getitem__,
        )  # fmt: skip
        for where, message in format.check(asking):
            if (where, message) not in self._told:
                self._told.add((where, message))
                scope.error(where, message)

    def _makes(self, line: RuleLine, asking: Asking, scope: Scope) -> bool:
        """Whether the verb can be made; what it reads when it is made may be wrong."""
        interface, _ = ASKED[asking.stage]
        # Whether a pool exists is told of elsewhere.
        context = Context(scope=attr.evolve(asking, pool=lambda name: None))
        try:
            self._registry.find(interface, line.verb.name).make(line.verb.options, context)
        except (OSError, ValueError) as error:
            scope.error(line.verb.where, str(error))
            return False
        return True

    def _tell(self, word: Word, error: ExpressionError, scope: Scope) -> None:
        """What is wrong with a line that several have is told of once."""
        where = word.slice(error.at, error.at).where
        if (where, str(error)) not in self._told:
            self._told.add((where, str(error)))
            scope.error(where, str(error))

    def _read(self, where: Position, name: str) -> str:
        key = (where.file, name)
        if key not in self._files:
            self._files[key] = readBeside(where, name)
        return self._files[key]

    def namesOf(self, tree: ast.expr) -> set[str]:
        """@return: every name that an expression asks for, by conditions too."""
        found: set[str] = set()
        waiting = [tree]
        while waiting:
            names = {one.id for one in ast.walk(waiting.pop()) if isinstance(one, ast.Name)}
            waiting += [self.conditions[name].tree for name in names - found
                        if name in self.conditions]  # fmt: skip
            found |= names
        return found

    def poolsNamed(self, lines: Sequence[Any]) -> Iterator[tuple[str, Word | None]]:
        """
        @param lines: of L{taken}.
        @return: the name of each pool that a line chooses, and its word; without a word
            it may be any.
        """
        for written in lines:
            if written is BAD:
                yield "", None
            elif written.line.verb.name == "pool":
                for _, one, word in written.asked:
                    name = one.constant if isinstance(one, Template) else None
                    yield ("", None) if name is None else (name, word)

    def _use(self, tree: ast.expr) -> None:
        self._used |= self.namesOf(tree)

    def warnOfUnused(self, scope: Scope) -> None:
        for name, where in self._places.items():
            if name not in self._used and not self._unread:
                scope.within(name).warn(where, "is asked for by no rule")


def _refusePool(name: str) -> NoReturn:
    raise ExpressionError("a balancer can ask for no pool")


def treesOf(one: Template | Expression) -> list[ast.expr]:
    """@return: the expressions of a text."""
    if isinstance(one, Expression):
        return [one.tree]
    return [part[1].tree for part in one.parts if not isinstance(part, str)]


def linesOf(found: Sequence[Any]) -> tuple[RuleLine, ...]:
    """@param found: of L{Rules.taken}."""
    return tuple(one.line for one in found if one is not BAD)


def refuseRules(found: Sequence[Any], scope: Scope, why: str) -> None:
    """Tell that none of these lines has a place."""
    for one in linesOf(found):
        scope.within(one.verb.name).error(one.where, why)
