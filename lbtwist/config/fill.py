"""
Words to the fields of attrs classes, and what is wrong with them to a L{Scope}.

Every class whose fields are declared with L{lbtwist.options.option} is filled
here, in the same way: the sections of the model, the words after an address,
the options of built-in and third-party parts. No class is known by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import attr

from lbtwist.config.ini import QUOTED, Option, Word, normal
from lbtwist.errors import Position, Problem
from lbtwist.options import Flag, Kind, Path, Paths, suggestion
from lbtwist.rules.expression import ExpressionError

BAD: Any = object()
"""Instead of a value: it was not acceptable, and the scope was told why."""


@attr.frozen
class Scope:
    """
    What is being read, as a message names it.

    @ivar label: C{[pool app] balance:}.
    @ivar problems: gets what is told.
    """

    label: str
    problems: list[Problem]

    def error(self, where: Position, message: str) -> None:
        self.problems.append(Problem(where, f"{self.label} {message}"))

    def warn(self, where: Position, message: str) -> None:
        self.problems.append(Problem(where, f"{self.label} {message}", "warning"))

    def within(self, word: str) -> Scope:
        return Scope(f"{self.label} {word}:", self.problems)


def optionFields(cls: type[Any]) -> dict[str, attr.Attribute[Any]]:
    """
    @return: the fields declared with L{lbtwist.options.option}, by their names in a file. One
        whose name is a word of Python's has C{_} behind it.
    """
    return {normal(f.name.removesuffix("_")): f for f in attr.fields(cls) if "kind" in f.metadata}


def relative(path: str, where: Position) -> str:
    """
    @return: a path as it is found from the file it is written in; absolute, so that
        it is the same after the process has changed its directory.
    """
    return os.path.abspath(os.path.join(os.path.dirname(where.file), path))


LONGEST_FILE = 16 * 1024 * 1024
"""Bytes of a file that a value names and that is read as a whole."""


def readBeside(where: Position, name: str) -> str:
    """
    @param where: the place that names the file.
    @return: the text of a file.
    @raise OSError: if it cannot be read.
    @raise ValueError: if it is too long, or is not UTF-8.
    """
    with open(relative(name, where), "rb") as file:
        data = file.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise ValueError(f"it is longer than {LONGEST_FILE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{data[error.start]:02x} is not UTF-8") from None


def parse(
    field: attr.Attribute[Any], text: str, where: Position, scope: Scope, said: Word | None = None
) -> Any:
    """
    @param said: the word that the text is of, if it is of one.
    @return: the value of one field, or L{BAD}.
    """
    kind: Kind[Any] = field.metadata["kind"]
    if not text:
        # An empty value takes back what [defaults] says.
        if field.default in ("", ()):
            return field.default
        scope.error(where, f"needs a value: {kind.form}")
        return BAD
    try:
        value = kind.parse(text)
    except ValueError as error:
        if isinstance(error, ExpressionError) and said is not None:
            where = said.slice(error.at, error.at).where
        scope.error(where, str(error))
        return BAD
    if isinstance(kind, Path):
        value = relative(value, where)
    elif isinstance(kind, Paths):
        value = tuple(relative(path, where) for path in value)
    return _checked(field, value, where, scope)


def _checked(field: attr.Attribute[Any], value: Any, where: Position, scope: Scope) -> Any:
    check = field.metadata.get("check")
    wrong = check(value) if check is not None else None
    if wrong:
        scope.error(where, wrong)
        return BAD
    return value


def readField(field: attr.Attribute[Any], option: Option, scope: Scope) -> Any:
    """Read an option that is one plain value."""
    words = option.words
    where = words[0].where if words else option.where
    if field.metadata["kind"].several:
        found = [parse(field, word.text, word.where, scope) for word in words]
        if BAD in found:
            return BAD
        # What is said twice counts once.
        return _checked(field, tuple(dict.fromkeys(chain.from_iterable(found))), where, scope)
    return parse(field, " ".join(word.text for word in words), where, scope)


class _Filling:
    """
    Fills the fields of attrs classes from words: C{key=value}; a bare word for
    a flag, or for the next field that is positional.

    @ivar said: the words that gave each field its value.
    """

    def __init__(self, classes: Sequence[type[Any]], scope: Scope) -> None:
        self.scope = scope
        self.classes = classes
        self.fields: dict[str, tuple[int, attr.Attribute[Any]]] = {}
        for index, cls in enumerate(classes):
            for word, field in optionFields(cls).items():
                self.fields.setdefault(word, (index, field))
        self.waiting = [
            word for word, (_, field) in self.fields.items() if field.metadata.get("positional")
        ]
        self.values: list[dict[str, Any]] = [{} for _ in classes]
        self.said: dict[str, list[Word]] = {}
        self.orders: list[list[str]] = [[] for _ in classes]
        self.sound = True

    def _is(self, word: str, kind: type[Kind[Any]]) -> bool:
        return word in self.fields and isinstance(self.fields[word][1].metadata["kind"], kind)

    def word(self, word: Word) -> None:
        pair = word.pair
        bare = "" if QUOTED in word.marks else normal(word.text)
        if pair is not None:
            if pair[0] in self.fields:
                self._set(pair[0], pair[1].text, pair[1], word.where)
            else:
                hint = suggestion(pair[0], self.fields)
                if self.waiting:
                    hint += "; in quotes it is no option"
                self._refuse(word, f"unknown option {pair[0]!r}{hint}")
        elif self._is(bare, Flag):
            self._set(bare, "yes", word, word.where)
        elif bare.startswith("no-") and self._is(bare[3:], Flag):
            self._set(bare[3:], "no", word, word.where)
        elif bare in self.fields and self.fields[bare][1].metadata.get("bare"):
            self._set(bare, self.fields[bare][1].metadata["bare"], word, word.where)
        elif self.waiting:
            self._set(self.waiting[0], word.text, word, word.where)
        elif bare in self.fields:
            form = self.fields[bare][1].metadata["kind"].form
            self._refuse(word, f"{bare!r} needs a value: {bare}={form}")
        else:
            self._refuse(word, f"unknown word {word.text!r}{suggestion(word.text, self.fields)}")

    def positional(self, word: Word) -> None:
        """@param word: is a value even where it looks like an option."""
        if self.waiting:
            self._set(self.waiting[0], word.text, word, word.where)
        else:
            self._refuse(word, f"unknown word {word.text!r}")

    def _refuse(self, word: Word, message: str) -> None:
        self.scope.error(word.where, message)
        self.sound = False

    def _set(self, name: str, text: str, said: Word, named: Position) -> None:
        index, field = self.fields[name]
        again = name in self.said
        repeats = field.metadata["kind"].repeats
        if again and not repeats:
            self.scope.error(named, f"{name!r} is given twice")
            self.sound = False
        self.said.setdefault(name, []).append(said)
        if name in self.waiting:
            self.waiting.remove(name)
        value = parse(field, text, said.where, self.scope.within(name), said)
        self.sound = self.sound and value is not BAD
        values = self.values[index]
        key = field.alias or field.name
        if repeats:
            self.orders[index].append(field.name)
        if again and repeats and self.sound:
            value = (*values[key], *value)
        values[key] = value

    def made(self, where: Position, known: Mapping[str, Any]) -> list[Any] | None:
        """
        @param where: where what is missing belongs.
        @param known: values of further fields of the first class.
        @return: an instance of each class, or L{None} if something was wrong.
        """
        for name, (_, field) in self.fields.items():
            if field.default is attr.NOTHING and name not in self.said:
                form = field.metadata["kind"].form
                written = form if field.metadata.get("positional") else f"{name}={form}"
                self.scope.error(where, f"needs {written}")
                self.sound = False
        if not self.sound:
            return None
        self.values[0].update(known)
        for cls, some, order in zip(self.classes, self.values, self.orders, strict=True):
            for field in attr.fields(cls):
                if field.metadata.get("written"):
                    some[field.name] = tuple(order)
        try:
            return [cls(**some) for cls, some in zip(self.classes, self.values, strict=True)]
        except (TypeError, ValueError) as error:
            self.scope.error(where, str(error))
            return None


def fill(
    classes: Sequence[type[Any]],
    words: Sequence[Word],
    where: Position,
    scope: Scope,
    known: Mapping[str, Any] | None = None,
    first: Word | None = None,
    said: dict[str, list[Word]] | None = None,
) -> list[Any] | None:
    """
    @param classes: attrs classes; of a name that two have the first gets it.
    @param known: values of fields of the first class that are no options.
    @param first: the value of the first positional field, whatever it looks like.
    @param said: gets the words that gave each option its value.
    @return: an instance of each class, or L{None} if something was wrong.
    """
    filling = _Filling(classes, scope)
    if first is not None:
        filling.positional(first)
    for word in words:
        filling.word(word)
    if said is not None:
        said.update(filling.said)
    return filling.made(where, known or {})
