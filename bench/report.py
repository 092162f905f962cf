"""
From samples to what is printed: medians, ratios per round, goals, and the same
as JSON. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import attr

from bench.cases import FIGURES, Case, Goal
from bench.load import Outcome, Sample
from bench.programs import PLAIN

US = "lbtwist"

#: Programs with less to do by their names, and which other one than lbtwist they are.
THEIR_PLAIN = {plain: of for of, plain in PLAIN.items() if of != US}


def medians(outcome: Outcome) -> dict[str, float]:
    """Of every figure the median over the valid rounds; empty if there is none."""
    valid = [sample.figures for sample in outcome.samples if not sample.problems]
    return {name: median(each[name] for each in valid) for name in valid[0]} if valid else {}


def ratios(figure: str, ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """
    @return: one per round that is valid for both: what happened to the machine in
        a round has happened to both.
    """
    return [
        our.figures[figure] / their.figures[figure]
        for our, their in zip(ours, theirs, strict=False)
        if not our.problems and not their.problems and their.figures[figure] > 0
    ]


@attr.frozen
class Verdict:
    """
    Who it is about, as a rule lbtwist, against a peer or against a figure.

    @ivar figure: what is compared, a name in L{FIGURES}.
    @ivar peer: the peer's name, or C{""}.
    @ivar rounds: a ratio, or a figure, per valid round.
    @ivar value: their median; C{None} if there is none.
    @ivar goal: C{None} if nothing is wanted.
    """

    figure: str
    peer: str
    rounds: tuple[float, ...]
    value: float | None
    goal: Goal | None
    subject: str = US

    @property
    def holds(self) -> bool | None:
        """Whether the goal is reached; C{None} if that is not known, or there is no goal."""
        if self.goal is None or self.value is None:
            return None
        return self.goal.holds(self.value)

    def __str__(self) -> str:
        subject = f"{self.subject} / {self.peer}" if self.peer else self.subject
        if self.value is None:
            return f"{subject}: not measured" + (f", goal {self.goal}" if self.goal else "")
        digits = 2 if self.peer else FIGURES[self.figure].digits
        each = " ".join(f"{value:z.{digits}f}" for value in self.rounds)
        text = f"{subject} = {self.value:z.{digits}f} (rounds {each})"
        if self.goal is None:
            return text
        return f"{text}, goal {self.goal}: {'holds' if self.holds else 'DOES NOT HOLD'}"


def verdicts(case: Case, outcomes: Mapping[str, Outcome]) -> list[Verdict]:
    """
    @return: one for each goal, and for each of those it is about where it is a figure; one
        for each peer that was measured without a goal, and what another program than
        lbtwist pays for more to do. What is not among the outcomes has none.
    """
    found = []
    for goal in case.goals:
        for name in case.subjects:
            if not goal.peer and name in outcomes:
                ours = outcomes[name]
                valid = [each.figures[case.figure] for each in ours.samples if not each.problems]
                rounds = [] if ours.problems else valid
                found.append(verdict(case.figure, name, "", rounds, goal))
    goals = {goal.peer: goal for goal in case.goals if goal.peer}
    peers = [*goals, *outcomes] if US in outcomes else []
    pairs = [(US, peer) for peer in peers if peer not in (US, *THEIR_PLAIN)]
    pairs += [(of, peer) for peer, of in THEIR_PLAIN.items() if {of, peer} <= outcomes.keys()]
    for name, peer in dict.fromkeys(pairs):
        ours, theirs = outcomes[name], outcomes.get(peer, Outcome())
        sound = not ours.problems and not theirs.problems
        each = ratios(case.figure, ours.samples, theirs.samples) if sound else []
        wanted = goals.get(peer) if name == US else None
        found.append(verdict(case.figure, name, peer, each, wanted))
    return found


def verdict(
    figure: str, subject: str, peer: str, rounds: Sequence[float], goal: Goal | None
) -> Verdict:
    """The median of what the rounds said."""
    value = median(rounds) if rounds else None
    return Verdict(figure, peer, tuple(rounds), value, goal, subject)


def table(case: Case, outcomes: Mapping[str, Outcome]) -> str:
    """
    @return: the case as text: a line per program, then the verdicts, then what
        was wrong.
    """
    columns = [FIGURES[name] for name in case.columns]
    rows = [["", *(column.heading.format(unit=case.unit) for column in columns)]]
    for program, outcome in outcomes.items():
        middle = medians(outcome)
        cells = [
            f"{middle[name] / column.scale:z.{column.digits}f}" if middle else "-"
            for name, column in zip(case.columns, columns, strict=True)
        ]
        rows.append([program, *cells])
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    clients = f"; {case.connections} connections" if case.connections else ""
    lines = [f"{case.name}: {case.title}{clients}"]
    for row in rows:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
        invalid = row[0] in outcomes and outcomes[row[0]].complaints
        lines.append(f"  {row[0]:<{first}}{numbers}{'  INVALID' if invalid else ''}")
    about = FIGURES[case.figure].heading.format(unit=case.unit)
    lines += [f"  {about}: {each}" for each in verdicts(case, outcomes)]
    for program, outcome in outcomes.items():
        lines += [f"  {program} is invalid: {problem}" for problem in outcome.complaints]
        lines += [f"  {text}" for text in (outcome.failure, outcome.note) if text]
    return "\n".join(lines)


def asJSON(case: Case, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """
    @return: all figures of all rounds; bytes, seconds, microseconds (C{cpu},
        C{user}, C{system}) and milliseconds (C{p99}).
    """
    return {
        "title": case.title,
        "figure": case.figure,
        "unit": case.unit,
        "programs": {
            program: {
                "rounds": [dict(sample.figures) for sample in outcome.samples],
                "medians": medians(outcome),
                "problems": outcome.complaints,
                "failure": outcome.failure,
                "note": outcome.note,
            }
            for program, outcome in outcomes.items()
        },
        "verdicts": [
            {
                "subject": each.subject,
                "peer": each.peer,
                "rounds": list(each.rounds),
                "value": each.value,
                "goal": str(each.goal) if each.goal else "",
                "holds": each.holds,
            }
            for each in verdicts(case, outcomes)
        ],
    }
