"""
C{traceparent} and C{tracestate} as W3C Trace Context has them (Recommendation of 23 November
2021, sections 3.2 and 3.3): read, made, and what becomes of those that are not acceptable.

Pure functions. Who asks for which of it is L{lbtwist.http.tracing}'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attr

SIZE = 24
"""Random bytes that one is made of."""

SPAN = 8
"""Those of one span."""

MOST_MEMBERS = 32
"""Of C{tracestate} (section 3.3.1.1)."""

LONGEST_STATE = 8192
"""Bytes of it that are passed on; the Recommendation asks for 512 at the least."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.S)
_NOTHING = re.compile(rb"0*")
_SAMPLED = 1
_VERSION = b"00"
_NO_VERSION = b"ff"

# Of Level 2 of the Recommendation, which takes in what Level 1 has.
_KEY = rb"[a-z0-9][_0-9a-z\-*/]{0,255}(?:@[a-z][_0-9a-z\-*/]{0,13})?"
_MEMBER = re.compile(_KEY + rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
# What trace ids with the threshold of a ratio are compared with: their last 7 bytes.
_RANDOM = 1 << 56


@attr.frozen
class Trace:
    """
    Where in which trace a request stands.

    @ivar trace: 32 hexadecimal digits.
    @ivar parent: 16 of them: who has sent it.
    @ivar sampled: whether somebody upstream keeps what it tells of it.
    @ivar version: that it came in; what is made is of version 0.
    """

    trace: bytes
    parent: bytes
    sampled: bool
    version: bytes = _VERSION

    @property
    def field(self) -> bytes:
        """The value of C{traceparent}, in version 0."""
        return b"00-%b-%b-%02x" % (self.trace, self.parent, self.sampled)

    @property
    def told(self) -> str:
        """The value of C{traceparent}, without the version."""
        return self.field[3:].decode()


def read(values: Sequence[bytes]) -> Trace | None:
    """
    @param values: those of all fields C{traceparent}.
    @return: L{None} if they are none, or none that is acceptable.
    """
    if len(values) != 1:
        return None
    found = _PARENT.fullmatch(values[0])
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == _NO_VERSION or (more is not None and version == _VERSION):
        return None
    if _NOTHING.fullmatch(trace) or _NOTHING.fullmatch(parent):
        return None
    return Trace(trace, parent, bool(int(flags, 16) & _SAMPLED), version)


def made(random: bytes, ratio: float) -> Trace:
    """
    @param random: L{SIZE} bytes.
    @param ratio: of 1: so many are sampled, and those of one trace by whoever decides alike.
    """
    trace, parent = random[:16], random[16:SIZE]
    # All of nothing would be no id (section 3.2.2.3).
    if not any(trace):
        trace = b"\1" * 16
    sampled = int.from_bytes(trace[9:], "big") >= round((1 - ratio) * _RANDOM)
    return Trace(trace.hex().encode(), spanOf(parent), sampled)


def spanOf(random: bytes) -> bytes:
    """
    @param random: L{SPAN} bytes.
    @return: them as the id of a span (section 3.2.2.4).
    """
    return (random if any(random) else b"\1" * SPAN).hex().encode()


def stateOf(values: Sequence[bytes]) -> bytes | None:
    """
    @param values: those of all fields C{tracestate}, in order.
    @return: them in one, as they came; L{None} if they are not acceptable, or say nothing.
    """
    whole = b",".join(values)
    if len(whole) > LONGEST_STATE:
        return None
    members = [one for one in (part.strip(b" \t") for part in whole.split(b",")) if one]
    if not members or len(members) > MOST_MEMBERS:
        return None
    keys = {one.partition(b"=")[0] for one in members}
    if len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return None
    return b",".join(members)
