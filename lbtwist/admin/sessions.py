"""
What runs now: each connection of a client, what is under way on it, and what ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attr

from lbtwist.exchange import Cause, Exchange
from lbtwist.service import LoadBalancer

NOBODY = ("", 0)


@attr.frozen
class Running:
    """
    One connection of a client, and what is under way on it.

    @ivar number: counted from 1 in this process; it is not given to another one.
    @ivar age: seconds since it was accepted.
    @ivar stage: of L{lbtwist.exchange.Stage}; C{""} while nothing is under way.
    @ivar request: the method and the target, as they came.
    """

    number: int
    frontend: str
    client: tuple[str, int]
    local: tuple[str, int]
    age: float
    pool: str = ""
    server: str = ""
    stage: str = ""
    request: str = ""
    requestId: str = ""
    retries: int = 0
    tls: str = ""


def running(balancer: LoadBalancer) -> Iterator[Running]:
    """@return: all of them, the oldest of each frontend first."""
    passing = _passing(balancer)
    now = balancer.deadlines.seconds()
    for frontend in balancer.frontends.values():
        for protocol in sorted(frontend.inbound.connections, key=lambda one: one.number):
            exchange = passing.get(protocol.number, (None, None))[0]
            exchange = exchange or getattr(protocol, "exchange", None)
            connection = getattr(protocol, "connection", None)
            if connection is None and exchange is not None:
                connection = exchange.connection
            if connection is None:
                # It has not come further than its PROXY header, or its handshake.
                client, local = protocol.peer, protocol.local
                age = now - protocol.acceptedAt
                yield Running(protocol.number, frontend.name, client, local, age, stage="P")
                continue
            tls = "" if connection.tls is None else connection.tls.version
            found = Running(
                protocol.number, frontend.name, connection.client, connection.local,
                now - connection.acceptedAt, tls=tls,
            )  # fmt: skip
            yield found if exchange is None else _with(found, exchange)


def _with(found: Running, exchange: Exchange) -> Running:
    head, pool, server = exchange.request, exchange.pool, exchange.server
    return attr.evolve(
        found, pool="" if pool is None else pool.name,
        server="" if server is None else server.name, stage=exchange.stage,
        request="" if head is None else head.line[:256].decode("latin-1"),
        requestId=exchange.requestId, retries=exchange.retries,
    )  # fmt: skip


def _passing(balancer: LoadBalancer) -> dict[int, tuple[Exchange, Any]]:
    """@return: what goes through a server, by the numbers of connections."""
    found: dict[int, tuple[Exchange, Any]] = {}
    for pool in balancer.pools.values():
        for server in pool.servers:
            for session in server.sessions:
                exchange = getattr(session, "exchange", None)
                if exchange is not None:
                    found[exchange.connection.number] = exchange, session
    for frontend in balancer.frontends.values():
        for session in frontend.inbound.sessions:
            exchange = getattr(session, "exchange", None)
            if exchange is not None:
                found[exchange.connection.number] = exchange, session
    return found


def end(balancer: LoadBalancer, number: int) -> bool:
    """
    End a connection at once, and what is under way on it.

    @return: whether there is one of this number.
    """
    for frontend in balancer.frontends.values():
        for protocol in frontend.inbound.connections:
            if protocol.number == number:
                _, session = _passing(balancer).get(number, (None, None))
                if session is not None:
                    # A tunnel knows both of its sides.
                    session.abortSession(Cause.KILLED)
                if protocol in frontend.inbound.connections:
                    protocol.abortSession(Cause.KILLED)
                return True
    return False
