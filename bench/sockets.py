"""
The cases with idle WebSockets: what each of them takes of memory, and how a reload goes with
them, while somebody asks every millisecond.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attr

from bench.cases import SOCKETS, Case
from bench.echo import MESSAGE, SAID, UPGRADE
from bench.idle import SETTLE, Crowd, hear, inRounds
from bench.load import Bench, Outcome, Sample, checkAnswers, checkLog, say
from bench.programs import LBTWIST, ROOT, Program, Running, serverLines
from bench.system import Child, confined, fileLimit, freePorts, memory

#: Descriptors of the balancer that are none of WebSockets.
SPARE = 200

#: Seconds that all WebSockets of one round may take.
LIMIT = 180.0

#: How often the file is read again in one round; the worst of them counts.
RELOADS = 3

#: Seconds that one reload may take.
PATIENCE = 30.0

#: Seconds from one request to the next of who asks all the time, and how long before a reload.
PAUSE, QUIET = 0.001, 1.0

#: Of how many WebSockets one is asked whether it still lives.
EACH = 100

REQUEST = b"GET /generation HTTP/1.1\r\nHost: bench\r\n\r\n"


def mostSockets(limit: int) -> int:
    """
    @param limit: of descriptors.
    @return: how many WebSockets a balancer can have: two descriptors are one.
    """
    return min(SOCKETS, (limit - SPARE) // 2)


def listens(port: int) -> bool:
    """@return: yes; L{OSError} if nobody listens there."""
    with socket.create_connection(("127.0.0.1", port)):
        return True


def upgrade(skt: socket.socket) -> None:
    """
    Make a WebSocket of a connection, and have it used once.

    @raise OSError: if it is none then.
    """
    skt.sendall(UPGRADE)
    answer = hear(skt, b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise OSError(f"not upgraded: {answer[:200]!r}")
    speak(skt)


def speak(skt: socket.socket) -> None:
    """@raise OSError: if a WebSocket does not hear again what it says."""
    skt.sendall(MESSAGE)
    hear(skt, SAID)


def configured(echo: int, generation: int, line: str, *ports: int) -> dict[str, object]:
    """
    @param echo: the port of who answers WebSockets.
    @param line: of a server, as L{Program.server}.
    @return: what the template wants to know: with each generation half of 1,000 servers have
        another weight, and a rule gives another answer.
    """
    lines = serverLines(line, 1000, *ports).splitlines()
    weights = (1, 1 + generation % 2)
    return {
        "echo": echo,
        "generation": f"{generation:04}",
        "thousand": "\n".join(
            f"{each} weight={weights[number % 2]}" for number, each in enumerate(lines)
        ),
    }


@attr.define
class Asking:
    """
    Somebody who asks on one connection all the time which generation counts.

    @ivar asked: how often.
    """

    port: int
    asked: int = 0
    _skt: socket.socket = attr.field(init=False)

    def __enter__(self) -> Asking:
        self._skt = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        self._skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *reason: object) -> None:
        self._skt.close()

    def ask(self) -> tuple[str, float]:
        """
        @return: the generation, and the seconds that it took to know.
        @raise OSError: if there was no answer.
        """
        begun = time.perf_counter()
        self._skt.sendall(REQUEST)
        answer = b""
        # Four digits come after the head.
        while answer[-8:-4] != b"\r\n\r\n":
            data = self._skt.recv(4096)
            if not data:
                raise OSError(f"who asked was closed after {answer[:200]!r}")
            answer += data
        self.asked += 1
        return answer[-4:].decode("ascii", "replace"), time.perf_counter() - begun

    def askFor(self, seconds: float) -> list[float]:
        """@return: how long each answer took, in seconds; one is asked for every L{PAUSE}."""
        took = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            took.append(self.ask()[1])
            time.sleep(max(0.0, PAUSE - took[-1]))
        return took

    def askUntil(self, generation: str, begun: float) -> tuple[float, list[float]]:
        """
        @param begun: when the balancer was told.
        @return: the seconds until a generation counts, and those of each answer.
        @raise OSError: if it does not come to that in L{PATIENCE}.
        """
        took = []
        while True:
            said, seconds = self.ask()
            took.append(seconds)
            since = time.perf_counter() - begun
            if said == generation:
                return since, took
            if since > PATIENCE:
                raise OSError(f"a reload did not count within {PATIENCE:.0f} s")
            time.sleep(max(0.0, PAUSE - seconds))


def reloads(running: Running, asking: Asking, generations: Sequence[dict[str, object]]) -> (
    dict[str, float]
):  # fmt: skip
    """
    @param generations: what the file is made of, one after the other.
    @return: figures, in milliseconds.
    """
    before = sorted(asking.askFor(QUIET))
    stalls, times = [], []
    for values in generations:
        running.write(values)
        begun = time.perf_counter()
        os.kill(running.pid, signal.SIGHUP)
        seconds, took = asking.askUntil(str(values["generation"]), begun)
        # What it tidies up then has clients wait as well.
        stalls.append(max(took + asking.askFor(SETTLE)))
        times.append(seconds)
    return {
        "usual": before[len(before) * 99 // 100] * 1e3,
        "stall": max(stalls) * 1e3,
        "reload": max(times) * 1e3,
    }


def alive(crowd: Crowd) -> list[str]:
    """@return: what has become of WebSockets that should be as they were."""
    problems = []
    if left := crowd.left():
        problems.append(f"{left} of {len(crowd.clients)} WebSockets were closed")
    try:
        for client in crowd.clients[::EACH]:
            speak(client)
    except OSError as error:
        problems.append(f"a WebSocket is no use any more: {error}")
    return problems


def measure(bench: Bench, case: Case, echo: int, running: Running, outcome: Outcome) -> None:
    """One round."""
    count = mostSockets(fileLimit())
    if count < SOCKETS:
        outcome.note = (
            f"{count:,} WebSockets, not {SOCKETS:,}: {fileLimit()} descriptors are allowed"
        )
    outcome.problems += checkAnswers(case, running)
    base = memory(running.pid)
    ports = bench.origin.serverA, bench.origin.serverB
    asking = Asking(running.port)
    with Crowd(running.port, upgrade, LIMIT) as crowd:
        figures = crowd.costs(running.pid, count)
        generations = [
            configured(echo, number, LBTWIST.server, *ports) for number in range(1, RELOADS + 1)
        ]
        # Not before, or it would have been idle for too long.
        with asking:
            figures |= reloads(running, asking, generations)
        problems = alive(crowd)
    figures |= {"open": float(count), "base": float(base.rss)}
    outcome.samples.append(Sample(figures, tuple(problems)))
    say(
        f"    {running.program.name:<13} {figures['pss']:.0f} bytes per WebSocket,"
        f" {figures['reload']:.0f} ms for a reload, {figures['stall']:.1f} ms stalled"
    )
    # It has to see that all of them are gone, and to write that down.
    time.sleep(SETTLE)
    asked = running.asked + asking.asked + count
    outcome.problems += checkLog(case, running.end(), asked, ())


def runSockets(bench: Bench, case: Case, programs: Sequence[Program]) -> dict[str, Outcome]:
    """
    All cases of this mode tell of the same rounds, and the first of them measures.

    @return: by the names of the programs that can do this case.
    """
    if case.mode in bench.known:
        return bench.known[case.mode]
    [port] = freePorts(1)
    ports = bench.origin.serverA, bench.origin.serverB
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        echo = Child(
            "echo", [sys.executable, "-m", "bench.echo", str(port)], Path(directory),
            bench.placement.load, {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        with confined(bench.placement.load), echo:
            echo.waitUntil(lambda: listens(port), 10)
            found = inRounds(
                bench, case, programs,
                lambda running, outcome: measure(bench, case, port, running, outcome),
                configured(port, 0, LBTWIST.server, *ports),
            )  # fmt: skip
    bench.known[case.mode] = found
    return found
