"""
Whether a server may be used: what its checks say, and what an administrator said.

Pure objects: they are told of results and answer with the transition, if there
is one. Who runs checks is L{lbtwist.monitor}; who writes a transition down is
whoever asked.
"""

from __future__ import annotations

import re
from collections import deque

import attr

_ROLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")


def roleOf(said: str) -> str | None:
    """
    @param said: what a server, or a file, calls a role.
    @return: the role, in lower case; L{None} for what is none: a short word.
    """
    return said.lower() if _ROLE.fullmatch(said) else None


class Admin:
    """What an administrator decided about a server."""

    READY = "ready"
    DRAIN = "drain"
    """Keeps its sessions and those who are bound to it; gets nobody new."""
    MAINT = "maint"
    """Gets nobody."""


@attr.frozen
class Result:
    """
    What one check found.

    @ivar status: HAProxy's word: C{L4OK L4TOUT L4CON L7OK L7STS ...}.
    @ivar detail: a sentence for people.
    @ivar duration: in seconds.
    @ivar weight: the weight the server is to have, in percent of the configured one;
        L{None} where the check says nothing of it.
    @ivar admin: the state of L{Admin} it is to be in; where an administrator has taken it
        out of service, that stands.
    @ivar maxconn: the exchanges it is to get at once; 0 is no limit.
    @ivar role: what it is among its like, see L{roleOf}; C{""} is nothing.
    @ivar at: when it was found, by the clock of L{lbtwist.monitor}, whatever ran the check;
        two results that say the same compare equal.
    """

    passed: bool
    status: str
    detail: str = ""
    duration: float = 0.0
    weight: int | None = None
    admin: str | None = None
    maxconn: int | None = None
    role: str | None = None
    at: float = attr.field(default=0.0, eq=False)


@attr.frozen
class Transition:
    """A server changed between up and down."""

    up: bool
    result: Result


@attr.define(eq=False)
class Health:
    """
    Counts the results of one server's checks.

    The server is up until C{fall} checks in a row fail, and down until C{rise}
    in a row pass.

    @ivar changing: between up and down: the last result speaks against the
        state, so checks come at the fast interval.
    @ivar results: the last twenty, newest last.
    @ivar ejected: real traffic has found it an outlier, see L{lbtwist.passive}.
    @ivar held: an administrator has put it into C{admin}: no check takes it out.
    @ivar followed: that of the server which this one follows, see C{track} of servers: what
        was decided about that one counts here, too.
    """

    rise: int = 2
    fall: int = 3
    up: bool = True
    admin: str = Admin.READY
    count: int = 0
    results: deque[Result] = attr.field(factory=lambda: deque(maxlen=20))
    held: bool = False
    followed: Health | None = None
    ejected: bool = False

    def __repr__(self) -> str:
        return f"<Health {'up' if self.up else 'down'} {self.admin} {self.count}>"

    @property
    def changing(self) -> bool:
        return self.count > 0

    @property
    def inForce(self) -> str:
        """The state of L{Admin} that counts: its own, or that of the one it follows."""
        if self.followed is None or self.admin == Admin.MAINT:
            return self.admin
        theirs = self.followed.inForce
        return self.admin if theirs == Admin.READY else theirs

    @property
    def usable(self) -> bool:
        """Whether new clients may be sent to the server."""
        return self.up and not self.ejected and self.inForce == Admin.READY

    @property
    def recallable(self) -> bool:
        """Whether clients who are bound to the server may be sent to it."""
        return self.up and not self.ejected and self.inForce != Admin.MAINT

    def told(self, result: Result) -> Transition | None:
        """
        Count one result.

        @return: the transition, where this result brings one.
        """
        self.results.append(result)
        if result.passed == self.up:
            self.count = 0
            return None
        self.count += 1
        if self.count < (self.rise if result.passed else self.fall):
            return None
        self.count = 0
        self.up = result.passed
        return Transition(self.up, result)

    def doubted(self, result: Result, left: int) -> Transition | None:
        """
        Count a result that failed and stands for more than one.

        @param left: so many more, at the most, take a server down that is up.
        @return: as of L{told}.
        """
        if self.up:
            self.count = max(self.count, self.fall - 1 - left)
        return self.told(result)
