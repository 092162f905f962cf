"""
The load of C{https-handshakes}: connections that each begin with a full handshake, make
one request and end.

Not wrk, because wrk resumes: it keeps the session of a connection for the next one. Here
no connection is given a session, and each is looked at after its handshake: what was
resumed, or agreed on something else than L{bench.certificate} wants, makes a run invalid.

Run as a process of its own, so that it has wrk's CPU: C{python -m bench.handshakes}.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping
from pathlib import Path

import attr

from bench.certificate import SUITE, VERSION
from bench.origin import SMALL
from bench.system import NotStarted, prepareChild
from bench.wrk import WrkReport

_ROOT = Path(__file__).parent.parent
_READ = 65536
_REQUEST = b"GET /small HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"

Steps = Generator[tuple[socket.socket, int], None, None]
"""A connection: it tells on which socket it waits for which event of epoll."""


@attr.define
class Tally:
    """
    What became of the connections.

    @ivar times: seconds from connecting to the end of the answer, of those that got one.
    @ivar wrong: how often which thing went wrong.
    """

    times: list[float] = attr.field(factory=list)
    wrong: Counter[str] = attr.field(factory=Counter)

    def report(self, seconds: float) -> WrkReport:
        """@param seconds: how long it took."""
        problems = [f"{count} connections: {what}" for what, count in self.wrong.items()]
        if not self.times:
            return WrkReport(0, seconds, 0.0, (*problems, "no request was answered"))
        late = sorted(self.times)[len(self.times) * 99 // 100]
        return WrkReport(len(self.times), seconds, late * 1e3, tuple(problems))


def agreed(tls: ssl.SSLSocket) -> str:
    """
    @return: what is wrong with what a handshake came to; C{""} if nothing is.
    """
    if tls.session_reused:
        return "the handshake was not a full one, it resumed a session"
    cipher = tls.cipher()
    if cipher is None or cipher[:2] != (SUITE, VERSION):
        return f"agreed on {cipher}"
    return ""


def connection(context: ssl.SSLContext, port: int, tally: Tally) -> Steps:
    """One connection from its beginning to its end."""
    begun = time.perf_counter()
    with socket.socket() as skt:
        skt.setblocking(False)
        skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        skt.connect_ex(("127.0.0.1", port))
        yield skt, select.EPOLLOUT
        # Without a session there is nothing to resume (RFC 8446 section 2.2).
        with context.wrap_socket(skt, do_handshake_on_connect=False) as tls:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    yield tls, select.EPOLLIN
            wrong = agreed(tls)
            tls.sendall(_REQUEST)
            answer = b""
            while True:
                try:
                    data = tls.recv(_READ)
                except ssl.SSLWantReadError:
                    yield tls, select.EPOLLIN
                    continue
                if not data:
                    break
                answer += data
    if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(SMALL)):
        tally.wrong[f"answered with {answer[:40]!r}"] += 1
    elif wrong:
        tally.wrong[wrong] += 1
    else:
        tally.times.append(time.perf_counter() - begun)


def load(port: int, connections: int, seconds: float) -> WrkReport:
    """
    Keep so many connections under way, each to C{127.0.0.1:port} and for one request.

    @param seconds: after so many those that are under way are left.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The signature of the handshake is checked all the same; L{bench.load} looks once
    # whose certificate it is.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tally = Tally()
    poller = select.epoll()
    waiting: dict[int, Steps] = {}

    def goOn(steps: Steps) -> bool:
        """@return: whether it has not come to its end."""
        try:
            skt, event = next(steps)
        except StopIteration:
            return False
        except OSError as failed:
            tally.wrong[str(failed)] += 1
            return False
        number = skt.fileno()
        waiting[number] = steps
        try:
            poller.register(number, event | select.EPOLLONESHOT)
        except FileExistsError:
            poller.modify(number, event | select.EPOLLONESHOT)
        return True

    begun = time.perf_counter()
    end = begun + seconds
    while (now := time.perf_counter()) < end:
        while len(waiting) < connections:
            if not goOn(connection(context, port, tally)):
                break
        for number, _ in poller.poll(max(0.0, end - now)):
            goOn(waiting.pop(number))
    report = tally.report(time.perf_counter() - begun)
    for steps in waiting.values():
        steps.close()
    poller.close()
    return report


def drive(
    port: int,
    *,
    connections: int,
    seconds: int,
    cpus: frozenset[int],
    environment: Mapping[str, str],
) -> WrkReport:
    """
    L{load} in a process of its own; returns when it is over.

    @raise NotStarted: if it did not run.
    @raise OSError: if it did not end in time with a report.
    """
    arguments = map(str, (port, connections, seconds))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.handshakes", *arguments],
            cwd=_ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 15,
            start_new_session=True,
            preexec_fn=prepareChild(cpus),
        )
    except OSError as error:
        raise NotStarted("bench.handshakes", str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from error
    return parse(done.stdout, done.stderr)


def parse(out: str, err: str) -> WrkReport:
    """
    @param out: what the process printed, and C{err} its complaints.
    @raise OSError: if it is no report.
    """
    try:
        said = json.loads(out)
        return WrkReport(**{**said, "problems": tuple(said["problems"])})
    except (ValueError, TypeError, KeyError) as error:
        words = (out + err).strip()[-200:]
        raise OSError(f"not a report of bench.handshakes: {words!r}") from error


def main(arguments: list[str]) -> None:
    """@param arguments: port, connections and seconds."""
    port, connections, seconds = map(int, arguments)
    report = load(port, connections, seconds)
    print(json.dumps(attr.asdict(report)))


if __name__ == "__main__":
    main(sys.argv[1:])
