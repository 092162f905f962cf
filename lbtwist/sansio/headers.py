"""
Header fields in order, their spelling kept, and what is said of a client in them.

A L{Fields} begins as the bytes of a checked head and becomes a list only when
somebody asks for a field: most messages are passed on as they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lbtwist.sansio.grammar import isToken

_EDGES = b" \t"

# What would end a line is replaced (RFC 9110 section 5.5): rules make values of
# what clients send, decoded perhaps, and a value must not become a second field.
_ONE_LINE = bytes.maketrans(b"\r\n\0", b"   ")


class Fields:
    """
    The fields of one message (RFC 9110 section 5), in order.

    @ivar block: the fields as they go over the wire, each line C{Name: value},
        C{CR LF} after each; the block begins with the C{LF} that ends the line
        before it, so that every name in it follows an C{LF}.
    """

    __slots__ = ("_block", "_items")

    def __init__(self, block: bytes = b"\n") -> None:
        self._block: bytes | None = block
        self._items: list[tuple[bytes, bytes]] | None = None

    def __repr__(self) -> str:
        return f"<Fields {self.items()!r}>"

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.items())

    def __len__(self) -> int:
        return len(self.items())

    @property
    def block(self) -> bytes:
        block = self._block
        if block is None:
            assert self._items is not None
            lines = [b"%b: %b\r\n" % item for item in self._items]
            block = self._block = b"\n" + b"".join(lines)
        return block

    @block.setter
    def block(self, block: bytes) -> None:
        self._block = block
        self._items = None

    def items(self) -> list[tuple[bytes, bytes]]:
        """@return: C{(name, value)} in order; not to be changed."""
        items = self._items
        if items is None:
            assert self._block is not None
            items = self._items = []
            for line in self._block[1:-2].split(b"\r\n") if len(self._block) > 1 else ():
                name, _, value = line.partition(b":")
                items.append((name, value.strip(_EDGES)))
        return items

    def get(self, name: bytes) -> bytes | None:
        """
        @param name: in lower case.
        @return: the value of the last field of this name, L{None} without one.
        """
        for key, value in reversed(self.items()):
            if key.lower() == name:
                return value
        return None

    def getAll(self, name: bytes) -> list[bytes]:
        """
        @param name: in lower case.
        @return: the values of all fields of this name, in order.
        """
        return [value for key, value in self.items() if key.lower() == name]

    def add(self, name: bytes, value: bytes) -> None:
        """
        Add one field at the end.

        @param value: CR, LF and NUL in it become spaces.
        """
        self.items().append((name, value.translate(_ONE_LINE).strip(_EDGES)))
        self._block = None

    def remove(self, name: bytes) -> None:
        """
        Remove all fields of a name.

        @param name: in lower case.
        """
        items = self.items()
        kept = [item for item in items if item[0].lower() != name]
        if len(kept) != len(items):
            self._items = kept
            self._block = None

    def removeAlike(self, name: bytes) -> None:
        """
        Remove all fields of a name, however it is written: with C{_} for C{-} too, since
        many servers take the one for the other.

        @param name: in lower case.
        """
        name = name.replace(b"_", b"-")
        items = self.items()
        kept = [item for item in items if item[0].lower().replace(b"_", b"-") != name]
        if len(kept) != len(items):
            self._items = kept
            self._block = None

    def change(self, name: bytes, changed: Callable[[bytes], bytes | None]) -> None:
        """
        Change the values of a name where they stand.

        @param name: in lower case.
        @param changed: given a value, the one to put in its place, as for L{add}, or
            L{None} to leave it.
        """
        items = list(self.items())
        same = True
        for index, (key, value) in enumerate(items):
            if key.lower() == name:
                other = changed(value)
                if other is not None:
                    items[index] = (key, other.translate(_ONE_LINE).strip(_EDGES))
                    same = False
        if not same:
            self._items = items
            self._block = None

    def set(self, name: bytes, value: bytes) -> None:
        """Replace all fields of a name by one, at the end."""
        self.remove(name.lower())
        self.add(name, value)


def oneLine(value: bytes) -> bytes:
    """@return: the value of a field; what would end its line becomes spaces."""
    return value.translate(_ONE_LINE)


_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def tokens(value: bytes) -> list[bytes]:
    """
    Split a list of tokens such as the value of C{Connection} (RFC 9110 section
    5.6.1).

    @return: the tokens in lower case, without empty ones.
    @raise ValueError: if one is not a token.
    """
    found = []
    for part in value.split(b","):
        part = part.strip(_EDGES)
        if not part:
            continue
        if _TOKEN.fullmatch(part) is None:
            raise ValueError("not a token")
        found.append(part.lower())
    return found


def forwardedFor(client: str) -> bytes:
    """
    A client's address as RFC 7239 section 6 writes a node: IPv6 in brackets and
    quoted, without a zone; what is no address gets an underscore before it.

    @param client: an address, or C{"unix"}.
    """
    if ":" in client:
        return b'"[%b]"' % client.partition("%")[0].encode()
    return client.encode() if client[:1].isdigit() else b"_" + client.encode()


def forwardedHost(host: bytes) -> bytes:
    """
    A host as RFC 7239 section 5.3 writes it: quoted where it is more than a token.

    @param host: the value of a C{Host} field, checked.
    """
    return host if isToken(host) else b'"%b"' % host


TELLING = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"forwarded")
"""The fields that tell a server of the client, in lower case."""


class Tell:
    """
    Which fields tell a server of the client.

    @ivar names: in lower case: the fields that are removed where the peer is not
        trusted: those of both kinds, because a server may believe either.
    """

    def __init__(self, how: str) -> None:
        self.x = how in ("x", "both")
        self.rfc7239 = how in ("rfc7239", "both")
        self.names: tuple[bytes, ...] = ()
        if how != "none":
            self.names = TELLING

    def lines(
        self, client: str, port: int, scheme: bytes, given: Fields | None = None, host: bytes = b""
    ) -> bytes:
        """
        The lines to add to a request.

        C{X-Forwarded-For} and C{Forwarded} are lists, so a line of our own adds
        to those of a trusted peer; of the others a trusted peer's word stays.

        @param client: the peer's address.
        @param port: the port the client connected to.
        @param scheme: C{b"http"} or C{b"https"}.
        @param given: the fields of a trusted peer's request.
        @param host: what the client has asked for; C{b""} is not told.
        """
        lines = []
        if self.x:
            lines.append(b"X-Forwarded-For: %b\r\n" % client.partition("%")[0].encode())
            if given is None or given.get(b"x-forwarded-proto") is None:
                lines.append(b"X-Forwarded-Proto: %b\r\n" % scheme)
            if given is None or given.get(b"x-forwarded-port") is None:
                lines.append(b"X-Forwarded-Port: %d\r\n" % port)
        if self.rfc7239:
            asked = b";host=%b" % forwardedHost(host) if host else b""
            lines.append(
                b"Forwarded: for=%b;proto=%b%b\r\n" % (forwardedFor(client), scheme, asked)
            )
        return b"".join(lines)
