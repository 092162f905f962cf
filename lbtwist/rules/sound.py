"""
What rules put into a message, made sound: it may come from a client, decoded perhaps, and
must neither end a line nor change where a message ends.

Text goes in, bytes come out, or L{None} for what cannot be made good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lbtwist.exchange import Exchange
from lbtwist.options import FieldName, Word
from lbtwist.options import Kind as OptionKind
from lbtwist.rules.decisions import Deny
from lbtwist.rules.expression import Scope
from lbtwist.rules.reading import wire
from lbtwist.rules.template import Template
from lbtwist.sansio.grammar import HOP_BY_HOP, isToken
from lbtwist.sansio.requesthead import isHost

if TYPE_CHECKING:
    from lbtwist.registry import Context

T = TypeVar("T")

MALFORMED = Deny(400)
"""What is decided where the text for a request cannot be made good."""

LONGEST_TARGET = 8192
"""Bytes of a target that rules have made."""

LONGEST_LOCATION = 16384
"""Bytes of a C{Location} that rules have made."""

LONGEST_METHOD = 32
LONGEST_HOST = 255

# All control characters but the tab (RFC 9110 section 5.5).
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_ONE_LINE = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))

# What may be in a target without being encoded, as the reader of requests has it, and in
# a URI (RFC 3986 section 2).
_NOT_IN_TARGET = re.compile(rb"[^!-~]")
_NOT_IN_URI = re.compile(rb"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%\-]")

_FRAMES = frozenset((b"content-length", b"transfer-encoding", b"trailer"))


def whyNotField(name: bytes) -> str:
    """
    @param name: in lower case.
    @return: why rules may not change a field; C{""} if they may.
    """
    said = name.decode()
    if name == b"host":
        return "Host is changed by set-host, which changes what rules read as well"
    if name in _FRAMES:
        return f"{said} says where a message ends: it is written by whoever sends the message"
    if name in HOP_BY_HOP:
        return (
            f"{said} concerns one connection only: see http-reuse, the timeouts and the verb"
            " tunnel for what can be said of connections"
        )
    return ""


class Numbered(OptionKind[int]):
    """One of a few numbers."""

    def __init__(self, form: str, *numbers: int) -> None:
        self.form = form
        self._word = Word(*map(str, numbers))

    def parse(self, text: str) -> int:
        return int(self._word.parse(text))


class ChangedField(OptionKind[bytes]):
    """The name of a field that rules may change, spelt as it is written."""

    form = "NAME"

    def parse(self, text: str) -> bytes:
        name = FieldName().parse(text).encode()
        wrong = whyNotField(name.lower())
        if wrong:
            raise ValueError(wrong)
        return name


def fieldValue(said: str) -> bytes:
    """@return: the value of a field: control characters become spaces."""
    return wire(said).translate(_ONE_LINE)


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def target(said: str) -> bytes | None:
    """
    @return: a target in origin-form (RFC 9112 section 3.2.1); what cannot be in it is
        percent-encoded. L{None} for what does not begin with C{/}, has a C{#}, or is
        longer than L{LONGEST_TARGET}.
    """
    if not said.startswith("/") or "#" in said or len(said) > LONGEST_TARGET:
        return None
    found = _NOT_IN_TARGET.sub(_percent, wire(said))
    return found if len(found) <= LONGEST_TARGET else None


def location(said: str) -> bytes | None:
    """
    @return: the value of C{Location}; what cannot be in a URI is percent-encoded.
        L{None} for none, or more than L{LONGEST_LOCATION} bytes.
    """
    if not said or len(said) > LONGEST_LOCATION:
        return None
    found = _NOT_IN_URI.sub(_percent, wire(said))
    return found if len(found) <= LONGEST_LOCATION else None


def method(said: str) -> bytes | None:
    """@return: a method, L{None} for what is none, or is C{CONNECT}."""
    found = wire(said)
    if len(found) > LONGEST_METHOD or isToken(found) is None or found.upper() == b"CONNECT":
        return None
    return found


def host(said: str) -> bytes | None:
    """@return: the value of C{Host} in lower case, L{None} for what is none."""
    found = wire(said).lower()
    return found if 0 < len(found) <= LONGEST_HOST and isHost(found) else None


def scopeOf(context: Context) -> Scope:
    """@return: what the expressions of a verb's options may ask for."""
    scope = context.scope
    assert scope is not None, "a verb is made for a stage"
    return scope


def made(
    template: Template, context: Context, of: Callable[[str], T]
) -> Callable[[Exchange], T]:
    """
    @param of: makes text sound.
    @return: what C{of} makes of a text for an exchange; once, where it is always the same.
    """
    constant = template.constant
    if constant is not None:
        value = of(constant)
        return lambda exchange: value
    said = template.compiled(scopeOf(context))
    return lambda exchange: of(said(exchange))
