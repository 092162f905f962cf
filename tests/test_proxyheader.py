"""
PROXY headers by example: those of the specification, as clouds and HAProxy write them,
and what is refused; in whole, in pieces, and at random.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser

from lbtwist.errors import BadProxyHeader
from lbtwist.sansio.proxyheader import (
    ProxyHeader,
    begins,
    certain,
    encodeV1,
    encodeV2,
    read,
)
from lbtwist.sansio.proxytlvs import SSLInfo, TLVType, checksum, makeTLVs

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FULL_IPV6 = b":".join([b"ffff"] * 8)
BROADCAST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
TCP4 = bytes.fromhex("7f000001 7f000001 002a 0539")


def v2(rest=b"", command=0x21, family=0x11, length=None):
    """A header of version 2, however wrong."""
    length = len(rest) if length is None else length
    return SIGNATURE + bytes([command, family]) + length.to_bytes(2, "big") + rest


def tlv(kind, value=b"", length=None):
    length = len(value) if length is None else length
    return bytes([kind]) + length.to_bytes(2, "big") + value


# The first is an example of the specification, the next four its longest and shortest.
LINES = [
    (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        ("192.168.0.1", 56324),
        ("192.168.0.11", 443),
    ),
    (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ("255.255.255.255", 65535),
        ("255.255.255.255", 65535),
    ),
    (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % (FULL_IPV6, FULL_IPV6),
        (BROADCAST, 65535),
        (BROADCAST, 65535),
    ),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (FULL_IPV6, FULL_IPV6), None, None),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", 0), ("0.0.0.0", 0)),
    (b"PROXY TCP6 :: ::1 1 10\r\n", ("::", 1), ("::1", 10)),
    (b"PROXY TCP6 2001:DB8:0:0::A fe80::b 1 2\r\n", ("2001:db8::a", 1), ("fe80::b", 2)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1), ("::1", 2)),
    (b"PROXY TCP6 ::FFFF:C000:0201 ::1 1 2\r\n", ("192.0.2.1", 1), ("::1", 2)),
    (b"PROXY UNKNOWN \r\n", None, None),
    (b"PROXY UNKNOWN  x\0\xff TCP4 1\r\n", None, None),
]

BAD_LINES = [
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    b"PROXY TCP4 1.2.3.4\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n",
    b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.004 1 2\r\n",
    b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n",
    b"PROXY TCP4 a.example 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n",
    b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
    b"PROXY TCP6 1::2::3 ::1 1 2\r\n",
    b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
    b"PROXY TCP6 [::1] ::1 1 2\r\n",
    b"PROXY TCP6 ::12345 ::1 1 2\r\n",
    b"PROXY TCP6 ::ffff:01.2.3.4 ::1 1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 100000\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \xb2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rGET",
    b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP46 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY UNKN\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN a\nb\r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY TCP4 " + b"1" * 96,
    b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"\r\nPROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"POST / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
]

PATHS = b"/run/a".ljust(108, b"\0") + b"\0b".ljust(108, b"\0")
AUTHORITY = tlv(TLVType.AUTHORITY, b"12345")
SSL_VERSION = tlv(TLVType.SSL_VERSION, b"TLSv1.3")

# As an AWS load balancer writes it, once from its documentation, once captured.
AWS = [
    (
        SIGNATURE + bytes.fromhex("2111 0054 ac1f0771 ac1f0a1f c8f2 0050 030004 e8d6892d ea0017")
        + b"\x01vpce-08d2bf15fac5001c9" + tlv(TLVType.NOOP, bytes(36)),
        ("172.31.7.113", 51442), "vpce-08d2bf15fac5001c9",
    ),
    (
        SIGNATURE + bytes.fromhex("2111 0054 c0a82c0a c0a82c07 cc3e 241b 030004 b9286fa6 ea0017")
        + b"\x01vpce-00eafc458ec97b833" + tlv(TLVType.NOOP, bytes(36)),
        ("192.168.44.10", 52286), "vpce-00eafc458ec97b833",
    ),
]  # fmt: skip

# As HAProxy 2.6 writes it, with every option it has, for a client with a certificate.
HAPROXY = (
    SIGNATURE + bytes.fromhex("2111 0088 7f000001 7f000001 b60c 81c1 030004 ffc2187e")
    + b"\x01\0\x02h2" + b"\x02\0\x0fwww.example.org" + b"\x05\0\x0did-1795264572"
    + b"\x20\0\x4b\x07\0\0\0\0" + b"\x21\0\x07TLSv1.3" + b"\x22\0\x04Zo\xc3\xab"
    + b"\x25\0\x05EC256" + b"\x24\0\x11ecdsa-with-SHA256" + b"\x23\0\x16TLS_AES_256_GCM_SHA384"
)  # fmt: skip

HEADERS = [
    *(line for line, _, _ in LINES),
    *(data for data, _, _ in AWS),
    HAPROXY,
    v2(TCP4),
    v2(TCP4 + AUTHORITY),
    v2(PATHS, family=0x31),
    v2(family=0),
    v2(command=0x20, family=0),
]

BAD_HEADERS = [
    v2(TCP4, command=0x11),
    v2(TCP4, command=0x31),
    v2(TCP4, command=0x22),
    v2(TCP4, command=0x2F),
    v2(TCP4, command=0x30, family=0),
    v2(TCP4, family=0x10),
    v2(TCP4, family=0x01),
    v2(TCP4, family=0x13),
    v2(PATHS, family=0x41),
    v2(TCP4[:-1]),
    v2(),
    v2(TCP4, family=0x21),
    v2(PATHS[:-1], family=0x32),
    v2(TCP4 + b"\0"),
    v2(TCP4 + b"\x01\0"),
    v2(TCP4 + tlv(TLVType.ALPN, b"h2", length=3)),
    v2(tlv(TLVType.ALPN, b"h2", length=3), family=0),
    v2(TCP4 + tlv(TLVType.CRC32C, bytes(4))),
    v2(TCP4 + tlv(TLVType.CRC32C, bytes(3))),
    v2(TCP4 + tlv(TLVType.CRC32C)),
    v2(TCP4 + tlv(TLVType.UNIQUE_ID, bytes(129))),
    *(v2(TCP4 + tlv(kind, b"x") * 2) for kind in (1, 2, 5, 0x30)),
    v2(TCP4 + tlv(TLVType.SSL, bytes(5)) * 2),
    v2(TCP4 + tlv(TLVType.SSL, bytes(4))),
    v2(TCP4 + tlv(TLVType.SSL, bytes(6))),
    v2(TCP4 + tlv(TLVType.SSL, bytes(5) + tlv(TLVType.SSL_CN, b"ab", length=3))),
    v2(TCP4 + tlv(TLVType.SSL, bytes(5) + SSL_VERSION * 2)),
    v2(TCP4 + bytes(4085)),
    v2(length=65535),
    SIGNATURE[:-1] + b"\r",
]


def refused(data, limit=4096):
    try:
        read(data, limit)
    except BadProxyHeader:
        return True
    return False


class TestVersion1:
    @pytest.mark.parametrize(("line", "source", "destination"), LINES)
    def test_lines(self, line, source, destination):
        header = read(line + b"GET / HTTP/1.1\r\n\r\n")
        assert (header.version, header.command, header.size) == (1, "PROXY", len(line))
        assert (header.source, header.destination) == (source, destination)
        assert (header.tlvs, header.paths) == ((), None)

    def test_theirLengths(self):
        """As the specification counts them (section 2.1)."""
        assert [len(line) for line, _, _ in LINES[1:5]] == [56, 104, 15, 107]

    @pytest.mark.parametrize("line", BAD_LINES)
    def test_refused(self, line):
        assert refused(line)

    @pytest.mark.parametrize(
        ("good", "bad"),
        [
            (b"PROXY T", b"PROXY U4"),
            (b"PROXY TCP", b"PROXY TCP5"),
            (b"PROXY UNKNOW", b"PROXY UNKNOWM"),
            (b"PROXY TCP4 1.2", b"PROXY TCP4 1.2:"),
            (b"PROXY TCP4 1.2.3.4 ", b"PROXY TCP4 1.2.3.4.5 "),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 6553", b"PROXY TCP4 1.2.3.4 1.2.3.4 65536"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 0", b"PROXY TCP4 1.2.3.4 1.2.3.4 00"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 "),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r"),
            (b"PROXY UNKNOWN" + b" " * 92, b"PROXY UNKNOWN" + b" " * 93),
            (b"PROXY UNKNOWN" + b" " * 92 + b"\r", b"PROXY UNKNOWN" + b" " * 93 + b"\r"),
        ],
    )
    def test_isRefusedBeforeTheLineEnds(self, good, bad):
        assert read(good) is None
        assert refused(bad)


class TestVersion2:
    @pytest.mark.parametrize(
        ("code", "family", "transport"),
        [(0x11, "INET", "STREAM"), (0x12, "INET", "DGRAM")],
    )
    def test_ipv4(self, code, family, transport):
        header = read(v2(TCP4, family=code) + b"GET")
        assert (header.version, header.command, header.size) == (2, "PROXY", 28)
        assert (header.family, header.transport) == (family, transport)
        assert (header.source, header.destination) == (("127.0.0.1", 42), ("127.0.0.1", 1337))
        assert header.tlvs == ()

    @pytest.mark.parametrize("code", [0x21, 0x22])
    def test_ipv6(self, code):
        rest = bytes.fromhex(
            "20010db8000000000000000000000001 00000000000000000000ffffc0000201 0001 ffff"
        )
        header = read(v2(rest, family=code))
        assert header.family == "INET6"
        assert header.source == ("2001:db8::1", 1)
        assert header.destination == ("192.0.2.1", 65535)

    @pytest.mark.parametrize("code", [0x31, 0x32])
    def test_unix(self, code):
        header = read(v2(PATHS, family=code))
        assert header.family == "UNIX"
        assert header.source == header.destination == ("unix", 0)
        assert header.paths == (b"/run/a", b"\0b")

    def test_aPathEndsWithANUL(self):
        header = read(v2(b"/a\0rest".ljust(108, b"\0") + b"x" * 108, family=0x31))
        assert header.paths == (b"/a", b"x" * 108)

    def test_unspecified(self):
        """Where a receiver is free to choose, the addresses of the connection stay."""
        header = read(v2(AUTHORITY, family=0))
        assert (header.command, header.family, header.transport) == ("PROXY", "UNSPEC", "UNSPEC")
        assert (header.source, header.destination) == (None, None)
        assert header.authority == "12345"

    @pytest.mark.parametrize(
        ("family", "rest"),
        [(0, b""), (0x11, TCP4), (0x11, b""), (0x31, PATHS), (0xFF, b"anything"), (0, b"\xff")],
    )
    def test_local(self, family, rest):
        """Its family and addresses are ignored, and its length is kept."""
        header = read(v2(rest, command=0x20, family=family) + b"GET")
        assert (header.command, header.source, header.destination) == ("LOCAL", None, None)
        assert (header.family, header.tlvs, header.size) == ("UNSPEC", (), 16 + len(rest))

    def test_whatALocalOneTells(self):
        header = read(v2(TCP4 + AUTHORITY, command=0x20))
        assert header.authority == "12345"

    def test_aWrongChecksumInALocalOne(self):
        assert refused(v2(tlv(TLVType.CRC32C, bytes(4)), command=0x20, family=0))

    @pytest.mark.parametrize("data", BAD_HEADERS)
    def test_refused(self, data):
        assert refused(data)

    @pytest.mark.parametrize("beginning", [b"\x11", b"\x22", b"\x21\x13", b"\x21\x11\0\x0b"])
    def test_isRefusedAtOnce(self, beginning):
        assert refused(SIGNATURE + beginning)
        assert read(SIGNATURE + beginning[:-1]) is None

    def test_theLimit(self):
        data = v2(TCP4 + tlv(TLVType.NOOP, bytes(69)))
        assert read(data, limit=100).size == 100
        assert refused(data, limit=99)
        assert refused(data[:16], limit=99)


class TestTLVs:
    """The cases of HAProxy's C{proxy_protocol_tlv_validation.vtc} come first."""

    def test_aCorrectOne(self):
        assert read(v2(TCP4 + AUTHORITY)).authority == "12345"

    def test_afterTheHeaderItIsPayload(self):
        data = v2(TCP4 + AUTHORITY) + tlv(TLVType.AUTHORITY, b"54321") + b"GET / HTTP/1.1\r\n"
        header = read(data)
        assert header.authority == "12345"
        assert data[header.size :].startswith(b"\x02\0\x0554321GET")

    def test_longerThanTheHeader(self):
        rest = TCP4 + tlv(TLVType.AUTHORITY, b"1234512345")
        assert refused(v2(rest, length=20))

    def test_shorterThanTheHeader(self):
        rest = TCP4 + tlv(TLVType.AUTHORITY, b"1234")
        assert read(v2(rest, length=20)) is None
        assert refused(v2(rest, length=20) + b"G")

    @pytest.mark.parametrize(("data", "source", "endpoint"), AWS)
    def test_aws(self, data, source, endpoint):
        header = read(data)
        assert (header.source, header.size) == (source, 100)
        assert header.checksummed
        assert header.vpcEndpointId == endpoint
        assert [kind for kind, _ in header.tlvs] == [TLVType.CRC32C, TLVType.AWS]

    def test_haproxy(self):
        header = read(HAPROXY + b"GET")
        assert header.size == len(HAPROXY)
        assert header.checksummed
        assert header.source == ("127.0.0.1", 46604)
        assert header.alpn == b"h2"
        assert header.authority == "www.example.org"
        assert header.uniqueId == b"id-1795264572"
        assert header.ssl == SSLInfo(
            client=7, verify=0, version="TLSv1.3", cn="Zoë", cipher="TLS_AES_256_GCM_SHA384",
            sigAlg="ecdsa-with-SHA256", keyAlg="EC256",
        )  # fmt: skip
        assert header.ssl.secure
        assert header.ssl.verified

    def test_others(self):
        link = tlv(TLVType.AZURE, b"\x02\x01\0\0\0") + tlv(TLVType.AZURE, b"\x01\x04\x03\x02\x01")
        psc = tlv(TLVType.GCP, b"\xff") + tlv(TLVType.GCP, b"\xff\xff\xff\xff\xc0\xa8\x64\x02")
        header = read(v2(TCP4 + link + psc + tlv(TLVType.NETNS, b"blue") + tlv(0xF0)))
        assert header.linkId == 0x01020304
        assert header.pscConnectionId == 18446744072646845442
        assert header.netns == "blue"
        assert header.value(0xF0) == b""
        assert header.value(0xF1) is None

    def test_whatIsNotSaid(self):
        header = read(v2(TCP4 + tlv(TLVType.AWS, b"\x01vpce!") + tlv(TLVType.AWS, b"\x02a")))
        assert (header.alpn, header.authority, header.uniqueId) == (None, None, None)
        assert (header.netns, header.ssl, header.checksummed) == (None, None, False)
        assert (header.vpcEndpointId, header.linkId, header.pscConnectionId) == (None, None, None)

    def test_anEncodingThatIsWrong(self):
        assert read(v2(TCP4 + tlv(TLVType.AUTHORITY, b"a\xff"))).authority == "a\\xff"

    def test_theLongestUniqueId(self):
        assert read(v2(TCP4 + tlv(TLVType.UNIQUE_ID, bytes(128)))).uniqueId == bytes(128)

    def test_paddingMayComeTwice(self):
        assert read(v2(TCP4 + tlv(TLVType.NOOP, b"a") * 2)).tlvs == ()

    @pytest.mark.parametrize(
        ("client", "verify", "verified"), [(7, 0, True), (5, 0, True), (1, 0, False), (7, 1, False)]
    )
    def test_aVerifiedClient(self, client, verify, verified):
        assert SSLInfo(client, verify).verified is verified

    def test_anyBitThatIsWrong(self):
        """Found by the checksum, but in the byte that says that there is one."""
        data = AWS[0][0]
        for at in range(len(data) * 8):
            if at // 8 == 28:
                continue
            wrong = bytearray(data)
            wrong[at // 8] ^= 1 << at % 8
            # Another length asks for more bytes, which then do not fit.
            assert refused(bytes(wrong) + bytes(4096)), at


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720 section B.4, there in the order of transmission.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksum(data, expected):
    assert checksum(data) == expected


def test_writesWhatHAProxyWrites():
    ssl = SSLInfo(
        client=7, verify=0, version="TLSv1.3", cn="Zoë", cipher="TLS_AES_256_GCM_SHA384",
        sigAlg="ecdsa-with-SHA256", keyAlg="EC256",
    )  # fmt: skip
    tlvs = makeTLVs(b"h2", "www.example.org", b"id-1795264572", ssl=ssl)
    source, destination = ("127.0.0.1", 46604), ("127.0.0.1", 33217)
    written = encodeV2(source, destination, tlvs=tlvs, crc32c=True)
    assert len(written) == len(HAPROXY)
    # HAProxy has another order, and so another checksum.
    assert read(written).ssl == read(HAPROXY).ssl
    assert read(written).tlvs[1:-1] == read(HAPROXY).tlvs[1:-1]


class TestWriting:
    @pytest.mark.parametrize(("line", "source", "destination"), LINES[:4])
    def test_version1(self, line, source, destination):
        assert encodeV1(source, destination) == line

    @pytest.mark.parametrize(
        ("source", "destination", "line"),
        [
            (("::ffff:1.2.3.4", 1), ("1.2.3.5", 2), b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n"),
            (("fe80::1%eth0", 1), ("::1", 2), b"PROXY TCP6 fe80::1 ::1 1 2\r\n"),
            (("1.2.3.4", 1), ("::1", 2), b"PROXY UNKNOWN\r\n"),
            (("::1", 1), ("1.2.3.4", 2), b"PROXY UNKNOWN\r\n"),
            (("unix", 0), ("unix", 0), b"PROXY UNKNOWN\r\n"),
            (("unix", 0), ("1.2.3.4", 1), b"PROXY UNKNOWN\r\n"),
            (("1.2.3.4\0", 1), ("1.2.3.4", 1), b"PROXY UNKNOWN\r\n"),
            (None, ("1.2.3.4", 1), b"PROXY UNKNOWN\r\n"),
            (("1.2.3.4", 1), None, b"PROXY UNKNOWN\r\n"),
        ],
    )
    def test_version1OfOthers(self, source, destination, line):
        assert encodeV1(source, destination) == line

    def test_version2(self):
        source, destination = ("127.0.0.1", 42), ("127.0.0.1", 1337)
        assert encodeV2(source, destination) == v2(TCP4)
        assert encodeV2(source, destination, transport="DGRAM") == v2(TCP4, family=0x12)
        assert encodeV2(source, destination, tlvs=makeTLVs(authority="12345")) == v2(
            TCP4 + AUTHORITY
        )

    def test_familiesThatDiffer(self):
        """IPv4 is written mapped into IPv6, so that both stay true."""
        header = encodeV2(("192.0.2.1", 1), ("2001:db8::1", 2))
        assert header == v2(
            bytes.fromhex(
                "00000000000000000000ffffc0000201 20010db8000000000000000000000001 0001 0002"
            ),
            family=0x21,
        )
        assert read(header).source == ("192.0.2.1", 1)

    def test_unix(self):
        unix = ("unix", 0)
        assert encodeV2(unix, unix, paths=(b"/run/a", b"\0b")) == v2(PATHS, family=0x31)
        assert encodeV2(unix, unix) == v2(bytes(216), family=0x31)
        assert encodeV2(unix, ("1.2.3.4", 1)) == v2(family=0)

    @pytest.mark.parametrize("source", [None, ("127.0.0.1", 1)])
    def test_local(self, source):
        header = encodeV2(source, source, command="LOCAL", tlvs=[(0xE1, b"a")], crc32c=True)
        assert header[12:16] == b"\x20\0\0\x0b"
        assert read(header).command == "LOCAL"
        assert read(header).tlvs[1:] == ((0xE1, b"a"),)

    def test_anotherHeadersChecksumIsLeftOut(self):
        received = read(AWS[0][0])
        sent = encodeV2(received.source, received.destination, tlvs=received.tlvs)
        assert read(sent).tlvs == received.tlvs[1:]

    @pytest.mark.parametrize(
        "write",
        [
            lambda: encodeV1(("1.2.3.4", 65536), ("1.2.3.4", 1)),
            lambda: encodeV2(("1.2.3.4", 1), ("1.2.3.4", -1)),
            lambda: encodeV2(("unix", 0), ("unix", 0), paths=(b"a" * 109, b"")),
            lambda: encodeV2(None, None, tlvs=[(0xE1, bytes(65536))]),
            lambda: encodeV2(None, None, tlvs=[(0xE1, bytes(65535))]),
            lambda: makeTLVs(uniqueId=bytes(129)),
        ],
    )
    def test_whatDoesNotFit(self, write):
        with pytest.raises(ValueError, match=r"port|bytes"):
            write()

    def test_nothingToSay(self):
        assert makeTLVs() == ()


class TestPieces:
    @pytest.mark.parametrize("data", HEADERS)
    @pytest.mark.parametrize("payload", [b"", b"\r\n", b"PROXY TCP4", bytes(20)])
    def test_aHeaderIsThereWhenItsLastByteIs(self, data, payload):
        """However it comes: a reader is given all that has come so far."""
        header = read(data)
        assert header.size == len(data)
        for end in range(len(data)):
            assert read(data[:end]) is None
        for end in range(len(payload) + 1):
            assert read(data + payload[:end]) == header

    @pytest.mark.parametrize("data", BAD_LINES + BAD_HEADERS)
    def test_whatIsRefusedStaysRefused(self, data):
        verdicts = [refused(data[:end]) for end in range(len(data) + 1)]
        assert verdicts == sorted(verdicts)
        assert all(read(data[:end]) is None for end in range(verdicts.index(True)))
        assert refused(data + b"\r\n")

    @pytest.mark.parametrize("data", HEADERS)
    def test_takenOutOfTheSocketPieceByPiece(self, data):
        """As by a reader that peeks only at what shows that a header begins."""
        left = data + b"GET / HTTP/1.1\r\n\r\n"
        size = next(end for end in range(20) if begins(left[:end]) is not None)
        taken, left = left[:size], left[size:]
        assert begins(taken)
        turns = 0
        while read(taken) is None:
            size = certain(taken)
            assert size > 0
            taken, left = taken + left[:size], left[size:]
            turns += 1
        assert taken == data
        assert left == b"GET / HTTP/1.1\r\n\r\n"
        assert turns <= len(data) // 2

    @pytest.mark.parametrize("data", HEADERS)
    def test_neverMoreThanIsCertain(self, data):
        for end in range(len(data) + 1):
            assert certain(data[:end]) <= len(data) - end
        assert certain(data + b"GET") == 0

    def test_certain(self):
        assert certain(b"PROX") == certain(SIGNATURE[:11]) == certain(b"GET / HTTP/1.1") == 0
        assert certain(b"PROXY ") == len("UNKNOWN\r\n")
        assert certain(b"PROXY TCP4") == len(" 0.0.0.0 0.0.0.0 0 0\r\n")
        assert certain(b"PROXY TCP6 ::") == len(" :: 0 0\r\n")
        assert certain(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324") == 2
        assert certain(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r") == 1
        assert certain(SIGNATURE) == 4
        assert certain(SIGNATURE + b"\x21\x11\0\x0c") == 12
        assert certain(SIGNATURE + b"\x21\x11\0\x0c" + TCP4[:5]) == 7


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"", None),
        (b"P", None),
        (b"PROXY", None),
        (b"PROXY ", True),
        (b"PROXY / HTTP/1.1", True),
        (b"PR\r", False),
        (b"POST", False),
        (b"G", False),
        (b"\r", None),
        (b"\r\nG", False),
        (b"\r\n\r\n", None),
        (SIGNATURE[:11], None),
        (SIGNATURE, True),
        (SIGNATURE[:11] + b"\0", False),
        (b"\x16", False),
        (b"\0", False),
    ],
)
def test_begins(data, verdict):
    assert begins(data) is verdict


ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).map(str)
ports = st.integers(0, 65535)
texts = st.text(st.characters(codec="utf-8"), max_size=40)


def addresses(hosts):
    return st.tuples(hosts, ports)


pairs = st.one_of(
    st.tuples(addresses(ipv4), addresses(ipv4)), st.tuples(addresses(ipv6), addresses(ipv6))
)
ssls = st.builds(
    SSLInfo, st.integers(0, 255), st.integers(0, 2**32 - 1), *[texts] * 7, st.binary(max_size=99)
)
tlvsOf = st.builds(
    makeTLVs, st.binary(max_size=20), texts, st.binary(max_size=128), texts, st.none() | ssls
)
customs = st.lists(st.tuples(st.integers(0xE0, 0xEF), st.binary(max_size=20)), max_size=5)
junk = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=200).map(lambda data: b"PROXY " + data),
    st.binary(max_size=300).map(lambda data: SIGNATURE + data),
    st.builds(
        v2, st.binary(max_size=60), st.sampled_from([0x20, 0x21]),
        st.sampled_from([0, 0x11, 0x12, 0x21, 0x22]),
    ),
    st.text("PROXYTCUNKW46 .:%0123456789abF\r\n", max_size=110).map(
        lambda line: b"PROXY TCP" + line.encode()
    ),
)  # fmt: skip


def sameAddress(one, other):
    return encodeV1(one, one) == encodeV1(other, other)


class TestAtRandom:
    @given(pairs)
    def test_thereAndBackVersion1(self, pair):
        header = read(encodeV1(*pair) + b"GET")
        if header.source is not None:
            assert sameAddress(header.source, pair[0])
            assert sameAddress(header.destination, pair[1])

    @given(addresses(ipv4 | ipv6), addresses(ipv4 | ipv6), tlvsOf, customs, st.booleans())
    def test_thereAndBackVersion2(self, source, destination, tlvs, custom, crc32c):
        data = encodeV2(source, destination, tlvs=[*tlvs, *custom], crc32c=crc32c)
        header = read(data + b"GET", limit=99999)
        assert header.size == len(data)
        assert sameAddress(header.source, source)
        assert sameAddress(header.destination, destination)
        assert header.checksummed is crc32c
        assert header.tlvs[crc32c:] == (*tlvs, *custom)

    @given(ssls)
    def test_thereAndBackSSL(self, ssl):
        assert SSLInfo.decode(ssl.encode()) == ssl

    @given(pairs)
    @example((("1.2.3.4", 1), ("1.2.3.5", 2)))
    def test_asTwistedReadsIt(self, pair):
        """A second opinion: it takes no TLVs."""
        info = V2Parser.parse(encodeV2(*pair))
        assert (info.source.port, info.destination.port) == (pair[0][1], pair[1][1])
        if encodeV1(*pair) != b"PROXY UNKNOWN\r\n":
            info = V1Parser.parse(encodeV1(*pair).removesuffix(b"\r\n"))
            assert sameAddress((info.source.host, info.source.port), pair[0])
            assert sameAddress((info.destination.host, info.destination.port), pair[1])

    @given(junk)
    def test_nothingElseIsRaised(self, data):
        try:
            header = read(data)
        except BadProxyHeader:
            return
        if header is not None:
            assert isinstance(header, ProxyHeader)
            assert 15 <= header.size <= len(data)
            for name in ("alpn", "authority", "uniqueId", "netns", "ssl", "checksummed",
                         "vpcEndpointId", "linkId", "pscConnectionId"):  # fmt: skip
                getattr(header, name)

    @given(junk)
    @example(HAPROXY + b"GET")
    def test_aVerdictIsNeverTakenBack(self, data):
        verdict = None
        for end in range(len(data) + 1):
            try:
                now = read(data[:end])
            except BadProxyHeader:
                now = "refused"
            assert verdict is None or now == verdict
            verdict = now

    @given(junk)
    def test_whatDoesNotBeginIsRefused(self, data):
        if begins(data) is False:
            assert refused(data)
        elif begins(data) is None:
            assert read(data) is None
