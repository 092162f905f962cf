"""
Servers as Consul knows them: the instances of a service whose checks pass.

U{https://developer.hashicorp.com/consul/api-docs/health}; blocking queries are
U{https://developer.hashicorp.com/consul/api-docs/features/blocking}.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import attr
from zope.interface import implementer

from lbtwist.config.values import tcpAddress
from lbtwist.fetching import Fetched, Fetcher, NotFetched
from lbtwist.interfaces import IServerSource
from lbtwist.options import Kind, Path, Time, option, suggestion
from lbtwist.registry import Context
from lbtwist.server import Found, Member
from lbtwist.sources.files import secret

MOST = 4 * 1024 * 1024
"""Bytes of an answer; an instance takes some 1500."""

PATIENCE = 10.0
"""Seconds that Consul is given beyond the time for which it was asked to wait."""

ASKED = ("tag", "dc", "ns", "partition", "filter")
"""What can be asked besides the name of a service."""


@attr.frozen
class Asked:
    """
    What is asked of whom.

    @ivar query: pairs of keys and values, as they are written.
    """

    service: str
    query: tuple[tuple[str, str], ...]
    host: str
    port: int


class Service(Kind[Asked]):
    """C{SERVICE?tag=TAG&dc=DATACENTER@HOST:PORT}."""

    form = "SERVICE@HOST:PORT"

    def parse(self, text: str) -> Asked:
        rest, at, where = text.rpartition("@")
        if not at:
            raise ValueError(f"{text!r} does not say where Consul is: write SERVICE@127.0.0.1:8500")
        host, port = tcpAddress(where)
        service, _, query = rest.partition("?")
        if not service or not service.isascii() or not service.isprintable() or "/" in service:
            raise ValueError(f"{service!r} is not the name of a service")
        try:
            pairs = parse_qsl(query, strict_parsing=bool(query), max_num_fields=20)
        except ValueError:
            raise ValueError(f"{query!r} is not KEY=VALUE, joined by &") from None
        for key, _ in pairs:
            if key not in ASKED:
                raise ValueError(f"unknown {key!r}{suggestion(key, ASKED)}")
        return Asked(service, tuple(pairs), host, port)


@implementer(IServerSource)
class Consul:
    """
    C{consul:SERVICE?tag=TAG&dc=DATACENTER@HOST:PORT}.

    A question waits at Consul until there is something new, so a change is known at once; it
    is answered without one after C{wait}. Each answer has an index, from which the next
    question goes on; one that is not above 0, or that is lower than the last, as after a
    restore of Consul, begins anew.
    """

    interval = 1.0

    @attr.frozen
    class Options:
        service: Asked = option(Service(), doc="The service, and where Consul is.", positional=True)
        token: str = option(Path(), "", "A file whose first line is the token for Consul.")
        wait: float = option(
            Time(), 60.0, "How long a question waits for something new.",
            check=lambda seconds: None if 1 <= seconds <= 600 else "from 1s to 10m is accepted",
        )  # fmt: skip

    def __init__(self, options: Options, context: Context) -> None:
        asked = options.service
        host = f"[{asked.host}]" if ":" in asked.host else asked.host
        self._token = options.token
        self._wait = options.wait
        query = urlencode([*asked.query, ("passing", "1")])
        service = quote(asked.service, safe="")
        self._url = f"http://{host}:{asked.port}/v1/health/service/{service}?{query}"
        self._fetch = Fetcher(context.reactor, context.names)
        self._index = 0
        # Consul waits for up to a sixteenth more, so that not all come back at once.
        self._patience = options.wait * 17 / 16 + PATIENCE
        self.limit = self._patience + PATIENCE

    async def _discover(self) -> Found:
        # Whatever goes wrong: the next question is answered at once.
        index, self._index = self._index, 0
        fields = {"Accept": "application/json"}
        if self._token:
            fields["X-Consul-Token"] = secret(self._token)
        url = self._url
        if index:
            url += f"&index={index}&wait={self._wait:g}s"
        # Without a redirect: the token is Consul's alone.
        fetched = await self._fetch.get(url, fields, MOST, self._patience, hops=0)
        found = _instances(fetched)
        new = fetched.field("X-Consul-Index")
        said = int(new) if re.fullmatch("[0-9]{1,19}", new) else 0
        self._index = said if said >= index else 0
        return found

    def discover(self) -> Any:
        return self._discover()


def _instances(fetched: Fetched) -> Found:
    try:
        entries = json.loads(fetched.body)
    except (ValueError, RecursionError):
        raise NotFetched("what Consul answers is not JSON") from None
    if not isinstance(entries, list):
        raise NotFetched("what Consul answers is not a list")
    members = []
    left = []
    for number, entry in enumerate(entries, 1):
        try:
            member = _member(entry)
        except (KeyError, TypeError, AttributeError, ValueError) as wrong:
            left.append(f"instance {number}: {type(wrong).__name__} {wrong}")
            continue
        if member is not None:
            members.append(member)
    members.sort(key=lambda one: (one.name, one.host, one.port))
    return Found(tuple(members), left=tuple(left))


def _member(entry: Any) -> Member | None:
    """@return: an instance; L{None} if a check of it does not pass."""
    if any(check["Status"] != "passing" for check in entry.get("Checks") or ()):
        return None
    service = entry["Service"]
    host = service.get("Address") or entry["Node"]["Address"]
    weights = service.get("Weights") or {}
    weight = weights.get("Passing")
    if weight is not None:
        weight = max(0, min(int(weight), 256))
    return Member(
        str(host).lower(), int(service["Port"]), weight=weight, name=str(service.get("ID") or "")
    )
