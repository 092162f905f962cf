"""
What is asked of an OCSP responder, and which answers are believed.
"""

import subprocess
import time

import pytest
from authority import (
    DAY,
    NOW,
    SIGNS_OCSP,
    Authority,
    indexOf,
    keyPEM,
    newKey,
    pem,
    responder,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.net.ocsp import SKEW, BadAnswer, answerOf, requestFor, respondersOf
from lbtwist.options import isHTTP

NOW_IS = NOW.timestamp()
CA = Authority()
SITE = CA.issue("site.test")
OTHER = CA.issue("other.test")
SIGNER = CA.issue(common="Responder", extensions=[SIGNS_OCSP])


def believed(response, now=NOW_IS):
    return answerOf(response, SITE.certificate, CA.certificate, now)


def refused(response, now=NOW_IS):
    with pytest.raises(BadAnswer) as refused:
        believed(response, now)
    return str(refused.value)


def test_requests():
    request = ocsp.load_der_ocsp_request(requestFor(SITE.certificate, CA.certificate))
    assert request.serial_number == SITE.certificate.serial_number
    assert request.hash_algorithm.name == "sha1"
    assert list(request.extensions) == []


def test_responders():
    issued = CA.issue("a", extensions=[
        responder("ldap://ldap.test/", "http://one.test/", "https://two.test:8443/x", "http://")
    ])  # fmt: skip
    assert respondersOf(issued.certificate) == ("http://one.test/", "https://two.test:8443/x")
    assert respondersOf(SITE.certificate) == ()


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://a.test", True), ("HTTPS://a.test:1/", True), ("http://[::1]:8080/", True),
        ("ftp://a.test/", False), ("//a.test/", False), ("/a", False), ("", False),
        ("http://a.test:0/", False), ("http://a.test:99999/", False), ("http://[::1/", False),
        ("file:///etc/passwd", False), ("http:///a", False),
    ],
)  # fmt: skip
def test_urls(url, good):
    assert isHTTP(url) is good


def test_good():
    response = CA.ocsp(SITE)
    answer = believed(response)
    assert (answer.revoked, answer.response) == (False, response)
    day = DAY.total_seconds()
    assert int(answer.since) == int(NOW_IS - 2 * day)
    assert int(answer.until) == int(NOW_IS + day)


def test_revoked():
    assert believed(CA.ocsp(SITE, status="REVOKED")).revoked


def test_unknown():
    assert refused(CA.ocsp(SITE, status="UNKNOWN")) == "the responder does not know the certificate"


@pytest.mark.parametrize("named", [hashes.SHA1(), hashes.SHA256()])
def test_howTheCertificateIsNamed(named):
    assert believed(CA.ocsp(SITE, named=named))


def test_anotherCertificate():
    """Of another number, or of the same one by another authority."""
    assert refused(CA.ocsp(OTHER)) == "it is about another certificate"
    copy = Authority()
    assert refused(copy.ocsp(SITE)) == "it is about another certificate"


def test_times():
    assert refused(CA.ocsp(SITE, until=NOW - DAY)).startswith("it has expired on 20")
    response = CA.ocsp(SITE)
    until = believed(response).until
    assert believed(response, until - 1)
    assert refused(response, until)
    early = CA.ocsp(SITE, since=NOW)
    since = int(NOW_IS)
    assert believed(early, since - SKEW)
    assert refused(early, since - SKEW - 1).startswith("it is from the future: 20")
    assert "until when" in refused(CA.ocsp(SITE, unlimited=True))


@pytest.mark.parametrize("status", ["UNAUTHORIZED", "TRY_LATER", "INTERNAL_ERROR"])
def test_refusals(status):
    found = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus[status])
    response = found.public_bytes(serialization.Encoding.DER)
    assert refused(response) == f"the responder says {status.lower()}"


# signatures


@pytest.mark.parametrize("key", ["ecdsa", "rsa", "ed25519"])
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384()])
def test_whoIsCharged(key, digest):
    key = ed25519.Ed25519PrivateKey.generate() if key == "ed25519" else newKey(key)
    signer = CA.issue(common="Responder", key=key, extensions=[SIGNS_OCSP])
    assert believed(CA.ocsp(SITE, by=signer, digest=digest))


USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@pytest.mark.parametrize(
    ("signer", "options", "words"),
    [
        (SIGNER, {"show": False}, "neither the issuer has signed it, nor somebody"),
        (OTHER, {}, "CN=other.test has signed it, whose certificate is not made for that"),
        (CA.issue("a", extensions=[USAGE]), {}, "is not made for that (id-kp-OCSPSigning)"),
        (
            Authority().issue(common="Responder", extensions=[SIGNS_OCSP]), {},
            "is of another issuer",
        ),
        (
            CA.issue(common="Old", begin=NOW - 9 * DAY, end=NOW - DAY, extensions=[SIGNS_OCSP]),
            {}, "whose certificate has expired",
        ),
        (
            CA.issue(common="New", begin=NOW + DAY, end=NOW + 9 * DAY, extensions=[SIGNS_OCSP]),
            {}, "whose certificate is not yet valid",
        ),
    ],
)  # fmt: skip
def test_whoIsNotCharged(signer, options, words):
    assert words in refused(CA.ocsp(SITE, by=signer, **options))


def test_ofAnotherAuthority():
    """A delegate of one authority says nothing of the certificates of another."""
    copy = Authority()
    theirs = copy.issue(common="Responder", extensions=[SIGNS_OCSP])
    assert "another certificate" in refused(copy.ocsp(SITE, by=theirs))


def test_brokenSignatures():
    response = CA.ocsp(SITE)
    assert "neither the issuer" in refused(response[:-1] + bytes([response[-1] ^ 1]))
    assert believed(response)


@pytest.mark.needs("openssl")
def test_openssl(tmp_path):
    """What a real responder answers, about others too, and with an old signature."""
    for name, one in (("ca", CA), ("site", SITE), ("other", OTHER), ("signer", SIGNER)):
        (tmp_path / name).write_bytes(pem(one.certificate) + keyPEM(one.key))
    (tmp_path / "index").write_text(indexOf(SITE, OTHER))

    def answered(*asked, more=()):
        command = ["openssl", "ocsp", "-index", "index", "-CA", "ca", "-rsigner", "signer"]
        command += ["-ndays", "1", "-issuer", "ca", "-respout", "answer", *more]
        for name in asked:
            command += ["-cert", name]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=20, capture_output=True)
        return (tmp_path / "answer").read_bytes()

    now = time.time()
    assert believed(answered("site"), now)
    assert refused(answered("site", "other"), now) == "it is about another certificate"
    assert refused(answered("other"), now) == "it is about another certificate"
    assert "signed with sha1, which can be forged" in refused(
        answered("site", more=["-rmd", "sha1"]), now
    )


@given(st.binary(max_size=300))
def test_anything(data):
    refused(data)


@given(st.integers(0, 400), st.integers(1, 255))
def test_everyByteCounts(at, mask):
    """Nobody has signed what was changed on its way: it is refused, or means the same."""
    response = bytearray(CA.ocsp(SITE))
    response[at % len(response)] ^= mask
    try:
        answer = believed(bytes(response))
    except BadAnswer:
        return
    assert not answer.revoked
    assert answer.until == believed(CA.ocsp(SITE)).until
