"""
The check C{ldap}: an anonymous bind succeeds (RFC 4511 section 4.2).

BER is written and read by hand, as little of it as a bind needs (RFC 4511 section 5.1:
definite lengths only, so everything is bounded before it is read).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import attr

from lbtwist.checks.probe import shown
from lbtwist.checks.talk import Exactly, Talk, TalkCheck, Unfit, Want
from lbtwist.health import Result

if TYPE_CHECKING:
    from lbtwist.server import Server

# LDAPMessage 1, BindRequest: version 3, no name, simple with no password.
_BIND = bytes.fromhex("300c020101 6007020103 0400 8000")
_UNBIND = bytes.fromhex("3005020102 4200")
_LONGEST = 16384
_WHAT = "answer to the bind"

_SEQUENCE, _INTEGER, _OCTETS, _ENUMERATED = 0x30, 0x02, 0x04, 0x0A
_BIND_RESPONSE, _EXTENDED_RESPONSE = 0x61, 0x78

_CODES = {
    1: "operationsError", 2: "protocolError", 8: "strongerAuthRequired", 48:
    "inappropriateAuthentication", 49: "invalidCredentials", 50: "insufficientAccessRights",
    51: "busy", 52: "unavailable", 53: "unwillingToPerform",
}  # fmt: skip


def _length(first: int, more: bytes) -> int:
    """@raise Unfit: if it is none of LDAP."""
    if first < 0x80:
        return first
    if not more:
        raise Unfit("a length that is not LDAP's")
    return int.from_bytes(more, "big")


def _message() -> Generator[Want, bytes, bytes]:
    """@return: what is inside one LDAPMessage."""
    tag, first = yield Exactly(_WHAT, 2)
    if tag != _SEQUENCE or first in (0x80, 0xFF) or first > 0x84:
        raise Unfit("this is not LDAP")
    more = b""
    if first > 0x80:
        more = yield Exactly(_WHAT, first & 0x7F)
    size = _length(first, more)
    if size > _LONGEST:
        raise Unfit(f"a message of {size} bytes: more than {_LONGEST}")
    content = yield Exactly(_WHAT, size)
    return content


def _element(data: bytes, wanted: int) -> tuple[bytes, bytes]:
    """
    @return: the content of the first element, and what comes after it.
    @raise Unfit: if it is not whole, or not of the kind that is wanted.
    """
    if len(data) < 2 or data[0] != wanted:
        raise Unfit("this is no answer to a bind")
    begin = 2 + (data[1] & 0x7F if data[1] > 0x80 else 0)
    size = _length(data[1], data[2:begin])
    if len(data) < begin + size:
        raise Unfit("an element is longer than the message it is in")
    return data[begin : begin + size], data[begin + size :]


def read(content: bytes) -> tuple[int, bytes]:
    """
    @param content: of an LDAPMessage.
    @return: the result's code, and what the server says about it.
    @raise Unfit: if it is none that has a result.
    """
    _number, operation = _element(content, _INTEGER)
    # A server that closes says so unasked (RFC 4511 section 4.4.1).
    wanted = _EXTENDED_RESPONSE if operation[:1] == b"\x78" else _BIND_RESPONSE
    response, _controls = _element(operation, wanted)
    code, rest = _element(response, _ENUMERATED)
    _matched, rest = _element(rest, _OCTETS)
    diagnosis, _ = _element(rest, _OCTETS)
    if len(code) != 1:
        raise Unfit("a result that is not LDAP's")
    if wanted == _EXTENDED_RESPONSE and not code[0]:
        raise Unfit("this is no answer to a bind")
    return code[0], diagnosis


class LDAPCheck(TalkCheck):
    """C{check = ldap}: passes where an anonymous bind does."""

    @attr.frozen
    class Options:
        """It has none."""

    def talk(self, server: Server) -> Talk:
        yield _BIND
        code, diagnosis = read((yield from _message()))
        if code:
            name = _CODES.get(code, "result")
            raise Unfit(f"{name} ({code}) {shown(diagnosis)}".strip(), "L7STS")
        yield _UNBIND
        return Result(True, "L7OK", "success")
