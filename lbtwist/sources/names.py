"""
Servers as the DNS names them: all addresses of a name, or the records of a service.
"""

from __future__ import annotations

import re
from typing import Any

import attr
from zope.interface import implementer

from lbtwist.config.values import tcpAddress
from lbtwist.discovery import LEAST_TTL, LIMIT, MOST_TTL, Answer, ServiceAnswer
from lbtwist.interfaces import IServerSource
from lbtwist.options import HostName, Kind, option
from lbtwist.registry import Context
from lbtwist.server import Found, Member

HEAVIEST = 256
"""The highest weight of a server."""


def _good(ttl: float) -> float:
    return max(LEAST_TTL, min(ttl, MOST_TTL))


class NameAndPort(Kind[tuple[str, int]]):
    """A host name and a port."""

    form = "HOST:PORT"

    def parse(self, text: str) -> tuple[str, int]:
        host, port = tcpAddress(text)
        if ":" in host or re.fullmatch(r"[0-9.]+", host):
            raise ValueError(f"{text!r} is an address: write server NAME = {text}")
        return host, port


class ServiceName(Kind[str]):
    """The name of a service, as C{_http._tcp.example.com} (RFC 2782)."""

    form = "SERVICE"

    def parse(self, text: str) -> str:
        name = text.lower().removesuffix(".")
        if not HostName.good(name):
            raise ValueError(f"{text!r} is not a name: write _http._tcp.example.com")
        return name


@implementer(IServerSource)
class DNSAddresses:
    """
    C{dns:HOST:PORT}: a server for each address of a name, of IPv4 and of IPv6.

    They are sorted, since name servers turn their answers round.
    """

    interval = LEAST_TTL
    limit = 3 * LIMIT

    @attr.frozen
    class Options:
        name: tuple[str, int] = option(
            NameAndPort(), doc="The name, and the port of each server.", positional=True
        )

    def __init__(self, options: Options, context: Context) -> None:
        self._host, self._port = options.name
        self._names = context.names

    async def _discover(self) -> Found:
        answer: Answer = await self._names.lookupAll(self._host)
        members = (Member(one, self._port, sni=self._host) for one in sorted(answer.addresses))
        return Found(tuple(members), _good(answer.ttl))

    def discover(self) -> Any:
        return self._discover()


@implementer(IServerSource)
class DNSService:
    """
    C{srv:SERVICE}: a server for each SRV record (RFC 2782), whose target is a name, which is
    resolved as that of a server that is written down.

    Those of the lowest priority are used, the others are backups. A weight there is from 0 to
    65535 and says something only beside the others: where one is above 256 all are made
    smaller by the same factor. 0 stands for the smallest there is, 1.
    """

    interval = LEAST_TTL
    limit = 2 * LIMIT

    @attr.frozen
    class Options:
        service: str = option(ServiceName(), doc="The name of the service.", positional=True)

    def __init__(self, options: Options, context: Context) -> None:
        self._service = options.service
        self._names = context.names

    async def _discover(self) -> Found:
        answer: ServiceAnswer = await self._names.lookupService(self._service)
        heaviest = max(one.weight for one in answer.records)
        scale = min(1.0, HEAVIEST / heaviest) if heaviest else 1.0
        members = sorted(
            (one.priority, one.host, one.port, max(1, round(one.weight * scale)))
            for one in answer.records
        )
        return Found(
            tuple(
                Member(host, port, weight=weight, priority=priority)
                for priority, host, port, weight in members
            ),
            _good(answer.ttl),
        )

    def discover(self) -> Any:
        return self._discover()
