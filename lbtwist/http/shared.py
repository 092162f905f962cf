"""
What the connections of one HTTP frontend share, made once when it is built, and anew when it
gets another configuration. Not here: what each of them has of its own
(L{lbtwist.http.clientside}).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attr

from lbtwist.config.model import FrontendConfig, PoolConfig
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import Exchange
from lbtwist.http.deciding import Deciding
from lbtwist.http.pages import REDIRECTS, Page, Redirect, pagesOf
from lbtwist.http.terminating import Terminating
from lbtwist.http.tracing import OFF, Tracing
from lbtwist.interfaces import ISpanObserver
from lbtwist.pool import Pool
from lbtwist.sansio.clientcert import NAMES
from lbtwist.sansio.headers import Tell
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader
from lbtwist.tunnel import Timeouts


@attr.define(eq=False)
class Shared:
    """
    What the connections of one HTTP frontend share.

    @ivar traffic: the frontend's runtime object, see C{Exchange.frontend}.
    @ivar pool: where exchanges go, unless a rule says otherwise; L{None} if nowhere.
    @ivar deciding: the rules; L{None} if there are none.
    @ivar terminating: where targets of CONNECT are found; L{None} where they are not ours
        to find.
    @ivar tracing: sees to C{traceparent}; L{None} if nobody does.
    @ivar successor: what counts instead from the next request of each connection on, itself
        without one; L{None} as long as this does.
    """

    config: FrontendConfig
    frontend: Any
    deadlines: Deadlines
    pool: Pool | None
    observers: tuple[Callable[[Exchange], object], ...]
    newRequestId: Callable[[], str] | None = None
    deciding: Deciding | None = None
    terminating: Terminating | None = None
    successor: Shared | None = None
    reader: RequestReader = attr.field(init=False)
    trustedReader: RequestReader = attr.field(init=False)
    responseReader: ResponseReader = attr.field(init=False)
    tell: Tell = attr.field(init=False)
    tracing: Tracing | None = attr.field(init=False)
    redirect: Redirect | None = attr.field(init=False)
    pages: Mapping[int, Page] = attr.field(init=False)
    keepalive: float = attr.field(init=False)
    first: float = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        self.tell = Tell(config.forwarded)
        self.tracing = None
        if config.traceparent != OFF:
            spans = any(map(ISpanObserver.providedBy, self.observers))
            self.tracing = Tracing(config.traceparent, config.traceparent_sampling, spans)
        # A server may believe these whoever balances for it, asked for here or not.
        drop = [*self.tell.names, *NAMES]
        if config.request_id_header:
            drop.append(config.request_id_header.lower().encode())
        limits = (config.max_header_bytes, config.max_headers, config.max_uri)
        anyCase = config.connect_any_case
        self.reader = RequestReader(*limits, drop=drop, anyCase=anyCase)
        # What is written here has one author, or the two could not be told apart.
        ours = NAMES if config.client_cert_headers else ()
        self.trustedReader = RequestReader(*limits, drop=ours, anyCase=anyCase)
        self.responseReader = ResponseReader()
        self.redirect = REDIRECTS.get(config.redirect_https)
        self.pages = pagesOf(config.errors, config.errorfiles)
        self.keepalive = config.timeout_keepalive or config.timeout_request or config.timeout_client
        # Where both are set, the shorter one counts, as in HAProxy.
        both = [t for t in (config.timeout_request, config.timeout_client) if t]
        self.first = min(both, default=0.0)

    def tunnelTimeouts(self, pool: PoolConfig, settings: dict[str, Any] | None) -> Timeouts:
        """
        The timeouts of a tunnel between this frontend and a pool.

        @param settings: of the exchange.
        """
        return Timeouts.of(self.config, pool, settings)
