"""
Versions, ciphers and verification: Mozilla's lists, what a section and its names ask for,
and how a context is told. Not here: what is in certificates (L{lbtwist.net.pem}), and
which of them a client gets (L{lbtwist.net.certificates}).
"""

from __future__ import annotations

from typing import Any

import attr
from OpenSSL import SSL

from lbtwist.config.edge import FLOOR
from lbtwist.config.model import TLSConfig, TLSName
from lbtwist.errors import StartError
from lbtwist.net.pem import Certificate

VERSIONS = {
    "TLSv1.0": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_ORDER = ("", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")

# Mozilla's Server Side TLS, guidelines 5.7, without the DHE suites: parameters for them
# cannot be given, and every client that knows them knows others of the list.
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
INTERMEDIATE = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
OLD = (
    f"{INTERMEDIATE}:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:"
    "ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:"
    "AES128-SHA:AES256-SHA:DES-CBC3-SHA"
)
# Those of all its lists, and before them the hybrid that holds against quantum computers
# too. OpenSSL knows it, and the grammar of this line, from 3.5 on; an older one gets the
# second line.
_GROUPS = (
    b"?X25519MLKEM768/?X25519:?secp256r1/?secp384r1",
    b"X25519:secp256r1:secp384r1",
)
# TLSv1.2 uses one list for key exchange and for the keys of certificates: without this
# it would refuse client certificates of this curve.
_AND_OF_CERTIFICATES = b":secp521r1"
LEGACY = frozenset(("TLSv1.0", "TLSv1.1"))
# SSL_OP_PRIORITIZE_CHACHA of openssl/ssl.h; pyOpenSSL has no name for it.
_PRIORITIZE_CHACHA = 1 << 21
# They sign with SHA-1, which OpenSSL forbids from level 1 on.
_NO_LEVEL = ":@SECLEVEL=0"

VERIFY = {
    "none": SSL.VERIFY_NONE,
    "optional": SSL.VERIFY_PEER,
    "required": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}


@attr.frozen
class Terms:
    """What is agreed on with a client, but for the certificate: of a section, or of one
    of its names."""

    minimum: str
    maximum: str
    policy: str
    verify: str


def termsOf(config: TLSConfig, name: TLSName | None) -> Terms:
    """
    @param name: L{None} for the section's own.
    @raise StartError: if they contradict each other.
    """
    policy = (name and name.policy) or config.policy
    # A name with a policy of its own has that policy's floor.
    own = bool(name and name.policy)
    minimum = (name and name.minimum) or ("" if own else config.minimum) or FLOOR[policy]
    maximum = (name and name.maximum) or config.maximum
    where = f"[tls {config.name}]" + (f" name {name.pattern}" if name else "")
    checkRange(where, minimum, maximum)
    verify = (name and name.client_verify) or config.client_verify
    if verify != "none" and not config.client_ca:
        raise StartError(
            f"{where}: client-verify = {verify} needs to know who may issue the certificates"
            " of clients; name their PEM file: client-ca"
        )
    return Terms(minimum, maximum, policy, verify)


def atLeast(version: str, minimum: str) -> bool:
    """Whether a version of TLS is no lower than another."""
    return _ORDER.index(version) >= _ORDER.index(minimum)


def checkRange(where: str, minimum: str, maximum: str) -> None:
    """@raise StartError: if nothing is between them."""
    if maximum and _ORDER.index(minimum) > _ORDER.index(maximum):
        raise StartError(
            f"{where}: minimum {minimum} is above maximum {maximum};"
            " raise the maximum or lower the minimum"
        )


def setOrder(context: SSL.Context, terms: Terms) -> None:
    """
    Have the server choose among the ciphers, where TLSv1.2 is spoken. Mozilla's
    intermediate list leaves it to the client, for the sake of those that have no
    instructions for AES; they put ChaCha20 first, and get it.
    """
    if terms.minimum != "TLSv1.3":
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA)


def setGroups(context: SSL.Context, terms: Terms) -> None:
    """
    Mozilla's groups for the key exchange, instead of all that OpenSSL knows.

    @raise StartError: if OpenSSL knows none of them.
    """
    lib: Any = SSL._lib  # type: ignore[attr-defined]
    more = _AND_OF_CERTIFICATES if terms.verify != "none" else b""
    for groups in _GROUPS:
        # pyOpenSSL sets one curve and not several.
        if lib.SSL_CTX_set1_curves_list(context._context, groups + more):
            return
        lib.ERR_clear_error()
    raise StartError(f"OpenSSL knows none of the groups {_GROUPS[-1].decode()}")


def setCertificate(context: SSL.Context, certificate: Certificate) -> None:
    """
    @param certificate: what the peer is shown, with its chain and key.
    @raise StartError: if OpenSSL does not want it.
    """
    try:
        context.use_certificate(certificate.certificate)
    except SSL.Error:
        raise StartError(
            f"{certificate.path}: OpenSSL refuses this certificate, most often because of"
            " a key that is too short; RSA keys want 2048 bits"
        ) from None
    for one in certificate.chain:
        context.add_extra_chain_cert(one)
    context.use_privatekey(certificate.key)


def setVersions(
    context: SSL.Context, where: str, minimum: str, maximum: str,
    ciphers: str, ciphersuites: str,
) -> None:  # fmt: skip
    """
    @param where: whose options these are, for messages.
    @param maximum: empty is no limit.
    @param ciphers: up to TLSv1.2; empty leaves OpenSSL's own.
    @param ciphersuites: of TLSv1.3; likewise.
    @raise StartError: if OpenSSL does not know them.
    """
    context.set_min_proto_version(VERSIONS[minimum])
    if maximum:
        context.set_max_proto_version(VERSIONS[maximum])
    if ciphers:
        if minimum in LEGACY and "@SECLEVEL" not in ciphers:
            ciphers += _NO_LEVEL
        try:
            context.set_cipher_list(ciphers.encode())
        except SSL.Error:
            raise StartError(
                f"{where}: ciphers: OpenSSL knows none of {ciphers!r};"
                " see: openssl ciphers -v ALL"
            ) from None
    if ciphersuites:
        try:
            context.set_tls13_ciphersuites(ciphersuites.encode())
        except SSL.Error:
            raise StartError(
                f"{where}: ciphersuites: OpenSSL does not know all of {ciphersuites!r};"
                f" the usual are {SUITES}"
            ) from None
