"""What a collector of traces is told of exchanges, and what servers are told meanwhile."""

import re

import attr
import pytest
from collected import spansOf
from spoken import OK, www
from twisted.internet.defer import succeed

from lbtwist import spans
from lbtwist.admin.whole import render
from lbtwist.config.load import loadText
from lbtwist.config.model import Collector, OTLPOptions
from lbtwist.errors import ConfigError, StartError
from lbtwist.explaining import asking, explain
from lbtwist.health import Admin
from lbtwist.registry import installed

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"traceparent: 00-{TRACE}-{PARENT}-01\r\n"
OTLP = "otlp = http://127.0.0.1:4318/v1/traces"


class Posted:
    """Stands for the way to a collector. @ivar bodies: what was posted."""

    bodies: list = []

    def __init__(self, *arguments):
        pass

    def post(self, url, fields, data):
        assert url == "http://127.0.0.1:4318/v1/traces"
        self.bodies.append(data)
        return succeed(None)


@pytest.fixture(autouse=True)
def posted(monkeypatch):
    monkeypatch.setattr(spans, "Fetcher", Posted)
    monkeypatch.setattr(Posted, "bodies", [])
    return Posted.bodies


def balancer(how="make", settings=OTLP, **more):
    return www(frontend=f"traceparent = {how}", settings=settings, log="json", **more)


def asks(running, fields="", server="a", response=OK):
    """One request. @return: C{traceparent} as the server got it; C{""} for none."""
    client = running.client()
    client.sends(f"GET /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
    peer = running.server(server).accepts()
    text = peer.receives(rb"(.*)")[1].decode()
    running.advance(0.5)
    peer.sends(response)
    client.receives(rb"HTTP/1.1 .*")
    peer.closes()
    client.closes()
    found = re.search(r"(?im)^traceparent: (\S*)", text)
    return found[1] if found else ""


def told(running):
    running.advance(2)
    return spansOf(*Posted.bodies)


def test_theBalancerIsBetweenTheClientAndTheServer():
    with balancer("forward") as running:
        given = asks(running, GIVEN)
        server, client = told(running)
        assert (server.trace, server.parent) == (TRACE, PARENT)
        assert (client.trace, client.parent) == (TRACE, server.id)
        assert given == f"00-{TRACE}-{client.id}-01"
        assert len({server.id, client.id, PARENT}) == 3
        assert server.attributes["http.response.status_code"] == 200
        assert server.attributes["lbtwist.server"] == "a"
        assert server.attributes["lbtwist.termination"] == "--"
        assert client.end - client.start == 500_000_000
        [line] = running.lines
        assert f'"trace_id":"{TRACE}","span_id":"{client.id}"' in line


def test_whatBeginsHereHasNoParent():
    with balancer("make") as running:
        given = asks(running)
        server, client = told(running)
        assert server.parent == ""
        assert given == f"00-{server.trace}-{client.id}-01"


def test_whatIsNotSampledIsNotTold():
    with balancer("forward") as running:
        field = GIVEN.replace("-01", "-00")
        assert asks(running, field) == f"00-{TRACE}-{PARENT}-00"
        assert asks(running) == ""
        assert told(running) == []
    with balancer("make\ntraceparent-sampling = 0") as running:
        assert asks(running).endswith("-00")
        assert told(running) == []


def test_nothingIsDoneWhereItIsOff():
    with balancer("off") as running:
        assert asks(running, GIVEN) == f"00-{TRACE}-{PARENT}-01"
        assert told(running) == []
        inbound = running.running.frontend("www").inbound
        assert not any(isinstance(one, spans.Spans) for one in inbound.observers)


def test_withoutACollectorIdsPassAsTheyAre():
    with balancer("forward", settings="") as running:
        assert asks(running, GIVEN) == f"00-{TRACE}-{PARENT}-01"
        assert told(running) == []


def test_manyAreToldTogether(posted):
    with balancer() as running:
        for _ in range(5):
            asks(running, response=OK.replace(b"200", b"500"))
        assert len(told(running)) == 10
        assert len(posted) <= 4
        assert {one.status.get("code") for one in told(running)} == {2}


def test_aServerThatIsTriedAgain():
    with balancer(pool="retry-on = empty-response") as running:
        client = running.client()
        client.sends(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        peer = running.server("a").accepts()
        peer.receives(rb"GET .*")
        peer.closes()
        running.advance(2)
        peer = running.server("a").accepts()
        peer.receives(rb"GET .*")
        peer.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        server, client = told(running)
        assert client.attributes["http.request.resend_count"] == 1
        assert (client.parent, server.status) == (server.id, {})


def test_aServerThatIsAway():
    with balancer(pool="retries = 0") as running:
        running.server("a").goesAway()
        client = running.client()
        client.sends(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        running.advance(5)
        client.receives(rb"HTTP/1.1 503 .*")
        server, client = told(running)
        assert server.attributes["http.response.status_code"] == 503
        assert server.attributes["error.type"] == "503"
        assert "http.response.status_code" not in client.attributes
        assert client.attributes["error.type"] == "SC"


def test_whereThereIsNoServerThereIsOneSpan():
    with balancer() as running:
        pool = running.running.pool("app")
        pool.servers[0].health.admin = Admin.MAINT
        pool.serversChanged()
        client = running.client()
        client.sends(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        running.advance(5)
        client.receives(rb"HTTP/1.1 503 .*")
        [server] = told(running)
        assert server.attributes["lbtwist.pool"] == "app"


def test_whatRulesAnswerIsInNoTrace():
    with balancer("make\nrequest = deny") as running:
        client = running.client()
        client.sends(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        client.receives(rb"HTTP/1.1 403 .*")
        assert told(running) == []


def test_nothingIsLostAtTheEnd(posted):
    with balancer() as running:
        running.advance(5)
        asks(running)
        assert posted == []
    assert len(spansOf(*posted)) == 2


def test_whatIsDroppedIsCounted():
    with balancer() as running:
        [one] = [one for one in running.running._stores if isinstance(one, spans.Spans)]
        one._outbox.lost = 7
        assert b"\nlbtwist_process_dropped_spans_total 7\n" in render(running.running)
    with balancer(settings="") as running:
        assert b"dropped_spans" not in render(running.running)


def test_explainedWithoutBeingTold():
    with balancer() as running:
        said = explain(running.running, asking("GET http://h/"), "www")
        [step] = said.of("departure")
        [line] = [one for one in step["fields"] if one["name"] == "traceparent"]
        assert line["value"] == f"00-{'01' * 16}-{'01' * 8}-01"
        assert told(running) == []


# reload


def settled(config, collector):
    """@return: the same, but for the collector that is told."""
    return attr.evolve(config, settings=attr.evolve(config.settings, otlp=collector))


def test_aCollectorComesAndGoes(posted):
    with balancer(settings="") as running:
        found = running.running
        without = found.config
        asks(running)
        assert told(running) == []
        found.apply(settled(without, Collector("http://127.0.0.1:4318/v1/traces")))
        asks(running)
        assert len(told(running)) == 2
        asks(running)
        found.apply(without)
        assert len(spansOf(*posted)) == 4, "what waits is told when it goes"
        asks(running)
        assert len(told(running)) == 4


def test_authoritiesThatCannotBeReadKeepWhatRuns(tmp_path):
    with balancer() as running:
        before = running.running.config
        bad = Collector("https://h/", OTLPOptions(ca=str(tmp_path / "none")))
        with pytest.raises(StartError, match="cannot be read"):
            running.running.apply(settled(before, bad))
        asks(running)
        assert len(told(running)) == 2


# how it is written


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("127.0.0.1:4318", "is not a URL: write http://HOST:4318/v1/traces"),
        ("ftp://h/", "is not a URL"),
        ("http://h:x/", "is not a URL"),
        ("http:///v1", "is not a URL"),
        ("http://me:secret@h/", "have no place in a URL"),
        ("http://h/#a", "never sent"),
        ("http://h/ sample=1", "sample"),
        ("http://h/ timeout=1ms", "from 100ms to 1m"),
        ("http://h/ ca=a.pem", "without https"),
    ],
)
def test_whatIsNotAccepted(value, why):
    with pytest.raises(ConfigError) as refused:
        loadText(f"[global]\notlp = {value}\n", installed(), "lb.ini")
    [problem] = refused.value.problems
    assert why in str(problem)
    assert str(problem).startswith("lb.ini:2:")


WEB = "[global]\notlp = http://h/\n[frontend www]\nbind = :80\npool = app\n"
POOL = "[pool app]\nserver a = 127.0.0.1:1\n"


@pytest.mark.parametrize(
    ("lines", "warned"),
    [("", True), ("traceparent = make\n", False), ("mode = tcp\n", True)],
)
def test_aCollectorThatNobodyTells(lines, warned):
    _, problems = loadText(WEB + lines + POOL, installed(), "lb.ini")
    said = "lb.ini:2:8: warning: [global] otlp is told of nothing: no frontend has traceparent"
    assert [said in str(one) for one in problems] == [True] * warned


def test_off():
    config, _ = loadText("[global]\notlp =\n", installed())
    assert config.settings.otlp is None
