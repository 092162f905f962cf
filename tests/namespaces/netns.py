"""
Networks of this test's own: namespaces joined by veth pairs, programs that run in them.

It takes root and the program C{ip}. Everything is gone afterwards; the machine's own
network is not touched.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20
"""Seconds until a program that should have answered is given up."""

_numbers = count()


def why():
    """@return: why there can be no namespaces here; C{""} if there can."""
    if os.geteuid() != 0:
        return "network namespaces take root (CAP_SYS_ADMIN and CAP_NET_ADMIN)"
    if shutil.which("ip") is None:
        return "missing: ip (apt-get install iproute2)"
    name = f"lbt{os.getpid()}x"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return "" if made.returncode == 0 else f"no network namespaces: {made.stderr.strip()}"


class Refused(Exception):
    """A command in a namespace failed; it says which and why."""


class Namespace:
    """One network namespace."""

    def __init__(self, name):
        self.name = name

    def run(self, command, stdin=None):
        """
        @param command: words, or one string of them.
        @return: what it printed.
        """
        words = command.split() if isinstance(command, str) else command
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *words],
            capture_output=True, text=True, timeout=PATIENCE, input=stdin,
        )  # fmt: skip
        if done.returncode:
            raise Refused(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def ip(self, *commands):
        for command in commands:
            self.run(f"ip {command}")

    def sysctl(self, **settings):
        """Dots are written as two underscores."""
        for name, value in settings.items():
            self.run(["sysctl", "-qw", f"{name.replace('__', '.')}={value}"])

    def python(self, code, *arguments):
        """@return: what a script printed, in lines."""
        return self.run([sys.executable, "-c", code, *arguments]).split("\n")[:-1]

    @contextmanager
    def program(self, *words, ready):
        """
        Run a program.

        @param ready: text of a line that it prints when it is ready.
        @return: its lines so far; grows.
        """
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *words], cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lines = []
        stands = threading.Event()

        def read():
            for line in process.stdout:
                lines.append(line)
                if ready in line:
                    stands.set()
            stands.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            stands.wait(PATIENCE)
            if not any(ready in line for line in lines):
                raise Refused(f"{words[0]} did not start:\n{''.join(lines)}")
            yield lines
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join(PATIENCE)
            process.stdout.close()

    def balancer(self, path):
        """Run C{twistd lbtwist} with a configuration file."""
        return self.program(
            sys.executable, "-m", "twisted", "lbtwist", "--config", str(path),
            ready=" listens on ",
        )  # fmt: skip


class Network(ExitStack):
    """Namespaces and the wires between them; all end with it."""

    def __init__(self):
        super().__init__()
        self._prefix = f"lbt{os.getpid()}n{next(_numbers)}"

    def namespace(self, name):
        found = Namespace(f"{self._prefix}{name}")
        subprocess.run(["ip", "netns", "add", found.name], check=True)
        # The pairs in it go with it.
        self.callback(subprocess.run, ["ip", "netns", "delete", found.name], check=False)
        found.ip("link set lo up")
        return found

    def wire(self, one, other):
        """
        Join two namespaces by a veth pair.

        @param one: the namespace, the interface's name, its addresses with the length
            of their prefixes.
        """
        (space, name, *addresses), (there, peer, *theirs) = one, other
        space.ip(f"link add {name} type veth peer name {peer} netns {there.name}")
        for where, interface, several in ((space, name, addresses), (there, peer, theirs)):
            for address in several:
                lazy = " nodad" if ":" in address else ""
                where.ip(f"address add {address} dev {interface}{lazy}")
            where.ip(f"link set {interface} up")


def doctor(space, path):
    """@return: what C{lbtwist doctor} finds in a namespace."""
    done = subprocess.run(
        ["ip", "netns", "exec", space.name, sys.executable, "-m", "lbtwist", "doctor",
         "--json", "--config", str(path)],
        capture_output=True, text=True, timeout=3 * PATIENCE, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert done.returncode == any(item["state"] == "missing" for item in found), done.stderr
    return found


SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import socket

checks = []

class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        peer = self.client_address[0]
        if self.headers["User-Agent"] == "lbtwist-check":
            checks.append(peer)
        body = (" ".join(sorted(set(checks))) if self.path == "/checks" else peer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    daemon_threads = True

server = Server((sys.argv[1], int(sys.argv[2])), Answer)
print("ready", flush=True)
server.serve_forever()
"""
"""A server that says from where it is asked, and, at /checks, from where it is checked."""

ASK = """
import socket, sys
host, port, source, path = sys.argv[1:5]
with socket.create_connection((host, int(port)), 3, (source, 0) if source else None) as skt:
    skt.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    got = b""
    while piece := skt.recv(65536):
        got += piece
head, _, body = got.partition(b"\\r\\n\\r\\n")
print(head.split(b"\\r\\n")[0].decode())
print(body.decode().strip())
"""


def ask(space, host, port, source="", path="/"):
    """@return: the status line and the body."""
    status, body = space.python(ASK, host, str(port), source, path)[:2]
    return status, body
