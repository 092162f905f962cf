"""Together with haproxy: in front of it, and behind it."""

import pytest
from loopback.running import Balancer, Haproxy, freePorts, run

pytestmark = pytest.mark.needs("curl", "haproxy")

HAPROXY = """\
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    option forwardfor
frontend www
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server app 127.0.0.1:{server}
"""

LBTWIST = """\
[frontend www]
bind = 127.0.0.1:{port}
log = file:access.log
trusted-proxies = {trusted}
pool = app
[pool app]
server one = {server}
"""


def seen(port, *arguments):
    """@return: the fields a demonstration server was sent, by their names in lower case."""
    done = run(
        "curl", "-sS", "--max-time", 10, "--interface", "127.0.0.2", *arguments,
        f"http://127.0.0.1:{port}/page",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "This is the demonstration server one." in lines
    found = {}
    for line in lines[3 : lines.index("", 3)]:
        name, _, value = line.partition(": ")
        found.setdefault(name.lower(), []).append(value)
    return found


def exchanges(port, directory):
    """@return: whether long bodies pass both ways, one of them after 100-continue."""
    body = directory / "body"
    body.write_bytes(bytes(2_000_000))
    url = f"http://127.0.0.1:{port}/?size=300000"
    done = run("curl", "-sS", "-v", "--max-time", 10, "-T", body, url)
    return len(done.stdout) == 300_000 and "< HTTP/1.1 100 Continue" in done.stderr


@pytest.mark.parametrize(
    "trusted, chain",
    [("127.0.0.1", "127.0.0.2, 127.0.0.1"), ("10.0.0.0/8", "127.0.0.1")],
)
def test_haproxyInFront(tmp_path, trusted, chain):
    front, port = freePorts(2)
    text = LBTWIST.format(port=port, trusted=trusted, server="demo:one")
    with (
        Balancer(tmp_path, text) as balancer,
        Haproxy(tmp_path, front, HAPROXY.format(port=front, server=port)),
    ):
        fields = seen(front)
        assert ", ".join(fields["x-forwarded-for"]) == chain
        assert fields["x-forwarded-proto"] == ["http"]
        assert exchanges(front, tmp_path)
        assert balancer.line("/page").split()[5] == "200"


@pytest.mark.parametrize(
    "trusted, chain",
    [
        ("127.0.0.0/8", "192.0.2.7, 127.0.0.2, 127.0.0.1, 127.0.0.1"),
        ("10.0.0.0/8", "127.0.0.2, 127.0.0.1, 127.0.0.1"),
    ],
)
def test_lbtwistInFrontOfHaproxyInFrontOfLbtwist(tmp_path, trusted, chain):
    first, middle, last = freePorts(3)
    front = LBTWIST.format(port=first, trusted=trusted, server=f"127.0.0.1:{middle}")
    back = LBTWIST.format(port=last, trusted="127.0.0.1", server="demo:one")
    with (
        Balancer(tmp_path / "back", back),
        Haproxy(tmp_path, middle, HAPROXY.format(port=middle, server=last)),
        Balancer(tmp_path / "front", front) as balancer,
    ):
        fields = seen(first, "-H", "X-Forwarded-For: 192.0.2.7")
        assert ", ".join(fields["x-forwarded-for"]) == chain
        assert exchanges(first, tmp_path)
        assert balancer.line("/page").split()[5] == "200"
