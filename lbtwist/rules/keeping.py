"""
The verbs that change no message, but what the balancer keeps of an exchange: variables for
further rules, captures for the log, and settings for this exchange alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.health import roleOf
from lbtwist.interfaces import IConnectionRule, IRequestRule, IResponseRule
from lbtwist.options import CookieName, Flag, Integer, Name, Time, Word, option
from lbtwist.rules.expression import Expression
from lbtwist.rules.reading import text
from lbtwist.rules.sound import made
from lbtwist.rules.template import Asked, Template, Templated, closing
from lbtwist.sansio.cookies import SetCookie, find

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


@attr.frozen
class _CookieOptions:
    name: bytes = option(CookieName(), doc="Of the cookie.", positional=True)
    len: int = option(Integer(1, 8192), 63, "The most characters of NAME=VALUE.")


@implementer(IRequestRule, IResponseRule)
class CaptureCookie:
    """
    C{capture-cookie NAME [len=N]}: C{NAME=VALUE} for C{%CC}, of what the client sends, and
    for C{%CS}, of what the server sets; of several of its own the last.
    """

    Options = _CookieOptions

    def __init__(self, options: _CookieOptions, context: Context) -> None:
        self._name = options.name
        self._length = options.len

    def requestReceived(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        found = find(exchange.request.fields.getAll(b"cookie"), self._name)
        if found is not None:
            self._keep(exchange, "request", found)

    def responseReceived(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        for line in exchange.response.fields.getAll(b"set-cookie"):
            cookie = SetCookie(line)
            if cookie.name == self._name:
                self._keep(exchange, "response", cookie.cookieValue)

    def _keep(self, exchange: Exchange, kind: str, value: bytes) -> None:
        if exchange.captures is None:
            exchange.captures = {"request": {}, "response": {}}
        said = text(b"%b=%b" % (self._name, value))
        exchange.captures.setdefault("cookie", {})[kind] = said[: self._length]


_MOST_OFFSET = 524.287
"""Seconds, in either direction: twenty bits of milliseconds, as in HAProxy."""


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


class _Offset(Time):
    """A time that may be negative, within HAProxy's bounds."""

    def parse(self, text: str) -> float:
        seconds = super().parse(text.removeprefix("-"))
        if seconds > _MOST_OFFSET:
            raise ValueError(f"{text} is out of bounds: up to {_MOST_OFFSET}s is accepted")
        return -seconds if text.startswith("-") else seconds


class _Class(Integer):
    """Of a priority, within HAProxy's bounds."""

    form = "CLASS"


@attr.frozen
class _PriorityOptions:
    level: int = option(
        _Class(-2047, 2047), doc="The class; who has the least is served first.", positional=True
    )
    offset: float = option(
        _Offset(), 0.0, "Within its class it counts as if it had come so much later."
    )


@implementer(IConnectionRule)
class Priority(_Setting):
    """
    C{priority CLASS [offset=TIME]}: the place in a queue, as C{set-priority-class} and
    C{set-priority-offset} of HAProxy.
    """

    Options = _PriorityOptions
    name = "priority"

    def __init__(self, options: _PriorityOptions, context: Context) -> None:
        self.value = options.level, options.offset

    connectionAccepted = _Setting.requestReceived


def _isRole(template: Template) -> str | None:
    constant = template.constant
    if constant is None or roleOf(constant):
        return None
    return f"{constant!r} is no role: up to 32 letters, digits and - _ . are accepted"


@attr.frozen
class _RoleOptions:
    name: Template = option(Templated(), doc="The role.", positional=True, check=_isRole)


@implementer(IConnectionRule, IRequestRule)
class Role:
    """
    C{role NAME}: only servers of this role are asked, see L{lbtwist.health.Result.role}. A
    computed name that is none, as an empty text, takes back what was said before.
    """

    Options = _RoleOptions

    def __init__(self, options: _RoleOptions, context: Context) -> None:
        self._role = made(options.name, context, roleOf)

    def connectionAccepted(self, exchange: Exchange) -> None:
        role = self._role(exchange)
        if exchange.settings is None:
            exchange.settings = {}
        if role is None:
            exchange.settings.pop("role", None)
        else:
            exchange.settings["role"] = role

    requestReceived = connectionAccepted


@attr.frozen
class _NoOptions:
    """There is nothing to say."""


class _Persist:
    Options = _NoOptions
    _how = ""

    def __init__(self, options: _NoOptions, context: Context) -> None:
        pass

    def connectionAccepted(self, exchange: Exchange) -> None:
        if exchange.settings is None:
            exchange.settings = {}
        exchange.settings["persist"] = self._how

    requestReceived = connectionAccepted


@implementer(IConnectionRule, IRequestRule)
class ForcePersist(_Persist):
    """
    C{force-persist}: the client comes to the server it had even if that is down or in
    maintenance, as to test it there.
    """

    _how = "force"


@implementer(IConnectionRule, IRequestRule)
class IgnorePersist(_Persist):
    """
    C{ignore-persist}: what the client had does not count for this exchange, and nothing is
    remembered of it.
    """

    _how = "ignore"


class NoRetry(_Setting):
    """C{no-retry}: once it was sent, this request is not sent again, whatever the pool says."""

    Options = _NoOptions
    name = "retry"
    value = False

    def __init__(self, options: _NoOptions, context: Context) -> None:
        pass
