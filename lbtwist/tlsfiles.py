"""
The TLS of a balancer with its files: what clients are met with and what servers are
spoken to with, opened at the start and looked at again from time to time.

What is made of the files is L{lbtwist.net.certificates}'s and L{lbtwist.net.clienttls}'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.config.model import Config, ServerConfig
from lbtwist.errors import NOWHERE, StartError
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.clienttls import ClientTLS
from lbtwist.stapling import Stapler

RELOAD = 10.0
"""Seconds after which the files of a server are looked at again."""


@attr.define(eq=False)
class _Watched:
    """
    @ivar name: of its section or server, for the log.
    @ivar seconds: between looks; 0 is never.
    @ivar told: what was wrong with its files when they were looked at last.
    """

    name: str
    tls: ServerTLS | ClientTLS
    seconds: float
    told: str = ""
    timer: Any = None


class TLSFiles:
    """
    The C{[tls]} sections that binds name, and the servers with C{tls}.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, stapler: Stapler) -> None:
        """@param stapler: is told of certificates whose OCSP responses are fetched."""
        self._config = config
        self._reactor = reactor
        self._stapler = stapler
        self._sections: dict[str, ServerTLS] = {}
        self._watched: list[_Watched] = []
        # What servers that come and go have in common, and how many of them.
        self._shared: dict[tuple[str, ServerConfig], ClientTLS] = {}
        self._users: dict[ClientTLS, int] = {}
        self._started = False

    def __repr__(self) -> str:
        return f"<TLSFiles {len(self._watched)} sections and servers>"

    def open(self) -> Mapping[str, ServerTLS]:
        """
        @return: the sections by name.
        @raise StartError: if one cannot be used; the others are closed again.
        """
        try:
            for frontend in self._config.frontends.values():
                for bind in frontend.bind:
                    if bind.tls:
                        self._section(bind.tls).prepare(bind.alpn)
        except StartError:
            self.close()
            raise
        return self._sections

    def find(self, name: str) -> ServerTLS | None:
        """@return: a section whose files are open, L{None} if they are not."""
        return self._sections.get(name)

    def _section(self, name: str) -> ServerTLS:
        found = self._sections.get(name)
        if found is None:
            found = self._sections[name] = ServerTLS(self._config.tls[name])
            self._watched.append(_Watched(f"[tls {name}]", found, found.config.reload))
            self._staple(found)
        return found

    def server(self, pool: str, options: ServerConfig) -> ClientTLS:
        """
        @param pool: its name.
        @return: the TLS of a server.
        @raise StartError: naming the file, and what to do.
        """
        found = ClientTLS(options)
        if options.ca or options.certificate:
            self._watched.append(_Watched(f"server {pool}/{options.name}", found, RELOAD))
        return found

    def found(self, pool: str, options: ServerConfig) -> ClientTLS:
        """
        As L{server}, for one that comes and goes. Those that differ by nothing but their
        addresses have one TLS: to make it takes longer than a request.

        @return: to be given to L{forget}, as often as it was got here.
        """
        host = options.sni or options.host
        key = pool, attr.evolve(
            options, name="", host=host, port=0, path="", weight=1, backup=False, where=NOWHERE
        )
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = self.server(pool, options)
            if self._started and self._watched and self._watched[-1].tls is found:
                self._wait(self._watched[-1], RELOAD)
        self._users[found] = self._users.get(found, 0) + 1
        return found

    def forget(self, tls: ClientTLS) -> None:
        """A server that had it is gone."""
        self._users[tls] -= 1
        if self._users[tls]:
            return
        del self._users[tls]
        self._shared = {key: one for key, one in self._shared.items() if one is not tls}
        for one in self._watched:
            if one.tls is tls and one.timer is not None:
                one.timer.cancel()
        self._watched = [one for one in self._watched if one.tls is not tls]

    def start(self) -> None:
        """Look at the files from now on, one after the other, and fetch OCSP responses."""
        self._started = True
        self._stapler.start()
        for number, one in enumerate(self._watched, 1):
            self._wait(one, one.seconds * number / len(self._watched))

    @property
    def notAfter(self) -> dict[str, datetime]:
        """When the certificates that we show, to clients and to servers, expire, by file."""
        found: dict[str, datetime] = {}
        for one in self._watched:
            found |= one.tls.notAfter
        return found

    def _staple(self, section: ServerTLS) -> None:
        if section.config.ocsp == "fetch":
            self._stapler.keep(section.config.name, section.certificates)

    def _wait(self, one: _Watched, seconds: float) -> None:
        if one.seconds:
            one.timer = self._reactor.callLater(seconds, self._look, one)

    def _look(self, one: _Watched) -> None:
        self._wait(one, one.seconds)
        tls = one.tls
        generation = tls.generation
        problem = tls.reload()
        told, one.told = one.told, "" if problem is None else problem.message
        if problem is not None:
            if one.told != told:
                # As long as it is the same it has been said.
                self._log.error("{name}: {problem}", name=one.name, problem=problem)
        elif tls.generation != generation:
            self._log.info("{name}: its files were read again", name=one.name)
            if isinstance(tls, ServerTLS):
                self._staple(tls)

    def close(self) -> None:
        """Look at files no more."""
        self._started = False
        self._stapler.stop()
        for one in self._watched:
            if one.timer is not None:
                one.timer.cancel()
        self._watched.clear()
        for section in self._sections.values():
            section.close()
        self._sections.clear()
