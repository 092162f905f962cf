"""
A frontend with its listening sockets, and what becomes of these where a configuration takes the
place of another: a socket whose address and options stay the same is kept, whichever frontend
it is for, and new ones listen before old ones are closed.

What becomes of the connections that are accepted is L{lbtwist.inbound}'s, how a socket comes to
listen L{lbtwist.net.addresses}'.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import attr

from lbtwist.config.model import Bind, Config, FrontendConfig, TCPConfig
from lbtwist.errors import StartError
from lbtwist.inbound import Inbound, acceptedBy, listenerFor
from lbtwist.net.addresses import give, listen
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.inherited import inherited
from lbtwist.net.listener import Listener
from lbtwist.net.profiles import Profile

Profiles = Mapping[str, Profile]

Opens = Callable[[str, int, Bind, Profile | None, bool], socket.socket]
"""
Opens a socket that listens: given the name of its frontend, which of its binds it is, the bind,
its profile, and whether a socket of ours has the address still.
"""


def openHere(
    _frontend: str, _at: int, bind: Bind, profile: Profile | None, beside: bool
) -> socket.socket:
    """@raise StartError: if it cannot be opened."""
    return listen(bind, profile, beside)


def _identity(bind: Bind, tcp: TCPConfig | None) -> tuple[Any, ...]:
    """@return: all that cannot be changed about a socket that listens."""
    if bind.kind == "unix":
        return bind.kind, bind.path
    return (
        bind.kind, bind.host, bind.port, bind.name, bind.interface, bind.transparent,
        bind.freebind, tcp,
    )  # fmt: skip


@attr.define(eq=False)
class Opened:
    """
    A bind and its socket.

    @ivar tcp: the C{[tcp]} section that it names.
    @ivar ours: this process has opened it, and takes it off the disk.
    """

    bind: Bind
    tcp: TCPConfig | None
    listener: Listener
    ours: bool = True

    @property
    def identity(self) -> tuple[Any, ...]:
        """See L{_identity}."""
        return _identity(self.bind, self.tcp)

    def close(self) -> None:
        """
        Accept nothing more; a UNIX socket is taken off the disk, unless another process has it
        as well, whose place this one has not taken yet.
        """
        self.listener.stopListening()
        if self.bind.kind == "unix" and self.ours and not inherited:
            with suppress(OSError):
                os.unlink(self.bind.path)


class Frontend:
    """
    One frontend: where it listens, and the running side of it.

    @ivar inbound: its connections and counters.
    @ivar paused: an administrator wants no new connections for a while.
    """

    def __init__(
        self, inbound: Inbound, reactor: Any, profiles: Profiles = MappingProxyType({}),
        opens: Opens = openHere,
    ) -> None:
        """
        @param profiles: the C{[tcp]} sections that binds name.
        """
        self._opens = opens
        self.inbound = inbound
        self.name = inbound.name
        self.paused = False
        self._profiles = profiles
        self._reactor = reactor
        self._opened: list[Opened] = []

    def __repr__(self) -> str:
        return f"<Frontend {self.name} {self.inbound.active} active>"

    @property
    def config(self) -> FrontendConfig:
        """What counts now."""
        return self.inbound.config

    @property
    def addresses(self) -> list[Any]:
        """Where it really listens: the socket names, ports that were 0 filled in."""
        return [listener.socket.getsockname() for listener in self.inbound.listeners]

    def open(self, sections: Mapping[str, ServerTLS] = MappingProxyType({})) -> None:
        """
        Open its sockets.

        @param sections: the C{[tls]} sections that binds name.
        @raise StartError: if one cannot be opened; the others are closed again.
        """
        try:
            for at, bind in enumerate(self.config.bind):
                profile = self._profiles.get(bind.tcp)
                listening = self._opens(self.name, at, bind, profile, False)
                tls = sections[bind.tls] if bind.tls else None
                listener = listenerFor(listening, self.inbound, self._reactor, bind, tls)
                tcp = None if profile is None else profile.config
                self._opened.append(Opened(bind, tcp, listener, self._opens is openHere))
        except StartError:
            self.close()
            raise

    def start(self) -> None:
        """Begin to accept, unless an administrator has been quicker."""
        for listener in self.inbound.listeners:
            listener.startListening()
            if self.paused:
                listener.shut()

    def hold(self) -> None:
        """Let others accept, on the same sockets."""
        for listener in self.inbound.listeners:
            listener.hold()
            if self.paused:
                listener.shut()

    def pause(self) -> None:
        """Refuse new connections; those there are go on."""
        self.paused = True
        for listener in self.inbound.listeners:
            listener.shut()

    def resume(self) -> None:
        """
        Accept again.

        @raise OSError: if an address was taken meanwhile; the others accept.
        """
        failed: OSError | None = None
        for opened in self._opened:
            try:
                opened.listener.open(opened.bind.backlog)
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed
        self.paused = False

    @property
    def listening(self) -> list[tuple[Bind, int]]:
        """Its binds, and the descriptors of their sockets."""
        return [(one.bind, one.listener.fileno()) for one in self._opened]

    def handOver(self) -> None:
        """Another process has the same sockets: what is on the disk is that one's."""
        for opened in self._opened:
            opened.ours = False

    def close(self) -> None:
        """Accept nothing more."""
        for opened in self._opened:
            opened.close()
        self._opened.clear()
        self.inbound.listeners.clear()


class Sockets:
    """
    The listening sockets of a configuration that takes the place of another.

    Nothing of what runs has changed before L{take}, but that a socket whose address is to be
    bound again, with other options, shares it from now on.
    """

    def __init__(
        self, frontends: Iterable[Frontend], config: Config, opens: Opens = openHere
    ) -> None:
        """
        @param frontends: those that run.
        @param config: what they are to become.
        """
        self._config = config
        self._opens = opens
        self._before = [(one, opened) for one in frontends for opened in one._opened]
        self._left = list(self._before)
        self._found: dict[str, list[Opened | None]] = {}
        self._new: list[Opened] = []
        self._profiles = {name: Profile(tcp) for name, tcp in config.tcp.items()}

    def open(self, reactor: Any) -> None:
        """
        Find those that stay, and open the others.

        @raise StartError: if one cannot be opened; then L{undo} closes the others again.
        """
        wanted = self._config.frontends
        for name, frontend in wanted.items():
            self._found[name] = [self._kept(bind, name) for bind in frontend.bind]
        for name, frontend in wanted.items():
            found = self._found[name]
            for at, bind in enumerate(frontend.bind):
                # Any port will do for who asks for none: it is not somebody else's.
                if found[at] is None and (bind.port or bind.kind != "tcp"):
                    found[at] = self._kept(bind, None)
        for name, frontend in wanted.items():
            found = self._found[name]
            for at, bind in enumerate(frontend.bind):
                found[at] = found[at] or self._opened(name, at, bind, reactor)

    def _kept(self, bind: Bind, name: str | None) -> Opened | None:
        """@param name: of the frontend whose it is; L{None}: anybody's."""
        identity = _identity(bind, self._config.tcp.get(bind.tcp))
        for one in self._left:
            frontend, opened = one
            if opened.identity == identity and name in (None, frontend.name):
                self._left.remove(one)
                return opened
        return None

    def _opened(self, name: str, at: int, bind: Bind, reactor: Any) -> Opened:
        beside = [
            opened.listener.socket
            for _, opened in self._left
            if opened.bind.kind == bind.kind == "tcp" and opened.bind.port == bind.port
        ]
        for skt in beside:
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        profile = self._profiles.get(bind.tcp)
        listening = self._opens(name, at, bind, profile, bool(beside))
        listener = Listener(listening, _refuse, reactor)
        tcp = self._config.tcp.get(bind.tcp)
        found = Opened(bind, tcp, listener, self._opens is openHere)
        self._new.append(found)
        return found

    def undo(self) -> None:
        """It is not to be."""
        for one in self._new:
            one.close()

    def take(
        self, frontends: Mapping[str, Frontend], sections: Mapping[str, ServerTLS],
        running: bool, held: bool,
    ) -> None:
        """
        Give each frontend its sockets, and close those that nobody has any more: whoever is
        in their queues is accepted before.

        @param frontends: those of the configuration, by name; they have become it.
        @param sections: its C{[tls]} sections.
        @param running: whether new ones accept at once.
        @param held: whether others accept on them.
        """
        for frontend in {one for one, _ in self._before}:
            frontend._opened = []
        for name, found in self._found.items():
            frontend = frontends[name]
            frontend._profiles = self._profiles
            frontend._opened = [one for one in found if one is not None]
            for opened, bind in zip(frontend._opened, frontend.config.bind, strict=True):
                self._adapt(opened, bind)
                listener = opened.listener
                tls = sections[bind.tls] if bind.tls else None
                listener.accepted = acceptedBy(frontend.inbound, frontend._reactor, bind, tls)
        for frontend, opened in self._left:
            if running and not frontend.paused:
                opened.listener.exhaust()
            opened.close()
        for frontend in {one for one, _ in self._before}.union(frontends.values()):
            frontend.inbound.listeners[:] = [one.listener for one in frontend._opened]
        for one in self._new:
            if running:
                one.listener.startListening()
            elif held:
                one.listener.hold()
        for frontend in frontends.values():
            frontend.inbound.limitChanged()
            if frontend.paused:
                frontend.pause()

    def _adapt(self, opened: Opened, bind: Bind) -> None:
        """What can be changed about a socket that listens."""
        before, opened.bind = opened.bind, bind
        listener = opened.listener
        if before.backlog != bind.backlog and not listener.isShut:
            with suppress(OSError):
                listener.socket.listen(bind.backlog)
        if bind.kind == "unix" and before.mode != bind.mode:
            with suppress(OSError):
                os.chmod(bind.path, bind.mode)
        if bind.kind == "unix" and (before.user, before.group) != (bind.user, bind.group):
            with suppress(OSError):
                give(bind)


def _refuse(transport: Any) -> None:
    """Nobody has taken the socket yet, and it does not accept."""
    transport.abortConnection()
