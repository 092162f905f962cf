"""
Tables for people, of what the verbs say to programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from lbtwist.events import plain
from lbtwist.renewing import shown

_UNITS = ("", "k", "M", "G", "T", "P")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """@return: columns side by side: numbers to the right, texts to the left."""
    cells = [list(header), *([_cell(one) for one in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    right = [
        len(cells) > 1 and all(_isNumber(row[at]) for row in cells[1:])
        for at in range(len(header))
    ]
    return "".join(
        "  ".join(
            cell.rjust(width) if toTheRight else cell.ljust(width)
            for cell, width, toTheRight in zip(row, widths, right, strict=True)
        ).rstrip()
        + "\n"
        for row in cells
    )


def _cell(value: Any) -> str:
    return "-" if value in (None, "") else plain(str(value))


def _isNumber(cell: str) -> bool:
    return cell == "-" or cell[:1].isdigit()


def size(count: int) -> str:
    """@return: bytes for people: C{1.5M}."""
    found = float(count)
    for unit in _UNITS:
        if found < 1000 or unit == _UNITS[-1]:
            break
        found /= 1000
    return f"{found:.1f}{unit}" if unit and found < 100 else f"{found:.0f}{unit}"


def span(seconds: float) -> str:
    """@return: a length of time for people: C{45s}, C{2h05m}, C{3d04h}."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole}s"
    if whole < 7200:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 172800:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def clock(at: float) -> str:
    """@return: a moment of these days, in local time."""
    return f"{datetime.fromtimestamp(at):%m-%d %H:%M:%S}"


def statTable(rows: Sequence[Any]) -> str:
    """@param rows: as L{lbtwist.admin.rows.Row} has them."""
    frontends = [row for row in rows if row["kind"] == "frontend"]
    pools = dict.fromkeys(row["proxy"] for row in rows if row["kind"] != "frontend")
    others = [
        row
        for pool in pools
        for kind in ("pool", "server")
        for row in rows
        if row["proxy"] == pool and row["kind"] == kind
    ]
    return (
        table(
            ("FRONTEND", "STATE", "NOW", "MAX", "LIMIT", "TOTAL", "/S", "REQUESTS", "/S", "IN",
             "OUT", "4XX", "5XX", "DENIED", "ERRORS"),
            [
                (
                    row["proxy"], row["state"], v["scur"], v["smax"], v["slim"] or "-",
                    v["stot"], v["rate"], v.get("req_tot"), v.get("req_rate"), size(v["bin"]),
                    size(v["bout"]), v.get("hrsp_4xx"), v.get("hrsp_5xx"), v["dreq"], v["ereq"],
                )
                for row in frontends
                for v in [row["values"]]
            ],
        )
        + "\n"
        + table(
            ("POOL/SERVER", "STATE", "WEIGHT", "NOW", "MAX", "LIMIT", "QUEUED", "TOTAL", "/S",
             "IN", "OUT", "5XX", "CONNECT", "RESPONSE", "RETRIES", "CHECK"),
            [
                (
                    row["proxy"] if row["kind"] == "pool" else f"{row['proxy']}/{row['name']}",
                    v["status"], v["weight"], v["scur"], v["smax"], v.get("slim"), v["qcur"],
                    v["stot"], v["rate"], size(v["bin"]), size(v["bout"]), v.get("hrsp_5xx"),
                    v["econ"], v["eresp"], v["wretr"], v.get("check_status"),
                )
                for row in others
                for v in [row["values"]]
            ],
        )
    )  # fmt: skip


def serversTable(rows: Sequence[Any]) -> str:
    return table(
        ("SERVER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "LIMIT", "QUEUED", "IDLE", "BOUND",
         "ADDRESS", "CHECK", "DETAIL"),
        [
            (
                f"{row['pool']}/{row['server']}", row["state"], span(row["since"]), row["weight"],
                row["active"], row["maxconn"] or "-", row["queued"], row["idle"], row["bound"],
                row["address"], row["check"], row["detail"],
            )
            for row in rows
        ],
    )  # fmt: skip


def sessionsTable(rows: Any) -> str:
    if isinstance(rows, dict):
        return pairsTable(rows)
    return table(
        ("ID", "CLIENT", "FRONTEND", "SERVER", "STAGE", "AGE", "REQUEST"),
        [
            (
                f"{row['number']:#x}", ":".join(map(str, row["client"])), row["frontend"],
                f"{row['pool']}/{row['server'] or '-'}" if row["pool"] else "", row["stage"],
                span(row["age"]), row["request"],
            )
            for row in rows
        ],
    )  # fmt: skip


def eventsTable(rows: Sequence[Any]) -> str:
    return "".join(f"{clock(row['at'])}  {plain(row['text'])}\n" for row in rows)


def failuresTable(rows: Sequence[Any]) -> str:
    return table(
        ("WHEN", "CLIENT", "FRONTEND", "SERVER", "END", "STATUS", "REQUEST", "REASON"),
        [
            (
                clock(row["at"]), ":".join(map(str, row["client"])), row["frontend"],
                f"{row['pool'] or '-'}/{row['server'] or '-'}", row["cause"] + row["stage"],
                row["status"] or "-", row["request"], row["reason"] or row["rule"],
            )
            for row in rows
        ],
    )  # fmt: skip


def errorsText(rows: Sequence[Any]) -> str:
    """@return: the bytes, which are no table."""
    return "\n".join(
        "\n".join([
            f"{clock(row['at'])}  {row['kind']} refused: {plain(row['reason'])}, at byte"
            f" {row['position']} of {row['size']}",
            f"from {':'.join(map(str, row['client']))} by {row['frontend']}"
            + (f" to {row['pool']}/{row['server'] or '-'}" if row["pool"] else ""),
            *row["text"], "",
        ])
        for row in rows
    ) or "Nothing was refused.\n"


def tablesTable(rows: Sequence[Any]) -> str:
    if not rows or "table" in rows[0]:
        return table(("POOL", "CLIENTS"), [(row["table"], row["used"]) for row in rows])
    return table(
        ("CLIENT", "SERVER", "EXPIRES"),
        [(row["key"], row["server"], span(row["expires"])) for row in rows],
    )


def pairsTable(values: Any) -> str:
    width = max(map(len, values), default=0)
    return "".join(f"{name.ljust(width)}  {_cell(value)}\n" for name, value in values.items())


def reloadText(value: Any) -> str:
    """@return: how the last reload went."""
    if not value["number"]:
        return "There was no reload.\n"
    said = f": {value['reason']}" if value["reason"] else ""
    rows = {
        "Reload": value["number"], "File": value["path"], "At": clock(value["at"]),
        "By": value["by"], "State": f"{value['state']}: {value['meaning']}{said}",
        "Left": span(value["left"]) if value["left"] else "",
        "Changes": value["summary"], "Guards": ", ".join(value["guards"]),
        "Differs": "the file is not what runs" if value["differs"] else "",
    }  # fmt: skip
    lines = shown([*value["problems"], *value["changes"]])
    pairs = pairsTable({name: one for name, one in rows.items() if one != ""})
    return pairs + "".join(f"{line}\n" for line in lines)


SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "stat": ("show stat", statTable),
    "info": ("show info", pairsTable),
    "servers": ("show servers state", serversTable),
    "sess": ("show sess", sessionsTable),
    "table": ("show table", tablesTable),
    "failures": ("show failures", failuresTable),
    "errors": ("show errors", errorsText),
    "events": ("show events", eventsTable),
    "reload": ("show reload", reloadText),
}
"""What C{lbtwist show} can show: which verb says it, and how it is written."""
