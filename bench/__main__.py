"""
C{python -m bench}: the command line, and the order of things.

It ends with 0 whether goals hold or not, and with 1 when something that is
installed, or that nothing works without, could not be started.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from bench.cases import CASES, Case
from bench.certificate import Certificate
from bench.choices import runChoices
from bench.idle import runIdle
from bench.load import Bench, Outcome, runLoad, say
from bench.origin import Origin
from bench.programs import LBTWIST, PROGRAMS, Program, find
from bench.report import asJSON, table
from bench.sockets import runSockets
from bench.store import runStore
from bench.system import NotStarted, place, raiseFileLimit

RUNS = {
    "idle-memory": runIdle, "store": runStore, "choices": runChoices, "websockets": runSockets
}  # fmt: skip
"""What runs the cases in which nobody is asked again and again, by their names or modes."""


def runOf(case: Case) -> Callable[[Bench, Case, Sequence[Program]], dict[str, Outcome]]:
    """@return: what runs a case."""
    return RUNS.get(case.name) or RUNS.get(case.mode, runLoad)


def names(known: Sequence[str], text: str) -> list[str]:
    """
    @param text: names with commas between them.
    @raise argparse.ArgumentTypeError: if one is not known.
    """
    given = text.split(",")
    for name in given:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return given


def positive(text: str) -> int:
    """
    @raise argparse.ArgumentTypeError: if it is not a whole number above 0.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def parseArguments(arguments: Sequence[str]) -> argparse.Namespace:
    """
    @return: with C{case} and C{programs} (lists of names), C{rounds}, C{seconds}
        and C{json}.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compare lbtwist with other programs on this machine."
    )
    parser.add_argument(
        "--case", action="extend", type=lambda text: names(list(CASES), text),
        help=f"only these, of {', '.join(CASES)}",
    )  # fmt: skip
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--only", action="extend", type=lambda text: names(list(PROGRAMS), text),
        help=f"only these programs, of {', '.join(PROGRAMS)}",
    )  # fmt: skip
    chosen.add_argument(
        "--peer", action="extend", type=lambda text: names(list(PROGRAMS), text),
        help="only lbtwist and these",
    )  # fmt: skip
    parser.add_argument("--rounds", type=positive, default=3, help="in each case (default 3)")
    parser.add_argument(
        "--seconds", type=positive, default=4, help="of load per round and program (default 4)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parsed = parser.parse_args(arguments)
    wanted = parsed.only or ([LBTWIST.name, *parsed.peer] if parsed.peer else list(PROGRAMS))
    parsed.programs = [name for name in PROGRAMS if name in wanted]
    parsed.case = [name for name in CASES if name in (parsed.case or CASES)]
    return parsed


def need(executable: str) -> str:
    """
    @raise NotStarted: if an executable is not there that nothing works without.
    """
    path = find(executable)
    if path is None:
        raise NotStarted(executable, "is not installed, and nothing can be measured without it")
    return path


def installed(wanted: Sequence[str]) -> tuple[list[Program], dict[str, str]]:
    """
    @return: the programs that are there, and what each of the wanted ones says of
        its version, C{"missing"} for those that are not.
    """
    there, versions = [], {}
    for name in wanted:
        program = PROGRAMS[name]
        if program.find() is None:
            versions[name] = "missing"
            print(f"{name} is missing: {program.plugin or program.executable} was not found")
        else:
            versions[name] = program.describe()
            there.append(program)
            print(f"{name}: {versions[name]}")
    return there, versions


def measure(options: argparse.Namespace) -> int:
    """
    @return: the exit code.
    @raise NotStarted: if nginx or wrk did not start.
    """
    wrk, nginx = need("wrk"), need("nginx")
    raiseFileLimit()
    placement = place(sorted(os.sched_getaffinity(0)))
    programs, versions = installed(options.programs)
    print(
        f"{placement}; {options.rounds} rounds of {options.seconds} s, "
        f"load average {os.getloadavg()[0]:.2f}",
        flush=True,
    )
    results: dict[str, Any] = {}
    failed = False
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        origin = stack.enter_context(Origin(nginx, Path(directory) / "nginx", placement))
        certificate = Certificate(Path(directory) / "certificate")
        bench = Bench(origin, certificate, placement, wrk, options.rounds, options.seconds)
        for name in options.case:
            case = CASES[name]
            outcomes = runOf(case)(bench, case, programs)
            failed = failed or any(outcome.failure for outcome in outcomes.values())
            results[name] = asJSON(case, outcomes)
            print("\n" + table(case, outcomes), flush=True)
    if options.json is not None:
        about = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
            "placement": str(placement),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "versions": versions,
            "cases": results,
        }
        options.json.write_text(json.dumps(about, indent=2) + "\n")
    return 1 if failed else 0


def ended(*_: object) -> NoReturn:
    """Leave every C{with} block, and so end all children, when we are told to end."""
    raise SystemExit(143)


def main(arguments: Sequence[str]) -> int:
    """
    @return: the exit code.
    """
    options = parseArguments(arguments)
    try:
        return measure(options)
    except NotStarted as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("bench: interrupted")
        return 130


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ended)
    sys.exit(main(sys.argv[1:]))
