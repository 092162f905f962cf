"""
The cases: what is asked of every program, and how good lbtwist wants to be.

Values only; L{bench.load}, L{bench.idle} and the others do what they say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
    "pss": Figure("PSS B/{unit}", 0),
    "rss": Figure("RSS B/{unit}", 0),
    "base": Figure("RSS MB at first", 1, 1e6),
    "key": Figure("PSS B/key", 0),
    "pause": Figure("longest ms", 1),
    "open": Figure("{unit}s", 0),
    "stall": Figure("stalled ms", 1),
    "usual": Figure("p99 ms before", 2),
    "reload": Figure("reload ms", 0),
    "few": Figure("us, 10 servers", 2),
    "many": Figure("us, 1,000 servers", 2),
    "more": Figure("more us", 2),
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
        by C{cookie} and by C{source}; C{operated} as in production; C{workers};
        C{websockets} that are idle; C{store} and C{choices} for what no program but a
        store or a pool does.
    @ivar closes: every request has a client connection of its own.
    @ivar handshakes: and each of them begins with a full handshake, which wrk does not do.
    @ivar connections: of clients at once; 0 where there are none.
    @ivar warmUp: seconds of load before the first round.
    @ivar headers: further lines of every request.
    @ivar script: a file of Lua among the templates that makes the requests for wrk.
    @ivar values: what the templates of this mode want to know besides.
    @ivar only: the programs that can do it, if not all that have the mode; empty if they can.
    @ivar alone: the program answers by itself, no server is asked.
    @ivar everywhere: the program and its load are not kept apart, each has all CPUs.
    @ivar cpus: how many are needed.
    @ivar silent: programs that write no access log, which is said in the title.
    @ivar subjects: whom the goals without a peer are about.
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
    warmUp: int = 1
    headers: tuple[str, ...] = ()
    script: str = ""
    values: Mapping[str, str] = attr.field(factory=dict)
    only: frozenset[str] = frozenset()
    alone: bool = False
    everywhere: bool = False
    cpus: int = 1
    silent: frozenset[str] = frozenset()
    subjects: tuple[str, ...] = ("lbtwist",)
    columns: tuple[str, ...] = (
        "cpu", "user", "system", "rate", "bytes", "p99", "busy", "opened",
    )  # fmt: skip

    def allows(self, program: str, modes: Collection[str]) -> bool:
        """
        @param program: its name.
        @param modes: what it can do.
        @return: whether it takes part.
        """
        return self.mode in modes and (not self.only or program in self.only)


#: Idle connections that are open at the two times memory is read.
FEW, MANY = 1000, 3000

#: What a store of persistence is filled with.
KEYS = 1_000_000

#: Idle WebSockets, where so many descriptors are allowed.
SOCKETS = 10_000

#: What the regular expressions of the case C{workers} look through, in vain.
QUERY = "q=insertion+of+a+selected+unit+into+a+system+that+is+altered&" * 6

#: Balancers that go by nothing but their servers, or by a key that each request has anew.
BALANCERS = {
    "roundrobin": "roundrobin",
    "leastconn": "leastconn",
    "random": "random",
    "first": "first",
    "peak-ewma": "peak-ewma",
    "hash": "hash X-User",
    "uri": "uri whole",
}
KEYED = {"hash", "uri"}

#: What is chosen by in the case C{choices}.
CHOICES = (
    *(each for name, each in BALANCERS.items() if name not in KEYED),
    "random draws=3", "source", "source map", "uri", "uri load=125", "hash X-User", "rdp-cookie",
)  # fmt: skip

#: Microseconds: a tenth of a request that costs 20, though C{http-small} costs 37 where the
#: figures of the page were taken: it is meant to hold on machines that are faster than that.
CHOICE = 2.0

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
            " has 10, so 1,000 connections that are cold are compared with 32 that are hot",
            "thousand",
            "cpu",
            (Goal(1.1, "plain"),),
            values={"balance": "leastconn"},
        ),
        *(
            Case(
                f"thousand-{name}",
                f"kept connections, 96-byte answers, balance = {balance}"
                f"{', another key in each request' if name in KEYED else ''}, 1,000 servers and"
                " as many clients; plain has 10 servers",
                "thousand",
                "cpu",
                (Goal(1.1, "plain"),),
                connections=1000,
                # Where lots or keys choose, it takes a while until each server has had as
                # many at once as it will have.
                warmUp=6,
                script="keys.lua" if name in KEYED else "",
                values={"balance": balance},
                only=frozenset({"lbtwist", "plain"}),
            )
            for name, balance in BALANCERS.items()
        ),
        Case(
            "choices",
            "a choice, counted and given back, 32 under way, in one process: with 10 servers"
            " and with 1,000",
            "choices",
            "more",
            (Goal(CHOICE),),
            unit="choice",
            connections=0,
            subjects=CHOICES,
            columns=("few", "many", "more"),
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
            "http-operated",
            "kept connections, 96-byte answers, two workers, an admin socket and a log of JSON;"
            " plain is one process without them, and logs nothing",
            "operated",
            "cpu",
            (Goal(1.15, "plain"),),
            silent=frozenset({"plain"}),
        ),
        Case(
            "workers",
            "requests that are answered after 32 conditions with regular expressions, two"
            " workers on all CPUs, which wrk shares; plain is one worker",
            "workers",
            "rate",
            (Goal(1.7, "plain", least=True),),
            path=f"/small?{QUERY}",
            alone=True,
            everywhere=True,
            cpus=2,
        ),
        Case(
            "store-memory",
            f"memory of {KEYS:,} keys in the memory store of persistence",
            "store",
            "key",
            (Goal(250 * 1024 * 1024 / KEYS),),
            unit="key",
            connections=0,
            columns=("key", "pause"),
        ),
        Case(
            "store-pause",
            f"the longest that one operation takes while {KEYS:,} keys come and are asked for",
            "store",
            "pause",
            (Goal(20.0),),
            unit="key",
            connections=0,
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
        *(
            Case(
                name,
                title,
                "websockets",
                figure,
                goals,
                unit="WebSocket",
                connections=0,
                columns=("open", "pss", "rss", "base", "usual", "stall", "reload"),
            )
            for name, title, figure, goals in (
                (
                    "idle-websockets",
                    f"memory of each idle WebSocket, from {FEW:,} to {SOCKETS:,}",
                    "pss",
                    (Goal(10 * 1024),),
                ),
                (
                    "reload-stall",
                    f"the longest that nobody is answered while a file with 1,000 servers is"
                    f" read again, {SOCKETS:,} idle WebSockets",
                    "stall",
                    (Goal(200.0),),
                ),
                (
                    "reload-time",
                    f"from SIGHUP until a file with 1,000 servers counts, {SOCKETS:,} idle"
                    " WebSockets",
                    "reload",
                    (),
                ),
            )
        ),
    )
}
