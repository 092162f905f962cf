"""
A balancer as rows of numbers: HAProxy's columns, in HAProxy's order, and what stands in them.
"""

import csv
import io
import subprocess
from types import SimpleNamespace

import attr
import pytest
from told import pooled

from lbtwist.admin.columns import COLUMNS
from lbtwist.admin.rows import healthOf, rowsOf, statusOf
from lbtwist.admin.showing import RELEASED
from lbtwist.admin.showing import csv as written
from lbtwist.health import Admin, Health, Result
from lbtwist.server import Endpoint
from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}
[frontend www]
bind = ${bind}
pool = app
request = deny if path == "/no"
maxconn = 50
[pool app]
balance = leastconn
check = tcp interval=1s
server a = ${a} maxconn=10 weight=3
server b = ${b} backup
"""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PASSED = Result(True, "L7OK", "200 OK")
FAILED = Result(False, "L7STS", "503 Gone")


def exchanged(balancer, server="a", request=GET, response=OK):
    client = balancer.client()
    client.sends(request)
    peer = balancer.server(server).accepts()
    peer.receives(rb".*")
    peer.sends(response)
    client.receives(rb".*")
    return client


def values(balancer, name):
    """@return: the values of the row of this name, and of no others."""
    [found] = [row.values for row in rowsOf(balancer.running) if row.name == name]
    return found


@pytest.mark.needs("haproxy", "socat")
def test_theOrderIsHAProxys(tmp_path):
    """Of a real one: what it has before C{-} stands at the same places here."""
    path = tmp_path / "stat.sock"
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        f"global\n  stats socket {path}\ndefaults\n  mode http\n  timeout client 1s\n"
        f"  timeout server 1s\n  timeout connect 1s\nfrontend f\n  bind unix@{tmp_path}/f\n"
    )
    with subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL) as haproxy:
        try:
            header = askedAt(path)
        finally:
            haproxy.kill()
    names = header.removeprefix("# ").rstrip(",").split(",")
    names = names[: names.index("-")]
    assert len(names) > 100
    assert list(COLUMNS)[: len(names)] == names


def askedAt(path):
    """@return: the first line of C{show stat} of whoever listens there."""
    command = f"until [ -S {path} ]; do sleep 0.05; done; echo show stat | socat - UNIX:{path}"
    said = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=10, check=True
    )
    return said.stdout.splitlines()[0]


def test_positionsCountUpFromNought():
    assert [column.position for column in COLUMNS.values()] == list(range(len(COLUMNS)))
    assert COLUMNS["lastsess"].tags == {"origin": "Metric", "nature": "Age", "scope": "Process"}


def test_frontendsThenServersBeforeTheirPool():
    with Balancer(CONFIG, "a", "b") as balancer:
        rows = list(rowsOf(balancer.running))
        assert [(row.proxy, row.name, row.values["type"]) for row in rows] == [
            ("www", "FRONTEND", 0), ("app", "a", 2), ("app", "b", 2), ("app", "BACKEND", 1),
        ]  # fmt: skip
        assert all(row.values.keys() <= COLUMNS.keys() for row in rows)


def test_whatAnExchangeChanges():
    with Balancer(CONFIG, "a", "b") as balancer:
        balancer.advance(1.5)
        exchanged(balancer)
        balancer.advance(1)
        frontend, pool, server = (values(balancer, n) for n in ("FRONTEND", "BACKEND", "a"))
        assert frontend | {"stot": 1, "req_tot": 1, "hrsp_2xx": 1, "bin": len(GET)} == frontend
        assert frontend | {"rate": 1, "conn_rate": 1, "req_rate": 1, "slim": 50} == frontend
        assert pool | {"stot": 1, "rate_max": 1, "lbtot": 1, "algo": "leastconn"} == pool
        assert pool | {"act": 1, "bck": 1, "weight": 3, "lastsess": 0, "mode": "http"} == pool
        assert server | {"stot": 1, "connect": 1, "srv_icur": 1, "slim": 10, "act": 1} == server
        balancer.advance(1)
        assert values(balancer, "FRONTEND")["rate"] == 0
        assert values(balancer, "a")["lastsess"] == 1


def test_whatIsRefusedAndWhatIsNoRequest():
    with Balancer(CONFIG, "a", "b") as balancer:
        client = balancer.client()
        client.sends(b"GET /no HTTP/1.1\r\nHost: h\r\n\r\n")
        client.receives(b"HTTP/1.1 403 .*")
        client = balancer.client()
        client.sends(b"nonsense\r\n\r\n")
        client.receives(b"HTTP/1.1 400 .*")
        client = balancer.client()
        client.sends(b"GET / HT")
        client.closes()
        found = values(balancer, "FRONTEND")
        assert found | {"dreq": 1, "ereq": 2, "hrsp_4xx": 2, "hrsp_other": 1} == found


def test_serversThatFail():
    with Balancer(CONFIG, "a", "b") as balancer:
        # No response at all; one that is none; one that breaks off.
        for response in (b"", b"nonsense\r\n\r\n", OK[:-1]):
            client = balancer.client()
            client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            peer = balancer.server("a").accepts()
            peer.receives(rb".*")
            peer.sends(response)
            peer.closes()
            client.receives(rb".*")
        for name in ("a", "BACKEND"):
            found = values(balancer, name)
            assert found | {"eresp": 2, "srv_abrt": 1, "cli_abrt": 0} == found


def test_clientsThatGoAway():
    with Balancer(CONFIG, "a", "b") as balancer:
        client = balancer.client()
        client.sends(GET)
        balancer.server("a").accepts().receives(rb".*")
        client.resets()
        assert [values(balancer, name)["cli_abrt"] for name in ("a", "BACKEND")] == [1, 1]


def test_aServerThatCannotBeConnectedTo():
    with Balancer(CONFIG.replace("check = tcp interval=1s", ""), "a", "b") as balancer:
        balancer.server("a").goesAway()
        balancer.client().sends(GET)
        balancer.advance(10)
        assert values(balancer, "a")["econ"] == 4
        assert values(balancer, "a")["wretr"] == 3
        assert values(balancer, "BACKEND") | {"econ": 1, "wretr": 3, "stot": 1} == values(
            balancer, "BACKEND"
        )


def test_whatHasBegunIsNeverLess():
    """Whoever reads a counter that goes back takes it for one that has begun anew."""
    config = CONFIG.replace("backup", "").replace(
        "check = tcp interval=1s", "retry-on = empty-response\nredispatch = 1"
    )
    with Balancer(config, "a", "b") as balancer:
        client = balancer.client()
        client.sends(GET)
        peer = balancer.server("a").accepts()
        peer.receives(rb".*")
        assert [values(balancer, name)["stot"] for name in ("a", "b", "BACKEND")] == [1, 0, 1]
        peer.closes()
        balancer.server("b").accepts().receives(rb".*")
        assert [values(balancer, name)["stot"] for name in ("a", "b", "BACKEND")] == [1, 1, 1]


def test_checksAndTheTimeThatAServerIsDown():
    with Balancer(CONFIG, "a", "b") as balancer:
        balancer.advance(2)
        before = values(balancer, "a")
        assert before | {"check_status": "L4OK", "check_health": 4, "chkfail": 0} == before
        assert before["check_desc"] == "Layer4 check passed"
        balancer.server("a").goesAway()
        balancer.advance(7.5)
        after = values(balancer, "a")
        assert after | {"status": "DOWN", "check_status": "L4CON", "chkdown": 1} == after
        assert after["chkfail"] >= 3
        assert after["check_health"] == 0
        assert 3 <= after["downtime"] <= after["lastchg"] + 1 <= 7
        assert values(balancer, "b")["downtime"] == 0


def test_whatIsNotKnownIsNotThere():
    with Balancer(CONFIG, "a", "b") as balancer:
        found = values(balancer, "b")
        assert not {"slim", "qlimit", "throttle", "tracked", "cookie", "qtime"} & found.keys()


TIMED = [f"{name}{end}" for name in ("qtime", "ctime", "rtime", "ttime") for end in ("", "_max")]


def slowly(balancer, seconds):
    """One exchange with server C{a}, whose response takes so long."""
    client = balancer.client()
    client.sends(GET)
    peer = balancer.server("a").accepts()
    peer.receives(rb".*")
    balancer.advance(seconds)
    peer.sends(OK)
    client.receives(rb"HTTP/1.1 200 .*")
    peer.closes()
    client.closes()


def test_timesAreOfTheLastMinute():
    with Balancer(CONFIG.replace("check = tcp interval=1s", ""), "a", "b") as balancer:
        slowly(balancer, 2)
        balancer.advance(1)
        for name in ("a", "BACKEND"):
            found = values(balancer, name)
            assert found | {"qtime": 0, "rtime": 2000, "ttime": 2000} == found
            assert found["ttime_max"] == pytest.approx(2000, rel=1 / 32)
            assert "qtime_max" not in found
        for _ in range(6):
            balancer.advance(100)
            slowly(balancer, 0.1)
        balancer.advance(1)
        found = values(balancer, "BACKEND")
        assert 100 <= found["ttime"] < 150
        assert found["ttime_max"] == pytest.approx(2000, rel=1 / 32)
        assert not set(TIMED) & values(balancer, "FRONTEND").keys()
        assert not set(TIMED) & values(balancer, "b").keys()


def test_timesInTheQueue():
    with Balancer(CONFIG.replace("maxconn=10", "maxconn=1"), "a", "b") as balancer:
        first, second = balancer.client(), balancer.client()
        first.sends(GET)
        peer = balancer.server("a").accepts()
        peer.receives(rb".*")
        second.sends(GET)
        balancer.advance(4)
        peer.sends(OK)
        peer = balancer.server("a").accepts()
        peer.receives(rb"GET .*")
        peer.sends(OK)
        second.receives(rb"HTTP/1.1 200 .*")
        balancer.advance(1)
        # Two requests, of which one has waited.
        for name in ("a", "BACKEND"):
            assert values(balancer, name)["qtime"] == 2000
            assert values(balancer, name)["qtime_max"] == pytest.approx(4000, rel=1 / 32)


def test_timesBeginAnewWithTheCounters():
    with Balancer(CONFIG, "a", "b") as balancer:
        slowly(balancer, 2)
        balancer.advance(1)
        balancer.running.looking.clear(everything=True)
        for one in (balancer.running.pool("app"), *balancer.running.pool("app").servers):
            one.traffic.clear()
        assert not set(TIMED) & values(balancer, "BACKEND").keys()
        slowly(balancer, 0.5)
        balancer.advance(1)
        assert values(balancer, "BACKEND")["ttime"] == 500


def test_aSessionHasNoStatus():
    config = CONFIG.replace('request = deny if path == "/no"', "mode = tcp")
    with Balancer(config.replace("[pool app]", "[pool app]\nmode = tcp"), "a", "b") as balancer:
        found = values(balancer, "FRONTEND")
        assert not {"hrsp_2xx", "req_tot", "req_rate"} & found.keys()
        assert found["mode"] == "tcp"


# the status of a server


def aServer(**health):
    pool, _ = pooled(1)
    pool = SimpleNamespace(name="app", config=SimpleNamespace(check=object()), persistence=None)
    one, _ = pooled(1)
    server = one.servers[0]
    server.endpoint = Endpoint(2, ("127.0.0.1", 1))
    for name, value in health.items():
        setattr(server.health, name, value)
    return pool, server


@pytest.mark.parametrize(
    ("health", "status"),
    [
        ({}, "UP"),
        ({"up": False}, "DOWN"),
        ({"count": 1}, "UP 2/3"),
        ({"count": 2}, "UP 1/3"),
        ({"up": False, "count": 1}, "DOWN 1/2"),
        ({"admin": Admin.DRAIN}, "DRAIN"),
        ({"admin": Admin.MAINT}, "MAINT"),
        ({"admin": Admin.MAINT, "up": False}, "MAINT"),
        ({"ejected": True}, "NOLB"),
    ],
)
def test_statusOfAServer(health, status):
    assert statusOf(*aServer(**health)) == status


def test_statusOfAServerThatIsNotChecked():
    pool, server = aServer()
    pool.config.check = None
    assert statusOf(pool, server) == "no check"


def test_statusOfAServerWithoutAnAddress():
    pool, server = aServer()
    server.endpoint = None
    assert statusOf(pool, server) == "MAINT (resolution)"


def test_statusOfAServerThatItsSourceNamesNoMore():
    pool, server = aServer()
    server.leaving = True
    assert statusOf(pool, server) == "MAINT (leaving)"


def test_statusOfAServerThatFollowsAnother():
    pool, server = aServer(followed=Health(admin=Admin.MAINT))
    server.options = SimpleNamespace(track="main/x", check=True)
    assert statusOf(pool, server) == "MAINT (via main/x)"


@pytest.mark.parametrize(
    ("up", "count", "number"),
    [(True, 0, 4), (True, 1, 3), (True, 2, 2), (False, 0, 0), (False, 1, 1)],
)
def test_healthIsANumberThatIsAtLeastRiseWhileItIsUp(up, count, number):
    assert healthOf(Health(rise=2, fall=3, up=up, count=count)) == number


# how it is written


def test_textsOfStrangersDoNotBreakTheTable():
    with Balancer(CONFIG, "a", "b") as balancer:
        server = balancer.running.pool("app").find("a")
        server.health.results.append(Result(True, "L7OK", '200 "quoted", with\na comma'))
        text = written(rowsOf(balancer.running))
        header, *rows = csv.reader(io.StringIO(text.removeprefix("# ")))
        assert {len(row) for row in rows} == {len(header)} == {len(COLUMNS) + 1}
        assert rows[1][header.index("last_chk")] == '200 "quoted", with a comma'
        assert rows[1][header.index("check_code")] == "200"


def test_codesAreOfHTTPOnly():
    with Balancer(CONFIG, "a", "b") as balancer:
        results = balancer.running.pool("app").find("a").health.results
        results.append(FAILED)
        assert values(balancer, "a")["check_code"] == 503
        results.append(attr.evolve(PASSED, detail="²²² is no status"))
        assert "check_code" not in values(balancer, "a")
        results.append(Result(False, "L4CON", "111 connection refused"))
        assert "check_code" not in values(balancer, "a")


def test_theReleaseIsThatOfTheListOfChanges():
    from test_docs_configuration import ROOT

    from lbtwist import __version__

    assert f"## {__version__} ({RELEASED})" in (ROOT / "CHANGELOG.md").read_text()
