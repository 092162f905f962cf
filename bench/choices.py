"""
The case that chooses servers in one process, without a network: what a choice costs, with what
is counted for it, among 10 servers and among 1,000.

Each round is a process of its own, which is this module run as a program.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

from bench.cases import CHOICES, Case
from bench.load import Bench, Outcome, Sample, say
from bench.programs import LBTWIST, Program, serverLines
from bench.system import prepareChild

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange
    from lbtwist.pool import Pool

#: Seconds that one round may take.
LIMIT = 120.0

#: Exchanges that hold a server while the next is chosen, as in the cases with load.
FLIGHT = 32

#: Different exchanges, each with a key of its own.
KEYS = 4096

#: Choices that are measured at once, and how often: the quickest counts, since whatever else
#: the machine does makes it slower only.
COUNT, TIMES = 20_000, 5


def poolOf(balance: str, servers: int) -> Pool:
    """@return: a pool with so many usable servers."""
    from lbtwist.build import build
    from lbtwist.config.load import loadText
    from lbtwist.registry import installed
    from lbtwist.testing import Pump

    mode = "tcp" if balance.startswith("rdp-cookie") else "http"
    config, _ = loadText(
        f"[frontend bench]\nmode = {mode}\nbind = 127.0.0.1:0\npool = app\n"
        f"[pool app]\nbalance = {balance}\n" + serverLines(LBTWIST.server, servers, 1),
        installed(),
    )
    pump = Pump()
    pool = build(config, installed(), pump, pump.seconds).pools["app"]
    pool.serversChanged()
    return pool


def rdp(user: str) -> bytes:
    """@return: what a client of RDP says first (MS-RDPBCGR section 2.2.1.1)."""
    said = b"\xe0\0\0\0\0\0Cookie: mstshash=%b\r\n" % user.encode()
    return b"\x03\0\0%c%c%b" % (len(said) + 5, len(said), said)


def exchanges(balance: str, pool: Pool) -> list[Exchange]:
    """@return: as they are when a server is chosen, with all that a key may be made of."""
    from lbtwist.testing import fakeExchange

    made = []
    for number in range(KEYS):
        user = f"user{number}"
        exchange = fakeExchange(
            f"/{user}/small?user={user}", {"X-User": user},
            client=f"10.0.{number // 250}.{number % 250}",
        )  # fmt: skip
        if balance.startswith("rdp-cookie"):
            exchange.request, exchange.early = None, rdp(user)
        # What is held since 1.0 was answered within a hundredth of a second.
        exchange.connectedAt, exchange.respondedAt, exchange.finishedAt = 1.0, 1.01, 1.01
        exchange.pool = pool
        made.append(exchange)
    return made


def cost(balance: str, servers: int) -> float:
    """@return: microseconds of CPU time."""
    pool = poolOf(balance, servers)
    choose, hold, free = pool.choose, pool.hold, pool.free
    told = getattr(pool.balancer, "exchangeFinished", None)
    coming = cycle(exchanges(balance, pool))
    running: deque[Exchange] = deque()
    for exchange in islice(coming, FLIGHT):
        server = choose(exchange)
        assert server is not None, "all are usable"
        hold(server, exchange, 1.0)
        running.append(exchange)
    best = float("inf")
    for _ in range(TIMES):
        begun = time.process_time()
        for exchange in islice(coming, COUNT):
            ended = running.popleft()
            free(ended)
            if told is not None:
                told(ended)
            server = choose(exchange)
            assert server is not None, "all are usable"
            hold(server, exchange, 1.0)
            running.append(exchange)
        best = min(best, time.process_time() - begun)
    return best / COUNT * 1e6


def costs() -> dict[str, dict[str, float]]:
    """@return: the figures of each balancer."""
    found = {}
    for balance in CHOICES:
        few, many = cost(balance, 10), cost(balance, 1000)
        found[balance] = {"few": few, "many": many, "more": many - few}
    return found


def runChoices(bench: Bench, case: Case, programs: Sequence[Program]) -> dict[str, Outcome]:
    """@return: by the balancers, which are lbtwist's alone; none where it is not asked for."""
    if all(program.name != LBTWIST.name for program in programs):
        return {}
    outcomes = {balance: Outcome() for balance in CHOICES}
    for number in range(1, bench.rounds + 1):
        say(f"  {case.name}, round {number} of {bench.rounds}")
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__], capture_output=True, text=True, timeout=LIMIT,
                check=True, preexec_fn=prepareChild(bench.placement.program),
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            for outcome in outcomes.values():
                outcome.problems.append(f"round {number}: {error}")
            continue
        for balance, figures in json.loads(done.stdout).items():
            outcomes[balance].samples.append(Sample(figures))
    return outcomes


if __name__ == "__main__":
    print(json.dumps(costs()))
