"""
Which exchanges a log takes, and how severe they are: by how they have ended, and a part of
them where that is enough.

Everything is made once, of what a configuration says, and then asked for every exchange; an
exchange is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from lbtwist.sansio.syslogline import DEBUG, ERR, INFO, NOTICE

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange

Takes = Callable[["Exchange"], bool]

_GOOD = frozenset("-L")
_THEIRS = frozenset("CcPK")
_SILENT = frozenset("Cc-")


def hasFailed(exchange: Exchange) -> bool:
    """
    Whether something went wrong, as HAProxy has it (its manual, C{option dontlog-normal}): an
    error, a timeout, another attempt or another server than the first, or a status from 500.
    """
    return (
        exchange.cause not in _GOOD
        or exchange.status >= 500
        or exchange.retries > 0
        or exchange.redispatched
    )


def severityOf(exchange: Exchange) -> int:
    """
    C{err} where a server or the balancer has failed, and for every status from 500; C{notice}
    for what clients brought upon themselves: refused, gone, too slow, a status from 400, and
    what an administrator has ended; C{info} for the rest. So nobody who is woken by C{err} is
    woken by a scanner.
    """
    status = exchange.status
    if status >= 500:
        return ERR
    cause = exchange.cause
    if cause in _GOOD:
        return INFO if status < 400 else NOTICE
    return NOTICE if cause in _THEIRS else ERR


def broughtNothing(exchange: Exchange) -> bool:
    """
    Whether a client has connected and said nothing, and nobody has said anything to it but
    that it took too long: a check of a balancer in front, a browser that connects in advance.
    """
    if exchange.bytesIn or exchange.cause not in _SILENT:
        return False
    return not exchange.bytesOut or exchange.status == 408


def row(size: int, taken: Collection[int]) -> Callable[[], bool]:
    """
    @param size: of so many in a row those are taken whose numbers are in C{taken}, from 1.
    @return: whether the next is taken.
    """
    wanted = bytearray(size)
    for number in taken:
        wanted[number - 1] = 1
    following = cycle(wanted).__next__
    return lambda: following() == 1


def chance(percent: int, draw: Callable[[], float]) -> Callable[[], bool]:
    """
    @param draw: a number from 0 up to 1.
    @return: whether one is taken: each has the same chance.
    """
    return lambda: draw() * 100.0 < percent


def taking(
    errors: bool = True,
    normal: bool = True,
    statuses: Sequence[tuple[int, int]] = (),
    null: bool = True,
    level: int = DEBUG,
    severity: Callable[[Exchange], int] = severityOf,
    sampled: Callable[[], bool] | None = None,
    sampleErrors: bool = False,
) -> Takes | None:
    """
    @param errors: take those that have failed.
    @param normal: take the others.
    @param statuses: take those with these, too.
    @param null: take those that brought nothing.
    @param level: take no others than those that are as severe.
    @param sampled: whether one of those that would be taken is.
    @param sampleErrors: whether it is asked for those that have failed, too.
    @return: whether an exchange is taken; L{None} where all are.
    """
    everything = errors and normal
    if everything and null and level == DEBUG and sampled is None:
        return None

    def takes(exchange: Exchange) -> bool:
        failed = hasFailed(exchange)
        if not everything and not (errors if failed else normal):
            status = exchange.status
            if not any(first <= status <= last for first, last in statuses):
                return False
        if not null and broughtNothing(exchange):
            return False
        if severity(exchange) > level:
            return False
        return sampled is None or (failed and not sampleErrors) or sampled()

    return takes
