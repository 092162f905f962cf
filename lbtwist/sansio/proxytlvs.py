"""
What a PROXY header of version 2 says beyond addresses: TLVs (sections 2.2 to 2.2.8 of
HAProxy's C{doc/proxy-protocol.txt}), what they say of TLS, and the checksum.

Not here: the header that they are part of, see L{lbtwist.sansio.proxyheader}.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attr

from lbtwist.errors import BadProxyHeader

TLV = tuple[int, bytes]


class TLVType:
    """The types of TLVs (section 2.2), and those that clouds have taken for theirs."""

    ALPN = 0x01
    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    SSL_VERSION = 0x21
    SSL_CN = 0x22
    SSL_CIPHER = 0x23
    SSL_SIG_ALG = 0x24
    SSL_KEY_ALG = 0x25
    SSL_GROUP = 0x26
    SSL_SIG_SCHEME = 0x27
    SSL_CLIENT_CERT = 0x28
    NETNS = 0x30
    GCP = 0xE0
    AWS = 0xEA
    AZURE = 0xEE


ONCE = frozenset(
    (TLVType.ALPN, TLVType.AUTHORITY, TLVType.CRC32C, TLVType.UNIQUE_ID, TLVType.SSL,
     TLVType.NETNS)
)  # fmt: skip
"""Types that must not come twice."""
_TEXTS_IN_SSL = {
    TLVType.SSL_VERSION: "version",
    TLVType.SSL_CN: "cn",
    TLVType.SSL_CIPHER: "cipher",
    TLVType.SSL_SIG_ALG: "sigAlg",
    TLVType.SSL_KEY_ALG: "keyAlg",
    TLVType.SSL_GROUP: "group",
    TLVType.SSL_SIG_SCHEME: "sigScheme",
}
_ONCE_IN_SSL = frozenset((*_TEXTS_IN_SSL, TLVType.SSL_CLIENT_CERT))
LONGEST_UNIQUE_ID = 128
"""In bytes (section 2.2.5)."""


def text(value: bytes) -> str:
    # A peer that must be trusted may still be wrong about an encoding.
    return value.decode("utf-8", "backslashreplace")


@attr.frozen
class SSLInfo:
    """
    What the sender says of the client's TLS (section 2.2.6); what it does not say is
    empty.

    @ivar client: the flags: 1 for TLS, 2 for a client certificate on this connection,
        4 for one in its TLS session.
    @ivar verify: 0 if the client's certificate was verified.
    @ivar version: such as C{"TLSv1.3"}.
    @ivar cn: the common name in the client's certificate.
    @ivar sigAlg: what signed the sender's own certificate, such as C{"RSA-SHA256"}.
    @ivar keyAlg: the key of that certificate, such as C{"RSA2048"}.
    @ivar group: the group of the key exchange.
    @ivar sigScheme: the signature scheme of the handshake.
    @ivar clientCert: the client's certificate in DER.
    """

    client: int = 1
    verify: int = 1
    version: str = ""
    cn: str = ""
    cipher: str = ""
    sigAlg: str = ""
    keyAlg: str = ""
    group: str = ""
    sigScheme: str = ""
    clientCert: bytes = b""

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS."""
        return bool(self.client & 1)

    @property
    def verified(self) -> bool:
        """Whether the client has shown a certificate and it was verified."""
        return self.verify == 0 and bool(self.client & 6)

    @classmethod
    def decode(cls, value: bytes) -> SSLInfo:
        """
        @param value: that of a TLV of type L{TLVType.SSL}.
        @raise BadProxyHeader: if it is not well formed.
        """
        if len(value) < 5:
            raise BadProxyHeader("the TLV about TLS is too short")
        found = {kind: value[begin:end] for kind, begin, end in walk(value, 5, _ONCE_IN_SSL)}
        texts = {name: text(found[kind]) for kind, name in _TEXTS_IN_SSL.items() if kind in found}
        certificate = found.get(TLVType.SSL_CLIENT_CERT, b"")
        verify = int.from_bytes(value[1:5], "big")
        return cls(value[0], verify, clientCert=certificate, **texts)

    def encode(self) -> bytes:
        """@return: the value of the TLV."""
        values = [(kind, getattr(self, name).encode()) for kind, name in _TEXTS_IN_SSL.items()]
        values.append((TLVType.SSL_CLIENT_CERT, self.clientCert))
        pieces = [encodeTLV(kind, value) for kind, value in values if value]
        return struct.pack(">BI", self.client, self.verify) + b"".join(pieces)


def walk(data: bytes, at: int, once: frozenset[int]) -> Iterator[tuple[int, int, int]]:
    """
    Find the TLVs from C{at} to the end of C{data}.

    @param once: types that must not come twice.
    @return: of each its type, and where its value begins and ends.
    @raise BadProxyHeader: if they do not fit exactly.
    """
    size = len(data)
    seen = set()
    while at < size:
        begin = at + 3
        kind = data[at]
        at = begin + int.from_bytes(data[at + 1 : begin], "big")
        if at > size:
            raise BadProxyHeader("a TLV is longer than what it is in")
        if kind in once:
            if kind in seen:
                raise BadProxyHeader(f"more than one TLV of type {kind:#04x}")
            seen.add(kind)
        yield kind, begin, at


def encodeTLV(kind: int, value: bytes) -> bytes:
    if len(value) > 65535:
        raise ValueError("a TLV of more than 65535 bytes")
    return struct.pack(">BH", kind, len(value)) + value


def makeTLVs(
    alpn: bytes = b"",
    authority: str = "",
    uniqueId: bytes = b"",
    netns: str = "",
    ssl: SSLInfo | None = None,
) -> tuple[TLV, ...]:
    """
    @return: TLVs of what is not empty, for L{lbtwist.sansio.proxyheader.encodeV2}; a
        client's common name and cipher are part of C{ssl}.
    @raise ValueError: if the unique id has more than 128 bytes.
    """
    if len(uniqueId) > LONGEST_UNIQUE_ID:
        raise ValueError(f"a unique id of more than {LONGEST_UNIQUE_ID} bytes")
    values = (
        (TLVType.ALPN, alpn),
        (TLVType.AUTHORITY, authority.encode()),
        (TLVType.UNIQUE_ID, uniqueId),
        (TLVType.SSL, b"" if ssl is None else ssl.encode()),
        (TLVType.NETNS, netns.encode()),
    )
    return tuple((kind, value) for kind, value in values if value)


def _makeTable() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _makeTable()


def checksum(data: bytes) -> int:
    """The checksum of Castagnoli's polynomial (RFC 9260 appendix A)."""
    table = _TABLE
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
