"""
Reads the file of a configuration that does not run, and finds what is wrong with it: all that
L{lbtwist.config.load} finds, and whether certificates and keys can be used.

Nothing is opened but files, and these only to be read: no socket, no log, no connection. So it
is not known whether an address is in use, and whether a store answers. It takes as long as it
takes, and is meant for a thread.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from os import stat as look

import attr

from lbtwist.config.load import load
from lbtwist.config.model import Config, ServerConfig
from lbtwist.discovery import resolve
from lbtwist.errors import NOWHERE, ConfigError, Position, Problem, StartError
from lbtwist.joining import spokenBy
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.clienttls import ClientTLS
from lbtwist.registry import Registry
from lbtwist.tlsfiles import alpnsOf


@attr.frozen
class Proved:
    """
    What a file says.

    @ivar config: L{None} if it cannot be used.
    @ivar problems: what is wrong with it: first with what is written, then with the files that
        it names.
    """

    config: Config | None
    problems: tuple[Problem, ...] = ()


def isFile(path: str) -> bool:
    """Whether it can be read to its end without waiting for anybody."""
    try:
        return stat.S_ISREG(look(path).st_mode)
    except (OSError, ValueError):
        return False


def prove(path: str, registry: Registry, before: Config) -> Proved:
    """
    @param path: of the file.
    @param before: what runs; of its servers that are to stay as they are nothing is read.
    """
    try:
        config, warnings = load(path, registry)
    except ConfigError as broken:
        return Proved(None, tuple(broken.problems))
    errors = [*_sections(config), *_servers(config, before)]
    problems = (*warnings, *errors)
    return Proved(None if errors else config, problems)


def _sections(config: Config) -> Iterator[Problem]:
    for name, alpns in alpnsOf(config).items():
        section = config.tls[name]
        try:
            # The file of its session keys would be opened to be written.
            opened = ServerTLS(attr.evolve(section, keylog=""))
            for alpn in alpns:
                opened.prepare(alpn)
        except StartError as wrong:
            yield Problem(section.where, str(wrong))
        else:
            opened.close()


def _servers(config: Config, before: Config) -> Iterator[Problem]:
    """@return: what is wrong with servers that are not as they were."""
    told: set[tuple[object, ...]] = set()
    for name, pool in config.pools.items():
        known = before.pools.get(name)
        running = {} if known is None else {one.name: one for one in known.servers}
        for server in pool.servers:
            if server == running.get(server.name):
                continue
            # To make it takes time; with another address the same would be wrong with it.
            key = bool(server.sni or server.host), *spokenBy(attr.evolve(server, sni="-"))
            wrong = "" if key in told else _spoken(server)
            told.add(key)
            wrong = wrong or _found(server)
            if wrong:
                yield Problem(server.where, wrong)


def _spoken(server: ServerConfig) -> str:
    """@return: what is wrong with how TLS is spoken with a server."""
    try:
        if server.tls:
            ClientTLS(server)
    except StartError as wrong:
        return str(wrong)
    return ""


def _found(server: ServerConfig) -> str:
    """@return: what is wrong with the address of a server."""
    try:
        if server.kind == "tcp":
            resolve(server)
    except StartError as wrong:
        return str(wrong)
    return ""


def objectOf(problem: Problem) -> dict[str, object]:
    """@return: a problem as JSON has it; the file is C{""} where it has no place."""
    where: Position = problem.where
    return {
        "severity": problem.severity, "file": "" if where == NOWHERE else where.file,
        "line": where.line, "column": where.column, "message": problem.message,
    }  # fmt: skip
