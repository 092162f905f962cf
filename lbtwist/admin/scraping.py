"""
The metrics on the web: a resource for L{twisted.web} that Prometheus, or whoever else reads
its formats, asks for them.

Changes nothing and asks nobody who he is: where it is put says who may see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from lbtwist.admin.exposition import BOUNDS, Exposition, wantsOpenMetrics
from lbtwist.admin.process import Lateness
from lbtwist.admin.whole import SCOPES, pieces
from lbtwist.service import LoadBalancer

AT_ONCE = 4
"""So many may be answered at the same time."""

LIMIT = 10.0
"""Seconds that somebody has to take it all."""


class Metrics(Resource):
    """
    All metrics: C{GET /metrics}, and C{GET /metrics?scope=server&scope=frontend} for some of
    them, as HAProxy's exporter has it.

    @ivar lateness: looks at the event loop between L{start} and L{stop}.
    """

    isLeaf = True

    def __init__(
        self,
        balancer: LoadBalancer,
        reactor: Any,
        aliases: bool = False,
        bounds: Sequence[float] = BOUNDS,
    ) -> None:
        """
        @param aliases: whether what HAProxy has is there by its names, too.
        @param bounds: of the buckets of histograms, in seconds, rising.
        """
        super().__init__()
        self._balancer = balancer
        self._reactor = reactor
        self._aliases = aliases
        self._bounds = bounds
        self._answering = 0
        self.lateness = Lateness(reactor)

    def __repr__(self) -> str:
        return f"<Metrics {self._answering} answers>"

    def start(self) -> None:
        """Begin to look at the event loop, and at what is not counted."""
        self.lateness.start()
        self._balancer.looking.start()

    def stop(self) -> None:
        """Look at the event loop no more."""
        self.lateness.stop()

    def render(self, request: Any) -> Any:
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return _refused(request, 405, "there is nothing to be changed here")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        scopes = [one.decode("utf-8", "replace") for one in request.args.get(b"scope", [])]
        unknown = [one for one in scopes if one not in SCOPES]
        if unknown:
            return _refused(request, 400, f"there is no such scope; there are {_list(SCOPES)}")
        if self._answering >= AT_ONCE:
            request.setHeader(b"Retry-After", b"1")
            return _refused(request, 503, "too many ask at the same time")
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        exposition = Exposition(wantsOpenMetrics(accept), self._aliases, self._bounds)
        request.setHeader(b"Content-Type", exposition.contentType.encode())
        request.setHeader(b"Vary", b"Accept")
        if request.method == b"HEAD":
            return b""
        self._answering += 1
        found = pieces(self._balancer, exposition, scopes or SCOPES, self.lateness)
        answer = _Answer(request, found)
        timer = self._reactor.callLater(LIMIT, request.channel.forceAbortClient)
        request.notifyFinish().addBoth(self._answered, answer, timer)
        request.registerProducer(answer, False)
        return NOT_DONE_YET

    def _answered(self, _: object, answer: _Answer, timer: Any) -> None:
        self._answering -= 1
        answer.stopProducing()
        if timer.active():
            timer.cancel()


def _list(words: Sequence[str]) -> str:
    return ", ".join(words)


def _refused(request: Any, status: int, text: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return f"{text}\n".encode()


@implementer(IPullProducer)
class _Answer:
    """Writes one answer as fast as it is taken, and lets others have their turn."""

    def __init__(self, request: Any, found: Iterator[str]) -> None:
        self._request = request
        self._found: Iterator[str] | None = found

    def resumeProducing(self) -> None:
        if self._found is None:
            return
        piece = next(self._found, None)
        if piece:
            # What UTF-8 has no bytes for is a question mark: it may be in the name of a file.
            self._request.write(piece.encode("utf-8", "replace"))
        elif piece is None:
            self._found = None
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        self._found = None
