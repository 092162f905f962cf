"""
The cases that fill a store of persistence: what a key takes of memory, and whether anything
waits long meanwhile.

Each round is a process of its own, which is this module run as a program.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.cases import KEYS, Case
from bench.load import Bench, Outcome, Sample, say
from bench.programs import LBTWIST, Program
from bench.system import memory

#: Seconds that one round may take.
LIMIT = 120.0

#: Servers that the keys are known by.
SERVERS = 100


def fill() -> dict[str, float]:
    """
    Fill a store, ask for every key, and put half of them again.

    @return: bytes for each key, and the longest operation in milliseconds.
    """
    import os

    from lbtwist.registry import Context
    from lbtwist.stores.memory import MemoryOptions, MemoryStore

    store = MemoryStore(MemoryOptions(size=KEYS), Context(clock=time.monotonic))
    names = [f"server{number}" for number in range(SERVERS)]
    before = memory(os.getpid()).pss
    longest = 0.0
    clock = time.perf_counter
    for steps in (1, 2):
        for number in range(0, KEYS, steps):
            key = b"s:%d.%d.%d.%d" % (
                10, number >> 16 & 255, number >> 8 & 255, number & 255
            )  # fmt: skip
            began = clock()
            if store.get(key, 1800.0) is None:
                store.put(key, names[number % SERVERS], 1800.0)
            longest = max(longest, clock() - began)
    return {"key": (memory(os.getpid()).pss - before) / store.size, "pause": longest * 1000}


def runStore(bench: Bench, case: Case, programs: Sequence[Program]) -> dict[str, Outcome]:
    """@return: of lbtwist alone; others have no such store that could be filled."""
    if all(program.name != LBTWIST.name for program in programs):
        return {}
    outcome = Outcome()
    for number in range(1, bench.rounds + 1):
        say(f"  {case.name}, round {number} of {bench.rounds}")
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__], capture_output=True, text=True, timeout=LIMIT,
                check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            outcome.problems.append(f"round {number}: {error}")
            continue
        outcome.samples.append(Sample(json.loads(done.stdout), ()))
    return {LBTWIST.name: outcome}


if __name__ == "__main__":
    print(json.dumps(fill()))
