"""
What is behind every program: one nginx process with two listeners.
"""

from __future__ import annotations

import os
import re
import resource
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from string import Template
from typing import Self

from bench.system import Child, Placement, freePorts

#: What C{/small} answers: 96 bytes.
SMALL = b"96 bytes from nginx. ".ljust(96, b".")

#: How long the answer of C{/large} is: 1 MiB.
LARGE = 1 << 20

_counts = re.compile(rb"server accepts handled requests\s+(\d+) \d+ (\d+)")

# Whatever the environment says of proxies, the loopback needs none.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, trusting: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """
    @param trusting: whom to believe, for HTTPS.
    @return: the status and the body of the answer.
    @raise OSError: if there was none.
    """
    opener = _direct
    if trusting is not None:
        secure = urllib.request.HTTPSHandler(context=trusting)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)
    try:
        with opener.open(url, timeout=5) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class Origin:
    """
    nginx, between C{with} and its end.

    @ivar serverA: the port of one listener.
    @ivar serverB: the port of the other.
    """

    def __init__(self, executable: str, directory: Path, placement: Placement) -> None:
        self.serverA, self.serverB, self._status = freePorts(3)
        directory.mkdir()
        (directory / "large").write_bytes(os.urandom(LARGE))
        template = Path(__file__).parent / "templates" / "nginx.conf"
        config = directory / "nginx.conf"
        config.write_text(
            Template(template.read_text()).substitute(
                serverA=self.serverA,
                serverB=self.serverB,
                status=self._status,
                small=SMALL.decode("ascii"),
                directory=directory,
                files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )
        )
        command = [executable, "-p", str(directory), "-e", "nginx.err", "-c", str(config)]
        self._child = Child("nginx", command, directory, placement.load)

    def __enter__(self) -> Self:
        self._child.__enter__()
        try:
            self._child.waitUntil(lambda: self.counts() is not None, 10)
        except BaseException:
            self._child.end()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self._child.end()

    def counts(self) -> tuple[int, int]:
        """
        @return: connections accepted and requests received since the start.
        @raise OSError: if nginx does not answer.
        """
        return parseStatus(fetch(f"http://127.0.0.1:{self._status}/status")[1])


def parseStatus(text: bytes) -> tuple[int, int]:
    """
    @param text: what nginx's C{stub_status} says.
    @return: connections accepted and requests received.
    @raise OSError: if it is something else.
    """
    found = _counts.search(text)
    if found is None:
        raise OSError(f"nginx says {text!r} for its status")
    return int(found[1]), int(found[2])
