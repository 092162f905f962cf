"""
Keeps what a parser of HTTP has refused, see L{lbtwist.captures}: what a client sent with its
frontend, what a server sent with its pool. Nothing of this is asked for where all goes well.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from lbtwist.captures import REQUEST, RESPONSE
from lbtwist.errors import BadRequest, MessageError
from lbtwist.exchange import Exchange
from lbtwist.sansio.http1 import Partial
from lbtwist.sansio.refused import inHead, whereRefused
from lbtwist.sansio.requesthead import RequestReader
from lbtwist.sansio.responsehead import ResponseReader

if TYPE_CHECKING:
    from lbtwist.pool import Pool
    from lbtwist.server import Server


def captureRequest(
    front: Any, refused: BadRequest, data: bytes = b"", reader: RequestReader | None = None,
    exchange: Exchange | None = None,
) -> None:  # fmt: skip
    """
    @param front: a L{lbtwist.http.clientside.ClientSide}.
    @param data: the head that was refused; C{b""} where it was a body.
    @param reader: has refused it.
    @param exchange: whose body it was.
    """
    if not (data or refused.data):
        return

    def where(data: bytes) -> int:
        if reader is None:
            return refused.position
        return inHead(data, whereRefused(data, reader.read), True, refused.about)

    frontend = front.shared.frontend
    pool = server = ""
    if exchange is not None and exchange.pool is not None:
        pool = exchange.pool.name
        server = "" if exchange.server is None else exchange.server.name
    frontend.traffic.captures.take(
        front.shared.deadlines.seconds(), REQUEST, frontend.name, pool, server,
        front.connection.client, refused.reason, data or refused.data, where,
    )  # fmt: skip


def captureResponse(
    pool: Pool, server: Server, exchange: Exchange, refused: MessageError, reader: ResponseReader,
    method: bytes, held: Partial | None,
) -> None:  # fmt: skip
    """
    @param refused: whoever has read a body knows where it went wrong.
    @param reader: reads heads.
    @param method: of the request.
    @param held: what has come of a head before it was refused.
    """
    data = refused.data or (b"" if held is None else bytes(held.data))
    if not data:
        return

    def where(data: bytes) -> int:
        if refused.position >= 0:
            return refused.position
        at = whereRefused(data, partial(reader.read, method=method))
        return inHead(data, at, False, refused.about)

    pool.traffic.captures.take(
        pool.seconds(), RESPONSE, getattr(exchange.frontend, "name", ""), pool.name, server.name,
        exchange.connection.client, refused.reason, data, where,
    )  # fmt: skip
