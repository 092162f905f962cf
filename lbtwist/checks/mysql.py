"""
The check C{mysql}: MySQL or MariaDB greets and, where a user is given, lets him in.

As in HAProxy the user has no password, and should have no rights either. The packets are
those of MySQL's client/server protocol, "Connection Phase".
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Exactly, Talk, TalkCheck, Unfit, Want
from lbtwist.health import Result
from lbtwist.options import Text, option

if TYPE_CHECKING:
    from lbtwist.server import Server

_VERSION = 10
_OK, _SWITCH, _ERROR = 0x00, 0xFE, 0xFF
_LONGEST = 4096
_PLUGIN = b"mysql_native_password"
# LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH.
_CAPABILITIES = 0x0008A201
_UTF8 = 33
_QUIT = b"\1\0\0\0\1"


def _packet(what: str) -> Generator[Want, bytes, tuple[int, bytes]]:
    """
    @return: the number of a packet, and what is in it.
    @raise Unfit: if it is an error, or longer than any that comes before a query.
    """
    head = yield Exactly(what, 4)
    size = int.from_bytes(head[:3], "little")
    if not 0 < size <= _LONGEST:
        raise Unfit(f"a packet of {size} bytes: this is not MySQL")
    data = yield Exactly(what, size)
    if data[0] == _ERROR:
        code = int.from_bytes(data[1:3], "little")
        words = data[3:]
        if words[:1] == b"#":
            words = words[6:]
        raise Unfit(f"{code} {shown(words)}".strip(), "L7STS")
    return head[3], data


def _login(user: str) -> bytes:
    """HandshakeResponse41, with an empty password."""
    return b"".join((
        _CAPABILITIES.to_bytes(4, "little"), (1 << 24).to_bytes(4, "little"), bytes((_UTF8,)),
        bytes(23), user.encode(), b"\0\0", _PLUGIN, b"\0",
    ))  # fmt: skip


def _framed(number: int, data: bytes) -> bytes:
    return len(data).to_bytes(3, "little") + bytes((number & 0xFF,)) + data


def _badUser(user: str) -> str | None:
    if "\0" in user or len(user.encode()) > 128:
        return f"{user[:40]!r} is not the name of a user"
    return None


class MySQLCheck(TalkCheck):
    """C{check = mysql}: passes where the server greets, and lets the user in."""

    @attr.frozen
    class Options:
        """Who logs in."""

        user: str = option(
            Text(), "", "Logs in, without a password; empty only waits to be greeted.",
            check=_badUser,
        )  # fmt: skip

    def talk(self, server: Server) -> Talk:
        number, greeting = yield from _packet("handshake")
        version, end, _ = greeting[1:].partition(b"\0")
        if greeting[0] != _VERSION or not end:
            raise Unfit("this is not the handshake of MySQL")
        if self.options.user:
            yield _framed(number + 1, _login(self.options.user))
            number, answer = yield from _packet("answer to the login")
            if answer[0] == _SWITCH:
                # Whatever the method is: this is how no password is said in it.
                yield _framed(number + 1, b"")
                number, answer = yield from _packet("answer to the login")
            if answer[0] != _OK:
                raise Unfit("the login is not answered as MySQL does")
            yield _QUIT
        return Result(True, "L7OK", shown(version))
