"""
The verbs of certificates: C{show ssl cert}, and to have another one without a file: C{set ssl
cert}, C{commit ssl cert}, C{abort ssl cert}, in HAProxy's words (its management guide, 9.3).

What is committed is used by each section that names the file, as long as the file itself stays as
it is; with C{save} it is written there. A key is never shown, nor written down anywhere else.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lbtwist.admin.audit import Seen
from lbtwist.admin.verbs import Answer, Asked, Level, Refused, Severity, Verb
from lbtwist.errors import StartError
from lbtwist.events import plain
from lbtwist.net.pem import MOST, Certificate
from lbtwist.service import LoadBalancer

_KEY = b"PRIVATE KEY-----"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def certificateNamed(balancer: LoadBalancer, name: str) -> tuple[str, Certificate]:
    """
    @param name: a file, of a certificate or its key; the last part of its path will do.
    @return: the path of that file, and the certificate.
    @raise Refused: if no section uses it, or several are called so.
    """
    found = {}
    for one in balancer.tlsFiles.certificates.values():
        for path in (one.path, one.keyPath):
            if path == name:
                return path, one
            if path.endswith(f"/{name}"):
                found[path] = one
    if len(found) != 1:
        raise Refused(
            "Can't replace a certificate which is not referenced by the configuration!"
            if not found else f"Several files are called so: {', '.join(sorted(found))}."
        )  # fmt: skip
    return found.popitem()


def propose(balancer: LoadBalancer, name: str, text: bytes) -> tuple[str, bool]:
    """
    Have a text ready to be used in place of a file.

    @return: the file of the certificate, and whether this begins a transaction.
    @raise Refused: if it is none, or it cannot be.
    """
    path, certificate = certificateNamed(balancer, name)
    if len(text) > MOST:
        raise Refused(f"It is longer than {MOST >> 20} MiB.")
    if path == certificate.path:
        try:
            x509.load_pem_x509_certificates(text)
        except ValueError:
            raise Refused(f"Can't load the payload: {path} has to be a certificate.") from None
    elif _KEY not in text or _CERTIFICATE in text:
        raise Refused(f"Can't load the payload: {path} has to be a private key.")
    pending = balancer.tlsFiles.proposed
    begins = certificate.path not in pending
    pending.setdefault(certificate.path, {})[path] = text
    return certificate.path, begins


def commit(balancer: LoadBalancer, path: str, save: bool = False) -> Sequence[str]:
    """
    Use what was set.

    @param path: of the certificate.
    @param save: whether it is written into the files as well.
    @return: the names of the sections that use it.
    @raise Refused: if it cannot be used, or not written; nothing has changed then.
    """
    texts = balancer.tlsFiles.proposed.get(path)
    if texts is None:
        raise Refused("No ongoing transaction!")
    if save:
        _checkSaving(texts)
    try:
        names = balancer.tlsFiles.give(texts, lambda: _write(texts) if save else None)
    except StartError as wrong:
        raise Refused(f"{plain(str(wrong))}.") from None
    except OSError as failed:
        where = f"{failed.filename}: " if failed.filename else ""
        raise Refused(f"It cannot be saved: {where}{failed.strerror}.") from None
    del balancer.tlsFiles.proposed[path]
    if balancer.workers is not None and save:
        # They look at the files now, not only when they would by themselves.
        balancer.workers.configured()
    elif balancer.workers is not None:
        balancer.workers.repeat("give", texts)
    return names


def _checkSaving(texts: Mapping[str, bytes]) -> None:
    """@raise Refused: where somebody could read a key in the file who should not."""
    for path, text in texts.items():
        try:
            with open(path, "rb") as file:
                had = _KEY in file.read(MOST)
        except OSError as failed:
            raise Refused(f"It cannot be saved: {path}: {failed.strerror}.") from None
        if _KEY in text and not had:
            raise Refused(
                f"It cannot be saved: there is no key in {path}, and others may read it: set the"
                " key in its own file."
            )


def _write(texts: Mapping[str, bytes]) -> None:
    """
    Write files, each at once, with the mode and the owner that it has.

    @raise OSError: if one cannot be; none is another one then, as far as names can be changed
        where files could be made.
    """
    written: list[tuple[str, str]] = []
    try:
        for path, text in texts.items():
            # What a link leads to, and not the link.
            real = os.path.realpath(path)
            before = os.stat(real)
            descriptor, name = tempfile.mkstemp(".new", ".lbtwist-", os.path.dirname(real))
            written.append((name, real))
            with os.fdopen(descriptor, "wb") as file:
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        while written:
            os.replace(*written[0])
            del written[0]
    finally:
        for name, _ in written:
            with suppress(OSError):
                os.unlink(name)


# the verbs


def _set(asked: Asked, words: Sequence[str]) -> Answer:
    """C{set ssl cert <file> <<}, and the text."""
    if len(words) != 1 or asked.payload is None:
        raise Refused("set ssl cert expects a filename and a certificate as a payload")
    path, begins = propose(asked.balancer, words[0], asked.payload.encode())
    word = "created" if begins else "updated"
    return Answer(f"Transaction {word} for certificate {path}!\n", {"file": path}, Severity.INFO)


def _transaction(asked: Asked, words: Sequence[str], verb: str) -> str:
    if not words:
        raise Refused(f"'{verb} ssl cert' expects a filename")
    try:
        _, certificate = certificateNamed(asked.balancer, words[0])
    except Refused:
        # No section uses it any more.
        return words[0]
    return certificate.path


async def _commit(asked: Asked, words: Sequence[str]) -> Answer:
    """C{commit ssl cert <file> [save]}."""
    path = _transaction(asked, words, "commit")
    if list(words[1:]) not in ([], ["save"]):
        raise Refused("Only 'save' may follow.")
    names = commit(asked.balancer, path, bool(words[1:]))
    saved = "Saved.\n" if words[1:] else ""
    behind = "".join(f"{one}\n" for one in await asked.balancer.settled())
    return Answer(
        f"Committing {path}\n{saved}{behind}Success!\n",
        {"file": path, "sections": list(names), "saved": bool(words[1:])}, Severity.INFO,
    )  # fmt: skip


def _abort(asked: Asked, words: Sequence[str]) -> Answer:
    """C{abort ssl cert <file>}."""
    path = _transaction(asked, words, "abort")
    if asked.balancer.tlsFiles.proposed.pop(path, None) is None:
        raise Refused("No ongoing transaction!")
    return Answer(f"Transaction aborted for certificate '{path}'!\n", None, Severity.INFO)


def _show(asked: Asked, words: Sequence[str]) -> Answer:
    """C{show ssl cert [<file>]}."""
    balancer = asked.balancer
    if words:
        _, certificate = certificateNamed(balancer, words[0])
        value = certificateOf(balancer, certificate)
        return Answer("".join(f"{name}: {_shown(one)}\n" for name, one in value.items()), value)
    pending = list(balancer.tlsFiles.proposed)
    files = list(balancer.tlsFiles.certificates)
    lines = [*(["# transaction", *(f"*{path}" for path in pending)] if pending else []),
             "# filename", *files]  # fmt: skip
    return Answer("".join(f"{one}\n" for one in lines), {"files": files, "transactions": pending})


def _shown(value: Any) -> str:
    return plain(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def certificateOf(balancer: LoadBalancer, certificate: Certificate) -> dict[str, Any]:
    """@return: what is known of it, by HAProxy's names; nothing of its key."""
    found = certificate.certificate
    return {
        "Filename": certificate.path,
        "Status": "Used",
        "Sections": sorted(balancer.tlsFiles.using(certificate.path)),
        "Serial": f"{found.serial_number:X}",
        "notBefore": _moment(found.not_valid_before_utc),
        "notAfter": _moment(found.not_valid_after_utc),
        "Subject Alternative Name": [f"DNS:{name}" for name in certificate.names],
        "Algorithm": _algorithm(certificate.key),
        "SHA1 FingerPrint": found.fingerprint(hashes.SHA1()).hex().upper(),
        "Subject": found.subject.rfc4514_string(),
        "Issuer": found.issuer.rfc4514_string(),
        "Chain Subject": [one.subject.rfc4514_string() for one in certificate.chain],
        "Chain Issuer": [one.issuer.rfc4514_string() for one in certificate.chain],
    }


def _moment(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S %Y} GMT"


def _algorithm(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f"RSA{key.key_size}"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"EC{key.key_size}"
    return type(key).__name__.strip("_").removesuffix("PrivateKey")


def _seen(asked: Asked, words: Sequence[str]) -> Seen:
    """@return: which certificate it is now."""
    _, certificate = certificateNamed(asked.balancer, words[0] if words else "")
    return {
        "serial": f"{certificate.certificate.serial_number:X}",
        "notAfter": _moment(certificate.certificate.not_valid_after_utc),
    }


def _verb(
    usage: str, meaning: str, run: Callable[[Asked, Sequence[str]], Answer | Awaitable[Answer]],
    payload: bool = False,
) -> Verb:  # fmt: skip
    return Verb(usage, meaning, Level.ADMIN, run, changes=True, look=_seen, payload=payload)


VERBS = (
    Verb("show ssl cert [<file>]", "certificates that clients are shown, or one", Level.OPERATOR,
         _show),
    _verb("set ssl cert <file>", "have another one ready, which follows after <<", _set,
          payload=True),
    _verb("commit ssl cert <file> [save]", "use it; write it into the file as well", _commit),
    _verb("abort ssl cert <file>", "use it not", _abort),
)  # fmt: skip
