"""
What a client's certificate says, as the words that servers and rules are told.

Everything is read from certificates of C{cryptography}; whether one is good is decided
by the handshake, not here. A certificate may say anything in its names: no word made
here holds a byte that could end a line, a quoted string or an item of a list.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    Certificate,
    DNSName,
    IPAddress,
    Name,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)
from cryptography.x509.oid import NameOID

_X_SSL = (
    b"x-ssl", b"x-ssl-client-verify", b"x-ssl-client-dn", b"x-ssl-client-cn", b"x-ssl-issuer",
    b"x-ssl-client-notbefore", b"x-ssl-client-notafter", b"x-ssl-client-serial",
    b"x-ssl-client-sha1",
)  # fmt: skip

NAMES = (*_X_SSL, b"client-cert", b"client-cert-chain", b"x-forwarded-client-cert")
"""In lower case: every field that tells of a client's certificate, of all kinds."""

# OpenSSL's short names (its crypto/objects/objects.txt); others go by their numbers.
_SHORT = {
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C",
    "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "street", "2.5.4.10": "O",
    "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
    "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.41": "name",
    "2.5.4.42": "GN", "2.5.4.43": "initials", "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier", "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}  # fmt: skip

_SANS: dict[type, str] = {
    DNSName: "DNS", UniformResourceIdentifier: "URI", RFC822Name: "email", IPAddress: "IP",
}  # fmt: skip

_T = TypeVar("_T")


def _bytesOf(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def _escaped(value: str | bytes, special: bytes, sign: str) -> str:
    """
    @param special: characters to replace besides quotes, backslashes and what is no
        printable ASCII.
    @param sign: stands before the two hexadecimal digits of a byte.
    """
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' and byte not in special
        else f"{sign}{byte:02X}"
        for byte in _bytesOf(value)
    )  # fmt: skip


def _short(oid: str) -> str:
    return _SHORT.get(oid, oid)


def oneLine(name: Name) -> str:
    """
    A name as C{X509_NAME_oneline(3)} writes it, such as C{/C=FR/O=haproxy.com/CN=client1}.

    What is no printable ASCII becomes C{\\xHH}, byte by byte of its UTF-8; and, where
    OpenSSL leaves them, quotes, backslashes, and slashes within a value, so that nobody
    can have a common name that looks like two attributes.
    """
    return "".join(
        f"/{_short(one.oid.dotted_string)}={_escaped(one.value, b'/', _BACKSLASH_X)}"
        for one in name
    )


_BACKSLASH_X = "\\x"


def rfc2253(name: Name) -> str:
    """
    A name as RFC 2253 (now 4514) and Envoy write it: the last attribute first, such as
    C{CN=client1,O=haproxy.com,C=FR}. Everything special is written as C{\\HH}, which is
    one of its two ways (RFC 4514 section 2.4): no quote or comma stands in a value.
    """
    return ",".join(
        "+".join(
            f"{_short(one.oid.dotted_string)}={_value2253(one.value)}" for one in rdn
        )
        for rdn in reversed(name.rdns)
    )


def _value2253(value: str | bytes) -> str:
    text = _escaped(value, b"#+,;<=>", _BACKSLASH)
    # Readers drop a space at an end, and would know a name that nobody was given.
    if text.startswith(" "):
        text = rf"\20{text[1:]}"
    if text.endswith(" "):
        text = rf"{text[:-1]}\20"
    return text


_BACKSLASH = "\\"


def commonName(name: Name) -> str:
    """@return: the first common name, as it is; empty without one."""
    for one in name.get_attributes_for_oid(NameOID.COMMON_NAME):
        return _bytesOf(one.value).decode("utf-8", "replace")
    return ""


def timeOf(time: datetime) -> str:
    """
    @param time: in UTC.
    @return: C{YYMMDDhhmmssZ}, with the whole year where two digits do not say which it
        is (before 1950, from 2050 on), as certificates have it (RFC 5280 section 4.1.2.5).
    """
    year = f"{time.year % 100:02}" if 1950 <= time.year < 2050 else f"{time.year:04}"
    return f"{year}{time.month:02}{time.day:02}{time.hour:02}{time.minute:02}{time.second:02}Z"


def _serial(number: int) -> str:
    digits = f"{abs(number):X}"
    return "-" * (number < 0) + digits.zfill(len(digits) + len(digits) % 2)


def _sans(certificate: Certificate) -> tuple[tuple[str, str], ...]:
    for extension in certificate.extensions:
        if isinstance(extension.value, SubjectAlternativeName):
            return tuple(
                (_SANS[type(one)], str(one.value)) for one in extension.value if type(one) in _SANS
            )
    return ()


def _read(what: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return what()
    except Exception:
        # It was made by others, and cryptography reads its parts when it is asked for
        # them: what it cannot read is not there.
        return otherwise


class ClientCertificate:
    """
    The words for one certificate; what it does not say, or nobody can read, is empty.

    @ivar der: the certificate in DER.
    @ivar subject: its subject, see L{oneLine}.
    @ivar subject2253: its subject, see L{rfc2253}.
    @ivar cn: the first common name of the subject, as it is: no text for a line.
    @ivar issuer: its issuer, see L{oneLine}.
    @ivar notBefore: see L{timeOf}.
    @ivar notAfter: see L{timeOf}.
    @ivar serial: in hexadecimal digits, an even number of them, in upper case.
    @ivar sans: its alternative names in order: C{(kind, name)} with a kind of C{DNS},
        C{URI}, C{email}, C{IP}; as they are: no text for a line.
    @ivar sha1: of the DER, in hexadecimal digits, in upper case as HAProxy writes it.
    @ivar sha256: of the DER, in hexadecimal digits, in lower case as Envoy writes it.
    """

    __slots__ = (
        "cn", "der", "issuer", "notAfter", "notBefore", "sans", "serial", "sha1", "sha256",
        "subject", "subject2253",
    )  # fmt: skip

    def __init__(self, certificate: Certificate) -> None:
        self.der = der = certificate.public_bytes(Encoding.DER)
        self.sha1 = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        self.sha256 = hashlib.sha256(der).hexdigest()
        self.subject = _read(lambda: oneLine(certificate.subject), "")
        self.subject2253 = _read(lambda: rfc2253(certificate.subject), "")
        self.cn = _read(lambda: commonName(certificate.subject), "")
        self.issuer = _read(lambda: oneLine(certificate.issuer), "")
        self.notBefore = _read(lambda: timeOf(certificate.not_valid_before_utc), "")
        self.notAfter = _read(lambda: timeOf(certificate.not_valid_after_utc), "")
        self.serial = _read(lambda: _serial(certificate.serial_number), "")
        self.sans: tuple[tuple[str, str], ...] = _read(lambda: _sans(certificate), ())

    def __repr__(self) -> str:
        return f"<ClientCertificate {self.subject}>"


def xssl(secure: bool, verify: int, told: ClientCertificate | None) -> bytes:
    """
    HAProxy's customary fields: C{X-SSL}, and with a certificate C{X-SSL-Client-Verify}
    and those of its words.

    Without one only C{X-SSL}: OpenSSL's code for none is that for a good one.

    @param verify: OpenSSL's code; 0 is good.
    """
    lines = b"X-SSL: %d\r\n" % secure
    if told is None:
        return lines
    cn = _escaped(told.cn, b"", _BACKSLASH_X)
    return lines + (
        f"X-SSL-Client-Verify: {verify}\r\n"
        f'X-SSL-Client-DN: "{told.subject}"\r\n'
        f'X-SSL-Client-CN: "{cn}"\r\n'
        f'X-SSL-Issuer: "{told.issuer}"\r\n'
        f'X-SSL-Client-NotBefore: "{told.notBefore}"\r\n'
        f'X-SSL-Client-NotAfter: "{told.notAfter}"\r\n'
        f"X-SSL-Client-Serial: {told.serial}\r\n"
        f"X-SSL-Client-SHA1: {told.sha1}\r\n"
    ).encode("ascii")


def _sequence(der: bytes) -> bytes:
    return b":%b:" % base64.b64encode(der)


def rfc9440(told: ClientCertificate, chain: Sequence[Certificate] = ()) -> bytes:
    """
    C{Client-Cert} and, where there is a chain, C{Client-Cert-Chain} (RFC 9440 section 2):
    byte sequences (RFC 9651 section 3.3.5) of the DER.

    @param chain: who issued it, the nearest first.
    """
    lines = b"Client-Cert: %b\r\n" % _sequence(told.der)
    if chain:
        found = b", ".join(_sequence(one.public_bytes(Encoding.DER)) for one in chain)
        lines += b"Client-Cert-Chain: %b\r\n" % found
    return lines


# RFC 3986 section 2, without what separates items: it needs no quotes.
_PLAIN = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+%"
)


def _item(value: str) -> str:
    return value if _PLAIN.issuperset(value) else f'"{_escaped(value, b"", _BACKSLASH)}"'


def xfcc(told: ClientCertificate) -> bytes:
    """Envoy's C{X-Forwarded-Client-Cert}: one element, of C{Hash}, C{Subject}, then the
    alternative names of the kinds C{URI} and C{DNS}."""
    items = [f"Hash={told.sha256}", f'Subject="{told.subject2253}"']
    for wanted in ("URI", "DNS"):
        items += [f"{kind}={_item(name)}" for kind, name in told.sans if kind == wanted]
    return f"X-Forwarded-Client-Cert: {';'.join(items)}\r\n".encode("ascii")


def certificateLines(
    kinds: Iterable[str],
    secure: bool,
    verify: int,
    told: ClientCertificate | None,
    chain: Sequence[Certificate] = (),
) -> bytes:
    """
    The complete lines to add to a request.

    @param kinds: what C{client-cert-headers} names.
    @param secure: whether the client came over TLS.
    @param verify: OpenSSL's code for the certificate; 0 is good.
    @param told: the client's certificate, L{None} without one. C{rfc9440} and C{xfcc}
        have no way to say that it is not good, and say nothing then.
    """
    lines = b""
    if "x-ssl" in kinds:
        lines += xssl(secure, verify, told)
    if told is None or verify:
        return lines
    if "rfc9440" in kinds:
        lines += rfc9440(told, chain)
    if "xfcc" in kinds:
        lines += xfcc(told)
    return lines
