"""
Servers as Docker runs them: the containers of this machine that have a label.

U{https://docs.docker.com/reference/api/engine/}, C{GET /containers/json}.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import attr
from zope.interface import implementer

from lbtwist.fetching import Fetcher, NotFetched
from lbtwist.interfaces import IServerSource
from lbtwist.options import Integer, Kind, Path, Text, option
from lbtwist.registry import Context
from lbtwist.server import Found, Member

MOST = 4 * 1024 * 1024
"""Bytes of an answer; a container takes some 2000."""

TIMEOUT = 10.0
"""Seconds that Docker is given."""


class Label(Kind[str]):
    """A label, C{NAME} or C{NAME=VALUE}."""

    form = "LABEL"

    def parse(self, text: str) -> str:
        if not text.partition("=")[0] or not text.isprintable():
            raise ValueError(f"{text!r} is not a label: write NAME or NAME=VALUE")
        return text


@implementer(IServerSource)
class Docker:
    """
    C{docker:LABEL}: a server for each running container with the label, at its address in a
    network of Docker and the port that it exposes.
    """

    interval = 5.0
    limit = TIMEOUT + 5.0

    @attr.frozen
    class Options:
        label: str = option(Label(), doc="The label of the containers.", positional=True)
        port: int = option(
            Integer(0, 65535), 0, "The port of each; 0 is the only one that it exposes."
        )
        network: str = option(
            Text(), "", "The network of their addresses; empty is the first where they have one."
        )
        socket: str = option(Path(), "/var/run/docker.sock", "Where Docker listens.")

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        filters = json.dumps({"label": [options.label], "status": ["running"]})
        self._url = f"http://docker/containers/json?filters={quote(filters)}"
        self._fetch = Fetcher(context.reactor, context.names, TIMEOUT)

    async def _discover(self) -> Found:
        fields = {"Accept": "application/json"}
        fetched = await self._fetch.get(
            self._url, fields, MOST, hops=0, path=self._options.socket
        )
        try:
            containers = json.loads(fetched.body)
        except (ValueError, RecursionError):
            raise NotFetched("what Docker answers is not JSON") from None
        if not isinstance(containers, list):
            raise NotFetched("what Docker answers is not a list")
        members = []
        left = []
        for number, container in enumerate(containers, 1):
            name = f"container {number}"
            try:
                if container.get("State", "running") != "running":
                    continue
                name = str((container.get("Names") or [container["Id"][:12]])[0]).lstrip("/")
                members.append(self._member(name, container))
            except (KeyError, TypeError, AttributeError, IndexError) as wrong:
                left.append(f"{name}: {type(wrong).__name__} {wrong}")
            except ValueError as wrong:
                left.append(f"{name} {wrong}")
        return Found(tuple(sorted(members, key=lambda one: one.name)), left=tuple(left))

    def discover(self) -> Any:
        return self._discover()

    def _member(self, name: str, container: Any) -> Member:
        """@raise ValueError: with what it lacks, and what to do."""
        networks = container["NetworkSettings"]["Networks"]
        wanted = self._options.network
        if wanted and wanted not in networks:
            raise ValueError(f"is not in the network {wanted}, only in {', '.join(networks)}")
        addresses = [
            address
            for network in ([wanted] if wanted else networks)
            for key in ("IPAddress", "GlobalIPv6Address")
            if (address := networks[network].get(key))
        ]
        if not addresses:
            raise ValueError("has no address of its own; has it the network of the host?")
        port = self._options.port or self._exposed(container)
        return Member(str(addresses[0]), port, name=name)

    def _exposed(self, container: Any) -> int:
        ports = {
            one["PrivatePort"] for one in container.get("Ports") or () if one["Type"] == "tcp"
        }
        if len(ports) != 1:
            said = ", ".join(map(str, sorted(ports))) or "no port"
            raise ValueError(f"exposes {said}: write port=NUMBER")
        return int(ports.pop())
