"""
What a pool says of its queue: who is a tenant in it, and what does not go together with it or
with the limits that exchanges wait for. Nobody waits here: that is L{lbtwist.queueing}'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.config.fill import BAD, Scope, fill, readBeside
from lbtwist.config.ini import Line, Option
from lbtwist.config.ini import Word as Said
from lbtwist.config.model import Part
from lbtwist.errors import Position
from lbtwist.options import Integer, Kind, Path, option, suggestion
from lbtwist.rules.expression import Expression, ExpressionError
from lbtwist.rules.tables import mapping
from lbtwist.rules.template import Template, closing

if TYPE_CHECKING:
    from lbtwist.config.model import PoolConfig
    from lbtwist.registry import Registry

FIFO = "fifo"
FAIR = "fair"

_WEIGHT = Integer(1, 256)
_NEEDS = "needs an expression: fair(EXPRESSION)"


class Weighed(Kind[tuple[tuple[str, int], ...]]):
    """A key and its weight: C{gold:4}."""

    form = "KEY:NUMBER"
    repeats = True

    def parse(self, text: str) -> tuple[tuple[str, int], ...]:
        key, colon, number = text.rpartition(":")
        if not colon:
            raise ValueError(f"{text!r} is no key and its weight: write gold:4")
        return ((key, _WEIGHT.parse(number)),)


@attr.frozen
class FairOptions:
    """
    What may follow C{queue = fair(EXPRESSION)}.

    @ivar by: says whose an exchange is.
    @ivar table: the weights of all keys that have one of their own, from the options and the
        file; of several of one key the first.
    """

    by: Template
    table: tuple[tuple[str, int], ...] = ()
    weight: tuple[tuple[str, int], ...] = option(
        Weighed(), (), "The weight of one key; may be given several times."
    )
    weights: str = option(Path(), "", "A file with a key and its weight in each line.")


def readQueue(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: a L{Part}, C{fifo}, or C{fair} with its options."""
    if not option.lines:
        scope.error(option.where, "needs a value: fifo or fair(EXPRESSION)")
        return BAD
    line, *more = option.lines
    found = re.match(r"fair\s*\(", line.text)
    if found is None:
        return _plain(option, scope)
    begin = found.end()
    try:
        end = closing(line.text, begin - 1, "there is a '(' without its ')'")
    except ExpressionError as error:
        _refuse(line, error.at, error, scope)
        return BAD
    text = line.text[begin:end].strip()
    begin += len(line.text[begin:end]) - len(line.text[begin:end].lstrip())
    try:
        if text.startswith("{") and closing(text, 0) == len(text) - 1:
            text = f"({text[1:-1]})"
        if not text:
            raise ExpressionError(_NEEDS)
        by = Expression.parse(text)
    except ExpressionError as error:
        _refuse(line, begin + error.at, error, scope)
        return BAD
    last = begin + len(text)
    said = Said(
        text, line.marks[begin:last], line.columns[begin:last],
        attr.evolve(line.where, column=line.columns[begin]),
    )  # fmt: skip
    rest = Line(line.text[end + 1 :], line.marks[end + 1 :], line.columns[end + 1 :], line.where)
    words = [word for one in (rest, *more) for word in one.words()]
    template = Template(text, ((0, by),))
    made = fill([FairOptions], words, line.where, scope, {"by": template})
    if made is None:
        return BAD
    options = _weighed(made[0], words, scope)
    if options is BAD:
        return BAD
    return Part(FAIR, options, where=line.where, asked=(("by", template, said),))


def _refuse(line: Line, at: int, error: ExpressionError, scope: Scope) -> None:
    column = line.columns[min(at, len(line.columns) - 1)]
    scope.error(attr.evolve(line.where, column=column), str(error))


def _plain(option: Option, scope: Scope) -> Any:
    word, *more = option.words
    if word.text == FAIR:
        scope.error(word.where, _NEEDS)
    elif word.text != FIFO:
        known = (FIFO, f"{FAIR}(EXPRESSION)")
        scope.error(word.where, f"unknown {word.text!r}{suggestion(word.text, known)}")
    elif more:
        scope.error(more[0].where, "nothing follows fifo")
    else:
        return Part(FIFO, None, where=word.where)
    return BAD


def _weighed(options: FairOptions, words: list[Said], scope: Scope) -> Any:
    """@return: the options with the weights that the file says."""
    table = dict(options.weight)
    if len(table) < len(options.weight):
        scope.within("weight").error(words[0].where, "one key has two weights")
        return BAD
    if options.weights:
        where = next(w.pair[1].where for w in words if w.pair and w.pair[0] == "weights")
        try:
            found = mapping(readBeside(where, options.weights))
            for key, number in found.items():
                table.setdefault(key, _WEIGHT.parse(number))
        except OSError as error:
            wrong = f"{options.weights!r} cannot be read: {error.strerror}"
            scope.within("weights").error(where, wrong)
            return BAD
        except ValueError as error:
            scope.within("weights").error(where, f"{options.weights!r}: {error}")
            return BAD
    return attr.evolve(options, table=tuple(sorted(table.items())))


def checkQueue(
    pool: PoolConfig, said: Mapping[str, Position], bad: set[str], scope: Scope
) -> None:
    """
    @param said: where the pool's own values are, by the names of fields.
    @param bad: fields whose values were not acceptable.
    """
    if "queue" in bad:
        return
    if pool.maxqueue_per_key and pool.queue.name != FAIR and "maxqueue_per_key" in said:
        scope.within("maxqueue-per-key").error(
            said["maxqueue_per_key"], "says nothing without keys: write queue = fair(EXPRESSION)"
        )
    if "fullconn" in said and not any(server.minconn for server in pool.members):
        scope.within("fullconn").error(
            said["fullconn"], "says nothing without a server with minconn; add that or remove this"
        )
