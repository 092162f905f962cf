"""
The check C{mysql}: MySQL or MariaDB greets and, where a user is given, lets him in, and has
the role that is wanted.

As in HAProxy the user has no password, and should have no rights either. The packets are
those of MySQL's client/server protocol, "Connection Phase" and "Text Protocol".
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Exactly, Talk, TalkCheck, Unfit, Want
from lbtwist.health import Result
from lbtwist.options import Text, Word, option

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
_QUESTION = b"\3select @@global.read_only"
_ROLES = ("primary", "replica")
# MariaDB has words for it from 12 on, and several that mean read-only.
_WRITABLE = (b"0", b"OFF")


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
        role: str = option(
            Word("any", "tell", *_ROLES),
            "any",
            "What the server has to be by its read_only; tell takes what it is, any does not ask.",
        )

        def __attrs_post_init__(self) -> None:
            if self.role != "any" and not self.user:
                raise ValueError("role says nothing without user")

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
            if self.options.role != "any":
                role = yield from self._role()
                detail = f"{shown(version)}, its role is {role}"
                yield _QUIT
                passed = self.options.role in ("tell", role)
                return Result(passed, "L7OK" if passed else "L7STS", detail, role=role)
            yield _QUIT
        return Result(True, "L7OK", shown(version))

    def _role(self) -> Generator[bytes | Want, Any, str]:
        """Ask whether the server is read-only, and read the one row of the answer."""
        what = "answer to the query"
        yield _framed(0, _QUESTION)
        _, columns = yield from _packet(what)
        yield from _packet(what)
        _, end = yield from _packet(what)
        _, row = yield from _packet(what)
        if columns != b"\1" or end[0] != _SWITCH or row[0] != len(row) - 1:
            raise Unfit("the query is not answered as MySQL does")
        yield from _packet(what)
        return _ROLES[row[1:] not in _WRITABLE]
