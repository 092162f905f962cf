"""Every number of a balancer as a metric, as Prometheus' own parsers read it."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import attr
import pytest

from lbtwist.admin.exposition import Exposition
from lbtwist.admin.process import INTERVAL, Lateness
from lbtwist.admin.whole import EVERY, SCOPES, pieces, render
from lbtwist.exemplars import Exemplars
from lbtwist.stats import FrontendTraffic, PoolTraffic, ServerTraffic
from lbtwist.testing import Pump
from lbtwist.testing.memory import Balancer

GOLDEN = Path(__file__).parent / "config" / "metrics.txt"

CONFIG = """
[frontend www]
bind = ${bind}
pool = app
request =
    deny if path == "/admin"

[frontend raw]
mode = tcp
bind = ${bind}.raw
pool = wire

[pool app]
persist = cookie SRVID insert
retry-on = conn-failure, empty-response
server a = ${a} maxconn=1 maxqueue=9
server b = ${b} backup

[pool wire]
mode = tcp
server c = ${c}
"""


def asked(balancer, target=b"/", cookie=b"", takes=0.25, fields=b""):
    """A client asks, the server a answers after a while. @return: what the client got."""
    client = balancer.client()
    lines = fields + (b"Cookie: SRVID=%b\r\n" % cookie if cookie else b"")
    client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (target, lines))
    if target == b"/admin":
        return client.receives(rb"HTTP/1.1 403 .*")[0]
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    balancer.advance(takes)
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return client.receives(rb"HTTP/1.1 200 OK\r\n.*")[0]


def test_workersAndTheFileAreToldOfWhereThereAreAny():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        named = ("lbtwist_process_worker_restarts_total", "lbtwist_process_configuration_differs")
        text = textOf(balancer, ("global",))
        assert not any(name in text for name in named)
        balancer.running.workers = SimpleNamespace(restarts=3)
        balancer.running.renewal = SimpleNamespace(differs=True)
        text = textOf(balancer, ("global",))
        balancer.running.workers = None
    assert f"\n{named[0]} 3\n" in text
    assert f"\n{named[1]} 1\n" in text


def textOf(balancer, scopes=("frontend", "backend", "server"), **options):
    return "".join(pieces(balancer.running, Exposition(**options), scopes))


def samples(text):
    """@return: the values by what stands before them."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def parsed(text, openmetrics):
    """@return: families as Prometheus' own library reads them, by name."""
    pytest.importorskip("prometheus_client")
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as newer

    read = newer if openmetrics else parser
    return {one.name: one for one in read.text_string_to_metric_families(text)}


def test_allOfIt():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        asked(balancer)
        asked(balancer, b"/admin")
        found = textOf(balancer, aliases=True)
    if os.environ.get("REGENERATE"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


TRACE = "0af7651916cd43dd8448eb211c80319c"


def traced(how="forward", flags="01"):
    """@return: OpenMetrics, after a request of 0.25 s that belongs to a trace."""
    config = CONFIG.replace("pool = app", f"pool = app\ntraceparent = {how}", 1)
    with Balancer(config, "a", "b", "c") as balancer:
        asked(balancer, fields=f"traceparent: 00-{TRACE}-b7ad6b7169203331-{flags}\r\n".encode())
        return textOf(balancer, ("frontend",), openmetrics=True)


def test_exemplars():
    family = parsed(traced(), True)["lbtwist_frontend_request_duration_seconds"]
    [found] = [one for one in family.samples if one.exemplar]
    assert found.labels == {"proxy": "www", "le": "0.25"}
    assert found.exemplar.labels == {"trace_id": TRACE}
    assert found.exemplar.value == 0.25
    assert float(found.exemplar.timestamp) == pytest.approx(1.7e9, abs=2000)


@pytest.mark.parametrize(("how", "flags"), [("off", "01"), ("forward", "00")])
def test_noExemplarsOfWhatNobodyKeeps(how, flags):
    assert "trace_id" not in traced(how, flags)


def test_exemplarsAreOfOpenMetricsAlone():
    config = CONFIG.replace("pool = app", "pool = app\ntraceparent = make", 1)
    with Balancer(config, "a", "b", "c") as balancer:
        asked(balancer)
        assert "trace_id" in textOf(balancer, ("frontend",), openmetrics=True)
        assert "trace_id" not in textOf(balancer)


def test_ofEachRangeTheLastAndOthersOfNone():
    exemplars = Exemplars()
    for at, seconds in enumerate((0.3, 0.4, 3.0, 1e9, 0.0)):
        exemplars.note(str(at), seconds, at)
    found = exemplars.within((0.1, 0.5, 1.0, 5.0))
    assert [one and one[0] for one in found] == ["4", "1", None, "2", "3"]
    for seconds in (1e-9, 2.0**60, *(2.0**power for power in range(-50, 60))):
        exemplars.note("", seconds, 9.0)
    assert len(exemplars.kept) < 50


def test_whatWentThroughIsCounted():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        asked(balancer)
        asked(balancer, b"/admin")
        found = samples(textOf(balancer))
    assert found['lbtwist_frontend_http_requests_total{proxy="www"}'] == 2
    assert found['lbtwist_frontend_http_responses_total{proxy="www",code="4xx"}'] == 1
    assert found['lbtwist_frontend_requests_denied_total{proxy="www"}'] == 1
    assert found['lbtwist_server_http_responses_total{proxy="app",server="a",code="2xx"}'] == 1
    assert found['lbtwist_server_connection_attempts_total{proxy="app",server="a"}'] == 1
    assert found['lbtwist_backend_connection_attempts_total{proxy="app"}'] == 1
    assert found['lbtwist_server_exchanges_total{proxy="wire",server="c"}'] == 0


def test_timesOfTheServerThePoolAndTheFrontend():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        asked(balancer, takes=0.3)
        asked(balancer, b"/admin")
        found = samples(textOf(balancer))
    for said, count in (
        ('server_request_duration_seconds_bucket{proxy="app",server="a",le="0.25"}', 0),
        ('server_request_duration_seconds_bucket{proxy="app",server="a",le="0.5"}', 1),
        ('backend_request_duration_seconds_count{proxy="app"}', 1),
        ('backend_response_seconds_count{proxy="app"}', 1),
        ('frontend_response_seconds_count{proxy="www"}', 1),
        # What had no server is there, too.
        ('frontend_request_duration_seconds_count{proxy="www"}', 2),
        ('frontend_connect_seconds_count{proxy="www"}', 1),
        ('server_connect_seconds_count{proxy="app",server="a"}', 1),
    ):
        assert found[f"lbtwist_{said}"] == count, said
    assert found['lbtwist_backend_request_duration_seconds_sum{proxy="app"}'] == (
        pytest.approx(0.3)
    )
    assert not [name for name in found if "queue_seconds" in name]


def test_theWaitInTheQueue():
    with Balancer(CONFIG.replace(" backup", " weight=0"), "a", "b", "c") as balancer:
        first, second = balancer.client(), balancer.client()
        server = None
        for client in (first, second):
            client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            server = server or balancer.server("a").accepts()
        found = samples(textOf(balancer))
        assert found['lbtwist_backend_current_queue{proxy="app"}'] == 1
        balancer.advance(0.7)
        server.receives(rb"GET .*")
        server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        found = samples(textOf(balancer))
    for said in ('server_queue_seconds_{}{{proxy="app",server="a"}}',
                 'backend_queue_seconds_{}{{proxy="app"}}',
                 'frontend_queue_seconds_{}{{proxy="www"}}'):
        assert found["lbtwist_" + said.format("count")] == 1
        assert found["lbtwist_" + said.format("sum")] == pytest.approx(0.7)


def test_aWaitGoesOnWhereTheServerThatWasWaitedForGoesDown():
    config = CONFIG.replace(" backup", " maxconn=1")
    config = config.replace("persist =", "balance = first\npersist =")
    with Balancer(config, "a", "b", "c") as balancer:
        cookie = re.search(rb"SRVID=([^;\r]+)", asked(balancer))[1]
        clients = [balancer.client() for _ in range(3)]
        servers = []
        for client, sent, name in zip(clients, (b"", b"", cookie), "ab ", strict=True):
            lines = b"Cookie: SRVID=%b\r\n" % sent if sent else b""
            client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n" % lines)
            if name != " ":
                servers.append(balancer.server(name).accepts())
        pool = balancer.running.pools["app"]
        assert pool.queuedFor(pool.servers[0]) == 1
        balancer.advance(0.4)
        pool.servers[0].health.up = False
        pool.serversChanged()
        assert (pool.queuedFor(pool.servers[0]), pool.queued) == (0, 1)
        balancer.advance(0.3)
        servers[1].receives(rb"GET .*")
        servers[1].sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert pool.queued == 0
        found = samples(textOf(balancer))
    assert found['lbtwist_backend_queue_seconds_count{proxy="app"}'] == 1
    assert found['lbtwist_server_queue_seconds_sum{proxy="app",server="b"}'] == pytest.approx(0.7)


def test_theWaitOfWhoGotNoServer():
    config = CONFIG.replace(" backup", " weight=0")
    config = config.replace("retry-on", "timeout-queue = 2s\nretry-on")
    with Balancer(config, "a", "b", "c") as balancer:
        for client in (balancer.client(), balancer.client()):
            client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        balancer.server("a").accepts()
        balancer.advance(3)
        found = samples(textOf(balancer))
    # No server has it, but its pool and its frontend.
    assert found['lbtwist_backend_queue_seconds_count{proxy="app"}'] == 1
    assert found['lbtwist_frontend_queue_seconds_count{proxy="www"}'] == 1
    assert found['lbtwist_backend_queue_seconds_sum{proxy="app"}'] == pytest.approx(2, abs=0.1)
    assert 'lbtwist_server_queue_seconds_count{proxy="app",server="a"}' not in found


def test_whoCameBack():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        answer = asked(balancer)
        cookie = re.search(rb"SRVID=([^;\r]+)", answer)[1]
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: SRVID=%b\r\n\r\n" % cookie)
        found = samples(textOf(balancer))
    assert found['lbtwist_backend_persistence_hits_total{proxy="app"}'] == 1
    assert found['lbtwist_backend_persistence_misses_total{proxy="app"}'] == 1
    assert 'lbtwist_backend_persistence_hits_total{proxy="wire"}' not in found


def test_whatASharedStoreDidNotAnswer():
    pytest.importorskip("txredisapi")
    config = CONFIG + "[store shared]\nkind = redis 127.0.0.1:1\n"
    with Balancer(config, "a", "b", "c") as balancer:
        balancer.running.stores["shared"].link.errors = 7
        found = samples(textOf(balancer, ("global",)))
    assert found['lbtwist_store_errors_total{store="shared"}'] == 7


def test_whenCertificatesExpire():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        at = datetime(2027, 1, 2, tzinfo=UTC)
        with patch.object(type(balancer.running), "notAfter", {"/certs/\"site\".pem": at}):
            found = samples(textOf(balancer, ("global",)))
    said = 'lbtwist_certificate_not_after_seconds{file="/certs/\\"site\\".pem"}'
    assert found[said] == at.timestamp()


def test_whatSourcesOfServersSay(tmp_path):
    named = tmp_path / "servers"
    named.write_text("127.0.0.1:9001\n127.0.0.1:9002\n")
    config = CONFIG.replace("server c = ${c}", f"servers web = file {named}")
    with Balancer(config, "a", "b") as balancer:
        balancer.advance(1.5)
        pool = balancer.running.pools["wire"]
        pool.memberships[0].failures = 3
        found = samples(textOf(balancer))
    said = '{proxy="wire",source="web"}'
    assert found[f"lbtwist_backend_discovery_servers{said}"] == 2
    assert found[f"lbtwist_backend_discovery_failures{said}"] == 3
    assert found[f"lbtwist_backend_discovery_age_seconds{said}"] == pytest.approx(1.5, abs=1)


def test_states():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        a, b = balancer.running.pools["app"].servers
        a.health.up = False
        b.health.ejected = True
        found = samples(textOf(balancer, aliases=True))
    for said, value in (
        ('lbtwist_server_status{proxy="app",server="a",state="DOWN"}', 1),
        ('lbtwist_server_status{proxy="app",server="a",state="UP"}', 0),
        ('lbtwist_server_status{proxy="app",server="b",state="EJECTED"}', 1),
        ('haproxy_server_status{proxy="app",server="b",state="NOLB"}', 1),
        ('lbtwist_backend_servers{proxy="app",state="EJECTED"}', 1),
        ('lbtwist_backend_servers{proxy="app",state="MAINT"}', 0),
        ('lbtwist_frontend_status{proxy="www",state="OPEN"}', 1),
        ('haproxy_frontend_status{proxy="www",state="UP"}', 1),
    ):
        assert found[said] == value, said


# Sums of pools are of their servers; names of numbers that are no counters.
@pytest.mark.parametrize(
    ("kind", "scope"),
    [(FrontendTraffic, "frontend"), (PoolTraffic, "backend"), (ServerTraffic, "server")],
)
def test_everythingThatIsCountedIsThere(kind, scope):
    fields = [field.name for field in attr.fields(kind) if field.type in ("int", "list[int]")]
    assert "exchanges" in fields
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        running = balancer.running
        traffic = {
            "frontend": running.frontends["www"].inbound.traffic,
            "backend": running.pools["app"].traffic,
            "server": running.pools["app"].servers[0].traffic,
        }[scope]
        for number, name in enumerate(fields):
            value = 70_000_001 + number
            setattr(traffic, name, [value] * 6 if name == "responses" else value)
        values = set(samples(textOf(balancer, (scope,))).values())
    missing = [name for n, name in enumerate(fields) if 70_000_001 + n not in values]
    assert not missing


@pytest.mark.parametrize("openmetrics", [False, True])
def test_prometheusReadsAllOfIt(openmetrics):
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        asked(balancer)
        late = Lateness(balancer.pump)
        late.seen.observe(0.002)
        text = render(balancer.running, openmetrics, aliases=True, lateness=late).decode()
    families = parsed(text, openmetrics)
    assert all(one.documentation for one in families.values())
    duration = families["lbtwist_server_request_duration_seconds"]
    assert duration.type == "histogram"
    # A family has the name of its counter without C{_total} in both of them.
    assert families["lbtwist_frontend_http_requests"].type == "counter"
    assert families["haproxy_server_http_responses"].type == "counter"
    assert families["process_open_fds"].samples[0].value > 3
    kind = families["lbtwist_build" if openmetrics else "lbtwist_build_info"].type
    assert kind == ("info" if openmetrics else "gauge")


def test_bothFormatsSayTheSame():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        asked(balancer)
        old, new = textOf(balancer), textOf(balancer, openmetrics=True)
    assert new.endswith("# EOF\n") and "EOF" not in old
    assert samples(old) == samples(new)


@pytest.mark.parametrize("name", ['a"} 1\nevil 2\n', "a\\", "</script><b>", "käse\u2028", '"'])
@pytest.mark.parametrize("openmetrics", [False, True])
def test_aHostileNameStaysInItsLabel(name, openmetrics):
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        server = balancer.running.pools["app"].servers[0]
        before, server.name = server.name, name
        text = render(balancer.running, openmetrics).decode()
        server.name = before
    families = parsed(text, openmetrics)
    assert "evil" not in families
    names = {one.labels["server"] for one in families["lbtwist_server_active"].samples}
    assert names == {name, "b", "c"}


def test_aNameThatIsNoUnicode():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        server = balancer.running.pools["app"].servers[0]
        before, server.name = server.name, "a\udc80"
        text = render(balancer.running)
        server.name = before
    assert b'server="a?"' in text


@pytest.mark.parametrize("scope", SCOPES)
def test_someOfIt(scope):
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        found = textOf(balancer, (scope,))
    kinds = {name.split("_")[1] for name in samples(found) if name.startswith("lbtwist_")}
    assert kinds <= {scope} if scope != "global" else kinds == {"build", "process"}
    assert found


def test_namesAreWellFormedAndThereOnce():
    names = [name for metric in EVERY for name in metric.names(True)]
    assert len(names) == len(set(names))
    for metric in EVERY:
        for name in metric.names(True):
            assert re.fullmatch(r"(lbtwist_|haproxy_|process_|python_)[a-z0-9_]+", name)
            assert name.endswith("_total") == (metric.kind == "counter"), name
            assert name.endswith("_info") == (metric.kind == "info"), name
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert not set('\\"\n') & set(metric.help) and metric.help.endswith(".")
    # In OpenMetrics a counter is a family without its C{_total}.
    families = [re.sub("_total$|_info$", "", name) for name in names]
    assert len(families) == len(set(families))


def test_aServerThatHasGoneTakesNothingAway():
    with Balancer(CONFIG, "a", "b", "c") as balancer:
        asked(balancer)
        pool = balancer.running.pools["app"]
        before = samples(textOf(balancer, ("frontend", "backend")))
        gone = pool.servers[0]
        pool.reuse.drop(gone)
        pool.setServers(pool.servers[1:])
        after = samples(textOf(balancer, ("frontend", "backend")))
        pool.setServers((gone, *pool.servers))
    counters = [name for name in before if re.search(r"_(total|count|sum|bucket)\b", name)]
    assert {name: before[name] for name in counters} == {name: after[name] for name in counters}


def test_howLateTheEventLoopIs():
    pump = Pump()
    late = Lateness(pump)
    late.start()
    late.start()
    pump.advance(INTERVAL + 0.25)
    pump.turn()
    assert (late.seen.count, late.seen.sum) == (1, pytest.approx(0.25))
    late.stop()
    late.stop()
    assert not pump.getDelayedCalls()
