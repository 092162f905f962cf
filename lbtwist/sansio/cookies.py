"""
Cookies as they go over the wire (RFC 6265): find, add, rewrite and strip one in a
C{Cookie} field (section 5.4), and the attributes of one in a C{Set-Cookie} field (section
5.2).

What is no C{NAME=VALUE} is passed over, as servers do. What is not asked for stays byte
for byte as it came. What a cookie means, and how long it lives, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
    for line in values:
        for pair in line.split(b";"):
            if _isOf(pair, name):
                return _plain(pair.partition(b"=")[2])
    return None


def add(line: bytes, name: bytes, value: bytes) -> bytes:
    """
    @param line: the value of a C{Cookie} field; may be empty.
    @param value: without a C{;}.
    @return: the same with one more cookie, at its end.
    """
    pair = b"%b=%b" % (name, value)
    return b"%b; %b" % (line, pair) if line.strip(b" \t;") else pair


def rewrite(line: bytes, name: bytes, value: bytes) -> bytes:
    """
    @param line: the value of a C{Cookie} field.
    @param value: without a C{;}; what all cookies of the name have afterwards.
    """
    return b";".join(
        pair.partition(b"=")[0] + b"=" + value if _isOf(pair, name) else pair
        for pair in line.split(b";")
    )


def strip(line: bytes, name: bytes) -> bytes:
    """
    @param line: the value of a C{Cookie} field.
    @return: the same without all cookies of a name; C{b""} if nothing is left.
    """
    pairs = line.split(b";")
    kept = [pair for pair in pairs if not _isOf(pair, name)]
    return line if len(kept) == len(pairs) else b";".join(kept).strip(_EDGES)


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
