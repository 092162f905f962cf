"""Numbers that the balancer sends away by itself: to StatsD, with and without tags, to Graphite."""

import re

import pytest
from spoken import GET, OK
from syslogs import Datagrams, Server

from lbtwist.admin import statsd
from lbtwist.admin.statsd import DATAGRAM, Graphite, Number, StatsD
from lbtwist.config.load import loadText
from lbtwist.errors import ConfigError
from lbtwist.registry import installed
from lbtwist.testing import Balancer

CONFIG = """
[global]
EXPORT
[frontend www]
bind = ${bind}
pool = app
[pool app]
server a = ${a}
server b.1 = ${b}
"""
PLAIN = re.compile(r"[A-Za-z0-9_.-]+:(-?[0-9]+(?:\.[0-9]+)?)\|([cg])")
TAGGED = re.compile(PLAIN.pattern + r"(?:\|#[a-z]+:[\w./-]+(?:,[a-z]+:[\w./-]+)*)?")
POINT = re.compile(r"[A-Za-z0-9_.-]+ -?[0-9]+(?:\.[0-9]+)? [0-9]{10}")


def balancer(export):
    return Balancer(CONFIG.replace("EXPORT", export), "a", "b")


@pytest.fixture
def server():
    server = Datagrams()
    yield server
    server.dies()


def exchange(running, *names):
    for name in names:
        client = running.client()
        client.sends(GET)
        server = running.server(name).accepts()
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        client.closes()


def lines(server, form=PLAIN):
    """@return: what has come: kind and value by name."""
    found = {}
    for data in server.reads():
        assert len(data) <= DATAGRAM
        for line in data.decode("ascii").split("\n"):
            matched = form.fullmatch(line)
            assert matched, line
            name = line.replace(f":{matched[1]}|{matched[2]}", "")
            assert name not in found, name
            found[name] = matched[2], float(matched[1])
    return found


def test_countersAreWhatTheyHaveGrown(server):
    with balancer(f"statsd = 127.0.0.1:{server.port}") as running:
        running.advance(1)
        assert lines(server) == {}
        exchange(running, "a", "b", "a")
        running.advance(10)
        found = lines(server)
        assert found["lbtwist.frontend.www.exchanges_total"] == ("c", 3)
        assert found["lbtwist.pool.app.http_responses_total.2xx"] == ("c", 3)
        assert found["lbtwist.server.app.a.exchanges_total"] == ("c", 2)
        assert found["lbtwist.server.app.b_1.exchanges_total"] == ("c", 1)
        assert found["lbtwist.server.app.a.status.UP"] == ("g", 1)
        assert found["lbtwist.server.app.a.request_duration_seconds_count"] == ("c", 2)
        assert found["lbtwist.process.uptime_seconds"][0] == "g"
        exchange(running, "b")
        running.advance(10)
        found = lines(server)
        assert found["lbtwist.server.app.b_1.exchanges_total"] == ("c", 1)
        assert "lbtwist.server.app.a.exchanges_total" not in found


def test_nothingIsLostAtTheEnd(server):
    with balancer(f"statsd = 127.0.0.1:{server.port}") as running:
        running.advance(11)
        lines(server)
        exchange(running, "a")
    assert lines(server)["lbtwist.server.app.a.exchanges_total"] == ("c", 1)


def test_tags(server):
    with balancer(f"statsd = 127.0.0.1:{server.port} tags=dogstatsd prefix=edge.lb1") as running:
        running.advance(1)
        exchange(running, "a")
        running.advance(10)
        found = lines(server, TAGGED)
    assert found["edge.lb1.server.exchanges_total|#proxy:app,server:a"] == ("c", 1)
    assert found["edge.lb1.pool.http_responses_total|#proxy:app,code:2xx"] == ("c", 1)


def test_theInterval(server):
    with balancer(f"statsd = 127.0.0.1:{server.port} interval=2s") as running:
        running.advance(1)
        exchange(running, "a")
        running.advance(0.5)
        assert lines(server) == {}
        running.advance(1)
        assert lines(server)


def test_aUNIXSocket(tmp_path):
    path = str(tmp_path / "dsd")
    server = Datagrams(path=path)
    with balancer(f"statsd = unix:{path}") as running:
        running.advance(11)
        assert lines(server)["lbtwist.pool.app.status.UP"] == ("g", 1)
    server.dies()


def test_graphite():
    server = Server()
    with balancer(f"graphite = 127.0.0.1:{server.port} interval=10s") as running:
        exchange(running, "a", "b")
        running.advance(10.5)
        server.reads()
        [data] = server.data
        points = data.decode("ascii").splitlines()
        assert all(POINT.fullmatch(one) for one in points)
        found = {one.split()[0]: one.split()[1:] for one in points}
        assert found["lbtwist.server.app.a.exchanges_total"][0] == "1"
        assert found["lbtwist.frontend.www.exchanges_total"][0] in ("0", "2")
    server.reads()
    last = dict(line.rsplit(" ", 2)[:2] for line in server.data[0].decode().splitlines())
    assert last["lbtwist.frontend.www.exchanges_total"] == "2"
    server.dies()


def test_aReloadCountsNothingTwice(server):
    first = f"statsd = 127.0.0.1:{server.port}"
    with balancer(first) as running:
        running.advance(1)
        exchange(running, "a", "b")
        [export] = running.running.exports
        running.becomes(CONFIG.replace("EXPORT", f"{first}\nmaxconn = 5"))
        assert running.running.exports == (export,)
        running.advance(10)
        assert lines(server)["lbtwist.frontend.www.exchanges_total"] == ("c", 2)
        exchange(running, "a")
        running.becomes(CONFIG.replace("EXPORT", f"{first} interval=5s"))
        told = lines(server)
        assert told["lbtwist.frontend.www.exchanges_total"] == ("c", 1)
        exchange(running, "b")
        running.advance(6)
        assert lines(server)["lbtwist.frontend.www.exchanges_total"] == ("c", 1)
        running.becomes(CONFIG.replace("EXPORT", ""))
        lines(server)
        running.advance(60)
        assert lines(server) == {}


def test_aServerThatIsAwayStopsNothing(server):
    gone = Datagrams()
    gone.dies()
    with balancer(f"statsd = 127.0.0.1:{gone.port}") as running:
        exchange(running, "a")
        running.advance(100)
        exchange(running, "b")
        [export] = running.running.exports
        assert export.writer.dropped


def test_numbersThatCannotBeReadAreNotLost(server, monkeypatch):
    with balancer(f"statsd = 127.0.0.1:{server.port}") as running:
        running.advance(1)
        exchange(running, "a")
        running.advance(10.5)
        lines(server)
        exchange(running, "b", "a", "b")
        real = statsd.POOLS

        def broken():
            yield real[0]
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(statsd, "POOLS", broken())
            running.advance(10)
        assert [one.type for one in running.failures] == [ZeroDivisionError]
        running.failures.clear()
        first = lines(server)
        running.advance(10)
        second = lines(server)
    assert first["lbtwist.frontend.www.exchanges_total"] == ("c", 3)
    assert "lbtwist.frontend.www.exchanges_total" not in second
    assert second["lbtwist.server.app.a.exchanges_total"] == ("c", 1)
    assert second["lbtwist.server.app.b_1.exchanges_total"] == ("c", 2)


def test_aCounterThatWasCleared():
    form = StatsD("p", False)
    said = []
    for value in (0, 5, 7, 2):
        form.begin()
        said.append(form.line(Number("pool", (("proxy", "a"),), "n_total", value, True)))
        form.end(True)
    assert said == ["", "p.pool.a.n_total:5|c", "p.pool.a.n_total:2|c", "p.pool.a.n_total:2|c"]


@pytest.mark.parametrize("name", ["a b", "a|c", "a:1", "a\nb", "ü", "a.b", "a#,b", ""])
def test_noNameForgesALine(name):
    number = Number("pool", (("proxy", name), ("file", name)), "n", 1.5, False)
    assert PLAIN.fullmatch(StatsD("p", False).line(number))
    assert TAGGED.fullmatch(StatsD("p", True).line(number).replace(":,", ":x,") + "x")
    form = Graphite("p", lambda: 1.7e9)
    form.begin()
    assert POINT.fullmatch(form.line(number))
    assert form.line(number).count(".") == 5


@pytest.mark.parametrize("said, wrong", [
    ("statsd = 127.0.0.1", "has no port"),
    ("statsd =", "needs an address"),
    ("graphite = unix:/x", "port"),
    ("statsd = 127.0.0.1:8125 prefix=a..b", "no prefix"),
    ("statsd = 127.0.0.1:8125 interval=100ms", "from 1s to 1h"),
    ("graphite = 127.0.0.1:2003 tags=dogstatsd", "unknown option 'tags'"),
])  # fmt: skip
def test_whatIsRefused(said, wrong):
    text = f"[global]\n{said}\n[frontend www]\nbind = :80\npool = a\n[pool a]\nserver a = demo:a"
    with pytest.raises(ConfigError, match=wrong):
        loadText(text, installed())
