"""
A connection to a Redis that nobody has to wait for: while it stands scripts are run, each
within a deadline; while it does not whoever asks is told so at once.

What is asked, and what an answer means, is L{lbtwist.stores.redis}'s.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.deadlines import Deadlines, Timed
from lbtwist.errors import BalancerError, StartError
from lbtwist.net.pem import trustRootOf
from lbtwist.sources.files import secret

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.stores.redis import RedisOptions
    from lbtwist.stores.speech import Speech

PAUSE = 1.0
"""Seconds until a Redis that is away is asked again."""

GREETING = 2.0
"""Seconds for a connection, TLS, AUTH and all, until it can be used."""

MOST_ASKED = 1000
"""Questions under way; of more it is not known what it would have said."""

_log = Logger()


def milliseconds(seconds: float) -> int:
    """@return: for a question; never none at all."""
    return max(1, round(seconds * 1000))


class Script:
    """
    A script in Lua, run in one step.

    @ivar digest: by which Redis knows it.
    """

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode()).hexdigest()


# Whether scripts are run and can write, which a replica, or one without memory, refuses.
_PROBE = Script("return redis.call('SET', KEYS[1], '', 'PX', 60000)")


@attr.frozen
class Address:
    """
    Where a Redis is.

    @ivar path: of a UNIX socket; C{""} for a host and a port.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Asked(Timed):
    """Something that Redis was asked."""

    __slots__ = ("args", "keys", "link", "ours", "script")

    def __init__(
        self, link: Link, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]
    ) -> None:
        super().__init__()
        self.link = link
        self.script = script
        self.keys = keys
        self.args = args
        self.ours: Deferred[Any] = Deferred(self._abandoned)

    def words(self, how: str) -> tuple[bytes | int | str, ...]:
        script = self.script.digest if how == "EVALSHA" else self.script.text
        return (how, script, len(self.keys), *self.keys, *self.args)

    def _abandoned(self, ours: object) -> None:
        self.link.forget(self)

    def expired(self) -> None:
        self.link.late()


class Link:
    """
    One connection to a Redis, made again whenever it is gone.

    @ivar errors: questions without an answer, those that were not asked among them.
    @ivar returned: called each time it can be asked, at first and again.
    """

    def __init__(
        self, options: RedisOptions, context: Context, scripts: Sequence[Script] = ()
    ) -> None:
        """@param scripts: that will be run."""
        self.errors = 0
        self._scripts = scripts
        self.returned: list[Callable[[], object]] = []
        self._options = options
        self._reactor = context.reactor
        self._clock = context.clock
        self._deadlines = Deadlines(context.reactor, context.clock)
        self._speech: Speech | None = None
        # The one that is not yet, or not any more, to be asked.
        self._other: Speech | None = None
        self._asked: dict[_Asked, None] = {}
        self._connecting: Deferred[Any] | None = None
        self._timer: Any = None
        self._running = False
        self._told = False
        self._secret = ""
        self._trusted: Any = None
        self._tried: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None

    def __repr__(self) -> str:
        return f"<Link {self._options.address} {'away' if self._speech is None else 'there'}>"

    @property
    def there(self) -> bool:
        """Whether it can be asked."""
        return self._speech is not None

    def start(self) -> Deferred[None] | None:
        """
        @return: fires when it can be asked, or is known to be away.
        @raise StartError: if a file that it needs cannot be read.
        """
        if self._running:
            return None
        self._trusted = self._trust()
        self._secret = self._password()
        self._running = True
        self._told = False
        self._stopped = None
        tried: Deferred[None] = Deferred()
        self._tried = tried
        self._connect()
        return tried

    def _known(self) -> None:
        tried, self._tried = self._tried, None
        if tried is not None:
            tried.callback(None)

    def stop(self) -> Deferred[None] | None:
        """@return: fires when no connection is left; L{None} if none is."""
        if not self._running:
            return self._stopped
        self._running = False
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        self._cancel()
        speech = self._speech or self._other
        if speech is not None:
            self._stopped = Deferred()
            self._forgo()
            speech.end()
        self._deadlines.stop()
        self._known()
        return self._stopped

    # questions

    def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int] = ()
    ) -> Deferred[Any] | None:
        """
        @return: the answer; L{None} in it, and in its place, where there is none. It may be
            cancelled, and does not fail but by that; what was asked is done or not then.
        """
        speech = self._speech
        if speech is None or len(self._asked) >= MOST_ASKED:
            self.errors += 1
            return None
        asked = _Asked(self, script, keys, args)
        self._asked[asked] = None
        self._deadlines.arm(asked, self._options.deadline, self._clock())
        self._say(speech, asked, "EVALSHA")
        return asked.ours

    def _say(self, speech: Speech, asked: _Asked, how: str) -> None:
        speech.ask(*asked.words(how)).addCallbacks(
            self._answered, self._refused, (asked,), errbackArgs=(speech, asked, how)
        )

    def _answered(self, answer: Any, asked: _Asked) -> None:
        if asked in self._asked:
            self.forget(asked)
            asked.ours.callback(answer)

    def _refused(self, failure: Failure, speech: Speech, asked: _Asked, how: str) -> None:
        if asked not in self._asked or speech is not self._speech:
            return
        why = failure.getErrorMessage()
        if why.startswith("NOSCRIPT") and how == "EVALSHA":
            self._say(speech, asked, "EVAL")
        elif "WRONGTYPE" in why:
            # Somebody else has written this key; of the others that says nothing.
            self._unanswered(asked)
        else:
            self._away(_said(why))

    def _unanswered(self, asked: _Asked) -> None:
        self.errors += 1
        self.forget(asked)
        asked.ours.callback(None)

    def forget(self, asked: _Asked) -> None:
        """Nobody waits for it any more."""
        self._asked.pop(asked, None)
        self._deadlines.forget(asked)

    def late(self) -> None:
        """An answer has not come in time."""
        self._away(f"no answer within {self._options.deadline * 1000:g} ms")

    # the connection

    def _forgo(self) -> None:
        """What was asked has no answer."""
        self._other, self._speech = self._speech or self._other, None
        for asked in list(self._asked):
            if asked in self._asked:
                self._unanswered(asked)

    def _away(self, why: str) -> None:
        self._connecting = None
        self._cancel()
        if not self._told:
            self._told = True
            _log.warn(
                "Redis at {address} is away: {why}. It is asked again each second; until then"
                " what is in it is not known", address=self._options.address, why=why,
            )  # fmt: skip
        self._timer = self._reactor.callLater(PAUSE, self._connect)
        self._forgo()
        if self._other is not None:
            self._other.end(why)
        self._known()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _connect(self) -> None:
        # Imported now: it installs a reactor.
        from lbtwist.stores.speech import Speech

        self._timer = None
        # What could be read before privileges were given up may not be readable any more.
        with suppress(StartError):
            self._secret = self._password()
        with suppress(StartError):
            self._trusted = self._trust()
        endpoint = self._endpoint()
        factory = Factory.forProtocol(lambda: Speech(self._lost))
        factory.noisy = False
        self._timer = self._reactor.callLater(GREETING, self._slow)
        self._connecting = connecting = Deferred.fromCoroutine(
            self._greet(endpoint, factory)
        )
        connecting.addCallbacks(self._greeted, self._failed)

    async def _greet(self, endpoint: Any, factory: Any) -> Speech:
        speech: Speech = await endpoint.connect(factory)
        self._other = speech
        options = self._options
        if self._secret:
            user = (options.username,) if options.username else ()
            await speech.ask("AUTH", *user, self._secret)
        if options.database:
            await speech.ask("SELECT", options.database)
        await speech.ask("EVAL", _PROBE.text, 1, f"{options.prefix}:probe")
        for script in self._scripts:
            # One that is not known yet would be run after what is asked later.
            await speech.ask("SCRIPT", "LOAD", script.text)
        return speech

    def _greeted(self, speech: Speech) -> None:
        self._cancel()
        self._connecting = self._other = None
        self._speech = speech
        if self._told:
            self._told = False
            _log.info("Redis at {address} is back", address=self._options.address)
        for tell in self.returned:
            tell()
        self._known()

    def _failed(self, failure: Failure) -> None:
        # Otherwise it was given up, and what Twisted says of that is of no interest.
        if self._connecting is not None:
            why = "" if self._other is None else self._other.why
            self._away(_said(why or failure.getErrorMessage()))

    def _slow(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        self._away(f"it cannot be used within {GREETING:g} s")

    def _lost(self, speech: Speech, why: str) -> None:
        if speech is self._speech:
            self._speech = None
            self._away(_said(why))
        elif speech is self._other:
            self._other = None
        if not self._running and self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    # what it needs

    def _endpoint(self) -> Any:
        options = self._options
        address = options.address
        if address.path:
            return UNIXClientEndpoint(self._reactor, address.path, timeout=GREETING)
        try:
            version = ipaddress.ip_address(address.host).version
        except ValueError:
            found: Any = HostnameEndpoint(
                self._reactor, address.host, address.port, timeout=GREETING
            )
        else:
            kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
            found = kind(self._reactor, address.host, address.port, timeout=GREETING)
        if not options.tls:
            return found
        return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=self._trusted), found)

    def _trust(self) -> Any:
        """@return: whom to believe; L{None} for those whom the machine believes."""
        return trustRootOf(self._options.ca) if self._options.ca else None

    def _password(self) -> str:
        """@raise StartError: if it cannot be read."""
        path = self._options.password_file
        if not path:
            return ""
        try:
            return secret(path)
        except (BalancerError, OSError, ValueError) as error:
            raise StartError(f"{path}: cannot be read: {error}") from None


def _said(why: str) -> str:
    """@return: what Redis or the machine said, in one line that is not long."""
    shown = "".join(one if one.isprintable() else " " for one in why)
    return " ".join(shown.split())[:200].rstrip(".") or "it has closed the connection"
