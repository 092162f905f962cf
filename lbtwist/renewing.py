"""
Reads the file of the configuration again and has the balancer go by it; goes back to what ran
before, when it is told to, when it is not told in time that all is well, or when a guard is
broken.

What is different and how it is put in place is the balancer's own concern; how a file is read,
and what is wrong with it, L{lbtwist.admin.proving}'s; what a guard is L{lbtwist.guards}'. Who
asks for a reload, and in which words, is known to L{lbtwist.tap} and L{lbtwist.admin.reloading}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attr
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.logger import Logger

from lbtwist.config.difference import SAME, Difference
from lbtwist.config.model import Config
from lbtwist.errors import BalancerError, Problem, StartError
from lbtwist.events import plain
from lbtwist.guards import MOST_GUARDS, Guard, GuardError, Since, parsed

LOOK = 1.0
"""Seconds from one look at the guards to the next."""

READING = 60.0
"""Seconds that the reading of a file may take."""

LONGEST = 86400.0
"""Seconds: nobody is waited for any longer."""

MOST_LINES = 100
"""Lines of what has changed, and of what is wrong, that are logged."""

MOST_PROBLEMS = 200
"""Of one file so many are remembered; how many more there are is said."""

REFUSED = "refused"
UNCHANGED = "unchanged"
APPLIED = "applied"
WAITING = "waiting"
CONFIRMED = "confirmed"
RETURNED = "returned"
REPLACED = "replaced"
STUCK = "stuck"
PARTLY = "partly"

STATES = {
    REFUSED: "nothing was changed",
    UNCHANGED: "the file says what ran already",
    APPLIED: "it runs",
    WAITING: "it runs, and waits to be confirmed",
    CONFIRMED: "it runs, and was confirmed",
    RETURNED: "it has gone back to what ran before",
    REPLACED: "another one came before it was confirmed",
    STUCK: "it runs: going back has failed",
    PARTLY: "it runs, but not in every worker",
}
"""How a reload can be, and what that means."""

FAILED = (REFUSED, RETURNED, STUCK, PARTLY)
"""Those in which what was asked for does not run, or not everywhere."""

_LEAVING = "The balancer is about to end."


class NotNow(BalancerError):
    """What was asked for cannot be done now; it says why."""


class Renewed(Protocol):
    """A balancer that can be given another configuration."""

    @property
    def config(self) -> Config:
        """What it runs."""

    @property
    def running(self) -> Any:
        """Whether it does."""

    @property
    def leaving(self) -> bool:
        """Whether it is about to end, and opens nothing any more."""

    @property
    def frontends(self) -> Mapping[str, Any]:
        """All there are now, by name."""

    @property
    def pools(self) -> Mapping[str, Any]:
        """Likewise."""

    def apply(self, config: Config) -> Difference:
        """@raise StartError: if it cannot be put in place; nothing has changed then."""

    async def settled(self) -> list[str]:
        """See L{lbtwist.service.LoadBalancer.settled}."""


class Read(Protocol):
    """What a file says."""

    @property
    def config(self) -> Config | None:
        """L{None} if it cannot be used."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What is to be said of it, or is wrong with it."""


@attr.define(eq=False)
class Reload:
    """
    One reload.

    @ivar number: counted from 1.
    @ivar at: when it was asked for, in seconds since the epoch.
    @ivar by: who has.
    @ivar state: one of L{STATES}.
    @ivar reason: why it is in that, where there is more to say.
    @ivar difference: what it has changed.
    @ivar problems: what is to be said of the file, each with its place; warnings, or what is
        wrong with it.
    @ivar guards: what has to hold until it is confirmed.
    @ivar until: when it will have waited for long enough, by the reactor's clock.
    @ivar endedAt: when it was neither to be waited for nor looked at any more, as C{at}.
    """

    number: int
    at: float
    by: str
    state: str = REFUSED
    reason: str = ""
    difference: Difference = SAME
    problems: list[str] = attr.field(factory=list)
    guards: Sequence[Guard] = ()
    until: float = 0.0
    endedAt: float = 0.0


class Renewal:
    """
    Renews one balancer.

    One after the other: who asks while a file is being read waits for that.

    @ivar path: of the file; absolute.
    @ivar last: the last reload, whether it has come to something or not; L{None} before that.
    @ivar differs: whether the file is known to say something else than what runs.
    """

    _log = Logger()

    def __init__(
        self, balancer: Renewed, path: str, read: Callable[[Config], Deferred[Any]],
        reactor: Any, wallclock: Callable[[], float],
    ) -> None:  # fmt: skip
        """
        @param read: reads the file, given what runs. It may take its time; what comes of it is
            a L{Read}.
        @param reactor: for timers, and for the time.
        @param wallclock: seconds since the epoch.
        """
        self.path = os.path.abspath(path)
        self.last: Reload | None = None
        self.differs = False
        self._balancer = balancer
        self._read = read
        self._lock = DeferredLock()
        self._reactor = reactor
        self._wallclock = wallclock
        self._before: Config | None = None
        self._waiting: Reload | None = None
        self._since: Since | None = None
        self._broken: dict[Guard, int] = {}
        self._timer: Any = None
        self._count = 0

    def __repr__(self) -> str:
        return f"<Renewal of {self.path} {'-' if self.last is None else self.last.state}>"

    @property
    def waiting(self) -> Reload | None:
        """The reload that waits to be confirmed."""
        return self._waiting

    @property
    def left(self) -> float:
        """Seconds until it goes back; 0 if none waits."""
        waiting = self._waiting
        return 0.0 if waiting is None else max(waiting.until - self._reactor.seconds(), 0.0)

    def renew(
        self, by: str, confirm: float = 0.0, guards: Iterable[str] = (), force: bool = False
    ) -> Deferred[Reload]:
        """
        Read the file again, and go by it.

        @param by: who asks.
        @param confirm: seconds in which L{confirm} has to be said, or else it goes back; 0: it
            stays.
        @param guards: what has to hold meanwhile; see L{lbtwist.guards}.
        @param force: even if another one waits to be confirmed: what there will be to go back
            to is what ran before that.
        @return: how it went: L{REFUSED}, L{UNCHANGED}, L{APPLIED} or L{WAITING}; L{PARTLY} where a
            worker cannot go by it, L{RETURNED} if it should have been confirmed. It fails with
            L{NotNow} if another one waits, or the balancer is about to end; with L{GuardError}
            if a guard is none. It may be cancelled, which keeps nothing from being done.
        """
        guards = list(guards)
        told: Deferred[Reload] = Deferred()
        self._lock.run(
            lambda: Deferred.fromCoroutine(self._renew(by, confirm, guards, force))
        ).chainDeferred(told)
        return told

    @property
    def _leaving(self) -> bool:
        return self._balancer.leaving or not self._balancer.running

    def _checkNow(self, force: bool) -> None:
        """@raise NotNow: if this is not the time."""
        if self._leaving:
            raise NotNow(_LEAVING)
        waiting = self._waiting
        if waiting is not None and not force:
            raise NotNow(
                f"Reload {waiting.number}, by {waiting.by}, waits to be confirmed for"
                f" {self.left:.0f} s more: confirm it or roll it back first, or force another."
            )

    async def _renew(
        self, by: str, confirm: float, guards: Sequence[str], force: bool
    ) -> Reload:
        held = self._held(confirm, guards)
        self._checkNow(force)
        reload = Reload(self._count + 1, self._wallclock(), by, guards=held)
        config = await self._readFor(reload)
        # It may have taken a while.
        self._checkNow(force)
        self._count += 1
        reload.number = self._count
        waiting = self._waiting
        if config is not None and self._replace(reload, config):
            self.last = reload
            self._settle(reload, confirm, waiting)
            await self._settled(reload)
        else:
            self.last = waiting or reload
            self.differs = True
            reload.endedAt = self._wallclock()
        self._tell(reload)
        return reload

    @staticmethod
    def _held(confirm: float, guards: Iterable[str]) -> list[Guard]:
        found = [parsed(text) for text in guards]
        if found and not confirm:
            raise GuardError("A guard says nothing without a time in which it has to hold.")
        if len(found) > MOST_GUARDS:
            raise GuardError(f"There are at most {MOST_GUARDS} guards.")
        return found

    async def _readFor(self, reload: Reload) -> Config | None:
        """@return: what the file says; L{None} if it cannot be used, which is written down."""
        try:
            read: Read = await self._read(self._balancer.config).addTimeout(READING, self._reactor)
        except TimeoutError:
            reload.reason = f"{self.path} was not read in {READING:g} s"
            return None
        except BalancerError as refused:
            reload.reason = str(refused)
            return None
        except Exception:
            self._failed(reload)
            return None
        reload.problems = [str(problem) for problem in read.problems[:MOST_PROBLEMS]]
        if len(read.problems) > MOST_PROBLEMS:
            reload.problems.append(f"and {len(read.problems) - MOST_PROBLEMS} more")
        if read.config is None:
            count = sum(problem.severity == "error" for problem in read.problems)
            reload.reason = f"{count} error{'s' if count != 1 else ''} in {self.path}"
        return read.config

    def _failed(self, reload: Reload) -> None:
        self._log.failure("a reload by {by} has failed", by=reload.by)
        reload.reason = "an error, which is in the log"

    def _replace(self, reload: Reload, config: Config) -> bool:
        """@return: whether it runs."""
        balancer = self._balancer
        before = balancer.config
        try:
            for guard in reload.guards:
                parsed(guard.text, config.pools)
            reload.difference = balancer.apply(config)
        except (GuardError, StartError) as failed:
            reload.reason = str(failed)
            return False
        except Exception:
            self._failed(reload)
            return False
        if self._waiting is None and not reload.difference.empty:
            self._before = before
        return True

    def _settle(self, reload: Reload, confirm: float, waiting: Reload | None) -> None:
        """It runs."""
        self.differs = False
        if waiting is not None:
            self._end(waiting, REPLACED, f"by reload {reload.number}")
        elif reload.difference.empty:
            reload.state = UNCHANGED
            reload.endedAt = self._wallclock()
            return
        if not confirm:
            reload.state = APPLIED
            reload.endedAt = self._wallclock()
            return
        reload.state = WAITING
        reload.until = self._reactor.seconds() + confirm
        self._waiting = reload
        self._since = Since(self._balancer)
        self._broken = {}
        self._wait()

    async def _settled(self, reload: Reload) -> None:
        """What runs in other processes runs there, or it is said that it does not."""
        behind = await self._balancer.settled()
        if not behind:
            return
        reload.problems += behind
        if reload is self._waiting:
            self._goBack(behind[0])
        elif reload.state in (APPLIED, UNCHANGED):
            reload.state, reload.reason = PARTLY, behind[0]

    def _tell(self, reload: Reload) -> None:
        log = self._log.warn if reload.state in FAILED else self._log.info
        said = f": {reload.reason}" if reload.reason else ""
        log(
            "reload {number} of {path} by {by}: {meaning}{said}{lines}",
            number=reload.number, path=self.path, by=reload.by, meaning=STATES[reload.state],
            said=said, lines=_lines([*reload.problems, *reload.difference.lines]),
        )  # fmt: skip

    # while it waits to be confirmed

    def _wait(self) -> None:
        # A clock of floats may stand a little before the moment that was asked for.
        pause = max(min(LOOK, self.left), 0.001)
        self._timer = self._reactor.callLater(pause, self._looked)

    def _looked(self) -> None:
        self._timer = None
        if self._leaving:
            self.stop()
            return
        try:
            why = self._brokenGuard()
        except Exception:
            self._log.failure("a guard has failed")
            why = "a guard has failed, which is in the log"
        if why:
            self._goBack(why)
        elif self.left <= 0:
            self._goBack("it was not confirmed in time")
        else:
            self._wait()

    def _brokenGuard(self) -> str:
        """@return: which guard is broken, and with which figures; C{""} if none is."""
        waiting, since = self._waiting, self._since
        assert waiting is not None and since is not None
        for guard in waiting.guards:
            why = guard.broken(since)
            times = self._broken[guard] = self._broken.get(guard, 0) + 1 if why else 0
            if why and times >= guard.patience:
                return f"{guard} is broken: {why}"
        return ""

    def _end(self, reload: Reload, state: str, reason: str) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._waiting = self._since = None
        reload.state, reload.reason = state, reason
        reload.endedAt = self._wallclock()

    def confirm(self, by: str) -> Reload:
        """
        What runs is good.

        @return: the reload that has waited for this.
        @raise NotNow: if there is none.
        """
        waiting = self._waiting
        if waiting is None:
            raise NotNow("No reload waits to be confirmed.")
        self._end(waiting, CONFIRMED, f"by {by}")
        self._log.info("reload {number} was confirmed by {by}", number=waiting.number, by=by)
        return waiting

    def rollback(self, by: str) -> Reload:
        """
        Go back to what ran before the last reload, whether that waits to be confirmed or not.

        @return: how it went: L{RETURNED} or L{STUCK}.
        @raise NotNow: if there is nothing to go back to, or the balancer is about to end.
        """
        if self._leaving:
            raise NotNow(_LEAVING)
        if self._before is None:
            raise NotNow("There is nothing to go back to.")
        reload = self._waiting
        if reload is None:
            self._count += 1
            reload = self.last = Reload(self._count, self._wallclock(), by)
        self._goBack(f"by {by}", reload)
        return reload

    def _goBack(self, reason: str, reload: Reload | None = None) -> None:
        reload = reload or self._waiting
        before = self._before
        assert reload is not None and before is not None
        try:
            difference = self._balancer.apply(before)
        except Exception as failed:
            if not isinstance(failed, StartError):
                self._log.failure("going back has failed")
            why = str(failed) if isinstance(failed, StartError) else "an error, which is in the log"
            self._end(reload, STUCK, f"{reason}; going back has failed: {why}")
            self._log.critical(
                "reload {number}: {meaning}: {reason}",
                number=reload.number, meaning=STATES[STUCK], reason=reload.reason,
            )  # fmt: skip
            return
        self._before = None
        self.differs = True
        if reload is not self._waiting:
            reload.difference = difference
        self._end(reload, RETURNED, reason)
        self._log.warn(
            "reload {number}: {meaning}: {reason}; {path} is not what runs{lines}",
            number=reload.number, meaning=STATES[RETURNED], reason=reason, path=self.path,
            lines=_lines(difference.lines),
        )  # fmt: skip

    def stop(self) -> None:
        """The balancer ends, whatever it goes by."""
        waiting = self._waiting
        if waiting is not None:
            self._end(waiting, APPLIED, "the balancer has ended before it was confirmed")
            self._log.warn(
                "reload {number} was not confirmed; {path} is what the next start goes by",
                number=waiting.number, path=self.path,
            )  # fmt: skip


def _lines(lines: Sequence[str]) -> str:
    """@return: each on a line of its own."""
    return "".join(f"\n{line}" for line in shown(lines))


def shown(lines: Sequence[str]) -> list[str]:
    """
    @param lines: of what has changed, or what is wrong.
    @return: the same for people: set in, nothing in them but text, and not too many.
    """
    found = [
        f"  {' ' * (len(line) - len(line.lstrip(' ')))}{plain(line)}" for line in lines[:MOST_LINES]
    ]
    if len(lines) > MOST_LINES:
        found.append(f"  and {len(lines) - MOST_LINES} more")
    return found
