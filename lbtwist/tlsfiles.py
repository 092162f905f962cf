"""
The TLS of a balancer with its files: what clients are met with and what servers are
spoken to with, opened at the start and looked at again from time to time.

What is made of the files is L{lbtwist.net.certificates}'s and L{lbtwist.net.clienttls}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import attr
from twisted.logger import Logger

from lbtwist.config.model import Config, ServerConfig
from lbtwist.errors import NOWHERE, StartError
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.clienttls import ClientTLS
from lbtwist.net.pem import Certificate, Given
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


def alpnsOf(config: Config) -> dict[str, list[tuple[bytes, ...]]]:
    """@return: the names of the sections that are used, with the ALPN of their binds."""
    found: dict[str, list[tuple[bytes, ...]]] = {}
    for frontend in config.frontends.values():
        for bind in frontend.bind:
            if bind.tls:
                found.setdefault(bind.tls, []).append(bind.alpn)
    for admin in config.settings.admin:
        if admin.tls:
            found.setdefault(admin.tls, []).append(())
    return found


@attr.define(eq=False)
class Changed:
    """
    The sections of another configuration.

    @ivar sections: all of them by name.
    @ivar opened: those of them that are new.
    @ivar read: has what is in the files of a section count that stays, for each of these.
    """

    files: TLSFiles
    config: Config
    sections: dict[str, ServerTLS] = attr.field(factory=dict)
    opened: list[ServerTLS] = attr.field(factory=list)
    read: list[tuple[ServerTLS, Callable[[], None]]] = attr.field(factory=list)

    def undo(self) -> None:
        """It is not to be."""
        for section in self.opened:
            section.close()


class TLSFiles:
    """
    The C{[tls]} sections that binds name, and the servers with C{tls}.

    @ivar proposed: what somebody wants to have in place of files, see L{give}, and has not said
        that it is to be: texts by their files, by that of the certificate.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, stapler: Stapler) -> None:
        """@param stapler: is told of certificates whose OCSP responses are fetched."""
        self._config = config
        self._reactor = reactor
        self._stapler = stapler
        self._given = Given()
        self.proposed: dict[str, dict[str, bytes]] = {}
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
            for name, alpns in alpnsOf(self._config).items():
                section = self._sections[name] = self._section(name, alpns)
                self._keep(section)
        except StartError:
            self.close()
            raise
        return self._sections

    def change(self, config: Config) -> Changed:
        """
        Have the sections be those of another configuration. One that says the same keeps its
        sessions; its files are looked at now, and count with the rest.

        @return: what has been opened, and is not used yet.
        @raise StartError: if one cannot be used; nothing has changed then.
        """
        changed = Changed(self, config)
        try:
            for name, alpns in alpnsOf(config).items():
                section = self._sections.get(name)
                if section is None or section.config != config.tls[name]:
                    section = self._section(name, alpns, config)
                    changed.opened.append(section)
                else:
                    for alpn in alpns:
                        section.prepare(alpn)
                    changed.read.append((section, section.look()))
                changed.sections[name] = section
        except BaseException:
            changed.undo()
            raise
        return changed

    def take(self, changed: Changed) -> None:
        """What has been opened is used from now on."""
        gone = [one for one in self._sections.values() if one not in changed.sections.values()]
        self._config = changed.config
        self._sections = changed.sections
        for section in gone:
            self._leave(section)
            after = changed.sections.get(section.config.name)
            if section.config.ocsp == "fetch" and (after is None or after.config.ocsp != "fetch"):
                self._stapler.keep(section.config.name, ())
            section.close()
        for section in changed.opened:
            self._keep(section)
        for section, count in changed.read:
            generation = section.generation
            count()
            if section.generation != generation:
                self._staple(section)

    def using(self, path: str) -> dict[str, list[Certificate]]:
        """@return: by the names of sections, the certificates whose file, or key's, this is."""
        found: dict[str, list[Certificate]] = {}
        for name, section in self._sections.items():
            for one in section.certificates:
                if path in (one.path, one.keyPath):
                    found.setdefault(name, []).append(one)
        return found

    @property
    def certificates(self) -> dict[str, Certificate]:
        """Those that clients are shown, by their files."""
        return {
            one.path: one for section in self._sections.values() for one in section.certificates
        }

    @property
    def given(self) -> dict[str, bytes]:
        """What counts instead of files now, by their paths; see L{give}."""
        return self._given.texts

    def give(
        self, texts: Mapping[str, bytes], save: Callable[[], object] = lambda: None
    ) -> list[str]:
        """
        Have these texts count instead of what is in files, in every section that uses one of them;
        until the file itself is another one. Connections that stand keep what they have.

        @param texts: by the paths of the files.
        @param save: is called when it is known that they can be used. If it raises something,
            nothing changes.
        @return: the names of the sections.
        @raise StartError: if they cannot be used; nothing has changed then.
        """
        names = sorted({name for path in texts for name in self.using(path)})
        undo = self._given.put(texts)
        try:
            taking = [self._sections[name].readAgain() for name in names]
            save()
        except BaseException:
            undo()
            raise
        for take in taking:
            take()
        for name in names:
            self._staple(self._sections[name])
        return names

    def find(self, name: str) -> ServerTLS | None:
        """@return: a section whose files are open, L{None} if they are not."""
        return self._sections.get(name)

    def _section(
        self, name: str, alpns: Iterable[tuple[bytes, ...]], config: Config | None = None
    ) -> ServerTLS:
        """@raise StartError: if it cannot be used."""
        found = ServerTLS((config or self._config).tls[name], self._given)
        try:
            for alpn in alpns:
                found.prepare(alpn)
        except StartError:
            found.close()
            raise
        return found

    def _keep(self, section: ServerTLS) -> None:
        self._watch(f"[tls {section.config.name}]", section, section.config.reload)
        self._staple(section)

    def _watch(self, name: str, tls: ServerTLS | ClientTLS, seconds: float) -> None:
        watched = _Watched(name, tls, seconds)
        self._watched.append(watched)
        if self._started:
            self._wait(watched, seconds)

    def _leave(self, tls: ServerTLS | ClientTLS) -> None:
        for one in self._watched:
            if one.tls is tls and one.timer is not None:
                one.timer.cancel()
        self._watched = [one for one in self._watched if one.tls is not tls]

    def server(self, pool: str, options: ServerConfig) -> ClientTLS:
        """
        @param pool: its name.
        @return: the TLS of a server, to be given to L{forget}.
        @raise StartError: naming the file, and what to do.
        """
        found = ClientTLS(options)
        if options.ca or options.certificate:
            self._watch(f"server {pool}/{options.name}", found, RELOAD)
        self._users[found] = 1
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
        else:
            self._users[found] += 1
        return found

    def forget(self, tls: ClientTLS) -> None:
        """A server that had it is gone."""
        self._users[tls] -= 1
        if self._users[tls]:
            return
        del self._users[tls]
        self._shared = {key: one for key, one in self._shared.items() if one is not tls}
        self._leave(tls)

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
