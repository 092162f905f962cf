"""
What a frontend does with C{traceparent}: passes it on, makes it, or begins anew, so that a
request can be found by its trace in our log. Where somebody is told of spans, the balancer is one
of those who pass it on, and names itself as the parent.

Not here: what such fields look like (L{lbtwist.sansio.tracecontext}), and who is told
(L{lbtwist.spans}).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy

import attr

from lbtwist.exchange import Exchange
from lbtwist.sansio import tracecontext
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.tracecontext import SIZE, SPAN, made, read, spanOf

OFF, FORWARD, MAKE, RESTART = HOW = ("off", "forward", "make", "restart")
"""
Not looked at; passed on where it is acceptable; made where it is not there, or not acceptable;
made for everybody but C{trusted-proxies}.
"""

_PARENT, _STATE = b"traceparent", b"tracestate"


class Tracing:
    """Sees to the trace of each request of a frontend."""

    def __init__(
        self, how: str, sampling: float, spans: bool = False,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:  # fmt: skip
        """
        @param how: one of L{HOW}, and not C{off}.
        @param sampling: of a hundred that are made, so many are sampled.
        @param spans: whether somebody is told of those that are.
        @param random: gives so many bytes.
        """
        self._makes = how != FORWARD
        self._believes = how != RESTART
        self._ratio = sampling / 100
        self._spans = spans
        self._random = random

    def rehearsed(self) -> Tracing:
        """@return: the same, but what it makes is always the same, and of ones."""
        found = copy(self)
        found._random = bytes
        return found

    def follow(self, exchange: Exchange, head: RequestHead) -> None:
        """@param head: of the request as it leaves."""
        fields = head.fields
        values = fields.getAll(_PARENT)
        believed = self._believes or exchange.connection.trusted
        trace = read(values) if believed else None
        came = trace is not None
        if trace is None:
            # Without its parent, or with another one, it says nothing (section 3.3).
            fields.remove(_STATE)
            if self._makes:
                trace = made(self._random(SIZE), self._ratio)
                fields.set(_PARENT, trace.field)
            elif values:
                fields.remove(_PARENT)
        else:
            if trace.version != b"00":
                # Of what comes after it no more is known than version 0 has (section 3.2.4).
                fields.set(_PARENT, trace.field)
            states = fields.getAll(_STATE)
            if states:
                state = tracecontext.stateOf(states)
                if state is None:
                    fields.remove(_STATE)
                elif [state] != states:
                    fields.set(_STATE, state)
        if trace is None:
            return
        if self._spans and trace.sampled:
            random = self._random(2 * SPAN)
            asked = attr.evolve(trace, parent=spanOf(random[:SPAN]))
            fields.set(_PARENT, asked.field)
            # What is made here has no parent: nobody has sent it.
            parent = trace.parent.decode() if came else ""
            exchange.trace = f"{asked.told}-{spanOf(random[SPAN:]).decode()}-{parent}"
        else:
            exchange.trace = trace.told
