"""
Certificates, chains and keys out of PEM files, with a message for everything that can
be wrong with them. Not here: what OpenSSL is told of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from twisted.internet import ssl

from lbtwist.errors import StartError
from lbtwist.net.ocsp import respondersOf
from lbtwist.sansio.clienthello import SECP256R1, SECP384R1, SECP521R1

MOST = 4 << 20
"""The most bytes of one file."""

_GROUPS = {"secp256r1": SECP256R1, "secp384r1": SECP384R1, "secp521r1": SECP521R1}
_SUFFIXES = (".pem", ".crt", ".cer")
_BEGIN = b"-----BEGIN CERTIFICATE-----"


class Given:
    """
    What is to be taken for the text of files instead of what is in them. A file that is another
    one than when it was given counts itself again.
    """

    def __init__(self) -> None:
        self._texts: dict[str, tuple[bytes, Any]] = {}

    def __repr__(self) -> str:
        return f"<Given {', '.join(self._texts)}>"

    @property
    def texts(self) -> dict[str, bytes]:
        """All of it, by the paths of the files."""
        found = {path: self.get(path) for path in list(self._texts)}
        return {path: text for path, text in found.items() if text is not None}

    def put(self, texts: Mapping[str, bytes]) -> Callable[[], None]:
        """@return: takes it back."""
        before = dict(self._texts)
        self._texts.update((path, (text, _look(path))) for path, text in texts.items())

        def undo() -> None:
            self._texts = before

        return undo

    def drop(self, path: str) -> None:
        """The file itself counts."""
        self._texts.pop(path, None)

    def get(self, path: str) -> bytes | None:
        """@return: L{None} if the file itself counts."""
        text, look = self._texts.get(path, (None, None))
        if text is not None and _look(path) != look:
            del self._texts[path]
            return None
        return text


class Files:
    """Files that were read, and whether they have changed since."""

    def __init__(self, given: Given | None = None) -> None:
        """@param given: what counts instead of some of them."""
        self._seen: dict[str, Any] = {}
        self._given = given or Given()

    def read(self, path: str) -> bytes:
        """@raise StartError: if it cannot be read."""
        self._seen[path] = _look(path)
        given = self._given.get(path)
        if given is not None:
            return given
        try:
            with open(path, "rb") as file:
                data = file.read(MOST + 1)
        except OSError as failed:
            raise StartError(f"{path}: cannot be read: {_remedy(failed)}") from None
        if len(data) > MOST:
            raise StartError(f"{path}: longer than {MOST >> 20} MiB, and so no such file")
        return data

    def readIfThere(self, path: str) -> bytes | None:
        """@return: L{None} if there is no such file; whether it comes is looked at."""
        if not os.path.exists(path):
            self._seen[path] = None
            return None
        return self.read(path)

    def list(self, path: str) -> list[str]:
        """@return: the PEM files of a directory, by name."""
        try:
            names = sorted(os.listdir(path))
        except OSError as failed:
            raise StartError(f"{path}: cannot be listed: {_remedy(failed)}") from None
        self._seen[path] = _look(path)
        return [
            os.path.join(path, name)
            for name in names
            if name.endswith(_SUFFIXES) and not name.startswith(".")
        ]

    def changed(self) -> bool:
        """Whether a file is not what it was, by time, size and number."""
        return any(_look(path) != seen for path, seen in self._seen.items())


def _look(path: str) -> Any:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _remedy(failed: OSError) -> str:
    if isinstance(failed, FileNotFoundError):
        return "there is no such file; mend the path"
    if isinstance(failed, PermissionError):
        return "permission denied; let the user that starts the balancer read it"
    return str(failed.strerror)


class Certificate:
    """
    A certificate with its chain and key.

    @ivar names: the host names in lower case, wildcards as C{*.example.com}.
    @ivar group: the curve of an ECDSA key as in TLS; 0 for others.
    @ivar keyPath: the file of its key.
    @ivar digest: changes with certificate, chain or key.
    @ivar issuer: who issued it; L{None} where nobody needs to know.
    @ivar responders: URLs where its OCSP responses are fetched; empty where none are.
    @ivar staple: the OCSP response in DER; may be set at any time.
    @ivar stapleUntil: seconds since the epoch; later it is not sent.
    """

    def __init__(
        self, path: str, certificate: x509.Certificate, chain: list[x509.Certificate], key: Any
    ) -> None:
        self.path = path
        self.certificate = certificate
        self.chain = chain
        self.key = key
        self.keyPath = path
        self.names = _names(certificate)
        self.rsa = isinstance(key, rsa.RSAPrivateKey)
        curve = key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else ""
        self.group = _GROUPS.get(curve, 0)
        self.digest = b"".join(one.fingerprint(hashes.SHA256()) for one in (certificate, *chain))
        self.issuer: x509.Certificate | None = None
        self.responders: tuple[str, ...] = ()
        self.staple = b""
        self.stapleUntil = 0.0

    def __repr__(self) -> str:
        return f"<Certificate {self.path} {', '.join(self.names)}>"

    def stapled(self) -> bytes:
        """@return: the response, unless it is too old."""
        return self.staple if time.time() < self.stapleUntil else b""

    def setStaple(self, response: bytes) -> None:
        """
        Staple this response from now on.

        @param response: in DER.
        @raise ValueError: if it is none, or not about this certificate.
        """
        found = ocsp.load_der_ocsp_response(response)
        if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise ValueError(f"it says {found.response_status.name.lower()}")
        if found.serial_number != self.certificate.serial_number:
            raise ValueError("it is about another certificate")
        until = found.next_update_utc
        self.staple = response
        self.stapleUntil = float("inf") if until is None else until.timestamp()


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = found.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    if not names:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names = [str(one.value) for one in common]
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))


def trustRootOf(path: str) -> Any:
    """
    @param path: a PEM file.
    @return: those whose certificates are in it, an
        L{twisted.internet.interfaces.IOpenSSLTrustRoot}.
    @raise StartError: naming the file, if there are none.
    """
    try:
        with open(path, "rb") as file:
            text = file.read()
        found = [ssl.Certificate.loadPEM(_BEGIN + one) for one in text.split(_BEGIN)[1:]]
    except Exception as error:
        raise StartError(f"{path}: cannot be read: {error}") from None
    if not found:
        raise StartError(f"{path}: no certificate is in it")
    return ssl.trustRootFromCertificates(found)


def loadCertificates(
    files: Files, path: str, key: str, password: bytes | None, staple: str = "off"
) -> list[Certificate]:
    """
    @param path: a PEM file with certificate, chain and key, or a directory of them.
    @param key: the path of the key of files that have none.
    @param staple: with C{"file"} read C{FILE.ocsp}, where it exists; with C{"fetch"} find
        out whom to ask, and who issued the certificate, if need be from C{FILE.issuer}.
    @raise StartError: naming the file, and what to do.
    """
    paths = [path]
    if os.path.isdir(path):
        paths = files.list(path)
        if not paths:
            raise StartError(
                f"{path}: no certificate in this directory; files ending in"
                f" {', '.join(_SUFFIXES)} are read"
            )
    return [_load(files, one, key, password, staple) for one in paths]


def _load(
    files: Files, path: str, key: str, password: bytes | None, staple: str
) -> Certificate:
    text = files.read(path)
    try:
        certificates = x509.load_pem_x509_certificates(text)
    except ValueError as wrong:
        if _BEGIN in text:
            raise StartError(
                f"{path}: a certificate in it is damaged ({wrong}); copy it again"
            ) from None
        raise StartError(
            f"{path}: no certificate in PEM form; make it of a DER file with:"
            " openssl x509 -inform DER -in FILE"
        ) from None
    where, private = _key(files, path, text, key, password)
    public = private.public_key()
    leaf = next((one for one in certificates if one.public_key() == public), None)
    if leaf is None:
        raise StartError(
            f"{path}: the private key does not belong to the certificate; put the two of"
            " one pair together"
        )
    chain = _chain(path, leaf, certificates)
    found = Certificate(path, leaf, _withoutRoot(chain), private)
    found.keyPath = where
    if staple == "fetch":
        _setResponders(files, found, chain)
    elif staple == "file":
        response = files.readIfThere(f"{path}.ocsp")
        if response is not None:
            try:
                found.setStaple(response)
            except ValueError as wrong:
                raise StartError(
                    f"{path}.ocsp: no OCSP response for {path}: {wrong}; fetch it again with:"
                    " openssl ocsp -respout FILE"
                ) from None
    return found


def _setResponders(files: Files, found: Certificate, chain: list[x509.Certificate]) -> None:
    responders = respondersOf(found.certificate)
    if not responders:
        return
    if chain:
        issuer = chain[0]
    else:
        where = f"{found.path}.issuer"
        text = files.readIfThere(where)
        if text is None:
            raise StartError(
                f"{found.path}: its OCSP response cannot be fetched without the certificate of"
                f" its issuer, {found.certificate.issuer.rfc4514_string()}; add that to the"
                f" file, or put it beside it as {os.path.basename(where)}"
            )
        try:
            issuer = x509.load_pem_x509_certificates(text)[0]
        except ValueError:
            raise StartError(f"{where}: no certificate in PEM form") from None
        if not _issued(issuer, found.certificate):
            raise StartError(
                f"{where}: {issuer.subject.rfc4514_string()} did not issue {found.path}; put"
                f" the certificate of {found.certificate.issuer.rfc4514_string()} there"
            )
    found.issuer = issuer
    found.responders = responders


def _key(
    files: Files, path: str, text: bytes, key: str, password: bytes | None
) -> tuple[str, Any]:
    """@return: the file that it is in, and the key."""
    where = path
    if b"PRIVATE KEY-----" not in text:
        beside = os.path.splitext(path)[0] + ".key"
        if key:
            where, text = key, files.read(key)
        elif os.path.exists(beside):
            where, text = beside, files.read(beside)
        else:
            raise StartError(
                f"{path}: no private key; add it to the file, put it beside it as"
                f" {os.path.basename(beside)}, or name it: key ="
            )
    begin = text.find(b"-----BEGIN ")
    while begin >= 0 and b"PRIVATE KEY-----" not in text[begin : text.find(b"\n", begin)]:
        begin = text.find(b"-----BEGIN ", begin + 1)
    if begin < 0:
        raise StartError(f"{where}: no private key in PEM form")
    text = text[begin:]
    locked = b"ENCRYPTED" in text
    if locked and password is None:
        raise StartError(
            f"{where}: the private key is encrypted; name a file with its password:"
            " key-password-file"
        )
    try:
        return where, serialization.load_pem_private_key(text, password if locked else None)
    except UnsupportedAlgorithm as wrong:
        raise StartError(f"{where}: a private key of an unknown kind: {wrong}") from None
    except (ValueError, TypeError):
        if locked:
            raise StartError(
                f"{where}: the password of key-password-file does not open the private key;"
                " write it into the first line of that file"
            ) from None
        raise StartError(f"{where}: the private key is damaged; copy it again") from None


def _chain(
    path: str, leaf: x509.Certificate, certificates: list[x509.Certificate]
) -> list[x509.Certificate]:
    """
    @return: the issuers, each after whom it has issued, to the root if that is there.
    """
    left = [one for one in certificates if one != leaf]
    chain: list[x509.Certificate] = []
    last = leaf
    while left:
        issuer = next((one for one in left if _issued(one, last)), None)
        if issuer is None:
            stranger = left[0].subject.rfc4514_string()
            raise StartError(
                f"{path}: {stranger} is not in the chain of"
                f" {leaf.subject.rfc4514_string() or 'the certificate'}; leave it out, or add"
                " what is missing between them"
            )
        left = [one for one in left if one != issuer]
        chain.append(issuer)
        last = issuer
    return chain


def _withoutRoot(chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """@return: what clients need: they have roots of their own, and believe no other."""
    if chain and chain[-1].subject == chain[-1].issuer:
        return chain[:-1]
    return chain


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
