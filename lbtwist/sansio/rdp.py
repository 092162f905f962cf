"""
The first message of RDP, as far as a balancer has to know it: the cookie, or the routing
token, of an X.224 Connection Request (MS-RDPBCGR section 2.2.1.1, RFC 1006 section 6).

The reader is made for peeking: it is given all that has come so far, and again with more.
Nothing is taken out of the connection.

Not here: what the client and the server agree on then.
"""

from __future__ import annotations

import re
from socket import AF_INET, inet_ntop

import attr

from lbtwist.errors import BadConnectionRequest

LIMIT = 4 + 1 + 254
"""The most bytes of a request: 255 is reserved as the length of the header (X.224, 13.2.1)."""

_LEAST = 4 + 1 + 6
_VERSION = 3
_CONNECTION_REQUEST = 0xE0

# That case counts for nothing, and any number of spaces, is HAProxy's reading.
_NAME = rb"[a-zA-Z0-9_-]{1,64}"
_cookie = re.compile(rb"(?i:cookie): *(%b)=([^\0\r\n]*)\r\n" % _NAME).match
isName = re.compile(_NAME).fullmatch
_token = re.compile(rb"([0-9]{1,10})\.([0-9]{1,5})\.[0-9]{0,4} *").fullmatch


@attr.frozen
class ConnectionRequest:
    """
    What a client of RDP says before anything is agreed on.

    @ivar name: of the cookie, in lower case: C{"mstshash"} is with the name of a user, and
        C{"msts"} with the address of a server; C{""} where there is none.
    @ivar value: of the cookie; C{b""} where it has none.
    @ivar size: the bytes of the request.
    """

    name: str
    value: bytes
    size: int

    def cookie(self, name: str) -> bytes:
        """
        @param name: in lower case.
        @return: the value of the cookie of this name; C{b""} where there is none.
        """
        return self.value if self.name == name else b""


def read(data: bytes) -> ConnectionRequest | None:
    """
    Read the request that C{data} begins with.

    @return: the request, or L{None} if it is not complete and may become good.
    @raise BadConnectionRequest: if it cannot become one.
    """
    have = len(data)
    if have and data[0] != _VERSION:
        raise BadConnectionRequest("no TPKT")
    if have > 1 and data[1]:
        raise BadConnectionRequest("a TPKT with a reserved byte that is not zero")
    if have < 4:
        return None
    size = int.from_bytes(data[2:4], "big")
    if not _LEAST <= size <= LIMIT:
        raise BadConnectionRequest("a TPKT that is too short or too long for a request")
    if have > 4 and data[4] != size - 5:
        raise BadConnectionRequest("a header of X.224 that does not fill its TPKT")
    if have > 5 and data[5] != _CONNECTION_REQUEST:
        raise BadConnectionRequest("another message of X.224 than a Connection Request")
    if any(data[6:8]):
        raise BadConnectionRequest("a Connection Request with a destination")
    if have < size:
        return None
    # What follows the cookie, such as what kinds of security there are, is the server's.
    found = _cookie(data, _LEAST, size)
    if found is None:
        return ConnectionRequest("", b"", size)
    return ConnectionRequest(found[1].lower().decode("ascii"), found[2], size)


def address(token: bytes) -> tuple[str, int] | None:
    """
    What C{msts} says: C{3640205228.15629.0000} is 172.31.249.216 and the port 3389, each
    read with its bytes in the wrong order.

    @return: the address of a server, or L{None} if it says something else.
    """
    found = _token(token)
    if found is None:
        return None
    host, port = int(found[1]), int(found[2])
    if host >> 32 or port >> 16 or not port:
        return None
    return (
        inet_ntop(AF_INET, host.to_bytes(4, "little")),
        int.from_bytes(port.to_bytes(2, "little"), "big"),
    )
