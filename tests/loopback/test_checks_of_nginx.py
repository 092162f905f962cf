"""
Checks of a real nginx by a real balancer: C{disable-on-404}, several checks as one, and a
server that follows another.
"""

import http.client

import pytest
from loopback.running import Balancer, Nginx, freePorts, until

pytestmark = pytest.mark.needs("nginx")

TEXT = """\
    [frontend www]
    bind = 127.0.0.1:{www}
    pool = app
    log = file:access.log
    [frontend other]
    bind = 127.0.0.1:{other}
    pool = web
    [pool app]
    check = {check} interval=50ms rise=1 fall=1
    server a = 127.0.0.1:{port}
    [pool web]
    server b = 127.0.0.1:{port} track=app/a
"""


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path / "nginx") as running:
        (running.files / "alive").write_text("yes\n")
        yield running


class Site:
    """A balancer in front of an nginx, whose pool C{web} follows its pool C{app}."""

    def __init__(self, directory, nginx, check):
        self.www, self.other = freePorts(2)
        self.running = Balancer(
            directory / "lb",
            TEXT.format(www=self.www, other=self.other, port=nginx.port, check=check),
        )

    def status(self, port):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/name")
        try:
            return client.getresponse().status
        finally:
            client.close()

    def becomes(self, status, words):
        """Wait until the clients of both pools are answered so, and the log has the words."""
        until(lambda: words in self.running.events, what=lambda: self.running.events)
        for port in (self.www, self.other):
            until(lambda port=port: self.status(port) == status, what=f"{status} of {port}")


def test_notFoundIsOutOfService(tmp_path, nginx):
    """A file that goes drains the server; it comes back with it, and is never brought up so."""
    site = Site(tmp_path, nginx, "http GET /files/alive disable-on-404")
    with site.running as balancer:
        site.becomes(200, " listens on ")
        (nginx.files / "alive").unlink()
        site.becomes(503, "Server app/a is DRAIN, reason: L7OKC 404 Not Found")
        (nginx.files / "alive").write_text("yes\n")
        site.becomes(200, "Server app/a is UP, reason: L7OK 200 OK")
        assert "DOWN" not in balancer.events


def test_severalAsOne(tmp_path, nginx):
    """It is up by any one of two ways, as long as the file is there."""
    [closed] = freePorts(1)
    check = f"http GET /files/alive and (tcp:{closed} or 2 of (tcp, tcp:{closed}, http:/name))"
    site = Site(tmp_path, nginx, check)
    with site.running:
        site.becomes(200, " listens on ")
        (nginx.files / "alive").unlink()
        site.becomes(503, "Server app/a is DOWN, reason: L7STS part 1, http: 404 Not Found")
        site.becomes(503, "Server web/b is DOWN, reason: L7STS via app/a: part 1, http: 404")
        (nginx.files / "alive").write_text("yes\n")
        site.becomes(200, "Server web/b is UP")
