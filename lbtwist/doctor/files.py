"""
The files that a configuration names: certificates and keys, sockets, logs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from lbtwist.config.model import Config, TLSConfig
from lbtwist.doctor.facts import Facts, Item, either, look, missing, ok
from lbtwist.doctor.system import binds, members
from lbtwist.dropping import logsOf, targetsOf
from lbtwist.net.ocsp import respondersOf

SOON = 14
"""Days before its end at which a certificate is to be renewed."""

SYSTEM_STORE = "/etc/ssl/certs/ca-certificates.crt"
SUFFIXES = (".pem", ".crt", ".cer")
"""What is read of a directory of certificates."""


def checkFiles(config: Config, facts: Facts) -> Iterator[Item]:
    """UNIX sockets and logs."""
    for bind in binds(config):
        if bind.kind == "unix":
            yield _directory(f"bind unix:{bind.path}", bind.path, facts)
    for door in config.settings.admin:
        if door.kind == "unix":
            yield _directory(f"admin {door}", door.path, facts)
    for pool, server in members(config):
        if server.kind == "unix":
            mode = facts.mode(server.path)
            yield either(
                mode is not None and stat.S_ISSOCK(mode),
                f"server {pool.name}/{server.name}: the socket {server.path} is there",
                f"server {pool.name}/{server.name}: there is no socket {server.path}",
                f"ls -l {os.path.dirname(server.path)}  # start the server, or mend the path",
            )
    for path in sorted(logsOf(config)):
        if facts.mode(path) is None:
            yield _directory(f"log {path}", path, facts)
        else:
            yield either(
                facts.writable(path), f"log {path} can be written",
                f"log {path} cannot be written", f"chown $(id -un) {path}",
            )  # fmt: skip


def _directory(what: str, path: str, facts: Facts) -> Item:
    where = os.path.dirname(path) or "/"
    if not facts.directory(where):
        return missing(f"{what}: there is no directory {where}", f"mkdir -p {where}")
    return either(
        facts.writable(where), f"{what}: {where} can be written",
        f"{what}: {where} cannot be written", f"chown $(id -un) {where}",
    )  # fmt: skip


def checkCertificates(config: Config, facts: Facts) -> Iterator[Item]:
    """What is shown to clients and to servers, and who is believed."""
    authorities: dict[str, str] = {}
    for name, tls in config.tls.items():
        password = _password(tls, facts)
        paths = [*tls.certificate, *(one for other in tls.names for one in other.certificate)]
        for path in dict.fromkeys(paths):
            fetch = tls.ocsp == "fetch"
            yield from _shown(f"[tls {name}]", path, tls.key, password, facts, fetch)
        if tls.client_ca:
            authorities[tls.client_ca] = f"[tls {name}] client-ca"
    seen = set()
    for pool, server in members(config):
        pair = (server.certificate, server.key)
        if server.certificate and pair not in seen:
            seen.add(pair)
            label = f"server {pool.name}/{server.name}"
            yield from _shown(label, server.certificate, server.key, None, facts)
        if server.ca:
            authorities.setdefault(server.ca, f"server {pool.name}/{server.name} ca")
    for target in targetsOf(config):
        options, label = target.options, f"log {target.target}:{target.host}:{target.port}"
        pair = (options.certificate, options.key)
        if options.certificate and pair not in seen:
            seen.add(pair)
            yield from _shown(label, options.certificate, options.key, None, facts)
        if options.ca:
            authorities.setdefault(options.ca, f"{label} ca")
    collector = config.settings.otlp
    if collector is not None and collector.options.ca:
        authorities.setdefault(collector.options.ca, "otlp ca")
    for path, label in authorities.items():
        found = _certificates(facts.read(path) or b"")
        yield either(
            bool(found), f"{label}: {path} has {len(found)} authorities",
            f"{label}: {path} has no certificate in PEM form", f"openssl x509 -in {path} -noout",
        )  # fmt: skip
        for one in found:
            yield from _dates(f"{label}: {path}", one, facts, onlyBad=True)


def _password(tls: TLSConfig, facts: Facts) -> bytes | None:
    text = facts.read(tls.key_password_file) if tls.key_password_file else None
    return None if text is None else text.split(b"\n")[0].rstrip(b"\r")


def _shown(
    label: str, path: str, key: str, password: bytes | None, facts: Facts, fetch: bool = False
) -> Iterator[Item]:
    if facts.directory(path):
        names = [n for n in facts.names(path) if n.endswith(SUFFIXES) and not n.startswith(".")]
        if not names:
            yield missing(f"{label} {path}: no file ends in {', '.join(SUFFIXES)}", f"ls {path}")
        for name in names:
            yield from _one(label, os.path.join(path, name), key, password, facts, fetch)
    else:
        yield from _one(label, path, key, password, facts, fetch)


def _one(
    label: str, path: str, key: str, password: bytes | None, facts: Facts, fetch: bool
) -> Iterator[Item]:
    what = f"{label} {path}"
    text = facts.read(path)
    if text is None:
        yield missing(f"{what}: it is not there, or cannot be read", f"ls -l {path}")
        return
    certificates = _certificates(text)
    if not certificates:
        yield missing(f"{what}: no certificate in PEM form", f"openssl x509 -in {path} -noout")
        return
    where = path
    if b"PRIVATE KEY-----" not in text:
        where = key or f"{os.path.splitext(path)[0]}.key"
        text = facts.read(where) or b""
    mode = facts.mode(where) or 0
    yield either(
        not mode & 0o007, f"{what}: the key can be read by few ({mode & 0o777:o})",
        f"{what}: everybody can read the key in {where} ({mode & 0o777:o})",
        f"chmod o-rwx {where}",
    )  # fmt: skip
    leaf = certificates[0]
    try:
        private = _key(text, password)
    except ValueError as wrong:
        yield missing(
            f"{what}: {where}: {wrong}", f"openssl pkey -in {where} -noout  # see key, key-password"
        )
    else:
        public = private.public_key()
        own = next((one for one in certificates if one.public_key() == public), None)
        yield either(
            own is not None, f"{what}: the key belongs to the certificate",
            f"{what}: the key in {where} does not belong to the certificate",
            f"openssl x509 -in {path} -noout -pubkey; openssl pkey -in {where} -pubout",
        )  # fmt: skip
        leaf = own or leaf
    yield _chain(what, path, leaf, certificates, facts)
    yield from _dates(what, leaf, facts)
    for one in certificates:
        if one != leaf:
            name = one.subject.rfc4514_string()
            yield from _dates(f"{what}: {name}", one, facts, onlyBad=True)
    if fetch:
        yield _responder(what, path, leaf, certificates, facts)


def _certificates(text: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        return []


def _key(text: bytes, password: bytes | None) -> Any:
    """@raise ValueError: with what is wrong."""
    begin = text.find(b"-----BEGIN ")
    while begin >= 0 and b"PRIVATE KEY-----" not in text[begin:].split(b"\n", 1)[0]:
        begin = text.find(b"-----BEGIN ", begin + 1)
    if begin < 0:
        raise ValueError("there is no private key")
    locked = b"ENCRYPTED" in text[begin:]
    if locked and password is None:
        raise ValueError("the key is encrypted, and no key-password-file can be read")
    try:
        return serialization.load_pem_private_key(text[begin:], password if locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(
            "the password does not open the key" if locked else "the key is damaged"
        ) from None


def _chain(
    what: str,
    path: str,
    leaf: x509.Certificate,
    certificates: list[x509.Certificate],
    facts: Facts,
) -> Item:
    last = leaf
    left = [one for one in certificates if one != leaf]
    while last.issuer != last.subject:
        above = next((one for one in left if _issued(one, last)), None)
        if above is None:
            break
        left.remove(above)
        last = above
    issuer = last.issuer.rfc4514_string()
    if last.issuer == last.subject:
        if last is leaf:
            return look(f"{what}: it has signed itself: clients have to know it")
        return ok(f"{what}: the chain is complete, to {issuer}")
    roots = _certificates(facts.read(SYSTEM_STORE) or b"")
    if any(_issued(root, last) for root in roots):
        return ok(f"{what}: the chain is complete, to {issuer}")
    if last is not leaf:
        return look(f"{what}: the chain ends at {issuer}, which this machine does not know")
    return missing(
        f"{what}: the chain ends at the certificate itself: {issuer} is missing",
        f"cat INTERMEDIATE.pem >> {path}  # see: openssl x509 -in {path} -noout -ext"
        " authorityInfoAccess",
    )


def _responder(
    what: str,
    path: str,
    leaf: x509.Certificate,
    certificates: list[x509.Certificate],
    facts: Facts,
) -> Item:
    urls = respondersOf(leaf)
    if not urls:
        return look(
            f"{what}: it names no OCSP responder: nothing is stapled",
            f"openssl x509 -in {path} -noout -ocsp_uri",
        )
    issuers = [*certificates, *_certificates(facts.read(f"{path}.issuer") or b"")]
    return either(
        any(_issued(one, leaf) for one in issuers if one != leaf),
        f"{what}: its OCSP response is fetched from {urls[0]}",
        f"{what}: its OCSP response cannot be fetched without the certificate of its issuer",
        f"cat ISSUER.pem > {path}.issuer  # {leaf.issuer.rfc4514_string()}",
    )


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _dates(
    what: str, certificate: x509.Certificate, facts: Facts, onlyBad: bool = False
) -> Iterator[Item]:
    now = facts.now()
    until = certificate.not_valid_after_utc
    days = int((until.timestamp() - now) // 86400)
    if certificate.not_valid_before_utc.timestamp() > now:
        since = certificate.not_valid_before_utc
        yield missing(f"{what}: it is valid from {since:%Y-%m-%d} only", "date  # is it right?")
    elif days < 0:
        yield missing(f"{what}: it has expired on {until:%Y-%m-%d}", "certbot renew")
    elif days < SOON:
        yield missing(f"{what}: it expires in {days} days, on {until:%Y-%m-%d}", "certbot renew")
    elif not onlyBad:
        yield ok(f"{what}: it is valid until {until:%Y-%m-%d}")
