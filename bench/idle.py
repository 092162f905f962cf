"""
The case that counts memory: thousands of clients that made one request each,
and now only stay.
"""

from __future__ import annotations

import select
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.cases import FEW, MANY, Case
from bench.load import Bench, Outcome, Sample, checkAnswers, checkLog, say
from bench.origin import SMALL
from bench.programs import Program, Running
from bench.system import NotStarted, memory

#: Seconds until a program has done what it does after a request.
SETTLE = 0.5

#: Seconds all the connections of one round may take.
LIMIT = 30.0

REQUEST = b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n"


def hear(client: socket.socket, end: bytes) -> bytes:
    """
    @return: what is heard until that is in it.
    @raise OSError: if the other side left off before.
    """
    heard = b""
    while end not in heard:
        data = client.recv(4096)
        if not data:
            raise OSError(f"closed after {heard[:200]!r}")
        heard += data
    return heard


def ask(client: socket.socket) -> None:
    """
    Make one request.

    @raise OSError: if it did not get its answer.
    """
    client.sendall(REQUEST)
    hear(client, SMALL)


class Crowd:
    """
    Idle clients of one port.

    @ivar clients: their sockets.
    """

    def __init__(
        self, port: int, begin: Callable[[socket.socket], None], limit: float = LIMIT
    ) -> None:
        """
        @param begin: what each client does at first; L{OSError} if it has come to nothing.
        @param limit: seconds that all of them may take.
        """
        self.clients: list[socket.socket] = []
        self._port = port
        self._begin = begin
        self._limit = limit
        self._end = time.monotonic() + limit

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *reason: object) -> None:
        for client in self.clients:
            client.close()

    def growTo(self, count: int) -> None:
        """
        Connect until there are so many.

        @raise OSError: if one came to nothing.
        """
        while len(self.clients) < count:
            if time.monotonic() > self._end:
                raise OSError(f"only {len(self.clients)} connections in {self._limit:.0f} s")
            client = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            self.clients.append(client)
            try:
                self._begin(client)
            except OSError as error:
                raise OSError(f"connection {len(self.clients)}: {error}") from error

    def costs(self, pid: int, count: int) -> dict[str, float]:
        """
        Grow to L{FEW}, and then to so many.

        @param pid: the process that serves them.
        @return: C{pss} and C{rss}: bytes of it for each that came after the few.
        @raise OSError: if one came to nothing.
        """
        self.growTo(FEW)
        time.sleep(SETTLE)
        few = memory(pid)
        self.growTo(count)
        time.sleep(SETTLE)
        many = memory(pid)
        return {
            "pss": (many.pss - few.pss) / (count - FEW),
            "rss": (many.rss - few.rss) / (count - FEW),
        }

    def left(self) -> int:
        """How many of them were closed by the other side, or were told something."""
        poll = select.poll()
        for client in self.clients:
            poll.register(client, select.POLLIN)
        return len(poll.poll(0))


def measure(case: Case, running: Running, outcome: Outcome) -> None:
    """One round with one program: its sample, and what is wrong with it."""
    outcome.problems += checkAnswers(case, running)
    base = memory(running.pid)
    with Crowd(running.port, ask) as crowd:
        figures = crowd.costs(running.pid, MANY)
        left = crowd.left()
    problems = (f"{left} of {MANY} connections were closed",) if left else ()
    figures["base"] = float(base.rss)
    outcome.samples.append(Sample(figures, problems))
    say(f"    {running.program.name:<13} {figures['pss']:.0f} bytes per connection")
    asked = running.asked + MANY
    outcome.problems += checkLog(case, running.end(), asked, ())


def runIdle(bench: Bench, case: Case, programs: Sequence[Program]) -> dict[str, Outcome]:
    """@return: by the names of the programs that can do this case."""
    return inRounds(
        bench, case, programs, lambda running, outcome: measure(case, running, outcome), {}
    )


def inRounds(
    bench: Bench,
    case: Case,
    programs: Sequence[Program],
    measure: Callable[[Running, Outcome], None],
    values: Mapping[str, object],
) -> dict[str, Outcome]:
    """
    Every round begins with new processes: memory that was freed is not counted
    against the next connections.

    @param measure: one round with one program.
    @param values: what templates of the case's mode want besides.
    @return: by the names of the programs that can do this case.
    """
    able = [program for program in programs if case.allows(program.name, program.modes)]
    outcomes = {program.name: Outcome() for program in able}
    for number in range(1, bench.rounds + 1):
        say(f"  {case.name}, round {number} of {bench.rounds}")
        for program in able:
            outcome = outcomes[program.name]
            if outcome.failure:
                continue
            with ExitStack() as stack:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
                place = directory / program.name
                try:
                    running = stack.enter_context(
                        Running(
                            program,
                            case.mode,
                            bench.origin,
                            bench.certificate,
                            place,
                            bench.placement,
                            {**case.values, **values},
                        )
                    )
                    measure(running, outcome)
                except NotStarted as error:
                    outcome.failure = str(error)
                except OSError as error:
                    outcome.problems.append(f"round {number}: {error}")
    return outcomes
