"""
The processes of the loopback tests, each at work between C{with} and its end: lbtwist
as an operator starts it, nginx, haproxy. Each gets a directory of its own and ports
that are free, and is ended whatever happens.
"""

import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from textwrap import dedent

import programs
from bench.system import freePorts
from lbtwist.command import main

ROOT = Path(__file__).resolve().parents[2]
TWISTD = str(Path(sys.executable).parent / "twistd")
TWIST = str(Path(sys.executable).parent / "twist")
REACTORS = ("lbtwist", "epoll", "asyncio")

DEMO = """\
[global]
{settings}
[frontend www]
bind = {bind}
pool = app
[pool app]
server one = demo:one
"""
"""What does something wherever it runs; more lines of the pool may follow."""

TROUBLE = re.compile(r"^.*(Traceback|Unhandled|Error:|Warning:|CRITICAL).*$", re.M)


def hasIPv6():
    """Whether this machine has a [::1]."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def freeRange(count):
    """@return: the first of so many free ports in a row."""
    for first in random.sample(range(20000, 30000, 10), 100):
        try:
            for number in range(first, first + count):
                socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no free ports in a row")


def until(condition, seconds=15, what=None):
    """
    Wait for something to become true.

    @param condition: asked again and again.
    @param what: what is waited for, or a function that says what there was instead.
    @return: what it said, as soon as that is true.
    @raise AssertionError: if it does not become true in time.
    """
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            said = what() if callable(what) else what or condition
            raise AssertionError(f"not in {seconds} s: {said}")
        time.sleep(0.01)


def write(path, text):
    """Write an indented text to a file, its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def environment(**more):
    """What this tree's lbtwist is run with."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


class Child:
    """
    One process and what it says.

    @ivar directory: where it runs.
    """

    def __init__(self, command, directory, name, **options):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._out = directory / f"{name}.out"
        self._err = directory / f"{name}.err"
        with self._out.open("ab") as out, self._err.open("ab") as err:
            # A group of its own: nginx has workers, which end with it.
            self.process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True, **options,
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.kill()

    def begins(self, condition):
        """
        @param condition: what it does when it is at work.
        @return: itself, as soon as it does.
        """
        try:
            self.until(condition)
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def out(self):
        """What it wrote to its standard output."""
        return self._out.read_text(errors="replace")

    @property
    def err(self):
        """What it wrote to its standard error."""
        return self._err.read_text(errors="replace")

    def until(self, condition, seconds=15):
        """Wait for something that this process does."""

        def met():
            assert self.process.poll() is None, f"ended too soon: {self.out}{self.err}"
            return condition()

        return until(met, seconds, lambda: f"{condition}\n{self.out}{self.err}")

    def terminate(self, seconds=15):
        """
        Ask it to end.

        @return: its exit code.
        """
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        """End it and its children at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(15)


class Balancer(Child):
    """
    C{twistd lbtwist} in the foreground. At the end of C{with} it is stopped as an
    operator would stop it, and has to be content.
    """

    def __init__(self, directory, text, reactor="lbtwist", command=(), **options):
        """
        @param text: of its configuration.
        @param command: what C{twistd} and its options are given to, to be started by it.
        """
        write(directory / "lb.ini", text)
        arguments = [TWISTD, "--reactor", reactor, "-n", "--pidfile="]
        super().__init__(
            [*command, *arguments, "lbtwist", "--config", "lb.ini"],
            directory, "lbtwist", env=environment(), **options,
        )  # fmt: skip
        self._frontends = len(re.findall(r"^\[frontend ", dedent(text), re.M))

    def __enter__(self):
        return self.begins(lambda: self.out.count(" listens on ") == self._frontends)

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None and self.process.poll() is None:
                assert self.terminate() == 0, self.out[-4000:]
            if kind is None:
                self.isContent()
        finally:
            self.kill()

    def isContent(self):
        """Nothing went wrong inside."""
        assert TROUBLE.findall(self.out + self.err) == [], (self.out + self.err)[-8000:]

    def lbtwist(self, *words):
        """@return: the exit code of the command, and what it prints, errors among it."""
        printed = io.StringIO()
        with chdir(self.directory), redirect_stdout(printed), redirect_stderr(printed):
            code = main(words)
        return code, printed.getvalue()

    @property
    def events(self):
        """What happened, without the access log."""
        return self.out

    @property
    def lines(self):
        """The access log, where the configuration has C{log = file:access.log}."""
        return (self.directory / "access.log").read_text().splitlines()

    def line(self, *texts):
        """
        @param texts: what only one exchange has: its path, or its client's port, which
            another client of another frontend may have had before.
        @return: its line in the access log, as soon as it is there.
        """
        found = until(
            lambda: [line for line in self.lines if all(text in line for text in texts)],
            what=" ".join(texts),
        )
        assert len(found) == 1, found
        return found[0]

    @property
    def pss(self):
        """Its memory, in bytes; what it shares is divided among those who share it."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M)[1]) * 1024

    @property
    def pipes(self):
        """How many pipes it has open."""
        found = set()
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found.add(os.readlink(f"/proc/{self.pid}/fd/{name}"))
            except FileNotFoundError:
                continue
        return sum(name.startswith("pipe:") for name in found)


class Nginx(Child):
    """
    An nginx with some files and places to ask for.

    @ivar port: where it listens on 127.0.0.1.
    @ivar path: where it listens on the disk.
    @ivar files: what it serves and stores under C{/files/}.
    """

    def __init__(self, directory, name="nginx", port=None, listen=(), status=200):
        """
        @param name: what C{/name} answers, with this C{status}.
        @param listen: where it listens as well.
        """
        self.port = port or freePorts(1)[0]
        self.path = directory / "nginx.sock"
        self.path.unlink(missing_ok=True)
        self.files = directory / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        (self.files / "small").write_text("twenty-six bytes of nginx\n")
        also = "".join(f"listen {address};" for address in listen)
        user = "user root;" if os.geteuid() == 0 else ""
        config = write(
            directory / "nginx.conf",
            f"""\
            daemon off;
            worker_processes 1;
            pid nginx.pid;
            {user}
            error_log error.log warn;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                default_type text/plain;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                client_max_body_size 0;
                keepalive_requests 10000000;
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    listen unix:{self.path};
                    {also}
                    location /files/ {{ root {directory}; dav_methods PUT DELETE; }}
                    location = /name {{ return {status} "{name}"; }}
                    location = /nothing {{ return 204; }}
                    location = /seen {{ return 200 "$http_x_forwarded_for"; }}
                }}
            }}
            """,
        )
        super().__init__(
            ["nginx", "-p", str(directory), "-e", "error.log", "-c", str(config)],
            directory, name,
        )  # fmt: skip

    def __enter__(self):
        return self.begins(lambda: listens(self.port))


class Haproxy(Child):
    """
    A haproxy in the foreground.

    @ivar port: where its frontend is expected to listen.
    """

    def __init__(self, directory, port, text):
        self.port = port
        config = write(directory / "haproxy.cfg", text)
        super().__init__(["haproxy", "-db", "-f", str(config)], directory, "haproxy")

    def __enter__(self):
        return self.begins(lambda: listens(self.port))


def listens(port):
    """Whether somebody listens on a port of 127.0.0.1, without asking him."""
    wanted = f"0100007F:{port:04X}"
    with open("/proc/net/tcp") as table:
        return any(
            line.split()[1] == wanted and line.split()[3] == "0A" for line in table
        )


def run(*command, seconds=30, **options):
    """
    Run a program to its end.

    @return: the completed process, its output as text.
    """
    path = programs.find(command[0]) or command[0]
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(
        [path, *map(str, command[1:])], capture_output=True, timeout=seconds, **options
    )
    # Line ends are what they are: not text=True.
    done.stdout = done.stdout.decode()
    done.stderr = done.stderr.decode()
    return done
