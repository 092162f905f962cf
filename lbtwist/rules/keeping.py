"""
The verbs that change no message, but what the balancer keeps of an exchange: variables for
further rules, captures for the log, and settings for this exchange alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.options import Flag, Integer, Name, Time, Word, option
from lbtwist.rules.expression import Expression
from lbtwist.rules.sound import made
from lbtwist.rules.template import Asked, Template, closing

if TYPE_CHECKING:
    from lbtwist.registry import Context


class _Value(Asked):
    """An expression, with braces around it or without: in braces quotes are its own."""

    def parse(self, text: str) -> Expression:
        if text.startswith("{") and closing(text, 0) == len(text) - 1:
            text = f"({text[1:-1]})"
        return super().parse(text)


def _asTemplate(expression: Expression) -> Template:
    """@return: the text of an expression."""
    return Template(expression.text, ((0, expression),))


@attr.frozen
class _VarOptions:
    name: str = option(Name(), doc="What var[...] reads.", positional=True)
    value: Expression = option(_Value(), doc="What is kept; as text.", positional=True)


@implementer(IConnectionRule, IRequestRule, IResponseRule)
class SetVar:
    """C{set-var NAME EXPRESSION}: kept for the rules that follow, and for the log."""

    Options = _VarOptions

    def __init__(self, options: _VarOptions, context: Context) -> None:
        self._name = options.name
        self._value = made(_asTemplate(options.value), context, str)

    def connectionAccepted(self, exchange: Exchange) -> None:
        value = self._value(exchange)
        if exchange.vars is None:
            exchange.vars = {}
        exchange.vars[self._name] = value

    requestReceived = responseReceived = connectionAccepted


@attr.frozen
class _CaptureOptions:
    name: str = option(Name(), doc="What the log calls it.", positional=True)
    value: Expression = option(_Value(), doc="What is captured; as text.", positional=True)
    len: int = option(Integer(1, 8192), 64, "So many characters of it.")


@implementer(IRequestRule, IResponseRule)
class Capture:
    """C{capture NAME EXPRESSION [len=N]}: text for the log."""

    Options = _CaptureOptions

    def __init__(self, options: _CaptureOptions, context: Context) -> None:
        self._name = options.name
        self._length = options.len
        self._value = made(_asTemplate(options.value), context, str)

    def _capture(self, exchange: Exchange, kind: str) -> None:
        captures = exchange.captures
        if captures is None:
            captures = exchange.captures = {"request": {}, "response": {}}
        captures[kind][self._name] = self._value(exchange)[: self._length]

    def requestReceived(self, exchange: Exchange) -> None:
        self._capture(exchange, "request")

    def responseReceived(self, exchange: Exchange) -> None:
        self._capture(exchange, "response")


@implementer(IRequestRule, IResponseRule)
class _Setting:
    """Sets an option for one exchange."""

    name: str
    value: Any

    def requestReceived(self, exchange: Exchange) -> None:
        if exchange.settings is None:
            exchange.settings = {}
        exchange.settings[self.name] = self.value

    responseReceived = requestReceived


@attr.frozen
class _TimeoutOptions:
    which: str = option(
        Word("tunnel", "server", "client"), doc="Which timeout.", positional=True
    )
    time: float = option(Time(), doc="The time; 0 is no limit.", positional=True)


class SetTimeout(_Setting):
    """C{set-timeout tunnel|server|client TIME}: for this exchange alone."""

    Options = _TimeoutOptions

    def __init__(self, options: _TimeoutOptions, context: Context) -> None:
        self.name = f"timeout_{options.which}"
        self.value = options.time


@attr.frozen
class _LogOptions:
    wanted: bool = option(Flag(), doc="Whether a line is written.", positional=True)


class SetLog(_Setting):
    """C{set-log yes|no}: whether this exchange gets a line in the log."""

    Options = _LogOptions
    name = "log"

    def __init__(self, options: _LogOptions, context: Context) -> None:
        self.value = options.wanted
