"""
What has to hold after a reload, so that it stays: C{errors < 1%}, C{5xx in app < 2%},
C{p99 < 500ms}, C{servers >= 2}.

A guard is judged by the counters that there are anyway (L{lbtwist.stats}), and of these only
by what has come since: see L{Since}. Not here: when it is looked at, and what becomes of a
reload that it does not let pass (L{lbtwist.renewing}).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, repeat
from typing import Any, Protocol

import attr
from attr import astuple

from lbtwist.errors import BalancerError
from lbtwist.histogram import Histogram, Times
from lbtwist.options import Time
from lbtwist.stats import FrontendTraffic, PoolTraffic, Traffic

LEAST_REQUESTS = 20
"""Exchanges, or answers of servers, before a part of them or a percentile says anything."""

MOST_GUARDS = 32
"""So many may there be at once."""

FORMS = "errors < 1%, 5xx < 2%, 5xx in POOL < 2%, p99 < 500ms or servers >= 2"
"""What can be written, for people."""

SETTLING = 3
"""So many looks in a row find too few servers before that counts: names of new ones have to be
resolved."""

_GUARD = re.compile(r"\s*(\S+?)(?:\s+in\s+([^\s<>=]+))?\s*(<=|>=|<|>|=+)\s*(\S+)\s*")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d)?)")
_STATUSES = re.compile(r"([45])xx")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")
_TIME = re.compile(r"[\d.]+[a-z]+")
_COUNT = re.compile(r"\d{1,4}")
_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class GuardError(BalancerError):
    """What is written is no guard; it says why."""


class Watched(Protocol):
    """What a guard is judged by: a balancer."""

    @property
    def frontends(self) -> Mapping[str, Any]:
        """Those it has now, by name."""

    @property
    def pools(self) -> Mapping[str, Any]:
        """Likewise."""


@attr.frozen
class Guard:
    """
    One condition.

    @ivar text: as it was written.
    @ivar subject: what is looked at: C{errors}, C{4xx}, C{5xx}, C{p99} and its like, C{servers}.
    @ivar pool: of this one only; C{""}: of all that there is.
    @ivar compared: how it has to be to the limit: C{<}, C{<=}, C{>} or C{>=}.
    @ivar limit: a part of 1, seconds, or a number.
    """

    text: str
    subject: str
    pool: str
    compared: str
    limit: float

    def __str__(self) -> str:
        return self.text

    @property
    def patience(self) -> int:
        """How many looks in a row have to find it broken."""
        return SETTLING if self.subject == "servers" else 1

    def broken(self, since: Since) -> str:
        """@return: why it does not hold, with the figures; C{""} as long as it does."""
        if self.subject == "servers":
            return self._serversBroken(since)
        where = f" in {self.pool}" if self.pool else ""
        percentile = _PERCENTILE.fullmatch(self.subject)
        if percentile is not None:
            answers = since.responded(self.pool)
            seconds = answers.percentile(float(percentile[1]))
            if answers.count < LEAST_REQUESTS or self._holds(seconds):
                return ""
            return f"{self.subject} is {seconds * 1000:.4g}ms, of {answers.count} answers{where}"
        came, bad = since.exchanges(self.pool, self.subject)
        if came < LEAST_REQUESTS or self._holds(bad / came):
            return ""
        what = "errors" if self.subject == "errors" else f"answers {self.subject}"
        return f"{bad} {what} in {came} exchanges{where}, {100 * bad / came:.3g}%"

    def _serversBroken(self, since: Since) -> str:
        found = [(usable, name) for name, usable in since.servers(self.pool).items()]
        if not found:
            return "there is no pool"
        usable, name = min(found)
        return "" if self._holds(usable) else f"{usable} usable in {name}"

    def _holds(self, value: float) -> bool:
        return _COMPARED[self.compared](value, self.limit)


def parsed(text: str, pools: Iterable[str] | None = None) -> Guard:
    """
    @param text: a guard as it is written.
    @param pools: the names of those there are; L{None}: any is accepted.
    @raise GuardError: if it is none.
    """
    found = _GUARD.fullmatch(text)
    if found is None:
        raise GuardError(f"{text!r} is no guard: write {FORMS}")
    subject, pool, compared, value = found[1], found[2] or "", found[3], found[4]
    limit: float
    if subject == "servers":
        if not _COUNT.fullmatch(value):
            raise GuardError(f"{text!r}: {value!r} is no number of servers")
        wanted, limit = (">", ">="), float(value)
    elif _PERCENTILE.fullmatch(subject) and float(subject[1:]) > 0:
        wanted, limit = ("<", "<="), _seconds(text, value)
    elif subject == "errors" or _STATUSES.fullmatch(subject):
        percent = _PERCENT.fullmatch(value)
        if percent is None or float(percent[1]) > 100:
            raise GuardError(f"{text!r}: {value!r} is no part of all: write 1%")
        wanted, limit = ("<", "<="), float(percent[1]) / 100
    else:
        raise GuardError(f"{text!r}: unknown {subject!r}: write {FORMS}")
    if compared not in wanted:
        raise GuardError(f"{text!r}: {subject} is compared with {' or '.join(wanted)}")
    if pool and pools is not None and pool not in pools:
        raise GuardError(f"{text!r}: there is no pool {pool!r}")
    return Guard(" ".join(text.split()), subject, pool, compared, limit)


def _seconds(text: str, value: str) -> float:
    if not _TIME.fullmatch(value):
        raise GuardError(f"{text!r}: {value!r} is no time: write 500ms")
    try:
        return Time().parse(value)
    except ValueError as wrong:
        raise GuardError(f"{text!r}: {wrong}") from None


@attr.frozen
class _Figures:
    """
    What has been counted.

    @ivar failed: and not by who has asked. Of a frontend: still with those in C{aborted}.
    @ivar aborted: whose client went away or was silent, of a pool only.
    @ivar fourth: answers C{4xx}, C{fifth} answers C{5xx}.
    """

    exchanges: int
    failed: int
    aborted: int
    fourth: int
    fifth: int

    @classmethod
    def of(cls, traffic: Traffic) -> _Figures:
        failed, aborted = traffic.failed, 0
        if isinstance(traffic, FrontendTraffic):
            failed -= traffic.denied + traffic.requestErrors
        elif isinstance(traffic, PoolTraffic):
            failed = traffic.unconnected + traffic.serverAborts + traffic.responseErrors
            aborted = traffic.clientAborts
        responses = traffic.responses
        return cls(traffic.exchanges, failed, aborted, responses[4], responses[5])


class Since:
    """What has come since this was made."""

    def __init__(self, balancer: Watched) -> None:
        self._balancer = balancer
        self._counted: dict[Traffic, _Figures] = {}
        self._timed: dict[Times, list[int]] = {}
        for traffic in self._traffics():
            self._counted[traffic] = _Figures.of(traffic)
        for times in self._times(""):
            self._timed[times] = list(times.responded.counts)

    def exchanges(self, pool: str, subject: str) -> tuple[int, int]:
        """
        @param pool: of which one; C{""}: of all frontends.
        @param subject: C{errors}, or answers of a class: C{5xx}.
        @return: how many exchanges have ended, and how many of them so.
        """
        balancer = self._balancer
        if pool:
            found = balancer.pools.get(pool)
            counted = [] if found is None else [self._new(found.traffic)]
        else:
            counted = [self._new(one.inbound.traffic) for one in balancer.frontends.values()]
        came = sum(one.exchanges for one in counted)
        if subject == "4xx":
            return came, sum(one.fourth for one in counted)
        if subject == "5xx":
            return came, sum(one.fifth for one in counted)
        bad = sum(one.failed for one in counted)
        if not pool:
            # Frontends do not count apart who has failed.
            bad -= sum(self._new(one.traffic).aborted for one in balancer.pools.values())
        return came, max(bad, 0)

    def responded(self, pool: str) -> Histogram:
        """@return: how long servers took for the head of an answer."""
        found = Histogram()
        for times in self._times(pool):
            now, before = times.responded, self._timed.get(times, [])
            # It grows with what comes.
            found.add(Histogram.of(list(map(operator.sub, now.counts, chain(before, repeat(0))))))
        return found

    def servers(self, pool: str) -> dict[str, int]:
        """@return: how many get requests, by the name of the pool."""
        return {
            name: sum(server.usable for server in one.servers)
            for name, one in self._balancer.pools.items()
            if pool in ("", name)
        }

    def _traffics(self) -> Iterable[Traffic]:
        for frontend in self._balancer.frontends.values():
            yield frontend.inbound.traffic
        for one in self._balancer.pools.values():
            yield one.traffic

    def _times(self, pool: str) -> Iterable[Times]:
        for name, one in self._balancer.pools.items():
            if pool in ("", name):
                for server in one.servers:
                    yield from server.traffic.routes.values()

    def _new(self, traffic: Traffic) -> _Figures:
        now = _Figures.of(traffic)
        before = self._counted.get(traffic)
        if before is None or before.exchanges > now.exchanges:
            # It has come since, or was counted anew.
            return now
        return _Figures(
            *(new - old for new, old in zip(astuple(now), astuple(before), strict=True))
        )
