"""Where the balancer's numbers are sent to by itself, time after time."""

from __future__ import annotations

import attr

from lbtwist.config.model.fields import place
from lbtwist.errors import Position
from lbtwist.options import URL, Kind, Path, Text, Time, Word, option


class Prefix(Kind[str]):
    """What names begin with: words with dots between."""

    form = "NAME"

    def parse(self, text: str) -> str:
        words = text.split(".")
        if not all(word and all(_good(one) for one in word) for word in words):
            raise ValueError(
                f"{text!r} is no prefix: letters, digits, - and _ are accepted, and dots between"
            )
        return text


def _good(one: str) -> bool:
    return one.isascii() and (one.isalnum() or one in "-_")


def _often(seconds: float) -> str | None:
    return "from 1s to 1h is accepted" if not 1 <= seconds <= 3600 else None


@attr.frozen
class StatsDOptions:
    """What may follow an address in C{statsd =}."""

    prefix: str = option(Prefix(), "lbtwist", "What each name begins with.")
    interval: float = option(Time(), 10.0, "How often.", check=_often)
    tags: str = option(
        Word("none", "dogstatsd"), "none", "Whether of whom a number is stands in tags."
    )


@attr.frozen
class GraphiteOptions:
    """What may follow an address in C{graphite =}."""

    prefix: str = option(Prefix(), "lbtwist", "What each path begins with.")
    interval: float = option(Time(), 60.0, "How often.", check=_often)


class CollectorURL(URL):
    """That of a collector of traces."""

    example = "http://HOST:4318/v1/traces"


def _soon(seconds: float) -> str | None:
    return None if 0.1 <= seconds <= 60 else "from 100ms to 1m is accepted"


@attr.frozen
class OTLPOptions:
    """What may follow a URL in C{otlp =}."""

    service: str = option(Text(), "lbtwist", "What the balancer is called.")
    ca: str = option(Path(), "", "A PEM file of authorities to believe; empty: the machine's.")
    timeout: float = option(Time(), 5.0, "How long one request may take.", check=_soon)


@attr.frozen
class Collector:
    """
    Where spans are sent to.

    @ivar url: of HTTP or HTTPS.
    """

    url: str
    options: OTLPOptions = OTLPOptions()
    where: Position = place()


@attr.frozen
class Export:
    """
    One place that numbers are sent to.

    @ivar kind: C{statsd}, over UDP or a UNIX socket for datagrams, or C{graphite}, over TCP.
    @ivar host: an address or a name.
    @ivar path: of a UNIX socket.
    """

    kind: str
    options: StatsDOptions | GraphiteOptions
    host: str = ""
    port: int = 0
    path: str = ""
    where: Position = place()
