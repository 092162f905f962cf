r"""
The check C{tcp}: a connection can be made and, where that is asked for, the server answers
in some steps: C{tcp send="PING\r\n" expect=+PONG send="QUIT\r\n" expect=+OK}.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import attr
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lbtwist.checks.probe import Probe
from lbtwist.checks.talk import LONGEST_LINE, Conversation, Line, Talk, Unfit, Want
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck
from lbtwist.options import Kind, Pattern, option, written

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Server

LONGEST = 4096
"""Bytes that one step sends, or looks for."""

_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.?))", re.S)
_ESCAPED = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def bytesOf(text: str) -> bytes:
    r"""
    @param text: C{hex:} and digits, or text in which C{\r \n \t \0 \\ \x00} stand for bytes;
        C{text:} before it takes other prefixes as they are.
    @raise ValueError: with what is wrong.
    """
    digits = text.removeprefix("hex:")
    if digits != text:
        try:
            found = bytes.fromhex(digits)
        except ValueError:
            raise ValueError(f"{digits[:40]!r} is not pairs of hexadecimal digits") from None
    else:
        text = text.removeprefix("text:")
        pieces = []
        end = 0
        for escape in _ESCAPE.finditer(text):
            code, char = escape.groups()
            if code is None and char not in _ESCAPED:
                raise ValueError(rf"\{char} is not known; known are \r \n \t \0 \\ and \x00")
            pieces.append(text[end : escape.start()].encode())
            pieces.append(bytes.fromhex(code) if code else _ESCAPED[char])
            end = escape.end()
        found = b"".join([*pieces, text[end:].encode()])
    if not 0 < len(found) <= LONGEST:
        raise ValueError(f"{len(found)} bytes; from 1 to {LONGEST} are accepted")
    return found


class Sent(Kind[tuple[bytes, ...]]):
    """What one step sends."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[bytes, ...]:
        return (bytesOf(text),)


@attr.frozen
class Expected:
    """
    What one step waits for.

    @ivar written: as it is written, for people.
    @ivar data: bytes anywhere in what comes.
    @ivar pattern: instead of them, what is found in a line.
    @ivar absent: the next line has not got it.
    """

    written: str
    data: bytes = b""
    pattern: re.Pattern[str] | None = None
    absent: bool = False

    def isIn(self, line: bytes) -> bool:
        if self.pattern is not None:
            return self.pattern.search(line.decode("utf-8", "replace")) is not None
        return self.data in line


class Expecting(Kind[tuple[Expected, ...]]):
    """C{TEXT}, C{hex:DIGITS} or C{re:REGEX}, with C{!} before it for its absence."""

    form = "TEXT"
    repeats = True

    def parse(self, text: str) -> tuple[Expected, ...]:
        wanted = text.removeprefix("!")
        absent = wanted != text
        if wanted.startswith("re:"):
            return (Expected(text, pattern=Pattern().parse(wanted[3:]), absent=absent),)
        return (Expected(text, bytesOf(wanted), absent=absent),)


@attr.frozen
class _Found(Want):
    """Bytes, wherever they are in what comes; what is before them is taken with them."""

    what: str
    data: bytes

    def take(self, heard: bytearray, ended: bool) -> bytes | None:
        at = heard.find(self.data)
        if at < 0:
            return None
        del heard[: at + len(self.data)]
        return self.data


class _Connects(Probe):
    """Is content with a connection, and a handshake where there is one."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def connected(self) -> None:
        transport = self.transport
        if transport.unsent or not transport.plain:
            # A reset would keep it from the server: the PROXY header, or the end of TLS.
            self.transport = None
            transport.loseConnection()
        self.finish(True, "L4OK" if self._server.tls is None else "L6OK", "")


@implementer(IHealthCheck)
class TCPCheck:
    """
    C{check = tcp}: passes where a connection can be made, and each step succeeds.
    """

    @attr.frozen
    class Options:
        """
        What is sent, and what has to come.

        @ivar order: C{send} and C{expect} in the order of the steps; by default all that is
            sent is before all that is expected.
        """

        send: tuple[bytes, ...] = option(Sent(), (), "A step: send this; may come again.")
        expect: tuple[Expected, ...] = option(
            Expecting(), (), "A step: wait for this; may come again."
        )
        order: tuple[str, ...] = written()

    def __init__(self, options: Options, context: Context) -> None:
        self._reactor = context.reactor
        order = options.order or ("send",) * len(options.send) + ("expect",) * len(options.expect)
        queues: dict[str, Iterator[Any]] = {
            "send": iter(options.send), "expect": iter(options.expect),
        }  # fmt: skip
        self._steps: list[bytes | Expected] = [next(queues[name]) for name in order]

    def check(self, server: Server) -> Deferred[Result]:
        if not self._steps:
            return _Connects(server).start(server, self._reactor)
        return Conversation(self.talk()).start(server, self._reactor)

    def talk(self) -> Talk:
        """The steps, one after the other."""
        for step in self._steps:
            if isinstance(step, bytes):
                yield step
            else:
                yield from _expects(step)
        return Result(True, "L7OK", "")


def _expects(step: Expected) -> Generator[Want, bytes, None]:
    what = f"text {step.written!r:.80}"
    if step.pattern is None and not step.absent:
        yield _Found(what, step.data)
        return
    while True:
        line = yield Line(what, LONGEST_LINE, orEnd=True)
        if step.absent:
            if step.isIn(line):
                raise Unfit(f"there is what must not be: {step.written[1:]!r:.80}")
            return
        if step.isIn(line):
            return
