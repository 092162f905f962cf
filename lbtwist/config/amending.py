"""
A configuration that says a little more, or a little less, than another one: sections and options
of text, put to those that it was made of or taken out of them.

All of it is checked again, as a file is, so that what refers to something else finds it there, in
C{[defaults]}, C{[tls]} or C{[conditions]} as well; only what was read before is not read again.
No file is written.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_

import attr

from lbtwist.config.ini import Document, Line, Option, Section, Word, readText
from lbtwist.config.load import configured
from lbtwist.config.model import Config
from lbtwist.config.sections import PREFERRED
from lbtwist.config.values import itemsOf
from lbtwist.errors import BalancerError, Problem
from lbtwist.registry import Registry

ADDED = "added"
"""The file that text stands for which is in none; relative paths start where they do in the
configuration."""

Sections = Sequence[Section]

Change = Callable[[Sections], Sections]
"""Given the sections that there are, those that there are to be; what is in both stays the same
object."""

_SPECIAL = re.compile(r"[ \t\"'\\;#]")


class CannotAmend(BalancerError):
    """What is to be changed is not there, or cannot be; it says what."""


def amended(
    config: Config, change: Change, registry: Registry, problems: Iterable[Problem] = ()
) -> tuple[Config, list[Problem]]:
    """
    @param config: stays as it is.
    @param change: what becomes of its sections.
    @param problems: those of the text that is added.
    @return: the other configuration, and the warnings that are new. A pool of it may have no
        server.
    @raise ConfigError: with every problem, if it cannot be used.
    @raise CannotAmend: if C{config} was not made of text, or as C{change} says.
    """
    written = config.written
    if written is None:
        raise CannotAmend("what runs was made by a program, and not of text")
    before = written.document
    document = attr.evolve(
        before, sections=list(change(before.sections)), problems=list(problems)
    )
    found, warnings = configured(document, registry, written, bare=True)
    return found, [one for one in warnings if one.message not in written.warnings]


def textFor(config: Config, text: str, environ: Mapping[str, str]) -> Document:
    """
    Read text that is to be put to a configuration. No other file is read for it.

    @return: its sections, and what is wrong with it.
    @raise CannotAmend: if it says nothing.
    """
    written = config.written
    main = written.document.files[0] if written is not None and written.document.files else ""
    name = os.path.join(os.path.dirname(main), ADDED)
    found = readText(text, name, environ, including=False)
    if not found.sections and not found.problems:
        raise CannotAmend("there is no [SECTION] in it")
    return found


# what becomes of sections


def keyOf(section: Section) -> tuple[str, str]:
    """@return: the preferred word for its kind, and its name."""
    return PREFERRED.get(section.kind, section.kind), section.name


def _optionKey(section: Section, option: Option) -> tuple[str, str]:
    word = option.word
    if keyOf(section)[0] == "pool":
        word = PREFERRED.get(word, word)
    return word, option.name


def merging(more: Sections) -> Change:
    """
    Put sections to those that are there. Of one that is there already the options that are said
    anew replace those of the same name, and the others stay.
    """
    counts = Counter(map(keyOf, more))

    def change(sections: Sections) -> Sections:
        found = {keyOf(section): section for section in sections}
        # One that is there twice is told of where it is checked.
        twice = []
        for section in more:
            key = keyOf(section)
            if counts[key] > 1:
                twice.append(section)
            elif key in found:
                found[key] = _merged(found[key], section)
            else:
                found[key] = section
        return [*found.values(), *twice]

    return change


def _merged(section: Section, more: Section) -> Section:
    counts = Counter(_optionKey(more, one) for one in more.options)
    found = {_optionKey(section, one): one for one in section.options}
    twice = []
    for option in more.options:
        key = _optionKey(more, option)
        if counts[key] > 1:
            twice.append(option)
        else:
            found[key] = option
    return attr.evolve(section, options=[*found.values(), *twice])


def without(kind: str, name: str) -> Change:
    """Take a section out. @raise CannotAmend: if there is none."""

    def change(sections: Sections) -> Sections:
        found = [section for section in sections if keyOf(section) != (kind, name)]
        if len(found) == len(sections):
            raise CannotAmend(f"there is no [{kind} {name}]")
        return found

    return change


def changing(kind: str, name: str, change: Callable[[Section], Section]) -> Change:
    """Have one section be another one. @raise CannotAmend: if there is none."""

    def changed(sections: Sections) -> Sections:
        found = [change(one) if keyOf(one) == (kind, name) else one for one in sections]
        if all(map(is_, found, sections)):
            raise CannotAmend(f"there is no [{kind} {name}]")
        return found

    return changed


def withoutServer(pool: str, name: str) -> Change:
    """Take a line C{server} out. @raise CannotAmend: if there is none."""

    def change(section: Section) -> Section:
        key = "server", name
        options = [one for one in section.options if _optionKey(section, one) != key]
        if len(options) == len(section.options):
            raise CannotAmend(f"there is no server {name} in [pool {pool}]")
        return attr.evolve(section, options=options)

    return changing("pool", pool, change)


def withBind(frontend: str, more: Option) -> Change:
    """Put the lines of another option C{bind} to that of a frontend."""

    def change(section: Section) -> Section:
        return _bound(section, [*_bindOf(section).lines, *more.lines])

    return changing("frontend", frontend, change)


def withoutBind(frontend: str, matches: Callable[[Option], bool]) -> Change:
    """
    Take what a frontend is bound to out.

    @param matches: given an option C{bind} that has one item only.
    @raise CannotAmend: if nothing matches, or nothing would be left.
    """

    def change(section: Section) -> Section:
        bind = _bindOf(section)
        items = [_lineOf(words) for words in itemsOf(bind)]
        left = [line for line in items if not matches(attr.evolve(bind, lines=[line]))]
        if len(left) == len(items):
            raise CannotAmend(f"[frontend {frontend}] has no such bind")
        if not left:
            raise CannotAmend(f"it is the last of [frontend {frontend}]; del frontend takes that")
        return _bound(section, left)

    return changing("frontend", frontend, change)


def _bindOf(section: Section) -> Option:
    return next(one for one in section.options if one.word == "bind")


def _bound(section: Section, lines: Sequence[Line]) -> Section:
    bind = _bindOf(section)
    other = attr.evolve(bind, lines=list(lines))
    return attr.evolve(
        section, options=[other if one is bind else one for one in section.options]
    )


def _lineOf(words: Sequence[Word]) -> Line:
    """@return: words as the line that they are of."""
    text, marks, columns = "", "", tuple[int, ...]()
    for word in words:
        if text:
            text, marks, columns = f"{text} ", f"{marks} ", (*columns, columns[-1] + 1)
        text, marks, columns = text + word.text, marks + word.marks, columns + word.columns
    return Line(text, marks, columns, words[0].where)


def asWord(text: str) -> str:
    """@return: how it is written, so that it is one word, and that one."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text).replace("${", "$${")


def told(problem: Problem, lines: bool) -> str:
    """
    @param lines: whether there was text with several of them.
    @return: a problem, for who wants the change.
    """
    where = problem.where
    if os.path.basename(where.file) != ADDED:
        return str(problem)
    place = f"line {where.line}: " if lines else ""
    return f"{place}{'' if problem.severity == 'error' else 'warning: '}{problem.message}"
