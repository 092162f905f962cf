"""
What a section says: its options one by one, each as the reader of its field takes it,
and the sections that they name.

Not here: what there is to write (L{lbtwist.config.sections}), and how what several
sections say fits together (L{lbtwist.config.load}).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import attr

from lbtwist.config.fill import BAD, Scope
from lbtwist.config.ini import Option, Section, Word
from lbtwist.config.model import Written
from lbtwist.config.rules import STAGES, namesIn
from lbtwist.config.sections import (
    KINDS,
    LISTED,
    MERGED,
    NAMED,
    NOT_IN_DEFAULTS,
    NOT_INHERITED,
    PREFERRED,
    READERS,
    REFERRING,
    STORE,
    USERS,
    fieldOf,
)
from lbtwist.config.values import itemsOf
from lbtwist.errors import Position, Problem
from lbtwist.interfaces import IPersistenceStore
from lbtwist.options import Name, suggestion
from lbtwist.registry import Registry


@attr.define
class Said:
    """
    What one section says to one class.

    @ivar values: by the names of fields; those of servers in C{server}.
    @ivar places: where each value starts.
    """

    values: dict[str, Any] = attr.field(factory=dict)
    places: dict[str, Position] = attr.field(factory=dict)

    def bad(self) -> set[str]:
        """@return: the fields whose values were not acceptable."""
        return self.places.keys() - self.values.keys()


class Reading:
    """
    Reads the sections of one configuration, and collects problems.

    @ivar found: see C{read} of L{Written}.
    """

    def __init__(
        self, registry: Registry, problems: list[Problem], before: Written | None = None
    ) -> None:
        """@param before: what need not be read again."""
        self._before = {} if before is None else before.read
        self.found: dict[tuple[type[Any], int], Any] = {}
        self._registry = registry
        self._problems = problems
        self._seen: dict[tuple[str, str], Position] = {}
        # What there is to refer to, and whether anybody has.
        kinds = "tls", "tcp", "store", "rules"
        self._referred: dict[str, dict[str, bool]] = {kind: {} for kind in kinds}

    def known(self, sections: Iterable[Section]) -> list[tuple[Section, Scope]]:
        """
        @return: those whose kind there is, under its preferred word. All of them can be
            referred to from now on.
        """
        known = [section for section in map(self._under, sections) if section is not None]
        for section, _ in known:
            if section.kind in self._referred and section.name:
                self._referred[section.kind][section.name] = False
        return known

    def warnOfUnused(self, known: Iterable[tuple[Section, Scope]]) -> None:
        """@param known: those that nothing has referred to are told of."""
        for section, scope in known:
            # One that is there twice is told of once.
            if self._referred.get(section.kind, {}).pop(section.name, True) is False:
                scope.warn(section.where, f"is used by no {USERS[section.kind]}")

    def _under(self, section: Section) -> tuple[Section, Scope] | None:
        """@return: the section under its preferred kind; L{None} if there is no such kind."""
        scope = Scope(str(section), self._problems)
        kind = self._preferred(section.kind, section.where, scope)
        if kind not in KINDS:
            scope.error(section.where, f"unknown section {kind!r}{suggestion(kind, KINDS)}")
            return None
        if kind in NAMED:
            if not section.name:
                scope.error(section.where, f"needs a name: [{section.kind} NAME]")
            else:
                self._checkedName(section, scope)
        elif section.name:
            scope.error(section.where, f"takes no name: write [{kind}]")
        first = self._seen.setdefault((kind, section.name), section.where)
        if first is not section.where:
            scope.error(section.where, f"is there twice, first at {first}")
        return attr.evolve(section, kind=kind), scope

    def _checkedName(self, section: Section, scope: Scope) -> None:
        try:
            Name().parse(section.name)
        except ValueError as error:
            scope.error(section.where, str(error))

    def _preferred(self, word: str, where: Position, scope: Scope) -> str:
        if word not in PREFERRED:
            return word
        scope.warn(where, f"the preferred word for {word!r} is {PREFERRED[word]!r}")
        return PREFERRED[word]

    def read(self, section: Section, scope: Scope) -> dict[type[Any], Said]:
        """@return: what the section says to each class of its kind."""
        classes = KINDS[section.kind]
        said = {cls: Said() for cls in classes}
        seen: dict[tuple[str, str], Position] = {}
        for option in section.options:
            word = option.word
            if section.kind == "pool":
                word = self._preferred(word, option.where, scope)
            owners = [cls for cls in classes if word in READERS[cls]]
            if section.kind == "defaults":
                owners = [cls for cls in owners if (cls, word) not in NOT_INHERITED]
            if section.kind == "defaults" and word in NOT_IN_DEFAULTS:
                scope.error(option.where, f"{word} has no place in [defaults]")
                continue
            if not owners or (option.name and word not in LISTED):
                self._unknown(section, option, scope)
                continue
            written = f"{word} {option.name}" if option.name else word
            first = seen.setdefault((word, option.name), option.where)
            if first is not option.where:
                scope.error(option.where, f"{written}: is there twice, first at {first}")
            begins = self._place(word, option, scope.within(written))
            for cls in owners:
                value = self._value(cls, word, option, scope.within(written))
                if word in STAGES and value is not BAD:
                    self._referRules(value, scope.within(written))
                name = fieldOf(word)
                said[cls].places[name] = begins
                if value is BAD and len(owners) > 1:
                    break
                if word in LISTED:
                    said[cls].values.setdefault(name, []).append(value)
                elif name in MERGED and value is not BAD:
                    said[cls].values.setdefault(name, {}).update(value)
                elif value is not BAD:
                    said[cls].values[name] = value
        return said

    def _place(self, word: str, option: Option, scope: Scope) -> Position:
        """
        Find the sections that an option names.

        @return: where its value begins.
        """
        key = Option, id(option)
        known: Position | None = self._before.get(key)
        if known is None:
            words = option.words
            known = words[0].where if words else option.where
            if self._refer(word, option, scope):
                return known
        # It names none.
        self.found[key] = known
        return known

    def _value(self, cls: type[Any], word: str, option: Option, scope: Scope) -> Any:
        key = cls, id(option)
        if key in self._before:
            value = self.found[key] = self._before[key]
            return value
        count = len(self._problems)
        value = READERS[cls][word](option, scope, self._registry)
        if len(self._problems) == count:
            self.found[key] = value
        return value

    def _refer(self, word: str, option: Option, scope: Scope) -> bool:
        """@return: whether an option names sections, or may."""
        named = [(scope, word, found) for found in option.words if word in self._referred]
        if word == "rules":
            named = [(scope, word, found) for found in namesIn(option)]
        listed = word in ("bind", "admin")
        words = chain.from_iterable(itemsOf(option)) if listed else option.words
        for pair in (found.pair for found in words):
            if pair is not None and pair[0] in REFERRING.get(word, ()):
                named.append((scope.within(pair[0]), *pair))
        for within, kind, found in named:
            self._mark(kind, found, within)
        if word == STORE and option.words:
            kinds = self._registry.names(IPersistenceStore)
            if option.words[0].text not in kinds and len(option.words) == 1:
                self._mark("store", option.words[0], scope, kinds)
        return bool(named) or word == STORE

    def _referRules(self, lines: Iterable[Any], scope: Scope) -> None:
        """Find the sections that rules name."""
        for written in lines:
            if written is not BAD:
                for kind, name, found in written.named:
                    within = scope.within(written.line.verb.name).within(name)
                    self._mark(kind, found, within)

    def _mark(self, kind: str, found: Word, scope: Scope, others: Iterable[str] = ()) -> None:
        """@param others: what could have been written as well."""
        known = self._referred[kind]
        if found.text in known:
            known[found.text] = True
        elif Name.good(found.text):
            hint = suggestion(found.text, {*known, *others})
            scope.error(found.where, f"there is no [{kind} {found.text}]{hint}")

    def _unknown(self, section: Section, option: Option, scope: Scope) -> None:
        written = f"{option.word} {option.name}" if option.name else option.word
        # HAProxy writes "timeout connect".
        word = f"{option.word}-{option.name}" if option.name else option.word
        known = {word for cls in KINDS[section.kind] for word in READERS[cls]}
        if section.kind == "defaults":
            known -= NOT_IN_DEFAULTS
        elsewhere = [
            f"[{kind} NAME]" if kind in NAMED else f"[{kind}]"
            for kind, classes in KINDS.items()
            if any(word in READERS[cls] for cls in classes)
            and not (kind == "defaults" and word in NOT_IN_DEFAULTS)
        ]
        if word == "include":
            hint = "; it stands at the top of a file, before any [SECTION]"
        elif elsewhere and word not in known:
            hint = f"; {word} stands in {' or '.join(elsewhere)}"
        else:
            hint = suggestion(written, known)
        scope.error(option.where, f"unknown option {written!r}{hint}")
