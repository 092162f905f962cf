"""
A C{[tls]} section with its files open: which OpenSSL context a client gets.

It is chosen by the ClientHello, before OpenSSL has begun, because a context that is
switched later keeps the old floor and the old verification. Contexts are built and never
changed. Not here: the files (L{lbtwist.net.pem}), the connections (L{lbtwist.net.tls}).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import attr
from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags

from lbtwist.config.model import TLSConfig
from lbtwist.errors import Problem, StartError
from lbtwist.exchange import TLSInfo
from lbtwist.net.handshake import HandshakeRefused
from lbtwist.net.pem import Certificate, Files, Given, loadCertificates
from lbtwist.net.policies import (
    INTERMEDIATE,
    LEGACY,
    OLD,
    SUITES,
    VERIFY,
    Terms,
    atLeast,
    setCertificate,
    setGroups,
    setOrder,
    setVersions,
    termsOf,
)
from lbtwist.sansio.clienthello import ClientHello

UNRECOGNIZED_NAME = 112

Staples = dict[tuple[str, bytes], Certificate]
"""The certificates that now have the responses, by path and digest."""


class _Loaded:
    """
    A section with its files, as they were at one time.

    @ivar certificates: in written order.
    @ivar files: every file it was made of.
    """

    def __init__(
        self, config: TLSConfig, known: dict[Any, SSL.Context], staples: Staples, keylog: Any,
        given: Given | None = None,
    ) -> None:  # fmt: skip
        """
        @param known: contexts that may be used again, by what they are made of.
        @param staples: where they look for responses.
        @param given: what counts instead of some files.
        """
        self._staples = staples
        self._config = config
        self._keylog = keylog
        self._where = f"[tls {config.name}]"
        self.known = known
        self.contexts: dict[Any, SSL.Context] = {}
        files = self.files = Files(given)
        if not config.certificate:
            raise StartError(
                f"{self._where}: no certificate; name a PEM file or a directory of them:"
                " certificate ="
            )
        password = None
        if config.key_password_file:
            lines = files.read(config.key_password_file).splitlines()
            password = lines[0] if lines else b""
        load = _Reader(files, config, password)
        self.certificates = load(config.certificate)
        self._authorities: list[x509.Certificate] = []
        self._crls: list[x509.CertificateRevocationList] = []
        self._trust = b""
        self._readTrust()
        self.read = list(self.certificates)
        self._exact: dict[str, list[Certificate]] = {}
        self._wild: dict[str, list[Certificate]] = {}
        for certificate in self.certificates:
            for name in certificate.names:
                names, key = (
                    (self._wild, name[2:]) if name.startswith("*.") else (self._exact, name)
                )
                names.setdefault(key, []).append(certificate)
        first = self.certificates[0]
        self._default = (
            [one for one in self.certificates if set(first.names) & set(one.names)] or [first]
        )
        self._terms = termsOf(config, None)
        self._names: dict[str, tuple[Terms, list[Certificate]]] = {}
        self._wildNames: dict[str, tuple[Terms, list[Certificate]]] = {}
        for special in config.names:
            own = load(special.certificate) if special.certificate else []
            entry = (termsOf(config, special), own)
            self.read += own
            wild = special.pattern.startswith("*.")
            if wild:
                self._wildNames[special.pattern[2:]] = entry
            else:
                self._names[special.pattern] = entry
            if not own and config.strict_sni and not self._of(special.pattern, wild):
                raise StartError(
                    f"{self._where} name {special.pattern}: no certificate has this name, and"
                    " strict-sni refuses it; give it one: certificate ="
                )

    def _readTrust(self) -> None:
        config = self._config
        if config.client_ca:
            text = self.files.read(config.client_ca)
            self._trust += text
            try:
                self._authorities = x509.load_pem_x509_certificates(text)
            except ValueError:
                raise StartError(
                    f"{config.client_ca}: no certificate in PEM form; client-ca wants the"
                    " certificates of those who issue to clients"
                ) from None
        if config.client_crl:
            text = self.files.read(config.client_crl)
            self._trust += text
            end = b"-----END X509 CRL-----"
            try:
                self._crls = [
                    x509.load_pem_x509_crl(part + end) for part in text.split(end)[:-1]
                ]
            except ValueError:
                self._crls = []
            if not self._crls:
                raise StartError(
                    f"{config.client_crl}: no revocation list in PEM form; make one of a DER"
                    " file with: openssl crl -inform DER -in FILE"
                )

    def adopt(self) -> None:
        """From now on it is this one that counts: for the contexts of the one before too."""
        self._staples.clear()
        for one in self.read:
            self._staples[one.path, one.digest] = one

    def prepare(self, alpn: tuple[bytes, ...]) -> None:
        """Build everything that connections of a bind can need."""
        for terms, certificate in self._combinations():
            self._context(terms, certificate, alpn)

    def _combinations(self) -> Iterator[tuple[Terms, Certificate]]:
        for certificate in self.certificates:
            yield self._terms, certificate
        for wild, names in ((False, self._names), (True, self._wildNames)):
            for name, (terms, own) in names.items():
                found = own or self._of(name, wild)
                if not own and (wild or not found) and not self._config.strict_sni:
                    # A client may ask for a host that no certificate has.
                    found = found + self._default
                for certificate in found:
                    yield terms, certificate

    def termsFor(self, name: str) -> Terms:
        """@return: what is demanded of a client that asks for a name."""
        entry = self._names.get(name) or self._wildNames.get(name.partition(".")[2])
        return entry[0] if entry is not None else self._terms

    def _of(self, name: str, wild: bool = False) -> list[Certificate]:
        """@return: certificates that have this name."""
        if wild:
            return self._wild.get(name, []) + [
                one
                for exact, found in self._exact.items()
                if exact.partition(".")[2] == name
                for one in found
            ]
        return self._exact.get(name) or self._wild.get(name.partition(".")[2], [])

    def choose(self, hello: ClientHello | None, alpn: tuple[bytes, ...]) -> SSL.Context:
        """See L{ServerTLS.context}."""
        terms, certificate = self.select(hello)
        return self._context(terms, certificate, alpn)

    def select(self, hello: ClientHello | None) -> tuple[Terms, Certificate]:
        """See L{ServerTLS.foresee}."""
        name = hello.sni if hello is not None else ""
        entry = self._names.get(name) or self._wildNames.get(name.partition(".")[2])
        terms, found = entry if entry is not None else (self._terms, [])
        if not found:
            found = self._of(name)
        if not found:
            if self._config.strict_sni:
                raise HandshakeRefused(
                    f"no certificate for {name!r}" if name else "no name asked for",
                    UNRECOGNIZED_NAME,
                )
            found = self._default
        chosen = found[0]
        if len(found) > 1:
            chosen = _suitable(found, hello)
        return terms, chosen

    def _context(
        self, terms: Terms, certificate: Certificate, alpn: tuple[bytes, ...]
    ) -> SSL.Context:
        key = (id(terms), id(certificate), alpn)
        context = self.contexts.get(key)
        if context is None:
            # Another file may have changed, and not this one: then its sessions go on.
            trust = hashlib.sha256(self._trust).digest() if terms.verify != "none" else b""
            whole = (terms, certificate.path, certificate.digest, alpn, trust)
            context = self.known.get(whole)
            if context is None:
                context = self._build(terms, certificate, alpn)
            self.known[whole] = self.contexts[key] = context
        return context

    def _build(
        self, terms: Terms, certificate: Certificate, alpn: tuple[bytes, ...]
    ) -> SSL.Context:
        config = self._config
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        options = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION
        if not config.tickets:
            options |= SSL.OP_NO_TICKET
        context.set_options(options)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        old = terms.policy == "old" or terms.minimum in LEGACY
        setVersions(
            context, self._where, terms.minimum, terms.maximum,
            config.ciphers or (OLD if old else INTERMEDIATE), config.ciphersuites or SUITES,
        )  # fmt: skip
        setOrder(context, terms)
        setGroups(context, terms)
        setCertificate(context, certificate)
        context.check_privatekey()
        self._setSessions(context, terms, certificate)
        self._setVerification(context, terms)
        if alpn:
            context.set_alpn_select_callback(_chooser(alpn))
        if config.ocsp != "off":
            context.set_ocsp_server_callback(_stapler(self._staples, certificate))
        if self._keylog is not None:
            write = self._keylog
            context.set_keylog_callback(lambda connection, line: write(line))
        return context

    def _setSessions(self, context: SSL.Context, terms: Terms, certificate: Certificate) -> None:
        config = self._config
        # A session is good only where the same would have been asked of the client.
        known = repr((config.name, terms, config.client_ca)).encode() + certificate.digest
        context.set_session_id(hashlib.sha256(known).digest())
        context.set_session_cache_mode(
            SSL.SESS_CACHE_SERVER if config.session_cache else SSL.SESS_CACHE_OFF
        )
        context.set_timeout(max(1, round(config.session_timeout)))

    def _setVerification(self, context: SSL.Context, terms: Terms) -> None:
        if terms.verify == "none":
            return
        context.set_verify(VERIFY[terms.verify])
        context.load_verify_locations(self._config.client_ca)
        for authority in self._authorities:
            context.add_client_ca(authority)
        store = context.get_cert_store()
        if self._crls and store is not None:
            for crl in self._crls:
                store.add_crl(crl)
            store.set_flags(X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL)


class _Reader:
    """Reads certificates once, however many names have them."""

    def __init__(self, files: Files, config: TLSConfig, password: bytes | None) -> None:
        self._files = files
        self._config = config
        self._password = password
        self._read: dict[str, list[Certificate]] = {}

    def __call__(self, paths: tuple[str, ...]) -> list[Certificate]:
        found: list[Certificate] = []
        for path in paths:
            if path not in self._read:
                config = self._config
                self._read[path] = loadCertificates(
                    self._files, path, config.key, self._password, config.ocsp
                )
            found += self._read[path]
        return found


def _suitable(found: list[Certificate], hello: ClientHello | None) -> Certificate:
    if hello is not None:
        for one in found:
            if one.group and hello.verifiesECDSA(one.group):
                return one
    for one in found:
        if one.rsa:
            return one
    return found[0]


def _chooser(alpn: tuple[bytes, ...]) -> Callable[[SSL.Connection, list[bytes]], Any]:
    def choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
        for protocol in alpn:
            if protocol in offered:
                return protocol
        # As HAProxy does: the client sees that nothing was agreed on, and decides.
        return SSL.NO_OVERLAPPING_PROTOCOLS

    return choose


def _stapler(
    staples: Staples, certificate: Certificate
) -> Callable[[SSL.Connection, Any], bytes]:
    key = certificate.path, certificate.digest

    def staple(connection: SSL.Connection, data: Any) -> bytes:
        now = staples.get(key)
        return now.stapled() if now is not None else b""

    return staple


class ServerTLS:
    """
    A C{[tls]} section with its files open.

    @ivar generation: grows whenever files were read again.
    """

    def __init__(self, config: TLSConfig, given: Given | None = None) -> None:
        """
        @param given: what counts instead of some files.
        @raise StartError: naming the file, and what to do.
        """
        self.config = config
        self._given = given
        self.generation = 1
        self._alpns: set[tuple[bytes, ...]] = set()
        self._log: int | None = None
        if config.session_cache not in (0, _CACHE):
            raise StartError(
                f"[tls {config.name}]: session-cache: OpenSSL's own size is {_CACHE}, and it"
                " cannot be told another; write 0 to keep none"
            )
        if config.keylog:
            try:
                self._log = os.open(
                    config.keylog, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
            except OSError as failed:
                raise StartError(
                    f"{config.keylog}: cannot write the key log: {failed.strerror};"
                    " choose a place that can be written, or leave out keylog"
                ) from None
        try:
            self._staples: Staples = {}
            self._loaded = _Loaded(config, {}, self._staples, self._writer(), given)
            self._loaded.adopt()
            self.prepare(())
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<ServerTLS {self.config.name} {len(self.certificates)} certificates>"

    def _writer(self) -> Callable[[bytes], object] | None:
        fd = self._log
        if fd is None:
            return None

        def write(line: bytes) -> None:
            # A full disk must not end handshakes.
            with suppress(OSError):
                if self._log is not None:
                    os.write(self._log, line + b"\n")

        return write

    @property
    def certificates(self) -> list[Certificate]:
        """In written order, those of names last; for metrics, and who fetches responses."""
        return list(self._loaded.read)

    @property
    def notAfter(self) -> dict[str, datetime]:
        """When the certificates expire, by their files."""
        return {
            one.path: one.certificate.not_valid_after_utc for one in self._loaded.read
        }

    def guarding(self, info: TLSInfo) -> TLSInfo:
        """
        @return: the same with its C{guard}: a client must not reach a host under another
            one's name whose demands are lower (RFC 9110 section 15.5.20).
        """
        if not self.config.names:
            return info
        verified = info.certificate is not None and not info.verify

        def guard(host: bytes) -> bool:
            name = host.partition(b":")[0].rstrip(b".").decode("latin-1")
            terms = self._loaded.termsFor(name)
            return atLeast(info.version, terms.minimum) and (
                verified or terms.verify != "required"
            )

        return attr.evolve(info, guard=guard)

    def prepare(self, alpn: tuple[bytes, ...]) -> None:
        """
        Build what connections of one bind can need.

        @param alpn: its protocols, the preferred first; empty takes no part in ALPN.
        @raise StartError: if a context cannot be built.
        """
        self._loaded.prepare(alpn)
        self._alpns.add(alpn)

    def context(self, hello: ClientHello | None, alpn: tuple[bytes, ...] = ()) -> SSL.Context:
        """
        @param hello: L{None} if it was not looked at: the default is chosen.
        @param alpn: as given to L{prepare} before.
        @raise HandshakeRefused: if no certificate fits; it has the alert to send. Versions
            that are not reached OpenSSL refuses by itself.
        """
        return self._loaded.choose(hello, alpn)

    def foresee(self, hello: ClientHello | None) -> tuple[Terms, Certificate]:
        """
        @return: what a client would be asked for, and which certificate it would be shown.
        @raise HandshakeRefused: as C{context} does.
        """
        return self._loaded.select(hello)

    def reload(self) -> Problem | None:
        """
        Look at the files, and read all again if one has changed. Connections that stand
        keep what they have.

        @return: what is wrong; then everything stays as it was.
        """
        try:
            self.look()()
        except StartError as wrong:
            return Problem(self.config.where, f"kept what was read before: {wrong}")
        return None

    def look(self) -> Callable[[], None]:
        """
        Look at the files, and read all again if one has changed.

        @return: as of L{readAgain}; does nothing where none has.
        @raise StartError: if it could not be used; everything stays as it was.
        """
        return self.readAgain() if self._loaded.files.changed() else _nothing

    def readAgain(self) -> Callable[[], None]:
        """
        Read all files.

        @return: has what they say count from then on.
        @raise StartError: if it could not be used; everything stays as it was.
        """
        unchanged = dict(self._loaded.known)
        try:
            loaded = _Loaded(self.config, unchanged, self._staples, self._writer(), self._given)
            for alpn in self._alpns:
                loaded.prepare(alpn)
        except SSL.Error as wrong:
            raise StartError(f"OpenSSL: {wrong}") from None
        kept = set(map(id, loaded.contexts.values()))
        loaded.known = {key: one for key, one in unchanged.items() if id(one) in kept}

        def take() -> None:
            loaded.adopt()
            self._loaded = loaded
            self.generation += 1

        return take

    def close(self) -> None:
        """Close the key log."""
        fd, self._log = self._log, None
        if fd is not None:
            os.close(fd)


def _nothing() -> None:
    """Everything stays as it is."""


def foresee(config: TLSConfig, hello: ClientHello | None) -> tuple[Terms, Certificate]:
    """
    The same for a section that is not in use: its files are read, and nothing is written.

    @raise StartError: if it could not be used, naming the file, and what to do.
    @raise HandshakeRefused: as L{ServerTLS.foresee}.
    """
    return _Loaded(config, {}, {}, None).select(hello)


_CACHE = 20480
"""SSL_SESSION_CACHE_MAX_SIZE_DEFAULT; pyOpenSSL cannot set another."""
