"""
How numbers are written for Prometheus: its text format 0.0.4 and OpenMetrics 1.0
(openmetrics.io, the specification of 2022). Written by ourselves: a client library would want
to own the numbers, and they are counted elsewhere.

Knows nothing of a balancer; what there is to be written is L{lbtwist.admin.metrics}'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import Any

import attr

from lbtwist.histogram import Histogram

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

END = "# EOF\n"
"""What OpenMetrics ends with."""

BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
)  # fmt: skip
"""Of the buckets of a histogram, in seconds."""

COUNTER = "counter"
GAUGE = "gauge"
HISTOGRAM = "histogram"
INFO = "info"


@attr.frozen
class Bucketed:
    """
    A histogram as it is written.

    @ivar below: how many there were below each bound.
    @ivar exemplars: for each bound, and for what is above all, what follows the number in
        OpenMetrics; C{""} for nothing. Empty where there is none at all.
    """

    below: tuple[int, ...]
    count: int
    sum: float
    exemplars: tuple[str, ...] = ()

    @classmethod
    def of(cls, histogram: Histogram, bounds: tuple[float, ...]) -> Bucketed:
        """@param bounds: in seconds, rising."""
        return cls(tuple(histogram.below(bounds)), histogram.count, histogram.sum)

    def plus(self, other: Bucketed) -> Bucketed:
        """@param other: with the same bounds."""
        below = tuple(map(add, self.below, other.below))
        return Bucketed(below, self.count + other.count, self.sum + other.sum)


Value = int | float | Bucketed | Mapping[str, int | float] | None


@attr.frozen(eq=False)
class Metric:
    """
    A metric, and how it is read off each of its parts.

    @ivar name: without a prefix; of a counter it ends with C{_total}, of an info with
        C{_info}.
    @ivar help: a sentence, without backslashes, quotes and line ends.
    @ivar read: given a part, gives its number; a L{Bucketed} of a histogram; numbers by the
        values of C{label} where there is one; L{None} where it is not known.
    @ivar alias: what HAProxy calls it; C{""} if it has no such thing.
    @ivar prefix: C{lbtwist_}; C{""} for a name that every program has; L{None} if it is there
        only by its alias.
    """

    name: str
    kind: str
    help: str
    read: Callable[[Any], Value]
    label: str = ""
    alias: str = ""
    prefix: str | None = "lbtwist_"

    def names(self, aliases: bool) -> Iterator[str]:
        """
        @param aliases: whether HAProxy's are wanted too.
        @return: the names it is written by.
        """
        if self.prefix is not None:
            yield self.prefix + self.name
        if aliases and self.alias:
            yield f"haproxy_{self.alias}"


def escape(text: str) -> str:
    """@return: the value of a label as it stands between its quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def labels(**pairs: str) -> str:
    """@return: C{name="value",...}, without braces."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in pairs.items())


def number(value: float) -> str:
    """@return: a number as both formats write it."""
    if isinstance(value, int):
        return str(int(value))
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def exemplar(trace: str, seconds: float, at: float) -> str:
    """
    @param trace: in hexadecimal digits.
    @param at: seconds since the epoch.
    @return: what follows the number of a bucket (OpenMetrics 1.0, "Exemplars").
    """
    return f' # {{trace_id="{trace}"}} {seconds:.6f} {at:.3f}'


class Exposition:
    """
    Writes metrics in one of the formats.

    @ivar bounds: of the buckets of histograms, in seconds, rising.
    @ivar contentType: what it is.
    @ivar end: what comes last.
    """

    def __init__(
        self, openmetrics: bool = False, aliases: bool = False, bounds: Sequence[float] = BOUNDS
    ) -> None:
        """@param aliases: whether everything that HAProxy has is written by its name, too."""
        self._openmetrics = openmetrics
        self._aliases = aliases
        self.bounds = tuple(bounds)
        self._les = [f'le="{number(float(bound))}"' for bound in bounds]
        self.contentType = OPENMETRICS if openmetrics else TEXT
        self.end = END if openmetrics else ""

    def written(self, metric: Metric, parts: Iterable[tuple[str, Any]]) -> str:
        """
        @param parts: each with its labels, as L{labels} makes them.
        @return: all lines of one metric; C{""} if nothing is known of it.
        """
        values = [(said, metric.read(part)) for said, part in parts]
        values = [(said, value) for said, value in values if value is not None]
        if not values:
            return ""
        return "".join(self._family(name, metric, values) for name in metric.names(self._aliases))

    def _family(self, name: str, metric: Metric, values: list[tuple[str, Value]]) -> str:
        lines: list[str] = []
        for said, value in values:
            if isinstance(value, Bucketed):
                self._histogram(lines, name, said, value)
            elif isinstance(value, Mapping):
                comma = "," if said else ""
                lines += [
                    f'{name}{{{said}{comma}{metric.label}="{escape(key)}"}} {number(one)}\n'
                    for key, one in value.items()
                ]
            elif value is not None:
                lines.append(f"{name}{{{said}}} {number(value)}\n" if said else
                             f"{name} {number(value)}\n")
        return self._head(name, metric) + "".join(lines) if lines else ""

    def _head(self, name: str, metric: Metric) -> str:
        kind = metric.kind
        if self._openmetrics:
            name = name.removesuffix("_total" if kind == COUNTER else "_info")
        elif kind == INFO:
            kind = GAUGE
        return f"# HELP {name} {metric.help}\n# TYPE {name} {kind}\n"

    def _histogram(self, lines: list[str], name: str, said: str, value: Bucketed) -> None:
        comma = "," if said else ""
        exemplars = value.exemplars if self._openmetrics else ()
        *below, last = exemplars or [""] * (len(self._les) + 1)
        for le, count, exemplar in zip(self._les, value.below, below, strict=True):
            lines.append(f"{name}_bucket{{{said}{comma}{le}}} {count}{exemplar}\n")
        count = value.count
        braces = f"{{{said}}}" if said else ""
        lines.append(f'{name}_bucket{{{said}{comma}le="+Inf"}} {count}{last}\n')
        lines.append(f"{name}_sum{braces} {number(value.sum)}\n")
        lines.append(f"{name}_count{braces} {count}\n")


def wantsOpenMetrics(accept: str) -> bool:
    """
    @param accept: the value of C{Accept} (RFC 9110 section 12.5.1); C{""} if there is none.
    @return: whether OpenMetrics 1.0 is asked for, and preferred to plain text.
    """
    found = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for one in accept.split(",")[:20]:
        kind, *parameters = (word.strip().lower() for word in one.split(";"))
        said = dict(word.partition("=")[::2] for word in parameters if "=" in word)
        if kind not in found or said.get("version", "1.0.0") not in ("1.0.0", "0.0.4"):
            continue
        try:
            weight = float(said.get("q", "1"))
        except ValueError:
            continue
        found[kind] = max(found[kind], weight)
    return found["application/openmetrics-text"] > found["text/plain"]
