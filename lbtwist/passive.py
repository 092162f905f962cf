"""
Passive health: what real traffic says of servers.

Pure objects. A L{Watch} counts what exchanges find of one server, in both ways there are:
errors in a row, as HAProxy's C{observe} has it, and outliers, as Envoy has them.
L{Ejections} says who of a pool's servers may be ejected and for how long, L{Offer} who is
offered to new clients. What the counts lead to is L{lbtwist.monitor}'s and
L{lbtwist.ejecting}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from twisted.logger import Logger

from lbtwist.health import Admin
from lbtwist.server import Server

if TYPE_CHECKING:
    from lbtwist.config.passive import Observed, OutlierOptions
    from lbtwist.exchange import Exchange

_SERVERS_FAULT = frozenset("SsP")
"""Causes (see L{lbtwist.exchange.Cause}) that a server may have brought about."""

_GATEWAY = frozenset((502, 503, 504))
"""What stands for a server behind another one that cannot be reached."""

_ON_DEMAND = frozenset((501, 505))
"""Statuses of 5xx that a client can have whenever it wants: no error of the server, as
C{observe} sees it (HAProxy's manual, 5.2)."""

_UNREACHED = 503
_LOST = 502
_LATE = 504


class Watch:
    """
    Counts what exchanges find of one server.

    @ivar errors: in a row, as C{observe} counts them.
    @ivar requests: since the last look, as outliers are counted; C{failures} those of them
        that failed.
    @ivar inARow: failures in a row; C{gateways} those that are no word of the server itself.
    @ivar ejections: how many times the base its last ejection was; goes down again in
        good times.
    @ivar returnedAt: when its last ejection ended, by the clock; L{None} before that.
    """

    __slots__ = (
        "_fives", "_gatewayLimit", "_layer7", "_limit", "_onError", "_outlier", "_suspect",
        "ejections", "errors", "failures", "gateways", "inARow", "requests", "returnedAt", "server",
    )  # fmt: skip

    def __init__(
        self,
        server: Server,
        observed: Observed | None,
        suspect: Callable[[Server, str, str], None],
        outliers: OutlierOptions | None,
        outlier: Callable[[Watch, str], None],
    ) -> None:
        """
        @param observed: L{None} where errors in a row are not counted.
        @param suspect: called with what C{on-error} says and the reason where there are too
            many.
        @param outliers: L{None} where nobody is ejected.
        @param outlier: called with the reason where too many failed in a row.
        """
        self.server = server
        # A limit of 0 is never reached.
        self._limit = 0 if observed is None else observed.limit
        self._layer7 = observed is not None and observed.layer7
        self._onError = "" if observed is None else observed.onError
        self._suspect = suspect
        self._fives = 0 if outliers is None else outliers.consecutive_5xx
        self._gatewayLimit = 0 if outliers is None else outliers.consecutive_gateway
        self._outlier = outlier
        self.errors = 0
        self.ejections = 0
        self.returnedAt: float | None = None
        self.forget()

    def __repr__(self) -> str:
        name = f"{self.server.pool}/{self.server.name}"
        return f"<Watch {name} {self.errors} errors {self.failures}/{self.requests} failed>"

    def forget(self) -> None:
        """Begin anew to look for an outlier."""
        self.requests = self.failures = self.inARow = self.gateways = 0

    def looked(self) -> None:
        """An interval has ended; what is in a row goes on."""
        self.requests = self.failures = 0

    # what is told

    def connected(self, exchange: Exchange) -> None:
        """A connection was made for an exchange."""
        if not self._layer7:
            self.errors = 0
        if exchange.request is None:
            # Of a session this is all there is to see.
            self._good()

    def connectFailed(self, failed: OSError) -> None:
        """A connect failed, whether another one is tried or not."""
        reason = f"a connect failed: {failed.strerror or failed}"
        self._error(reason)
        self._failed(_UNREACHED, reason)

    def failed(self, status: int, reason: str) -> None:
        """
        A server has failed an exchange that goes on elsewhere, so that C{finished} is not
        told of it.

        @param status: of the response that is not wanted, from 500 on; 502 for one that broke
            off or is not acceptable, 504 for one that did not come.
        """
        if self._layer7 and status not in _ON_DEMAND:
            self._error(reason)
        self._failed(status, reason)

    def finished(self, exchange: Exchange) -> None:
        """An exchange has ended; the server was the last it had."""
        response = exchange.response
        if response is None or exchange.cause in _SERVERS_FAULT:
            self._finishedBadly(exchange)
            return
        status = response.status
        if status < 500:
            self.requests += 1
            self.inARow = self.gateways = 0
            if self._layer7 or exchange.reused:
                self.errors = 0
        else:
            self._answered(status, exchange.reused)

    # inside

    def _answered(self, status: int, reused: bool) -> None:
        if self._layer7 and status >= 500 and status not in _ON_DEMAND:
            self._error(f"a response with {status}")
        elif self._layer7 or reused:
            self.errors = 0
        if 500 <= status < 600:
            self._failed(status, f"a response with {status}")
        else:
            self._good()

    def _finishedBadly(self, exchange: Exchange) -> None:
        stage = exchange.stage
        if exchange.request is None or stage not in ("H", "D"):
            # A session, or one that got no connection: those were told of before.
            return
        response = exchange.response
        if response is not None and exchange.passthrough:
            # What becomes of a tunnel is not the server's answer.
            self._answered(response.status, exchange.reused)
        elif exchange.cause == "s":
            self._broken(_LATE, "the server was silent for too long")
        elif exchange.cause == "S":
            if response is None and exchange.reused:
                # It may have closed an idle connection before the request came.
                return
            self._broken(_LOST, "the server closed before the end of its response")
        elif exchange.cause == "P" and response is None and exchange.status == 502:
            self._broken(_LOST, "a response that is not acceptable")

    def _broken(self, status: int, reason: str) -> None:
        if self._layer7:
            self._error(reason)
        self._failed(status, reason)

    def _good(self) -> None:
        self.requests += 1
        self.inARow = self.gateways = 0

    def _error(self, reason: str) -> None:
        self.errors = count = self.errors + 1
        if count == self._limit:
            self.errors = 0
            self.server.traffic.suspected += 1
            reason = f"{count} errors in a row, the last: {reason}"
            self._suspect(self.server, self._onError, reason)

    def _failed(self, status: int, reason: str) -> None:
        self.requests += 1
        self.failures += 1
        self.inARow = inARow = self.inARow + 1
        self.gateways = gateways = self.gateways + 1 if status in _GATEWAY else 0
        count = 0
        if gateways and gateways == self._gatewayLimit:
            count, self.gateways = gateways, 0
        if inARow == self._fives:
            count, self.inARow = inARow, 0
        if count:
            self._outlier(self, f"{count} failures in a row, the last: {reason}")


def exchangeFinished(exchange: Exchange) -> None:
    """Tell who counts of an exchange that has ended."""
    server = exchange.server
    if server is not None and server.watch is not None:
        server.watch.finished(exchange)


class Ejections:
    """
    Who of a pool's servers is ejected and for how long: Envoy's outlier detection.

    @ivar options: of its pool.
    """

    def __init__(self, options: OutlierOptions) -> None:
        self.options = options

    def refusal(self, server: Server, servers: Iterable[Server]) -> str:
        """
        @param server: is an outlier.
        @param servers: all of its pool.
        @return: why it cannot be ejected; C{""} if it can.
        """
        here = [one for one in servers if not one.leaving]
        ejected = sum(one.health.ejected for one in here)
        percent = self.options.max_ejection
        # One may always be ejected; of few servers it is more than its share.
        if ejected and (ejected + 1) * 100 > percent * len(here):
            return f"{ejected} of {len(here)} servers are ejected, and max-ejection is {percent}%"
        if not any(one.usable for one in here if one is not server):
            return "no other server is usable"
        return ""

    def begin(self, watch: Watch) -> float:
        """
        Eject a server.

        @return: for how many seconds.
        """
        base, most = self.options.base_ejection, self.options.max_ejection_time
        # Not counted beyond the longest: it would take as long to be forgiven.
        if watch.ejections * base < most:
            watch.ejections += 1
        watch.server.health.ejected = True
        watch.server.traffic.ejections += 1
        return min(base * watch.ejections, most)

    def end(self, watch: Watch, now: float) -> None:
        """Its time is over; it begins anew."""
        watch.server.health.ejected = False
        watch.returnedAt = now
        watch.forget()

    def look(self, watches: Iterable[Watch], now: float) -> list[tuple[Watch, str]]:
        """
        An interval has ended: take the percents, and forgive those who are good.

        @return: the outliers, the worst first, each with the reason.
        """
        options = self.options
        threshold = options.failure_percentage
        found: list[tuple[float, Watch]] = []
        for watch in watches:
            if watch.server.health.ejected:
                continue
            requests, failures = watch.requests, watch.failures
            watch.looked()
            if threshold and requests >= options.minimum_requests:
                percent = failures * 100 / requests
                if percent >= threshold:
                    found.append((percent, watch))
                    continue
            if (
                watch.ejections
                and watch.returnedAt is not None
                and now - watch.returnedAt >= options.interval
            ):
                watch.ejections -= 1
        found.sort(key=lambda one: -one[0])
        reason = f"{{:.0f}}% of the requests in {options.interval:g} s failed"
        return [(watch, reason.format(percent)) for percent, watch in found]


def _inService(server: Server) -> bool:
    """Whether nothing but its health can speak against a server."""
    return (
        server.endpoint is not None
        and server.weight > 0
        and server.health.inForce == Admin.READY
        and not server.leaving
    )


class Offer:
    """
    Which servers of a pool are offered to new clients.

    In a panic these are all that are in service, whether they are healthy or not: where too
    few are left, these would only break down as well, or the checks are wrong (Envoy's panic
    threshold).

    @ivar panicking: whether there is a panic.
    """

    _log = Logger()

    def __init__(self, name: str, threshold: int) -> None:
        """
        @param name: of the pool.
        @param threshold: in percent; 0 is no panic ever.
        """
        self._name = name
        self._threshold = threshold
        self.panicking = False

    def __repr__(self) -> str:
        return f"<Offer {self._name} {'panics' if self.panicking else 'in order'}>"

    def of(self, servers: Sequence[Server]) -> tuple[Server, ...]:
        """
        @param servers: all of the pool.
        @return: those that are offered, in the same order.
        """
        usable = tuple(one for one in servers if one.usable and not one.backup)
        if self._threshold and self._panics(usable, servers):
            return tuple(one for one in servers if not one.backup and _inService(one))
        if not usable:
            # One backup at a time, in written order, as HAProxy does.
            usable = tuple(one for one in servers if one.usable and one.backup)[:1]
        if not usable:
            # To be ejected is better than to be down, and it is better than nobody.
            ejected = tuple(one for one in servers if _inService(one) and one.health.up)
            usable = tuple(one for one in ejected if not one.backup) or ejected[:1]
        return usable

    def _panics(self, usable: Sequence[Server], servers: Iterable[Server]) -> bool:
        count = sum(not one.backup and _inService(one) for one in servers)
        panicking = len(usable) * 100 < self._threshold * count
        if panicking and not usable:
            panicking = not any(one.usable for one in servers)
        if panicking is not self.panicking:
            self.panicking = panicking
            tell = self._log.warn if panicking else self._log.info
            tell(
                "Pool {pool} {what}: {usable} of {count} servers are healthy, and panic-threshold "
                "is {threshold}%.",
                pool=self._name, what="panics, all get requests" if panicking else "panics no more",
                usable=len(usable), count=count, threshold=self._threshold,
            )  # fmt: skip
        return panicking
