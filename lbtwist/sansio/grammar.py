"""
The grammar that heads and trailers share (RFC 9110 section 5): names, values, lines.
"""

from __future__ import annotations

import re

NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# A value is visible characters, space, tab and obs-text (RFC 9110 5.5).
VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
FIELD = NAME + rb":" + VALUE + rb"\r\n"
"""One line of a field, its end included."""

isFieldLine = re.compile(NAME + rb":" + VALUE).fullmatch
isToken = re.compile(NAME).fullmatch

# What concerns one connection only (RFC 9110 7.6.1); Transfer-Encoding is
# written anew by whoever sends. HTTP2-Settings goes with an h2c upgrade, which
# RFC 9113 has ended and which would carry requests past all rules.
HOP_BY_HOP = (
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding",
    b"upgrade", b"http2-settings",
)  # fmt: skip


def whyField(line: bytes) -> str:
    """What is wrong with a line that is no field, in words for the log."""
    name, colon, _ = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "a folded line"
    if not colon:
        return "a field without a colon"
    if name.endswith((b" ", b"\t")):
        return "space before the colon of a field"
    if isToken(name) is None:
        return "a field name that is not a token"
    return "a control character in a field"
