"""
One answer by HTTP, within bounds of time and length: OCSP responses of responders, lists of
servers, and that a message was taken.

When it is fetched and what is made of it is not known here: that is L{lbtwist.stapling}'s,
and that of L{lbtwist.sources} and L{lbtwist.notices}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin

import attr
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from lbtwist.discovery import Looks
from lbtwist.errors import BalancerError
from lbtwist.options import isHTTP

MOST = 64 * 1024
"""Bytes of a response by OCSP, the head of HTTP among them; it has some 500."""

TIMEOUT = 10.0
"""Seconds that a server is given, for its name, redirects and all."""

HOPS = 3
"""The most redirects that are followed."""


NOT_MODIFIED = 304


class NotFetched(BalancerError):
    """A response did not come; it says why, for the log."""


@attr.frozen
class Fetched:
    """
    What has come.

    @ivar body: empty with C{status} 304, and where only the status was asked for.
    """

    status: int
    headers: Headers
    body: bytes

    def field(self, name: str) -> str:
        """@return: the first of a header field, C{""} where there is none."""
        found = self.headers.getRawHeaders(name.encode(), [b""])[0]
        return found.decode("latin-1")


@implementer(IBodyProducer)
class _Request:
    """A request that is in memory."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is all written."""

    resumeProducing = stopProducing = pauseProducing


class _Response(Protocol):
    """Collects a body. One without a length ends when the connection does."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: cancel())
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            # It was cancelled, which has ended the connection.
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(reason)


class _Counted(ProtocolWrapper):
    """A connection that is cut when too much has come, head or body."""

    def dataReceived(self, data: bytes) -> None:
        fetch = self.factory.fetch
        fetch.left -= len(data)
        if fetch.left < 0:
            self.abortConnection()
        else:
            super().dataReceived(data)


class _Counting(WrappingFactory):
    noisy = False
    protocol = _Counted

    def __init__(self, wrapped: Any, fetch: _Fetch) -> None:
        super().__init__(wrapped)
        # What comes of it is in the log; that it began and ended need not be.
        wrapped.noisy = False
        self.fetch = fetch


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Fetch:
    """
    One response that is being fetched; also tells Twisted how to connect.

    @ivar left: bytes that may still come.
    """

    def __init__(
        self, reactor: Any, names: Looks, most: int, path: str = "", trusted: Any = None
    ) -> None:
        """
        @param path: of a UNIX socket that is connected to, whatever the URL says.
        @param trusted: an L{twisted.internet.interfaces.IOpenSSLTrustRoot}; L{None}: those
            whom the machine believes.
        """
        self._trusted = trusted
        self._reactor = reactor
        self._names = names
        self._most = most
        self._path = path
        self._uri: Any = None
        self._connection: Any = None
        self.left = most

    def endpointForURI(self, uri: URI) -> _Fetch:
        self._uri = uri
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(_Counting(factory, self)))

    async def _connect(self, factory: Any) -> Any:
        if self._path:
            unix: Any = UNIXClientEndpoint(self._reactor, self._path)
            self._connection = await unix.connect(factory)
            return self._connection.wrappedProtocol
        host = self._uri.host.decode("ascii")
        try:
            address = str(ip_address(host))
        except ValueError:
            address = (await self._names.lookup(host)).addresses[0]
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: Any = kind(self._reactor, address, self._uri.port)
        if self._uri.scheme == b"https":
            endpoint = wrapClientTLS(
                optionsForClientTLS(host, trustRoot=self._trusted), endpoint
            )
        self._connection = await endpoint.connect(factory)
        return self._connection.wrappedProtocol

    async def ask(
        self, method: bytes, url: str, headers: Headers, data: bytes | None = None,
        hops: int = HOPS, secured: bool = False, alsoGood: Sequence[int] = (),
    ) -> Fetched:
        """
        @param hops: the most redirects that are followed.
        @param secured: whether none may lead away from TLS.
        @param alsoGood: statuses besides 200 that are no failure, and whose body is of no
            interest; 200 may be one.
        @raise NotFetched: with the reason.
        """
        agent = Agent.usingEndpointFactory(self._reactor, self)
        for hop in range(hops + 1):
            request = None if data is None else _Request(data)
            response = await agent.request(method, _encoded(url), headers, request)
            if response.code == 200 and 200 not in alsoGood:
                body = _Response(self._connection.abortConnection)
                response.deliverBody(body)
                found = await body.done
                if self.left < 0:
                    raise NotFetched(self._tooLong)
                return Fetched(200, response.headers, found)
            # Its body is of no interest, and may have no end.
            self._connection.abortConnection()
            if response.code in alsoGood:
                return Fetched(response.code, response.headers, b"")
            if response.code not in (301, 302, 307, 308) or hop == hops:
                break
            location = response.headers.getRawHeaders(b"location", [b""])[0]
            url = _joined(url, location.decode("latin-1"))
            if secured and not url.lower().startswith("https:"):
                raise NotFetched("it is said to be elsewhere, without TLS")
        raise NotFetched(f"HTTP status {response.code}")

    @property
    def _tooLong(self) -> str:
        return f"it is longer than {self._most >> 10} KiB"

    def reason(self, failure: Failure) -> Failure:
        """@return: a failure whose message can be read."""
        if self.left < 0:
            return Failure(NotFetched(self._tooLong))
        value: Any = failure.value
        while getattr(value, "reasons", None):
            # Twisted's client wraps what it has met.
            value = value.reasons[0].value
        if isinstance(value, BalancerError):
            return Failure(value)
        words = str(value).rstrip(".") or type(value).__name__
        return Failure(NotFetched(words))


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        return location


def _encoded(url: str) -> bytes:
    if not isHTTP(url):
        raise NotFetched(f"{url!r} is no URL of HTTP")
    try:
        return url.encode("ascii")
    except UnicodeEncodeError:
        raise NotFetched(f"{url!r} is no URL: it is not ASCII") from None


class Fetcher:
    """Fetches by HTTP: called, responses of OCSP."""

    def __init__(
        self, reactor: Any, names: Looks, timeout: float = TIMEOUT, trusted: Any = None
    ) -> None:
        """
        @param names: finds the addresses of servers.
        @param timeout: in seconds, for all of it.
        @param trusted: who may speak for them whom something is posted to, an
            L{twisted.internet.interfaces.IOpenSSLTrustRoot}; L{None}: whom the machine believes.
        """
        self._trusted = trusted
        self._reactor = reactor
        self._names = names
        self._timeout = timeout

    def __call__(self, url: str, data: bytes) -> Deferred[bytes]:
        """
        Fetch by POST, as RFC 6960 appendix A.1 has it.

        @param url: of HTTP or HTTPS; redirects are followed to such ones alone.
        @param data: a request in DER.
        @return: what the responder has sent; fails with a L{BalancerError}, whose message is
            the reason. May be cancelled, and nothing of it is left then.
        """
        fetch = _Fetch(self._reactor, self._names, MOST)
        headers = Headers({b"Content-Type": [b"application/ocsp-request"]})
        asking = Deferred.fromCoroutine(fetch.ask(b"POST", url, headers, data))
        return self._within(self._timeout, fetch, asking).addCallback(lambda found: found.body)

    def get(
        self, url: str, fields: Mapping[str, str], most: int, timeout: float = 0.0,
        hops: int = HOPS, path: str = "",
    ) -> Deferred[Fetched]:
        """
        Fetch by GET.

        @param url: as for a response of OCSP; a redirect from HTTPS leads to HTTPS alone.
        @param fields: of the request; they go wherever a redirect leads to.
        @param most: bytes, the head of the response among them.
        @param timeout: in place of the usual one.
        @param hops: the most redirects that are followed.
        @param path: of a UNIX socket where the server is; the URL's host is only told.
        @return: what came with the status 200 or 304. Fails, and may be cancelled, as that
            of a response of OCSP.
        """
        fetch = _Fetch(self._reactor, self._names, most, path)
        headers = Headers({name.encode(): [value.encode()] for name, value in fields.items()})
        secured = url.startswith("https:")
        asking = fetch.ask(b"GET", url, headers, None, hops, secured, (NOT_MODIFIED,))
        return self._within(timeout or self._timeout, fetch, Deferred.fromCoroutine(asking))

    def post(
        self, url: str, fields: Mapping[str, str], data: bytes, timeout: float = 0.0
    ) -> Deferred[Fetched]:
        """
        Send something by POST. No redirect is followed: what is sent is for nobody else.

        @param url: as for a response of OCSP.
        @param fields: of the request.
        @param timeout: in place of the usual one.
        @return: the response, without its body, if its status is one of 200 to 299. Fails, and
            may be cancelled, as that of a response of OCSP.
        """
        fetch = _Fetch(self._reactor, self._names, MOST, trusted=self._trusted)
        headers = Headers({name.encode(): [value.encode()] for name, value in fields.items()})
        asking = fetch.ask(b"POST", url, headers, data, 0, alsoGood=range(200, 300))
        return self._within(timeout or self._timeout, fetch, Deferred.fromCoroutine(asking))

    def _within(
        self, seconds: float, fetch: _Fetch, asking: Deferred[Fetched]
    ) -> Deferred[Fetched]:
        late = NotFetched(f"no answer within {seconds:g} s")
        asking.addTimeout(seconds, self._reactor, lambda *_: Failure(late))
        return asking.addErrback(fetch.reason)
