"""
The load: one run of wrk, and what it printed as values.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attr

from bench.system import NotStarted, prepareChild

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_total = re.compile(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),", re.MULTILINE)
_p99 = re.compile(r"^\s*99%\s+([\d.]+)(us|ms|s|m|h)\s*$", re.MULTILINE)
_status = re.compile(r"^\s*Non-2xx or 3xx responses: (\d+)", re.MULTILINE)
_socket = re.compile(
    r"^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", re.MULTILINE
)


@attr.frozen
class WrkReport:
    """
    What wrk measured.

    @ivar requests: complete responses.
    @ivar seconds: how long it measured.
    @ivar p99: 99 of 100 requests took at most so many milliseconds.
    @ivar problems: why the figures are not valid; empty if they are.
    """

    requests: int
    seconds: float
    p99: float
    problems: tuple[str, ...] = ()


def parse(text: str) -> WrkReport:
    """
    @param text: what C{wrk --latency} printed.
    @raise ValueError: if it is not that.
    """
    total = _total.search(text)
    p99 = _p99.search(text)
    if total is None or p99 is None:
        raise ValueError(f"not a report of wrk --latency: {text.strip()[-200:]!r}")
    problems = []
    if bad := _status.search(text):
        problems.append(f"{bad[1]} responses were not 2xx or 3xx")
    if errors := _socket.search(text):
        names = ("connect", "read", "write", "timeout")
        counts = ", ".join(
            f"{name} {count}"
            for name, count in zip(names, errors.groups(), strict=True)
            if count != "0"
        )
        problems.append(f"socket errors: {counts}")
    if total[1] == "0":
        problems.append("no request was answered")
    return WrkReport(
        int(total[1]),
        float(total[2]) * _UNITS[total[3]] / 1e3,
        float(p99[1]) * _UNITS[p99[2]],
        tuple(problems),
    )


def drive(
    executable: str,
    url: str,
    *,
    connections: int,
    seconds: int,
    headers: Sequence[str],
    script: Path | None,
    cpus: frozenset[int],
    environment: Mapping[str, str],
) -> WrkReport:
    """
    Put load on C{url} from one thread; returns when it is over.

    @param script: of Lua, that makes the requests.
    @param environment: variables besides those of this process.
    @raise NotStarted: if wrk did not run.
    @raise OSError: if it did not end in time with a report: nobody is there any more.
    """
    command = [executable, "--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        command += ["-H", header]
    if script is not None:
        command += ["-s", str(script)]
    try:
        done = subprocess.run(
            [*command, url],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 15,
            start_new_session=True,
            preexec_fn=prepareChild(cpus),
        )
    except OSError as error:
        raise NotStarted("wrk", str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from error
    try:
        return parse(done.stdout + done.stderr)
    except ValueError as error:
        raise OSError(str(error)) from error
