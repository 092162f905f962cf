"""Thousands of clients that only stay: what each of them costs, and whether it is served."""

import resource

import pytest
from loopback import wire
from loopback.running import Balancer, freePorts

COUNT = 3000
ALLOWED = 5 * 1024
GET = b"GET /name HTTP/1.1\r\nHost: test\r\n\r\n"

pytestmark = pytest.mark.needs("nginx")


@pytest.fixture
def files():
    """As many descriptors as there are allowed to be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 2 * COUNT:
        pytest.skip(f"only {before[1]} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * COUNT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def asks(client):
    client.sendall(GET)
    assert wire.readResponse(client)[1] == b"nginx"


def test_threeThousandIdleClients(tmp_path, nginx, files):
    port, = freePorts(1)
    text = f"""\
        [defaults]
        timeout-keepalive = 1m
        timeout-client = 1m
        [frontend www]
        bind = 127.0.0.1:{port}
        pool = app
        [pool app]
        server nginx = 127.0.0.1:{nginx.port}
        """
    clients = []
    with Balancer(tmp_path, text) as balancer:
        try:
            for number in range(COUNT + 200):
                if number == 200:
                    # What is made once is made by now.
                    before = balancer.pss
                clients.append(wire.connect(port))
                asks(clients[-1])
            assert (balancer.pss - before) / COUNT < ALLOWED
            for client in clients:
                asks(client)
        finally:
            for client in clients:
                client.close()
