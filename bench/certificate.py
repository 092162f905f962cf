"""
What the cases with TLS need: a certificate that is made when the bench begins, and what
the clients are told to offer, so that all programs agree with them on the same.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VERSION = "TLSv1.3"
SUITE = "TLS_AES_128_GCM_SHA256"

# OpenSSL reads it in every process that names it in OPENSSL_CONF, config(5): wrk has no
# options for TLS.
_CLIENTS = f"""\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = offered
[offered]
MinProtocol = {VERSION}
MaxProtocol = {VERSION}
Ciphersuites = {SUITE}
Groups = X25519
"""


class Certificate:
    """
    An ECDSA P-256 certificate of its own for 127.0.0.1, and its key.

    @ivar path: a PEM file with both.
    @ivar clients: variables of the environment for the clients of the TLS cases.
    """

    def __init__(self, directory: Path) -> None:
        """@param directory: is made."""
        directory.mkdir()
        self.path = directory / "site.pem"
        self.path.write_bytes(_make())
        offered = directory / "openssl.cnf"
        offered.write_text(_CLIENTS)
        self.clients = {"OPENSSL_CONF": str(offered)}

    def trusting(self) -> ssl.SSLContext:
        """
        @return: for a client that believes this certificate and no other, so that an
            answer shows that a program has it.
        """
        return ssl.create_default_context(cafile=str(self.path))


def _make() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
