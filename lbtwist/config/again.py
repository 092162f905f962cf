"""
What the options of a pool say about asking twice: after which failures, where, and how often.
When that is safe is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attr

from lbtwist.config.fill import Scope
from lbtwist.errors import Position
from lbtwist.options import Kind, suggestion

if TYPE_CHECKING:
    from lbtwist.config.model import PoolConfig

CONNECT = "conn-failure"
EMPTY = "empty-response"
JUNK = "junk-response"
TIMEOUT = "response-timeout"

_ALL = "all-retryable-errors"
_NONE = "none"
_FAILURES = (CONNECT, EMPTY, JUNK, TIMEOUT)
_STATUSES = (
    "401", "403", "404", "408", "421", "425", "429", "500", "501", "502", "503", "504",
)  # fmt: skip
# As HAProxy's manual has it for retry-on.
_RETRYABLE = (*_FAILURES, "500", "502", "503", "504")


class RetryOn(Kind[tuple[str, ...]]):
    """Failures, and statuses that are taken for failures; none of them is empty."""

    form = "FAILURES"

    def parse(self, text: str) -> tuple[str, ...]:
        words = text.replace(",", " ").split()
        if _NONE in words:
            if len(words) > 1:
                raise ValueError("none stands alone")
            return ()
        found: list[str] = []
        for word in words:
            if word == _ALL:
                found += _RETRYABLE
            elif word in _FAILURES or word in _STATUSES:
                found.append(word)
            elif re.fullmatch("[1-5][0-9]{2}", word):
                raise ValueError(f"{word} is no failure; known are {', '.join(_STATUSES)}")
            else:
                raise ValueError(f"unknown {word!r}{suggestion(word, (*_FAILURES, _ALL, _NONE))}")
        return tuple(dict.fromkeys(found))


class Redispatch(Kind[int]):
    """Which of the retries go to another server: each n-th; 0 is none of them."""

    form = "yes|no|NUMBER"

    def parse(self, text: str) -> int:
        if text in ("yes", "no"):
            return int(text == "yes")
        if not re.fullmatch("[0-9]{1,3}", text) or int(text) > 100:
            raise ValueError(
                f"{text!r} is neither yes nor no, nor a number up to 100: 3 is each third retry"
            )
        return int(text)


@attr.frozen
class Share:
    """
    How much may be asked twice.

    @ivar percent: of the requests.
    @ivar least: per second, whatever they are.
    """

    percent: float = 20.0
    least: float = 3.0


class Shares(Kind["Share | None"]):
    """C{20%}, C{20% min 3/s}, or C{no} for no limit."""

    form = "SHARE"
    _good = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%(?: +min[ =]([0-9]{1,6})/s)?")

    def parse(self, text: str) -> Share | None:
        if text == "no":
            return None
        found = self._good.fullmatch(text)
        if found is None or float(found[1]) > 100:
            raise ValueError(f"{text!r} is not a share: write 20%, 20% min 3/s, or no")
        return Share(float(found[1])) if found[2] is None else Share(
            float(found[1]), float(found[2])
        )


def doubtAgain(
    pool: PoolConfig, said: Mapping[str, Position], bad: set[str], scope: Scope
) -> None:
    """
    Warn of what has no effect.

    @param said: where the values are, by the names of fields.
    @param bad: fields whose values were not acceptable.
    """
    http = pool.mode != "tcp"
    sent = bool(set(pool.retry_on) - {CONNECT})
    again = http and sent and pool.retries > 0
    hedged = http and bool(pool.hedge_after)
    never = "says nothing with retries = 0"
    once = "says nothing: no request that was sent is sent again; see retry-on"
    reasons = {
        "retry_on": (sent and not http and _BLIND) or (sent and not pool.retries and never),
        "redispatch": not pool.retries and never,
        "retry_buffer": not again and once,
        "retry_non_idempotent": pool.retry_non_idempotent and not again and once,
        "retry_budget": not (again or hedged) and once,
        "hedge_after": pool.hedge_after and _hedgeDoubt(pool),
    }
    if not bad & {"retry_on", "retries", "hedge_after"}:
        for field, reason in reasons.items():
            if reason and field in said and field not in bad:
                scope.within(field.replace("_", "-")).warn(said[field], reason)


_BLIND = "mode = tcp sees no responses, only connects"


def _hedgeDoubt(pool: PoolConfig) -> str:
    if pool.mode == "tcp":
        return _BLIND
    if pool.persist:
        return "says nothing with persist: whoever is bound to a server is not sent to another"
    if len(pool.servers) == 1 and not pool.templates:
        return "says nothing with one server: there is no second one to be asked"
    return ""
