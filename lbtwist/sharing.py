"""
The verb C{limit} with C{store=NAME}: what several balancers count together. Where the store
cannot be asked each of them counts by itself, as L{lbtwist.rules.limits} does, which also has
the limits that are nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IConnectionRule, IRequestRule
from lbtwist.rules import limits
from lbtwist.rules.reading import wire

if TYPE_CHECKING:
    from lbtwist.registry import Context


class _Together:
    """
    Asks a store, and counts what there is at once here as well: for the time when it does not
    answer.
    """

    def __init__(
        self,
        local: Any,
        ask: Callable[[Exchange], Any],
        options: limits.LimitOptions,
        context: Context,
    ) -> None:
        """
        @param local: the limit that counts here.
        @param ask: asks it.
        """
        self._local = local
        self._ask = ask
        self._counts = context.stores[options.store].counts(_nameOf(options, context.owner))
        self._most = options.concurrency
        rate = options.rate
        if rate is not None:
            self._each = rate.period / rate.count
            self._ahead = ((options.burst or rate.count) - 1) * self._each

    def ask(self, exchange: Exchange) -> Any:
        """@return: a decision, L{None}, or a Deferred of either."""
        key = wire(self._local.key(exchange))
        then: Callable[[Any, Exchange], Any] = self._taken
        if self._most:
            found = self._counts.enter(key, self._most)
            then = self._entered
        else:
            found = self._counts.take(key, self._each, self._ahead, True)
        if isinstance(found, Deferred):
            return found.addCallback(then, exchange)
        return then(found, exchange)

    def _taken(self, wait: float | None, exchange: Exchange) -> Any:
        if wait is None:
            return self._ask(exchange)
        return self._local.late(wait) if wait else None

    def _entered(self, lease: Any, exchange: Exchange) -> Any:
        if lease.held is False:
            return self._local.full
        if lease.held:
            self._local.enter(exchange, self._local.key(exchange))
        else:
            refused = self._ask(exchange)
            if refused is not None:
                return refused
            self._counts.keep(lease)
        self._local.whenOver(exchange, partial(self._over, lease))
        return None

    def _over(self, lease: Any, exchange: Exchange) -> None:
        self._counts.leave(lease)


def _nameOf(options: limits.LimitOptions, owner: str) -> bytes:
    """
    @param owner: whose rule it is: without a store they count apart.
    @return: by which lines that count together are the same, here and elsewhere.
    """
    if options.name:
        return options.name.encode()
    rate = options.rate
    how = f"{options.concurrency}" if rate is None else f"{rate.count}/{rate.period:g}"
    kind = type(options).__name__
    said = f"{kind} {how} {options.burst} {options.by.text}"
    if not options.store:
        said = f"{owner}: {said}"
    # None that is written has a space.
    return b" " + blake2b(said.encode(), digest_size=12).hexdigest().encode()


def _asks(
    local: Any, ask: Callable[[Exchange], Any], options: limits.LimitOptions, context: Context
) -> Callable[[Exchange], Any]:
    # While a file is only checked there are no stores.
    if options.store not in context.stores:
        return ask
    return _Together(local, ask, options, context).ask


@implementer(IRequestRule)
class Limit:
    """A limit of requests, with others or alone."""

    Options = limits.RequestOptions
    requestReceived: Callable[[Exchange], Any]

    def __init__(self, options: limits.RequestOptions, context: Context) -> None:
        local = limits.Limit(options, context)
        self.requestReceived = _asks(local, local.requestReceived, options, context)


@implementer(IConnectionRule)
class ConnectionLimit:
    """A limit of connections, with others or alone."""

    Options = limits.ConnectionOptions
    connectionAccepted: Callable[[Exchange], Any]

    def __init__(self, options: limits.ConnectionOptions, context: Context) -> None:
        local = limits.ConnectionLimit(options, context)
        self.connectionAccepted = _asks(local, local.connectionAccepted, options, context)
