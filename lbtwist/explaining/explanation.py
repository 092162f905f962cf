"""
What was found out about one request: steps in order, and what becomes of it. Data; the
words for it are L{lbtwist.explaining.words}'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attr


@attr.frozen
class Action:
    """
    What becomes of a request.

    @ivar what: C{"sent"} to a server or C{"connected"} to the target of a CONNECT,
        C{"queued"} for a server, C{"answered"} by the balancer, C{"reset"}, C{"closed"} or
        C{"dropped"}; C{"under way"} of a real one that had not ended.
    @ivar text: a sentence.
    @ivar pool: its name; C{""} if it comes to none.
    @ivar server: likewise; C{""} also where a balancer does not foresee it.
    @ivar status: of the response; 0 where it is not known.
    @ivar tunnel: whether bytes are passed that nobody parses.
    @ivar unless: the places of the rules that were not asked, since they might wait; they
        may decide otherwise.
    """

    what: str = ""
    text: str = ""
    pool: str = ""
    server: str = ""
    status: int = 0
    tunnel: bool = False
    unless: tuple[str, ...] = ()


@attr.define(eq=False)
class Explanation:
    """
    @ivar steps: what was looked at, in order: each has a C{kind}; see C{docs/explain.md}.
    @ivar action: what becomes of the request.
    """

    steps: list[dict[str, Any]] = attr.field(factory=list)
    action: Action = Action()

    def add(self, kind: str, **said: Any) -> dict[str, Any]:
        """@return: the step, to which more can be added."""
        step = {"kind": kind, **{key: asPlain(value) for key, value in said.items()}}
        self.steps.append(step)
        return step

    def of(self, kind: str) -> list[dict[str, Any]]:
        """@return: the steps of a kind."""
        return [step for step in self.steps if step["kind"] == kind]

    def asJSON(self) -> str:
        """@return: an object: C{steps} and C{action}."""
        return json.dumps({"steps": self.steps, "action": attr.asdict(self.action)}, indent=2)


def asPlain(value: Any) -> Any:
    """@return: the same, of what JSON has; bytes that are no text as C{\\xff}."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {str(key): asPlain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [asPlain(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return asPlain(str(value))
