"""
A L{View} as lines of text, for any width and height. Pure: a terminal makes colours of the
styles, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import attr

from lbtwist.admin.tables import size, span
from lbtwist.events import plain
from lbtwist.top.sample import Row, Sample
from lbtwist.top.view import HELP, View

NARROWEST_NAME = 12

TITLE, HEAD, PLAIN, BAD, DOUBTFUL, CHOSEN, SAYS = (
    "title", "head", "plain", "bad", "doubtful", "chosen", "says"
)  # fmt: skip
"""The styles of lines."""

_BAD = frozenset(("DOWN", "STOP", "STOPPED"))
_GOOD = frozenset(("UP", "OPEN"))
_HEADINGS = {"frontend": "FRONTEND", "pool": "POOL", "server": "SERVER"}


@attr.frozen
class Line:
    """One line, without its end, and no wider than was asked for."""

    text: str
    style: str = PLAIN


@attr.frozen
class _Column:
    """
    @ivar worth: those with the least are left out first where there is no room.
    @ivar left: whether it is a text, and begins at the left.
    """

    heading: str
    read: Callable[[Row], str]
    worth: int
    left: bool = False


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    if value and value < 9.95:
        return f"{value:.1f}"
    return size(round(value))


def _of(name: str) -> Callable[[Row], str]:
    return lambda row: "-" if row.rates is None else _rate(getattr(row.rates, name))


def _bytes(name: str) -> Callable[[Row], str]:
    return lambda row: "-" if row.rates is None else size(round(getattr(row.rates, name)))


def _latency(row: Row) -> str:
    if row.rates is None or row.rates.latency is None:
        return "-"
    milliseconds = row.rates.latency * 1000
    if milliseconds >= 100_000:
        return span(row.rates.latency)
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"


_COLUMNS = (
    _Column("STATE", lambda row: row.state, 9, left=True),
    _Column("NOW", lambda row: str(row.active), 8),
    _Column("LIMIT", lambda row: str(row.limit) if row.limit else "-", 1),
    _Column("QUEUED", lambda row: str(row.queued), 5),
    _Column("REQ/S", _of("exchanges"), 8),
    _Column("FAIL/S", _of("failed"), 7),
    _Column("5XX/S", _of("answered5xx"), 6),
    _Column("MS", _latency, 6),
    _Column("IN/S", _bytes("bytesIn"), 3),
    _Column("OUT/S", _bytes("bytesOut"), 3),
    _Column("WEIGHT", lambda row: row.weight or "-", 1),
    _Column("CHECK", lambda row: row.check or "-", 2, left=True),
)


def draw(view: View, width: int, height: int) -> list[Line]:
    """
    @param width: columns; C{height} lines. What does not fit is left out; the chosen row is
        always among those that are drawn, for which C{view.top} and C{view.page} are set.
    """
    if width < 1 or height < 1:
        return []
    above = [Line(text, TITLE) for text in _title(view)]
    below = [Line(_says(view), SAYS)]
    room = height - len(above) - len(below)
    if view.helping:
        body = [Line(one) for one in ("", *HELP)]
    else:
        body = _body(view, width, max(room, 1))
    lines = [*above, *body[: max(room, 0)]]
    lines += [Line("")] * (height - len(lines) - len(below))
    # With no room for more, what is said counts most.
    lines = [*lines[: height - 1], *below]
    return [Line(line.text[:width].rstrip(), line.style) for line in lines[:height]]


def drawPlain(view: View, width: int) -> list[str]:
    """@return: all of it, as lines for a file."""
    lines = [*_title(view), ""]
    rows = view.rows
    columns = _fitting(rows, width)
    for line, _ in _table(view, rows, columns, width):
        lines.append(line.text)
    return [line[:width].rstrip() for line in lines]


def _title(view: View) -> Iterator[str]:
    sample = view.sample
    if sample is None:
        yield "lbtwist top"
        yield ""
        return
    yield "  ".join([
        f"lbtwist {plain(sample.version)}", f"pid {sample.pid}", f"up {span(sample.uptime)}",
        f"{datetime.fromtimestamp(sample.now):%H:%M:%S}",
        *(["STOPPING"] if sample.stopping else []),
    ])  # fmt: skip
    yield "  ".join([
        f"connections {sample.active}" + (f"/{sample.maxconn}" if sample.maxconn else ""),
        f"accepted {_rate(sample.accepted)}/s", *_sums(sample), f"sorted by {view.order}",
        *([f"only {view.filter!r}"] if view.filter else []),
    ])  # fmt: skip


def _sums(sample: Sample) -> Iterator[str]:
    """What all frontends have in a second."""
    rates = [row.rates for row in sample.rows if row.kind == "frontend" and row.rates is not None]
    if rates:
        yield f"requests {_rate(sum(one.exchanges for one in rates))}/s"
        yield f"in {size(round(sum(one.bytesIn for one in rates)))}/s"
        yield f"out {size(round(sum(one.bytesOut for one in rates)))}/s"


def _says(view: View) -> str:
    """The last line."""
    if view.asking is not None:
        return view.asking[0]
    if view.typing:
        return f"Only names with: {view.filter}_"
    if view.lost:
        return f"No balancer: {plain(view.lost)}. Trying again."
    if view.message:
        return plain(view.message)
    if view.paused:
        return "Paused; p goes on."
    return "q leave  s sort  / filter  arrows choose  d drain  p pause  h help"


def _body(view: View, width: int, room: int) -> list[Line]:
    if view.sample is None:
        return [Line("Waiting for the balancer.")]
    rows = view.rows
    if not rows:
        return [Line("Nothing has such a name." if view.filter else "There is nothing.")]
    table = list(_table(view, rows, _fitting(rows, width), width))
    view.page = max(room - 2, 1)
    chosen = view.at(rows)
    places = [at for at, (_, row) in enumerate(table) if row is not None]
    last = max(len(table) - room, 0)
    view.top = min(view.top, last)
    if chosen >= 0:
        place = places[chosen]
        # What stands above the first row of its kind is seen with it.
        while place and view.top >= place and table[place - 1][1] is None:
            place -= 1
        view.top = min(view.top, place)
        view.top = max(view.top, places[chosen] - room + 1)
    return [line for line, _ in table[view.top : view.top + room]]


def _fitting(rows: Sequence[Row], width: int) -> list[_Column]:
    """@return: the columns for which there is room."""
    columns = list(_COLUMNS)
    longest = max((len(row.name) for row in rows), default=0)
    name = max(min(longest, width // 2), NARROWEST_NAME)
    widths = {column.heading: _widthOf(column, rows) for column in columns}
    while columns and name + sum(widths[one.heading] + 2 for one in columns) > width:
        columns.remove(min(columns, key=lambda one: one.worth))
    return columns


def _widthOf(column: _Column, rows: Sequence[Row]) -> int:
    return max(len(column.heading), *(len(column.read(row)) for row in rows), 0)


def _table(
    view: View, rows: Sequence[Row], columns: Sequence[_Column], width: int
) -> Iterator[tuple[Line, Row | None]]:
    """@return: lines, each with its row if it has one; headings stand above each kind."""
    widths = [_widthOf(column, rows) for column in columns]
    name = max(width - sum(one + 2 for one in widths), 1)
    longest = max((len(row.name) for row in rows), default=0)
    name = min(name, max(longest, NARROWEST_NAME))

    def line(first: str, cells: Sequence[str]) -> str:
        found = [_clipped(first, name).ljust(name)]
        for cell, column, each in zip(cells, columns, widths, strict=True):
            found.append(cell.ljust(each) if column.left else cell.rjust(each))
        return "  ".join(found).rstrip()

    kind = ""
    headings = [column.heading for column in columns]
    for row in rows:
        if row.kind != kind:
            if kind:
                yield Line(""), None
            kind = row.kind
            yield Line(line(_HEADINGS[kind], headings), HEAD), None
        style = CHOSEN if (row.kind, row.name) == view.chosen else _styleOf(row)
        yield Line(line(row.name, [column.read(row) for column in columns]), style), row


def _styleOf(row: Row) -> str:
    if row.state in _BAD:
        return BAD
    return PLAIN if row.state in _GOOD else DOUBTFUL


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "~"
