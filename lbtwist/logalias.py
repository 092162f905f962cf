"""
The values of a log-format: what HAProxy calls them, and the Python that reads them.

The code is ours, never a user's. It is over C{exchange}, C{connection}, the request's
C{head}, and the L{NAMES} below, which L{lbtwist.logline} provides where they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import attr

from lbtwist.logvalues import (
    MILLISECONDS,
    WHOLE,
    Render,
    backslashed,
    captured,
    commonDate,
    endpointOf,
    escape,
    hexAddress,
    localDate,
    noDate,
    pathOnly,
    quoted,
    said,
    sessionTimers,
    timers,
    universalDate,
    unixDate,
    valueAsJSON,
    waits,
)


class Form(Enum):
    """How a value is written: what flags and JSON make of it."""

    NUMBER = "a number"
    TEXT = "a text; - where it is empty"
    PLAIN = "a text that is never quoted but in JSON"
    MESSAGE = "a text of a peer, escaped; it may be empty"
    CAPTURES = "captured texts, between braces"
    LIST = "captured texts, one by one"


@attr.frozen
class Alias:
    """
    One C{%NAME}.

    @ivar code: Python over the names of L{NAMES}.
    @ivar meaning: one sentence for people.
    @ivar http: whether it says something in C{mode = http} only.
    @ivar empty: whether the value may be empty, or for a number may not be there.
    @ivar hexadecimal: the code for C{+X}, where that has a meaning.
    @ivar number: the code for the number, where C{code} is its text.
    """

    form: Form
    code: str
    meaning: str
    http: bool = False
    empty: bool = False
    hexadecimal: str = ""
    number: str = ""


def _hex(code: str, digits: int) -> str:
    return f"'%0{digits}X' % {code}"


_N, _T, _P, _M = Form.NUMBER, Form.TEXT, Form.PLAIN, Form.MESSAGE

ALIASES: Mapping[str, Alias] = {
    "B": Alias(_N, "exchange.bytesOut", "Bytes written to the client."),
    "CC": Alias(
        _T, "captured(cookies.get('request', '')).replace(' ', '#20')",
        "The captured cookie of the request.", http=True, empty=True,
    ),
    "CS": Alias(
        _T, "captured(cookies.get('response', '')).replace(' ', '#20')",
        "The captured cookie of the response.", http=True, empty=True,
    ),
    "H": Alias(_T, "hostname", "The name of this machine."),
    "HM": Alias(_M, "method", "The method.", http=True),
    "HP": Alias(_M, "uri.partition('?')[0]", "The target without its query.", http=True),
    "HPO": Alias(
        _M, "uri if head is None else pathOnly(uri)",
        "The path, without scheme, host and query.", http=True, empty=True,
    ),
    "HQ": Alias(
        _M, "uri if head is None else ''.join(uri.partition('?')[1:])",
        "The query, with its ?.", http=True, empty=True,
    ),
    "HU": Alias(_M, "uri", "The target, as it came.", http=True),
    "HV": Alias(_M, "version", "HTTP/1.1 or HTTP/1.0.", http=True),
    "ID": Alias(_T, "said(exchange.requestId)", "The identifier of the request.", empty=True),
    "OG": Alias(
        _T, "'txn_close' if head is not None or session else 'sess_error'",
        "Why there is a line: txn_close, or sess_error for what became no request.",
    ),
    "ST": Alias(_N, "exchange.status or -1", "The status the client got; -1 for none."),
    "T": Alias(_P, "universalDate(since)", "When the connection was accepted, in UTC."),
    "Ta": Alias(_N, "Ta", "All of the exchange, from the first byte.", http=True),
    "Tc": Alias(_N, "Tc", "The connection to the server was made."),
    "Td": Alias(_N, "Td", "The response was passed on."),
    "Th": Alias(_N, "Th", "PROXY header and TLS."),
    "Ti": Alias(_N, "Ti", "Nothing came: since the handshakes, or the exchange before.", http=True),
    "Tl": Alias(_P, "localDate(since)", "When the connection was accepted, in local time."),
    "Tq": Alias(
        _N, "-1 if TR < 0 else Th + Ti + TR", "Th, Ti and TR together.", http=True
    ),
    "TR": Alias(_N, "TR", "The request head was read.", http=True),
    "Tr": Alias(_N, "Tr", "The server prepared its response head.", http=True),
    "Ts": Alias(
        _N, "unixDate(since)", "When the connection was accepted, in seconds since 1970.",
        hexadecimal=_hex("int(unixDate(since))", 4), number="int(unixDate(since))",
    ),
    "Tt": Alias(_N, "Tt", "All of it: Th, Ti and Ta together, or all of a session."),
    "Tu": Alias(_N, "Tt - Ti", "All that the client felt: Tt without Ti."),
    "Tw": Alias(_N, "Tw", "It waited for a slot of a server."),
    "U": Alias(_N, "exchange.bytesIn", "Bytes read from the client."),
    "ac": Alias(_N, "frontend.process.active", "Connections of the process."),
    "b": Alias(_T, "poolName", "The pool."),
    "bc": Alias(_N, "poolActive", "Exchanges in the pool."),
    "bi": Alias(
        _T, "sourceHost", "The address the server was connected to from.", empty=True,
        hexadecimal="hexAddress(sourceHost)",
    ),
    "bp": Alias(
        _N, "sourcePort", "The port the server was connected to from.", empty=True,
        hexadecimal=_hex("(sourcePort or 0)", 4),
    ),
    "bq": Alias(_N, "poolAhead", "How many waited before it in the pool's queue."),
    "ci": Alias(_T, "host", "The client's address.", hexadecimal="hexAddress(host)"),
    "cp": Alias(_N, "port", "The client's port.", hexadecimal=_hex("port", 4)),
    "f": Alias(_T, "frontend.name", "The frontend."),
    "fc": Alias(_N, "frontend.active", "Connections of the frontend."),
    "fi": Alias(
        _T, "localHost", "The address the client connected to.", empty=True,
        hexadecimal="hexAddress(localHost)",
    ),
    "fp": Alias(
        _N, "localPort", "The port the client connected to.", hexadecimal=_hex("localPort", 4)
    ),
    "ft": Alias(_M, "frontend.name + tilde", "The frontend, with a ~ where TLS ended."),
    "hr": Alias(Form.CAPTURES, "request", "What was captured of the request.", http=True),
    "hrl": Alias(Form.LIST, "request", "The same, one by one.", http=True),
    "hs": Alias(Form.CAPTURES, "response", "What was captured of the response.", http=True),
    "hsl": Alias(Form.LIST, "response", "The same, one by one.", http=True),
    "lc": Alias(
        _N, "lines", "Lines written before this one.", hexadecimal=_hex("lines", 4)
    ),
    "ms": Alias(
        _N, "fraction(since)", "The milliseconds of that time.",
        hexadecimal=_hex("int(fraction(since))", 2), number="int(fraction(since))",
    ),
    "o": Alias(_P, "", "Nothing: its flags are for all that follows."),
    "pid": Alias(_N, "pid()", "The process.", hexadecimal=_hex("pid()", 4)),
    "r": Alias(_M, "line", "The request line.", http=True),
    "rc": Alias(
        _N, "again", "Further connects; with a + where the server is not the first.",
        number="exchange.retries",
    ),
    "rt": Alias(
        _N, "ended(frontend)", "Exchanges of the process that ended before this one.",
        hexadecimal=_hex("ended(frontend)", 4),
    ),
    "s": Alias(_T, "serverName", "The server."),
    "sc": Alias(_N, "serverActive", "Exchanges on the server."),
    "si": Alias(
        _T, "serverHost", "The server's address.", empty=True,
        hexadecimal="hexAddress(serverHost)",
    ),
    "sp": Alias(
        _N, "serverPort", "The server's port.", empty=True,
        hexadecimal=_hex("(serverPort or 0)", 4),
    ),
    "sq": Alias(_N, "serverAhead", "How many waited before it in the server's queue."),
    "span": Alias(
        _T, "exchange.trace[33:49]", "The span that its server is told as its parent.", http=True,
        empty=True,
    ),
    "sslc": Alias(_T, "'' if tls is None else tls.cipher", "The cipher.", empty=True),
    "sslv": Alias(_T, "'' if tls is None else tls.version", "The version of TLS.", empty=True),
    "t": Alias(_P, "date(since)", "When the connection was accepted, with milliseconds."),
    "tr": Alias(_P, "date(exchange.startedAt)", "The first byte, with milliseconds.", http=True),
    "trace": Alias(
        _T, "exchange.trace[:32]", "The trace it belongs to, see traceparent.", http=True,
        empty=True,
    ),
    "trg": Alias(_P, "universalDate(exchange.startedAt)", "The first byte, in UTC.", http=True),
    "trl": Alias(_P, "localDate(exchange.startedAt)", "The first byte, local time.", http=True),
    "ts": Alias(_P, "exchange.cause + exchange.stage", "How it ended: two letters."),
    "tsc": Alias(
        _P,
        "exchange.cause + exchange.stage + ('--' if exchange.bond is None else"
        " exchange.bond.came + exchange.bond.went)",
        "The same, and what became of the cookie.",
    ),
}  # fmt: skip
"""What there is, by the names of HAProxy."""


# what the code is made of


def _ended(frontend: Any) -> int:
    """@return: exchanges of the process that ended before the one that is ending."""
    found: int = sum(one.traffic.exchanges for one in frontend.process.frontends)
    return found - 1


OBJECTS: dict[str, Any] = {
    "backslashed": backslashed, "captured": captured, "endpointOf": endpointOf, "escape": escape,
    "hexAddress": hexAddress, "pathOnly": pathOnly, "quoted": quoted, "said": said,
    "sessionTimers": sessionTimers, "timers": timers, "valueAsJSON": valueAsJSON, "waits": waits,
    "int": int, "str": str, "pid": os.getpid, "ended": _ended, "NOTHING": {}, "NOWHERE": ("", ""),
}  # fmt: skip

DATES: dict[str, tuple[Render, Sequence[str]]] = {
    "date": (commonDate, MILLISECONDS),
    "localDate": (localDate, WHOLE),
    "universalDate": (universalDate, WHOLE),
    "unixDate": (unixDate, WHOLE),
    "fraction": (noDate, MILLISECONDS),
}

# What names stand for in C{mode = http}; each may use those above it.
TIMERS = (
    ("TR Tw Tc Tr Ta", "TR, Tw, Tc, Tr, Ta = timers(exchange)"),
    ("Th Ti", "Th, Ti = waits(exchange)"),
    ("Tt", "Tt = Th + Ti + Ta"),
    ("Td", "Td = -1 if Tr < 0 else Ta - (TR if TR > 0 else 0) - Tw - Tc - Tr"),
)
# The same where an exchange is a whole session.
SESSION_TIMERS = (
    ("TR Tr Ta", "TR, _, _, Tr, Ta = timers(exchange)"),
    ("Th Ti", "Th, Ti = waits(exchange)[0], 0"),
    ("Tw Tc Tt", "Tw, Tc, Tt = sessionTimers(exchange)"),
    ("Td", "Td = -1 if Tc < 0 else Tt - Th - Tw - Tc"),
)
PARTS = (
    ("frontend", "frontend = exchange.frontend"),
    ("host port", "host, port = connection.client"),
    ("localHost localPort", "localHost, localPort = connection.local"),
    ("tls", "tls = connection.tls"),
    # A passthrough has TLS that does not end here.
    ("tilde", "tilde = '' if connection.tls is None or not connection.tls.version else '~'"),
    ("since", "since = exchange.freeAt or connection.acceptedAt"),
    (
        "poolName poolActive",
        "pool = exchange.pool\n"
        "if pool is None:\n    poolName, poolActive = frontend.name, 0\n"
        "else:\n    poolName, poolActive = pool.name, pool.active",
    ),
    (
        "serverName serverActive",
        "server = exchange.server\n"
        "if server is None:\n    serverName, serverActive = '<NOSRV>', 0\n"
        "else:\n    serverName, serverActive = server.name, server.active",
    ),
    ("serverHost serverPort", "serverHost, serverPort = endpointOf(exchange.server)"),
    ("sourceHost sourcePort", "sourceHost, sourcePort = exchange.source or NOWHERE"),
    (
        "again",
        "again = '0'\n"
        "if exchange.redispatched:\n    again = '+%d' % exchange.retries\n"
        "elif exchange.retries:\n    again = exchange.retries",
    ),
    ("serverAhead poolAhead", "serverAhead, poolAhead = exchange.ahead"),
    (
        "line",
        "if head is None:\n    line = '<BADREQ>'\n"
        "else:\n"
        # What is not ASCII becomes a surrogate, which is not printable.
        "    line = head.line.decode('ascii', 'surrogateescape')\n"
        "    if not line.isprintable() or '\"' in line or '#' in line:\n"
        "        line = escape(head.line)",
    ),
    (
        "method uri version",
        "if head is None:\n    method = uri = version = line\n"
        "else:\n"
        "    method, _, uri = line.partition(' ')\n"
        "    uri, _, version = uri.rpartition(' ')",
    ),
    ("lines", "lines = counted()"),
    ("captures", "captures = exchange.captures or NOTHING"),
    ("cookies", "cookies = captures.get('cookie', NOTHING)"),
    ("request", "request = captures.get('request', NOTHING)"),
    ("response", "response = captures.get('response', NOTHING)"),
)

NAMES = frozenset(
    name for names, _ in (*TIMERS, *PARTS) for name in names.split()
) | {*OBJECTS, *DATES, "pool", "server", "_", "hostname", "session", "counted", "PART"}
"""All that the code of an alias is made of, besides C{exchange, connection, head}."""
