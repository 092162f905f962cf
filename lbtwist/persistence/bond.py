"""
What persistence knows of one exchange.
"""

from __future__ import annotations

from typing import Any


class Came:
    """
    What became of the cookie that a client sent: the third letter of the termination state
    in the log (HAProxy's manual, 8.5).
    """

    NONE = "N"
    INVALID = "I"
    """It means no server."""
    DOWN = "D"
    """Its server cannot be had."""
    VALID = "V"
    EXPIRED = "E"
    """It was not used for longer than C{maxidle}."""
    OLD = "O"
    """It was made longer ago than C{maxlife}."""
    UNUSED = "U"
    """A rule has said where the exchange goes."""


class Went:
    """What became of the cookie in the response: the fourth letter."""

    NONE = "N"
    INSERTED = "I"
    UPDATED = "U"
    """Its date was."""
    PROVIDED = "P"
    """The server's own, as it came."""
    REWRITTEN = "R"
    DELETED = "D"


class Bond:
    """
    What persistence knows of one exchange.

    @ivar by: the kind that has recalled its server; L{None} if none has.
    @ivar unusable: the kinds that have named a server that cannot be had, with its name.
    @ivar claims: the kinds that have claimed a server which is not connected to yet.
    @ivar said: what the client's cookie says, an L{lbtwist.persistence.tokens.Said};
        L{None} if it means no server.
    @ivar came: see L{Came}; C{"-"} where there is no kind by cookie.
    @ivar went: see L{Went}.
    @ivar rule: what rules have said: C{"server"}, which is to be used; C{"ignore"}, so that
        nothing is recalled and nothing remembered; C{""} if they have said nothing.
    """

    __slots__ = ("by", "came", "claims", "rule", "said", "unusable", "went")

    def __init__(self) -> None:
        self.by: Any = None
        self.said: Any = None
        self.unusable: tuple[tuple[Any, str], ...] = ()
        self.claims: tuple[Any, ...] = ()
        self.came = self.went = "-"
        self.rule = ""

    def __repr__(self) -> str:
        return f"<Bond {self.came}{self.went} by {self.by!r}>"
