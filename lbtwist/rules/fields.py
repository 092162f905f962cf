"""
The verbs that change header fields, of requests and of responses.

What frames a message or concerns one connection is never theirs to change; see
L{lbtwist.rules.sound}.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule, IResponseRule
from lbtwist.options import option
from lbtwist.rules.reading import text
from lbtwist.rules.replacing import SafePattern, checkText, eachReplaced, replacement
from lbtwist.rules.sound import ChangedField, fieldValue, made, scopeOf, whyNotField
from lbtwist.rules.template import Template, Templated
from lbtwist.sansio.headers import TELLING, Fields

if TYPE_CHECKING:
    from lbtwist.registry import Context


@implementer(IRequestRule, IResponseRule)
class _Changing:
    """
    Changes the fields of the message that its stage is about.

    @ivar fieldNames: see L{lbtwist.rules.rulebook.Rule.names}.
    """

    fieldNames: tuple[bytes, ...]

    def requestReceived(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        self.change(exchange.request.fields, exchange)

    def responseReceived(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        self.change(exchange.response.fields, exchange)

    def change(self, fields: Fields, exchange: Exchange) -> None:
        raise NotImplementedError


@attr.frozen
class _FieldOptions:
    name: bytes = option(ChangedField(), doc="Of the field.", positional=True)
    text: Template = option(Templated(), doc="Its value.", positional=True)


def alike(name: bytes) -> bytes:
    """@return: a name as many servers read it."""
    return name.lower().replace(b"_", b"-")


class SetHeader(_Changing):
    """
    C{set-header NAME TEXT}: one field takes the place of all of its name; in a request
    those too that are written with C{_} for C{-}, which many servers take for the same.
    """

    Options = _FieldOptions

    def __init__(self, options: _FieldOptions, context: Context) -> None:
        self._name = options.name
        self.fieldNames = (alike(options.name),)
        self._value = made(options.text, context, fieldValue)
        self._tells = options.name.lower() in TELLING

    def requestReceived(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        self.changeRequest(exchange.request.fields, exchange)
        if self._tells:
            # What a rule says of the client is not said once more by the balancer.
            settings = exchange.settings or {}
            told = settings.get("told", frozenset()) | {self._name.lower()}
            exchange.settings = {**settings, "told": told}

    def changeRequest(self, fields: Fields, exchange: Exchange) -> None:
        # What it is made of may be what it takes the place of.
        value = self._value(exchange)
        fields.removeAlike(self._name.lower())
        fields.add(self._name, value)

    def change(self, fields: Fields, exchange: Exchange) -> None:
        fields.set(self._name, self._value(exchange))


class AddHeader(SetHeader):
    """C{add-header NAME TEXT}: one more field, after those there are."""

    def change(self, fields: Fields, exchange: Exchange) -> None:
        fields.add(self._name, self._value(exchange))

    changeRequest = change


class _Several(ChangedField):
    """The name of a field, or the beginning of names and C{*}."""

    form = "NAME|BEGINNING*"

    def parse(self, text: str) -> bytes:
        # A star alone is the name of a field too, in theory.
        if text == "*":
            raise ValueError("'*' would be all fields: write how their names begin, as in X-*")
        return super().parse(text)


@attr.frozen
class _DelOptions:
    name: bytes = option(
        _Several(), doc="Of the fields; X-* is all that begin so.", positional=True
    )


class DelHeader(_Changing):
    """
    C{del-header NAME}: no field of this name. C{NAME*}: none whose name begins so, but for
    those that no rule changes, such as C{Content-Length}. A C{_} in a name is a C{-}, since
    many servers take the one for the other.
    """

    Options = _DelOptions

    def __init__(self, options: _DelOptions, context: Context) -> None:
        name = alike(options.name)
        self.fieldNames = (name,)
        self._name = name.removesuffix(b"*")
        self._several = name.endswith(b"*")

    def change(self, fields: Fields, exchange: Exchange) -> None:
        beginning = self._name
        if not self._several:
            fields.removeAlike(beginning)
            return
        for name in {alike(name) for name, _ in fields}:
            if name.startswith(beginning) and not whyNotField(name):
                fields.removeAlike(name)


@attr.frozen
class _ReplaceOptions:
    name: bytes = option(ChangedField(), doc="Of the fields.", positional=True)
    regex: re.Pattern[str] = option(SafePattern(), doc="What is looked for.", positional=True)
    text: Template = option(
        Templated(), doc="What takes the place of the value; \\1 is a group.", positional=True
    )

    def __attrs_post_init__(self) -> None:
        checkText(self.text, self.regex)


class ReplaceHeader(_Changing):
    """
    C{replace-header NAME REGEX TEXT}: of every field of the name in which REGEX is found,
    TEXT takes the place of the value: of the whole of it, as in HAProxy.
    """

    Options = _ReplaceOptions

    def __init__(self, options: _ReplaceOptions, context: Context) -> None:
        self._name = options.name.lower()
        self.fieldNames = (alike(options.name),)
        self._replaced = replacement(options.regex, options.text, scopeOf(context))

    def replaced(self, said: str, exchange: Exchange) -> str | None:
        return self._replaced(said, exchange)

    def change(self, fields: Fields, exchange: Exchange) -> None:
        def changed(value: bytes) -> bytes | None:
            other = self.replaced(text(value), exchange)
            return None if other is None else fieldValue(other)

        fields.change(self._name, changed)


class ReplaceValue(ReplaceHeader):
    """
    C{replace-value NAME REGEX TEXT}: the same of every value between commas; a comma
    between quotes does not separate.
    """

    def replaced(self, said: str, exchange: Exchange) -> str | None:
        return eachReplaced(self._replaced, said, exchange)
