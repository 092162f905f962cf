"""
The verb that gives requests a trace: W3C Trace Context, level 1, by which the logs and spans
of all who work on one request are found together.

The balancer takes part in no trace of its own: it passes on what it believes as it is, which
the recommendation allows (section 3.5), and begins one where there is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attr
from zope.interface import implementer

from lbtwist.exchange import Exchange
from lbtwist.interfaces import IRequestRule
from lbtwist.options import Flag, Percent, option
from lbtwist.sansio.headers import Fields

if TYPE_CHECKING:
    from lbtwist.registry import Context

PARENT = b"traceparent"
STATE = b"tracestate"

LONGEST = 128
"""Bytes of a parent that is believed; those of version 00 have 55."""

_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def traceOf(parent: bytes) -> str | None:
    """
    @param parent: the value of a C{traceparent} (section 3.2).
    @return: the trace that it names; L{None} if it is none.
    """
    found = _PARENT.fullmatch(parent) if len(parent) <= LONGEST else None
    if found is None or (found[1] == b"00" and found[3]):
        return None
    return found[2].decode()


@attr.frozen
class _Options:
    any: bool = option(Flag(), False, "Whoever a trace comes from, it is gone on with.")
    sample: int = option(Percent(), 100, "Of the traces that begin here so many are recorded.")


@implementer(IRequestRule)
class Trace:
    """
    C{trace [any] [sample=PERCENT]}: every request is of a trace, C{var["trace"]}.

    @cvar fieldNames: see L{lbtwist.rules.rulebook.Rule.names}.
    """

    Options = _Options
    fieldNames = (PARENT, STATE)

    def __init__(self, options: _Options, context: Context) -> None:
        self._any = options.any
        self._sample = options.sample
        self._random = context.random

    def requestReceived(self, exchange: Exchange) -> None:
        head = exchange.request
        assert head is not None
        fields = head.fields
        trace = None
        if self._any or exchange.connection.trusted:
            parents = fields.getAll(PARENT)
            # Of several none can be believed (section 3.2).
            trace = traceOf(parents[0]) if len(parents) == 1 else None
        if trace is None:
            trace = self._begin(fields)
        if exchange.vars is None:
            exchange.vars = {}
        exchange.vars["trace"] = trace

    def _begin(self, fields: Fields) -> str:
        """@return: a new trace, of which the request is from now on."""
        random = self._random
        trace = f"{random.getrandbits(128) or 1:032x}"
        parent = f"{random.getrandbits(64) or 1:016x}"
        recorded = random.random() * 100 < self._sample
        # What was said of another trace is not true of this one.
        fields.remove(STATE)
        fields.set(PARENT, f"00-{trace}-{parent}-{recorded:02x}".encode())
        return trace
