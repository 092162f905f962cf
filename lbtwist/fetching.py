"""
One OCSP response from its responder, by HTTP, within bounds of time and length.

When it is fetched and what is made of it is L{lbtwist.stapling}'s.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
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
from lbtwist.net.ocsp import isHTTP

MOST = 64 * 1024
"""Bytes of an HTTP response, its head among them; a response by OCSP has some 500."""

TIMEOUT = 10.0
"""Seconds that a responder is given, for its name, redirects and all."""

HOPS = 3
"""The most redirects that are followed."""


_TOO_LONG = f"it is longer than {MOST >> 10} KiB"


class NotFetched(BalancerError):
    """A response did not come; it says why, for the log."""


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

    def __init__(self, reactor: Any, names: Looks) -> None:
        self._reactor = reactor
        self._names = names
        self._uri: Any = None
        self._connection: Any = None
        self.left = MOST

    def endpointForURI(self, uri: URI) -> _Fetch:
        self._uri = uri
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(_Counting(factory, self)))

    async def _connect(self, factory: Any) -> Any:
        host = self._uri.host.decode("ascii")
        try:
            address = str(ip_address(host))
        except ValueError:
            address = (await self._names.lookup(host)).addresses[0]
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: Any = kind(self._reactor, address, self._uri.port)
        if self._uri.scheme == b"https":
            endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
        self._connection = await endpoint.connect(factory)
        return self._connection.wrappedProtocol

    async def post(self, url: str, data: bytes) -> bytes:
        """@raise NotFetched: with the reason."""
        headers = Headers({b"Content-Type": [b"application/ocsp-request"]})
        agent = Agent.usingEndpointFactory(self._reactor, self)
        for _ in range(HOPS + 1):
            response = await agent.request(b"POST", _encoded(url), headers, _Request(data))
            if response.code == 200:
                body = _Response(self._connection.abortConnection)
                response.deliverBody(body)
                found = await body.done
                if self.left < 0:
                    raise NotFetched(_TOO_LONG)
                return found
            # Its body is of no interest, and may have no end.
            self._connection.abortConnection()
            if response.code not in (301, 302, 307, 308):
                break
            location = response.headers.getRawHeaders(b"location", [b""])[0]
            url = _joined(url, location.decode("latin-1"))
        raise NotFetched(f"HTTP status {response.code}")

    def reason(self, failure: Failure) -> Failure:
        """@return: a failure whose message can be read."""
        if self.left < 0:
            return Failure(NotFetched(_TOO_LONG))
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
    """Fetches responses by HTTP POST (RFC 6960 appendix A.1)."""

    def __init__(self, reactor: Any, names: Looks, timeout: float = TIMEOUT) -> None:
        """
        @param names: finds the addresses of responders.
        @param timeout: in seconds, for all of it.
        """
        self._reactor = reactor
        self._names = names
        self._timeout = timeout

    def __call__(self, url: str, data: bytes) -> Deferred[bytes]:
        """
        @param url: of HTTP or HTTPS; redirects are followed to such ones alone.
        @param data: a request in DER.
        @return: what the responder has sent; fails with a L{BalancerError}, whose message is
            the reason. May be cancelled, and nothing of it is left then.
        """
        fetch = _Fetch(self._reactor, self._names)
        found = Deferred.fromCoroutine(fetch.post(url, data))
        late = NotFetched(f"no answer within {self._timeout:g} s")
        found.addTimeout(self._timeout, self._reactor, lambda *_: Failure(late))
        return found.addErrback(fetch.reason)
