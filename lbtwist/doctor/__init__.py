"""
C{lbtwist doctor}: what a configuration needs of the machine it is on, item by item, and
the command that mends what is missing.

Looks and asks, and changes nothing. What it looks at is what this configuration needs;
everything that is read goes through L{lbtwist.doctor.facts.Facts}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from lbtwist.config.model import Config
from lbtwist.doctor.facts import Facts, Item
from lbtwist.doctor.files import checkCertificates, checkFiles
from lbtwist.doctor.probes import checkServers
from lbtwist.doctor.system import checkAddresses, checkInterfaces, checkLimits, checkPrivileges
from lbtwist.doctor.transparent import checkTransparent
from lbtwist.doctor.user import checkUser

CHECKS: tuple[Callable[[Config, Facts], Iterator[Item]], ...] = (
    checkPrivileges,
    checkLimits,
    checkInterfaces,
    checkAddresses,
    checkTransparent,
    checkFiles,
    checkCertificates,
    checkServers,
)


def diagnose(config: Config, facts: Facts, user: str = "") -> list[Item]:
    """
    @param user: who runs it later on; C{""}: who runs this.
    @return: all that was looked at, in order.
    """
    found = [item for check in CHECKS for item in check(config, facts)]
    return [*found, *checkUser(config, facts, user)] if user else found


def asText(items: Iterable[Item]) -> str:
    """@return: for people: a line for each, with what mends it under it, and a sum."""
    found = list(items)
    count = sum(item.state == "missing" for item in found)
    said = "all that is needed is there" if not count else f"{count} missing"
    return "\n".join([*map(str, found), f"{len(found)} looked at: {said}"])


def asJSON(items: Iterable[Item]) -> str:
    """@return: an array of objects with C{state}, C{what} and C{mend}."""
    return json.dumps(
        [{"state": item.state, "what": item.what, "mend": item.mend} for item in items], indent=2
    )
