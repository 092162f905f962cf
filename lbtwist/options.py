"""
What the value of an option can be, and how a class declares its options.

A L{Kind} turns the text of a value into a Python value or raises
L{ValueError} with a sentence for the person who wrote it. Built-in parts,
third-party parts and the configuration model declare their options in the
same way, with L{option}::

    @attr.frozen
    class Options:
        factor: int = option(Integer(100, 1000), 150, "Most load, in percent of the mean.")

This module does not read files and knows no option by name.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import attr

T = TypeVar("T")


class Kind(Generic[T]):
    """
    One kind of value.

    @ivar form: how documentation and messages write such a value, e.g.
        C{TIME}.
    @ivar several: whether it is a tuple of what separate words say.
    @ivar repeats: whether C{key=value} may come more than once in a value; it is a
        tuple then.
    @ivar secret: whether nobody is shown such a value.
    """

    form = "VALUE"
    several = False
    repeats = False
    secret = False

    def parse(self, text: str) -> T:
        """
        @param text: the value as written, without surrounding space or quotes.
        @raise ValueError: with a sentence that says what is accepted.
        """
        raise NotImplementedError


class Text(Kind[str]):
    """Any text that is not empty."""

    form = "TEXT"

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError("needs a value")
        return text


class Secret(Text):
    """Text that nobody is shown, as a password."""

    secret = True


class Name(Kind[str]):
    """The name of something in the configuration."""

    form = "NAME"
    _good = re.compile(r"[A-Za-z0-9_.:\-]+")

    @classmethod
    def good(cls, text: str) -> bool:
        return cls._good.fullmatch(text) is not None

    def parse(self, text: str) -> str:
        if not self.good(text):
            raise ValueError(
                f"{text!r} is not a name: letters, digits and - _ . : are accepted"
            )
        return text


class SectionName(Name):
    """
    The name of a section of the configuration, in an option of a verb.

    @ivar section: of which kind.
    """

    def __init__(self, section: str) -> None:
        self.section = section


class Flag(Kind[bool]):
    """Yes or no; as a bare word inside a value it means yes."""

    form = "yes|no"
    _words = {"yes": True, "true": True, "on": True, "1": True, "": True,
              "no": False, "false": False, "off": False, "0": False}  # fmt: skip

    def parse(self, text: str) -> bool:
        try:
            return self._words[text.lower()]
        except KeyError:
            raise ValueError(f"{text!r} is neither yes nor no") from None


class Integer(Kind[int]):
    """A whole number within bounds."""

    form = "NUMBER"

    def __init__(self, least: int = 0, most: int | None = None) -> None:
        self.least = least
        self.most = most

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise ValueError(f"{text!r} is not a whole number")
        number = int(text)
        if number < self.least or (self.most is not None and number > self.most):
            bounds = f"at least {self.least}"
            if self.most is not None:
                bounds = f"from {self.least} to {self.most}"
            raise ValueError(f"{number} is out of bounds: {bounds} is accepted")
        return number


class Workers(Kind[int]):
    """How many processes: a number, or C{auto}: one for each processor that may be used."""

    form = "NUMBER|auto"

    def parse(self, text: str) -> int:
        if text == "auto":
            return len(os.sched_getaffinity(0))
        return Integer(0, 256).parse(text)


class Percent(Kind[int]):
    """So many of a hundred, with or without the sign: C{50%}."""

    form = "PERCENT"

    def parse(self, text: str) -> int:
        return Integer(0, 100).parse(text.removesuffix("%"))


class Number(Kind[float]):
    """A number within bounds, with a fraction if need be."""

    form = "NUMBER"

    def __init__(self, least: float = 0.0, most: float | None = None) -> None:
        self.least = least
        self.most = most

    def parse(self, text: str) -> float:
        if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
            raise ValueError(f"{text!r} is not a number")
        number = float(text)
        if number < self.least or (self.most is not None and number > self.most):
            bounds = f"at least {self.least:g}"
            if self.most is not None:
                bounds = f"from {self.least:g} to {self.most:g}"
            raise ValueError(f"{text} is out of bounds: {bounds} is accepted")
        return number


class Time(Kind[float]):
    """
    A length of time: C{250ms 5s 2m 1h 1d}, or a bare number of milliseconds,
    as HAProxy users expect. The value is in seconds; 0 means no limit.
    """

    form = "TIME"
    # Fractions, so that 1001ms and 1.001s are the same number.
    _units = {"us": Fraction(1, 10**6), "": Fraction(1, 1000), "ms": Fraction(1, 1000),
              "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600),
              "d": Fraction(86400)}  # fmt: skip

    def parse(self, text: str) -> float:
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(us|ms|s|m|h|d|)", text)
        if found is None:
            raise ValueError(
                f"{text!r} is not a time: write 250ms, 5s, 2m, 1h or 1d"
                " (a bare number is milliseconds)"
            )
        return float(Fraction(found[1]) * self._units[found[2]])


class Size(Kind[int]):
    """A number of bytes: C{512 64k 10m 1g}; the units are powers of 1024."""

    form = "SIZE"
    _units = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

    def parse(self, text: str) -> int:
        found = re.fullmatch(r"([0-9]+)([kmg]?)b?", text.lower())
        if found is None:
            raise ValueError(f"{text!r} is not a size: write 512, 64k, 10m or 1g")
        return int(found[1]) * self._units[found[2]]


class Access(Kind[int]):
    """The access mode of a file, in octal: C{660}."""

    form = "MODE"

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"0?[0-7]{3}", text):
            raise ValueError(f"{text!r} is not an access mode: write three octal digits, as 660")
        return int(text, 8)


class Word(Kind[str]):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.form = "|".join(words)

    def parse(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(f"unknown {text!r}{suggestion(text, self.words)}")
        return text


class Pattern(Kind["re.Pattern[str]"]):
    """A regular expression in Python's syntax."""

    form = "REGEX"

    def parse(self, text: str) -> re.Pattern[str]:
        try:
            return re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{text!r} is not a regular expression: {error}") from None


class FieldName(Kind[str]):
    """The name of a header field (RFC 9110 section 5.1)."""

    form = "FIELD"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", text):
            raise ValueError(f"{text!r} is not the name of a header field")
        return text


class CookieName(Kind[bytes]):
    """The name of a cookie (RFC 6265 section 4.1.1)."""

    form = "NAME"

    def parse(self, text: str) -> bytes:
        if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", text):
            raise ValueError(f"{text!r} is not the name of a cookie")
        return text.encode()


class HostName(Kind[str]):
    """A host name (RFC 1123 section 2.1; C{_} is allowed), or an address; in lower case."""

    form = "HOST"
    _label = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

    @classmethod
    def good(cls, name: str) -> bool:
        """@return: whether it is a name; in lower case, a dot may end it."""
        labels = name.removesuffix(".").split(".")
        return len(name) <= 253 and all(map(cls._label.fullmatch, labels))

    def parse(self, text: str) -> str:
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            name = text.lower().removesuffix(".")
        if not self.good(name):
            raise ValueError(f"{text!r} is neither a host name nor an address")
        return name


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def isHTTP(url: str) -> bool:
    """@return: whether it is a whole URL of HTTP or HTTPS."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class URL(Kind[str]):
    """
    A whole URL of HTTP or HTTPS.

    @ivar what: what it is called.
    @ivar example: how one is written.
    """

    form = "URL"
    what = "a URL"
    example = "https://HOST/PATH"

    def whole(self, text: str) -> str:
        """@return: the URL that is meant by what is written."""
        return text

    def parse(self, text: str) -> str:
        url = self.whole(text)
        if not isHTTP(url) or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError(f"{text[:80]!r} is not {self.what}: write {self.example}")
        if "@" in urlsplit(url).netloc:
            raise ValueError("a name and a password have no place in a URL: they would not be sent")
        if "#" in text:
            raise ValueError("what follows # in a URL is never sent; remove it")
        return text


class Networks(Kind[tuple[Network, ...]]):
    """Addresses and networks, separated by commas or spaces."""

    form = "NETWORKS"
    several = True

    def parse(self, text: str) -> tuple[Network, ...]:
        found = []
        for word in text.replace(",", " ").split():
            try:
                network = ipaddress.ip_network(word)
            except ValueError as error:
                raise ValueError(
                    f"{word!r} is not an address or network: {error}"
                ) from None
            if network.version == 6 and network.subnet_of(_MAPPED):
                raise ValueError(f"{word!r} would match nobody: write the IPv4 addresses in it")
            found.append(network)
        return tuple(found)


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 in IPv6: whoever comes so is known by the IPv4 address."""


class Statuses(Kind[tuple[tuple[int, int], ...]]):
    """HTTP status codes and ranges of them: C{200-299,304}."""

    form = "STATUSES"

    def parse(self, text: str) -> tuple[tuple[int, int], ...]:
        found = []
        for word in text.replace(",", " ").split():
            match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", word)
            if match is None or (match[2] and int(match[2]) < int(match[1])):
                raise ValueError(f"{word!r} is not a status or a range such as 200-299")
            found.append((int(match[1]), int(match[2] or match[1])))
        if not found:
            raise ValueError("needs at least one status")
        return tuple(found)


class Words(Kind[tuple[str, ...]]):
    """Several of a few words, separated by commas or spaces."""

    several = True

    def __init__(self, *words: str) -> None:
        self._one = Word(*words)
        self.form = ",".join(words)

    def parse(self, text: str) -> tuple[str, ...]:
        found = [self._one.parse(word) for word in text.replace(",", " ").split()]
        return tuple(dict.fromkeys(found))


class Path(Kind[str]):
    """The path of a file or directory; a relative one is relative to the configuration file."""

    form = "PATH"

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError("needs a path")
        if "\0" in text:
            raise ValueError("a NUL character in a path")
        return text


class Paths(Kind[tuple[str, ...]]):
    """Paths, separated by commas."""

    form = "PATHS"
    several = True

    def parse(self, text: str) -> tuple[str, ...]:
        one = Path()
        return tuple(one.parse(word) for word in map(str.strip, text.split(",")) if word)


class Protocols(Kind[tuple[bytes, ...]]):
    """Protocol names of ALPN (RFC 7301), separated by commas or spaces."""

    form = "PROTOCOLS"
    several = True

    def parse(self, text: str) -> tuple[bytes, ...]:
        words = text.replace(",", " ").split()
        for word in words:
            # RFC 7301 section 3.1 accepts any bytes; those in use are visible ones.
            if not re.fullmatch("[!-~]{1,255}", word):
                raise ValueError(f"{word[:40]!r} is not the name of a protocol, as http/1.1 is")
        return tuple(word.encode() for word in dict.fromkeys(words))


class TLSVersion(Word):
    """A version of TLS: C{TLSv1.0}, C{TLSv1.1}, C{TLSv1.2} or C{TLSv1.3}; they sort as text."""

    def __init__(self) -> None:
        super().__init__("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
        self.form = "VERSION"


class Redirect(Kind[int]):
    """The status of a redirect, or no; C{yes} is 301. The value of no is 0."""

    form = "no|yes|301|302|308"
    _words = {"no": 0, "yes": 301, "301": 301, "302": 302, "308": 308}

    def parse(self, text: str) -> int:
        try:
            return self._words[text]
        except KeyError:
            raise ValueError(f"unknown {text!r}{suggestion(text, self._words)}") from None


def suggestion(word: str, known: Any) -> str:
    """
    @return: C{", did you mean 'x'?"} where one of the known words is close,
        otherwise the known words if they are few.
    """
    known = sorted(known)
    close = get_close_matches(word, known, 1)
    if close:
        return f", did you mean {close[0]!r}?"
    if known and len(known) <= 12:
        return f"; known are {', '.join(known)}"
    return ""


def option(
    kind: Kind[T],
    default: Any = attr.NOTHING,
    doc: str = "",
    *,
    positional: bool = False,
    bare: str = "",
    check: Callable[[T], str | None] | None = None,
) -> Any:
    """
    Declare one option as a field of an attrs class. Its name in a file is the
    field's name, C{_} and C{-} alike.

    @param default: without one the option must be given.
    @param doc: one sentence for people.
    @param positional: may be given as a bare word, in the order of the fields.
    @param bare: what its name without a value means; empty is an error. A L{Flag} needs
        none, it means yes.
    @param check: a further look at the parsed value; returns what is wrong.
    """
    return attr.field(
        default=default,
        metadata={
            "kind": kind, "doc": doc, "positional": positional, "bare": bare, "check": check,
        },
    )


def written() -> Any:
    """
    Declare a field that is no option: the names of the class's options that may be given
    more than once, in the order they were written. Where none was it is empty.
    """
    return attr.field(default=(), metadata={"written": True})
