"""
Certificates for tests: an authority of our own, what it issues, revokes and says of it.
"""

import datetime
import functools
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def newKey(kind="ecdsa"):
    return rsaKey() if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


@functools.cache
def rsaKey():
    """One for all: it takes long to make."""
    return rsa.generate_private_key(65537, 2048)


def pem(*certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def keyPEM(key, password=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


def responder(*urls):
    """@return: the extension by which a certificate names who can be asked for it."""
    return x509.AuthorityInformationAccess([
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
        )
        for url in urls
    ])  # fmt: skip


SIGNS_OCSP = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])


def indexOf(*issued, revoked=()):
    """@return: the file from which C{openssl ocsp -index} knows certificates."""
    end = f"{NOW + DAY:%y%m%d%H%M%SZ}"

    def serial(one):
        number = one.certificate.serial_number
        return number.to_bytes((number.bit_length() + 7) // 8).hex().upper()

    return "".join(
        f"{'R' if one in revoked else 'V'}\t{end}\t{end if one in revoked else ''}\t"
        f"{serial(one)}\tunknown\t/CN={number}\n"
        for number, one in enumerate(issued)
    )


def nameOf(common):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Issued:
    """
    A certificate and its key.

    @ivar chain: who issued it, without the root.
    """

    def __init__(self, certificate, key, chain=()):
        self.certificate = certificate
        self.key = key
        self.chain = chain

    def pem(self, password=None):
        return pem(self.certificate, *self.chain) + keyPEM(self.key, password)

    def write(self, path, password=None):
        path.write_bytes(self.pem(password))
        return str(path)


class Authority:
    """Issues certificates; its own is signed by itself, or by C{parent}."""

    def __init__(self, common="Test Authority", parent=None):
        self.key = newKey()
        self.parent = parent
        issuer = parent.certificate.subject if parent else nameOf(common)
        self.certificate = (
            self._builder(nameOf(common), issuer, self.key, NOW - DAY, NOW + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(parent.key if parent else self.key, hashes.SHA256())
        )

    @property
    def chain(self):
        return (self.certificate, *self.parent.chain) if self.parent else ()

    @staticmethod
    def _builder(subject, issuer, key, begin, end):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    def issue(
        self, *names, kind="ecdsa", common=None, begin=None, end=None, key=None, extensions=()
    ):
        key = key or newKey(kind)
        builder = self._builder(
            nameOf(common or (names[0] if names else "nobody")),
            self.certificate.subject, key, begin or NOW - DAY, end or NOW + 90 * DAY,
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), True)  # fmt: skip
        if names:
            found = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(found, False)
        for one in extensions:
            builder = builder.add_extension(one, False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key, self.chain)

    def careless(self, issued):
        """
        @return: the same in PEM, with a C{FALSE} written out that X.690 section 11.5 wants
            left out: OpenSSL overlooks it, and cryptography does not.
        """
        tbs = issued.certificate.tbs_certificate_bytes.replace(b"\1\1\xff", b"\1\1\0")
        signature = self.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
        algorithm = bytes.fromhex("300a06082a8648ce3d040302")
        body = tbs + algorithm + bytes((3, len(signature) + 1, 0)) + signature
        return ssl.DER_cert_to_PEM_cert(
            b"\x30\x82" + len(body).to_bytes(2, "big") + body
        ).encode()

    def crl(self, *revoked):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(NOW - DAY)
            .next_update(NOW + DAY)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one.certificate.serial_number)
                .revocation_date(NOW - DAY)
                .build()
            )
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def ocsp(
        self, issued, until=None, since=None, status="GOOD", by=None, show=True,
        digest=None, named=None, unlimited=False,
    ):  # fmt: skip
        """
        @param by: who signs it instead of us, and whether his certificate is C{show}n.
        @param named: the hash by which the certificate is named.
        @return: a response in DER, which says that the certificate is good.
        """
        revoked = status == "REVOKED"
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                issued.certificate, self.certificate, named or hashes.SHA1(),
                ocsp.OCSPCertStatus[status], since or NOW - 2 * DAY,
                None if unlimited else until or NOW + DAY, NOW - 3 * DAY if revoked else None,
                None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, (by or self).certificate)
        )  # fmt: skip
        if by is not None and show:
            builder = builder.certificates([by.certificate])
        key = (by or self).key
        edwards = isinstance(key, ed25519.Ed25519PrivateKey)
        response = builder.sign(key, None if edwards else digest or hashes.SHA256())
        return response.public_bytes(serialization.Encoding.DER)
