"""
Listening sockets that a process has from the one whose place it takes: see L{lbtwist.upgrading}.

They are passed as descriptors, and named by their address: who is to listen there takes them
instead of opening it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import MutableMapping

from lbtwist.config.model import Bind

VARIABLE = "LBTWIST_INHERITED"
"""Of the environment: the descriptors by the names of L{nameOf}, and others by these."""

READY = "ready"
"""Where to say that all has begun, or why not."""

STATES = "states"
"""How servers are."""

STDERR = "stderr"
"""What the first process has as its standard error; until all has begun it reads what is said."""


def nameOf(bind: Bind) -> str:
    """@return: by what a socket is known."""
    where = bind.path if bind.kind == "unix" else f"{bind.host}:{bind.port}"
    return f"{bind.kind} {where} {bind.interface} {bind.name}"


class Inherited:
    """What a process has from another one."""

    def __init__(self) -> None:
        self._descriptors: dict[str, list[int]] = {}
        self._isTaking = False

    def __bool__(self) -> bool:
        """Whether another process still has the place that this one is to take."""
        return self._isTaking

    def take(self, environment: MutableMapping[str, str]) -> None:
        """
        Look for it. What makes no sense is passed over: who is to listen opens the address
        himself then.

        @param environment: what it says of this is taken out of it.
        """
        said = environment.pop(VARIABLE, "")
        try:
            found = [(str(name), int(one)) for name, one in json.loads(said or "[]")]
        except (ValueError, TypeError, OverflowError, RecursionError):
            return
        # Two cannot have the same one, and nobody has the first three.
        seen = {0, 1, 2}
        for name, descriptor in found:
            if descriptor in seen:
                continue
            seen.add(descriptor)
            try:
                # Not for the programs that checks run.
                os.set_inheritable(descriptor, False)
            except (OSError, OverflowError):
                continue
            self._descriptors.setdefault(name, []).append(descriptor)
            self._isTaking = True

    def listening(self, bind: Bind) -> socket.socket | None:
        """@return: the socket of an address, which is the caller's from then on."""
        descriptor = self.file(nameOf(bind))
        if descriptor is None:
            return None
        try:
            found = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            return None
        if found.type != socket.SOCK_STREAM or _isConnected(found):
            found.close()
            return None
        return found

    def file(self, name: str) -> int | None:
        """@return: the descriptor of something else, which is the caller's from then on."""
        found = self._descriptors.get(name)
        if not found:
            return None
        descriptor = found.pop(0)
        if not found:
            del self._descriptors[name]
        return descriptor

    def close(self) -> None:
        """The place is taken: nobody listens any more where nobody has wanted to."""
        self._isTaking = False
        while self._descriptors:
            for descriptor in self._descriptors.popitem()[1]:
                os.close(descriptor)


def _isConnected(skt: socket.socket) -> bool:
    try:
        skt.getpeername()
    except OSError:
        # It listens, or has been shut for a while.
        return False
    return True


inherited = Inherited()
"""What this process has."""
