"""
Which regular expressions are safe to try on what clients send.

Python tries the ways in which a text can match one after the other. What is looked for
here is how many there can be. A regular expression is taken for its positions, the places
where it takes one character, and for which position can follow which (Glushkov 1961):

  - In a repetition each character must say which position comes next. Where two could,
    the ways double with each round, as they do in C{(a+)+} and C{(a|a)*}.
  - Of repetitions that follow each other, and could share the same text between them, each
    makes the time grow by the length of the text once more, as in C{.*a.*b.*c}. So does the
    search for where to begin, without a C{^}. Twice is accepted.

What is refused might be harmless; what is accepted is not slow.
"""

from __future__ import annotations

import re
import warnings
from itertools import pairwise
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import attr

_MOST_POSITIONS = 1000
# A repetition of so few positions is a sequence like any other.
_UNROLLED = 8
# A longer one counts as one without bound.
_BOUND = 64
# What each of them costs, and how much is accepted: twice the length of a text.
_ENDLESS, _BOUNDED, _ACCEPTED = 2, 1, 4
# So often may two positions follow outside of repetitions: each doubles the ways.
_MOST_CHOICES = 8

# Any character of a text stands in for those that are treated alike.
_SAMPLE = [chr(code) for code in range(128)] + list(
    "\x85\xa0\xb5\xc9\xdf\xe9\u0131\u017f\u03bc\u0663\u212a\u3000\u4e2d\uff12\udc80\U0001f600"
)


def slowness(pattern: str) -> str:
    """
    Why a regular expression could take a long time for what a client sends; C{""} if it
    could not.
    """
    try:
        with warnings.catch_warnings():
            # Who compiles it is told.
            warnings.simplefilter("ignore")
            parsed = _parser.parse(pattern)
        if _Automaton(parsed, parsed.state.flags).cost() > _ACCEPTED:
            return (
                f"{pattern!r} could take long for a long text, because its repetitions can share"
                " it: begin it with ^, let them take different characters, or make them"
                " possessive (*+, ++)"
            )
    except _ForEver:
        return (
            f"{pattern!r} repeats what repeats, or matches in several ways, and could take for"
            " ever: make what is inside possessive (*+, ++), or let each of its parts begin with a"
            " different character"
        )
    except (re.error, RecursionError, OverflowError):
        return f"{pattern!r} is not a regular expression"
    return ""


class _ForEver(Exception):
    """The ways multiply."""


@attr.frozen
class _Part:
    """
    A part of a regular expression.

    @ivar first: the positions it can begin with.
    @ivar last: those it can end with.
    @ivar empty: whether it can match nothing.
    """

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    empty: bool = True


@attr.frozen
class _Loop:
    """A repetition in no other: its positions, and what it costs."""

    start: int
    end: int
    cost: int


class _Automaton:
    """
    @ivar masks: of each position the characters it takes, as bits.
    @ivar following: of each position those that can come after it.
    """

    def __init__(self, parsed: Any, flags: int, searched: bool = True) -> None:
        self._flags = flags
        self._alphabet = _alphabet(parsed)
        self._all = (1 << len(self._alphabet)) - 1
        self.masks: list[int] = []
        self.following: list[list[int]] = []
        self._loops: list[_Loop] = []
        self._depth = 0
        self._inner = 0
        self._choices = 0
        items = list(parsed)
        self._anchored = not searched
        while items and str(items[0][0]) == "AT" and _isBegin(str(items[0][1]), flags):
            self._anchored = True
            items.pop(0)
        self._whole = self._sequence(items)

    # from the parsed expression to positions

    def _position(self, mask: int) -> _Part:
        if len(self.masks) >= _MOST_POSITIONS:
            raise _ForEver
        self.masks.append(mask)
        self.following.append([])
        only = (len(self.masks) - 1,)
        return _Part(only, only, False)

    def _joined(self, one: _Part, other: _Part) -> _Part:
        """One after the other."""
        for position in one.last:
            self.following[position] += other.first
        return _Part(
            one.first + other.first if one.empty else one.first,
            one.last + other.last if other.empty else other.last,
            one.empty and other.empty,
        )

    def _sequence(self, items: Any) -> _Part:
        found = _Part()
        for op, argument in items:
            found = self._joined(found, self._part(str(op), argument))
        return found

    def _either(self, parts: list[_Part]) -> _Part:
        if sum(part.empty for part in parts) > 1:
            self._emptiness()
        return _Part(
            tuple(one for part in parts for one in part.first),
            tuple(one for part in parts for one in part.last),
            any(part.empty for part in parts),
        )

    def _part(self, op: str, argument: Any) -> _Part:
        if op in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._position(self._mask(op, argument))
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeated(*argument)
        if op == "SUBPATTERN":
            return self._sequence(argument[3])
        if op == "BRANCH":
            return self._either([self._sequence(one) for one in argument[1]])
        if op == "GROUPREF_EXISTS":
            return self._either([self._sequence(one or ()) for one in argument[1:]])
        if op == "POSSESSIVE_REPEAT":
            return self._alone(argument[2], argument[0] == 0)
        if op == "ATOMIC_GROUP":
            return self._alone(argument, False)
        if op in ("ASSERT", "ASSERT_NOT"):
            self._alone(argument[1], False, kept=False)
        # What is looked at without being taken, and what was matched before, can be anything.
        return self._position(self._all)

    def _alone(self, body: Any, empty: bool, kept: bool = True) -> _Part:
        """What is never tried again in another way stands for one position."""
        inner = _Automaton(body, self._flags)
        self._inner = max(self._inner, inner.cost())
        if not kept:
            return _Part()
        mask = 0
        for one in inner.masks:
            mask |= self._maskOf(one, inner._alphabet)
        found = self._position(mask)
        return attr.evolve(found, empty=empty or inner._whole.empty)

    def _maskOf(self, mask: int, alphabet: str) -> int:
        """A mask of another alphabet: what may be meant by it."""
        known = {char for index, char in enumerate(alphabet) if mask >> index & 1}
        other = set(alphabet)
        return sum(
            1 << index
            for index, char in enumerate(self._alphabet)
            if char in known or char not in other
        )

    def _repeated(self, least: int, most: int, body: Any) -> _Part:
        least, most = int(least), int(most)
        start = len(self.masks)
        self._depth += most > 1
        found = self._sequence(body)
        self._depth -= most > 1
        size = len(self.masks) - start
        if most <= 1:
            return attr.evolve(found, empty=found.empty or not least) if most else _Part()
        if found.empty and (least > 1 or most != _parser.MAXREPEAT):
            self._emptiness(most)
        if size * most <= _UNROLLED:
            # Repetitions in it are in no other, which they were taken for.
            del self.masks[start:], self.following[start:]
            copies = [self._sequence(body) for _ in range(most)]
            found = copies[0]
            for one, other in pairwise(copies):
                self._joined(one, other)
            ends = copies[max(least - 1, 0) :]
            return _Part(
                found.first, tuple(last for one in ends for last in one.last),
                found.empty or not least,
            )  # fmt: skip
        for position in found.last:
            self.following[position] += found.first
        for position in range(start, len(self.masks)):
            if self._several(position, start):
                raise _ForEver
        if not self._depth:
            cost = _ENDLESS if most > _BOUND else _BOUNDED
            self._loops.append(_Loop(start, len(self.masks), cost))
        return attr.evolve(found, empty=found.empty or not least)

    def _emptiness(self, times: int = 1) -> None:
        """So many times there are several ways to take nothing."""
        if self._depth:
            raise _ForEver
        self._choices += times

    def _several(self, position: int, start: int = 0) -> bool:
        """Whether a character can be taken by two of those that follow a position."""
        taken = 0
        for other in self.following[position]:
            if other >= start:
                if taken & self.masks[other]:
                    return True
                taken |= self.masks[other]
        return False

    # characters

    def _mask(self, op: str, argument: Any) -> int:
        if op == "ANY":
            return self._all
        items = argument if op == "IN" else [("LITERAL", argument)]
        found = {char for char in self._alphabet if _among(char, items)}
        if op == "NOT_LITERAL" or str(items[0][0]) == "NEGATE":
            found = set(self._alphabet) - found
        if self._flags & re.IGNORECASE:
            found = {one for char in found for one in _cases(char)}
        return sum(1 << index for index, char in enumerate(self._alphabet) if char in found)

    # what it costs

    def cost(self) -> int:
        """
        @return: how its time grows; see L{_ACCEPTED}.
        @raise _ForEver: if the ways multiply.
        """
        looped = {one for loop in self._loops for one in range(loop.start, loop.end)}
        choices = self._choices + sum(
            self._several(position) for position in range(len(self.masks)) if position not in looped
        )
        if choices > _MOST_CHOICES:
            raise _ForEver
        costs: list[int] = []
        for index, loop in enumerate(self._loops):
            # If it can end there, it has matched, and nothing else is tried.
            own = 0 if any(loop.start <= one < loop.end for one in self._whole.last) else loop.cost
            before = [
                costs[earlier]
                for earlier, other in enumerate(self._loops[:index])
                if self._share(other, loop)
            ]
            if not self._anchored and self._share(None, loop):
                before.append(_ENDLESS)
            costs.append(own + max(before, default=0))
        return max([self._inner, *costs])

    def _share(self, one: _Loop | None, other: _Loop) -> bool:
        """Whether a text that C{one} can take leads to C{other}, which can take it as well."""
        common = self._taken(other)
        starts = list(self._whole.first)
        if one is not None:
            common &= self._taken(one)
            starts = [
                following
                for position in range(one.start, one.end)
                for following in self.following[position]
            ]
        if not common:
            return False
        seen: set[int] = set()
        while starts:
            position = starts.pop()
            if position not in seen and self.masks[position] & common:
                if other.start <= position < other.end:
                    return True
                seen.add(position)
                starts += self.following[position]
        return False

    def _taken(self, loop: _Loop) -> int:
        found = 0
        for position in range(loop.start, loop.end):
            found |= self.masks[position]
        return found


def _isBegin(where: str, flags: int) -> bool:
    return where == "AT_BEGINNING_STRING" or (where == "AT_BEGINNING" and not flags & re.MULTILINE)


def _alphabet(parsed: Any) -> str:
    """The sample, and every character an expression names."""
    found = dict.fromkeys(_SAMPLE)
    waiting = [parsed]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (list, tuple, _parser.SubPattern)):
            if len(one) == 2 and str(one[0]) in ("LITERAL", "NOT_LITERAL"):
                found.update(dict.fromkeys(_cases(chr(one[1]))))
            elif len(one) == 2 and str(one[0]) == "RANGE":
                for code in one[1]:
                    found.update(dict.fromkeys(_cases(chr(code))))
            else:
                waiting += list(one)
    return "".join(found)


def _cases(char: str) -> set[str]:
    found = {char, char.lower(), char.upper(), char.casefold()}
    if char in "kK\u212a":
        found |= set("kK\u212a")
    elif char in "sS\u017f":
        found |= set("sS\u017f")
    elif char in "iI\u0131\u0130":
        found |= set("iI\u0131\u0130")
    return {one for one in found if len(one) == 1}


_CATEGORIES = {
    name: (re.compile(escape), re.compile(escape, re.ASCII))
    for name, escape in {
        "CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s",
        "CATEGORY_NOT_SPACE": r"\S", "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
    }.items()
}  # fmt: skip


def _among(char: str, items: Any) -> bool:
    for op, argument in items:
        name = str(op)
        if name == "LITERAL" and ord(char) == argument:
            return True
        if name == "RANGE" and argument[0] <= ord(char) <= argument[1]:
            return True
        if name == "CATEGORY" and any(one.match(char) for one in _CATEGORIES[str(argument)]):
            return True
    return False
