"""
What the doctor knows of a machine, and what it says: everything that is read of the
system goes through L{Facts}, so that a test can make a machine up.
"""

from __future__ import annotations

import gzip
import os
import resource
import socket
import stat
import subprocess
import time

import attr

from lbtwist.doctor.talk import converse

PATIENCE = 5.0
"""Seconds that one command may take."""

MAX_FILE = 4 * 1024 * 1024
"""About the most bytes that are read of a file."""

PIECE = 65536


@attr.frozen
class Item:
    """
    One thing that was looked at.

    @ivar state: C{"ok"}; C{"missing"}: this configuration needs it; C{"look"}: it could
        not be found out, or may be meant.
    @ivar what: a sentence.
    @ivar mend: the command that mends it, C{""} if there is none.
    """

    state: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        text = f"{self.state.upper():<8} {self.what}"
        return f"{text}\n         -> {self.mend}" if self.mend else text


def ok(what: str) -> Item:
    return Item("ok", what)


def missing(what: str, mend: str = "") -> Item:
    return Item("missing", what, mend)


def look(what: str, mend: str = "") -> Item:
    return Item("look", what, mend)


def either(good: bool, what: str, otherwise: str, mend: str = "") -> Item:
    """@return: C{ok(what)}, or else what is missing."""
    return ok(what) if good else missing(otherwise, mend)


class Facts:
    """This machine, asked."""

    def read(self, path: str) -> bytes | None:
        """@return: the beginning of a file, unpacked; L{None} if it cannot be read."""
        try:
            with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
                found = b""
                # In pieces: a sysctl refuses to be read into a large buffer.
                while len(found) < MAX_FILE and (piece := file.read(PIECE)):
                    found += piece
                return found
        except (OSError, EOFError):
            return None

    def run(self, *command: str) -> str | None:
        """@return: what a command printed; L{None} if it is missing or has failed."""
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, errors="replace",
                stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path, "LC_ALL": "C"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def mode(self, path: str) -> int | None:
        """@return: C{st_mode}; L{None} if there is nothing."""
        try:
            return os.stat(path).st_mode
        except OSError:
            return None

    def names(self, directory: str) -> list[str]:
        """@return: what is in a directory, sorted."""
        try:
            return sorted(os.listdir(directory))
        except OSError:
            return []

    def writable(self, path: str) -> bool:
        return os.access(path, os.W_OK)

    def files(self) -> int:
        """@return: how many descriptors a process may have (C{ulimit -n})."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return 1 << 30 if most == resource.RLIM_INFINITY else most

    def now(self) -> float:
        """@return: seconds since the epoch."""
        return time.time()

    def interface(self, name: str) -> bool:
        """@return: whether there is one of this name, or with this name besides its own."""
        try:
            socket.if_nametoindex(name)
        except OSError:
            return False
        return True

    def interfaces(self) -> list[str]:
        """@return: the names of all."""
        return [name for _, name in socket.if_nameindex()]

    def release(self) -> str:
        """@return: the kernel's, as C{6.1.0-18-amd64}."""
        return os.uname().release

    def converse(
        self, family: int, address: object, data: bytes, tls: str | None, seconds: float
    ) -> bytes:
        """See L{lbtwist.doctor.talk.converse}."""
        return converse(family, address, data, tls, seconds)

    def resolve(self, host: str, port: int) -> list[tuple[int, object]]:
        """@raise OSError: if there is no such name."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]

    # what several look at

    def text(self, path: str) -> str | None:
        """@return: a file as text without spaces around it."""
        found = self.read(path)
        return None if found is None else found.decode("latin-1").strip()

    def sysctl(self, name: str) -> str | None:
        return self.text(f"/proc/sys/{name.replace('.', '/')}")

    def number(self, name: str) -> int | None:
        """@return: the value of a sysctl."""
        found = self.sysctl(name)
        return int(found) if found is not None and found.lstrip("-").isdigit() else None

    def directory(self, path: str) -> bool:
        mode = self.mode(path)
        return mode is not None and stat.S_ISDIR(mode)
