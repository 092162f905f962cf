"""
The options of a pool whose values name parts that may ask for what the rules language
knows: C{balance}, C{persist}; and C{persist-store}, which asks for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attr
from zope.interface.interface import InterfaceClass

from lbtwist.config.fill import BAD, Scope, fill
from lbtwist.config.ini import Option, Word
from lbtwist.config.model import Part
from lbtwist.config.rules import askedOf, divided
from lbtwist.config.values import classOf, separated
from lbtwist.interfaces import IBalancer, IPersistence, IPersistenceStore, ISharedStore
from lbtwist.options import Name
from lbtwist.registry import Registry
from lbtwist.rules.expression import ExpressionError


def readBalance(option: Option, scope: Scope, registry: Registry) -> Any:
    words = _words(option, scope, "a balancer has no condition")
    if words is BAD:
        return BAD
    if not words:
        scope.error(option.where, "needs a word, as roundrobin")
        return BAD
    return _part(IBalancer, words, scope, registry)


def readStore(option: Option, scope: Scope, registry: Registry) -> Any:
    if not option.words:
        scope.error(option.where, "needs a word, as memory")
        return BAD
    word, *more = option.words
    if not more and word.text not in registry.names(IPersistenceStore) and Name.good(word.text):
        # A [store NAME]; whether there is one is told of where it is looked for.
        return Part(word.text, None, where=word.where)
    return _part(IPersistenceStore, option.words, scope, registry)


def readShared(option: Option, scope: Scope, registry: Registry) -> Any:
    """Read what a C{[store NAME]} is."""
    if not option.words:
        scope.error(option.where, "needs a word and an address: redis HOST:PORT")
        return BAD
    return _part(ISharedStore, option.words, scope, registry)


def readPersist(option: Option, scope: Scope, registry: Registry) -> Any:
    """Read a chain of persistence: kinds, separated by commas, or one to a line."""
    kinds: list[list[Word]] = []
    for line in option.lines:
        words = _words(
            attr.evolve(option, lines=[line]), scope,
            "persistence has no condition: rules can ignore-persist",
        )  # fmt: skip
        if words is BAD:
            return BAD
        kinds += separated(words)
    if not kinds:
        scope.error(option.where, "needs a word, as source")
        return BAD
    found: list[Any] = []
    for kind in kinds:
        if kind[0].text != "off":
            found.append(_part(IPersistence, kind, scope, registry))
        elif len(kinds) > 1 or len(kind) > 1:
            scope.error(kind[0].where, "off stands alone")
            return BAD
    if BAD in found:
        return BAD
    seen: set[str] = set()
    for part in found:
        if part.name in ("cookie", "source", "destination") and part.name in seen:
            scope.error(part.where, f"{part.name} is there already")
            return BAD
        seen.add(part.name)
    return tuple(found)


def _words(option: Option, scope: Scope, complaint: str) -> Any:
    """
    @param complaint: what is said of a condition.
    @return: the words of a value; what is in braces is of one word.
    """
    words: list[Word] = []
    for line in option.lines:
        try:
            more, condition = divided(line)
        except ExpressionError as error:
            scope.error(attr.evolve(line.where, column=line.columns[error.at]), str(error))
            return BAD
        if condition is not None:
            scope.error(condition.where, complaint)
            return BAD
        words += more
    return words


def _part(
    makes: InterfaceClass, words: Sequence[Word], scope: Scope, registry: Registry
) -> Any:
    """@return: the L{Part} that words name, the first of them it, or L{BAD}."""
    word, *words = words
    cls = classOf(makes, word, scope, registry)
    said: dict[str, list[Word]] = {}
    options = fill([cls], words, word.where, scope, said=said) if cls is not BAD else None
    if options is None:
        return BAD
    asked = tuple(askedOf(options[0], said))
    return Part(word.text, options[0], where=word.where, asked=asked)
