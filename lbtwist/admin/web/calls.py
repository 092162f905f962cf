"""
What an operation of the API is, and what it is given. Which there are is said by
L{lbtwist.admin.web.api}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attr
from twisted.internet.task import deferLater

from lbtwist.admin.verbs import Answer, Caller, Commands, Refused
from lbtwist.admin.web.access import Access, Identity, addressOf
from lbtwist.admin.web.answers import Problem
from lbtwist.admin.web.readings import Readings
from lbtwist.admin.web.shapes import LONGEST_LINES, Shape, listOf, obj, text, word
from lbtwist.admin.web.streams import Streams
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import Frontend

BASE = "/api/v1"

STREAM = "stream"


@attr.frozen(eq=False)
class Parts:
    """
    What operations work with.

    @ivar commands: do what changes something.
    """

    readings: Readings
    commands: Commands
    streams: Streams
    access: Access


@attr.frozen(eq=False)
class Call:
    """
    One request for an operation.

    @ivar path: what stands in the path, by name; C{query} what stands behind it.
    @ivar body: what came with it; C{None} for nothing.
    """

    parts: Parts
    request: Any
    who: Identity
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any

    @property
    def readings(self) -> Readings:
        return self.parts.readings

    def pool(self) -> Pool:
        """@raise Problem: if there is none of this name."""
        found = self.readings.balancer.pools.get(self.path["pool"])
        if found is None:
            raise Problem(404, "there is no pool of this name")
        return found

    def frontend(self) -> Frontend:
        """@raise Problem: if there is none of this name."""
        found = self.readings.balancer.frontends.get(self.path["frontend"])
        if found is None:
            raise Problem(404, "there is no frontend of this name")
        return found

    def server(self) -> tuple[Pool, Server]:
        """@raise Problem: if there is none of this name."""
        pool = self.pool()
        try:
            return pool, pool.find(self.path["server"])
        except KeyError:
            raise Problem(404, "there is no server of this name in the pool") from None

    async def command(self, *words: str, payload: str | None = None) -> Answer:
        """
        Have a verb done, as somebody at the socket would, who may do everything: what this one
        may is known.

        @param payload: lines that come with it.
        @raise Problem: if it is refused.
        """
        caller = Caller(f"token {self.who.name} from {addressOf(self.request)}")
        answer = await self.parts.commands.ask(words, caller, payload)
        if not answer.good:
            raise Problem(409, answer.text.strip())
        return answer

    async def value(self, *words: str) -> Any:
        """@return: what a verb says to programs."""
        return (await self.command(*words)).value

    async def turn(self) -> None:
        """Let others have theirs."""
        await deferLater(self.readings.balancer.reactor, 0)

    def newest(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """@return: as many as are wanted, the newest first."""
        return found[: -1 - self.query["limit"] : -1]


@attr.frozen(eq=False)
class Operation:
    """
    What is done at a path with a method.

    @ivar path: with C{{NAME}} for what may stand there.
    @ivar scope: who may; C{""}: anybody.
    @ivar run: does it, given a L{Call}: gives a value, a L{Reply}, or a coroutine of one.
    @ivar answers: the name of what is answered; C{""} is nothing, L{STREAM} events.
    @ivar body: what has to come with it; C{None} is nothing.
    @ivar bare: whether the body may be left out.
    @ivar query: what may follow the path. What has a C{default} has that.
    @ivar needs: a verb of the balancer: without it there is no such operation.
    """

    method: str
    path: str
    scope: str
    summary: str
    run: Callable[[Call], Any]
    answers: str
    body: Shape | None = None
    bare: bool = False
    query: Mapping[str, Shape] = attr.field(factory=dict)
    needs: str = ""


def verb(
    path: str, words: str, scope: str, summary: str, method: str = "POST",
    of: Callable[[Call], object] = lambda call: None, payload: str = "", flag: str = "",
) -> Operation:  # fmt: skip
    """
    @param words: of a verb of the balancer, with C{{NAME}} for what stands in the path; those in
        the body's C{words} follow those of a C{POST}.
    @param of: looks first whether there is what the path names; raises L{Problem}.
    @param payload: what in the body is lines that come with it, and then there are no words.
    @param flag: a word that may follow, where the query says C{yes} to it.
    @return: an operation that has it done; there is none where there is no such verb.
    """

    async def run(call: Call) -> Any:
        of(call)
        body = call.body or {}
        following = [*body.get("words", ()), *([flag] if flag in call.query else ())]
        said = [one.format_map(call.path) for one in words.split()]
        answer = await call.command(*said, *following, payload=body.get(payload))
        return {
            "severity": answer.severity.name.lower(), "text": answer.text.rstrip("\n"),
            "value": answer.value,
        }  # fmt: skip

    body: Shape | None = None
    if payload:
        body = obj(**{payload: text(LONGEST_LINES)})
    elif method == "POST":
        body = obj({"words": {**listOf(text(1024, 1)), "maxItems": 32}})
    query = {flag: word("yes")} if flag else {}
    needs = words.partition(" {")[0]
    return Operation(
        method, path, scope, summary, run, "Said", body, not payload, query, needs
    )


def available(operations: Iterable[Operation], commands: Commands) -> Iterable[Operation]:
    """@return: those that a balancer with these verbs has."""
    for one in operations:
        try:
            if one.needs:
                commands.verbs.find(one.needs.split())
        except Refused:
            continue
        yield one
