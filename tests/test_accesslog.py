"""Lines as HAProxy prints them, lines as JSON, and how they come to their target."""

import fcntl
import json
import os
import re
import signal
import stat
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from haproxy.line import Line
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from lbtwist import logwriter
from lbtwist.accesslog import AccessLog, formatter
from lbtwist.errors import Position, StartError
from lbtwist.exchange import Cause, Connection, Exchange, Stage, TLSInfo
from lbtwist.interfaces import IExchangeObserver
from lbtwist.logs import Logs
from lbtwist.logvalues import dates
from lbtwist.logwriter import BATCH, CAPACITY, Writer
from lbtwist.sansio.requesthead import RequestHead

# 2009-02-06 12:14:14.655 in Paris, one hour before UTC, at 5000.0 of the clock.
STARTED = 5000.0
WALL = 1233918854.655 - STARTED
SYSLOG = "Feb  6 12:14:14 localhost haproxy[14389]: "


@pytest.fixture(scope="module", autouse=True)
def paris():
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Paris"
    time.tzset()
    yield
    del os.environ["TZ"]
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def head(line):
    request = RequestHead()
    request.line = line
    request.method, rest = line.split(b" ", 1)
    request.target, version = rest.rsplit(b" ", 1)
    request.version = 11 if version == b"HTTP/1.1" else 10
    return request


def ended(
    cause=Cause.DONE,
    stage=Stage.DONE,
    *,
    line=b"GET /index.html HTTP/1.1",
    client=("10.0.1.2", 33317),
    request=10,
    assigned=10,
    connected=40,
    responded=109,
    finished=109,
    accepted=0,
    started=STARTED,
    tls=None,
    pool="static",
    server="srv1",
    counts=(1, 1, 1, 1),
    observers=(),
    **others,
):
    """
    An exchange that ended: without arguments, the one in section 8.2.3 of
    HAProxy's manual. Times are milliseconds since its start; L{None} is a time
    that was not reached.
    """
    process, frontend, pools, servers = counts
    connection = Connection(1, client, ("10.0.0.1", 80), started + accepted / 1000, tls=tls)
    where = SimpleNamespace(name="http-in", active=frontend)
    where.process = SimpleNamespace(active=process)
    exchange = Exchange(connection, where, observers, started)
    if line:
        exchange.request = head(line)
    if pool:
        exchange.pool = SimpleNamespace(name=pool, active=pools)
    if server:
        exchange.server = SimpleNamespace(name=server, active=servers)
    for name, at in (
        ("requestAt", request),
        ("assignedAt", assigned),
        ("connectedAt", connected),
        ("respondedAt", responded),
    ):
        if at is not None:
            setattr(exchange, name, started + at / 1000)
    exchange.status, exchange.bytesIn, exchange.bytesOut = 200, 80, 2750
    exchange.stage = stage
    for name, value in others.items():
        setattr(exchange, name, value)
    exchange.finish(cause, started + finished / 1000)
    return exchange


# A request that reached no server.
NOWHERE = {"pool": "", "server": "", "assigned": None, "connected": None, "responded": None}
UNREAD = {**NOWHERE, "line": b"", "request": None, "counts": (1, 1, 0, 0)}


def written(exchange, name="http", mode="http"):
    return formatter(name, lambda: STARTED, lambda: STARTED + WALL, mode)(exchange)


HTTP = [
    pytest.param(
        {},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109"
        ' 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="good",
    ),
    pytest.param(
        {"request": 0, "assigned": 51536, "connected": 51537, "responded": 99619,
         "finished": 99627, "counts": (87, 86, 85, 1), "ahead": (0, 67)},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1"
        " 0/51536/1/48082/99627"
        ' 200 2750 - - ---- 87/86/85/1/0 0/67 "GET /index.html HTTP/1.1"',
        id="waited in the pool's queue",
    ),
    pytest.param(
        {"cause": "s", "stage": "Q", "server": "", "assigned": None, "connected": None,
         "responded": None, "finished": 5010, "status": 503, "bytesOut": 107,
         "counts": (4, 4, 4, 0), "ahead": (3, 0)},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/<NOSRV> 10/-1/-1/-1/5010"
        ' 503 107 - - sQ-- 4/4/4/0/0 3/0 "GET /index.html HTTP/1.1"',
        id="gave up in the queue",
    ),
    pytest.param(
        {"cause": "S", "stage": "C", "connected": None, "responded": None, "finished": 3017,
         "status": 503, "bytesOut": 107, "retries": 3},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/-1/-1/3017"
        ' 503 107 - - SC-- 1/1/1/1/3 0/0 "GET /index.html HTTP/1.1"',
        id="no connection",
    ),
    pytest.param(
        {"cause": "s", "stage": "H", "responded": None, "finished": 50040, "status": 504,
         "bytesOut": 198},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/-1/50040"
        ' 504 198 - - sH-- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="server too slow",
    ),
    pytest.param(
        {"cause": "C", "stage": "D", "finished": 8109, "bytesOut": 5368709120},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/8109"
        ' 200 5368709120 - - CD-- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="client went away",
    ),
    pytest.param(
        {**UNREAD, "cause": "C", "stage": "R", "finished": 0, "status": 0, "bytesOut": 0},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV> -1/-1/-1/-1/0"
        ' -1 0 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>"',
        id="client went away before it asked",
    ),
    pytest.param(
        {**UNREAD, "cause": "P", "stage": "R", "finished": 1, "status": 400, "bytesOut": 187},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV> -1/-1/-1/-1/1"
        ' 400 187 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>"',
        id="bad request",
    ),
    pytest.param(
        {**UNREAD, "cause": "c", "stage": "R", "finished": 10001, "status": 408,
         "bytesOut": 212},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV>"
        " -1/-1/-1/-1/10001"
        ' 408 212 - - cR-- 1/1/0/0/0 0/0 "<BADREQ>"',
        id="request too slow",
    ),
    pytest.param(
        {**NOWHERE, "cause": "L", "stage": "R", "finished": 10, "status": 302,
         "counts": (1, 1, 0, 0)},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV> 10/-1/-1/-1/10"
        ' 302 2750 - - LR-- 1/1/0/0/0 0/0 "GET /index.html HTTP/1.1"',
        id="own answer",
    ),
    pytest.param(
        {"server": "srv2", "retries": 2, "redispatched": True},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv2 10/0/30/69/109"
        ' 200 2750 - - ---- 1/1/1/1/+2 0/0 "GET /index.html HTTP/1.1"',
        id="second server",
    ),
    pytest.param(
        {"redispatched": True},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109"
        ' 200 2750 - - ---- 1/1/1/1/+0 0/0 "GET /index.html HTTP/1.1"',
        id="second server without a retry",
    ),
    pytest.param(
        {"tls": TLSInfo(version="TLSv1.3")},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ static/srv1 10/0/30/69/109"
        ' 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="TLS",
    ),
    pytest.param(
        {"accepted": -61000, "request": 0, "assigned": 0, "connected": 0, "responded": 1,
         "finished": 1, "reused": True},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/0/0/1/1"
        ' 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="a minute after the accept, on connections that stand",
    ),
    pytest.param(
        {"cause": "S", "stage": "C", "assigned": 50, "connected": 10, "responded": None,
         "finished": 60, "status": 503, "retries": 1, "redispatched": True},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/40/-1/-1/60"
        ' 503 2750 - - SC-- 1/1/1/1/+1 0/0 "GET /index.html HTTP/1.1"',
        id="the connection of an earlier attempt does not count",
    ),
    pytest.param(
        {"client": ("2001:db8::7", 4711)},
        "2001:db8::7:4711 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109"
        ' 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="IPv6",
    ),
    pytest.param(
        {"client": ("unix", 0)},
        "unix:0 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109"
        ' 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1"',
        id="UNIX socket",
    ),
]  # fmt: skip

SESSION = {"line": b"", "request": None, "responded": None}

TCP = [
    pytest.param(
        {**SESSION, "assigned": 0, "connected": 0, "finished": 5007, "bytesOut": 212},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/0/5007 212"
        " -- 1/1/1/1/0 0/0",
        id="good",
    ),
    pytest.param(
        {**SESSION, "accepted": -25, "assigned": 100, "connected": 130, "finished": 5000,
         "tls": TLSInfo(version="TLSv1.3"), "ahead": (2, 0)},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.630] http-in~ static/srv1 100/30/5025 2750"
        " -- 1/1/1/1/0 2/0",
        id="date and total count from the accept, the queue from after the handshake",
    ),
    pytest.param(
        {**SESSION, "assigned": 0, "connected": 0, "finished": 5007, "bytesOut": 212,
         "tls": TLSInfo("site.test")},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/0/5007 212"
        " -- 1/1/1/1/0 0/0",
        id="TLS that does not end here",
    ),
    pytest.param(
        {**SESSION, "cause": "s", "stage": "C", "assigned": 0, "connected": None,
         "finished": 5000, "bytesOut": 0, "retries": 1, "redispatched": True},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/-1/5000 0"
        " sC 1/1/1/1/+1 0/0",
        id="no connection",
    ),
    pytest.param(
        {**UNREAD, "cause": "P", "stage": "R", "finished": 0, "bytesOut": 0},
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV> -1/-1/0 0"
        " PR 1/1/0/0/0 0/0",
        id="refused",
    ),
    pytest.param(
        {**SESSION, "cause": "c", "stage": "D", "client": ("::1", 9), "assigned": 0,
         "connected": 1, "finished": 50001},
        "::1:9 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/1/50001 2750"
        " cD 1/1/1/1/0 0/0",
        id="silent client",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("story", "line"), HTTP)
def test_http(story, line):
    assert written(ended(**story)) == line


@pytest.mark.parametrize(("story", "line"), TCP)
def test_tcp(story, line):
    assert written(ended(**story), "tcp", "tcp") == line


def test_autoIsTheFormatOfTheMode():
    exchange = ended()
    assert written(exchange, "auto", "http") == written(exchange, "http")
    assert written(exchange, "auto", "tcp") == written(exchange, "tcp", "tcp")


def test_unknownFormat():
    with pytest.raises(ValueError, match="'clff'"):
        written(ended(), "clff")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'GET /?q="x" HTTP/1.1', "GET /?q=#22x#22 HTTP/1.1"),
        (b"GET /a\nforged HTTP/1.1", "GET /a#0Aforged HTTP/1.1"),
        (b"GET /a\r\x00\x1b\x7f HTTP/1.1", "GET /a#0D#00#1B#7F HTTP/1.1"),
        (b"GET /caf\xc3\xa9\xff HTTP/1.1", "GET /caf#C3#A9#FF HTTP/1.1"),
        (b"GET /#0A HTTP/1.1", "GET /#230A HTTP/1.1"),
        (b"GET /{a|b}\\ HTTP/1.1", "GET /{a|b}\\ HTTP/1.1"),
    ],
)
def test_whatIsEscaped(line, text):
    assert written(ended(line=line)).endswith(f' 0/0 "{text}"')


FORGED = b'GET / HTTP/1.1"\nX]: 6.6.6.6:1 [06/Feb/2009:12:14:14.655] f b/s 0/0/0/0/0 200 0 - - "'


@given(st.binary(min_size=1))
@example(FORGED)
@example(FORGED.replace(b'"', b"#22"))
def test_noRequestLineForgesALineOrAField(tail):
    request = b"GET /" + tail + b" HTTP/1.1"
    line = written(ended(line=request))
    assert line.isascii() and line.isprintable()
    assert line.count('"') == 2
    before, text, after = line.split('"')
    assert before == written(ended()).split('"')[0] and after == ""
    unescaped = re.sub(
        rb"#([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode()
    )
    assert unescaped == request


names = st.from_regex(r"[A-Za-z0-9_.:\-]+", fullmatch=True)
numbers = st.integers(0, 10**12)
milliseconds = st.integers(0, 10**7)


@st.composite
def reached(draw):
    """Five waits, and how many of the times before the end were reached."""
    return draw(st.lists(milliseconds, min_size=5, max_size=5)), draw(st.integers(0, 4))


@given(
    st.floats(1.0, 1e7), reached(), st.ip_addresses(), st.integers(0, 65535), names, names,
    st.tuples(numbers, numbers, numbers, numbers), st.integers(0, 99), st.booleans(),
    st.tuples(numbers, numbers), st.integers(100, 999), numbers,
    st.from_regex(r"/[a-z0-9/.%?=&]*", fullmatch=True),
)  # fmt: skip
def test_haproxyLogAnalysisReadsWhatWeWrite(
    started, times, client, port, pool, server, counts, retries, again, ahead, status, size, path
):
    waits, steps = times
    at = [sum(waits[: i + 1]) for i in range(4)]
    at[steps:] = [None] * (4 - steps)
    total = sum(waits)
    line = Line(SYSLOG + formatter("http", lambda: started, lambda: 1233918854.655)(ended(
        line=b"GET %b HTTP/1.1" % path.encode(), client=(str(client), port), started=started,
        request=at[0], assigned=at[1], connected=at[2], responded=at[3], finished=total,
        pool=pool, server=server, counts=counts, retries=retries, redispatched=again,
        ahead=ahead, status=status, bytesOut=size,
    )))  # fmt: skip
    assert line.is_valid
    assert (line.client_ip, line.client_port) == (str(client), port)
    assert line.raw_accept_date == "06/Feb/2009:12:14:14.655"
    assert (line.frontend_name, line.backend_name, line.server_name) == ("http-in", pool, server)
    expected = waits[:steps] + [-1] * (4 - steps)
    assert expected == [
        line.time_wait_request, line.time_wait_queues, line.time_connect_server,
        line.time_wait_response,
    ]  # fmt: skip
    assert int(line.total_time) == total
    assert (int(line.status_code), int(line.bytes_read)) == (status, size)
    assert counts == tuple(map(int, (
        line.connections_active, line.connections_frontend, line.connections_backend,
        line.connections_server,
    )))  # fmt: skip
    assert line.retries == f"{'+' if again else ''}{retries}"
    assert (line.queue_server, line.queue_backend) == ahead
    assert (line.http_request_method, line.http_request_path) == ("GET", path)
    assert line.http_request_protocol == "HTTP/1.1"


@pytest.mark.parametrize(("story", "line"), HTTP)
def test_haproxyLogAnalysisReadsTheGoldenLines(story, line):
    # Its expression for addresses knows no UNIX sockets.
    assert Line(SYSLOG + line).is_valid is not line.startswith("unix")


def test_theTimersAddUp():
    line = written(ended(request=0.6, assigned=1.2, connected=1.8, responded=2.4, finished=3.0))
    assert " 0/1/0/1/3 " in line


class TestDates:
    """The text of a second is kept; it must be the right one."""

    def dates(self, offsets, wall=1233918854.655):
        line = formatter("http", lambda: STARTED, lambda: wall)
        return [re.search(r"\[(.*)\]", line(ended(started=STARTED + at)))[1] for at in offsets]

    def test_secondsBackAndForth(self):
        assert self.dates([0, 0.344, 0.345, -0.656, 0.001, -86400]) == [
            "06/Feb/2009:12:14:14.655",
            "06/Feb/2009:12:14:14.999",
            "06/Feb/2009:12:14:15.000",
            "06/Feb/2009:12:14:13.999",
            "06/Feb/2009:12:14:14.656",
            "05/Feb/2009:12:14:14.655",
        ]

    def test_manySeconds(self):
        seconds = [f"06/Feb/2009:12:{14 + i // 60}:{i % 60:02d}.655" for i in range(14, 314)]
        assert self.dates(range(300)) == seconds
        assert self.dates([*range(300), 0])[-1] == seconds[0]

    def test_aSecondIsRenderedOnceAndNotKeptForEver(self):
        rendered = []

        def render(second):
            rendered.append(second)
            return f"{second}.", ""

        def ask(offsets):
            rendered.clear()
            date = dates(lambda: STARTED, lambda: 1233918854.655, render)
            return [date(STARTED + at) for at in offsets]

        assert ask([0, 0.1])[1] == "1233918854.755"
        ask([0, 0.1, 1, 0.2, 1.1])
        assert rendered == [1233918854, 1233918855]
        ask([*range(1000), 0])
        assert len(rendered) == 1001

    def test_summerTimeBegins(self):
        assert self.dates([0, 1], 1238288399.0) == [
            "29/Mar/2009:01:59:59.000",
            "29/Mar/2009:03:00:00.000",
        ]

    def test_theWallClockIsSet(self):
        wall = [1233918854.655]
        line = formatter("http", lambda: STARTED, lambda: wall[0])
        assert "[06/Feb/2009:12:14:14.655]" in line(ended())
        wall[0] -= 3600
        assert "[06/Feb/2009:11:14:15.655]" in line(ended(started=STARTED + 1))


def test_json():
    rule = SimpleNamespace(where=Position("lb.ini", 7, 5))
    exchange = ended(
        requestId="5f0c", trace="0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        reason="all is well", ahead=(1, 2), retries=1, passthrough="Connect",
        rule=rule,
    )  # fmt: skip
    line = written(exchange, "json")
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2009-02-06T12:14:14.655+01:00",
        "client": "10.0.1.2",
        "client_port": 33317,
        "frontend": "http-in",
        "pool": "static",
        "server": "srv1",
        "method": "GET",
        "target": "/index.html",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes_in": 80,
        "bytes_out": 2750,
        "timers": {"TR": 10, "Tw": 0, "Tc": 30, "Tr": 69, "Ta": 109},
        "termination": "----",
        "retries": 1,
        "redispatched": False,
        "connections": {"process": 1, "frontend": 1, "pool": 1, "server": 1},
        "queue": {"server": 1, "pool": 2},
        "request_id": "5f0c",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "passthrough": "Connect",
        "rule": "lb.ini:7",
        "reason": "all is well",
    }


def test_jsonHasNullForWhatWasNotReached():
    found = json.loads(written(ended("c", "R", **UNREAD, status=0, finished=7), "json"))
    for key in (
        "pool", "server", "method", "target", "version", "status", "request_id", "passthrough",
        "rule", "reason",
    ):  # fmt: skip
        assert found[key] is None
    assert found["timers"] == {"TR": None, "Tw": None, "Tc": None, "Tr": None, "Ta": 7}
    assert found["connections"] == {"process": 1, "frontend": 1, "pool": None, "server": None}
    assert found["termination"] == "cR--"


def test_jsonOfASession():
    story = {**SESSION, "accepted": -25, "assigned": 0, "connected": None, "finished": 5000}
    found = json.loads(written(ended("S", "C", **story), "json", "tcp"))
    assert found["time"] == "2009-02-06T12:14:14.630+01:00"
    assert found["timers"] == {"Tw": 0, "Tc": None, "Tt": 5025}
    assert found["termination"] == "SC"


@given(st.binary(), st.text())
@example(b'"\n', "\u2028\ud800\x00")
def test_jsonCannotBeForged(target, reason):
    line = written(ended(line=b"GET %b HTTP/1.0" % target, reason=reason), "json")
    assert line.isascii() and line.isprintable()
    found = json.loads(line)
    assert found["target"].encode("latin-1") == target
    assert found["reason"] == (reason or None)
    assert found["version"] == "HTTP/1.0"


def test_jsonWithoutTheEncoderInC(monkeypatch):
    expected = written(ended(), "json")
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert written(ended(), "json") == expected


class Pipe:
    """A named pipe that holds 4096 bytes, its reader opened."""

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(path)
        self.listen()

    def listen(self):
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)

    def read(self):
        try:
            return os.read(self.fd, 2 * CAPACITY).decode()
        except BlockingIOError:
            return ""

    def readWith(self, clock):
        """@return: what comes while the clock ticks, until nothing comes."""
        pieces = [self.read()]
        while pieces[-1]:
            clock.advance(logwriter.TICK)
            pieces.append(self.read())
        return "".join(pieces)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pipe(tmp_path):
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    os.close(pipe.fd)


@pytest.fixture
def writer(clock, pipe):
    writer = Writer(clock, pipe.path)
    writer.open()
    yield writer
    writer.close()


@pytest.fixture
def events():
    with capturedLogs() as events:
        yield events


def told(events):
    return [event["log_format"].format(**event) for event in events]


def test_linesAreWrittenOncePerTick(clock, pipe, writer):
    writer.write("one")
    writer.write("two")
    assert pipe.read() == ""
    assert len(clock.getDelayedCalls()) == 1
    assert 0 < logwriter.TICK <= 0.1
    clock.advance(logwriter.TICK)
    assert pipe.read() == "one\ntwo\n"
    assert clock.getDelayedCalls() == []
    writer.write("three")
    clock.advance(logwriter.TICK)
    assert pipe.read() == "three\n"


def test_aLongBatchIsWrittenAtOnce(clock, tmp_path):
    path = tmp_path / "access.log"
    writer = Writer(clock, str(path))
    writer.open()
    line = "x" * 1023
    for _ in range(BATCH // 1024):
        writer.write(line)
    assert path.stat().st_size == 0
    writer.write("last")
    assert path.read_text() == f"{line}\n" * 64 + "last\n"
    writer.close()
    assert clock.getDelayedCalls() == []


def test_whatAPipeDoesNotTakeIsKept(clock, pipe, writer, events):
    lines = [f"{number:099d}" for number in range(300)]
    for line in lines:
        writer.write(line)
    clock.advance(logwriter.TICK)
    clock.advance(logwriter.TICK)
    assert pipe.readWith(clock) == "".join(f"{line}\n" for line in lines)
    assert writer.dropped == 0
    assert events == []


def test_theOrderIsKeptWhileAPipeIsFull(clock, pipe, writer):
    for number in range(300):
        writer.write(f"{number:099d}")
        clock.advance(logwriter.TICK)
    found = pipe.readWith(clock)
    assert [int(line) for line in found.split()] == list(range(300))


def test_beyondTheBoundLinesAreDroppedAndCounted(clock, pipe, writer, events):
    line = "x" * (2**20 - 1)
    for _ in range(20):
        writer.write(line)
    writer.write("there is room for this one")
    assert writer.dropped == 4
    assert repr(writer) == f"<Writer file:{pipe.path} dropped=4>"
    assert told(events) == [f"log file:{pipe.path} takes nothing more: lines are dropped"]
    assert pipe.readWith(clock) == f"{line}\n" * 16 + "there is room for this one\n"
    assert told(events)[1:] == [
        f"log file:{pipe.path} is written again; 4 lines were dropped so far"
    ]
    writer.write("and on")
    clock.advance(logwriter.TICK)
    assert pipe.read() == "and on\n"
    assert len(events) == 2


def test_closeWhileLinesAreDropped(pipe, writer, events):
    for _ in range(20):
        writer.write("x" * (2**20 - 1))
    writer.close()
    writer.write("late")
    assert told(events) == [
        f"log file:{pipe.path} takes nothing more: lines are dropped",
        f"log file:{pipe.path} was closed; 20 lines were dropped so far",
        f"log file:{pipe.path} takes nothing more: lines are dropped",
    ]
    assert writer.dropped == 21


def test_aReaderThatIsGoneAndComesBack(clock, pipe, writer, events):
    os.close(pipe.fd)
    writer.write("one")
    clock.advance(logwriter.TICK)
    writer.write("two")
    clock.advance(logwriter.TICK)
    assert told(events) == [
        f"log file:{pipe.path} cannot be written, lines are kept for now: Broken pipe"
    ]
    pipe.listen()
    assert pipe.read() == ""
    clock.advance(logwriter.TICK)
    assert pipe.read() == "one\ntwo\n"
    assert told(events)[1:] == [
        f"log file:{pipe.path} is written again; 0 lines were dropped so far"
    ]


def test_aFullDisk(clock, events):
    writer = Writer(clock, "/dev/full")
    writer.open()
    writer.write("one")
    clock.advance(logwriter.TICK)
    writer.write("two")
    clock.advance(logwriter.TICK)
    writer.close()
    assert writer.dropped == 2
    assert told(events) == [
        "log file:/dev/full cannot be written, lines are kept for now: No space left on device",
        "log file:/dev/full was closed; 2 lines were dropped so far",
    ]
    assert clock.getDelayedCalls() == []


def test_whatIsWrittenAfterTheCloseIsCounted(clock, tmp_path, events):
    writer = Writer(clock, str(tmp_path / "access.log"))
    writer.open()
    writer.close()
    writer.write("late")
    writer.flush()
    writer.reopen()
    writer.close()
    assert writer.dropped == 1
    assert clock.getDelayedCalls() == []
    assert len(events) == 1


def test_closeWritesWhatIsThere(clock, tmp_path):
    path = tmp_path / "access.log"
    path.write_text("before\n")
    writer = Writer(clock, str(path))
    writer.open()
    writer.write("one")
    writer.close()
    assert path.read_text() == "before\none\n"
    assert clock.getDelayedCalls() == []


def test_modeOfANewFile(clock, tmp_path):
    before = os.umask(0)
    try:
        Logs(clock).writer(str(tmp_path / "access.log")).open()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "access.log").stat().st_mode) == 0o640


def test_aFileThatCannotBeOpenedEndsTheStart(clock, tmp_path):
    path = tmp_path / "missing" / "access.log"
    with pytest.raises(StartError, match=f"{path}: No such file or directory"):
        Writer(clock, str(path)).open()


def test_rotation(clock, tmp_path):
    path = tmp_path / "access.log"
    before = os.listdir("/proc/self/fd")
    writer = Writer(clock, str(path))
    writer.open()
    writer.write("old")
    path.rename(tmp_path / "access.log.1")
    writer.reopen()
    writer.write("new")
    writer.flush()
    assert (tmp_path / "access.log.1").read_text() == "old\n"
    assert path.read_text() == "new\n"
    writer.close()
    assert os.listdir("/proc/self/fd") == before


def test_rotationInTheMiddleOfALine(clock, pipe, writer, tmp_path):
    lines = [f"{number:098d}" for number in range(100)]
    for line in lines:
        writer.write(line)
    writer.flush()
    os.rename(pipe.path, tmp_path / "pipe.1")
    writer.reopen()
    torn = pipe.read()
    whole = torn.count("\n")
    assert len(torn) == 4096 and not torn.endswith("\n")
    assert (tmp_path / "pipe").read_text().split() == lines[whole:]


def test_rotationThatFails(clock, tmp_path, events):
    path = tmp_path / "logs" / "access.log"
    path.parent.mkdir()
    writer = Writer(clock, str(path))
    writer.open()
    moved = tmp_path / "moved"
    path.parent.rename(moved)
    writer.reopen()
    writer.write("still here")
    writer.close()
    assert (moved / "access.log").read_text() == "still here\n"
    assert told(events) == [
        f"log file:{path} cannot be opened again, the old file is kept: No such file or directory"
    ]


@contextmanager
def stdout():
    """A pipe is standard output; gives its reader."""
    reader, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 8192)
    before = os.dup(1)
    os.dup2(end, 1)
    os.close(end)
    try:
        yield reader
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(reader)


def test_standardOutput(clock):
    writer = Writer(clock)
    assert repr(writer) == "<Writer stdout dropped=0>"
    with stdout() as reader:
        writer.open()
        writer.write("one")
        writer.reopen()
        writer.close()
        os.fstat(1)
        assert os.read(reader, 99) == b"one\n"


def test_standardOutputThatNobodyReadsStopsNothing(clock):
    def stopped(*_):
        raise AssertionError("the write waited for a reader")

    writer = Writer(clock)
    found = b""
    before = signal.signal(signal.SIGALRM, stopped)
    try:
        with stdout() as reader:
            writer.open()
            writer.write("x" * 20000)
            signal.alarm(5)
            writer.flush()
            signal.alarm(0)
            # It is shared with whoever started this program.
            assert os.get_blocking(1)
            while not found.endswith(b"\n"):
                found += os.read(reader, 99999)
                clock.advance(logwriter.TICK)
            writer.close()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert found == b"x" * 20000 + b"\n"


def test_standardOutputGetsWholeLines(clock):
    # Another process may write there in between.
    writer = Writer(clock)
    found = b""
    with stdout() as reader:
        writer.open()
        for number in range(20):
            writer.write(f"{number:03}" + "x" * 996)
        writer.flush()
        while found.count(b"\n") < 20:
            found += os.read(reader, 99999)
            assert found.endswith(b"\n")
            clock.advance(logwriter.TICK)
        writer.close()
    assert [int(line[:3]) for line in found.splitlines()] == list(range(20))


def test_standardOutputThatIsClosedEndsTheStart(clock):
    with stdout():
        os.close(1)
        with pytest.raises(StartError, match="stdout: Bad file descriptor"):
            Writer(clock).open()


def test_oneWriterForATarget(clock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = Logs(clock)
    writer = logs.writer("access.log")
    other = logs.writer("other.log")
    assert logs.writer(str(tmp_path / "access.log")) is writer
    assert other is not writer
    assert logs.writer() is logs.writer("") is not writer
    monkeypatch.chdir("/")
    logs.open()
    before = os.listdir("/proc/self/fd")
    logs.open()
    assert os.listdir("/proc/self/fd") == before
    writer.write("one")
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    logs.reopen()
    writer.write("two")
    other.write("three")
    logs.close()
    assert (tmp_path / "access.log.1").read_text() == "one\n"
    assert (tmp_path / "access.log").read_text() == "two\n"
    assert (tmp_path / "other.log").read_text() == "three\n"


def test_theObserver():
    lines = []
    access = AccessLog(
        SimpleNamespace(write=lines.append), lambda exchange: f"{exchange.cause}{exchange.stage}"
    )
    assert verifyObject(IExchangeObserver, access)
    access.exchangeFinished(ended())
    ended("C", "D", observers=(access.observe,))
    assert lines == ["--", "CD"]


def test_aBrokenObserverKeepsNobodyFromTheLog(events):
    lines, released = [], []

    def broken(exchange):
        raise RuntimeError("broken")

    access = AccessLog(SimpleNamespace(write=lines.append), lambda exchange: "line")
    unformatted = AccessLog(SimpleNamespace(write=lines.append), broken)
    exchange = Exchange(
        Connection(1, ("10.0.1.2", 1), ("10.0.0.1", 80), STARTED), None,
        (broken, unformatted.observe, access.observe), STARTED,
    )  # fmt: skip
    exchange.pool = SimpleNamespace(release=released.append)
    exchange.holding = True
    exchange.finish(Cause.DONE, STARTED)
    assert lines == ["line"]
    assert released == [exchange]
    assert [str(event["log_failure"].value) for event in events] == ["broken", "broken"]


def test_aFinishedExchangeIsLoggedBeforeItsSlotIsGivenBack():
    server = SimpleNamespace(name="srv1", active=1)
    pool = SimpleNamespace(name="static", active=1)

    def release(exchange):
        server.active = pool.active = 0

    pool.release = release
    lines = []
    access = AccessLog(
        SimpleNamespace(write=lines.append), formatter("http", lambda: 0.0, lambda: WALL)
    )
    frontend = SimpleNamespace(name="http-in", active=1, process=SimpleNamespace(active=1))
    connection = Connection(1, ("10.0.1.2", 1), ("10.0.0.1", 80), STARTED)
    exchange = Exchange(connection, frontend, (access.observe,), STARTED)
    exchange.pool, exchange.server, exchange.holding = pool, server, True
    exchange.stage = Stage.DONE
    exchange.finish(Cause.DONE, STARTED)
    assert " 1/1/1/1/0 " in lines[0]
    assert server.active == 0
