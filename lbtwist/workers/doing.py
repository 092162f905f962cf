"""
What a worker does because an administrator has said it to the parent: what runs is here, and rules
look things up here.

What is given back is plain, see L{lbtwist.workers.channel}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbtwist.admin import live, mapping, sessions
from lbtwist.admin.verbs import Refused
from lbtwist.errors import NothingSeen, StartError
from lbtwist.service import LoadBalancer

_log = Logger()


def _running(balancer: LoadBalancer, most: int | None) -> list[dict[str, Any]]:
    """@return: so many connections of clients."""
    return [attr.asdict(one) for one in islice(sessions.running(balancer), most)]


async def _explain(balancer: LoadBalancer, words: Sequence[str]) -> dict[str, Any]:
    """@return: how the next exchange was decided, or why nobody can say."""
    try:
        said = await live.first(live.here(balancer, live.Wanted.of(balancer, words)))
    except (NothingSeen, Refused) as why:
        return {"why": str(why)}
    return {"text": said.text, "value": said.value}


def _give(balancer: LoadBalancer, texts: Mapping[str, bytes]) -> None:
    """Have these texts count instead of the files of certificates."""
    try:
        balancer.tlsFiles.give(texts)
    except StartError as wrong:
        _log.error("certificates without files cannot be used here: {why}", why=str(wrong))


TASKS: Mapping[str, Callable[..., Any]] = {
    "running": _running,
    "end": sessions.end,
    "explain": _explain,
    "change": mapping.follow,
    "fill": mapping.fill,
    "give": _give,
}
"""By their names: each is given the balancer, and what the parent has said."""


class Doing:
    """What a worker is about to do."""

    def __init__(self, send: Callable[..., object]) -> None:
        """@param send: says something to the parent."""
        self._send = send
        self._waiting: dict[int, Deferred[Any]] = {}

    def __repr__(self) -> str:
        return f"<Doing {len(self._waiting)}>"

    def do(
        self, balancer: LoadBalancer | None, number: int, name: str, *values: Any
    ) -> None:
        """
        Do something, and say what has come of it.

        @param balancer: nothing comes of it where there is none.
        @param number: what it is called.
        """
        if balancer is None:
            self._send("done", number, None)
            return
        doing = self._waiting[number] = maybeDeferred(TASKS[name], balancer, *values)
        doing.addBoth(self._done, number, name)

    def leave(self, number: int) -> None:
        """Nobody wants to know any more."""
        doing = self._waiting.pop(number, None)
        if doing is not None:
            doing.cancel()

    def _done(self, value: Any, number: int, name: str) -> None:
        if self._waiting.pop(number, None) is None:
            return
        if isinstance(value, Failure):
            _log.failure("{name} has failed", value, name=name)
            value = None
        self._send("done", number, value)
