"""
A look at the ServerHello of TLS (RFC 5246 section 7.4.1.3, RFC 8446 section 4.1.3): the
version that a server has chosen, and the session that it gives the client.

The reader is given what comes from a server, piece by piece, and keeps what it still needs;
the client gets the same bytes and judges what is not looked at here.

Not here: TLS itself.
"""

from __future__ import annotations

import struct

import attr

from lbtwist.errors import BadServerHello

LIMIT = 5 + 16384
"""The most bytes that are looked at: one record that is full."""

_RECORD = struct.Struct(">BBBH")
_EXTENSION = struct.Struct(">HH")
_HANDSHAKE = 22
_MAX_RECORD = 16384
_SERVER_HELLO = 2
_SUPPORTED_VERSIONS = 43


@attr.frozen
class ServerHello:
    """
    What a server has chosen.

    @ivar version: of TLS, such as C{0x0303}.
    @ivar session: the session's id; C{b""} where it cannot be resumed by one. From TLS 1.3
        on it only is what the client has sent.
    """

    version: int
    session: bytes


class ServerHelloReader:
    """
    Reads one ServerHello, however it is cut into records; what follows it in them is not
    looked at.
    """

    __slots__ = ("_data", "_hello", "_message", "_size")

    def __init__(self) -> None:
        self._data = bytearray()
        self._message = bytearray()
        self._size = 0
        self._hello: ServerHello | None = None

    def read(self, data: bytes) -> ServerHello | None:
        """
        @param data: what has come after that of the calls before.
        @return: the hello, or L{None} if it is not complete and may become good.
        @raise BadServerHello: if it cannot become one.
        """
        if self._hello is None:
            self._data += data[: max(LIMIT - self._size, 0)]
            self._size += len(data)
            while self._takeRecord():
                pass
            if self._hello is None and self._size >= LIMIT:
                raise BadServerHello(f"the ServerHello is not within {LIMIT} bytes")
        return self._hello

    def _takeRecord(self) -> bool:
        """@return: whether there may be another record."""
        data, message = self._data, self._message
        if data and data[0] != _HANDSHAKE:
            raise BadServerHello("no record of a handshake")
        if len(data) > 1 and data[1] != 3:
            raise BadServerHello("a record of no version of TLS")
        if len(data) < 5:
            return False
        length = _RECORD.unpack_from(data)[3]
        if not 0 < length <= _MAX_RECORD:
            raise BadServerHello("a record that is empty or longer than allowed")
        if len(data) > 5 and not message and data[5] != _SERVER_HELLO:
            raise BadServerHello("a handshake that does not begin with a ServerHello")
        if len(data) < 5 + length:
            return False
        message += data[5 : 5 + length]
        del data[: 5 + length]
        if len(message) < 4:
            return True
        end = 4 + int.from_bytes(message[1:4], "big")
        if end > LIMIT:
            raise BadServerHello("a ServerHello that is too long")
        if len(message) < end:
            return True
        self._hello = _parse(bytes(message[:end]))
        data.clear()
        message.clear()
        return False


def _parse(message: bytes) -> ServerHello:
    """@param message: the handshake message with its type and length."""
    if len(message) < 39 or message[4] != 3:
        raise BadServerHello("a ServerHello that is too short or of no version of TLS")
    at = 39 + message[38]
    session = message[39:at]
    if message[38] > 32:
        raise BadServerHello("a session id of more than 32 bytes")
    # The cipher suite, and how it is compressed.
    at += 3
    if at > len(message):
        raise BadServerHello("a ServerHello that is cut off")
    version = message[4] << 8 | message[5]
    if at < len(message):
        selected = _selected(message, at)
        if selected is not None:
            version = selected
    return ServerHello(version, session)


def _selected(message: bytes, at: int) -> int | None:
    """
    @param at: where the extensions begin.
    @return: the version that one of them names (RFC 8446 section 4.2.1), if one does.
    """
    end = len(message)
    if at + 2 + int.from_bytes(message[at : at + 2], "big") != end:
        raise BadServerHello("a list of extensions that does not fill its message")
    at += 2
    selected = None
    while at < end:
        begin = at + 4
        if begin > end:
            raise BadServerHello("an extension that is cut off")
        kind, length = _EXTENSION.unpack_from(message, at)
        at = begin + length
        if at > end:
            raise BadServerHello("an extension that is cut off")
        if kind == _SUPPORTED_VERSIONS:
            if length != 2 or selected is not None:
                raise BadServerHello("not one version that was selected")
            selected = int.from_bytes(message[begin:at], "big")
    return selected
