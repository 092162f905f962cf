"""
The cases: what is asked of every program, and how good lbtwist wants to be.

Values only; L{bench.load} and L{bench.idle} do what they say.
"""

from __future__ import annotations

import attr

from bench.origin import LARGE, SMALL


@attr.frozen
class Figure:
    """
    One column of a table.

    @ivar heading: with C{{unit}} where the case's unit of work goes.
    @ivar digits: after the decimal point.
    @ivar scale: what is printed is the figure divided by this.
    """

    heading: str
    digits: int
    scale: float = 1.0


FIGURES = {
    "cpu": Figure("CPU us/{unit}", 2),
    "user": Figure("user", 2),
    "system": Figure("system", 2),
    "rate": Figure("requests/s", 0),
    "bytes": Figure("MB/s", 1, 1e6),
    "p99": Figure("p99 ms", 2),
    "busy": Figure("busy %", 0, 0.01),
    "opened": Figure("opened", 0),
    "pss": Figure("PSS B/connection", 0),
    "rss": Figure("RSS B/connection", 0),
    "base": Figure("RSS MB at first", 1, 1e6),
    "key": Figure("PSS B/key", 0),
    "pause": Figure("longest ms", 1),
}


@attr.frozen
class Goal:
    """
    How good lbtwist wants to be.

    @ivar peer: whom it is compared with; C{""} if C{limit} is a figure, not a ratio.
    @ivar least: whether C{limit} is the least, not the most.
    """

    limit: float
    peer: str = ""
    least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a measured value is good enough."""
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.least else '<='} {self.limit:g}"


@attr.frozen
class Case:
    """
    One thing that is measured.

    @ivar figure: the name in L{FIGURES} of what goals and ratios are about.
    @ivar unit: what CPU time is divided by.
    @ivar units: how many of them a request is.
    @ivar path: what is asked for.
    @ivar length: of the answer's body, in bytes.
    @ivar mode: C{http}, C{tcp}, C{https} for HTTP behind TLS that the program ends, what
        rules are asked for: C{rules} and C{networks}; C{thousand} servers; persistence
        by C{cookie} and by C{source}; C{store} for what no program but a store does.
    @ivar closes: every request has a client connection of its own.
    @ivar handshakes: and each of them begins with a full handshake, which wrk does not do.
    @ivar connections: of clients at once.
    @ivar headers: further lines of every request.
    @ivar columns: names in L{FIGURES}, in the order of the table.
    """

    name: str
    title: str
    mode: str
    figure: str
    goals: tuple[Goal, ...]
    path: str = "/small"
    length: int = len(SMALL)
    closes: bool = False
    handshakes: bool = False
    unit: str = "request"
    units: int = 1
    connections: int = 32
    headers: tuple[str, ...] = ()
    columns: tuple[str, ...] = (
        "cpu", "user", "system", "rate", "bytes", "p99", "busy", "opened",
    )  # fmt: skip


#: Idle connections that are open at the two times memory is read.
FEW, MANY = 1000, 3000

#: What a store of persistence is filled with.
KEYS = 1_000_000

CASES = {
    case.name: case
    for case in (
        Case(
            "http-small",
            "kept connections, 96-byte answers",
            "http",
            "cpu",
            (Goal(2.2, "haproxy"), Goal(1.0, "envoy"), Goal(1.0, "caddy")),
        ),
        Case(
            "http-large",
            "kept connections, 1 MiB answers",
            "http",
            "bytes",
            (Goal(0.8, "haproxy", least=True),),
            path="/large",
            length=LARGE,
        ),
        Case(
            "http-connections",
            "a new client connection for every request, 96-byte answers",
            "http",
            "cpu",
            (Goal(3.0, "haproxy"),),
            closes=True,
        ),
        Case(
            "https-small",
            "kept connections with TLS 1.3, 96-byte answers",
            "https",
            "cpu",
            (Goal(2.0, "haproxy"),),
        ),
        Case(
            "https-handshakes",
            "a full TLS 1.3 handshake for every request, ECDSA P-256, 96-byte answers",
            "https",
            "cpu",
            (Goal(2.0, "haproxy"),),
            closes=True,
            handshakes=True,
            unit="handshake",
        ),
        Case(
            "https-large",
            "kept connections with TLS 1.3, 1 MiB answers",
            "https",
            "bytes",
            (Goal(0.7, "haproxy", least=True),),
            path="/large",
            length=LARGE,
        ),
        Case(
            "tcp-small",
            "small messages through mode tcp; an HTTP request is one, its 96-byte answer another",
            "tcp",
            "cpu",
            (Goal(1.6, "haproxy"),),
            unit="message",
            units=2,
        ),
        Case(
            "tcp-large",
            "1 MiB answers through mode tcp",
            "tcp",
            "bytes",
            (Goal(0.9, "haproxy", least=True),),
            path="/large",
            length=LARGE,
        ),
        Case(
            "http-rules",
            "kept connections, 96-byte answers, 20 rules of which none decides",
            "rules",
            "cpu",
            (Goal(1.15, "plain"),),
        ),
        Case(
            "http-networks",
            "kept connections, 96-byte answers, two rules that ask 10,000 networks and texts;"
            " plain asks 10",
            "networks",
            "cpu",
            (Goal(1.05, "plain"),),
        ),
        Case(
            "http-thousand",
            "kept connections, 96-byte answers, the least connections of 1,000 servers; plain"
            " has 10",
            "thousand",
            "cpu",
            (Goal(1.1, "plain"),),
        ),
        Case(
            "http-cookie",
            "kept connections, 96-byte answers, clients that show the cookie they were given;"
            " plain has no persistence",
            "cookie",
            "cpu",
            (Goal(1.1, "plain"),),
            headers=("Cookie: theme=dark; SRVID=a; lang=en",),
        ),
        Case(
            "http-source",
            "kept connections, 96-byte answers, clients known by their address; plain has no"
            " persistence",
            "source",
            "cpu",
            (Goal(1.1, "plain"),),
        ),
        Case(
            "store-memory",
            f"memory of {KEYS:,} keys in the memory store of persistence",
            "store",
            "key",
            (Goal(250 * 1024 * 1024 / KEYS),),
            unit="key",
            columns=("key", "pause"),
        ),
        Case(
            "store-pause",
            f"the longest that one operation takes while {KEYS:,} keys come and are asked for",
            "store",
            "pause",
            (Goal(20.0),),
            unit="key",
            columns=("pause", "key"),
        ),
        Case(
            "idle-memory",
            f"memory from {FEW} to {MANY} idle client connections, each after one request",
            "http",
            "pss",
            (Goal(5 * 1024),),
            unit="connection",
            connections=MANY,
            columns=("pss", "rss", "base"),
        ),
    )
}
