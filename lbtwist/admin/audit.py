"""
Who has changed what: a line for each change, whichever way it came, and for each that was
refused.

It goes to the log of the program, for people, or to a place of its own, as one object of JSON
in a line. What was asked may hold anything: neither form has a line end or an escape in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attr
from twisted.logger import Logger

from lbtwist.events import plain

if TYPE_CHECKING:
    from lbtwist.logwriter import Writer

Seen = Mapping[str, Any]
"""What is changed, as it is: a few words and numbers by their names."""

_LONGEST = 1000


@attr.frozen
class Change:
    """
    One change.

    @ivar who: a user and a process, or a token and an address.
    @ivar what: the words of the verb.
    @ivar result: what was said of it; C{""} is done.
    @ivar done: whether it was.
    @ivar before: how it was, of what is another one now; C{after} how it is.
    """

    who: str
    what: Sequence[str]
    result: str = ""
    done: bool = True
    before: Seen = attr.field(factory=dict)
    after: Seen = attr.field(factory=dict)

    @classmethod
    def between(
        cls, who: str, what: Sequence[str], before: Seen, after: Seen, result: str
    ) -> Change:  # fmt: skip
        """@return: one that was done, with nothing of what has stayed as it was."""
        changed = [name for name in after if after[name] != before.get(name)]
        return cls(
            who, what, result, True, {name: before.get(name) for name in changed},
            {name: after[name] for name in changed},
        )  # fmt: skip


class Audit:
    """Writes changes down."""

    _log = Logger()

    def __init__(
        self, writer: Writer | None = None, wallclock: Callable[[], float] = time.time
    ) -> None:
        """
        @param writer: for a place of its own; L{None} is the log of the program.
        @param wallclock: seconds since the epoch.
        """
        self._writer = writer
        self._wallclock = wallclock

    def __repr__(self) -> str:
        return f"<Audit {self._writer or 'in the log'}>"

    def write(self, change: Change) -> None:
        """Write one down, at once."""
        if self._writer is None:
            self._tell(change)
            return
        at = datetime.fromtimestamp(self._wallclock(), UTC)
        self._writer.write(json.dumps({
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": change.who, "what": " ".join(change.what)[:_LONGEST],
            "before": change.before, "after": change.after,
            "result": change.result[:_LONGEST] or "done", "done": change.done,
        }))  # fmt: skip
        self._writer.flush()

    def _tell(self, change: Change) -> None:
        command = plain(" ".join(change.what))
        if not change.done:
            self._log.warn(
                "{caller}: {command}: refused, {outcome}",
                caller=plain(change.who), command=command, outcome=plain(change.result),
            )  # fmt: skip
            return
        changed = ", ".join(
            f"{name} {_word(change.before[name])} -> {_word(change.after[name])}"
            for name in change.after
        )
        self._log.info(
            "{caller}: {command}: {outcome}{changed}",
            caller=plain(change.who), command=command, outcome=plain(change.result) or "done",
            changed=f" ({changed})" if changed else "",
        )  # fmt: skip


def _word(value: Any) -> str:
    return plain(str(value)) or "-"
