"""
ClientHellos as OpenSSL makes them, and made by hand: what is found in them, in whole,
in pieces, cut into records of every size, and changed at random.
"""

import socket
import ssl
import struct
import subprocess
from functools import lru_cache

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from lbtwist.errors import BadClientHello
from lbtwist.sansio.clienthello import (
    LIMIT,
    MAX_EXTENSIONS,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    TLS10,
    TLS11,
    TLS12,
    TLS13,
    HelloReader,
    read,
)

ALPN = (b"h2", b"http/1.1")
X25519, MLKEM = 29, 4588


@lru_cache
def hello(sni=b"www.example.org", alpn=(), minimum=None, maximum=None, ciphers=b"ALL"):
    """A ClientHello as OpenSSL makes it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(ciphers + b":@SECLEVEL=0")
    if minimum is not None:
        context.set_min_proto_version(minimum)
    if maximum is not None:
        context.set_max_proto_version(maximum)
    if alpn:
        context.set_alpn_protos(list(alpn))
    client = SSL.Connection(context, None)
    client.set_connect_state()
    if sni:
        client.set_tlsext_host_name(sni)
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def resumed(version):
    """The ClientHello of a client that comes back."""
    authority = trustme.CA()
    certificate = authority.issue_cert("a.example")
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(accepting)
    connecting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connecting.maximum_version = version
    authority.configure_trust(connecting)
    toServer, toClient = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = accepting.wrap_bio(toServer, toClient, server_side=True)
    client = connecting.wrap_bio(toClient, toServer, server_hostname="a.example")
    for step in (client.do_handshake, server.do_handshake, client.do_handshake,
                 server.do_handshake, client.do_handshake, client.read):  # fmt: skip
        try:
            step()
        except ssl.SSLWantReadError:
            pass
    again = ssl.MemoryBIO()
    client = connecting.wrap_bio(
        ssl.MemoryBIO(), again, server_hostname="a.example", session=client.session
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return again.read()


def vector(width, data):
    return len(data).to_bytes(width, "big") + data


def numbers(*values):
    return struct.pack(f">{len(values)}H", *values)


def extension(kind, value=b""):
    return numbers(kind) + vector(2, value)


def serverName(*names):
    return extension(0, vector(2, b"".join(b"\0" + vector(2, name) for name in names)))


def records(message, size=16384, version=b"\3\1"):
    """A handshake message in records of so many bytes."""
    pieces = (message[at : at + size] for at in range(0, len(message), size))
    return b"".join(b"\x16" + version + vector(2, piece) for piece in pieces)


SUITES = numbers(0x1301, 0xC02B, 0xC02F)


def body(*extensions, version=b"\3\3", session=b"", suites=SUITES, methods=b"\0"):
    start = version + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, methods)
    return start + vector(2, b"".join(extensions)) if extensions else start


def message(*extensions, **others):
    return b"\1" + vector(3, body(*extensions, **others))


def made(*extensions, **others):
    """A ClientHello made by hand."""
    return records(message(*extensions, **others))


GROUPS = extension(10, vector(2, numbers(X25519, SECP256R1)))
SIGNATURES = extension(13, vector(2, numbers(0x0403, 0x0804)))
VERSIONS = extension(43, vector(1, numbers(TLS13, TLS12)))

HELLOS = {
    "TLS 1.0": hello(minimum=SSL.TLS1_VERSION, maximum=SSL.TLS1_VERSION),
    "TLS 1.0 without extensions": made(version=b"\3\1"),
    "TLS 1.1 with ALPN": hello(b"", ALPN, SSL.TLS1_1_VERSION, SSL.TLS1_1_VERSION),
    "TLS 1.2": hello(maximum=SSL.TLS1_2_VERSION, minimum=SSL.TLS1_2_VERSION),
    "TLS 1.3": hello(b"", (), SSL.TLS1_3_VERSION),
    "with ML-KEM": hello(b"a-rather-long-name-of-a-host.www.example.org", (*ALPN, b"acme-tls/1")),
}
EVERY_HELLO = pytest.mark.parametrize("data", HELLOS.values(), ids=HELLOS)


def refusal(data, **options):
    """@return: why a hello is refused."""
    with pytest.raises(BadClientHello) as caught:
        read(data, **options)
    return caught.value.reason


class TestOfOpenSSL:
    @pytest.mark.parametrize(
        ("version", "number"),
        [(SSL.TLS1_VERSION, TLS10), (SSL.TLS1_1_VERSION, TLS11),
         (SSL.TLS1_2_VERSION, TLS12), (SSL.TLS1_3_VERSION, TLS13)],
    )  # fmt: skip
    @pytest.mark.parametrize("sni", [b"", b"www.example.org"])
    @pytest.mark.parametrize("alpn", [(), ALPN])
    def test_eachVersion(self, version, number, sni, alpn):
        data = hello(sni, alpn, version, version)
        found = read(data + b"more")
        assert found.sni == sni.decode()
        assert found.alpn == alpn
        assert found.versions == (number,)
        assert found.size == len(data)
        assert (found.ticket, found.psk) == (False, False)

    def test_everyVersion(self):
        assert read(hello(minimum=SSL.TLS1_VERSION)).versions == (TLS13, TLS12, TLS11, TLS10)

    def test_aLargeOne(self):
        """The key of ML-KEM makes it longer than a segment."""
        data = HELLOS["with ML-KEM"]
        found = read(data)
        assert len(data) > 1700
        assert found.sni == "a-rather-long-name-of-a-host.www.example.org"
        assert found.alpn == (*ALPN, b"acme-tls/1")
        assert MLKEM in found.groups

    @pytest.mark.parametrize(
        ("version", "ticket", "psk"),
        [(ssl.TLSVersion.TLSv1_2, True, False), (ssl.TLSVersion.TLSv1_3, False, True)],
    )
    def test_aClientThatComesBack(self, version, ticket, psk):
        found = read(resumed(version))
        assert (found.ticket, found.psk, found.sni) == (ticket, psk, "a.example")

    @pytest.mark.parametrize(
        ("maximum", "ciphers", "ecdsa"),
        [
            (SSL.TLS1_3_VERSION, b"ALL", True),
            (SSL.TLS1_3_VERSION, b"kRSA", True),
            (SSL.TLS1_2_VERSION, b"ECDHE-ECDSA-AES128-GCM-SHA256", True),
            (SSL.TLS1_2_VERSION, b"ECDHE-RSA-AES128-GCM-SHA256", False),
            (SSL.TLS1_2_VERSION, b"AES128-SHA", False),
            (SSL.TLS1_VERSION, b"ECDHE-ECDSA-AES128-SHA", True),
            (SSL.TLS1_VERSION, b"ECDHE-RSA-AES128-SHA", False),
        ],
    )
    def test_whichCertificate(self, maximum, ciphers, ecdsa):
        data = hello(minimum=SSL.TLS1_VERSION, maximum=maximum, ciphers=ciphers)
        assert read(data).ecdsa is ecdsa

    @pytest.mark.needs("openssl")
    @pytest.mark.parametrize(
        ("options", "sni", "alpn", "versions", "ecdsa"),
        [
            (["-servername", "A.example.org", "-alpn", "h2,http/1.1", "-no_tls1", "-no_tls1_1"],
             "a.example.org", ALPN, (TLS13, TLS12), True),
            (["-noservername", "-tls1_2", "-sigalgs", "RSA+SHA256"], "", (), (TLS12,), False),
            (["-noservername", "-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], "", (), (TLS13,), False),
            (["-noservername", "-tls1_2", "-curves", "X25519:P-384"], "", (), (TLS12,), False),
        ],
    )  # fmt: skip
    def test_theProgram(self, options, sni, alpn, versions, ecdsa):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(20)
            port = listening.getsockname()[1]
            client = subprocess.Popen(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                accepted, _ = listening.accept()
                with accepted:
                    accepted.settimeout(20)
                    data, found = b"", None
                    while found is None:
                        received = accepted.recv(100)
                        assert received
                        data += received
                        found = read(data)
            finally:
                client.kill()
                client.wait()
        assert (found.sni, found.alpn, found.versions) == (sni, alpn, versions)
        assert found.ecdsa is ecdsa


def everyPiece(data):
    """Give a reader more and more of C{data}; a fresh one must say the same."""
    reader = HelloReader()
    for end in range(len(data) + 1):
        try:
            found = reader.read(data[:end])
        except BadClientHello as refused:
            assert refusal(data[:end]) == refused.reason
            return refused.reason
        assert read(data[:end]) == found
        if found is not None:
            assert found.size == end
            return found
    return None


class Counting(bytes):
    """Counts the bytes that are copied out of it, and the looks at single ones."""

    work = 0

    def __getitem__(self, key):
        found = bytes.__getitem__(self, key)
        Counting.work += len(found) if isinstance(key, slice) else 1
        return found


class TestPieces:
    @EVERY_HELLO
    def test_byteByByte(self, data):
        assert everyPiece(data) == read(data)

    @EVERY_HELLO
    def test_inTwo(self, data):
        expected = read(data)
        for cut in range(len(data)):
            reader = HelloReader()
            assert reader.read(data[:cut]) is None
            assert cut < reader.wanted <= len(data)
            assert reader.read(data[:cut]) is None
            assert reader.read(data + b"more") == expected
            assert reader.read(data + b"more and more") == expected

    @EVERY_HELLO
    def test_whatIsWanted(self, data):
        """With fewer bytes than wanted a reader finds nothing, with as many it goes on."""
        reader = HelloReader()
        wanted = []
        while reader.read(data[: reader.wanted]) is None:
            wanted.append(reader.wanted)
        assert wanted == sorted(set(wanted))
        assert wanted[-1] == len(data)
        assert len(wanted) < 12

    @EVERY_HELLO
    def test_inRecordsOfEverySize(self, data):
        expected = read(data)
        handshake = data[5:]
        for size in range(1, len(handshake)):
            cut = records(handshake, size)
            found = read(cut + b"\x16\3\1")
            assert found.size == len(cut)
            assert (found.sni, found.alpn, found.versions) == (
                expected.sni, expected.alpn, expected.versions,
            )  # fmt: skip

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
    def test_smallRecordsByteByByte(self, size):
        data = records(message(serverName(b"a.example"), VERSIONS), size)
        assert everyPiece(data) == read(data)

    @pytest.mark.parametrize("size", [1, 3, 16384])
    def test_noByteIsLookedAtAgainAndAgain(self, size):
        data = records(message(extension(21, bytes(2000))), size)
        reader = HelloReader()
        Counting.work = 0
        for end in range(len(data)):
            assert reader.read(Counting(data[:end])) is None
        assert reader.read(Counting(data)) is not None
        assert Counting.work < 10 * len(data)


class TestByHand:
    def test_allOfIt(self):
        found = read(made(serverName(b"a.example"), GROUPS, SIGNATURES, VERSIONS))
        assert found.cipherSuites == (0x1301, 0xC02B, 0xC02F)
        assert found.groups == (X25519, SECP256R1)
        assert found.signatureAlgorithms == (0x0403, 0x0804)
        assert found.versions == (TLS13, TLS12)

    def test_withoutExtensions(self):
        found = read(made(version=b"\3\1"))
        assert (found.sni, found.alpn, found.versions) == ("", (), (TLS10,))
        assert (found.signatureAlgorithms, found.groups) == ((), ())

    @pytest.mark.parametrize("legacy", [b"\3\3", b"\3\4", b"\3\x7f"])
    def test_noMoreThanTLS12WithoutAList(self, legacy):
        assert read(made(version=legacy)).versions == (TLS12,)

    @pytest.mark.parametrize("grease", [0x0A0A, 0x1A1A, 0x8A8A, 0xFAFA])
    def test_grease(self, grease):
        """RFC 8701: it has to be overlooked wherever it comes."""
        found = read(
            made(
                extension(grease), extension(10, vector(2, numbers(grease, X25519))),
                extension(13, vector(2, numbers(grease, 0x0403))),
                extension(43, vector(1, numbers(grease, TLS13))),
                suites=numbers(grease, 0x1301),
            )
        )  # fmt: skip
        assert (found.versions, found.cipherSuites) == ((TLS13,), (0x1301,))
        assert (found.groups, found.signatureAlgorithms) == ((X25519,), (0x0403,))

    @pytest.mark.parametrize("number", [0x0A1A, 0x1A0A, 0x0B0B, 0x1301])
    def test_noGrease(self, number):
        assert read(made(suites=numbers(number))).cipherSuites == (number,)

    @pytest.mark.parametrize("value", [b"", b"ticket"])
    def test_anEmptyTicketIsOnlyAnOffer(self, value):
        assert read(made(extension(35, value))).ticket is bool(value)

    @pytest.mark.parametrize(
        ("suites", "extensions", "ecdsa"),
        [
            ([0xC02B], [], True),
            ([0xC02B], [GROUPS, SIGNATURES], True),
            ([0xC02F], [GROUPS, SIGNATURES], False),
            ([0xC02B], [extension(13, vector(2, numbers(0x0401, 0x0804)))], False),
            ([0xC02B], [extension(13, vector(2, numbers(0x0203)))], True),
            ([0xC02B], [extension(10, vector(2, numbers(X25519)))], False),
            ([0x1301], [GROUPS, SIGNATURES, VERSIONS], True),
            ([0x1301], [VERSIONS], False),
            ([0x1301], [VERSIONS, extension(13, vector(2, numbers(0x0503)))], False),
            ([0x1301, 0xC02B], [VERSIONS, extension(13, vector(2, numbers(0x0503)))], True),
            ([0xC02B], [extension(43, vector(1, numbers(TLS13)))], False),
        ],
    )
    def test_whichCertificate(self, suites, extensions, ecdsa):
        assert read(made(*extensions, suites=numbers(*suites))).ecdsa is ecdsa

    def test_whichCurve(self):
        found = read(made(VERSIONS, extension(13, vector(2, numbers(0x0503))), GROUPS))
        curves = (SECP256R1, SECP384R1, SECP521R1)
        assert [found.verifiesECDSA(curve) for curve in curves] == [True, True, False]

    def test_extensions(self):
        extensions = [extension(kind) for kind in range(100, 100 + MAX_EXTENSIONS)]
        assert read(made(*extensions)) is not None
        assert refusal(made(*extensions, extension(1000))) == "more than 64 extensions"


class TestServerName:
    @pytest.mark.parametrize(
        ("name", "sni"),
        [
            (b"www.example.org", "www.example.org"),
            (b"WWW.Example.ORG", "www.example.org"),
            (b"www.example.org.", "www.example.org"),
            (b"localhost", "localhost"),
            (b"_dns.a-b.example", "_dns.a-b.example"),
            (b"xn--mller-kva.example", "xn--mller-kva.example"),
            (b"a" * 63 + b".example", "a" * 63 + ".example"),
            (b"a." * 126 + b"a", "a." * 126 + "a"),
            (b"a." * 126 + b"a.", "a." * 126 + "a"),
            (b"1.2.3", "1.2.3"),
            (b"1.2.3.4.5", "1.2.3.4.5"),
            (b"192.0.2.1", ""),
            (b"192.0.2.1.", ""),
            (b"2001:db8::1", ""),
        ],
    )
    def test_names(self, name, sni):
        assert read(made(serverName(name))).sni == sni

    @pytest.mark.parametrize(
        "name",
        [b"", b".", b"..", b".a", b"a..b", b"a..", b"a\0b", b"a\0", b"a b", b"a/b", b"*.example",
         b"a:80", b"[::1]", b"a\n", b"m\xc3\xbcller.example", b"\xff", b"a" * 64,
         b"a" * 300, b"a." * 127 + b"a", b"a." * 150, b"::1\0", b"::1%lo", b":"],
    )  # fmt: skip
    def test_noNames(self, name):
        assert refusal(made(serverName(name))) == "a server name that is not well formed"

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (serverName(b"a.example", b"b.example"), "more than one server name"),
            (serverName(b"a.example", b"a.example"), "more than one server name"),
            (serverName(), "a server name that is no host name"),
            (
                extension(0, vector(2, b"\1" + vector(2, b"a"))),
                "a server name that is no host name",
            ),
            (extension(0), "a length in the ClientHello reaches beyond its end"),
            (extension(0, b"\0\4\0\0\2a"), "a length in the ClientHello reaches beyond its end"),
            (extension(0, b"\0\4\0\0\1ab"), "bytes after the end of an extension's list"),
            (serverName(b"a") * 2, "an extension that comes twice"),
        ],
    )
    def test_wrongLists(self, data, reason):
        assert refusal(made(data)) == reason


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "looksLike"),
        [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "http"),
            (b"G", "http"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http"),
            (b"POST ", "http"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "proxy"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", "proxy"),
            (b"\x80\x2e\1\3\1\0\x15", "sslv2"),
            (b"\x15\3\1\0\2\1\0", "tls"),
            (b"\x17\3\3\0\1a", "tls"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", ""),
            (b"\0", ""),
            (b"\x16\xfe\xff", ""),
            (b"\x16G", ""),
            (b"\x80\x2e\2", ""),
            (b"get /", ""),
            (b"A" * 21, ""),
        ],
    )
    def test_whatItLooksLike(self, data, looksLike):
        with pytest.raises(BadClientHello) as caught:
            read(data)
        assert caught.value.looksLike == looksLike
        assert str(caught.value) == caught.value.reason

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"\x16\3\1\0\4\2\0\0\0", "a handshake that does not begin with a ClientHello"),
            (b"\x16\3\1\0\0", "a record that is empty or longer than allowed"),
            (b"\x16\3\1\x40\1", "a record that is empty or longer than allowed"),
            (b"\x16\3\1\0\4\1\0\0\0", "a ClientHello that is too short or of no version of TLS"),
            (b"\x16\3\1\0\4\1\0\1\0\x14", "a record of another kind within the ClientHello"),
            (b"\x16\3\1\0\4\1\0\1\0\x16\2\1\0\1",
             "a record of another kind within the ClientHello"),
            (records(message() + b"\1"), "more in the last record than the ClientHello"),
            (made(version=b"\2\3"), "a ClientHello that is too short or of no version of TLS"),
            (made(version=b"\xfe\xfd"), "a ClientHello that is too short or of no version of TLS"),
            (made(session=bytes(33)), "a session id of more than 32 bytes"),
            (made(suites=b""), "a list of numbers that is empty or cut off"),
            (made(suites=bytes(3)), "a list of numbers that is empty or cut off"),
            (made(methods=b""), "no compression method, not even none"),
            (made(b"\0"), "an extension that is cut off"),
            (made(numbers(16, 1)), "an extension that is cut off"),
            (made(GROUPS, GROUPS), "an extension that comes twice"),
            (made(extension(16, vector(2, b""))), "an empty list in ALPN"),
            (made(extension(16, vector(2, b"\0"))), "an empty name in ALPN"),
            (made(extension(16, vector(2, b"\2h"))),
             "a length in the ClientHello reaches beyond its end"),
            (made(extension(43, vector(1, b""))), "a list of numbers that is empty or cut off"),
            (made(extension(43, vector(1, b"\3"))), "a list of numbers that is empty or cut off"),
            (made(extension(10, vector(2, numbers(1)) + b"\0")),
             "bytes after the end of an extension's list"),
            (made(extension(13)), "a length in the ClientHello reaches beyond its end"),
            (records(b"\1" + vector(3, body(GROUPS) + b"\0")), "bytes after the extensions"),
            (records(b"\1" + vector(3, body() + b"\0")),
             "a length in the ClientHello reaches beyond its end"),
        ],
    )  # fmt: skip
    def test_reasons(self, data, reason):
        assert refusal(data) == reason
        assert everyPiece(data) == reason

    def test_aListThatEndsBeforeItsNumbersDo(self):
        """Every length within the message, made longer and shorter."""
        whole = message(serverName(b"a.example"), GROUPS, SIGNATURES, VERSIONS)
        for at in range(38, len(whole)):
            for change in (-1, 1):
                changed = bytearray(whole)
                changed[at] = (changed[at] + change) % 256
                try:
                    found = read(records(bytes(changed)))
                except BadClientHello:
                    continue
                assert found.size == len(whole) + 5

    def test_tooLong(self):
        reason = f"the ClientHello is longer than {LIMIT} bytes"
        assert read(records(b"\1" + vector(3, bytes(16380)))[:9]) is None
        assert refusal(records(b"\1" + vector(3, bytes(16381)))[:9]) == reason

    @pytest.mark.parametrize("size", [1, 2, 50, 16384])
    def test_theLimit(self, size):
        data = records(message(extension(21, bytes(300))), size)
        assert read(data, limit=len(data)).size == len(data)
        assert refusal(data, limit=len(data) - 1).endswith(f"longer than {len(data) - 1} bytes")

    def test_theLimitIsKnownEarly(self):
        """As soon as the message states its length, which takes two records at least."""
        whole = message(extension(21, bytes(300)))
        data = records(whole, 100)
        assert read(data[:8], limit=len(whole) + 9) is None
        assert refusal(data[:9], limit=len(whole) + 9)
        assert read(data[:9], limit=len(whole) + 10) is None


def verdict(data):
    try:
        return read(data)
    except BadClientHello as refused:
        return refused.reason


changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8)


class TestAtRandom:
    @given(st.sampled_from(list(HELLOS.values())), changes)
    def test_bytesThatChange(self, data, changed):
        wrong = bytearray(data)
        for at, value in changed:
            wrong[at % len(wrong)] = value
        found = verdict(bytes(wrong))
        assert found is None or isinstance(found, str) or found.size <= len(wrong)

    @given(
        st.sampled_from(list(HELLOS.values())), st.integers(0, 2000), st.integers(0, 99),
        st.binary(max_size=99),
    )  # fmt: skip
    def test_bytesThatComeAndGo(self, data, at, gone, come):
        """Inside of the message, whose own length stays right."""
        inner = data[9:]
        at %= len(inner)
        inner = inner[:at] + come + inner[at + gone :]
        assert verdict(records(b"\1" + vector(3, inner))) is not None

    @given(st.lists(st.builds(extension, st.integers(0, 60), st.binary(max_size=20)), max_size=5))
    def test_anyExtensions(self, extensions):
        assert verdict(made(*extensions)) is not None

    @given(
        st.binary(max_size=99) | st.binary(max_size=99).map(lambda data: b"\x16\3\1\0\x30" + data)
    )
    def test_anything(self, data):
        """And what was said of the beginning holds for the whole."""
        said = None
        for end in range(len(data) + 1):
            now = verdict(data[:end])
            assert said is None or isinstance(now, type(said))
            said = now

    @given(
        st.sampled_from(list(HELLOS.values())),
        st.lists(st.integers(1, 400), min_size=1, max_size=20),
    )
    def test_recordsOfAnySizes(self, data, sizes):
        handshake, pieces = data[5:], []
        while handshake:
            size = sizes[len(pieces) % len(sizes)]
            pieces.append(records(handshake[:size], size, b"\3\3"))
            handshake = handshake[size:]
        cut = b"".join(pieces)
        if len(cut) <= LIMIT:
            assert read(cut).sni == read(data).sni
