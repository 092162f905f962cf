"""
Two nginx, of which one answers with 503, or does not answer at all: clients do not notice.
"""

import os
import signal

import pytest
from loopback.running import Balancer, Nginx, freePorts, run

pytestmark = pytest.mark.needs("nginx", "curl", "wrk")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("good"), "good") as nginx:
        yield nginx


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("bad"), "bad", status=503) as nginx:
        yield nginx


@pytest.fixture
def balancer(tmp_path, good, bad):
    """The bad one is asked first."""
    [port] = freePorts(1)
    text = f"""\
        [global]
        log = file:access.log format=json

        [frontend www]
        bind = 127.0.0.1:{port}
        pool = app

        [pool app]
        balance = first
        retry-on = all-retryable-errors
        retry-budget = no
        hedge-after = 200ms
        server bad = 127.0.0.1:{bad.port}
        server good = 127.0.0.1:{good.port}
        """
    with Balancer(tmp_path, text) as balancer:
        balancer.url = f"http://127.0.0.1:{port}"
        yield balancer


def get(url, *arguments):
    done = run("curl", "-sS", "--max-time", "20", "-w", " %{http_code}", *arguments, url)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_oneIsBusy(balancer):
    assert get(f"{balancer.url}/name?get") == "good 200"
    assert get(f"{balancer.url}/name?head", "-I").startswith("HTTP/1.1 200 OK")
    for line in (balancer.line("/name?get"), balancer.line("/name?head")):
        assert '"server":"good"' in line
        assert '"retries":1,"redispatched":true' in line
        assert '"reason":"app/bad: a response with 503"' in line


def test_oneIsBusyAndThereIsABody(balancer):
    """A PUT is sent again with it, a POST is not."""
    assert get(f"{balancer.url}/name?put", "-X", "PUT", "-d", "body") == "good 200"
    assert get(f"{balancer.url}/name?post", "-d", "body").endswith(" 503")


def test_oneHangs(balancer, bad):
    os.killpg(bad.pid, signal.SIGSTOP)
    try:
        assert get(f"{balancer.url}/name?hangs") == "good 200"
    finally:
        os.killpg(bad.pid, signal.SIGCONT)
    said = "app/bad: no response in 0.2s, good was asked too; good was first"
    assert said in balancer.line("/name?hangs")


def test_underLoad(balancer):
    done = run("wrk", "-t1", "-c16", "-d2s", f"{balancer.url}/name")
    assert done.returncode == 0, done.stderr
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
