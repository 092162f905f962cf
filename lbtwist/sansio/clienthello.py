"""
A look at the ClientHello of TLS (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2):
the name asked for, ALPN, versions, and what certificates the client can verify.

The reader is made for peeking: it is given all that has come so far, and again with
more. Nothing is taken out of the connection; OpenSSL, or the server behind a tunnel,
reads the same bytes and judges what is not looked at here.

Not here: TLS itself, QUIC, DTLS, and SSLv2, which is only known by its looks.
"""

from __future__ import annotations

import re
import struct
from socket import AF_INET, AF_INET6, inet_pton

import attr

from lbtwist.errors import BadClientHello
from lbtwist.sansio.proxyheader import begins as beginsProxyHeader

LIMIT = 5 + 16384
"""The most bytes of a hello and the headers of its records: one record that is full."""
MAX_EXTENSIONS = 64

TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304
SECP256R1, SECP384R1, SECP521R1 = 23, 24, 25

_RECORD = struct.Struct(">BBBH")
_EXTENSION = struct.Struct(">HH")
_HANDSHAKE = 22
_MAX_RECORD = 16384
_CLIENT_HELLO = 1

_SERVER_NAME = 0
_SUPPORTED_GROUPS = 10
_SIGNATURE_ALGORITHMS = 13
_ALPN = 16
_SESSION_TICKET = 35
_PRE_SHARED_KEY = 41
_SUPPORTED_VERSIONS = 43

# Values that mean nothing, so that servers stay used to what they do not know (RFC 8701).
_GREASE = frozenset(n << 12 | 0xA00 | n << 4 | 0xA for n in range(16))

# TLS_ECDHE_ECDSA_*, all that IANA has registered.
_ECDHE_ECDSA = frozenset(
    (0xC006, 0xC007, 0xC008, 0xC009, 0xC00A, 0xC023, 0xC024, 0xC02B, 0xC02C, 0xC048, 0xC049,
     0xC05C, 0xC05D, 0xC072, 0xC073, 0xC086, 0xC087, 0xC0AC, 0xC0AD, 0xC0AE, 0xC0AF, 0xCCA9)
)  # fmt: skip
# TLS 1.3 names the curve with the scheme (RFC 8446 section 4.2.3); TLS 1.2 does not.
_SCHEMES = {SECP256R1: 0x0403, SECP384R1: 0x0503, SECP521R1: 0x0603}
_ECDSA_SCHEMES = frozenset((0x0203, 0x0303, 0x0403, 0x0503, 0x0603))

_isName = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}+\.)*+[A-Za-z0-9_-]{1,63}").fullmatch
_LONGEST_NAME = 253
_isRequest = re.compile(rb"[A-Z]{1,20}(?: |\Z)").match


@attr.frozen
class ClientHello:
    """
    What a client says of itself before anything is agreed on. Values that RFC 8701
    made up are left out.

    @ivar sni: the name asked for, in lower case and without a dot at its end; C{""}
        without one, and where it is an address, which is no name (RFC 6066 section 3).
    @ivar alpn: the protocols offered, the preferred first.
    @ivar versions: those offered, such as C{0x0304}, the preferred first; of a client
        that does not list them the highest alone.
    @ivar cipherSuites: by IANA's numbers, the preferred first.
    @ivar signatureAlgorithms: likewise; empty where the client does not say.
    @ivar groups: likewise.
    @ivar ticket: the client would resume with a session ticket (RFC 5077).
    @ivar psk: the client would resume, or has a key (RFC 8446 section 4.2.11).
    @ivar session: the id of the session that it would resume, or whatever a client of TLS
        1.3 has made up instead (RFC 8446 section 4.1.2); C{b""} for neither.
    @ivar size: the bytes of the hello with the headers of its records.
    """

    sni: str
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]
    cipherSuites: tuple[int, ...]
    signatureAlgorithms: tuple[int, ...]
    groups: tuple[int, ...]
    ticket: bool
    psk: bool
    session: bytes
    size: int

    @property
    def ecdsa(self) -> bool:
        """Whether the client can verify an ECDSA certificate of the usual P-256."""
        return self.verifiesECDSA(SECP256R1)

    def verifiesECDSA(self, group: int) -> bool:
        """
        Whether the client can verify a certificate with a key on this curve, in one of
        the versions that it offers.

        @param group: L{SECP256R1}, L{SECP384R1} or L{SECP521R1}.
        """
        signatures = self.signatureAlgorithms
        if TLS13 in self.versions and _SCHEMES[group] in signatures:
            return True
        # A client that says nothing may be taken to know all (RFC 8422 section 4, RFC
        # 5246 section 7.4.1.4.1).
        return (
            any(version <= TLS12 for version in self.versions)
            and not _ECDHE_ECDSA.isdisjoint(self.cipherSuites)
            and not (signatures and _ECDSA_SCHEMES.isdisjoint(signatures))
            and not (self.groups and group not in self.groups)
        )


def read(data: bytes, limit: int = LIMIT) -> ClientHello | None:
    """
    Read the ClientHello that C{data} begins with, once; see L{HelloReader}.

    @param limit: the most bytes of the hello, the headers of its records among them.
    @return: the hello, or L{None} if it is not complete and may become good.
    @raise BadClientHello: if it cannot become one.
    """
    return HelloReader(limit).read(data)


class HelloReader:
    """
    Reads one ClientHello, however it is cut into records; each byte is looked at a
    fixed number of times, however often it is peeked at.

    @ivar wanted: how many bytes must have come before another look can tell more.
    """

    __slots__ = ("wanted", "_limit", "_at", "_message", "_hello")

    def __init__(self, limit: int = LIMIT) -> None:
        self.wanted = 1
        self._limit = limit
        self._at = 0
        self._message = bytearray()
        self._hello: ClientHello | None = None

    def read(self, data: bytes) -> ClientHello | None:
        """
        @param data: everything that has come, from the first byte on.
        @return: the hello, or L{None} if it is not complete and may become good.
        @raise BadClientHello: if it cannot become one.
        """
        if self._hello is None and len(data) >= self.wanted:
            if self._at == 0:
                self._checkBeginning(data)
            while self._takeRecord(data):
                pass
        return self._hello

    def _checkBeginning(self, data: bytes) -> None:
        if data[0] != _HANDSHAKE or data[1:2] not in (b"", b"\3"):
            raise _notTLS(data)
        if len(data) > 5 and data[5] != _CLIENT_HELLO:
            raise BadClientHello("a handshake that does not begin with a ClientHello")

    def _takeRecord(self, data: bytes) -> bool:
        """@return: whether there may be another record."""
        have, at = len(data), self._at
        if have < at + 5:
            self.wanted = have + 1
            if have > at and data[at] != _HANDSHAKE:
                raise BadClientHello("a record of another kind within the ClientHello")
            return False
        kind, major, _, length = _RECORD.unpack_from(data, at)
        if kind != _HANDSHAKE or major != 3:
            raise BadClientHello("a record of another kind within the ClientHello")
        if not 0 < length <= _MAX_RECORD:
            raise BadClientHello("a record that is empty or longer than allowed")
        begin, end = at + 5, at + 5 + length
        message = self._message
        whole = bytes(message[:4]) + data[begin : min(end, begin + 4)]
        if len(whole) >= 4:
            missing = 4 + int.from_bytes(whole[1:4], "big") - len(message) - length
            if missing < 0:
                raise BadClientHello("more in the last record than the ClientHello")
            if missing:
                # It takes another record at least.
                missing += 5
        else:
            missing = 0
        if end + missing > self._limit:
            raise BadClientHello(f"the ClientHello is longer than {self._limit} bytes")
        if have < end:
            self.wanted = end if len(whole) >= 4 else have + 1
            return False
        message += data[begin:end]
        self._at = end
        if len(whole) >= 4 and not missing:
            self._hello = _parse(bytes(message), end)
            message.clear()
            return False
        return True


def _notTLS(data: bytes) -> BadClientHello:
    if beginsProxyHeader(data):
        return BadClientHello("a PROXY header, which is not expected here", "proxy")
    if _isRequest(data) is not None:
        return BadClientHello("an HTTP request without TLS", "http")
    if data[0] & 0x80 and data[2:3] == b"\1":
        return BadClientHello("a hello of SSLv2, which is not spoken", "sslv2")
    if data[0] in (20, 21, 23) and data[1:2] in (b"", b"\3"):
        return BadClientHello("a record of TLS that is no handshake")
    return BadClientHello("no TLS", "")


def _parse(message: bytes, size: int) -> ClientHello:
    """
    @param message: the handshake message with its type and length.
    @param size: the bytes that it took.
    """
    if len(message) < 38 or message[4] != 3:
        raise BadClientHello("a ClientHello that is too short or of no version of TLS")
    sessionId, at = _vector(message, 38, 1)
    if len(sessionId) > 32:
        raise BadClientHello("a session id of more than 32 bytes")
    suites, at = _vector(message, at, 2)
    compressions, at = _vector(message, at, 1)
    if not compressions:
        raise BadClientHello("no compression method, not even none")
    extensions: dict[int, bytes] = {}
    if at < len(message):
        block, at = _vector(message, at, 2)
        if at != len(message):
            raise BadClientHello("bytes after the extensions")
        extensions = _extensions(block)
    listed = extensions.get(_SUPPORTED_VERSIONS)
    # A client that means more than TLS 1.2 lists its versions (RFC 8446 section 4.2.1).
    versions = (
        (min(message[4] << 8 | message[5], TLS12),)
        if listed is None
        else _numbers(_only(listed, 1))
    )
    named = extensions.get(_SERVER_NAME)
    protocols = extensions.get(_ALPN)
    signatures = extensions.get(_SIGNATURE_ALGORITHMS)
    groups = extensions.get(_SUPPORTED_GROUPS)
    return ClientHello(
        "" if named is None else _serverName(_only(named, 2)),
        () if protocols is None else _protocols(_only(protocols, 2)),
        versions,
        _numbers(suites),
        () if signatures is None else _numbers(_only(signatures, 2)),
        () if groups is None else _numbers(_only(groups, 2)),
        bool(extensions.get(_SESSION_TICKET)),
        _PRE_SHARED_KEY in extensions,
        sessionId,
        size,
    )


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """@return: what comes after its length of C{width} bytes, and where it ends."""
    begin = at + width
    end = begin + int.from_bytes(data[at:begin], "big")
    if end > len(data):
        raise BadClientHello("a length in the ClientHello reaches beyond its end")
    return data[begin:end], end


def _only(data: bytes, width: int) -> bytes:
    """A vector that has to fill C{data}."""
    value, end = _vector(data, 0, width)
    if end != len(data):
        raise BadClientHello("bytes after the end of an extension's list")
    return value


def _extensions(block: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    size, at = len(block), 0
    while at < size:
        begin = at + 4
        if begin > size:
            raise BadClientHello("an extension that is cut off")
        kind, length = _EXTENSION.unpack_from(block, at)
        at = begin + length
        if at > size:
            raise BadClientHello("an extension that is cut off")
        if kind in found:
            raise BadClientHello("an extension that comes twice")
        if len(found) == MAX_EXTENSIONS:
            raise BadClientHello(f"more than {MAX_EXTENSIONS} extensions")
        found[kind] = block[begin:at]
    return found


def _numbers(data: bytes) -> tuple[int, ...]:
    if not data or len(data) % 2:
        raise BadClientHello("a list of numbers that is empty or cut off")
    numbers = struct.unpack(f">{len(data) // 2}H", data)
    if not _GREASE.isdisjoint(numbers):
        numbers = tuple(number for number in numbers if number not in _GREASE)
    return numbers


def _protocols(data: bytes) -> tuple[bytes, ...]:
    found = []
    at = 0
    while at < len(data):
        name, at = _vector(data, at, 1)
        if not name:
            raise BadClientHello("an empty name in ALPN")
        found.append(name)
    if not found:
        raise BadClientHello("an empty list in ALPN")
    return tuple(found)


def _serverName(data: bytes) -> str:
    """The one host name (RFC 6066 section 3)."""
    if data[:1] != b"\0":
        raise BadClientHello("a server name that is no host name")
    name, end = _vector(data, 1, 2)
    if end != len(data):
        raise BadClientHello("more than one server name")
    name = name.removesuffix(b".")
    if _isAddress(name):
        return ""
    if len(name) > _LONGEST_NAME or _isName(name) is None:
        raise BadClientHello("a server name that is not well formed")
    return name.decode("ascii").lower()


def _isAddress(name: bytes) -> bool:
    if b":" not in name and not name[-1:].isdigit():
        return False
    try:
        inet_pton(AF_INET6 if b":" in name else AF_INET, name.decode("ascii"))
    except (OSError, ValueError):
        return False
    return True
