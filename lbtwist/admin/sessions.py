"""
What runs now: each connection of a client, what is under way on it, and what ends it; in this
process, or in its workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import attr
from twisted.internet.defer import FirstError, TimeoutError, gatherResults

from lbtwist.admin.verbs import Refused
from lbtwist.exchange import Cause, Exchange
from lbtwist.service import LoadBalancer

PATIENCE = 5.0
"""Seconds after which a worker that has said nothing is not waited for."""


@attr.frozen
class Running:
    """
    One connection of a client, and what is under way on it.

    @ivar number: no other one has it; a worker that takes the place of one that has died begins
        with those of that one again.
    @ivar age: seconds since it was accepted.
    @ivar stage: of L{lbtwist.exchange.Stage}; C{""} while nothing is under way.
    @ivar waitsFor: the server that it waits for, in the queue, if it takes no other.
    @ivar request: the method and the target, as they came.
    """

    number: int
    frontend: str
    client: tuple[str, int]
    local: tuple[str, int]
    age: float
    pool: str = ""
    server: str = ""
    waitsFor: str = ""
    stage: str = ""
    request: str = ""
    requestId: str = ""
    retries: int = 0
    tls: str = ""


def running(balancer: LoadBalancer) -> Iterator[Running]:
    """@return: all of them, the oldest of each frontend first."""
    passing = _passing(balancer)
    bound = {
        place.waiting.exchange.connection.number: place.bound.name
        for pool in balancer.pools.values()
        for place in pool.places()
        if place.bound is not None
    }
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
            if exchange is None:
                yield found
            else:
                yield _with(found, exchange, bound.get(protocol.number, ""))


def _with(found: Running, exchange: Exchange, waitsFor: str) -> Running:
    head, pool, server = exchange.request, exchange.pool, exchange.server
    return attr.evolve(
        found, pool="" if pool is None else pool.name,
        server="" if server is None else server.name, waitsFor=waitsFor, stage=exchange.stage,
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


# wherever it is


async def allRunning(balancer: LoadBalancer, most: int | None = None) -> list[Running]:
    """
    @param most: so many are enough.
    @return: as L{running}, those of all workers together.
    @raise Refused: if one of them says nothing.
    """
    if balancer.workers is None:
        return list(islice(running(balancer), most))
    found = [
        Running(**{**one, "client": tuple(one["client"]), "local": tuple(one["local"])})
        for some in await _asked(balancer, "running", most)
        for one in some
    ]
    places = {name: place for place, name in enumerate(balancer.frontends)}
    found.sort(key=lambda one: (places.get(one.frontend, len(places)), -one.age))
    return found[:most]


async def endAnywhere(balancer: LoadBalancer, number: int) -> bool:
    """As L{end}. @raise Refused: if a worker says nothing."""
    if balancer.workers is None:
        return end(balancer, number)
    return any(await _asked(balancer, "end", number))


async def _asked(balancer: LoadBalancer, what: str, *values: Any) -> list[Any]:
    """@return: what each worker says that has not ended before."""
    asked = [
        one.addTimeout(PATIENCE, balancer.reactor) for one in balancer.workers.ask(what, *values)
    ]
    try:
        said = await gatherResults(asked, consumeErrors=True)
    except FirstError as failed:
        failed.subFailure.trap(TimeoutError)
        raise Refused(f"A worker has not answered within {PATIENCE:g} s.") from None
    return [one for one in said if one is not None]
