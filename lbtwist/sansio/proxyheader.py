"""
The PROXY protocol, versions 1 and 2, as HAProxy's C{doc/proxy-protocol.txt} writes
it: a reader and a writer.

The reader is made for peeking: it is called with all that has come so far, and again
with the same bytes and more, and keeps nothing in between. What it has said of some
bytes it never takes back when more have come.

Not here: what TLVs say (L{lbtwist.sansio.proxytlvs}), who may send such a header, and
what is done about the addresses. Whether one has to come is a matter of configuration,
never to be guessed (section 2).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NoReturn

import attr

from lbtwist.errors import BadProxyHeader
from lbtwist.sansio.proxytlvs import (
    LONGEST_UNIQUE_ID,
    ONCE,
    TLV,
    SSLInfo,
    TLVType,
    checksum,
    encodeTLV,
    text,
    walk,
)

Address = tuple[str, int]

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_LINE = 107
_PREFIX = struct.Struct(">12sBBH")
_MAPPED = bytes(10) + b"\xff\xff"


# Family, transport and the length of two addresses, by the 14th byte.
_FAMILIES = {
    0x00: ("UNSPEC", "UNSPEC", 0),
    0x11: ("INET", "STREAM", 12),
    0x12: ("INET", "DGRAM", 12),
    0x21: ("INET6", "STREAM", 36),
    0x22: ("INET6", "DGRAM", 36),
    0x31: ("UNIX", "STREAM", 216),
    0x32: ("UNIX", "DGRAM", 216),
}
_CODES = {(family, transport): code for code, (family, transport, _) in _FAMILIES.items()}

_isVPCEndpoint = re.compile(rb"\x01([A-Za-z0-9-]+)").fullmatch


@attr.frozen
class ProxyHeader:
    """
    A PROXY header.

    @ivar version: 1 or 2.
    @ivar command: C{"PROXY"}, or C{"LOCAL"} where the sender speaks for itself, as in
        a health check.
    @ivar family: C{"INET"}, C{"INET6"}, C{"UNIX"} or C{"UNSPEC"}, as it was written.
    @ivar transport: C{"STREAM"}, C{"DGRAM"} or C{"UNSPEC"}.
    @ivar source: the client; C{("unix", 0)} for a UNIX socket; L{None} where the
        addresses of the connection itself are to be kept. IPv4 that came mapped into
        IPv6 is IPv4.
    @ivar destination: where the client connected to, likewise.
    @ivar paths: the client's and the destination's path, for UNIX sockets only; an
        abstract one begins with a NUL.
    @ivar tlvs: type and value, in order, without those of type L{TLVType.NOOP}.
    @ivar size: the bytes of the header.
    """

    version: int
    command: str = "PROXY"
    family: str = "UNSPEC"
    transport: str = "UNSPEC"
    source: Address | None = None
    destination: Address | None = None
    paths: tuple[bytes, bytes] | None = None
    tlvs: tuple[TLV, ...] = ()
    size: int = 0

    def value(self, kind: int) -> bytes | None:
        """@return: the value of the first TLV of a type, or L{None}."""
        for found, value in self.tlvs:
            if found == kind:
                return value
        return None

    @property
    def alpn(self) -> bytes | None:
        """The protocol that the client and the sender speak."""
        return self.value(TLVType.ALPN)

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for, usually its SNI."""
        value = self.value(TLVType.AUTHORITY)
        return None if value is None else text(value)

    @property
    def uniqueId(self) -> bytes | None:
        return self.value(TLVType.UNIQUE_ID)

    @property
    def netns(self) -> str | None:
        """The name of the network namespace."""
        value = self.value(TLVType.NETNS)
        return None if value is None else text(value)

    @property
    def ssl(self) -> SSLInfo | None:
        value = self.value(TLVType.SSL)
        return None if value is None else SSLInfo.decode(value)

    @property
    def checksummed(self) -> bool:
        """Whether it came with a checksum, which then was right."""
        return self.value(TLVType.CRC32C) is not None

    @property
    def vpcEndpointId(self) -> str | None:
        """The id of the AWS VPC endpoint that the client used."""
        for kind, value in self.tlvs:
            match = _isVPCEndpoint(value) if kind == TLVType.AWS else None
            if match is not None:
                return match[1].decode()
        return None

    @property
    def linkId(self) -> int | None:
        """The LINKID of the Azure private endpoint that the client used."""
        for kind, value in self.tlvs:
            if kind == TLVType.AZURE and len(value) == 5 and value[0] == 1:
                return int.from_bytes(value[1:], "little")
        return None

    @property
    def pscConnectionId(self) -> int | None:
        """The id of the connection of Google's Private Service Connect."""
        for kind, value in self.tlvs:
            if kind == TLVType.GCP and len(value) == 8:
                return int.from_bytes(value, "big")
        return None


# reading


def begins(data: bytes) -> bool | None:
    """
    Whether a PROXY header begins here; L{None} as long as that cannot be said.

    That it begins does not mean that it is a good one.
    """
    if data.startswith((_V1, _V2)):
        return True
    return None if _V1.startswith(data) or _V2.startswith(data) else False


def certain(data: bytes) -> int:
    """
    How many more bytes can only belong to the header, so that a reader that cannot
    peek far may take C{data} and as many more out of the socket.

    For version 2 it is the rest of the first 16 bytes, and after them all the rest.
    For version 1 it is what the shortest line with such a beginning still needs, at
    least the end of the line: never too much, but it takes several turns.

    @param data: the beginning of a connection, of which L{read} has said L{None}.
    @return: 0 while nothing is certain, see L{begins}.
    """
    if not begins(data):
        return 0
    have = len(data)
    if data.startswith(_V2):
        if have < _PREFIX.size:
            return _PREFIX.size - have
        return max(0, _PREFIX.size + int.from_bytes(data[14:16], "big") - have)
    if b"\r\n" in data:
        return 0
    return max(_SHORTEST.get(data[6:10], 15) - have, _lineEnd(data))


_SHORTEST = {
    b"TCP4": len("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
    b"TCP6": len("PROXY TCP6 :: :: 0 0\r\n"),
}


def read(data: bytes, limit: int = 4096) -> ProxyHeader | None:
    """
    Read the header that C{data} begins with.

    Of a header with the command LOCAL only the length counts, as section 2.2 demands:
    the rest is told if it is well formed, and else overlooked. A wrong checksum is
    refused in any header.

    @param limit: the most bytes of a header of version 2.
    @return: the header, or L{None} if it is not complete and may become good.
    @raise BadProxyHeader: if it cannot become one.
    """
    if data.startswith(_V2):
        return _readV2(data, limit)
    if data.startswith(_V1):
        return _readV1(data)
    if begins(data) is None:
        return None
    raise BadProxyHeader("no PROXY header")


# version 1

_PROTOCOLS = (b"TCP4", b"TCP6", b"UNKNOWN")
_isPort = re.compile(rb"0|[1-9][0-9]{0,4}").fullmatch
_isPartOf4 = re.compile(rb"[0-9.]{0,15}").fullmatch
_isPartOf6 = re.compile(rb"[0-9A-Fa-f:.]{0,45}").fullmatch


def _readV1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    if end >= 0:
        line = data[:end]
    else:
        if len(data) + _lineEnd(data) > _LONGEST_LINE:
            raise BadProxyHeader(f"no CRLF in the first {_LONGEST_LINE} bytes")
        line = data.removesuffix(b"\r")
    if b"\r" in line or b"\n" in line:
        raise BadProxyHeader("a bare CR or LF")
    # Whether the last word is all there.
    ended = len(line) < len(data)
    _, protocol, *words = line.split(b" ")
    if protocol == b"UNKNOWN":
        return None if end < 0 else ProxyHeader(1, size=end + 2)
    if protocol == b"TCP4":
        family, isPart, called = AF_INET, _isPartOf4, "INET"
    elif protocol == b"TCP6":
        family, isPart, called = AF_INET6, _isPartOf6, "INET6"
    elif not words and not ended and any(name.startswith(protocol) for name in _PROTOCOLS):
        return None
    else:
        raise BadProxyHeader("a protocol other than TCP4, TCP6 and UNKNOWN")
    if len(words) > 4 or (ended and len(words) < 4):
        raise BadProxyHeader("not two addresses and two ports")
    partial = None if ended or not words else words.pop()
    hosts = [_readHost(family, word) for word in words[:2]]
    ports = [_readPort(word) for word in words[2:]]
    if partial is not None:
        if len(words) < 2:
            if isPart(partial) is None:
                _badAddress()
        elif partial:
            _readPort(partial)
    if end < 0:
        return None
    source, destination = zip(hosts, ports, strict=True)
    return ProxyHeader(1, "PROXY", called, "STREAM", source, destination, size=end + 2)


def _lineEnd(data: bytes) -> int:
    """How many bytes a line without its end needs at least."""
    return 1 if data.endswith(b"\r") else 2


def _badAddress() -> NoReturn:
    raise BadProxyHeader("not an address of its protocol")


def _readHost(family: int, word: bytes) -> str:
    # Some systems' inet_pton knows scopes.
    if b"%" in word:
        _badAddress()
    try:
        return _host(inet_pton(family, word.decode("ascii")))
    except (OSError, ValueError):
        _badAddress()


def _readPort(word: bytes) -> int:
    if _isPort(word) is None or int(word) > 65535:
        raise BadProxyHeader("a port is not a number from 0 to 65535")
    return int(word)


def _host(packed: bytes) -> str:
    """An address as text; IPv4 mapped into IPv6 (RFC 4291 2.5.5.2) as IPv4."""
    if len(packed) == 4:
        return inet_ntop(AF_INET, packed)
    if packed.startswith(_MAPPED):
        return inet_ntop(AF_INET, packed[12:])
    return inet_ntop(AF_INET6, packed)


# version 2


def _readV2(data: bytes, limit: int) -> ProxyHeader | None:
    have = len(data)
    if have > 12 and data[12] not in (0x20, 0x21):
        raise BadProxyHeader("a version or a command that is not known")
    local = have > 12 and data[12] == 0x20
    if have > 13 and not local and data[13] not in _FAMILIES:
        raise BadProxyHeader("an address family or a transport that is not known")
    if have < _PREFIX.size:
        return None
    _, _, code, length = _PREFIX.unpack_from(data)
    size = _PREFIX.size + length
    if size > limit:
        raise BadProxyHeader(f"the header is longer than {limit} bytes")
    family, transport, needed = _FAMILIES.get(code, _FAMILIES[0])
    if length < needed and not local:
        raise BadProxyHeader("the header is too short for its addresses")
    if have < size:
        return None
    header = bytes(data[:size])
    try:
        tlvs, checksumAt = _readTLVs(header, _PREFIX.size + needed)
    except BadProxyHeader:
        if not local:
            raise
        tlvs, checksumAt = (), 0
    if checksumAt:
        _checkSum(header, checksumAt)
    if local:
        return ProxyHeader(2, "LOCAL", tlvs=tlvs, size=size)
    source = destination = paths = None
    if family == "UNIX":
        paths = (_path(header[16:124]), _path(header[124:232]))
        source = destination = ("unix", 0)
    elif needed:
        width = (needed - 4) // 2
        middle, end = 16 + width, 16 + 2 * width
        sourcePort, destinationPort = struct.unpack_from(">HH", header, end)
        source = (_host(header[16:middle]), sourcePort)
        destination = (_host(header[middle:end]), destinationPort)
    return ProxyHeader(2, "PROXY", family, transport, source, destination, paths, tlvs, size)


def _path(field: bytes) -> bytes:
    if field.startswith(b"\0"):
        return field.rstrip(b"\0")
    return field.partition(b"\0")[0]


def _readTLVs(header: bytes, at: int) -> tuple[tuple[TLV, ...], int]:
    """@return: the TLVs, and where the checksum is; 0 without one."""
    found = []
    checksumAt = 0
    for kind, begin, end in walk(header, at, ONCE):
        if kind == TLVType.NOOP:
            continue
        value = header[begin:end]
        if kind == TLVType.CRC32C:
            if len(value) != 4:
                raise BadProxyHeader("a checksum that is not of 4 bytes")
            checksumAt = begin
        elif kind == TLVType.UNIQUE_ID:
            if len(value) > LONGEST_UNIQUE_ID:
                raise BadProxyHeader(f"a unique id of more than {LONGEST_UNIQUE_ID} bytes")
        elif kind == TLVType.SSL:
            SSLInfo.decode(value)
        found.append((kind, value))
    return tuple(found), checksumAt


def _checkSum(header: bytes, at: int) -> None:
    stated = int.from_bytes(header[at : at + 4], "big")
    if checksum(header[:at] + bytes(4) + header[at + 4 :]) != stated:
        raise BadProxyHeader("the checksum is wrong")


# writing


def _packed(host: str) -> bytes | None:
    """@return: 4 or 16 bytes; L{None} for what is no address, such as C{"unix"}."""
    try:
        if ":" not in host:
            return inet_pton(AF_INET, host)
        packed = inet_pton(AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def encodeV1(source: Address | None, destination: Address | None) -> bytes:
    """
    Write a header of version 1.

    Where the two are not addresses of one family, it says UNKNOWN, and the receiver
    keeps the addresses of the connection.

    @param source: the client.
    @param destination: where the client connected to.
    @raise ValueError: for a port that is none.
    """
    if source is not None and destination is not None:
        for port in (source[1], destination[1]):
            if not 0 <= port <= 65535:
                raise ValueError(f"{port} is not a port")
        client, local = _packed(source[0]), _packed(destination[0])
        if client is not None and local is not None and len(client) == len(local):
            number, family = (4, AF_INET) if len(client) == 4 else (6, AF_INET6)
            return b"PROXY TCP%d %b %b %d %d\r\n" % (
                number, inet_ntop(family, client).encode(), inet_ntop(family, local).encode(),
                source[1], destination[1],
            )  # fmt: skip
    return b"PROXY UNKNOWN\r\n"


def encodeV2(
    source: Address | None,
    destination: Address | None,
    command: str = "PROXY",
    transport: str = "STREAM",
    tlvs: Iterable[TLV] = (),
    crc32c: bool = False,
    paths: tuple[bytes, bytes] = (b"", b""),
) -> bytes:
    """
    Write a header of version 2.

    An IPv4 address next to one of IPv6 is written mapped into IPv6. A header with the
    command LOCAL, or where an address is missing, has no addresses, and the receiver
    keeps those of the connection.

    @param source: the client; C{("unix", 0)} for a UNIX socket.
    @param destination: where the client connected to, likewise.
    @param command: C{"PROXY"} or C{"LOCAL"}.
    @param transport: C{"STREAM"} or C{"DGRAM"}.
    @param tlvs: types and values, see
        L{lbtwist.sansio.proxytlvs.makeTLVs}; a checksum among them, which was
        another header's, is left out.
    @param crc32c: add a checksum.
    @param paths: of UNIX sockets, at most 108 bytes each.
    @raise ValueError: for what does not fit.
    """
    family, addresses = "UNSPEC", b""
    if command == "PROXY" and source is not None and destination is not None:
        family, addresses = _addresses(source, destination, paths)
    code = _CODES[(family, transport if addresses else "UNSPEC")]
    pieces = [addresses]
    if crc32c:
        pieces.append(encodeTLV(TLVType.CRC32C, bytes(4)))
    pieces += [encodeTLV(kind, value) for kind, value in tlvs if kind != TLVType.CRC32C]
    rest = b"".join(pieces)
    if len(rest) > 65535:
        raise ValueError("a header of more than 65535 bytes")
    header = _PREFIX.pack(_V2, 0x20 if command == "LOCAL" else 0x21, code, len(rest)) + rest
    if crc32c:
        at = _PREFIX.size + len(addresses) + 3
        header = header[:at] + checksum(header).to_bytes(4, "big") + header[at + 4 :]
    return header


def _addresses(
    source: Address, destination: Address, paths: tuple[bytes, bytes]
) -> tuple[str, bytes]:
    if source[0] == destination[0] == "unix":
        if max(map(len, paths)) > 108:
            raise ValueError("a path of more than 108 bytes")
        return "UNIX", paths[0].ljust(108, b"\0") + paths[1].ljust(108, b"\0")
    for port in (source[1], destination[1]):
        if not 0 <= port <= 65535:
            raise ValueError(f"{port} is not a port")
    client, local = _packed(source[0]), _packed(destination[0])
    if client is None or local is None:
        return "UNSPEC", b""
    family = "INET"
    if len(client) + len(local) > 8:
        family = "INET6"
        client, local = (_MAPPED[: 16 - len(host)] + host for host in (client, local))
    return family, client + local + struct.pack(">HH", source[1], destination[1])
