"""
Several checks as one: C{check = http GET /health and (tcp:9000 or exec:/usr/lib/x)}.

All parts are begun at the same time. As soon as it is clear what comes of some of them, those
that would change nothing are cancelled. How this is written is L{lbtwist.config.checking}'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.checks.probe import CheckCancelled, resultOf
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck

if TYPE_CHECKING:
    from lbtwist.server import Server

Results = Sequence["Result | None"]
"""What each part has found, in the order they are written; L{None} if nothing yet."""


@attr.frozen(eq=False)
class Single:
    """
    One check of a combined one.

    @ivar name: of the check, for people.
    @ivar port: asked instead of the server's own; 0 is that.
    """

    name: str
    check: Any
    port: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.port}" if self.port else self.name


@attr.frozen(eq=False)
class Group:
    """
    Passes where at least so many of its parts do.

    @ivar parts: further groups, and parts by their number, counted from 0.
    """

    least: int
    parts: tuple[Group | int, ...]

    def passed(self, results: Results) -> bool | None:
        """@return: L{None} as long as it may still go either way."""
        found = [_passed(part, results) for part in self.parts]
        if found.count(True) >= self.least:
            return True
        return False if len(found) - found.count(False) < self.least else None

    def awaited(self, results: Results) -> Iterator[int]:
        """@return: the parts without which it cannot be said, as far as is known."""
        if self.passed(results) is not None:
            return
        for part in self.parts:
            if not isinstance(part, int):
                yield from part.awaited(results)
            elif results[part] is None:
                yield part

    def because(self, passed: bool, results: Results) -> Iterator[int]:
        """@return: the parts by which it has passed, or has not."""
        for part in self.parts:
            if _passed(part, results) is passed:
                if isinstance(part, int):
                    yield part
                else:
                    yield from part.because(passed, results)


def _passed(part: Group | int, results: Results) -> bool | None:
    if not isinstance(part, int):
        return part.passed(results)
    result = results[part]
    return None if result is None else result.passed


@implementer(IHealthCheck)
class Combined:
    """
    A check made of others. What these say of a server beyond up and down counts, whether they
    pass or not; where two speak of the same thing, the last one as they are written.
    """

    def __init__(self, group: Group, singles: Sequence[Single]) -> None:
        self.group = group
        self.singles = tuple(singles)

    def check(self, server: Server) -> Deferred[Result]:
        return _Run(self, server).begin()


class _Run:
    """
    One check of one server.

    @ivar verdict: fires with the result; when it is cancelled, so are all parts that run.
    """

    def __init__(self, combined: Combined, server: Server) -> None:
        self.verdict: Deferred[Result] = Deferred(self._cancelled)
        self._group = combined.group
        self._singles = combined.singles
        self._server = server
        self._results: list[Result | None] = [None] * len(combined.singles)
        self._running: dict[int, Deferred[Any]] = {}
        self._late: dict[int, CheckCancelled] | None = None

    def begin(self) -> Deferred[Result]:
        for number, single in enumerate(self._singles):
            if number not in self._group.awaited(self._results):
                # It is clear already, by those that have ended at once.
                continue
            server = self._server
            if single.port and server.endpoint is not None:
                server = attr.evolve(server, endpoint=server.endpoint.at(single.port))
            running = self._running[number] = maybeDeferred(single.check.check, server)
            running.addBoth(self._told, number)
        return self.verdict

    def _told(self, answer: object, number: int) -> None:
        if self._running.pop(number, None) is None:
            # Nobody waits for it any more.
            return
        error = answer.value if isinstance(answer, Failure) else None
        if not isinstance(error, CheckCancelled):
            result = resultOf(answer)
        elif self._late is not None:
            self._late[number] = error
            return
        else:
            result = Result(False, error.status, error.detail)
        if self._late is None:
            self._results[number] = result
            self._look()

    def _look(self) -> None:
        """One more part has ended: see what that means."""
        needed = set(self._group.awaited(self._results))
        for number in [one for one in self._running if one not in needed]:
            self._running.pop(number).cancel()
        passed = self._group.passed(self._results)
        if passed is not None:
            self.verdict.callback(self._result(passed))

    def _result(self, passed: bool) -> Result:
        because = list(self._group.because(passed, self._results))
        found = {number: one for number, one in enumerate(self._results) if one is not None}
        said: dict[str, Any] = {}
        for name in ("weight", "admin", "maxconn", "role"):
            for result in found.values():
                if getattr(result, name) is not None:
                    said[name] = getattr(result, name)
        detail = "; ".join(self._words(number, found[number].detail) for number in because)
        return Result(passed, found[because[-1 if passed else 0]].status, detail, **said)

    def _words(self, number: int, detail: str) -> str:
        part = f"part {number + 1}, {self._singles[number]}"
        return f"{part}: {detail}" if detail else part

    def _cancelled(self, verdict: Deferred[Result]) -> None:
        late = self._late = {}
        numbers = sorted(self._running)
        for number in numbers:
            self._running[number].cancel()
        self._running.clear()
        words = []
        for number, result in enumerate(self._results):
            if number in numbers:
                detail = late[number].detail if number in late else "no result"
                words.append(self._words(number, detail))
            elif result is not None and not result.passed:
                words.append(self._words(number, result.detail))
        status = late[numbers[0]].status if numbers[0] in late else "L7TOUT"
        verdict.errback(CheckCancelled(status, "; ".join(words)))
