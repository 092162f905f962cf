"""
What the balancers by hash make of an exchange: the bytes that are hashed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attr

from lbtwist.errors import BadConnectionRequest
from lbtwist.options import Name
from lbtwist.rules.expression import ExpressionError, Scope
from lbtwist.rules.reading import wire
from lbtwist.rules.template import Template
from lbtwist.rules.values import Stage
from lbtwist.sansio import rdp

if TYPE_CHECKING:
    from lbtwist.exchange import Exchange

ADDRESS = "the client's address"


@attr.frozen(eq=False)
class Key:
    """
    What is hashed.

    @ivar of: the bytes of an exchange; C{b""} where there are none.
    @ivar name: what they are, for people.
    @ivar ofSessions: what they are where there is no request.
    """

    of: Callable[[Exchange], bytes]
    name: str = ADDRESS
    ofSessions: str = ADDRESS

    def nameFor(self, exchange: Exchange) -> str:
        return self.ofSessions if exchange.request is None else self.name


def address(exchange: Exchange) -> bytes:
    """@return: the client's address, without the port."""
    return exchange.connection.client[0].encode()


def uriKey(whole: bool, depth: int, length: int) -> Key:
    """
    As HAProxy's C{balance uri} (its manual, 4.2), but the authority never counts.

    @param whole: with the query.
    @param depth: so many directories of the path and no more; 0 is all of it.
    @param length: so many bytes from the beginning and no more, before anything else is
        looked at; 0 is all of it.
    """

    def of(exchange: Exchange) -> bytes:
        request = exchange.request
        if request is None:
            return address(exchange)
        target = request.target
        if length:
            target = target[:length]
        if depth:
            path, mark, query = target.partition(b"?")
            # What is before the first slash is nothing.
            kept = b"/".join(path.split(b"/", depth + 1)[: depth + 1])
            target = kept if kept != path or not whole else path + mark + query
        return target if whole else target.partition(b"?")[0]

    return Key(of, "of the request")


def fieldKey(name: str) -> Key:
    """@param name: of a field of the request."""
    wanted = name.lower().encode()

    def of(exchange: Exchange) -> bytes:
        request = exchange.request
        if request is None:
            return address(exchange)
        return request.fields.get(wanted) or b""

    return Key(of, name.lower())


class RDPCookieName(Name):
    """The name of a cookie of RDP; in lower case."""

    def parse(self, text: str) -> str:
        if not rdp.isName(text.encode()):
            raise ValueError(f"{text!r} is not the name of a cookie of RDP, as mstshash is")
        return text.lower()


def rdpKey(name: str) -> Key:
    """
    @param name: of the cookie that a client of RDP sends first, in lower case.
    """

    def of(exchange: Exchange) -> bytes:
        try:
            request = rdp.read(exchange.early)
        except BadConnectionRequest:
            return b""
        value = b"" if request is None else request.cookie(name)
        # The name of a user, whose case counts for nothing with the servers.
        return value.lower() if name == "mstshash" else value

    said = f"cookie {name} of RDP"
    return Key(of, said, said)


def seesRDP(data: bytes) -> bool:
    """@return: whether more than C{data} can tell no more of RDP's first message."""
    try:
        return rdp.read(data) is not None
    except BadConnectionRequest:
        return True


def templateKey(template: Template, scope: Scope | None) -> Key:
    """
    @param scope: where the pool is. Expressions that ask for a request have nothing to say
        of a session, which is known by the client's address then.
    @raise ExpressionError: if an expression cannot be asked there.
    """
    scope = scope or Scope(Stage.REQUEST)
    name = session = template.text
    connection = attr.evolve(scope, stage=Stage.CONNECTION, http=False)
    try:
        sessionText: Callable[[Any], str] | None = template.compiled(connection)
    except ExpressionError:
        if not scope.http:
            raise
        sessionText, session = None, ADDRESS
    text = template.compiled(scope) if scope.http else None

    def of(exchange: Exchange) -> bytes:
        asked = text if exchange.request is not None else sessionText
        return address(exchange) if asked is None else wire(asked(exchange))

    return Key(of, name, session)
