"""
What a pool says about asking its servers twice: after which failures, and how much of it.
Decides and does nothing; what is known of one exchange is L{lbtwist.http.retrying}'s.
"""

from __future__ import annotations

from collections.abc import Callable

from lbtwist.budget import Budget
from lbtwist.config.again import CONNECT, EMPTY, JUNK, TIMEOUT
from lbtwist.config.model import PoolConfig
from lbtwist.exchange import Exchange
from lbtwist.server import Server

_STATUS_OF = {EMPTY: 502, JUNK: 502, TIMEOUT: 504}


class Retries:
    """
    How requests are sent again that have been sent.

    @ivar after: the failures after which they are, in the words of C{retry-on}.
    @ivar statuses: those of them that are statuses.
    @ivar most: how often one is.
    @ivar buffer: bytes of the longest body that is kept for it.
    @ivar budget: how many are; L{None} without a limit.
    @ivar hedgeAfter: seconds after which a second server is asked too; 0.0 is never.
    """

    __slots__ = ("_any", "after", "budget", "buffer", "hedgeAfter", "most", "statuses")

    def __init__(self, config: PoolConfig, seconds: Callable[[], float]) -> None:
        """@param seconds: a clock that never goes back."""
        self.after = frozenset(config.retry_on)
        self.statuses = frozenset(int(word) for word in config.retry_on if word.isdigit())
        self.most = config.retries
        self.buffer = config.retry_buffer
        self.hedgeAfter = config.hedge_after
        self._any = config.retry_non_idempotent
        share = config.retry_budget
        self.budget = None
        if share is not None:
            self.budget = Budget(share.percent / 100, share.least, seconds)

    def repeatable(self, exchange: Exchange) -> bool:
        """
        Whether a request does no harm when it is done twice, as far as its method and the
        rules say (RFC 9110 section 9.2.2).
        """
        head = exchange.request
        assert head is not None
        return (head.idempotent or self._any) and not isForbidden(exchange)


def retriesOf(config: PoolConfig, seconds: Callable[[], float]) -> Retries | None:
    """@return: L{None} where no request that has been sent is sent again."""
    again = config.retries and set(config.retry_on) - {CONNECT}
    if config.mode == "tcp" or not (again or config.hedge_after):
        return None
    return Retries(config, seconds)


def isForbidden(exchange: Exchange) -> bool:
    """@return: whether a rule has said that the request is sent only once."""
    settings = exchange.settings
    return settings is not None and settings.get("retry") is False


def blame(server: Server, failure: str, reason: str) -> None:
    """
    Tell who watches a server that it has failed an exchange which goes on elsewhere.

    @param failure: a word of C{retry-on}.
    """
    status = int(failure) if failure.isdigit() else _STATUS_OF[failure]
    if server.watch is not None and status >= 500:
        server.watch.failed(status, reason)
