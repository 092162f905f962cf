"""
Who asks, and whether a page of somebody else has made him ask: tokens, the cookie of the page,
wrong guesses, the names by which a browser may call us.

What one may do with it is said by each operation of L{lbtwist.admin.web.api}.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.admin.web.answers import Problem
from lbtwist.admin.web.tokens import READ, Token, Tokens, digestOf

LIFETIME = 8 * 3600.0
"""Seconds after which somebody has to log in again."""

MOST_SESSIONS = 256
"""So many are logged in at once; the oldest is forgotten for one more."""

GUESSES = 10
"""So many wrong tokens in L{WINDOW} seconds are looked at, of one address."""

WINDOW = 60.0

MOST_ADDRESSES = 1024
"""Of so many addresses it is remembered how often they were wrong."""

HEADER = "X-Lbtwist"
"""A field that no page of somebody else can have a browser send to us."""

SAFE = ("GET", "HEAD", "OPTIONS")


@attr.frozen
class Identity:
    """
    Who asks.

    @ivar name: of the token; L{None} for nobody in particular.
    @ivar scopes: what they may do.
    @ivar by: C{token}, C{cookie}, or C{nobody}.
    @ivar expires: by the clock; L{None} where it does not.
    @ivar token: what is known of it; C{session}: by what L{Access} knows the cookie.
    """

    name: str | None = None
    scopes: frozenset[str] = frozenset()
    by: str = "nobody"
    expires: float | None = None
    token: Token | None = attr.field(default=None, repr=False)
    session: bytes | None = attr.field(default=None, repr=False)


@attr.frozen
class _Session:
    token: Token
    expires: float


class Guesses:
    """Counts wrong tokens by the address that they come from; of IPv6 by its network."""

    _log = Logger()

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Guesses of {len(self._wrong)} addresses>"

    def check(self, address: str) -> None:
        """@raise Problem: if this one has been wrong too often."""
        wrong = self._wrong.get(_network(address))
        now = self._seconds()
        if wrong is not None and len(wrong) >= GUESSES and now - wrong[0] < WINDOW:
            wait = max(1, round(WINDOW - (now - wrong[0])))
            raise Problem(429, "too many wrong tokens came from this address",
                          {"Retry-After": str(wait)})  # fmt: skip

    def wrong(self, address: str) -> None:
        """One more was wrong."""
        key = _network(address)
        found = self._wrong.setdefault(key, deque(maxlen=GUESSES))
        self._wrong.move_to_end(key)
        found.append(self._seconds())
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        # As often as they are looked at: the log cannot be flooded either.
        self._log.warn("a wrong token came from {address}", address=address)


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


class Access:
    """
    Says who asks.

    @ivar tokens: L{None} where there are none: then anybody may read.
    @ivar cookie: the name of the cookie. Browsers do not tell ports apart, so it has ours.
    """

    _log = Logger()

    def __init__(
        self, tokens: Tokens | None, seconds: Callable[[], float], port: int, secure: bool,
        onlyHere: bool,
    ) -> None:  # fmt: skip
        """
        @param seconds: a clock that never goes back.
        @param secure: whether it is asked by TLS.
        @param onlyHere: whether it listens for this machine alone.
        """
        self.tokens = tokens
        self.cookie = f"lbtwist-{port}"
        self._seconds = seconds
        self._secure = secure
        self._onlyHere = onlyHere
        self._guesses = Guesses(seconds)
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Access {self.tokens} {len(self._sessions)} logged in>"

    # who asks

    def identify(self, request: Any) -> Identity:
        """
        @return: who it is; one without scopes where nothing says who.
        @raise Problem: if what is said is wrong.
        """
        if self.tokens is None:
            return Identity(None, frozenset((READ,)))
        said = fieldsOf(request, "Authorization")
        if said:
            if len(said) > 1:
                raise Problem(400, "Authorization comes twice")
            kind, _, token = said[0].partition(" ")
            if kind.lower() != "bearer":
                raise self.unknown("write Authorization: Bearer TOKEN")
            known = self._find(token.strip(), request)
            return Identity(known.name, known.scopes, "token", None, known)
        key = self._sessionOf(request)
        session = None if key is None else self._session(key)
        if session is None:
            return Identity()
        return _identity(session, key)

    def still(self, identity: Identity) -> bool:
        """@return: whether who was let in may stay, and may do as much."""
        if self.tokens is None:
            return True
        if identity.session is not None:
            session = self._session(identity.session)
            return session is not None and identity.scopes <= session.token.scopes
        found = None if identity.token is None else self.tokens.still(identity.token)
        return found is not None and identity.scopes <= found.scopes

    @staticmethod
    def unknown(detail: str) -> Problem:
        """@return: nobody knows who asks."""
        return Problem(401, detail, {"WWW-Authenticate": 'Bearer realm="lbtwist"'})

    def _find(self, said: str, request: Any) -> Token:
        assert self.tokens is not None
        address = addressOf(request)
        self._guesses.check(address)
        found = self.tokens.find(said)
        if found is None:
            self._guesses.wrong(address)
            raise self.unknown("this token is not known")
        return found

    # the cookie

    def login(self, token: str, request: Any) -> Identity:
        """
        Let somebody in, whose answer gets the cookie.

        @raise Problem: if the token is not known.
        """
        if self.tokens is None:
            raise Problem(409, "there are no tokens: everybody here may read, and nobody more")
        known = self._find(token, request)
        self.logout(request)
        secret = secrets.token_urlsafe(32)
        key, session = digestOf(secret), _Session(known, self._seconds() + LIFETIME)
        self._sessions[key] = session
        if len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        self._setCookie(request, secret, LIFETIME)
        self._log.info("token {name} logs in from {address}", name=known.name,
                       address=addressOf(request))  # fmt: skip
        return _identity(session, key)

    def logout(self, request: Any) -> None:
        """Forget who it is, and have the browser forget it."""
        key = self._sessionOf(request)
        if key is not None:
            self._sessions.pop(key, None)
            self._setCookie(request, "", 0)

    def _setCookie(self, request: Any, value: str, age: float) -> None:
        secure = "; Secure" if self._secure else ""
        request.cookies[:] = [
            f"{self.cookie}={value}; Max-Age={int(age)}; Path=/; HttpOnly; SameSite=Strict"
            f"{secure}".encode()
        ]

    def _sessionOf(self, request: Any) -> bytes | None:
        value = request.received_cookies.get(self.cookie.encode())
        return digestOf(value.decode("latin-1")) if value else None

    def _session(self, key: bytes) -> _Session | None:
        assert self.tokens is not None
        found = self._sessions.get(key)
        if found is None:
            return None
        if self._seconds() >= found.expires:
            del self._sessions[key]
            return None
        # Whose token is taken away is not logged in; the file may be half written just now.
        token = self.tokens.still(found.token)
        return None if token is None else attr.evolve(found, token=token)

    # pages of somebody else

    def checkHost(self, request: Any) -> None:
        """
        @raise Problem: for a name that is none of this machine's, where only this machine can
            ask: a page whose name was made to lead here (DNS rebinding) has such a one.
        """
        said = fieldsOf(request, "Host")
        if len(said) > 1 or (not said and request.clientproto == b"HTTP/1.1"):
            # RFC 9112 section 3.2.
            raise Problem(400, "a request needs one Host")
        if said and self._onlyHere and not _isHere(said[0]):
            raise Problem(421, "it is for this machine alone: ask 127.0.0.1, [::1] or localhost")

    def checkOrigin(self, request: Any, identity: Identity) -> None:
        """@raise Problem: if a page of somebody else asks, or could."""
        site = [*fieldsOf(request, "Sec-Fetch-Site"), "none"][0].lower()
        if site not in ("same-origin", "none"):
            raise Problem(403, "a page of another origin asks")
        if request.method.decode("latin-1") in SAFE or identity.by == "token":
            return
        host = [*fieldsOf(request, "Host"), ""][0].lower()
        for origin in fieldsOf(request, "Origin"):
            scheme, _, authority = origin.lower().partition("://")
            if scheme not in ("http", "https") or not host or authority != host:
                raise Problem(403, "a page of another origin asks")
        if not fieldsOf(request, HEADER):
            raise Problem(403, f"send {HEADER}: 1, or Authorization: Bearer TOKEN")


def _identity(session: _Session, key: bytes | None) -> Identity:
    token = session.token
    return Identity(token.name, token.scopes, "cookie", session.expires, token, key)


def fieldsOf(request: Any, name: str) -> list[str]:
    """@return: what fields of a request say, which may be any bytes: one character each."""
    found = request.requestHeaders.getRawHeaders(name.encode()) or []
    return [one.decode("latin-1").strip() for one in found]


def addressOf(request: Any) -> str:
    """@return: of who asks."""
    return str(getattr(request.client, "host", "unix"))


def _isHere(said: str) -> bool:
    host = said.strip().lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    else:
        host = host.rpartition(":")[0] or host
    if host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
