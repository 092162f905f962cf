"""What C{statsd}, C{graphite} and C{otlp} say: where numbers and spans are sent to."""

from __future__ import annotations

from typing import Any

from lbtwist.config.fill import BAD, Scope, fill
from lbtwist.config.ini import Option
from lbtwist.config.model import Collector, Export, GraphiteOptions, OTLPOptions, StatsDOptions
from lbtwist.config.model.exports import CollectorURL
from lbtwist.config.values import itemsOf, tcpAddress, unixPath
from lbtwist.registry import Registry


def readStatsD(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: an L{Export} for each address, or L{BAD}."""
    return _read("statsd", option, scope, StatsDOptions)


def readGraphite(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: an L{Export} for each address, or L{BAD}."""
    return _read("graphite", option, scope, GraphiteOptions)


def readOTLP(option: Option, scope: Scope, registry: Registry) -> Any:
    """@return: a L{Collector}, L{None} for an empty value, or L{BAD}."""
    words = option.words
    if not words:
        return None
    word, *more = words
    try:
        url = CollectorURL().parse(word.text)
    except ValueError as error:
        scope.error(word.where, str(error))
        return BAD
    options = fill([OTLPOptions], more, word.where, scope)
    if options is None:
        return BAD
    [found] = options
    if found.ca and not url.startswith("https:"):
        scope.within("ca").error(word.where, "says nothing of a URL without https")
        return BAD
    return Collector(url, found, where=word.where)


def _read(kind: str, option: Option, scope: Scope, cls: type[Any]) -> Any:
    found: list[Any] = []
    items = itemsOf(option)
    if not items:
        scope.error(option.where, "needs an address: HOST:PORT")
        return BAD
    for word, *words in items:
        options = fill([cls], words, word.where, scope)
        try:
            if kind == "statsd" and word.text.startswith("unix:"):
                path = unixPath(word.text.removeprefix("unix:"), word.where)
                where: dict[str, Any] = {"path": path}
            else:
                host, port = tcpAddress(word.text)
                where = {"host": host, "port": port}
        except ValueError as error:
            scope.error(word.where, str(error))
            found.append(BAD)
            continue
        found.append(
            BAD if options is None else Export(kind, options[0], **where, where=word.where)
        )
    return BAD if BAD in found else tuple(found)
