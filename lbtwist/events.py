"""
What happens to servers, as an L{lbtwist.interfaces.IHealthObserver} is told of it: one value
for each transition, and the words for it.

Pure values: who makes them and who is told is L{lbtwist.announcing}'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attr

from lbtwist.health import Admin, Result

if TYPE_CHECKING:
    from lbtwist.server import Server

LONGEST = 200
"""Characters of a reason, and of a name; they may come from anywhere."""

UP = "up"
DOWN = "down"
DRAIN = "drain"
READY = "ready"
MAINT = "maint"
WEIGHT = "weight"
ROLE = "role"
EJECTED = "ejected"
RETURNED = "returned"
JOINED = "joined"
LEFT = "left"

EVENTS = (UP, DOWN, DRAIN, READY, MAINT, WEIGHT, ROLE, EJECTED, RETURNED, JOINED, LEFT)
"""All that can happen to a server."""

ADMIN = {Admin.DRAIN: DRAIN, Admin.READY: READY, Admin.MAINT: MAINT}
"""What has happened to a server that is in a state of L{Admin} now."""


def plain(text: str) -> str:
    """
    @return: text of a stranger, bounded, as one line of nothing but what can be shown: no
        line ends, no escapes of terminals, no marks that turn the direction of a text, no
        halves of a surrogate pair.
    """
    words = " ".join(text[: 4 * LONGEST].split())
    return "".join(one if one.isprintable() else "?" for one in words)[:LONGEST]


def reasonOf(result: Result) -> str:
    """@return: what a check has found, for people."""
    return plain(f"{result.status} {result.detail}")


def stateOf(server: Server, up: bool | None = None, admin: str | None = None) -> str:
    """
    @param up: what its checks say; L{None}: as it is now.
    @param admin: its state of L{Admin}; L{None}: as it is now.
    @return: HAProxy's word, as in the column C{status} of its statistics, for how a server is:
        C{UP}, C{DOWN}, C{DRAIN} or C{MAINT}; and two that it has not: C{EJECTED} by what its
        exchanges said, C{LEAVING} because its source names it no more.
    """
    health = server.health
    if server.leaving:
        return "LEAVING"
    admin = admin or health.inForce
    if admin == Admin.MAINT:
        return "MAINT"
    if not (health.up if up is None else up):
        return "DOWN"
    if health.ejected:
        return "EJECTED"
    if admin == Admin.DRAIN or not server.weight:
        return "DRAIN"
    return "UP"


@attr.frozen
class HealthEvent:
    """
    Something happened to a server. Texts in it may come from anywhere: each is L{plain},
    but those of C{result}.

    @ivar what: one of L{EVENTS}.
    @ivar before: how it was, as L{stateOf} says it; C{""} if it is new.
    @ivar after: how it is.
    @ivar reason: for people.
    @ivar at: when, in seconds since the epoch.
    @ivar result: the check that brought it about; L{None} if none did.
    @ivar address: where it listens; C{""} if that is not known.
    @ivar active: the servers of its pool that can be used and are no backup.
    @ivar backup: the backup servers that can be used.
    @ivar sessions: exchanges that hold a slot of it.
    @ivar queued: exchanges that wait for a slot of its pool.
    @ivar weight: what it has now, and so C{maxconn} and C{role}.
    """

    pool: str = attr.field(converter=plain)
    server: str = attr.field(converter=plain)
    what: str
    before: str
    after: str
    reason: str = attr.field(default="", converter=plain)
    at: float = 0.0
    result: Result | None = None
    address: str = attr.field(default="", converter=plain)
    active: int = 0
    backup: int = 0
    sessions: int = 0
    queued: int = 0
    weight: float = 1
    maxconn: int = 0
    role: str = attr.field(default="", converter=plain)

    @property
    def text(self) -> str:
        """A sentence for people, and one for who is left."""
        name = f"Server {self.pool}/{self.server}"
        reason = f", reason: {self.reason}" if self.reason else ""
        if self.what == WEIGHT:
            return f"{name} has weight {self.weight} and maxconn {self.maxconn} now{reason}."
        if self.what == ROLE:
            return f"{name} has {f'role {self.role}' if self.role else 'no role'} now{reason}."
        took = ""
        if self.result is not None:
            took = f", check duration {self.result.duration * 1000:.1f} ms"
        return (
            f"{name} is {self.after}{reason}{took}. {self.active} active and {self.backup} "
            f"backup servers {'online' if self.after == 'UP' else 'left'}."
        )
