"""
The verbs that decide: which pool or server is asked, or what the client gets instead.

They decide and nothing else: what a decision means is done by who asks the rules, and
whether a rule is asked at all is its condition's concern.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.options import Integer, Name, Path, Text, Time, option
from lbtwist.options import Kind as OptionKind
from lbtwist.rules import decisions
from lbtwist.rules.expression import ExpressionError
from lbtwist.rules.reading import wire
from lbtwist.rules.sound import ChangedField, Numbered, fieldValue, made
from lbtwist.rules.template import Template, Templated
from lbtwist.sansio.errorfile import STATUSES

if TYPE_CHECKING:
    from lbtwist.registry import Context

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes of a file that C{answer} keeps in memory."""


def _isName(template: Template) -> str | None:
    constant = template.constant
    if constant is None or Name.good(constant):
        return None
    return f"{constant!r} is not a name: letters, digits and - _ . : are accepted"


@attr.frozen
class _NameOptions:
    name: Template = option(Templated(), doc="Its name.", positional=True, check=_isName)


@implementer(IConnectionRule, IRequestRule)
class Pool:
    """
    C{pool NAME}: the servers of this pool are asked.

    A name that is computed, and that no pool has, leaves the frontend's own.
    """

    Options = _NameOptions

    def __init__(self, options: _NameOptions, context: Context) -> None:
        """@raise ExpressionError: if a plain name is none of a pool."""
        name = options.name.constant
        if name is not None and context.scope is not None:
            try:
                context.scope.pool(name)
            except KeyError:
                raise ExpressionError(f"there is no [pool {name}]") from None
        self._decision = made(options.name, context, decisions.UsePool)

    def connectionAccepted(self, exchange: Exchange) -> decisions.UsePool:
        return self._decision(exchange)

    requestReceived = connectionAccepted


@implementer(IRequestRule)
class Server:
    """C{server NAME}: this server is asked, as long as it is usable."""

    Options = _NameOptions

    def __init__(self, options: _NameOptions, context: Context) -> None:
        self._decision = made(options.name, context, decisions.UseServer)

    def requestReceived(self, exchange: Exchange) -> decisions.UseServer:
        return self._decision(exchange)


@attr.frozen
class _NoOptions:
    """There is nothing to say."""


@implementer(IConnectionRule, IRequestRule, IResponseRule)
class Allow:
    """C{allow}: no further rule of the list is asked."""

    Options = _NoOptions

    def __init__(self, options: _NoOptions, context: Context) -> None:
        pass

    def connectionAccepted(self, exchange: Exchange) -> decisions.Allow:
        return decisions.ALLOW

    requestReceived = responseReceived = connectionAccepted


@attr.frozen
class _DenyOptions:
    status: int = option(
        Numbered("STATUS", *STATUSES), 403, "The status of the page.", positional=True
    )


@implementer(IRequestRule)
class Deny:
    """C{deny [STATUS]}: the client is refused with a page."""

    Options = _DenyOptions

    def __init__(self, options: _DenyOptions, context: Context) -> None:
        self._decision = decisions.Deny(options.status)

    def requestReceived(self, exchange: Exchange) -> decisions.Deny:
        return self._decision


def _aWhile(seconds: float) -> str | None:
    return None if 0 < seconds <= 3600 else "more than 0, up to 1h, is accepted"


@attr.frozen
class _TarpitOptions:
    time: float = option(
        Time(), 10.0, "How long the client waits for the page.", positional=True, check=_aWhile
    )
    status: int = option(
        Numbered("STATUS", *STATUSES), 500, "The status of the page.", positional=True
    )


@implementer(IRequestRule)
class Tarpit:
    """
    C{tarpit [TIME] [STATUS]}: the client is refused with a page after it has waited for
    it; with 500, as in HAProxy, so that it looks like a server in trouble.
    """

    Options = _TarpitOptions

    def __init__(self, options: _TarpitOptions, context: Context) -> None:
        self._decision = decisions.Deny(options.status, options.time)

    def requestReceived(self, exchange: Exchange) -> decisions.Deny:
        return self._decision


@implementer(IConnectionRule, IRequestRule)
class _Refusing:
    """The connection ends without an answer."""

    Options = _NoOptions
    how: ClassVar[str]

    def __init__(self, options: _NoOptions, context: Context) -> None:
        self._decision = decisions.Refuse(self.how)

    def connectionAccepted(self, exchange: Exchange) -> decisions.Refuse:
        return self._decision

    requestReceived = connectionAccepted


class Reject(_Refusing):
    """C{reject}: the connection is reset."""

    how = "reject"


class Close(_Refusing):
    """C{close}: the connection is closed."""

    how = "close"


class SilentDrop(_Refusing):
    """C{silent-drop}: the connection is let go of without a word to the client."""

    how = "silent-drop"


@implementer(IRequestRule)
class Tunnel:
    """C{tunnel}: the request goes to the pool, and what follows it is not parsed."""

    Options = _NoOptions

    def __init__(self, options: _NoOptions, context: Context) -> None:
        self._decision = decisions.Tunnel("iRule")

    def requestReceived(self, exchange: Exchange) -> decisions.Tunnel:
        return self._decision


# answers of our own


class _Line(OptionKind[tuple[Template, ...]]):
    """A field of an answer; there may be expressions in its value."""

    form = '"NAME: VALUE"'
    repeats = True

    def parse(self, text: str) -> tuple[Template, ...]:
        line = Template.parse(text)
        _divided(line)
        return (line,)


def _divided(line: Template) -> tuple[bytes, Template]:
    """
    @return: name and value of a field.
    @raise ValueError: if it is no field, or one that is not written so.
    """
    first = line.parts[0]
    name, colon, value = first.partition(":") if isinstance(first, str) else ("", "", "")
    if not colon:
        raise ValueError(f'{line.text!r} is not a field: write header="NAME: VALUE"')
    found = ChangedField().parse(name)
    if found.lower() == b"content-type":
        raise ValueError("Content-Type is what type= says")
    return found, Template(line.text, (value.lstrip(), *line.parts[1:]))


# RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
_WITHOUT_BODY = (204, 205, 304)


@attr.frozen
class _AnswerOptions:
    status: int = option(Integer(200, 599), doc="The status.", positional=True)
    text: Template | None = option(Templated(), None, "The body.", positional=True)
    file: str = option(Path(), "", "A file that is the body; it is read when rules are made.")
    type: str = option(Text(), "text/plain", "The type of the body.")
    header: tuple[Template, ...] = option(
        _Line(), (), "A further field; may be given several times."
    )

    def __attrs_post_init__(self) -> None:
        if self.text is not None and self.file:
            raise ValueError("the body is either a text or a file, not both")
        if self.status in _WITHOUT_BODY and (self.text is not None or self.file):
            raise ValueError(f"a response with the status {self.status} has no body")


@implementer(IRequestRule)
class Answer:
    """C{answer STATUS [TEXT]}: the client is answered by us."""

    Options = _AnswerOptions

    def __init__(self, options: _AnswerOptions, context: Context) -> None:
        """@raise ValueError: if the file cannot be read."""
        self._status = options.status
        self._type = (b"Content-Type", fieldValue(options.type))
        lines = [_divided(line) for line in options.header]
        self._fields = [(name, made(value, context, fieldValue)) for name, value in lines]
        body: Callable[[Exchange], bytes]
        if options.text is not None:
            body = made(options.text, context, wire)
        else:
            content = _content(options.file) if options.file else b""

            def body(exchange: Exchange) -> bytes:
                return content

        self._body = body
        templates = [value for _, value in lines]
        templates += [] if options.text is None else [options.text]
        self._same: decisions.Answer | None = None
        if all(one.constant is not None for one in templates):
            self._same = self._made(None)

    def _made(self, exchange: Any) -> decisions.Answer:
        fields = [(name, value(exchange)) for name, value in self._fields]
        body = self._body(exchange)
        if body:
            fields.append(self._type)
        return decisions.Answer(self._status, tuple(fields), body)

    def requestReceived(self, exchange: Exchange) -> decisions.Answer:
        return self._same or self._made(exchange)


def _content(path: str) -> bytes:
    """@raise ValueError: with a sentence, if a file cannot be read."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError(f"{path!r} cannot be read: it is not a plain file")
        with open(path, "rb") as file:
            found = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"{path!r} cannot be read: {error.strerror}") from None
    if len(found) > LARGEST_FILE:
        raise ValueError(f"{path!r} is longer than {LARGEST_FILE} bytes")
    return found
