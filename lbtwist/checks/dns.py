"""
The check C{dns}: a name server answers a query, over TCP (RFC 7766).

Of the answer no more is read than its head (RFC 1035 section 4.1.1): what it was asked, and
whether it knows.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import attr
from twisted.names import dns

from lbtwist.checks.talk import Exactly, Talk, TalkCheck, Unfit
from lbtwist.health import Result
from lbtwist.options import HostName, Kind, Word, Words, option

if TYPE_CHECKING:
    from lbtwist.registry import Context
    from lbtwist.server import Server

_TYPES = {"A": dns.A, "AAAA": dns.AAAA, "CNAME": dns.CNAME, "MX": dns.MX, "NS": dns.NS,
          "PTR": dns.PTR, "SOA": dns.SOA, "SRV": dns.SRV, "TXT": dns.TXT}  # fmt: skip
# RFC 1035 section 4.1.1, RFC 2136 section 2.2.
_CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
_HEAD = 12
_ANSWER = 0x8000


class _Asked(Kind[str]):
    """A host name, or C{.}, the root."""

    form = "NAME"

    def parse(self, text: str) -> str:
        return text if text == "." else HostName().parse(text)


class DNSCheck(TalkCheck):
    """C{check = dns NAME}: passes where a query is answered without an error."""

    @attr.frozen
    class Options:
        """What is asked."""

        name: str = option(_Asked(), doc="The name that is asked for.", positional=True)
        type: str = option(Word(*_TYPES), "A", "The type of record that is asked for.")
        expect: tuple[str, ...] = option(
            Words(*_CODES), ("NOERROR",), "The response codes that pass."
        )

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self._random: Random = context.random

    def talk(self, server: Server) -> Talk:
        options = self.options
        message = dns.Message(self._random.getrandbits(16), recDes=1)
        name = b"" if options.name == "." else options.name.encode("ascii")
        message.addQuery(name, _TYPES[options.type])
        query = message.toStr()
        yield len(query).to_bytes(2, "big") + query
        size = yield Exactly("answer", 2)
        if int.from_bytes(size, "big") < _HEAD:
            raise Unfit("an answer shorter than its head")
        head = yield Exactly("answer", _HEAD)
        flags = int.from_bytes(head[2:4], "big")
        if head[:2] != query[:2] or not flags & _ANSWER:
            raise Unfit("this is no answer to the query")
        code = flags & 15
        said = _CODES[code] if code < len(_CODES) else f"RCODE {code}"
        if said not in options.expect:
            raise Unfit(said, "L7STS")
        return Result(True, "L7OK", said)
