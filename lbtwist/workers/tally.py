"""
What a worker has counted, on its way to the parent: taken away in the one, added in the other.
Nothing is counted twice; what a worker has not said when it dies is lost, which is at most that
of a moment.

Plain values, so that they can be sent; which traffic they are of is known to who calls.
"""

from __future__ import annotations

from typing import Any

import attr

from lbtwist.captures import Captures
from lbtwist.exemplars import Exemplars
from lbtwist.failures import Failures
from lbtwist.histogram import Histogram, Times
from lbtwist.stats import BackTraffic, Traffic

Plain = dict[str, Any]

_TIMES = ("took", "responded", "connected", "queued")


def taken(traffic: Traffic) -> Plain:
    """@return: what it has counted, of which it knows nothing any more; empty for nothing."""
    found: Plain = {}
    for field in attr.fields(type(traffic)):
        name = field.name
        value = getattr(traffic, name)
        said: Any = None
        if isinstance(value, int):
            said = value
        elif isinstance(value, Histogram):
            said = _histogram(value)
        elif isinstance(value, Times):
            # Of what went to servers it is one of the routes.
            said = None if isinstance(traffic, BackTraffic) else _times(value)
        elif name == "routes":
            said = {route: _times(times) for route, times in value.items()}
            said = {route: times for route, times in said.items() if times}
        elif isinstance(value, (Failures, Captures, Exemplars)):
            said = value.plain()
        elif isinstance(value, list):
            said = list(value) if any(value) else None
        if said:
            found[name] = said
    if found:
        traffic.clear()
    return found


def _histogram(histogram: Histogram) -> list[Any]:
    filled = dict(histogram.filled())
    return [list(filled), list(filled.values()), histogram.sum] if filled else []


def _times(times: Times) -> Plain:
    found = {name: _histogram(getattr(times, name)) for name in _TIMES}
    return {name: value for name, value in found.items() if value}


def add(traffic: Traffic, counted: Plain) -> None:
    """@param counted: what L{taken} has said elsewhere of the same."""
    for name, said in counted.items():
        value = getattr(traffic, name)
        if isinstance(value, int):
            setattr(traffic, name, value + said)
        elif isinstance(value, Histogram):
            _addHistogram(value, said)
        elif isinstance(value, Times):
            _addTimes(value, said)
        elif name == "routes":
            for route, times in said.items():
                _addTimes(value.setdefault(route, Times()), times)
        elif isinstance(value, (Failures, Captures, Exemplars)):
            value.absorb(said)
        else:
            value[:] = map(sum, zip(value, said, strict=True))


def _addHistogram(histogram: Histogram, said: list[Any]) -> None:
    places, counts, total = said
    found = [0] * (max(places) + 1)
    for place, count in zip(places, counts, strict=True):
        found[place] = count
    histogram.add(Histogram.of(found, total))


def _addTimes(times: Times, said: Plain) -> None:
    for name, value in said.items():
        _addHistogram(getattr(times, name), value)
