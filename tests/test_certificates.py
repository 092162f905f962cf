"""
Which context a client gets, what it admits, and what is wrong with files.
"""

import contextlib
import os
import ssl

import pytest
from authority import DAY, NOW, Authority, keyPEM, newKey, pem
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from secured import Answering, Door, Secured, clientContext, serverTLS

from lbtwist.config.model import TLSConfig, TLSName
from lbtwist.errors import StartError
from lbtwist.net.certificates import ServerTLS
from lbtwist.net.policies import Terms, setGroups

V10, V11, V12, V13 = (
    ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3,
)  # fmt: skip
pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
    pytest.mark.filterwarnings("error::DeprecationWarning:lbtwist"),
]


@pytest.fixture(scope="module")
def ca():
    return Authority()


@pytest.fixture
def made():
    """Makes connections, and closes them."""
    found = []

    def connect(*args, **options):
        found.append(Secured(*args, **options))
        return found[-1]

    yield connect
    for one in found:
        one.close()


def shown(secured):
    """@return: the certificate that the client was shown."""
    return x509.load_der_x509_certificate(secured.peer.getpeercert(True))


# versions


@pytest.mark.parametrize("floor", ["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("spoken", [V10, V11, V12, V13])
def test_floors(ca, tmp_path, made, floor, spoken):
    """Row 000.1: every floor against every version."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", minimum=floor)
    client = made(tls, clientContext(ca, spoken, spoken))
    wanted = {"TLSv1.0": V10, "TLSv1.1": V11, "TLSv1.2": V12, "TLSv1.3": V13}[floor]
    if spoken >= wanted:
        assert client.failed is None
        assert client.info.version == client.peer.version()
    else:
        assert "ALERT_PROTOCOL_VERSION" in str(client.refused)
        assert client.failed.reason


def test_maximum(ca, tmp_path, made):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", maximum="TLSv1.2")
    assert made(tls, clientContext(ca)).info.version == "TLSv1.2"


@pytest.mark.parametrize(
    "policy, lowest", [("modern", "TLSv1.3"), ("intermediate", "TLSv1.2"), ("old", "TLSv1")]
)
def test_policies(ca, tmp_path, made, policy, lowest):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", policy=policy)
    admitted = []
    for spoken in (V10, V11, V12, V13):
        client = made(tls, clientContext(ca, spoken, spoken))
        if client.failed is None:
            admitted.append(client.info.version)
    assert admitted[0] == lowest
    assert admitted[-1] == "TLSv1.3"


def test_versionsOfAName(ca, tmp_path, made):
    """One name admits old clients, another only new ones; the section is as it was."""
    ca.issue("site.test", "old.test", "new.test").write(tmp_path / "site.pem")
    tls = serverTLS(
        tmp_path / "site.pem",
        names=(TLSName("old.test", minimum="TLSv1.1"), TLSName("new.test", policy="modern")),
    )
    spoken = clientContext(ca, V11, V11), clientContext(ca, V12, V12)
    admitted = {
        name: [made(tls, one, name).failed is None for one in spoken]
        for name in ("site.test", "old.test", "new.test")
    }
    assert admitted == {
        "site.test": [False, True], "old.test": [True, True], "new.test": [False, False],
    }  # fmt: skip


def test_ciphers(ca, tmp_path, made):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(
        tmp_path / "site.pem", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384",
        ciphersuites="TLS_CHACHA20_POLY1305_SHA256",
    )  # fmt: skip
    assert made(tls, clientContext(ca)).info.cipher == "TLS_CHACHA20_POLY1305_SHA256"
    context = clientContext(ca, high=V12)
    assert made(tls, context).info.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
    context = clientContext(ca, high=V12)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert made(tls, context).failed.reason == "no shared cipher"


# names


POLICIES = pytest.mark.parametrize("policy", ["modern", "intermediate", "old"])


@POLICIES
@pytest.mark.parametrize(
    "group, known",
    [("X25519", True), ("prime256v1", True), ("secp384r1", True), ("secp521r1", False),
     ("X448", False)],
)  # fmt: skip
def test_groups(ca, tmp_path, policy, group, known):
    """The groups for the key exchange are Mozilla's."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    door = Door(serverTLS(tmp_path / "site.pem", policy=policy))
    printed, _ = door.run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{door.port}", "-curves", group
    )
    door.close()
    assert ("Cipher is TLS_AES" in printed) is known
    assert [one.reason for one in door.failures] == ([] if known else ["no suitable key share"])


@POLICIES
def test_hybridGroup(ca, tmp_path, policy):
    """Who knows the group that holds against quantum computers too gets it."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    context = serverTLS(tmp_path / "site.pem", policy=policy).context(None)
    ends = SSL.Connection(context), SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    ends[0].set_accept_state()
    ends[1].set_connect_state()
    for one, other in (ends[::-1], ends, ends[::-1]):
        with contextlib.suppress(SSL.WantReadError):
            one.do_handshake()
        other.bio_write(one.bio_read(65536))
    ends[0].do_handshake()
    assert ends[0].get_group_name() == "X25519MLKEM768"


def test_anOlderOpenSSL(monkeypatch):
    """It does not know the hybrid, and not how to say that it need not be known."""
    context, told = SSL.Context(SSL.TLS_SERVER_METHOD), []

    class Older:
        known = b"X25519:secp256r1:secp384r1"

        def SSL_CTX_set1_curves_list(self, _context, groups):
            told.append(groups)
            return int(groups == self.known)

        def ERR_clear_error(self):
            told.append("cleared")

    monkeypatch.setattr(SSL, "_lib", Older())
    terms = Terms("TLSv1.2", "", "intermediate", "none")
    setGroups(context, terms)
    assert told[1:] == ["cleared", Older.known]
    Older.known = b""
    with pytest.raises(StartError, match="none of the groups X25519:secp256r1:secp384r1"):
        setGroups(context, terms)


@pytest.mark.parametrize(
    "theirs, agreed",
    [
        ("ECDHE+AES256:ECDHE+AES128:ECDHE+CHACHA20", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ECDHE+CHACHA20:ECDHE+AES256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ],
)
@pytest.mark.parametrize("policy", ["intermediate", "old"])
def test_order(ca, tmp_path, made, policy, theirs, agreed):
    """We choose the cipher, but for clients that put ChaCha20 first."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    context = clientContext(ca, high=V12)
    context.set_ciphers(theirs)
    tls = serverTLS(tmp_path / "site.pem", policy=policy)
    assert made(tls, context).info.cipher == agreed


def test_names(ca, tmp_path, made):
    """Exact before wildcard; a wildcard is one label; the first written is the default."""
    issued = {
        name: ca.issue(*name.split())
        for name in ("first.test", "*.wild.test wild.test", "www.wild.test")
    }
    for number, one in enumerate(issued.values()):
        one.write(tmp_path / f"{number}.pem")
    tls = serverTLS(*sorted(tmp_path.iterdir()))
    for asked, expected in {
        "first.test": "first.test",
        "FIRST.test": "first.test",
        "www.wild.test": "www.wild.test",
        "other.wild.test": "*.wild.test wild.test",
        "wild.test": "*.wild.test wild.test",
        "a.b.wild.test": "first.test",
        "unknown.test": "first.test",
        None: "first.test",
    }.items():
        client = made(tls, clientContext(), asked)
        assert shown(client) == issued[expected].certificate, asked


def test_strictSNI(ca, tmp_path, made):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", strict_sni=True)
    assert made(tls, clientContext(ca)).failed is None
    for asked, why in (("other.test", "no certificate for 'other.test'"), (None, "no name asked")):
        client = made(tls, clientContext(), asked)
        assert why in client.failed.reason
        assert "UNRECOGNIZED_NAME" in str(client.refused)


def test_bothKinds(ca, tmp_path, made):
    """RSA and ECDSA of one name: what the client can verify, ECDSA before RSA."""
    ca.issue("site.test", kind="rsa").write(tmp_path / "a.pem")
    ca.issue("site.test").write(tmp_path / "b.pem")
    tls = serverTLS(tmp_path)
    assert made(tls, clientContext(ca), "site.test").info.cipher.startswith("TLS_")
    context = clientContext(ca, high=V12)
    assert "ECDHE-ECDSA" in made(tls, context).info.cipher
    context = clientContext(ca, high=V12)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert "ECDHE-RSA" in made(tls, context).info.cipher
    assert "ECDSA" in made(tls, clientContext(high=V12), "unknown.test").info.cipher


def test_certificateOfAName(ca, tmp_path, made):
    """It need not have the name."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    special = ca.issue("special.test")
    special.write(tmp_path / "special.pem")
    tls = serverTLS(
        tmp_path / "site.pem",
        names=(TLSName("*.odd.test", certificate=(str(tmp_path / "special.pem"),)),),
    )
    client = made(tls, clientContext(), "a.odd.test")
    assert shown(client) == special.certificate


# chains and keys


def test_chainInAnyOrder(ca, tmp_path, made):
    """It is put in order, and the root is left out; what does not belong is refused."""
    middle = Authority("Middle", ca)
    inner = Authority("Inner", middle)
    one = inner.issue("site.test")
    path = tmp_path / "site.pem"
    path.write_bytes(
        keyPEM(one.key) + pem(ca.certificate, middle.certificate, one.certificate,
                              inner.certificate)
    )  # fmt: skip
    tls = serverTLS(path)
    assert tls.certificates[0].chain == [inner.certificate, middle.certificate]
    assert made(tls, clientContext(ca)).refused is None
    path.write_bytes(one.pem() + pem(Authority("Stranger").certificate))
    with pytest.raises(StartError, match=r"CN=Stranger is not in the chain of CN=site.test"):
        serverTLS(path)


def test_keyElsewhere(ca, tmp_path, made):
    one = ca.issue("site.test")
    (tmp_path / "site.crt").write_bytes(pem(one.certificate))
    (tmp_path / "key").write_bytes(keyPEM(one.key))
    assert made(serverTLS(tmp_path / "site.crt", key=str(tmp_path / "key"))).failed is None
    (tmp_path / "site.key").write_bytes(keyPEM(one.key))
    assert made(serverTLS(tmp_path / "site.crt")).failed is None


def test_traditionalKey(ca, tmp_path, made):
    """As old openssl wrote it, with the curve before it."""
    one = ca.issue("site.test")
    old = one.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )  # fmt: skip
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    (tmp_path / "site.pem").write_bytes(pem(one.certificate) + curve + old)
    assert made(serverTLS(tmp_path / "site.pem")).failed is None


def test_encryptedKey(ca, tmp_path, made):
    ca.issue("site.test").write(tmp_path / "site.pem", b"open sesame")
    secret = tmp_path / "password"
    secret.write_bytes(b"open sesame\n")
    path = tmp_path / "site.pem"
    assert made(serverTLS(path, key_password_file=str(secret))).failed is None


def test_weakKey(ca, tmp_path):
    weak = rsa.generate_private_key(65537, 1024)
    ca.issue("site.test", key=weak).write(tmp_path / "site.pem")
    with pytest.raises(StartError, match=r"OpenSSL refuses this certificate.* 2048 bits"):
        serverTLS(tmp_path / "site.pem")


def test_expiry(ca, tmp_path):
    ca.issue("site.test", end=NOW + 5 * DAY).write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem")
    (left,) = tls.notAfter.values()
    assert abs(left - (NOW + 5 * DAY)).total_seconds() < 1


def _wrong(ca, path):
    """Everything that can be wrong with files: options and the message."""
    good = ca.issue("site.test")
    good.write(path / "good.pem")
    good.write(path / "locked.pem", b"secret")
    (path / "bare.pem").write_bytes(pem(good.certificate))
    (path / "other.pem").write_bytes(pem(good.certificate) + keyPEM(newKey()))
    (path / "text.pem").write_bytes(b"hello")
    (path / "cut.pem").write_bytes(good.pem().replace(b"MII", b"!!!", 1))
    (path / "badkey.pem").write_bytes(
        pem(good.certificate) + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    )
    (path / "password").write_bytes(b"wrong\n")
    (path / "empty").mkdir()
    (path / "good.pem.ocsp").write_bytes(b"nothing")
    large = path / "large.pem"
    large.write_bytes(bytes((4 << 20) + 1))
    name = str(path / "good.pem")

    def at(*names, **options):
        return TLSConfig("site", certificate=tuple(str(path / one) for one in names), **options)

    return [
        (at(), r"\[tls site\]: no certificate; name a PEM file"),
        (at("none.pem"), "none.pem: cannot be read: there is no such file"),
        (at("text.pem"), "text.pem: no certificate in PEM form; .*openssl x509"),
        (at("cut.pem"), "cut.pem: a certificate in it is damaged"),
        (at("large.pem"), "large.pem: longer than 4 MiB"),
        (at("bare.pem"), "bare.pem: no private key; add it .* beside it as bare.key"),
        (at("bare.pem", key=str(path / "text.pem")), "text.pem: no private key in PEM form"),
        (at("badkey.pem"), "badkey.pem: the private key is damaged"),
        (at("other.pem"), "other.pem: the private key does not belong"),
        (at("locked.pem"), "locked.pem: the private key is encrypted; .*key-password-file"),
        (
            at("locked.pem", key_password_file=str(path / "password")),
            "locked.pem: the password of key-password-file does not open",
        ),
        (at("empty"), r"empty: no certificate in this directory; .*\.pem"),
        (at("good.pem", ciphers="NONE-SUCH"), "ciphers: OpenSSL knows none of 'NONE-SUCH'"),
        (at("good.pem", ciphersuites="TLS_X"), "ciphersuites: OpenSSL does not know all"),
        (
            at("good.pem", minimum="TLSv1.3", maximum="TLSv1.2"),
            "minimum TLSv1.3 is above maximum TLSv1.2",
        ),
        (at("good.pem", client_verify="required"), "client-verify = required needs .*client-ca"),
        (
            at("good.pem", client_verify="required", client_ca=str(path / "text.pem")),
            "text.pem: no certificate in PEM form; client-ca",
        ),
        (
            at("good.pem", client_verify="optional", client_ca=name, client_crl=name),
            "good.pem: no revocation list in PEM form",
        ),
        (at("good.pem", ocsp="file"), "good.pem.ocsp: no OCSP response for"),
        (at("good.pem", keylog=str(path / "no" / "log")), "no/log: cannot write the key log"),
        (at("good.pem", session_cache=7), "session-cache: OpenSSL's own size is 20480"),
        (
            at("good.pem", strict_sni=True, names=(TLSName("x.test"),)),
            "name x.test: no certificate has this name",
        ),
        (
            at("good.pem", names=(TLSName("x.test", minimum="TLSv1.3", maximum="TLSv1.2"),)),
            "name x.test: minimum TLSv1.3 is above",
        ),
    ]


@pytest.mark.parametrize("number", range(23))
def test_wrongFiles(ca, tmp_path, number):
    cases = _wrong(ca, tmp_path)
    assert len(cases) == 23
    config, message = cases[number]
    with pytest.raises(StartError, match=message):
        ServerTLS(config)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission(ca, tmp_path):
    path = tmp_path / "site.pem"
    ca.issue("site.test").write(path)
    path.chmod(0)
    with pytest.raises(StartError, match="permission denied; let the user"):
        serverTLS(path)


# client certificates


def mutual(ca, tmp_path, verify="required", **options):
    ca.issue("site.test").write(tmp_path / "site.pem")
    (tmp_path / "ca.pem").write_bytes(pem(ca.certificate))
    return serverTLS(
        tmp_path / "site.pem", client_verify=verify, client_ca=str(tmp_path / "ca.pem"), **options
    )


def withCertificate(context, issued, path):
    issued.write(path)
    context.load_cert_chain(str(path))
    return context


@pytest.mark.parametrize("spoken", [V12, V13])
def test_clientCertificates(ca, tmp_path, made, spoken):
    """Row 003.12: none, good, of another authority, expired; by each setting."""
    good, bad = ca.issue(common="client1"), Authority("Others").issue(common="eve")
    late = ca.issue(common="late", end=NOW - DAY / 2)

    def client(verify, issued=None):
        context = clientContext(ca, high=spoken)
        if issued is not None:
            withCertificate(context, issued, tmp_path / "client.pem")
        return made(mutual(ca, tmp_path, verify), context)

    assert client("required", good).info.certificate == good.certificate
    assert client("optional", good).info.verify == 0
    assert client("optional").info.certificate is None
    assert client("none", bad).info.certificate is None
    assert "peer did not return a certificate" in client("required").failed.reason
    assert "certificate verify failed" in client("required", bad).failed.reason
    assert "certificate verify failed" in client("optional", bad).failed.reason
    assert "certificate has expired" in client("required", late).failed.reason


@pytest.mark.parametrize("spoken", [V12, V13])
@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_curvesOfClientCertificates(ca, tmp_path, made, curve, spoken):
    """Of some no key exchange is made any more; certificates are another matter."""
    issued = ca.issue("client1", key=ec.generate_private_key(curve()))
    context = withCertificate(clientContext(ca, high=spoken), issued, tmp_path / "client.pem")
    client = made(mutual(ca, tmp_path), context)
    assert client.failed is None
    assert client.info.certificate == issued.certificate


@pytest.mark.parametrize("spoken", [V12, V13])
def test_ourCertificateOfALargeCurve(ca, tmp_path, made, spoken):
    key = ec.generate_private_key(ec.SECP521R1())
    ca.issue("site.test", key=key).write(tmp_path / "site.pem")
    assert made(serverTLS(tmp_path / "site.pem"), clientContext(ca, high=spoken)).failed is None


def test_theClientIsTold(ca, tmp_path, made):
    """The alert arrives, although a request has come that nobody reads."""
    client = made(mutual(ca, tmp_path), clientContext(ca), shake=False)
    client._tryShake()
    client.turn()
    assert client._tryShake()
    client.peer.send(b"GET / HTTP/1.1\r\n\r\n")
    client.turn()
    assert "did not return a certificate" in client.failed.reason
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        client.taken()


def test_revoked(ca, tmp_path, made):
    good, revoked = ca.issue(common="good"), ca.issue(common="revoked")
    (tmp_path / "crl.pem").write_bytes(ca.crl(revoked))
    tls = mutual(ca, tmp_path, client_crl=str(tmp_path / "crl.pem"))
    path = tmp_path / "client.pem"
    assert made(tls, withCertificate(clientContext(ca), good, path)).failed is None
    client = made(tls, withCertificate(clientContext(ca), revoked, path))
    assert "certificate revoked" in client.failed.reason


def test_verificationOfAName(ca, tmp_path, made):
    tls = mutual(ca, tmp_path, "none", names=(TLSName("admin.test", client_verify="required"),))
    assert made(tls, clientContext()).failed is None
    assert made(tls, clientContext(), "admin.test").failed is not None


@pytest.mark.parametrize("wild", [False, True])
def test_everythingIsReadAtTheStart(ca, tmp_path, made, wild):
    """Later the file may be out of reach: for hosts that no certificate has as well."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    paths = [ca.issue("www.one.test").write(tmp_path / "one.pem")]
    if wild:
        paths.append(ca.issue("*.one.test").write(tmp_path / "wild.pem"))
    (tmp_path / "ca.pem").write_bytes(pem(ca.certificate))
    tls = serverTLS(
        tmp_path / "site.pem", *paths, client_ca=str(tmp_path / "ca.pem"),
        names=(TLSName("*.one.test", client_verify="required"),),
    )  # fmt: skip
    (tmp_path / "ca.pem").unlink()
    for name in ("www.one.test", "other.one.test"):
        client = made(tls, clientContext(), name)
        assert "peer did not return a certificate" in client.failed.reason


# ALPN


@pytest.mark.parametrize(
    "ours, theirs, agreed",
    [
        ((b"h2", b"http/1.1"), ["http/1.1", "h2"], b"h2"),
        ((b"http/1.1",), ["h2", "http/1.1"], b"http/1.1"),
        ((b"http/1.1",), ["h2"], b""),
        ((b"http/1.1",), [], b""),
        ((), ["h2"], b""),
    ],
)
def test_alpn(ca, tmp_path, made, ours, theirs, agreed):
    """Our order counts; where nothing fits it goes on without, as HAProxy does."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem")
    tls.prepare(ours)
    context = clientContext(ca)
    if theirs:
        context.set_alpn_protocols(theirs)
    client = made(tls, context, alpn=ours)
    assert client.info.protocol == agreed
    assert client.secured.negotiatedProtocol == (agreed or None)


# sessions


@pytest.mark.parametrize("spoken", [V12, V13])
@pytest.mark.parametrize("tickets", [True, False])
def test_resumption(ca, tmp_path, made, spoken, tickets):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", tickets=tickets)
    context = clientContext(ca, high=spoken)
    first = made(tls, context)
    first.secured.write(b"x")
    first.taken()
    session = first.peer.session
    assert not first.info.resumed
    first.secured.loseConnection()
    assert made(tls, context, session=session).info.resumed
    # Another section, or the same after its key was changed, knows nothing of it.
    assert not made(serverTLS(tmp_path / "site.pem"), context, session=session).info.resumed


def test_noCache(ca, tmp_path, made):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", tickets=False, session_cache=0)
    context = clientContext(ca, high=V12)
    first = made(tls, context)
    assert not made(tls, context, session=first.peer.session).info.resumed


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("tickets", [True, False])
def test_openssl(ca, tmp_path, version, tickets):
    """Resumption by ticket and by session id, as openssl sees it."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    door = Door(serverTLS(tmp_path / "site.pem", tickets=tickets))
    session = str(tmp_path / "session")
    command = ["openssl", "s_client", version, "-connect", f"127.0.0.1:{door.port}",
               "-servername", "site.test", "-ign_eof"]  # fmt: skip
    request = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    for option, word in (("-sess_out", "New, TLS"), ("-sess_in", "Reused, TLS")):
        output, _ = door.run("timeout", "10", *command, option, session, stdin=request)
        assert word in output, output
    assert [info.resumed for info in door.infos] == [False, True]
    door.close()


@pytest.mark.needs("curl")
def test_curl(ca, tmp_path):
    ca.issue("site.test").write(tmp_path / "site.pem")
    (tmp_path / "ca.pem").write_bytes(pem(ca.certificate))
    door = Door(serverTLS(tmp_path / "site.pem"), (b"http/1.1",))
    output, code = door.run(
        "curl", "-sS", "--cacert", str(tmp_path / "ca.pem"), "--resolve",
        f"site.test:{door.port}:127.0.0.1", f"https://site.test:{door.port}/",
        f"https://site.test:{door.port}/again",
    )  # fmt: skip
    assert (output, code) == ("TLSv1.3 http/1.1 False\n" * 2, 0)
    door.close()


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_stapling(ca, tmp_path, version):
    one = ca.issue("site.test")
    one.write(tmp_path / "site.pem")
    (tmp_path / "site.pem.ocsp").write_bytes(ca.ocsp(one))
    door = Door(serverTLS(tmp_path / "site.pem", ocsp="file"))

    def seen():
        return door.run(
            "timeout", "5", "openssl", "s_client", version, "-status", "-servername", "site.test",
            "-connect", f"127.0.0.1:{door.port}",
        )[0]  # fmt: skip

    assert "OCSP Response Status: successful" in seen()
    # One that is too old would be worse than none.
    door.tls.certificates[0].setStaple(ca.ocsp(one, NOW - DAY))
    assert "OCSP response: no response sent" in seen()
    # A new file is used by the contexts that there are.
    (tmp_path / "site.pem.ocsp").write_bytes(ca.ocsp(one))
    os.utime(tmp_path / "site.pem.ocsp", ns=(1, 1))
    assert door.tls.reload() is None
    assert "OCSP Response Status: successful" in seen()
    door.close()


def test_fetchedStaple(ca, tmp_path):
    """Who fetches responses sets them; one that is not good is told apart."""
    one, other = ca.issue("site.test"), ca.issue("other.test")
    one.write(tmp_path / "site.pem")
    (certificate,) = serverTLS(tmp_path / "site.pem", ocsp="fetch").certificates
    assert certificate.stapled() == b""
    certificate.setStaple(ca.ocsp(one))
    assert certificate.stapled()
    with pytest.raises(ValueError, match="another certificate"):
        certificate.setStaple(ca.ocsp(other))
    with pytest.raises(ValueError):
        certificate.setStaple(b"nothing")


def test_keylog(ca, tmp_path, made):
    ca.issue("site.test").write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path / "site.pem", keylog=str(tmp_path / "keys"))
    made(tls, clientContext(ca))
    tls.close()
    assert b"CLIENT_TRAFFIC_SECRET_0 " in (tmp_path / "keys").read_bytes()
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


# reading again


def test_reload(ca, tmp_path, made):
    path = tmp_path / "site.pem"
    old, new = ca.issue("site.test"), ca.issue("site.test")
    old.write(path)
    ca.issue("other.test").write(tmp_path / "zzz.pem")
    tls = serverTLS(tmp_path)
    standing = made(tls, clientContext(ca))
    other = made(tls, clientContext(ca), "other.test").secured.tls.get_context()
    assert tls.reload() is None
    assert tls.generation == 1
    new.write(path)
    os.utime(path, ns=(1, 1))
    assert tls.reload() is None
    assert tls.generation == 2
    assert shown(made(tls, clientContext(ca))) == new.certificate
    # What did not change keeps its context, and with it its sessions.
    assert made(tls, clientContext(ca), "other.test").secured.tls.get_context() is other
    standing.sends(b"still here")
    assert standing.protocol.data == b"still here"


def test_reloadOfWhatIsWrong(ca, tmp_path, made):
    path = tmp_path / "site.pem"
    one = ca.issue("site.test")
    one.write(path)
    tls = serverTLS(path)
    path.write_bytes(b"rubbish")
    problem = tls.reload()
    assert "kept what was read before" in problem.message
    assert "site.pem: no certificate in PEM form" in problem.message
    assert shown(made(tls, clientContext(ca))) == one.certificate
    path.unlink()
    assert "no such file" in tls.reload().message
    one.write(path)
    assert tls.reload() is None


def test_fileThatAppears(ca, tmp_path, made):
    """In a directory, and a staple beside a certificate."""
    one, two = ca.issue("site.test"), ca.issue("two.test")
    one.write(tmp_path / "site.pem")
    tls = serverTLS(tmp_path, ocsp="file")
    two.write(tmp_path / "two.pem")
    (tmp_path / "site.pem.ocsp").write_bytes(ca.ocsp(one))
    context = made(tls, clientContext(ca)).secured.tls.get_context()
    assert tls.reload() is None
    assert shown(made(tls, clientContext(ca), "two.test")) == two.certificate
    assert tls.certificates[0].stapled()
    assert made(tls, clientContext(ca)).secured.tls.get_context() is context


def test_answering(ca, tmp_path, made):
    """A whole request and its response."""
    ca.issue("site.test").write(tmp_path / "site.pem")
    client = made(serverTLS(tmp_path / "site.pem"), clientContext(ca), protocol=Answering())
    client.sends(b"GET / HTTP/1.1\r\n\r\n")
    assert client.taken().endswith(b"TLSv1.3 - False\n")
