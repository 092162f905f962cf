"""
The file of tokens: who may do what by HTTP.

A line of it is C{NAME TOKEN SCOPE[,SCOPE]}; C{#} begins a comment. A token is written as
C{sha256:} and 64 hexadecimal digits, or as it is. It is 256 bits of chance, of which nobody
tries all, so that a slow hash like scrypt would add nothing, and would give everybody who
sends wrong ones 50 ms of the balancer's time with each; for a password it would be needed, and
so none is taken: what is written as it is has to be long.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence

import attr
from twisted.logger import Logger

from lbtwist.errors import StartError
from lbtwist.options import Name

READ = "read"
OPERATE = "operate"
ADMIN = "admin"

SCOPES = (READ, OPERATE, ADMIN)
"""What may be done; each may do what those before it may."""

LONGEST_FILE = 64 * 1024
"""Bytes of the file."""

SHORTEST = 32
"""Characters of a token that is written as it is."""

_LONGEST = 512
_HASHED = "sha256:"


@attr.frozen
class Token:
    """
    One line.

    @ivar digest: SHA-256 of the token.
    @ivar scopes: all that follow from those that are written.
    """

    name: str
    digest: bytes = attr.field(repr=False)
    scopes: frozenset[str]


def scopesOf(words: Iterable[str]) -> frozenset[str]:
    """
    @return: these, and those that follow from them.
    @raise ValueError: if one is none.
    """
    said = list(words)
    unknown = [word for word in said if word not in SCOPES]
    if unknown or not said:
        raise ValueError(f"unknown scope {' '.join(unknown)!r}: write {', '.join(SCOPES)}")
    return frozenset(SCOPES[: max(map(SCOPES.index, said)) + 1])


def digestOf(token: str) -> bytes:
    """@return: what a token is known by."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def newLine(name: str, scopes: Sequence[str]) -> tuple[str, str]:
    """
    Make a token.

    @return: the token, which is nowhere else, and the line for the file.
    @raise ValueError: with a sentence.
    """
    Name().parse(name)
    scopesOf(scopes)
    token = f"lbt_{secrets.token_urlsafe(32)}"
    return token, f"{name} {_HASHED}{digestOf(token).hex()} {','.join(scopes)}"


def parse(text: str) -> tuple[Token, ...]:
    """
    @return: the tokens of a file.
    @raise ValueError: with the number of the line and what is wrong with it; no token is
        in the message.
    """
    found: dict[str, Token] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            token = _token(words)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if token.name in found:
            raise ValueError(f"line {number}: {token.name} is there twice")
        found[token.name] = token
    if not found:
        raise ValueError("there is no token in it; lbtwist token NAME --scope read prints one")
    return tuple(found.values())


def _token(words: Sequence[str]) -> Token:
    if len(words) != 3:
        raise ValueError("write NAME TOKEN SCOPE,SCOPE")
    name, written, scopes = words
    if not Name.good(name):
        raise ValueError("the first word is no name: letters, digits and - _ . : are accepted")
    if written.startswith(_HASHED):
        hexadecimal = written.removeprefix(_HASHED)
        if not re.fullmatch(r"[0-9a-fA-F]{64}", hexadecimal):
            raise ValueError(f"after {_HASHED} come 64 hexadecimal digits")
        digest = bytes.fromhex(hexadecimal)
    elif len(written) < SHORTEST:
        raise ValueError(
            f"the token of {name} is shorter than {SHORTEST} characters and could be guessed;"
            " lbtwist token makes one"
        )
    elif len(written) > _LONGEST:
        raise ValueError(f"the token of {name} is longer than {_LONGEST} characters")
    else:
        digest = digestOf(written)
    return Token(name, digest, scopesOf(scopes.split(",")))


class Tokens:
    """
    Those of a file, which is read again when it has changed. As long as what it says cannot be
    read nobody gets in: it may be that somebody was to be kept out.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: tuple[Token, ...] = ()
        self._version: object = None

    def __repr__(self) -> str:
        return f"<Tokens {self._path} {len(self._known)}>"

    def open(self) -> None:
        """@raise StartError: naming the file, and what to do."""
        try:
            self._version = self._stamp()
            self._known = self._read()
        except ValueError as error:
            raise StartError(f"{self._path}: {error}") from None
        except OSError as error:
            raise StartError(f"{self._path} cannot be read: {error.strerror}") from None

    def refresh(self) -> None:
        """Read the file, if it has changed."""
        try:
            stamp = self._stamp()
        except OSError as error:
            stamp = error.errno
        if stamp == self._version:
            return
        self._version = stamp
        try:
            self._known = self._read()
        except (ValueError, OSError) as error:
            self._known = ()
            said = error.strerror if isinstance(error, OSError) else error
            self._log.error(
                "{path}: {problem}; until it is mended nobody gets in by a token",
                path=self._path, problem=str(said),
            )  # fmt: skip
        else:
            self._log.info("{path}: read again, {count} tokens", path=self._path,
                           count=len(self._known))  # fmt: skip

    def _stamp(self) -> object:
        found = os.stat(self._path)
        return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size, found.st_mode

    def _read(self) -> tuple[Token, ...]:
        """
        @raise OSError: if it cannot be read.
        @raise ValueError: if it can be by too many, or makes no sense.
        """
        # A FIFO would be waited for.
        with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it is no file")
            if found.st_mode & 0o007:
                raise ValueError(f"others can read or write it: chmod o-rwx {self._path}")
            data = file.read(LONGEST_FILE + 1)
        if len(data) > LONGEST_FILE:
            raise ValueError(f"it is longer than {LONGEST_FILE} bytes")
        try:
            return parse(data.decode())
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8") from None

    def find(self, token: str) -> Token | None:
        """
        Takes the same time whichever it is, and whether it is one or not.

        @return: the line that a token is of.
        """
        self.refresh()
        wanted = digestOf(token[: _LONGEST + 1])
        found = None
        for one in self._known:
            if secrets.compare_digest(one.digest, wanted):
                found = one
        return found

    def still(self, token: Token) -> Token | None:
        """@return: what the file says of a token now; L{None} if it is not there any more."""
        self.refresh()
        for one in self._known:
            if one.name == token.name and secrets.compare_digest(one.digest, token.digest):
                return one
        return None
