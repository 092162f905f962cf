"""
Who may come in: the users of an C{htpasswd} file, and whether a password is theirs.

Checking one is slow, as it is meant to be; where that is done is not known here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

LONGEST_FILE = 16 * 1024 * 1024
"""Bytes of a file of users."""

_SALT = r"[./0-9A-Za-z]"


def _isSHA1(stored: str, password: bytes) -> bool:
    digest = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
    return hmac.compare_digest(digest, stored.removeprefix("{SHA}").encode())


def _isBcrypt(stored: str, password: bytes) -> bool:
    # It has never looked at more; since its version 5 the library minds.
    return bool(import_module("bcrypt").checkpw(password[:72], stored.encode()))


def _crypted(name: str) -> Callable[[str, bytes], bool]:
    def isCrypted(stored: str, password: bytes) -> bool:
        crypt: Any = getattr(import_module("passlib.hash"), name)
        return bool(crypt.verify(password, stored))

    return isCrypted


# What a hash looks like, the module that is needed for it, and who compares.
_KINDS: tuple[tuple[re.Pattern[str], str, Callable[[str, bytes], bool]], ...] = (
    (re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./0-9A-Za-z]{53}"), "bcrypt", _isBcrypt),
    (re.compile(rf"\$5\$(?:rounds=\d{{4,9}}\$)?{_SALT}{{0,16}}\${_SALT}{{43}}"), "passlib",
     _crypted("sha256_crypt")),
    (re.compile(rf"\$6\$(?:rounds=\d{{4,9}}\$)?{_SALT}{{0,16}}\${_SALT}{{86}}"), "passlib",
     _crypted("sha512_crypt")),
    (re.compile(rf"\$apr1\${_SALT}{{0,8}}\${_SALT}{{22}}"), "passlib", _crypted("apr_md5_crypt")),
    (re.compile(r"\{SHA\}[+/0-9A-Za-z]{27}="), "", _isSHA1),
)  # fmt: skip


def matches(stored: str, password: bytes) -> bool:
    """
    Slow.

    @param stored: a hash of L{readUsers}.
    @return: whether it is this password's.
    """
    for pattern, _, compare in _KINDS:
        if pattern.fullmatch(stored):
            try:
                return compare(stored, password)
            except ValueError:
                # Of no password the library accepts: too long, for one.
                return False
    return False


def _checkKind(stored: str) -> None:
    for pattern, module, _ in _KINDS:
        if pattern.fullmatch(stored):
            if module:
                _checkModule(module)
            return
    raise ValueError("no hash that is known: bcrypt, SHA-512 or SHA-256 crypt, apr1 or {SHA} are;"
                     " htpasswd -B writes the first")  # fmt: skip


def _checkModule(name: str) -> None:
    try:
        import_module(name)
    except ImportError:
        raise ValueError(
            f"such a hash needs {name}, which is not installed: pip install 'lbtwist[auth]'"
        ) from None


def readUsers(path: str) -> dict[bytes, str]:
    """
    Read C{USER:HASH} lines.

    @return: the hashes by user; of several of one user the first.
    @raise OSError: if the file cannot be read.
    @raise ValueError: with a sentence that says where what is wrong.
    """
    with open(path, "rb") as file:
        data = file.read(LONGEST_FILE + 1)
    if len(data) > LONGEST_FILE:
        raise ValueError(f"{path!r} is longer than {LONGEST_FILE} bytes")
    found: dict[bytes, str] = {}
    for number, line in enumerate(data.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        user, colon, rest = line.partition(b":")
        stored = rest.partition(b":")[0].decode("ascii", "replace")
        try:
            if not user or not colon:
                raise ValueError("a line is USER:HASH")
            _checkKind(stored)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
        found.setdefault(user, stored)
    return found


_BASIC = re.compile(rb"[Bb][Aa][Ss][Ii][Cc] +([+/0-9A-Za-z]+={0,2})")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")


def credentials(fields: list[bytes]) -> tuple[bytes, bytes] | None:
    """
    @param fields: the values of C{Authorization}.
    @return: user and password (RFC 7617 section 2), L{None} if there are none, or more
        than one, or they are not acceptable.
    """
    found = _BASIC.fullmatch(fields[0]) if len(fields) == 1 else None
    if found is None:
        return None
    try:
        said = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    user, colon, password = said.partition(b":")
    if not colon or _CONTROLS.search(said):
        return None
    return user, password
