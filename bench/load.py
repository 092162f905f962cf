"""
The cases that put load on the programs: in rounds, one program after the other
in each, so that what changes on the machine meanwhile meets them all alike.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import attr

from bench import handshakes
from bench.cases import FIGURES, Case
from bench.certificate import Certificate
from bench.origin import SMALL, Origin
from bench.programs import TEMPLATES, Program, Running
from bench.system import NotStarted, Placement, cpuTime
from bench.wrk import WrkReport, drive


@attr.frozen
class Sample:
    """
    What one round said of one program.

    @ivar figures: by their names in L{bench.cases.FIGURES}, in seconds' and bytes'
        plain units but for C{cpu}, C{user}, C{system} (microseconds) and C{p99}
        (milliseconds).
    @ivar problems: why they are not valid; empty if they are.
    """

    figures: Mapping[str, float]
    problems: tuple[str, ...] = ()


@attr.define
class Outcome:
    """
    What all rounds of a case said of one program.

    @ivar problems: what makes all of it invalid: less work was done than counted.
    @ivar failure: why it did not start; C{""} if it did.
    @ivar note: what whoever reads it has to know, as why it was not measured.
    """

    samples: list[Sample] = attr.field(factory=list)
    problems: list[str] = attr.field(factory=list)
    failure: str = ""
    note: str = ""

    @property
    def complaints(self) -> list[str]:
        """Every problem, those of rounds with their number."""
        of = [
            f"round {number}: {problem}"
            for number, sample in enumerate(self.samples, 1)
            for problem in sample.problems
        ]
        return [*self.problems, *of]


@attr.frozen
class Bench:
    """
    How the cases are run.

    @ivar certificate: of the programs, in the cases with TLS.
    @ivar wrk: the executable.
    @ivar rounds: how often each program is measured in each case.
    @ivar seconds: the length of one measurement under load.
    @ivar known: what cases have found that other cases tell of as well, by their mode.
    """

    origin: Origin
    certificate: Certificate
    placement: Placement
    wrk: str
    rounds: int
    seconds: int
    known: dict[str, dict[str, Outcome]] = attr.field(factory=dict)


def say(text: str) -> None:
    """Tell the person who waits what is being done."""
    print(text, file=sys.stderr, flush=True)


def checkAnswers(case: Case, running: Running) -> list[str]:
    """
    @return: what is wrong with the answers that come through a program.
    """
    problems = []
    for _ in range(2):
        status, body = running.fetch(case.path)
        if status != 200 or len(body) != case.length:
            problems.append(f"{case.path} was answered with {status} and {len(body)} bytes")
        elif case.length == len(SMALL) and body != SMALL:
            problems.append(f"{case.path} came back with other bytes")
    if case.mode != "tcp" and not case.alone:
        _, seen = running.fetch("/seen")
        try:
            # Envoy tells of a client on the loopback by an address of this machine.
            ipaddress.ip_address(seen.decode("ascii", "replace"))
        except ValueError:
            problems.append(f"the server was told X-Forwarded-For: {seen!r}")
    return problems


def checkLog(case: Case, lines: int, asked: int, reports: Sequence[WrkReport]) -> list[str]:
    """
    Whether an access log has a line per exchange: per request with HTTP, per connection
    in mode tcp.

    @param lines: in the log.
    @param asked: requests with a connection of their own that were made by the bench.
    @param reports: of every run of the load.
    @return: a sentence if there are too few lines or too many.
    """
    # wrk tries the address with a connection of its own before each run, and
    # leaves off while up to all of its connections wait for an answer.
    slack = len(reports) * (case.connections + 1)
    if case.mode == "tcp":
        least = asked + len(reports) * case.connections
        most = asked + slack
    else:
        least = asked + sum(report.requests for report in reports)
        most = least + slack
    if least <= lines <= most:
        return []
    return [f"the access log has {lines} lines, {least} to {most} are right"]


def sample(
    case: Case,
    report: WrkReport,
    spent: tuple[float, float],
    served: tuple[int, int],
) -> Sample:
    """
    @param spent: the program's seconds of user and system time.
    @param served: connections and requests that reached the server meanwhile.
    """
    user, system = spent
    opened, reached = served
    problems = list(report.problems)
    least = 0 if case.alone else report.requests
    if not least <= reached <= least + 2 * case.connections:
        problems.append(f"{report.requests} answers to {reached} requests at the server")
    if opened > 4 * case.connections + report.requests // 20:
        problems.append(f"{opened} server connections for {report.requests} requests")
    work = max(1, report.requests * case.units)
    rate = report.requests / report.seconds
    return Sample(
        {
            "cpu": (user + system) / work * 1e6,
            "user": user / work * 1e6,
            "system": system / work * 1e6,
            "rate": rate,
            "bytes": rate * case.length,
            "p99": report.p99,
            "busy": (user + system) / report.seconds,
            "opened": opened,
        },
        tuple(problems),
    )


class Drive:
    """One program under load, in one case."""

    def __init__(self, bench: Bench, case: Case, running: Running, outcome: Outcome) -> None:
        self.name = running.program.name
        self._bench = bench
        self._case = case
        self._running = running
        self._outcome = outcome
        self._reports: list[WrkReport] = []

    def warmUp(self) -> None:
        """Check what it answers, and let it fill its caches and pools."""
        self._outcome.problems += checkAnswers(self._case, self._running)
        self._load(self._case.warmUp)

    def measure(self) -> None:
        """One round."""
        origin = self._bench.origin
        before, cpuBefore = origin.counts(), cpuTime(self._running.pid)
        report = self._load(self._bench.seconds)
        spent = cpuTime(self._running.pid).since(cpuBefore)
        after = origin.counts()
        # One connection and one request of each pair of readings are our own.
        served = (after[0] - before[0] - 1, after[1] - before[1] - 1)
        taken = sample(self._case, report, spent, served)
        self._outcome.samples.append(taken)
        figure = FIGURES[self._case.figure]
        value = taken.figures[self._case.figure] / figure.scale
        heading = figure.heading.format(unit=self._case.unit)
        say(f"    {self.name:<13} {value:.{figure.digits}f} {heading}")

    def end(self) -> None:
        """End the program, and compare its log with what it was asked."""
        asked = self._running.asked
        lines = self._running.end()
        if self.name not in self._case.silent:
            self._outcome.problems += checkLog(self._case, lines, asked, self._reports)

    def _load(self, seconds: int) -> WrkReport:
        bench, case = self._bench, self._case
        if case.handshakes:
            report = handshakes.drive(
                self._running.port,
                connections=case.connections,
                seconds=seconds,
                cpus=bench.placement.load,
                environment=bench.certificate.clients,
            )
        else:
            report = drive(
                bench.wrk,
                self._running.url + case.path,
                connections=case.connections,
                seconds=seconds,
                headers=[*case.headers, *(["Connection: close"] if case.closes else [])],
                script=TEMPLATES / case.script if case.script else None,
                cpus=(bench.placement.everywhere if case.everywhere else bench.placement).load,
                environment=bench.certificate.clients,
            )
        self._reports.append(report)
        return report


def runLoad(bench: Bench, case: Case, programs: Sequence[Program]) -> dict[str, Outcome]:
    """
    @return: by the names of the programs that can do this case.
    @raise NotStarted: if wrk did not; a program that did not is in its outcome.
    """
    able = [program for program in programs if case.allows(program.name, program.modes)]
    outcomes: dict[str, Outcome] = {}
    available = len(bench.placement.everywhere.program)
    if available < case.cpus:
        note = f"not measured: {case.cpus} CPUs are needed, there are {available}"
        return {program.name: Outcome(note=note) for program in able}
    placement = bench.placement.everywhere if case.everywhere else bench.placement
    drives: list[Drive] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        for program in able:
            outcome = outcomes[program.name] = Outcome()
            place = directory / program.name
            try:
                running = stack.enter_context(
                    Running(
                        program,
                        case.mode,
                        bench.origin,
                        bench.certificate,
                        place,
                        placement,
                        case.values,
                    )
                )
            except NotStarted as error:
                outcome.failure = str(error)
                continue
            drives.append(Drive(bench, case, running, outcome))
        for one in list(drives):
            with surviving(one, drives, outcomes):
                one.warmUp()
        for number in range(1, bench.rounds + 1):
            say(f"  {case.name}, round {number} of {bench.rounds}")
            for one in list(drives):
                with surviving(one, drives, outcomes):
                    one.measure()
                # Its last log lines and closes are not the next one's CPU time.
                time.sleep(0.1)
        for one in drives:
            one.end()
    return outcomes


@contextlib.contextmanager
def surviving(
    one: Drive, drives: list[Drive], outcomes: Mapping[str, Outcome]
) -> Iterator[None]:
    """Go on without a program that has died or does not answer any more."""
    try:
        yield
    except OSError as error:
        outcomes[one.name].problems.append(f"it was lost: {error}")
        drives.remove(one)
