"""
Lines of rules, as they are written: words, braces and conditions to L{RuleLine}s. What
can be asked where is not known here; that is L{lbtwist.config.ruled}.

The laws of a line, C{VERB ARGUMENTS [if CONDITION]}:

  - White space separates words, outside of quotes and of braces.
  - Quotes are those of the file, see L{lbtwist.config.ini}. In braces there are none of
    them: what is there is an expression, with its own.
  - The first C{if} that is a word of its own begins the condition. It is the rest of the
    line, as it is written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any

import attr

from lbtwist.config.fill import BAD, Scope, fill, optionFields, relative
from lbtwist.config.ini import PLAIN, QUOTED, SYNTAX, Line, Option, Section, Word
from lbtwist.config.model import Part, RuleLine, RuleOptions
from lbtwist.errors import Position
from lbtwist.options import SectionName, suggestion
from lbtwist.registry import Registry
from lbtwist.rules.expression import NAMES, Expression, ExpressionError
from lbtwist.rules.rulebook import ASKED
from lbtwist.rules.template import Template, closing
from lbtwist.rules.values import Stage

STAGES = {stage.value: stage for stage in ASKED}
"""The options that are lists of rules, and when these are asked."""

POOL_STAGES = ("request", "response")
"""Those that a pool has; they say nothing in C{mode = tcp}."""


@attr.frozen
class RuleLists:
    """C{[rules NAME]}: lists of rules for the frontends and pools that name it."""


@attr.frozen(eq=False)
class Written:
    """
    A line of rules and the places of its words.

    @ivar asked: each text or expression among the verb's options: the option's name, what
        was made of the word, and the word.
    @ivar condition: the words of the condition, as one.
    @ivar decides: whether the verb decides each time it is asked.
    @ivar named: sections that the verb's options name: the kind, the option's name, and the
        word.
    """

    line: RuleLine
    asked: Sequence[tuple[str, Template | Expression, Word]]
    condition: Word | None
    decides: bool
    named: Sequence[tuple[str, str, Word]]


def _expression(line: Line, at: int, quote: str) -> tuple[list[int], int]:
    """
    Read what is in braces.

    @param at: where a C{{} is.
    @param quote: the quote of the file it stands in.
    @return: the characters that are kept, and where what follows begins.
    @raise ExpressionError: if it has no end.
    """
    text, marks = line.text, line.marks
    if quote:
        inside = []
        for index in range(at, len(text)):
            if marks[index] != SYNTAX:
                inside.append(index)
            elif text[index] == quote:
                break
        try:
            end = closing("".join(text[index] for index in inside), 0)
            return inside[: end + 1], inside[end] + 1
        except ExpressionError:
            pass
        # The quotes in it are its own; or it is no expression, but a regular one.
        try:
            end = closing(text, at)
        except ExpressionError:
            return [at], at + 1
    else:
        end = closing(text, at)
    return list(range(at, end + 1)), end + 1


def divided(line: Line) -> tuple[list[Word], Word | None]:
    """
    @return: the words before the condition, and the condition.
    @raise ExpressionError: for braces without end; C{at} counts in the line.
    """
    text, marks = line.text, line.marks
    words: list[Word] = []
    kept: list[tuple[int, str]] = []
    begun = -1
    quote = ""
    index = 0
    while index <= len(text):
        char = text[index : index + 1]
        if not quote and (not char or char.isspace()):
            if text[begun:index] == "if" and begun >= 0:
                return words, _rest(line, index)
            if begun >= 0:
                words.append(_word(line, begun, kept))
            begun, kept = -1, []
            index += 1
            continue
        if begun < 0:
            begun = index
        mark = QUOTED if quote else PLAIN
        if marks[index : index + 1] == SYNTAX and char == "\\":
            kept.append((index + 1, QUOTED))
            index += 2
        elif marks[index : index + 1] == SYNTAX and quote in ("", char):
            quote = "" if quote else char
            index += 1
        elif char == "{" and text[index + 1 : index + 2] == "{":
            kept += (index, mark), (index + 1, mark)
            index += 2
        elif char == "{":
            found, index = _expression(line, index, quote)
            kept += [(one, mark) for one in found]
        elif char:
            kept.append((index, mark))
            index += 1
        else:
            # What is open was told of when the file was read.
            quote = ""
    return words, None


def _word(line: Line, begun: int, kept: Sequence[tuple[int, str]]) -> Word:
    return Word(
        "".join(line.text[index] for index, _ in kept),
        "".join(mark for _, mark in kept),
        tuple(line.columns[index] for index, _ in kept),
        attr.evolve(line.where, column=line.columns[begun]),
    )


def _rest(line: Line, start: int) -> Word:
    """@return: the line from there on, without the white space before it."""
    while line.text[start : start + 1].isspace():
        start += 1
    whole = Word(line.text, line.marks, line.columns, line.where)
    return whole.slice(start, len(line.text))


def readRules(stage: Stage, option: Option, scope: Scope, registry: Registry) -> Any:
    """
    @return: a L{Written} for each line; L{BAD} for one that is not acceptable.
    """
    return tuple(_rule(stage, line, scope, registry) for line in option.lines)


def _rule(stage: Stage, line: Line, scope: Scope, registry: Registry) -> Any:
    try:
        words, condition = divided(line)
    except ExpressionError as error:
        scope.error(attr.evolve(line.where, column=line.columns[error.at]), str(error))
        return BAD
    if not words:
        scope.error(line.where, "needs a verb: VERB ARGUMENTS [if CONDITION]")
        return BAD
    verb, *arguments = words
    within = scope.within(verb.text)
    asked = None
    if condition is not None:
        asked = readExpression(condition, within.within("if"))
    extension = _verb(stage, verb, scope, registry)
    if extension is BAD:
        return BAD
    classes = [extension.options]
    waits = stage is not Stage.RESPONSE and getattr(extension, "waits", True)
    if waits:
        classes.append(RuleOptions)
    said: dict[str, list[Word]] = {}
    made = fill(classes, arguments, verb.where, within, said=said)
    if made is None or asked is BAD:
        return BAD
    part = Part(verb.text, made[0], where=verb.where)
    asking = made[1] if waits else RuleOptions()
    if waits and not getattr(made[0], "waits", True):
        own = optionFields(extension.options)
        for name in optionFields(RuleOptions):
            if name in said and name not in own:
                within.error(said[name][0].where, f"{name} says nothing: it waits for nothing")
                return BAD
    return Written(
        RuleLine(line.text, part, asked, asking, where=line.where),
        tuple(askedOf(made[0], said)), condition,
        getattr(extension, "decides", False) or getattr(made[0], "decides", False),
        tuple(_sections(extension.options, said)),
    )  # fmt: skip


def _sections(
    options: type[Any], said: Mapping[str, list[Word]]
) -> Iterator[tuple[str, str, Word]]:
    """@return: what L{Written.named} is of the words of these options."""
    for name, field in optionFields(options).items():
        kind = field.metadata["kind"]
        if isinstance(kind, SectionName):
            for word in said.get(name, ()):
                yield kind.section, name, word


def _verb(stage: Stage, word: Word, scope: Scope, registry: Registry) -> Any:
    """@return: the part that a word names, with options that can be read; or L{BAD}."""
    interface, _ = ASKED[stage]
    names = registry.names(interface)
    if word.text not in names:
        others = [of for of, one in STAGES.items() if word.text in registry.names(ASKED[one][0])]
        hint = suggestion(word.text, names)
        if others:
            hint = f": {word.text} is a verb of {' and '.join(others)} rules"
        scope.error(word.where, f"unknown verb {word.text!r}{hint}")
        return BAD
    found = registry.find(interface, word.text)
    try:
        optionFields(found.options)
    except Exception as error:
        # It is imported only now, and anything can go wrong in somebody's module.
        scope.error(word.where, f"{word.text!r} cannot be loaded: {error}")
        return BAD
    return found


def askedOf(
    options: Any, said: Mapping[str, list[Word]]
) -> Iterator[tuple[str, Template | Expression, Word]]:
    """@return: what L{Written.asked} is of these options, of which C{said} are the words."""
    for name, field in optionFields(type(options)).items():
        value = getattr(options, field.name)
        values = value if isinstance(value, tuple) else (value,)
        # What is a default has no place.
        for one, word in zip(values, said.get(name, ()), strict=False):
            if isinstance(one, (Template, Expression)):
                yield name, one, word


def readExpression(word: Word, scope: Scope) -> Any:
    """@return: an L{Expression}, or L{BAD}."""
    if not word.text:
        scope.error(word.where, "needs a condition")
        return BAD
    try:
        return Expression.parse(word.text)
    except ExpressionError as error:
        scope.error(word.slice(error.at, error.at).where, str(error))
        return BAD


def readConditions(section: Section, scope: Scope) -> dict[str, tuple[Expression, Position]]:
    """
    @return: the expressions of C{[conditions]}, each with the place of its name.
    """
    parts: dict[str, list[Expression]] = {}
    places: dict[str, Position] = {}
    for option in section.options:
        name = f"{option.key} {option.name}".strip()
        within = scope.within(name)
        words = [Word(one.text, one.marks, one.columns, one.where) for one in option.lines]
        found = [readExpression(word, within) for word in words]
        if not name.isascii() or not name.isidentifier() or iskeyword(name) or name[0] == "_":
            within.error(option.where, "is no name: letters, digits and _ are, a letter first")
            continue
        if name in NAMES:
            within.error(option.where, "has a meaning already: take another name")
            continue
        if not found:
            within.error(option.where, "needs a condition")
        places.setdefault(name, option.where)
        parts.setdefault(name, []).extend(found or [BAD])
    made = {name: _either(some, places[name], scope.within(name)) for name, some in parts.items()}
    return {name: (_rooted(one, places[name]), places[name]) for name, one in made.items()}


# In place of a condition that is not acceptable: what asks for it is not wrong as well.
_ANY = Expression.parse("tls")


def _either(found: Sequence[Any], where: Position, scope: Scope) -> Expression:
    """@return: a condition that holds if one of several does."""
    if BAD in found:
        return _ANY
    if len(found) == 1:
        return found[0]  # type: ignore[no-any-return]
    try:
        return Expression.parse(" or ".join(f"({one.text})" for one in found))
    except ExpressionError as error:
        scope.error(where, str(error))
        return _ANY


def _rooted(condition: Expression, where: Position) -> Expression:
    """The files that it names start where it is written, not where it is asked for."""
    for node in ast.walk(condition.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        for one in node.args:
            if not isinstance(one, ast.Constant) or not isinstance(one.value, str):
                continue
            if node.func.id == "net" and one.value.startswith("@"):
                one.value = "@" + relative(one.value[1:], where)
            elif node.func.id in ("map", "one_of") and one is node.args[0]:
                one.value = relative(one.value, where)
    return condition


def readNames(option: Option, scope: Scope, registry: Registry) -> Any:
    """Read C{rules = A, B}. @return: the words."""
    found: dict[str, Word] = {}
    for word in namesIn(option):
        if found.setdefault(word.text, word) is not word:
            scope.error(word.where, f"{word.text!r} is there twice")
    return tuple(found.values())


def namesIn(option: Option) -> list[Word]:
    """@return: words, separated by white space or commas."""
    return [one for word in option.words for one in word.cut(",") if one.text]
