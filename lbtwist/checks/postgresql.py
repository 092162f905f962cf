"""
The check C{postgresql}: PostgreSQL takes a connection and, where that is asked for, lets a
user in and has the role that is wanted.

The messages are those of PostgreSQL's frontend/backend protocol 3.0. A user is let in by
trust, by a password in the clear or in MD5, or by SCRAM-SHA-256. Not here: certificates
(those are of TLS), GSSAPI, SSPI, and TLS that begins with an SSLRequest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Exactly, Talk, TalkCheck, Unfit, Want
from lbtwist.health import Result
from lbtwist.options import Secret, Text, Word, option
from lbtwist.sansio import scram

if TYPE_CHECKING:
    from lbtwist.server import Server

_VERSION = 196608
_LONGEST = 16384
_OURSELVES = "lbtwist"
_OK, _CLEAR, _MD5, _SASL, _CONTINUE, _FINAL = 0, 3, 5, 10, 11, 12
_ROLES = ("primary", "standby")
_QUESTION = b"select pg_catalog.pg_is_in_recovery()\0"
_END = b"X\0\0\0\4"
# Of SQLSTATE: who asks is not let in, which says that the server is there.
_REFUSES = b"28"


def _framed(kind: bytes, data: bytes) -> bytes:
    return kind + (len(data) + 4).to_bytes(4, "big") + data


def _startup(**parameters: str) -> bytes:
    words = "".join(f"{name}\0{value}\0" for name, value in parameters.items() if value)
    return _framed(b"", _VERSION.to_bytes(4, "big") + words.encode() + b"\0")


class _Refused(Unfit):
    """
    An ErrorResponse.

    @ivar code: its SQLSTATE.
    """

    def __init__(self, data: bytes) -> None:
        fields = {field[:1]: field[1:] for field in data.split(b"\0") if field}
        self.code = fields.get(b"C", b"")
        super().__init__(shown(self.code + b" " + fields.get(b"M", b"")), "L7STS")


def _message(what: str) -> Generator[Want, bytes, tuple[bytes, bytes]]:
    """
    @return: the type of a message, and what is in it.
    @raise Unfit: if it is an error, or none of PostgreSQL's.
    """
    head = yield Exactly(what, 5)
    size = int.from_bytes(head[1:], "big") - 4
    if not (head[:1].isalpha() and 0 <= size <= _LONGEST):
        raise Unfit("this is not PostgreSQL")
    data = yield Exactly(what, size)
    if head[:1] == b"E":
        raise _Refused(data)
    return head[:1], data


def _messageOf(what: str, *kinds: bytes) -> Generator[Want, bytes, tuple[bytes, bytes]]:
    """@return: the next message of one of these types."""
    while True:
        kind, data = yield from _message(what)
        if kind in kinds:
            return kind, data


def _badName(name: str) -> str | None:
    return "a NUL character" if "\0" in name else None


class PostgreSQLCheck(TalkCheck):
    """C{check = postgresql}: passes where a session can begin."""

    @attr.frozen
    class Options:
        """Who asks, and what the server has to be."""

        user: str = option(
            Text(), "", "Logs in; empty asks only whether the server is there.", check=_badName
        )
        password: str = option(Secret(), "", "The user's password.", check=_badName)
        database: str = option(Text(), "postgres", "The database of the session.", check=_badName)
        role: str = option(
            Word("any", "tell", *_ROLES),
            "any",
            "What the server has to be; tell takes what it is, any does not ask.",
        )

        def __attrs_post_init__(self) -> None:
            for name in ("password", "role"):
                if getattr(self, name) not in ("", "any") and not self.user:
                    raise ValueError(f"{name} says nothing without user")

    def talk(self, server: Server) -> Talk:
        options = self.options
        yield _startup(
            user=options.user or _OURSELVES,
            database=options.database if options.user else "",
            application_name=_OURSELVES,
        )
        if not options.user:
            return (yield from self._asksWhetherItIsThere())
        _, asked = yield from _messageOf("answer to the startup", b"R")
        if not (yield from self._authenticates(asked)):
            return Result(True, "L7OK", "asks for a password")
        yield from _messageOf("session", b"Z")
        detail = "ready"
        role = None
        if options.role != "any":
            yield _framed(b"Q", _QUESTION)
            _, row = yield from _messageOf("answer to the query", b"D")
            if row not in (b"\0\1\0\0\0\1t", b"\0\1\0\0\0\1f"):
                raise Unfit("the query is not answered as PostgreSQL does")
            detail = role = "standby" if row[-1:] == b"t" else "primary"
            if options.role not in ("tell", role):
                return Result(False, "L7STS", f"its role is {role}", role=role)
        yield _END
        return Result(True, "L7OK", detail, role=role)

    def _asksWhetherItIsThere(self) -> Talk:
        try:
            yield from _messageOf("answer to the startup", b"R")
        except _Refused as refused:
            if not refused.code.startswith(_REFUSES):
                raise
        return Result(True, "L7OK", "")

    def _authenticates(self, asked: bytes) -> Generator[bytes | Want, Any, bool]:
        """
        @param asked: the first authentication message.
        @return: whether the user was let in; not, if there is no password to show.
        """
        options = self.options
        how = int.from_bytes(asked[:4], "big")
        if how == _OK:
            return True
        if not options.password:
            if options.role != "any":
                raise Unfit("asks for a password: write password=", "L7STS")
            return False
        password = options.password.encode()
        if how == _CLEAR:
            yield _framed(b"p", password + b"\0")
        elif how == _MD5 and len(asked) == 8:
            inner = _md5(password + options.user.encode())
            yield _framed(b"p", b"md5" + _md5(inner + asked[4:]) + b"\0")
        elif how == _SASL and scram.MECHANISM.encode() in asked[4:].split(b"\0"):
            yield from self._scram()
        else:
            raise Unfit(f"asks for a way of authentication that is not known: {how}")
        _, asked = yield from _messageOf("answer to the password", b"R")
        if int.from_bytes(asked[:4], "big") != _OK:
            raise Unfit("the password is not answered as PostgreSQL does")
        return True

    def _scram(self) -> Generator[bytes | Want, Any, None]:
        client = scram.Client(self.options.password, secrets.token_urlsafe(18))
        first = client.first
        mechanism = scram.MECHANISM.encode() + b"\0"
        yield _framed(b"p", mechanism + len(first).to_bytes(4, "big") + first)
        try:
            yield _framed(b"p", client.final((yield from _said(_CONTINUE))))
            client.verify((yield from _said(_FINAL)))
        except scram.BadSCRAM as wrong:
            raise Unfit(wrong.reason) from None


def _said(wanted: int) -> Generator[Want, bytes, bytes]:
    """@return: what an authentication message of this kind says."""
    _, data = yield from _messageOf("answer to the password", b"R")
    if int.from_bytes(data[:4], "big") != wanted:
        raise Unfit("the password is not answered as PostgreSQL does")
    return data[4:]


def _md5(data: bytes) -> bytes:
    # PostgreSQL's own way, and not by our choice.
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
