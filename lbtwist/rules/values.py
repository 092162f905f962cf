"""
What a condition can ask for: each value by its name, what it is, when it is known, and
the Python that reads it.

The code of a value is ours, never a user's. It is an expression over C{exchange},
C{connection}, C{head} (the request's), C{response}, the functions of
L{lbtwist.rules.reading}, and other values, as C{VALUE_name} with C{_} for a dot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

import attr


class Kind(Enum):
    """What a value is."""

    TEXT = "text"
    NUMBER = "a number"
    TRUTH = "yes or no"
    ADDRESS = "an address"
    NETWORKS = "networks"
    TEXTS = "several texts"
    FIELDS = "texts by name"
    MATCH = "the groups of a match"


class Stage(Enum):
    """When a rule is asked; what is known earlier is known later."""

    CONNECTION = "connection"
    REQUEST = "request"
    RESPONSE = "response"
    LOG = "log"

    @property
    def order(self) -> int:
        return _ORDER.index(self)


_ORDER = list(Stage)


@attr.frozen
class Value:
    """
    @ivar name: with dots, as it is written.
    @ivar stage: from when on it is known.
    @ivar http: whether it is known in C{mode = http} only.
    @ivar kept: whether it costs so much that it is read once per list of rules.
    @ivar lower: whether the names of L{Kind.FIELDS} are compared in lower case.
    @ivar wire: whether they are bytes.
    """

    name: str
    kind: Kind
    stage: Stage
    code: str
    meaning: str
    http: bool = False
    kept: bool = False
    lower: bool = False
    wire: bool = False


def _of(stage: Stage, http: bool, *rows: tuple[str, Kind, str, str]) -> Iterable[Value]:
    for name, kind, code, meaning in rows:
        yield Value(name, kind, stage, code, meaning, http)


_TEXT, _NUMBER, _TRUTH, _ADDRESS = Kind.TEXT, Kind.NUMBER, Kind.TRUTH, Kind.ADDRESS
_TLS = "(connection.tls or NO_TLS)"

_ALL: list[Value] = [
    *_of(
        Stage.CONNECTION, False,
        ("src", _ADDRESS, "connection.client[0]", "The client's address."),
        ("src_port", _NUMBER, "connection.client[1]", "The client's port."),
        ("dst", _ADDRESS, "connection.local[0]", "The address the client connected to."),
        ("dst_port", _NUMBER, "connection.local[1]", "The port the client connected to."),
        ("frontend", _TEXT, "exchange.frontend.name", "The frontend's name."),
        ("trusted", _TRUTH, "connection.trusted", "The peer is one of trusted-proxies."),
        ("tls", _TRUTH, f'({_TLS}.version != "")',
         "The client speaks TLS with us; no where it is passed through."),
        ("secure", _TRUTH, "connection.secure",
         "The client speaks TLS, with us, with a server behind tls-passthrough, or with who"
         " sent the PROXY header."),
        ("tls.version", _TEXT, _TLS + ".version",
         "TLSv1.3 and so on; empty without TLS, and where it is passed through."),
        ("tls.sni", _TEXT, _TLS + ".sni",
         "The name asked for, in lower case; known with tls-passthrough too, as tls.offers is."),
        ("tls.alpn", _TEXT, f"text({_TLS}.protocol)", "The protocol agreed on."),
        ("tls.offers", Kind.TEXTS, f"texts({_TLS}.alpn)", "The protocols offered by ALPN."),
        ("tls.cipher", _TEXT, _TLS + ".cipher", "OpenSSL's name of the cipher."),
        ("tls.resumed", _TRUTH, _TLS + ".resumed", "An older session goes on."),
        ("tls.client", _TRUTH, f"({_TLS}.certificate is not None)",
         "The client has shown a certificate."),
        ("tls.client.verify", _NUMBER, _TLS + ".verify", "OpenSSL's code for it; 0 is good."),
        ("tls.client.subject", _TEXT, _TLS + ".subject", "Its subject, in OpenSSL's one line."),
        ("tls.client.cn", _TEXT, _TLS + ".cn", "Its subject's common name."),
        ("tls.client.issuer", _TEXT, _TLS + ".issuer", "Its issuer, in OpenSSL's one line."),
        ("tls.client.not_before", _TEXT, _TLS + ".notBefore", "Its beginning: YYMMDDhhmmssZ."),
        ("tls.client.not_after", _TEXT, _TLS + ".notAfter", "Its end: YYMMDDhhmmssZ."),
        ("tls.client.serial", _TEXT, _TLS + ".serial", "Its serial number, in hexadecimal."),
        ("tls.client.sans", Kind.TEXTS, f"[name for _, name in {_TLS}.sans]",
         "Its subject alternative names."),
        ("tls.client.sha1", _TEXT, _TLS + ".sha1", "Its SHA-1, in hexadecimal."),
        ("tls.client.sha256", _TEXT, _TLS + ".sha256", "Its SHA-256, in hexadecimal."),
        ("proxied", _TRUTH, "(connection.proxied is not None)",
         "The connection came with a PROXY header."),
        ("proxied.source", _ADDRESS, "proxySource(connection)", "The source it names."),
        ("proxied.destination", _ADDRESS, "proxyDestination(connection)",
         "The destination it names."),
        ("proxied.authority", _TEXT, "proxyAuthority(connection)", "The host name it tells."),
        ("now", _NUMBER, "now()", "Seconds since 1970."),
    ),
    *_of(
        Stage.REQUEST, True,
        ("scheme", _TEXT, "schemeOf(exchange)",
         "http or https; what a trusted proxy says counts."),
        ("port", _NUMBER, "portOf(exchange)",
         "The port the request names; the scheme's own where it names none."),
        ("query_string", _TEXT, 'text(head.target.partition(b"?")[2])', "All after the ?."),
        ("body_length", _NUMBER, "bodyLength(head)", "Bytes of the body; -1 where not said."),
        ("websocket", _TRUTH, 'wantsWebSocket(head)', "The client asks for a WebSocket."),
        ("version", _TEXT, 'versionOf(head)', "1.0 or 1.1."),
    ),
    Value("method", _TEXT, Stage.REQUEST, "text(head.method)", "GET and so on, as it came.",
          http=True, kept=True),
    Value("uri", _TEXT, Stage.REQUEST, "text(head.target)", "Path and query, as they came.",
          http=True, kept=True),
    Value("host", _TEXT, Stage.REQUEST, "hostOf(head)",
          "The host the request names: lower case, without port or a dot at its end.",
          http=True, kept=True),
    Value("path", _TEXT, Stage.REQUEST, 'text(head.target.partition(b"?")[0])',
          "The path, as it came.", http=True, kept=True),
    Value("path.normal", _TEXT, Stage.REQUEST, "normalPath(VALUE_path)",
          "The path as most servers read it: what need not be encoded is decoded, dot segments"
          " and double slashes are resolved.", http=True, kept=True),
    Value("query", Kind.FIELDS, Stage.REQUEST, "queryOf(head.target)",
          "The parameters of the query, decoded; of several the first.", http=True, kept=True),
    Value("header", Kind.FIELDS, Stage.REQUEST, "fieldsOf(head)",
          "The fields of the request; of several the last.",
          http=True, kept=True, lower=True, wire=True),
    Value("headers", Kind.FIELDS, Stage.REQUEST, "head",
          "The fields of the request, all of a name.", http=True, lower=True, wire=True),
    Value("cookie", Kind.FIELDS, Stage.REQUEST, "cookiesOf(head.fields)",
          "The cookies of the request; of several the first.", http=True, kept=True),
    Value("var", Kind.FIELDS, Stage.CONNECTION, "(exchange.vars or NOTHING)",
          "What set-var has kept."),
    Value("proxied.tlv", Kind.FIELDS, Stage.CONNECTION, "proxyTLVs(connection)",
          "What the PROXY header tells, by name or by 0x and its type."),
    *_of(
        Stage.RESPONSE, True,
        ("status", _NUMBER, "response.status", "The status of the response."),
        ("server", _TEXT, "serverOf(exchange)", "The server that has answered."),
    ),
    Value("response_header", Kind.FIELDS, Stage.RESPONSE, "fieldsOf(response)",
          "The fields of the response; of several the last.",
          http=True, kept=True, lower=True, wire=True),
    Value("response_headers", Kind.FIELDS, Stage.RESPONSE, "response",
          "The fields of the response, all of a name.", http=True, lower=True, wire=True),
]  # fmt: skip

VALUES: dict[str, Value] = {value.name: value for value in _ALL}
"""Every value by its name."""

REPEATED = frozenset({"headers", "response_headers"})
"""Of these a name gives several texts."""

POOL_VALUES = {
    "up": ("len({}.usable)", "Servers that new clients may be sent to."),
    "servers": ("len({}.servers)", "All servers."),
    "active": ("{}.active", "Exchanges that hold a slot of a server."),
    "queue": ("{}.queued", "Exchanges that wait for a slot."),
}
"""What there is of C{pool("NAME")}."""


def _ofRole(pool: Any, role: str) -> int:
    role = role.lower()
    return sum(server.role == role for server in pool.usable)


POOL_METHODS: dict[str, tuple[Callable[[Any, str], int], str]] = {
    "role": (_ofRole, "Servers of this role that new clients may be sent to."),
}
"""What can be asked of C{pool("NAME")} with a text: what counts it, and what it is."""
