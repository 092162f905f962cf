"""Under the load of wrk: no request is lost, none is counted twice, a server may die."""

import re
import time
from collections import Counter
from datetime import datetime

import pytest
from haproxy.line import Line
from loopback.running import Balancer, Nginx, freePorts, run, until
from loopback.wire import Doing

CONNECTIONS = 32

pytestmark = pytest.mark.needs("nginx", "wrk")


class Report:
    """
    What wrk saw.

    @ivar requests: answers that came whole.
    @ivar failed: those among them that are neither 2xx nor 3xx.
    @ivar errors: what went wrong on sockets; empty if nothing did.
    """

    def __init__(self, text):
        self.requests = int(re.search(r"(\d+) requests in", text)[1])
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.failed = int(failed[1]) if failed else 0
        errors = re.search(r"Socket errors: (.*)", text)
        self.errors = errors[1] if errors else ""


def wrk(port, seconds):
    """@return: its report, at the end."""
    done = run(
        "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/name",
        seconds=seconds + 30,
    )
    assert done.returncode == 0, done.stderr
    return Report(done.stdout)


def written(balancer, least):
    """@return: the lines of the log, when there are so many and none is to come."""
    until(lambda: len(balancer.lines) >= least)
    before = -1
    while before != len(balancer.lines):
        before = len(balancer.lines)
        time.sleep(0.25)
    return balancer.lines


def parse(line):
    """@return: a line of the access log as haproxy_log_analysis reads it."""
    parsed = Line(f"Nov 21 12:00:00 localhost haproxy[1]: {line}")
    assert parsed.is_valid, line
    return parsed


def test_everyRequestIsAnsweredAndLogged(tmp_path, nginx):
    port, = freePorts(1)
    text = f"""\
        [frontend www]
        bind = 127.0.0.1:{port}
        log = file:access.log
        pool = app
        [pool app]
        server nginx = 127.0.0.1:{nginx.port}
        """
    with Balancer(tmp_path, text) as balancer:
        report = wrk(port, 3)
        assert (report.failed, report.errors) == (0, "")
        lines = [parse(line) for line in written(balancer, report.requests)]
    whole = sum(line.status_code == "200" for line in lines)
    # wrk leaves at its time, whatever is still under way.
    assert report.requests <= whole <= len(lines) <= report.requests + CONNECTIONS
    assert {line.http_request_path for line in lines} == {"/name"}
    assert {line.server_name for line in lines} == {"nginx"}


def moment(line):
    """@return: when a request came, in seconds since the epoch."""
    text = re.search(r"\[([^]]+)\]", line)[1]
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S.%f").timestamp()


def test_aServerIsKilledAndComesBack(tmp_path):
    port, *others = freePorts(3)
    text = f"""\
        [frontend www]
        bind = 127.0.0.1:{port}
        log = file:access.log
        pool = app
        [pool app]
        check = http GET /name interval=200ms rise=2 fall=2
        server one = 127.0.0.1:{others[0]}
        server two = 127.0.0.1:{others[1]}
        """
    with (
        Nginx(tmp_path / "one", port=others[0]),
        Nginx(tmp_path / "two", port=others[1]) as victim,
        Balancer(tmp_path, text) as balancer,
    ):
        with Doing(wrk, port, 3) as load:
            until(lambda: len(balancer.lines) > 500)
            victim.kill()
            balancer.until(lambda: "Server app/two is DOWN" in balancer.events)
            down = time.time()
        lines = written(balancer, load.result.requests)
        served = Counter(line.split()[3] for line in lines)
        assert served["app/one"] > 0 < served["app/two"]

        failed = [line for line in lines if line.split()[5] != "200"]
        left = [line for line in failed if line.split()[9].startswith("C")]
        failed = [line for line in failed if line not in left]
        # On the server that died: not more than were under way there, and none of
        # those that could not even connect, or had to come once more.
        assert len(failed) <= CONNECTIONS
        assert {line.split()[3] for line in failed} <= {"app/two"}
        assert load.result.failed <= len(failed)
        assert [line for line in failed if moment(line) >= down] == []
        assert [line for line in lines if moment(line) >= down and "/two " in line] == []
        redispatched = [line for line in lines if "+" in line.split()[10]]
        assert {line.split()[3] for line in redispatched} <= {"app/one"}

        with Nginx(tmp_path / "two", port=others[1]):
            balancer.until(lambda: "Server app/two is UP" in balancer.events)
            seen = len(balancer.lines)
            report = wrk(port, 1)
            assert (report.failed, report.errors) == (0, "")
            lines = written(balancer, seen + report.requests)[seen:]
        served = Counter(line.split()[3] for line in lines)
        assert served["app/two"] > len(lines) // 3
