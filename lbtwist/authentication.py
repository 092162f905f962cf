"""
The verb C{auth}: who a client is, by a name and a password, or by asking an HTTP service.

What is decided where that cannot be found out is not said here, but in the rule: see
L{lbtwist.waiting}. Files of passwords are L{lbtwist.rules.passwords}'.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attr
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from zope.interface import implementer

from lbtwist.errors import Undecided
from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule
from lbtwist.options import Flag, HostName, Kind, Path, Text, Word, option
from lbtwist.rules.decisions import Answer
from lbtwist.rules.fields import alike
from lbtwist.rules.limits import refusal
from lbtwist.rules.passwords import credentials, matches, readUsers
from lbtwist.rules.reading import schemeOf, text, wire
from lbtwist.rules.sound import ChangedField, fieldValue
from lbtwist.sansio.grammar import HOP_BY_HOP, isToken

if TYPE_CHECKING:
    from lbtwist.registry import Context

AT_ONCE = 4
"""Passwords of one rule that are compared at once, each by a thread."""

REMEMBERED = 60.0
"""Seconds for which a good password need not be compared again."""

MOST_REMEMBERED = 10_000

LARGEST_BODY = 65536
"""Bytes of a service's answer that a client is given."""

IDLE = 15
"""Seconds for which a connection to a service is kept that nobody uses."""

_LOOK = 1.0

_log = Logger()


class _URL(Kind[str]):
    """Where a service is."""

    form = "http://HOST:PORT/PATH"

    def parse(self, text: str) -> str:
        if not re.fullmatch("[!-~]+", text):
            raise ValueError(f"{text!r} is not a URL")
        parts = urlsplit(text)
        # Raises for what is no port.
        port = parts.port
        if parts.scheme != "http" or not parts.hostname or port == 0:
            raise ValueError(f"{text!r} is not where a service is: write http://HOST:PORT/PATH")
        if parts.username is not None or parts.fragment:
            raise ValueError(f"{text!r} has a user or a fragment, which are not sent")
        HostName().parse(parts.hostname)
        return text


class _Names(Kind[tuple[bytes, ...]]):
    """Names of fields that rules may change, separated by commas."""

    form = "NAME,NAME"

    def parse(self, text: str) -> tuple[bytes, ...]:
        return tuple(ChangedField().parse(name.strip()) for name in text.split(","))


@attr.frozen
class _AuthOptions:
    how: str = option(Word("basic"), "", "By name and password.", positional=True)
    users: str = option(Path(), "", "The htpasswd file.")
    realm: str = option(Text(), "Restricted", "What the client is told the password is for.")
    strip: bool = option(Flag(), False, "Whether servers are not shown the password.")
    url: str = option(_URL(), "", "The service that is asked.")
    copy: tuple[bytes, ...] = option(
        _Names(), (), "Fields of its answer that the request gets; never the client's own."
    )

    def __attrs_post_init__(self) -> None:
        if bool(self.how) == bool(self.url):
            raise ValueError("needs either basic users=PATH or url=http://HOST:PORT/PATH")
        if bool(self.how) != bool(self.users):
            raise ValueError("basic and users=PATH belong together")
        if self.copy and not self.url:
            raise ValueError("copy= says something for url= only")
        if self.strip and not self.how:
            raise ValueError("strip says something for basic only")


@implementer(IRequestRule)
class Auth:
    """
    C{auth basic users=FILE [realm=TEXT] [strip]}, C{auth url=URL [copy=NAME,NAME]}: who may
    not go on is answered.
    """

    Options = _AuthOptions

    def __init__(self, options: _AuthOptions, context: Context) -> None:
        """@raise OSError, ValueError: if the file of users cannot be used."""
        self._by = Basic(options, context) if options.how else Service(options, context)
        self.fieldNames = tuple(alike(name) for name in options.copy)

    def requestReceived(self, exchange: Exchange) -> Any:
        return self._by.requestReceived(exchange)


# by a password


class Users:
    """The users of a file, which is read anew when it has changed."""

    def __init__(self, path: str, seconds: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._read = self._stamp()
        self._lookAt = seconds() + _LOOK
        self._users = readUsers(path)

    def hashOf(self, user: bytes) -> str | None:
        """@return: what is stored for a user, L{None} if there is none."""
        now = self._seconds()
        if now >= self._lookAt:
            self._lookAt = now + _LOOK
            self._look()
        return self._users.get(user)

    @property
    def any(self) -> str | None:
        """The hash of some user."""
        return next(iter(self._users.values()), None)

    def _stamp(self) -> tuple[int, ...] | None:
        """@return: what differs when the file has been changed; L{None} if it is gone."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._read:
            return
        self._read = stamp
        try:
            self._users = readUsers(self._path)
        except (OSError, ValueError) as error:
            _log.warn("the users of {path} stay as they were: {error}", path=self._path,
                      error=error)  # fmt: skip


class Basic:
    """Asks for a name and a password (RFC 7617)."""

    def __init__(self, options: _AuthOptions, context: Context) -> None:
        self._users = Users(options.users, context.clock)
        self._strip = options.strip
        self._reactor = context.reactor
        self._seconds = context.clock
        self._turns = DeferredSemaphore(AT_ONCE)
        self._key = secrets.token_bytes(32)
        # Until when, by a keyed hash of user, password and what was stored for them.
        self._good: OrderedDict[bytes, float] = OrderedDict()
        # Who waits for a thread, by the same.
        self._comparing: dict[bytes, list[Deferred[Any]]] = {}
        quoted = re.sub(r'(["\\])', r"\\\1", options.realm)
        self._challenge = refusal(
            401, "You need a valid user and password to access this content.",
            (b"WWW-Authenticate",
             b'Basic realm="%b", charset="UTF-8"' % fieldValue(quoted)),
        )  # fmt: skip

    def requestReceived(
        self, exchange: Exchange
    ) -> Answer | Coroutine[Deferred[Any], Any, Answer | None] | None:
        assert exchange.request is not None
        said = credentials(exchange.request.fields.getAll(b"authorization"))
        if said is None:
            return self._challenge
        user, password = said
        stored = self._users.hashOf(user)
        digest = self._digest(user, password, stored)
        if self._isGood(digest):
            self._pass(exchange, user)
            return None
        return self._compared(exchange, user, password, stored, digest)

    async def _compared(
        self, exchange: Exchange, user: bytes, password: bytes, stored: str | None, digest: bytes
    ) -> Answer | None:
        if digest not in self._comparing:
            await self._turns.acquire()
            # Somebody else may have said the same meanwhile.
            if digest in self._comparing or self._isGood(digest):
                self._turns.release()
            else:
                self._comparing[digest] = []
                self._compare(digest, stored, password)
        if digest in self._comparing:
            found: Deferred[Any] = Deferred()
            self._comparing[digest].append(found)
            await found
        if not self._isGood(digest):
            return self._challenge
        self._pass(exchange, user)
        return None

    def _compare(self, digest: bytes, stored: str | None, password: bytes) -> None:
        """
        Have a thread compare a password, and tell who waits for it in C{_comparing}. A turn
        has been taken; it is given back when the thread is done, and not before, whether
        anybody still waits or not.
        """

        def done(result: Any) -> None:
            self._turns.release()
            if result is True and stored is not None:
                self._good.pop(digest, None)
                self._good[digest] = self._seconds() + REMEMBERED
                if len(self._good) > MOST_REMEMBERED:
                    self._good.popitem(last=False)
            for waiting in self._comparing.pop(digest):
                waiting.callback(result)

        # For whom nothing is stored it takes as long, so that nobody learns who is known.
        against = stored or self._users.any or ""
        pool = self._reactor.getThreadPool()
        deferToThreadPool(self._reactor, pool, matches, against, password).addBoth(done)

    def _digest(self, user: bytes, password: bytes, stored: str | None) -> bytes:
        # Neither of them has a control character in it.
        said = b"\0".join((user, password, (stored or "").encode()))
        return hashlib.blake2b(said, key=self._key, digest_size=32).digest()

    def _isGood(self, digest: bytes) -> bool:
        until = self._good.get(digest)
        return until is not None and self._seconds() < until

    def _pass(self, exchange: Exchange, user: bytes) -> None:
        exchange.vars = {**(exchange.vars or {}), "auth.user": text(user)}
        if self._strip:
            assert exchange.request is not None
            exchange.request.fields.remove(b"authorization")


# by a service

_NOT_OURS = frozenset((*HOP_BY_HOP, b"content-length", b"trailer", b"upgrade"))


class Service:
    """
    Asks an HTTP service, as C{auth_request} of nginx and C{forwardAuth} of Traefik do: 2xx
    lets a request go on; 401, 403 and 3xx are given to the client.
    """

    def __init__(self, options: _AuthOptions, context: Context) -> None:
        self._url = options.url.encode()
        self._copied = options.copy
        self._reactor = context.reactor
        self._agent: Agent | None = None

    def requestReceived(
        self, exchange: Exchange
    ) -> Coroutine[Deferred[Any], Any, Answer | None]:
        assert exchange.request is not None
        # What only the service may say is not for clients to say, whatever is decided.
        for name in self._copied:
            exchange.request.fields.removeAlike(name.lower())
        return self._asked(exchange)

    async def _asked(self, exchange: Exchange) -> Answer | None:
        try:
            response = await self._agentFor().request(b"GET", self._url, _question(exchange))
            body = await bodyOf(response)
        except CancelledError:
            raise
        except Exception as error:
            raise Undecided(f"{text(self._url)}: {_reason(error)}") from None
        status = response.code
        if 200 <= status < 300:
            self._copy(exchange, response.headers)
            return None
        if status not in (401, 403) and (not 300 <= status < 400 or status == 304):
            raise Undecided(f"{text(self._url)} has answered {status}")
        if body is None:
            raise Undecided(f"{text(self._url)} has answered more than {LARGEST_BODY} bytes")
        return Answer(status, _fieldsOf(response.headers), body, denied=status >= 400)

    def _agentFor(self) -> Agent:
        if self._agent is None:
            pool = HTTPConnectionPool(self._reactor)
            pool.cachedConnectionTimeout = IDLE
            pool.maxPersistentPerHost = 32
            self._agent = Agent(self._reactor, pool=pool)
        return self._agent

    def _copy(self, exchange: Exchange, headers: Headers) -> None:
        assert exchange.request is not None
        for name in self._copied:
            for value in headers.getRawHeaders(name, ()):
                exchange.request.fields.add(name, fieldValue(text(value)))


def _question(exchange: Exchange) -> Headers:
    head = exchange.request
    assert head is not None
    connection = exchange.connection
    client = [connection.client[0].encode()]
    if connection.trusted:
        client = [*head.fields.getAll(b"x-forwarded-for"), *client]
    said = {
        b"X-Forwarded-Method": [head.method],
        b"X-Forwarded-Proto": [wire(schemeOf(exchange))],
        b"X-Forwarded-Host": [head.host],
        b"X-Forwarded-Uri": [head.target],
        b"X-Forwarded-For": [b", ".join(client)],
    }
    for name in (b"Authorization", b"Cookie"):
        values = head.fields.getAll(name.lower())
        if values:
            said[name] = values
    return Headers(said)


def _fieldsOf(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """@return: the fields that are not about the connection they came by."""
    return tuple(
        (name, fieldValue(text(value)))
        for name, values in headers.getAllRawHeaders()
        if name.lower() not in _NOT_OURS and isToken(name) is not None
        for value in values
    )


def _reason(error: Exception) -> str:
    """Those of Twisted's errors that consist of others say less than these."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return str(reasons[-1].getErrorMessage())
    return str(error) or type(error).__name__


class _Body(Protocol):
    """
    Takes the body of an answer.

    @ivar done: fires with it; with L{None} if it is longer than L{LARGEST_BODY}.
    """

    def __init__(self) -> None:
        self._data = b""
        self.done: Deferred[bytes | None] = Deferred(lambda done: self._stop())

    @property
    def _tooLong(self) -> bool:
        return len(self._data) > LARGEST_BODY

    def _stop(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if not self._tooLong:
            self._data += data
            if self._tooLong:
                self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if self._tooLong:
            self.done.callback(None)
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(self._data)
        else:
            self.done.errback(reason)


def bodyOf(response: Any) -> Deferred[bytes | None]:
    """
    @param response: what an L{Agent} has been answered.
    @return: fires with the body, or with L{None} if it is longer than L{LARGEST_BODY}. When
        it is cancelled the connection ends.
    """
    body = _Body()
    response.deliverBody(body)
    return body.done
