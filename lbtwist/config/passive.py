"""
What a pool says of passive checks: how outliers are found, and what does not go together
with C{observe}. Nothing is counted here: that is L{lbtwist.passive}'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.config import ini
from lbtwist.config.fill import BAD, Scope, fill
from lbtwist.errors import Position
from lbtwist.options import Integer, Percent, Time, Word, option

if TYPE_CHECKING:
    from lbtwist.config.model import PoolConfig, ServerConfig
    from lbtwist.registry import Registry

OBSERVE = Word("none", "layer4", "layer7")
ON_ERROR = Word("fastinter", "fail-check", "sudden-death", "mark-down")

NOT_CHECKED = (
    "needs a check of its own, which brings a server back: write check = CHECK, or outlier = on,"
    " which needs none"
)
NOT_OBSERVED = "says nothing without observe = layer4 or layer7; add it or remove this"


def _positive(seconds: float) -> str | None:
    return None if seconds >= 0.01 else "10ms or more is accepted"


@attr.frozen
class OutlierOptions:
    """When a server is an outlier, and how long it is ejected: C{outlier = base-ejection=5s}."""

    consecutive_5xx: int = option(
        Integer(0), 5, "So many responses of 5xx in a row eject a server; 0 is never."
    )
    consecutive_gateway: int = option(
        Integer(0), 5, "So many of 502, 503 and 504 in a row, or connects that failed; 0 is never."
    )
    failure_percentage: int = option(
        Percent(), 85, "So many percent of an interval's requests failed; 0 is never."
    )
    minimum_requests: int = option(
        Integer(1), 50, "With fewer requests in an interval nothing is said in percent."
    )
    interval: float = option(
        Time(), 10.0, "How often percents are taken, and good servers forgiven.", check=_positive
    )
    base_ejection: float = option(
        Time(), 30.0, "How long the first ejection is; the n-th is n times that.", check=_positive
    )
    max_ejection_time: float = option(
        Time(), 300.0, "The longest ejection; base-ejection where that is longer.", check=_positive
    )
    max_ejection: int = option(
        Percent(), 50, "Of the pool's servers so many percent are ejected at once, or one."
    )


def readOutlier(option: ini.Option, scope: Scope, registry: Registry) -> Any:
    """@return: the L{OutlierOptions}; L{None} for C{off}."""
    words = option.words
    if not words:
        scope.error(option.where, "needs a value: on, off or options, as consecutive-5xx=3")
        return BAD
    first = words[0]
    if first.text == "off":
        if len(words) > 1:
            scope.error(words[1].where, "nothing follows off")
        return None
    if first.text == "on":
        words = words[1:]
    said: dict[str, list[ini.Word]] = {}
    made = fill([OutlierOptions], words, first.where, scope, said=said)
    if made is None:
        return BAD
    [options] = made
    limits = options.consecutive_5xx, options.consecutive_gateway, options.failure_percentage
    if not any(limits):
        scope.warn(
            first.where,
            "ejects nobody: consecutive-5xx, consecutive-gateway and failure-percentage are 0",
        )
    if options.max_ejection_time < options.base_ejection:
        if "max-ejection-time" in said:
            scope.within("max-ejection-time").error(
                said["max-ejection-time"][0].where,
                f"is shorter than base-ejection, {options.base_ejection:g}s",
            )
            return BAD
        return attr.evolve(options, max_ejection_time=options.base_ejection)
    return options


@attr.frozen
class Observed:
    """
    What of a server's traffic counts as C{observe} has it.

    @ivar layer7: responses count, not only connects.
    @ivar limit: so many errors in a row.
    @ivar onError: what they lead to.
    """

    layer7: bool
    limit: int
    onError: str


def _isChecked(server: ServerConfig, pool: PoolConfig) -> bool:
    """Whether it has a check of its own."""
    return pool.check is not None and server.check and not server.track


def observedOf(pool: PoolConfig, server: ServerConfig) -> Observed | None:
    """@return: L{None} where nothing is observed: nobody would bring the server back."""
    observe = server.observe or pool.observe
    if observe == "none" or not _isChecked(server, pool):
        return None
    return Observed(
        observe == "layer7", server.error_limit or pool.error_limit,
        server.on_error or pool.on_error,
    )  # fmt: skip


def isWatched(pool: PoolConfig) -> bool:
    """@return: whether it matters what becomes of exchanges with its servers."""
    observed = (observedOf(pool, server) for server in pool.members)
    return pool.outlier is not None or any(one is not None for one in observed)


def checkObserved(
    pool: PoolConfig, said: Mapping[str, Position], bad: set[str], scope: Scope
) -> None:
    """
    @param said: where the pool's own values are, by the names of fields.
    @param bad: fields whose values were not acceptable.
    """
    if bad & {"observe", "error_limit", "on_error", "check"}:
        return
    checked = pool.check is not None
    # What [defaults] says is for pools with a check.
    wrong = ("observe" in said or checked) and _wrong(pool.observe, pool, checked)
    if wrong:
        scope.within("observe").error(said.get("observe", pool.where), wrong)
    for server in pool.members:
        _checkServer(server, pool, scope.within(f"server {server.name}"))
    observing = {pool.observe, *(server.observe or "none" for server in pool.members)}
    if observing == {"none"}:
        for field, word in (("error_limit", "error-limit"), ("on_error", "on-error")):
            if field in said:
                scope.within(word).error(said[field], NOT_OBSERVED)
    elif "on_error" in said:
        _checkFast(pool.on_error, pool, said["on_error"], scope)


def _checkServer(server: ServerConfig, pool: PoolConfig, scope: Scope) -> None:
    observe = server.observe or pool.observe
    wrong = server.observe and _wrong(observe, pool, _isChecked(server, pool))
    if wrong:
        scope.within("observe").error(server.where, wrong)
    elif observe == "none":
        for value, word in ((server.error_limit, "error-limit"), (server.on_error, "on-error")):
            if value:
                scope.within(word).error(server.where, NOT_OBSERVED)
    else:
        _checkFast(server.on_error, pool, server.where, scope)


def _wrong(observe: str, pool: PoolConfig, checked: bool) -> str:
    if observe == "none":
        return ""
    if not checked:
        return NOT_CHECKED
    if observe == "layer7" and pool.mode == "tcp":
        return "layer7 is of responses, and mode = tcp sees none; write layer4"
    return ""


def _checkFast(onError: str, pool: PoolConfig, where: Position, scope: Scope) -> None:
    if onError == "fastinter" and pool.check is not None and not pool.check.timing.fast:
        scope.within("on-error").warn(
            where, "fastinter does nothing: the check has no fast=TIME; add it"
        )
