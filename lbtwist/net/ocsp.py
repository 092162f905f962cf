"""
What is asked of an OCSP responder, and whether its answer may be believed (RFC 6960).

Bytes and certificates in, values out. Not here: how the answer is fetched, and when
(L{lbtwist.stapling}); how it is sent to clients (L{lbtwist.net.certificates}).
"""

from __future__ import annotations

from typing import Any

import attr
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from lbtwist.errors import BalancerError
from lbtwist.options import isHTTP

SKEW = 300.0
"""Seconds that a responder's clock may be ahead of ours."""


class BadAnswer(BalancerError):
    """An OCSP response that cannot be used; it says why, for the log."""


@attr.frozen
class Answer:
    """
    What an authority says of a certificate.

    @ivar response: as it was sent, in DER.
    @ivar revoked: whether the certificate was withdrawn; otherwise it is good.
    @ivar since: C{thisUpdate}, in seconds since the epoch.
    @ivar until: C{nextUpdate}, in seconds since the epoch.
    """

    response: bytes = attr.field(repr=False)
    revoked: bool
    since: float
    until: float


def respondersOf(certificate: x509.Certificate) -> tuple[str, ...]:
    """
    @return: the URLs by HTTP and HTTPS where a certificate says that it can be asked for
        (RFC 5280 section 4.2.2.1), in written order.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
        return tuple(
            one.access_location.value
            for one in found.value
            if one.access_method == AuthorityInformationAccessOID.OCSP
            and isinstance(one.access_location, x509.UniformResourceIdentifier)
            and isHTTP(one.access_location.value)
        )
    except (x509.ExtensionNotFound, ValueError):
        return ()


def requestFor(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """
    @return: a request in DER. It is without a nonce, as what is stapled is kept, and names
        the certificate by SHA-1, as RFC 5019 section 2.1.1 wants it for all responders.
    """
    request = _request(certificate, issuer, hashes.SHA1())
    return request.public_bytes(serialization.Encoding.DER)


def _request(
    certificate: x509.Certificate, issuer: x509.Certificate, by: Any
) -> ocsp.OCSPRequest:
    return ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, by).build()


def answerOf(
    response: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: float
) -> Answer:
    """
    Believe a response, or not (RFC 6960 section 3.2).

    It says C{good} or C{revoked} and is signed by the issuer, or by whom the issuer has
    given a certificate for that. It says until when it is good, as nobody else knows it.

    @param response: in DER, by whoever it was sent.
    @param now: seconds since the epoch.
    @raise BadAnswer: with what is wrong.
    """
    try:
        return _answer(response, certificate, issuer, now)
    except BadAnswer:
        raise
    except Exception:
        # It may be anything, and much of it is looked at only when it is used.
        raise BadAnswer("it cannot be read: it is no OCSP response, or a damaged one") from None


def _answer(
    response: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: float
) -> Answer:
    found = ocsp.load_der_ocsp_response(response)
    if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise BadAnswer(f"the responder says {found.response_status.name.lower()}")
    answers = list(found.responses)
    if len(answers) != 1 or not _isAbout(answers[0], certificate, issuer):
        raise BadAnswer("it is about another certificate")
    _verify(found, issuer, now)
    single = answers[0]
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise BadAnswer("the responder does not know the certificate")
    since = single.this_update_utc
    until = single.next_update_utc
    if until is None:
        raise BadAnswer("it does not say until when it is good (nextUpdate)")
    if since.timestamp() > now + SKEW:
        raise BadAnswer(f"it is from the future: {since:%Y-%m-%d %H:%M} UTC")
    if until.timestamp() <= now:
        raise BadAnswer(f"it has expired on {until:%Y-%m-%d %H:%M} UTC")
    revoked = single.certificate_status is ocsp.OCSPCertStatus.REVOKED
    return Answer(response, revoked, since.timestamp(), until.timestamp())


def _isAbout(single: Any, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    wanted = _request(certificate, issuer, single.hash_algorithm)
    return bool(
        single.serial_number == wanted.serial_number
        and single.issuer_name_hash == wanted.issuer_name_hash
        and single.issuer_key_hash == wanted.issuer_key_hash
    )


def _verify(found: Any, issuer: x509.Certificate, now: float) -> None:
    """@raise BadAnswer: if nobody who may has signed it (RFC 6960 section 4.2.2.2)."""
    algorithm = found.signature_hash_algorithm
    if isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        raise BadAnswer(f"it is signed with {algorithm.name}, which can be forged")
    if _signed(issuer.public_key(), found, algorithm):
        return
    reason = "neither the issuer has signed it, nor somebody whose certificate is in it"
    for one in found.certificates:
        if not _signed(one.public_key(), found, algorithm):
            continue
        wrong = _unfit(one, issuer, now)
        if not wrong:
            return
        reason = f"{one.subject.rfc4514_string()} has signed it, whose certificate {wrong}"
    raise BadAnswer(reason)


def _unfit(delegate: x509.Certificate, issuer: x509.Certificate, now: float) -> str:
    """@return: why somebody may not sign for the issuer; empty if he may."""
    try:
        delegate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return "is of another issuer"
    try:
        usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
        return "is not made for that (id-kp-OCSPSigning)"
    if now < delegate.not_valid_before_utc.timestamp() - SKEW:
        return "is not yet valid"
    if now > delegate.not_valid_after_utc.timestamp():
        return "has expired"
    return ""


def _signed(key: Any, found: Any, algorithm: Any) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            how = padding.PKCS1v15()
            key.verify(found.signature, found.tbs_response_bytes, how, algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(found.signature, found.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(found.signature, found.tbs_response_bytes)
        else:
            return False
    except (InvalidSignature, TypeError):
        # TypeError: the key is of another kind than the signature.
        return False
    return True
