"""
The verbs that change the first line of a request or a response, and the host.

The head stays one that can be sent: what cannot be made good of a text is answered with
400, and where a body ends is never changed. Fields are changed by L{lbtwist.rules.fields}.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule, IResponseRule
from lbtwist.options import Integer, Text, option
from lbtwist.rules import sound
from lbtwist.rules.decisions import Deny
from lbtwist.rules.reading import text
from lbtwist.rules.replacing import SafePattern, checkText, replacement
from lbtwist.rules.sound import MALFORMED, made, scopeOf
from lbtwist.rules.template import Template, Templated

if TYPE_CHECKING:
    from lbtwist.registry import Context

# the target


@implementer(IRequestRule)
class _Retargeting:
    """
    Changes the target of a request. That of a C{CONNECT} is no path, and stays; in place of
    the C{*} of an C{OPTIONS} there can be a path.
    """

    def requestReceived(self, exchange: Exchange) -> Deny | None:
        head = exchange.request
        assert head is not None
        if head.method == b"CONNECT":
            return None
        said = self.target(text(head.target), exchange)
        if said is None:
            return None
        target = sound.target(said)
        if target is None:
            return MALFORMED
        head.target = target
        return None

    def target(self, target: str, exchange: Exchange) -> str | None:
        """@return: what takes the place of a target, L{None} to leave it."""
        raise NotImplementedError


def _beginsWithSlash(template: Template) -> str | None:
    first = template.parts[0]
    if isinstance(first, str) and not first.startswith("/"):
        return f"{template.text!r} does not begin with a /"
    constant = template.constant
    if constant is not None and sound.target(constant) is None:
        return f"it has a #, or is longer than {sound.LONGEST_TARGET} bytes"
    return None


def _isPath(template: Template) -> str | None:
    if any(isinstance(part, str) and "?" in part for part in template.parts):
        return "a path has no query: write set-uri, or set-query in a line of its own"
    return _beginsWithSlash(template)


def _isQuery(template: Template) -> str | None:
    first = template.parts[0]
    if isinstance(first, str) and first.startswith("?"):
        return "a query is written without its ?"
    if any(isinstance(part, str) and "#" in part for part in template.parts):
        return "a query has no #: write %23"
    return None


@attr.frozen
class _PathOptions:
    text: Template = option(Templated(), doc="The path.", positional=True, check=_isPath)


class SetPath(_Retargeting):
    """C{set-path TEXT}: the query stays. A C{?} of the text is encoded."""

    Options = _PathOptions

    def __init__(self, options: _PathOptions, context: Context) -> None:
        self._path = made(options.text, context, _asPath)

    def target(self, target: str, exchange: Exchange) -> str | None:
        _, mark, query = target.partition("?")
        return self._path(exchange) + mark + query


def _asPath(said: str) -> str:
    return said.replace("?", "%3F")


@attr.frozen
class _ReplacePathOptions:
    regex: re.Pattern[str] = option(SafePattern(), doc="What is looked for.", positional=True)
    text: Template = option(
        Templated(), doc="What takes the place of the path; \\1 is a group.", positional=True
    )

    def __attrs_post_init__(self) -> None:
        checkText(self.text, self.regex)


class ReplacePath(_Retargeting):
    """
    C{replace-path REGEX TEXT}: where REGEX is found in the path, TEXT takes its place: that
    of the whole path, as in HAProxy. The query stays.
    """

    Options = _ReplacePathOptions

    def __init__(self, options: _ReplacePathOptions, context: Context) -> None:
        self._replaced = replacement(options.regex, options.text, scopeOf(context))

    def target(self, target: str, exchange: Exchange) -> str | None:
        path, mark, query = target.partition("?")
        replaced = self._replaced(path, exchange)
        return None if replaced is None else _asPath(replaced) + mark + query


@attr.frozen
class _QueryOptions:
    text: Template | None = option(
        Templated(), None, "The query; without it there is none.", positional=True, check=_isQuery
    )


class SetQuery(_Retargeting):
    """C{set-query [TEXT]}: the path stays. Of an empty query the C{?} goes too."""

    Options = _QueryOptions

    def __init__(self, options: _QueryOptions, context: Context) -> None:
        self._query = made(options.text or Template.parse(""), context, str)

    def target(self, target: str, exchange: Exchange) -> str | None:
        path = target.partition("?")[0]
        if path == "*":
            return None
        query = self._query(exchange)
        return f"{path}?{query}" if query else path


@attr.frozen
class _TargetOptions:
    text: Template = option(
        Templated(), doc="Path and query.", positional=True, check=_beginsWithSlash
    )


class SetURI(_Retargeting):
    """C{set-uri TEXT}: path and query."""

    Options = _TargetOptions

    def __init__(self, options: _TargetOptions, context: Context) -> None:
        self._target = made(options.text, context, str)

    def target(self, target: str, exchange: Exchange) -> str | None:
        return self._target(exchange)


# method and host


def _isMethod(template: Template) -> str | None:
    constant = template.constant
    if constant is None:
        return None
    if constant.upper() in ("CONNECT", "HEAD"):
        return f"no request can be made a {constant.upper()}: its response ends elsewhere"
    return None if sound.method(constant) else f"{constant!r} is not a method"


@attr.frozen
class _MethodOptions:
    text: Template = option(Templated(), doc="The method.", positional=True, check=_isMethod)


def _bodiless(method: bytes) -> bool:
    # Methods are compared as they are written, but not by everybody.
    return method.upper() == b"HEAD"


@implementer(IRequestRule)
class SetMethod:
    """
    C{set-method TEXT}: the method, as the server sees it.

    Whether a response has a body depends on the method (RFC 9112 section 6.3), and the
    client knows only its own: a C{HEAD} stays one, and nothing else becomes one. A
    C{CONNECT} stays too, as does an C{OPTIONS} for C{*}, which is a target of no other
    method (section 3.2.4).
    """

    Options = _MethodOptions

    def __init__(self, options: _MethodOptions, context: Context) -> None:
        self._method = made(options.text, context, sound.method)

    def requestReceived(self, exchange: Exchange) -> Deny | None:
        head = exchange.request
        assert head is not None
        method = self._method(exchange)
        if method is None:
            return MALFORMED
        if not (
            head.method == b"CONNECT"
            or head.target == b"*"
            or _bodiless(head.method)
            or _bodiless(method)
        ):
            head.method = method
        return None


def _isHost(template: Template) -> str | None:
    constant = template.constant
    if constant is None or sound.host(constant):
        return None
    return f"{constant!r} is not a host: write NAME, NAME:PORT or [ADDRESS]:PORT"


@attr.frozen
class _HostOptions:
    text: Template = option(Templated(), doc="The host.", positional=True, check=_isHost)


@implementer(IRequestRule)
class SetHost:
    """
    C{set-host TEXT}: the host, for the server and for the rules that follow. That of a
    C{CONNECT} is its target's, and stays.
    """

    Options = _HostOptions

    def __init__(self, options: _HostOptions, context: Context) -> None:
        self._host = made(options.text, context, sound.host)

    def requestReceived(self, exchange: Exchange) -> Deny | None:
        head = exchange.request
        assert head is not None
        host = self._host(exchange)
        if host is None:
            return MALFORMED
        if head.method != b"CONNECT":
            setHost(exchange, host)
        return None


def setHost(exchange: Exchange, host: bytes) -> None:
    """@param host: what L{sound.host} has made, or as good."""
    head = exchange.request
    assert head is not None
    if exchange.clientHost is None:
        exchange.clientHost = head.host
    head.host = host
    head.fields.set(b"Host", host)


# the status


def _hasBody(status: int) -> bool:
    return status >= 200 and status not in (204, 304)


def _isStatus(status: int) -> str | None:
    if _hasBody(status) and status != 205:
        return None
    return f"a response with the status {status} has no body, and this one may have one"


def _isReason(reason: str) -> str | None:
    printable = reason.isascii() and reason.isprintable()
    return None if printable else "a reason is written in printable ASCII"


@attr.frozen
class _StatusOptions:
    status: int = option(Integer(100, 599), doc="The status.", positional=True, check=_isStatus)
    reason: str = option(
        Text(), "", "The words after it; empty are the usual ones.", check=_isReason
    )


@implementer(IResponseRule)
class SetStatus:
    """
    C{set-status STATUS [reason=TEXT]}: the status, as the client sees it.

    Responses whose status says that they have no body stay as they are (RFC 9112 section
    6.3), as do those to C{CONNECT}: of them it says whether there is a tunnel.
    """

    Options = _StatusOptions

    def __init__(self, options: _StatusOptions, context: Context) -> None:
        self._status = options.status
        reason = options.reason
        if not reason and options.status in _PHRASES:
            reason = _PHRASES[options.status]
        self._end = f" {options.status} {reason}".encode()

    def responseReceived(self, exchange: Exchange) -> None:
        head = exchange.response
        request = exchange.request
        assert head is not None
        if not _hasBody(head.status) or (request is not None and request.method == b"CONNECT"):
            return
        head.status = exchange.status = self._status
        head.line = head.line[: len(b"HTTP/1.1")] + self._end


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
