"""
What the bench asks of the operating system: processes that end, ports that are
free, CPU time and memory of a process, and which CPU runs what. Linux only.

It knows nothing of the programs that are measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import attr

#: Below what Linux gives to outgoing connections, so that none takes a port we picked.
PORTS = range(20000, 32000)

#: Descriptors for 3000 client connections in the program and in the bench; for 1000 of clients
#: and several at each of 1000 servers; and for those of three such programs in nginx.
FILES_NEEDED = 16384

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class NotStarted(Exception):
    """
    Something the bench needs did not start.

    @ivar name: what it was.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


@attr.frozen
class Placement:
    """
    Which CPUs run what.

    @ivar program: of the program that is measured.
    @ivar load: of wrk and nginx.
    """

    program: frozenset[int]
    load: frozenset[int]

    @property
    def pinned(self) -> bool:
        """Whether the program and its load are kept apart."""
        return not self.program & self.load

    @property
    def everywhere(self) -> Placement:
        """The same CPUs, all of them for the program and for its load."""
        every = self.program | self.load
        return Placement(every, every)

    def __str__(self) -> str:
        if not self.pinned:
            return "one CPU for everything, nothing is pinned"
        load = ",".join(map(str, sorted(self.load)))
        return f"program on CPU {min(self.program)}, wrk and nginx on CPU {load}"


def place(available: Sequence[int]) -> Placement:
    """
    @param available: numbers of the CPUs this process may use.
    @return: the last CPU for the program and the others for the load; all for
        both if there is only one.
    """
    cpus = sorted(available)
    if len(cpus) < 2:
        return Placement(frozenset(cpus), frozenset(cpus))
    return Placement(frozenset(cpus[-1:]), frozenset(cpus[:-1]))


@contextlib.contextmanager
def confined(cpus: frozenset[int]) -> Iterator[None]:
    """Run on these CPUs alone until the block is left."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def fileLimit() -> int:
    """@return: how many files this process may have open, and a child of it."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raiseFileLimit() -> None:
    """
    Let this process and its children open as many files as they are allowed to.

    @raise NotStarted: if that is not enough.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        raise NotStarted("open files", f"the hard limit is {hard}, {FILES_NEEDED} are needed")
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def freePorts(count: int) -> list[int]:
    """
    @return: so many different ports of 127.0.0.1 on which nobody listens.
    @raise NotStarted: if there are not so many.
    """
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        with socket.socket() as trial:
            # As servers do: a port with connections in TIME-WAIT is free.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        raise NotStarted("ports", f"no {count} are free in {PORTS.start}-{PORTS.stop - 1}")
    return found


def prepareChild(cpus: frozenset[int]) -> Callable[[], None]:
    """
    @param cpus: where the child may run.
    @return: what the child does before its program begins.
    """

    def prepare() -> None:
        os.sched_setaffinity(0, cpus)
        # A bench that was killed outright leaves nobody behind.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


class Child:
    """
    A process of ours: started by C{with}, ended when the block is left.

    @ivar out: the file its standard output goes to.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        cpus: frozenset[int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.out = directory / f"{name}.out"
        self._err = directory / f"{name}.err"
        self._command = command
        self._directory = directory
        self._cpus = cpus
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "only inside its with block"
        return self._process.pid

    def __enter__(self) -> Self:
        with self.out.open("wb") as out, self._err.open("wb") as err:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._directory,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    # Ctrl-C is for the bench, which then ends everything in order.
                    start_new_session=True,
                    preexec_fn=prepareChild(self._cpus),
                )
            except OSError as error:
                raise NotStarted(self.name, str(error)) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the process, by force if it does not end in five seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def waitUntil(self, ready: Callable[[], bool], limit: float) -> None:
        """
        @param ready: says whether the process does its work now; L{OSError} is no.
        @param limit: in seconds.
        @raise NotStarted: if the process ended or was not ready in time, with
            the last it said.
        """
        assert self._process is not None, "only inside its with block"
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self._process.poll() is not None:
                code = self._process.returncode
                raise NotStarted(self.name, f"ended with code {code}\n{self.lastWords()}")
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise NotStarted(self.name, f"was not ready in {limit:.0f} s\n{self.lastWords()}")

    def lastWords(self) -> str:
        """The last lines the process wrote to its standard output and error."""
        said: list[str] = []
        for path in (self.out, self._err):
            said += path.read_text(errors="replace").splitlines()[-8:]
        return "\n".join(f"    {line[:400]}" for line in said)


@attr.frozen
class CPUTime:
    """
    CPU time that processes have used.

    @ivar total: in nanoseconds, all threads, those that have ended too.
    @ivar user: in clock ticks; coarse, good for the split alone.
    @ivar system: likewise.
    """

    total: int
    user: int
    system: int

    def since(self, earlier: CPUTime) -> tuple[float, float]:
        """
        @return: seconds of user and of system time between two readings.
        """
        total = (self.total - earlier.total) / 1e9
        user = self.user - earlier.user
        system = self.system - earlier.system
        share = user / (user + system) if user + system else 1.0
        return total * share, total * (1 - share)


def cpuTime(pid: int) -> CPUTime:
    """
    @return: of a process, of the children it has now, and of theirs.
    @raise OSError: if there is no such process.
    """
    times = [_cpuTime(pid)]
    for child in children(pid):
        # One that has ended meanwhile is none of those there are.
        with contextlib.suppress(OSError):
            times.append(cpuTime(child))
    return CPUTime(
        sum(each.total for each in times),
        sum(each.user for each in times),
        sum(each.system for each in times),
    )


def children(pid: int) -> list[int]:
    """
    @return: the children of a process, those that any of its threads has started.
    @raise OSError: if there is no such process.
    """
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread that has ended meanwhile has left its children to another one.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return found


def _cpuTime(pid: int) -> CPUTime:
    # What clock_getcpuclockid(3) computes: the kernel's sum over all threads.
    total = time.clock_gettime_ns((~pid << 3) | 2)
    # proc(5): the name in parentheses may contain spaces; utime and stime are
    # the fields 14 and 15 of which 3 is the first after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return CPUTime(total, int(fields[11]), int(fields[12]))


@attr.frozen
class Memory:
    """
    Memory of a process, in bytes.

    @ivar rss: resident pages, shared ones counted in full.
    @ivar pss: resident pages, shared ones divided by who shares them.
    """

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    """
    @raise OSError: if there is no such process.
    """
    return parseRollup(Path(f"/proc/{pid}/smaps_rollup").read_text())


def parseRollup(text: str) -> Memory:
    """
    @param text: C{/proc/PID/smaps_rollup}, proc(5).
    """
    fields = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return Memory(int(fields["Rss"]) * 1024, int(fields["Pss"]) * 1024)
