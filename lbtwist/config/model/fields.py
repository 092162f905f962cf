"""
What fields of several sections have in common: where they were written, and that the
kernel bounds some names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attr

from lbtwist.errors import NOWHERE


def place() -> Any:
    """A field that says where something was written; it does not compare."""
    return attr.field(default=NOWHERE, eq=False, repr=False)


def _atMost(length: int) -> Callable[[str], str | None]:
    """@return: a further look at a name that the kernel bounds."""

    def check(name: str) -> str | None:
        return f"{name!r} is longer than {length} characters" if len(name) > length else None

    return check


# IFNAMSIZ and TCP_CA_NAME_MAX of Linux, without the zero at the end.
SHORT = _atMost(15)
"""A further look at the name of an interface, or of a congestion control."""
