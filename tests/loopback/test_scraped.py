"""C{docs/listings/measured.py}: metrics of a real process, and under load they add up."""

import http.client
import re
import sys
from contextlib import contextmanager

import pytest
from loopback.running import ROOT, TROUBLE, Child, environment, freePorts, listens, until, write
from loopback.test_wrk import wrk
from loopback.wire import Doing, unread

LISTING = ROOT / "docs/listings/measured.py"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Measured(Child):
    """
    The listing at work.

    @ivar port: of the balancer.
    @ivar metrics: of its metrics.
    """

    def __init__(self, directory, servers):
        self.port, self.metrics = freePorts(2)
        written = "\n        ".join(servers)
        config = write(directory / "lb.ini", f"""\
        [frontend www]
        bind = 127.0.0.1:{self.port}
        pool = app
        [pool app]
        {written}
        """)  # fmt: skip
        super().__init__(
            [sys.executable, str(LISTING), str(config), str(self.metrics)],
            directory, "measured", env=environment(),
        )  # fmt: skip

    def ask(self, method="GET", target="/metrics", **fields):
        """@return: the response, and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=15)
        try:
            connection.request(method, target, headers=fields)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def samples(self, target="/metrics"):
        """@return: the values by what stands before them."""
        lines = self.ask(target=target)[1].decode().splitlines()
        split = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in split}


@contextmanager
def measured(directory, *servers):
    with Measured(directory, servers) as child:
        child.until(lambda: listens(child.port) and listens(child.metrics))
        yield child
        assert child.terminate() == 0
        assert TROUBLE.findall(child.out + child.err) == []


@pytest.fixture
def balancer(tmp_path):
    with measured(tmp_path, "server one = demo:one") as child:
        yield child


@pytest.mark.needs("nginx", "wrk")
def test_underLoadTheCountersAddUp(tmp_path, nginx):
    with measured(tmp_path, f"server n = 127.0.0.1:{nginx.port}") as balancer:
        seen = []
        with Doing(wrk, balancer.port, 3) as load:
            # While it works: what only rises does.
            until(lambda: seen.append(balancer.samples()) or len(seen) > 5)
        report = load.result
        assert (report.failed, report.errors) == (0, "")
        total = 'lbtwist_frontend_http_requests_total{proxy="www"}'
        until(lambda: balancer.samples()["lbtwist_process_current_connections"] == 0)
        found = balancer.samples()
    for before, after in zip(seen, [*seen[1:], found], strict=True):
        risen = [name for name in before if re.search("_(total|count|bucket|sum)", name)]
        assert [name for name in risen if after[name] < before[name]] == []
    # wrk leaves at its time, whatever is still under way.
    assert report.requests <= found[total] <= report.requests + 32
    for part in ('frontend_{}{{proxy="www"{}}}', 'backend_{}{{proxy="app"{}}}',
                 'server_{}{{proxy="app",server="n"{}}}'):
        for kind in ("request_duration_seconds", "response_seconds"):
            buckets = [
                value for name, value in found.items()
                if name.startswith("lbtwist_" + part.format(f"{kind}_bucket", ",le=")[:-1])
            ]
            assert len(buckets) == 17 and buckets == sorted(buckets)
            count = found["lbtwist_" + part.format(f"{kind}_count", "")]
            assert buckets[-1] == count <= found[total]
        count = found["lbtwist_" + part.format("request_duration_seconds_count", "")]
        assert count == found[total]
        classes = [
            value for name, value in found.items()
            if name.startswith("lbtwist_" + part.format("http_responses_total", ",code=")[:-1])
        ]
        assert len(classes) == 6 and sum(classes) == count
        sent = found["lbtwist_" + part.format("bytes_out_total", "")]
        assert sent > 100 * report.requests
    connects = found['lbtwist_server_connection_attempts_total{proxy="app",server="n"}']
    reuses = found['lbtwist_server_connection_reuses_total{proxy="app",server="n"}']
    assert connects + reuses == found[total]
    assert found['lbtwist_server_connect_seconds_count{proxy="app",server="n"}'] == connects
    assert found["lbtwist_process_event_loop_lag_seconds_count"] > 0
    assert found["process_cpu_seconds_total"] > 0.5


@pytest.mark.parametrize("openmetrics", [False, True])
def test_prometheusReadsIt(balancer, openmetrics):
    pytest.importorskip("prometheus_client")
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as newer

    response, body = balancer.ask(Accept=OPENMETRICS if openmetrics else "*/*")
    assert response.status == 200
    kind = OPENMETRICS if openmetrics else "text/plain; version=0.0.4; charset=utf-8"
    assert response.getheader("Content-Type") == kind
    read = newer if openmetrics else parser
    names = {one.name for one in read.text_string_to_metric_families(body.decode())}
    assert {"lbtwist_server_status", "haproxy_server_status", "process_open_fds"} <= names


def test_anAcceptThatIsNoText(balancer):
    response, _ = balancer.ask(Accept="\xff\xfe, " + OPENMETRICS)
    assert response.status == 200
    assert response.getheader("Content-Type") == OPENMETRICS


def test_aHeadHasNoBody(balancer):
    response, body = balancer.ask("HEAD")
    assert (response.status, body) == (200, b"")
    assert response.getheader("Content-Type").startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "NONSENSE"])
def test_nothingCanBeChanged(balancer, method):
    response, _ = balancer.ask(method)
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"


def test_someOfIt(balancer):
    found = balancer.samples("/metrics?scope=server&scope=frontend")
    kinds = {name.split("_")[1] for name in found}
    assert kinds == {"server", "frontend"}


def test_aScopeThatIsNone(balancer):
    response, body = balancer.ask(target="/metrics?scope=listener")
    assert response.status == 400
    assert body == b"there is no such scope; there are global, frontend, backend, server\n"


def test_whoDoesNotReadHoldsNobodyUp(balancer):
    with unread(balancer.metrics, b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 20, 6):
        # A seventh is answered, if only that there are too many, and the balancer works.
        assert balancer.ask()[0].status in (200, 503)
        connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=15)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
    until(lambda: balancer.ask()[0].status == 200)
