"""
What servers are told of client certificates: the words, and that nobody can forge them.
"""

import base64
import datetime
import re
import subprocess

import pytest
from authority import NOW, Authority, newKey
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from lbtwist.config.model import FrontendConfig
from lbtwist.deadlines import Deadlines
from lbtwist.exchange import TLSInfo
from lbtwist.http.shared import Shared
from lbtwist.sansio.clientcert import (
    NAMES,
    ClientCertificate,
    certificateLines,
    oneLine,
    rfc2253,
    timeOf,
)

KEY = newKey()
KINDS = ("x-ssl", "rfc9440", "xfcc")
SEED = (
    (NameOID.COUNTRY_NAME, "FR"), (NameOID.STATE_OR_PROVINCE_NAME, "Ile de France"),
    (NameOID.LOCALITY_NAME, "Jouy en Josas"), (NameOID.ORGANIZATION_NAME, "haproxy.com"),
    (NameOID.COMMON_NAME, "client1"), (NameOID.EMAIL_ADDRESS, "ba@haproxy.com"),
)  # fmt: skip
BEGIN = datetime.datetime(2013, 6, 13, 14, 45, 55, tzinfo=datetime.UTC)
END = datetime.datetime(2014, 6, 13, 14, 45, 55, tzinfo=datetime.UTC)
DN = "/C=FR/ST=Ile de France/L=Jouy en Josas/O=haproxy.com/CN=client1/emailAddress=ba@haproxy.com"


def nameOf(*pairs):
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def made(subject=SEED, sans=(), serial=0xAB1, begin=BEGIN, end=END):
    builder = (
        x509.CertificateBuilder()
        .subject_name(nameOf(*subject))
        .issuer_name(nameOf(SEED[3], (NameOID.COMMON_NAME, "CA")))
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), False)
    return builder.sign(KEY, hashes.SHA256())


def linesOf(certificate, kinds=KINDS, verify=0, chain=()):
    told = None if certificate is None else ClientCertificate(certificate)
    return certificateLines(kinds, True, verify, told, chain).decode("ascii").split("\r\n")[:-1]


def test_xSSLOfTheSeed():
    """Row 003.13: golden."""
    certificate = made()
    sha1 = certificate.fingerprint(hashes.SHA1()).hex().upper()
    assert linesOf(certificate, ["x-ssl"]) == [
        "X-SSL: 1",
        "X-SSL-Client-Verify: 0",
        f'X-SSL-Client-DN: "{DN}"',
        'X-SSL-Client-CN: "client1"',
        'X-SSL-Issuer: "/O=haproxy.com/CN=CA"',
        'X-SSL-Client-NotBefore: "130613144555Z"',
        'X-SSL-Client-NotAfter: "140613144555Z"',
        "X-SSL-Client-Serial: 0AB1",
        f"X-SSL-Client-SHA1: {sha1}",
    ]


def test_rfc9440():
    certificate, one, two = made(), made(serial=2), made(serial=3)

    def sequence(certificate):
        return f":{base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()}:"

    own = f"Client-Cert: {sequence(certificate)}"
    assert linesOf(certificate, ["rfc9440"]) == [own]
    assert linesOf(certificate, ["rfc9440"], chain=(one, two)) == [
        own, f"Client-Cert-Chain: {sequence(one)}, {sequence(two)}"
    ]  # fmt: skip


def test_xfcc():
    certificate = made(
        SEED[3:5],
        [
            x509.DNSName("a.example"),
            x509.UniformResourceIdentifier("spiffe://x/y"),
            x509.RFC822Name("a@example"),
            x509.DNSName("*.b.example"),
            x509.UniformResourceIdentifier("https://x/?a=b;c,d"),
        ],
    )
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    assert linesOf(certificate, ["xfcc"]) == [
        f'X-Forwarded-Client-Cert: Hash={digest};Subject="CN=client1,O=haproxy.com"'
        ';URI=spiffe://x/y;URI="https://x/?a=b;c,d";DNS=a.example;DNS=*.b.example'
    ]


def test_withoutACertificate():
    """OpenSSL's code for none is that for a good one: it is not told."""
    assert linesOf(None) == ["X-SSL: 1"]
    assert certificateLines(KINDS, False, 0, None) == b"X-SSL: 0\r\n"
    assert certificateLines(["rfc9440", "xfcc"], True, 0, None) == b""


def test_notVerified():
    """Only x-ssl can say so."""
    lines = linesOf(made(), verify=10)
    assert "X-SSL-Client-Verify: 10" in lines
    assert {line.partition(":")[0].lower().encode() for line in lines} == set(NAMES[:9])


def test_namesAreThoseWritten():
    lines = linesOf(made(), chain=(made(),))
    assert [line.partition(":")[0].lower().encode() for line in lines] == list(NAMES)


FORGED = 'x"\r\nX-SSL-Client-Verify: 0\\/CN=admin,\0é;'


def test_forged():
    """No value ends its line, its quotes, or its attribute."""
    name = nameOf((NameOID.COMMON_NAME, FORGED))
    assert oneLine(name) == (
        r"/CN=x\x22\x0D\x0AX-SSL-Client-Verify: 0\x5C\x2FCN=admin,\x00\xC3\xA9;"
    )
    assert rfc2253(name) == (
        r"CN=x\22\0D\0AX-SSL-Client-Verify: 0\5C/CN\3Dadmin\2C\00\C3\A9\3B"
    )
    certificate = made(((NameOID.COMMON_NAME, FORGED),))
    assert (
        r'X-SSL-Client-CN: "x\x22\x0D\x0AX-SSL-Client-Verify: 0\x5C/CN=admin,\x00\xC3\xA9;"'
        in linesOf(certificate)
    )


@pytest.mark.parametrize("name", [" admin", "admin ", " ", "  ", "#admin", "a  b"])
def test_spacesAtTheEnds(name):
    """Whoever reads it finds the same name, and not another's."""
    subject = nameOf((NameOID.COMMON_NAME, name))
    assert x509.Name.from_rfc4514_string(rfc2253(subject)) == subject


# No more than 64 bytes of a name are allowed (RFC 5280 appendix A.1).
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=16))
def test_anyText(text):
    sans = [x509.DNSName(text)] if text.isascii() else ()
    subject = ((NameOID.COMMON_NAME, text), (NameOID.ORGANIZATION_NAME, text))
    lines = linesOf(made(subject, sans))
    assert len(lines) == len(NAMES) - 1
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9-]+: [ -~]*", line)
    for line in lines[2:5]:
        assert re.fullmatch(r'[A-Za-z-]+: "[^"]*"', line)
    assert re.fullmatch(
        r'X-[A-Za-z-]+: Hash=[0-9a-f]{64};Subject="CN=[^",;]*,O=[^",;]*"|'
        r'X-[A-Za-z-]+: Hash=[0-9a-f]{64};Subject="O=[^",;]*,CN=[^",;]*"'
        r'(;DNS=([^",;]+|"[^"]*"))?',
        lines[-1],
    )


@pytest.mark.needs("openssl")
def test_oneLineIsOpenSSLs():
    """For what needs no escape beyond its own."""
    others = [
        (NameOID.SURNAME, "s"), (NameOID.GIVEN_NAME, "g"), (NameOID.SERIAL_NUMBER, "1"),
        (NameOID.STREET_ADDRESS, "r"), (NameOID.TITLE, "t"), (NameOID.POSTAL_CODE, "p"),
        (NameOID.BUSINESS_CATEGORY, "b"), (NameOID.GENERATION_QUALIFIER, "q"),
        (NameOID.DN_QUALIFIER, "d"), (NameOID.PSEUDONYM, "y"), (NameOID.USER_ID, "u"),
        (NameOID.DOMAIN_COMPONENT, "dc"), (NameOID.INITIALS, "i"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "ou é"), (NameOID.UNSTRUCTURED_NAME, "n"),
        (NameOID.ORGANIZATION_IDENTIFIER, "oi"), (NameOID.X500_UNIQUE_IDENTIFIER, "x"),
        (NameOID.JURISDICTION_COUNTRY_NAME, "FR"), (NameOID.JURISDICTION_LOCALITY_NAME, "j"),
        (NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME, "k"),
        (x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), "own"),
    ]  # fmt: skip
    for pairs in (SEED, *([one] for one in others)):
        certificate = made(tuple(pairs))
        theirs = subprocess.run(
            ["openssl", "x509", "-noout", "-subject", "-nameopt", "compat"],
            input=certificate.public_bytes(Encoding.PEM), capture_output=True, check=True,
        )  # fmt: skip
        assert theirs.stdout.decode() == f"subject={oneLine(certificate.subject)}\n"


@pytest.mark.parametrize(
    "year,text",
    [(1949, "19490102030405Z"), (1950, "500102030405Z"), (2049, "490102030405Z"),
     (2050, "20500102030405Z"), (9999, "99990102030405Z")],
)  # fmt: skip
def test_times(year, text):
    assert timeOf(datetime.datetime(year, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)) == text


class Unreadable:
    """A certificate of which only the bytes can be read."""

    def public_bytes(self, encoding):
        return b"der"

    def __getattr__(self, name):
        raise ValueError(name)


def test_unreadable():
    lines = linesOf(Unreadable())
    assert 'X-SSL-Client-DN: ""' in lines
    assert "X-SSL-Client-Serial: " in lines
    assert lines[-1].endswith(';Subject=""')


def test_properties():
    certificate = made(sans=[x509.DNSName("a.example")])
    info = TLSInfo(certificate=certificate)
    assert info.told is info.told
    assert (info.subject, info.cn, info.issuer) == (DN, "client1", "/O=haproxy.com/CN=CA")
    assert (info.notBefore, info.notAfter) == ("130613144555Z", "140613144555Z")
    assert (info.serial, info.sans) == ("0AB1", (("DNS", "a.example"),))
    assert info.sha1 == certificate.fingerprint(hashes.SHA1()).hex().upper()
    assert info.sha256 == certificate.fingerprint(hashes.SHA256()).hex()
    assert repr(info.told) == f"<ClientCertificate {DN}>"


def test_propertiesWithoutACertificate():
    info = TLSInfo()
    assert info.told is None
    texts = (info.subject, info.cn, info.issuer, info.notBefore, info.notAfter, info.serial)
    assert texts == ("",) * 6
    assert (info.sans, info.sha1, info.sha256) == ((), "", "")


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n%bX-Sslx: kept\r\nX-SSL-Else: kept\r\nCookie: kept\r\n\r\n"


@pytest.mark.parametrize("forwarded", ["none", "both"])
@pytest.mark.parametrize("kinds", [(), ("xfcc",)])
def test_removed(kinds, forwarded):
    """From everybody; from a trusted proxy where the frontend writes any of them."""
    config = FrontendConfig("www", client_cert_headers=kinds, forwarded=forwarded)
    clock = Clock()
    deadlines = Deadlines(clock, clock.seconds)
    shared = Shared(config, None, deadlines, lambda exchange: None, ())
    sent = [*NAMES, *(name.upper() for name in NAMES), *(n.replace(b"-", b"_") for n in NAMES)]
    data = HEAD % b"".join(b"%b: forged\r\n" % name for name in sent)
    own = {b"host", b"x-sslx", b"x-ssl-else", b"cookie"}

    def left(reader):
        return {name.lower() for name, _ in reader.read(data).fields}

    assert left(shared.reader) == own
    assert left(shared.trustedReader) == (own if kinds else own | {n.lower() for n in sent})


def test_chainOfAnAuthority():
    """A certificate of an authority that is under another reads well."""
    issued = Authority("Sub", Authority("Root")).issue("client.test", begin=NOW)
    assert linesOf(issued.certificate, ["x-ssl"])[2:5] == [
        'X-SSL-Client-DN: "/CN=client.test"', 'X-SSL-Client-CN: "client.test"',
        'X-SSL-Issuer: "/CN=Sub"',
    ]  # fmt: skip
