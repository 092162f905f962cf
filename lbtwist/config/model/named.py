"""
Parts that a line names, and what the line says of them besides their own options: when a
rule is asked and how long it may take, how often servers are checked, what is told.

Which parts there are is not known here; that is L{lbtwist.registry}'s.
"""

from __future__ import annotations

from typing import Any

import attr

from lbtwist.config.model.fields import place
from lbtwist.errors import Position
from lbtwist.events import EVENTS
from lbtwist.options import Integer, Time, Word, Words, option
from lbtwist.rules.expression import Expression
from lbtwist.rules.template import Template


@attr.frozen
class Part:
    """
    A part named in a value, with its options: C{balance = hash field=X-User}.

    @ivar name: the word; an L{lbtwist.registry.Extension} has this name.
    @ivar options: an instance of the extension's C{options} class.
    @ivar asked: each text with expressions, and each expression, among the options that were
        written: the option's name, what was made of it, and its word.
    """

    name: str
    options: Any
    where: Position = place()
    asked: tuple[tuple[str, Template | Expression, Any], ...] = attr.field(
        default=(), eq=False, repr=False
    )


@attr.frozen
class RuleOptions:
    """
    How long a verb may take that has to wait for something; written in the same line as
    the verb: C{policy deadline=2s on-error=deny}.
    """

    deadline: float = option(Time(), 5.0, "How long it may take to decide.")
    concurrency: int = option(Integer(0), 1000, "So many at once; 0 is no limit.")
    on_error: str = option(
        Word("deny", "allow", "503"),
        "deny",
        "What is decided when it fails, is late, or too many wait.",
    )


@attr.frozen
class RuleLine:
    """
    One line of rules: C{VERB ARGUMENTS [if CONDITION]}.

    @ivar text: as it was written.
    @ivar verb: makes what is asked; its C{options} may have L{Template} and
        L{Expression} in them.
    @ivar condition: L{None} if the line holds always.
    """

    text: str
    verb: Part
    condition: Expression | None = None
    asking: RuleOptions = RuleOptions()
    where: Position = place()


@attr.frozen
class CheckOptions:
    """
    How often a server is checked, and how many results it takes. Written in the
    same value as the check itself: C{check = http GET / interval=2s rise=2}.
    """

    interval: float = option(Time(), 2.0, "From the start of one check to the next.")
    fast: float = option(
        Time(), 0.0, "The interval while results speak against the state; 0 is the interval."
    )
    timeout: float = option(Time(), 0.0, "One check may take this long; 0 is the interval.")
    rise: int = option(Integer(1), 2, "So many checks in a row pass before a server is up.")
    fall: int = option(Integer(1), 3, "So many checks in a row fail before it is down.")
    jitter: int = option(Integer(0, 100), 10, "Intervals vary by this many percent.")
    port: int = option(Integer(0, 65535), 0, "Check this port; 0 is the server's own.")


@attr.frozen
class PartAt:
    """
    One of several checks.

    @ivar part: makes an L{lbtwist.interfaces.IHealthCheck}.
    @ivar port: asked instead of the server's own; 0 is that.
    """

    part: Part
    port: int = 0


@attr.frozen
class Combination:
    """
    Several checks as one, which passes where at least so many of them do: for C{and} all, for
    C{or} one.
    """

    least: int
    parts: tuple[PartAt | Combination, ...]


@attr.frozen
class CheckPart:
    """
    One C{check =}: what to probe, and when.

    @ivar probe: what makes an L{lbtwist.interfaces.IHealthCheck}, or several that do.
    """

    probe: Part | Combination
    timing: CheckOptions


@attr.frozen
class NotifyOptions:
    """What may follow each word in C{notify =}."""

    events: tuple[str, ...] = option(
        Words(*EVENTS), (), "What is told of; empty is all that happens."
    )


@attr.frozen
class Notify:
    """
    Somebody who is told what happens to servers: C{notify = webhook https://...}.

    @ivar observer: makes an L{lbtwist.interfaces.IHealthObserver}.
    """

    observer: Part
    options: NotifyOptions = NotifyOptions()
