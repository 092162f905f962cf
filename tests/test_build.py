"""From a configuration to what could be started; nothing is opened by it."""

import os
import re
import socket

import pytest

from lbtwist.build import build
from lbtwist.building import requestIds
from lbtwist.config.load import loadText
from lbtwist.registry import installed
from lbtwist.server import Endpoint
from lbtwist.service import LoadBalancer
from lbtwist.testing import Balancer, Pump

CONFIG = """
[global]
maxconn = 77
[frontend www]
bind = 127.0.0.1:1
pool = app
log = off
[frontend raw]
mode = tcp
bind = 127.0.0.1:2
pool = app
log = off
[pool app]
balance = leastconn
server a = 127.0.0.1:8001 weight=3 maxconn=9
server b = unix:/run/b.sock backup
server c = [::1]:8003 weight=0
"""


@pytest.fixture
def made():
    """A function that builds a configuration, and holds that nothing was started."""
    pump = Pump()

    def made(text):
        config, _ = loadText(text, installed())
        return build(config, reactor=pump, seconds=pump.seconds)

    before = sorted(os.listdir("/proc/self/fd"))
    yield made
    assert not pump.removeAll()
    assert not pump.getDelayedCalls()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_frontendsAndPools(made):
    balancer = made(CONFIG)
    assert isinstance(balancer, LoadBalancer)
    assert list(balancer.frontends) == ["www", "raw"]
    assert list(balancer.pools) == ["app"]
    assert balancer.process.maxconn == 77
    assert not balancer.running
    assert balancer.deadlines is balancer.pool("app").deadlines


def test_servers(made):
    pool = made(CONFIG).pool("app")
    a, b, c = pool.servers
    assert (a.name, a.weight, a.maxconn, a.backup) == ("a", 3, 9, False)
    assert a.endpoint == Endpoint(socket.AF_INET, ("127.0.0.1", 8001))
    assert (b.backup, b.endpoint) == (True, Endpoint(socket.AF_UNIX, "/run/b.sock"))
    assert c.endpoint.family == socket.AF_INET6
    assert c.weight == 0
    assert [server.key for server in pool.servers] == ["app/a", "app/b", "app/c"]
    pool.serversChanged()
    assert pool.usable == (a,)
    assert type(pool.balancer).__name__ == "LeastConn"


def test_checks(made):
    """What a server is before its first check: up. How many results it takes is the check's."""
    text = CONFIG + "check = tcp rise=4 fall=5\n"
    for server in made(text).pool("app").servers:
        assert (server.health.up, server.health.rise, server.health.fall) == (True, 4, 5)


def test_aNameIsResolvedLater(made):
    """Until then the server is not usable."""
    pool = made(CONFIG.replace("127.0.0.1:8001", "app.example.com:80")).pool("app")
    assert pool.servers[0].endpoint is None
    pool.serversChanged()
    assert pool.usable == (pool.servers[1],)


def test_demoServers(made):
    """They get their address when they are started."""
    pool = made(CONFIG.replace("127.0.0.1:8001", "demo:blue")).pool("app")
    assert pool.servers[0].endpoint is None


def test_aBalancerWithDefaults(made):
    """Where nothing is said of it."""
    pool = made(CONFIG.replace("balance = leastconn\n", "")).pool("app")
    assert type(pool.balancer).__name__ == "RoundRobin"


def test_builtTwice(made):
    """Two balancers of one configuration share nothing."""
    one, other = made(CONFIG), made(CONFIG)
    assert one.config == other.config
    assert one.pool("app") is not other.pool("app")
    assert one.pool("app").balancer is not other.pool("app").balancer


def test_aServerThatMoves(made):
    """Its idle connections go to where it was."""

    class Idle:
        closed = False

        def close(self):
            self.closed = True

    balancer = made(CONFIG.replace("127.0.0.1:8001", "app.example.com:80"))
    pool = balancer.pool("app")
    a, b, c = pool.servers
    idle = Idle()
    a.idle.append(idle)
    a.endpoint = Endpoint(socket.AF_INET, ("192.0.2.1", 80))
    balancer._names._changed(a)
    assert idle.closed
    assert a.idle == []
    assert pool.usable == (a,)


OBSERVED = """
[frontend www]
bind = ${bind}
pool = app
log = LOG
[pool app]
BALANCE
server a = ${a}
"""


def asks(balancer):
    client = balancer.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.receives(rb".*ok")
    client.closes()


@pytest.mark.parametrize(
    "log, pattern",
    [
        ("${log}", r" www app/a \d+/0/0/0/0 200 "),
        ("${log} format=tcp", r" www app/a 0/0/0 "),
        ("${log} format=json", r'^\{.*"frontend": ?"www"'),
    ],
)
def test_logs(log, pattern):
    with Balancer(OBSERVED.replace("LOG", log).replace("BALANCE", ""), "a") as balancer:
        asks(balancer)
        [line] = balancer.lines
        assert re.search(pattern, line), line


def test_severalLogs():
    text = OBSERVED.replace("LOG", "${log} format=http, ${log} format=json")
    with Balancer(text.replace("BALANCE", ""), "a") as balancer:
        asks(balancer)
        http, json = balancer.lines
        assert json.startswith("{") and not http.startswith("{")


def test_everythingIsCounted():
    with Balancer(OBSERVED.replace("LOG", "off").replace("BALANCE", ""), "a") as balancer:
        asks(balancer)
        assert balancer.lines == []
        assert balancer.running.frontend("www").inbound.traffic.exchanges == 1
        assert balancer.running.pool("app").traffic.exchanges == 1


def test_aBalancerThatObserves():
    """It hears of the exchanges of its pool."""
    text = OBSERVED.replace("LOG", "off").replace("BALANCE", "balance = peak-ewma")
    with Balancer(text, "a") as balancer:
        chooser = balancer.running.pool("app").balancer
        inbound = balancer.running.frontend("www").inbound
        assert chooser.exchangeFinished in inbound.observers
        assert len(inbound.observers) == 2
        asks(balancer)


def test_requestIds():
    """No two are the same, not even of two processes."""
    make, other = requestIds(), requestIds()
    made = [make() for _ in range(1000)] + [other() for _ in range(1000)]
    assert len(set(made)) == 2000
    assert all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}", one) for one in made)
