"""
What another user may do: the one that C{twistd --uid} becomes when the sockets are open, or
C{User=} of a systemd unit. Who that is does not stand in the configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from lbtwist.config.model import Config
from lbtwist.doctor.facts import Facts, Item, either, look
from lbtwist.dropping import filesOf, logsOf, socketsOf


def checkUser(config: Config, facts: Facts, user: str) -> Iterator[Item]:
    """@param user: a name."""

    def may(flag: str, path: str) -> bool:
        return facts.run("runuser", "-u", user, "--", "test", flag, path) is not None

    if facts.run("runuser", "-u", user, "--", "true") is None:
        yield look(
            f"what {user} may do cannot be found out",
            f"id {user}; sudo lbtwist doctor --user {user}",
        )
        return
    for path in filesOf(config):
        yield either(
            may("-r", path), f"{user} can read {path}",
            f"{user} cannot read {path}, nor what is changed in it later",
            f"setfacl -m u:{user}:r {path}  # and x above: namei -l {path}",
        )  # fmt: skip
    for path in logsOf(config):
        there = facts.mode(path) is not None
        yield either(
            may("-w", path if there else os.path.dirname(path)), f"{user} can write log {path}",
            f"{user} cannot write log {path}, which is opened anew after its rotation",
            f"chown {user} {path if there else os.path.dirname(path)}",
        )  # fmt: skip
    for path in socketsOf(config):
        where = os.path.dirname(path) or "/"
        yield either(
            may("-w", where), f"{user} can make and remove {path}",
            f"{user} can neither make nor remove {path}",
            f"install -d -o {user} {where}",
        )  # fmt: skip
