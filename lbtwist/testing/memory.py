"""
A balancer in memory: whole exchanges as conversations, on a clock that stands still.

The balancer is the real one, built from the text of a configuration, and so are
its transports; only the reactor is a L{Pump}, which turns when it is told to, and
the network is UNIX sockets, on which every byte arrives at once. A conversation
ends with a look at what is left of it: see L{Balancer.stop}::

    with Balancer(CONFIG, "a") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
        server = balancer.server("a").accepts()
        server.receives(rb"GET / HTTP/1.1\\r\\n.*")
        server.sends(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
        client.receives(rb"HTTP/1.1 204 No Content\\r\\n\\r\\n")
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from lbtwist.build import build
from lbtwist.config.difference import Difference
from lbtwist.config.load import loadText
from lbtwist.config.model import Config
from lbtwist.net import outgoing
from lbtwist.net.tcp import Accepted
from lbtwist.registry import Registry, installed
from lbtwist.testing.network import InetSocket, MemoryServer, OutgoingSocket, Peer, Pump


def inPieces(data: bytes) -> Iterator[list[bytes]]:
    """
    Every way in which a reader should be tried: whole, byte by byte, and cut in two
    at every place.
    """
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


@implementer(ILogObserver)
class _Failures:
    """Keeps the exceptions that are logged."""

    def __init__(self) -> None:
        self.seen: list[Failure] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        if "log_failure" in event:
            self.seen.append(event["log_failure"])


class Balancer:
    """
    A balancer in memory.

    @ivar running: the L{lbtwist.service.LoadBalancer}.
    @ivar pump: its reactor and clock.
    @ivar failures: exceptions that were logged instead of raised.
    """

    def __init__(
        self, config: str, *servers: str, registry: Registry | None = None,
        objects: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """
        @param config: the text of a configuration, where C{${a}} is the address
            of the server C{a}, C{${bind}} one to listen on, C{log = ${log}} makes
            the access log readable in L{lines}, and C{admin = ${admin}} takes
            commands.
        @param servers: their names.
        @param objects: what C{server NAME = object:NAME} stands for.
        """
        self.pump = Pump()
        self._failures = _Failures()
        self.failures = self._failures.seen
        self._directory = tempfile.mkdtemp(prefix="lbtwist")
        self._peers: list[Peer] = []
        self._servers = {
            name: MemoryServer(f"{self._directory}/{name}", self.pump) for name in servers
        }
        addresses = {name: f"unix:{server.path}" for name, server in self._servers.items()}
        addresses["bind"] = f"unix:{self._directory}/bind"
        addresses["log"] = f"file:{self._directory}/log"
        addresses["admin"] = f"unix:{self._directory}/admin"
        registry = registry or installed()
        self._read = partial(loadText, registry=registry, environ=addresses)
        loaded, _ = self._read(config)
        self.running = build(
            loaded, registry, self.pump, self.pump.seconds, lambda: self.pump.seconds() + 1.7e9,
            objects,
        )
        self._newSocket = outgoing.newSocket
        if outgoing.newSocket is socket.socket:
            outgoing.newSocket = self._outgoing
        globalLogPublisher.addObserver(self._failures)
        try:
            self.running.startService()
            self.pump.turn()
        except BaseException:
            self._letGo()
            raise

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        # What a test has found says more than what its end leaves behind.
        with suppress(AssertionError) if kind is not None else nullcontext():
            self.stop()

    def becomes(self, config: str) -> Difference:
        """
        Another configuration takes the place of the one that runs.

        @param config: as for L{__init__}.
        """
        found: Difference = self.running.apply(self.reads(config))
        self.pump.turn()
        return found

    def reads(self, config: str) -> Config:
        """
        @param config: as for L{__init__}.
        @return: what it says.
        @raise lbtwist.errors.ConfigError: if it cannot be used.
        """
        found, _ = self._read(config)
        return found

    def client(
        self, host: str = "203.0.113.9", port: int = 40000, frontend: str = "",
        wrap: Callable[[int], socket.socket] | None = None, bind: int = 0,
    ) -> Peer:  # fmt: skip
        """
        A client connects.

        @param frontend: to which; the first one by default.
        @param bind: to which of its addresses, counted from 0.
        @param wrap: makes the balancer's socket of a descriptor.
        """
        ours, theirs = socket.socketpair()
        skt = (wrap or self._inet)(theirs.detach())
        skt.setblocking(False)
        name = frontend or next(iter(self.running.frontends))
        inbound = self.running.frontend(name).inbound
        # One that has closed its sockets may have accepted this client before.
        accepted = inbound.listeners[bind].accepted if inbound.listeners else inbound.accepted
        accepted(Accepted(skt, (host, port), self.pump))
        peer = Peer(ours, self.pump, skt)
        self._peers.append(peer)
        self.pump.turn()
        return peer

    @staticmethod
    def _inet(fd: int) -> socket.socket:
        return InetSocket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)

    def _outgoing(self, family: int, kind: int) -> socket.socket:
        skt = OutgoingSocket(family, kind)
        skt.servers = {server.path: server for server in self._servers.values()}
        return skt

    def connects(self, suffix: str = "") -> Peer:
        """
        A client connects to an address that stands in the configuration: that way it
        meets all limits.

        @param suffix: what follows C{${bind}} there.
        """
        return self._connects(f"bind{suffix}")

    def administrator(self, suffix: str = "") -> Peer:
        """
        An administrator connects.

        @param suffix: what follows C{${admin}} in the configuration.
        """
        return self._connects(f"admin{suffix}")

    def asks(self, command: str) -> str:
        """
        An administrator gives one command, or several in one line.

        @return: what is answered, without the empty line at its end.
        """
        peer = self.administrator()
        peer.sends(f"{command}\n".encode())
        text: bytes = peer.receives(rb"(.*)")[1]
        peer.isEnded()
        return text.decode().removesuffix("\n")

    def _connects(self, name: str) -> Peer:
        skt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        skt.connect(f"{self._directory}/{name}")
        peer = Peer(skt, self.pump)
        self._peers.append(peer)
        self.pump.turn()
        return peer

    def server(self, name: str) -> MemoryServer:
        return self._servers[name]

    def advance(self, seconds: float) -> None:
        """Time passes; everything happens when it is due."""
        pump = self.pump
        pump.turn()
        end = pump.seconds() + seconds
        while True:
            due = min((call.getTime() for call in pump.getDelayedCalls()), default=end)
            if due >= end:
                break
            # A clock of floats that is not moved far enough stands still.
            pump.advance(max(due - pump.seconds(), 1e-6))
            pump.turn()
        pump.advance(max(end - pump.seconds(), 0.0))
        pump.turn()

    @property
    def lines(self) -> list[str]:
        """
        The access log so far, where the configuration says C{log = ${log}}. Time
        passes until it is written.
        """
        self.advance(0.2)
        path = f"{self._directory}/log"
        if not os.path.exists(path):
            return []
        with open(path) as lines:
            return lines.read().splitlines()

    @property
    def endings(self) -> list[str]:
        """The same without client and date: C{www app/a 0/0/0/0/0 200 38 - - ---- ...}."""
        return [line.partition("] ")[2] for line in self.lines]

    def _letGo(self) -> None:
        """Leave the process as it was, for those who come after."""
        globalLogPublisher.removeObserver(self._failures)
        outgoing.newSocket = self._newSocket
        shutil.rmtree(self._directory, ignore_errors=True)

    def stop(self) -> None:
        """
        End everything, at once.

        @raise AssertionError: if something is left: a slot, a connection, a timer, a
            descriptor; or if an exception was logged.
        """
        try:
            for peer in self._peers:
                peer.socket.close()
            self.pump.turn()
            for server in self._servers.values():
                server.stop()
            stopped = self.running.stopService()
            self.advance(self.running.config.settings.grace_period + 5)
        finally:
            self._letGo()
        assert stopped.called, "the balancer does not stop"
        assert not self.failures, "\n".join(one.getTraceback() for one in self.failures)
        left: list[object] = [call for call in self.pump.getDelayedCalls() if call.active()]
        left += self.pump.removeAll()
        for pool in self.running.pools.values():
            left += [pool] if pool.active or pool.queued else []
            left += [one for one in pool.servers if one.active or one.sessions or one.idle]
        for frontend in self.running.frontends.values():
            left += frontend.inbound.connections
            left += [frontend] if frontend.inbound.active else []
        assert not left, f"left behind: {left}"
        assert not self.running.process.active, "left behind: a count of connections"
