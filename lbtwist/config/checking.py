"""
What C{check =} says: one check, or several combined, and when they are run.

C{and} binds closer than C{or}; C{{...}} is any number of times::

    CHECK = SOME {TIMING}
    SOME  = ALL {or ALL}
    ALL   = ONE {and ONE}
    ONE   = ( SOME ) | N of ( SOME {, SOME} ) | PART
    PART  = NAME[:REST] {OPTION}

A bracket is one where a check may begin, and where one that was opened so can be closed; one
that is closed in its own word, as in C{body-regex=^(a|b)}, is a part of it. A comma divides
the first words of checks, and is at the end of others. In quotes all of these, and C{and} and
C{or}, are text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attr

from lbtwist.config.fill import BAD, Scope, fill, optionFields
from lbtwist.config.ini import PLAIN, QUOTED, Option, Word
from lbtwist.config.model import CheckOptions, CheckPart, Combination, Part, PartAt
from lbtwist.config.values import classOf
from lbtwist.errors import Position
from lbtwist.interfaces import IHealthCheck
from lbtwist.options import Integer, option
from lbtwist.registry import Registry

MOST = 16
"""The most checks of one C{check =}, and the most brackets in one another."""


@attr.frozen
class _PortOptions:
    """What each part may say, whatever it is."""

    port: int = option(Integer(0, 65535), 0, "Ask this port; 0 is the server's own.")


_TIMING = optionFields(CheckOptions).keys() - optionFields(_PortOptions).keys()


class _Wrong(Exception):
    """It is not as it has to be written."""

    def __init__(self, where: Position, message: str) -> None:
        super().__init__(message)
        self.where = where


@attr.frozen(eq=False)
class _Single:
    """
    One check.

    @ivar last: nothing follows it, not even a bracket.
    """

    words: list[Word]
    last: bool


@attr.frozen(eq=False)
class _Several:
    least: int
    parts: list[_Tree]


_Tree = _Single | _Several


class _Parsing:
    """
    Words to a tree of checks.

    @ivar left: the words that are not read yet.
    """

    def __init__(self, words: list[Word]) -> None:
        self.left = deque(words)
        self._end = words[-1].where
        self._singles = 0
        # Of each bracket that is open: whether commas divide what is in it.
        self._lists: list[bool] = []

    def tree(self) -> _Tree:
        """@raise _Wrong: if it is none."""
        return self._joined("or", lambda: self._joined("and", self._one))

    def _joined(self, word: str, read: Callable[[], _Tree]) -> _Tree:
        parts = [read()]
        while self._keyword(word):
            parts.append(read())
        if len(parts) == 1:
            return parts[0]
        return _Several(1 if word == "or" else len(parts), parts)

    def _one(self) -> _Tree:
        opened = self._sign("(")
        if opened is not None:
            [inner] = self._bracketed(opened, False)
            # What follows the bracket is not of the one check in it.
            return _Several(1, [inner]) if isinstance(inner, _Single) else inner
        word = self.left[0] if self.left else None
        if word is None or QUOTED in word.marks or not _isNumber(word.text):
            return self._single()
        self.left.popleft()
        opened = self._sign("(") if self._keyword("of") else None
        if opened is None:
            raise _Wrong(word.where, f"{word.text!r} is no check: write N of (CHECK, CHECK, ...)")
        parts = self._bracketed(opened, True)
        least = int(word.text[:9])
        if not 0 < least <= len(parts):
            raise _Wrong(word.where, f"{word.text} of {len(parts)}: 1 to {len(parts)} is accepted")
        return _Several(least, parts)

    def _bracketed(self, opened: Word, listed: bool) -> list[_Tree]:
        """@param listed: whether there may be several, with commas between them."""
        if len(self._lists) == MOST:
            raise _Wrong(opened.where, f"more than {MOST} brackets in one another")
        self._lists.append(listed)
        found = [self.tree()]
        while listed and self._sign(",") is not None:
            found.append(self.tree())
        if self._sign(")") is None:
            if not self.left:
                raise _Wrong(opened.where, "this ( is not closed")
            word = self.left[0]
            raise _Wrong(word.where, f"{word.text!r}: and, or or ) is expected here")
        self._lists.pop()
        return found

    def _single(self) -> _Single:
        words: list[Word] = []
        while self.left and not self._ends(self.left[0]):
            word = self.left.popleft()
            end = self._endOf(word, not words)
            words.append(word.slice(0, end) if end < len(word.text) else word)
            if end < len(word.text):
                self.left.appendleft(word.slice(end, len(word.text)))
                break
        if not words:
            where = self.left[0].where if self.left else self._end
            before = f" before {self.left[0].text!r}" if self.left else " at the end"
            raise _Wrong(where, f"there is no check{before}")
        self._singles += 1
        if self._singles > MOST:
            raise _Wrong(words[0].where, f"more than {MOST} checks in one")
        return _Single(words, not self.left and not self._lists)

    # signs and words

    def _sign(self, sign: str) -> Word | None:
        """@return: a sign that the next word begins with; it is taken from it."""
        word = self.left[0] if self.left else None
        if word is None or not _begins(word, sign):
            return None
        self.left.popleft()
        if len(word.text) > 1:
            self.left.appendleft(word.slice(1, len(word.text)))
        return word

    def _keyword(self, text: str) -> bool:
        """Whether the next word is this one, which is taken; a bracket may follow at once."""
        if not self.left or not _says(self.left[0], text):
            return False
        word = self.left.popleft()
        if len(word.text) > len(text):
            self.left.appendleft(word.slice(len(text), len(word.text)))
        return True

    def _ends(self, word: Word) -> bool:
        """Whether a word is not of the check before it."""
        if _says(word, "and") or _says(word, "or"):
            return True
        if not self._lists:
            return False
        return _begins(word, ")") or (self._lists[-1] and _begins(word, ","))

    def _endOf(self, word: Word, first: bool) -> int:
        """@return: how many characters of a word are of its check."""
        if not self._lists:
            return len(word.text)
        depth = 0
        end = len(word.text)
        for index, (char, mark) in enumerate(zip(word.text, word.marks, strict=True)):
            if mark == QUOTED:
                continue
            depth += (char == "(") - (char == ")")
            if depth < 0 or (char == "," and first and self._lists[-1]):
                end = index
                break
        if self._lists[-1] and end and word.text[end - 1] == "," and word.marks[end - 1] == PLAIN:
            end -= 1
        return end


def _begins(word: Word, sign: str) -> bool:
    return word.text.startswith(sign) and word.marks[0] == PLAIN


def _says(word: Word, text: str) -> bool:
    found = word.text == text or word.text.startswith(f"{text}(")
    return found and QUOTED not in word.marks[: len(text) + 1]


# words to values


def readCheck(option: Option, scope: Scope, registry: Registry) -> Any:
    if not option.words:
        scope.error(option.where, "needs a word: tcp, http or off")
        return BAD
    word, *words = option.words
    if word.text == "off":
        if words:
            scope.error(words[0].where, "nothing follows off")
        return None
    parsing = _Parsing(option.words)
    try:
        tree = parsing.tree()
    except _Wrong as wrong:
        scope.error(wrong.where, str(wrong))
        return BAD
    if isinstance(tree, _Single):
        return _alone(tree, scope, registry)
    timing = list(parsing.left)
    if timing and (_begins(timing[0], ")") or _begins(timing[0], ",")):
        scope.error(timing[0].where, f"{timing[0].text!r}: there is no ( for it")
        return BAD
    probe = _combination(tree, timing, scope, registry)
    made = fill([CheckOptions], timing, word.where, scope)
    return BAD if probe is BAD or made is None else CheckPart(probe, made[0])


def _alone(single: _Single, scope: Scope, registry: Registry) -> Any:
    name, cls, words = _named(single.words, scope, registry)
    where = single.words[0].where
    options = fill([CheckOptions, cls], words, where, scope) if cls is not BAD else None
    if options is None:
        return BAD
    timing, probe = options
    return CheckPart(Part(name, probe, where=where), timing)


def _combination(tree: _Several, timing: list[Word], scope: Scope, registry: Registry) -> Any:
    parts = [
        _partAt(part, timing, scope, registry)
        if isinstance(part, _Single)
        else _combination(part, timing, scope, registry)
        for part in tree.parts
    ]
    return BAD if BAD in parts else Combination(tree.least, tuple(parts))


def _partAt(single: _Single, timing: list[Word], scope: Scope, registry: Registry) -> Any:
    """@param timing: gets what follows the last part and is of all of them."""
    name, cls, words = _named(single.words, scope, registry)
    own = []
    sound = True
    for word in words:
        pair = word.pair
        if pair is None or pair[0] not in _TIMING:
            own.append(word)
        elif single.last:
            timing.append(word)
        else:
            scope.error(word.where, f"{pair[0]} is of the whole check: write it at its end")
            sound = False
    where = single.words[0].where
    made = fill([_PortOptions, cls], own, where, scope) if cls is not BAD else None
    if made is None or not sound:
        return BAD
    return PartAt(Part(name, made[1], where=where), made[0].port)


def _named(words: list[Word], scope: Scope, registry: Registry) -> tuple[str, Any, list[Word]]:
    """
    @param words: C{NAME} or C{NAME:REST}, and options.
    @return: the name, the class of the options or L{BAD}, and all options.
    """
    word, *options = words
    name, colon, _ = word.text.partition(":")
    cls = classOf(IHealthCheck, word.slice(0, len(name)) if colon else word, scope, registry)
    if cls is BAD or not colon:
        return name, cls, options
    rest = word.slice(len(name) + 1, len(word.text))
    if not rest.text:
        scope.error(word.where, f"needs something after {word.text}")
        return name, BAD, options
    if _isNumber(rest.text):
        return name, cls, [_option("port", rest), *options]
    positional = [one for one in optionFields(cls).items() if one[1].metadata["positional"]]
    if not positional:
        scope.error(rest.where, f"{rest.text!r} is not a port: write {name}:PORT")
        return name, BAD, options
    fitting = [key for key, field in positional if _takes(field, rest.text)]
    return name, cls, [_option((fitting or [positional[-1][0]])[0], rest), *options]


def _isNumber(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _takes(field: attr.Attribute[Any], text: str) -> bool:
    try:
        value = field.metadata["kind"].parse(text)
    except ValueError:
        return False
    check = field.metadata["check"]
    return check is None or not check(value)


def _option(key: str, value: Word) -> Word:
    """@return: C{KEY=VALUE}, as if it were written so."""
    begin = f"{key}="
    columns = (value.where.column,) * len(begin) + value.columns
    return Word(begin + value.text, PLAIN * len(begin) + value.marks, columns, value.where)
