"""
The check C{agent}: a program beside the server says how the server is, in one line of
words, as HAProxy's agents do (its configuration manual, C{agent-check}).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Line, Talk, TalkCheck, Unfit
from lbtwist.checks.tcp import bytesOf
from lbtwist.health import Admin, Health, Result, roleOf
from lbtwist.options import Text, option

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Server

_DOWN = frozenset(("down", "fail", "failed", "stopped"))
_ADMIN = {"ready": Admin.READY, "drain": Admin.DRAIN, "maint": Admin.MAINT}
_WEIGHT = re.compile(r"([0-9]{1,5})%")
_MAXCONN = re.compile(r"maxconn:([0-9]{1,9})")


def read(line: bytes, up: bool) -> Result:
    """
    @param line: what an agent has said.
    @param up: what counts where it says neither up nor down: what it said before.
    @raise Unfit: if one of its words is none of an agent's.
    """
    words = line.partition(b"#")[0]
    changes: dict[str, Any] = {}
    found = words.replace(b",", b" ").split()
    for written in found:
        word = written.decode("ascii", "backslashreplace").lower()
        if word in _DOWN:
            up = False
        elif word == "up":
            up = True
        elif word in _ADMIN:
            changes["admin"] = _ADMIN[word]
        elif weight := _WEIGHT.fullmatch(word):
            changes["weight"] = int(weight[1])
        elif maxconn := _MAXCONN.fullmatch(word):
            changes["maxconn"] = int(maxconn[1])
        elif word == "role=" or (word[:5] == "role=" and roleOf(word[5:])):
            changes["role"] = word[5:]
        else:
            raise Unfit(f"no word of an agent: {shown(written)!r}")
    if not found:
        raise Unfit("the agent has said nothing")
    return Result(up, "L7OK" if up else "L7STS", shown(line), **changes)


def _badText(text: str) -> str | None:
    try:
        bytesOf(text)
    except ValueError as wrong:
        return str(wrong)
    return None


class AgentCheck(TalkCheck):
    """
    C{check = agent}: connects to the agent, listens to one line, and does what it says.
    """

    @attr.frozen
    class Options:
        """What the agent is told first."""

        send: str = option(Text(), "", "Said to the agent first.", check=_badText)

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        # By their health: what is checked at another port is another object each time.
        self._down: WeakSet[Health] = WeakSet()

    def talk(self, server: Server) -> Talk:
        if self.options.send:
            yield bytesOf(self.options.send)
        line = yield Line("line of the agent", 1024, orEnd=True)
        health = server.health
        result = read(line, health not in self._down)
        if result.passed:
            self._down.discard(health)
        else:
            self._down.add(health)
        return result
