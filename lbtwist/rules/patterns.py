"""
Which regular expressions are safe to try on what clients send.
"""

from __future__ import annotations

import re
from re import _parser  # type: ignore[attr-defined]
from typing import Any


def slowness(pattern: str) -> str:
    """
    Why a regular expression could take a long time for what a client sends; C{""} if it
    could not: a repetition without bound within another one can be tried in more ways
    than there are seconds.
    """
    try:
        if _nested(_parser.parse(pattern), False):
            return (
                f"{pattern!r} repeats what repeats, and could take for ever: make one of them"
                " possessive (*+, ++) or bound it"
            )
    except (re.error, RecursionError, OverflowError):
        return f"{pattern!r} is not a regular expression"
    return ""


def _nested(parsed: Any, within: bool) -> bool:
    for op, argument in parsed:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            _, most, body = argument
            endless = int(most) > 64
            if (endless and within) or _nested(body, within or endless):
                return True
        elif name == "BRANCH":
            if any(_nested(one, within) for one in argument[1]):
                return True
        elif name in _BODIES:
            index, still = _BODIES[name]
            body = argument if index is None else argument[index]
            if _nested(body, within and still):
                return True
    return False


# Where the body of each is among its arguments, and whether what is tried in it is tried
# again with what comes after it.
_BODIES: dict[str, tuple[int | None, bool]] = {
    "SUBPATTERN": (3, True),
    "ASSERT": (1, True),
    "ASSERT_NOT": (1, True),
    "ATOMIC_GROUP": (None, False),
    "POSSESSIVE_REPEAT": (2, False),
}
