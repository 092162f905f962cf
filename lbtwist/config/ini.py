"""
Text to sections and options, each with its place.

This is the file format and nothing else: no option is known here by its name but
C{include}, and no value has a meaning. What is wrong is collected and reading
goes on; L{lbtwist.config.load} makes a configuration of what was read.

The laws of the format:

  - A line whose first character, white space aside, is C{;} or C{#} is a comment,
    and so is what follows one of them after white space and outside quotes.
  - A line indented deeper than the option above it continues that option's value.
    Empty lines and comments in between do not end it.
  - Quotes are as in a shell. Outside of single quotes C{${NAME}} is taken from the
    environment; what comes from there has no quotes and no comments.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping

import attr

from lbtwist.errors import Position, Problem

LIMIT = 16 * 1024 * 1024
"""The most bytes of one file."""

PLAIN = " "
QUOTED = "q"
SYNTAX = "x"

_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=")
_HEADER = re.compile(r"\[([^\[\]]*)\](?:\s+[;#].*)?")
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
_ESCAPED = {"": " \t\"'\\;#,", '"': '"\\', "'": ""}


def normal(key: str) -> str:
    """@return: the key as it is compared: lower case, with C{-} for C{_}."""
    return key.lower().replace("_", "-")


@attr.frozen
class Word:
    """
    A word of a value, without its quotes.

    @ivar marks: for each character L{PLAIN} or L{QUOTED}.
    @ivar columns: for each character its column in the file.
    """

    text: str
    marks: str
    columns: tuple[int, ...]
    where: Position

    def slice(self, start: int, stop: int) -> Word:
        """@return: a part of the word, with its own place."""
        if start < len(self.columns):
            column = self.columns[start]
        else:
            column = self.columns[-1] + 1 if self.columns else self.where.column
        where = attr.evolve(self.where, column=column)
        return Word(
            self.text[start:stop], self.marks[start:stop], self.columns[start:stop], where
        )

    @property
    def pair(self) -> tuple[str, Word] | None:
        """Key and value of C{key=value}; L{None} if the word is none, or quoted."""
        found = _KEY.match(self.text)
        if found is None or QUOTED in self.marks[: found.end()]:
            return None
        return normal(found[1]), self.slice(found.end(), len(self.text))

    def cut(self, separator: str) -> list[Word]:
        """@return: what is between the separators that are not quoted; may be empty."""
        found = []
        start = 0
        for index, (char, mark) in enumerate(zip(self.text, self.marks, strict=True)):
            if char == separator and mark == PLAIN:
                found.append(self.slice(start, index))
                start = index + 1
        found.append(self.slice(start, len(self.text)))
        return found


@attr.frozen
class Line:
    """
    One line of a value, without comment and surrounding white space.

    @ivar text: with its quotes, the environment filled in.
    @ivar marks: for each character L{PLAIN}, L{QUOTED}, or L{SYNTAX} for what
        only quotes.
    @ivar columns: for each character its column in the file.
    @ivar source: what stands in the file, without what is taken from the environment; C{""} if
        it stands in none.
    """

    text: str
    marks: str
    columns: tuple[int, ...]
    where: Position
    source: str = ""

    def words(self) -> list[Word]:
        found = []
        begun = -1
        for index, (char, mark) in enumerate(
            zip(self.text + " ", self.marks + PLAIN, strict=True)
        ):
            if mark == PLAIN and char.isspace():
                if begun >= 0:
                    found.append(self._word(begun, index))
                begun = -1
            elif begun < 0:
                begun = index
        return found

    def _word(self, start: int, stop: int) -> Word:
        kept = [index for index in range(start, stop) if self.marks[index] != SYNTAX]
        return Word(
            "".join(self.text[index] for index in kept),
            "".join(self.marks[index] for index in kept),
            tuple(self.columns[index] for index in kept),
            attr.evolve(self.where, column=self.columns[start]),
        )


@attr.frozen
class Option:
    """
    One C{key = value}.

    @ivar word: the key, see L{normal}; of C{server a = ...} it is C{server}.
    @ivar name: the second word of the key, or C{""}.
    @ivar where: the key's place.
    @ivar lines: the lines of the value that say anything.
    @ivar key: the first word of the key, as written.
    """

    word: str
    name: str
    where: Position
    lines: list[Line] = attr.field(factory=list)
    key: str = ""

    @property
    def words(self) -> list[Word]:
        """All words of the value, from whatever line."""
        return [word for line in self.lines for word in line.words()]


@attr.frozen
class Section:
    """
    One C{[kind name]}.

    @ivar kind: the first word, in lower case.
    @ivar name: the rest, as written.
    """

    kind: str
    name: str
    where: Position
    options: list[Option] = attr.field(factory=list)

    def __str__(self) -> str:
        return f"[{self.kind} {self.name}]" if self.name else f"[{self.kind}]"


@attr.frozen
class Document:
    """
    What a file and all that it includes say.

    @ivar files: the files in the order they were opened, as they were named.
    """

    sections: list[Section] = attr.field(factory=list)
    problems: list[Problem] = attr.field(factory=list)
    files: list[str] = attr.field(factory=list)


def readFile(path: str, environ: Mapping[str, str]) -> Document:
    """Read a file. One that cannot be read is a L{Problem} like any other."""
    reader = _Reader(environ)
    reader.open(path, Position(path, 1), ())
    return reader.document


def readText(
    text: str, name: str, environ: Mapping[str, str], including: bool = True
) -> Document:
    """
    Read text.

    @param name: the file it stands for: places name it, and what is included
        is looked for next to it.
    @param including: whether it may include files.
    """
    reader = _Reader(environ, including)
    reader.document.files.append(name)
    reader.parse(name, text.split("\n"), (_real(name),))
    return reader.document


class _Reader:
    """Reads one file and what it includes into one L{Document}."""

    def __init__(self, environ: Mapping[str, str], including: bool = True) -> None:
        self._including = including
        self.document = Document()
        self._environ = environ
        self._seen: set[str] = set()

    def _error(self, where: Position, message: str) -> None:
        self.document.problems.append(Problem(where, message))

    def open(self, path: str, asked: Position, above: tuple[str, ...]) -> None:
        """
        @param asked: where the file was named.
        @param above: the real paths of the files that are including it.
        """
        try:
            with open(path, "rb") as file:
                data = file.read(LIMIT + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._error(asked, f"{path!r} cannot be read: {reason}")
            return
        if len(data) > LIMIT:
            self._error(asked, f"{path!r} cannot be read: it is longer than {LIMIT} bytes")
            return
        real = _real(path)
        self._seen.add(real)
        self.document.files.append(path)
        lines = []
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                lines.append(line.decode())
            except UnicodeDecodeError as error:
                column = len(line[: error.start].decode()) + 1
                self._error(
                    Position(path, number, column), f"byte 0x{line[error.start]:02x} is not UTF-8"
                )
                lines.append(line.decode(errors="replace"))
        self.parse(path, lines, (*above, real))

    def parse(self, name: str, lines: Iterable[str], above: tuple[str, ...]) -> None:
        top = section = Section("", "", Position(name, 1))
        found: list[Section] = []
        option: Option | None = None
        indent = 0
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = line.removeprefix("\ufeff")
            if "\0" in line:
                self._error(Position(name, number, line.index("\0") + 1), "there is a NUL byte")
                line = line.replace("\0", "\ufffd")
            said = line.strip()
            if not said or said[0] in ";#":
                continue
            depth = len(line) - len(line.lstrip())
            where = Position(name, number, depth + 1)
            if option is not None and depth > indent:
                self._value(option, line, depth, where)
            elif said[0] == "[":
                option = None
                section = self._header(said, where)
                if section.kind:
                    found.append(section)
            else:
                indent = depth
                option = self._option(line, where)
                if option.word:
                    section.options.append(option)
        self._include(top, above)
        self.document.sections.extend(found)

    def _header(self, said: str, where: Position) -> Section:
        """@return: the section; of no kind if the line is not acceptable."""
        match = _HEADER.fullmatch(said)
        words = match[1].split() if match is not None else []
        if not words:
            self._error(where, f"{said!r} is not a section: write [KIND] or [KIND NAME]")
            return Section("", "", where)
        return Section(words[0].lower(), " ".join(words[1:]), where)

    def _option(self, line: str, where: Position) -> Option:
        """@return: the option; without a word if the line is not acceptable."""
        key, equals, _ = line.partition("=")
        words = key.split()
        if not equals:
            hint = "; the sign is '=', not ':'" if ":" in line else ""
            self._error(where, f"{line.strip()!r} is neither [SECTION] nor KEY = VALUE{hint}")
            return Option("", "", where)
        option = Option("", "", where)
        if not words:
            self._error(where, "there is no key before '='")
        elif len(words) > 2:
            self._error(where, f"{key.strip()!r} is not a key: write KEY or KEY NAME before '='")
        else:
            option = Option(normal(words[0]), "".join(words[1:]), where, key=words[0])
        self._value(option, line, len(key) + 1, where)
        return option

    def _value(self, option: Option, line: str, start: int, where: Position) -> None:
        found = self._scan(line, start, where)
        if found.text:
            option.lines.append(found)

    def _scan(self, source: str, start: int, where: Position) -> Line:
        """
        Cut the comment, fill in the environment, find out what is quoted.

        @param start: where the value starts, after C{=} or the indentation.
        """
        cells: list[tuple[str, str, int]] = []
        quote = ""
        opened = 0
        index = start
        end = len(source)
        while index < len(source):
            char = source[index]
            mark = QUOTED if quote else PLAIN
            column = index + 1
            index += 1
            if quote and char == quote:
                quote = ""
                cells.append((char, SYNTAX, column))
            elif not quote and char in "\"'":
                quote = char
                opened = column
                cells.append((char, SYNTAX, column))
            elif char == "\\" and source[index : index + 1] in tuple(_ESCAPED[quote]):
                cells += (char, SYNTAX, column), (source[index], QUOTED, column)
                index += 1
            elif not quote and char in ";#" and source[index - 2].isspace():
                end = index - 1
                break
            elif quote != "'" and (found := _VARIABLE.match(source, column - 1)):
                text = self._variable(found, attr.evolve(where, column=column))
                cells += [(one, mark, column) for one in text]
                index = found.end()
            else:
                cells.append((char, mark, column))
        if quote:
            self._error(attr.evolve(where, column=opened), f"the quote {quote} is not closed")
        while cells and cells[-1][1] == PLAIN and cells[-1][0].isspace():
            cells.pop()
        first = 0
        while first < len(cells) and cells[first][1] == PLAIN and cells[first][0].isspace():
            first += 1
        cells = cells[first:]
        return Line(
            "".join(char for char, _, _ in cells),
            "".join(mark for _, mark, _ in cells),
            tuple(column for _, _, column in cells),
            attr.evolve(where, column=cells[0][2] if cells else start + 1),
            source[start:end].strip(),
        )

    def _variable(self, found: re.Match[str], where: Position) -> str:
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None:
            self._error(
                where, "'${' needs a name and '}': ${NAME} or ${NAME:-DEFAULT}; $${ is a plain ${"
            )
            return found[0]
        value = self._environ.get(name, "")
        if default is not None:
            return value or default
        if name not in self._environ:
            self._error(
                where, f"the environment has no {name!r}; ${{{name}:-DEFAULT}} does without it"
            )
        return value

    def _include(self, top: Section, above: tuple[str, ...]) -> None:
        for option in top.options:
            if option.word != "include" or option.name:
                written = f"{option.word} {option.name}".strip()
                self._error(
                    option.where, f"{written!r} stands before any [SECTION]; only 'include' may"
                )
                continue
            if not self._including:
                self._error(option.where, "include: no file is read for this")
                continue
            if not option.words:
                self._error(option.where, "include: needs a file or a pattern such as *.ini")
            for word in option.words:
                self._files(word, above)

    def _files(self, word: Word, above: tuple[str, ...]) -> None:
        """A file is read once; one that is named again is passed over."""
        directory = os.path.dirname(word.where.file)
        paths = [os.path.join(directory, word.text)]
        if glob.has_magic(word.text):
            try:
                found = glob.glob(os.path.join(glob.escape(directory), word.text))
            except ValueError as error:
                self._error(word.where, f"include: {word.text!r} is not a pattern: {error}")
                return
            paths = [path for path in sorted(found) if _real(path) != above[-1]]
        for path in paths:
            if _real(path) in above:
                self._error(word.where, f"include: {path!r} is including this file: a circle")
            elif _real(path) not in self._seen:
                self.open(path, word.where, above)


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:
        return path
