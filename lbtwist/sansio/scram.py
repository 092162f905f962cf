"""
SCRAM-SHA-256, the client's side (RFC 5802, RFC 7677), without channel binding.

Passwords are taken as they are written: those that SASLprep (RFC 4013) would change, none
of which is ASCII, are not accepted by servers that do prepare them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from lbtwist.errors import BalancerError

MECHANISM = "SCRAM-SHA-256"

MOST_ITERATIONS = 65536
"""A server that asks for more would have us compute for long; PostgreSQL asks for 4096."""

_FIRST = re.compile(rb"r=([!-+\--~]{1,512}),s=([A-Za-z0-9+/=]{4,512}),i=([1-9][0-9]{0,6})(?:,.*)?")
_FINAL = re.compile(rb"v=([A-Za-z0-9+/=]{4,128})(?:,.*)?")
_GS2 = b"n,,"


class BadSCRAM(BalancerError):
    """
    What a server says that is not SCRAM, or not by somebody who knows the password.

    @ivar reason: a sentence for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


class Client:
    """
    One exchange: L{first} is sent, what is answered goes to L{final}, what is answered to
    that to L{verify}.
    """

    def __init__(self, password: str, nonce: str) -> None:
        """@param nonce: printable, without a comma, and of nobody else."""
        self._password = password.encode()
        self._nonce = nonce.encode()
        # PostgreSQL knows the user already, and wants none here.
        self._bare = b"n=,r=" + self._nonce
        self._signature = b""

    @property
    def first(self) -> bytes:
        return _GS2 + self._bare

    def final(self, challenge: bytes) -> bytes:
        """@raise BadSCRAM: if the server's first message is not good."""
        found = _FIRST.fullmatch(challenge)
        if found is None or not found[1].startswith(self._nonce) or found[1] == self._nonce:
            raise BadSCRAM("the server's challenge is not SCRAM")
        iterations = int(found[3])
        if iterations > MOST_ITERATIONS:
            raise BadSCRAM(f"the server asks for {iterations} iterations, too many")
        try:
            salt = base64.b64decode(found[2], validate=True)
        except binascii.Error:
            raise BadSCRAM("the server's challenge is not SCRAM") from None
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        key = _mac(salted, b"Client Key")
        without = b"c=" + base64.b64encode(_GS2) + b",r=" + found[1]
        said = b",".join((self._bare, challenge, without))
        signed = _mac(hashlib.sha256(key).digest(), said)
        proof = bytes(one ^ other for one, other in zip(key, signed, strict=True))
        self._signature = base64.b64encode(_mac(_mac(salted, b"Server Key"), said))
        return without + b",p=" + base64.b64encode(proof)

    def verify(self, answer: bytes) -> None:
        """@raise BadSCRAM: if the server has not proved that it knows the password."""
        found = _FINAL.fullmatch(answer)
        if found is None or not hmac.compare_digest(found[1], self._signature):
            raise BadSCRAM("the server does not know the password")
