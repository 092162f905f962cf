"""
What C{log-format} and C{errorfile-NNN} say: a format as it is written, and the answer that
a file holds.
"""

from __future__ import annotations

from typing import Any

import attr

from lbtwist.config.fill import BAD, Scope, relative
from lbtwist.config.ini import SYNTAX, Line, Option, Word
from lbtwist.logformat import LogFormat, structured
from lbtwist.registry import Registry
from lbtwist.rules.expression import ExpressionError
from lbtwist.rules.template import closing
from lbtwist.sansio.errorfile import LARGEST, SILENCE, ErrorFile, errorFile


def readLogFormat(option: Option, scope: Scope, registry: Registry) -> Any:
    """
    Read a format. Its lines are joined by a space each. Quotes around it are of the file;
    in C{%[...]} there are none of these, what is there is an expression, with its own.

    @return: a L{LogFormat}, L{None} for an empty one, or L{BAD}.
    """
    lines = [_written(line) for line in option.lines]
    if not any(line.text for line in lines):
        return None
    try:
        made = LogFormat.parse(" ".join(line.text for line in lines))
    except ExpressionError as error:
        scope.error(_place(lines, error.at).where, str(error))
        return BAD
    items = tuple(
        item if isinstance(item, str) else attr.evolve(item, where=_place(lines, item.at).where)
        for item in made.items
    )
    return attr.evolve(made, items=items, where=option.where)


def readLogFormatSD(option: Option, scope: Scope, registry: Registry) -> Any:
    """
    Read the structured data of lines for syslog servers, as a format is read.

    @return: as of L{readLogFormat}.
    """
    made = readLogFormat(option, scope, registry)
    if not isinstance(made, LogFormat):
        return made
    try:
        return structured(made)
    except ExpressionError as error:
        scope.error(made.where, str(error))
        return BAD


def _place(lines: list[Word], at: int) -> Word:
    """@return: what is there, of the lines that were joined."""
    for line in lines:
        if at <= len(line.text):
            return line.slice(at, at)
        at -= len(line.text) + 1
    return lines[-1].slice(len(lines[-1].text), len(lines[-1].text))


def _written(line: Line) -> Word:
    """@return: the line without the quotes of the file."""
    kept: list[int] = []
    index = 0
    while index < len(line.text):
        end = index + 1
        if line.text[index] == "[" and _opens(line.text[:index]):
            try:
                end = closing(line.text, index) + 1
            except ExpressionError:
                # It is told of when the format is read.
                end = len(line.text)
            kept += range(index, end)
        elif line.marks[index] != SYNTAX:
            kept.append(index)
        index = end
    return Word(
        "".join(line.text[index] for index in kept),
        "".join(line.marks[index] for index in kept),
        tuple(line.columns[index] for index in kept),
        line.where,
    )


def _opens(before: str) -> bool:
    """@param before: what stands before a C{[}. @return: whether an expression begins."""
    before = before.rpartition("%")[1] + before.rpartition("%")[2]
    return before == "%" or (before[:2] in ("%{", "%(") and before[-1:] in ("}", ")"))


def readErrorFile(option: Option, scope: Scope, registry: Registry) -> Any:
    """
    Read C{errorfile-NNN = PATH}.

    @return: a L{ErrorFile} by its status, L{None} in its place for none, or L{BAD}.
    """
    status = int(option.word.rpartition("-")[2])
    words = option.words
    if not words:
        # An empty value takes back what [defaults] says.
        return {status: None}
    where = words[0].where
    path = relative(" ".join(word.text for word in words), where)
    if path == "/dev/null":
        return {status: SILENCE}
    try:
        found = _errorFile(path)
    except OSError as error:
        scope.error(where, f"{path!r} cannot be read: {error.strerror}")
        return BAD
    except ValueError as error:
        scope.error(where, f"{path!r} is no response: {error}")
        return BAD
    return {status: found}


def _errorFile(path: str) -> ErrorFile:
    with open(path, "rb") as file:
        return errorFile(file.read(LARGEST + 1))
