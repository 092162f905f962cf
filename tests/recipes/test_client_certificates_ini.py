"""
C{etc/client-certificates.ini}: with a certificate, without one, with a bad one, and on
the plain port.
"""

import ssl

import pytest
from authority import NOW, Authority, pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from recipe import Mirror, asks, connects, started, trusting

from programs import freePort

AUTHORITY = Authority()
HOST = "Host: www.example.org"
FORGED = ("X-SSL: 1", "x-ssl-client-verify: 0", "X_SSL_Client_CN: root", "Client-Cert: :AA==:")
DN = "/C=FR/ST=Ile de France/L=Jouy en Josas/O=haproxy.com/CN=client1/emailAddress=ba@haproxy.com"
SUBJECT = [
    (NameOID.COUNTRY_NAME, "FR"), (NameOID.STATE_OR_PROVINCE_NAME, "Ile de France"),
    (NameOID.LOCALITY_NAME, "Jouy en Josas"), (NameOID.ORGANIZATION_NAME, "haproxy.com"),
    (NameOID.COMMON_NAME, "client1"), (NameOID.EMAIL_ADDRESS, "ba@haproxy.com"),
]  # fmt: skip


def client1():
    """@return: a certificate with the name of row 003.13."""
    issued = AUTHORITY.issue(common="client1")
    found = issued.certificate
    subject = x509.Name([x509.NameAttribute(*pair) for pair in SUBJECT])
    issued.certificate = (
        x509.CertificateBuilder(subject_name=subject)
        .issuer_name(found.issuer)
        .public_key(found.public_key())
        .serial_number(found.serial_number)
        .not_valid_before(found.not_valid_before_utc)
        .not_valid_after(found.not_valid_after_utc)
        .sign(AUTHORITY.key, hashes.SHA256())
    )
    return issued


@pytest.fixture(scope="module")
def mutual(tmp_path_factory):
    """The recipe, at work."""
    directory = tmp_path_factory.mktemp("mutual")
    AUTHORITY.issue("www.example.org").write(directory / "server.pem")
    (directory / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
    client1().write(directory / "client1.pem")
    Authority("Others").issue(common="client1").write(directory / "eve.pem")
    plain, secured = freePort(), freePort()
    with Mirror("one") as one:
        replaced = {
            ":8080,": f"127.0.0.1:{plain},", ":8443 ": f"127.0.0.1:{secured} ",
            "10.0.3.10:8001": one,
        }  # fmt: skip
        with started("client-certificates.ini", directory, replaced) as balancer:
            balancer.plain, balancer.secured, balancer.one = plain, secured, one
            yield balancer


def told(mutual, path, certificate=None, port=None):
    """@return: what the server was told of certificates, with a request for C{path}."""
    context = trusting(AUTHORITY) if port is None else None
    if certificate:
        context.load_cert_chain(mutual.directory / certificate)
    with connects(port or mutual.secured, context, "www.example.org") as client:
        asks(client, HOST, *FORGED, line=f"GET {path} HTTP/1.1")
    [head] = [head for head in mutual.one.heads if head[0] == f"GET {path} HTTP/1.1"]
    fields = [line for line in head if line.lower().startswith(("x-ssl", "x_ssl", "client-cert"))]
    return dict(line.split(": ", 1) for line in fields)


def test_withACertificate(mutual):
    """Row 003.13: the seed's header fields; forged ones are gone."""
    found = told(mutual, "/good", "client1.pem")
    assert found["X-SSL"] == "1"
    assert found["X-SSL-Client-Verify"] == "0"
    assert found["X-SSL-Client-DN"] == f'"{DN}"'
    assert found["X-SSL-Client-CN"] == '"client1"'
    assert found["X-SSL-Issuer"] == '"/CN=Test Authority"'
    assert found["X-SSL-Client-NotBefore"].startswith(f'"{NOW:%y}')
    assert len(found["X-SSL-Client-NotAfter"]) == len('"130613144555Z"')
    assert found["Client-Cert"].startswith(":MII")
    assert "X_SSL_Client_CN" not in found and "x-ssl-client-verify" not in found


def test_withoutACertificate(mutual):
    """Row 003.12: C{optional} tells those with from those without."""
    assert told(mutual, "/none") == {"X-SSL": "1"}


def test_onThePlainPort(mutual):
    """Row 003.13: X-SSL is 0, and forged fields are gone."""
    assert told(mutual, "/plain", port=mutual.plain) == {"X-SSL": "0"}


def test_withABadCertificate(mutual):
    """Row 003.12: one of another authority ends the handshake."""
    context = trusting(AUTHORITY)
    context.load_cert_chain(mutual.directory / "eve.pem")
    # In TLSv1.3 a client learns only afterwards that its certificate is refused.
    with connects(mutual.secured, context, "www.example.org") as client:
        port = client.getsockname()[1]
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            asks(client, HOST)
    assert " PR-- " in mutual.line(f"127.0.0.1:{port} ")
