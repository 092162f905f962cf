"""
What a balancer has lost with the privileges that C{twistd --uid} gave up: it is looked at when
it starts as the other user, so that it is heard of then and not when a certificate is renewed.

Nothing is given up here, and nobody is made to be able to read something.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from lbtwist.config.model import Config, EventLogTarget, LogTarget
from lbtwist.errors import StartError

if TYPE_CHECKING:
    from lbtwist.service import LoadBalancer


def afterDrop(balancer: LoadBalancer) -> Iterator[str]:
    """
    @return: a sentence for each thing that will not work later.
    @raise StartError: if something does not work at all.
    """
    user = userName()
    for pool in balancer.pools.values():
        for server in pool.servers:
            if server.origin is None:
                continue
            try:
                server.origin.verify()
            except StartError as failed:
                raise StartError(
                    f"{failed}; it was there before privileges were given up to {user}: let systemd"
                    " start it as this user, with AmbientCapabilities=CAP_NET_ADMIN"
                ) from None
    config = balancer.config
    for path in filesOf(config):
        if not may(path, os.R_OK):
            yield f"{user} cannot read {path}: what is changed in it is not taken up"
    for path in logsOf(config):
        if not may(path, os.W_OK):
            yield f"{user} cannot write {path}: the log cannot be opened anew"
    for path in socketsOf(config):
        if not may(os.path.dirname(path), os.W_OK):
            yield (
                f"{user} cannot write to {os.path.dirname(path)}: {path} stays there at the end,"
                " and is taken over by the next start"
            )


def filesOf(config: Config) -> list[str]:
    """@return: the files that are read again while a balancer runs."""
    found: list[str] = []
    for tls in config.tls.values():
        found += [*tls.certificate, tls.key, tls.key_password_file, tls.client_ca, tls.client_crl]
        found += [path for name in tls.names for path in name.certificate]
    for pool in config.pools.values():
        for server in pool.members:
            found += [server.certificate, server.key, server.ca]
    for target in targetsOf(config):
        found += [target.options.certificate, target.options.key, target.options.ca]
    found += [bind.tokens for bind in config.settings.admin]
    return list(dict.fromkeys(filter(None, found)))


def logsOf(config: Config) -> list[str]:
    """@return: the files of logs, that of changes among them."""
    paths = [one.path for one in targetsOf(config) if one.target == "file"]
    if config.settings.audit is not None:
        paths.append(config.settings.audit.path)
    return list(dict.fromkeys(filter(None, paths)))


def targetsOf(config: Config) -> list[LogTarget | EventLogTarget]:
    """@return: where lines go, of exchanges and of events."""
    logs = (target for frontend in config.frontends.values() for target in frontend.log)
    return [*logs, *config.settings.event_log]


def socketsOf(config: Config) -> list[str]:
    """@return: the UNIX sockets that are made."""
    binds = [bind.path for frontend in config.frontends.values() for bind in frontend.bind]
    return [path for path in [*binds, *(one.path for one in config.settings.admin)] if path]


def may(path: str, mode: int) -> bool:
    """@return: whether the one who runs this may do so with a file."""
    return os.access(path or ".", mode, effective_ids=True)


def userName() -> str:
    """@return: the name of who runs this, or a number."""
    number = os.geteuid()
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f"uid {number}"
