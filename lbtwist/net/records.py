"""
The two calls of OpenSSL that every request makes: read a record, write records.

pyOpenSSL's own make a buffer for each read and look for an error after each success,
which takes half as long again as the record does. These differ in that only; what is no
success is pyOpenSSL's to tell, with its exceptions.

Not here: what becomes of the data (L{lbtwist.net.tls}).
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

RECORD = 16384
"""The most payload of one TLS record (RFC 8446 section 5.1): a read that takes as much
leaves nothing decrypted behind, where no event would tell of it."""

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]
_read = _lib.SSL_read
_write = _lib.SSL_write
_pointer = _ffi.from_buffer
# Of all connections: what it holds is taken out before anything else can run.
_room = _ffi.new("char[]", RECORD)
_held = _ffi.buffer(_room)


def read(connection: Any) -> bytes:
    """
    @param connection: an C{SSL.Connection} whose handshake is done.
    @return: the payload of a record, at least a byte.
    @raise SSL.Error: as C{SSL.Connection.recv} does.
    """
    ssl = connection._ssl
    size = _read(ssl, _room, RECORD)
    if size <= 0:
        connection._raise_ssl_error(ssl, size)
    return _held[:size]  # type: ignore[no-any-return]


def write(connection: Any, data: Any) -> int:
    """
    @param connection: an C{SSL.Connection} whose handshake is done.
    @param data: not empty. What was refused has to come again, or more that begins with it.
    @return: how much of it was taken; if not all, the socket is full.
    @raise SSL.Error: as C{SSL.Connection.send} does. That the socket is full is one only
        if nothing was taken.
    """
    ssl = connection._ssl
    size = len(data)
    sent: int
    if size <= RECORD and type(data) is bytes:
        sent = _write(ssl, data, size)
        if sent <= 0:
            connection._raise_ssl_error(ssl, sent)
        return sent
    start = _pointer(data)
    sent = 0
    while sent < size:
        # A call writes one record.
        taken = _write(ssl, start + sent, min(size - sent, RECORD))
        if taken <= 0:
            try:
                connection._raise_ssl_error(ssl, taken)
            except (SSL.WantWriteError, SSL.WantReadError):
                if not sent:
                    raise
                return sent
        sent += taken
    return sent
