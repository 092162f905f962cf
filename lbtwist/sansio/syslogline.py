"""
What syslog is made of: RFC 5424, RFC 3164, and how messages are told apart in a stream
(RFC 6587).

    <134>1 2009-02-06T12:14:14.655+01:00 lb1 lbtwist 4711 access - 10.0.1.2:33317 [...
    <134>Feb  6 12:14:14 lb1 lbtwist[4711]: 10.0.1.2:33317 [...

Text in, bytes out. Not here: which severity an exchange has (L{lbtwist.sampling}), and who
sends (L{lbtwist.syslog}).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
    "auth2", "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3",
    "local4", "local5", "local6", "local7",
)  # fmt: skip
"""By their numbers (RFC 5424 section 6.2.1), in HAProxy's words."""

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""By their numbers, the worst first."""

CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(2, 8)

RFC5424 = "rfc5424"
RFC3164 = "rfc3164"
LOCAL = "local"
RAW = "raw"

FORMS = (RFC5424, RFC3164, LOCAL, RAW)
"""
What stands before a line: C{local} is RFC 3164 without the host's name, as syslog(3) sends it
to its own machine; C{raw} is nothing at all.
"""

LENGTHS = {"hostname": 255, "app-name": 48, "procid": 128, "msgid": 32, "sd-id": 32}
"""The most characters of each (RFC 5424 section 6)."""

NIL = "-"

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_PRINTED = re.compile(r"[!-~]+")
_SD_NAME = re.compile(r'[!#-<>-\\^-~]+')


def printed(text: str, most: int) -> str:
    """
    @return: text as it may stand in the head of a message: what is not visible ASCII is C{?},
        and no more characters than C{most}.
    """
    return re.sub(r"[^!-~]", "?", text[:most]) or NIL


def wrongIn(name: str, text: str) -> str | None:
    """
    @param name: one of L{LENGTHS}.
    @return: what is wrong with a text for it.
    """
    most = LENGTHS[name]
    pattern = _SD_NAME if name == "sd-id" else _PRINTED
    if pattern.fullmatch(text) is None:
        also = ', and no = ] or "' if name == "sd-id" else ""
        return f"{text!r} is not acceptable: visible ASCII characters alone{also}"
    if len(text) > most:
        return f"it is longer than {most} characters"
    return None


def priorities(facility: str) -> tuple[str, ...]:
    """@return: what a message begins with, by its severity."""
    number = FACILITIES.index(facility)
    return tuple(f"<{8 * number + severity}>" for severity in range(len(SEVERITIES)))


def oldDate(second: int) -> str:
    """C{Feb  6 12:14:14}, in local time (RFC 3164 section 4.1.2), never in a locale's words."""
    at = time.localtime(second)
    return f"{_MONTHS[at[1] - 1]} {at[2]:2d} {at[3]:02d}:{at[4]:02d}:{at[5]:02d}"


# messages

_CONTROL = {code: f"#{code:03o}" for code in (*range(32), *range(127, 160))}


def messages(lines: Sequence[str], most: int) -> list[bytes]:
    """
    @param lines: at least one.
    @param most: bytes of a message; the rest is cut off, at the end of a character.
    @return: as they are sent. Control characters are C{#} and three octal digits, as rsyslog
        writes them: no line ends another one, and NUL ends none.
    """
    whole = "".join(lines)
    if whole.isascii() and whole.isprintable():
        return [line[:most].encode("ascii") for line in lines]
    return [_cut(line.translate(_CONTROL), most) for line in lines]


def _cut(line: str, most: int) -> bytes:
    data = line[:most].encode("utf-8", "backslashreplace")
    if len(data) > most:
        data = data[:most].decode("utf-8", "ignore").encode()
    return data


def counted(message: bytes) -> bytes:
    """@return: by octet counting (RFC 6587 section 3.4.1)."""
    return b"%d %b" % (len(message), message)


def ended(message: bytes) -> bytes:
    """@return: with its end (RFC 6587 section 3.4.2): there are no line ends inside."""
    return message + b"\n"
