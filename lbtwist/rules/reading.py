"""
What the code of a condition calls: from the bytes of a message to text, and from hostile
text to values. Nothing here raises for what a peer has sent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote_to_bytes

from lbtwist.exchange import Connection, Exchange, TLSInfo
from lbtwist.sansio.cookies import cookies
from lbtwist.sansio.headers import Fields
from lbtwist.sansio.requesthead import RequestHead
from lbtwist.sansio.responsehead import ResponseHead

NO_TLS = TLSInfo()
NOTHING: Mapping[Any, Any] = {}

now = time.time


def text(data: bytes) -> str:
    """Bytes of a message as text; every byte can come back, see L{wire}."""
    return data.decode("utf-8", "surrogateescape")


def texts(data: Sequence[bytes]) -> list[str]:
    return [text(one) for one in data]


def wire(said: str) -> bytes:
    """Text as the bytes of a message."""
    return said.encode("utf-8", "surrogateescape")


# A field of a block as L{Fields} keeps it: after each LF a name.
_fields = re.compile(rb"\n([^:\r]+):[ \t]*([^\r]*)").findall


def fieldsOf(head: RequestHead | ResponseHead) -> dict[bytes, bytes]:
    """@return: the fields by their names in lower case; of several the last."""
    found = {name.lower(): value for name, value in _fields(head.fields.block)}
    if head.upgrade:
        # It concerns one connection only, so it is not among them.
        found[b"upgrade"] = head.upgrade
    return found


def field(found: Mapping[bytes, bytes], name: bytes) -> str:
    """@return: the value of a field, C{""} where there is none."""
    value = found.get(name)
    return "" if value is None else value.rstrip(b" \t").decode("utf-8", "surrogateescape")


def fields(head: RequestHead | ResponseHead, name: bytes) -> list[str]:
    """@return: the values of all fields of a name."""
    if name == b"upgrade":
        return [text(head.upgrade)] if head.upgrade else []
    return texts(head.fields.getAll(name))


def hasField(head: RequestHead | ResponseHead, name: bytes) -> bool:
    return bool(fields(head, name))


def cookiesOf(fields: Fields) -> dict[str, str]:
    found = cookies(fields.getAll(b"cookie"))
    return {text(name): text(value) for name, value in found.items()}


def decoded(data: bytes) -> str:
    """The text of one part of a query."""
    if b"+" in data:
        data = data.replace(b"+", b" ")
    return text(unquote_to_bytes(data) if b"%" in data else data)


def queryOf(target: bytes) -> dict[str, str]:
    """
    @return: the parameters of a query, decoded; of several of one name the first. All of
        them, or one that is put behind many would not be seen.
    """
    found: dict[str, str] = {}
    for pair in dict.fromkeys(target.partition(b"?")[2].split(b"&")):
        if pair:
            name, _, value = pair.partition(b"=")
            found.setdefault(decoded(name), decoded(value))
    return found


def hostOf(head: RequestHead) -> str:
    host = head.host
    if host[:1] == b"[":
        return text(host[: host.find(b"]") + 1])
    return text(host.partition(b":")[0].rstrip(b"."))


def schemeOf(exchange: Exchange) -> str:
    """C{https} where the client speaks TLS, with us or with a proxy that is believed."""
    connection = exchange.connection
    if connection.secure:
        return "https"
    if connection.trusted and exchange.request is not None:
        told = exchange.request.fields.get(b"x-forwarded-proto")
        if told is not None and told.partition(b",")[0].strip().lower() == b"https":
            return "https"
    return "http"


def portOf(exchange: Exchange) -> int:
    head = exchange.request
    if head is not None:
        port = head.host.rpartition(b"]")[2].rpartition(b":")
        if port[1] and port[2]:
            return int(port[2])
    return 443 if schemeOf(exchange) == "https" else 80


def bodyLength(head: RequestHead) -> int:
    return -1 if head.length is None else head.length


def wantsWebSocket(head: RequestHead) -> bool:
    """Whether C{Upgrade} names C{websocket} among others (RFC 6455 section 4.2.1)."""
    upgrade = head.upgrade
    if not upgrade:
        return False
    return b"websocket" in [one.strip() for one in upgrade.lower().split(b",")]


def versionOf(head: RequestHead) -> str:
    return "1.1" if head.version == 11 else "1.0"


def serverOf(exchange: Exchange) -> str:
    return "" if exchange.server is None else exchange.server.name


# RFC 3986 section 2.3.
_UNRESERVED = re.compile(r"%(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aA]|5[fF]|6[1-9a-fA-F]|7[0-9aAeE])")
_SLASHES = re.compile("//+")


def normalPath(path: str) -> str:
    """
    A path as most servers read it: unreserved characters decoded, once (RFC 3986 section
    6.2.2.2), C{//} taken for C{/}, then dot segments resolved (section 5.2.4).
    """
    if not path.startswith("/"):
        return path
    if "%" in path:
        path = _UNRESERVED.sub(lambda found: chr(int(found[1], 16)), path)
    if "//" in path:
        path = _SLASHES.sub("/", path)
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def proxySource(connection: Connection) -> str:
    header = connection.proxied
    return "" if header is None or header.source is None else header.source[0]


def proxyDestination(connection: Connection) -> str:
    header = connection.proxied
    return "" if header is None or header.destination is None else header.destination[0]


def proxyAuthority(connection: Connection) -> str:
    header = connection.proxied
    return "" if header is None else header.authority or ""


_TLV_NAMES = {
    0x01: "alpn", 0x02: "authority", 0x03: "crc32c", 0x05: "unique-id", 0x20: "ssl",
    0x30: "netns",
}  # fmt: skip


def proxyTLVs(connection: Connection) -> dict[str, str]:
    """@return: by name, or by C{0xea} and its like; of several the first."""
    header = connection.proxied
    found: dict[str, str] = {}
    for kind, value in () if header is None else header.tlvs:
        said = text(value)
        found.setdefault(f"0x{kind:02x}", said)
        if kind in _TLV_NAMES:
            found.setdefault(_TLV_NAMES[kind], said)
    return found


# functions and operators of the language

_LONGEST_NUMBER = 19


def number(said: str, default: float = 0) -> float:
    """@return: the whole number that is written, or C{default}."""
    said = said.strip()
    if said.removeprefix("-").isdecimal() and len(said) <= _LONGEST_NUMBER and said.isascii():
        return int(said)
    return default


_LARGEST = 2**63


def product(one: float, other: float) -> float:
    """@return: their product; a rounded one where it is larger than numbers of 64 bits."""
    found = one * other
    return found if -_LARGEST < found < _LARGEST else float(found)


# RFC 4291 section 2.2 and RFC 4007 section 11; an interface has at most 15 characters.
_LONGEST_ADDRESS = 80


def address(said: str) -> str:
    """
    @return: an address in its usual form, without a zone, which means nothing elsewhere;
        C{""}, which is in no network, for none.
    """
    said = said.strip()
    if not said or len(said) > _LONGEST_ADDRESS:
        return ""
    try:
        found = ip_address(said.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def item(found: Sequence[str], index: int) -> str:
    """@return: one of several texts, or one character; C{""} where there is none."""
    return found[index] if -len(found) <= index < len(found) else ""


def matched(found: re.Match[str] | None, index: int | str) -> str:
    """@return: what a group has matched; C{""} for nothing."""
    return "" if found is None else found[index] or ""


def chosen(found: Mapping[str, str], key: str, default: str) -> str:
    return found.get(key, default)


def joined(found: Sequence[str]) -> str:
    return ",".join(found)


def _functions() -> dict[str, Callable[..., Any]]:
    names = (
        text, texts, field, fields, fieldsOf, hasField, cookiesOf, queryOf, hostOf, schemeOf,
        portOf, bodyLength, wantsWebSocket, versionOf, serverOf, normalPath, proxySource,
        proxyDestination, proxyAuthority, proxyTLVs, number, product, address, item, matched,
        chosen, joined, now, len, str,
    )  # fmt: skip
    return {one.__name__: one for one in names} | {"now": now}


FUNCTIONS: dict[str, Any] = {**_functions(), "NO_TLS": NO_TLS, "NOTHING": NOTHING}
"""All that the code of conditions can reach, by name."""
