"""
Cookies as they go over the wire (RFC 6265): find, add, rewrite and strip one in a
C{Cookie} field (section 5.4), and the attributes of one in a C{Set-Cookie} field (section
5.2).

What is no C{NAME=VALUE} is passed over, as servers do. What is not asked for stays byte
for byte as it came. What a cookie means, and how long it lives, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_EDGES = b" \t"


def cookies(values: Iterable[bytes]) -> dict[bytes, bytes]:
    """
    @param values: of all C{Cookie} fields of a request, in order.
    @return: the cookies by name. Of several of one name the first counts: clients send
        the one with the longest path first.
    """
    found: dict[bytes, bytes] = {}
    for line in values:
        for pair in line.split(b";"):
            name, equals, value = pair.partition(b"=")
            if equals:
                found.setdefault(name.strip(_EDGES), _plain(value))
    return found


def find(values: Iterable[bytes], name: bytes) -> bytes | None:
    """
    @param values: of all C{Cookie} fields of a request, in order.
    @return: the value of one cookie, of several of its name the first; L{None} without
        one.
    """
    return next(every(values, name), None)


def every(values: Iterable[bytes], name: bytes) -> Iterator[bytes]:
    """
    @param values: of all C{Cookie} fields of a request, in order.
    @return: the values of all cookies of a name, in order.
    """
    for line in values:
        for pair in line.split(b";"):
            if _isOf(pair, name):
                yield _plain(pair.partition(b"=")[2])


def add(line: bytes, name: bytes, value: bytes) -> bytes:
    """
    @param line: the value of a C{Cookie} field; may be empty.
    @param value: without a C{;}.
    @return: the same with one more cookie, at its end.
    """
    pair = b"%b=%b" % (name, value)
    return b"%b; %b" % (line, pair) if line.strip(b" \t;") else pair


def change(line: bytes, name: bytes, changed: Callable[[bytes], bytes]) -> bytes:
    """
    @param line: the value of a C{Cookie} field.
    @param changed: gives, without a C{;}, what the cookies of the name have for their values.
    """
    pairs = line.split(b";")
    for index, pair in enumerate(pairs):
        if _isOf(pair, name):
            said, _, value = pair.partition(b"=")
            pairs[index] = said + b"=" + changed(value)
    return b";".join(pairs)


def strip(line: bytes, name: bytes) -> bytes:
    """
    @param line: the value of a C{Cookie} field.
    @return: the same without all cookies of a name; C{b""} if nothing is left.
    """
    pairs = line.split(b";")
    kept = [pair for pair in pairs if not _isOf(pair, name)]
    return line if len(kept) == len(pairs) else b";".join(kept).strip(_EDGES)


class Finder:
    """
    Finds and takes out the cookies of one name without taking a head apart; says what
    L{find} says of all its C{Cookie} fields.

    @ivar search: given a block of fields (L{Fields.block}), gives the match of the first of
        them, or L{None}.
    """

    __slots__ = ("_name", "search")

    def __init__(self, name: bytes) -> None:
        self._name = name
        # Up to the cookie; the cookie; its value; whether more follows.
        self.search = re.compile(
            rb"\n(?i:cookie):((?:[^\r\n]*?;)??)([ \t]*%b[ \t]*=([^;\r\n]*))(;?)" % re.escape(name)
        ).search

    @staticmethod
    def value(found: re.Match[bytes]) -> bytes:
        """@param found: what C{search} has found."""
        return found[3].strip(b' \t"')

    def without(self, block: bytes, found: re.Match[bytes] | None) -> bytes:
        """
        @param found: what C{search} has found in it.
        @return: a block without these cookies, and without the field that has no more than
            one.
        """
        if found is None:
            return block
        start = found.start(2)
        if found[4]:
            block = block[:start] + block[found.end() :]
        elif found[1]:
            block = block[: start - 1] + block[found.end() :]
        else:
            block = block[: found.start() + 1] + block[found.end() + 2 :]
        if block.find(self._name, start) < 0 or self.search(block) is None:
            return block
        # A head has room for thousands: to look again after each would take their square.
        lines = []
        for line in block[1:-2].split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"cookie":
                value = strip(value, self._name)
                if not value.strip(_EDGES):
                    continue
                line = name + b": " + value.strip(_EDGES)
            lines.append(line + b"\r\n")
        return b"\n" + b"".join(lines)


def _plain(value: bytes) -> bytes:
    return value.strip(b' \t"')


def _isOf(pair: bytes, name: bytes) -> bool:
    said, equals, _ = pair.partition(b"=")
    return bool(equals) and said.strip(_EDGES) == name


class SetCookie:
    """
    The value of one C{Set-Cookie} field. It is read as user agents read it: a C{;} always
    ends an attribute, and the case of its name does not count.
    """

    __slots__ = ("_parts",)

    def __init__(self, value: bytes) -> None:
        self._parts = value.split(b";")

    def __repr__(self) -> str:
        return f"<SetCookie {self.value!r}>"

    @property
    def name(self) -> bytes:
        """Of the cookie; C{b""} where it has only a value."""
        name, equals, _ = self._parts[0].partition(b"=")
        return name.strip(_EDGES) if equals else b""

    @property
    def cookieValue(self) -> bytes:
        """Of the cookie, without quotes around it."""
        return _plain(self._parts[0].partition(b"=")[2])

    @property
    def value(self) -> bytes:
        """Of the field."""
        return b";".join(self._parts)

    def has(self, attribute: bytes) -> bool:
        """@param attribute: its name in lower case."""
        return any(_attribute(part) == attribute for part in self._parts[1:])

    def add(self, attribute: bytes) -> None:
        """@param attribute: C{NAME} or C{NAME=VALUE}; it comes last."""
        if len(self._parts) > 1 and not self._parts[-1].strip(_EDGES):
            # There is a ; at the end.
            self._parts.pop()
        self._parts.append(b" " + attribute)

    def change(self, attribute: bytes, changed: Callable[[bytes], bytes | None]) -> None:
        """
        Change the values of an attribute where they stand.

        @param attribute: its name in lower case.
        @param changed: given a value, the one to put in its place, or L{None} to take the
            attribute out. A C{;} in it is encoded, so that it stays one attribute.
        """
        parts = self._parts[:1]
        for part in self._parts[1:]:
            if _attribute(part) == attribute:
                name, _, value = part.partition(b"=")
                value = value.strip(_EDGES)
                other = changed(value)
                if other is None:
                    continue
                if other != value:
                    part = name + b"=" + other.replace(b";", b"%3B")
            parts.append(part)
        self._parts = parts


def _attribute(part: bytes) -> bytes:
    return part.partition(b"=")[0].strip(_EDGES).lower()
