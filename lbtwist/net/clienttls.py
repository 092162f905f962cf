"""
The TLS of one server: context, name, session, and what its certificate must be.

The certificate is verified during the handshake, so that a server whose certificate is
not good is told by an alert, and gets nothing else. Not here: the connection
(L{lbtwist.net.tls}).
"""

from __future__ import annotations

import ipaddress
import socket
from datetime import datetime
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity

from lbtwist.config.model import ServerConfig
from lbtwist.errors import Problem, StartError
from lbtwist.net.handshake import HandshakeFailed, verifyResult, verifyWords
from lbtwist.net.pem import Files, loadCertificates
from lbtwist.net.policies import LEGACY, OLD, checkRange, setCertificate, setVersions


class ClientTLS:
    """
    The TLS of one server.

    @ivar name: what is asked for and verified.
    @ivar generation: grows whenever files were read again.
    @ivar files: those that it was made of.
    @ivar notAfter: when the certificates that we show it expire, by their files.
    """

    def __init__(self, server: ServerConfig, alpn: tuple[bytes, ...] | None = None) -> None:
        """
        @param alpn: offered instead of the server's own; empty is none.
        @raise StartError: naming the file, and what to do.
        """
        where = self._where = f"server {server.name}"
        self.generation = 1
        self.name = (server.sni or server.host).rstrip(".").lower()
        self._server = server
        self._alpn = server.alpn if alpn is None else alpn
        self._session: Any = None
        address = _address(self.name)
        self._sni = None if address is not None or not self.name else _encoded(where, self.name)
        self._ids: list[ServiceID] = []
        if server.verify == "required":
            if not self.name:
                raise StartError(
                    f"{where}: a server without a host name needs sni= with the name that its"
                    " certificate has, or verify=none"
                )
            self._ids = [
                IPAddress_ID(str(address)) if address is not None else DNS_ID(self.name)
            ]
        self._load()

    def __repr__(self) -> str:
        return f"<ClientTLS {self.name}>"

    def _load(self) -> None:
        """Read all files; what was read before stays if one is not good."""
        where, server, files = self._where, self._server, Files()
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        minimum = server.minimum or "TLSv1.2"
        checkRange(where, minimum, server.maximum)
        ciphers = server.ciphers or (OLD if minimum in LEGACY else "")
        setVersions(context, where, minimum, server.maximum, ciphers, server.ciphersuites)
        context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT | SSL.SESS_CACHE_NO_INTERNAL)
        if self._alpn:
            context.set_alpn_protos(list(self._alpn))
        notAfter = {}
        if server.certificate:
            own = loadCertificates(files, server.certificate, server.key, None)[0]
            setCertificate(context, own)
            notAfter[own.path] = own.certificate.not_valid_after_utc
        if self._ids:
            context.set_verify(SSL.VERIFY_PEER, self._verified)
            if server.ca:
                _believe(context, files, server.ca)
            else:
                context.set_default_verify_paths()
        self._context = context
        self.files = files
        self.notAfter: dict[str, datetime] = notAfter

    def reload(self) -> Problem | None:
        """
        Look at the files, and read all again if one has changed. Connections that stand
        keep what they have; no session of theirs is resumed, as a resumed one is not
        verified again.

        @return: what is wrong; then everything stays as it was.
        """
        if not self.files.changed():
            return None
        try:
            self._load()
        except StartError as wrong:
            return Problem(self._server.where, f"kept what was read before: {wrong}")
        self._session = None
        self.generation += 1
        return None

    def _verified(
        self, connection: SSL.Connection, certificate: Any, error: int, depth: int, good: int
    ) -> bool:
        if not good:
            return False
        if depth > 0:
            return True
        try:
            found = certificate.to_cryptography()
            try:
                verify_service_identity(extract_patterns(found), self._ids, [])
            except (VerificationError, CertificateError):
                connection.set_app_data(self._misnamed(found))
                return False
        except Exception:
            # It is the peer's, and may be anything; OpenSSL takes no exception.
            connection.set_app_data("the certificate cannot be read")
            return False
        return True

    def _misnamed(self, certificate: x509.Certificate) -> str:
        names = ", ".join(_namesOf(certificate)[:5]) or "no name at all"
        return f"wrong name: the certificate is for {names}, not for {self.name}"

    def start(self, skt: socket.socket, resume: bool = True) -> SSL.Connection:
        """
        @param resume: go on with an older session, if there is one.
        @return: a connection on this socket that is about to greet.
        """
        connection = SSL.Connection(self._context, skt)
        connection.set_connect_state()
        if self._sni is not None:
            connection.set_tlsext_host_name(self._sni)
        if resume and self._session is not None:
            connection.set_session(self._session)
        return connection

    def verify(self, connection: SSL.Connection) -> None:
        """@raise HandshakeFailed: with the reason, if the certificate was found bad."""
        told = connection.get_app_data()
        if told:
            raise HandshakeFailed(told)
        code = verifyResult(connection) if self._ids else 0
        if code:
            raise HandshakeFailed(_REASONS.get(code) or verifyWords(code))

    def ended(self, connection: SSL.Connection) -> None:
        """It ended in good order: its session may be used again."""
        if connection.get_context() is self._context:
            self._session = connection.get_session()


# X509_V_ERR_* (openssl/x509_vfy.h).
_REASONS = {
    9: "the certificate is not yet valid",
    10: "the certificate has expired",
    18: "unknown authority: the certificate is signed by itself",
    19: "unknown authority: the root of the chain is not known",
    20: "unknown authority: the issuer of the certificate is not known",
    21: "unknown authority: the certificate's issuer is not known, and no chain came",
    23: "the certificate was revoked",
    26: "the certificate is not made for servers",
}


def _believe(context: SSL.Context, files: Files, path: str) -> None:
    text = files.read(path)
    try:
        x509.load_pem_x509_certificates(text)
        context.load_verify_locations(path)
    except (ValueError, SSL.Error):
        raise StartError(
            f"{path}: no certificate in PEM form; ca= wants the certificates of those who may"
            " issue to servers"
        ) from None


def _address(name: str) -> Any:
    try:
        # No certificate knows the interface that a link-local address belongs to.
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None


def _encoded(where: str, name: str) -> bytes:
    try:
        return name.encode("ascii")
    except UnicodeEncodeError:
        raise StartError(
            f"{where}: {name!r} is no name of DNS; write it in its ASCII form (xn--...)"
        ) from None


def _namesOf(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.DNSName) + [
        str(one) for one in names.get_values_for_type(x509.IPAddress)
    ]
