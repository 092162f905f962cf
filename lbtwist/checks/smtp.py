"""
The check C{smtp}: a mail server greets, and answers an C{EHLO} (RFC 5321 section 4.1.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Line, Talk, TalkCheck, Unfit, Want
from lbtwist.health import Result
from lbtwist.options import HostName, option

if TYPE_CHECKING:
    from lbtwist.server import Server

_LINE = re.compile(rb"([2-5][0-9][0-9])([ -]|$)")


def _reply(what: str, wanted: bytes) -> Generator[Want, bytes, bytes]:
    """
    @return: the first line of a reply (RFC 5321 section 4.2).
    @raise Unfit: if its code is not the one that is wanted.
    """
    first = b""
    while True:
        line = yield Line(what)
        found = _LINE.match(line)
        if found is None or (first and found[1] != first[:3]):
            raise Unfit(f"the {what} is not SMTP: {shown(line)!r}")
        first = first or line
        if found[2] != b"-":
            break
    if first[:3] != wanted:
        raise Unfit(shown(first), "L7STS")
    return first


class SMTPCheck(TalkCheck):
    """C{check = smtp}: passes where the greeting is 220 and C{EHLO} is answered by 250."""

    @attr.frozen
    class Options:
        """Who we say we are."""

        hello: str = option(HostName(), "localhost", "The name in EHLO.", positional=True)

    def talk(self, server: Server) -> Talk:
        banner = yield from _reply("banner", b"220")
        yield f"EHLO {self.options.hello}\r\n".encode()
        yield from _reply("answer to EHLO", b"250")
        yield b"QUIT\r\n"
        yield from _reply("answer to QUIT", b"221")
        return Result(True, "L7OK", shown(banner))
